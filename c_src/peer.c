/* peer.c - TCP around one distribution connection; see peer.h.
 *
 * The happy path: accept or connect -> bytes -> dist events -> on_event; answers gather in the dist's output and
 * peer_flush() hands them to the kernel once per turn of the loop; what it does not take is written
 * slice by slice as it becomes writable, so that one peer's large answer never holds up another's. A slice
 * is what is small first, and then, at the end of a frame, some fragments of what is large, so that a large
 * answer does not hold up the small ones to the same peer either. Likewise is read: a slice of what the
 * peer has sent per turn of the loop.
 * What can go wrong: the handshake takes too long; the dist refuses (its last words are flushed); the
 * peer is silent for the net tick time; it does not read (max_output); reset, end of file, no memory:
 * each closes this connection with a reason, and on_closed is called once. Who writes much can ask to be
 * told when it has been read (peer_tell_drained).
 * The end of a node (peer_finish) is polite: the rest is written, our side is shut down, and what the peer still
 * says is dropped unread until it closes its own. To close at once would reset the connection as soon as the peer
 * says more, and a reset makes it forget what it has not read yet: the last answers. */
#include "peer.h"

#include "log.h"
#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SLICE_BYTES (256 * 1024) /* read or written per peer and turn; a fragment of ours, four of a BEAM's */
#define KEEP_BYTES  (256 * 1024) /* of an empty output buffer */
#define TICKS       4            /* per ticktime */

struct peer {
	uint64_t id;
	const struct peer_callbacks *callbacks;
	void *arg, *data;
	struct dist *dist;
	uv_tcp_t tcp;
	uv_timer_t timer; /* the handshake's deadline, then the ticks */
	uv_connect_t connect;
	uv_write_t write;
	struct buf
		sending; /* small frames: what is being written; the output is gathered meanwhile */
	size_t sent;     /* of them, and of what is in `slice` */
	uv_buf_t slice
		[1 + DIST_PIECES_MAX]; /* what is being written now: of `sending`, then fragments */
	unsigned slices;
	size_t taken;  /* bytes of this turn's reads */
	bool yielding; /* the rest is for the next turn */
	bool writing, tell_drained;
	size_t drained; /* with tell_drained: how little must be unsent */
	uint64_t ticktime_ms;
	size_t max_output;
	uint64_t bytes_in, bytes_out; /* in all */
	uint64_t seen_in, seen_out;   /* at the last tick */
	unsigned silent;              /* ticks without a byte from the peer */
	bool asked;                   /* a tick of ours may be answered with one */
	unsigned open;
	bool closing, up;
	bool finishing, shut; /* peer_finish(); nothing more is written */
	uv_shutdown_t shutdown;
	char label[DIST_NAME_MAX + 8];
	char why[256];
};

static void close_now(struct peer *p);

static void slice_written(struct peer *p);
static void write_rest(struct peer *p);
static void shut(struct peer *p);

static void on_written(uv_write_t *req, int status)
{
	struct peer *p = req->handle->data;

	if (p->closing)
		return;
	if (status != 0) {
		peer_close(p, uv_strerror(status));
		return;
	}
	p->writing = false;
	slice_written(p);
	write_rest(p);
	peer_flush(p);
	shut(p);
}

/* What is to be written next: of the small frames first, all that have gathered or a slice of them; where
 * their last one ends, a few fragments follow. */
static void make_slice(struct peer *p)
{
	struct dist_piece pieces[DIST_PIECES_MAX];
	struct buf *out = dist_output(p->dist), empty = p->sending;
	size_t left, n;

	p->slices = 0;
	if (p->sending.len == 0) { /* it may have memory */
		p->sending = *out;
		p->sending.limit = 0;
		empty.limit = out->limit;
		*out = empty;
		dist_output_taken(p->dist);
	}
	left = p->sending.len - p->sent;
	if (left > SLICE_BYTES)
		left = SLICE_BYTES;
	if (left > 0)
		p->slice[p->slices++] =
			uv_buf_init((char *)p->sending.data + p->sent, (unsigned)left);
	p->sent += left;
	if (p->sent < p->sending.len)
		return;
	n = dist_take_pieces(p->dist, SLICE_BYTES - left, pieces);
	for (size_t i = 0; i < n; i++)
		p->slice[p->slices++] =
			uv_buf_init((char *)(uintptr_t)pieces[i].at, (unsigned)pieces[i].len);
}

/* The slice is through: what it pointed at is no longer needed. */
static void slice_written(struct peer *p)
{
	dist_pieces_sent(p->dist);
	if (p->sent == p->sending.len) {
		buf_reset(&p->sending, KEEP_BYTES);
		p->sent = 0;
	}
}

/* Hands the slice to the kernel without waiting, and drops from it what that takes: all, if none is left. */
static int try_write(struct peer *p)
{
	int n = uv_try_write((uv_stream_t *)&p->tcp, p->slice, p->slices);
	unsigned done = 0;
	size_t some;

	if (n == UV_EAGAIN)
		return 0;
	if (n < 0)
		return n;
	p->bytes_out += (uint64_t)n;
	for (some = (size_t)n; done < p->slices && some >= p->slice[done].len; done++)
		some -= p->slice[done].len;
	p->slices -= done;
	memmove(p->slice, p->slice + done, p->slices * sizeof *p->slice);
	if (p->slices > 0) {
		p->slice[0].base += some;
		p->slice[0].len -= some;
	}
	return 0;
}

/* Writes what is left of the slice, or the next one, as the kernel takes it. */
static void write_rest(struct peer *p)
{
	int rc;

	if (p->slices == 0)
		make_slice(p);
	if (p->slices == 0)
		return;
	for (unsigned i = 0; i < p->slices; i++)
		p->bytes_out += p->slice[i].len;
	rc = uv_write(&p->write, (uv_stream_t *)&p->tcp, p->slice, p->slices, on_written);
	p->slices = 0;
	p->writing = true;
	if (rc != 0)
		peer_close(p, uv_strerror(rc));
}

static void flush(struct peer *p)
{
	int rc;

	if (p->closing || p->shut || peer_unsent(p) == 0)
		return;
	if (p->writing) {
		if (peer_unsent(p) > p->max_output)
			peer_close(p, "it does not read: more than max_output_bytes wait for it");
		return;
	}
	make_slice(p);
	if ((rc = try_write(p)) != 0) {
		peer_close(p, uv_strerror(rc));
		return;
	}
	if (p->slices == 0)
		slice_written(p);
	if (p->slices > 0 || peer_unsent(p) > 0) /* what a slice holds counts as sent */
		write_rest(p);
}

void peer_flush(struct peer *p)
{
	flush(p);
	if (p->closing || !p->tell_drained || peer_unsent(p) > p->drained)
		return;
	p->tell_drained = false;
	p->callbacks->on_drained(p->arg, p);
}

size_t peer_unsent(const struct peer *p)
{
	return dist_output(p->dist)->len + p->sending.len - p->sent + dist_pieces_left(p->dist);
}

void peer_tell_drained(struct peer *p, size_t bytes)
{
	p->tell_drained = true;
	p->drained = bytes;
}

static void take_events(struct peer *p)
{
	struct dist_event ev;

	while (!p->closing && dist_next(p->dist, &ev)) {
		if (ev.type == DIST_EV_CLOSED) {
			peer_close(p, ev.why);
			return;
		}
		if (ev.type == DIST_EV_NAME || ev.type == DIST_EV_UP)
			snprintf(p->label, sizeof p->label, "peer %s", dist_peer_name(p->dist));
		if (ev.type == DIST_EV_UP) {
			p->up = true;
			uv_timer_stop(&p->timer);
			uv_timer_again(&p->timer);
		}
		p->callbacks->on_event(p->arg, p, &ev);
	}
}

/* libuv reads until there is nothing more, but not beyond an empty buffer. */
static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct peer *p = h->data;
	size_t room = 0;
	uint8_t *at = NULL;

	(void)suggested;
	p->yielding = p->taken >= SLICE_BYTES;
	if (!p->yielding)
		at = dist_room(p->dist, &room);
	*buf = uv_buf_init((char *)at,
			   at != NULL ? (unsigned)(room < 1u << 30 ? room : 1u << 30) : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct peer *p = stream->data;

	/* A read that was not filled is the last one of this turn. */
	p->taken = n > 0 && (size_t)n == buf->len ? p->taken + (size_t)n : 0;
	if (p->closing || p->yielding)
		return;
	if (p->finishing) {
		if (n < 0)
			peer_close(p, p->why);
	} else if (n > 0) {
		p->bytes_in += (uint64_t)n;
		dist_received(p->dist, (size_t)n);
		take_events(p);
		peer_flush(p);
	} else if (n < 0) {
		peer_close(p, n == UV_EOF       ? "it closed the connection"
			      : n == UV_ENOBUFS ? "no memory for its message"
						: uv_strerror((int)n));
	}
}

/* Before the handshake is complete: its deadline. After it: every quarter of the tick time, a tick if
 * nothing else was sent, and the end after a whole tick time of silence. */
static void on_timer(uv_timer_t *timer)
{
	struct peer *p = timer->data;
	char why[96];

	if (!p->up) {
		peer_close(p, "the handshake took too long");
		return;
	}
	p->silent = p->bytes_in == p->seen_in ? p->silent + 1 : 0;
	p->seen_in = p->bytes_in;
	if (p->silent >= TICKS) {
		snprintf(why, sizeof why, "nothing heard for %llu ms: net tick timeout",
			 (unsigned long long)p->ticktime_ms);
		peer_close(p, why);
		return;
	}
	if (p->bytes_out == p->seen_out) {
		dist_send_tick(p->dist);
		p->asked = true;
	}
	p->seen_out = p->bytes_out;
	peer_flush(p);
}

void peer_ticked(struct peer *p)
{
	if (!p->asked)
		dist_send_tick(p->dist);
	p->asked = false;
}

static void on_handle_closed(uv_handle_t *h)
{
	struct peer *p = h->data;

	if (--p->open > 0)
		return;
	p->callbacks->on_closed(p->arg, p, p->why);
	dist_free(p->dist);
	buf_free(&p->sending);
	mem_free(p);
}

static void close_now(struct peer *p)
{
	uv_close((uv_handle_t *)&p->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&p->timer, on_handle_closed);
}

void peer_close(struct peer *p, const char *why)
{
	if (p->closing)
		return;
	if (!p->writing && !p->shut && p->slices == 0 && dist_output(p->dist)->len > 0) {
		make_slice(p);
		(void)!try_write(p);
	}
	p->closing = true;
	if (why != p->why)
		snprintf(p->why, sizeof p->why, "%s", why);
	close_now(p);
}

static void on_lingered(uv_timer_t *timer)
{
	struct peer *p = timer->data;

	peer_close(p, p->why);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct peer *p = req->handle->data;

	if (status != 0 && !p->closing)
		peer_close(p, p->why);
}

/* When all is written. */
static void shut(struct peer *p)
{
	if (!p->finishing || p->shut || p->writing || p->closing)
		return;
	p->shut = true;
	if (uv_shutdown(&p->shutdown, (uv_stream_t *)&p->tcp, on_shutdown) != 0)
		peer_close(p, p->why);
}

void peer_finish(struct peer *p, const char *why, uint64_t linger_ms)
{
	if (p->closing || p->finishing)
		return;
	if (!p->up) {
		peer_close(p, why);
		return;
	}
	peer_flush(p);
	if (p->closing)
		return;
	p->finishing = true;
	snprintf(p->why, sizeof p->why, "%s", why);
	uv_timer_start(&p->timer, on_lingered, linger_ms, 0);
	shut(p);
}

static void label_by_address(struct peer *p)
{
	struct sockaddr_storage addr;
	int len = sizeof addr;
	char host[64] = "?";
	int port = 0;

	if (uv_tcp_getpeername(&p->tcp, (struct sockaddr *)&addr, &len) == 0) {
		if (addr.ss_family == AF_INET) {
			uv_ip4_name((struct sockaddr_in *)&addr, host, sizeof host);
			port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
		} else if (addr.ss_family == AF_INET6) {
			uv_ip6_name((struct sockaddr_in6 *)&addr, host, sizeof host);
			port = ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
		}
	}
	snprintf(p->label, sizeof p->label, "peer %s:%d", host, port);
}

/* A peer whose dist is made by dist_accept(), or dist_connect() if it has a name. */
static struct peer *peer_new(uv_loop_t *loop, uint64_t id, const struct peer_options *options,
			     const char *name, const struct peer_callbacks *callbacks, void *arg,
			     int *error)
{
	struct peer *p = mem_zalloc(sizeof *p);
	uint32_t challenge;

	*error = -ENOMEM;
	if (p == NULL)
		return NULL;
	if ((*error = uv_random(NULL, NULL, &challenge, sizeof challenge, 0, NULL)) != 0)
		goto err0;
	*error = -ENOMEM;
	p->dist = name != NULL ? dist_connect(&options->dist, name, challenge)
			       : dist_accept(&options->dist, challenge);
	if (p->dist == NULL)
		goto err0;
	p->id = id;
	p->callbacks = callbacks;
	p->arg = arg;
	p->ticktime_ms = options->ticktime_ms;
	p->max_output = options->max_output;
	p->open = 2;
	uv_tcp_init(loop, &p->tcp);
	uv_timer_init(loop, &p->timer);
	p->tcp.data = p->timer.data = p;
	*error = 0;
	return p;
err0:
	mem_free(p);
	return NULL;
}

static void start_timer(struct peer *p, const struct peer_options *options)
{
	uv_timer_start(&p->timer, on_timer, options->handshake_timeout_ms,
		       p->ticktime_ms / TICKS > 0 ? p->ticktime_ms / TICKS : 1);
}

static void start_reading(struct peer *p)
{
	uv_tcp_nodelay(&p->tcp, 1);
	uv_tcp_keepalive(&p->tcp, 1, 60);
	(void)!uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
}

struct peer *peer_accept(uv_loop_t *loop, uv_stream_t *listener, uint64_t id,
			 const struct peer_options *options, const struct peer_callbacks *callbacks,
			 void *arg, int *error)
{
	struct peer *p = peer_new(loop, id, options, NULL, callbacks, arg, error);

	if (p == NULL)
		return NULL;
	if ((*error = uv_accept(listener, (uv_stream_t *)&p->tcp)) != 0) {
		peer_close(p, uv_strerror(*error));
		return NULL;
	}
	label_by_address(p);
	start_timer(p, options);
	start_reading(p);
	return p;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct peer *p = req->handle->data;

	p->writing = false;
	if (p->closing)
		return;
	if (status != 0) {
		peer_close(p, uv_strerror(status));
		return;
	}
	start_reading(p);
	take_events(p);
	peer_flush(p);
}

struct peer *peer_connect(uv_loop_t *loop, const struct sockaddr *address, const char *name,
			  uint64_t id, const struct peer_options *options,
			  const struct peer_callbacks *callbacks, void *arg, int *error)
{
	struct peer *p = peer_new(loop, id, options, name, callbacks, arg, error);

	if (p == NULL)
		return NULL;
	snprintf(p->label, sizeof p->label, "peer %s", name);
	p->writing = true; /* until there is a connection: what is said first waits */
	start_timer(p, options);
	if ((*error = uv_tcp_connect(&p->connect, &p->tcp, address, on_connected)) != 0) {
		p->writing = false;
		peer_close(p, uv_strerror(*error));
		return NULL;
	}
	return p;
}

struct dist *peer_dist(struct peer *p)
{
	return p->dist;
}

int peer_addresses(const struct peer *p, struct sockaddr_storage *ours,
		   struct sockaddr_storage *theirs)
{
	int len = sizeof *ours, rc = uv_tcp_getsockname(&p->tcp, (struct sockaddr *)ours, &len);

	len = sizeof *theirs;
	return rc != 0 ? rc : uv_tcp_getpeername(&p->tcp, (struct sockaddr *)theirs, &len);
}

bool peer_closing(const struct peer *p)
{
	return p->closing || p->finishing;
}

uint64_t peer_id(const struct peer *p)
{
	return p->id;
}

const char *peer_label(const struct peer *p)
{
	return p->label;
}

void peer_set_data(struct peer *p, void *data)
{
	p->data = data;
}

void *peer_data(const struct peer *p)
{
	return p->data;
}
