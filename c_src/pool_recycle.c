/* pool_recycle.c - workers that are replaced on purpose, their replacements first; see pool.h.
 *
 * The happy path: workers_recycle() lines workers up -> one more start is wanted (workers_wanted()) -> it
 * is ready -> workers_replace(): the first in line is retiring, and leaves when its slots are free; the
 * next one's turn.
 * What can go wrong: the replacement does not start (the breaker decides when it is tried again, and who
 * is in line goes on serving); the one in line dies (its replacement is there all the sooner); the pool
 * shrinks (those in line are the first to leave) or stops (the line ends). */
#include "pool_private.h"

/* Calls may be long: so many old workers, at most, are on their way out beside as many new ones. */
static bool has_turn(const struct pool *p)
{
	return !list_empty(&p->recycle) && p->leaving < p->size;
}

unsigned workers_wanted(const struct pool *p)
{
	return p->size + has_turn(p);
}

void worker_line_up(struct pool *p, struct pool_worker *w)
{
	if (w->recycled)
		list_append(&p->recycle, &w->recycle);
}

void worker_recycle(struct pool *p, struct pool_worker *w, enum pool_why why)
{
	if (w->recycled || w->state == WORKER_STOPPING)
		return;
	w->recycled = true;
	w->why = why;
	if (w->retiring)
		p->leaving++; /* it was surplus: nobody keeps it now */
	else if (w->state != WORKER_STARTING)
		worker_line_up(p, w);
}

void workers_recycle(struct pool *p, uint64_t worker_id, enum pool_why why)
{
	struct pool_worker *w = worker_find(p, worker_id);
	struct list *at;

	if (worker_id == 0) {
		breaker_hurry(&p->breaker); /* there is something new to start with */
		for (at = p->workers.next; at != &p->workers; at = at->next)
			worker_recycle(p, list_entry(at, struct pool_worker, all), why);
	} else if (w == NULL) {
		p->totals.late++;
	} else if (w->state != WORKER_STARTING) { /* which is as new as can be */
		worker_recycle(p, w, why);
	}
}

void workers_replace(struct pool *p)
{
	while (!list_empty(&p->recycle) && p->serving - p->retiring > p->size) {
		struct pool_worker *w = list_entry(p->recycle.next, struct pool_worker, recycle);

		list_remove(&w->recycle);
		w->retiring = true;
		p->retiring++;
		p->leaving++;
		if (!worker_surplus(p, w))
			worker_offer(p, w);
	}
}

void worker_replaced(struct pool *p, struct pool_worker *w)
{
	p->leaving -= w->recycled && w->retiring;
	w->recycled = false;
	list_remove(&w->recycle);
}
