/* node_lease.c - leases as processes: owners, monitors, links, give_away.
 *
 * The happy path: a checkout is granted -> the owner is monitored and told the lease's pid -> calls -> checkin
 * -> whoever monitors or is linked to the lease hears that it ended.
 * What can go wrong: the owner dies (the watch tells); it gave up just as the lease was granted; the worker
 * dies (the pool ends the lease); an exit signal arrives; the heir of a give_away is dead.
 *
 * Giving up and being granted. A caller that takes the answer and one that has just given up both send
 * the same DEMONITOR. So right before the answer goes an UNLINK_ID for a link that does not exist, which
 * the caller's BEAM acknowledges in order: a DEMONITOR before the acknowledgement was sent before the
 * answer could be heard, and the lease ends. In the same way a give_away knows that the heir lives: its
 * acknowledgement comes, and no DOWN before it. */
#include "node_private.h"

#include "log.h"

#include <assert.h>
#include <string.h>

struct node_lease *node_lease_find(struct node *n, const struct term_pid *pid)
{
	uint64_t id = (uint64_t)pid->serial << 32 | pid->id;
	struct pool_lease *l;

	if (pid->creation != n->creation || n->pool == NULL)
		return NULL;
	l = pool_lease(n->pool->pool, id);
	return l != NULL ? list_entry(l, struct node_lease, pool) : NULL;
}

struct node_lease *node_lease_new(struct node_pool *p, uint64_t id)
{
	struct node_lease *l = mem_zalloc(sizeof *l);

	if (l == NULL)
		return NULL;
	l->pool.id = id;
	l->owner_pool = p;
	list_init(&l->by_peer);
	list_init(&l->monitors);
	list_init(&l->links);
	return l;
}

void node_lease_free(struct node_lease *l)
{
	watch_free(l->watch, true);
	watch_free(l->heir, true);
	list_remove(&l->by_peer);
	buf_free(&l->reason);
	mem_free(l);
}

bool node_lease_is_owner(const struct node_lease *l, const struct books *b,
			 const struct local_pid *pid)
{
	return l->books == b && memcmp(&l->owner, pid, sizeof *pid) == 0;
}

static struct term_pid lease_pid(const struct node_lease *l)
{
	return node_pid(l->owner_pool->node, l->pool.id);
}

static void set_owner(struct node_lease *l, struct books *b, const struct local_pid *pid)
{
	assert(b != NULL);
	list_remove(&l->by_peer);
	l->books = b;
	l->owner = *pid;
	list_append(&b->leases, &l->by_peer);
}

/* Asks the BEAM of `pid` for an acknowledgement that comes in order; returns the id it will carry. */
static uint64_t send_probe(struct node_lease *l, struct books *b, const struct local_pid *pid)
{
	struct term_pid ours = lease_pid(l), theirs = books_pid(b, pid);
	uint64_t id = node_id(b->node);

	dist_send_unlink(peer_dist(b->peer), id, &ours, &theirs);
	books_mark_dirty(b);
	return id;
}

void node_lease_granted(struct node_request *r)
{
	struct node_lease *l = r->lease;
	struct reply_to to = reply_to_request(r);
	struct term_pid pid = lease_pid(l);
	struct buf *out;
	size_t mark;

	r->lease = NULL;
	set_owner(l, r->books, &r->caller);
	l->watch = watch_new(r->books, WATCH_OWNER, l, &l->owner, l->pool.id);
	if (l->watch == NULL)
		peer_close(r->books->peer, "no memory for the monitor of a lease's owner");
	if (r->monitor != NULL) {
		r->monitor->request = NULL;
		r->monitor->granting = l;
		l->grant = r->monitor;
		r->monitor = NULL;
		l->probe_id = send_probe(l, r->books, &l->owner);
	}
	if ((out = answer_begin(&to, &mark)) == NULL)
		return;
	term_put_tuple(out, 2);
	term_put_atom(out, "ok");
	term_put_pid(out, &pid);
	answer_end(&to, mark);
}

/* The reason that monitors and links hear. */
static void put_reason(struct node_lease *l, struct buf *out)
{
	struct node_pool *p = l->owner_pool;

	if (l->reason.len > 0) {
		buf_put(out, l->reason.data, l->reason.len);
		return;
	}
	switch (l->pool.end) {
	case LEASE_CHECKED_IN:
		term_put_atom(out, "normal");
		break;
	case LEASE_TIMEOUT:
		term_put_tuple(out, 2);
		term_put_atom(out, "timeout");
		term_put_atom(out, "call");
		break;
	case LEASE_WORKER_GONE:
		if (p->dying != NULL)
			answer_put_worker_exit(out, p->dying);
		else
			term_put_atom(out, "killed");
		break;
	case LEASE_OWNER_GONE:
		term_put_atom(out, "shutdown");
		break;
	}
}

void node_lease_ended(struct pool_lease *pl)
{
	struct node_lease *l = list_entry(pl, struct node_lease, pool);
	struct term_pid pid = lease_pid(l);
	struct buf out = { 0 };
	struct span reason;

	put_reason(l, &out);
	reason = answer_reason(&out);
	while (!list_empty(&l->monitors)) {
		struct monitor *m = list_entry(l->monitors.next, struct monitor, by_lease);
		struct term_pid watcher = books_pid(m->books, &m->watcher);

		dist_send_down(peer_dist(m->books->peer), &pid, &watcher,
			       (struct span){ m->ref, m->ref_len }, reason);
		books_mark_dirty(m->books);
		if (m->request != NULL)
			m->request->monitor = NULL;
		HASH_DELETE(hh, m->books->monitors, m);
		list_remove(&m->by_lease);
		mem_free(m);
	}
	while (!list_empty(&l->links)) {
		struct node_link *k = list_entry(l->links.next, struct node_link, by_lease);
		struct term_pid linked = books_pid(k->books, &k->pid);

		dist_send_exit(peer_dist(k->books->peer), &pid, &linked, reason);
		books_mark_dirty(k->books);
		node_link_free(k);
	}
	if (l->grant != NULL)
		l->grant->granting = NULL;
	if (l->giving != NULL) {
		struct reply_to to = reply_to_request(l->giving);

		answer_error_atom(&to, "lease_closed");
		node_request_free(l->giving);
	}
	buf_free(&out);
	node_lease_free(l);
}

void node_lease_down(struct node_lease *l, struct span reason)
{
	if (l->reason.len == 0)
		buf_put(&l->reason, reason.at, reason.len);
	node_pool_event(l->owner_pool,
			&(struct pool_event){ .type = POOL_LEASE_DOWN, .lease_id = l->pool.id });
}

void node_lease_down_atom(struct node_lease *l, const char *atom)
{
	struct buf reason = { 0 };

	term_put_atom(&reason, atom);
	node_lease_down(l, answer_reason(&reason));
	buf_free(&reason);
}

void node_lease_checkin(struct node_lease *l, const struct reply_to *to)
{
	answer_atom(to, "ok"); /* before the caller's own monitor on the lease fires */
	node_pool_event(l->owner_pool,
			&(struct pool_event){ .type = POOL_CHECKIN, .lease_id = l->pool.id });
}

/* ---- give_away ---- */

static void end_giving(struct node_lease *l, const char *error)
{
	struct node_request *r = l->giving;
	struct reply_to to = reply_to_request(r);

	l->giving = NULL;
	l->heir_probe_id = 0;
	if (error != NULL)
		answer_error_atom(&to, error);
	else
		answer_atom(&to, "ok");
	node_request_free(r);
}

void node_lease_give(struct node_lease *l, struct node_request *r, const struct term_pid *heir)
{
	struct local_pid pid = { heir->id, heir->serial, heir->creation };
	struct books *b = books_find(l->owner_pool->node, heir->node, heir->node_len);

	l->giving = r;
	r->lease = l;
	/* a pid of an earlier life of that node is nobody's */
	if (b != NULL && heir->creation == dist_peer_creation(peer_dist(b->peer)))
		l->heir = watch_new(b, WATCH_HEIR, l, &pid, l->pool.id);
	if (b == NULL || l->heir == NULL) {
		end_giving(l, "noproc");
		return;
	}
	l->heir_probe_id = send_probe(l, b, &pid);
}

/* The heir is dead: the lease stays where it was. */
void node_heir_down(struct node_lease *l)
{
	if (l->giving != NULL)
		end_giving(l, "noproc");
}

static void heir_lives(struct node_lease *l)
{
	struct watch *heir = l->heir;

	watch_free(l->watch, true);
	l->watch = heir;
	l->heir = NULL;
	heir->kind = WATCH_OWNER;
	set_owner(l, heir->books, &heir->pid);
	end_giving(l, NULL);
}

void node_lease_probe_ack(struct books *b, uint64_t unlink_id, uint64_t lease_id)
{
	struct pool_lease *pl = pool_lease(b->node->pool->pool, lease_id);
	struct node_lease *l = pl != NULL ? list_entry(pl, struct node_lease, pool) : NULL;

	if (l == NULL || unlink_id == 0)
		return;
	if (unlink_id == l->probe_id)
		l->probe_id = 0;
	else if (unlink_id == l->heir_probe_id && l->heir != NULL && l->heir->books == b)
		heir_lives(l);
}

/* ---- links ---- */

void node_lease_link(struct books *b, struct node_lease *l, const struct local_pid *pid)
{
	struct node_link *k = mem_zalloc(sizeof *k);

	if (k == NULL) {
		peer_close(b->peer, "no memory for a link");
		return;
	}
	k->lease = l;
	k->books = b;
	k->pid = *pid;
	list_append(&l->links, &k->by_lease);
	list_append(&b->links, &k->by_peer);
}

void node_link_free(struct node_link *k)
{
	list_remove(&k->by_lease);
	list_remove(&k->by_peer);
	mem_free(k);
}
