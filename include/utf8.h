/* utf8.h - one character of UTF-8. Pure.
 *
 * By the table of the Unicode standard (3-7, "Well-Formed UTF-8 Byte Sequences"), which is what Python's strict
 * decoder and the BEAM take too. In the header, because whole payloads are looked at with it. */
#ifndef KRAIT_UTF8_H
#define KRAIT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool utf8_tail(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The length, 1 to 4, of the character at `p`, of which `left` > 0 bytes may be read; 0: it is none. */
static inline size_t utf8_char(const uint8_t *p, size_t left)
{
	uint8_t first = p[0];

	if (first < 0x80)
		return 1;
	if (first < 0xc2)
		return 0;
	if (first < 0xe0)
		return left >= 2 && utf8_tail(p[1]) ? 2 : 0;
	if (first < 0xf0) {
		if (left < 3 || !utf8_tail(p[1]) || !utf8_tail(p[2]))
			return 0;
		if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] > 0x9f))
			return 0;
		return 3;
	}
	if (first > 0xf4 || left < 4 || !utf8_tail(p[1]) || !utf8_tail(p[2]) || !utf8_tail(p[3]))
		return 0;
	if ((first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] > 0x8f))
		return 0;
	return 4;
}

#endif
