/* stress_conduct.c - the phases of a run.
 *
 *   begin    the node is started, or its port is asked for
 *   ready    the clean peer is connected; all workers are idle: the figures at rest
 *   run      everything at once, for --seconds
 *   calm     half of the processes are killed, the others hear their answers and give back what they hold;
 *            then the node must have no monitor on any of them
 *   settle   everybody is dead: sessions and generators are counted (stress_settle.c)
 *   rest     workers, workers, queue, leases, monitors and totals must be as they should
 *   gone     the peers have left: the descriptors must be as before
 *   end      a node of our own is stopped, and must end with status 0
 *
 * Every phase has its longest time; a node that does not come to rest in it has failed. */
#include "stress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define TURN_US  10000 /* between two looks */
#define PAUSES   10    /* a peer does not read in one of so many turns */
#define SWEEP_US 250000
#define LAG_US   SECOND_US /* we did not run for so long: nobody is accused of being late */
#define BEGIN_US (60 * SECOND_US)
#define READY_US (90 * SECOND_US)
#define REST_US  (20 * SECOND_US)
#define GONE_US  (15 * SECOND_US)
#define END_US   (30 * SECOND_US)

static void enter(struct stress *s, enum phase phase)
{
	s->phase = phase;
	s->phase_us = now_us();
	s->progress_us = 0;
	if (phase > PHASE_READY)
		admin_status_want(s);
}

static bool overtime(const struct stress *s, uint64_t us)
{
	return now_us() - s->phase_us > us;
}

/* ---- chaos ---- */

/* Exponential pauses: as events of a rate are in nature. */
static uint64_t pause_us(struct stress *s, double per_second)
{
	double u = (double)(1 + rnd_to(s, 1000)) / 1000;

	return (uint64_t)(-log(u) / per_second * 1e6);
}

static void on_drop(void *arg)
{
	struct stress *s = arg;
	struct sim *sim = &s->sims[rnd_to(s, s->options.peers)];
	uint64_t how = rnd_to(s, s->options.hostile ? 4 : 3);

	if (s->phase != PHASE_RUN)
		return;
	sim_vanish(sim, (enum vanish)how);
	alarm_set(s, &s->dropper, now_us() + pause_us(s, s->options.peer_drops));
}

static void on_kill(void *arg)
{
	struct stress *s = arg;

	if (s->phase != PHASE_RUN)
		return;
	s->kills_due++;
	alarm_set(s, &s->killer, now_us() + pause_us(s, s->options.workers_killed));
}

static void on_act(void *arg)
{
	struct stress *s = arg;

	if (s->phase != PHASE_RUN)
		return;
	operator_acts(s);
	alarm_set(s, &s->actor, now_us() + pause_us(s, s->options.operate));
}

/* ---- what is overdue; ticks ---- */

static void sweep_peer(struct sim *sim, uint64_t now)
{
	struct stress *s = sim->s;
	uint64_t tick_us = (uint64_t)s->options.net_ticktime_s * SECOND_US;

	if (sim->state == SIM_UP) {
		if (now - sim->heard_us > tick_us + tick_us / 4 && now >= s->lenient_until_us) {
			fail(s, NULL,
			     "%s has heard nothing for %u s: a BEAM would say the node is down",
			     sim->name, s->options.net_ticktime_s);
			sim->heard_us = now;
		}
		if (now - sim->ticked_us >= tick_us / 4) {
			wire_tick(sim_out(sim));
			sim->ticked_us = now;
		}
	} else if (sim->state == SIM_DIALLING && now - sim->dialled_us > 10 * SECOND_US &&
		   now >= s->lenient_until_us) {
		fail(s, NULL, "%s: the handshake is not over after 10 s", sim->name);
		sim->dialled_us = now;
	}
}

static void on_sweep(void *arg)
{
	struct stress *s = arg;
	uint64_t now = now_us();

	if (now - s->swept_us > SWEEP_US + LAG_US) {
		s->lenient_until_us = now + s->options.slack_ms * 1000;
		s->lags++;
	}
	s->swept_us = now;
	for (unsigned i = 0; i < s->slots && now >= s->lenient_until_us; i++)
		ask_overdue(&s->callers[i], now);
	for (unsigned i = 0; i <= s->options.peers; i++)
		sweep_peer(&s->sims[i], now);
	alarm_set(s, &s->sweep, now + SWEEP_US);
}

/* ---- the phases ---- */

static void begin(struct stress *s)
{
	if (s->options.spawn && !s->node_ready) {
		if (overtime(s, BEGIN_US))
			fatal(s, "the node did not say that it is ready");
		return;
	}
	sim_dial(&s->sims[s->options.peers]);
	admin_start(s);
	enter(s, PHASE_READY);
}

static void ready(struct stress *s)
{
	unsigned fds = proc_descriptors(s->status.os_pid);

	if (overtime(s, READY_US)) {
		fatal(s, s->status.os_pid == 0
				 ? "the node does not answer"
				 : "the node's workers are not all idle: is somebody using it?");
	} else if (s->status.os_pid != 0 && status_at_rest(&s->status) && overtime(s, SECOND_US)) {
		if (s->before.valid && fds == s->fds_before) { /* twice the same */
			s->before = s->status;
			enter(s, PHASE_RUN);
			s->run_us = now_us();
			for (unsigned i = 0; i < s->options.peers; i++)
				sim_dial(&s->sims[i]);
			s->dropper = (struct alarm){ .fn = on_drop, .arg = s };
			s->killer = (struct alarm){ .fn = on_kill, .arg = s };
			if (s->options.peer_drops > 0)
				alarm_set(s, &s->dropper,
					  s->run_us + pause_us(s, s->options.peer_drops));
			s->actor = (struct alarm){ .fn = on_act, .arg = s };
			if (s->options.operate > 0)
				alarm_set(s, &s->actor,
					  s->run_us + pause_us(s, s->options.operate));
			if (s->options.workers_killed > 0)
				alarm_set(s, &s->killer,
					  s->run_us + pause_us(s, s->options.workers_killed));
			return;
		}
		s->before = s->status;
		s->before.valid = true;
		s->fds_before = fds;
	}
}

static void calm_down(struct stress *s)
{
	s->calm_us = s->quiet_us = now_us();
	enter(s, PHASE_CALM);
	operator_leaves(s);
	for (unsigned i = 0; i < s->options.peers; i++)
		if (s->sims[i].state != SIM_UP)
			sim_leave(&s->sims[i]);
	for (unsigned i = 0; i < s->options.callers; i++) {
		struct caller *c = &s->callers[i];

		if ((c->alive && rnd_to(s, 2) == 0) ||
		    (c->waiting != NULL &&
		     (c->waiting->kind == ASK_STUCK || c->waiting->kind == ASK_SESSION_STUCK)))
			caller_die(c);
		else
			c->fate = FATE_NONE; /* it wants to hear its answer now */
		if (c->alive && c->wake == WAKE_FATE)
			alarm_clear(s, &c->alarm);
		if (c->alive)
			stream_calm(c);
	}
}

/* Whether something is still to come for it. */
static bool awaits(const struct caller *c)
{
	const struct list *pos;

	if (c->alive && !c->control &&
	    (c->waiting != NULL || c->stream != NULL || c->lease.held || c->ghost ||
	     c->inherited > 0))
		return true;
	for (pos = c->asks.next; pos != &c->asks; pos = pos->next) {
		const struct ask *a = list_entry(pos, struct ask, by_caller);

		if (a->cut != 0 || a->due_us != NEVER)
			return true;
	}
	return c->link.state != LINK_NONE && c->link.due_us != NEVER;
}

static void calm(struct stress *s)
{
	uint64_t most = (s->options.timeout_ms + 2 * s->options.slack_ms) * 1000 + REST_US,
		 now = now_us();
	struct caller *waits = NULL, *watched = NULL;

	for (unsigned i = 0; i < s->slots; i++) {
		struct caller *c = &s->callers[i];

		if (!c->sim->admin && awaits(c))
			waits = c;
		if (!c->sim->admin && !list_empty(&c->watchers) && sessions_owned(c) == 0)
			watched = c;
	}
	if (waits != NULL)
		s->quiet_us = now;
	if (overtime(s, most) && waits != NULL)
		fail(s, waits, "process %u does not come to its end", waits->slot);
	else if (watched != NULL && now - s->quiet_us > s->options.slack_ms * 1000)
		fail(s, watched,
		     "the node still monitors process %u, which neither waits nor holds anything",
		     watched->slot);
	else if (waits != NULL || watched != NULL)
		return;
	for (unsigned i = 0; i < s->options.callers; i++)
		caller_die(&s->callers[i]);
	enter(s, PHASE_SETTLE);
	settle_start(s);
}

static void settle(struct stress *s)
{
	bool late = overtime(s, (uint64_t)s->options.net_ticktime_s * 2 * SECOND_US + 2 * REST_US);

	if (late && !settled(s))
		fail(s, NULL,
		     "sessions and generators cannot be counted: step %d, %u of %u answers",
		     (int)s->settle.step, s->settle.answered, s->settle.asked);
	if (settled(s) || late)
		enter(s, PHASE_REST);
}

/* Whether the status that was asked for is there; a node that does not say it any more ends the run. */
static bool answers_status(struct stress *s)
{
	if (admin_status_fresh(s))
		return true;
	if (overtime(s, 2 * REST_US))
		fatal(s, "the node does not answer");
	return false;
}

static void rest(struct stress *s)
{
	if (!answers_status(s))
		return;
	s->after = s->status;
	if (!(status_at_rest(&s->after) && s->after.monitors == s->before.monitors) &&
	    !overtime(s, REST_US)) {
		admin_status_want(s);
		return;
	}
	verdict_rest(s);
	for (unsigned i = 0; i < s->options.peers; i++)
		sim_leave(&s->sims[i]);
	enter(s, PHASE_GONE);
}

static void all_gone(struct stress *s)
{
	if (!answers_status(s))
		return;
	s->fds_after = proc_descriptors(s->status.os_pid);
	if ((s->status.peers != s->before.peers || s->fds_after != s->fds_before ||
	     !status_at_rest(&s->status)) &&
	    !overtime(s, GONE_US)) {
		admin_status_want(s);
		return;
	}
	verdict(s, s->status.peers == s->before.peers, "peers as before",
		"%" PRIu64 ", before %" PRIu64, s->status.peers, s->before.peers);
	verdict(s, s->fds_after == s->fds_before, "descriptors as before", "%u, before %u, most %u",
		s->fds_after, s->fds_before, s->fds_max);
	verdict_memory(s);
	enter(s, PHASE_END);
	alarm_clear(s, &s->admin_alarm);
	sim_leave(&s->sims[s->options.peers]);
	spawn_stop(s);
}

static void end(struct stress *s)
{
	bool by_itself = s->exited && !s->node_killed;

	if (s->spawned && !s->exited && !overtime(s, END_US + SECOND_US)) {
		if (overtime(s, END_US))
			spawn_kill(s);
		return;
	}
	if (s->spawned)
		verdict(s, by_itself && s->exit_status == 0 && s->exit_signal == 0,
			"the node has ended",
			by_itself ? "status %lld, signal %d"
				  : "no: it still ran after 30 s and was killed",
			(long long)s->exit_status, s->exit_signal);
	uv_stop(&s->loop);
}

static void on_baton(void *arg)
{
	struct stress *s = arg;

	for (unsigned i = 0; i < s->options.peers; i++) {
		sim_barrier(&s->sims[i]);
		sim_pause(&s->sims[i], s->phase == PHASE_RUN && rnd_to(s, PAUSES) == 0);
	}
	switch (s->fatal != NULL ? PHASE_END : s->phase) {
	case PHASE_BEGIN:
		begin(s);
		break;
	case PHASE_READY:
		ready(s);
		break;
	case PHASE_RUN:
		if (overtime(s, (uint64_t)(s->options.seconds * 1e6)) ||
		    s->failures >= FAILURES_MAX)
			calm_down(s);
		break;
	case PHASE_CALM:
		calm(s);
		break;
	case PHASE_SETTLE:
		settle(s);
		break;
	case PHASE_REST:
		rest(s);
		break;
	case PHASE_GONE:
		all_gone(s);
		break;
	case PHASE_END:
		if (s->phase != PHASE_END) {
			enter(s, PHASE_END);
			spawn_stop(s);
		}
		end(s);
		break;
	}
	progress(s);
	alarm_set(s, &s->baton, now_us() + TURN_US);
}

void conduct(struct stress *s)
{
	s->baton = (struct alarm){ .fn = on_baton, .arg = s };
	s->sweep = (struct alarm){ .fn = on_sweep, .arg = s };
	s->swept_us = s->phase_us = now_us();
	alarm_set(s, &s->baton, s->phase_us);
	alarm_set(s, &s->sweep, s->phase_us + SWEEP_US);
}
