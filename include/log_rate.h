/* log_rate.h - how many lines may pass in a second. Pure. */
#ifndef KRAIT_LOG_RATE_H
#define KRAIT_LOG_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* All zeroes to begin with. */
struct log_rate {
	uint64_t since_us; /* when the second began; 0: never */
	unsigned passed;   /* within it */
	uint64_t dropped;  /* and not told of yet */
};

/* Whether one more line may pass: at most `per_second` in a second, which begins with the first line after
 * the one before. Else it is counted as dropped. */
bool log_rate_admit(struct log_rate *r, unsigned per_second, uint64_t now_us);

/* How many were dropped, to be told now that the second in which they were is over; 0 before that. They
 * are forgotten. */
uint64_t log_rate_take(struct log_rate *r, uint64_t now_us);

#endif
