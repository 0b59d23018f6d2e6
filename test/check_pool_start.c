/* check_pool_start.c - the pool's rules for starts, failures to start, sizes, drain and stop. */
#include "pool_given.h"

/* ---- starts ---- */

START_TEST(all_workers_start_at_once)
{
	given_pool(3);
	ck_assert_uint_eq(pool_next_tick(pool), 0);
	tick();
	then("START 1@0, START 2@1, START 3@2");
	ck_assert_uint_eq(pool_count(pool, WORKER_STARTING), 3);
	ck_assert_uint_eq(pool_next_tick(pool), ms_from_now(10000));
}
END_TEST

START_TEST(pools_that_share_their_ids_have_no_id_twice)
{
	uint64_t others = 40;

	config.worker_ids = &others;
	given_pool(2);
	tick();
	then("START 41@0, START 42@1");
	others += 5;
	resize(3);
	then("START 48@2");
	ck_assert_uint_eq(others, 48);
}
END_TEST

START_TEST(who_comes_while_workers_start_is_served_by_the_first)
{
	given_pool(2);
	call(10);
	checkout(11, 1);
	then("START 1@0, START 2@1");
	later_ms(20);
	ready(2);
	then("RUN 2 10");
	ck_assert_uint_eq(pool_start_us(pool)->max, 20 * MS);
	ready(1);
	then("DONE 11 lease on 1");
}
END_TEST

START_TEST(whatever_comes_while_workers_start_is_handled_at_once)
{
	given_pool(1);
	tick();
	call(10);
	the_next.queue_deadline_us = ms_from_now(50);
	call(11);
	checkin(7);
	ignore_actions();
	abandon(10);
	then("DONE 10 abandoned");
	after_ms(50);
	then("DONE 11 timeout_queue");
}
END_TEST

START_TEST(a_worker_that_never_says_hello_is_given_up_once)
{
	given_pool(2);
	tick();
	call(10);
	ready(2);
	ignore_actions();
	after_ms(9999);
	then_nothing();
	after_ms(1);
	then("KILL 1");
	ck_assert_uint_eq(pool_breaker(pool)->failures, 1);
	after_ms(99);
	then_nothing();
	after_ms(1); /* the back-off */
	then("START 3@0");
	ready(1); /* too late */
	gone(1);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 1);
	ck_assert_uint_eq(pool_breaker(pool)->failures, 1);
	ck_assert_uint_eq(pool_totals(pool)->late, 1);
	ready(3);
	ck_assert_uint_eq(pool_breaker(pool)->failures, 0);
}
END_TEST

START_TEST(a_start_that_fails_backs_off_and_callers_wait)
{
	given_pool(1);
	call(10);
	ignore_actions();
	gone(1);
	then_nothing();
	ck_assert_uint_eq(pool_next_tick(pool), ms_from_now(100));
	after_ms(100);
	then("START 2@0");
	broken(2); /* its channel closes first */
	gone(2);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 2);
	then("KILL 2");
	after_ms(200);
	then("START 3@0");
	ready(3);
	then("RUN 3 10");
}
END_TEST

START_TEST(starts_that_fail_together_are_one_failure)
{
	given_pool(8);
	tick();
	later_ms(5);
	for (uint64_t id = 1; id <= 8; id++)
		gone(id);
	ck_assert_uint_eq(pool_breaker(pool)->failures, 1);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 8);
	ignore_actions();
	after_ms(100);
	ck_assert_uint_eq(pool_count(pool, WORKER_STARTING), 8);
	ignore_actions();
}
END_TEST

START_TEST(a_worker_takes_the_lowest_index_that_is_free)
{
	given_workers(4);
	gone(3);
	then("START 5@2");
	gone(1);
	gone(2);
	then("START 6@0, START 7@1");
}
END_TEST

START_TEST(the_index_of_a_worker_that_is_stopping_is_free)
{
	given_workers(2);
	broken(1);
	then("KILL 1, START 3@0");
}
END_TEST

/* ---- the circuit ---- */

/* Five starts in a row have failed; nobody is ready. */
static void given_an_open_circuit(unsigned size)
{
	given_pool(size);
	tick();
	for (int i = 0; i < 5; i++) {
		const struct pool_worker *w;

		if (pool_next_tick(pool) != POOL_NEVER && pool_next_tick(pool) > now_us)
			now_us = pool_next_tick(pool);
		later_ms(1);
		tick();
		later_ms(1);
		while ((w = pool_worker_after(pool, NULL)) != NULL)
			gone(w->id);
	}
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_OPEN);
	ignore_actions();
}

START_TEST(while_the_circuit_is_open_callers_hear_so_at_once)
{
	given_an_open_circuit(2);
	call(10);
	checkout(11, 1);
	then("DONE 10 circuit_open, DONE 11 circuit_open");
	ck_assert_uint_eq(pool_retry_after_ms(pool, now_us), 1600);
	after_ms(1599);
	ck_assert_uint_eq(pool_retry_after_ms(pool, now_us), 1);
	then_nothing();
}
END_TEST

START_TEST(an_open_circuit_is_a_better_answer_than_a_full_queue)
{
	config.queue_limit = 0;
	given_an_open_circuit(1);
	call(10);
	then("DONE 10 circuit_open");
}
END_TEST

START_TEST(a_failure_that_opens_the_circuit_tells_those_who_wait)
{
	config.breaker.threshold = 1;
	given_pool(1);
	call(10);
	checkout(11, 1);
	the_next.priority = PRIORITY_HIGH;
	call(12);
	ignore_actions();
	gone(1);
	then("DONE 12 circuit_open, DONE 10 circuit_open, DONE 11 circuit_open");
}
END_TEST

START_TEST(an_open_circuit_does_not_matter_while_somebody_is_ready)
{
	config.breaker.threshold = 1;
	given_workers(2);
	call(10);
	gone(1);
	later_ms(1);
	gone(3); /* opens */
	call(11);
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_OPEN);
	ignore_actions();
	answer(2, 10);
	then("DONE 10 ok, RUN 2 11");
	call(12);
	gone(2); /* nobody is left */
	then("DONE 11 worker_exit, DONE 12 circuit_open");
}
END_TEST

START_TEST(one_probe_at_a_time_closes_the_circuit)
{
	given_an_open_circuit(3);
	after_ms(1600);
	then("START 16@0");
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_HALF_OPEN);
	ck_assert_uint_gt(pool_retry_after_ms(pool, now_us), 0);
	after_ms(5000);
	then_nothing();
	call(10);
	then("DONE 10 circuit_open");
	ready(16);
	then("START 17@1, START 18@2");
	ck_assert_uint_eq(pool_retry_after_ms(pool, now_us), 0);
	call(11);
	then("RUN 16 11");
}
END_TEST

START_TEST(a_probe_that_fails_opens_the_circuit_again)
{
	given_an_open_circuit(3);
	after_ms(1600);
	ignore_actions();
	if (_i == 0)
		gone(16);
	else if (_i == 1)
		broken(16);
	else
		after_ms(10000);
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_OPEN);
	ignore_actions();
	after_ms(3199);
	then_nothing();
	after_ms(1);
	then("START 17@0");
}
END_TEST

/* Waits until there is a worker, the only one, and returns its id. */
static uint64_t next_start(void)
{
	while (pool_worker_after(pool, NULL) == NULL)
		after_ms(1);
	ignore_actions();
	return pool_worker_after(pool, NULL)->id;
}

/* It says HELLO and dies. */
static void early_death(uint64_t worker_id)
{
	ready(worker_id);
	later_ms(1);
	gone(worker_id);
}

START_TEST(workers_that_die_after_hello_again_and_again_count_as_failed_starts)
{
	given_pool(1);
	tick();
	for (uint64_t id = 1; id <= 15; id++)
		early_death(id);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
	ck_assert_uint_eq(state_of(16), WORKER_STARTING);
	early_death(16);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 1);
	ck_assert_ptr_null(pool_worker_after(pool, NULL));
	for (int i = 0; i < 4; i++)
		early_death(next_start());
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_OPEN);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 5);
	ignore_actions();
	call(10);
	then("DONE 10 circuit_open");
}
END_TEST

START_TEST(an_answer_ends_a_series_of_early_deaths)
{
	given_pool(1);
	call(10);
	for (uint64_t id = 1; id <= 15; id++)
		early_death(id);
	ready(16);
	call(11);
	answer(16, 11);
	gone(16);
	for (uint64_t id = 17; id <= 31; id++)
		early_death(id);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
	ignore_actions();
}
END_TEST

START_TEST(last_words_end_a_series_of_early_deaths_too)
{
	given_pool(1);
	tick();
	for (uint64_t id = 1; id <= 14; id++)
		early_death(id);
	call(10);
	ready(15);
	broken(15);
	answer(15, 10);
	gone(15);
	for (uint64_t id = 16; id <= 30; id++)
		early_death(id);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
	early_death(31);
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 1);
	ignore_actions();
}
END_TEST

START_TEST(in_a_series_of_early_deaths_hello_alone_is_no_success)
{
	static const struct {
		uint64_t alive_ms;
		bool answers;
		enum breaker_state then;
	} table[] = {
		{ 99, false, BREAKER_HALF_OPEN },
		{ 100, false, BREAKER_CLOSED },
		{ 1, true, BREAKER_CLOSED },
	};

	config.breaker.threshold = 1;
	given_pool(2);
	tick();
	for (uint64_t id = 1; id <= 16; id++)
		early_death(id);
	ready(17);
	later_ms(1);
	gone(17);
	ck_assert_uint_eq(next_start(), 18);
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_HALF_OPEN);
	ready(18);
	then_nothing();
	call(10);
	then("RUN 18 10");
	after_ms(table[_i].alive_ms);
	if (table[_i].answers)
		answer(18, 10);
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), table[_i].then);
	ck_assert_uint_eq(pool_count(pool, WORKER_STARTING), table[_i].then == BREAKER_CLOSED);
	ignore_actions();
}
END_TEST

START_TEST(deaths_that_we_caused_say_nothing_about_the_start)
{
	given_pool(1);
	tick();
	for (uint64_t id = 1; id <= 40; id++) {
		ready(id);
		call(id);
		abandon(id);
		gone(id);
	}
	ck_assert_uint_eq(pool_totals(pool)->start_failures, 0);
	ignore_actions();
}
END_TEST

START_TEST(a_probe_that_we_killed_does_not_keep_the_circuit_open)
{
	config.breaker.threshold = 1;
	given_pool(2);
	tick();
	for (uint64_t id = 1; id <= 17; id++)
		early_death(id);
	ready(next_start());
	call(10);
	ignore_actions();
	abandon(10);
	then("KILL 18, DONE 10 abandoned, START 19@0, START 20@1");
}
END_TEST

/* ---- sizes ---- */

START_TEST(a_pool_grows_at_once)
{
	given_workers(1);
	resize(3);
	then("START 2@1, START 3@2");
	ck_assert_uint_eq(pool_config(pool)->size, 3);
}
END_TEST

START_TEST(a_pool_shrinks_by_its_idle_workers)
{
	given_workers(4);
	call(10); /* on 4, index 3 */
	ignore_actions();
	resize(2);
	then("END 3, END 2");
	answer(4, 10);
	gone(3);
	gone(2);
	then("DONE 10 ok");
	ck_assert_uint_eq(pool_ready(pool), 2);
}
END_TEST

START_TEST(shrinking_never_cuts_a_call)
{
	given_workers(3);
	call(10);
	checkout(11, 1);
	lease_call(12, 1);
	call(13);
	call(14);
	ignore_actions();
	resize(1);
	then_nothing();
	answer(3, 10);
	then("END 3, DONE 10 ok");
	answer(2, 12);
	then("DONE 12 ok");
	checkin(1);
	then("END 2, ENDED 1 checked_in");
	answer(1, 13);
	then("DONE 13 ok, RUN 1 14");
	gone(2);
	gone(3);
	then_nothing();
}
END_TEST

START_TEST(who_still_starts_is_surplus_before_who_can_serve)
{
	given_pool(4);
	tick();
	ready(1);
	ready(2);
	ignore_actions();
	resize(2);
	then_nothing();
	ready(3);
	then("END 3");
	gone(4); /* nobody replaces it */
	then_nothing();
	ck_assert_uint_eq(pool_ready(pool), 2);
}
END_TEST

START_TEST(an_interrupted_worker_that_is_surplus_ends_when_it_is_clean)
{
	given_workers(2);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	abandon(10);
	call(11);
	answer(2, 10);
	resize(1);
	ignore_actions();
	pong(2);
	then("END 2");
}
END_TEST

START_TEST(a_pool_of_nobody_lets_callers_wait)
{
	given_workers(1);
	resize(0);
	call(10);
	then("END 1");
	gone(1);
	then_nothing();
	resize(1);
	ready(2);
	then("START 2@0, RUN 2 10");
}
END_TEST

START_TEST(a_stop_has_three_politenesses)
{
	given_workers(2);
	resize(1);
	then("END 2");
	broken(2); /* it closes its channel: so it was asked */
	after_ms(1999);
	then_nothing();
	after_ms(1);
	then("TERMINATE 2");
	after_ms(2000);
	then("KILL 2");
	after_ms(100000);
	then_nothing();
	gone(2);
	then_nothing();
	ck_assert_uint_eq(pool_totals(pool)->kills, 1);
	ck_assert_uint_eq(pool_totals(pool)->exits, 1);
	ck_assert_uint_eq(pool_totals(pool)->late, 0);
}
END_TEST

START_TEST(without_grace_only_the_kill_is_left)
{
	config.stop_grace_us = 0;
	config.interrupt_grace_us = 0;
	given_workers(2);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	ignore_actions();
	abandon(10);
	then("KILL 2, DONE 10 abandoned, START 3@1");
	resize(0);
	then("KILL 1");
}
END_TEST

/* ---- drain and stop ---- */

START_TEST(a_drain_serves_who_is_inside_and_refuses_the_rest)
{
	given_workers(2);
	call(10);
	checkout(11, 1);
	call(12);
	ignore_actions();
	drain();
	then_nothing();
	ck_assert(pool_draining(pool));
	call(13);
	checkout(14, 2);
	then("DONE 13 draining, DONE 14 draining");
	lease_call(15, 1); /* so that its owner can finish */
	then("RUN 1 15");
	lease_call(16, 2);
	then("DONE 16 lease_closed");
	answer(2, 10);
	answer(2, 12);
	answer(1, 15);
	then("DONE 10 ok, RUN 2 12, DONE 12 ok, DONE 15 ok");
	checkin(1);
	then("ENDED 1 checked_in, DRAINED");
	lease_call(17, 1);
	then("DONE 17 lease_closed");
	tick();
	then_nothing();
}
END_TEST

START_TEST(a_drain_replaces_workers_that_those_inside_need)
{
	given_workers(1);
	the_next.retry = 1;
	call(10);
	drain();
	ignore_actions();
	gone(1);
	then("START 2@0");
	ready(2);
	answer(2, 10);
	then("RUN 2 10, DONE 10 ok, DRAINED");
}
END_TEST

START_TEST(each_drain_is_answered_once)
{
	given_workers(1);
	drain();
	then("DRAINED");
	drain();
	then("DRAINED");
	call(10);
	then("DONE 10 draining");
}
END_TEST

START_TEST(a_stop_ends_everything_and_starts_nothing)
{
	given_workers(5);
	call(10);
	call(11);
	checkout(12, 1);
	checkout(13, 2);
	lease_call(14, 2);
	lease_call(15, 2);
	gone(1);
	call(16);
	drain();
	ignore_actions();
	stop();
	then("KILL 2, KILL 4, KILL 5, KILL 6, END 3, "
	     "DONE 16 draining, DONE 14 draining, DONE 15 draining, DONE 11 draining, "
	     "DONE 10 draining, ENDED 2 worker_gone, ENDED 1 worker_gone, DRAINED");
	stop();
	call(17);
	lease_call(18, 1);
	then("DONE 17 draining, DONE 18 draining");
	after_ms(2000);
	then("TERMINATE 3");
	gone(2);
	gone(4);
	gone(5);
	gone(6);
	resize(7);
	after_ms(1999);
	then_nothing();
	gone(3);
	then_nothing();
	ck_assert_uint_eq(pool_next_tick(pool), POOL_NEVER);
}
END_TEST

START_TEST(a_stop_during_start_is_quick)
{
	given_pool(2);
	call(10);
	ignore_actions();
	stop();
	then("KILL 1, KILL 2, DONE 10 draining");
	ready(1);
	gone(1);
	gone(2);
	then_nothing();
}
END_TEST

START_TEST(a_stop_while_probing_is_polite)
{
	given_workers(1);
	the_next.abandon = ABANDON_INTERRUPT;
	call(10);
	abandon(10);
	answer(1, 10);
	ignore_actions();
	stop();
	then("END 1");
}
END_TEST

START_TEST(a_stop_answers_those_on_broken_workers)
{
	given_workers(1);
	checkout(10, 1);
	lease_call(11, 1);
	lease_call(12, 1);
	broken(1);
	ignore_actions();
	stop();
	then("KILL 2, DONE 11 draining, DONE 12 draining, ENDED 1 worker_gone");
}
END_TEST

START_TEST(workers_are_walked_by_id)
{
	const struct pool_worker *w = NULL;
	uint64_t expected[] = { 1, 3, 4 };

	given_workers(3);
	gone(2);
	for (unsigned i = 0; i < 3; i++) {
		w = pool_worker_after(pool, w);
		ck_assert_uint_eq(w->id, expected[i]);
	}
	ck_assert_ptr_null(pool_worker_after(pool, w));
	ignore_actions();
}
END_TEST

START_TEST(everything_has_a_name)
{
	for (unsigned i = 0; i < WORKER_STATES; i++)
		ck_assert(strlen(worker_state_name((enum worker_state)i)) > 0);
	for (unsigned i = 0; i < OUTCOMES; i++)
		ck_assert(strlen(pool_outcome_name((enum pool_outcome)i)) > 0);
	ck_assert_str_eq(worker_state_name(WORKER_GONE), "gone");
	ck_assert_str_eq(pool_outcome_name(OUTCOME_REFUSED), "refused");
}
END_TEST

/* ---- memory ---- */

START_TEST(without_memory_there_is_no_pool)
{
	config.size = 1;
	mem_fail_after = 0;
	ck_assert_ptr_null(pool_new(&config));
	mem_fail_after = -1;
}
END_TEST

START_TEST(a_start_without_memory_is_tried_again)
{
	given_pool(2);
	mem_fail_after = 1;
	call(10);
	then("START 1@0");
	mem_fail_after = 0;
	tick(); /* too early: it is not even tried */
	ck_assert_int_eq(mem_fail_after, 0);
	mem_fail_after = -1;
	after_ms(99);
	then_nothing();
	after_ms(1);
	then("START 2@1");
}
END_TEST

/* A day in the life of a pool, with the n-th allocation failing: whatever n, everybody is answered. */
START_TEST(no_allocation_that_fails_loses_anybody)
{
	long n = 0;

	for (;; n++) {
		config.size = 3;
		if ((mem_fail_after = n, pool = pool_new(&config)) == NULL)
			continue;
		for (uint64_t id = 1; id <= 40; id++) {
			const struct pool_worker *w;

			the_next.deadline_us = ms_from_now(500);
			if (id % 5 == 0)
				checkout(id, id);
			else
				call(id);
			later_ms(37);
			for (uint64_t k = 1;
			     (w = pool_worker(pool, k)) != NULL || k <= pool_totals(pool)->starts;
			     k++) {
				if (w == NULL)
					continue;
				if (w->state == WORKER_STARTING)
					ready(k);
				else if (w->state == WORKER_LEASED)
					lease_down(w->slot->lease->id);
				else if ((id + k) % 7 == 0)
					gone(k);
				else if (w->state == WORKER_BUSY && id % 3 != 0)
					answer(k, call_of(k));
			}
		}
		ignore_actions();
		after_ms(1000);
		ck_assert_uint_eq(pool_queued(pool), 0);
		ck_assert_uint_eq(pool_ready(pool) + pool_count(pool, WORKER_STARTING), 3);
		if (mem_fail_after >= 0)
			break;
		tear_down();
	}
	ck_assert_int_gt(n, 5);
	mem_fail_after = -1;
}
END_TEST

/* ---- how many starts in a minute ---- */

enum fate { FAILS_AT_START, DIES_AFTER_HELLO, DIES_IN_CALL, FLAPS, NEVER_HELLO };

static uint64_t start_times[100000];

/* Half an hour of workers with that fate; the most starts that any 60 seconds saw. */
static unsigned most_starts_a_minute(enum fate fate, unsigned *all)
{
	unsigned count = 0, most = 0, from = 0;
	uint64_t end = now_us + 1800 * SECONDS, id = 1;

	starts_seen = 0;
	tick();
	while (now_us < end) {
		const struct pool_worker *w = pool_worker_after(pool, NULL), *next;

		for (; w != NULL; w = next) {
			next = pool_worker_after(pool, w);
			if (fate == NEVER_HELLO && w->state != WORKER_STOPPING)
				continue;
			if (w->state == WORKER_STARTING && now_us - w->started_us < 20 * MS)
				continue;
			if (w->state == WORKER_STARTING && fate != FAILS_AT_START &&
			    (fate != FLAPS || w->id % 3 != 0)) {
				ready(w->id);
				if (fate == DIES_IN_CALL &&
				    pool_worker(pool, w->id)->state == WORKER_IDLE) {
					call(id);
					id = id % (IDS - 2) + 1;
				}
			} else if (fate != FLAPS || now_us - w->since_us > 200 * MS) {
				gone(w->id);
			}
			break; /* one thing at a time: the list has changed */
		}
		ignore_actions();
		while (count < starts_seen)
			start_times[count++] = now_us;
		now_us += 1 * MS;
		if (pool_worker_after(pool, NULL) == NULL && pool_next_tick(pool) > now_us)
			now_us = pool_next_tick(pool);
		if (pool_next_tick(pool) <= now_us)
			tick();
		while (count < starts_seen)
			start_times[count++] = now_us;
		ignore_actions();
	}
	for (unsigned to = 0; to < count; to++) {
		while (start_times[to] - start_times[from] >= 60 * SECONDS)
			from++;
		if (to - from + 1 > most)
			most = to - from + 1;
	}
	*all = count;
	return most;
}

START_TEST(a_crash_loop_is_bounded_whatever_it_looks_like)
{
	static const struct {
		const char *what;
		enum fate fate;
		unsigned a_minute, in_all;
	} table[] = {
		/* 4 workers; circuit opens after 5 failures in a row, then 1 start each 10 s at most. */
		{ "fails at start", FAILS_AT_START, 35, 220 },
		{ "never says hello", NEVER_HELLO, 30, 140 },
		/* 15 deaths that are not counted come first. */
		{ "dies after hello", DIES_AFTER_HELLO, 60, 250 },
		{ "dies in its first call", DIES_IN_CALL, 60, 250 },
		/* Lives 200 ms each time: only the bucket holds it, burst + 60 per_second. */
		{ "flaps", FLAPS, 10 + 60 * 2, 10 + 1800 * 2 },
	};
	unsigned all, most;

	config.breaker.burst = 10;
	config.breaker.per_second = 2;
	given_pool(4);
	most = most_starts_a_minute(table[_i].fate, &all);
	ck_assert_msg(most <= table[_i].a_minute && all <= table[_i].in_all,
		      "%s: %u starts in a minute (at most %u), %u in half an hour (at most %u)",
		      table[_i].what, most, table[_i].a_minute, all, table[_i].in_all);
	ck_assert_msg(all >= 30, "%s: gave up: %u starts in all", table[_i].what, all);
}
END_TEST

START_TEST(after_a_crash_loop_the_pool_heals_by_itself)
{
	unsigned all;

	given_pool(4);
	(void)most_starts_a_minute(_i == 0 ? FAILS_AT_START : DIES_AFTER_HELLO, &all);
	for (int i = 0; i < 20000; i++) {
		const struct pool_worker *w = NULL;

		after_ms(1);
		while ((w = pool_worker_after(pool, w)) != NULL) {
			if (w->state == WORKER_STARTING)
				ready(w->id);
		}
	}
	ck_assert_uint_eq(pool_count(pool, WORKER_IDLE), 4);
	ck_assert_uint_eq(breaker_state(pool_breaker(pool)), BREAKER_CLOSED);
	ignore_actions();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: starts");
	TCase *tc = tcase_create("pool: starts");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, all_workers_start_at_once);
	tcase_add_test(tc, pools_that_share_their_ids_have_no_id_twice);
	tcase_add_test(tc, who_comes_while_workers_start_is_served_by_the_first);
	tcase_add_test(tc, whatever_comes_while_workers_start_is_handled_at_once);
	tcase_add_test(tc, a_worker_that_never_says_hello_is_given_up_once);
	tcase_add_test(tc, a_start_that_fails_backs_off_and_callers_wait);
	tcase_add_test(tc, starts_that_fail_together_are_one_failure);
	tcase_add_test(tc, a_worker_takes_the_lowest_index_that_is_free);
	tcase_add_test(tc, the_index_of_a_worker_that_is_stopping_is_free);
	tcase_add_test(tc, while_the_circuit_is_open_callers_hear_so_at_once);
	tcase_add_test(tc, an_open_circuit_is_a_better_answer_than_a_full_queue);
	tcase_add_test(tc, a_failure_that_opens_the_circuit_tells_those_who_wait);
	tcase_add_test(tc, an_open_circuit_does_not_matter_while_somebody_is_ready);
	tcase_add_test(tc, one_probe_at_a_time_closes_the_circuit);
	tcase_add_loop_test(tc, a_probe_that_fails_opens_the_circuit_again, 0, 3);
	tcase_add_test(tc, workers_that_die_after_hello_again_and_again_count_as_failed_starts);
	tcase_add_test(tc, an_answer_ends_a_series_of_early_deaths);
	tcase_add_test(tc, last_words_end_a_series_of_early_deaths_too);
	tcase_add_loop_test(tc, in_a_series_of_early_deaths_hello_alone_is_no_success, 0, 3);
	tcase_add_test(tc, deaths_that_we_caused_say_nothing_about_the_start);
	tcase_add_test(tc, a_probe_that_we_killed_does_not_keep_the_circuit_open);
	tcase_add_test(tc, a_pool_grows_at_once);
	tcase_add_test(tc, a_pool_shrinks_by_its_idle_workers);
	tcase_add_test(tc, shrinking_never_cuts_a_call);
	tcase_add_test(tc, who_still_starts_is_surplus_before_who_can_serve);
	tcase_add_test(tc, an_interrupted_worker_that_is_surplus_ends_when_it_is_clean);
	tcase_add_test(tc, a_pool_of_nobody_lets_callers_wait);
	tcase_add_test(tc, a_stop_has_three_politenesses);
	tcase_add_test(tc, without_grace_only_the_kill_is_left);
	tcase_add_test(tc, a_drain_serves_who_is_inside_and_refuses_the_rest);
	tcase_add_test(tc, a_drain_replaces_workers_that_those_inside_need);
	tcase_add_test(tc, each_drain_is_answered_once);
	tcase_add_test(tc, a_stop_ends_everything_and_starts_nothing);
	tcase_add_test(tc, a_stop_during_start_is_quick);
	tcase_add_test(tc, a_stop_while_probing_is_polite);
	tcase_add_test(tc, a_stop_answers_those_on_broken_workers);
	tcase_add_test(tc, workers_are_walked_by_id);
	tcase_add_test(tc, everything_has_a_name);
	tcase_add_test(tc, without_memory_there_is_no_pool);
	tcase_add_test(tc, a_start_without_memory_is_tried_again);
	tcase_add_test(tc, no_allocation_that_fails_loses_anybody);
	tcase_add_loop_test(tc, a_crash_loop_is_bounded_whatever_it_looks_like, 0, 5);
	tcase_add_loop_test(tc, after_a_crash_loop_the_pool_heals_by_itself, 0, 2);
	suite_add_tcase(suite, tc);
	return run(suite);
}
