/* node_callback.c - the records of calls back, and what their workers are told of them.
 *
 * The happy path: a CALLBACK frame -> callback_new() -> sent, at once or when there is a connection ->
 * callback_ok() -> REPLY; freed.
 * What can go wrong: see node_callback.h for what else ends it. A reply that cannot be given to Python, or
 * for which there is no room since the worker does not read, is "refused" with what was wrong; a worker
 * that goes on asking without reading anything at all is broken (node_callback_frame.c). */
#include "node_callback.h"

#include <stdio.h>
#include <string.h>

static struct callback *of(struct node_holding *h)
{
	return list_entry(h, struct callback, h);
}

/* ---- made and found ---- */

static struct callback_call *call_of(struct node_worker *w, uint64_t id)
{
	struct callback_call *k;

	HASH_FIND(hh, w->calls, &id, sizeof id, k);
	if (k != NULL || (k = mem_zalloc(sizeof *k)) == NULL)
		return k;
	k->id = id;
	k->worker = w;
	list_init(&k->callbacks);
	list_init(&k->due);
	HASH_ADD(hh, w->calls, id, sizeof k->id, k);
	if (k->hh.tbl != NULL)
		return k;
	mem_free(k);
	return NULL;
}

/* Puts it where it can be found. False: no memory. */
static bool enter(struct callback *c, struct node *n, const struct node_request *r)
{
	struct node_worker *w = c->worker;
	struct node_holding *h = &c->h;

	HASH_ADD(hh, n->holdings, id, sizeof h->id, h);
	if (h->hh.tbl == NULL)
		return false;
	if (c->kind == CALLBACK_SEND) {
		list_append(&w->sends, &c->by_call);
		return true;
	}
	if (w == NULL)
		return true;
	if ((c->call = call_of(w, r->pool.id)) == NULL)
		return false;
	list_append(&c->call->callbacks, &c->by_call);
	HASH_ADD(hh, w->callbacks, number, sizeof c->number, c);
	return c->hh.tbl != NULL;
}

struct callback *callback_new(struct node *n, enum callback_kind kind, struct node_worker *w,
			      uint64_t number, const struct node_request *r)
{
	struct callback *c = mem_zalloc(sizeof *c);

	if (c == NULL)
		return NULL;
	holding_init(&c->h, HOLDING_CALLBACK, n, node_id(n));
	c->kind = kind;
	c->number = number;
	c->worker = w;
	c->utf8 = r == NULL || r->strings_utf8;
	c->since_us = node_now_us();
	list_init(&c->by_call);
	list_init(&c->by_peer);
	list_init(&c->waiter.link);
	if (!enter(c, n, r)) {
		callback_free(c);
		return NULL;
	}
	if (kind == CALLBACK_CALL || kind == CALLBACK_RPC)
		callback_count(c->call, 1);
	c->counted = true;
	return c;
}

struct callback *callback_find(struct node *n, uint64_t id)
{
	struct node_holding *h;

	HASH_FIND(hh, n->holdings, &id, sizeof id, h);
	return h != NULL && h->kind == HOLDING_CALLBACK ? of(h) : NULL;
}

struct node_request *callback_request(const struct node_worker *w, uint64_t call_id)
{
	const struct pool_worker *pw = pool_worker(w->pool->pool, w->id);

	for (unsigned i = 0; pw != NULL && i < pw->slots; i++)
		for (unsigned d = 0; d < pw->slot[i].depth; d++)
			if (pw->slot[i].call[d].id == call_id &&
			    pw->slot[i].call[d].request != NULL)
				return node_request_of(pw->slot[i].call[d].request);
	return NULL;
}

void callback_free(struct callback *c)
{
	static const uint8_t normal[] = { 119, 6, 'n', 'o', 'r', 'm', 'a', 'l' };
	struct node_worker *w = c->worker;

	heap_remove(&c->h.node->callback_timers, &c->timer);
	list_remove(&c->waiter.link);
	list_remove(&c->by_peer);
	list_remove(&c->by_call);
	if (c->hh.tbl != NULL)
		HASH_DELETE(hh, w->callbacks, c);
	if (c->call != NULL) {
		if (c->counted && c->kind != CALLBACK_MONITOR)
			callback_count(c->call, -1);
		callback_release(c->call);
	}
	if (w != NULL)
		w->queued_bytes -= c->queued;
	holding_ended(&c->h, (struct span){ normal, sizeof normal });
	holding_close(&c->h);
	mem_free(c->name);
	mem_free(c->message);
	mem_free(c);
}

/* ---- what a worker is told ---- */

void callback_fault_text(const char *what, const struct transcode_error *err, char *text,
			 size_t size)
{
	switch (err->fault) {
	case TRANSCODE_TOO_DEEP:
		snprintf(text, size, "%s is nested deeper than %llu", what,
			 (unsigned long long)err->limit);
		break;
	case TRANSCODE_TOO_LARGE:
		snprintf(text, size, "%s has more than %llu bytes", what,
			 (unsigned long long)err->limit);
		break;
	case TRANSCODE_NO_MEMORY:
		snprintf(text, size, "%s: no memory", what);
		break;
	default:
		snprintf(text, size, "%s has no form there: %s: %s", what, err->where,
			 err->what[0] == ':' ? err->what + 1 : err->what);
		break;
	}
}

static void send_frame(struct node_worker *w, struct buf *out, size_t start)
{
	frame_end(out, start);
	/* one that is lost is waited for until the call's time is up: as bad as a worker that hangs */
	if (out->err == 0 && !w->gone && !w->exited)
		(void)!worker_send(w->io, out->data, out->len);
	buf_free(out);
}

static void reply(struct node_worker *w, uint64_t number, const char *how, const char *text)
{
	struct buf out = { 0 };
	size_t start = frame_begin(&out, FRAME_REPLY, number, 2);

	frame_put_str(&out, how, strlen(how));
	if (text != NULL)
		frame_put_str(&out, text, strlen(text));
	else
		frame_put_nil(&out);
	send_frame(w, &out, start);
}

/* REPLY (`how`), or DOWN of a monitor (NULL), with a term. False: it has no form in Python, `text` says
 * why. */
static bool reply_term(struct node_worker *w, uint64_t number, const char *how, bool utf8,
		       const uint8_t *term, char *text, size_t size)
{
	const struct config_pool *config = w->pool->config;
	struct transcode_options opts = { .max_depth = (uint32_t)config->max_depth,
					  .max_bytes = config->max_request_bytes,
					  .strings_utf8 = utf8 };
	struct transcode_error err;
	struct buf out = { 0 };
	size_t start = frame_begin(&out, how != NULL ? FRAME_REPLY : FRAME_DOWN, number,
				   how != NULL ? 2 : 1);

	if (how != NULL)
		frame_put_str(&out, how, strlen(how));
	if (transcode_term(term, "answer", &opts, &out, &err) != 0) {
		callback_fault_text("the answer", &err, text, size);
		buf_free(&out);
		return false;
	}
	send_frame(w, &out, start);
	return true;
}

void callback_refuse_number(struct node_worker *w, uint64_t number, bool monitor, const char *text)
{
	struct buf reason = { 0 };
	char why[512];

	if (monitor) {
		term_put_tuple(&reason, 2);
		term_put_atom(&reason, "refused");
		term_put_text(&reason, text);
		if (reason.err == 0)
			(void)!reply_term(w, number, NULL, true, reason.data, why, sizeof why);
		buf_free(&reason);
	} else {
		reply(w, number, "refused", text);
	}
}

void callback_refuse(struct callback *c, const char *text)
{
	callback_refuse_number(c->worker, c->number, c->kind == CALLBACK_MONITOR, text);
	callback_free(c);
}

void callback_time_out(struct callback *c)
{
	reply(c->worker, c->number, "timeout", NULL);
	callback_unsend(c);
	callback_free(c);
}

void callback_ok(struct callback *c, const uint8_t *value)
{
	char text[512] = "the worker does not read: more than max_request_bytes wait for it";

	if (worker_unsent(c->worker->io) > c->worker->pool->config->max_request_bytes ||
	    !reply_term(c->worker, c->number, "ok", c->utf8, value, text, sizeof text))
		reply(c->worker, c->number, "refused", text);
	callback_unsend(c);
	callback_free(c);
}

void callback_exit(struct callback *c, struct span reason)
{
	static const uint8_t other[] = { 119, 11,  'u', 'n', 'e', 'n', 'c',
					 'o', 'd', 'a', 'b', 'l', 'e' };
	const char *how = c->kind == CALLBACK_MONITOR ? NULL : "exit";
	char text[512];

	if (c->number != 0 &&
	    !reply_term(c->worker, c->number, how, c->utf8, reason.at, text, sizeof text))
		(void)!reply_term(c->worker, c->number, how, true, other, text, sizeof text);
	callback_free(c);
}

void callback_exit_atom(struct callback *c, const char *reason)
{
	size_t len = strlen(reason);
	uint8_t atom[2 + UINT8_MAX] = { 119, (uint8_t)len };

	for (size_t i = 0; i < len; i++)
		atom[2 + i] = (uint8_t)reason[i];
	callback_exit(c, (struct span){ atom, 2 + len });
}

/* ---- ends that come from outside ---- */

void node_callbacks_end_call(struct node_worker *w, uint64_t call_id)
{
	struct list *pos, *next;
	struct callback_call *k;

	HASH_FIND(hh, w->calls, &call_id, sizeof call_id, k);
	if (k == NULL)
		return;
	callback_due(k); /* so it is not freed with its last callback */
	list_each (pos, next, &k->callbacks) {
		struct callback *c = list_entry(pos, struct callback, by_call);

		callback_unsend(c);
		callback_free(c);
	}
	node_callbacks_settle(w->pool->node);
}

/* Its caller is gone, or its time is up; the worker may go on for a while, and hears why it waits no
 * more. */
void node_callbacks_end_request(struct node_request *r)
{
	struct node_worker *w = node_worker_find(r->owner_pool, r->pool.worker_id);
	struct list *pos, *next;
	struct callback_call *k;

	if (w == NULL || w->calls == NULL)
		return;
	HASH_FIND(hh, w->calls, &r->pool.id, sizeof r->pool.id, k);
	if (k == NULL)
		return;
	callback_due(k);
	list_each (pos, next, &k->callbacks) {
		struct callback *c = list_entry(pos, struct callback, by_call);

		if (c->kind != CALLBACK_MONITOR && r->pool.outcome == OUTCOME_TIMEOUT_CALL)
			reply(w, c->number, "timeout", NULL);
		else if (c->kind != CALLBACK_MONITOR)
			reply(w, c->number, "refused", "nobody waits for this call any more");
		callback_unsend(c);
		callback_free(c);
	}
}

void node_callbacks_end_worker(struct node_worker *w)
{
	struct callback_call *k, *tmp;
	struct list *pos, *next;

	w->no_callbacks = true;
	callback_unthrottle(w);
	list_each (pos, next, &w->sends) {
		list_entry(pos, struct callback, by_call)->worker = NULL;
		list_remove(pos);
	}
	HASH_ITER(hh, w->calls, k, tmp)
	{
		callback_due(k);
		list_each (pos, next, &k->callbacks) {
			struct callback *c = list_entry(pos, struct callback, by_call);

			callback_unsend(c);
			callback_free(c);
		}
		list_remove(&k->due);
		callback_release(k);
	}
}

void node_callbacks_forget_peer(struct books *b)
{
	struct node *n = b->node;

	while (!list_empty(&b->callbacks))
		callback_exit_atom(list_entry(b->callbacks.next, struct callback, by_peer),
				   "noconnection");
	node_callbacks_drained(n);
	node_callbacks_settle(n);
}

/* Somebody said exit(Pid, Reason) to the process that a peer sees, or one that is linked to it died. */
void node_callback_killed(struct node_holding *h)
{
	struct callback *c = of(h);
	struct node *n = h->node; /* `h` is a part of `c`, which is freed */

	if (c->kind != CALLBACK_CALL && c->kind != CALLBACK_RPC)
		return;
	callback_unsend(c);
	callback_exit(c, (struct span){ h->reason.data, h->reason.len });
	node_callbacks_settle(n);
}
