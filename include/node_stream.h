/* node_stream.h - one stream, as its two rooms in the node see it: node_stream.c and node_stream_flow.c. */
#ifndef KRAIT_NODE_STREAM_H
#define KRAIT_NODE_STREAM_H

#include "node_private.h"

#define STREAM_FIRST 4u /* the first window: how long its items are is not known yet */

struct node_stream {
	struct node_holding
		h; /* found by its pid, and by the id in its worker's frames, while open */
	struct node_pool *owner_pool;
	struct node_request *request; /* NULL until it is opened */
	uint64_t timeout_us;          /* of the opening, then of each item; POOL_NEVER */
	uint64_t deadline_us;         /* as the pool knows it; 0: that of the opening */
	uint64_t asked;               /* by the client, and not yet passed on to the worker */
	uint32_t credit;              /* items that the worker may still send */
	uint32_t window;              /* most of them at a time */
	size_t item_bytes;            /* how long items are of late */
	struct list stalled; /* in the owner's books: the worker gets no more until they are read */
	struct stream_sums sums;
	bool paused; /* the worker is not read meanwhile */
	bool begun;  /* its first item is due */
	bool closing;
	enum stream_end {
		STREAM_END_WORKER,  /* it ends with what its worker says, or with the outcome */
		STREAM_END_FAULT,   /* an item could not be sent: `fault` */
		STREAM_END_BAD_ASK, /* the client asked for nonsense */
	} end;
	struct transcode_error fault;
	uint32_t head_len, head_room;
	uint8_t head[]; /* the message of an item up to its term, the same for all of them */
};

struct node_stream *node_stream_of(struct node_holding *h);

/* Its generator is to be closed; the end follows with POOL_DONE. The stream may be gone afterwards. */
void node_stream_close(struct node_stream *s, enum stream_end end);

/* Passes on what the client asked for, as far as it can be; minds the deadline of the item that is due.
 * `item`: one has come. The stream may be gone afterwards. */
void node_stream_flow(struct node_stream *s, bool item);

/* Its worker is read again. */
void node_stream_resume(struct node_stream *s);

#endif
