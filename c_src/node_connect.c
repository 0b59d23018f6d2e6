/* node_connect.c - connections that we open.
 *
 * The happy path: node_connect() -> the host's address -> its epmd says the port (epmd_lookup.c) -> TCP and
 * the handshake as initiator (peer_connect) -> up: whoever waits is told the books, which are like any.
 * What can go wrong: the name is none, or our own; the host has no address; no epmd, or it does not know
 * the name; nobody listens; another cookie; any of these takes longer than handshake_timeout. Each is
 * logged with its reason, and remembered for a second, so that a flood of messages to a node that is not
 * there does not become a flood of attempts. An attempt under way is joined.
 *
 * Both at once: the other node may be connecting to us meanwhile. Of two handshakes the one of the node
 * with the greater name goes on (dist_status_for()): if that is not ours we are told `nok`, and wait for
 * theirs until our time is up. Whichever connection comes up first ends the attempt.
 *
 * A look-up of an address cannot be taken back once the resolver works on it; its record outlives the
 * attempt, and node_run() does not wait for it at the end. */
#include "node_private.h"

#include "epmd_lookup.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

#define ATTEMPTS_MAX  64      /* at a time */
#define RESOLVERS_MAX 16      /* look-ups of addresses, those that nobody waits for included */
#define FAILED_MAX    256     /* names that are remembered */
#define FAILED_US     1000000 /* for so long */

struct attempt {
	struct node *node;
	struct list link; /* in node->attempts, in the order in which they began; or node->failed */
	struct list waiters; /* struct connect_waiter */
	uint64_t until_us;   /* its deadline; or when it is forgotten that it failed */
	struct resolve *resolve;
	struct epmd_lookup *lookup;
	struct sockaddr_storage address;
	struct books *books; /* ours, in its handshake */
	char name[DIST_NAME_MAX + 1];
	char label[DIST_NAME_MAX + 16];
};

/* One look-up of an address. */
struct resolve {
	uv_getaddrinfo_t req;
	struct node *node;
	struct attempt *attempt; /* NULL: it is over */
};

static struct attempt *find(struct list *in, struct span name)
{
	struct list *pos, *next;

	list_each (pos, next, in) {
		struct attempt *a = list_entry(pos, struct attempt, link);

		if (strlen(a->name) == name.len && memcmp(a->name, name.at, name.len) == 0)
			return a;
	}
	return NULL;
}

static struct attempt *find_peer(struct books *b)
{
	const char *name = dist_peer_name(peer_dist(b->peer));

	return find(&b->node->attempts, (struct span){ (const uint8_t *)name, strlen(name) });
}

static void arm(struct node *n);

static void forget_failed(struct node *n, uint64_t now, unsigned most)
{
	while (!list_empty(&n->failed)) {
		struct attempt *a = list_entry(n->failed.next, struct attempt, link);

		if (a->until_us > now && n->failed_count <= most)
			return;
		list_remove(&a->link);
		n->failed_count--;
		mem_free(a);
	}
}

/* Lets go of what the attempt has under way; `keep` is the connection that came up, if any. */
static void stop(struct attempt *a, const struct books *keep)
{
	struct books *ours = a->books;

	if (a->resolve != NULL) {
		a->resolve->attempt = NULL;
		(void)uv_cancel((uv_req_t *)&a->resolve->req);
	}
	if (a->lookup != NULL)
		epmd_lookup_cancel(a->lookup);
	a->resolve = NULL;
	a->lookup = NULL;
	a->books = NULL;
	if (ours != NULL && ours != keep)
		peer_close(ours->peer, keep != NULL ? "it has connected to us meanwhile"
						    : "the attempt to connect took too long");
}

/* The attempt is over; `b` is the connection, NULL: there is none. */
static void finish(struct attempt *a, struct books *b)
{
	struct node *n = a->node;
	struct list waiters;

	list_remove(&a->link);
	n->attempt_count--;
	stop(a, b);
	list_init(&waiters);
	while (!list_empty(&a->waiters)) {
		struct list *l = a->waiters.next;

		list_remove(l);
		list_append(&waiters, l);
	}
	if (b != NULL || n->stage >= NODE_STOPPING) {
		mem_free(a);
	} else {
		a->until_us = node_now_us() + FAILED_US;
		list_append(&n->failed, &a->link);
		n->failed_count++;
		forget_failed(n, 0, FAILED_MAX);
	}
	while (!list_empty(&waiters)) {
		struct connect_waiter *w = list_entry(waiters.next, struct connect_waiter, link);

		list_remove(&w->link);
		w->done(w, b);
	}
	arm(n);
}

static void fail(struct attempt *a, const char *why)
{
	log_line(LOG_INFO, a->label, "cannot connect: %s", why);
	finish(a, NULL);
}

/* ---- the steps ---- */

static void dial(struct attempt *a, uint16_t port)
{
	struct node *n = a->node;
	struct books *b;
	int rc = UV_ENOMEM;

	if (a->address.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&a->address)->sin_port = htons(port);
	if (n->peers >= n->config->max_peers) {
		fail(a, "there are max_peers connections already");
		return;
	}
	if ((b = mem_zalloc(sizeof *b)) == NULL) {
		fail(a, "no memory");
		return;
	}
	b->peer = peer_connect(&n->loop, (struct sockaddr *)&a->address, a->name, node_id(n),
			       &n->peer_options, &node_peer_callbacks, n, &rc);
	if (b->peer == NULL) {
		mem_free(b);
		fail(a, uv_strerror(rc));
		return;
	}
	b->dialled = true;
	books_open(n, b);
	a->books = b;
}

static void on_port(void *arg, uint16_t port, const char *why)
{
	struct attempt *a = arg;

	a->lookup = NULL;
	if (port == 0)
		fail(a, why);
	else
		dial(a, port);
}

static bool ask_epmd(struct attempt *a)
{
	struct node *n = a->node;
	const char *at = strchr(a->name, '@');

	a->lookup =
		epmd_lookup(&n->loop, (struct sockaddr *)&a->address, a->name,
			    (size_t)(at - a->name), n->config->handshake_timeout_ms, on_port, a);
	return a->lookup != NULL;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
	struct resolve *r = list_entry(req, struct resolve, req);
	struct attempt *a = r->attempt;
	struct addrinfo *best = found;

	r->node->resolvers--;
	for (struct addrinfo *i = found; i != NULL && best->ai_family != AF_INET; i = i->ai_next)
		if (i->ai_family == AF_INET) /* as a BEAM does, unless it is told otherwise */
			best = i;
	if (a != NULL)
		a->resolve = NULL;
	if (a != NULL && status == 0 && best != NULL && best->ai_addrlen <= sizeof a->address) {
		memcpy(&a->address, best->ai_addr, best->ai_addrlen);
		if (!ask_epmd(a))
			fail(a, "no memory");
	} else if (a != NULL) {
		fail(a, status != 0 ? uv_strerror(status) : "its host has no address");
	}
	uv_freeaddrinfo(found);
	mem_free(r);
}

/* The address of the host. False: there is no way, `why` says why. */
static bool begin(struct attempt *a, const char **why)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	const char *host = strchr(a->name, '@') + 1;
	struct node *n = a->node;
	struct resolve *r;
	int rc;

	*why = "no memory";
	if (uv_ip4_addr(host, 0, (struct sockaddr_in *)&a->address) == 0 ||
	    uv_ip6_addr(host, 0, (struct sockaddr_in6 *)&a->address) == 0)
		return ask_epmd(a);
	if (n->resolvers >= RESOLVERS_MAX) {
		*why = "too many addresses are being looked up";
		return false;
	}
	if ((r = mem_zalloc(sizeof *r)) == NULL)
		return false;
	r->node = n;
	r->attempt = a;
	if ((rc = uv_getaddrinfo(&n->loop, &r->req, on_resolved, host, NULL, &hints)) != 0) {
		*why = uv_strerror(rc);
		mem_free(r);
		return false;
	}
	n->resolvers++;
	a->resolve = r;
	return true;
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer)
{
	struct node *n = timer->data;
	uint64_t now = node_now_us();

	while (!list_empty(&n->attempts)) {
		struct attempt *a = list_entry(n->attempts.next, struct attempt, link);

		if (a->until_us > now)
			break;
		fail(a, "it took longer than handshake_timeout");
	}
	forget_failed(n, now, FAILED_MAX);
	arm(n);
}

/* The timer is set for the first attempt's end, or else for the first failure to be forgotten. */
static void arm(struct node *n)
{
	struct list *first = !list_empty(&n->attempts) ? n->attempts.next
			     : !list_empty(&n->failed) ? n->failed.next
						       : NULL;
	uint64_t now = node_now_us(), until;

	if (n->stage >= NODE_CLOSING)
		return;
	if (first == NULL) {
		uv_timer_stop(&n->connect_timer);
		return;
	}
	until = list_entry(first, struct attempt, link)->until_us;
	uv_update_time(&n->loop);
	uv_timer_start(&n->connect_timer, on_timer, until > now ? (until - now + 999) / 1000 : 0,
		       0);
}

/* ---- what others ask and tell ---- */

bool node_connect(struct node *n, struct span name, struct connect_waiter *w)
{
	struct attempt *a = find(&n->attempts, name);
	const char *why = "";

	if (a != NULL) {
		list_append(&a->waiters, &w->link);
		return true;
	}
	forget_failed(n, node_now_us(), FAILED_MAX);
	if (n->stage >= NODE_STOPPING || n->attempt_count >= ATTEMPTS_MAX ||
	    !dist_name_ok(name.at, name.len) ||
	    (strlen(n->options->name) == name.len &&
	     memcmp(n->options->name, name.at, name.len) == 0) ||
	    find(&n->failed, name) != NULL || (a = mem_zalloc(sizeof *a)) == NULL)
		return false;
	a->node = n;
	a->until_us = node_now_us() + n->config->handshake_timeout_ms * 1000;
	memcpy(a->name, name.at, name.len);
	snprintf(a->label, sizeof a->label, "peer %s", a->name);
	list_init(&a->waiters);
	list_append(&n->attempts, &a->link);
	n->attempt_count++;
	if (!begin(a, &why)) {
		fail(a, why);
		return false;
	}
	list_append(&a->waiters, &w->link);
	arm(n);
	return true;
}

bool node_connect_dials(struct node *n, const char *name)
{
	struct attempt *a =
		find(&n->attempts, (struct span){ (const uint8_t *)name, strlen(name) });

	return a != NULL && a->books != NULL;
}

void node_connect_up(struct books *b)
{
	struct attempt *a = find_peer(b);

	if (a != NULL)
		finish(a, b);
}

void node_connect_closed(struct books *b)
{
	struct attempt *a = find_peer(b);

	if (a == NULL || a->books != b)
		return;
	a->books = NULL;
	if (!dist_told_nok(peer_dist(b->peer)))
		finish(a, NULL); /* why it was closed is logged already */
}

void node_connect_init(struct node *n)
{
	list_init(&n->attempts);
	list_init(&n->failed);
	uv_timer_init(&n->loop, &n->connect_timer);
	n->connect_timer.data = n;
}

void node_connect_close(struct node *n)
{
	while (!list_empty(&n->attempts))
		finish(list_entry(n->attempts.next, struct attempt, link), NULL);
	forget_failed(n, UINT64_MAX, 0);
	uv_close((uv_handle_t *)&n->connect_timer, NULL);
}
