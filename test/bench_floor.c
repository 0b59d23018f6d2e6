/* bench_floor.c - the floor of the benchmark: C to Python and back, with nothing in between.
 *
 *   bench_floor PYTHON ECHO_LOOP     reads lines "CONCURRENCY MILLISECONDS" from standard input and
 *                                    answers each with "CALLS MICROSECONDS P50_NS P99_NS"
 *
 * `CONCURRENCY` requests are kept in flight over as many Pythons as that, at most four, each with its
 * own socketpair, for `MILLISECONDS`. Frames are those of the node's worker wire (include/frame.h); the
 * answer's id is checked and its value skipped over by the length. No queue, no caller, no deadline: a
 * pool that does its work in no time would reach these numbers.
 *
 * The Pythons are started once and stay until standard input closes, so that rounds can alternate with
 * the other sides of the benchmark without paying for starts. */
#include <errno.h>
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

#define PYTHONS       4
#define IN_FLIGHT_MAX 4096
#define WARM_UP_NS    UINT64_C(50000000)

struct python {
	int fd;
	pid_t pid;
	unsigned in_flight;
	size_t len; /* bytes in `in` */
	uint8_t in[1 << 16];
};

static struct python pythons[PYTHONS];
static uint64_t sent_ns[IN_FLIGHT_MAX]; /* when the request with this id, modulo, was sent */
static uint64_t *taken_ns;              /* one latency per answer */
static size_t taken, taken_room;

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
}

static void put_text(msgpack_packer *to, const char *text)
{
	msgpack_pack_str(to, strlen(text));
	msgpack_pack_str_body(to, text, strlen(text));
}

/* [1, id, "bench_echo", "echo", [%{"id" => 42, "name" => "krait", "values" => [1, 2, 3]}], {}, nil]:
 * the same map as the other sides send. */
static void send_request(struct python *p, uint64_t id)
{
	msgpack_sbuffer body;
	msgpack_packer to;
	uint8_t frame[512];

	msgpack_sbuffer_init(&body);
	msgpack_packer_init(&to, &body, msgpack_sbuffer_write);
	msgpack_pack_array(&to, 7);
	msgpack_pack_int(&to, 1);
	msgpack_pack_uint64(&to, id);
	put_text(&to, "bench_echo");
	put_text(&to, "echo");
	msgpack_pack_array(&to, 1);
	msgpack_pack_map(&to, 3);
	put_text(&to, "id");
	msgpack_pack_int(&to, 42);
	put_text(&to, "name");
	put_text(&to, "krait");
	put_text(&to, "values");
	msgpack_pack_array(&to, 3);
	for (int i = 1; i <= 3; i++)
		msgpack_pack_int(&to, i);
	msgpack_pack_map(&to, 0);
	msgpack_pack_nil(&to);
	if (body.size > sizeof frame - 4)
		abort();
	frame[0] = 0;
	frame[1] = 0;
	frame[2] = (uint8_t)(body.size >> 8);
	frame[3] = (uint8_t)body.size;
	memcpy(frame + 4, body.data, body.size);
	/* At most a few KB are under way on one socket: this neither blocks nor writes a part. */
	sent_ns[id % IN_FLIGHT_MAX] = now_ns();
	if (write(p->fd, frame, body.size + 4) != (ssize_t)body.size + 4)
		die("write to Python");
	p->in_flight++;
	msgpack_sbuffer_destroy(&body);
}

/* Takes all whole answers that are there; returns how many. With `keep` their latencies are kept. */
static unsigned take_answers(struct python *p, bool keep)
{
	ssize_t n = read(p->fd, p->in + p->len, sizeof p->in - p->len);
	unsigned answers = 0;
	size_t at = 0;

	if (n <= 0)
		die("read from Python");
	p->len += (size_t)n;
	for (uint64_t now = now_ns(); p->len - at >= 4; answers++) {
		const uint8_t *f = p->in + at;
		size_t size = (size_t)f[0] << 24 | (size_t)f[1] << 16 | (size_t)f[2] << 8 | f[3];
		size_t off = 0;
		msgpack_unpacked frame;

		if (p->len - at < 4 + size)
			break;
		msgpack_unpacked_init(&frame);
		if (msgpack_unpack_next(&frame, (const char *)f + 4, size, &off) !=
			    MSGPACK_UNPACK_SUCCESS ||
		    frame.data.type != MSGPACK_OBJECT_ARRAY || frame.data.via.array.size != 3 ||
		    frame.data.via.array.ptr[2].via.map.size != 3) {
			fprintf(stderr, "bench_floor: not an answer\n");
			exit(1);
		}
		if (keep && taken == taken_room) {
			taken_room = taken_room * 2 + 4096;
			if ((taken_ns = realloc(taken_ns, taken_room * sizeof *taken_ns)) == NULL)
				die("realloc");
		}
		if (keep)
			taken_ns[taken++] =
				now - sent_ns[frame.data.via.array.ptr[1].via.u64 % IN_FLIGHT_MAX];
		msgpack_unpacked_destroy(&frame);
		at += 4 + size;
	}
	memmove(p->in, p->in + at, p->len - at);
	p->len -= at;
	p->in_flight -= answers;
	return answers;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t percentile(double share)
{
	return taken == 0 ? 0 : taken_ns[(size_t)(share * (double)(taken - 1))];
}

/* Keeps `concurrency` requests in flight for the time given, then waits for the last answers. */
static void run(unsigned concurrency, uint64_t duration_ns)
{
	unsigned used = concurrency < PYTHONS ? concurrency : PYTHONS, in_flight = 0;
	uint64_t id = 0, begin = now_ns(), warm = begin + WARM_UP_NS, end = warm + duration_ns,
		 now = begin;
	struct pollfd fds[PYTHONS];

	taken = 0;
	for (unsigned i = 0; i < used; i++)
		fds[i] = (struct pollfd){ .fd = pythons[i].fd, .events = POLLIN };
	for (; in_flight < concurrency; in_flight++)
		send_request(&pythons[in_flight % used], id++);
	while (in_flight > 0) {
		if (poll(fds, used, -1) < 0)
			die("poll");
		now = now_ns();
		for (unsigned i = 0; i < used; i++) {
			unsigned answers;

			if ((fds[i].revents & (POLLIN | POLLHUP)) == 0)
				continue;
			answers = take_answers(&pythons[i], now >= warm && now < end);
			if (now >= end)
				in_flight -= answers;
			else
				for (; answers > 0; answers--)
					send_request(&pythons[i], id++);
		}
	}
	qsort(taken_ns, taken, sizeof *taken_ns, by_size);
	printf("%zu %llu %llu %llu\n", taken, (unsigned long long)(duration_ns / 1000),
	       (unsigned long long)percentile(0.50), (unsigned long long)percentile(0.99));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned concurrency, milliseconds;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_floor PYTHON ECHO_LOOP\n");
		return 2;
	}
	for (unsigned i = 0; i < PYTHONS; i++)
		start(&pythons[i], argv[1], argv[2]);
	while (scanf("%u %u", &concurrency, &milliseconds) == 2) {
		if (concurrency == 0 || concurrency > IN_FLIGHT_MAX || milliseconds == 0)
			return 2;
		run(concurrency, (uint64_t)milliseconds * UINT64_C(1000000));
	}
	for (unsigned i = 0; i < PYTHONS; i++) {
		close(pythons[i].fd);
		waitpid(pythons[i].pid, NULL, 0);
	}
	return 0;
}
