/* stress.h - what the rooms of krait_stress share.
 *
 *   krait_stress.c    main: options, the world, the clock, the exit status
 *   stress_options.c  the command line
 *   stress_wire.c     handshake and signals as bytes (pure)
 *   stress_peer.c     one simulated BEAM node: dial, vanish, come back
 *   stress_conn.c     the bytes of its connection
 *   stress_signal.c   what the node says to a peer, sorted and checked
 *   stress_ask.c      the books: every reference that we sent, and what may still come for it
 *   stress_barrier.c  since when can nothing more come for what is over?
 *   stress_answer.c   is this answer the right one?
 *   stress_caller.c   one simulated process: born, asks, gives up, dies
 *   stress_request.c  its requests, as GenServer.call sends them
 *   stress_term.c     terms for people
 *   stress_lease.c    a process that holds a lease: calls, checkin, give_away, links
 *   stress_stream.c   a stream is asked for: its shape and its plan
 *   stress_stream_say.c  its owner: asks, cancels, leaves
 *   stress_stream_hear.c  what its owner is sent
 *   stress_stream_end.c  how a stream may end
 *   stress_session.c  calls in sessions, and the books of each session
 *   stress_session_book.c  what an answer in a session may be
 *   stress_batch.c    several calls in one request
 *   stress_settle.c   at the end: what the node and its workers say of sessions and generators
 *   stress_junk.c     what no client should send, but some will
 *   stress_admin.c    the clean peer: status, workers, kills of workers, the end's checks
 *   stress_proc.c     /proc: descriptors and memory of the node, the slope
 *   stress_spawn.c    a node of our own
 *   stress_conduct.c  the phases of a run
 *   stress_verdict.c  the checks at its end
 *   stress_report.c   progress, violations with their history, the report
 *
 * The world: `peers` simulated nodes and one clean one (the last, for administration). Each load peer has
 * its share of `callers` slots; a slot is one process at a time, a new pid after each death. Each
 * peer has one more slot, its control process, which lives as long as the connection.
 *
 * A nonce names one reference that we sent: slot << 40 | sequence. It stands in the reference's words and
 * in the payload, so whatever arrives names the process that it is for. One thread, one loop. */
#ifndef KRAIT_STRESS_H
#define KRAIT_STRESS_H

#include "buf.h"
#include "heap.h"
#include "histogram.h"
#include "list.h"
#include "stress_conn.h"
#include "stress_node.h"
#include "stress_options.h"
#include "stress_report.h"
#include "stress_session.h"
#include "stress_stream.h"
#include "stress_wire.h"
#include "term.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define NEVER            UINT64_MAX
#define SECOND_US        UINT64_C(1000000)
#define JOURNAL          1024 /* events kept about workers */
#define INHERIT_MAX      4    /* leases given to one process that it has not yet looked at */
#define PID_BASE         100u /* a process' pid has the id PID_BASE + slot */
#define NONCE_SLOT_SHIFT 40
#define UNKNOWN_NAME     "krait_stress_nobody"

struct stress;
struct sim;

/* ---- randomness and time ---- */

uint64_t rnd(struct stress *s);                /* 64 bits, from --seed */
uint64_t rnd_to(struct stress *s, uint64_t n); /* 0 .. n - 1; 0 for n = 0 */
bool rnd_pct(struct stress *s, double percent);
uint64_t now_us(void);

/* A moment at which something happens; zeroed before its first use. */
struct alarm {
	struct heap_node node;
	void (*fn)(void *arg);
	void *arg;
};
void alarm_set(struct stress *s, struct alarm *a, uint64_t at_us);
void alarm_clear(struct stress *s, struct alarm *a);

/* ---- the books ---- */

enum ask_kind {
	ASK_IDENTITY,
	ASK_SLEEP,  /* a slow call that ends */
	ASK_STUCK,  /* one that does not, within any time-out */
	ASK_RAISE,  /* a Python exception that carries the nonce */
	ASK_OS_PID, /* on a lease: which worker is it? */
	ASK_PING,
	ASK_PING_WORKER,
	ASK_CHECKOUT,
	ASK_CHECKIN,
	ASK_GIVE_AWAY,
	ASK_BAD,  /* a request that must be refused */
	ASK_AUTH, /* net_adm:ping */
	ASK_SPAWN,
	ASK_STREAM,
	ASK_BATCH,
	ASK_SESSION,       /* a call in a session */
	ASK_SESSION_STUCK, /* one that does not end, within any time-out */
	ASK_END_SESSION,
	ASK_MONITOR, /* a monitor and nothing else */
	ASK_STATUS,  /* from here on: by the clean peer alone */
	ASK_WORKERS,
	ASK_RESIZE, /* from here on to RESUME: by the operator (stress_operator.c) */
	ASK_RELOAD,
	ASK_RECYCLE,
	ASK_PAUSE,
	ASK_RESUME,
	ASK_SESSIONS,
	ASK_CLEAR,  /* end_session, of all that there are at the end */
	ASK_HOLD,   /* checkout of every worker, so that each can be asked */
	ASK_COUNTS, /* what the worker has counted */
	ASK_RETURN,
	ASK_KINDS
};
extern const char *const ask_names[ASK_KINDS];

/* How a request ended, for its caller. The first ones are the node's answers. */
enum outcome {
	OUT_OK,
	OUT_PYTHON,
	OUT_TIMEOUT_QUEUE,
	OUT_TIMEOUT_CALL,
	OUT_OVERLOADED,
	OUT_WORKER_EXIT,
	OUT_CIRCUIT_OPEN,
	OUT_LEASE_CLOSED,
	OUT_NOT_OWNER,
	OUT_NOPROC, /* the answer {error, noproc} of give_away */
	OUT_SESSION_LOST,
	OUT_SESSION_BUSY,
	OUT_NO_SESSION,
	OUT_NO_WORKER,
	OUT_REFUSED, /* bad_request and its kin */
	OUT_OTHER,   /* an error that no client should see here */
	OUT_DOWN,    /* the lease's monitor fired instead */
	OUT_GAVE_UP,
	OUT_DIED,
	OUT_LOST, /* with the connection */
	OUTCOMES_HEARD
};
extern const char *const outcome_names[OUTCOMES_HEARD];
#define OUT_BIT(o) (1u << (o))

/* How the tag of a request looks. */
enum tag { TAG_ALIAS, TAG_ALIAS_IN_LIST, TAG_REF, TAG_MULTI };

/* One reference that we sent. It is live, then perhaps cut (given up, dead, answered while its monitor's
 * demonitor is under way): then at most what crossed it may come, until the barrier that was sent
 * after it is acknowledged, and nothing afterwards. */
struct ask {
	struct list by_caller, by_tomb;
	struct caller *caller;
	uint64_t nonce, sent_us, timeout_us;
	uint32_t serial; /* of the process that sent it */
	uint64_t due_us; /* when its answer (MONITOR: its DOWN) is overdue; NEVER: not awaited */
	uint64_t cut;    /* 0: live; else the barrier that ends it */
	enum ask_kind kind;
	enum tag tag;
	bool asks;          /* a request went with it: an answer comes */
	bool monitors;      /* a monitor of ours stands under it */
	bool countable;     /* the node counts it in `received` */
	bool gone;          /* it is for a lease that has certainly ended */
	bool thief;         /* it is for a lease of somebody else */
	bool released;      /* CHECKIN, GIVE_AWAY: it was answered with ok */
	bool doubtful;      /* for one that may have */
	const char *normal; /* MONITOR: the reason must be `normal`: of what; NULL: any */
	bool low;           /* of low priority: under this load it may wait for ever */
	unsigned answers, downs;
	const char *name; /* whom the monitor is on; NULL: `pid` */
	struct term_pid pid;
	size_t payload_len;
	struct ask *companion; /* TAG_MULTI: the monitor, which has another reference */
	unsigned heir_slot;    /* GIVE_AWAY */
	uint32_t heir_serial;
	bool heir_dead;        /* it was, when we asked */
	struct stream *stream; /* STREAM: what is to be opened; ours until it is */
	unsigned batch;        /* BATCH: calls in it */
	struct session *session;
	struct session_snap snap; /* its books when this was sent */
};

struct ask *ask_new(struct caller *c, enum ask_kind kind);
void ask_free(struct ask *a);
void ask_cut(struct ask *a); /* from now on only what crosses may come */
void ask_retire(struct sim *sim,
		uint64_t barrier); /* the node has seen all that was cut before it */
struct ask *ask_find(struct caller *c, uint64_t nonce); /* NULL: over, or never */
void ask_watch(struct ask *a, const char *name, const struct term_pid *pid); /* MONITOR_P */
void ask_unwatch(struct ask *a); /* DEMONITOR_P if the monitor stands */
struct wire_ref ask_ref(const struct ask *a);
void ask_overdue(struct caller *c, uint64_t now); /* whatever should have been here by now */
void outcome_count(struct stress *s, const struct ask *a, enum outcome o);

/* Judges an answer: which outcome it is, and whether it may be; violations are told. */
enum outcome answer_judge(struct ask *a, const uint8_t *reply);
/* An answer that nobody takes. A lease that it grants is watched: the node must end it. */
void answer_came_late(struct ask *a, const uint8_t *reply); /* its caller has given up, or died */
void answer_unheard(struct ask *a, const uint8_t *reply);   /* it dies with it in its mailbox */
void term_print(const uint8_t *t, char *text, size_t size); /* cut to what fits */

/* ---- processes ---- */

/* A monitor of the node's on one of our processes. */
struct watcher {
	struct list link;
	struct term_pid from;
	size_t ref_len;
	uint8_t ref[];
};

struct lease {
	bool held;
	bool doubtful;  /* it may have ended, or have another owner, by our own doing */
	bool was_given; /* inherited: it is not given away again */
	struct term_pid pid;
	struct ask *monitor; /* ours on it, while live */
	unsigned calls_left;
	uint64_t os_pid;         /* of its worker; 0: not asked yet */
	struct session *session; /* that it was checked out with */
};

struct caller {
	struct stress *s;
	struct sim *sim;
	unsigned slot;
	uint32_t serial; /* counts the slot's lives */
	bool alive, control;
	uint64_t sequence;
	uint64_t spared_us; /* it does not die before: somebody watches what it must not hold */
	struct list asks;   /* live and cut ones of all its lives */
	struct list watchers;
	uint64_t overseen_us; /* there have been more of them than we know of since then; 0: no */
	struct ask *waiting;  /* the request that it waits for */
	uint64_t barrier;     /* the last one that asked for it */
	uint32_t barrier_serial;
	enum fate { FATE_NONE, FATE_GIVE_UP, FATE_DIE, FATE_DIE_UNHEARD } fate;
	enum wake { WAKE_BORN, WAKE_NEXT, WAKE_FATE } wake;
	struct alarm alarm;
	struct lease lease;
	struct {
		struct term_pid pid;
		bool doubtful;
	} inherit[INHERIT_MAX];
	unsigned inherited;
	struct stream *stream; /* that it owns */
	struct list streams;   /* that one, and those that have ended, of all its lives */
	bool ghost;            /* it is about to use a lease that it has given back */
	struct {
		enum { LINK_NONE, LINK_LINKED, LINK_UNLINKING } state;
		struct term_pid pid;
		uint64_t unlink_id, due_us;
	} link;
	struct event ring[RING];
	unsigned events;
};

struct term_pid caller_pid(const struct caller *c);
struct buf *caller_out(struct caller *c); /* what goes to the node; the peer is up */
void caller_give_up(struct caller *c);    /* what it waits for; FATE_GIVE_UP, or forced */
void caller_born(struct caller *c);
void caller_wake_in(struct caller *c, enum wake wake, uint64_t us);
void caller_next_soon(struct caller *c, bool failed); /* after an answer, or instead of one */
void caller_die(struct caller *c);
void caller_lost(struct caller *c); /* its connection is gone: nobody will hear anything */
void caller_heard(struct caller *c, struct ask *a, const uint8_t *reply); /* the awaited answer */
void caller_down(struct caller *c, struct ask *a, const uint8_t *reason); /* instead of it */
void caller_say(struct caller *c, const char *what, uint64_t nonce,
		uint64_t more); /* to its ring */

/* Requests: begin a message to `name` or (NULL) to the lease `pid`; append the request; send. */
struct ask *request_begin(struct caller *c, enum ask_kind kind, const char *name,
			  const struct term_pid *pid, size_t *start);
void request_send(struct ask *a, size_t start, uint64_t timeout_us);
void request_put_call(struct ask *a, struct buf *out, uint64_t timeout_ms);
void call_send(struct caller *c);
void checkout_send(struct caller *c);
void cast_send(struct caller *c);

void request_put_function(struct buf *out, const char *module, const char *function);
void request_put_payload(const struct stress *s, uint64_t nonce, size_t len, struct buf *out);
bool request_is_payload(const struct stress *s, uint64_t nonce, size_t len, const uint8_t *value);
size_t request_some_payload(struct stress *s);

/* ---- the operator ---- */

void operator_acts(struct stress *s);
void operator_leaves(struct stress *s); /* as it was before */
void operator_answer(struct ask *a, const uint8_t *reply);
/* How many workers may start and be ready, of a pool that says it has that size. */
uint64_t operator_most_workers(const struct stress *s, uint64_t size);

/* ---- batches; the end ---- */

/* What a session and a stream say of an answer: NULL, or what is wrong with it. */
const char *session_judge(struct ask *a, enum outcome o, const uint8_t *reply);
const char *stream_judge_opening(const struct ask *a, enum outcome o, const uint8_t *reply);

void batch_send(struct caller *c, const struct term_pid *lease);
const char *batch_judge(const struct ask *a, const uint8_t *value);

void settle_start(struct stress *s);
bool settled(struct stress *s); /* false: not yet */
void settle_answer(struct ask *a, const uint8_t *reply);

/* What answers and their parts are; NULL, or OUT_OK, where they are not. */
const uint8_t *answer_second(const uint8_t *t, const char *word); /* of {word, Second} */
enum outcome answer_classify(const uint8_t *reply);
bool answer_names(const uint8_t *reply, uint64_t nonce); /* an exception whose message has it */

/* ---- leases ---- */

void lease_granted(struct caller *c, const struct term_pid *pid);
bool lease_inherit(struct caller *c); /* takes what was given to it; false: nothing was */
void lease_step(struct caller *c);    /* the next thing to do with it */
void lease_heard(struct caller *c, const struct ask *a, enum outcome o, const uint8_t *reply);
void lease_gave_up(struct caller *c, const struct ask *a);
void lease_ended(struct caller *c,
		 bool normal);         /* DOWN and EXIT are due; `normal`: of that reason */
void lease_surprise(struct caller *c); /* it has ended, and not by our doing */
void lease_witness(struct caller *c, const struct term_pid *pid,
		   uint64_t from_us); /* control process: it must end, soon after that */
void lease_drop(struct caller *c);    /* the process is gone */
void lease_gone(struct caller *c);    /* what ran on it took it along */
void lease_leave(struct caller *c, bool checkin); /* ends it, by a checkin or an exit signal */
void junk_send(struct caller *c);
void junk_hostile(struct caller *c, struct buf *out);
bool lease_steal(struct caller *c); /* uses somebody else's; false: nobody has one */
bool pid_same(const struct term_pid *a, const struct term_pid *b);

/* ---- peers ---- */

enum vanish { VANISH_CLOSE, VANISH_RESET, VANISH_SILENCE, VANISH_HOSTILE, VANISHES };
extern const char *const vanish_names[VANISHES];

struct sim {
	struct stress *s;
	unsigned index;
	char name[64];
	uint32_t creation;
	uint64_t flags;
	unsigned ref_words;
	enum sim_state { SIM_DOWN, SIM_DIALLING, SIM_UP, SIM_SILENT } state;
	const char *must_end; /* why the node must close the silent connection */
	bool admin, paused, long_silence, same_life; /* the next dial is with the same creation */
	struct conn *conn, *silent; /* the one in use; one that says nothing any more */
	struct alarm alarm, silence;
	uint64_t barrier;  /* so many rounds were begun; */
	unsigned acks_due; /* this many acknowledgements of the last one are not here */
	uint64_t heard_us, ticked_us, dialled_us;
	uint64_t noticed_us; /* the node knows by then that the silent connection is at its end */
	uint64_t casts, casts_at_barrier, casts_acked;
	struct list tombs; /* asks that are cut, in the order of their barriers */
	struct list ended; /* streams that have ended or are cut */
	struct caller *control;
};

void sim_dial(struct sim *sim);
void sim_vanish(struct sim *sim, enum vanish how);
void sim_leave(struct sim *sim); /* for good */
uint64_t sim_answers_by(const struct sim *sim,
			uint64_t us); /* when what it is asked at `us` is known */
struct buf *sim_out(struct sim *sim);
void sim_barrier(struct sim *sim);
void barrier_acked(struct sim *sim, struct caller *c, uint64_t id); /* by an UNLINK_ID_ACK to it */
void sim_pause(struct sim *sim,
	       bool pause); /* it does not read for a moment: what crosses, crosses */
struct term_pid sim_node_pid(const struct sim *sim, uint32_t id);
void sims_flush(struct stress *s);
/* ---- all of it ---- */

struct stress {
	struct options options;
	uv_loop_t loop;
	uv_timer_t timer;
	uv_prepare_t prepare;
	struct heap alarms;
	uint64_t random;
	char node_name[WIRE_NAME_MAX + 1];
	char *cookie;
	struct sockaddr_in address;
	uint32_t node_creation;
	struct term_pid node_pid; /* the process that answers; id 0: not known yet */
	struct sim *sims;         /* peers + 1; the last is the clean one */
	struct caller *callers;   /* callers, then one control process per sim */
	unsigned slots;
	struct session *sessions;
	uint8_t *noise; /* payloads begin at nonce * 7919 modulo half of it: bytes, then text */
	size_t noise_len;
	enum phase {
		PHASE_BEGIN, /* looking for the node */
		PHASE_READY, /* waiting until it is, and for its figures at rest */
		PHASE_RUN,
		PHASE_CALM,   /* nobody asks anything new; what is under way ends */
		PHASE_SETTLE, /* everybody is dead: sessions are counted and ended, workers asked */
		PHASE_REST,   /* nothing is left */
		PHASE_GONE,   /* the load peers have left */
		PHASE_END
	} phase;
	uint64_t started_us, run_us, calm_us, quiet_us, phase_us, swept_us, lenient_until_us,
		progress_us;
	struct alarm sweep, dropper, killer, actor, baton;
	struct caller *current; /* whose turn it is: for failures */

	/* the books */
	uint64_t sent[ASK_KINDS], outcomes[OUTCOMES_HEARD], casts, junk, countable, countable_lost;
	uint64_t late, late_leases, crossed, respawns, drops[VANISHES], connects, alive_answers,
		surprises;
	uint64_t stream_ends[STREAM_ENDS], streams, items, asks, talks, sessions_begun, epochs,
		losses, batched;
	uint64_t slowest_close_us;
	uint64_t bytes_in, bytes_out, watches, probes;
	struct histogram latency;
	double usual_us, usual_lease_us; /* moving averages of it */
	uint64_t exits_heard, ambiguous, sums_wrong, idle_in_vain;
	uint64_t lags;   /* times that we did not run for over a second */
	uint64_t checks; /* things that were looked at and found right */
	uint64_t failures, failures_kept;
	struct failure failure[FAILURES_KEPT];
	struct verdict verdicts[VERDICTS_MAX];
	unsigned verdict_count;
	const char *fatal; /* why the run could not go on */

	struct {
		uint64_t asked, largest; /* the largest size that was asked for */
		bool paused, reloading;
	} operator;

	/* the node */
	struct status status, before, after;
	bool status_asked, workers_asked, status_wanted;
	uint64_t status_wanted_us, workers_asked_us;
	struct alarm admin_alarm;
	unsigned kills_due;
	uint64_t workers_killed, kills_missed;
	unsigned fds_before, fds_after, fds_max;
	double *sample_min, *sample_kib;
	size_t samples, samples_cap;
	uint64_t rss_first, rss_last, rss_max;
	struct journal_entry journal[JOURNAL];
	unsigned journaled;
	uint64_t *lease_ids; /* all that were ever granted: an open hash */
	size_t lease_ids_cap, lease_ids_len;

	struct {
		unsigned asked, answered, listed, workers;
		uint64_t opened, closed, begun, ended;
		bool over;
		enum settle_step {
			SETTLE_GHOSTS,
			SETTLE_LIST,
			SETTLE_CLEAR,
			SETTLE_NONE,
			SETTLE_REST,
			SETTLE_HOLD,
			SETTLE_COUNT,
			SETTLE_RETURN,
			SETTLED
		} step;
		struct term_pid *leases; /* `slots` of them */
		unsigned slots;
	} settle;

	/* our own node */
	uv_process_t process;
	uv_pipe_t node_in, node_out;
	bool spawned, exited, node_ready, node_killed;
	int64_t exit_status;
	int exit_signal, log_fd;
	char log_path[256], ready_line[512];
	size_t ready_len;
};

/* The conductor: one phase after the other; starts with the loop. */
void conduct(struct stress *s);

#endif
