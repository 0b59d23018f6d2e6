/* node_pool_config.c - what a pool is told: the one place where its options come into force; and pools that
 * leave.
 *
 * Most options are read where they are used, through node_pool.config. The others are copied here: to the
 * pool core (`limits`), to the parsing of requests (`defaults`), to the connections (the longest message).
 *
 * A pool that leaves is found by no name any more and drains: what it runs ends as it may, then its workers
 * are stopped, its handles are closed, and it is freed. Its configuration is its own from then on. */
#include "node_private.h"

#include "log.h"

#include <assert.h>
#include <string.h>

_Static_assert(CONFIG_AHEAD_MAX == POOL_AHEAD_MAX && POOL_AHEAD_MAX == AHEAD_QUEUE_MAX,
	       "the table of options bounds what is sent ahead");
_Static_assert(CONFIG_SLOTS_MAX == POOL_SLOTS_MAX, "the table of options bounds the slots");

/* For the dump of all threads of a process that may be swapped out; its replacement starts meanwhile. */
#define DUMP_GRACE_US 500000

static uint64_t us(uint64_t ms)
{
	return ms > POOL_NEVER / 1000 ? POOL_NEVER : ms * 1000;
}

/* Of a time that may be `infinity`: 0, which means never to the pool. */
static uint64_t us_or_0(uint64_t ms)
{
	return ms == CONFIG_INFINITY ? 0 : us(ms);
}

/* The part of the configuration that the pool core wants. */
static void set_limits(const struct config_pool *c, struct pool_config *out)
{
	*out = (struct pool_config){
		.size = (unsigned)c->size,
		.size_max = (unsigned)c->size_max,
		.grow_after_us = us(c->grow_after_ms),
		.idle_ttl_us = us_or_0(c->idle_ttl_ms),
		.order = (enum pool_order)c->order,
		.queue_limit = (unsigned)c->queue_limit,
		.queue_bytes_limit = c->queue_bytes,
		.start_timeout_us = us(c->start_timeout_ms),
		.interrupt_grace_us = us(c->interrupt_grace_ms),
		.stop_grace_us = us(c->stop_grace_ms),
		.dump_grace_us = DUMP_GRACE_US,
		.health_interval_us = us_or_0(c->health_interval_ms),
		.health_timeout_us = us(c->health_timeout_ms),
		.max_calls = c->max_calls == CONFIG_INFINITY ? 0 : c->max_calls,
		.max_age_us = us_or_0(c->max_age_ms),
		.jitter_percent = (unsigned)c->recycle_jitter,
		.slots = (unsigned)c->slots,
		.ahead = (unsigned)c->ahead,
		.max_sessions = (unsigned)c->max_sessions,
		.breaker = {
			.threshold = (unsigned)c->breaker_threshold,
			.backoff_base_us = us(c->backoff_base_ms),
			.backoff_max_us = us(c->backoff_max_ms),
			.burst = (unsigned)c->start_burst,
			.per_second = (unsigned)c->starts_per_second,
		},
	};
}

void node_pool_take_options(struct node_pool *p, struct config_pool *config)
{
	p->config = config;
	set_limits(config, &p->limits);
	p->limits.worker_ids = &p->node->last_worker_id;
	p->defaults = (struct request_defaults){
		.timeout_ms = config->call_timeout_ms,
		.queue_timeout_ms = config->queue_timeout_ms,
		.strings_utf8 = config->strings == STRINGS_UTF8,
		.session_mode = (enum pool_session_mode)config->session_mode,
	};
}

void node_pool_configure(struct node_pool *p, struct config_pool *config)
{
	struct config *c = p->node->options->config;
	struct config_pool *old = p->config;
	unsigned i = 0;

	while (i < c->pools && c->pool[i] != old)
		i++;
	assert(i < c->pools || p->leaving);
	if (i < c->pools)
		c->pool[i] = config;
	node_pool_take_options(p, config);
	config_pool_free(old);
	node_limit_messages(p->node);
	node_pool_event(p, &(struct pool_event){ .type = POOL_CONFIGURE, .config = &p->limits });
}

/* {resize, ...} is a setting of the option `size`, so that who changes another one does not undo it. */
void node_pool_resized(struct node_pool *p, unsigned least, unsigned most)
{
	struct config_pool *c = p->config;

	c->size = p->limits.size = least;
	c->size_max = p->limits.size_max = most;
}

/* ---- pools that leave ---- */

void node_pool_leave(struct node_pool *p)
{
	struct node *n = p->node;
	struct config *c = n->options->config;
	unsigned i = 0;

	log_line(LOG_INFO, p->object, "leaving");
	while (c->pool[i] != p->config)
		i++;
	memmove(&c->pool[i], &c->pool[i + 1], (--c->pools - i) * sizeof c->pool[0]);
	c->pool[c->pools] = NULL;
	n->pool_count--;
	p->leaving = true;
	node_monitors_gone(n, p);
	node_pool_event(p, &(struct pool_event){ .type = POOL_DRAIN });
}

void node_pool_has_drained(struct node_pool *p)
{
	if (p->leaving && !p->stopped) {
		p->stopped = true;
		node_pool_event(p, &(struct pool_event){ .type = POOL_STOP });
		node_maybe_end(p->node);
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct node_pool *p = handle->data;

	if (--p->open_handles > 0)
		return;
	log_line(LOG_INFO, p->object, "gone");
	node_pool_free(p);
}

static void close_handle(struct node_pool *p, uv_timer_t *timer)
{
	p->open_handles++;
	uv_close((uv_handle_t *)timer, on_closed);
}

static void close_if_empty(struct node_pool *p)
{
	if (!p->stopped || p->open_handles > 0 || p->workers != NULL || node_forkservers_stop(p) ||
	    !list_empty(&p->forkservers))
		return;
	close_handle(p, &p->timer);
	close_handle(p, &p->deadlock_timer);
	close_handle(p, &p->reload_timer);
}

void node_pools_sweep(struct node *n)
{
	struct list *pos, *next;

	if (n->stage >= NODE_STOPPING) /* all close together */
		return;
	list_each (pos, next, &n->pools) {
		struct node_pool *p = list_entry(pos, struct node_pool, link);

		if (p->leaving)
			close_if_empty(p);
	}
}

struct node_pool *node_pool_any_next(const struct node *n, const struct node_pool *p)
{
	const struct list *next = p == NULL ? n->pools.next : p->link.next;

	return next != &n->pools ? list_entry(next, struct node_pool, link) : NULL;
}
