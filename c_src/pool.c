/* pool.c - who holds which worker, who waits, and what must happen next; see pool.h.
 *
 * This room holds a step and the next action; the questions are in pool_ask.c. The rules live in the
 * rooms that pool_private.h names. */
#include "pool_private.h"

#include "mem.h"

#include <assert.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void take_config(struct pool *p, const struct pool_config *config)
{
	p->config = *config;
	if (p->config.slots == 0)
		p->config.slots = 1;
	assert(p->config.slots <= POOL_SLOTS_MAX && config->jitter_percent <= 100);
	assert(p->config.ahead <= POOL_AHEAD_MAX);
	if (p->slots_most < p->config.slots)
		p->slots_most = p->config.slots;
}

struct pool *pool_new(const struct pool_config *config)
{
	struct pool *p = mem_zalloc(sizeof *p);
	unsigned i;

	if (p == NULL)
		return NULL;
	struct list *const others[] = {
		&p->hungry, &p->nests,  &p->workers,  &p->gone,           &p->by_index,
		&p->trials, &p->leases, &p->sessions, &p->unused,         &p->closes,
		&p->opened, &p->done,   &p->ended,    &p->sessions_ended, &p->recycle,
		&p->by_age, &p->ahead,  &p->begun,    &p->leads,          &p->recalls,
	};

	take_config(p, config);
	p->size = config->size;
	p->patience = 1;
	p->spare_us = POOL_NEVER;
	p->start_at_us = 0; /* the first step is due at once */
	p->run_us8 = UINT64_C(8) * AHEAD_LONGEST_US;
	for (i = 0; i < COUNT(p->offered); i++)
		list_init(&p->offered[i]);
	for (i = 0; i < PRIORITIES; i++)
		line_init(&p->queue[i]);
	for (i = 0; i < POOL_ACTIONS; i++)
		list_init(&p->act[i]);
	for (i = 0; i < COUNT(others); i++)
		list_init(others[i]);
	breaker_init(&p->breaker, &config->breaker, 0);
	return p;
}

void pool_free(struct pool *p)
{
	struct list *at, *next;

	if (p == NULL)
		return;
	assert(p->queued == 0 && p->running == 0 && p->lease_count == 0 && p->session_count == 0);
	assert(list_empty(&p->done) && list_empty(&p->ended) && list_empty(&p->sessions_ended));
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
	else if (ev->type == POOL_WORKER_OPENED)
		worker_opened(p, w, ev->call_id);
	else if (ev->type == POOL_WORKER_TAKEN)
		ahead_taken(p, w, ev->call_id);
	else if (ev->type == POOL_RECALLED)
		ahead_recalled(p, w, ev->call_ids, ev->count);
	else if (ev->type == POOL_WORKER_WAITS)
		worker_waits(p, w, ev->call_id, ev->waits);
	else if (ev->type == POOL_WORKER_BROKEN)
		worker_broken(p, w);
	else if (ev->type == POOL_KILL_WORKER)
		worker_kill(p, w);
	else
		worker_gone(p, w, ev->not_begun);
}

static void configure(struct pool *p, const struct pool_config *config)
{
	struct list *at, *next;

	take_config(p, config);
	breaker_configure(&p->breaker, &config->breaker, p->now_us);
	list_each (at, next, &p->by_index) {
		struct pool_worker *w = list_entry(at, struct pool_worker, by_index);

		if (w->state != WORKER_STARTING)
			worker_limits(p, w);
	}
	workers_resize(p, config->size, config->size_max);
}

static void happen(struct pool *p, const struct pool_event *ev)
{
	switch (ev->type) {
	case POOL_SUBMIT:
		request_submit(p, ev);
		break;
	case POOL_ABANDON:
		request_cut(p, ev->request, OUTCOME_ABANDONED, false);
		break;
	case POOL_CANCEL:
		request_cut(p, ev->request, OUTCOME_CANCELLED, false);
		break;
	case POOL_CHECKIN:
		lease_event(p, ev->lease_id, LEASE_CHECKED_IN);
		break;
	case POOL_LEASE_DOWN:
		lease_event(p, ev->lease_id, LEASE_OWNER_GONE);
		break;
	case POOL_WORKER_READY:
	case POOL_WORKER_ANSWER:
	case POOL_WORKER_OPENED:
	case POOL_WORKER_TAKEN:
	case POOL_RECALLED:
	case POOL_WORKER_WAITS:
	case POOL_WORKER_GONE:
	case POOL_WORKER_BROKEN:
	case POOL_KILL_WORKER:
		worker_event(p, ev);
		break;
	case POOL_EXTEND:
		request_extend(p, ev->request, ev->deadline_us);
		break;
	case POOL_CLOSE_STREAM:
		request_close(p, ev->request);
		break;
	case POOL_REFUSE:
		assert(ev->request->state == REQUEST_QUEUED);
		request_done(p, ev->request, OUTCOME_DEADLOCK);
		break;
	case POOL_SESSION_END:
		session_end(p, ev->session, SESSION_ENDED);
		break;
	case POOL_TICK:
		break;
	case POOL_RESIZE:
		workers_resize(p, ev->size, ev->size_max);
		break;
	case POOL_CONFIGURE:
		configure(p, ev->config);
		break;
	case POOL_PAUSE:
		p->paused = !p->draining && !p->stopping;
		if (p->paused)
			ahead_recall_all(p);
		break;
	case POOL_RESUME:
		p->paused = p->draining = false;
		break;
	case POOL_RECYCLE:
		workers_recycle(p, ev->worker_id, ev->why != WHY_NONE ? ev->why : WHY_RECYCLE);
		break;
	case POOL_DRAIN:
		p->draining = true;
		p->paused = p->drain_told = false;
		break;
	case POOL_STOP:
		p->stopping = true;
		requests_done(p, OUTCOME_DRAINING);
		sessions_stop(p);
		workers_stop(p);
		sessions_stopped(p);
		break;
	}
}

/* What was abandoned and finishes unheard is busy, too. */
bool pool_works(const struct pool *p)
{
	return p->queued + p->running + p->lease_count + p->count[WORKER_BUSY] > 0;
}

void pool_step(struct pool *p, const struct pool_event *ev, uint64_t now_us)
{
	assert(now_us >= p->now_us && p->due == 0);
	p->now_us = now_us;
	p->random = ev->random;
	happen(p, ev);
	requests_expire(p);
	aheads_expire(p);
	slots_expire(p);
	workers_expire(p);
	sessions_expire(p);
	health_expire(p);
	workers_replace(p);
	workers_start(p);
	if (requests_hopeless(p))
		requests_done(p, OUTCOME_CIRCUIT_OPEN);
	serve_all(p);
	ahead_serve(p);
	range_adapt(p);
	if (p->draining && !p->drain_told && !pool_works(p)) {
		p->drain_told = true;
		p->due |= BIT(POOL_DRAINED);
	}
	workers_reap(p);
#ifdef POOL_DEBUG
	pool_check(p);
#endif
}

/* ---- actions ---- */

/* A worker's: it starts, or ends. */
static bool next_of_workers(struct pool *p, struct pool_action *action)
{
	struct pool_worker *w;

	if (list_empty(&p->act[action->type]))
		return false;
	w = list_entry(p->act[action->type].next, struct pool_worker, act);
	list_remove(&w->act);
	action->worker_id = w->id;
	action->index = w->index;
	action->why = w->why;
	return true;
}

static bool next_recall(struct pool *p, struct pool_action *action)
{
	struct pool_worker *w;

	if (list_empty(&p->recalls))
		return false;
	w = list_entry(p->recalls.next, struct pool_worker, recall);
	list_remove(&w->recall);
	action->worker_id = w->id;
	action->index = w->index;
	return true;
}

/* A slot's: about its calls. */
static bool next_of_slots(struct pool *p, struct pool_action *action)
{
	const struct pool_call *call;
	struct pool_slot *s;

	if (list_empty(&p->act[action->type]))
		return false;
	s = list_entry(p->act[action->type].next, struct pool_slot, act);
	list_remove(&s->act);
	action->worker_id = s->worker->id;
	action->index = s->worker->index;
	if (action->type == POOL_RUN) {
		call = &s->call[s->depth - 1];
		action->call_id = call->id;
		action->request = call->request;
		action->was_ahead = call->was_ahead;
		action->lease = s->lease;
	} else {
		action->call_id = s->probe_id != 0 ? s->probe_id : s->call[0].id;
		action->session = s->ends;
	}
	return true;
}

static bool next_close(struct pool *p, struct pool_action *action)
{
	while (!list_empty(&p->closes)) {
		struct pool_slot *s = list_entry(p->closes.next, struct pool_slot, closes);

		for (unsigned i = 0; i < s->depth; i++) {
			if (!s->call[i].close_due)
				continue;
			s->call[i].close_due = false;
			action->worker_id = s->worker->id;
			action->index = s->worker->index;
			action->call_id = s->call[i].id;
			return true;
		}
		list_remove(&s->closes);
	}
	return false;
}

/* A request's: it is to be sent ahead, was begun, has been opened, or is done. */
static bool next_of_requests(struct list *line, struct pool_action *action)
{
	struct pool_request *r;

	if (list_empty(line))
		return false;
	r = list_entry(line->next, struct pool_request, link);
	list_remove(&r->link);
	action->worker_id = r->ahead ? r->slot->worker->id : r->worker_id;
	action->call_id = r->id;
	action->request = r;
	action->lease = r->kind == POOL_CHECKOUT ? r->lease : NULL;
	return true;
}

static bool next_lease_ended(struct pool *p, struct pool_action *action)
{
	if (list_empty(&p->ended))
		return false;
	action->lease = list_entry(p->ended.next, struct pool_lease, link);
	action->worker_id = action->lease->worker_id;
	list_remove(&action->lease->link);
	return true;
}

static bool next_session_ended(struct pool *p, struct pool_action *action)
{
	if (list_empty(&p->sessions_ended))
		return false;
	action->session = list_entry(p->sessions_ended.next, struct pool_session, link);
	action->worker_id = action->session->worker_id;
	list_remove(&action->session->link);
	return true;
}

/* The next one of its type. */
static bool next_of_type(struct pool *p, struct pool_action *action)
{
	switch (action->type) {
	case POOL_RECALL:
		return next_recall(p, action);
	case POOL_KILL:
	case POOL_END:
	case POOL_TERMINATE:
	case POOL_ABORT:
	case POOL_START:
		return next_of_workers(p, action);
	case POOL_RUN:
	case POOL_PROBE:
	case POOL_INTERRUPT:
	case POOL_END_SESSION:
		return next_of_slots(p, action);
	case POOL_CLOSE:
		return next_close(p, action);
	case POOL_DONE:
		return next_of_requests(&p->done, action);
	case POOL_OPENED:
		return next_of_requests(&p->opened, action);
	case POOL_BEGUN:
		return next_of_requests(&p->begun, action);
	case POOL_AHEAD:
		return next_of_requests(&p->ahead, action);
	case POOL_LEASE_ENDED:
		return next_lease_ended(p, action);
	case POOL_SESSION_ENDED:
		return next_session_ended(p, action);
	case POOL_DRAINED:
		p->due &= ~BIT(POOL_DRAINED);
		return true;
	}
	return false;
}

bool pool_next(struct pool *p, struct pool_action *action)
{
	while (p->due != 0) { /* the lowest bit: the type that is told first */
		enum pool_action_type type = (enum pool_action_type)__builtin_ctz(p->due);

		*action = (struct pool_action){ .type = type };
		if (next_of_type(p, action))
			return true;
		p->due &= ~BIT(type);
	}
	return false;
}
