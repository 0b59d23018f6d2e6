/* notify.c - tells the service manager how we are; see notify.h.
 *
 * The happy path: the socket's address is in the environment -> one datagram for each thing there is to
 * say. What can go wrong: no manager (nothing is done), an address that is none (told once), nobody reads
 * or the queue is full (the datagram is lost; the watchdog's next one comes in time, as it is sent twice
 * as often as it must be). */
#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
	int fd; /* -1: nobody listens */
	struct sockaddr_un to;
	socklen_t to_len;
	uint64_t alive_every_ms;
	char status[NOTIFY_STATUS_MAX + 1]; /* as it was told last */
} state = { .fd = -1 };

static void say(const char *text)
{
	if (state.fd >= 0)
		(void)!sendto(state.fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
			      (struct sockaddr *)&state.to, state.to_len);
}

/* Opens the socket to that address. */
static bool open_to(const char *path, const char **why)
{
	size_t len = strlen(path);

	*why = "expected a path, or @NAME, that fits a socket's address";
	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof state.to.sun_path)
		return false;
	state.to.sun_family = AF_UNIX;
	memcpy(state.to.sun_path, path, len);
	if (path[0] == '@')
		state.to.sun_path[0] =
			'\0'; /* the abstract namespace: the rest is the name, no NUL */
	state.to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	*why = "cannot make a socket";
	state.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return state.fd >= 0;
}

/* The number that the variable holds; 0: none. */
static uint64_t number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0 ? value : 0;
}

bool notify_init(const char **why)
{
	const char *path = getenv("NOTIFY_SOCKET");
	uint64_t usec = number("WATCHDOG_USEC"), pid = number("WATCHDOG_PID");
	bool fine = path == NULL || path[0] == '\0' || open_to(path, why);

	if (state.fd >= 0 && usec > 0 && (pid == 0 || pid == (uint64_t)getpid()))
		state.alive_every_ms = usec / 2000 > 0 ? usec / 2000 : 1;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return fine;
}

bool notify_on(void)
{
	return state.fd >= 0;
}

uint64_t notify_alive_every_ms(void)
{
	return state.alive_every_ms;
}

void notify_ready(void)
{
	say("READY=1");
}

void notify_reloading(uint64_t now_us)
{
	char text[64];

	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us);
	say(text);
}

void notify_stopping(uint64_t within_us)
{
	char text[64];

	say("STOPPING=1");
	/* of its own: the manager counts from the state that it knows us in */
	snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%" PRIu64, within_us);
	say(text);
}

void notify_alive(void)
{
	say("WATCHDOG=1");
}

void notify_status(const char *text)
{
	char line[NOTIFY_STATUS_MAX + 8];
	size_t len = strnlen(text, NOTIFY_STATUS_MAX);

	if (state.fd < 0 || (strncmp(state.status, text, len) == 0 && state.status[len] == '\0'))
		return;
	memcpy(state.status, text, len);
	state.status[len] = '\0';
	snprintf(line, sizeof line, "STATUS=%s", state.status);
	for (char *p = line; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20)
			*p = ' ';
	say(line);
}

void notify_close(void)
{
	if (state.fd >= 0)
		close(state.fd);
	state.fd = -1;
	state.alive_every_ms = 0;
	state.status[0] = '\0';
}
