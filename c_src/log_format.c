/* log_format.c - one log line, written in one of three formats; see log_format.h.
 *
 * Each format writes its head, then the text character by character while there is room for it and for the
 * line's end. A character goes in whole, with its escape, or not at all, so a line that is cut is as valid
 * as any other. */
#include "log_format.h"

#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_END "\",\"truncated\":true}\n"

struct out {
	char *at;
	size_t len, size; /* size: what may be used by now */
	bool cut;
};

static void put(struct out *o, const char *bytes, size_t n)
{
	if (o->cut || o->size - o->len < n) {
		o->cut = true;
		return;
	}
	memcpy(o->at + o->len, bytes, n);
	o->len += n;
}

static void put_text(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void put_number(struct out *o, unsigned long long n)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%llu", n);

	put(o, digits, (size_t)len);
}

/* ---- characters ---- */

/* A control character of C0 or C1, or DEL. */
static bool is_control(const char *text, size_t n)
{
	const unsigned char *c = (const unsigned char *)text;

	return (n == 1 && (c[0] < 0x20 || c[0] == 0x7f)) || (n == 2 && c[0] == 0xc2 && c[1] < 0xa0);
}

/* The byte of a control character, or one that is no UTF-8. */
static unsigned code(const char *text, size_t n)
{
	return (unsigned char)text[n == 2 ? 1 : 0];
}

/* For people: what a terminal might obey is shown. */
static void put_plain(struct out *o, const char *text, size_t n)
{
	char escape[8];

	if (n == 1 && (*text == '\n' || *text == '\t')) {
		put(o, " ", 1);
	} else if (n == 0 || is_control(text, n)) {
		snprintf(escape, sizeof escape, "\\x%02x", code(text, n));
		put_text(o, escape);
	} else {
		put(o, text, n);
	}
}

/* RFC 8259, section 7. */
static void put_json(struct out *o, const char *text, size_t n)
{
	char escape[8];

	if (n == 0) {
		put_text(o, "\\ufffd");
	} else if (n == 1 && (*text == '"' || *text == '\\')) {
		put_text(o, *text == '"' ? "\\\"" : "\\\\");
	} else if (n == 1 && (*text == '\n' || *text == '\t' || *text == '\r')) {
		put_text(o, *text == '\n' ? "\\n" : *text == '\t' ? "\\t" : "\\r");
	} else if (is_control(text, n)) {
		snprintf(escape, sizeof escape, "\\u%04x", code(text, n));
		put_text(o, escape);
	} else {
		put(o, text, n);
	}
}

/* Each character of `text` by one of the two above. */
static void put_all(struct out *o, void (*put_one)(struct out *o, const char *text, size_t n),
		    const char *text, size_t len)
{
	while (len > 0 && !o->cut) {
		size_t n = utf8_char((const uint8_t *)text, len), step = n > 0 ? n : 1;

		put_one(o, text, n);
		text += step;
		len -= step;
	}
}

/* The object, in at most half of the line, so that there is room for the text. */
static void put_object(struct out *o, void (*put_one)(struct out *o, const char *text, size_t n),
		       const char *object)
{
	size_t size = o->size;

	o->size = o->len + (size - o->len) / 2;
	put_all(o, put_one, object, strlen(object));
	o->size = size;
	o->cut = false;
}

/* ---- objects ---- */

static bool is_digits(const char *text, const char *end)
{
	if (text == end || end - text > 19)
		return false;
	while (text < end && *text >= '0' && *text <= '9')
		text++;
	return text == end;
}

/* From the right, for the name of a pool may hold anything. */
static void parse_worker(const char *text, struct log_object *out)
{
	const char *pid = NULL, *slash = NULL;

	for (const char *at = text; (at = strstr(at, " pid ")) != NULL; at++)
		pid = at;
	for (const char *at = text; pid != NULL && at < pid; at++)
		slash = *at == '/' ? at : slash;
	if (slash == NULL || !is_digits(slash + 1, pid) || !is_digits(pid + 5, pid + strlen(pid)))
		return;
	*out = (struct log_object){ .pool = text,
				    .pool_len = (size_t)(slash - text),
				    .has_worker = true,
				    .worker = strtoull(slash + 1, NULL, 10),
				    .os_pid = (int)strtol(pid + 5, NULL, 10) };
}

void log_object_parse(const char *object, struct log_object *out)
{
	*out = (struct log_object){ 0 };
	if (strncmp(object, "worker ", 7) == 0) {
		parse_worker(object + 7, out);
	} else if (strncmp(object, "pool ", 5) == 0 || strncmp(object, "forkserver ", 11) == 0) {
		out->pool = strchr(object, ' ') + 1;
		out->pool_len = strlen(out->pool);
	}
}

/* ---- lines ---- */

static void put_time(struct out *o, const struct timespec *time)
{
	struct tm tm;
	char text[40];
	size_t n;

	gmtime_r(&time->tv_sec, &tm);
	n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(text + n, sizeof text - n, ".%03ldZ", time->tv_nsec / 1000000);
	put(o, text, n);
}

/* [object] call 17 stdout: text */
static void put_words(struct out *o, const struct log_record *r)
{
	put_text(o, "[");
	put_object(o, put_plain, r->object);
	put_text(o, "] ");
	if (r->stream != NULL && r->call != 0) {
		put_text(o, "call ");
		put_number(o, r->call);
		put_text(o, " ");
	}
	if (r->stream != NULL) {
		put_text(o, r->stream);
		put_text(o, ": ");
	}
	put_all(o, put_plain, r->text, r->len);
}

static void put_fields(struct out *o, const struct log_record *r)
{
	struct log_object about;

	log_object_parse(r->object, &about);
	if (about.pool != NULL) {
		put_text(o, "\",\"pool\":\"");
		put_all(o, put_json, about.pool, about.pool_len);
	}
	put_text(o, "\"");
	if (about.has_worker) {
		put_text(o, ",\"worker\":");
		put_number(o, about.worker);
	}
	if (about.os_pid != 0) {
		put_text(o, ",\"os_pid\":");
		put_number(o, (unsigned)about.os_pid);
	}
	if (r->stream != NULL) {
		put_text(o, ",\"stream\":\"");
		put_text(o, r->stream);
		put_text(o, "\"");
	}
	if (r->stream != NULL && r->call != 0) {
		put_text(o, ",\"call\":");
		put_number(o, r->call);
	}
}

static void put_json_line(struct out *o, const struct log_record *r)
{
	size_t size = o->size;

	o->size -= sizeof JSON_END - 1;
	put_text(o, "{\"ts\":\"");
	put_time(o, &r->time);
	put_text(o, "\",\"level\":\"");
	put_text(o, log_level_name(r->level));
	put_text(o, "\",\"object\":\"");
	o->size -= (o->size - o->len) / 2; /* the fields repeat a part of the object */
	put_object(o, put_json, r->object);
	o->size = size - (sizeof JSON_END - 1);
	put_fields(o, r);
	put_text(o, ",\"message\":\"");
	put_all(o, put_json, r->text, r->len);
	o->size = size;
	if (o->cut) {
		o->cut = false;
		put_text(o, JSON_END);
	} else {
		put_text(o, "\"}\n");
	}
}

/* Of syslog(3). */
static const char priorities[LOG_LEVELS] = { '3', '4', '6', '7' };

static void put_priority(struct out *o, enum log_level level)
{
	put_text(o, "<");
	put(o, &priorities[level], 1);
	put_text(o, ">");
}

static void put_number_field(struct out *o, const char *name, unsigned long long value)
{
	if (value == 0)
		return;
	put_text(o, name);
	put_number(o, value);
	put_text(o, "\n");
}

size_t log_format_journal(const struct log_record *r, char *out, size_t size)
{
	struct out o = { .at = out, .size = size };
	struct log_object about;

	log_object_parse(r->object, &about);
	put_text(&o, "SYSLOG_IDENTIFIER=krait\nPRIORITY=");
	put(&o, &priorities[r->level], 1);
	put_text(&o, "\nKRAIT_OBJECT=");
	o.size = size / 4;
	put_all(&o, put_plain, r->object, strlen(r->object));
	o.size = size;
	o.cut = false;
	put_text(&o, "\n");
	if (about.pool != NULL) {
		put_text(&o, "KRAIT_POOL=");
		put_all(&o, put_plain, about.pool, about.pool_len);
		put_text(&o, "\n");
	}
	put_number_field(&o, "KRAIT_WORKER=", about.worker);
	put_number_field(&o, "KRAIT_OS_PID=", (unsigned)about.os_pid);
	if (r->stream != NULL) {
		put_text(&o, "KRAIT_STREAM=");
		put_text(&o, r->stream);
		put_text(&o, "\n");
		put_number_field(&o, "KRAIT_CALL=", r->call);
	}
	put_text(&o, "MESSAGE=");
	o.size = size - 1;
	put_words(&o, r);
	out[o.len++] = '\n';
	return o.len;
}

size_t log_format_line(enum log_format format, const struct log_record *r, char *out, size_t size)
{
	struct out o = { .at = out, .size = size };

	if (format == LOG_FORMAT_JSON) {
		put_json_line(&o, r);
		return o.len;
	}
	o.size = size - 1; /* one for the newline */
	if (format == LOG_FORMAT_JOURNALD) {
		put_priority(&o, r->level);
	} else {
		put_time(&o, &r->time);
		put_text(&o, " ");
		put_text(&o, log_level_name(r->level));
		put_text(&o, " ");
	}
	put_words(&o, r);
	out[o.len++] = '\n';
	return o.len;
}

static bool take_priority(const char **line, size_t *len, enum log_level *level)
{
	static const enum log_level levels[] = { LOG_ERROR,   LOG_ERROR, LOG_ERROR, LOG_ERROR,
						 LOG_WARNING, LOG_INFO,  LOG_INFO,  LOG_DEBUG };
	const char *at = *line;

	if (*len < 3 || at[0] != '<' || at[1] < '0' || at[1] > '7' || at[2] != '>')
		return false;
	*level = levels[at[1] - '0'];
	*line += 3;
	*len -= 3;
	return true;
}

void log_take_level(const char **line, size_t *len, enum log_level *level)
{
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = { { "DEBUG:", LOG_DEBUG },
		      { "INFO:", LOG_INFO },
		      { "WARNING:", LOG_WARNING },
		      { "ERROR:", LOG_ERROR },
		      { "CRITICAL:", LOG_ERROR } };

	if (take_priority(line, len, level))
		return;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (*len >= strlen(words[i].word) &&
		    memcmp(*line, words[i].word, strlen(words[i].word)) == 0)
			*level = words[i].level;
}
