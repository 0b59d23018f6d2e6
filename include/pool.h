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
 * Requests: queued -> running -> done; a stream goes queued -> running -> streaming -> done. done is told
 * by exactly one POOL_DONE action per request, with exactly one outcome. The owner of a request's memory
 * is the node: it lends it with POOL_SUBMIT and gets it back with POOL_DONE.
 *
 * Abandon: when the caller of a running call is gone, or its time is up, the request is done at once,
 * but the worker does not serve anybody before it is clean:
 *     kill       POOL_KILL; a replacement starts in the same step
 *     interrupt  POOL_INTERRUPT; its answer -> probing -> PONG -> idle; no answer within
 *                interrupt_grace -> kill
 *     finish     it stays busy until it answers; the answer is dropped
 *
 * A stream that is not wanted any more is closed first, whatever `abandon` says: POOL_CLOSE; the worker
 * answers when the generator is closed, or is killed after interrupt_grace. One whose deadline passes
 * hangs, and is treated as `abandon` says (finish: it is closed, without a grace).
 *
 * Slots: a worker is one Python process that holds up to `slots` calls at once; each call is in one slot,
 * and it is the slot that is idle, leased, busy or probing. A worker starts, stops and dies as a whole.
 * A lease is one slot. Everything that is said of workers here holds for slots; with slots = 1 there is
 * no difference. When a worker is killed for what one slot does, its other calls and leases hear of it
 * with POOL_WORKER_GONE, as with a death (`retry` applies), or stop_grace later.
 *
 * Sessions: a session lives in one worker (in its process), from the first request that names it until
 * it is ended, evicted, expired, or lost with its worker. Its requests are pinned: they wait for a slot
 * of that worker, in the order of priority and arrival, without holding up others; a slot that comes
 * free takes whoever came first of its pinned and of all others.
 *     strict     waits for its worker
 *     hint       takes another worker when its own has no free slot; the session then ends where it was
 *     fail_fast  SESSION_BUSY at once when its worker has no free slot
 * A session whose first request still waits has no worker; its other requests wait behind that one.
 * When its worker dies, all that wait for it hear SESSION_LOST; if nobody waited, the next strict or
 * fail_fast request does, once; then it starts anew. `retry` does not apply to requests with a session
 * (but hint), since what they rely on is lost. An end is carried out by the worker (POOL_END_SESSION ->
 * POOL_WORKER_ANSWER) before it serves again, as a probe is, with interrupt_grace; a worker that is
 * asked to leave ends its sessions itself. Where a session starts anew for those who wait, that is after
 * its old worker has ended it or is gone; the record, and so the token, stay the same.
 *
 * Re-entrant calls: a worker that waits for a process of a peer (POOL_WORKER_WAITS) runs requests of the
 * session of the call that waits at once, inside of it (a stack of calls in one slot, at most
 * POOL_NEST_MAX deep); for calls of a lease the same. A free slot of the worker comes first. When such
 * a call ends the one below goes on. One that nobody wants any more is left to finish, whatever `abandon`
 * says (a stream is closed, without a grace): the call below did nothing wrong. What happens to the
 * outermost happens to the worker; those inside of a call that was told to stop end as they may, or with
 * the worker (WORKER_EXIT; they never run again).
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

enum pool_session_mode { SESSION_STRICT, SESSION_HINT, SESSION_FAIL_FAST };

#define POOL_NEST_MAX  16
#define POOL_SLOTS_MAX 64

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
	OUTCOME_SESSION_LOST,
	OUTCOME_SESSION_BUSY,
	OUTCOME_DEADLOCK, /* no worker could ever serve it: the node found out (POOL_REFUSE) */
	OUTCOME_REFUSED,  /* never queued: a bad request; the node has said what was wrong */
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
	bool stream;               /* CALL, LEASE_CALL: what it returns is iterated */
	enum pool_session_mode session_mode;
	const uint8_t *session_key; /* CALL, CHECKOUT; NULL: none. Valid while it is the pool's */
	size_t session_key_len;
	/* ---- the pool's ---- */
	enum request_state {
		REQUEST_NEW,
		REQUEST_QUEUED,
		REQUEST_RUNNING,
		REQUEST_STREAMING, /* it has been opened: counts as running */
		REQUEST_DONE
	} state;
	bool closing;                 /* streaming, and POOL_CLOSE was said */
	struct pool_session *session; /* which it belongs to */
	struct pool_session *spare;   /* a fresh record that it brought along */
	enum pool_outcome outcome;
	uint64_t arrival;       /* its number in the order of arrival */
	struct list link;       /* in a queue, a lease's queue, or the opened or the done list */
	struct list by_session; /* in its session's, while it waits */
	struct heap_node timer;
	struct pool_slot *slot;   /* while running */
	uint64_t worker_id;       /* where it ran last, or the lease was granted; 0: nowhere yet */
	struct pool_lease *lease; /* CHECKOUT: the record it brought along */
	uint64_t arrived_us, started_us, done_us;
};

/* One lease. The node allocates it with the checkout (so that a grant cannot fail) and gets it back
 * with POOL_LEASE_ENDED, or with the checkout's POOL_DONE when that is not OUTCOME_OK. */
struct pool_lease {
	uint64_t id;
	/* ---- the pool's ---- */
	struct pool_slot *slot; /* NULL before and after */
	uint64_t worker_id;     /* likewise, but kept when it has ended */
	struct list waiting;    /* its calls that wait for the running one, in order */
	struct list link;       /* in the pool's leases, or in the ended list */
	struct pool_lease *hash_next;
	enum pool_lease_end {
		LEASE_CHECKED_IN,
		LEASE_OWNER_GONE,
		LEASE_WORKER_GONE,
		LEASE_TIMEOUT
	} end;
};

/* One session. The node allocates it for the first request that names it, with room for the key, and
 * gets it back with POOL_SESSION_ENDED: once for each that it gave. */
struct pool_session {
	uint64_t token;     /* its id towards the worker; never reused */
	uint64_t ttl_us;    /* ends when it was idle for so long; POOL_NEVER: never */
	const uint8_t *key; /* the session's name as the node compares it: bytes of a term */
	size_t key_len;
	/* ---- the pool's ---- */
	struct pool_worker *worker; /* NULL: none yet, or lost */
	uint64_t worker_id;         /* where it is or was */
	uint64_t calls;             /* begun */
	unsigned users;             /* requests that wait for it or run in it */
	unsigned slots;             /* that run calls of it, or are leased in it */
	bool known;                 /* pool_session_find() finds it */
	bool lost;                  /* its worker is gone, and nobody has heard of it yet */
	bool ending; /* it ends when its calls are done; `told`: POOL_END_SESSION was said */
	bool told;
	uint64_t idle_since_us; /* nobody has used it since */
	enum pool_session_end {
		SESSION_ENDED,   /* POOL_SESSION_END, or a stop */
		SESSION_EVICTED, /* the longest idle, when there were max_sessions */
		SESSION_EXPIRED,
		SESSION_LOST,   /* with its worker, and that was told or nobody asked in time */
		SESSION_UNUSED, /* no request of it ever ran, or the record was not needed */
		SESSION_MOVED,  /* hint: it lives on elsewhere, with another record */
	} end;
	struct heap_node timer;
	struct list waiting;        /* its requests that wait, by priority and arrival */
	struct pool_request *first; /* of those, when it has no worker: the others are behind it */
	struct list link, by_worker;
	struct list order; /* among those that nobody uses, or of its worker's that are to end */
	uint32_t hash;
	struct pool_session *hash_next;
};

/* One call of a slot. */
struct pool_call {
	uint64_t id;
	struct pool_request *request; /* NULL: nobody waits for it any more */
	bool inner;                   /* begun inside of another */
	bool waits;                   /* for a process of a peer */
	bool close_due;               /* POOL_CLOSE is to be said */
};

/* One place for calls in a worker, read-only outside the pool. */
struct pool_slot {
	struct pool_worker *worker;
	enum worker_state state; /* STARTING, STOPPING, GONE as the worker is */
	unsigned depth;          /* calls under way: one, or a stack of re-entrant ones */
	uint64_t probe_id;       /* of a PING or END_SESSION under way; 0: none */
	struct pool_lease *lease;
	struct pool_session *session; /* of its calls or its lease, until it is free */
	struct pool_session *ends;    /* the one that the worker is told to end */
	bool interrupted;             /* its first call was told to stop */
	bool closing;                 /* its first call is a stream that nobody wants any more */
	bool timed_out;               /* either, because the call's time was up */
	uint64_t since_us;            /* when it came into its state */
	struct heap_node timer;       /* grace of an interrupt, a probe, a close */
	/* an action that is due, and its place in the list of those */
	unsigned pending;
	struct list act, closes, nests;
	struct pool_call call[POOL_NEST_MAX]; /* the first, and those inside of it */
};

/* One worker, read-only outside the pool. */
struct pool_worker {
	uint64_t id;    /* never reused */
	unsigned index; /* 0 .. size-1 (of its start), unique among those not stopping */
	/* STARTING, STOPPING, GONE; or what its slots are: BUSY if one of them is, or else PROBING,
	 * LEASED, IDLE */
	enum worker_state state;
	struct heap_node timer; /* start deadline, grace of a stop */
	unsigned stop_phase;    /* stopping: 0 asked, 1 SIGTERM, 2 SIGKILL */
	bool retiring; /* surplus: takes nobody any more, and leaves when all its slots are free */
	uint64_t started_us, ready_us, since_us; /* since: when it came into its state */
	uint64_t calls;                          /* answered */
	uint64_t last_call_id;                   /* the call that it was sent last */
	/* its sessions, those of them that it must be told to end, and the requests that wait for one */
	struct list sessions, ends, pinned[PRIORITIES];
	unsigned session_count, pinned_count;
	/* an action that is due, and its place in the list of those */
	unsigned pending;
	struct list act;
	struct list all;      /* in the list of all, by id; or of those that are gone */
	struct list by_index; /* in the list of those that are not stopping, by index */
	struct list trial;    /* ready, but whether its start was a success is not clear yet */
	struct list offered;  /* has a free slot: in the list of those with as many others */
	struct list hungry;   /* has a free slot and pinned requests */
	struct pool_worker *hash_next;
	unsigned in[WORKER_STATES]; /* how many of its slots are in each state */
	unsigned slots;
	struct pool_slot slot[];
};

struct pool_config {
	unsigned size;
	unsigned queue_limit;      /* requests that may wait (leases' own queues included) */
	size_t queue_bytes_limit;  /* payload that may wait; one request is always admitted */
	uint64_t start_timeout_us; /* from POOL_START to POOL_WORKER_READY */
	uint64_t interrupt_grace_us;
	uint64_t stop_grace_us; /* between the politenesses of a stop */
	unsigned slots;         /* calls that a worker holds at once, 1 to POOL_SLOTS_MAX; 0 is 1 */
	unsigned max_sessions;  /* 0: none allowed */
	struct breaker_config breaker;
};

enum pool_event_type {
	POOL_SUBMIT, /* request; lease, for a CHECKOUT; session: a fresh record, if the request has a
	                session that pool_session_find() does not find, or its mode is hint. What is
	                not needed comes back with POOL_SESSION_ENDED, SESSION_UNUSED */
	POOL_ABANDON,      /* request: its caller is gone. The request is queued or running */
	POOL_CHECKIN,      /* lease_id: the owner gives it back */
	POOL_LEASE_DOWN,   /* lease_id: its owner is gone, or it was sent an exit signal */
	POOL_WORKER_READY, /* worker_id: HELLO */
	POOL_WORKER_ANSWER, /* worker_id, call_id: RESULT, ERROR or PONG of that call. Taken from a worker
	                       that is BROKEN as well: its last words, read after its end was known */
	POOL_WORKER_OPENED, /* worker_id, call_id: the stream's function has returned */
	POOL_WORKER_WAITS, /* worker_id, call_id, waits: the call waits for a process of a peer, or no more */
	POOL_EXTEND, /* request (running or streaming), deadline_us: its new deadline. A stream has one
	                while its worker owes it an item */
	POOL_CLOSE_STREAM, /* request (streaming): its caller, who lives, does not want more: the worker
	                closes the generator, then it is done with OUTCOME_OK; or after interrupt_grace
	                with OUTCOME_TIMEOUT_CALL, and the worker is killed (not for an inner call) */
	POOL_REFUSE,       /* request (queued): done with OUTCOME_DEADLOCK */
	POOL_SESSION_END, /* session: end_session, or its owner is gone. Takes effect when the calls that
	                run in it are done; those that wait for it start it anew.
	                     Nothing happens to one that ends already, or that has not begun */
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
	struct pool_session *session;
	uint64_t worker_id, call_id, lease_id;
	uint64_t deadline_us;
	bool failed;
	bool waits;
	bool not_begun; /* WORKER_GONE: it ended without having read the call that it was sent last,
	                   so that runs on another, whatever its `retry` */
	unsigned size;
	uint64_t random; /* any 64 random bits, for the jitter of back-off */
};

/* In the order in which those of one step are told: ends, so that a replacement finds room; then who waits
 * for an answer; then work. */
enum pool_action_type {
	POOL_KILL,      /* SIGKILL to worker_id's group */
	POOL_END,       /* close worker_id's channel: please leave */
	POOL_TERMINATE, /* SIGTERM to its group */
	POOL_INTERRUPT, /* SIGINT to worker_id; with slots: cancel call_id */
	POOL_CLOSE,     /* send CLOSE for call_id to worker_id */
	POOL_DONE,   /* request: `outcome`; a CHECKOUT with OUTCOME_OK has its lease on worker_id */
	POOL_OPENED, /* request: it is streaming now; its caller is to be told so */
	POOL_LEASE_ENDED,   /* lease: `end` */
	POOL_SESSION_ENDED, /* session: `end`; nothing points at it any more */
	POOL_START,         /* start a process for worker_id (index) */
	POOL_RUN,           /* send the request's frame to worker_id */
	POOL_PROBE,         /* send PING with call_id to worker_id; PONG is a POOL_WORKER_ANSWER */
	POOL_END_SESSION, /* send END_SESSION `session` with call_id to worker_id; PONG likewise */
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
	struct pool_session *session;
};

/* Counts, all since the start. received = sum of outcomes + queued + running, always. */
struct pool_totals {
	uint64_t received;
	uint64_t outcome[OUTCOMES];
	uint64_t retries;
	uint64_t starts, start_failures, exits, kills, interrupts;
	uint64_t sessions_started, sessions_lost, sessions_evicted;
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
/* The session of that key that new requests belong to (not one that is ending); NULL: there is none. */
struct pool_session *pool_session_find(const struct pool *p, const uint8_t *key, size_t key_len);
/* Walks the sessions that pool_session_find() could find, in the order in which they began. */
struct pool_session *pool_session_after(const struct pool *p, const struct pool_session *prev);
unsigned pool_sessions(const struct pool *p);
/* Whether every slot of every worker runs a call that waits (POOL_WORKER_WAITS), and none starts. */
bool pool_all_wait(const struct pool *p);
/* Walks the queued requests of no particular worker, in the order in which they will be served. */
struct pool_request *pool_queued_after(const struct pool *p, const struct pool_request *prev);
/* Walks the living workers (not GONE), by id: the one after `prev`, NULL: the first, and at the end. */
struct pool_worker *pool_worker_after(const struct pool *p, const struct pool_worker *prev);
/* What the worker runs: its only call, of re-entrant ones the innermost; NULL: none, or several. */
const struct pool_call *pool_worker_call(const struct pool_worker *w);
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
