/* node_apply.c - a configuration that was read comes into force, as far as it can at once: options of the node,
 * pools that come and go, pools that keep their workers. */
#include "node_private.h"

#include "config_change.h"
#include "log.h"

#include <string.h>

struct node_pool *node_pool_of(struct node *n, const struct config_pool *c)
{
	return node_pool_named(n, (struct span){ (const uint8_t *)c->name, strlen(c->name) });
}

void node_apply_options(struct node *n, struct config *fresh)
{
	struct config_place now = { .node = n->options->config }, new = { .node = fresh };
	const struct option *o = NULL;

	while ((o = config_option_after(o)) != NULL)
		if (config_is_of_node(o) && !config_needs_restart(o))
			config_swap(o, now, new);
	node_take_options(n);
}

void node_leave_others(struct node *n, const struct config *fresh)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_next(n, p)) != NULL)
		if (!node_config_has(fresh, p->config->name))
			node_pool_leave(p);
}

static bool start_pool(struct node *n, struct config_pool *c)
{
	struct config *config = n->options->config;
	struct node_pool *p = node_pool_new(n, c);

	if (p == NULL) {
		log_line(LOG_ERROR, "config", "%s: no memory for it", c->name);
		config_pool_free(c);
		return false;
	}
	config->pool[config->pools++] = c;
	p->heard = n->heard;
	if (node_hears(p))
		node_event_pool_seen(p);
	node_pool_event(p, &(struct pool_event){ .type = POOL_TICK });
	return true;
}

bool node_apply_pools(struct node *n, struct config *fresh, bool but_workers)
{
	bool ok = true;

	for (unsigned i = 0; i < fresh->pools; i++) {
		struct config_pool *c = fresh->pool[i];
		struct node_pool *p = node_pool_of(n, c);

		if (p != NULL && (but_workers || config_needs_workers(p->config, c)))
			continue;
		fresh->pool[i] = NULL;
		if (p != NULL)
			node_pool_configure(p, c);
		else
			ok &= start_pool(n, c);
	}
	return ok;
}
