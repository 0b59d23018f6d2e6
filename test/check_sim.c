/* check_sim.c - the simulation (c_src/tools/sim.h) may be believed: where theory knows the answer it finds that,
 * its books balance at every step, and the same seed gives the same run. */
#include "../c_src/tools/sim.h"
#include "quick.h"
#include "suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 8
#define TIMES   10

static const struct sim_service exponential = { .name = "exponential", .mean_us = 50000 };

static struct sim_plan given_plan(double load)
{
	return (struct sim_plan){
		.seed = 1,
		.workers = WORKERS,
		.service = &exponential,
		.load = load,
		.share = { 0.2, 0.5, 0.3 },
		.peers = 1,
		.queue_limit = 1000000,
		.queue_timeout_us = POOL_NEVER,
		.call_timeout_us = POOL_NEVER,
		.start_us = 5000,
		.calls = quick() ? 2000 : 30000,
		.warm_up = quick() ? 500 : 6000,
	};
}

/* ---- theory ---- */

/* The share of calls that wait longer than so many microseconds. */
static double waits_longer(const struct sim_result *r, uint64_t us)
{
	const struct sim_values *wait = &r->class[SIM_ALL].wait;
	size_t longer = 0;

	for (size_t i = 0; i < wait->count; i++)
		longer += wait->us[i] > us;
	return (double)longer / (double)wait->count;
}

static double must_wait(const struct sim_result *r)
{
	return waits_longer(r, 0);
}

/* Half a service time. */
static double waits_long(const struct sim_result *r)
{
	return waits_longer(r, 25000);
}

static double mean_wait(const struct sim_result *r)
{
	return sim_mean(&r->class[SIM_ALL].wait) / exponential.mean_us;
}

static double wait_high(const struct sim_result *r)
{
	return sim_mean(&r->class[PRIORITY_HIGH].wait) / exponential.mean_us;
}

static double wait_low(const struct sim_result *r)
{
	return sim_mean(&r->class[PRIORITY_LOW].wait) / exponential.mean_us;
}

static double refused(const struct sim_result *r)
{
	const struct sim_class *all = &r->class[SIM_ALL];

	return (double)all->outcome[OUTCOME_OVERLOADED] / (double)all->arrived;
}

static double gave_up(const struct sim_result *r)
{
	const struct sim_class *all = &r->class[SIM_ALL];

	return (double)all->outcome[OUTCOME_TIMEOUT_QUEUE] / (double)all->arrived;
}

static double one_in_line(const struct sim_result *r)
{
	return sim_mean(&r->class[PRIORITY_LOW].wait) / sim_mean(&r->class[PRIORITY_HIGH].wait);
}

/* The mean of TIMES runs is within four of its standard errors of what the formula says, and that error is
 * small enough for this to mean something. */
static void then_near(struct sim_plan plan, double (*measure)(const struct sim_result *),
		      double expected, double error_most, const char *what)
{
	double sum = 0, squares = 0, mean, error;

	for (plan.seed = 1; plan.seed <= TIMES; plan.seed++) {
		struct sim_result r;
		double x;

		sim_run(&plan, &r);
		x = measure(&r);
		sum += x;
		squares += x * x;
		sim_result_free(&r);
	}
	mean = sum / TIMES;
	error = sqrt(fmax(squares / TIMES - mean * mean, 0) / (TIMES - 1));
	ck_assert_msg(fabs(mean - expected) <= 4 * error + 1e-5,
		      "%s at %.2f: simulated %.5f with a standard error of %.5f, theory says %.5f",
		      what, plan.load, mean, error, expected);
	ck_assert_msg(quick() || error <= error_most * expected,
		      "%s at %.2f: a standard error of %.5f is too large to tell", what, plan.load,
		      error);
}

static const double loads[] = { 0.5, 0.8, 0.95 };

START_TEST(without_limits_calls_wait_as_erlang_c_says)
{
	struct sim_plan plan = given_plan(loads[_i]);

	plan.one_line = true;
	then_near(plan, must_wait, theory_must_wait(WORKERS, plan.load), 0.03, "must wait");
	then_near(plan, mean_wait, theory_mean_wait(WORKERS, plan.load), 0.15, "mean wait");
	then_near(plan, waits_long, theory_waits_longer(WORKERS, plan.load, 0.5), 0.08,
		  "waits long");
}
END_TEST

START_TEST(a_single_worker_is_erlang_c_too)
{
	struct sim_plan plan = given_plan(0.8);

	plan.workers = 1;
	then_near(plan, must_wait, 0.8, 0.03, "one worker");
}
END_TEST

START_TEST(priorities_wait_as_cobham_says)
{
	struct sim_plan plan = given_plan(loads[_i]);
	double load = plan.load;

	then_near(plan, wait_high, theory_priority_wait(WORKERS, load, 0, 0.2 * load), 0.05,
		  "high");
	then_near(plan, wait_low, theory_priority_wait(WORKERS, load, 0.7 * load, load), 0.15,
		  "low");
}
END_TEST

START_TEST(in_one_line_all_priorities_wait_alike)
{
	struct sim_plan plan = given_plan(0.8);

	plan.one_line = true;
	then_near(plan, one_in_line, 1, 0.05, "low over high");
}
END_TEST

START_TEST(a_full_queue_refuses_as_often_as_theory_says)
{
	static const double all[] = { 0.8, 0.95, 1.2 };
	struct sim_plan plan = given_plan(all[_i]);

	plan.queue_limit = 16;
	then_near(plan, refused, theory_refused(WORKERS, plan.load, 16), 0.15, "refused");
}
END_TEST

START_TEST(callers_give_up_as_often_as_theory_says)
{
	static const double all[] = { 0.5, 0.8, 0.95, 1.2 };
	struct sim_plan plan = given_plan(all[_i]);

	plan.one_line = true;
	plan.queue_timeout_us = 25000;
	then_near(plan, gave_up, theory_gives_up(WORKERS, plan.load, 0.5), 0.08, "gave up");
}
END_TEST

START_TEST(formulas_know_what_textbooks_print)
{
	/* Erlang C of one server is its load; Gross and Harris' M/M/3 at 2/3: 0.444; M/M/1 waits
	 * load / (1 - load) service times. M/M/1/2 at load 1: a third of all is refused. */
	ck_assert_double_eq_tol(theory_must_wait(1, 0.7), 0.7, 1e-9);
	ck_assert_double_eq_tol(theory_must_wait(3, 2.0 / 3), 4.0 / 9, 1e-9);
	ck_assert_double_eq_tol(theory_mean_wait(1, 0.8), 4, 1e-9);
	ck_assert_double_eq_tol(theory_refused(1, 1, 1), 1.0 / 3, 1e-9);
	ck_assert_double_eq_tol(theory_refused(3, 0.5, 0), 0.1343283582, 1e-9);
	/* who waits not at all is refused where all are busy: Erlang B */
	ck_assert_double_eq_tol(theory_gives_up(3, 0.5, 0), 0.1343283582, 1e-9);
	/* and whoever waits for ever is served if the load allows it */
	ck_assert_double_eq_tol(theory_gives_up(3, 0.5, 50), 0, 1e-9);
	ck_assert_double_eq_tol(theory_gives_up(3, 1.5, 50), 1.0 / 3, 1e-9);
}
END_TEST

/* ---- books ---- */

/* Everything at once: bursts, more load than can be served, a full queue, impatient callers, time-outs. */
static struct sim_plan given_trouble(double load)
{
	struct sim_plan plan = given_plan(load);

	plan.calls = quick() ? 2000 : 6000;
	plan.warm_up = 100;
	plan.peers = 3;
	plan.burst_us = 2000000;
	plan.queue_limit = 14;
	plan.queue_timeout_us = 150000;
	plan.call_timeout_us = 250000;
	plan.patience_us = 400000;
	return plan;
}

START_TEST(the_books_balance_at_every_step)
{
	static const double all[] = { 0.5, 0.8, 0.95, 1.2 };
	struct sim_plan plan = given_trouble(all[_i]);
	const struct sim_class *class;
	struct sim_result r;
	uint64_t ended = 0;

	plan.checked = true;
	sim_run(&plan, &r);
	ck_assert_uint_gt(r.steps, plan.calls);
	ck_assert_uint_eq(r.unsound, 0);
	class = &r.class[SIM_ALL];
	ck_assert_uint_eq(class->arrived, plan.calls - plan.warm_up);
	for (int i = 0; i < OUTCOMES; i++)
		ended += class->outcome[i];
	ck_assert_uint_eq(ended, class->arrived);
	/* it was as bad as was planned */
	ck_assert_uint_gt(class->outcome[OUTCOME_ABANDONED], 0);
	ck_assert_uint_gt(class->outcome[OUTCOME_TIMEOUT_QUEUE], 0);
	ck_assert_uint_gt(class->outcome[OUTCOME_TIMEOUT_CALL], 0);
	ck_assert_uint_gt(class->outcome[OUTCOME_OVERLOADED], 0);
	ck_assert_uint_gt(r.starts, WORKERS);
	ck_assert_uint_eq(class->total.count, class->outcome[OUTCOME_OK]);
	ck_assert(r.goodput < r.busy && r.busy <= 1);
	sim_result_free(&r);
}
END_TEST

static const struct sim_service brief = { .name = "brief", .mean_us = 300 };

/* The same trouble for calls that are short enough to be sent ahead. */
static struct sim_plan given_trouble_ahead(double load)
{
	struct sim_plan plan = given_trouble(load);

	plan.service = &brief;
	plan.ahead = 8;
	plan.burst_us = 12000;
	plan.queue_limit = 60;
	plan.queue_timeout_us = 1500;
	plan.call_timeout_us = 2500;
	plan.patience_us = 20000;
	return plan;
}

START_TEST(the_books_balance_when_requests_are_sent_ahead)
{
	static const double all[] = { 0.8, 0.95, 1.2 };
	struct sim_plan plan = given_trouble_ahead(all[_i]);
	struct sim_result r, same;

	plan.checked = true;
	sim_run(&plan, &r);
	ck_assert_uint_eq(r.unsound, 0);
	ck_assert_uint_gt(r.ahead, plan.calls / 20);
	ck_assert_uint_gt(r.recalled, 0);
	ck_assert_uint_gt(r.class[SIM_ALL].outcome[OUTCOME_ABANDONED], 0);
	ck_assert_uint_gt(r.class[SIM_ALL].outcome[OUTCOME_TIMEOUT_QUEUE], 0);
	ck_assert_uint_gt(r.class[SIM_ALL].outcome[OUTCOME_TIMEOUT_CALL], 0);
	plan.checked = false;
	sim_run(&plan, &same);
	ck_assert_uint_eq(r.digest, same.digest);
	sim_result_free(&r);
	sim_result_free(&same);
}
END_TEST

START_TEST(the_classes_add_up_to_all)
{
	struct sim_plan plan = given_trouble(1.2);
	struct sim_result r;

	sim_run(&plan, &r);
	for (int i = 0; i < OUTCOMES; i++) {
		uint64_t sum = 0;

		for (int k = 0; k < PRIORITIES; k++)
			sum += r.class[k].outcome[i];
		ck_assert_uint_eq(sum, r.class[SIM_ALL].outcome[i]);
	}
	sim_result_free(&r);
}
END_TEST

START_TEST(bursts_bring_the_same_load)
{
	struct sim_plan plan = given_plan(0.5);
	struct sim_result r;

	plan.calls = quick() ? 10000 : 200000;
	plan.burst_us = 400000;
	sim_run(&plan, &r);
	ck_assert_double_eq_tol(r.busy, 0.5, quick() ? 0.05 : 0.01);
	ck_assert_double_eq_tol(r.goodput, r.busy, 1e-3);
	sim_result_free(&r);
}
END_TEST

START_TEST(work_before_and_after_the_counted_arrivals_is_not_counted)
{
	struct sim_plan plan = given_plan(2);
	struct sim_result r;

	/* half of it is done when all have arrived */
	plan.calls = 4000;
	plan.warm_up = 500;
	sim_run(&plan, &r);
	ck_assert_double_eq_tol(r.busy, 1, 0.01);
	ck_assert_double_eq_tol(r.goodput, 1, 0.01);
	sim_result_free(&r);
}
END_TEST

/* ---- the same again ---- */

START_TEST(the_same_seed_gives_the_same_run)
{
	struct sim_plan plan = given_trouble(0.95);
	struct sim_result one, same, other;

	sim_run(&plan, &one);
	sim_run(&plan, &same);
	plan.seed++;
	sim_run(&plan, &other);
	ck_assert_uint_eq(one.digest, same.digest);
	ck_assert_uint_eq(one.steps, same.steps);
	ck_assert_double_eq(one.busy, same.busy);
	ck_assert_uint_eq(one.class[SIM_ALL].wait.count, same.class[SIM_ALL].wait.count);
	ck_assert_mem_eq(one.class[SIM_ALL].wait.us, same.class[SIM_ALL].wait.us,
			 one.class[SIM_ALL].wait.count * sizeof(uint32_t));
	ck_assert_uint_ne(one.digest, other.digest);
	sim_result_free(&one);
	sim_result_free(&same);
	sim_result_free(&other);
}
END_TEST

START_TEST(other_rules_meet_the_same_requests)
{
	struct sim_plan plan = given_plan(0.8);
	struct sim_result one, other;

	sim_run(&plan, &one);
	plan.queue_limit = 4;
	plan.one_line = true;
	sim_run(&plan, &other);
	for (int i = 0; i <= SIM_ALL; i++)
		ck_assert_uint_eq(one.class[i].arrived, other.class[i].arrived);
	ck_assert_double_eq(one.window_s, other.window_s);
	sim_result_free(&one);
	sim_result_free(&other);
}
END_TEST

/* ---- what it reads ---- */

static int read_text(const char *text, struct sim_service *services)
{
	char path[] = "/tmp/krait_sim_XXXXXX";
	int fd = mkstemp(path), count;
	FILE *file = fdopen(fd, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
	count = sim_services_read(path, services, 2);
	remove(path);
	return count;
}

START_TEST(recorded_times_are_drawn_with_equal_chance)
{
	struct sim_service services[2];
	struct sim_random random;
	double sum = 0;

	ck_assert_int_eq(read_text("# a comment\nshort 1 2 3\n\nlong 1000 3000\n", services), 2);
	ck_assert_str_eq(services[1].name, "long");
	ck_assert_double_eq(services[1].mean_us, 2000);
	sim_random_seed(&random, 1, 1);
	for (int i = 0; i < 10000; i++)
		sum += (double)sim_service_draw(&services[1], &random);
	ck_assert_double_eq_tol(sum / 10000, 2000, 50);
	sim_services_free(services, 2);
}
END_TEST

START_TEST(what_is_no_list_of_times_is_refused)
{
	static const char *const texts[] = {
		"name\n",    "name 1 x 2\n",    "name 0\n",
		"name -1\n", "a 1\nb 1\nc 1\n", "a_name_that_is_longer_than_thirty_one_bytes 1\n",
	};
	struct sim_service services[2];

	freopen("/dev/null", "w", stderr);
	ck_assert_int_eq(read_text(texts[_i], services), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("simulation");
	TCase *tc = tcase_create("theory");

	tcase_add_test(tc, formulas_know_what_textbooks_print);
	tcase_add_loop_test(tc, without_limits_calls_wait_as_erlang_c_says, 0, 3);
	tcase_add_test(tc, a_single_worker_is_erlang_c_too);
	tcase_add_loop_test(tc, priorities_wait_as_cobham_says, 0, 3);
	tcase_add_test(tc, in_one_line_all_priorities_wait_alike);
	tcase_add_loop_test(tc, a_full_queue_refuses_as_often_as_theory_says, 0, 3);
	tcase_add_loop_test(tc, callers_give_up_as_often_as_theory_says, 0, 4);
	suite_add_tcase(suite, tc);
	tc = tcase_create("books");
	tcase_add_loop_test(tc, the_books_balance_at_every_step, 0, 4);
	tcase_add_loop_test(tc, the_books_balance_when_requests_are_sent_ahead, 0, 3);
	tcase_add_test(tc, the_classes_add_up_to_all);
	tcase_add_test(tc, bursts_bring_the_same_load);
	tcase_add_test(tc, work_before_and_after_the_counted_arrivals_is_not_counted);
	tcase_add_test(tc, the_same_seed_gives_the_same_run);
	tcase_add_test(tc, other_rules_meet_the_same_requests);
	tcase_add_test(tc, recorded_times_are_drawn_with_equal_chance);
	tcase_add_loop_test(tc, what_is_no_list_of_times_is_refused, 0, 6);
	suite_add_tcase(suite, tc);
	return run(suite);
}
