/* pool_private.h - what the rooms of the pool share; nobody else includes it.
 *
 *   pool.c           one step, one action
 *   pool_ask.c       the questions
 *   pool_request.c   requests: admission, queues, deadlines, their end
 *   pool_line.c      those who wait for the same: turns of peers
 *   pool_serve.c     who is served next, and where: hand-out
 *   pool_session.c   sessions: where each lives, who waits for it
 *   pool_session_end.c   how they end, and are lost
 *   pool_lease.c     leases: grant, their calls that wait, their end
 *   pool_slot.c      slots: slot_move(), calls and their answers, what becomes of orphaned ones
 *   pool_ahead.c     calls that are sent ahead to busy workers
 *   pool_worker.c    workers: worker_move(), HELLO, deaths, stops
 *   pool_size.c      how many workers: starts, sizes
 *   pool_range.c     a range of sizes: when it grows and shrinks
 *   pool_health.c    probes of idle workers, limits of age and calls
 *   pool_recycle.c   workers that are replaced on purpose
 *   pool_check*.c    the invariants
 *
 * A step goes through its phases in this order (pool_step()), which settles every race the same way:
 * the event, then queued requests whose time is up, running ones, slots' and workers' timers, sessions
 * that expire, workers that are due for a probe or of their age, starts, refusals because the circuit is open,
 * hand-out of free slots, and sizes that grow or shrink. So an answer that
 * arrives with the deadline still counts, and nothing is handed out to a request that has expired. */
#ifndef KRAIT_POOL_PRIVATE_H
#define KRAIT_POOL_PRIVATE_H

#include "pool.h"

/* Chains of a fixed table: no allocation that could fail. Ids are counted, so they spread evenly; a
 * pool of 1000 workers has chains of 4. */
#define POOL_HASH 256
/* The first waiting request of each peer in each line: of as many as there are peers that wait. */
#define POOL_TURN_HASH 1024
/* Sessions have names, and there may be tens of thousands. */
#define POOL_SESSION_HASH 1024

#define POOL_ACTIONS (POOL_DRAINED + 1)
#define BIT(n)       (1u << (n))

/* A worker that dies by itself so soon after its HELLO, before any answer, may have failed to start. */
#define EARLY_DEATH_US 100000
/* So many such deaths in a row, and each further one counts as a failed start. */
#define EARLY_DEATHS_MAX 16
/* A pool that shrank too early waits for up to so many times idle_ttl before it shrinks again. */
#define SHRINK_PATIENCE 16
/* Calls are sent ahead while they take no longer than this, in the mean; */
#define AHEAD_BRISK_US 500
/* and wait for so long behind one that takes longer than that. */
#define AHEAD_PATIENCE_US 1000
/* What takes longer counts as this: one long call is no reason to be slow for a hundred short ones. */
#define AHEAD_LONGEST_US 20000
/* No memory for a worker's record: time until it is tried again. */
#define NO_MEMORY_RETRY_US 100000

/* Ids of probes; ids of requests have this bit clear, so the two never meet. */
#define PROBE_BIT (UINT64_C(1) << 63)

struct pool {
	struct pool_config config;
	struct breaker breaker;
	uint64_t now_us, random; /* of the step under way */
	bool draining, stopping, paused;
	bool drain_told; /* POOL_DRAINED was decided for the last POOL_DRAIN */

	unsigned size;      /* how many workers there are to be now */
	unsigned patience;  /* how many times idle_ttl it takes to shrink */
	bool shrunk;        /* since it grew last; */
	uint64_t shrunk_us; /* when, last */
	uint64_t
		spare_us; /* there was always a worker with nothing to do since; POOL_NEVER: none is */
	unsigned checking;   /* slots that are probed for health */
	unsigned slots_most; /* that any worker has or had */
	unsigned
		sessions_most; /* that there may be: max_sessions, and those that were there before it fell */

	unsigned count[WORKER_STATES]; /* of slots; STARTING, STOPPING, GONE: of workers */
	unsigned serving, retiring;    /* workers */
	unsigned leaving;              /* those of `retiring` that are being replaced */
	struct list recycle;           /* serving, and to be replaced, in order */
	/* Workers with a free slot, by the number of their others; the last was used most recently. */
	struct list offered[POOL_SLOTS_MAX];
	struct list hungry; /* workers with a free slot and pinned requests */
	struct list
		nests; /* slots in which a call may have come to wait, and others wait for that */
	struct list workers;  /* all but GONE, by id */
	struct list gone;     /* to be freed at the end of the step */
	struct list by_index; /* those that are not stopping, by index */
	struct list trials;   /* ready but not proved, in the order of ready_us */
	struct pool_worker *worker_hash[POOL_HASH];
	uint64_t last_worker_id, last_probe_id;
	uint64_t start_at_us; /* when a start that is due may happen; POOL_NEVER: none is due */
	uint64_t no_memory_until_us; /* no start before */
	unsigned early_deaths;       /* in a row */

	struct pool_line queue[PRIORITIES]; /* requests of no particular worker */
	struct list by_age;                 /* these, by arrival */
	struct pool_request *firsts[POOL_TURN_HASH];
	unsigned queued, running;
	size_t queued_bytes;

	struct list leases;
	unsigned lease_count;
	struct pool_lease *lease_hash[POOL_HASH];

	struct list sessions; /* the known ones, in the order in which they began */
	struct list unused;   /* of these, those that nobody uses, the longest idle first */
	unsigned session_count;
	struct pool_session *session_hash[POOL_SESSION_HASH];

	struct heap waits, runs;   /* deadlines of queued and running requests */
	struct heap patiences;     /* of workers to which calls were sent ahead */
	struct heap graces;        /* of slots */
	struct heap timers;        /* of workers that start or stop */
	struct heap healths, ages; /* of workers that serve: the next look, the end of their time */
	struct heap ttls;          /* of sessions that nobody uses */

	struct list act[POOL_ACTIONS];     /* workers and slots with an action due, by its type */
	struct list closes;                /* slots with calls whose POOL_CLOSE is due */
	struct list opened, done;          /* requests; */
	struct list ahead, begun;          /* to be sent ahead, and begun where they were sent */
	struct list recalls;               /* workers */
	struct list ended, sessions_ended; /* leases and sessions that go back to the node */
	unsigned due;                      /* types of actions of which there may be some */

	struct list leads; /* workers that may take calls ahead */
	uint64_t run_us8;  /* how long calls take, in the mean: eight times that */

	struct pool_totals totals;
	struct histogram wait_us, call_us, start_us;
};

static inline unsigned pool_chain(uint64_t id)
{
	return (unsigned)(id % POOL_HASH);
}

/* pool.c: whether anything waits, runs or is leased. */
bool pool_works(const struct pool *p);

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
	const struct heap_node *first = heap_min(h);

	return first != NULL && first->key <= now_us;
}

/* ---- pool_request.c ---- */

void request_submit(struct pool *p, const struct pool_event *ev);
/* Runs a call in a free slot, in the leased one of its lease, or inside of the call that waits there. */
void request_run(struct pool *p, struct pool_request *r, struct pool_slot *s);
/* Ends the request; the call, if it runs, has no owner afterwards: see call_orphaned(). */
void request_done(struct pool *p, struct pool_request *r, enum pool_outcome outcome);
/* One that was sent ahead has been begun there. */
void request_begun(struct pool *p, struct pool_request *r, struct pool_slot *s);
/* Ends a request whose caller is gone or whose time is up, wherever it is. */
void request_cut(struct pool *p, struct pool_request *r, enum pool_outcome outcome, bool timed_out);
/* Its worker died in it: again, or WORKER_EXIT. */
void request_lost_worker(struct pool *p, struct pool_request *r, bool not_begun);
void request_opened(struct pool *p, struct pool_request *r);
void request_extend(struct pool *p, struct pool_request *r, uint64_t deadline_us);
/* Its caller, who lives, wants no more of the stream. */
void request_close(struct pool *p, struct pool_request *r);
/* Puts a queued request in its place: a queue, its worker's, or behind the first of its session. */
void request_line_up(struct pool *p, struct pool_request *r);
void requests_expire(struct pool *p);
/* Ends all that wait in the queues (not in those of leases and workers). */
void requests_done(struct pool *p, enum pool_outcome outcome);
/* The circuit is open and nobody is there to serve: waiting makes no sense. */
bool requests_hopeless(const struct pool *p);

/* ---- pool_line.c ---- */

void line_init(struct pool_line *line);
/* One of those for requests of no particular worker. */
bool line_is_queue(const struct pool *p, const struct pool_line *line);
void line_put(struct pool *p, struct pool_line *line, struct pool_request *r);
/* Out of its line, if it is in one. `served`: the next turn is another peer's. */
void line_take(struct pool *p, struct pool_request *r, bool served);
/* Whose turn it is; NULL: nobody waits. */
struct pool_request *line_first(const struct pool_line *line);
/* For pool_check(): whether the table has it as the first of its peer; how many it has. */
bool line_known(const struct pool *p, const struct pool_request *r);
unsigned line_count(const struct pool *p);
/* Of those in the queues the one that came first; NULL: nobody waits there. */
struct pool_request *line_oldest(const struct pool *p);

/* ---- pool_serve.c ---- */

/* Where the request could run at once; NULL: nowhere. `on`: its lease, `sn`: its session. */
struct pool_slot *serve_place(const struct pool *p, const struct pool_request *r,
			      const struct pool_lease *on, const struct pool_session *sn);
/* The request, new or queued, begins to be served there. */
void serve(struct pool *p, struct pool_request *r, struct pool_slot *s);
/* The next in line of those that may go anywhere, NULL when nobody waits. */
struct pool_request *serve_first(const struct pool_line *lines);
/* Gives free slots to those who wait. */
void serve_all(struct pool *p);

/* ---- pool_session.c ---- */

struct pool_session *session_find(const struct pool *p, const uint8_t *key, size_t key_len);
/* Whether one more may begin, after an eviction if need be; which session that would be. */
bool session_room(const struct pool *p, const struct pool_session **evicted);
/* The request belongs to `sn` from now on; NULL: to a new one, whose record it has brought along. */
void session_join(struct pool *p, struct pool_request *r, struct pool_session *sn);
/* It waits for its session. */
void session_wait(struct pool_request *r);
/* It does not wait any more: it runs, or is done. */
void session_unwait(struct pool_request *r);
/* It begins in that slot: the session lives in its worker from now on. */
void session_enter(struct pool *p, struct pool_request *r, struct pool_slot *s);
/* It is done: the record it brought along and did not need goes back. */
void session_quit(struct pool *p, struct pool_request *r);
/* The slot has no call and no lease in its session any more. */
void session_leave(struct pool *p, struct pool_slot *s);
/* What becomes of it when something about it has changed: the only one that ends it. */
void session_settle(struct pool *p, struct pool_session *sn);
/* New requests of that name belong to it; or not any more. */
void session_know(struct pool *p, struct pool_session *sn);
void session_forget(struct pool *p, struct pool_session *sn);
/* Evicts the longest idle, if there is no room for one more. */
void session_make_room(struct pool *p);
void session_join_known(struct pool *p, struct pool_request *r, struct pool_session *sn);
/* The first who waits for it; NULL: nobody. */
struct pool_request *session_first(const struct pool_session *sn);

/* ---- pool_session_end.c ---- */

/* A worker died in the call: whether it may run again, and has joined a session for that. */
bool session_rejoin(struct pool *p, struct pool_request *r, bool not_begun);
/* Somebody has heard that it was lost. */
void session_told(struct pool *p, struct pool_session *sn);
void session_end(struct pool *p, struct pool_session *sn, enum pool_session_end end);
/* Its worker has ended it, or is no more. */
void session_parted(struct pool *p, struct pool_session *sn);
/* The worker serves nobody any more: all its sessions are lost. */
void sessions_lost(struct pool *p, struct pool_worker *w);
void sessions_expire(struct pool *p);
/* Before and after the workers are stopped. */
void sessions_stop(struct pool *p);
void sessions_stopped(struct pool *p);

/* A hint that can take its session elsewhere. */
static inline bool session_movable(const struct pool_request *r)
{
	return r->session_mode == SESSION_HINT && r->claim != NULL && r->claim->spare != NULL;
}

/* ---- pool_lease.c ---- */

struct pool_lease *lease_find(const struct pool *p, uint64_t lease_id);
/* Gives a free slot to a checkout. */
void lease_grant(struct pool *p, struct pool_request *r, struct pool_slot *s);
/* The lease's slot has no call: runs the next one that waits and has time left, if any. */
void lease_next(struct pool *p, struct pool_lease *lease);
/* Ends the lease: calls that wait are done with `outcome`, the slot is left without lease. */
void lease_end(struct pool *p, struct pool_lease *lease, enum pool_lease_end end,
	       enum pool_outcome outcome);
/* Its owner gave it back or is gone. */
void lease_returned(struct pool *p, struct pool_lease *lease, enum pool_lease_end end);

/* ---- pool_slot.c ---- */

void slot_move(struct pool *p, struct pool_slot *s, enum worker_state to);
/* Makes `type` the slot's action of this step, instead of any other. */
void slot_act(struct pool *p, struct pool_slot *s, enum pool_action_type type);
/* Its call, probe or lease is over: on to the lease's next call, to idle, or out of a pool that has
 * shrunk. */
void slot_free(struct pool *p, struct pool_slot *s);
/* Whether a call may run inside of the one that is the innermost now. */
bool slot_nestable(const struct pool *p, const struct pool_slot *s);
/* Somebody may be able to run inside of it: looked at when slots are handed out. */
void slot_look(struct pool *p, struct pool_slot *s);
/* The worker's call of that id and its slot; NULL: it has none. */
struct pool_call *slot_call(struct pool_worker *w, uint64_t call_id, struct pool_slot **slot);
/* POOL_CLOSE is due for it. */
void call_close(struct pool *p, struct pool_slot *s, struct pool_call *c);
/* The request that ran in it is done, but the call is not. */
void call_orphaned(struct pool *p, struct pool_slot *s, struct pool_call *c,
		   const struct pool_request *r, bool streaming, bool timed_out);
/* The same for a call that is no stream, when it is known to run. */
void call_abandoned(struct pool *p, struct pool_slot *s, enum pool_abandon abandon, bool timed_out);
/* Nothing of it is due any more: its worker is leaving. */
void slot_quiet(struct pool *p, struct pool_slot *s);
void slots_expire(struct pool *p);
/* Sends it something that PONG answers within `grace_us`, or it is put down. */
void slot_probe(struct pool *p, struct pool_slot *s, enum pool_action_type type, uint64_t grace_us);

void worker_answered(struct pool *p, struct pool_worker *w, uint64_t call_id);
void worker_opened(struct pool *p, struct pool_worker *w, uint64_t call_id);
void worker_waits(struct pool *p, struct pool_worker *w, uint64_t call_id, bool waits);
/* Tells it to end the sessions that are due, as far as it has free slots. */
void worker_ends(struct pool *p, struct pool_worker *w);

/* ---- pool_ahead.c ---- */

/* It runs a call behind which others may be sent. */
void ahead_lead(struct pool *p, struct pool_worker *w);
/* Sends ahead who is next in line; after hand-out. */
void ahead_serve(struct pool *p);
/* A call of so long was answered. */
void ahead_learn(struct pool *p, uint64_t us);
/* The worker has answered its call. True: it goes on with one that was sent ahead. False: with none, and
 * it has none. */
bool ahead_next(struct pool *p, struct pool_slot *s);
/* True: its call without an owner is treated when it is known whether it still runs. */
bool ahead_puts_off(struct pool *p, struct pool_slot *s, enum pool_abandon abandon, bool timed_out);
/* The request, which was sent ahead, is done. */
void ahead_part(struct pool *p, struct pool_request *r, bool timed_out);
/* Its queue time is over. */
void ahead_late(struct pool *p, struct pool_request *r);
void ahead_taken(struct pool *p, struct pool_worker *w, uint64_t call_id);
void ahead_recalled(struct pool *p, struct pool_worker *w, const uint64_t *call_ids, unsigned count);
/* All are to come back: of one worker, if it has any; of all. */
void ahead_recall(struct pool *p, struct pool_worker *w);
void ahead_recall_all(struct pool *p);
/* The worker leaves; it is gone. */
void ahead_withdraw(struct pool *p, struct pool_worker *w);
void ahead_bereave(struct pool *p, struct pool_worker *w);
/* The pool stops: nobody waits any more. */
void ahead_stop(struct pool *p, struct pool_worker *w);
/* The answer of a worker that is stopping to one that it had taken. False: it has no such call. */
bool ahead_last_words(struct pool *p, struct pool_worker *w, uint64_t call_id);
/* Whether somebody waits for one of those. */
bool ahead_owned(const struct pool_worker *w);
void aheads_expire(struct pool *p);

/* ---- pool_worker.c ---- */

struct pool_worker *worker_find(const struct pool *p, uint64_t worker_id);
/* Makes `type` the worker's action of this step, instead of any other. */
void worker_act(struct pool *p, struct pool_worker *w, enum pool_action_type type);
/* Moves the worker with all its slots. */
void worker_move(struct pool *p, struct pool_worker *w, enum worker_state to);
/* Its slots or its pinned requests have changed: where it stands in the lists of those with free ones. */
void worker_offer(struct pool *p, struct pool_worker *w);
/* A slot of it has come free: true, if it leaves the pool for that, which is too large. */
bool worker_surplus(struct pool *p, struct pool_worker *w);
/* The worker begins to stop: POOL_END, POOL_KILL, or POOL_ABORT (which is POOL_KILL without a dump_grace). */
void worker_leave(struct pool *p, struct pool_worker *w, enum pool_action_type how,
		  enum pool_why why);
/* It has lost a request or a lease (the field is NULL already). */
void worker_disowned(struct pool *p, struct pool_worker *w);
/* It has answered: its start was a success. */
void worker_proved(struct pool *p, struct pool_worker *w);

void worker_ready(struct pool *p, struct pool_worker *w);
void worker_broken(struct pool *p, struct pool_worker *w);
void worker_kill(struct pool *p, struct pool_worker *w); /* because it was asked for */
void worker_gone(struct pool *p, struct pool_worker *w, bool not_begun);

void workers_expire(struct pool *p);
/* Frees those that are GONE. */
void workers_reap(struct pool *p);

/* ---- pool_size.c ---- */

void workers_start(struct pool *p);
void workers_resize(struct pool *p, unsigned size, unsigned size_max);
void workers_stop(struct pool *p);

/* ---- pool_range.c ---- */

unsigned range_max(const struct pool *p);
/* When one more worker is wanted, or one less; POOL_NEVER: not as things are. */
uint64_t range_grows_at(const struct pool *p);
uint64_t range_shrinks_at(const struct pool *p);
/* Grows or shrinks as far as that is due; after hand-out. */
void range_adapt(struct pool *p);

/* ---- pool_health.c ---- */

/* It serves now, or the configuration is new: limits of its own. */
void worker_limits(struct pool *p, struct pool_worker *w);
/* It is looked at when it may have been idle for its interval. */
void worker_watch(struct pool *p, struct pool_worker *w);
void worker_unwatch(struct pool *p, struct pool_worker *w);
/* It has answered one more. */
void worker_counted(struct pool *p, struct pool_worker *w);
void health_expire(struct pool *p);

/* ---- pool_recycle.c ---- */

void worker_recycle(struct pool *p, struct pool_worker *w, enum pool_why why);
void workers_recycle(struct pool *p, uint64_t worker_id, enum pool_why why);
/* It serves now: its turn comes, if it is to be replaced. */
void worker_line_up(struct pool *p, struct pool_worker *w);
/* Those whose turn comes leave, as far as there are more workers than wanted. */
void workers_replace(struct pool *p);
/* It serves nobody any more: its turn is over. */
void worker_replaced(struct pool *p, struct pool_worker *w);
/* How many workers there should be that take requests or will: the size, and one replacement. */
unsigned workers_wanted(const struct pool *p);

/* Workers that take requests, or will when they are ready. */
static inline unsigned workers_there(const struct pool *p)
{
	return p->serving - p->leaving + p->count[WORKER_STARTING];
}

/* A free slot of the worker that may be given to somebody; NULL: none. */
static inline struct pool_slot *worker_slot(struct pool_worker *w)
{
	struct pool_slot *s = w->slot;

	if (w->retiring || w->in[WORKER_IDLE] == 0)
		return NULL;
	while (s->state != WORKER_IDLE)
		s++;
	return s;
}

#endif
