/* node_calls.h - what the rooms of the node call of each other: requests, answers, and what clients
 * hold. See node_private.h. */
#ifndef KRAIT_NODE_CALLS_H
#define KRAIT_NODE_CALLS_H

#include "node_tables.h"

/* node.c */
uint64_t node_now_us(void);
uint64_t node_id(struct node *n);
void node_stop(struct node *n, const char *why); /* drain, then end; a second time: now */
void node_drained(struct node *n);
void node_maybe_end(struct node *n); /* called when something that holds the end is gone */
struct term_pid node_pid(const struct node *n, uint64_t id);

/* node_listen.c */
int node_listen(struct node *n); /* 0, or a negative errno, which has been logged */

/* node_peer.c */
extern const struct peer_callbacks node_peer_callbacks;
void books_open(struct node *n, struct books *b); /* zeroed, but for its peer: among the node's */
void books_mark_dirty(struct books *b);
void books_flush_dirty(struct node *n);
struct books *books_find(struct node *n, const char *name, size_t len);
struct term_pid books_pid(const struct books *b, const struct local_pid *pid);
bool node_has_name(const struct node *n, struct span name);
bool node_is_own_pid(const struct node *n, const struct term_pid *pid);

struct local_pid node_local_pid(const struct term_pid *pid);

/* node_home.c */
/* Where a pid lives that `b` told us: there, as a rule, or at another peer, which can read what `heard` says.
 * NULL: at none. */
struct books *books_home(struct books *b, const struct term_pid *pid, const uint8_t *heard);
/* Whether a process of this peer, in this life, can have the pid; a pid that a worker or another peer told us. */
bool books_may_have(const struct books *b, const struct local_pid *pid);
/* Whether the peer can read this checked term, which another one has made. */
bool books_reads(const struct books *b, const uint8_t *term);
void books_learn_ids(struct books *b, const struct envelope *env);

/* What its calls say about the identifiers of its BEAM. */
static inline void books_learn(struct books *b, const struct envelope *env)
{
	if (b->ids == TERM_IDS_UNKNOWN && env->alias.len > 0)
		books_learn_ids(b, env);
}

/* node_monitor.c */
void node_monitor(struct books *b, const struct dist_event *ev);
void node_demonitor(struct books *b, const struct dist_event *ev);
/* The pool's name is free. Callers of it that wait for an answer get that. */
void node_monitors_gone(struct node *n, struct node_pool *p);
void node_down(struct books *b, const struct dist_event *ev);
void node_watch_down(struct watch *w, struct span reason); /* it is gone; frees the watch */
uint32_t node_watch_hash(const struct table_link *l, const void *arg);   /* of node.watches */
uint32_t node_monitor_hash(const struct table_link *l, const void *arg); /* of books.monitors */
struct watch *watch_new(struct books *b, enum watch_kind kind, void *object,
			const struct local_pid *pid, uint64_t from);
void watch_free(struct watch *w, bool demonitor);
/* All of its monitors end: nobody there waits any more. */
void node_monitors_forget(struct books *b);
/* The monitor of that reference; NULL: there is none. */
struct monitor *monitor_find(const struct books *b, struct span ref);
/* Whoever it stood for is not told, but knows that it is no more. Out of all tables and lists. */
void monitor_free(struct books *b, struct monitor *m);
struct ref monitor_ref(const struct monitor *m);
struct local_pid monitor_watcher(const struct books *b, const struct monitor *m);
uint64_t node_own_ref(const struct node *n,
		      struct span ref); /* the id in it; 0: it is none of ours */

/* node_ref.c */
struct ref ref_of(const struct books *b, struct span ref);
/* As it came; `room` is where, if it is kept short. */
struct span ref_whole(const struct books *b, struct ref ref, uint8_t room[REF_MAX]);

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
void node_request_refuse_fault(struct node_pool *p, const struct origin *o,
			       const struct transcode_error *err);
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
void node_request_free(struct node_request *r);

/* node_kept.c */
/* What a CALL or STREAM calls: the terms as its caller gave them, in `room`. */
#define NAME_TERM_MAX (REQUEST_NAME_MAX + 5)
struct called {
	struct span module, function;
	uint8_t room[2][NAME_TERM_MAX];
};
bool node_request_called(const struct node_request *r,
			 struct called *c); /* false: no such; empty */
/* Of a term, or NULL. */
enum name_form node_name_form(const uint8_t *name);
struct span node_request_batch(const struct node_request *r); /* M and F of all its calls */
/* The tag of progress, the id of its session as its caller gave it, its trace context as text; empty: none. */
struct span node_request_progress(const struct node_request *r);
struct span node_request_session(const struct node_request *r);
struct span node_request_trace(const struct node_request *r);
struct node_claim *node_claim_of(const struct node_request *r); /* of one that has one */
/* Its frame, of pool.bytes. */
uint8_t *node_request_frame(const struct node_request *r);
struct parcel *node_request_parcel(const struct node_request *r); /* NULL: a small frame */
/* Writes into its frame what is known only when it is sent. */
void node_request_fill_in(struct node_request *r);
/* What is to be kept with a request, and the record with it, which is otherwise as `made`. NULL: no memory. */
struct kept {
	struct span tag, names, progress, session, trace, token_at, frame, key;
};
struct node_request *node_kept_new(const struct node_request *made, const struct kept *k);
void node_kept_free(struct node_request *r);

/* node_control.c */
/* AWAIT_READY, RESIZE, PAUSE, RESUME, DRAIN, RELOAD, RECYCLE, KILL. */
void node_control(struct node_pool *p, const struct origin *o, const struct request *req);
/* The same of what was said to the node. */
void node_control_all(struct node *n, const struct origin *o, const struct request *req);
/* Among `line` until it is answered. NULL: a cast, or there is no memory, which is answered. */
struct node_request *node_hold(struct node_pool *p, const struct origin *o,
			       const struct request *req, struct list *line);
bool node_pool_is_only(const struct node_pool *p); /* what is said to the node may mean it */
void node_await_check(struct node_pool *p);        /* after each step of the pool */
void node_drained_tell(struct node_pool *p);       /* POOL_DRAINED */
void node_reloaded(struct node_pool *p, bool ok);  /* the new fork server is ready, or has failed */

/* node_reply.c, node_answer.c: where an answer goes, and answers */
struct reply_to {
	struct books *books;    /* NULL: nowhere */
	struct node_lane *lane; /* whose answer it is, with the Id as its tag; NULL: none's */
	struct local_pid caller;
	struct span tag, alias;
	struct ref ref; /* of the tag [alias | Ref], instead of both; empty: none */
};
struct reply_to reply_to_request(const struct node_request *r);
struct reply_to reply_to_origin(const struct origin *o);
struct buf *answer_begin(const struct reply_to *to, size_t *mark); /* NULL: nobody to answer */
bool answer_end(const struct reply_to *to, size_t mark);
/* The same, of an answer that dist_end_apart() may send; `held` is taken over, whatever comes of it. */
bool answer_may_part(const struct reply_to *to);
bool answer_end_apart(const struct reply_to *to, size_t mark, const struct parcel_parts *parts,
		      struct share *held);
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

/* node_large.c */
void node_large_init(struct node *n);
void node_large_check(struct node *n); /* before the loop blocks */
void node_large_end(void);             /* all buffers have been freed */

/* node_oversize.c */
void node_limit_messages(struct node *n); /* max_request_bytes of all pools, and what lanes need */
/* Whether a SEND, a SPAWN or an OVERSIZE is longer than it may be: then its sender has been told. */
bool node_oversize(struct books *b, const struct dist_event *ev);

/* node_lane.c */
/* The lane of that process, as new if there was none; NULL: no memory, or the peer has too many. */
struct node_lane *node_lane_from(struct books *b, const struct term_pid *pid);
bool node_lane_message(struct books *b, struct node_pool *p,
		       const uint8_t *message); /* false: none */
/* Its lane will say when the caller is gone. */
void node_lane_hear(struct node_lane *l, struct node_request *r);
void node_lane_forget(struct node_request *r); /* its answer is not wanted any more */
struct node_lane *node_lane_of(const struct node_request *r); /* NULL: nobody waits there */
struct buf *node_lane_begin(struct node_lane *l, struct span id, size_t *mark);
bool node_lane_end(struct node_lane *l, size_t mark);
/* An answer that goes alone: it has parts elsewhere. */
bool node_lane_end_apart(struct node_lane *l, size_t mark, const struct parcel_parts *parts,
			 struct share *held);
void node_lane_down(struct node_lane *l); /* its process is gone; frees it */
void node_lanes_gather(struct node *n);   /* before the loop blocks: sends what need not wait */
void node_lanes_init(struct node *n);
void node_lanes_close(struct node *n); /* sends all */

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

/* node_rpc_answer.c: appends one term. A Reason is one of docs/protocol.md, or `undef` and `badarg`. */
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

#endif
