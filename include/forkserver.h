/* forkserver.h - the preloaded Python process that workers are forked from, and all it guards.
 *
 * One per pool. The node starts it with the pool's interpreter and one end of a SOCK_SEQPACKET socket
 * pair as descriptor 3; each packet is one msgpack array. This comment is the specification for both
 * ends (python/krait/_forkserver.py is the other one).
 *
 * Node to fork server:
 *   ["setup", map]     first packet. Keys: "node" str (the node's name), "node_pid" int, "pool" str,
 *                      "method" "fork"|"spawn", "preload" array of str (modules), "expose" array of
 *                      [name, module, attr] of str, "allow" array of str (patterns; empty: all),
 *                      "max_depth" int, "max_result_bytes" int, "path" array of str (put in front
 *                      of sys.path), "slots" int (calls that a worker holds at once), "utf8" bool,
 *                      "cwd" str ("": as it is), "nice" int (added), "oom_score_adj" int (0: as it is),
 *                      "indexed_env" array of str (NAME=VALUE, {index} is replaced), "limits" map of
 *                      str ("as", "cpu", "nofile", "core") to int
 *   ["start", worker_id int, index int, cgroup str]  (cgroup, a directory, only if it has one) with four descriptors by SCM_RIGHTS: the worker's
 *                      channel (a stream socket), the write ends of its stdout and its stderr, and its end of
 *                      the queue of calls sent ahead (worker_ahead.h)
 *   ["reap", os_pid int]  the node will not signal that process again: wait for it now
 * Fork server to node:
 *   ["ready", os_pid int, versions map]     the preload is done, starts are served
 *   ["failed", text str]                    the preload raised; the traceback. It exits after this
 *   ["forked", worker_id int, os_pid int]   the worker is its own process group, os_pid its leader
 *   ["fork_failed", worker_id int, text str]
 *   ["exited", os_pid int, status int, signal int]  status: exit status if signal is 0. The process
 *                      is still a zombie: its pid cannot be given to another before "reap" says so,
 *                      which is why the node may signal its group until then
 *
 * Deaths. The fork server carries PR_SET_PDEATHSIG(SIGKILL) towards the node and every worker towards
 * the fork server; end of file on descriptor 3 ends it too. So whoever is killed takes along what is
 * below. Processes that Python code started itself die with their worker's process group, and when the
 * node is gone by the guard (guard.h), which knows them by KRAIT_MARK in their environment. */
#ifndef KRAIT_FORKSERVER_H
#define KRAIT_FORKSERVER_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define FORKSERVER_FDS 4

struct forkserver;

struct forkserver_callbacks {
	/* The preload is done; `versions` such as "python 3.11.2, krait 0.1.0". */
	void (*on_ready)(void *arg, int os_pid, const char *versions);
	/* The preload raised; the traceback. on_down follows. */
	void (*on_failed)(void *arg, const char *text, size_t len);
	void (*on_forked)(void *arg, uint64_t worker_id, int os_pid);
	void (*on_fork_failed)(void *arg, uint64_t worker_id, const char *text, size_t len);
	/* A worker is a zombie; signal its group now if at all, then call forkserver_reap(). */
	void (*on_exited)(void *arg, int os_pid, int status, int signal);
	/* A line that it printed itself. */
	void (*on_line)(void *arg, bool is_stderr, const char *line, size_t len);
	/* The process is gone; its workers get SIGKILL from the kernel. After it, nothing but
	 * forkserver_close() may be called. */
	void (*on_down)(void *arg, int status, int signal);
	void (*on_closed)(void *arg);
};

struct forkserver_options {
	const char *python; /* interpreter */
	const char *script; /* path of krait/_start.py */
	const char *node;   /* its name */
	const char *mark;   /* the entry of the environment that marks all our processes */
	const struct config_pool *config;
};

/* Starts the process and sends it the set-up. Everything in `options` is used before it returns. NULL,
 * and a negative errno in *error. */
struct forkserver *forkserver_start(uv_loop_t *loop, const struct forkserver_options *options,
				    const struct forkserver_callbacks *callbacks, void *arg,
				    int *error) __attribute__((warn_unused_result));

/* Asks for a worker; `cgroup` is the directory of its own, or NULL. The descriptors (channel, stdout, stderr,
 * queue) are taken over: they are closed once passed on, or when this fails. 0 or a negative errno. Served after the preload, in order. */
int forkserver_fork(struct forkserver *fs, uint64_t worker_id, unsigned index, const char *cgroup,
		    const int fds[FORKSERVER_FDS]) __attribute__((warn_unused_result));

/* Lets it wait for a worker that was reported as exited. */
void forkserver_reap(struct forkserver *fs, int os_pid);

/* Ends the process: SIGKILL. on_down follows. */
void forkserver_kill(struct forkserver *fs);

/* Closes all handles -> on_closed; memory is freed after it. */
void forkserver_close(struct forkserver *fs);

#endif
