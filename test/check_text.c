/* check_text.c - what becomes lines of text: a worker's output, cut into lines, and the log. */
#include "lines.h"
#include "log.h"
#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- lines ---- */

static char told[8 * LINE_MAX_BYTES];
static size_t told_len;

/* Lines as they were told, a '|' after each. */
static void on_line(void *arg, const char *line, size_t len)
{
	ck_assert_ptr_eq(arg, told);
	ck_assert_uint_le(len, LINE_MAX_BYTES);
	memcpy(told + told_len, line, len);
	told_len += len;
	told[told_len++] = '|';
	told[told_len] = '\0';
}

static struct lines given_lines(void)
{
	told_len = 0;
	told[0] = '\0';
	return (struct lines){ .on_line = on_line, .arg = told };
}

static const struct cut {
	const char *text, *expected;
} cuts[] = {
	{ "", "" },
	{ "one\n", "one|" },
	{ "one", "one|" },
	{ "one\ntwo", "one|two|" },
	{ "\n\n", "||" },
	{ "one\n\ntwo\n", "one||two|" },
	{ "a line of DOS\r\n", "a line of DOS\r|" },
};

START_TEST(a_stream_is_the_same_lines_however_it_arrives)
{
	size_t len = strlen(cuts[_i].text);

	for (size_t piece = 1; piece <= len + 1; piece++) {
		struct lines l = given_lines();

		for (size_t at = 0; at < len; at += piece)
			lines_put(&l, cuts[_i].text + at, len - at < piece ? len - at : piece);
		lines_end(&l);
		lines_end(&l); /* twice says nothing more */
		ck_assert_str_eq(told, cuts[_i].expected);
	}
}
END_TEST

START_TEST(a_long_line_is_cut_into_several_and_nothing_is_lost)
{
	static const size_t lengths[] = { LINE_MAX_BYTES - 1, LINE_MAX_BYTES, LINE_MAX_BYTES + 1,
					  3 * LINE_MAX_BYTES, 3 * LINE_MAX_BYTES + 7 };
	size_t len = lengths[_i];
	char text[4 * LINE_MAX_BYTES];

	memset(text, 'x', len);
	text[len] = '\n';
	for (size_t piece = 1; piece <= len + 1; piece = piece * 3 + 1) {
		struct lines l = given_lines();
		size_t x = 0, lines = 0;

		for (size_t at = 0; at < len + 1; at += piece)
			lines_put(&l, text + at, len + 1 - at < piece ? len + 1 - at : piece);
		lines_end(&l);
		for (size_t i = 0; i < told_len; i++) {
			x += told[i] == 'x';
			lines += told[i] == '|';
		}
		ck_assert_uint_eq(x, len);
		ck_assert_uint_eq(lines, len / LINE_MAX_BYTES + (len % LINE_MAX_BYTES != 0));
	}
}
END_TEST

START_TEST(a_long_line_is_cut_between_characters)
{
	static const struct {
		const char *character;
		size_t at; /* where the first line ends */
	} rows[] = {
		{ "x", LINE_MAX_BYTES },
		{ "\xc3\xa4", LINE_MAX_BYTES },
		{ "\xe2\x82\xac", LINE_MAX_BYTES - LINE_MAX_BYTES % 3 },
		{ "\xf0\x9f\x90\x8d", LINE_MAX_BYTES },
		{ "x\xf0\x9f\x90\x8d", LINE_MAX_BYTES - LINE_MAX_BYTES % 5 + 1 },
		{ "\xff", LINE_MAX_BYTES }, /* no UTF-8 at all */
		{ "\x80", LINE_MAX_BYTES },
	};
	size_t n = strlen(rows[_i].character), len = 0;
	struct lines l = given_lines();

	for (; len < 2 * LINE_MAX_BYTES; len += n)
		lines_put(&l, rows[_i].character, n);
	lines_end(&l);
	ck_assert_uint_eq((size_t)(strchr(told, '|') - told), rows[_i].at);
	for (size_t i = 0, k = 0; i < told_len; i++) /* nothing is lost */
		if (told[i] != '|')
			ck_assert_int_eq(told[i], rows[_i].character[k++ % n]);
}
END_TEST

/* ---- the log ---- */

static char logged[4 * LOG_LINE_MAX];
static bool full;

static bool sink(void *arg, const char *line, size_t len)
{
	ck_assert_ptr_eq(arg, &full);
	ck_assert_uint_le(len, LOG_LINE_MAX);
	ck_assert(len > 0 && line[len - 1] == '\n');
	if (full)
		return false;
	ck_assert_uint_lt(strlen(logged) + len, sizeof logged);
	strncat(logged, line, len);
	return true;
}

static void given_log(enum log_level level)
{
	log_set_sink(sink, &full);
	log_set_level(level);
	logged[0] = '\0';
	full = false;
}

/* What comes after the time, which is there. */
static const char *after_time(const char *line)
{
	int year, month, day, hour, minute, second, ms, n = 0;

	ck_assert_int_eq(sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour,
				&minute, &second, &ms, &n),
			 7);
	ck_assert_int_eq(n, 25);
	return line + n;
}

START_TEST(a_line_has_its_time_level_object_and_text)
{
	given_log(LOG_INFO);
	log_line(LOG_WARNING, "worker default/3 pid 812", "exited: signal %s", "sigsegv");
	ck_assert_str_eq(after_time(logged),
			 "warning [worker default/3 pid 812] exited: signal sigsegv\n");
}
END_TEST

START_TEST(a_line_below_the_level_is_not_written)
{
	given_log(LOG_WARNING);
	log_line(LOG_INFO, "node", "nothing");
	ck_assert_str_eq(logged, "");
	ck_assert(!log_enabled(LOG_INFO) && log_enabled(LOG_WARNING) && log_enabled(LOG_ERROR));
	log_set_level(LOG_DEBUG);
	log_line(LOG_DEBUG, "node", "something");
	ck_assert_str_eq(after_time(logged), "debug [node] something\n");
}
END_TEST

START_TEST(a_line_is_one_line_whatever_it_says)
{
	given_log(LOG_INFO);
	log_line(LOG_INFO, "a\nb", "one\ntwo\tthree\033[31m");
	ck_assert_str_eq(after_time(logged), "info [a b] one two three\\x1b[31m\n");
}
END_TEST

START_TEST(a_long_line_is_cut_and_a_long_object_leaves_room_for_the_text)
{
	char text[2 * LOG_LINE_MAX];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	given_log(LOG_INFO);
	log_line(LOG_INFO, "node", "%s", text);
	ck_assert_uint_ge(strlen(logged), LOG_LINE_MAX - 2);
	given_log(LOG_INFO);
	log_line(LOG_INFO, text, "%s", "the text");
	ck_assert_ptr_nonnull(strstr(logged, "x] the text\n"));
}
END_TEST

START_TEST(lines_that_are_dropped_are_counted_and_told_when_there_is_room)
{
	uint64_t before = log_dropped();

	given_log(LOG_INFO);
	full = true;
	for (int i = 0; i < 3; i++)
		log_line(LOG_INFO, "node", "lost");
	ck_assert_uint_eq(log_dropped() - before, 3);
	full = false;
	log_line(LOG_INFO, "node", "heard");
	ck_assert_ptr_nonnull(strstr(logged, "warning [log] 3 lines dropped\n"));
	ck_assert_ptr_nonnull(strstr(logged, "info [node] heard\n"));
	ck_assert_ptr_null(strstr(logged, "lost"));
	logged[0] = '\0';
	log_line(LOG_INFO, "node", "again");
	ck_assert_ptr_null(strstr(logged, "dropped"));
}
END_TEST

START_TEST(a_reader_of_standard_error_that_stalls_costs_lines_but_no_time)
{
	uint64_t before = log_dropped();
	char line[64];
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	log_set_sink(NULL, NULL);
	log_set_level(LOG_INFO);
	log_line(LOG_INFO, "node", "the first");
	ck_assert_int_gt(read(fds[0], line, sizeof line), 0);
	ck_assert_ptr_nonnull(strstr(line, "[node] the first\n"));
	for (int i = 0; i < 5000; i++) /* a pipe holds 64 KiB */
		log_output(LOG_INFO, "worker default/3 pid 812", "stdout", 0,
			   "more than a pipe can hold", 25);
	ck_assert_uint_gt(log_dropped(), before + 1000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");
	TCase *t = tcase_create("text");

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, a_stream_is_the_same_lines_however_it_arrives, 0,
			    sizeof cuts / sizeof cuts[0]);
	tcase_add_loop_test(t, a_long_line_is_cut_into_several_and_nothing_is_lost, 0, 5);
	tcase_add_loop_test(t, a_long_line_is_cut_between_characters, 0, 7);
	tcase_add_test(t, a_line_has_its_time_level_object_and_text);
	tcase_add_test(t, a_line_below_the_level_is_not_written);
	tcase_add_test(t, a_line_is_one_line_whatever_it_says);
	tcase_add_test(t, a_long_line_is_cut_and_a_long_object_leaves_room_for_the_text);
	tcase_add_test(t, lines_that_are_dropped_are_counted_and_told_when_there_is_room);
	tcase_add_test(t, a_reader_of_standard_error_that_stalls_costs_lines_but_no_time);
	return run(s);
}
