/* node_forkserver.c - the pool's fork server, and what it says of workers.
 *
 * The happy path: started with the first worker that is wanted -> ready -> forked, exited ... until the
 * node stops. What can go wrong: its preload raises or hangs, or it is killed: its workers go with it, the
 * next start begins with another one, and the breaker bounds how often. */
#include "node_private.h"

#include "log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_fs_ready(void *arg, int os_pid, const char *versions)
{
	struct node_pool *p = arg;

	p->forkserver_ready = true;
	log_line(LOG_INFO, "forkserver", "pool %s ready: pid %d, %s", p->config->pool, os_pid,
		 versions);
}

static void on_fs_failed(void *arg, const char *text, size_t len)
{
	struct node_pool *p = arg;

	log_line(LOG_ERROR, "forkserver", "pool %s: the preload failed; its last words are below",
		 p->config->pool);
	node_pool_keep_detail(p, text, len);
	p->detail_fresh = true;
}

static void on_forked(void *arg, uint64_t worker_id, int os_pid)
{
	struct node_worker *w = node_worker_find(arg, worker_id);

	if (w == NULL || w->gone) {
		kill(-os_pid, SIGKILL); /* not reaped before we say so: the number is its own */
		return;
	}
	node_worker_know_pid(w, os_pid);
}

static void on_fork_failed(void *arg, uint64_t worker_id, const char *text, size_t len)
{
	struct node_pool *p = arg;
	struct node_worker *w = node_worker_find(p, worker_id);

	log_line(LOG_ERROR, "forkserver", "pool %s: cannot fork: %.*s", p->config->pool,
		 (int)(len < 500 ? len : 500), text);
	node_pool_keep_detail(p, text, len);
	if (w != NULL)
		node_worker_never_started(w);
}

static void on_fs_exited(void *arg, int os_pid, int status, int signal)
{
	struct node_pool *p = arg;
	struct node_worker *w = node_worker_find_pid(p, os_pid);

	if (w != NULL)
		node_worker_exited(w, status, signal);
	else
		forkserver_reap(p->forkserver, os_pid);
}

static void on_fs_line(void *arg, bool is_stderr, const char *line, size_t len)
{
	struct node_pool *p = arg;

	log_line(LOG_INFO, "forkserver", "pool %s %s: %.*s", p->config->pool,
		 is_stderr ? "stderr" : "stdout", (int)len, line);
}

static void on_fs_down(void *arg, int status, int signal)
{
	struct node_pool *p = arg;
	struct forkserver *fs = p->forkserver;
	struct node_worker *w, *tmp;
	uint64_t old;
	char text[96];

	log_line(p->node->stage >= NODE_STOPPING ? LOG_DEBUG : LOG_WARNING, "forkserver",
		 "pool %s: ended (status %d, signal %d)", p->config->pool, status, signal);
	p->forkserver = NULL;
	p->forkserver_ready = false;
	old = p->forkserver_id++; /* what is started from here on belongs to the next one */
	if (!p->detail_fresh) {
		snprintf(text, sizeof text, "the fork server ended (status %d, signal %d)", status,
			 signal);
		node_pool_keep_detail(p, text, strlen(text));
	}
	p->detail_fresh = false;
	HASH_ITER(hh, p->workers, w, tmp)
	{
		if (w->exited || w->gone || w->forkserver_id != old)
			continue;
		w->orphan = true;
		if (w->os_pid > 0) {
			kill(-w->os_pid, SIGKILL);
			node_worker_broken(w, "fork_server_exit", "its fork server is gone");
		} else {
			node_worker_never_started(w);
		}
	}
	forkserver_close(fs);
	node_reap(p->node);
	node_maybe_end(p->node);
}

static void on_fs_closed(void *arg)
{
	struct node_pool *p = arg;

	p->forkservers_open--;
	node_maybe_end(p->node);
}

static const struct forkserver_callbacks forkserver_callbacks = {
	.on_ready = on_fs_ready,
	.on_failed = on_fs_failed,
	.on_forked = on_forked,
	.on_fork_failed = on_fork_failed,
	.on_exited = on_fs_exited,
	.on_line = on_fs_line,
	.on_down = on_fs_down,
	.on_closed = on_fs_closed,
};

int node_pool_start_forkserver(struct node_pool *p)
{
	struct node *n = p->node;
	struct forkserver_options options = { .python = n->options->python,
					      .script = n->options->script,
					      .node = n->options->name,
					      .mark = n->mark,
					      .config = p->config };
	int rc;

	p->forkserver = forkserver_start(&n->loop, &options, &forkserver_callbacks, p, &rc);
	if (p->forkserver == NULL) {
		log_line(LOG_ERROR, "forkserver", "pool %s: cannot start %s: %s", p->config->pool,
			 options.python, uv_strerror(rc));
		return rc;
	}
	p->forkservers_open++;
	return 0;
}

void node_pool_stop_forkserver(struct node_pool *p)
{
	if (p->forkserver != NULL)
		forkserver_kill(p->forkserver);
}
