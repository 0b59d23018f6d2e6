/* parcel.h - a large frame on its way to a worker, owned by all who still need it.
 *
 * A frame of this size is not copied again once it is written, and what is large in it is not copied at all: the
 * frame says where such a binary belongs (EXT_PART), and the binary goes to the socket from where it was
 * received (frame.h, "Frames in parts").
 *
 *     share ---- a receive buffer: dist, and every parcel with a part that lies in it
 *     parcel --- the frame that we wrote, and its parts: the request, and every write under way
 *
 * Both are counted: whoever is the last to drop one frees it. So a request may end, by a worker's death or its
 * caller's, while the socket still reads its bytes. */
#ifndef KRAIT_PARCEL_H
#define KRAIT_PARCEL_H

#include "buf.h"
#include "frame.h"
#include "share.h"

#include <stdbool.h>
#include <sys/uio.h>

/* Binaries from here on go apart. Below, one copy is cheaper than the padding and the further system calls. */
#define PARCEL_APART (256 * 1024)

/* A part keeps all of the buffer that it lies in; so it must be at least so much of the message. */
#define PARCEL_FRACTION 8

/* The parts of a frame that is being written, or of a message to a peer, from where they go without being
 * copied as well. Zeroed: nothing may go apart. */
struct parcel_parts {
	const uint8_t *from, *to; /* where they may lie: the message that is being served */
	size_t least;             /* the shortest that goes apart */
	size_t bytes;             /* of all */
	unsigned count;
	struct iovec part[FRAME_PARTS_MAX];
	size_t at[FRAME_PARTS_MAX]; /* of a message to a peer: where it belongs in the output */
};

/* From now on binaries between `at` and `at + len` may go apart. NULL: none. */
void parcel_from(struct parcel_parts *parts, const uint8_t *at, size_t len);

/* A new frame begins: it has no parts yet. */
static inline void parcel_clear(struct parcel_parts *parts)
{
	parts->count = 0;
	parts->bytes = 0;
}

/* Whether that goes apart; then it is the part *index of the frame. */
static inline bool parcel_may(const struct parcel_parts *parts, const uint8_t *at, size_t len)
{
	return parts != NULL && at >= parts->from && at < parts->to && len >= parts->least &&
	       parts->count < FRAME_PARTS_MAX;
}
unsigned parcel_put(struct parcel_parts *parts, const uint8_t *at, size_t len, size_t place);

#define PARCEL_PIECES (FRAME_PARTS_MAX + 3) /* head, text, padding, parts */

struct parcel {
	unsigned owners;
	size_t len; /* of the frame, all in all */
	struct buf
		text; /* as frame_begin() and frame_end() made it; with parts, its length is in `head` */
	struct share *held; /* where the parts lie; NULL: there are none */
	unsigned pieces;
	struct iovec piece[PARCEL_PIECES]; /* of the frame as it goes to the socket */
	uint8_t head[FRAME_PARTS_HEAD];
};

/* One owner; takes over `text` (a whole frame, no error in it, empty afterwards), and drops `held` when it is
 * freed. NULL: no memory, or longer than a frame can be; nothing was taken over. */
struct parcel *parcel_new(struct buf *text, const struct parcel_parts *parts, struct share *held)
	__attribute__((warn_unused_result));
struct parcel *parcel_hold(struct parcel *p);
void parcel_drop(struct parcel *p); /* NULL: nothing */

#endif
