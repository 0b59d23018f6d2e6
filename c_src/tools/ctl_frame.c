/* ctl_frame.c - what `top` shows, made of the last answers: a head, the pools, the workers, a line of words.
 *
 * Exactly as many lines as the screen has. Where the workers are too many, those around the chosen one. */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>

#define WORKERS_MAX 4096

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[] = { "worker", "state", "time in its state", "calls",
					     "memory" };

	return names[sort];
}

/* ---- order ---- */

struct line {
	const uint8_t *worker;
	uint64_t id, key;
};

static uint64_t state_key(const uint8_t *state)
{
	static const char *const words[] = { "busy",     "leased",   "probing",
					     "starting", "stopping", "idle" };
	uint64_t i = 0;

	while (i < 6 && (state == NULL || !term_is_atom(state, words[i])))
		i++;
	return i;
}

/* Greater numbers first, but for ids and states. */
static uint64_t key_of(const uint8_t *w, enum top_sort sort)
{
	switch (sort) {
	case SORT_STATE:
		return state_key(term_map_get(w, "state"));
	case SORT_AGE:
		return ~term_map_uint(w, "since_ms");
	case SORT_CALLS:
		return ~term_map_uint(w, "calls");
	case SORT_MEMORY:
		return ~term_map_uint(w, "rss_bytes");
	default:
		return 0;
	}
}

static int by_key(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static unsigned order(const struct top *t, struct line *lines, unsigned max)
{
	const uint8_t *at = NULL;
	uint32_t count = 0, n = 0;

	if (t->workers.len == 0 || !term_list(t->workers.data, &count, &at))
		return 0;
	for (; n < count && n < max; n++, at = term_skip(at))
		lines[n] = (struct line){ at, term_map_uint(at, "id"), key_of(at, t->sort) };
	qsort(lines, n, sizeof *lines, by_key);
	return n;
}

unsigned top_order(const struct top *t, uint64_t *ids, unsigned max)
{
	static struct line lines[WORKERS_MAX];
	unsigned n = order(t, lines, max < WORKERS_MAX ? max : WORKERS_MAX);

	for (unsigned i = 0; i < n; i++)
		ids[i] = lines[i].id;
	return n;
}

/* ---- lines ---- */

/* The n-th line of a text, without its end. */
static struct span line_of(const struct buf *text, unsigned n)
{
	const uint8_t *at = text->data, *end = at + text->len, *stop;

	while (n-- > 0 && at < end) {
		stop = memchr(at, '\n', (size_t)(end - at));
		at = stop != NULL ? stop + 1 : end;
	}
	if (at == end)
		return (struct span){ at, 0 };
	stop = memchr(at, '\n', (size_t)(end - at));
	return (struct span){ at, (size_t)((stop != NULL ? stop : end) - at) };
}

static unsigned count_lines(const struct buf *text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text->len; i++)
		n += text->data[i] == '\n';
	return n;
}

struct page {
	struct buf *out;
	unsigned rows, used;
};

static void put_line(struct page *p, const void *text, size_t len)
{
	if (p->used >= p->rows)
		return;
	buf_put(p->out, text, len);
	text_put(p->out, "\x1b[K%s", ++p->used < p->rows ? "\r\n" : "");
}

static void put_status(struct page *p, const struct top *t, const struct look *look)
{
	static const struct ctl_verb verb = { .view = VIEW_STATUS };
	static const struct ctl_args args = { .verb = &verb };
	struct buf text = { 0 };
	char rate[64];
	int n;

	if (t->status.len == 0)
		return;
	ctl_view_put(&args, t->status.data, look, &text);
	n = snprintf(rate, sizeof rate, ", %.*f answers/s", t->per_second < 100 ? 1 : 0,
		     t->per_second);
	for (unsigned i = 0; i < count_lines(&text) && p->used + 4 < p->rows; i++) {
		struct span line = line_of(&text, i);
		struct buf whole = { 0 };

		buf_put(&whole, line.at, line.len);
		if (i == 0)
			buf_put(&whole, rate, (size_t)n);
		put_line(p, whole.data, whole.len);
		buf_free(&whole);
	}
	put_line(p, "", 0);
	buf_free(&text);
}

/* The workers as a list in their order. */
static void put_sorted(const struct line *lines, unsigned n, struct buf *out)
{
	term_put_list(out, n);
	for (unsigned i = 0; i < n; i++)
		term_put_raw(out, term_span(lines[i].worker));
	if (n > 0)
		term_put_nil(out);
}

static void put_worker_line(struct page *p, struct span line, bool chosen, const struct look *look)
{
	struct buf text = { 0 }, whole = { 0 };

	text_put(&text, "%s", chosen ? "> " : "  ");
	buf_put(&text, line.at, line.len);
	look_put(look, chosen ? REVERSE : PLAIN, &whole, (const char *)text.data, text.len);
	put_line(p, whole.data, whole.len);
	buf_free(&text);
	buf_free(&whole);
}

static void put_workers(struct page *p, const struct top *t, const struct look *look)
{
	static struct line lines[WORKERS_MAX];
	struct look narrow = { look->width > 2 ? look->width - 2 : 0, look->colour },
		    plain = narrow;
	struct buf list = { 0 }, coloured = { 0 }, bare = { 0 };
	unsigned n = order(t, lines, WORKERS_MAX), at = 0, first = 0, room;

	plain.colour = false;
	put_sorted(lines, n, &list);
	view_workers(list.data, &narrow, &coloured);
	view_workers(list.data, &plain, &bare); /* the chosen one is turned round as a whole */
	put_worker_line(p, line_of(&coloured, 0), false, look);
	room = p->rows > p->used + 2 ? p->rows - p->used - 2 : 0;
	for (unsigned i = 0; i < n; i++)
		at = t->has_chosen && lines[i].id == t->chosen ? i : at;
	if (at >= room)
		first = at - room + 1;
	for (unsigned i = first; i < n && i < first + room; i++) {
		bool chosen = t->has_chosen && lines[i].id == t->chosen;

		put_worker_line(p, line_of(chosen ? &bare : &coloured, i + 1), chosen, look);
	}
	buf_free(&list);
	buf_free(&coloured);
	buf_free(&bare);
}

void top_frame(struct top *t, struct buf *out)
{
	struct look look = { t->columns, t->colour };
	struct page p = { out, t->rows, 0 };
	struct buf words = { 0 }, keys = { 0 };

	put_status(&p, t, &look);
	put_workers(&p, t, &look);
	while (p.used + 2 < p.rows)
		put_line(&p, "", 0);
	if (t->confirm_kill)
		text_put(&words, "kill worker %llu, whatever it does? y: yes, any other key: no",
			 (unsigned long long)t->chosen);
	else
		text_safe(&words, t->message, strlen(t->message), false);
	put_line(&p, words.data, text_cut((char *)words.data, words.len, t->columns));
	text_put(&keys, "q quit  p pause/resume  up/down worker  r recycle  K kill  s sort (by %s)",
		 top_sort_name(t->sort));
	buf_reset(&words, 1024);
	look_put(&look, DIM, &words, (char *)keys.data,
		 text_cut((char *)keys.data, keys.len, t->columns));
	put_line(&p, words.data, words.len);
	buf_free(&words);
	buf_free(&keys);
}
