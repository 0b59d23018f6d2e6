/* request_options.c - the options of calls, streams, batches and checkouts: one row each.
 *
 * A row says for which verbs an option is, how its value is taken, and in words what is expected. An
 * option that no row allows, or a value of another form, is {bad_option, Key, Expected}. */
#include "request_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

/* The word's place among `count` names. */
static bool take_word(const uint8_t *t, const char *const *names, unsigned count, unsigned *at)
{
	for (*at = 0; *at < count; (*at)++)
		if (term_is_atom(t, names[*at]))
			return true;
	return false;
}

static bool take_timeout(const uint8_t *t, struct request *out)
{
	return take_ms(t, false, &out->timeout_ms);
}

static bool take_queue_timeout(const uint8_t *t, struct request *out)
{
	return take_ms(t, true, &out->queue_timeout_ms);
}

static bool take_priority(const uint8_t *t, struct request *out)
{
	static const char *const names[PRIORITIES] = { "high", "normal", "low" };
	unsigned at;

	if (!take_word(t, names, PRIORITIES, &at))
		return false;
	out->priority = (enum pool_priority)at;
	return true;
}

static bool take_kwargs(const uint8_t *t, struct request *out)
{
	out->kwargs = t;
	return term_kind(t) == TERM_MAP;
}

static bool take_retry(const uint8_t *t, struct request *out)
{
	int64_t n;

	if (!term_int(t, &n) || n < 0 || n > REQUEST_RETRY_MAX)
		return false;
	out->retry = (unsigned)n;
	return true;
}

static bool take_strings(const uint8_t *t, struct request *out)
{
	out->strings_utf8 = term_is_atom(t, "utf8");
	return out->strings_utf8 || term_is_atom(t, "bytes");
}

static bool take_traceparent(const uint8_t *t, struct request *out)
{
	struct span *text = &out->traceparent;

	return term_binary(t, text) && text->len > 0 && text->len <= 512 &&
	       term_utf8(text->at, text->len); /* a str in Python */
}

bool request_take_session(const uint8_t *t, struct request *out)
{
	out->session = t;
	return term_span(t).len <= REQUEST_TERM_MAX;
}

static bool take_session(const uint8_t *t, struct request *out)
{
	return out->session == NULL && request_take_session(t, out);
}

static bool take_session_mode(const uint8_t *t, struct request *out)
{
	static const char *const names[] = { "strict", "hint", "fail_fast" };
	unsigned at;

	if (!take_word(t, names, 3, &at))
		return false;
	out->session_mode = (enum pool_session_mode)at;
	return true;
}

static bool take_owner(const uint8_t *t, struct request *out)
{
	out->has_owner = term_pid(t, &out->owner);
	return out->has_owner;
}

static bool take_demand(const uint8_t *t, struct request *out)
{
	int64_t n;

	if (!term_int(t, &n) || n < 0 || n > REQUEST_DEMAND_MAX)
		return false;
	out->demand = (uint32_t)n;
	return true;
}

static bool take_progress(const uint8_t *t, struct request *out)
{
	out->progress = t;
	return term_span(t).len <= REQUEST_TERM_MAX;
}

enum {
	CALLS = 1u << VERB_CALL,
	STREAMS = 1u << VERB_STREAM,
	BATCHES = 1u << VERB_BATCH,
	CHECKOUTS = 1u << VERB_CHECKOUT,
	RUNS = CALLS | STREAMS | BATCHES,
	ALL = RUNS | CHECKOUTS,
};

static const struct row {
	const char *name;
	unsigned verbs;
	bool (*take)(const uint8_t *t, struct request *out);
	const char *expected;
} rows[] = {
	{ "timeout", ALL, take_timeout, "a positive integer of milliseconds, or infinity" },
	{ "queue_timeout", ALL, take_queue_timeout,
	  "a non-negative integer of milliseconds, or infinity" },
	{ "kwargs", CALLS | STREAMS, take_kwargs, "a map of keyword arguments" },
	{ "session", ALL, take_session,
	  "a term of at most 1024 bytes, once: the name of the session" },
	{ "session_mode", ALL, take_session_mode, "strict, hint or fail_fast" },
	{ "owner", ALL, take_owner, "a pid: the session ends with it" },
	{ "priority", ALL, take_priority, "high, normal or low" },
	{ "retry", RUNS, take_retry, "an integer from 0 to 100" },
	{ "strings", RUNS, take_strings, "utf8 or bytes" },
	{ "traceparent", RUNS, take_traceparent, "a binary of 1 to 512 bytes in UTF-8" },
	{ "demand", STREAMS, take_demand,
	  "an integer from 0 to 1000000: items before the first ask" },
	{ "progress", RUNS, take_progress, "a term of at most 1024 bytes: the tag of the reports" },
};

static int bad_option(struct buf *reason, const uint8_t *key, const char *expected)
{
	term_put_tuple(reason, 3);
	term_put_atom(reason, "bad_option");
	term_put_raw(reason, term_span(key));
	term_put_text(reason, expected);
	return reason->err != 0 ? reason->err : -EINVAL;
}

/* No such option: which ones there are. */
static int unknown_option(struct buf *reason, const uint8_t *key, enum request_verb verb)
{
	const char *what = verb == VERB_CALL     ? "call"
			   : verb == VERB_STREAM ? "stream"
			   : verb == VERB_BATCH  ? "batch"
						 : "checkout";
	char expected[256];
	size_t len = (size_t)snprintf(expected, sizeof expected, "an option of %s:", what);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].verbs & 1u << verb)
			len += (size_t)snprintf(expected + len, sizeof expected - len, "%s %s",
						expected[len - 1] == ':' ? "" : ",", rows[i].name);
	return bad_option(reason, key, expected);
}

/* `seen` has a bit for each row that was given already. Of an option that is given twice the first counts, as
 * in OTP (`[{timeout, 500} | Defaults]`); the others must be right, too. */
static int take_option(const uint8_t *key, const uint8_t *value, unsigned *seen,
		       struct request *out, struct buf *reason)
{
	struct request unused;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if ((rows[i].verbs & 1u << out->verb) == 0 || !term_is_atom(key, rows[i].name))
			continue;
		if (*seen & 1u << i) {
			unused = *out;
			out = &unused;
		}
		*seen |= 1u << i;
		return rows[i].take(value, out) ? 0 : bad_option(reason, key, rows[i].expected);
	}
	return unknown_option(reason, key, out->verb);
}

/* Every option, from a map or a keyword list. */
static int take_all(const uint8_t *opts, struct request *out, struct buf *reason)
{
	static const char form[] = "options as a map or a keyword list";
	const uint8_t *at, *pair;
	uint32_t count, arity;
	unsigned seen = 0;
	int rc;

	if (term_map(opts, &count, &at)) {
		while (count-- > 0) {
			const uint8_t *value = term_skip(at);

			if ((rc = take_option(at, value, &seen, out, reason)) != 0)
				return rc;
			at = term_skip(value);
		}
		return 0;
	}
	if (!term_list(opts, &count, &at))
		return request_bad(reason, form);
	while (count-- > 0) {
		if (!term_tuple(at, &arity, &pair) || arity != 2)
			return request_bad(reason, form);
		if ((rc = take_option(pair, term_skip(pair), &seen, out, reason)) != 0)
			return rc;
		at = term_skip(at);
	}
	return at == NULL || term_kind(at) == TERM_NIL ? 0 : request_bad(reason, form);
}

int request_take_options(const uint8_t *opts, struct request *out, struct buf *reason)
{
	int rc = take_all(opts, out, reason);

	if (rc != 0 || !out->has_owner || out->session != NULL)
		return rc;
	term_put_tuple(reason, 3);
	term_put_atom(reason, "bad_option");
	term_put_atom(reason, "owner");
	term_put_text(reason, "an owner only together with a session, which ends with it");
	return reason->err != 0 ? reason->err : -EINVAL;
}
