/* pool_check.c - proves the invariants of the pool by walking everything it holds.
 *
 * The numbers are those of DESIGN's section 4. 6 (faults stay with those who made them) is a matter of
 * behaviour over time: check_pool_model.c holds the pool against a model for that; 7 likewise. */
#include "pool_private.h"

#include <stdio.h>
#include <stdlib.h>

#define HOLDS(condition, ...)                                      \
	do {                                                       \
		if (!(condition))                                  \
			broken(#condition, __LINE__, __VA_ARGS__); \
	} while (0)

static _Noreturn void broken(const char *condition, int line, const char *what, uint64_t id)
{
	fprintf(stderr, "pool_check:%d: %s %llu: broken: %s\n", line, what, (unsigned long long)id,
		condition);
	abort();
}

/* A heap in order, `expected` nodes in all. */
static void check_heap(const struct heap *h, unsigned expected, const char *name)
{
	const struct heap_node *n = h->root, *child;
	unsigned count = 0;

	while (n != NULL) {
		count++;
		HOLDS(n->queued, name, n->key);
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

/* A timer is set exactly when there is a deadline, and to it. */
static bool timer_is(const struct heap_node *timer, uint64_t at_us)
{
	return at_us == POOL_NEVER ? !timer->queued : timer->queued && timer->key == at_us;
}

/* ---- requests ---- */

static void check_waiting(const struct pool_request *r, uint64_t *last_arrival)
{
	uint64_t until =
		r->queue_deadline_us < r->deadline_us ? r->queue_deadline_us : r->deadline_us;

	HOLDS(r->state == REQUEST_QUEUED && r->worker == NULL, "waiting request", r->id);
	HOLDS(r->arrival > *last_arrival, "order of request", r->id); /* 4 */
	HOLDS(timer_is(&r->timer, until), "deadline of waiting request", r->id);
	*last_arrival = r->arrival;
}

static void check_running(const struct pool_worker *w)
{
	const struct pool_request *r = w->request;

	HOLDS(r->state == REQUEST_RUNNING && r->worker == w, "running request", r->id);
	HOLDS(r->worker_id == w->id, "running request", r->id);
	HOLDS(timer_is(&r->timer, r->deadline_us), "deadline of running request", r->id);
	HOLDS(r->kind == (w->lease != NULL ? POOL_LEASE_CALL : POOL_CALL), "running request",
	      r->id);
	HOLDS(w->lease == NULL || w->lease->id == r->lease_id, "running request", r->id);
}

static void check_requests(const struct pool *p)
{
	unsigned queued = 0, running = 0, waits = 0, runs = 0;
	size_t bytes = 0;
	uint64_t sum = p->queued + p->running;
	struct list *at, *next, *head, *lease;

	for (unsigned i = 0; i < PRIORITIES; i++) {
		uint64_t arrival = 0;

		list_each (at, next, &p->queue[i]) {
			const struct pool_request *r = list_entry(at, struct pool_request, link);

			check_waiting(r, &arrival);
			HOLDS(r->kind != POOL_LEASE_CALL && r->priority == i, "request", r->id);
			HOLDS((r->kind == POOL_CHECKOUT) == (r->lease != NULL), "request", r->id);
			queued++;
			bytes += r->bytes;
			waits += r->timer.queued;
			HOLDS(p->count[WORKER_IDLE] == 0, "idle worker for request", r->id); /* 3 */
			HOLDS(!requests_hopeless(p), "open circuit for request", r->id);
		}
	}
	list_each (lease, head, &p->leases) {
		const struct pool_lease *l = list_entry(lease, struct pool_lease, link);
		uint64_t arrival = 0;

		list_each (at, next, &l->waiting) {
			const struct pool_request *r = list_entry(at, struct pool_request, link);

			check_waiting(r, &arrival);
			HOLDS(r->kind == POOL_LEASE_CALL && r->lease_id == l->id, "request", r->id);
			queued++;
			bytes += r->bytes;
			waits += r->timer.queued;
			HOLDS(l->worker->state != WORKER_LEASED, "leased worker for",
			      r->id); /* 3 */
		}
	}
	list_each (at, next, &p->workers) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, all);

		if (w->request != NULL) {
			check_running(w);
			running++;
			runs += w->request->timer.queued;
		}
	}
	list_each (at, next, &p->done) {
		const struct pool_request *r = list_entry(at, struct pool_request, link);

		HOLDS(r->state == REQUEST_DONE && r->worker == NULL && !r->timer.queued, "done",
		      r->id);
	}
	HOLDS(queued == p->queued && running == p->running, "requests, queued", queued);
	HOLDS(bytes == p->queued_bytes, "queued bytes", bytes);
	check_heap(&p->waits, waits, "waits");
	check_heap(&p->runs, runs, "runs");
	for (unsigned i = 0; i < OUTCOMES; i++)
		sum += p->totals.outcome[i];
	HOLDS(p->totals.received == sum, "received", p->totals.received); /* 5 */
}

/* ---- workers ---- */

/* What a worker may hold, and which timer it has, by its state (2). */
static void check_worker(const struct pool *p, const struct pool_worker *w)
{
	bool free = w->request == NULL && w->lease == NULL && w->call_id == 0;
	bool timer = w->timer.queued;
	uint64_t interrupt = pool_in(p, p->config.interrupt_grace_us);
	uint64_t stop = pool_in(p, p->config.stop_grace_us);

	HOLDS(w->lease == NULL || w->lease->worker == w, "lease of worker", w->id);
	HOLDS(w->lease == NULL || lease_find(p, w->lease->id) == w->lease, "lease of", w->id);
	HOLDS(!w->interrupted || w->state == WORKER_BUSY, "worker", w->id);
	HOLDS(worker_find(p, w->id) == w, "worker", w->id);
	HOLDS(w->id <= p->last_worker_id && w->since_us <= p->now_us, "worker", w->id);
	switch (w->state) {
	case WORKER_STARTING:
		HOLDS(free, "starting worker", w->id);
		HOLDS(timer || pool_in(p, p->config.start_timeout_us) == POOL_NEVER, "starting",
		      w->id);
		break;
	case WORKER_IDLE:
		HOLDS(free && !timer, "idle worker", w->id);
		break;
	case WORKER_LEASED:
		HOLDS(w->lease != NULL && w->request == NULL, "leased worker", w->id);
		HOLDS(w->call_id == 0 && !timer, "leased worker", w->id);
		break;
	case WORKER_BUSY:
		HOLDS(w->call_id != 0 && !(w->call_id & PROBE_BIT), "busy worker", w->id);
		HOLDS(w->request == NULL || w->request->id == w->call_id, "busy worker", w->id);
		HOLDS(!w->interrupted || w->request == NULL, "interrupted worker", w->id);
		HOLDS(timer == (w->interrupted && interrupt != POOL_NEVER), "busy worker", w->id);
		break;
	case WORKER_PROBING:
		HOLDS(w->call_id & PROBE_BIT && w->request == NULL, "probing worker", w->id);
		HOLDS(timer || interrupt == POOL_NEVER, "probing worker", w->id);
		break;
	case WORKER_STOPPING:
		HOLDS(w->call_id == 0 && w->stop_phase <= 2, "stopping worker", w->id);
		HOLDS(free || w->stop_phase == 2, "stopping worker", w->id);
		HOLDS(w->stop_phase < 2 ? timer || stop == POOL_NEVER : !timer || !free,
		      "stopping worker", w->id);
		break;
	case WORKER_GONE:
	case WORKER_STATES:
		HOLDS(false, "worker", w->id);
	}
}

/* The action that is due fits the state. */
static void check_action(const struct pool_worker *w)
{
	static const unsigned fits[WORKER_STATES] = {
		[WORKER_STARTING] = BIT(POOL_START),
		[WORKER_BUSY] = BIT(POOL_RUN) | BIT(POOL_INTERRUPT),
		[WORKER_PROBING] = BIT(POOL_PROBE),
		[WORKER_STOPPING] = BIT(POOL_END) | BIT(POOL_TERMINATE) | BIT(POOL_KILL),
	};

	if (list_empty(&w->act))
		return;
	HOLDS(fits[w->state] & BIT(w->pending), "action of worker", w->id);
	HOLDS(w->pending != POOL_RUN || w->request != NULL, "action of worker", w->id);
}

static void check_workers(const struct pool *p)
{
	unsigned all = 0, serving = 0, timers = 0, hashed = 0;
	uint64_t last_id = 0, last_ready = 0;
	unsigned next_index = 0;
	struct list *at, *next;

	for (unsigned state = 0; state < WORKER_STATES; state++) {
		unsigned count = 0;

		list_each (at, next, &p->in[state]) { /* 1 */
			const struct pool_worker *w = list_entry(at, struct pool_worker, link);

			HOLDS(w->state == state, "worker", w->id);
			check_worker(p, w);
			check_action(w);
			timers += w->timer.queued;
			count++;
		}
		HOLDS(count == p->count[state], worker_state_name(state), count);
		all += count;
	}
	check_heap(&p->timers, timers, "timers");
	list_each (at, next, &p->workers) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, all);

		HOLDS(w->id > last_id, "order of worker", w->id);
		last_id = w->id;
		all--;
	}
	HOLDS(all == 0 && p->count[WORKER_GONE] == 0, "workers", all);
	list_each (at, next, &p->by_index) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, by_index);

		HOLDS(w->state != WORKER_STOPPING && w->index >= next_index, "index of", w->id);
		next_index = w->index + 1;
		serving++;
	}
	HOLDS(serving == pool_ready(p) + p->count[WORKER_STARTING], "workers by index", serving);
	list_each (at, next, &p->trials) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, trial);

		HOLDS(w->state != WORKER_STARTING && w->state != WORKER_STOPPING, "trial", w->id);
		HOLDS(w->ready_us >= last_ready && w->calls == 0, "trial of worker", w->id);
		last_ready = w->ready_us;
	}
	for (unsigned i = 0; i < POOL_HASH; i++)
		for (const struct pool_worker *w = p->worker_hash[i]; w != NULL; w = w->hash_next)
			hashed++;
	HOLDS(hashed == serving + p->count[WORKER_STOPPING], "hashed workers", hashed);
	/* Whoever is missing is due: now that the step is over, only the breaker or memory may delay. */
	HOLDS(p->stopping || serving >= p->config.size || p->start_at_us != POOL_NEVER ||
		      p->breaker.probing,
	      "missing workers, size", p->config.size);
}

static void check_leases(const struct pool *p)
{
	unsigned count = 0, hashed = 0;
	struct list *at, *next;

	list_each (at, next, &p->leases) {
		const struct pool_lease *lease = list_entry(at, struct pool_lease, link);

		HOLDS(lease_find(p, lease->id) == lease, "lease", lease->id);
		HOLDS(lease->worker != NULL && lease->worker->lease == lease, "lease", lease->id);
		HOLDS(lease->worker_id == lease->worker->id, "lease", lease->id);
		count++;
	}
	HOLDS(count == p->lease_count, "leases", count);
	for (unsigned i = 0; i < POOL_HASH; i++)
		for (const struct pool_lease *l = p->lease_hash[i]; l != NULL; l = l->hash_next)
			hashed++;
	HOLDS(hashed == count, "hashed leases", hashed);
	list_each (at, next, &p->ended) {
		const struct pool_lease *lease = list_entry(at, struct pool_lease, link);

		HOLDS(lease->worker == NULL && list_empty(&lease->waiting), "lease", lease->id);
	}
}

void pool_check(const struct pool *p)
{
	check_workers(p);
	check_leases(p);
	check_requests(p);
	if (p->stopping) {
		HOLDS(p->queued + p->running + p->lease_count == 0, "stopping, queued", p->queued);
		HOLDS(list_empty(&p->by_index), "stopping, ready", pool_ready(p));
	}
	if (p->draining && !p->drain_told)
		HOLDS(p->queued + p->running + p->lease_count > 0, "drained", p->totals.received);
}
