/* log_ring.h - the last log lines, kept for whoever wants to look at them later.
 *
 * A ring of fixed size, made once. Each line has a number; numbers are consecutive and begin with 1, so a
 * reader who says which he has seen gets the rest, and sees how many he has missed. */
#ifndef KRAIT_LOG_RING_H
#define KRAIT_LOG_RING_H

#include "log.h"

#include <stdint.h>

#define LOG_RING_LINES  200
#define LOG_RING_OBJECT 96
#define LOG_RING_TEXT   600 /* bytes of a line that are kept; the rest is cut */

struct log_ring_line {
	uint64_t number;
	uint64_t time_ms; /* since 1970 */
	enum log_level level;
	uint16_t len; /* of the text; bytes as they came */
	char object[LOG_RING_OBJECT];
	char text[LOG_RING_TEXT];
};

/* Makes the ring; before that nothing is kept. -ENOMEM. A second time: nothing. */
int log_ring_open(void) __attribute__((warn_unused_result));
void log_ring_close(void);

/* Keeps one line; called by the log alone. `stream` is what a worker printed it on, or NULL; it stands before
 * the text. Nothing happens while there is no ring. */
void log_ring_add(enum log_level level, const char *object, const char *stream, const char *text,
		  size_t len);

/* The number of the last line; 0: there is none. */
uint64_t log_ring_last(void);

/* The line after number `after` that is still there; NULL: none. Valid until the next log line. */
const struct log_ring_line *log_ring_after(uint64_t after);

#endif
