/* node_callback.h - what the rooms of calls back share.
 *
 *   node_callback.c        their records: begun, found, ended; what a worker is told
 *   node_callback_frame.c  what a worker says
 *   node_callback_send.c   what peers are told: messages, monitors, spawn requests
 *   node_callback_hear.c   what peers say
 *   node_callback_wait.c   deadlines; calls that wait; workers that are not read for a while
 *   node_deadlock.c        workers that wait for those who wait for workers
 *
 *     worker --CALLBACK--> callback --(connection)--> sent --answer, DOWN, deadline--> REPLY, DOWN; freed
 *
 * A callback is a process to its peer: it has a pid of ours (its id), which can be monitored and linked to
 * like any, for servers do that with those who call them; and its reference is the same id, on the
 * monitor that we set and in what the answer must carry. It ends by whichever comes first: the answer, the
 * end of who is asked, its deadline, `cancel`, or the end of the call that it belongs to. Whatever comes
 * later finds nothing. */
#ifndef KRAIT_NODE_CALLBACK_H
#define KRAIT_NODE_CALLBACK_H

#include "node_private.h"

#define CALLBACKS_MAX     1024      /* of one worker, its monitors included */
#define CALLBACK_DEST_MAX 8192      /* bytes of an address */
#define CALLBACK_QUEUED   (1 << 20) /* bytes that a worker may have waiting for connections */
#define CALLBACK_UNSENT   (4 << 20) /* with more waiting for its peer to read, a worker is not read */
#define CALLBACK_DRAINED  (1 << 20) /* until there are no more than these */

enum callback_kind {
	CALLBACK_CALL,
	CALLBACK_RPC,
	CALLBACK_MONITOR,
	CALLBACK_SEND,    /* a message that waits for a connection; belongs to no call */
	CALLBACK_WHEREIS, /* a question of the node itself */
};

/* Where to. */
enum callback_to { TO_NODE, TO_PID, TO_NAME };

struct callback {
	struct node_holding h; /* the process that its peer sees */
	enum callback_kind kind;
	uint64_t number;            /* the worker's id of it */
	UT_hash_handle hh;          /* by number, in node_worker.callbacks */
	struct node_worker *worker; /* NULL: SEND of a worker that is gone, WHEREIS */
	struct callback_call *call; /* on whose behalf; NULL: SEND, WHEREIS */
	struct list by_call;
	struct connect_waiter waiter; /* in an attempt, or in books.spawns: not sent yet */
	struct books *books;          /* where it was sent to */
	struct list by_peer;
	struct heap_node timer; /* its deadline */
	uint64_t since_us;
	enum callback_to to;
	struct local_pid pid; /* TO_PID; RPC, WHEREIS: of the process that was spawned, if it was */
	char *name;           /* TO_NAME */
	bool spawned, utf8, counted;
	size_t queued;        /* what it counts in its worker's queued_bytes */
	bool resolved, asked; /* TO_NAME: `pid` is who has the name; that was asked */
	uint64_t about;   /* WHEREIS: the callback whose name it is; 0: `user`, for books.leader */
	uint8_t *message; /* until it is sent */
	size_t message_len;
};

/* A call of a worker that has callbacks. */
struct callback_call {
	UT_hash_handle hh; /* by id, in node_worker.calls */
	uint64_t id;
	struct node_worker *worker;
	struct list callbacks; /* struct callback, by_call */
	struct list due;       /* in node_pool.waits: the pool is to be told */
	unsigned waits;        /* callbacks that are answered by a REPLY */
	bool told;             /* what the pool knows: it waits */
};

/* node_callback.c */
/* A callback that is registered; `r` is the call's request (NULL: SEND, WHEREIS). NULL: no memory. */
struct callback *callback_new(struct node *n, enum callback_kind kind, struct node_worker *w,
			      uint64_t number, const struct node_request *r);
struct callback *callback_find(struct node *n, uint64_t id);
void callback_free(struct callback *c); /* the worker hears nothing, the peer what it must */
/* The end of a callback, told to its worker: REPLY, or DOWN of a monitor. They free it. */
void callback_ok(struct callback *c, const uint8_t *value);
void callback_exit(struct callback *c, struct span reason);
void callback_exit_atom(struct callback *c, const char *reason);
void callback_refuse(struct callback *c, const char *text);
void callback_time_out(struct callback *c);
/* REPLY to a callback that there never was. */
void callback_refuse_number(struct node_worker *w, uint64_t number, bool monitor, const char *text);
void callback_fault_text(const char *what, const struct transcode_error *err, char *text,
			 size_t size);
/* The request that runs in that worker under that id, and that somebody waits for; else NULL. */
struct node_request *callback_request(const struct node_worker *w, uint64_t call_id);

/* node_callback_send.c */
/* Over a connection that is up: the request, the message, or the terms of an rpc. */
void callback_send(struct callback *c, struct books *b, struct span message);
/* Keeps that for later. False: no memory. */
bool callback_keep(struct callback *c, struct span message);
/* A message to a pid or a name over a connection that is up. False: it found no room. */
bool callback_message(struct books *b, enum callback_to to, const struct local_pid *pid,
		      const char *name, struct span message);
void callback_unsend(struct callback *c); /* its peer need not answer any more */
void callback_leader_known(struct books *b, const struct local_pid *pid); /* NULL: there is none */
bool callback_whereis(struct books *b, const char *name, uint64_t about);

/* node_callback_wait.c */
void callback_arm(struct callback *c, uint64_t timeout_ms);
void callback_count(struct callback_call *k, int change); /* how many REPLYs it waits for */
void callback_due(struct callback_call *k);     /* the pool is to be told, or it is to be freed */
void callback_release(struct callback_call *k); /* frees it if nothing is left of it */
/* Does not read the worker for as long as too much of what it said waits to be sent; `b` (may be NULL):
 * the peer that was sent something. */
void callback_throttle(struct node_worker *w, struct books *b);
void callback_unthrottle(struct node_worker *w);

#endif
