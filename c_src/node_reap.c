/* node_reap.c - children of our own: workers whose fork server is gone, and strangers.
 *
 * A worker is its fork server's child, which waits for it. When that has ended the kernel gives the worker to
 * us; and as process 1, or as the reaper of what our processes leave behind, we get others, too. Each is
 * waited for when it ends, the workers first, by their numbers, so that none is taken for a stranger. */
#include "node_private.h"

#include "children.h"

#include <signal.h>
#include <sys/wait.h>

static void reap_orphans(struct node_pool *p)
{
	struct node_worker *w, *tmp;
	int status;

	HASH_ITER(hh, p->workers, w, tmp)
	{
		siginfo_t info = { 0 };

		if (!w->orphan || w->exited || w->os_pid == 0 ||
		    waitid(P_PID, (id_t)w->os_pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		    info.si_pid != w->os_pid)
			continue;
		kill(-w->os_pid, SIGKILL); /* while the zombie keeps the number */
		waitpid(w->os_pid, &status, 0);
		node_worker_exited(w, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
				   WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
}

static struct node_worker *find_child(struct node *n, int os_pid)
{
	struct node_pool *p = NULL;
	struct node_worker *w = NULL;

	while (w == NULL && (p = node_pool_any_next(n, p)) != NULL)
		w = node_worker_find_pid(p, os_pid);
	return w;
}

static bool is_worker(void *arg, int os_pid)
{
	return find_child(arg, os_pid) != NULL;
}

void node_reap(struct node *n)
{
	const struct node_worker *w;
	struct node_pool *p;
	int os_pid;

	/* An orphan may end after it was looked at and before strangers are: it must not pass for one. */
	do {
		p = NULL;
		while ((p = node_pool_any_next(n, p)) != NULL)
			reap_orphans(p);
		if (n->finding) /* what the thread runs is waited for there */
			break;
		os_pid = children_reap_others(is_worker, n);
		w = os_pid != 0 ? find_child(n, os_pid) : NULL;
	} while (w != NULL && w->orphan);
}
