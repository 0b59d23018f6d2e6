/* pool_objects.h - what the pool holds: requests, leases, sessions, workers and their slots; see pool.h.
 *
 * The node embeds requests, leases and sessions in its own records and lends them to the pool; workers are
 * the pool's, and read-only outside. */
#ifndef KRAIT_POOL_OBJECTS_H
#define KRAIT_POOL_OBJECTS_H

#include "heap.h"
#include "list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_NEVER UINT64_MAX

/* Of an enumeration: one byte, where there are many of them. */
#define POOL_PACKED __attribute__((packed))

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

enum pool_abandon { ABANDON_KILL, ABANDON_INTERRUPT, ABANDON_FINISH } POOL_PACKED;

enum pool_priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW, PRIORITIES } POOL_PACKED;

enum pool_kind {
	POOL_CALL,       /* one call on any free worker */
	POOL_CHECKOUT,   /* wants a lease */
	POOL_LEASE_CALL, /* a call on the worker of a lease */
} POOL_PACKED;

enum pool_session_mode { SESSION_STRICT, SESSION_HINT, SESSION_FAIL_FAST } POOL_PACKED;

/* Who is served next by an idle worker: the one used last (warm caches, the others can be swapped out and
 * are spared when the pool shrinks), or the one that has been idle the longest (even wear). */
enum pool_order { ORDER_LIFO, ORDER_FIFO };

/* Why a worker is on its way out, or is to be replaced. */
enum pool_why {
	WHY_NONE,
	WHY_CALLER_GONE,  /* its call was abandoned or cancelled */
	WHY_TIMEOUT,      /* its call ran out of time */
	WHY_UNRESPONSIVE, /* it did not answer a probe, an interrupt or a close in time */
	WHY_BROKEN,       /* it broke the protocol, or closed its channel */
	WHY_NOT_READY,    /* no HELLO within start_timeout */
	WHY_KILLED,       /* POOL_KILL_WORKER */
	WHY_RECYCLE,      /* POOL_RECYCLE */
	WHY_MAX_CALLS,
	WHY_MAX_AGE,
	WHY_MAX_RSS,
	WHY_SURPLUS, /* the pool has shrunk */
	WHY_STOP,
	WHYS
};

#define POOL_NEST_MAX  16
#define POOL_AHEAD_MAX 16
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
	OUTCOME_DEADLOCK,  /* no worker could ever serve it: the node found out (POOL_REFUSE) */
	OUTCOME_CANCELLED, /* POOL_CANCEL */
	OUTCOME_REFUSED,   /* never queued: a bad request; the node has said what was wrong */
	OUTCOMES
} POOL_PACKED;

/* What a request says of its session: few do, so it is a record of its own. */
struct pool_claim {
	const uint8_t *key;
	uint32_t key_len;
	/* ---- the pool's ---- */
	struct pool_request *request;
	struct pool_session *session; /* which the request belongs to; NULL: none yet, or no more */
	struct pool_session *spare;   /* a fresh record that it brought along */
	struct list by_session;       /* in its session's, while it waits */
};

/* One request, embedded in the node's own. Fields above the line are set by the node before
 * POOL_SUBMIT; the rest is the pool's, zeroed by the node.
 *
 * There may be tens of thousands that wait, so what is bounded is no wider than its bound, and stands where it
 * leaves no hole. */
struct pool_request {
	uint64_t id;
	uint64_t deadline_us; /* absolute, of the whole request */
	union {
		uint64_t queue_deadline_us; /* absolute, of the wait: NEW, QUEUED */
		uint64_t started_us; /* when it runs or has run; 0: DONE in a queue; the pool's */
	};
	struct pool_claim
		*claim; /* CALL, CHECKOUT: on a session; NULL: none. The node's, as long as it */
	union {
		uint64_t lease_id;        /* LEASE_CALL: which; CHECKOUT, before: its id */
		struct pool_lease *lease; /* CHECKOUT: the record it brought along; the pool's */
	};
	uint32_t bytes; /* its payload, for queue_bytes_limit */
	uint32_t peer;  /* whose it is, for turns; 0: nobody's in particular */
	enum pool_kind kind;
	enum pool_priority priority;
	enum pool_abandon abandon; /* what happens to the worker when this is abandoned */
	enum pool_session_mode session_mode;
	uint8_t retry;   /* how often it may run again after a worker's death */
	bool stream : 1; /* CALL, LEASE_CALL: what it returns is iterated */
	bool plain : 1;  /* CALL without a session, no stream, and small: it may be sent ahead */
	/* ---- the pool's ---- */
	bool closing : 1; /* streaming, and POOL_CLOSE was said */
	bool ahead : 1;   /* queued, and sent ahead to the worker of `slot`, whose `ahead` has it */
	bool late : 1;    /* likewise, and its queue time is over: has it begun? */
	enum request_state {
		REQUEST_NEW,
		REQUEST_QUEUED,
		REQUEST_RUNNING,
		REQUEST_STREAMING, /* it has been opened: counts as running */
		REQUEST_DONE
	} POOL_PACKED state;
	enum pool_outcome outcome;
	uint64_t arrival; /* its number in the order of arrival */
	/* In its peer's part of a line, a circle; or in a lease's queue, the opened or the done list */
	struct list link;
	struct pool_line *line; /* in which it waits */
	struct list turn;       /* the first of its peer: in the order of turns of its line */
	union {
		struct pool_request *next; /* the first of its peer: in the table of those */
		uint64_t done_us;          /* when it is DONE */
	};
	struct list by_age; /* in the queues: by arrival */
	struct heap_node timer;
	struct pool_slot *slot; /* while running, or sent ahead */
	uint64_t worker_id;     /* where it ran last, or the lease was granted; 0: nowhere yet */
	uint64_t arrived_us;
};

/* The session that it belongs to; NULL: none. */
static inline struct pool_session *pool_request_session(const struct pool_request *r)
{
	return r->claim != NULL ? r->claim->session : NULL;
}

/* Those who wait for the same: peers take turns, and each peer's requests come in their order of arrival. */
struct pool_line {
	struct list turns; /* the first request of each peer; the next turn is the first one's */
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
	bool was_ahead;               /* POOL_RUN is due: it lies first in the worker's queue */
};

/* A call that was sent ahead to a busy worker. */
struct pool_ahead {
	uint64_t id;
	struct pool_request *request; /* NULL: nobody waits for it any more; then */
	enum pool_abandon abandon;    /* what becomes of it if it has begun */
	bool timed_out;
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
	bool put_off;                 /* its call has no owner: what becomes of it is clear when it
	                                 is known whether it has ended by itself. Then it is */
	enum pool_abandon abandon;    /* treated so */
	bool health;                  /* the probe is one for health */
	uint64_t since_us;            /* when it came into its state */
	struct heap_node timer;       /* grace of an interrupt, a probe, a close */
	/* an action that is due, and its place in the list of those */
	unsigned pending;
	struct list act, closes, nests;
	struct pool_call call[POOL_NEST_MAX]; /* the first, and those inside of it */
};

/* One worker, read-only outside the pool. */
struct pool_worker {
	uint64_t id; /* never reused */
	/* The lowest that was free at its start: unique among those not stopping, and below the size
	 * but for workers that are or were replaced while others left */
	unsigned index;
	/* STARTING, STOPPING, GONE; or what its slots are: BUSY if one of them is, or else PROBING,
	 * LEASED, IDLE */
	enum worker_state state;
	struct heap_node timer; /* start deadline, grace of a stop */
	unsigned stop_phase;    /* stopping: 0 asked, 1 SIGTERM or SIGABRT, 2 SIGKILL */
	bool dumping;           /* stopping, told POOL_ABORT, and not killed yet */
	enum pool_why why;      /* it is stopping, retiring, or to be replaced */
	bool retiring;          /* takes nobody any more, and leaves when all its slots are free */
	bool recycled; /* to be replaced: when it is ready, when its turn comes, or retiring for that */
	struct list recycle;                     /* in the list of those whose turn comes */
	uint64_t started_us, ready_us, since_us; /* since: when it came into its state */
	uint64_t calls;                          /* answered */
	uint64_t max_calls;                      /* of its own: after so many it is replaced */
	uint64_t interval_us;                    /* of its own: idle so long, it is probed */
	struct heap_node health, age;            /* when to look; when it is to be replaced */
	uint64_t last_call_id;                   /* the call that it was sent last */
	/* its sessions, those of them that it must be told to end, and the requests that wait for one */
	struct list sessions, ends;
	struct pool_line pinned[PRIORITIES];
	bool pinned_last; /* a pinned request was served when another peer's might have been */
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
	/* What was sent ahead, in order; of the first `taken` it is known that the worker has them */
	struct pool_ahead ahead[POOL_AHEAD_MAX];
	unsigned ahead_count, taken;
	bool recalling;             /* POOL_RECALLED is to come, and decides about the others */
	bool purging;               /* it is to come, and decides nothing */
	struct list recall;         /* POOL_RECALL is due */
	struct list leads;          /* in the list of those that may take one more ahead */
	struct heap_node patience;  /* when those who wait here have waited long enough */
	unsigned in[WORKER_STATES]; /* how many of its slots are in each state */
	unsigned slots;
	struct pool_slot slot[];
};

#endif
