/* pool_check.c - proves the invariants of the pool by walking everything it holds: requests, heaps.
 *
 * The numbers are those of pool.h. 6 (faults stay with those who made them) is a matter of
 * behaviour over time: check_pool_model.c holds the pool against a model for that; 7 likewise. */
#include "pool_check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_broken(const char *condition, const char *file, int line, const char *what,
			    uint64_t id)
{
	fprintf(stderr, "%s:%d: %s %llu: broken: %s\n", file, line, what, (unsigned long long)id,
		condition);
	abort();
}

void check_heap(const struct heap *h, unsigned expected, const char *name)
{
	const struct heap_node *n, *child, *last = NULL;
	unsigned count = 0;

	for (n = h->first; n != NULL; last = n, n = n->next) {
		count++;
		HOLDS(n->queued && n->in_line && n->prev == last && n->child == NULL, name, n->key);
		HOLDS(last == NULL || heap_before(last, n), name, n->key);
	}
	HOLDS(h->last == last, name, count);
	HOLDS(h->min == h->root || (h->min == h->first && h->first != NULL), name, count);
	n = h->root;
	while (n != NULL) {
		count++;
		HOLDS(n->queued && !n->in_line, name, n->key);
		for (child = n->child; child != NULL; child = child->next) {
			HOLDS(child->key >= n->key, name, child->key);
			HOLDS(child->prev->child == child || child->prev->next == child, name,
			      child->key);
		}
		if (n->child != NULL) {
			n = n->child;
			continue;
		}
		while (n != NULL &&
		       n->next == NULL) { /* the last of its kind: back to the parent */
			while (n->prev != NULL && n->prev->child != n)
				n = n->prev;
			n = n->prev;
		}
		n = n != NULL ? n->next : NULL;
	}
	HOLDS(count == expected, name, count);
}

bool check_timer(const struct heap_node *timer, uint64_t at_us)
{
	return at_us == POOL_NEVER ? !timer->queued : timer->queued && timer->key == at_us;
}

/* What the walk has seen. */
struct seen {
	unsigned queued, running, waits, runs, turns;
	size_t bytes;
};

static void check_queued(const struct pool_request *r, uint64_t until, struct seen *seen)
{
	HOLDS(r->state == REQUEST_QUEUED && r->ahead == (r->slot != NULL), "waiting request",
	      r->id);
	HOLDS(r->kind != POOL_CHECKOUT || r->lease != NULL, "waiting request", r->id);
	HOLDS((r->claim != NULL) == (pool_request_session(r) != NULL), "waiting request", r->id);
	HOLDS(check_timer(&r->timer, until), "deadline of waiting request", r->id);
	seen->queued++;
	seen->bytes += r->bytes;
	seen->waits += r->timer.queued;
}

static uint64_t until(const struct pool_request *r)
{
	return r->queue_deadline_us < r->deadline_us ? r->queue_deadline_us : r->deadline_us;
}

static void check_waiting(const struct pool_request *r, struct seen *seen)
{
	HOLDS(!r->ahead && !r->late, "waiting request", r->id);
	check_queued(r, until(r), seen);
}

/* One that was sent ahead to that worker. */
static void check_sent_ahead(const struct pool_worker *w, unsigned i, struct seen *seen)
{
	const struct pool_request *r = w->ahead[i].request;

	HOLDS(r->line == NULL && list_empty(&r->by_age), "ahead", r->id);
	check_queued(r, r->late ? POOL_NEVER : i < w->taken ? r->deadline_us : until(r), seen);
}

/* One peer's part of a line. */
static void check_turn(const struct pool *p, const struct pool_line *line,
		       const struct pool_request *first, unsigned priority,
		       const struct pool_worker *of, struct seen *seen)
{
	const struct pool_request *r = first;
	uint64_t arrival = 0;

	do {
		const struct pool_session *sn = pool_request_session(r);

		check_waiting(r, seen);
		HOLDS(r->kind != POOL_LEASE_CALL && r->priority == priority, "request", r->id);
		HOLDS(r->line == line && r->peer == first->peer, "line of request", r->id);
		HOLDS((r == first) == !list_empty(&r->turn), "turn of request", r->id);
		HOLDS(list_empty(&r->by_age) == (of != NULL), "age of request", r->id);
		HOLDS(r->arrival > arrival, "order of request", r->id); /* 4 */
		arrival = r->arrival;
		if (of != NULL)
			HOLDS(sn->worker == of && !sn->ending && !session_movable(r), "pinned",
			      r->id);
		else if (sn != NULL)
			HOLDS(sn->first == r || (sn->worker != NULL && session_movable(r)),
			      "request with a session", r->id);
		r = list_entry(r->link.next, struct pool_request, link);
	} while (r != first);
	HOLDS(line_known(p, first), "turn of peer", first->peer);
}

/* One line of those who may be served in any slot, or in any of one worker. */
static void check_line(const struct pool *p, const struct pool_line *line, unsigned priority,
		       const struct pool_worker *of, struct seen *seen)
{
	const struct list *at;

	for (at = line->turns.next; at != &line->turns; at = at->next) {
		check_turn(p, line, list_entry(at, struct pool_request, turn), priority, of, seen);
		seen->turns++;
	}
}

static void check_ages(const struct pool *p, unsigned expected)
{
	const struct list *at;
	uint64_t arrival = 0;

	for (at = p->by_age.next; at != &p->by_age; at = at->next, expected--) {
		const struct pool_request *r = list_entry(at, struct pool_request, by_age);

		HOLDS(r->arrival > arrival, "age of request", r->id);
		arrival = r->arrival;
	}
	HOLDS(expected == 0, "ages", expected);
}

/* Those who wait behind the first of their session, or for its end, are in no line. */
static void check_behind(const struct pool *p, struct seen *seen)
{
	const struct list *at, *of;

	for (of = p->sessions.next; of != &p->sessions; of = of->next) {
		const struct pool_session *sn = list_entry(of, struct pool_session, link);

		for (at = sn->waiting.next; at != &sn->waiting; at = at->next) {
			const struct pool_request *r =
				list_entry(at, struct pool_claim, by_session)->request;

			HOLDS(pool_request_session(r) == sn, "request of a session", r->id);
			if (sn->first == r || (sn->worker != NULL && !sn->ending))
				continue;
			check_waiting(r, seen);
			HOLDS(list_empty(&r->link), "request behind", r->id);
		}
	}
}

static void check_running(const struct pool_slot *s, unsigned depth)
{
	const struct pool_request *r = s->call[depth].request;
	const struct pool_worker *w = s->worker;

	HOLDS(r->state == REQUEST_RUNNING || r->state == REQUEST_STREAMING, "running", r->id);
	HOLDS(r->slot == s && r->worker_id == w->id && r->id == s->call[depth].id, "running",
	      r->id);
	HOLDS(r->state == REQUEST_RUNNING || r->stream, "running", r->id);
	HOLDS(!r->closing || r->state == REQUEST_STREAMING, "running", r->id);
	HOLDS(check_timer(&r->timer, r->deadline_us), "deadline of running request", r->id);
	HOLDS(r->kind != POOL_CHECKOUT && (r->claim == NULL || r->claim->spare == NULL), "running",
	      r->id);
	if (w->state == WORKER_STOPPING)
		return;
	HOLDS(s->lease == NULL || s->call[depth].inner || r->lease_id == s->lease->id,
	      "leased call", r->id);
	HOLDS(r->kind == POOL_CALL || (s->lease != NULL && s->lease->id == r->lease_id),
	      "call of a lease", r->id);
	HOLDS(r->kind == POOL_LEASE_CALL || pool_request_session(r) != NULL ||
		      !s->call[depth].inner,
	      "inner call", r->id);
	HOLDS(depth == 0 || s->call[depth].inner, "inner call", r->id);
	HOLDS(pool_request_session(r) == NULL || pool_request_session(r) == s->session,
	      "call in a session", r->id);
}

static void check_requests(const struct pool *p)
{
	struct seen seen = { 0 };
	uint64_t sum = p->queued + p->running;
	const struct list *at, *of;

	for (unsigned i = 0; i < PRIORITIES; i++)
		check_line(p, &p->queue[i], i, NULL, &seen);
	check_ages(p, seen.queued);
	for (unsigned i = 0; i < p->slots_most; i++)
		HOLDS(seen.queued == 0 || p->paused || list_empty(&p->offered[i]),
		      "free slot for requests", seen.queued); /* 3 */
	HOLDS(seen.queued == 0 || !requests_hopeless(p), "open circuit for requests", seen.queued);
	check_behind(p, &seen);
	for (of = p->leases.next; of != &p->leases; of = of->next) {
		const struct pool_lease *l = list_entry(of, struct pool_lease, link);

		for (at = l->waiting.next; at != &l->waiting; at = at->next) {
			const struct pool_request *r = list_entry(at, struct pool_request, link);

			check_waiting(r, &seen);
			HOLDS(r->kind == POOL_LEASE_CALL && r->lease_id == l->id, "request", r->id);
			HOLDS(l->slot->state != WORKER_LEASED && !slot_nestable(p, l->slot),
			      "leased slot for", r->id); /* 3 */
		}
	}
	for (of = p->workers.next; of != &p->workers; of = of->next) {
		const struct pool_worker *w = list_entry(of, struct pool_worker, all);

		for (unsigned i = 0; i < w->ahead_count; i++)
			if (w->ahead[i].request != NULL)
				check_sent_ahead(w, i, &seen);

		for (unsigned i = 0; i < PRIORITIES; i++)
			check_line(p, &w->pinned[i], i, w, &seen);
		for (const struct pool_slot *s = w->slot; s < w->slot + w->slots; s++)
			for (unsigned i = 0; i < s->depth; i++) {
				if (s->call[i].request == NULL)
					continue;
				check_running(s, i);
				seen.running++;
				seen.runs += s->call[i].request->timer.queued;
			}
	}
	for (at = p->done.next; at != &p->done; at = at->next) {
		const struct pool_request *r = list_entry(at, struct pool_request, link);

		HOLDS(r->state == REQUEST_DONE && r->slot == NULL && !r->timer.queued, "done",
		      r->id);
		HOLDS(pool_request_session(r) == NULL &&
			      (r->claim == NULL || r->claim->spare == NULL),
		      "done", r->id);
	}
	HOLDS(seen.turns == line_count(p), "turns", seen.turns);
	HOLDS(seen.queued == p->queued, "queued requests", seen.queued);
	HOLDS(seen.running == p->running, "running requests", seen.running);
	HOLDS(seen.bytes == p->queued_bytes, "queued bytes", seen.bytes);
	check_heap(&p->waits, seen.waits, "waits");
	check_heap(&p->runs, seen.runs, "runs");
	for (unsigned i = 0; i < OUTCOMES; i++)
		sum += p->totals.outcome[i];
	HOLDS(p->totals.received == sum, "received", p->totals.received); /* 5 */
}

void pool_check(const struct pool *p)
{
	check_workers(p);
	check_leases(p);
	check_sessions(p);
	check_requests(p);
	if (p->stopping) {
		HOLDS(p->queued + p->running + p->lease_count + p->session_count == 0,
		      "stopping, queued", p->queued);
		HOLDS(list_empty(&p->by_index), "stopping, ready", pool_ready(p));
	}
	if (p->draining && !p->drain_told)
		HOLDS(pool_works(p), "drained", p->totals.received);
}
