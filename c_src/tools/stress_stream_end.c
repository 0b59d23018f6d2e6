/* stress_stream_end.c - how a stream may begin, and how it may end.
 *
 * An end has a cause: the generator's own, or ours (it was cancelled, was asked nonsense, its lease was
 * given back), or that its worker was killed by us. A generator is not resumed beyond what was asked
 * for, so even its own end comes only when one more item was. */
#include "stress.h"

#define EARLY_US 2000

const char *const stream_end_names[STREAM_ENDS] = {
	[END_DONE] = "done",
	[END_CANCELLED] = "cancelled",
	[END_PYTHON] = "python",
	[END_UNENCODABLE] = "unencodable",
	[END_BAD_ASK] = "bad_ask",
	[END_TIMEOUT] = "timeout",
	[END_WORKER_EXIT] = "worker_exit",
	[END_LEASE_CLOSED] = "lease_closed",
	[END_DIED] = "died",
	[END_LOST] = "lost",
};

/* What is answered to the request. */
const char *stream_judge_opening(const struct ask *a, enum outcome o, const uint8_t *reply)
{
	const struct stream *st = a->stream;

	if (o == OUT_OK)
		return st->shape == SHAPE_NONE || st->shape == SHAPE_NEVER
			       ? "there is nothing to iterate over"
			       : NULL;
	if (o != OUT_PYTHON)
		return NULL;
	if (st->shape == SHAPE_NEVER)
		return answer_names(reply, st->nonce) ? NULL : "the exception of another request";
	return st->shape == SHAPE_NONE ? NULL : "it does not raise";
}

/* It may end by itself: all its items have come, and one more was asked for. Once it is being closed its
 * items are dropped, and its own end may come first. */
static bool all_came(const struct stream *st)
{
	return st->asked > st->total && (st->got == st->total || st->closing != CLOSING_NOT);
}

static const char *judge_done(const struct stream *st)
{
	if (st->closing == CLOSING_CANCEL || st->closing == CLOSING_LEASE)
		return NULL;
	if (st->shape != SHAPE_ENDS && st->shape != SHAPE_LIST)
		return "its generator does not end so";
	if (st->got != st->total)
		return "items are missing";
	return st->asked > st->got ? NULL : "it was resumed though nothing was asked for";
}

static const char *judge_python(const struct stream *st, const uint8_t *what)
{
	if (!answer_names(what, st->nonce))
		return "the exception of another stream";
	if (st->shape == SHAPE_RAISES)
		return all_came(st) ? NULL
				    : "it raises when all items have come, and one was asked";
	if (st->shape != SHAPE_UNTIDY)
		return "it does not raise";
	return all_came(st) || st->closing != CLOSING_NOT ? NULL : "nobody has closed it";
}

static const char *judge_refused(const struct stream *st, const uint8_t *reason)
{
	struct span where;
	const uint8_t *e;
	uint32_t arity;

	if (!term_tuple(reason, &arity, &e) || arity < 2)
		return "no such reason";
	if (term_is_atom(e, "bad_request"))
		return st->closing == CLOSING_BAD_ASK ? NULL : "it has asked for nothing bad";
	if (!term_is_atom(e, "unencodable") || arity != 3)
		return "no such reason";
	if (st->shape != SHAPE_NO_TERM || !all_came(st))
		return "all its items have terms";
	return term_binary(term_skip(e), &where) && where.len >= 4 && where.at[0] == 'i' &&
			       where.at[1] == 't' && where.at[2] == 'e' && where.at[3] == 'm'
		       ? NULL
		       : "its path does not begin with item";
}

static const char *judge_timeout(const struct stream *st)
{
	if (st->closing != CLOSING_NOT) /* killed when it did not close in its grace */
		return st->shape == SHAPE_STUCK || st->shape == SHAPE_STUBBORN || st->brief
			       ? NULL
			       : "its generator closes at once";
	if (!st->brief)
		return "its time-out is long";
	if (st->asked == st->got)
		return "it has asked for nothing";
	return now_us() - st->sent_us + EARLY_US >= st->timeout_us ? NULL
								   : "a time-out before its time";
}

static const char *judge_worker_exit(const struct stream *st)
{
	struct stress *s = st->caller->s;

	if (++s->exits_heard <= s->workers_killed || s->status.slots > 1)
		return NULL;
	return "nobody has killed its worker";
}

enum stream_end stream_judge_end(struct stream *st, const uint8_t *what, const char **why)
{
	const uint8_t *reason = answer_second(what, "error");
	enum outcome o = answer_classify(what);
	const char *wrong = NULL;
	enum stream_end end = END_DONE;

	if (term_is_atom(what, "done")) {
		wrong = judge_done(st);
		end = st->closing != CLOSING_NOT ? END_CANCELLED : END_DONE;
	} else if (o == OUT_PYTHON) {
		wrong = judge_python(st, what);
		end = END_PYTHON;
	} else if (o == OUT_REFUSED) {
		wrong = judge_refused(st, reason);
		end = st->closing == CLOSING_BAD_ASK ? END_BAD_ASK : END_UNENCODABLE;
	} else if (o == OUT_TIMEOUT_CALL) {
		wrong = judge_timeout(st);
		end = END_TIMEOUT;
	} else if (o == OUT_WORKER_EXIT) {
		wrong = judge_worker_exit(st);
		end = END_WORKER_EXIT;
	} else if (o == OUT_LEASE_CLOSED) {
		wrong = st->on_lease && (st->closing == CLOSING_LEASE || st->caller->lease.doubtful)
				? NULL
				: "nobody has ended its lease";
		end = END_LEASE_CLOSED;
	} else {
		wrong = "that is no end";
	}
	*why = wrong;
	return end;
}
