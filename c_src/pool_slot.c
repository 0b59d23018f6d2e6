/* pool_slot.c - slots of the pool: the calls in them, and what becomes of each.
 *
 * The happy path: request_run() puts a call into a free slot; worker_answered() takes it out and tells
 * its request; slot_free() makes room for the next one.
 * What can go wrong: the call loses its owner (call_orphaned(): it is killed, interrupted and probed,
 * closed, or left to finish); it opens a stream that nobody wants any more; its grace is over and the
 * whole worker is killed (put_down()).
 * With others sent ahead of it (pool_ahead.c) the worker goes on with the first of them.
 * A slot holds a stack of calls when the innermost waits for a process of a peer; with threads and
 * asynchronous functions one further down may end before those inside of it, so each is found by its id. */
#include "pool_private.h"

#include <assert.h>
#include <string.h>

static const unsigned legal[WORKER_STATES] = {
	[WORKER_IDLE] = BIT(WORKER_LEASED) | BIT(WORKER_BUSY) | BIT(WORKER_PROBING),
	[WORKER_LEASED] = BIT(WORKER_BUSY) | BIT(WORKER_IDLE),
	[WORKER_BUSY] = BIT(WORKER_LEASED) | BIT(WORKER_IDLE) | BIT(WORKER_PROBING),
	[WORKER_PROBING] = BIT(WORKER_LEASED) | BIT(WORKER_IDLE),
};

/* What the worker is, from what its slots are. */
static enum worker_state sum(const struct pool_worker *w)
{
	return w->in[WORKER_BUSY] > 0      ? WORKER_BUSY
	       : w->in[WORKER_PROBING] > 0 ? WORKER_PROBING
	       : w->in[WORKER_LEASED] > 0  ? WORKER_LEASED
					   : WORKER_IDLE;
}

/* The only one that changes the state of a slot that serves; worker_move() does it for a whole worker. */
void slot_move(struct pool *p, struct pool_slot *s, enum worker_state to)
{
	struct pool_worker *w = s->worker;
	enum worker_state state;

	assert(legal[s->state] & BIT(to));
	p->count[s->state]--;
	w->in[s->state]--;
	s->state = to;
	s->since_us = p->now_us;
	p->count[to]++;
	w->in[to]++;
	state = sum(w);
	if (state != w->state)
		w->since_us = p->now_us;
	w->state = state;
	worker_offer(p, w);
}

void slot_act(struct pool *p, struct pool_slot *s, enum pool_action_type type)
{
	list_remove(&s->act);
	list_append(&p->act[type], &s->act);
	p->due |= BIT(type);
	s->pending = type;
}

void slot_look(struct pool *p, struct pool_slot *s)
{
	list_remove(&s->nests);
	list_append(&p->nests, &s->nests);
}

struct pool_call *slot_call(struct pool_worker *w, uint64_t call_id, struct pool_slot **slot)
{
	for (struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		for (unsigned i = s->depth; i-- > 0;) {
			if (s->call[i].id == call_id) {
				*slot = s;
				return &s->call[i];
			}
		}
	}
	return NULL;
}

bool slot_nestable(const struct pool *p, const struct pool_slot *s)
{
	if (s->state != WORKER_BUSY || s->interrupted || s->closing || s->depth == POOL_NEST_MAX ||
	    !s->call[s->depth - 1].waits)
		return false;
	/* Those whose time is up are cut in this very step: who knows what becomes of the slot. */
	for (unsigned i = 0; i < s->depth; i++)
		if (s->call[i].request != NULL && s->call[i].request->deadline_us <= p->now_us)
			return false;
	return true;
}

/* ---- a slot comes free ---- */

void slot_free(struct pool *p, struct pool_slot *s)
{
	struct pool_worker *w = s->worker;

	bool checked = s->health;

	assert(s->depth == 0);
	s->probe_id = 0;
	s->ends = NULL;
	s->interrupted = s->closing = s->timed_out = s->health = false;
	p->checking -= checked;
	heap_remove(&p->graces, &s->timer);
	if (s->lease != NULL) {
		slot_move(p, s, WORKER_LEASED);
		lease_next(p, s->lease);
		return;
	}
	slot_move(p, s, WORKER_IDLE);
	if (checked) { /* nobody has used it: it stands where it was, among those idle longest */
		if (!list_empty(&w->offered)) {
			list_remove(&w->offered);
			list_prepend(&p->offered[w->slots - w->in[WORKER_IDLE]], &w->offered);
		}
		worker_watch(p, w);
	}
	if (worker_surplus(p, w))
		return;
	if (s->session != NULL)
		session_leave(p, s);
	worker_ends(p, w);
}

void slot_probe(struct pool *p, struct pool_slot *s, enum pool_action_type type, uint64_t grace_us)
{
	s->probe_id = PROBE_BIT | ++p->last_probe_id;
	heap_set(&p->graces, &s->timer, pool_in(p, grace_us));
	slot_move(p, s, WORKER_PROBING);
	slot_act(p, s, type);
}

void worker_ends(struct pool *p, struct pool_worker *w)
{
	struct pool_slot *s;

	while (!list_empty(&w->ends) && (s = worker_slot(w)) != NULL) {
		s->ends = list_entry(w->ends.next, struct pool_session, order);
		list_remove(&s->ends->order);
		s->ends->told = true;
		slot_probe(p, s, POOL_END_SESSION, p->config.interrupt_grace_us);
	}
}

/* ---- answers ---- */

/* Takes a call out of its slot; what it runs inside of, and what runs inside of it, stays. */
static void call_end(struct pool_slot *s, struct pool_call *c)
{
	if (c->request != NULL)
		c->request->slot = NULL;
	s->depth--;
	memmove(c, c + 1, (size_t)((char *)(s->call + s->depth) - (char *)c));
}

/* The last words of a worker that ended by itself: a caller gets them, the worker gets nobody. */
static void last_words(struct pool *p, struct pool_worker *w, struct pool_call *c)
{
	struct pool_request *r = c->request;

	w->calls++;
	p->early_deaths = 0;
	histogram_add(&p->call_us, p->now_us - r->started_us);
	request_done(p, r, OUTCOME_OK);
}

static void answered(struct pool *p, struct pool_slot *s, struct pool_call *c)
{
	struct pool_request *r = c->request;

	s->worker->calls++;
	p->early_deaths = 0;
	worker_proved(p, s->worker);
	worker_counted(p, s->worker);
	if (!c->inner && s->depth > 1) { /* what is left has done nothing wrong */
		heap_remove(&p->graces, &s->timer);
		s->closing = s->timed_out = false;
	}
	call_end(s, c);
	if (r != NULL) {
		histogram_add(&p->call_us, p->now_us - r->started_us);
		if (r->plain)
			ahead_learn(p, p->now_us - r->started_us);
		request_done(p, r, OUTCOME_OK);
	}
	if (s->depth > 0) {
		slot_look(p, s);
	} else if (ahead_next(p, s)) {
		return;
	} else if (s->interrupted) {
		s->interrupted = s->closing = false;
		slot_probe(p, s, POOL_PROBE, p->config.interrupt_grace_us);
	} else {
		slot_free(p, s);
	}
}

/* PONG. */
static void proved(struct pool *p, struct pool_slot *s)
{
	struct pool_session *sn = s->ends;

	if (sn != NULL) {
		s->ends = NULL;
		session_parted(p, sn);
	}
	slot_free(p, s);
}

static struct pool_slot *probed_slot(struct pool_worker *w, uint64_t probe_id)
{
	for (struct pool_slot *s = w->slot; s < w->slot + w->slots; s++)
		if (s->probe_id == probe_id)
			return s;
	return NULL;
}

void worker_answered(struct pool *p, struct pool_worker *w, uint64_t call_id)
{
	struct pool_slot *s = NULL;
	struct pool_call *c = slot_call(w, call_id, &s);

	if (c != NULL && w->state != WORKER_STOPPING)
		answered(p, s, c);
	else if (c != NULL && c->request != NULL)
		last_words(p, w, c);
	else if (w->state == WORKER_STOPPING && ahead_last_words(p, w, call_id))
		return;
	else if ((call_id & PROBE_BIT) && (s = probed_slot(w, call_id)) != NULL)
		proved(p, s);
	else
		p->totals.late++;
}

void worker_opened(struct pool *p, struct pool_worker *w, uint64_t call_id)
{
	struct pool_slot *s = NULL;
	struct pool_call *c = slot_call(w, call_id, &s);
	struct pool_request *r = c != NULL ? c->request : NULL;

	if (r != NULL && r->stream && r->state == REQUEST_RUNNING) {
		request_opened(p, r);
	} else if (c == NULL || r != NULL || w->state == WORKER_STOPPING) {
		p->totals.late++;
	} else { /* nobody is there for its items */
		call_close(p, s, c);
		if (!c->inner && !s->interrupted && !s->closing)
			heap_set(&p->graces, &s->timer, pool_in(p, p->config.interrupt_grace_us));
		if (!c->inner)
			s->closing = true;
	}
}

void worker_waits(struct pool *p, struct pool_worker *w, uint64_t call_id, bool waits)
{
	struct pool_slot *s = NULL;
	struct pool_call *c = slot_call(w, call_id, &s);

	if (c == NULL || w->state == WORKER_STOPPING) {
		p->totals.late++;
		return;
	}
	c->waits = waits;
	slot_look(p, s);
}

/* ---- calls without an owner ---- */

/* Kills the worker for what its slot does; who had that on lease has it no more. Its other calls and
 * leases hear of it with the worker's exit. */
static void put_down(struct pool *p, struct pool_slot *s, bool timed_out, enum pool_why why)
{
	assert(s->depth == 0 || s->call[0].request == NULL);
	if (s->lease != NULL)
		lease_end(p, s->lease, timed_out ? LEASE_TIMEOUT : LEASE_WORKER_GONE,
			  OUTCOME_LEASE_CLOSED);
	worker_leave(p, s->worker, why == WHY_CALLER_GONE ? POOL_KILL : POOL_ABORT, why);
}

void call_close(struct pool *p, struct pool_slot *s, struct pool_call *c)
{
	c->close_due = true;
	list_remove(&s->closes);
	list_append(&p->closes, &s->closes);
	p->due |= BIT(POOL_CLOSE);
}

void call_orphaned(struct pool *p, struct pool_slot *s, struct pool_call *c,
		   const struct pool_request *r, bool streaming, bool timed_out)
{
	uint64_t grace = pool_in(p, p->config.interrupt_grace_us);

	if (s->worker->state == WORKER_STOPPING)
		return;
	if (c->inner) { /* the call below did nothing wrong */
		if (streaming && !r->closing)
			call_close(p, s, c);
		return;
	}
	assert(s->state == WORKER_BUSY && !s->timer.queued);
	if (streaming && !timed_out) {
		s->closing = true;
		heap_set(&p->graces, &s->timer, r->closing ? r->deadline_us : grace);
		if (!r->closing)
			call_close(p, s, c);
	} else if (r->closing) {
		call_abandoned(p, s, ABANDON_INTERRUPT, timed_out);
	} else if (streaming &&
		   r->abandon == ABANDON_FINISH) { /* it would wait for an ASK for ever */
		s->closing = true;
		call_close(p, s, c);
	} else if (!ahead_puts_off(p, s, r->abandon, timed_out)) {
		call_abandoned(p, s, r->abandon, timed_out);
	}
}

void call_abandoned(struct pool *p, struct pool_slot *s, enum pool_abandon abandon, bool timed_out)
{
	if (abandon == ABANDON_KILL) {
		put_down(p, s, timed_out, timed_out ? WHY_TIMEOUT : WHY_CALLER_GONE);
	} else if (abandon == ABANDON_INTERRUPT) {
		s->interrupted = true;
		s->timed_out = timed_out;
		p->totals.interrupts++;
		heap_set(&p->graces, &s->timer, pool_in(p, p->config.interrupt_grace_us));
		slot_act(p, s, POOL_INTERRUPT);
	}
}

void slot_quiet(struct pool *p, struct pool_slot *s)
{
	p->checking -= s->health;
	s->interrupted = s->closing = s->timed_out = s->health = s->put_off = false;
	s->probe_id = 0;
	s->ends = NULL;
	heap_remove(&p->graces, &s->timer);
	list_remove(&s->act);
	list_remove(&s->closes);
	list_remove(&s->nests);
}

void slots_expire(struct pool *p)
{
	while (heap_due(&p->graces, p->now_us)) {
		struct pool_slot *s = heap_entry(heap_min(&p->graces), struct pool_slot, timer);

		if (s->closing && !s->interrupted)
			call_abandoned(p, s, ABANDON_INTERRUPT, s->timed_out);
		else
			put_down(p, s, s->timed_out, WHY_UNRESPONSIVE);
	}
}
