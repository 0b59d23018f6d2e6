/* dist_write.h - the bytes of one frame of ours: for dist_send.c and dist_message.c.
 *
 * Frame: length:32, 112, 131, {Operation, ...} [, 131, message], or to a peer with fragments length:32,
 * 131, 68, 0, {Operation, ...} [, message]. Atoms as SMALL_ATOM_UTF8 (ATOM_UTF8 over 255 bytes), pids as
 * NEW_PID, references as they came.
 *
 *     dist_frame_begin()   room for all of it, at once; where its elements are to be written
 *     write_...()          which look for no room: the bounds below are what was asked for
 *     dist_frame_end()     its length; the output has it now */
#ifndef KRAIT_DIST_WRITE_H
#define KRAIT_DIST_WRITE_H

#include "dist_private.h"

#include "splitmix.h"

#include <assert.h>

#define FRAME_HEAD 11 /* length:32, 112, 131 or 131, 68, 0; 104, arity, 97, operation */

enum {
	SMALL_INTEGER = 97,
	SMALL_TUPLE = 104,
	NIL = 106,
	LIST = 108,
	SMALL_BIG = 110,
	ATOM_UTF8 = 118,
	SMALL_ATOM_UTF8 = 119,
	NEW_PID = 88
};

/* Upper bounds of what the writers below write. */
static inline size_t atom_room(size_t len)
{
	return 3 + len;
}

static inline size_t pid_room(const struct term_pid *pid)
{
	return 1 + atom_room(pid->node_len) + 12;
}

#define ID_ROOM 11 /* SMALL_BIG of 8 bytes */

static inline uint8_t *write_raw(uint8_t *p, const void *data, size_t len)
{
	memcpy(p, data, len);
	return p + len;
}

static inline uint8_t *write_span(uint8_t *p, struct span s)
{
	return write_raw(p, s.at, s.len);
}

static inline uint8_t *write_atom(uint8_t *p, const void *text, size_t len)
{
	if (len <= UINT8_MAX) {
		*p++ = SMALL_ATOM_UTF8;
	} else {
		*p++ = ATOM_UTF8;
		*p++ = (uint8_t)(len >> 8);
	}
	*p++ = (uint8_t)len;
	return len > 0 ? write_raw(p, text, len) : p;
}

static inline uint8_t *write_pid(uint8_t *p, const struct term_pid *pid)
{
	*p++ = NEW_PID;
	p = write_atom(p, pid->node, pid->node_len);
	put_u32(p, pid->id);
	put_u32(p + 4, pid->serial);
	put_u32(p + 8, pid->creation);
	return p + 12;
}

static inline uint8_t *write_id(uint8_t *p, uint64_t id)
{
	uint8_t *len;

	if (id <= UINT8_MAX) {
		*p++ = SMALL_INTEGER;
		*p++ = (uint8_t)id;
		return p;
	}
	*p++ = SMALL_BIG;
	len = p++;
	*p++ = 0;
	for (*len = 0; id > 0; id >>= 8, ++*len)
		*p++ = (uint8_t)id;
	return p;
}

/* Begins a frame of at most FRAME_HEAD + `room` bytes; NULL: not connected, or lost. */
static inline uint8_t *dist_frame_begin(struct dist *d, unsigned op, unsigned arity, size_t room)
{
	uint8_t *p;
	int rc;

	if (d->phase != PHASE_UP)
		return NULL;
	if ((rc = buf_reserve(&d->out, FRAME_HEAD + room)) != 0) {
		d->lost = rc;
		return NULL;
	}
	p = d->out.data + d->out.len + 4;
	if (dist_fragments(d)) {
		*p++ = TERM_VERSION;
		*p++ = DIST_HEADER;
		*p++ = 0; /* atom cache references */
	} else {
		*p++ = 112;
		*p++ = TERM_VERSION;
	}
	*p++ = SMALL_TUPLE;
	*p++ = (uint8_t)arity;
	*p++ = SMALL_INTEGER;
	*p++ = (uint8_t)op;
	return p;
}

/* The key of a receiver, never 0. */
static inline uint64_t dist_key(uint64_t x)
{
	return splitmix_at(x) | 1;
}

static inline uint64_t dist_pid_key(const struct term_pid *to)
{
	return dist_key(((uint64_t)to->serial << 32 | to->id) ^ (uint64_t)to->creation << 28);
}

static inline uint64_t dist_name_key(const char *name)
{
	uint64_t x = 0;

	while (*name != '\0')
		x = x * 31 + (uint8_t)*name++;
	return dist_key(x);
}

/* Ends the frame that stands after the output's last byte, at `p`. */
static inline size_t dist_frame_end(struct dist *d, const uint8_t *p)
{
	size_t start = d->out.len;

	assert((size_t)(p - d->out.data) <= d->out.cap);
	d->out.len = (size_t)(p - d->out.data);
	put_u32(d->out.data + start, (uint32_t)(d->out.len - start - 4));
	return start;
}

#endif
