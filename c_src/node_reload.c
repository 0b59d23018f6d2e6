/* node_reload.c - a new configuration comes into force while the node runs.
 *
 * The happy path: the file is read again and is right -> the interpreters that are not known are looked for,
 * in a thread, as that runs processes -> the difference is written down -> options that count at once are
 * in force, pools that are gone leave, new ones start -> pools that need new workers get a fresh fork server,
 * one pool after the other; when that is ready the pool's new configuration is in force and its workers are
 * replaced -> the answer. `{set, Option, Value}` of an option that workers are replaced for takes the same
 * way with one pool; `reload` with all.
 * What can go wrong: the file is wrong, or an interpreter is not found, and nothing has changed; a fresh
 * fork server fails, and its pool goes on as it was, which is answered when the others are done; a second
 * reload meanwhile is refused, a SIGHUP meanwhile is kept for later; the node is told to stop. Whoever asked
 * may be gone: what was begun goes on. */
#include "node_private.h"

#include "config_change.h"
#include "interpreter.h"
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct node_job {
	struct node *node;
	struct list waiting; /* the request that asked for it, while its caller waits */
	struct config fresh; /* what is to be; its pools are taken out as they come into force */
	bool one;            /* it has one pool only, and says nothing of others */
	bool everything;     /* all workers are replaced, and the answer is `ok` */

	struct buf answer;      /* a term */
	struct buf failure;     /* a Reason; empty: none */
	unsigned changes;       /* in the answer */
	char by[256];           /* who told it; empty: SIGHUP */
	unsigned turn;          /* of fresh.pool */
	struct node_pool *pool; /* which has its turn */
	bool started;           /* and its fresh fork server is ours */
	uv_work_t work;
	const struct config_pool *unfound; /* no interpreter for that */
	char why[1024];
};

/* ---- the end of it ---- */

static void job_free(struct node_job *job)
{
	config_free(&job->fresh);
	buf_free(&job->answer);
	buf_free(&job->failure);
	mem_free(job);
}

static void finish(struct node_job *job)
{
	struct node *n = job->node;
	n->job = NULL;
	if (n->stage == NODE_RUNNING && (!job->one || job->everything))
		node_notify_ready(n);
	if (!list_empty(&job->waiting)) {
		struct node_request *r =
			list_entry(job->waiting.next, struct node_request, pool.link);
		struct reply_to to = reply_to_request(r);

		if (job->failure.len > 0 || job->failure.err != 0)
			answer_error(&to, answer_reason(&job->failure));
		else if (job->everything)
			answer_atom(&to, "ok");
		else
			node_answer_made(&to, &job->answer);
		node_request_free(r);
	}
	job_free(job);
}

/* Nothing has changed. */
static void fail_bad(struct node_job *job, const char *text)
{
	log_line(LOG_ERROR, "config", "%s; nothing has changed", text);
	if (job->one && !job->everything) { /* {set, python, ...} */
		term_put_tuple(&job->failure, 3);
		term_put_atom(&job->failure, "bad_option");
		term_put_atom(&job->failure, "python");
	} else {
		term_put_tuple(&job->failure, 2);
		term_put_atom(&job->failure, "bad_config");
	}
	term_put_text(&job->failure, text);
	finish(job);
}

static void fail_atom(struct node_job *job, const char *atom)
{
	term_put_atom(&job->failure, atom);
	finish(job);
}

/* ---- workers are replaced, one pool after the other ---- */

static void note_failure(struct node_job *job, const struct node_pool *p)
{
	if (job->failure.len > 0)
		return;
	if (p->node->stage >= NODE_DRAINING) {
		term_put_atom(&job->failure, "draining");
		return;
	}
	log_line(LOG_ERROR, "config", "%s: goes on as it was", p->config->name);
	term_put_tuple(&job->failure, 2);
	term_put_atom(&job->failure, "start_failed");
	term_put_binary(&job->failure, p->detail, p->detail_len);
}

static void next_turn(struct node_job *job)
{
	for (; job->turn < job->fresh.pools; job->turn++) {
		struct config_pool *c = job->fresh.pool[job->turn];

		if (c == NULL)
			continue;
		job->pool = node_pool_of(job->node, c);
		job->started = job->pool->fresh == NULL;
		if (!job->started) /* another reload of it is under way */
			return;
		job->fresh.pool[job->turn] = NULL;
		if (node_forkserver_reload(job->pool, c) == 0)
			return;
		note_failure(job, job->pool);
	}
	job->pool = NULL;
	finish(job);
}

void node_reload_turned(struct node_pool *p, bool ok)
{
	struct node_job *job = p->node->job;

	if (job == NULL || job->pool != p)
		return;
	if (job->started && !ok)
		note_failure(job, p);
	if (job->started)
		job->turn++;
	next_turn(job);
}

/* ---- it comes into force ---- */

static void apply(struct node_job *job)
{
	if (!job->one)
		job->changes = node_put_difference(job->node, &job->fresh, &job->answer);
	if (job->answer.err != 0) {
		fail_atom(job, "no_memory");
		return;
	}
	if (!job->one) {
		if (job->changes == 0)
			log_line(LOG_INFO, "config", "nothing has changed");
		else
			node_event_config_changed(
				job->node, job->changes,
				(struct span){ job->answer.data, job->answer.len },
				job->by[0] != '\0' ? job->by : NULL);
		node_apply_options(job->node, &job->fresh);
		node_leave_others(job->node, &job->fresh);
	}
	if (!node_apply_pools(job->node, &job->fresh, job->everything) && job->failure.len == 0)
		term_put_atom(&job->failure, "no_memory");
	node_limit_messages(job->node);
	next_turn(job);
}

/* ---- interpreters ---- */

static void find(uv_work_t *work)
{
	struct node_job *job = work->data;

	for (unsigned i = 0; i < job->fresh.pools && job->unfound == NULL; i++) {
		struct config_pool *c = job->fresh.pool[i];

		if (c->interpreter == NULL &&
		    (c->interpreter = interpreter_find(c->python, job->why, sizeof job->why)) ==
			    NULL)
			job->unfound = c;
	}
}

static void on_found(uv_work_t *work, int status)
{
	struct node_job *job = work->data;
	struct node *n = job->node;
	char text[sizeof job->why + 320];

	(void)status;
	n->resolvers--;
	n->finding = false;
	n->reap_due = true;
	if (n->stage >= NODE_DRAINING) {
		fail_atom(job, "draining");
	} else if (job->unfound != NULL) {
		snprintf(text, sizeof text, "pool %s: %s", job->unfound->name, job->why);
		fail_bad(job, text);
	} else {
		apply(job);
	}
}

static bool same_python(const struct config_pool *a, const struct config_pool *b)
{
	return a->python == NULL || b->python == NULL ? a->python == b->python
						      : strcmp(a->python, b->python) == 0;
}

static void find_interpreters(struct node_job *job)
{
	bool all = true;

	for (unsigned i = 0; i < job->fresh.pools; i++) {
		struct config_pool *c = job->fresh.pool[i];
		struct node_pool *p = node_pool_of(job->node, c);
		const char *known = p != NULL ? p->config->interpreter : NULL;

		if (p == NULL ||
		    !same_python(p->config, c)) { /* a copy has that of the other one */
			mem_free(c->interpreter);
			c->interpreter = NULL;
		} else if (c->interpreter == NULL && known != NULL) {
			c->interpreter = mem_dup(known, strlen(known));
		}
		all = all && c->interpreter != NULL;
	}
	if (all) {
		apply(job);
		return;
	}
	job->work.data = job;
	job->node->resolvers++;
	job->node->finding = true;
	if (uv_queue_work(&job->node->loop, &job->work, find, on_found) != 0) {
		job->node->resolvers--;
		job->node->finding = false;
		fail_atom(job, "no_memory");
	}
}

/* ---- the beginning ---- */

/* A job that `o` is to hear of (NULL: nobody). NULL: it was answered why not. */
static struct node_job *begin(struct node_pool *p, const struct origin *o,
			      const struct request *req)
{
	struct node *n = p->node;
	struct node_job *job;

	if ((job = mem_zalloc(sizeof *job)) == NULL) {
		struct reply_to to = o != NULL ? reply_to_origin(o) : (struct reply_to){ 0 };

		answer_error_atom(&to, "no_memory");
		return NULL;
	}
	job->node = n;
	list_init(&job->waiting);
	if (o != NULL && !o->cast && node_hold(p, o, req, &job->waiting) == NULL) {
		mem_free(job);
		return NULL;
	}
	n->job = job;
	return job;
}

/* Copies of what all pools have. */
static bool copy_pools(struct node *n, struct config *to)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_next(n, p)) != NULL)
		if ((to->pool[to->pools] = config_pool_copy(p->config)) == NULL)
			return false;
		else
			to->pools++;
	return true;
}

static void reload_all(struct node_job *job)
{
	job->one = true;
	find_interpreters(job);
}

static void run(struct node_job *job)
{
	const struct config *c = job->node->config;
	char text[1024];

	node_notify_reloading(job->node);

	if (c->file == NULL) {
		if (!job->everything)
			fail_bad(job,
				 "found no --config, expected a node that was started with a file");
		else if (!copy_pools(job->node, &job->fresh))
			fail_atom(job, "no_memory");
		else
			reload_all(job);
		return;
	}
	switch (config_parse(&job->fresh, c->argc, c->argv, text, sizeof text)) {
	case CONFIG_RUN:
		find_interpreters(job);
		break;
	case CONFIG_NO_MEMORY:
		fail_atom(job, "no_memory");
		break;
	default:
		fail_bad(job, text);
		break;
	}
}

void node_reload_config(struct node *n, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct node_job *job;

	if (n->stage >= NODE_DRAINING) {
		answer_error_atom(&to, "draining");
	} else if (n->job != NULL) {
		node_refuse_reload(o);
	} else if ((job = begin(node_pool_next(n, NULL), o, req)) != NULL) {
		log_line(LOG_INFO, "config", "reloading, told by %s", peer_label(o->books->peer));
		job->everything = req->verb == VERB_RELOAD;
		snprintf(job->by, sizeof job->by, "%s", dist_peer_name(peer_dist(o->books->peer)));
		run(job);
	}
}

void node_reload_pool(struct node_pool *p, const struct origin *o, const struct request *req,
		      struct config_pool *config, struct buf *answer)
{
	struct node_job *job = begin(p, o, req);

	if (job == NULL) {
		config_pool_free(config);
		return;
	}
	job->one = true;
	job->fresh.pool[job->fresh.pools++] = config;
	job->answer = *answer;
	*answer = (struct buf){ 0 };
	find_interpreters(job);
}

void node_reload_hup(struct node *n)
{
	struct node_job *job;

	if (n->stage != NODE_RUNNING)
		return;
	if (n->job != NULL) {
		n->hup_due = true; /* when that is done */
		return;
	}
	log_line(LOG_INFO, "config", "reloading, told by SIGHUP");
	if ((job = begin(node_pool_next(n, NULL), NULL, NULL)) != NULL)
		run(job);
}

static void on_sighup(uv_signal_t *handle, int signum)
{
	(void)signum;
	node_reload_hup(handle->data);
}

void node_reload_init(struct node *n)
{
	uv_signal_init(&n->loop, &n->sighup);
	n->sighup.data = n;
	uv_signal_start(&n->sighup, on_sighup, SIGHUP);
}

void node_reload_close(struct node *n)
{
	uv_close((uv_handle_t *)&n->sighup, NULL);
	signal(SIGHUP, SIG_IGN);
}

void node_reload_end(struct node *n)
{
	if (n->job != NULL)
		job_free(n->job);
	n->job = NULL;
}
