/* node_clients.h - the tables of what clients are to the node: peers, monitors, requests, and what
 * they hold. See node_private.h. */
#ifndef KRAIT_NODE_CLIENTS_H
#define KRAIT_NODE_CLIENTS_H

#include "hash.h"
#include "mem.h"
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)hash_bytes(key, len))
#define uthash_malloc(size)           mem_alloc(size)
#define uthash_free(ptr, size)        mem_free(ptr)
#define HASH_NONFATAL_OOM             1
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
#include "parcel.h"
#include "peer.h"
#include "pool.h"
#include "request.h"
#include "slab.h"
#include "spin.h"
#include "table.h"
#include "term.h"
#include "term_home.h"
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
} POOL_PACKED;

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
	enum term_ids ids;                                    /* of its BEAM, as its calls say */
	enum { USER_UNASKED, USER_UNKNOWN, USER_KNOWN } user; /* who opened it, if over loopback */
	uint32_t uid;                                         /* KNOWN */
	uint64_t up_us;
	bool dirty; /* in node->dirty: output to flush before the loop blocks */
	struct list link, dirty_link;
	struct table monitors;   /* struct monitor, by reference: theirs on us */
	struct list requests;    /* struct node_request, by_peer: callers that live there */
	struct list holdings;    /* struct node_holding, by_peer: owners that live there */
	struct list links;       /* struct node_link, by_peer */
	struct list watches;     /* struct watch, by_peer: ours on pids there */
	struct list stalled;     /* struct node_stream: they wait until this peer has read */
	struct list callbacks;   /* struct callback, by_peer: sent there */
	struct list spawns;      /* struct callback, waiter.link: rpcs that wait for `leader` */
	struct local_pid leader; /* the process `user` there, which prints what rpcs print */
	bool leader_asked, leader_known;
	struct node_lane *lanes; /* by pid */
};

/* A reference of a peer, as it is kept: short, without what its peer's references have in common (node_ref.c),
 * or as it came. */
#define REF_MAX          300
#define MONITOR_REF_BITS 11 /* of its length: one has a name and at most five words */
struct ref {
	struct span bytes;
	bool is_short;
};

/* A monitor that a process of a peer holds on a name of ours, or, then it is a holding_monitor's, on a lease or
 * so. Every GenServer.call sets one. Behind it are its reference and, of a watcher that is not of its peer's
 * creation, that; on a name they begin at `rest`. */
struct monitor {
	struct table_link by_ref; /* in books.monitors */
	union {
		struct node_request
			*request; /* MEANS_REQUEST: its tag carries the same reference */
		struct node_holding *granting; /* MEANS_GRANT: answered with this one, not yet known
		                                  to be heard */
	};
	uint32_t watcher_id, watcher_serial; /* monitor_watcher() */
	uint16_t pool; /* the `number` of the pool of the name; 0: there is none */
	uint16_t ref_len : MONITOR_REF_BITS;
	uint16_t means : 2; /* enum monitor_means */
	uint16_t ref_is_short : 1, on_holding : 1, has_creation : 1;
	uint8_t rest[4];
};
enum monitor_means { MEANS_NOTHING, MEANS_REQUEST, MEANS_GRANT };
struct holding_monitor {
	struct monitor m;
	struct books *books;
	struct list by_holding;
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
	struct table_link by_id; /* in node->watches */
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
struct node_lane {
	UT_hash_handle hh; /* by pid, in books.lanes */
	struct books *books;
	struct local_pid pid;
	struct watch *watch;
	struct table calls; /* struct node_request, by its tag, the Id: whose answers are wanted */
	struct buf answers; /* {Id, Answer}, not yet sent */
	uint32_t count;     /* of them */
	struct list dirty_link; /* in node.dirty_lanes */
};

/* How a request is answered. */
enum reply_form {
	REPLY_GEN, /* {Tag, Reply}, as a gen_server */
	REPLY_RPC, /* by the end of the process that a spawn request asked for: node_rpc.c */
	REPLY_REX, /* {Tag, Result} without `ok`, or {Tag, {badrpc, ...}}: node_rex.c */
} POOL_PACKED;

/* How its tag is kept: most are [alias | Ref]. */
enum tag_form {
	TAG_WHOLE,
	TAG_ALIAS, /* its Ref, short */
	TAG_MONITOR /* not at all: the caller's monitor has the Ref. When that is gone nobody is answered */
};

/* How the caller has written a name. */
enum name_form { NAME_BINARY, NAME_ATOM, NAME_LATIN1 /* an atom */ };

/* Who tells that its caller is gone. */
enum heard_by {
	HEARD_NOT,     /* nobody, or no more */
	HEARD_MONITOR, /* the caller's own, which GenServer.call sets */
	HEARD_WATCH,   /* ours */
	HEARD_LANE     /* the lane that it came in */
};

/* One request of a caller, in one piece of memory with all that it needs while it waits. What no pool has
 * (AWAIT_READY, DRAIN, RELOAD and the like) waits by its pool.link: in node_pool.waiting, drains, reloads. */
struct node_session;
struct node_stream;
struct node_claim {
	struct pool_claim pool;
	struct node_session
		*fresh; /* the record that goes along with POOL_SUBMIT, until then; or NULL */
};
struct node_request {
	struct pool_request pool;
	struct node_pool *owner_pool;
	struct books *books; /* NULL: the peer is gone, nobody is answered */
	struct list by_peer;
	union { /* by its verb and form */
		struct node_lease
			*lease; /* CHECKOUT: what will be granted; GIVE_AWAY: what is given */
		struct node_stream *stream; /* STREAM: what will be opened */
		struct node_rpc *rpc;       /* REPLY_RPC: the process that runs it */
	};
	union { /* by `heard_by` */
		struct monitor *monitor;
		struct watch *watch;
		struct node_lane *lane;
	};
	struct table_link by_lane; /* in node_lane.calls, while its answer is wanted there */
	struct local_pid caller;
	union {                 /* by its verb */
		uint32_t count; /* AWAIT_READY: how many workers; rpc: the number of arguments */
		uint32_t names_len; /* BATCH */
	};
	/* What its memory goes on with (node_kept.c): the tag; if `has_more` the lengths of progress' tag, the
	 * session's id and the trace context; of a batch the terms M and F of all calls, one after the other;
	 * those three; where in the frame the session's token is filled in, if `has_token`; the frame of
	 * pool.bytes, or a pointer to its parcel; pool.claim (a node_claim), if it has one, and its key */
	uint16_t tag_len;
	enum request_verb verb;
	enum reply_form form;
	enum answer_kind answer; /* what it was answered with, if it was */
	enum heard_by heard_by : 2;
	enum tag_form tag_form : 2;
	bool in_lane : 1; /* it came in one */
	bool of_node : 1; /* AWAIT_READY, DRAIN, RELOAD: it concerns all pools */
	bool cast : 1;
	bool strings_utf8 : 1;
	bool in_parcel : 1;    /* its frame is in one */
	bool has_deadline : 1; /* the last four bytes of its frame */
	bool has_token : 1;
	bool has_more : 1;
	enum name_form module_form : 2; /* CALL, STREAM */
	enum name_form function_form : 2;
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
	struct list monitors;  /* struct holding_monitor, by_holding */
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

#endif
