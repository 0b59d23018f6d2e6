/* check_breaker.c - how often the breaker lets workers start. What the pool makes of it:
 * check_pool_start.c. */
#include "../include/breaker.h"
#include "suite.h"

#include <check.h>
#include <stdlib.h>

#define MS      UINT64_C(1000)
#define SECONDS UINT64_C(1000000)

static const struct breaker_config config = {
	.threshold = 3,
	.backoff_base_us = 100 * MS,
	.backoff_max_us = 1000 * MS,
	.burst = 4,
	.per_second = 2,
};

static struct breaker b;
static uint64_t now_us, when_us;

static void given_a_breaker(void)
{
	now_us = 7 * SECONDS;
	breaker_init(&b, &config, now_us);
}

static bool may_start(void)
{
	bool may = breaker_may_start(&b, now_us, &when_us);

	ck_assert(may == (when_us == now_us)); /* and if not, when */
	ck_assert_uint_ge(when_us, now_us);
	return may;
}

static void starts(void)
{
	ck_assert(may_start());
	breaker_start(&b, now_us);
}

/* A start now, which fails a microsecond later. */
static void start_fails(void)
{
	starts();
	now_us++;
	breaker_failed(&b, now_us - 1, now_us, 0);
}

START_TEST(a_burst_starts_at_once_and_then_so_many_a_second)
{
	given_a_breaker();
	for (int i = 0; i < 4; i++)
		starts();
	ck_assert(!may_start());
	ck_assert_uint_eq(when_us, now_us + 500 * MS);
	now_us = when_us - 1;
	ck_assert(!may_start());
	now_us++;
	starts();
	ck_assert(!may_start());
	now_us += 3600 * SECONDS; /* no more than a burst is saved up */
	for (int i = 0; i < 4; i++)
		starts();
	ck_assert(!may_start());
}
END_TEST

START_TEST(asking_often_neither_wins_nor_loses_starts)
{
	static const unsigned rates[] = { 1, 2, 3, 7, 60, 1000 };
	struct breaker_config c = config;
	uint64_t n = 0, end;

	c.per_second = rates[_i];
	now_us = 0;
	breaker_init(&b, &c, 0);
	for (end = 100 * SECONDS; now_us < end; now_us += 1 + now_us % 997)
		while (may_start()) {
			breaker_start(&b, now_us);
			n++;
		}
	ck_assert_uint_le(n, c.burst + 100 * c.per_second);
	/* Asked at most 1 ms late each time, and rounded up by at most a microsecond each. */
	ck_assert_uint_ge(n, (c.burst + 100 * c.per_second) * 97 / 100 - 1);
}
END_TEST

START_TEST(each_failure_in_a_row_doubles_the_wait)
{
	static const uint64_t waits_ms[] = { 100, 200, 400, 800, 1000, 1000 };

	given_a_breaker();
	for (int i = 0; i < 6; i++) {
		now_us += 100 * SECONDS; /* the bucket is full */
		start_fails();
		ck_assert(!may_start());
		ck_assert_uint_eq(when_us, now_us + waits_ms[i] * MS);
		ck_assert_uint_eq(b.failures, (unsigned)i + 1);
	}
	breaker_ok(&b);
	now_us++;
	start_fails();
	ck_assert(!may_start());
	ck_assert_uint_eq(when_us, now_us + 100 * MS);
}
END_TEST

START_TEST(jitter_adds_at_most_a_quarter)
{
	uint64_t most = 0;

	for (uint64_t random = 0; random < 100000; random += 77) {
		given_a_breaker();
		breaker_failed(&b, now_us, now_us, random);
		ck_assert_uint_ge(b.not_before_us, now_us + 100 * MS);
		ck_assert_uint_le(b.not_before_us, now_us + 125 * MS);
		most = b.not_before_us > most ? b.not_before_us : most;
	}
	ck_assert_uint_gt(most, now_us + 120 * MS);
	given_a_breaker();
	breaker_failed(&b, now_us, now_us, UINT64_MAX);
	ck_assert_uint_le(b.not_before_us, now_us + 125 * MS);
}
END_TEST

START_TEST(starts_that_were_under_way_together_fail_once)
{
	uint64_t begun = 7 * SECONDS;

	given_a_breaker();
	for (int i = 0; i < 4; i++)
		starts();
	for (int i = 0; i < 4; i++) {
		now_us += 10;
		breaker_failed(&b, begun, now_us, 0);
		ck_assert_uint_eq(b.failures, 1);
		ck_assert_uint_eq(b.not_before_us, begun + 10 + 100 * MS);
	}
	now_us += 10 * SECONDS;
	starts();
	breaker_failed(&b, now_us, now_us + 1, 0);
	ck_assert_uint_eq(b.failures, 2);
}
END_TEST

START_TEST(after_some_failures_the_circuit_is_open_and_one_start_probes_it)
{
	given_a_breaker();
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(breaker_state(&b), BREAKER_CLOSED);
		now_us += 10 * SECONDS;
		start_fails();
	}
	ck_assert_int_eq(breaker_state(&b), BREAKER_OPEN);
	ck_assert(!may_start());
	now_us = when_us;
	starts();
	ck_assert_int_eq(breaker_state(&b), BREAKER_HALF_OPEN);
	now_us += 3600 * SECONDS;
	ck_assert(!breaker_may_start(&b, now_us, &when_us));
	ck_assert_uint_eq(when_us, UINT64_MAX);
	breaker_failed(&b, 1, now_us, 0); /* an old start: it says nothing about the probe */
	ck_assert_int_eq(breaker_state(&b), BREAKER_HALF_OPEN);
	if (_i == 0) {
		breaker_ok(&b);
		ck_assert_int_eq(breaker_state(&b), BREAKER_CLOSED);
		starts();
		starts();
	} else {
		breaker_failed(&b, now_us - 1, now_us, 0);
		ck_assert_int_eq(breaker_state(&b), BREAKER_OPEN);
		ck_assert(!may_start());
		ck_assert_uint_eq(when_us, now_us + 800 * MS);
	}
}
END_TEST

START_TEST(the_bucket_bounds_probes_and_restarts_too)
{
	given_a_breaker();
	for (int i = 0; i < 4; i++)
		starts();
	breaker_failed(&b, now_us, now_us, 0);
	ck_assert(!may_start());
	ck_assert_uint_eq(when_us, now_us + 500 * MS); /* the later of the two */
}
END_TEST

START_TEST(a_probe_that_fails_counts_even_without_any_back_off)
{
	struct breaker_config c = config;

	c.backoff_base_us = 0;
	c.threshold = 1;
	given_a_breaker();
	breaker_init(&b, &c, now_us);
	breaker_failed(&b, now_us, now_us, 0);
	ck_assert(!may_start());
	now_us = when_us;
	starts();
	breaker_failed(&b, now_us, now_us, 0);
	ck_assert_uint_eq(b.failures, 2);
	ck_assert_int_eq(breaker_state(&b), BREAKER_OPEN);
}
END_TEST

START_TEST(the_end_of_time_is_no_problem)
{
	struct breaker_config c = config;

	c.backoff_base_us = c.backoff_max_us = UINT64_MAX;
	breaker_init(&b, &c, 0);
	breaker_failed(&b, 5, 6, UINT64_MAX);
	ck_assert_uint_eq(b.not_before_us, UINT64_MAX);
	ck_assert(!breaker_may_start(&b, UINT64_MAX - 1, &when_us));
	breaker_init(&b, &config, 0);
	breaker_start(&b, 0);
	ck_assert(breaker_may_start(&b, UINT64_MAX, &when_us));
	ck_assert_uint_eq(b.tokens_milli, 4000);
}
END_TEST

/* Half an hour, asked every 7 ms: the most starts that any 60 seconds saw. `fails(n)`: the n-th does,
 * `after_us` later. */
static unsigned most_a_minute(const struct breaker_config *c, bool (*fails)(unsigned n),
			      uint64_t after_us)
{
	static uint64_t started[100000];
	unsigned n = 0, ended = 0, from = 0, most = 0;

	now_us = 1;
	breaker_init(&b, c, now_us);
	for (; now_us < 1800 * SECONDS; now_us += 7 * MS) {
		while (ended < n && started[ended] + after_us <= now_us) {
			if (fails(ended))
				breaker_failed(&b, started[ended], now_us, now_us * 2654435761u);
			else
				breaker_ok(&b);
			ended++;
		}
		/* Each start replaces one that has ended: 8 workers at most. */
		while (n - ended < 8 && breaker_may_start(&b, now_us, &when_us)) {
			breaker_start(&b, now_us);
			started[n++] = now_us;
		}
	}
	for (unsigned to = 0; to < n; to++) {
		while (started[to] - started[from] >= 60 * SECONDS)
			from++;
		most = to - from + 1 > most ? to - from + 1 : most;
	}
	return most;
}

static bool always(unsigned n)
{
	(void)n;
	return true;
}

static bool never(unsigned n)
{
	(void)n;
	return false;
}

static bool every_other(unsigned n)
{
	return n % 2 == 0;
}

static bool two_of_three(unsigned n)
{
	return n % 3 != 0;
}

START_TEST(starts_in_any_minute_are_bounded)
{
	/* 60 seconds see the bucket's burst and what drips in; a row of failures far less: at most
	 * 8 per counted failure until it is open, then one per back-off. */
	static const struct {
		const char *what;
		bool (*fails)(unsigned n);
		uint64_t after_us;
		unsigned most;
	} table[] = {
		{ "always fails, at once", always, 7 * MS, 120 },
		{ "always fails, slowly", always, 3000 * MS, 120 },
		{ "dies after hello", never, 7 * MS, 10 + 60 * 5 },
		{ "every other fails", every_other, 50 * MS, 10 + 60 * 5 },
		{ "two of three fail", two_of_three, 50 * MS, 10 + 60 * 5 },
	};
	struct breaker_config c = {
		.threshold = 5,
		.backoff_base_us = 200 * MS,
		.backoff_max_us = 5 * SECONDS,
		.burst = 10,
		.per_second = 5,
	};
	unsigned most = most_a_minute(&c, table[_i].fails, table[_i].after_us);

	ck_assert_msg(most <= table[_i].most, "%s: %u starts in a minute, at most %u",
		      table[_i].what, most, table[_i].most);
	ck_assert_msg(most >= 10, "%s: only %u starts in a minute", table[_i].what, most);
}
END_TEST

START_TEST(states_have_names)
{
	ck_assert_str_eq(breaker_state_name(BREAKER_CLOSED), "closed");
	ck_assert_str_eq(breaker_state_name(BREAKER_OPEN), "open");
	ck_assert_str_eq(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
}
END_TEST

/* ---- other bounds ---- */

static void configure(struct breaker_config other)
{
	breaker_configure(&b, &other, now_us);
}

START_TEST(a_higher_threshold_closes_the_circuit_and_waits_for_no_probe)
{
	struct breaker_config other = config;

	given_a_breaker();
	for (int i = 0; i < 3; i++) {
		start_fails();
		now_us += 2 * SECONDS;
	}
	starts(); /* the probe */
	ck_assert_int_eq(breaker_state(&b), BREAKER_HALF_OPEN);
	other.threshold = 4;
	configure(other);
	ck_assert_int_eq(breaker_state(&b), BREAKER_CLOSED);
	ck_assert(may_start());
}
END_TEST

START_TEST(a_lower_threshold_opens_the_circuit)
{
	struct breaker_config other = config;

	given_a_breaker();
	start_fails();
	ck_assert_int_eq(breaker_state(&b), BREAKER_CLOSED);
	other.threshold = 1;
	configure(other);
	ck_assert_int_eq(breaker_state(&b), BREAKER_OPEN);
	now_us += 2 * SECONDS;
	starts();
	ck_assert(!may_start());
}
END_TEST

START_TEST(a_back_off_under_way_gets_no_longer_than_it_could_be)
{
	struct breaker_config other = config;

	given_a_breaker();
	for (int i = 0; i < 3; i++) {
		start_fails();
		now_us += 2 * SECONDS;
	}
	start_fails();
	other.backoff_base_us = other.backoff_max_us = 40 * MS;
	configure(other);
	now_us += 50 * MS;
	ck_assert_uint_le(b.not_before_us, now_us);
}
END_TEST

START_TEST(a_smaller_burst_is_in_force_at_once)
{
	struct breaker_config other = config;

	given_a_breaker();
	other.burst = 1;
	configure(other);
	starts();
	ck_assert(!may_start());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("breaker");
	TCase *tc = tcase_create("breaker");

	tcase_add_test(tc, a_burst_starts_at_once_and_then_so_many_a_second);
	tcase_add_loop_test(tc, asking_often_neither_wins_nor_loses_starts, 0, 6);
	tcase_add_test(tc, each_failure_in_a_row_doubles_the_wait);
	tcase_add_test(tc, jitter_adds_at_most_a_quarter);
	tcase_add_test(tc, starts_that_were_under_way_together_fail_once);
	tcase_add_loop_test(tc, after_some_failures_the_circuit_is_open_and_one_start_probes_it, 0,
			    2);
	tcase_add_test(tc, the_bucket_bounds_probes_and_restarts_too);
	tcase_add_test(tc, a_probe_that_fails_counts_even_without_any_back_off);
	tcase_add_test(tc, the_end_of_time_is_no_problem);
	tcase_add_loop_test(tc, starts_in_any_minute_are_bounded, 0, 5);
	tcase_add_test(tc, a_higher_threshold_closes_the_circuit_and_waits_for_no_probe);
	tcase_add_test(tc, a_lower_threshold_opens_the_circuit);
	tcase_add_test(tc, a_back_off_under_way_gets_no_longer_than_it_could_be);
	tcase_add_test(tc, a_smaller_burst_is_in_force_at_once);
	tcase_add_test(tc, states_have_names);
	suite_add_tcase(suite, tc);
	return run(suite);
}
