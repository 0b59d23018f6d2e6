/* event.h - the catalogue of events, and how one is written. Pure.
 *
 *     {krait_event, Node, [krait, call, stop], #{wait_us => 12, ...}, #{pool => default, ...}}
 *
 * The table in event.c is the only place where an event's keys stand: who writes one names them in the
 * table's order, and is stopped by an assertion when he does not. docs/events.md has the same table with
 * words, and check_event compares the two. Besides its own each event has the measurement
 * system_time_us: microseconds since 1970, when it happened. */
#ifndef KRAIT_EVENT_H
#define KRAIT_EVENT_H

#include "buf.h"
#include "term.h"

#include <stdbool.h>
#include <stdint.h>

enum event {
	EVENT_CALL_RECEIVED,
	EVENT_CALL_REFUSED,
	EVENT_CALL_START,
	EVENT_CALL_STOP,
	EVENT_LEASE_GRANTED,
	EVENT_LEASE_ENDED,
	EVENT_STREAM_OPENED,
	EVENT_STREAM_ENDED,
	EVENT_SESSION_STARTED,
	EVENT_SESSION_ENDED,
	EVENT_SESSION_LOST,
	EVENT_WORKER_STARTED,
	EVENT_WORKER_READY,
	EVENT_WORKER_REPLACED,
	EVENT_WORKER_EXITED,
	EVENT_POOL_PAUSED,
	EVENT_POOL_RESUMED,
	EVENT_POOL_DRAINING,
	EVENT_POOL_DRAINED,
	EVENT_POOL_RESIZED,
	EVENT_POOL_GROWN,
	EVENT_POOL_SHRUNK,
	EVENT_POOL_RELOADED,
	EVENT_BREAKER_OPENED,
	EVENT_BREAKER_HALF_OPEN,
	EVENT_BREAKER_CLOSED,
	EVENT_PEER_UP,
	EVENT_PEER_DOWN,
	EVENT_CONFIG_CHANGED,
	EVENT_NODE_STOPPING,
	EVENT_SUBSCRIBER_LOST,
	EVENTS
};

/* Words with a blank between them. */
struct event_row {
	const char *name; /* "krait call stop" */
	const char *measurements, *metadata;
};

const struct event_row *event_row(enum event e);

struct event_writer {
	struct buf *out;
	const struct event_row *row;
	const char
		*keys; /* those that are still to be written, of the measurements or the metadata */
	bool metadata;
};

/* Begins the message; event_key() for each key follows, then event_end(). */
void event_begin(struct event_writer *w, struct buf *out, enum event e, const char *node,
		 uint64_t system_time_us);

/* Writes the next key, which is `key`; the caller appends one term to the buffer that is returned. */
struct buf *event_key(struct event_writer *w, const char *key);

/* A key with its value: an integer; an atom (NULL: nil); an id (0: nil); a binary, or a term, of which nothing
 * is nil. */
void event_uint(struct event_writer *w, const char *key, uint64_t value);
void event_atom(struct event_writer *w, const char *key, const char *value);
void event_id(struct event_writer *w, const char *key, uint64_t id);
void event_text(struct event_writer *w, const char *key, const void *text, size_t len);
void event_term(struct event_writer *w, const char *key, struct span term);

void event_end(struct event_writer *w);

#endif
