/* request.c - requests, parsed; see request.h.
 *
 * One row a verb: its name, where it may be said, its arities, its parser. What no row names is
 * unknown_request; a row with the wrong shape is bad_request with the shape that was expected. */
#include "request.h"

#include <errno.h>
#include <string.h>

/* ---- the outside ---- */

/* Finds what a tag holds: [alias | Ref], [[alias | Ref] | _], or a bare reference. */
static void look_at_tag(const uint8_t *tag, struct envelope *out)
{
	const uint8_t *first;
	uint32_t count;

	if (term_kind(tag) == TERM_REF) {
		out->ref = term_span(tag);
		return;
	}
	if (term_kind(tag) != TERM_LIST || !term_list(tag, &count, &first) || count != 1)
		return;
	if (term_kind(first) == TERM_LIST) {
		tag = first;
		if (!term_list(tag, &count, &first) || count != 1)
			return;
	}
	if (term_is_atom(first, "alias") && term_kind(term_skip(first)) == TERM_REF)
		out->alias = out->ref = term_span(term_skip(first));
}

void request_open(const uint8_t *message, struct envelope *out)
{
	const uint8_t *e, *from;
	uint32_t arity, from_arity;

	*out = (struct envelope){ .kind = ENVELOPE_OTHER };
	if (!term_tuple(message, &arity, &e))
		return;
	if (arity == 2 && term_is_atom(e, "$gen_cast")) {
		out->kind = ENVELOPE_CAST;
		out->request = term_skip(e);
		return;
	}
	if (arity != 3 || !term_is_atom(e, "$gen_call"))
		return;
	e = term_skip(e);
	if (!term_tuple(e, &from_arity, &from) || from_arity != 2 || !term_pid(from, &out->from))
		return;
	out->kind = ENVELOPE_CALL;
	out->tag = term_span(term_skip(from));
	look_at_tag(out->tag.at, out);
	out->request = term_skip(e);
}

bool request_open_head(const uint8_t *head, size_t len, struct envelope *out)
{
	const uint8_t *at = head, *end = head + len;
	size_t used;

	*out = (struct envelope){ .kind = ENVELOPE_OTHER };
	/* SMALL_TUPLE of 3, then two whole terms: the atom and {From, Tag} */
	if (len < 2 || at[0] != 104 || at[1] != 3)
		return false;
	at += 2;
	if (term_check(at, (size_t)(end - at), &used) != 0 || !term_is_atom(at, "$gen_call"))
		return false;
	at += used;
	if (term_check(at, (size_t)(end - at), &used) != 0)
		return false;
	{
		const uint8_t *from;
		uint32_t arity;

		if (!term_tuple(at, &arity, &from) || arity != 2 || !term_pid(from, &out->from))
			return false;
		out->tag = term_span(term_skip(from));
	}
	look_at_tag(out->tag.at, out);
	out->kind = ENVELOPE_CALL;
	return true;
}

/* ---- reasons ---- */

void request_put_bad(struct buf *reason, const char *expected)
{
	term_put_tuple(reason, 2);
	term_put_atom(reason, "bad_request");
	term_put_text(reason, expected);
}

static int bad(struct buf *reason, const char *expected)
{
	request_put_bad(reason, expected);
	return reason->err != 0 ? reason->err : -EINVAL;
}

static int bad_option(struct buf *reason, const uint8_t *key, const char *expected)
{
	term_put_tuple(reason, 3);
	term_put_atom(reason, "bad_option");
	term_put_raw(reason, term_span(key));
	term_put_text(reason, expected);
	return reason->err != 0 ? reason->err : -EINVAL;
}

static int unknown(struct buf *reason, const uint8_t *name)
{
	term_put_tuple(reason, 2);
	term_put_atom(reason, "unknown_request");
	term_put_raw(reason, term_span(name));
	return reason->err != 0 ? reason->err : -EINVAL;
}

/* ---- options ---- */

/* The name of a module or a function: an atom or a UTF-8 binary, not empty. */
static bool take_name(const uint8_t *t, struct span *text)
{
	if (!term_binary(t, text) && !term_atom(t, text, NULL))
		return false;
	return text->len > 0 && text->len <= REQUEST_NAME_MAX && term_utf8(text->at, text->len) &&
	       memchr(text->at, 0, text->len) == NULL;
}

static bool take_ms(const uint8_t *t, bool zero, uint64_t *ms)
{
	int64_t n;

	if (term_is_atom(t, "infinity")) {
		*ms = REQUEST_INFINITY;
		return true;
	}
	/* 2^40 ms are 34 years: nothing overflows when a time is added */
	if (!term_int(t, &n) || n < (zero ? 0 : 1) || n > INT64_C(1) << 40)
		return false;
	*ms = (uint64_t)n;
	return true;
}

static bool take_priority(const uint8_t *t, enum pool_priority *priority)
{
	static const char *const names[PRIORITIES] = { "high", "normal", "low" };

	for (unsigned i = 0; i < PRIORITIES; i++) {
		if (term_is_atom(t, names[i])) {
			*priority = (enum pool_priority)i;
			return true;
		}
	}
	return false;
}

static int take_option(const uint8_t *key, const uint8_t *value, bool is_call, struct request *out,
		       struct buf *reason)
{
	int64_t n;

	if (term_is_atom(key, "timeout"))
		return take_ms(value, false, &out->timeout_ms)
			       ? 0
			       : bad_option(reason, key,
					    "a positive integer of milliseconds, or infinity");
	if (term_is_atom(key, "queue_timeout"))
		return take_ms(value, true, &out->queue_timeout_ms)
			       ? 0
			       : bad_option(reason, key,
					    "a non-negative integer of milliseconds, or infinity");
	if (term_is_atom(key, "priority"))
		return take_priority(value, &out->priority)
			       ? 0
			       : bad_option(reason, key, "high, normal or low");
	if (!is_call)
		return bad_option(reason, key,
				  "an option of checkout: timeout, queue_timeout, priority");
	if (term_is_atom(key, "kwargs")) {
		out->kwargs = value;
		return term_kind(value) == TERM_MAP
			       ? 0
			       : bad_option(reason, key, "a map of keyword arguments");
	}
	if (term_is_atom(key, "retry")) {
		if (!term_int(value, &n) || n < 0 || n > REQUEST_RETRY_MAX)
			return bad_option(reason, key, "an integer from 0 to 100");
		out->retry = (unsigned)n;
		return 0;
	}
	if (term_is_atom(key, "strings")) {
		out->strings_utf8 = term_is_atom(value, "utf8");
		return out->strings_utf8 || term_is_atom(value, "bytes")
			       ? 0
			       : bad_option(reason, key, "utf8 or bytes");
	}
	if (term_is_atom(key, "traceparent")) {
		if (!term_binary(value, &out->traceparent) || out->traceparent.len == 0 ||
		    out->traceparent.len > 512)
			return bad_option(reason, key, "a binary of 1 to 512 bytes");
		return 0;
	}
	return bad_option(reason, key,
			  "an option of call: timeout, queue_timeout, kwargs, priority, "
			  "retry, strings, traceparent");
}

/* A map or a keyword list. */
static int take_options(const uint8_t *opts, bool is_call, struct request *out, struct buf *reason)
{
	const uint8_t *at, *pair;
	uint32_t count, arity;
	int rc;

	if (term_map(opts, &count, &at)) {
		while (count-- > 0) {
			const uint8_t *value = term_skip(at);

			if ((rc = take_option(at, value, is_call, out, reason)) != 0)
				return rc;
			at = term_skip(value);
		}
		return 0;
	}
	if (!term_list(opts, &count, &at))
		return bad(reason, "options as a map or a keyword list");
	while (count-- > 0) {
		if (!term_tuple(at, &arity, &pair) || arity != 2)
			return bad(reason, "options as a map or a keyword list");
		if ((rc = take_option(pair, term_skip(pair), is_call, out, reason)) != 0)
			return rc;
		at = term_skip(at);
	}
	return at == NULL || term_kind(at) == TERM_NIL
		       ? 0
		       : bad(reason, "options as a map or a keyword list");
}

/* ---- verbs ---- */

/* A list that ends in []. Its tail may be written as a list again. */
static bool is_proper_list(const uint8_t *t)
{
	const uint8_t *at;
	uint32_t count;

	while (term_kind(t) == TERM_LIST && term_list(t, &count, &at)) {
		while (count-- > 0)
			at = term_skip(at);
		t = at;
	}
	return term_kind(t) == TERM_NIL || term_kind(t) == TERM_STRING;
}

static int parse_call(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	static const char expected[] =
		"{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
		"Module and Function atoms or UTF-8 binaries, Args a list";

	out->module_term = e;
	out->function_term = term_skip(e);
	out->args = term_skip(out->function_term);
	if (!take_name(out->module_term, &out->module) ||
	    !take_name(out->function_term, &out->function))
		return bad(reason, expected);
	if (!is_proper_list(out->args))
		return bad(reason, expected);
	return arity == 5 ? take_options(term_skip(out->args), true, out, reason) : 0;
}

static int parse_checkout(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	if (!term_is_atom(e, "anonymous")) {
		term_put_tuple(reason, 2);
		term_put_atom(reason, "invalid_checkout_type");
		term_put_raw(reason, term_span(e));
		return reason->err != 0 ? reason->err : -EINVAL;
	}
	return arity == 3 ? take_options(term_skip(e), false, out, reason) : 0;
}

static int parse_give_away(const uint8_t *e, uint32_t arity, struct request *out,
			   struct buf *reason)
{
	(void)arity;
	return term_pid(e, &out->to) ? 0 : bad(reason, "{give_away, Pid}");
}

static int parse_ping(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	if (arity == 1)
		return 0;
	out->verb = VERB_PING_WORKER;
	return term_is_atom(e, "worker") ? 0 : bad(reason, "ping or {ping, worker}");
}

static int parse_await(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	int64_t n;

	if (arity == 1)
		return 0;
	if (!term_int(e, &n) || n < 0)
		return bad(reason, "await_ready or {await_ready, N}, N a non-negative integer");
	out->has_count = true;
	out->count = (uint64_t)n;
	return 0;
}

/* `e` is the first element after the name, NULL if there is none. Arity 1 is the bare atom. */
typedef int (*parser)(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);

static const struct row {
	const char *name, *expected;
	enum request_verb verb;
	unsigned targets;
	uint32_t min_arity, max_arity;
	parser parse; /* NULL: nothing more to it */
} rows[] = {
	{ "call", "{call, Module, Function, Args} or {call, Module, Function, Args, Opts}",
	  VERB_CALL, TARGET_POOL | TARGET_LEASE, 4, 5, parse_call },
	{ "checkout", "{checkout, Type} or {checkout, Type, Opts}", VERB_CHECKOUT, TARGET_POOL, 2,
	  3, parse_checkout },
	{ "checkin", "checkin", VERB_CHECKIN, TARGET_LEASE, 1, 1, NULL },
	{ "give_away", "{give_away, Pid}", VERB_GIVE_AWAY, TARGET_LEASE, 2, 2, parse_give_away },
	{ "ping", "ping or {ping, worker}", VERB_PING, TARGET_NODE | TARGET_POOL | TARGET_LEASE, 1,
	  2, parse_ping },
	{ "await_ready", "await_ready or {await_ready, N}", VERB_AWAIT_READY,
	  TARGET_NODE | TARGET_POOL, 1, 2, parse_await },
	{ "status", "status", VERB_STATUS, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "workers", "workers", VERB_WORKERS, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "stop", "stop", VERB_STOP, TARGET_NODE, 1, 1, NULL },
};

int request_parse(const uint8_t *term, enum request_target target,
		  const struct request_defaults *defaults, struct request *out, struct buf *reason)
{
	const uint8_t *name = term;
	uint32_t arity = 1;

	*out = (struct request){ .timeout_ms = defaults->timeout_ms,
				 .queue_timeout_ms = defaults->queue_timeout_ms,
				 .strings_utf8 = defaults->strings_utf8,
				 .priority = PRIORITY_NORMAL };
	if (term_kind(term) == TERM_TUPLE && (!term_tuple(term, &arity, &name) || arity == 0))
		return bad(reason, "an atom, or a tuple that begins with one");
	if (term_kind(name) != TERM_ATOM)
		return bad(reason, "an atom, or a tuple that begins with one");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *row = &rows[i];

		if (!term_is_atom(name, row->name) || (row->targets & target) == 0)
			continue;
		if (arity < row->min_arity || arity > row->max_arity ||
		    (arity == 1 && term_kind(term) == TERM_TUPLE))
			return bad(reason, row->expected);
		out->verb = row->verb;
		return row->parse == NULL
			       ? 0
			       : row->parse(arity > 1 ? term_skip(name) : NULL, arity, out, reason);
	}
	return unknown(reason, name);
}
