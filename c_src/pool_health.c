/* pool_health.c - workers of the pool that are looked after: probes of idle ones, limits of age and calls.
 *
 * The happy path: HELLO gives a worker limits of its own (worker_limits()); each time it was idle for its
 * interval it is sent a PING, and answers; when it has answered max_calls, or is of max_age, it is lined up to
 * be replaced (pool_recycle.c).
 * What can go wrong: it does not answer: it is told to say where it hangs, and killed (put_down()). */
#include "pool_private.h"

#include "splitmix.h"

/* Workers that get their limits in one step get different ones; so do the limits of one. */
static uint64_t chance(const struct pool *p, const struct pool_worker *w, unsigned which)
{
	return splitmix_at(p->random + (w->id * 4 + which) * SPLITMIX_STEP);
}

/* Up to jitter_percent more or less. */
static uint64_t vary(const struct pool *p, uint64_t chance, uint64_t limit)
{
	unsigned percent = p->config.jitter_percent;
	uint64_t span = limit > POOL_NEVER / 128 ? limit / 100 * percent : limit * percent / 100;

	if (limit == POOL_NEVER)
		return limit;
	return limit - span + chance % (2 * span + 1);
}

void worker_watch(struct pool *p, struct pool_worker *w)
{
	uint64_t at = w->state == WORKER_IDLE ? w->since_us : p->now_us;

	heap_set(&p->healths, &w->health,
		 w->interval_us == 0 || at > POOL_NEVER - w->interval_us ? POOL_NEVER
									 : at + w->interval_us);
}

void worker_limits(struct pool *p, struct pool_worker *w)
{
	uint64_t calls = p->config.max_calls, age = p->config.max_age_us;
	uint64_t interval = p->config.health_interval_us;

	w->max_calls = vary(p, chance(p, w, 0), calls);
	if (calls > 0 && w->max_calls == 0)
		w->max_calls = 1;
	age = vary(p, chance(p, w, 1), age);
	heap_set(&p->ages, &w->age,
		 p->config.max_age_us == 0 || age > POOL_NEVER - w->ready_us ? POOL_NEVER
									     : w->ready_us + age);
	w->interval_us = interval;
	if (interval != POOL_NEVER)
		w->interval_us -= chance(p, w, 2) % (interval / 4 + 1);
	worker_watch(p, w);
}

void worker_unwatch(struct pool *p, struct pool_worker *w)
{
	heap_remove(&p->healths, &w->health);
	heap_remove(&p->ages, &w->age);
}

void worker_counted(struct pool *p, struct pool_worker *w)
{
	if (w->max_calls > 0 && w->calls >= w->max_calls)
		worker_recycle(p, w, WHY_MAX_CALLS);
}

static void look(struct pool *p, struct pool_worker *w)
{
	if (w->state != WORKER_IDLE || p->now_us - w->since_us < w->interval_us) {
		worker_watch(p, w);
		return;
	}
	heap_remove(&p->healths, &w->health);
	p->totals.probes++;
	p->checking++;
	w->slot->health = true;
	slot_probe(p, w->slot, POOL_PROBE, p->config.health_timeout_us);
}

void health_expire(struct pool *p)
{
	while (heap_due(&p->ages, p->now_us)) {
		struct pool_worker *w = heap_entry(heap_min(&p->ages), struct pool_worker, age);

		heap_remove(&p->ages, &w->age);
		worker_recycle(p, w, WHY_MAX_AGE);
	}
	while (heap_due(&p->healths, p->now_us))
		look(p, heap_entry(heap_min(&p->healths), struct pool_worker, health));
}
