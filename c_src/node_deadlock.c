/* node_deadlock.c - workers that wait for those who wait for workers.
 *
 * A look is due when a request waits while a call waits for a process. It is taken LOOK_US later: a process
 * that has asked without waiting for the answer (gen_server:send_request) is taken for one that cannot go
 * on, so everybody gets that much time to do something.
 *
 * The look: who waits for whom (deadlock.h) -> somebody waits in vain -> the newest request of a process
 * that a worker waits for hears {deadlock, Text}, and the look is taken again. When it all hangs on names
 * whose processes are not known, their nodes are asked for them (erlang:whereis/1 by a spawn request), and
 * the answer brings the next look. A slot that is not there yet, or is not there any more, goes on: what
 * replaces it serves whoever waits. */
#include "node_callback.h"

#include "deadlock.h"

#define LOOK_US UINT64_C(100000)

/* What is known at one moment. */
struct look {
	struct deadlock_wait *waits;
	struct callback **waited; /* of each wait its callback */
	struct deadlock_ask *asks;
	struct pool_request **asked; /* of each ask its request */
	size_t wait_count, wait_room, ask_count, ask_room;
	unsigned slots, each; /* in all, and of each worker: numbered by the worker's index */
	bool failed;          /* no memory */
};

static struct deadlock_process process(const struct books *b, const struct local_pid *pid)
{
	struct deadlock_process none = { 0 };

	if (b == NULL)
		return none;
	return (struct deadlock_process){ b->id, pid->id, pid->serial, pid->creation };
}

/* Room for one more of both arrays. */
static bool grow(void **a, size_t a_size, void **b, size_t b_size, size_t count, size_t *room)
{
	size_t more = *room == 0 ? 64 : 2 * *room;
	void *p;

	if (count < *room)
		return true;
	if ((p = mem_realloc(*a, more * a_size)) == NULL)
		return false;
	*a = p;
	if ((p = mem_realloc(*b, more * b_size)) == NULL)
		return false;
	*b = p;
	*room = more;
	return true;
}

/* Where the request runs, or could run. False: in none of the slots that were looked at. */
static bool find_slots(const struct node_pool *p, const struct look *k,
		       const struct pool_request *r, struct deadlock_ask *ask)
{
	const struct pool_worker *w = NULL;
	const struct pool_slot *slot = NULL;
	const struct pool_lease *l;

	ask->queued = r->state == REQUEST_QUEUED;
	ask->count = k->slots;
	if (!ask->queued) {
		slot = r->slot;
	} else if (r->kind == POOL_LEASE_CALL) {
		l = pool_lease(p->pool, r->lease_id);
		slot = l != NULL ? l->slot : NULL;
	} else if (pool_request_session(r) != NULL && r->session_mode != SESSION_HINT) {
		w = pool_request_session(r)->worker;
	}
	if (slot != NULL)
		w = slot->worker;
	if (w == NULL)
		return ask->queued && r->kind != POOL_LEASE_CALL;
	ask->first = w->index * k->each + (slot != NULL ? (unsigned)(slot - w->slot) : 0);
	ask->count = slot != NULL ? 1 : w->slots;
	return w->state != WORKER_STOPPING && w->state != WORKER_GONE &&
	       ask->first + ask->count <= k->slots;
}

static void add_ask(struct node_pool *p, struct look *k, struct node_request *nr)
{
	struct pool_request *r = &nr->pool;
	struct deadlock_ask ask = { .process = process(nr->books, &nr->caller),
				    .arrival = r->arrival,
				    .since_us = r->arrived_us };

	if (nr->cast || r->state == REQUEST_NEW || r->state == REQUEST_DONE ||
	    !find_slots(p, k, r, &ask))
		return;
	if (!grow((void **)&k->asks, sizeof *k->asks, (void **)&k->asked, sizeof *k->asked,
		  k->ask_count, &k->ask_room)) {
		k->failed = true;
		return;
	}
	k->asks[k->ask_count] = ask;
	k->asked[k->ask_count++] = r;
}

static void add_wait(struct look *k, unsigned slot, struct callback *c)
{
	bool known = c->kind == CALLBACK_RPC ? c->spawned : c->to == TO_PID || c->resolved;

	if (!grow((void **)&k->waits, sizeof *k->waits, (void **)&k->waited, sizeof *k->waited,
		  k->wait_count, &k->wait_room)) {
		k->failed = true;
		return;
	}
	k->waits[k->wait_count] = (struct deadlock_wait){
		.slot = slot,
		.process = process(known ? c->books : NULL, &c->pid),
		.since_us = c->since_us,
	};
	k->waited[k->wait_count++] = c;
}

/* What the innermost call of a slot waits for. */
static void add_slot(struct look *k, struct node_worker *w, const struct pool_slot *slot)
{
	unsigned number = slot->worker->index * k->each + (unsigned)(slot - slot->worker->slot);
	struct callback_call *call = NULL;
	struct list *pos, *next;

	/* one that was told to stop comes free, whatever it waits for */
	if (slot->state != WORKER_BUSY || slot->depth == 0 || slot->interrupted || slot->closing)
		return;
	HASH_FIND(hh, w->calls, &slot->call[slot->depth - 1].id, sizeof(uint64_t), call);
	if (call == NULL || call->waits == 0)
		return;
	list_each (pos, next, &call->callbacks) {
		struct callback *c = list_entry(pos, struct callback, by_call);

		if (c->kind != CALLBACK_MONITOR)
			add_wait(k, number, c);
	}
}

static void gather(struct node_pool *p, struct look *k)
{
	struct list *pos, *next, *at, *after;
	struct pool_worker *pw = NULL;

	k->each = 1;
	while ((pw = pool_worker_after(p->pool, pw)) != NULL) {
		k->each = pw->slots > k->each ? pw->slots : k->each;
		if (pw->state != WORKER_STOPPING && pw->index >= k->slots)
			k->slots = pw->index + 1;
	}
	if (k->slots < pool_config(p->pool)->size)
		k->slots = pool_config(p->pool)->size;
	if (k->slots < pool_config(p->pool)->size_max)
		k->slots = pool_config(p->pool)->size_max;
	k->slots *= k->each;
	while ((pw = pool_worker_after(p->pool, pw)) != NULL) {
		struct node_worker *w = node_worker_find(p, pw->id);

		for (unsigned i = 0; w != NULL && pw->state != WORKER_STOPPING && i < pw->slots;
		     i++)
			add_slot(k, w, &pw->slot[i]);
	}
	list_each (pos, next, &p->node->books) {
		struct books *b = list_entry(pos, struct books, link);

		list_each (at, after, &b->requests)
			add_ask(p, k, list_entry(at, struct node_request, by_peer));
	}
}

static bool must_look(const struct node_pool *p)
{
	return p->waiting_calls > 0 && pool_queued(p->pool) > 0;
}

static void on_timer(uv_timer_t *timer);

static void look_later(struct node_pool *p, uint64_t us)
{
	if (p->node->stage < NODE_STOPPING && !uv_is_active((uv_handle_t *)&p->deadlock_timer))
		uv_timer_start(&p->deadlock_timer, on_timer, (us + 999) / 1000, 0);
}

/* Names without a process: who is that? One that is not waited for long enough is the next look's. */
static void ask_who(struct node_pool *p, const struct look *k, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < k->wait_count; i++) {
		struct callback *c = k->waited[i];

		if (k->waits[i].process.peer != 0 || c->asked || c->to != TO_NAME ||
		    c->books == NULL)
			continue;
		if (c->since_us + LOOK_US > now) {
			next = c->since_us < next ? c->since_us : next;
			continue;
		}
		c->asked = true;
		(void)callback_whereis(c->books, c->name, c->h.id);
	}
	if (next != UINT64_MAX)
		look_later(p, next + LOOK_US - now);
}

static struct pool_request *find(struct node_pool *p)
{
	struct look k = { 0 };
	struct pool_request *found = NULL;
	uint64_t since, now = node_now_us();
	size_t which;

	gather(p, &k);
	if (!k.failed && k.wait_count > 0) {
		switch (deadlock_find(k.slots, k.waits, k.wait_count, k.asks, k.ask_count, &which,
				      &since)) {
		case DEADLOCK_FOUND:
			if (since + LOOK_US <= now)
				found = k.asked[which];
			else
				look_later(p, since + LOOK_US - now);
			break;
		case DEADLOCK_UNCLEAR:
			ask_who(p, &k, now);
			break;
		case DEADLOCK_NONE:
			break;
		}
	}
	mem_free(k.waits);
	mem_free(k.waited);
	mem_free(k.asks);
	mem_free(k.asked);
	return found;
}

static void on_timer(uv_timer_t *timer)
{
	struct node_pool *p = timer->data;
	struct pool_request *r;

	while (must_look(p) && (r = find(p)) != NULL)
		node_pool_event(p, &(struct pool_event){ .type = POOL_REFUSE, .request = r });
}

void node_deadlock_check(struct node_pool *p)
{
	if (must_look(p))
		look_later(p, LOOK_US);
}

void node_deadlock_init(struct node_pool *p)
{
	uv_timer_init(&p->node->loop, &p->deadlock_timer);
	p->deadlock_timer.data = p;
}
