/* lines.h - cuts a stream of bytes into lines. Pure. */
#ifndef KRAIT_LINES_H
#define KRAIT_LINES_H

#include <stddef.h>

#define LINE_MAX_BYTES 1024 /* a longer line is cut into several, not within a character */

struct lines {
	void (*on_line)(void *arg, const char *line, size_t len); /* without its newline */
	void *arg;
	size_t len;
	char text[LINE_MAX_BYTES];
};

/* Takes `len` bytes and tells of every line that they complete. */
void lines_put(struct lines *l, const char *data, size_t len);

/* The stream is at its end: tells of the last line if it has no newline. */
void lines_end(struct lines *l);

#endif
