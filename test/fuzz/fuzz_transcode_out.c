/* fuzz_transcode_out.c - bytes of a worker, taken for a value.
 *
 * Input: byte 0 chooses the limits (2 bits each) and whether an allocation fails; byte 1 is which. Then
 * msgpack.
 *
 * Whatever the bytes are: a term that any BEAM takes (one bad one would cost the whole connection), within
 * the limits; or a fault, and the output as it was. */
#include "fuzz.h"

#include "term_tags.h"
#include "transcode.h"

#define KEYS_MAX 200 /* of a map, compared each with each */

/* No map of the term at `t` has a key twice. Equal terms of ours have equal bytes, save 0.0 and -0.0. */
static void no_key_twice(const uint8_t *t, const uint8_t *end)
{
	while (t < end) {
		const uint8_t *first, *key;
		uint32_t n;

		switch (term_kind(t)) {
		case TERM_TUPLE:
			MUST(term_tuple(t, &n, &first));
			t = first;
			break;
		case TERM_LIST:
			MUST(term_list(t, &n, &first));
			t = first;
			break;
		case TERM_MAP:
			MUST(term_map(t, &n, &first));
			key = t = first;
			for (uint32_t i = 0; i < n && n <= KEYS_MAX; i++) {
				const uint8_t *other = first;
				size_t len = term_span(key).len;

				for (uint32_t k = 0; k < i; k++) {
					MUST(term_span(other).len != len ||
					     memcmp(other, key, len) != 0);
					other = term_skip(term_skip(other));
				}
				key = term_skip(term_skip(key));
			}
			break;
		default: /* the environment of a fun, too */
			t = term_skip(t);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t depths[] = { 256, 1, 5, TRANSCODE_DEPTH_MAX };
	static const size_t sizes[] = { 1 << 24, 0, 64, 4096 };
	static const char before[] = "what was there";
	struct input in = { data, size };
	unsigned choice = next_u8(&in), nth = next_u8(&in);
	struct transcode_options opts = { depths[choice & 3], sizes[choice >> 2 & 3], true, NULL };
	struct transcode_error err = { .fault = TRANSCODE_OK };
	struct buf out = { 0 };
	uint8_t *value = exact(in.at, in.left);
	size_t used = SIZE_MAX;
	int rc;

	buf_put(&out, before, sizeof before);
	mem_fail_after = choice & 0x80 ? (long)(nth % 16) : -1;
	rc = transcode_value(value, in.left, "result", &opts, &out, &used, &err);
	MUST(err.fault != TRANSCODE_NO_MEMORY || mem_fail_after == -1);
	mem_fail_after = -1;
	MUST(out.err == 0 && out.limit == 0);
	MUST(memcmp(out.data, before, sizeof before) == 0);
	if (rc == 0) {
		const uint8_t *term = out.data + sizeof before;
		size_t len = out.len - sizeof before;
		uint8_t *copy = exact(term, len);

		MUST(used > 0 && used <= in.left);
		MUST(len <= opts.max_bytes);
		MUST(is_one_term(copy, len));
		no_key_twice(copy, copy + len);
		free(copy);
	} else {
		MUST(out.len == sizeof before);
		MUST(choice & 0x80 || err.fault != TRANSCODE_NO_MEMORY);
		MUST(strnlen(err.where, sizeof err.where) < sizeof err.where);
		MUST(strnlen(err.what, sizeof err.what) < sizeof err.what);
		MUST(term_utf8(err.where, strlen(err.where)));
		MUST(term_utf8(err.what, strlen(err.what)));
		MUST(err.fault != TRANSCODE_UNENCODABLE || err.what[0] == ':');
		MUST(err.fault != TRANSCODE_CORRUPT || err.what[0] != '\0');
		MUST(err.fault != TRANSCODE_TOO_DEEP || err.limit == opts.max_depth);
		MUST(err.fault != TRANSCODE_TOO_LARGE ||
		     (err.limit == opts.max_bytes && err.bytes > err.limit));
	}
	buf_free(&out);
	free(value);
	return 0;
}
