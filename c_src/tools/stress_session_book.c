/* stress_session_book.c - what an answer in a session may be.
 *
 * Python answers a step with the session's name, a number drawn when this life of it began (its epoch), and
 * how many steps that has seen. So:
 *   the name is the session's, and no other's;
 *   in one epoch each count comes once, is higher than all that were answered before it was asked for, and
 *     at most as high as the calls that may have run: those that were answered, those under way, and those
 *     whose caller was gone or that hit a time-out (we do not know whether they ran);
 *   another epoch begins only when somebody was told session_lost, or it was ended, or its mode is hint;
 *   one that was left is not seen again by who asks afterwards;
 *   session_lost is told when something may have been lost since it was told last.
 * For a session that is used by one process at a time all of that is exact. */
#include "stress.h"

#include <string.h>

/* ---- a request comes and goes ---- */

void session_join(struct ask *a, struct session *sn)
{
	bool alone = !sn->shared && sn->refs == 0 && sn->ghosts == 0;

	a->session = sn;
	a->snap.epoch = sn->epoch;
	a->snap.unknown = sn->unknown;
	a->snap.highest = sn->highest;
	if (a->kind == ASK_END_SESSION) {
		bool owner_has_ended_it =
			sn->owner_sure && sn->owner_dead_us != 0 && now_us() >= sn->ghost_until_us;

		a->snap.must_exist = alone && sn->surely;
		a->snap.must_not = alone && (!sn->may_exist || owner_has_ended_it);
		sn->licensed = true;
		sn->surely = sn->owner_sure = false;
	} else {
		a->snap.fresh = alone && !sn->may_exist;
		sn->may_exist = true;
		if (++sn->uses >= SESSION_USES)
			sn->retiring = true;
	}
	sn->refs++;
}

/* It may have run, or not. */
static void not_known(struct session *sn)
{
	sn->unknown++;
	sn->begun = true;
}

/* The node knows at `us` who is gone: not before that the last of them is, who may have been silent for long. */
void session_haunted(const struct stress *s, struct session *sn, uint64_t us)
{
	us += s->options.slack_ms * 1000;
	if (sn->ghost_until_us < us)
		sn->ghost_until_us = us;
}

void session_unheard(struct ask *a, bool connection_lost)
{
	struct session *sn = a->session;
	struct sim *sim = a->caller->sim;
	struct stress *s = a->caller->s;

	if (sn == NULL || a->snap.settled)
		return;
	a->snap.settled = true;
	not_known(sn);
	sn->surely &= a->snap.mode != MODE_HINT;
	if (!connection_lost)
		return;
	sn->ghosts++;
	session_haunted(s, sn, sim_answers_by(sim, now_us()));
	sn->licensed = sn->retiring = true;
	sn->owed = sn->surely = sn->owner_sure = false;
}

void session_leave(struct ask *a)
{
	struct session *sn = a->session;

	session_unheard(a, false);
	a->session = NULL;
	if (sn != NULL && a->kind == ASK_END_SESSION)
		sn->ends_us = now_us();
	if (sn == NULL || --sn->refs > 0)
		return;
	if (sn->owed)
		fail(a->caller->s, a->caller,
		     "session %u, generation %u, has begun anew, and nobody was told that it was "
		     "lost",
		     sn->index, sn->generation);
	sn->owed = false;
	if (sn->over)
		session_begin(a->caller->s, sn);
}

/* ---- epochs ---- */

static int find_old(const struct session *sn, uint64_t epoch)
{
	for (unsigned i = 0; i < EPOCHS_KEPT && i < sn->olds; i++)
		if (sn->old[i].epoch == epoch)
			return (int)i;
	return -1;
}

static void keep_old(struct session *sn, uint64_t epoch, bool vague)
{
	if (epoch == 0)
		return;
	sn->old[sn->olds % EPOCHS_KEPT].epoch = epoch;
	sn->old[sn->olds++ % EPOCHS_KEPT].vague = vague;
}

/* By the answer to `a`. If that ran when the session was told to end, this life of it ends with the call. */
static void begin_epoch(const struct ask *a, uint64_t epoch)
{
	struct session *sn = a->session;

	keep_old(sn, sn->epoch, false);
	sn->epoch = epoch;
	sn->epoch_us = now_us();
	sn->highest = 0;
	memset(sn->seen, 0, sizeof sn->seen);
	sn->licensed &= sn->refs + sn->ghosts > 1 || a->sent_us < sn->ends_us;
	a->caller->s->epochs++;
}

/* An answer from another life than the last one that was seen. `current`: its count is to be judged. */
static const char *judge_epoch(struct ask *a, uint64_t epoch, bool *current)
{
	struct session *sn = a->session;
	int old = find_old(sn, epoch);
	bool was_sent_before = a->sent_us < sn->epoch_us;

	*current = false;
	if (a->name ==
	    NULL) { /* a lease keeps the life that it has, though the session was ended */
		if (old < 0)
			keep_old(sn, epoch, true);
		sn->unknown++;
		return NULL;
	}
	if (old >= 0 && was_sent_before) {
		sn->unknown += sn->old[old].vague;
		return NULL;
	}
	if (old >= 0 && !sn->old[old].vague)
		return "a life of the session that had ended goes on";
	if (old < 0 && was_sent_before) { /* which is the later one? */
		keep_old(sn, epoch, true);
		sn->unknown++; /* one that ran, in that case */
		return NULL;
	}
	if (old >= 0)
		sn->old[old].epoch = 0;
	if (sn->epoch != 0 && !sn->licensed &&
	    (sn->mode == MODE_STRICT || sn->mode == MODE_FAIL_FAST)) {
		if (sn->refs == 1)
			return "it begins anew, and nobody was told that it was lost";
		sn->owed = true; /* that may be under way, on another connection */
	}
	begin_epoch(a, epoch);
	*current = true;
	return NULL;
}

static const char *judge_count(struct ask *a, uint64_t count)
{
	struct session *sn = a->session;
	uint64_t most = sn->highest + (sn->refs - 1) + sn->ghosts + (sn->unknown - sn->base) + 1;

	if (count == 0 || count > most)
		return "more calls than there were";
	if (a->snap.epoch == sn->epoch && count <= a->snap.highest)
		return "fewer calls than there were";
	if (count / 64 < sizeof sn->seen / sizeof *sn->seen) {
		if (sn->seen[count / 64] >> count % 64 & 1)
			return "the same count twice";
		sn->seen[count / 64] |= UINT64_C(1) << count % 64;
	}
	if (count > sn->highest)
		sn->highest = (unsigned)count;
	/* with slots, one that was given up may still be about to run */
	if (sn->base < a->snap.unknown && a->caller->s->status.slots <= 1)
		sn->base = a->snap.unknown;
	return NULL;
}

static const char *judge_step(struct ask *a, const uint8_t *value)
{
	struct session *sn = a->session;
	const uint8_t *nonce, *id, *epoch;
	int64_t n, e, count;
	bool current = true;
	const char *why;
	uint32_t arity;

	if (!term_tuple(value, &arity, &nonce) || arity != 4 || !term_int(nonce, &n))
		return "no step of a session";
	id = term_skip(nonce);
	epoch = term_skip(id);
	if ((uint64_t)n != a->nonce)
		return "the answer to another request";
	if (!session_is_id(sn, id))
		return "another session";
	if (!term_int(epoch, &e) || !term_int(term_skip(epoch), &count) || e <= 0 || count <= 0)
		return "no step of a session";
	if ((uint64_t)e != sn->epoch &&
	    ((why = judge_epoch(a, (uint64_t)e, &current)) != NULL || !current))
		return why;
	return judge_count(a, (uint64_t)count);
}

/* ---- outcomes ---- */

static const char *judge_lost(struct ask *a)
{
	struct session *sn = a->session;
	bool alone = sn->refs == 1 && sn->ghosts == 0;
	const char *why = NULL;

	if (a->snap.mode == MODE_HINT)
		why = "a hint does not mind";
	else if (!sn->begun && alone && !sn->shared)
		why = "nothing was lost, or that was told before";
	a->caller->s->losses++;
	sn->licensed = !sn->owed;
	sn->owed = sn->surely = sn->owner_sure = false;
	sn->begun = !alone;
	if (alone)
		sn->may_exist = false;
	return why;
}

static const char *judge_end(struct ask *a, enum outcome o)
{
	struct session *sn = a->session;
	bool alone = sn->refs == 1 && sn->ghosts == 0;
	const char *why = NULL;

	if (o == OUT_OK && a->snap.must_not)
		why = "it was no more";
	else if (o == OUT_NO_SESSION && a->snap.must_exist && sn->owner_dead_us == 0)
		why = "it was there";
	sn->begun = !alone;
	sn->may_exist = !alone;
	sn->owner_sure = false;
	sn->over = sn->retiring && sn->refs == 1 && now_us() >= sn->ghost_until_us;
	return why;
}

static bool has_id(const struct ask *a, const uint8_t *reply, const char *word)
{
	const uint8_t *id = answer_second(answer_second(reply, "error"), word);

	return id != NULL && session_is_id(a->session, id);
}

const char *session_judge(struct ask *a, enum outcome o, const uint8_t *reply)
{
	struct session *sn = a->session;

	a->snap.settled = true;
	if (o != OUT_OK &&
	    o != OUT_SESSION_BUSY) /* it may have taken over what was lost, and has not
	                                             made anything of it */
		sn->surely &= a->snap.mode != MODE_HINT;
	if (a->kind == ASK_END_SESSION)
		return o == OUT_NO_SESSION && !has_id(a, reply, "no_session") ? "another session"
									      : judge_end(a, o);
	switch (o) {
	case OUT_OK:
		sn->begun = true;
		sn->owner_sure |= a->snap.owns && !sn->shared &&
				  (sn->mode == MODE_STRICT || sn->mode == MODE_FAIL_FAST);
		sn->surely = !sn->shared && sn->ghosts == 0 && sn->owner_dead_us == 0;
		return a->kind == ASK_CHECKOUT ? NULL : judge_step(a, answer_second(reply, "ok"));
	case OUT_SESSION_LOST:
		return has_id(a, reply, "session_lost") ? judge_lost(a) : "another session";
	case OUT_SESSION_BUSY:
		if (a->snap.mode != MODE_FAIL_FAST)
			return "it would wait";
		return has_id(a, reply, "session_busy") ? NULL : "another session";
	case OUT_TIMEOUT_CALL:
	case OUT_WORKER_EXIT:
	case OUT_LEASE_CLOSED:
		not_known(sn);
		return NULL;
	default:
		return NULL;
	}
}
