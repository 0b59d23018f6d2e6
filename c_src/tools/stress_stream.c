/* stress_stream.c - streams: asked for, with a shape and a plan; and their records.
 *
 *   asked for --{ok, _}--> open --done, {error, _}--> ended --barrier--> forgotten
 *             --late, or unheard--> cut    open --death--> cut
 *
 * The shape is what Python's generator does, the plan what its owner will do, and when. What the owner
 * says: stress_stream_say.c; what it hears: stress_stream_hear.c; how a stream may end:
 * stress_stream_end.c. Whether its generator was closed is asked when the run is over
 * (stress_settle.c). */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define ENDLESS      (INT64_C(1) << 40)
#define DEMAND       16 /* without the option */
#define ITEMS_MAX    200
#define ITEMS_FAR    3000
#define STREAM_BYTES (1u << 20) /* of one stream, about */

const char *const stream_hows[SHAPES] = {
	[SHAPE_ENDS] = "ends",         [SHAPE_LIST] = "ends",       [SHAPE_ENDLESS] = "ends",
	[SHAPE_RAISES] = "raises",     [SHAPE_NO_TERM] = "no_term", [SHAPE_UNTIDY] = "untidy",
	[SHAPE_NONE] = "ends",         [SHAPE_NEVER] = "raises",    [SHAPE_STUCK] = "stuck",
	[SHAPE_STUBBORN] = "stubborn",
};

static const struct {
	const char *function, *async;
	unsigned share; /* of 100 */
} shapes[SHAPES] = {
	[SHAPE_ENDS] = { "items", "items_async", 42 },
	[SHAPE_LIST] = { "listed", NULL, 8 },
	[SHAPE_ENDLESS] = { "items", "items_async", 26 },
	[SHAPE_RAISES] = { "items", "items_async", 9 },
	[SHAPE_NO_TERM] = { "items", NULL, 5 },
	[SHAPE_UNTIDY] = { "items", "items_async", 6 },
	[SHAPE_NONE] = { "no_items", NULL, 2 },
	[SHAPE_NEVER] = { "no_items", NULL, 2 },
	[SHAPE_STUCK] = { "items", NULL, 0 },
	[SHAPE_STUBBORN] = { "items", NULL, 0 },
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

void stream_cut(struct stream *st, uint64_t barrier)
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
	st->style = (unsigned)rnd_to(s, 4);
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
	term_put_text(out, stream_hows[st->shape]);
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
