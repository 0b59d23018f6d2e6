/* pool_model_lines.h - rules of the model: what is expected of the pool, who stands in which line, and how a request ends. */
#ifndef KRAIT_TEST_POOL_MODEL_LINES_H
#define KRAIT_TEST_POOL_MODEL_LINES_H

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

/* ---- lines ---- */

static bool m_peer_waits(const struct m_turn *turn)
{
	struct m_request *r;

	EACH(r, m.requests)
	if (r->in_line && r->line == turn->line && r->priority == turn->priority &&
	    r->peer == turn->peer)
		return true;
	return false;
}

static void m_take_turn(struct m_turn *turn)
{
	turn->number = ++m.counter;
}

/* Out of its line. `served`: that was its peer's turn. */
static void m_unline(struct m_request *r, bool served)
{
	struct m_turn *turn;

	if (!r->in_line)
		return;
	turn = m_turn(r->line, r->priority, r->peer);
	r->in_line = false;
	turn->exists = m_peer_waits(turn);
	if (served)
		m_take_turn(turn);
	m.taken_turns += served && turn->exists;
}

/* To where it is to wait. */
static void m_line_up(struct m_request *r)
{
	enum m_line where = m_line(r);
	bool in_line = where == ANYWHERE || where == PINNED;
	uint64_t line = where == PINNED ? m_session(r->session)->worker_id : 0;
	struct m_turn *turn = m.turns;

	if (r->in_line && (!in_line || line != r->line))
		m_unline(r, false);
	if (r->in_line || !in_line)
		return;
	r->in_line = true;
	r->line = line;
	if (m_turn(line, r->priority, r->peer) != NULL)
		return;
	while (turn < m.turns + MANY && turn->exists)
		turn++;
	m_put((size_t)(turn - m.turns));
	*turn = (struct m_turn){
		.exists = true, .line = line, .peer = r->peer, .priority = r->priority
	};
	m_take_turn(turn);
}

/* All who wait for the session; by arrival will do, since priorities have lines of their own. */
static void m_line_up_all(const struct m_session *sn)
{
	uint64_t last = 0;

	for (;;) {
		struct m_request *r, *next = NULL;

		EACH(r, m.requests)
		if (!r->running && r->session == sn->token && r->order > last &&
		    (next == NULL || r->order < next->order))
			next = r;
		if (next == NULL)
			return;
		last = next->order;
		m_line_up(next);
	}
}

static void m_unline_all(const struct m_session *sn)
{
	struct m_request *r;

	EACH(r, m.requests)
	if (!r->running && r->session == sn->token)
		m_unline(r, false);
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
	m_unline(r, false);
	m_part(r);
	r->exists = false;
	m_quit(r);
}

#endif
