/* pool_size.c - how many workers there are: starts while the breaker allows, a pool that grows or shrinks,
 * the end of all.
 *
 * A pool that shrinks cuts no call: idle workers leave at once, and the first that has a slot come free
 * takes nobody any more (it is retiring), until all its slots are free and it leaves too. */
#include "pool_private.h"

#include "mem.h"

bool worker_surplus(struct pool *p, struct pool_worker *w)
{
	if (!w->retiring && list_empty(&p->recycle) && p->serving - p->retiring > p->size) {
		w->retiring = true;
		p->retiring++;
		worker_offer(p, w);
	}
	if (!w->retiring || w->in[WORKER_IDLE] < w->slots)
		return false;
	worker_leave(p, w, POOL_END, w->recycled ? w->why : WHY_SURPLUS);
	return true;
}

static void init_slots(struct pool_worker *w)
{
	for (struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		s->worker = w;
		list_init(&s->act);
		list_init(&s->closes);
		list_init(&s->nests);
	}
}

/* A new worker at the lowest index that is free. NULL: no memory. */
static struct pool_worker *worker_new(struct pool *p)
{
	struct pool_worker *w = mem_zalloc(sizeof *w + p->config.slots * sizeof(struct pool_slot));
	struct list *at = p->by_index.next;
	struct pool_worker **chain;

	if (w == NULL)
		return NULL;
	if (p->config.worker_ids != NULL)
		p->last_worker_id = *p->config.worker_ids;
	w->id = ++p->last_worker_id;
	if (p->config.worker_ids != NULL)
		*p->config.worker_ids = w->id;
	w->slots = p->config.slots;
	while (at != &p->by_index &&
	       list_entry(at, struct pool_worker, by_index)->index == w->index) {
		w->index++;
		at = at->next;
	}
	list_init(&w->by_index);
	list_insert_before(&w->by_index, at);
	list_init(&w->act);
	list_init(&w->trial);
	list_init(&w->offered);
	list_init(&w->hungry);
	list_init(&w->recycle);
	list_init(&w->leads);
	list_init(&w->recall);
	list_init(&w->sessions);
	list_init(&w->ends);
	for (unsigned i = 0; i < PRIORITIES; i++)
		line_init(&w->pinned[i]);
	list_append(&p->workers, &w->all);
	chain = &p->worker_hash[pool_chain(w->id)];
	w->hash_next = *chain;
	*chain = w;
	init_slots(w);
	w->started_us = w->since_us =
		p->now_us; /* its state, and those of its slots, are STARTING */
	w->in[WORKER_STARTING] = w->slots;
	p->count[WORKER_STARTING]++;
	return w;
}

/* Those that were to leave stay, if others have gone or more are wanted. */
static void keep(struct pool *p)
{
	for (struct list *at = p->by_index.next;
	     p->retiring > p->leaving && p->serving - p->retiring < p->size; at = at->next) {
		struct pool_worker *w = list_entry(at, struct pool_worker, by_index);

		if (!w->retiring || w->recycled)
			continue;
		w->retiring = false;
		p->retiring--;
		worker_offer(p, w);
		worker_ends(p, w);
	}
}

void workers_start(struct pool *p)
{
	struct pool_worker *w;

	keep(p);
	p->start_at_us = POOL_NEVER;
	while (!p->stopping && workers_there(p) < workers_wanted(p)) {
		if (p->now_us < p->no_memory_until_us) {
			p->start_at_us = p->no_memory_until_us;
			return;
		}
		if (!breaker_may_start(&p->breaker, p->now_us, &p->start_at_us))
			return;
		if ((w = worker_new(p)) == NULL) {
			p->start_at_us = p->no_memory_until_us = pool_in(p, NO_MEMORY_RETRY_US);
			return;
		}
		p->start_at_us = POOL_NEVER;
		breaker_start(&p->breaker, p->now_us);
		p->totals.starts++;
		heap_set(&p->timers, &w->timer, pool_in(p, p->config.start_timeout_us));
		worker_act(p, w, POOL_START);
	}
}

void workers_resize(struct pool *p, unsigned size, unsigned size_max)
{
	p->config.size = size;
	p->config.size_max = size_max;
	if (p->size < size)
		p->size = size;
	if (p->size > range_max(p))
		p->size = range_max(p);
	p->spare_us = POOL_NEVER; /* from now on */
	workers_replace(p);
	/* Idle ones leave at once, those without sessions first, and of these those with the highest
	 * index; who serves leaves when it comes free. */
	for (unsigned with_sessions = 0; with_sessions <= 1; with_sessions++) {
		struct list *at = p->by_index.prev;

		while (at != &p->by_index && p->serving - p->retiring > p->size) {
			struct pool_worker *w = list_entry(at, struct pool_worker, by_index);

			at = at->prev;
			if (w->state == WORKER_IDLE && (with_sessions || w->session_count == 0))
				worker_leave(p, w, POOL_END, WHY_SURPLUS);
		}
	}
}

void workers_stop(struct pool *p)
{
	struct list *at, *next;

	list_each (at, next, &p->workers) {
		struct pool_worker *w = list_entry(at, struct pool_worker, all);

		for (struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
			for (unsigned i = 0; i < s->depth; i++)
				if (s->call[i].request != NULL)
					request_done(p, s->call[i].request, OUTCOME_DRAINING);
			if (s->lease != NULL)
				lease_end(p, s->lease, LEASE_WORKER_GONE, OUTCOME_DRAINING);
		}
		ahead_stop(p, w);
		if (w->state == WORKER_STARTING || w->state == WORKER_BUSY)
			worker_leave(p, w, POOL_KILL, WHY_STOP);
		else if (w->state != WORKER_STOPPING)
			worker_leave(p, w, POOL_END, WHY_STOP);
	}
}
