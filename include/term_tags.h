/* term_tags.h - the tags of the external term format, and what the rooms of term share with transcode. */
#ifndef KRAIT_TERM_TAGS_H
#define KRAIT_TERM_TAGS_H

#include "term.h"

/* Tags of the external term format. */
enum term_tag {
	TAG_NEW_FLOAT = 70,
	TAG_BIT_BINARY = 77,
	TAG_NEW_PID = 88,
	TAG_NEW_PORT = 89,
	TAG_NEWER_REFERENCE = 90,
	TAG_SMALL_INTEGER = 97,
	TAG_INTEGER = 98,
	TAG_FLOAT = 99,
	TAG_ATOM = 100, /* Latin-1, as SMALL_ATOM */
	TAG_PORT = 102,
	TAG_PID = 103,
	TAG_SMALL_TUPLE = 104,
	TAG_LARGE_TUPLE = 105,
	TAG_NIL = 106,
	TAG_STRING = 107,
	TAG_LIST = 108,
	TAG_BINARY = 109,
	TAG_SMALL_BIG = 110,
	TAG_LARGE_BIG = 111,
	TAG_NEW_FUN = 112,
	TAG_EXPORT = 113,
	TAG_NEW_REFERENCE = 114,
	TAG_SMALL_ATOM = 115,
	TAG_MAP = 116,
	TAG_ATOM_UTF8 = 118,
	TAG_SMALL_ATOM_UTF8 = 119,
	TAG_V4_PORT = 120,
};

/* NEW_FUN: tag, size:32, arity:8, uniq:16 bytes, index:32, free variables:32; then module, old index,
 * old uniq, creator and the free variables as terms. */
#define FUN_HEAD    30
#define FUN_FREE_AT 26

/* Past the head of one checked term; `todo` grows by its elements. A fun is passed whole. */
const uint8_t *term_skip_head(const uint8_t *t, uint64_t *todo);

/* How many of `len` bytes at `p`, UTF8_WIDE_BYTES or more, are certainly UTF-8: whole characters from the
 * first on (term_utf8_wide.c). */
#define UTF8_WIDE_BYTES 1024
size_t term_utf8_wide(const uint8_t *p, size_t len);

/* Whether `n` bytes are all ASCII; short texts without a loop. */
static inline bool ascii_only(const uint8_t *p, size_t n)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	uint64_t word, all = 0;

	if (n >= 8) {
		for (size_t i = 0; i + 8 <= n; i += 8) {
			memcpy(&word, p + i, 8);
			all |= word;
		}
		memcpy(&word, p + n - 8, 8);
		return ((all | word) & high) == 0;
	}
	if (n >= 4) {
		uint32_t first, last;

		memcpy(&first, p, 4);
		memcpy(&last, p + n - 4, 4);
		return ((first | last) & (uint32_t)high) == 0;
	}
	return n == 0 || ((p[0] | p[n / 2] | p[n - 1]) & 0x80) == 0;
}

/* A magnitude of `len` little-endian bytes as int64_t; false when it does not fit. */
bool term_big_fits(const uint8_t *digits, size_t len, bool negative, int64_t *value);

/* The sign byte of a big and its magnitude, final zero bytes left out. `t` is a TERM_BIG. */
struct span term_big(const uint8_t *t, bool *negative);

#endif
