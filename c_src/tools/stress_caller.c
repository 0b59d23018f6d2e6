/* stress_caller.c - one simulated process: born, asks, gives up, dies.
 *
 * The happy path: born -> asks -> the answer -> a short pause -> asks -> ...
 * What it may do instead, as BEAM processes do: die at once after the request, while it waits, when the
 * answer is in its mailbox but not taken, right after it, or with a lease in its hands; give up after
 * its own time-out and go on. A process that dies sends what a BEAM sends for it: DEMONITOR for its
 * monitors, MONITOR_P_EXIT to those who monitor it, EXIT over its links, in any order. */
#include "stress.h"

#include "mem.h"

#include <string.h>

#define RESPAWN_US 20000

struct term_pid caller_pid(const struct caller *c)
{
	return (struct term_pid){ .node = c->sim->name,
				  .node_len = (uint16_t)strlen(c->sim->name),
				  .id = PID_BASE + c->slot,
				  .serial = c->serial,
				  .creation = c->sim->creation };
}

struct buf *caller_out(struct caller *c)
{
	return sim_out(c->sim);
}

void caller_say(struct caller *c, const char *what, uint64_t nonce, uint64_t more)
{
	c->ring[c->events++ % RING] = (struct event){ now_us(), nonce, more, what };
}

/* ---- a life ---- */

static void next(struct caller *c)
{
	struct stress *s = c->s;
	uint64_t r = rnd_to(s, s->options.mix_sum);
	unsigned kind = 0;

	if (c->waiting != NULL)
		return; /* it has done something meanwhile */
	if (c->stream != NULL) {
		stream_step(c);
		return;
	}
	if (c->lease.held || c->ghost || lease_inherit(c)) {
		lease_step(c);
		return;
	}
	if (s->phase != PHASE_RUN)
		return;
	while (r >= s->options.mix[kind])
		r -= s->options.mix[kind++];
	switch ((enum mix)kind) {
	case MIX_CALL:
		call_send(c);
		break;
	case MIX_CHECKOUT:
		checkout_send(c);
		break;
	case MIX_CAST:
		cast_send(c);
		break;
	case MIX_STREAM:
		stream_send(c, NULL);
		break;
	case MIX_SESSION:
		session_send(c);
		break;
	case MIX_BATCH:
		batch_send(c, NULL);
		break;
	default:
		junk_send(c);
	}
}

static void on_alarm(void *arg)
{
	struct caller *c = arg;

	c->s->current = c;
	switch (c->wake) {
	case WAKE_BORN:
		caller_born(c);
		break;
	case WAKE_NEXT:
		next(c);
		break;
	case WAKE_FATE:
		if (c->fate == FATE_GIVE_UP)
			caller_give_up(c);
		else
			caller_die(c);
		break;
	}
	c->s->current = NULL;
}

void caller_wake_in(struct caller *c, enum wake wake, uint64_t us)
{
	c->wake = wake;
	c->alarm.fn = on_alarm;
	c->alarm.arg = c;
	alarm_set(c->s, &c->alarm, now_us() + us);
}

void caller_next_soon(struct caller *c, bool failed)
{
	uint64_t think = c->s->options.think_ms * 1000;

	/* who was refused does not try again at once */
	caller_wake_in(c, WAKE_NEXT,
		       rnd_to(c->s, think + 1) + (failed ? 2000 + rnd_to(c->s, 20000) : 0));
}

void caller_born(struct caller *c)
{
	if (c->sim->state != SIM_UP || c->s->phase > PHASE_RUN)
		return;
	c->alive = true;
	c->overseen_us = 0;
	c->fate = FATE_NONE;
	caller_say(c, "born", 0, c->serial);
	caller_next_soon(c, false);
}

void caller_give_up(struct caller *c)
{
	struct ask *a = c->waiting;

	if (a == NULL)
		return;
	caller_say(c, "gives up", a->nonce, 0);
	c->fate = FATE_NONE;
	outcome_count(c->s, a, OUT_GAVE_UP);
	lease_gave_up(c, a);
	ask_cut(a);
	caller_next_soon(c, false);
}

static void cut_all(struct caller *c)
{
	struct list *pos, *tmp;

	list_each (pos, tmp, &c->asks) {
		struct ask *a = list_entry(pos, struct ask, by_caller);

		if (a->cut == 0)
			ask_cut(a);
	}
}

static void tell_watchers(struct caller *c)
{
	struct term_pid pid = caller_pid(c);

	while (!list_empty(&c->watchers)) {
		struct watcher *w = list_entry(c->watchers.next, struct watcher, link);

		wire_down(caller_out(c), &pid, &w->from, (struct span){ w->ref, w->ref_len },
			  "killed");
		list_remove(&w->link);
		mem_free(w);
	}
}

void caller_die(struct caller *c)
{
	struct stress *s = c->s;
	struct term_pid pid = caller_pid(c);
	bool watchers_first = rnd_to(s, 2) == 0;

	if (!c->alive)
		return;
	caller_say(c, "dies", c->waiting != NULL ? c->waiting->nonce : 0, c->lease.held);
	if (c->waiting != NULL)
		outcome_count(s, c->waiting, OUT_DIED);
	lease_drop(c);
	stream_drop(c);
	sessions_owner_gone(c);
	if (watchers_first)
		tell_watchers(c);
	cut_all(c);
	tell_watchers(c);
	if (c->link.state == LINK_LINKED)
		wire_exit(caller_out(c), OP_EXIT, &pid, &c->link.pid, "killed");
	c->link.state = LINK_NONE;
	c->alive = false;
	c->serial++;
	c->fate = FATE_NONE;
	s->respawns++;
	caller_wake_in(c, WAKE_BORN, rnd_to(s, RESPAWN_US));
}

void caller_lost(struct caller *c)
{
	struct stress *s = c->s;

	if (c->waiting != NULL)
		outcome_count(s, c->waiting, OUT_LOST);
	lease_drop(c);
	stream_lost(c);
	sessions_owner_gone(c);
	while (!list_empty(&c->asks)) {
		struct ask *a = list_entry(c->asks.next, struct ask, by_caller);

		session_unheard(a, true);

		if (a->countable && a->answers == 0)
			s->countable_lost++;
		ask_free(a);
	}
	while (!list_empty(&c->watchers)) {
		struct watcher *w = list_entry(c->watchers.next, struct watcher, link);

		list_remove(&w->link);
		mem_free(w);
	}
	alarm_clear(s, &c->alarm);
	c->link.state = LINK_NONE;
	if (c->alive)
		caller_say(c, "lost with its node", 0, 0);
	c->alive = false;
	c->serial++;
}

/* ---- answers ---- */

static void learn_usual(struct stress *s, const struct ask *a, uint64_t took)
{
	double *usual = a->name != NULL ? &s->usual_us : &s->usual_lease_us;

	*usual += ((double)took - *usual) / 64;
}

void caller_heard(struct caller *c, struct ask *a, const uint8_t *reply)
{
	struct stress *s = c->s;
	uint64_t took = now_us() - a->sent_us;
	enum outcome o = answer_judge(a, reply);

	caller_say(c, outcome_names[o], a->nonce, took);
	if (c->fate == FATE_DIE_UNHEARD) {
		answer_unheard(a, reply);
		caller_die(c);
		return;
	}
	outcome_count(s, a, o);
	learn_usual(s, a, took);
	if (o == OUT_OK && a->kind != ASK_PING && a->kind != ASK_AUTH)
		histogram_add(&s->latency, took);
	alarm_clear(s, &c->alarm);
	a->released = o == OUT_OK && (a->kind == ASK_CHECKIN || a->kind == ASK_GIVE_AWAY);
	ask_cut(a);
	if (a->kind == ASK_CHECKOUT || a->name == NULL)
		lease_heard(c, a, o, reply);
	if (o == OUT_OK && a->stream != NULL)
		stream_granted(a, answer_second(reply, "ok"));
	if (!c->alive)
		return;
	if (c->fate == FATE_DIE)
		caller_die(c);
	else
		caller_next_soon(c, o != OUT_OK && o != OUT_PYTHON && o != OUT_REFUSED &&
					    o != OUT_SESSION_LOST && o != OUT_NO_SESSION);
}

/* A monitor of a request fired: gen_server:call/3 exits, and our process has caught that. */
void caller_down(struct caller *c, struct ask *a, const uint8_t *reason)
{
	(void)reason;
	caller_say(c, "down", a->nonce, 0);
	outcome_count(c->s, a, OUT_DOWN);
	alarm_clear(c->s, &c->alarm);
	ask_cut(a);
	lease_heard(c, a, OUT_DOWN, NULL);
	if (c->fate == FATE_DIE || c->fate == FATE_DIE_UNHEARD)
		caller_die(c);
	else
		caller_next_soon(c, false);
}
