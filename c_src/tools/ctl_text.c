/* ctl_text.c - text made harmless, units, what is in a map. */
#include "ctl.h"

#include "utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

_Noreturn void ctl_no_memory(void)
{
	fputs("kraitctl: no memory\n", stderr);
	exit(CTL_ERROR);
}

void text_put(struct buf *out, const char *fmt, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	if (n > 0)
		buf_put(out, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---- harmless ---- */

/* The character at `at` and its length; false: no UTF-8 begins there, and one byte is to be passed over. */
static bool take_char(const uint8_t *at, size_t len, uint32_t *c, size_t *n)
{
	size_t whole = utf8_char(at, len);

	*n = whole > 0 ? whole : 1;
	*c = *n == 1 ? at[0] : at[0] & (0x7fu >> *n);
	for (size_t i = 1; i < *n; i++)
		*c = *c << 6 | (at[i] & 0x3fu);
	return whole > 0;
}

/* Controls of C0 and C1, what turns the direction of writing, and what ends a line in disguise. */
static bool is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void text_safe(struct buf *out, const void *text, size_t len, bool lines)
{
	const uint8_t *at = text, *end = at + len;
	uint32_t c;
	size_t n;

	for (; at < end; at += n) {
		if (!take_char(at, (size_t)(end - at), &c, &n)) {
			text_put(out, "\\x%02x", at[0]);
		} else if (!is_harmful(c) || (lines && (c == '\n' || c == '\t'))) {
			buf_put(out, at, n);
		} else if (c == '\n' || c == '\t' || c == '\r') {
			text_put(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
		} else if (c < 0x100) {
			text_put(out, "\\x%02" PRIx32, c);
		} else {
			text_put(out, "\\u%04" PRIx32, c);
		}
	}
}

/* ---- columns ---- */

/* How many columns a character takes; the wide ones are those of East Asia and the emoji. */
static unsigned char_width(uint32_t c)
{
	if ((c >= 0x300 && c < 0x370) || c == 0x200b || c == 0x200d || (c >= 0xfe00 && c < 0xfe10))
		return 0;
	return (c >= 0x1100 && c < 0x1160) || (c >= 0x2e80 && c < 0xa4d0) ||
			       (c >= 0xac00 && c < 0xd7a4) || (c >= 0xf900 && c < 0xfb00) ||
			       (c >= 0xfe30 && c < 0xfe70) || (c >= 0xff00 && c < 0xff61) ||
			       (c >= 0x1f300 && c < 0x1f650) || (c >= 0x1f900 && c < 0x1fa00) ||
			       (c >= 0x20000 && c < 0x40000)
		       ? 2
		       : 1;
}

size_t text_cut(const char *text, size_t len, size_t width)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;
	uint32_t c;
	size_t n;

	for (; at < end; at += n) {
		unsigned wide = take_char(at, (size_t)(end - at), &c, &n) ? char_width(c) : 1;

		if (wide > width)
			break;
		width -= wide;
	}
	return (size_t)((const char *)at - text);
}

size_t text_width(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;
	size_t width = 0, n;
	uint32_t c;

	for (; at < end; at += n) {
		width += take_char(at, (size_t)(end - at), &c, &n) ? char_width(c) : 1;
		if (n > (size_t)(end - at))
			n = 1;
	}
	return width;
}

/* ---- units ---- */

void text_bytes(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	unsigned i = 0;

	if (bytes < 1024) {
		text_put(out, "%" PRIu64 " B", bytes);
		return;
	}
	for (value /= 1024; value >= 1023.95 && i < 4; i++)
		value /= 1024;
	text_put(out, value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[i]);
}

void text_ms(struct buf *out, uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		text_put(out, "%" PRIu64 " ms", ms);
	else if (s < 60)
		text_put(out, "%" PRIu64 ".%" PRIu64 " s", s, ms / 100 % 10);
	else if (s < 3600)
		text_put(out, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		text_put(out, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		text_put(out, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

void text_us(struct buf *out, uint64_t us)
{
	if (us < 1000)
		text_put(out, "%" PRIu64 " us", us);
	else if (us < 1000000)
		text_put(out, us < 99950 ? "%.1f ms" : "%.0f ms", (double)us / 1000);
	else
		text_ms(out, us / 1000);
}

/* ---- terms ---- */

void term_show(struct buf *out, const uint8_t *term)
{
	struct buf json = { 0 };
	struct span text;
	bool latin1;

	if (term == NULL || term_is_atom(term, "nil") || term_is_atom(term, "undefined"))
		return;
	if (term_binary(term, &text) || term_atom(term, &text, &latin1)) {
		text_safe(out, text.at, text.len, false);
		return;
	}
	ctl_json_put(&json, term, -1);
	if (json.len >= 2 && json.data[0] == '"') /* a pid and the like */
		text_safe(out, json.data + 1, json.len - 2, false);
	else
		text_safe(out, json.data, json.len, false);
	buf_free(&json);
}
