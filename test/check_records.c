/* check_records.c - where records live and how they are found: slab.h and table.h. */
#include "mem.h"
#include "slab.h"
#include "suite.h"
#include "table.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define THINGS 20000u

/* ---- table ---- */

struct thing {
	struct table_link link;
	uint64_t id;
	bool in, seen;
};

static struct thing things[THINGS];
static struct table table;
static unsigned long hashed;

static uint32_t hash_of(const struct table_link *l, const void *arg)
{
	(void)arg;
	hashed++;
	return table_hash_id(table_entry(l, struct thing, link)->id);
}

static struct thing *find(uint64_t id)
{
	struct table_link *l = table_chain(&table, table_hash_id(id));

	while (l != NULL && table_entry(l, struct thing, link)->id != id)
		l = l->next;
	return l != NULL ? table_entry(l, struct thing, link) : NULL;
}

static void put(unsigned i)
{
	things[i].in = true;
	table_put(&table, &things[i].link);
}

static void take(unsigned i)
{
	things[i].in = false;
	table_take(&table, &things[i].link);
}

static void given_a_table(void)
{
	memset(things, 0, sizeof things);
	for (unsigned i = 0; i < THINGS; i++)
		things[i].id = 1000 + 3 * (uint64_t)i;
	table_init(&table, hash_of, NULL);
	hashed = 0;
	srand(1);
}

static void then_all_are_found(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < THINGS; i++) {
		ck_assert_ptr_eq(find(things[i].id), things[i].in ? &things[i] : NULL);
		count += things[i].in;
	}
	ck_assert_uint_eq(table.count, count);
}

static void then_it_is_empty(void)
{
	ck_assert_uint_eq(table.count, 0);
	ck_assert_ptr_null(table_pop(&table));
	ck_assert_ptr_null(table_after(&table, NULL));
	table_close(&table);
}

START_TEST(a_table_has_what_was_put_in_and_not_taken_out)
{
	given_a_table();
	for (unsigned most = 10; most <= THINGS; most *= 20) /* small, then large, */
		for (unsigned n = 0; n < 3 * most; n++) {
			unsigned i = (unsigned)rand() % most;

			if (things[i].in)
				take(i);
			else
				put(i);
		}
	then_all_are_found();
	for (unsigned i = 0; i < THINGS; i++)
		if (!things[i].in)
			put(i);
	then_all_are_found();
	ck_assert_uint_ge(table.room, THINGS / 4);
	for (unsigned n = 0; n < 20 * THINGS; n++) { /* then small again */
		unsigned i = (unsigned)rand() % THINGS;

		if (things[i].in)
			take(i);
		else if (table.count < 10)
			put(i);
	}
	for (unsigned i = 0; i < THINGS; i++)
		if (!things[i].in) { /* with each that comes there are fewer buckets */
			put(i);
			take(i);
		}
	then_all_are_found();
	ck_assert_uint_lt(table.room, THINGS / 20);
	while (table_pop(&table) != NULL)
		;
	then_it_is_empty();
}
END_TEST

START_TEST(a_table_that_finds_no_memory_is_slower_and_nothing_else)
{
	given_a_table();
	for (unsigned i = 0; i < THINGS / 10; i++) {
		mem_fail_after = 0;
		put(i);
	}
	mem_fail_after = -1;
	then_all_are_found();
	for (unsigned i = 0; i < THINGS / 10; i++)
		take(i);
	then_it_is_empty();
}
END_TEST

START_TEST(no_single_one_pays_for_all_when_a_table_grows_or_shrinks)
{
	unsigned long most = 0;

	given_a_table();
	for (unsigned i = 0; i < THINGS; i++, hashed = 0) {
		put(i);
		most = hashed > most ? hashed : most;
	}
	for (unsigned i = 0; i < THINGS; i++, hashed = 0) {
		take(i);
		if (i + 10 < THINGS) { /* who comes while they go */
			put(i);
			take(i);
		}
		most = hashed > most ? hashed : most;
	}
	ck_assert_uint_le(most, 20);
	then_it_is_empty();
}
END_TEST

START_TEST(a_walk_sees_each_once_even_if_it_takes_them_out)
{
	struct table_link *l, *next;
	unsigned count = 0;

	given_a_table();
	for (unsigned i = 0; i < THINGS; i += 2)
		put(i);
	for (l = table_after(&table, NULL); l != NULL; l = next) {
		struct thing *t = table_entry(l, struct thing, link);

		next = table_after(&table, l);
		ck_assert(t->in && !t->seen);
		t->seen = true;
		count++;
		if (count % 3 != 0)
			take((unsigned)(t - things));
	}
	ck_assert_uint_eq(count, THINGS / 2);
	then_all_are_found();
	while (table_pop(&table) != NULL)
		;
	then_it_is_empty();
}
END_TEST

START_TEST(numbers_that_follow_each_other_lie_close_together_and_all_lie_evenly)
{
	unsigned with[8] = { 0 };
	uint8_t rest[16] = { 1, 2, 3 };

	for (unsigned i = 0; i < 8000; i++) {
		uint32_t first = table_hash_near(8 * i, rest, sizeof rest), hash;

		with[first & 7]++;
		for (unsigned k = 1; k < 8; k++) {
			hash = table_hash_near(8 * i + k, rest, sizeof rest);
			ck_assert_uint_eq(hash >> 3, first >> 3);
			ck_assert_uint_eq((hash - first) & 7, k);
		}
	}
	for (unsigned i = 0; i < 8; i++) /* who counts in steps of eight */
		ck_assert(with[i] > 700 && with[i] < 1300);
}
END_TEST

/* ---- slab ---- */

static size_t len_of(unsigned i)
{
	return 8 + (size_t)i * 7 % (SLAB_MAX + 500);
}

START_TEST(records_do_not_overlap_and_their_memory_is_given_back)
{
	enum { N = 1500 };
	static uint8_t *at[N];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N; i++) {
			ck_assert_ptr_nonnull(at[i] = slab_alloc(len_of(i)));
			ck_assert_uint_eq((uintptr_t)at[i] % 8, 0);
			memset(at[i], (int)(i % 251), len_of(i));
		}
		for (unsigned k = 0; k < N; k++) {
			unsigned i = k * 7919u % N; /* in no order */

			ck_assert(at[i][0] == i % 251 &&
				  memcmp(at[i], at[i] + 1, len_of(i) - 1) == 0); /* all alike */
			slab_free(at[i], len_of(i));
		}
	}
	slab_free(NULL, 8);
	ck_assert_uint_le(slab_bytes(), (size_t)SLAB_KEPT * SLAB_CHUNK * (SLAB_MAX / 16));
	ck_assert(slab_bytes() > 0 || !slab_works());
	slab_trim();
	ck_assert_uint_eq(slab_bytes(), 0);
}
END_TEST

START_TEST(records_that_come_and_go_ask_for_no_memory)
{
	enum { N = 60 };
	void *at[N];
	unsigned long asked = 0;

	for (unsigned round = 0; round < 100; round++) {
		if (round == 1)
			asked = mem_asked;
		for (unsigned i = 0; i < N; i++)
			ck_assert_ptr_nonnull(at[i] = slab_alloc(400));
		for (unsigned i = 0; i < N; i++)
			slab_free(at[i], 400);
	}
	ck_assert(mem_asked == asked || !slab_works());
	slab_trim();
}
END_TEST

START_TEST(memory_of_one_size_serves_another_and_goes_when_it_is_not_needed)
{
	enum { N = 5000 };
	static void *at[N];
	size_t most;

	for (unsigned round = 0; round < 3; round++) {
		size_t len = round == 1 ? 296 : 304;

		for (unsigned i = 0; i < N; i++)
			ck_assert_ptr_nonnull(at[i] = slab_alloc(len));
		if (round == 0)
			most = slab_bytes();
		ck_assert_uint_le(slab_bytes(), most + 2 * SLAB_KEPT * SLAB_CHUNK);
		for (unsigned i = 0; i < N; i++)
			slab_free(at[i], len);
		ck_assert(slab_spare() > most / 2 || !slab_works());
		slab_tidy(); /* all have just been needed */
		ck_assert(slab_spare() > most / 2 || !slab_works());
	}
	slab_tidy();
	ck_assert_uint_eq(slab_spare(), 0);
	ck_assert_uint_le(slab_bytes(), 2 * SLAB_KEPT * SLAB_CHUNK);
	slab_trim();
	ck_assert_uint_eq(slab_bytes(), 0);
}
END_TEST

START_TEST(the_nth_record_fails_as_the_nth_allocation_does)
{
	void *a, *b, *c;

	mem_fail_after = 1;
	a = slab_alloc(100);
	b = slab_alloc(100);
	c = slab_alloc(SLAB_MAX + 1);
	ck_assert(a != NULL && b == NULL && c != NULL);
	slab_free(a, 100);
	slab_free(c, SLAB_MAX + 1);
	slab_trim();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("records");
	TCase *tests = tcase_create("records");

	tcase_add_test(tests, a_table_has_what_was_put_in_and_not_taken_out);
	tcase_add_test(tests, a_table_that_finds_no_memory_is_slower_and_nothing_else);
	tcase_add_test(tests, no_single_one_pays_for_all_when_a_table_grows_or_shrinks);
	tcase_add_test(tests, a_walk_sees_each_once_even_if_it_takes_them_out);
	tcase_add_test(tests, records_do_not_overlap_and_their_memory_is_given_back);
	tcase_add_test(tests, records_that_come_and_go_ask_for_no_memory);
	tcase_add_test(tests, numbers_that_follow_each_other_lie_close_together_and_all_lie_evenly);
	tcase_add_test(tests, memory_of_one_size_serves_another_and_goes_when_it_is_not_needed);
	tcase_add_test(tests, the_nth_record_fails_as_the_nth_allocation_does);
	suite_add_tcase(suite, tests);
	return run(suite);
}
