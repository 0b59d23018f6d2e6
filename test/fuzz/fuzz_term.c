/* fuzz_term.c - bytes of a stranger, taken for a term.
 *
 * What term_check() takes: its length is what term_skip() and ei say, no shorter piece of it is a term, all
 * readers stay within it, and what they read is written again as an equal term. */
#include "fuzz.h"

#include "term_tags.h"

#include <ei.h>
#include <math.h>

#define EI_DEPTH  500 /* ei_skip_term() calls itself */
#define LOOKED_AT 500

/* The same number, atom, pid or binary after it was read and written. */
static void written_again(const uint8_t *t)
{
	struct buf b = { 0 };
	struct span text, text2;
	struct term_pid pid, pid2;
	int64_t n, n2;
	double real, real2;
	uint64_t bits, bits2;
	bool latin1, latin1_2;

	if (term_int(t, &n)) {
		term_put_int(&b, n);
		MUST(is_one_term(b.data, b.len) && term_int(b.data, &n2) && n == n2);
	}
	b.len = 0;
	if (term_float(t, &real)) {
		MUST(isfinite(real));
		term_put_float(&b, real);
		MUST(is_one_term(b.data, b.len) && term_float(b.data, &real2));
		memcpy(&bits, &real, sizeof bits);
		memcpy(&bits2, &real2, sizeof bits2);
		MUST(bits == bits2);
	}
	b.len = 0;
	if (term_atom(t, &text, &latin1) && (!latin1 || term_atom(t, &text, NULL))) {
		term_put_atom_n(&b, (const char *)text.at, text.len);
		MUST(is_one_term(b.data, b.len) && term_atom(b.data, &text2, &latin1_2));
		MUST(!latin1_2 && text.len == text2.len &&
		     memcmp(text.at, text2.at, text.len) == 0);
	}
	b.len = 0;
	if (term_pid(t, &pid) && term_utf8(pid.node, pid.node_len)) {
		term_put_pid(&b, &pid);
		MUST(is_one_term(b.data, b.len) && term_pid(b.data, &pid2));
		MUST(term_pid_equal(&pid, &pid2));
	}
	b.len = 0;
	if (term_binary(t, &text)) {
		term_put_binary(&b, text.at, text.len);
		MUST(b.len == term_span(t).len && memcmp(b.data, t, b.len) == 0);
	}
	buf_free(&b);
}

/* Every term within the one from `t` to `end`, by the readers, without a stack: heads are stepped over,
 * leaves skipped. Returns a bound of the nesting. */
static unsigned look(const uint8_t *t, const uint8_t *end)
{
	unsigned containers = 0;

	while (t < end) {
		enum term_kind kind = term_kind(t);
		bool leaf = kind < TERM_NIL || kind == TERM_STRING || kind > TERM_MAP;
		const uint8_t *first = NULL, *next = t;
		struct span bytes;
		uint32_t n = 0;
		bool negative;

		if (leaf || containers < LOOKED_AT) { /* of nested ones it takes O(n^2) */
			next = term_skip(t);
			MUST(next > t && next <= end);
		}
		if (leaf)
			written_again(t);
		if (kind == TERM_BIG) {
			bytes = term_big(t, &negative);
			MUST(bytes.at + bytes.len <= next);
			MUST(bytes.len == 0 || bytes.at[bytes.len - 1] != 0);
		}
		switch (kind) {
		case TERM_NIL:
			MUST(term_list(t, &n, &first) && n == 0 && first == NULL);
			t++;
			break;
		case TERM_TUPLE:
			MUST(term_tuple(t, &n, &first));
			t = first;
			containers++;
			break;
		case TERM_LIST:
			MUST(term_list(t, &n, &first));
			t = first;
			containers++;
			break;
		case TERM_MAP:
			MUST(term_map(t, &n, &first));
			t = first;
			containers++;
			break;
		case TERM_FUN: /* module, index, uniq, creator and the environment are terms */
			t += FUN_HEAD;
			containers++;
			break;
		default:
			t = next;
		}
	}
	MUST(t == end);
	return containers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;
	size_t used = 0, again = 0;
	int index = 0;

	if (term_check(data, size, &used) != 0)
		return 0;
	MUST(used > 0 && used <= size);
	copy = exact(data, used);
	MUST(term_check(copy, used, &again) == 0 && again == used);
	MUST(term_check(copy, used - 1, NULL) != 0);
	MUST(term_skip(copy) == copy + used);
	if (look(copy, copy + used) < EI_DEPTH)
		MUST(ei_skip_term((const char *)copy, &index) == 0 && index == (int)used);
	free(copy);
	return 0;
}
