/* pool_check_worker.c - proves the invariants of workers, their slots, and leases. */
#include "pool_check.h"

/* The calls of a slot (2). */
static void check_calls(const struct pool_slot *s)
{
	const struct pool_worker *w = s->worker;

	HOLDS(s->depth <= POOL_NEST_MAX, "depth on worker", w->id);
	for (unsigned i = 0; i < s->depth; i++)
		HOLDS(s->call[i].id != 0 && !(s->call[i].id & PROBE_BIT), "call on worker", w->id);
}

static void check_serving_slot(const struct pool *p, const struct pool_slot *s)
{
	const struct pool_worker *w = s->worker;
	bool timer = s->timer.queued;

	HOLDS((s->probe_id != 0) == (s->state == WORKER_PROBING), "probe of worker", w->id);
	HOLDS(s->ends == NULL || s->state == WORKER_PROBING, "end by worker", w->id);
	HOLDS(!s->health || s->state == WORKER_PROBING, "probe of worker", w->id);
	HOLDS((s->depth > 0) == (s->state == WORKER_BUSY), "calls of worker", w->id);
	HOLDS((!s->interrupted && !s->closing) || s->state == WORKER_BUSY, "worker", w->id);
	HOLDS(s->session == NULL || (s->state != WORKER_IDLE && s->ends == NULL), "session on",
	      w->id);
	switch (s->state) {
	case WORKER_IDLE:
		HOLDS(s->lease == NULL && !timer, "idle worker", w->id);
		break;
	case WORKER_LEASED:
		HOLDS(s->lease != NULL && !timer, "leased worker", w->id);
		break;
	case WORKER_BUSY:
		HOLDS(!timer || ((s->interrupted || s->closing || w->taken > 0) &&
				 s->call[0].request == NULL),
		      "busy worker", w->id);
		break;
	case WORKER_PROBING:
		HOLDS(!s->health || s->ends == NULL, "probing worker", w->id);
		HOLDS((s->probe_id & PROBE_BIT) && s->probe_id - PROBE_BIT <= p->last_probe_id,
		      "probing worker", w->id);
		break;
	default:
		HOLDS(false, "slot of worker", w->id);
	}
}

static void check_slot(const struct pool *p, const struct pool_slot *s)
{
	static const unsigned fits[WORKER_STATES] = {
		[WORKER_BUSY] = BIT(POOL_RUN) | BIT(POOL_INTERRUPT),
		[WORKER_PROBING] = BIT(POOL_PROBE) | BIT(POOL_END_SESSION),
	};
	const struct pool_worker *w = s->worker;

	check_calls(s);
	HOLDS(s->lease == NULL || s->lease->slot == s, "lease of worker", w->id);
	HOLDS(s->lease == NULL || lease_find(p, s->lease->id) == s->lease, "lease of", w->id);
	if (w->state == WORKER_STARTING || w->state == WORKER_STOPPING) {
		HOLDS(s->state == w->state, "slot of worker", w->id);
		HOLDS(s->probe_id == 0 && !s->timer.queued && s->session == NULL, "slot of", w->id);
		HOLDS(list_empty(&s->act) && list_empty(&s->closes), "slot of", w->id);
	} else {
		check_serving_slot(p, s);
	}
	if (list_empty(&s->act))
		return;
	HOLDS(fits[s->state] & BIT(s->pending), "action of worker", w->id);
	HOLDS(s->pending != POOL_RUN || s->call[s->depth - 1].request != NULL, "action", w->id);
	HOLDS((s->pending == POOL_END_SESSION) <= (s->ends != NULL), "action of", w->id);
}

/* What a worker has, and which timer, by its state (2). */
static void check_worker(const struct pool *p, const struct pool_worker *w)
{
	static const unsigned fits[WORKER_STATES] = {
		[WORKER_STARTING] = BIT(POOL_START),
		[WORKER_STOPPING] =
			BIT(POOL_END) | BIT(POOL_TERMINATE) | BIT(POOL_KILL) | BIT(POOL_ABORT),
	};
	bool timer = w->timer.queued, owned = false;

	HOLDS(worker_find(p, w->id) == w, "worker", w->id);
	HOLDS(w->id <= p->last_worker_id && w->since_us <= p->now_us, "worker", w->id);
	for (const struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		HOLDS(s->worker == w, "slot of worker", w->id);
		check_slot(p, s);
		owned = owned || s->lease != NULL;
		for (unsigned i = 0; i < s->depth; i++)
			owned = owned || s->call[i].request != NULL;
	}
	owned = owned || ahead_owned(w);
	HOLDS(list_empty(&w->act) || (fits[w->state] & BIT(w->pending)), "action of", w->id);
	switch (w->state) {
	case WORKER_STARTING:
		break;
	case WORKER_STOPPING:
		HOLDS(w->stop_phase <= 2 && (!owned || w->dumping || w->stop_phase == 2),
		      "stopping", w->id);
		HOLDS(w->stop_phase < 2 || !timer || owned, "stopping worker", w->id);
		HOLDS(!w->dumping || w->stop_phase == 1, "dumping worker", w->id);
		break;
	default:
		HOLDS(!timer, "serving worker", w->id);
	}
}

/* What was sent ahead. */
static void check_ahead(const struct pool_worker *w)
{
	bool serves = w->state != WORKER_STARTING && w->state != WORKER_STOPPING;

	HOLDS(w->ahead_count <= POOL_AHEAD_MAX && w->taken <= w->ahead_count, "ahead of", w->id);
	HOLDS(w->ahead_count == 0 || w->state == WORKER_BUSY || w->state == WORKER_STOPPING,
	      "ahead of", w->id);
	HOLDS(w->ahead_count == 0 || (w->slots == 1 && !w->slot->interrupted), "ahead of", w->id);
	HOLDS(!w->recalling || w->ahead_count > w->taken, "recall of", w->id);
	HOLDS(!w->slot->put_off || (w->recalling && w->slot->call[0].request == NULL), "put off on",
	      w->id);
	HOLDS(serves || (list_empty(&w->leads) && !w->patience.queued), "ahead of", w->id);
	/* Nobody waits here for long (3). */
	HOLDS(w->patience.queued == (serves && w->ahead_count > w->taken && !w->recalling),
	      "patience of", w->id);
	HOLDS(serves || w->recalling || w->ahead_count == w->taken, "ahead of", w->id);
	for (unsigned i = 0; i < w->ahead_count; i++) {
		const struct pool_request *r = w->ahead[i].request;

		HOLDS(w->ahead[i].id != 0, "ahead of", w->id);
		if (r == NULL) {
			HOLDS(i < w->taken || w->recalling, "unwanted, ahead of", w->id);
			continue;
		}
		HOLDS(r->id == w->ahead[i].id && r->ahead && r->slot == w->slot, "ahead", r->id);
		HOLDS(!r->late || (i >= w->taken && w->recalling), "late", r->id);
		HOLDS(r->plain && r->kind == POOL_CALL && pool_request_session(r) == NULL, "ahead",
		      r->id);
	}
}

/* It is offered exactly when it has a free slot, in the line of those with as many calls; and then
 * nobody waits for it (3). */
static void check_offer(const struct pool *p, const struct pool_worker *w)
{
	HOLDS(list_empty(&w->offered) == (w->retiring || w->in[WORKER_IDLE] == 0), "offer of",
	      w->id);
	if (list_empty(&w->offered))
		return;
	HOLDS(list_empty(&w->ends), "free slot for the ends of worker", w->id);
	HOLDS(p->paused || serve_first(w->pinned) == NULL, "free slot for the pinned of", w->id);
}

/* Its state is what its slots are (1). */
static void check_sum(const struct pool_worker *w)
{
	enum worker_state state = w->in[WORKER_BUSY] > 0      ? WORKER_BUSY
				  : w->in[WORKER_PROBING] > 0 ? WORKER_PROBING
				  : w->in[WORKER_LEASED] > 0  ? WORKER_LEASED
							      : WORKER_IDLE;
	unsigned in[WORKER_STATES] = { 0 };

	for (unsigned i = 0; i < w->slots; i++)
		in[w->slot[i].state]++;
	for (unsigned i = 0; i < WORKER_STATES; i++)
		HOLDS(in[i] == w->in[i], "slots of worker", w->id);
	if (w->state != WORKER_STARTING && w->state != WORKER_STOPPING)
		HOLDS(w->state == state, "state of worker", w->id);
}

static void check_lists(const struct pool *p, unsigned serving)
{
	const struct list *at;
	unsigned index = 0, hashed = 0, count = 0;
	uint64_t last_ready = 0;

	for (at = p->by_index.next; at != &p->by_index; at = at->next) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, by_index);

		HOLDS(w->state != WORKER_STOPPING && w->index >= index, "index of", w->id);
		index = w->index + 1;
		count++;
	}
	HOLDS(count == serving + p->count[WORKER_STARTING], "workers by index", count);
	for (unsigned i = 0; i < POOL_SLOTS_MAX; i++)
		for (at = p->offered[i].next; at != &p->offered[i]; at = at->next) {
			const struct pool_worker *w = list_entry(at, struct pool_worker, offered);

			HOLDS(w->slots - w->in[WORKER_IDLE] == i, "load of worker", w->id);
		}
	for (at = p->trials.next; at != &p->trials; at = at->next) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, trial);

		HOLDS(w->state != WORKER_STARTING && w->state != WORKER_STOPPING, "trial", w->id);
		HOLDS(w->ready_us >= last_ready && w->calls == 0, "trial of worker", w->id);
		last_ready = w->ready_us;
	}
	for (unsigned i = 0; i < POOL_HASH; i++)
		for (const struct pool_worker *w = p->worker_hash[i]; w != NULL; w = w->hash_next)
			hashed++;
	HOLDS(hashed == count + p->count[WORKER_STOPPING], "hashed workers", hashed);
}

void check_workers(const struct pool *p)
{
	unsigned in[WORKER_STATES] = { 0 }, serving = 0, retiring = 0, timers = 0, graces = 0;
	unsigned leaving = 0, turns = 0, healths = 0, ages = 0, checking = 0, patiences = 0;
	uint64_t last_id = 0;
	const struct list *at;

	for (at = p->workers.next; at != &p->workers; at = at->next) {
		const struct pool_worker *w = list_entry(at, struct pool_worker, all);

		HOLDS(w->id > last_id && w->state != WORKER_GONE, "order of worker", w->id);
		last_id = w->id;
		check_sum(w);
		check_worker(p, w);
		check_offer(p, w);
		check_ahead(w);
		if (w->state == WORKER_STARTING || w->state == WORKER_STOPPING) {
			HOLDS(!w->retiring && list_empty(&w->sessions), "worker", w->id);
			HOLDS(!w->recycled || w->state == WORKER_STARTING, "worker", w->id);
			HOLDS(!w->health.queued && !w->age.queued, "watch of worker", w->id);
			HOLDS(list_empty(&w->recycle), "turn of worker", w->id);
			in[w->state]++;
		} else {
			serving++;
			retiring += w->retiring;
			leaving += w->retiring && w->recycled;
			turns += !list_empty(&w->recycle);
			HOLDS(!w->recycled || w->why != WHY_NONE, "reason of worker", w->id);
			HOLDS((w->recycled && !w->retiring) == !list_empty(&w->recycle), "turn of",
			      w->id);
			for (unsigned i = WORKER_IDLE; i <= WORKER_PROBING; i++)
				in[i] += w->in[i];
		}
		timers += w->timer.queued;
		patiences += w->patience.queued;
		healths += w->health.queued;
		ages += w->age.queued;
		for (unsigned i = 0; i < w->slots; i++) {
			graces += w->slot[i].timer.queued;
			checking += w->slot[i].health;
		}
	}
	for (unsigned i = 0; i < WORKER_STATES; i++)
		HOLDS(in[i] == p->count[i], worker_state_name(i), in[i]); /* 1 */
	HOLDS(serving == p->serving && retiring == p->retiring, "serving workers", serving);
	HOLDS(leaving == p->leaving, "leaving workers", leaving);
	HOLDS(retiring == leaving || serving - retiring >= p->size, "retiring workers", retiring);
	HOLDS(turns == 0 || serving - retiring <= p->size, "turns of workers", turns);
	check_heap(&p->timers, timers, "timers");
	check_heap(&p->graces, graces, "graces");
	check_heap(&p->healths, healths, "healths");
	check_heap(&p->ages, ages, "ages");
	check_heap(&p->patiences, patiences, "patiences");
	HOLDS(checking == p->checking, "slots probed for health", checking);
	HOLDS(p->size >= p->config.size && p->size <= range_max(p), "size", p->size);
	check_lists(p, serving);
	/* Whoever is missing is due: now that the step is over, only the breaker or memory may delay. */
	HOLDS(p->stopping || workers_there(p) >= workers_wanted(p) ||
		      p->start_at_us != POOL_NEVER || p->breaker.probing,
	      "missing workers, size", p->size);
}

void check_leases(const struct pool *p)
{
	unsigned count = 0, hashed = 0;
	const struct list *at;

	for (at = p->leases.next; at != &p->leases; at = at->next) {
		const struct pool_lease *lease = list_entry(at, struct pool_lease, link);

		HOLDS(lease_find(p, lease->id) == lease, "lease", lease->id);
		HOLDS(lease->slot != NULL && lease->slot->lease == lease, "lease", lease->id);
		HOLDS(lease->worker_id == lease->slot->worker->id, "lease", lease->id);
		count++;
	}
	HOLDS(count == p->lease_count, "leases", count);
	for (unsigned i = 0; i < POOL_HASH; i++)
		for (const struct pool_lease *l = p->lease_hash[i]; l != NULL; l = l->hash_next)
			hashed++;
	HOLDS(hashed == count, "hashed leases", hashed);
	for (at = p->ended.next; at != &p->ended; at = at->next) {
		const struct pool_lease *lease = list_entry(at, struct pool_lease, link);

		HOLDS(lease->slot == NULL && list_empty(&lease->waiting), "lease", lease->id);
	}
}
