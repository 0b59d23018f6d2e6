/* check_config_file.c - krait.conf: read, refused with the line, printed; the command line over it. */
#include "config_private.h"

#include "mem.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config config;
static char error[1024], path[256];

static void setup(void)
{
	snprintf(path, sizeof path, "/tmp/check_config_%d.conf", (int)getpid());
}

static void teardown(void)
{
	unlink(path);
}

static void write_file(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	fclose(f);
}

/* Up to 6 arguments after --config. */
static enum config_verdict parse(const char *const *more)
{
	const char *argv[10] = { "krait", "--config", path };
	int argc = 3;

	while (more != NULL && *more != NULL)
		argv[argc++] = *more++;
	error[0] = '\0';
	return config_parse(&config, argc, (char *const *)(uintptr_t)argv, error, sizeof error);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static enum config_verdict parse_text(const char *text, const char *const *more)
{
	write_file(text, strlen(text));
	return parse(more);
}

START_TEST(sections_are_read_in_every_way_of_writing)
{
	const struct config_pool *ml, *text;

	ck_assert_int_eq(parse_text("# a comment\n"
				    "node { name = a@b max-peers = 5 // another\n"
				    "  stop_timeout = '20s' }\n"
				    "pool ml {\r\n"
				    "  /* one of\n many */ size = 2..8, \n"
				    "}\n",
				    NULL),
			 CONFIG_WRONG);
	config_free(&config);
	ck_assert_int_eq(parse_text("\xef\xbb\xbf# a comment\n"
				    "node { name = a@b max-peers = 5 // another\n"
				    "  stop_timeout = '20s' }\n"
				    "pool ml {\r\n"
				    "  /* one of\n many */ size = 2..8\n"
				    "  env = { \"A=\\\"1\\\"\", 'B=${C}\\d', \"C=a,b\" }\n"
				    "  allow = { math, \"my_app.*,json\", }\n"
				    "  pythonpath = \"/a:/b\" rpc = yes\n"
				    "  max-rss = 2GiB call_timeout = infinity max_age = 1h\n"
				    "}\n"
				    "pool 'a text' {}",
				    NULL),
			 CONFIG_RUN);
	ck_assert_str_eq(config.name, "a@b");
	ck_assert_uint_eq(config.max_peers, 5);
	ck_assert_uint_eq(config.stop_timeout_ms, 20000);
	ck_assert_uint_eq(config.pools, 2);
	ml = config.pool[0];
	text = config.pool[1];
	ck_assert_str_eq(ml->name, "ml");
	ck_assert_str_eq(text->name, "a text");
	ck_assert(ml->size == 2 && ml->size_max == 8 && text->size == 4);
	ck_assert_uint_eq(ml->env.count, 3);
	ck_assert_str_eq(ml->env.item[0], "A=\"1\"");
	ck_assert_str_eq(ml->env.item[1], "B=${C}\\d");
	ck_assert_str_eq(ml->env.item[2], "C=a,b");
	ck_assert_uint_eq(ml->allow.count, 3);
	ck_assert_str_eq(ml->allow.item[2], "json");
	ck_assert_uint_eq(ml->pythonpath.count, 2);
	ck_assert(ml->rpc == 1 && text->rpc == 0);
	ck_assert(ml->max_rss == UINT64_C(2) << 30 && ml->max_age_ms == 3600000);
	ck_assert(ml->call_timeout_ms == CONFIG_INFINITY);
	config_free(&config);
}
END_TEST

START_TEST(the_environment_stands_in_double_quotes)
{
	setenv("KRAIT_CHECK_DIR", "/srv/x", 1);
	unsetenv("KRAIT_CHECK_NONE");
	ck_assert_int_eq(parse_text("node { name = a@b }\n"
				    "pool a { cwd = \"${KRAIT_CHECK_DIR}/y\" }\n"
				    "pool b { cwd = \"${KRAIT_CHECK_NONE:-/d}/y\" }\n"
				    "pool c { cwd = '${KRAIT_CHECK_DIR}' }\n"
				    "# \"${KRAIT_CHECK_NONE}\n",
				    NULL),
			 CONFIG_RUN);
	ck_assert_str_eq(config.pool[0]->cwd, "/srv/x/y");
	ck_assert_str_eq(config.pool[1]->cwd, "/d/y");
	ck_assert_str_eq(config.pool[2]->cwd, "${KRAIT_CHECK_DIR}");
	config_free(&config);
}
END_TEST

START_TEST(the_command_line_is_over_the_file)
{
	static const char text[] = "node { name = a@b port = 7 admin = { x, y } }\n"
				   "pool ml { size = 9 allow = { p, q } call_timeout = 5s }\n"
				   "pool text { size = 8 }\n";

	ck_assert_int_eq(parse_text(text, ARGS("--admin=z", "--allow=r", "--allow=s", "--pool=text",
					       "--size=3", "--pool=new")),
			 CONFIG_RUN);
	ck_assert_uint_eq(config.port, 7);
	ck_assert_uint_eq(config.admin.count, 1);
	ck_assert_str_eq(config.admin.item[0], "z");
	ck_assert_uint_eq(config.pools, 3);
	for (unsigned i = 0; i < 3; i++) { /* in front of any --pool: of all */
		ck_assert_uint_eq(config.pool[i]->allow.count, 2);
		ck_assert_str_eq(config.pool[i]->allow.item[0], "r");
	}
	ck_assert_uint_eq(config.pool[0]->size, 9);
	ck_assert_uint_eq(config.pool[0]->call_timeout_ms, 5000);
	ck_assert_uint_eq(config.pool[1]->size, 3);
	ck_assert_str_eq(config.pool[2]->name, "new");
	ck_assert_uint_eq(config.pool[2]->size, 4);
	config_free(&config);

	ck_assert_int_eq(parse(ARGS("--sname=c")), CONFIG_RUN); /* one name over the other */
	ck_assert_ptr_null(config.name);
	ck_assert_str_eq(config.sname, "c");
	config_free(&config);
	ck_assert_int_eq(parse(ARGS("--name=c@d", "--rpc=false")), CONFIG_RUN);
	ck_assert_str_eq(config.name, "c@d");
	config_free(&config);
	ck_assert_int_eq(parse_text("node { name = a@b }", ARGS("--size=2")), CONFIG_RUN);
	ck_assert_uint_eq(config.pools, 1);
	ck_assert_str_eq(config.pool[0]->name, "default");
	ck_assert_uint_eq(config.pool[0]->size, 2);
	config_free(&config);
}
END_TEST

static const struct fault {
	const char *text, *says; /* behind "FILE:" */
} faults[] = {
	{ "pool a {\n size = 0 }",
	  "2: size: found \"0\", expected N or N..M, integers from 1 to 1024" },
	{ "pool a { size = 1\n size = 1 }",
	  "2: size: found again, expected one value of it in a section" },
	{ "pool a { call-timeout = 1\n call_timeout = 2 }",
	  "2: call_timeout: found again, expected one value of it in a section" },
	{ "pool a { allow = b\n allow = { c, d } }",
	  "2: allow: found again, expected one value of it in a section" },
	{ "/* \n\n */ pool a { /* */ /* */\n sizee = 1 }",
	  "4: found \"sizee\", expected an option of a pool (see krait --help)" },
	{ "node { sizee = 1 }",
	  "1: found \"sizee\", expected an option of the node (see krait --help)" },
	{ "node { size = 1 }", "1: found \"size\", expected it in a section pool NAME { ... }" },
	{ "pool a { port = 1 }", "1: found \"port\", expected it in the section node { ... }" },
	{ "node { pool a { } }",
	  "1: found \"pool\", expected the sections of pools beside that of the node" },
	{ "size = 1", "1: found \"size\", expected a section, node { ... } or pool NAME { ... }" },
	{ "\npools a { }",
	  "2: found \"pools\", expected a section, node { ... } or pool NAME { ... }" },
	{ "include = \"x\"", "1: found \"include\", expected one file: nothing is included" },
	{ "include(\"x\")", "1: found \"(\", expected quotes around it" },
	{ "pool a { config = x }", "1: found \"config\", expected it in the section node { ... }" },
	{ "node { config = x }",
	  "1: found \"config\", expected it in a section pool NAME { ... }" },
	{ "pool a {}\npool a {}", "2: found \"a\", expected different names of pools" },
	{ "node {}\nnode {}", "2: found node { ... } twice, expected one section of that name" },
	{ "pool {}", "1: found \"pool\", expected a name after it: pool NAME { ... }" },
	{ "pool a = 1", "1: found \"pool\", expected a \"{\" after it and its name" },
	{ "pool '' {}", "1: pool: found \"\", expected NAME" },
	{ "pool a {\n size = 3\n",
	  "3: found the end of the file after the \"{\" of line 1, expected a "
	  "\"}\" before it" },
	{ "pool a { size = 3 }\n}",
	  "2: found \"}\", expected a section, node { ... } or pool NAME { ... }" },
	{ "pool a { cwd = \"x\n }",
	  "1: found a text without its closing quote, expected one that ends in "
	  "its line" },
	{ "pool a { cwd = 'x",
	  "1: found a text without its closing quote, expected one that ends in its "
	  "line" },
	{ "pool a { cwd = \"\\x41\" }", "1: found a backslash, expected \\\", \\\\, \\n or \\t, or "
					"single quotes around the text" },
	{ "\n/* x\n\n", "2: found /*, expected */ where the comment ends" },
	{ "pool a { cwd = ${HOME} }", "1: found ${, expected double quotes around it" },
	{ "pool a { cwd = \"${A B}\" }",
	  "1: found ${, expected ${NAME} or ${NAME:-default}, or single quotes "
	  "around the text" },
	{ "pool a { cwd = \"${KRAIT_CHECK_NONE}\" }",
	  "1: found ${KRAIT_CHECK_NONE}, expected a variable that is set, ${NAME:-default}, or "
	  "single quotes "
	  "around the text" },
	{ "pool a { allow = b, c }",
	  "1: found \",\", expected NAME = VALUE, and braces around several values" },
	{ "pool a { allow = math.* }", "1: found \"*\", expected quotes around it" },
	{ "pool a { allow += b }", "1: found \"+\", expected quotes around it" },
	{ "pool a { size 4 }", "1: found \"size\", expected a \"=\" after it" },
	{ "pool a { size = {4, 5} }",
	  "1: found \"{\", expected NAME = VALUE, and braces around several values" },
	{ "pool a { size = }",
	  "1: found \"}\", expected NAME = VALUE, and braces around several values" },
	{ "pool a { cwd = '' }", "1: cwd: found \"\", expected DIR" },
	{ "pool a { call_timeout = '1 s' }", "1: call_timeout: found \"1 s\", expected an integer "
					     "from 1 to 31536000000, or infinity" },
	{ "pool a { call_timeout = 1KiB }", "1: call_timeout: found \"1KiB\", expected an integer "
					    "from 1 to 31536000000, or infinity" },
	{ "pool a { max_rss = 16777217TiB }", /* 2^64 bytes and some */
	  "1: max_rss: found \"16777217TiB\", expected an integer from 0 to 1099511627776" },
	{ "pool a { max_rss = 99999999999TiB }",
	  "1: max_rss: found \"99999999999TiB\", expected an integer from 0 to 1099511627776" },
	{ "node {} 'node|port' = 3", "1: found \"port\", expected it in a section" },
	{ "pool a {\n '' = 3 }", "2: found \"\", expected the name of an option" },
	{ "\n''", "2: found \"\", expected the name of an option" },
	{ "node {} node|port = 3", "1: found \"|\", expected quotes around it" },
	{ "pool a {\n\001}", "2: found a byte 0x01, expected text" },
	{ "# \x7f", "1: found a byte 0x7f, expected text" },
	{ "/* \n \x1b */", "2: found a byte 0x1b, expected text" },
	{ "pool a { cwd = 'a\x08' }", "1: found a byte 0x08, expected text" },
	{ "pool a { cwd = 'a\\\x10' }", "1: found a byte 0x10, expected text" },
	{ "pool a { cwd = \"${X:-\f}\" }", "1: found a byte 0x0c, expected text" },
	{ "pool a {}\npool rex {\nsize = 1 }",
	  "3: pool: found \"rex\", expected a name that the node does not need for itself" },
	{ "pool a { rpc = on } pool b { rpc = on }",
	  "1: rpc: found in pools a and b, expected in one at most" },
	{ "pool a { slots = 3\nabandon = kill }",
	  "2: abandon: found \"kill\" with --slots 3, "
	  "expected interrupt|finish: a killed worker would "
	  "take its other calls along" },
	{ "node { name = x }", "1: name: found \"x\", expected NAME@HOST" },
};

/* And leaves nothing behind for the next file, which is good. */
START_TEST(a_wrong_file_is_told_with_its_line)
{
	const struct fault *row = &faults[_i];
	char says[1024];

	snprintf(says, sizeof says, "%s:%s", path, row->says);
	ck_assert_int_eq(
		parse_text(row->text, strstr(row->text, "name = x") ? NULL : ARGS("--name=a@b")),
		CONFIG_WRONG);
	ck_assert_str_eq(error, says);
	config_free(&config);
	ck_assert_int_eq(parse_text("pool a { size = 3 }\n", ARGS("--name=a@b")), CONFIG_RUN);
	ck_assert_uint_eq(config.pool[0]->size, 3);
	config_free(&config);
}
END_TEST

START_TEST(what_is_no_file_of_text_is_refused)
{
	static char long_text[CONFIG_FILE_MAX + 1];
	const char *const places[] = { "/dev/zero", "/tmp", "/no/such/file" };
	const char *const says[] = {
		"found something else, expected a regular file",
		"found a directory, expected a regular file",
		"found No such file or directory, expected a file that can be read"
	};
	char expected[512];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s", places[i]);
		snprintf(expected, sizeof expected, "%s: %s", places[i], says[i]);
		ck_assert_int_eq(parse(NULL), CONFIG_WRONG);
		ck_assert_str_eq(error, expected);
		config_free(&config);
	}
	setup();
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* nobody writes it: opening it must not wait */
	ck_assert_int_eq(parse(NULL), CONFIG_WRONG);
	config_free(&config);
	unlink(path);
	memset(long_text, ' ', sizeof long_text);
	write_file(long_text, sizeof long_text);
	ck_assert_int_eq(parse(ARGS("--name=a@b")), CONFIG_WRONG);
	ck_assert_ptr_nonnull(strstr(error, ": found a longer file, expected at most 1 MiB"));
	config_free(&config);
	write_file(long_text, CONFIG_FILE_MAX);
	ck_assert_int_eq(parse(ARGS("--name=a@b")), CONFIG_RUN);
	config_free(&config);
	write_file("pool a {\0}", 10);
	ck_assert_int_eq(parse(ARGS("--name=a@b")), CONFIG_WRONG);
	ck_assert_ptr_nonnull(strstr(error, ":1: found a byte 0x00, expected text"));
	config_free(&config);
}
END_TEST

START_TEST(at_most_64_pools_are_read)
{
	struct buf text = { 0 };
	char section[64];

	for (int i = 0; i <= CONFIG_POOLS_MAX; i++) {
		ck_assert_int_eq(parse(ARGS("--name=a@b")), i == 0 ? CONFIG_WRONG : CONFIG_RUN);
		config_free(&config);
		snprintf(section, sizeof section, "pool p%d {}\n", i);
		buf_put(&text, section, strlen(section));
		write_file((char *)text.data, text.len);
	}
	ck_assert_int_eq(parse(ARGS("--name=a@b")), CONFIG_WRONG);
	ck_assert_ptr_nonnull(strstr(error, ":65: pool: found \"p64\", expected at most 64 pools"));
	config_free(&config);
	buf_free(&text);
}
END_TEST

/* Whatever a text holds. */
START_TEST(what_is_printed_says_the_same)
{
	struct config first;
	struct buf out = { 0 };
	const struct option *o;

	ck_assert_int_eq(
		parse_text("node { name = \"a@b\" admin = { 'x\\'\\\\', \"a\\nb\" } }\n"
			   "pool \"a 'b' \\\\\" { env = \"A=${HOME:-x}\" size = 2..3 rpc = on }\n"
			   "pool c { cwd = '${x}#//{' }\n",
			   NULL),
		CONFIG_RUN);
	first = config;
	config_print(&first, &out);
	write_file((char *)out.data, out.len);
	ck_assert_msg(parse(NULL) == CONFIG_RUN, "%s", error);
	ck_assert_uint_eq(config.pools, 2);
	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		for (unsigned p = 0; p < 2; p++)
			ck_assert_msg(!config_in_files(o) ||
					      o->at == offsetof(struct config, file) ||
					      config_same(o, config_field(&first, first.pool[p], o),
							  config_field(&config, config.pool[p], o)),
				      "%s", o->name);
	buf_free(&out);
	config_free(&first);
	config_free(&config);
}
END_TEST

START_TEST(a_file_by_itself_may_leave_the_name_to_the_command_line)
{
	const char *argv[] = { "krait", "check", path };

	write_file("pool a {}\npool b {}\n", 20);
	ck_assert_int_eq(
		config_parse(&config, 3, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_CHECK);
	ck_assert_ptr_nonnull(strstr(error, ": good, 2 pools"));
	config_free(&config);
	write_file("pool a {\nsize = x }\n", 20);
	ck_assert_int_eq(
		config_parse(&config, 3, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_WRONG);
	ck_assert_ptr_nonnull(strstr(error, ":2: size: found \"x\""));
	config_free(&config);
	ck_assert_int_eq(
		config_parse(&config, 2, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_WRONG);
	ck_assert_str_eq(error, "found no file, expected krait check FILE");
	config_free(&config);
	ck_assert_int_eq(parse(NULL), CONFIG_WRONG);
	config_free(&config);
}
END_TEST

START_TEST(no_memory_at_any_point_is_said_and_nothing_leaks)
{
	for (long n = 0;; n++) {
		enum config_verdict v;

		write_file("pool a { allow = { b, c } cwd = d }", 35);
		mem_fail_after = n;
		v = parse(ARGS("--name=a@b"));
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
	Suite *s = suite_create("config_file");
	TCase *c = tcase_create("config_file");

	suite_add_tcase(s, c);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, sections_are_read_in_every_way_of_writing);
	tcase_add_test(c, the_environment_stands_in_double_quotes);
	tcase_add_test(c, the_command_line_is_over_the_file);
	tcase_add_loop_test(c, a_wrong_file_is_told_with_its_line, 0,
			    sizeof faults / sizeof faults[0]);
	tcase_add_test(c, what_is_no_file_of_text_is_refused);
	tcase_add_test(c, at_most_64_pools_are_read);
	tcase_add_test(c, what_is_printed_says_the_same);
	tcase_add_test(c, a_file_by_itself_may_leave_the_name_to_the_command_line);
	tcase_add_test(c, no_memory_at_any_point_is_said_and_nothing_leaks);
	return run(s);
}
