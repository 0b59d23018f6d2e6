/* transcode_in.c - terms to msgpack.
 *
 * One pass over a checked term. `level` is the stack: level 0 stands for what was asked for (the list of
 * arguments, the map of keyword arguments, or "one term"), each open container is one more. A tuple and
 * what is within a key become extensions, whose length is filled in when they are complete.
 *
 * A proper list may also be written as [1 | [2 | [3]]], as ei does when it does not know its length.
 * Nobody else does, so it is met by beginning again with room for a final count in every list. */
#include "transcode_in.h"

#include "parcel.h"
#include "transcode_pack.h"
#include "transcode_struct.h"

#include <errno.h>

static enum transcode_fault unencodable(struct in *in, const char *what)
{
	return sink_fault(&in->sink, TRANSCODE_UNENCODABLE, what);
}

/* A list of bytes, or []; in a key it is an extension as other lists are. */
static enum transcode_fault string(struct in *in, const uint8_t *data, size_t len, bool in_key)
{
	enum transcode_fault fault;
	uint8_t *patch = NULL;

	if (in->depth >= in->opts->max_depth)
		return TRANSCODE_TOO_DEEP;
	if ((fault = sink_long(&in->sink, len)) != TRANSCODE_OK ||
	    (!sink_has(&in->sink, 2 * len + SINK_SLACK) &&
	     (fault = sink_more(&in->sink, 2 * len + SINK_SLACK)) != TRANSCODE_OK))
		return fault;
	if (in_key) {
		pack_byte(&in->sink, 0xc9);
		patch = in->sink.w;
		in->sink.w += 4;
		pack_byte(&in->sink, EXT_LISTKEY);
	}
	pack_count(&in->sink, 0x90, 0xdc, (uint32_t)len);
	for (size_t i = 0; i < len; i++)
		pack_uint(&in->sink, data[i]);
	if (patch != NULL)
		put_u32(patch, (uint32_t)(in->sink.w - patch - 5));
	return TRANSCODE_OK;
}

static size_t written(const struct in *in)
{
	return (size_t)(in->sink.w - in->sink.out->data);
}

void in_begin_level(struct in *in, struct in_level *l, enum in_kind kind, uint32_t count,
		    bool in_key)
{
	unsigned type = 0;

	l->kind = kind;
	l->in_key = in_key;
	l->classes = 0;
	l->left = l->count = kind == IN_MAP ? 2 * (uint64_t)count : count;
	l->patch = l->recount = 0;
	l->key = NULL;
	l->keys = in->offsets.len;
	if (kind == IN_TUPLE)
		type = EXT_TUPLE;
	else if (in_key)
		type = kind == IN_LIST ? EXT_LISTKEY : EXT_MAPKEY;
	if (type != 0) {
		pack_byte(&in->sink, 0xc9);
		l->patch = written(in);
		in->sink.w += 4;
		pack_byte(&in->sink, type);
	}
	if (kind == IN_LIST && in->loose) {
		pack_byte(&in->sink, 0xdd);
		l->recount = written(in);
		put_u32(in->sink.w, count);
		in->sink.w += 4;
	} else if (kind == IN_MAP && !in_key) {
		pack_count(&in->sink, 0x80, 0xde, count);
	} else {
		pack_count(&in->sink, 0x90, 0xdc, (uint32_t)l->count);
	}
}

static enum transcode_fault open_level(struct in *in, enum in_kind kind, uint32_t count,
				       bool in_key)
{
	if (in->depth >= in->opts->max_depth)
		return TRANSCODE_TOO_DEEP;
	in_begin_level(in, &in->level[++in->depth], kind, count, in_key);
	return TRANSCODE_OK;
}

/* All pairs of the innermost map are there: are its keys different in Python, too? */
static enum transcode_fault close_map(struct in *in, struct in_level *l)
{
	bool names = in->depth == 0 && in->names;
	enum key_rule rule = in->opts->strings_utf8 ? KEYS_PYTHON_UTF8 : KEYS_PYTHON_BYTES;
	size_t n = in->offsets.len - l->keys, which = 0;
	int rc = 0;

	if (names ? n > 1 : keys_may_clash(l->classes, n))
		rc = keys_check(in->base, in->offsets.at + l->keys, n, names ? KEYS_NAME : rule,
				&which);
	if (rc == -ENOMEM)
		return TRANSCODE_NO_MEMORY;
	if (rc != 0) {
		l->key = in->base + in->offsets.at[l->keys + which];
		return rc == -E2BIG ? TRANSCODE_TOO_DEEP : unencodable(in, ":duplicate_key");
	}
	in->offsets.len = l->keys;
	return TRANSCODE_OK;
}

/* All elements of the innermost list are there: is that all? More elements: left > 0 afterwards. */
static enum transcode_fault list_tail(struct in *in, struct in_level *l)
{
	enum transcode_fault fault;
	size_t n;

	while (l->left == 0 && *in->p == TAG_LIST && in->loose) {
		l->left = get_u32(in->p + 1);
		l->count += l->left;
		in->p += 5;
	}
	if (l->left > 0)
		return TRANSCODE_OK;
	if (*in->p == TAG_STRING && in->loose) {
		n = get_u16(in->p + 1);
		if ((fault = sink_more(&in->sink, 2 * n + SINK_SLACK)) != TRANSCODE_OK)
			return fault;
		for (size_t i = 0; i < n; i++)
			pack_uint(&in->sink, in->p[3 + i]);
		l->count += n;
		in->p += 3 + n;
	} else if (*in->p == TAG_NIL) {
		in->p++;
	} else if (*in->p == TAG_LIST || *in->p == TAG_STRING) {
		in->again = true;
		return TRANSCODE_UNENCODABLE;
	} else {
		in->depth -= in->depth > 0; /* the path is the list's, not an element's */
		l->kind = IN_ONE;
		return unencodable(in, ":improper_list");
	}
	if (l->recount != 0)
		put_u32(in->sink.out->data + l->recount, (uint32_t)l->count);
	return TRANSCODE_OK;
}

/* Closes the innermost level `l`, unless it is a list that goes on: then left > 0 afterwards. */
static enum transcode_fault close_level(struct in *in, struct in_level *l)
{
	enum transcode_fault fault = TRANSCODE_OK;

	if (l->kind >= IN_MAP && !l->in_key)
		fault = close_map(in, l);
	else if (l->kind == IN_LIST)
		fault = list_tail(in, l);
	if (fault != TRANSCODE_OK || l->left > 0)
		return fault;
	if (l->kind == IN_SET)
		in->p = l->after;
	if (l->patch != 0)
		put_u32(in->sink.out->data + l->patch, (uint32_t)(written(in) - l->patch - 5));
	in->depth -= in->depth > 0;
	return TRANSCODE_OK;
}

/* A keyword argument's name: an atom or text, always a str. */
static enum transcode_fault keyword(struct in *in, const uint8_t *t)
{
	uint8_t room[2 * TERM_ATOM_MAX];
	struct span text;

	if (term_kind(t) == TERM_ATOM)
		text = atom_utf8(t, room);
	else if (!term_binary(t, &text) || !term_utf8(text.at, text.len))
		return unencodable(in, ":not_a_name");
	return pack_bytes(&in->sink, text.at, text.len, true);
}

/* Whether the map at in->p may be looked through once more. */
static bool may_scan(struct in *in)
{
	while (in->scans > 0 && in->scan_end[in->scans - 1] <= in->p)
		in->scans--;
	return in->scans < SCANS_MAX;
}

/* A map of `n` pairs, from in->p on, that looks like a struct. If it is one it is written; a MapSet is
 * opened, and any other map. */
static enum transcode_fault structure(struct in *in, uint32_t n, bool in_key)
{
	bool is_struct = false, scan = n <= 3;
	enum transcode_fault fault;
	struct struct_found found;
	struct in_level *l;
	size_t patch;

	if (!scan || may_scan(in)) {
		is_struct = struct_find(in->p, n, &found);
		if (scan && found.end - in->p >= SCAN_COUNTS)
			in->scan_end[in->scans++] = found.end;
	}
	if (!is_struct || in->depth >= in->opts->max_depth)
		return open_level(in, IN_MAP, n, in_key);
	pack_byte(&in->sink, 0xc9);
	patch = written(in);
	in->sink.w += 4;
	pack_byte(&in->sink, EXT_STRUCT);
	if ((fault = struct_pack(&in->sink, &found, in_key)) != TRANSCODE_OK)
		return fault;
	if (found.kind != STRUCT_MAPSET) {
		put_u32(in->sink.out->data + patch, (uint32_t)(written(in) - patch - 5));
		in->p = found.end;
		return TRANSCODE_OK;
	}
	l = &in->level[++in->depth];
	*l = (struct in_level){ .kind = IN_SET, .in_key = in_key, .patch = patch };
	l->left = l->count = found.count;
	l->after = found.end;
	l->keys = in->offsets.len;
	in->p = found.elements;
	return TRANSCODE_OK;
}

/* Writes the term at in->p, or opens it. */
static enum transcode_fault element(struct in *in, bool in_key)
{
	const uint8_t *t = in->p;
	enum transcode_fault fault;
	uint32_t n;

	switch (*t) {
	case TAG_SMALL_INTEGER:
		in->p = t + 2;
		pack_uint(&in->sink, t[1]);
		return TRANSCODE_OK;
	case TAG_INTEGER:
		in->p = t + 5;
		pack_int(&in->sink, (int32_t)get_u32(t + 1));
		return TRANSCODE_OK;
	case TAG_NEW_FLOAT:
		in->p = t + 9;
		pack_float(&in->sink, t);
		return TRANSCODE_OK;
	case TAG_SMALL_ATOM_UTF8:
		in->p = t + 2 + t[1];
		return pack_atom(&in->sink, t);
	case TAG_BINARY:
		n = get_u32(t + 1);
		in->p = t + 5 + n;
		if (!in_key && n >= PARCEL_APART)
			return pack_value(&in->sink, t + 5, n,
					  in->opts->strings_utf8 && term_utf8(t + 5, n));
		return pack_binary(&in->sink, t + 5, n, in->opts->strings_utf8);
	case TAG_NIL:
		in->p = t + 1;
		return string(in, NULL, 0, in_key);
	case TAG_LIST:
		in->p = t + 5;
		return open_level(in, IN_LIST, get_u32(t + 1), in_key);
	case TAG_SMALL_TUPLE:
		in->p = t + 2;
		if (tensor_likely(t + 2, t[1]) && !in_key && in->depth < in->opts->max_depth &&
		    tensor_pack(&in->sink, &in->p, &fault))
			return fault;
		return open_level(in, IN_TUPLE, t[1], in_key);
	case TAG_LARGE_TUPLE:
		in->p = t + 5;
		return open_level(in, IN_TUPLE, get_u32(t + 1), in_key);
	case TAG_MAP:
		in->p = t + 5;
		n = get_u32(t + 1);
		return n > 0 && struct_likely(in->p, n) ? structure(in, n, in_key)
							: open_level(in, IN_MAP, n, in_key);
	default:
		break;
	}
	in->p = term_skip(t);
	switch (term_kind(t)) {
	case TERM_BIG:
		return pack_big(&in->sink, t);
	case TERM_FLOAT:
		pack_float(&in->sink, t);
		return TRANSCODE_OK;
	case TERM_ATOM:
		return pack_atom(&in->sink, t);
	case TERM_STRING:
		return string(in, t + 3, get_u16(t + 1), in_key);
	case TERM_PID:
		return pack_name(&in->sink, EXT_PID, t);
	case TERM_REF:
		return pack_name(&in->sink, EXT_REF, t);
	case TERM_PORT:
		return pack_name(&in->sink, EXT_PORT, t);
	case TERM_EXPORT:
		return pack_name(&in->sink, EXT_EXPORT, t);
	case TERM_BITS:
		return pack_bits(&in->sink, t, in->opts->strings_utf8);
	default:
		return pack_ext(&in->sink, EXT_OPAQUE, t, (size_t)(in->p - t));
	}
}

/* What is to be done before the next key or value of a map, or element of a MapSet, can be written like any
 * term. */
static enum transcode_fault map_part(struct in *in, struct in_level *l, bool *in_key)
{
	if (l->kind == IN_SET && l->left + 1 < l->count)
		in->p++; /* the [] of the element before */
	if (l->in_key || (l->kind == IN_MAP && l->left % 2 == 0))
		return TRANSCODE_OK;
	l->key = in->p;
	l->classes |= (uint8_t)key_class(in->p);
	*in_key = true;
	return offsets_push(&in->offsets, (size_t)(in->p - in->base)) == 0 ? TRANSCODE_OK
									   : TRANSCODE_NO_MEMORY;
}

/* The next element of level 0, where a keyword argument has a name and arguments may be special. */
static bool first_level(struct in *in, bool in_key, enum transcode_fault *fault)
{
	if (!in_key)
		return in->special_rule && pack_special(&in->sink, &in->p, fault);
	if (!in->names)
		return false;
	in->p = term_skip(in->p);
	*fault = keyword(in, in->level[0].key);
	return true;
}

enum transcode_fault in_run(struct in *in)
{
	enum transcode_fault fault = TRANSCODE_OK;
	struct in_level *l = in->level;

	do {
		if (!sink_has(&in->sink, SINK_SLACK) &&
		    (fault = sink_more(&in->sink, SINK_SLACK)) != TRANSCODE_OK)
			return fault;
		if (l->left == 0) {
			fault = close_level(in, l);
			if (l->left == 0 && l == in->level)
				return fault;
		} else {
			bool in_key = l->in_key;

			l->left--;
			if (l->kind >= IN_MAP && (fault = map_part(in, l, &in_key)) != TRANSCODE_OK)
				return fault;
			if (l != in->level || !first_level(in, in_key, &fault))
				fault = element(in, in_key);
		}
		l = &in->level[in->depth];
	} while (fault == TRANSCODE_OK);
	return fault;
}
