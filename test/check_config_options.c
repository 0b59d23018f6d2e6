/* check_config_options.c - every option of the table, by its type: good values, boundaries, wrong ones; on
 * the command line, in a file and in a request. A new row is tested as soon as it is there. */
#include "config_change.h"
#include "config_private.h"
#include "mem.h"
#include "suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX 32

enum way { COMMAND_LINE, IN_FILE, REQUEST, WAYS };
static const char *const ways[] = { "command line", "file", "request" };

/* What of an option is tried. */
struct tries {
	char good[VALUES_MAX][5200], wrong[VALUES_MAX][5200];
	int goods, wrongs;
};
static struct tries t;

static struct config config;
static char error[4096];

static void good(const char *value)
{
	ck_assert_int_lt(t.goods, VALUES_MAX);
	snprintf(t.good[t.goods++], sizeof t.good[0], "%s", value);
}

static void wrong(const char *value)
{
	ck_assert_int_lt(t.wrongs, VALUES_MAX);
	snprintf(t.wrong[t.wrongs++], sizeof t.wrong[0], "%s", value);
}

static void number(void (*kind)(const char *), uint64_t n, const char *suffix)
{
	char text[64];

	snprintf(text, sizeof text, "%" PRIu64 "%s", n, suffix);
	kind(text);
}

/* A number with each of its units, where that is within the bounds. */
static void try_units(const struct option *o)
{
	static const struct {
		const char *unit, *suffix;
		uint64_t factor;
	} units[] = {
		{ "ms", "ms", 1 },
		{ "ms", "s", 1000 },
		{ "ms", "min", 60000 },
		{ "ms", "h", 3600000 },
		{ "ms", "d", 86400000 },
		{ "s", "s", 1 },
		{ "s", "min", 60 },
		{ "bytes", "KiB", 1024 },
		{ "bytes", "MiB", 1 << 20 },
		{ "bytes", "GiB", 1 << 30 },
		{ "bytes", "kB", 1000 },
		{ "bytes", "B", 1 },
		{ "%", "%", 1 },
	};

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		uint64_t least = (o->min + units[i].factor - 1) / units[i].factor,
			 most = o->max / units[i].factor;

		if (strcmp(o->unit, units[i].unit) != 0) {
			if (strcmp(o->unit, "N") == 0)
				number(wrong, o->max / 2, units[i].suffix);
		} else if (least <= most) {
			number(good, most, units[i].suffix);
			number(wrong, most + 1, units[i].suffix);
		}
	}
}

static void try_number(const struct option *o)
{
	number(good, o->min, "");
	number(good, o->max, "");
	if (o->min > 0)
		number(wrong, o->min - 1, "");
	number(wrong, o->max + 1, "");
	wrong("-1");
	wrong("1.5");
	wrong("many");
	wrong("0x10");
	wrong("99999999999999999999999");
	wrong("1 ");
	(o->type == T_TIME ? good : wrong)("infinity");
	try_units(o);
}

static void try_range(const struct option *o)
{
	char text[64];

	number(good, o->min, "");
	number(good, o->max, "");
	number(wrong, o->min - 1, "");
	number(wrong, o->max + 1, "");
	snprintf(text, sizeof text, "%" PRIu64 "..%" PRIu64, o->min, o->max);
	good(text);
	snprintf(text, sizeof text, "%" PRIu64 "..%" PRIu64, o->min, o->max + 1);
	wrong(text);
	wrong("3..2");
	wrong("..2");
	wrong("2..");
	wrong("1...2");
	wrong("infinity");
}

static void try_words(const struct option *o)
{
	char text[64];
	const char *word;
	size_t len;

	for (uint64_t i = 0; (word = config_word(o, i, &len)) != NULL; i++) {
		snprintf(text, sizeof text, "%.*s", (int)len, word);
		good(text);
		snprintf(text, sizeof text, "%.*sx", (int)len, word);
		wrong(text);
		snprintf(text, sizeof text, "%.*s", (int)len - 1, word);
		wrong(text);
	}
	wrong("0");
}

/* One, as many as there may be, one more. */
static void try_list(const struct option *o)
{
	const char *item = strcmp(o->name, "expose") == 0 ? "n=m:a" : "item";
	const char *separator = o->type == T_PATHS ? ":" : ",";
	char text[5200] = "";

	good(item);
	for (int i = 0; i < CONFIG_LIST_MAX; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s",
			 i > 0 ? separator : "", item);
	good(text);
	snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", separator, item);
	wrong(text);
	snprintf(text, sizeof text, "%s%s%s%s", item, separator, separator, item);
	wrong(text);
	if (strcmp(o->name, "expose") == 0) {
		wrong("n");
		wrong("n=m");
		wrong("=m:a");
	}
}

static void try_text(const struct option *o)
{
	if (strcmp(o->name, "name") == 0) {
		good("a@b");
		wrong("a");
		wrong("a@b@c");
	} else if (strcmp(o->name, "pool") == 0) {
		char name[CONFIG_POOL_NAME_MAX + 2];

		memset(name, 'p', sizeof name);
		name[CONFIG_POOL_NAME_MAX + 1] = '\0';
		wrong(name);
		name[CONFIG_POOL_NAME_MAX] = '\0';
		good(name);
		wrong("rex");
		wrong("\xff");
	} else if (strcmp(o->name, "metrics") == 0) {
		good("127.0.0.1:9568");
	} else if (strcmp(o->name, "config") != 0) {
		good("/a text/with 'quotes' and \\");
	}
	wrong("");
}

static void make_tries(const struct option *o)
{
	t.goods = t.wrongs = 0;
	switch (o->type) {
	case T_TEXT:
		try_text(o);
		break;
	case T_LIST:
	case T_PATHS:
		try_list(o);
		break;
	case T_ITEMS:
		good("A=1");
		good("A=");
		good("A=b,c:d e");
		wrong("A");
		wrong("=1");
		break;
	case T_UINT:
	case T_TIME:
		try_number(o);
		break;
	case T_RANGE:
		try_range(o);
		break;
	case T_ENUM:
		try_words(o);
		break;
	case T_FLAG:
		good("true");
		good("no");
		good("on");
		wrong("1");
		wrong("");
		wrong("TRUE");
		break;
	}
}

static enum config_verdict parse(const struct option *o, const char *value)
{
	char arg[5300];
	const char *argv[] = { "krait", arg, "--name=a@b" };
	bool named = strcmp(o->name, "name") == 0 || strcmp(o->name, "sname") == 0;

	snprintf(arg, sizeof arg, "--%s=%s", o->name, value);
	return config_parse(&config, named ? 2 : 3, (char *const *)(uintptr_t)argv, error,
			    sizeof error);
}

static int in_file(const struct option *o, const char *value)
{
	struct config_wrong why = { 0 };
	struct buf text = { 0 };
	int rc;

	config_put(&text, o->scope == OF_NODE ? "node { " : "pool default { ");
	config_put_name(&text, o);
	config_put(&text, " = '");
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '\'' || *p == '\\')
			buf_put_u8(&text, '\\');
		buf_put_u8(&text, (uint8_t)*p);
	}
	config_put(&text, "' }\n");
	buf_put_u8(&text, 0);
	if (strcmp(o->name, "sname") == 0)
		config_clear(&config, NULL, config_find("name", 4));
	rc = config_file_parse(&config, (char *)text.data, text.len - 1, &why);
	if (rc == 0)
		rc = config_check(&config, &why);
	if (rc != 0)
		config_say(&config, &why, error, sizeof error);
	buf_free(&text);
	return rc;
}

/* As an integer where it is one, else as a binary. */
static int in_request(const struct option *o, const char *value)
{
	struct config_place at = { &config, config.pool[0] };
	struct buf term = { 0 };
	char *end;
	long long n = strtoll(value, &end, 10);
	int rc;

	if (value[0] != '\0' && *end == '\0' && strlen(value) < 18)
		term_put_int(&term, n);
	else
		term_put_binary(&term, value, strlen(value));
	if (strcmp(o->name, "sname") == 0)
		config_clear(&config, NULL, config_find("name", 4));
	rc = config_set_term(at, o, term.data, error, sizeof error);
	if (rc == 0)
		rc = config_goes_together(&config, error, sizeof error);
	buf_free(&term);
	return rc;
}

static bool takes(const struct option *o, const char *value, enum way way)
{
	bool taken;

	error[0] = '\0';
	if (way == COMMAND_LINE) {
		taken = parse(o, value) == CONFIG_RUN;
	} else {
		ck_assert_int_eq(parse(config_find("size", 4), "4"), CONFIG_RUN);
		taken = (way == IN_FILE ? in_file(o, value) : in_request(o, value)) == 0;
	}
	config_free(&config);
	return taken;
}

START_TEST(each_takes_what_is_good_and_refuses_what_is_wrong)
{
	const struct option *o = config_option((size_t)_i);

	make_tries(o);
	for (int way = COMMAND_LINE; way < WAYS; way++) {
		if (way != COMMAND_LINE && !config_in_files(o))
			continue;
		for (int i = 0; i < t.goods; i++)
			ck_assert_msg(takes(o, t.good[i], (enum way)way), "%s, %s: good \"%s\": %s",
				      o->name, ways[way], t.good[i], error);
		for (int i = 0; i < t.wrongs; i++) {
			if (way == REQUEST && o->type == T_LIST && t.wrong[i][0] == '\0')
				continue;
			ck_assert_msg(!takes(o, t.wrong[i], (enum way)way), "%s, %s: wrong \"%s\"",
				      o->name, ways[way], t.wrong[i]);
			ck_assert_msg(error[0] != '\0', "%s", o->name);
		}
	}
	ck_assert_msg(t.goods > 0 || strcmp(o->name, "config") == 0, "%s", o->name);
	ck_assert_msg(t.wrongs > 0, "%s", o->name);
}
END_TEST

static void must_name(void (*write)(struct buf *), const char *what)
{
	struct buf out = { 0 };

	write(&out);
	buf_put_u8(&out, 0);
	ck_assert_msg(strstr((char *)out.data, what) != NULL, "%s", what);
	buf_free(&out);
}

START_TEST(each_is_in_every_text_that_is_written_of_the_table)
{
	const struct option *o = config_option((size_t)_i);
	char what[160], roff[96] = "";

	for (const char *p = o->name; *p != '\0'; p++)
		snprintf(roff + strlen(roff), sizeof roff - strlen(roff), *p == '-' ? "\\-" : "%c",
			 *p);
	snprintf(what, sizeof what, "  --%s ", o->name);
	must_name(config_help, what);
	snprintf(what, sizeof what, "\n| `--%s` |", o->name);
	must_name(config_help_markdown, what);
	snprintf(what, sizeof what, ".TP\n\\fB\\-\\-%s\\fR", roff);
	must_name(config_help_man, what);
	snprintf(what, sizeof what, "--%s\t%s\t", o->name, o->scope == OF_NODE ? "node" : "pool");
	must_name(config_help_words, what);
	if (!config_in_files(o))
		return;
	snprintf(roff, sizeof roff, "%s", o->name);
	for (char *p = roff; *p != '\0'; p++)
		*p = *p == '-' ? '_' : *p;
	snprintf(what, sizeof what, ".TP\n\\fB%s\\fR = ", roff);
	must_name(config_help_man_conf, what);
	snprintf(what, sizeof what, "\n\t#%s = ", roff);
	must_name(config_help_conf, what);
}
END_TEST

START_TEST(a_copy_of_a_pool_is_the_same_and_shares_nothing)
{
	const struct option *o = config_option((size_t)_i);
	struct config_place one, other;

	if (o->scope == OF_NODE)
		return;
	make_tries(o);
	ck_assert_int_eq(parse(o, t.good[0]), CONFIG_RUN);
	one = (struct config_place){ &config, config.pool[0] };
	other = (struct config_place){ &config, config_pool_copy(one.pool) };
	ck_assert_ptr_nonnull(other.pool);
	ck_assert(!config_differs(o, one, other));
	ck_assert(!config_needs_workers(one.pool, other.pool));
	for (int i = 1; i < t.goods && config_in_files(o); i++) {
		struct buf term = { 0 };

		term_put_binary(&term, t.good[i], strlen(t.good[i]));
		ck_assert_int_eq(config_set_term(other, o, term.data, error, sizeof error), 0);
		if (config_differs(o, one, other))
			ck_assert(config_needs_workers(one.pool, other.pool) ==
				  config_changes_workers(o));
		config_swap(o, one, other);
		buf_free(&term);
	}
	config_pool_free(other.pool);
	config_free(&config);
}
END_TEST

/* The example with all its comments that are options taken away. */
START_TEST(the_example_of_a_file_is_right)
{
	struct config_wrong why = { 0 };
	struct buf out = { 0 };
	const char *argv[] = { "krait", "--name=a@b" };
	char *at;

	config_help_conf(&out);
	buf_put_u8(&out, 0);
	for (int with = 0; with < 2; with++) {
		ck_assert_int_eq(config_parse(&config, 2, (char *const *)(uintptr_t)argv, error,
					      sizeof error),
				 CONFIG_RUN);
		for (at = (char *)out.data; with && (at = strstr(at, "\n\t#")) != NULL; at++)
			if (at[3] != ' ' && strncmp(at + 3, "sname", 5) != 0)
				at[2] = ' ';
		at = strdup((char *)out.data);
		if (config_file_parse(&config, at, out.len - 1, &why) != 0 ||
		    config_check(&config, &why) != 0) {
			config_say(&config, &why, error, sizeof error);
			ck_abort_msg("line %u: %s", why.line, error);
		}
		free(at);
		ck_assert_uint_eq(config.pools, 1);
		ck_assert_uint_eq(config.pool[0]->allow.count, with ? 2 : 0);
		config_free(&config);
	}
	buf_free(&out);
}
END_TEST

/* As `config` of a node tells it, and `set` takes it. */
START_TEST(what_is_told_of_it_can_be_set)
{
	const struct option *o = config_option((size_t)_i);
	struct config_place at, fresh;
	struct config other;
	const char *argv[] = { "krait", "--name=a@b" };

	if (!config_in_files(o) || strcmp(o->name, "sname") == 0)
		return;
	make_tries(o);
	for (int i = 0; i < t.goods; i++) {
		struct buf term = { 0 };

		ck_assert_int_eq(parse(o, t.good[i]), CONFIG_RUN);
		ck_assert_int_eq(config_parse(&other, 2, (char *const *)(uintptr_t)argv, error,
					      sizeof error),
				 CONFIG_RUN);
		at = (struct config_place){ &config, config.pool[0] };
		fresh = (struct config_place){ &other, other.pool[0] };
		config_put_term(&term, o, at);
		ck_assert_int_eq(term_check(term.data, term.len, NULL), 0);
		ck_assert_msg(config_set_term(fresh, o, term.data, error, sizeof error) == 0,
			      "%s: %s", o->name, error);
		ck_assert_msg(!config_differs(o, at, fresh), "%s: %s", o->name, t.good[i]);
		buf_free(&term);
		config_free(&config);
		config_free(&other);
	}
}
END_TEST

START_TEST(maps_have_every_option_once_and_texts_no_secret)
{
	const char *argv[] = { "krait", "--name=a@b", "--env=TOKEN=hunter2", "--env=B=c" };
	struct config_place at;
	const uint8_t *key;
	uint32_t pairs, all = 0;

	ck_assert_int_eq(
		config_parse(&config, 4, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_RUN);
	at = (struct config_place){ &config, config.pool[0] };
	for (int of_node = 0; of_node < 2; of_node++) {
		struct buf map = { 0 };

		config_put_map(&map, at, of_node);
		ck_assert_int_eq(term_check(map.data, map.len, NULL), 0);
		ck_assert(term_map(map.data, &pairs, &key));
		for (all += pairs; pairs > 0; pairs--, key = term_skip(term_skip(key))) {
			const struct option *o;
			struct span name;

			ck_assert(term_atom(key, &name, NULL));
			o = config_option_named((const char *)name.at, name.len);
			ck_assert(o != NULL && config_is_of_node(o) == of_node);
		}
		buf_free(&map);
	}
	for (const struct option *o = NULL; (o = config_option_after(o)) != NULL; all--) {
		struct buf text = { 0 };

		config_put_text(&text, o, at);
		ck_assert_ptr_null(memmem(text.data, text.len, "hunter2", 7));
		if (strcmp(o->name, "env") == 0)
			ck_assert_ptr_nonnull(
				memmem(text.data, text.len, "{ TOKEN=..., B=... }", 20));
		buf_free(&text);
	}
	ck_assert_uint_eq(all, 0);
	config_free(&config);
}
END_TEST

START_TEST(a_pool_is_copied_whole_or_not_at_all)
{
	const char *argv[] = { "krait", "--name=a@b", "--env=A=b", "--allow=a,b", "--cwd=/" };
	struct config_pool *copy = NULL;
	long n;

	ck_assert_int_eq(
		config_parse(&config, 5, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_RUN);
	for (n = 0; copy == NULL; n++) {
		mem_fail_after = n;
		copy = config_pool_copy(config.pool[0]);
		ck_assert(copy != NULL || mem_fail_after == -1);
		mem_fail_after = -1;
	}
	ck_assert_int_gt(n, 4);
	ck_assert(!config_needs_workers(config.pool[0], copy));
	config_pool_free(copy);
	config_free(&config);
}
END_TEST

START_TEST(terms_of_other_kinds_are_refused)
{
	const struct option *o = config_option((size_t)_i);
	struct config_place at;
	struct buf term = { 0 };
	size_t starts[4];

	if (!config_in_files(o))
		return;
	ck_assert_int_eq(parse(config_find("size", 4), "4"), CONFIG_RUN);
	at = (struct config_place){ &config, config.pool[0] };
	starts[0] = term.len;
	term_put_float(&term, 1.5);
	starts[1] = term.len;
	term_put_map(&term, 0);
	starts[2] = term.len;
	term_put_list(&term, 1);
	term_put_float(&term, 1.5);
	term_put_nil(&term);
	starts[3] = term.len;
	term_put_binary(&term, "a\0b", 3);
	for (int i = 0; i < 4; i++) {
		error[0] = '\0';
		ck_assert_msg(config_set_term(at, o, term.data + starts[i], error, sizeof error) ==
				      -22,
			      "%s: %d", o->name, i);
		ck_assert(error[0] != '\0');
	}
	buf_free(&term);
	config_free(&config);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config_options");
	TCase *c = tcase_create("config_options");
	int count = 0;

	while (config_option((size_t)count) != NULL)
		count++;
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, each_takes_what_is_good_and_refuses_what_is_wrong, 0, count);
	tcase_add_loop_test(c, each_is_in_every_text_that_is_written_of_the_table, 0, count);
	tcase_add_loop_test(c, a_copy_of_a_pool_is_the_same_and_shares_nothing, 0, count);
	tcase_add_loop_test(c, what_is_told_of_it_can_be_set, 0, count);
	tcase_add_test(c, maps_have_every_option_once_and_texts_no_secret);
	tcase_add_test(c, a_pool_is_copied_whole_or_not_at_all);
	tcase_add_loop_test(c, terms_of_other_kinds_are_refused, 0, count);
	tcase_add_test(c, the_example_of_a_file_is_right);
	return run(s);
}
