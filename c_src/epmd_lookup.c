/* epmd_lookup.c - one question to a port mapper; see epmd_lookup.h.
 *
 * The happy path: connect -> PORT_PLEASE2_REQ -> the first four bytes of PORT2_RESP -> done.
 * What can go wrong: nobody listens, it is silent for too long, it closes early, its answer is no answer,
 * the name is unknown there: each is told as port 0 with its reason. */
#include "epmd_lookup.h"

#include "buf.h"
#include "epmd.h"
#include "mem.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PORT_PLEASE2_REQ 122
#define PORT2_RESP       119
#define ALIVE_MAX        255

struct epmd_lookup {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	epmd_lookup_done done; /* NULL: told, or nobody waits */
	void *arg;
	unsigned open;
	uint8_t in[4]; /* tag, result, port:16; the rest of the answer is not of interest */
	size_t in_len;
	uint8_t request[3 + ALIVE_MAX];
};

static void on_closed(uv_handle_t *h)
{
	struct epmd_lookup *l = h->data;

	if (--l->open == 0)
		mem_free(l);
}

static void finish(struct epmd_lookup *l, uint16_t port, const char *why)
{
	epmd_lookup_done done = l->done;

	if (uv_is_closing((uv_handle_t *)&l->tcp))
		return;
	l->done = NULL;
	uv_close((uv_handle_t *)&l->tcp, on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
	if (done != NULL)
		done(l->arg, port, why);
}

void epmd_lookup_cancel(struct epmd_lookup *l)
{
	l->done = NULL;
	finish(l, 0, "");
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct epmd_lookup *l = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)l->in + l->in_len, (unsigned)(sizeof l->in - l->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct epmd_lookup *l = stream->data;

	(void)buf;
	if (n > 0)
		l->in_len += (size_t)n;
	if (l->in_len >= 1 && l->in[0] != PORT2_RESP)
		finish(l, 0, "what answers at epmd's port is not epmd");
	else if (l->in_len >= 2 && l->in[1] != 0)
		finish(l, 0, "no node of that name is registered there");
	else if (l->in_len == sizeof l->in && get_u16(l->in + 2) == 0)
		finish(l, 0, "epmd names port 0");
	else if (l->in_len == sizeof l->in)
		finish(l, get_u16(l->in + 2), "");
	else if (n < 0)
		finish(l, 0, "epmd closed the connection before it answered");
}

static void on_written(uv_write_t *req, int status)
{
	if (status != 0)
		finish(req->handle->data, 0, uv_strerror(status));
}

static void on_connected(uv_connect_t *req, int status)
{
	struct epmd_lookup *l = req->handle->data;
	uv_buf_t buf = uv_buf_init((char *)l->request, 2u + get_u16(l->request));

	if (status == 0)
		status = uv_write(&l->write, (uv_stream_t *)&l->tcp, &buf, 1, on_written);
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read);
	if (status != 0)
		finish(l, 0,
		       status == UV_ECONNREFUSED ? "no epmd runs there" : uv_strerror(status));
}

static void on_timer(uv_timer_t *timer)
{
	finish(timer->data, 0, "its epmd does not answer");
}

struct epmd_lookup *epmd_lookup(uv_loop_t *loop, const struct sockaddr *host, const char *alive,
				size_t len, uint64_t timeout_ms, epmd_lookup_done done, void *arg)
{
	struct epmd_lookup *l = len <= ALIVE_MAX ? mem_zalloc(sizeof *l) : NULL;
	struct sockaddr_storage addr = { 0 };

	if (l == NULL)
		return NULL;
	l->done = done;
	l->arg = arg;
	l->open = 2;
	put_u16(l->request, (unsigned)(1 + len));
	l->request[2] = PORT_PLEASE2_REQ;
	memcpy(l->request + 3, alive, len);
	if (host->sa_family == AF_INET6) {
		memcpy(&addr, host, sizeof(struct sockaddr_in6));
		((struct sockaddr_in6 *)&addr)->sin6_port = htons(epmd_port());
	} else {
		memcpy(&addr, host, sizeof(struct sockaddr_in));
		((struct sockaddr_in *)&addr)->sin_port = htons(epmd_port());
	}
	uv_tcp_init(loop, &l->tcp);
	uv_timer_init(loop, &l->timer);
	l->tcp.data = l->timer.data = l;
	/* what fails at once is told when the timer fires at once: never from inside this call */
	if (uv_tcp_connect(&l->connect, &l->tcp, (struct sockaddr *)&addr, on_connected) != 0)
		timeout_ms = 0;
	uv_timer_start(&l->timer, on_timer, timeout_ms, 0);
	return l;
}
