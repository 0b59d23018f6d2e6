/* children.c - the processes that belong to a libuv handle; see children.h. */
#include "children.h"

#include <stddef.h>
#include <sys/wait.h>

static int pids[64];

void children_add(int pid)
{
	for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++) {
		if (pids[i] == 0) {
			pids[i] = pid;
			return;
		}
	}
}

void children_remove(int pid)
{
	for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++)
		if (pids[i] == pid)
			pids[i] = 0;
}

static bool has(int pid)
{
	for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

int children_reap_others(bool (*known)(void *arg, int pid), void *arg)
{
	siginfo_t info = { 0 };

	/* One of libuv's own at the head of the queue ends this round; it will be waited for, and its
	 * SIGCHLD brings us here again. */
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
	       !has(info.si_pid)) {
		if (known(arg, info.si_pid))
			return info.si_pid;
		waitpid(info.si_pid, NULL, 0);
		info.si_pid = 0;
	}
	return 0;
}
