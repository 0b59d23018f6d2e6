/* pool_lease.c - leases of the pool: a caller's right to one slot of a worker.
 *
 * The happy path: a checkout is granted (lease_grant()), calls run in the lease's slot, those that come
 * meanwhile wait in the lease's own queue (lease_next()), unless the one that runs waits itself, for a
 * process that may be their caller; the owner gives it back.
 * What can go wrong: the owner is gone, a call's time is up and the worker must be killed for it, the
 * worker dies. Then the lease ends, its waiting calls with it, and the slot serves nobody before it is
 * clean (call_orphaned()). */
#include "pool_private.h"

#include <assert.h>

struct pool_lease *lease_find(const struct pool *p, uint64_t lease_id)
{
	struct pool_lease *lease = p->lease_hash[pool_chain(lease_id)];

	while (lease != NULL && lease->id != lease_id)
		lease = lease->hash_next;
	return lease;
}

void lease_grant(struct pool *p, struct pool_request *r, struct pool_slot *s)
{
	struct pool_lease *lease = r->lease, **chain = &p->lease_hash[pool_chain(lease->id)];

	assert(s->state == WORKER_IDLE && lease_find(p, lease->id) == NULL);
	lease->slot = s;
	lease->worker_id = r->worker_id = s->worker->id;
	list_init(&lease->waiting);
	list_init(&lease->link);
	list_append(&p->leases, &lease->link);
	lease->hash_next = *chain;
	*chain = lease;
	p->lease_count++;
	s->lease = lease;
	slot_move(p, s, WORKER_LEASED);
	histogram_add(&p->wait_us, p->now_us - r->arrived_us);
	request_done(p, r, OUTCOME_OK);
}

void lease_next(struct pool *p, struct pool_lease *lease)
{
	assert(lease->slot->state == WORKER_LEASED);
	while (!list_empty(&lease->waiting) && lease->slot->state == WORKER_LEASED) {
		struct pool_request *r = list_entry(lease->waiting.next, struct pool_request, link);

		/* The event comes before the deadlines in a step: this one may be over its time. */
		if (r->timer.queued && r->timer.key <= p->now_us)
			request_done(p, r, OUTCOME_TIMEOUT_QUEUE);
		else
			request_run(p, r, lease->slot);
	}
}

void lease_end(struct pool *p, struct pool_lease *lease, enum pool_lease_end end,
	       enum pool_outcome outcome)
{
	struct pool_lease **chain = &p->lease_hash[pool_chain(lease->id)];
	struct pool_slot *s = lease->slot;

	while (!list_empty(&lease->waiting))
		request_done(p, list_entry(lease->waiting.next, struct pool_request, link),
			     outcome);
	while (*chain != lease)
		chain = &(*chain)->hash_next;
	*chain = lease->hash_next;
	p->lease_count--;
	lease->slot = NULL;
	s->lease = NULL;
	worker_disowned(p, s->worker);
	lease->end = end;
	list_remove(&lease->link);
	list_append(&p->ended, &lease->link);
	p->due |= BIT(POOL_LEASE_ENDED);
}

void lease_returned(struct pool *p, struct pool_lease *lease, enum pool_lease_end end)
{
	struct pool_slot *s = lease->slot;

	lease_end(p, lease, end, OUTCOME_LEASE_CLOSED);
	if (s->state == WORKER_LEASED) {
		slot_free(p, s);
		return;
	}
	for (unsigned i = s->depth; i-- > 0;) {
		struct pool_request *r = s->call[i].request;

		if (r != NULL && r->kind == POOL_LEASE_CALL)
			request_cut(p, r, OUTCOME_LEASE_CLOSED, false);
	}
}
