/* stress_peer.c - one simulated BEAM node: dials, vanishes, comes back.
 *
 *   down -> dialling -> up -> (silent ->) down -> ...
 *
 * It comes back as a new node (new creation: new pids) or, sometimes, as the same one whose connection was
 * cut, while the node may still hold the old connection and must then answer `alive`. Vanishing: the
 * connection is closed; reset; or says and reads nothing more, as a suspended machine, until the node
 * has had enough or the peer is replaced. When its peer vanishes every process of it is lost: nothing
 * that they asked may be answered to their successors. */
#include "stress.h"

#include <string.h>

#define AGAIN_US 200000

const char *const vanish_names[VANISHES] = { "close", "reset", "silence", "hostile" };

struct term_pid sim_node_pid(const struct sim *sim, uint32_t id)
{
	return (struct term_pid){ .node = sim->s->node_name,
				  .node_len = (uint16_t)strlen(sim->s->node_name),
				  .id = id,
				  .creation = sim->s->node_creation };
}

/* A silent peer answers nobody: whoever waits for it waits until the node has given it up, or has its
 * successor. */
uint64_t sim_answers_by(const struct sim *sim, uint64_t us)
{
	return us > sim->noticed_us ? us : sim->noticed_us;
}

/* ---- bytes out ---- */

struct buf *sim_out(struct sim *sim)
{
	static struct buf nowhere;

	if (sim->state == SIM_UP && sim->conn != NULL)
		return conn_out(sim->conn);
	buf_reset(&nowhere, 1 << 20);
	return &nowhere;
}

void sims_flush(struct stress *s)
{
	for (unsigned i = 0; i <= s->options.peers; i++)
		if (s->sims[i].conn != NULL)
			conn_flush(s->sims[i].conn);
}

/* ---- coming ---- */

static void each_process(struct sim *sim, void (*fn)(struct caller *c))
{
	struct stress *s = sim->s;

	if (!sim->admin)
		for (unsigned i = sim->index; i < s->options.callers; i += s->options.peers)
			fn(&s->callers[i]);
	if (fn == caller_lost)
		fn(sim->control);
}

static void born_soon(struct caller *c)
{
	caller_wake_in(c, WAKE_BORN, rnd_to(c->s, 50000));
}

static void judge_end(void *arg)
{
	struct sim *sim = arg;

	if (sim->silent == NULL)
		return;
	fail(sim->s, NULL, "%s %s", sim->name, sim->must_end);
	conn_close(sim->silent, true);
}

/* The node must close the silent connection, for the reason that `text` gives. */
static void expect_end(struct sim *sim, const char *text)
{
	if (sim->silent == NULL)
		return;
	sim->must_end = text;
	sim->silence.fn = judge_end;
	sim->silence.arg = sim;
	alarm_set(sim->s, &sim->silence, now_us() + sim->s->options.slack_ms * 1000);
	conn_read(sim->silent, true);
}

void sim_came_up(struct sim *sim, const struct wire_handshake *hs)
{
	struct stress *s = sim->s;

	s->connects++;
	s->alive_answers += hs->was_alive ? 1 : 0;
	s->node_creation = hs->node_creation;
	sim->state = SIM_UP;
	sim->paused = false;
	sim->heard_us = sim->ticked_us = now_us();
	if (sim->noticed_us > sim->heard_us)
		sim->noticed_us = sim->heard_us;
	sim->barrier = 0;
	sim->acks_due = 0;
	sim->casts = sim->casts_acked = sim->casts_at_barrier = 0;
	sim->control->alive = true;
	expect_end(sim, "has connected again, and the node still holds its old connection");
	each_process(sim, born_soon);
}

static void dial_again(void *arg)
{
	sim_dial(arg);
}

void sim_cut_off(struct sim *sim, bool silent, bool was_up, bool wanted, const char *why)
{
	struct stress *s = sim->s;

	if (silent) { /* as it should be */
		alarm_clear(s, &sim->silence);
		return;
	}
	if (sim->admin && !was_up) {
		fatal(s, s->phase > PHASE_READY ? "the node is gone"
						: "the node does not let us in: another cookie?");
		return;
	}
	if (!wanted && now_us() >= s->lenient_until_us) /* else it was we who were silent */
		fail(s, NULL, "%s %s: %s", sim->name,
		     was_up ? "was cut off by the node" : "cannot connect", why);
	sim->state = SIM_DOWN;
	each_process(sim, caller_lost);
	if (s->exited || sim->admin) {
		fatal(s, "the node is gone");
		return;
	}
	sim->same_life = false;
	sim->alarm.fn = dial_again;
	sim->alarm.arg = sim;
	alarm_set(s, &sim->alarm, now_us() + AGAIN_US);
}

/* One who waits for a lease gives up while the grant may be in the socket: the hardest moment. */
static void give_up_blindly(struct caller *c)
{
	struct stress *s = c->s;

	if (c->waiting == NULL || c->waiting->kind != ASK_CHECKOUT ||
	    c->waiting->tag == TAG_MULTI || !rnd_pct(s, s->options.giveup))
		return;
	c->fate = FATE_GIVE_UP;
	caller_wake_in(c, WAKE_FATE, rnd_to(s, 10000));
}

void sim_pause(struct sim *sim, bool pause)
{
	if (sim->state != SIM_UP || sim->paused == pause)
		return;
	sim->paused = pause;
	conn_read(sim->conn, !pause);
	if (pause)
		each_process(sim, give_up_blindly);
}

void sim_dial(struct sim *sim)
{
	struct stress *s = sim->s;

	if (s->phase > PHASE_RUN && !sim->admin)
		return;
	if (!sim->same_life)
		sim->creation = 4 + (uint32_t)rnd_to(s, UINT32_MAX - 8);
	sim->flags = sim->index % 3 == 0   ? WIRE_OTP25
		     : sim->index % 3 == 1 ? WIRE_OTP29
					   : WIRE_PLAIN;
	sim->ref_words = sim->flags == WIRE_OTP29 ? 5 : 3;
	sim->state = SIM_DIALLING;
	sim->dialled_us = now_us();
	if ((sim->conn = conn_dial(sim)) == NULL)
		sim_cut_off(sim, false, false, false, "it cannot be dialled");
}

/* ---- going ---- */

/* A peer that was silent comes to an end: replaced by its successor, or closed. */
static void end_silence(void *arg)
{
	struct sim *sim = arg;
	struct stress *s = sim->s;

	if (sim->state != SIM_SILENT)
		return;
	if (sim->long_silence) {
		sim->long_silence = false;
		expect_end(sim, "was silent for twice the net tick time, and the node still holds "
				"its connection");
		alarm_set(s, &sim->alarm, now_us() + s->options.slack_ms * 1000 + SECOND_US);
		return;
	}
	sim->state = SIM_DOWN;
	sim->same_life = rnd_to(s, 3) == 0;
	alarm_clear(s, &sim->silence);
	if (!sim->same_life && rnd_to(s, 2) == 0)
		conn_close(sim->silent, true);
	sim_dial(sim);
}

static void after_hostility(void *arg)
{
	struct sim *sim = arg;

	if (sim->conn == NULL)
		return;
	fail(sim->s, NULL, "%s has sent what is no distribution, and was not cut off", sim->name);
	conn_close(sim->conn, true);
	sim_dial(sim);
}

void sim_vanish(struct sim *sim, enum vanish how)
{
	struct stress *s = sim->s;
	struct conn *c = sim->conn;
	uint64_t back = rnd_to(s, SECOND_US),
		 tick_us = (uint64_t)s->options.net_ticktime_s * SECOND_US;

	if (sim->state != SIM_UP)
		return;
	if (how == VANISH_SILENCE && sim->silent != NULL)
		how = VANISH_RESET; /* its last silent self is still to be closed by the node */
	sim_pause(sim, false);
	s->drops[how]++;
	if (how == VANISH_HOSTILE)
		junk_hostile(sim->control, conn_out(c));
	if (how == VANISH_CLOSE || rnd_to(s, 2) == 0)
		conn_flush(c);
	s->countable_lost += sim->casts - sim->casts_acked;
	sim->state = SIM_DOWN;
	if (how == VANISH_SILENCE)
		sim->noticed_us = now_us() + tick_us + tick_us / 4; /* it looks every quarter */
	each_process(sim, caller_lost);
	sim->same_life = rnd_to(s, 4) == 0;
	sim->alarm.fn = dial_again;
	sim->alarm.arg = sim;
	switch (how) {
	case VANISH_CLOSE:
	case VANISH_RESET:
		conn_close(c, how == VANISH_RESET);
		break;
	case VANISH_SILENCE:
		/* for a moment, or until the node's net tick time-out has struck */
		conn_read(c, false);
		conn_discard(c);
		sim->state = SIM_SILENT;
		sim->silent = c;
		sim->conn = NULL;
		sim->long_silence = rnd_to(s, 3) == 0;
		back += sim->long_silence ? 2 * tick_us : 0;
		sim->alarm.fn = end_silence;
		break;
	default:
		conn_discard(c);
		sim->alarm.fn = after_hostility;
		back = s->options.slack_ms * 1000;
	}
	alarm_set(s, &sim->alarm, now_us() + back);
}

void sim_leave(struct sim *sim)
{
	each_process(sim, caller_lost);
	sim->state = SIM_DOWN;
	alarm_clear(sim->s, &sim->alarm);
	alarm_clear(sim->s, &sim->silence);
	conn_close(sim->silent, false);
	if (sim->conn != NULL)
		conn_flush(sim->conn);
	conn_close(sim->conn, false);
}
