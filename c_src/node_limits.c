/* node_limits.c - what a pool's core is told of its configuration; and workers that have grown too large.
 *
 * The happy path: node_limits() when the pool is made; node_pool_configure() when its configuration has
 * changed -> POOL_CONFIGURE, and the defaults of its requests. With --max-rss a timer looks at some workers
 * each second, in turn, so that a look never takes long; without it nothing wakes up for that. Whoever is too
 * large is replaced when his call is done (POOL_RECYCLE).
 * What can go wrong: /proc cannot be read, or the process has gone meanwhile: it is small then. */
#include "node_private.h"

#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Static_assert(CONFIG_SLOTS_MAX == POOL_SLOTS_MAX, "the table of options bounds the slots");

#define RSS_PERIOD_MS 1000
#define RSS_AT_ONCE   64 /* reads of some microseconds each */
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

void node_limits(const struct config_pool *c, struct pool_config *out)
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

/* ---- memory ---- */

/* Of text such as "5120 812 ...", the second number. */
static uint64_t second_number(const char *text)
{
	char *end;

	(void)strtoull(text, &end, 10);
	return strtoull(end, NULL, 10);
}

uint64_t node_rss_bytes(int os_pid)
{
	char path[64], text[128]; /* seven numbers: proc(5), statm; in pages */
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/statm", os_pid);
	if (os_pid == 0 || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return second_number(text) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool too_large(struct node_pool *p, const struct pool_worker *pw)
{
	struct node_worker *w = node_worker_find(p, pw->id);
	uint64_t rss;

	if (w == NULL || w->exited || pw->recycled || pw->state == WORKER_STARTING ||
	    pw->state == WORKER_STOPPING)
		return false;
	if ((rss = node_rss_bytes(w->os_pid)) < p->config->max_rss)
		return false;
	log_line(LOG_INFO, w->object, "has %llu bytes of memory, --max-rss is %llu: replaced",
		 (unsigned long long)rss, (unsigned long long)p->config->max_rss);
	return true;
}

/* Looks at some, from where it stopped the last time. */
static void on_rss_timer(uv_timer_t *timer)
{
	struct node_pool *p = timer->data;
	uint64_t large[RSS_AT_ONCE];
	unsigned looked = 0, count = 0;
	struct pool_worker *pw = NULL;

	while (looked < RSS_AT_ONCE && (pw = pool_worker_after(p->pool, pw)) != NULL) {
		if (pw->id <= p->rss_seen)
			continue;
		p->rss_seen = pw->id;
		looked++;
		if (too_large(p, pw))
			large[count++] = pw->id;
	}
	if (pw == NULL)
		p->rss_seen = 0;
	while (count > 0)
		node_pool_event(p, &(struct pool_event){ .type = POOL_RECYCLE,
							 .worker_id = large[--count],
							 .why = WHY_MAX_RSS });
}

static void watch_memory(struct node_pool *p)
{
	bool wanted = p->config->max_rss > 0 && p->config->max_rss != CONFIG_INFINITY &&
		      p->node->stage < NODE_CLOSING;

	if (!wanted)
		uv_timer_stop(&p->rss_timer);
	else if (!uv_is_active((uv_handle_t *)&p->rss_timer))
		uv_timer_start(&p->rss_timer, on_rss_timer, RSS_PERIOD_MS, RSS_PERIOD_MS);
}

/* ---- the pool's life ---- */

static void set_defaults(struct node_pool *p)
{
	const struct config_pool *c = p->config;

	p->defaults = (struct request_defaults){
		.timeout_ms = c->call_timeout_ms,
		.queue_timeout_ms = c->queue_timeout_ms,
		.strings_utf8 = c->strings == STRINGS_UTF8,
		.session_mode = (enum pool_session_mode)c->session_mode,
	};
}

void node_limits_init(struct node_pool *p)
{
	node_limits(p->config, &p->limits);
	set_defaults(p);
	uv_timer_init(&p->node->loop, &p->rss_timer);
	p->rss_timer.data = p;
	watch_memory(p);
}

void node_pool_configure(struct node_pool *p)
{
	struct pool_config before = p->limits, now;

	node_limits(p->config, &p->limits);
	set_defaults(p);
	watch_memory(p);
	now = p->limits;
	if (now.size == before.size && now.size_max == before.size_max) {
		/* nothing was said about sizes: what an operator has resized stays so */
		now.size = pool_config(p->pool)->size;
		now.size_max = pool_config(p->pool)->size_max;
	}
	node_pool_event(p, &(struct pool_event){ .type = POOL_CONFIGURE, .config = &now });
}
