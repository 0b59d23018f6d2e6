/* check_pool_turns.c - who is next: turns of peers, the order of workers; requests that are cancelled. */
#include "pool_given.h"

/* What runs on worker 1 ends, and the next one of those that wait begins; which that is. */
static uint64_t the_next_call(void)
{
	answer(1, call_of(1));
	ignore_actions();
	return call_of(1);
}

#define then_served(...)                                                      \
	do {                                                                  \
		const uint64_t served[] = { __VA_ARGS__ };                    \
                                                                              \
		for (size_t n = 0; n < sizeof served / sizeof served[0]; n++) \
			ck_assert_uint_eq(the_next_call(), served[n]);        \
	} while (0)

/* ---- turns ---- */

START_TEST(a_flood_of_one_peer_does_not_starve_another)
{
	config.queue_limit = 10000;
	given_workers(1);
	call_of_peer(7, 1);
	for (uint64_t id = 1000; id < 6000; id++)
		call_of_peer(7, id);
	call_of_peer(8, 10);
	call_of_peer(8, 11);
	call_of_peer(8, 12);
	then_served(1000, 10, 1001, 11, 1002, 12, 1003, 1004);
	call_of_peer(8, 13);
	then_served(1005, 13, 1006);
}
END_TEST

START_TEST(each_waits_for_one_request_of_every_other)
{
	given_workers(1);
	call_of_peer(1, 1);
	for (uint32_t peer = 1; peer <= 3; peer++)
		for (uint64_t n = 0; n < 3; n++)
			call_of_peer(peer, 10 * peer + n);
	then_served(10, 20, 30, 11, 21, 31, 12, 22, 32);
}
END_TEST

START_TEST(within_one_peer_they_come_in_their_order)
{
	given_workers(1);
	for (uint64_t id = 1; id <= 9; id++)
		call_of_peer(5, id);
	then_served(2, 3, 4, 5, 6, 7, 8, 9);
}
END_TEST

START_TEST(priority_comes_before_turns)
{
	given_workers(1);
	call_of_peer(1, 1);
	call_of_peer(1, 10);
	call_of_peer(2, 20);
	the_next.priority = PRIORITY_HIGH;
	call_of_peer(1, 11);
	the_next.priority = PRIORITY_HIGH;
	call_of_peer(1, 12);
	the_next.priority = PRIORITY_LOW;
	call_of_peer(3, 30);
	then_served(11, 12, 10, 20, 30);
}
END_TEST

START_TEST(whose_first_one_gives_up_keeps_his_place)
{
	given_workers(1);
	call_of_peer(1, 1);
	call_of_peer(2, 20);
	call_of_peer(2, 21);
	call_of_peer(3, 30);
	abandon(20);
	then_served(21, 30);
}
END_TEST

START_TEST(whose_last_one_gives_up_loses_it)
{
	given_workers(1);
	call_of_peer(1, 1);
	call_of_peer(2, 20);
	call_of_peer(3, 30);
	call_of_peer(4, 40);
	cancel(30);
	call_of_peer(3, 31);
	then_served(20, 40, 31);
}
END_TEST

START_TEST(who_runs_again_is_in_front_of_his_peers_others)
{
	given_workers(2);
	the_next.retry = 1;
	call_of_peer(1, 1);
	call_of_peer(2, 2);
	call_of_peer(1, 10);
	call_of_peer(1, 11);
	call_of_peer(2, 20);
	gone(2);
	ready(3);
	ignore_actions();
	ck_assert_uint_eq(call_of(3), 1);
	then_served(20, 10, 11);
}
END_TEST

START_TEST(those_of_a_session_and_all_others_take_turns_if_they_are_of_different_peers)
{
	given_workers(1);
	call_of_peer(1, 1);
	the_next.peer = 2;
	strict("a", 20);
	then_served(20);
	for (uint64_t id = 10; id < 16; id++)
		call_of_peer(1, id);
	for (uint64_t id = 21; id < 24; id++) {
		the_next.peer = 2;
		strict("a", id);
	}
	then_served(21, 10, 22, 11, 23, 12, 13, 14, 15);
}
END_TEST

START_TEST(those_of_a_session_and_all_others_come_in_order_if_they_are_of_one_peer)
{
	given_workers(1);
	strict("a", 1);
	call(10);
	strict("a", 11);
	call(12);
	call(13);
	strict("a", 14);
	then_served(10, 11, 12, 13, 14);
}
END_TEST

START_TEST(in_one_session_peers_take_turns)
{
	given_workers(1);
	strict("a", 1);
	for (uint64_t id = 10; id < 13; id++) {
		the_next.peer = 1;
		strict("a", id);
	}
	the_next.peer = 2;
	strict("a", 20);
	then_served(10, 20, 11, 12);
}
END_TEST

START_TEST(ten_thousand_peers_take_turns_and_give_up_in_good_time)
{
	config.queue_limit = 20000;
	config.queue_bytes_limit = SIZE_MAX;
	given_workers(1);
	unchecked = true;
	call_of_peer(1, 1);
	for (uint64_t id = 2; id < 15000; id++)
		call_of_peer((uint32_t)(id % 10000), id);
	for (uint64_t id = 2; id < 15000; id += 2)
		abandon(id);
	ignore_actions();
	then_served(3, 5, 7, 9);
	ck_assert_uint_eq(pool_queued(pool), 7495);
	unchecked = false;
	tick();
	unchecked = true;
	for (uint64_t n = 0; n < 7495; n++)
		(void)the_next_call();
	ck_assert_uint_eq(pool_queued(pool), 0);
}
END_TEST

/* ---- the order of workers ---- */

START_TEST(the_worker_used_last_is_used_next)
{
	given_workers(3);
	for (uint64_t id = 10; id < 13; id++) {
		call(id);
		ck_assert_uint_eq(call_of(3), id);
		answer(3, id);
	}
	ignore_actions();
}
END_TEST

START_TEST(in_fifo_order_the_worker_idle_longest_is_used_next)
{
	config.order = ORDER_FIFO;
	given_workers(3);
	for (uint64_t id = 10; id < 19; id++) {
		uint64_t worker = 1 + (id - 10) % 3;

		call(id);
		ck_assert_uint_eq(call_of(worker), id);
		answer(worker, id);
	}
	ignore_actions();
}
END_TEST

START_TEST(in_fifo_order_the_fewest_calls_still_come_first)
{
	config.order = ORDER_FIFO;
	config.slots = 2;
	given_workers(2);
	call(10);
	call(11);
	call(12);
	then("RUN 1 10, RUN 2 11, RUN 1 12");
}
END_TEST

START_TEST(in_fifo_order_a_new_session_takes_the_emptiest_and_of_these_the_one_idle_longest)
{
	config.order = ORDER_FIFO;
	given_workers(3);
	strict("a", 10);
	answer(1, 10);
	strict("b", 11);
	answer(2, 11);
	call(12); /* 3 is the one idle longest */
	strict("c", 13);
	then("RUN 1 10, DONE 10 ok, RUN 2 11, DONE 11 ok, RUN 3 12, RUN 1 13");
}
END_TEST

/* ---- cancel ---- */

START_TEST(one_that_waits_is_cancelled_at_once)
{
	given_workers(1);
	call(10);
	call(11);
	checkout(12, 1);
	ignore_actions();
	cancel(11);
	cancel(12);
	then("DONE 11 cancelled, DONE 12 cancelled");
	answer(1, 10);
	then("DONE 10 ok");
	ck_assert_uint_eq(outcomes(OUTCOME_CANCELLED), 2);
}
END_TEST

START_TEST(one_that_runs_is_handled_as_abandon_says_and_its_caller_hears_at_once)
{
	given_workers(3);
	call(10);
	the_next.abandon = ABANDON_INTERRUPT;
	call(11);
	the_next.abandon = ABANDON_FINISH;
	call(12);
	ignore_actions();
	cancel(10);
	then("KILL 3, DONE 10 cancelled, START 4@2");
	cancel(11);
	then("INTERRUPT 2, DONE 11 cancelled");
	answer(2, 11);
	then("PROBE 2");
	cancel(12);
	then("DONE 12 cancelled");
	answer(1, 12);
	then_nothing();
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
	ck_assert_uint_eq(pool_totals(pool)->left[WHY_CALLER_GONE], 1);
}
END_TEST

START_TEST(a_stream_that_is_cancelled_is_closed)
{
	given_workers(1);
	stream(10);
	opened(1, 10);
	ignore_actions();
	cancel(10);
	then("CLOSE 1 10, DONE 10 cancelled");
	answer(1, 10);
	ck_assert_uint_eq(state_of(1), WORKER_IDLE);
}
END_TEST

START_TEST(of_calls_inside_of_calls_the_one_that_is_cancelled_is_left_to_finish)
{
	given_workers(1);
	strict("a", 10);
	waits(1, 10, true);
	strict("a", 11);
	ignore_actions();
	cancel(11);
	then("DONE 11 cancelled");
	answer(1, 11);
	answer(1, 10);
	then("DONE 10 ok");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: turns");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_flood_of_one_peer_does_not_starve_another);
	tcase_add_test(tc, each_waits_for_one_request_of_every_other);
	tcase_add_test(tc, within_one_peer_they_come_in_their_order);
	tcase_add_test(tc, priority_comes_before_turns);
	tcase_add_test(tc, whose_first_one_gives_up_keeps_his_place);
	tcase_add_test(tc, whose_last_one_gives_up_loses_it);
	tcase_add_test(tc, who_runs_again_is_in_front_of_his_peers_others);
	tcase_add_test(tc,
		       those_of_a_session_and_all_others_take_turns_if_they_are_of_different_peers);
	tcase_add_test(tc, those_of_a_session_and_all_others_come_in_order_if_they_are_of_one_peer);
	tcase_add_test(tc, in_one_session_peers_take_turns);
	tcase_add_test(tc, ten_thousand_peers_take_turns_and_give_up_in_good_time);
	tcase_add_test(tc, the_worker_used_last_is_used_next);
	tcase_add_test(tc, in_fifo_order_the_worker_idle_longest_is_used_next);
	tcase_add_test(tc, in_fifo_order_the_fewest_calls_still_come_first);
	tcase_add_test(
		tc,
		in_fifo_order_a_new_session_takes_the_emptiest_and_of_these_the_one_idle_longest);
	tcase_add_test(tc, one_that_waits_is_cancelled_at_once);
	tcase_add_test(tc, one_that_runs_is_handled_as_abandon_says_and_its_caller_hears_at_once);
	tcase_add_test(tc, a_stream_that_is_cancelled_is_closed);
	tcase_add_test(tc, of_calls_inside_of_calls_the_one_that_is_cancelled_is_left_to_finish);
	suite_add_tcase(suite, tc);
	return run(suite);
}
