/* node_pool.c - the pump: the sole caller of pool_step(); performs what the pool decides.
 *
 * Every callback that means something to the pool ends in node_pool_event(). Performing an action never
 * calls back: a start that fails at once is noted in `failed_ids` and told as an event after the actions
 * of the step, so nothing re-enters a transition. */
#include "node_failures.h"
#include "node_private.h"

#include "buf.h"
#include "log.h"
#include "splitmix.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_timer(uv_timer_t *timer)
{
	struct node_pool *p = timer->data;

	p->armed_us = POOL_NEVER;
	node_pool_event(p, &(struct pool_event){ .type = POOL_TICK });
}

/* Arms the timer for the pool's next deadline. An earlier one that is armed stays: it costs one wake-up
 * and saves a re-arm for each of many requests with the same time-out. */
static void arm(struct node_pool *p)
{
	uint64_t next = pool_next_tick(p->pool), now, wait_ms;

	if (next == POOL_NEVER || next >= p->armed_us || p->node->stage == NODE_CLOSING)
		return;
	now = node_now_us();
	wait_ms = next > now ? (next - now + 999) / 1000 : 0;
	p->armed_us = next;
	uv_update_time(&p->node->loop);
	uv_timer_start(&p->timer, on_timer, wait_ms, 0);
}

/* It was sent ahead to a worker that sleeps: the packet there becomes the frame that the worker waits for. 0 or a
 * negative errno; -ENOENT: it is not there. */
static int pass_on(struct node_worker *w, uint64_t call_id)
{
	uint8_t packet[AHEAD_PACKET_MAX], *frame = packet + AHEAD_ID_BYTES - FRAME_LENGTH_BYTES;
	size_t len = ahead_queue_first(worker_ahead(w->io), call_id, packet);

	if (len == 0)
		return -ENOENT;
	len -= AHEAD_ID_BYTES;
	put_u32(frame, (uint32_t)len);
	return worker_send(w->io, frame, FRAME_LENGTH_BYTES + len);
}

static int send_frame(struct node_worker *w, struct node_request *r)
{
	node_request_fill_in(r);
	return r->in_parcel ? worker_send_parcel(w->io, node_request_parcel(r))
			    : worker_send(w->io, node_request_frame(r), r->pool.bytes);
}

static void run(struct node_pool *p, const struct pool_action *a)
{
	struct node_request *r = node_request_of(a->request);
	struct node_worker *w = node_worker_find(p, a->worker_id);
	int rc = a->was_ahead ? pass_on(w, a->call_id) : -ENOENT;

	if (rc == -ENOENT)
		rc = send_frame(w, r);
	if (node_hears(p))
		node_event_call_start(p, r, w);
	if (rc != 0)
		log_line(LOG_WARNING, w->object, "cannot send it a call: its channel is broken");
}

static void send_ahead(struct node_pool *p, const struct pool_action *a)
{
	struct node_request *r = node_request_of(a->request);

	node_request_fill_in(r);
	ahead_queue_send(worker_ahead(node_worker_find(p, a->worker_id)->io), a->call_id,
			 node_request_frame(r) + FRAME_LENGTH_BYTES,
			 r->pool.bytes - FRAME_LENGTH_BYTES);
}

/* Told as an event after the actions of the step. */
static void recall(struct node_pool *p, struct node_worker *w)
{
	w->recalled_count = ahead_queue_recall(worker_ahead(w->io), w->recalled);
	list_remove(&w->recall);
	list_append(&p->recalls, &w->recall);
}

/* Sends a frame that has nothing but its type and an id. */
static void send_bare(struct node_worker *w, enum frame_to_worker type, uint64_t id)
{
	uint8_t bytes[64]; /* a number of 9 bytes, a few more: it needs no memory */
	struct buf out = { .data = bytes, .cap = sizeof bytes };
	size_t start = frame_begin(&out, type, id, 0);

	frame_end(&out, start);
	if (worker_send(w->io, bytes, out.len) != 0)
		log_line(LOG_WARNING, w->object, "cannot send it a frame of type %d", (int)type);
}

/* A signal says nothing of which call is meant: it is for workers of one slot. */
static void interrupt(struct node_worker *w, uint64_t call_id)
{
	send_bare(w, FRAME_INTERRUPT, call_id);
	if (pool_worker(w->pool->pool, w->id)->slots == 1)
		node_worker_signal(w, SIGINT, false);
}

static void done(struct node_pool *p, struct node_request *r)
{
	node_callbacks_end_request(r);
	node_failures_done(p, r);
	if (r->verb == VERB_CHECKOUT && r->pool.outcome == OUTCOME_OK) {
		answer_count(p, r, ANSWER_OK);
		if (r->lease->pool.slot != NULL)
			node_session_begins(r->lease->pool.slot->session);
		node_lease_granted(r);
	} else if (r->verb == VERB_STREAM && node_stream_done(p, r)) {
		r->stream = NULL;
	} else {
		if (r->verb == VERB_CHECKOUT) {
			node_lease_free(r->lease);
			r->lease = NULL;
		}
		answer_outcome(p, r);
	}
	if (node_hears(p))
		node_event_call_stop(p, r);
	node_request_free(r);
}

static void start_worker(struct node_pool *p, uint64_t id)
{
	unsigned index = node_index_free(p);

	if (node_hears(p))
		node_event_worker_started(p, id, index);
	node_worker_start(p, id, index);
}

/* It hangs. Before it is forked there is nobody who could say where. One that was stopped hears SIGABRT when
 * it goes on, before anything else. */
static void let_it_say_where(struct node_worker *w)
{
	if (w != NULL && w->os_pid == 0) {
		node_worker_signal(w, SIGKILL, true);
		return;
	}
	node_worker_signal(w, SIGABRT, false);
	node_worker_signal(w, SIGCONT, false);
}

/* A worker is told to go: what for, if that was not its own doing. */
static void tell_why(const struct node_pool *p, struct node_worker *w, const struct pool_action *a)
{
	bool hangs = a->why == WHY_UNRESPONSIVE || a->why == WHY_TIMEOUT;

	if (w == NULL || w->told_why)
		return;
	w->told_why = true;
	if (hangs && w->killed_for == NULL)
		w->killed_for = pool_why_name(a->why);
	if (a->why == WHY_UNRESPONSIVE)
		log_line(LOG_WARNING, w->object, "does not answer: killed and replaced");
	else if (a->why == WHY_TIMEOUT)
		log_line(LOG_WARNING, w->object, "its call ran out of time: killed and replaced");
	else if (a->why >= WHY_RECYCLE && a->why <= WHY_SURPLUS)
		log_line(LOG_INFO, w->object, "leaves after %llu calls: %s",
			 (unsigned long long)pool_worker(p->pool, w->id)->calls,
			 pool_why_name(a->why));
}

static void perform(struct node_pool *p, const struct pool_action *a)
{
	if (a->why != WHY_NONE)
		tell_why(p, node_worker_find(p, a->worker_id), a);
	switch (a->type) {
	case POOL_START:
		start_worker(p, a->worker_id);
		break;
	case POOL_RUN:
		run(p, a);
		break;
	case POOL_BEGUN:
		if (node_hears(p))
			node_event_call_start(p, node_request_of(a->request),
					      node_worker_find(p, a->worker_id));
		break;
	case POOL_AHEAD:
		send_ahead(p, a);
		break;
	case POOL_RECALL:
		recall(p, node_worker_find(p, a->worker_id));
		break;
	case POOL_PROBE:
		send_bare(node_worker_find(p, a->worker_id), FRAME_PING, a->call_id);
		break;
	case POOL_INTERRUPT:
		interrupt(node_worker_find(p, a->worker_id), a->call_id);
		break;
	case POOL_CLOSE:
		send_bare(node_worker_find(p, a->worker_id), FRAME_CLOSE, a->call_id);
		break;
	case POOL_END_SESSION:
		node_session_end_frame(node_worker_find(p, a->worker_id), a->session, a->call_id);
		break;
	case POOL_END:
		if (node_hears(p) && a->why >= WHY_RECYCLE && a->why <= WHY_MAX_RSS)
			node_event_worker_replaced(node_worker_find(p, a->worker_id), a->why);
		worker_end(node_worker_find(p, a->worker_id)->io);
		break;
	case POOL_TERMINATE:
		node_worker_signal(node_worker_find(p, a->worker_id), SIGTERM, true);
		break;
	case POOL_ABORT:
		let_it_say_where(node_worker_find(p, a->worker_id));
		break;
	case POOL_KILL:
		node_worker_signal(node_worker_find(p, a->worker_id), SIGKILL, true);
		break;
	case POOL_DONE:
		done(p, node_request_of(a->request));
		break;
	case POOL_OPENED:
		node_stream_opened(node_request_of(a->request));
		break;
	case POOL_SESSION_ENDED:
		node_session_ended(a->session);
		break;
	case POOL_LEASE_ENDED:
		node_lease_ended(a->lease);
		break;
	case POOL_DRAINED:
		p->drained = p->has_drained = true;
		break;
	}
}

static void step(struct node_pool *p, const struct pool_event *ev)
{
	struct pool_event event = *ev;
	struct pool_action action;

	event.random = splitmix_next(&p->node->random);
	node_stepped(p->node);
	pool_step(p->pool, &event, node_now_us());
	while (pool_next(p->pool, &action))
		perform(p, &action);
}

static void tell_recalled(struct node_pool *p)
{
	struct node_worker *w = list_entry(p->recalls.next, struct node_worker, recall);

	list_remove(&w->recall);
	step(p, &(struct pool_event){ .type = POOL_RECALLED,
				      .worker_id = w->id,
				      .call_ids = w->recalled,
				      .count = w->recalled_count });
}

static void tell_failed(struct node_pool *p, uint64_t id)
{
	struct node_worker *w = node_worker_find(p, id);

	p->dying = w;
	step(p, &(struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = id, .failed = true });
	p->dying = NULL;
	if (w != NULL)
		node_worker_gone(w);
}

/* What callers hear then, and why, is told once: not for each start that is tried. */
static void log_circuit(struct node_pool *p)
{
	const struct breaker *b = pool_breaker(p->pool);
	bool closed = breaker_state(b) == BREAKER_CLOSED;

	if (closed != p->circuit_open)
		return;
	p->circuit_open = !closed;
	if (closed)
		log_line(LOG_INFO, p->object, "circuit closed: a worker has started");
	else
		log_line(LOG_ERROR, p->object,
			 "circuit open: %u starts in a row have failed; they are tried one at a "
			 "time",
			 b->failures);
}

void node_pool_event(struct node_pool *p, const struct pool_event *ev)
{
	struct pool_session *orphan;

	assert(!p->pumping);
	p->pumping = true;
	step(p, ev);
	if (ev->type == POOL_CONFIGURE || ev->type == POOL_WORKER_READY)
		node_memory_watch(p);
	for (;;) {
		struct pool_event wait;

		if (!list_empty(&p->recalls)) /* before anything else is said of those workers */
			tell_recalled(p);
		else if ((orphan = node_session_next_orphan(p)) != NULL)
			step(p,
			     &(struct pool_event){ .type = POOL_SESSION_END, .session = orphan });
		else if (p->failed_count > 0)
			tell_failed(p, p->failed_ids[--p->failed_count]);
		else if (node_callbacks_next_wait(p, &wait))
			step(p, &wait);
		else
			break;
	}
	p->pumping = false;
	if (!list_empty(&p->waiting))
		node_await_check(p);
	arm(p);
	log_circuit(p);
	if (node_hears(p))
		node_event_pool_changed(p);
	if (p->drained) {
		p->drained = false;
		if (node_hears(p))
			node_event_pool(p, EVENT_POOL_DRAINED, NULL);
		node_drained_tell(p);
		node_drained(p->node);
		node_pool_has_drained(p);
	}
	node_events_flush_some(p->node);
}

void node_pool_refused(struct node_pool *p, enum answer_kind kind)
{
	pool_count_refused(p->pool);
	p->answers[kind]++;
}

/* The lowest that no pool has. */
static uint16_t free_number(const struct node *n)
{
	const struct node_pool *p = NULL;
	uint16_t number = 1;

	while ((p = node_pool_any_next(n, p)) != NULL) {
		if (p->number != number)
			continue;
		number++;
		p = NULL; /* from the first again: there are few */
	}
	return number;
}

struct node_pool *node_pool_new(struct node *n, struct config_pool *config)
{
	struct node_pool *p = mem_zalloc(sizeof *p);

	if (p == NULL)
		return NULL;
	p->node = n;
	node_pool_take_options(p, config);
	snprintf(p->object, sizeof p->object, "pool %.80s", config->name);
	list_init(&p->waiting);
	list_init(&p->drains);
	list_init(&p->reloads);
	list_init(&p->orphans);
	list_init(&p->waits);
	list_init(&p->recalls);
	p->armed_us = POOL_NEVER;
	if ((p->pool = pool_new(&p->limits)) == NULL) {
		mem_free(p);
		return NULL;
	}
	uv_timer_init(&n->loop, &p->timer);
	p->timer.data = p;
	node_deadlock_init(p);
	node_forkserver_init(p);
	p->number = free_number(n);
	list_append(&n->pools, &p->link);
	n->pool_count++;
	p->heard = n->heard;
	node_event_pool_seen(p);
	return p;
}

struct node_pool *node_pool_next(const struct node *n, const struct node_pool *p)
{
	struct node_pool *next = node_pool_any_next(n, p);

	while (next != NULL && next->leaving)
		next = node_pool_any_next(n, next);
	return next;
}

struct node_pool *node_pool_named(const struct node *n, struct span name)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_next(n, p)) != NULL)
		if (strlen(p->config->name) == name.len &&
		    memcmp(p->config->name, name.at, name.len) == 0)
			return p;
	return NULL;
}

struct node_pool *node_pool_default(const struct node *n)
{
	struct node_pool *p = node_pool_named(n, (struct span){ (const uint8_t *)"default", 7 });

	return p != NULL ? p : node_pool_next(n, NULL);
}

struct node_pool *node_pool_rpc(const struct node *n)
{
	struct node_pool *p = NULL;

	while ((p = node_pool_next(n, p)) != NULL)
		if (p->config->rpc)
			return p;
	return NULL;
}

void node_pool_free(struct node_pool *p)
{
	node_events_pool_gone(p);
	list_remove(&p->link);
	if (p->leaving)
		config_pool_free(p->config);
	else
		p->node->pool_count--;
	pool_free(p->pool);
	node_failures_free(p);
	mem_free(p);
}
