/* stress_stream.c - a process that owns a stream: asks, cancels, leaves; what it is sent.
 *
 * The happy path: {stream, ...} -> {ok, Stream} -> items, each with the nonce and its index -> asks -> done.
 * How it asks: all at once, a few when none are left, a few ahead, or late. What it may do instead of
 * reading to the end: {cancel}; exit(Stream, Reason), by itself or by another process; ask for nonsense;
 * end the lease that the stream is on; die. Meanwhile it talks to the stream as to any process, and to
 * streams that have ended.
 *
 *   asked for --{ok, _}--> open --done, {error, _}--> ended --barrier--> forgotten
 *             --late, or unheard--> cut    open --death--> cut
 *
 * The books: the next index and no other, not one more than was asked for, one end to a living owner and
 * nothing after it (how it may end: stress_stream_end.c). Whether its generator was closed is asked when
 * the run is over (stress_settle.c). */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define ENDLESS      (INT64_C(1) << 40)
#define DEMAND       16 /* without the option */
#define ITEMS_MAX    200
#define ITEMS_FAR    3000
#define STREAM_BYTES (1u << 20)      /* of one stream, about */
#define CLOSE_US     (2 * SECOND_US) /* a worker that does not close a generator is killed by then */
#define LAZY_US      30000

static const struct {
	const char *function, *async, *how;
	unsigned share; /* of 100 */
} shapes[SHAPES] = {
	[SHAPE_ENDS] = { "items", "items_async", "ends", 42 },
	[SHAPE_LIST] = { "listed", NULL, "ends", 8 },
	[SHAPE_ENDLESS] = { "items", "items_async", "ends", 26 },
	[SHAPE_RAISES] = { "items", "items_async", "raises", 9 },
	[SHAPE_NO_TERM] = { "items", NULL, "no_term", 5 },
	[SHAPE_UNTIDY] = { "items", "items_async", "untidy", 6 },
	[SHAPE_NONE] = { "no_items", NULL, "ends", 2 },
	[SHAPE_NEVER] = { "no_items", NULL, "raises", 2 },
	[SHAPE_STUCK] = { "items", NULL, "stuck", 0 },
	[SHAPE_STUBBORN] = { "items", NULL, "stubborn", 0 },
};

/* ---- the record ---- */

void stream_free(struct stream *st)
{
	if (st == NULL)
		return;
	if (st->caller->stream == st)
		st->caller->stream = NULL;
	list_remove(&st->link);
	list_remove(&st->by_tomb);
	mem_free(st);
}

/* From now on only what crosses may come. */
static void cut(struct stream *st, uint64_t barrier)
{
	struct caller *c = st->caller;

	if (c->stream == st)
		c->stream = NULL;
	st->cut = barrier;
	st->due_us = NEVER;
	list_append(&c->sim->ended, &st->by_tomb);
}

void streams_retire(struct sim *sim, uint64_t barrier)
{
	struct list *pos, *next;

	list_each (pos, next, &sim->ended) {
		struct stream *st = list_entry(pos, struct stream, by_tomb);

		if (st->cut <= barrier)
			stream_free(st);
	}
}

void stream_forget_monitor(struct caller *c, const struct ask *a)
{
	if (c->stream != NULL && c->stream->monitor == a)
		c->stream->monitor = NULL;
}

static void end_count(struct caller *c, enum stream_end end)
{
	c->s->stream_ends[end]++;
}

/* ---- the request ---- */

static enum stream_shape some_shape(struct stress *s)
{
	uint64_t r = rnd_to(s, 100);
	unsigned shape = 0;

	if (rnd_pct(s, s->options.stuck))
		return rnd_to(s, 2) == 0 ? SHAPE_STUCK : SHAPE_STUBBORN;
	while (r >= shapes[shape].share)
		r -= shapes[shape++].share;
	return (enum stream_shape)shape;
}

static bool is_endless(const struct stream *st)
{
	return st->total == ENDLESS;
}

static enum stream_plan some_plan(struct caller *c, const struct stream *st)
{
	struct stress *s = c->s;
	uint64_t r = rnd_to(s, 100);

	if (s->phase != PHASE_RUN)
		return PLAN_CANCEL;
	if (r < 8 && rnd_pct(s, 2 * s->options.kill) && now_us() >= c->spared_us)
		return PLAN_DIE;
	if (r < 16)
		return PLAN_EXIT;
	if (r < 20)
		return PLAN_EXIT_BY_OTHER;
	if (r < 26)
		return PLAN_BAD_ASK;
	if (r < 34 && st->on_lease)
		return r < 30 ? PLAN_LEASE_EXIT : PLAN_LEASE_CHECKIN;
	if (r < 44 || is_endless(st) || st->shape == SHAPE_STUCK)
		return PLAN_CANCEL;
	return PLAN_CONSUME;
}

static void make_plan(struct caller *c, struct stream *st)
{
	struct stress *s = c->s;
	uint64_t most = STREAM_BYTES / (st->payload_len + 64),
		 n = rnd_to(s, rnd_to(s, 10) == 0 ? ITEMS_FAR : ITEMS_MAX);

	n = n > most ? most : n;
	st->total = n;
	st->plan_at = rnd_to(s, n + 1);
	if (st->shape == SHAPE_ENDLESS || st->shape == SHAPE_STUBBORN ||
	    (st->shape == SHAPE_UNTIDY && rnd_to(s, 2) == 0))
		st->total = ENDLESS;
	st->plan = some_plan(c, st);
	st->style = rnd_to(s, 4);
}

static uint64_t first_demand(struct stress *s, const struct stream *st)
{
	if (st->style == STYLE_EAGER)
		return is_endless(st) || rnd_to(s, 4) == 0 ? 1000000 : st->total + 1;
	return rnd_to(s, 3) == 0 ? DEMAND : rnd_to(s, 40);
}

static void put_stream(struct caller *c, const struct stream *st, struct buf *out)
{
	struct stress *s = c->s;
	bool retry = !st->on_lease && rnd_to(s, 10) == 0;

	term_put_tuple(out, 5);
	term_put_atom(out, "stream");
	term_put_atom(out, "krait_stress_py");
	term_put_text(out, st->async ? shapes[st->shape].async : shapes[st->shape].function);
	term_put_list(out, 4);
	term_put_uint(out, st->nonce);
	term_put_uint(out, st->total);
	request_put_payload(s, st->nonce, st->payload_len, out);
	term_put_text(out, shapes[st->shape].how);
	term_put_nil(out);
	term_put_map(out, 1u + retry + (st->asked != DEMAND));
	term_put_atom(out, "timeout");
	term_put_uint(out, st->timeout_us / 1000);
	if (st->asked != DEMAND) {
		term_put_atom(out, "demand");
		term_put_uint(out, st->asked);
	}
	if (retry) {
		term_put_atom(out, "retry");
		term_put_int(out, (int64_t)rnd_to(s, 3));
	}
}

void stream_send(struct caller *c, const struct term_pid *lease)
{
	struct stress *s = c->s;
	struct stream *st = mem_zalloc(sizeof *st);
	uint64_t timeout_ms = s->options.timeout_ms;
	struct ask *a;
	size_t start;

	if (st == NULL)
		abort();
	list_init(&st->link);
	list_init(&st->by_tomb);
	st->caller = c;
	st->serial = c->serial;
	st->on_lease = lease != NULL;
	st->shape = some_shape(s);
	st->async = shapes[st->shape].async != NULL && rnd_to(s, 4) == 0;
	st->payload_len = request_some_payload(s);
	st->brief = rnd_pct(s, s->options.brief);
	if (st->brief)
		timeout_ms = 1 + rnd_to(s, 100);
	st->timeout_us = timeout_ms * 1000;
	st->due_us = NEVER;
	make_plan(c, st);
	st->asked = first_demand(s, st);
	a = request_begin(c, ASK_STREAM, lease == NULL ? s->options.pool : NULL, lease, &start);
	a->stream = st;
	st->nonce = a->nonce;
	st->sent_us = a->sent_us;
	if (lease != NULL) {
		/* closed or out of time, it may take the worker with it */
		c->lease.doubtful |=
			st->brief || st->shape == SHAPE_STUCK || st->shape == SHAPE_STUBBORN;
		a->doubtful = c->lease.doubtful;
	}
	put_stream(c, st, caller_out(c));
	request_send(a, start, st->timeout_us);
}

/* ---- words to it ---- */

static struct buf *begin(struct caller *c, const struct term_pid *pid, size_t *start)
{
	struct term_pid self = caller_pid(c);

	*start = wire_begin(caller_out(c), &self, (struct wire_to){ .pid = pid });
	return caller_out(c);
}

static void expect_item(struct stream *st)
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
		expect_item(st);
}

static void ask_more(struct stream *st)
{
	struct stress *s = st->caller->s;

	ask(st, rnd_to(s, 50) == 0 ? 1000000000 : 1 + rnd_to(s, rnd_to(s, 2) == 0 ? 4 : 60));
}

static void closes(struct stream *st, enum closing how)
{
	st->closing = how;
	st->since_us = now_us();
	st->due_us = st->since_us + CLOSE_US + st->caller->s->options.slack_ms * 1000;
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
static void talk_to_ghost(struct caller *c, const struct term_pid *pid)
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

/* Its moment has come. The process may be dead afterwards. */
static void carry_out(struct stream *st)
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

static bool is_due(const struct stream *st)
{
	return st->closing == CLOSING_NOT && st->plan != PLAN_CONSUME && st->got >= st->plan_at;
}

void stream_step(struct caller *c)
{
	struct stream *st = c->stream;
	struct stress *s = c->s;

	if (is_due(st)) {
		carry_out(st);
		return;
	}
	if (st->closing != CLOSING_NOT || c->waiting != NULL)
		return;
	if (rnd_to(s, 20) == 0)
		babble(c, &st->pid);
	if (st->got == st->asked)
		ask_more(st);
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

/* ---- what it hears ---- */

static void link_it(struct caller *c, const struct stream *st)
{
	struct term_pid self = caller_pid(c);

	if (c->link.state != LINK_NONE || rnd_to(c->s, 5) != 0)
		return;
	c->link.state = LINK_LINKED;
	c->link.pid = st->pid;
	c->link.due_us = NEVER;
	wire_pair(caller_out(c), OP_LINK, &self, &st->pid);
}

static struct stream *take_over(struct ask *a, const uint8_t *pid)
{
	struct stream *st = a->stream;

	if (!term_pid(pid, &st->pid))
		abort(); /* it was judged */
	st->pid.node = a->caller->s->node_name;
	a->stream = NULL;
	list_append(&a->caller->streams, &st->link);
	a->caller->s->streams++;
	return st;
}

void stream_granted(struct ask *a, const uint8_t *pid)
{
	struct stream *st = take_over(a, pid);
	struct caller *c = a->caller;

	c->stream = st;
	if (rnd_to(c->s, 2) == 0) {
		st->monitor = ask_new(c, ASK_MONITOR);
		ask_watch(st->monitor, NULL, &st->pid);
	}
	link_it(c, st);
	expect_item(st);
}

/* Nobody hears of it: the node must close it, soon. */
void stream_came_late(struct ask *a, const uint8_t *pid)
{
	struct stream *st = take_over(a, pid);
	struct sim *sim = a->caller->sim;

	cut(st, a->cut != 0 ? a->cut : sim->barrier + 1);
	lease_witness(sim->control, &st->pid, now_us() + CLOSE_US);
}

void stream_drop(struct caller *c)
{
	struct stream *st = c->stream;

	if (st == NULL)
		return;
	end_count(c, END_DIED);
	if (rnd_to(c->s, 2) == 0)
		lease_witness(c->sim->control, &st->pid, now_us() + CLOSE_US);
	cut(st, c->sim->barrier + 1);
}

void stream_lost(struct caller *c)
{
	if (c->stream != NULL)
		end_count(c, END_LOST);
	while (!list_empty(&c->streams))
		stream_free(list_entry(c->streams.next, struct stream, link));
}

void stream_overdue(struct caller *c, uint64_t now)
{
	struct stream *st = c->stream;

	if (st == NULL || st->due_us >= now)
		return;
	if (st->closing != CLOSING_NOT)
		fail(c->s, c, "stream %u.%u, nonce %llx, was closed %.3f s ago and has not ended",
		     st->pid.id, st->pid.serial, (unsigned long long)st->nonce,
		     (double)(now - st->since_us) / 1e6);
	else
		fail(c->s, c,
		     "stream %u.%u, nonce %llx, owes an item since %.3f s: %llu came, of %llu "
		     "asked for",
		     st->pid.id, st->pid.serial, (unsigned long long)st->nonce,
		     (double)(now - st->since_us) / 1e6, (unsigned long long)st->got,
		     (unsigned long long)st->asked);
	st->due_us = NEVER;
	caller_die(c);
}

static const char *judge_item(const struct stream *st, const uint8_t *item)
{
	const uint8_t *e, *index;
	uint32_t arity;
	int64_t n;

	if (!term_tuple(item, &arity, &e) || arity != 3 || !term_int(e, &n))
		return "something else than was yielded";
	if ((uint64_t)n != st->nonce)
		return "an item of another stream";
	index = term_skip(e);
	if (!term_int(index, &n) || (uint64_t)n != st->got)
		return "not the next item";
	if (st->got >= st->asked)
		return "more items than were asked for";
	return request_is_payload(st->caller->s, st->nonce, st->payload_len, term_skip(index))
		       ? NULL
		       : "another payload than the one that was sent";
}

static void take_item(struct stream *st, const uint8_t *item)
{
	struct caller *c = st->caller;
	struct stress *s = c->s;
	const char *why = st->ended ? "an item after its end" : judge_item(st, item);
	char text[160];

	if (why != NULL) {
		term_print(item, text, sizeof text);
		fail(s, c, "stream %u.%u, nonce %llx, item %llu of %llu asked for: %s: %s",
		     st->pid.id, st->pid.serial, (unsigned long long)st->nonce,
		     (unsigned long long)st->got, (unsigned long long)st->asked, text, why);
	} else {
		s->checks++;
	}
	s->items++;
	st->got++;
	if (st->cut != 0) {
		s->crossed++;
		return;
	}
	if (st->closing == CLOSING_NOT)
		expect_item(st);
	if (is_due(st))
		carry_out(st);
	else if (st->closing != CLOSING_NOT)
		return;
	else if ((st->style == STYLE_AHEAD && st->asked - st->got < 8 && rnd_to(s, 4) == 0) ||
		 (st->got == st->asked && st->style != STYLE_LAZY))
		ask_more(st);
	else if (st->got == st->asked && c->waiting == NULL)
		caller_wake_in(c, WAKE_NEXT, rnd_to(s, LAZY_US));
}

static void take_end(struct stream *st, const uint8_t *what)
{
	struct caller *c = st->caller;
	struct stress *s = c->s;
	struct term_pid pid = st->pid;
	const char *why = st->ended ? "it was told its end before" : NULL;
	enum stream_end end = st->cut == 0 ? stream_judge_end(st, what, &why) : END_DIED;
	uint64_t due = now_us() + s->options.slack_ms * 1000;
	char text[160];

	if (why != NULL) {
		term_print(what, text, sizeof text);
		fail(s, c,
		     "stream %u.%u, nonce %llx, %s%s of %zu bytes, after %llu of %llu asked for, "
		     "ended with %s: %s",
		     st->pid.id, st->pid.serial, (unsigned long long)st->nonce,
		     shapes[st->shape].how, st->async ? " async" : "", st->payload_len,
		     (unsigned long long)st->got, (unsigned long long)st->asked, text, why);
	} else {
		s->checks++;
	}
	if (st->cut != 0) { /* the owner is dead, or had given up */
		st->ended = true;
		s->crossed++;
		return;
	}
	end_count(c, end);
	if (end == END_CANCELLED && now_us() - st->since_us > s->slowest_close_us)
		s->slowest_close_us = now_us() - st->since_us;
	caller_say(c, stream_end_names[end], st->nonce, st->got);
	if (st->monitor != NULL) {
		st->monitor->due_us = due;
		st->monitor->normal = st->exited || (end != END_DONE && end != END_CANCELLED)
					      ? NULL
					      : "a stream that was done";
		st->monitor = NULL;
	}
	if (c->link.state == LINK_LINKED && pid_same(&c->link.pid, &st->pid))
		c->link.due_us = due;
	if (st->on_lease && (end == END_TIMEOUT || end == END_WORKER_EXIT))
		lease_gone(c);
	st->ended = true;
	cut(st, c->sim->barrier + 1);
	if (c->waiting != NULL)
		return;
	if (s->phase == PHASE_RUN && rnd_to(s, 10) == 0)
		talk_to_ghost(c, &pid);
	else
		caller_next_soon(c, end == END_WORKER_EXIT);
}

void stream_take(struct caller *c, const struct term_pid *to, const uint8_t *stream,
		 const uint8_t *what)
{
	struct term_pid pid;
	struct list *pos, *next;
	const uint8_t *item = answer_second(what, "item");
	char text[160];

	if (!term_pid(stream, &pid))
		pid = (struct term_pid){ 0 };
	list_each (pos, next, &c->streams) {
		struct stream *st = list_entry(pos, struct stream, link);

		if (!pid_same(&st->pid, &pid) || st->serial != to->serial)
			continue;
		if (item != NULL)
			take_item(st, item);
		else
			take_end(st, what);
		return;
	}
	term_print(what, text, sizeof text);
	fail(c->s, c, "%s of stream %u.%u: it has ended, or is not its own", text, pid.id,
	     pid.serial);
}
