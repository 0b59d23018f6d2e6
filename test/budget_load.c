/* budget_load.c - small calls in lock step, for what counts the node's instructions (test/budget.sh).
 *
 *   budget_load NAME PORT COOKIE     connects to the node NAME as a BEAM would, prints "ready", then reads
 *                                    lines "FORM WIDTH ROUNDS" and answers each with "done CALLS"
 *
 * A round is WIDTH calls in one write, then nothing until all of them are answered: so what the node reads
 * at a time, and with it how often its loop turns, does not hang on how fast anybody is.
 * FORM `call`: each as GenServer.call says it: MONITOR_P, the request, and after the answer DEMONITOR_P,
 * which here goes along with the next round. `lane`: all calls of a round in one message.
 * A call is bench_echo:echo/1 of a map of 64 bytes; an answer that is not {ok, _} ends it with status 1. */
#include "dist.h"
#include "term.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUR_NAME  "budget@127.0.0.1"
#define WIDTH_MAX 1024
#define CREATION  7

static struct dist *dist;
static int fd;
static uint64_t next_ref = 1;

static void die(const char *what)
{
	fprintf(stderr, "budget_load: %s%s%s\n", what, errno != 0 ? ": " : "",
		errno != 0 ? strerror(errno) : "");
	exit(1);
}

/* ---- bytes ---- */

static void flush(void)
{
	struct buf *out = dist_output(dist);

	while (out->len > 0) {
		ssize_t n = send(fd, out->data, out->len, MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		buf_consume(out, (size_t)n);
	}
}

static void receive(void)
{
	size_t room;
	uint8_t *at = dist_room(dist, &room);
	ssize_t n = at != NULL ? recv(fd, at, room, 0) : -1;

	if (n <= 0)
		die("the node is gone");
	dist_received(dist, (size_t)n);
}

static struct dist_event next_event(void)
{
	struct dist_event ev;

	for (;;) {
		while (dist_next(dist, &ev)) {
			if (ev.type == DIST_EV_CLOSED)
				die(ev.why);
			if (ev.type == DIST_EV_TICK)
				dist_send_tick(dist);
			else
				return ev;
		}
		flush();
		receive();
	}
}

/* ---- what is said ---- */

static struct term_pid pid(unsigned id)
{
	return (struct term_pid){ .node = OUR_NAME,
				  .node_len = sizeof OUR_NAME - 1,
				  .id = 100 + id,
				  .creation = CREATION };
}

static struct span make_ref(struct buf *ref, uint64_t id)
{
	ref->len = 0;
	term_put_ref(ref, OUR_NAME, CREATION, id);
	return (struct span){ ref->data, ref->len };
}

/* {call, bench_echo, echo, [Map]} */
static void put_call(struct buf *out)
{
	term_put_tuple(out, 4);
	term_put_atom(out, "call");
	term_put_atom(out, "bench_echo");
	term_put_atom(out, "echo");
	term_put_list(out, 1);
	term_put_map(out, 3);
	term_put_atom(out, "id");
	term_put_int(out, 123456);
	term_put_atom(out, "name");
	term_put_text(out, "a name of some length");
	term_put_atom(out, "score");
	term_put_float(out, 0.75);
	term_put_nil(out);
}

static void end(size_t start)
{
	if (dist_end(dist, start) != 0)
		die("no memory");
}

static void say_call(unsigned i, uint64_t id)
{
	struct buf ref = { 0 }, *out = dist_output(dist);
	struct term_pid from = pid(i);
	size_t start;

	dist_send_monitor_name(dist, &from, "default", make_ref(&ref, id));
	start = dist_begin_send_name(dist, &from, "default");
	term_put_tuple(out, 3);
	term_put_atom(out, "$gen_call");
	term_put_tuple(out, 2);
	term_put_pid(out, &from);
	term_put_list(out, 1);
	term_put_atom(out, "alias");
	term_put_raw(out, (struct span){ ref.data, ref.len });
	put_call(out);
	end(start);
	buf_free(&ref);
}

static void say_demonitor(unsigned i, uint64_t id)
{
	struct buf ref = { 0 };
	struct term_pid from = pid(i);

	dist_send_demonitor_name(dist, &from, "default", make_ref(&ref, id));
	buf_free(&ref);
}

/* {krait_lane, LanePid, [{Id, Request}], []} */
static void say_lane(unsigned width)
{
	struct buf *out = dist_output(dist);
	struct term_pid from = pid(0);
	size_t start = dist_begin_send_name(dist, &from, "default");

	term_put_tuple(out, 4);
	term_put_atom(out, "krait_lane");
	term_put_pid(out, &from);
	term_put_list(out, width);
	for (unsigned i = 0; i < width; i++) {
		term_put_tuple(out, 2);
		term_put_uint(out, next_ref++);
		put_call(out);
	}
	term_put_nil(out);
	term_put_nil(out);
	end(start);
}

/* ---- what is heard ---- */

/* {Tag, {ok, _}} */
static void check_answer(const uint8_t *t)
{
	const uint8_t *e, *reply;
	uint32_t arity;

	if (!term_tuple(t, &arity, &e) || arity != 2 || !term_tuple(term_skip(e), &arity, &reply) ||
	    !term_is_atom(reply, "ok"))
		die("an answer that is not {ok, _}");
}

static unsigned answers(const struct dist_event *ev)
{
	const uint8_t *e, *at;
	uint32_t arity, count = 1;

	if (ev->type == DIST_EV_MONITOR) /* the lane is watched */
		return 0;
	if (ev->type != DIST_EV_SEND || !term_tuple(ev->payload.at, &arity, &e) || arity != 2)
		die("something that is no answer");
	if (!term_is_atom(e, "krait_lane")) {
		check_answer(ev->payload.at);
		return 1;
	}
	if (!term_list(term_skip(e), &count, &at))
		die("no list of answers");
	for (uint32_t i = 0; i < count; i++, at = term_skip(at))
		check_answer(at);
	return count;
}

static void round_of(bool lane, unsigned width)
{
	uint64_t first = next_ref;
	unsigned heard = 0;

	if (lane)
		say_lane(width);
	for (unsigned i = 0; !lane && i < width; i++)
		say_call(i, next_ref++);
	flush();
	while (heard < width) {
		struct dist_event ev = next_event();

		heard += answers(&ev);
	}
	for (unsigned i = 0; !lane && i < width; i++)
		say_demonitor(i, first + i);
}

/* ---- the connection ---- */

static void dial(const char *name, unsigned port, const char *cookie)
{
	struct dist_config config = { .name = OUR_NAME,
				      .cookie = cookie,
				      .creation = CREATION,
				      .flags = DIST_FLAGS,
				      .max_message = 1 << 20,
				      .max_frame = 1 << 20 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if ((dist = dist_connect(&config, name, 1)) == NULL)
		die("no memory");
	if (next_event().type != DIST_EV_UP)
		die("no handshake");
}

int main(int argc, char **argv)
{
	char form[8];
	unsigned width, rounds;

	if (argc != 4) {
		fprintf(stderr, "usage: budget_load NAME PORT COOKIE\n");
		return 2;
	}
	dial(argv[1], (unsigned)atoi(argv[2]), argv[3]);
	printf("ready\n");
	fflush(stdout);
	while (scanf("%7s %u %u", form, &width, &rounds) == 3) {
		if (width == 0 || width > WIDTH_MAX)
			die("a width that is none");
		for (unsigned i = 0; i < rounds; i++)
			round_of(strcmp(form, "lane") == 0, width);
		flush();
		printf("done %u\n", width * rounds);
		fflush(stdout);
	}
	dist_free(dist);
	close(fd);
	return 0;
}
