/* transcode_args.c - what is asked of transcode_in.c: arguments, keyword arguments, one term; and the place of
 * what could not be done. */
#include "transcode_in.h"

#include "parcel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

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
	struct parcel_parts *apart = in->opts->apart;
	const uint8_t *first = in->p;
	enum transcode_fault fault;
	unsigned before;

	in->depth = in->scans = 0;
	in->again = false;
	in->level[0] = (struct in_level){ .kind = IN_ONE, .left = 1, .count = 1 };
	if ((fault = sink_begin(&in->sink, out, in->opts->max_bytes)) != TRANSCODE_OK)
		return fault;
	sink_apart(&in->sink, apart);
	before = apart != NULL ? apart->count : 0;
	offsets_init(&in->offsets);
	if (kind != IN_ONE)
		in_begin_level(in, &in->level[0], kind, count, false);
	fault = in_run(in);
	if (fault == TRANSCODE_OK && sink_total(&in->sink) > in->sink.max) {
		in->sink.seen = sink_total(&in->sink);
		fault = TRANSCODE_TOO_LARGE;
	}
	sink_end(&in->sink, fault == TRANSCODE_OK);
	if (fault != TRANSCODE_OK && apart != NULL) {
		apart->count = before;
		apart->bytes = in->sink.apart_before;
	}
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
