/* interpreter.c - finds the Python that workers run on; see interpreter.h.
 *
 * The happy path: a candidate prints its version and msgpack's, and is taken. What can go wrong: it does
 * not exist or is not executable (passed over in silence), it is too old or lacks msgpack (told at
 * the end), it hangs (killed after PROBE_MS). */
#include "interpreter.h"

#include "log.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_MS 20000

static const char probe_code[] =
	"import sys\n"
	"v = '%d.%d.%d' % sys.version_info[:3]\n"
	"if sys.version_info < (3, 9): print('is Python ' + v + ', older than 3.9'); sys.exit(1)\n"
	"try: import msgpack\n"
	"except ImportError: print('is Python ' + v + ' without msgpack'); sys.exit(1)\n"
	"print('Python ' + v + ', msgpack ' + '.'.join(map(str, msgpack.version)))\n";

/* Reads what the process prints until it closes its output or the time is up. */
static size_t read_answer(int fd, char *answer, size_t size)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && poll(&poller, 1, PROBE_MS) == 1) {
		n = read(fd, answer + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	while (len > 0 && answer[len - 1] == '\n')
		len--;
	answer[len] = '\0';
	return len;
}

/* Runs the probe with `path`. True: usable; `answer` says what it is, or why it is not. */
static bool probe(const char *path, char *answer, size_t size)
{
	char *argv[] = { (char *)path, (char *)"-c", (char *)probe_code, NULL };
	posix_spawn_file_actions_t actions;
	int fds[2], status = -1;
	pid_t pid;

	snprintf(answer, size, "does not run");
	if (pipe2(fds, O_CLOEXEC) != 0)
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, path, &actions, NULL, argv, environ) == 0) {
		close(fds[1]);
		fds[1] = -1;
		read_answer(fds[0], answer, size);
		kill(pid, SIGKILL); /* it has closed its output or hangs; a zombie does not mind */
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	posix_spawn_file_actions_destroy(&actions);
	close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	return strncmp(answer, "Python ", 7) == 0;
}

/* The search, and what it has seen. */
struct search {
	char *found;
	char *why;
	size_t why_size;
	char refused[1024]; /* "PATH is Python 3.11.7 without msgpack; ..." */
};

static bool try_one(struct search *s, const char *path, const char *because)
{
	char answer[256];
	size_t len = strlen(s->refused);

	if (access(path, X_OK) != 0)
		return false;
	if (probe(path, answer, sizeof answer)) {
		s->found = mem_dup(path, strlen(path));
		snprintf(s->why, s->why_size, "%s (%s), %s%s%s", path, answer, because,
			 len > 0 ? "; passed over: " : "", s->refused);
		return true;
	}
	snprintf(s->refused + len, sizeof s->refused - len, "%s%s %s", len > 0 ? "; " : "", path,
		 answer);
	return false;
}

/* DIR/NAME. */
static bool try_in(struct search *s, const char *dir, size_t dir_len, const char *name,
		   const char *because)
{
	char path[512];

	if (snprintf(path, sizeof path, "%.*s/%s", (int)dir_len, dir, name) >= (int)sizeof path)
		return false;
	return try_one(s, path, because);
}

/* `name` in every directory of $PATH. */
static bool try_path(struct search *s, const char *name)
{
	const char *dir = getenv("PATH");

	while (dir != NULL && *dir != '\0') {
		const char *end = strchr(dir, ':');
		size_t len = end != NULL ? (size_t)(end - dir) : strlen(dir);

		if (len > 0 && try_in(s, dir, len, name, "the first on PATH that has msgpack"))
			return true;
		dir = end != NULL ? end + 1 : NULL;
	}
	return false;
}

char *interpreter_find(const char *wanted, char *why, size_t why_size)
{
	struct search s = { .why = why, .why_size = why_size };
	const char *venv = getenv("VIRTUAL_ENV");

	if (wanted != NULL && strchr(wanted, '/') != NULL) {
		if (access(wanted, X_OK) != 0)
			snprintf(why, why_size,
				 "--python: found \"%s\" (%s), expected an executable file", wanted,
				 strerror(errno));
		else if (!try_one(&s, wanted, "given by --python"))
			snprintf(why, why_size,
				 "--python: %s, expected Python 3.9 or later with msgpack "
				 "(Debian: apt-get install python3-msgpack)",
				 s.refused);
		return s.found;
	}
	if (wanted != NULL) {
		snprintf(why, why_size,
			 "--python: found \"%s\", expected the path of an interpreter", wanted);
		return NULL;
	}
	/* python3 everywhere before python anywhere: a probe takes 20 ms and more, and where both are, they
	 * are the same */
	if ((venv != NULL &&
	     try_in(&s, venv, strlen(venv), "bin/python3", "of the virtual environment")) ||
	    try_path(&s, "python3") || try_path(&s, "python") ||
	    try_one(&s, "/usr/bin/python3", "in its usual place") ||
	    try_one(&s, "/usr/local/bin/python3", "in its usual place"))
		return s.found;
	snprintf(why, why_size,
		 "no Python 3.9 or later with msgpack%s%s; install python3-msgpack or give "
		 "--python",
		 s.refused[0] != '\0' ? ": " : "", s.refused);
	return NULL;
}
