/* stress_barrier.c - since when can nothing more come for what is over?
 *
 * A barrier is a round of UNLINK_IDs for links that nobody has. The node acknowledges each at once, and keeps in
 * order what it says to one process: so whatever comes to a process behind its acknowledgement the node has said
 * knowing all that we had sent before. To another process it may come earlier than a large answer that was
 * said before it (c_src/dist_split.c, docs/protocol.md): one acknowledgement for all of a peer's processes says
 * nothing. So each process, dead or alive, that something may still come to has its own; the control process
 * always has, for what is asked by nobody.
 *
 *   sim_barrier() -> an UNLINK_ID of each -> barrier_acked() for each -> the last: ask_retire()
 *
 * A round begins when the one before it is over. */
#include "stress.h"

static void ask_for(struct caller *c, uint32_t serial)
{
	struct sim *sim = c->sim;
	struct term_pid self = caller_pid(c), node = sim_node_pid(sim, 1);

	if (c->barrier == sim->barrier && c->barrier_serial == serial)
		return;
	c->barrier = sim->barrier;
	c->barrier_serial = self.serial = serial;
	sim->acks_due++;
	wire_unlink(sim_out(sim), OP_UNLINK, sim->barrier, &self, &node);
}

void sim_barrier(struct sim *sim)
{
	struct list *pos, *next;

	if (sim->state != SIM_UP || sim->acks_due > 0 ||
	    (list_empty(&sim->tombs) && list_empty(&sim->ended) && sim->casts == sim->casts_acked))
		return;
	sim->barrier++;
	sim->casts_at_barrier = sim->casts;
	ask_for(sim->control, sim->control->serial);
	list_each (pos, next, &sim->tombs) {
		const struct ask *a = list_entry(pos, struct ask, by_tomb);

		ask_for(a->caller, a->serial);
	}
	list_each (pos, next, &sim->ended) {
		const struct stream *st = list_entry(pos, struct stream, by_tomb);

		ask_for(st->caller, st->serial);
	}
}

void barrier_acked(struct sim *sim, struct caller *c, uint64_t id)
{
	if (sim->acks_due == 0 || id != sim->barrier) {
		fail(sim->s, c, "an UNLINK_ID_ACK that was not asked for");
		return;
	}
	if (--sim->acks_due > 0)
		return;
	sim->casts_acked = sim->casts_at_barrier;
	ask_retire(sim, sim->barrier);
}
