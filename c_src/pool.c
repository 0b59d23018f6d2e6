/* pool.c - who holds which worker, who waits, and what must happen next; see pool.h.
 *
 * This room holds what is seen from outside: a step, the next action, the questions. The rules live in
 * pool_request.c, pool_lease.c and pool_worker.c. */
#include "pool_private.h"

#include "mem.h"

#include <assert.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

struct pool *pool_new(const struct pool_config *config)
{
	struct pool *p = mem_zalloc(sizeof *p);
	unsigned i;

	if (p == NULL)
		return NULL;
	p->config = *config;
	p->start_at_us = 0; /* the first step is due at once */
	for (i = 0; i < WORKER_STATES; i++)
		list_init(&p->in[i]);
	for (i = 0; i < PRIORITIES; i++)
		list_init(&p->queue[i]);
	for (i = 0; i < POOL_ACTIONS; i++)
		list_init(&p->act[i]);
	list_init(&p->workers);
	list_init(&p->by_index);
	list_init(&p->trials);
	list_init(&p->leases);
	list_init(&p->done);
	list_init(&p->ended);
	breaker_init(&p->breaker, &config->breaker, 0);
	return p;
}

void pool_free(struct pool *p)
{
	struct list *at, *next;

	if (p == NULL)
		return;
	assert(p->queued == 0 && p->running == 0 && p->lease_count == 0);
	assert(list_empty(&p->done) && list_empty(&p->ended));
	list_each (at, next, &p->workers)
		mem_free(list_entry(at, struct pool_worker, all));
	mem_free(p);
}

/* ---- a step ---- */

static void lease_event(struct pool *p, uint64_t lease_id, enum pool_lease_end end)
{
	struct pool_lease *lease = lease_find(p, lease_id);

	if (lease != NULL)
		lease_returned(p, lease, end);
	else
		p->totals.late++;
}

static void worker_event(struct pool *p, const struct pool_event *ev)
{
	struct pool_worker *w = worker_find(p, ev->worker_id);

	if (w == NULL || (ev->type == POOL_WORKER_READY && w->state != WORKER_STARTING))
		p->totals.late++;
	else if (ev->type == POOL_WORKER_READY)
		worker_ready(p, w);
	else if (ev->type == POOL_WORKER_ANSWER)
		worker_answered(p, w, ev->call_id);
	else if (ev->type == POOL_WORKER_BROKEN)
		worker_broken(p, w);
	else
		worker_gone(p, w, ev->not_begun);
}

static void happen(struct pool *p, const struct pool_event *ev)
{
	switch (ev->type) {
	case POOL_SUBMIT:
		request_submit(p, ev->request, ev->lease);
		break;
	case POOL_ABANDON:
		request_abandon(p, ev->request);
		break;
	case POOL_CHECKIN:
		lease_event(p, ev->lease_id, LEASE_CHECKED_IN);
		break;
	case POOL_LEASE_DOWN:
		lease_event(p, ev->lease_id, LEASE_OWNER_GONE);
		break;
	case POOL_WORKER_READY:
	case POOL_WORKER_ANSWER:
	case POOL_WORKER_GONE:
	case POOL_WORKER_BROKEN:
		worker_event(p, ev);
		break;
	case POOL_TICK:
	default:
		break;
	case POOL_RESIZE:
		workers_resize(p, ev->size);
		break;
	case POOL_DRAIN:
		p->draining = true;
		p->drain_told = false;
		break;
	case POOL_STOP:
		p->stopping = true;
		requests_done(p, OUTCOME_DRAINING);
		workers_stop(p);
		break;
	}
}

/* Whether all actions of the last step were taken. */
static bool performed(const struct pool *p)
{
	for (unsigned i = 0; i < POOL_ACTIONS; i++)
		if (!list_empty(&p->act[i]))
			return false;
	return list_empty(&p->done) && list_empty(&p->ended) && !p->drained_due;
}

void pool_step(struct pool *p, const struct pool_event *ev, uint64_t now_us)
{
	assert(now_us >= p->now_us && performed(p));
	p->now_us = now_us;
	p->random = ev->random;
	happen(p, ev);
	requests_expire(p);
	workers_expire(p);
	workers_start(p);
	if (requests_hopeless(p))
		requests_done(p, OUTCOME_CIRCUIT_OPEN);
	requests_serve(p);
	if (p->draining && !p->drain_told && p->queued + p->running + p->lease_count == 0)
		p->drain_told = p->drained_due = true;
	workers_reap(p);
#ifdef POOL_DEBUG
	pool_check(p);
#endif
}

/* ---- actions ---- */

static bool next_of(struct pool *p, const enum pool_action_type *types, size_t n,
		    struct pool_action *action)
{
	for (size_t i = 0; i < n; i++) {
		struct pool_worker *w;

		if (list_empty(&p->act[types[i]]))
			continue;
		w = list_entry(p->act[types[i]].next, struct pool_worker, act);
		list_remove(&w->act);
		*action = (struct pool_action){
			.type = types[i],
			.worker_id = w->id,
			.index = w->index,
			.call_id = w->call_id,
			.request = types[i] == POOL_RUN ? w->request : NULL,
			.lease = w->lease,
		};
		return true;
	}
	return false;
}

static bool next_done(struct pool *p, struct pool_action *action)
{
	struct pool_request *r;

	if (list_empty(&p->done))
		return false;
	r = list_entry(p->done.next, struct pool_request, link);
	list_remove(&r->link);
	*action = (struct pool_action){
		.type = POOL_DONE,
		.worker_id = r->worker_id,
		.call_id = r->id,
		.request = r,
		.lease = r->lease,
	};
	return true;
}

static bool next_ended(struct pool *p, struct pool_action *action)
{
	struct pool_lease *lease;

	if (list_empty(&p->ended))
		return false;
	lease = list_entry(p->ended.next, struct pool_lease, link);
	list_remove(&lease->link);
	*action = (struct pool_action){
		.type = POOL_LEASE_ENDED,
		.worker_id = lease->worker_id,
		.lease = lease,
	};
	return true;
}

bool pool_next(struct pool *p, struct pool_action *action)
{
	/* Ends first, so that a replacement finds room; then who waits for an answer; then work. */
	static const enum pool_action_type ends[] = { POOL_KILL, POOL_END, POOL_TERMINATE,
						      POOL_INTERRUPT };
	static const enum pool_action_type work[] = { POOL_START, POOL_RUN, POOL_PROBE };

	if (next_of(p, ends, COUNT(ends), action) || next_done(p, action) ||
	    next_ended(p, action) || next_of(p, work, COUNT(work), action))
		return true;
	*action = (struct pool_action){ .type = POOL_DRAINED };
	if (!p->drained_due)
		return false;
	p->drained_due = false;
	return true;
}

/* ---- questions ---- */

uint64_t pool_next_tick(const struct pool *p)
{
	const struct heap *const heaps[] = { &p->waits, &p->runs, &p->timers };
	uint64_t at = p->start_at_us;

	for (size_t i = 0; i < COUNT(heaps); i++)
		if (heap_min(heaps[i]) != NULL && heap_min(heaps[i])->key < at)
			at = heap_min(heaps[i])->key;
	if (!list_empty(&p->trials)) {
		uint64_t end = list_entry(p->trials.next, struct pool_worker, trial)->ready_us +
			       EARLY_DEATH_US;

		at = end < at ? end : at;
	}
	return at;
}

void pool_count_refused(struct pool *p)
{
	p->totals.received++;
	p->totals.outcome[OUTCOME_REFUSED]++;
}

const struct pool_config *pool_config(const struct pool *p)
{
	return &p->config;
}

const struct pool_totals *pool_totals(const struct pool *p)
{
	return &p->totals;
}

unsigned pool_count(const struct pool *p, enum worker_state state)
{
	return p->count[state];
}

unsigned pool_ready(const struct pool *p)
{
	return p->count[WORKER_IDLE] + p->count[WORKER_LEASED] + p->count[WORKER_BUSY] +
	       p->count[WORKER_PROBING];
}

unsigned pool_queued(const struct pool *p)
{
	return p->queued;
}

unsigned pool_running(const struct pool *p)
{
	return p->running;
}

unsigned pool_leases(const struct pool *p)
{
	return p->lease_count;
}

bool pool_draining(const struct pool *p)
{
	return p->draining || p->stopping;
}

struct pool_worker *pool_worker(const struct pool *p, uint64_t worker_id)
{
	return worker_find(p, worker_id);
}

struct pool_lease *pool_lease(const struct pool *p, uint64_t lease_id)
{
	return lease_find(p, lease_id);
}

struct pool_worker *pool_worker_after(const struct pool *p, const struct pool_worker *prev)
{
	const struct list *at = prev != NULL ? &prev->all : &p->workers;

	if (at->next == &p->workers)
		return NULL;
	return list_entry(at->next, struct pool_worker, all);
}

const struct breaker *pool_breaker(const struct pool *p)
{
	return &p->breaker;
}

uint64_t pool_retry_after_ms(const struct pool *p, uint64_t now_us)
{
	struct breaker copy = p->breaker;
	uint64_t when, wait;

	if (breaker_state(&copy) == BREAKER_CLOSED)
		return 0;
	/* While a probe is under way nobody knows; the shortest back-off is as good a guess as any. */
	if (copy.probing)
		wait = copy.config.backoff_base_us;
	else
		wait = breaker_may_start(&copy, now_us, &when) ? 0 : when - now_us;
	return wait / 1000 + (wait % 1000 != 0 || wait == 0);
}

const struct histogram *pool_wait_us(const struct pool *p)
{
	return &p->wait_us;
}

const struct histogram *pool_call_us(const struct pool *p)
{
	return &p->call_us;
}

const struct histogram *pool_start_us(const struct pool *p)
{
	return &p->start_us;
}

const char *worker_state_name(enum worker_state state)
{
	static const char *const names[] = { "starting", "idle",     "leased", "busy",
					     "probing",  "stopping", "gone" };

	assert((unsigned)state < COUNT(names));
	return names[state];
}

const char *pool_outcome_name(enum pool_outcome outcome)
{
	static const char *const names[] = { "ok",           "abandoned",    "timeout_queue",
					     "timeout_call", "overloaded",   "worker_exit",
					     "circuit_open", "lease_closed", "draining",
					     "session_lost", "session_busy", "deadlock",
					     "refused" };

	assert((unsigned)outcome < COUNT(names));
	return names[outcome];
}
