/* json.c - JSON, written into a buffer; see json.h. */
#include "json.h"

#include "utf8.h"

#include <stdio.h>
#include <string.h>

static void comma(struct buf *out)
{
	if (out->err == 0 && out->len > 0 && strchr("{[:", out->data[out->len - 1]) == NULL)
		buf_put_u8(out, ',');
}

void json_open(struct buf *out, char bracket)
{
	comma(out);
	buf_put_u8(out, (unsigned char)bracket);
}

void json_close(struct buf *out, char bracket)
{
	buf_put_u8(out, (unsigned char)bracket);
}

void json_key(struct buf *out, const char *key)
{
	json_word(out, key);
	buf_put_u8(out, ':');
}

static void put_escaped(struct buf *out, uint8_t byte)
{
	char text[8];

	if (byte == '"' || byte == '\\')
		snprintf(text, sizeof text, "\\%c", byte);
	else if (byte == '\n')
		snprintf(text, sizeof text, "\\n");
	else
		snprintf(text, sizeof text, "\\u%04x", byte);
	buf_put(out, text, strlen(text));
}

void json_text(struct buf *out, const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;

	comma(out);
	buf_put_u8(out, '"');
	while (at < end) {
		size_t n = utf8_char(at, (size_t)(end - at));

		if (n == 0)
			buf_put(out, "\xef\xbf\xbd", 3);
		else if (n == 1 && (*at < 0x20 || *at == '"' || *at == '\\' || *at == 0x7f))
			put_escaped(out, *at);
		else
			buf_put(out, at, n);
		at += n > 0 ? n : 1;
	}
	buf_put_u8(out, '"');
}

void json_word(struct buf *out, const char *text)
{
	if (text == NULL)
		json_null(out);
	else
		json_text(out, text, strlen(text));
}

void json_uint(struct buf *out, uint64_t value)
{
	char text[24];

	comma(out);
	buf_put(out, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value));
}

void json_bool(struct buf *out, bool value)
{
	comma(out);
	buf_put(out, value ? "true" : "false", value ? 4 : 5);
}

void json_null(struct buf *out)
{
	comma(out);
	buf_put(out, "null", 4);
}

void json_put_uint(struct buf *out, const char *key, uint64_t value)
{
	json_key(out, key);
	json_uint(out, value);
}

void json_put_word(struct buf *out, const char *key, const char *text)
{
	json_key(out, key);
	json_word(out, text);
}
