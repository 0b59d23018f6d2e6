/* check_ctl.c - kraitctl without a node: its command line, JSON, tables, words and screen.
 *
 * Requests and answers are said as JSON and made into terms by the parser that `call` has for its arguments;
 * {"$atom": ...} and {"$tuple": ...} say what JSON cannot. */
#include "../c_src/tools/ctl.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const struct look plain = { 0, false };

/* A NUL-terminated copy, valid until the one after the next. */
static const char *text_of(struct buf *b)
{
	static char texts[2][65536];
	static unsigned which;
	char *text = texts[which ^= 1];

	ck_assert_int_eq(b->err, 0);
	ck_assert_uint_lt(b->len, sizeof texts[0]);
	if (b->len > 0)
		memcpy(text, b->data, b->len);
	text[b->len] = '\0';
	buf_free(b);
	return text;
}

/* A term that JSON says, checked. */
static const uint8_t *given(const char *json)
{
	static struct buf terms[8];
	static unsigned next;
	struct buf *b = &terms[next++ % 8];
	char error[200] = "";

	buf_free(b);
	ck_assert_msg(ctl_json_parse(json, b, error, sizeof error), "%s", error);
	ck_assert_int_eq(term_check(b->data, b->len, NULL), 0);
	return b->data;
}

static const char *json_of(const uint8_t *term)
{
	struct buf out = { 0 };

	ctl_json_put(&out, term, -1);
	return text_of(&out);
}

/* ---- the command line ---- */

static bool parsed(const char *line, struct ctl_args *a, char *error, size_t size)
{
	static char copy[1024];
	static char *argv[64];
	int argc = 0;

	snprintf(copy, sizeof copy, "kraitctl %s", line);
	for (char *at = strtok(copy, " "); at != NULL; at = strtok(NULL, " "))
		argv[argc++] = at;
	return ctl_args_parse(a, argc, argv, "krait@127.0.0.1", error, size);
}

static const struct asked {
	const char *line, *request;
} asked[] = {
	{ "status", "\"status\"" },
	{ "--json status", "\"status\"" },
	{ "status --json --pool p", "\"status\"" },
	{ "pools", "\"status\"" },
	{ "workers --node=a@b --timeout=2.5", "\"workers\"" },
	{ "requests", "\"requests\"" },
	{ "requests 20", "[\"requests\",20]" },
	{ "log -f", "[\"subscribe\",\"log\"]" },
	{ "events", "[\"subscribe\",\"events\"]" },
	{ "ping", "\"ping\"" },
	{ "ping worker", "[\"ping\",\"worker\"]" },
	{ "await_ready", "\"await_ready\"" },
	{ "await-ready 3", "[\"await_ready\",3]" },
	{ "call math sqrt 2", "[\"call\",\"math\",\"sqrt\",[2],{\"kwargs\":{}}]" },
	{ "call m f", "[\"call\",\"m\",\"f\",[],{\"kwargs\":{}}]" },
	{ "call m f [1,{\"a\":null}] b=2 c=\"x=y\"",
	  "[\"call\",\"m\",\"f\",[[1,{\"a\":null}]],{\"kwargs\":{\"b\":2,\"c\":\"x=y\"}}]" },
	{ "--timeout 3 call m f -1",
	  "[\"call\",\"m\",\"f\",[-1],{\"kwargs\":{},\"timeout\":3000}]" },
	{ "end_session {\"$tuple\":[{\"$atom\":\"user\"},7]}", "[\"end_session\",[\"user\",7]]" },
	{ "pause", "\"pause\"" },
	{ "reload", "\"reload\"" },
	{ "reload config", "[\"reload\",\"config\"]" },
	{ "recycle 7", "[\"recycle\",7]" },
	{ "kill 18446744073709551615", "[\"kill\",18446744073709551615]" },
	{ "cancel 1001", "[\"cancel\",1001]" },
	{ "resize 4", "[\"resize\",4]" },
	{ "resize 2..8", "[\"resize\",[2,8]]" },
	{ "set call-timeout 5000", "[\"set\",\"call_timeout\",5000]" },
	{ "set size 2..8", "[\"set\",\"size\",\"2..8\"]" },
	{ "set rpc true", "[\"set\",\"rpc\",true]" },
	{ "set order -- lifo", "[\"set\",\"order\",\"lifo\"]" },
	{ "stop", "\"stop\"" },
};

START_TEST(a_command_line_becomes_a_request)
{
	const struct asked *row = &asked[_i];
	struct buf request = { 0 };
	struct ctl_args a;
	char error[300] = "";

	ck_assert_msg(parsed(row->line, &a, error, sizeof error), "%s: %s", row->line, error);
	ck_assert_msg(ctl_ask_put(&a, &request, error, sizeof error), "%s: %s", row->line, error);
	ck_assert_int_eq(term_check(request.data, request.len, NULL), 0);
	ck_assert_str_eq(json_of(request.data), row->request);
	buf_free(&request);
}
END_TEST

static const struct wrong {
	const char *line, *error;
} wrongs[] = {
	{ "", "expected a verb; see kraitctl --help" },
	{ "--json", "expected a verb" },
	{ "statsu", "unknown verb statsu" },
	{ "--colour status", "unknown option --colour" },
	{ "--node", "--node: expected NAME after it" },
	{ "--json=yes status", "--json takes no value" },
	{ "--timeout soon status", "--timeout: found \"soon\", expected seconds, more than 0" },
	{ "--timeout 0 status", "--timeout: found \"0\", expected seconds" },
	{ "--interval=-1 top", "--interval: found \"-1\", expected seconds" },
	{ "status 1", "found 1 argument, expected: kraitctl status" },
	{ "call math", "found 1 argument, expected: kraitctl call MODULE FUNCTION" },
	{ "set size", "found 1 argument, expected: kraitctl set OPTION VALUE" },
	{ "status -f", "-f is for log and events" },
	{ "--pool p stop", "stop concerns the whole node: found --pool p" },
	{ "peers --pool p", "peers concerns the whole node: found --pool p" },
	{ "kill me", "kill: found \"me\", expected a number" },
	{ "kill -1", "kill: found \"-1\", expected a number" },
	{ "kill 99999999999999999999", "expected a number" },
	{ "resize 2..", "resize: found \"2..\", expected N or MIN..MAX" },
	{ "resize ..", "expected N or MIN..MAX" },
	{ "reload code", "reload: found \"code\", expected config" },
	{ "ping node", "ping: found \"node\", expected worker" },
	{ "call m f two", "\"two\", at character 1: expected JSON (a text has its quotes" },
	{ "call m f [1,]", "\"[1,]\", at character 4: expected JSON" },
	{ "call m f a=", "\"\", at character 1: expected JSON" },
	{ "end_session me", "\"me\", at character 1: expected JSON" },
};

START_TEST(a_wrong_command_line_is_told_what_was_expected)
{
	const struct wrong *row = &wrongs[_i];
	struct buf request = { 0 };
	struct ctl_args a;
	char error[300] = "";

	ck_assert_msg(!parsed(row->line, &a, error, sizeof error) ||
			      !ctl_ask_put(&a, &request, error, sizeof error),
		      "%s: accepted", row->line);
	ck_assert_msg(strstr(error, row->error) != NULL, "%s: %s", row->line, error);
	buf_free(&request);
}
END_TEST

START_TEST(options_are_kept)
{
	struct ctl_args a;
	char error[300];

	ck_assert(parsed("status", &a, error, sizeof error));
	ck_assert_str_eq(a.node, "krait@127.0.0.1");
	ck_assert(!a.json && !a.has_timeout && a.pool == NULL && a.cookie_file == NULL);
	ck_assert_uint_eq(a.timeout_ms, 5000);
	ck_assert(
		parsed("--node x@y --pool p --cookie-file f --timeout 0.25 --json --interval 2 top",
		       &a, error, sizeof error));
	ck_assert_str_eq(a.node, "x@y");
	ck_assert_str_eq(a.pool, "p");
	ck_assert_str_eq(a.cookie_file, "f");
	ck_assert_uint_eq(a.timeout_ms, 250);
	ck_assert_uint_eq(a.interval_ms, 2000);
	ck_assert(a.json && a.has_timeout);
	ck_assert(parsed("help kill", &a, error, sizeof error));
	ck_assert(a.want == WANT_HELP && strcmp(a.verb->name, "kill") == 0);
	ck_assert(parsed("--completion-words", &a, error, sizeof error));
	ck_assert_int_eq(a.want, WANT_WORDS);
}
END_TEST

START_TEST(usage_help_and_completion_come_from_one_table)
{
	struct buf help = { 0 }, markdown = { 0 }, words = { 0 };
	const char *h, *m;

	ctl_help(&help, NULL);
	ctl_help_markdown(&markdown);
	h = text_of(&help);
	m = text_of(&markdown);
	for (unsigned i = 0; i < ctl_verb_count; i++) {
		const struct ctl_verb *v = &ctl_verbs[i];

		ck_assert_msg(strstr(h, v->help) != NULL && strstr(m, v->help) != NULL, "%s",
			      v->name);
		ck_assert_ptr_eq(ctl_verb_find(v->name), v);
		ck_assert(request_verb_name(v->verb)[0] != '\0');
		for (unsigned k = 0; k < i; k++)
			ck_assert_str_ne(ctl_verbs[k].name, v->name);
	}
	ck_assert_ptr_nonnull(strstr(m, "| `resize N\\|MIN..MAX` | admin |"));
	ctl_words(&words);
	ck_assert_ptr_nonnull(strstr(text_of(&words), "verb\tkill\tadmin\tWORKER\tkills a worker"));
	ck_assert_str_eq(ctl_role(ctl_verb_find("stop")), "admin");
	ck_assert_str_eq(ctl_role(ctl_verb_find("status")), "watch");
	ck_assert_str_eq(ctl_role(ctl_verb_find("call")), "use");
}
END_TEST

/* ---- JSON ---- */

START_TEST(what_is_read_is_written_again)
{
	static const char *const texts[] = {
		"0",
		"-1",
		"9223372036854775807",
		"-9223372036854775808",
		"18446744073709551616",
		"-340282366920938463463374607431768211456",
		"1.5",
		"-0.001",
		"1e+300",
		"0.1",
		"true",
		"false",
		"null",
		"\"\"",
		"\"text\"",
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d\"",
		"\"a\\\"b\\\\c\\nd\\te\"",
		"[]",
		"[1,[2,[3]]]",
		"{}",
		"{\"a\":1,\"b\":{\"c\":[null]}}",
		"{\"$bytes\":\"/wA=\"}",
		"{\"$map\":[[1,2],[[3],4]]}",
		"{\"a\\u0000b\":1}",
	};
	char digits[400] = "1";

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		ck_assert_str_eq(json_of(given(texts[i])), texts[i]);
	memset(digits + 1, '0', 350);
	ck_assert_str_eq(json_of(given(digits)), digits); /* 10^350: many words */
	memset(digits, '9', 300);
	digits[300] = '\0';
	ck_assert_str_eq(json_of(given(digits)), digits);
}
END_TEST

START_TEST(json_says_what_it_cannot_be)
{
	static const struct wrong rows[] = {
		{ "", "expected JSON" },
		{ "01", "without leading zeros" },
		{ "1.", "digits after the point" },
		{ "1e999", "a double can hold" },
		{ "-", "without leading zeros" },
		{ "\"a", "a closing quote" },
		{ "\"\\x\"", "after a backslash" },
		{ "\"\\u12\"", "four hexadecimal digits" },
		{ "\"\\ud800\"", "surrogate" },
		{ "\"\\udc00\"", "UTF-8" },
		{ "\"\n\"", "no control character" },
		{ "[1", "a comma or ]" },
		{ "{1:2}", "a text in quotes" },
		{ "{\"a\"}", "a colon" },
		{ "{\"a\":1", "a comma or }" },
		{ "1 2", "nothing more" },
		{ "{\"$atom\":1}", "a text in quotes" },
		{ "{\"$tuple\":1}", "an array" },
		{ "{\"$bytes\":\"?\"}", "base64" },
		{ "{\"$map\":[[1]]}", "[KEY, VALUE]" },
		{ "{\"$atom\":\"a\",\"b\":1}", "nothing beside" },
		{ "nul", "expected JSON" },
		{ "\"\xff\"", "UTF-8" },
	};
	char deep[2 * JSON_DEPTH_MAX + 10] = "", error[300];
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ck_assert_msg(!ctl_json_parse(rows[i].line, &out, error, sizeof error), "%s",
			      rows[i].line);
		ck_assert_msg(strstr(error, rows[i].error) != NULL, "%s: %s", rows[i].line, error);
		ck_assert_uint_eq(out.len, 0);
	}
	memset(deep, '[', JSON_DEPTH_MAX + 2);
	ck_assert(!ctl_json_parse(deep, &out, error, sizeof error));
	ck_assert_ptr_nonnull(strstr(error, "at most 200 levels"));
	buf_free(&out);
}
END_TEST

START_TEST(every_term_has_a_form)
{
	static const uint8_t improper[] = { 108, 0, 0, 0, 1, 97, 1, 97, 2 };
	static const uint8_t string[] = { 107, 0, 2, 'a', 'b' };
	static const uint8_t bits[] = { 77, 0, 0, 0, 2, 3, 0xff, 0xe0 };
	static const uint8_t pid[] = {
		88, 119, 3, 'a', '@', 'b', 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9
	};
	static const uint8_t ref[] = { 90, 0, 2, 119, 3, 'a', '@', 'b', 0, 0,
				       0,  9, 0, 0,   0, 5,   0,   0,   0, 6 };
	static const uint8_t export[] = { 113, 119, 1, 'm', 119, 1, 'f', 97, 2 };
	static const uint8_t latin1[] = { 115, 2, 0xe9, 'x' };
	static const uint8_t mixed[] = { 116, 0,   0, 0, 2, 119, 1,   'a', 97,
					 1,   109, 0, 0, 0, 1,   'a', 97,  2 };
	static const struct {
		const uint8_t *term;
		const char *json;
	} rows[] = {
		{ improper, "{\"$improper\":[1,2]}" },
		{ string, "[97,98]" },
		{ bits, "{\"$bits\":\"/+A=\",\"unused\":5}" },
		{ pid, "\"<a@b.7.1>\"" },
		{ ref, "\"#Ref<a@b.6.5>\"" },
		{ export, "\"fun m:f/2\"" },
		{ latin1, "\"\xc3\xa9x\"" },
		{ mixed, "{\"$map\":[[\"a\",1],[\"a\",2]]}" },
	};
	struct buf deep = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ck_assert_str_eq(json_of(rows[i].term), rows[i].json);
	ck_assert_str_eq(
		json_of(given("{\"$tuple\":[{\"$atom\":\"ok\"},{\"$atom\":\"undefined\"}]}")),
		"[\"ok\",null]");
	for (unsigned i = 0; i < 100000; i++) /* deeper than any stack */
		term_put_tuple(&deep, 1);
	term_put_nil(&deep);
	ck_assert_ptr_nonnull(strstr(json_of(deep.data), "\"...\""));
	buf_free(&deep);
}
END_TEST

/* ---- text ---- */

START_TEST(text_of_the_node_moves_no_cursor)
{
	static const struct {
		const char *hostile, *safe;
	} rows[] = {
		{ "plain \xc3\xa9 \xf0\x9f\x90\x8d", "plain \xc3\xa9 \xf0\x9f\x90\x8d" },
		{ "\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07" },
		{ "a\rb\nc\td", "a\\rb\\nc\\td" },
		{ "\x7f\xc2\x9b[31m", "\\x7f\\x9b[31m" }, /* CSI of C1 */
		{ "\x9b[31m", "\\x9b[31m" },              /* and as a bare byte */
		{ "a\xe2\x80\xae"
		  "b",
		  "a\\u202eb" }, /* right to left */
		{ "\xe2\x81\xa6\xe2\x80\xa8", "\\u2066\\u2028" },
		{ "\xff\xfe\xc3", "\\xff\\xfe\\xc3" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* a surrogate */
		{ "\xc0\xaf", "\\xc0\\xaf" },          /* overlong */
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 }, json = { 0 };

		text_safe(&out, rows[i].hostile, strlen(rows[i].hostile), false);
		ck_assert_str_eq(text_of(&out), rows[i].safe);
		ctl_json_text(&json, rows[i].hostile, strlen(rows[i].hostile));
		for (size_t k = 0; k < json.len; k++)
			ck_assert_msg(json.data[k] >= 0x20 && json.data[k] != 0x7f, "row %zu", i);
		ck_assert_int_eq(term_utf8(json.data, json.len), true);
		buf_free(&json);
	}
}
END_TEST

START_TEST(units_are_for_people)
{
	static const struct {
		void (*put)(struct buf *out, uint64_t value);
		uint64_t value;
		const char *text;
	} rows[] = {
		{ text_bytes, 0, "0 B" },
		{ text_bytes, 1023, "1023 B" },
		{ text_bytes, 1024, "1.0 KiB" },
		{ text_bytes, 15208448, "14.5 MiB" },
		{ text_bytes, 1073741823, "1.0 GiB" },
		{ text_bytes, UINT64_C(200) << 30, "200 GiB" },
		{ text_ms, 0, "0 ms" },
		{ text_ms, 999, "999 ms" },
		{ text_ms, 1000, "1.0 s" },
		{ text_ms, 59999, "59.9 s" },
		{ text_ms, 60000, "1m00s" },
		{ text_ms, 3599999, "59m59s" },
		{ text_ms, 3600000, "1h00m" },
		{ text_ms, 90000000, "1d01h" },
		{ text_us, 999, "999 us" },
		{ text_us, 1000, "1.0 ms" },
		{ text_us, 99949, "99.9 ms" },
		{ text_us, 999999, "1000 ms" },
		{ text_us, 1500000, "1.5 s" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };

		rows[i].put(&out, rows[i].value);
		ck_assert_str_eq(text_of(&out), rows[i].text);
	}
}
END_TEST

START_TEST(widths_are_those_of_a_screen)
{
	ck_assert_uint_eq(text_width("abc", 3), 3);
	ck_assert_uint_eq(text_width("\xc3\xa9", 2), 1);
	ck_assert_uint_eq(text_width("\xe6\x97\xa5\xe6\x9c\xac", 6), 4);
	ck_assert_uint_eq(text_width("e\xcc\x81", 3), 1); /* a combining accent */
	ck_assert_uint_eq(text_width("\xff\xff", 2), 2);
	ck_assert_uint_eq(text_cut("\xe6\x97\xa5\xe6\x9c\xac", 6, 3), 3);
	ck_assert_uint_eq(text_cut("abc", 3, 10), 3);
	ck_assert_uint_eq(text_cut("abc", 3, 0), 0);
}
END_TEST

/* ---- tables ---- */

static const struct column columns[] = { { "ID", true, false },
					 { "NAME", false, true },
					 { "WHAT", false, true } };

static const char *grid_of(const char *const *cells, unsigned count, unsigned width)
{
	struct look look = { width, false };
	struct buf out = { 0 };
	struct grid t;

	grid_init(&t, columns, 3);
	for (unsigned i = 0; i < count; i++)
		text_put(grid_cell(&t, PLAIN), "%s", cells[i]);
	grid_print(&t, &look, &out);
	grid_free(&t);
	return text_of(&out);
}

START_TEST(columns_are_as_wide_as_what_is_in_them)
{
	static const char *const cells[] = { "7", "a",  "first",        "1234", "b\303\251b",
					     "x", "99", "\xe6\x97\xa5", "y" };

	ck_assert_str_eq(grid_of(cells, 9, 0), "  ID  NAME  WHAT\n"
					       "   7  a     first\n"
					       "1234  b\303\251b   x\n"
					       "  99  \xe6\x97\xa5    y\n");
	ck_assert_str_eq(grid_of(cells, 0, 0), "ID  NAME  WHAT\n");
}
END_TEST

START_TEST(elastic_columns_give_way_to_a_narrow_screen)
{
	static const char *const cells[] = { "1", "a.long.name.of.something", "another text here" };
	char first[64];
	const char *text = grid_of(cells, 3, 30), *line = strchr(text, '\n') + 1;

	snprintf(first, sizeof first, "%.*s", (int)(strchr(line, '\n') - line), line);
	ck_assert_uint_le(text_width(first, strlen(first)), 30);
	ck_assert_str_eq(first, " 1  a.long.name\xe2\x80\xa6  another tex\xe2\x80\xa6");
	text = grid_of(cells, 3, 5); /* nothing is cut to nothing */
	ck_assert_ptr_nonnull(strstr(text, "a.long.\xe2\x80\xa6"));
}
END_TEST

START_TEST(colours_are_for_terminals_only)
{
	struct look coloured = { 0, true };
	struct buf out = { 0 }, bare = { 0 };

	look_put(&coloured, RED, &out, "x", 1);
	look_put(&plain, RED, &bare, "x", 1);
	ck_assert_str_eq(text_of(&out), "\x1b[31mx\x1b[0m");
	ck_assert_str_eq(text_of(&bare), "x");
}
END_TEST

/* ---- views ---- */

/* An answer whose keys are atoms: every object with plain keys, made so. */
static void put_atoms(struct buf *out, const uint8_t *term)
{
	const uint8_t *at = NULL;
	struct span text;
	uint32_t count;

	if (term_map(term, &count, &at)) {
		term_put_map(out, count);
		for (; count > 0; count--, at = term_skip(term_skip(at))) {
			if (term_binary(at, &text))
				term_put_atom_n(out, (const char *)text.at, text.len);
			else
				term_put_raw(out, term_span(at));
			put_atoms(out, term_skip(at));
		}
	} else if (term_kind(term) == TERM_LIST && term_list(term, &count, &at)) {
		term_put_list(out, count);
		for (; count > 0; count--, at = term_skip(at))
			put_atoms(out, at);
		term_put_nil(out);
	} else {
		term_put_raw(out, term_span(term));
	}
}

static const char *viewed(const char *line, const char *json)
{
	struct buf answer = { 0 }, out = { 0 };
	struct ctl_args a;
	char error[300];

	ck_assert(parsed(line, &a, error, sizeof error));
	put_atoms(&answer, given(json));
	ctl_view_put(&a, answer.data, &plain, &out);
	buf_free(&answer);
	return text_of(&out);
}

#define WORKERS                                                                                    \
	"[{\"id\":7,\"pool\":{\"$atom\":\"default\"},\"state\":{\"$atom\":\"busy\"},\"since_ms\":" \
	"1500,\"os_pid\":4711,\"rss_bytes\":15208448,\"calls\":3,\"sessions\":0,\"call\":"         \
	"{\"$tuple\":[\"m\\u001b[2J\",\"f\"]},\"caller\":null,\"retiring\":true,\"last_error\":"   \
	"\"a\\u0007b\"},{\"id\":8,\"state\":{\"$atom\":\"idle\"},\"calls\":9}]"

START_TEST(answers_are_tables)
{
	const char *text = viewed("workers", WORKERS);

	ck_assert_ptr_nonnull(strstr(text, "     7  default  busy, leaves  1.5 s  4711  14.5 MiB"));
	ck_assert_ptr_nonnull(strstr(text, "m\\x1b[2J.f"));
	ck_assert_ptr_nonnull(strstr(text, "a\\x07b"));
	text = viewed("requests", "[{\"id\":1,\"module\":\"m\",\"function\":\"f\",\"age_ms\":5,"
				  "\"state\":{\"$atom\":\"queued\"}}]");
	ck_assert_ptr_nonnull(strstr(text, "queued"));
	ck_assert_ptr_nonnull(strstr(text, "m.f"));
	text = viewed("config", "{\"node\":{\"port\":0},\"pools\":{\"p\":{\"size\":4}}}");
	ck_assert_ptr_nonnull(strstr(text, "node    port    0\n"));
	ck_assert_ptr_nonnull(strstr(text, "pool p  size    4\n"));
	text = viewed("config", "{\"pools\":{\"p\":{\"size\":{\"$tuple\":[2,8]}}}}");
	ck_assert_ptr_nonnull(strstr(text, "pool p  size    2..8\n"));
	text = viewed("config --pool q", "{\"node\":{\"port\":0},\"pools\":{\"p\":{\"size\":4}}}");
	ck_assert_str_eq(text, "OF  OPTION  VALUE\n");
	text = viewed("status",
		      "{\"node\":{\"$atom\":\"a@b\"},\"version\":\"1\",\"os_pid\":2,"
		      "\"uptime_ms\":61000,\"peers\":1,\"pools\":{\"p\":{\"state\":"
		      "{\"$atom\":\"running\"},\"ready\":1,\"size\":2,\"last_error\":\"no\"}}}");
	ck_assert_ptr_nonnull(strstr(text, "a@b  krait 1, process 2, up 1m01s, 1 peer\n"));
	ck_assert_ptr_nonnull(strstr(text, "p     running    1/2"));
	ck_assert_ptr_nonnull(strstr(text, "p: the last start that failed: no\n"));
}
END_TEST

START_TEST(other_answers_are_words)
{
	ck_assert_str_eq(viewed("pause", "{\"$atom\":\"ok\"}"), "paused\n");
	ck_assert_str_eq(viewed("ping", "{\"$atom\":\"pong\"}"), "pong\n");
	ck_assert_str_eq(viewed("ping worker", "1500"), "pong by a worker in 1.5 ms\n");
	ck_assert_str_eq(viewed("call m f", "\"two\\nlines\\u001b\""), "two\nlines\\x1b\n");
	ck_assert_str_eq(viewed("call m f", "[1,2]"), "[\n  1,\n  2\n]\n");
	ck_assert_str_eq(viewed("set size 5", "{\"$tuple\":[4,5]}"), "4 -> 5\n");
	ck_assert_str_eq(viewed("reload", "{\"$atom\":\"ok\"}"), "reloaded\n");
	ck_assert_str_eq(viewed("reload config", "{\"node\":{},\"pools\":{},\"restart\":[]}"),
			 "nothing has changed\n");
	ck_assert_str_eq(viewed("reload config",
				"{\"node\":{\"log_level\":{\"$tuple\":[\"info\",\"debug\"]}},"
				"\"pools\":{\"a\":{\"$atom\":\"added\"},\"b\":{\"size\":"
				"{\"$tuple\":[1,2]}}},\"restart\":[\"port\"]}"),
			 "node: log_level: info -> debug\npool a: added\npool b: size: 1 -> 2\n"
			 "only after a restart of the node: [\"port\"]\n");
}
END_TEST

START_TEST(reasons_are_words)
{
	static const struct {
		const char *reason, *words;
	} rows[] = {
		{ "{\"$tuple\":[{\"$atom\":\"forbidden\"},{\"$atom\":\"pause\"},{\"$atom\":"
		  "\"admin\"}]}",
		  "this connection may not `pause`: that needs the role admin" },
		{ "{\"$tuple\":[{\"$atom\":\"no_worker\"},7]}", "there is no worker 7" },
		{ "{\"$tuple\":[{\"$atom\":\"circuit_open\"},1500]}",
		  "workers keep failing to start; the next attempt is in 1.5 s" },
		{ "{\"$tuple\":[{\"$atom\":\"timeout\"},{\"$atom\":\"queue\"}]}",
		  "no worker came free in time" },
		{ "{\"$tuple\":[{\"$atom\":\"timeout\"},{\"$atom\":\"call\"}]}",
		  "it ran out of time" },
		{ "{\"$tuple\":[{\"$atom\":\"too_large\"},9,8]}",
		  "found 9 bytes, at most 8 are taken" },
		{ "{\"$tuple\":[{\"$atom\":\"bad_config\"},\"line 3:\\nfound\\u001b\"]}",
		  "line 3:\nfound\\x1b" },
		{ "{\"$atom\":\"draining\"}", "the node drains: it takes no new requests" },
		{ "{\"$atom\":\"no_worker\"}", "no_worker" }, /* of another shape: as it is */
		{ "{\"$tuple\":[{\"$atom\":\"strange\"},1]}", "[\"strange\",1]" },
		{ "{\"$tuple\":[]}", "[]" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };

		ctl_reason_put(given(rows[i].reason), &out);
		ck_assert_str_eq(text_of(&out), rows[i].words);
	}
}
END_TEST

static const char *followed(const char *json, bool as_json)
{
	struct buf message = { 0 }, out = { 0 };
	const uint8_t *term = given(json), *at = NULL;
	uint32_t arity = 0;

	if (term_tuple(term, &arity, &at)) {
		term_put_tuple(&message, arity);
		for (; arity > 0; arity--, at = term_skip(at))
			put_atoms(&message, at);
	}
	follow_put(message.data, as_json, &plain, &out);
	buf_free(&message);
	return text_of(&out);
}

START_TEST(lines_and_events_are_one_harmless_line_each)
{
	static const char log[] =
		"{\"$tuple\":[{\"$atom\":\"krait_log\"},{\"$atom\":\"a@b\"},{\"pool\":{\"$atom\":"
		"\"p\"},"
		"\"worker\":3,\"stream\":{\"$atom\":\"stderr\"},\"level\":{\"$atom\":\"info\"},"
		"\"line\":\"\\u001b[2Jgone\\nnext\"}]}";
	static const char event[] = "{\"$tuple\":[{\"$atom\":\"krait_event\"},{\"$atom\":\"a@b\"},["
				    "{\"$atom\":\"krait\"},"
				    "{\"$atom\":\"call\"},{\"$atom\":\"stop\"}],{\"us\":5},{"
				    "\"pool\":{\"$atom\":\"p\"}}]}";

	ck_assert_ptr_nonnull(
		strstr(followed(log, false), " info [p/3 stderr] \\x1b[2Jgone\\nnext\n"));
	ck_assert_str_eq(followed(log, true),
			 "{\"node\":\"a@b\",\"log\":{\"pool\":\"p\",\"worker\":3,\"stream\":"
			 "\"stderr\",\"level\":\"info\",\"line\":\"\\u001b[2Jgone\\nnext\"}}\n");
	ck_assert_ptr_nonnull(strstr(followed(event, false), " krait.call.stop us=5 pool=p\n"));
	ck_assert_str_eq(followed(event, true),
			 "{\"node\":\"a@b\",\"event\":[\"krait\",\"call\",\"stop\"],"
			 "\"measurements\":{\"us\":5},\"metadata\":{\"pool\":\"p\"}}\n");
	ck_assert_ptr_nonnull(strstr(
		followed(
			"{\"$tuple\":[{\"$atom\":\"krait_log\"},{\"$atom\":\"a@b\"},{\"pool\":null,"
			"\"worker\":null,\"stream\":null,\"level\":{\"$atom\":\"info\"},"
			"\"line\":\"up\",\"object\":\"peer x@y\"}]}",
			false),
		" info [peer x@y] up\n"));
	ck_assert_ptr_nonnull(
		strstr(followed("{\"$tuple\":[{\"$atom\":\"krait_event\"},{\"$atom\":\"a@b\"},"
				"[{\"$atom\":\"krait\"}],{\"system_time_us\":5,\"n\":1},"
				"{\"reason\":\"two words\",\"call\":null}]}",
				false),
		       " krait n=1 reason=\"two words\"\n"));
	ck_assert_str_eq(followed("{\"$tuple\":[{\"$atom\":\"lost\"},3]}", false),
			 "[\"lost\",3]\n");
}
END_TEST

/* ---- the screen ---- */

static void given_top(struct top *t, unsigned rows)
{
	*t = (struct top){ .rows = rows, .columns = 80 };
	put_atoms(&t->workers, given("[{\"id\":1,\"calls\":5,\"rss_bytes\":30},"
				     "{\"id\":2,\"calls\":9,\"rss_bytes\":10},"
				     "{\"id\":3,\"calls\":7,\"rss_bytes\":20,\"since_ms\":9},"
				     "{\"id\":4,\"state\":{\"$atom\":\"busy\"}}]"));
	put_atoms(&t->status, given("{\"node\":{\"$atom\":\"a@b\"},\"pools\":{\"p\":{}}}"));
}

START_TEST(workers_are_sorted_as_is_asked_for)
{
	static const struct {
		enum top_sort sort;
		uint64_t first;
	} rows[] = { { SORT_ID, 1 },
		     { SORT_STATE, 4 },
		     { SORT_AGE, 3 },
		     { SORT_CALLS, 2 },
		     { SORT_MEMORY, 1 } };
	uint64_t ids[4];
	struct top t;

	given_top(&t, 24);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		t.sort = rows[i].sort;
		ck_assert_uint_eq(top_order(&t, ids, 4), 4);
		ck_assert_uint_eq(ids[0], rows[i].first);
	}
	buf_free(&t.workers);
	ck_assert_uint_eq(top_order(&t, ids, 4), 0);
	buf_free(&t.status);
}
END_TEST

START_TEST(a_frame_has_as_many_lines_as_the_screen)
{
	for (unsigned rows = 4; rows < 40; rows++) {
		unsigned ends = 0, chosen = 0;
		struct buf out = { 0 };
		struct top t;

		given_top(&t, rows);
		t.has_chosen = true;
		t.chosen = 4;
		snprintf(t.message, sizeof t.message, "harmless\x1b[2J");
		top_frame(&t, &out);
		for (size_t i = 0; i + 1 < out.len; i++) {
			ends += out.data[i] == '\r' && out.data[i + 1] == '\n';
			chosen += out.data[i] == '>' && out.data[i + 1] == ' ';
		}
		ck_assert_uint_eq(ends, rows - 1);
		if (rows >= 9) /* two of the head, one empty, the pools, and then there is room */
			ck_assert_uint_eq(chosen, 1);
		ck_assert_ptr_nonnull(strstr(text_of(&out), "q quit"));
		buf_free(&t.workers);
		buf_free(&t.status);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctl");
	TCase *c = tcase_create("ctl");

	tcase_add_loop_test(c, a_command_line_becomes_a_request, 0,
			    (int)(sizeof asked / sizeof asked[0]));
	tcase_add_loop_test(c, a_wrong_command_line_is_told_what_was_expected, 0,
			    (int)(sizeof wrongs / sizeof wrongs[0]));
	tcase_add_test(c, options_are_kept);
	tcase_add_test(c, usage_help_and_completion_come_from_one_table);
	tcase_add_test(c, what_is_read_is_written_again);
	tcase_add_test(c, json_says_what_it_cannot_be);
	tcase_add_test(c, every_term_has_a_form);
	tcase_add_test(c, text_of_the_node_moves_no_cursor);
	tcase_add_test(c, units_are_for_people);
	tcase_add_test(c, widths_are_those_of_a_screen);
	tcase_add_test(c, columns_are_as_wide_as_what_is_in_them);
	tcase_add_test(c, elastic_columns_give_way_to_a_narrow_screen);
	tcase_add_test(c, colours_are_for_terminals_only);
	tcase_add_test(c, answers_are_tables);
	tcase_add_test(c, other_answers_are_words);
	tcase_add_test(c, reasons_are_words);
	tcase_add_test(c, lines_and_events_are_one_harmless_line_each);
	tcase_add_test(c, workers_are_sorted_as_is_asked_for);
	tcase_add_test(c, a_frame_has_as_many_lines_as_the_screen);
	suite_add_tcase(s, c);
	return run(s);
}
