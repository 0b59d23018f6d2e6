/* guard.h - a tiny process that outlives the node by a moment, to leave nothing behind.
 *
 * The node starts it with the read end of a pipe as standard input. When the node is gone, however it
 * went, the pipe is at its end: the guard kills (SIGKILL) every process whose environment holds the
 * mark (an entry such as KRAIT_MARK=...), again and again until none is left, and exits. What the kernel's parent-death
 * signal takes along (fork server, workers) is usually gone by then; what is left is what Python code
 * started itself, sessions of their own included. */
#ifndef KRAIT_GUARD_H
#define KRAIT_GUARD_H

#include <uv.h>

struct guard;

/* Starts the guard as `executable --guard mark`. NULL, and a negative errno in *error. `mark` is the
 * whole entry of the environment. When the guard dies it is started again. */
struct guard *guard_start(uv_loop_t *loop, const char *executable, const char *mark, int *error)
	__attribute__((warn_unused_result));

/* Closes the handles; the guard itself ends when the node's process does. */
void guard_close(struct guard *g);

/* The guard's own life: waits for the end of standard input, kills, returns the exit status. */
int guard_main(const char *mark);

#endif
