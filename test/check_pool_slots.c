/* check_pool_slots.c - the pool's rules for workers that hold several calls at once. With one slot each:
 * all the others of check_pool*.c. */
#include "pool_given.h"

/* Workers 1 to n with that many slots each. */
static void given_slots(unsigned workers, unsigned slots)
{
	config.slots = slots;
	given_workers(workers);
}

static enum worker_state slot_state(uint64_t worker_id, unsigned slot)
{
	ck_assert_ptr_nonnull(pool_worker(pool, worker_id));
	return pool_worker(pool, worker_id)->slot[slot].state;
}

/* The id of the probe in that slot. */
static uint64_t probe_in(uint64_t worker_id, unsigned slot)
{
	return pool_worker(pool, worker_id)->slot[slot].probe_id;
}

/* ---- hand-out ---- */

START_TEST(a_worker_holds_as_many_calls_as_it_has_slots)
{
	given_slots(1, 3);
	for (uint64_t id = 10; id < 15; id++)
		call(id);
	then("RUN 1 10, RUN 1 11, RUN 1 12");
	ck_assert_uint_eq(pool_running(pool), 3);
	ck_assert_uint_eq(pool_queued(pool), 2);
	answer(1, 11);
	then("DONE 11 ok, RUN 1 13");
	answer(1, 10);
	answer(1, 12);
	answer(1, 13);
	answer(1, 14);
	then("DONE 10 ok, RUN 1 14, DONE 12 ok, DONE 13 ok, DONE 14 ok");
	ck_assert_uint_eq(pool_worker(pool, 1)->calls, 5);
}
END_TEST

START_TEST(the_worker_with_the_fewest_calls_is_next)
{
	given_slots(3, 2);
	call(10);
	call(11);
	call(12);
	then("RUN 3 10, RUN 2 11, RUN 1 12");
	answer(2, 11);
	call(13);
	then("DONE 11 ok, RUN 2 13");
	call(14);
	call(15);
	call(16);
	call(17);
	then("RUN 2 14, RUN 1 15, RUN 3 16");
	ck_assert_uint_eq(pool_queued(pool), 1);
}
END_TEST

START_TEST(slots_and_workers_are_counted_as_what_they_are)
{
	given_slots(3, 4);
	resize(4);
	call(10);
	checkout(11, 1);
	the_next.abandon = ABANDON_INTERRUPT;
	call(12);
	abandon(12);
	answer(1, 12);
	broken(2);
	ignore_actions();
	ck_assert_uint_eq(pool_ready(pool), 2);
	ck_assert_uint_eq(pool_count(pool, WORKER_STARTING), 2);
	ck_assert_uint_eq(pool_count(pool, WORKER_STOPPING), 1);
	ck_assert_uint_eq(pool_count(pool, WORKER_BUSY), 1);
	ck_assert_uint_eq(pool_count(pool, WORKER_PROBING), 1);
	ck_assert_uint_eq(pool_count(pool, WORKER_LEASED), 0);
	ck_assert_uint_eq(pool_count(pool, WORKER_IDLE), 6);
	ck_assert_uint_eq(state_of(3), WORKER_BUSY);
	ck_assert_uint_eq(state_of(1), WORKER_PROBING);
}
END_TEST

START_TEST(a_worker_whose_calls_are_several_tells_no_single_one)
{
	given_slots(1, 3);
	ck_assert_ptr_null(pool_worker_call(pool_worker(pool, 1)));
	call(10);
	ck_assert_uint_eq(pool_worker_call(pool_worker(pool, 1))->id, 10);
	call(11);
	ck_assert_ptr_null(pool_worker_call(pool_worker(pool, 1)));
	ignore_actions();
}
END_TEST

START_TEST(no_more_slots_than_there_may_be)
{
	given_slots(1, POOL_SLOTS_MAX);
	for (uint64_t id = 1; id <= POOL_SLOTS_MAX + 1; id++)
		call(id);
	ck_assert_uint_eq(pool_running(pool), POOL_SLOTS_MAX);
	ck_assert_uint_eq(pool_queued(pool), 1);
	ignore_actions();
}
END_TEST

START_TEST(no_slots_at_all_are_one)
{
	given_slots(1, 0);
	ck_assert_uint_eq(pool_config(pool)->slots, 1);
	call(10);
	call(11);
	then("RUN 1 10");
}
END_TEST

/* ---- one slot does something bad ---- */

START_TEST(an_interrupt_is_for_one_slot_and_so_is_the_probe)
{
	given_slots(1, 2);
	call(10);
	the_next.abandon = ABANDON_INTERRUPT;
	call(11);
	call(12);
	ignore_actions();
	abandon(11);
	then("INTERRUPT 1, DONE 11 abandoned");
	answer(1, 11);
	then("PROBE 1");
	ck_assert_uint_eq(slot_state(1, 0), WORKER_BUSY);
	ck_assert_uint_eq(slot_state(1, 1), WORKER_PROBING);
	answer(1, 10);
	then("DONE 10 ok, RUN 1 12");
	pong(1);
	ck_assert_uint_eq(slot_state(1, 1), WORKER_IDLE);
}
END_TEST

START_TEST(actions_for_several_slots_of_a_worker_name_their_calls)
{
	struct pool_action action;
	uint64_t interrupted = 0, closed = 0;

	given_slots(1, 3);
	the_next.abandon = ABANDON_INTERRUPT;
	the_next.deadline_us = ms_from_now(100);
	call(10);
	the_next.abandon = ABANDON_INTERRUPT;
	the_next.deadline_us = ms_from_now(100);
	call(11);
	the_next.abandon = ABANDON_FINISH;
	stream(12);
	opened(1, 12);
	extend(12, ms_from_now(100));
	ignore_actions();
	later_ms(100);
	pool_step(pool, &(struct pool_event){ .type = POOL_TICK }, now_us);
	while (pool_next(pool, &action)) {
		if (action.type == POOL_INTERRUPT)
			interrupted += action.call_id;
		else if (action.type == POOL_CLOSE)
			closed += action.call_id;
		if (action.type == POOL_DONE)
			perform(&action);
	}
	ck_assert_uint_eq(interrupted, 21);
	ck_assert_uint_eq(closed, 12);
	ignore_actions();
}
END_TEST

START_TEST(a_kill_takes_the_whole_worker_and_costs_nobody_else_more_than_a_death)
{
	given_slots(1, 4);
	call(10);
	the_next.retry = 1;
	call(11);
	call(12);
	checkout(13, 1);
	ignore_actions();
	abandon(10);
	then("KILL 1, DONE 10 abandoned, START 2@0");
	ck_assert_uint_eq(pool_running(pool), 2);
	answer(1, 12); /* its last words */
	then("DONE 12 ok");
	gone(1);
	ready(2);
	then("ENDED 1 worker_gone, RUN 2 11");
	ck_assert_uint_eq(pool_totals(pool)->retries, 1);
	ck_assert_uint_eq(pool_totals(pool)->kills, 1);
}
END_TEST

START_TEST(calls_beside_a_killed_one_have_their_deadlines_and_their_callers)
{
	given_slots(1, 3);
	call(10);
	the_next.deadline_us = ms_from_now(100);
	call(11);
	call(12);
	abandon(10);
	ignore_actions();
	after_ms(100);
	then("DONE 11 timeout_call");
	abandon(12);
	then("DONE 12 abandoned");
	ready(2);
	after_ms(100000);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->kills, 1);
}
END_TEST

START_TEST(a_call_that_comes_with_the_kill_of_its_worker_goes_to_another)
{
	given_slots(1, 2);
	the_next.deadline_us = ms_from_now(100);
	call(10);
	ignore_actions();
	later_ms(100);
	call(11); /* was to run there; the time of 10 is up in the same step */
	then("KILL 1, DONE 10 timeout_call, START 2@0");
	ck_assert_uint_eq(pool_queued(pool), 1);
	ready(2);
	then("RUN 2 11");
	ck_assert_uint_eq(pool_totals(pool)->retries, 0);
}
END_TEST

START_TEST(a_session_that_comes_with_the_kill_of_its_worker_begins_on_another)
{
	given_slots(1, 2);
	the_next.deadline_us = ms_from_now(100);
	call(10);
	ignore_actions();
	later_ms(100);
	strict("a", 11);
	then("KILL 1, DONE 10 timeout_call, START 2@0");
	ready(2);
	then("RUN 2 11");
}
END_TEST

START_TEST(only_the_call_that_was_sent_last_can_be_unread)
{
	given_slots(1, 2);
	call(10);
	call(11);
	broken(1);
	ready(2);
	ignore_actions();
	step((struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = 1, .not_begun = true });
	then("DONE 10 worker_exit, RUN 2 11");
}
END_TEST

START_TEST(two_slots_that_are_up_at_once_cost_one_kill)
{
	given_slots(1, 2);
	the_next.deadline_us = ms_from_now(100);
	call(10);
	the_next.deadline_us = ms_from_now(100);
	call(11);
	ignore_actions();
	after_ms(100);
	ck_assert_uint_eq(outcomes(OUTCOME_TIMEOUT_CALL), 2);
	ck_assert_uint_eq(pool_totals(pool)->kills, 1);
	ignore_actions();
}
END_TEST

START_TEST(a_worker_with_an_interrupted_slot_that_dies_was_fit_to_serve)
{
	given_slots(1, 2);
	for (uint64_t id = 1; id <= 40; id++) {
		call(2 * id);
		the_next.abandon = ABANDON_INTERRUPT;
		call(2 * id + 1);
		abandon(2 * id + 1);
		gone(id);
		ready(id + 1);
	}
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
	ignore_actions();
}
END_TEST

/* ---- leases ---- */

START_TEST(a_lease_is_one_slot)
{
	given_slots(1, 2);
	checkout(1, 1);
	checkout(2, 2);
	call(10);
	then("DONE 1 lease on 1, DONE 2 lease on 1");
	lease_call(11, 1);
	lease_call(12, 2);
	lease_call(13, 1);
	then("RUN 1 11, RUN 1 12");
	answer(1, 11);
	then("DONE 11 ok, RUN 1 13");
	checkin(2);
	then("KILL 1, DONE 12 lease_closed, ENDED 2 checked_in, START 2@0");
	gone(1);
	then("DONE 13 worker_exit, ENDED 1 worker_gone");
}
END_TEST

/* ---- sessions ---- */

START_TEST(calls_of_a_session_take_any_free_slot_of_its_worker)
{
	given_slots(2, 2);
	strict("a", 10);
	strict("a", 11);
	fail_fast("a", 12);
	strict("a", 13);
	then("RUN 2 10, RUN 2 11, DONE 12 session_busy");
	call(14);
	then("RUN 1 14");
	answer(2, 10);
	then("DONE 10 ok, RUN 2 13");
	ck_assert_uint_eq(the_session("a")->slots, 2);
}
END_TEST

START_TEST(those_behind_the_first_of_a_session_take_the_other_slots)
{
	config.slots = 3;
	given_pool(1);
	tick();
	strict("a", 10);
	strict("a", 11);
	strict("a", 12);
	strict("a", 13);
	ignore_actions();
	ready(1);
	then("RUN 1 10, RUN 1 11, RUN 1 12");
}
END_TEST

START_TEST(new_sessions_go_by_sessions_and_then_by_calls)
{
	given_slots(3, 4);
	strict("a", 10); /* on 3 */
	call(11);        /* on 2 */
	strict("b", 12);
	strict("c", 13);
	then("RUN 3 10, RUN 2 11, RUN 1 12, RUN 2 13");
}
END_TEST

START_TEST(a_session_ends_when_the_last_of_its_calls_is_done)
{
	given_slots(1, 3);
	strict("a", 10);
	strict("a", 11);
	end_session("a");
	ignore_actions();
	answer(1, 10);
	then("DONE 10 ok");
	call(12);
	then("RUN 1 12");
	answer(1, 11);
	then("DONE 11 ok, END_SESSION 1 a");
	pong(1);
	then("SESSION a ended");
}
END_TEST

START_TEST(a_free_slot_ends_a_session_while_others_work)
{
	given_slots(1, 2);
	strict("a", 10);
	call(11);
	answer(1, 10);
	ignore_actions();
	end_session("a");
	then("END_SESSION 1 a");
	call(12);
	then_nothing();
	strict("a", 13); /* another one of that name */
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
	answer(1, probe_in(1, 0));
	then("SESSION a ended, RUN 1 13");
}
END_TEST

START_TEST(a_session_starts_anew_only_when_its_worker_has_ended_it)
{
	given_slots(1, 2);
	checkout(1, 1);
	strict("a", 10);
	strict("a", 11);
	end_session("a"); /* 11 waits for that */
	ignore_actions();
	answer(1, 10);
	then("DONE 10 ok, END_SESSION 1 a");
	checkin(1);
	then("ENDED 1 checked_in"); /* a free slot, but the token is the same */
	ck_assert_uint_eq(pool_queued(pool), 1);
	pong(1);
	then("RUN 1 11");
}
END_TEST

START_TEST(a_hint_that_runs_again_takes_a_free_slot_of_the_worker_that_its_session_has_now)
{
	given_slots(1, 3);
	the_next.retry = 1;
	hint("a", 10);
	strict("a", 11);
	strict("a", 12);
	strict("a", 13);
	broken(1);
	ready(2);
	strict("a", 14);
	ignore_actions();
	gone(1);
	then("DONE 11 worker_exit, DONE 12 worker_exit, SESSION a lost, RUN 2 10");
}
END_TEST

/* ---- re-entrant calls ---- */

START_TEST(a_free_slot_comes_before_the_inside_of_a_call)
{
	given_slots(1, 2);
	strict("a", 10);
	waits(1, 10, true);
	strict("a", 11);
	strict("a", 12);
	then("RUN 1 10, RUN 1 11, RUN 1 12");
	ck_assert_uint_eq(pool_worker(pool, 1)->slot[0].depth, 2);
	ck_assert_uint_eq(pool_worker(pool, 1)->slot[1].depth, 1);
}
END_TEST

/* ---- sizes ---- */

START_TEST(a_surplus_worker_takes_nobody_and_leaves_when_all_its_slots_are_free)
{
	given_slots(2, 2);
	call(10); /* on 2 */
	call(11); /* on 1 */
	call(12); /* on 1 */
	call(13); /* on 2 */
	call(14);
	ignore_actions();
	resize(1);
	then_nothing();
	answer(1, 11);
	then("DONE 11 ok"); /* not for 14 */
	answer(2, 10);
	then("DONE 10 ok, RUN 2 14");
	answer(1, 12);
	then("END 1, DONE 12 ok");
	ck_assert_uint_eq(pool_ready(pool), 1);
}
END_TEST

START_TEST(a_surplus_worker_stays_when_it_is_needed_after_all)
{
	given_slots(2, 2);
	for (uint64_t id = 10; id < 15; id++)
		call(id);
	resize(1);
	ignore_actions();
	answer(1, 11);
	then("DONE 11 ok");
	if (_i == 0) {
		resize(2);
		then("RUN 1 14");
	} else {
		gone(2);
		then("DONE 10 worker_exit, DONE 13 worker_exit, RUN 1 14");
	}
	ck_assert_uint_eq(pool_totals(pool)->starts, 2);
}
END_TEST

START_TEST(a_surplus_worker_finishes_what_it_has)
{
	given_slots(2, 2);
	checkout(1, 1); /* on 2 */
	call(10);       /* on 1 */
	call(11);       /* on 1 */
	call(12);       /* on 2 */
	resize(1);
	ignore_actions();
	answer(2, 12);
	lease_call(13, 1);
	lease_call(14, 1);
	answer(2, 13);
	then("DONE 12 ok, RUN 2 13, DONE 13 ok, RUN 2 14");
	answer(2, 14);
	checkin(1);
	then("DONE 14 ok, END 2, ENDED 1 checked_in");
}
END_TEST

START_TEST(a_pool_shrinks_by_workers_all_of_whose_slots_are_idle)
{
	given_slots(3, 2);
	call(10); /* on 3 */
	ignore_actions();
	resize(1);
	then("END 2, END 1");
	call(11);
	then("RUN 3 11");
}
END_TEST

START_TEST(a_stop_ends_all_slots)
{
	given_slots(2, 2);
	strict("a", 11); /* on 2 */
	checkout(1, 1);  /* on 1 */
	lease_call(12, 1);
	answer(1, 12);
	ignore_actions();
	stop();
	then("KILL 2, END 1, DONE 11 draining, ENDED 1 worker_gone, SESSION a ended");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: slots");
	TCase *tc = tcase_create("pool: slots");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_worker_holds_as_many_calls_as_it_has_slots);
	tcase_add_test(tc, the_worker_with_the_fewest_calls_is_next);
	tcase_add_test(tc, slots_and_workers_are_counted_as_what_they_are);
	tcase_add_test(tc, a_worker_whose_calls_are_several_tells_no_single_one);
	tcase_add_test(tc, no_more_slots_than_there_may_be);
	tcase_add_test(tc, no_slots_at_all_are_one);
	tcase_add_test(tc, an_interrupt_is_for_one_slot_and_so_is_the_probe);
	tcase_add_test(tc, actions_for_several_slots_of_a_worker_name_their_calls);
	tcase_add_test(tc, a_kill_takes_the_whole_worker_and_costs_nobody_else_more_than_a_death);
	tcase_add_test(tc, calls_beside_a_killed_one_have_their_deadlines_and_their_callers);
	tcase_add_test(tc, a_call_that_comes_with_the_kill_of_its_worker_goes_to_another);
	tcase_add_test(tc, a_session_that_comes_with_the_kill_of_its_worker_begins_on_another);
	tcase_add_test(tc, only_the_call_that_was_sent_last_can_be_unread);
	tcase_add_test(tc, two_slots_that_are_up_at_once_cost_one_kill);
	tcase_add_test(tc, a_worker_with_an_interrupted_slot_that_dies_was_fit_to_serve);
	tcase_add_test(tc, a_lease_is_one_slot);
	tcase_add_test(tc, calls_of_a_session_take_any_free_slot_of_its_worker);
	tcase_add_test(tc, those_behind_the_first_of_a_session_take_the_other_slots);
	tcase_add_test(tc, new_sessions_go_by_sessions_and_then_by_calls);
	tcase_add_test(tc, a_session_ends_when_the_last_of_its_calls_is_done);
	tcase_add_test(tc, a_free_slot_ends_a_session_while_others_work);
	tcase_add_test(tc, a_session_starts_anew_only_when_its_worker_has_ended_it);
	tcase_add_test(
		tc,
		a_hint_that_runs_again_takes_a_free_slot_of_the_worker_that_its_session_has_now);
	tcase_add_test(tc, a_free_slot_comes_before_the_inside_of_a_call);
	tcase_add_test(tc, a_surplus_worker_takes_nobody_and_leaves_when_all_its_slots_are_free);
	tcase_add_loop_test(tc, a_surplus_worker_stays_when_it_is_needed_after_all, 0, 2);
	tcase_add_test(tc, a_surplus_worker_finishes_what_it_has);
	tcase_add_test(tc, a_pool_shrinks_by_workers_all_of_whose_slots_are_idle);
	tcase_add_test(tc, a_stop_ends_all_slots);
	suite_add_tcase(suite, tc);
	return run(suite);
}
