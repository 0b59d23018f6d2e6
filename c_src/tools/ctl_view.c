/* ctl_view.c - answers for people: a function a view, a table where there are rows. Those of options are in
 * ctl_view_config.c.
 *
 * Answers come from the node: what is not there is left out, what is of another type is shown as it is, and
 * all text is made harmless. */
#include "ctl.h"

#include <inttypes.h>

/* ---- cells ---- */

void cell_show(struct grid *t, enum colour colour, const uint8_t *term)
{
	term_show(grid_cell(t, colour), term);
}

static void cell_ms(struct grid *t, const uint8_t *map, const char *key)
{
	struct buf *out = grid_cell(t, PLAIN);

	if (term_map_get(map, key) != NULL)
		text_ms(out, term_map_uint(map, key));
}

/* p50 and p99 of a histogram. */
static void cell_latency(struct grid *t, const uint8_t *map)
{
	struct buf *out = grid_cell(t, PLAIN);

	if (term_map_uint(map, "max") == 0)
		return;
	text_us(out, term_map_uint(map, "p50"));
	text_put(out, " / ");
	text_us(out, term_map_uint(map, "p99"));
}

/* "map.of.a" in a map within maps. */
static const uint8_t *deep(const uint8_t *map, const char *a, const char *b)
{
	return term_map_get(term_map_get(map, a), b);
}

enum colour view_state_colour(const uint8_t *state)
{
	static const struct {
		const char *state;
		enum colour colour;
	} rows[] = {
		{ "idle", GREEN },      { "running", GREEN },  { "busy", BLUE },
		{ "leased", BLUE },     { "probing", YELLOW }, { "starting", YELLOW },
		{ "draining", YELLOW }, { "paused", YELLOW },  { "queued", YELLOW },
		{ "stopping", RED },    { "open", RED },       { "half_open", YELLOW },
	};

	for (size_t i = 0; state != NULL && i < sizeof rows / sizeof rows[0]; i++)
		if (term_is_atom(state, rows[i].state))
			return rows[i].colour;
	return PLAIN;
}

/* The elements of a list, one after the other; NULL: no more. */
struct each {
	const uint8_t *at;
	uint32_t left;
};

static struct each each_of(const uint8_t *list)
{
	struct each e = { NULL, 0 };

	if (list == NULL || !term_list(list, &e.left, &e.at))
		e.left = 0;
	return e;
}

static const uint8_t *each_next(struct each *e)
{
	const uint8_t *element = e->at;

	if (e->left == 0)
		return NULL;
	e->left--;
	e->at = term_skip(element);
	return element;
}

/* ---- pools ---- */

static void put_pool_row(struct grid *t, const uint8_t *name, const uint8_t *pool)
{
	const uint8_t *breaker = term_map_get(pool, "breaker"),
		      *totals = term_map_get(pool, "totals");
	bool open = breaker != NULL && !term_is_atom(breaker, "closed");
	struct buf *ready;

	cell_show(t, BOLD, name);
	cell_show(t, view_state_colour(open ? breaker : term_map_get(pool, "state")),
		  open ? breaker : term_map_get(pool, "state"));
	ready = grid_cell(t, PLAIN);
	text_put(ready, "%" PRIu64 "/%" PRIu64, term_map_uint(pool, "ready"),
		 term_map_uint(pool, "size"));
	if (term_map_uint(pool, "size_max") > term_map_uint(pool, "size"))
		text_put(ready, "..%" PRIu64, term_map_uint(pool, "size_max"));
	cell_show(t, PLAIN, term_map_get(pool, "busy"));
	cell_show(t, PLAIN, term_map_get(pool, "leased"));
	text_put(grid_cell(t, term_map_uint(pool, "queued") > 0 ? YELLOW : PLAIN),
		 "%" PRIu64 "/%" PRIu64, term_map_uint(pool, "queued"),
		 term_map_uint(pool, "queue_limit"));
	cell_show(t, PLAIN, term_map_get(pool, "sessions"));
	cell_show(t, PLAIN, term_map_get(totals, "ok"));
	text_put(grid_cell(t, PLAIN), "%" PRIu64,
		 term_map_uint(totals, "answered") - term_map_uint(totals, "ok"));
	cell_latency(t, deep(pool, "latency_us", "wait"));
	cell_latency(t, deep(pool, "latency_us", "call"));
}

bool view_is_wanted(const struct ctl_args *a, const uint8_t *pool)
{
	return a->pool == NULL || pool == NULL || term_is_atom(pool, a->pool);
}

static void put_pools(const struct ctl_args *a, const uint8_t *status, const struct look *look,
		      struct buf *out)
{
	static const struct column columns[] = {
		{ "POOL", false, true },        { "STATE", false, false },
		{ "READY", true, false },       { "BUSY", true, false },
		{ "LEASED", true, false },      { "QUEUED", true, false },
		{ "SESSIONS", true, false },    { "OK", true, false },
		{ "ERRORS", true, false },      { "WAIT p50/p99", true, true },
		{ "CALL p50/p99", true, true },
	};
	const uint8_t *pools = term_map_get(status, "pools"), *at;
	uint32_t count = 0;
	struct grid t;

	grid_init(&t, columns, sizeof columns / sizeof columns[0]);
	if (pools != NULL && term_map(pools, &count, &at))
		for (; count > 0; count--, at = term_skip(term_skip(at)))
			if (view_is_wanted(a, at))
				put_pool_row(&t, at, term_skip(at));
	grid_print(&t, look, out);
	grid_free(&t);
}

/* ---- status ---- */

static void put_last_errors(const struct ctl_args *a, const uint8_t *status, struct buf *out)
{
	const uint8_t *pools = term_map_get(status, "pools"), *at, *last;
	uint32_t count = 0;

	if (pools == NULL || !term_map(pools, &count, &at))
		return;
	for (; count > 0; count--, at = term_skip(term_skip(at))) {
		last = term_map_get(term_skip(at), "last_error");
		if (last == NULL || term_is_atom(last, "nil") || !view_is_wanted(a, at))
			continue;
		text_put(out, "\n");
		term_show(out, at);
		text_put(out, ": the last start that failed: ");
		ctl_reason_put(last, out);
		text_put(out, "\n");
	}
}

static void put_status(const struct ctl_args *a, const uint8_t *status, const struct look *look,
		       struct buf *out)
{
	struct buf name = { 0 };

	term_show(&name, term_map_get(status, "node"));
	look_put(look, BOLD, out, (const char *)name.data, name.len);
	buf_free(&name);
	text_put(out, "  krait ");
	term_show(out, term_map_get(status, "version"));
	text_put(out, ", process %" PRIu64 ", up ", term_map_uint(status, "os_pid"));
	text_ms(out, term_map_uint(status, "uptime_ms"));
	text_put(out, ", %" PRIu64 " peer%s\n\n", term_map_uint(status, "peers"),
		 term_map_uint(status, "peers") == 1 ? "" : "s");
	put_pools(a, status, look, out);
	put_last_errors(a, status, out);
}

/* ---- lists ---- */

/* {M, F} as M.F. */
static void show_function(struct buf *out, const uint8_t *call)
{
	const uint8_t *at;
	uint32_t arity;

	if (call == NULL || !term_tuple(call, &arity, &at) || arity < 2) {
		term_show(out, call);
		return;
	}
	term_show(out, at);
	text_put(out, ".");
	term_show(out, term_skip(at));
}

void view_workers(const uint8_t *list, const struct look *look, struct buf *out)
{
	static const struct column columns[] = {
		{ "WORKER", true, false }, { "POOL", false, true },       { "STATE", false, false },
		{ "SINCE", true, false },  { "PID", true, false },        { "MEMORY", true, false },
		{ "CALLS", true, false },  { "SESSIONS", true, false },   { "DOES", false, true },
		{ "FOR", false, true },    { "LAST ERROR", false, true },
	};
	struct each e = each_of(list);
	const uint8_t *w;
	struct grid t;

	grid_init(&t, columns, sizeof columns / sizeof columns[0]);
	while ((w = each_next(&e)) != NULL) {
		const uint8_t *retiring = term_map_get(w, "retiring");
		struct buf *state;

		cell_show(&t, BOLD, term_map_get(w, "id"));
		cell_show(&t, PLAIN, term_map_get(w, "pool"));
		state = grid_cell(&t, view_state_colour(term_map_get(w, "state")));
		term_show(state, term_map_get(w, "state"));
		if (retiring != NULL && term_is_atom(retiring, "true"))
			text_put(state, ", leaves");
		cell_ms(&t, w, "since_ms");
		cell_show(&t, PLAIN, term_map_get(w, "os_pid"));
		text_bytes(grid_cell(&t, PLAIN), term_map_uint(w, "rss_bytes"));
		cell_show(&t, PLAIN, term_map_get(w, "calls"));
		cell_show(&t, PLAIN, term_map_get(w, "sessions"));
		show_function(grid_cell(&t, PLAIN), term_map_get(w, "call"));
		cell_show(&t, DIM, term_map_get(w, "caller"));
		cell_show(&t, RED, term_map_get(w, "last_error"));
	}
	grid_print(&t, look, out);
	grid_free(&t);
}

static void put_requests(const uint8_t *list, const struct look *look, struct buf *out)
{
	static const struct column columns[] = {
		{ "REQUEST", true, false }, { "POOL", false, true },      { "STATE", false, false },
		{ "AGE", true, false },     { "VERB", false, false },     { "WHAT", false, true },
		{ "WORKER", true, false },  { "PRIORITY", false, false }, { "CALLER", false, true },
	};
	struct each e = each_of(list);
	const uint8_t *r;
	struct grid t;

	grid_init(&t, columns, sizeof columns / sizeof columns[0]);
	while ((r = each_next(&e)) != NULL) {
		const uint8_t *module = term_map_get(r, "module");
		struct buf *what;

		cell_show(&t, BOLD, term_map_get(r, "id"));
		cell_show(&t, PLAIN, term_map_get(r, "pool"));
		cell_show(&t, view_state_colour(term_map_get(r, "state")),
			  term_map_get(r, "state"));
		cell_ms(&t, r, "age_ms");
		cell_show(&t, PLAIN, term_map_get(r, "verb"));
		what = grid_cell(&t, PLAIN);
		term_show(what, module);
		if (what->len > 0)
			text_put(what, ".");
		term_show(what, term_map_get(r, "function"));
		cell_show(&t, PLAIN, term_map_get(r, "worker"));
		cell_show(&t, PLAIN, term_map_get(r, "priority"));
		cell_show(&t, DIM, term_map_get(r, "caller"));
	}
	grid_print(&t, look, out);
	grid_free(&t);
}

static void put_peers(const uint8_t *list, const struct look *look, struct buf *out)
{
	static const struct column columns[] = {
		{ "PEER", false, true },       { "ROLE", false, false },
		{ "USER", false, false },      { "UP", true, false },
		{ "OPENED BY", false, false }, { "REQUESTS", true, false },
		{ "HOLDS", true, false },      { "MONITORS", true, false },
		{ "UNSENT", true, false },
	};
	struct each e = each_of(list);
	const uint8_t *p;
	struct grid t;

	grid_init(&t, columns, sizeof columns / sizeof columns[0]);
	while ((p = each_next(&e)) != NULL) {
		const uint8_t *dialled = term_map_get(p, "dialled");

		cell_show(&t, BOLD, term_map_get(p, "name"));
		cell_show(&t, PLAIN, term_map_get(p, "role"));
		cell_show(&t, PLAIN, term_map_get(p, "user"));
		cell_ms(&t, p, "up_ms");
		text_put(grid_cell(&t, PLAIN), "%s",
			 dialled != NULL && term_is_atom(dialled, "true") ? "us" : "it");
		cell_show(&t, PLAIN, term_map_get(p, "requests"));
		cell_show(&t, PLAIN, term_map_get(p, "holdings"));
		cell_show(&t, PLAIN, term_map_get(p, "monitors"));
		text_bytes(grid_cell(&t, PLAIN), term_map_uint(p, "unsent_bytes"));
	}
	grid_print(&t, look, out);
	grid_free(&t);
}

static void put_sessions(const uint8_t *list, const struct look *look, struct buf *out)
{
	static const struct column columns[] = {
		{ "SESSION", false, true },
		{ "WORKER", true, false },
		{ "CALLS", true, false },
		{ "IDLE", true, false },
	};
	struct each e = each_of(list);
	const uint8_t *s;
	struct grid t;

	grid_init(&t, columns, sizeof columns / sizeof columns[0]);
	while ((s = each_next(&e)) != NULL) {
		cell_show(&t, BOLD, term_map_get(s, "id"));
		cell_show(&t, PLAIN, term_map_get(s, "worker"));
		cell_show(&t, PLAIN, term_map_get(s, "calls"));
		cell_ms(&t, s, "idle_ms");
	}
	grid_print(&t, look, out);
	grid_free(&t);
}

/* ---- values ---- */

static void put_value(const uint8_t *answer, struct buf *out)
{
	struct span text;

	if (term_binary(answer, &text) && term_utf8(text.at, text.len))
		text_safe(out, text.at, text.len, true);
	else
		ctl_json_put(out, answer, 0);
	text_put(out, "\n");
}

static void put_pong(const uint8_t *answer, struct buf *out)
{
	int64_t us;

	text_put(out, "pong");
	if (term_int(answer, &us) && us >= 0) {
		text_put(out, " by a worker in ");
		text_us(out, (uint64_t)us);
	}
	text_put(out, "\n");
}

void ctl_view_put(const struct ctl_args *a, const uint8_t *answer, const struct look *look,
		  struct buf *out)
{
	switch (a->verb->view) {
	case VIEW_STATUS:
		put_status(a, answer, look, out);
		break;
	case VIEW_POOLS:
		put_pools(a, answer, look, out);
		break;
	case VIEW_WORKERS:
		view_workers(answer, look, out);
		break;
	case VIEW_REQUESTS:
		put_requests(answer, look, out);
		break;
	case VIEW_PEERS:
		put_peers(answer, look, out);
		break;
	case VIEW_SESSIONS:
		put_sessions(answer, look, out);
		break;
	case VIEW_CONFIG:
		view_config(a, answer, look, out);
		break;
	case VIEW_CHANGES:
		view_changes(a, answer, out);
		break;
	case VIEW_PONG:
		put_pong(answer, out);
		break;
	case VIEW_DONE:
		text_put(out, "%s\n", a->verb->done);
		break;
	case VIEW_VALUE:
		put_value(answer, out);
		break;
	}
}
