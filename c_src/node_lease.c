/* node_lease.c - leases: granted, given away, ended.
 *
 * The happy path: a checkout is granted -> the owner has the lease's pid (node_holding.c) -> calls ->
 * checkin -> whoever monitors or is linked to the lease hears that it ended.
 * What can go wrong: the owner dies or an exit signal arrives (node_lease_down()); the worker dies (the
 * pool ends the lease); the heir of a give_away is dead.
 *
 * A give_away knows that the heir lives in the same way as a grant knows that it was heard: the
 * acknowledgement of an UNLINK_ID comes, and no DOWN before it. A heir whose node is not connected is
 * connected to. */
#include "node_private.h"

struct node_lease *node_lease_of(struct node_holding *h)
{
	return list_entry(h, struct node_lease, h);
}

struct node_lease *node_lease_new(struct node_pool *p, uint64_t id)
{
	struct node_lease *l = mem_zalloc(sizeof *l);

	if (l == NULL)
		return NULL;
	l->pool.id = id;
	l->owner_pool = p;
	list_init(&l->heir_waiter.link);
	holding_init(&l->h, HOLDING_LEASE, p->node, id);
	return l;
}

void node_lease_free(struct node_lease *l)
{
	holding_close(&l->h);
	watch_free(l->heir, true);
	list_remove(&l->heir_waiter.link);
	mem_free(l);
}

void node_lease_granted(struct node_request *r)
{
	struct node_lease *l = r->lease;
	struct reply_to to = reply_to_request(r);
	struct term_pid pid = holding_pid(&l->h);
	struct buf *out;
	size_t mark;

	l->granted_us = r->pool.done_us;
	if (node_hears(l->owner_pool))
		node_event_lease_granted(l->owner_pool, r);
	r->lease = NULL;
	if (!holding_granted(&l->h, r) || (out = answer_begin(&to, &mark)) == NULL)
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

	if (l->h.reason.len > 0) {
		buf_put(out, l->h.reason.data, l->h.reason.len);
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
	struct buf out = { 0 };

	if (node_hears(l->owner_pool))
		node_event_lease_ended(l);
	put_reason(l, &out);
	holding_ended(&l->h, answer_reason(&out));
	if (l->giving != NULL) {
		struct reply_to to = reply_to_request(l->giving);

		answer_error_atom(&to, "lease_closed");
		node_request_free(l->giving);
	}
	buf_free(&out);
	node_lease_free(l);
}

void node_lease_down(struct node_lease *l)
{
	node_pool_event(l->owner_pool,
			&(struct pool_event){ .type = POOL_LEASE_DOWN, .lease_id = l->pool.id });
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
	list_remove(&l->heir_waiter.link);
	if (error != NULL)
		answer_error_atom(&to, error);
	else
		answer_atom(&to, "ok");
	node_request_free(r);
}

/* The heir's node is connected; NULL: it is not, and there is no way. */
static void ask_heir(struct node_lease *l, struct books *b)
{
	if (b != NULL && books_may_have(b, &l->heir_pid))
		l->heir = watch_new(b, WATCH_HEIR, l, &l->heir_pid, l->pool.id);
	if (l->heir == NULL)
		end_giving(l, "noproc");
	else
		l->heir_probe_id = holding_send_probe(&l->h, b, &l->heir_pid);
}

static void on_heir_connected(struct connect_waiter *waiter, struct books *b)
{
	ask_heir(list_entry(waiter, struct node_lease, heir_waiter), b);
}

void node_lease_give(struct node_lease *l, struct node_request *r, const struct term_pid *heir)
{
	struct span name = { (const uint8_t *)heir->node, heir->node_len };
	struct node *n = l->owner_pool->node;
	struct books *b = books_find(n, heir->node, heir->node_len);

	l->giving = r;
	r->lease = l;
	l->heir_pid = node_local_pid(heir);
	l->heir_waiter.done = on_heir_connected;
	if (b != NULL || !node_connect(n, name, &l->heir_waiter))
		ask_heir(l, b);
}

/* The heir is dead: the lease stays where it was. */
void node_heir_down(struct node_lease *l)
{
	if (l->giving != NULL)
		end_giving(l, "noproc");
}

void node_lease_probe_ack(struct node_lease *l, const struct books *b, uint64_t unlink_id)
{
	struct watch *heir = l->heir;

	if (unlink_id != l->heir_probe_id || heir == NULL || heir->books != b)
		return;
	watch_free(l->h.watch, true);
	l->h.watch = heir;
	l->heir = NULL;
	heir->kind = WATCH_OWNER;
	heir->object = &l->h;
	holding_set_owner(&l->h, heir->books, &heir->pid);
	end_giving(l, NULL);
}
