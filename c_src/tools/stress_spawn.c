/* stress_spawn.c - a node of our own: started before the run, stopped after it.
 *
 * Its name has our pid in it, its cookie is random and goes through the environment, its log goes to a
 * file that is kept when something went wrong. It stops when our end of its standard input closes, so
 * it cannot outlive us. */
#include "stress.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ARGS_MAX 128

static void close_if_open(void *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void on_exit_cb(uv_process_t *process, int64_t status, int signal)
{
	struct stress *s = process->data;

	s->exited = true;
	s->exit_status = status;
	s->exit_signal = signal;
	close_if_open(&s->process);
	close_if_open(&s->node_in);
	if (s->phase < PHASE_END) {
		fail(s, NULL, "the node ended by itself: status %lld, signal %d", (long long)status,
		     signal);
		fatal(s, "the node is gone");
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct stress *s = h->data;

	(void)suggested;
	*buf = uv_buf_init(s->ready_line + s->ready_len,
			   (unsigned)(sizeof s->ready_line - 1 - s->ready_len));
}

/* `ready NAME PORT OS_PID` */
static void on_stdout(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct stress *s = stream->data;
	unsigned port;
	char name[WIRE_NAME_MAX + 1];

	(void)buf;
	if (n < 0) {
		close_if_open(&s->node_out);
		return;
	}
	s->ready_len += (size_t)n;
	s->ready_line[s->ready_len] = '\0';
	if (s->ready_len == sizeof s->ready_line - 1)
		s->ready_len = 0; /* it says more than we want to know */
	if (!s->node_ready && sscanf(s->ready_line, "ready %255s %u %*d\n", name, &port) == 2 &&
	    strchr(s->ready_line, '\n') != NULL) {
		s->address.sin_port = htons((uint16_t)port);
		s->node_ready = true;
	}
}

/* The program beside ours, unless --krait says another. */
static int find_program(const struct stress *s, char *path, size_t size)
{
	char self[PATH_MAX], *slash;
	ssize_t n;

	if (s->options.krait != NULL)
		return snprintf(path, size, "%s", s->options.krait) < (int)size ? 0 : -ENAMETOOLONG;
	if ((n = readlink("/proc/self/exe", self, sizeof self - 1)) <= 0)
		return -errno;
	self[n] = '\0';
	if ((slash = strrchr(self, '/')) == NULL)
		return -ENOENT;
	*slash = '\0';
	return snprintf(path, size, "%s/krait", self) < (int)size ? 0 : -ENAMETOOLONG;
}

static int open_log(struct stress *s)
{
	if (s->options.log != NULL)
		snprintf(s->log_path, sizeof s->log_path, "%s", s->options.log);
	else
		snprintf(s->log_path, sizeof s->log_path, "/tmp/krait_stress.%d.log",
			 (int)getpid());
	s->log_fd = open(s->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	return s->log_fd >= 0 ? 0 : -errno;
}

/* A random cookie, for us and in the environment that the node gets; unless it reads a file. */
static int make_cookie(struct stress *s)
{
	uint8_t random[24];
	char text[sizeof random + 1];

	if (s->options.cookie_file != NULL)
		return 0;
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -EIO;
	for (size_t i = 0; i < sizeof random; i++)
		text[i] = (char)('A' + random[i] % 26);
	text[sizeof random] = '\0';
	mem_free(s->cookie);
	s->cookie = mem_dup(text, sizeof random);
	return s->cookie == NULL || setenv("KRAIT_COOKIE", text, 1) != 0 ? -ENOMEM : 0;
}

/* The workers find krait_stress_py.py by the PYTHONPATH that the node hands on: the folder python/tests
 * beside this program or above it, or where `make install` puts it. */
static void find_module(void)
{
	static const char *const places[] = { "/python/tests", "/lib/krait/python/tests" };
	char path[PATH_MAX], value[2 * PATH_MAX], *slash;
	const char *old = getenv("PYTHONPATH");
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);

	if (n <= 0)
		return;
	path[n] = '\0';
	while ((slash = strrchr(path, '/')) != NULL) {
		for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
			(void)!snprintf(slash, sizeof path - (size_t)(slash - path),
					"%s/krait_stress_py.py", places[i]);
			if (access(path, R_OK) != 0)
				continue;
			*strrchr(path, '/') = '\0';
			snprintf(value, sizeof value, "%s%s%s", path, old != NULL ? ":" : "",
				 old != NULL ? old : "");
			setenv("PYTHONPATH", value, 1);
			return;
		}
		*slash = '\0';
	}
}

static int start(struct stress *s, char *program, char **args)
{
	uv_stdio_container_t stdio[3] = { { .flags = UV_CREATE_PIPE | UV_READABLE_PIPE,
					    .data.stream = (uv_stream_t *)&s->node_in },
					  { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
					    .data.stream = (uv_stream_t *)&s->node_out },
					  { .flags = UV_INHERIT_FD, .data.fd = s->log_fd } };
	uv_process_options_t options = { .exit_cb = on_exit_cb,
					 .file = program,
					 .args = args,
					 .stdio_count = 3,
					 .stdio = stdio };
	int rc;

	uv_pipe_init(&s->loop, &s->node_in, 0);
	uv_pipe_init(&s->loop, &s->node_out, 0);
	s->process.data = s->node_in.data = s->node_out.data = s;
	rc = uv_spawn(&s->loop, &s->process, &options);
	if (rc != 0)
		fprintf(stderr, "krait_stress: cannot start %s: %s\n", program, uv_strerror(rc));
	else
		rc = uv_read_start((uv_stream_t *)&s->node_out, on_alloc, on_stdout);
	return rc;
}

int spawn_node(struct stress *s)
{
	char program[PATH_MAX], size[16], tick[16], *args[ARGS_MAX];
	int n = 0, rc;

	if ((rc = find_program(s, program, sizeof program)) != 0 || (rc = open_log(s)) != 0 ||
	    (rc = make_cookie(s)) != 0) {
		fprintf(stderr, "krait_stress: --spawn: %s\n", strerror(-rc));
		return rc;
	}
	snprintf(s->node_name, sizeof s->node_name, "krait_stress_%d@127.0.0.1", (int)getpid());
	snprintf(size, sizeof size, "%u", s->options.size);
	snprintf(tick, sizeof tick, "%u", s->options.net_ticktime_s);
	args[n++] = program;
	args[n++] = (char *)"--name";
	args[n++] = s->node_name;
	args[n++] = (char *)"--size";
	args[n++] = size;
	args[n++] = (char *)"--net-ticktime";
	args[n++] = tick;
	args[n++] = (char *)"--stop-on-eof";
	if (s->options.cookie_file != NULL) {
		args[n++] = (char *)"--cookie-file";
		args[n++] = (char *)s->options.cookie_file;
	}
	if (strcmp(s->options.pool, "default") != 0) {
		args[n++] = (char *)"--pool";
		args[n++] = (char *)s->options.pool;
	}
	for (char **more = s->options.node_args; more != NULL && *more != NULL && n < ARGS_MAX - 1;
	     more++)
		args[n++] = *more;
	args[n] = NULL;
	find_module();
	rc = start(s, program, args);
	s->spawned = rc == 0;
	close(s->log_fd);
	unsetenv("KRAIT_COOKIE");
	return rc;
}

void spawn_stop(struct stress *s)
{
	if (s->spawned && !s->exited && !uv_is_closing((uv_handle_t *)&s->node_in))
		uv_close((uv_handle_t *)&s->node_in, NULL);
}

void spawn_kill(struct stress *s)
{
	s->node_killed = true;
	(void)uv_process_kill(&s->process, SIGKILL);
}

void spawn_tail(struct stress *s)
{
	char text[4096];
	int fd = s->log_path[0] != '\0' ? open(s->log_path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n;

	if (fd < 0)
		return;
	if (lseek(fd, -(off_t)sizeof text, SEEK_END) < 0)
		(void)!lseek(fd, 0, SEEK_SET);
	if ((n = read(fd, text, sizeof text)) > 0)
		fprintf(stderr, "--- the node's log ends so (all of it in %s):\n%.*s", s->log_path,
			(int)n, text);
	close(fd);
}
