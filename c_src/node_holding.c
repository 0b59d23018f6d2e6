/* node_holding.c - what a client holds by a pid of ours, as a process: its owner, monitors and links.
 *
 * The happy path: a request is granted (a lease, an open stream) -> the owner is monitored and told the
 * pid -> it is used -> holding_ended() tells whoever monitors it or is linked to it.
 * What can go wrong: the owner dies (the watch tells); it gave up just as it was granted; an exit signal
 * arrives. All of that is holding_down(), which goes to what the holding is.
 *
 * Giving up and being granted. A caller that takes the answer and one that has just given up both send
 * the same DEMONITOR. So right before the answer goes an UNLINK_ID for a link that does not exist, which
 * the caller's BEAM acknowledges in order: a DEMONITOR before the acknowledgement was sent before the
 * answer could be heard, and the holding ends. */
#include "node_private.h"

#include <string.h>

void holding_init(struct node_holding *h, enum holding_kind kind, struct node *n, uint64_t id)
{
	*h = (struct node_holding){ .id = id, .kind = kind, .node = n };
	list_init(&h->by_peer);
	list_init(&h->monitors);
	list_init(&h->links);
}

void holding_close(struct node_holding *h)
{
	if (h->hh.tbl != NULL)
		HASH_DELETE(hh, h->node->holdings, h);
	h->hh.tbl = NULL;
	if (h->grant != NULL)
		h->grant->means = MEANS_NOTHING;
	h->grant = NULL;
	watch_free(h->watch, true);
	h->watch = NULL;
	list_remove(&h->by_peer);
	buf_free(&h->reason);
}

struct node_holding *holding_find(struct node *n, const struct term_pid *pid)
{
	uint64_t id = (uint64_t)pid->serial << 32 | pid->id;
	struct node_holding *h;

	if (pid->creation != n->creation)
		return NULL;
	HASH_FIND(hh, n->holdings, &id, sizeof id, h);
	return h;
}

struct term_pid holding_pid(const struct node_holding *h)
{
	return node_pid(h->node, h->id);
}

bool holding_is_owner(const struct node_holding *h, const struct books *b,
		      const struct local_pid *pid)
{
	return h->books == b && memcmp(&h->owner, pid, sizeof *pid) == 0;
}

void holding_set_owner(struct node_holding *h, struct books *b, const struct local_pid *pid)
{
	list_remove(&h->by_peer);
	h->books = b;
	h->owner = *pid;
	if (b != NULL)
		list_append(&b->holdings, &h->by_peer);
}

uint64_t holding_send_probe(struct node_holding *h, struct books *b, const struct local_pid *pid)
{
	struct term_pid ours = holding_pid(h), theirs = books_pid(b, pid);
	uint64_t id = node_id(b->node);

	dist_send_unlink(peer_dist(b->peer), id, &ours, &theirs);
	books_mark_dirty(b);
	return id;
}

bool holding_add(struct node_holding *h)
{
	HASH_ADD(hh, h->node->holdings, id, sizeof h->id, h);
	return h->hh.tbl != NULL;
}

bool holding_granted(struct node_holding *h, struct node_request *r)
{
	holding_set_owner(h, r->books, &r->caller);
	if (holding_add(h))
		h->watch = watch_new(r->books, WATCH_OWNER, h, &h->owner, h->id);
	if (h->watch == NULL)
		peer_close(r->books->peer, "no memory for what one of its processes holds");
	if (r->heard_by == HEARD_MONITOR) {
		h->grant = r->monitor;
		h->grant->means = MEANS_GRANT;
		h->grant->granting = h;
		r->heard_by = HEARD_NOT;
		h->probe_id = holding_send_probe(h, r->books, &h->owner);
	}
	return h->watch != NULL;
}

void holding_probe_ack(struct books *b, uint64_t unlink_id, const struct term_pid *pid)
{
	struct node_holding *h = holding_find(b->node, pid);

	if (h == NULL || unlink_id == 0)
		return;
	if (unlink_id == h->probe_id)
		h->probe_id = 0;
	else if (h->kind == HOLDING_LEASE)
		node_lease_probe_ack(node_lease_of(h), b, unlink_id);
}

/* What a peer hears: not another one's reason that it cannot read. */
static struct span reason_for(const struct node_holding *h, const struct books *b,
			      struct span reason)
{
	static const uint8_t other[] = { 119, 11,  'u', 'n', 'e', 'n', 'c',
					 'o', 'd', 'a', 'b', 'l', 'e' };

	if (h->reason.len == 0 || books_reads(b, reason.at))
		return reason;
	return (struct span){ other, sizeof other };
}

void holding_ended(struct node_holding *h, struct span reason)
{
	struct term_pid pid = holding_pid(h);

	if (h->hh.tbl != NULL)
		HASH_DELETE(hh, h->node->holdings, h);
	h->hh.tbl = NULL;
	while (!list_empty(&h->monitors)) {
		struct holding_monitor *m =
			list_entry(h->monitors.next, struct holding_monitor, by_holding);
		struct local_pid who = monitor_watcher(m->books, &m->m);
		struct term_pid watcher = books_pid(m->books, &who);
		struct books *b = m->books;
		uint8_t room[REF_MAX];

		dist_send_down(peer_dist(b->peer), &pid, &watcher,
			       ref_whole(b, monitor_ref(&m->m), room), reason_for(h, b, reason));
		books_mark_dirty(b);
		monitor_free(b, &m->m);
	}
	while (!list_empty(&h->links)) {
		struct node_link *k = list_entry(h->links.next, struct node_link, by_holding);
		struct term_pid linked = books_pid(k->books, &k->pid);

		dist_send_exit(peer_dist(k->books->peer), &pid, &linked,
			       reason_for(h, k->books, reason));
		books_mark_dirty(k->books);
		node_link_free(k);
	}
}

void holding_down(struct node_holding *h, struct span reason)
{
	if (h->reason.len == 0)
		buf_put(&h->reason, reason.at, reason.len);
	switch (h->kind) {
	case HOLDING_LEASE:
		node_lease_down(node_lease_of(h));
		break;
	case HOLDING_STREAM:
		node_stream_down(h);
		break;
	case HOLDING_RPC:
		node_rpc_down(h);
		break;
	case HOLDING_CALLBACK:
		node_callback_killed(h);
		break;
	}
}

void holding_down_atom(struct node_holding *h, const char *atom)
{
	struct buf reason = { 0 };

	term_put_atom(&reason, atom);
	holding_down(h, answer_reason(&reason));
	buf_free(&reason);
}

/* ---- links ---- */

struct node_link *holding_find_link(const struct books *b, const struct node_holding *h,
				    const struct local_pid *pid)
{
	struct list *pos, *next;

	list_each (pos, next, &h->links) {
		struct node_link *k = list_entry(pos, struct node_link, by_holding);

		if (k->books == b && memcmp(&k->pid, pid, sizeof *pid) == 0)
			return k;
	}
	return NULL;
}

void holding_link(struct books *b, struct node_holding *h, const struct local_pid *pid)
{
	struct node_link *k;

	if (holding_find_link(b, h, pid) != NULL)
		return;
	if ((k = mem_zalloc(sizeof *k)) == NULL) {
		peer_close(b->peer, "no memory for a link");
		return;
	}
	k->holding = h;
	k->books = b;
	k->pid = *pid;
	list_append(&h->links, &k->by_holding);
	list_append(&b->links, &k->by_peer);
}

void node_link_free(struct node_link *k)
{
	list_remove(&k->by_holding);
	list_remove(&k->by_peer);
	mem_free(k);
}
