/* stress_settle.c - at the end: what the node and its workers say of sessions and generators.
 *
 *   ghosts   calls of peers that vanished may still run in a session: until the node has noticed
 *   list     `sessions` must name those that the books say are there, and none that they say is not
 *   clear    each is ended
 *   none     and then there are none
 *   rest     nothing runs any more: a generator that closes, a call that is interrupted
 *   hold     every worker is checked out
 *   count    each says how many generators it has opened and closed, sessions begun and ended
 *   return   all are given back
 *
 * All of it is asked by the clean peer, when everybody else is dead. */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>

#define AGAIN_US 100000
#define LEASE_MS 20000

static struct ask *begin(struct stress *s, enum ask_kind kind, const struct term_pid *lease,
			 size_t *start)
{
	struct caller *c = s->sims[s->options.peers].control;

	s->settle.asked++;
	return request_begin(c, kind, lease == NULL ? s->options.pool : NULL, lease, start);
}

static void step_to(struct stress *s, enum settle_step step)
{
	s->settle.step = step;
	s->settle.asked = s->settle.answered = 0;
}

static void ask_sessions(struct stress *s)
{
	size_t start;
	struct ask *a = begin(s, ASK_SESSIONS, NULL, &start);

	term_put_atom(caller_out(a->caller), "sessions");
	request_send(a, start, 0);
}

static void clear(struct stress *s, const uint8_t *id)
{
	size_t start;
	struct ask *a = begin(s, ASK_CLEAR, NULL, &start);

	term_put_tuple(caller_out(a->caller), 2);
	term_put_atom(caller_out(a->caller), "end_session");
	term_put_raw(caller_out(a->caller), term_span(id));
	request_send(a, start, 0);
}

static void hold(struct stress *s)
{
	size_t start;
	struct ask *a = begin(s, ASK_HOLD, NULL, &start);
	struct buf *out = caller_out(a->caller);

	term_put_tuple(out, 3);
	term_put_atom(out, "checkout");
	term_put_atom(out, "anonymous");
	term_put_map(out, 1);
	term_put_atom(out, "timeout");
	term_put_uint(out, LEASE_MS);
	request_send(a, start, LEASE_MS * 1000);
}

static void ask_counts(struct stress *s, const struct term_pid *lease)
{
	size_t start;
	struct ask *a = begin(s, ASK_COUNTS, lease, &start);
	struct buf *out = caller_out(a->caller);

	term_put_tuple(out, 4);
	request_put_function(out, "krait_stress_py", "counts");
	term_put_nil(out);
	request_send(a, start, LEASE_MS * 1000);
}

static void give_back(struct stress *s, const struct term_pid *lease)
{
	size_t start;
	struct ask *a = begin(s, ASK_RETURN, lease, &start);

	term_put_atom(caller_out(a->caller), "checkin");
	request_send(a, start, 0);
}

/* ---- sessions ---- */

static void judge_listed(struct stress *s, const uint8_t *id, bool *listed)
{
	struct session *sn = session_of_id(s, id);
	char text[160];

	term_print(id, text, sizeof text);
	if (sn == NULL)
		fail(s, NULL, "the node has a session %s, which was ended or never was", text);
	else if (listed[sn->index])
		fail(s, NULL, "the node has session %s twice", text);
	else if (!sn->may_exist)
		fail(s, NULL, "the node has session %s, which has ended", text);
	else if (sn->owner_sure && sn->owner_dead_us != 0)
		fail(s, NULL, "the node has session %s, whose owner is dead", text);
	else
		s->checks++;
	if (sn != NULL)
		listed[sn->index] = true;
}

static void take_list(struct stress *s, const uint8_t *list)
{
	bool *listed = mem_zalloc(s->options.sessions + 1);
	const uint8_t *map;
	uint32_t count;

	if (listed == NULL)
		abort();
	if (!term_list(list, &count, &map))
		count = 0;
	if (s->settle.step == SETTLE_NONE) {
		s->settle.over = count == 0;
		mem_free(listed);
		return;
	}
	s->settle.listed = count;
	step_to(s, SETTLE_CLEAR);
	for (uint32_t i = 0; i < count; i++, map = term_skip(map)) {
		const uint8_t *id = term_map_get(map, "id");

		if (id == NULL)
			continue;
		judge_listed(s, id, listed);
		clear(s, id);
	}
	for (unsigned i = 0; i < s->options.sessions; i++)
		if (s->sessions[i].surely && !listed[i])
			fail(s, NULL, "the node has lost session %u, generation %u, without a word",
			     i, s->sessions[i].generation);
	mem_free(listed);
}

/* ---- workers ---- */

static void take_counts(struct stress *s, const uint8_t *value)
{
	const uint8_t *e;
	uint32_t arity;
	int64_t n[5];

	if (!term_tuple(value, &arity, &e) || arity != 5)
		return;
	for (unsigned i = 0; i < 5; i++, e = term_skip(e))
		if (!term_int(e, &n[i]))
			return;
	s->settle.workers++;
	s->settle.opened += (uint64_t)n[0];
	s->settle.closed += (uint64_t)n[1];
	s->settle.begun += (uint64_t)n[2];
	s->settle.ended += (uint64_t)n[3];
	if (n[0] != n[1])
		fail(s, NULL, "worker pid %lld has opened %lld generators and closed %lld of them",
		     (long long)n[4], (long long)n[0], (long long)n[1]);
	if (n[2] != n[3])
		fail(s, NULL, "worker pid %lld has begun %lld sessions and ended %lld of them",
		     (long long)n[4], (long long)n[2], (long long)n[3]);
}

static void take_lease(struct stress *s, const uint8_t *value)
{
	struct term_pid *pid = &s->settle.leases[s->settle.answered];

	if (term_pid(value, pid))
		pid->node = s->node_name;
}

void settle_answer(struct ask *a, const uint8_t *reply)
{
	struct stress *s = a->caller->s;
	enum ask_kind kind = a->kind;
	enum outcome o = answer_judge(a, reply);
	const uint8_t *value = answer_second(reply, "ok");

	ask_cut(a);
	if (o == OUT_OK && kind == ASK_SESSIONS && value != NULL) {
		int step = (int)s->settle.step;

		take_list(s, value);
		if (step == SETTLE_LIST)
			return;
	} else if (o == OUT_OK && kind == ASK_COUNTS && value != NULL) {
		take_counts(s, value);
	} else if (o == OUT_OK && kind == ASK_HOLD && value != NULL) {
		take_lease(s, value);
	}
	s->settle.answered++;
}

/* ---- the order of things ---- */

static bool are_ghosts_gone(const struct stress *s)
{
	for (unsigned i = 0; i < s->options.sessions; i++)
		if (s->sessions[i].owner_dead_us + s->options.slack_ms * 1000 > now_us() ||
		    s->sessions[i].ghost_until_us > now_us())
			return false;
	return true;
}

void settle_start(struct stress *s)
{
	bool has = s->options.mix[MIX_STREAM] + s->options.mix[MIX_SESSION] > 0;

	step_to(s, has ? SETTLE_GHOSTS : SETTLED);
}

/* A lease for each slot of the pool at rest: each says it for its worker. */
static void hold_all(struct stress *s)
{
	s->settle.slots = (unsigned)(s->status.size * s->status.slots);
	mem_free(s->settle.leases);
	s->settle.leases = mem_zalloc(s->settle.slots * sizeof *s->settle.leases);
	if (s->settle.leases == NULL)
		abort();
	step_to(s, SETTLE_HOLD);
}

static void begin_step(struct stress *s)
{
	for (unsigned i = 0; i < s->settle.slots; i++)
		if (s->settle.step == SETTLE_HOLD)
			hold(s);
		else if (s->settle.step == SETTLE_COUNT)
			ask_counts(s, &s->settle.leases[i]);
		else
			give_back(s, &s->settle.leases[i]);
}

bool settled(struct stress *s)
{
	unsigned asked = s->settle.asked;

	if (s->settle.step == SETTLED)
		return true;
	if (s->settle.answered < asked)
		return false;
	switch ((int)s->settle.step) {
	case SETTLE_GHOSTS:
		if (!are_ghosts_gone(s))
			return false;
		step_to(s, SETTLE_LIST);
		ask_sessions(s);
		return false;
	case SETTLE_CLEAR:
		step_to(s, SETTLE_NONE);
		ask_sessions(s);
		return false;
	case SETTLE_NONE:
		if (!s->settle.over)
			ask_sessions(s);
		else
			step_to(s, SETTLE_REST);
		admin_status_want(s);
		return false;
	case SETTLE_REST:
		if (admin_status_fresh(s) && status_at_rest(&s->status))
			hold_all(s);
		else if (admin_status_fresh(s))
			admin_status_want(s);
		return false;
	default:
		if (asked == 0) {
			begin_step(s);
			return false;
		}
		step_to(s, (enum settle_step)(s->settle.step + 1));
		return s->settle.step == SETTLED;
	}
}
