/* peer_private.h - what the files of a peer share: its connection as it is.
 *
 *   peer.c         from accept or connect to the last handle closed; reading, ticks
 *   peer_write.c   writing in slices, and the last words
 *   peer_user.c    whose the other end is */
#ifndef KRAIT_PEER_PRIVATE_H
#define KRAIT_PEER_PRIVATE_H

#include "peer.h"

#define PEER_SLICE_BYTES \
	(256 * 1024) /* read or written per peer and turn; a fragment of ours, four of a BEAM's */

struct peer {
	uint64_t id;
	const struct peer_callbacks *callbacks;
	void *arg, *data;
	struct dist *dist;
	uv_tcp_t tcp;
	uv_timer_t timer; /* the handshake's deadline, then the ticks, then peer_finish()'s */
	uv_connect_t connect;
	unsigned open; /* handles */
	bool up, closing;
	char label[DIST_NAME_MAX + 8];
	char why[256];

	/* Reading. */
	size_t taken;  /* bytes of this turn's reads */
	bool yielding; /* the rest is for the next turn */

	/* Writing: small frames that are being written, while the output gathers others; how much of them is
	 * written or in the slice. The slice is what the kernel is given now: of `sending`, then fragments. */
	uv_write_t write;
	struct buf sending;
	size_t sent;
	uv_buf_t slice[1 + DIST_PIECES_MAX];
	unsigned slices;
	bool writing, tell_drained;
	size_t drained; /* with tell_drained: how little must be unsent */
	size_t max_output;
	bool finishing, shut; /* peer_finish(); nothing more is written */
	uv_shutdown_t shutdown;

	/* Ticks. */
	uint64_t ticktime_ms;
	uint64_t bytes_in, bytes_out; /* in all */
	uint64_t seen_in, seen_out;   /* at the last tick */
	unsigned silent;              /* ticks without a byte from the peer */
	bool asked;                   /* a tick of ours may be answered with one */
};

/* ---- peer_write.c ---- */

/* Of a connection that closes: what the kernel takes at once. */
void peer_write_last(struct peer *p);

#endif
