/* node_config.c - the configuration: shown, and one option set.
 *
 * A value is read into a copy first, by the same table as a file's and with the same bounds; only a copy
 * that is right as a whole comes into force. What workers are replaced for goes the way of a reload
 * (node_reload.c); what needs a restart is refused. */
#include "node_private.h"

#include "config_change.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- options of the node come into force ---- */

void node_take_options(struct node *n)
{
	log_set_level((enum log_level)n->config->log_level);
	n->peer_options.handshake_timeout_ms = n->config->handshake_timeout_ms;
	n->peer_options.max_output = n->config->max_output_bytes;
	n->peer_options.dist.max_unfinished = n->config->max_output_bytes;
	n->peer_options.ticktime_ms = n->config->net_ticktime_s * 1000;
}

/* ---- shown ---- */

/* {ok, Term}, of what was made aside. */
void node_answer_made(const struct reply_to *to, const struct buf *made)
{
	struct buf *out;
	size_t mark;

	if (made->err != 0) {
		answer_error_atom(to, "no_memory");
	} else if ((out = answer_begin(to, &mark)) != NULL) {
		term_put_tuple(out, 2);
		term_put_atom(out, "ok");
		term_put_raw(out, (struct span){ made->data, made->len });
		answer_end(to, mark);
	}
}

static void put_pool(struct buf *out, struct node_pool *p)
{
	term_put_atom(out, p->config->name);
	config_put_map(out, (struct config_place){ .pool = p->config }, false);
}

/* #{node, pools}: of all pools, or of one. */
static void show(struct node *n, struct node_pool *only, const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);
	struct node_pool *p = NULL;
	struct buf made = { 0 };

	term_put_map(&made, 2);
	term_put_atom(&made, "node");
	config_put_map(&made, (struct config_place){ .node = n->options->config }, true);
	term_put_atom(&made, "pools");
	term_put_map(&made, only != NULL ? 1 : n->pool_count);
	if (only != NULL)
		put_pool(&made, only);
	while (only == NULL && (p = node_pool_next(n, p)) != NULL)
		put_pool(&made, p);
	node_answer_made(&to, &made);
	buf_free(&made);
}

void node_refuse_reload(const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);

	answer_bad(&to, "one reload at a time");
}

/* ---- set ---- */

/* {bad_option, Key, Expected}. */
static void refuse(const struct origin *o, struct span key, const char *expected)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };

	term_put_tuple(&reason, 3);
	term_put_atom(&reason, "bad_option");
	if (key.len <= 255)
		term_put_atom_n(&reason, (const char *)key.at, key.len);
	else
		term_put_binary(&reason, key.at, key.len);
	term_put_text(&reason, expected);
	answer_error(&to, answer_reason(&reason));
	buf_free(&reason);
}

static void refuse_rc(const struct origin *o, struct span key, int rc, const char *expected)
{
	struct reply_to to = reply_to_origin(o);

	if (rc == -ENOMEM)
		answer_error_atom(&to, "no_memory");
	else
		refuse(o, key, expected);
}

static void refuse_restart(const struct origin *o, const struct option *option)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };

	term_put_tuple(&reason, 2);
	term_put_atom(&reason, "restart_needed");
	config_put_option(&reason, option);
	answer_error(&to, answer_reason(&reason));
	buf_free(&reason);
}

/* {Old, New} for the answer, and a line for the log. */
static void put_change(struct buf *out, const struct origin *o, const struct option *option,
		       struct config_place old, struct config_place new)
{
	struct buf from = { 0 }, to = { 0 };
	struct buf name = { 0 };

	term_put_tuple(out, 2);
	config_put_term(out, option, old);
	config_put_term(out, option, new);
	config_put_name_text(&name, option);
	config_put_text(&from, option, old);
	config_put_text(&to, option, new);
	log_line(LOG_INFO, "config", "%s%s%.*s from %.*s to %.*s, told by %s",
		 new.pool != NULL ? new.pool->name : "node", ": ", (int)name.len,
		 (const char *)name.data, (int)(from.len < 200 ? from.len : 200),
		 (const char *)from.data, (int)(to.len < 200 ? to.len : 200), (const char *)to.data,
		 peer_label(o->books->peer));
	buf_free(&name);
	buf_free(&from);
	buf_free(&to);
}

/* Those who listen hear of it as of a reload: #{node, pools, restart}. */
static void tell_listeners(struct node *n, const struct origin *o, const struct option *option,
			   const struct node_pool *p, const struct buf *made)
{
	struct buf all = { 0 };

	term_put_map(&all, 3);
	term_put_atom(&all, "node");
	term_put_map(&all, p == NULL ? 1 : 0);
	if (p != NULL) {
		term_put_atom(&all, "pools");
		term_put_map(&all, 1);
		term_put_atom(&all, p->config->name);
		term_put_map(&all, 1);
	}
	config_put_option(&all, option);
	term_put_raw(&all, (struct span){ made->data, made->len });
	if (p == NULL) {
		term_put_atom(&all, "pools");
		term_put_map(&all, 0);
	}
	term_put_atom(&all, "restart");
	term_put_list(&all, 0);
	if (all.err == 0 && made->err == 0)
		node_event_config_changed(n, 1, (struct span){ all.data, all.len },
					  dist_peer_name(peer_dist(o->books->peer)));
	buf_free(&all);
}

static void set_of_node(struct node *n, const struct origin *o, const struct request *req,
			const struct option *option)
{
	struct config trial = { 0 };
	struct config_place new = { .node = &trial }, old = { .node = n->options->config };
	struct reply_to to = reply_to_origin(o);
	struct buf made = { 0 };
	char expected[256];
	int rc = config_set_term(new, option, req->value, expected, sizeof expected);

	if (rc != 0) {
		refuse_rc(o, req->option, rc, expected);
	} else {
		put_change(&made, o, option, old, new);
		tell_listeners(n, o, option, NULL, &made);
		config_swap(option, old, new);
		node_take_options(n);
		node_answer_made(&to, &made);
	}
	buf_free(&made);
	config_free(&trial);
}

/* Whether the node's configuration is right with `trial` in the place of what the pool has. */
static int fits(struct node_pool *p, struct config_pool *trial, char *expected, size_t size)
{
	struct config *c = p->node->options->config;
	unsigned i = 0;
	int rc;

	while (c->pool[i] != p->config)
		i++;
	c->pool[i] = trial;
	rc = config_goes_together(c, expected, size);
	c->pool[i] = p->config;
	return rc;
}

static void set_of_pool(struct node_pool *p, const struct origin *o, const struct request *req,
			const struct option *option)
{
	struct config_pool *trial = config_pool_copy(p->config);
	struct config_place new = { .pool = trial }, old = { .pool = p->config };
	struct reply_to to = reply_to_origin(o);
	char expected[256] = "";
	struct buf made = { 0 };
	int rc = trial == NULL
			 ? -ENOMEM
			 : config_set_term(new, option, req->value, expected, sizeof expected);

	if (rc == 0)
		rc = fits(p, trial, expected, sizeof expected);
	if (rc != 0) {
		refuse_rc(o, req->option, rc, expected);
		config_pool_free(trial);
		return;
	}
	put_change(&made, o, option, old, new);
	tell_listeners(p->node, o, option, p, &made);
	if (config_needs_workers(p->config, trial)) {
		node_reload_pool(p, o, req, trial, &made);
	} else {
		node_pool_configure(p, trial);
		node_answer_made(&to, &made);
	}
	buf_free(&made);
}

static void set(struct node_pool *p, const struct origin *o, const struct request *req)
{
	static const char to_node[] = "to be said to krait", to_pool[] = "to be said to a pool";
	const struct option *option =
		config_option_named((const char *)req->option.at, req->option.len);
	bool of_node = option != NULL && config_is_of_node(option);
	struct reply_to to = reply_to_origin(o);

	if (option == NULL)
		refuse(o, req->option, "an option (see krait --help)");
	else if (config_needs_restart(option))
		refuse_restart(o, option);
	else if (of_node && req->target != TARGET_NODE)
		refuse(o, req->option, to_node);
	else if (!of_node && req->target == TARGET_NODE && !node_pool_is_only(p))
		refuse(o, req->option, to_pool);
	else if (p->node->stage >= NODE_DRAINING)
		answer_error_atom(&to, "draining");
	else if (p->node->job != NULL)
		node_refuse_reload(o);
	else if (of_node)
		set_of_node(p->node, o, req, option);
	else
		set_of_pool(p, o, req, option);
}

void node_config(struct node_pool *p, const struct origin *o, const struct request *req)
{
	switch (req->verb) {
	case VERB_CONFIG:
		show(p->node, req->target == TARGET_NODE ? NULL : p, o);
		break;
	case VERB_SET:
		set(p, o, req);
		break;
	default:
		node_reload_config(p->node, o, req);
		break;
	}
}
