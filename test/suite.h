/* suite.h - the end of every main() of the Check suites: runs what was put together, frees it, and says how it
 * went. */
#ifndef KRAIT_TEST_SUITE_H
#define KRAIT_TEST_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs the suite and frees it; the exit status of main(). CK_VERBOSITY says how much is printed. */
static inline int run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
