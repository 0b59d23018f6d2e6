/* stress_stream_say.c - the owner of a stream: asks, cancels, leaves.
 *
 * The happy path: asks -> items -> done. How it asks: all at once, a few when none are left, a few ahead,
 * or late. What it may do instead of reading to the end: {cancel}; exit(Stream, Reason), by itself or by
 * another process; ask for nonsense; end the lease that the stream is on; die. Meanwhile it talks to the
 * stream as to any process, and to streams that have ended. */
#include "stress.h"

/* ---- words to it ---- */

static struct buf *begin(struct caller *c, const struct term_pid *pid, size_t *start)
{
	struct term_pid self = caller_pid(c);

	*start = wire_begin(caller_out(c), &self, (struct wire_to){ .pid = pid });
	return caller_out(c);
}

void stream_expect_item(struct stream *st)
{
	struct stress *s = st->caller->s;

	st->since_us = now_us();
	if (st->closing == CLOSING_NOT)
		st->due_us = st->asked <= st->got
				     ? NEVER
				     : st->since_us + st->timeout_us + s->options.slack_ms * 1000;
}

static void ask(struct stream *st, uint64_t n)
{
	struct caller *c = st->caller;
	size_t start;
	struct buf *out = begin(c, &st->pid, &start);
	bool owed = st->asked > st->got;

	term_put_tuple(out, 2);
	term_put_atom(out, "ask");
	term_put_uint(out, n);
	wire_end(out, start);
	st->asked += n;
	c->s->asks++;
	if (!owed)
		stream_expect_item(st);
}

void stream_ask_more(struct stream *st)
{
	struct stress *s = st->caller->s;

	ask(st, rnd_to(s, 50) == 0 ? 1000000000 : 1 + rnd_to(s, rnd_to(s, 2) == 0 ? 4 : 60));
}

static void closes(struct stream *st, enum closing how)
{
	st->closing = how;
	st->since_us = now_us();
	st->due_us = st->since_us + STREAM_CLOSE_US + st->caller->s->options.slack_ms * 1000;
}

static void cancel(struct stream *st)
{
	size_t start;
	struct buf *out = begin(st->caller, &st->pid, &start);

	term_put_tuple(out, 1);
	term_put_atom(out, "cancel");
	wire_end(out, start);
	caller_say(st->caller, "cancels", st->nonce, st->got);
	closes(st, CLOSING_CANCEL);
}

static void exit_by(struct stream *st, struct caller *by)
{
	static const char *const reasons[] = { "kill", "shutdown", "because" };
	struct term_pid self = caller_pid(by);

	wire_exit(caller_out(by), OP_EXIT2, &self, &st->pid, reasons[rnd_to(by->s, 3)]);
	caller_say(st->caller, "exits stream", st->nonce, st->got);
	st->exited = true;
	closes(st, CLOSING_CANCEL);
}

/* {ask, N} with an N that nobody may ask for. */
static void ask_nonsense(struct stream *st)
{
	struct stress *s = st->caller->s;
	size_t start;
	struct buf *out = begin(st->caller, &st->pid, &start);

	term_put_tuple(out, 2);
	term_put_atom(out, "ask");
	switch (rnd_to(s, 6)) {
	case 0:
		term_put_int(out, 0);
		break;
	case 1:
		term_put_int(out, -1 - (int64_t)rnd_to(s, 1000000));
		break;
	case 2:
		term_put_uint(out, UINT64_C(1000000001) + rnd_to(s, UINT64_MAX / 2));
		break;
	case 3:
		term_put_atom(out, "infinity");
		break;
	case 4:
		term_put_float(out, 1.0);
		break;
	default:
		term_put_binary(out, s->noise, (size_t)rnd_to(s, 200));
	}
	wire_end(out, start);
	caller_say(st->caller, "asks nonsense", st->nonce, st->got);
	closes(st, CLOSING_BAD_ASK);
}

/* What means nothing to a stream; it changes nothing. */
static void babble(struct caller *c, const struct term_pid *pid)
{
	struct term_pid self = caller_pid(c);
	size_t start;
	struct buf *out;

	c->s->talks++;
	if (rnd_to(c->s, 3) == 0) { /* as for any process that does not trap exits */
		wire_exit(caller_out(c), OP_EXIT2, &self, pid, "normal");
		return;
	}
	out = begin(c, pid, &start);
	switch (rnd_to(c->s, 3)) {
	case 0:
		term_put_atom(out, "cancel");
		break;
	case 1:
		term_put_tuple(out, 2);
		term_put_atom(out, "frobnicate");
		term_put_int(out, 1);
		break;
	default:
		term_put_list(out, 1);
		term_put_text(out, "ask");
		term_put_nil(out);
	}
	wire_end(out, start);
}

/* A gen_server call to it: ping, or what a stream does not do. */
struct ask *stream_talk(struct caller *c, const struct term_pid *pid)
{
	bool ping = rnd_to(c->s, 2) == 0;
	size_t start;
	struct ask *a = request_begin(c, ping ? ASK_PING : ASK_BAD, NULL, pid, &start);

	term_put_atom(caller_out(c), ping ? "ping" : "frobnicate");
	request_send(a, start, 0);
	c->s->talks++;
	return a;
}

/* Everything that can be said to a process, to one that is no more. */
void stream_haunt(struct caller *c, const struct term_pid *pid)
{
	struct term_pid self = caller_pid(c);
	size_t start;
	struct buf *out;

	out = begin(c, pid, &start);
	term_put_tuple(out, 2);
	term_put_atom(out, "ask");
	term_put_int(out, (int64_t)rnd_to(c->s, 3));
	wire_end(out, start);
	out = begin(c, pid, &start);
	term_put_tuple(out, 1);
	term_put_atom(out, "cancel");
	wire_end(out, start);
	babble(c, pid);
	wire_exit(caller_out(c), OP_EXIT2, &self, pid, "kill");
	stream_talk(c, pid)->gone = true;
}

/* ---- what it does ---- */

static void leave_lease(struct stream *st)
{
	struct caller *c = st->caller;

	if (!c->lease.held || c->waiting != NULL) {
		cancel(st);
		return;
	}
	closes(st, CLOSING_LEASE);
	lease_leave(c, st->plan == PLAN_LEASE_CHECKIN);
}

void stream_carry_out(struct stream *st)
{
	struct caller *c = st->caller;

	switch (st->plan) {
	case PLAN_CONSUME:
		break;
	case PLAN_CANCEL:
		cancel(st);
		break;
	case PLAN_EXIT:
		exit_by(st, c);
		break;
	case PLAN_EXIT_BY_OTHER:
		exit_by(st, c->sim->control);
		break;
	case PLAN_BAD_ASK:
		ask_nonsense(st);
		break;
	case PLAN_DIE:
		caller_die(c);
		break;
	case PLAN_LEASE_EXIT:
	case PLAN_LEASE_CHECKIN:
		leave_lease(st);
		break;
	}
}

bool stream_is_due(const struct stream *st)
{
	return st->closing == CLOSING_NOT && st->plan != PLAN_CONSUME && st->got >= st->plan_at;
}

void stream_step(struct caller *c)
{
	struct stream *st = c->stream;
	struct stress *s = c->s;

	if (stream_is_due(st)) {
		stream_carry_out(st);
		return;
	}
	if (st->closing != CLOSING_NOT || c->waiting != NULL)
		return;
	if (rnd_to(s, 20) == 0)
		babble(c, &st->pid);
	if (st->got == st->asked)
		stream_ask_more(st);
	else if (rnd_to(s, 4) == 0)
		(void)stream_talk(c, &st->pid);
}

void stream_calm(struct caller *c)
{
	struct stream *st = c->stream;

	if (st == NULL || st->closing != CLOSING_NOT)
		return;
	cancel(st);
}
