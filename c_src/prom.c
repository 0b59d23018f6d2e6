/* prom.c - metrics as Prometheus reads them; see prom.h. */
#include "prom.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(struct buf *out, const char *text)
{
	buf_put(out, text, strlen(text));
}

static void put_number(struct buf *out, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	put(out, text);
}

/* Without zeroes at its end. */
static void put_millionths(struct buf *out, uint64_t micro)
{
	char text[16];
	size_t len = 7;

	put_number(out, micro / 1000000);
	snprintf(text, sizeof text, ".%06u", (unsigned)(micro % 1000000));
	while (len > 1 && text[len - 1] == '0')
		len--;
	if (len > 1)
		buf_put(out, text, len);
}

/* In a label's value `\`, `"` and a new line are written with a backslash. */
static void put_value(struct buf *out, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			put(out, "\\n");
			continue;
		}
		if (*value == '\\' || *value == '"')
			buf_put_u8(out, '\\');
		buf_put_u8(out, (unsigned char)*value);
	}
}

/* `le`: one more label, behind the others; NULL: none. */
static void put_labels(struct buf *out, va_list labels, const char *le)
{
	const char *name, *open = "{";

	while ((name = va_arg(labels, const char *)) != NULL) {
		put(out, open);
		put(out, name);
		put(out, "=\"");
		put_value(out, va_arg(labels, const char *));
		put(out, "\"");
		open = ",";
	}
	if (le != NULL) {
		put(out, open);
		put(out, "le=\"");
		put(out, le);
		put(out, "\"");
	}
	if (le != NULL || open[0] == ',')
		put(out, "}");
	put(out, " ");
}

void prom_family(struct buf *out, const char *name, const char *type, const char *help)
{
	put(out, "# HELP ");
	put(out, name);
	put(out, " ");
	put(out, help);
	put(out, "\n# TYPE ");
	put(out, name);
	put(out, " ");
	put(out, type);
	put(out, "\n");
}

void prom_uint(struct buf *out, const char *name, uint64_t value, ...)
{
	va_list labels;

	put(out, name);
	va_start(labels, value);
	put_labels(out, labels, NULL);
	va_end(labels);
	put_number(out, value);
	put(out, "\n");
}

void prom_micro(struct buf *out, const char *name, uint64_t micro, ...)
{
	va_list labels;

	put(out, name);
	va_start(labels, micro);
	put_labels(out, labels, NULL);
	va_end(labels);
	put_millionths(out, micro);
	put(out, "\n");
}

static void put_bucket(struct buf *out, const char *name, va_list labels, const char *le,
		       uint64_t count)
{
	va_list copy;

	put(out, name);
	put(out, "_bucket");
	va_copy(copy, labels);
	put_labels(out, copy, le);
	va_end(copy);
	put_number(out, count);
	put(out, "\n");
}

/* The text of 2^exponent, in its unit. */
static void bound(char text[32], enum prom_unit unit, unsigned exponent)
{
	struct buf out = { .data = (uint8_t *)text, .cap = 31 };
	uint64_t value = UINT64_C(1) << exponent;

	if (unit == PROM_SECONDS)
		put_millionths(&out, value);
	else
		put_number(&out, value);
	text[out.len] = '\0';
}

void prom_histogram(struct buf *out, const char *name, const struct histogram *h,
		    enum prom_unit unit, ...)
{
	unsigned last = unit == PROM_SECONDS ? 27 : 30, stride = unit == PROM_SECONDS ? 1 : 2;
	va_list labels, copy;
	char le[32];

	va_start(labels, unit);
	for (unsigned exponent = 6; exponent <= last; exponent += stride) {
		bound(le, unit, exponent);
		put_bucket(out, name, labels, le, histogram_below(h, exponent));
	}
	put_bucket(out, name, labels, "+Inf", h->count);
	put(out, name);
	put(out, "_sum");
	va_copy(copy, labels);
	put_labels(out, copy, NULL);
	va_end(copy);
	if (unit == PROM_SECONDS)
		put_millionths(out, h->sum);
	else
		put_number(out, h->sum);
	put(out, "\n");
	put(out, name);
	put(out, "_count");
	va_copy(copy, labels);
	put_labels(out, copy, NULL);
	va_end(copy);
	put_number(out, h->count);
	put(out, "\n");
	va_end(labels);
}
