/* request.c - requests, parsed; see request.h.
 *
 * One row a verb: its name, where it may be said, its arities, its parser. What no row names is
 * unknown_request; a row with the wrong shape is bad_request with the shape that was expected. */
#include "request_private.h"

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

struct span request_alias(const uint8_t *tag)
{
	struct envelope env = { 0 };

	look_at_tag(tag, &env);
	return env.alias;
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

int request_bad(struct buf *reason, const char *expected)
{
	request_put_bad(reason, expected);
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
bool request_take_name(const uint8_t *t, struct span *text)
{
	if (!term_binary(t, text) && !term_atom(t, text, NULL))
		return false;
	return text->len > 0 && text->len <= REQUEST_NAME_MAX && term_utf8(text->at, text->len) &&
	       memchr(text->at, 0, text->len) == NULL;
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

/* M, F, Args from `e` on. */
static bool take_mfa(const uint8_t *e, struct request *out)
{
	out->module_term = e;
	out->function_term = term_skip(e);
	out->args = term_skip(out->function_term);
	return request_take_name(out->module_term, &out->module) &&
	       request_take_name(out->function_term, &out->function) && is_proper_list(out->args);
}

bool request_parse_mfa(const uint8_t *term, struct request *out)
{
	const uint8_t *e;
	uint32_t arity;

	return term_tuple(term, &arity, &e) && arity == 3 && take_mfa(e, out);
}

static int parse_call(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	static const char expected[] =
		"{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
		"Module and Function atoms or UTF-8 binaries, Args a list";
	static const char stream[] =
		"{stream, Module, Function, Args} or {stream, Module, Function, Args, Opts}: "
		"Module and Function atoms or UTF-8 binaries, Args a list";

	if (!take_mfa(e, out))
		return request_bad(reason, out->verb == VERB_STREAM ? stream : expected);
	return arity == 5 ? request_take_options(term_skip(out->args), out, reason) : 0;
}

static int parse_batch(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	static const char expected[] =
		"{batch, Calls} or {batch, Calls, Opts}: Calls a list of 1 to 10000 "
		"{Module, Function, Args}";
	const uint8_t *at;
	uint32_t count;

	out->calls = e;
	if (!is_proper_list(e) || term_kind(e) != TERM_LIST || !term_list(e, &count, &at) ||
	    count == 0 || count > REQUEST_BATCH_MAX)
		return request_bad(reason, expected);
	for (; count > 0; count--, at = term_skip(at))
		if (!request_parse_mfa(at, out))
			return request_bad(reason, expected);
	if (term_kind(at) != TERM_NIL) /* written in several pieces: nobody does */
		return request_bad(reason, expected);
	return arity == 3 ? request_take_options(term_skip(e), out, reason) : 0;
}

static int parse_checkout(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	const uint8_t *session;
	uint32_t pair;

	if (term_tuple(e, &pair, &session) && pair == 2 && term_is_atom(session, "session")) {
		if (!request_take_session(term_skip(session), out))
			return request_bad(reason,
					   "{session, Id}, Id a term of at most 1024 bytes");
	} else if (!term_is_atom(e, "anonymous")) {
		term_put_tuple(reason, 2);
		term_put_atom(reason, "invalid_checkout_type");
		term_put_raw(reason, term_span(e));
		return reason->err != 0 ? reason->err : -EINVAL;
	}
	return arity == 3 ? request_take_options(term_skip(e), out, reason) : 0;
}

static int parse_end_session(const uint8_t *e, uint32_t arity, struct request *out,
			     struct buf *reason)
{
	(void)arity;
	return request_take_session(e, out)
		       ? 0
		       : request_bad(reason, "{end_session, Id}, Id a term of at most 1024 bytes");
}

static int parse_give_away(const uint8_t *e, uint32_t arity, struct request *out,
			   struct buf *reason)
{
	(void)arity;
	return term_pid(e, &out->to) ? 0 : request_bad(reason, "{give_away, Pid}");
}

static const struct row {
	const char *name, *expected;
	enum request_role role; /* who may say it */
	enum request_verb verb;
	unsigned targets;
	uint32_t min_arity, max_arity;
	request_parser parse; /* NULL: nothing more to it */
} rows[] = {
	{ "call", "{call, Module, Function, Args} or {call, Module, Function, Args, Opts}",
	  ROLE_USE, VERB_CALL, TARGET_POOL | TARGET_LEASE, 4, 5, parse_call },
	{ "stream", "{stream, Module, Function, Args} or {stream, Module, Function, Args, Opts}",
	  ROLE_USE, VERB_STREAM, TARGET_POOL | TARGET_LEASE, 4, 5, parse_call },
	{ "batch", "{batch, Calls} or {batch, Calls, Opts}", ROLE_USE, VERB_BATCH,
	  TARGET_POOL | TARGET_LEASE, 2, 3, parse_batch },
	{ "checkout", "{checkout, Type} or {checkout, Type, Opts}", ROLE_USE, VERB_CHECKOUT,
	  TARGET_POOL, 2, 3, parse_checkout },
	{ "checkin", "checkin", ROLE_USE, VERB_CHECKIN, TARGET_LEASE, 1, 1, NULL },
	{ "give_away", "{give_away, Pid}", ROLE_USE, VERB_GIVE_AWAY, TARGET_LEASE, 2, 2,
	  parse_give_away },
	{ "ping", "ping or {ping, worker}", ROLE_USE, VERB_PING,
	  TARGET_NODE | TARGET_POOL | TARGET_LEASE, 1, 2, request_parse_ping },
	{ "ping", "ping", ROLE_USE, VERB_PING, TARGET_STREAM, 1, 1, NULL },
	{ "await_ready", "await_ready or {await_ready, N}", ROLE_USE, VERB_AWAIT_READY,
	  TARGET_NODE | TARGET_POOL, 1, 2, request_parse_await },
	{ "status", "status", ROLE_WATCH, VERB_STATUS, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "workers", "workers", ROLE_WATCH, VERB_WORKERS, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "sessions", "sessions", ROLE_WATCH, VERB_SESSIONS, TARGET_NODE | TARGET_POOL, 1, 1,
	  NULL },
	{ "end_session", "{end_session, Id}", ROLE_USE, VERB_END_SESSION, TARGET_NODE | TARGET_POOL,
	  2, 2, parse_end_session },
	{ "pools", "pools", ROLE_WATCH, VERB_POOLS, TARGET_NODE, 1, 1, NULL },
	{ "peers", "peers", ROLE_WATCH, VERB_PEERS, TARGET_NODE, 1, 1, NULL },
	{ "requests", "requests or {requests, Max}", ROLE_WATCH, VERB_REQUESTS,
	  TARGET_NODE | TARGET_POOL, 1, 2, request_parse_requests },
	{ "cancel", "{cancel, Id}", ROLE_ADMIN, VERB_CANCEL, TARGET_NODE | TARGET_POOL, 2, 2,
	  request_parse_cancel },
	{ "config", "config", ROLE_WATCH, VERB_CONFIG, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "set", "{set, Option, Value}", ROLE_ADMIN, VERB_SET, TARGET_NODE | TARGET_POOL, 3, 3,
	  request_parse_set },
	{ "subscribe", "{subscribe, Topics}", ROLE_WATCH, VERB_SUBSCRIBE, TARGET_NODE | TARGET_POOL,
	  2, 2, request_parse_subscribe },
	{ "unsubscribe", "unsubscribe", ROLE_WATCH, VERB_UNSUBSCRIBE, TARGET_NODE | TARGET_POOL, 1,
	  1, NULL },
	{ "resize", "{resize, N} or {resize, {Min, Max}}", ROLE_ADMIN, VERB_RESIZE,
	  TARGET_NODE | TARGET_POOL, 2, 2, request_parse_resize },
	{ "pause", "pause", ROLE_ADMIN, VERB_PAUSE, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "resume", "resume", ROLE_ADMIN, VERB_RESUME, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "drain", "drain", ROLE_ADMIN, VERB_DRAIN, TARGET_NODE | TARGET_POOL, 1, 1, NULL },
	{ "reload", "reload or {reload, config}", ROLE_ADMIN, VERB_RELOAD, TARGET_NODE, 1, 2,
	  request_parse_reload },
	{ "reload", "reload", ROLE_ADMIN, VERB_RELOAD, TARGET_POOL, 1, 1, NULL },
	{ "recycle", "{recycle, Worker}", ROLE_ADMIN, VERB_RECYCLE, TARGET_NODE | TARGET_POOL, 2, 2,
	  request_parse_worker },
	{ "kill", "{kill, Worker}", ROLE_ADMIN, VERB_KILL, TARGET_NODE | TARGET_POOL, 2, 2,
	  request_parse_worker },
	{ "stop", "stop", ROLE_ADMIN, VERB_STOP, TARGET_NODE, 1, 1, NULL },
};

static const struct row *row_of(enum request_verb verb)
{
	verb = verb == VERB_PING_WORKER     ? VERB_PING
	       : verb == VERB_RELOAD_CONFIG ? VERB_RELOAD
					    : verb;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].verb == verb)
			return &rows[i];
	return NULL;
}

const char *request_verb_name(enum request_verb verb)
{
	const struct row *row = row_of(verb);

	return row != NULL ? row->name : "";
}

enum request_role request_verb_role(enum request_verb verb)
{
	const struct row *row = row_of(verb);

	return row != NULL ? row->role : ROLE_ADMIN;
}

const char *request_role_name(enum request_role role)
{
	static const char *const names[] = { "use", "watch", "admin" };

	return names[role];
}

static void set_defaults(const struct request_defaults *defaults, struct request *out)
{
	*out = (struct request){ .timeout_ms = defaults->timeout_ms,
				 .queue_timeout_ms = defaults->queue_timeout_ms,
				 .strings_utf8 = defaults->strings_utf8,
				 .session_mode = defaults->session_mode,
				 .demand = REQUEST_DEMAND,
				 .priority = PRIORITY_NORMAL };
}

int request_plain_call(const uint8_t *mfa, const struct request_defaults *defaults,
		       struct request *out)
{
	const uint8_t *function = term_skip(mfa);

	set_defaults(defaults, out);
	out->verb = VERB_CALL;
	if (term_kind(mfa) != TERM_ATOM || term_kind(function) != TERM_ATOM ||
	    !is_proper_list(term_skip(function)))
		return -EINVAL;
	return take_mfa(mfa, out) ? 0 : -ENOENT;
}

int request_parse(const uint8_t *term, enum request_target target,
		  const struct request_defaults *defaults, struct request *out, struct buf *reason)
{
	const uint8_t *name = term;
	uint32_t arity = 1;

	set_defaults(defaults, out);
	out->target = target;
	if (term_kind(term) == TERM_TUPLE && (!term_tuple(term, &arity, &name) || arity == 0))
		return request_bad(reason, "an atom, or a tuple that begins with one");
	if (term_kind(name) != TERM_ATOM)
		return request_bad(reason, "an atom, or a tuple that begins with one");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *row = &rows[i];

		if (!term_is_atom(name, row->name) || (row->targets & target) == 0)
			continue;
		if (arity < row->min_arity || arity > row->max_arity ||
		    (arity == 1 && term_kind(term) == TERM_TUPLE))
			return request_bad(reason, row->expected);
		out->verb = row->verb;
		return row->parse == NULL
			       ? 0
			       : row->parse(arity > 1 ? term_skip(name) : NULL, arity, out, reason);
	}
	return unknown(reason, name);
}
