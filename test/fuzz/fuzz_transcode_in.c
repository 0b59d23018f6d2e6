/* fuzz_transcode_in.c - a checked term on its way to a worker.
 *
 * Input: byte 0 chooses what it is taken for (2 bits), strings (1), the limits (2 and 2) and whether an
 * allocation fails; byte 1 is which. Then the term.
 *
 * Whatever the term is: msgpack as frame.h promises it, within the limits; or a fault in words that can be
 * sent on, and the output as it was. */
#include "fuzz.h"

#include "msgpack.h"
#include "transcode.h"

static void refused(const struct transcode_error *err, const char *root,
		    const struct transcode_options *opts)
{
	size_t where = strnlen(err->where, sizeof err->where);
	size_t what = strnlen(err->what, sizeof err->what);

	MUST(where < sizeof err->where && what < sizeof err->what);
	MUST(term_utf8(err->where, where) && term_utf8(err->what, what));
	switch (err->fault) {
	case TRANSCODE_UNENCODABLE:
		MUST(what > 1 && err->what[0] == ':');
		MUST(strncmp(err->where, root, strlen(root)) == 0 ||
		     strncmp(err->where, "...", 3) == 0);
		break;
	case TRANSCODE_TOO_DEEP:
		MUST(err->limit == opts->max_depth);
		break;
	case TRANSCODE_TOO_LARGE:
		MUST(err->limit == opts->max_bytes && err->bytes > err->limit);
		break;
	default:
		MUST(err->fault == TRANSCODE_NO_MEMORY);
	}
}

/* What was written has a canonical form, which is the canonical form of itself. */
static void canonical(const uint8_t *first, const uint8_t *end)
{
	struct buf form = { 0 }, again = { 0 };
	unsigned depth = 0;

	MUST(transcode_canonical(first, (size_t)(end - first), &form) == 0);
	MUST(sound(form.data, form.data + form.len, 0, &depth) == form.data + form.len);
	MUST(transcode_canonical(form.data, form.len, &again) == 0);
	MUST(form.len == again.len && memcmp(form.data, again.data, form.len) == 0);
	buf_free(&form);
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t depths[] = { 256, 1, 5, TRANSCODE_DEPTH_MAX };
	static const size_t sizes[] = { 1 << 24, 0, 64, 4096 };
	static const char before[] = "what was there";
	struct input in = { data, size };
	unsigned choice = next_u8(&in), nth = next_u8(&in), depth = 0;
	struct transcode_options opts = { depths[choice >> 3 & 3], sizes[choice >> 5 & 3],
					  (choice & 4) == 0, NULL };
	struct transcode_error err = { .fault = TRANSCODE_OK };
	struct buf out = { 0 };
	const char *root = "term";
	uint8_t *term;
	size_t used;
	int rc;

	if (term_check(in.at, in.left, &used) != 0)
		return 0;
	term = exact(in.at, used);
	buf_put(&out, before, sizeof before);
	mem_fail_after = choice & 0x80 ? (long)(nth % 16) : -1;
	switch (choice & 3) {
	case 0:
		rc = transcode_args(term, &opts, &out, &err);
		root = "args";
		break;
	case 1:
		rc = transcode_kwargs(term, &opts, &out, &err);
		root = "kwargs";
		break;
	default:
		rc = transcode_term(term, root, &opts, &out, &err);
	}
	MUST(err.fault != TRANSCODE_NO_MEMORY || mem_fail_after == -1);
	mem_fail_after = -1;
	MUST(out.err == 0 && out.limit == 0);
	MUST(memcmp(out.data, before, sizeof before) == 0);
	if (rc == 0) {
		const uint8_t *first = out.data + sizeof before, *end = out.data + out.len;

		MUST((size_t)(end - first) <= opts.max_bytes);
		MUST(sound(first, end, 0, &depth) == end);
		canonical(first, end);
		if ((choice & 3) == 0)
			MUST((*first & 0xf0) == 0x90 || *first == 0xdc || *first == 0xdd);
		if ((choice & 3) == 1)
			MUST((*first & 0xf0) == 0x80 || *first == 0xde || *first == 0xdf);
	} else {
		MUST(out.len == sizeof before);
		MUST(choice & 0x80 || err.fault != TRANSCODE_NO_MEMORY);
		refused(&err, root, &opts);
	}
	buf_free(&out);
	free(term);
	return 0;
}
