/* check_deadlock.c - whether a request could never be served. A case is a text: who waits for whom, and who
 * has asked for what.
 *
 *     "1:A 2:B,C 3: | A? B1 C?2"  the call in slot 1 waits for A, that in slot 2 for B and C, and what is in
 *                            slot 3 does not wait; a request of A is queued, one of B runs in slot 1, one
 *                            of C is queued for slot 2. '_' is a process that is not known */
#include "deadlock.h"

#include "mem.h"
#include "suite.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MOST 32

struct given {
	struct deadlock_wait wait[MOST];
	struct deadlock_ask ask[MOST];
	size_t waits, asks;
	unsigned slots;
};

static struct deadlock_process process(char name)
{
	/* neighbours differ in one field only: a node, a creation, a serial, an id */
	uint32_t n = (uint32_t)(name - 'A');

	return name == '_' ? (struct deadlock_process){ 0 }
			   : (struct deadlock_process){ 1 + n / 8, n % 2, n / 2 % 2, n / 4 % 2 };
}

static struct given given(const char *text)
{
	struct given g = { 0 };
	unsigned slot = 0;
	bool asks = false;

	for (; *text != '\0'; text++) {
		if (*text == '|') {
			asks = true;
		} else if (text[0] >= '1' && text[0] <= '9' && text[1] == ':') {
			slot = (unsigned)(*text++ - '1');
			g.slots = slot + 1 > g.slots ? slot + 1 : g.slots;
		} else if (*text == ' ' || *text == ',') {
			continue;
		} else if (!asks) {
			g.wait[g.waits] =
				(struct deadlock_wait){ slot, process(*text), 100 + g.waits };
			g.waits++;
		} else {
			bool queued = text[1] == '?';
			const char *at = queued ? text + 2 : text + 1;
			bool one = *at >= '1' && *at <= '9';

			g.ask[g.asks] = (struct deadlock_ask){
				.process = process(*text),
				.queued = queued,
				.first = one ? (unsigned)(*at - '1') : 0,
				.count = one ? 1 : g.slots,
				.arrival = g.asks,
				.since_us = 200 + g.asks,
			};
			g.asks++;
			text = one ? at : at - 1;
		}
	}
	return g;
}

/* "none", "unclear", or the number of the ask that is refused. */
static const char *found(const char *text, uint64_t *since)
{
	static char number[16];
	struct given g = given(text);
	size_t which = SIZE_MAX;

	switch (deadlock_find(g.slots, g.wait, g.waits, g.ask, g.asks, &which, since)) {
	case DEADLOCK_NONE:
		return "none";
	case DEADLOCK_UNCLEAR:
		return "unclear";
	default:
		snprintf(number, sizeof number, "%zu", which);
		return number;
	}
}

static const struct {
	const char *text, *expected;
} rows[] = {
	/* one worker */
	{ "1:A | A?", "0" },
	{ "1:A |", "none" },
	{ "1:A | B?", "none" },    /* A can answer */
	{ "1:A | B? A? C?", "1" }, /* B and C have nothing to do with it */
	{ "1:A | A? B? A?", "2" }, /* the newest of A's */
	{ "1:A,B | A?", "none" },  /* B can answer, and the call goes on */
	{ "1:A,B | A? B?", "1" },
	/* two workers */
	{ "1:A 2:B | A? B?", "1" },
	{ "1:A 2:B | A?", "none" }, /* B answers, slot 2 serves A */
	{ "1:A 2:A | A?", "0" },
	{ "1:A 2:A | B?", "none" },
	{ "1:A 2:B | B? C? A? D?", "2" },
	/* who waits for a call that waits */
	{ "1:A 2:B | B1 A?", "1" },    /* A's request is queued, B waits for slot 1 */
	{ "1:A 2:B | B1 C?", "none" }, /* A answers slot 1, that answers B */
	{ "1:A 2:B 3:C | B1 C2 A?", "2" },
	{ "1:A 2:B 3:C | B1 C2 D?", "none" },
	{ "1:A 2:B | A2 B1", "none" },    /* stuck, but nothing is queued that could be refused */
	{ "1:A 2:B | A2 B1 C?", "none" }, /* and C is not to blame */
	{ "1:A 2:B | A2 B1 B?", "2" },
	/* a process that has one request that will be answered is not stuck */
	{ "1:A 2:B | A? A2", "none" },
	{ "1:A 2:B | A? A2 B?", "2" },
	/* a slot that does not wait serves whoever may come there */
	{ "1:A 2: | A?", "none" },
	{ "1:A 2: | A?1", "0" },
	{ "1:A 2: | A?2", "none" },
	{ "1:A 2: | A2", "none" },
	{ "1:A 2: | B?1", "none" }, /* B is not to blame */
	{ "1:A 2: | B?1 A?1 B?1 C?", "1" },
	{ "1:A 2:B 3: | B?1 A?2", "1" },
	{ "1:A 2:B 3: | B?1 A?3", "none" },
	{ "1:A 2:B 3: | B1 A?2 C?2", "1" },
	{ "1:A 2: | A?1 A?", "none" }, /* its second one will be answered */
	/* names */
	{ "1:_ | A?", "unclear" },
	{ "1:_ |", "none" },
	{ "1:_ 2: | A?", "none" },
	{ "1:_ 2: | A?1", "unclear" },
	{ "1:_ 2:A 3: | A?2", "0" },
	{ "1:_ 2:A | A?", "unclear" },
	{ "1:_ 2:A | B?", "none" }, /* A can answer, whoever the other one is */
	{ "1:_,A | A?", "unclear" },
	/* processes that differ in nothing but one number */
	{ "1:A | B? C? E? I?", "none" },
	{ "1:I | A?", "none" },
};

START_TEST(who_goes_on_is_found)
{
	uint64_t since;

	ck_assert_msg(strcmp(found(rows[_i].text, &since), rows[_i].expected) == 0,
		      "%s: found %s, expected %s", rows[_i].text, found(rows[_i].text, &since),
		      rows[_i].expected);
}
END_TEST

START_TEST(it_is_as_old_as_the_last_thing_that_it_is_made_of)
{
	uint64_t since = 0;

	ck_assert_str_eq(found("1:A 2:B | A? B? C?", &since), "1");
	ck_assert_uint_eq(since, 201);
	ck_assert_str_eq(found("1:A 2:B | C? A? B2", &since), "1");
	ck_assert_uint_eq(since, 202); /* B's request, though it runs */
}
END_TEST

START_TEST(without_memory_nobody_is_refused)
{
	uint64_t since;

	for (long n = 0; n < 6; n++) {
		mem_fail_after = n;
		ck_assert_str_eq(found("1:A | A?", &since), "none");
		mem_fail_after = -1;
	}
	ck_assert_str_eq(found("1:A | A?", &since), "0");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("deadlock");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, who_goes_on_is_found, 0, (int)(sizeof rows / sizeof rows[0]));
	tcase_add_test(t, it_is_as_old_as_the_last_thing_that_it_is_made_of);
	tcase_add_test(t, without_memory_nobody_is_refused);
	suite_add_tcase(s, t);
	return run(s);
}
