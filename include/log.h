/* log.h - log lines that carry their object.
 *
 *     2026-01-31T12:00:00.123Z warning [worker default/3 pid 812] exited: signal sigsegv
 *
 * A line has a level, the object it is about and a text. The object is a word for what it is, then its
 * name: "node", "peer a@host", "pool NAME", "forkserver POOL", "worker POOL/ID pid PID"; formats with fields take pool, worker
 * and pid from it. Writing never blocks: a line that the sink cannot take at once is dropped and counted, and
 * the next line that gets through says how many are missing. So is one of the node's own lines that has
 * been written LOG_REPEATS times within a second. Payloads (arguments, results, messages) are never
 * logged. */
#ifndef KRAIT_LOG_H
#define KRAIT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* See log_format.h, where lines are written. */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNALD };

/* Longest line that is written, newline included; the rest is cut. PIPE_BUF of Linux, so that a
 * write to a pipe is whole or not at all. */
#define LOG_LINE_MAX 4096

/* The node's own lines of one kind (from one place in the code) that are written within a second; at
 * level debug all are. */
#define LOG_REPEATS 100

/* Takes one line of `len` bytes, newline included. Returns false when it could not; never blocks. */
typedef bool (*log_sink)(void *arg, const char *line, size_t len);

/* Hears of each of the node's own lines that is written; `text` is as it was given, of `len` bytes. What
 * it logs itself is not told to it. */
typedef void (*log_tap)(void *arg, enum log_level level, const char *object, const char *text,
			size_t len);

/* Sets the least important level that is written. */
void log_set_level(enum log_level level);

/* Sets how lines are written. Where standard error is the journal of systemd, text goes to it with its fields
 * (log_journal.h). */
void log_set_format(enum log_format format);

/* Sends lines to `sink`; NULL: to file descriptor 2. */
void log_set_sink(log_sink sink, void *arg);

/* NULL: nobody hears. */
void log_set_tap(log_tap tap, void *arg);

const char *log_level_name(enum log_level level);

/* Whether a line of `level` would be written. */
bool log_enabled(enum log_level level);

/* Writes one line of the node's own; `object` is never NULL. */
void log_line(enum log_level level, const char *object, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes one line that somebody else has printed, any bytes: on `stream`, in call `call` (0: not known).
 * How many there may be is the caller's to mind. */
void log_output(enum log_level level, const char *object, const char *stream, uint64_t call,
		const char *text, size_t len);

/* Lines dropped since the start because the sink was full. */
uint64_t log_dropped(void);

#endif
