/* start.c - what the node must know of its machine before it starts; see start.h. */
#include "start.h"

#include "dist.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int start_name(const struct config *c, char *name, size_t size, char *why, size_t why_size)
{
	const char *given = c->name != NULL ? c->name : c->sname;
	char host[256] = "";
	int n;

	if (c->sname != NULL && strchr(given, '@') == NULL) {
		if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') {
			snprintf(why, why_size, "--sname: this machine has no host name");
			return -EINVAL;
		}
		host[strcspn(host, ".")] = '\0';
		n = snprintf(name, size, "%s@%s", given, host);
	} else {
		n = snprintf(name, size, "%s", given);
	}
	if (n <= 0 || (size_t)n >= size || n > DIST_NAME_MAX) {
		snprintf(why, why_size, "the node's name \"%.300s\" is longer than %d bytes", given,
			 DIST_NAME_MAX);
		return -EINVAL;
	}
	return 0;
}

int start_files(char *executable, char *script, size_t size, char *why, size_t why_size)
{
	static const char *const places[] = { "python", "../python", "../../python",
					      "../share/krait/python", "../lib/krait/python" };
	char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", executable, size - 1);

	if (n <= 0 || (size_t)n >= sizeof dir) {
		snprintf(why, why_size, "cannot find my own path: %s",
			 n <= 0 ? strerror(errno) : "it is too long");
		return -ENOENT;
	}
	executable[n] = '\0';
	memcpy(dir, executable, (size_t)n + 1);
	dirname(dir);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (snprintf(script, size, "%s/%s/krait/_start.py", dir, places[i]) < (int)size &&
		    access(script, R_OK) == 0)
			return 0;
	snprintf(why, why_size,
		 "cannot find the Python package krait near %s (expected %s/python/krait)",
		 executable, dir);
	return -ENOENT;
}

static void end_early(int signum)
{
	_exit(128 + signum);
}

void start_limits(void)
{
	struct rlimit limit;

	if (getpid() == 1) { /* until the node's own handlers are there */
		signal(SIGTERM, end_early);
		signal(SIGINT, end_early);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}
