/* krait_stress.c - plays many BEAM nodes against a running node and keeps books; see stress.h.
 *
 * Exit status: 0 every check held; 1 one did not; 2 wrong usage; 3 the run could not be made. */
#include "stress.h"

#include "cookie.h"
#include "mem.h"
#include "splitmix.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EPMD_PORT     4369
#define PORT2_REQ     122
#define PORT2_RESP    119
#define ALARMS_A_TURN 20000 /* then the sockets have their turn */
#define NOISE         65536

/* ---- randomness and time ---- */

uint64_t rnd(struct stress *s)
{
	return splitmix_next(&s->random);
}

uint64_t rnd_to(struct stress *s, uint64_t n)
{
	return n > 0 ? rnd(s) % n : 0;
}

bool rnd_pct(struct stress *s, double percent)
{
	return (double)rnd_to(s, 1000000) < percent * 10000;
}

uint64_t now_us(void)
{
	return uv_hrtime() / 1000;
}

static void arm(struct stress *s);

static void on_timer(uv_timer_t *timer)
{
	struct stress *s = timer->data;
	uint64_t now = now_us();
	struct heap_node *n;

	for (unsigned i = 0;
	     i < ALARMS_A_TURN && (n = heap_min(&s->alarms)) != NULL && n->key <= now; i++) {
		struct alarm *a = heap_entry(n, struct alarm, node);

		heap_remove(&s->alarms, n);
		a->fn(a->arg);
	}
	arm(s);
}

static void arm(struct stress *s)
{
	struct heap_node *n = heap_min(&s->alarms);
	uint64_t now = now_us();

	if (n == NULL)
		return;
	uv_update_time(&s->loop);
	uv_timer_start(&s->timer, on_timer, n->key > now ? (n->key - now + 999) / 1000 : 0, 0);
}

void alarm_set(struct stress *s, struct alarm *a, uint64_t at_us)
{
	heap_remove(&s->alarms, &a->node);
	heap_insert(&s->alarms, &a->node, at_us);
}

void alarm_clear(struct stress *s, struct alarm *a)
{
	heap_remove(&s->alarms, &a->node);
}

static void on_prepare(uv_prepare_t *handle)
{
	struct stress *s = handle->data;

	sims_flush(s);
	arm(s);
}

/* ---- where the node is ---- */

static int find_address(struct stress *s)
{
	const char *at = strchr(s->node_name, '@'), *host = s->options.host;

	s->address.sin_family = AF_INET;
	s->address.sin_port = htons((uint16_t)s->options.port);
	if (host == NULL)
		host = at != NULL && inet_pton(AF_INET, at + 1, &s->address.sin_addr) == 1
			       ? at + 1
			       : "127.0.0.1";
	if (inet_pton(AF_INET, host, &s->address.sin_addr) != 1) {
		fprintf(stderr, "krait_stress: --host: found \"%s\", expected an IPv4 address\n",
			host);
		return 2;
	}
	if (ntohl(s->address.sin_addr.s_addr) >> 24 != 127 && !s->options.allow_remote) {
		fprintf(stderr, "krait_stress: %s is not loopback: --allow-remote if you mean it\n",
			host);
		return 2;
	}
	return 0;
}

/* PORT_PLEASE2_REQ, before the loop runs: nobody waits for us yet. */
static int ask_epmd(struct stress *s)
{
	struct sockaddr_in epmd = s->address;
	struct timeval limit = { .tv_sec = 5 };
	const char *at = strchr(s->node_name, '@');
	size_t len = (size_t)(at - s->node_name);
	uint8_t out[3 + WIRE_NAME_MAX], in[4] = { 0, 1, 0, 0 }; /* as if refused */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	put_u16(out, (unsigned)(1 + len));
	out[2] = PORT2_REQ;
	memcpy(out + 3, s->node_name, len);
	epmd.sin_port = htons(EPMD_PORT);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
	    connect(fd, (struct sockaddr *)&epmd, sizeof epmd) == 0 &&
	    send(fd, out, 3 + len, MSG_NOSIGNAL) == (ssize_t)(3 + len))
		(void)!recv(fd, in, sizeof in, MSG_WAITALL);
	if (fd >= 0)
		close(fd);
	if (in[0] != PORT2_RESP || in[1] != 0) {
		fprintf(stderr, "krait_stress: epmd knows no node of the name %.*s\n", (int)len,
			s->node_name);
		return 3;
	}
	s->address.sin_port = htons(get_u16(in + 2));
	return 0;
}

/* ---- the world ---- */

static void make_caller(struct stress *s, unsigned slot, struct sim *sim, bool control)
{
	struct caller *c = &s->callers[slot];

	c->s = s;
	c->sim = sim;
	c->slot = slot;
	c->control = control;
	list_init(&c->asks);
	list_init(&c->watchers);
	list_init(&c->streams);
	if (control)
		sim->control = c;
}

static int make_world(struct stress *s)
{
	unsigned peers = s->options.peers, callers = s->options.callers;

	assert(peers > 0); /* its option's least value is 1 */
	s->slots = callers + peers + 1;
	s->noise_len = 2 * NOISE;
	s->sims = mem_zalloc((peers + 1) * sizeof *s->sims);
	s->callers = mem_zalloc(s->slots * sizeof *s->callers);
	s->sessions = mem_zalloc(s->options.sessions * sizeof *s->sessions);
	s->noise = mem_alloc(s->noise_len + s->options.payload_max);
	if (s->sims == NULL || s->callers == NULL || s->sessions == NULL || s->noise == NULL)
		return -ENOMEM;
	/* the first half of where payloads begin is bytes, the second text: nonce * 7919 picks */
	for (size_t i = 0; i < s->noise_len + s->options.payload_max; i++)
		s->noise[i] = i < NOISE / 2 ? (uint8_t)rnd(s) : (uint8_t)(' ' + rnd_to(s, 95));
	for (unsigned i = 0; i <= peers; i++) {
		struct sim *sim = &s->sims[i];

		sim->s = s;
		sim->index = i;
		sim->admin = i == peers;
		list_init(&sim->tombs);
		list_init(&sim->ended);
		snprintf(sim->name, sizeof sim->name, "stress%d_%u@127.0.0.1", (int)getpid(), i);
		make_caller(s, callers + i, sim, true);
	}
	for (unsigned i = 0; i < callers; i++)
		make_caller(s, i, &s->sims[i % peers], false);
	s->usual_us = 1000;
	s->usual_lease_us = 500;
	return 0;
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void free_world(struct stress *s)
{
	for (unsigned i = 0; i < s->slots; i++)
		caller_lost(&s->callers[i]);
	for (unsigned i = 0; s->sims != NULL && i <= s->options.peers; i++)
		sim_leave(&s->sims[i]);
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->prepare, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	uv_walk(&s->loop, close_handle, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	uv_loop_close(&s->loop);
	mem_free(s->sims);
	mem_free(s->callers);
	mem_free(s->sessions);
	mem_free(s->settle.leases);
	mem_free(s->noise);
	mem_free(s->lease_ids);
	mem_free(s->sample_min);
	mem_free(s->sample_kib);
	mem_free(s->cookie);
	mem_free(s);
}

/* The cookie and the address; or the node itself. 0, or an exit status that was explained. */
static int find_node(struct stress *s)
{
	char error[300];
	int rc;

	if (s->options.spawn)
		snprintf(s->node_name, sizeof s->node_name, "krait@127.0.0.1");
	else
		snprintf(s->node_name, sizeof s->node_name, "%s", s->options.node);
	if ((rc = find_address(s)) != 0)
		return rc;
	if (!s->options.spawn || s->options.cookie_file != NULL) {
		s->cookie = cookie_read(s->options.cookie_file, error, sizeof error);
		if (s->cookie == NULL) {
			fprintf(stderr, "krait_stress: cookie: %s\n", error);
			return 3;
		}
	}
	if (s->options.spawn)
		return spawn_node(s) == 0 ? 0 : 3;
	return s->options.port == 0 ? ask_epmd(s) : 0;
}

int main(int argc, char **argv)
{
	struct stress *s = mem_zalloc(sizeof *s);
	struct rlimit files;
	int rc;

	if (s == NULL)
		return 3;
	if ((rc = options_parse(&s->options, argc, argv)) != 0) {
		mem_free(s);
		return rc == 1 ? 0 : rc;
	}
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	s->started_us = now_us();
	if (s->options.seed == 0)
		s->options.seed = s->started_us * 2654435761u % 1000000007 + (uint64_t)getpid();
	s->random = s->options.seed;
	if (uv_loop_init(&s->loop) != 0 || make_world(s) != 0) {
		fprintf(stderr, "krait_stress: no memory\n");
		return 3;
	}
	uv_timer_init(&s->loop, &s->timer);
	uv_prepare_init(&s->loop, &s->prepare);
	s->timer.data = s->prepare.data = s;
	uv_prepare_start(&s->prepare, on_prepare);
	if ((rc = find_node(s)) == 0) {
		conduct(s);
		uv_run(&s->loop, UV_RUN_DEFAULT);
		rc = report(s);
	}
	free_world(s);
	return rc;
}
