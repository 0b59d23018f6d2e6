/* ctl_line.c - one message of a subscription as a line.
 *
 *   {krait_log, Node, #{pool, worker, os_pid, stream, level, line, object}}
 *   {krait_event, Node, Name, Measurements, Metadata}
 *
 * Any other message of the subscription (how many were lost) is shown as it is. */
#include "ctl.h"

#include <stdio.h>
#include <time.h>

static void put_time(struct buf *out, const struct look *look)
{
	char text[32];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof text, "%H:%M:%S", &tm);
	look_put(look, DIM, out, text, strlen(text));
	text_put(out, " ");
}

static enum colour level_colour(const uint8_t *level)
{
	return level == NULL                     ? PLAIN
	       : term_is_atom(level, "error")    ? RED
	       : term_is_atom(level, "critical") ? RED
	       : term_is_atom(level, "warning")  ? YELLOW
	       : term_is_atom(level, "debug")    ? DIM
						 : PLAIN;
}

/* Whom a line is about: what the node says it is, or the worker that printed it. */
static void put_object(const uint8_t *map, struct buf *out)
{
	const uint8_t *stream = term_map_get(map, "stream");
	size_t before = out->len;
	struct buf worker = { 0 };

	if (stream == NULL || term_is_atom(stream, "nil"))
		term_show(out, term_map_get(map, "object"));
	if (out->len > before)
		return;
	term_show(out, term_map_get(map, "pool"));
	term_show(&worker, term_map_get(map, "worker"));
	text_put(out, worker.len > 0 ? "/" : "");
	buf_put(out, worker.data, worker.len);
	buf_free(&worker);
	text_put(out, " ");
	term_show(out, stream);
}

static void put_line(const uint8_t *map, const struct look *look, struct buf *out)
{
	struct buf text = { 0 };
	struct span line;

	put_time(out, look);
	term_show(&text, term_map_get(map, "level"));
	text_put(&text, " ");
	look_put(look, level_colour(term_map_get(map, "level")), out, (const char *)text.data,
		 text.len);
	buf_reset(&text, 4096);
	text_put(&text, "[");
	put_object(map, &text);
	text_put(&text, "] ");
	look_put(look, DIM, out, (const char *)text.data, text.len);
	buf_free(&text);
	if (term_map_get(map, "line") != NULL && term_binary(term_map_get(map, "line"), &line))
		text_safe(out, line.at, line.len, false);
	else
		term_show(out, term_map_get(map, "line"));
}

/* [krait, call, stop] as krait.call.stop */
static void put_name(const uint8_t *name, struct buf *out)
{
	const uint8_t *at;
	uint32_t count;

	if (!term_list(name, &count, &at)) {
		term_show(out, name);
		return;
	}
	for (uint32_t i = 0; i < count; i++, at = term_skip(at)) {
		text_put(out, i > 0 ? "." : "");
		term_show(out, at);
	}
}

/* key=value, but for what has none, and for the time, which the line begins with. */
static void put_pairs(const uint8_t *map, struct buf *out)
{
	struct buf text = { 0 };
	const uint8_t *at;
	uint32_t count;

	if (!term_map(map, &count, &at))
		return;
	for (; count > 0; count--, at = term_skip(term_skip(at))) {
		buf_reset(&text, 4096);
		term_show(&text, term_skip(at));
		if (text.len == 0 || term_is_atom(at, "system_time_us"))
			continue;
		text_put(out, " ");
		term_show(out, at);
		text_put(out, "=");
		if (memchr(text.data, ' ', text.len) != NULL)
			ctl_json_text(out, text.data, text.len);
		else
			buf_put(out, text.data, text.len);
	}
	buf_free(&text);
}

static void put_event(const uint8_t *name, const struct look *look, struct buf *out)
{
	const uint8_t *measurements = term_skip(name);
	struct buf text = { 0 };

	put_time(out, look);
	put_name(name, &text);
	look_put(look, BOLD, out, (const char *)text.data, text.len);
	buf_free(&text);
	put_pairs(measurements, out);
	put_pairs(term_skip(measurements), out);
}

void follow_put(const uint8_t *message, bool json, const struct look *look, struct buf *out)
{
	const uint8_t *first, *node = NULL, *rest = NULL;
	uint32_t arity = 0;

	if (term_tuple(message, &arity, &first) && arity >= 3) {
		node = term_skip(first);
		rest = term_skip(node);
	}
	if (json && arity == 3 && term_is_atom(first, "krait_log")) {
		text_put(out, "{\"node\":");
		ctl_json_put(out, node, -1);
		text_put(out, ",\"log\":");
		ctl_json_put(out, rest, -1);
		text_put(out, "}");
	} else if (json && arity == 5 && term_is_atom(first, "krait_event")) {
		static const char *const keys[] = { "event", "measurements", "metadata" };

		text_put(out, "{\"node\":");
		ctl_json_put(out, node, -1);
		for (unsigned i = 0; i < 3; i++, rest = term_skip(rest)) {
			text_put(out, ",\"%s\":", keys[i]);
			ctl_json_put(out, rest, -1);
		}
		text_put(out, "}");
	} else if (json) {
		text_put(out, "{\"message\":");
		ctl_json_put(out, message, -1);
		text_put(out, "}");
	} else if (arity == 3 && term_is_atom(first, "krait_log")) {
		put_line(rest, look, out);
	} else if (arity == 5 && term_is_atom(first, "krait_event")) {
		put_event(rest, look, out);
	} else {
		term_show(out, message);
	}
	text_put(out, "\n");
}
