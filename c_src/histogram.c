/* histogram.c - a latency histogram of fixed size; see histogram.h.
 *
 *     value       0 .. 15   16 .. 31   32 .. 63   ...   2^40 .. 2^41 - 1 and all above
 *     bucket      0 .. 15   16 .. 23   24 .. 31   ...   304 .. 311
 *     its width   1         2          4          ...   2^37 */
#include "histogram.h"

#include <assert.h>

#define SUB  8 /* buckets per power of two */
#define LAST (HISTOGRAM_BUCKETS - 1)

static unsigned bucket_of(uint64_t value)
{
	unsigned exponent = 3, bucket;

	if (value < SUB)
		return (unsigned)value;
	exponent = 63 - (unsigned)__builtin_clzll(value);
	bucket = SUB * (exponent - 2) + (unsigned)(value >> (exponent - 3) & (SUB - 1));
	return bucket < LAST ? bucket : LAST;
}

/* The largest value that the bucket holds. */
static uint64_t bound_of(unsigned bucket)
{
	if (bucket < SUB)
		return bucket;
	return ((uint64_t)(SUB + bucket % SUB + 1) << (bucket / SUB - 1)) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->bucket[bucket_of(value)]++;
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille)
{
	uint64_t total = 0, rank, seen = 0;
	unsigned i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += h->bucket[i];
	rank = (total * (per_mille < 1000 ? per_mille : 1000) + 999) / 1000;
	for (i = 0; i < LAST; i++) {
		seen += h->bucket[i];
		if (seen >= rank && seen > 0)
			return bound_of(i) < h->max ? bound_of(i) : h->max;
	}
	return h->max;
}

uint64_t histogram_below(const struct histogram *h, unsigned exponent)
{
	unsigned end = SUB * (exponent - 2); /* the bucket that begins with 2^exponent */
	uint64_t count = 0;

	assert(exponent >= 3 && end <= LAST);
	for (unsigned i = 0; i < end; i++)
		count += h->bucket[i];
	return count;
}
