/* node_loop.c - the turns of the loop; with `busy_poll` it looks again for a while before it sleeps (spin.h).
 *
 * What has happened is a step of a pool: a request, or an answer of a worker. While as many calls run as there
 * are processors it sleeps at once: they are the workers' then. On one processor it always does. */
#include "node_private.h"

/* Whether a processor is left for us beside those of the running calls. */
static bool have_processor(const struct node *n)
{
	const struct node_pool *p = NULL;
	unsigned running = 0;

	while ((p = node_pool_any_next(n, p)) != NULL)
		running += pool_running(p->pool);
	return running < n->processors;
}

void node_stepped(struct node *n)
{
	n->stepped = true;
}

/* As uv_run(UV_RUN_DEFAULT), until the node is closing; who ends it runs what is left. */
static void run_busy(struct node *n)
{
	bool again, alive = true;

	while (alive && n->stage != NODE_CLOSING) {
		if (n->stepped) {
			n->stepped = false;
			if (have_processor(n))
				spin_event(&n->spin, node_now_us());
			else
				spin_stop(&n->spin);
		}
		again = n->spin.until_us != 0 && spin_again(&n->spin, node_now_us());
		alive = uv_run(&n->loop, again ? UV_RUN_NOWAIT : UV_RUN_ONCE) != 0;
	}
}

void node_loop(struct node *n)
{
	n->processors = uv_available_parallelism();
	spin_init(&n->spin, n->processors > 1 ? n->config->busy_poll_us : 0);
	if (n->spin.window_us > 0)
		run_busy(n);
	else
		uv_run(&n->loop, UV_RUN_DEFAULT);
}
