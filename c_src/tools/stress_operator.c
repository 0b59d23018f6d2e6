/* stress_operator.c - what operators do while others call: resize, reload, recycle, pause and resume.
 *
 * The clean peer asks for one thing after the other, --operate of them per second in the mean, and hears `ok`
 * each time. No caller may notice: a worker that exits, or a lease that ends, is still a failure unless a
 * worker was killed. Sessions are lost with their workers, which their callers are told.
 * At the end the pool gets back its size, and what was paused is resumed. */
#include "stress.h"

#include <string.h>

#define RELOAD_US \
	(30 * SECOND_US) /* a fork server starts, and workers are replaced in their turn */

static struct caller *control(struct stress *s)
{
	return s->sims[s->options.peers].control;
}

/* An atom, or {Word, Number}. */
static void ask(struct stress *s, enum ask_kind kind, uint64_t number)
{
	struct caller *c = control(s);
	size_t start;
	struct ask *a = request_begin(c, kind, s->options.pool, NULL, &start);

	if (kind == ASK_RESIZE || kind == ASK_RECYCLE)
		term_put_tuple(caller_out(c), 2);
	term_put_atom(caller_out(c), ask_names[kind]);
	if (kind == ASK_RESIZE || kind == ASK_RECYCLE)
		term_put_uint(caller_out(c), number);
	request_send(a, start, RELOAD_US);
	s->operator.asked++;
}

/* One of those that the last answer to `workers` told of; 0: none. */
static uint64_t some_worker(struct stress *s)
{
	unsigned n = s->journaled < JOURNAL ? s->journaled : JOURNAL;

	if (s->journaled == 0)
		return 0;
	return s->journal[(s->journaled - 1 - rnd_to(s, n)) % JOURNAL].worker_id;
}

static void resize(struct stress *s, uint64_t size)
{
	if (size > s->operator.largest)
		s->operator.largest = size;
	ask(s, ASK_RESIZE, size);
}

void operator_acts(struct stress *s)
{
	uint64_t what = rnd_to(s, 10), worker;

	if (s->sims[s->options.peers].state != SIM_UP || s->before.size == 0)
		return;
	if (s->operator.paused) {
		ask(s, ASK_RESUME, 0);
		s->operator.paused = false;
	} else if (what < 4) {
		resize(s, 1 + rnd_to(s, 2 * s->before.size));
	} else if (what < 5 && !s->operator.reloading) {
		ask(s, ASK_RELOAD, 0);
		s->operator.reloading = true;
	} else if (what < 8 && (worker = some_worker(s)) != 0) {
		ask(s, ASK_RECYCLE, worker);
	} else {
		ask(s, ASK_PAUSE, 0);
		s->operator.paused = true;
	}
}

void operator_leaves(struct stress *s)
{
	if (s->operator.asked == 0)
		return;
	ask(s, ASK_RESUME, 0);
	resize(s, s->before.size);
}

void operator_answer(struct ask *a, const uint8_t *reply)
{
	struct stress *s = a->caller->s;

	(void)answer_judge(a, reply);
	if (a->kind == ASK_RELOAD)
		s->operator.reloading = false;
	ask_cut(a);
}

uint64_t operator_most_workers(const struct stress *s, uint64_t size)
{
	uint64_t most = s->operator.largest> size ? s->operator.largest : size;

	if (s->operator.asked == 0)
		return size;
	if (most < s->before.size)
		most = s->before.size; /* a busy worker of before the first resize leaves when it is done */
	return most + 1; /* one is replaced at a time, by one before it goes */
}
