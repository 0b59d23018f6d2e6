/* stress_batch.c - several calls in one request: an outcome for each, in order, with its own nonce.
 *
 * What each call is follows from the nonce and its place, so the books need no room for it: most give
 * back what they are sent, some raise, some are no functions; none of them stops those behind it. */
#include "stress.h"

#include <inttypes.h>
#include <stdio.h>

#define CALLS_MAX 20

enum part { PART_IDENTITY, PART_RAISES, PART_NO_FUNCTION };

static enum part part(uint64_t nonce, unsigned place)
{
	uint64_t h = (nonce * 31 + place) * UINT64_C(0x9e3779b97f4a7c15) >> 56;

	return h < 200 ? PART_IDENTITY : h < 235 ? PART_RAISES : PART_NO_FUNCTION;
}

static void put_call(struct buf *out, uint64_t nonce, unsigned place)
{
	enum part p = part(nonce, place);
	char text[40];

	term_put_tuple(out, 3);
	term_put_atom(out, p == PART_RAISES ? "builtins" : "krait");
	term_put_text(out, p == PART_IDENTITY ? "identity"
			   : p == PART_RAISES ? "int"
					      : "no_such_function");
	term_put_list(out, 1);
	if (p == PART_RAISES) {
		snprintf(text, sizeof text, "no number: %" PRIu64, nonce);
		term_put_text(out, text);
	} else {
		term_put_tuple(out, 2);
		term_put_uint(out, nonce);
		term_put_uint(out, place);
	}
	term_put_nil(out);
}

void batch_send(struct caller *c, const struct term_pid *lease)
{
	struct stress *s = c->s;
	uint64_t timeout_ms =
		rnd_pct(s, s->options.brief) ? 1 + rnd_to(s, 100) : s->options.timeout_ms;
	size_t start;
	struct ask *a =
		request_begin(c, ASK_BATCH, lease == NULL ? s->options.pool : NULL, lease, &start);
	struct buf *out = caller_out(c);

	a->batch = 1 + (unsigned)rnd_to(s, CALLS_MAX);
	a->doubtful = lease != NULL && c->lease.doubtful;
	term_put_tuple(out, 3);
	term_put_atom(out, "batch");
	term_put_list(out, a->batch);
	for (unsigned i = 0; i < a->batch; i++)
		put_call(out, a->nonce, i);
	term_put_nil(out);
	term_put_map(out, 1);
	term_put_atom(out, "timeout");
	term_put_uint(out, timeout_ms);
	s->batched += a->batch;
	request_send(a, start, timeout_ms * 1000);
}

static const char *judge_identity(const uint8_t *outcome, uint64_t nonce, unsigned place)
{
	const uint8_t *value = answer_second(outcome, "ok"), *e;
	uint32_t arity;
	int64_t n, i;

	if (value == NULL || !term_tuple(value, &arity, &e) || arity != 2 || !term_int(e, &n) ||
	    !term_int(term_skip(e), &i))
		return "something else than was sent in one of them";
	return (uint64_t)n == nonce && i == place ? NULL
						  : "the outcome of another call in its place";
}

static const char *judge_part(const uint8_t *outcome, uint64_t nonce, unsigned place)
{
	const uint8_t *reason, *e;
	uint32_t arity;

	switch (part(nonce, place)) {
	case PART_IDENTITY:
		return judge_identity(outcome, nonce, place);
	case PART_RAISES:
		return answer_names(outcome, nonce) ? NULL : "one of them should have raised";
	default:
		reason = answer_second(outcome, "error");
		return reason != NULL && term_tuple(reason, &arity, &e) && arity == 3 &&
				       term_is_atom(e, "no_function")
			       ? NULL
			       : "one of them is no function";
	}
}

const char *batch_judge(const struct ask *a, const uint8_t *value)
{
	const uint8_t *outcome;
	const char *why = NULL;
	uint32_t count;

	if (!term_list(value, &count, &outcome) || count != a->batch)
		return "not an outcome for each";
	for (unsigned i = 0; i < count && why == NULL; i++, outcome = term_skip(outcome))
		why = judge_part(outcome, a->nonce, i);
	return why;
}
