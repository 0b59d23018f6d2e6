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

_Static_assert(CONFIG_SIZE_MAX == REQUEST_SIZE_MAX, "the table of options bounds the size");

/* ---- those who wait ---- */

/* Among `line` until it is answered. NULL: a cast, or there is no memory, which is answered. */
static struct node_request *hold(struct node_pool *p, const struct origin *o,
				 const struct request *req, struct list *line)
{
	struct reply_to to = reply_to_origin(o);
	struct node_request *r;

	if (o->cast)
		return NULL;
	if ((r = node_request_make(p, o, req, node_id(p->node), false)) == NULL ||
	    !node_request_hear_of_caller(o->books, r, o->env)) {
		if (r != NULL)
			node_request_free(r);
		answer_error_atom(&to, "no_memory");
		return NULL;
	}
	list_append(line, &r->waiting);
	return r;
}

/* {start_failed, Detail}, with the cause of the last failed start. */
static void put_start_failed(const struct node_pool *p, struct buf *reason)
{
	term_put_tuple(reason, 2);
	term_put_atom(reason, "start_failed");
	term_put_binary(reason, p->detail, p->detail_len);
}

/* `ok` for all in the line if `reason` is empty, else {error, Reason}. */
static void answer_line(struct list *line, const struct buf *reason)
{
	while (!list_empty(line)) {
		struct node_request *r = list_entry(line->next, struct node_request, waiting);
		struct reply_to to = reply_to_request(r);

		if (reason == NULL)
			answer_atom(&to, "ok");
		else
			answer_error(&to, answer_reason(reason));
		node_request_free(r);
	}
}

static void answer_line_atom(struct list *line, const char *atom)
{
	struct buf reason = { 0 };

	term_put_atom(&reason, atom);
	answer_line(line, &reason);
	buf_free(&reason);
}

void node_drained_tell(struct node_pool *p)
{
	answer_line(&p->drains, NULL);
}

void node_reloaded(struct node_pool *p, bool ok)
{
	struct buf reason = { 0 };

	if (ok) {
		answer_line(&p->reloads, NULL);
	} else if (p->node->stage >= NODE_DRAINING) {
		answer_line_atom(&p->reloads, "draining");
	} else {
		log_line(LOG_ERROR, "pool", "%s: not reloaded, the old code goes on",
			 p->config->pool);
		put_start_failed(p, &reason);
		answer_line(&p->reloads, &reason);
	}
	buf_free(&reason);
}

/* ---- await_ready ---- */

static void await_ready(struct node_pool *p, const struct origin *o, const struct request *req)
{
	unsigned size = pool_config(p->pool)->size;
	struct reply_to to = reply_to_origin(o);
	struct node_request *r;
	char expected[64];

	if (req->has_count && req->count > size) {
		struct buf reason = { 0 };

		snprintf(expected, sizeof expected,
			 "{await_ready, N}, N from 0 to the pool's size %u", size);
		request_put_bad(&reason, expected);
		answer_error(&to, answer_reason(&reason));
		buf_free(&reason);
		return;
	}
	if ((r = hold(p, o, req, &p->waiting)) == NULL)
		return;
	r->count = req->has_count ? req->count : UINT64_MAX;
	node_await_check(p);
}

/* All means all that there are to be by now, and so does a number that is more than that. */
static bool is_ready(const struct node_pool *p, const struct node_request *r)
{
	unsigned size = pool_config(p->pool)->size;

	return pool_ready(p->pool) >= (r->count < size ? r->count : size);
}

void node_await_check(struct node_pool *p)
{
	bool given_up = breaker_state(pool_breaker(p->pool)) != BREAKER_CLOSED;
	bool draining = pool_draining(p->pool);
	struct list *pos, *next;

	list_each (pos, next, &p->waiting) {
		struct node_request *r = list_entry(pos, struct node_request, waiting);
		struct reply_to to = reply_to_request(r);
		struct buf reason = { 0 };

		if (is_ready(p, r) && !draining) {
			answer_atom(&to, "ok");
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
	log_line(LOG_INFO, "pool", "%s: %s, told by %s", p->config->pool, what,
		 peer_label(o->books->peer));
}

static void resize(struct node_pool *p, const struct origin *o, unsigned size)
{
	struct reply_to to = reply_to_origin(o);
	char what[64];

	snprintf(what, sizeof what, "from %u to %u workers", pool_config(p->pool)->size, size);
	told(p, o, what);
	node_pool_event(p, &(struct pool_event){ .type = POOL_RESIZE, .size = size });
	answer_atom(&to, "ok");
}

static void pause_pool(struct node_pool *p, const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);

	if (pool_draining(p->pool)) {
		answer_error_atom(&to, "draining");
		return;
	}
	told(p, o, "paused");
	node_pool_event(p, &(struct pool_event){ .type = POOL_PAUSE });
	answer_atom(&to, "ok");
}

static void resume(struct node_pool *p, const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);

	if (p->node->stage >= NODE_DRAINING) {
		answer_error_atom(&to, "draining");
		return;
	}
	told(p, o, "resumed");
	node_pool_event(p, &(struct pool_event){ .type = POOL_RESUME });
	answer_line_atom(&p->drains, "resumed");
	answer_atom(&to, "ok");
}

static void drain(struct node_pool *p, const struct origin *o, const struct request *req)
{
	if (hold(p, o, req, &p->drains) == NULL && !o->cast)
		return;
	told(p, o, "draining");
	node_pool_event(p, &(struct pool_event){ .type = POOL_DRAIN });
}

static void reload(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };

	if (p->node->stage >= NODE_DRAINING) {
		answer_error_atom(&to, "draining");
	} else if (p->fresh != NULL) {
		/* what has changed on disk since that began might not be seen */
		request_put_bad(&reason, "one reload at a time");
		answer_error(&to, answer_reason(&reason));
		buf_free(&reason);
	} else if (hold(p, o, req, &p->reloads) != NULL || o->cast) {
		told(p, o, "reloading");
		if (node_forkserver_reload(p) != 0)
			node_reloaded(p, false);
	}
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
		await_ready(p, o, req);
		break;
	case VERB_RESIZE:
		resize(p, o, (unsigned)req->count);
		break;
	case VERB_PAUSE:
		pause_pool(p, o);
		break;
	case VERB_RESUME:
		resume(p, o);
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
