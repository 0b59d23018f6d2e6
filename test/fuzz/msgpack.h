/* msgpack.h - is it the msgpack of frame.h? For the fuzzers; written from the specification, not from
 * transcode, and plainly. */
#ifndef KRAIT_FUZZ_MSGPACK_H
#define KRAIT_FUZZ_MSGPACK_H

#include "fuzz.h"

#define MSGPACK_NESTING 4096 /* more than TRANSCODE_DEPTH_MAX values with extensions around them */

/* The number in the next `n` bytes, which must be there. */
static inline uint64_t take_be(const uint8_t **p, const uint8_t *end, size_t n)
{
	uint64_t value = 0;

	MUST((size_t)(end - *p) >= n);
	while (n-- > 0)
		value = value << 8 | *(*p)++;
	return value;
}

/* Past the value at `p`, which must be sound and end before `end`. `*depth` gets its nesting, arrays and
 * maps counted. */
static inline const uint8_t *sound(const uint8_t *p, const uint8_t *end, unsigned level,
				   unsigned *depth)
{
	static const uint8_t kind_of_ext[] = {
		[4] = TERM_PID, [5] = TERM_REF, [6] = TERM_PORT, [7] = TERM_EXPORT, [11] = TERM_PID
	};
	uint64_t n, elements = 0;
	unsigned tag;

	MUST(level < MSGPACK_NESTING);
	MUST(p < end);
	tag = *p++;
	if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
		return p;
	MUST(tag != 0xc1);
	if (tag <= 0x8f) {
		elements = 2 * (tag & 15u);
	} else if (tag <= 0x9f) {
		elements = tag & 15u;
	} else if (tag <= 0xbf || (tag >= 0xd9 && tag <= 0xdb)) {
		if (tag <= 0xbf)
			n = tag & 31u;
		else
			n = take_be(&p, end, (size_t)1 << (tag - 0xd9));
		MUST((size_t)(end - p) >= n);
		MUST(term_utf8(p, n));
		return p + n;
	} else if (tag <= 0xc6) {
		n = take_be(&p, end, (size_t)1 << (tag - 0xc4));
		MUST((size_t)(end - p) >= n);
		return p + n;
	} else if (tag == 0xcb) {
		n = take_be(&p, end, 8);
		MUST((n >> 52 & 0x7ff) != 0x7ff);
		return p;
	} else if (tag >= 0xcc && tag <= 0xd3) {
		(void)take_be(&p, end, (size_t)1 << (tag & 3));
		return p;
	} else if (tag <= 0xc9 || (tag >= 0xd4 && tag <= 0xd8)) {
		const uint8_t *content;
		unsigned type;

		if (tag <= 0xc9)
			n = take_be(&p, end, (size_t)1 << (tag - 0xc7));
		else
			n = UINT64_C(1) << (tag - 0xd4);
		MUST((size_t)(end - p) >= 1 && (size_t)(end - p) - 1 >= n);
		type = *p++;
		content = p;
		p += n;
		MUST(type >= 1 && type <= 13);
		if (type == 13) {
			MUST(n >= 16 && content[0] >= 1 && content[0] <= 14 && content[1] <= 32 &&
			     content[2] <= 3);
		} else if (type == 2 || type == 9 || type == 10 || type == 12) {
			MUST(n > 0 && ((content[0] & 0xf0) == 0x90 || content[0] == 0xdc ||
				       content[0] == 0xdd));
			MUST(sound(content, p, level + 1, depth) == p);
		} else if (type == 1) {
			MUST(n <= TERM_ATOM_BYTES && term_utf8(content, n));
		} else if (type == 3) {
			MUST(n >= 9 && content[0] <= 1 && content[n - 1] != 0);
		} else {
			MUST(is_one_term(content, n));
			if (type == 8)
				MUST(term_kind(content) == TERM_FUN ||
				     term_kind(content) == TERM_BITS);
			else
				MUST(term_kind(content) == kind_of_ext[type]);
		}
		return p;
	} else {
		MUST(tag != 0xca); /* float32: we never write it */
		n = take_be(&p, end, tag & 1 ? (size_t)4 : (size_t)2);
		elements = tag >= 0xde ? 2 * n : n;
	}
	if (level + 1 > *depth)
		*depth = level + 1;
	for (; elements > 0; elements--)
		p = sound(p, end, level + 1, depth);
	return p;
}

#endif
