/* node.c - the node's life: loop, listener, signals, stop, the end; see node.h and node_private.h.
 *
 *     starting -> running -> draining -> stopping -> closing
 *
 * starting: listening and publishing the name; `ready` is printed when both are done. draining: told to
 * stop; what runs may finish for stop_timeout. stopping: workers end, politely, then not. closing: all
 * handles close, the loop ends; peers get LINGER_MS to hear the last answers. node_maybe_end() alone decides
 * whether we are fully stopped.
 * What can go wrong at the start: the address is taken or the name is (a clear line and an exit status);
 * later nothing ends the node but being told: stop, SIGTERM, SIGINT, or the end of standard input. */
#include "node_private.h"

#include "children.h"
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a peer may take to hear the last answers and to hang up: of the second that node_notify_stopping() asks
 * for beside what workers take. */
#define LINGER_MS 500

uint64_t node_now_us(void)
{
	return uv_hrtime() / 1000;
}

uint64_t node_id(struct node *n)
{
	return n->next_id++;
}

struct term_pid node_pid(const struct node *n, uint64_t id)
{
	return (struct term_pid){ .node = n->options->name,
				  .node_len = (uint16_t)strlen(n->options->name),
				  .id = (uint32_t)id,
				  .serial = (uint32_t)(id >> 32),
				  .creation = n->creation };
}

/* ---- the end ---- */

static void close_handle(void *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* All workers are gone: let everything else go. */
static void close_all(struct node *n)
{
	struct node_pool *p = NULL;
	struct list *pos, *next;

	n->stage = NODE_CLOSING;
	node_lanes_close(n);
	books_flush_dirty(n);
	list_each (pos, next, &n->books)
		peer_finish(list_entry(pos, struct books, link)->peer, "the node stops", LINGER_MS);
	node_metrics_close(n);
	node_connect_close(n);
	node_callbacks_close(n);
	node_events_close(n);
	epmd_close(n->epmd);
	guard_close(n->guard);
	close_handle(&n->listener);
	close_handle(&n->sigterm);
	close_handle(&n->sigint);
	signal(SIGTERM, SIG_IGN); /* it is ending: one more wish for that changes nothing */
	signal(SIGINT, SIG_IGN);
	node_reload_close(n);
	close_handle(&n->sigchld);
	close_handle(&n->stop_timer);
	close_handle(&n->memory_timer);
	close_handle(&n->large_timer);
	close_handle(&n->notify_timer);
	close_handle(&n->prepare);
	if (n->stdin_open)
		close_handle(&n->stdin_pipe);
	while ((p = node_pool_any_next(n, p)) != NULL) {
		close_handle(&p->timer);
		close_handle(&p->deadlock_timer);
		close_handle(&p->reload_timer);
	}
	if (n->resolvers > 0)
		uv_stop(&n->loop);
}

void node_maybe_end(struct node *n)
{
	struct node_pool *p = NULL;
	bool forkservers = false;

	node_pools_sweep(n);
	if (n->stage != NODE_STOPPING)
		return;
	while ((p = node_pool_any_next(n, p)) != NULL)
		if (p->workers != NULL)
			return;
	while ((p = node_pool_any_next(n, p)) != NULL)
		forkservers |= node_forkservers_stop(p);
	if (!forkservers) /* else their ends bring us here again */
		close_all(n);
}

/* Tells all pools. */
static void tell_pools(struct node *n, enum pool_event_type type)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_any_next(n, p)) != NULL)
		if (!p->stopped)
			node_pool_event(p, &(struct pool_event){ .type = type });
}

static void stop_workers(struct node *n)
{
	if (n->stage >= NODE_STOPPING)
		return;
	n->stage = NODE_STOPPING;
	tell_pools(n, POOL_STOP);
	node_maybe_end(n);
}

void node_drained(struct node *n)
{
	struct node_pool *p = NULL;

	if (n->stage != NODE_DRAINING)
		return;
	while ((p = node_pool_any_next(n, p)) != NULL)
		if (!p->has_drained)
			return;
	stop_workers(n);
}

static void on_stop_timeout(uv_timer_t *timer)
{
	struct node *n = timer->data;

	log_line(LOG_WARNING, "node", "calls still run after stop_timeout: they are ended");
	stop_workers(n);
}

void node_stop(struct node *n, const char *why)
{
	if (n->stage >= NODE_STOPPING)
		return;
	if (n->stage == NODE_DRAINING) {
		log_line(LOG_INFO, "node", "stopping now: %s again", why);
		stop_workers(n);
		return;
	}
	log_line(LOG_INFO, "node", "stopping: %s", why);
	node_event_stopping(n, why);
	n->stage = NODE_DRAINING;
	node_notify_stopping(n);
	uv_timer_start(&n->stop_timer, on_stop_timeout, n->config->stop_timeout_ms, 0);
	/* the message that told it may be in the pump's caller: the pool is told in the next turn */
	n->drain_due = true;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	node_stop(handle->data, signum == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
	struct node *n = handle->data;

	(void)signum;
	n->reap_due = true; /* after libuv has waited for its own */
}

static void on_prepare(uv_prepare_t *handle)
{
	struct node *n = handle->data;

	if (n->reap_due) {
		n->reap_due = false;
		node_reap(n);
	}
	if (n->hup_due && n->job == NULL) {
		n->hup_due = false;
		node_reload_hup(n);
	}
	if (n->drain_due) {
		n->drain_due = false;
		tell_pools(n, POOL_DRAIN);
	}
	node_lanes_gather(n);
	books_flush_dirty(n);
	node_large_check(n);
}

static void on_stdin_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	static char ignored[256];

	(void)h;
	(void)suggested;
	*buf = uv_buf_init(ignored, sizeof ignored);
}

static void on_stdin(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct node *node = stream->data;

	(void)buf;
	if (n >= 0)
		return;
	uv_read_stop(stream);
	node_stop(node, "standard input was closed");
}

/* ---- the name ---- */

static void fail(struct node *n, int status)
{
	if (n->exit_status == NODE_EXIT_OK)
		n->exit_status = status;
	epmd_close(n->epmd);
	n->epmd = NULL;
	stop_workers(n);
}

static void on_epmd(void *arg, enum epmd_event event, uint32_t creation, const char *text)
{
	struct node *n = arg;

	switch (event) {
	case EPMD_PUBLISHED:
		n->creation = n->peer_options.dist.creation = creation;
		if (n->stage != NODE_STARTING)
			break; /* told to stop meanwhile */
		n->stage = NODE_RUNNING;
		log_line(LOG_INFO, "node", "%s listens on %s port %u", n->options->name,
			 n->config->listen, n->port);
		printf("ready %s %u %d\n", n->options->name, n->port, (int)getpid());
		fflush(stdout);
		node_notify_ready(n);
		break;
	case EPMD_AGAIN:
		log_line(LOG_INFO, "epmd", "published again");
		break;
	case EPMD_LOST:
		log_line(LOG_WARNING, "epmd", "%s: publishing again as soon as it answers", text);
		break;
	case EPMD_NAME_TAKEN:
		log_line(LOG_ERROR, "epmd", "the name %s is taken: %s", n->options->name, text);
		if (n->stage == NODE_STARTING)
			fail(n, NODE_EXIT_NAME_TAKEN);
		break;
	case EPMD_FAILED:
		log_line(LOG_ERROR, "epmd", "%s", text);
		fail(n, NODE_EXIT_FAILURE);
		break;
	}
}

static int publish(struct node *n)
{
	char alive[DIST_NAME_MAX + 1];
	const char *at = strchr(n->options->name, '@');

	snprintf(alive, sizeof alive, "%.*s", (int)(at - n->options->name), n->options->name);
	n->epmd = epmd_publish(&n->loop, alive, n->port, on_epmd, n);
	return n->epmd != NULL ? 0 : -ENOMEM;
}

/* ---- the start ---- */

static void set_peer_options(struct node *n)
{
	n->peer_options = (struct peer_options){
		.dist = { .name = n->options->name,
			  .cookie = n->options->cookie,
			  .flags = DIST_FLAGS,
			  .max_frame = INT32_MAX },
	};
	node_take_options(n);
}

static void init_handles(struct node *n)
{
	node_connect_init(n);
	node_callbacks_init(n);
	node_lanes_init(n);
	node_reload_init(n);
	node_events_init(n);
	node_notify_init(n);
	uv_timer_init(&n->loop, &n->stop_timer);
	node_memory_init(n);
	node_large_init(n);
	uv_prepare_init(&n->loop, &n->prepare);
	uv_signal_init(&n->loop, &n->sigterm);
	uv_signal_init(&n->loop, &n->sigint);
	uv_signal_init(&n->loop, &n->sigchld);
	n->stop_timer.data = n->prepare.data = n->sigterm.data = n->sigint.data = n->sigchld.data =
		n;
	uv_prepare_start(&n->prepare, on_prepare);
	uv_signal_start(&n->sigterm, on_signal, SIGTERM);
	uv_signal_start(&n->sigint, on_signal, SIGINT);
	uv_signal_start(&n->sigchld, on_sigchld, SIGCHLD);
	if (n->config->stop_on_eof) {
		uv_pipe_init(&n->loop, &n->stdin_pipe, 0);
		n->stdin_pipe.data = n;
		n->stdin_open = true;
		if (uv_pipe_open(&n->stdin_pipe, STDIN_FILENO) != 0 ||
		    uv_read_start((uv_stream_t *)&n->stdin_pipe, on_stdin_alloc, on_stdin) != 0)
			log_line(LOG_WARNING, "node",
				 "standard input is not a pipe: --stop-on-eof has no effect");
	}
}

/* Random bits: for the hashes of keys that peers choose, for the jitter of pools, and for the mark of our
 * processes. */
static void make_random(struct node *n)
{
	uint64_t random[4] = { 0 };

	(void)!uv_random(NULL, NULL, random, sizeof random, 0, NULL);
	transcode_seed(random[0]);
	hash_seed(random[1]);
	n->random = random[2];
	snprintf(n->mark, sizeof n->mark, "KRAIT_MARK=%s:%d:%016llx", n->options->name,
		 (int)getpid(), (unsigned long long)random[3]);
}

static void count_handle(uv_handle_t *h, void *count)
{
	(void)h;
	++*(unsigned *)count;
}

/* A resolver that waits for a name server cannot be stopped, and the end of a process waits for its
 * threads, unless it is told not to. Everything else of us is closed by then. */
static void end_without_resolvers(struct node *n, int status)
{
	unsigned handles;

	for (;;) {
		handles = 0;
		uv_walk(&n->loop, count_handle, &handles);
		if (n->resolvers == 0 || handles == 0)
			break;
		uv_run(&n->loop, UV_RUN_ONCE);
	}
	if (n->resolvers == 0) {
		uv_run(&n->loop, UV_RUN_DEFAULT); /* the last of it, as without them */
		return;
	}
	log_line(LOG_INFO, "node", "stopped, and an address was still being looked up");
	fflush(stdout);
	_exit(status);
}

int node_run(const struct node_options *options)
{
	struct node *n = mem_zalloc(sizeof *n);
	int rc, status;

	if (n == NULL || uv_loop_init(&n->loop) != 0) {
		mem_free(n);
		return NODE_EXIT_FAILURE;
	}
	n->options = options;
	n->config = options->config;
	n->next_id = NODE_FIRST_ID;
	n->started_us = node_now_us();
	list_init(&n->pools);
	list_init(&n->books);
	list_init(&n->dirty);
	list_init(&n->strays);
	list_init(&n->dirty_lanes);
	table_init(&n->watches, node_watch_hash, NULL);
	make_random(n);
	set_peer_options(n);
	init_handles(n);
	for (unsigned i = 0; i < n->config->pools; i++) {
		if (node_pool_new(n, n->config->pool[i]) == NULL) {
			log_line(LOG_ERROR, "node", "no memory for the pools");
			return NODE_EXIT_FAILURE;
		}
	}
	node_limit_messages(n);
	if ((n->guard = guard_start(&n->loop, options->executable, n->mark, &rc)) == NULL)
		log_line(LOG_ERROR, "guard",
			 "cannot start %s: %s; what outlives the node is not killed",
			 options->executable, uv_strerror(rc));
	if (node_listen(n) != 0 || node_metrics_open(n) != 0 || publish(n) != 0)
		fail(n, NODE_EXIT_FAILURE);
	else
		tell_pools(n, POOL_TICK);
	node_loop(n);
	status = n->exit_status;
	end_without_resolvers(n, status);
	node_reload_end(n);
	while (!list_empty(&n->pools))
		node_pool_free(list_entry(n->pools.next, struct node_pool, link));
	table_close(&n->watches);
	buf_free(&n->scratch);
	buf_free(&n->names);
	buf_free(&n->session_key);
	node_large_end();
	node_cgroup_close(n);
	rc = uv_loop_close(&n->loop);
	assert(rc == 0);
	log_line(LOG_INFO, "node", "stopped");
	mem_free(n);
	return status;
}
