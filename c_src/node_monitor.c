/* node_monitor.c - monitors, in both directions.
 *
 * A watch is ours on a process of a peer: on a caller that did not monitor us itself, on a lease's owner,
 * on the heir of a lease. A monitor is theirs on a name or a lease of ours; GenServer.call sets one with
 * the reference that its tag carries, so its DEMONITOR says that the caller has its answer, gave up or
 * died, whichever came first. */
#include "node_private.h"

#include <stdio.h>
#include <string.h>

/* ---- our monitors on their processes ---- */

struct watch *watch_new(struct books *b, enum watch_kind kind, void *object,
			const struct local_pid *pid, uint64_t from)
{
	struct node *n = b->node;
	struct watch *w = mem_zalloc(sizeof *w);
	struct term_pid ours = node_pid(n, from), theirs = books_pid(b, pid);
	struct buf ref = { 0 };

	if (w == NULL)
		return NULL;
	*w = (struct watch){ .id = node_id(n),
			     .kind = kind,
			     .object = object,
			     .books = b,
			     .pid = *pid,
			     .from = from };
	HASH_ADD(hh, n->watches, id, sizeof w->id, w);
	term_put_ref(&ref, n->options->name, n->creation, w->id);
	if (w->hh.tbl == NULL || ref.err != 0) {
		if (w->hh.tbl != NULL)
			HASH_DELETE(hh, n->watches, w);
		buf_free(&ref);
		mem_free(w);
		return NULL;
	}
	list_append(&b->watches, &w->by_peer);
	dist_send_monitor(peer_dist(b->peer), &ours, &theirs, (struct span){ ref.data, ref.len });
	buf_free(&ref);
	books_mark_dirty(b);
	return w;
}

void watch_free(struct watch *w, bool demonitor)
{
	struct books *b;
	struct node *n;

	if (w == NULL)
		return;
	b = w->books;
	n = b->node;
	if (demonitor && !b->forgotten) {
		struct term_pid ours = node_pid(n, w->from), theirs = books_pid(b, &w->pid);
		struct buf ref = { 0 };

		term_put_ref(&ref, n->options->name, n->creation, w->id);
		if (ref.err == 0)
			dist_send_demonitor(peer_dist(b->peer), &ours, &theirs,
					    (struct span){ ref.data, ref.len });
		buf_free(&ref);
		books_mark_dirty(b);
	}
	HASH_DELETE(hh, n->watches, w);
	list_remove(&w->by_peer);
	mem_free(w);
}

/* What we watched is gone; `reason` is an encoded term. Frees the watch. */
void node_watch_down(struct watch *w, struct span reason)
{
	void *object = w->object;
	enum watch_kind kind = w->kind;

	switch (kind) {
	case WATCH_CALLER:
		((struct node_request *)object)->watch = NULL;
		break;
	case WATCH_OWNER:
		((struct node_holding *)object)->watch = NULL;
		break;
	case WATCH_HEIR:
		((struct node_lease *)object)->heir = NULL;
		break;
	case WATCH_SUBSCRIBER: /* what it belongs to is told below, and forgets it */
	case WATCH_SESSION:
	case WATCH_LANE:
		break;
	}
	watch_free(w, false);
	switch (kind) {
	case WATCH_CALLER:
		node_request_abandon(object);
		break;
	case WATCH_OWNER:
		holding_down(object, reason);
		break;
	case WATCH_LANE:
		node_lane_down(object);
		break;
	case WATCH_HEIR:
		node_heir_down(object);
		break;
	case WATCH_SESSION:
		node_session_owner_down(object);
		break;
	case WATCH_SUBSCRIBER:
		node_subscriber_down(object);
		break;
	}
}

/* The id in a reference of ours: NEWER_REFERENCE_EXT of three words (term_put_ref). */
uint64_t node_own_ref(const struct node *n, struct span ref)
{
	const uint8_t *words;

	if (ref.len < 3 + 16 || ref.at[0] != 90 || get_u16(ref.at + 1) != 3)
		return 0;
	words = ref.at + ref.len - 16;
	if (get_u32(words) != n->creation)
		return 0;
	return (uint64_t)get_u32(words + 8) | (uint64_t)get_u32(words + 12) << 32;
}

void node_down(struct books *b, const struct dist_event *ev)
{
	uint64_t id = node_own_ref(b->node, ev->ref);
	struct watch *w;

	HASH_FIND(hh, b->node->watches, &id, sizeof id, w);
	if (w != NULL && w->books == b)
		node_watch_down(w, term_span(ev->reason));
	else if (w == NULL && id != 0)
		node_callback_down(b, id, ev);
}

/* ---- their monitors on us ---- */

static void send_noproc(struct books *b, const struct dist_event *ev)
{
	struct buf reason = { 0 };
	struct span why;

	term_put_atom(&reason, "noproc");
	why = answer_reason(&reason);
	if (ev->to_is_pid)
		dist_send_down(peer_dist(b->peer), &ev->to_pid, &ev->from, ev->ref, why);
	else
		dist_send_down_name(peer_dist(b->peer), ev->name, &ev->from, ev->ref, why);
	buf_free(&reason);
	books_mark_dirty(b);
}

void node_monitor(struct books *b, const struct dist_event *ev)
{
	struct node_holding *holding = ev->to_is_pid ? holding_find(b->node, &ev->to_pid) : NULL;
	struct monitor *m, *old;

	if (ev->to_is_pid ? holding == NULL && !node_is_own_pid(b->node, &ev->to_pid)
			  : !node_has_name(b->node, ev->name)) {
		send_noproc(b, ev);
		return;
	}
	if (HASH_COUNT(b->monitors) >= MONITORS_MAX) {
		peer_close(b->peer, "it holds more than 1048576 monitors");
		return;
	}
	HASH_FIND(hh, b->monitors, ev->ref.at, ev->ref.len, old);
	if (old != NULL)
		return;
	if ((m = mem_zalloc(sizeof *m + ev->ref.len)) == NULL) {
		peer_close(b->peer, "no memory for a monitor");
		return;
	}
	m->books = b;
	m->watcher = (struct local_pid){ ev->from.id, ev->from.serial, ev->from.creation };
	m->holding = holding;
	m->pool = ev->to_is_pid ? NULL : node_pool_named(b->node, ev->name);
	m->ref_len = (uint32_t)ev->ref.len;
	memcpy(m->ref, ev->ref.at, ev->ref.len);
	list_init(&m->by_holding);
	HASH_ADD_KEYPTR(hh, b->monitors, m->ref, m->ref_len, m);
	if (m->hh.tbl == NULL) {
		mem_free(m);
		peer_close(b->peer, "no memory for a monitor");
		return;
	}
	if (holding != NULL)
		list_append(&holding->monitors, &m->by_holding);
}

/* The caller got its answer, gave up, or died: whoever this monitor stood for is told. */
void node_demonitor(struct books *b, const struct dist_event *ev)
{
	struct node_request *request;
	struct node_holding *granting;
	struct monitor *m;

	HASH_FIND(hh, b->monitors, ev->ref.at, ev->ref.len, m);
	if (m == NULL)
		return;
	request = m->request;
	granting = m->granting;
	HASH_DELETE(hh, b->monitors, m);
	list_remove(&m->by_holding);
	mem_free(m);
	if (request != NULL) {
		request->monitor = NULL;
		node_request_abandon(request);
	}
	if (granting != NULL) {
		granting->grant = NULL;
		if (granting->probe_id != 0) /* given up before the answer was heard */
			holding_down_atom(granting, "normal");
	}
}

static void pool_gone(struct books *b, struct node_pool *p)
{
	struct monitor *m, *tmp;
	struct buf reason = { 0 };

	term_put_atom(&reason, "noproc");
	HASH_ITER(hh, b->monitors, m, tmp)
	{
		struct term_pid watcher;

		if (m->pool != p)
			continue;
		m->pool = NULL;
		if (m->request != NULL || m->granting != NULL)
			continue;
		watcher = books_pid(b, &m->watcher);
		dist_send_down_name(peer_dist(b->peer),
				    (struct span){ (const uint8_t *)p->config->name,
						   strlen(p->config->name) },
				    &watcher, (struct span){ m->ref, m->ref_len },
				    answer_reason(&reason));
		HASH_DELETE(hh, b->monitors, m);
		mem_free(m);
	}
	buf_free(&reason);
	books_mark_dirty(b);
}

void node_monitors_gone(struct node *n, struct node_pool *p)
{
	struct list *pos, *next;

	list_each (pos, next, &n->books) {
		struct books *b = list_entry(pos, struct books, link);

		if (b->up && !b->forgotten)
			pool_gone(b, p);
	}
}
