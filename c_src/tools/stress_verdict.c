/* stress_verdict.c - the checks at the end of a run: what is left, what was counted, what has grown. */
#include "stress.h"

#include <inttypes.h>

#define GROWTH_KIB 4096 /* memory that has grown by less is not judged */

/* What is lost or closed in silence shows here; what is told wrongly has shown before. */
static void judge_settled(struct stress *s)
{
	uint64_t lost = s->after.sessions_lost - s->before.sessions_lost,
		 dead = s->after.exits - s->before.exits;

	verdict(s, s->settle.opened == s->settle.closed, "generators closed",
		"%" PRIu64 " opened, %" PRIu64 " closed, in %u workers", s->settle.opened,
		s->settle.closed, s->settle.workers);
	verdict(s, s->settle.begun == s->settle.ended, "sessions ended",
		"%" PRIu64 " begun, %" PRIu64 " ended, in %u workers", s->settle.begun,
		s->settle.ended, s->settle.workers);
	verdict(s, s->after.sessions == s->before.sessions, "no session",
		"%" PRIu64 ", before %" PRIu64 ", %u when all were dead", s->after.sessions,
		s->before.sessions, s->settle.listed);
	verdict(s, s->losses == 0 || (lost > 0 && dead > 0), "losses are explained",
		"told %" PRIu64 ", lost %" PRIu64 ", workers that ended %" PRIu64, s->losses, lost,
		dead);
}

void verdict_rest(struct stress *s)
{
	const struct status *a = &s->after, *b = &s->before;
	uint64_t received = a->received - b->received, least = s->countable - s->countable_lost;
	uint64_t abandoned = a->abandoned - b->abandoned,
		 gone = s->outcomes[OUT_GAVE_UP] + s->outcomes[OUT_DIED] + s->outcomes[OUT_LOST] +
			s->stream_ends[END_DIED] + s->stream_ends[END_LOST];

	verdict(s, a->idle == a->size * a->slots, "workers idle", "%" PRIu64 " of %" PRIu64,
		a->idle, a->size * a->slots);
	verdict(s, a->queued == 0 && a->running == 0, "nothing queued",
		"queued %" PRIu64 ", running %" PRIu64, a->queued, a->running);
	verdict(s, a->leases == 0, "no lease", "%" PRIu64, a->leases);
	if (s->settle.workers > 0)
		judge_settled(s);
	verdict(s, a->monitors == b->monitors, "monitors as before", "%" PRIu64 ", before %" PRIu64,
		a->monitors, b->monitors);
	verdict(s, a->received == a->answered + a->abandoned, "totals add up",
		"received %" PRIu64 " = answered %" PRIu64 " + abandoned %" PRIu64, a->received,
		a->answered, a->abandoned);
	verdict(s, received >= least && received <= s->countable + s->ambiguous,
		"all were received", "%" PRIu64 ", of %" PRIu64 " to %" PRIu64 " sent", received,
		least, s->countable + s->ambiguous);
	verdict(s, abandoned <= gone, "abandoned is explained",
		"%" PRIu64 ", of %" PRIu64 " whose caller was gone", abandoned, gone);
}

void verdict_memory(struct stress *s)
{
	struct slope m = proc_slope(s->sample_min, s->sample_kib, s->samples);
	bool ok =
		m.kib_per_min - 2 * m.error <= s->options.slope_limit || m.growth_kib < GROWTH_KIB;

	if (!s->options.memory || m.n < 20)
		verdict(s, true, "memory", "not judged");
	else
		verdict(s, ok, "memory is flat",
			"%+.0f +- %.0f KiB/min, at most %.0f; grown by %.0f KiB", m.kib_per_min,
			m.error, s->options.slope_limit, m.growth_kib);
}
