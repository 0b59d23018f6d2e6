/* pool_model.h - what a pool must do, as plainly as possible.
 *
 * The model keeps plain arrays and finds everything by searching them: who is next is "the smallest",
 * not "the head of a list". It is told each event before the pool is, and says what must happen. It has a
 * breaker of its own (check_breaker.c proves that one).
 *
 * Where the order of two things is nobody's business (who is told first that a lease has closed), it says a
 * set. Times are multiples of 4 us, and each kind of timer has another remainder, so that timers of
 * different kinds never fall together. */
#ifndef KRAIT_TEST_POOL_MODEL_H
#define KRAIT_TEST_POOL_MODEL_H

#include "../include/pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY        300 /* of each kind at a time: queue limit 200, and DYING in check_pool_model.c */
#define MS          UINT64_C(1000)
#define EARLY_US    (100 * MS)
#define RETRY_US    (100 * MS)
#define EARLY_LIMIT 16

#define EXIT_NO_VERDICT 3 /* more of something at a time than the model can count */

static uint64_t now;

#define SAME(a, b, ...)                                                                            \
	do {                                                                                       \
		uint64_t same_a = (uint64_t)(a), same_b = (uint64_t)(b);                           \
		if (same_a != same_b) {                                                            \
			fprintf(stderr, "%s = %" PRIu64 ", the model says %s = %" PRIu64 ": ", #a, \
				same_a, #b, same_b);                                               \
			fprintf(stderr, __VA_ARGS__);                                              \
			fprintf(stderr, "\n");                                                     \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct m_request {
	bool exists, running;
	uint64_t id, order, until_queue, until_call, lease_id, worker_id, started;
	uint64_t last_worker;
	enum pool_kind kind;
	unsigned priority, retry;
	size_t bytes;
	enum pool_abandon abandon;
	struct pool_request *real;
};

struct m_worker {
	bool exists;
	uint64_t id, call_id, request_id, lease_id, timer, started, ready_at, idle_order, calls;
	unsigned index, phase;
	enum worker_state state;
	bool interrupted, timed_out, trial;
};

struct m_lease {
	bool exists;
	uint64_t id, worker_id;
};

/* What must happen in this step. */
struct m_act {
	bool exists;
	enum pool_action_type type;
	uint64_t id, call_id; /* of the worker, request or lease */
	unsigned what;        /* index, outcome or end */
	uint64_t worker_id;
};

static struct {
	struct pool_config config;
	struct breaker breaker;
	struct m_request requests[MANY];
	struct m_worker workers[MANY];
	struct m_lease leases[MANY];
	struct m_act acts[MANY * 3];
	unsigned n_acts;
	uint64_t orders, idle_orders, last_worker, no_memory_until, start_at, random;
	unsigned early;
	bool draining, stopping, drain_due, must_drain;
	long fail_after;
	struct pool_totals totals;
	uint64_t waits, calls, ready, trials, given_up;
} m;

static uint64_t in(uint64_t us)
{
	return us > POOL_NEVER - now ? POOL_NEVER : now + us;
}

#define EACH(x, array)                                   \
	for ((x) = (array); (x) < (array) + MANY; (x)++) \
		if ((x)->exists)

static struct m_worker *m_worker(uint64_t id)
{
	struct m_worker *w;

	EACH(w, m.workers)
	if (w->id == id)
		return w;
	return NULL;
}

static struct m_request *m_request(uint64_t id)
{
	struct m_request *r;

	EACH(r, m.requests)
	if (r->id == id)
		return r;
	return NULL;
}

static struct m_lease *m_lease(uint64_t id)
{
	struct m_lease *l;

	EACH(l, m.leases)
	if (l->id == id)
		return l;
	return NULL;
}

static unsigned m_count(enum worker_state state)
{
	struct m_worker *w;
	unsigned n = 0;

	EACH(w, m.workers)
	n += w->state == state;
	return n;
}

static unsigned m_ready(void)
{
	return m_count(WORKER_IDLE) + m_count(WORKER_LEASED) + m_count(WORKER_BUSY) +
	       m_count(WORKER_PROBING);
}

static unsigned m_requests(bool running, size_t *bytes)
{
	struct m_request *r;
	unsigned n = 0;

	if (bytes != NULL)
		*bytes = 0;
	EACH(r, m.requests)
	if (r->running == running) {
		n++;
		if (bytes != NULL)
			*bytes += r->bytes;
	}
	return n;
}

static unsigned m_leases(void)
{
	struct m_lease *l;
	unsigned n = 0;

	EACH(l, m.leases)
	n++;
	return n;
}

static struct m_act *expect(enum pool_action_type type, uint64_t id)
{
	struct m_act *a = &m.acts[m.n_acts++];

	*a = (struct m_act){ .exists = true, .type = type, .id = id };
	return a;
}

/* The last word about a worker in a step is the one that counts. */
static struct m_act *expect_worker(enum pool_action_type type, uint64_t id)
{
	for (unsigned i = 0; i < m.n_acts; i++)
		if (m.acts[i].id == id && m.acts[i].type != POOL_DONE &&
		    m.acts[i].type != POOL_LEASE_ENDED)
			m.acts[i].exists = false;
	return expect(type, id);
}

static void m_done(struct m_request *r, enum pool_outcome outcome)
{
	struct m_act *a = expect(POOL_DONE, r->id);

	a->what = outcome;
	a->worker_id = r->last_worker;
	m.totals.outcome[outcome]++;
	if (r->running)
		m_worker(r->worker_id)->request_id = 0;
	r->exists = false;
}

/* Who is next, of a lease or (0) of all others. */
static struct m_request *m_first(uint64_t lease_id, bool expired_too)
{
	struct m_request *r, *first = NULL;

	EACH(r, m.requests)
	{
		if (r->running || (r->kind == POOL_LEASE_CALL) != (lease_id != 0))
			continue;
		if (lease_id != 0 && r->lease_id != lease_id)
			continue;
		if (!expired_too && (r->until_queue <= now || r->until_call <= now))
			continue;
		if (first == NULL || (lease_id == 0 && r->priority < first->priority) ||
		    ((lease_id != 0 || r->priority == first->priority) && r->order < first->order))
			first = r;
	}
	return first;
}

static void m_end_lease(uint64_t id, enum pool_lease_end end, enum pool_outcome outcome)
{
	struct m_lease *l = m_lease(id);
	struct m_request *r;
	struct m_act *a = expect(POOL_LEASE_ENDED, id);

	a->what = end;
	a->worker_id = l->worker_id;
	while ((r = m_first(id, true)) != NULL)
		m_done(r, outcome);
	m_worker(l->worker_id)->lease_id = 0;
	l->exists = false;
}

static void m_phase(struct m_worker *w, unsigned phase)
{
	static const enum pool_action_type act[] = { POOL_END, POOL_TERMINATE, POOL_KILL };

	w->phase = phase;
	w->timer =
		phase < 2 || w->request_id || w->lease_id ? in(m.config.stop_grace_us) : POOL_NEVER;
	m.totals.kills += phase == 2;
	expect_worker(act[phase], w->id);
}

static void m_leave(struct m_worker *w, unsigned phase)
{
	if (w->trial)
		breaker_ok(&m.breaker);
	w->trial = w->interrupted = w->timed_out = false;
	w->state = WORKER_STOPPING;
	w->call_id = 0;
	m_phase(w, phase);
}

static void m_put_down(struct m_worker *w, bool timed_out)
{
	if (w->lease_id)
		m_end_lease(w->lease_id, timed_out ? LEASE_TIMEOUT : LEASE_WORKER_GONE,
			    OUTCOME_LEASE_CLOSED);
	m_leave(w, 2);
}

static void m_run(struct m_worker *w, struct m_request *r)
{
	m.waits += r->last_worker == 0;
	r->running = true;
	r->worker_id = r->last_worker = w->id;
	r->started = now;
	w->state = WORKER_BUSY;
	w->request_id = w->call_id = r->id;
	expect_worker(POOL_RUN, w->id)->call_id = r->id;
}

static void m_grant(struct m_worker *w, struct m_request *r)
{
	struct m_lease *l = m.leases;

	while (l->exists)
		if (++l == m.leases + MANY)
			_exit(EXIT_NO_VERDICT);
	*l = (struct m_lease){ .exists = true, .id = r->lease_id, .worker_id = w->id };
	w->lease_id = l->id;
	w->state = WORKER_LEASED;
	r->last_worker = w->id;
	m.waits++;
	m_done(r, OUTCOME_OK);
}

static struct m_worker *m_idle(void)
{
	struct m_worker *w, *last = NULL;

	EACH(w, m.workers)
	if (w->state == WORKER_IDLE && (last == NULL || w->idle_order > last->idle_order))
		last = w;
	return last;
}

static void m_free(struct m_worker *w)
{
	unsigned with_it = m_ready() + (w->state == WORKER_STARTING);
	struct m_request *r;

	w->call_id = 0;
	w->interrupted = w->timed_out = false;
	w->timer = POOL_NEVER;
	if (w->lease_id) {
		w->state = WORKER_LEASED;
		if ((r = m_first(w->lease_id, false)) != NULL)
			m_run(w, r);
	} else if (with_it > m.config.size) {
		m_leave(w, 0);
	} else {
		w->state = WORKER_IDLE;
		w->idle_order = ++m.idle_orders;
	}
}

/* r is done; what becomes of the worker that still has its call? */
static void m_orphan(struct m_worker *w, enum pool_abandon how, bool timed_out)
{
	if (w->state == WORKER_STOPPING) {
		if (w->lease_id == 0)
			w->timer = POOL_NEVER;
	} else if (how == ABANDON_KILL) {
		m_put_down(w, timed_out);
	} else if (how == ABANDON_INTERRUPT) {
		w->interrupted = true;
		w->timed_out = timed_out;
		w->timer = in(m.config.interrupt_grace_us);
		m.totals.interrupts++;
		expect_worker(POOL_INTERRUPT, w->id);
	}
}

static void m_cut(struct m_request *r, enum pool_outcome outcome, bool timed_out)
{
	struct m_worker *w = r->running ? m_worker(r->worker_id) : NULL;

	m_done(r, outcome);
	if (w != NULL)
		m_orphan(w, r->abandon, timed_out);
}

static bool m_hopeless(void)
{
	return breaker_state(&m.breaker) != BREAKER_CLOSED && m_ready() == 0;
}

static void m_submit(struct pool_request *real)
{
	struct m_request *r = m.requests;
	struct m_lease *lease = real->kind == POOL_LEASE_CALL ? m_lease(real->lease_id) : NULL;
	struct m_worker *w = lease != NULL ? m_worker(lease->worker_id) : m_idle();
	size_t bytes;
	unsigned queued = m_requests(false, &bytes);
	bool at_once = w != NULL && (lease == NULL || w->state == WORKER_LEASED);

	while (r->exists)
		if (++r == m.requests + MANY)
			_exit(EXIT_NO_VERDICT);
	*r = (struct m_request){
		.exists = true,
		.id = real->id,
		.order = ++m.orders,
		.until_queue = real->queue_deadline_us,
		.until_call = real->deadline_us,
		.lease_id = real->lease_id,
		.kind = real->kind,
		.priority = real->priority,
		.retry = real->retry,
		.bytes = real->bytes,
		.abandon = real->abandon,
		.real = real,
	};
	m.totals.received++;
	if (m.stopping)
		m_done(r, OUTCOME_DRAINING);
	else if (r->kind == POOL_LEASE_CALL && lease == NULL)
		m_done(r, OUTCOME_LEASE_CLOSED);
	else if (r->kind != POOL_LEASE_CALL && m.draining)
		m_done(r, OUTCOME_DRAINING);
	else if (r->until_call <= now)
		m_done(r, OUTCOME_TIMEOUT_QUEUE);
	else if (r->kind != POOL_LEASE_CALL && m_hopeless())
		m_done(r, OUTCOME_CIRCUIT_OPEN);
	else if (at_once && r->kind == POOL_CHECKOUT)
		m_grant(w, r);
	else if (at_once)
		m_run(w, r);
	else if (queued >= m.config.queue_limit ||
		 (queued > 0 && bytes + r->bytes > m.config.queue_bytes_limit))
		m_done(r, OUTCOME_OVERLOADED);
}

static void m_returned(uint64_t lease_id, enum pool_lease_end end)
{
	struct m_lease *lease = m_lease(lease_id);
	struct m_worker *w;
	struct m_request *r;

	if (lease == NULL) {
		m.totals.late++;
		return;
	}
	w = m_worker(lease->worker_id);
	r = m_request(w->request_id);
	m_end_lease(lease_id, end, OUTCOME_LEASE_CLOSED);
	if (w->state == WORKER_LEASED)
		m_free(w);
	else if (r != NULL)
		m_cut(r, OUTCOME_LEASE_CLOSED, false);
	else if (w->state == WORKER_STOPPING)
		w->timer = POOL_NEVER;
}

static void m_start_failed(struct m_worker *w)
{
	m.totals.start_failures++;
	breaker_failed(&m.breaker, w->started, now, m.random);
}

/* A worker ends by itself. */
static void m_judge(struct m_worker *w)
{
	bool early = w->calls == 0 && !w->interrupted && now < w->ready_at + EARLY_US;

	if (w->state == WORKER_STARTING) {
		m_start_failed(w);
	} else if (early && ++m.early >= EARLY_LIMIT) {
		m_start_failed(w);
	} else if (w->trial) {
		breaker_ok(&m.breaker);
	}
	w->trial = false;
}

static void m_bereave(struct m_worker *w, bool not_begun)
{
	struct m_request *r = m_request(w->request_id);

	if (r != NULL && r->kind == POOL_CALL && not_begun && r->until_call > now) {
		r->running = false;
		r->until_queue = POOL_NEVER;
		w->request_id = 0;
	} else if (r != NULL && r->kind == POOL_CALL && r->retry > 0 && r->until_call > now) {
		r->retry--;
		r->running = false;
		r->until_queue = POOL_NEVER;
		w->request_id = 0;
		m.totals.retries++;
	} else if (r != NULL) {
		m_done(r, OUTCOME_WORKER_EXIT);
	}
	if (w->lease_id)
		m_end_lease(w->lease_id, LEASE_WORKER_GONE, OUTCOME_LEASE_CLOSED);
	w->timer = POOL_NEVER;
}

static void m_answered(struct m_worker *w, uint64_t call_id)
{
	if (w != NULL && w->state == WORKER_STOPPING && w->request_id && w->request_id == call_id) {
		w->calls++;
		m.early = 0;
		m.calls++;
		m_done(m_request(call_id), OUTCOME_OK);
		w->request_id = 0;
		if (w->lease_id == 0)
			w->timer = POOL_NEVER;
		return;
	}
	if (w == NULL || w->call_id == 0 || w->call_id != call_id) {
		m.totals.late++;
		return;
	}
	if (w->state == WORKER_BUSY) {
		w->calls++;
		m.early = 0;
		if (w->trial)
			breaker_ok(&m.breaker);
		w->trial = false;
	}
	if (w->request_id) {
		m.calls++;
		m_done(m_request(w->request_id), OUTCOME_OK);
	}
	if (w->interrupted) {
		w->interrupted = false;
		w->state = WORKER_PROBING;
		w->call_id = 1; /* the pool will say */
		w->timer = in(m.config.interrupt_grace_us);
		expect_worker(POOL_PROBE, w->id);
	} else {
		m_free(w);
	}
}

static void m_worker_event(const struct pool_event *ev)
{
	struct m_worker *w = m_worker(ev->worker_id);

	if (ev->type == POOL_WORKER_ANSWER) {
		m_answered(w, ev->call_id);
	} else if (w == NULL) {
		m.totals.late++;
	} else if (ev->type == POOL_WORKER_READY && w->state != WORKER_STARTING) {
		m.totals.late++;
	} else if (ev->type == POOL_WORKER_READY) {
		m.ready++;
		w->ready_at = now;
		if (m.early >= EARLY_LIMIT)
			m.trials += w->trial = true;
		else
			breaker_ok(&m.breaker);
		m_free(w);
	} else if (ev->type == POOL_WORKER_GONE) {
		m.totals.exits++;
		if (w->state != WORKER_STOPPING)
			m_judge(w);
		m_bereave(w, ev->not_begun);
		w->exists = false;
	} else if (w->state != WORKER_STOPPING) { /* BROKEN */
		m_judge(w);
		m_leave(w, 2);
	}
}

static void m_resize(unsigned size)
{
	m.config.size = size;
	while (m_ready() > size) {
		struct m_worker *w, *last = NULL;

		EACH(w, m.workers)
		if (w->state == WORKER_IDLE && (last == NULL || w->index > last->index))
			last = w;
		if (last == NULL)
			break;
		m_leave(last, 0);
	}
}

static void m_stop(void)
{
	struct m_request *r;
	struct m_lease *l;
	struct m_worker *w;

	m.stopping = true;
	EACH(r, m.requests)
	m_done(r, OUTCOME_DRAINING);
	EACH(l, m.leases)
	m_end_lease(l->id, LEASE_WORKER_GONE, OUTCOME_DRAINING);
	EACH(w, m.workers)
	{
		if (w->state != WORKER_STOPPING)
			m_leave(w, w->state == WORKER_STARTING || w->state == WORKER_BUSY ? 2 : 0);
		else if (w->phase == 2)
			w->timer = POOL_NEVER;
	}
}

static void m_timers(void)
{
	struct m_request *r;
	struct m_worker *w;

	EACH(r, m.requests)
	if (!r->running && (r->until_queue <= now || r->until_call <= now))
		m_cut(r, OUTCOME_TIMEOUT_QUEUE, true);
	EACH(r, m.requests)
	if (r->running && r->until_call <= now)
		m_cut(r, OUTCOME_TIMEOUT_CALL, true);
	for (;;) {
		struct m_worker *first = NULL;

		EACH(w, m.workers)
		if (w->timer <= now && (first == NULL || w->timer < first->timer))
			first = w;
		if (first == NULL)
			break;
		if (first->state == WORKER_STARTING) {
			m_start_failed(first);
			m_leave(first, 2);
		} else if (first->state != WORKER_STOPPING) {
			m_put_down(first, first->timed_out);
		} else if (first->phase < 2) {
			m_phase(first, first->phase + 1);
		} else {
			m_bereave(first, false);
			m.given_up++;
		}
	}
	EACH(w, m.workers)
	if (w->trial && now >= w->ready_at + EARLY_US) {
		w->trial = false;
		breaker_ok(&m.breaker);
	}
}

static unsigned m_free_index(void)
{
	for (unsigned index = 0;; index++) {
		struct m_worker *w;
		bool taken = false;

		EACH(w, m.workers)
		taken = taken || (w->state != WORKER_STOPPING && w->index == index);
		if (!taken)
			return index;
	}
}

static void m_starts(void)
{
	m.start_at = POOL_NEVER;
	while (!m.stopping && m_ready() + m_count(WORKER_STARTING) < m.config.size) {
		struct m_worker *w = m.workers;
		unsigned index = m_free_index();
		uint64_t when;

		if (now < m.no_memory_until) {
			m.start_at = m.no_memory_until;
			break;
		}
		if (!breaker_may_start(&m.breaker, now, &when)) {
			m.start_at = when;
			break;
		}
		if (m.fail_after >= 0 && m.fail_after-- == 0) {
			m.start_at = m.no_memory_until = in(RETRY_US);
			break;
		}
		while (w->exists)
			if (++w == m.workers + MANY)
				_exit(EXIT_NO_VERDICT);
		*w = (struct m_worker){
			.exists = true,
			.id = ++m.last_worker,
			.index = index,
			.state = WORKER_STARTING,
			.started = now,
			.timer = in(m.config.start_timeout_us),
		};
		breaker_start(&m.breaker, now);
		m.totals.starts++;
		expect_worker(POOL_START, w->id)->what = index;
	}
}

static void m_step(const struct pool_event *ev)
{
	struct m_request *r;
	struct m_worker *w;

	m.n_acts = 0;
	m.random = ev->random;
	m.must_drain = false;
	switch (ev->type) {
	case POOL_SUBMIT:
		m_submit(ev->request);
		break;
	case POOL_ABANDON:
		m_cut(m_request(ev->request->id), OUTCOME_ABANDONED, false);
		break;
	case POOL_CHECKIN:
		m_returned(ev->lease_id, LEASE_CHECKED_IN);
		break;
	case POOL_LEASE_DOWN:
		m_returned(ev->lease_id, LEASE_OWNER_GONE);
		break;
	case POOL_WORKER_READY:
	case POOL_WORKER_ANSWER:
	case POOL_WORKER_GONE:
	case POOL_WORKER_BROKEN:
		m_worker_event(ev);
		break;
	case POOL_TICK:
	default:
		break;
	case POOL_RESIZE:
		m_resize(ev->size);
		break;
	case POOL_DRAIN:
		m.draining = m.drain_due = true;
		break;
	case POOL_STOP:
		m_stop();
		break;
	}
	m_timers();
	m_starts();
	while (m_hopeless() && (r = m_first(0, true)) != NULL)
		m_done(r, OUTCOME_CIRCUIT_OPEN);
	while ((w = m_idle()) != NULL && (r = m_first(0, false)) != NULL) {
		if (r->kind == POOL_CHECKOUT)
			m_grant(w, r);
		else
			m_run(w, r);
	}
	if (m.drain_due && m_requests(false, NULL) + m_requests(true, NULL) + m_leases() == 0) {
		m.drain_due = false;
		m.must_drain = true;
	}
}

static uint64_t m_next_tick(void)
{
	struct m_request *r;
	struct m_worker *w;
	uint64_t at = m.start_at;

	EACH(r, m.requests)
	{
		at = r->until_call < at ? r->until_call : at;
		at = !r->running && r->until_queue < at ? r->until_queue : at;
	}
	EACH(w, m.workers)
	{
		at = w->timer < at ? w->timer : at;
		at = w->trial && w->ready_at + EARLY_US < at ? w->ready_at + EARLY_US : at;
	}
	return at;
}

#endif
