/* ctl_top.c - the live screen: asks for status and workers again and again, draws, and heeds keys.
 *
 * One thing after the other: ask, draw, wait until the time is up, a key is there or the screen has another
 * size. What a key does is a request as any; its answer is the line of words. */
#include "ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 4096

struct state {
	struct top top;
	struct link *link;
	const struct ctl_args *args;
	enum ctl_status status;
	char error[400];
	bool ends;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- asking ---- */

/* The answer, or NULL when there is none: then the screen ends. */
static const uint8_t *ask(struct state *s, const struct buf *request)
{
	const char *name = s->args->pool != NULL ? s->args->pool : "krait";
	const uint8_t *answer;

	s->status = link_call(s->link, name, (struct span){ request->data, request->len },
			      s->args->timeout_ms, &answer, s->error, sizeof s->error);
	if (s->status == CTL_OK)
		return answer;
	s->ends = true;
	return NULL;
}

/* {ok, Map} kept; false: it is {error, Reason}, or there is no answer. */
static bool fetch(struct state *s, const char *verb, struct buf *into)
{
	struct buf request = { 0 }, words = { 0 };
	const uint8_t *answer, *at;
	uint32_t arity;

	term_put_atom(&request, verb);
	answer = ask(s, &request);
	buf_free(&request);
	if (answer == NULL || !term_tuple(answer, &arity, &at) || arity != 2)
		return false;
	if (!term_is_atom(at, "ok")) { /* forbidden: there is nothing to see */
		ctl_reason_put(term_skip(at), &words);
		snprintf(s->error, sizeof s->error, "%.*s", (int)words.len, (char *)words.data);
		buf_free(&words);
		s->status = CTL_ERROR;
		s->ends = true;
		return false;
	}
	buf_reset(into, 1 << 20);
	buf_put(into, term_skip(at), term_span(term_skip(at)).len);
	if (into->err != 0)
		ctl_no_memory();
	return true;
}

static uint64_t answered(const uint8_t *status)
{
	const uint8_t *pools = term_map_get(status, "pools"), *at;
	uint64_t sum = 0;
	uint32_t count;

	if (pools == NULL || !term_map(pools, &count, &at))
		return 0;
	for (; count > 0; count--, at = term_skip(term_skip(at)))
		sum += term_map_uint(term_map_get(term_skip(at), "totals"), "answered");
	return sum;
}

static void refresh(struct state *s)
{
	struct top *t = &s->top;
	uint64_t count, now;

	if (!fetch(s, "status", &t->status) || !fetch(s, "workers", &t->workers))
		return;
	count = answered(t->status.data);
	now = now_us();
	if (t->answered_us != 0 && now > t->answered_us && count >= t->answered)
		t->per_second =
			(double)(count - t->answered) * 1e6 / (double)(now - t->answered_us);
	t->answered = count;
	t->answered_us = now;
}

/* ---- what keys do ---- */

/* A verb, for the chosen worker if it concerns one; what came of it is the line of words. */
static void command(struct state *s, const char *verb, bool of_worker, const char *done)
{
	struct buf request = { 0 }, words = { 0 };
	const uint8_t *answer, *at;
	uint32_t arity;

	if (of_worker)
		term_put_tuple(&request, 2);
	term_put_atom(&request, verb);
	if (of_worker)
		term_put_uint(&request, s->top.chosen);
	answer = ask(s, &request);
	if (answer != NULL && term_tuple(answer, &arity, &at) && arity == 2 &&
	    term_is_atom(at, "error"))
		ctl_reason_put(term_skip(at), &words);
	else
		text_put(&words, "%s", done);
	snprintf(s->top.message, sizeof s->top.message, "%.*s", (int)words.len, (char *)words.data);
	buf_free(&request);
	buf_free(&words);
}

static bool is_paused(const struct top *t)
{
	const uint8_t *pools = term_map_get(t->status.data, "pools"), *at;
	uint32_t count;

	if (t->status.len == 0 || pools == NULL || !term_map(pools, &count, &at))
		return false;
	for (; count > 0; count--, at = term_skip(term_skip(at))) {
		const uint8_t *state = term_map_get(term_skip(at), "state");

		if (state != NULL && term_is_atom(state, "paused"))
			return true;
	}
	return false;
}

/* The worker that is `by` lines away; of a chosen one that is gone, the first. */
static void choose(struct top *t, int by)
{
	static uint64_t ids[WORKERS_MAX];
	unsigned n = top_order(t, ids, WORKERS_MAX), at = 0;
	bool found = false;

	for (unsigned i = 0; i < n && !found; i++)
		if (t->has_chosen && ids[i] == t->chosen) {
			at = i;
			found = true;
		}
	if (n == 0)
		return;
	if (found && by < 0 && at > 0)
		at--;
	if (found && by > 0 && at + 1 < n)
		at++;
	t->has_chosen = true;
	t->chosen = ids[at];
}

static void on_key(struct state *s, int key)
{
	struct top *t = &s->top;
	bool confirmed = t->confirm_kill && key == 'y';

	t->message[0] = '\0';
	if (t->confirm_kill) {
		t->confirm_kill = false;
		if (confirmed)
			command(s, "kill", true, "killed");
		return;
	}
	switch (key) {
	case 'q':
	case 3: /* control-C: raw keys */
	case KEY_END:
		s->ends = true;
		break;
	case 'p':
		if (is_paused(t))
			command(s, "resume", false, "resumed");
		else
			command(s, "pause", false, "paused: requests wait");
		break;
	case 'k':
	case KEY_UP:
		choose(t, -1);
		break;
	case 'j':
	case KEY_DOWN:
		choose(t, 1);
		break;
	case 's':
		t->sort = (enum top_sort)((t->sort + 1) % TOP_SORTS);
		break;
	case 'r':
	case 'K':
		if (!t->has_chosen)
			snprintf(t->message, sizeof t->message, "choose a worker first: up, down");
		else if (key == 'r')
			command(s, "recycle", true, "will be replaced after its call");
		else
			t->confirm_kill = true;
		break;
	default:
		break;
	}
}

/* ---- the loop ---- */

static void draw(struct top *t)
{
	struct buf frame = { 0 };

	screen_size(&t->rows, &t->columns);
	top_frame(t, &frame);
	if (frame.err != 0)
		ctl_no_memory();
	screen_draw(&frame);
	buf_free(&frame);
}

/* A change of the size ends what waits; the size is looked at then. */
static void on_resize(int number)
{
	(void)number;
}

/* Waits until the next refresh is due; draws again when a key or a resize wants it. */
static void wait_and_heed(struct state *s, uint64_t until_us)
{
	uint64_t now;
	unsigned rows, columns;

	while (!s->ends && (now = now_us()) < until_us) {
		uint64_t ms = (until_us - now) / 1000 + 1;
		bool heeded = false;
		int key;

		/* looked at five times a second: a resize draws again soon */
		if (!link_wait(s->link, STDIN_FILENO, ms < 200 ? ms : 200, s->error,
			       sizeof s->error)) {
			s->status = CTL_NO_NODE;
			s->ends = true;
			return;
		}
		while (!s->ends && (key = screen_key()) != KEY_NONE) {
			on_key(s, key);
			heeded = true;
		}
		screen_size(&rows, &columns);
		if (heeded && !s->ends)
			refresh(s);
		if (!s->ends && (heeded || rows != s->top.rows || columns != s->top.columns))
			draw(&s->top);
	}
}

enum ctl_status ctl_top(struct link *l, const struct ctl_args *a, bool colour)
{
	struct state s = { .link = l, .args = a, .top.colour = colour };

	if (a->json) {
		fprintf(stderr,
			"kraitctl: top is for people; for programs there is status --json\n");
		return CTL_USAGE;
	}
	signal(SIGWINCH, on_resize);
	refresh(&s); /* before the terminal is taken: what is refused is said as ever */
	if (!s.ends && !screen_enter()) {
		s.ends = true;
		s.status = CTL_USAGE;
		snprintf(s.error, sizeof s.error, "top needs a terminal");
	}
	while (!s.ends) {
		draw(&s.top);
		wait_and_heed(&s, now_us() + a->interval_ms * 1000);
		if (!s.ends)
			refresh(&s);
	}
	screen_leave();
	buf_free(&s.top.status);
	buf_free(&s.top.workers);
	if (s.status != CTL_OK)
		fprintf(stderr, "kraitctl: %s\n", s.error);
	return s.status;
}
