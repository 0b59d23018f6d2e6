/* sim_world.h - what one run of the simulation consists of; see sim.h. For sim*.c alone. */
#ifndef KRAIT_SIM_WORLD_H
#define KRAIT_SIM_WORLD_H

#include "sim.h"

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
	struct job *job; /* on a worker; NULL: none */
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
	struct list jobs;     /* the first one is under way, the others were sent ahead */
	bool recall;          /* POOL_RECALL was said */
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
	bool recall; /* some worker's is to be told */
};

/* ---- sim_worker.c ---- */

/* Zeroed memory; ends the program when there is none. */
void *sim_new(size_t size);
/* That moment is to come at that time, and at no other. */
void sim_happens(struct sim *s, struct moment *m, enum happening what, uint64_t at_us);
/* How much of a time lies within the window that counts. */
double sim_within(const struct sim *s, uint64_t from_us, uint64_t to_us);

struct sim_worker *sim_worker_of(struct sim *s, uint64_t id); /* NULL: there is none */
void sim_worker_start(struct sim *s, uint64_t id);
void sim_worker_free(struct sim *s, struct sim_worker *w);
/* The worker is sent a request. */
void sim_job_new(struct sim *s, struct sim_worker *w, struct sim_request *r);
/* Its first job is over, and the next one, if there is one, begins: *taken is its call, else 0. Returns the call
 * that is over. */
uint64_t sim_job_over(struct sim *s, struct sim_worker *w, uint64_t *taken);
/* Takes those back that were sent ahead and have not begun: their calls, POOL_AHEAD_MAX at most. */
unsigned sim_jobs_recall(struct sim *s, struct sim_worker *w, uint64_t *call_ids);
/* The request is done and is to be forgotten, whether its worker knows of that or not. */
void sim_job_forget(struct sim_request *r);

/* ---- sim_result.c ---- */

/* A time of that request, for its class and for all; nothing, if it is not counted. */
void sim_count(struct sim *s, const struct sim_request *r, bool total, uint64_t us);
void sim_digest(struct sim *s, uint64_t word);
void sim_result_sort(struct sim_result *r);

#endif
