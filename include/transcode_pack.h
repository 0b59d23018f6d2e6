/* transcode_pack.h - single values of msgpack, written to a sink; a room of transcode.
 *
 * The inline ones and pack_float() rely on SINK_SLACK bytes of room and take no more than 11; the others make
 * their own, SINK_SLACK included. Format: https://github.com/msgpack/msgpack/blob/master/spec.md */
#ifndef KRAIT_TRANSCODE_PACK_H
#define KRAIT_TRANSCODE_PACK_H

#include "frame.h"
#include "transcode_private.h"

/* An extension with its payload. */
enum transcode_fault pack_ext(struct sink *s, enum frame_ext type, const void *data, size_t len);
/* str or bin. */
enum transcode_fault pack_bytes(struct sink *s, const uint8_t *data, size_t len, bool text);
/* The same of what is no key: apart, where it may be. */
enum transcode_fault pack_value(struct sink *s, const uint8_t *data, size_t len, bool text);
/* A PART of the kind, whose payload ends with `lead` (16 KiB at most). False: that may not go apart. */
bool pack_apart(struct sink *s, enum frame_part kind, const void *lead, size_t lead_len,
		const uint8_t *data, size_t len, enum transcode_fault *fault);
/* str if `utf8` and it is, else bin. */
enum transcode_fault pack_binary(struct sink *s, const uint8_t *data, size_t len, bool utf8);

/* Terms: an atom, a big integer, a float, a pid reference port or export, a bit string (one of whole
 * bytes is a binary; bits that do not belong to it are cleared, so that equal ones have equal bytes). */
enum transcode_fault pack_atom(struct sink *s, const uint8_t *t);
enum transcode_fault pack_big(struct sink *s, const uint8_t *t);
void pack_float(struct sink *s, const uint8_t *t);
enum transcode_fault pack_name(struct sink *s, enum frame_ext type, const uint8_t *t);
enum transcode_fault pack_bits(struct sink *s, const uint8_t *t, bool utf8);

/* What arguments alone may be: {bytes, Binary}, its bytes; {krait_input, Pid}, an iterator over what that
 * process gives. Moves *at past it. False: the term at *at is neither, and nothing was written. */
bool pack_special(struct sink *s, const uint8_t **at, enum transcode_fault *fault);

static inline void pack_byte(struct sink *s, unsigned byte)
{
	*s->w++ = (uint8_t)byte;
}

/* A tag and a count of 1, 2 or 4 bytes: tag8, the tag after it, or the one after that. */
static inline void pack_head(struct sink *s, unsigned tag8, size_t count)
{
	uint8_t *w = s->w;

	if (count <= 0xff) {
		w[0] = (uint8_t)tag8;
		w[1] = (uint8_t)count;
		s->w = w + 2;
	} else if (count <= 0xffff) {
		w[0] = (uint8_t)(tag8 + 1);
		put_u16(w + 1, (unsigned)count);
		s->w = w + 3;
	} else {
		w[0] = (uint8_t)(tag8 + 2);
		put_u32(w + 1, (uint32_t)count);
		s->w = w + 5;
	}
}

/* An array or a map: in the low bits of `fix`, or after `tag16` or the tag after that. */
static inline void pack_count(struct sink *s, unsigned fix, unsigned tag16, uint32_t count)
{
	uint8_t *w = s->w;

	if (count <= 15) {
		pack_byte(s, fix | count);
	} else if (count <= 0xffff) {
		w[0] = (uint8_t)tag16;
		put_u16(w + 1, count);
		s->w = w + 3;
	} else {
		w[0] = (uint8_t)(tag16 + 1);
		put_u32(w + 1, count);
		s->w = w + 5;
	}
}

static inline void pack_uint(struct sink *s, uint64_t value)
{
	uint8_t *w = s->w;

	if (value <= 0x7f) {
		pack_byte(s, (unsigned)value);
	} else if (value <= 0xffffffff) {
		pack_head(s, 0xcc, value);
	} else {
		w[0] = 0xcf;
		put_u64(w + 1, value);
		s->w = w + 9;
	}
}

static inline void pack_int(struct sink *s, int64_t value)
{
	uint8_t *w = s->w;

	if (value >= 0) {
		pack_uint(s, (uint64_t)value);
	} else if (value >= -32) {
		pack_byte(s, (unsigned)value & 0xff);
	} else if (value >= INT8_MIN) {
		w[0] = 0xd0;
		w[1] = (uint8_t)value;
		s->w = w + 2;
	} else if (value >= INT16_MIN) {
		w[0] = 0xd1;
		put_u16(w + 1, (unsigned)value & 0xffff);
		s->w = w + 3;
	} else if (value >= INT32_MIN) {
		w[0] = 0xd2;
		put_u32(w + 1, (uint32_t)value);
		s->w = w + 5;
	} else {
		w[0] = 0xd3;
		put_u64(w + 1, (uint64_t)value);
		s->w = w + 9;
	}
}

#endif
