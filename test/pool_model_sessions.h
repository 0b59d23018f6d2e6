/* pool_model_sessions.h - rules of the model: how sessions begin, live and end. */
#ifndef KRAIT_TEST_POOL_MODEL_SESSIONS_H
#define KRAIT_TEST_POOL_MODEL_SESSIONS_H

#include "pool_model_lines.h"

/* ---- sessions ---- */

static void m_slot_moves(struct m_worker *w, struct m_slot *s, enum worker_state to)
{
	enum worker_state was = m_sum(w);

	s->state = to;
	if (m_sum(w) != was)
		w->since = now;
	w->touched = ++m.counter;
}

static void m_probe(struct m_worker *w, struct m_slot *s, enum pool_action_type type,
		    uint64_t grace)
{
	s->probe = PROBE | ++m.last_probe;
	m_set(&s->timer, in(grace));
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
		m_probe(w, s, POOL_END_SESSION, m.config.interrupt_grace_us);
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
		if (first != NULL) {
			sn->first = first->id;
			m_line_up(first);
		} else if (m_users(sn) == 0) {
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
	m_unline_all(sn);
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
	m_unline_all(sn);
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
	return !m_full() || (m_longest() != NULL && m.config.max_sessions > 0 &&
			     m_known() == m.config.max_sessions);
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
		r->running = true; /* as good as: it waits no more */
		m_line_up_all(sn);
		r->running = false;
	}
	r->spare = 0;
	if (spare != NULL)
		m_give_back(spare, SESSION_UNUSED);
}

#endif
