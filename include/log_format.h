/* log_format.h - one log line, written in one of three formats. Pure.
 *
 * text      2026-01-31T12:00:00.123Z info [worker default/3 pid 812] call 17 stdout: hello
 * json      {"ts":"2026-01-31T12:00:00.123Z","level":"info","object":"worker default/3 pid 812",
 *            "pool":"default","worker":3,"os_pid":812,"stream":"stdout","call":17,"message":"hello"}
 *            on one line; what is not known is left out; "truncated":true when the message was cut
 * journald  <6>[worker default/3 pid 812] call 17 stdout: hello
 *            sd-daemon(3): the journal takes the priority from the front, and has a clock of its own.
 *            Where standard error is the journal, entries with fields go to it instead: MESSAGE,
 *            PRIORITY, SYSLOG_IDENTIFIER, KRAIT_OBJECT, KRAIT_POOL, KRAIT_WORKER, KRAIT_OS_PID,
 *            KRAIT_STREAM, KRAIT_CALL
 *
 * A line is one line of valid UTF-8 without control characters, whatever its text is: a line feed or a tab
 * becomes a blank, any other control character (those of C1, which terminals obey too, among them) \xNN, and
 * so does each byte that is not UTF-8. In JSON they are \uNNNN, and U+FFFD for what is not UTF-8. */
#ifndef KRAIT_LOG_FORMAT_H
#define KRAIT_LOG_FORMAT_H

#include "log.h"

#include <time.h>

struct log_record {
	struct timespec time; /* CLOCK_REALTIME */
	enum log_level level;
	const char *object;
	const char *stream; /* NULL: the node's own words */
	uint64_t call;      /* with stream; 0: not known */
	const char *text;
	size_t len;
};

/* What "worker POOL/ID pid PID", "pool POOL" or "forkserver POOL" says. */
struct log_object {
	const char *pool; /* NULL: of no pool; not terminated */
	size_t pool_len;
	bool has_worker;
	uint64_t worker;
	int os_pid; /* 0: it has none yet */
};

void log_object_parse(const char *object, struct log_object *out);

/* The same for the journal's native protocol: lines of FIELD=value, MESSAGE as the format journald has it behind
 * its priority. At most LOG_JOURNAL_MAX bytes. */
#define LOG_JOURNAL_MAX (LOG_LINE_MAX + 2048)
size_t log_format_journal(const struct log_record *r, char *out, size_t size);

/* Writes the line with its newline, at most `size` bytes (at least 512), and returns its length. */
size_t log_format_line(enum log_format format, const struct log_record *r, char *out, size_t size);

/* The level that a line of standard error gives itself; what gives none leaves *level as it is. As services
 * of systemd do: "<N>" in front, N from 0 to 7; the line's beginning is moved behind it. Or as Python's
 * logging.basicConfig() has it: "WARNING:" in front, which stays. */
void log_take_level(const char **line, size_t *len, enum log_level *level);

#endif
