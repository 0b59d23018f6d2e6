/* pool_worker.c - workers of the pool: from the decision to start one until it is gone.
 *
 * The happy path: workers_start() decides a start (pool_size.c); HELLO (worker_ready()) makes its slots
 * idle; they serve (pool_slot.c).
 * What can go wrong: it does not say HELLO in time or dies before (a failed start); it dies or breaks
 * the protocol while it serves (its calls are lost with it, its leases end, its sessions are lost). A
 * stop is polite first, then SIGTERM, then SIGKILL; what is stopping never serves again. */
#include "pool_private.h"

#include "mem.h"

#include <assert.h>
#include <string.h>

enum { PHASE_ASKED, PHASE_SIGTERM, PHASE_SIGKILL };

static const unsigned legal[WORKER_STATES] = {
	[WORKER_STARTING] = BIT(WORKER_IDLE) | BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_IDLE] = BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_LEASED] = BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_BUSY] = BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_PROBING] = BIT(WORKER_STOPPING) | BIT(WORKER_GONE),
	[WORKER_STOPPING] = BIT(WORKER_GONE),
	[WORKER_GONE] = 0,
};

static bool serves(enum worker_state state)
{
	return state != WORKER_STARTING && state != WORKER_STOPPING && state != WORKER_GONE;
}

/* Takes it out of the counts of its state, or puts it in. */
static void count(struct pool *p, const struct pool_worker *w, int by)
{
	if (!serves(w->state)) {
		p->count[w->state] += (unsigned)by;
		return;
	}
	p->serving += (unsigned)by;
	for (unsigned i = WORKER_IDLE; i <= WORKER_PROBING; i++)
		p->count[i] += (unsigned)by * w->in[i];
}

/* The only one that changes a worker's state; slot_move() that of one slot while it serves. */
void worker_move(struct pool *p, struct pool_worker *w, enum worker_state to)
{
	assert(legal[w->state] & BIT(to));
	count(p, w, -1);
	memset(w->in, 0, sizeof w->in);
	for (unsigned i = 0; i < w->slots; i++) {
		w->slot[i].state = to;
		w->slot[i].since_us = p->now_us;
	}
	w->in[to] = w->slots;
	w->state = to;
	w->since_us = p->now_us;
	count(p, w, 1);
	worker_offer(p, w);
}

void worker_offer(struct pool *p, struct pool_worker *w)
{
	unsigned idle = w->retiring ? 0 : w->in[WORKER_IDLE];

	list_remove(&w->offered);
	if (idle == 0)
		return;
	list_append(&p->offered[w->slots - idle], &w->offered);
	if (w->session_count > 0 && serve_first(w->pinned) != NULL && list_empty(&w->hungry))
		list_append(&p->hungry, &w->hungry);
}

void worker_act(struct pool *p, struct pool_worker *w, enum pool_action_type type)
{
	list_remove(&w->act);
	list_append(&p->act[type], &w->act);
	p->due |= BIT(type);
	w->pending = type;
}

struct pool_worker *worker_find(const struct pool *p, uint64_t worker_id)
{
	struct pool_worker *w = p->worker_hash[pool_chain(worker_id)];

	while (w != NULL && w->id != worker_id)
		w = w->hash_next;
	return w;
}

/* ---- the end of a worker ---- */

/* Whether somebody still has to hear what became of it. */
static bool owned(const struct pool_worker *w)
{
	for (const struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		if (s->lease != NULL)
			return true;
		for (unsigned i = 0; i < s->depth; i++)
			if (s->call[i].request != NULL)
				return true;
	}
	return ahead_owned(w);
}

static void stop_phase(struct pool *p, struct pool_worker *w, unsigned phase)
{
	static const enum pool_action_type acts[] = { POOL_END, POOL_TERMINATE, POOL_KILL };

	w->stop_phase = phase;
	w->dumping = false;
	if (phase == PHASE_SIGKILL)
		p->totals.kills++;
	/* After SIGKILL there is nothing left to do but to tell its owners, if its exit is not
	 * reported: a process in the kernel's hands can take its time. */
	heap_set(&p->timers, &w->timer,
		 phase < PHASE_SIGKILL || owned(w) ? pool_in(p, p->config.stop_grace_us)
						   : POOL_NEVER);
	worker_act(p, w, acts[phase]);
}

/* It hangs. If it says where it dies of that; if not, it is killed. */
static void dump(struct pool *p, struct pool_worker *w)
{
	w->stop_phase = PHASE_SIGTERM;
	w->dumping = true;
	heap_set(&p->timers, &w->timer, pool_in(p, p->config.dump_grace_us));
	worker_act(p, w, POOL_ABORT);
}

void worker_disowned(struct pool *p, struct pool_worker *w)
{
	if (w->state == WORKER_STOPPING && w->stop_phase == PHASE_SIGKILL && !owned(w))
		heap_remove(&p->timers, &w->timer);
}

void worker_proved(struct pool *p, struct pool_worker *w)
{
	if (!list_empty(&w->trial)) {
		list_remove(&w->trial);
		breaker_ok(&p->breaker);
	}
}

/* It serves nobody any more (its state says so already): nothing is due in its slots, its sessions are
 * lost, and a call that it was not even sent goes to another. */
static void withdraw(struct pool *p, struct pool_worker *w)
{
	list_remove(&w->by_index);
	list_remove(&w->hungry);
	worker_replaced(p, w);
	worker_unwatch(p, w);
	ahead_withdraw(p, w);
	p->retiring -= w->retiring;
	w->retiring = false;
	sessions_lost(p, w);
	for (struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		bool unsent = s->depth == 1 && s->call[0].request != NULL && !s->call[0].inner &&
			      !list_empty(&s->act) && s->pending == POOL_RUN;

		slot_quiet(p, s);
		if (unsent && s->call[0].request->kind == POOL_CALL)
			request_lost_worker(p, s->call[0].request, true);
	}
}

void worker_leave(struct pool *p, struct pool_worker *w, enum pool_action_type how,
		  enum pool_why why)
{
	worker_proved(p, w);
	worker_move(p, w, WORKER_STOPPING);
	withdraw(p, w);
	w->why = why;
	p->totals.left[why]++;
	if (how == POOL_ABORT && p->config.dump_grace_us > 0)
		dump(p, w);
	else
		stop_phase(p, w, how == POOL_END ? PHASE_ASKED : PHASE_SIGKILL);
}

static void start_failed(struct pool *p, const struct pool_worker *w)
{
	p->totals.start_failures++;
	breaker_failed(&p->breaker, w->started_us, p->now_us, p->random);
}

static bool interrupted(const struct pool_worker *w)
{
	for (unsigned i = 0; i < w->slots; i++)
		if (w->slot[i].interrupted)
			return true;
	return false;
}

/* It dies by itself while it serves or starts: was it fit to serve at all? */
static void judge(struct pool *p, struct pool_worker *w)
{
	bool early = w->calls == 0 && !interrupted(w) && p->now_us - w->ready_us < EARLY_DEATH_US;

	if (w->state == WORKER_STARTING) {
		start_failed(p, w);
	} else if (early && ++p->early_deaths >= EARLY_DEATHS_MAX) {
		list_remove(&w->trial);
		start_failed(p, w);
	} else {
		worker_proved(p, w);
	}
}

/* What it held is lost with it. */
static void bereave(struct pool *p, struct pool_worker *w, bool not_begun)
{
	for (struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		for (unsigned i = 0; i < s->depth; i++) {
			struct pool_request *r = s->call[i].request;

			if (r != NULL && !s->call[i].inner)
				request_lost_worker(p, r, not_begun && r->id == w->last_call_id);
			else if (r != NULL)
				request_done(p, r, OUTCOME_WORKER_EXIT);
		}
		if (s->lease != NULL)
			lease_end(p, s->lease, LEASE_WORKER_GONE, OUTCOME_LEASE_CLOSED);
	}
	ahead_bereave(p, w);
}

void worker_broken(struct pool *p, struct pool_worker *w)
{
	if (w->state == WORKER_STOPPING)
		return; /* it closes its channel because it was asked to */
	judge(p, w);
	/* Its calls and its leases hear of it with its exit, which tells more: how it died, and its
	 * last words. */
	worker_leave(p, w, POOL_KILL, WHY_BROKEN);
}

void worker_kill(struct pool *p, struct pool_worker *w)
{
	if (w->state == WORKER_STARTING)
		breaker_cancelled(&p->breaker,
				  w->started_us); /* nobody knows what it was good for */
	if (w->state != WORKER_STOPPING)
		worker_leave(p, w, POOL_KILL, WHY_KILLED);
	else if (w->stop_phase < PHASE_SIGKILL)
		stop_phase(p, w, PHASE_SIGKILL);
}

void worker_gone(struct pool *p, struct pool_worker *w, bool not_begun)
{
	struct pool_worker **chain = &p->worker_hash[pool_chain(w->id)];
	bool stopping = w->state == WORKER_STOPPING;

	p->totals.exits++;
	if (!stopping)
		judge(p, w);
	worker_move(p, w, WORKER_GONE);
	if (!stopping)
		withdraw(p, w);
	bereave(p, w, not_begun);
	heap_remove(&p->timers, &w->timer);
	list_remove(&w->trial);
	list_remove(&w->act);
	list_remove(&w->all);
	list_append(&p->gone, &w->all);
	while (*chain != w)
		chain = &(*chain)->hash_next;
	*chain = w->hash_next;
}

void workers_reap(struct pool *p)
{
	while (!list_empty(&p->gone)) {
		struct pool_worker *w = list_entry(p->gone.next, struct pool_worker, all);

		list_remove(&w->all);
		p->count[WORKER_GONE]--;
		mem_free(w);
	}
}

/* ---- how it comes and goes ---- */

void worker_ready(struct pool *p, struct pool_worker *w)
{
	w->ready_us = p->now_us;
	histogram_add(&p->start_us, p->now_us - w->started_us);
	/* In a series of early deaths, HELLO alone proves nothing. */
	if (p->early_deaths >= EARLY_DEATHS_MAX)
		list_append(&p->trials, &w->trial);
	else
		breaker_ok(&p->breaker);
	heap_remove(&p->timers, &w->timer);
	worker_move(p, w, WORKER_IDLE);
	worker_limits(p, w);
	worker_line_up(p, w);
	/* Those that still start are surplus before those that can serve. */
	worker_surplus(p, w);
}

static void expire(struct pool *p, struct pool_worker *w)
{
	heap_remove(&p->timers, &w->timer);
	if (w->state == WORKER_STARTING) {
		start_failed(p, w);
		worker_leave(p, w, POOL_ABORT, WHY_NOT_READY);
	} else if (w->stop_phase < PHASE_SIGKILL) {
		stop_phase(p, w, w->stop_phase + 1);
	} else {
		bereave(p, w, false);
	}
}

void workers_expire(struct pool *p)
{
	while (heap_due(&p->timers, p->now_us))
		expire(p, heap_entry(heap_min(&p->timers), struct pool_worker, timer));
	while (!list_empty(&p->trials)) {
		struct pool_worker *w = list_entry(p->trials.next, struct pool_worker, trial);

		if (p->now_us - w->ready_us < EARLY_DEATH_US)
			break;
		worker_proved(p, w);
	}
}
