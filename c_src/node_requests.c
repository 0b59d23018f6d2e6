/* node_requests.c - requests, peers and pools, written; requests cancelled by their ids.
 *
 * A request is in the books of the peer where its caller lives, in the order in which it came; casts whose
 * peer is gone are among the node's strays. The oldest of all are found by merging these, a heap of the
 * first of each: what is not told is not looked at.
 * What can go wrong: there is no such request; it has been answered meanwhile. */
#include "node_private.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

/* ---- one request ---- */

static const char *state_of(const struct node_request *r)
{
	switch (r->pool.state) {
	case REQUEST_QUEUED:
		return "queued";
	case REQUEST_RUNNING:
		return "running";
	case REQUEST_STREAMING:
		return "streaming";
	default: /* AWAIT_READY, DRAIN, RELOAD, GIVE_AWAY: no pool has it */
		return "waiting";
	}
}

/* A term that was kept, or nil. */
static void put_kept(struct buf *out, const char *key, struct span term)
{
	term_put_atom(out, key);
	if (term.len > 0)
		term_put_raw(out, term);
	else
		term_put_atom(out, "nil");
}

static void put_caller(const struct node_request *r, struct buf *out)
{
	struct term_pid caller;

	term_put_atom(out, "caller");
	if (r->books != NULL && !r->cast) {
		caller = books_pid(r->books, &r->caller);
		term_put_pid(out, &caller);
	} else {
		term_put_atom(out, "nil");
	}
}

/* Milliseconds that are left; infinity. */
static void put_left(const struct node_request *r, uint64_t now, struct buf *out)
{
	uint64_t deadline = r->pool.deadline_us;

	term_put_atom(out, "left_ms");
	if (deadline == POOL_NEVER || r->pool.state == REQUEST_NEW)
		term_put_atom(out, "infinity");
	else
		term_put_uint(out, deadline > now ? (deadline - now) / 1000 : 0);
}

static void put_request(const struct node_request *r, uint64_t now, struct buf *out)
{
	static const char *const priorities[PRIORITIES] = { "high", "normal", "low" };
	const struct pool_slot *slot = r->pool.slot;
	struct called c;

	node_request_called(r, &c);
	term_put_map(out, 13);
	term_put_pair_uint(out, "id", r->pool.id);
	term_put_pair_atom(out, "pool", r->owner_pool->config->name);
	term_put_pair_atom(out, "verb", request_verb_name(r->verb));
	put_kept(out, "module", c.module);
	put_kept(out, "function", c.function);
	term_put_pair_atom(out, "state", state_of(r));
	term_put_pair_uint(out, "age_ms", (now - r->pool.arrived_us) / 1000);
	put_left(r, now, out);
	put_caller(r, out);
	term_put_atom(out, "worker");
	if (slot != NULL)
		term_put_uint(out, slot->worker->id);
	else
		term_put_atom(out, "nil");
	term_put_pair_atom(out, "priority", priorities[r->pool.priority]);
	put_kept(out, "session", node_request_session(r));
	term_put_pair_uint(out, "retry", r->pool.retry);
}

/* ---- all of them ---- */

static bool is_listed(const struct node_request *r, const struct node_pool *p)
{
	return r->pool.state != REQUEST_DONE && (p == NULL || r->owner_pool == p);
}

/* A place in the books of one peer, or among the strays. */
struct cursor {
	struct heap_node node; /* by the request's id */
	const struct list *end, *at;
};

/* On to the next request that is to be told of, if there is one. */
static void advance(struct cursor *c, struct heap *heap, const struct node_pool *p)
{
	heap_remove(heap, &c->node);
	for (; c->at != c->end; c->at = c->at->next) {
		const struct node_request *r = list_entry(c->at, struct node_request, by_peer);

		if (is_listed(r, p)) {
			heap_insert(heap, &c->node, r->pool.id);
			return;
		}
	}
}

/* Appends a list of at most `max`, the oldest first. False: no memory. */
static bool put_requests(struct node *n, const struct node_pool *p, uint64_t max, struct buf *out)
{
	struct cursor *cursors = mem_zalloc((n->peers + 1) * sizeof *cursors);
	uint64_t now = node_now_us();
	struct list *pos, *next;
	struct heap heap = { 0 };
	struct heap_node *first;
	struct buf list = { 0 };
	uint32_t count = 0;
	unsigned i = 0;

	if (cursors == NULL)
		return false;
	cursors[i++] = (struct cursor){ .end = &n->strays, .at = n->strays.next };
	list_each (pos, next, &n->books) {
		struct books *b = list_entry(pos, struct books, link);

		cursors[i++] = (struct cursor){ .end = &b->requests, .at = b->requests.next };
	}
	while (i-- > 0)
		advance(&cursors[i], &heap, p);
	for (; count < max && (first = heap_min(&heap)) != NULL; count++) {
		struct cursor *c = heap_entry(first, struct cursor, node);

		put_request(list_entry(c->at, struct node_request, by_peer), now, &list);
		c->at = c->at->next;
		advance(c, &heap, p);
	}
	mem_free(cursors);
	term_put_list(out, count);
	if (count > 0) {
		term_put_raw(out, (struct span){ list.data, list.len });
		term_put_nil(out);
	}
	count = list.err == 0;
	buf_free(&list);
	return count == 1;
}

static struct node_request *find_in(struct list *requests, uint64_t id, const struct node_pool *p)
{
	struct list *pos, *next;

	list_each (pos, next, requests) {
		struct node_request *r = list_entry(pos, struct node_request, by_peer);

		if (r->pool.id == id && is_listed(r, p))
			return r;
	}
	return NULL;
}

static struct node_request *find(struct node *n, uint64_t id, const struct node_pool *p)
{
	struct node_request *r = find_in(&n->strays, id, p);
	struct list *pos, *next;

	list_each (pos, next, &n->books) {
		if (r == NULL)
			r = find_in(&list_entry(pos, struct books, link)->requests, id, p);
	}
	return r;
}

/* ---- the verbs ---- */

static void cancel(struct node *n, struct node_pool *p, const struct origin *o, uint64_t id)
{
	struct reply_to to = reply_to_origin(o), theirs;
	struct node_request *r = find(n, id, p);
	struct buf reason = { 0 };

	if (r == NULL) {
		term_put_tuple(&reason, 2);
		term_put_atom(&reason, "no_request");
		term_put_uint(&reason, id);
		answer_error(&to, answer_reason(&reason));
		buf_free(&reason);
		return;
	}
	log_line(LOG_INFO, r->owner_pool->object, "request %llu (%s, %s) cancelled, told by %s",
		 (unsigned long long)id, request_verb_name(r->verb), state_of(r),
		 peer_label(o->books->peer));
	if (r->pool.state != REQUEST_NEW) {
		node_pool_event(r->owner_pool,
				&(struct pool_event){ .type = POOL_CANCEL, .request = &r->pool });
	} else {
		theirs = reply_to_request(r);
		answer_error_atom(&theirs, "cancelled");
		node_request_abandon(r);
	}
	answer_atom(&to, "ok");
}

static void put_peer(struct books *b, struct buf *out)
{
	const char *user = node_user(b);
	struct list *pos, *next;
	uint64_t requests = 0, holdings = 0;
	size_t unfinished = 0;

	list_each (pos, next, &b->requests)
		requests++;
	list_each (pos, next, &b->holdings)
		holdings++;
	term_put_map(out, 11);
	term_put_pair_atom(out, "name", dist_peer_name(peer_dist(b->peer)));
	term_put_pair_uint(out, "creation", dist_peer_creation(peer_dist(b->peer)));
	term_put_pair_uint(out, "up_ms", (node_now_us() - b->up_us) / 1000);
	term_put_pair_atom(out, "dialled", b->dialled ? "true" : "false");
	term_put_pair_atom(out, "role", request_role_name(node_role(b)));
	term_put_atom(out, "user");
	if (user != NULL)
		term_put_text(out, user);
	else
		term_put_atom(out, "nil");
	term_put_pair_uint(out, "requests", requests);
	term_put_pair_uint(out, "holdings", holdings);
	term_put_pair_uint(out, "monitors", b->monitors.count);
	term_put_pair_uint(out, "unsent_bytes", peer_unsent(b->peer));
	(void)dist_unfinished(peer_dist(b->peer), &unfinished);
	term_put_pair_uint(out, "unfinished_bytes", unfinished);
}

static bool is_up(const struct books *b)
{
	return b->up && !b->forgotten;
}

static void put_peers(struct node *n, struct buf *out)
{
	struct list *pos, *next;
	uint32_t count = 0;

	list_each (pos, next, &n->books)
		count += is_up(list_entry(pos, struct books, link)) ? 1 : 0;
	term_put_list(out, count);
	list_each (pos, next, &n->books) {
		struct books *b = list_entry(pos, struct books, link);

		if (is_up(b))
			put_peer(b, out);
	}
	if (count > 0)
		term_put_nil(out);
}

static void put_pools(struct node *n, struct buf *out)
{
	struct node_pool *p = NULL;

	term_put_list(out, n->pool_count);
	while ((p = node_pool_next(n, p)) != NULL)
		term_put_atom(out, p->config->name);
	if (n->pool_count > 0)
		term_put_nil(out);
}

/* {ok, Answer}: of the node, or, with `p`, of one pool. It is made aside: what there is no memory for is not
 * half in the answer. */
static void answer_made(struct node *n, struct node_pool *p, const struct origin *o,
			const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct buf made = { 0 }, *out;
	bool ok = true;
	size_t mark;

	if (req->verb == VERB_REQUESTS)
		ok = put_requests(n, p, req->count, &made);
	else if (req->verb == VERB_PEERS)
		put_peers(n, &made);
	else if (req->verb == VERB_STATUS)
		node_put_status(n, &made);
	else if (req->verb == VERB_WORKERS)
		node_put_workers(n, p, &made);
	else
		put_pools(n, &made);
	if (!ok || made.err != 0) {
		answer_error_atom(&to, "no_memory");
	} else if ((out = answer_begin(&to, &mark)) != NULL) {
		term_put_tuple(out, 2);
		term_put_atom(out, "ok");
		term_put_raw(out, (struct span){ made.data, made.len });
		answer_end(&to, mark);
	}
	buf_free(&made);
}

void node_administer(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct node_pool *only = req->target == TARGET_NODE ? NULL : p;

	switch (req->verb) {
	case VERB_CONFIG:
	case VERB_SET:
	case VERB_RELOAD_CONFIG:
		node_config(p, o, req);
		break;
	case VERB_SUBSCRIBE:
	case VERB_UNSUBSCRIBE:
		node_subscription(p, o, req);
		break;
	case VERB_CANCEL:
		cancel(p->node, only, o, req->count);
		break;
	default:
		answer_made(p->node, only, o, req);
		break;
	}
}
