/* pool_script.h - what happens to a pool and to its model, written down so that it can happen again.
 *
 * A script is the configuration of one pool and what happens to it, each event with its moment and all
 * that chance had to say. perform() does one of them to both, and aborts when the pool does not do exactly
 * what the model says: the same actions, the same owners, the same counters, the same next tick. An event
 * that has lost its object, since an earlier one was left out, does nothing. then_it_stops() ends whatever
 * goes on, so any part of a script is a script. */
#ifndef KRAIT_TEST_POOL_SCRIPT_H
#define KRAIT_TEST_POOL_SCRIPT_H

#include "pool_model.h"

#include "../include/mem.h"

#define EVENTS_MAX 4096

enum deed {
	CALL,
	CHECKOUT,
	LEASE_CALL,
	ABANDON,
	CHECKIN,
	LEASE_DOWN,
	READY,
	ANSWER,
	GONE,
	BROKEN,
	TICK,
	RESIZE,
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
	unsigned priority, retry, abandon, size;
	unsigned index, older;
	bool of_index, stopping, of_its_call, failed, not_begun;
	long fail_after;
};

struct script {
	struct pool_config config;
	unsigned at, count; /* the event that is under way; how many there are */
	struct event events[EVENTS_MAX];
};

/* What has happened in all lives, to see that nothing was left out. */
struct tally {
	uint64_t events, done[OUTCOMES], acts[POOL_DRAINED + 1], ends[LEASE_TIMEOUT + 1];
	uint64_t retries, late, opened, no_memory, trials, given_up;
};

static struct pool *pool;
static struct tally *tally; /* shared with the process that plays */
static uint64_t last_probe;
static bool telling; /* the script is read to the user */

/* ---- reading aloud ---- */

static const char *const deed_names[] = {
	[CALL] = "call",          [CHECKOUT] = "checkout", [LEASE_CALL] = "lease_call",
	[ABANDON] = "abandon",    [CHECKIN] = "checkin",   [LEASE_DOWN] = "owner of lease down",
	[READY] = "ready",        [ANSWER] = "answer",     [GONE] = "gone",
	[BROKEN] = "broken",      [TICK] = "tick",         [RESIZE] = "resize",
	[DRAIN] = "drain",        [STOP] = "stop",         [REFUSED] = "refused",
	[OUT_OF_MEMORY] = "tick",
};

static const char *const action_names[] = {
	[POOL_START] = "START",         [POOL_RUN] = "RUN",   [POOL_PROBE] = "PROBE",
	[POOL_INTERRUPT] = "INTERRUPT", [POOL_END] = "END",   [POOL_TERMINATE] = "TERMINATE",
	[POOL_KILL] = "KILL",           [POOL_DONE] = "DONE", [POOL_LEASE_ENDED] = "LEASE_ENDED",
	[POOL_DRAINED] = "DRAINED",
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
		if (e->retry > 0)
			tell_number("retry", e->retry);
		if (e->bytes > 0)
			tell_number("bytes", e->bytes);
		break;
	case ABANDON:
	case CHECKIN:
	case LEASE_DOWN:
		fprintf(stderr, " %" PRIu64, e->id);
		break;
	case READY:
	case ANSWER:
	case GONE:
	case BROKEN:
		tell_number("worker", e->id);
		if (e->deed == ANSWER && e->call_id >> 63)
			tell_number("probe", e->call_id & (UINT64_MAX >> 1));
		else if (e->deed == ANSWER)
			tell_number("call", e->call_id);
		fprintf(stderr, "%s", e->not_begun ? ", call not begun" : "");
		break;
	case RESIZE:
		tell_number("to", e->size);
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
	else if (a->type != POOL_DRAINED)
		fprintf(stderr, " worker %" PRIu64, a->worker_id);
	if (a->type == POOL_RUN)
		fprintf(stderr, " call %" PRIu64, a->call_id);
	fprintf(stderr, "\n");
}

static void tell_config(const struct pool_config *c)
{
	fprintf(stderr, "%10" PRIu64 " us  a pool of %u, queue limit %u", now, c->size,
		c->queue_limit);
	tell_number("and bytes", c->queue_bytes_limit);
	tell_number(", start timeout", c->start_timeout_us);
	tell_number(", interrupt grace", c->interrupt_grace_us);
	tell_number(", stop grace", c->stop_grace_us);
	fprintf(stderr, ", breaker %u of %" PRIu64 " to %" PRIu64 ", %u at once, %u/s\n",
		c->breaker.threshold, c->breaker.backoff_base_us, c->breaker.backoff_max_us,
		c->breaker.burst, c->breaker.per_second);
}

/* ---- the pool beside the model ---- */

static void take(const struct pool_action *a, unsigned *last_rank)
{
	/* Ends, then answers, then work. */
	static const unsigned rank[] = {
		[POOL_KILL] = 0,      [POOL_END] = 0,  [POOL_TERMINATE] = 0,
		[POOL_INTERRUPT] = 0, [POOL_DONE] = 1, [POOL_LEASE_ENDED] = 1,
		[POOL_START] = 2,     [POOL_RUN] = 3,  [POOL_PROBE] = 4,
		[POOL_DRAINED] = 5,
	};
	uint64_t id = a->worker_id;
	unsigned what = 0;
	struct m_act *act;

	tally->acts[a->type]++;
	if (telling)
		tell_action(a);
	SAME(rank[a->type] >= *last_rank, true, "order of %s", action_names[a->type]);
	*last_rank = rank[a->type];
	if (a->type == POOL_DRAINED) {
		SAME(true, m.must_drain, "drained");
		m.must_drain = false;
		return;
	}
	if (a->type == POOL_DONE) {
		id = a->request->id;
		what = a->request->outcome;
	} else if (a->type == POOL_LEASE_ENDED) {
		id = a->lease->id;
		what = a->lease->end;
	} else if (a->type == POOL_START) {
		what = a->index;
	}
	for (act = m.acts; act < m.acts + m.n_acts; act++)
		if (act->exists && act->type == a->type && act->id == id)
			break;
	SAME(act < m.acts + m.n_acts, true, "%s of %" PRIu64, action_names[a->type], id);
	SAME(what, act->what, "%s of %" PRIu64, action_names[a->type], id);
	act->exists = false;
	if (a->type == POOL_RUN) {
		SAME(a->request->id, act->call_id, "what runs on worker %" PRIu64, id);
		SAME(a->call_id, act->call_id, "what runs on worker %" PRIu64, id);
	} else if (a->type == POOL_PROBE) {
		SAME(a->call_id >> 63, 1, "id of a probe");
		SAME(a->call_id > last_probe, true, "id of a probe");
		last_probe = m_worker(id)->call_id = a->call_id;
	} else if (a->type == POOL_DONE) {
		SAME(a->worker_id, act->worker_id, "worker of request %" PRIu64, id);
		tally->done[what]++;
		if (a->request->kind == POOL_CHECKOUT && what != OUTCOME_OK)
			free(a->lease);
		free(a->request);
	} else if (a->type == POOL_LEASE_ENDED) {
		SAME(a->worker_id, act->worker_id, "worker of lease %" PRIu64, id);
		tally->ends[what]++;
		free(a->lease);
	}
}

/* What the worker has under way; 0: nothing, or nothing that matters. */
static uint64_t call_under_way(const struct pool_worker *w)
{
	const struct pool_slot *s = w->slot;

	return w->state == WORKER_STOPPING ? 0 : s->depth > 0 ? s->call[0].id : s->probe_id;
}

static uint64_t request_under_way(const struct pool_worker *w)
{
	const struct pool_slot *s = w->slot;

	return s->depth > 0 && s->call[0].request != NULL ? s->call[0].id : 0;
}

static void compare(void)
{
	const struct pool_totals *t = pool_totals(pool);
	struct m_worker *w;
	struct m_lease *l;
	unsigned all = 0;

	for (unsigned state = 0; state < WORKER_STATES; state++)
		SAME(pool_count(pool, state), m_count(state), "%s", worker_state_name(state));
	EACH(w, m.workers)
	{
		const struct pool_worker *real = pool_worker(pool, w->id);

		all++;
		SAME(real != NULL, true, "worker %" PRIu64, w->id);
		SAME(real->state, w->state, "worker %" PRIu64, w->id);
		SAME(call_under_way(real), w->call_id, "worker %" PRIu64, w->id);
		SAME(request_under_way(real), w->request_id, "worker %" PRIu64, w->id);
		SAME(real->slot->lease ? real->slot->lease->id : 0, w->lease_id, "worker %" PRIu64,
		     w->id);
		SAME(real->index, w->index, "worker %" PRIu64, w->id);
		SAME(real->calls, w->calls, "worker %" PRIu64, w->id);
		SAME(real->stop_phase, w->phase, "worker %" PRIu64, w->id);
		SAME(real->slot->interrupted, w->interrupted, "worker %" PRIu64, w->id);
	}
	for (const struct pool_worker *real = NULL; (real = pool_worker_after(pool, real)) != NULL;)
		all--;
	SAME(all, 0, "workers");
	EACH(l, m.leases)
	SAME(pool_lease(pool, l->id) != NULL, true, "lease %" PRIu64, l->id);
	SAME(pool_leases(pool), m_leases(), "leases");
	SAME(pool_queued(pool), m_requests(false, NULL), "queued");
	SAME(pool_running(pool), m_requests(true, NULL), "running");
	SAME(t->received, m.totals.received, "received");
	for (unsigned i = 0; i < OUTCOMES; i++)
		SAME(t->outcome[i], m.totals.outcome[i], "%s", pool_outcome_name(i));
	SAME(t->retries, m.totals.retries, "retries");
	SAME(t->starts, m.totals.starts, "starts");
	SAME(t->start_failures, m.totals.start_failures, "failures");
	SAME(t->exits, m.totals.exits, "exits");
	SAME(t->kills, m.totals.kills, "kills");
	SAME(t->interrupts, m.totals.interrupts, "interrupts");
	SAME(t->late, m.totals.late, "late");
	SAME(pool_wait_us(pool)->count, m.waits, "waits");
	SAME(pool_call_us(pool)->count, m.calls, "calls");
	SAME(pool_start_us(pool)->count, m.ready, "hellos");
	SAME(pool_breaker(pool)->failures, m.breaker.failures, "breaker");
	SAME(pool_breaker(pool)->not_before_us, m.breaker.not_before_us, "breaker");
	SAME(pool_breaker(pool)->probing, m.breaker.probing, "breaker");
	SAME(pool_draining(pool), m.draining || m.stopping, "draining");
	SAME(pool_next_tick(pool), m_next_tick(), "next tick");
}

/* ---- one event ---- */

static void step(struct pool_event ev)
{
	struct pool_action action;
	unsigned last_rank = 0, open = breaker_state(&m.breaker) != BREAKER_CLOSED;

	m.fail_after = mem_fail_after;
	m_step(&ev);
	pool_step(pool, &ev, now);
	pool_check(pool);
	while (pool_next(pool, &action))
		take(&action, &last_rank);
	pool_check(pool);
	for (unsigned i = 0; i < m.n_acts; i++)
		SAME(false, m.acts[i].exists, "%s of %" PRIu64 " is missing",
		     action_names[m.acts[i].type], m.acts[i].id);
	SAME(false, m.must_drain, "drained is missing");
	SAME(mem_fail_after, m.fail_after, "allocations");
	compare();
	tally->opened += !open && breaker_state(&m.breaker) != BREAKER_CLOSED;
}

static void submit(const struct event *e)
{
	struct pool_request *r = calloc(1, sizeof *r);
	struct pool_lease *lease = e->deed == CHECKOUT ? calloc(1, sizeof *lease) : NULL;

	if (r == NULL || (lease == NULL && e->deed == CHECKOUT))
		_exit(EXIT_NO_VERDICT);
	r->id = e->id;
	r->kind = e->deed == CALL       ? POOL_CALL
		  : e->deed == CHECKOUT ? POOL_CHECKOUT
					: POOL_LEASE_CALL;
	r->priority = (enum pool_priority)e->priority;
	r->retry = e->retry;
	r->deadline_us = e->until_call;
	r->queue_deadline_us = e->until_queue;
	r->bytes = e->bytes;
	r->abandon = (enum pool_abandon)e->abandon;
	r->lease_id = e->lease_id;
	if (lease != NULL)
		lease->id = e->lease_id;
	step((struct pool_event){
		.type = POOL_SUBMIT, .random = e->random, .request = r, .lease = lease });
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

static uint64_t its_call(const struct m_worker *w)
{
	return w->state == WORKER_STOPPING ? w->request_id : w->call_id;
}

static void perform(const struct event *event)
{
	static const enum pool_event_type types[] = {
		[CHECKIN] = POOL_CHECKIN,    [LEASE_DOWN] = POOL_LEASE_DOWN,
		[READY] = POOL_WORKER_READY, [ANSWER] = POOL_WORKER_ANSWER,
		[GONE] = POOL_WORKER_GONE,   [BROKEN] = POOL_WORKER_BROKEN,
		[RESIZE] = POOL_RESIZE,      [DRAIN] = POOL_DRAIN,
		[STOP] = POOL_STOP,          [TICK] = POOL_TICK,
		[OUT_OF_MEMORY] = POOL_TICK,
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
		e->call_id = e->of_its_call ? its_call(w) : e->call_id;
		e->failed = w->state == WORKER_STARTING;
	}
	if (telling)
		tell_event(e);
	switch (e->deed) {
	case CALL:
	case CHECKOUT:
	case LEASE_CALL:
		submit(e);
		return;
	case ABANDON:
		if ((r = m_request(e->id)) == NULL)
			return;
		ev.type = POOL_ABANDON;
		ev.request = r->real;
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
		ev.size = e->size;
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
	breaker_init(&m.breaker, &m.config.breaker, 0);
	if ((pool = pool_new(&m.config)) == NULL)
		_exit(EXIT_NO_VERDICT);
	last_probe = UINT64_C(1) << 63;
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
