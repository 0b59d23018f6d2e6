/* check_event.c - the catalogue of events: as it is written, and as docs/events.md has it. */
#include "event.h"
#include "suite.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static char page[64 * 1024];

static void given_the_page(void)
{
	FILE *file = fopen("docs/events.md", "r");
	size_t n;

	ck_assert_msg(file != NULL, "docs/events.md: run this in the repository's root");
	n = fread(page, 1, sizeof page - 1, file);
	ck_assert(feof(file));
	fclose(file);
	page[n] = '\0';
}

/* The words in backquotes from `at` to `end`, a blank between them. */
static void put_words(char *out, size_t size, const char *at, const char *end)
{
	size_t len = strlen(out);

	while (at < end && (at = memchr(at, '`', (size_t)(end - at))) != NULL) {
		const char *close = memchr(at + 1, '`', (size_t)(end - at - 1));

		ck_assert_ptr_nonnull(close);
		len += (size_t)snprintf(out + len, size - len, "%s%.*s", len > 0 ? " " : "",
					(int)(close - at - 1), at + 1);
		at = close + 1;
	}
}

/* A cell's words; *request* stands for those of the sentence that says so. */
static const char *cell(const char *at, const char *end, char *out, size_t size)
{
	const char *request = strstr(page, "*request* stands for ");
	const char *macro = memmem(at, (size_t)(end - at), "*request*", 9);

	out[0] = '\0';
	put_words(out, size, at, macro != NULL ? macro : end);
	if (macro != NULL)
		put_words(out, size, request, strchr(request, ':'));
	return out;
}

/* [krait, call, stop] as the table has it: krait call stop. */
static void put_name(const char *at, char *out)
{
	for (; *at != ']'; at++)
		if (*at != ',' && *at != '[')
			*out++ = *at;
	*out = '\0';
}

START_TEST(the_page_has_the_events_of_the_node_and_no_others)
{
	enum event next = 0;

	given_the_page();
	for (const char *row = page; (row = strstr(row, "\n| `[krait")) != NULL; row++) {
		const char *name = row + 4, *second = strstr(row, " | ") + 2,
			   *third = strstr(second, " | ") + 2, *last = strstr(third, " | ");
		char text[512], keys[512];

		ck_assert_msg(next < EVENTS, "the page has an event more: %.40s", name);
		put_name(name, text);
		ck_assert_str_eq(text, event_row(next)->name);
		ck_assert_str_eq(cell(second, third, keys, sizeof keys),
				 event_row(next)->measurements);
		ck_assert_str_eq(cell(third, last, keys, sizeof keys), event_row(next)->metadata);
		next++;
	}
	ck_assert_int_eq(next, EVENTS);
}
END_TEST

/* Writes the event, its keys as the table has them, each with a number. */
static void write_all(struct event_writer *w, const char *words)
{
	char word[64];
	size_t n;

	for (; *words != '\0'; words += n + (words[n] == ' ')) {
		n = strcspn(words, " ");
		snprintf(word, sizeof word, "%.*s", (int)n, words);
		event_uint(w, word, 7);
	}
}

START_TEST(each_event_is_one_term_of_five)
{
	const struct event_row *row = event_row((enum event)_i);
	struct buf out = { 0 };
	struct event_writer w;
	const uint8_t *e;
	uint32_t count;
	size_t used;
	int64_t n;

	event_begin(&w, &out, (enum event)_i, "krait@host", 12345);
	write_all(&w, row->measurements);
	write_all(&w, row->metadata);
	event_end(&w);
	ck_assert_int_eq(out.err, 0);
	ck_assert_int_eq(term_check(out.data, out.len, &used), 0);
	ck_assert_uint_eq(used, out.len);
	ck_assert(term_tuple(out.data, &count, &e) && count == 5);
	ck_assert(term_is_atom(e, "krait_event") && term_is_atom(term_skip(e), "krait@host"));
	e = term_skip(term_skip(e));
	ck_assert(term_list(e, &count, &e) && count == 3 && term_is_atom(e, "krait"));
	e = term_skip(term_skip(term_skip(e))) + 1; /* and the list's end */
	ck_assert(term_map(e, &count, &e) && count >= 2);
	ck_assert(term_is_atom(e, "system_time_us") && term_int(term_skip(e), &n) && n == 12345);
	buf_free(&out);
}
END_TEST

START_TEST(a_key_that_is_not_its_turn_is_a_mistake_in_the_program)
{
	struct buf out = { 0 };
	struct event_writer w;

	event_begin(&w, &out, EVENT_LEASE_GRANTED, "krait@host", 1);
	event_uint(&w, "wait", 1);
}
END_TEST

START_TEST(an_event_that_is_not_whole_is_a_mistake_in_the_program)
{
	struct buf out = { 0 };
	struct event_writer w;

	event_begin(&w, &out, EVENT_PEER_UP, "krait@host", 1);
	event_uint(&w, "peers", 1);
	event_end(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("event");
	TCase *t = tcase_create("event");

	suite_add_tcase(s, t);
	tcase_add_test(t, the_page_has_the_events_of_the_node_and_no_others);
	tcase_add_loop_test(t, each_event_is_one_term_of_five, 0, EVENTS);
	tcase_add_test_raise_signal(t, a_key_that_is_not_its_turn_is_a_mistake_in_the_program,
				    SIGABRT);
	tcase_add_test_raise_signal(t, an_event_that_is_not_whole_is_a_mistake_in_the_program,
				    SIGABRT);
	return run(s);
}
