/* pool.h - who holds which worker, who waits, and what must happen next. Pure: events in, actions out.
 *
 *     pool_step(pool, &event, now_us);
 *     while (pool_next(pool, &action))
 *             perform(&action);
 *
 * No system call, no clock, no randomness of its own. Nothing in here allocates except a worker's
 * record when a start is decided (a failure there is retried later) and a lease's record, which a
 * checkout brings along; so nothing fails for memory once a request has been admitted.
 *
 * Worker states: a state is a list, worker_move() the only one that moves.
 *
 *     starting -> idle -> leased <-> busy      busy -> probing -> idle | leased
 *         \         \        \         \           (an interrupted call was answered: one ping proves
 *          +---------+--------+---------+--> stopping -> gone      that the signal hit nobody else)
 *
 * Requests: queued -> running -> done; done is told by exactly one POOL_DONE action per request, with
 * exactly one outcome. The owner of a request's memory is the node: it lends it with POOL_SUBMIT and
 * gets it back with POOL_DONE.
 *
 * Abandon: when the caller of a running call is gone, or its time is up, the request is done at once,
 * but the worker does not serve anybody before it is clean:
 *     kill       POOL_KILL; a replacement starts in the same step
 *     interrupt  POOL_INTERRUPT; its answer -> probing -> PONG -> idle; no answer within
 *                interrupt_grace -> kill
 *     finish     it stays busy until it answers; the answer is dropped
 *
 * Invariants: DESIGN section 4, 1 to 7; pool_check() proves them after every step in tests and debug
 * builds. All times are microseconds of one monotonic clock; POOL_NEVER means no deadline. */
#ifndef KRAIT_POOL_H
#define KRAIT_POOL_H

#include "breaker.h"
#include "heap.h"
#include "histogram.h"
#include "list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_NEVER UINT64_MAX

enum worker_state {
	WORKER_STARTING,
	WORKER_IDLE,
	WORKER_LEASED, /* held by a lease, no call running */
	WORKER_BUSY,   /* a call is running, of a lease or not */
	WORKER_PROBING,
	WORKER_STOPPING, /* told or forced to end; serves nobody */
	WORKER_GONE,
	WORKER_STATES
};

enum pool_abandon { ABANDON_KILL, ABANDON_INTERRUPT, ABANDON_FINISH };

enum pool_priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW, PRIORITIES };

enum pool_kind {
	POOL_CALL,       /* one call on any free worker */
	POOL_CHECKOUT,   /* wants a lease */
	POOL_LEASE_CALL, /* a call on the worker of a lease */
};

/* How a request ended. Everything but OK and ABANDONED is an answer with an error. */
enum pool_outcome {
	OUTCOME_OK,        /* the worker answered (call), or the lease is granted (checkout) */
	OUTCOME_ABANDONED, /* the caller is gone: nobody is answered */
	OUTCOME_TIMEOUT_QUEUE,
	OUTCOME_TIMEOUT_CALL,
	OUTCOME_OVERLOADED,
	OUTCOME_WORKER_EXIT, /* the worker ended in the call, retries used up */
	OUTCOME_CIRCUIT_OPEN,
	OUTCOME_LEASE_CLOSED,
	OUTCOME_DRAINING,
	OUTCOME_REFUSED, /* never queued: a bad request; the node has said what was wrong */
	OUTCOMES
};

/* One request, embedded in the node's own. Fields above the line are set by the node before
 * POOL_SUBMIT; the rest is the pool's, zeroed by the node. */
struct pool_request {
	uint64_t id;
	enum pool_kind kind;
	enum pool_priority priority;
	unsigned retry;             /* how often it may run again after a worker's death */
	uint64_t deadline_us;       /* absolute, of the whole request */
	uint64_t queue_deadline_us; /* absolute, of the wait */
	size_t bytes;               /* its payload, for queue_bytes_limit */
	uint64_t lease_id; /* LEASE_CALL: which; CHECKOUT: the id that the lease will have */
	enum pool_abandon abandon; /* what happens to the worker when this is abandoned */
	/* ---- the pool's ---- */
	enum request_state { REQUEST_NEW, REQUEST_QUEUED, REQUEST_RUNNING, REQUEST_DONE } state;
	enum pool_outcome outcome;
	uint64_t arrival; /* its number in the order of arrival */
	struct list link; /* in a queue, a lease's queue, or the done list */
	struct heap_node timer;
	struct pool_worker *worker; /* while running */
	uint64_t worker_id;       /* where it ran last, or the lease was granted; 0: nowhere yet */
	struct pool_lease *lease; /* CHECKOUT: the record it brought along */
	uint64_t arrived_us, started_us, done_us;
};

/* One lease. The node allocates it with the checkout (so that a grant cannot fail) and gets it back
 * with POOL_LEASE_ENDED, or with the checkout's POOL_DONE when that is not OUTCOME_OK. */
struct pool_lease {
	uint64_t id;
	/* ---- the pool's ---- */
	struct pool_worker *worker; /* NULL before and after */
	uint64_t worker_id;         /* likewise, but kept when it has ended */
	struct list waiting;        /* its calls that wait for the running one, in order */
	struct list link;           /* in the pool's leases, or in the ended list */
	struct pool_lease *hash_next;
	enum pool_lease_end {
		LEASE_CHECKED_IN,
		LEASE_OWNER_GONE,
		LEASE_WORKER_GONE,
		LEASE_TIMEOUT
	} end;
};

/* One worker, read-only outside pool.c. */
struct pool_worker {
	uint64_t id;    /* never reused */
	unsigned index; /* 0 .. size-1 (of its start), unique among those not stopping */
	enum worker_state state;
	struct list link;
	struct heap_node timer;       /* start deadline, grace of an interrupt, of a stop */
	struct pool_request *request; /* what it runs for somebody; NULL when that one is gone */
	uint64_t call_id; /* the call it runs, 0: none; outlives `request` when abandoned */
	struct pool_lease *lease;
	bool interrupted;                        /* busy, and told to stop what it does */
	bool timed_out;                          /* interrupted because its call's time was up */
	unsigned stop_phase;                     /* stopping: 0 asked, 1 SIGTERM, 2 SIGKILL */
	uint64_t started_us, ready_us, since_us; /* since: when it came into its state */
	uint64_t calls;                          /* answered */
	/* an action that is due, and its place in the list of those */
	unsigned pending;
	struct list act;
	struct list all;      /* in the list of all, by id */
	struct list by_index; /* in the list of those that are not stopping, by index */
	struct list trial;    /* ready, but whether its start was a success is not clear yet */
	struct pool_worker *hash_next;
};

struct pool_config {
	unsigned size;
	unsigned queue_limit;      /* requests that may wait (leases' own queues included) */
	size_t queue_bytes_limit;  /* payload that may wait; one request is always admitted */
	uint64_t start_timeout_us; /* from POOL_START to POOL_WORKER_READY */
	uint64_t interrupt_grace_us;
	uint64_t stop_grace_us; /* between the politenesses of a stop */
	struct breaker_config breaker;
};

enum pool_event_type {
	POOL_SUBMIT,       /* request (and lease, for a CHECKOUT) */
	POOL_ABANDON,      /* request: its caller is gone. The request is queued or running */
	POOL_CHECKIN,      /* lease_id: the owner gives it back */
	POOL_LEASE_DOWN,   /* lease_id: its owner is gone, or it was sent an exit signal */
	POOL_WORKER_READY, /* worker_id: HELLO */
	POOL_WORKER_ANSWER, /* worker_id, call_id: RESULT, ERROR or PONG of that call. Taken from a worker
	                       that is BROKEN as well: its last words, read after its end was known */
	POOL_WORKER_GONE, /* worker_id: every process and descriptor of it is gone, or it never was.
	                       `failed`: the start failed (never said HELLO) */
	POOL_WORKER_BROKEN, /* worker_id: it broke the protocol or closed its channel: kill it. Its call and
	                       its lease hear of it with POOL_WORKER_GONE, or stop_grace later */
	POOL_TICK,          /* time has passed: deadlines */
	POOL_RESIZE, /* size. Shrinking: idle workers leave at once, others when they come free;
	                       those that still start are surplus before those that can serve */
	POOL_DRAIN,  /* no new requests; POOL_DRAINED when nothing is queued, running or leased */
	POOL_STOP,   /* stop all workers, start none: everything queued or running is done with
	                       OUTCOME_DRAINING, leases end with LEASE_WORKER_GONE */
};

struct pool_event {
	enum pool_event_type type;
	struct pool_request *request;
	struct pool_lease *lease;
	uint64_t worker_id, call_id, lease_id;
	bool failed;
	bool not_begun; /* WORKER_GONE: it ended without having read the call that it was sent last,
	                   so that runs on another, whatever its `retry` */
	unsigned size;
	uint64_t random; /* any 64 random bits, for the jitter of back-off */
};

enum pool_action_type {
	POOL_START,     /* start a process for worker_id (index) */
	POOL_RUN,       /* send the request's frame to worker_id */
	POOL_PROBE,     /* send PING with call_id to worker_id; PONG is a POOL_WORKER_ANSWER */
	POOL_INTERRUPT, /* SIGINT to worker_id */
	POOL_END,       /* close worker_id's channel: please leave */
	POOL_TERMINATE, /* SIGTERM to its group */
	POOL_KILL,      /* SIGKILL to its group */
	POOL_DONE, /* request: `outcome`; a CHECKOUT with OUTCOME_OK has its lease on worker_id */
	POOL_LEASE_ENDED, /* lease: `end` */
	POOL_DRAINED,     /* once per POOL_DRAIN */
};

struct pool_action {
	enum pool_action_type type;
	uint64_t worker_id; /* DONE: where it ran last, 0: nowhere; LEASE_ENDED: whose it was */
	uint64_t
		call_id; /* RUN, DONE: the request's id; PROBE: what PONG must say; INTERRUPT: the call */
	unsigned index;
	struct pool_request *request;
	struct pool_lease *lease;
};

/* Counts, all since the start. received = sum of outcomes + queued + running, always. */
struct pool_totals {
	uint64_t received;
	uint64_t outcome[OUTCOMES];
	uint64_t retries;
	uint64_t starts, start_failures, exits, kills, interrupts;
	uint64_t late; /* events for what was already gone */
};

struct pool;

/* A pool without any worker; the first pool_step() (a POOL_TICK will do) decides the starts. NULL: no
 * memory. pool_free() wants no request and no lease inside. */
struct pool *pool_new(const struct pool_config *config) __attribute__((warn_unused_result));
void pool_free(struct pool *p);

/* One event. `now_us` never goes backwards. POOL_SUBMIT asserts that the request is new; events for
 * workers and leases that are no more are counted in `late` and dropped. */
void pool_step(struct pool *p, const struct pool_event *ev, uint64_t now_us);

/* The next action to perform, in the order in which they were decided as far as one worker or one
 * request is concerned. False when there is none. Every action must be performed before the next step. */
bool pool_next(struct pool *p, struct pool_action *action);

/* When the next POOL_TICK is due; POOL_NEVER: not at all. */
uint64_t pool_next_tick(const struct pool *p);

/* Counts one request that the node refused before it came here. */
void pool_count_refused(struct pool *p);

/* Questions. */
const struct pool_config *pool_config(const struct pool *p);
const struct pool_totals *pool_totals(const struct pool *p);
unsigned pool_count(const struct pool *p, enum worker_state state);
unsigned pool_ready(const struct pool *p);   /* idle, leased, busy, probing */
unsigned pool_queued(const struct pool *p);  /* requests, leases' own queues included */
unsigned pool_running(const struct pool *p); /* requests */
unsigned pool_leases(const struct pool *p);
bool pool_draining(const struct pool *p);
struct pool_worker *pool_worker(const struct pool *p, uint64_t worker_id);
struct pool_lease *pool_lease(const struct pool *p, uint64_t lease_id);
/* Walks the living workers (not GONE), by id: the one after `prev`, NULL: the first, and at the end. */
struct pool_worker *pool_worker_after(const struct pool *p, const struct pool_worker *prev);
const struct breaker *pool_breaker(const struct pool *p);
/* Milliseconds until the circuit lets the next start through, at least 1; 0: it is closed. */
uint64_t pool_retry_after_ms(const struct pool *p, uint64_t now_us);
const struct histogram *
pool_wait_us(const struct pool *p); /* arrival to first start, or to grant */
const struct histogram *pool_call_us(const struct pool *p);  /* start to answer */
const struct histogram *pool_start_us(const struct pool *p); /* start of a worker to its HELLO */

/* Proves the invariants by walking everything; aborts with a message on the first that is broken. */
void pool_check(const struct pool *p);

const char *worker_state_name(enum worker_state state);
const char *pool_outcome_name(enum pool_outcome outcome); /* the key in status' totals */

#endif
