/* stress_peer.c - one simulated BEAM node: dials, vanishes, comes back.
 *
 *   down -> dialling -> up -> (silent ->) down -> ...
 *
 * It comes back as a new node (new creation: new pids) or, sometimes, as the same one whose connection was
 * cut, while the node may still hold the old connection and must then answer `alive`. Vanishing: the
 * connection is closed; reset; or says and reads nothing more, as a suspended machine, until the node
 * has had enough or the peer is replaced. When its peer vanishes every process of it is lost: nothing
 * that they asked may be answered to their successors. */
#include "stress.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKE_US (10 * SECOND_US)
#define FRAME_MAX    (256u << 20)
#define KEEP         (1u << 20)

const char *const vanish_names[VANISHES] = { "close", "reset", "silence", "hostile" };

struct conn {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	struct sim *sim; /* NULL: it only waits to be closed */
	struct wire_handshake hs;
	struct buf in, out, sending;
	size_t parsed;
	bool up, writing, closing, doomed; /* doomed: the node must close it, for what we have sent */
};

struct term_pid sim_node_pid(const struct sim *sim, uint32_t id)
{
	return (struct term_pid){ .node = sim->s->node_name,
				  .node_len = (uint16_t)strlen(sim->s->node_name), .id = id,
				  .creation = sim->s->node_creation };
}

/* ---- bytes out ---- */

struct buf *sim_out(struct sim *sim)
{
	static struct buf nowhere;

	if (sim->state == SIM_UP && sim->conn != NULL)
		return &sim->conn->out;
	buf_reset(&nowhere, KEEP);
	return &nowhere;
}

static void flush(struct conn *c);

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = req->handle->data;

	c->writing = false;
	buf_reset(&c->sending, KEEP);
	if (status == 0)
		flush(c);
}

static void flush(struct conn *c)
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

void sims_flush(struct stress *s)
{
	for (unsigned i = 0; i <= s->options.peers; i++)
		if (s->sims[i].conn != NULL)
			flush(s->sims[i].conn);
}

void sim_barrier(struct sim *sim)
{
	struct term_pid self, node = sim_node_pid(sim, 1);

	if (sim->state != SIM_UP || sim->barrier != sim->acked ||
	    (list_empty(&sim->tombs) && sim->casts == sim->casts_acked))
		return;
	self = caller_pid(sim->control);
	sim->barrier++;
	sim->casts_at_barrier = sim->casts;
	wire_unlink(sim_out(sim), OP_UNLINK, sim->barrier, &self, &node);
}

/* ---- coming ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void conn_free(uv_handle_t *h)
{
	struct conn *c = h->data;

	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->sending);
	mem_free(c);
}

static void conn_close(struct conn *c, bool reset)
{
	if (c == NULL || c->closing)
		return;
	c->closing = true;
	if (c->sim != NULL && c->sim->conn == c)
		c->sim->conn = NULL;
	if (c->sim != NULL && c->sim->silent == c)
		c->sim->silent = NULL;
	c->sim = NULL;
	if (!reset || c->writing || uv_tcp_close_reset(&c->tcp, conn_free) != 0)
		uv_close((uv_handle_t *)&c->tcp, conn_free);
}

static void each_process(struct sim *sim, void (*fn)(struct caller *c))
{
	struct stress *s = sim->s;

	if (!sim->admin)
		for (unsigned i = sim->index; i < s->options.callers; i += s->options.peers)
			fn(&s->callers[i]);
	if (fn == caller_lost)
		fn(sim->control);
}

static void born_soon(struct caller *c)
{
	caller_wake_in(c, WAKE_BORN, rnd_to(c->s, 50000));
}

static void judge_end(void *arg)
{
	struct sim *sim = arg;

	if (sim->silent == NULL)
		return;
	fail(sim->s, NULL, "%s %s", sim->name, sim->must_end);
	conn_close(sim->silent, true);
}

/* The node must close the silent connection, for the reason that `text` gives. */
static void expect_end(struct sim *sim, const char *text)
{
	if (sim->silent == NULL)
		return;
	sim->must_end = text;
	sim->silence.fn = judge_end;
	sim->silence.arg = sim;
	alarm_set(sim->s, &sim->silence, now_us() + sim->s->options.slack_ms * 1000);
	(void)!uv_read_start((uv_stream_t *)&sim->silent->tcp, on_alloc, on_read);
}

static void come_up(struct conn *c)
{
	struct sim *sim = c->sim;
	struct stress *s = sim->s;

	c->up = true;
	s->connects++;
	s->alive_answers += c->hs.was_alive ? 1 : 0;
	s->node_creation = c->hs.node_creation;
	sim->state = SIM_UP;
	sim->paused = false;
	sim->heard_us = sim->ticked_us = now_us();
	sim->lives++;
	sim->barrier = sim->acked = 0;
	sim->casts = sim->casts_acked = sim->casts_at_barrier = 0;
	sim->control->alive = true;
	expect_end(sim, "has connected again, and the node still holds its old connection");
	each_process(sim, born_soon);
}

static void again_soon(void *arg)
{
	sim_dial(arg);
}

/* The connection ended though we did not want it to. */
static void cut_off(struct conn *c, const char *why)
{
	struct sim *sim = c->sim;
	struct stress *s = sim->s;
	bool was_up = c->up, doomed = c->doomed;

	if (c == sim->silent) {
		conn_close(c, false);
		return;
	}
	conn_close(c, false);
	if (!doomed)
		fail(s, NULL, "%s %s: %s", sim->name, was_up ? "was cut off by the node" : "cannot connect", why);
	sim->state = SIM_DOWN;
	each_process(sim, caller_lost);
	if (s->exited || sim->admin) {
		fatal(s, "the node is gone");
		return;
	}
	sim->same_life = false;
	sim->alarm.fn = again_soon;
	sim->alarm.arg = sim;
	alarm_set(s, &sim->alarm, now_us() + 200000);
}

/* Takes one packet of the handshake or one frame; false: more bytes are needed, or it is over. */
static bool take(struct conn *c)
{
	const uint8_t *p = c->in.data + c->parsed;
	size_t have = c->in.len - c->parsed, head = c->up ? 4 : 2, len;
	const char *why;

	if (c->closing || c->sim == NULL || have < head)
		return false;
	len = c->up ? get_u32(p) : get_u16(p);
	if (len > FRAME_MAX) {
		cut_off(c, "it sends a frame of absurd length");
		return false;
	}
	if (have - head < len)
		return false;
	c->parsed += head + len;
	if (c->up) {
		if (len > 0 && !c->doomed)
			signal_take(c->sim, p + head, len);
	} else if ((why = wire_packet(&c->hs, p + head, len, &c->out)) != NULL) {
		cut_off(c, why);
		return false;
	} else if (c->hs.phase == WIRE_UP) {
		come_up(c);
	}
	return true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;

	if (c->parsed > 0) {
		buf_consume(&c->in, c->parsed);
		c->parsed = 0;
	}
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
	if (c->closing || c->sim == NULL || n == 0)
		return;
	if (n < 0) {
		cut_off(c, n == UV_EOF ? "end of file" : uv_strerror((int)n));
		return;
	}
	if (c == c->sim->silent)
		return; /* what it was told before its successor came */
	c->in.len += (size_t)n;
	c->sim->s->bytes_in += (uint64_t)n;
	c->sim->heard_us = now_us();
	while (take(c))
		continue;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->handle->data;

	if (c->closing || c->sim == NULL)
		return;
	if (status != 0) {
		cut_off(c, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	wire_introduce(&c->hs, &c->out);
	(void)!uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

/* One who waits for a lease gives up while the grant may be in the socket: the hardest moment. */
static void give_up_blindly(struct caller *c)
{
	struct stress *s = c->s;

	if (c->waiting == NULL || c->waiting->kind != ASK_CHECKOUT || c->waiting->tag == TAG_MULTI ||
	    !rnd_pct(s, s->options.giveup))
		return;
	c->fate = FATE_GIVE_UP;
	caller_wake_in(c, WAKE_FATE, rnd_to(s, 10000));
}

void sim_pause(struct sim *sim, bool pause)
{
	if (sim->state != SIM_UP || sim->paused == pause)
		return;
	sim->paused = pause;
	if (pause)
		uv_read_stop((uv_stream_t *)&sim->conn->tcp);
	if (pause)
		each_process(sim, give_up_blindly);
	else
		(void)!uv_read_start((uv_stream_t *)&sim->conn->tcp, on_alloc, on_read);
}

void sim_dial(struct sim *sim)
{
	struct stress *s = sim->s;
	struct conn *c;

	if (s->phase > PHASE_RUN && !sim->admin)
		return;
	if ((c = mem_zalloc(sizeof *c)) == NULL)
		abort();
	if (!sim->same_life)
		sim->creation = 4 + (uint32_t)rnd_to(s, UINT32_MAX - 8);
	sim->flags = sim->index % 2 == 0 ? WIRE_OTP25 : WIRE_OTP29;
	sim->ref_words = sim->index % 2 == 0 ? 3 : 5;
	sim->state = SIM_DIALLING;
	sim->dialled_us = now_us();
	sim->conn = c;
	c->sim = sim;
	c->hs = (struct wire_handshake){ .name = sim->name, .node = s->node_name, .cookie = s->cookie,
					 .flags = sim->flags, .creation = sim->creation,
					 .challenge = (uint32_t)rnd(s) };
	uv_tcp_init(&s->loop, &c->tcp);
	c->tcp.data = c;
	if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&s->address, on_connected) != 0)
		cut_off(c, "it cannot be dialled");
}

/* ---- going ---- */

/* A peer that was silent comes to an end: replaced by its successor, or closed. */
static void end_silence(void *arg)
{
	struct sim *sim = arg;
	struct stress *s = sim->s;

	if (sim->state != SIM_SILENT)
		return;
	if (sim->long_silence) {
		sim->long_silence = false;
		expect_end(sim, "was silent for twice the net tick time, and the node still holds its connection");
		alarm_set(s, &sim->alarm, now_us() + s->options.slack_ms * 1000 + SECOND_US);
		return;
	}
	sim->state = SIM_DOWN;
	sim->same_life = rnd_to(s, 3) == 0;
	if (!sim->same_life && rnd_to(s, 2) == 0)
		conn_close(sim->silent, true);
	sim_dial(sim);
}

static void after_hostility(void *arg)
{
	struct sim *sim = arg;

	if (sim->conn == NULL || !sim->conn->doomed)
		return;
	fail(sim->s, NULL, "%s has sent what is no distribution, and was not cut off", sim->name);
	conn_close(sim->conn, true);
	sim->state = SIM_DOWN;
	sim_dial(sim);
}

void sim_vanish(struct sim *sim, enum vanish how)
{
	struct stress *s = sim->s;
	struct conn *c = sim->conn;
	uint64_t back = rnd_to(s, SECOND_US);

	if (sim->state != SIM_UP)
		return;
	sim_pause(sim, false);
	s->drops[how]++;
	if (how == VANISH_HOSTILE)
		junk_hostile(sim->control, &c->out);
	if (how == VANISH_CLOSE || how == VANISH_HOSTILE || rnd_to(s, 2) == 0)
		flush(c);
	s->countable_lost += sim->casts - sim->casts_acked;
	sim->state = SIM_DOWN;
	each_process(sim, caller_lost);
	sim->same_life = rnd_to(s, 4) == 0;
	sim->alarm.fn = again_soon;
	sim->alarm.arg = sim;
	switch (how) {
	case VANISH_CLOSE:
		conn_close(c, false);
		break;
	case VANISH_RESET:
		conn_close(c, true);
		break;
	case VANISH_SILENCE:
		/* for a moment, or until the node's net tick time-out has struck */
		uv_read_stop((uv_stream_t *)&c->tcp);
		sim->state = SIM_SILENT;
		sim->silent = c;
		sim->conn = NULL;
		buf_reset(&c->out, 0);
		sim->long_silence = rnd_to(s, 3) == 0;
		back += sim->long_silence ? 2 * SECOND_US * s->options.net_ticktime_s : 0;
		sim->alarm.fn = end_silence;
		break;
	default:
		c->doomed = true;
		sim->alarm.fn = after_hostility;
		back = s->options.slack_ms * 1000;
	}
	alarm_set(s, &sim->alarm, now_us() + back);
}

void sim_leave(struct sim *sim)
{
	each_process(sim, caller_lost);
	sim->state = SIM_DOWN;
	alarm_clear(sim->s, &sim->alarm);
	alarm_clear(sim->s, &sim->silence);
	conn_close(sim->silent, false);
	if (sim->conn != NULL)
		flush(sim->conn);
	conn_close(sim->conn, false);
}
