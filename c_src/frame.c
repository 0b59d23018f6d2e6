/* frame.c - the worker wire: a 4-byte length and a msgpack array; see frame.h.
 *
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md. A worker is not trusted: a frame's
 * length is believed only up to `max_bytes`, and memory follows the bytes that have really come. */
#include "frame.h"

#include "share.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sys/uio.h>

#define ROOM_MIN   4096
#define ROOM_FIRST (16 * 1024)
#define ROOM_MORE  (64 * 1024)  /* besides doubling */
#define KEEP       (256 * 1024) /* memory that an idle reader holds on to */

void frame_reader_init(struct frame_reader *r, size_t max_bytes)
{
	*r = (struct frame_reader){ .max_bytes = max_bytes };
}

void frame_reader_close(struct frame_reader *r)
{
	buf_free(&r->in);
	r->taken = 0;
	share_drop(r->shared);
	r->shared = NULL;
}

/* Bytes that the frame under way still lacks; 0 when its length is not known. */
static size_t missing(const struct frame_reader *r)
{
	size_t whole;

	if (r->in.len < FRAME_LENGTH_BYTES)
		return 0;
	whole = FRAME_LENGTH_BYTES + (size_t)get_u32(r->in.data);
	return whole > r->in.len ? whole - r->in.len : 0;
}

uint8_t *frame_room(struct frame_reader *r, size_t *room)
{
	struct buf *in = &r->in;
	size_t want;
	int rc;

	share_drop(r->shared);
	r->shared = NULL;
	if (r->taken > 0 && r->taken == in->len)
		buf_reset(in, KEEP);
	else
		buf_consume(in, r->taken);
	r->taken = 0;
	want = missing(r);
	if (in->cap - in->len < want)
		buf_expect(in, want);
	if (in->cap - in->len < ROOM_MIN) {
		if (want > in->len + ROOM_MORE)
			want = in->len + ROOM_MORE;
		if (want < ROOM_FIRST)
			want = ROOM_FIRST;
		in->limit = in->len + want; /* so that it grows to that, not beyond */
		rc = buf_reserve(in, want);
		in->limit = 0;
		if (rc != 0) {
			in->err = 0;
			return NULL;
		}
	}
	*room = in->cap - in->len;
	return in->data + in->len;
}

void frame_received(struct frame_reader *r, size_t n)
{
	assert(n <= r->in.cap - r->in.len);
	r->in.len += n;
}

int frame_next(struct frame_reader *r, struct frame *frame)
{
	size_t have = r->in.len - r->taken, len;
	const uint8_t *at, *end;
	uint64_t type;
	uint32_t count;

	if (have < FRAME_LENGTH_BYTES)
		return 0;
	at = r->in.data + r->taken;
	len = get_u32(at);
	if (len > r->max_bytes)
		return -EMSGSIZE;
	if (have - FRAME_LENGTH_BYTES < len)
		return 0;
	at += FRAME_LENGTH_BYTES;
	end = at + len;
	if (!frame_get_array(&at, end, &count) || count < 2 || !frame_get_uint(&at, end, &type) ||
	    type > UINT_MAX || !frame_get_uint(&at, end, &frame->id))
		return -EBADMSG;
	frame->type = (unsigned)type;
	frame->count = count - 2;
	frame->rest = at;
	frame->rest_len = (size_t)(end - at);
	r->taken += FRAME_LENGTH_BYTES + len;
	return 1;
}

struct share *frame_share(struct frame_reader *r)
{
	struct buf rest = { 0 };
	struct share *s;

	if (r->taken == 0) /* it is shared already, and what is in `in` came after it */
		return r->shared != NULL ? share_hold(r->shared) : NULL;
	buf_put(&rest, r->in.data + r->taken, r->in.len - r->taken);
	if (rest.err != 0 || (s = share_new(&r->in)) == NULL) {
		buf_free(&rest);
		return NULL;
	}
	share_drop(r->shared);
	r->shared = s;
	r->in = rest;
	r->taken = 0;
	return share_hold(s);
}

size_t frame_begin(struct buf *out, unsigned type, uint64_t id, uint32_t count)
{
	size_t start = out->len;

	buf_put_u32(out, 0);
	frame_put_array(out, count + 2);
	frame_put_uint(out, type);
	frame_put_uint(out, id);
	return start;
}

void frame_end(struct buf *out, size_t start)
{
	size_t len = out->len - start - FRAME_LENGTH_BYTES;

	if (out->err != 0)
		return;
	if (len > UINT32_MAX)
		out->err = -EMSGSIZE;
	else
		put_u32(out->data + start, (uint32_t)len);
}

void frame_put_parts(struct buf *out, size_t text_len, const struct iovec *part, unsigned count)
{
	assert(count > 0 && count <= FRAME_PARTS_MAX);
	buf_put_u32(out, 0);
	buf_put_u8(out, 0xc1);
	buf_put_u8(out, count);
	buf_put_u32(out, (uint32_t)text_len);
	for (unsigned i = 0; i < count; i++)
		buf_put_u32(out, (uint32_t)part[i].iov_len);
}

void frame_put_nil(struct buf *out)
{
	buf_put_u8(out, 0xc0);
}

void frame_put_bool(struct buf *out, bool value)
{
	buf_put_u8(out, value ? 0xc3 : 0xc2);
}

/* A tag and `n` bytes of `value`, big-endian. */
static void put_tagged(struct buf *out, unsigned tag, uint64_t value, size_t n)
{
	uint8_t bytes[9];

	put_u64(bytes + 1, value);
	bytes[8 - n] = (uint8_t)tag;
	buf_put(out, bytes + 8 - n, n + 1);
}

void frame_put_uint(struct buf *out, uint64_t value)
{
	if (value <= 0x7f)
		buf_put_u8(out, (unsigned)value);
	else if (value <= 0xff)
		put_tagged(out, 0xcc, value, 1);
	else if (value <= 0xffff)
		put_tagged(out, 0xcd, value, 2);
	else if (value <= 0xffffffff)
		put_tagged(out, 0xce, value, 4);
	else
		put_tagged(out, 0xcf, value, 8);
}

void frame_put_str(struct buf *out, const void *text, size_t len)
{
	if (len <= 31)
		buf_put_u8(out, 0xa0u | (unsigned)len);
	else if (len <= 0xff)
		put_tagged(out, 0xd9, len, 1);
	else if (len <= 0xffff)
		put_tagged(out, 0xda, len, 2);
	else
		put_tagged(out, 0xdb, len, 4);
	if (len > UINT32_MAX && out->err == 0)
		out->err = -EMSGSIZE;
	buf_put(out, text, len);
}

void frame_put_array(struct buf *out, uint32_t count)
{
	if (count <= 15)
		buf_put_u8(out, 0x90u | count);
	else if (count <= 0xffff)
		put_tagged(out, 0xdc, count, 2);
	else
		put_tagged(out, 0xdd, count, 4);
}

void frame_put_map(struct buf *out, uint32_t pairs)
{
	if (pairs <= 15)
		buf_put_u8(out, 0x80u | pairs);
	else if (pairs <= 0xffff)
		put_tagged(out, 0xde, pairs, 2);
	else
		put_tagged(out, 0xdf, pairs, 4);
}

/* `n` big-endian bytes at `p`. */
static uint64_t get_be(const uint8_t *p, size_t n)
{
	uint64_t value = 0;

	while (n-- > 0)
		value = value << 8 | *p++;
	return value;
}

/* Reads a head: the count is in the low bits of a byte `fix`, or follows `tag8` (0: there is none),
 * `tag16` or the tag after it in 1, 2 or 4 bytes. */
static bool get_count(const uint8_t **at, const uint8_t *end, uint8_t fix, uint8_t fix_mask,
		      uint8_t tag8, uint8_t tag16, uint32_t *count)
{
	const uint8_t *p = *at;
	size_t n;

	if (p >= end)
		return false;
	if ((p[0] & ~fix_mask) == fix) {
		*count = p[0] & fix_mask;
		*at = p + 1;
		return true;
	}
	if (tag8 != 0 && p[0] == tag8)
		n = 1;
	else if (p[0] == tag16)
		n = 2;
	else if (p[0] == tag16 + 1)
		n = 4;
	else
		return false;
	if ((size_t)(end - p) < 1 + n)
		return false;
	*count = (uint32_t)get_be(p + 1, n);
	*at = p + 1 + n;
	return true;
}

bool frame_get_uint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	const uint8_t *p = *at;
	size_t n;

	if (p >= end)
		return false;
	if (p[0] <= 0x7f) {
		*value = p[0];
		*at = p + 1;
		return true;
	}
	if (p[0] >= 0xcc && p[0] <= 0xcf)
		n = (size_t)1 << (p[0] - 0xcc);
	else if (p[0] >= 0xd0 && p[0] <= 0xd3) /* a signed form, if it is not negative */
		n = (size_t)1 << (p[0] - 0xd0);
	else
		return false;
	if ((size_t)(end - p) < 1 + n || (p[0] >= 0xd0 && (p[1] & 0x80) != 0))
		return false;
	*value = get_be(p + 1, n);
	*at = p + 1 + n;
	return true;
}

bool frame_get_str(const uint8_t **at, const uint8_t *end, const char **text, size_t *len)
{
	const uint8_t *p = *at;
	uint32_t n;

	if (!get_count(&p, end, 0xa0, 0x1f, 0xd9, 0xda, &n) || (size_t)(end - p) < n)
		return false;
	*text = (const char *)p;
	*len = n;
	*at = p + n;
	return true;
}

bool frame_get_map(const uint8_t **at, const uint8_t *end, uint32_t *pairs)
{
	const uint8_t *p = *at;

	if (!get_count(&p, end, 0x80, 0x0f, 0, 0xde, pairs) || *pairs > (size_t)(end - p) / 2)
		return false;
	*at = p;
	return true;
}

bool frame_get_array(const uint8_t **at, const uint8_t *end, uint32_t *count)
{
	const uint8_t *p = *at;

	if (!get_count(&p, end, 0x90, 0x0f, 0, 0xdc, count) || *count > (size_t)(end - p))
		return false;
	*at = p;
	return true;
}

bool frame_get_bool(const uint8_t **at, const uint8_t *end, bool *value)
{
	if (*at >= end || (**at != 0xc2 && **at != 0xc3))
		return false;
	*value = **at == 0xc3;
	++*at;
	return true;
}

/* The bytes of the scalar at `p` (head, length and content), by its tag; 0: none begins so, or its length is
 * cut off. */
static uint64_t scalar_bytes(const uint8_t *p, const uint8_t *end)
{
	static const uint8_t width[] = { 1, 0, 1, 1,  2,  3, 5, 3, 4, 6, 5, 9, /* 0xc0 .. 0xcb */
					 2, 3, 5, 9,  2,  3, 5, 9,             /* the integers */
					 3, 4, 6, 10, 18, 2, 3, 5 };           /* .. 0xdb */
	uint8_t tag = *p;
	size_t n = 0; /* bytes of the length */

	if (tag <= 0x7f || tag >= 0xe0)
		return 1;
	if (tag >= 0xa0 && tag <= 0xbf)
		return 1u + (tag & 0x1f);
	if (tag < 0xc0 || tag > 0xdb)
		return 0;
	if (tag >= 0xc4 && tag <= 0xc9)
		n = (size_t)1 << ((tag - 0xc4) % 3);
	else if (tag >= 0xd9)
		n = (size_t)1 << (tag - 0xd9);
	if ((size_t)(end - p) < 1 + n)
		return 0;
	return width[tag - 0xc0] + (n > 0 ? get_be(p + 1, n) : 0);
}

bool frame_skip(const uint8_t **at, const uint8_t *end)
{
	const uint8_t *p = *at;
	uint64_t left = 1, bytes;
	uint32_t count;

	for (; left > 0; left--) {
		if (left > (uint64_t)(end - p)) /* each takes a byte at least */
			return false;
		if (frame_get_array(&p, end, &count)) {
			left += count;
		} else if (frame_get_map(&p, end, &count)) {
			left += 2 * (uint64_t)count;
		} else {
			if ((bytes = scalar_bytes(p, end)) == 0 || bytes > (uint64_t)(end - p))
				return false;
			p += bytes;
		}
	}
	*at = p;
	return true;
}
