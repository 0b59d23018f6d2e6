/* ctl_reason.c - what the node answers to what it does not do, in words. One row a Reason; what no row knows
 * is shown as JSON. */
#include "ctl.h"

/* In a text, $1 to $3 stand for the elements after the name, ~ for milliseconds of the first. */
static const struct row {
	const char *name;
	unsigned elements;
	const char *text;
} rows[] = {
	{ "forbidden", 2, "this connection may not `$1`: that needs the role $2" },
	{ "unknown_request", 1, "the node does not know `$1`: it is of another version" },
	{ "bad_request", 1, "the node expected: $1" },
	{ "bad_option", 2, "$1: expected $2" },
	{ "restart_needed", 1, "$1 is read at the start only: the node must be restarted" },
	{ "bad_config", 1, "$1" },
	{ "no_worker", 1, "there is no worker $1" },
	{ "no_request", 1, "there is no request $1" },
	{ "no_session", 1, "there is no session $1" },
	{ "no_pool", 1, "there is no pool $1" },
	{ "no_function", 2, "there is no function $1.$2" },
	{ "not_allowed", 2, "$1.$2 may not be called here: see the option `allow`" },
	{ "start_failed", 1, "the workers cannot be started: $1" },
	{ "circuit_open", 1, "workers keep failing to start; the next attempt is in ~" },
	{ "unencodable", 2, "$1: $2 has no form on the other side" },
	{ "too_deep", 1, "nested deeper than $1 levels" },
	{ "session_lost", 1, "the worker of session $1 is gone" },
	{ "session_busy", 1, "session $1 is busy" },
	{ "draining", 0, "the node drains: it takes no new requests" },
	{ "paused", 0, "the pool is paused" },
	{ "resumed", 0, "resumed before the last request had ended" },
	{ "cancelled", 0, "cancelled" },
	{ "no_memory", 0, "the node has no memory for that" },
	{ "not_owner", 0, "that belongs to somebody else" },
	{ "lease_closed", 0, "the lease has ended" },
};

static const uint8_t *element(const uint8_t *tuple, unsigned n)
{
	const uint8_t *at;
	uint32_t arity;

	if (!term_tuple(tuple, &arity, &at) || n >= arity)
		return NULL;
	while (n-- > 0)
		at = term_skip(at);
	return at;
}

/* As term_show(), but lines stay. */
static void put_text(struct buf *out, const uint8_t *term)
{
	struct span text;

	if (term != NULL && term_binary(term, &text))
		text_safe(out, text.at, text.len, true);
	else
		term_show(out, term);
}

static void put_row(const struct row *row, const uint8_t *reason, struct buf *out)
{
	int64_t n;

	for (const char *at = row->text; *at != '\0'; at++) {
		if (*at == '$')
			put_text(out, element(reason, (unsigned)(*++at - '0')));
		else if (*at == '~' && element(reason, 1) != NULL &&
			 term_int(element(reason, 1), &n) && n >= 0)
			text_ms(out, (uint64_t)n);
		else
			buf_put_u8(out, (uint8_t)*at);
	}
}

/* {python, #{type, message, traceback}} */
static void put_python(const uint8_t *map, struct buf *out)
{
	const uint8_t *traceback = term_map_get(map, "traceback");
	struct span text;

	if (traceback == NULL || !term_binary(traceback, &text) || text.len == 0) {
		put_text(out, term_map_get(map, "type"));
		text_put(out, ": ");
		put_text(out, term_map_get(map, "message"));
		return;
	}
	put_text(out, traceback); /* its last line is type and message */
	while (out->len > 0 && out->data[out->len - 1] == '\n')
		out->len--;
}

/* {worker_exit, #{worker, exit, stderr}} */
static void put_exit(const uint8_t *map, struct buf *out)
{
	const uint8_t *how = term_map_get(map, "exit");

	text_put(out, "worker ");
	term_show(out, term_map_get(map, "worker"));
	text_put(out, " died in the call: ");
	put_text(out, element(how, 0));
	text_put(out, " ");
	put_text(out, element(how, 1));
	if (term_map_get(map, "stderr") != NULL) {
		text_put(out, "\n");
		put_text(out, term_map_get(map, "stderr"));
		while (out->len > 0 && out->data[out->len - 1] == '\n')
			out->len--;
	}
}

void ctl_reason_put(const uint8_t *reason, struct buf *out)
{
	const uint8_t *at = NULL, *first;
	uint32_t arity = 1;

	first = term_tuple(reason, &arity, &at) && arity > 0 ? at : reason;
	if (arity == 2 && term_is_atom(first, "python")) {
		put_python(element(reason, 1), out);
		return;
	}
	if (arity == 2 && term_is_atom(first, "worker_exit")) {
		put_exit(element(reason, 1), out);
		return;
	}
	if (arity == 2 && term_is_atom(first, "timeout")) {
		text_put(out, term_is_atom(element(reason, 1), "queue")
				      ? "no worker came free in time"
				      : "it ran out of time");
		return;
	}
	if (arity == 2 && term_is_atom(first, "overloaded")) {
		text_put(out, "the queue is full: %llu wait",
			 (unsigned long long)term_map_uint(element(reason, 1), "queued"));
		return;
	}
	if (arity == 3 && term_is_atom(first, "too_large")) {
		text_put(out, "found ");
		term_show(out, element(reason, 1));
		text_put(out, " bytes, at most ");
		term_show(out, element(reason, 2));
		text_put(out, " are taken");
		return;
	}
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (term_is_atom(first, rows[i].name) && arity == rows[i].elements + 1) {
			put_row(&rows[i], reason, out);
			return;
		}
	put_text(out, reason);
}
