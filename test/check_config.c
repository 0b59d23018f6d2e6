/* check_config.c - options read, refused and explained; what may be called. */
#include "config.h"
#include "mem.h"
#include "pool.h"
#include "suite.h"

#include <check.h>
#include <string.h>

static struct config config;
static char error[512];

/* Parses up to 8 arguments after --name a@b. */
static enum config_verdict parse(const char *a, const char *b)
{
	const char *argv[] = { "krait", "--name", "a@b", a, b };
	int argc = b != NULL ? 5 : a != NULL ? 4 : 3;

	error[0] = '\0';
	return config_parse(&config, argc, (char *const *)(uintptr_t)argv, error, sizeof error);
}

START_TEST(defaults_are_those_of_the_table)
{
	ck_assert_int_eq(parse(NULL, NULL), CONFIG_RUN);
	ck_assert_str_eq(config.name, "a@b");
	ck_assert_str_eq(config.pool[0]->name, "default");
	ck_assert_str_eq(config.listen, "127.0.0.1");
	ck_assert_uint_eq(config.pool[0]->size, 4);
	ck_assert_uint_eq(config.pool[0]->call_timeout_ms, 60000);
	ck_assert(config.pool[0]->queue_timeout_ms == CONFIG_INFINITY);
	ck_assert_uint_eq(config.pool[0]->abandon, ABANDON_KILL);
	ck_assert_uint_eq(config.pool[0]->start_method, START_FORK);
	ck_assert_uint_eq(config.pool[0]->slots, 1);
	ck_assert_uint_eq(config.pool[0]->session_mode, SESSION_STRICT);
	ck_assert_uint_eq(config.pool[0]->session_ttl_ms, 30 * 60 * 1000);
	ck_assert_uint_eq(config.pool[0]->max_sessions, 10000);
	ck_assert_uint_eq(config.pool[0]->allow.count, 0);
	ck_assert_uint_eq(config.pool[0]->rpc, 0);
	config_free(&config);
}
END_TEST

START_TEST(values_are_taken_in_every_way_of_writing)
{
	ck_assert_int_eq(parse("--call-timeout", "17"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->call_timeout_ms, 17);
	config_free(&config);
	ck_assert_int_eq(parse("--call_timeout=infinity", NULL), CONFIG_RUN);
	ck_assert(config.pool[0]->call_timeout_ms == CONFIG_INFINITY);
	config_free(&config);
	ck_assert_int_eq(parse("--allow", "math,my_app.*"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->allow.count, 2);
	ck_assert_str_eq(config.pool[0]->allow.item[1], "my_app.*");
	config_free(&config);
	ck_assert_int_eq(parse("--pythonpath", "/a:/b"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->pythonpath.count, 2);
	config_free(&config);
	ck_assert_int_eq(parse("--session-ttl=infinity", "--session_mode=fail_fast"), CONFIG_RUN);
	ck_assert(config.pool[0]->session_ttl_ms == CONFIG_INFINITY);
	ck_assert_uint_eq(config.pool[0]->session_mode, SESSION_FAIL_FAST);
	config_free(&config);
	ck_assert_int_eq(parse("--max-sessions=0", "--session_mode=hint"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->max_sessions, 0);
	ck_assert_uint_eq(config.pool[0]->session_mode, SESSION_HINT);
	config_free(&config);
	ck_assert_int_eq(parse("--stop-on-eof", "--start-method=spawn"), CONFIG_RUN);
	ck_assert_uint_eq(config.stop_on_eof, 1);
	ck_assert_uint_eq(config.pool[0]->start_method, START_SPAWN);
	config_free(&config);
	ck_assert_int_eq(parse("--rpc", NULL), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->rpc, 1);
	config_free(&config);
}
END_TEST

START_TEST(each_pool_has_options_of_its_own)
{
	const char *argv[] = { "krait",   "--name", "a@b",   "--size", "2..8",
			       "--pool",  "ml",     "--rpc", "--pool", "text",
			       "--slots", "3",      "--env", "A=1,2",  "--env=B=" };
	const struct config_pool *ml, *text;

	ck_assert_int_eq(
		config_parse(&config, 15, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_RUN);
	ck_assert_uint_eq(config.pools, 2);
	ml = config.pool[0];
	text = config.pool[1];
	ck_assert_str_eq(ml->name, "ml");
	ck_assert_str_eq(text->name, "text");
	ck_assert(ml->size == 2 && ml->size_max == 8 && text->size == 4 && text->size_max == 4);
	ck_assert(ml->slots == 1 && text->slots == 3);
	ck_assert(ml->abandon == ABANDON_KILL && text->abandon == ABANDON_INTERRUPT);
	ck_assert(ml->rpc && !text->rpc);
	ck_assert(ml->env.count == 0 && text->env.count == 2);
	ck_assert_str_eq(text->env.item[0], "A=1,2");
	ck_assert_str_eq(text->env.item[1], "B=");
	config_free(&config);
}
END_TEST

static const struct wrong {
	const char *option, *value, *message;
} wrongs[] = {
	{ "--size", "0", "--size: found \"0\", expected N or N..M, integers from 1 to 1024" },
	{ "--size", "1025", "--size: found \"1025\", expected N or N..M, integers from 1 to 1024" },
	{ "--size", "four", "--size: found \"four\", expected N or N..M, integers from 1 to 1024" },
	{ "--size", "4x", "--size: found \"4x\", expected N or N..M, integers from 1 to 1024" },
	{ "--size", "-1", "--size: found \"-1\", expected N or N..M, integers from 1 to 1024" },
	{ "--size", "99999999999999999999",
	  "--size: found \"99999999999999999999\", expected N or N..M, "
	  "integers from 1 to 1024" },
	{ "--size", NULL, "--size: found nothing, expected a value" },
	{ "--size", "5..4", "--size: found \"5..4\", expected N or N..M, integers from 1 to 1024" },
	{ "--size", "1..", "--size: found \"1..\", expected N or N..M, integers from 1 to 1024" },
	{ "--env", "A", "--env: found \"A\", expected NAME=VALUE" },
	{ "--pool=default", "--pool=default",
	  "--pool: found \"default\" twice, expected different names" },
	{ "--call-timeout", "never",
	  "--call-timeout: found \"never\", expected an integer from 1 to "
	  "31536000000, or infinity" },
	{ "--abandon", "forget", "--abandon: found \"forget\", expected kill|interrupt|finish" },
	{ "--abandon", "kil", "--abandon: found \"kil\", expected kill|interrupt|finish" },
	{ "--slots", "0", "--slots: found \"0\", expected an integer from 1 to 64" },
	{ "--slots", "65", "--slots: found \"65\", expected an integer from 1 to 64" },
	{ "--session-mode", "loose",
	  "--session-mode: found \"loose\", expected strict|hint|fail_fast" },
	{ "--session-ttl", "0",
	  "--session-ttl: found \"0\", expected an integer from 1 to 31536000000, or infinity" },
	{ "--max-sessions", "1000001",
	  "--max-sessions: found \"1000001\", expected an integer from 0 to 1000000" },
	{ "--expose", "model", "--expose: found \"model\", expected NAME=MODULE:ATTR" },
	{ "--expose", "m=x", "--expose: found \"m=x\", expected NAME=MODULE:ATTR" },
	{ "--preload", "a,,b", "--preload: found \",b\", expected items that are not empty" },
	{ "--colour", "red", "found \"--colour\", expected an option (see --help)" },
	{ "size", "4", "found \"size\", expected an option (see --help)" },
	{ "--name", "nohost", "--name: found \"nohost\", expected NAME@HOST" },
	{ "--name", "a@b@c", "--name: found \"a@b@c\", expected NAME@HOST" },
	{ "--sname", "x", "found both, expected one of --name NAME@HOST and --sname NAME" },
	{ "--pool=", NULL, "--pool: found \"\", expected NAME" },
	{ "--pool", "rex",
	  "--pool: found \"rex\", expected a name that the node does not need for itself" },
	{ "--cookie", "secret", "found \"--cookie\", expected an option (see --help)" },
};

START_TEST(a_wrong_value_is_told_what_was_found_and_expected)
{
	const struct wrong *row = &wrongs[_i];

	ck_assert_int_eq(parse(row->option, row->value), CONFIG_WRONG);
	ck_assert_str_eq(error, row->message);
	config_free(&config);
}
END_TEST

/* In whatever order they are given. */
START_TEST(several_slots_are_interrupted_unless_told_otherwise_and_never_killed)
{
	ck_assert_int_eq(parse("--slots=2", NULL), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->abandon, ABANDON_INTERRUPT);
	config_free(&config);
	ck_assert_int_eq(parse("--slots=2", "--abandon=finish"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->abandon, ABANDON_FINISH);
	config_free(&config);
	ck_assert_int_eq(parse("--abandon=interrupt", "--slots=64"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->abandon, ABANDON_INTERRUPT);
	config_free(&config);
	ck_assert_int_eq(parse("--slots=1", "--abandon=kill"), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->abandon, ABANDON_KILL);
	config_free(&config);
	for (int turned = 0; turned < 2; turned++) {
		const char *slots = "--slots=8", *kill = "--abandon=kill";

		ck_assert_int_eq(parse(turned ? kill : slots, turned ? slots : kill), CONFIG_WRONG);
		ck_assert_str_eq(error,
				 "--abandon: found \"kill\" with --slots 8, expected "
				 "interrupt|finish: a killed worker would take its other calls "
				 "along");
		config_free(&config);
	}
}
END_TEST

START_TEST(help_names_every_option)
{
	struct buf text = { 0 }, table = { 0 };

	ck_assert_int_eq(parse("--version", NULL), CONFIG_VERSION);
	config_free(&config);
	ck_assert_int_eq(parse("--help-markdown", NULL), CONFIG_HELP);
	ck_assert(config.help == config_help_markdown);
	config_free(&config);
	ck_assert_int_eq(parse("--help", NULL), CONFIG_HELP);
	config_free(&config);
	config_help(&text);
	config_help_markdown(&table);
	buf_put_u8(&text, 0);
	buf_put_u8(&table, 0);
	ck_assert_ptr_nonnull(strstr((char *)text.data, "--queue-limit N"));
	ck_assert_ptr_nonnull(
		strstr((char *)table.data, "| `--abandon` | kill\\|interrupt\\|finish | kill |"));
	buf_free(&text);
	buf_free(&table);
}
END_TEST

static const struct allowed {
	const char *allow, *expose, *module, *function;
	bool expected;
} alloweds[] = {
	{ NULL, NULL, "math", "sqrt", true },
	{ NULL, NULL, "_thread", "x", false },
	{ NULL, NULL, "os", "_exit", false },
	{ NULL, NULL, "a._b.c", "x", false },
	{ NULL, NULL, "a", "B.__class__", false },
	{ NULL, NULL, "a_b", "c_d_", true },
	{ "math", NULL, "math", "sqrt", true },
	{ "math", NULL, "maths", "sqrt", false },
	{ "math", NULL, "math.sub", "sqrt", false },
	{ "math.sqrt", NULL, "math", "sqrt", true },
	{ "math.sqrt", NULL, "math", "sin", false },
	{ "my_app.*", NULL, "my_app.models", "predict", true },
	{ "my_app.*", NULL, "my_app", "run", true },
	{ "my_app.*", NULL, "my_apple.models", "run", false },
	{ "*.safe", NULL, "anything", "safe", true },
	{ "*.safe", NULL, "anything", "unsafe_", false },
	{ "a*b*c", NULL, "aXbYc", "f", true },
	{ "math*", NULL, "math", "sqrt", true },
	{ "math.sqrt**", NULL, "math", "sqrt", true },
	{ "a*b*c", NULL, "aXbY", "f", false },
	{ "math", "model=m:Model", "model", "predict", true },
	{ "math", "model=m:Model", "model", "_secret", false },
	{ "math", "model=m:Model", "m", "Model", false },
};

START_TEST(what_may_be_called_is_decided_by_name)
{
	const struct allowed *row = &alloweds[_i];
	const char *argv[] = { "krait", "--name", "a@b", "--allow", "x", "--expose", "y=y:y" };
	int argc = 3;

	if (row->allow != NULL) {
		argv[argc++] = "--allow";
		argv[argc++] = row->allow;
	}
	if (row->expose != NULL) {
		argv[argc++] = "--expose";
		argv[argc++] = row->expose;
	}
	ck_assert_int_eq(
		config_parse(&config, argc, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_RUN);
	ck_assert_msg(config_allows(config.pool[0], row->module, strlen(row->module), row->function,
				    strlen(row->function)) == row->expected,
		      "row %d: %s %s", _i, row->module, row->function);
	config_free(&config);
}
END_TEST

START_TEST(a_name_too_long_to_be_looked_up_is_not_allowed)
{
	char name[2000];

	memset(name, 'x', sizeof name);
	ck_assert_int_eq(parse("--allow", "*"), CONFIG_RUN);
	ck_assert(config_allows(config.pool[0], name, 1000, "f", 1));
	ck_assert(!config_allows(config.pool[0], name, sizeof name, "f", 1));
	config_free(&config);
}
END_TEST

START_TEST(no_memory_at_any_point_is_said_and_nothing_leaks)
{
	for (long n = 0;; n++) {
		enum config_verdict v;

		mem_fail_after = n;
		v = parse("--allow=a,b", "--python=/x");
		mem_fail_after = -1;
		config_free(&config);
		if (v == CONFIG_RUN)
			break;
		ck_assert_int_eq(v, CONFIG_NO_MEMORY);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *c = tcase_create("config");

	suite_add_tcase(s, c);
	tcase_add_test(c, defaults_are_those_of_the_table);
	tcase_add_test(c, values_are_taken_in_every_way_of_writing);
	tcase_add_test(c, each_pool_has_options_of_its_own);
	tcase_add_loop_test(c, a_wrong_value_is_told_what_was_found_and_expected, 0,
			    sizeof wrongs / sizeof wrongs[0]);
	tcase_add_test(c, several_slots_are_interrupted_unless_told_otherwise_and_never_killed);
	tcase_add_test(c, help_names_every_option);
	tcase_add_loop_test(c, what_may_be_called_is_decided_by_name, 0,
			    sizeof alloweds / sizeof alloweds[0]);
	tcase_add_test(c, a_name_too_long_to_be_looked_up_is_not_allowed);
	tcase_add_test(c, no_memory_at_any_point_is_said_and_nothing_leaks);
	return run(s);
}
