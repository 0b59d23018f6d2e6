/* check_log.c - log lines as they are written, whatever somebody prints, and how many of them. */
#include "log_format.h"
#include "log_journal.h"
#include "log_rate.h"
#include "suite.h"
#include "utf8.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- formats ---- */

static char line[LOG_LINE_MAX + 1];

/* 2026-01-31T12:00:00.007Z, a warning of worker 3. */
static struct log_record given(const char *text, size_t len)
{
	return (struct log_record){ .time = { .tv_sec = 1769860800, .tv_nsec = 7999999 },
				    .level = LOG_WARNING,
				    .object = "worker default/3 pid 812",
				    .text = text,
				    .len = len };
}

static const char *written(enum log_format format, const struct log_record *r, size_t size)
{
	size_t n = log_format_line(format, r, line, size);

	ck_assert_uint_le(n, size);
	ck_assert(n > 0 && line[n - 1] == '\n');
	line[n] = '\0';
	ck_assert_uint_eq(strlen(line), n);
	return line;
}

START_TEST(a_line_has_three_forms)
{
	struct log_record r = given("hello", 5);

	ck_assert_str_eq(written(LOG_FORMAT_TEXT, &r, sizeof line - 1),
			 "2026-01-31T12:00:00.007Z warning [worker default/3 pid 812] hello\n");
	ck_assert_str_eq(written(LOG_FORMAT_JOURNALD, &r, sizeof line - 1),
			 "<4>[worker default/3 pid 812] hello\n");
	ck_assert_str_eq(
		written(LOG_FORMAT_JSON, &r, sizeof line - 1),
		"{\"ts\":\"2026-01-31T12:00:00.007Z\",\"level\":\"warning\","
		"\"object\":\"worker default/3 pid 812\",\"pool\":\"default\",\"worker\":3,"
		"\"os_pid\":812,\"message\":\"hello\"}\n");
}
END_TEST

START_TEST(an_entry_of_the_journal_has_fields)
{
	struct log_record r = given("hello\nPRIORITY=0", 16);
	char entry[LOG_JOURNAL_MAX + 1];
	size_t n;

	r.stream = "stderr";
	r.call = 17;
	n = log_format_journal(&r, entry, LOG_JOURNAL_MAX);
	entry[n] = '\0';
	ck_assert_str_eq(entry,
			 "SYSLOG_IDENTIFIER=krait\nPRIORITY=4\n"
			 "KRAIT_OBJECT=worker default/3 pid 812\nKRAIT_POOL=default\n"
			 "KRAIT_WORKER=3\nKRAIT_OS_PID=812\nKRAIT_STREAM=stderr\nKRAIT_CALL=17\n"
			 "MESSAGE=[worker default/3 pid 812] call 17 stderr: hello PRIORITY=0\n");
	r.stream = NULL;
	r.object = "node";
	n = log_format_journal(&r, entry, LOG_JOURNAL_MAX);
	entry[n] = '\0';
	ck_assert_str_eq(entry, "SYSLOG_IDENTIFIER=krait\nPRIORITY=4\nKRAIT_OBJECT=node\n"
				"MESSAGE=[node] hello PRIORITY=0\n");
}
END_TEST

START_TEST(an_entry_of_the_journal_is_bounded)
{
	static char text[3 * LOG_JOURNAL_MAX], entry[LOG_JOURNAL_MAX];
	struct log_record r = given(text, sizeof text - 1);

	memset(text, 'x', sizeof text - 1);
	ck_assert_uint_eq(log_format_journal(&r, entry, sizeof entry), sizeof entry);
	r.object = text;
	ck_assert_uint_le(log_format_journal(&r, entry, sizeof entry), sizeof entry);
	ck_assert_int_eq(entry[sizeof entry - 1], '\n');
}
END_TEST

START_TEST(what_a_worker_prints_says_where_and_in_which_call)
{
	struct log_record r = given("hello", 5);

	r.stream = "stderr";
	ck_assert_str_eq(written(LOG_FORMAT_JOURNALD, &r, sizeof line - 1),
			 "<4>[worker default/3 pid 812] stderr: hello\n");
	r.call = 17;
	ck_assert_str_eq(written(LOG_FORMAT_JOURNALD, &r, sizeof line - 1),
			 "<4>[worker default/3 pid 812] call 17 stderr: hello\n");
	ck_assert_ptr_nonnull(strstr(
		written(LOG_FORMAT_JSON, &r, sizeof line - 1),
		"\"os_pid\":812,\"stream\":\"stderr\",\"call\":17,\"message\":\"hello\"}\n"));
}
END_TEST

static const struct hostile {
	const char *text;
	size_t len;
	const char *plain, *json;
} hostile[] = {
	{ "a\nb\tc", 5, "a b c", "a\\nb\\tc" },
	{ "\r50%", 4, "\\x0d50%", "\\r50%" },
	{ "\033[31mred", 8, "\\x1b[31mred", "\\u001b[31mred" },
	{ "a\0b", 3, "a\\x00b", "a\\u0000b" },
	{ "\x7f", 1, "\\x7f", "\\u007f" },
	{ "\"\\", 2, "\"\\", "\\\"\\\\" },
	{ "\xc2\x9b"
	  "31m",
	  5, "\\x9b31m", "\\u009b31m" }, /* CSI of C1 */
	{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d",
	  "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d" },
	{ "\xff\xc3", 2, "\\xff\\xc3", "\\ufffd\\ufffd" },
	{ "\xc0\x80", 2, "\\xc0\\x80", "\\ufffd\\ufffd" },                 /* overlong */
	{ "\xed\xa0\x80", 3, "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd" }, /* a surrogate */
	{ "\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
};

START_TEST(a_line_is_one_line_of_text_whatever_is_printed)
{
	const struct hostile *h = &hostile[_i];
	struct log_record r = given(h->text, h->len);
	char expected[200];

	snprintf(expected, sizeof expected, "<4>[worker default/3 pid 812] %s\n", h->plain);
	ck_assert_str_eq(written(LOG_FORMAT_JOURNALD, &r, sizeof line - 1), expected);
	snprintf(expected, sizeof expected, "\"message\":\"%s\"}\n", h->json);
	ck_assert_str_eq(strstr(written(LOG_FORMAT_JSON, &r, sizeof line - 1), "\"message\""),
			 expected);
}
END_TEST

START_TEST(a_line_that_is_too_long_is_cut_between_characters_and_stays_valid)
{
	static const char *const characters[] = { "x", "\xc3\xa4", "\xf0\x9f\x90\x8d", "\"",
						  "\033" };
	const char *c = characters[_i];
	char text[3 * LOG_LINE_MAX];
	size_t n = strlen(c), len = 0;

	for (; len + n <= sizeof text; len += n)
		memcpy(text + len, c, n);
	for (size_t size = 512; size < 532; size++) {
		struct log_record r = given(text, len);
		const char *end;

		written(LOG_FORMAT_TEXT, &r, size);
		ck_assert_uint_ge(strlen(line), size - 6);
		written(LOG_FORMAT_JSON, &r, size);
		end = line + strlen(line) - strlen("\",\"truncated\":true}\n");
		ck_assert_str_eq(end, "\",\"truncated\":true}\n");
		for (const char *at = strstr(line, "\"message\":\"") + 11; at < end;) {
			size_t one = *at == '\\' ? (at[1] == 'u' ? 6 : 2)
						 : utf8_char((const uint8_t *)at, 4);

			ck_assert_uint_gt(one, 0);
			at += one;
			ck_assert(at <= end);
		}
	}
}
END_TEST

START_TEST(a_long_object_leaves_room_for_the_text)
{
	char object[2 * LOG_LINE_MAX];
	struct log_record r = given("the text", 8);

	memset(object, '\033', sizeof object - 1);
	object[sizeof object - 1] = '\0';
	r.object = object;
	for (unsigned f = LOG_FORMAT_TEXT; f <= LOG_FORMAT_JOURNALD; f++)
		ck_assert_ptr_nonnull(strstr(written((enum log_format)f, &r, 600), "the text"));
}
END_TEST

static const struct object_row {
	const char *object, *pool;
	unsigned worker;
	int os_pid;
} objects[] = {
	{ "worker default/3 pid 812", "default", 3, 812 },
	{ "worker a/b pid 7/3 pid 0", "a/b pid 7", 3, 0 },
	{ "worker default/x pid 812", NULL, 0, 0 },
	{ "worker default/3 pid ", NULL, 0, 0 },
	{ "worker", NULL, 0, 0 },
	{ "pool models", "models", 0, 0 },
	{ "peer worker default/3 pid 812", NULL, 0, 0 },
	{ "node", NULL, 0, 0 },
};

START_TEST(objects_say_their_pool_worker_and_pid)
{
	const struct object_row *row = &objects[_i];
	struct log_object o;

	log_object_parse(row->object, &o);
	ck_assert_uint_eq(o.pool_len, row->pool != NULL ? strlen(row->pool) : 0);
	if (row->pool != NULL)
		ck_assert(memcmp(o.pool, row->pool, o.pool_len) == 0);
	ck_assert_uint_eq(o.has_worker, row->worker != 0);
	ck_assert_uint_eq(o.worker, row->worker);
	ck_assert_int_eq(o.os_pid, row->os_pid);
}
END_TEST

START_TEST(a_line_may_say_its_level)
{
	static const struct {
		const char *text, *rest;
		enum log_level level;
	} rows[] = {
		{ "<3>x", "x", LOG_ERROR },
		{ "<4>", "", LOG_WARNING },
		{ "<6>x", "x", LOG_INFO },
		{ "<7>x", "x", LOG_DEBUG },
		{ "<8>x", "<8>x", LOG_INFO },
		{ "<3", "<3", LOG_INFO },
		{ " <3>x", " <3>x", LOG_INFO },
		{ "", "", LOG_INFO },
		{ "WARNING:root:x", "WARNING:root:x", LOG_WARNING },
		{ "CRITICAL:", "CRITICAL:", LOG_ERROR },
		{ "DEBUG:a.b:x", "DEBUG:a.b:x", LOG_DEBUG },
		{ "ERROR x", "ERROR x", LOG_INFO },
		{ "ERROR", "ERROR", LOG_INFO },
		{ "<4>ERROR:x", "ERROR:x", LOG_WARNING },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *at = rows[i].text;
		size_t len = strlen(at);
		enum log_level level = LOG_INFO;

		log_take_level(&at, &len, &level);
		ck_assert_str_eq(at, rows[i].rest);
		ck_assert_uint_eq(len, strlen(at));
		ck_assert_int_eq(level, rows[i].level);
	}
}
END_TEST

/* ---- how many ---- */

START_TEST(so_many_pass_in_a_second_and_the_rest_is_counted)
{
	struct log_rate r = { 0 };
	uint64_t now = 5000000;

	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(log_rate_admit(&r, 4, now + 100000 * (unsigned)i), i < 4);
	ck_assert_uint_eq(log_rate_take(&r, now + 999999), 0); /* there may be more */
	ck_assert_uint_eq(log_rate_take(&r, now + 1000000), 6);
	ck_assert_uint_eq(log_rate_take(&r, now + 1000000), 0);
	ck_assert(log_rate_admit(&r, 4, now + 1000000));
}
END_TEST

static char logged[64 * LOG_LINE_MAX];
static unsigned tapped;

static bool sink(void *arg, const char *text, size_t len)
{
	(void)arg;
	ck_assert_uint_lt(strlen(logged) + len, sizeof logged);
	strncat(logged, text, len);
	return true;
}

static void tap(void *arg, enum log_level level, const char *object, const char *text, size_t len)
{
	(void)arg, (void)level, (void)object, (void)text, (void)len;
	tapped++;
	log_line(LOG_WARNING, "tap", "what is said here is not told again");
}

static unsigned count(const char *word)
{
	unsigned n = 0;

	for (const char *at = logged; (at = strstr(at, word)) != NULL; at++)
		n++;
	return n;
}

START_TEST(lines_of_one_kind_are_bounded_and_others_are_not_held_up)
{
	log_set_sink(sink, NULL);
	log_set_level(LOG_DEBUG);
	for (int i = 0; i < 3 * LOG_REPEATS; i++)
		log_line(LOG_INFO, "node", "again %d", i);
	for (int i = 0; i < 3 * LOG_REPEATS; i++)
		log_output(LOG_INFO, "worker default/3 pid 8", "stdout", 0, "output", 6);
	for (int i = 0; i < 3 * LOG_REPEATS; i++)
		log_line(LOG_DEBUG, "node", "debugging");
	log_line(LOG_INFO, "node", "another");
	ck_assert_uint_eq(count("again"), LOG_REPEATS);
	ck_assert_uint_eq(count("output"), 3 * LOG_REPEATS);
	ck_assert_uint_eq(count("debugging"), 3 * LOG_REPEATS);
	ck_assert_uint_eq(count("another"), 1);
}
END_TEST

START_TEST(a_tap_hears_the_nodes_own_lines_as_they_are_written)
{
	log_set_sink(sink, NULL);
	log_set_level(LOG_INFO);
	log_set_tap(tap, NULL);
	log_line(LOG_INFO, "node", "one");
	log_line(LOG_DEBUG, "node", "none");
	log_output(LOG_INFO, "worker default/3 pid 8", "stdout", 0, "output", 6);
	ck_assert_uint_eq(tapped, 1);
	for (int i = 0; i < 3 * LOG_REPEATS; i++)
		log_line(LOG_INFO, "node", "again");
	ck_assert_uint_eq(tapped, 1 + LOG_REPEATS);
	ck_assert_uint_eq(count("not told again"), LOG_REPEATS);
}
END_TEST

/* ---- the journal ---- */

static char directory[32];
static int file = -1;           /* standard error, which $JOURNAL_STREAM names */
static int standard_error = -1; /* what it was before */

static int given_a_journal(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char stream[64], path[64];
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	strcpy(directory, "/tmp/krait_log_XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s/socket", directory);
	snprintf(path, sizeof path, "%s/file", directory);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	file = open(path, O_RDWR | O_CREAT, 0600);
	standard_error = dup(STDERR_FILENO);
	ck_assert_int_eq(dup2(file, STDERR_FILENO), STDERR_FILENO);
	ck_assert_int_eq(fstat(file, &st), 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	setenv("KRAIT_JOURNAL_SOCKET", addr.sun_path, 1);
	unlink(path);
	return fd;
}

static void then_the_journal_is_gone(int fd)
{
	char path[64];

	close(fd);
	snprintf(path, sizeof path, "%s/socket", directory);
	unlink(path);
	rmdir(directory);
}

/* After each test, which may have the process to itself or not: the log as it was, and standard error. */
static void as_before(void)
{
	log_set_sink(NULL, NULL);
	log_set_tap(NULL, NULL);
	log_set_level(LOG_INFO);
	logged[0] = '\0';
	tapped = 0;
	unsetenv("JOURNAL_STREAM");
	unsetenv("KRAIT_JOURNAL_SOCKET");
	log_set_format(LOG_FORMAT_TEXT);
	if (standard_error < 0)
		return;
	dup2(standard_error, STDERR_FILENO);
	close(standard_error);
	close(file);
	standard_error = file = -1;
}

static const char *in_the_file(void)
{
	ssize_t n = pread(file, line, sizeof line - 1, 0);

	ck_assert_int_ge(n, 0);
	line[n] = '\0';
	return line;
}

START_TEST(the_journal_gets_fields_or_priorities_if_it_takes_none)
{
	int fd = given_a_journal();
	char entry[LOG_JOURNAL_MAX + 1];
	ssize_t n;

	log_set_format(LOG_FORMAT_TEXT);
	log_line(LOG_ERROR, "node", "one");
	n = recv(fd, entry, sizeof entry - 1, 0);
	ck_assert_int_gt(n, 0);
	entry[n] = '\0';
	ck_assert_str_eq(entry, "SYSLOG_IDENTIFIER=krait\nPRIORITY=3\nKRAIT_OBJECT=node\n"
				"MESSAGE=[node] one\n");
	ck_assert_str_eq(in_the_file(), "");
	then_the_journal_is_gone(fd);
	log_line(LOG_ERROR, "node", "two");
	ck_assert_str_eq(in_the_file(), "<3>[node] two\n");
	log_line(LOG_INFO, "node", "three");
	ck_assert_str_eq(in_the_file(), "<3>[node] two\n<6>[node] three\n");
}
END_TEST

START_TEST(a_journal_that_is_behind_costs_lines_but_no_time)
{
	int fd = given_a_journal();
	uint64_t before = log_dropped();

	log_set_format(LOG_FORMAT_TEXT);
	for (int i = 0; i < 5000; i++)
		log_output(LOG_INFO, "node", "stdout", 0, "more than a socket can hold", 27);
	ck_assert_uint_gt(log_dropped(), before + 1000);
	ck_assert_str_eq(in_the_file(), "");
	then_the_journal_is_gone(fd);
}
END_TEST

START_TEST(json_and_other_descriptors_are_not_the_journals)
{
	int fd = given_a_journal();

	log_set_format(LOG_FORMAT_JSON);
	log_line(LOG_INFO, "node", "one");
	ck_assert_ptr_nonnull(strstr(in_the_file(), "\"message\":\"one\"}\n"));
	setenv("JOURNAL_STREAM", "0:0", 1);
	log_set_format(LOG_FORMAT_TEXT);
	log_line(LOG_INFO, "node", "two");
	ck_assert_ptr_nonnull(strstr(in_the_file(), "Z info [node] two\n"));
	setenv("JOURNAL_STREAM", "nonsense", 1);
	ck_assert(!log_journal_is_stderr());
	setenv("KRAIT_JOURNAL_SOCKET", "/nowhere", 1);
	ck_assert_int_eq(log_journal_open(), -ENOENT);
	memset(line, 'x', 200);
	line[200] = '\0';
	setenv("KRAIT_JOURNAL_SOCKET", line, 1);
	ck_assert_int_eq(log_journal_open(), -ENAMETOOLONG);
	then_the_journal_is_gone(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, NULL, as_before);
	tcase_add_test(t, a_line_has_three_forms);
	tcase_add_test(t, an_entry_of_the_journal_has_fields);
	tcase_add_test(t, an_entry_of_the_journal_is_bounded);
	tcase_add_test(t, what_a_worker_prints_says_where_and_in_which_call);
	tcase_add_loop_test(t, a_line_is_one_line_of_text_whatever_is_printed, 0,
			    sizeof hostile / sizeof hostile[0]);
	tcase_add_loop_test(t, a_line_that_is_too_long_is_cut_between_characters_and_stays_valid, 0,
			    5);
	tcase_add_test(t, a_long_object_leaves_room_for_the_text);
	tcase_add_loop_test(t, objects_say_their_pool_worker_and_pid, 0,
			    sizeof objects / sizeof objects[0]);
	tcase_add_test(t, a_line_may_say_its_level);
	tcase_add_test(t, so_many_pass_in_a_second_and_the_rest_is_counted);
	tcase_add_test(t, lines_of_one_kind_are_bounded_and_others_are_not_held_up);
	tcase_add_test(t, a_tap_hears_the_nodes_own_lines_as_they_are_written);
	tcase_add_test(t, the_journal_gets_fields_or_priorities_if_it_takes_none);
	tcase_add_test(t, a_journal_that_is_behind_costs_lines_but_no_time);
	tcase_add_test(t, json_and_other_descriptors_are_not_the_journals);
	return run(s);
}
