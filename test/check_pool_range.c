/* check_pool_range.c - pools that grow while requests wait, and shrink when they are too large. */
#include "pool_given.h"

/* A pool of `size` idle workers that may become `most`: grow_after 50 ms, idle_ttl 10 s. */
static void given_range(unsigned size, unsigned most)
{
	config.size_max = most;
	config.grow_after_us = 50 * MS;
	config.idle_ttl_us = 10 * SECONDS;
	given_workers(size);
}

/* ---- growing ---- */

START_TEST(a_request_that_has_waited_long_enough_gets_one_more_worker)
{
	given_range(1, 3);
	call(10);
	call(11);
	then("RUN 1 10");
	after_ms(49);
	then_nothing();
	after_ms(1);
	then("START 2@1");
	ck_assert_uint_eq(pool_size(pool), 2);
	ready(2);
	then("RUN 2 11");
}
END_TEST

START_TEST(a_request_that_is_served_in_time_starts_nobody)
{
	given_range(1, 3);
	call(10);
	call(11);
	after_ms(49);
	answer(1, 10);
	then("RUN 1 10, DONE 10 ok, RUN 1 11");
	call(12);
	after_ms(40);
	answer(1, 11);
	ignore_actions();
	after_ms(1000);
	then_nothing();
}
END_TEST

START_TEST(an_answer_in_the_moment_of_growth_comes_first)
{
	given_range(1, 3);
	call(10);
	call(11);
	ignore_actions();
	later_ms(50);
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
}
END_TEST

START_TEST(the_next_one_starts_when_this_one_is_there_and_somebody_still_waits_too_long)
{
	given_range(1, 4);
	for (uint64_t id = 10; id < 14; id++)
		call(id);
	ignore_actions();
	after_ms(1000);
	then("START 2@1");
	ready(2);
	then("START 3@2, RUN 2 11");
	ready(3);
	then("START 4@3, RUN 3 12");
	ready(4);
	then("RUN 4 13");
	ck_assert_uint_eq(pool_totals(pool)->grown, 3);
}
END_TEST

START_TEST(the_largest_size_is_the_end_of_it)
{
	given_range(1, 2);
	for (uint64_t id = 10; id < 20; id++)
		call(id);
	after_ms(100);
	ready(2);
	ignore_actions();
	after_ms(100000);
	then_nothing();
	ck_assert_uint_eq(pool_size(pool), 2);
}
END_TEST

START_TEST(who_is_pinned_is_not_helped_by_one_more)
{
	given_range(1, 3);
	strict("a", 10);
	strict("a", 11);
	then("RUN 1 10");
	after_ms(1000);
	then_nothing();
	call(12); /* but he is */
	after_ms(50);
	then("START 2@1");
}
END_TEST

START_TEST(the_calls_of_a_lease_are_not_helped_by_one_more)
{
	given_range(1, 3);
	checkout(10, 1);
	lease_call(11, 1);
	lease_call(12, 1);
	ignore_actions();
	after_ms(1000);
	then_nothing();
}
END_TEST

START_TEST(an_empty_pool_starts_one_at_once)
{
	given_range(0, 2);
	call(10);
	then("START 1@0");
	call(11);
	after_ms(1000);
	then_nothing();
	ready(1);
	then("START 2@1, RUN 1 10");
}
END_TEST

START_TEST(a_paused_pool_does_not_grow)
{
	given_range(1, 3);
	step((struct pool_event){ .type = POOL_PAUSE });
	call(10);
	after_ms(1000);
	then_nothing();
	step((struct pool_event){ .type = POOL_RESUME });
	then("RUN 1 10");
}
END_TEST

START_TEST(while_starts_fail_nothing_grows)
{
	given_range(1, 8);
	for (uint64_t id = 10; id < 20; id++)
		call(id);
	after_ms(50);
	ignore_actions();
	gone(2);
	ignore_actions();
	for (unsigned i = 0; i < 50; i++) { /* each that starts dies at once */
		after_ms(200);
		if (pool_worker_after(pool, pool_worker(pool, 1)) != NULL)
			gone(pool_worker_after(pool, pool_worker(pool, 1))->id);
	}
	ck_assert_uint_eq(pool_size(pool), 2);
	ck_assert_uint_lt(starts_seen, 15);
	ignore_actions();
}
END_TEST

START_TEST(one_that_was_to_leave_stays_rather_than_that_another_starts)
{
	given_range(2, 4);
	call(10);
	call(11);
	resize(1);
	ignore_actions();
	step((struct pool_event){ .type = POOL_RESIZE, .size = 1, .size_max = 3 });
	call(12);
	answer(1, 11);
	then("END 1, DONE 11 ok");
	ck_assert_uint_eq(pool_size(pool), 1);
	after_ms(50);
	then("START 3@0");
}
END_TEST

/* ---- shrinking ---- */

/* A pool of one to three, three of them there and idle; the last to have been used is 3. */
static void given_a_grown_pool(void)
{
	given_range(1, 3);
	for (uint64_t id = 10; id < 13; id++)
		call(id);
	after_ms(50);
	ready(2);
	ready(3);
	ck_assert_uint_eq(pool_ready(pool), 3);
	answer(1, 10);
	answer(2, 11);
	answer(3, 12);
	ignore_actions();
}

START_TEST(a_worker_that_nobody_needed_leaves_one_at_a_time)
{
	given_a_grown_pool();
	after_ms(9999);
	then_nothing();
	after_ms(1);
	then("END 1");
	gone(1);
	after_ms(9999);
	then_nothing();
	after_ms(1);
	then("END 2");
	gone(2);
	after_ms(100000);
	then_nothing();
	ck_assert_uint_eq(pool_size(pool), 1);
	ck_assert_uint_eq(pool_totals(pool)->shrunk, 2);
	ck_assert_uint_eq(pool_totals(pool)->left[WHY_SURPLUS], 2);
}
END_TEST

START_TEST(who_was_needed_all_at_once_in_time_stays)
{
	given_a_grown_pool();
	for (unsigned round = 0; round < 20; round++) {
		after_ms(9000);
		for (uint64_t id = 20; id < 23; id++)
			call(id);
		for (uint64_t w = 1; w <= 3; w++)
			answer(w, call_of(w));
	}
	ck_assert_uint_eq(pool_size(pool), 3);
	ck_assert_uint_eq(starts_seen, 3);
}
END_TEST

START_TEST(in_turns_a_pool_shrinks_too)
{
	config.order = ORDER_FIFO;
	given_a_grown_pool();
	for (uint64_t id = 20; pool_size(pool) == 3; id++) { /* all are used, never two at a time */
		after_ms(1000);
		if (pool_size(pool) != 3)
			break;
		ck_assert_uint_lt(id, 40);
		call(id);
		for (uint64_t w = 1; w <= 3; w++)
			if (call_of(w) == id)
				answer(w, id);
	}
	ck_assert_uint_eq(pool_totals(pool)->left[WHY_SURPLUS], 1);
	ignore_actions();
}
END_TEST

START_TEST(who_holds_sessions_stays)
{
	given_a_grown_pool();
	strict("a", 20); /* on 1: of those with the fewest sessions the one used last is 3 */
	then("RUN 3 20");
	answer(3, 20);
	strict("b", 21);
	answer(2, 21);
	ignore_actions();
	after_ms(10000);
	then("END 1");
	gone(1);
	after_ms(1000000);
	then_nothing();
	ck_assert_uint_eq(pool_ready(pool), 2);
	end_session("a");
	pong(3);
	ignore_actions();
	after_ms(10000);
	then("END 3");
}
END_TEST

/* Two calls at once, and then nothing for so long; true if that started a worker. */
static bool a_burst(uint64_t pause_ms)
{
	static uint64_t id = 100;
	uint64_t before = starts_seen;

	call(id);
	call(id + 1);
	after_ms(50);
	for (const struct pool_worker *w = NULL; (w = pool_worker_after(pool, w)) != NULL;)
		if (w->state == WORKER_STARTING)
			ready(w->id);
	for (const struct pool_worker *w = NULL; (w = pool_worker_after(pool, w)) != NULL;)
		if (call_of(w->id) != 0)
			answer(w->id, call_of(w->id));
	id += 2;
	after_ms(pause_ms);
	for (const struct pool_worker *w = NULL, *next = pool_worker_after(pool, NULL);
	     (w = next) != NULL;) {
		next = pool_worker_after(pool, w);
		if (w->state == WORKER_STOPPING)
			gone(w->id);
	}
	ignore_actions();
	return starts_seen > before;
}

START_TEST(a_load_that_comes_and_goes_does_not_start_and_stop_workers_as_it_does)
{
	unsigned starts = 0;

	given_range(1, 2);
	for (unsigned i = 0; i < 1000; i++) /* somewhat longer apart than idle_ttl */
		starts += a_burst(12000);
	ck_assert_uint_le(starts, 2);
	ck_assert_uint_eq(pool_size(pool), 2);
	for (unsigned i = 0; i < 1000; i++)
		starts += a_burst(100000);
	ck_assert_uint_le(starts, 6);
}
END_TEST

START_TEST(patience_ends_when_it_was_not_needed)
{
	given_range(1, 2);
	for (unsigned i = 0; i < 100; i++)
		(void)a_burst(100000);
	ck_assert_uint_eq(pool_size(pool), 2);
	after_ms(1000000); /* 16 times as long was enough once */
	ck_assert_uint_eq(pool_size(pool), 1);
	ck_assert(a_burst(9000));
	ck_assert_uint_eq(pool_size(pool), 2);
	ck_assert(!a_burst(1));
	after_ms(30000); /* that came late: it counts from the beginning */
	ck_assert_uint_eq(pool_size(pool), 1);
	ignore_actions();
}
END_TEST

START_TEST(while_somebody_waits_in_a_paused_pool_nobody_leaves)
{
	config.breaker.threshold = 1;
	config.size_max = 2;
	config.idle_ttl_us = 10 * SECONDS;
	given_workers(0);
	call(10);
	ready(1);
	answer(1, 10);
	step((struct pool_event){ .type = POOL_PAUSE });
	call(11);
	ignore_actions();
	after_ms(100000);
	then_nothing();
	step((struct pool_event){ .type = POOL_RESUME });
	then("RUN 1 11");
}
END_TEST

START_TEST(without_a_time_nobody_leaves)
{
	config.idle_ttl_us = 0;
	config.size_max = 2;
	config.grow_after_us = 0;
	given_workers(1);
	call(10);
	call(11);
	ready(2);
	answer(1, 10);
	answer(2, 11);
	ignore_actions();
	after_ms(10000000);
	then_nothing();
}
END_TEST

START_TEST(a_probe_does_not_make_a_spare_worker_look_needed)
{
	config.health_interval_us = 1 * SECONDS;
	config.health_timeout_us = 1 * SECONDS;
	given_range(1, 2);
	call(10);
	call(11);
	after_ms(50);
	ready(2);
	answer(1, 10);
	for (unsigned i = 0; i < 100 && pool_size(pool) == 2; i++) {
		after_ms(100);
		for (uint64_t w = 1; w <= 2; w++)
			if (state_of(w) == WORKER_PROBING)
				pong(w);
	}
	ck_assert_uint_eq(state_of(1), WORKER_STOPPING);
	ignore_actions();
}
END_TEST

/* ---- sizes that change ---- */

START_TEST(a_range_is_kept_when_it_moves)
{
	given_a_grown_pool();
	step((struct pool_event){ .type = POOL_RESIZE, .size = 2, .size_max = 5 });
	then_nothing();
	ck_assert_uint_eq(pool_size(pool), 3);
	step((struct pool_event){ .type = POOL_RESIZE, .size = 4, .size_max = 5 });
	then("START 4@3");
	step((struct pool_event){ .type = POOL_RESIZE, .size = 1, .size_max = 2 });
	then("END 3");
	resize(1);
	then("END 2");
	ck_assert_uint_eq(pool_size(pool), 1);
}
END_TEST

START_TEST(a_size_without_a_range_is_that_size)
{
	given_a_grown_pool();
	resize(3);
	after_ms(1000000);
	then_nothing();
	for (uint64_t id = 20; id < 30; id++)
		call(id);
	ignore_actions();
	after_ms(1000000);
	then_nothing();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: sizes");
	TCase *tc = tcase_create("sizes");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_request_that_has_waited_long_enough_gets_one_more_worker);
	tcase_add_test(tc, a_request_that_is_served_in_time_starts_nobody);
	tcase_add_test(tc, an_answer_in_the_moment_of_growth_comes_first);
	tcase_add_test(
		tc, the_next_one_starts_when_this_one_is_there_and_somebody_still_waits_too_long);
	tcase_add_test(tc, the_largest_size_is_the_end_of_it);
	tcase_add_test(tc, who_is_pinned_is_not_helped_by_one_more);
	tcase_add_test(tc, the_calls_of_a_lease_are_not_helped_by_one_more);
	tcase_add_test(tc, an_empty_pool_starts_one_at_once);
	tcase_add_test(tc, a_paused_pool_does_not_grow);
	tcase_add_test(tc, while_starts_fail_nothing_grows);
	tcase_add_test(tc, one_that_was_to_leave_stays_rather_than_that_another_starts);
	tcase_add_test(tc, a_worker_that_nobody_needed_leaves_one_at_a_time);
	tcase_add_test(tc, who_was_needed_all_at_once_in_time_stays);
	tcase_add_test(tc, in_turns_a_pool_shrinks_too);
	tcase_add_test(tc, who_holds_sessions_stays);
	tcase_add_test(tc, a_load_that_comes_and_goes_does_not_start_and_stop_workers_as_it_does);
	tcase_add_test(tc, patience_ends_when_it_was_not_needed);
	tcase_add_test(tc, while_somebody_waits_in_a_paused_pool_nobody_leaves);
	tcase_add_test(tc, without_a_time_nobody_leaves);
	tcase_add_test(tc, a_probe_does_not_make_a_spare_worker_look_needed);
	tcase_add_test(tc, a_range_is_kept_when_it_moves);
	tcase_add_test(tc, a_size_without_a_range_is_that_size);
	suite_add_tcase(suite, tc);
	return run(suite);
}
