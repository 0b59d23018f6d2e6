/* node_stream_flow.c - a stream's items on their way to the owner, and its credit on the way back.
 *
 *     client  --{ask, N}-->  asked  --ASK-->  credit  --ITEM-->  the peer's output
 *
 * What the client asked for is passed on to the worker a window at a time, so that a client that asks
 * for a million and reads slowly costs no memory: a window is at most WINDOW items, and as many as make
 * some WINDOW_BYTES. Nothing is passed on while more than UNSENT_MAX bytes wait for the peer to read
 * them; the stream is stalled until it has. A worker whose items have grown meanwhile is not read at
 * all while UNSENT_PAUSE wait, so its own pipe holds it up; with several slots that holds up its other
 * calls too, and comes much later.
 *
 * The cheap path: an item is one look-up, one copy of the message's head, one pass of transcode, all in
 * the peer's output. The pool hears of an item's deadline only when the last one it knows is too early:
 * each has DEADLINE_SLACK in hand, at most an eighth of the time-out.
 * What can go wrong: an item has no term (the stream ends with that); more items than were asked for
 * (the worker is broken); items of streams that are gone or closing (counted, dropped). */
#include "node_stream.h"

#include <errno.h>

#define WINDOW              4096u
#define WINDOW_MIN          2u
#define WINDOW_BYTES        (4u << 20)
#define UNSENT_FLUSH        (64u << 10) /* what is given to the kernel before the loop's turn ends */
#define UNSENT_MAX          (1u << 20)
#define UNSENT_PAUSE        (4u << 20)
#define UNSENT_PAUSE_SHARED (64u << 20)
#define DEADLINE_SLACK      UINT64_C(50000) /* microseconds */

uint32_t node_stream_first(const struct request *req)
{
	return req->demand < STREAM_FIRST ? req->demand : STREAM_FIRST;
}

static struct node_worker *worker_of(const struct node_stream *s)
{
	return node_worker_find(s->owner_pool, s->request->pool.worker_id);
}

/* The open stream that this worker runs under that id. */
static struct node_stream *find(const struct node_worker *w, uint64_t id)
{
	struct node_holding *h;

	HASH_FIND(hh, w->pool->node->holdings, &id, sizeof id, h);
	if (h == NULL || h->kind != HOLDING_STREAM ||
	    node_stream_of(h)->request->pool.worker_id != w->id)
		return NULL;
	return node_stream_of(h);
}

/* ---- credit ---- */

static void stall(struct node_stream *s)
{
	struct books *b = s->h.books;

	if (list_empty(&s->stalled))
		list_append(&b->stalled, &s->stalled);
	peer_tell_drained(b->peer, UNSENT_MAX);
}

static bool is_clogged(const struct node_stream *s, size_t bytes)
{
	const struct books *b = s->h.books;

	return b != NULL && !b->forgotten && !peer_closing(b->peer) && peer_unsent(b->peer) > bytes;
}

static void send_ask(struct node_stream *s, uint32_t count)
{
	struct node_worker *w = worker_of(s);
	struct buf *out = &s->h.node->scratch;
	size_t start;
	int rc;

	if (w == NULL)
		return;
	buf_reset(out, UNSENT_MAX);
	start = frame_begin(out, FRAME_ASK, s->h.id, 1);
	frame_put_uint(out, count);
	frame_end(out, start);
	rc = out->err != 0 ? out->err : worker_send(w->io, out->data, out->len);
	if (rc == -ENOMEM)
		node_worker_broken(w, "no_memory", "no memory for a frame to it");
}

/* Passes on what was asked for: at least as much as the worker still has, which is half of what it can
 * get, or a frame would go for each item. */
static void pass_on(struct node_stream *s)
{
	uint32_t room = s->credit < s->window ? s->window - s->credit : 0,
		 count = s->asked < room ? (uint32_t)s->asked : room;

	if (count == 0 || count < s->credit)
		return;
	if (is_clogged(s, UNSENT_MAX)) {
		stall(s);
		return;
	}
	s->asked -= count;
	s->credit += count;
	send_ask(s, count);
}

/* The pool's deadline for the item that the worker owes, if it does. */
static void mind_deadline(struct node_stream *s, bool item)
{
	uint64_t slack = s->timeout_us / 8 < DEADLINE_SLACK ? s->timeout_us / 8 : DEADLINE_SLACK,
		 due;

	if (s->timeout_us == POOL_NEVER)
		return;
	if (s->credit == 0 || s->paused) {
		due = POOL_NEVER;
	} else if (item || s->deadline_us == POOL_NEVER) {
		due = node_now_us() + s->timeout_us;
		if (s->deadline_us != POOL_NEVER && s->deadline_us >= due)
			return;
		due += slack;
	} else {
		return;
	}
	if (due == s->deadline_us)
		return;
	s->deadline_us = due;
	node_pool_event(s->owner_pool, &(struct pool_event){ .type = POOL_EXTEND,
							     .request = &s->request->pool,
							     .deadline_us = due });
}

void node_stream_flow(struct node_stream *s, bool item)
{
	if (s->closing)
		return;
	pass_on(s);
	mind_deadline(s, item);
}

void node_stream_open_frame(struct node_worker *w, const struct frame *frame)
{
	uint64_t id = frame->id;
	struct node_stream *s;

	node_pool_event(w->pool, &(struct pool_event){ .type = POOL_WORKER_OPENED,
						       .worker_id = w->id,
						       .call_id = id });
	if ((s = find(w, id)) != NULL && !s->begun) {
		s->begun = true;
		node_stream_flow(s, true); /* its first item is due */
	}
}

/* ---- back-pressure ---- */

void node_stream_resume(struct node_stream *s)
{
	struct node_worker *w;

	list_remove(&s->stalled);
	if (!s->paused)
		return;
	s->paused = false;
	if ((w = worker_of(s)) != NULL)
		worker_resume(w->io);
}

/* Too much waits for the peer although nothing was passed on: its items have grown. A worker reads again
 * when all that have paused it have let go, so each does that once. */
static void pause_if_clogged(struct node_stream *s, struct node_worker *w)
{
	bool shared = pool_config(s->owner_pool->pool)->slots > 1;

	if (s->paused || !is_clogged(s, shared ? UNSENT_PAUSE_SHARED : UNSENT_PAUSE))
		return;
	s->paused = true;
	worker_pause(w->io);
	stall(s);
}

void node_stream_drained(struct books *b)
{
	while (!list_empty(&b->stalled) && peer_unsent(b->peer) <= UNSENT_MAX) {
		struct node_stream *s = list_entry(b->stalled.next, struct node_stream, stalled);

		node_stream_resume(s);
		node_stream_flow(s, false);
	}
	if (!list_empty(&b->stalled))
		peer_tell_drained(b->peer, UNSENT_MAX);
}

/* ---- items ---- */

/* The owner's message, written into its peer's output. False: the item has no term. */
static bool write_item(struct node_stream *s, const struct frame *frame)
{
	const struct config_pool *c = s->owner_pool->config;
	struct transcode_options opts = { .max_depth = (uint32_t)c->max_depth,
					  .max_bytes = c->max_result_bytes,
					  .strings_utf8 = true };
	struct books *b = s->h.books;
	struct term_pid owner;
	struct buf *out;
	struct dist *d;
	size_t mark;

	if (b == NULL || b->forgotten || peer_closing(b->peer))
		return true; /* its owner is about to be given up */
	d = peer_dist(b->peer);
	out = dist_output(d);
	mark = out->len;
	owner = books_pid(b, &s->h.owner);
	dist_to(d, &owner);
	buf_put(out, s->head, s->head_len);
	if (transcode_value(frame->rest, frame->rest_len, "item", &opts, out, NULL, &s->fault) !=
	    0) {
		dist_abort(d, mark);
		return false;
	}
	if (dist_end(d, mark) != 0) {
		s->fault.fault = TRANSCODE_NO_MEMORY;
		return false;
	}
	books_mark_dirty(b);
	if (peer_unsent(b->peer) > UNSENT_FLUSH)
		peer_flush(b->peer);
	return true;
}

/* What an item's length says of those to come: the longest of late. */
static void set_window(struct node_stream *s, size_t len)
{
	size_t window;

	s->item_bytes = len > s->item_bytes ? len : s->item_bytes - (s->item_bytes - len) / 16;
	window = WINDOW_BYTES / (s->item_bytes + 1);
	s->window = window > WINDOW ? WINDOW : window < WINDOW_MIN ? WINDOW_MIN : (uint32_t)window;
}

void node_stream_item(struct node_worker *w, const struct frame *frame)
{
	struct node_stream *s = find(w, frame->id);

	if (s == NULL) {
		w->pool->late_items++;
		return;
	}
	if (s->credit == 0 || frame->count != 1) {
		node_worker_broken(w, "bad_frame", "an item that nobody asked for");
		return;
	}
	s->credit--;
	if (s->closing) {
		w->pool->late_items++;
		return;
	}
	if (!write_item(s, frame)) {
		node_stream_close(s, STREAM_END_FAULT);
		return;
	}
	s->sums.items++;
	s->sums.bytes += frame->rest_len;
	set_window(s, frame->rest_len);
	pause_if_clogged(s, w);
	node_stream_flow(s, true);
}
