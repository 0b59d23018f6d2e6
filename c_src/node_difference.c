/* node_difference.c - what differs between the configuration that is in force and one that is to be: as the
 * answer of a reload, and as lines of the log. */
#include "node_private.h"

#include "config_change.h"
#include "log.h"

#include <string.h>

static uint32_t count_differences(struct config_place a, struct config_place b, bool of_node)
{
	const struct option *o = NULL;
	uint32_t count = 0;

	while ((o = config_option_after(o)) != NULL)
		count += config_is_of_node(o) == of_node && config_differs(o, a, b);
	return count;
}

static void tell(const char *object, const struct option *o, struct config_place old,
		 struct config_place new)
{
	struct buf from = { 0 }, to = { 0 }, name = { 0 };

	config_put_name_text(&name, o);
	config_put_text(&from, o, old);
	config_put_text(&to, o, new);
	log_line(LOG_INFO, "config", "%s: %.*s from %.*s to %.*s%s", object, (int)name.len,
		 (const char *)name.data, (int)(from.len < 200 ? from.len : 200),
		 (const char *)from.data, (int)(to.len < 200 ? to.len : 200), (const char *)to.data,
		 config_needs_restart(o)     ? ", when the node starts again"
		 : config_changes_workers(o) ? ", workers are replaced"
					     : "");
	buf_free(&name);
	buf_free(&from);
	buf_free(&to);
}

/* #{Option => {Old, New}}. */
static unsigned put_differences(struct buf *out, const char *object, struct config_place old,
				struct config_place new, bool of_node)
{
	const struct option *o = NULL;
	uint32_t count = count_differences(old, new, of_node);

	term_put_map(out, count);
	while ((o = config_option_after(o)) != NULL) {
		if (config_is_of_node(o) != of_node || !config_differs(o, old, new))
			continue;
		tell(object, o, old, new);
		config_put_option(out, o);
		term_put_tuple(out, 2);
		config_put_term(out, o, old);
		config_put_term(out, o, new);
	}
	return count;
}

bool node_config_has(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->pools; i++)
		if (strcmp(c->pool[i]->name, name) == 0)
			return true;
	return false;
}

static unsigned put_pools(struct node *n, const struct config *fresh, struct buf *out)
{
	struct node_pool *p = NULL;
	struct buf each = { 0 };
	uint32_t count = 0;
	unsigned changes = 0;

	while ((p = node_pool_next(n, p)) != NULL) {
		if (node_config_has(fresh, p->config->name))
			continue;
		count++;
		changes++;
		log_line(LOG_INFO, "config", "%s: removed", p->config->name);
		term_put_atom(&each, p->config->name);
		term_put_atom(&each, "removed");
	}
	for (unsigned i = 0; i < fresh->pools; i++) {
		struct config_place new = { .pool = fresh->pool[i] }, old = { NULL, NULL };

		p = node_pool_of(n, new.pool);
		old.pool = p != NULL ? p->config : NULL;
		if (p != NULL && count_differences(old, new, false) == 0)
			continue;
		count++;
		term_put_atom(&each, new.pool->name);
		if (p != NULL) {
			changes += put_differences(&each, new.pool->name, old, new, false);
		} else {
			changes++;
			log_line(LOG_INFO, "config", "%s: added", new.pool->name);
			term_put_atom(&each, "added");
		}
	}
	term_put_map(out, count);
	term_put_raw(out, (struct span){ each.data, each.len });
	out->err = out->err != 0 ? out->err : each.err;
	buf_free(&each);
	return changes;
}

static void put_restart(struct buf *out, struct config_place old, struct config_place new)
{
	const struct option *o = NULL;
	struct buf each = { 0 };
	uint32_t count = 0;

	while ((o = config_option_after(o)) != NULL) {
		if (!config_is_of_node(o) || !config_needs_restart(o) ||
		    !config_differs(o, old, new))
			continue;
		count++;
		config_put_option(&each, o);
	}
	term_put_list(out, count);
	if (count > 0) {
		term_put_raw(out, (struct span){ each.data, each.len });
		term_put_nil(out);
	}
	out->err = out->err != 0 ? out->err : each.err;
	buf_free(&each);
}

unsigned node_put_difference(struct node *n, struct config *fresh, struct buf *out)
{
	struct config_place old = { .node = n->options->config }, new = { .node = fresh };
	unsigned changes;

	term_put_map(out, 3);
	term_put_atom(out, "node");
	changes = put_differences(out, "node", old, new, true);
	term_put_atom(out, "pools");
	changes += put_pools(n, fresh, out);
	term_put_atom(out, "restart");
	put_restart(out, old, new);
	return changes;
}
