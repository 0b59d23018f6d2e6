/* pool_serve.c - who is served next, and where.
 *
 * A slot that comes free goes to whoever is next, by priority and turns (pool_line.c), of those who may go
 * anywhere (the queues) and of those who wait for its worker (its pinned requests). With one slot each,
 * the worker used last is used next (ORDER_FIFO: the one used longest ago); with more, that of those with
 * the fewest calls. A session that begins goes to the worker with the fewest sessions. */
#include "pool_private.h"

#include <assert.h>

/* One further in a line of workers, in the order in which they are offered. */
static const struct list *further(const struct pool *p, const struct list *at)
{
	return p->config.order == ORDER_FIFO ? at->next : at->prev;
}

/* The worker that is offered first; NULL: nobody has a free slot. */
static struct pool_worker *best(const struct pool *p)
{
	for (unsigned load = 0; load < p->slots_most; load++)
		if (!list_empty(&p->offered[load]))
			return list_entry(further(p, &p->offered[load]), struct pool_worker,
					  offered);
	return NULL;
}

/* For a new session: of those with the fewest sessions the one that is offered first. An eviction from
 * `except` will take one of its slots. */
static struct pool_slot *emptiest(const struct pool *p, const struct pool_worker *except)
{
	struct pool_worker *found = NULL;

	for (unsigned load = 0; load < p->slots_most; load++) {
		const struct list *line = &p->offered[load], *at;

		for (at = further(p, line); at != line; at = further(p, at)) {
			struct pool_worker *w = list_entry(at, struct pool_worker, offered);

			if (except != NULL && w == except && except->in[WORKER_IDLE] == 1)
				continue;
			if (found == NULL || w->session_count < found->session_count)
				found = w;
			if (found->session_count == 0)
				return worker_slot(found);
		}
	}
	return found != NULL ? worker_slot(found) : NULL;
}

/* The slot of its session's worker in which it can run inside of a call that waits. */
static struct pool_slot *inside(const struct pool *p, const struct pool_request *r,
				const struct pool_session *sn)
{
	struct pool_worker *w = sn->worker;

	for (struct pool_slot *s = w->slot; r->kind == POOL_CALL && s < w->slot + w->slots; s++)
		if (s->session == sn && slot_nestable(p, s))
			return s;
	return NULL;
}

static struct pool_slot *place_in_session(const struct pool *p, const struct pool_request *r,
					  const struct pool_session *sn)
{
	const struct pool_session *evicted = NULL;
	struct pool_slot *s;

	if (sn == NULL)
		return session_room(p, &evicted)
			       ? emptiest(p, evicted != NULL ? evicted->worker : NULL)
			       : NULL;
	if (sn->ending)
		return NULL;
	if (sn->worker == NULL)
		return sn->first == NULL || sn->first == r ? emptiest(p, NULL) : NULL;
	if ((s = worker_slot(sn->worker)) == NULL && (s = inside(p, r, sn)) == NULL &&
	    session_movable(r))
		s = emptiest(p, NULL);
	return s;
}

struct pool_slot *serve_place(const struct pool *p, const struct pool_request *r,
			      const struct pool_lease *on, const struct pool_session *sn)
{
	struct pool_worker *w;

	if (r->kind == POOL_LEASE_CALL)
		return on != NULL && (on->slot->state == WORKER_LEASED ||
				      slot_nestable(p, on->slot))
			       ? on->slot
			       : NULL;
	if (p->paused)
		return sn != NULL && sn->worker != NULL && !sn->ending ? inside(p, r, sn) : NULL;
	if (r->claim != NULL)
		return place_in_session(p, r, sn);
	w = best(p);
	return w != NULL ? worker_slot(w) : NULL;
}

void serve(struct pool *p, struct pool_request *r, struct pool_slot *s)
{
	line_take(p, r, s->depth == 0); /* inside of another it takes nobody's turn */
	if (pool_request_session(r) != NULL)
		session_enter(p, r, s);
	if (r->kind == POOL_CHECKOUT)
		lease_grant(p, r, s);
	else
		request_run(p, r, s);
}

struct pool_request *serve_first(const struct pool_line *lines)
{
	struct pool_request *r = NULL;

	for (unsigned i = 0; i < PRIORITIES && r == NULL; i++)
		r = line_first(&lines[i]);
	return r;
}

/* Whether `a` is served before `b`, which may be NULL. */
static bool before(const struct pool_request *a, const struct pool_request *b)
{
	if (b == NULL || a->priority != b->priority)
		return b == NULL || a->priority < b->priority;
	return a->arrival < b->arrival;
}

/* The first of those who wait for a worker that has a free slot; forgets those that nobody waits for. */
static struct pool_request *first_pinned(struct pool *p)
{
	struct pool_request *first = NULL;
	struct list *at, *next;

	list_each (at, next, &p->hungry) {
		struct pool_worker *w = list_entry(at, struct pool_worker, hungry);
		struct pool_request *r = worker_slot(w) != NULL ? serve_first(w->pinned) : NULL;

		if (r == NULL)
			list_remove(&w->hungry);
		else if (before(r, first))
			first = r;
	}
	return first;
}

/* Whether the pinned one comes before the other, whose turn it is among those that may go anywhere. When
 * they are of different peers, these take turns, too: neither may keep the other out of a worker. */
static bool pinned_first(const struct pool_request *pinned, const struct pool_request *other)
{
	struct pool_worker *w = pool_request_session(pinned)->worker;

	if (other == NULL || pinned->priority != other->priority || pinned->peer == other->peer)
		return before(pinned, other);
	w->pinned_last = !w->pinned_last;
	return w->pinned_last;
}

/* Who can run inside of the call that waits in the slot. */
static struct pool_request *first_inside(const struct pool_slot *s)
{
	struct list *at, *next;

	if (s->lease != NULL && !list_empty(&s->lease->waiting))
		return list_entry(s->lease->waiting.next, struct pool_request, link);
	if (s->session == NULL || s->session->ending)
		return NULL;
	list_each (at, next, &s->session->waiting) {
		struct pool_request *r = list_entry(at, struct pool_claim, by_session)->request;

		if (r->kind == POOL_CALL)
			return r;
	}
	return NULL;
}

static void serve_inside(struct pool *p)
{
	while (!list_empty(&p->nests)) {
		struct pool_slot *s = list_entry(p->nests.next, struct pool_slot, nests);
		struct pool_request *r;

		list_remove(&s->nests);
		if (slot_nestable(p, s) && (r = first_inside(s)) != NULL)
			serve(p, r, s);
	}
}

void serve_all(struct pool *p)
{
	serve_inside(p);
	while (p->queued > 0 && !p->paused) {
		struct pool_request *r = best(p) != NULL ? serve_first(p->queue) : NULL,
				    *pinned = first_pinned(p);

		if (pinned != NULL && pinned_first(pinned, r))
			r = pinned;
		if (r == NULL)
			return;
		serve(p, r, serve_place(p, r, NULL, pool_request_session(r)));
	}
}
