/* transcode_canon.c - one form for equal terms, to compare them by their bytes.
 *
 * What transcode_term() writes depends on the term alone but for two things: the pairs of a map and the
 * elements of a MapSet stand in the order in which they came, and a list may have a longer head than it
 * needs. Here they are sorted, from the innermost map outwards, and heads are made as short as can be.
 * One pass with a stack of the containers that are open; the input is our own writing, but is read as if
 * it were not. */
#include "frame.h"
#include "transcode_struct.h"

#include <errno.h>
#include <stdlib.h>

/* An open container; offsets in `out`. */
struct level {
	uint64_t left; /* elements still to come, keys and values both */
	bool map;
	bool set;            /* a MapSet: all its elements are keys, */
	unsigned fixed;      /* behind so many that keep their place */
	size_t patch;        /* where an extension's length is to be written; 0: it is none */
	size_t from;         /* where its elements begin */
	size_t first;        /* its first pair, in `pairs` */
	size_t at, value_at; /* of the pair under way */
};

/* Offsets in `out`. */
struct pair {
	size_t at, value_at, len;
};

struct canon {
	const uint8_t *p, *end;
	struct buf *out;
	struct buf levels; /* struct level, innermost last */
	struct buf pairs;  /* struct pair, of the maps that are open, innermost last */
};

static struct level *innermost(const struct canon *c)
{
	return c->levels.len == 0 ? NULL
				  : (struct level *)(void *)(c->levels.data + c->levels.len -
							     sizeof(struct level));
}

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

/* ---- maps ---- */

static int by_key(const void *x, const void *y, void *arg)
{
	const uint8_t *data = ((const struct buf *)arg)->data;
	const struct pair *a = x, *b = y;
	size_t a_len = a->value_at - a->at, b_len = b->value_at - b->at;
	int order = memcmp(data + a->at, data + b->at, a_len < b_len ? a_len : b_len);

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Brings the pairs of a map whose elements end `out` into their order. */
static int sort(struct canon *c, const struct level *l)
{
	struct pair *pairs = (struct pair *)(void *)(c->pairs.data + l->first);
	size_t n = (c->pairs.len - l->first) / sizeof *pairs;
	struct buf sorted = { 0 };

	if (n < 2)
		return 0;
	qsort_r(pairs, n, sizeof *pairs, by_key, c->out);
	for (size_t i = 0; i < n; i++)
		buf_put(&sorted, c->out->data + pairs[i].at, pairs[i].len);
	if (sorted.err == 0 && sorted.len > 0)
		memcpy(c->out->data + l->from, sorted.data, sorted.len);
	buf_free(&sorted);
	return sorted.err;
}

/* ---- containers ---- */

/* Writes the head of a container and opens it. `patch`: of the extension that it is within, or 0. */
static int open_level(struct canon *c, uint64_t count, bool map_head, bool map, size_t patch)
{
	struct level l = { .left = map_head ? 2 * count : count, .map = map, .patch = patch };

	if (map && l.left % 2 != 0)
		return -EBADMSG;
	put_count(c->out, map_head ? 0x80 : 0x90, map_head ? 0xde : 0xdc, count);
	l.from = c->out->len;
	l.first = c->pairs.len;
	buf_put(&c->levels, &l, sizeof l);
	return c->levels.err;
}

static int close_level(struct canon *c, struct level *l)
{
	int rc = c->out->err != 0 || c->pairs.err != 0 ? -ENOMEM : 0;

	if (rc == 0 && (l->map || l->set))
		rc = sort(c, l);
	if (rc == 0 && l->patch != 0)
		put_u32(c->out->data + l->patch, (uint32_t)(c->out->len - l->patch - 5));
	c->pairs.len = l->first;
	c->levels.len -= sizeof *l;
	return rc;
}

/* A value is to be written. */
static void begins(struct canon *c)
{
	struct level *l = innermost(c);

	if (l == NULL || l->fixed > 0)
		return;
	if (l->set && c->pairs.len == l->first)
		l->from = c->out->len;
	if (l->set || l->left % 2 == 0)
		l->at = c->out->len;
	else
		l->value_at = c->out->len;
}

/* An element of the innermost container has been written. */
static void ended(struct canon *c)
{
	struct level *l = innermost(c);
	struct pair pair;

	if (l == NULL)
		return;
	l->left--;
	if (l->fixed > 0) {
		l->fixed--;
		return;
	}
	if (l->set)
		l->value_at = c->out->len;
	else if (!l->map || l->left % 2 != 0)
		return;
	pair = (struct pair){ l->at, l->value_at, c->out->len - l->at };
	buf_put(&c->pairs, &pair, sizeof pair);
}

/* Closes what is complete by now. */
static int closes(struct canon *c)
{
	struct level *l;
	int rc;

	while ((l = innermost(c)) != NULL && l->left == 0) {
		if ((rc = close_level(c, l)) != 0)
			return rc;
		ended(c);
	}
	return 0;
}

/* ---- values ---- */

/* Bytes as they are. */
static int copy(struct canon *c, uint64_t n)
{
	if ((uint64_t)(c->end - c->p) < n)
		return -EBADMSG;
	buf_put(c->out, c->p, n);
	c->p += n;
	return 1;
}

/* The number of `width` bytes after the tag. */
static int number(struct canon *c, unsigned width, uint64_t *n)
{
	if ((size_t)(c->end - c->p) < 1 + (size_t)width)
		return -EBADMSG;
	*n = width == 1 ? c->p[1] : width == 2 ? get_u16(c->p + 1) : get_u32(c->p + 1);
	return 0;
}

/* The array of a STRUCT, whose head has been read: the elements of a MapSet stand behind its kind and
 * version. */
static int open_struct(struct canon *c, uint64_t n, bool map_head, size_t patch)
{
	bool set = n >= 2 && c->p < c->end &&
		   (*c->p == STRUCT_MAPSET || *c->p == STRUCT_MAPSET + STRUCT_IN_KEY);
	int rc = map_head ? -EBADMSG : open_level(c, n, false, false, patch);

	if (rc == 0 && set) {
		innermost(c)->set = true;
		innermost(c)->fixed = 2;
	}
	return rc;
}

/* An array or a map at c->p, a container or what an extension holds. */
static int container(struct canon *c, unsigned type, size_t patch)
{
	unsigned tag = c->p[0], width = tag <= 0x9f ? 0 : tag & 1 ? 4 : 2;
	bool map_head = (tag & 0xf0) == 0x80 || tag >= 0xde;
	uint64_t n = tag & 0x0f;

	if ((tag < 0x80 || tag > 0x9f) && (tag < 0xdc || tag > 0xdf))
		return -EBADMSG;
	if (width > 0 && number(c, width, &n) != 0)
		return -EBADMSG;
	c->p += 1 + width;
	if (type == EXT_STRUCT)
		return open_struct(c, n, map_head, patch);
	return open_level(c, n, map_head, map_head || type == EXT_MAPKEY, patch);
}

/* An extension with a length field of `width` bytes. Tuples and what stands in keys hold elements. */
static int extension(struct canon *c, unsigned width)
{
	size_t patch = c->out->len + 1;
	unsigned type;
	uint64_t n;

	if (number(c, width, &n) != 0 || (uint64_t)(c->end - c->p) < 2 + width + n)
		return -EBADMSG;
	type = c->p[1 + width];
	if ((type != EXT_TUPLE && type != EXT_LISTKEY && type != EXT_MAPKEY &&
	     type != EXT_STRUCT) ||
	    n == 0)
		return copy(c, 2 + width + n);
	buf_put_u8(c->out, 0xc9);
	buf_put_u32(c->out, 0);
	buf_put_u8(c->out, type);
	c->p += 2 + width;
	return container(c, type, patch);
}

/* Bytes behind a length field. */
static int bytes_of(struct canon *c, unsigned width)
{
	uint64_t n;

	return number(c, width, &n) != 0 ? -EBADMSG : copy(c, 1 + width + n);
}

/* One value of any kind: 1; or 0, it is a container, and was opened.
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md */
static int value(struct canon *c)
{
	unsigned tag;

	if (c->p == c->end)
		return -EBADMSG;
	tag = c->p[0];
	if (tag <= 0x7f || tag >= 0xe0 || (tag >= 0xc0 && tag <= 0xc3))
		return copy(c, 1);
	if (tag <= 0x9f || tag >= 0xdc)
		return container(c, 0, 0);
	if (tag <= 0xbf)
		return copy(c, 1 + (tag & 0x1f));
	if (tag <= 0xc6)
		return bytes_of(c, 1u << (tag - 0xc4));
	if (tag <= 0xc9)
		return extension(c, 1u << (tag - 0xc7));
	if (tag <= 0xcb)
		return copy(c, tag == 0xca ? 5 : 9);
	if (tag <= 0xd3)
		return copy(c, 1 + (1u << ((tag - 0xcc) & 3)));
	if (tag <= 0xd8)
		return copy(c, 2 + (1u << (tag - 0xd4)));
	return bytes_of(c, 1u << (tag - 0xd9));
}

int transcode_canonical(const uint8_t *data, size_t len, struct buf *out)
{
	struct canon c = { .p = data, .end = data + len, .out = out };
	struct level whole = { .left = 1 };
	int rc;

	buf_put(&c.levels, &whole, sizeof whole);
	rc = c.levels.err;
	while (rc == 0 && c.levels.len > 0) {
		begins(&c);
		rc = value(&c);
		if (rc > 0) {
			rc = 0;
			ended(&c);
		}
		if (rc == 0)
			rc = closes(&c);
	}
	buf_free(&c.levels);
	buf_free(&c.pairs);
	return rc != 0 ? rc : out->err;
}
