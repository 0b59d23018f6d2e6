/* lines.c - cuts a stream of bytes into lines; see lines.h. */
#include "lines.h"

#include <string.h>

/* How much of the text is whole characters: it may end within one, if it is UTF-8 at all. */
static size_t whole(const char *text, size_t len)
{
	for (size_t back = 1; back <= 3 && back < len; back++) {
		unsigned char c = (unsigned char)text[len - back];

		if ((c & 0xc0) == 0x80)
			continue;
		return (c > 0xf4    ? 1
			: c >= 0xf0 ? 4
			: c >= 0xe0 ? 3
			: c >= 0xc0 ? 2
				    : 1) > back
			       ? len - back
			       : len;
	}
	return len;
}

/* The text is full: tells of what is whole in it. */
static void cut(struct lines *l)
{
	size_t n = whole(l->text, l->len), rest = l->len - n;

	l->on_line(l->arg, l->text, n);
	memmove(l->text, l->text + n, rest);
	l->len = rest;
}

static void tell(struct lines *l)
{
	size_t len = l->len;

	l->len = 0;
	l->on_line(l->arg, l->text, len);
}

void lines_put(struct lines *l, const char *data, size_t len)
{
	while (len > 0) {
		const char *newline = memchr(data, '\n', len);
		size_t n = newline != NULL ? (size_t)(newline - data) : len;

		/* cut when there is more of it: its newline alone would be a line of nothing */
		if (l->len == sizeof l->text && n > 0)
			cut(l);
		if (n > sizeof l->text - l->len)
			n = sizeof l->text - l->len;
		memcpy(l->text + l->len, data, n);
		l->len += n;
		data += n;
		len -= n;
		if (len > 0 && *data == '\n') {
			data++;
			len--;
			tell(l);
		}
	}
}

void lines_end(struct lines *l)
{
	if (l->len > 0)
		tell(l);
}
