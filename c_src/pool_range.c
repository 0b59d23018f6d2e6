/* pool_range.c - a pool with a range of sizes grows while requests wait, and shrinks when it is too large.
 *
 * The happy path: nobody is free and somebody has waited grow_after -> the size is one more, a worker starts
 * and serves; the load goes; for idle_ttl there was always one with nothing to do -> the size is one less, and
 * the one idle longest leaves.
 * What can go wrong: starts fail (the size has grown, and the breaker decides when they are tried again;
 * nothing grows meanwhile); all with nothing to do hold sessions (nobody leaves); the load comes back at
 * once (that was too early: the next time it takes twice as long). */
#include "pool_private.h"

unsigned range_max(const struct pool *p)
{
	return p->config.size_max > p->config.size ? p->config.size_max : p->config.size;
}

static uint64_t times(uint64_t us, unsigned n)
{
	return us > POOL_NEVER / n ? POOL_NEVER : us * n;
}

static uint64_t plus(uint64_t at_us, uint64_t us)
{
	return at_us > POOL_NEVER - us ? POOL_NEVER : at_us + us;
}

uint64_t range_grows_at(const struct pool *p)
{
	const struct pool_request *r = line_oldest(p);

	if (r == NULL || p->paused || p->stopping || p->size >= range_max(p) ||
	    p->count[WORKER_STARTING] > 0 || workers_there(p) < workers_wanted(p))
		return POOL_NEVER;
	return workers_there(p) == 0 ? p->now_us : plus(r->arrived_us, p->config.grow_after_us);
}

uint64_t range_shrinks_at(const struct pool *p)
{
	uint64_t ttl = p->config.idle_ttl_us;

	if (p->stopping || ttl == 0 || p->spare_us == POOL_NEVER || p->size <= p->config.size)
		return POOL_NEVER;
	return plus(p->spare_us, times(ttl, p->patience));
}

/* Whether the pool has shrunk a short time ago. */
static bool shrunk_lately(const struct pool *p)
{
	return p->now_us - p->shrunk_us < times(p->config.idle_ttl_us, SHRINK_PATIENCE);
}

static void grow(struct pool *p)
{
	p->size++;
	p->totals.grown++;
	if (p->shrunk && shrunk_lately(p) && p->patience < SHRINK_PATIENCE)
		p->patience *= 2;
	p->shrunk = false; /* one mistake counts once */
	workers_start(p);
	serve_all(p); /* one that was to leave may stay */
}

/* Of those that could leave the one idle longest; NULL: there is none. */
static struct pool_worker *longest_idle(const struct pool *p)
{
	const struct list *line = &p->offered[0], *at;

	for (at = line->next; at != line; at = at->next) {
		struct pool_worker *w = list_entry(at, struct pool_worker, offered);

		if (w->session_count == 0)
			return w;
	}
	return NULL;
}

static void shrink(struct pool *p)
{
	struct pool_worker *w;

	p->spare_us = p->now_us;
	if (longest_idle(p) == NULL)
		return;
	if (!shrunk_lately(p))
		p->patience = 1;
	p->shrunk = true;
	p->shrunk_us = p->now_us;
	p->size--;
	p->totals.shrunk++;
	workers_replace(p);
	if (p->serving - p->retiring > p->size && (w = longest_idle(p)) != NULL)
		worker_leave(p, w, POOL_END, WHY_SURPLUS);
	workers_start(p);
}

/* Whether a worker has nothing to do, but perhaps to say that it is well; and not because of a pause. */
static bool has_spare(const struct pool *p)
{
	return (!list_empty(&p->offered[0]) || p->checking > 0) && line_oldest(p) == NULL;
}

void range_adapt(struct pool *p)
{
	while (range_grows_at(p) <= p->now_us)
		grow(p);
	if (!has_spare(p))
		p->spare_us = POOL_NEVER;
	else if (p->spare_us == POOL_NEVER)
		p->spare_us = p->now_us;
	if (range_shrinks_at(p) <= p->now_us)
		shrink(p);
}
