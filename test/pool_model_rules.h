/* pool_model_rules.h - what must happen: the rules of the model, event by event. */
#ifndef KRAIT_TEST_POOL_MODEL_RULES_H
#define KRAIT_TEST_POOL_MODEL_RULES_H

#include "pool_model.h"

static void m_settle(struct m_session *sn);
static void m_leave(struct m_worker *w, enum pool_action_type how, enum pool_why why);
static void m_lost_worker(struct m_request *r, bool not_begun);

/* ---- what is expected ---- */

static struct m_act *expect(enum pool_action_type type, uint64_t id)
{
	struct m_act *a = &m.acts[m.n_acts++];

	*a = (struct m_act){ .exists = true, .type = type, .id = id };
	return a;
}

static bool m_of_worker(const struct m_act *a)
{
	return a->type != POOL_DONE && a->type != POOL_OPENED && a->type != POOL_LEASE_ENDED &&
	       a->type != POOL_SESSION_ENDED;
}

/* The last word about a worker in a step is the one that counts. */
static struct m_act *expect_worker(enum pool_action_type type, uint64_t id)
{
	for (unsigned i = 0; i < m.n_acts; i++)
		if (m.acts[i].id == id && m_of_worker(&m.acts[i]))
			m.acts[i].exists = false;
	return expect(type, id);
}

/* And so the last about a slot; but each stream is closed. */
static struct m_act *expect_slot(enum pool_action_type type, const struct m_worker *w,
				 const struct m_slot *s, uint64_t call_id)
{
	struct m_act *a;

	for (unsigned i = 0; i < m.n_acts; i++)
		if (m.acts[i].id == w->id && m_of_worker(&m.acts[i]) &&
		    m.acts[i].slot == s - w->slots && m.acts[i].type != POOL_CLOSE)
			m.acts[i].exists = false;
	a = expect(type, w->id);
	a->slot = (unsigned)(s - w->slots);
	a->call_id = call_id;
	return a;
}

static void expect_close(const struct m_worker *w, const struct m_slot *s, uint64_t call_id)
{
	struct m_act *a;

	for (unsigned i = 0; i < m.n_acts; i++)
		if (m.acts[i].exists && m.acts[i].type == POOL_CLOSE &&
		    m.acts[i].call_id == call_id)
			return;
	a = expect(POOL_CLOSE, w->id);
	a->slot = (unsigned)(s - w->slots);
	a->call_id = call_id;
}

static void m_give_back(struct m_session *sn, enum pool_session_end end)
{
	struct m_act *a = expect(POOL_SESSION_ENDED, sn->token);

	a->what = end;
	a->worker_id = sn->last_worker;
	sn->exists = false;
}

/* ---- requests end ---- */

/* The call that a running request is in. */
static struct m_call *m_its_call(const struct m_request *r, struct m_slot **slot)
{
	return r->running ? m_call(m_worker(r->worker_id), r->id, slot) : NULL;
}

static void m_part(struct m_request *r)
{
	struct m_slot *s;
	struct m_call *c = m_its_call(r, &s);
	struct m_worker *w;

	if (c == NULL)
		return;
	w = m_worker(r->worker_id);
	c->request_id = 0;
	if (w->state == WORKER_STOPPING && w->phase == 2 && !m_owned(w))
		w->timer.at = POOL_NEVER;
}

static void m_quit(struct m_request *r)
{
	struct m_session *sn = m_session(r->session), *spare = m_session(r->spare);

	if (sn != NULL && sn->first == r->id)
		sn->first = 0;
	r->session = r->spare = 0;
	if (sn != NULL)
		m_settle(sn);
	if (spare != NULL)
		m_give_back(spare, SESSION_UNUSED);
}

static void m_done(struct m_request *r, enum pool_outcome outcome)
{
	struct m_act *a = expect(POOL_DONE, r->id);

	a->what = outcome;
	a->worker_id = r->last_worker;
	m.totals.outcome[outcome]++;
	for (unsigned i = 0; i < m.n_acts; i++) /* what opens in the step in which it ends */
		if (m.acts[i].type == POOL_OPENED && m.acts[i].id == r->id)
			m.acts[i].exists = false;
	m_part(r);
	r->exists = false;
	m_quit(r);
}

/* ---- sessions ---- */

static void m_slot_moves(struct m_worker *w, struct m_slot *s, enum worker_state to)
{
	s->state = to;
	w->touched = ++m.counter;
}

static void m_probe(struct m_worker *w, struct m_slot *s, enum pool_action_type type)
{
	s->probe = PROBE | ++m.last_probe;
	m_set(&s->timer, in(m.config.interrupt_grace_us));
	m_slot_moves(w, s, WORKER_PROBING);
	expect_slot(type, w, s, s->probe)->token = s->ends;
}

/* The sessions that a worker must be told to end, as far as it has free slots. */
static void m_ends(struct m_worker *w)
{
	struct m_slot *s;

	while ((s = m_free_slot(w)) != NULL) {
		struct m_session *sn, *first = NULL;

		EACH(sn, m.sessions)
		if (sn->worker_id == w->id && sn->due != 0 && !sn->told &&
		    (first == NULL || sn->due < first->due))
			first = sn;
		if (first == NULL)
			return;
		first->told = true;
		s->ends = first->token;
		m_probe(w, s, POOL_END_SESSION);
	}
}

static void m_unuse(struct m_session *sn)
{
	sn->unused = 0;
	sn->timer.at = POOL_NEVER;
}

/* What becomes of a session when something about it has changed. */
static void m_settle(struct m_session *sn)
{
	struct m_request *first = m_first_of_session(sn->token, false);

	if (sn->ending) {
		sn->known = sn->known && first != NULL;
		if (m_slots(sn) == 0 && sn->due == 0) {
			sn->due = ++m.counter;
			m_ends(m_worker(sn->worker_id));
		}
		return;
	}
	if (sn->known && sn->worker_id == 0 && !sn->lost && sn->first == 0) {
		if (first != NULL)
			sn->first = first->id;
		else if (m_users(sn) == 0) {
			sn->end = SESSION_UNUSED;
			sn->known = false;
		}
	}
	if (m_used(sn))
		return;
	if (!sn->known) {
		m_give_back(sn, sn->end);
	} else if (sn->unused == 0) {
		sn->unused = ++m.counter;
		sn->idle_since = now;
		m_set(&sn->timer, in(sn->ttl));
	}
}

static void m_end_session(struct m_session *sn, enum pool_session_end end)
{
	if (!sn->known || sn->ending || (sn->worker_id == 0 && !sn->lost))
		return;
	sn->end = end;
	m_unuse(sn);
	sn->ending = !sn->lost;
	sn->known = !sn->lost;
	m_settle(sn);
}

/* Its worker has ended it, or is no more. */
static void m_parted(struct m_session *sn)
{
	bool was_ending = sn->ending, told = false;
	struct m_request *r, *left = NULL;

	sn->worker_id = 0;
	sn->ending = sn->told = false;
	sn->due = 0;
	if (was_ending) {
		sn->calls = 0;
		m_settle(sn);
		return;
	}
	m.totals.sessions_lost += !m.stopping;
	sn->lost = true;
	EACH(r, m.requests)
	if (!r->running && r->session == sn->token && r->mode != SESSION_HINT) {
		r->session = 0;
		m_done(r, OUTCOME_SESSION_LOST);
		told = true;
	}
	left = m_first_of_session(sn->token, false);
	if (left != NULL) {
		sn->lost = false;
		sn->calls = 0;
	} else if (told || m.stopping) {
		sn->end = told ? SESSION_LOST : SESSION_ENDED;
		m_unuse(sn);
		sn->known = false;
	}
	m_settle(sn);
}

/* The worker serves nobody any more. */
static void m_lose_sessions(struct m_worker *w)
{
	struct m_session *sn;
	struct m_slot *s;

	EACH_SLOT(s, w)
	{
		for (unsigned i = 0; s->session != 0 && i < s->depth; i++) {
			struct m_request *r = m_request(s->calls[i].request_id);

			if (r != NULL && !(!s->calls[i].inner && r->kind == POOL_CALL &&
					   r->mode == SESSION_HINT))
				r->session = 0;
		}
		s->session = s->ends = 0;
	}
	for (;;) {
		struct m_session *first = NULL;

		EACH(sn, m.sessions)
		if (sn->worker_id == w->id && (first == NULL || sn->settled < first->settled))
			first = sn;
		if (first == NULL)
			return;
		m_parted(first);
	}
}

/* The longest idle. */
static struct m_session *m_longest(void)
{
	struct m_session *sn, *first = NULL;

	EACH(sn, m.sessions)
	if (sn->unused != 0 && (first == NULL || sn->unused < first->unused))
		first = sn;
	return first;
}

static bool m_full(void)
{
	return m_known() >= m.config.max_sessions;
}

static bool m_room(void)
{
	return !m_full() || (m_longest() != NULL && m.config.max_sessions > 0);
}

static void m_make_room(void)
{
	if (!m_full())
		return;
	m.totals.sessions_evicted++;
	m_end_session(m_longest(), SESSION_EVICTED);
}

static void m_begin(struct m_session *sn)
{
	sn->known = true;
	sn->begun = ++m.counter;
}

static void m_join(struct m_request *r, struct m_session *sn)
{
	m_unuse(sn);
	r->session = sn->token;
	if (sn->lost) {
		sn->lost = false;
		sn->calls = 0;
	}
	if (sn->worker_id == 0 && sn->first == 0)
		sn->first = r->id;
}

/* It begins in a slot of that worker. */
static void m_enter(struct m_request *r, struct m_worker *w, struct m_slot *s)
{
	struct m_session *sn = m_session(r->session), *spare = m_session(r->spare);

	if (sn->first == r->id)
		sn->first = 0;
	if (sn->worker_id != 0 && sn->worker_id != w->id) { /* it moves */
		struct m_session *old = sn;
		struct m_request *q;

		sn = spare;
		spare = NULL;
		old->known = false;
		m_begin(sn);
		EACH(q, m.requests)
		if (q == r || (!q->running && q->session == old->token))
			q->session = sn->token;
		old->end = SESSION_MOVED;
		old->ending = true;
		m_settle(old);
	}
	s->session = sn->token;
	if (sn->worker_id == 0) {
		sn->worker_id = sn->last_worker = w->id;
		sn->settled = ++m.counter;
		sn->first = 0;
		m.totals.sessions_started++;
	}
	r->spare = 0;
	if (spare != NULL)
		m_give_back(spare, SESSION_UNUSED);
}

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

	w->retiring = false;
	m_lose_sessions(w);
	EACH_SLOT(s, w)
	{
		struct m_request *r = s->depth == 1 ? m_request(s->calls[0].request_id) : NULL;

		s->interrupted = s->closing = s->timed_out = false;
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
		if ((s = m_free_slot(*where)) != NULL)
			return s;
		EACH_SLOT(s, *where)
		if (r->kind == POOL_CALL && s->session == sn->token && m_nestable(*where, s))
			return s;
		*where = m_movable(r) ? m_best(true, NULL) : NULL;
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
static uint64_t m_spare(const struct pool_event *ev, unsigned name)
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
		.lease_id = real->lease_id,
		.kind = real->kind,
		.priority = real->priority,
		.retry = real->retry,
		.bytes = real->bytes,
		.abandon = real->abandon,
		.stream = real->stream,
		.mode = real->session_mode,
		.name = real->session_key != NULL ? real->session_key[0] : 0,
		.real = ev->request,
	};
	r->spare = m_spare(ev, r->name);
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
	if (s != NULL)
		m_serve(w, s, r);
	else
		m_set(&r->timer, m_until(r));
}

/* ---- a slot comes free ---- */

static bool m_surplus(struct m_worker *w)
{
	if (!w->retiring && m_ready() - m_retiring() > m.config.size) {
		w->retiring = true;
		w->touched = ++m.counter;
	}
	if (!w->retiring || m_in(w, WORKER_IDLE) < w->n_slots)
		return false;
	m_leave(w, POOL_END, WHY_SURPLUS);
	return true;
}

static void m_leave_session(struct m_slot *s)
{
	struct m_session *sn = m_session(s->session);

	s->session = 0;
	if (sn != NULL)
		m_settle(sn);
}

static void m_free(struct m_worker *w, struct m_slot *s)
{
	struct m_request *r;

	s->probe = s->ends = 0;
	s->interrupted = s->closing = s->timed_out = false;
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
	if (m_surplus(w))
		return;
	m_leave_session(s);
	m_ends(w);
}

/* ---- calls that nobody wants any more ---- */

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
	} else if (was.closing || was.abandon == ABANDON_KILL) {
		m_put_down(w, s, timed_out,
			   was.closing ? WHY_UNRESPONSIVE
			   : timed_out ? WHY_TIMEOUT
				       : WHY_CALLER_GONE);
	} else if (was.abandon == ABANDON_INTERRUPT) {
		s->interrupted = true;
		s->timed_out = timed_out;
		m_set(&s->timer, grace);
		m.totals.interrupts++;
		expect_slot(POOL_INTERRUPT, w, s, c->id);
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

/* ---- what workers say ---- */

static void m_answered(struct m_worker *w, uint64_t call_id)
{
	struct m_slot *s, *probed = NULL;
	struct m_call *c = m_call(w, call_id, &s);
	struct m_request *r = c != NULL ? m_request(c->request_id) : NULL;

	if (w->state == WORKER_STOPPING) {
		if (r == NULL) {
			m.totals.late++;
			return;
		}
		w->calls++;
		m.calls++;
		m.early = 0;
		m_done(r, OUTCOME_OK);
		return;
	}
	if (c == NULL) {
		EACH_SLOT(s, w)
		if (s->probe != 0 && s->probe == call_id)
			probed = s;
		if (probed == NULL) {
			m.totals.late++;
			return;
		}
		if (probed->ends) {
			struct m_session *sn = m_session(probed->ends);

			probed->ends = 0;
			m_parted(sn);
		}
		m_free(w, probed);
		return;
	}
	w->calls++;
	m.early = 0;
	m_proved(w);
	if (!c->inner && s->depth > 1) {
		s->timer.at = POOL_NEVER;
		s->closing = s->timed_out = false;
	}
	s->depth--;
	memmove(c, c + 1, (size_t)(s->calls + s->depth - c) * sizeof *c);
	if (r != NULL) {
		r->running = false; /* its call is no more */
		m.calls++;
		m_done(r, OUTCOME_OK);
	}
	if (s->depth > 0)
		return;
	if (s->interrupted) {
		s->interrupted = s->closing = false;
		m_probe(w, s, POOL_PROBE);
	} else {
		m_free(w, s);
	}
}

static void m_opened(struct m_worker *w, uint64_t call_id)
{
	struct m_slot *s;
	struct m_call *c = m_call(w, call_id, &s);
	struct m_request *r = c != NULL ? m_request(c->request_id) : NULL;

	if (r != NULL && r->stream && !r->streaming) {
		r->streaming = true;
		expect(POOL_OPENED, r->id)->worker_id = w->id;
		return;
	}
	if (c == NULL || r != NULL || w->state == WORKER_STOPPING) {
		m.totals.late++;
		return;
	}
	expect_close(w, s, c->id);
	if (!c->inner) {
		if (!s->interrupted && !s->closing)
			m_set(&s->timer, in(m.config.interrupt_grace_us));
		s->closing = true;
	}
}

static void m_worker_event(const struct pool_event *ev)
{
	struct m_worker *w = m_worker(ev->worker_id);
	struct m_slot *s;
	struct m_call *c;

	if (w == NULL || (ev->type == POOL_WORKER_READY && w->state != WORKER_STARTING)) {
		m.totals.late++;
	} else if (ev->type == POOL_WORKER_ANSWER) {
		m_answered(w, ev->call_id);
	} else if (ev->type == POOL_WORKER_OPENED) {
		m_opened(w, ev->call_id);
	} else if (ev->type == POOL_WORKER_WAITS) {
		c = m_call(w, ev->call_id, &s);
		if (c == NULL || w->state == WORKER_STOPPING)
			m.totals.late++;
		else
			c->waits = ev->waits;
	} else if (ev->type == POOL_WORKER_READY) {
		m.ready++;
		w->ready_at = now;
		if (m.early >= EARLY_LIMIT)
			m.trials += w->trial = true;
		else
			breaker_ok(&m.breaker);
		w->timer.at = POOL_NEVER;
		w->state = WORKER_IDLE;
		w->touched = ++m.counter;
		EACH_SLOT(s, w)
		s->state = WORKER_IDLE;
		m_surplus(w);
	} else if (ev->type == POOL_WORKER_GONE) {
		bool stopping = w->state == WORKER_STOPPING;

		m.totals.exits++;
		if (!stopping)
			m_judge(w);
		w->state = WORKER_STOPPING;
		w->phase = 0;
		if (!stopping)
			m_withdraw(w);
		m_bereave(w, ev->not_begun);
		w->exists = false;
	} else if (w->state != WORKER_STOPPING) { /* BROKEN */
		m_judge(w);
		m_leave(w, POOL_KILL, WHY_BROKEN);
	}
}

/* ---- how many ---- */

static void m_resize(unsigned size)
{
	m.config.size = size;
	for (int with_sessions = 0; with_sessions <= 1; with_sessions++)
		while (m_ready() - m_retiring() > size) {
			struct m_worker *w, *last = NULL;

			EACH(w, m.workers)
			if (m_sum(w) == WORKER_IDLE && (with_sessions || m_sessions_of(w) == 0) &&
			    (last == NULL || w->index > last->index))
				last = w;
			if (last == NULL)
				break;
			m_leave(last, POOL_END, WHY_SURPLUS);
		}
}

static void m_stop(void)
{
	struct m_request *r;
	struct m_session *sn;
	struct m_worker *w;
	struct m_slot *s;

	m.stopping = true;
	EACH(r, m.requests)
	if (!r->running && r->kind != POOL_LEASE_CALL)
		m_done(r, OUTCOME_DRAINING);
	for (uint64_t id = 1; id <= m.last_worker; id++) {
		if ((w = m_worker(id)) == NULL)
			continue;
		EACH_SLOT(s, w)
		{
			for (unsigned i = 0; i < s->depth; i++)
				if ((r = m_request(s->calls[i].request_id)) != NULL)
					m_done(r, OUTCOME_DRAINING);
			if (s->lease_id)
				m_end_lease(s->lease_id, LEASE_WORKER_GONE, OUTCOME_DRAINING);
		}
		if (w->state != WORKER_STOPPING)
			m_leave(w,
				w->state == WORKER_STARTING || m_in(w, WORKER_BUSY) ? POOL_KILL
										    : POOL_END,
				WHY_STOP);
	}
	EACH(sn, m.sessions)
	m_end_session(sn, SESSION_LOST);
}

/* Those that were to leave stay, if they are needed. */
static void m_keep(void)
{
	while (m_retiring() > 0 && m_ready() - m_retiring() < m.config.size) {
		struct m_worker *w, *first = NULL;

		EACH(w, m.workers)
		if (w->retiring && (first == NULL || w->index < first->index))
			first = w;
		first->retiring = false;
		first->touched = ++m.counter;
		m_ends(first);
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
	m_keep();
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
		while (w < m.workers + MANY && w->exists)
			w++;
		m_put((size_t)(w - m.workers));
		*w = (struct m_worker){
			.exists = true,
			.id = ++m.last_worker,
			.index = index,
			.n_slots = m.config.slots > 0 ? m.config.slots : 1,
			.state = WORKER_STARTING,
			.started = now,
		};
		for (unsigned i = 0; i < w->n_slots; i++)
			w->slots[i].timer.at = POOL_NEVER;
		m_set(&w->timer, in(m.config.start_timeout_us));
		breaker_start(&m.breaker, now);
		m.totals.starts++;
		expect_worker(POOL_START, w->id)->what = index;
	}
}

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
	if (first != NULL)
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
	EACH(w, m.workers)
	{
		at = w->timer.at < at ? w->timer.at : at;
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

	if (pinned != NULL && m_before(pinned, r))
		r = pinned;
	if (r == NULL)
		return false;
	s = m_place(r, m_session(r->session), &w);
	m_serve(w, s, r);
	return true;
}

static void m_happen(const struct pool_event *ev)
{
	struct m_request *r = ev->request != NULL ? m_request(ev->request->id) : NULL;
	struct m_slot *s = NULL;
	struct m_call *c;

	switch (ev->type) {
	case POOL_CONFIGURE:
	case POOL_PAUSE: /* check_pool_control has sentences for these */
	case POOL_RESUME:
	case POOL_RECYCLE:
	case POOL_KILL_WORKER:
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
	case POOL_WORKER_WAITS:
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
}

static void m_step(const struct pool_event *ev)
{
	struct m_request *r;

	m.n_acts = 0;
	m.random = ev->random;
	m.must_drain = false;
	m_happen(ev);
	m_timers();
	m_starts();
	while (m_hopeless() && (r = m_first_anywhere()) != NULL)
		m_done(r, OUTCOME_CIRCUIT_OPEN);
	while (m_serve_inside())
		continue;
	while (m_serve_next())
		continue;
	if (m.drain_due && m_requests(false, NULL) + m_requests(true, NULL) + m_leases() == 0) {
		m.drain_due = false;
		m.must_drain = true;
	}
}

#endif
