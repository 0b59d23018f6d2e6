/* log.c - log lines that carry their object; see log.h.
 *
 * The standard sink asks poll() whether descriptor 2 takes bytes and only then writes a line of at
 * most PIPE_BUF bytes, so a reader that stalls costs lines, never time. */
#include "log.h"

#include "log_ring.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[LOG_LEVELS] = { "error", "warning", "info", "debug" };

static struct {
	enum log_level level;
	log_sink sink;
	void *arg;
	uint64_t dropped, reported;
} state = { .level = LOG_INFO };

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

void log_set_sink(log_sink sink, void *arg)
{
	state.sink = sink;
	state.arg = arg;
}

int log_parse_level(const char *text, enum log_level *level)
{
	for (unsigned i = 0; i < LOG_LEVELS; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return level <= state.level;
}

uint64_t log_dropped(void)
{
	return state.dropped;
}

/* The time and level of a line; returns its length. */
static size_t put_head(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
	len += (size_t)snprintf(line + len, size - len, ".%03ldZ %s ", now.tv_nsec / 1000000,
				level_names[level]);
	return len;
}

static bool emit(const char *line, size_t len)
{
	if (state.sink != NULL)
		return state.sink(state.arg, line, len);
	return write_stderr(NULL, line, len);
}

static void report_dropped(void)
{
	char line[128];
	uint64_t missing = state.dropped - state.reported;
	size_t len = put_head(line, sizeof line, LOG_WARNING);

	len += (size_t)snprintf(line + len, sizeof line - len, "[log] %llu lines dropped\n",
				(unsigned long long)missing);
	if (emit(line, len))
		state.reported = state.dropped;
}

void log_line(enum log_level level, const char *object, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	size_t head, text, len, room;
	va_list ap;
	int n;

	if (!log_enabled(level))
		return;
	if (state.dropped != state.reported)
		report_dropped();
	head = put_head(line, sizeof line, level);
	n = snprintf(line + head, sizeof line / 2, "[%s] ", object);
	len = text = head + (n < (int)(sizeof line / 2) ? (size_t)n : sizeof line / 2 - 1);
	room = sizeof line - len - 1; /* one for the newline */
	va_start(ap, fmt);
	n = vsnprintf(line + len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < room ? (size_t)n : room - 1;
	for (size_t i = head; i < len; i++)
		if ((unsigned char)line[i] < 0x20)
			line[i] = ' ';
	log_ring_add(level, object, line + text, len - text);
	line[len++] = '\n';
	if (!emit(line, len))
		state.dropped++;
}
