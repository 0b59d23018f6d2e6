/* stress_session.c - calls in sessions: who uses which, and how it comes to its end.
 *
 * The world has --sessions of them at a time. Each has a mode; most are used by one process at a time, so
 * that their books are exact, the others by several at once. A process calls in it, checks it out and
 * calls on the lease, or ends it; the process that begins it may own it.
 *
 *   generation begins -> used -> retiring (used up, its owner is dead, a peer vanished in a call of it)
 *   -> nobody refers to it -> end_session, answered -> the next generation
 *
 * What an answer in a session may be: stress_session_book.c. */
#include "stress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USERS_MAX 8 /* at a time, of a shared one */
#define TRIES     10

const char *const session_mode_names[MODES] = {
	[MODE_STRICT] = "strict",
	[MODE_HINT] = "hint",
	[MODE_FAIL_FAST] = "fail_fast",
};

/* ---- names: a tuple, a number, a text, a list ---- */

static uint64_t number(const struct session *sn)
{
	return (uint64_t)getpid() << 36 | (uint64_t)(sn->index & 0xfff) << 24 |
	       (sn->generation & 0xffffff);
}

void session_put_id(const struct session *sn, struct buf *out)
{
	char text[32];

	switch (sn->index % 4) {
	case 0:
		term_put_tuple(out, 2);
		term_put_atom(out, "krait_stress");
		term_put_uint(out, number(sn));
		break;
	case 1:
		term_put_uint(out, number(sn));
		break;
	case 2:
		snprintf(text, sizeof text, "%llu", (unsigned long long)number(sn));
		term_put_text(out, text);
		break;
	default:
		term_put_list(out, 1);
		term_put_uint(out, number(sn));
		term_put_nil(out);
	}
}

/* The number in a name; 0: none. */
static uint64_t number_in(const uint8_t *t)
{
	const uint8_t *e = t;
	struct span text;
	uint32_t count;
	uint64_t sum = 0;
	int64_t n;

	if (term_tuple(t, &count, &e) && count == 2 && term_is_atom(e, "krait_stress"))
		e = term_skip(e);
	else if (term_list(t, &count, &e) && count != 1)
		return 0;
	if (term_int(e, &n))
		return (uint64_t)n;
	if (!term_binary(e, &text))
		return 0;
	for (size_t i = 0; i < text.len; i++)
		sum = sum * 10 + (uint64_t)(text.at[i] - '0');
	return sum;
}

struct session *session_of_id(struct stress *s, const uint8_t *t)
{
	uint64_t n = number_in(t), index = n >> 24 & 0xfff;

	if (index >= s->options.sessions || number(&s->sessions[index]) != n)
		return NULL;
	return &s->sessions[index];
}

bool session_is_id(const struct session *sn, const uint8_t *t)
{
	return number_in(t) == number(sn);
}

/* ---- lives ---- */

void session_begin(struct stress *s, struct session *sn)
{
	unsigned index = (unsigned)(sn - s->sessions);
	uint32_t generation = sn->generation + 1;
	uint64_t r = rnd_to(s, 100);

	*sn = (struct session){ .index = index, .generation = generation };
	sn->mode = r < 55 ? MODE_STRICT : r < 70 ? MODE_HINT : r < 85 ? MODE_FAIL_FAST : MODE_MIXED;
	sn->shared = rnd_to(s, 100) < 30;
	s->sessions_begun++;
}

/* The owner is gone: the node ends it, when it has heard of that. */
void sessions_owner_gone(const struct caller *c)
{
	struct stress *s = c->s;

	for (unsigned i = 0; i < s->options.sessions; i++) {
		struct session *sn = &s->sessions[i];

		if (!sn->owned || sn->owner_slot != c->slot || sn->owner_serial != c->serial)
			continue;
		sn->owner_dead_us = sim_answers_by(c->sim, now_us());
		sn->retiring = sn->licensed = true;
		if (sn->ends_us < sn->owner_dead_us)
			sn->ends_us = sn->owner_dead_us;
		sn->surely = false;
		sn->owner_sure &= sn->refs == 0; /* a call under way may begin it anew */
		if (sn->owner_sure)              /* it must end by itself */
			session_haunted(s, sn, sn->owner_dead_us);
	}
}

unsigned sessions_owned(const struct caller *c)
{
	const struct stress *s = c->s;
	unsigned count = 0;

	for (unsigned i = 0; i < s->options.sessions; i++)
		count += s->sessions[i].owned && s->sessions[i].owner_slot == c->slot &&
			 s->sessions[i].owner_serial == c->serial;
	return count;
}

unsigned sessions_waiting(const struct stress *s)
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->options.sessions; i++)
		count += s->sessions[i].refs + s->sessions[i].ghosts;
	return count;
}

static bool is_leased(const struct stress *s, const struct session *sn)
{
	for (unsigned i = 0; i < s->options.callers; i++)
		if (s->callers[i].lease.session == sn)
			return true;
	return false;
}

bool session_may_end(const struct session *sn)
{
	return sn->refs == 0 && now_us() >= sn->ghost_until_us;
}

/* ---- requests ---- */

static enum session_mode some_mode(struct stress *s, const struct session *sn)
{
	return sn->mode == MODE_MIXED ? (enum session_mode)rnd_to(s, MODE_MIXED) : sn->mode;
}

void session_put_step(struct ask *a, struct buf *out, uint64_t timeout_ms, bool option)
{
	struct stress *s = a->caller->s;
	struct session *sn = a->session;
	bool owns = option && a->snap.fresh && rnd_pct(s, 20), retry = option && rnd_to(s, 10) == 0;
	double seconds = a->kind == ASK_SESSION_STUCK  ? 3600
			 : rnd_pct(s, s->options.slow) ? (double)(1 + rnd_to(s, 20)) / 1000
						       : 0;

	term_put_tuple(out, 5);
	request_put_function(out, "krait_stress_py", "step");
	term_put_list(out, 2);
	term_put_uint(out, a->nonce);
	term_put_float(out, seconds);
	term_put_nil(out);
	term_put_map(out, 1u + 2 * option + owns + retry);
	term_put_atom(out, "timeout");
	term_put_uint(out, timeout_ms);
	if (option) {
		term_put_atom(out, "session");
		session_put_id(sn, out);
		term_put_atom(out, "session_mode");
		term_put_atom(out, session_mode_names[a->snap.mode]);
	}
	if (owns) {
		struct term_pid self = caller_pid(a->caller);

		sn->owned = true;
		sn->owner_slot = a->caller->slot;
		sn->owner_serial = a->caller->serial;
		a->snap.owns = true;
		term_put_atom(out, "owner");
		term_put_pid(out, &self);
	}
	if (retry) {
		term_put_atom(out, "retry");
		term_put_int(out, (int64_t)rnd_to(s, 3));
	}
}

static void call_in(struct caller *c, struct session *sn)
{
	struct stress *s = c->s;
	bool stuck = rnd_pct(s, s->options.stuck),
	     brief = rnd_pct(s, stuck ? 40 : s->options.brief);
	uint64_t timeout_ms = brief ? 1 + rnd_to(s, 100) : s->options.timeout_ms;
	size_t start;
	struct ask *a = request_begin(c, stuck ? ASK_SESSION_STUCK : ASK_SESSION, s->options.pool,
				      NULL, &start);

	a->snap.mode = some_mode(s, sn);
	session_join(a, sn);
	session_put_step(a, caller_out(c), timeout_ms, true);
	request_send(a, start, timeout_ms * 1000);
}

struct ask *session_lease_call(struct caller *c, size_t *start)
{
	struct ask *a = request_begin(c, ASK_SESSION, NULL, &c->lease.pid, start);

	a->snap.mode = MODE_STRICT;
	session_join(a, c->lease.session);
	return a;
}

static void check_out(struct caller *c, struct session *sn)
{
	struct stress *s = c->s;
	uint64_t timeout_ms =
		rnd_pct(s, s->options.brief) ? 1 + rnd_to(s, 100) : s->options.timeout_ms;
	size_t start;
	struct ask *a = request_begin(c, ASK_CHECKOUT, s->options.pool, NULL, &start);
	struct buf *out = caller_out(c);

	a->snap.mode = sn->mode;
	session_join(a, sn);
	term_put_tuple(out, 3);
	term_put_atom(out, "checkout");
	term_put_tuple(out, 2);
	term_put_atom(out, "session");
	session_put_id(sn, out);
	term_put_map(out, 2);
	term_put_atom(out, "timeout");
	term_put_uint(out, timeout_ms);
	term_put_atom(out, "session_mode");
	term_put_atom(out, session_mode_names[a->snap.mode]);
	request_send(a, start, timeout_ms * 1000);
}

static void end_it(struct caller *c, struct session *sn)
{
	size_t start;
	struct ask *a = request_begin(c, ASK_END_SESSION, c->s->options.pool, NULL, &start);

	session_join(a, sn);
	term_put_tuple(caller_out(c), 2);
	term_put_atom(caller_out(c), "end_session");
	session_put_id(sn, caller_out(c));
	request_send(a, start, 0);
}

/* One that it may use now; NULL: all that were tried are in use. */
static struct session *some_session(struct caller *c)
{
	struct stress *s = c->s;

	for (int tries = 0; tries < TRIES; tries++) {
		struct session *sn = &s->sessions[rnd_to(s, s->options.sessions)];
		bool is_free = sn->refs == 0 && !is_leased(s, sn);

		if (sn->generation == 0)
			session_begin(s, sn);
		if (is_free && sn->retiring && session_may_end(sn))
			return sn;
		if (!sn->retiring && (is_free || (sn->shared && sn->refs < USERS_MAX)))
			return sn;
	}
	return NULL;
}

void session_send(struct caller *c)
{
	struct stress *s = c->s;
	struct session *sn = some_session(c);
	uint64_t r = rnd_to(s, 100);

	if (sn == NULL)
		caller_next_soon(c, true);
	else if (sn->retiring || r < 4)
		end_it(c, sn);
	else if (r < 14 && (sn->mode == MODE_STRICT || sn->mode == MODE_FAIL_FAST))
		check_out(c, sn);
	else
		call_in(c, sn);
}
