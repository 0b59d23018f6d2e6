/* check_request.c - the sentences of the protocol: which are understood, and what is said of the others.
 *
 * Terms are written as text and encoded by ei; reasons are decoded and printed by ei. */
#include "request.h"
#include "suite.h"
#include "term_tags.h"

#include <check.h>
#include <ei.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct request_defaults defaults = { .timeout_ms = 60000,
						  .queue_timeout_ms = REQUEST_INFINITY,
						  .strings_utf8 = true };

/* An encoded term, on the heap at its exact size, so that a sanitizer sees a read past its end. */
static uint8_t *given_term(const char *text, size_t *len)
{
	ei_x_buff x;
	uint8_t *copy;

	ei_x_new(&x);
	ck_assert_msg(ei_x_format_wo_ver(&x, text) == 0, "ei cannot read %s", text);
	copy = malloc((size_t)x.index);
	memcpy(copy, x.buff, (size_t)x.index);
	*len = (size_t)x.index;
	ei_x_free(&x);
	return copy;
}

/* The text of an encoded reason: a tuple of atoms, integers, terms, and binaries as <<text>>. */
static char *printed(const struct buf *reason)
{
	static char text[1024];
	const uint8_t *e;
	uint32_t arity;
	size_t n = 0;

	ck_assert_int_eq(reason->err, 0);
	ck_assert_int_eq(term_check(reason->data, reason->len, NULL), 0);
	ck_assert(term_tuple(reason->data, &arity, &e));
	for (uint32_t i = 0; i < arity; i++, e = term_skip(e)) {
		struct span bytes;
		int index = (int)(e - reason->data);
		char *part = NULL;

		if (term_binary(e, &bytes)) {
			n += (size_t)snprintf(text + n, sizeof text - n, "%s<<%.*s>>",
					      i > 0 ? ", " : "{", (int)bytes.len,
					      (const char *)bytes.at);
			continue;
		}
		ck_assert_int_ge(ei_s_print_term(&part, (char *)reason->data, &index), 0);
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i > 0 ? ", " : "{", part);
		free(part);
	}
	return text;
}

static const struct good {
	const char *text;
	enum request_target target;
	enum request_verb verb;
} goods[] = {
	{ "{call, math, sqrt, [2]}", TARGET_POOL, VERB_CALL },
	{ "{call, math, sqrt, [2]}", TARGET_LEASE, VERB_CALL },
	{ "{call, math, sqrt, []}", TARGET_POOL, VERB_CALL },
	{ "{call, math, sqrt, \"a string is a list of bytes\"}", TARGET_POOL, VERB_CALL },
	{ "{call, math, sqrt, [], []}", TARGET_POOL, VERB_CALL },
	{ "{call, math, sqrt, [], [{timeout, 1}, {priority, high}]}", TARGET_POOL, VERB_CALL },
	{ "{checkout, anonymous}", TARGET_POOL, VERB_CHECKOUT },
	{ "{checkout, anonymous, [{queue_timeout, 0}]}", TARGET_POOL, VERB_CHECKOUT },
	{ "checkin", TARGET_LEASE, VERB_CHECKIN },
	{ "ping", TARGET_POOL, VERB_PING },
	{ "ping", TARGET_NODE, VERB_PING },
	{ "ping", TARGET_LEASE, VERB_PING },
	{ "ping", TARGET_STREAM, VERB_PING },
	{ "{ping, worker}", TARGET_POOL, VERB_PING_WORKER },
	{ "await_ready", TARGET_POOL, VERB_AWAIT_READY },
	{ "{await_ready, 0}", TARGET_NODE, VERB_AWAIT_READY },
	{ "status", TARGET_POOL, VERB_STATUS },
	{ "workers", TARGET_NODE, VERB_WORKERS },
	{ "stop", TARGET_NODE, VERB_STOP },
	{ "{resize, 1}", TARGET_POOL, VERB_RESIZE },
	{ "{resize, 1024}", TARGET_NODE, VERB_RESIZE },
	{ "pause", TARGET_POOL, VERB_PAUSE },
	{ "resume", TARGET_NODE, VERB_RESUME },
	{ "drain", TARGET_POOL, VERB_DRAIN },
	{ "reload", TARGET_NODE, VERB_RELOAD },
	{ "{recycle, 7}", TARGET_POOL, VERB_RECYCLE },
	{ "{kill, 0}", TARGET_NODE, VERB_KILL },
	{ "{end_session, a}", TARGET_NODE, VERB_END_SESSION },
	{ "{resize, {1, 1024}}", TARGET_POOL, VERB_RESIZE },
	{ "{resize, {3, 3}}", TARGET_NODE, VERB_RESIZE },
	{ "{reload, config}", TARGET_NODE, VERB_RELOAD_CONFIG },
	{ "pools", TARGET_NODE, VERB_POOLS },
	{ "peers", TARGET_NODE, VERB_PEERS },
	{ "requests", TARGET_NODE, VERB_REQUESTS },
	{ "{requests, 1}", TARGET_POOL, VERB_REQUESTS },
	{ "{requests, 1000}", TARGET_NODE, VERB_REQUESTS },
	{ "{cancel, 0}", TARGET_NODE, VERB_CANCEL },
	{ "{cancel, 77}", TARGET_POOL, VERB_CANCEL },
	{ "config", TARGET_NODE, VERB_CONFIG },
	{ "{set, size, 4}", TARGET_POOL, VERB_SET },
	{ "{set, log_level, debug}", TARGET_NODE, VERB_SET },
	{ "{subscribe, log}", TARGET_NODE, VERB_SUBSCRIBE },
	{ "{subscribe, [log, events]}", TARGET_POOL, VERB_SUBSCRIBE },
	{ "{subscribe, all}", TARGET_NODE, VERB_SUBSCRIBE },
	{ "unsubscribe", TARGET_NODE, VERB_UNSUBSCRIBE },
};

START_TEST(a_request_is_understood_where_it_may_be_said)
{
	const struct good *row = &goods[_i];
	struct buf reason = { 0 };
	struct request req;
	size_t len;
	uint8_t *term = given_term(row->text, &len);

	ck_assert_msg(request_parse(term, row->target, &defaults, &req, &reason) == 0,
		      "%s: refused", row->text);
	ck_assert_msg(req.verb == row->verb, "%s: taken for verb %d", row->text, req.verb);
	ck_assert_uint_eq(reason.len, 0);
	free(term);
}
END_TEST

static const struct bad {
	const char *text;
	enum request_target target;
	const char *reason;
} bads[] = {
	{ "nonsense", TARGET_POOL, "{unknown_request, nonsense" },
	{ "{nonsense, 1, 2}", TARGET_POOL, "{unknown_request, nonsense" },
	{ "stop", TARGET_POOL, "{unknown_request, stop" },
	{ "checkin", TARGET_POOL, "{unknown_request, checkin" },
	{ "{call, math, sqrt, []}", TARGET_NODE, "{unknown_request, call" },
	{ "{stream, math, sqrt, []}", TARGET_NODE, "{unknown_request, stream" },
	{ "17", TARGET_POOL, "{bad_request, <<an atom, or a tuple that begins with one" },
	{ "{}", TARGET_POOL, "{bad_request, <<an atom, or a tuple that begins with one" },
	{ "{17, call}", TARGET_POOL, "{bad_request, <<an atom, or a tuple that begins with one" },
	{ "[call]", TARGET_POOL, "{bad_request, <<an atom, or a tuple that begins with one" },
	{ "call", TARGET_POOL, "{bad_request, <<{call, Module, Function, Args} or" },
	{ "{call}", TARGET_POOL, "{bad_request, <<{call, Module, Function, Args} or" },
	{ "{call, math, sqrt}", TARGET_POOL, "{bad_request, <<{call, Module, Function, Args} or" },
	{ "{call, math, sqrt, [], [], []}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or" },
	{ "{call, 1, sqrt, []}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
	  "Module and" },
	{ "{call, math, \"sqrt\", []}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
	  "Module and" },
	{ "{call, math, sqrt, 2}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
	  "Module and" },
	{ "{call, math, sqrt, [4|5]}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
	  "Module and" },
	{ "{call, math, sqrt, {}}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
	  "Module and" },
	{ "{call, '', sqrt, []}", TARGET_POOL,
	  "{bad_request, <<{call, Module, Function, Args} or {call, Module, Function, Args, Opts}: "
	  "Module and" },
	{ "{call, math, sqrt, [], 1}", TARGET_POOL,
	  "{bad_request, <<options as a map or a keyword list" },
	{ "{call, math, sqrt, [], [timeout]}", TARGET_POOL,
	  "{bad_request, <<options as a map or a keyword list" },
	{ "{call, math, sqrt, [], [{timeout, 1, 2}]}", TARGET_POOL,
	  "{bad_request, <<options as a map or a keyword list" },
	{ "{call, math, sqrt, [], [{timeout, 0}]}", TARGET_POOL,
	  "{bad_option, timeout, <<a positive integer of milliseconds, or infinity" },
	{ "{call, math, sqrt, [], [{timeout, soon}]}", TARGET_POOL,
	  "{bad_option, timeout, <<a positive integer of milliseconds, or infinity" },
	{ "{call, math, sqrt, [], [{queue_timeout, -1}]}", TARGET_POOL,
	  "{bad_option, queue_timeout, <<a non-negative integer of milliseconds, or infinity" },
	{ "{call, math, sqrt, [], [{priority, urgent}]}", TARGET_POOL,
	  "{bad_option, priority, <<high, normal or low" },
	{ "{call, math, sqrt, [], [{kwargs, []}]}", TARGET_POOL,
	  "{bad_option, kwargs, <<a map of keyword arguments" },
	{ "{call, math, sqrt, [], [{retry, 101}]}", TARGET_POOL,
	  "{bad_option, retry, <<an integer from 0 to 100" },
	{ "{call, math, sqrt, [], [{retry, 1}, {retry, 101}]}", TARGET_POOL,
	  "{bad_option, retry, <<an integer from 0 to 100" },
	{ "{call, math, sqrt, [], [{strings, latin1}]}", TARGET_POOL,
	  "{bad_option, strings, <<utf8 or bytes" },
	{ "{call, math, sqrt, [], [{traceparent, x}]}", TARGET_POOL,
	  "{bad_option, traceparent, <<a binary of 1 to 512 bytes in UTF-8" },
	{ "{call, math, sqrt, [], [{colour, red}]}", TARGET_POOL,
	  "{bad_option, colour, <<an option of call:" },
	{ "{call, math, sqrt, [], [{retry, 1}|2]}", TARGET_POOL,
	  "{bad_request, <<options as a map or a keyword list" },
	{ "{call, math, sqrt, [], [{17, red}]}", TARGET_POOL,
	  "{bad_option, 17, <<an option of call:" },
	{ "{call, math, sqrt, [], [{session, a}, {session, b}]}", TARGET_POOL,
	  "{bad_option, session, <<a term of at most 1024 bytes, once" },
	{ "{call, math, sqrt, [], [{session, a}, {session_mode, loose}]}", TARGET_POOL,
	  "{bad_option, session_mode, <<strict, hint or fail_fast" },
	{ "{call, math, sqrt, [], [{session, a}, {owner, me}]}", TARGET_POOL,
	  "{bad_option, owner, <<a pid: the session ends with it" },
	{ "{checkout, {session, a}, [{session, a}]}", TARGET_POOL,
	  "{bad_option, session, <<a term of at most 1024 bytes, once" },
	{ "{end_session}", TARGET_POOL, "{bad_request, <<{end_session, Id}" },
	{ "{sessions, a}", TARGET_POOL, "{bad_request, <<sessions" },
	{ "{batch, []}", TARGET_POOL, "{bad_request, <<{batch, Calls} or {batch, Calls, Opts}:" },
	{ "{batch, [{math, sqrt}]}", TARGET_POOL, "{bad_request, <<{batch, Calls} or" },
	{ "{batch, [{math, sqrt, [2]}, sqrt]}", TARGET_POOL, "{bad_request, <<{batch, Calls} or" },
	{ "{batch, [{math, sqrt, [2]}|sqrt]}", TARGET_LEASE, "{bad_request, <<{batch, Calls} or" },
	{ "{batch, \"ab\"}", TARGET_POOL, "{bad_request, <<{batch, Calls} or" },
	{ "{batch, [{math, sqrt, [2]}], [{kwargs, 1}]}", TARGET_POOL,
	  "{bad_option, kwargs, <<an option of batch:" },
	{ "{batch, [{math, sqrt, [2]}]}", TARGET_NODE, "{unknown_request, batch" },
	{ "{checkout, forever}", TARGET_POOL, "{invalid_checkout_type, forever" },
	{ "{checkout, {session}}", TARGET_POOL, "{invalid_checkout_type, {session}" },
	{ "{checkout, anonymous, [{kwargs, 1}]}", TARGET_POOL,
	  "{bad_option, kwargs, <<an option of checkout:" },
	{ "checkout", TARGET_POOL, "{bad_request, <<{checkout, Type} or {checkout, Type, Opts}" },
	{ "{give_away, nobody}", TARGET_LEASE, "{bad_request, <<{give_away, Pid}" },
	{ "{checkin, 1}", TARGET_LEASE, "{bad_request, <<checkin" },
	{ "{checkin}", TARGET_LEASE, "{bad_request, <<checkin" },
	{ "{ping, worker}", TARGET_STREAM, "{bad_request, <<ping" },
	{ "{call, math, sqrt, [2]}", TARGET_STREAM, "{unknown_request, call" },
	{ "checkin", TARGET_STREAM, "{unknown_request, checkin" },
	{ "{ping, node}", TARGET_POOL, "{bad_request, <<ping or {ping, worker}" },
	{ "{await_ready, many}", TARGET_POOL, "{bad_request, <<await_ready or {await_ready, N}" },
	{ "{await_ready, -1}", TARGET_POOL, "{bad_request, <<await_ready or {await_ready, N}" },
	{ "{resize, 0}", TARGET_POOL,
	  "{bad_request, <<{resize, N} or {resize, {Min, Max}}, from 1 to 1024" },
	{ "{resize, 1025}", TARGET_POOL,
	  "{bad_request, <<{resize, N} or {resize, {Min, Max}}, from 1 to 1024" },
	{ "{resize, all}", TARGET_POOL,
	  "{bad_request, <<{resize, N} or {resize, {Min, Max}}, from 1 to 1024" },
	{ "resize", TARGET_POOL, "{bad_request, <<{resize, N}" },
	{ "{pause, 1}", TARGET_POOL, "{bad_request, <<pause" },
	{ "drain", TARGET_LEASE, "{unknown_request, drain" },
	{ "{recycle, -1}", TARGET_POOL, "{bad_request, <<{recycle, Worker}, Worker the id of one" },
	{ "{recycle, all}", TARGET_POOL,
	  "{bad_request, <<{recycle, Worker}, Worker the id of one" },
	{ "{kill, me}", TARGET_POOL, "{bad_request, <<{kill, Worker}, Worker the id of one" },
	{ "kill", TARGET_POOL, "{bad_request, <<{kill, Worker}" },
	{ "{resize, {0, 4}}", TARGET_POOL, "{bad_request, <<{resize, N} or {resize, {Min, Max}}" },
	{ "{resize, {4, 3}}", TARGET_POOL, "{bad_request, <<{resize, N} or {resize, {Min, Max}}" },
	{ "{resize, {4, 1025}}", TARGET_POOL, "{bad_request, <<{resize, N} or" },
	{ "{resize, {4, 5, 6}}", TARGET_POOL, "{bad_request, <<{resize, N} or" },
	{ "{reload, code}", TARGET_NODE, "{bad_request, <<reload or {reload, config}" },
	{ "{reload, config}", TARGET_POOL, "{bad_request, <<reload>>" },
	{ "pools", TARGET_POOL, "{unknown_request, pools" },
	{ "{peers, 1}", TARGET_NODE, "{bad_request, <<peers" },
	{ "{requests, 0}", TARGET_NODE, "{bad_request, <<requests or {requests, Max}, Max from" },
	{ "{requests, 1001}", TARGET_NODE, "{bad_request, <<requests or {requests, Max}, Max" },
	{ "{cancel, -1}", TARGET_NODE, "{bad_request, <<{cancel, Id}, Id the id of a request" },
	{ "{cancel, all}", TARGET_NODE, "{bad_request, <<{cancel, Id}, Id the id of a request" },
	{ "cancel", TARGET_POOL, "{bad_request, <<{cancel, Id}" },
	{ "{config, a}", TARGET_POOL, "{bad_request, <<config" },
	{ "{set, size}", TARGET_POOL, "{bad_request, <<{set, Option, Value}" },
	{ "{set, 7, 8}", TARGET_POOL, "{bad_request, <<{set, Option, Value}: Option an atom or" },
	{ "{subscribe, news}", TARGET_NODE, "{bad_request, <<{subscribe, Topics}: log, events" },
	{ "{subscribe, []}", TARGET_NODE, "{bad_request, <<{subscribe, Topics}: log, events" },
	{ "{subscribe, [log, 1]}", TARGET_NODE, "{bad_request, <<{subscribe, Topics}: log" },
	{ "subscribe", TARGET_NODE, "{bad_request, <<{subscribe, Topics}" },
	{ "pause", TARGET_LEASE, "{unknown_request, pause" },
};

START_TEST(a_wrong_request_is_told_what_was_expected)
{
	const struct bad *row = &bads[_i];
	struct buf reason = { 0 };
	struct request req;
	size_t len;
	uint8_t *term = given_term(row->text, &len);
	char *text;

	ck_assert_msg(request_parse(term, row->target, &defaults, &req, &reason) < 0,
		      "%s: accepted", row->text);
	text = printed(&reason);
	ck_assert_msg(strncmp(text, row->reason, strlen(row->reason)) == 0,
		      "%s: %s instead of %s...", row->text, text, row->reason);
	buf_free(&reason);
	free(term);
}
END_TEST

START_TEST(every_verb_has_the_name_that_it_is_asked_by)
{
	for (unsigned verb = 0; verb < REQUEST_VERBS; verb++)
		ck_assert_msg(request_verb_name((enum request_verb)verb)[0] != '\0', "verb %u",
			      verb);
	ck_assert_str_eq(request_verb_name(VERB_PING_WORKER), "ping");
	ck_assert_str_eq(request_verb_name(VERB_RELOAD_CONFIG), "reload");
	ck_assert_str_eq(request_verb_name(VERB_SET), "set");
}
END_TEST

START_TEST(what_operators_say_is_kept)
{
	static const struct {
		const char *text;
		uint64_t count, least;
		unsigned topics;
	} rows[] = {
		{ "{resize, 5}", 5, 5, 0 },
		{ "{resize, {2, 8}}", 8, 2, 0 },
		{ "requests", REQUEST_LIST_MAX, 0, 0 },
		{ "{requests, 12}", 12, 0, 0 },
		{ "{cancel, 4711}", 4711, 0, 0 },
		{ "{subscribe, log}", 0, 0, REQUEST_TOPIC_LOG },
		{ "{subscribe, [events]}", 0, 0, REQUEST_TOPIC_EVENTS },
		{ "{subscribe, all}", 0, 0, REQUEST_TOPIC_LOG | REQUEST_TOPIC_EVENTS },
		{ "{subscribe, [log, events]}", 0, 0, REQUEST_TOPIC_LOG | REQUEST_TOPIC_EVENTS },
	};
	struct buf reason = { 0 };
	struct request req;
	uint8_t *term;
	size_t len;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		term = given_term(rows[i].text, &len);
		ck_assert_int_eq(request_parse(term, TARGET_NODE, &defaults, &req, &reason), 0);
		ck_assert_msg(req.count == rows[i].count, "%s", rows[i].text);
		ck_assert_msg(req.least == rows[i].least, "%s", rows[i].text);
		ck_assert_msg(req.topics == rows[i].topics, "%s", rows[i].text);
		ck_assert_int_eq(req.target, TARGET_NODE);
		free(term);
	}
	term = given_term("{set, call_timeout, {a, 1}}", &len);
	ck_assert_int_eq(request_parse(term, TARGET_POOL, &defaults, &req, &reason), 0);
	ck_assert_uint_eq(req.option.len, strlen("call_timeout"));
	ck_assert_mem_eq(req.option.at, "call_timeout", req.option.len);
	ck_assert_int_eq(term_kind(req.value), TERM_TUPLE);
	ck_assert_int_eq(req.target, TARGET_POOL);
	free(term);
}
END_TEST

START_TEST(topics_are_a_proper_list)
{
	struct buf term = { 0 }, reason = { 0 };
	struct request req;

	term_put_tuple(&term, 2);
	term_put_atom(&term, "subscribe");
	term_put_list(&term, 1);
	term_put_atom(&term, "log");
	term_put_atom(&term, "log"); /* where [] should be */
	ck_assert_int_eq(request_parse(term.data, TARGET_NODE, &defaults, &req, &reason), -EINVAL);
	buf_free(&reason);
	buf_free(&term);
}
END_TEST

/* [] is NIL_EXT as every BEAM writes it; a LIST_EXT of no elements means the same. */
START_TEST(an_empty_list_is_empty_however_it_is_written)
{
	static const uint8_t empty[] = { TAG_LIST, 0, 0, 0, 0, TAG_NIL };
	static const char *const verbs[] = { "batch", "subscribe" };

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		struct buf term = { 0 }, reason = { 0 };
		struct request req;

		term_put_tuple(&term, 2);
		term_put_atom(&term, verbs[i]);
		term_put_raw(&term, (struct span){ empty, sizeof empty });
		ck_assert_msg(request_parse(term.data, TARGET_POOL, &defaults, &req, &reason) ==
				      -EINVAL,
			      "%s", verbs[i]);
		ck_assert_msg(strncmp(printed(&reason), "{bad_request, ", 14) == 0, "%s",
			      verbs[i]);
		buf_free(&reason);
		buf_free(&term);
	}
}
END_TEST

START_TEST(a_plain_call_is_two_atoms_and_a_list)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {
		{ "{math, sqrt, [2]}", 0 },       { "{'os.path', 'join.x', []}", 0 },
		{ "{math, sqrt, \"bytes\"}", 0 }, { "{math, sqrt, none}", -EINVAL },
		{ "{math, 1, []}", -EINVAL },     { "{\"math\", sqrt, []}", -EINVAL },
		{ "{'', sqrt, []}", -ENOENT },    { "{math, '', []}", -ENOENT },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req;
		const uint8_t *mfa;
		uint32_t arity;
		size_t len;
		uint8_t *term = given_term(rows[i].text, &len);

		ck_assert(term_tuple(term, &arity, &mfa));
		ck_assert_msg(request_plain_call(mfa, &defaults, &req) == rows[i].rc, "%s",
			      rows[i].text);
		ck_assert_int_eq(req.verb, VERB_CALL);
		ck_assert_uint_eq(req.timeout_ms, 60000);
		ck_assert(req.kwargs == NULL && req.session == NULL);
		free(term);
	}
}
END_TEST

START_TEST(a_wrong_option_in_a_map_is_told_as_one_in_a_list)
{
	struct buf term = { 0 }, reason = { 0 };
	struct request req;

	term_put_tuple(&term, 3);
	term_put_atom(&term, "checkout");
	term_put_atom(&term, "anonymous");
	term_put_map(&term, 2);
	term_put_atom(&term, "timeout");
	term_put_int(&term, 1);
	term_put_atom(&term, "priority");
	term_put_int(&term, 2);
	ck_assert_int_eq(request_parse(term.data, TARGET_POOL, &defaults, &req, &reason), -EINVAL);
	ck_assert_str_eq(printed(&reason), "{bad_option, priority, <<high, normal or low>>");
	buf_free(&reason);
	buf_free(&term);
}
END_TEST

START_TEST(the_head_of_a_message_of_another_shape_is_no_call)
{
	static const char *const texts[] = { "{'$gen_call', from, ping}",
					     "{'$gen_call', {1, 2}, ping}",
					     "{'$gen_cast', ping, 1}", "{a, b}", "[a]" };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct envelope head;
		size_t len;
		uint8_t *term = given_term(texts[i], &len);

		ck_assert_msg(!request_open_head(term, len, &head), "%s", texts[i]);
		ck_assert_int_eq(head.kind, ENVELOPE_OTHER);
		free(term);
	}
}
END_TEST

START_TEST(options_fill_the_request_and_defaults_the_rest)
{
	struct buf term = { 0 }, reason = { 0 };
	struct request req;

	term_put_tuple(&term, 5);
	term_put_atom(&term, "call");
	term_put_text(&term, "my_app.models");
	term_put_atom(&term, "Model.predict");
	term_put_nil(&term);
	term_put_map(&term, 6);
	term_put_atom(&term, "timeout");
	term_put_atom(&term, "infinity");
	term_put_atom(&term, "priority");
	term_put_atom(&term, "low");
	term_put_atom(&term, "kwargs");
	term_put_map(&term, 0);
	term_put_atom(&term, "retry");
	term_put_int(&term, 3);
	term_put_atom(&term, "strings");
	term_put_atom(&term, "bytes");
	term_put_atom(&term, "traceparent");
	term_put_text(&term, "00-ab-cd-01");
	ck_assert_int_eq(request_parse(term.data, TARGET_POOL, &defaults, &req, &reason), 0);
	ck_assert_uint_eq(req.module.len, strlen("my_app.models"));
	ck_assert_int_eq(memcmp(req.function.at, "Model.predict", req.function.len), 0);
	ck_assert(req.timeout_ms == REQUEST_INFINITY && req.queue_timeout_ms == REQUEST_INFINITY);
	ck_assert_int_eq(req.priority, PRIORITY_LOW);
	ck_assert_int_eq(req.retry, 3);
	ck_assert(!req.strings_utf8);
	ck_assert_ptr_nonnull(req.kwargs);
	ck_assert_uint_eq(req.traceparent.len, 11);
	buf_free(&term);
}
END_TEST

START_TEST(of_an_option_that_is_given_twice_the_first_counts)
{
	struct buf reason = { 0 };
	struct request req;
	size_t len;
	uint8_t *term = given_term("{call, math, sqrt, [], [{timeout, 7}, {priority, low}, "
				   "{timeout, infinity}, {priority, high}, {retry, 1}, {retry, 2}]}",
				   &len);

	ck_assert_int_eq(request_parse(term, TARGET_POOL, &defaults, &req, &reason), 0);
	ck_assert_uint_eq(req.timeout_ms, 7);
	ck_assert_int_eq(req.priority, PRIORITY_LOW);
	ck_assert_int_eq(req.retry, 1);
	free(term);
}
END_TEST

/* A call whose options are `session` (a binary of so many bytes; 0: none) and an owner. */
static int parse_owned(size_t session_bytes, struct request *req, struct buf *reason)
{
	struct term_pid owner = { .node = "a@b", .node_len = 3, .id = 7 };
	struct buf term = { 0 };
	char id[2048] = { 0 };
	int rc;

	term_put_tuple(&term, 3);
	term_put_atom(&term, "checkout");
	term_put_atom(&term, "anonymous");
	term_put_map(&term, session_bytes > 0 ? 3 : 1);
	term_put_atom(&term, "owner");
	term_put_pid(&term, &owner);
	if (session_bytes > 0) {
		term_put_atom(&term, "session_mode");
		term_put_atom(&term, "hint");
		term_put_atom(&term, "session");
		term_put_binary(&term, id, session_bytes - 5);
	}
	rc = request_parse(term.data, TARGET_POOL, &defaults, req, reason);
	buf_free(&term);
	return rc;
}

START_TEST(a_session_has_a_short_name_and_an_owner_has_a_session)
{
	struct buf reason = { 0 };
	struct request req;

	ck_assert_int_eq(parse_owned(1024, &req, &reason), 0);
	ck_assert_ptr_nonnull(req.session);
	ck_assert_int_eq(req.session_mode, SESSION_HINT);
	ck_assert(req.has_owner && req.owner.id == 7);
	ck_assert_int_eq(parse_owned(1025, &req, &reason), -EINVAL);
	ck_assert_str_eq(printed(&reason), "{bad_option, session, <<a term of at most 1024 bytes, "
					   "once: the name of the session>>");
	buf_reset(&reason, 0);
	ck_assert_int_eq(parse_owned(0, &req, &reason), -EINVAL);
	ck_assert_str_eq(printed(&reason), "{bad_option, owner, <<an owner only together with a "
					   "session, which ends with it>>");
	buf_free(&reason);
}
END_TEST

/* {'$gen_call', {From, Tag}, ping}, the tag appended by `tag`. */
static void put_call(struct buf *b, void (*tag)(struct buf *))
{
	struct term_pid from = {
		.node = "a@b", .node_len = 3, .id = 7, .serial = 8, .creation = 9
	};

	term_put_tuple(b, 3);
	term_put_atom(b, "$gen_call");
	term_put_tuple(b, 2);
	term_put_pid(b, &from);
	tag(b);
	term_put_atom(b, "ping");
}

static void put_ref(struct buf *b)
{
	term_put_ref(b, "a@b", 9, 5);
}

static void put_alias(struct buf *b)
{
	term_put_list(b, 1);
	term_put_atom(b, "alias");
	put_ref(b);
}

static void put_nested_alias(struct buf *b)
{
	term_put_list(b, 1);
	put_alias(b);
	term_put_atom(b, "more");
}

/* GenServer.multi_call's tag: never to be taken for an alias. */
static void put_multi(struct buf *b)
{
	term_put_tuple(b, 2);
	put_ref(b);
	term_put_atom(b, "c@d");
}

static void put_false_alias(struct buf *b)
{
	term_put_list(b, 2);
	term_put_atom(b, "alias");
	put_ref(b);
	term_put_nil(b);
}

static void put_nested_false_alias(struct buf *b)
{
	term_put_list(b, 1);
	put_false_alias(b);
	term_put_nil(b);
}

START_TEST(a_tag_is_an_alias_only_if_it_has_the_shape_of_one)
{
	static const struct {
		void (*put)(struct buf *);
		bool alias, ref;
	} rows[] = { { put_ref, false, true },          { put_alias, true, true },
		     { put_nested_alias, true, true },  { put_multi, false, false },
		     { put_false_alias, false, false }, { put_nested_false_alias, false, false } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct envelope env;
		struct buf b = { 0 };

		put_call(&b, rows[i].put);
		ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
		request_open(b.data, &env);
		ck_assert_int_eq(env.kind, ENVELOPE_CALL);
		ck_assert_msg((env.alias.len > 0) == rows[i].alias, "row %zu: alias", i);
		ck_assert_msg((env.ref.len > 0) == rows[i].ref, "row %zu: ref", i);
		ck_assert_int_eq(env.from.id, 7);
		ck_assert(term_is_atom(env.request, "ping"));
		/* and from its first bytes alone, cut anywhere: found, or not, but never read past */
		for (size_t len = 0; len <= b.len; len++) {
			uint8_t *cut = malloc(len + 1);
			struct envelope head;

			memcpy(cut, b.data, len);
			if (request_open_head(cut, len, &head))
				ck_assert_uint_eq(head.tag.len, env.tag.len);
			else
				ck_assert_uint_lt(len, b.len);
			free(cut);
		}
		buf_free(&b);
	}
}
END_TEST

static const struct outside {
	const char *text;
	enum envelope_kind kind;
} outsides[] = {
	{ "hello", ENVELOPE_OTHER },
	{ "{}", ENVELOPE_OTHER },
	{ "{'$gen_call'}", ENVELOPE_OTHER },
	{ "{'$gen_call', from, ping}", ENVELOPE_OTHER },
	{ "{'$gen_call', {1, 2}, ping}", ENVELOPE_OTHER },
	{ "{'$gen_call', {}, ping}", ENVELOPE_OTHER },
	{ "{'$gen_cast', ping}", ENVELOPE_CAST },
	{ "{'$gen_cast', ping, 1}", ENVELOPE_OTHER },
	{ "[{'$gen_cast', ping}]", ENVELOPE_OTHER },
};

START_TEST(a_message_is_a_call_a_cast_or_something_else)
{
	struct envelope env;
	size_t len;
	uint8_t *term = given_term(outsides[_i].text, &len);

	request_open(term, &env);
	ck_assert_msg(env.kind == outsides[_i].kind, "%s", outsides[_i].text);
	free(term);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("request");
	TCase *c = tcase_create("request");

	suite_add_tcase(s, c);
	tcase_add_loop_test(c, a_request_is_understood_where_it_may_be_said, 0,
			    sizeof goods / sizeof goods[0]);
	tcase_add_loop_test(c, a_wrong_request_is_told_what_was_expected, 0,
			    sizeof bads / sizeof bads[0]);
	tcase_add_test(c, every_verb_has_the_name_that_it_is_asked_by);
	tcase_add_test(c, what_operators_say_is_kept);
	tcase_add_test(c, topics_are_a_proper_list);
	tcase_add_test(c, an_empty_list_is_empty_however_it_is_written);
	tcase_add_test(c, a_plain_call_is_two_atoms_and_a_list);
	tcase_add_test(c, a_wrong_option_in_a_map_is_told_as_one_in_a_list);
	tcase_add_test(c, the_head_of_a_message_of_another_shape_is_no_call);
	tcase_add_test(c, options_fill_the_request_and_defaults_the_rest);
	tcase_add_test(c, of_an_option_that_is_given_twice_the_first_counts);
	tcase_add_test(c, a_session_has_a_short_name_and_an_owner_has_a_session);
	tcase_add_test(c, a_tag_is_an_alias_only_if_it_has_the_shape_of_one);
	tcase_add_loop_test(c, a_message_is_a_call_a_cast_or_something_else, 0,
			    sizeof outsides / sizeof outsides[0]);
	return run(s);
}
