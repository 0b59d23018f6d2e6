/* node_memory.c - workers that have grown too large.
 *
 * The happy path: with --max-rss a timer looks at some workers of each such pool once a second, in turn, so
 * that a look never takes long; without it nothing wakes up for that. Whoever is too large is replaced, its
 * replacement first, and its call is not cut (POOL_RECYCLE).
 * What can go wrong: /proc cannot be read, or the process has gone meanwhile: it is small then. */
#include "node_private.h"

#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PERIOD_MS 1000
#define AT_ONCE   64 /* reads of some microseconds each, of one pool */

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

static bool is_watched(const struct node_pool *p)
{
	return p->config->max_rss > 0 && p->config->max_rss != CONFIG_INFINITY;
}

/* Looks at some, from where it stopped the last time. */
static void look(struct node_pool *p)
{
	uint64_t large[AT_ONCE];
	unsigned looked = 0, count = 0;
	struct pool_worker *pw = NULL;

	while (looked < AT_ONCE && (pw = pool_worker_after(p->pool, pw)) != NULL) {
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

static void on_timer(uv_timer_t *timer)
{
	struct node_pool *p = NULL;
	struct node *n = timer->data;
	bool any = false;

	while ((p = node_pool_next(n, p)) != NULL) {
		if (!is_watched(p))
			continue;
		any = true;
		look(p);
	}
	if (!any)
		uv_timer_stop(timer);
}

void node_memory_watch(struct node_pool *p)
{
	struct node *n = p->node;

	if (is_watched(p) && n->stage < NODE_STOPPING &&
	    !uv_is_active((uv_handle_t *)&n->memory_timer))
		uv_timer_start(&n->memory_timer, on_timer, PERIOD_MS, PERIOD_MS);
}

void node_memory_init(struct node *n)
{
	uv_timer_init(&n->loop, &n->memory_timer);
	n->memory_timer.data = n;
}
