/* ctl_ask.c - a verb and its arguments, made into the term of a request. */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool take_number(const char *text, size_t len, uint64_t *n)
{
	char copy[24], *end;

	if (len == 0 || len >= sizeof copy || strspn(text, "0123456789") < len)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	errno = 0;
	*n = strtoull(copy, &end, 10);
	return errno == 0;
}

static bool wrong(const struct ctl_args *a, const char *found, const char *expected, char *error,
		  size_t size)
{
	snprintf(error, size, "%s: found \"%.60s\", expected %s", a->verb->name, found, expected);
	return false;
}

static bool put_number(const struct ctl_args *a, struct buf *out, char *error, size_t size)
{
	uint64_t n;

	if (!take_number(a->arg[0], strlen(a->arg[0]), &n))
		return wrong(a, a->arg[0], "a number", error, size);
	term_put_uint(out, n);
	return true;
}

static bool put_size(const struct ctl_args *a, struct buf *out, char *error, size_t size)
{
	const char *text = a->arg[0], *dots = strstr(text, "..");
	uint64_t least, most;

	if (dots == NULL)
		return put_number(a, out, error, size);
	if (!take_number(text, (size_t)(dots - text), &least) ||
	    !take_number(dots + 2, strlen(dots + 2), &most))
		return wrong(a, text, "N or MIN..MAX", error, size);
	term_put_tuple(out, 2);
	term_put_uint(out, least);
	term_put_uint(out, most);
	return true;
}

static bool is_json(const char *text)
{
	struct buf term = { 0 };
	char error[160];
	bool ok = ctl_json_parse(text, &term, error, sizeof error);

	buf_free(&term);
	return ok;
}

/* The length of NAME in NAME=ARG, as Python has names; 0: it is none. */
static size_t name_len(const char *text)
{
	size_t len =
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");

	return text[len] == '=' && (text[0] < '0' || text[0] > '9') ? len : 0;
}

/* {call, M, F, Args, #{kwargs => #{...}, timeout => ...}} */
static bool put_call(const struct ctl_args *a, struct buf *out, char *error, size_t size)
{
	uint32_t named = 0, plain;
	bool ok = true;

	for (unsigned i = 2; i < a->count; i++)
		named += name_len(a->arg[i]) > 0 ? 1 : 0;
	plain = a->count - 2 - named;
	term_put_tuple(out, 5);
	term_put_atom(out, "call");
	term_put_text(out, a->arg[0]);
	term_put_text(out, a->arg[1]);
	term_put_list(out, plain);
	for (unsigned i = 2; ok && i < a->count; i++)
		if (name_len(a->arg[i]) == 0)
			ok = ctl_json_parse(a->arg[i], out, error, size);
	if (plain > 0)
		term_put_nil(out);
	term_put_map(out, a->has_timeout ? 2 : 1);
	term_put_atom(out, "kwargs");
	term_put_map(out, named);
	for (unsigned i = 2; ok && i < a->count; i++) {
		size_t len = name_len(a->arg[i]);

		if (len == 0)
			continue;
		term_put_binary(out, a->arg[i], len);
		ok = ctl_json_parse(a->arg[i] + len + 1, out, error, size);
	}
	if (a->has_timeout) {
		term_put_atom(out, "timeout");
		term_put_uint(out, a->timeout_ms);
	}
	return ok;
}

/* {set, Option, Value}: what is JSON is that, all else is a text. */
static bool put_set(const struct ctl_args *a, struct buf *out, char *error, size_t size)
{
	char option[128];
	size_t len = 0;

	for (const char *at = a->arg[0]; *at != '\0' && len + 1 < sizeof option; at++)
		option[len++] = (char)(*at == '-' ? '_' : *at);
	if (len == 0 || len + 1 >= sizeof option)
		return wrong(a, a->arg[0], "the name of an option", error, size);
	term_put_tuple(out, 3);
	term_put_atom(out, "set");
	term_put_binary(out, option, len);
	if (is_json(a->arg[1]))
		return ctl_json_parse(a->arg[1], out, error, size);
	term_put_text(out, a->arg[1]);
	return true;
}

static bool put_word(const struct ctl_args *a, const char *word, struct buf *out, char *error,
		     size_t size)
{
	if (strcmp(a->arg[0], word) != 0)
		return wrong(a, a->arg[0], word, error, size);
	term_put_atom(out, word);
	return true;
}

bool ctl_ask_put(const struct ctl_args *a, struct buf *out, char *error, size_t size)
{
	const char *name = request_verb_name(a->verb->verb);

	switch (a->verb->shape) {
	case SHAPE_CALL:
		return put_call(a, out, error, size);
	case SHAPE_SET:
		return put_set(a, out, error, size);
	default:
		break;
	}
	if (a->count > 0 || a->verb->shape == SHAPE_FOLLOW)
		term_put_tuple(out, 2);
	term_put_atom(out, name);
	if (a->verb->shape == SHAPE_FOLLOW)
		term_put_atom(out, a->verb->name);
	if (a->count == 0)
		return true;
	switch (a->verb->shape) {
	case SHAPE_RELOAD:
		return put_word(a, "config", out, error, size);
	case SHAPE_PING:
		return put_word(a, "worker", out, error, size);
	case SHAPE_RESIZE:
		return put_size(a, out, error, size);
	case SHAPE_SESSION:
		return ctl_json_parse(a->arg[0], out, error, size);
	default:
		return put_number(a, out, error, size);
	}
}
