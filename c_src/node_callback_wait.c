/* node_callback_wait.c - calls that wait: for how long, what the pool knows of it, and what they hold up.
 *
 * The pool is told when a call begins to wait and when it waits no more. That is an event, and may come up
 * while the pool is at work: so calls whose state has changed gather in node_pool.waits, and each is told
 * when the step is done (node_callbacks_next_wait).
 *
 * A worker that says more than its peers read, or than is connected yet, is not read for a while: its pipe
 * fills up, and it waits as a BEAM process does with a busy port. */
#include "node_callback.h"

#include <string.h>

/* ---- deadlines ---- */

static void arm(struct node *n);

static void on_timer(uv_timer_t *timer)
{
	struct node *n = timer->data;
	uint64_t now = node_now_us();
	struct heap_node *first;

	while ((first = heap_min(&n->callback_timers)) != NULL && first->key <= now)
		callback_time_out(heap_entry(first, struct callback, timer));
	node_callbacks_settle(n);
	arm(n);
}

static void arm(struct node *n)
{
	struct heap_node *first = heap_min(&n->callback_timers);
	uint64_t now = node_now_us();

	if (first == NULL || n->stage >= NODE_CLOSING)
		return;
	uv_update_time(&n->loop);
	uv_timer_start(&n->callback_timer, on_timer,
		       first->key > now ? (first->key - now + 999) / 1000 : 0, 0);
}

void callback_arm(struct callback *c, uint64_t timeout_ms)
{
	struct node *n = c->h.node;

	heap_insert(&n->callback_timers, &c->timer, node_now_us() + timeout_ms * 1000);
	if (heap_min(&n->callback_timers) == &c->timer)
		arm(n);
}

void node_callbacks_init(struct node *n)
{
	list_init(&n->throttled);
	uv_timer_init(&n->loop, &n->callback_timer);
	n->callback_timer.data = n;
}

/* Those that are left belong to no worker. */
void node_callbacks_close(struct node *n)
{
	struct node_holding *h, *tmp;

	HASH_ITER(hh, n->holdings, h, tmp)
	{
		if (h->kind == HOLDING_CALLBACK)
			callback_free(list_entry(h, struct callback, h));
	}
	uv_close((uv_handle_t *)&n->callback_timer, NULL);
}

/* ---- what the pool is told ---- */

void callback_due(struct callback_call *k)
{
	if (list_empty(&k->due))
		list_append(&k->worker->pool->waits, &k->due);
}

void callback_count(struct callback_call *k, int change)
{
	k->waits += (unsigned)change;
	callback_due(k);
}

void callback_release(struct callback_call *k)
{
	if (!list_empty(&k->callbacks) || !list_empty(&k->due))
		return;
	if (k->told)
		k->worker->pool->waiting_calls--;
	HASH_DELETE(hh, k->worker->calls, k);
	mem_free(k);
}

bool node_callbacks_next_wait(struct node_pool *p, struct pool_event *ev)
{
	while (!list_empty(&p->waits)) {
		struct callback_call *k = list_entry(p->waits.next, struct callback_call, due);
		bool waits = k->waits > 0, news = waits != k->told;

		*ev = (struct pool_event){ .type = POOL_WORKER_WAITS,
					   .worker_id = k->worker->id,
					   .call_id = k->id,
					   .waits = waits };
		list_remove(&k->due);
		k->told = waits;
		if (news)
			p->waiting_calls += waits ? 1u : -1u;
		callback_release(k);
		if (news)
			return true;
	}
	return false;
}

static void settle(struct node_pool *p)
{
	struct pool_event ev;

	if (p->pumping || !node_callbacks_next_wait(p, &ev))
		return;
	node_pool_event(p, &ev); /* which tells all others */
	node_deadlock_check(p);
}

void node_callbacks_settle(struct node *n)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_any_next(n, p)) != NULL)
		settle(p);
}

/* ---- workers that are not read ---- */

static bool is_clogged(struct books *b)
{
	return !b->forgotten && !peer_closing(b->peer) && peer_unsent(b->peer) > CALLBACK_DRAINED;
}

void callback_unthrottle(struct node_worker *w)
{
	if (list_empty(&w->throttled))
		return;
	list_remove(&w->throttled);
	w->clogged = NULL;
	worker_resume(w->io);
}

void callback_throttle(struct node_worker *w, struct books *b)
{
	bool clogged = b != NULL && peer_unsent(b->peer) > CALLBACK_UNSENT;

	if (clogged) {
		w->clogged = b;
		peer_tell_drained(b->peer, CALLBACK_DRAINED);
	}
	if (!list_empty(&w->throttled) || (!clogged && w->queued_bytes <= CALLBACK_QUEUED))
		return;
	list_append(&w->pool->node->throttled, &w->throttled);
	worker_pause(w->io);
}

/* Something was sent, or never will be. */
void node_callbacks_drained(struct node *n)
{
	struct list *pos, *next;

	list_each (pos, next, &n->throttled) {
		struct node_worker *w = list_entry(pos, struct node_worker, throttled);

		if (w->clogged != NULL && is_clogged(w->clogged)) {
			peer_tell_drained(w->clogged->peer, CALLBACK_DRAINED);
			continue;
		}
		w->clogged = NULL;
		if (w->queued_bytes <= CALLBACK_QUEUED)
			callback_unthrottle(w);
	}
}
