/* node_callback_hear.c - what processes of peers say to those who asked them.
 *
 * An answer is a message `{Ref, Reply}` to the pid that asked, from whomever: a server may have it
 * answered by somebody else. A DOWN ends a call with its reason; of an rpc it is the result:
 *
 *     {Ref, return, Value}           Value
 *     {Ref, throw, Term}             exit {throw, Term}
 *     {Ref, exit, Reason}            exit {exception, Reason}
 *     {Ref, error, Reason, Stack}    exit {exception, Reason, Stack}
 *     anything else                  exit {signal, Reason}: the process was killed
 *
 * What can go wrong: it is too late (it finds nothing and is counted); it is not of that form (likewise:
 * the true answer may still come); it is too long. */
#include "node_callback.h"

#include <stdio.h>

/* ---- rpc ---- */

static void exit_with(struct callback *c, const char *word, const uint8_t *first, uint32_t count)
{
	struct buf reason = { 0 };

	term_put_tuple(&reason, 1 + count);
	term_put_atom(&reason, word);
	for (; count > 0; count--, first = term_skip(first))
		term_put_raw(&reason, term_span(first));
	if (reason.err == 0)
		callback_exit(c, (struct span){ reason.data, reason.len });
	else
		callback_refuse(c, "no memory");
	buf_free(&reason);
}

/* The second element and those behind it of {Ref, ...} with our reference; else NULL. */
static const uint8_t *own_result(const struct callback *c, const uint8_t *t, uint32_t *arity)
{
	const uint8_t *e;

	if (!term_tuple(t, arity, &e) || *arity < 2 || term_kind(e) != TERM_REF ||
	    node_own_ref(c->h.node, term_span(e)) != c->h.id)
		return NULL;
	return term_skip(e);
}

static void rpc_ended(struct callback *c, const uint8_t *reason)
{
	uint32_t arity;
	const uint8_t *word = own_result(c, reason, &arity);
	const uint8_t *value = word != NULL ? term_skip(word) : NULL;

	c->spawned = false; /* its monitor has fired */
	if (word != NULL && arity == 3 && term_is_atom(word, "return"))
		callback_ok(c, value);
	else if (word != NULL && arity == 3 && term_is_atom(word, "throw"))
		exit_with(c, "throw", value, 1);
	else if (word != NULL && arity == 3 && term_is_atom(word, "exit"))
		exit_with(c, "exception", value, 1);
	else if (word != NULL && arity == 4 && term_is_atom(word, "error"))
		exit_with(c, "exception", value, 2);
	else if (term_is_atom(reason, "noconnection"))
		callback_exit(c, term_span(reason));
	else
		exit_with(c, "signal", reason, 1);
}

static void whereis_ended(struct callback *c, const uint8_t *reason)
{
	uint32_t arity;
	const uint8_t *word = own_result(c, reason, &arity);
	struct callback *about = callback_find(c->h.node, c->about);
	struct term_pid pid;
	struct local_pid local;
	bool found = word != NULL && arity == 3 && term_is_atom(word, "return") &&
		     term_pid(term_skip(word), &pid);

	local = found ? node_local_pid(&pid) : (struct local_pid){ 0 };
	if (c->about == 0) {
		callback_leader_known(c->books, found ? &local : NULL);
	} else if (about != NULL && found) {
		about->pid = local;
		about->resolved = true;
	}
	callback_free(c);
}

void node_callback_spawned(struct books *b, const struct dist_event *ev)
{
	struct callback *c = callback_find(b->node, node_own_ref(b->node, ev->ref));
	struct term_pid pid;

	if (c == NULL || c->books != b || (c->kind != CALLBACK_RPC && c->kind != CALLBACK_WHEREIS))
		return;
	if (term_pid(ev->reason, &pid)) {
		c->pid = node_local_pid(&pid);
		c->spawned = true;
		return;
	}
	if (c->kind == CALLBACK_RPC)
		exit_with(c, "erpc", ev->reason, 1);
	else
		whereis_ended(c, ev->reason);
	node_callbacks_settle(b->node);
}

/* ---- all kinds ---- */

void node_callback_down(struct books *b, uint64_t ref_id, const struct dist_event *ev)
{
	struct callback *c = callback_find(b->node, ref_id);
	struct node_pool *p = NULL;

	if (c == NULL || c->books != b)
		return;
	switch (c->kind) {
	case CALLBACK_CALL:
	case CALLBACK_MONITOR:
		callback_exit(c, term_span(ev->reason));
		break;
	case CALLBACK_RPC:
		rpc_ended(c, ev->reason);
		break;
	case CALLBACK_WHEREIS:
		whereis_ended(c, ev->reason);
		while ((p = node_pool_any_next(b->node, p)) != NULL)
			node_deadlock_check(p);
		break;
	case CALLBACK_SEND:
		break;
	}
	node_callbacks_settle(b->node);
}

void node_callback_message(struct books *b, const struct dist_event *ev, struct node_holding *h)
{
	struct callback *c = list_entry(h, struct callback, h);
	const uint8_t *reply = NULL;
	uint32_t arity = 0;

	if (c->kind == CALLBACK_CALL)
		reply = own_result(c, ev->payload.at, &arity);
	if (reply == NULL || arity != 2) {
		b->node->junk++;
		return;
	}
	callback_ok(c, reply);
	node_callbacks_settle(b->node);
}

bool node_callback_oversize(struct books *b, const struct dist_event *ev)
{
	struct node_holding *h = ev->to_is_pid ? holding_find(b->node, &ev->to_pid) : NULL;
	struct callback *c;
	char text[128];

	if (h == NULL || h->kind != HOLDING_CALLBACK)
		return false;
	c = list_entry(h, struct callback, h);
	if (c->kind != CALLBACK_CALL)
		return true;
	snprintf(text, sizeof text, "the answer has %llu bytes, over max_request_bytes",
		 (unsigned long long)ev->total_len);
	callback_unsend(c);
	callback_refuse(c, text);
	node_callbacks_settle(b->node);
	return true;
}
