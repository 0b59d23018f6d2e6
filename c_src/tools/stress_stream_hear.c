/* stress_stream_hear.c - what the owner of a stream is sent.
 *
 * {ok, Stream} -> items, each with the nonce and its index -> one end, and nothing after it. The books: the
 * next index and no other, not one more than was asked for, in time. An owner that is dead, or gave up
 * before it heard of the stream, may be sent what crossed that, and the stream must end soon. */
#include "stress.h"

#include <stdlib.h>

#define LAZY_US 30000

static void end_count(struct caller *c, enum stream_end end)
{
	c->s->stream_ends[end]++;
}

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
	stream_expect_item(st);
}

/* Nobody hears of it: the node must close it, soon. */
void stream_came_late(struct ask *a, const uint8_t *pid)
{
	struct stream *st = take_over(a, pid);
	struct sim *sim = a->caller->sim;

	stream_cut(st, a->cut != 0 ? a->cut : sim->barrier + 1);
	lease_witness(sim->control, &st->pid, now_us() + STREAM_CLOSE_US);
}

void stream_drop(struct caller *c)
{
	struct stream *st = c->stream;

	if (st == NULL)
		return;
	end_count(c, END_DIED);
	if (rnd_to(c->s, 2) == 0)
		lease_witness(c->sim->control, &st->pid, now_us() + STREAM_CLOSE_US);
	stream_cut(st, c->sim->barrier + 1);
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
		stream_expect_item(st);
	if (stream_is_due(st))
		stream_carry_out(st);
	else if (st->closing != CLOSING_NOT)
		return;
	else if ((st->style == STYLE_AHEAD && st->asked - st->got < 8 && rnd_to(s, 4) == 0) ||
		 (st->got == st->asked && st->style != STYLE_LAZY))
		stream_ask_more(st);
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
		     stream_hows[st->shape], st->async ? " async" : "", st->payload_len,
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
	stream_cut(st, c->sim->barrier + 1);
	if (c->waiting != NULL)
		return;
	if (s->phase == PHASE_RUN && rnd_to(s, 10) == 0)
		stream_haunt(c, &pid);
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
