/* stress_lease.c - a process that holds a lease.
 *
 * The happy path: granted -> (monitor, link) -> calls on it -> checkin -> DOWN with `normal`.
 * Also: exit(Lease, kill); give_away to a living process of any peer, or to a dead one; a second checkin
 * and calls when it is gone; the death of the owner. A lease is in doubt once we have given up a call on
 * it (the node may have killed its worker) or do not know whether it was given away; what is asked of a
 * lease in doubt may be answered either way, but it is answered.
 *
 * A lease that ends though nobody of us ended it is a surprise; there must not be more of those than
 * workers that we have killed. */
#include "stress.h"

#define DEAD_HEIRS 15 /* percent */

bool pid_same(const struct term_pid *a, const struct term_pid *b)
{
	return a->id == b->id && a->serial == b->serial && a->creation == b->creation;
}

void lease_granted(struct caller *c, const struct term_pid *pid)
{
	struct stress *s = c->s;
	struct term_pid self = caller_pid(c);

	c->lease =
		(struct lease){ .held = true, .pid = *pid, .calls_left = (unsigned)rnd_to(s, 4) };
	c->lease.pid.node = s->node_name;
	if (rnd_to(s, 2) == 0) {
		c->lease.monitor = ask_new(c, ASK_MONITOR);
		ask_watch(c->lease.monitor, NULL, &c->lease.pid);
	}
	if (c->link.state == LINK_NONE && rnd_to(s, 5) == 0) {
		c->link.state = LINK_LINKED;
		c->link.pid = c->lease.pid;
		c->link.due_us = NEVER;
		wire_pair(caller_out(c), OP_LINK, &self, &c->lease.pid);
	}
}

bool lease_inherit(struct caller *c)
{
	if (c->inherited == 0)
		return false;
	c->inherited--;
	c->lease = (struct lease){ .held = true,
				   .pid = c->inherit[c->inherited].pid,
				   .doubtful = c->inherit[c->inherited].doubtful,
				   .was_given = true,
				   .calls_left = (unsigned)rnd_to(c->s, 2) };
	caller_say(c, "takes over", 0, c->lease.pid.id);
	return true;
}

/* `heir` is given the lease. One who waits for a worker gives that up: the lease in its hands may be the
 * very worker that it waits for. */
static void bequeath(struct caller *heir, const struct term_pid *pid, bool doubtful)
{
	if (heir->inherited == INHERIT_MAX) {
		caller_die(heir);
		return;
	}
	heir->inherit[heir->inherited].pid = *pid;
	heir->inherit[heir->inherited++].doubtful = doubtful;
	caller_say(heir, "is given", 0, pid->id);
	if (heir->waiting != NULL && heir->waiting->tag == TAG_MULTI)
		caller_die(heir); /* that cannot be given up */
	else if (heir->waiting != NULL && heir->waiting->name != NULL)
		caller_give_up(heir);
	else if (heir->waiting == NULL)
		caller_wake_in(heir, WAKE_NEXT, 0);
}

void lease_surprise(struct caller *c)
{
	struct stress *s = c->s;

	caller_say(c, "lease ended, not by us", 0, c->lease.pid.id);
	if (++s->surprises > s->workers_killed &&
	    s->status.slots <= 1) /* else for what another did */
		fail(s, c, "lease %u.%u of a living owner ended, and no worker was killed for it",
		     c->lease.pid.id, c->lease.pid.serial);
}

void lease_ended(struct caller *c, bool normal)
{
	uint64_t due = now_us() + c->s->options.slack_ms * 1000;
	struct ask *m = c->lease.monitor;

	if (m != NULL) {
		m->due_us = due;
		m->normal = normal && !c->lease.doubtful ? "a lease that was checked in" : NULL;
	}
	if (c->link.state == LINK_LINKED && pid_same(&c->link.pid, &c->lease.pid))
		c->link.due_us = due;
	c->lease.monitor = NULL;
	c->lease.held = false;
	c->lease.session = NULL;
	c->lease.os_pid = 0;
}

void lease_witness(struct caller *c, const struct term_pid *pid, uint64_t from_us)
{
	struct ask *m;

	if (c->sim->state != SIM_UP)
		return;
	m = ask_new(c, ASK_MONITOR);
	m->due_us = from_us + c->s->options.slack_ms * 1000;
	ask_watch(m, NULL, pid);
}

/* ---- the end of it ---- */

static void send_word(struct caller *c, enum ask_kind kind, const char *word)
{
	size_t start;
	struct ask *a = request_begin(c, kind, NULL, &c->lease.pid, &start);

	a->doubtful = c->lease.doubtful;
	a->gone = !c->lease.held && !c->lease.doubtful;
	term_put_atom(caller_out(c), word);
	request_send(a, start, 0);
}

/* Somebody to give it to: a living process that has room, or a dead one. NULL: nobody was found. */
static struct caller *some_heir(struct caller *c, bool dead)
{
	struct stress *s = c->s;

	for (int tries = 0; tries < 10; tries++) {
		struct caller *heir = &s->callers[rnd_to(s, s->options.callers)];

		if (heir != c && heir->sim->state == SIM_UP && heir->inherited < INHERIT_MAX - 1 &&
		    (dead ? heir->serial > 0 : heir->alive))
			return heir;
	}
	return NULL;
}

static bool give_away(struct caller *c)
{
	bool dead = rnd_pct(c->s, DEAD_HEIRS);
	struct caller *heir = some_heir(c, dead);
	struct term_pid pid;
	struct ask *a;
	size_t start;

	/* one who is linked would take the lease with it when it dies */
	if (heir == NULL || c->lease.was_given || c->lease.session != NULL ||
	    (c->link.state != LINK_NONE && pid_same(&c->link.pid, &c->lease.pid)))
		return false;
	pid = caller_pid(heir);
	if (dead)
		pid.serial = heir->serial - 1;
	c->lease.os_pid = 0;
	a = request_begin(c, ASK_GIVE_AWAY, NULL, &c->lease.pid, &start);
	a->doubtful = c->lease.doubtful;
	a->heir_slot = heir->slot;
	a->heir_serial = pid.serial;
	a->heir_dead = dead;
	term_put_tuple(caller_out(c), 2);
	term_put_atom(caller_out(c), "give_away");
	term_put_pid(caller_out(c), &pid);
	request_send(a, start, 0);
	return true;
}

static void unlink_lease(struct caller *c)
{
	struct term_pid self = caller_pid(c);

	if (c->link.state != LINK_LINKED || !pid_same(&c->link.pid, &c->lease.pid))
		return;
	c->link.state = LINK_UNLINKING;
	c->link.unlink_id = 1 + (rnd(c->s) >> rnd_to(c->s, 63));
	c->link.due_us = now_us() + c->s->options.slack_ms * 1000;
	wire_unlink(caller_out(c), OP_UNLINK, c->link.unlink_id, &self, &c->link.pid);
}

static void exit_it(struct caller *c, bool kill)
{
	struct term_pid self = caller_pid(c);

	wire_exit(caller_out(c), OP_EXIT2, &self, &c->lease.pid, kill ? "kill" : "shutdown");
	caller_say(c, "exits lease", 0, c->lease.pid.id);
	lease_ended(c, false);
}

void lease_leave(struct caller *c, bool checkin)
{
	c->lease.os_pid = 0;
	if (checkin)
		send_word(c, ASK_CHECKIN, "checkin");
	else
		exit_it(c, rnd_to(c->s, 2) == 0);
}

static void end_it(struct caller *c)
{
	struct stress *s = c->s;
	uint64_t r = s->phase == PHASE_RUN ? rnd_to(s, 100) : 99;

	c->lease.os_pid = 0; /* from here on it may have another owner before we hear of it */
	if (r < 8) {
		exit_it(c, r < 4);
		caller_next_soon(c, false);
	} else if (r < 12 && now_us() >= c->spared_us) {
		caller_die(c);
	} else if (r >= 24 || !give_away(c)) {
		if (r < 40)
			unlink_lease(c);
		send_word(c, ASK_CHECKIN, "checkin");
	}
}

static void call_it(struct caller *c, bool ghost)
{
	struct stress *s = c->s;
	bool stuck = rnd_pct(s, s->options.stuck),
	     brief = rnd_pct(s, stuck ? 40 : s->options.brief);
	uint64_t timeout_ms = brief ? 1 + rnd_to(s, 100) : s->options.timeout_ms;
	enum ask_kind kind = stuck                            ? ASK_STUCK
			     : rnd_pct(s, s->options.slow)    ? ASK_SLEEP
			     : c->lease.os_pid == 0 && !ghost ? ASK_OS_PID
							      : ASK_IDENTITY;
	bool steps = c->lease.session != NULL && !ghost && !stuck && rnd_to(s, 4) > 0;
	size_t start;
	struct ask *a = steps ? session_lease_call(c, &start)
			      : request_begin(c, kind, NULL, &c->lease.pid, &start);

	a->doubtful = c->lease.doubtful;
	a->gone = ghost && !c->lease.doubtful;
	if (steps)
		session_put_step(a, caller_out(c), timeout_ms, false);
	else
		request_put_call(a, caller_out(c), timeout_ms);
	request_send(a, start, timeout_ms * 1000);
}

/* Somebody else's lease refuses us: a call or a checkin of a stranger changes nothing for its owner. One
 * that is just being given away may be ours before we know, so those are left alone. */
bool lease_steal(struct caller *c)
{
	struct stress *s = c->s;

	for (int tries = 0; tries < 30; tries++) {
		const struct caller *other = &s->callers[rnd_to(s, s->options.callers)];
		struct ask *a;
		size_t start;

		if (other == c || !other->lease.held || other->lease.doubtful ||
		    other->waiting == NULL || other->waiting->kind == ASK_GIVE_AWAY)
			continue;
		a = request_begin(c, rnd_to(s, 2) == 0 ? ASK_CHECKIN : ASK_IDENTITY, NULL,
				  &other->lease.pid, &start);
		a->thief = true;
		if (a->kind == ASK_CHECKIN)
			term_put_atom(caller_out(c), "checkin");
		else
			request_put_call(a, caller_out(c), s->options.timeout_ms);
		request_send(a, start, a->kind == ASK_CHECKIN ? 0 : s->options.timeout_ms * 1000);
		return true;
	}
	return false;
}

/* A stream or a batch on it, in their share of what is done; or a call. */
static void other_or_call(struct caller *c)
{
	const unsigned *mix = c->s->options.mix;
	uint64_t r = rnd_to(c->s, c->s->options.mix_sum);

	if (r < mix[MIX_STREAM])
		stream_send(c, &c->lease.pid);
	else if (r < mix[MIX_STREAM] + mix[MIX_BATCH])
		batch_send(c, &c->lease.pid);
	else
		call_it(c, false);
}

void lease_step(struct caller *c)
{
	if (c->ghost) {
		c->ghost = false;
		if (rnd_to(c->s, 2) == 0)
			send_word(c, ASK_CHECKIN, "checkin");
		else
			call_it(c, true);
	} else if (c->lease.calls_left > 0 && c->s->phase == PHASE_RUN) {
		c->lease.calls_left--;
		other_or_call(c);
	} else {
		end_it(c);
	}
}

/* ---- what is heard ---- */

static void given(struct caller *c, const struct ask *a)
{
	struct caller *heir = &c->s->callers[a->heir_slot];

	c->lease.monitor = NULL; /* it stays on, and fires when the heir is done */
	c->lease.held = false;
	c->lease.session = NULL;
	if (heir->alive && heir->serial == a->heir_serial)
		bequeath(heir, &a->pid, c->lease.doubtful);
	else
		lease_witness(c->sim->control, &a->pid, sim_answers_by(heir->sim, now_us()));
}

/* The lease is no more. `ours`: by something that we did. */
static void gone(struct caller *c, bool ours)
{
	if (!c->lease.held)
		return;
	if (!ours && !c->lease.doubtful)
		lease_surprise(c);
	lease_ended(c, false);
}

void lease_gone(struct caller *c)
{
	gone(c, true);
}

void lease_heard(struct caller *c, const struct ask *a, enum outcome o, const uint8_t *reply)
{
	const uint8_t *e;
	struct term_pid pid;
	uint32_t arity;
	int64_t n;

	if (a->kind == ASK_CHECKOUT) {
		if (o == OUT_OK && term_tuple(reply, &arity, &e) && term_pid(term_skip(e), &pid)) {
			lease_granted(c, &pid);
			c->lease.session = a->session;
		}
		return;
	}
	if (!pid_same(&a->pid, &c->lease.pid))
		return;
	switch (o) {
	case OUT_OK:
		if (a->kind == ASK_CHECKIN && c->lease.held) {
			lease_ended(c, true);
			c->ghost = rnd_to(c->s, 5) == 0;
		} else if (a->kind == ASK_GIVE_AWAY && c->lease.held) {
			given(c, a);
		} else if (a->kind == ASK_OS_PID && c->lease.held && !c->lease.doubtful &&
			   term_tuple(reply, &arity, &e) && term_int(term_skip(e), &n)) {
			admin_os_pid_held(c, (uint64_t)n);
		}
		break;
	case OUT_TIMEOUT_CALL:
	case OUT_WORKER_EXIT: /* judged where the answer was */
		gone(c, true);
		break;
	case OUT_LEASE_CLOSED:
	case OUT_DOWN:
		gone(c, a->gone || a->doubtful);
		break;
	case OUT_NOT_OWNER:
		c->lease.monitor = NULL;
		c->lease.held = false;
		c->lease.session = NULL;
		break;
	default:
		break;
	}
}

void lease_gave_up(struct caller *c, const struct ask *a)
{
	if (a->name == NULL && c->lease.held && pid_same(&a->pid, &c->lease.pid)) {
		c->lease.doubtful = true; /* if its call ran, its worker is killed */
		c->lease.os_pid = 0;
	}
}

void lease_drop(struct caller *c)
{
	struct stress *s = c->s;
	const struct ask *a = c->waiting;
	bool giving = a != NULL && a->kind == ASK_GIVE_AWAY;

	if (giving) {
		struct caller *heir = &s->callers[a->heir_slot];

		if (heir->alive && heir->serial == a->heir_serial && heir->sim->state == SIM_UP)
			bequeath(heir, &a->pid, true);
	} else if (c->lease.held && c->alive && rnd_to(s, 3) == 0) {
		lease_witness(c->sim->control, &c->lease.pid, now_us());
	}
	while (c->inherited > 0)
		if (c->alive)
			lease_witness(c->sim->control, &c->inherit[--c->inherited].pid, now_us());
		else
			c->inherited--;
	c->lease = (struct lease){ 0 };
	c->ghost = false;
}
