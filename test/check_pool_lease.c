/* check_pool_lease.c - the pool's rules for leases: checkout, calls of a lease, and its ends. */
#include "pool_given.h"

/* Worker 1 alone, held by lease 1, nothing running. */
static void given_a_lease(void)
{
	given_workers(1);
	checkout(1, 1);
	then("DONE 1 lease on 1");
}

START_TEST(a_checkout_is_granted_at_once_when_a_worker_idles)
{
	given_workers(2);
	checkout(10, 5);
	then("DONE 10 lease on 2");
	ck_assert_uint_eq(state_of(2), WORKER_LEASED);
	ck_assert_ptr_eq(pool_lease(pool, 5), leases[5]);
	ck_assert_uint_eq(pool_leases(pool), 1);
	call(11);
	then("RUN 1 11");
}
END_TEST

START_TEST(a_checkout_waits_in_line_with_the_calls)
{
	given_workers(1);
	call(10);
	call(11);
	checkout(12, 5);
	call(13);
	ignore_actions();
	lease_call(14, 5); /* not granted yet */
	then("DONE 14 lease_closed");
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
	answer(1, 11);
	then("DONE 11 ok, DONE 12 lease on 1");
	checkin(5);
	then("ENDED 5 checked_in, RUN 1 13");
}
END_TEST

START_TEST(a_checkout_that_is_not_granted_gives_its_record_back)
{
	config.queue_limit = 2;
	given_workers(1);
	call(10);
	ignore_actions();
	checkout(11, 1);
	the_next.queue_deadline_us = ms_from_now(10);
	checkout(12, 2);
	checkout(13, 3);
	then("DONE 13 overloaded");
	abandon(11);
	then("DONE 11 abandoned");
	after_ms(10);
	then("DONE 12 timeout_queue");
	ck_assert_ptr_null(pool_lease(pool, 1));
}
END_TEST

START_TEST(calls_of_a_lease_run_on_its_worker_one_after_the_other)
{
	given_workers(2);
	checkout(1, 1);
	ignore_actions();
	lease_call(10, 1);
	lease_call(11, 1);
	lease_call(12, 1);
	then("RUN 2 10");
	ck_assert_uint_eq(pool_queued(pool), 2);
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	answer(2, 10);
	then("DONE 10 ok, RUN 2 11");
	answer(2, 11);
	answer(2, 12);
	then("DONE 11 ok, RUN 2 12, DONE 12 ok");
	ck_assert_uint_eq(state_of(2), WORKER_LEASED);
}
END_TEST

START_TEST(calls_that_wait_for_a_lease_count_as_queued)
{
	config.queue_limit = 1;
	given_a_lease();
	lease_call(10, 1);
	lease_call(11, 1);
	lease_call(12, 1);
	then("RUN 1 10, DONE 12 overloaded");
	call(13);
	then("DONE 13 overloaded");
}
END_TEST

START_TEST(a_call_that_waits_for_a_lease_has_its_deadlines_and_its_caller)
{
	given_a_lease();
	lease_call(10, 1);
	the_next.queue_deadline_us = ms_from_now(10);
	lease_call(11, 1);
	lease_call(12, 1);
	lease_call(13, 1);
	ignore_actions();
	after_ms(10);
	then("DONE 11 timeout_queue");
	abandon(12);
	then("DONE 12 abandoned");
	answer(1, 10);
	then("DONE 10 ok, RUN 1 13");
}
END_TEST

START_TEST(a_call_of_a_lease_that_has_expired_does_not_run_even_when_the_tick_is_late)
{
	given_a_lease();
	lease_call(10, 1);
	the_next.deadline_us = ms_from_now(10);
	the_next.abandon = ABANDON_FINISH;
	lease_call(11, 1);
	the_next.queue_deadline_us = ms_from_now(5);
	lease_call(12, 1);
	lease_call(13, 1);
	ignore_actions();
	later_ms(10);
	answer(1, 10);
	then("DONE 10 ok, DONE 11 timeout_queue, DONE 12 timeout_queue, RUN 1 13");
}
END_TEST

START_TEST(a_call_of_a_lease_that_may_not_wait_runs_at_once)
{
	given_a_lease();
	the_next.queue_deadline_us = now_us;
	lease_call(10, 1);
	the_next.queue_deadline_us = now_us;
	lease_call(11, 1);
	then("RUN 1 10, DONE 11 timeout_queue");
}
END_TEST

START_TEST(a_lease_that_nobody_knows_is_closed)
{
	given_a_lease();
	checkin(1);
	then("ENDED 1 checked_in");
	lease_call(10, 1);
	lease_call(11, 99);
	then("DONE 10 lease_closed, DONE 11 lease_closed");
}
END_TEST

START_TEST(an_idle_lease_whose_owner_is_gone_gives_its_worker_to_the_next)
{
	given_a_lease();
	call(10);
	lease_down(1);
	then("ENDED 1 owner_gone, RUN 1 10");
	ck_assert_uint_eq(pool_totals(pool)->kills, 0);
	lease_down(1);
	checkin(1);
	ck_assert_uint_eq(pool_totals(pool)->late, 2);
}
END_TEST

START_TEST(a_checkin_closes_calls_that_run_or_wait)
{
	static const struct {
		enum pool_abandon how;
		const char *then;
	} table[] = {
		{ ABANDON_KILL, "KILL 1, DONE 11 lease_closed, DONE 10 lease_closed, "
				"ENDED 1 checked_in, START 2@0" },
		{ ABANDON_INTERRUPT, "INTERRUPT 1, DONE 11 lease_closed, DONE 10 lease_closed, "
				     "ENDED 1 checked_in" },
		{ ABANDON_FINISH,
		  "DONE 11 lease_closed, DONE 10 lease_closed, ENDED 1 checked_in" },
	};

	given_a_lease();
	the_next.abandon = table[_i].how;
	lease_call(10, 1);
	lease_call(11, 1);
	call(12);
	ignore_actions();
	checkin(1);
	then(table[_i].then);
	switch (table[_i].how) {
	case ABANDON_KILL:
		ready(2);
		then("RUN 2 12");
		break;
	case ABANDON_INTERRUPT:
		answer(1, 10);
		then("PROBE 1");
		pong(1);
		then("RUN 1 12");
		break;
	case ABANDON_FINISH:
		answer(1, 10);
		then("RUN 1 12");
		break;
	}
}
END_TEST

START_TEST(a_lease_whose_worker_dies_ends)
{
	given_a_lease();
	gone(1);
	then("ENDED 1 worker_gone, START 2@0");
	ck_assert_ptr_null(pool_lease(pool, 1));
}
END_TEST

START_TEST(a_call_of_a_lease_never_runs_again_elsewhere)
{
	given_a_lease();
	the_next.retry = 3;
	lease_call(10, 1);
	lease_call(11, 1);
	ignore_actions();
	gone(1);
	then("DONE 10 worker_exit, DONE 11 lease_closed, ENDED 1 worker_gone, START 2@0");
}
END_TEST

START_TEST(a_lease_on_a_broken_worker_ends_with_its_exit)
{
	given_a_lease();
	lease_call(10, 1);
	ignore_actions();
	broken(1);
	then("KILL 1, START 2@0");
	lease_call(11, 1); /* it hears what becomes of it */
	then_nothing();
	gone(1);
	then("DONE 10 worker_exit, DONE 11 lease_closed, ENDED 1 worker_gone");
}
END_TEST

START_TEST(a_lease_on_a_broken_worker_can_be_given_back)
{
	given_a_lease();
	lease_call(10, 1);
	broken(1);
	ignore_actions();
	checkin(1);
	then("DONE 10 lease_closed, ENDED 1 checked_in");
	gone(1);
	then_nothing();
}
END_TEST

START_TEST(an_idle_lease_on_a_broken_worker_is_given_up_when_no_exit_is_reported)
{
	given_a_lease();
	broken(1);
	ready(2);
	ignore_actions();
	after_ms(1999);
	then_nothing();
	after_ms(1);
	then("ENDED 1 worker_gone");
}
END_TEST

START_TEST(a_call_of_a_lease_over_its_time_ends_the_lease_when_it_is_killed)
{
	given_a_lease();
	the_next.deadline_us = ms_from_now(300);
	lease_call(10, 1);
	lease_call(11, 1);
	ignore_actions();
	after_ms(300);
	then("KILL 1, DONE 10 timeout_call, DONE 11 lease_closed, ENDED 1 timeout, START 2@0");
}
END_TEST

START_TEST(a_call_of_a_lease_that_is_abandoned_ends_the_lease_when_it_is_killed)
{
	given_a_lease();
	lease_call(10, 1);
	lease_call(11, 1);
	ignore_actions();
	abandon(10);
	then("KILL 1, DONE 10 abandoned, DONE 11 lease_closed, ENDED 1 worker_gone, START 2@0");
}
END_TEST

START_TEST(a_lease_survives_an_interrupted_call)
{
	given_a_lease();
	the_next.abandon = ABANDON_INTERRUPT;
	the_next.deadline_us = ms_from_now(300);
	lease_call(10, 1);
	lease_call(11, 1);
	call(12);
	ignore_actions();
	after_ms(300);
	then("INTERRUPT 1, DONE 10 timeout_call");
	answer(1, 10);
	then("PROBE 1");
	pong(1);
	then("RUN 1 11");
	answer(1, 11);
	then("DONE 11 ok");
	ck_assert_uint_eq(state_of(1), WORKER_LEASED);
	ck_assert_uint_eq(pool_leases(pool), 1);
}
END_TEST

START_TEST(a_lease_whose_worker_ignores_the_interrupt_ends)
{
	bool by_time = _i == 1;

	given_a_lease();
	the_next.abandon = ABANDON_INTERRUPT;
	the_next.deadline_us = by_time ? ms_from_now(300) : POOL_NEVER;
	lease_call(10, 1);
	lease_call(11, 1);
	if (by_time)
		after_ms(300);
	else
		abandon(10);
	ignore_actions();
	after_ms(1000);
	if (by_time)
		then("KILL 1, DONE 11 lease_closed, ENDED 1 timeout, START 2@0");
	else
		then("KILL 1, DONE 11 lease_closed, ENDED 1 worker_gone, START 2@0");
}
END_TEST

START_TEST(a_lease_given_back_during_the_probe_leaves_a_clean_worker)
{
	given_a_lease();
	the_next.abandon = ABANDON_INTERRUPT;
	lease_call(10, 1);
	lease_call(11, 1);
	abandon(10);
	if (_i == 1)
		answer(1, 10);
	ignore_actions();
	checkin(1);
	then("DONE 11 lease_closed, ENDED 1 checked_in");
	if (_i == 0)
		answer(1, 10);
	pong(1);
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
}
END_TEST

START_TEST(a_lease_survives_a_call_that_finishes_unheard)
{
	given_a_lease();
	the_next.abandon = ABANDON_FINISH;
	lease_call(10, 1);
	lease_call(11, 1);
	ignore_actions();
	abandon(10);
	then("DONE 10 abandoned");
	lease_call(12, 1);
	then_nothing();
	answer(1, 10);
	then("RUN 1 11");
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
}
END_TEST

START_TEST(many_leases_are_found_by_their_ids)
{
	config.breaker.burst = 600;
	given_workers(600); /* more than the table has chains */
	for (uint64_t id = 1; id <= 600; id++)
		checkout(id, id * 16);
	ck_assert_uint_eq(pool_leases(pool), 600);
	for (uint64_t id = 600; id >= 1; id -= 2)
		checkin(id * 16);
	for (uint64_t id = 1; id <= 600; id++)
		ck_assert_ptr_eq(pool_lease(pool, id * 16), id % 2 == 0 ? NULL : leases[id * 16]);
	ck_assert_uint_eq(pool_totals(pool)->late, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: leases");
	TCase *tc = tcase_create("pool: leases");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_checkout_is_granted_at_once_when_a_worker_idles);
	tcase_add_test(tc, a_checkout_waits_in_line_with_the_calls);
	tcase_add_test(tc, a_checkout_that_is_not_granted_gives_its_record_back);
	tcase_add_test(tc, calls_of_a_lease_run_on_its_worker_one_after_the_other);
	tcase_add_test(tc, calls_that_wait_for_a_lease_count_as_queued);
	tcase_add_test(tc, a_call_that_waits_for_a_lease_has_its_deadlines_and_its_caller);
	tcase_add_test(tc,
		       a_call_of_a_lease_that_has_expired_does_not_run_even_when_the_tick_is_late);
	tcase_add_test(tc, a_call_of_a_lease_that_may_not_wait_runs_at_once);
	tcase_add_test(tc, a_lease_that_nobody_knows_is_closed);
	tcase_add_test(tc, an_idle_lease_whose_owner_is_gone_gives_its_worker_to_the_next);
	tcase_add_loop_test(tc, a_checkin_closes_calls_that_run_or_wait, 0, 3);
	tcase_add_test(tc, a_lease_whose_worker_dies_ends);
	tcase_add_test(tc, a_call_of_a_lease_never_runs_again_elsewhere);
	tcase_add_test(tc, a_lease_on_a_broken_worker_ends_with_its_exit);
	tcase_add_test(tc, a_lease_on_a_broken_worker_can_be_given_back);
	tcase_add_test(tc, an_idle_lease_on_a_broken_worker_is_given_up_when_no_exit_is_reported);
	tcase_add_test(tc, a_call_of_a_lease_over_its_time_ends_the_lease_when_it_is_killed);
	tcase_add_test(tc, a_call_of_a_lease_that_is_abandoned_ends_the_lease_when_it_is_killed);
	tcase_add_test(tc, a_lease_survives_an_interrupted_call);
	tcase_add_loop_test(tc, a_lease_whose_worker_ignores_the_interrupt_ends, 0, 2);
	tcase_add_loop_test(tc, a_lease_given_back_during_the_probe_leaves_a_clean_worker, 0, 2);
	tcase_add_test(tc, a_lease_survives_a_call_that_finishes_unheard);
	tcase_add_test(tc, many_leases_are_found_by_their_ids);
	suite_add_tcase(suite, tc);
	return run(suite);
}
