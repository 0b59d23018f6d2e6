/* pool_model_workers.h - rules of the model: what workers say, how they are replaced, and how many there are to be. */
#ifndef KRAIT_TEST_POOL_MODEL_WORKERS_H
#define KRAIT_TEST_POOL_MODEL_WORKERS_H

#include "pool_model_calls.h"

/* ---- workers are replaced ---- */

static void m_recycle(struct m_worker *w, enum pool_why why)
{
	if (w->recycled || w->state == WORKER_STOPPING)
		return;
	w->recycled = true;
	w->why = why;
	if (!w->retiring && w->state != WORKER_STARTING)
		w->lined_up = ++m.counter;
}

/* Those whose turn it is leave, as far as there are more than there should be. */
static void m_replace(void)
{
	struct m_worker *w;

	while ((w = m_first_lined_up()) != NULL && m_ready() - m_retiring() > m.size) {
		w->lined_up = 0;
		w->retiring = true;
		w->touched = ++m.counter;
		m.replaced++;
		m_surplus(w);
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
	if (w->max_calls > 0 && w->calls >= w->max_calls)
		m_recycle(w, WHY_MAX_CALLS);
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
		m_probe(w, s, POOL_PROBE, m.config.interrupt_grace_us);
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
		w->since = now;
		w->touched = ++m.counter;
		EACH_SLOT(s, w)
		s->state = WORKER_IDLE;
		m_limits(w);
		if (w->recycled)
			w->lined_up = ++m.counter;
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

static unsigned m_most(void)
{
	return m.config.size_max > m.config.size ? m.config.size_max : m.config.size;
}

static void m_resize(unsigned size, unsigned size_max)
{
	m.config.size = size;
	m.config.size_max = size_max;
	m.size = m.size < size ? size : m.size > m_most() ? m_most() : m.size;
	m.spare_since = POOL_NEVER;
	m_replace();
	for (int with_sessions = 0; with_sessions <= 1; with_sessions++)
		while (m_ready() - m_retiring() > m.size) {
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

static void m_configure(const struct pool_config *config)
{
	struct m_worker *w;

	m.config = *config;
	breaker_configure(&m.breaker, &config->breaker, now);
	for (unsigned index = 0; index < MANY; index++)
		EACH(w, m.workers)
	if (w->index == index && m_serves(w))
		m_limits(w);
	m_resize(config->size, config->size_max);
}

static void m_control(const struct pool_event *ev)
{
	struct m_worker *w = m_worker(ev->worker_id);

	if (ev->type == POOL_PAUSE) {
		m.paused = !m.draining && !m.stopping;
	} else if (ev->type == POOL_RESUME) {
		m.paused = m.draining = m.drain_due = false;
	} else if (ev->type == POOL_RECYCLE && ev->worker_id == 0) {
		breaker_hurry(&m.breaker);
		for (uint64_t id = 1; id <= m.last_worker; id++)
			if ((w = m_worker(id)) != NULL)
				m_recycle(w, ev->why ? ev->why : WHY_RECYCLE);
	} else if (w == NULL) {
		m.totals.late++;
	} else if (ev->type == POOL_RECYCLE) {
		if (w->state != WORKER_STARTING)
			m_recycle(w, ev->why ? ev->why : WHY_RECYCLE);
	} else if (w->state != WORKER_STOPPING) { /* KILL_WORKER */
		if (w->state == WORKER_STARTING)
			breaker_cancelled(&m.breaker, w->started);
		m_leave(w, POOL_KILL, WHY_KILLED);
	} else if (w->phase < 2) {
		m_phase(w, 2);
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
	while (m_retiring() > m_leaving() && m_ready() - m_retiring() < m.size) {
		struct m_worker *w, *first = NULL;

		EACH(w, m.workers)
		if (w->retiring && !w->recycled && (first == NULL || w->index < first->index))
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
	while (!m.stopping && m_there() < m_wanted()) {
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
			.health = { .at = POOL_NEVER },
			.age = { .at = POOL_NEVER },
		};
		for (unsigned i = 0; i < w->n_slots; i++)
			w->slots[i].timer.at = POOL_NEVER;
		m_set(&w->timer, in(m.config.start_timeout_us));
		breaker_start(&m.breaker, now);
		m.totals.starts++;
		expect_worker(POOL_START, w->id)->what = index;
	}
}

#endif
