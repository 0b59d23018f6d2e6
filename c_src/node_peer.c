/* node_peer.c - what a peer's connection says, sorted; and the peer's end.
 *
 * Each control signal goes to what it is for: messages to requests, monitors and links to leases, DOWN
 * to the watch that asked for it. When the peer is gone everything that its processes wait for, hold or
 * watch ends at once, as if each of them had died. */
#include "node_private.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

struct local_pid node_local_pid(const struct term_pid *pid)
{
	return (struct local_pid){ pid->id, pid->serial, pid->creation };
}

bool node_has_name(const struct node *n, struct span name)
{
	return node_pool_named(n, name) != NULL || span_is(name, "krait") ||
	       span_is(name, "net_kernel") || (span_is(name, "rex") && node_pool_rpc(n) != NULL);
}

bool node_is_own_pid(const struct node *n, const struct term_pid *pid)
{
	return pid->id == NODE_PID_ID && pid->serial == 0 && pid->creation == n->creation;
}

struct term_pid books_pid(const struct books *b, const struct local_pid *pid)
{
	const char *name = dist_peer_name(peer_dist(b->peer));

	return (struct term_pid){ .node = name,
				  .node_len = (uint16_t)strlen(name),
				  .id = pid->id,
				  .serial = pid->serial,
				  .creation = pid->creation };
}

struct books *books_find(struct node *n, const char *name, size_t len)
{
	struct list *pos, *next;

	list_each (pos, next, &n->books) {
		struct books *b = list_entry(pos, struct books, link);
		const char *known = dist_peer_name(peer_dist(b->peer));

		if (b->up && !b->forgotten && !peer_closing(b->peer) && strlen(known) == len &&
		    memcmp(known, name, len) == 0)
			return b;
	}
	return NULL;
}

void books_open(struct node *n, struct books *b)
{
	b->node = n;
	b->id = peer_id(b->peer);
	list_init(&b->requests);
	list_init(&b->holdings);
	list_init(&b->links);
	list_init(&b->watches);
	table_init(&b->monitors, node_monitor_hash, NULL);
	list_init(&b->stalled);
	list_init(&b->callbacks);
	list_init(&b->spawns);
	list_init(&b->dirty_link);
	list_append(&n->books, &b->link);
	n->peers++;
	peer_set_data(b->peer, b);
}

void books_mark_dirty(struct books *b)
{
	if (b->dirty || b->forgotten)
		return;
	b->dirty = true;
	list_append(&b->node->dirty, &b->dirty_link);
}

void books_flush_dirty(struct node *n)
{
	node_events_flush(n);
	while (!list_empty(&n->dirty)) {
		struct books *b = list_entry(n->dirty.next, struct books, dirty_link);

		list_remove(&b->dirty_link);
		b->dirty = false;
		peer_flush(b->peer);
	}
}

/* ---- links and exits ---- */

static void on_link(struct books *b, const struct dist_event *ev)
{
	struct node_holding *h = holding_find(b->node, &ev->to_pid);
	struct local_pid pid = node_local_pid(&ev->from);
	struct buf reason = { 0 };

	if (h != NULL) {
		holding_link(b, h, &pid);
		return;
	}
	if (node_is_own_pid(b->node, &ev->to_pid))
		return; /* ends when the connection does, which the BEAM notices by itself */
	term_put_atom(&reason, "noproc");
	dist_send_exit(peer_dist(b->peer), &ev->to_pid, &ev->from, answer_reason(&reason));
	buf_free(&reason);
	books_mark_dirty(b);
}

static void on_unlink(struct books *b, const struct dist_event *ev)
{
	struct node_holding *h = holding_find(b->node, &ev->to_pid);
	struct local_pid pid = node_local_pid(&ev->from);
	struct node_link *k = h != NULL ? holding_find_link(b, h, &pid) : NULL;

	if (k != NULL)
		node_link_free(k);
	if (ev->unlink_id != 0) {
		dist_send_unlink_ack(peer_dist(b->peer), ev->unlink_id, &ev->to_pid, &ev->from);
		books_mark_dirty(b);
	}
}

/* A linked process ended, or somebody said exit(Pid, Reason). */
static void on_exit_signal(struct books *b, const struct dist_event *ev)
{
	struct node_holding *h = holding_find(b->node, &ev->to_pid);
	struct local_pid pid = node_local_pid(&ev->from);

	if (h == NULL)
		return;
	if (ev->type == DIST_EV_EXIT) {
		struct node_link *k = holding_find_link(b, h, &pid);

		if (k == NULL)
			return; /* unlinked meanwhile */
		node_link_free(k);
	} else if (term_is_atom(ev->reason, "kill")) {
		holding_down_atom(h, "killed");
		return;
	}
	if (!term_is_atom(ev->reason, "normal"))
		holding_down(h, term_span(ev->reason));
}

/* ---- messages ---- */

/* `{is_auth, Node}` of net_adm:ping/1. */
static void on_net_kernel(struct books *b, const struct dist_event *ev)
{
	struct envelope env;
	struct reply_to to;
	const uint8_t *e;
	uint32_t arity;

	request_open(ev->payload.at, &env);
	if (env.kind != ENVELOPE_CALL || !term_tuple(env.request, &arity, &e) || arity != 2 ||
	    !term_is_atom(e, "is_auth")) {
		b->node->junk++;
		return;
	}
	to = (struct reply_to){
		.books = b, .caller = node_local_pid(&env.from), .tag = env.tag, .alias = env.alias
	};
	answer_atom(&to, "yes");
}

static void on_send(struct books *b, const struct dist_event *ev)
{
	struct node *n = b->node;
	struct node_holding *h;
	struct node_pool *p;

	if (ev->to_is_alias) {
		n->junk++;
	} else if (ev->to_is_pid) {
		h = holding_find(n, &ev->to_pid);
		if (h != NULL && h->kind == HOLDING_STREAM)
			node_stream_message(b, ev, h);
		else if (h != NULL && h->kind == HOLDING_RPC)
			n->junk++; /* it runs a function that receives nothing */
		else if (h != NULL && h->kind == HOLDING_CALLBACK)
			node_callback_message(b, ev, h);
		else if (h != NULL)
			node_request_message(b, ev, TARGET_LEASE, node_lease_of(h)->owner_pool,
					     node_lease_of(h));
		else if (!node_is_own_pid(n, &ev->to_pid))
			node_request_message(b, ev, TARGET_LEASE, node_pool_default(n), NULL);
	} else if (span_is(ev->name, "rex")) {
		node_rpc_rex(b, ev);
	} else if ((p = node_pool_named(n, ev->name)) != NULL) {
		node_request_message(b, ev, TARGET_POOL, p, NULL);
	} else if (span_is(ev->name, "krait")) {
		node_request_message(b, ev, TARGET_NODE, node_pool_default(n), NULL);
	} else if (span_is(ev->name, "net_kernel")) {
		on_net_kernel(b, ev);
	} else {
		n->junk++;
		log_line(LOG_DEBUG, peer_label(b->peer),
			 "a message to %.*s, a name nobody has: dropped", (int)ev->name.len,
			 (const char *)ev->name.at);
	}
}

/* ---- coming and going ---- */

/* Ends everything that lives at the peer. May be called early, when its successor is already there. */
static void forget(struct books *b)
{
	struct node *n = b->node;
	struct buf noconnection = { 0 };
	struct span why;

	if (b->forgotten)
		return;
	b->forgotten = true;
	list_remove(&b->dirty_link);
	term_put_atom(&noconnection, "noconnection");
	why = answer_reason(&noconnection);
	while (!list_empty(&b->watches))
		node_watch_down(list_entry(b->watches.next, struct watch, by_peer), why);
	node_callbacks_forget_peer(b);
	while (!list_empty(&b->requests)) {
		struct node_request *r = list_entry(b->requests.next, struct node_request, by_peer);

		r->books = NULL; /* casts go on: nobody waits for them */
		list_remove(&r->by_peer);
		if (!r->cast)
			node_request_abandon(r);
		else
			list_append(&n->strays, &r->by_peer);
	}
	node_monitors_forget(b);
	while (!list_empty(&b->holdings))
		holding_down(list_entry(b->holdings.next, struct node_holding, by_peer), why);
	while (!list_empty(&b->links)) {
		struct node_link *k = list_entry(b->links.next, struct node_link, by_peer);
		struct node_holding *h = k->holding;

		node_link_free(k);
		holding_down(h, why);
	}
	buf_free(&noconnection);
	if (n->stage == NODE_RUNNING && b->up)
		log_line(LOG_DEBUG, peer_label(b->peer), "everything of it has ended");
}

static void on_name(struct books *b)
{
	struct node *n = b->node;
	struct dist *d = peer_dist(b->peer);
	const char *name = dist_peer_name(d);
	struct books *old = books_find(n, name, strlen(name));
	bool same = old != NULL &&
		    dist_peer_creation(peer_dist(old->peer)) == dist_peer_creation(d) &&
		    dist_peer_creation(d) != 0;

	dist_answer_name(d, dist_status_for(n->options->name, name, old != NULL, same,
					    node_connect_dials(n, name)));
}

static void on_up(struct books *b)
{
	const char *name = dist_peer_name(peer_dist(b->peer));
	static const char again[] = "it has connected again: its old self is gone";
	struct books *old = books_find(b->node, name, strlen(name));

	if (old != NULL) {
		node_event_peer_down(old, again);
		forget(old);
		peer_close(old->peer, again);
	}
	b->up = true;
	b->up_us = node_now_us();
	log_line(LOG_INFO, peer_label(b->peer), "up, creation %u",
		 dist_peer_creation(peer_dist(b->peer)));
	node_event_peer_up(b);
	node_connect_up(b);
}

static void on_event(void *arg, struct peer *p, const struct dist_event *ev)
{
	struct books *b = peer_data(p);

	(void)arg;
	if (b->forgotten)
		return;
	b->node->source = peer_dist(p);
	parcel_from(&b->node->parts, ev->payload.at, ev->payload.len);
	switch (ev->type) {
	case DIST_EV_NAME:
		on_name(b);
		break;
	case DIST_EV_UP:
		on_up(b);
		break;
	case DIST_EV_SEND:
		if (!node_oversize(b, ev))
			on_send(b, ev);
		break;
	case DIST_EV_OVERSIZE:
		(void)node_oversize(b, ev);
		break;
	case DIST_EV_MONITOR:
		node_monitor(b, ev);
		break;
	case DIST_EV_DEMONITOR:
		node_demonitor(b, ev);
		break;
	case DIST_EV_DOWN:
		node_down(b, ev);
		break;
	case DIST_EV_LINK:
		on_link(b, ev);
		break;
	case DIST_EV_UNLINK:
		on_unlink(b, ev);
		break;
	case DIST_EV_UNLINK_ACK:
		holding_probe_ack(b, ev->unlink_id, &ev->to_pid);
		break;
	case DIST_EV_EXIT:
	case DIST_EV_EXIT2:
		on_exit_signal(b, ev);
		break;
	case DIST_EV_SPAWN:
		if (!node_oversize(b, ev))
			node_rpc_spawn(b, ev);
		break;
	case DIST_EV_UNKNOWN:
		b->node->unknown_signals++;
		log_line(LOG_DEBUG, peer_label(p), "control operation %d: unknown, ignored",
			 ev->op);
		break;
	case DIST_EV_TICK:
		peer_ticked(p);
		books_mark_dirty(b);
		break;
	case DIST_EV_SPAWN_REPLY:
		node_callback_spawned(b, ev);
		break;
	case DIST_EV_GROUP_LEADER:
	case DIST_EV_CLOSED:
	case DIST_EV_NONE:
		break;
	}
}

static void on_closed(void *arg, struct peer *p, const char *why)
{
	struct books *b = peer_data(p);
	struct node *n = arg;

	if (b == NULL)
		return;
	log_line(b->up || n->stage >= NODE_DRAINING ? LOG_INFO : LOG_WARNING, peer_label(p),
		 "closed: %s", why);
	if (!b->up && !b->dialled)
		n->peers_refused++;
	if (b->up && !b->forgotten)
		node_event_peer_down(b, why);
	forget(b);
	node_connect_closed(b);
	list_remove(&b->link);
	table_close(&b->monitors);
	mem_free(b);
	n->peers--;
	node_maybe_end(n);
}

static void on_drained(void *arg, struct peer *p)
{
	struct books *b = peer_data(p);

	(void)arg;
	if (b->forgotten)
		return;
	node_callbacks_drained(b->node);
	node_stream_drained(b);
	node_events_drained(b);
}

const struct peer_callbacks node_peer_callbacks = {
	.on_event = on_event,
	.on_closed = on_closed,
	.on_drained = on_drained,
};
