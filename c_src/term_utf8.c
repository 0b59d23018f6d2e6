/* term_utf8.c - is it UTF-8?
 *
 * ASCII is skipped 32 bytes at a time; what is not ASCII is checked sequence by sequence against the
 * table of the Unicode standard (3-7, "Well-Formed UTF-8 Byte Sequences"), which is what Python's
 * strict decoder and the BEAM take too. */
#include "term_tags.h"

static bool tail(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The length of the well-formed sequence at `p`, whose first byte is not ASCII; 0: none. */
static size_t sequence(const uint8_t *p, size_t left)
{
	uint8_t first = p[0];

	if (first < 0xc2)
		return 0;
	if (first < 0xe0)
		return left >= 2 && tail(p[1]) ? 2 : 0;
	if (first < 0xf0) {
		if (left < 3 || !tail(p[1]) || !tail(p[2]))
			return 0;
		if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] > 0x9f))
			return 0;
		return 3;
	}
	if (first > 0xf4 || left < 4 || !tail(p[1]) || !tail(p[2]) || !tail(p[3]))
		return 0;
	if ((first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] > 0x8f))
		return 0;
	return 4;
}

/* How many bytes at `p` are certainly ASCII, in steps of 32. */
static size_t ascii_prefix(const uint8_t *p, size_t left)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	uint64_t w[4];
	size_t n = 0;

	for (; left - n >= sizeof w; n += sizeof w) {
		memcpy(w, p + n, sizeof w);
		if (((w[0] | w[1] | w[2] | w[3]) & high) != 0)
			break;
	}
	return n;
}

bool term_utf8(const void *text, size_t len)
{
	const uint8_t *p = text, *end;

	if (len < 32)
		if (ascii_only(p, len))
			return true;
	for (end = p + len; p < end;) {
		size_t n;

		if (*p >= 0x80) {
			if ((n = sequence(p, (size_t)(end - p))) == 0)
				return false;
			p += n;
		} else if ((n = ascii_prefix(p, (size_t)(end - p))) > 0) {
			p += n;
		} else {
			p++;
		}
	}
	return true;
}
