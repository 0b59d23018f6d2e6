/* breaker.c - bounds how often workers are started, whatever happens; see breaker.h. */
#include "breaker.h"

#include <assert.h>

#define MILLI     1000 /* parts of a start that the bucket counts in */
#define SECOND_US 1000000

static uint64_t add_us(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* per_second starts a second are per_second thousandths a millisecond. Only the time that became whole
 * thousandths is taken (rounded up), so nothing is lost or won by asking often. */
static void refill(struct breaker *b, uint64_t now_us)
{
	uint64_t full = (uint64_t)b->config.burst * MILLI;
	uint64_t rate = b->config.per_second, passed = now_us - b->refilled_us, won;

	if (passed / MILLI >= full / rate + 1 || b->tokens_milli + passed * rate / MILLI >= full) {
		b->tokens_milli = full;
		b->refilled_us = now_us;
		return;
	}
	won = passed * rate / MILLI;
	b->tokens_milli += won;
	b->refilled_us += (won * MILLI + rate - 1) / rate;
}

/* 2^n times the base, at most the maximum. */
static uint64_t backoff(const struct breaker_config *c, unsigned n)
{
	uint64_t wait = c->backoff_base_us;

	while (n-- > 0 && wait < c->backoff_max_us)
		wait = wait > c->backoff_max_us / 2 ? c->backoff_max_us : wait * 2;
	return wait < c->backoff_max_us ? wait : c->backoff_max_us;
}

void breaker_init(struct breaker *b, const struct breaker_config *config, uint64_t now_us)
{
	assert(config->threshold > 0 && config->burst > 0 && config->per_second > 0);
	*b = (struct breaker){
		.config = *config,
		.tokens_milli = (uint64_t)config->burst * MILLI,
		.refilled_us = now_us,
	};
}

bool breaker_may_start(struct breaker *b, uint64_t now_us, uint64_t *when_us)
{
	uint64_t when = b->not_before_us;

	if (b->probing) {
		*when_us = UINT64_MAX;
		return false;
	}
	refill(b, now_us);
	if (b->tokens_milli < MILLI) {
		uint64_t rate = b->config.per_second, lack = MILLI - b->tokens_milli;
		uint64_t token = add_us(b->refilled_us, (lack * MILLI + rate - 1) / rate);

		when = token > when ? token : when;
	}
	*when_us = when > now_us ? when : now_us;
	return when <= now_us;
}

void breaker_start(struct breaker *b, uint64_t now_us)
{
	refill(b, now_us);
	assert(!b->probing && b->tokens_milli >= MILLI && now_us >= b->not_before_us);
	b->tokens_milli -= MILLI;
	b->probing = b->failures >= b->config.threshold;
}

void breaker_ok(struct breaker *b)
{
	b->failures = 0;
	b->not_before_us = 0;
	b->probing = false;
}

void breaker_failed(struct breaker *b, uint64_t started_us, uint64_t now_us, uint64_t random)
{
	uint64_t wait;

	if (b->last_failure_us != 0 && started_us <= b->last_failure_us)
		return; /* it was under way when another failed: the same trouble */
	wait = backoff(&b->config, b->failures);
	if (wait == 0)
		wait = 1; /* the next start must begin after this failure, or its own would not count */
	b->failures++;
	b->last_failure_us = now_us;
	b->not_before_us = add_us(add_us(now_us, wait), random % (wait / 4 + 1));
	b->probing = false;
}

void breaker_cancelled(struct breaker *b, uint64_t started_us)
{
	if (started_us > b->last_failure_us) /* a probe begins after the failure that it is about */
		b->probing = false;
}

void breaker_hurry(struct breaker *b)
{
	b->not_before_us = 0;
}

void breaker_configure(struct breaker *b, const struct breaker_config *config, uint64_t now_us)
{
	uint64_t full = (uint64_t)config->burst * MILLI, most;

	assert(config->threshold > 0 && config->burst > 0 && config->per_second > 0);
	refill(b, now_us);
	b->config = *config;
	if (b->tokens_milli > full)
		b->tokens_milli = full;
	most = add_us(now_us, add_us(config->backoff_max_us, config->backoff_max_us / 4));
	if (b->not_before_us > most)
		b->not_before_us = most;
	if (b->failures < config->threshold)
		b->probing = false;
}

enum breaker_state breaker_state(const struct breaker *b)
{
	if (b->failures < b->config.threshold)
		return BREAKER_CLOSED;
	return b->probing ? BREAKER_HALF_OPEN : BREAKER_OPEN;
}

const char *breaker_state_name(enum breaker_state state)
{
	static const char *const names[] = { "closed", "open", "half_open" };

	assert((unsigned)state < sizeof names / sizeof *names);
	return names[state];
}
