/* node_rooms.h - what the rooms of the node call of each other: workers, pools, operators and those
 * who watch. See node_private.h. */
#ifndef KRAIT_NODE_ROOMS_H
#define KRAIT_NODE_ROOMS_H

#include "node_calls.h"

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

/* node_loop.c */
void node_loop(struct node *n);    /* runs until everything is closed, or it is stopped */
void node_stepped(struct node *n); /* a pool has heard of something */

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
const char *signal_name(int signal);
void node_worker_broken(struct node_worker *w, const char *killed_for, const char *why);
void node_worker_never_started(struct node_worker *w);
void node_pool_keep_detail(struct node_pool *p, const char *text, size_t len);

/* node_reap.c */
void node_reap(struct node *n); /* SIGCHLD: orphans and strangers */

/* node_hello.c */
void node_worker_hello(struct node_worker *w, const struct frame *frame);

/* node_cgroup.c */
/* Makes a group for a worker that is to be forked, if its pool wants one and the node may: w->in_cgroup says
 * whether `path` is it. 0, or a negative errno. */
int node_cgroup_make(struct node_worker *w, char path[PATH_MAX])
	__attribute__((warn_unused_result));
/* Finds out whether it was killed for the memory that it used. */
void node_cgroup_exited(struct node_worker *w);
void node_cgroup_remove(struct node_worker *w);
void node_cgroup_close(struct node *n);

/* node_forkserver.c */
void node_forkserver_init(struct node_pool *p);
/* Has the worker forked, by one that is started for it if need be. Takes over the descriptors. */
int node_forkserver_fork(struct node_worker *w, const int fds[WORKER_FDS]);
void node_forkserver_part(struct node_worker *w); /* its record is about to be freed */
/* A worker that it should have forked by now is given up: it is killed if it still preloads. */
void node_forkserver_hangs(struct node_forkserver *f);
/* Starts a fresh one; node_reloaded() follows. 0, or a negative errno, and nothing follows. */
/* With `next`, that is what it is told, and in force when it is ready; taken over in any case. */
int node_forkserver_reload(struct node_pool *p, struct config_pool *next);
bool node_forkservers_stop(struct node_pool *p); /* kills all; false: there is none */

/* node_notify.c */
void node_notify_init(struct node *n);
void node_notify_ready(struct node *n); /* published, or reloaded */
void node_notify_reloading(struct node *n);
void node_notify_stopping(struct node *n);

/* node_status.c */
const char *answer_kind_name(enum answer_kind kind); /* its key in status' totals */
void node_put_status(struct node *n, struct buf *out);
void node_put_workers(struct node *n, const struct node_pool *p,
		      struct buf *out); /* NULL: of all */
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
void node_take_options(struct node *n);          /* those of the node's options that are copied */
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
struct node_pool *node_pool_of(struct node *n,
			       const struct config_pool *c); /* of that name, or NULL */
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
