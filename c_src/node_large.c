/* node_large.c - memory of large messages, and of many requests, goes back to the kernel when no more come.
 *
 * While some is kept (large.h, slab.h) a timer tidies it: what nobody has used for a period is freed, so a node
 * that has nothing large to do holds none, and does not wake up for it. */
#include "node_private.h"

#include "large.h"

#define KEPT_MAX  (128 * 1024 * 1024) /* e.g. four echoes of 16 MB at a time */
#define PERIOD_MS 1000

static void on_timer(uv_timer_t *timer)
{
	large_tidy();
	slab_tidy();
	if (large_kept() + slab_spare() == 0)
		uv_timer_stop(timer);
}

void node_large_init(struct node *n)
{
	uv_timer_init(&n->loop, &n->large_timer);
	large_keep(KEPT_MAX);
}

void node_large_check(struct node *n)
{
	if (large_kept() + slab_spare() > 0 && n->stage < NODE_CLOSING &&
	    !uv_is_active((uv_handle_t *)&n->large_timer))
		uv_timer_start(&n->large_timer, on_timer, PERIOD_MS, PERIOD_MS);
}

void node_large_end(void)
{
	large_keep(0);
}
