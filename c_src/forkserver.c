/* forkserver.c - the preloaded Python process that workers are forked from; see forkserver.h.
 *
 * The happy path: spawn -> "setup" -> "ready" -> "start" ... -> "forked" ... -> "exited" -> "reap".
 * What can go wrong: the preload raises ("failed", then its end); a fork fails ("fork_failed"); its
 * socket is full (packets wait in order, with their descriptors); it dies (on_down, its workers die with
 * it); it says something that is not in the specification (it is killed). */
#include "forkserver_private.h"

#include "children.h"
#include "lines.h"
#include "list.h"
#include "log.h"
#include "mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKET_MAX (64 * 1024) /* longest packet from the fork server */

/* A packet that waits for room in the socket. */
struct packet {
	struct list link;
	int fds[FORKSERVER_FDS]; /* -1: none */
	size_t len;
	char data[];
};

struct output {
	uv_pipe_t pipe;
	struct forkserver *fs;
	bool is_stderr;
	struct lines lines;
};

struct forkserver {
	const struct forkserver_callbacks *callbacks;
	void *arg;
	uv_process_t process;
	uv_poll_t control;
	int fd; /* our end of the control socket */
	struct output out, err;
	struct list waiting; /* packets */
	unsigned open;       /* handles not yet closed */
	bool down, closing;
};

/* ---- what we say ---- */

static void close_fds(int fds[FORKSERVER_FDS])
{
	for (int i = 0; i < FORKSERVER_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void packet_free(struct packet *p)
{
	list_remove(&p->link);
	close_fds(p->fds);
	mem_free(p);
}

/* One packet into the socket. 0, or a negative errno. */
static int send_packet(int fd, struct packet *p)
{
	union {
		char bytes[CMSG_SPACE(sizeof p->fds)];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = p->data, .iov_len = p->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (p->fds[0] >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof control.bytes;
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof p->fds);
		memcpy(CMSG_DATA(cmsg), p->fds, sizeof p->fds);
	}
	do {
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void on_control(uv_poll_t *handle, int status, int events);

static void watch(struct forkserver *fs)
{
	int events = UV_READABLE | (list_empty(&fs->waiting) ? 0 : UV_WRITABLE);

	(void)!uv_poll_start(&fs->control, events, on_control);
}

static void flush(struct forkserver *fs)
{
	while (!list_empty(&fs->waiting)) {
		struct packet *p = list_entry(fs->waiting.next, struct packet, link);
		int rc = send_packet(fs->fd, p);

		/* ETOOMANYREFS: too many descriptors are in flight to a server that still preloads */
		if (rc == -EAGAIN || rc == -ETOOMANYREFS || rc == -ENOBUFS)
			return;
		packet_free(p); /* sent, or its process is gone, which is told otherwise */
	}
}

/* Queues a packet; takes over the descriptors in every case. */
static int post(struct forkserver *fs, const msgpack_sbuffer *data, const int fds[FORKSERVER_FDS])
{
	struct packet *p = mem_alloc(sizeof *p + data->size);
	int none[FORKSERVER_FDS] = { -1, -1, -1, -1 };

	if (p == NULL) {
		memcpy(none, fds, sizeof none);
		close_fds(none);
		return -ENOMEM;
	}
	memcpy(p->fds, fds, sizeof p->fds);
	memcpy(p->data, data->data, data->size);
	p->len = data->size;
	list_append(&fs->waiting, &p->link);
	flush(fs);
	if (!fs->down && !fs->closing)
		watch(fs);
	return 0;
}

int forkserver_fork(struct forkserver *fs, uint64_t worker_id, unsigned index, const char *cgroup,
		    const int fds[FORKSERVER_FDS])
{
	msgpack_sbuffer data;
	msgpack_packer pk;
	int rc;

	msgpack_sbuffer_init(&data);
	msgpack_packer_init(&pk, &data, msgpack_sbuffer_write);
	forkserver_pack_start(&pk, worker_id, index, cgroup);
	rc = post(fs, &data, fds);
	msgpack_sbuffer_destroy(&data);
	return rc;
}

void forkserver_reap(struct forkserver *fs, int os_pid)
{
	static const int none[FORKSERVER_FDS] = { -1, -1, -1, -1 };
	msgpack_sbuffer data;
	msgpack_packer pk;

	if (fs->down)
		return;
	msgpack_sbuffer_init(&data);
	msgpack_packer_init(&pk, &data, msgpack_sbuffer_write);
	forkserver_pack_reap(&pk, os_pid);
	(void)!post(fs, &data, none); /* without memory one zombie stays until the server ends */
	msgpack_sbuffer_destroy(&data);
}

/* ---- what we hear ---- */

static void garbage(struct forkserver *fs)
{
	log_line(LOG_ERROR, "forkserver",
		 "pid %d said something that is not in the protocol: killed", fs->process.pid);
	uv_poll_stop(&fs->control);
	forkserver_kill(fs);
}

static void read_packets(struct forkserver *fs)
{
	static char data[PACKET_MAX]; /* one loop; used up before the next read */
	msgpack_unpacked packet;
	bool good = true;
	ssize_t n = -1;

	while (good && !fs->closing && (n = recv(fs->fd, data, sizeof data, MSG_DONTWAIT)) > 0) {
		msgpack_unpacked_init(&packet);
		good = msgpack_unpack_next(&packet, data, (size_t)n, NULL) ==
			       MSGPACK_UNPACK_SUCCESS &&
		       packet.data.type == MSGPACK_OBJECT_ARRAY &&
		       forkserver_take(fs->callbacks, fs->arg, &packet.data.via.array);
		msgpack_unpacked_destroy(&packet);
	}
	if (!good)
		garbage(fs);
	else if (!fs->closing && n == 0)
		uv_poll_stop(&fs->control); /* it is ending: on_exit follows */
}

static void on_control(uv_poll_t *handle, int status, int events)
{
	struct forkserver *fs = handle->data;

	if (status < 0 || (events & UV_READABLE) != 0)
		read_packets(fs);
	if (!fs->closing && !fs->down && (events & UV_WRITABLE) != 0) {
		flush(fs);
		watch(fs);
	}
}

/* ---- its output, its end ---- */

static void on_line(void *arg, const char *line, size_t len)
{
	struct output *o = arg;

	o->fs->callbacks->on_line(o->fs->arg, o->is_stderr, line, len);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	static char shared[16 * 1024];

	(void)h;
	(void)suggested;
	*buf = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct output *o = stream->data;

	if (n > 0) {
		lines_put(&o->lines, buf->base, (size_t)n);
	} else if (n < 0) {
		lines_end(&o->lines);
		uv_read_stop(stream);
	}
}

static void drain(struct output *o)
{
	char data[4096];
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&o->pipe, &fd) != 0)
		return;
	while ((n = read(fd, data, sizeof data)) > 0)
		lines_put(&o->lines, data, (size_t)n);
	lines_end(&o->lines);
}

static void on_exit_cb(uv_process_t *process, int64_t status, int signal)
{
	struct forkserver *fs = process->data;

	children_remove(process->pid);
	if (fs->closing)
		return;
	read_packets(fs); /* what it said last */
	drain(&fs->out);
	drain(&fs->err);
	fs->down = true;
	uv_poll_stop(&fs->control);
	fs->callbacks->on_down(fs->arg, (int)status, signal);
}

static void on_handle_closed(struct forkserver *fs)
{
	if (--fs->open > 0)
		return;
	close(fs->fd);
	while (!list_empty(&fs->waiting))
		packet_free(list_entry(fs->waiting.next, struct packet, link));
	if (fs->callbacks != NULL)
		fs->callbacks->on_closed(fs->arg);
	mem_free(fs);
}

static void on_own_closed(uv_handle_t *h)
{
	on_handle_closed(h->data);
}

static void on_output_closed(uv_handle_t *h)
{
	on_handle_closed(((struct output *)h->data)->fs);
}

void forkserver_kill(struct forkserver *fs)
{
	if (!fs->down)
		uv_process_kill(&fs->process, SIGKILL);
}

void forkserver_close(struct forkserver *fs)
{
	if (fs->closing)
		return;
	forkserver_kill(fs);
	children_remove(
		fs->process.pid); /* a closed handle does not wait: whoever reaps others does */
	fs->closing = true;
	uv_close((uv_handle_t *)&fs->process, on_own_closed);
	uv_close((uv_handle_t *)&fs->control, on_own_closed);
	uv_close((uv_handle_t *)&fs->out.pipe, on_output_closed);
	uv_close((uv_handle_t *)&fs->err.pipe, on_output_closed);
}

/* ---- its start ---- */

static void output_init(uv_loop_t *loop, struct output *o, struct forkserver *fs, bool is_stderr)
{
	o->fs = fs;
	o->is_stderr = is_stderr;
	o->lines.on_line = on_line;
	o->lines.arg = o;
	uv_pipe_init(loop, &o->pipe, 0);
	o->pipe.data = o;
}

static int spawn(struct forkserver *fs, uv_loop_t *loop, const struct forkserver_options *o,
		 int theirs)
{
	char *args[] = { (char *)o->python, (char *)o->script, NULL };
	uv_stdio_container_t stdio[4] = {
		{ .flags = UV_IGNORE },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&fs->out.pipe },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&fs->err.pipe },
		{ .flags = UV_INHERIT_FD, .data.fd = theirs },
	};
	uv_process_options_t options = { .exit_cb = on_exit_cb,
					 .file = o->python,
					 .args = args,
					 .env = forkserver_env(o->mark, o->config),
					 .flags = UV_PROCESS_DETACHED,
					 .stdio_count = 4,
					 .stdio = stdio };
	int rc;

	if (options.env == NULL)
		return -ENOMEM;
	if ((rc = uv_spawn(loop, &fs->process, &options)) == 0)
		children_add(fs->process.pid);
	mem_free(options.env);
	return rc;
}

static int post_setup(struct forkserver *fs, const struct forkserver_options *o)
{
	static const int none[FORKSERVER_FDS] = { -1, -1, -1, -1 };
	msgpack_sbuffer data;
	msgpack_packer pk;
	int rc;

	msgpack_sbuffer_init(&data);
	msgpack_packer_init(&pk, &data, msgpack_sbuffer_write);
	forkserver_pack_setup(&pk, o);
	rc = post(fs, &data, none);
	msgpack_sbuffer_destroy(&data);
	return rc;
}

struct forkserver *forkserver_start(uv_loop_t *loop, const struct forkserver_options *options,
				    const struct forkserver_callbacks *callbacks, void *arg,
				    int *error)
{
	struct forkserver *fs = mem_zalloc(sizeof *fs);
	int pair[2];

	*error = -ENOMEM;
	if (fs == NULL)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		*error = -errno;
		mem_free(fs);
		return NULL;
	}
	list_init(&fs->waiting);
	fs->fd = pair[0];
	fs->open = 4;
	fs->process.data = fs->control.data = fs;
	uv_poll_init(loop, &fs->control, fs->fd);
	output_init(loop, &fs->out, fs, false);
	output_init(loop, &fs->err, fs, true);
	*error = spawn(fs, loop, options, pair[1]);
	close(pair[1]);
	if (*error != 0)
		goto err;
	fs->callbacks = callbacks;
	fs->arg = arg;
	(void)!uv_read_start((uv_stream_t *)&fs->out.pipe, on_alloc, on_read);
	(void)!uv_read_start((uv_stream_t *)&fs->err.pipe, on_alloc, on_read);
	watch(fs);
	if ((*error = post_setup(fs, options)) == 0)
		return fs;
	fs->callbacks = NULL;
err:
	fs->down = fs->process.pid == 0;
	forkserver_close(fs);
	return NULL;
}
