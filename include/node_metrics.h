/* node_metrics.h - what is told by HTTP, as its rooms in the node see it.
 *
 *   node_metrics.c       the server: opened and closed, paths, readiness
 *   node_metrics_text.c  /metrics: what Prometheus reads; docs/metrics.md lists it, a test compares them
 *   node_metrics_json.c  /api/status: what the status page shows, once a second while somebody looks at it
 *
 * Everything is computed when it is asked for. */
#ifndef KRAIT_NODE_METRICS_H
#define KRAIT_NODE_METRICS_H

#include "node_private.h"

/* What the process of the node itself uses. */
struct node_process {
	uint64_t cpu_us, rss_bytes, virtual_bytes, fds, max_fds, start_time_us;
};
struct node_process node_process(const struct node *n);

static inline const char *node_pool_name(const struct node_pool *p)
{
	return p->config->name;
}

/* Whether a pool can serve; NULL: yes, else a word for what it is instead. */
const char *node_pool_unready(const struct node_pool *p);

bool node_is_ready(const struct node *n); /* it runs, and all pools can serve */

void node_metrics_put_text(struct node *n, struct buf *out);
/* `since`: the number of the last log line that the reader has. */
void node_metrics_put_json(struct node *n, uint64_t since, struct buf *out);

#endif
