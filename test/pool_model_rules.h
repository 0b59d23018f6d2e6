/* pool_model_rules.h - rules of the model: time, sizes, hand-out, and what happens in a step. */
#ifndef KRAIT_TEST_POOL_MODEL_RULES_H
#define KRAIT_TEST_POOL_MODEL_RULES_H

#include "pool_model_workers.h"

/* ---- time ---- */

static bool m_cut_first(bool running)
{
	struct m_request *r, *first = NULL;

	EACH(r, m.requests)
	if (r->running == running && r->timer.at <= now &&
	    m_earlier(&r->timer, first != NULL ? &first->timer : NULL))
		first = r;
	if (first == NULL)
		return false;
	m_cut(first, running ? OUTCOME_TIMEOUT_CALL : OUTCOME_TIMEOUT_QUEUE, true);
	return true;
}

static bool m_first_grace(void)
{
	struct m_worker *w, *of = NULL;
	struct m_slot *s, *first = NULL;

	EACH(w, m.workers)
	EACH_SLOT(s, w)
	if (s->timer.at <= now && m_earlier(&s->timer, first != NULL ? &first->timer : NULL)) {
		first = s;
		of = w;
	}
	if (first != NULL && first->closing && !first->interrupted)
		m_interrupt(of, first);
	else if (first != NULL)
		m_put_down(of, first, first->timed_out, WHY_UNRESPONSIVE);
	return first != NULL;
}

static bool m_first_timer(void)
{
	struct m_worker *w, *first = NULL;

	EACH(w, m.workers)
	if (w->timer.at <= now && m_earlier(&w->timer, first != NULL ? &first->timer : NULL))
		first = w;
	if (first == NULL)
		return false;
	if (first->state == WORKER_STARTING) {
		m_start_failed(first);
		m_leave(first, POOL_ABORT, WHY_NOT_READY);
	} else if (first->phase < 2) {
		m_phase(first, first->phase + 1);
	} else {
		m_bereave(first, false);
		m.given_up++;
	}
	return true;
}

static bool m_first_expiry(void)
{
	struct m_session *sn, *first = NULL;

	EACH(sn, m.sessions)
	if (sn->timer.at <= now && m_earlier(&sn->timer, first != NULL ? &first->timer : NULL))
		first = sn;
	if (first != NULL)
		m_end_session(first, first->lost ? SESSION_LOST : SESSION_EXPIRED);
	return first != NULL;
}

static bool m_first_age(void)
{
	struct m_worker *w, *first = NULL;

	EACH(w, m.workers)
	if (w->age.at <= now && m_earlier(&w->age, first != NULL ? &first->age : NULL))
		first = w;
	if (first == NULL)
		return false;
	first->age.at = POOL_NEVER;
	m_recycle(first, WHY_MAX_AGE);
	return true;
}

static bool m_first_look(void)
{
	struct m_worker *w, *first = NULL;

	EACH(w, m.workers)
	if (w->health.at <= now && m_earlier(&w->health, first != NULL ? &first->health : NULL))
		first = w;
	if (first == NULL)
		return false;
	if (m_sum(first) != WORKER_IDLE || now - first->since < first->interval) {
		m_watch(first);
		return true;
	}
	first->health.at = POOL_NEVER;
	first->slots[0].health = true;
	m.totals.probes++;
	m_probe(first, &first->slots[0], POOL_PROBE, m.config.health_timeout_us);
	return true;
}

static void m_timers(void)
{
	struct m_worker *w;

	while (m_cut_first(false))
		continue;
	while (m_cut_first(true))
		continue;
	while (m_first_grace())
		continue;
	while (m_first_timer())
		continue;
	EACH(w, m.workers)
	if (w->trial && now >= w->ready_at + EARLY_US)
		m_proved(w);
	while (m_first_expiry())
		continue;
	while (m_known() > m.config.max_sessions && m_longest() != NULL) {
		m.totals.sessions_evicted++;
		m_end_session(m_longest(), SESSION_EVICTED);
	}
	while (m_first_age())
		continue;
	while (m_first_look())
		continue;
}

/* ---- a range of sizes ---- */

static uint64_t m_times(uint64_t us, unsigned n)
{
	return us > POOL_NEVER / n ? POOL_NEVER : us * n;
}

static uint64_t m_plus(uint64_t at, uint64_t us)
{
	return us > POOL_NEVER - at ? POOL_NEVER : at + us;
}

static uint64_t m_grows_at(void)
{
	const struct m_request *r = m_oldest_anywhere();

	if (r == NULL || m.paused || m.stopping || m.size >= m_most() ||
	    m_count(WORKER_STARTING) > 0 || m_there() < m_wanted())
		return POOL_NEVER;
	return m_there() == 0 ? now : m_plus(r->arrived, m.config.grow_after_us);
}

static uint64_t m_shrinks_at(void)
{
	if (m.stopping || m.config.idle_ttl_us == 0 || m.spare_since == POOL_NEVER ||
	    m.size <= m.config.size)
		return POOL_NEVER;
	return m_plus(m.spare_since, m_times(m.config.idle_ttl_us, m.patience));
}

/* With nothing to do and no sessions, for the longest time. */
static struct m_worker *m_longest_idle(void)
{
	struct m_worker *w, *first = NULL;

	EACH(w, m.workers)
	if (m_sum(w) == WORKER_IDLE && !w->retiring && m_sessions_of(w) == 0 &&
	    (first == NULL || w->touched < first->touched))
		first = w;
	return first;
}

/* Whether a worker has nothing to do, but perhaps to say that it is well. */
static bool m_spare(void)
{
	struct m_worker *w;
	struct m_slot *s;

	if (m_oldest_anywhere() != NULL) /* the pool is paused */
		return false;
	EACH(w, m.workers)
	{
		if (m_sum(w) == WORKER_IDLE && !w->retiring)
			return true;
		EACH_SLOT(s, w)
		if (s->health)
			return true;
	}
	return false;
}

static bool m_lately(void)
{
	return now - m.shrunk_at < m_times(m.config.idle_ttl_us, 16);
}

static void m_serve_all(void);

static void m_adapt(void)
{
	struct m_worker *w;

	while (m_grows_at() <= now) {
		m.size++;
		m.totals.grown++;
		if (m.shrunk && m_lately() && m.patience < 16)
			m.patience *= 2;
		m.shrunk = false;
		m_starts();
		m_serve_all();
	}
	if (!m_spare())
		m.spare_since = POOL_NEVER;
	else if (m.spare_since == POOL_NEVER)
		m.spare_since = now;
	if (m_shrinks_at() > now)
		return;
	m.spare_since = now;
	if (m_longest_idle() == NULL)
		return;
	m.patience = m_lately() ? m.patience : 1;
	m.shrunk = true;
	m.shrunk_at = now;
	m.size--;
	m.totals.shrunk++;
	m_replace();
	if (m_ready() - m_retiring() > m.size && (w = m_longest_idle()) != NULL)
		m_leave(w, POOL_END, WHY_SURPLUS);
	m_starts();
}

static uint64_t m_next_tick(void)
{
	struct m_request *r;
	struct m_worker *w;
	struct m_session *sn;
	struct m_slot *s;
	uint64_t at = m.start_at;

	EACH(r, m.requests)
	at = r->timer.at < at ? r->timer.at : at;
	at = m_grows_at() < at ? m_grows_at() : at;
	at = m_shrinks_at() < at ? m_shrinks_at() : at;
	EACH(w, m.workers)
	{
		at = w->timer.at < at ? w->timer.at : at;
		at = w->health.at < at ? w->health.at : at;
		at = w->age.at < at ? w->age.at : at;
		at = w->trial && w->ready_at + EARLY_US < at ? w->ready_at + EARLY_US : at;
		EACH_SLOT(s, w)
		at = s->timer.at < at ? s->timer.at : at;
	}
	EACH(sn, m.sessions)
	at = sn->timer.at < at ? sn->timer.at : at;
	return at;
}

/* ---- hand-out ---- */

/* Runs somebody inside of a call that waits, if there is anybody. */
static bool m_serve_inside(void)
{
	struct m_worker *w;
	struct m_slot *s;

	EACH(w, m.workers)
	EACH_SLOT(s, w)
	{
		struct m_session *sn = m_session(s->session);
		struct m_request *r = NULL;

		if (!m_nestable(w, s))
			continue;
		if (s->lease_id)
			r = m_first_of_lease(s->lease_id);
		if (r == NULL && sn != NULL && !sn->ending)
			r = m_first_of_session(sn->token, true);
		if (r == NULL)
			continue;
		m_serve(w, s, r);
		return true;
	}
	return false;
}

static bool m_serve_next(void)
{
	struct m_request *r = m_best(false, NULL) != NULL ? m_first_anywhere() : NULL,
			 *pinned = m_first_pinned();
	struct m_worker *w;
	struct m_slot *s;

	if (m.paused)
		return false;
	if (pinned != NULL && r != NULL && pinned->priority == r->priority &&
	    pinned->peer != r->peer) {
		w = m_worker(pinned->line);
		w->pinned_last = !w->pinned_last;
		r = w->pinned_last ? pinned : r;
		m.contested++;
	} else if (pinned != NULL && m_before(pinned, r)) {
		r = pinned;
	}
	if (r == NULL)
		return false;
	s = m_place(r, m_session(r->session), &w);
	m_serve(w, s, r);
	return true;
}

static void m_serve_all(void)
{
	while (m_serve_inside())
		continue;
	while (m_serve_next())
		continue;
}

static void m_happen(const struct pool_event *ev)
{
	struct m_request *r = ev->request != NULL ? m_request(ev->request->id) : NULL;
	struct m_slot *s = NULL;
	struct m_call *c;

	switch (ev->type) {
	case POOL_CONFIGURE:
		m_configure(ev->config);
		break;
	case POOL_PAUSE:
	case POOL_RESUME:
	case POOL_RECYCLE:
	case POOL_KILL_WORKER:
		m_control(ev);
		break;
	case POOL_SUBMIT:
		m_submit(ev);
		break;
	case POOL_ABANDON:
		m_cut(r, OUTCOME_ABANDONED, false);
		break;
	case POOL_CANCEL:
		m_cut(r, OUTCOME_CANCELLED, false);
		break;
	case POOL_REFUSE:
		m_done(r, OUTCOME_DEADLOCK);
		break;
	case POOL_EXTEND:
		if (!r->closing) {
			r->until_call = ev->deadline_us;
			m_set(&r->timer, ev->deadline_us);
		}
		break;
	case POOL_CLOSE_STREAM:
		c = m_its_call(r, &s);
		if (!r->closing && m_serves(m_worker(r->worker_id))) {
			r->closing = true;
			r->until_call = in(m.config.interrupt_grace_us);
			m_set(&r->timer, r->until_call);
			expect_close(m_worker(r->worker_id), s, c->id);
		}
		break;
	case POOL_SESSION_END:
		m_end_session(m_session(ev->session->token), SESSION_ENDED);
		break;
	case POOL_CHECKIN:
		m_returned(ev->lease_id, LEASE_CHECKED_IN);
		break;
	case POOL_LEASE_DOWN:
		m_returned(ev->lease_id, LEASE_OWNER_GONE);
		break;
	case POOL_WORKER_READY:
	case POOL_WORKER_ANSWER:
	case POOL_WORKER_OPENED:
	case POOL_WORKER_TAKEN: /* nothing is sent ahead here: check_pool_ahead.c */
	case POOL_RECALLED:
	case POOL_WORKER_WAITS:
	case POOL_WORKER_GONE:
	case POOL_WORKER_BROKEN:
		m_worker_event(ev);
		break;
	case POOL_TICK:
		break;
	case POOL_RESIZE:
		m_resize(ev->size, ev->size_max);
		break;
	case POOL_DRAIN:
		m.draining = m.drain_due = true;
		m.paused = false;
		break;
	case POOL_STOP:
		m_stop();
		break;
	}
}

static void m_step(const struct pool_event *ev)
{
	struct m_request *r;

	m.n_acts = 0;
	m.random = ev->random;
	m.must_drain = false;
	m_happen(ev);
	m_timers();
	m_replace();
	m_starts();
	while (m_hopeless() && (r = m_first_anywhere()) != NULL)
		m_done(r, OUTCOME_CIRCUIT_OPEN);
	m_serve_all();
	m_adapt();
	if (m.drain_due && m_requests(false, NULL) + m_requests(true, NULL) + m_leases() == 0) {
		m.drain_due = false;
		m.must_drain = true;
	}
}

#endif
