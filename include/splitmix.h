/* splitmix.h - random numbers from a seed: splitmix64. Pure.
 *
 * G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", 2014. For what must
 * be spread, not for what must not be guessed. */
#ifndef KRAIT_SPLITMIX_H
#define KRAIT_SPLITMIX_H

#include <stdint.h>

#define SPLITMIX_STEP UINT64_C(0x9e3779b97f4a7c15)

/* The number at the place `x` of the sequence, places being multiples of SPLITMIX_STEP. */
static inline uint64_t splitmix_at(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The next one; *state is any 64 bits at first. */
static inline uint64_t splitmix_next(uint64_t *state)
{
	return splitmix_at(*state += SPLITMIX_STEP);
}

#endif
