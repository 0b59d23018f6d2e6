/* doctor_epmd.c - the port mapper of this machine, and who has our name there.
 *
 * Format: "EPMD Protocol" of the ERTS documentation: NAMES_REQ, PORT_PLEASE2_REQ, KILL_REQ. */
#include "doctor_private.h"

#include "epmd.h"
#include "term.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KILL_REQ         107
#define NAMES_REQ        110
#define PORT2_RESP       119
#define PORT_PLEASE2_REQ 122
#define PATIENCE_MS      3000

/* Sends one request and reads until the answer ends or `size` bytes are there. Their number, or a negative
 * errno. */
static ssize_t ask(uint16_t port, const uint8_t *body, size_t len, uint8_t *answer, size_t size,
		   uint64_t deadline)
{
	uint8_t head[2];
	struct sockaddr_storage to;
	socklen_t to_len;
	size_t got = 0;
	ssize_t n = 0;
	int fd;

	put_u16(head, (unsigned)len);
	if (!doctor_address("127.0.0.1", port, &to, &to_len))
		return -EINVAL;
	if ((fd = doctor_connect((struct sockaddr *)&to, to_len, deadline)) < 0)
		return fd;
	if ((n = doctor_send(fd, head, sizeof head, deadline)) == 0 &&
	    (n = doctor_send(fd, body, len, deadline)) == 0)
		while (got < size &&
		       (n = doctor_receive(fd, answer + got, size - got, deadline)) > 0)
			got += (size_t)n;
	close(fd);
	return n < 0 && got == 0 ? n : (ssize_t)got;
}

int doctor_epmd_lookup(uint16_t port, const char *alive, uint64_t deadline)
{
	uint8_t request[1 + DIST_NAME_MAX], answer[512];
	size_t len = strnlen(alive, DIST_NAME_MAX);
	ssize_t n;

	request[0] = PORT_PLEASE2_REQ;
	memcpy(request + 1, alive, len);
	n = ask(port, request, 1 + len, answer, sizeof answer, deadline);
	if (n < 0)
		return (int)n;
	if (n < 2 || answer[0] != PORT2_RESP)
		return -EPROTO;
	return answer[1] != 0 ? 0 : n >= 4 ? get_u16(answer + 2) : -EPROTO;
}

void doctor_epmd_kill(uint16_t port)
{
	const uint8_t request = KILL_REQ;
	uint8_t answer[8];

	(void)!ask(port, &request, 1, answer, sizeof answer, doctor_now_ms() + PATIENCE_MS);
}

/* Where the program is: as the node looks for it. */
static bool find_program(char *path, size_t size)
{
	static const char *const places[] = { "/usr/bin", "/usr/local/bin", "/usr/lib/erlang/bin" };
	const char *dir = getenv("PATH");

	while (dir != NULL && *dir != '\0') {
		size_t len = strcspn(dir, ":");

		if (snprintf(path, size, "%.*s/epmd", (int)len, dir) < (int)size &&
		    access(path, X_OK) == 0)
			return true;
		dir += len + (dir[len] == ':');
	}
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (snprintf(path, size, "%s/epmd", places[i]) < (int)size &&
		    access(path, X_OK) == 0)
			return true;
	return false;
}

void doctor_epmd(struct doctor *d)
{
	const uint8_t request = NAMES_REQ;
	uint8_t answer[64 * 1024];
	uint16_t port = epmd_port();
	char path[PATH_MAX];
	unsigned names = 0;
	ssize_t n = ask(port, &request, 1, answer, sizeof answer, doctor_now_ms() + PATIENCE_MS);

	d->epmd_there = find_program(path, sizeof path);
	if (n >= 4 && get_u32(answer) == port) {
		for (ssize_t i = 4; i < n; i++)
			names += answer[i] == '\n';
		d->epmd_answers = true;
		doctor_say(d, FINE, "epmd", "peers are told there where the node listens", NULL,
			   "answers on port %u, and knows %u name%s", port, names,
			   names == 1 ? "" : "s");
	} else if (n == -ECONNREFUSED && d->epmd_there) {
		doctor_say(d, FINE, "epmd", "the node starts it", NULL,
			   "none runs on port %u; the node will start %s", port, path);
	} else if (n == -ECONNREFUSED) {
		doctor_say(d, WRONG, "epmd", "nobody could find the node, so it ends",
			   "install it (Debian: apt-get install erlang-base), or put it into PATH",
			   "none runs on port %u, and there is no program epmd", port);
	} else if (n >= 0 || n == -ECONNRESET || n == -EPIPE) {
		doctor_say(d, WRONG, "epmd", "the node cannot publish its name",
			   "end what has that port (`ss -ltnp`), or give all nodes another "
			   "$ERL_EPMD_PORT",
			   "what answers on port %u is no epmd", port);
	} else {
		doctor_say(d, WRONG, "epmd", "the node cannot publish its name",
			   "look at it (`ss -ltnp`), and start it anew; nodes publish themselves "
			   "again",
			   "on port %u: %s", port,
			   n == -ETIMEDOUT ? "it does not answer" : strerror((int)-n));
	}
}

/* Somebody has the name, and listens on that port. */
static void judge_owner(struct doctor *d, uint16_t port)
{
	struct buf request = { 0 }, answer = { 0 };
	char why[256];
	int rc;

	if (d->cookie == NULL) {
		doctor_say(d, DOUBT, "registered",
			   "who has the name cannot be asked without a cookie",
			   "see what is said of the cookie", "%s is taken, by a node on port %u",
			   d->name, port);
		return;
	}
	term_put_atom(&request, "ping");
	rc = doctor_ask(d->config->listen, port, d->name, d->cookie, "krait",
			(struct span){ request.data, request.len }, doctor_now_ms() + PATIENCE_MS,
			&answer, why, sizeof why);
	if (rc == 0 && answer.len > 0 && term_is_atom(answer.data, "pong")) {
		d->running_port = port;
		doctor_say(d, FINE, "registered",
			   "it runs; another of this name ends with status 3", NULL,
			   "a Krait node of this name runs, on port %u, and answers", port);
	} else if (rc == -ECONNREFUSED) {
		doctor_say(d, WRONG, "registered",
			   "the name is taken, and peers are sent where nobody listens",
			   "end the process that holds the connection to epmd (`ss -tnp dport = "
			   ":4369`), or take "
			   "another --name",
			   "epmd says that %s listens on port %u, and nobody does", d->name, port);
	} else if (rc == -EACCES) {
		doctor_say(d, WRONG, "registered",
			   "the name is taken, and who has it does not know this cookie",
			   "the cookie of the node that runs, or another --name",
			   "%s is taken, by a node on port %u with another cookie", d->name, port);
	} else {
		doctor_say(d, WRONG, "registered", "the node would end with status 3",
			   "end that node, or take another --name",
			   "%s is taken, by a node on port %u that is no Krait: %s", d->name, port,
			   rc != 0 ? why : "it answers otherwise");
	}
	buf_free(&request);
	buf_free(&answer);
}

void doctor_registered(struct doctor *d)
{
	char alive[DIST_NAME_MAX + 1];
	int port;

	if (d->name[0] == '\0' || !d->epmd_answers)
		return;
	snprintf(alive, sizeof alive, "%.*s", (int)(d->host - 1 - d->name), d->name);
	port = doctor_epmd_lookup(epmd_port(), alive, doctor_now_ms() + PATIENCE_MS);
	if (port == 0)
		doctor_say(d, FINE, "registered", "the node can take it", NULL,
			   "the name %s is free", d->name);
	else if (port > 0)
		judge_owner(d, (uint16_t)port);
	else
		doctor_say(d, WRONG, "registered", "the node cannot publish its name",
			   "start epmd anew; nodes publish themselves again",
			   "epmd does not say who has the name: %s", strerror(-port));
}
