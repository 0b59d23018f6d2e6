/* sim.c - one run of the simulation; see sim.h.
 *
 * The happy path: the next arrival -> POOL_SUBMIT -> POOL_RUN puts a job on its worker -> the job is over ->
 * POOL_WORKER_ANSWER -> POOL_DONE, the request is counted and freed. What happens
 * next is the first in one heap, in which jobs, workers and impatient callers have a place of their own; the
 * pool's ticks come before it.
 * What can go wrong, in the world that is simulated: a call's time is up (POOL_KILL: the worker is gone, a new
 * one starts), its caller dies, the queue is full.
 *
 * When all requests have arrived the run goes on until each is done. Counted are those behind the warm-up. */
#include "sim_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests ---- */

static struct sim_request *request_new(struct sim *s)
{
	const struct sim_plan *plan = s->plan;
	struct sim_request *r = s->free_requests;
	double unit = sim_random_unit(&s->whose);

	if (r != NULL) {
		s->free_requests = r->next_free;
		memset(r, 0, sizeof *r);
	} else {
		r = sim_new(sizeof *r);
	}
	while (r->class < PRIORITIES - 1 && unit > plan->share[r->class]) {
		unit -= plan->share[r->class];
		r->class += 1;
	}
	r->arrived_us = s->now_us;
	if (plan->replay != NULL) {
		r->class = plan->replay[s->arrived].class;
		r->service_us = plan->replay[s->arrived].service_us;
	} else {
		r->service_us = sim_service_draw(plan->service, &s->how_long);
	}
	r->counted = s->arrived >= plan->warm_up;
	r->pool = (struct pool_request){
		.id = ++s->arrived,
		.priority = plan->one_line ? PRIORITY_NORMAL : (enum pool_priority)r->class,
		.peer = (unsigned)(1 + sim_random_bits(&s->whose) %
					       (plan->peers > 0 ? plan->peers : 1)),
		.deadline_us = plan->call_timeout_us == POOL_NEVER
				       ? POOL_NEVER
				       : s->now_us + plan->call_timeout_us,
		.queue_deadline_us = plan->queue_timeout_us == POOL_NEVER
					     ? POOL_NEVER
					     : s->now_us + plan->queue_timeout_us,
		.abandon = ABANDON_KILL,
		.plain = plan->ahead > 0,
	};
	if (plan->patience_us > 0)
		sim_happens(s, &r->patience, PATIENCE_OVER,
			    s->now_us + (uint64_t)sim_random_exponential(&s->how_patient,
									 plan->patience_us));
	return r;
}

static void request_done(struct sim *s, struct sim_request *r)
{
	enum pool_outcome outcome = r->pool.outcome;

	s->done++;
	s->of[outcome]++;
	if (r->counted) {
		s->result->class[r->class].outcome[outcome]++;
		s->result->class[SIM_ALL].outcome[outcome]++;
	}
	if (outcome == OUTCOME_OK) {
		sim_count(s, r, true, s->now_us - r->arrived_us);
		s->good_us += sim_within(s, r->began_us, s->now_us);
	}
	sim_job_forget(r);
	if (s->plan->trace != NULL)
		fprintf(s->plan->trace, "%llu\t%d\t%llu\t%s\t%llu\t%llu\t%llu\n",
			(unsigned long long)r->arrived_us, (int)r->class,
			(unsigned long long)r->service_us, pool_outcome_name(outcome),
			(unsigned long long)(r->began ? r->began_us - r->arrived_us : 0),
			(unsigned long long)(s->now_us - r->arrived_us),
			(unsigned long long)r->pool.id);
	heap_remove(&s->moments, &r->patience.at);
	r->next_free = s->free_requests;
	s->free_requests = r;
}

/* ---- the pool ---- */

static void perform(struct sim *s, const struct pool_action *a)
{
	struct sim_worker *w = sim_worker_of(s, a->worker_id);

	sim_digest(s, s->now_us);
	sim_digest(s, a->type);
	sim_digest(s, a->worker_id);
	sim_digest(s, a->call_id);
	switch (a->type) {
	case POOL_START:
		sim_worker_start(s, a->worker_id);
		break;
	case POOL_RUN:
	case POOL_AHEAD:
		sim_job_new(s, w, (struct sim_request *)(void *)a->request);
		break;
	case POOL_RECALL:
		w->recall = true;
		s->recall = true;
		break;
	case POOL_BEGUN: /* its worker has said so */
		break;
	case POOL_DONE:
		request_done(s, (struct sim_request *)(void *)a->request);
		break;
	case POOL_KILL:
	case POOL_END:
		sim_happens(s, &w->moment, WORKER_REAPED, s->now_us + REAP_US);
		break;
	default:
		/* The plans have no leases, sessions, streams, probes and interrupts, and every
		 * end is the last word: who was told POOL_END is gone before POOL_TERMINATE. */
		fprintf(stderr, "simulation: the pool says %d, which no plan asks for\n", a->type);
		abort();
	}
}

static void look_at_books(struct sim *s)
{
	const struct pool_totals *t = pool_totals(s->pool);
	uint64_t inside = (uint64_t)pool_queued(s->pool) + pool_running(s->pool);
	uint64_t ended = 0;
	bool sound = s->arrived == s->done + inside && t->received == s->arrived;

	for (int i = 0; i < OUTCOMES; i++) {
		ended += s->of[i];
		sound = sound && t->outcome[i] == s->of[i];
	}
	if (!sound || ended != s->done)
		s->result->unsound++;
	pool_check(s->pool);
}

static void step_once(struct sim *s, struct pool_event ev)
{
	struct pool_action action;

	ev.random = s->result->steps++ * UINT64_C(0x9e3779b97f4a7c15);
	pool_step(s->pool, &ev, s->now_us);
	while (pool_next(s->pool, &action))
		perform(s, &action);
	if (s->plan->checked)
		look_at_books(s);
}

/* What is had back is told before anything else of that worker. */
static void tell_recalled(struct sim *s)
{
	struct list *at, *next;

	s->recall = false;
	list_each (at, next, &s->workers) {
		struct sim_worker *w = list_entry(at, struct sim_worker, link);
		uint64_t ids[POOL_AHEAD_MAX];

		if (!w->recall)
			continue;
		w->recall = false;
		step_once(s, (struct pool_event){ .type = POOL_RECALLED,
						  .worker_id = w->id,
						  .call_ids = ids,
						  .count = sim_jobs_recall(s, w, ids) });
	}
}

static void step(struct sim *s, struct pool_event ev)
{
	step_once(s, ev);
	while (s->recall)
		tell_recalled(s);
}

/* ---- what happens ---- */

static void await_arrival(struct sim *s)
{
	sim_happens(s, &s->arrival, ARRIVAL,
		    s->plan->replay != NULL
			    ? s->plan->start_us + 1 + s->plan->replay[s->arrived].at_us
			    : sim_arrivals_next(&s->arrivals, &s->when));
}

static void arrive(struct sim *s)
{
	struct sim_request *r = request_new(s);

	if (r->counted) {
		if (s->from_us == 0)
			s->from_us = s->now_us;
		s->result->class[r->class].arrived++;
		s->result->class[SIM_ALL].arrived++;
	}
	if (s->arrived < s->plan->calls)
		await_arrival(s);
	else
		s->till_us = s->now_us;
	step(s, (struct pool_event){ .type = POOL_SUBMIT, .request = &r->pool });
}

static void job_over(struct sim *s, struct sim_worker *w)
{
	uint64_t taken, id = w->id, call_id = sim_job_over(s, w, &taken);

	if (taken != 0)
		step(s, (struct pool_event){
				.type = POOL_WORKER_TAKEN, .worker_id = id, .call_id = taken });
	step(s, (struct pool_event){
			.type = POOL_WORKER_ANSWER, .worker_id = id, .call_id = call_id });
}

static void happen(struct sim *s, struct moment *m)
{
	struct sim_worker *w = heap_entry(m, struct sim_worker, moment);
	uint64_t id;

	switch (m->what) {
	case ARRIVAL:
		arrive(s);
		break;
	case JOB_OVER:
		job_over(s, w);
		break;
	case WORKER_HELLO:
		step(s, (struct pool_event){ .type = POOL_WORKER_READY, .worker_id = w->id });
		break;
	case WORKER_REAPED:
		id = w->id;
		sim_worker_free(s, w);
		step(s, (struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = id });
		break;
	case PATIENCE_OVER:
		step(s, (struct pool_event){
				.type = POOL_ABANDON,
				.request = &heap_entry(m, struct sim_request, patience)->pool });
		break;
	}
}

static bool next_moment(struct sim *s)
{
	struct heap_node *first = heap_min(&s->moments);
	uint64_t tick = pool_next_tick(s->pool);

	if (s->arrived == s->plan->calls && s->done == s->arrived)
		return false;
	if (first == NULL || tick <= first->key) {
		assert(tick != POOL_NEVER);
		s->now_us = tick > s->now_us ? tick : s->now_us;
		step(s, (struct pool_event){ .type = POOL_TICK });
		return true;
	}
	s->now_us = first->key;
	heap_remove(&s->moments, first);
	happen(s, heap_entry(first, struct moment, at));
	return true;
}

/* ---- begin and end ---- */

static void begin(struct sim *s)
{
	const struct sim_plan *plan = s->plan;
	const struct pool_config config = {
		.size = plan->workers,
		.ahead = plan->ahead,
		.queue_limit = plan->queue_limit,
		.queue_bytes_limit = SIZE_MAX,
		.start_timeout_us = 60000000,
		.interrupt_grace_us = 1000000,
		.stop_grace_us = 1000000,
		/* so many starts as an overload with time-outs wants */
		.breaker = { .threshold = 5,
			     .backoff_base_us = 100000,
			     .backoff_max_us = 30000000,
			     .burst = 256,
			     .per_second = 100 },
	};

	sim_random_seed(&s->when, plan->seed, 1);
	sim_random_seed(&s->how_long, plan->seed, 2);
	sim_random_seed(&s->whose, plan->seed, 3);
	sim_random_seed(&s->how_patient, plan->seed, 4);
	list_init(&s->workers);
	s->pool = pool_new(&config);
	if (s->pool == NULL) {
		fprintf(stderr, "simulation: no memory\n");
		exit(1);
	}
	step(s, (struct pool_event){ .type = POOL_TICK });
	/* All workers are there before the first request comes. */
	s->arrivals = (struct sim_arrivals){
		.mean_gap_us = plan->replay != NULL
				       ? 0
				       : plan->service->mean_us / (plan->workers * plan->load),
		.burst_us = plan->burst_us,
		.at_us = (double)plan->start_us + 1,
		.till_us = (double)plan->start_us + 1,
	};
	await_arrival(s);
}

static void end(struct sim *s)
{
	struct list *at, *next;

	step(s, (struct pool_event){ .type = POOL_STOP });
	list_each (at, next, &s->workers) {
		uint64_t id = list_entry(at, struct sim_worker, link)->id;

		sim_worker_free(s, list_entry(at, struct sim_worker, link));
		step(s, (struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = id });
	}
	pool_free(s->pool);
	while (s->free_requests != NULL) {
		struct sim_request *r = s->free_requests;

		s->free_requests = r->next_free;
		free(r);
	}
}

void sim_run(const struct sim_plan *plan, struct sim_result *result)
{
	struct sim s = { .plan = plan, .result = result };
	double worker_us;

	assert(plan->calls > plan->warm_up && plan->workers > 0);
	*result = (struct sim_result){ .digest = UINT64_C(0xcbf29ce484222325) };
	begin(&s);
	while (next_moment(&s))
		;
	result->starts = pool_totals(s.pool)->starts;
	result->ahead = pool_totals(s.pool)->ahead;
	result->recalled = pool_totals(s.pool)->recalled;
	result->window_s = (double)(s.till_us - s.from_us) / 1e6;
	worker_us = (double)(s.till_us - s.from_us) * plan->workers;
	result->busy = s.busy_us / worker_us;
	result->goodput = s.good_us / worker_us;
	end(&s);
	sim_result_sort(result);
}
