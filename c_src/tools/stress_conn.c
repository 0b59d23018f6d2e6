/* stress_conn.c - the bytes of one connection to the node: a socket, the handshake, frames.
 *
 * The happy path: conn_dial() -> handshake -> sim_came_up() -> frames to signal_take(), until conn_close().
 * What can go wrong ends in sim_cut_off(), once: it cannot be dialled, the handshake is refused, the
 * node closes it. After conn_discard() nothing is sent any more, and what comes is thrown away: the
 * peer has vanished, or has sent what the node must cut it off for. */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_MAX (256u << 20)
#define KEEP      (1u << 20)

struct conn {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	struct sim *sim; /* NULL: it only waits to be closed */
	struct wire_handshake hs;
	struct buf in, out, sending;
	struct wire_join join;
	size_t parsed;
	bool up, writing, closing, discards;
};

/* ---- out ---- */

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = req->handle->data;

	c->writing = false;
	buf_reset(&c->sending, KEEP);
	if (status == 0)
		conn_flush(c);
}

void conn_flush(struct conn *c)
{
	struct buf empty = c->sending;
	uv_buf_t b;
	int n;

	if (c->closing || c->writing || c->out.len == 0)
		return;
	b = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
	n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
	if (n > 0) {
		if (c->sim != NULL)
			c->sim->s->bytes_out += (uint64_t)n;
		if ((size_t)n == c->out.len) {
			buf_reset(&c->out, KEEP);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	} else if (n != UV_EAGAIN) {
		return; /* the reading side tells */
	}
	c->sending = c->out;
	c->out = empty;
	b = uv_buf_init((char *)c->sending.data, (unsigned)c->sending.len);
	c->writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) == 0;
}

struct buf *conn_out(struct conn *c)
{
	return &c->out;
}

/* ---- in ---- */

static void broken(struct conn *c, const char *why)
{
	struct sim *sim = c->sim;
	bool was_up = c->up, wanted = c->discards, silent = c == sim->silent;

	conn_close(c, false);
	sim_cut_off(sim, silent, was_up, wanted, why);
}

/* Takes one frame; it may be the last fragment of one, or not. */
static void take_frame(struct conn *c, const uint8_t *p, size_t len)
{
	bool fragments = (c->hs.flags & c->hs.node_flags & WIRE_FRAGMENTS) != 0;
	struct buf whole;

	if (!fragments || !wire_is_fragment(p, len)) {
		signal_take(c->sim, p, len, fragments);
		return;
	}
	if (wire_take_fragment(&c->join, p, len, &whole) != NULL)
		signal_take(c->sim, p, len, fragments); /* which complains */
	else if (whole.len > 0)
		signal_take(c->sim, whole.data, whole.len, fragments);
	buf_free(&whole);
}

/* Takes one packet of the handshake or one frame; false: more bytes are needed, or it is over. */
static bool take(struct conn *c)
{
	const uint8_t *p = c->in.data + c->parsed;
	size_t have = c->in.len - c->parsed, head = c->up ? 4 : 2, len;
	const char *why;

	if (c->closing || c->discards || have < head)
		return false;
	len = c->up ? get_u32(p) : get_u16(p);
	if (len > FRAME_MAX) {
		broken(c, "it sends a frame of absurd length");
		return false;
	}
	if (have - head < len)
		return false;
	c->parsed += head + len;
	if (c->up) {
		if (len > 0)
			take_frame(c, p + head, len);
	} else if ((why = wire_packet(&c->hs, p + head, len, &c->out)) != NULL) {
		broken(c, why);
		return false;
	} else if (c->hs.phase == WIRE_UP) {
		c->up = true;
		sim_came_up(c->sim, &c->hs);
	}
	return true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;

	buf_consume(&c->in, c->parsed);
	c->parsed = 0;
	if (c->in.len == 0)
		buf_reset(&c->in, KEEP);
	if (buf_reserve(&c->in, suggested) != 0)
		abort();
	*buf = uv_buf_init((char *)c->in.data + c->in.len, (unsigned)(c->in.cap - c->in.len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	(void)buf;
	if (c->closing || n == 0)
		return;
	if (n < 0) {
		broken(c, n == UV_EOF ? "end of file" : uv_strerror((int)n));
		return;
	}
	c->sim->s->bytes_in += (uint64_t)n;
	if (c->discards)
		return;
	c->in.len += (size_t)n;
	c->sim->heard_us = now_us();
	while (take(c)) {
	}
}

void conn_read(struct conn *c, bool on)
{
	if (c->closing)
		return;
	if (on)
		(void)!uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	else
		uv_read_stop((uv_stream_t *)&c->tcp);
}

/* ---- its life ---- */

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->handle->data;

	if (c->closing)
		return;
	if (status != 0) {
		broken(c, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	wire_introduce(&c->hs, &c->out);
	conn_read(c, true);
}

struct conn *conn_dial(struct sim *sim)
{
	struct stress *s = sim->s;
	struct conn *c = mem_zalloc(sizeof *c);

	if (c == NULL)
		abort();
	c->sim = sim;
	c->hs = (struct wire_handshake){ .name = sim->name,
					 .node = s->node_name,
					 .cookie = s->cookie,
					 .flags = sim->flags,
					 .creation = sim->creation,
					 .challenge = (uint32_t)rnd(s) };
	uv_tcp_init(&s->loop, &c->tcp);
	c->tcp.data = c;
	if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&s->address,
			   on_connected) == 0)
		return c;
	conn_close(c, false);
	return NULL;
}

void conn_discard(struct conn *c)
{
	c->discards = true;
	buf_reset(&c->in, 0);
	c->parsed = 0;
	if (!c->closing)
		conn_flush(c);
	buf_reset(&c->out, 0);
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->sending);
	wire_join_close(&c->join);
	mem_free(c);
}

void conn_close(struct conn *c, bool reset)
{
	if (c == NULL || c->closing)
		return;
	c->closing = true;
	if (c->sim->conn == c)
		c->sim->conn = NULL;
	if (c->sim->silent == c)
		c->sim->silent = NULL;
	c->sim = NULL;
	if (!reset || c->writing || uv_tcp_close_reset(&c->tcp, on_closed) != 0)
		uv_close((uv_handle_t *)&c->tcp, on_closed);
}
