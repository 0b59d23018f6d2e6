/* transcode_out.c - msgpack of a worker to terms.
 *
 * One pass. Nothing that the worker says is believed: counts are held against the bytes that are left,
 * an extension's content must fill it exactly, and what would make a BEAM drop the connection (a key
 * twice, bad UTF-8 in an atom, an absurd integer) is refused here, for this caller alone. `level` is
 * the stack; level 0 stands for "one value". */
#include "transcode_private.h"

#include "frame.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

/* Largest integer that every BEAM takes: 2^22 bits less a word, the limit since OTP 27 or so; older
 * ones take 4 MB. */
#define BIG_BYTES_MAX (512 * 1024 - 8)

#define ARITY_MAX 0xffffff /* elements of a tuple, MAX_ARITYVAL of the BEAM */

enum out_kind { OUT_ONE, OUT_LIST, OUT_TUPLE, OUT_MAP };

struct out_level {
	enum out_kind kind;
	bool in_key;        /* this container is a key or within one */
	bool has_end;       /* it is an extension's content, which ends at `inner` */
	uint64_t left;      /* elements still to come, keys and values both */
	uint64_t count;     /* of all elements */
	size_t key;         /* where the pair's key is in the output */
	size_t keys;        /* this map's first in `offsets` */
	const uint8_t *inner, *outer; /* ends: of the content, and of what is around it */
};

struct outs {
	const uint8_t *p, *end; /* next value; the end of all that may be read */
	const struct transcode_options *opts;
	struct sink sink;
	struct offsets offsets;
	const char *what;
	uint32_t depth; /* of `level` in use, level 0 not counted */
	struct out_level level[TRANSCODE_DEPTH_MAX + 1];
};

static enum transcode_fault fault_of(struct outs *o, enum transcode_fault fault, const char *what)
{
	o->what = what;
	return fault;
}

static enum transcode_fault corrupt(struct outs *o, const char *what)
{
	return fault_of(o, TRANSCODE_CORRUPT, what);
}

static enum transcode_fault unencodable(struct outs *o, const char *what)
{
	return fault_of(o, TRANSCODE_UNENCODABLE, what);
}

static size_t unread(const struct outs *o)
{
	return (size_t)(o->end - o->p);
}

static size_t written(const struct outs *o)
{
	return (size_t)(o->sink.w - o->sink.out->data);
}

static void put_byte(struct outs *o, unsigned byte)
{
	*o->sink.w++ = (uint8_t)byte;
}

static void put_head(struct outs *o, unsigned tag, uint32_t count)
{
	o->sink.w[0] = (uint8_t)tag;
	put_u32(o->sink.w + 1, count);
	o->sink.w += 5;
}

static void put_uint(struct outs *o, uint64_t value, bool negative)
{
	uint8_t *w = o->sink.w, n = 0;

	if (value <= 255 && !negative) {
		w[0] = TAG_SMALL_INTEGER;
		w[1] = (uint8_t)value;
		o->sink.w = w + 2;
	} else if (value <= (uint64_t)INT32_MAX + negative) {
		put_head(o, TAG_INTEGER, (uint32_t)(negative ? 0 - value : value));
	} else {
		for (; value != 0; value >>= 8)
			w[3 + n++] = (uint8_t)value;
		w[0] = TAG_SMALL_BIG;
		w[1] = n;
		w[2] = negative;
		o->sink.w = w + 3 + n;
	}
}

static void put_int(struct outs *o, int64_t value)
{
	put_uint(o, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

/* At most 255 bytes. */
static void put_atom(struct outs *o, const char *text, size_t len)
{
	put_byte(o, TAG_SMALL_ATOM_UTF8);
	put_byte(o, (unsigned)len);
	sink_put(&o->sink, text, len);
}

static void put_float(struct outs *o, uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof value);
	if (isnan(value)) {
		put_atom(o, "nan", 3);
	} else if (isinf(value)) {
		if (value > 0)
			put_atom(o, "infinity", 8);
		else
			put_atom(o, "neg_infinity", 12);
	} else {
		put_byte(o, TAG_NEW_FLOAT);
		put_u64(o->sink.w, bits);
		o->sink.w += 8;
	}
}

static enum transcode_fault put_binary(struct outs *o, const uint8_t *data, size_t len)
{
	enum transcode_fault fault = sink_long(&o->sink, 5 + len);

	if (fault != TRANSCODE_OK)
		return fault;
	put_head(o, TAG_BINARY, (uint32_t)len);
	sink_put(&o->sink, data, len);
	return TRANSCODE_OK;
}

static enum transcode_fault atom(struct outs *o, const uint8_t *text, size_t len)
{
	enum transcode_fault fault;
	size_t chars = len;

	if (len > TERM_ATOM_BYTES || !term_utf8(text, len))
		return unencodable(o, ":invalid_atom");
	if (len <= 255) {
		if ((fault = sink_long(&o->sink, 2 + len)) == TRANSCODE_OK)
			put_atom(o, (const char *)text, len);
		return fault;
	}
	for (size_t i = 0; i < len; i++)
		chars -= (text[i] & 0xc0) == 0x80;
	if (chars > TERM_ATOM_MAX)
		return unencodable(o, ":invalid_atom");
	if ((fault = sink_long(&o->sink, 3 + len)) != TRANSCODE_OK)
		return fault;
	put_byte(o, TAG_ATOM_UTF8);
	put_u16(o->sink.w, (unsigned)len);
	o->sink.w += 2;
	sink_put(&o->sink, text, len);
	return TRANSCODE_OK;
}

static enum transcode_fault big(struct outs *o, const uint8_t *payload, size_t len)
{
	const uint8_t *digits = payload + 1;
	enum transcode_fault fault;
	uint64_t magnitude = 0;

	if (len < 1 || payload[0] > 1)
		return corrupt(o, "a BIGINT without a sign");
	for (len--; len > 0 && digits[len - 1] == 0;)
		len--;
	if (len <= 8) {
		for (size_t i = len; i-- > 0;)
			magnitude = magnitude << 8 | digits[i];
		put_uint(o, magnitude, payload[0] == 1 && magnitude != 0);
		return TRANSCODE_OK;
	}
	if (len > BIG_BYTES_MAX)
		return unencodable(o, ":integer_too_large");
	if ((fault = sink_long(&o->sink, len)) != TRANSCODE_OK)
		return fault;
	if (len <= 255) {
		put_byte(o, TAG_SMALL_BIG);
		put_byte(o, (unsigned)len);
	} else {
		put_head(o, TAG_LARGE_BIG, (uint32_t)len);
	}
	put_byte(o, payload[0]);
	sink_put(&o->sink, digits, len);
	return TRANSCODE_OK;
}

/* Whether the payload is exactly one term of that kind. */
static bool is_term(const uint8_t *payload, size_t len, enum term_kind kind)
{
	size_t used;

	return term_check(payload, len, &used) == 0 && used == len && term_kind(payload) == kind;
}

static enum transcode_fault name(struct outs *o, enum term_kind kind, const uint8_t *payload,
				 size_t len)
{
	uint8_t canonical[NAME_BYTES_MAX];
	enum transcode_fault fault;
	size_t n;

	if (!is_term(payload, len, kind))
		return corrupt(o, "a pid, reference, port or export that is none");
	n = name_canonical(payload, canonical);
	if ((fault = sink_long(&o->sink, n)) == TRANSCODE_OK)
		sink_put(&o->sink, canonical, n);
	return fault;
}

/* A bit string or a local fun. The latter has terms within it, whose maps must be sound, too. */
static enum transcode_fault opaque(struct outs *o, const uint8_t *payload, size_t len)
{
	bool is_bits = is_term(payload, len, TERM_BITS);
	enum transcode_fault fault;
	size_t at = 0, which;
	int rc;

	if (is_bits && payload[5] == 8)
		return put_binary(o, payload + 6, len - 6);
	if (!is_bits) {
		if (!is_term(payload, len, TERM_FUN))
			return corrupt(o, "an OPAQUE that is none");
		rc = keys_check(payload, &at, 1, KEYS_TERM, &which);
		if (rc == -ENOMEM || rc == -E2BIG)
			return rc == -ENOMEM ? TRANSCODE_NO_MEMORY : TRANSCODE_TOO_DEEP;
		if (rc != 0)
			return corrupt(o, "a fun with a duplicate key");
	}
	if ((fault = sink_long(&o->sink, len)) != TRANSCODE_OK)
		return fault;
	sink_put(&o->sink, payload, len);
	if (is_bits)
		o->sink.w[-1] &= (uint8_t)(0xff << (8 - payload[5]));
	return TRANSCODE_OK;
}

static enum transcode_fault open_level(struct outs *o, enum out_kind kind, uint32_t count, bool in_key)
{
	struct out_level *l;
	uint64_t elements = kind == OUT_MAP ? 2 * (uint64_t)count : count;

	if (elements > unread(o))
		return corrupt(o, "a count beyond the end");
	if (kind == OUT_TUPLE && count > ARITY_MAX)
		return unencodable(o, ":tuple_too_large");
	if (o->depth >= o->opts->max_depth)
		return TRANSCODE_TOO_DEEP;
	l = &o->level[++o->depth];
	l->kind = kind;
	l->in_key = in_key;
	l->has_end = false;
	l->left = l->count = elements;
	l->keys = o->offsets.len;
	if (kind == OUT_MAP) {
		put_head(o, TAG_MAP, count);
	} else if (kind == OUT_LIST) {
		if (count > 0)
			put_head(o, TAG_LIST, count);
	} else if (count <= 255) {
		put_byte(o, TAG_SMALL_TUPLE);
		put_byte(o, count);
	} else {
		put_head(o, TAG_LARGE_TUPLE, count);
	}
	return TRANSCODE_OK;
}

/* An extension whose content is an array: o->p is at it, and it must end at `inner`. */
static enum transcode_fault nested(struct outs *o, enum out_kind kind, const uint8_t *inner, bool in_key)
{
	const uint8_t *outer = o->end;
	enum transcode_fault fault;
	uint32_t count;

	if (!frame_get_array(&o->p, inner, &count) || (kind == OUT_MAP && count % 2 != 0))
		return corrupt(o, "an extension whose content is not its array");
	o->end = inner;
	if ((fault = open_level(o, kind, kind == OUT_MAP ? count / 2 : count, in_key)) != TRANSCODE_OK)
		return fault;
	o->level[o->depth].has_end = true;
	o->level[o->depth].inner = inner;
	o->level[o->depth].outer = outer;
	return TRANSCODE_OK;
}

static enum transcode_fault extension(struct outs *o, size_t len, bool in_key)
{
	const uint8_t *payload = o->p + 1;
	uint8_t type;

	if (unread(o) < 1 || unread(o) - 1 < len)
		return corrupt(o, "cut off");
	type = *o->p;
	o->p = payload;
	if (type == EXT_TUPLE || type == EXT_LISTKEY || type == EXT_MAPKEY)
		return nested(o,
			      type == EXT_TUPLE     ? OUT_TUPLE :
			      type == EXT_LISTKEY   ? OUT_LIST :
						      OUT_MAP,
			      payload + len, in_key);
	o->p = payload + len;
	switch (type) {
	case EXT_ATOM:
		return atom(o, payload, len);
	case EXT_BIGINT:
		return big(o, payload, len);
	case EXT_PID:
		return name(o, TERM_PID, payload, len);
	case EXT_REF:
		return name(o, TERM_REF, payload, len);
	case EXT_PORT:
		return name(o, TERM_PORT, payload, len);
	case EXT_EXPORT:
		return name(o, TERM_EXPORT, payload, len);
	case EXT_OPAQUE:
		return opaque(o, payload, len);
	default:
		return corrupt(o, "an unknown extension");
	}
}

static enum transcode_fault text(struct outs *o, size_t len, bool utf8)
{
	const uint8_t *data = o->p;

	if (unread(o) < len)
		return corrupt(o, "cut off");
	o->p += len;
	if (utf8 && !term_utf8(data, len))
		return unencodable(o, ":invalid_utf8");
	return put_binary(o, data, len);
}

/* `n` big-endian bytes, which are there. */
static uint64_t take(struct outs *o, size_t n)
{
	uint64_t value = 0;

	if (n > 0 && unread(o) >= 8) {
		value = get_u64(o->p) >> (64 - 8 * n);
		o->p += n;
		return value;
	}
	while (n-- > 0)
		value = value << 8 | *o->p++;
	return value;
}

static void put_float32(struct outs *o, uint32_t bits)
{
	uint64_t wide;
	double value;
	float narrow;

	memcpy(&narrow, &bits, sizeof narrow);
	value = (double)narrow;
	memcpy(&wide, &value, sizeof wide);
	put_float(o, wide);
}

/* What follows the tags 0xc0 to 0xdf: bytes of a value or of a length. */
static const uint8_t follows[32] = {
	[0x04] = 1, [0x05] = 2, [0x06] = 4, [0x07] = 1, [0x08] = 2, [0x09] = 4, [0x0a] = 4,
	[0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8, [0x10] = 1, [0x11] = 2,
	[0x12] = 4, [0x13] = 8, [0x19] = 1, [0x1a] = 2, [0x1b] = 4, [0x1c] = 2, [0x1d] = 4,
	[0x1e] = 2, [0x1f] = 4,
};

/* A value with a tag of 0xc0 to 0xdf. */
static enum transcode_fault tagged(struct outs *o, uint8_t tag, bool in_key)
{
	size_t n = follows[tag - 0xc0];
	uint64_t value;

	if (unread(o) < n)
		return corrupt(o, "cut off");
	value = take(o, n);
	switch (tag) {
	case 0xc0:
		put_atom(o, "nil", 3);
		return TRANSCODE_OK;
	case 0xc1:
		return corrupt(o, "the tag that is never used");
	case 0xc2:
		put_atom(o, "false", 5);
		return TRANSCODE_OK;
	case 0xc3:
		put_atom(o, "true", 4);
		return TRANSCODE_OK;
	case 0xc4:
	case 0xc5:
	case 0xc6:
		return text(o, value, false);
	case 0xc7:
	case 0xc8:
	case 0xc9:
		return extension(o, value, in_key);
	case 0xca:
		put_float32(o, (uint32_t)value);
		return TRANSCODE_OK;
	case 0xcb:
		put_float(o, value);
		return TRANSCODE_OK;
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		put_uint(o, value, false);
		return TRANSCODE_OK;
	case 0xd0:
		put_int(o, (int8_t)value);
		return TRANSCODE_OK;
	case 0xd1:
		put_int(o, (int16_t)value);
		return TRANSCODE_OK;
	case 0xd2:
		put_int(o, (int32_t)value);
		return TRANSCODE_OK;
	case 0xd3:
		put_int(o, (int64_t)value);
		return TRANSCODE_OK;
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8:
		return extension(o, (size_t)1 << (tag - 0xd4), in_key);
	case 0xd9:
	case 0xda:
	case 0xdb:
		return text(o, value, true);
	case 0xdc:
	case 0xdd:
		return open_level(o, OUT_LIST, (uint32_t)value, in_key);
	default:
		return open_level(o, OUT_MAP, (uint32_t)value, in_key);
	}
}

/* Writes the value at o->p, or opens it. */
static enum transcode_fault element(struct outs *o, bool in_key)
{
	uint8_t tag;

	if (unread(o) < 1)
		return corrupt(o, "cut off");
	tag = *o->p++;
	if (tag <= 0x7f || tag >= 0xe0) {
		put_int(o, (int8_t)tag);
		return TRANSCODE_OK;
	}
	if (tag >= 0xc0)
		return tagged(o, tag, in_key);
	if (tag >= 0xa0)
		return text(o, tag & 0x1f, true);
	return open_level(o, tag >= 0x90 ? OUT_LIST : OUT_MAP, tag & 0x0f, in_key);
}

static bool has_elements(uint8_t tag)
{
	return tag == TAG_MAP || tag == TAG_LIST || tag == TAG_SMALL_TUPLE || tag == TAG_LARGE_TUPLE;
}

/* All pairs of the innermost map are there: are its keys different? */
static enum transcode_fault close_map(struct outs *o, struct out_level *l)
{
	const size_t *at = o->offsets.at + l->keys;
	const uint8_t *data = o->sink.out->data;
	size_t n = o->offsets.len - l->keys, which = 0;
	int rc = 0;

	if (n > 1 || (n == 1 && has_elements(data[*at])))
		rc = keys_check(data, at, n, KEYS_TERM, &which);
	if (rc == -ENOMEM)
		return TRANSCODE_NO_MEMORY;
	l->key = n > 0 ? at[which] : 0;
	if (rc != 0)
		return rc == -E2BIG ? TRANSCODE_TOO_DEEP : unencodable(o, ":duplicate_key");
	o->offsets.len = l->keys;
	return TRANSCODE_OK;
}

static enum transcode_fault close_level(struct outs *o, struct out_level *l)
{
	enum transcode_fault fault = TRANSCODE_OK;

	if (l->kind == OUT_MAP && !l->in_key)
		fault = close_map(o, l);
	else if (l->kind == OUT_LIST)
		put_byte(o, TAG_NIL);
	if (fault != TRANSCODE_OK)
		return fault;
	if (l->has_end) {
		if (o->p != l->inner)
			return corrupt(o, "an extension longer than its content");
		o->end = l->outer;
	}
	o->depth--;
	return TRANSCODE_OK;
}

static enum transcode_fault run(struct outs *o)
{
	enum transcode_fault fault = TRANSCODE_OK;
	struct out_level *l = o->level;

	do {
		if (!sink_has(&o->sink, SINK_SLACK) &&
		    (fault = sink_more(&o->sink, SINK_SLACK)) != TRANSCODE_OK)
			return fault;
		if (l->left == 0) {
			if (l == o->level)
				return TRANSCODE_OK;
			fault = close_level(o, l);
		} else {
			l->left--;
			if (l->kind == OUT_MAP && !l->in_key && l->left % 2 == 1) {
				l->key = written(o);
				if (offsets_push(&o->offsets, l->key) != 0)
					return TRANSCODE_NO_MEMORY;
				fault = element(o, true);
			} else {
				fault = element(o, l->in_key);
			}
		}
		l = &o->level[o->depth];
	} while (fault == TRANSCODE_OK);
	return fault;
}

/* The path of what is under way; a key that is not complete cannot be shown, and is its end. */
static void show_path(const struct outs *o, const char *root, struct transcode_error *err)
{
	struct path path;
	uint32_t last = 0;

	for (; last < o->depth; last++)
		if (o->level[last].kind == OUT_MAP && o->level[last].left % 2 == 1)
			break;
	path_init(&path);
	for (uint32_t i = last + 1; i-- > 0;) {
		const struct out_level *l = &o->level[i];

		if (l->count == 0)
			continue;
		if (l->kind == OUT_MAP)
			path_key(&path, l->left % 2 == 1 ? NULL : o->sink.out->data + l->key);
		else if (l->kind != OUT_ONE)
			path_index(&path, l->count - l->left - 1);
	}
	path_finish(&path, root, err);
}

static enum transcode_fault attempt(struct outs *o, const char *root, struct buf *out,
				    struct transcode_error *err)
{
	enum transcode_fault fault;

	if ((fault = sink_begin(&o->sink, out, o->opts->max_bytes)) != TRANSCODE_OK)
		return fault;
	offsets_init(&o->offsets);
	o->depth = 0;
	o->level[0] = (struct out_level){ .kind = OUT_ONE, .left = 1, .count = 1 };
	fault = run(o);
	if (fault == TRANSCODE_OK && sink_used(&o->sink) > o->sink.max) {
		o->sink.seen = sink_used(&o->sink);
		fault = TRANSCODE_TOO_LARGE;
	}
	if (fault != TRANSCODE_OK && fault != TRANSCODE_NO_MEMORY && fault != TRANSCODE_TOO_LARGE)
		show_path(o, root, err);
	sink_end(&o->sink, fault == TRANSCODE_OK);
	offsets_close(&o->offsets);
	return fault;
}

int transcode_value(const uint8_t *data, size_t len, const char *root,
		    const struct transcode_options *opts, struct buf *out, size_t *used,
		    struct transcode_error *err)
{
	struct outs o;

	assert(opts->max_depth <= TRANSCODE_DEPTH_MAX);
	o.p = data;
	o.end = data + len;
	o.opts = opts;
	o.what = "";
	err->where[0] = err->what[0] = '\0';
	err->bytes = err->limit = 0;
	err->fault = attempt(&o, root, out, err);
	switch (err->fault) {
	case TRANSCODE_OK:
		if (used != NULL)
			*used = (size_t)(o.p - data);
		return 0;
	case TRANSCODE_TOO_LARGE:
		err->bytes = o.sink.seen;
		err->limit = o.sink.max;
		break;
	case TRANSCODE_TOO_DEEP:
		err->limit = opts->max_depth;
		break;
	case TRANSCODE_UNENCODABLE:
	case TRANSCODE_CORRUPT:
		snprintf(err->what, sizeof err->what, "%s", o.what);
		break;
	case TRANSCODE_NO_MEMORY:
		break;
	}
	return -EINVAL;
}
