/* pool_script.h - what happens to a pool and to its model, written down so that it can happen again.
 *
 * A script is the configuration of one pool and what happens to it, each event with its moment and all
 * that chance had to say. perform() does one of them to both, and aborts when the pool does not do exactly
 * what the model says: the same actions, the same owners, the same counters, the same next tick. An event
 * that has lost its object, since an earlier one was left out, does nothing. then_it_stops() ends whatever
 * goes on, so any part of a script is a script. */
#ifndef KRAIT_TEST_POOL_SCRIPT_H
#define KRAIT_TEST_POOL_SCRIPT_H

#include "pool_model_rules.h"

#include "../include/mem.h"

#define EVENTS_MAX 4096

enum deed {
	CALL,
	CHECKOUT,
	LEASE_CALL,
	ABANDON,
	CANCEL,
	CHECKIN,
	LEASE_DOWN,
	READY,
	ANSWER,
	GONE,
	BROKEN,
	OPENED,
	WAITS,
	WAITS_NO_MORE,
	EXTEND,
	CLOSE_STREAM,
	REFUSE,
	END_SESSION,
	TICK,
	RESIZE,
	CONFIGURE,
	PAUSE,
	RESUME,
	RECYCLE,
	RECYCLE_ALL,
	KILL,
	DRAIN,
	STOP,
	REFUSED,
	OUT_OF_MEMORY,
	DEEDS
};

/* Workers are meant by their index, and those on their way out by how many older ones of it are, too; the
 * call of an answer as the one that runs. So an event keeps its sense when those before it go. */
struct event {
	enum deed deed;
	uint64_t at, random;
	uint64_t id; /* of the request or lease; of the worker unless `of_index` */
	uint64_t lease_id, call_id, until_call, until_queue;
	size_t bytes;
	unsigned priority, retry, abandon, size, size_max, peer;
	enum pool_why why;
	unsigned index, older;
	unsigned session, mode, pick; /* pick: which of the worker's calls */
	uint64_t ttl;
	bool stream;
	bool of_index, stopping, of_its_call, failed, not_begun;
	long fail_after;
	struct pool_config config;
};

struct script {
	struct pool_config config;
	unsigned at, count; /* the event that is under way; how many there are */
	struct event events[EVENTS_MAX];
};

/* What has happened in all lives, to see that nothing was left out. */
struct tally {
	uint64_t events, done[OUTCOMES], acts[POOL_DRAINED + 1], ends[LEASE_TIMEOUT + 1],
		session_ends[SESSION_MOVED + 1];
	uint64_t nested, deepest;
	uint64_t retries, late, opened, no_memory, trials, given_up;
	uint64_t replaced, turns, contested, probes, grown, shrunk, left[WHYS];
};

static struct pool *pool;
static struct tally *tally; /* shared with the process that plays */
static uint64_t last_token;
static bool telling; /* the script is read to the user */

/* ---- reading aloud ---- */

static const char *const deed_names[] = {
	[CALL] = "call",
	[CHECKOUT] = "checkout",
	[LEASE_CALL] = "lease_call",
	[ABANDON] = "abandon",
	[CANCEL] = "cancel",
	[CHECKIN] = "checkin",
	[LEASE_DOWN] = "owner of lease down",
	[READY] = "ready",
	[ANSWER] = "answer",
	[GONE] = "gone",
	[BROKEN] = "broken",
	[OPENED] = "opened",
	[WAITS] = "waits",
	[WAITS_NO_MORE] = "waits no more",
	[EXTEND] = "extend",
	[CLOSE_STREAM] = "close",
	[REFUSE] = "refuse",
	[END_SESSION] = "end session",
	[TICK] = "tick",
	[RESIZE] = "resize",
	[CONFIGURE] = "configure",
	[PAUSE] = "pause",
	[RESUME] = "resume",
	[RECYCLE] = "recycle",
	[RECYCLE_ALL] = "recycle all",
	[KILL] = "kill",
	[DRAIN] = "drain",
	[STOP] = "stop",
	[REFUSED] = "refused",
	[OUT_OF_MEMORY] = "tick",
};

static const char *const action_names[] = {
	[POOL_START] = "START",
	[POOL_RUN] = "RUN",
	[POOL_PROBE] = "PROBE",
	[POOL_INTERRUPT] = "INTERRUPT",
	[POOL_END] = "END",
	[POOL_TERMINATE] = "TERMINATE",
	[POOL_ABORT] = "ABORT",
	[POOL_KILL] = "KILL",
	[POOL_DONE] = "DONE",
	[POOL_LEASE_ENDED] = "LEASE_ENDED",
	[POOL_DRAINED] = "DRAINED",
	[POOL_CLOSE] = "CLOSE",
	[POOL_OPENED] = "OPENED",
	[POOL_SESSION_ENDED] = "SESSION_ENDED",
	[POOL_END_SESSION] = "END_SESSION",
	[POOL_RECALL] = "RECALL",
	[POOL_BEGUN] = "BEGUN",
	[POOL_AHEAD] = "AHEAD",
};

static void tell_number(const char *what, uint64_t n)
{
	if (n != POOL_NEVER)
		fprintf(stderr, " %s %" PRIu64, what, n);
}

static void tell_event(const struct event *e)
{
	static const char *const priorities[] = { "high", "normal", "low" };
	static const char *const abandons[] = { "kill", "interrupt", "finish" };
	static const char *const modes[] = { "strict", "hint", "fail_fast" };

	fprintf(stderr, "%10" PRIu64 " us  %s", e->at, deed_names[e->deed]);
	switch (e->deed) {
	case CALL:
	case CHECKOUT:
	case LEASE_CALL:
		fprintf(stderr, " %" PRIu64, e->id);
		if (e->deed != CALL)
			tell_number("of lease", e->lease_id);
		tell_number("until", e->until_call);
		tell_number("waits until", e->until_queue);
		if (e->priority != PRIORITY_NORMAL)
			fprintf(stderr, " priority %s", priorities[e->priority]);
		if (e->abandon != ABANDON_KILL)
			fprintf(stderr, " abandon %s", abandons[e->abandon]);
		if (e->peer > 0)
			tell_number("of peer", e->peer);
		if (e->retry > 0)
			tell_number("retry", e->retry);
		if (e->bytes > 0)
			tell_number("bytes", e->bytes);
		if (e->session != 0)
			fprintf(stderr, " session %u %s", e->session, modes[e->mode]);
		if (e->session != 0)
			tell_number("for", e->ttl);
		fprintf(stderr, "%s", e->stream ? " stream" : "");
		break;
	case EXTEND:
		fprintf(stderr, " %" PRIu64, e->id);
		tell_number("until", e->until_call);
		break;
	case END_SESSION:
		fprintf(stderr, " %u", e->session);
		break;
	case CLOSE_STREAM:
	case REFUSE:
	case ABANDON:
	case CANCEL:
	case CHECKIN:
	case LEASE_DOWN:
		fprintf(stderr, " %" PRIu64, e->id);
		break;
	case READY:
	case ANSWER:
	case GONE:
	case BROKEN:
	case RECYCLE:
	case KILL:
	case OPENED:
	case WAITS:
	case WAITS_NO_MORE:
		tell_number("worker", e->id);
		if (e->deed == ANSWER && e->call_id >> 63)
			tell_number("probe", e->call_id & (UINT64_MAX >> 1));
		else if (e->deed == ANSWER || (e->deed >= OPENED && e->deed <= WAITS_NO_MORE))
			tell_number("call", e->call_id);
		fprintf(stderr, "%s", e->not_begun ? ", call not begun" : "");
		break;
	case RESIZE:
		tell_number("to", e->size);
		tell_number("..", e->size_max);
		break;
	case OUT_OF_MEMORY:
		fprintf(stderr, ", allocation %ld fails", e->fail_after + 1);
		break;
	default:
		break;
	}
	fprintf(stderr, "\n");
}

static void tell_action(const struct pool_action *a)
{
	fprintf(stderr, "                 -> %s", action_names[a->type]);
	if (a->type == POOL_DONE)
		fprintf(stderr, " %" PRIu64 " %s", a->request->id,
			pool_outcome_name(a->request->outcome));
	else if (a->type == POOL_LEASE_ENDED)
		fprintf(stderr, " %" PRIu64, a->lease->id);
	else if (a->type == POOL_SESSION_ENDED)
		fprintf(stderr, " %u (%" PRIu64 ") by %d", a->session->key[0], a->session->token,
			(int)a->session->end);
	else if (a->type == POOL_OPENED)
		fprintf(stderr, " %" PRIu64, a->call_id);
	else if (a->type != POOL_DRAINED)
		fprintf(stderr, " worker %" PRIu64, a->worker_id);
	if (a->type == POOL_RUN || a->type == POOL_CLOSE || a->type == POOL_INTERRUPT)
		fprintf(stderr, " call %" PRIu64, a->call_id);
	if (a->type == POOL_END_SESSION)
		fprintf(stderr, " session %u", a->session->key[0]);
	fprintf(stderr, "\n");
}

static void tell_config(const struct pool_config *c)
{
	fprintf(stderr, "%10" PRIu64 " us  a pool of %u to %u, queue limit %u", now, c->size,
		c->size_max, c->queue_limit);
	tell_number(", grow after", c->grow_after_us);
	tell_number(", idle ttl", c->idle_ttl_us);
	tell_number(", order", c->order);
	tell_number(", dump grace", c->dump_grace_us);
	tell_number(", health", c->health_interval_us);
	tell_number("within", c->health_timeout_us);
	tell_number(", max calls", c->max_calls);
	tell_number(", age", c->max_age_us);
	tell_number("+-", c->jitter_percent);
	tell_number("and bytes", c->queue_bytes_limit);
	tell_number(", start timeout", c->start_timeout_us);
	tell_number(", interrupt grace", c->interrupt_grace_us);
	tell_number(", stop grace", c->stop_grace_us);
	fprintf(stderr, ", %u slots, %u sessions", c->slots, c->max_sessions);
	fprintf(stderr, ", breaker %u of %" PRIu64 " to %" PRIu64 ", %u at once, %u/s\n",
		c->breaker.threshold, c->breaker.backoff_base_us, c->breaker.backoff_max_us,
		c->breaker.burst, c->breaker.per_second);
}

/* ---- the pool beside the model ---- */

/* What the model has said about such an action. */
static struct m_act *said_of(const struct pool_action *a, uint64_t id)
{
	bool of_call = a->type == POOL_RUN || a->type == POOL_PROBE || a->type == POOL_CLOSE ||
		       a->type == POOL_INTERRUPT || a->type == POOL_END_SESSION;

	for (struct m_act *act = m.acts; act < m.acts + m.n_acts; act++)
		if (act->exists && act->type == a->type && act->id == id &&
		    (!of_call || act->call_id == a->call_id))
			return act;
	return NULL;
}

/* Of whom an action tells, and what. */
static uint64_t of_whom(const struct pool_action *a, unsigned *what)
{
	*what = 0;
	switch (a->type) {
	case POOL_DONE:
		*what = a->request->outcome;
		return a->request->id;
	case POOL_OPENED:
		return a->request->id;
	case POOL_LEASE_ENDED:
		*what = a->lease->end;
		return a->lease->id;
	case POOL_SESSION_ENDED:
		*what = a->session->end;
		return a->session->token;
	case POOL_START:
		*what = a->index;
		return a->worker_id;
	default:
		return a->worker_id;
	}
}

static void take(const struct pool_action *a, unsigned *last_type)
{
	const struct m_act *act;
	uint64_t id;
	unsigned what;

	tally->acts[a->type]++;
	if (telling)
		tell_action(a);
	SAME(a->type >= *last_type, true, "order of %s", action_names[a->type]);
	*last_type = a->type;
	if (a->type == POOL_DRAINED) {
		SAME(true, m.must_drain, "drained");
		m.must_drain = false;
		return;
	}
	id = of_whom(a, &what);
	act = said_of(a, id);
	SAME(act != NULL, true, "%s of %" PRIu64 ", call %" PRIu64, action_names[a->type], id,
	     a->call_id);
	SAME(what, act->what, "%s of %" PRIu64, action_names[a->type], id);
	m.acts[act - m.acts].exists = false;
	switch (a->type) {
	case POOL_RUN:
		SAME(a->request->id, a->call_id, "what runs on worker %" PRIu64, id);
		break;
	case POOL_END_SESSION:
		SAME(a->session->token, act->token, "what worker %" PRIu64 " ends", id);
		break;
	case POOL_DONE:
		SAME(a->worker_id, act->worker_id, "worker of request %" PRIu64, id);
		tally->done[what]++;
		if (a->request->kind == POOL_CHECKOUT && what != OUTCOME_OK)
			free(a->lease);
		free(a->request);
		break;
	case POOL_LEASE_ENDED:
		SAME(a->worker_id, act->worker_id, "worker of lease %" PRIu64, id);
		tally->ends[what]++;
		free(a->lease);
		break;
	case POOL_SESSION_ENDED:
		SAME(a->worker_id, act->worker_id, "worker of session %" PRIu64, id);
		tally->session_ends[what]++;
		free(a->session);
		break;
	default:
		break;
	}
}

static void compare_slot(const struct m_worker *w, const struct m_slot *s,
			 const struct pool_slot *real)
{
	SAME(real->lease ? real->lease->id : 0, s->lease_id, "worker %" PRIu64, w->id);
	SAME(real->depth, s->depth, "worker %" PRIu64, w->id);
	for (unsigned i = 0; i < s->depth; i++) {
		const struct pool_request *r = real->call[i].request;

		SAME(real->call[i].id, s->calls[i].id, "worker %" PRIu64, w->id);
		SAME(r != NULL ? r->id : 0, s->calls[i].request_id, "worker %" PRIu64, w->id);
		SAME(real->call[i].waits, s->calls[i].waits, "worker %" PRIu64, w->id);
	}
	if (!m_serves(w))
		return;
	SAME(real->state, s->state, "worker %" PRIu64, w->id);
	SAME(real->probe_id, s->probe, "worker %" PRIu64, w->id);
	SAME(real->interrupted, s->interrupted, "worker %" PRIu64, w->id);
	SAME(real->closing, s->closing, "worker %" PRIu64, w->id);
	SAME(real->health, s->health, "worker %" PRIu64, w->id);
	SAME(real->session ? real->session->token : 0, s->session, "worker %" PRIu64, w->id);
	SAME(real->ends ? real->ends->token : 0, s->ends, "worker %" PRIu64, w->id);
}

static void compare_workers(void)
{
	const struct pool_worker *real = NULL;
	struct m_worker *w;
	unsigned all = 0;

	for (unsigned state = 0; state < WORKER_STATES; state++)
		SAME(pool_count(pool, state), m_count(state), "%s", worker_state_name(state));
	EACH(w, m.workers)
	{
		all++;
		real = pool_worker(pool, w->id);
		SAME(real != NULL, true, "worker %" PRIu64, w->id);
		SAME(real->state, m_sum(w), "worker %" PRIu64, w->id);
		SAME(real->index, w->index, "worker %" PRIu64, w->id);
		SAME(real->calls, w->calls, "worker %" PRIu64, w->id);
		SAME(real->stop_phase, w->phase, "worker %" PRIu64, w->id);
		SAME(real->why, w->why, "worker %" PRIu64, w->id);
		SAME(real->retiring, w->retiring, "worker %" PRIu64, w->id);
		SAME(real->recycled, w->recycled, "worker %" PRIu64, w->id);
		SAME(!list_empty(&real->recycle), w->lined_up != 0, "worker %" PRIu64, w->id);
		if (m_serves(w)) {
			SAME(real->max_calls, w->max_calls, "worker %" PRIu64, w->id);
			SAME(real->interval_us, w->interval, "worker %" PRIu64, w->id);
			SAME(real->since_us, w->since, "worker %" PRIu64, w->id);
		}
		SAME(real->session_count, m_sessions_of(w), "worker %" PRIu64, w->id);
		for (unsigned i = 0; i < w->n_slots; i++)
			compare_slot(w, &w->slots[i], &real->slot[i]);
	}
	for (real = NULL; (real = pool_worker_after(pool, real)) != NULL;)
		all--;
	SAME(all, 0, "workers");
	SAME(pool_ready(pool), m_ready(), "ready");
}

static void compare_sessions(void)
{
	struct pool_session *real = NULL;
	struct m_session *sn;
	uint64_t begun = 0;

	SAME(pool_sessions(pool), m_known(), "sessions");
	while ((real = pool_session_after(pool, real)) != NULL) {
		sn = m_session(real->token);
		SAME(sn != NULL && sn->known, true, "session %" PRIu64, real->token);
		SAME(sn->begun > begun, true, "order of session %" PRIu64, real->token);
		begun = sn->begun;
	}
	EACH(sn, m.sessions)
	{
		real = sn->real;
		SAME(real->known, sn->known, "session %" PRIu64, sn->token);
		if (!sn->known)
			continue;
		SAME(real->worker != NULL ? real->worker->id : 0, sn->worker_id, "session %" PRIu64,
		     sn->token);
		SAME(real->lost, sn->lost, "session %" PRIu64, sn->token);
		SAME(real->ending, sn->ending, "session %" PRIu64, sn->token);
		SAME(real->calls, sn->calls, "session %" PRIu64, sn->token);
		SAME(real->first != NULL ? real->first->id : 0, sn->first, "session %" PRIu64,
		     sn->token);
	}
}

static void compare_queue(void)
{
	const struct pool_request *real = NULL, *last = NULL;
	struct m_request *r;
	unsigned n = 0;

	while ((real = pool_queued_after(pool, real)) != NULL) {
		r = m_request(real->id);
		SAME(r != NULL && m_line(r) == ANYWHERE, true, "queued %" PRIu64, real->id);
		SAME(last == NULL || m_request(last->id)->order < r->order, true,
		     "order of %" PRIu64, real->id);
		last = real;
		n++;
	}
	EACH(r, m.requests)
	{
		n -= m_line(r) == ANYWHERE;
		SAME(r->in_line, m_line(r) == ANYWHERE || m_line(r) == PINNED,
		     "the model's line of %" PRIu64, r->id);
	}
	SAME(n, 0, "queued");
}

static void compare(void)
{
	const struct pool_totals *t = pool_totals(pool);
	struct m_lease *l;

	compare_workers();
	compare_sessions();
	compare_queue();
	EACH(l, m.leases)
	SAME(pool_lease(pool, l->id) != NULL, true, "lease %" PRIu64, l->id);
	SAME(pool_leases(pool), m_leases(), "leases");
	SAME(pool_queued(pool), m_requests(false, NULL), "queued");
	SAME(pool_running(pool), m_requests(true, NULL), "running");
	SAME(t->received, m.totals.received, "received");
	for (unsigned i = 0; i < OUTCOMES; i++)
		SAME(t->outcome[i], m.totals.outcome[i], "%s", pool_outcome_name((enum pool_outcome)i));
	SAME(t->retries, m.totals.retries, "retries");
	SAME(t->starts, m.totals.starts, "starts");
	SAME(t->start_failures, m.totals.start_failures, "failures");
	SAME(t->exits, m.totals.exits, "exits");
	SAME(t->kills, m.totals.kills, "kills");
	SAME(t->interrupts, m.totals.interrupts, "interrupts");
	SAME(t->sessions_started, m.totals.sessions_started, "sessions started");
	SAME(t->sessions_lost, m.totals.sessions_lost, "sessions lost");
	SAME(t->sessions_evicted, m.totals.sessions_evicted, "sessions evicted");
	SAME(t->late, m.totals.late, "late");
	for (unsigned i = 0; i < WHYS; i++)
		SAME(t->left[i], m.totals.left[i], "left by %s", pool_why_name(i));
	SAME(pool_wait_us(pool)->count, m.waits, "waits");
	SAME(pool_call_us(pool)->count, m.calls, "calls");
	SAME(pool_start_us(pool)->count, m.ready, "hellos");
	SAME(pool_breaker(pool)->failures, m.breaker.failures, "breaker");
	SAME(pool_breaker(pool)->not_before_us, m.breaker.not_before_us, "breaker");
	SAME(pool_breaker(pool)->probing, m.breaker.probing, "breaker");
	SAME(t->probes, m.totals.probes, "probes");
	SAME(t->grown, m.totals.grown, "grown");
	SAME(t->shrunk, m.totals.shrunk, "shrunk");
	SAME(pool_size(pool), m.size, "size");
	SAME(pool_draining(pool), m.draining || m.stopping, "draining");
	SAME(pool_paused(pool), m.paused, "paused");
	SAME(pool_next_tick(pool), m_next_tick(), "next tick");
}

/* ---- one event ---- */

static void step(struct pool_event ev)
{
	struct pool_action action;
	unsigned last_type = 0, open = breaker_state(&m.breaker) != BREAKER_CLOSED;

	m.fail_after = mem_fail_after;
	m_step(&ev);
	pool_step(pool, &ev, now);
	pool_check(pool);
	while (pool_next(pool, &action))
		take(&action, &last_type);
	pool_check(pool);
	for (unsigned i = 0; i < m.n_acts; i++)
		SAME(false, m.acts[i].exists, "%s of %" PRIu64 " is missing",
		     action_names[m.acts[i].type], m.acts[i].id);
	SAME(false, m.must_drain, "drained is missing");
	SAME(mem_fail_after, m.fail_after, "allocations");
	compare();
	tally->opened += !open && breaker_state(&m.breaker) != BREAKER_CLOSED;
}

/* The name of a session is one byte. */
static const uint8_t *key_of(unsigned session)
{
	static uint8_t keys[256];

	keys[session] = (uint8_t)session;
	return &keys[session];
}

/* A fresh record, if one is needed. */
static struct pool_session *record_of(const struct event *e, const struct pool_request *r)
{
	struct pool_session *sn;

	if (r->session_mode != SESSION_HINT && pool_session_find(pool, r->claim->key, 1) != NULL)
		return NULL;
	if ((sn = calloc(1, sizeof *sn)) == NULL)
		_exit(EXIT_NO_VERDICT);
	sn->token = ++last_token;
	sn->ttl_us = e->ttl;
	sn->key = r->claim->key;
	sn->key_len = 1;
	return sn;
}

static void submit(const struct event *e)
{
	struct pool_request *r = calloc(1, sizeof *r + sizeof *r->claim);
	struct pool_lease *lease = e->deed == CHECKOUT ? calloc(1, sizeof *lease) : NULL;
	struct pool_session *sn = NULL;

	if (r == NULL || (lease == NULL && e->deed == CHECKOUT))
		_exit(EXIT_NO_VERDICT);
	r->id = e->id;
	r->kind = e->deed == CALL       ? POOL_CALL
		  : e->deed == CHECKOUT ? POOL_CHECKOUT
					: POOL_LEASE_CALL;
	r->priority = (enum pool_priority)e->priority;
	r->peer = e->peer;
	r->retry = (uint8_t)e->retry;
	r->deadline_us = e->until_call;
	r->queue_deadline_us = e->until_queue;
	r->bytes = (uint32_t)e->bytes;
	r->abandon = (enum pool_abandon)e->abandon;
	r->lease_id = e->lease_id;
	r->stream = e->stream && e->deed != CHECKOUT;
	if (lease != NULL)
		lease->id = e->lease_id;
	if (e->session != 0 && e->deed != LEASE_CALL) {
		r->session_mode = (enum pool_session_mode)e->mode;
		r->claim = (struct pool_claim *)(r + 1);
		r->claim->key = key_of(e->session);
		r->claim->key_len = 1;
		sn = record_of(e, r);
	}
	step((struct pool_event){ .type = POOL_SUBMIT,
				  .random = e->random,
				  .request = r,
				  .lease = lease,
				  .session = sn });
}

static unsigned older_and_stopping(const struct m_worker *than)
{
	const struct m_worker *w;
	unsigned n = 0;

	EACH(w, m.workers)
	n += w->state == WORKER_STOPPING && w->index == than->index && w->id < than->id;
	return n;
}

static void mean(struct event *e, const struct m_worker *w)
{
	e->of_index = true;
	e->index = w->index;
	e->stopping = w->state == WORKER_STOPPING;
	e->older = e->stopping ? older_and_stopping(w) : 0;
}

/* The worker that an event means; NULL: it is not there. */
static const struct m_worker *meant(const struct event *e)
{
	const struct m_worker *w;

	EACH(w, m.workers)
	if (w->index == e->index && (w->state == WORKER_STOPPING) == e->stopping &&
	    (!e->stopping || older_and_stopping(w) == e->older))
		return w;
	return NULL;
}

/* One of the calls and probes that the worker has under way, or that somebody waits for. */
static uint64_t its_call(const struct m_worker *w, unsigned pick)
{
	uint64_t ids[MANY_SLOTS * POOL_NEST_MAX];
	const struct m_slot *s;
	unsigned n = 0;

	EACH_SLOT(s, w)
	{
		for (unsigned i = 0; i < s->depth; i++)
			if (m_serves(w) || s->calls[i].request_id != 0)
				ids[n++] = s->calls[i].id;
		if (s->probe != 0)
			ids[n++] = s->probe;
	}
	return n > 0 ? ids[pick % n] : 0;
}

static void perform(const struct event *event)
{
	static const enum pool_event_type types[] = {
		[CHECKIN] = POOL_CHECKIN,    [LEASE_DOWN] = POOL_LEASE_DOWN,
		[READY] = POOL_WORKER_READY, [ANSWER] = POOL_WORKER_ANSWER,
		[GONE] = POOL_WORKER_GONE,   [BROKEN] = POOL_WORKER_BROKEN,
		[RESIZE] = POOL_RESIZE,      [DRAIN] = POOL_DRAIN,
		[STOP] = POOL_STOP,          [TICK] = POOL_TICK,
		[OUT_OF_MEMORY] = POOL_TICK, [OPENED] = POOL_WORKER_OPENED,
		[WAITS] = POOL_WORKER_WAITS, [WAITS_NO_MORE] = POOL_WORKER_WAITS,
		[EXTEND] = POOL_EXTEND,      [CLOSE_STREAM] = POOL_CLOSE_STREAM,
		[REFUSE] = POOL_REFUSE,      [ABANDON] = POOL_ABANDON,
		[CANCEL] = POOL_CANCEL,      [CONFIGURE] = POOL_CONFIGURE,
		[PAUSE] = POOL_PAUSE,        [RESUME] = POOL_RESUME,
		[RECYCLE] = POOL_RECYCLE,    [RECYCLE_ALL] = POOL_RECYCLE,
		[KILL] = POOL_KILL_WORKER,
	};
	struct event copy = *event, *e = &copy;
	struct pool_event ev = { .random = e->random };
	const struct m_worker *w;
	struct m_request *r;

	now = e->at;
	if (e->of_index) {
		if ((w = meant(e)) == NULL)
			return;
		e->id = w->id;
		e->call_id = e->of_its_call ? its_call(w, e->pick) : e->call_id;
		e->failed = w->state == WORKER_STARTING;
	}
	if (telling)
		tell_event(e);
	if (telling && e->deed == CONFIGURE)
		tell_config(&e->config);
	switch (e->deed) {
	case CALL:
	case CHECKOUT:
	case LEASE_CALL:
		submit(e);
		return;
	case ABANDON:
	case CANCEL:
	case EXTEND:
	case CLOSE_STREAM:
	case REFUSE:
		if ((r = m_request(e->id)) == NULL || (e->deed == EXTEND && !r->running) ||
		    (e->deed == CLOSE_STREAM && !r->streaming) || (e->deed == REFUSE && r->running))
			return;
		ev.type = types[e->deed];
		ev.request = r->real;
		ev.deadline_us = e->until_call;
		break;
	case END_SESSION:
		ev.type = POOL_SESSION_END;
		ev.session = pool_session_find(pool, key_of(e->session), 1);
		if (ev.session == NULL)
			return;
		break;
	case REFUSED:
		pool_count_refused(pool);
		m.totals.received++;
		m.totals.outcome[OUTCOME_REFUSED]++;
		tally->done[OUTCOME_REFUSED]++;
		return;
	default:
		ev.type = types[e->deed];
		ev.worker_id = ev.lease_id = e->id;
		ev.call_id = e->call_id;
		ev.failed = e->failed;
		ev.not_begun = e->not_begun;
		ev.waits = e->deed == WAITS;
		ev.size = e->size;
		ev.size_max = e->size_max;
		ev.config = &e->config;
		ev.why = e->why;
	}
	mem_fail_after = e->deed == OUT_OF_MEMORY ? e->fail_after : -1;
	step(ev);
	tally->no_memory += e->deed == OUT_OF_MEMORY && mem_fail_after == -1;
	mem_fail_after = -1;
}

/* ---- a life ---- */

static void given_pool(const struct pool_config *config, uint64_t at)
{
	memset(&m, 0, sizeof m);
	now = at;
	m.config = *config;
	m.size = config->size;
	m.patience = 1;
	m.spare_since = POOL_NEVER;
	m.counter = m.cold = UINT64_C(1) << 40;
	breaker_init(&m.breaker, &m.config.breaker, 0);
	if ((pool = pool_new(&m.config)) == NULL)
		_exit(EXIT_NO_VERDICT);
	last_token = 0;
	if (telling)
		tell_config(config);
}

/* Whatever was going on: it stops, and everything is given back. */
static void then_it_stops(void)
{
	struct m_worker *w;

	if (!m.stopping)
		perform(&(struct event){ .deed = STOP, .at = now });
	EACH(w, m.workers)
	perform(&(struct event){ .deed = GONE, .at = now, .id = w->id });
	SAME(pool_next_tick(pool), POOL_NEVER, "at the end");
	tally->retries += m.totals.retries;
	tally->late += m.totals.late;
	tally->trials += m.trials;
	tally->given_up += m.given_up;
	tally->replaced += m.replaced;
	tally->turns += m.taken_turns;
	tally->contested += m.contested;
	tally->probes += m.totals.probes;
	tally->grown += m.totals.grown;
	tally->shrunk += m.totals.shrunk;
	for (unsigned i = 0; i < WHYS; i++)
		tally->left[i] += m.totals.left[i];
	tally->nested += m.nested;
	tally->deepest = m.deepest > tally->deepest ? m.deepest : tally->deepest;
	pool_free(pool);
	pool = NULL;
}

static void play(struct script *s)
{
	given_pool(&s->config, s->count > 0 ? s->events[0].at : 0);
	for (s->at = 0; s->at < s->count; s->at++)
		perform(&s->events[s->at]);
	then_it_stops();
}

#endif
