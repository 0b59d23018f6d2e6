/* pool_model_calls.h - rules of the model: what becomes of slots, and of calls that nobody wants any more. */
#ifndef KRAIT_TEST_POOL_MODEL_CALLS_H
#define KRAIT_TEST_POOL_MODEL_CALLS_H

#include "pool_model_serve.h"

/* ---- a slot comes free ---- */

static bool m_surplus(struct m_worker *w)
{
	enum pool_why why = w->recycled ? w->why : WHY_SURPLUS;

	if (!w->retiring && m_first_lined_up() == NULL && m_ready() - m_retiring() > m.size) {
		w->retiring = true;
		w->touched = ++m.counter;
	}
	if (!w->retiring || m_in(w, WORKER_IDLE) < w->n_slots)
		return false;
	m_leave(w, POOL_END, why);
	return true;
}

static void m_leave_session(struct m_slot *s)
{
	struct m_session *sn = m_session(s->session);

	s->session = 0;
	if (sn != NULL)
		m_settle(sn);
}

static uint64_t m_chance(const struct m_worker *w, unsigned which)
{
	uint64_t x = m.random + (w->id * 4 + which) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t m_vary(const struct m_worker *w, unsigned which, uint64_t limit)
{
	uint64_t span = limit > POOL_NEVER / 128 ? limit / 100 * m.config.jitter_percent
						 : limit * m.config.jitter_percent / 100;

	if (limit == POOL_NEVER)
		return limit;
	return limit - span + m_chance(w, which) % (2 * span + 1);
}

/* When to look whether it has been idle for its interval. */
static void m_watch(struct m_worker *w)
{
	uint64_t from = m_sum(w) == WORKER_IDLE ? w->since : now;

	m_set(&w->health, w->interval == 0 || w->interval > POOL_NEVER - from ? POOL_NEVER
									      : from + w->interval);
}

/* Its own share of the limits. */
static void m_limits(struct m_worker *w)
{
	const struct pool_config *c = &m.config;
	uint64_t age = m_vary(w, 1, c->max_age_us);

	w->max_calls = m_vary(w, 0, c->max_calls);
	if (c->max_calls > 0 && w->max_calls == 0)
		w->max_calls = 1;
	m_set(&w->age, c->max_age_us == 0 || age > POOL_NEVER - w->ready_at ? POOL_NEVER
									    : w->ready_at + age);
	w->interval = c->health_interval_us;
	if (w->interval != POOL_NEVER)
		w->interval -= m_chance(w, 2) % (w->interval / 4 + 1);
	m_watch(w);
}

static void m_free(struct m_worker *w, struct m_slot *s)
{
	struct m_request *r;

	bool checked = s->health;

	s->probe = s->ends = 0;
	s->interrupted = s->closing = s->timed_out = s->health = false;
	s->timer.at = POOL_NEVER;
	if (s->lease_id) {
		m_slot_moves(w, s, WORKER_LEASED);
		while (s->depth == 0 && (r = m_first_of_lease(s->lease_id)) != NULL) {
			if (r->timer.at <= now)
				m_done(r, OUTCOME_TIMEOUT_QUEUE);
			else
				m_run(w, s, r);
		}
		return;
	}
	m_slot_moves(w, s, WORKER_IDLE);
	if (checked) {
		w->touched = --m.cold;
		m_watch(w);
	}
	if (m_surplus(w))
		return;
	m_leave_session(s);
	m_ends(w);
}

/* ---- calls that nobody wants any more ---- */

static void m_interrupt(struct m_worker *w, struct m_slot *s)
{
	s->interrupted = true;
	m_set(&s->timer, in(m.config.interrupt_grace_us));
	m.totals.interrupts++;
	expect_slot(POOL_INTERRUPT, w, s, s->calls[0].id);
}

static void m_cut(struct m_request *r, enum pool_outcome outcome, bool timed_out)
{
	struct m_slot *s = NULL;
	struct m_call *c = m_its_call(r, &s);
	struct m_worker *w = c != NULL ? m_worker(r->worker_id) : NULL;
	struct m_request was = *r;
	uint64_t grace = in(m.config.interrupt_grace_us);

	m_done(r, outcome);
	if (c == NULL || w->state == WORKER_STOPPING)
		return;
	if (c->inner) {
		if (was.streaming && !was.closing)
			expect_close(w, s, c->id);
	} else if (was.streaming && !timed_out) {
		s->closing = true;
		m_set(&s->timer, was.closing ? was.until_call : grace);
		if (!was.closing)
			expect_close(w, s, c->id);
	} else if (was.closing || was.abandon == ABANDON_INTERRUPT) {
		s->timed_out = timed_out;
		m_interrupt(w, s);
	} else if (was.abandon == ABANDON_KILL) {
		m_put_down(w, s, timed_out, timed_out ? WHY_TIMEOUT : WHY_CALLER_GONE);
	} else if (was.streaming) {
		s->closing = true;
		expect_close(w, s, c->id);
	}
}

static void m_returned(uint64_t lease_id, enum pool_lease_end end)
{
	struct m_lease *lease = m_lease(lease_id);
	struct m_worker *w;
	struct m_slot *s;

	if (lease == NULL) {
		m.totals.late++;
		return;
	}
	w = m_worker(lease->worker_id);
	s = &w->slots[lease->slot];
	m_end_lease(lease_id, end, OUTCOME_LEASE_CLOSED);
	if (m_serves(w) && s->state == WORKER_LEASED) {
		m_free(w, s);
		return;
	}
	for (unsigned i = s->depth; i-- > 0;) {
		struct m_request *r = m_request(s->calls[i].request_id);

		if (r != NULL && r->kind == POOL_LEASE_CALL)
			m_cut(r, OUTCOME_LEASE_CLOSED, false);
	}
}

/* ---- workers die ---- */

/* Whether it may run again, and has a session for that. */
static bool m_rejoin(struct m_request *r, bool not_begun)
{
	struct m_session *old = m_session(r->session), *sn = m_named(r->name);

	if (r->mode != SESSION_HINT) {
		bool first = not_begun && sn != NULL && sn->lost && sn->calls == 1;

		if (first)
			m_join(r, sn);
		else if (not_begun && sn != NULL && sn->lost)
			m_end_session(sn, SESSION_LOST);
		return first;
	}
	if (sn == NULL) {
		if (!m_room())
			return false;
		m_make_room();
		m_begin(old);
		old->lost = !old->ending;
		sn = old;
	}
	m_join(r, sn);
	if (old != sn)
		m_settle(old);
	return true;
}

static void m_lost_worker(struct m_request *r, bool not_begun)
{
	bool again = r->kind == POOL_CALL && !r->streaming && (r->retry > 0 || not_begun) &&
		     r->until_call > now;
	enum pool_outcome outcome = OUTCOME_WORKER_EXIT;

	m_part(r);
	if (again && r->name != 0 && !m_rejoin(r, not_begun)) {
		again = false;
		if (not_begun && r->mode != SESSION_HINT)
			outcome = OUTCOME_SESSION_LOST;
	}
	if (!again) {
		m_done(r, outcome);
		return;
	}
	r->retry -= !not_begun;
	m.totals.retries += !not_begun;
	r->running = false;
	r->worker_id = 0;
	r->until_queue = POOL_NEVER;
	m_set(&r->timer, r->until_call);
	m_line_up(r);
}

static void m_bereave(struct m_worker *w, bool not_begun)
{
	struct m_slot *s;

	EACH_SLOT(s, w)
	{
		for (unsigned i = 0; i < s->depth; i++) {
			struct m_request *r = m_request(s->calls[i].request_id);

			if (r != NULL && !s->calls[i].inner)
				m_lost_worker(r, not_begun && r->id == w->last_call);
			else if (r != NULL)
				m_done(r, OUTCOME_WORKER_EXIT);
		}
		if (s->lease_id)
			m_end_lease(s->lease_id, LEASE_WORKER_GONE, OUTCOME_LEASE_CLOSED);
	}
	w->timer.at = POOL_NEVER;
}

static void m_start_failed(struct m_worker *w)
{
	m.totals.start_failures++;
	breaker_failed(&m.breaker, w->started, now, m.random);
}

/* A worker ends by itself. */
static void m_judge(struct m_worker *w)
{
	bool early = w->calls == 0 && now < w->ready_at + EARLY_US;
	struct m_slot *s;

	EACH_SLOT(s, w)
	early = early && !s->interrupted;
	if (w->state == WORKER_STARTING) {
		m_start_failed(w);
	} else if (early && ++m.early >= EARLY_LIMIT) {
		m_start_failed(w);
		w->trial = false;
	} else {
		m_proved(w);
	}
}

#endif
