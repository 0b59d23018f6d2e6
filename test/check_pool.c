/* check_pool.c - the pool's rules for calls: who is served when, and what becomes of a call whose time
 * is up, whose caller is gone, whose worker dies. Leases: check_pool_lease.c; starts, stops, sizes:
 * check_pool_start.c; all of it at random: check_pool_model.c. */
#include "pool_given.h"

/* ---- hand-out ---- */

START_TEST(a_call_runs_at_once_on_an_idle_worker)
{
	given_workers(1);
	call(10);
	then("RUN 1 10");
	later_ms(5);
	answer(1, 10);
	then("DONE 10 ok");
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	ck_assert_uint_eq(pool_worker(pool, 1)->calls, 1);
	ck_assert_uint_eq(pool_wait_us(pool)->count, 1);
	ck_assert_uint_eq(pool_call_us(pool)->max, 5 * MS);
}
END_TEST

START_TEST(calls_that_wait_are_served_in_order_of_arrival)
{
	given_workers(1);
	call(10);
	call(11);
	call(12);
	then("RUN 1 10");
	ck_assert_uint_eq(pool_queued(pool), 2);
	later_ms(7);
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
	ck_assert_uint_eq(pool_wait_us(pool)->max, 7 * MS);
}
END_TEST

START_TEST(high_goes_before_normal_before_low)
{
	static const enum pool_priority priority[] = {
		PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH,
		PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH
	};
	static const uint64_t order[] = { 13, 16, 12, 15, 11, 14 };
	uint64_t before = 10;

	given_workers(1);
	call(10);
	for (unsigned i = 0; i < 6; i++) {
		the_next.priority = priority[i];
		call(11 + i);
	}
	for (unsigned i = 0; i < 6; i++) {
		answer(1, before);
		before = order[i];
		ck_assert_uint_eq(call_of(1), before);
	}
}
END_TEST

START_TEST(the_worker_used_last_is_used_next)
{
	given_workers(3);
	call(10);
	then("RUN 3 10");
	call(11);
	then("RUN 2 11");
	answer(3, 10);
	answer(2, 11);
	ignore_actions();
	call(12);
	then("RUN 2 12");
}
END_TEST

START_TEST(a_thousand_callers_one_by_one_use_the_same_worker)
{
	given_workers(4);
	for (uint64_t id = 1; id <= 1000; id++) {
		call(id);
		answer(4, id);
	}
	ck_assert_uint_eq(pool_totals(pool)->starts, 4);
	ck_assert_uint_eq(pool_worker(pool, 4)->calls, 1000);
}
END_TEST

/* ---- admission ---- */

START_TEST(a_full_queue_refuses_at_once)
{
	config.queue_limit = 2;
	given_workers(1);
	call(10);
	call(11);
	call(12);
	ignore_actions();
	call(13);
	then("DONE 13 overloaded");
	abandon(11);
	call(14);
	then("DONE 11 abandoned");
	call(15);
	then("DONE 15 overloaded");
}
END_TEST

START_TEST(with_a_queue_limit_of_nought_nobody_waits_and_idle_workers_serve)
{
	config.queue_limit = 0;
	given_workers(1);
	call(10);
	then("RUN 1 10");
	call(11);
	then("DONE 11 overloaded");
	answer(1, 10);
	checkout(12, 1);
	then("DONE 10 ok, DONE 12 lease on 1");
	lease_call(13, 1);
	lease_call(14, 1);
	then("RUN 1 13, DONE 14 overloaded");
}
END_TEST

START_TEST(waiting_payload_is_bounded_but_one_request_is_always_admitted)
{
	config.queue_bytes_limit = 1000;
	given_workers(1);
	the_next.bytes = 5000;
	call(10);
	then("RUN 1 10");
	the_next.bytes = 5000;
	call(11); /* alone in the queue */
	then_nothing();
	the_next.bytes = 1;
	call(12);
	then("DONE 12 overloaded");
	abandon(11);
	the_next.bytes = 400;
	call(13);
	the_next.bytes = 600;
	call(14); /* exactly full */
	then("DONE 11 abandoned");
	the_next.bytes = 1;
	call(15);
	the_next.bytes = UINT32_MAX;
	call(16);
	then("DONE 15 overloaded, DONE 16 overloaded");
	call(17); /* weighs nothing */
	then_nothing();
}
END_TEST

START_TEST(a_request_that_comes_after_its_deadline_runs_nowhere)
{
	given_workers(1);
	the_next.deadline_us = now_us;
	call(10);
	then("DONE 10 timeout_queue");
	the_next.deadline_us = now_us;
	checkout(11, 1);
	then("DONE 11 timeout_queue");
	checkout(12, 2);
	the_next.deadline_us = now_us - 1;
	lease_call(13, 2);
	then("DONE 12 lease on 1, DONE 13 timeout_queue");
}
END_TEST

START_TEST(refused_requests_are_counted_too)
{
	given_workers(1);
	pool_count_refused(pool);
	pool_check(pool);
	ck_assert_uint_eq(pool_totals(pool)->received, 1);
	ck_assert_uint_eq(outcomes(OUTCOME_REFUSED), 1);
}
END_TEST

/* ---- time ---- */

START_TEST(a_call_that_waits_too_long_hears_so)
{
	given_workers(1);
	call(10);
	the_next.queue_deadline_us = ms_from_now(50);
	the_next.deadline_us = ms_from_now(200);
	call(11);
	the_next.deadline_us = ms_from_now(60);
	call(12);
	ignore_actions();
	after_ms(49);
	then_nothing();
	after_ms(1);
	then("DONE 11 timeout_queue");
	after_ms(10);
	then("DONE 12 timeout_queue");
	ck_assert_uint_eq(pool_totals(pool)->starts, 1);
}
END_TEST

START_TEST(a_queue_deadline_does_not_count_once_the_call_runs)
{
	given_workers(1);
	the_next.queue_deadline_us = now_us; /* it may not wait at all, and need not */
	call(10);
	then("RUN 1 10");
	after_ms(1000);
	then_nothing();
	ck_assert_uint_eq(pool_next_tick(pool), POOL_NEVER);
}
END_TEST

START_TEST(a_request_that_may_not_wait_does_not)
{
	given_workers(1);
	call(10);
	ignore_actions();
	the_next.queue_deadline_us = now_us;
	call(11);
	then("DONE 11 timeout_queue");
}
END_TEST

START_TEST(what_has_expired_is_not_handed_out_even_when_the_tick_is_late)
{
	given_workers(1);
	call(10);
	the_next.queue_deadline_us = ms_from_now(10);
	call(11);
	call(12);
	ignore_actions();
	later_ms(10);
	answer(1, 10);
	then("DONE 10 ok, DONE 11 timeout_queue, RUN 1 12");
}
END_TEST

START_TEST(an_answer_that_comes_with_the_deadline_still_counts)
{
	given_workers(1);
	the_next.deadline_us = ms_from_now(10);
	call(10);
	ignore_actions();
	later_ms(10);
	answer(1, 10);
	then("DONE 10 ok");
	after_ms(1000);
	then_nothing();
}
END_TEST

START_TEST(a_call_over_its_time_costs_its_worker_and_a_replacement_starts_at_once)
{
	given_workers(2);
	the_next.deadline_us = ms_from_now(300);
	call(10);
	ignore_actions();
	after_ms(300);
	then("KILL 2, DONE 10 timeout_call, START 3@1");
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	gone(2);
	ready(3);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->kills, 1);
	ck_assert_uint_eq(pool_count(pool, WORKER_IDLE), 2);
}
END_TEST

START_TEST(a_call_over_its_time_may_be_interrupted_instead)
{
	given_workers(1);
	the_next.deadline_us = ms_from_now(300);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	call(11);
	ignore_actions();
	after_ms(300);
	then("INTERRUPT 1, DONE 10 timeout_call");
	after_ms(999);
	then_nothing();
	answer(1, 10); /* KeyboardInterrupt */
	then("PROBE 1");
	ck_assert_uint_eq(state_of(1), WORKER_PROBING);
	pong(1);
	then("RUN 1 11");
}
END_TEST

START_TEST(a_call_over_its_time_may_finish_unheard)
{
	given_workers(1);
	the_next.deadline_us = ms_from_now(300);
	the_next.abandon = ABANDON_FINISH;
	call(10);
	call(11);
	ignore_actions();
	after_ms(300);
	then("DONE 10 timeout_call");
	after_ms(100000);
	then_nothing();
	ck_assert_uint_eq(state_of(1), WORKER_BUSY);
	answer(1, 10);
	then("RUN 1 11");
	ck_assert_uint_eq(outcomes(OUTCOME_OK), 0);
	ck_assert_uint_eq(pool_call_us(pool)->count, 0);
	ck_assert_uint_eq(pool_totals(pool)->late, 0);
}
END_TEST

/* ---- callers that are gone ---- */

START_TEST(a_caller_that_dies_in_the_queue_costs_nothing)
{
	given_workers(1);
	call(10);
	call(11);
	call(12);
	ignore_actions();
	abandon(11);
	then("DONE 11 abandoned");
	answer(1, 10);
	then("DONE 10 ok, RUN 1 12");
}
END_TEST

START_TEST(a_caller_that_dies_while_its_worker_is_busy_costs_that_worker_only)
{
	given_workers(2);
	call(10);
	call(11);
	call(12);
	ignore_actions();
	abandon(10);
	then("KILL 2, DONE 10 abandoned, START 3@1");
	ck_assert_uint_eq(state_of(2), WORKER_STOPPING);
	ck_assert_uint_eq(state_of(1), WORKER_BUSY);
	ready(3);
	then("RUN 3 12");
	gone(2);
	answer(1, 11);
	answer(3, 12);
	then("DONE 11 ok, DONE 12 ok");
}
END_TEST

START_TEST(of_a_hundred_callers_99_die_and_the_survivor_is_next)
{
	given_workers(1);
	call(1);
	for (uint64_t id = 2; id <= 100; id++)
		call(id);
	for (uint64_t id = 2; id <= 100; id++)
		if (id != 57)
			abandon(id);
	ignore_actions();
	answer(1, 1);
	then("DONE 1 ok, RUN 1 57");
	ck_assert_uint_eq(pool_totals(pool)->starts, 1);
}
END_TEST

START_TEST(an_interrupted_worker_that_does_not_answer_is_killed)
{
	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	ignore_actions();
	abandon(10);
	then("INTERRUPT 1, DONE 10 abandoned");
	after_ms(999);
	then_nothing();
	after_ms(1);
	then("KILL 1, START 2@0");
	answer(1, 10);
	ck_assert_uint_eq(pool_totals(pool)->late, 1);
	ck_assert_uint_eq(pool_totals(pool)->interrupts, 1);
}
END_TEST

START_TEST(an_interrupted_worker_that_does_not_pong_is_killed)
{
	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	abandon(10);
	after_ms(500);
	answer(1, 10);
	ignore_actions();
	call(11);
	after_ms(999);
	then_nothing();
	after_ms(1);
	then("KILL 1, START 2@0");
	ready(2);
	then("RUN 2 11");
}
END_TEST

START_TEST(a_probe_has_an_id_that_no_request_can_have)
{
	uint64_t first;

	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	abandon(10);
	answer(1, 10);
	first = probe_of(1);
	ck_assert(first >> 63);
	pong(1);
	the_next.abandon = ABANDON_INTERRUPT;
	call(11);
	abandon(11);
	answer(1, 11);
	ck_assert(probe_of(1) >> 63);
	ck_assert_uint_ne(probe_of(1), first);
	ignore_actions();
	answer(1, first); /* the old probe's pong proves nothing */
	then_nothing();
	ck_assert_uint_eq(state_of(1), WORKER_PROBING);
	answer(1, 11);
	ck_assert_uint_eq(state_of(1), WORKER_PROBING);
}
END_TEST

START_TEST(an_abandoned_call_that_finishes_frees_the_worker)
{
	given_workers(1);
	the_next.abandon = ABANDON_FINISH;
	call(10);
	call(11);
	ignore_actions();
	abandon(10);
	then("DONE 10 abandoned");
	answer(1, 10);
	then("RUN 1 11");
	ck_assert_uint_eq(pool_worker(pool, 1)->calls, 1);
}
END_TEST

/* ---- late ---- */

START_TEST(a_late_answer_never_reaches_anybody)
{
	static const struct {
		uint64_t worker_id, call_id;
	} late[] = { { 1, 10 }, { 2, 10 }, { 2, 12 }, { 2, 0 }, { 3, 10 }, { 3, 0 }, { 77, 11 } };

	given_workers(2);
	the_next.deadline_us = ms_from_now(300);
	call(10); /* on 2 */
	after_ms(300);
	gone(2);
	call(11); /* on 1 */
	ignore_actions();
	for (unsigned i = 0; i < sizeof late / sizeof *late; i++) {
		answer(late[i].worker_id, late[i].call_id);
		then_nothing();
		ck_assert_uint_eq(pool_totals(pool)->late, i + 1);
	}
	answer(1, 11);
	then("DONE 11 ok");
	answer(1, 11);
	answer(1, 0);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->late, sizeof late / sizeof *late + 2);
}
END_TEST

START_TEST(events_of_the_unknown_are_counted_and_dropped)
{
	given_workers(1);
	ready(1);
	ready(9);
	gone(9);
	broken(9);
	answer(9, 9);
	checkin(9);
	lease_down(9);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->late, 7);
}
END_TEST

START_TEST(a_killed_worker_never_returns)
{
	given_workers(1);
	call(10);
	abandon(10);
	ignore_actions();
	call(11);
	answer(1, 10);
	ready(1);
	broken(1);
	then_nothing();
	ck_assert_uint_eq(state_of(1), WORKER_STOPPING);
	gone(1);
	then_nothing();
	ck_assert_ptr_null(pool_worker(pool, 1));
}
END_TEST

/* ---- workers that die ---- */

START_TEST(a_worker_that_dies_in_a_call_costs_that_call_only)
{
	given_workers(2);
	call(10);
	call(11);
	ignore_actions();
	gone(2);
	then("DONE 10 worker_exit, START 3@1");
	answer(1, 11);
	then("DONE 11 ok");
}
END_TEST

START_TEST(a_call_that_may_run_twice_runs_next_on_another_worker)
{
	given_workers(1);
	the_next.retry = 1;
	the_next.queue_deadline_us = ms_from_now(10); /* of its first wait, which is over */
	call(10);
	call(11);
	after_ms(200);
	ignore_actions();
	gone(1);
	then("START 2@0");
	ck_assert_uint_eq(pool_totals(pool)->retries, 1);
	ready(2);
	then("RUN 2 10");
	gone(2);
	then("DONE 10 worker_exit, START 3@0");
}
END_TEST

START_TEST(calls_that_run_again_keep_their_order_of_arrival)
{
	given_workers(3);
	for (uint64_t id = 10; id < 13; id++) {
		the_next.retry = 1;
		call(id);
	}
	call(13);
	ignore_actions();
	gone(2); /* 11 */
	gone(1); /* 12 */
	gone(3); /* 10 */
	then("START 4@1, START 5@0, START 6@2");
	ready(4);
	ready(5);
	ready(6);
	then("RUN 4 10, RUN 5 11, RUN 6 12");
	ck_assert_uint_eq(pool_queued(pool), 1);
}
END_TEST

START_TEST(a_call_does_not_run_again_after_its_deadline)
{
	given_workers(1);
	the_next.retry = 5;
	the_next.deadline_us = ms_from_now(100);
	call(10);
	ignore_actions();
	later_ms(100);
	gone(1);
	then("DONE 10 worker_exit, START 2@0");
}
END_TEST

START_TEST(a_call_that_waits_for_its_second_run_still_has_its_deadline)
{
	given_workers(1);
	the_next.retry = 5;
	the_next.deadline_us = ms_from_now(100);
	call(10);
	gone(1);
	ignore_actions();
	after_ms(100);
	then("DONE 10 timeout_queue");
}
END_TEST

START_TEST(a_call_that_we_killed_does_not_run_again)
{
	given_workers(1);
	the_next.retry = 5;
	the_next.deadline_us = ms_from_now(100);
	call(10);
	after_ms(100);
	ignore_actions();
	gone(1);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->retries, 0);
}
END_TEST

START_TEST(a_call_on_a_broken_worker_is_answered_with_its_exit)
{
	given_workers(1);
	call(10);
	call(11);
	ignore_actions();
	broken(1);
	then("KILL 1, START 2@0");
	answer(1, 11);
	broken(1);
	then_nothing();
	ck_assert_uint_eq(pool_running(pool), 1);
	gone(1);
	then("DONE 10 worker_exit");
}
END_TEST

START_TEST(the_last_words_of_a_broken_worker_reach_its_caller_and_it_gets_nobody)
{
	given_workers(1);
	call(10);
	call(11);
	ignore_actions();
	broken(1);
	then("KILL 1, START 2@0");
	answer(1, 10);
	then("DONE 10 ok");
	answer(1, 10);
	gone(1);
	then_nothing();
	ready(2);
	then("RUN 2 11");
}
END_TEST

/* It ended without having read its last call. */
static void gone_unread(uint64_t worker_id)
{
	step((struct pool_event){
		.type = POOL_WORKER_GONE, .worker_id = worker_id, .not_begun = true });
}

START_TEST(a_call_that_its_worker_never_read_runs_on_another)
{
	given_workers(1);
	call(10);
	call(11);
	ignore_actions();
	broken(1);
	ready(2);
	then("KILL 1, START 2@0, RUN 2 11");
	gone_unread(1);
	then_nothing();
	answer(2, 11);
	then("DONE 11 ok, RUN 2 10");
	ck_assert_uint_eq(pool_totals(pool)->retries, 0);
}
END_TEST

START_TEST(a_call_on_a_broken_worker_runs_again_after_its_exit)
{
	given_workers(1);
	the_next.retry = 1;
	call(10);
	call(11);
	ignore_actions();
	broken(1);
	ready(2);
	then("KILL 1, START 2@0, RUN 2 11");
	gone(1);
	answer(2, 11);
	then("DONE 11 ok, RUN 2 10");
}
END_TEST

START_TEST(a_call_on_a_broken_worker_still_has_its_deadline_and_its_caller)
{
	given_workers(2);
	the_next.deadline_us = ms_from_now(100);
	call(10);
	call(11);
	broken(2);
	broken(1);
	ignore_actions();
	after_ms(100);
	then("DONE 10 timeout_call");
	abandon(11);
	then("DONE 11 abandoned");
	after_ms(2000);
	then_nothing();
	gone(1);
	gone(2);
	then_nothing();
}
END_TEST

START_TEST(a_call_on_a_broken_worker_whose_exit_is_never_reported_is_given_up)
{
	given_workers(1);
	call(10);
	broken(1);
	ready(2);
	ignore_actions();
	after_ms(1999);
	then_nothing();
	after_ms(1);
	then("DONE 10 worker_exit");
	after_ms(100000);
	then_nothing();
	gone(1);
	then_nothing();
}
END_TEST

START_TEST(ten_thousand_wait_and_are_served)
{
	config.queue_limit = 10000;
	unchecked = true;
	given_workers(1);
	for (uint64_t id = 1; id <= 10001; id++) {
		the_next.deadline_us = now_us + 1000 * SECONDS + id * 7919 % 10007;
		call(id);
	}
	ck_assert_uint_eq(pool_queued(pool), 10000);
	pool_check(pool);
	for (uint64_t id = 1; id <= 5000; id++) {
		answer(1, id);
		ck_assert_uint_eq(call_of(1), id + 1);
	}
	pool_check(pool);
	ignore_actions();
	after_ms(2000000);
	ck_assert_uint_eq(outcomes(OUTCOME_TIMEOUT_QUEUE), 5000);
	ck_assert_uint_eq(outcomes(OUTCOME_TIMEOUT_CALL), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: calls");
	TCase *tc = tcase_create("pool: calls");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_call_runs_at_once_on_an_idle_worker);
	tcase_add_test(tc, calls_that_wait_are_served_in_order_of_arrival);
	tcase_add_test(tc, high_goes_before_normal_before_low);
	tcase_add_test(tc, the_worker_used_last_is_used_next);
	tcase_add_test(tc, a_thousand_callers_one_by_one_use_the_same_worker);
	tcase_add_test(tc, a_full_queue_refuses_at_once);
	tcase_add_test(tc, with_a_queue_limit_of_nought_nobody_waits_and_idle_workers_serve);
	tcase_add_test(tc, waiting_payload_is_bounded_but_one_request_is_always_admitted);
	tcase_add_test(tc, a_request_that_comes_after_its_deadline_runs_nowhere);
	tcase_add_test(tc, refused_requests_are_counted_too);
	tcase_add_test(tc, a_call_that_waits_too_long_hears_so);
	tcase_add_test(tc, a_queue_deadline_does_not_count_once_the_call_runs);
	tcase_add_test(tc, a_request_that_may_not_wait_does_not);
	tcase_add_test(tc, what_has_expired_is_not_handed_out_even_when_the_tick_is_late);
	tcase_add_test(tc, an_answer_that_comes_with_the_deadline_still_counts);
	tcase_add_test(tc, a_call_over_its_time_costs_its_worker_and_a_replacement_starts_at_once);
	tcase_add_test(tc, a_call_over_its_time_may_be_interrupted_instead);
	tcase_add_test(tc, a_call_over_its_time_may_finish_unheard);
	tcase_add_test(tc, a_caller_that_dies_in_the_queue_costs_nothing);
	tcase_add_test(tc, a_caller_that_dies_while_its_worker_is_busy_costs_that_worker_only);
	tcase_add_test(tc, of_a_hundred_callers_99_die_and_the_survivor_is_next);
	tcase_add_test(tc, an_interrupted_worker_that_does_not_answer_is_killed);
	tcase_add_test(tc, an_interrupted_worker_that_does_not_pong_is_killed);
	tcase_add_test(tc, a_probe_has_an_id_that_no_request_can_have);
	tcase_add_test(tc, an_abandoned_call_that_finishes_frees_the_worker);
	tcase_add_test(tc, a_late_answer_never_reaches_anybody);
	tcase_add_test(tc, events_of_the_unknown_are_counted_and_dropped);
	tcase_add_test(tc, a_killed_worker_never_returns);
	tcase_add_test(tc, a_worker_that_dies_in_a_call_costs_that_call_only);
	tcase_add_test(tc, a_call_that_may_run_twice_runs_next_on_another_worker);
	tcase_add_test(tc, calls_that_run_again_keep_their_order_of_arrival);
	tcase_add_test(tc, a_call_does_not_run_again_after_its_deadline);
	tcase_add_test(tc, a_call_that_waits_for_its_second_run_still_has_its_deadline);
	tcase_add_test(tc, a_call_that_we_killed_does_not_run_again);
	tcase_add_test(tc, a_call_on_a_broken_worker_is_answered_with_its_exit);
	tcase_add_test(tc, the_last_words_of_a_broken_worker_reach_its_caller_and_it_gets_nobody);
	tcase_add_test(tc, a_call_that_its_worker_never_read_runs_on_another);
	tcase_add_test(tc, a_call_on_a_broken_worker_runs_again_after_its_exit);
	tcase_add_test(tc, a_call_on_a_broken_worker_still_has_its_deadline_and_its_caller);
	tcase_add_test(tc, a_call_on_a_broken_worker_whose_exit_is_never_reported_is_given_up);
	tcase_add_test(tc, ten_thousand_wait_and_are_served);
	suite_add_tcase(suite, tc);
	return run(suite);
}
