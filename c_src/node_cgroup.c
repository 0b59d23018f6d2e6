/* node_cgroup.c - the workers' cgroups, for pools with --memory-max or --cpu-max.
 *
 * The happy path: the first worker that wants one -> the node's own place is made ready -> one group per
 * worker, which it joins before it does anything -> removed when its record is.
 * What can go wrong: the node may not, or cannot (cgroup.h): one warning, and workers run without; a group
 * cannot be made although others could: that start fails. */
#include "node_private.h"

#include "cgroup.h"
#include "log.h"

#include <signal.h>

static bool open_once(struct node *n, const struct cgroup_limits *wanted)
{
	char own[PATH_MAX], why[PATH_MAX + 128];

	if (n->cgroup != NULL || n->cgroup_refused)
		return n->cgroup != NULL;
	if (cgroup_own(own, sizeof own, why, sizeof why))
		n->cgroup = cgroup_open(own, wanted, why, sizeof why);
	n->cgroup_refused = n->cgroup == NULL;
	if (n->cgroup_refused)
		log_line(LOG_WARNING, "cgroup", "memory-max and cpu-max do not count: %s", why);
	else
		log_line(LOG_INFO, "cgroup", "one for each worker, in %s", own);
	return n->cgroup != NULL;
}

int node_cgroup_make(struct node_worker *w, char path[PATH_MAX])
{
	const struct config_pool *c = w->pool->config;
	const struct cgroup_limits limits = { .memory_max = c->memory_max, .cpu_max = c->cpu_max };
	struct node *n = w->pool->node;
	int rc;

	if ((limits.memory_max == 0 && limits.cpu_max == 0) || !open_once(n, &limits))
		return 0;
	rc = cgroup_make(n->cgroup, w->id, &limits, path);
	w->in_cgroup = rc == 0;
	return rc;
}

void node_cgroup_exited(struct node_worker *w)
{
	if (w->in_cgroup && w->signal == SIGKILL && w->killed_for == NULL &&
	    cgroup_out_of_memory(w->pool->node->cgroup, w->id))
		w->killed_for = "memory_limit";
}

void node_cgroup_remove(struct node_worker *w)
{
	if (w->in_cgroup)
		cgroup_remove(w->pool->node->cgroup, w->id);
	w->in_cgroup = false;
}

void node_cgroup_close(struct node *n)
{
	cgroup_close(n->cgroup);
	n->cgroup = NULL;
}
