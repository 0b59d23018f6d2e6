/* node_notify.c - what the service manager hears of the node; notify.h has the words.
 *
 * READY when the name is published (the node answers from then on; its workers may still start: the status
 * says how many serve), STOPPING when it has been told to stop. One timer of the loop says that the loop
 * turns, and refreshes the status line. Without a manager the timer never starts. */
#include "node_private.h"

#include "notify.h"

#include <stdio.h>
#include <string.h>

#define STATUS_MS 5000 /* how old the status line may be */

static const char *stage_name(enum node_stage stage)
{
	static const char *const names[] = { "starting", "serving", "draining", "stopping",
					     "stopping" };

	return names[stage];
}

/* "krait@host serving; default: 4 of 4 workers ready, 1 running, 0 queued" */
static void tell_status(struct node *n)
{
	char text[NOTIFY_STATUS_MAX + 1];
	struct node_pool *p = NULL;
	size_t len;

	snprintf(text, sizeof text, "%s %s", n->options->name, stage_name(n->stage));
	while ((p = node_pool_next(n, p)) != NULL) {
		len = strlen(text); /* what has no room is cut */
		snprintf(text + len, sizeof text - len,
			 "; %s: %u of %u workers ready, %u running, %u queued", p->config->name,
			 pool_ready(p->pool), pool_config(p->pool)->size, pool_running(p->pool),
			 pool_queued(p->pool));
	}
	notify_status(text);
}

static void on_timer(uv_timer_t *timer)
{
	struct node *n = timer->data;

	if (notify_alive_every_ms() > 0)
		notify_alive();
	tell_status(n);
}

void node_notify_init(struct node *n)
{
	uint64_t every = notify_alive_every_ms();

	uv_timer_init(&n->loop, &n->notify_timer);
	n->notify_timer.data = n;
	if (every == 0 || every > STATUS_MS)
		every = STATUS_MS;
	if (notify_on())
		uv_timer_start(&n->notify_timer, on_timer, every, every);
}

void node_notify_ready(struct node *n)
{
	tell_status(n);
	notify_ready();
}

void node_notify_reloading(struct node *n)
{
	(void)n;
	notify_reloading(node_now_us());
}

void node_notify_stopping(struct node *n)
{
	uint64_t grace_ms = 0;

	for (unsigned i = 0; i < n->config->pools; i++)
		if (n->config->pool[i]->stop_grace_ms > grace_ms)
			grace_ms = n->config->pool[i]->stop_grace_ms;
	/* what runs, then end of file, SIGTERM, SIGKILL, and a second for the rest */
	notify_stopping((n->config->stop_timeout_ms + 3 * grace_ms + 1000) * 1000);
	tell_status(n);
}
