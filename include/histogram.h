/* histogram.h - a latency histogram of fixed size. Pure, no allocation.
 *
 * Log-linear buckets: 8 per power of two, so a percentile is at most 12.5 % above the truth; values from
 * 0 to 2^40 (microseconds: 12 days), larger ones count in the last bucket; `max` is exact. */
#ifndef KRAIT_HISTOGRAM_H
#define KRAIT_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (8 * 39)

struct histogram {
	uint64_t count, sum, max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* Counts one value. */
void histogram_add(struct histogram *h, uint64_t value);

/* The smallest bucket bound that at least `per_mille` thousandths of the values do not exceed, never
 * above `max`; 0 when there are none. */
uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille);

/* How many values are less than 2^exponent, exactly; `exponent` from 3 to 40. */
uint64_t histogram_below(const struct histogram *h, unsigned exponent);

#endif
