/* log.c - log lines that carry their object; see log.h. What they look like is in log_format.c.
 *
 * The standard sink asks poll() whether descriptor 2 takes bytes and only then writes a line of at
 * most PIPE_BUF bytes, so a reader that stalls costs lines, never time. Lines of one kind are those of one
 * call of log_line() in the code: they are counted by the address of its format. */
#include "log.h"

#include "log_format.h"
#include "log_journal.h"
#include "log_rate.h"
#include "log_ring.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define KINDS 256 /* a power of two, over twice as many as the node has calls of log_line() */

static const char *const level_names[LOG_LEVELS] = { "error", "warning", "info", "debug" };

static struct {
	enum log_level level;
	enum log_format format;
	log_sink sink;
	log_tap tap;
	void *arg, *tap_arg;
	bool tapping;
	int journal; /* the socket of systemd's journal; negative: none */
	uint64_t dropped, reported;
	unsigned repeating; /* kinds that have dropped lines to tell of */
	struct kind {
		const char *fmt;
		struct log_rate rate;
	} kinds[KINDS];
} state = { .level = LOG_INFO, .journal = -1 };

static bool write_stderr(void *arg, const char *line, size_t len)
{
	struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };

	(void)arg;
	if (poll(&fd, 1, 0) != 1 || (fd.revents & POLLOUT) == 0)
		return false;
	return write(STDERR_FILENO, line, len) == (ssize_t)len;
}

void log_set_level(enum log_level level)
{
	state.level = level;
}

static void leave_journal(void)
{
	if (state.journal >= 0)
		close(state.journal);
	state.journal = -1;
}

void log_set_format(enum log_format format)
{
	leave_journal();
	state.format = format;
	if (format == LOG_FORMAT_JSON || !log_journal_is_stderr())
		return;
	state.format = LOG_FORMAT_JOURNALD;
	state.journal = log_journal_open();
}

void log_set_sink(log_sink sink, void *arg)
{
	state.sink = sink;
	state.arg = arg;
}

void log_set_tap(log_tap tap, void *arg)
{
	state.tap = tap;
	state.tap_arg = arg;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

bool log_enabled(enum log_level level)
{
	return level <= state.level;
}

uint64_t log_dropped(void)
{
	return state.dropped;
}

/* ---- writing ---- */

static int send_fields(const struct log_record *r)
{
	char entry[LOG_JOURNAL_MAX];

	return log_journal_send(state.journal, entry, log_format_journal(r, entry, sizeof entry));
}

static bool emit(enum log_level level, const char *object, const char *stream, uint64_t call,
		 const char *text, size_t len)
{
	struct log_record r = { .level = level,
				.object = object,
				.stream = stream,
				.call = call,
				.text = text,
				.len = len };
	char line[LOG_LINE_MAX];
	size_t line_len;
	int rc;

	if (state.sink == NULL && state.journal >= 0) {
		if ((rc = send_fields(&r)) == 0 || rc == -EAGAIN)
			return rc == 0;
		leave_journal(); /* it is gone: the stream that it gave us may not be */
	}
	clock_gettime(CLOCK_REALTIME, &r.time);
	line_len = log_format_line(state.format, &r, line, sizeof line);
	return state.sink != NULL ? state.sink(state.arg, line, line_len)
				  : write_stderr(NULL, line, line_len);
}

/* What the log says of itself. */
static bool say(const char *text, size_t len)
{
	return emit(LOG_WARNING, "log", NULL, 0, text, len);
}

static void report_dropped(void)
{
	uint64_t missing = state.dropped - state.reported;
	char text[64];
	int n;

	if (missing == 0)
		return;
	n = snprintf(text, sizeof text, "%llu lines dropped", (unsigned long long)missing);
	if (say(text, (size_t)n))
		state.reported = state.dropped;
}

static void write_line(enum log_level level, const char *object, const char *stream, uint64_t call,
		       const char *text, size_t len)
{
	report_dropped();
	log_ring_add(level, object, stream, text, len);
	if (!emit(level, object, stream, call, text, len))
		state.dropped++;
}

void log_output(enum log_level level, const char *object, const char *stream, uint64_t call,
		const char *text, size_t len)
{
	if (log_enabled(level))
		write_line(level, object, stream, call, text, len);
}

/* ---- the node's own lines ---- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The kind of lines that have this format; NULL: there are too many kinds. */
static struct kind *kind_of(const char *fmt)
{
	size_t at = (size_t)(((uintptr_t)fmt * UINT64_C(0x9e3779b97f4a7c15)) >> 32);

	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &state.kinds[(at + i) & (KINDS - 1)];

		if (k->fmt == NULL)
			k->fmt = fmt;
		if (k->fmt == fmt)
			return k;
	}
	return NULL;
}

/* Tells of repeated lines that were dropped, once the second in which they came is over. */
static void report_repeats(uint64_t now)
{
	char text[256];

	for (unsigned i = 0; i < KINDS && state.repeating > 0; i++) {
		struct kind *k = &state.kinds[i];
		uint64_t dropped = log_rate_take(&k->rate, now);
		int n;

		if (dropped == 0)
			continue;
		state.repeating--;
		n = snprintf(text, sizeof text, "%llu more lines such as \"%.160s\" dropped",
			     (unsigned long long)dropped, k->fmt);
		(void)!say(text, (size_t)n);
	}
}

/* Whether there are not too many like it. */
static bool admit(enum log_level level, const char *fmt)
{
	struct kind *k = level < LOG_DEBUG ? kind_of(fmt) : NULL;
	uint64_t now;

	if (k == NULL)
		return true;
	now = now_us();
	if (state.repeating > 0)
		report_repeats(now);
	if (log_rate_admit(&k->rate, LOG_REPEATS, now))
		return true;
	state.repeating += k->rate.dropped == 1;
	return false;
}

void log_line(enum log_level level, const char *object, const char *fmt, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;
	size_t len;
	int n;

	if (!log_enabled(level) || !admit(level, fmt))
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
	write_line(level, object, NULL, 0, text, len);
	if (state.tap == NULL || state.tapping)
		return;
	state.tapping = true;
	state.tap(state.tap_arg, level, object, text, len);
	state.tapping = false;
}
