/* node_failures.c - the last failures of each pool; see node_failures.h. */
#include "node_failures.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t wall_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- what was called ---- */

static void put_name(struct buf *name, const uint8_t *t)
{
	struct span text = { NULL, 0 };
	bool latin1;

	if (term_atom(t, &text, &latin1) || term_binary(t, &text))
		buf_put(name, text.at, text.len);
}

void node_call_name(const struct node_request *r, struct buf *name)
{
	struct called c;

	if (r->verb == VERB_BATCH) {
		buf_put(name, "a batch", 7);
	} else if (node_request_called(r, &c)) {
		put_name(name, c.module.at);
		buf_put_u8(name, '.');
		put_name(name, c.function.at);
	}
}

/* ---- the ring ---- */

static void move_to_front(struct node_failures *f, unsigned i)
{
	struct node_failure moved = f->at[i];

	memmove(&f->at[1], &f->at[0], i * sizeof f->at[0]);
	f->at[0] = moved;
}

/* Keeps one; without memory for its text it is not kept. */
static void keep(struct node_pool *p, const struct node_failure *new, const char *text, size_t len)
{
	struct node_failures *f = &p->failures;
	size_t skip = len > FAILURE_TEXT ? len - FAILURE_TEXT : 0;
	char *copy;

	text += skip;
	len -= skip;
	for (unsigned i = 0; i < f->count; i++) {
		if (strcmp(f->at[i].kind, new->kind) != 0 || f->at[i].len != len ||
		    strcmp(f->at[i].call, new->call) != 0 || memcmp(f->at[i].text, text, len) != 0)
			continue;
		f->at[i].count++;
		f->at[i].time_ms = wall_clock_ms();
		f->at[i].worker_id = new->worker_id;
		move_to_front(f, i);
		return;
	}
	if ((copy = mem_dup(text, len)) == NULL)
		return;
	if (f->count == FAILURES_MAX)
		mem_free(f->at[--f->count].text);
	f->at[f->count] = *new;
	f->at[f->count].text = copy;
	f->at[f->count].len = len;
	f->at[f->count].count = 1;
	f->at[f->count].time_ms = wall_clock_ms();
	move_to_front(f, f->count++);
}

/* ---- what is kept ---- */

/* The traceback of an ERROR frame (type, module, message, traceback); false: it is another kind. */
static bool traceback(const struct frame *frame, const char **text, size_t *len)
{
	const uint8_t *at = frame->rest, *end = at + frame->rest_len;

	if (!frame_get_str(&at, end, text, len) || *len != 6 || memcmp(*text, "python", 6) != 0)
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (!frame_get_str(&at, end, text, len))
			return false;
	return true;
}

static void keep_exit(struct node_pool *p, struct node_failure *new)
{
	const struct node_worker *w =
		p->dying != NULL ? p->dying : node_worker_find(p, new->worker_id);
	struct buf text = { 0 };
	char head[96];

	if (w == NULL)
		return;
	if (w->killed_for != NULL)
		snprintf(head, sizeof head, "killed: %.64s\n", w->killed_for);
	else if (w->signal != 0)
		snprintf(head, sizeof head, "ended by signal %s\n", signal_name(w->signal));
	else
		snprintf(head, sizeof head, "ended with status %d\n", w->status);
	worker_last_lines(w->io, &text);
	buf_put(&text, head, strlen(head));
	if (text.err == 0)
		keep(p, new, (char *)text.data, text.len);
	buf_free(&text);
}

static void keep_timeout(struct node_pool *p, struct node_failure *new,
			 const struct node_request *r)
{
	char text[96];
	int len = snprintf(
		text, sizeof text, "ran out of time, %llu ms after its arrival",
		(unsigned long long)((r->pool.deadline_us - r->pool.arrived_us + 999) / 1000));

	keep(p, new, text, (size_t)len);
}

void node_failures_done(struct node_pool *p, const struct node_request *r)
{
	struct node_failure new = { .worker_id = r->pool.worker_id };
	uint8_t bytes[2 * TERM_ATOM_BYTES];
	struct buf name = { .data = bytes, .cap = sizeof bytes, .limit = sizeof bytes };
	const char *text;
	size_t len;
	bool raised = r->pool.outcome == OUTCOME_OK && p->frame != NULL &&
		      p->frame->type == FRAME_ERROR && traceback(p->frame, &text, &len);

	if (r->verb == VERB_CHECKOUT || (!raised && r->pool.outcome != OUTCOME_WORKER_EXIT &&
					 r->pool.outcome != OUTCOME_TIMEOUT_CALL))
		return;
	node_call_name(r, &name);
	snprintf(new.call, sizeof new.call, "%.*s", (int)name.len, (char *)name.data);
	if (raised) {
		new.kind = "python";
		keep(p, &new, text, len);
	} else if (r->pool.outcome == OUTCOME_WORKER_EXIT) {
		new.kind = "worker_exit";
		keep_exit(p, &new);
	} else if (r->pool.outcome == OUTCOME_TIMEOUT_CALL) {
		new.kind = "timeout";
		keep_timeout(p, &new, r);
	}
}

void node_failures_start(struct node_pool *p, const char *text, size_t len)
{
	struct node_failure new = { .kind = "start" };

	keep(p, &new, text, len);
}

void node_failures_free(struct node_pool *p)
{
	while (p->failures.count > 0)
		mem_free(p->failures.at[--p->failures.count].text);
}
