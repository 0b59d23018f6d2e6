/* node_lane.c - lanes: many calls in one message, many answers in one (docs/protocol.md, section 12).
 *
 * The happy path: {krait_lane, LanePid, Calls, Gone} -> the lane's record is found or made, and LanePid is
 * watched -> each {Id, Request} or {Id, Request, CallerPid} is parsed and served as if it had come alone, but
 * that nobody watches its caller: the lane says in Gone who is gone -> its answer, {Id, Answer}, is put
 * behind those of its neighbours -> before the loop blocks they go out as {krait_lane, [{Id, Answer}]}, or
 * wait a little for company while more than enough of the lane's calls wait for workers: nobody idles for it.
 * A large answer goes alone, in fragments, and those that come later overtake it: only the Ids tell what is
 * whose.
 * What can go wrong: the lane dies or its node does, and all its calls are abandoned; an Id is used that is
 * in use, or a request is none: that call hears why, the others do not notice; a message that has another
 * form is junk. An Id in Gone that is not known has been answered, or never was one.
 *
 * A lane stays for as long as LanePid lives: its watch costs the peer one monitor, once. */
#include "node_private.h"

#include "log.h"
#include "term_tags.h"

#include <string.h>

#define LANES_MAX   1024        /* of one peer */
#define LANE_ID_MAX 64          /* bytes of an Id */
#define LANE_CALLS  10000       /* in one message */
#define LANE_FLUSH  (64 * 1024) /* bytes of answers that are sent without waiting for more */
#define LANE_KEPT   (16 * 1024) /* bytes that its buffer keeps when it is empty */
#define LANE_HELD   32          /* answers that are sent without waiting for more */
#define LANE_SPARE  4 /* calls that wait for workers, for each answer that waits for company */
#define LANE_HOLD   1 /* ms that it waits, at most; the loop's clock may make it two */

/* ---- coming and going ---- */

static uint32_t hash_of_call(const struct table_link *l, const void *arg)
{
	const struct node_request *r = table_entry(l, struct node_request, by_lane);

	(void)arg;
	return table_hash_bytes(r->data, r->tag_len);
}

struct node_lane *node_lane_from(struct books *b, const struct term_pid *pid)
{
	struct local_pid local = node_local_pid(pid);
	struct node_lane *l;

	HASH_FIND(hh, b->lanes, &local, sizeof local, l);
	if (l != NULL)
		return l;
	if (HASH_COUNT(b->lanes) >= LANES_MAX || (l = mem_zalloc(sizeof *l)) == NULL)
		return NULL;
	l->books = b;
	l->pid = local;
	list_init(&l->dirty_link);
	table_init(&l->calls, hash_of_call, NULL);
	HASH_ADD(hh, b->lanes, pid, sizeof l->pid, l);
	if (l->hh.tbl == NULL) {
		mem_free(l);
		return NULL;
	}
	if ((l->watch = watch_new(b, WATCH_LANE, l, &l->pid, NODE_PID_ID)) == NULL) {
		HASH_DELETE(hh, b->lanes, l);
		mem_free(l);
		return NULL;
	}
	return l;
}

void node_lane_down(struct node_lane *l)
{
	struct table_link *c;

	l->watch = NULL;
	HASH_DELETE(hh, l->books->lanes, l);
	while ((c = table_pop(&l->calls)) != NULL) {
		struct node_request *r = table_entry(c, struct node_request, by_lane);

		r->heard_by = HEARD_NOT;
		node_request_abandon(r);
	}
	table_close(&l->calls);
	list_remove(&l->dirty_link);
	buf_free(&l->answers);
	mem_free(l);
}

/* ---- calls ---- */

void node_lane_hear(struct node_lane *l, struct node_request *r)
{
	r->heard_by = HEARD_LANE;
	r->lane = l;
	table_put(&l->calls, &r->by_lane);
}

void node_lane_forget(struct node_request *r)
{
	table_take(&r->lane->calls, &r->by_lane);
	r->heard_by = HEARD_NOT;
}

struct node_lane *node_lane_of(const struct node_request *r)
{
	return r->heard_by == HEARD_LANE ? r->lane : NULL;
}

static struct node_request *find(const struct node_lane *l, struct span id)
{
	struct table_link *c = table_chain(&l->calls, table_hash_bytes(id.at, id.len));

	for (; c != NULL; c = c->next) {
		struct node_request *r = table_entry(c, struct node_request, by_lane);

		if (r->tag_len == id.len && memcmp(r->data, id.at, id.len) == 0)
			return r;
	}
	return NULL;
}

/* {Id, Request} or {Id, Request, CallerPid}. */
static void call(struct node_lane *l, struct node_pool *p, const uint8_t *t, bool too_many)
{
	struct envelope env = { .kind = ENVELOPE_CALL };
	struct origin o = { .books = l->books, .env = &env, .caller = l->pid, .lane = l };
	struct reply_to to;
	struct term_pid caller;
	const uint8_t *e;
	uint32_t arity;

	if (!term_tuple(t, &arity, &e) || arity < 2 || arity > 3 ||
	    (env.tag = term_span(e)).len > LANE_ID_MAX) {
		l->books->node->junk++;
		return;
	}
	env.request = term_skip(e);
	if (arity == 3 && term_pid(term_skip(env.request), &caller) &&
	    books_home(l->books, &caller, e) == l->books)
		o.caller = node_local_pid(&caller);
	if (find(l, env.tag) == NULL && !too_many) {
		node_request_serve(p, &o, env.request);
		return;
	}
	to = reply_to_origin(&o);
	answer_bad(&to, too_many ? "at most 10000 calls in a message" : "an Id that is not in use");
	node_pool_refused(p, ANSWER_BAD_REQUEST);
}

/* Nobody wants its answer any more. */
static void gone(struct node_lane *l, struct span id)
{
	struct node_request *r = find(l, id);

	if (r == NULL)
		return;
	node_lane_forget(r);
	node_request_abandon(r);
}

/* A list of small integers is written as text: a byte for each. */
static void all_gone(struct node_lane *l, const uint8_t *list, const uint8_t *end)
{
	const uint8_t *at;
	uint32_t count;

	if (term_kind(list) == TERM_STRING) {
		for (at = list + 3; at < end; at++)
			gone(l, (struct span){ (const uint8_t[]){ TAG_SMALL_INTEGER, *at }, 2 });
		return;
	}
	term_list(list, &count, &at);
	for (uint32_t i = 0; i < count; i++, at = term_skip(at))
		gone(l, term_span(at));
}

bool node_lane_message(struct books *b, struct node_pool *p, const uint8_t *message)
{
	struct node_lane *l;
	struct term_pid pid;
	const uint8_t *e, *calls, *at, *ids;
	uint32_t arity, count, id_count;

	if (!term_tuple(message, &arity, &e) || arity != 4 || !term_is_atom(e, "krait_lane") ||
	    !term_pid(e = term_skip(e), &pid) || books_home(b, &pid, e) != b)
		return false;
	calls = term_skip(e);
	ids = term_skip(calls);
	if (!term_list(calls, &count, &at) ||
	    (term_kind(ids) != TERM_STRING && !term_list(ids, &id_count, &e)))
		return false;
	if ((l = node_lane_from(b, &pid)) == NULL) {
		log_line(LOG_WARNING, peer_label(b->peer),
			 "a lane is refused: no memory, or it has %d already", LANES_MAX);
		return false;
	}
	for (uint32_t i = 0; i < count; i++, at = term_skip(at))
		call(l, p, at, i >= LANE_CALLS);
	all_gone(l, ids, term_skip(ids));
	return true;
}

/* ---- answers ---- */

/* Begins a message with so many answers; returns what dist_begin_send() has said. */
static size_t begin_answers(struct node_lane *l, uint32_t count)
{
	struct dist *d = peer_dist(l->books->peer);
	struct term_pid to = books_pid(l->books, &l->pid);
	size_t start = dist_begin_send(d, &to);
	struct buf *out = dist_output(d);

	dist_unordered(d);
	term_put_tuple(out, 2);
	term_put_atom(out, "krait_lane");
	term_put_list(out, count);
	return start;
}

/* Sends `count` of the answers that have been gathered. */
static void send_answers(struct node_lane *l, const uint8_t *answers, size_t len, uint32_t count)
{
	struct dist *d = peer_dist(l->books->peer);
	struct buf *out = dist_output(d);
	size_t start;

	if (l->books->forgotten || peer_closing(l->books->peer) || count == 0)
		return;
	start = begin_answers(l, count);
	buf_put(out, answers, len);
	term_put_nil(out);
	if (dist_end(d, start) != 0)
		peer_close(l->books->peer, "no memory for answers");
	else
		books_mark_dirty(l->books);
}

/* Sends what has been gathered; what is large from `large_at` on (its length: none is) by itself. */
static void flush(struct node_lane *l, size_t large_at)
{
	bool large = large_at < l->answers.len;

	list_remove(&l->dirty_link);
	send_answers(l, l->answers.data, large_at, l->count - large);
	if (large)
		send_answers(l, l->answers.data + large_at, l->answers.len - large_at, 1);
	l->count = 0;
	buf_reset(&l->answers, LANE_KEPT);
}

struct buf *node_lane_begin(struct node_lane *l, struct span id, size_t *mark)
{
	*mark = l->answers.len;
	term_put_tuple(&l->answers, 2);
	term_put_raw(&l->answers, id);
	return &l->answers;
}

bool node_lane_end(struct node_lane *l, size_t mark)
{
	if (l->answers.err != 0) {
		peer_close(l->books->peer, "no memory for an answer");
		return false;
	}
	l->count++;
	if (l->answers.len >= LANE_FLUSH)
		flush(l, l->answers.len - mark >= LANE_FLUSH ? mark : l->answers.len);
	else if (list_empty(&l->dirty_link))
		list_append(&l->books->node->dirty_lanes, &l->dirty_link);
	return true;
}

bool node_lane_end_apart(struct node_lane *l, size_t mark, const struct parcel_parts *parts,
			 struct share *held)
{
	struct dist *d = peer_dist(l->books->peer);
	struct parcel_parts moved = *parts;
	size_t start, first;

	if (l->answers.err != 0) {
		share_drop(held);
		peer_close(l->books->peer, "no memory for an answer");
		return false;
	}
	start = begin_answers(l, 1);
	first = dist_output(d)->len;
	for (unsigned i = 0; i < moved.count; i++)
		moved.at[i] += first - mark;
	buf_put(dist_output(d), l->answers.data + mark, l->answers.len - mark);
	l->answers.len = mark;
	term_put_nil(dist_output(d));
	if (dist_end_apart(d, start, &moved, held) != 0) {
		peer_close(l->books->peer, "no memory for an answer");
		return false;
	}
	books_mark_dirty(l->books);
	return true;
}

static void flush_all(struct node *n)
{
	while (!list_empty(&n->dirty_lanes)) {
		struct node_lane *l = list_entry(n->dirty_lanes.next, struct node_lane, dirty_link);

		flush(l, l->answers.len);
	}
}

/* ---- company ----
 *
 * A message costs the BEAM, and us, many times what an answer in it does. While calls wait for workers an
 * answer may wait for others without harm: what its caller will ask next would only stand behind those. So
 * the answers of a lane wait while LANE_SPARE times as many of its calls do. */

/* Of the unanswered calls of the lane, at most `running` do not wait. */
static bool may_wait(const struct node_lane *l, unsigned running)
{
	return l->count < LANE_HELD && l->calls.count > running + LANE_SPARE * l->count;
}

static void on_held(uv_timer_t *timer)
{
	flush_all(timer->data);
}

void node_lanes_gather(struct node *n)
{
	unsigned running = 0;
	struct node_pool *p = NULL;
	struct list *pos, *next;

	if (list_empty(&n->dirty_lanes))
		return;
	while ((p = node_pool_any_next(n, p)) != NULL)
		running += pool_running(p->pool);
	list_each (pos, next, &n->dirty_lanes) {
		struct node_lane *l = list_entry(pos, struct node_lane, dirty_link);

		if (!may_wait(l, running))
			flush(l, l->answers.len);
	}
	if (!list_empty(&n->dirty_lanes) && !uv_is_active((uv_handle_t *)&n->lanes_timer))
		uv_timer_start(&n->lanes_timer, on_held, LANE_HOLD, 0);
}

void node_lanes_init(struct node *n)
{
	uv_timer_init(&n->loop, &n->lanes_timer);
	n->lanes_timer.data = n;
}

void node_lanes_close(struct node *n)
{
	flush_all(n);
	uv_close((uv_handle_t *)&n->lanes_timer, NULL);
}
