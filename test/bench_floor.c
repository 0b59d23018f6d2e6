/* bench_floor.c - the floor of the benchmark: C to Python and back, with nothing in between.
 *
 *   bench_floor PYTHON ECHO_LOOP     reads lines "FORM CONCURRENCY WARM_MS WINDOW_MS VALUE_FILE" from
 *                                    standard input and answers each with
 *                                    "MILLICALLS ALL P50_NS P99_NS P999_NS": calls in the window times a
 *                                    thousand, all calls, latencies of those that lay inside of it
 *
 * `CONCURRENCY` requests are always under way over as many Pythons as that, at most four, each with its own
 * socketpair. Two forms of it:
 *
 *   single     a Python gets its next request when it has answered; the others wait here, first come first
 *              served. What a pool of synchronous workers would reach that does its own work in no time.
 *   pipelined  all are written at once, spread over the Pythons, which find the next ones waiting: no wake-up
 *              between two calls. Nobody could take a request back from a worker that dies, or whose
 *              neighbour is free.
 *
 * The value that is echoed is msgpack in a file; it is decoded once, encoded for every request and decoded
 * and compared in every answer. Frames are those of the node's worker wire (include/frame.h). No caller, no
 * deadline, no queue worth the name: no design that sends bytes over a socketpair gets below this.
 *
 * The Pythons are started once and stay until standard input closes, so that rounds can alternate with
 * the other sides of the benchmark without paying for starts. */
#include <errno.h>
#include <fcntl.h>
#include <msgpack.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PYTHONS    4
#define CALLS_MAX  4096 /* under way at once */
#define ROOM_LEAST (1 << 16)
#define NS_PER_MS  UINT64_C(1000000)
#define LENGTH     4 /* bytes of a frame's length */

struct python {
	int fd;
	pid_t pid;
	unsigned in_flight;
	msgpack_sbuffer out; /* frames not written yet, from `out_at` on */
	size_t out_at;
	uint8_t *in;
	size_t in_len, in_room;
};

/* What was measured, and the window that it counts in. */
struct window {
	uint64_t from, till;
	uint64_t all;
	double calls;
	uint64_t *taken_ns; /* one latency for each call that lay inside */
	size_t taken, room;
};

static struct python pythons[PYTHONS];
static msgpack_object value;

/* When the request with this id, modulo, was asked for; ids [next_id, asked_id) wait here to be sent. */
static uint64_t asked_ns[CALLS_MAX];
static uint64_t asked_id, next_id;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void start(struct python *p, const char *interpreter, const char *script)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		die("socketpair");
	if ((p->pid = fork()) < 0)
		die("fork");
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pair[1], 0);
		dup2(pair[1], 1);
		execl(interpreter, interpreter, script, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	p->fd = pair[0];
	if (fcntl(p->fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
	msgpack_sbuffer_init(&p->out);
}

static void put_text(msgpack_packer *to, const char *text)
{
	msgpack_pack_str(to, strlen(text));
	msgpack_pack_str_body(to, text, strlen(text));
}

/* Appends [1, id, "bench_echo", "echo", [value], {}, nil], its length in front. */
static void put_request(struct python *p, uint64_t id)
{
	size_t at = p->out.size, len;
	msgpack_packer to;

	msgpack_sbuffer_write(&p->out, "\0\0\0\0", LENGTH);
	msgpack_packer_init(&to, &p->out, msgpack_sbuffer_write);
	msgpack_pack_array(&to, 7);
	msgpack_pack_int(&to, 1);
	msgpack_pack_uint64(&to, id);
	put_text(&to, "bench_echo");
	put_text(&to, "echo");
	msgpack_pack_array(&to, 1);
	msgpack_pack_object(&to, value);
	msgpack_pack_map(&to, 0);
	msgpack_pack_nil(&to);
	len = p->out.size - at - LENGTH;
	for (size_t i = 0; i < LENGTH; i++)
		p->out.data[at + i] = (char)(len >> (8 * (LENGTH - 1 - i)));
	p->in_flight++;
}

static void write_out(struct python *p)
{
	while (p->out_at < p->out.size) {
		ssize_t n = write(p->fd, p->out.data + p->out_at, p->out.size - p->out_at);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("write to Python");
		p->out_at += (size_t)n;
	}
	p->out_at = 0;
	msgpack_sbuffer_clear(&p->out);
}

/* One answer came: counts it, whole or by the share of it that lies in the window. */
static void count(struct window *w, uint64_t begin, uint64_t now)
{
	uint64_t from = begin > w->from ? begin : w->from, till = now < w->till ? now : w->till;

	w->all++;
	if (from >= till)
		return;
	if (from != begin || till != now) {
		w->calls += (double)(till - from) / (double)(now - begin);
		return;
	}
	if (w->taken == w->room) {
		w->room = w->room * 2 + 4096;
		if ((w->taken_ns = realloc(w->taken_ns, w->room * sizeof *w->taken_ns)) == NULL)
			die("realloc");
	}
	w->taken_ns[w->taken++] = now - begin;
	w->calls += 1;
}

/* Checks one answer and counts it. */
static void take(struct window *w, const uint8_t *body, size_t len, uint64_t now)
{
	msgpack_unpacked frame;
	const msgpack_object *o;
	size_t off = 0;

	msgpack_unpacked_init(&frame);
	if (msgpack_unpack_next(&frame, (const char *)body, len, &off) != MSGPACK_UNPACK_SUCCESS ||
	    frame.data.type != MSGPACK_OBJECT_ARRAY || frame.data.via.array.size != 3 ||
	    !msgpack_object_equal((o = frame.data.via.array.ptr)[2], value)) {
		fprintf(stderr, "bench_floor: not the echo of what was sent\n");
		exit(1);
	}
	count(w, asked_ns[o[1].via.u64 % CALLS_MAX], now);
	msgpack_unpacked_destroy(&frame);
}

/* Takes all whole answers that are there; returns how many. */
static unsigned take_answers(struct python *p, struct window *w)
{
	unsigned answers = 0;
	size_t at = 0, size = 0;
	ssize_t n;
	uint64_t now;

	if ((n = read(p->fd, p->in + p->in_len, p->in_room - p->in_len)) <= 0)
		die("read from Python");
	p->in_len += (size_t)n;
	for (now = now_ns(); p->in_len - at >= LENGTH; at += LENGTH + size, answers++) {
		const uint8_t *f = p->in + at;

		size = (size_t)f[0] << 24 | (size_t)f[1] << 16 | (size_t)f[2] << 8 | f[3];
		if (p->in_len - at < LENGTH + size)
			break;
		take(w, f + LENGTH, size, now);
	}
	memmove(p->in, p->in + at, p->in_len - at);
	p->in_len -= at;
	p->in_flight -= answers;
	return answers;
}

/* Room for what a whole answer needs, asked for once. */
static void room(struct python *p, size_t least)
{
	if (p->in_room >= least)
		return;
	if ((p->in = realloc(p->in, least)) == NULL)
		die("realloc");
	p->in_room = least;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static unsigned long long percentile(const struct window *w, double share)
{
	return w->taken == 0 ? 0 : w->taken_ns[(size_t)(share * (double)(w->taken - 1))];
}

static void ask(uint64_t now)
{
	asked_ns[asked_id++ % CALLS_MAX] = now;
}

static void send_next(struct python *p)
{
	put_request(p, next_id++);
	write_out(p);
}

/* Keeps `concurrency` requests under way until the window ends, then waits for the last answers. */
static void run(bool single, unsigned concurrency, struct window *w)
{
	unsigned used = concurrency < PYTHONS ? concurrency : PYTHONS, left = concurrency;
	struct pollfd fds[PYTHONS];

	for (unsigned i = 0; i < concurrency; i++)
		ask(now_ns());
	for (unsigned i = 0; i < (single ? used : concurrency); i++)
		send_next(&pythons[i % used]);
	while (left > 0) {
		for (unsigned i = 0; i < used; i++) {
			bool more = pythons[i].out_at < pythons[i].out.size;

			fds[i].fd = pythons[i].fd;
			fds[i].events = (short)(POLLIN | (more ? POLLOUT : 0));
		}
		if (poll(fds, used, -1) < 0)
			die("poll");
		for (unsigned i = 0; i < used; i++) {
			struct python *p = &pythons[i];
			unsigned answers = 0;
			uint64_t now;

			if (fds[i].revents & POLLOUT)
				write_out(p);
			if (fds[i].revents & (POLLIN | POLLHUP))
				answers = take_answers(p, w);
			now = now_ns();
			for (unsigned a = 0; a < answers; a++) {
				if (now < w->till)
					ask(now);
				else
					left--;
			}
			while (next_id < asked_id && (single ? p->in_flight < 1 : answers > 0)) {
				send_next(p);
				answers -= answers > 0;
			}
		}
	}
}

static void load(msgpack_unpacked *into, const char *path)
{
	static char *bytes;
	size_t off = 0, len;
	FILE *f = fopen(path, "rb");

	if (f == NULL || fseek(f, 0, SEEK_END) != 0)
		die(path);
	len = (size_t)ftell(f);
	rewind(f);
	free(bytes);
	if ((bytes = malloc(len)) == NULL || fread(bytes, 1, len, f) != len)
		die(path);
	fclose(f);
	if (msgpack_unpack_next(into, bytes, len, &off) != MSGPACK_UNPACK_SUCCESS) {
		fprintf(stderr, "bench_floor: %s is not msgpack\n", path);
		exit(1);
	}
	value = into->data;
	for (unsigned i = 0; i < PYTHONS; i++)
		room(&pythons[i], 2 * len + ROOM_LEAST);
}

int main(int argc, char **argv)
{
	char form[16], path[1024];
	unsigned concurrency, warm_ms, window_ms;
	struct window w = { 0 };
	msgpack_unpacked loaded;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_floor PYTHON ECHO_LOOP\n");
		return 2;
	}
	for (unsigned i = 0; i < PYTHONS; i++)
		start(&pythons[i], argv[1], argv[2]);
	while (scanf("%15s %u %u %u %1023s", form, &concurrency, &warm_ms, &window_ms, path) == 5) {
		if (concurrency == 0 || concurrency > CALLS_MAX || window_ms == 0)
			return 2;
		msgpack_unpacked_init(&loaded);
		load(&loaded, path);
		w.all = 0;
		w.taken = 0;
		w.calls = 0;
		w.from = now_ns() + warm_ms * NS_PER_MS;
		w.till = w.from + window_ms * NS_PER_MS;
		run(strcmp(form, "single") == 0, concurrency, &w);
		if (w.taken > 0)
			qsort(w.taken_ns, w.taken, sizeof *w.taken_ns, by_size);
		printf("%.0f %llu %llu %llu %llu\n", w.calls * 1000, (unsigned long long)w.all,
		       percentile(&w, 0.50), percentile(&w, 0.99), percentile(&w, 0.999));
		fflush(stdout);
		msgpack_unpacked_destroy(&loaded);
	}
	for (unsigned i = 0; i < PYTHONS; i++) {
		close(pythons[i].fd);
		waitpid(pythons[i].pid, NULL, 0);
	}
	return 0;
}
