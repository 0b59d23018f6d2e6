/* pool_worker.c - workers of the pool: from the decision to start one until it is gone.
 *
 * The happy path: workers_start() decides a start while the breaker allows; HELLO (worker_ready()) makes
 * it idle; it serves; pool_worker_free() after each answer.
 * What can go wrong: it does not say HELLO in time or dies before (a failed start); it dies or breaks
 * the protocol while it serves (its call is lost with it, its lease ends); its call loses its owner
 * (worker_orphaned(): it proves itself clean or is killed). A stop is polite first, then SIGTERM, then
 * SIGKILL; what is stopping never serves again. */
#include "pool_private.h"

#include "mem.h"

#include <assert.h>

enum { PHASE_ASKED, PHASE_SIGTERM, PHASE_SIGKILL };

static const unsigned legal[WORKER_STATES] = {
	[WORKER_STARTING] = BIT(WORKER_IDLE) | BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_IDLE] =
		BIT(WORKER_LEASED) | BIT(WORKER_BUSY) | BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_LEASED] =
		BIT(WORKER_BUSY) | BIT(WORKER_IDLE) | BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_BUSY] = BIT(WORKER_LEASED) | BIT(WORKER_IDLE) | BIT(WORKER_PROBING) |
			BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_PROBING] =
		BIT(WORKER_LEASED) | BIT(WORKER_IDLE) | BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_STOPPING] = BIT(WORKER_GONE),
	[WORKER_GONE] = 0,
};

/* The only one that changes a worker's state. */
void worker_move(struct pool *p, struct pool_worker *w, enum worker_state to)
{
	assert(legal[w->state] & BIT(to));
	list_remove(&w->link);
	p->count[w->state]--;
	w->state = to;
	w->since_us = p->now_us;
	p->count[to]++;
	list_append(&p->in[to], &w->link);
}

void worker_act(struct pool *p, struct pool_worker *w, enum pool_action_type type)
{
	list_remove(&w->act);
	list_append(&p->act[type], &w->act);
	w->pending = type;
}

struct pool_worker *worker_find(const struct pool *p, uint64_t worker_id)
{
	struct pool_worker *w = p->worker_hash[pool_slot(worker_id)];

	while (w != NULL && w->id != worker_id)
		w = w->hash_next;
	return w;
}

/* ---- the end of a worker ---- */

static bool owned(const struct pool_worker *w)
{
	return w->request != NULL || w->lease != NULL;
}

static void stop_phase(struct pool *p, struct pool_worker *w, unsigned phase)
{
	static const enum pool_action_type act[] = { POOL_END, POOL_TERMINATE, POOL_KILL };

	w->stop_phase = phase;
	if (phase == PHASE_SIGKILL)
		p->totals.kills++;
	/* After SIGKILL there is nothing left to do but to tell its owner, if its exit is not
	 * reported: a process in the kernel's hands can take its time. */
	heap_set(&p->timers, &w->timer,
		 phase < PHASE_SIGKILL || owned(w) ? pool_in(p, p->config.stop_grace_us)
						   : POOL_NEVER);
	worker_act(p, w, act[phase]);
}

void worker_disowned(struct pool *p, struct pool_worker *w)
{
	if (w->state == WORKER_STOPPING && w->stop_phase == PHASE_SIGKILL && !owned(w))
		heap_remove(&p->timers, &w->timer);
}

/* The start is a success after all. */
static void trial_passed(struct pool *p, struct pool_worker *w)
{
	if (!list_empty(&w->trial)) {
		list_remove(&w->trial);
		breaker_ok(&p->breaker);
	}
}

static void leave(struct pool *p, struct pool_worker *w, unsigned phase)
{
	trial_passed(p, w);
	list_remove(&w->by_index);
	w->call_id = 0;
	w->interrupted = w->timed_out = false;
	worker_move(p, w, WORKER_STOPPING);
	stop_phase(p, w, phase);
}

/* Kills a worker that nobody's call runs on; its lease ends. */
static void put_down(struct pool *p, struct pool_worker *w, bool timed_out)
{
	assert(w->request == NULL);
	if (w->lease != NULL)
		lease_end(p, w->lease, timed_out ? LEASE_TIMEOUT : LEASE_WORKER_GONE,
			  OUTCOME_LEASE_CLOSED);
	leave(p, w, PHASE_SIGKILL);
}

static void start_failed(struct pool *p, const struct pool_worker *w)
{
	p->totals.start_failures++;
	breaker_failed(&p->breaker, w->started_us, p->now_us, p->random);
}

/* It dies by itself while it serves or starts: was it fit to serve at all? */
static void judge(struct pool *p, struct pool_worker *w)
{
	bool early = w->calls == 0 && !w->interrupted && p->now_us - w->ready_us < EARLY_DEATH_US;

	if (w->state == WORKER_STARTING) {
		start_failed(p, w);
	} else if (early && ++p->early_deaths >= EARLY_DEATHS_MAX) {
		list_remove(&w->trial);
		start_failed(p, w);
	} else {
		trial_passed(p, w);
	}
}

/* What it held is lost with it. */
static void bereave(struct pool *p, struct pool_worker *w, bool not_begun)
{
	if (w->request != NULL)
		request_lost_worker(p, w->request, not_begun);
	if (w->lease != NULL)
		lease_end(p, w->lease, LEASE_WORKER_GONE, OUTCOME_LEASE_CLOSED);
}

void worker_broken(struct pool *p, struct pool_worker *w)
{
	if (w->state == WORKER_STOPPING)
		return; /* it closes its channel because it was asked to */
	judge(p, w);
	/* Its call and its lease hear of it with its exit, which tells more: how it died, and its
	 * last words. */
	leave(p, w, PHASE_SIGKILL);
}

void worker_gone(struct pool *p, struct pool_worker *w, bool not_begun)
{
	struct pool_worker **slot = &p->worker_hash[pool_slot(w->id)];

	p->totals.exits++;
	if (w->state != WORKER_STOPPING)
		judge(p, w);
	bereave(p, w, not_begun);
	heap_remove(&p->timers, &w->timer);
	list_remove(&w->by_index);
	list_remove(&w->trial);
	list_remove(&w->all);
	while (*slot != w)
		slot = &(*slot)->hash_next;
	*slot = w->hash_next;
	worker_move(p, w, WORKER_GONE);
}

void workers_reap(struct pool *p)
{
	while (!list_empty(&p->in[WORKER_GONE])) {
		struct pool_worker *w =
			list_entry(p->in[WORKER_GONE].next, struct pool_worker, link);

		list_remove(&w->link);
		list_remove(&w->act);
		p->count[WORKER_GONE]--;
		mem_free(w);
	}
}

/* ---- its work ---- */

void pool_worker_free(struct pool *p, struct pool_worker *w)
{
	/* Those that still start are surplus before those that can serve. */
	unsigned ready = pool_ready(p) + (w->state == WORKER_STARTING);

	w->call_id = 0;
	w->interrupted = w->timed_out = false;
	heap_remove(&p->timers, &w->timer);
	if (w->lease != NULL) {
		worker_move(p, w, WORKER_LEASED);
		lease_next(p, w->lease);
	} else if (ready > p->config.size) {
		leave(p, w, PHASE_ASKED);
	} else {
		worker_move(p, w, WORKER_IDLE);
	}
}

void worker_ready(struct pool *p, struct pool_worker *w)
{
	w->ready_us = p->now_us;
	histogram_add(&p->start_us, p->now_us - w->started_us);
	/* In a series of early deaths, HELLO alone proves nothing. */
	if (p->early_deaths >= EARLY_DEATHS_MAX)
		list_append(&p->trials, &w->trial);
	else
		breaker_ok(&p->breaker);
	pool_worker_free(p, w);
}

static void probe(struct pool *p, struct pool_worker *w)
{
	w->call_id = PROBE_BIT | ++p->last_probe_id;
	w->interrupted = false;
	heap_set(&p->timers, &w->timer, pool_in(p, p->config.interrupt_grace_us));
	worker_move(p, w, WORKER_PROBING);
	worker_act(p, w, POOL_PROBE);
}

void worker_answered(struct pool *p, struct pool_worker *w, uint64_t call_id)
{
	struct pool_request *r = w->request;

	if (w->state == WORKER_STOPPING && r != NULL && r->id == call_id) {
		/* The last words of one that ended by itself: its caller gets them, it gets nobody. */
		w->calls++;
		p->early_deaths = 0;
		histogram_add(&p->call_us, p->now_us - r->started_us);
		request_done(p, r, OUTCOME_OK);
		return;
	}
	if (call_id == 0 || call_id != w->call_id) {
		p->totals.late++;
		return;
	}
	if (w->state == WORKER_BUSY) {
		w->calls++;
		p->early_deaths = 0;
		trial_passed(p, w);
	}
	if (r != NULL) {
		histogram_add(&p->call_us, p->now_us - r->started_us);
		request_done(p, r, OUTCOME_OK);
	}
	if (w->interrupted)
		probe(p, w);
	else
		pool_worker_free(p, w);
}

void worker_orphaned(struct pool *p, struct pool_worker *w, enum pool_abandon how, bool timed_out)
{
	if (w->state == WORKER_STOPPING)
		return;
	assert(w->state == WORKER_BUSY && !w->interrupted);
	switch (how) {
	case ABANDON_KILL:
		put_down(p, w, timed_out);
		break;
	case ABANDON_INTERRUPT:
		w->interrupted = true;
		w->timed_out = timed_out;
		p->totals.interrupts++;
		heap_set(&p->timers, &w->timer, pool_in(p, p->config.interrupt_grace_us));
		worker_act(p, w, POOL_INTERRUPT);
		break;
	case ABANDON_FINISH:
		break;
	}
}

/* ---- time ---- */

static void expire(struct pool *p, struct pool_worker *w)
{
	heap_remove(&p->timers, &w->timer);
	if (w->state == WORKER_STARTING) {
		start_failed(p, w);
		leave(p, w, PHASE_SIGKILL);
	} else if (w->state != WORKER_STOPPING) {
		put_down(p, w, w->timed_out); /* it did not react to the interrupt */
	} else if (w->stop_phase < PHASE_SIGKILL) {
		stop_phase(p, w, w->stop_phase + 1);
	} else {
		bereave(p, w, false);
	}
}

void workers_expire(struct pool *p)
{
	while (heap_due(&p->timers, p->now_us))
		expire(p, heap_entry(heap_min(&p->timers), struct pool_worker, timer));
	while (!list_empty(&p->trials)) {
		struct pool_worker *w = list_entry(p->trials.next, struct pool_worker, trial);

		if (p->now_us - w->ready_us < EARLY_DEATH_US)
			break;
		trial_passed(p, w);
	}
}

/* ---- how many ---- */

/* A new worker at the lowest index that is free. NULL: no memory. */
static struct pool_worker *worker_new(struct pool *p)
{
	struct pool_worker *w = mem_zalloc(sizeof *w), **slot;
	struct list *at = p->by_index.next;

	if (w == NULL)
		return NULL;
	w->id = ++p->last_worker_id;
	while (at != &p->by_index &&
	       list_entry(at, struct pool_worker, by_index)->index == w->index) {
		w->index++;
		at = at->next;
	}
	list_init(&w->by_index);
	list_insert_before(&w->by_index, at);
	list_init(&w->act);
	list_init(&w->trial);
	list_append(&p->workers, &w->all);
	slot = &p->worker_hash[pool_slot(w->id)];
	w->hash_next = *slot;
	*slot = w;
	w->state = WORKER_STARTING;
	w->started_us = w->since_us = p->now_us;
	p->count[WORKER_STARTING]++;
	list_append(&p->in[WORKER_STARTING], &w->link);
	return w;
}

void workers_start(struct pool *p)
{
	struct pool_worker *w;

	p->start_at_us = POOL_NEVER;
	while (!p->stopping && pool_ready(p) + p->count[WORKER_STARTING] < p->config.size) {
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

void workers_resize(struct pool *p, unsigned size)
{
	struct list *at = p->by_index.prev;

	p->config.size = size;
	/* Idle ones leave at once, those with the highest index first; who serves leaves when it
	 * comes free. */
	while (at != &p->by_index && pool_ready(p) > size) {
		struct pool_worker *w = list_entry(at, struct pool_worker, by_index);

		at = at->prev;
		if (w->state == WORKER_IDLE)
			leave(p, w, PHASE_ASKED);
	}
}

void workers_stop(struct pool *p)
{
	struct list *at, *next;

	list_each (at, next, &p->workers) {
		struct pool_worker *w = list_entry(at, struct pool_worker, all);

		if (w->request != NULL)
			request_done(p, w->request, OUTCOME_DRAINING);
		if (w->lease != NULL)
			lease_end(p, w->lease, LEASE_WORKER_GONE, OUTCOME_DRAINING);
		if (w->state == WORKER_STARTING || w->state == WORKER_BUSY)
			leave(p, w, PHASE_SIGKILL);
		else if (w->state != WORKER_STOPPING)
			leave(p, w, PHASE_ASKED);
	}
}
