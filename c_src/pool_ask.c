/* pool_ask.c - the questions that the pool answers; they change nothing. */
#include "pool_private.h"

#include <assert.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static uint64_t earlier(const struct heap *h, uint64_t at)
{
	const struct heap_node *first = heap_min(h);

	return first != NULL && first->key < at ? first->key : at;
}

uint64_t pool_next_tick(const struct pool *p)
{
	uint64_t at = p->start_at_us;

	at = earlier(&p->waits, at);
	at = earlier(&p->runs, at);
	at = earlier(&p->patiences, at);
	at = earlier(&p->graces, at);
	at = earlier(&p->timers, at);
	at = earlier(&p->ttls, at);
	at = earlier(&p->ages, at);
	at = earlier(&p->healths, at);
	at = range_grows_at(p) < at ? range_grows_at(p) : at;
	at = range_shrinks_at(p) < at ? range_shrinks_at(p) : at;
	if (!list_empty(&p->trials)) {
		uint64_t end = list_entry(p->trials.next, struct pool_worker, trial)->ready_us +
			       EARLY_DEATH_US;

		at = end < at ? end : at;
	}
	return at;
}

void pool_count_refused(struct pool *p)
{
	p->totals.received++;
	p->totals.outcome[OUTCOME_REFUSED]++;
}

const struct pool_config *pool_config(const struct pool *p)
{
	return &p->config;
}

const struct pool_totals *pool_totals(const struct pool *p)
{
	return &p->totals;
}

unsigned pool_size(const struct pool *p)
{
	return p->size;
}

unsigned pool_size_max(const struct pool *p)
{
	return range_max(p);
}

unsigned pool_count(const struct pool *p, enum worker_state state)
{
	return p->count[state];
}

unsigned pool_ready(const struct pool *p)
{
	return p->serving;
}

unsigned pool_queued(const struct pool *p)
{
	return p->queued;
}

unsigned pool_running(const struct pool *p)
{
	return p->running;
}

unsigned pool_leases(const struct pool *p)
{
	return p->lease_count;
}

bool pool_paused(const struct pool *p)
{
	return p->paused;
}

unsigned pool_recycling(const struct pool *p)
{
	const struct list *at;
	unsigned n = 0;

	for (at = p->workers.next; at != &p->workers; at = at->next)
		n += list_entry(at, struct pool_worker, all)->recycled;
	return n;
}

bool pool_draining(const struct pool *p)
{
	return p->draining || p->stopping;
}

struct pool_worker *pool_worker(const struct pool *p, uint64_t worker_id)
{
	return worker_find(p, worker_id);
}

struct pool_lease *pool_lease(const struct pool *p, uint64_t lease_id)
{
	return lease_find(p, lease_id);
}

struct pool_worker *pool_worker_after(const struct pool *p, const struct pool_worker *prev)
{
	const struct list *at = prev != NULL ? &prev->all : &p->workers;

	if (at->next == &p->workers)
		return NULL;
	return list_entry(at->next, struct pool_worker, all);
}

const struct pool_call *pool_worker_call(const struct pool_worker *w)
{
	const struct pool_call *call = NULL;

	for (const struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		if (s->depth == 0)
			continue;
		if (call != NULL)
			return NULL;
		call = &s->call[s->depth - 1];
	}
	return call;
}

struct pool_session *pool_session_find(const struct pool *p, const uint8_t *key, size_t key_len)
{
	return session_find(p, key, key_len);
}

struct pool_session *pool_session_after(const struct pool *p, const struct pool_session *prev)
{
	const struct list *at = prev != NULL ? &prev->link : &p->sessions;

	if (at->next == &p->sessions)
		return NULL;
	return list_entry(at->next, struct pool_session, link);
}

unsigned pool_sessions(const struct pool *p)
{
	return p->session_count;
}

struct pool_request *pool_queued_after(const struct pool *p, const struct pool_request *prev)
{
	const struct list *at = prev != NULL ? &prev->by_age : &p->by_age;

	if (at->next == &p->by_age)
		return NULL;
	return list_entry(at->next, struct pool_request, by_age);
}

const struct breaker *pool_breaker(const struct pool *p)
{
	return &p->breaker;
}

uint64_t pool_retry_after_ms(const struct pool *p, uint64_t now_us)
{
	struct breaker copy = p->breaker;
	uint64_t when, wait;

	if (breaker_state(&copy) == BREAKER_CLOSED)
		return 0;
	/* While a probe is under way nobody knows; the shortest back-off is as good a guess as any. */
	if (copy.probing)
		wait = copy.config.backoff_base_us;
	else
		wait = breaker_may_start(&copy, now_us, &when) ? 0 : when - now_us;
	return wait / 1000 + (wait % 1000 != 0 || wait == 0);
}

const struct histogram *pool_wait_us(const struct pool *p)
{
	return &p->wait_us;
}

const struct histogram *pool_call_us(const struct pool *p)
{
	return &p->call_us;
}

const struct histogram *pool_start_us(const struct pool *p)
{
	return &p->start_us;
}

const char *worker_state_name(enum worker_state state)
{
	static const char *const names[] = { "starting", "idle",     "leased", "busy",
					     "probing",  "stopping", "gone" };

	assert((unsigned)state < COUNT(names));
	return names[state];
}

const char *pool_outcome_name(enum pool_outcome outcome)
{
	static const char *const names[] = { "ok",           "abandoned",    "timeout_queue",
					     "timeout_call", "overloaded",   "worker_exit",
					     "circuit_open", "lease_closed", "draining",
					     "session_lost", "session_busy", "deadlock",
					     "cancelled",    "refused" };

	assert((unsigned)outcome < COUNT(names));
	return names[outcome];
}

const char *pool_why_name(enum pool_why why)
{
	static const char *const names[] = {
		[WHY_NONE] = "none",           [WHY_CALLER_GONE] = "caller_gone",
		[WHY_TIMEOUT] = "timeout",     [WHY_UNRESPONSIVE] = "unresponsive",
		[WHY_BROKEN] = "broken",       [WHY_NOT_READY] = "not_ready",
		[WHY_KILLED] = "killed",       [WHY_RECYCLE] = "recycle",
		[WHY_MAX_CALLS] = "max_calls", [WHY_MAX_AGE] = "max_age",
		[WHY_MAX_RSS] = "max_rss",     [WHY_SURPLUS] = "surplus",
		[WHY_STOP] = "stop",
	};

	assert((unsigned)why < COUNT(names));
	return names[why];
}
