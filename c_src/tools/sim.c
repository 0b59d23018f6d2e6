/* sim.c - one run of the simulation; see sim.h.
 *
 * The happy path: the next arrival -> POOL_SUBMIT -> POOL_RUN puts a job on its worker -> the job is over ->
 * POOL_WORKER_ANSWER -> POOL_DONE, the request is counted and freed. A worker does its jobs one after the
 * other, in the order in which they were sent, as the real one reads its pipe. What happens next is the first
 * in one heap, in which jobs, workers and impatient callers have a place of their own; the pool's ticks come
 * before it.
 * What can go wrong, in the world that is simulated: a call's time is up (POOL_KILL: the worker is gone, a new
 * one starts), its caller dies, the queue is full.
 *
 * When all requests have arrived the run goes on until each is done. Counted are those behind the warm-up. */
#include "sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A killed process is reaped about so much later. */
#define REAP_US 1000

enum happening { ARRIVAL, JOB_OVER, WORKER_HELLO, WORKER_REAPED, PATIENCE_OVER };

struct moment {
	struct heap_node at;
	enum happening what;
};

struct sim_request {
	struct pool_request pool; /* first: the pool's pointer is ours */
	struct moment patience;
	unsigned class; /* enum pool_priority */
	bool counted, began;
	uint64_t arrived_us, service_us, began_us;
	struct sim_request *next_free;
};

struct job {
	struct list link;            /* in its worker's */
	struct sim_request *request; /* NULL: done before its worker was */
	uint64_t call_id, service_us, began_us;
};

struct sim_worker {
	struct list link;
	uint64_t id;
	struct moment moment; /* of its first job; or its HELLO, its end */
	struct list jobs;
};

struct sim {
	const struct sim_plan *plan;
	struct sim_result *result;
	struct pool *pool;
	uint64_t now_us, from_us, till_us; /* the window that counts; till: 0 while it is open */
	struct heap moments;
	struct moment arrival;
	struct list workers;
	struct sim_arrivals arrivals;
	struct sim_random when, how_long, whose, how_patient;
	uint64_t arrived, done; /* the books */
	uint64_t of[OUTCOMES];
	double busy_us, good_us; /* within the window */
	struct sim_request *free_requests;
};

static void *new_zeroed(size_t size)
{
	void *new = calloc(1, size);

	if (new == NULL) {
		fprintf(stderr, "simulation: no memory\n");
		exit(1);
	}
	return new;
}

static void values_add(struct sim_values *v, uint64_t us)
{
	if (v->count == v->room) {
		uint32_t *more;

		v->room = v->room == 0 ? 1024 : 2 * v->room;
		more = realloc(v->us, v->room * sizeof *more);
		if (more == NULL) {
			fprintf(stderr, "simulation: no memory\n");
			exit(1);
		}
		v->us = more;
	}
	v->us[v->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void count_value(struct sim *s, const struct sim_request *r, bool total, uint64_t us)
{
	struct sim_class *both[] = { &s->result->class[r->class], &s -> result -> class[SIM_ALL] };

	for (int i = 0; r->counted && i < 2; i++)
		values_add(total ? &both[i]->total : &both[i]->wait, us);
}

/* FNV-1a of all that is decided, and when. */
static void digest(struct sim *s, uint64_t word)
{
	for (int i = 0; i < 64; i += 8)
		s->result->digest =
			(s->result->digest ^ ((word >> i) & 0xff)) * UINT64_C(0x100000001b3);
}

static void happens(struct sim *s, struct moment *m, enum happening what, uint64_t at_us)
{
	heap_remove(&s->moments, &m->at);
	m->what = what;
	heap_insert(&s->moments, &m->at, at_us);
}

/* ---- workers ---- */

static struct sim_worker *worker_of(struct sim *s, uint64_t id)
{
	struct list *at, *next;

	list_each (at, next, &s->workers)
		if (list_entry(at, struct sim_worker, link)->id == id)
			return list_entry(at, struct sim_worker, link);
	return NULL;
}

static void worker_start(struct sim *s, uint64_t id)
{
	struct sim_worker *w = new_zeroed(sizeof *w);

	w->id = id;
	list_init(&w->jobs);
	list_append(&s->workers, &w->link);
	happens(s, &w->moment, WORKER_HELLO, s->now_us + s->plan->start_us);
}

static void job_begin(struct sim *s, struct sim_worker *w)
{
	struct job *j = list_entry(w->jobs.next, struct job, link);
	struct sim_request *r = j->request;

	j->began_us = s->now_us;
	if (r != NULL && !r->began) {
		r->began = true;
		r->began_us = s->now_us;
		count_value(s, r, false, s->now_us - r->arrived_us);
	}
	happens(s, &w->moment, JOB_OVER, s->now_us + j->service_us);
}

static void job_new(struct sim *s, struct sim_worker *w, struct sim_request *r)
{
	struct job *j = new_zeroed(sizeof *j);
	bool at_once = list_empty(&w->jobs);

	j->request = r;
	j->call_id = r->pool.id;
	j->service_us = r->service_us + s->plan->overhead_us;
	list_append(&w->jobs, &j->link);
	if (at_once)
		job_begin(s, w);
}

/* How much of a job lies within the window. */
static double within(const struct sim *s, uint64_t from_us, uint64_t to_us)
{
	if (from_us < s->from_us)
		from_us = s->from_us;
	if (s->till_us != 0 && to_us > s->till_us)
		to_us = s->till_us;
	return s->from_us != 0 && to_us > from_us ? (double)(to_us - from_us) : 0;
}

/* Takes the worker's first job away. */
static void job_end(struct sim *s, struct sim_worker *w)
{
	struct job *j = list_entry(w->jobs.next, struct job, link);

	if (j->began_us != 0)
		s->busy_us += within(s, j->began_us, s->now_us);
	list_remove(&j->link);
	free(j);
}

static void worker_free(struct sim *s, struct sim_worker *w)
{
	while (!list_empty(&w->jobs))
		job_end(s, w);
	heap_remove(&s->moments, &w->moment.at);
	list_remove(&w->link);
	free(w);
}

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
		r = new_zeroed(sizeof *r);
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
	};
	if (plan->patience_us > 0)
		happens(s, &r->patience, PATIENCE_OVER,
			s->now_us + (uint64_t)sim_random_exponential(&s->how_patient,
								     plan->patience_us));
	return r;
}

static void request_done(struct sim *s, struct sim_request *r)
{
	enum pool_outcome outcome = r->pool.outcome;
	struct list *at, *next;
	struct sim_worker *w = worker_of(s, r->pool.worker_id);

	s->done++;
	s->of[outcome]++;
	if (r->counted) {
		s->result->class[r->class].outcome[outcome]++;
		s->result->class[SIM_ALL].outcome[outcome]++;
	}
	if (outcome == OUTCOME_OK) {
		count_value(s, r, true, s->now_us - r->arrived_us);
		s->good_us += within(s, r->began_us, s->now_us);
	}
	if (w != NULL)
		list_each (at, next, &w->jobs)
			if (list_entry(at, struct job, link)->request == r)
				list_entry(at, struct job, link)->request = NULL;
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
	struct sim_worker *w = worker_of(s, a->worker_id);

	digest(s, s->now_us);
	digest(s, a->type);
	digest(s, a->worker_id);
	digest(s, a->call_id);
	switch (a->type) {
	case POOL_START:
		worker_start(s, a->worker_id);
		break;
	case POOL_RUN:
		job_new(s, w, (struct sim_request *)(void *)a->request);
		break;
	case POOL_DONE:
		request_done(s, (struct sim_request *)(void *)a->request);
		break;
	case POOL_KILL:
	case POOL_END:
		happens(s, &w->moment, WORKER_REAPED, s->now_us + REAP_US);
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

static void step(struct sim *s, struct pool_event ev)
{
	struct pool_action action;

	ev.random = s->result->steps++ * UINT64_C(0x9e3779b97f4a7c15);
	pool_step(s->pool, &ev, s->now_us);
	while (pool_next(s->pool, &action))
		perform(s, &action);
	if (s->plan->checked)
		look_at_books(s);
}

/* ---- what happens ---- */

static void await_arrival(struct sim *s)
{
	happens(s, &s->arrival, ARRIVAL,
		s->plan->replay != NULL ? s->plan->start_us + 1 + s->plan->replay[s->arrived].at_us
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
	uint64_t call_id = list_entry(w->jobs.next, struct job, link)->call_id, id = w->id;

	job_end(s, w);
	if (!list_empty(&w->jobs))
		job_begin(s, w);
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
		worker_free(s, w);
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

		worker_free(s, list_entry(at, struct sim_worker, link));
		step(s, (struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = id });
	}
	pool_free(s->pool);
	while (s->free_requests != NULL) {
		struct sim_request *r = s->free_requests;

		s->free_requests = r->next_free;
		free(r);
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sort(struct sim_values *v)
{
	if (v->count > 0)
		qsort(v->us, v->count, sizeof *v->us, by_value);
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
	result->window_s = (double)(s.till_us - s.from_us) / 1e6;
	worker_us = (double)(s.till_us - s.from_us) * plan->workers;
	result->busy = s.busy_us / worker_us;
	result->goodput = s.good_us / worker_us;
	end(&s);
	for (int i = 0; i <= SIM_ALL; i++) {
		sort(&result->class[i].wait);
		sort(&result->class[i].total);
	}
}

void sim_result_free(struct sim_result *result)
{
	for (int i = 0; i <= SIM_ALL; i++) {
		free(result->class[i].wait.us);
		free(result->class[i].total.us);
	}
	*result = (struct sim_result){ 0 };
}

double sim_mean(const struct sim_values *v)
{
	double sum = 0;

	for (size_t i = 0; i < v->count; i++)
		sum += v->us[i];
	return v->count > 0 ? sum / (double)v->count : 0;
}

uint32_t sim_quantile(const struct sim_values *v, double q)
{
	size_t at = (size_t)(q * (double)v->count);

	if (v->count == 0)
		return 0;
	return v->us[at < v->count ? at : v->count - 1];
}
