/* lines.c - cuts a stream of bytes into lines; see lines.h. */
#include "lines.h"

#include <string.h>

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
			tell(l);
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
