/* check_children.c - who waits for which child of the node. */
#include "../include/children.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static int mine; /* the pid that is known */

static bool known(void *arg, int pid)
{
	ck_assert_ptr_eq(arg, &mine);
	return pid == mine;
}

/* A child that has ended and that nobody has waited for. */
static int given_a_zombie(void)
{
	siginfo_t info;
	int pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(7);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	return pid;
}

static bool is_zombie(int pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == pid;
}

static int when_others_are_reaped(void)
{
	return children_reap_others(known, &mine);
}

START_TEST(strangers_are_waited_for)
{
	int first = given_a_zombie(), second = given_a_zombie();

	ck_assert_int_eq(when_others_are_reaped(), 0);
	ck_assert(!is_zombie(first) && !is_zombie(second));
}
END_TEST

START_TEST(one_that_is_known_keeps_its_status_for_who_knows_it)
{
	int stranger = given_a_zombie(), status;

	mine = given_a_zombie();
	ck_assert_int_eq(when_others_are_reaped(), mine);
	ck_assert_int_eq(when_others_are_reaped(), mine);
	ck_assert(!is_zombie(stranger));
	ck_assert_int_eq(waitpid(mine, &status, 0), mine);
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	ck_assert_int_eq(when_others_are_reaped(), 0);
}
END_TEST

START_TEST(what_libuv_waits_for_is_left_to_it)
{
	int handle = given_a_zombie();

	children_add(handle);
	ck_assert_int_eq(when_others_are_reaped(), 0);
	ck_assert(is_zombie(handle));
	children_remove(handle);
	ck_assert_int_eq(when_others_are_reaped(), 0);
	ck_assert(!is_zombie(handle));
}
END_TEST

START_TEST(who_lives_is_not_waited_for)
{
	int pipes[2], pid;

	ck_assert_int_eq(pipe(pipes), 0);
	if ((pid = fork()) == 0) {
		char byte;

		close(pipes[1]);
		(void)!read(pipes[0], &byte, 1);
		_exit(0);
	}
	ck_assert_int_eq(when_others_are_reaped(), 0);
	close(pipes[1]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(pipes[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("children");
	TCase *tc = tcase_create("children");

	tcase_add_test(tc, strangers_are_waited_for);
	tcase_add_test(tc, one_that_is_known_keeps_its_status_for_who_knows_it);
	tcase_add_test(tc, what_libuv_waits_for_is_left_to_it);
	tcase_add_test(tc, who_lives_is_not_waited_for);
	suite_add_tcase(suite, tc);
	return run(suite);
}
