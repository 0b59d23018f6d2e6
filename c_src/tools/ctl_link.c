/* ctl_link.c - the connection to the node, and gen_server calls over it, one at a time.
 *
 * The happy path: the host's address -> its epmd says the port -> TCP and the handshake as a hidden node with
 * a name of our own -> link_call(): a monitor on the name, the request with the same reference, the answer.
 * What can go wrong: the name is none; the host has no address; no epmd; epmd does not know the name; nobody
 * listens; the node says no, or is silent (CTL_NO_NODE); it closes instead of proving that it has the same
 * cookie (CTL_COOKIE); nobody has the name that is asked (CTL_ERROR); the connection breaks.
 *
 * Nothing is done between two calls but what the loop does: ticks, and messages that were subscribed to. */
#include "ctl.h"

#include "epmd_lookup.h"
#include "mem.h"
#include "peer.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUR_PID    1u
#define TICK_MS    60000
#define FRAME_MAX  (512u * 1024 * 1024)
#define OUTPUT_MAX (64u * 1024 * 1024)

struct link {
	uv_loop_t loop;
	uv_timer_t timer;
	uv_poll_t poll;
	bool polling;
	struct peer *peer; /* NULL: gone */
	struct peer_options options;
	char name[DIST_NAME_MAX + 1], node[DIST_NAME_MAX + 1];
	uint64_t next_ref;
	struct sockaddr_storage address;
	/* what the loop is run for */
	bool up, timed_out, readable, heard, found;
	uint16_t port;
	bool cookie_wrong;
	char why[300];  /* the connection is gone */
	struct buf ref; /* of the call under way */
	struct buf answer;
	bool answered, nobody;
	link_message on_message;
	void *arg;
};

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer)
{
	((struct link *)timer->data)->timed_out = true;
}

static void arm(struct link *l, uint64_t timeout_ms)
{
	l->timed_out = false;
	uv_update_time(&l->loop);
	if (timeout_ms > 0)
		uv_timer_start(&l->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&l->timer);
}

static struct term_pid our_pid(const struct link *l)
{
	return (struct term_pid){ .node = l->name,
				  .node_len = (uint16_t)strlen(l->name),
				  .id = OUR_PID,
				  .creation = l->options.dist.creation };
}

/* ---- what the node says ---- */

/* {Ref, Answer}, if it is the one that is waited for. */
static bool take_answer(struct link *l, const uint8_t *message)
{
	const uint8_t *e;
	uint32_t arity;
	struct span ref, answer;

	if (l->ref.len == 0 || !term_tuple(message, &arity, &e) || arity != 2)
		return false;
	ref = term_span(e);
	if (ref.len != l->ref.len || memcmp(ref.at, l->ref.data, ref.len) != 0)
		return false;
	answer = term_span(term_skip(e));
	buf_reset(&l->answer, FRAME_MAX);
	buf_put(&l->answer, answer.at, answer.len);
	if (l->answer.err != 0)
		ctl_no_memory();
	l->answered = true;
	return true;
}

static void on_event(void *arg, struct peer *p, const struct dist_event *ev)
{
	struct link *l = arg;

	switch (ev->type) {
	case DIST_EV_UP:
		l->up = true;
		break;
	case DIST_EV_TICK:
		peer_ticked(p);
		break;
	case DIST_EV_SEND:
		if (!take_answer(l, ev->payload.at) && l->on_message != NULL) {
			l->heard = true;
			l->on_message(l->arg, ev->payload.at);
		}
		break;
	case DIST_EV_DOWN:
		l->nobody |= ev->ref.len == l->ref.len && l->ref.len > 0 &&
			     memcmp(ev->ref.at, l->ref.data, l->ref.len) == 0;
		break;
	default:
		break;
	}
}

static void on_closed(void *arg, struct peer *p, const char *why)
{
	struct link *l = arg;

	/* a node that does not find its cookie in our proof closes, and says nothing */
	l->cookie_wrong = strstr(why, "wrong cookie") != NULL ||
			  (strstr(dist_awaits(peer_dist(p)), "cookie") != NULL &&
			   strstr(why, "too long") == NULL);
	if (l->why[0] == '\0')
		snprintf(l->why, sizeof l->why, "%s", why);
	l->peer = NULL;
}

static const struct peer_callbacks callbacks = { .on_event = on_event, .on_closed = on_closed };

static void on_port(void *arg, uint16_t port, const char *why)
{
	struct link *l = arg;

	l->found = true;
	l->port = port;
	snprintf(l->why, sizeof l->why, "%s", port == 0 ? why : "");
}

/* ---- connecting ---- */

static bool resolve(struct link *l, const char *host, char *error, size_t size)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found,
			*best;
	int rc = getaddrinfo(host, NULL, &hints, &found);

	if (rc != 0 || found == NULL) {
		snprintf(error, size, "%s: its host has no address: %s", l->node, gai_strerror(rc));
		return false;
	}
	best = found;
	for (struct addrinfo *i = found; i != NULL && best->ai_family != AF_INET; i = i->ai_next)
		if (i->ai_family == AF_INET) /* as a BEAM does, unless it is told otherwise */
			best = i;
	memcpy(&l->address, best->ai_addr, best->ai_addrlen);
	freeaddrinfo(found);
	return true;
}

static bool find_port(struct link *l, uint64_t timeout_ms, char *error, size_t size)
{
	size_t len = (size_t)(strchr(l->node, '@') - l->node);
	struct epmd_lookup *lookup = epmd_lookup(&l->loop, (struct sockaddr *)&l->address, l->node,
						 len, timeout_ms, on_port, l);

	if (lookup == NULL)
		ctl_no_memory();
	while (!l->found)
		uv_run(&l->loop, UV_RUN_ONCE);
	if (l->port == 0)
		snprintf(error, size, "%s is not there: %s", l->node, l->why);
	return l->port != 0;
}

/* kraitctl_PID_N@HOST: of the node's host if that is this one's loopback, else of this host. */
static void name_ourselves(struct link *l)
{
	const char *host = strchr(l->node, '@') + 1;
	char own[128] = "localhost";
	uint32_t random = 0;

	(void)!uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
	if (strncmp(host, "127.", 4) != 0 && strcmp(host, "localhost") != 0 &&
	    strcmp(host, "::1") != 0) {
		(void)!gethostname(own, sizeof own - 1);
		host = own;
	}
	snprintf(l->name, sizeof l->name, "kraitctl_%d_%u@%.200s", (int)getpid(), random % 100000,
		 host);
	l->options.dist.creation = random | 4;
}

static enum ctl_status handshake(struct link *l, uint64_t timeout_ms, char *error, size_t size)
{
	int rc = 0;

	if (l->address.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&l->address)->sin6_port = htons(l->port);
	else
		((struct sockaddr_in *)&l->address)->sin_port = htons(l->port);
	l->options.handshake_timeout_ms = timeout_ms;
	l->peer = peer_connect(&l->loop, (struct sockaddr *)&l->address, l->node, 1, &l->options,
			       &callbacks, l, &rc);
	if (l->peer == NULL) {
		snprintf(error, size, "%s is not there: %s", l->node, uv_strerror(rc));
		return CTL_NO_NODE;
	}
	while (l->peer != NULL && !l->up)
		uv_run(&l->loop, UV_RUN_ONCE);
	if (l->up)
		return CTL_OK;
	if (l->cookie_wrong) {
		snprintf(error, size,
			 "%s has another cookie than the one found here; see --cookie-file",
			 l->node);
		return CTL_COOKIE;
	}
	snprintf(error, size, "%s is not there: %s", l->node, l->why);
	return CTL_NO_NODE;
}

enum ctl_status link_open(struct link **out, const char *node, const char *cookie,
			  uint64_t timeout_ms, char *error, size_t size)
{
	struct link *l = mem_zalloc(sizeof *l);

	if (l == NULL)
		ctl_no_memory();
	if (uv_loop_init(&l->loop) != 0)
		ctl_no_memory();
	*out = l;
	uv_timer_init(&l->loop, &l->timer);
	l->timer.data = l;
	if (!dist_name_ok(node, strlen(node))) {
		snprintf(error, size, "--node: found \"%.100s\", expected name@host", node);
		return CTL_USAGE;
	}
	snprintf(l->node, sizeof l->node, "%s", node);
	name_ourselves(l);
	l->options.dist.name = l->name;
	l->options.dist.cookie = cookie;
	l->options.dist.flags = DIST_FLAGS;
	l->options.dist.max_message = l->options.dist.max_frame = FRAME_MAX;
	l->options.ticktime_ms = TICK_MS;
	l->options.max_output = OUTPUT_MAX;
	if (!resolve(l, strchr(l->node, '@') + 1, error, size) ||
	    !find_port(l, timeout_ms, error, size))
		return CTL_NO_NODE;
	return handshake(l, timeout_ms, error, size);
}

/* ---- asking ---- */

static void send_request(struct link *l, const char *name, struct span request)
{
	struct dist *d = peer_dist(l->peer);
	struct buf *out = dist_output(d);
	struct term_pid pid = our_pid(l);
	size_t mark;

	buf_reset(&l->ref, 256);
	term_put_ref(&l->ref, l->name, l->options.dist.creation, ++l->next_ref);
	if (l->ref.err != 0)
		ctl_no_memory();
	dist_send_monitor_name(d, &pid, name, (struct span){ l->ref.data, l->ref.len });
	mark = dist_begin_send_name(d, &pid, name);
	term_put_tuple(out, 3);
	term_put_atom(out, "$gen_call");
	term_put_tuple(out, 2);
	term_put_pid(out, &pid);
	term_put_raw(out, (struct span){ l->ref.data, l->ref.len });
	term_put_raw(out, request);
	if (dist_end(d, mark) != 0)
		ctl_no_memory();
	peer_flush(l->peer);
}

/* The call is over: its monitor is taken off. */
static void forget_request(struct link *l, const char *name)
{
	struct term_pid pid = our_pid(l);

	if (l->peer != NULL && !l->nobody) {
		dist_send_demonitor_name(peer_dist(l->peer), &pid, name,
					 (struct span){ l->ref.data, l->ref.len });
		peer_flush(l->peer);
	}
	l->ref.len = 0;
}

static enum ctl_status gone(const struct link *l, char *error, size_t size)
{
	snprintf(error, size, "%s is gone: %s", l->node, l->why);
	return CTL_NO_NODE;
}

enum ctl_status link_call(struct link *l, const char *name, struct span request,
			  uint64_t timeout_ms, const uint8_t **answer, char *error, size_t size)
{
	if (l->peer == NULL)
		return gone(l, error, size);
	l->answered = l->nobody = false;
	arm(l, timeout_ms);
	send_request(l, name, request);
	while (l->peer != NULL && !l->answered && !l->nobody && !l->timed_out) {
		uv_run(&l->loop, UV_RUN_ONCE);
		if (l->peer != NULL)
			peer_flush(l->peer);
	}
	forget_request(l, name);
	if (l->answered) {
		*answer = l->answer.data;
		return CTL_OK;
	}
	if (l->nobody) {
		snprintf(error, size, "%s has no pool of the name %.100s", l->node, name);
		return CTL_ERROR;
	}
	if (l->peer == NULL)
		return gone(l, error, size);
	snprintf(error, size, "%s did not answer within %.3g seconds", l->node,
		 (double)timeout_ms / 1000);
	return CTL_NO_NODE;
}

void link_on_message(struct link *l, link_message fn, void *arg)
{
	l->on_message = fn;
	l->arg = arg;
}

/* ---- waiting ---- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	((struct link *)poll->data)->readable = true;
}

bool link_wait(struct link *l, int fd, uint64_t timeout_ms, char *error, size_t size)
{
	if (fd >= 0 && !l->polling && uv_poll_init(&l->loop, &l->poll, fd) == 0) {
		l->poll.data = l;
		l->polling = true;
	}
	if (l->polling)
		uv_poll_start(&l->poll, UV_READABLE, on_readable);
	l->readable = l->heard = false;
	arm(l, timeout_ms);
	while (l->peer != NULL && !l->timed_out && !l->readable && !l->heard) {
		uv_run(&l->loop, UV_RUN_ONCE);
		if (l->peer != NULL)
			peer_flush(l->peer);
	}
	if (l->polling)
		uv_poll_stop(&l->poll);
	if (l->peer == NULL)
		(void)gone(l, error, size);
	return l->peer != NULL;
}

/* The process ends soon after: what the kernel has not taken by now is lost, and the node sees our end. */
void link_close(struct link *l)
{
	if (l->peer != NULL)
		peer_close(l->peer, "done");
	uv_close((uv_handle_t *)&l->timer, NULL);
	if (l->polling)
		uv_close((uv_handle_t *)&l->poll, NULL);
	uv_run(&l->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&l->loop);
	buf_free(&l->ref);
	buf_free(&l->answer);
	mem_free(l);
}
