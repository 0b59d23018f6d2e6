/* pool_private.h - what the rooms of the pool share; nobody else includes it.
 *
 *   pool.c          one step, one action, the questions
 *   pool_request.c  requests: admission, queues, deadlines, hand-out
 *   pool_lease.c    leases: grant, their calls that wait, their end
 *   pool_worker.c   workers: worker_move(), starts, answers, deaths, stops
 *   pool_check.c    the invariants
 *
 * A step goes through its phases in this order (pool_step()), which settles every race the same way:
 * the event, then queued requests whose time is up, running ones, workers' timers, starts, refusals
 * because the circuit is open, hand-out of idle workers. So an answer that arrives with the deadline
 * still counts, and nothing is handed out to a request that has expired. */
#ifndef KRAIT_POOL_PRIVATE_H
#define KRAIT_POOL_PRIVATE_H

#include "pool.h"

/* Chains of a fixed table: no allocation that could fail. Ids are counted, so they spread evenly; a
 * pool of 1000 workers has chains of 4. */
#define POOL_HASH 256

#define POOL_ACTIONS (POOL_DRAINED + 1)
#define BIT(n)       (1u << (n))

/* A worker that dies by itself so soon after its HELLO, before any answer, may have failed to start. */
#define EARLY_DEATH_US 100000
/* So many such deaths in a row, and each further one counts as a failed start. */
#define EARLY_DEATHS_MAX 16
/* No memory for a worker's record: time until it is tried again. */
#define NO_MEMORY_RETRY_US 100000

/* Ids of probes; ids of requests have this bit clear, so the two never meet. */
#define PROBE_BIT (UINT64_C(1) << 63)

struct pool {
	struct pool_config config;
	struct breaker breaker;
	uint64_t now_us, random; /* of the step under way */
	bool draining, stopping;
	bool drain_told; /* POOL_DRAINED was decided for the last POOL_DRAIN */

	struct list
		in[WORKER_STATES]; /* a state is a list; the last idle one was used most recently */
	unsigned count[WORKER_STATES];
	struct list workers;  /* all but GONE, by id */
	struct list by_index; /* those that are not stopping, by index */
	struct list trials;   /* ready but not proved, in the order of ready_us */
	struct pool_worker *worker_hash[POOL_HASH];
	uint64_t last_worker_id, last_probe_id;
	uint64_t start_at_us; /* when a start that is due may happen; POOL_NEVER: none is due */
	uint64_t no_memory_until_us; /* no start before */
	unsigned early_deaths;       /* in a row */

	struct list queue[PRIORITIES];
	unsigned queued, running;
	size_t queued_bytes;

	struct list leases;
	unsigned lease_count;
	struct pool_lease *lease_hash[POOL_HASH];

	struct heap waits, runs, timers; /* deadlines of queued and running requests; of workers */

	struct list act[POOL_ACTIONS]; /* workers with an action due, by its type */
	struct list done, ended;       /* requests and leases that go back to the node */
	bool drained_due;

	struct pool_totals totals;
	struct histogram wait_us, call_us, start_us;
};

static inline unsigned pool_slot(uint64_t id)
{
	return (unsigned)(id % POOL_HASH);
}

/* `us` from now, POOL_NEVER when that is past the end of time. */
static inline uint64_t pool_in(const struct pool *p, uint64_t us)
{
	return p->now_us > POOL_NEVER - us ? POOL_NEVER : p->now_us + us;
}

static inline void heap_set(struct heap *h, struct heap_node *n, uint64_t key)
{
	heap_remove(h, n);
	if (key != POOL_NEVER)
		heap_insert(h, n, key);
}

static inline bool heap_due(const struct heap *h, uint64_t now_us)
{
	return heap_min(h) != NULL && heap_min(h)->key <= now_us;
}

/* ---- pool_request.c ---- */

void request_submit(struct pool *p, struct pool_request *r, struct pool_lease *lease);
void request_abandon(struct pool *p, struct pool_request *r);
/* Runs a call on an idle worker, or on the leased one of its lease. */
void request_run(struct pool *p, struct pool_request *r, struct pool_worker *w);
/* Ends the request; its worker, if it runs, has no owner afterwards: see worker_orphaned(). */
void request_done(struct pool *p, struct pool_request *r, enum pool_outcome outcome);
/* Its worker died in it: again, or WORKER_EXIT. */
void request_lost_worker(struct pool *p, struct pool_request *r, bool not_begun);
void requests_expire(struct pool *p);
/* Ends all that wait in the queues (not in those of leases). */
void requests_done(struct pool *p, enum pool_outcome outcome);
/* Gives idle workers to those who wait. */
void requests_serve(struct pool *p);
/* The circuit is open and nobody is there to serve: waiting makes no sense. */
bool requests_hopeless(const struct pool *p);

/* ---- pool_lease.c ---- */

struct pool_lease *lease_find(const struct pool *p, uint64_t lease_id);
/* Gives an idle worker to a checkout. */
void lease_grant(struct pool *p, struct pool_request *r, struct pool_worker *w);
/* The lease's worker has no call: runs the next one that waits and has time left, if any. */
void lease_next(struct pool *p, struct pool_lease *lease);
/* Ends the lease: calls that wait are done with `outcome`, the worker is left without lease. */
void lease_end(struct pool *p, struct pool_lease *lease, enum pool_lease_end end,
	       enum pool_outcome outcome);
/* Its owner gave it back or is gone. */
void lease_returned(struct pool *p, struct pool_lease *lease, enum pool_lease_end end);

/* ---- pool_worker.c ---- */

struct pool_worker *worker_find(const struct pool *p, uint64_t worker_id);
void worker_move(struct pool *p, struct pool_worker *w, enum worker_state to);
/* Makes `type` the worker's action of this step, instead of any other. */
void worker_act(struct pool *p, struct pool_worker *w, enum pool_action_type type);
/* Its call, probe or lease is over: on to the lease's next call, to idle, or out of a pool that has
 * shrunk. */
void pool_worker_free(struct pool *p, struct pool_worker *w);
/* It has lost its request or its lease (the field is NULL already). */
void worker_disowned(struct pool *p, struct pool_worker *w);
/* The request that it ran is done, but the call is not. */
void worker_orphaned(struct pool *p, struct pool_worker *w, enum pool_abandon how, bool timed_out);

void worker_ready(struct pool *p, struct pool_worker *w);
void worker_answered(struct pool *p, struct pool_worker *w, uint64_t call_id);
void worker_broken(struct pool *p, struct pool_worker *w);
void worker_gone(struct pool *p, struct pool_worker *w, bool not_begun);

void workers_expire(struct pool *p);
void workers_start(struct pool *p);
void workers_resize(struct pool *p, unsigned size);
void workers_stop(struct pool *p);
/* Frees those that are GONE. */
void workers_reap(struct pool *p);

#endif
