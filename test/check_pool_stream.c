/* check_pool_stream.c - the pool's rules for streams: they open, they are wanted no more, they hang. */
#include "pool_given.h"

/* Worker 1 alone streams for request 10, which any `how` would abandon. */
static void given_a_stream(enum pool_abandon how)
{
	given_workers(1);
	the_next.abandon = how;
	stream(10);
	opened(1, 10);
	then("RUN 1 10, OPENED 10");
}

START_TEST(a_stream_that_is_open_still_counts_as_running)
{
	given_a_stream(ABANDON_KILL);
	ck_assert_uint_eq(requests[10]->state, REQUEST_STREAMING);
	ck_assert_uint_eq(pool_running(pool), 1);
	ck_assert_uint_eq(state_of(1), WORKER_BUSY);
	answer(1, 10);
	then("DONE 10 ok");
	ck_assert_uint_eq(pool_running(pool), 0);
}
END_TEST

START_TEST(a_stream_waits_in_line_as_calls_do)
{
	given_workers(1);
	call(10);
	call(11);
	stream(12);
	call(13);
	ignore_actions();
	answer(1, 10);
	answer(1, 11);
	then("DONE 10 ok, RUN 1 11, DONE 11 ok, RUN 1 12");
	opened(1, 12);
	answer(1, 12);
	then("OPENED 12, DONE 12 ok, RUN 1 13");
}
END_TEST

START_TEST(only_a_stream_can_open_and_only_once)
{
	given_a_stream(ABANDON_KILL);
	opened(1, 10);
	opened(1, 11);
	opened(7, 10);
	answer(1, 10);
	call(12);
	ignore_actions();
	opened(1, 12);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->late, 4);
}
END_TEST

START_TEST(the_deadline_of_a_stream_moves)
{
	given_workers(1);
	the_next.deadline_us = ms_from_now(100);
	stream(10);
	opened(1, 10);
	extend(10, POOL_NEVER); /* it owes nothing */
	ck_assert_uint_eq(pool_next_tick(pool), POOL_NEVER);
	after_ms(1000);
	extend(10, ms_from_now(50)); /* one item was asked for */
	ignore_actions();
	after_ms(49);
	then_nothing();
	after_ms(1);
	then("KILL 1, DONE 10 timeout_call, START 2@0");
}
END_TEST

START_TEST(the_deadline_of_a_call_that_runs_moves_too)
{
	given_workers(1);
	the_next.deadline_us = ms_from_now(100);
	call(10);
	extend(10, ms_from_now(200));
	ignore_actions();
	after_ms(199);
	then_nothing();
	after_ms(1);
	then("KILL 1, DONE 10 timeout_call, START 2@0");
}
END_TEST

START_TEST(a_deadline_that_has_passed_already_counts_at_once)
{
	given_a_stream(ABANDON_KILL);
	extend(10, now_us);
	then("KILL 1, DONE 10 timeout_call, START 2@0");
}
END_TEST

/* ---- nobody wants it any more ---- */

START_TEST(a_stream_whose_caller_is_gone_is_closed_whatever_abandon_says)
{
	given_a_stream((enum pool_abandon)_i);
	call(11);
	abandon(10);
	then("CLOSE 1 10, DONE 10 abandoned");
	ck_assert_uint_eq(state_of(1), WORKER_BUSY);
	after_ms(999);
	then_nothing();
	answer(1, 10); /* finally has run: no probe is needed */
	then("RUN 1 11");
	ck_assert_uint_eq(pool_totals(pool)->interrupts, 0);
}
END_TEST

START_TEST(a_stream_that_does_not_close_is_interrupted_and_then_costs_its_worker)
{
	given_a_stream((enum pool_abandon)_i);
	abandon(10);
	ignore_actions();
	after_ms(999);
	then_nothing();
	after_ms(1);
	then("INTERRUPT 1");
	after_ms(999);
	then_nothing();
	after_ms(1);
	then("KILL 1, START 2@0");
	answer(1, 10);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->late, 1);
}
END_TEST

START_TEST(a_stream_that_ends_when_it_is_interrupted_keeps_its_worker)
{
	given_a_stream(ABANDON_KILL);
	call(11);
	if (_i == 0)
		abandon(10);
	else
		close_stream(10);
	ignore_actions();
	after_ms(1000);
	then(_i == 0 ? "INTERRUPT 1" : "INTERRUPT 1, DONE 10 timeout_call");
	answer(1, 10); /* finally has run, but whatever else was interrupted, too */
	then("PROBE 1");
	pong(1);
	then("RUN 1 11");
}
END_TEST

START_TEST(a_stream_that_has_not_opened_is_abandoned_as_a_call_is)
{
	static const char *const what[] = { "KILL 1, DONE 10 abandoned, START 2@0",
					    "INTERRUPT 1, DONE 10 abandoned", "DONE 10 abandoned" };

	given_workers(1);
	the_next.abandon = (enum pool_abandon)_i;
	stream(10);
	ignore_actions();
	abandon(10);
	then(what[_i]);
}
END_TEST

START_TEST(a_stream_that_opens_for_nobody_is_closed)
{
	given_workers(1);
	the_next.abandon = ABANDON_FINISH;
	stream(10);
	abandon(10);
	call(11);
	ignore_actions();
	opened(1, 10);
	then("CLOSE 1 10");
	if (_i == 0) {
		answer(1, 10);
		then("RUN 1 11");
	} else {
		after_ms(1000);
		then("INTERRUPT 1");
		after_ms(1000);
		then("KILL 1, START 2@0");
	}
}
END_TEST

START_TEST(a_stream_that_opens_although_interrupted_is_closed_and_then_probed)
{
	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	stream(10);
	abandon(10);
	ignore_actions();
	after_ms(500);
	opened(1, 10);
	then("CLOSE 1 10");
	if (_i == 0) {
		answer(1, 10);
		pong(1);
		then("PROBE 1");
		ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	} else {
		after_ms(499); /* the grace of the interrupt */
		then_nothing();
		after_ms(1);
		then("KILL 1, START 2@0");
	}
}
END_TEST

START_TEST(a_stream_that_its_caller_closes_ends_well)
{
	given_a_stream(ABANDON_KILL);
	extend(10, ms_from_now(100));
	call(11);
	close_stream(10);
	then("CLOSE 1 10");
	close_stream(10);
	extend(10, now_us); /* what it owed does not matter now */
	after_ms(999);
	then_nothing();
	ck_assert_uint_eq(pool_running(pool), 1);
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
}
END_TEST

START_TEST(a_stream_that_its_caller_closes_and_that_does_not_end_costs_its_worker)
{
	given_a_stream((enum pool_abandon)_i);
	close_stream(10);
	ignore_actions();
	after_ms(1000);
	then("INTERRUPT 1, DONE 10 timeout_call");
	after_ms(1000);
	then("KILL 1, START 2@0");
}
END_TEST

START_TEST(a_caller_that_dies_while_its_stream_closes_gives_no_new_grace)
{
	given_a_stream(ABANDON_KILL);
	close_stream(10);
	after_ms(600);
	ignore_actions();
	abandon(10);
	then("DONE 10 abandoned");
	if (_i == 0) {
		answer(1, 10);
		ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	} else {
		after_ms(399);
		then_nothing();
		after_ms(1);
		then("INTERRUPT 1");
		after_ms(1000);
		then("KILL 1, START 2@0");
	}
}
END_TEST

START_TEST(a_stream_that_hangs_is_treated_as_abandon_says)
{
	static const char *const what[] = { "KILL 1, DONE 10 timeout_call, START 2@0",
					    "INTERRUPT 1, DONE 10 timeout_call",
					    "CLOSE 1 10, DONE 10 timeout_call" };

	given_a_stream((enum pool_abandon)_i);
	extend(10, ms_from_now(50));
	after_ms(50);
	then(what[_i]);
	if (_i == ABANDON_FINISH) {
		after_ms(100000);
		then_nothing();
		answer(1, 10);
		ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	}
}
END_TEST

/* ---- workers that die ---- */

START_TEST(a_stream_never_runs_again_once_it_is_open)
{
	given_workers(1);
	the_next.retry = 3;
	stream(10);
	ignore_actions();
	gone(1);
	ready(2);
	then("START 2@0, RUN 2 10");
	opened(2, 10);
	gone(2);
	then("OPENED 10, DONE 10 worker_exit, START 3@0");
}
END_TEST

START_TEST(the_last_words_of_a_worker_may_open_and_end_a_stream)
{
	given_workers(1);
	stream(10);
	broken(1);
	ignore_actions();
	opened(1, 10);
	then("OPENED 10");
	close_stream(10); /* there is nobody to be told */
	then_nothing();
	if (_i == 0) {
		answer(1, 10);
		then("DONE 10 ok");
	} else {
		gone(1);
		then("DONE 10 worker_exit");
	}
}
END_TEST

START_TEST(a_stop_ends_streams)
{
	given_a_stream(ABANDON_KILL);
	if (_i == 1)
		close_stream(10);
	ignore_actions();
	stop();
	then("KILL 1, DONE 10 draining");
}
END_TEST

/* ---- leases ---- */

START_TEST(a_stream_on_a_lease_leaves_the_lease_to_its_owner)
{
	given_workers(1);
	checkout(1, 1);
	the_next.stream = true;
	lease_call(10, 1);
	lease_call(11, 1);
	opened(1, 10);
	ignore_actions();
	if (_i == 0) {
		answer(1, 10);
		then("DONE 10 ok, RUN 1 11");
	} else if (_i == 1) {
		abandon(10);
		answer(1, 10);
		then("CLOSE 1 10, DONE 10 abandoned, RUN 1 11");
	} else {
		close_stream(10);
		answer(1, 10);
		then("CLOSE 1 10, DONE 10 ok, RUN 1 11");
	}
	ck_assert_uint_eq(pool_leases(pool), 1);
}
END_TEST

START_TEST(a_lease_given_back_while_it_streams_closes_the_stream)
{
	given_workers(1);
	checkout(1, 1);
	the_next.stream = true;
	lease_call(10, 1);
	opened(1, 10);
	call(12);
	ignore_actions();
	checkin(1);
	then("CLOSE 1 10, DONE 10 lease_closed, ENDED 1 checked_in");
	answer(1, 10);
	then("RUN 1 12");
}
END_TEST

START_TEST(a_stream_on_a_lease_that_does_not_close_ends_the_lease)
{
	given_workers(1);
	checkout(1, 1);
	the_next.stream = true;
	lease_call(10, 1);
	opened(1, 10);
	lease_call(11, 1);
	if (_i == 0)
		abandon(10);
	else
		close_stream(10);
	ignore_actions();
	after_ms(1000);
	then(_i == 0 ? "INTERRUPT 1" : "INTERRUPT 1, DONE 10 timeout_call");
	after_ms(1000);
	if (_i == 0)
		then("KILL 1, DONE 11 lease_closed, ENDED 1 worker_gone, START 2@0");
	else
		then("KILL 1, DONE 11 lease_closed, ENDED 1 timeout, START 2@0");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: streams");
	TCase *tc = tcase_create("pool: streams");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_stream_that_is_open_still_counts_as_running);
	tcase_add_test(tc, a_stream_waits_in_line_as_calls_do);
	tcase_add_test(tc, only_a_stream_can_open_and_only_once);
	tcase_add_test(tc, the_deadline_of_a_stream_moves);
	tcase_add_test(tc, the_deadline_of_a_call_that_runs_moves_too);
	tcase_add_test(tc, a_deadline_that_has_passed_already_counts_at_once);
	tcase_add_loop_test(tc, a_stream_whose_caller_is_gone_is_closed_whatever_abandon_says, 0,
			    3);
	tcase_add_loop_test(
		tc, a_stream_that_does_not_close_is_interrupted_and_then_costs_its_worker, 0, 3);
	tcase_add_loop_test(tc, a_stream_that_ends_when_it_is_interrupted_keeps_its_worker, 0, 2);
	tcase_add_loop_test(tc, a_stream_that_has_not_opened_is_abandoned_as_a_call_is, 0, 3);
	tcase_add_loop_test(tc, a_stream_that_opens_for_nobody_is_closed, 0, 2);
	tcase_add_loop_test(tc, a_stream_that_opens_although_interrupted_is_closed_and_then_probed,
			    0, 2);
	tcase_add_test(tc, a_stream_that_its_caller_closes_ends_well);
	tcase_add_loop_test(
		tc, a_stream_that_its_caller_closes_and_that_does_not_end_costs_its_worker, 0, 3);
	tcase_add_loop_test(tc, a_caller_that_dies_while_its_stream_closes_gives_no_new_grace, 0,
			    2);
	tcase_add_loop_test(tc, a_stream_that_hangs_is_treated_as_abandon_says, 0, 3);
	tcase_add_test(tc, a_stream_never_runs_again_once_it_is_open);
	tcase_add_loop_test(tc, the_last_words_of_a_worker_may_open_and_end_a_stream, 0, 2);
	tcase_add_loop_test(tc, a_stop_ends_streams, 0, 2);
	tcase_add_loop_test(tc, a_stream_on_a_lease_leaves_the_lease_to_its_owner, 0, 3);
	tcase_add_test(tc, a_lease_given_back_while_it_streams_closes_the_stream);
	tcase_add_loop_test(tc, a_stream_on_a_lease_that_does_not_close_ends_the_lease, 0, 2);
	suite_add_tcase(suite, tc);
	return run(suite);
}
