/* epmd.c - publishes the node's name; see epmd.h.
 *
 * The happy path: connect -> ALIVE2_REQ -> ALIVE2_X_RESP -> the connection stays open, silent.
 * What can go wrong: nobody listens (run `epmd -daemon`, try again every RETRY_MS; the first time give up
 * after FIRST_TRIES); the name is taken (told, and tried again unless it was the first time); the
 * answer is not one (as if the connection were lost); end of file later (epmd was stopped: again). */
#include "epmd.h"

#include "buf.h"
#include "children.h"
#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPMD_PORT       4369
#define ALIVE2_REQ      120
#define ALIVE2_X_RESP   118
#define ALIVE2_RESP     121
#define NODE_TYPE       72 /* hidden */
#define HIGHEST_VERSION 6
#define LOWEST_VERSION  5
#define RETRY_MS        100 /* while the first publication is under way */
#define RETRY_LATER_MS  500 /* when epmd went away later */
#define FIRST_TRIES     50  /* 5 s */
#define ALIVE_MAX       255

struct epmd {
	uv_loop_t *loop;
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	epmd_callback cb;
	void *arg;
	char alive[ALIVE_MAX + 1];
	uint16_t port;
	uint8_t in[8];
	size_t in_len;
	uint8_t request[16 + ALIVE_MAX];
	unsigned tries;
	bool tcp_open, published_once, published, daemon_started, closing, timer_open;
};

static void try_now(struct epmd *e);

static void tell(struct epmd *e, enum epmd_event event, uint32_t creation, const char *text)
{
	if (!e->closing)
		e->cb(e->arg, event, creation, text);
}

static void maybe_free(struct epmd *e)
{
	if (e->closing && !e->tcp_open && !e->timer_open)
		mem_free(e);
}

static void on_timer_closed(uv_handle_t *h)
{
	struct epmd *e = h->data;

	e->timer_open = false;
	maybe_free(e);
}

static void on_timer(uv_timer_t *timer)
{
	try_now(timer->data);
}

static void on_daemon_closed(uv_handle_t *h)
{
	mem_free(h);
}

static void on_daemon_exit(uv_process_t *process, int64_t status, int signal)
{
	(void)status;
	(void)signal;
	children_remove(process->pid);
	uv_close((uv_handle_t *)process, on_daemon_closed);
}

/* Runs `epmd -daemon`: from PATH, or where Debian's and OTP's own builds put it. */
static void start_daemon(struct epmd *e)
{
	static const char *const places[] = { "epmd", "/usr/bin/epmd", "/usr/local/bin/epmd",
					      "/usr/lib/erlang/bin/epmd" };

	e->daemon_started = true;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		char *args[] = { (char *)places[i], (char *)"-daemon", NULL };
		uv_process_options_t options = { .exit_cb = on_daemon_exit,
						 .file = places[i],
						 .args = args,
						 .flags = UV_PROCESS_DETACHED };
		uv_process_t *process = mem_zalloc(sizeof *process);

		if (process == NULL)
			return;
		if (uv_spawn(e->loop, process, &options) == 0) {
			children_add(process->pid);
			uv_unref((uv_handle_t *)process);
			return;
		}
		uv_close((uv_handle_t *)process, on_daemon_closed);
	}
}

/* The connection is closed: decide how to go on. */
static void on_tcp_closed(uv_handle_t *h)
{
	struct epmd *e = h->data;

	e->tcp_open = false;
	if (e->closing) {
		maybe_free(e);
		return;
	}
	if (e->published) {
		e->published = false;
		e->daemon_started = false;
		tell(e, EPMD_LOST, 0, "the connection to epmd is gone");
	} else if (!e->published_once && ++e->tries >= FIRST_TRIES) {
		tell(e, EPMD_FAILED, 0, "no epmd answers and none could be started");
		return;
	}
	if (!e->closing)
		uv_timer_start(&e->timer, on_timer, e->published_once ? RETRY_LATER_MS : RETRY_MS,
			       0);
}

static void drop(struct epmd *e)
{
	if (!uv_is_closing((uv_handle_t *)&e->tcp))
		uv_close((uv_handle_t *)&e->tcp, on_tcp_closed);
}

/* ALIVE2_X_RESP: 118, result:8, creation:32. ALIVE2_RESP: 121, result:8, creation:16. */
static void on_response(struct epmd *e)
{
	bool extended = e->in[0] == ALIVE2_X_RESP;
	uint32_t creation;

	if (e->in_len < (extended ? 6 : 4))
		return;
	if (e->in[1] != 0) {
		tell(e, EPMD_NAME_TAKEN, 0, "another node is registered under this name");
		drop(e);
		return;
	}
	creation = extended ? get_u32(e->in + 2) : get_u16(e->in + 2);
	e->published = true;
	e->tries = 0;
	tell(e, e->published_once ? EPMD_AGAIN : EPMD_PUBLISHED, creation, "");
	e->published_once = true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct epmd *e = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)e->in + e->in_len, (unsigned)(sizeof e->in - e->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct epmd *e = stream->data;

	(void)buf;
	if (n > 0 && !e->published) {
		e->in_len += (size_t)n;
		if (e->in[0] == ALIVE2_X_RESP || e->in[0] == ALIVE2_RESP) {
			on_response(e);
			return;
		}
	}
	if (n != 0)
		drop(e); /* gone, or it says what it should not */
}

static void on_written(uv_write_t *req, int status)
{
	if (status != 0)
		drop(req->handle->data);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct epmd *e = req->handle->data;
	uv_buf_t buf;

	if (status != 0) {
		if (status == UV_ECONNREFUSED && !e->daemon_started && !e->closing)
			start_daemon(e);
		drop(e);
		return;
	}
	e->in_len = 0;
	buf = uv_buf_init((char *)e->request, 2u + get_u16(e->request));
	if (uv_write(&e->write, (uv_stream_t *)&e->tcp, &buf, 1, on_written) != 0 ||
	    uv_read_start((uv_stream_t *)&e->tcp, on_alloc, on_read) != 0)
		drop(e);
}

uint16_t epmd_port(void)
{
	const char *text = getenv("ERL_EPMD_PORT");
	long port = text != NULL ? strtol(text, NULL, 10) : 0;

	return port > 0 && port < 65536 ? (uint16_t)port : EPMD_PORT;
}

static void try_now(struct epmd *e)
{
	struct sockaddr_in addr;

	uv_ip4_addr("127.0.0.1", epmd_port(), &addr);
	uv_tcp_init(e->loop, &e->tcp);
	e->tcp_open = true;
	if (uv_tcp_connect(&e->connect, &e->tcp, (struct sockaddr *)&addr, on_connected) != 0)
		drop(e);
}

struct epmd *epmd_publish(uv_loop_t *loop, const char *alive, uint16_t port, epmd_callback cb,
			  void *arg)
{
	struct epmd *e = mem_zalloc(sizeof *e);
	size_t len = strlen(alive);
	uint8_t *p;

	if (e == NULL || len > ALIVE_MAX) {
		mem_free(e);
		return NULL;
	}
	e->loop = loop;
	e->cb = cb;
	e->arg = arg;
	e->port = port;
	p = e->request;
	put_u16(p, (unsigned)(13 + len));
	p[2] = ALIVE2_REQ;
	put_u16(p + 3, port);
	p[5] = NODE_TYPE;
	p[6] = 0; /* TCP over IPv4 */
	put_u16(p + 7, HIGHEST_VERSION);
	put_u16(p + 9, LOWEST_VERSION);
	put_u16(p + 11, (unsigned)len);
	memcpy(p + 13, alive, len);
	put_u16(p + 13 + len, 0); /* no extra */
	uv_timer_init(loop, &e->timer);
	e->timer_open = true;
	e->tcp.data = e->timer.data = e;
	try_now(e);
	return e;
}

void epmd_close(struct epmd *e)
{
	if (e == NULL)
		return;
	e->closing = true;
	uv_close((uv_handle_t *)&e->timer, on_timer_closed);
	if (e->tcp_open)
		drop(e);
}
