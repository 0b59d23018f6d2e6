/* guard.c - kills what is left when the node is gone; see guard.h.
 *
 * The happy path of the guard's process: read() returns 0 -> scan /proc until a scan finds nothing.
 * What can go wrong: it is killed (the node starts another, MAX_RUNS times in all); /proc is not
 * mounted (nothing to do but leave); something forks faster than it is killed (MAX_SCANS). */
#include "guard.h"

#include "children.h"
#include "log.h"
#include "mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNS    1000
#define MAX_SCANS   200 /* 5 ms apart: a second */
#define ENVIRON_MAX (256 * 1024)

/* One process of the guard; frees itself when both handles are closed. */
struct run {
	uv_process_t process;
	uv_pipe_t pipe;
	unsigned open;
	struct guard *guard; /* NULL when the guard was closed */
};

struct guard {
	uv_loop_t *loop;
	char *executable, *mark;
	struct run *run; /* NULL between two */
	unsigned runs;
};

static int start(struct guard *g);

static void run_closed(uv_handle_t *handle)
{
	struct run *r = handle->data;

	if (--r->open == 0)
		mem_free(r);
}

static void run_close(struct run *r)
{
	uv_close((uv_handle_t *)&r->process, run_closed);
	uv_close((uv_handle_t *)&r->pipe, run_closed);
}

static void on_exit_cb(uv_process_t *process, int64_t status, int signal)
{
	struct run *r = process->data;
	struct guard *g = r->guard;

	children_remove(process->pid);
	if (g == NULL)
		return;
	g->run = NULL;
	run_close(r);
	log_line(LOG_WARNING, "guard", "ended (status %d, signal %d), starting another",
		 (int)status, signal);
	if (g->runs >= MAX_RUNS || start(g) != 0)
		log_line(LOG_ERROR, "guard", "cannot start: what outlives the node is not killed");
}

static int start(struct guard *g)
{
	char *args[] = { g->executable, (char *)"--guard", g->mark, NULL };
	uv_stdio_container_t stdio[3] = { { .flags = UV_CREATE_PIPE | UV_READABLE_PIPE },
					  { .flags = UV_IGNORE },
					  { .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO } };
	uv_process_options_t options = { .exit_cb = on_exit_cb,
					 .file = g->executable,
					 .args = args,
					 .flags = UV_PROCESS_DETACHED,
					 .stdio_count = 3,
					 .stdio = stdio };
	struct run *r = mem_zalloc(sizeof *r);
	int rc;

	if (r == NULL)
		return -ENOMEM;
	g->runs++;
	r->guard = g;
	r->open = 2;
	r->process.data = r->pipe.data = r;
	uv_pipe_init(g->loop, &r->pipe, 0);
	stdio[0].data.stream = (uv_stream_t *)&r->pipe;
	rc = uv_spawn(g->loop, &r->process, &options);
	if (rc != 0) {
		run_close(r);
		return rc;
	}
	children_add(r->process.pid);
	uv_unref((uv_handle_t *)&r->process);
	uv_unref((uv_handle_t *)&r->pipe);
	g->run = r;
	return 0;
}

struct guard *guard_start(uv_loop_t *loop, const char *executable, const char *mark, int *error)
{
	struct guard *g = mem_zalloc(sizeof *g);

	*error = -ENOMEM;
	if (g == NULL)
		return NULL;
	g->loop = loop;
	g->executable = mem_dup(executable, strlen(executable));
	g->mark = mem_dup(mark, strlen(mark));
	if (g->executable != NULL && g->mark != NULL && (*error = start(g)) == 0)
		return g;
	guard_close(g);
	return NULL;
}

void guard_close(struct guard *g)
{
	if (g == NULL)
		return;
	if (g->run != NULL) {
		g->run->guard = NULL;
		run_close(g->run);
	}
	mem_free(g->executable);
	mem_free(g->mark);
	mem_free(g);
}

/* Whether the environment of process `pid` holds the entry `wanted`. */
static bool has_mark(const char *pid, const char *wanted, char *text)
{
	size_t wanted_len = strlen(wanted) + 1, len = 0;
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return false;
	while (len < ENVIRON_MAX - 1 && (n = read(fd, text + len, ENVIRON_MAX - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = '\0';
	for (const char *at = text; at + wanted_len <= text + len + 1; at += strlen(at) + 1)
		if (strcmp(at, wanted) == 0)
			return true;
	return false;
}

/* Kills all that carry the mark; returns how many there were. */
static int kill_marked(const char *wanted, char *text)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		long pid = strtol(entry->d_name, NULL, 10);

		if (pid > 1 && pid != getpid() && has_mark(entry->d_name, wanted, text)) {
			found++;
			kill((pid_t)pid, SIGKILL);
		}
	}
	closedir(dir);
	return found;
}

int guard_main(const char *mark)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	char byte, *text = mem_alloc(ENVIRON_MAX);
	ssize_t n;

	if (text == NULL || strchr(mark, '=') == NULL)
		return 1;
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	do {
		n = read(STDIN_FILENO, &byte, 1);
	} while (n > 0 || (n < 0 && errno == EINTR));
	for (int i = 0; i < MAX_SCANS && kill_marked(mark, text) > 0; i++)
		nanosleep(&pause, NULL);
	mem_free(text);
	return 0;
}
