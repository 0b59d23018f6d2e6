/* request.h - the sentences of the protocol, parsed and answered. Pure.
 *
 * A message to a pool, to the node or to a lease is first opened (request_open): is it a gen_server call
 * or cast, from whom, with which tag. Then its request is parsed (request_parse) into one struct; what
 * is wrong with it becomes a Reason, an encoded term, for `{error, Reason}`. */
#ifndef KRAIT_REQUEST_H
#define KRAIT_REQUEST_H

#include "buf.h"
#include "pool.h"
#include "term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_INFINITY   UINT64_MAX
#define REQUEST_NAME_MAX   1024 /* bytes of M and of F */
#define REQUEST_RETRY_MAX  100
#define REQUEST_DEMAND_MAX 1000000
#define REQUEST_DEMAND     16    /* items of a stream before the first ask, unless told otherwise */
#define REQUEST_TERM_MAX   1024  /* bytes of a session's id, and of the tag of progress */
#define REQUEST_BATCH_MAX  10000 /* calls in one batch */
#define REQUEST_SIZE_MAX   1024  /* workers of a pool */
#define REQUEST_LIST_MAX   1000  /* requests that `requests` tells of */

/* What can be subscribed to; bits. */
#define REQUEST_TOPIC_LOG    1u
#define REQUEST_TOPIC_EVENTS 2u

/* The outside of a message. */
enum envelope_kind {
	ENVELOPE_CALL, /* {'$gen_call', {From, Tag}, Request} */
	ENVELOPE_CAST, /* {'$gen_cast', Request} */
	ENVELOPE_OTHER /* anything else */
};

struct envelope {
	enum envelope_kind kind;
	struct term_pid from; /* CALL */
	struct span tag;      /* CALL: the whole tag */
	struct span
		alias; /* CALL: the reference to answer to, if the tag holds an alias; else len 0 */
	struct span
		ref; /* CALL: the reference that a monitor of the caller's may carry; else len 0 */
	const uint8_t *request; /* CALL, CAST */
};

/* Opens a checked message. */
void request_open(const uint8_t *message, struct envelope *out);

/* The reference to answer to that a checked tag holds, len 0: none. */
struct span request_alias(const uint8_t *tag);

/* As request_open() for the first bytes of a message that is not checked and not whole: finds sender and
 * tag if they are within `len` bytes. False when it is no call, or not to be made out. `request` is NULL. */
bool request_open_head(const uint8_t *head, size_t len, struct envelope *out);

enum request_target { TARGET_NODE = 1, TARGET_POOL = 2, TARGET_LEASE = 4, TARGET_STREAM = 8 };

enum request_verb {
	VERB_CALL,
	VERB_STREAM,
	VERB_BATCH,
	VERB_CHECKOUT,
	VERB_CHECKIN,
	VERB_GIVE_AWAY,
	VERB_PING,
	VERB_PING_WORKER,
	VERB_AWAIT_READY,
	VERB_SESSIONS,
	VERB_END_SESSION,
	VERB_STATUS,
	VERB_WORKERS,
	VERB_RESIZE,
	VERB_PAUSE,
	VERB_RESUME,
	VERB_DRAIN,
	VERB_RELOAD,
	VERB_RELOAD_CONFIG, /* {reload, config} */
	VERB_RECYCLE,
	VERB_KILL,
	VERB_CANCEL,
	VERB_REQUESTS,
	VERB_PEERS,
	VERB_POOLS,
	VERB_CONFIG,
	VERB_SET,
	VERB_SUBSCRIBE,
	VERB_UNSUBSCRIBE,
	VERB_STOP,
	REQUEST_VERBS
} POOL_PACKED;

/* Who may say a verb; each includes the former. */
enum request_role {
	ROLE_USE,   /* calls, leases, streams, sessions */
	ROLE_WATCH, /* what there is and what happens */
	ROLE_ADMIN  /* what changes something for others */
};

struct request_defaults {
	uint64_t timeout_ms, queue_timeout_ms; /* or REQUEST_INFINITY */
	bool strings_utf8;
	enum pool_session_mode session_mode;
};

/* One request. Spans and terms point into the message. */
struct request {
	enum request_verb verb;
	enum request_target target; /* what it was said to */
	/* CALL, STREAM */
	struct span module, function;               /* text */
	const uint8_t *module_term, *function_term; /* as the caller gave them */
	const uint8_t *args;                        /* a term, not looked at */
	const uint8_t *kwargs;                      /* a map term, or NULL */
	struct span traceparent;                    /* text; len 0: none */
	const uint8_t *progress; /* a term, the tag of progress; NULL: none wanted */
	uint32_t demand;         /* STREAM */
	const uint8_t *calls;    /* BATCH: a proper list of {M, F, Args}, each checked */
	/* CALL, STREAM, BATCH, CHECKOUT; END_SESSION: its id */
	const uint8_t *session; /* a term of at most REQUEST_TERM_MAX bytes, or NULL */
	enum pool_session_mode session_mode;
	bool has_owner;
	struct term_pid owner; /* of the session */
	uint64_t timeout_ms, queue_timeout_ms;
	enum pool_priority priority;
	unsigned retry;
	bool strings_utf8;
	/* GIVE_AWAY */
	struct term_pid to;
	/* AWAIT_READY, RESIZE: how many workers (RESIZE: at most); RECYCLE, KILL: which; CANCEL: which
	 * request; REQUESTS: how many at most */
	bool has_count;
	uint64_t count;
	uint64_t least; /* RESIZE: the least number of workers, at most `count` */
	/* SET */
	struct span option;   /* text */
	const uint8_t *value; /* a term, not looked at */
	/* SUBSCRIBE: REQUEST_TOPIC_... */
	unsigned topics;
};

/* Parses a checked request that was said to `target`. 0; or -EINVAL with the Reason appended to
 * `reason` (bad_request, bad_option, unknown_request, invalid_checkout_type); or -ENOMEM. */
int request_parse(const uint8_t *term, enum request_target target,
		  const struct request_defaults *defaults, struct request *out, struct buf *reason)
	__attribute__((warn_unused_result));

/* How the verb is called in a request. */
const char *request_verb_name(enum request_verb verb);
enum request_role request_verb_role(enum request_verb verb);
const char *request_role_name(enum request_role role);

/* One {M, F, Args} of a batch: the terms and, in `out`, module, function and args. */
bool request_parse_mfa(const uint8_t *term, struct request *out);

/* A call whose options all have their defaults, of three terms that follow each other: M and F, atoms, and
 * Args. 0; -ENOENT: no function can have that name; -EINVAL: no atoms, or Args is no proper list. */
int request_plain_call(const uint8_t *mfa, const struct request_defaults *defaults,
		       struct request *out);

/* Appends {bad_request, Expected} with Expected a binary. */
void request_put_bad(struct buf *reason, const char *expected);

#endif
