/* worker.c - one Python process: its channel, its output, its end; see worker.h.
 *
 * The happy path: worker_new() -> the process gets its ends of channel and pipes -> HELLO, RESULT ...
 * frames -> on_frame; lines -> on_line; its exit is reported -> worker_close() -> on_closed, once, after
 * every handle is closed.
 * What can go wrong: a frame is garbage or too long, or the channel ends (on_broken, once); it does not
 * read (what waits is bounded by the one call that it runs); it floods its output (each line is cut
 * and handed on, nothing gathers here); a grandchild holds the pipes open after its end (they are
 * read until they are empty, not until they end). */
#include "worker.h"

#include "lines.h"
#include "list.h"
#include "log_format.h"
#include "mem.h"
#include "parcel.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BYTES (1024 * 1024) /* both buffers of the channel: a large frame in few wake-ups */
#define READ_BYTES   (64 * 1024)
#define DRAIN_MAX    (4 * 1024 * 1024) /* output read after the exit: more than any pipe holds */

/* One of stdout and stderr. */
struct output {
	uv_pipe_t pipe;
	struct worker *worker;
	bool is_stderr;
	struct lines lines;
};

struct worker {
	const struct worker_callbacks *callbacks;
	void *arg;
	uv_pipe_t channel;
	struct output out, err;
	struct frame_reader reader;
	struct ahead_queue ahead;
	unsigned open; /* handles not yet closed */
	bool broken, closing;
	unsigned paused;
	char *kept[WORKER_LINES]; /* last lines of stderr, a ring; kept_next is the oldest */
	unsigned kept_next;
};

/* What the socket did not take at once. */
struct write {
	uv_write_t req;
	struct parcel *parcel; /* where it lies; NULL: in `data` */
	uint8_t data[];
};

static void broken(struct worker *w, const char *why, bool unread)
{
	if (w->broken || w->closing)
		return;
	w->broken = true;
	uv_read_stop((uv_stream_t *)&w->channel);
	w->callbacks->on_broken(w->arg, w, why, unread);
}

/* Hands out all whole frames. */
static void take_frames(struct worker *w)
{
	struct frame frame;
	int rc;

	while (!w->broken && (rc = frame_next(&w->reader, &frame)) != 0) {
		if (rc < 0) {
			broken(w,
			       rc == -EMSGSIZE
				       ? "a frame is longer than max_result_bytes allows"
				       : "the channel carries something that is not a frame",
			       false);
			return;
		}
		w->callbacks->on_frame(w->arg, w, &frame);
	}
}

static void on_channel_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct worker *w = h->data;
	size_t room = 0;
	uint8_t *at = frame_room(&w->reader, &room);

	(void)suggested;
	*buf = uv_buf_init((char *)at,
			   at != NULL ? (unsigned)(room < 1u << 30 ? room : 1u << 30) : 0);
}

static void on_channel_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct worker *w = stream->data;

	(void)buf;
	if (n > 0) {
		frame_received(&w->reader, (size_t)n);
		take_frames(w);
	} else if (n == UV_ENOBUFS) {
		broken(w, "no memory for a frame", false);
	} else if (n < 0) {
		/* Linux resets a Unix socket whose other end was closed with data unread: unix(7), and
		 * unix_release_sock() in the kernel */
		broken(w, "the channel was closed", n == UV_ECONNRESET);
	}
}

/* Keeps a line of stderr, without the level that it gives itself, as text. A line that finds no memory is not
 * kept. */
static void keep(struct worker *w, const char *line, size_t len)
{
	enum log_level level = LOG_INFO;
	char clean[3 * LINE_MAX_BYTES + 4];
	char *copy;

	log_take_level(&line, &len, &level);
	len = utf8_cleaned(clean, sizeof clean, line, len);
	for (size_t i = 0; i < len; i++)
		if (clean[i] == '\0')
			clean[i] = '?';
	copy = mem_dup(clean, len);
	if (copy == NULL)
		return;
	mem_free(w->kept[w->kept_next]);
	w->kept[w->kept_next] = copy;
	w->kept_next = (w->kept_next + 1) % WORKER_LINES;
}

static void on_line(void *arg, const char *line, size_t len)
{
	struct output *o = arg;

	if (o->is_stderr)
		keep(o->worker, line, len);
	o->worker->callbacks->on_line(o->worker->arg, o->worker, o->is_stderr, line, len);
}

static void on_output_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	static char shared[READ_BYTES]; /* one loop, and the bytes are taken before the next read */

	(void)h;
	(void)suggested;
	*buf = uv_buf_init(shared, sizeof shared);
}

static void on_output_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n > 0)
		lines_put(&((struct output *)stream->data)->lines, buf->base, (size_t)n);
	else if (n < 0)
		uv_read_stop(stream);
}

static void count_closed(struct worker *w)
{
	if (--w->open == 0)
		w->callbacks->on_closed(w->arg, w);
}

static void on_channel_closed(uv_handle_t *h)
{
	count_closed(h->data);
}

static void on_output_closed(uv_handle_t *h)
{
	count_closed(((struct output *)h->data)->worker);
}

static void close_pair(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* Socket pair and pipes; [0] is ours, [1] theirs; and the queue, with their end of it. */
static int make_descriptors(int channel[2], int out[2], int err[2], struct ahead_queue *ahead,
			    int *queue)
{
	int bytes = SOCKET_BYTES, rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0)
		return -errno;
	if (pipe2(out, O_CLOEXEC) != 0)
		goto err1;
	if (pipe2(err, O_CLOEXEC) != 0)
		goto err2;
	if ((rc = ahead_queue_open(ahead, queue)) != 0)
		goto err3;
	for (int i = 0; i < 2; i++)
		if (setsockopt(channel[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
			(void)setsockopt(channel[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	return 0;
err3:
	close_pair(err);
	goto err_out;
err2:
	rc = -errno;
err_out:
	close_pair(out);
	close_pair(channel);
	return rc;
err1:
	rc = -errno;
	close_pair(channel);
	return rc;
}

static void output_init(uv_loop_t *loop, struct output *o, struct worker *w, bool is_stderr)
{
	o->worker = w;
	o->is_stderr = is_stderr;
	o->lines.on_line = on_line;
	o->lines.arg = o;
	uv_pipe_init(loop, &o->pipe, 0);
	o->pipe.data = o;
}

struct worker *worker_new(uv_loop_t *loop, size_t max_frame,
			  const struct worker_callbacks *callbacks, void *arg,
			  int theirs[WORKER_FDS], int *error)
{
	struct worker *w = mem_zalloc(sizeof *w);
	int channel[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };

	*error = -ENOMEM;
	if (w == NULL)
		return NULL;
	if ((*error = make_descriptors(channel, out, err, &w->ahead, &theirs[3])) != 0) {
		mem_free(w);
		return NULL;
	}
	w->callbacks = callbacks;
	w->arg = arg;
	w->open = 3;
	frame_reader_init(&w->reader, max_frame);
	uv_pipe_init(loop, &w->channel, 0);
	w->channel.data = w;
	output_init(loop, &w->out, w, false);
	output_init(loop, &w->err, w, true);
	/* uv_pipe_open() makes the descriptor non-blocking and fails only for a bad one */
	(void)!uv_pipe_open(&w->channel, channel[0]);
	(void)!uv_pipe_open(&w->out.pipe, out[0]);
	(void)!uv_pipe_open(&w->err.pipe, err[0]);
	(void)!uv_read_start((uv_stream_t *)&w->channel, on_channel_alloc, on_channel_read);
	(void)!uv_read_start((uv_stream_t *)&w->out.pipe, on_output_alloc, on_output_read);
	(void)!uv_read_start((uv_stream_t *)&w->err.pipe, on_output_alloc, on_output_read);
	theirs[0] = channel[1];
	theirs[1] = out[1];
	theirs[2] = err[1];
	*error = 0;
	return w;
}

static void on_written(uv_write_t *req, int status)
{
	struct write *write = list_entry(req, struct write, req);

	(void)status; /* a channel that is gone tells its reader */
	parcel_drop(write->parcel);
	mem_free(write);
}

int worker_send(struct worker *w, const void *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
	struct write *rest;
	int n;

	if (w->closing || w->broken)
		return -EPIPE;
	n = uv_try_write((uv_stream_t *)&w->channel, &buf, 1);
	if (n == UV_EAGAIN)
		n = 0;
	if (n < 0 || (size_t)n == len)
		return n < 0 ? n : 0;
	len -= (size_t)n;
	if ((rest = mem_alloc(sizeof *rest + len)) == NULL)
		return -ENOMEM;
	rest->parcel = NULL;
	memcpy(rest->data, (const char *)data + n, len);
	buf = uv_buf_init((char *)rest->data, (unsigned)len);
	n = uv_write(&rest->req, (uv_stream_t *)&w->channel, &buf, 1, on_written);
	if (n != 0)
		mem_free(rest);
	return n;
}

int worker_send_parcel(struct worker *w, struct parcel *p)
{
	uv_buf_t bufs[PARCEL_PIECES];
	struct write *rest;
	unsigned first = 0;
	int n;

	if (w->closing || w->broken)
		return -EPIPE;
	for (unsigned i = 0; i < p->pieces; i++)
		bufs[i] = uv_buf_init(p->piece[i].iov_base, (unsigned)p->piece[i].iov_len);
	n = uv_try_write((uv_stream_t *)&w->channel, bufs, p->pieces);
	if (n == UV_EAGAIN)
		n = 0;
	if (n < 0 || (size_t)n == p->len)
		return n < 0 ? n : 0;
	for (size_t gone = (size_t)n; gone > 0;) {
		size_t some = gone < bufs[first].len ? gone : bufs[first].len;

		bufs[first].base += some;
		bufs[first].len -= some;
		gone -= some;
		first += bufs[first].len == 0;
	}
	if ((rest = mem_alloc(sizeof *rest)) == NULL)
		return -ENOMEM;
	rest->parcel = parcel_hold(p);
	n = uv_write(&rest->req, (uv_stream_t *)&w->channel, bufs + first, p->pieces - first,
		     on_written);
	if (n != 0) {
		parcel_drop(p);
		mem_free(rest);
	}
	return n;
}

struct share *worker_share(struct worker *w)
{
	return frame_share(&w->reader);
}

void worker_pause(struct worker *w)
{
	if (w->paused++ == 0 && !w->broken && !w->closing)
		uv_read_stop((uv_stream_t *)&w->channel);
}

void worker_resume(struct worker *w)
{
	if (--w->paused == 0 && !w->broken && !w->closing)
		(void)!uv_read_start((uv_stream_t *)&w->channel, on_channel_alloc, on_channel_read);
}

struct ahead_queue *worker_ahead(struct worker *w)
{
	return &w->ahead;
}

size_t worker_unsent(const struct worker *w)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&w->channel);
}

void worker_end(struct worker *w)
{
	uv_os_fd_t fd;

	if (!w->closing && uv_fileno((uv_handle_t *)&w->channel, &fd) == 0)
		shutdown(fd, SHUT_WR);
}

/* Reads what is left in the channel. */
static void drain_channel(struct worker *w)
{
	uv_os_fd_t fd;

	if (w->broken || uv_fileno((uv_handle_t *)&w->channel, &fd) != 0)
		return;
	for (;;) {
		size_t room = 0;
		uint8_t *at = frame_room(&w->reader, &room);
		ssize_t n = at != NULL ? read(fd, at, room) : -1;

		if (n <= 0) {
			if (n == 0 || errno == ECONNRESET)
				broken(w, "the channel was closed", n < 0);
			return;
		}
		frame_received(&w->reader, (size_t)n);
		take_frames(w);
		if (w->broken)
			return;
	}
}

static void drain_output(struct output *o)
{
	char data[4096];
	size_t total = 0;
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&o->pipe, &fd) != 0)
		return;
	while (total < DRAIN_MAX && (n = read(fd, data, sizeof data)) > 0) {
		lines_put(&o->lines, data, (size_t)n);
		total += (size_t)n;
	}
	lines_end(&o->lines);
}

void worker_close(struct worker *w)
{
	if (w->closing)
		return;
	drain_output(&w->out);
	drain_output(&w->err);
	drain_channel(w);
	w->closing = true;
	ahead_queue_close(&w->ahead);
	uv_close((uv_handle_t *)&w->channel, on_channel_closed);
	uv_close((uv_handle_t *)&w->out.pipe, on_output_closed);
	uv_close((uv_handle_t *)&w->err.pipe, on_output_closed);
}

void worker_free(struct worker *w)
{
	for (unsigned i = 0; i < WORKER_LINES; i++)
		mem_free(w->kept[i]);
	frame_reader_close(&w->reader);
	mem_free(w);
}

void worker_last_lines(const struct worker *w, struct buf *out)
{
	for (unsigned i = 0; i < WORKER_LINES; i++) {
		const char *line = w->kept[(w->kept_next + i) % WORKER_LINES];

		if (line != NULL) {
			buf_put(out, line, strlen(line));
			buf_put_u8(out, '\n');
		}
	}
}
