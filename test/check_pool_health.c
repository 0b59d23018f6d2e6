/* check_pool_health.c - workers that are looked after: probes, limits, last words; new configurations. */
#include "pool_given.h"

static void recycle(uint64_t worker_id, enum pool_why why)
{
	step((struct pool_event){ .type = POOL_RECYCLE, .worker_id = worker_id, .why = why });
}

static enum pool_why why_of(uint64_t worker_id)
{
	ck_assert_ptr_nonnull(pool_worker(pool, worker_id));
	return pool_worker(pool, worker_id)->why;
}

/* Workers that are probed when they were idle for 10 s, and have 1 s to answer. All in the same moment: no
 * jitter, but where a test wants it. */
static void given_watched(unsigned n)
{
	config.health_interval_us = 10 * SECONDS;
	config.health_timeout_us = 1 * SECONDS;
	given_workers(n);
}

/* Until the next thing happens. */
static void until_a_tick(void)
{
	ck_assert_uint_ne(pool_next_tick(pool), POOL_NEVER);
	now_us = pool_next_tick(pool);
	tick();
}

/* Until the worker is probed: between three quarters of the interval and all of it after it was used. */
static void until_probed(uint64_t worker_id)
{
	uint64_t since = pool_worker(pool, worker_id)->since_us;

	ck_assert_uint_eq(state_of(worker_id), WORKER_IDLE);
	while (state_of(worker_id) == WORKER_IDLE)
		until_a_tick();
	ck_assert_uint_eq(state_of(worker_id), WORKER_PROBING);
	ck_assert(now_us - since >= 7500 * MS && now_us - since <= 10 * SECONDS);
}

/* ---- probes ---- */

START_TEST(an_idle_worker_is_probed_and_serves_on)
{
	given_watched(1);
	after_ms(7400);
	then_nothing();
	until_probed(1);
	then("PROBE 1");
	pong(1);
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	call(10);
	then("RUN 1 10");
	answer(1, 10);
	ck_assert_uint_eq(pool_totals(pool)->probes, 1);
	ignore_actions();
	after_ms(10000 - 2500);
	then_nothing();
}
END_TEST

START_TEST(it_is_probed_again_and_again)
{
	given_watched(1);
	for (unsigned i = 0; i < 5; i++) {
		until_probed(1);
		then("PROBE 1");
		pong(1);
	}
}
END_TEST

START_TEST(who_does_not_answer_is_unresponsive_and_replaced)
{
	given_watched(1);
	until_probed(1);
	ignore_actions();
	after_ms(999);
	then_nothing();
	after_ms(1);
	then("KILL 1, START 2@0");
	ck_assert_uint_eq(why_of(1), WHY_UNRESPONSIVE);
	ck_assert_uint_eq(pool_totals(pool)->left[WHY_UNRESPONSIVE], 1);
	ck_assert_str_eq(pool_why_name(why_of(1)), "unresponsive");
}
END_TEST

START_TEST(a_request_waits_for_the_answer_of_the_only_worker_or_takes_another)
{
	given_watched(1);
	until_probed(1);
	ignore_actions();
	call(10);
	then_nothing();
	pong(1);
	then("RUN 1 10");
	resize(2);
	after_ms(1000);
	ready(2);
	answer(1, 10);
	until_probed(1);
	if (state_of(2) == WORKER_PROBING)
		pong(2);
	ignore_actions();
	call(12);
	then("RUN 2 12");
}
END_TEST

START_TEST(a_request_waits_for_the_replacement_of_one_that_does_not_answer)
{
	given_watched(1);
	until_probed(1);
	call(10);
	ignore_actions();
	after_ms(1000);
	then("KILL 1, START 2@0");
	ready(2);
	then("RUN 2 10");
}
END_TEST

START_TEST(who_has_something_to_do_is_not_probed)
{
	given_watched(2);
	call(10);
	checkout(11, 1);
	ignore_actions();
	after_ms(100000);
	then_nothing();
	answer(2, 10);
	ignore_actions();
	after_ms(7400);
	then_nothing();
	for (unsigned i = 0; i < 100; i++) { /* used now and then */
		call(20);
		answer(2, 20);
		ignore_actions();
		after_ms(7400);
		then_nothing();
	}
}
END_TEST

START_TEST(they_are_not_all_probed_at_once)
{
	unsigned together = 0;

	a_random = 12345;
	given_watched(8);
	for (unsigned i = 0; i < 8; i++) {
		until_a_tick();
		together += strchr(said, ',') != NULL;
		ignore_actions();
		ck_assert_uint_ge(now_us, 1 * SECONDS + 7500 * MS);
		ck_assert_uint_le(now_us, 1 * SECONDS + 11000 * MS);
		for (uint64_t w = 1; w <= 8; w++)
			if (state_of(w) == WORKER_PROBING)
				pong(w);
	}
	ck_assert_uint_eq(together, 0);
	ck_assert_uint_eq(pool_totals(pool)->probes, 8);
}
END_TEST

START_TEST(a_probe_changes_nothing_about_who_is_used_next)
{
	given_watched(2);
	after_ms(5000);
	call(10);
	answer(2, 10);
	ignore_actions();
	until_probed(1);
	pong(1);
	call(11);
	then("PROBE 1, RUN 2 11");
}
END_TEST

START_TEST(a_late_answer_to_a_probe_is_nobodys)
{
	uint64_t probe;

	given_watched(1);
	until_probed(1);
	probe = probe_of(1);
	after_ms(1000);
	ignore_actions();
	answer(1, probe);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->late, 1);
}
END_TEST

START_TEST(with_slots_an_idle_worker_is_probed_in_one_and_serves_in_the_others)
{
	config.slots = 2;
	given_watched(1);
	until_probed(1);
	then("PROBE 1");
	call(10);
	then("RUN 1 10");
	call(11);
	then_nothing();
	pong(1);
	then("RUN 1 11");
}
END_TEST

START_TEST(with_slots_the_calls_of_one_that_does_not_answer_hear_of_its_exit)
{
	config.slots = 2;
	given_watched(1);
	until_probed(1);
	the_next.retry = 1;
	call(10);
	ignore_actions();
	after_ms(1000);
	then("KILL 1, START 2@0");
	gone(1);
	ready(2);
	then("RUN 2 10");
}
END_TEST

START_TEST(a_session_may_end_while_its_worker_is_probed)
{
	given_watched(1);
	strict("a", 10);
	answer(1, 10);
	until_probed(1);
	ignore_actions();
	end_session("a");
	then_nothing();
	pong(1);
	then("END_SESSION 1 a");
	pong(1);
	then("SESSION a ended");
}
END_TEST

START_TEST(a_pool_that_stops_forgets_its_probes)
{
	given_watched(2);
	until_probed(1);
	stop();
	ck_assert_uint_eq(why_of(1), WHY_STOP);
	ignore_actions();
}
END_TEST

/* ---- limits ---- */

START_TEST(after_max_calls_a_worker_is_replaced_its_replacement_first)
{
	config.max_calls = 3;
	given_workers(1);
	for (uint64_t id = 10; id < 13; id++) {
		call(id);
		answer(1, id);
	}
	then("RUN 1 10, DONE 10 ok, RUN 1 11, DONE 11 ok, RUN 1 12, DONE 12 ok, START 2@1");
	call(13); /* it serves until the new one is there */
	then("RUN 1 13");
	ready(2);
	then_nothing();
	answer(1, 13);
	then("END 1, DONE 13 ok");
	ck_assert_uint_eq(why_of(1), WHY_MAX_CALLS);
	call(14);
	then("RUN 2 14");
}
END_TEST

START_TEST(at_max_age_a_worker_is_replaced)
{
	config.max_age_us = 60 * SECONDS;
	given_workers(1);
	call(10);
	ignore_actions();
	after_ms(59999);
	then_nothing();
	after_ms(1);
	then("START 2@1");
	ready(2);
	answer(1, 10);
	then("END 1, DONE 10 ok");
	ck_assert_uint_eq(why_of(1), WHY_MAX_AGE);
	gone(1);
	after_ms(59999);
	then_nothing();
	after_ms(1);
	then("START 3@0");
}
END_TEST

START_TEST(one_at_a_time_is_replaced_at_max_age)
{
	config.max_age_us = 60 * SECONDS;
	given_workers(4);
	after_ms(60000);
	then("START 5@4");
	ready(5);
	then("END 1, START 6@0");
	ready(6);
	then("END 2, START 7@1");
}
END_TEST

START_TEST(workers_have_limits_of_their_own)
{
	uint64_t calls[100], ages[100];
	unsigned different = 0;

	config.max_calls = 1000;
	config.max_age_us = 1000 * SECONDS;
	config.jitter_percent = 10;
	given_pool(100);
	a_random = 99;
	tick();
	for (unsigned i = 0; i < 100; i++) {
		const struct pool_worker *w = pool_worker(pool, i + 1);

		ready(i + 1);
		calls[i] = w->max_calls;
		ages[i] = w->age.key - now_us;
		ck_assert(calls[i] >= 900 && calls[i] <= 1100);
		ck_assert(ages[i] >= 900 * SECONDS && ages[i] <= 1100 * SECONDS);
		different += i > 0 && calls[i] != calls[i - 1] && ages[i] != ages[i - 1];
	}
	ck_assert_uint_gt(different, 90);
	ignore_actions();
}
END_TEST

START_TEST(one_call_may_be_the_limit)
{
	config.max_calls = 1;
	config.jitter_percent = 100;
	given_workers(1);
	ck_assert_uint_ge(pool_worker(pool, 1)->max_calls, 1);
	ck_assert_uint_le(pool_worker(pool, 1)->max_calls, 2);
}
END_TEST

START_TEST(one_that_is_too_large_is_replaced_when_the_node_says_so)
{
	given_workers(1);
	call(10);
	recycle(1, WHY_MAX_RSS);
	then("RUN 1 10, START 2@1");
	recycle(1, WHY_MAX_RSS);
	ready(2);
	answer(1, 10);
	then("END 1, DONE 10 ok");
	ck_assert_uint_eq(why_of(1), WHY_MAX_RSS);
	ck_assert_uint_eq(pool_totals(pool)->left[WHY_MAX_RSS], 1);
	recycle(2, WHY_NONE);
	ck_assert_uint_eq(why_of(2), WHY_RECYCLE);
	ignore_actions();
}
END_TEST

START_TEST(one_at_its_limit_serves_on_while_no_other_starts)
{
	config.max_calls = 1;
	given_workers(1);
	call(10);
	answer(1, 10);
	ignore_actions();
	gone(2);
	for (uint64_t id = 20; id < 40; id++) {
		call(id);
		answer(1, id);
	}
	ck_assert_uint_eq(outcomes(OUTCOME_OK), 21);
	ignore_actions();
}
END_TEST

/* ---- one that hangs says where ---- */

START_TEST(a_call_that_hangs_has_its_worker_say_where_before_it_is_killed)
{
	config.dump_grace_us = 200 * MS;
	given_workers(1);
	the_next.deadline_us = ms_from_now(300);
	call(10);
	ignore_actions();
	after_ms(300);
	then("ABORT 1, DONE 10 timeout_call, START 2@0");
	ck_assert_uint_eq(why_of(1), WHY_TIMEOUT);
	after_ms(200);
	then("KILL 1");
}
END_TEST

START_TEST(one_that_dies_of_that_is_not_killed)
{
	config.dump_grace_us = 200 * MS;
	given_watched(1);
	until_probed(1);
	after_ms(1000);
	then("PROBE 1, ABORT 1, START 2@0");
	ready(2);
	gone(1);
	after_ms(1000);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->kills, 0);
}
END_TEST

START_TEST(whose_caller_is_gone_has_nothing_to_say)
{
	config.dump_grace_us = 200 * MS;
	given_workers(1);
	call(10);
	abandon(10);
	then("RUN 1 10, KILL 1, DONE 10 abandoned, START 2@0");
	ck_assert_uint_eq(why_of(1), WHY_CALLER_GONE);
}
END_TEST

START_TEST(one_that_never_gets_ready_says_where_it_hangs)
{
	config.dump_grace_us = 200 * MS;
	given_pool(1);
	tick();
	ignore_actions();
	after_ms(10200);
	then("ABORT 1, START 2@0, KILL 1");
	ck_assert_uint_eq(why_of(1), WHY_NOT_READY);
}
END_TEST

START_TEST(with_slots_the_other_calls_hear_of_it_when_it_has_gone)
{
	config.slots = 2;
	config.dump_grace_us = 200 * MS;
	given_workers(1);
	the_next.deadline_us = ms_from_now(300);
	call(10);
	call(11);
	checkout(12, 1);
	ignore_actions();
	after_ms(300);
	then("ABORT 1, DONE 10 timeout_call, START 2@0");
	after_ms(200);
	then("KILL 1");
	after_ms(1999);
	then_nothing();
	after_ms(1);
	then("DONE 11 worker_exit");
	ready(2);
	then("DONE 12 lease on 2");
}
END_TEST

START_TEST(one_that_is_to_say_where_it_hangs_can_be_killed_at_once)
{
	config.dump_grace_us = 200 * MS;
	given_workers(1);
	the_next.deadline_us = ms_from_now(300);
	call(10);
	after_ms(300);
	ignore_actions();
	step((struct pool_event){ .type = POOL_KILL_WORKER, .worker_id = 1 });
	then("KILL 1");
	ready(2);
	after_ms(10000);
	then_nothing();
}
END_TEST

/* ---- a new configuration ---- */

START_TEST(what_waits_stays_when_the_queue_gets_shorter)
{
	given_workers(1);
	for (uint64_t id = 10; id < 20; id++)
		call(id);
	ignore_actions();
	config.queue_limit = 2;
	configure();
	then_nothing();
	ck_assert_uint_eq(pool_queued(pool), 9);
	call(20);
	then("DONE 20 overloaded");
}
END_TEST

START_TEST(limits_are_those_of_workers_that_serve_already)
{
	given_workers(1);
	after_ms(50000);
	config.max_age_us = 60 * SECONDS;
	config.max_calls = 2;
	config.health_interval_us = 5 * SECONDS;
	config.health_timeout_us = 1 * SECONDS;
	configure();
	then("PROBE 1"); /* it has been idle for long enough */
	pong(1);
	call(10);
	answer(1, 10);
	call(11);
	answer(1, 11);
	then("RUN 1 10, DONE 10 ok, RUN 1 11, DONE 11 ok, START 2@1");
	gone(1);
	ready(2);
	config.max_calls = 0;
	config.max_age_us = 0;
	config.health_interval_us = 0;
	configure();
	ignore_actions();
	after_ms(1000000);
	then_nothing();
}
END_TEST

START_TEST(the_sizes_change)
{
	given_workers(2);
	config.size = 3;
	config.size_max = 5;
	configure();
	then("START 3@2");
	config.size = config.size_max = 1;
	configure();
	then("END 2");
	ck_assert_uint_eq(pool_size(pool), 1);
	ready(3);
	then("END 3");
}
END_TEST

START_TEST(workers_that_start_later_have_the_new_slots)
{
	given_workers(1);
	config.slots = 3;
	config.size = 2;
	configure();
	ready(2);
	ignore_actions();
	for (uint64_t id = 10; id < 15; id++)
		call(id);
	ck_assert_uint_eq(pool_running(pool), 4);
	config.slots = 1;
	configure();
	answer(2, pool_worker(pool, 2)->slot[1].call[0].id);
	ck_assert_uint_eq(pool_running(pool), 4);
	ignore_actions();
}
END_TEST

START_TEST(too_many_sessions_end_when_nobody_uses_them)
{
	given_workers(3);
	strict("a", 10);
	strict("b", 11);
	strict("c", 12);
	for (uint64_t w = 1; w <= 2; w++)
		answer(w, call_of(w));
	ck_assert_uint_eq(pool_sessions(pool), 3);
	ignore_actions();
	config.max_sessions = 0;
	configure();
	ck_assert_uint_eq(pool_sessions(pool), 1);
	strict("d", 13);
	answer(3, call_of(3));
	tick();
	ck_assert_uint_eq(pool_sessions(pool), 0);
	ck_assert_uint_eq(outcomes(OUTCOME_OVERLOADED), 1);
	ck_assert_uint_eq(pool_totals(pool)->sessions_evicted, 3);
	ignore_actions();
}
END_TEST

START_TEST(a_higher_threshold_closes_the_circuit_and_a_lower_one_opens_it)
{
	config.breaker.threshold = 1;
	given_pool(1);
	tick();
	gone(1);
	call(10);
	then("START 1@0, DONE 10 circuit_open");
	config.breaker.threshold = 3;
	configure();
	call(11);
	then_nothing();
	config.breaker.threshold = 1;
	configure();
	then("DONE 11 circuit_open");
}
END_TEST

START_TEST(a_shorter_back_off_ends_one_that_is_under_way)
{
	config.breaker.backoff_base_us = config.breaker.backoff_max_us = 1000 * SECONDS;
	given_pool(1);
	tick();
	gone(1);
	ignore_actions();
	config.breaker.backoff_base_us = config.breaker.backoff_max_us = 1 * SECONDS;
	configure();
	after_ms(1250);
	then("START 2@0");
}
END_TEST

START_TEST(an_order_that_changes_holds_from_the_next_call_on)
{
	given_workers(3);
	config.order = ORDER_FIFO;
	configure();
	call(10);
	call(11);
	then("RUN 1 10, RUN 2 11");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: health");
	TCase *tc = tcase_create("health");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, an_idle_worker_is_probed_and_serves_on);
	tcase_add_test(tc, it_is_probed_again_and_again);
	tcase_add_test(tc, who_does_not_answer_is_unresponsive_and_replaced);
	tcase_add_test(tc, a_request_waits_for_the_answer_of_the_only_worker_or_takes_another);
	tcase_add_test(tc, a_request_waits_for_the_replacement_of_one_that_does_not_answer);
	tcase_add_test(tc, who_has_something_to_do_is_not_probed);
	tcase_add_test(tc, they_are_not_all_probed_at_once);
	tcase_add_test(tc, a_probe_changes_nothing_about_who_is_used_next);
	tcase_add_test(tc, a_late_answer_to_a_probe_is_nobodys);
	tcase_add_test(tc, with_slots_an_idle_worker_is_probed_in_one_and_serves_in_the_others);
	tcase_add_test(tc, with_slots_the_calls_of_one_that_does_not_answer_hear_of_its_exit);
	tcase_add_test(tc, a_session_may_end_while_its_worker_is_probed);
	tcase_add_test(tc, a_pool_that_stops_forgets_its_probes);
	tcase_add_test(tc, after_max_calls_a_worker_is_replaced_its_replacement_first);
	tcase_add_test(tc, at_max_age_a_worker_is_replaced);
	tcase_add_test(tc, one_at_a_time_is_replaced_at_max_age);
	tcase_add_test(tc, workers_have_limits_of_their_own);
	tcase_add_test(tc, one_call_may_be_the_limit);
	tcase_add_test(tc, one_that_is_too_large_is_replaced_when_the_node_says_so);
	tcase_add_test(tc, one_at_its_limit_serves_on_while_no_other_starts);
	tcase_add_test(tc, a_call_that_hangs_has_its_worker_say_where_before_it_is_killed);
	tcase_add_test(tc, one_that_dies_of_that_is_not_killed);
	tcase_add_test(tc, whose_caller_is_gone_has_nothing_to_say);
	tcase_add_test(tc, one_that_never_gets_ready_says_where_it_hangs);
	tcase_add_test(tc, with_slots_the_other_calls_hear_of_it_when_it_has_gone);
	tcase_add_test(tc, one_that_is_to_say_where_it_hangs_can_be_killed_at_once);
	tcase_add_test(tc, what_waits_stays_when_the_queue_gets_shorter);
	tcase_add_test(tc, limits_are_those_of_workers_that_serve_already);
	tcase_add_test(tc, the_sizes_change);
	tcase_add_test(tc, workers_that_start_later_have_the_new_slots);
	tcase_add_test(tc, too_many_sessions_end_when_nobody_uses_them);
	tcase_add_test(tc, a_higher_threshold_closes_the_circuit_and_a_lower_one_opens_it);
	tcase_add_test(tc, a_shorter_back_off_ends_one_that_is_under_way);
	tcase_add_test(tc, an_order_that_changes_holds_from_the_next_call_on);
	suite_add_tcase(suite, tc);
	return run(suite);
}
