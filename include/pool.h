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
 * answers when the generator is closed. One that does not within interrupt_grace is interrupted as a call
 * is, and killed after another. One whose deadline passes hangs, and is treated as `abandon` says (finish:
 * it is closed, without a grace).
 *
 * Slots: a worker is one Python process that holds up to `slots` calls at once; each call is in one slot,
 * and it is the slot that is idle, leased, busy or probing. A worker starts, stops and dies as a whole.
 * A lease is one slot. Everything that is said of workers here holds for slots; with slots = 1 there is
 * no difference. When a worker is killed for what one slot does, its other calls and leases hear of it
 * with POOL_WORKER_GONE, as with a death (`retry` applies), or stop_grace later.
 *
 * Turns: peers of one priority take turns, each with its requests in the order of their arrival. A slot for
 * which pinned requests (below) and others wait goes, within one priority, to whoever of one peer came first,
 * and by turns if they are of different peers.
 *
 * Sessions: a session lives in one worker (in its process), from the first request that names it until
 * it is ended, evicted, expired, or lost with its worker. Its requests are pinned: they wait for a slot
 * of that worker, by priority and turns, without holding up others.
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
 * Recycling: a worker is replaced on purpose, its replacement first. One start more than the size is wanted
 * while workers wait for their turn; when it is ready, the first of them takes nobody any more (it is
 * retiring) and leaves when all its slots are free, and the turn is the next one's. So one is replaced at a
 * time, but none waits for a predecessor's long call, until as many as the pool's size are on their way
 * out. Nobody's call is cut; sessions that live there are lost with it. If the replacement cannot start,
 * the old one goes on serving. Whoever shrinks the pool meanwhile takes those whose turn comes first.
 *
 * A worker is replaced when it was asked for, when it has answered max_calls, max_age after its HELLO, or
 * when the node finds it too large; it may serve beyond its limit while its replacement starts.
 *
 * Sizes: there are `size` workers, and up to size_max while requests wait. One more is wanted when the
 * request of no particular worker that came first has waited grow_after (at once, where there is no worker at
 * all) and no start is under way or due already: a new worker would not help one who is pinned, and the next
 * one is started when this one is there. One less is wanted when for idle_ttl there was always a worker with
 * nothing to do, and nobody waited; the one idle longest leaves. A worker that holds sessions does not leave for that. A pool
 * that had to grow again soon after that waits twice as long the next time, up to SHRINK_PATIENCE times, so
 * that a load that comes and goes does not start and stop workers as it does.
 *
 * Health: a worker that was idle for health_interval is probed in one of its slots; no answer within
 * health_timeout, and it is killed. health_interval is up to a quarter shorter for some, so that they are not
 * all probed at once. Who hangs (no answer to a probe, an interrupt or a close in time, or to a call) is
 * told to say where, if dump_grace is set, and killed after that.
 *
 * Ahead: a request that waits in no particular line but that of all may be sent to a busy worker, which takes it
 * by itself when its call has ended: that saves both sides a sleep for each call. It is queued until then,
 * and the worker's next answer says that it was taken (POOL_WORKER_TAKEN comes before POOL_WORKER_ANSWER). What
 * was not taken can be had back, and only the worker's queue itself knows what that is: POOL_RECALL empties it,
 * POOL_RECALLED tells which came back (while it is emptied the worker may take one from between them); the
 * others have begun, or will, and so the call before those has ended. So nothing is decided about a call while that is not known: whoever is
 * not wanted any more is told so at once, but the worker is interrupted or killed only for a call that
 * runs, and a time-out in the queue is told only to who has not begun.
 *     sent ahead  only while calls are brisk (AHEAD_BRISK_US in the mean), no more to a worker than it runs in
 *                 AHEAD_PATIENCE_US, to workers of one slot without sessions, in the order of the lines: who may
 *                 not be sent ahead is not overtaken
 *     had back    when the call before them takes longer than AHEAD_PATIENCE_US; before the worker is
 *                 interrupted or leaves; when one of them is not wanted any more; when the pool pauses
 *     passed on   a worker that answers without having taken one has none, and sleeps until it is sent a frame: the
 *                 first of those in its queue is that, and when it has run that it finds the others
 * A call that was taken counts as begun when the one before it is answered.
 *
 * Invariants, which pool_check() proves after every step in tests:
 *
 *   1 every worker is in exactly the list that its state names, and the counts add up
 *   2 a leased or busy worker has exactly one live owner, which points back at it
 *   3 nobody waits while a worker that may serve him idles
 *   4 within one priority peers take turns, each served in the order of arrival; a request that waits for one
 *     worker holds up nobody else
 *   5 received = answered + abandoned + queued + running
 *   6 a caller's fault costs no worker that was not running his call; a worker's fault costs no caller whose
 *     call it was not running
 *   7 the breaker bounds how many starts there are in any time
 *
 * All times are microseconds of one monotonic clock; POOL_NEVER means no deadline. */
#ifndef KRAIT_POOL_H
#define KRAIT_POOL_H

#include "breaker.h"
#include "histogram.h"
#include "pool_objects.h"

struct pool_config {
	unsigned size;          /* workers, at least */
	unsigned size_max;      /* and at most; less than size: as many as that */
	uint64_t grow_after_us; /* one more when somebody has waited for so long */
	uint64_t idle_ttl_us;   /* one less when there was an idle one for so long; 0: never */
	enum pool_order order;
	unsigned queue_limit;      /* requests that may wait (leases' own queues included) */
	size_t queue_bytes_limit;  /* payload that may wait; one request is always admitted */
	uint64_t start_timeout_us; /* from POOL_START to POOL_WORKER_READY */
	uint64_t interrupt_grace_us;
	uint64_t stop_grace_us; /* between the politenesses of a stop */
	uint64_t
		dump_grace_us; /* between POOL_ABORT and POOL_KILL of one that hangs; 0: no POOL_ABORT */
	uint64_t health_interval_us; /* idle so long, a worker is probed; 0: never */
	uint64_t health_timeout_us;  /* from the probe to its answer */
	uint64_t max_calls;          /* answered by a worker before it is replaced; 0: any number */
	uint64_t max_age_us;         /* since its HELLO, likewise; 0: any */
	unsigned jitter_percent;     /* each worker has limits of its own, so much more or less */
	unsigned slots;        /* calls that a worker holds at once, 1 to POOL_SLOTS_MAX; 0 is 1 */
	unsigned ahead; /* calls that are sent ahead to a busy worker, at most; 0: none. To POOL_AHEAD_MAX */
	unsigned max_sessions; /* 0: none allowed */
	uint64_t
		*worker_ids; /* where the id of the last worker stands: pools that share it share no
	                         id. NULL: the pool counts its own */
	struct breaker_config breaker;
};

enum pool_event_type {
	POOL_SUBMIT, /* request; lease, for a CHECKOUT; session: a fresh record, if the request has a
	                session that pool_session_find() does not find, or its mode is hint. What is
	                not needed comes back with POOL_SESSION_ENDED, SESSION_UNUSED */
	POOL_ABANDON, /* request: its caller is gone. The request is queued or running */
	POOL_CANCEL, /* request: its caller, who lives, is to hear OUTCOME_CANCELLED, at once; its call is
	                handled as `abandon` says */
	POOL_CHECKIN,      /* lease_id: the owner gives it back */
	POOL_LEASE_DOWN,   /* lease_id: its owner is gone, or it was sent an exit signal */
	POOL_WORKER_READY, /* worker_id: HELLO */
	POOL_WORKER_ANSWER, /* worker_id, call_id: RESULT, ERROR or PONG of that call. Taken from a worker
	                       that is BROKEN as well: its last words, read after its end was known */
	POOL_WORKER_OPENED, /* worker_id, call_id: the stream's function has returned */
	POOL_WORKER_TAKEN, /* worker_id, call_id: it has taken that call, which was sent ahead: the answer to
	                      the one that it runs follows, and is on its way */
	POOL_RECALLED, /* worker_id, call_ids, count: of those sent ahead these came back. It has the others */
	POOL_WORKER_WAITS, /* worker_id, call_id, waits: the call waits for a process of a peer, or no more */
	POOL_EXTEND, /* request (running or streaming), deadline_us: its new deadline. A stream has one
	                while its worker owes it an item */
	POOL_CLOSE_STREAM, /* request (streaming): its caller, who lives, does not want more: the worker
	                closes the generator, then it is done with OUTCOME_OK; or after interrupt_grace
	                with OUTCOME_TIMEOUT_CALL, and the worker is interrupted (not for an inner call) */
	POOL_REFUSE,       /* request (queued): done with OUTCOME_DEADLOCK */
	POOL_SESSION_END, /* session: end_session, or its owner is gone. Takes effect when the calls that
	                run in it are done; those that wait for it start it anew.
	                     Nothing happens to one that ends already, or that has not begun */
	POOL_WORKER_GONE, /* worker_id: every process and descriptor of it is gone, or it never was.
	                       `failed`: the start failed (never said HELLO) */
	POOL_WORKER_BROKEN, /* worker_id: it broke the protocol or closed its channel: kill it. Its call and
	                       its lease hear of it with POOL_WORKER_GONE, or stop_grace later */
	POOL_TICK,          /* time has passed: deadlines */
	POOL_RESIZE, /* size, size_max (0: size). Shrinking: idle workers leave at once, others when they
	                come free; those that still start are surplus before those that can serve */
	POOL_CONFIGURE, /* config: in force from now on. What was admitted stays; timers that run keep
	                their time; slots are those of workers that start later; the sizes as by
	                POOL_RESIZE; too many sessions end when nobody uses them */
	POOL_PAUSE, /* calls queue; leases, and calls inside of calls that wait, go on. Nothing happens
	                to a pool that drains */
	POOL_RESUME, /* neither paused nor draining any more */
	POOL_RECYCLE, /* worker_id, or 0: all, those included that still start, and a start that waits
	                for its back-off happens at once. `why`: WHY_RECYCLE (or NONE), or WHY_MAX_RSS.
	                See `Recycling` */
	POOL_KILL_WORKER, /* worker_id: at once; what it runs hears WORKER_EXIT */
	POOL_DRAIN, /* no new requests, and not paused any more; POOL_DRAINED when nothing is queued,
	                running or leased */
	POOL_STOP,  /* stop all workers, start none: everything queued or running is done with
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
	unsigned size, size_max;
	const uint64_t *call_ids;
	unsigned count;
	const struct pool_config *config; /* copied */
	enum pool_why why;
	uint64_t random; /* any 64 random bits, for the jitter of back-off, probes and limits */
};

/* In the order in which those of one step are told: ends, so that a replacement finds room; then who waits
 * for an answer; then work. */
enum pool_action_type {
	POOL_RECALL, /* worker_id: take back what was sent ahead; POOL_RECALLED follows, before any other
	                event of this worker */
	POOL_KILL,      /* SIGKILL to worker_id's group */
	POOL_END,       /* close worker_id's channel: please leave */
	POOL_TERMINATE, /* SIGTERM to its group */
	POOL_ABORT, /* SIGABRT to worker_id: it hangs; let it say where. POOL_KILL comes dump_grace later */
	POOL_INTERRUPT, /* SIGINT to worker_id; with slots: cancel call_id */
	POOL_CLOSE,     /* send CLOSE for call_id to worker_id */
	POOL_DONE,   /* request: `outcome`; a CHECKOUT with OUTCOME_OK has its lease on worker_id */
	POOL_OPENED, /* request: it is streaming now; its caller is to be told so */
	POOL_LEASE_ENDED,   /* lease: `end` */
	POOL_SESSION_ENDED, /* session: `end`; nothing points at it any more */
	POOL_START,         /* start a process for worker_id (index) */
	POOL_RUN,           /* send the request's frame to worker_id. was_ahead: it was sent ahead, and the worker
	                       sleeps before it: it is to be taken out of there, where it is the first */
	POOL_BEGUN,         /* request: it runs on worker_id, to which it was sent ahead */
	POOL_AHEAD,         /* send the request's frame ahead to worker_id */
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
	enum pool_why why; /* KILL, END, TERMINATE, ABORT */
	bool was_ahead;    /* RUN */
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
	uint64_t probes, grown, shrunk; /* probes: for health */
	uint64_t ahead, recalled;       /* sent ahead; of these, had back */
	uint64_t left[WHYS];            /* workers that were told to go, by why */
	uint64_t late;                  /* events for what was already gone */
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
unsigned
pool_size(const struct pool *p); /* how many workers there are to be now: size to size_max */
unsigned pool_size_max(const struct pool *p);
unsigned pool_count(const struct pool *p, enum worker_state state);
unsigned pool_ready(const struct pool *p);   /* idle, leased, busy, probing */
unsigned pool_queued(const struct pool *p);  /* requests, leases' own queues included */
unsigned pool_running(const struct pool *p); /* requests */
unsigned pool_leases(const struct pool *p);
bool pool_draining(const struct pool *p);
bool pool_paused(const struct pool *p);
unsigned pool_recycling(
	const struct pool *p); /* workers that are to be replaced, or on their way out for it */
struct pool_worker *pool_worker(const struct pool *p, uint64_t worker_id);
struct pool_lease *pool_lease(const struct pool *p, uint64_t lease_id);
/* The session of that key that new requests belong to (not one that is ending); NULL: there is none. */
struct pool_session *pool_session_find(const struct pool *p, const uint8_t *key, size_t key_len);
/* Walks the sessions that pool_session_find() could find, in the order in which they began. */
struct pool_session *pool_session_after(const struct pool *p, const struct pool_session *prev);
unsigned pool_sessions(const struct pool *p);
/* Walks the queued requests of no particular worker, in the order of their arrival. */
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
const char *pool_why_name(enum pool_why why);             /* as events and `workers` tell it */
const char *pool_outcome_name(enum pool_outcome outcome); /* the key in status' totals */

#endif
