/* doctor_call.c - a node of our own, and a first call through each of its pools.
 *
 * The happy path: fork -> the child is a node with the same options, but under a name and a cookie of its own, on
 * a free port, with one worker in each pool -> `ready` on its standard output -> await_ready and {ping, worker}
 * over distribution -> its standard input closes, and it ends.
 * What can go wrong: it ends before it is ready (its last log lines say why), a worker does not start (the node
 * says why), it does not answer. Whatever happens it is gone when we return.
 *
 * Where an epmd answers it is used. Otherwise the node starts one on a port that nobody else knows, which is
 * told to end afterwards: the doctor leaves everything as it found it. */
#include "doctor_private.h"

#include "log.h"
#include "mem.h"
#include "node.h"
#include "start.h"
#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS  20000 /* until it is published; workers have their pool's start_timeout */
#define ANSWER_MS 10000
#define LOG_KEPT  2048

struct patient {
	struct doctor *doctor;
	char name[DIST_NAME_MAX + 1], cookie[41];
	pid_t pid;
	int in, out, log; /* our ends of its standard streams */
	uint16_t port, private_epmd;
	char lines[LOG_KEPT + 1]; /* the last of its log */
	size_t lines_len;
};

/* A port of loopback that is free, at this moment. */
static uint16_t free_port(void)
{
	struct sockaddr_storage to;
	socklen_t len;
	uint16_t port = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && doctor_address("127.0.0.1", 0, &to, &len) &&
	    bind(fd, (struct sockaddr *)&to, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&to, &len) == 0)
		port = ntohs(((struct sockaddr_in *)&to)->sin_port);
	if (fd >= 0)
		close(fd);
	return port;
}

/* What the child does: it never returns. */
_Noreturn static void be_the_node(struct patient *p, const int in[2], const int out[2],
				  const int log[2])
{
	struct config *c = p->doctor->config;
	struct node_options options = { .config = c,
					.name = p->name,
					.cookie = p->cookie,
					.executable = p->doctor->executable,
					.script = p->doctor->script };
	char port[8];

	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(log[1], STDERR_FILENO);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
		close(log[i]);
	}
	snprintf(port, sizeof port, "%u", p->private_epmd);
	if (p->private_epmd != 0)
		setenv("ERL_EPMD_PORT", port, 1);
	c->port = 0;
	c->metrics = NULL;
	c->stop_on_eof = 1;
	c->stop_timeout_ms = 0;
	for (unsigned i = 0; i < c->pools; i++)
		c->pool[i]->size = c->pool[i]->size_max = 1;
	log_set_level(LOG_INFO);
	log_set_format(LOG_FORMAT_TEXT);
	start_limits();
	_exit(node_run(&options));
}

/* Its standard streams. 0, or a negative errno. */
static int make_pipes(int pipes[3][2])
{
	for (int i = 0; i < 3; i++) {
		if (pipe2(pipes[i], O_CLOEXEC) != 0) {
			while (i-- > 0) {
				close(pipes[i][0]);
				close(pipes[i][1]);
			}
			return -errno;
		}
	}
	return 0;
}

static int start(struct patient *p)
{
	int pipes[3][2], rc = make_pipes(pipes);

	if (rc != 0)
		return rc;
	fflush(stdout);
	if ((p->pid = fork()) == 0)
		be_the_node(p, pipes[0], pipes[1], pipes[2]);
	rc = p->pid < 0 ? -errno : 0;
	close(pipes[0][0]);
	close(pipes[1][1]);
	close(pipes[2][1]);
	p->in = pipes[0][1];
	p->out = pipes[1][0];
	p->log = pipes[2][0];
	fcntl(p->log, F_SETFL, O_NONBLOCK);
	return rc;
}

/* Takes what it has logged meanwhile; the last of it is kept. */
static void read_log(struct patient *p)
{
	char text[4096];
	ssize_t n;

	while ((n = read(p->log, text, sizeof text)) > 0) {
		size_t len = (size_t)n < LOG_KEPT ? (size_t)n : LOG_KEPT;
		size_t keep = p->lines_len + len > LOG_KEPT ? LOG_KEPT - len : p->lines_len;

		memmove(p->lines, p->lines + p->lines_len - keep, keep);
		memcpy(p->lines + keep, text + (size_t)n - len, len);
		p->lines_len = keep + len;
	}
	p->lines[p->lines_len] = '\0';
}

/* What it complained of: of its last lines those that are errors or warnings. */
static void complaints(struct patient *p, char *text, size_t size)
{
	size_t len = 0;

	read_log(p);
	text[0] = '\0';
	for (char *line = strtok(p->lines, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		const char *at = strstr(line, " error [");

		if ((at != NULL || (at = strstr(line, " warning [")) != NULL) && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? "\n" : "",
						at + 1);
	}
	if (len == 0)
		snprintf(text, size, "it says nothing");
}

/* Waits for its `ready`. */
static int await_ready_line(struct patient *p)
{
	uint64_t deadline = doctor_now_ms() + START_MS;
	char line[DIST_NAME_MAX + 64];
	size_t len = 0;
	const char *at;
	ssize_t n;

	while (len < sizeof line - 1 &&
	       (n = doctor_receive(p->out, line + len, sizeof line - 1 - len, deadline)) > 0) {
		len += (size_t)n;
		line[len] = '\0';
		read_log(p);
		if (line[len - 1] == '\n' && strncmp(line, "ready ", 6) == 0 &&
		    (at = strchr(line + 6, ' ')) != NULL) {
			p->port = (uint16_t)strtoul(at + 1, NULL, 10);
			return 0;
		}
	}
	return -EPROTO;
}

/* Its end, one way or the other. */
static void end(struct patient *p)
{
	uint64_t deadline = doctor_now_ms() + ANSWER_MS;

	close(p->in);
	while (p->pid > 0 && waitpid(p->pid, NULL, WNOHANG) == 0) {
		char ignored[512];

		read_log(p);
		if (doctor_now_ms() >= deadline)
			kill(p->pid, SIGKILL);
		/* its end closes its output; then waitpid() has it at once */
		if (doctor_receive(p->out, ignored, sizeof ignored, doctor_now_ms() + 50) == 0)
			usleep(1000);
	}
	close(p->out);
	close(p->log);
	if (p->private_epmd != 0)
		doctor_epmd_kill(p->private_epmd);
}

/* One request to a pool. True: the answer is `ok` or {ok, _}; otherwise `why` says what was heard. */
static bool ask(struct patient *p, const char *pool, bool ping, uint64_t timeout_ms, char *why,
		size_t size)
{
	struct buf request = { 0 }, answer = { 0 };
	const uint8_t *first;
	struct span detail;
	uint32_t arity;
	bool fine = false;

	if (ping)
		term_put_tuple(&request, 2);
	term_put_atom(&request, ping ? "ping" : "await_ready");
	if (ping)
		term_put_atom(&request, "worker");
	if (doctor_ask(p->doctor->config->listen, p->port, p->name, p->cookie, pool,
		       (struct span){ request.data, request.len }, doctor_now_ms() + timeout_ms,
		       &answer, why, size) == 0) {
		snprintf(why, size, "it answers otherwise");
		fine = term_is_atom(answer.data, "ok") ||
		       (term_tuple(answer.data, &arity, &first) && arity == 2 &&
			term_is_atom(first, "ok"));
		/* {error, {start_failed, Text}} */
		if (!fine && term_tuple(answer.data, &arity, &first) && arity == 2 &&
		    term_tuple(term_skip(first), &arity, &first) && arity == 2 &&
		    term_binary(term_skip(first), &detail))
			snprintf(why, size, "%.*s",
				 (int)(detail.len < size ? detail.len : size - 1),
				 (const char *)detail.at);
	}
	for (size_t n = strlen(why); n > 0 && why[n - 1] == '\n'; n--)
		why[n - 1] = '\0';
	buf_free(&request);
	buf_free(&answer);
	return fine;
}

static void try_pool(struct patient *p, const struct config_pool *pool)
{
	struct doctor *d = p->doctor;
	uint64_t began = doctor_now_ms(), ready;
	char why[2048];

	if (!ask(p, pool->name, false, pool->start_timeout_ms + ANSWER_MS, why, sizeof why)) {
		doctor_say(d, WRONG, "call", "no worker of this pool starts, so every call fails",
			   "what Python says above is the cause: --pythonpath, --preload, "
			   "--python, --rlimit-as",
			   "pool %s: %s", pool->name, why);
		return;
	}
	ready = doctor_now_ms();
	if (!ask(p, pool->name, true, ANSWER_MS, why, sizeof why))
		doctor_say(d, WRONG, "call", "the worker does not answer, so calls fail",
			   "the node's log at --log-level debug", "pool %s: %s", pool->name, why);
	else
		doctor_say(d, FINE, "call", "calls are answered", NULL,
			   "pool %s: a worker was ready after %llu ms, and answers within %llu ms",
			   pool->name, (unsigned long long)(ready - began),
			   (unsigned long long)(doctor_now_ms() - ready + 1));
}

void doctor_call(struct doctor *d)
{
	struct patient p = { .doctor = d };
	uint64_t began = doctor_now_ms();
	uint8_t random[20] = { 0 };
	char why[2048];
	int rc;

	if (!d->can_start || d->name[0] == '\0' || d->no_call ||
	    (!d->epmd_answers && !d->epmd_there)) {
		if (!d->no_call)
			doctor_say(d, DOUBT, "call", "whether calls are answered is not known",
				   "what is wrong above", "not tried");
		return;
	}
	(void)!getrandom(random, sizeof random, 0);
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(p.cookie + 2 * i, 3, "%02x", random[i]);
	snprintf(p.name, sizeof p.name, "krait_doctor_%d@%s", (int)getpid(), d->host);
	p.private_epmd = d->epmd_answers ? 0 : free_port();
	if ((rc = start(&p)) != 0) {
		doctor_say(d, WRONG, "call", "a node cannot be started",
			   "see descriptors and processes", "%s", strerror(-rc));
		return;
	}
	if (await_ready_line(&p) == 0) {
		doctor_say(d, FINE, "start", "a node starts, and is published", NULL,
			   "a node with these options, one worker in each pool, was published "
			   "after %llu ms",
			   (unsigned long long)(doctor_now_ms() - began));
		for (unsigned i = 0; i < d->config->pools; i++)
			try_pool(&p, d->config->pool[i]);
	} else {
		complaints(&p, why, sizeof why);
		doctor_say(d, WRONG, "start", "a node with these options does not start",
			   "what it says is the cause", "%s", why);
	}
	end(&p);
}
