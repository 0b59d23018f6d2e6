/* node_private.h - what the rooms of the node share: its tables, and who may call whom.
 *
 *   node.c          life: listener, signals, stop, the end
 *   node_peer.c     what a peer's connection says, sorted; the peer's end
 *   node_monitor.c  monitors, in both directions
 *   node_request.c  requests: opened, parsed, admitted or answered
 *   node_admit.c    a request's record, made and freed
 *   node_reply.c    where an answer goes, and its outside
 *   node_answer.c   answers and errors, written
 *   node_holding.c  what clients hold, as processes: owners, monitors, links
 *   node_lease.c    leases: grant, give_away, end
 *   node_stream.c   streams: opened, asked, cancelled, ended
 *   node_stream_flow.c  streams: items and credit
 *   node_lane.c     lanes: many calls in one message
 *   node_session.c  sessions: keys, owners, requests about them
 *   node_batch.c    several calls in one request
 *   node_rpc.c      rpc and erpc: the processes that spawn requests ask for
 *   node_rpc_answer.c  how such a call ended, in the words of erpc and rex
 *   node_rex.c      messages to the name rex
 *   node_callback*.c  what workers say to processes of peers: calls, messages, monitors (node_callback.h)
 *   node_progress.c reports of a running call
 *   node_deadlock.c workers that wait for those who wait for workers
 *   node_connect.c  connections that we open
 *   node_pool.c     the pump: the sole caller of pool_step; performs actions
 *   node_memory.c   workers that have grown too large
 *   node_worker.c   workers: starts, frames, output, exits
 *   node_hello.c    the first thing that a worker says
 *   node_index.c       which of its pool's workers one is
 *   node_cgroup.c      a cgroup for each worker
 *   node_forkserver.c  the fork servers, and what they say of workers
 *   node_control.c  sizes, pauses, workers replaced or killed, and who waits for the end of that
 *   node_status.c   status and workers, written
 *   node_notify.c   what the service manager hears
 *   node_roles.c    who may say what
 *   node_requests.c requests, peers and pools, written; requests cancelled
 *   node_config.c   the configuration: shown, one option set
 *   node_reload.c   a new configuration comes into force
 *   node_difference.c, node_apply.c  its difference to the present one; as far as it counts at once
 *   node_pool_config.c  what a pool is told; pools that leave
 *   node_events.c   who hears of events and log lines
 *   node_failures.c what went wrong of late
 *   node_metrics*.c the same for Prometheus and for the status page (node_metrics.h)
 *   node_event_call.c, node_event_state.c  what they hear of
 *   node_logs.c     what workers print
 *
 * Ownership: a node_request is the node's until POOL_SUBMIT, the pool's until POOL_DONE, then freed. A
 * lease belongs to its checkout until that is granted, then to the pool until POOL_LEASE_ENDED. Books
 * of a peer are freed when its handles are closed; whatever points at them is cut before. */
#ifndef KRAIT_NODE_PRIVATE_H
#define KRAIT_NODE_PRIVATE_H

#include "mem.h"
#define uthash_malloc(size)    mem_alloc(size)
#define uthash_free(ptr, size) mem_free(ptr)
#define HASH_NONFATAL_OOM      1
#include <uthash.h>

#include "config.h"
#include "epmd.h"
#include "event.h"
#include "forkserver.h"
#include "guard.h"
#include "list.h"
#include "metrics.h"
#include "log.h"
#include "log_rate.h"
#include "node.h"
#include "peer.h"
#include "pool.h"
#include "request.h"
#include "term.h"
#include "transcode.h"
#include "worker.h"

#include <signal.h>
#include <uv.h>

#define NODE_PID_ID     1u    /* the node's own pid, the sender of answers and monitors */
#define NODE_FIRST_ID   1000u /* of requests, leases, workers, watches: one counter, never reused */
#define MONITORS_MAX    (1u << 20) /* of one peer on us */
#define SMALL_FRAME     1024       /* frames up to here live in their request */
#define DETAIL_MAX      4096       /* bytes of the cause of a failed start */
#define SUBSCRIBERS_MAX 256

/* How requests were answered, beyond the pool's own outcomes; the keys in status' totals. */
enum answer_kind {
	ANSWER_OK,
	ANSWER_PYTHON,
	ANSWER_NO_FUNCTION,
	ANSWER_NOT_ALLOWED,
	ANSWER_UNENCODABLE,
	ANSWER_TOO_LARGE,
	ANSWER_TOO_DEEP,
	ANSWER_BAD_REQUEST, /* bad_request, bad_option, unknown_request, invalid_checkout_type */
	ANSWER_NOT_OWNER,
	ANSWER_TIMEOUT_QUEUE,
	ANSWER_TIMEOUT_CALL,
	ANSWER_OVERLOADED,
	ANSWER_WORKER_EXIT,
	ANSWER_CIRCUIT_OPEN,
	ANSWER_LEASE_CLOSED,
	ANSWER_DRAINING,
	ANSWER_SESSION_LOST,
	ANSWER_SESSION_BUSY,
	ANSWER_NO_SESSION,
	ANSWER_DEADLOCK,
	ANSWER_CANCELLED,
	ANSWER_KINDS
};

/* A pid of a peer, without its node's name (which is the peer's). */
struct local_pid {
	uint32_t id, serial, creation;
};

/* What the node keeps about one peer. */
struct books {
	struct node *node;
	struct peer *peer;
	uint64_t id;
	bool up, forgotten;
	bool dialled;                                         /* we opened the connection */
	enum { USER_UNASKED, USER_UNKNOWN, USER_KNOWN } user; /* who opened it, if over loopback */
	uint32_t uid;                                         /* KNOWN */
	uint64_t up_us;
	bool dirty; /* in node->dirty: output to flush before the loop blocks */
	struct list link, dirty_link;
	struct monitor *monitors; /* theirs on us, by reference */
	struct list requests;     /* struct node_request, by_peer: callers that live there */
	struct list holdings;     /* struct node_holding, by_peer: owners that live there */
	struct list links;        /* struct node_link, by_peer */
	struct list watches;      /* struct watch, by_peer: ours on pids there */
	struct list stalled;      /* struct node_stream: they wait until this peer has read */
	struct list callbacks;    /* struct callback, by_peer: sent there */
	struct list spawns;       /* struct callback, waiter.link: rpcs that wait for `leader` */
	struct local_pid leader;  /* the process `user` there, which prints what rpcs print */
	bool leader_asked, leader_known;
	struct node_lane *lanes; /* by pid */
};

/* A monitor that a process of a peer holds on a name or a lease of ours. */
struct monitor {
	UT_hash_handle hh;
	struct books *books;
	struct local_pid watcher;
	struct node_holding *holding; /* what is monitored; NULL: a name */
	struct node_pool *pool;       /* of that name */
	struct list by_holding;
	struct node_request *request;  /* whose tag carries the same reference */
	struct node_holding *granting; /* answered with this one, not yet known to be heard */
	uint32_t ref_len;
	uint8_t ref[];
};

/* A monitor of ours on a process of a peer. */
enum watch_kind {
	WATCH_CALLER,
	WATCH_OWNER,
	WATCH_HEIR,
	WATCH_SESSION,
	WATCH_SUBSCRIBER,
	WATCH_LANE
};
struct watch {
	UT_hash_handle hh; /* by id, in node->watches */
	uint64_t id;
	enum watch_kind kind;
	/* node_request (CALLER), node_holding (OWNER), node_lease (HEIR), node_session (SESSION),
	 * subscriber (SUBSCRIBER), node_lane (LANE) */
	void *object;
	struct books *books;
	struct list by_peer;
	struct local_pid pid;
	uint64_t from; /* the id of our pid that monitors */
};

/* A process of a peer that asks for many. */
struct lane_call;
struct node_lane {
	UT_hash_handle hh; /* by pid, in books.lanes */
	struct books *books;
	struct local_pid pid;
	struct watch *watch;
	struct lane_call *calls; /* by Id */
	struct buf answers;      /* {Id, Answer}, not yet sent */
	uint32_t count;          /* of them */
	struct list dirty_link;  /* in node.dirty_lanes */
};

/* Places in a frame that are filled in when it is sent, or copied from it; offsets, 0: none. */
struct frame_marks {
	bool has_deadline;        /* its last four bytes */
	uint32_t token_at;        /* eight bytes: the session's token */
	uint32_t key_at, key_len; /* the session's id */
};

/* How a request is answered. */
enum reply_form {
	REPLY_GEN, /* {Tag, Reply}, as a gen_server */
	REPLY_RPC, /* by the end of the process that a spawn request asked for: node_rpc.c */
	REPLY_REX, /* {Tag, Result} without `ok`, or {Tag, {badrpc, ...}}: node_rex.c */
};

/* One request of a caller. */
struct node_session;
struct node_stream;
struct node_request {
	struct pool_request pool;
	struct node_pool *owner_pool;
	enum request_verb verb;
	struct books *books; /* NULL: the peer is gone, nobody is answered */
	struct list by_peer;
	struct list waiting; /* AWAIT_READY, DRAIN, RELOAD: in node_pool.waiting, drains, reloads */
	struct local_pid caller;
	struct monitor *monitor;
	struct watch *watch;
	struct node_lease *lease;   /* CHECKOUT: what will be granted; GIVE_AWAY: what is given */
	struct node_stream *stream; /* STREAM: what will be opened */
	struct node_session
		*session; /* the fresh record that goes along with POOL_SUBMIT, until then */
	enum reply_form form;
	enum answer_kind answer; /* what it was answered with, if it was */
	bool in_lane;            /* it came in one */
	struct lane_call *lane_call; /* while its answer is wanted there; its tag is the Id */
	struct node_rpc *rpc;    /* REPLY_RPC: the process that runs it */
	bool of_node; /* AWAIT_READY, DRAIN, RELOAD: it was said to the node, and concerns all pools */
	uint64_t count;   /* AWAIT_READY: how many workers; rpc: the number of arguments */
	uint64_t sent_us; /* PING_WORKER */
	uint8_t *frame;   /* heap, or inside data[] */
	uint32_t frame_len;
	struct frame_marks marks;
	bool cast, frame_on_heap, strings_utf8;
	uint16_t tag_len, alias_at, alias_len; /* the tag is at data[0] */
	/* after the tag: the terms of module and function (CALL, STREAM; of a batch M and F of all calls,
	 * one after the other, are the function), the tag of progress, the session's id; then its key,
	 * which pool.session_key points at */
	uint16_t module_len, progress_len, session_len;
	uint32_t function_len, trace_at; /* trace_at: where the trace context is, of */
	uint16_t trace_len;
	uint8_t data[];
};

/* Somebody who waits for a connection; lives in his own record. */
struct connect_waiter {
	struct list link; /* list_init() it; list_remove(): nobody waits any more */
	void (*done)(struct connect_waiter *w, struct books *b); /* b NULL: there is no way */
};

/* Something that a client holds by a pid of ours: a process as the BEAM sees it. */
enum holding_kind { HOLDING_LEASE, HOLDING_STREAM, HOLDING_RPC, HOLDING_CALLBACK };
struct node_holding {
	UT_hash_handle hh; /* by id, in node->holdings, while it can be found by its pid */
	uint64_t id;       /* in its pid; of a lease its pool.id, of a stream its request's */
	enum holding_kind kind;
	struct node *node;
	struct books *books; /* of the owner; NULL: its peer is gone */
	struct list by_peer;
	struct local_pid owner;
	struct watch *watch;
	struct list monitors;  /* struct monitor, by_holding */
	struct list links;     /* struct node_link, by_holding */
	struct monitor *grant; /* the caller's monitor until it is known to have heard the answer */
	uint64_t probe_id;     /* the unlink id whose ack tells that; 0: known */
	struct buf reason;     /* why it ends, an encoded term; empty: for a reason of its own */
};

struct node_lease {
	struct pool_lease pool;
	struct node_holding h;
	struct node_pool *owner_pool;
	uint64_t granted_us;
	struct node_request *giving; /* give_away under way */
	struct watch *heir;
	uint64_t heir_probe_id;
	struct local_pid heir_pid;
	struct connect_waiter heir_waiter; /* its node is being connected to */
};

/* The process that a spawn request asked for, while its call lives. */
struct node_rpc {
	struct node_holding h; /* owned by nobody: whoever waits monitors it or is linked to it */
	struct node_request *request;
	bool cast; /* erpc:execute_cast/3 */
};

struct node_link {
	struct list by_holding, by_peer;
	struct node_holding *holding;
	struct books *books;
	struct local_pid pid;
};

/* Who prints lines: node_logs.c. */
struct log_printer {
	struct node_pool *pool;
	const char *object;
	uint64_t worker; /* 0: it is none */
	int os_pid;
	struct log_rate rate;
	struct list lossy; /* in node_events.lossy: lines were dropped, and that is to be told */
};

/* A process that workers are forked from. */
struct node_forkserver {
	struct node_pool *pool;
	struct forkserver *io; /* NULL: it is down */
	struct list link;      /* in node_pool.forkservers, until its handles are closed */
	unsigned workers;      /* whose records point here */
	bool ready;            /* its preload is done */
	bool told_why;         /* it ends, and the pool's detail says why */
	char words[1024];      /* the end of what it said on stderr */
	size_t words_len;
	struct config_pool *next; /* in force for the pool when it is ready; owned */
	struct log_printer printer;
	char object[96]; /* for log lines */
};

/* One worker process. */
struct node_worker {
	UT_hash_handle hh; /* by id, in node_pool.workers */
	uint64_t id;
	unsigned index;
	struct node_pool *pool;
	struct worker *io;
	struct node_forkserver *forkserver; /* which forks it; NULL: none, or that is down */
	int os_pid;                         /* 0: not forked yet */
	bool ready;                         /* said HELLO */
	enum gil { GIL_UNKNOWN, GIL_ON, GIL_OFF } gil; /* as HELLO told it; off: free-threaded */
	bool exited;                                   /* reported; never signalled again */
	bool orphan;            /* its fork server is gone: it is our own child now */
	bool gone;              /* the pool was told */
	bool ended_itself;      /* nobody had told it to end */
	bool told_why;          /* somebody had, and why is logged */
	bool unread;            /* it ended without having read its last call */
	bool in_cgroup;         /* one of its own was made */
	const char *killed_for; /* the node killed it: a word for {killed, Word} */
	int status, signal;
	char object[96]; /* for log lines */
	struct log_printer printer;
	char error[256];             /* last error of a call, for `workers` */
	struct callback *callbacks;  /* by the worker's ids of them */
	struct callback_call *calls; /* those that have callbacks */
	struct list sends;     /* struct callback, by_call: messages that wait for a connection */
	size_t queued_bytes;   /* what waits for connections */
	struct list throttled; /* in node.throttled: it is not read for a while */
	struct books *clogged; /* the peer that does not read what it says */
	bool no_callbacks;     /* it has ended */
};

/* Why a worker's process ended, for the metrics. */
enum exit_kind {
	EXIT_STOPPED, /* it was told to leave, and did */
	EXIT_KILLED,  /* it was killed on purpose */
	EXIT_CRASHED, /* by a signal that was not ours */
	EXIT_LEFT,    /* by itself, with a status */
	EXIT_START,   /* before it was ready */
	EXIT_KINDS
};

/* What went wrong of late, for who looks afterwards: node_failures.h. */
#define FAILURES_MAX 16
#define FAILURE_TEXT 4096 /* of a longer one the end is kept: that is where the error stands */
#define FAILURE_CALL 128

struct node_failure {
	const char *kind; /* python, worker_exit, timeout, start */
	uint64_t time_ms; /* of the last one, since 1970 */
	uint64_t count;
	uint64_t worker_id;      /* 0: none */
	char call[FAILURE_CALL]; /* module.function, or empty */
	char *text;
	size_t len;
};

struct node_failures {
	struct node_failure at[FAILURES_MAX]; /* the last one first */
	unsigned count;
};

/* Why the node killed it, or has begun to; NULL: it ended otherwise. Of those that were to say where they hang
 * some died of that. */
static inline const char *node_worker_killed_for(const struct node_worker *w)
{
	return !w->exited || w->signal == SIGKILL || w->signal == SIGABRT ? w->killed_for : NULL;
}

struct node_pool {
	struct node *node;
	struct list link; /* in node.pools */
	struct config_pool *config; /* in the node's, or, of one that leaves, its own */
	char object[96]; /* for log lines */
	struct pool *pool;
	struct pool_config limits;
	struct request_defaults defaults;
	struct node_worker *workers;
	struct list forkservers;         /* struct node_forkserver, all */
	struct node_forkserver *current; /* which new workers are forked from; NULL: none runs */
	struct node_forkserver *fresh;   /* of a reload, until its preload is done */
	uv_timer_t reload_timer;         /* how long that may take */
	bool free_threaded;              /* that has been logged */
	struct list waiting;             /* AWAIT_READY requests */
	struct list drains, reloads;     /* DRAIN and RELOAD requests */
	struct list orphans; /* struct node_session: begun, their owners dead: to be ended */
	uint64_t answers[ANSWER_KINDS];
	uint64_t exits[EXIT_KINDS];
	struct node_failures failures;
	struct histogram request_bytes, result_bytes; /* frames of calls; results and items */
	uint64_t ignored;        /* messages that were no request */
	uint64_t late_items;     /* of streams that are gone or closing */
	char detail[DETAIL_MAX]; /* the cause of the last failed start */
	size_t detail_len;
	uv_timer_t timer; /* pool_next_tick */
	uint64_t armed_us;
	bool pumping;
	uint64_t failed_ids
		[4096]; /* starts that failed or were forgotten within a step, told after it; */
	unsigned failed_count; /* a pool has at most 1025 workers to kill and as many to start */
	bool drained;          /* POOL_DRAINED was seen in this pump */
	bool has_drained;      /* and not resumed since */
	bool leaving, stopped; /* it is found by no name any more; its workers are told to stop */
	unsigned open_handles; /* leaving: that close */
	unsigned heard;        /* REQUEST_TOPIC_*: what somebody hears of this pool */
	struct pool_seen {
		unsigned size;
		uint64_t grown, shrunk, sessions_lost;
		enum breaker_state breaker;
	} seen;                 /* when somebody hears of it: as it was told last */
	struct list waits;      /* struct callback_call, due */
	unsigned waiting_calls; /* that the pool knows to wait */
	uv_timer_t deadlock_timer;
	uint64_t rss_seen; /* of this worker the memory was looked at last */
	/* while pump runs: what the answer of a POOL_DONE is made of */
	const struct frame *frame;
	struct node_worker *dying;
};

/* Who hears of events and log lines, and what they have not been sent yet: node_events.c. */
struct node_events {
	struct list subscribers; /* struct subscriber */
	unsigned count;
	struct buf pending, spare; /* messages, each behind a head */
	size_t begun;              /* the one that is being written */
	struct node_pool *begun_pool;
	unsigned begun_topic;
	bool flushing;
	struct list lossy; /* struct log_printer */
	uv_timer_t timer;  /* while there are such */
};

enum node_stage { NODE_STARTING, NODE_RUNNING, NODE_DRAINING, NODE_STOPPING, NODE_CLOSING };

struct node {
	const struct node_options *options;
	const struct config *config;
	uv_loop_t loop;
	uv_tcp_t listener;
	uv_signal_t sigterm, sigint, sigchld, sighup;
	uv_pipe_t stdin_pipe;
	uv_prepare_t prepare;
	uv_timer_t stop_timer;
	uv_timer_t notify_timer; /* active only where a service manager listens */
	struct epmd *epmd;
	struct metrics *metrics; /* NULL: not asked for */
	const char *metrics_hosts[CONFIG_LIST_MAX + 2];
	char host_name[256]; /* this machine's */
	uint64_t metrics_epoch_us; /* when the node started, since 1970 */
	struct guard *guard;
	struct cgroup *cgroup; /* NULL: not needed so far, or refused */
	bool cgroup_refused;
	char mark[320]; /* KRAIT_MARK=..., in the environment of all our processes */
	uint32_t creation;
	uint64_t next_id, started_us;
	uint64_t last_worker_id; /* of all pools: `{kill, Worker}` to the node means one */
	uint16_t port;
	struct list books, dirty, dirty_lanes;
	struct list strays;           /* struct node_request, by_peer: casts whose peers are gone */
	struct list attempts, failed; /* struct attempt, of node_connect.c */
	unsigned attempt_count, failed_count, resolvers;
	uv_timer_t connect_timer;
	struct heap callback_timers;
	uv_timer_t callback_timer;
	struct list throttled; /* struct node_worker */
	uv_timer_t memory_timer;
	unsigned peers;        /* connections, half-open ones included */
	uint64_t peers_refused, junk, unknown_signals;
	struct watch *watches;
	struct node_holding *holdings;
	uint32_t pool_count;
	struct list pools; /* struct node_pool, as the configuration names them; at least one */
	struct peer_options peer_options;
	struct buf scratch; /* frames under construction */
	struct buf names;   /* of a batch under construction: the terms of M and F of each call */
	struct frame_marks marks;
	struct buf session_key; /* of the request that is being admitted */
	struct node_events events;
	unsigned heard; /* REQUEST_TOPIC_*: what somebody hears of all pools and of the node */
	enum node_stage stage;
	int exit_status;
	bool stdin_open, drain_due, reap_due;
	bool finding;         /* a thread looks for interpreters, and waits for what it runs */
	struct node_job *job; /* a reload under way (node_reload.c), or NULL */
};

/* node.c */
uint64_t node_now_us(void);
uint64_t node_id(struct node *n);
void node_stop(struct node *n, const char *why); /* drain, then end; a second time: now */
void node_drained(struct node *n);
void node_maybe_end(struct node *n); /* called when something that holds the end is gone */
struct term_pid node_pid(const struct node *n, uint64_t id);

/* node_peer.c */
extern const struct peer_callbacks node_peer_callbacks;
void books_open(struct node *n, struct books *b); /* zeroed, but for its peer: among the node's */
void books_mark_dirty(struct books *b);
void books_flush_dirty(struct node *n);
struct books *books_find(struct node *n, const char *name, size_t len);
/* Where a pid lives that `b` told us: there, as a rule, or at another peer. NULL: at none. */
struct books *books_home(struct books *b, const struct term_pid *pid);
struct term_pid books_pid(const struct books *b, const struct local_pid *pid);
bool node_has_name(const struct node *n, struct span name);
bool node_is_own_pid(const struct node *n, const struct term_pid *pid);

struct local_pid node_local_pid(const struct term_pid *pid);

/* node_monitor.c */
void node_monitor(struct books *b, const struct dist_event *ev);
void node_demonitor(struct books *b, const struct dist_event *ev);
/* The pool's name is free. Callers of it that wait for an answer get that. */
void node_monitors_gone(struct node *n, struct node_pool *p);
void node_down(struct books *b, const struct dist_event *ev);
void node_watch_down(struct watch *w, struct span reason); /* it is gone; frees the watch */
struct watch *watch_new(struct books *b, enum watch_kind kind, void *object,
			const struct local_pid *pid, uint64_t from);
void watch_free(struct watch *w, bool demonitor);
uint64_t node_own_ref(const struct node *n,
		      struct span ref); /* the id in it; 0: it is none of ours */

/* node_request.c */
/* `p`: of TARGET_NODE what is meant where it must be one; `lease` NULL of TARGET_LEASE: it has ended. */
void node_request_message(struct books *b, const struct dist_event *ev, enum request_target target,
			  struct node_pool *p, struct node_lease *lease);
struct origin;
/* Admits a parsed CALL, BATCH, STREAM or PING_WORKER to the pool, or answers what is wrong with it. */
void node_request_submit(struct node_pool *p, const struct origin *o, const struct request *req,
			 struct node_lease *lease);
/* One request to a pool, parsed and served; what is wrong with it is answered. */
void node_request_serve(struct node_pool *p, const struct origin *o, const uint8_t *request);
void node_request_refuse(struct node_pool *p, const struct origin *o, struct buf *reason,
			 enum answer_kind kind); /* with the Reason in `reason` */
void node_request_oversize(struct books *b, const struct dist_event *ev);
void node_request_abandon(struct node_request *r); /* its caller is gone or gave up */
struct node_request *node_request_of(struct pool_request *r);

/* node_admit.c */
/* The message's sender, as far as it is needed to admit a request. */
struct origin {
	struct books *books;
	const struct envelope *env;
	struct local_pid caller;
	bool cast;
	enum reply_form form;
	struct node_lane *lane; /* it came in */
	/* REPLY_RPC, REPLY_REX */
	struct node_rpc *rpc;
	struct rpc_mfa {
		struct span module, function; /* terms */
		uint64_t arity;
	} mfa; /* what the stack of an error shows */
};
int node_call_frame(struct node_pool *p, uint64_t id, const struct request *req,
		    struct transcode_error *err); /* into node->scratch; -EINVAL: `err` */
void node_ping_frame(struct node *n, uint64_t id);
struct node_request *node_request_make(struct node_pool *p, const struct origin *o,
				       const struct request *req, uint64_t id, bool has_frame);
bool node_request_hear_of_caller(const struct origin *o, struct node_request *r);
/* The last element of a CALL or BATCH frame; sets node->marks. 0, or -EINVAL with `err` set. */
int node_meta(struct node_pool *p, const struct request *req, struct transcode_error *err);
/* The id of its session as its caller gave it; empty: it has none. */
struct span node_request_session(const struct node_request *r);
/* Writes into its frame what is known only when it is sent. */
void node_request_fill_in(struct node_request *r);
void node_request_free(struct node_request *r);
struct span node_request_trace(const struct node_request *r); /* text; empty: none */

/* node_control.c */
/* AWAIT_READY, RESIZE, PAUSE, RESUME, DRAIN, RELOAD, RECYCLE, KILL. */
void node_control(struct node_pool *p, const struct origin *o, const struct request *req);
/* The same of what was said to the node. */
void node_control_all(struct node *n, const struct origin *o, const struct request *req);
/* Among `line` until it is answered. NULL: a cast, or there is no memory, which is answered. */
struct node_request *node_hold(struct node_pool *p, const struct origin *o,
			       const struct request *req, struct list *line);
bool node_pool_is_only(const struct node_pool *p); /* what is said to the node may mean it */
void node_await_check(struct node_pool *p);       /* after each step of the pool */
void node_drained_tell(struct node_pool *p);      /* POOL_DRAINED */
void node_reloaded(struct node_pool *p, bool ok); /* the new fork server is ready, or has failed */

/* node_reply.c, node_answer.c: where an answer goes, and answers */
struct reply_to {
	struct books *books;    /* NULL: nowhere */
	struct node_lane *lane; /* whose answer it is, with the Id as its tag; NULL: none's */
	struct local_pid caller;
	struct span tag, alias;
};
struct reply_to reply_to_request(const struct node_request *r);
struct reply_to reply_to_origin(const struct origin *o);
struct buf *answer_begin(const struct reply_to *to, size_t *mark); /* NULL: nobody to answer */
bool answer_end(const struct reply_to *to, size_t mark);
void answer_atom(const struct reply_to *to, const char *atom);
void answer_error(const struct reply_to *to, struct span reason);
void answer_bad(const struct reply_to *to, const char *expected); /* {bad_request, Expected} */
struct span answer_reason(const struct buf *reason); /* its term, or `no_memory` if it failed */
void answer_error_atom(const struct reply_to *to, const char *reason);
void answer_outcome(struct node_pool *p, struct node_request *r);
/* It has been answered, with that; the only place where answers of the pool are counted. */
void answer_count(struct node_pool *p, struct node_request *r, enum answer_kind kind);
void answer_put_fault(struct buf *out, const struct transcode_error *err);
enum answer_kind answer_fault_kind(enum transcode_fault fault);
void answer_put_worker_exit(struct buf *out, const struct node_worker *w);
void answer_put_error(struct buf *out); /* {error, and its reason is to follow */
/* The Reason of an ERROR frame's elements (kind, ...), with M and F as the caller gave them. */
enum answer_kind answer_put_worker_error(struct node_pool *p, struct span module,
					 struct span function, const uint8_t *at,
					 const uint8_t *end, struct buf *out);
/* The Reason of an outcome that is an error and not a worker's. */
enum answer_kind answer_put_outcome(struct node_pool *p, struct node_request *r, struct buf *out);

/* node_holding.c */
void holding_init(struct node_holding *h, enum holding_kind kind, struct node *n, uint64_t id);
void holding_close(struct node_holding *h); /* before its memory is freed */
struct node_holding *holding_find(struct node *n, const struct term_pid *pid);
struct term_pid holding_pid(const struct node_holding *h);
bool holding_is_owner(const struct node_holding *h, const struct books *b,
		      const struct local_pid *pid);
void holding_set_owner(struct node_holding *h, struct books *b, const struct local_pid *pid);
/* From now on it can be found by its pid. False: no memory. */
bool holding_add(struct node_holding *h);
/* Its request is granted: the caller owns it and is watched, and it can be found; to be called right
 * before the answer {ok, Pid}. Takes the request's monitor. False: no memory for all that; the
 * caller's connection is closed, and holding_down() follows with it. */
bool holding_granted(struct node_holding *h, struct node_request *r);
/* Asks the BEAM of `pid` for an acknowledgement that comes in order; returns the id it will carry. */
uint64_t holding_send_probe(struct node_holding *h, struct books *b, const struct local_pid *pid);
void holding_probe_ack(struct books *b, uint64_t unlink_id, const struct term_pid *pid);
/* Tells all monitors and links that it has ended, and lets go of them. It is found no longer. */
void holding_ended(struct node_holding *h, struct span reason);
/* Its owner is gone, gave up before the grant was heard, or somebody said exit(Pid, Reason). */
void holding_down(struct node_holding *h, struct span reason);
void holding_down_atom(struct node_holding *h, const char *atom);
void holding_link(struct books *b, struct node_holding *h, const struct local_pid *pid);
struct node_link *holding_find_link(const struct books *b, const struct node_holding *h,
				    const struct local_pid *pid);
void node_link_free(struct node_link *k);

/* node_lease.c */
struct node_lease *node_lease_of(struct node_holding *h);
struct node_lease *node_lease_new(struct node_pool *p, uint64_t id);
void node_lease_free(struct node_lease *l);
void node_lease_granted(struct node_request *r);
void node_lease_ended(struct pool_lease *l);
void node_lease_checkin(struct node_lease *l, const struct reply_to *to);
void node_lease_give(struct node_lease *l, struct node_request *r, const struct term_pid *heir);
void node_lease_probe_ack(struct node_lease *l, const struct books *b, uint64_t unlink_id);
void node_heir_down(struct node_lease *l);
void node_lease_down(struct node_lease *l); /* h.reason says why */

/* node_stream.c, node_stream_flow.c */
/* The record of a stream, its credit as in node_stream_first(). NULL: no memory. */
struct node_stream *node_stream_new(struct node_pool *p, const struct books *home,
				    const struct request *req, uint64_t id);
void node_stream_free(struct node_stream *s); /* NULL: nothing */
/* How many items its worker may send at first, of those that the client asked for. */
uint32_t node_stream_first(const struct request *req);
void node_stream_opened(struct node_request *r); /* POOL_OPENED */
/* OPENED and ITEM. */
void node_stream_open_frame(struct node_worker *w, const struct frame *frame);
void node_stream_item(struct node_worker *w, const struct frame *frame);
/* POOL_DONE: ends the stream and frees it. False: it was never opened, and is answered as a call is. */
bool node_stream_done(struct node_pool *p, struct node_request *r);
void node_stream_message(struct books *b, const struct dist_event *ev, struct node_holding *h);
void node_stream_down(struct node_holding *h);
void node_stream_drained(struct books *b); /* its peer has read what waited for it */

/* node_lane.c */
bool node_lane_message(struct books *b, struct node_pool *p,
		       const uint8_t *message); /* false: none */
/* Its lane will say when the caller is gone. False: no memory. */
bool node_lane_hear(struct node_lane *l, struct node_request *r);
void node_lane_forget(struct node_request *r);                /* it is about to be freed */
struct node_lane *node_lane_of(const struct node_request *r); /* NULL: nobody waits there */
struct buf *node_lane_begin(struct node_lane *l, struct span id, size_t *mark);
bool node_lane_end(struct node_lane *l);
void node_lane_down(struct node_lane *l); /* its process is gone; frees it */
void node_lanes_flush(struct node *n);    /* before the loop blocks */

/* node_session.c */
/* Whether the request may have the session and the owner that it names; else the Reason. */
bool node_session_may(struct node_pool *p, const struct request *req,
		      const struct node_lease *lease, struct buf *reason);
/* A session's id as msgpack, appended. 0, or -EINVAL with `err` set. */
int node_session_pack(struct node_pool *p, const uint8_t *id, struct buf *out,
		      struct transcode_error *err);
/* What the request's session is compared by, into node->session_key (empty: it has none). A CALL or BATCH
 * frame has been made. 0, or -EINVAL with `err` set. */
int node_session_key(struct node_pool *p, const struct request *req, struct transcode_error *err);
/* A fresh record for the request if one is needed, and the session's owner. False: no memory. */
bool node_session_admit(struct node_pool *p, struct node_request *r, const struct request *req);
/* The id of the session that the lease was checked out with, a term; NULL: none. */
const uint8_t *node_session_of_lease(const struct node_lease *lease);
struct pool_session *node_session_record(struct node_session *s); /* NULL of NULL */
void node_session_free(struct node_session *s);  /* a record that the pool never had */
void node_session_ended(struct pool_session *s); /* POOL_SESSION_ENDED */
void node_session_owner_down(struct node_session *s);
/* A call of it runs, or a lease in it was granted. NULL: nothing. */
void node_session_begins(struct pool_session *s);
/* Those that were lost since they were asked for last, to those who hear of events. */
void node_sessions_tell_lost(struct node_pool *p);
/* The next session that has begun when its owner was dead, to be ended; NULL: none. */
struct pool_session *node_session_next_orphan(struct node_pool *p);
void node_session_end_frame(struct node_worker *w, const struct pool_session *s, uint64_t call_id);
void node_session_put_id(const struct node_request *r, struct buf *out); /* as its caller gave it */
/* Of one pool, or, NULL, of all. */
void node_sessions(struct node *n, struct node_pool *p, const struct origin *o);
void node_end_session(struct node_pool *p, const struct origin *o, const struct request *req);

/* node_batch.c */
int node_batch_frame(struct node_pool *p, uint64_t id, const struct request *req,
		     struct transcode_error *err, struct buf *reason);
enum answer_kind node_batch_put(struct node_pool *p, const struct node_request *r,
				const struct frame *frame, struct buf *out);

/* node_rpc.c */
void node_rpc_spawn(struct books *b, const struct dist_event *ev);
/* A call of the three terms at `mfa`, which follow each other; `o` but for its mfa is set. */
void node_rpc_call(struct origin *o, const uint8_t *mfa);
void node_rpc_down(struct node_holding *h); /* an exit signal, or what it is linked to is gone */
/* Ends what an origin's refused request was asked by; the Reason is in `reason`. */
void node_rpc_refuse(const struct origin *o, struct buf *reason);
void node_rpc_outcome(struct node_pool *p, struct node_request *r);   /* POOL_DONE */
bool node_rpc_oversize(struct books *b, const struct dist_event *ev); /* false: no rpc */

/* node_rpc_answer.c: appends one term. A Reason is one of PROTOCOL.md, or `undef` and `badarg`. */
enum rpc_shape {
	RPC_CALL, /* {Ref, return, Result}, {Ref, error, Reason, Stack}: erpc:execute_call/4 exits so */
	RPC_CAST, /* normal, {{exception, {Reason, Stack}}, Stack}: erpc:execute_cast/3 */
	RPC_REX,  /* Result, {badrpc, {'EXIT', {Reason, Stack}}} */
};
enum answer_kind rpc_put_outcome(struct node_pool *p, struct node_request *r, enum rpc_shape shape,
				 struct buf *out);
void rpc_put_refusal(enum rpc_shape shape, struct span ref, const struct rpc_mfa *mfa,
		     struct span reason, struct buf *out);
struct rpc_mfa rpc_mfa(const uint8_t *mfa); /* of checked terms that follow each other */
extern const struct rpc_mfa rpc_apply;      /* erlang:apply/3, where a badarg comes from */

/* node_rex.c */
void node_rpc_rex(struct books *b, const struct dist_event *ev);
void node_rex_oversize(struct books *b, const struct dist_event *ev, struct span reason);
void node_rex_refuse(const struct origin *o, struct span reason);

/* node_callback*.c */
void node_callback_frame(struct node_worker *w, const struct frame *frame); /* CALLBACK */
void node_callback_message(struct books *b, const struct dist_event *ev, struct node_holding *h);
bool node_callback_oversize(struct books *b, const struct dist_event *ev); /* false: not for one */
/* A DOWN with a reference of ours that no watch has. */
void node_callback_down(struct books *b, uint64_t ref_id, const struct dist_event *ev);
void node_callback_spawned(struct books *b, const struct dist_event *ev); /* SPAWN_REPLY */
void node_callback_killed(struct node_holding *h); /* by an exit signal; h->reason says why */
void node_callbacks_end_call(struct node_worker *w, uint64_t call_id); /* it has been answered */
void node_callbacks_end_request(struct node_request *r); /* POOL_DONE: nobody waits any more */
void node_callbacks_end_worker(struct node_worker *w);
void node_callbacks_forget_peer(struct books *b);
void node_callbacks_drained(struct node *n); /* a peer has read, or a connection is there */
/* The next POOL_WORKER_WAITS that the pool must hear of; between its steps. */
bool node_callbacks_next_wait(struct node_pool *p, struct pool_event *ev);
void node_callbacks_settle(struct node *n); /* tells the pools that are not at work */
void node_callbacks_init(struct node *n);
void node_callbacks_close(struct node *n);

/* node_progress.c */
void node_progress_frame(struct node_worker *w, const struct frame *frame);

/* node_deadlock.c */
/* After a request was submitted, or a call began to wait: refuses, soon, what no worker could ever serve. */
void node_deadlock_check(struct node_pool *p);
void node_deadlock_init(struct node_pool *p);

/* node_connect.c */
/* Opens a connection to a node that is not connected, or joins an attempt under way; `done` is called
 * once, never from inside this call. False: there is no way, and `done` is not called. */
bool node_connect(struct node *n, struct span name, struct connect_waiter *w)
	__attribute__((warn_unused_result));
bool node_connect_dials(struct node *n, const char *name); /* a handshake of ours is under way */
void node_connect_up(struct books *b);
void node_connect_closed(struct books *b);
void node_connect_init(struct node *n);
void node_connect_close(struct node *n); /* all attempts end; the timer closes */

/* node_memory.c */
void node_memory_init(struct node *n);
void node_memory_watch(struct node_pool *p); /* with --max-rss */
uint64_t node_rss_bytes(int os_pid);         /* resident memory; 0: unknown */

/* node_pool.c */
struct node_pool *node_pool_new(struct node *n, struct config_pool *config);
/* The pool of that name; NULL: there is none. */
struct node_pool *node_pool_named(const struct node *n, struct span name);
/* What is said to the node and concerns one pool: the only one, or `default`, or else the first. */
struct node_pool *node_pool_default(const struct node *n);
/* Where rpc and erpc run; NULL: nowhere. */
struct node_pool *node_pool_rpc(const struct node *n);
struct node_pool *node_pool_next(const struct node *n,
				 const struct node_pool *p); /* NULL: the first */
void node_pool_free(struct node_pool *p);
void node_pool_event(struct node_pool *p, const struct pool_event *ev);
void node_pool_refused(struct node_pool *p, enum answer_kind kind);

/* node_index.c */
unsigned node_index_free(struct node_pool *p); /* for a worker that is about to be started */
unsigned node_index_of(struct node_pool *p, const struct pool_worker *pw);

/* node_worker.c */
void node_worker_start(struct node_pool *p, uint64_t id, unsigned index);
struct node_worker *node_worker_find(struct node_pool *p, uint64_t id);
void node_worker_signal(struct node_worker *w, int signal, bool group);
void node_worker_gone(struct node_worker *w);
struct node_worker *node_worker_find_pid(struct node_pool *p, int os_pid); /* not exited */
void node_worker_know_pid(struct node_worker *w, int os_pid);
void node_worker_exited(struct node_worker *w, int status, int signal);
void node_worker_broken(struct node_worker *w, const char *killed_for, const char *why);
void node_worker_never_started(struct node_worker *w);
void node_pool_keep_detail(struct node_pool *p, const char *text, size_t len);
void node_reap(struct node *n); /* SIGCHLD: orphans and strangers */

/* node_hello.c */
void node_worker_hello(struct node_worker *w, const struct frame *frame);

/* node_cgroup.c */
/* Makes a group for a worker that is to be forked, if its pool wants one and the node may: w->in_cgroup says
 * whether `path` is it. 0, or a negative errno. */
int node_cgroup_make(struct node_worker *w, char path[PATH_MAX]) __attribute__((warn_unused_result));
/* Finds out whether it was killed for the memory that it used. */
void node_cgroup_exited(struct node_worker *w);
void node_cgroup_remove(struct node_worker *w);
void node_cgroup_close(struct node *n);

/* node_forkserver.c */
void node_forkserver_init(struct node_pool *p);
/* Has the worker forked, by one that is started for it if need be. Takes over the descriptors. */
int node_forkserver_fork(struct node_worker *w, const int fds[3]);
void node_forkserver_part(struct node_worker *w); /* its record is about to be freed */
/* A worker that it should have forked by now is given up: it is killed if it still preloads. */
void node_forkserver_hangs(struct node_forkserver *f);
/* Starts a fresh one; node_reloaded() follows. 0, or a negative errno, and nothing follows. */
/* With `next`, that is what it is told, and in force when it is ready; taken over in any case. */
int node_forkserver_reload(struct node_pool *p, struct config_pool *next);
bool node_forkservers_stop(struct node_pool *p); /* kills all; false: there is none */
const char *signal_name(int signal);

/* node_notify.c */
void node_notify_init(struct node *n);
void node_notify_ready(struct node *n); /* published, or reloaded */
void node_notify_reloading(struct node *n);
void node_notify_stopping(struct node *n);

/* node_status.c */
const char *answer_kind_name(enum answer_kind kind); /* its key in status' totals */
void node_put_status(struct node *n, struct buf *out);
void node_put_workers(struct node *n, struct node_pool *p, struct buf *out); /* NULL: of all */
const char *node_pool_state(const struct node_pool *p);
unsigned node_peer_count(const struct node *n);
uint64_t node_monitor_count(const struct node *n);

/* node_metrics.c */
int node_metrics_open(struct node *n); /* if it is asked for. A negative errno has been logged */
void node_metrics_close(struct node *n);
void node_metrics_exited(struct node_worker *w, bool wanted);

/* node_roles.c */
enum request_role node_role(struct books *b);
/* Whether the peer may say that; else the Reason, {forbidden, Verb, Role}, and a line in the log. */
bool node_may(struct books *b, enum request_verb verb, struct buf *reason);
/* The local user who opened the connection, in a static buffer; NULL: nobody asks, or it is not known. */
const char *node_user(struct books *b);

/* node_requests.c */
/* What operators ask that has no room of its own above: STATUS, WORKERS, CANCEL, REQUESTS, PEERS, POOLS; and
 * it hands on what the next two rooms answer. */
void node_administer(struct node_pool *p, const struct origin *o, const struct request *req);

/* node_config.c: CONFIG, SET, RELOAD_CONFIG. Said to req->target: the pool `p`, or the node. */
void node_config(struct node_pool *p, const struct origin *o, const struct request *req);
void node_refuse_reload(const struct origin *o); /* as one is under way */
void node_take_options(struct node *n);   /* those of the node's options that are copied */
void node_limit_messages(struct node *n); /* max_request_bytes of all pools */
void node_answer_made(const struct reply_to *to, const struct buf *made); /* {ok, Term} */

/* node_reload.c */
void node_reload_init(struct node *n);
void node_reload_close(struct node *n);
void node_reload_end(struct node *n); /* frees what was under way */
/* RELOAD, RELOAD_CONFIG, said to the node. */
void node_reload_config(struct node *n, const struct origin *o, const struct request *req);
/* The pool's new configuration, which workers are replaced for; it and `answer` are taken over. */
void node_reload_pool(struct node_pool *p, const struct origin *o, const struct request *req,
		      struct config_pool *config, struct buf *answer);
void node_reload_hup(struct node *n);
void node_reload_turned(struct node_pool *p, bool ok); /* a fresh fork server is ready, or failed */

/* node_difference.c */
/* Appends the difference that `fresh` makes, and logs it; how much it is. */
unsigned node_put_difference(struct node *n, struct config *fresh, struct buf *out);
bool node_config_has(const struct config *c, const char *pool);

/* node_apply.c */
struct node_pool *node_pool_of(struct node *n, const struct config_pool *c); /* of that name, or NULL */
void node_apply_options(struct node *n, struct config *fresh);
void node_leave_others(struct node *n, const struct config *fresh); /* pools that it has not */
/* Those of its pools that need no fresh fork server (`but_workers`: all that are not there yet) are taken out
 * of it. False: there was no memory for a new one. */
bool node_apply_pools(struct node *n, struct config *fresh, bool but_workers);

/* node_pool_config.c */
void node_pool_take_options(struct node_pool *p, struct config_pool *config); /* a new pool's */
/* It is in force from now on, and owned by the node's; the old one is freed. */
void node_pool_configure(struct node_pool *p, struct config_pool *config);
void node_pool_resized(struct node_pool *p, unsigned least, unsigned most);
void node_pool_leave(struct node_pool *p);
void node_pool_has_drained(struct node_pool *p);
void node_pools_sweep(struct node *n); /* closes those that have left */
/* All pools, those that leave included. */
struct node_pool *node_pool_any_next(const struct node *n, const struct node_pool *p);

/* node_events.c */
void node_subscription(struct node_pool *p, const struct origin *o, const struct request *req);
void node_subscriber_down(void *subscriber); /* it is gone */
/* A message to all who hear that topic of that pool (NULL: of the node): begin, one term, end. At any time;
 * one at a time. */
struct buf *node_message_begin(struct node *n, struct node_pool *p, unsigned topic);
void node_message_end(struct node *n);
uint64_t node_system_time_us(void);
void node_events_flush(struct node *n);      /* outside of pool steps and of what is being sent */
void node_events_flush_some(struct node *n); /* if there is much, and it can be done now */
void node_events_drained(struct books *b);   /* its peer has read */
void node_events_pool_gone(struct node_pool *p);
void node_events_init(struct node *n);
void node_events_close(struct node *n); /* ends all subscriptions; the timer closes */

/* Whether somebody hears of the pool's events: to be asked before any of the following is called. */
static inline bool node_hears(const struct node_pool *p)
{
	return (p->heard & REQUEST_TOPIC_EVENTS) != 0;
}

/* node_event_call.c */
struct stream_sums {
	uint64_t items, bytes, opened_us;
};
void node_event_call_received(struct node_pool *p, const struct node_request *r);
void node_event_call_refused(struct node_pool *p, const struct origin *o, enum answer_kind kind);
void node_event_call_start(struct node_pool *p, const struct node_request *r,
			   const struct node_worker *worker);
void node_event_call_stop(struct node_pool *p, const struct node_request *r);
void node_event_lease_granted(struct node_pool *p, const struct node_request *r);
void node_event_lease_ended(const struct node_lease *l);
void node_event_stream_opened(struct node_pool *p, const struct node_request *r,
			      const struct term_pid *pid);
void node_event_stream_ended(struct node_pool *p, const struct node_request *r,
			     const struct term_pid *pid, const struct stream_sums *sums);
void node_event_session_started(struct node_pool *p, struct span id, uint64_t worker);
void node_event_session_ended(struct node_pool *p, struct span id, uint64_t worker, uint64_t calls,
			      const char *reason);
void node_event_session_lost(struct node_pool *p, struct span id, uint64_t worker, uint64_t calls);

/* node_event_state.c */
void node_event_worker_started(struct node_pool *p, uint64_t id, unsigned index);
void node_event_worker_ready(const struct node_worker *worker);
void node_event_worker_replaced(const struct node_worker *worker, enum pool_why why);
void node_event_worker_exited(const struct node_worker *worker, enum pool_why why);
void node_event_pool(struct node_pool *p, enum event e, const char *by);
void node_event_pool_resized(struct node_pool *p, unsigned least, unsigned most, const char *by);
void node_event_pool_reloaded(struct node_pool *p, bool ok);
void node_event_pool_seen(struct node_pool *p);    /* somebody hears of it from now on */
void node_event_pool_changed(struct node_pool *p); /* perhaps: after a step */
/* These ask for themselves. `by`: a peer's name; NULL: nobody. */
void node_event_peer_up(const struct books *b);
void node_event_peer_down(const struct books *b, const char *why);
void node_event_config_changed(struct node *n, unsigned changes, struct span difference,
			       const char *by);
void node_event_stopping(struct node *n, const char *why);

/* node_logs.c */
void node_log_own(void *node, enum log_level level, const char *object, const char *text,
		  size_t len); /* a log_tap */
void node_log_printer_init(struct log_printer *printer, struct node_pool *p, const char *object);
void node_log_printer_close(struct log_printer *printer);
/* A line that it has printed, in that call (0: not known). */
void node_log_printed(struct log_printer *printer, uint64_t call, bool is_stderr, const char *line,
		      size_t len);
void node_logs_init(struct node *n);
void node_logs_close(struct node *n);

#endif
