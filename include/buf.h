/* buf.h - a growing byte buffer with a sticky error.
 *
 * Writers append without looking; the first failure (no memory, or over `limit`) sets `err`, after
 * which every append is a no-op, and the owner looks at `err` once at the end. `data` is owned by the
 * buffer, and large_free()d with its `cap` by whoever takes it from there; integers are big-endian. */
#ifndef KRAIT_BUF_H
#define KRAIT_BUF_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

struct buf {
	uint8_t *data;
	size_t len, cap;
	size_t limit; /* most bytes it may hold; 0: no limit */
	int err;      /* 0, -ENOMEM, or -EMSGSIZE (over limit) */
};

/* An empty buffer needs no more than zeroes: `struct buf b = { 0 };`. */

/* Frees the bytes and makes the buffer empty, its error cleared, its limit kept. */
void buf_free(struct buf *b);

/* Empties the buffer but keeps its memory, unless that is over `keep` bytes. Clears the error. */
void buf_reset(struct buf *b, size_t keep);

/* Makes room for `n` more bytes (in proportion, so appends are amortised O(1)). 0, or the sticky error. */
int buf_reserve(struct buf *b, size_t n) __attribute__((warn_unused_result));

/* Says that `n` more bytes will probably come: takes kept memory (large.h) of that size if there is some, and
 * costs nothing else. */
void buf_expect(struct buf *b, size_t n);

/* Drops the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);

/* Appends `n` bytes. */
void buf_put_slow(struct buf *b, const void *data, size_t n);

static inline void buf_put(struct buf *b, const void *data, size_t n)
{
	if (b->err == 0 && b->limit == 0 && b->cap - b->len >= n) {
		if (n > 0)
			memcpy(b->data + b->len, data, n);
		b->len += n;
	} else {
		buf_put_slow(b, data, n);
	}
}

static inline void buf_put_u8(struct buf *b, unsigned v)
{
	uint8_t byte = (uint8_t)v;

	buf_put(b, &byte, 1);
}

static inline void put_u16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, v >> 16);
	put_u16(p + 2, v & 0xffff);
}

static inline void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)(v >> 32));
	put_u32(p + 4, (uint32_t)v);
}

static inline uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

static inline void buf_put_u16(struct buf *b, unsigned v)
{
	uint8_t bytes[2];

	put_u16(bytes, v);
	buf_put(b, bytes, sizeof bytes);
}

static inline void buf_put_u32(struct buf *b, uint32_t v)
{
	uint8_t bytes[4];

	put_u32(bytes, v);
	buf_put(b, bytes, sizeof bytes);
}

static inline void buf_put_u64(struct buf *b, uint64_t v)
{
	uint8_t bytes[8];

	put_u64(bytes, v);
	buf_put(b, bytes, sizeof bytes);
}

#endif
