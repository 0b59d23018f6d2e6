/* utf8.h - one character of UTF-8. Pure.
 *
 * By the table of the Unicode standard (3-7, "Well-Formed UTF-8 Byte Sequences"), which is what Python's strict
 * decoder and the BEAM take too. In the header, because whole payloads are looked at with it. */
#ifndef KRAIT_UTF8_H
#define KRAIT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Copies text to `out`, as far as there is room, with U+FFFD for each byte that is not UTF-8; the length. Three
 * times the room of the text is always enough. */
static inline size_t utf8_cleaned(char *out, size_t room, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t at = 0, step; at < len && n + 4 <= room; at += step) {
		size_t whole = utf8_char((const uint8_t *)text + at, len - at);

		step = whole > 0 ? whole : 1;
		memcpy(out + n, whole > 0 ? text + at : "\xef\xbf\xbd", whole > 0 ? whole : 3);
		n += whole > 0 ? whole : 3;
	}
	return n;
}

#endif
