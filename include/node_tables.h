/* node_tables.h - the tables of the node itself: workers, pools, subscribers. See node_private.h. */
#ifndef KRAIT_NODE_TABLES_H
#define KRAIT_NODE_TABLES_H

#include "node_clients.h"

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
	struct list recall;    /* in node_pool.recalls */
	uint64_t recalled[AHEAD_QUEUE_MAX]; /* sent ahead and came back: the pool is to be told */
	unsigned recalled_count;
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
	struct list link;           /* in node.pools */
	uint16_t number;            /* from 1; unique among those in node.pools */
	struct config_pool *config; /* in the node's, or, of one that leaves, its own */
	char object[96];            /* for log lines */
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
	uint64_t ignored;                             /* messages that were no request */
	uint64_t late_items;                          /* of streams that are gone or closing */
	char detail[DETAIL_MAX];                      /* the cause of the last failed start */
	size_t detail_len;
	uv_timer_t timer; /* pool_next_tick */
	uint64_t armed_us;
	bool circuit_open; /* and the log says so */
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
	struct list recalls;    /* struct node_worker, by recall */
	unsigned waiting_calls; /* that the pool knows to wait */
	uv_timer_t deadlock_timer;
	uint64_t rss_seen; /* of this worker the memory was looked at last */
	/* while pump runs: what the answer of a POOL_DONE is made of */
	const struct frame *frame;
	struct worker *frame_io; /* who sent it */
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
	char host_name[256];       /* this machine's */
	uint64_t metrics_epoch_us; /* when the node started, since 1970 */
	struct guard *guard;
	struct cgroup *cgroup; /* NULL: not needed so far, or refused */
	bool cgroup_refused;
	char mark[320]; /* KRAIT_MARK=..., in the environment of all our processes */
	uint32_t creation;
	uint64_t random;  /* splitmix_next(): where pools take theirs from */
	struct spin spin; /* with busy_poll */
	unsigned processors;
	bool stepped; /* a pool, in this turn of the loop */
	uint64_t next_id, started_us;
	uint64_t last_worker_id; /* of all pools: `{kill, Worker}` to the node means one */
	uint16_t port;
	struct list books, dirty, dirty_lanes;
	uv_timer_t lanes_timer;       /* while answers of lanes wait for company */
	struct list strays;           /* struct node_request, by_peer: casts whose peers are gone */
	struct list attempts, failed; /* struct attempt, of node_connect.c */
	unsigned attempt_count, failed_count, resolvers;
	uv_timer_t connect_timer;
	struct heap callback_timers;
	uv_timer_t callback_timer;
	struct list throttled; /* struct node_worker */
	uv_timer_t memory_timer;
	uv_timer_t large_timer;
	unsigned peers; /* connections, half-open ones included */
	uint64_t peers_refused, junk, unknown_signals;
	struct table watches; /* struct watch, by id */
	struct node_holding *holdings;
	uint32_t pool_count;
	struct list pools; /* struct node_pool, as the configuration names them; at least one */
	struct peer_options peer_options;
	uint64_t max_request_bytes; /* the most that a pool takes */
	struct buf scratch; /* frames under construction */
	struct parcel_parts
		parts;       /* of such a frame: they lie in the message that is being served */
	struct dist *source; /* who told that */
	struct buf names;    /* of a batch under construction: the terms of M and F of each call */
	/* Places in a frame under construction that are filled in when it is sent, or copied from it; offsets,
	 * 0: none. */
	struct frame_marks {
		bool has_deadline;        /* its last four bytes */
		uint32_t token_at;        /* eight bytes: the session's token */
		uint32_t key_at, key_len; /* the session's id */
	} marks;
	struct buf session_key; /* of the request that is being admitted */
	struct node_events events;
	unsigned heard; /* REQUEST_TOPIC_*: what somebody hears of all pools and of the node */
	enum node_stage stage;
	int exit_status;
	bool stdin_open, drain_due, reap_due, hup_due;
	bool finding;         /* a thread looks for interpreters, and waits for what it runs */
	struct node_job *job; /* a reload under way (node_reload.c), or NULL */
};

#endif
