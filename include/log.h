/* log.h - log lines that carry their object.
 *
 *     2026-01-31T12:00:00.123Z warning [worker default/3 pid 812] exited: signal sigsegv
 *
 * A line has a level, the object it is about (a prefix in brackets) and a text. Writing never blocks:
 * a line that the sink cannot take at once is dropped and counted, and the next line that gets
 * through says how many are missing. Payloads (arguments, results, messages) are never logged. */
#ifndef KRAIT_LOG_H
#define KRAIT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* Longest line that is written, newline included; the rest is cut. At most PIPE_BUF, so that a
 * write to a pipe is whole or not at all. */
#define LOG_LINE_MAX 2048

/* Takes one line of `len` bytes, newline included. Returns false when it could not; never blocks. */
typedef bool (*log_sink)(void *arg, const char *line, size_t len);

/* Sets the least important level that is written. */
void log_set_level(enum log_level level);

/* Sends lines to `sink`; NULL: to file descriptor 2. */
void log_set_sink(log_sink sink, void *arg);

/* Parses "error", "warning", "info" or "debug". -EINVAL when it is none of them. */
int log_parse_level(const char *text, enum log_level *level) __attribute__((warn_unused_result));

/* Whether a line of `level` would be written. */
bool log_enabled(enum log_level level);

/* Writes one line; `object` such as "worker default/3 pid 812" or "peer a@host", never NULL.
 * Bytes below 0x20 in the text are written as spaces. */
void log_line(enum log_level level, const char *object, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Lines dropped since the start because the sink was full. */
uint64_t log_dropped(void);

#endif
