/* transcode_out.c - msgpack of a worker to terms.
 *
 * One pass. Nothing that the worker says is believed: counts are held against the bytes that are left,
 * an extension's content must fill it exactly, and what would make a BEAM drop the connection (a key
 * twice, bad UTF-8 in an atom, an absurd integer) is refused here, for this caller alone. `level` is
 * the stack; level 0 stands for "one value". */
#include "transcode_etf.h"
#include "transcode_struct.h"

#include "frame.h"
#include "parcel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define ARITY_MAX 0xffffff /* elements of a tuple, MAX_ARITYVAL of the BEAM */

enum out_kind { OUT_ONE, OUT_LIST, OUT_TUPLE, OUT_MAP, OUT_SET };

struct out_level {
	enum out_kind kind;
	bool in_key;                  /* this container is a key or within one */
	bool has_end;                 /* it is an extension's content, which ends at `inner` */
	uint64_t left;                /* elements still to come, keys and values both */
	uint64_t count;               /* of all elements */
	size_t key;                   /* where the pair's key is in the output */
	size_t keys;                  /* this map's first in `offsets` */
	const uint8_t *inner, *outer; /* ends: of the content, and of what is around it */
};

struct outs {
	const uint8_t *p, *end; /* next value; the end of all that may be read */
	const struct transcode_options *opts;
	struct sink sink;
	struct offsets offsets;
	uint32_t depth; /* of `level` in use, level 0 not counted */
	struct out_level level[TRANSCODE_DEPTH_MAX + 1];
};

static enum transcode_fault corrupt(struct outs *o, const char *what)
{
	return sink_fault(&o->sink, TRANSCODE_CORRUPT, what);
}

static enum transcode_fault unencodable(struct outs *o, const char *what)
{
	return sink_fault(&o->sink, TRANSCODE_UNENCODABLE, what);
}

static size_t unread(const struct outs *o)
{
	return (size_t)(o->end - o->p);
}

static size_t written(const struct outs *o)
{
	return (size_t)(o->sink.w - o->sink.out->data);
}

static enum transcode_fault open_level(struct outs *o, enum out_kind kind, uint32_t count,
				       bool in_key)
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
	if (kind == OUT_SET) {
		return TRANSCODE_OK; /* struct_unpack() has written the head */
	} else if (kind == OUT_MAP) {
		etf_head(&o->sink, TAG_MAP, count);
	} else if (kind == OUT_LIST) {
		if (count > 0)
			etf_head(&o->sink, TAG_LIST, count);
	} else if (count <= 255) {
		etf_byte(&o->sink, TAG_SMALL_TUPLE);
		etf_byte(&o->sink, count);
	} else {
		etf_head(&o->sink, TAG_LARGE_TUPLE, count);
	}
	return TRANSCODE_OK;
}

/* What o->p is at becomes that level's content, up to `inner`. */
static void ends_at(struct outs *o, const uint8_t *inner, const uint8_t *outer)
{
	struct out_level *l = &o->level[o->depth];

	l->has_end = true;
	l->inner = inner;
	l->outer = outer;
	o->end = inner;
}

/* An extension whose content is an array: o->p is at it, and it must end at `inner`. */
static enum transcode_fault nested(struct outs *o, enum out_kind kind, const uint8_t *inner,
				   bool in_key)
{
	const uint8_t *outer = o->end;
	enum transcode_fault fault;
	uint32_t count;

	if (!frame_get_array(&o->p, inner, &count) || (kind == OUT_MAP && count % 2 != 0))
		return corrupt(o, "an extension whose content is not its array");
	o->end = inner;
	if ((fault = open_level(o, kind, kind == OUT_MAP ? count / 2 : count, in_key)) ==
	    TRANSCODE_OK)
		ends_at(o, inner, outer);
	return fault;
}

/* A STRUCT, whose payload ends at `inner`. */
static enum transcode_fault structure(struct outs *o, const uint8_t *inner, bool in_key)
{
	enum transcode_fault fault;
	uint32_t elements;
	bool is_set;

	if (o->depth >= o->opts->max_depth)
		return TRANSCODE_TOO_DEEP;
	fault = struct_unpack(&o->sink, &o->p, inner, &is_set, &elements);
	if (fault != TRANSCODE_OK || !is_set)
		return fault;
	if (elements > (size_t)(inner - o->p))
		return corrupt(o, "a count beyond the end");
	if ((fault = open_level(o, OUT_SET, elements, in_key)) == TRANSCODE_OK)
		ends_at(o, inner, o->end);
	return fault;
}

static enum transcode_fault extension(struct outs *o, size_t len, bool in_key)
{
	const uint8_t *payload = o->p + 1;
	struct parcel_parts *apart = o->sink.apart;
	enum transcode_fault fault;
	uint8_t type;

	if (unread(o) < 1 || unread(o) - 1 < len)
		return corrupt(o, "cut off");
	type = *o->p;
	o->p = payload;
	if (type == EXT_TUPLE || type == EXT_LISTKEY || type == EXT_MAPKEY)
		return nested(o,
			      type == EXT_TUPLE     ? OUT_TUPLE
			      : type == EXT_LISTKEY ? OUT_LIST
						    : OUT_MAP,
			      payload + len, in_key);
	if (type == EXT_STRUCT)
		return structure(o, payload + len, in_key);
	o->p = payload + len;
	switch (type) {
	case EXT_ATOM:
		return etf_atom(&o->sink, payload, len);
	case EXT_BIGINT:
		return etf_big(&o->sink, payload, len);
	case EXT_PID:
		return etf_name(&o->sink, TERM_PID, payload, len);
	case EXT_REF:
		return etf_name(&o->sink, TERM_REF, payload, len);
	case EXT_PORT:
		return etf_name(&o->sink, TERM_PORT, payload, len);
	case EXT_EXPORT:
		return etf_name(&o->sink, TERM_EXPORT, payload, len);
	case EXT_OPAQUE:
		return etf_opaque(&o->sink, payload, len);
	case EXT_TENSOR:
		if (in_key)
			o->sink.apart = NULL;
		fault = tensor_unpack(&o->sink, payload, len);
		o->sink.apart = apart;
		return fault;
	case EXT_INPUT: /* goes to workers only */
		return unencodable(o, ":krait_input");
	default:
		return corrupt(o, "an unknown extension");
	}
}

/* Bytes or text; what is large may go apart, unless it is in a key. */
static enum transcode_fault text(struct outs *o, size_t len, bool utf8, bool in_key)
{
	const uint8_t *data = o->p;

	if (unread(o) < len)
		return corrupt(o, "cut off");
	o->p += len;
	if (utf8 && !term_utf8(data, len))
		return unencodable(o, ":invalid_utf8");
	return in_key ? etf_binary(&o->sink, data, len) : etf_value(&o->sink, data, len);
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

/* What follows the tags 0xc0 to 0xdf: bytes of a value or of a length. */
static const uint8_t follows[32] = {
	[0x04] = 1, [0x05] = 2, [0x06] = 4, [0x07] = 1, [0x08] = 2, [0x09] = 4,
	[0x0a] = 4, [0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8,
	[0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8, [0x19] = 1, [0x1a] = 2,
	[0x1b] = 4, [0x1c] = 2, [0x1d] = 4, [0x1e] = 2, [0x1f] = 4,
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
		etf_word(&o->sink, "nil", 3);
		return TRANSCODE_OK;
	case 0xc1:
		return corrupt(o, "the tag that is never used");
	case 0xc2:
		etf_word(&o->sink, "false", 5);
		return TRANSCODE_OK;
	case 0xc3:
		etf_word(&o->sink, "true", 4);
		return TRANSCODE_OK;
	case 0xc4:
	case 0xc5:
		return text(o, value, false, true); /* never large */
	case 0xc6:
		return text(o, value, false, in_key);
	case 0xc7:
	case 0xc8:
	case 0xc9:
		return extension(o, value, in_key);
	case 0xca:
		etf_float32(&o->sink, (uint32_t)value);
		return TRANSCODE_OK;
	case 0xcb:
		etf_float(&o->sink, value);
		return TRANSCODE_OK;
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		etf_uint(&o->sink, value, false);
		return TRANSCODE_OK;
	case 0xd0:
		etf_int(&o->sink, (int8_t)value);
		return TRANSCODE_OK;
	case 0xd1:
		etf_int(&o->sink, (int16_t)value);
		return TRANSCODE_OK;
	case 0xd2:
		etf_int(&o->sink, (int32_t)value);
		return TRANSCODE_OK;
	case 0xd3:
		etf_int(&o->sink, (int64_t)value);
		return TRANSCODE_OK;
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8:
		return extension(o, (size_t)1 << (tag - 0xd4), in_key);
	case 0xd9:
	case 0xda:
		return text(o, value, true, true);
	case 0xdb:
		return text(o, value, true, in_key);
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
		etf_int(&o->sink, (int8_t)tag);
		return TRANSCODE_OK;
	}
	if (tag >= 0xc0)
		return tagged(o, tag, in_key);
	if (tag >= 0xa0)
		return text(o, tag & 0x1f, true, true);
	return open_level(o, tag >= 0x90 ? OUT_LIST : OUT_MAP, tag & 0x0f, in_key);
}

static bool has_elements(uint8_t tag)
{
	return tag == TAG_MAP || tag == TAG_LIST || tag == TAG_SMALL_TUPLE ||
	       tag == TAG_LARGE_TUPLE;
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

	if (l->kind == OUT_SET && l->count > 0)
		etf_byte(&o->sink, TAG_NIL); /* of the last element */
	if (l->kind >= OUT_MAP && !l->in_key)
		fault = close_map(o, l);
	else if (l->kind == OUT_LIST)
		etf_byte(&o->sink, TAG_NIL);
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

/* What is to be done before the next key or value of a map, or element of a MapSet, can be written like any
 * value. */
static enum transcode_fault map_part(struct outs *o, struct out_level *l, bool *in_key)
{
	if (l->kind == OUT_SET && l->left + 1 < l->count)
		etf_byte(&o->sink, TAG_NIL); /* of the element before */
	if (l->in_key || (l->kind == OUT_MAP && l->left % 2 == 0))
		return TRANSCODE_OK;
	l->key = written(o);
	*in_key = true;
	return offsets_push(&o->offsets, l->key) == 0 ? TRANSCODE_OK : TRANSCODE_NO_MEMORY;
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
			bool in_key = l->in_key;

			l->left--;
			if (l->kind >= OUT_MAP && (fault = map_part(o, l, &in_key)) != TRANSCODE_OK)
				return fault;
			fault = element(o, in_key);
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
		if (o->level[last].kind == OUT_SET ||
		    (o->level[last].kind == OUT_MAP && o->level[last].left % 2 == 1))
			break;
	path_init(&path);
	for (uint32_t i = last + 1; i-- > 0;) {
		const struct out_level *l = &o->level[i];

		if (l->count == 0)
			continue;
		if (l->kind >= OUT_MAP)
			path_key(&path, l->kind == OUT_SET || l->left % 2 == 1
						? NULL
						: o->sink.out->data + l->key);
		else if (l->kind != OUT_ONE)
			path_index(&path, l->count - l->left - 1);
	}
	path_finish(&path, root, err);
}

static enum transcode_fault attempt(struct outs *o, const char *root, struct buf *out,
				    struct transcode_error *err)
{
	struct parcel_parts *apart = o->opts->apart;
	enum transcode_fault fault;
	unsigned before = apart != NULL ? apart->count : 0;

	if ((fault = sink_begin(&o->sink, out, o->opts->max_bytes)) != TRANSCODE_OK)
		return fault;
	sink_apart(&o->sink, apart);
	offsets_init(&o->offsets);
	o->depth = 0;
	o->level[0] = (struct out_level){ .kind = OUT_ONE, .left = 1, .count = 1 };
	fault = run(o);
	if (fault == TRANSCODE_OK && sink_total(&o->sink) > o->sink.max) {
		o->sink.seen = sink_total(&o->sink);
		fault = TRANSCODE_TOO_LARGE;
	}
	if (fault != TRANSCODE_OK && fault != TRANSCODE_NO_MEMORY && fault != TRANSCODE_TOO_LARGE)
		show_path(o, root, err);
	sink_end(&o->sink, fault == TRANSCODE_OK);
	if (fault != TRANSCODE_OK && apart != NULL) {
		apart->count = before;
		apart->bytes = o->sink.apart_before;
	}
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
		snprintf(err->what, sizeof err->what, "%s", o.sink.what);
		break;
	case TRANSCODE_NO_MEMORY:
		break;
	}
	return -EINVAL;
}
