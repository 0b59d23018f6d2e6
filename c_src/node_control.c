/* node_control.c - what operators ask of a pool: its size, pauses, workers replaced or killed; and those who
 * wait until something is done.
 *
 * The happy path: control() turns the request into an event of the pool and answers `ok`. Three answers
 * come later: await_ready's when the workers are there (node_await_check()), drain's with the last call
 * (node_drained_tell()), reload's when the new preload is done and the replacement has begun
 * (node_reloaded()).
 * What can go wrong: there is no such worker; the pool drains, or the node is about to stop, and waiting
 * makes no sense; a drain is overtaken by a resume; the new preload fails, and nothing has changed. Who
 * waits and is gone has its record freed (node_request_abandon()); what was asked for goes on. */
#include "node_private.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

_Static_assert(CONFIG_SIZE_MAX == REQUEST_SIZE_MAX, "the table of options bounds the size");

/* ---- those who wait ---- */

/* Among `line` until it is answered. NULL: a cast, or there is no memory, which is answered. */
struct node_request *node_hold(struct node_pool *p, const struct origin *o,
			       const struct request *req, struct list *line)
{
	struct reply_to to = reply_to_origin(o);
	struct node_request *r;

	if (o->cast)
		return NULL;
	if ((r = node_request_make(p, o, req, node_id(p->node), false)) == NULL ||
	    !node_request_hear_of_caller(o, r)) {
		if (r != NULL)
			node_request_free(r);
		answer_error_atom(&to, "no_memory");
		return NULL;
	}
	list_append(line, &r->pool.link);
	return r;
}

/* {start_failed, Detail}, with the cause of the last failed start. */
static void put_start_failed(const struct node_pool *p, struct buf *reason)
{
	term_put_tuple(reason, 2);
	term_put_atom(reason, "start_failed");
	term_put_binary(reason, p->detail, p->detail_len);
}

/* What was asked for is done in this pool. Of all pools: on to the next, where `wait` makes it wait, or
 * says (false) that nothing is to be waited for there. */
static void finish(struct node_request *r,
		   bool (*wait)(struct node_pool *p, struct node_request *r))
{
	struct node_pool *p = r->owner_pool;
	struct reply_to to = reply_to_request(r);

	list_remove(&r->pool.link);
	while (r->of_node && (p = node_pool_next(p->node, p)) != NULL) {
		r->owner_pool = p;
		if (wait(p, r))
			return;
	}
	answer_atom(&to, "ok");
	node_request_free(r);
}

static void fail_line(struct list *line, const struct buf *reason)
{
	while (!list_empty(line)) {
		struct node_request *r = list_entry(line->next, struct node_request, pool.link);
		struct reply_to to = reply_to_request(r);

		answer_error(&to, answer_reason(reason));
		node_request_free(r);
	}
}

static void fail_line_atom(struct list *line, const char *atom)
{
	struct buf reason = { 0 };

	term_put_atom(&reason, atom);
	fail_line(line, &reason);
	buf_free(&reason);
}

static bool wait_drained(struct node_pool *p, struct node_request *r)
{
	if (p->has_drained)
		return false;
	list_append(&p->drains, &r->pool.link);
	return true;
}

void node_drained_tell(struct node_pool *p)
{
	while (!list_empty(&p->drains))
		finish(list_entry(p->drains.next, struct node_request, pool.link), wait_drained);
}

/* Begins a reload, or joins the one under way. */
static bool wait_reloaded(struct node_pool *p, struct node_request *r)
{
	list_append(&p->reloads, &r->pool.link);
	if (p->fresh == NULL && node_forkserver_reload(p, NULL) != 0)
		node_reloaded(p, false);
	return true;
}

void node_reloaded(struct node_pool *p, bool ok)
{
	struct buf reason = { 0 };

	if (node_hears(p))
		node_event_pool_reloaded(p, ok);
	if (ok) {
		while (!list_empty(&p->reloads))
			finish(list_entry(p->reloads.next, struct node_request, pool.link),
			       wait_reloaded);
	} else if (p->node->stage >= NODE_DRAINING) {
		fail_line_atom(&p->reloads, "draining");
	} else {
		log_line(LOG_ERROR, p->object, "not reloaded, the old code goes on");
		put_start_failed(p, &reason);
		fail_line(&p->reloads, &reason);
	}
	buf_free(&reason);
	node_reload_turned(p, ok);
}

/* ---- await_ready ---- */

static void await_ready(struct node_pool *p, const struct origin *o, const struct request *req,
			bool of_node)
{
	unsigned size = pool_size(p->pool);
	struct reply_to to = reply_to_origin(o);
	struct node_request *r;
	char expected[64];

	if (req->has_count && req->count > size) {
		snprintf(expected, sizeof expected,
			 "{await_ready, N}, N from 0 to the pool's size %u", size);
		answer_bad(&to, expected);
		return;
	}
	if ((r = node_hold(p, o, req, &p->waiting)) == NULL)
		return;
	r->count = req->has_count ? (uint32_t)req->count : UINT32_MAX;
	r->of_node = of_node;
	node_await_check(p);
}

/* All means all that there are to be by now, and so does a number that is more than that. */
static bool is_ready(const struct node_pool *p, const struct node_request *r)
{
	unsigned size = pool_size(p->pool);

	return pool_ready(p->pool) >= (r->count < size ? r->count : size);
}

static bool wait_ready(struct node_pool *p, struct node_request *r)
{
	list_append(&p->waiting, &r->pool.link);
	node_await_check(p);
	return true;
}

void node_await_check(struct node_pool *p)
{
	/* half open a worker starts, and how that ends is the answer: after a reload the code may be mended */
	bool given_up = breaker_state(pool_breaker(p->pool)) == BREAKER_OPEN;
	bool draining = pool_draining(p->pool);
	struct list *pos, *next;

	list_each (pos, next, &p->waiting) {
		struct node_request *r = list_entry(pos, struct node_request, pool.link);
		struct reply_to to = reply_to_request(r);
		struct buf reason = { 0 };

		if (is_ready(p, r) && !draining) {
			finish(r, wait_ready);
			continue;
		} else if (given_up) {
			put_start_failed(p, &reason);
			answer_error(&to, answer_reason(&reason));
			buf_free(&reason);
		} else if (draining) {
			answer_error_atom(&to, "draining");
		} else {
			continue;
		}
		node_request_free(r);
	}
}

/* ---- the verbs ---- */

static void told(const struct node_pool *p, const struct origin *o, const char *what)
{
	log_line(LOG_INFO, p->object, "%s, told by %s", what, peer_label(o->books->peer));
}

/* The peer's name, for events. */
static const char *teller(const struct origin *o)
{
	return dist_peer_name(peer_dist(o->books->peer));
}

static void resize(struct node_pool *p, const struct origin *o, unsigned least, unsigned most)
{
	struct reply_to to = reply_to_origin(o);
	char what[64];

	if (least == most)
		snprintf(what, sizeof what, "from %u to %u workers", pool_size(p->pool), most);
	else
		snprintf(what, sizeof what, "from %u to %u..%u workers", pool_size(p->pool), least,
			 most);
	told(p, o, what);
	node_pool_resized(p, least, most);
	if (node_hears(p))
		node_event_pool_resized(p, least, most, teller(o));
	node_pool_event(
		p, &(struct pool_event){ .type = POOL_RESIZE, .size = least, .size_max = most });
	answer_atom(&to, "ok");
}

static void pause_pool(struct node_pool *p, const struct origin *o)
{
	told(p, o, "paused");
	if (node_hears(p))
		node_event_pool(p, EVENT_POOL_PAUSED, teller(o));
	node_pool_event(p, &(struct pool_event){ .type = POOL_PAUSE });
}

static void resume_pool(struct node_pool *p, const struct origin *o)
{
	told(p, o, "resumed");
	if (node_hears(p))
		node_event_pool(p, EVENT_POOL_RESUMED, teller(o));
	p->has_drained = false;
	node_pool_event(p, &(struct pool_event){ .type = POOL_RESUME });
	fail_line_atom(&p->drains, "resumed");
}

static void begin_drain(struct node_pool *p, const struct origin *o)
{
	told(p, o, "draining");
	if (node_hears(p))
		node_event_pool(p, EVENT_POOL_DRAINING, teller(o));
}

static void drain(struct node_pool *p, const struct origin *o, const struct request *req)
{
	if (node_hold(p, o, req, &p->drains) == NULL && !o->cast)
		return;
	begin_drain(p, o);
	node_pool_event(p, &(struct pool_event){ .type = POOL_DRAIN });
}

static void reload(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);

	if (p->node->stage >= NODE_DRAINING) {
		answer_error_atom(&to, "draining");
	} else if (p->fresh != NULL) {
		/* what has changed on disk since that began might not be seen */
		node_refuse_reload(o);
	} else if (node_hold(p, o, req, &p->reloads) != NULL || o->cast) {
		told(p, o, "reloading");
		if (node_forkserver_reload(p, NULL) != 0)
			node_reloaded(p, false);
	}
}

/* PAUSE, RESUME. */
static void pause_or_resume(struct node_pool *p, const struct origin *o, enum request_verb verb)
{
	struct reply_to to = reply_to_origin(o);

	if (verb == VERB_PAUSE ? pool_draining(p->pool) : p->node->stage >= NODE_DRAINING) {
		answer_error_atom(&to, "draining");
		return;
	}
	(verb == VERB_PAUSE ? pause_pool : resume_pool)(p, o);
	answer_atom(&to, "ok");
}

/* {recycle, Worker}, {kill, Worker}. */
static void replace(struct node_pool *p, const struct origin *o, const struct request *req)
{
	const struct pool_worker *pw = pool_worker(p->pool, req->count);
	struct node_worker *w = node_worker_find(p, req->count);
	struct reply_to to = reply_to_origin(o);
	bool kill = req->verb == VERB_KILL;
	struct buf reason = { 0 };
	char what[64];

	if (pw == NULL || w == NULL || w->gone) {
		term_put_tuple(&reason, 2);
		term_put_atom(&reason, "no_worker");
		term_put_uint(&reason, req->count);
		answer_error(&to, answer_reason(&reason));
		buf_free(&reason);
		return;
	}
	snprintf(what, sizeof what, "worker %llu %s", (unsigned long long)w->id,
		 kill ? "killed" : "recycled");
	told(p, o, what);
	if (kill && w->killed_for == NULL)
		w->killed_for = "by_request";
	node_pool_event(p, &(struct pool_event){ .type = kill ? POOL_KILL_WORKER : POOL_RECYCLE,
						 .worker_id = w->id });
	answer_atom(&to, "ok");
}

void node_control(struct node_pool *p, const struct origin *o, const struct request *req)
{
	switch (req->verb) {
	case VERB_AWAIT_READY:
		await_ready(p, o, req, false);
		break;
	case VERB_RESIZE:
		resize(p, o, (unsigned)req->least, (unsigned)req->count);
		break;
	case VERB_PAUSE:
	case VERB_RESUME:
		pause_or_resume(p, o, req->verb);
		break;
	case VERB_DRAIN:
		drain(p, o, req);
		break;
	case VERB_RELOAD:
		reload(p, o, req);
		break;
	default:
		replace(p, o, req);
		break;
	}
}

/* ---- of all pools ---- */

bool node_pool_is_only(const struct node_pool *p)
{
	return p->node->pool_count == 1 || strcmp(p->config->name, "default") == 0;
}

/* Said of the node with several pools, where one is meant; NULL: that is answered. */
static struct node_pool *only_pool(struct node *n, const struct origin *o)
{
	struct node_pool *p = node_pool_default(n);
	struct reply_to to = reply_to_origin(o);

	if (node_pool_is_only(p))
		return p;
	answer_bad(&to, "to be said to one of the node's pools, by its name");
	return NULL;
}

static void all_pause_or_resume(struct node *n, const struct origin *o, enum request_verb verb)
{
	struct reply_to to = reply_to_origin(o);
	struct node_pool *p = NULL;

	while ((p = node_pool_next(n, p)) != NULL) {
		if (verb == VERB_PAUSE ? pool_draining(p->pool) : n->stage >= NODE_DRAINING) {
			answer_error_atom(&to, "draining");
			return;
		}
	}
	while ((p = node_pool_next(n, p)) != NULL)
		(verb == VERB_PAUSE ? pause_pool : resume_pool)(p, o);
	answer_atom(&to, "ok");
}

static void all_drain(struct node *n, const struct origin *o, const struct request *req)
{
	struct node_pool *p = node_pool_next(n, NULL);
	struct node_request *r = node_hold(p, o, req, &p->drains);

	if (r == NULL && !o->cast)
		return;
	if (r != NULL)
		r->of_node = true;
	for (; p != NULL; p = node_pool_next(n, p)) {
		begin_drain(p, o);
		node_pool_event(p, &(struct pool_event){ .type = POOL_DRAIN });
	}
}

static struct node_pool *pool_of_worker(struct node *n, uint64_t id)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_next(n, p)) != NULL)
		if (node_worker_find(p, id) != NULL)
			return p;
	return node_pool_default(n); /* which will say that it has none of that id */
}

void node_control_all(struct node *n, const struct origin *o, const struct request *req)
{
	struct node_pool *p;

	switch (req->verb) {
	case VERB_PAUSE:
	case VERB_RESUME:
		all_pause_or_resume(n, o, req->verb);
		break;
	case VERB_DRAIN:
		all_drain(n, o, req);
		break;
	case VERB_RELOAD:
		node_reload_config(n, o, req);
		break;
	case VERB_AWAIT_READY:
		if (!req->has_count) {
			await_ready(node_pool_next(n, NULL), o, req, true);
			break;
		}
		/* fall through */
	case VERB_RESIZE:
		if ((p = only_pool(n, o)) != NULL)
			node_control(p, o, req);
		break;
	default:
		node_control(pool_of_worker(n, req->count), o, req);
		break;
	}
}
