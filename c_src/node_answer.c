/* node_answer.c - what requests are answered with, and why they failed: the reasons of docs/protocol.md.
 *
 * Written straight into the peer's output (node_reply.c). Whatever cannot be written (no memory, over a
 * limit, a value that has no term) is cut back whole and replaced by an error. */
#include "node_private.h"

#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum answer_kind answer_fault_kind(enum transcode_fault fault)
{
	return fault == TRANSCODE_TOO_DEEP    ? ANSWER_TOO_DEEP
	       : fault == TRANSCODE_TOO_LARGE ? ANSWER_TOO_LARGE
					      : ANSWER_UNENCODABLE;
}

/* A word that begins with ':' is an atom, everything else text; a worker's word may be anything. */
static void put_what(struct buf *out, const char *what, size_t len)
{
	if (len > 1 && len <= TERM_ATOM_MAX && what[0] == ':' && term_utf8(what + 1, len - 1))
		term_put_atom_n(out, what + 1, len - 1);
	else
		term_put_binary(out, what, len);
}

static void put_unencodable(struct buf *out, const char *where, size_t where_len, const char *what,
			    size_t what_len)
{
	term_put_tuple(out, 3);
	term_put_atom(out, "unencodable");
	term_put_binary(out, where, where_len);
	put_what(out, what, what_len);
}

static void put_too_large(struct buf *out, uint64_t bytes, uint64_t limit)
{
	term_put_tuple(out, 3);
	term_put_atom(out, "too_large");
	term_put_uint(out, bytes);
	term_put_uint(out, limit);
}

static void put_too_deep(struct buf *out, uint64_t limit)
{
	term_put_tuple(out, 2);
	term_put_atom(out, "too_deep");
	term_put_uint(out, limit);
}

void answer_put_fault(struct buf *out, const struct transcode_error *err)
{
	switch (err->fault) {
	case TRANSCODE_TOO_DEEP:
		put_too_deep(out, err->limit);
		break;
	case TRANSCODE_TOO_LARGE:
		put_too_large(out, err->bytes, err->limit);
		break;
	case TRANSCODE_OK:
	case TRANSCODE_UNENCODABLE:
		put_unencodable(out, err->where, strlen(err->where), err->what, strlen(err->what));
		break;
	case TRANSCODE_NO_MEMORY:
		put_unencodable(out, err->where, strlen(err->where), ":no_memory", 10);
		break;
	case TRANSCODE_CORRUPT:
		put_unencodable(out, err->where, strlen(err->where), ":corrupt", 8);
		break;
	}
}

/* ---- what a worker answered ---- */

static void put_python_field(struct buf *out, const char *key, const uint8_t **at,
			     const uint8_t *end)
{
	const char *text = "";
	size_t len = 0;

	term_put_atom(out, key);
	(void)frame_get_str(at, end, &text, &len);
	term_put_binary(out, text, len);
}

/* {python, #{type, module, message, traceback, args}} of the rest of an ERROR frame. */
static void put_python(struct node_pool *p, struct buf *out, const uint8_t *at, const uint8_t *end)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = p->config->max_result_bytes,
					  .strings_utf8 = true };
	struct transcode_error err;

	term_put_tuple(out, 2);
	term_put_atom(out, "python");
	term_put_map(out, 5);
	put_python_field(out, "type", &at, end);
	put_python_field(out, "module", &at, end);
	put_python_field(out, "message", &at, end);
	put_python_field(out, "traceback", &at, end);
	term_put_atom(out, "args");
	if (transcode_value(at, (size_t)(end - at), "args", &opts, out, NULL, &err) != 0)
		term_put_nil(out);
}

static void put_name_error(struct buf *out, const char *reason, struct span module,
			   struct span function)
{
	term_put_tuple(out, 3);
	term_put_atom(out, reason);
	term_put_raw(out, module);
	term_put_raw(out, function);
}

static bool is_kind(const char *kind, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(kind, name, len) == 0;
}

enum answer_kind answer_put_worker_error(struct node_pool *p, struct span module,
					 struct span function, const uint8_t *at,
					 const uint8_t *end, struct buf *out)
{
	const char *kind = "", *where = "", *what = "";
	size_t kind_len = 0, where_len = 0, what_len = 0;
	uint64_t a = 0, b = 0;

	(void)frame_get_str(&at, end, &kind, &kind_len);
	if (is_kind(kind, kind_len, "python")) {
		put_python(p, out, at, end);
		return ANSWER_PYTHON;
	}
	/* what has no names (a ping, a batch as a whole) cannot lack them: the worker lies */
	if (module.len > 0 &&
	    (is_kind(kind, kind_len, "no_function") || is_kind(kind, kind_len, "not_allowed"))) {
		put_name_error(out, kind[3] == 'f' ? "no_function" : "not_allowed", module,
			       function);
		return kind[3] == 'f' ? ANSWER_NO_FUNCTION : ANSWER_NOT_ALLOWED;
	}
	if (is_kind(kind, kind_len, "too_deep")) {
		(void)frame_get_uint(&at, end, &a);
		put_too_deep(out, a);
		return ANSWER_TOO_DEEP;
	}
	if (is_kind(kind, kind_len, "too_large")) {
		(void)(frame_get_uint(&at, end, &a) && frame_get_uint(&at, end, &b));
		put_too_large(out, a, b);
		return ANSWER_TOO_LARGE;
	}
	(void)(frame_get_str(&at, end, &where, &where_len) &&
	       frame_get_str(&at, end, &what, &what_len));
	put_unencodable(out, where, where_len, what, what_len);
	return ANSWER_UNENCODABLE;
}

/* {ok, Value}; or what is wrong with the value, as {error, Reason}. `body` is where the reply begins. */
static enum answer_kind put_result(struct node_pool *p, const struct frame *frame, struct buf *out,
				   struct parcel_parts *apart)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = p->config->max_result_bytes,
					  .strings_utf8 = true,
					  .apart = apart };
	struct transcode_error err;
	bool begun = out->err == 0; /* else the message has no head, and nothing may follow it */
	size_t start = out->len;

	term_put_tuple(out, 2);
	term_put_atom(out, "ok");
	if (transcode_value(frame->rest, frame->rest_len, "result", &opts, out, NULL, &err) == 0)
		return ANSWER_OK;
	out->len = start;
	if (err.fault == TRANSCODE_NO_MEMORY && begun)
		out->err = 0;
	answer_put_error(out);
	answer_put_fault(out, &err);
	return answer_fault_kind(err.fault);
}

static enum answer_kind put_answer(struct node_pool *p, struct node_request *r, struct buf *out,
				   struct parcel_parts *apart)
{
	const struct frame *frame = p->frame;
	struct called c;

	if (frame->type == FRAME_PONG) {
		term_put_tuple(out, 2);
		term_put_atom(out, "ok");
		term_put_uint(out, node_now_us() - r->pool.started_us);
		return ANSWER_OK;
	}
	if (frame->type == FRAME_RESULT)
		return r->verb == VERB_BATCH ? node_batch_put(p, r, frame, out)
					     : put_result(p, frame, out, apart);
	answer_put_error(out);
	node_request_called(r, &c);
	return answer_put_worker_error(p, c.module, c.function, frame->rest,
				       frame->rest + frame->rest_len, out);
}

/* ---- how a worker ended ---- */

/* {worker_exit, Map}. `w` may not have ended yet: killed, but the kernel has not let go of it. */
void answer_put_worker_exit(struct buf *out, const struct node_worker *w)
{
	struct buf lines = { 0 };

	term_put_tuple(out, 2);
	term_put_atom(out, "worker_exit");
	term_put_map(out, 3);
	term_put_atom(out, "worker");
	term_put_uint(out, w->id);
	term_put_atom(out, "exit");
	term_put_tuple(out, 2);
	if (node_worker_killed_for(w) != NULL) {
		term_put_atom(out, "killed");
		term_put_atom(out, w->killed_for);
	} else if (!w->exited && w->os_pid != 0) {
		term_put_atom(out, "killed");
		term_put_atom(out, "no_exit");
	} else if (w->signal != 0) {
		term_put_atom(out, "signal");
		term_put_atom(out, signal_name(w->signal));
	} else {
		term_put_atom(out, "exit");
		term_put_int(out, w->status);
	}
	term_put_atom(out, "stderr");
	worker_last_lines(w->io, &lines);
	term_put_binary(out, lines.data, lines.len);
	buf_free(&lines);
}

/* ---- outcomes ---- */

static void put_pair(struct buf *out, const char *a, const char *b)
{
	term_put_tuple(out, 2);
	term_put_atom(out, a);
	term_put_atom(out, b);
}

static void put_overloaded(struct node_pool *p, struct buf *out)
{
	term_put_tuple(out, 2);
	term_put_atom(out, "overloaded");
	term_put_map(out, 2);
	term_put_atom(out, "queued");
	term_put_uint(out, pool_queued(p->pool));
	term_put_atom(out, "limit");
	term_put_uint(out, pool_config(p->pool)->queue_limit);
}

/* A word and the session's name. */
static enum answer_kind put_session(struct node_request *r, const char *word, enum answer_kind kind,
				    struct buf *out)
{
	term_put_tuple(out, 2);
	term_put_atom(out, word);
	node_session_put_id(r, out);
	return kind;
}

enum answer_kind answer_put_outcome(struct node_pool *p, struct node_request *r, struct buf *out)
{
	switch (r->pool.outcome) {
	case OUTCOME_TIMEOUT_QUEUE:
		put_pair(out, "timeout", "queue");
		return ANSWER_TIMEOUT_QUEUE;
	case OUTCOME_TIMEOUT_CALL:
		put_pair(out, "timeout", "call");
		return ANSWER_TIMEOUT_CALL;
	case OUTCOME_OVERLOADED:
		put_overloaded(p, out);
		return ANSWER_OVERLOADED;
	case OUTCOME_WORKER_EXIT:
		answer_put_worker_exit(
			out, p->dying != NULL ? p->dying : node_worker_find(p, r->pool.worker_id));
		return ANSWER_WORKER_EXIT;
	case OUTCOME_CIRCUIT_OPEN:
		term_put_tuple(out, 2);
		term_put_atom(out, "circuit_open");
		term_put_uint(out, pool_retry_after_ms(p->pool, node_now_us()));
		return ANSWER_CIRCUIT_OPEN;
	case OUTCOME_LEASE_CLOSED:
		term_put_atom(out, "lease_closed");
		return ANSWER_LEASE_CLOSED;
	case OUTCOME_SESSION_LOST:
		return put_session(r, "session_lost", ANSWER_SESSION_LOST, out);
	case OUTCOME_SESSION_BUSY:
		return put_session(r, "session_busy", ANSWER_SESSION_BUSY, out);
	case OUTCOME_DEADLOCK:
		term_put_tuple(out, 2);
		term_put_atom(out, "deadlock");
		term_put_text(out, "every worker that could run it waits for a process that waits "
				   "for this pool");
		return ANSWER_DEADLOCK;
	case OUTCOME_CANCELLED:
		term_put_atom(out, "cancelled");
		return ANSWER_CANCELLED;
	case OUTCOME_DRAINING:
	default:
		term_put_atom(out, "draining");
		return ANSWER_DRAINING;
	}
}

void answer_count(struct node_pool *p, struct node_request *r, enum answer_kind kind)
{
	p->answers[kind]++;
	r->answer = kind;
}

/* Where the large binaries of an answer may stay: in what it was received to. NULL: nowhere, or there are none. */
static struct share *hold_frame(struct node_pool *p, const struct reply_to *to,
				struct parcel_parts *parts)
{
	const struct frame *frame = p->frame;

	if (frame->rest_len < PARCEL_APART || !answer_may_part(to))
		return NULL;
	parcel_from(parts, frame->rest, frame->rest_len);
	return worker_share(p->frame_io);
}

void answer_outcome(struct node_pool *p, struct node_request *r)
{
	struct reply_to to = reply_to_request(r);
	struct buf nowhere = { 0 }, *out;
	struct share *held = NULL;
	struct parcel_parts parts;
	enum answer_kind kind;
	size_t mark = 0;

	if (r->form != REPLY_GEN) {
		node_rpc_outcome(p, r);
		return;
	}
	if (r->pool.outcome == OUTCOME_ABANDONED)
		return;
	if ((out = answer_begin(&to, &mark)) == NULL)
		out = &nowhere; /* a cast: the outcome is counted all the same */
	if (r->pool.outcome == OUTCOME_OK) {
		if (out != &nowhere)
			held = hold_frame(p, &to, &parts);
		kind = put_answer(p, r, out, held != NULL ? &parts : NULL);
	} else {
		answer_put_error(out);
		kind = answer_put_outcome(p, r, out);
	}
	answer_count(p, r, kind);
	if (held != NULL && parts.count > 0) {
		answer_end_apart(&to, mark, &parts, held);
	} else if (out != &nowhere) {
		share_drop(held);
		answer_end(&to, mark);
	}
	buf_free(&nowhere);
}
