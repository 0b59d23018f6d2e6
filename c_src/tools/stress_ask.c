/* stress_ask.c - the books: every reference that we sent, and what may still come for it.
 *
 *   live --answer--> cut --barrier--> forgotten
 *        --gave up, died--> cut
 *        --connection lost--> forgotten at once
 *
 * What has been sent before a barrier (stress_barrier.c) the node knows when that is acknowledged. */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>

struct ask *ask_new(struct caller *c, enum ask_kind kind)
{
	struct ask *a = mem_zalloc(sizeof *a);

	if (a == NULL)
		abort(); /* a test driver without memory has nothing to say */
	a->caller = c;
	a->kind = kind;
	a->nonce = (uint64_t)c->slot << NONCE_SLOT_SHIFT | ++c->sequence;
	a->serial = c->serial;
	a->sent_us = now_us();
	a->due_us = NEVER;
	list_init(&a->by_tomb);
	list_append(&c->asks, &a->by_caller);
	return a;
}

void ask_free(struct ask *a)
{
	struct caller *c = a->caller;

	if (c->waiting == a)
		c->waiting = NULL;
	if (c->lease.monitor == a)
		c->lease.monitor = NULL;
	stream_forget_monitor(c, a);
	stream_free(a->stream);
	session_leave(a);
	list_remove(&a->by_caller);
	list_remove(&a->by_tomb);
	mem_free(a);
}

struct ask *ask_find(struct caller *c, uint64_t nonce)
{
	struct list *pos, *next;

	list_each (pos, next, &c->asks) {
		struct ask *a = list_entry(pos, struct ask, by_caller);

		if (a->nonce == nonce)
			return a;
	}
	return NULL;
}

struct wire_ref ask_ref(const struct ask *a)
{
	const struct sim *sim = a->caller->sim;

	return (struct wire_ref){ .node = sim->name,
				  .creation = sim->creation,
				  .words = sim->ref_words,
				  .nonce = a->nonce };
}

static struct wire_to target(const struct ask *a)
{
	return (struct wire_to){ .pid = a->name == NULL ? &a->pid : NULL, .name = a->name };
}

void ask_watch(struct ask *a, const char *name, const struct term_pid *pid)
{
	struct term_pid from = caller_pid(a->caller);
	struct wire_ref ref = ask_ref(a);

	a->name = name;
	if (name == NULL)
		a->pid = *pid;
	a->monitors = true;
	wire_monitor(caller_out(a->caller), OP_MONITOR, &from, target(a), &ref);
}

void ask_unwatch(struct ask *a)
{
	struct term_pid from = caller_pid(a->caller);
	struct wire_ref ref = ask_ref(a);

	if (!a->monitors)
		return;
	a->monitors = false;
	wire_monitor(caller_out(a->caller), OP_DEMONITOR, &from, target(a), &ref);
}

void ask_cut(struct ask *a)
{
	struct sim *sim = a->caller->sim;

	if (a->cut != 0)
		return;
	ask_unwatch(a);
	if (a->companion != NULL) {
		ask_cut(a->companion);
		a->companion = NULL;
	}
	/* The next one to be sent. A multi_call has no signal that cancels it: the node hears of the
	 * caller's end by a monitor of its own, whose DOWN we have sent when the next one is back. */
	a->cut = sim->barrier + (a->tag == TAG_MULTI ? 2 : 1);
	a->due_us = NEVER;
	if (a->caller->waiting == a)
		a->caller->waiting = NULL;
	if (a->caller->lease.monitor == a)
		a->caller->lease.monitor = NULL;
	stream_forget_monitor(a->caller, a);
	list_append(&sim->tombs, &a->by_tomb);
}

/* The node knows that this request is over: it monitors its caller no longer on its behalf. A process
 * waits for one request at a time, and an inherited lease is not given back to who gave it. */
static void judge_watchers(const struct ask *a)
{
	struct caller *c = a->caller;
	const struct list *pos;
	unsigned for_requests = 0, for_lease = 0, owned;

	if (!c->alive || c->serial != a->serial || !a->asks)
		return;
	for (pos = c->watchers.next; pos != &c->watchers; pos = pos->next) {
		const struct watcher *w = list_entry(pos, struct watcher, link);

		for_requests += pid_same(&w->from, &c->s->node_pid);
		for_lease += a->released && pid_same(&w->from, &a->pid);
	}
	owned = for_requests > (c->waiting != NULL) ? sessions_owned(c) : 0;
	if (for_requests <= (c->waiting != NULL) + owned)
		c->overseen_us = 0;
	else if (c->overseen_us == 0) /* a session ends when its worker has been told */
		c->overseen_us = now_us();
	else if (now_us() - c->overseen_us > c->s->options.slack_ms * 1000)
		fail(c->s, c,
		     "the node monitors it %u times for requests, and it waits for %d, and owns %u "
		     "sessions",
		     for_requests, c->waiting != NULL, owned);
	if (for_lease > 0)
		fail(c->s, c,
		     "the node still monitors it as the owner of lease %u.%u, which it has %s",
		     a->pid.id, a->pid.serial,
		     a->kind == ASK_CHECKIN ? "checked in" : "given away");
}

void ask_retire(struct sim *sim, uint64_t barrier)
{
	streams_retire(sim, barrier);
	while (!list_empty(&sim->tombs)) {
		struct ask *a = list_entry(sim->tombs.next, struct ask, by_tomb);

		if (a->cut > barrier)
			return;
		judge_watchers(a);
		ask_free(a);
	}
}

/* How the wait for an ordinary request, or a control request, may end in the end. */
static void tell_overdue(struct caller *c, struct ask *a, uint64_t now)
{
	struct stress *s = c->s;

	if (a->kind == ASK_MONITOR)
		fail(s, c, "a monitor never fired: nonce %llx, on %s %u.%u, awaited since %.3f s",
		     (unsigned long long)a->nonce, a->name != NULL ? a->name : "pid", a->pid.id,
		     a->pid.serial, (double)(now - a->due_us + s->options.slack_ms * 1000) / 1e6);
	else
		fail(s, c, "no answer to %s, nonce %llx, time-out %.3f s, sent %.3f s ago",
		     ask_names[a->kind], (unsigned long long)a->nonce, (double)a->timeout_us / 1e6,
		     (double)(now - a->sent_us) / 1e6);
	a->due_us = NEVER;
	/* so that it goes on, and comes to its end */
	if (c->waiting == a && a->tag == TAG_MULTI)
		caller_die(c);
	else if (c->waiting == a)
		caller_give_up(c);
}

/* A give_away is answered when the heir's BEAM has said that it lives, or is known to be gone. */
static bool is_overdue(const struct ask *a, uint64_t now)
{
	const struct stress *s = a->caller->s;

	if (a->cut != 0 || a->due_us >= now)
		return false;
	return a->kind != ASK_GIVE_AWAY ||
	       sim_answers_by(s->callers[a->heir_slot].sim, a->sent_us) +
			       s->options.slack_ms * 1000 <
		       now;
}

void ask_overdue(struct caller *c, uint64_t now)
{
	struct list *pos, *next;

	list_each (pos, next, &c->asks) {
		struct ask *a = list_entry(pos, struct ask, by_caller);

		if (is_overdue(a, now))
			tell_overdue(c, a, now);
	}
	stream_overdue(c, now);
	if (c->link.state != LINK_NONE && c->link.due_us < now) {
		fail(c->s, c, "%s of %u.%u is overdue",
		     c->link.state == LINK_LINKED ? "the EXIT of a link to what has ended"
						  : "the UNLINK_ID_ACK",
		     c->link.pid.id, c->link.pid.serial);
		c->link.due_us = NEVER;
	}
}

void outcome_count(struct stress *s, const struct ask *a, enum outcome o)
{
	if (a->kind < ASK_MONITOR)
		s->outcomes[o]++;
}
