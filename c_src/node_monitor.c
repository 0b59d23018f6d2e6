/* node_monitor.c - monitors, in both directions.
 *
 * A watch is ours on a process of a peer: on a caller that did not monitor us itself, on a lease's owner,
 * on the heir of a lease. A monitor is theirs on a name or a lease of ours; GenServer.call sets one with
 * the reference that its tag carries, so its DEMONITOR says that the caller has its answer, gave up or
 * died, whichever came first. A monitor on a name is two pointers and a reference: there is one for each
 * GenServer.call that waits. */
#include "node_private.h"

#include <stdio.h>
#include <string.h>

/* ---- our monitors on their processes ---- */

/* The reference of a watch of ours. */
static struct span own_ref(const struct node *n, uint64_t id, uint8_t room[REF_MAX])
{
	struct buf ref = { 0 };

	ref.data = room;
	ref.cap = REF_MAX;
	term_put_ref(&ref, n->options->name, n->creation, id);
	return (struct span){ ref.data, ref.len };
}

uint32_t node_watch_hash(const struct table_link *l, const void *arg)
{
	(void)arg;
	return table_hash_id(table_entry(l, struct watch, by_id)->id);
}

static struct watch *watch_find(const struct node *n, uint64_t id)
{
	struct table_link *l = table_chain(&n->watches, table_hash_id(id));

	while (l != NULL && table_entry(l, struct watch, by_id)->id != id)
		l = l->next;
	return l != NULL ? table_entry(l, struct watch, by_id) : NULL;
}

struct watch *watch_new(struct books *b, enum watch_kind kind, void *object,
			const struct local_pid *pid, uint64_t from)
{
	struct node *n = b->node;
	struct watch *w = slab_alloc(sizeof *w);
	struct term_pid ours = node_pid(n, from), theirs = books_pid(b, pid);
	uint8_t room[REF_MAX];

	if (w == NULL)
		return NULL;
	*w = (struct watch){ .id = node_id(n),
			     .kind = kind,
			     .object = object,
			     .books = b,
			     .pid = *pid,
			     .from = from };
	table_put(&n->watches, &w->by_id);
	list_append(&b->watches, &w->by_peer);
	dist_send_monitor(peer_dist(b->peer), &ours, &theirs, own_ref(n, w->id, room));
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
		uint8_t room[REF_MAX];

		dist_send_demonitor(peer_dist(b->peer), &ours, &theirs, own_ref(n, w->id, room));
		books_mark_dirty(b);
	}
	table_take(&n->watches, &w->by_id);
	list_remove(&w->by_peer);
	slab_free(w, sizeof *w);
}

/* What we watched is gone; `reason` is an encoded term. Frees the watch. */
void node_watch_down(struct watch *w, struct span reason)
{
	void *object = w->object;
	enum watch_kind kind = w->kind;

	switch (kind) {
	case WATCH_CALLER:
		((struct node_request *)object)->heard_by = HEARD_NOT;
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

	w = watch_find(b->node, id);
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

/* From its beginning: where what is behind it begins. */
static size_t rest_at(bool on_holding)
{
	return on_holding ? sizeof(struct holding_monitor) : offsetof(struct monitor, rest);
}

struct ref monitor_ref(const struct monitor *m)
{
	const uint8_t *at = (const uint8_t *)m + rest_at(m->on_holding);

	return (struct ref){ { at, m->ref_len }, m->ref_is_short };
}

struct local_pid monitor_watcher(const struct books *b, const struct monitor *m)
{
	uint32_t creation = dist_peer_creation(peer_dist(b->peer));
	struct span ref = monitor_ref(m).bytes;

	if (m->has_creation)
		memcpy(&creation, ref.at + ref.len, sizeof creation);
	return (struct local_pid){ m->watcher_id, m->watcher_serial, creation };
}

/* A BEAM counts its references in their first word. */
static uint32_t hash_of(struct ref ref)
{
	if (ref.bytes.len < 4)
		return table_hash_bytes(ref.bytes.at, ref.bytes.len);
	return table_hash_near(get_u32(ref.bytes.at), ref.bytes.at + 4, ref.bytes.len - 4);
}

uint32_t node_monitor_hash(const struct table_link *l, const void *arg)
{
	(void)arg;
	return hash_of(monitor_ref(table_entry(l, struct monitor, by_ref)));
}

static struct monitor *find(const struct books *b, struct ref ref)
{
	struct table_link *l = table_chain(&b->monitors, hash_of(ref));

	for (; l != NULL; l = l->next) {
		struct monitor *m = table_entry(l, struct monitor, by_ref);

		if (m->ref_len == ref.bytes.len && m->ref_is_short == ref.is_short &&
		    memcmp(monitor_ref(m).bytes.at, ref.bytes.at, ref.bytes.len) == 0)
			return m;
	}
	return NULL;
}

struct monitor *monitor_find(const struct books *b, struct span ref)
{
	return find(b, ref_of(b, ref));
}

static size_t monitor_size(bool on_holding, size_t ref_len, bool has_creation)
{
	return rest_at(on_holding) + ref_len + (has_creation ? sizeof(uint32_t) : 0);
}

/* It is in no table any more. */
static void monitor_end(struct monitor *m)
{
	if (m->means == MEANS_REQUEST)
		m->request->heard_by = HEARD_NOT;
	else if (m->means == MEANS_GRANT)
		m->granting->grant = NULL;
	if (m->on_holding)
		list_remove(&((struct holding_monitor *)m)->by_holding);
	slab_free(m, monitor_size(m->on_holding, m->ref_len, m->has_creation));
}

void monitor_free(struct books *b, struct monitor *m)
{
	table_take(&b->monitors, &m->by_ref);
	monitor_end(m);
}

void node_monitors_forget(struct books *b)
{
	struct table_link *l;

	while ((l = table_pop(&b->monitors)) != NULL)
		monitor_end(table_entry(l, struct monitor, by_ref));
}

/* On a name, or on what is held. NULL: no memory. */
static struct monitor *monitor_new(struct books *b, struct ref ref, const struct term_pid *watcher,
				   struct node_holding *holding)
{
	bool has_creation = watcher->creation != dist_peer_creation(peer_dist(b->peer));
	struct monitor *m = slab_alloc(monitor_size(holding != NULL, ref.bytes.len, has_creation));
	uint8_t *at;

	if (m == NULL)
		return NULL;
	at = (uint8_t *)m;
	memset(at, 0, rest_at(false)); /* where `rest` begins it may end */
	m->watcher_id = watcher->id;
	m->watcher_serial = watcher->serial;
	m->ref_len = ref.bytes.len & ((1u << MONITOR_REF_BITS) - 1);
	m->ref_is_short = ref.is_short;
	m->on_holding = holding != NULL;
	m->has_creation = has_creation;
	if (holding != NULL) {
		struct holding_monitor *hm = (struct holding_monitor *)m;

		hm->books = b;
		list_append(&holding->monitors, &hm->by_holding);
	}
	at += rest_at(holding != NULL);
	memcpy(at, ref.bytes.at, ref.bytes.len);
	if (has_creation)
		memcpy(at + ref.bytes.len, &watcher->creation, sizeof watcher->creation);
	table_put(&b->monitors, &m->by_ref);
	return m;
}

void node_monitor(struct books *b, const struct dist_event *ev)
{
	struct node_holding *holding = ev->to_is_pid ? holding_find(b->node, &ev->to_pid) : NULL;
	struct ref ref = ref_of(b, ev->ref);
	struct node_pool *p;
	struct monitor *m;

	if (ev->to_is_pid ? holding == NULL && !node_is_own_pid(b->node, &ev->to_pid)
			  : !node_has_name(b->node, ev->name)) {
		send_noproc(b, ev);
		return;
	}
	if (b->monitors.count >= MONITORS_MAX) {
		peer_close(b->peer, "it holds more than 1048576 monitors");
		return;
	}
	if (ref.bytes.len >= 1u << MONITOR_REF_BITS) {
		peer_close(b->peer, "a reference of more than 2047 bytes");
		return;
	}
	if (find(b, ref) != NULL)
		return;
	if ((m = monitor_new(b, ref, &ev->from, holding)) == NULL) {
		peer_close(b->peer, "no memory for a monitor");
		return;
	}
	p = ev->to_is_pid ? NULL : node_pool_named(b->node, ev->name);
	m->pool = p != NULL ? p->number : 0;
}

/* The caller got its answer, gave up, or died: whoever this monitor stood for is told. */
void node_demonitor(struct books *b, const struct dist_event *ev)
{
	struct node_request *request = NULL;
	struct node_holding *granting = NULL;
	struct monitor *m = monitor_find(b, ev->ref);

	if (m == NULL)
		return;
	if (m->means == MEANS_REQUEST)
		request = m->request;
	else if (m->means == MEANS_GRANT)
		granting = m->granting;
	monitor_free(b, m);
	if (request != NULL)
		node_request_abandon(request);
	if (granting != NULL && granting->probe_id != 0) /* given up before the answer was heard */
		holding_down_atom(granting, "normal");
}

static void pool_gone(struct books *b, struct node_pool *p)
{
	struct table_link *l = table_after(&b->monitors, NULL), *next;
	struct buf reason = { 0 };

	term_put_atom(&reason, "noproc");
	for (; l != NULL; l = next) {
		struct monitor *m = table_entry(l, struct monitor, by_ref);
		struct local_pid pid;
		struct term_pid watcher;
		uint8_t room[REF_MAX];

		next = table_after(&b->monitors, l);
		if (m->pool != p->number)
			continue;
		m->pool = 0;
		if (m->means != MEANS_NOTHING)
			continue;
		pid = monitor_watcher(b, m);
		watcher = books_pid(b, &pid);
		dist_send_down_name(
			peer_dist(b->peer),
			(struct span){ (const uint8_t *)p->config->name, strlen(p->config->name) },
			&watcher, ref_whole(b, monitor_ref(m), room), answer_reason(&reason));
		monitor_free(b, m);
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
