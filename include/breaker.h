/* breaker.h - bounds how often workers are started, whatever happens. Pure.
 *
 * Two bounds. A token bucket limits all starts: `burst` at once, `per_second` sustained. And failed
 * starts back off: after the n-th failure in a row no start before base * 2^(n-1) (at most `max`),
 * plus up to a quarter of that as jitter. After `threshold` failures in a row the circuit is open: one
 * probe at a time, at the back-off's pace; a success closes it.
 *
 * Starts that were under way together and fail together are one failure: only the failure of a start
 * that began after the last counted failure counts. Times are microseconds. */
#ifndef KRAIT_BREAKER_H
#define KRAIT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_config {
	unsigned threshold;       /* failures in a row that open the circuit */
	uint64_t backoff_base_us; /* wait after the first failure */
	uint64_t backoff_max_us;
	unsigned burst;      /* starts at once */
	unsigned per_second; /* starts sustained */
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
	struct breaker_config config;
	unsigned failures;        /* in a row, counted as above */
	uint64_t last_failure_us; /* 0: none */
	uint64_t not_before_us;   /* the back-off */
	uint64_t tokens_milli;    /* thousandths of a start */
	uint64_t refilled_us;
	bool probing; /* half open: one start is under way */
};

void breaker_init(struct breaker *b, const struct breaker_config *config, uint64_t now_us);

/* Whether a start may happen now. If not, *when_us is the earliest time to ask again (POOL_NEVER-like
 * UINT64_MAX while a half-open probe is under way). */
bool breaker_may_start(struct breaker *b, uint64_t now_us, uint64_t *when_us);

/* A start happens now; only after breaker_may_start() said so. */
void breaker_start(struct breaker *b, uint64_t now_us);

/* The start that began at `started_us` succeeded: the circuit closes. */
void breaker_ok(struct breaker *b);

/* The start that began at `started_us` failed. `random`: any 64 bits, for the jitter. */
void breaker_failed(struct breaker *b, uint64_t started_us, uint64_t now_us, uint64_t random);

enum breaker_state breaker_state(const struct breaker *b);
/* A start was given up by wish: it was neither a success nor a failure. */
void breaker_cancelled(struct breaker *b, uint64_t started_us);
/* What the starts failed for may have been mended: the next one need not wait. */
void breaker_hurry(struct breaker *b);
/* Other bounds, from now on; a back-off that is under way gets no longer than it could be by them. */
void breaker_configure(struct breaker *b, const struct breaker_config *config, uint64_t now_us);
const char *breaker_state_name(enum breaker_state state); /* closed, open, half_open */

#endif
