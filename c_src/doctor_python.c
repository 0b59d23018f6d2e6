/* doctor_python.c - what the workers run on: the package, the interpreter of each pool, its directories. */
#include "doctor_private.h"

#include "interpreter.h"
#include "mem.h"
#include "start.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a Python says to a line of code, its first line; "" if it cannot be run. It is known to start and to end
 * with its input (interpreter_find() has had it say its version). */
static void run_python(const char *python, const char *code, char *answer, size_t size)
{
	int fds[2];
	size_t len = 0;
	pid_t pid;
	ssize_t n;

	answer[0] = '\0';
	if (pipe(fds) != 0)
		return;
	if ((pid = fork()) == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execl(python, python, "-c", code, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while (pid > 0 && len < size - 1 &&
	       (n = doctor_receive(fds[0], answer + len, size - 1 - len, doctor_now_ms() + 20000)) >
		       0)
		len += (size_t)n;
	answer[len] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void judge_interpreter(struct doctor *d, struct config_pool *p)
{
	char why[2048], codec[64];

	mem_free(p->interpreter);
	p->interpreter = interpreter_find(p->python, why, sizeof why);
	if (p->interpreter == NULL) {
		d->can_start = false;
		doctor_say(d, WRONG, "python",
			   "the node does not start: its workers have nothing to run on",
			   "Python 3.9 or later with msgpack: apt-get install python3-msgpack, or "
			   "in a virtual "
			   "environment pip install msgpack and --python DIR/bin/python",
			   "pool %s: %s", p->name, why);
		return;
	}
	run_python(p->interpreter,
		   "import msgpack\nprint('C' if msgpack.Packer.__module__ != 'msgpack.fallback' "
		   "else 'pure')",
		   codec, sizeof codec);
	if (strcmp(codec, "C") == 0)
		doctor_say(d, FINE, "python", "workers run on it", NULL, "pool %s: %s", p->name,
			   why);
	else
		doctor_say(d, DOUBT, "python",
			   "arguments and results are read and written many times slower",
			   "a msgpack with its C extension (Debian's has it), and no "
			   "$MSGPACK_PUREPYTHON",
			   "pool %s: %s; msgpack without its C extension", p->name, why);
}

static void judge_directories(struct doctor *d, const struct config_pool *p)
{
	struct stat st;

	for (uint64_t i = 0; i < p->pythonpath.count; i++)
		if (stat(p->pythonpath.item[i], &st) != 0 ||
		    access(p->pythonpath.item[i], R_OK) != 0)
			doctor_say(d, WRONG, "pythonpath", "Python finds no module there",
				   "a directory that the node's user can read", "pool %s: %s: %s",
				   p->name, p->pythonpath.item[i], strerror(errno));
	if (p->cwd != NULL &&
	    (stat(p->cwd, &st) != 0 || !S_ISDIR(st.st_mode) || access(p->cwd, X_OK) != 0))
		doctor_say(d, WRONG, "cwd", "workers cannot start there",
			   "a directory that the node's user can enter", "pool %s: %s", p->name,
			   p->cwd);
}

void doctor_python(struct doctor *d)
{
	char why[2 * PATH_MAX];

	d->can_start = true;
	if (start_files(d->executable, d->script, PATH_MAX, why, sizeof why) == 0) {
		doctor_say(d, FINE, "package", "the half of Krait that workers run", NULL, "%s",
			   d->script);
	} else {
		d->can_start = false;
		doctor_say(d, WRONG, "package",
			   "the node does not start: workers have nothing to run",
			   "install Krait anew (make install); the program and lib/krait belong "
			   "together",
			   "%s", why);
	}
	for (unsigned i = 0; i < d->config->pools; i++) {
		judge_interpreter(d, d->config->pool[i]);
		judge_directories(d, d->config->pool[i]);
	}
}
