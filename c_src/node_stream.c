/* node_stream.c - streams: opened, asked, cancelled, ended. What flows is in node_stream_flow.c.
 *
 * The happy path: {stream, M, F, Args} is admitted with its record, so that nothing can fail later ->
 * OPENED -> the caller owns the stream's pid (node_holding.c), {ok, Stream} -> items and asks -> RESULT
 * -> {krait_stream, Stream, done}, and monitors hear `normal`.
 * What can go wrong: the worker raises, dies or is too slow (the pool says so: {error, Reason} is the
 * end); an item has no term, or the client asks for nonsense (its generator is closed, then that is the
 * end); {cancel}, exit(Stream, Reason), the end of a linked process (closed, then `done`); the owner is
 * gone (closed, and nobody is left to be told but other monitors).
 *
 * The end is told by node_stream_done() alone, when the pool is done with the request: exactly once. */
#include "node_stream.h"

#include <assert.h>
#include <string.h>

#define ASK_MAX 1000000000

struct node_stream *node_stream_of(struct node_holding *h)
{
	return list_entry(h, struct node_stream, h);
}

/* Room for the head of an item's message: two pids (13 bytes, and an atom of up to 3 more than its text)
 * in at most 100 bytes of frame, tuples and words. */
static size_t head_room(const struct node *n, const struct books *home)
{
	return 100 + 2 * (13 + 3) + strlen(n->options->name) +
	       strlen(dist_peer_name(peer_dist(home->peer)));
}

struct node_stream *node_stream_new(struct node_pool *p, const struct books *home,
				    const struct request *req, uint64_t id)
{
	size_t room = head_room(p->node, home);
	struct node_stream *s = mem_zalloc(sizeof *s + room);

	if (s == NULL)
		return NULL;
	holding_init(&s->h, HOLDING_STREAM, p->node, id);
	list_init(&s->stalled);
	s->owner_pool = p;
	s->timeout_us = req->timeout_ms == REQUEST_INFINITY ? POOL_NEVER : req->timeout_ms * 1000;
	s->credit = node_stream_first(req);
	s->window = STREAM_FIRST;
	s->asked = req->demand - s->credit;
	s->head_room = (uint32_t)room;
	return s;
}

void node_stream_free(struct node_stream *s)
{
	if (s == NULL)
		return;
	list_remove(&s->stalled);
	holding_close(&s->h);
	mem_free(s);
}

/* ---- messages to the owner ---- */

/* {krait_stream, Stream, and its last element is to follow. NULL: nobody would hear it. */
static struct buf *message_begin(struct node_stream *s, size_t *mark)
{
	struct books *b = s->h.books;
	struct term_pid owner, ours = holding_pid(&s->h);
	struct buf *out;

	if (b == NULL || b->forgotten || peer_closing(b->peer))
		return NULL;
	owner = books_pid(b, &s->h.owner);
	out = dist_output(peer_dist(b->peer));
	*mark = dist_begin_send(peer_dist(b->peer), &owner);
	term_put_tuple(out, 3);
	term_put_atom(out, "krait_stream");
	term_put_pid(out, &ours);
	return out;
}

/* Keeps what every item's message begins with. */
static bool keep_head(struct node_stream *s)
{
	struct buf *out;
	size_t mark = 0;

	if ((out = message_begin(s, &mark)) == NULL)
		return true;
	term_put_tuple(out, 2);
	term_put_atom(out, "item");
	if (out->err == 0) {
		s->head_len = (uint32_t)(out->len - mark);
		assert(s->head_len <= s->head_room);
		memcpy(s->head, out->data + mark, s->head_len);
	}
	dist_abort(peer_dist(s->h.books->peer), mark);
	return s->head_len > 0;
}

void node_stream_opened(struct node_request *r)
{
	struct node_stream *s = r->stream;
	struct reply_to to = reply_to_request(r);
	struct term_pid pid = holding_pid(&s->h);
	struct buf *out;
	size_t mark;

	s->request = r;
	s->sums.opened_us = node_now_us();
	if (node_hears(s->owner_pool))
		node_event_stream_opened(s->owner_pool, r, &pid);
	if (!holding_granted(&s->h, r))
		return; /* its connection is closed, and the stream goes with that */
	if (r->heard_by == HEARD_WATCH) { /* the owner's is another */
		watch_free(r->watch, true);
		r->heard_by = HEARD_NOT;
	}
	if (!keep_head(s)) {
		peer_close(s->h.books->peer, "no memory for a stream of one of its processes");
		return;
	}
	if ((out = answer_begin(&to, &mark)) == NULL)
		return;
	term_put_tuple(out, 2);
	term_put_atom(out, "ok");
	term_put_pid(out, &pid);
	answer_end(&to, mark);
}

/* ---- closing ---- */

void node_stream_close(struct node_stream *s, enum stream_end end)
{
	if (s->closing)
		return;
	s->closing = true;
	s->end = end;
	node_stream_resume(s); /* what it has still to say is its end */
	node_pool_event(s->owner_pool, &(struct pool_event){ .type = POOL_CLOSE_STREAM,
							     .request = &s->request->pool });
}

/* Whether nobody is left to whom its end could be told: its owner is not watched any more, or gave up
 * before it heard of the stream. */
static bool is_orphan(const struct node_stream *s)
{
	return s->h.watch == NULL || (s->h.grant == NULL && s->h.probe_id != 0);
}

void node_stream_down(struct node_holding *h)
{
	struct node_stream *s = node_stream_of(h);

	if (is_orphan(s))
		node_pool_event(
			s->owner_pool,
			&(struct pool_event){ .type = POOL_ABANDON, .request = &s->request->pool });
	else
		node_stream_close(s, STREAM_END_WORKER);
}

/* ---- messages from clients ---- */

void node_stream_message(struct books *b, const struct dist_event *ev, struct node_holding *h)
{
	struct node_stream *s = node_stream_of(h);
	const uint8_t *e;
	uint32_t arity;
	int64_t n;

	if (term_kind(ev->payload.at) != TERM_TUPLE || !term_tuple(ev->payload.at, &arity, &e))
		arity = 0;
	if (arity == 1 && term_is_atom(e, "cancel")) {
		node_stream_close(s, STREAM_END_WORKER);
	} else if (arity == 2 && term_is_atom(e, "ask")) {
		if (!term_int(term_skip(e), &n) || n < 1 || n > ASK_MAX) {
			node_stream_close(s, STREAM_END_BAD_ASK);
		} else if (!s->closing) {
			s->asked += (uint64_t)n; /* 2^64 is more than anybody lives to ask for */
			node_stream_flow(s, false);
		}
	} else {
		node_request_message(b, ev, TARGET_STREAM, s->owner_pool, NULL);
	}
}

/* ---- the end ---- */

/* The Reason of a stream that failed, and which kind; `done` is ANSWER_OK and leaves `out` as it is. */
static enum answer_kind put_end(struct node_pool *p, struct node_request *r, struct buf *out)
{
	const struct node_stream *s = r->stream;
	struct called c;

	if (s->end == STREAM_END_FAULT) {
		answer_put_fault(out, &s->fault);
		return answer_fault_kind(s->fault.fault);
	}
	if (s->end == STREAM_END_BAD_ASK) {
		request_put_bad(out, "{ask, N}, N an integer from 1 to 1000000000");
		return ANSWER_BAD_REQUEST;
	}
	if (r->pool.outcome != OUTCOME_OK)
		return answer_put_outcome(p, r, out);
	if (p->frame != NULL && p->frame->type == FRAME_ERROR) {
		node_request_called(r, &c);
		return answer_put_worker_error(p, c.module, c.function, p->frame->rest,
					       p->frame->rest + p->frame->rest_len, out);
	}
	return ANSWER_OK;
}

static void tell_owner(struct node_stream *s, enum answer_kind kind, const struct buf *reason)
{
	struct buf *out;
	size_t mark;

	if ((out = message_begin(s, &mark)) == NULL)
		return;
	if (kind == ANSWER_OK) {
		term_put_atom(out, "done");
	} else {
		answer_put_error(out);
		term_put_raw(out, (struct span){ reason->data, reason->len });
	}
	if (reason->err != 0 || dist_end(peer_dist(s->h.books->peer), mark) != 0) {
		dist_abort(peer_dist(s->h.books->peer), mark);
		peer_close(s->h.books->peer, "no memory for the end of a stream");
	}
	books_mark_dirty(s->h.books);
}

/* An answer to a stream's call that is neither an opening nor an error: its worker is confused. */
static void answer_never_opened(struct node_pool *p, struct node_request *r)
{
	static const struct transcode_error err = { .fault = TRANSCODE_UNENCODABLE,
						    .where = "result",
						    .what = ":not_a_stream" };
	struct reply_to to = reply_to_request(r);
	struct buf reason = { 0 };

	answer_put_fault(&reason, &err);
	if (reason.err == 0)
		answer_error(&to, (struct span){ reason.data, reason.len });
	buf_free(&reason);
	answer_count(p, r, answer_fault_kind(err.fault));
}

bool node_stream_done(struct node_pool *p, struct node_request *r)
{
	static const uint8_t normal[] = { 119, 6, 'n', 'o', 'r', 'm', 'a', 'l' };
	struct span why = { normal, sizeof normal };
	struct node_stream *s = r->stream;
	struct buf reason = { 0 };

	if (s->request == NULL) {
		if (r->pool.outcome != OUTCOME_OK || p->frame->type == FRAME_ERROR)
			return false;
		answer_never_opened(p, r);
		node_stream_free(s);
		return true;
	}
	node_stream_resume(s);
	if (r->pool.outcome != OUTCOME_ABANDONED) {
		enum answer_kind kind = put_end(p, r, &reason);

		answer_count(p, r, kind);
		tell_owner(s, kind, &reason);
	}
	if (s->h.reason.len > 0)
		why = (struct span){ s->h.reason.data, s->h.reason.len };
	else if (reason.len > 0 && reason.err == 0)
		why = (struct span){ reason.data, reason.len };
	if (node_hears(p)) {
		struct term_pid pid = holding_pid(&s->h);

		node_event_stream_ended(p, r, &pid, &s->sums);
	}
	holding_ended(&s->h, why);
	buf_free(&reason);
	node_stream_free(s);
	return true;
}
