/* node_deadlock.c - workers that wait for those who wait for workers.
 *
 * A look is due when a request was submitted or a call began to wait, while every slot waits. It is taken
 * LOOK_US later: a process that has asked without waiting for the answer (gen_server:send_request) is taken
 * for one that cannot go on, so everybody gets that much time to do something.
 *
 * The look: who waits for whom (deadlock.h) -> nobody can go on -> the newest request of a process that a
 * worker waits for hears {deadlock, Text}, and the look is taken again. When it all hangs on names whose
 * processes are not known, their nodes are asked for them (erlang:whereis/1 by a spawn request), and the
 * answer brings the next look.
 * What it does not see: requests that wait for one particular worker (a lease, a session that is not that
 * of the call which waits): those have their time-outs. */
#include "node_callback.h"

#include "deadlock.h"

#define LOOK_US UINT64_C(100000)

/* What is known at one moment. */
struct look {
	struct deadlock_wait *waits;
	struct callback **waited; /* of each wait its callback */
	struct deadlock_ask *asks;
	struct pool_request **asked; /* of each ask its request; NULL: it runs */
	size_t wait_count, wait_room, ask_count, ask_room;
	unsigned slots;
	bool failed; /* no memory */
};

static struct deadlock_process process(const struct books *b, const struct local_pid *pid)
{
	return b == NULL ? (struct deadlock_process){ 0 }
			 : (struct deadlock_process){ b->id, pid->id, pid->serial, pid->creation };
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

static void add_ask(struct look *k, struct pool_request *r, unsigned slot)
{
	struct node_request *nr = node_request_of(r);

	if (nr->cast || nr->books == NULL)
		return;
	if (!grow((void **)&k->asks, sizeof *k->asks, (void **)&k->asked, sizeof *k->asked,
		  k->ask_count, &k->ask_room)) {
		k->failed = true;
		return;
	}
	k->asks[k->ask_count] = (struct deadlock_ask){ .process = process(nr->books, &nr->caller),
						       .slot = slot,
						       .arrival = r->arrival,
						       .since_us = r->arrived_us };
	k->asked[k->ask_count++] = slot == DEADLOCK_QUEUED ? r : NULL;
}

static void add_wait(struct look *k, struct callback *c)
{
	bool known = c->kind == CALLBACK_RPC ? c->spawned : c->to == TO_PID || c->resolved;

	if (!grow((void **)&k->waits, sizeof *k->waits, (void **)&k->waited, sizeof *k->waited,
		  k->wait_count, &k->wait_room)) {
		k->failed = true;
		return;
	}
	k->waits[k->wait_count] = (struct deadlock_wait){
		.slot = k->slots,
		.process = process(known ? c->books : NULL, &c->pid),
		.since_us = c->since_us,
	};
	k->waited[k->wait_count++] = c;
}

/* The calls of a slot: each has a caller; the innermost waits. */
static void add_slot(struct look *k, struct node_worker *w, const struct pool_slot *slot)
{
	struct callback_call *call = NULL;
	struct list *pos, *next;

	for (unsigned i = 0; i < slot->depth; i++)
		if (slot->call[i].request != NULL)
			add_ask(k, slot->call[i].request, k->slots);
	if (slot->depth > 0)
		HASH_FIND(hh, w->calls, &slot->call[slot->depth - 1].id, sizeof(uint64_t), call);
	if (call == NULL || call->waits == 0) {
		k->failed = true; /* it does not wait: there is nothing to find */
		return;
	}
	list_each (pos, next, &call->callbacks) {
		struct callback *c = list_entry(pos, struct callback, by_call);

		if (c->kind != CALLBACK_MONITOR)
			add_wait(k, c);
	}
	k->slots++;
}

static void gather(struct node_pool *p, struct look *k)
{
	struct pool_worker *pw = NULL;
	struct pool_request *r = NULL;

	while ((pw = pool_worker_after(p->pool, pw)) != NULL && !k->failed) {
		struct node_worker *w = node_worker_find(p, pw->id);

		if (pw->state == WORKER_STOPPING || w == NULL)
			continue;
		for (unsigned i = 0; i < pw->slots && !k->failed; i++)
			add_slot(k, w, &pw->slot[i]);
	}
	while ((r = pool_queued_after(p->pool, r)) != NULL && !k->failed)
		add_ask(k, r, DEADLOCK_QUEUED);
}

/* Names without a process: who is that? False: that was asked already. */
static bool ask_who(const struct look *k)
{
	bool any = false;

	for (size_t i = 0; i < k->wait_count; i++) {
		struct callback *c = k->waited[i];

		if (k->waits[i].process.peer != 0 || c->asked || c->to != TO_NAME ||
		    c->books == NULL)
			continue;
		c->asked = true;
		any |= callback_whereis(c->books, c->name, c->h.id);
	}
	return any;
}

static void on_timer(uv_timer_t *timer);

static void look_later(struct node_pool *p, uint64_t us)
{
	if (p->node->stage < NODE_STOPPING && !uv_is_active((uv_handle_t *)&p->deadlock_timer))
		uv_timer_start(&p->deadlock_timer, on_timer, (us + 999) / 1000, 0);
}

static struct pool_request *find(struct node_pool *p)
{
	struct look k = { 0 };
	struct pool_request *found = NULL;
	uint64_t since, now = node_now_us();
	size_t which;

	gather(p, &k);
	if (!k.failed && k.slots > 0) {
		switch (deadlock_find(k.slots, k.waits, k.wait_count, k.asks, k.ask_count, &which,
				      &since)) {
		case DEADLOCK_FOUND:
			if (since + LOOK_US <= now)
				found = k.asked[which];
			else
				look_later(p, since + LOOK_US - now);
			break;
		case DEADLOCK_UNCLEAR:
			(void)ask_who(&k);
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

	while (pool_all_wait(p->pool) && (r = find(p)) != NULL)
		node_pool_event(p, &(struct pool_event){ .type = POOL_REFUSE, .request = r });
}

void node_deadlock_check(struct node_pool *p)
{
	if (pool_all_wait(p->pool) && pool_queued(p->pool) > 0)
		look_later(p, LOOK_US);
}

void node_deadlock_init(struct node_pool *p)
{
	uv_timer_init(&p->node->loop, &p->deadlock_timer);
	p->deadlock_timer.data = p;
}
