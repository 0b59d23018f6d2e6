/* pool_request.c - requests of the pool: admission, queues, deadlines, hand-out.
 *
 * The happy path: request_submit() finds an idle worker and runs the call there, or queues it;
 * requests_serve() gives it the next worker that comes free; the answer ends it (request_done()).
 * What can go wrong: it is refused (draining, overloaded, circuit open, lease closed), its time is up
 * while it waits or runs, its caller is gone, its worker dies (again, if it may run twice). Each way
 * goes through request_move(), and to DONE exactly once. */
#include "pool_private.h"

#include <assert.h>

static const unsigned legal[] = {
	[REQUEST_NEW] = BIT(REQUEST_QUEUED) | BIT(REQUEST_RUNNING) | BIT(REQUEST_DONE),
	[REQUEST_QUEUED] = BIT(REQUEST_RUNNING) | BIT(REQUEST_DONE),
	[REQUEST_RUNNING] = BIT(REQUEST_QUEUED) | BIT(REQUEST_DONE),
	[REQUEST_DONE] = 0,
};

/* The only one that changes a request's state; keeps the counts, the bytes and the deadlines. `at`: the
 * link before which it goes, for QUEUED and DONE. */
static void request_move(struct pool *p, struct pool_request *r, enum request_state to,
			 struct list *at)
{
	uint64_t until =
		r->queue_deadline_us < r->deadline_us ? r->queue_deadline_us : r->deadline_us;

	assert(legal[r->state] & BIT(to));
	list_remove(&r->link);
	if (r->state == REQUEST_QUEUED) {
		p->queued--;
		p->queued_bytes -= r->bytes;
		heap_remove(&p->waits, &r->timer);
	} else if (r->state == REQUEST_RUNNING) {
		p->running--;
		heap_remove(&p->runs, &r->timer);
	}
	r->state = to;
	if (to == REQUEST_QUEUED) {
		p->queued++;
		p->queued_bytes += r->bytes;
		heap_set(&p->waits, &r->timer, until);
	} else if (to == REQUEST_RUNNING) {
		p->running++;
		r->started_us = p->now_us;
		heap_set(&p->runs, &r->timer, r->deadline_us);
	} else {
		r->done_us = p->now_us;
	}
	if (at != NULL)
		list_insert_before(&r->link, at);
}

/* The worker that runs it does so no longer. */
static void part(struct pool *p, struct pool_request *r)
{
	struct pool_worker *w = r->worker;

	if (w == NULL)
		return;
	r->worker = NULL;
	w->request = NULL;
	worker_disowned(p, w);
}

void request_done(struct pool *p, struct pool_request *r, enum pool_outcome outcome)
{
	request_move(p, r, REQUEST_DONE, &p->done);
	r->outcome = outcome;
	p->totals.outcome[outcome]++;
	part(p, r);
}

void request_run(struct pool *p, struct pool_request *r, struct pool_worker *w)
{
	assert(w->request == NULL && w->call_id == 0);
	request_move(p, r, REQUEST_RUNNING, NULL);
	if (r->worker_id == 0)
		histogram_add(&p->wait_us, p->now_us - r->arrived_us);
	r->worker = w;
	r->worker_id = w->id;
	w->request = r;
	w->call_id = r->id;
	worker_move(p, w, WORKER_BUSY);
	worker_act(p, w, POOL_RUN);
}

/* An idle worker begins to serve a call or a checkout. */
static void serve(struct pool *p, struct pool_request *r, struct pool_worker *w)
{
	if (r->kind == POOL_CHECKOUT)
		lease_grant(p, r, w);
	else
		request_run(p, r, w);
}

/* The most recently used: its caches are warm, and the others can be swapped out. */
static struct pool_worker *idle_worker(const struct pool *p)
{
	if (list_empty(&p->in[WORKER_IDLE]))
		return NULL;
	return list_entry(p->in[WORKER_IDLE].prev, struct pool_worker, link);
}

static bool overloaded(const struct pool *p, const struct pool_request *r)
{
	size_t limit = p->config.queue_bytes_limit;

	if (p->queued >= p->config.queue_limit)
		return true;
	return p->queued > 0 && (p->queued_bytes > limit || r->bytes > limit - p->queued_bytes);
}

bool requests_hopeless(const struct pool *p)
{
	return breaker_state(&p->breaker) != BREAKER_CLOSED && pool_ready(p) == 0;
}

/* Why a request that has just arrived is not admitted; OUTCOME_OK: it is. */
static enum pool_outcome verdict(const struct pool *p, const struct pool_request *r,
				 const struct pool_lease *on)
{
	bool at_once = on != NULL ? on->worker->state == WORKER_LEASED : idle_worker(p) != NULL;

	if (p->stopping)
		return OUTCOME_DRAINING;
	if (r->kind == POOL_LEASE_CALL && on == NULL)
		return OUTCOME_LEASE_CLOSED;
	if (p->draining && on == NULL)
		return OUTCOME_DRAINING;
	if (r->deadline_us <= p->now_us)
		return OUTCOME_TIMEOUT_QUEUE;
	if (on == NULL && requests_hopeless(p))
		return OUTCOME_CIRCUIT_OPEN;
	if (!at_once && overloaded(p, r))
		return OUTCOME_OVERLOADED;
	return OUTCOME_OK;
}

void request_submit(struct pool *p, struct pool_request *r, struct pool_lease *lease)
{
	struct pool_lease *on = r->kind == POOL_LEASE_CALL ? lease_find(p, r->lease_id) : NULL;
	struct pool_worker *w = idle_worker(p);
	enum pool_outcome refusal = verdict(p, r, on);

	assert(r->state == REQUEST_NEW && r->id != 0 && !(r->id & PROBE_BIT));
	assert((r->kind == POOL_CHECKOUT) == (lease != NULL));
	r->arrived_us = p->now_us;
	r->arrival = ++p->totals.received;
	r->lease = lease;
	list_init(&r->link);
	if (refusal != OUTCOME_OK) {
		request_done(p, r, refusal);
	} else if (on != NULL && on->worker->state == WORKER_LEASED) {
		request_run(p, r, on->worker);
	} else if (on != NULL) {
		request_move(p, r, REQUEST_QUEUED, &on->waiting);
	} else if (w != NULL) {
		serve(p, r, w);
	} else {
		request_move(p, r, REQUEST_QUEUED, &p->queue[r->priority]);
	}
}

/* Ends a request whose caller is gone or whose time is up. */
static void cut(struct pool *p, struct pool_request *r, enum pool_outcome outcome, bool timed_out)
{
	struct pool_worker *w = r->worker;

	request_done(p, r, outcome);
	if (w != NULL)
		worker_orphaned(p, w, r->abandon, timed_out);
}

void request_abandon(struct pool *p, struct pool_request *r)
{
	assert(r->state == REQUEST_QUEUED || r->state == REQUEST_RUNNING);
	cut(p, r, OUTCOME_ABANDONED, false);
}

void request_lost_worker(struct pool *p, struct pool_request *r, bool not_begun)
{
	struct list *queue = &p->queue[r->priority], *at = queue->next;

	if (r->kind != POOL_CALL || (r->retry == 0 && !not_begun) || r->deadline_us <= p->now_us) {
		request_done(p, r, OUTCOME_WORKER_EXIT);
		return;
	}
	part(p, r);
	if (!not_begun) {
		r->retry--;
		p->totals.retries++;
	}
	r->queue_deadline_us = POOL_NEVER; /* it was about the first wait */
	/* In front, but behind those of its kind that came before: at most one per worker. */
	while (at != queue && list_entry(at, struct pool_request, link)->arrival < r->arrival)
		at = at->next;
	request_move(p, r, REQUEST_QUEUED, at);
}

void requests_expire(struct pool *p)
{
	while (heap_due(&p->waits, p->now_us))
		cut(p, heap_entry(heap_min(&p->waits), struct pool_request, timer),
		    OUTCOME_TIMEOUT_QUEUE, true);
	while (heap_due(&p->runs, p->now_us))
		cut(p, heap_entry(heap_min(&p->runs), struct pool_request, timer),
		    OUTCOME_TIMEOUT_CALL, true);
}

/* The next in line, NULL when nobody waits. */
static struct pool_request *first_waiting(const struct pool *p)
{
	for (unsigned i = 0; i < PRIORITIES; i++)
		if (!list_empty(&p->queue[i]))
			return list_entry(p->queue[i].next, struct pool_request, link);
	return NULL;
}

void requests_done(struct pool *p, enum pool_outcome outcome)
{
	struct pool_request *r;

	while ((r = first_waiting(p)) != NULL)
		request_done(p, r, outcome);
}

void requests_serve(struct pool *p)
{
	struct pool_request *r;
	struct pool_worker *w;

	while ((w = idle_worker(p)) != NULL && (r = first_waiting(p)) != NULL)
		serve(p, r, w);
}
