/* transcode_in.c - terms to msgpack.
 *
 * One pass over a checked term. `level` is the stack: level 0 stands for what was asked for (the list of
 * arguments, the map of keyword arguments, or "one term"), each open container is one more. A tuple and
 * what is within a key become extensions, whose length is filled in when they are complete.
 *
 * A proper list may also be written as [1 | [2 | [3]]], as ei does when it does not know its length.
 * Nobody else does, so it is met by beginning again with room for a final count in every list. */
#include "transcode_pack.h"
#include "transcode_struct.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

/* Maps within maps that are looked through for being a MapSet before they are gone through: a bound on how
 * often a byte is looked at. What is nested deeper stays a map; short ones are not counted. */
#define SCANS_MAX   8
#define SCAN_COUNTS 256

enum in_kind { IN_ONE, IN_LIST, IN_TUPLE, IN_MAP, IN_SET };

struct in_level {
	enum in_kind kind;
	bool in_key;          /* this container is a key or within one */
	uint8_t classes;      /* of a map's keys so far */
	uint64_t left;        /* elements still to come, keys and values both */
	uint64_t count;       /* of all elements */
	size_t patch;         /* where the extension's length is to be written; 0: it is none */
	size_t recount;       /* where a list's final count is to be written; 0: nowhere */
	const uint8_t *key;   /* of the pair under way, or the element of a MapSet */
	const uint8_t *after; /* what follows the struct that a MapSet is */
	size_t keys;          /* this map's first in `offsets` */
};

struct in {
	const uint8_t *p;    /* next term */
	const uint8_t *base; /* what key offsets count from */
	const struct transcode_options *opts;
	struct sink sink;
	struct offsets offsets;
	bool special_rule; /* {bytes, Binary} and {krait_input, Pid} directly in level 0 are what they say */
	bool names;     /* keys of level 0 are names */
	bool loose;     /* a list may go on in its tail */
	bool again;     /* begin again, with `loose` */
	uint32_t scans; /* of `scan_end` in use */
	const uint8_t *scan_end[SCANS_MAX];
	uint32_t depth; /* of `level` in use, level 0 not counted */
	struct in_level level[TRANSCODE_DEPTH_MAX + 1];
};

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

/* Writes the head of a container and makes `l` its level. */
static void begin_level(struct in *in, struct in_level *l, enum in_kind kind, uint32_t count,
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
	begin_level(in, &in->level[++in->depth], kind, count, in_key);
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

/* A tuple, from its tag on. */
static enum transcode_fault tuple(struct in *in, bool in_key)
{
	enum transcode_fault fault;
	const uint8_t *first;
	uint32_t n;

	(void)term_tuple(in->p, &n, &first);
	in->p = first;
	if (n == 4 && !in_key && in->depth < in->opts->max_depth &&
	    tensor_pack(&in->sink, &in->p, &fault))
		return fault;
	return open_level(in, IN_TUPLE, n, in_key);
}

/* Writes the term at in->p, or opens it. */
static enum transcode_fault element(struct in *in, bool in_key)
{
	const uint8_t *t = in->p;
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
		return pack_binary(&in->sink, t + 5, n, in->opts->strings_utf8);
	case TAG_NIL:
		in->p = t + 1;
		return string(in, NULL, 0, in_key);
	case TAG_LIST:
		in->p = t + 5;
		return open_level(in, IN_LIST, get_u32(t + 1), in_key);
	case TAG_SMALL_TUPLE:
	case TAG_LARGE_TUPLE:
		return tuple(in, in_key);
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

/* Writes the key at in->p; `l` is a map that is not itself in a key. */
static enum transcode_fault map_key(struct in *in, struct in_level *l)
{
	l->key = in->p;
	l->classes |= (uint8_t)key_class(in->p);
	if (offsets_push(&in->offsets, (size_t)(in->p - in->base)) != 0)
		return TRANSCODE_NO_MEMORY;
	if (in->names && in->depth == 0) {
		in->p = term_skip(in->p);
		return keyword(in, l->key);
	}
	return element(in, true);
}

/* The next element of a MapSet. */
static enum transcode_fault set_element(struct in *in, struct in_level *l)
{
	if (l->left + 1 < l->count)
		in->p++; /* the [] of the one before */
	return l->in_key ? element(in, true) : map_key(in, l);
}

static enum transcode_fault run(struct in *in)
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
			l->left--;
			if (l->kind == IN_SET) {
				fault = set_element(in, l);
			} else if (l->kind == IN_MAP && !l->in_key && l->left % 2 == 1) {
				fault = map_key(in, l);
			} else if (l != in->level || !in->special_rule ||
				   !pack_special(&in->sink, &in->p, &fault)) {
				fault = element(in, l->in_key);
			}
		}
		l = &in->level[in->depth];
	} while (fault == TRANSCODE_OK);
	return fault;
}

/* The path of what is under way; within a key, it ends with that key. */
static void show_path(const struct in *in, const char *root, struct transcode_error *err)
{
	uint32_t last = 0;
	struct path path;

	for (; last < in->depth; last++)
		if (in->level[last].kind == IN_SET ||
		    (in->level[last].kind == IN_MAP && in->level[last].left % 2 == 1))
			break;
	path_init(&path);
	for (uint32_t i = last + 1; i-- > 0;) {
		const struct in_level *l = &in->level[i];

		if (l->count == 0)
			continue;
		if (l->kind >= IN_MAP)
			path_key(&path, l->key);
		else if (l->kind == IN_LIST || l->kind == IN_TUPLE)
			path_index(&path, l->count - l->left - 1);
	}
	path_finish(&path, root, err);
}

/* One attempt; `kind` and `count` are those of level 0, whose first element is in->p. */
static enum transcode_fault attempt(struct in *in, enum in_kind kind, uint32_t count,
				    struct buf *out)
{
	const uint8_t *first = in->p;
	enum transcode_fault fault;

	in->depth = in->scans = 0;
	in->again = false;
	in->level[0] = (struct in_level){ .kind = IN_ONE, .left = 1, .count = 1 };
	if ((fault = sink_begin(&in->sink, out, in->opts->max_bytes)) != TRANSCODE_OK)
		return fault;
	offsets_init(&in->offsets);
	if (kind != IN_ONE)
		begin_level(in, &in->level[0], kind, count, false);
	fault = run(in);
	if (fault == TRANSCODE_OK && sink_used(&in->sink) > in->sink.max) {
		in->sink.seen = sink_used(&in->sink);
		fault = TRANSCODE_TOO_LARGE;
	}
	sink_end(&in->sink, fault == TRANSCODE_OK);
	offsets_close(&in->offsets);
	if (in->again)
		in->p = first;
	return fault;
}

static int transcode(struct in *in, enum in_kind kind, uint32_t count, const char *root,
		     struct buf *out, struct transcode_error *err)
{
	enum transcode_fault fault;

	assert(in->opts->max_depth <= TRANSCODE_DEPTH_MAX);
	fault = attempt(in, kind, count, out);
	if (in->again) {
		in->loose = true;
		fault = attempt(in, kind, count, out);
	}
	err->fault = fault;
	if (fault == TRANSCODE_OK)
		return 0;
	err->where[0] = err->what[0] = '\0';
	err->bytes = err->limit = 0;
	if (fault == TRANSCODE_UNENCODABLE)
		snprintf(err->what, sizeof err->what, "%s", in->sink.what);
	if (fault == TRANSCODE_TOO_DEEP)
		err->limit = in->opts->max_depth;
	if (fault == TRANSCODE_TOO_LARGE) {
		err->bytes = in->sink.seen;
		err->limit = in->sink.max;
	}
	if (fault == TRANSCODE_UNENCODABLE || fault == TRANSCODE_TOO_DEEP)
		show_path(in, root, err);
	return -EINVAL;
}

static int refuse(const char *root, const char *what, struct transcode_error *err)
{
	*err = (struct transcode_error){ .fault = TRANSCODE_UNENCODABLE };
	snprintf(err->where, sizeof err->where, "%s", root);
	snprintf(err->what, sizeof err->what, "%s", what);
	return -EINVAL;
}

int transcode_args(const uint8_t *args, const struct transcode_options *opts, struct buf *out,
		   struct transcode_error *err)
{
	enum term_kind kind = term_kind(args);
	struct in in;

	in.p = in.base = args;
	in.opts = opts;
	in.special_rule = true;
	in.names = false;
	in.loose = kind == TERM_STRING;
	if (kind == TERM_NIL || kind == TERM_STRING) /* no elements, and a tail */
		return transcode(&in, IN_LIST, 0, "args", out, err);
	if (kind != TERM_LIST)
		return refuse("args", ":not_a_list", err);
	in.p = args + 5;
	return transcode(&in, IN_LIST, get_u32(args + 1), "args", out, err);
}

int transcode_kwargs(const uint8_t *map, const struct transcode_options *opts, struct buf *out,
		     struct transcode_error *err)
{
	uint32_t pairs;
	struct in in;

	in.base = map;
	in.opts = opts;
	in.special_rule = in.names = true;
	in.loose = false;
	if (!term_map(map, &pairs, &in.p))
		return refuse("kwargs", ":not_a_map", err);
	return transcode(&in, IN_MAP, pairs, "kwargs", out, err);
}

int transcode_term(const uint8_t *term, const char *root, const struct transcode_options *opts,
		   struct buf *out, struct transcode_error *err)
{
	struct in in;

	in.p = in.base = term;
	in.opts = opts;
	in.special_rule = in.names = in.loose = false;
	return transcode(&in, IN_ONE, 1, root, out, err);
}
