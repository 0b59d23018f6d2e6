/* pool_request.c - requests of the pool: admission, queues, deadlines, their end.
 *
 * The happy path: request_submit() finds a free slot and serves it there (pool_serve.c), or queues it;
 * serve_all() gives it the next slot that comes free; the answer ends it (request_done()).
 * What can go wrong: it is refused (draining, overloaded, circuit open, lease closed, session lost or
 * busy), its time is up while it waits or runs, its caller is gone, its worker dies (again, if it may
 * run twice). Each way goes through request_move(), and to DONE exactly once. */
#include "pool_private.h"

#include <assert.h>

static const unsigned legal[] = {
	[REQUEST_NEW] = BIT(REQUEST_QUEUED) | BIT(REQUEST_RUNNING) | BIT(REQUEST_DONE),
	[REQUEST_QUEUED] = BIT(REQUEST_RUNNING) | BIT(REQUEST_DONE),
	[REQUEST_RUNNING] = BIT(REQUEST_QUEUED) | BIT(REQUEST_STREAMING) | BIT(REQUEST_DONE),
	[REQUEST_STREAMING] = BIT(REQUEST_DONE),
	[REQUEST_DONE] = 0,
};

static bool runs(enum request_state state)
{
	return state == REQUEST_RUNNING || state == REQUEST_STREAMING;
}

/* The only one that changes a request's state; keeps the counts, the bytes and the deadlines. It is in
 * no list afterwards. */
static void request_move(struct pool *p, struct pool_request *r, enum request_state to)
{
	assert(legal[r->state] & BIT(to));
	line_take(p, r, false);
	list_remove(&r->link);
	if (r->state == REQUEST_QUEUED) {
		p->queued--;
		p->queued_bytes -= r->bytes;
		heap_remove(&p->waits, &r->timer);
		if (pool_request_session(r) != NULL)
			session_unwait(r);
	} else if (runs(r->state)) {
		p->running--;
		if (to != REQUEST_STREAMING)
			heap_remove(&p->runs, &r->timer);
	}
	if (to == REQUEST_QUEUED) {
		p->queued++;
		p->queued_bytes += r->bytes;
		heap_set(&p->waits, &r->timer,
			 r->queue_deadline_us < r->deadline_us ? r->queue_deadline_us
							       : r->deadline_us);
	} else if (to == REQUEST_RUNNING) {
		p->running++;
		r->started_us = p->now_us;
		heap_set(&p->runs, &r->timer, r->deadline_us);
	} else if (to == REQUEST_STREAMING) {
		p->running++;
	} else {
		if (!runs(r->state))
			r->started_us = 0;
		r->done_us = p->now_us;
	}
	r->state = to;
}

/* The call in which it runs; NULL: it does not run. */
static struct pool_call *call_of(const struct pool_request *r)
{
	struct pool_call *c = r->slot != NULL ? r->slot->call : NULL;

	while (c != NULL && c->request != r)
		c++;
	return c;
}

/* The call in which it runs is nobody's any more. */
static void part(struct pool *p, struct pool_request *r)
{
	struct pool_slot *s = r->slot;

	if (s == NULL)
		return;
	if (r->ahead) {
		ahead_part(p, r, r->outcome == OUTCOME_TIMEOUT_CALL);
		return;
	}
	call_of(r)->request = NULL;
	r->slot = NULL;
	worker_disowned(p, s->worker);
}

void request_done(struct pool *p, struct pool_request *r, enum pool_outcome outcome)
{
	request_move(p, r, REQUEST_DONE);
	list_append(&p->done, &r->link);
	p->due |= BIT(POOL_DONE);
	r->outcome = outcome;
	p->totals.outcome[outcome]++;
	part(p, r);
	if (r->claim != NULL)
		session_quit(p, r);
}

/* It runs from now on. */
static void begin(struct pool *p, struct pool_request *r, struct pool_slot *s)
{
	request_move(p, r, REQUEST_RUNNING);
	if (r->worker_id == 0)
		histogram_add(&p->wait_us, p->now_us - r->arrived_us);
	r->slot = s;
	if (s != NULL)
		r->worker_id = s->worker->id;
}

void request_begun(struct pool *p, struct pool_request *r, struct pool_slot *s)
{
	r->ahead = r->late = false;
	begin(p, r, s);
	if (s == NULL)
		return;
	list_append(&p->begun, &r->link);
	p->due |= BIT(POOL_BEGUN);
}

void request_run(struct pool *p, struct pool_request *r, struct pool_slot *s)
{
	struct pool_worker *w = s->worker;

	assert(s->depth < POOL_NEST_MAX);
	begin(p, r, s);
	s->call[s->depth] = (struct pool_call){ .id = r->id, .request = r, .inner = s->depth > 0 };
	s->depth++;
	w->last_call_id = r->id;
	if (s->session != NULL)
		s->session->calls++;
	if (s->state != WORKER_BUSY)
		slot_move(p, s, WORKER_BUSY);
	slot_act(p, s, POOL_RUN);
	if (r->plain)
		ahead_lead(p, w);
}

/* ---- queues ---- */

/* Where it is to wait; NULL: in no line, but behind the first of its session, or until that has ended. */
static struct pool_line *line_of(struct pool *p, const struct pool_request *r)
{
	const struct pool_session *sn = pool_request_session(r);

	if (sn == NULL || sn->first == r)
		return &p->queue[r->priority];
	if (sn->worker == NULL || sn->ending)
		return NULL;
	return session_movable(r) ? &p->queue[r->priority] : &sn->worker->pinned[r->priority];
}

void request_line_up(struct pool *p, struct pool_request *r)
{
	struct pool_line *line = line_of(p, r);
	const struct pool_session *sn = pool_request_session(r);
	struct pool_worker *w;

	if (line != r->line) {
		line_take(p, r, false);
		if (line != NULL)
			line_put(p, line, r);
	}
	if (line == NULL || sn == NULL || sn->first == r)
		return;
	w = sn->worker;
	if (!line_is_queue(p, line)) {
		list_remove(&w->hungry);
		list_append(&p->hungry, &w->hungry);
	}
	for (unsigned i = 0; i < w->slots; i++)
		if (w->slot[i].session == sn)
			slot_look(p, &w->slot[i]);
}

/* ---- admission ---- */

static bool overloaded(const struct pool *p, const struct pool_request *r)
{
	size_t limit = p->config.queue_bytes_limit;

	if (p->queued >= p->config.queue_limit)
		return true;
	return p->queued > 0 && (p->queued_bytes > limit || r->bytes > limit - p->queued_bytes);
}

bool requests_hopeless(const struct pool *p)
{
	return p->serving == 0 && breaker_state(&p->breaker) != BREAKER_CLOSED;
}

/* Why its session does not admit a request that has just arrived; OUTCOME_OK: it does. */
static enum pool_outcome session_verdict(const struct pool *p, const struct pool_request *r,
					 const struct pool_session *sn, bool at_once)
{
	const struct pool_session *evicted;

	if (sn == NULL)
		return session_room(p, &evicted) ? OUTCOME_OK : OUTCOME_OVERLOADED;
	if (sn->lost && r->session_mode != SESSION_HINT)
		return OUTCOME_SESSION_LOST;
	if (r->session_mode == SESSION_FAIL_FAST && !at_once)
		return OUTCOME_SESSION_BUSY;
	return OUTCOME_OK;
}

/* Why a request that has just arrived is not admitted; OUTCOME_OK: it is. `at_once`: there is a slot for
 * it. */
static enum pool_outcome verdict(const struct pool *p, const struct pool_request *r,
				 const struct pool_lease *on, const struct pool_session *sn,
				 bool at_once)
{
	enum pool_outcome refusal = OUTCOME_OK;

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
	if (r->claim != NULL)
		refusal = session_verdict(p, r, sn, at_once);
	if (refusal == OUTCOME_OK && !at_once && overloaded(p, r))
		return OUTCOME_OVERLOADED;
	return refusal;
}

void request_submit(struct pool *p, const struct pool_event *ev)
{
	struct pool_request *r = ev->request;
	struct pool_lease *on = r->kind == POOL_LEASE_CALL ? lease_find(p, r->lease_id) : NULL;
	struct pool_session *sn = NULL;
	struct pool_slot *s;
	enum pool_outcome refusal;

	assert(r->state == REQUEST_NEW && r->id != 0 && !(r->id & PROBE_BIT));
	assert((r->kind == POOL_CHECKOUT) == (ev->lease != NULL));
	r->arrived_us = p->now_us;
	r->arrival = ++p->totals.received;
	if (r->kind == POOL_CHECKOUT) {
		ev->lease->id = r->lease_id;
		r->lease = ev->lease;
	}
	list_init(&r->link);
	list_init(&r->turn);
	list_init(&r->by_age);
	if (r->claim != NULL) {
		assert(r->kind != POOL_LEASE_CALL);
		r->claim->request = r;
		r->claim->session = NULL;
		r->claim->spare = ev->session;
		list_init(&r->claim->by_session);
		sn = session_find(p, r->claim->key, r->claim->key_len);
		assert(r->claim->spare != NULL || (sn != NULL && r->session_mode != SESSION_HINT));
	}
	s = serve_place(p, r, on, sn);
	refusal = verdict(p, r, on, sn, s != NULL);
	if (refusal != OUTCOME_OK) {
		if (refusal == OUTCOME_SESSION_LOST)
			session_told(p, sn);
		request_done(p, r, refusal);
		return;
	}
	if (r->claim != NULL) {
		session_join(p, r, sn);
		s = serve_place(p, r, on, r->claim->session); /* an eviction may have taken it */
	}
	if (s != NULL) {
		serve(p, r, s);
		return;
	}
	request_move(p, r, REQUEST_QUEUED);
	if (on != NULL)
		list_append(&on->waiting, &r->link);
	else
		request_line_up(p, r);
	if (pool_request_session(r) != NULL)
		session_wait(r);
	if (on != NULL)
		slot_look(p, on->slot);
}

/* ---- ends ---- */

void request_cut(struct pool *p, struct pool_request *r, enum pool_outcome outcome, bool timed_out)
{
	struct pool_slot *s = r->slot;
	struct pool_call *c = r->ahead ? NULL : call_of(r);
	bool streaming = r->state == REQUEST_STREAMING;

	request_done(p, r, outcome);
	if (c != NULL)
		call_orphaned(p, s, c, r, streaming, timed_out);
}

void request_lost_worker(struct pool *p, struct pool_request *r, bool not_begun)
{
	bool again = r->kind == POOL_CALL && r->state == REQUEST_RUNNING &&
		     (r->retry > 0 || not_begun) && r->deadline_us > p->now_us;
	enum pool_outcome outcome = OUTCOME_WORKER_EXIT;

	part(p, r);
	if (again && r->claim != NULL && !session_rejoin(p, r, not_begun)) {
		again = false;
		if (not_begun && r->session_mode != SESSION_HINT)
			outcome = OUTCOME_SESSION_LOST; /* it might as well have waited */
	}
	if (!again) {
		request_done(p, r, outcome);
		return;
	}
	if (!not_begun) {
		r->retry--;
		p->totals.retries++;
	}
	r->queue_deadline_us = POOL_NEVER; /* it was about the first wait */
	request_move(p, r, REQUEST_QUEUED);
	request_line_up(p, r);
	if (pool_request_session(r) != NULL)
		session_wait(r);
}

void requests_expire(struct pool *p)
{
	while (heap_due(&p->waits, p->now_us)) {
		struct pool_request *r =
			heap_entry(heap_min(&p->waits), struct pool_request, timer);

		if (r->ahead)
			ahead_late(p, r);
		else
			request_cut(p, r, OUTCOME_TIMEOUT_QUEUE, true);
	}
	while (heap_due(&p->runs, p->now_us))
		request_cut(p, heap_entry(heap_min(&p->runs), struct pool_request, timer),
			    OUTCOME_TIMEOUT_CALL, true);
}

void requests_done(struct pool *p, enum pool_outcome outcome)
{
	struct pool_request *r;

	while ((r = serve_first(p->queue)) != NULL)
		request_done(p, r, outcome);
}

/* ---- streams ---- */

void request_opened(struct pool *p, struct pool_request *r)
{
	request_move(p, r, REQUEST_STREAMING);
	list_append(&p->opened, &r->link);
	p->due |= BIT(POOL_OPENED);
}

void request_extend(struct pool *p, struct pool_request *r, uint64_t deadline_us)
{
	assert(runs(r->state));
	if (r->closing)
		return; /* its deadline is the grace of the close */
	r->deadline_us = deadline_us;
	heap_set(&p->runs, &r->timer, deadline_us);
}

void request_close(struct pool *p, struct pool_request *r)
{
	assert(r->state == REQUEST_STREAMING);
	if (r->closing || r->slot->worker->state == WORKER_STOPPING)
		return;
	r->closing = true;
	r->deadline_us = pool_in(p, p->config.interrupt_grace_us);
	heap_set(&p->runs, &r->timer, r->deadline_us);
	call_close(p, r->slot, call_of(r));
}
