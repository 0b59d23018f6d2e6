/* node_forkserver.c - the pool's fork servers, and what they say of workers.
 *
 * The happy path: one is started with the first worker that is wanted -> ready -> forked, exited ... until
 * the node stops. A reload starts a fresh one beside it; when that is ready new workers are its own, all
 * others are recycled, and the old one is ended when its last worker is gone (which would die with it).
 * What can go wrong: its preload raises or hangs, or it is killed: its workers go with it, the next start
 * begins with another one, and the breaker bounds how often. A fresh one that fails changes nothing, but
 * that the reload is answered with why. */
#include "node_private.h"

#include "log.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether it has done what it was for. */
static bool is_retired(const struct node_forkserver *f)
{
	return f != f->pool->current && f != f->pool->fresh;
}

static void end_if_idle(struct node_forkserver *f)
{
	if (is_retired(f) && f->workers == 0 && f->io != NULL)
		forkserver_kill(f->io);
}

/* ---- what it says ---- */

static void on_fs_ready(void *arg, int os_pid, const char *versions)
{
	struct node_forkserver *f = arg, *old;
	struct node_pool *p = f->pool;

	f->ready = true;
	log_line(LOG_INFO, f->object, "ready: pid %d, %s", os_pid, versions);
	if (f != p->fresh)
		return;
	if (p->node->stage >= NODE_DRAINING) { /* too late: on_fs_down() says so */
		forkserver_kill(f->io);
		return;
	}
	uv_timer_stop(&p->reload_timer);
	old = p->current;
	p->current = f;
	p->fresh = NULL;
	if (f->next != NULL) {
		node_pool_configure(p, f->next);
		f->next = NULL;
	}
	if (old != NULL)
		end_if_idle(old);
	node_pool_event(p, &(struct pool_event){ .type = POOL_RECYCLE });
	node_reloaded(p, true);
}

/* `text` is a traceback; its last line says what is wrong. The lines in front are those of its stderr. */
static void on_fs_failed(void *arg, const char *text, size_t len)
{
	struct node_forkserver *f = arg;
	size_t end = len, at;

	while (end > 0 && text[end - 1] == '\n')
		end--;
	for (at = end; at > 0 && text[at - 1] != '\n'; at--)
		;
	log_line(LOG_ERROR, f->object, "the preload failed: %.*s", (int)(end - at), text + at);
	node_pool_keep_detail(f->pool, text, len);
	f->told_why = true;
}

static void on_forked(void *arg, uint64_t worker_id, int os_pid)
{
	struct node_forkserver *f = arg;
	struct node_worker *w = node_worker_find(f->pool, worker_id);

	if (w == NULL || w->gone || w->forkserver != f) {
		kill(-os_pid, SIGKILL); /* not reaped before we say so: the number is its own */
		return;
	}
	node_worker_know_pid(w, os_pid);
}

static void on_fork_failed(void *arg, uint64_t worker_id, const char *text, size_t len)
{
	struct node_forkserver *f = arg;
	struct node_pool *p = f->pool;
	struct node_worker *w = node_worker_find(p, worker_id);

	log_line(LOG_ERROR, f->object, "cannot fork: %.*s", (int)(len < 500 ? len : 500), text);
	node_pool_keep_detail(p, text, len);
	if (w != NULL && w->forkserver == f)
		node_worker_never_started(w);
}

static void on_fs_exited(void *arg, int os_pid, int status, int signal)
{
	struct node_forkserver *f = arg;
	struct node_worker *w = node_worker_find_pid(f->pool, os_pid);

	if (w != NULL && w->forkserver == f)
		node_worker_exited(w, status, signal);
	else
		forkserver_reap(f->io, os_pid);
}

/* Keeps the end of what it said on stderr, whole lines if they are not too long. */
static void keep_words(struct node_forkserver *f, const char *line, size_t len)
{
	size_t room = sizeof f->words - 1, over = 0;

	if (len > room) {
		line += len - room;
		len = room;
	}
	if (f->words_len + len > room) {
		const char *newline;

		over = f->words_len + len - room;
		newline = memchr(f->words + over - 1, '\n', f->words_len - over + 1);
		over = newline != NULL ? (size_t)(newline + 1 - f->words) : f->words_len;
	}
	memmove(f->words, f->words + over, f->words_len - over);
	f->words_len -= over;
	memcpy(f->words + f->words_len, line, len);
	f->words_len += len;
	f->words[f->words_len++] = '\n';
}

static void on_fs_line(void *arg, bool is_stderr, const char *line, size_t len)
{
	struct node_forkserver *f = arg;

	if (is_stderr)
		keep_words(f, line, len);
	node_log_printed(&f->printer, 0, is_stderr, line, len);
}

/* ---- its end ---- */

static void keep_end(const struct node_forkserver *f, int status, int signal)
{
	char text[96 + sizeof f->words];

	snprintf(text, sizeof text, "the fork server ended (status %d, signal %d)%s%.*s", status,
		 signal, f->words_len > 0 ? "\n" : "", (int)f->words_len, f->words);
	if (!f->told_why)
		node_pool_keep_detail(f->pool, text, strlen(text));
}

/* The kernel has killed its workers, or does so now. */
static void lose_workers(struct node_forkserver *f)
{
	struct node_worker *w, *tmp;

	HASH_ITER(hh, f->pool->workers, w, tmp)
	{
		if (w->forkserver != f)
			continue;
		w->forkserver = NULL;
		f->workers--;
		if (w->exited || w->gone)
			continue;
		w->orphan = true;
		if (w->os_pid > 0) {
			kill(-w->os_pid, SIGKILL);
			node_worker_broken(w, "fork_server_exit", "its fork server is gone");
		} else {
			node_worker_never_started(w);
		}
	}
}

static void on_fs_down(void *arg, int status, int signal)
{
	struct node_forkserver *f = arg;
	struct node_pool *p = f->pool;
	struct forkserver *io = f->io;
	bool reloading = f == p->fresh;
	bool expected =
		p->stopped || p->node->stage >= NODE_STOPPING || (is_retired(f) && f->workers == 0);

	log_line(expected ? LOG_DEBUG : LOG_WARNING, f->object, "ended (status %d, signal %d)",
		 status, signal);
	if (!expected)
		keep_end(f, status, signal);
	f->io = NULL;
	if (p->current == f) /* what is started from here on belongs to the next one */
		p->current = NULL;
	if (reloading) {
		uv_timer_stop(&p->reload_timer);
		p->fresh = NULL;
	}
	lose_workers(f);
	forkserver_close(io);
	node_reap(p->node);
	if (reloading)
		node_reloaded(p, false);
	node_maybe_end(p->node);
}

static void on_fs_closed(void *arg)
{
	struct node_forkserver *f = arg;
	struct node *n = f->pool->node;

	list_remove(&f->link);
	config_pool_free(f->next);
	node_log_printer_close(&f->printer);
	mem_free(f);
	node_maybe_end(n);
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

/* ---- its start ---- */

/* Starts one more. NULL, and a negative errno in *error; why is kept as the pool's detail. */
static struct node_forkserver *start(struct node_pool *p, const struct config_pool *config,
				     int *error)
{
	struct node *n = p->node;
	struct forkserver_options options = { .python = config->interpreter,
					      .script = n->options->script,
					      .node = n->options->name,
					      .mark = n->mark,
					      .config = config };
	struct node_forkserver *f = mem_zalloc(sizeof *f);
	char text[256];

	*error = -ENOMEM;
	if (f != NULL) {
		f->pool = p;
		snprintf(f->object, sizeof f->object, "forkserver %.80s", p->config->name);
		node_log_printer_init(&f->printer, p, f->object);
		f->io = forkserver_start(&n->loop, &options, &forkserver_callbacks, f, error);
	}
	if (f != NULL && f->io != NULL) {
		list_append(&p->forkservers, &f->link);
		return f;
	}
	snprintf(text, sizeof text, "cannot start %s: %s", options.python, uv_strerror(*error));
	log_line(LOG_ERROR, p->object, "%s", text);
	node_pool_keep_detail(p, text, strlen(text));
	mem_free(f);
	return NULL;
}

int node_forkserver_fork(struct node_worker *w, const int fds[WORKER_FDS])
{
	struct node_pool *p = w->pool;
	char cgroup[PATH_MAX];
	int rc = 0;

	if (p->current ==
	    NULL) /* one that a reload has begun is as good as another, if it is told the same */
		p->current = p->fresh != NULL && p->fresh->next == NULL ? p->fresh
									: start(p, p->config, &rc);
	if (rc == 0)
		rc = node_cgroup_make(w, cgroup);
	if (rc != 0) {
		for (int i = 0; i < WORKER_FDS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		return rc;
	}
	assert(p->current != NULL);
	w->forkserver = p->current;
	w->forkserver->workers++;
	return forkserver_fork(p->current->io, w->id, w->index, w->in_cgroup ? cgroup : NULL, fds);
}

void node_forkserver_part(struct node_worker *w)
{
	struct node_forkserver *f = w->forkserver;

	if (f == NULL)
		return;
	w->forkserver = NULL;
	f->workers--;
	end_if_idle(f);
}

static void on_reload_timeout(uv_timer_t *timer)
{
	static const char why[] = "the preload did not end within start_timeout";
	struct node_pool *p = timer->data;

	log_line(LOG_ERROR, p->fresh->object, "%s: killed", why);
	node_pool_keep_detail(p, why, strlen(why));
	p->fresh->told_why = true;
	forkserver_kill(p->fresh->io);
}

int node_forkserver_reload(struct node_pool *p, struct config_pool *next)
{
	int rc;

	p->fresh = start(p, next != NULL ? next : p->config, &rc);
	if (p->fresh == NULL) {
		config_pool_free(next);
		return rc;
	}
	p->fresh->next = next;
	uv_timer_start(&p->reload_timer, on_reload_timeout, p->config->start_timeout_ms, 0);
	return 0;
}

void node_forkserver_init(struct node_pool *p)
{
	list_init(&p->forkservers);
	uv_timer_init(&p->node->loop, &p->reload_timer);
	p->reload_timer.data = p;
}

void node_forkserver_hangs(struct node_forkserver *f)
{
	if (f->io != NULL && !f->ready)
		forkserver_kill(f->io);
}

bool node_forkservers_stop(struct node_pool *p)
{
	struct list *at;
	bool any = false;

	for (at = p->forkservers.next; at != &p->forkservers; at = at->next) {
		struct node_forkserver *f = list_entry(at, struct node_forkserver, link);

		if (f->io == NULL)
			continue;
		any = true;
		forkserver_kill(f->io);
	}
	return any;
}
