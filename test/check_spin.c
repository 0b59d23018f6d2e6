/* check_spin.c - looking again before sleeping: for how long, and when not. */
#include "spin.h"
#include "suite.h"

#include <check.h>

#define WINDOW 100

static struct spin spin;
static uint64_t now;

static void given_window(uint64_t window_us)
{
	now = 1000;
	spin_init(&spin, window_us);
}

/* Something happens, and it is looked every `step` until it comes after `wait`, or until sleep; whether it
 * was seen in time. */
static bool wait_for(uint64_t wait, uint64_t step)
{
	uint64_t until = now + wait;
	bool in_time = true;

	spin_event(&spin, now);
	while (in_time && now < until)
		if ((in_time = spin_again(&spin, now)))
			now += step;
	now = until;
	return in_time;
}

START_TEST(what_comes_in_its_window_is_waited_for)
{
	given_window(WINDOW);
	for (unsigned i = 0; i < 10; i++)
		ck_assert(wait_for(WINDOW - 10, 1));
}
END_TEST

START_TEST(nothing_is_waited_for_beyond_the_window)
{
	uint64_t looks = 0;

	given_window(WINDOW);
	spin_event(&spin, now);
	while (spin_again(&spin, now + looks))
		looks++;
	ck_assert_uint_eq(looks, WINDOW);
	ck_assert(!spin_again(&spin, now + looks));
}
END_TEST

START_TEST(nothing_is_waited_for_before_something_has_happened)
{
	given_window(WINDOW);
	ck_assert(!spin_again(&spin, now));
}
END_TEST

START_TEST(without_a_window_it_sleeps_at_once)
{
	given_window(0);
	spin_event(&spin, now);
	ck_assert(!spin_again(&spin, now));
}
END_TEST

/* Of 10,000 events whose next comes late, 1, 2, 4, ... are passed over, then always SPIN_SKIP_MAX. */
START_TEST(who_is_always_late_is_hardly_ever_waited_for)
{
	unsigned windows = 0;

	given_window(WINDOW);
	for (unsigned i = 0; i < 10000; i++) {
		spin_event(&spin, now);
		windows += spin_again(&spin, now);
		while (spin_again(&spin, now))
			now++;
		now += WINDOW;
	}
	ck_assert_uint_ge(windows, 11 + (10000 - 2048) / (SPIN_SKIP_MAX + 1));
	ck_assert_uint_le(windows, 12 + (10000 - 2048) / (SPIN_SKIP_MAX + 1));
}
END_TEST

START_TEST(who_comes_in_time_again_is_waited_for_again)
{
	given_window(WINDOW);
	ck_assert(!wait_for(2 * WINDOW, 1)); /* late: one is passed over */
	ck_assert(!wait_for(10, 1));
	ck_assert(wait_for(10, 1));
	ck_assert(wait_for(10, 1));
	ck_assert(!wait_for(2 * WINDOW, 1)); /* late: one, not two */
	ck_assert(!wait_for(10, 1));
	ck_assert(wait_for(10, 1));
}
END_TEST

START_TEST(who_is_taken_the_processor_from_gives_it_up)
{
	unsigned passed = 0;

	given_window(10 * WINDOW);
	ck_assert(!wait_for(5 * WINDOW, SPIN_STALL_US + 1));
	while (!wait_for(10, 1))
		passed++;
	ck_assert_uint_eq(passed, SPIN_SKIP_MAX);
}
END_TEST

START_TEST(a_window_that_is_stopped_is_over_and_no_miss)
{
	given_window(WINDOW);
	spin_event(&spin, now);
	ck_assert(spin_again(&spin, now));
	spin_stop(&spin);
	ck_assert(!spin_again(&spin, now));
	ck_assert(wait_for(10, 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spin");
	TCase *tc = tcase_create("spin");

	tcase_add_test(tc, what_comes_in_its_window_is_waited_for);
	tcase_add_test(tc, nothing_is_waited_for_beyond_the_window);
	tcase_add_test(tc, nothing_is_waited_for_before_something_has_happened);
	tcase_add_test(tc, without_a_window_it_sleeps_at_once);
	tcase_add_test(tc, who_is_always_late_is_hardly_ever_waited_for);
	tcase_add_test(tc, who_comes_in_time_again_is_waited_for_again);
	tcase_add_test(tc, who_is_taken_the_processor_from_gives_it_up);
	tcase_add_test(tc, a_window_that_is_stopped_is_over_and_no_miss);
	suite_add_tcase(suite, tc);
	return run(suite);
}
