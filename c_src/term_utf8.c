/* term_utf8.c - is it UTF-8?
 *
 * Long texts are looked at by term_utf8_wide.c; of the others and of their ends, ASCII is skipped 32 bytes at a time; what is not ASCII is checked character by character. */
#include "term_tags.h"

#include "utf8.h"

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
	end = p + len;
	if (len >= UTF8_WIDE_BYTES)
		p += term_utf8_wide(p, len);
	while (p < end) {
		size_t n;

		if (*p >= 0x80) {
			if ((n = utf8_char(p, (size_t)(end - p))) == 0)
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
