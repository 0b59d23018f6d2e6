/* check_pool_model.c - random events against the pool, its invariants, and a naive model.
 *
 * The model below keeps plain arrays and finds everything by searching them: who is next is "the
 * smallest", not "the head of a list". It is told each event before the pool is, says what must happen,
 * and the pool must do exactly that: the same actions, the same owners, the same counters, the same
 * next tick. It has a breaker of its own (check_breaker.c proves that one).
 *
 *     KRAIT_SEED=N   the seed (printed at the start; default: from the clock)
 *     KRAIT_STEPS=N  how many events in all (default 400,000)
 *
 * Where the order of two things is nobody's business (who is told first that a lease has closed), the
 * comparison is one of sets. Times are multiples of 4 us, and each kind of timer has another
 * remainder, so that timers of different kinds never fall together. */
#include "../include/mem.h"
#include "../include/pool.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MANY        300 /* of each kind at a time: queue limit 200, and the two below */
#define DYING       60  /* workers that may be on their way out before some of them really go */
#define MS          UINT64_C(1000)
#define EARLY_US    (100 * MS)
#define RETRY_US    (100 * MS)
#define EARLY_LIMIT 16

/* ---- chance ---- */

static uint64_t chance_state;

static uint64_t any(void)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return chance_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t below(uint64_t n)
{
	return (any() >> 11) % n;
}

/* ---- what happened lately, told when something is wrong ---- */

#define LATELY 48

static char lately[LATELY][160];
static unsigned lately_count;
static uint64_t seed, now;

static void tell(void)
{
	unsigned i = lately_count > LATELY ? lately_count - LATELY : 0;

	fprintf(stderr, "KRAIT_SEED=%" PRIu64 ", event %u; the last ones:\n", seed, lately_count);
	for (; i < lately_count; i++)
		fprintf(stderr, "  %s\n", lately[i % LATELY]);
}

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	char *line = lately[lately_count++ % LATELY];
	va_list ap;
	int n = snprintf(line, sizeof *lately, "%" PRIu64 " us: ", now);

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof *lately - (size_t)n, fmt, ap);
	va_end(ap);
}

static void on_abort(int sig)
{
	signal(sig, SIG_DFL);
	tell();
	raise(sig);
}

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

/* ---- the model ---- */

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
	uint64_t waits, calls, ready;
} m;

static uint64_t trials_seen, given_up_seen;

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
		l++;
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
		r++;
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
			trials_seen += w->trial = true;
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
			given_up_seen++;
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
			w++;
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

/* ---- the pool beside it ---- */

static struct pool *pool;
static uint64_t last_request, last_lease, probes_seen, done_seen[OUTCOMES],
	acts_seen[POOL_DRAINED + 1];
static uint64_t ends_seen[LEASE_TIMEOUT + 1], retries_seen, late_seen, opened_seen, no_memory_seen;

static void take(const struct pool_action *a, unsigned *last_rank)
{
	/* Ends, then answers, then work. */
	static const unsigned rank[] = {
		[POOL_KILL] = 0,      [POOL_END] = 0,  [POOL_TERMINATE] = 0,
		[POOL_INTERRUPT] = 0, [POOL_DONE] = 1, [POOL_LEASE_ENDED] = 1,
		[POOL_START] = 2,     [POOL_RUN] = 3,  [POOL_PROBE] = 4,
		[POOL_DRAINED] = 5,
	};
	uint64_t id = a->worker_id;
	unsigned what = 0;
	struct m_act *act;

	acts_seen[a->type]++;
	SAME(rank[a->type] >= *last_rank, true, "order of action %d", (int)a->type);
	*last_rank = rank[a->type];
	if (a->type == POOL_DRAINED) {
		SAME(true, m.must_drain, "drained");
		m.must_drain = false;
		return;
	}
	if (a->type == POOL_DONE) {
		id = a->request->id;
		what = a->request->outcome;
	} else if (a->type == POOL_LEASE_ENDED) {
		id = a->lease->id;
		what = a->lease->end;
	} else if (a->type == POOL_START) {
		what = a->index;
	}
	for (act = m.acts; act < m.acts + m.n_acts; act++)
		if (act->exists && act->type == a->type && act->id == id)
			break;
	SAME(act < m.acts + m.n_acts, true, "action %d for %" PRIu64, (int)a->type, id);
	SAME(what, act->what, "action %d for %" PRIu64, (int)a->type, id);
	act->exists = false;
	if (a->type == POOL_RUN) {
		SAME(a->request->id, act->call_id, "what runs on worker %" PRIu64, id);
		SAME(a->call_id, act->call_id, "what runs on worker %" PRIu64, id);
	} else if (a->type == POOL_PROBE) {
		SAME(a->call_id >> 63, 1, "id of a probe");
		SAME(a->call_id > probes_seen, true, "id of a probe");
		probes_seen = m_worker(id)->call_id = a->call_id;
	} else if (a->type == POOL_DONE) {
		SAME(a->worker_id, act->worker_id, "worker of request %" PRIu64, id);
		done_seen[what]++;
		if (a->request->kind == POOL_CHECKOUT && what != OUTCOME_OK)
			free(a->lease);
		free(a->request);
	} else if (a->type == POOL_LEASE_ENDED) {
		SAME(a->worker_id, act->worker_id, "worker of lease %" PRIu64, id);
		ends_seen[what]++;
		free(a->lease);
	}
}

static void compare(void)
{
	const struct pool_totals *t = pool_totals(pool);
	struct m_worker *w;
	struct m_lease *l;
	unsigned all = 0;

	for (unsigned state = 0; state < WORKER_STATES; state++)
		SAME(pool_count(pool, state), m_count(state), "%s", worker_state_name(state));
	EACH(w, m.workers)
	{
		const struct pool_worker *real = pool_worker(pool, w->id);

		all++;
		SAME(real != NULL, true, "worker %" PRIu64, w->id);
		SAME(real->state, w->state, "worker %" PRIu64, w->id);
		SAME(real->call_id, w->call_id, "worker %" PRIu64, w->id);
		SAME(real->request ? real->request->id : 0, w->request_id, "worker %" PRIu64,
		     w->id);
		SAME(real->lease ? real->lease->id : 0, w->lease_id, "worker %" PRIu64, w->id);
		SAME(real->index, w->index, "worker %" PRIu64, w->id);
		SAME(real->calls, w->calls, "worker %" PRIu64, w->id);
		SAME(real->stop_phase, w->phase, "worker %" PRIu64, w->id);
		SAME(real->interrupted, w->interrupted, "worker %" PRIu64, w->id);
	}
	for (const struct pool_worker *real = NULL; (real = pool_worker_after(pool, real)) != NULL;)
		all--;
	SAME(all, 0, "workers");
	EACH(l, m.leases)
	SAME(pool_lease(pool, l->id) != NULL, true, "lease %" PRIu64, l->id);
	SAME(pool_leases(pool), m_leases(), "leases");
	SAME(pool_queued(pool), m_requests(false, NULL), "queued");
	SAME(pool_running(pool), m_requests(true, NULL), "running");
	SAME(t->received, m.totals.received, "received");
	for (unsigned i = 0; i < OUTCOMES; i++)
		SAME(t->outcome[i], m.totals.outcome[i], "%s", pool_outcome_name(i));
	SAME(t->retries, m.totals.retries, "retries");
	SAME(t->starts, m.totals.starts, "starts");
	SAME(t->start_failures, m.totals.start_failures, "failures");
	SAME(t->exits, m.totals.exits, "exits");
	SAME(t->kills, m.totals.kills, "kills");
	SAME(t->interrupts, m.totals.interrupts, "interrupts");
	SAME(t->late, m.totals.late, "late");
	SAME(pool_wait_us(pool)->count, m.waits, "waits");
	SAME(pool_call_us(pool)->count, m.calls, "calls");
	SAME(pool_start_us(pool)->count, m.ready, "hellos");
	SAME(pool_breaker(pool)->failures, m.breaker.failures, "breaker");
	SAME(pool_breaker(pool)->not_before_us, m.breaker.not_before_us, "breaker");
	SAME(pool_breaker(pool)->probing, m.breaker.probing, "breaker");
	SAME(pool_draining(pool), m.draining || m.stopping, "draining");
	SAME(pool_next_tick(pool), m_next_tick(), "next tick");
}

static void step(struct pool_event ev)
{
	struct pool_action action;
	unsigned last_rank = 0, open = breaker_state(&m.breaker) != BREAKER_CLOSED;

	ev.random = any();
	m.fail_after = mem_fail_after;
	m_step(&ev);
	pool_step(pool, &ev, now);
	pool_check(pool);
	while (pool_next(pool, &action))
		take(&action, &last_rank);
	pool_check(pool);
	for (unsigned i = 0; i < m.n_acts; i++)
		SAME(false, m.acts[i].exists, "action %d for %" PRIu64 " is missing",
		     (int)m.acts[i].type, m.acts[i].id);
	SAME(false, m.must_drain, "drained is missing");
	SAME(mem_fail_after, m.fail_after, "allocations");
	compare();
	opened_seen += !open && breaker_state(&m.breaker) != BREAKER_CLOSED;
}

/* ---- events by chance ---- */

enum deed {
	CALL,
	CHECKOUT,
	LEASE_CALL,
	ABANDON,
	CHECKIN,
	LEASE_DOWN,
	READY,
	ANSWER,
	GONE,
	BROKEN,
	TICK,
	RESIZE,
	DRAIN,
	REFUSED,
	OUT_OF_MEMORY,
	DEEDS
};

static unsigned weight[DEEDS];
static uint64_t pace;

static struct m_request *some_request(void)
{
	struct m_request *r = &m.requests[below(MANY)];

	for (unsigned i = 0; i < MANY; i++, r = r + 1 < m.requests + MANY ? r + 1 : m.requests)
		if (r->exists)
			return r;
	return NULL;
}

static struct m_worker *some_worker(unsigned states)
{
	struct m_worker *w = &m.workers[below(MANY)];

	for (unsigned i = 0; i < MANY; i++, w = w + 1 < m.workers + MANY ? w + 1 : m.workers)
		if (w->exists && states & 1u << w->state)
			return w;
	return NULL;
}

/* Mostly a lease that lives, sometimes one that did or never will. */
static uint64_t some_lease(void)
{
	struct m_lease *l = &m.leases[below(MANY)];

	if (below(12) == 0)
		return last_lease + 2 - below(last_lease < 20 ? last_lease + 2 : 20);
	for (unsigned i = 0; i < MANY; i++, l = l + 1 < m.leases + MANY ? l + 1 : m.leases)
		if (l->exists)
			return l->id;
	return below(last_lease + 3);
}

static uint64_t some_deadline(void)
{
	switch (below(20)) {
	case 0:
		return now;
	case 1:
	case 2:
		return now + 4 * below(2000);
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
		return now + 4 * below(200000);
	default:
		return POOL_NEVER;
	}
}

static void submit(enum pool_kind kind)
{
	struct pool_request *r = malloc(sizeof *r);
	struct pool_lease *lease = kind == POOL_CHECKOUT ? calloc(1, sizeof *lease) : NULL;

	ck_assert(r != NULL && (lease != NULL || kind != POOL_CHECKOUT));
	*r = (struct pool_request){
		.id = ++last_request,
		.kind = kind,
		.priority = (enum pool_priority)below(PRIORITIES),
		.retry = below(2) ? 0 : (unsigned)below(4),
		.deadline_us = some_deadline(),
		.queue_deadline_us = some_deadline(),
		.bytes = below(3) ? below(100) : below(20000),
		.abandon = (enum pool_abandon)below(3),
		.lease_id = kind == POOL_CHECKOUT     ? ++last_lease
			    : kind == POOL_LEASE_CALL ? some_lease()
						      : 0,
	};
	if (kind == POOL_CHECKOUT)
		lease->id = r->lease_id;
	note("submit %" PRIu64 " kind %d priority %d retry %u abandon %d lease %" PRIu64
	     " until %" PRIi64 " wait until %" PRIi64,
	     r->id, (int)kind, (int)r->priority, r->retry, (int)r->abandon, r->lease_id,
	     (int64_t)r->deadline_us, (int64_t)r->queue_deadline_us);
	step((struct pool_event){ .type = POOL_SUBMIT, .request = r, .lease = lease });
}

static void worker_deed(enum pool_event_type type, const char *name, unsigned states)
{
	const struct m_worker *w = some_worker(below(8) ? states : ~0u);
	struct pool_event ev = { .type = type };

	if (w == NULL && below(8)) {
		submit(POOL_CALL); /* nobody it could happen to */
		return;
	}
	ev.worker_id = w != NULL && below(40) ? w->id : below(m.last_worker + 3);
	if (type == POOL_WORKER_ANSWER) {
		if (w != NULL && below(6))
			ev.call_id = w->state == WORKER_STOPPING ? w->request_id : w->call_id;
		else
			ev.call_id = below(3) ? below(last_request + 2) : probes_seen - below(2);
	}
	ev.failed = w != NULL && w->state == WORKER_STARTING;
	ev.not_begun = type == POOL_WORKER_GONE && below(3) == 0;
	note("%s worker %" PRIu64 " call %" PRIu64, name, ev.worker_id, ev.call_id);
	step(ev);
}

static void happen(enum deed deed)
{
	static const unsigned any_state = ~0u;
	struct m_request *r = some_request();
	struct pool_event ev = { .type = POOL_TICK };

	switch (deed) {
	case CALL:
		submit(POOL_CALL);
		break;
	case CHECKOUT:
		submit(POOL_CHECKOUT);
		break;
	case LEASE_CALL:
		submit(POOL_LEASE_CALL);
		break;
	case ABANDON:
		if (r == NULL)
			break;
		note("abandon %" PRIu64, r->id);
		step((struct pool_event){ .type = POOL_ABANDON, .request = r->real });
		break;
	case CHECKIN:
	case LEASE_DOWN:
		ev.type = deed == CHECKIN ? POOL_CHECKIN : POOL_LEASE_DOWN;
		ev.lease_id = some_lease();
		note("%s lease %" PRIu64, deed == CHECKIN ? "checkin" : "down", ev.lease_id);
		step(ev);
		break;
	case READY:
		worker_deed(POOL_WORKER_READY, "ready", 1u << WORKER_STARTING);
		break;
	case ANSWER:
		worker_deed(POOL_WORKER_ANSWER, "answer",
			    1u << WORKER_BUSY | 1u << WORKER_PROBING | 1u << WORKER_STOPPING);
		break;
	case GONE:
		worker_deed(POOL_WORKER_GONE, "gone", below(2) ? 1u << WORKER_STOPPING : any_state);
		break;
	case BROKEN:
		worker_deed(POOL_WORKER_BROKEN, "broken", any_state);
		break;
	case TICK:
		note("tick");
		step(ev);
		break;
	case RESIZE:
		ev.type = POOL_RESIZE;
		ev.size = (unsigned)below(9);
		note("resize %u", ev.size);
		step(ev);
		break;
	case DRAIN:
		note("drain");
		step((struct pool_event){ .type = POOL_DRAIN });
		break;
	case REFUSED:
		note("refused");
		pool_count_refused(pool);
		m.totals.received++;
		m.totals.outcome[OUTCOME_REFUSED]++;
		done_seen[OUTCOME_REFUSED]++;
		break;
	case OUT_OF_MEMORY:
		note("no memory");
		mem_fail_after = (long)below(3);
		step(ev);
		no_memory_seen += mem_fail_after == -1;
		mem_fail_after = -1;
		break;
	case DEEDS:
		break;
	}
}

/* Time moves: not at all, a little, to the next tick, or far. */
static void wait(void)
{
	uint64_t tick = pool_next_tick(pool);

	switch (below(10)) {
	case 0:
	case 1:
		break;
	case 2:
		if (tick != POOL_NEVER && tick > now)
			now = (tick + 3) / 4 * 4;
		break;
	case 3:
		if (tick != POOL_NEVER && tick > now + 4)
			now = (tick - 1) / 4 * 4;
		break;
	case 4:
		now += 4 * below(pace * 50);
		break;
	default:
		now += 4 * below(pace);
	}
}

static enum deed some_deed(void)
{
	unsigned sum = 0, i;
	uint64_t at;

	if (m_count(WORKER_STOPPING) > DYING)
		return GONE;
	for (i = 0; i < DEEDS; i++)
		sum += weight[i];
	at = below(sum);
	for (i = 0; at >= weight[i]; i++)
		at -= weight[i];
	return (enum deed)i;
}

static uint64_t one_of(const uint64_t *values, unsigned n)
{
	return values[below(n)];
}

#define ONE_OF(...)                               \
	one_of((const uint64_t[]){ __VA_ARGS__ }, \
	       sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* A pool and a mood: which deeds are frequent, how fast time runs. */
static void given_a_pool(void)
{
	static const unsigned usual[DEEDS] = {
		[CALL] = 30,   [CHECKOUT] = 8,   [LEASE_CALL] = 12,   [ABANDON] = 8,
		[CHECKIN] = 4, [LEASE_DOWN] = 3, [READY] = 20,        [ANSWER] = 30,
		[GONE] = 12,   [BROKEN] = 3,     [TICK] = 10,         [RESIZE] = 1,
		[DRAIN] = 0,   [REFUSED] = 1,    [OUT_OF_MEMORY] = 1,
	};

	memset(&m, 0, sizeof m);
	now = 4 * below(1000000);
	m.config = (struct pool_config){
		.size = (unsigned)below(9),
		.queue_limit = (unsigned)ONE_OF(0, 1, 2, 5, 50, 200),
		.queue_bytes_limit = ONE_OF(0, 100, 10000, 1000000),
		.start_timeout_us = 4 * ONE_OF(1, 1000, 100000, 2000000) + 1,
		.interrupt_grace_us = ONE_OF(0, 4002, 400002, POOL_NEVER),
		.stop_grace_us = ONE_OF(0, 4003, 400003, POOL_NEVER),
		.breaker = {
			.threshold = (unsigned)(1 + below(5)),
			.backoff_base_us = ONE_OF(0, 1000, 50000),
			.backoff_max_us = ONE_OF(50000, 1000000),
			.burst = (unsigned)ONE_OF(1, 5, 100),
			.per_second = (unsigned)ONE_OF(1, 20, 1000),
		},
	};
	breaker_init(&m.breaker, &m.config.breaker, 0);
	pool = pool_new(&m.config);
	ck_assert_ptr_nonnull(pool);
	pace = ONE_OF(10, 500, 5000, 50000);
	for (unsigned i = 0; i < DEEDS; i++)
		weight[i] = usual[i] * (unsigned)ONE_OF(0, 1, 2, 2, 3, 10);
	weight[TICK]++;
	weight[READY] += 5;
	last_request = last_lease = 0;
	probes_seen = UINT64_C(1) << 63;
	note("---- a pool of %u, queue limit %u", m.config.size, m.config.queue_limit);
}

/* Whatever was going on: it stops, and everything is given back. */
static void then_it_stops(void)
{
	struct m_worker *w;

	note("stop");
	step((struct pool_event){ .type = POOL_STOP });
	for (unsigned i = 0; i < 30; i++) {
		wait();
		happen(some_deed());
	}
	while ((w = some_worker(~0u)) != NULL) {
		note("gone worker %" PRIu64, w->id);
		step((struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = w->id });
	}
	SAME(pool_next_tick(pool), POOL_NEVER, "at the end");
	retries_seen += m.totals.retries;
	late_seen += m.totals.late;
	pool_free(pool);
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

START_TEST(the_pool_does_what_the_model_says)
{
	uint64_t steps = from_env("KRAIT_STEPS", 400000), done = 0;

	signal(SIGABRT, on_abort);
	chance_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	while (done < steps) {
		uint64_t of_this = 200 + below(3000),
			 drain_at = below(4) ? of_this : below(of_this);

		given_a_pool();
		for (uint64_t i = 0; i < of_this; i++) {
			wait();
			happen(i == drain_at ? DRAIN : some_deed());
			if (i > drain_at && below(200) == 0)
				happen(DRAIN);
		}
		then_it_stops();
		done += of_this;
	}
	printf("%" PRIu64 " events", done);
	for (unsigned i = 0; i < OUTCOMES; i++)
		printf(", %" PRIu64 " %s", done_seen[i], pool_outcome_name(i));
	printf(", %" PRIu64 " retries, %" PRIu64 " late, circuit opened %" PRIu64 " times, %" PRIu64
	       " starts on trial, %" PRIu64 " exits never reported\n",
	       retries_seen, late_seen, opened_seen, trials_seen, given_up_seen);
	fflush(stdout);
	if (steps < 300000)
		return;
	/* Nothing that the pool can do was left out. */
	for (unsigned i = 0; i < OUTCOMES; i++)
		ck_assert_msg(done_seen[i] > 0, "never %s", pool_outcome_name(i));
	for (unsigned i = 0; i <= POOL_DRAINED; i++)
		ck_assert_msg(acts_seen[i] > 0, "never action %u", i);
	for (unsigned i = 0; i <= LEASE_TIMEOUT; i++)
		ck_assert_msg(ends_seen[i] > 0, "no lease ended by %u", i);
	ck_assert(retries_seen > 0 && late_seen > 0 && opened_seen > 0 && no_memory_seen > 0);
	ck_assert(trials_seen > 0 && given_up_seen > 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: model");
	TCase *tc = tcase_create("model");
	SRunner *runner;
	int failed;

	seed = from_env("KRAIT_SEED", (uint64_t)time(NULL));
	printf("KRAIT_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	tcase_set_timeout(tc, 900); /* for KRAIT_STEPS by the million, and valgrind */
	tcase_add_test(tc, the_pool_does_what_the_model_says);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
