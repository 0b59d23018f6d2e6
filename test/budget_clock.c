/* budget_clock.c - a clock that goes SLOWER times as slow, to be preloaded into the node by test/budget.sh.
 *
 * Under callgrind the node is some fifty times as slow as it is. What it does by the time that has passed (calls
 * are sent ahead only while workers answer quickly, include/pool.h) it would do otherwise than ever; by this
 * clock it is as fast as without. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLOWER 50
#define NS     1000000000LL

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static long long began;
	long long ns;

	if (syscall(SYS_clock_gettime, clock, now) != 0)
		return -1;
	if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
		return 0;
	ns = (long long)now->tv_sec * NS + now->tv_nsec;
	if (began == 0)
		began = ns;
	ns = began + (ns - began) / SLOWER;
	now->tv_sec = ns / NS;
	now->tv_nsec = ns % NS;
	return 0;
}
