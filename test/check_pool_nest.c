/* check_pool_nest.c - the pool's rules for re-entrant calls: what runs inside of a call that waits for a
 * process of a peer, and what becomes of either; and for the deadlock that is left. */
#include "pool_given.h"

/* Worker 1 alone runs call 10 of session a, which waits for somebody. */
static void given_a_call_that_waits(void)
{
	given_workers(1);
	the_next.abandon = ABANDON_FINISH;
	strict("a", 10);
	waits(1, 10, true);
	then("RUN 1 10");
}

START_TEST(a_call_of_the_session_that_waits_runs_at_once_inside)
{
	static const enum pool_session_mode modes[] = { SESSION_STRICT, SESSION_FAIL_FAST };

	given_a_call_that_waits();
	session("a", modes[_i]);
	call(11);
	then("RUN 1 11");
	ck_assert_uint_eq(pool_running(pool), 2);
	ck_assert_uint_eq(pool_worker(pool, 1)->slot->depth, 2);
	answer(1, 11);
	then("DONE 11 ok");
	ck_assert_uint_eq(state_of(1), WORKER_BUSY);
	waits(1, 10, false);
	answer(1, 10);
	then("DONE 10 ok");
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
}
END_TEST

START_TEST(a_hint_runs_inside_rather_than_elsewhere)
{
	given_workers(2);
	strict("a", 10);
	waits(2, 10, true);
	ignore_actions();
	hint("a", 11);
	then("SESSION a unused, RUN 2 11");
}
END_TEST

START_TEST(who_waits_already_runs_inside_when_the_call_begins_to_wait)
{
	given_workers(1);
	strict("a", 10);
	strict("a", 11);
	strict("a", 12);
	ignore_actions();
	waits(1, 10, true);
	then("RUN 1 11");
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
	answer(1, 12);
	then("DONE 12 ok");
}
END_TEST

START_TEST(nobody_runs_inside_of_a_call_that_does_not_wait)
{
	given_a_call_that_waits();
	waits(1, 10, false);
	strict("a", 11);
	fail_fast("a", 12);
	then("DONE 12 session_busy");
	call(13);
	then_nothing();
	waits(1, 10, true);
	then("RUN 1 11");
	strict("a", 14); /* 11 does not wait */
	then_nothing();
	waits(1, 11, true);
	then("RUN 1 14");
	ck_assert_uint_eq(pool_worker(pool, 1)->slot->depth, 3);
}
END_TEST

START_TEST(others_do_not_run_inside)
{
	given_a_call_that_waits();
	call(11);
	strict("b", 12);
	session("a", SESSION_STRICT);
	checkout(13, 1);
	then_nothing();
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
}
END_TEST

START_TEST(the_stack_has_a_limit)
{
	given_a_call_that_waits();
	for (uint64_t id = 11; id < 10 + POOL_NEST_MAX; id++) {
		strict("a", id);
		ck_assert_uint_eq(call_of(1), id);
		waits(1, id, true);
	}
	ignore_actions();
	strict("a", 100);
	then_nothing();
	answer(1, 9 + POOL_NEST_MAX);
	then("DONE 25 ok, RUN 1 100");
}
END_TEST

START_TEST(a_call_further_down_may_end_first)
{
	given_a_call_that_waits();
	strict("a", 11);
	ignore_actions();
	answer(1, 10);
	then("DONE 10 ok");
	ck_assert_uint_eq(state_of(1), WORKER_BUSY);
	answer(1, 11);
	then("DONE 11 ok");
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
}
END_TEST

/* ---- what becomes of the one inside ---- */

START_TEST(an_inner_call_that_nobody_wants_finishes_unheard)
{
	given_a_call_that_waits();
	the_next.abandon = (enum pool_abandon)(_i / 2);
	the_next.deadline_us = ms_from_now(100);
	strict("a", 11);
	ignore_actions();
	if (_i % 2 == 0) {
		abandon(11);
		then("DONE 11 abandoned");
	} else {
		after_ms(100);
		then("DONE 11 timeout_call");
	}
	after_ms(100000);
	then_nothing();
	answer(1, 11);
	then_nothing();
	answer(1, 10);
	then("DONE 10 ok");
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
}
END_TEST

START_TEST(an_inner_stream_that_nobody_wants_is_closed_and_never_killed)
{
	given_a_call_that_waits();
	the_next.stream = true;
	strict("a", 11);
	opened(1, 11);
	ignore_actions();
	if (_i == 0) {
		abandon(11);
		then("CLOSE 1 11, DONE 11 abandoned");
	} else if (_i == 1) {
		close_stream(11);
		then("CLOSE 1 11");
		after_ms(1000);
		then("DONE 11 timeout_call");
	} else {
		close_stream(11);
		answer(1, 11);
		then("CLOSE 1 11, DONE 11 ok");
		return;
	}
	after_ms(100000);
	then_nothing();
	answer(1, 11);
	answer(1, 10);
	then("DONE 10 ok");
}
END_TEST

START_TEST(an_inner_stream_that_opens_for_nobody_is_closed)
{
	given_a_call_that_waits();
	the_next.stream = true;
	strict("a", 11);
	abandon(11);
	ignore_actions();
	opened(1, 11);
	then("CLOSE 1 11");
	after_ms(100000);
	then_nothing();
}
END_TEST

/* ---- what becomes of the one outside ---- */

START_TEST(an_outer_call_that_is_abandoned_takes_the_inner_ones_along_when_it_is_killed)
{
	given_workers(1);
	strict("a", 10);
	waits(1, 10, true);
	strict("a", 11);
	ignore_actions();
	abandon(10);
	then("KILL 1, DONE 10 abandoned, START 2@0");
	gone(1);
	then("DONE 11 worker_exit");
}
END_TEST

START_TEST(an_outer_call_that_is_interrupted_lets_the_inner_ones_end)
{
	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	strict("a", 10);
	waits(1, 10, true);
	strict("a", 11);
	ignore_actions();
	abandon(10);
	then("INTERRUPT 1, DONE 10 abandoned");
	strict("a", 12); /* not inside of that */
	then_nothing();
	if (_i == 0) {
		answer(1, 11);
		answer(1, 10);
		pong(1);
		then("DONE 11 ok, PROBE 1, RUN 1 12");
	} else if (_i == 1) {
		answer(1, 10);
		after_ms(100000); /* the interrupt was answered */
		then_nothing();
		answer(1, 11);
		pong(1);
		then("DONE 11 ok, PROBE 1, RUN 1 12");
	} else {
		after_ms(1000);
		gone(1);
		then("KILL 1, DONE 12 session_lost, SESSION a lost, START 2@0, "
		     "DONE 11 worker_exit");
	}
}
END_TEST

START_TEST(an_outer_call_that_may_finish_still_lets_others_inside)
{
	given_a_call_that_waits();
	abandon(10);
	strict("a", 11);
	then("DONE 10 abandoned, RUN 1 11");
	answer(1, 11);
	answer(1, 10);
	then("DONE 11 ok");
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
}
END_TEST

START_TEST(nobody_goes_inside_of_a_call_whose_time_is_up)
{
	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	the_next.deadline_us = ms_from_now(100);
	strict("a", 10);
	waits(1, 10, true);
	later_ms(100);
	ignore_actions();
	strict("a", 11);
	then("INTERRUPT 1, DONE 10 timeout_call");
}
END_TEST

START_TEST(a_worker_that_dies_takes_all_of_them_along_and_none_runs_again)
{
	given_workers(1);
	hint("a", 10);
	waits(1, 10, true);
	the_next.retry = 3;
	hint("a", 11);
	ignore_actions();
	if (_i == 1)
		broken(1);
	ignore_actions();
	gone(1);
	if (_i == 0)
		then("DONE 10 worker_exit, DONE 11 worker_exit, START 2@0");
	else
		then("DONE 10 worker_exit, DONE 11 worker_exit");
}
END_TEST

START_TEST(the_last_words_of_an_inner_call_reach_its_caller)
{
	given_a_call_that_waits();
	strict("a", 11);
	broken(1);
	ignore_actions();
	answer(1, 11);
	answer(1, 10);
	then("DONE 11 ok, DONE 10 ok");
}
END_TEST

START_TEST(a_stop_ends_the_whole_stack)
{
	given_a_call_that_waits();
	strict("a", 11);
	ignore_actions();
	stop();
	then("KILL 1, DONE 10 draining, DONE 11 draining, SESSION a ended");
}
END_TEST

/* ---- leases ---- */

START_TEST(a_call_of_a_lease_whose_call_waits_runs_inside)
{
	given_workers(1);
	checkout(1, 1);
	lease_call(10, 1);
	lease_call(11, 1);
	ignore_actions();
	waits(1, 10, true);
	then("RUN 1 11");
	lease_call(12, 1);
	then_nothing();
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
	lease_call(13, 1);
	answer(1, 12);
	answer(1, 13);
	answer(1, 10);
	then("DONE 12 ok, RUN 1 13, DONE 13 ok, DONE 10 ok");
	ck_assert_uint_eq(state_of(1), WORKER_LEASED);
}
END_TEST

START_TEST(a_lease_given_back_closes_the_whole_stack)
{
	static const char *const what[] = {
		"KILL 1, DONE 11 lease_closed, DONE 10 lease_closed, ENDED 1 checked_in, START 2@0",
		"INTERRUPT 1, DONE 11 lease_closed, DONE 10 lease_closed, ENDED 1 checked_in",
		"DONE 11 lease_closed, DONE 10 lease_closed, ENDED 1 checked_in",
	};

	given_workers(1);
	checkout(1, 1);
	the_next.abandon = (enum pool_abandon)_i;
	lease_call(10, 1);
	waits(1, 10, true);
	lease_call(11, 1);
	ignore_actions();
	checkin(1);
	then(what[_i]);
}
END_TEST

START_TEST(calls_of_the_session_of_a_lease_run_inside_of_its_calls)
{
	given_workers(1);
	session("a", SESSION_STRICT);
	checkout(1, 1);
	strict("a", 10);
	fail_fast("a", 11);
	then("DONE 1 lease on 1, DONE 11 session_busy");
	lease_call(12, 1);
	waits(1, 12, true);
	then("RUN 1 12, RUN 1 10");
	answer(1, 10);
	fail_fast("a", 13);
	then("DONE 10 ok, RUN 1 13");
	checkin(1); /* 12 is killed, and 13 with it */
	then("KILL 1, DONE 12 lease_closed, ENDED 1 checked_in, START 2@0");
	gone(1);
	then("DONE 13 worker_exit");
}
END_TEST

START_TEST(an_inner_call_stays_one_when_the_outer_one_ends_first)
{
	given_workers(1);
	session("a", SESSION_STRICT);
	checkout(1, 1);
	lease_call(10, 1);
	waits(1, 10, true);
	strict("a", 11);
	answer(1, 10);
	ignore_actions();
	abandon(11); /* its lease is not to blame */
	then("DONE 11 abandoned");
	answer(1, 11);
	ck_assert_uint_eq(state_of(1), WORKER_LEASED);
}
END_TEST

/* ---- the deadlock that is left ---- */

START_TEST(who_can_never_be_served_is_refused)
{
	const struct pool_request *r = NULL;
	uint64_t expected[] = { 11, 13, 14 };

	given_a_call_that_waits();
	call(11);
	waits(1, 10, false);
	strict("a", 12); /* of one worker */
	checkout(13, 1);
	the_next.priority = PRIORITY_HIGH;
	strict("b", 14);
	strict("b", 15); /* behind that */
	for (unsigned i = 0; i < 3; i++) {
		r = pool_queued_after(pool, r);
		ck_assert_uint_eq(r->id, expected[i]);
	}
	ck_assert_ptr_null(pool_queued_after(pool, r));
	refuse(14);
	then("DONE 14 deadlock");
	refuse(13);
	refuse(12);
	then("DONE 13 deadlock, DONE 12 deadlock");
	ck_assert_ptr_eq(pool_queued_after(pool, NULL), requests[11]);
	ck_assert_ptr_eq(pool_queued_after(pool, requests[11]), requests[15]);
	ck_assert_uint_eq(outcomes(OUTCOME_DEADLOCK), 3);
}
END_TEST

START_TEST(waits_of_the_unknown_are_counted_and_dropped)
{
	given_a_call_that_waits();
	waits(1, 11, true);
	waits(7, 10, true);
	broken(1);
	waits(1, 10, true);
	ck_assert_uint_eq(pool_totals(pool)->late, 3);
	ignore_actions();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: re-entrant calls");
	TCase *tc = tcase_create("pool: re-entrant calls");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, a_call_of_the_session_that_waits_runs_at_once_inside, 0, 2);
	tcase_add_test(tc, a_hint_runs_inside_rather_than_elsewhere);
	tcase_add_test(tc, who_waits_already_runs_inside_when_the_call_begins_to_wait);
	tcase_add_test(tc, nobody_runs_inside_of_a_call_that_does_not_wait);
	tcase_add_test(tc, others_do_not_run_inside);
	tcase_add_test(tc, the_stack_has_a_limit);
	tcase_add_test(tc, a_call_further_down_may_end_first);
	tcase_add_loop_test(tc, an_inner_call_that_nobody_wants_finishes_unheard, 0, 6);
	tcase_add_loop_test(tc, an_inner_stream_that_nobody_wants_is_closed_and_never_killed, 0, 3);
	tcase_add_test(tc, an_inner_stream_that_opens_for_nobody_is_closed);
	tcase_add_test(
		tc, an_outer_call_that_is_abandoned_takes_the_inner_ones_along_when_it_is_killed);
	tcase_add_loop_test(tc, an_outer_call_that_is_interrupted_lets_the_inner_ones_end, 0, 3);
	tcase_add_test(tc, an_outer_call_that_may_finish_still_lets_others_inside);
	tcase_add_test(tc, nobody_goes_inside_of_a_call_whose_time_is_up);
	tcase_add_loop_test(tc, a_worker_that_dies_takes_all_of_them_along_and_none_runs_again, 0,
			    2);
	tcase_add_test(tc, the_last_words_of_an_inner_call_reach_its_caller);
	tcase_add_test(tc, a_stop_ends_the_whole_stack);
	tcase_add_test(tc, a_call_of_a_lease_whose_call_waits_runs_inside);
	tcase_add_loop_test(tc, a_lease_given_back_closes_the_whole_stack, 0, 3);
	tcase_add_test(tc, calls_of_the_session_of_a_lease_run_inside_of_its_calls);
	tcase_add_test(tc, an_inner_call_stays_one_when_the_outer_one_ends_first);
	tcase_add_test(tc, who_can_never_be_served_is_refused);
	tcase_add_test(tc, waits_of_the_unknown_are_counted_and_dropped);
	suite_add_tcase(suite, tc);
	return run(suite);
}
