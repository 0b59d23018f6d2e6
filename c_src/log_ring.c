/* log_ring.c - the last log lines; see log_ring.h. */
#include "log_ring.h"

#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_RING_STREAM 16 /* `stdout: ` or so */

static struct {
	struct log_ring_line *lines; /* line n is at n % LOG_RING_LINES */
	uint64_t last;
} ring;

int log_ring_open(void)
{
	if (ring.lines == NULL)
		ring.lines = mem_zalloc(LOG_RING_LINES * sizeof *ring.lines);
	return ring.lines != NULL ? 0 : -ENOMEM;
}

void log_ring_close(void)
{
	mem_free(ring.lines);
	ring.lines = NULL;
	ring.last = 0;
}

void log_ring_add(enum log_level level, const char *object, const char *stream, const char *text,
		  size_t len)
{
	struct log_ring_line *line;
	size_t head = 0, room;
	struct timespec now;

	if (ring.lines == NULL)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	line = &ring.lines[++ring.last % LOG_RING_LINES];
	line->number = ring.last;
	line->time_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	line->level = level;
	snprintf(line->object, sizeof line->object, "%s", object);
	if (stream != NULL)
		head = (size_t)snprintf(line->text, LOG_RING_STREAM, "%.*s: ", LOG_RING_STREAM - 3,
					stream);
	room = LOG_RING_TEXT - head;
	memcpy(line->text + head, text, len < room ? len : room);
	line->len = (uint16_t)(head + (len < room ? len : room));
}

uint64_t log_ring_last(void)
{
	return ring.last;
}

const struct log_ring_line *log_ring_after(uint64_t after)
{
	uint64_t first = ring.last >= LOG_RING_LINES ? ring.last - LOG_RING_LINES + 1 : 1;

	if (ring.lines == NULL || after >= ring.last)
		return NULL;
	return &ring.lines[(after + 1 > first ? after + 1 : first) % LOG_RING_LINES];
}
