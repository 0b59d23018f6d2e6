/* log_rate.c - how many lines may pass in a second; see log_rate.h. */
#include "log_rate.h"

#define SECOND_US UINT64_C(1000000)

static bool is_over(const struct log_rate *r, uint64_t now_us)
{
	return r->since_us == 0 || now_us - r->since_us >= SECOND_US;
}

bool log_rate_admit(struct log_rate *r, unsigned per_second, uint64_t now_us)
{
	if (is_over(r, now_us)) {
		r->since_us = now_us;
		r->passed = 0;
	}
	if (r->passed < per_second) {
		r->passed++;
		return true;
	}
	r->dropped++;
	return false;
}

uint64_t log_rate_take(struct log_rate *r, uint64_t now_us)
{
	uint64_t dropped = r->dropped;

	if (dropped == 0 || !is_over(r, now_us))
		return 0;
	r->dropped = 0;
	return dropped;
}
