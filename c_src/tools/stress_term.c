/* stress_term.c - terms for people, and keys of maps. */
#include "stress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
	char *at;
	size_t room;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->at, t->room, fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= t->room)
		n = (int)t->room - 1;
	t->at += n;
	t->room -= (size_t)n;
}

static const uint8_t *put_term(struct text *t, const uint8_t *term, unsigned depth);

static const uint8_t *put_all(struct text *t, const char *open, const uint8_t *at, uint32_t count,
			      const char *close, unsigned depth)
{
	put(t, "%s", open);
	for (uint32_t i = 0; i < count && t->room > 1; i++) {
		if (i > 0)
			put(t, ", ");
		at = put_term(t, at, depth + 1);
	}
	put(t, "%s", close);
	return at;
}

/* Binaries that are not text are said by their length. */
static void put_binary(struct text *t, struct span b)
{
	bool printable = b.len <= 200;

	for (size_t i = 0; i < b.len && printable; i++)
		printable = b.at[i] >= 0x20 && b.at[i] < 0x7f;
	if (printable)
		put(t, "\"%.*s\"", (int)b.len, (const char *)b.at);
	else
		put(t, "<<%zu bytes>>", b.len);
}

static const uint8_t *put_term(struct text *t, const uint8_t *term, unsigned depth)
{
	const uint8_t *at;
	struct term_pid pid;
	struct span s;
	uint32_t count;
	int64_t n;
	double d;

	if (depth > 8)
		put(t, "...");
	else if (term_int(term, &n))
		put(t, "%" PRId64, n);
	else if (term_float(term, &d))
		put(t, "%g", d);
	else if (term_atom(term, &s, NULL))
		put(t, "%.*s", (int)s.len, (const char *)s.at);
	else if (term_binary(term, &s))
		put_binary(t, s);
	else if (term_pid(term, &pid))
		put(t, "<%.*s %u.%u>", pid.node_len, pid.node, pid.id, pid.serial);
	else if (term_tuple(term, &count, &at))
		put_all(t, "{", at, count, "}", depth);
	else if (term_list(term, &count, &at))
		put_all(t, "[", at, count, "]", depth);
	else if (term_map(term, &count, &at))
		put_all(t, "#{", at, 2 * count, "}", depth);
	else
		put(t, "(a term of tag %u)", term[0]);
	return term_skip(term);
}

void term_print(const uint8_t *term, char *text, size_t size)
{
	struct text t = { text, size };

	text[0] = '\0';
	(void)put_term(&t, term, 0);
}
