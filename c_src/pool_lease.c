/* pool_lease.c - leases of the pool: a caller's right to one worker.
 *
 * The happy path: a checkout is granted (lease_grant()), calls run on the lease's worker, those that
 * come meanwhile wait in the lease's own queue (lease_next()), the owner gives it back.
 * What can go wrong: the owner is gone, a call's time is up and the worker must be killed for it, the
 * worker dies. Then the lease ends, its waiting calls with it, and the worker serves nobody before it
 * is clean (worker_orphaned()). */
#include "pool_private.h"

#include <assert.h>

struct pool_lease *lease_find(const struct pool *p, uint64_t lease_id)
{
	struct pool_lease *lease = p->lease_hash[pool_slot(lease_id)];

	while (lease != NULL && lease->id != lease_id)
		lease = lease->hash_next;
	return lease;
}

void lease_grant(struct pool *p, struct pool_request *r, struct pool_worker *w)
{
	struct pool_lease *lease = r->lease, **slot = &p->lease_hash[pool_slot(r->lease_id)];

	assert(w->state == WORKER_IDLE && lease_find(p, r->lease_id) == NULL);
	lease->id = r->lease_id;
	lease->worker = w;
	lease->worker_id = r->worker_id = w->id;
	list_init(&lease->waiting);
	list_init(&lease->link);
	list_append(&p->leases, &lease->link);
	lease->hash_next = *slot;
	*slot = lease;
	p->lease_count++;
	w->lease = lease;
	worker_move(p, w, WORKER_LEASED);
	histogram_add(&p->wait_us, p->now_us - r->arrived_us);
	request_done(p, r, OUTCOME_OK);
}

void lease_next(struct pool *p, struct pool_lease *lease)
{
	assert(lease->worker->state == WORKER_LEASED);
	while (!list_empty(&lease->waiting) && lease->worker->state == WORKER_LEASED) {
		struct pool_request *r = list_entry(lease->waiting.next, struct pool_request, link);

		/* The event comes before the deadlines in a step: this one may be over its time. */
		if (r->timer.queued && r->timer.key <= p->now_us)
			request_done(p, r, OUTCOME_TIMEOUT_QUEUE);
		else
			request_run(p, r, lease->worker);
	}
}

void lease_end(struct pool *p, struct pool_lease *lease, enum pool_lease_end end,
	       enum pool_outcome outcome)
{
	struct pool_lease **slot = &p->lease_hash[pool_slot(lease->id)];
	struct pool_worker *w = lease->worker;

	while (!list_empty(&lease->waiting))
		request_done(p, list_entry(lease->waiting.next, struct pool_request, link),
			     outcome);
	while (*slot != lease)
		slot = &(*slot)->hash_next;
	*slot = lease->hash_next;
	p->lease_count--;
	lease->worker = NULL;
	w->lease = NULL;
	worker_disowned(p, w);
	lease->end = end;
	list_remove(&lease->link);
	list_append(&p->ended, &lease->link);
}

void lease_returned(struct pool *p, struct pool_lease *lease, enum pool_lease_end end)
{
	struct pool_worker *w = lease->worker;
	struct pool_request *r = w->request;

	lease_end(p, lease, end, OUTCOME_LEASE_CLOSED);
	if (w->state == WORKER_LEASED) {
		pool_worker_free(p, w);
	} else if (r != NULL) {
		request_done(p, r, OUTCOME_LEASE_CLOSED);
		worker_orphaned(p, w, r->abandon, false);
	}
}
