/* krait_simulate.c - the pool under load, by simulation (`make simulate`; docs/scale.md reads the results).
 *
 *   krait_simulate DATA DIR      DATA: docs/data, with what was recorded. Into DIR:
 *       runs.tsv      a line for each run and class of requests
 *       ahead.tsv     short calls, some of which are sent ahead to busy workers, or none
 *       theory.tsv    runs whose result a formula tells, and that
 *       trace_80.tsv, trace_120.tsv    two runs request by request, to be played to a real node (replay.exs)
 *       again_80.tsv, again_120.tsv    what was played, from DATA/played_*.tsv, by simulation
 *
 * The same input gives the same output, byte by byte. All plans stand in the tables here. */
#include "sim.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED     20261121
#define SERVICES 8
#define WORKERS  8
#define MS       UINT64_C(1000)

static FILE *create(const char *dir, const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	file = fopen(path, "w");
	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	return file;
}

static void done(FILE *file)
{
	bool failed = ferror(file) != 0;

	if (fclose(file) != 0 || failed) {
		fprintf(stderr, "simulation: the results could not be written\n");
		exit(1);
	}
}

/* ---- the pool under load ---- */

/* What the pool may do about a load. Times are in mean service times, so that they mean the same to short and to
 * long calls; 10000 is the node's own queue_limit. */
static const struct rules {
	const char *name;
	bool one_line;
	unsigned limit;  /* queue_limit */
	double patience; /* queue_timeout; 0: none */
} rules[] = {
	{ "one_line", true, 10000, 0 },
	{ "priorities", false, 10000, 0 },
	{ "queue_limit", false, 4 * WORKERS, 0 },
	{ "queue_timeout", false, 10000, 4 },
};

static const double loads[] = { 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2 };
/* Of the others only these, for the tables. */
static const double loads_told[] = { 0.5, 0.8, 0.95, 1.2 };

#define CALL_TIMEOUT 40.0 /* mean service times */
#define BURST        20.0
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void plan_as(struct sim_plan *plan, const struct sim_service *service, double load,
		    bool bursts, const struct rules *rule)
{
	*plan = (struct sim_plan){
		.seed = SEED,
		.workers = WORKERS,
		.service = service,
		.load = load,
		.burst_us = bursts ? BURST * service->mean_us : 0,
		.share = { 0.2, 0.5, 0.3 },
		.one_line = rule->one_line,
		.peers = 4,
		.queue_limit = rule->limit,
		.queue_timeout_us = rule->patience > 0
					    ? (uint64_t)(rule->patience * service->mean_us)
					    : POOL_NEVER,
		.call_timeout_us = (uint64_t)(CALL_TIMEOUT * service->mean_us),
		.start_us = 8 * MS, /* a fork and a HELLO: the README's `replacement` */
		.calls = 60000,
		.warm_up = 5000,
	};
}

static void write_run(FILE *out, const struct sim_plan *plan, const char *rule,
		      const struct sim_result *r)
{
	static const char *const names[] = { "high", "normal", "low", "all" };

	for (int i = 0; i <= SIM_ALL; i++) {
		const struct sim_class *c = &r->class[i];

		fprintf(out, "%s\t%s\t%s\t%.0f\t%s\t%llu\t%llu\t%llu\t%llu\t%llu\t",
			plan->service->name, plan->burst_us > 0 ? "bursts" : "poisson", rule,
			plan->load * 100, names[i], (unsigned long long)c->arrived,
			(unsigned long long)c->outcome[OUTCOME_OK],
			(unsigned long long)c->outcome[OUTCOME_OVERLOADED],
			(unsigned long long)c->outcome[OUTCOME_TIMEOUT_QUEUE],
			(unsigned long long)c->outcome[OUTCOME_TIMEOUT_CALL]);
		fprintf(out, "%.0f\t%u\t%u\t%u\t%.0f\t%u\t%u\t%u\t%.4f\t%.4f\n", sim_mean(&c->wait),
			sim_quantile(&c->wait, 0.5), sim_quantile(&c->wait, 0.99),
			sim_quantile(&c->wait, 0.999), sim_mean(&c->total),
			sim_quantile(&c->total, 0.5), sim_quantile(&c->total, 0.99),
			sim_quantile(&c->total, 0.999), r->busy, r->goodput);
	}
}

static void one_run(FILE *out, const struct sim_service *service, double load, bool bursts,
		    const struct rules *rule)
{
	struct sim_plan plan;
	struct sim_result result;

	plan_as(&plan, service, load, bursts, rule);
	sim_run(&plan, &result);
	write_run(out, &plan, rule->name, &result);
	sim_result_free(&result);
}

static void under_load(const char *dir, const struct sim_service *services, int count)
{
	FILE *out = create(dir, "runs.tsv");

	fprintf(out,
		"service\tarrivals\trules\tload\tclass\tarrived\tok\toverloaded\ttimeout_queue\t"
		"timeout_call\twait_mean\twait_p50\twait_p99\twait_p999\ttotal_mean\ttotal_p50\t"
		"total_p99\ttotal_p999\tbusy\tgoodput\n");
	for (int k = 0; k < count; k++)
		for (int bursts = 0; bursts < 2; bursts++)
			for (size_t i = 0; i < COUNT(rules); i++)
				for (size_t n = 0; n < (k == 0 ? COUNT(loads) : COUNT(loads_told));
				     n++)
					one_run(out, &services[k],
						k == 0 ? loads[n] : loads_told[n], bursts != 0,
						&rules[i]);
	done(out);
}

/* ---- sent ahead ---- */

/* Only short calls are; of these, exponential ones, which differ as much as calls of one kind may. */
static void sent_ahead(const char *dir)
{
	static const double means_us[] = { 100, 300, 1000 };
	FILE *out = create(dir, "ahead.tsv");

	fprintf(out,
		"mean\tload\tahead\tsent\trecalled\twait_mean\thigh_p99\tnormal_p99\tlow_p99\n");
	for (size_t i = 0; i < COUNT(means_us); i++)
		for (size_t n = 0; n < COUNT(loads_told); n++)
			for (unsigned ahead = 0; ahead <= 8; ahead += 8) {
				const struct sim_service service = { .mean_us = means_us[i] };
				struct sim_plan plan;
				struct sim_result r;

				plan_as(&plan, &service, loads_told[n], false, &rules[1]);
				plan.call_timeout_us = POOL_NEVER;
				plan.queue_limit = 1000;
				plan.ahead = ahead;
				sim_run(&plan, &r);
				fprintf(out, "%.0f\t%.0f\t%u\t%.4f\t%.4f\t%.0f\t%u\t%u\t%u\n",
					means_us[i], loads_told[n] * 100, ahead,
					(double)r.ahead / (double)plan.calls,
					(double)r.recalled / (double)plan.calls,
					sim_mean(&r.class[SIM_ALL].wait),
					sim_quantile(&r.class[PRIORITY_HIGH].wait, 0.99),
					sim_quantile(&r.class[PRIORITY_NORMAL].wait, 0.99),
					sim_quantile(&r.class[PRIORITY_LOW].wait, 0.99));
				sim_result_free(&r);
			}
	done(out);
}

/* ---- against formulas ---- */

#define TIMES 10 /* runs with other seeds, for the mean's error */

enum measure { MUST_WAIT, MEAN_WAIT, REFUSED, GAVE_UP, WAIT_HIGH, WAIT_LOW };

static double measured(enum measure what, const struct sim_result *r, double mean_us)
{
	const struct sim_class *all = &r->class[SIM_ALL];
	size_t waited = 0;

	switch (what) {
	case MUST_WAIT:
		for (size_t i = 0; i < all->wait.count; i++)
			waited += all->wait.us[i] > 0;
		return (double)waited / (double)all->wait.count;
	case REFUSED:
		return (double)all->outcome[OUTCOME_OVERLOADED] / (double)all->arrived;
	case GAVE_UP:
		return (double)all->outcome[OUTCOME_TIMEOUT_QUEUE] / (double)all->arrived;
	case WAIT_HIGH:
		return sim_mean(&r->class[PRIORITY_HIGH].wait) / mean_us;
	case WAIT_LOW:
		return sim_mean(&r->class[PRIORITY_LOW].wait) / mean_us;
	case MEAN_WAIT:
		break;
	}
	return sim_mean(&all->wait) / mean_us;
}

static const struct sim_service exponential = { .name = "exponential", .mean_us = 50000 };

/* A plan that a formula tells of, and what it says. */
static double theory(enum measure what, double load, struct sim_plan *plan)
{
	const unsigned limit = 16;
	const double patience = 0.5;

	*plan = (struct sim_plan){
		.workers = WORKERS,
		.service = &exponential,
		.load = load,
		.share = { 0.2, 0.5, 0.3 },
		.one_line = what != WAIT_HIGH && what != WAIT_LOW,
		.peers = 1,
		.queue_limit = what == REFUSED ? limit : 1000000,
		.queue_timeout_us =
			what == GAVE_UP ? (uint64_t)(patience * exponential.mean_us) : POOL_NEVER,
		.call_timeout_us = POOL_NEVER,
		.calls = 60000,
		.warm_up = 10000,
	};
	switch (what) {
	case MUST_WAIT:
		return theory_must_wait(WORKERS, load);
	case REFUSED:
		return theory_refused(WORKERS, load, limit);
	case GAVE_UP:
		return theory_gives_up(WORKERS, load, patience);
	case WAIT_HIGH:
		return theory_priority_wait(WORKERS, load, 0, 0.2 * load);
	case WAIT_LOW:
		return theory_priority_wait(WORKERS, load, 0.7 * load, load);
	case MEAN_WAIT:
		break;
	}
	return theory_mean_wait(WORKERS, load);
}

static void against_formula(FILE *out, const char *name, enum measure what, double load)
{
	double sum = 0, squares = 0, mean, error;
	struct sim_plan plan;
	double expected = theory(what, load, &plan);

	for (uint64_t seed = 1; seed <= TIMES; seed++) {
		struct sim_result r;
		double x;

		plan.seed = SEED + seed;
		sim_run(&plan, &r);
		x = measured(what, &r, exponential.mean_us);
		sum += x;
		squares += x * x;
		sim_result_free(&r);
	}
	mean = sum / TIMES;
	error = sqrt(fmax(squares / TIMES - mean * mean, 0) / (TIMES - 1));
	fprintf(out, "%s\t%.0f\t%.5f\t%.5f\t%.5f\n", name, load * 100, expected, mean, error);
}

static void against_formulas(const char *dir)
{
	static const struct {
		const char *name;
		enum measure what;
		bool any_load; /* also at and above 1 */
	} all[] = {
		{ "must_wait", MUST_WAIT, false }, { "mean_wait", MEAN_WAIT, false },
		{ "wait_high", WAIT_HIGH, false }, { "wait_low", WAIT_LOW, false },
		{ "queue_limit", REFUSED, true },  { "queue_timeout", GAVE_UP, true },
	};
	FILE *out = create(dir, "theory.tsv");

	fprintf(out, "measure\tload\ttheory\tsimulated\terror\n");
	for (size_t i = 0; i < COUNT(all); i++)
		for (size_t n = 0; n < COUNT(loads_told); n++)
			if (loads_told[n] < 1 || all[i].any_load)
				against_formula(out, all[i].name, all[i].what, loads_told[n]);
	done(out);
}

/* ---- beside a real node ---- */

/* The loads that replay.exs plays to a real node, and how many requests may wait there. */
static const struct {
	unsigned percent, queue_limit;
} played[] = { { 80, 1000 }, { 120, 4 * WORKERS } };

#define PLAYED_CALLS 1600

static void traced(const char *dir, const char *kind, unsigned percent, struct sim_plan *plan)
{
	char name[64];
	struct sim_result r;

	snprintf(name, sizeof name, "%s_%u.tsv", kind, percent);
	plan->trace = create(dir, name);
	fprintf(plan->trace, "at_us\tclass\tservice_us\toutcome\twait_us\ttotal_us\tid\n");
	sim_run(plan, &r);
	sim_result_free(&r);
	done(plan->trace);
}

/* What a real node is to be asked; and what came of it, once more by simulation: the same requests at the
 * times at which they really came, and served as long as they really were. */
static struct sim_plan played_plan(size_t i, const struct sim_service *service)
{
	return (struct sim_plan){
		.seed = SEED,
		.workers = WORKERS,
		.service = service,
		.load = played[i].percent / 100.0,
		.share = { 0.2, 0.5, 0.3 },
		.queue_limit = played[i].queue_limit,
		.queue_timeout_us = POOL_NEVER,
		.call_timeout_us = POOL_NEVER,
		.calls = PLAYED_CALLS,
	};
}

static void beside_a_node(const char *data, const char *dir, const struct sim_service *service)
{
	for (size_t i = 0; i < COUNT(played); i++) {
		struct sim_plan plan = played_plan(i, service);

		traced(dir, "trace", played[i].percent, &plan);
	}
	for (size_t i = 0; i < COUNT(played); i++) {
		struct sim_plan plan = played_plan(i, service);
		struct sim_arrival *arrivals;
		char path[4096];
		long count;

		snprintf(path, sizeof path, "%s/played_%u.tsv", data, played[i].percent);
		count = sim_arrivals_read(path, &arrivals);
		if (count <= 0)
			exit(1);
		plan.replay = arrivals;
		plan.calls = (uint64_t)count;
		traced(dir, "again", played[i].percent, &plan);
		free(arrivals);
	}
}

int main(int argc, char **argv)
{
	struct sim_service services[SERVICES];
	char path[4096];
	int count, at = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: krait_simulate DATA DIR\n");
		return 2;
	}
	snprintf(path, sizeof path, "%s/service_times.tsv", argv[1]);
	count = sim_services_read(path, services, SERVICES);
	if (count <= 0)
		return 1;
	while (at < count - 1 && strcmp(services[at].name, "inference") != 0)
		at++;
	under_load(argv[2], services, count);
	sent_ahead(argv[2]);
	against_formulas(argv[2]);
	beside_a_node(argv[1], argv[2], &services[at]);
	sim_services_free(services, count);
	return 0;
}
