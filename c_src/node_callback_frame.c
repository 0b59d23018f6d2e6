/* node_callback_frame.c - what a worker says to processes of peers.
 *
 * The happy path: a CALLBACK frame -> its elements -> where to, and what, as terms -> over the connection,
 * or to those that wait for one (node_connect.c).
 * What can go wrong: the frame is not in the protocol (the worker is broken); the address or the value has
 * no term, or is over a limit; there are CALLBACKS_MAX already; nobody waits for the call on whose
 * behalf it is; a name without a node, and no caller whose node that would be; a node that cannot be
 * reached. All of these are told to the worker alone; a message that nobody waits for is dropped with a
 * line in the log at debug level, as the BEAM drops one. */
#include "node_callback.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MAX (UINT64_C(1) << 40) /* ms: 34 years are as good as for ever */

/* The elements of a frame. */
struct said {
	uint64_t number, call_id, timeout_ms;
	enum callback_kind kind;
	bool ends; /* "cancel" or "demonitor" */
	bool timed;
	struct span dest, value; /* msgpack */
};

/* Where it is to go. */
struct address {
	enum callback_to to;
	struct term_pid pid;
	struct span name, node; /* node: len 0: the caller's */
};

static bool get_kind(const uint8_t **at, const uint8_t *end, struct said *s)
{
	static const struct {
		const char *name;
		enum callback_kind kind;
		bool ends;
	} kinds[] = {
		{ "call", CALLBACK_CALL, false },        { "send", CALLBACK_SEND, false },
		{ "rpc", CALLBACK_RPC, false },          { "monitor", CALLBACK_MONITOR, false },
		{ "demonitor", CALLBACK_MONITOR, true }, { "cancel", CALLBACK_CALL, true },
	};
	const char *text;
	size_t len;

	if (!frame_get_str(at, end, &text, &len))
		return false;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (strlen(kinds[i].name) != len || memcmp(kinds[i].name, text, len) != 0)
			continue;
		s->kind = kinds[i].kind;
		s->ends = kinds[i].ends;
		return true;
	}
	return false;
}

static bool get_any(const uint8_t **at, const uint8_t *end, struct span *value)
{
	value->at = *at;
	if (!frame_skip(at, end))
		return false;
	value->len = (size_t)(*at - value->at);
	return true;
}

static bool parse(const struct frame *frame, struct said *s)
{
	const uint8_t *at = frame->rest, *end = at + frame->rest_len;

	*s = (struct said){ .number = frame->id };
	if (frame->count != 5 || !frame_get_uint(&at, end, &s->call_id) || !get_kind(&at, end, s) ||
	    !get_any(&at, end, &s->dest) || !get_any(&at, end, &s->value) || at == end)
		return false;
	if (*at == 0xc0)
		at++;
	else if (!frame_get_uint(&at, end, &s->timeout_ms))
		return false;
	else
		s->timed = s->timeout_ms < TIMEOUT_MAX;
	return at == end && (s->number == 0) == (s->kind == CALLBACK_SEND);
}

/* ---- addresses ---- */

/* The text of an atom or a binary that can be an atom: not empty, UTF-8, at most 255 characters. */
static bool take_atom(const uint8_t *t, struct span *text)
{
	size_t characters = 0;

	if (!term_atom(t, text, NULL) && !term_binary(t, text))
		return false;
	for (size_t i = 0; i < text->len; i++)
		characters += (text->at[i] & 0xc0) != 0x80;
	return text->len > 0 && characters <= TERM_ATOM_MAX && term_utf8(text->at, text->len) &&
	       memchr(text->at, '\0', text->len) == NULL;
}

/* A pid, a name, {Name, Node}, [Name, Node]; for an rpc a node, or nil. */
static bool take_address(const uint8_t *t, bool rpc, struct address *a)
{
	uint32_t count;
	const uint8_t *e;

	*a = (struct address){ .to = TO_NODE };
	if (rpc)
		return term_is_atom(t, "nil") || take_atom(t, &a->node);
	if (term_pid(t, &a->pid)) {
		a->to = TO_PID;
		a->node = (struct span){ (const uint8_t *)a->pid.node, a->pid.node_len };
		return true;
	}
	a->to = TO_NAME;
	if ((term_tuple(t, &count, &e) || term_list(t, &count, &e)) && count == 2)
		return take_atom(e, &a->name) && take_atom(term_skip(e), &a->node);
	return !term_is_atom(t, "nil") && take_atom(t, &a->name);
}

/* ---- values ---- */

static int to_term(struct node_pool *p, struct span value, const char *root, size_t most,
		   struct buf *out, struct transcode_error *err)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = most,
					  .strings_utf8 = true };

	return transcode_value(value.at, value.len, root, &opts, out, NULL, err);
}

static int not_said(struct transcode_error *err, const char *where, const char *what)
{
	*err = (struct transcode_error){ .fault = TRANSCODE_UNENCODABLE };
	snprintf(err->where, sizeof err->where, "%s", where);
	snprintf(err->what, sizeof err->what, "%s", what);
	return -1;
}

/* [Module, Function, Args] of an rpc: as three terms, the first two atoms. */
static int rpc_terms(struct node_pool *p, struct span value, struct buf *out,
		     struct transcode_error *err)
{
	static const char *const roots[] = { "module", "function", "args" };
	const uint8_t *at = value.at, *end = at + value.len;
	size_t most = p->config->max_result_bytes;
	struct buf name = { 0 };
	struct span element, text;
	uint32_t count;
	size_t args;
	int rc = 0;

	if (!frame_get_array(&at, end, &count) || count != 3)
		return not_said(err, "rpc", "[module, function, args] is expected");
	for (int i = 0; i < 2 && rc == 0; i++) {
		rc = get_any(&at, end, &element)
			     ? to_term(p, element, roots[i], CALLBACK_DEST_MAX, &name, err)
			     : not_said(err, roots[i], "cut off");
		if (rc == 0 && !take_atom(name.data, &text))
			rc = not_said(err, roots[i], "a name is expected");
		if (rc == 0)
			term_put_atom_n(out, (const char *)text.at, text.len);
		buf_reset(&name, CALLBACK_DEST_MAX);
	}
	buf_free(&name);
	if (rc != 0)
		return rc;
	args = out->len;
	if ((rc = to_term(p, (struct span){ at, (size_t)(end - at) }, roots[2], most, out, err)) !=
	    0)
		return rc;
	if (out->err == 0 && term_kind(out->data + args) != TERM_LIST &&
	    term_kind(out->data + args) != TERM_NIL)
		return not_said(err, roots[2], "a list is expected");
	return 0;
}

/* ---- what is said is done ---- */

static void refuse(struct node_worker *w, const struct said *s, const char *text)
{
	if (s->kind == CALLBACK_SEND)
		log_line(LOG_DEBUG, w->object, "its message is dropped: %s", text);
	else
		callback_refuse_number(w, s->number, s->kind == CALLBACK_MONITOR, text);
}

/* What cannot be a term; or the worker is to blame. */
static void refuse_fault(struct node_worker *w, const struct said *s, const char *what,
			 const struct transcode_error *err)
{
	char text[512];

	if (err->fault == TRANSCODE_CORRUPT) {
		node_worker_broken(w, "bad_frame", "a CALLBACK with a value that is none");
		return;
	}
	callback_fault_text(what, err, text, sizeof text);
	refuse(w, s, text);
}

/* There is a connection, or none can be had. */
static void on_connected(struct connect_waiter *waiter, struct books *b)
{
	struct callback *c = list_entry(waiter, struct callback, waiter);
	struct node *n = c->h.node;

	if (b != NULL)
		callback_send(c, b, (struct span){ c->message, c->message_len });
	else
		callback_exit_atom(c, "noconnection"); /* of a message: why is logged already */
	node_callbacks_drained(n);
	node_callbacks_settle(n);
}

/* The record; NULL: no memory. */
static struct callback *make(struct node_worker *w, const struct said *s, const struct address *a,
			     const struct node_request *r)
{
	struct callback *c = callback_new(w->pool->node, s->kind, w, s->number, r);

	if (c == NULL)
		return NULL;
	c->to = a->to;
	c->pid = node_local_pid(&a->pid);
	c->waiter.done = on_connected;
	if (a->to == TO_NAME && (c->name = mem_dup(a->name.at, a->name.len)) == NULL) {
		callback_free(c);
		return NULL;
	}
	if (s->timed)
		callback_arm(c, s->timeout_ms);
	return c;
}

static void go_later(struct node_worker *w, const struct said *s, const struct address *a,
		     struct callback *c, struct span message)
{
	if (!callback_keep(c, message)) {
		refuse(w, s, "no memory");
		callback_free(c);
	} else if (!node_connect(w->pool->node, a->node, &c->waiter)) {
		callback_exit_atom(c, "noconnection");
	} else {
		callback_throttle(w, NULL);
	}
}

/* To the peer `b`; NULL: it is not connected yet. */
static void go(struct node_worker *w, const struct said *s, const struct address *a,
	       const struct node_request *r, struct books *b, struct span message)
{
	struct local_pid pid = node_local_pid(&a->pid);
	char name[TERM_ATOM_BYTES + 1] = "";
	struct callback *c;

	if (b != NULL && s->kind == CALLBACK_SEND) {
		if (a->to == TO_NAME)
			memcpy(name, a->name.at, a->name.len);
		name[a->name.len] = '\0';
		if (!callback_message(b, a->to, &pid, name, message))
			refuse(w, s, "no memory");
		callback_throttle(w, b);
	} else if ((c = make(w, s, a, r)) == NULL) {
		refuse(w, s, "no memory");
	} else if (b != NULL) {
		callback_send(c, b, message);
		callback_throttle(w, b);
	} else {
		go_later(w, s, a, c, message);
	}
}

/* The caller's node, when no other is named. NULL: there is none, and that was said. */
static struct books *home_of(struct node_worker *w, const struct said *s,
			     const struct node_request *r)
{
	if (r != NULL && !r->cast && r->books != NULL)
		return r->books;
	refuse(w, s,
	       r == NULL ? "a name without a node is one on the caller's node, and no caller waits "
			   "for this call"
			 : "a name without a node is one on the caller's node, and a cast has no "
			   "caller");
	return NULL;
}

static void begin(struct node_worker *w, const struct said *s, struct buf *dest)
{
	struct node_request *r = callback_request(w, s->call_id);
	struct node *n = w->pool->node;
	const char *own = n->options->name;
	struct transcode_error err;
	struct address a;
	struct books *b;

	if (s->kind != CALLBACK_SEND && r == NULL) {
		refuse(w, s, "nobody waits for the call that this is said in");
		return;
	}
	if (to_term(w->pool, s->dest, "dest", CALLBACK_DEST_MAX, dest, &err) != 0) {
		refuse_fault(w, s, "the address", &err);
		return;
	}
	if (dest->err != 0 || !take_address(dest->data, s->kind == CALLBACK_RPC, &a)) {
		refuse(w, s,
		       s->kind == CALLBACK_RPC ? "a node's name is expected"
					       : "a pid, a name or (name, node) is expected");
		return;
	}
	b = a.node.len > 0 ? books_find(n, (const char *)a.node.at, a.node.len) : home_of(w, s, r);
	if (b == NULL && a.node.len == 0)
		return;
	if (a.node.at != NULL && a.node.len == strlen(own) &&
	    memcmp(a.node.at, own, a.node.len) == 0) {
		refuse(w, s, "that is a process of the node that this worker belongs to");
		return;
	}
	buf_reset(&n->scratch, 1024 * 1024);
	if (s->kind == CALLBACK_MONITOR ? 0
	    : s->kind == CALLBACK_RPC
		    ? rpc_terms(w->pool, s->value, &n->scratch, &err)
		    : to_term(w->pool, s->value, s->kind == CALLBACK_CALL ? "request" : "message",
			      w->pool->config->max_result_bytes, &n->scratch, &err)) {
		refuse_fault(w, s, "what is said", &err);
		return;
	}
	if (n->scratch.err != 0)
		refuse(w, s, "no memory");
	else
		go(w, s, &a, r, b, (struct span){ n->scratch.data, n->scratch.len });
}

void node_callback_frame(struct node_worker *w, const struct frame *frame)
{
	size_t most = 2 * w->pool->config->max_request_bytes + (1 << 20);
	struct callback *c = NULL;
	struct buf dest = { 0 };
	struct said s;

	if (!parse(frame, &s)) {
		node_worker_broken(w, "bad_frame", "a CALLBACK that is not one");
		return;
	}
	if (s.kind != CALLBACK_SEND)
		HASH_FIND(hh, w->callbacks, &s.number, sizeof s.number, c);
	if (s.ends) {
		if (c != NULL) { /* else it is late */
			callback_unsend(c);
			callback_free(c);
		}
	} else if (c != NULL) {
		node_worker_broken(w, "bad_frame", "a CALLBACK with the id of another one");
	} else if (worker_unsent(w->io) > most) {
		node_worker_broken(w, "bad_frame", "it asks and does not read");
	} else if (w->no_callbacks && s.kind != CALLBACK_SEND) {
		return; /* last words of a worker that is gone */
	} else if (s.kind != CALLBACK_SEND && HASH_COUNT(w->callbacks) >= CALLBACKS_MAX) {
		refuse(w, &s, "there are 1024 calls and monitors of this worker already");
	} else {
		begin(w, &s, &dest);
		buf_free(&dest);
	}
	node_callbacks_settle(w->pool->node);
}
