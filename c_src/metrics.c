/* metrics.c - a small HTTP server that is read only; see metrics.h.
 *
 * The happy path: libmicrohttpd accepts -> on_connection -> metrics_on_request() twice (its head; its end) ->
 * an answer is queued -> on_completed -> the next request of the same connection, or its end.
 * What can go wrong: somebody connects and says nothing, or a byte a minute, or does not read the answer: his
 * connection is shut METRICS_PATIENCE_MS after his last whole request, or before that when another needs the
 * place. All that we do to end a connection is shutdown(2); libmicrohttpd sees that as the peer's end.
 *
 * `clients` is in the order of the last whole request: the head is the first to go. */
#include "metrics_private.h"

#include "log.h"
#include "mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SPARE   16 /* connections that are shut already and not yet let go of */
#define BACKLOG 64

struct client {
	struct list link;
	int fd;
	bool shut;
	uint64_t since_ms; /* it connected, or its last request was answered */
};

static uint64_t now_ms(const struct metrics *m)
{
	return uv_now(m->timer.loop);
}

/* ---- connections ---- */

static void shut(struct metrics *m, struct client *c)
{
	if (c->shut)
		return;
	c->shut = true;
	m->live--;
	list_remove(&c->link);
	m->counts.evicted++;
	shutdown(c->fd, SHUT_RDWR);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct metrics *m = arg;
	struct client *c = *context;
	int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (c == NULL)
			return;
		m->live -= c->shut ? 0 : 1;
		m->counts.connections--;
		list_remove(&c->link);
		mem_free(c);
		return;
	}
	if ((c = mem_zalloc(sizeof *c)) == NULL) {
		shutdown(fd, SHUT_RDWR);
		return;
	}
	*context = c;
	c->fd = fd;
	c->since_ms = now_ms(m);
	list_append(&m->clients, &c->link);
	m->counts.connections++;
	if (++m->live > METRICS_CONNECTIONS)
		shut(m, list_entry(m->clients.next, struct client, link));
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct metrics *m = arg;
	struct client *c = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
				   ->socket_context;

	(void)context;
	if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK || c == NULL || c->shut)
		return;
	c->since_ms = now_ms(m);
	list_remove(&c->link);
	list_append(&m->clients, &c->link);
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

/* One timer, for what libmicrohttpd waits for and for the first client that has no time left. */
static void arm(struct metrics *m)
{
	uint64_t now = now_ms(m), due = UINT64_MAX;
	unsigned long long wait;

	if (!list_empty(&m->clients))
		due = list_entry(m->clients.next, struct client, link)->since_ms +
		      METRICS_PATIENCE_MS;
	if (MHD_get_timeout(m->daemon, &wait) == MHD_YES && now + wait < due)
		due = now + wait;
	if (due == UINT64_MAX)
		uv_timer_stop(&m->timer);
	else
		uv_timer_start(&m->timer, on_timer, due > now ? due - now : 0, 0);
}

static void run(struct metrics *m)
{
	if (MHD_run(m->daemon) != MHD_YES)
		log_line(LOG_ERROR, "metrics", "libmicrohttpd cannot go on");
	arm(m);
}

static void on_timer(uv_timer_t *timer)
{
	struct metrics *m = timer->data;
	struct list *pos, *next;

	list_each (pos, next, &m->clients) {
		struct client *c = list_entry(pos, struct client, link);

		if (c->since_ms + METRICS_PATIENCE_MS > now_ms(m))
			break;
		shut(m, c);
	}
	run(m);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct metrics *m = poll->data;

	(void)events;
	if (status == 0)
		run(m);
}

/* ---- its life ---- */

static void on_complaint(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)arg;
	if (!log_enabled(LOG_DEBUG))
		return;
	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_line(LOG_DEBUG, "metrics", "%s", text);
}

/* A socket that listens, or a negative errno. */
static int listen_on(struct metrics *m)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(m->options.port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(m->options.port) };
	bool is_six = inet_pton(AF_INET6, m->options.address, &six.sin6_addr) == 1;
	struct sockaddr *sa = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	socklen_t len = is_six ? sizeof six : sizeof four;
	int fd, rc, one = 1;

	if (!is_six && inet_pton(AF_INET, m->options.address, &four.sin_addr) != 1)
		return -EINVAL;
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, sa, len) != 0 || listen(fd, BACKLOG) != 0 || getsockname(fd, sa, &len) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	m->port = ntohs(is_six ? six.sin6_port : four.sin_port);
	return fd;
}

static void on_closed(uv_handle_t *handle)
{
	struct metrics *m = handle->data;

	if (--m->handles == 0)
		mem_free(m);
}

struct metrics *metrics_open(uv_loop_t *loop, const struct metrics_options *options, char *error,
			     size_t error_size)
{
	struct metrics *m = mem_zalloc(sizeof *m);
	int fd = -1, epoll;

	snprintf(error, error_size, "no memory");
	if (m == NULL)
		return NULL;
	m->options = *options;
	snprintf(m->address, sizeof m->address, "%s", options->address);
	m->options.address = m->address;
	list_init(&m->clients);
	if ((fd = listen_on(m)) < 0) {
		snprintf(error, error_size, "cannot listen on %s port %u: %s", m->address,
			 options->port, strerror(-fd));
		goto err0;
	}
	m->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL,
				     metrics_on_request, m, MHD_OPTION_EXTERNAL_LOGGER,
				     on_complaint, NULL, /* the first, for what the others say */
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_CONNECTION,
				     on_connection, m, MHD_OPTION_NOTIFY_COMPLETED, on_completed, m,
				     MHD_OPTION_CONNECTION_LIMIT, METRICS_CONNECTIONS + SPARE,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)METRICS_HEAD_BYTES,
				     MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (m->daemon == NULL) {
		snprintf(error, error_size, "libmicrohttpd %s does not start", MHD_get_version());
		goto err1;
	}
	epoll = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	if (uv_poll_init(loop, &m->poll, epoll) != 0) {
		snprintf(error, error_size, "its descriptor cannot be watched");
		goto err2;
	}
	uv_timer_init(loop, &m->timer);
	m->poll.data = m->timer.data = m;
	m->handles = 2;
	uv_poll_start(&m->poll, UV_READABLE, on_readable);
	return m;
err2:
	MHD_stop_daemon(m->daemon);
	goto err0; /* the socket is closed with it */
err1:
	close(fd);
err0:
	mem_free(m);
	return NULL;
}

void metrics_close(struct metrics *m)
{
	if (m == NULL)
		return;
	uv_poll_stop(&m->poll);
	MHD_stop_daemon(m->daemon);
	m->daemon = NULL;
	uv_close((uv_handle_t *)&m->poll, on_closed);
	uv_close((uv_handle_t *)&m->timer, on_closed);
}

uint16_t metrics_port(const struct metrics *m)
{
	return m->port;
}

struct metrics_counts metrics_counts(const struct metrics *m)
{
	return m->counts;
}
