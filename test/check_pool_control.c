/* check_pool_control.c - what operators ask of a pool: pauses, workers replaced on purpose, workers killed. */
#include "pool_given.h"

static void pause_pool(void)
{
	step((struct pool_event){ .type = POOL_PAUSE });
}

static void resume(void)
{
	step((struct pool_event){ .type = POOL_RESUME });
}

static void recycle(uint64_t worker_id)
{
	step((struct pool_event){ .type = POOL_RECYCLE, .worker_id = worker_id });
}

static void kill_worker(uint64_t worker_id)
{
	step((struct pool_event){ .type = POOL_KILL_WORKER, .worker_id = worker_id });
}

/* One of the calls that the worker runs. */
static uint64_t call_id_on(uint64_t worker_id)
{
	const struct pool_worker *w = pool_worker(pool, worker_id);

	for (unsigned i = 0; i < w->slots; i++)
		if (w->slot[i].depth > 0)
			return w->slot[i].call[0].id;
	return 0;
}

/* ---- pause ---- */

START_TEST(while_paused_calls_queue_although_workers_idle)
{
	given_workers(2);
	pause_pool();
	call(10);
	checkout(11, 1);
	strict("a", 12);
	then_nothing();
	ck_assert_uint_eq(pool_queued(pool), 3);
	ck_assert(pool_paused(pool));
	resume();
	then("DONE 11 lease on 1, RUN 2 10");
	answer(2, 10);
	then("DONE 10 ok, RUN 2 12");
}
END_TEST

START_TEST(a_call_that_runs_when_the_pool_is_paused_ends_and_the_next_one_waits)
{
	given_workers(1);
	call(10);
	call(11);
	pause_pool();
	ignore_actions();
	answer(1, 10);
	then("DONE 10 ok");
	resume();
	then("RUN 1 11");
}
END_TEST

START_TEST(leases_go_on_while_the_pool_is_paused)
{
	given_workers(1);
	checkout(10, 1);
	pause_pool();
	ignore_actions();
	lease_call(11, 1);
	lease_call(12, 1);
	answer(1, 11);
	answer(1, 12);
	checkin(1);
	then("RUN 1 11, DONE 11 ok, RUN 1 12, DONE 12 ok, ENDED 1 checked_in");
	call(13);
	then_nothing();
}
END_TEST

START_TEST(calls_inside_of_one_that_waits_go_on_while_the_pool_is_paused)
{
	given_workers(2);
	strict("a", 10);
	waits(2, 10, true);
	pause_pool();
	ignore_actions();
	fail_fast("a", 11);
	then("RUN 2 11");
	strict("b", 12);
	then_nothing();
	answer(2, 11);
	answer(2, 10);
	then("DONE 11 ok, DONE 10 ok");
	resume();
	then("RUN 1 12");
}
END_TEST

START_TEST(whoever_cannot_wait_hears_so_at_once_in_a_paused_pool)
{
	given_workers(1);
	strict("a", 10);
	answer(1, 10);
	pause_pool();
	ignore_actions();
	fail_fast("a", 11);
	then("DONE 11 session_busy");
	the_next.queue_deadline_us = now_us;
	call(12);
	then("DONE 12 timeout_queue");
	the_next.deadline_us = ms_from_now(300);
	call(13);
	after_ms(300);
	then("DONE 13 timeout_queue");
}
END_TEST

START_TEST(a_session_ends_while_the_pool_is_paused)
{
	given_workers(1);
	strict("a", 10);
	answer(1, 10);
	pause_pool();
	ignore_actions();
	end_session("a");
	pong(1);
	then("END_SESSION 1 a, SESSION a ended");
}
END_TEST

START_TEST(a_retry_waits_while_the_pool_is_paused)
{
	given_workers(2);
	the_next.retry = 1;
	call(10);
	pause_pool();
	ignore_actions();
	gone(2);
	then("START 3@1");
	resume();
	then("RUN 1 10");
}
END_TEST

START_TEST(a_drain_ends_a_pause_since_what_waits_could_not_finish)
{
	given_workers(1);
	pause_pool();
	call(10);
	drain();
	then("RUN 1 10");
	pause_pool();
	ck_assert(!pool_paused(pool));
	answer(1, 10);
	then("DONE 10 ok, DRAINED");
}
END_TEST

START_TEST(a_drain_waits_for_calls_that_finish_unheard)
{
	given_workers(1);
	the_next.abandon = ABANDON_FINISH;
	call(10);
	abandon(10);
	ignore_actions();
	drain();
	then_nothing();
	answer(1, 10);
	then("DRAINED");
}
END_TEST

START_TEST(a_resume_ends_a_drain)
{
	given_workers(1);
	call(10);
	drain();
	ignore_actions();
	call(11);
	then("DONE 11 draining");
	resume();
	ck_assert(!pool_draining(pool));
	call(12);
	answer(1, 10);
	then("DONE 10 ok, RUN 1 12");
	answer(1, 12);
	then("DONE 12 ok");
}
END_TEST

START_TEST(a_stop_is_not_resumed)
{
	given_workers(1);
	stop();
	ignore_actions();
	resume();
	call(10);
	then("DONE 10 draining");
}
END_TEST

START_TEST(a_paused_pool_stops)
{
	given_workers(1);
	pause_pool();
	call(10);
	stop();
	then("END 1, DONE 10 draining");
}
END_TEST

/* ---- recycle ---- */

START_TEST(a_recycled_worker_leaves_when_its_replacement_is_ready)
{
	given_workers(2);
	recycle(1);
	then("START 3@2");
	ck_assert_uint_eq(pool_recycling(pool), 1);
	call(10);
	call(11);
	then("RUN 2 10, RUN 1 11");
	answer(1, 11);
	ignore_actions();
	ready(3);
	then("END 1");
	ck_assert_uint_eq(pool_recycling(pool), 0);
	gone(1);
	then_nothing();
	ck_assert_uint_eq(pool_ready(pool), 2);
}
END_TEST

START_TEST(a_recycled_worker_that_is_busy_ends_its_call_and_takes_no_other)
{
	given_workers(1);
	call(10);
	call(11);
	recycle(1);
	ignore_actions();
	ready(2);
	then("RUN 2 11");
	answer(2, 11);
	call(12);
	then("DONE 11 ok, RUN 2 12");
	answer(1, 10);
	then("END 1, DONE 10 ok");
}
END_TEST

START_TEST(a_recycled_worker_that_is_leased_leaves_with_its_lease)
{
	given_workers(1);
	checkout(10, 1);
	recycle(1);
	ready(2);
	ignore_actions();
	lease_call(11, 1);
	answer(1, 11);
	then("RUN 1 11, DONE 11 ok");
	checkin(1);
	then("END 1, ENDED 1 checked_in");
}
END_TEST

START_TEST(all_are_recycled_one_by_one)
{
	given_workers(3);
	recycle(0);
	then("START 4@3");
	ready(4);
	then("END 1, START 5@0");
	ready(5);
	then("END 2, START 6@1");
	ready(6);
	then("END 3");
	gone(1);
	gone(2);
	gone(3);
	then_nothing();
	ck_assert_uint_eq(pool_ready(pool), 3);
}
END_TEST

START_TEST(nobody_waits_for_the_long_call_of_a_predecessor)
{
	given_workers(2);
	call(10);
	call(11);
	recycle(0);
	ready(3);
	ready(4);
	ignore_actions();
	call(12);
	call(13);
	then("RUN 4 12, RUN 3 13");
	/* once more: as many as the size are on their way out, and that is enough */
	recycle(0);
	then_nothing();
	answer(1, 11);
	then("END 1, DONE 11 ok, START 5@0");
}
END_TEST

START_TEST(all_are_those_too_that_still_start)
{
	given_pool(2);
	tick();
	ready(1);
	ignore_actions();
	recycle(0);
	then("START 3@2");
	ready(3);
	then_nothing();
	ready(2);
	then("END 1, START 4@0");
	ready(4);
	then("END 2");
	ck_assert_uint_eq(pool_recycling(pool), 0);
}
END_TEST

START_TEST(a_recycling_of_all_waits_for_no_back_off)
{
	config.breaker.threshold = 1;
	config.breaker.backoff_base_us = 5 * SECONDS;
	given_pool(1);
	tick();
	gone(1);
	then("START 1@0");
	recycle(0);
	then("START 2@0");
	ready(2);
	call(10);
	then("RUN 2 10");
}
END_TEST

START_TEST(one_that_still_starts_is_as_new_as_can_be)
{
	given_pool(1);
	tick();
	recycle(1);
	ready(1);
	then("START 1@0");
}
END_TEST

START_TEST(a_worker_is_recycled_once)
{
	given_workers(2);
	recycle(1);
	recycle(1);
	recycle(77);
	then("START 3@2");
	ck_assert_uint_eq(pool_totals(pool)->late, 1);
	ready(3);
	then("END 1");
	recycle(1);
	then_nothing();
}
END_TEST

START_TEST(one_that_dies_before_its_turn_has_its_replacement)
{
	given_workers(1);
	recycle(1);
	ignore_actions();
	gone(1);
	then_nothing(); /* the one under way is enough */
	ready(2);
	then_nothing();
	ck_assert_uint_eq(pool_ready(pool), 1);
}
END_TEST

START_TEST(one_that_dies_on_its_way_out_needs_no_other)
{
	given_workers(1);
	call(10);
	recycle(1);
	ready(2);
	ignore_actions();
	gone(1);
	then("DONE 10 worker_exit");
	ck_assert_uint_eq(pool_ready(pool), 1);
}
END_TEST

START_TEST(a_new_one_that_dies_is_replaced_although_an_old_one_is_still_there)
{
	given_workers(1);
	call(10);
	recycle(1);
	ready(2);
	ignore_actions();
	gone(2);
	then("START 3@1");
	call(11);
	ready(3);
	then("RUN 3 11"); /* nobody keeps the old one */
	answer(1, 10);
	then("END 1, DONE 10 ok");
}
END_TEST

START_TEST(while_its_replacement_cannot_start_the_old_one_goes_on_serving)
{
	config.breaker.threshold = 2;
	config.breaker.backoff_max_us = 100 * MS;
	given_workers(1);
	recycle(1);
	for (unsigned i = 0; i < 5; i++) {
		gone(starts_seen);
		after_ms(200);
	}
	ignore_actions();
	ck_assert_int_eq(breaker_state(pool_breaker(pool)), BREAKER_HALF_OPEN);
	call(100);
	answer(1, 100);
	then("RUN 1 100, DONE 100 ok");
	ready(starts_seen);
	then("END 1");
}
END_TEST

START_TEST(a_pool_that_shrinks_takes_those_whose_turn_comes)
{
	given_workers(3);
	call(10); /* on 3 */
	recycle(3);
	then("RUN 3 10, START 4@3");
	resize(2);
	then_nothing();
	answer(3, 10);
	then("END 3, DONE 10 ok");
	ck_assert_uint_eq(pool_ready(pool), 2);
	ready(4); /* the start that was under way is surplus */
	then("END 4");
}
END_TEST

START_TEST(a_pool_that_grows_keeps_no_one_that_is_on_its_way_out)
{
	given_workers(2);
	call(10);
	call(11);
	recycle(2);
	resize(1);
	ignore_actions();
	ready(3);
	then("END 3");
	resize(2);
	then("START 4@2");
	answer(2, 10);
	then("END 2, DONE 10 ok");
}
END_TEST

START_TEST(one_that_is_surplus_already_and_is_recycled_is_kept_by_nobody)
{
	given_workers(2);
	call(10);
	call(11);
	resize(1);
	answer(1, 11); /* surplus */
	then("RUN 2 10, RUN 1 11, END 1, DONE 11 ok");
	recycle(1); /* leaves already */
	then_nothing();
}
END_TEST

START_TEST(with_slots_a_surplus_worker_that_is_recycled_is_kept_by_nobody)
{
	config.slots = 2;
	given_workers(2);
	for (uint64_t id = 10; id < 14; id++)
		call(id);
	resize(1);
	ignore_actions();
	answer(1, call_id_on(1));
	ck_assert(pool_worker(pool, 1)->retiring);
	recycle(1);
	resize(2);
	ready(3);
	ck_assert(pool_worker(pool, 1)->retiring);
}
END_TEST

START_TEST(of_two_that_are_to_leave_the_surplus_one_is_kept_and_the_recycled_one_is_not)
{
	config.slots = 2;
	given_workers(3);
	for (uint64_t id = 10; id < 16; id++)
		call(id);
	recycle(1);
	ready(4);
	resize(1); /* 4 leaves at once, 2 or 3 when it comes free */
	answer(2, call_id_on(2));
	ignore_actions();
	ck_assert(pool_worker(pool, 1)->retiring && pool_worker(pool, 2)->retiring);
	resize(2);
	then_nothing();
	ck_assert(pool_worker(pool, 1)->retiring && !pool_worker(pool, 2)->retiring);
}
END_TEST

START_TEST(a_stop_ends_what_was_to_be_recycled)
{
	given_workers(2);
	recycle(0);
	ignore_actions();
	stop();
	then("KILL 3, END 1, END 2");
	ck_assert_uint_eq(pool_recycling(pool), 0);
	for (uint64_t id = 1; id <= 3; id++)
		gone(id);
	then_nothing();
}
END_TEST

START_TEST(the_sessions_of_a_recycled_worker_are_lost_with_it)
{
	given_workers(1);
	strict("a", 10);
	recycle(1);
	ready(2);
	ignore_actions();
	strict("a", 11);
	hint("b", 12);
	then("RUN 2 12");
	answer(1, 10);
	then("END 1, DONE 10 ok, DONE 11 session_lost, SESSION a lost");
	strict("a", 13);
	answer(2, 12);
	then("DONE 12 ok, RUN 2 13");
}
END_TEST

START_TEST(nobody_waits_who_had_a_session_on_a_recycled_worker_and_the_next_one_hears_so)
{
	given_workers(1);
	strict("a", 10);
	answer(1, 10);
	recycle(1);
	ready(2);
	ignore_actions();
	strict("a", 11);
	then("DONE 11 session_lost, SESSION a lost");
}
END_TEST

START_TEST(a_pool_that_is_paused_is_recycled)
{
	given_workers(1);
	pause_pool();
	call(10);
	recycle(1);
	ready(2);
	then("START 2@1, END 1");
	resume();
	then("RUN 2 10");
}
END_TEST

/* ---- kill ---- */

START_TEST(a_worker_that_is_killed_costs_its_call_only)
{
	given_workers(2);
	call(10);
	call(11);
	ignore_actions();
	kill_worker(2);
	then("KILL 2, START 3@1");
	gone(2);
	then("DONE 10 worker_exit");
	answer(1, 11);
	then("DONE 11 ok");
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
}
END_TEST

START_TEST(the_call_of_a_worker_that_is_killed_may_run_again)
{
	given_workers(2);
	the_next.retry = 1;
	call(10);
	kill_worker(2);
	gone(2);
	then("RUN 2 10, KILL 2, START 3@1, RUN 1 10");
}
END_TEST

START_TEST(a_lease_ends_with_its_worker_that_is_killed)
{
	given_workers(1);
	checkout(10, 1);
	ignore_actions();
	kill_worker(1);
	gone(1);
	then("KILL 1, START 2@0, ENDED 1 worker_gone");
}
END_TEST

START_TEST(one_that_starts_and_is_killed_has_not_failed)
{
	given_pool(1);
	tick();
	kill_worker(1);
	then("START 1@0, KILL 1, START 2@0");
	gone(1);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
	ck_assert_uint_eq(pool_breaker(pool)->failures, 0);
}
END_TEST

START_TEST(a_probe_of_the_breaker_that_is_killed_is_made_again)
{
	config.breaker.threshold = 1;
	given_pool(1);
	tick();
	gone(1);
	after_ms(500);
	then("START 1@0, START 2@0");
	ck_assert_int_eq(breaker_state(pool_breaker(pool)), BREAKER_HALF_OPEN);
	kill_worker(2);
	then("KILL 2, START 3@0");
	ready(3);
	ck_assert_int_eq(breaker_state(pool_breaker(pool)), BREAKER_CLOSED);
}
END_TEST

START_TEST(a_start_from_before_the_last_failure_is_no_probe)
{
	config.breaker.threshold = 1;
	given_pool(2);
	tick();
	later_ms(1);
	gone(1);
	after_ms(500);
	then("START 1@0, START 2@1, START 3@0");
	kill_worker(2);
	then("KILL 2"); /* one probe at a time */
	ready(3);
	then("START 4@1");
}
END_TEST

START_TEST(one_that_is_leaving_and_is_killed_leaves_at_once)
{
	given_workers(2);
	resize(1);
	then("END 2");
	kill_worker(2);
	then("KILL 2");
	kill_worker(2);
	kill_worker(77);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->late, 1);
	gone(2);
	then_nothing();
}
END_TEST

START_TEST(one_whose_turn_comes_and_is_killed_is_replaced_once)
{
	given_workers(1);
	recycle(1);
	then("START 2@1");
	kill_worker(1);
	gone(1);
	ready(2);
	then("KILL 1");
	ck_assert_uint_eq(pool_ready(pool), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: control");
	TCase *tc = tcase_create("control");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, while_paused_calls_queue_although_workers_idle);
	tcase_add_test(tc, a_call_that_runs_when_the_pool_is_paused_ends_and_the_next_one_waits);
	tcase_add_test(tc, leases_go_on_while_the_pool_is_paused);
	tcase_add_test(tc, calls_inside_of_one_that_waits_go_on_while_the_pool_is_paused);
	tcase_add_test(tc, whoever_cannot_wait_hears_so_at_once_in_a_paused_pool);
	tcase_add_test(tc, a_session_ends_while_the_pool_is_paused);
	tcase_add_test(tc, a_retry_waits_while_the_pool_is_paused);
	tcase_add_test(tc, a_drain_ends_a_pause_since_what_waits_could_not_finish);
	tcase_add_test(tc, a_drain_waits_for_calls_that_finish_unheard);
	tcase_add_test(tc, a_resume_ends_a_drain);
	tcase_add_test(tc, a_stop_is_not_resumed);
	tcase_add_test(tc, a_paused_pool_stops);
	tcase_add_test(tc, a_recycled_worker_leaves_when_its_replacement_is_ready);
	tcase_add_test(tc, a_recycled_worker_that_is_busy_ends_its_call_and_takes_no_other);
	tcase_add_test(tc, a_recycled_worker_that_is_leased_leaves_with_its_lease);
	tcase_add_test(tc, all_are_recycled_one_by_one);
	tcase_add_test(tc, nobody_waits_for_the_long_call_of_a_predecessor);
	tcase_add_test(tc, all_are_those_too_that_still_start);
	tcase_add_test(tc, a_recycling_of_all_waits_for_no_back_off);
	tcase_add_test(tc, one_that_still_starts_is_as_new_as_can_be);
	tcase_add_test(tc, a_worker_is_recycled_once);
	tcase_add_test(tc, one_that_dies_before_its_turn_has_its_replacement);
	tcase_add_test(tc, one_that_dies_on_its_way_out_needs_no_other);
	tcase_add_test(tc, a_new_one_that_dies_is_replaced_although_an_old_one_is_still_there);
	tcase_add_test(tc, while_its_replacement_cannot_start_the_old_one_goes_on_serving);
	tcase_add_test(tc, a_pool_that_shrinks_takes_those_whose_turn_comes);
	tcase_add_test(tc, a_pool_that_grows_keeps_no_one_that_is_on_its_way_out);
	tcase_add_test(tc, one_that_is_surplus_already_and_is_recycled_is_kept_by_nobody);
	tcase_add_test(tc, with_slots_a_surplus_worker_that_is_recycled_is_kept_by_nobody);
	tcase_add_test(
		tc, of_two_that_are_to_leave_the_surplus_one_is_kept_and_the_recycled_one_is_not);
	tcase_add_test(tc, a_stop_ends_what_was_to_be_recycled);
	tcase_add_test(tc, the_sessions_of_a_recycled_worker_are_lost_with_it);
	tcase_add_test(
		tc, nobody_waits_who_had_a_session_on_a_recycled_worker_and_the_next_one_hears_so);
	tcase_add_test(tc, a_pool_that_is_paused_is_recycled);
	tcase_add_test(tc, a_worker_that_is_killed_costs_its_call_only);
	tcase_add_test(tc, the_call_of_a_worker_that_is_killed_may_run_again);
	tcase_add_test(tc, a_lease_ends_with_its_worker_that_is_killed);
	tcase_add_test(tc, one_that_starts_and_is_killed_has_not_failed);
	tcase_add_test(tc, a_probe_of_the_breaker_that_is_killed_is_made_again);
	tcase_add_test(tc, a_start_from_before_the_last_failure_is_no_probe);
	tcase_add_test(tc, one_that_is_leaving_and_is_killed_leaves_at_once);
	tcase_add_test(tc, one_whose_turn_comes_and_is_killed_is_replaced_once);
	suite_add_tcase(suite, tc);
	return run(suite);
}
