/* sim.h - the pool core at work in a world that is made of numbers: arrivals, service times, patience.
 *
 *     sim_run(&plan, &result);        one run: the same plan gives the same result, on any machine
 *
 * What decides is the core that the node runs (pool.h), unchanged; what is simulated is everything around it:
 *
 *     arrivals -> POOL_SUBMIT            POOL_RUN   -> the worker answers when the service time is over
 *     a caller dies -> POOL_ABANDON      POOL_KILL  -> POOL_WORKER_GONE
 *     pool_next_tick() -> POOL_TICK      POOL_START -> POOL_WORKER_READY start_us later
 *
 * Time is the simulation's own, in microseconds; nothing costs time but service and starts, unless
 * overhead_us says so. Chance comes from four streams of one seed (when, how long, whose, how patient), so
 * that plans which differ in their rules alone meet the same requests.
 *
 * Loads are shares of what the workers can do: 1.0 brings as much work as they can finish. */
#ifndef KRAIT_SIM_H
#define KRAIT_SIM_H

#include "pool.h"

#include <stdio.h>

/* ---- chance (sim_draw.c) ---- */

struct sim_random {
	uint64_t state;
};

void sim_random_seed(struct sim_random *r, uint64_t seed, uint64_t stream);
uint64_t sim_random_bits(struct sim_random *r);
double sim_random_unit(struct sim_random *r); /* in (0, 1] */
double sim_random_exponential(struct sim_random *r, double mean);

/* Service times. Recorded ones are drawn with equal chance; without any they are exponential. */
struct sim_service {
	char name[32];
	double mean_us;
	uint32_t *us;
	size_t count;
};

/* Reads lines `name us us us ...` (`#` begins a comment) into `services`, at most `max`. Returns how many,
 * or -1 with a message on stderr. The caller frees them with sim_services_free(). */
int sim_services_read(const char *path, struct sim_service *services, int max)
	__attribute__((warn_unused_result));
void sim_services_free(struct sim_service *services, int count);
uint64_t sim_service_draw(const struct sim_service *s, struct sim_random *r); /* at least 1 */

/* Poisson arrivals; or bursts, in which BURST_FACTOR times as many come as on average, quiet between. Bursts
 * last burst_us on average, a quarter of the time in all; two thirds of the average come between them. */
#define SIM_BURST_FACTOR 2.0
#define SIM_BURST_SHARE  0.25

struct sim_arrivals {
	double mean_gap_us, burst_us; /* burst_us 0: Poisson */
	bool burst;
	double till_us, at_us; /* when this burst or pause ends; the last arrival */
};

uint64_t sim_arrivals_next(struct sim_arrivals *a, struct sim_random *r);

/* What came when, instead of chance: see `replay` below. */
struct sim_arrival {
	uint64_t at_us, service_us;
	unsigned class; /* enum pool_priority */
};

/* Reads lines `at_us class service_us ...` (class: 0 to 2; what follows is not looked at; the first line and `#`
 * are skipped) in the order of arrival. Returns how many, or -1 with a message; free(*arrivals). */
long sim_arrivals_read(const char *path, struct sim_arrival **arrivals)
	__attribute__((warn_unused_result));

/* ---- a run (sim.c) ---- */

struct sim_plan {
	uint64_t seed;
	unsigned workers;
	const struct sim_service *service;
	double load;
	double burst_us;          /* 0: Poisson */
	double share[PRIORITIES]; /* of the requests; they add up to 1 */
	bool one_line;            /* all are submitted as `normal`: no priorities */
	unsigned peers;           /* that the requests come from, in equal parts */
	unsigned ahead;           /* as the options of these names */
	unsigned queue_limit;
	uint64_t queue_timeout_us; /* POOL_NEVER: none */
	uint64_t call_timeout_us;
	double patience_us; /* callers die after so long on average, exponentially; 0: none dies */
	uint64_t start_us;  /* from POOL_START to HELLO */
	uint64_t overhead_us;    /* added to each service time */
	uint64_t calls, warm_up; /* requests in all; the first of them, which are not counted */
	const struct sim_arrival *replay; /* `calls` of them: these come, and load says nothing */
	bool checked;                     /* pool_check() and the books at every step */
	FILE *trace; /* a line for each request in the order of arrival; NULL: none */
};

struct sim_values {
	uint32_t *us;
	size_t count, room;
};

struct sim_class {
	uint64_t arrived, outcome[OUTCOMES];
	struct sim_values wait;  /* arrival to begin, of all that began */
	struct sim_values total; /* arrival to answer, of those answered OK; both sorted */
};

struct sim_result {
	struct sim_class class[PRIORITIES + 1]; /* by priority; the last: all together */
	double window_s;                        /* from the first counted arrival to the last one */
	double busy;    /* share of the workers' time in that window in which they ran something */
	double goodput; /* and ran what was answered OK */
	uint64_t starts, steps, ahead, recalled; /* requests sent ahead, and had back */
	uint64_t digest;  /* of all that was decided, in order, with its time */
	uint64_t unsound; /* steps after which the books did not balance (`checked`) */
};

#define SIM_ALL PRIORITIES

/* Ends the program when there is no memory: this is a tool. */
void sim_run(const struct sim_plan *plan, struct sim_result *result);
void sim_result_free(struct sim_result *result);

double sim_mean(const struct sim_values *v);
uint32_t sim_quantile(const struct sim_values *v,
		      double q); /* sorted; the smallest that is enough */

/* ---- what theory says (sim_theory.c): c servers, exponential times of mean 1 / mu, Poisson arrivals ---- */

/* Erlang C: the chance that an arrival must wait. `load` < 1 per server. */
double theory_must_wait(unsigned c, double load);
/* The mean wait, in service times. */
double theory_mean_wait(unsigned c, double load);
/* The chance that it waits longer than t service times. */
double theory_waits_longer(unsigned c, double load, double t);
/* The mean wait of a class with priority, without interruption (Cobham): `above` is the load of those before
 * it, `with` that and its own. */
double theory_priority_wait(unsigned c, double load, double above, double with);
/* The chance to be refused when `limit` may wait (M/M/c/c+limit). Any load. */
double theory_refused(unsigned c, double load, unsigned limit);
/* The chance to give up when nobody waits longer than t service times (M/M/c+D). Any load but 1. */
double theory_gives_up(unsigned c, double load, double t);

#endif
