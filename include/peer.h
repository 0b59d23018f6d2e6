/* peer.h - TCP around one distribution connection: reading, writing in slices, ticks, limits. */
#ifndef KRAIT_PEER_H
#define KRAIT_PEER_H

#include "dist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct peer;

struct peer_callbacks {
	/* An event of the connection; what it points at is valid until the callback returns. CLOSED is
	 * not told here but by on_closed. */
	void (*on_event)(void *arg, struct peer *p, const struct dist_event *ev);
	/* The connection is gone and its handles are closed; the memory is freed after this returns. */
	void (*on_closed)(void *arg, struct peer *p, const char *why);
	/* What peer_tell_drained() asked for. May be NULL when nobody asks. */
	void (*on_drained)(void *arg, struct peer *p);
};

struct peer_options {
	struct dist_config dist;
	uint64_t handshake_timeout_ms;
	uint64_t ticktime_ms; /* silence after which the peer is gone; ticks every quarter */
	size_t max_output;    /* bytes that may wait for the peer to read them */
};

/* Accepts one connection from `listener`. `id` is unique for the node's life. NULL, and a negative
 * errno in *error; the pending connection is then still pending. */
struct peer *peer_accept(uv_loop_t *loop, uv_stream_t *listener, uint64_t id,
			 const struct peer_options *options, const struct peer_callbacks *callbacks,
			 void *arg, int *error) __attribute__((warn_unused_result));

/* Connects to `address`, to the node `name` (dist_name_ok()). What goes wrong later is on_closed. NULL, and a
 * negative errno in *error. */
struct peer *peer_connect(uv_loop_t *loop, const struct sockaddr *address, const char *name,
			  uint64_t id, const struct peer_options *options,
			  const struct peer_callbacks *callbacks, void *arg, int *error)
	__attribute__((warn_unused_result));

/* The state machine inside, to be asked and to be told what to send. After sending, peer_flush() must
 * be called before the loop blocks. */
struct dist *peer_dist(struct peer *p);

/* Gives what waits to the kernel, a slice at once and the rest as it takes it: what is small before what is
 * large. Closes the connection when more than max_output waits. */
void peer_flush(struct peer *p);

/* A tick has come: answers it, since the peer's tick time may be shorter than ours; but not one that may be
 * the answer to ours, or two who do so would never be silent again. */
void peer_ticked(struct peer *p);

/* Closes the connection: flushes what the kernel takes at once, then on_closed, later. `why` is copied.
 * Nothing happens when it is closing already. */
void peer_close(struct peer *p, const char *why);

/* The same for a node that ends: the peer reads all that was said before. What waits is written, then our side is
 * shut down; what still comes is dropped, no event is told any more; closed when the peer closes, or linger_ms
 * later. */
void peer_finish(struct peer *p, const char *why, uint64_t linger_ms);

/* Bytes that wait for the peer to read them. */
size_t peer_unsent(const struct peer *p);

/* Asks for one on_drained(), as soon as peer_flush() or a completed write finds at most `bytes` unsent;
 * never from inside this call. A later wish replaces an earlier one; a connection that closes forgets it. */
void peer_tell_drained(struct peer *p, size_t bytes);

/* The two ends of the connection. 0, or a negative errno. */
struct sockaddr_storage;
int peer_addresses(const struct peer *p, struct sockaddr_storage *ours,
		   struct sockaddr_storage *theirs) __attribute__((warn_unused_result));
/* peer_user.c: the local user who made the socket at the other end, of a connection over loopback. 0, or a
 * negative errno: it is not of this machine, or not to be found out. */
int peer_user(const struct peer *p, uint32_t *uid) __attribute__((warn_unused_result));

bool peer_closing(const struct peer *p);
uint64_t peer_id(const struct peer *p);

/* "peer NAME" or "peer ADDR:PORT" while the name is unknown: for log lines. */
const char *peer_label(const struct peer *p);

/* A pointer of the owner's. */
void peer_set_data(struct peer *p, void *data);
void *peer_data(const struct peer *p);

#endif
