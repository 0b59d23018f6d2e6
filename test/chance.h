/* chance.h - random numbers of the tests that play a world by chance: xorshift64*, one sequence for a process. */
#ifndef KRAIT_TEST_CHANCE_H
#define KRAIT_TEST_CHANCE_H

#include <stdint.h>

static uint64_t chance_state; /* set before the first number, not to 0 */

static inline uint64_t any(void)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return chance_state * UINT64_C(0x2545f4914f6cdd1d);
}

/* 0 .. n - 1 */
static inline uint64_t below(uint64_t n)
{
	return (any() >> 11) % n;
}

#endif
