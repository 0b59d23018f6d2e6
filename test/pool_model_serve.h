/* pool_model_serve.h - rules of the model: how leases and workers end; who is admitted, and where he is served. */
#ifndef KRAIT_TEST_POOL_MODEL_SERVE_H
#define KRAIT_TEST_POOL_MODEL_SERVE_H

#include "pool_model_sessions.h"

/* ---- leases end, workers end ---- */

static void m_end_lease(uint64_t id, enum pool_lease_end end, enum pool_outcome outcome)
{
	struct m_lease *l = m_lease(id);
	struct m_worker *w = m_worker(l->worker_id);
	struct m_act *a = expect(POOL_LEASE_ENDED, id);
	struct m_request *r;

	a->what = end;
	a->worker_id = l->worker_id;
	while ((r = m_first_of_lease(id)) != NULL)
		m_done(r, outcome);
	w->slots[l->slot].lease_id = 0;
	l->exists = false;
	if (w->state == WORKER_STOPPING && w->phase == 2 && !m_owned(w))
		w->timer.at = POOL_NEVER;
}

static void m_phase(struct m_worker *w, unsigned phase)
{
	static const enum pool_action_type act[] = { POOL_END, POOL_TERMINATE, POOL_KILL };

	w->phase = phase;
	m_set(&w->timer, phase < 2 || m_owned(w) ? in(m.config.stop_grace_us) : POOL_NEVER);
	m.totals.kills += phase == 2;
	expect_worker(act[phase], w->id);
}

static bool m_unsent(const struct m_worker *w, const struct m_slot *s)
{
	for (unsigned i = 0; i < m.n_acts; i++)
		if (m.acts[i].exists && m.acts[i].type == POOL_RUN && m.acts[i].id == w->id &&
		    m.acts[i].slot == s - w->slots)
			return true;
	return false;
}

/* It serves nobody any more: nothing is due in it, and what it was not even sent goes to another. */
static void m_withdraw(struct m_worker *w)
{
	struct m_slot *s;

	w->retiring = w->recycled = false;
	w->lined_up = 0;
	w->health.at = w->age.at = POOL_NEVER;
	m_lose_sessions(w);
	EACH_SLOT(s, w)
	{
		struct m_request *r = s->depth == 1 ? m_request(s->calls[0].request_id) : NULL;

		s->interrupted = s->closing = s->timed_out = s->health = false;
		s->probe = s->ends = 0;
		s->timer.at = POOL_NEVER;
		if (r != NULL && r->kind == POOL_CALL && m_unsent(w, s))
			m_lost_worker(r, true);
	}
}

static void m_proved(struct m_worker *w)
{
	if (w->trial)
		breaker_ok(&m.breaker);
	w->trial = false;
}

static void m_leave(struct m_worker *w, enum pool_action_type how, enum pool_why why)
{
	m_proved(w);
	w->state = WORKER_STOPPING;
	w->phase = 0;
	m_withdraw(w);
	w->why = why;
	m.totals.left[why]++;
	if (how == POOL_ABORT && m.config.dump_grace_us > 0) {
		w->phase = 1;
		m_set(&w->timer, in(m.config.dump_grace_us));
		expect_worker(POOL_ABORT, w->id);
	} else {
		m_phase(w, how == POOL_END ? 0 : 2);
	}
}

/* Kills the worker for what one slot of it does. */
static void m_put_down(struct m_worker *w, struct m_slot *s, bool timed_out, enum pool_why why)
{
	if (s->lease_id)
		m_end_lease(s->lease_id, timed_out ? LEASE_TIMEOUT : LEASE_WORKER_GONE,
			    OUTCOME_LEASE_CLOSED);
	m_leave(w, why == WHY_CALLER_GONE ? POOL_KILL : POOL_ABORT, why);
}

/* ---- serving ---- */

static void m_run(struct m_worker *w, struct m_slot *s, struct m_request *r)
{
	m.waits += r->last_worker == 0;
	r->running = true;
	r->worker_id = r->last_worker = w->id;
	r->started = now;
	m_set(&r->timer, r->until_call);
	m.nested += s->depth > 0;
	s->calls[s->depth] =
		(struct m_call){ .id = r->id, .request_id = r->id, .inner = s->depth > 0 };
	s->depth++;
	m.deepest = s->depth > m.deepest ? s->depth : m.deepest;
	w->last_call = r->id;
	if (s->session)
		m_session(s->session)->calls++;
	if (s->state != WORKER_BUSY)
		m_slot_moves(w, s, WORKER_BUSY);
	expect_slot(POOL_RUN, w, s, r->id);
}

static void m_grant(struct m_worker *w, struct m_slot *s, struct m_request *r)
{
	struct m_lease *l = m.leases;

	while (l < m.leases + MANY && l->exists)
		l++;
	m_put((size_t)(l - m.leases));
	*l = (struct m_lease){ .exists = true,
			       .id = r->lease_id,
			       .worker_id = w->id,
			       .slot = (unsigned)(s - w->slots) };
	s->lease_id = l->id;
	m_slot_moves(w, s, WORKER_LEASED);
	r->last_worker = w->id;
	m.waits++;
	m_done(r, OUTCOME_OK);
}

static void m_serve(struct m_worker *w, struct m_slot *s, struct m_request *r)
{
	m_unline(r, s->depth == 0);
	if (r->session)
		m_enter(r, w, s);
	if (r->kind == POOL_CHECKOUT)
		m_grant(w, s, r);
	else
		m_run(w, s, r);
}

/* Where a request could run at once. `sn`: its session, or NULL. */
static struct m_slot *m_place(const struct m_request *r, const struct m_session *sn,
			      struct m_worker **where)
{
	struct m_slot *s = NULL;

	*where = NULL;
	if (r->kind == POOL_LEASE_CALL) {
		const struct m_lease *l = m_lease(r->lease_id);

		if (l == NULL)
			return NULL;
		*where = m_worker(l->worker_id);
		s = &(*where)->slots[l->slot];
		return m_serves(*where) && (s->state == WORKER_LEASED || m_nestable(*where, s))
			       ? s
			       : NULL;
	}
	if (m.paused && (sn == NULL || sn->worker_id == 0 || sn->ending))
		return NULL;
	if (r->name == 0) {
		*where = m_best(false, NULL);
	} else if (sn == NULL) {
		if (m_room())
			*where = m_best(true, m_full() ? m_worker(m_longest()->worker_id) : NULL);
	} else if (sn->ending) {
		return NULL;
	} else if (sn->worker_id == 0) {
		if (sn->first == 0 || sn->first == r->id)
			*where = m_best(true, NULL);
	} else {
		*where = m_worker(sn->worker_id);
		if (!m.paused && (s = m_free_slot(*where)) != NULL)
			return s;
		EACH_SLOT(s, *where)
		if (r->kind == POOL_CALL && s->session == sn->token && m_nestable(*where, s))
			return s;
		*where = !m.paused && m_movable(r) ? m_best(true, NULL) : NULL;
	}
	return *where != NULL ? m_free_slot(*where) : NULL;
}

static bool m_hopeless(void)
{
	return breaker_state(&m.breaker) != BREAKER_CLOSED && m_ready() == 0;
}

/* Why it is not admitted. */
static enum pool_outcome m_verdict(const struct m_request *r, const struct m_session *sn,
				   bool at_once, unsigned queued, size_t bytes)
{
	bool on_lease = r->kind == POOL_LEASE_CALL;

	if (m.stopping)
		return OUTCOME_DRAINING;
	if (on_lease && m_lease(r->lease_id) == NULL)
		return OUTCOME_LEASE_CLOSED;
	if (!on_lease && m.draining)
		return OUTCOME_DRAINING;
	if (r->until_call <= now)
		return OUTCOME_TIMEOUT_QUEUE;
	if (!on_lease && m_hopeless())
		return OUTCOME_CIRCUIT_OPEN;
	if (r->name != 0 && sn == NULL && !m_room())
		return OUTCOME_OVERLOADED;
	if (sn != NULL && sn->lost && r->mode != SESSION_HINT)
		return OUTCOME_SESSION_LOST;
	if (sn != NULL && r->mode == SESSION_FAIL_FAST && !at_once)
		return OUTCOME_SESSION_BUSY;
	if (!at_once && (queued >= m.config.queue_limit ||
			 (queued > 0 && bytes + r->bytes > m.config.queue_bytes_limit)))
		return OUTCOME_OVERLOADED;
	return OUTCOME_OK;
}

static uint64_t m_until(const struct m_request *r)
{
	return r->until_queue < r->until_call ? r->until_queue : r->until_call;
}

/* Room for one more session, with what it was given. */
static uint64_t m_record(const struct pool_event *ev, unsigned name)
{
	struct m_session *sn = m.sessions;

	if (ev->session == NULL)
		return 0;
	while (sn < m.sessions + MANY && sn->exists)
		sn++;
	m_put((size_t)(sn - m.sessions));
	*sn = (struct m_session){ .exists = true,
				  .token = ev->session->token,
				  .ttl = ev->session->ttl_us,
				  .name = name,
				  .real = ev->session,
				  .timer = { .at = POOL_NEVER } };
	return sn->token;
}

static void m_submit(const struct pool_event *ev)
{
	const struct pool_request *real = ev->request;
	struct m_request *r = m.requests;
	struct m_session *sn;
	struct m_worker *w;
	struct m_slot *s;
	size_t bytes;
	unsigned queued = m_requests(false, &bytes);
	enum pool_outcome verdict;

	while (r < m.requests + MANY && r->exists)
		r++;
	m_put((size_t)(r - m.requests));
	*r = (struct m_request){
		.exists = true,
		.id = real->id,
		.order = ++m.orders,
		.until_queue = real->queue_deadline_us,
		.until_call = real->deadline_us,
		.lease_id = ev->lease != NULL ? ev->lease->id : real->lease_id,
		.kind = real->kind,
		.priority = real->priority,
		.peer = real->peer,
		.arrived = now,
		.retry = real->retry,
		.bytes = real->bytes,
		.abandon = real->abandon,
		.stream = real->stream,
		.mode = real->session_mode,
		.name = real->claim != NULL ? real->claim->key[0] : 0,
		.real = ev->request,
	};
	r->spare = m_record(ev, r->name);
	m.totals.received++;
	sn = r->name != 0 ? m_named(r->name) : NULL;
	s = m_place(r, sn, &w);
	verdict = m_verdict(r, sn, s != NULL, queued, bytes);
	if (verdict != OUTCOME_OK) {
		if (verdict == OUTCOME_SESSION_LOST)
			m_end_session(sn, SESSION_LOST);
		m_done(r, verdict);
		return;
	}
	if (r->name != 0) {
		if (sn == NULL) {
			m_make_room();
			sn = m_session(r->spare);
			r->spare = 0;
			m_begin(sn);
		}
		m_join(r, sn);
		s = m_place(r, sn, &w);
	}
	if (s != NULL) {
		m_serve(w, s, r);
		return;
	}
	m_set(&r->timer, m_until(r));
	m_line_up(r);
}

#endif
