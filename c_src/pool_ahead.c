/* pool_ahead.c - calls that are sent ahead to busy workers; see `Ahead` in pool.h.
 *
 * The happy path: ahead_serve() sends the next in line ahead; the worker takes it when its call has ended
 * (ahead_taken()), and with the answer to that it is the worker's call (ahead_next()).
 * What can go wrong: the worker sleeps before it could have seen it (it is passed on by the channel, for the
 * worker has told that it has taken nothing); the call before it takes long, the worker leaves, or somebody
 * of those concerned is not wanted any more (ahead_recall(), and ahead_recalled() knows more). */
#include "pool_private.h"

#include <assert.h>
#include <string.h>

/* ---- who may, and where ---- */

void ahead_learn(struct pool *p, uint64_t us)
{
	p->run_us8 += (us < AHEAD_LONGEST_US ? us : AHEAD_LONGEST_US) - p->run_us8 / 8;
}

static bool may_lead(const struct pool *p, const struct pool_worker *w)
{
	const struct pool_slot *s = w->slot;
	const struct pool_request *r = s->call[0].request;

	return w->state == WORKER_BUSY && !w->retiring && !w->recalling && w->session_count == 0 &&
	       s->depth == 1 && r != NULL && r->plain && !s->call[0].waits && s->lease == NULL &&
	       w->ahead_count < p->config.ahead &&
	       w->ahead_count * (p->run_us8 / 8) < AHEAD_PATIENCE_US &&
	       p->now_us - r->started_us < AHEAD_PATIENCE_US;
}

void ahead_lead(struct pool *p, struct pool_worker *w)
{
	list_remove(&w->leads);
	/* several at a time: half of them are gone */
	if (w->slots == 1 && w->ahead_count <= p->config.ahead / 2 && p->config.ahead > 0)
		list_append(&p->leads, &w->leads);
}

/* It waits for the call that runs since `from_us`. */
static void be_patient(struct pool *p, struct pool_worker *w, uint64_t from_us)
{
	heap_set(&p->patiences, &w->patience,
		 w->ahead_count > w->taken && !w->recalling ? from_us + AHEAD_PATIENCE_US
							    : POOL_NEVER);
}

static void send_ahead(struct pool *p, struct pool_worker *w, struct pool_request *r)
{
	line_take(p, r, true);
	r->ahead = true;
	r->slot = w->slot;
	w->ahead[w->ahead_count++] = (struct pool_ahead){ .id = r->id, .request = r };
	list_append(&p->ahead, &r->link);
	p->due |= BIT(POOL_AHEAD);
	p->totals.ahead++;
	if (!w->patience.queued)
		be_patient(p, w, w->slot->call[0].request->started_us);
}

void ahead_serve(struct pool *p)
{
	if (list_empty(&p->leads) || p->queued == 0 || p->paused || p->stopping ||
	    p->run_us8 / 8 > AHEAD_BRISK_US || p->serving - p->retiring > p->size)
		return;
	while (!list_empty(&p->leads)) {
		struct pool_worker *w = list_entry(p->leads.next, struct pool_worker, leads);
		struct pool_request *r;

		if (may_lead(p, w)) {
			if ((r = serve_first(p->queue)) == NULL || !r->plain)
				return;
			send_ahead(p, w, r);
		}
		list_remove(&w->leads);
		if (may_lead(p, w)) /* the others first */
			list_append(&p->leads, &w->leads);
	}
}

/* Its call has ended by itself, for the worker has taken the next one: the answer comes, and nobody gets it. */
static void await_end(struct pool *p, struct pool_slot *s)
{
	heap_set(&p->graces, &s->timer, pool_in(p, p->config.interrupt_grace_us));
}

/* ---- they come back ---- */

/* It was not taken: who waits for it waits in line again. */
static void give_back(struct pool *p, const struct pool_ahead *a)
{
	struct pool_request *r = a->request;

	if (r == NULL)
		return;
	p->totals.recalled++;
	r->ahead = false;
	r->slot = NULL;
	if (r->late)
		request_done(p, r, OUTCOME_TIMEOUT_QUEUE);
	else
		request_line_up(p, r);
}

/* POOL_RECALL is due. */
static void empty(struct pool *p, struct pool_worker *w)
{
	list_remove(&w->recall);
	list_append(&p->recalls, &w->recall);
	p->due |= BIT(POOL_RECALL);
}

void ahead_recall(struct pool *p, struct pool_worker *w)
{
	if (w->ahead_count == w->taken || w->recalling)
		return;
	w->recalling = true;
	list_remove(&w->leads);
	heap_remove(&p->patiences, &w->patience);
	empty(p, w);
}

void ahead_recall_all(struct pool *p)
{
	struct list *at;

	for (at = p->by_index.next; at != &p->by_index; at = at->next)
		ahead_recall(p, list_entry(at, struct pool_worker, by_index));
}

/* It has begun, or is about to. */
static void not_late(struct pool *p, struct pool_request *r)
{
	r->late = false;
	heap_set(&p->waits, &r->timer, r->deadline_us);
}

static bool is_among(uint64_t id, const uint64_t *ids, unsigned count)
{
	while (count > 0 && ids[count - 1] != id)
		count--;
	return count > 0;
}

/* Gives back those that came back; the worker has the others. */
static void sort_out(struct pool *p, struct pool_worker *w, const uint64_t *call_ids,
		     unsigned count)
{
	unsigned all = w->ahead_count;

	w->ahead_count = w->taken;
	for (unsigned i = w->taken; i < all; i++) {
		struct pool_ahead a = w->ahead[i];

		if (is_among(a.id, call_ids, count)) {
			give_back(p, &a);
			continue;
		}
		w->ahead[w->ahead_count++] = a;
		if (a.request != NULL)
			not_late(p, a.request);
	}
	w->taken = w->ahead_count;
}

void ahead_recalled(struct pool *p, struct pool_worker *w, const uint64_t *call_ids, unsigned count)
{
	struct pool_slot *s = w->slot;

	if (!w->recalling) {
		p->totals.late += !w->purging;
		w->purging = false;
		return;
	}
	w->recalling = false;
	sort_out(p, w, call_ids, count);
	worker_disowned(p, w);
	if (!s->put_off)
		return;
	s->put_off = false;
	if (w->taken == 0)
		call_abandoned(p, s, s->abandon, s->timed_out);
	else
		await_end(p, s);
}

/* ---- the worker takes them ---- */

void ahead_taken(struct pool *p, struct pool_worker *w, uint64_t call_id)
{
	struct pool_request *r;

	for (unsigned i = 0; i < w->taken; i++)
		if (w->ahead[i].id == call_id)
			return; /* POOL_RECALLED said so */
	if (w->taken == w->ahead_count || w->ahead[w->taken].id != call_id) {
		p->totals.late++;
		return;
	}
	r = w->ahead[w->taken++].request;
	if (w->taken == w->ahead_count)
		heap_remove(&p->patiences, &w->patience);
	if (r != NULL)
		not_late(p, r);
}

static struct pool_ahead take_first(struct pool_worker *w)
{
	struct pool_ahead a = w->ahead[0];

	w->ahead_count--;
	w->taken -= w->taken > 0;
	memmove(w->ahead, w->ahead + 1, w->ahead_count * sizeof *w->ahead);
	return a;
}

/* All come back. */
static void give_back_all(struct pool *p, struct pool_worker *w)
{
	unsigned all = w->ahead_count;

	w->ahead_count = 0;
	for (unsigned i = 0; i < all; i++) {
		struct pool_ahead a = w->ahead[i];

		give_back(p, &a);
	}
}

/* Whether it may still begin. */
static bool in_time(const struct pool *p, const struct pool_request *r)
{
	return r->deadline_us > p->now_us && r->queue_deadline_us > p->now_us;
}

/* Its call has ended, and it looks for none any more: all of them are still there. The first wakes it up. */
static bool pass_on(struct pool *p, struct pool_slot *s)
{
	struct pool_worker *w = s->worker;
	struct pool_request *r = w->ahead[0].request;

	assert(!w->recalling);               /* POOL_RECALLED came before the answer */
	if (w->retiring || !in_time(p, r)) { /* all of them wait again */
		w->purging = true;
		heap_remove(&p->patiences, &w->patience);
		empty(p, w);
		give_back_all(p, w);
		return false;
	}
	(void)take_first(w);
	r->ahead = false;
	s->since_us = p->now_us;
	request_run(p, r, s);
	s->call[0].was_ahead = true;
	be_patient(p, w, p->now_us);
	return true;
}

bool ahead_next(struct pool *p, struct pool_slot *s)
{
	struct pool_worker *w = s->worker;
	struct pool_ahead a;

	s->put_off = false; /* it has ended by itself */
	if (w->ahead_count == 0)
		return false;
	if (w->taken == 0)
		return pass_on(p, s);
	a = take_first(w);
	s->interrupted = s->closing = s->timed_out = false;
	heap_remove(&p->graces, &s->timer);
	s->call[0] = (struct pool_call){ .id = a.id, .request = a.request };
	s->depth = 1;
	s->since_us = p->now_us;
	be_patient(p, w, p->now_us);
	if (a.request == NULL) {
		if (!ahead_puts_off(p, s, a.abandon, a.timed_out))
			call_abandoned(p, s, a.abandon, a.timed_out);
		return true;
	}
	request_begun(p, a.request, s);
	ahead_lead(p, w);
	return true;
}

bool ahead_puts_off(struct pool *p, struct pool_slot *s, enum pool_abandon abandon, bool timed_out)
{
	struct pool_worker *w = s->worker;

	if (w->ahead_count == 0 || abandon == ABANDON_FINISH)
		return false;
	s->timed_out = timed_out;
	if (w->taken > 0) {
		await_end(p, s);
		return true;
	}
	s->put_off = true;
	s->abandon = abandon;
	ahead_recall(p, w);
	return true;
}

/* ---- one of them ends ---- */

static struct pool_ahead *find(struct pool_worker *w, uint64_t id)
{
	struct pool_ahead *a = w->ahead;

	while (a < w->ahead + w->ahead_count && a->id != id)
		a++;
	return a < w->ahead + w->ahead_count ? a : NULL;
}

void ahead_part(struct pool *p, struct pool_request *r, bool timed_out)
{
	struct pool_worker *w = r->slot->worker;
	struct pool_ahead *a = find(w, r->id);

	assert(a != NULL && a->request == r);
	a->request = NULL;
	a->abandon = r->abandon;
	a->timed_out = timed_out;
	r->ahead = false;
	r->slot = NULL;
	if (a >= w->ahead + w->taken)
		ahead_recall(p, w);
	worker_disowned(p, w);
}

void ahead_late(struct pool *p, struct pool_request *r)
{
	struct pool_worker *w = r->slot->worker;

	if (find(w, r->id) < w->ahead + w->taken) { /* only its deadline counts any more */
		request_done(p, r, OUTCOME_TIMEOUT_CALL);
		return;
	}
	r->late = true;
	heap_remove(&p->waits, &r->timer);
	ahead_recall(p, w);
}

void aheads_expire(struct pool *p)
{
	while (heap_due(&p->patiences, p->now_us)) {
		struct pool_worker *w =
			heap_entry(heap_min(&p->patiences), struct pool_worker, patience);

		heap_remove(&p->patiences, &w->patience);
		ahead_recall(p, w);
	}
}

/* ---- the worker ends ---- */

void ahead_withdraw(struct pool *p, struct pool_worker *w)
{
	list_remove(&w->leads);
	heap_remove(&p->patiences, &w->patience);
	ahead_recall(p, w);
}

/* It was begun there after all. */
static void begin_late(struct pool *p, struct pool_worker *w, struct pool_ahead *a)
{
	struct pool_request *r = a->request;

	a->request = NULL;
	r->slot = NULL;
	request_begun(p, r, NULL);
	r->worker_id = w->id;
}

void ahead_bereave(struct pool *p, struct pool_worker *w)
{
	for (unsigned i = 0; i < w->ahead_count; i++) {
		struct pool_request *r = w->ahead[i].request;

		if (r == NULL)
			continue;
		begin_late(p, w, &w->ahead[i]);
		request_lost_worker(p, r, false);
	}
	w->ahead_count = w->taken = 0;
	w->recalling = w->purging = false;
	list_remove(&w->recall);
}

void ahead_stop(struct pool *p, struct pool_worker *w)
{
	for (unsigned i = 0; i < w->ahead_count; i++)
		if (w->ahead[i].request != NULL)
			request_done(p, w->ahead[i].request, OUTCOME_DRAINING);
}

bool ahead_last_words(struct pool *p, struct pool_worker *w, uint64_t call_id)
{
	struct pool_ahead *a = find(w, call_id);
	struct pool_request *r = a != NULL ? a->request : NULL;

	if (r == NULL)
		return false;
	begin_late(p, w, a);
	request_done(p, r, OUTCOME_OK);
	worker_disowned(p, w);
	return true;
}

bool ahead_owned(const struct pool_worker *w)
{
	for (unsigned i = 0; i < w->ahead_count; i++)
		if (w->ahead[i].request != NULL)
			return true;
	return false;
}
