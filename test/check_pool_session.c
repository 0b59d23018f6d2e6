/* check_pool_session.c - the pool's rules for sessions: where each lives, who waits for it, how modes
 * differ, and how it ends. Calls inside of its calls: check_pool_nest.c. */
#include "pool_given.h"

/* Workers 1 and 2; session a lives in 2, which is idle again, as is 1. */
static void given_a_session(void)
{
	given_workers(2);
	strict("a", 1);
	answer(2, 1);
	then("RUN 2 1, DONE 1 ok");
}

/* The same, and 2 is busy with something else. */
static void given_a_session_on_a_busy_worker(void)
{
	given_a_session();
	call(2);
	then("RUN 2 2");
}

/* ---- where it lives ---- */

START_TEST(a_session_keeps_its_calls_on_its_worker)
{
	given_a_session();
	call(10); /* 2 was used last */
	call(11);
	then("RUN 2 10, RUN 1 11");
	answer(1, 11);
	strict("a", 12); /* although 1 idles */
	then("DONE 11 ok");
	answer(2, 10);
	then("DONE 10 ok, RUN 2 12");
	ck_assert_ptr_eq(the_session("a")->worker, pool_worker(pool, 2));
	ck_assert_uint_eq(the_session("a")->calls, 2);
	ck_assert_uint_eq(pool_totals(pool)->sessions_started, 1);
}
END_TEST

START_TEST(new_sessions_go_to_the_worker_with_the_fewest)
{
	static const uint64_t expected[] = { 3, 2, 1, 1, 2, 3 };
	const char *const names[] = { "a", "b", "c", "d", "e", "f" };

	given_workers(3);
	for (unsigned i = 0; i < 6; i++) {
		strict(names[i], 10 + i);
		ck_assert_uint_eq(requests[10 + i]->worker_id, expected[i]);
		answer(expected[i], 10 + i);
	}
	ignore_actions();
	call(30); /* on 3 */
	call(31); /* on 2 */
	strict("g", 32);
	then("RUN 3 30, RUN 2 31, RUN 1 32");
}
END_TEST

START_TEST(a_session_has_a_worker_only_when_its_first_call_runs)
{
	given_workers(1);
	call(10);
	strict("a", 11);
	strict("a", 12);
	ck_assert_ptr_null(the_session("a")->worker);
	ck_assert_uint_eq(pool_totals(pool)->sessions_started, 0);
	ck_assert_uint_eq(pool_queued(pool), 2);
	ignore_actions();
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
	ck_assert_ptr_nonnull(the_session("a")->worker);
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
}
END_TEST

START_TEST(sessions_are_found_by_their_names_and_walked_in_the_order_in_which_they_began)
{
	const struct pool_session *sn = NULL;

	given_workers(2);
	strict("a", 10);
	strict("b", 11);
	strict("", 12);
	ck_assert_uint_eq(pool_sessions(pool), 3);
	ck_assert_ptr_null(the_session("aa"));
	ck_assert_ptr_nonnull(the_session(""));
	sn = pool_session_after(pool, sn);
	ck_assert_ptr_eq(sn, the_session("a"));
	sn = pool_session_after(pool, sn);
	ck_assert_ptr_eq(sn, the_session("b"));
	sn = pool_session_after(pool, sn);
	ck_assert_ptr_eq(sn, the_session(""));
	ck_assert_ptr_null(pool_session_after(pool, sn));
	ignore_actions();
}
END_TEST

START_TEST(a_thousand_sessions_are_found_by_their_names)
{
	static char names[3000][8]; /* more than the table has chains */

	config.max_sessions = 3000;
	unchecked = true;
	given_workers(3);
	for (uint64_t i = 0; i < 3000; i++) {
		snprintf(names[i], sizeof names[i], "s%u", (unsigned)i);
		strict(names[i], i + 1);
		answer(requests[i + 1]->worker_id, i + 1);
	}
	for (unsigned i = 0; i < 3000; i++)
		ck_assert_str_eq(name_of(the_session(names[i])), names[i]);
	for (uint64_t id = 1; id <= 3; id++)
		ck_assert_uint_eq(pool_worker(pool, id)->session_count, 1000);
	pool_check(pool);
	ignore_actions();
}
END_TEST

/* ---- who waits ---- */

START_TEST(who_waits_for_a_session_holds_up_nobody)
{
	given_a_session_on_a_busy_worker();
	strict("a", 10);
	call(11);
	then("RUN 1 11");
	call(12);
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12");
	answer(2, 2);
	then("DONE 2 ok, RUN 2 10");
}
END_TEST

START_TEST(a_worker_that_comes_free_takes_whoever_came_first)
{
	given_a_session_on_a_busy_worker();
	call(3); /* on 1 */
	call(10);
	strict("a", 11);
	call(12);
	the_next.priority = PRIORITY_HIGH;
	strict("a", 13);
	ignore_actions();
	answer(2, 2);
	then("DONE 2 ok, RUN 2 13");
	answer(2, 13);
	then("DONE 13 ok, RUN 2 10");
	answer(2, 10);
	then("DONE 10 ok, RUN 2 11");
	answer(2, 11);
	then("DONE 11 ok, RUN 2 12");
}
END_TEST

START_TEST(who_waits_behind_the_first_is_served_after_it_whatever_came_between)
{
	given_workers(1);
	call(10);
	strict("a", 11);
	call(12);
	the_next.priority = PRIORITY_LOW;
	strict("a", 13);
	strict("a", 14);
	the_next.priority = PRIORITY_HIGH;
	strict("a", 15);
	ignore_actions();
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
	answer(1, 11);
	then("DONE 11 ok, RUN 1 15");
	answer(1, 15);
	then("DONE 15 ok, RUN 1 12");
	answer(1, 12);
	then("DONE 12 ok, RUN 1 14");
	answer(1, 14);
	then("DONE 14 ok, RUN 1 13");
}
END_TEST

START_TEST(pinned_requests_have_their_deadlines_and_their_callers)
{
	given_a_session_on_a_busy_worker();
	the_next.queue_deadline_us = ms_from_now(10);
	strict("a", 10);
	strict("a", 11);
	strict("a", 12);
	ignore_actions();
	after_ms(10);
	then("DONE 10 timeout_queue");
	abandon(11);
	then("DONE 11 abandoned");
	answer(2, 2);
	then("DONE 2 ok, RUN 2 12");
}
END_TEST

START_TEST(pinned_requests_count_as_queued)
{
	config.queue_limit = 1;
	config.queue_bytes_limit = 100;
	given_a_session_on_a_busy_worker();
	the_next.bytes = 70;
	strict("a", 10);
	strict("a", 11);
	then("DONE 11 overloaded");
	ck_assert_uint_eq(pool_queued(pool), 1);
	call(12);
	call(13);
	then("RUN 1 12, DONE 13 overloaded");
}
END_TEST

START_TEST(when_the_first_of_a_session_goes_the_next_takes_its_place)
{
	given_workers(1);
	call(10);
	the_next.queue_deadline_us = ms_from_now(10);
	strict("a", 11);
	call(12);
	strict("a", 13);
	call(14);
	ignore_actions();
	if (_i == 0) {
		abandon(11);
		then("DONE 11 abandoned");
	} else {
		after_ms(10);
		then("DONE 11 timeout_queue");
	}
	answer(1, 10);
	answer(1, 12);
	answer(1, 13);
	then("DONE 10 ok, RUN 1 12, DONE 12 ok, RUN 1 13, DONE 13 ok, RUN 1 14");
}
END_TEST

START_TEST(a_session_that_nobody_began_is_given_back_unused)
{
	given_workers(1);
	call(10);
	strict("a", 11);
	strict("a", 12);
	ignore_actions();
	abandon(12);
	then("DONE 12 abandoned");
	abandon(11);
	then("DONE 11 abandoned, SESSION a unused");
	ck_assert_uint_eq(pool_sessions(pool), 0);
	ck_assert_uint_eq(pool_totals(pool)->sessions_lost, 0);
}
END_TEST

START_TEST(a_record_that_is_not_needed_comes_back)
{
	given_a_session();
	hint("a", 10);
	then("SESSION a unused, RUN 2 10");
	drain();
	strict("b", 11);
	then("DONE 11 draining, SESSION b unused");
	answer(2, 10);
	then("DONE 10 ok, DRAINED");
}
END_TEST

/* ---- modes ---- */

START_TEST(fail_fast_hears_at_once_that_its_worker_is_busy)
{
	given_a_session_on_a_busy_worker();
	fail_fast("a", 10);
	then("DONE 10 session_busy");
	answer(2, 2);
	fail_fast("a", 11);
	then("DONE 2 ok, RUN 2 11");
}
END_TEST

START_TEST(fail_fast_is_busy_behind_a_first_that_waits_and_waits_as_a_first)
{
	given_workers(1);
	call(10);
	fail_fast("a", 11);
	fail_fast("a", 12);
	then("RUN 1 10, DONE 12 session_busy");
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
}
END_TEST

START_TEST(a_hint_takes_another_worker_when_its_own_is_busy)
{
	given_a_session_on_a_busy_worker();
	hint("a", 10);
	then("RUN 1 10");
	ck_assert_uint_eq(the_session("a")->worker_id, 1);
	ck_assert_uint_eq(pool_sessions(pool), 1);
	answer(2, 2); /* where it was, it ends first */
	then("DONE 2 ok, END_SESSION 2 a");
	pong(2);
	then("SESSION a moved");
	ck_assert_uint_eq(state_of(2), WORKER_IDLE);
	strict("a", 11);
	then_nothing();
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
}
END_TEST

START_TEST(a_hint_prefers_its_own_worker)
{
	given_a_session();
	call(2); /* on 2 */
	answer(2, 2);
	call(3); /* on 2 */
	call(4); /* on 1 */
	answer(1, 4);
	answer(2, 3);
	ignore_actions();
	hint("a", 10);
	then("SESSION a unused, RUN 2 10");
}
END_TEST

START_TEST(a_hint_waits_for_whoever_comes_free)
{
	bool own = _i == 0;

	given_a_session_on_a_busy_worker();
	call(3); /* on 1 */
	hint("a", 10);
	ignore_actions();
	if (own) {
		answer(2, 2);
		then("DONE 2 ok, SESSION a unused, RUN 2 10");
	} else {
		answer(1, 3);
		then("DONE 3 ok, RUN 1 10");
	}
	ck_assert_uint_eq(the_session("a")->worker_id, own ? 2 : 1);
}
END_TEST

START_TEST(those_who_wait_follow_a_session_that_moves)
{
	given_a_session_on_a_busy_worker();
	call(3); /* on 1 */
	strict("a", 10);
	hint("a", 11);
	hint("a", 12);
	call(13);
	ignore_actions();
	answer(1, 3);
	then("DONE 3 ok, RUN 1 11");
	answer(2, 2); /* ends what moved; 12 may go anywhere, 10 not */
	pong(2);
	then("DONE 2 ok, END_SESSION 2 a, SESSION a moved, RUN 2 12");
	then_nothing();
	answer(1, 11);
	then("DONE 11 ok, END_SESSION 1 a");
	pong(1);
	then("SESSION a moved, RUN 1 13");
	answer(2, 12);
	then("DONE 12 ok, RUN 2 10");
}
END_TEST

/* ---- workers that die ---- */

START_TEST(all_who_wait_for_a_lost_session_hear_so_and_the_next_starts_it_anew)
{
	given_a_session();
	strict("a", 10);
	strict("a", 11);
	strict("a", 12);
	ignore_actions();
	if (_i == 0) {
		gone(2);
		then("DONE 11 session_lost, DONE 12 session_lost, DONE 10 worker_exit, "
		     "SESSION a lost, START 3@1");
	} else {
		broken(2);
		then("KILL 2, DONE 11 session_lost, DONE 12 session_lost, SESSION a lost, "
		     "START 3@1");
		gone(2);
		then("DONE 10 worker_exit");
	}
	strict("a", 13);
	then("RUN 1 13");
	ck_assert_uint_eq(pool_totals(pool)->sessions_lost, 1);
	ck_assert_uint_eq(pool_totals(pool)->sessions_started, 2);
}
END_TEST

START_TEST(when_nobody_waited_the_next_hears_of_it_once)
{
	static const enum pool_session_mode modes[] = { SESSION_STRICT, SESSION_FAIL_FAST };

	given_a_session();
	gone(2);
	ready(3);
	then("START 3@1");
	ck_assert(the_session("a")->lost);
	ck_assert_uint_eq(pool_sessions(pool), 1);
	session("a", modes[_i]);
	call(10);
	then("DONE 10 session_lost, SESSION a lost");
	session("a", modes[_i]);
	call(11);
	then("RUN 3 11");
	ck_assert(!the_session("a")->lost);
}
END_TEST

START_TEST(a_checkout_hears_of_a_lost_session_too)
{
	given_a_session();
	gone(2);
	ignore_actions();
	session("a", SESSION_STRICT);
	checkout(10, 1);
	then("DONE 10 session_lost, SESSION a lost");
	session("a", SESSION_STRICT);
	checkout(11, 2);
	then("DONE 11 lease on 1");
}
END_TEST

START_TEST(a_hint_starts_a_lost_session_anew_without_a_word)
{
	given_a_session();
	gone(2);
	ignore_actions();
	hint("a", 10);
	then("SESSION a unused, RUN 1 10");
	answer(1, 10);
	strict("a", 11);
	then("DONE 10 ok, RUN 1 11");
	ck_assert_uint_eq(the_session("a")->calls, 2);
}
END_TEST

START_TEST(hints_who_wait_start_a_lost_session_anew)
{
	given_a_session_on_a_busy_worker();
	call(3); /* on 1 */
	hint("a", 10);
	strict("a", 11);
	hint("a", 12);
	ignore_actions();
	gone(2);
	then("DONE 11 session_lost, DONE 2 worker_exit, START 3@1");
	answer(1, 3);
	then("DONE 3 ok, SESSION a unused, RUN 1 10");
	answer(1, 10);
	then("DONE 10 ok, SESSION a unused, RUN 1 12");
	ck_assert_uint_eq(pool_totals(pool)->sessions_lost, 1);
}
END_TEST

START_TEST(a_lost_session_is_forgotten_after_its_time)
{
	the_ttl_us = 100 * MS;
	given_a_session();
	later_ms(50);
	gone(2);
	ignore_actions();
	after_ms(49);
	then_nothing();
	after_ms(1);
	then("SESSION a lost");
	strict("a", 10);
	then("RUN 1 10");
}
END_TEST

START_TEST(retry_is_not_for_those_who_rely_on_a_session)
{
	given_workers(1);
	the_next.retry = 3;
	strict("a", 10);
	ignore_actions();
	gone(1);
	then("DONE 10 worker_exit, START 2@0");
	ck_assert_uint_eq(pool_totals(pool)->retries, 0);
}
END_TEST

START_TEST(a_hint_runs_again_and_its_session_with_it)
{
	given_workers(1);
	the_next.retry = 1;
	hint("a", 10);
	ignore_actions();
	if (_i == 1)
		broken(1);
	gone(1);
	ready(2);
	ignore_actions();
	ck_assert_uint_eq(requests[10]->worker_id, 2);
	ck_assert_uint_eq(the_session("a")->worker_id, 2);
	ck_assert_uint_eq(pool_totals(pool)->retries, 1);
	answer(2, 10);
	strict("a", 11);
	then("DONE 10 ok, RUN 2 11");
}
END_TEST

START_TEST(a_hint_that_runs_again_starts_anew_what_others_heard_was_lost)
{
	given_workers(1);
	the_next.retry = 1;
	hint("a", 10);
	strict("a", 11);
	ignore_actions();
	broken(1);
	then("KILL 1, DONE 11 session_lost, START 2@0");
	ck_assert_ptr_null(the_session("a"));
	if (_i == 0) {
		gone(1);
		ck_assert_ptr_nonnull(the_session("a"));
		ready(2);
		then("RUN 2 10");
	} else if (_i == 1) { /* somebody else was faster */
		ready(2);
		strict("a", 12);
		then("RUN 2 12");
		gone(1);
		then("SESSION a lost");
		answer(2, 12);
		then("DONE 12 ok, RUN 2 10");
	} else {
		abandon(10);
		then("DONE 10 abandoned, SESSION a lost");
	}
}
END_TEST

START_TEST(a_hint_that_runs_again_waits_for_the_end_of_its_session)
{
	given_workers(2);
	the_next.retry = 1;
	hint("a", 10); /* on 2 */
	call(2);       /* on 1 */
	broken(2);
	hint("a", 11);
	answer(1, 2); /* 11 starts it anew on 1 */
	end_session("a");
	ck_assert_ptr_null(the_session("a"));
	ignore_actions();
	gone(2);
	ck_assert_ptr_nonnull(the_session("a"));
	answer(1, 11);
	then("DONE 11 ok, END_SESSION 1 a");
	pong(1);
	then("RUN 1 10");
}
END_TEST

START_TEST(a_hint_that_runs_again_finds_no_room)
{
	config.max_sessions = 1;
	given_workers(2);
	the_next.retry = 1;
	hint("a", 10);
	strict("a", 11);
	broken(2);
	if (_i == 0) {
		strict("b", 12); /* on 1 */
		answer(1, 12);
		ignore_actions();
		gone(2);
		then("END_SESSION 1 b"); /* evicted */
		pong(1);
		then("SESSION b evicted, RUN 1 10");
	} else {
		strict("b", 12);
		ignore_actions();
		gone(2);
		then("DONE 10 worker_exit, SESSION a lost");
	}
}
END_TEST

/* It ended without having read its last call. */
static void gone_unread(uint64_t worker_id)
{
	step((struct pool_event){
		.type = POOL_WORKER_GONE, .worker_id = worker_id, .not_begun = true });
}

START_TEST(a_call_that_its_worker_never_read_starts_its_session_elsewhere)
{
	given_workers(1);
	strict("a", 10);
	ignore_actions();
	broken(1);
	gone_unread(1);
	ready(2);
	then("KILL 1, START 2@0, RUN 2 10");
	answer(2, 10);
	strict("a", 11);
	then("DONE 10 ok, RUN 2 11");
}
END_TEST

START_TEST(a_call_that_its_worker_never_read_hears_of_what_others_had_left_there)
{
	given_a_session();
	strict("a", 10);
	ignore_actions();
	broken(2);
	gone_unread(2);
	then("KILL 2, START 3@1, DONE 10 session_lost, SESSION a lost");
	strict("a", 11);
	then("RUN 1 11");
}
END_TEST

START_TEST(the_last_words_of_a_worker_do_not_save_its_sessions)
{
	given_a_session();
	strict("a", 10);
	broken(2);
	ignore_actions();
	answer(2, 10);
	then("DONE 10 ok");
	gone(2);
	strict("a", 11);
	then("DONE 11 session_lost, SESSION a lost");
}
END_TEST

START_TEST(a_call_that_is_killed_takes_its_session_along)
{
	given_a_session();
	strict("a", 10);
	strict("a", 11);
	ignore_actions();
	abandon(10);
	then("KILL 2, DONE 10 abandoned, DONE 11 session_lost, SESSION a lost, START 3@1");
}
END_TEST

START_TEST(a_call_that_is_interrupted_leaves_its_session_as_it_was)
{
	given_a_session();
	the_next.abandon = ABANDON_INTERRUPT;
	strict("a", 10);
	strict("a", 11);
	abandon(10);
	ignore_actions();
	answer(2, 10);
	then("PROBE 2");
	fail_fast("a", 12);
	then("DONE 12 session_busy");
	pong(2);
	then("RUN 2 11");
}
END_TEST

/* ---- ends ---- */

START_TEST(a_session_is_ended_by_its_worker_before_that_serves_again)
{
	given_a_session();
	end_session("a");
	then("END_SESSION 2 a");
	ck_assert_uint_eq(state_of(2), WORKER_PROBING);
	ck_assert_ptr_null(the_session("a"));
	ck_assert_uint_eq(pool_sessions(pool), 0);
	call(10);
	call(11);
	then("RUN 1 10");
	pong(2);
	then("SESSION a ended, RUN 2 11");
	ck_assert_uint_eq(pool_worker(pool, 2)->session_count, 0);
}
END_TEST

START_TEST(a_worker_that_does_not_end_a_session_in_time_is_killed)
{
	given_a_session();
	end_session("a");
	ignore_actions();
	after_ms(999);
	then_nothing();
	after_ms(1);
	then("KILL 2, SESSION a ended, START 3@1");
	ck_assert_uint_eq(pool_totals(pool)->sessions_lost, 0);
}
END_TEST

START_TEST(an_end_waits_for_the_calls_that_run_in_the_session)
{
	given_a_session();
	strict("a", 10);
	ignore_actions();
	end_session("a");
	then_nothing();
	ck_assert_ptr_null(the_session("a"));
	answer(2, 10);
	then("DONE 10 ok, END_SESSION 2 a");
	pong(2);
	then("SESSION a ended");
}
END_TEST

START_TEST(a_session_that_is_ending_is_not_in_the_way_of_the_next_of_its_name)
{
	given_a_session();
	strict("a", 10);
	end_session("a");
	strict("a", 11);
	then("RUN 2 10, RUN 1 11");
	ck_assert_uint_eq(the_session("a")->worker_id, 1);
	answer(2, 10);
	pong(2);
	then("DONE 10 ok, END_SESSION 2 a, SESSION a ended");
	ck_assert_ptr_nonnull(the_session("a"));
}
END_TEST

START_TEST(those_who_wait_for_a_session_that_is_ended_start_it_anew)
{
	given_a_session_on_a_busy_worker();
	strict("a", 10);
	the_next.priority = PRIORITY_HIGH;
	strict("a", 11);
	end_session("a");
	end_session("a");
	then_nothing();
	strict("a", 12); /* joins them */
	fail_fast("a", 13);
	then("DONE 13 session_busy");
	answer(2, 2);
	then("DONE 2 ok, END_SESSION 2 a");
	ck_assert_uint_eq(pool_queued(pool), 3);
	pong(2);
	then("RUN 2 11");
	answer(2, 11);
	answer(2, 10);
	answer(2, 12);
	then("DONE 11 ok, RUN 2 10, DONE 10 ok, RUN 2 12, DONE 12 ok");
	ck_assert_uint_eq(the_session("a")->calls, 3);
	ck_assert_uint_eq(pool_totals(pool)->sessions_started, 2);
}
END_TEST

START_TEST(when_those_who_wait_for_the_end_have_gone_it_just_ends)
{
	given_a_session_on_a_busy_worker();
	strict("a", 10);
	end_session("a");
	abandon(10);
	ck_assert_ptr_null(the_session("a"));
	ignore_actions();
	answer(2, 2);
	pong(2);
	then("DONE 2 ok, END_SESSION 2 a, SESSION a ended");
}
END_TEST

START_TEST(those_who_wait_for_the_end_start_anew_when_the_worker_dies)
{
	given_a_session();
	strict("a", 10);
	strict("a", 11);
	end_session("a");
	ignore_actions();
	gone(2);
	then("DONE 10 worker_exit, START 3@1, RUN 1 11");
	ck_assert_uint_eq(pool_totals(pool)->sessions_lost, 0);
}
END_TEST

START_TEST(a_session_that_nobody_has_begun_has_nothing_to_end)
{
	given_workers(1);
	call(10);
	strict("a", 11);
	ignore_actions();
	end_session("a");
	then_nothing();
	answer(1, 10);
	then("DONE 10 ok, RUN 1 11");
}
END_TEST

START_TEST(a_lost_session_that_is_ended_is_not_told_to_anybody)
{
	given_a_session();
	gone(2);
	ignore_actions();
	end_session("a");
	then("SESSION a ended");
	strict("a", 10);
	then("RUN 1 10");
}
END_TEST

START_TEST(a_session_expires_when_nobody_has_used_it_for_its_time)
{
	the_ttl_us = 100 * MS;
	given_a_session();
	after_ms(99);
	strict("a", 10);
	ignore_actions();
	after_ms(1000);
	then_nothing(); /* it is used */
	answer(2, 10);
	then("DONE 10 ok");
	after_ms(99);
	then_nothing();
	after_ms(1);
	then("END_SESSION 2 a");
	pong(2);
	then("SESSION a expired");
	ck_assert_uint_eq(pool_next_tick(pool), POOL_NEVER);
}
END_TEST

START_TEST(who_comes_at_the_very_end_of_a_session_still_gets_it)
{
	the_ttl_us = 100 * MS;
	given_a_session();
	later_ms(100);
	strict("a", 10);
	then("RUN 2 10");
}
END_TEST

START_TEST(a_worker_ends_many_sessions_one_after_the_other_and_then_serves)
{
	given_workers(1);
	strict("a", 10);
	answer(1, 10);
	strict("b", 11);
	answer(1, 11);
	strict("c", 12);
	end_session("a");
	end_session("b");
	call(13);
	ignore_actions();
	answer(1, 12);
	then("DONE 12 ok, END_SESSION 1 a");
	pong(1);
	then("SESSION a ended, END_SESSION 1 b");
	pong(1);
	then("SESSION b ended, RUN 1 13");
	ck_assert_uint_eq(pool_worker(pool, 1)->session_count, 1);
}
END_TEST

/* ---- how many ---- */

START_TEST(the_longest_idle_session_makes_room)
{
	config.max_sessions = 3;
	given_workers(3);
	strict("a", 10); /* on 3 */
	strict("b", 11); /* on 2 */
	strict("c", 12); /* on 1 */
	answer(3, 10);
	later_ms(1);
	answer(2, 11);
	later_ms(1);
	strict("a", 13);
	answer(3, 13);
	ignore_actions();
	strict("d", 14);
	then("RUN 3 14, END_SESSION 2 b"); /* c is in use, a was used later */
	ck_assert_ptr_null(the_session("b"));
	ck_assert_uint_eq(pool_sessions(pool), 3);
	ck_assert_uint_eq(pool_totals(pool)->sessions_evicted, 1);
	pong(2);
	then("SESSION b evicted");
}
END_TEST

START_TEST(when_all_sessions_are_in_use_there_is_no_room)
{
	config.max_sessions = 2;
	given_workers(3);
	strict("a", 10);
	session("b", SESSION_STRICT);
	checkout(11, 1);
	ignore_actions();
	strict("c", 12);
	then("DONE 12 overloaded, SESSION c unused");
	hint("a", 13); /* moves: that takes no room */
	then("RUN 1 13");
	checkin(1);
	strict("c", 14);
	then("ENDED 1 checked_in, END_SESSION 2 b");
	pong(2);
	then("SESSION b evicted, RUN 2 14");
}
END_TEST

START_TEST(without_sessions_allowed_there_is_no_room)
{
	config.max_sessions = 0;
	given_workers(1);
	strict("a", 10);
	then("DONE 10 overloaded, SESSION a unused");
}
END_TEST

START_TEST(a_lost_session_makes_room_too)
{
	config.max_sessions = 1;
	given_a_session();
	gone(2);
	ignore_actions();
	strict("b", 10);
	then("SESSION a evicted, RUN 1 10");
}
END_TEST

START_TEST(a_refused_request_evicts_nobody)
{
	config.max_sessions = 1;
	config.queue_limit = 0;
	given_workers(1);
	strict("a", 10);
	answer(1, 10);
	ignore_actions();
	strict("b", 11); /* it would have to wait for the end of a */
	then("DONE 11 overloaded, SESSION b unused");
	ck_assert_ptr_nonnull(the_session("a"));
	the_next.deadline_us = now_us;
	strict("b", 12);
	then("DONE 12 timeout_queue, SESSION b unused");
}
END_TEST

START_TEST(an_eviction_leaves_its_worker_to_others_if_it_can)
{
	config.max_sessions = 1;
	config.queue_limit = 0;
	given_workers(2);
	strict("a", 10);
	answer(2, 10);
	ignore_actions();
	strict("b", 11);
	then("RUN 1 11, END_SESSION 2 a");
}
END_TEST

/* ---- leases ---- */

START_TEST(a_lease_in_a_session_is_on_its_worker_and_uses_it)
{
	the_ttl_us = 100 * MS;
	given_a_session();
	call(2); /* on 2 */
	session("a", SESSION_STRICT);
	checkout(10, 1);
	then("RUN 2 2");
	answer(2, 2);
	then("DONE 2 ok, DONE 10 lease on 2");
	after_ms(1000); /* in use all the time */
	strict("a", 11);
	fail_fast("a", 12);
	then("DONE 12 session_busy");
	lease_call(13, 1);
	answer(2, 13);
	then("RUN 2 13, DONE 13 ok");
	ck_assert_uint_eq(the_session("a")->calls, 2);
	checkin(1);
	then("ENDED 1 checked_in, RUN 2 11");
}
END_TEST

START_TEST(a_checkout_may_begin_a_session)
{
	given_workers(2);
	session("a", SESSION_STRICT);
	checkout(10, 1);
	strict("a", 11);
	then("DONE 10 lease on 2");
	end_session("a"); /* when the lease has ended; 11 starts it anew */
	then_nothing();
	checkin(1);
	then("ENDED 1 checked_in, END_SESSION 2 a");
	pong(2);
	then("RUN 2 11");
}
END_TEST

START_TEST(a_checkout_with_a_hint_may_take_another_worker)
{
	given_a_session_on_a_busy_worker();
	session("a", SESSION_HINT);
	checkout(10, 1);
	then("DONE 10 lease on 1");
	answer(2, 2);
	pong(2);
	then("DONE 2 ok, END_SESSION 2 a, SESSION a moved");
}
END_TEST

START_TEST(a_lease_whose_worker_dies_loses_its_session)
{
	given_workers(1);
	session("a", SESSION_STRICT);
	checkout(10, 1);
	ignore_actions();
	gone(1);
	then("ENDED 1 worker_gone, START 2@0");
	ready(2);
	strict("a", 11);
	then("DONE 11 session_lost, SESSION a lost");
}
END_TEST

/* ---- sizes, drain and stop ---- */

START_TEST(a_pool_shrinks_by_workers_without_sessions_first)
{
	given_workers(4);
	strict("a", 10); /* on 4 */
	strict("b", 11); /* on 3 */
	answer(4, 10);
	answer(3, 11);
	ignore_actions();
	resize(1);
	then("END 2, END 1, END 4");
	strict("a", 12);
	then("DONE 12 session_lost, SESSION a lost");
	strict("b", 13);
	then("RUN 3 13");
}
END_TEST

START_TEST(a_surplus_worker_leaves_with_its_sessions_untold)
{
	given_workers(2);
	strict("a", 10); /* on 2 */
	call(11);
	strict("a", 12);
	end_session("a");
	ignore_actions();
	resize(1);
	answer(2, 10);
	then("END 2, DONE 10 ok");
	answer(1, 11);
	then("DONE 11 ok, RUN 1 12"); /* it starts a anew */
}
END_TEST

START_TEST(a_drain_serves_who_waits_for_a_session)
{
	given_a_session_on_a_busy_worker();
	strict("a", 10);
	drain();
	answer(2, 2);
	answer(2, 10);
	then("DONE 2 ok, RUN 2 10, DONE 10 ok, DRAINED");
	ck_assert_uint_eq(pool_sessions(pool), 1);
}
END_TEST

START_TEST(a_stop_ends_all_sessions)
{
	given_workers(3);
	strict("a", 10); /* on 3 */
	answer(3, 10);
	strict("b", 11); /* on 2 */
	strict("b", 12);
	strict("c", 13); /* on 1 */
	answer(1, 13);
	gone(1);
	call(14);
	call(15);
	strict("d", 16);
	strict("d", 17);
	ignore_actions();
	stop();
	then("KILL 2, KILL 3, KILL 4, DONE 15 draining, DONE 16 draining, DONE 17 draining, "
	     "DONE 12 draining, DONE 11 draining, DONE 14 draining, SESSION d unused, "
	     "SESSION b ended, SESSION a ended, SESSION c lost");
	strict("a", 18);
	then("DONE 18 draining, SESSION a unused");
}
END_TEST

START_TEST(an_open_circuit_tells_those_behind_the_first_too)
{
	config.breaker.threshold = 1;
	given_pool(1);
	strict("a", 10);
	strict("a", 11);
	ignore_actions();
	gone(1);
	then("DONE 10 circuit_open, DONE 11 circuit_open, SESSION a unused");
	strict("a", 12);
	then("DONE 12 circuit_open, SESSION a unused");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: sessions");
	TCase *tc = tcase_create("pool: sessions");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_session_keeps_its_calls_on_its_worker);
	tcase_add_test(tc, new_sessions_go_to_the_worker_with_the_fewest);
	tcase_add_test(tc, a_session_has_a_worker_only_when_its_first_call_runs);
	tcase_add_test(
		tc, sessions_are_found_by_their_names_and_walked_in_the_order_in_which_they_began);
	tcase_add_test(tc, a_thousand_sessions_are_found_by_their_names);
	tcase_add_test(tc, who_waits_for_a_session_holds_up_nobody);
	tcase_add_test(tc, a_worker_that_comes_free_takes_whoever_came_first);
	tcase_add_test(tc, who_waits_behind_the_first_is_served_after_it_whatever_came_between);
	tcase_add_test(tc, pinned_requests_have_their_deadlines_and_their_callers);
	tcase_add_test(tc, pinned_requests_count_as_queued);
	tcase_add_loop_test(tc, when_the_first_of_a_session_goes_the_next_takes_its_place, 0, 2);
	tcase_add_test(tc, a_session_that_nobody_began_is_given_back_unused);
	tcase_add_test(tc, a_record_that_is_not_needed_comes_back);
	tcase_add_test(tc, fail_fast_hears_at_once_that_its_worker_is_busy);
	tcase_add_test(tc, fail_fast_is_busy_behind_a_first_that_waits_and_waits_as_a_first);
	tcase_add_test(tc, a_hint_takes_another_worker_when_its_own_is_busy);
	tcase_add_test(tc, a_hint_prefers_its_own_worker);
	tcase_add_loop_test(tc, a_hint_waits_for_whoever_comes_free, 0, 2);
	tcase_add_test(tc, those_who_wait_follow_a_session_that_moves);
	tcase_add_loop_test(tc, all_who_wait_for_a_lost_session_hear_so_and_the_next_starts_it_anew,
			    0, 2);
	tcase_add_loop_test(tc, when_nobody_waited_the_next_hears_of_it_once, 0, 2);
	tcase_add_test(tc, a_checkout_hears_of_a_lost_session_too);
	tcase_add_test(tc, a_hint_starts_a_lost_session_anew_without_a_word);
	tcase_add_test(tc, hints_who_wait_start_a_lost_session_anew);
	tcase_add_test(tc, a_lost_session_is_forgotten_after_its_time);
	tcase_add_test(tc, retry_is_not_for_those_who_rely_on_a_session);
	tcase_add_loop_test(tc, a_hint_runs_again_and_its_session_with_it, 0, 2);
	tcase_add_loop_test(tc, a_hint_that_runs_again_starts_anew_what_others_heard_was_lost, 0,
			    3);
	tcase_add_test(tc, a_hint_that_runs_again_waits_for_the_end_of_its_session);
	tcase_add_loop_test(tc, a_hint_that_runs_again_finds_no_room, 0, 2);
	tcase_add_test(tc, a_call_that_its_worker_never_read_starts_its_session_elsewhere);
	tcase_add_test(tc, a_call_that_its_worker_never_read_hears_of_what_others_had_left_there);
	tcase_add_test(tc, the_last_words_of_a_worker_do_not_save_its_sessions);
	tcase_add_test(tc, a_call_that_is_killed_takes_its_session_along);
	tcase_add_test(tc, a_call_that_is_interrupted_leaves_its_session_as_it_was);
	tcase_add_test(tc, a_session_is_ended_by_its_worker_before_that_serves_again);
	tcase_add_test(tc, a_worker_that_does_not_end_a_session_in_time_is_killed);
	tcase_add_test(tc, an_end_waits_for_the_calls_that_run_in_the_session);
	tcase_add_test(tc, a_session_that_is_ending_is_not_in_the_way_of_the_next_of_its_name);
	tcase_add_test(tc, those_who_wait_for_a_session_that_is_ended_start_it_anew);
	tcase_add_test(tc, when_those_who_wait_for_the_end_have_gone_it_just_ends);
	tcase_add_test(tc, those_who_wait_for_the_end_start_anew_when_the_worker_dies);
	tcase_add_test(tc, a_session_that_nobody_has_begun_has_nothing_to_end);
	tcase_add_test(tc, a_lost_session_that_is_ended_is_not_told_to_anybody);
	tcase_add_test(tc, a_session_expires_when_nobody_has_used_it_for_its_time);
	tcase_add_test(tc, who_comes_at_the_very_end_of_a_session_still_gets_it);
	tcase_add_test(tc, a_worker_ends_many_sessions_one_after_the_other_and_then_serves);
	tcase_add_test(tc, the_longest_idle_session_makes_room);
	tcase_add_test(tc, when_all_sessions_are_in_use_there_is_no_room);
	tcase_add_test(tc, without_sessions_allowed_there_is_no_room);
	tcase_add_test(tc, a_lost_session_makes_room_too);
	tcase_add_test(tc, a_refused_request_evicts_nobody);
	tcase_add_test(tc, an_eviction_leaves_its_worker_to_others_if_it_can);
	tcase_add_test(tc, a_lease_in_a_session_is_on_its_worker_and_uses_it);
	tcase_add_test(tc, a_checkout_may_begin_a_session);
	tcase_add_test(tc, a_checkout_with_a_hint_may_take_another_worker);
	tcase_add_test(tc, a_lease_whose_worker_dies_loses_its_session);
	tcase_add_test(tc, a_pool_shrinks_by_workers_without_sessions_first);
	tcase_add_test(tc, a_surplus_worker_leaves_with_its_sessions_untold);
	tcase_add_test(tc, a_drain_serves_who_waits_for_a_session);
	tcase_add_test(tc, a_stop_ends_all_sessions);
	tcase_add_test(tc, an_open_circuit_tells_those_behind_the_first_too);
	suite_add_tcase(suite, tc);
	return run(suite);
}
