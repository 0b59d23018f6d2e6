/* transcode_canon.c - one form for equal terms, to compare them by their bytes.
 *
 * What transcode_term() writes depends on the term alone but for two things: the pairs of a map and the
 * elements of a MapSet stand in the order in which they came, and a list may have a longer head than it
 * needs. Here they are sorted, from the innermost map outwards, and heads are made as short as can be. The input is our own
 * writing; its nesting, which this recurses with, is that of the term and bounded by its max_depth. */
#include "frame.h"
#include "transcode_struct.h"

#include <errno.h>
#include <stdlib.h>

struct canon {
	const uint8_t *p, *end;
	struct buf *out;
	struct buf pairs; /* struct pair, of the maps that are open, innermost last */
};

/* Offsets in `out`. */
struct pair {
	size_t at, value_at, len;
};

static int value(struct canon *c);

static void put_count(struct buf *out, unsigned fix, unsigned tag16, uint64_t count)
{
	if (count <= 15) {
		buf_put_u8(out, fix | (unsigned)count);
	} else if (count <= 0xffff) {
		buf_put_u8(out, tag16);
		buf_put_u16(out, (unsigned)count);
	} else {
		buf_put_u8(out, tag16 + 1);
		buf_put_u32(out, (uint32_t)count);
	}
}

/* Bytes as they are. */
static int copy(struct canon *c, size_t n)
{
	if ((size_t)(c->end - c->p) < n)
		return -EBADMSG;
	buf_put(c->out, c->p, n);
	c->p += n;
	return 0;
}

static int by_key(const void *x, const void *y, void *arg)
{
	const uint8_t *data = ((const struct buf *)arg)->data;
	const struct pair *a = x, *b = y;
	size_t a_len = a->value_at - a->at, b_len = b->value_at - b->at;
	int order = memcmp(data + a->at, data + b->at, a_len < b_len ? a_len : b_len);

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Brings the `n` pairs that end `out` into their order. */
static int sort(struct canon *c, struct pair *pairs, size_t n, size_t from)
{
	size_t len = c->out->len - from;
	struct buf sorted = { 0 };

	qsort_r(pairs, n, sizeof *pairs, by_key, c->out);
	for (size_t i = 0; i < n; i++)
		buf_put(&sorted, c->out->data + pairs[i].at, pairs[i].len);
	if (sorted.err == 0)
		memcpy(c->out->data + from, sorted.data, len);
	buf_free(&sorted);
	return sorted.err;
}

/* The pairs of a map, whose head has been written; `set`: keys alone, the elements of a MapSet. */
static int map_pairs(struct canon *c, uint64_t count, bool set)
{
	size_t first = c->pairs.len, from = c->out->len;
	int rc;

	for (uint64_t i = 0; i < count; i++) {
		struct pair pair = { .at = c->out->len };

		if ((rc = value(c)) != 0)
			return rc;
		pair.value_at = c->out->len;
		if (!set && (rc = value(c)) != 0)
			return rc;
		pair.len = c->out->len - pair.at;
		buf_put(&c->pairs, &pair, sizeof pair);
	}
	if (c->out->err != 0 || c->pairs.err != 0)
		return -ENOMEM;
	rc = count > 1 ? sort(c, (struct pair *)(void *)(c->pairs.data + first), count, from) : 0;
	c->pairs.len = first;
	return rc;
}

/* Any number of elements; `pairs`: they are a map's keys and values. */
static int elements(struct canon *c, uint64_t count, bool pairs)
{
	int rc = 0;

	if (pairs)
		return map_pairs(c, count / 2, false);
	for (uint64_t i = 0; i < count && rc == 0; i++)
		rc = value(c);
	return rc;
}

/* The `count` elements of a STRUCT: those of a MapSet stand behind its kind and version. */
static int structure(struct canon *c, uint64_t count)
{
	bool set =
		c->p < c->end && (*c->p == STRUCT_MAPSET || *c->p == STRUCT_MAPSET + STRUCT_IN_KEY);
	int rc;

	if (!set || count < 2)
		return elements(c, count, false);
	if ((rc = elements(c, 2, false)) != 0)
		return rc;
	return map_pairs(c, count - 2, true);
}

/* The number of `width` bytes after the tag. */
static int number(struct canon *c, unsigned width, uint64_t *n)
{
	if ((size_t)(c->end - c->p) < 1 + (size_t)width)
		return -EBADMSG;
	*n = width == 1 ? c->p[1] : width == 2 ? get_u16(c->p + 1) : get_u32(c->p + 1);
	return 0;
}

/* An extension with a length field of `width` bytes. Tuples and what stands in keys hold elements. */
static int extension(struct canon *c, unsigned width)
{
	unsigned type, array;
	size_t patch;
	uint64_t n;
	int rc;

	if ((rc = number(c, width, &n)) != 0)
		return rc;
	if ((size_t)(c->end - c->p) < 2 + width + n)
		return -EBADMSG;
	type = c->p[1 + width];
	if ((type != EXT_TUPLE && type != EXT_LISTKEY && type != EXT_MAPKEY &&
	     type != EXT_STRUCT) ||
	    n == 0)
		return copy(c, 2 + width + n);
	buf_put_u8(c->out, 0xc9);
	buf_put_u32(c->out, 0);
	buf_put_u8(c->out, type);
	patch = c->out->len;
	c->p += 2 + width;
	array = c->p[0];
	n = array & 0x0f;
	if (array == 0xdc || array == 0xdd)
		rc = number(c, array == 0xdc ? 2 : 4, &n);
	if (rc != 0)
		return rc;
	c->p += array == 0xdc ? 3 : array == 0xdd ? 5 : 1;
	put_count(c->out, 0x90, 0xdc, n);
	if (type == EXT_STRUCT)
		rc = structure(c, n);
	else
		rc = elements(c, n, type == EXT_MAPKEY);
	if (rc != 0)
		return rc;
	if (c->out->err == 0)
		put_u32(c->out->data + patch - 5, (uint32_t)(c->out->len - patch));
	return 0;
}

/* An array or a map whose count has `width` bytes. */
static int counted(struct canon *c, unsigned width, bool map)
{
	uint64_t n;
	int rc = number(c, width, &n);

	if (rc != 0)
		return rc;
	c->p += 1 + width;
	put_count(c->out, map ? 0x80 : 0x90, map ? 0xde : 0xdc, n);
	return elements(c, map ? 2 * n : n, map);
}

/* Bytes behind a length field. */
static int bytes(struct canon *c, unsigned width)
{
	uint64_t n;
	int rc = number(c, width, &n);

	return rc != 0 ? rc : copy(c, 1 + width + n);
}

/* One value of any kind. Format: https://github.com/msgpack/msgpack/blob/master/spec.md */
static int value(struct canon *c)
{
	unsigned tag;

	if (c->p == c->end)
		return -EBADMSG;
	tag = c->p[0];
	if (tag <= 0x7f || tag >= 0xe0 || (tag >= 0xc0 && tag <= 0xc3))
		return copy(c, 1);
	if (tag <= 0x9f) {
		put_count(c->out, tag & 0xf0, 0, tag & 0x0f);
		c->p++;
		return elements(c, tag <= 0x8f ? 2 * (tag & 0x0f) : tag & 0x0f, tag <= 0x8f);
	}
	if (tag <= 0xbf)
		return copy(c, 1 + (tag & 0x1f));
	if (tag <= 0xc6)
		return bytes(c, 1u << (tag - 0xc4));
	if (tag <= 0xc9)
		return extension(c, 1u << (tag - 0xc7));
	if (tag <= 0xcb)
		return copy(c, tag == 0xca ? 5 : 9);
	if (tag <= 0xd3)
		return copy(c, 1 + (1u << ((tag - 0xcc) & 3)));
	if (tag <= 0xd8)
		return copy(c, 2 + (1u << (tag - 0xd4)));
	if (tag <= 0xdb)
		return bytes(c, 1u << (tag - 0xd9));
	return counted(c, tag & 1 ? 4 : 2, tag >= 0xde);
}

int transcode_canonical(const uint8_t *data, size_t len, struct buf *out)
{
	struct canon c = { .p = data, .end = data + len, .out = out };
	int rc = value(&c);

	buf_free(&c.pairs);
	return rc != 0 ? rc : out->err;
}
