/* peer_write.c - what a peer is sent; see peer.h.
 *
 *     dist's output --make_slice--> sending | fragments = one slice --try_write, uv_write--> the kernel
 *
 * The happy path: answers gather in the dist's output; peer_flush() hands a slice of them to the kernel once per
 * turn of the loop, and what that does not take is written as it becomes writable (on_written, the next slice), so
 * that one peer's large answer never holds up another's. A slice is what is small first, and then, at the end of
 * a frame, some fragments of what is large, so that a large answer does not hold up the small ones to the same peer
 * either. Who writes much can ask to be told when it has been read (peer_tell_drained).
 * What can go wrong: the peer does not read (max_output), or the connection is gone; both close it.
 * The end of a node (peer_finish) is polite: the rest is written, our side is shut down, and what the peer still
 * says is dropped unread until it closes its own. To close at once would reset the connection as soon as the peer
 * says more, and a reset makes it forget what it has not read yet: the last answers. */
#include "peer_private.h"

#include <stdio.h>
#include <string.h>

#define KEEP_BYTES (256 * 1024) /* of an empty output buffer */

static void write_rest(struct peer *p);

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
	if (left > PEER_SLICE_BYTES)
		left = PEER_SLICE_BYTES;
	if (left > 0)
		p->slice[p->slices++] =
			uv_buf_init((char *)p->sending.data + p->sent, (unsigned)left);
	p->sent += left;
	if (p->sent < p->sending.len)
		return;
	n = dist_take_pieces(p->dist, PEER_SLICE_BYTES - left, pieces);
	for (size_t i = 0; i < n; i++)
		p->slice[p->slices++] = uv_buf_init((char *)pieces[i].at, (unsigned)pieces[i].len);
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

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct peer *p = req->handle->data;

	if (status != 0 && !p->closing)
		peer_close(p, p->why);
}

/* Of a node that ends, when all is written. */
static void shut(struct peer *p)
{
	if (!p->finishing || p->shut || p->writing || p->closing)
		return;
	p->shut = true;
	if (uv_shutdown(&p->shutdown, (uv_stream_t *)&p->tcp, on_shutdown) != 0)
		peer_close(p, p->why);
}

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

void peer_write_last(struct peer *p)
{
	if (p->writing || p->shut || p->slices > 0 || dist_output(p->dist)->len == 0)
		return;
	make_slice(p);
	(void)!try_write(p);
}

static void on_lingered(uv_timer_t *timer)
{
	struct peer *p = timer->data;

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
