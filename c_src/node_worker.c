/* node_worker.c - the pool's worker processes: starts, frames, output, exits.
 *
 * The happy path: POOL_START -> channel and pipes -> the fork server forks -> HELLO -> ready; calls; exit
 * reported -> what is left of its group is killed, channel and pipes are emptied -> POOL_WORKER_GONE ->
 * "reap". No signal is sent after that.
 * What can go wrong: no descriptors (told as a failed start); it is to be killed before it is forked
 * (forgotten, and killed if it is forked after all); the fork server dies (its workers die with it by the kernel; they
 * are our children then, and are reaped here); the preload hangs (given up with the start that it holds
 * up); a frame is not in the protocol (killed). */
#include "node_failures.h"
#include "node_private.h"

#include "children.h"
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct node_worker *node_worker_find(struct node_pool *p, uint64_t id)
{
	struct node_worker *w;

	HASH_FIND(hh, p->workers, &id, sizeof id, w);
	return w;
}

struct node_worker *node_worker_find_pid(struct node_pool *p, int os_pid)
{
	struct node_worker *w, *tmp;

	HASH_ITER(hh, p->workers, w, tmp)
	{
		if (w->os_pid == os_pid && !w->exited)
			return w;
	}
	return NULL;
}

const char *signal_name(int signal)
{
	static const struct {
		int signal;
		const char *name;
	} names[] = {
		{ SIGHUP, "sighup" },       { SIGINT, "sigint" },   { SIGQUIT, "sigquit" },
		{ SIGILL, "sigill" },       { SIGTRAP, "sigtrap" }, { SIGABRT, "sigabrt" },
		{ SIGBUS, "sigbus" },       { SIGFPE, "sigfpe" },   { SIGKILL, "sigkill" },
		{ SIGUSR1, "sigusr1" },     { SIGSEGV, "sigsegv" }, { SIGUSR2, "sigusr2" },
		{ SIGPIPE, "sigpipe" },     { SIGALRM, "sigalrm" }, { SIGTERM, "sigterm" },
		{ SIGXCPU, "sigxcpu" },     { SIGXFSZ, "sigxfsz" }, { SIGSYS, "sigsys" },
		{ SIGVTALRM, "sigvtalrm" }, { SIGPROF, "sigprof" },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].signal == signal)
			return names[i].name;
	return "unknown";
}

void node_worker_signal(struct node_worker *w, int signal, bool group)
{
	if (w == NULL || w->exited || w->gone)
		return;
	if (w->os_pid > 0) {
		kill(group ? -w->os_pid : w->os_pid, signal);
	} else if (signal == SIGKILL) {
		/* Not forked yet, and nobody waits for that: if it ever is, on_forked() kills it. A fork
		 * server that has not come to serving starts by now hangs in its preload. */
		w->gone = true;
		w->pool->failed_ids[w->pool->failed_count++] = w->id;
		if (w->forkserver != NULL && w->killed_for == NULL)
			node_forkserver_hangs(w->forkserver);
	}
}

void node_pool_keep_detail(struct node_pool *p, const char *text, size_t len)
{
	size_t skip = len > sizeof p->detail ? len - sizeof p->detail : 0;

	node_failures_start(p, text, len);
	p->detail_len = len - skip;
	memcpy(p->detail, text + skip, p->detail_len);
}

/* ---- a worker's ends ---- */

static void on_closed(void *arg, struct worker *io)
{
	struct node_worker *w = arg;
	struct node_pool *p = w->pool;

	node_log_printer_close(&w->printer);
	HASH_DELETE(hh, p->workers, w);
	node_forkserver_part(w);
	node_callbacks_end_worker(w);
	node_cgroup_remove(w);
	worker_free(io);
	mem_free(w);
	node_maybe_end(p->node);
}

void node_worker_gone(struct node_worker *w)
{
	if (node_hears(w->pool)) /* there never was a process */
		node_event_worker_exited(w, WHY_NONE);
	w->exited = true;
	worker_close(w->io);
}

static void log_exit(const struct node_worker *w, bool wanted)
{
	enum log_level level = wanted ? LOG_DEBUG : LOG_WARNING;

	if (w->signal != 0)
		log_line(level, w->object, "exited: signal %s%s", signal_name(w->signal),
			 w->ready ? "" : ", before it was ready");
	else
		log_line(level, w->object, "exited: status %d%s", w->status,
			 w->ready ? "" : ", before it was ready");
}

/* The process is a zombie, or was reaped by us. Tells the pool after its last words were heard. */
void node_worker_exited(struct node_worker *w, int status, int signal)
{
	struct node_pool *p = w->pool;
	const struct pool_worker *pw = pool_worker(p->pool, w->id);
	bool one_slot = pw != NULL && pw->slots == 1;
	bool wanted = pw == NULL || (pw->state == WORKER_STOPPING && !w->ended_itself);
	struct buf lines = { 0 };

	if (w->forkserver != NULL) {
		kill(-w->os_pid,
		     SIGKILL); /* what it left in its group; the zombie keeps the number ours */
		forkserver_reap(w->forkserver->io, w->os_pid);
	}
	node_callbacks_end_worker(w);
	/* before its last answer is read, or the next call would go to a process that is no more */
	node_pool_event(p, &(struct pool_event){ .type = POOL_WORKER_BROKEN, .worker_id = w->id });
	w->exited = true;
	w->status = status;
	w->signal = signal;
	node_cgroup_exited(w);
	worker_close(w->io);
	log_exit(w, wanted);
	node_metrics_exited(w, wanted);
	if (node_hears(p))
		node_event_worker_exited(w, pw != NULL ? pw->why : WHY_STOP);
	if (!w->ready && !wanted) {
		char head[96];

		if (signal != 0)
			snprintf(head, sizeof head, "worker exited at start: signal %s\n",
				 signal_name(signal));
		else
			snprintf(head, sizeof head, "worker exited at start: status %d\n", status);
		buf_put(&lines, head, strlen(head));
		worker_last_lines(w->io, &lines);
		if (lines.err == 0)
			node_pool_keep_detail(p, (char *)lines.data, lines.len);
		buf_free(&lines);
	}
	p->dying = w;
	w->gone = true;
	node_pool_event(p, &(struct pool_event){ .type = POOL_WORKER_GONE,
						 .worker_id = w->id,
						 .failed = !w->ready,
						 .not_begun = w->unread && one_slot });
	p->dying = NULL;
}

/* Whether the process is on its way out already: PF_EXITING (0x4) in the ninth field of
 * /proc/PID/stat, proc(5). A process that cannot be read is gone. */
static bool is_exiting(int os_pid)
{
	char path[64], text[512], *at;
	unsigned long flags = 0x4;
	FILE *file;
	size_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", os_pid);
	if ((file = fopen(path, "re")) == NULL)
		return true;
	n = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[n] = '\0';
	if ((at = strrchr(text, ')')) != NULL)
		(void)!sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags);
	return (flags & 0x4) != 0;
}

void node_worker_broken(struct node_worker *w, const char *killed_for, const char *why)
{
	const struct pool_worker *pw = pool_worker(w->pool->pool, w->id);

	if (pw == NULL || w->gone || w->exited)
		return;
	if (pw->state != WORKER_STOPPING) {
		w->ended_itself = true;
		if (w->os_pid > 0 && !is_exiting(w->os_pid)) {
			log_line(LOG_WARNING, w->object, "%s: killed", why);
			w->killed_for = killed_for;
		}
	}
	node_pool_event(w->pool,
			&(struct pool_event){ .type = POOL_WORKER_BROKEN, .worker_id = w->id });
}

static void on_broken(void *arg, struct worker *io, const char *why, bool unread)
{
	struct node_worker *w = arg;

	(void)io;
	w->unread = unread;
	/* Not forked yet: its pipes end with the fork server that was to do it, whose end is told with its cause. */
	if (w->os_pid == 0 && w->forkserver != NULL)
		return;
	node_worker_broken(w, "channel_closed", why);
}

static void name_worker(struct node_worker *w)
{
	snprintf(w->object, sizeof w->object, "worker %.48s/%llu pid %d", w->pool->config->name,
		 (unsigned long long)w->id, w->os_pid);
}

void node_worker_know_pid(struct node_worker *w, int os_pid)
{
	w->os_pid = w->printer.os_pid = os_pid;
	name_worker(w);
}

/* ---- frames and lines ---- */

/* Remembers what went wrong in a call, for `workers`. */
static void note_error(struct node_worker *w, const struct frame *frame)
{
	const uint8_t *at = frame->rest, *end = at + frame->rest_len;
	const char *kind = "", *type = "";
	size_t kind_len = 0, type_len = 0;

	(void)frame_get_str(&at, end, &kind, &kind_len);
	if (kind_len == 6 && memcmp(kind, "python", 6) == 0)
		(void)frame_get_str(&at, end, &type, &type_len);
	snprintf(w->error, sizeof w->error, "%.*s%s%.*s", (int)kind_len, kind,
		 type_len > 0 ? ": " : "", (int)(type_len < 200 ? type_len : 200), type);
}

static void on_frame(void *arg, struct worker *io, const struct frame *frame)
{
	struct node_worker *w = arg;
	struct node_pool *p = w->pool;

	if (w->gone)
		return;
	switch (frame->type) {
	case FRAME_HELLO:
		node_worker_hello(w, frame);
		return;
	case FRAME_ERROR:
		note_error(w, frame);
		break;
	case FRAME_RESULT:
		histogram_add(&p->result_bytes, frame->rest_len);
		break;
	case FRAME_PONG:
		break;
	case FRAME_OPENED:
		node_stream_open_frame(w, frame);
		return;
	case FRAME_ITEM:
		histogram_add(&p->result_bytes, frame->rest_len);
		node_stream_item(w, frame);
		return;
	case FRAME_CALLBACK:
		node_callback_frame(w, frame);
		return;
	case FRAME_PROGRESS:
		node_progress_frame(w, frame);
		return;
	case FRAME_TAKEN:
		node_pool_event(p, &(struct pool_event){ .type = POOL_WORKER_TAKEN,
							 .worker_id = w->id,
							 .call_id = frame->id });
		return;
	default:
		node_worker_broken(w, "bad_frame", "a frame of an unknown type");
		return;
	}
	node_callbacks_end_call(w, frame->id);
	p->frame = frame;
	p->frame_io = io;
	node_pool_event(p, &(struct pool_event){ .type = POOL_WORKER_ANSWER,
						 .worker_id = w->id,
						 .call_id = frame->id });
	p->frame = NULL;
}

/* A line that the worker printed, with the call that it was running if that is clear. */
static void on_line(void *arg, struct worker *io, bool is_stderr, const char *line, size_t len)
{
	struct node_worker *w = arg;
	const struct pool_worker *pw = w->gone ? NULL : pool_worker(w->pool->pool, w->id);
	const struct pool_call *call = pw != NULL ? pool_worker_call(pw) : NULL;

	(void)io;
	node_log_printed(&w->printer, call != NULL ? call->id : 0, is_stderr, line, len);
}

static const struct worker_callbacks worker_callbacks = {
	.on_frame = on_frame,
	.on_line = on_line,
	.on_broken = on_broken,
	.on_closed = on_closed,
};

/* ---- starts ---- */

/* A start that ended before there was a process. */
void node_worker_never_started(struct node_worker *w)
{
	struct node_pool *p = w->pool;

	if (w->gone)
		return;
	w->gone = true;
	p->dying = w;
	node_pool_event(p, &(struct pool_event){
				   .type = POOL_WORKER_GONE, .worker_id = w->id, .failed = true });
	p->dying = NULL;
	node_worker_gone(w);
}

static void fail_start(struct node_worker *w, int rc)
{
	char text[128];

	snprintf(text, sizeof text, "cannot start a worker: %s", uv_strerror(rc));
	log_line(LOG_ERROR, w->object, "%s", text);
	node_pool_keep_detail(w->pool, text, strlen(text));
	w->gone = true;
	w->pool->failed_ids[w->pool->failed_count++] = w->id;
}

/* A worker with its pipes, in the table; NULL, and a negative errno in *rc. */
static struct node_worker *make_worker(struct node_pool *p, uint64_t id, unsigned index,
				       int fds[WORKER_FDS], int *rc)
{
	struct node_worker *w = mem_zalloc(sizeof *w);

	*rc = -ENOMEM;
	if (w == NULL)
		return NULL;
	w->id = id;
	w->index = index;
	w->pool = p;
	list_init(&w->sends);
	list_init(&w->throttled);
	list_init(&w->recall);
	name_worker(w);
	node_log_printer_init(&w->printer, p, w->object);
	w->printer.worker = id;
	HASH_ADD(hh, p->workers, id, sizeof w->id, w);
	if (w->hh.tbl == NULL)
		goto err0;
	w->io = worker_new(&p->node->loop, p->config->max_result_bytes + 65536, &worker_callbacks,
			   w, fds, rc);
	if (w->io == NULL)
		goto err1;
	return w;
err1:
	HASH_DELETE(hh, p->workers, w);
err0:
	mem_free(w);
	return NULL;
}

void node_worker_start(struct node_pool *p, uint64_t id, unsigned index)
{
	int fds[WORKER_FDS], rc;
	struct node_worker *w = make_worker(p, id, index, fds, &rc);

	if (w == NULL) {
		log_line(LOG_ERROR, p->object, "cannot start a worker: %s", uv_strerror(rc));
		node_pool_keep_detail(p, uv_strerror(rc), strlen(uv_strerror(rc)));
		p->failed_ids[p->failed_count++] = id;
		return;
	}
	if ((rc = node_forkserver_fork(w, fds)) != 0)
		fail_start(w, rc);
}
