/* ctl_view_config.c - options for people: what they are, and what a change has made of them. */
#include "ctl.h"

#include <inttypes.h>

/* A value of an option: a range is N..M. */
static void show_value(struct buf *out, const uint8_t *value)
{
	const uint8_t *at;
	int64_t least, most;
	uint32_t arity;

	if (term_tuple(value, &arity, &at) && arity == 2 && term_int(at, &least) &&
	    term_int(term_skip(at), &most))
		text_put(out, "%" PRId64 "..%" PRId64, least, most);
	else
		term_show(out, value);
}

/* A row for each option of a map. */
static void put_options(struct grid *t, const char *where, const uint8_t *pool,
			const uint8_t *options)
{
	const uint8_t *at;
	uint32_t count;

	if (options == NULL || !term_map(options, &count, &at))
		return;
	for (; count > 0; count--, at = term_skip(term_skip(at))) {
		struct buf *out = grid_cell(t, DIM);

		text_put(out, "%s", where);
		if (pool != NULL)
			term_show(out, pool);
		cell_show(t, BOLD, at);
		show_value(grid_cell(t, PLAIN), term_skip(at));
	}
}

void view_config(const struct ctl_args *a, const uint8_t *config, const struct look *look,
		 struct buf *out)
{
	static const struct column columns[] = {
		{ "OF", false, false },
		{ "OPTION", false, false },
		{ "VALUE", false, true },
	};
	const uint8_t *pools = term_map_get(config, "pools"), *at;
	uint32_t count = 0;
	struct grid t;

	grid_init(&t, columns, sizeof columns / sizeof columns[0]);
	if (a->pool == NULL)
		put_options(&t, "node", NULL, term_map_get(config, "node"));
	if (pools != NULL && term_map(pools, &count, &at))
		for (; count > 0; count--, at = term_skip(term_skip(at)))
			if (view_is_wanted(a, at))
				put_options(&t, "pool ", at, term_skip(at));
	grid_print(&t, look, out);
	grid_free(&t);
}

/* {Old, New} as `Old -> New`. */
static void show_change(struct buf *out, const uint8_t *change)
{
	const uint8_t *at;
	uint32_t arity;

	if (!term_tuple(change, &arity, &at) || arity != 2) {
		term_show(out, change);
		return;
	}
	show_value(out, at);
	text_put(out, " -> ");
	show_value(out, term_skip(at));
}

static unsigned put_changes_of(const char *where, const uint8_t *pool, const uint8_t *map,
			       struct buf *out)
{
	const uint8_t *at;
	uint32_t count, shown = 0;

	if (map != NULL && !term_map(map, &count, &at)) { /* added, removed */
		text_put(out, "%s", where);
		term_show(out, pool);
		text_put(out, ": ");
		term_show(out, map);
		text_put(out, "\n");
		return 1;
	}
	for (; map != NULL && shown < count; shown++, at = term_skip(term_skip(at))) {
		text_put(out, "%s", where);
		if (pool != NULL)
			term_show(out, pool);
		text_put(out, ": ");
		term_show(out, at);
		text_put(out, ": ");
		show_change(out, term_skip(at));
		text_put(out, "\n");
	}
	return shown;
}

void view_changes(const struct ctl_args *a, const uint8_t *answer, struct buf *out)
{
	const uint8_t *pools = term_map_get(answer, "pools"), *at, *first;
	uint32_t count = 0, restarts = 0;
	unsigned shown;

	if (term_is_atom(answer, "ok")) {
		text_put(out, "%s\n", a->verb->done);
		return;
	}
	if (term_kind(answer) == TERM_TUPLE) {
		show_change(out, answer);
		text_put(out, "\n");
		return;
	}
	shown = put_changes_of("node", NULL, term_map_get(answer, "node"), out);
	if (pools != NULL && term_map(pools, &count, &at))
		for (; count > 0; count--, at = term_skip(term_skip(at)))
			shown += put_changes_of("pool ", at, term_skip(at), out);
	first = term_map_get(answer, "restart");
	if (first != NULL && term_list(first, &restarts, &at) && restarts > 0) {
		text_put(out, "only after a restart of the node: ");
		term_show(out, first);
		text_put(out, "\n");
	} else if (shown == 0) {
		text_put(out, "nothing has changed\n");
	}
}
