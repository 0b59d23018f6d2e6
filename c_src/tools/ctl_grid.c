/* ctl_grid.c - columns: as wide as what is in them, elastic ones cut where the screen is narrow. */
#include "ctl.h"

#include "mem.h"

#define GAP         2
#define ELASTIC_MIN 8 /* columns that an elastic one keeps */
#define COLUMNS_MAX 16

static const char *const codes[] = {
	[BOLD] = "\x1b[1m",    [DIM] = "\x1b[2m",   [RED] = "\x1b[31m",    [GREEN] = "\x1b[32m",
	[YELLOW] = "\x1b[33m", [BLUE] = "\x1b[34m", [REVERSE] = "\x1b[7m",
};

void look_put(const struct look *look, enum colour colour, struct buf *out, const char *text,
	      size_t len)
{
	bool coloured = look->colour && colour != PLAIN && len > 0;

	if (coloured)
		buf_put(out, codes[colour], strlen(codes[colour]));
	buf_put(out, text, len);
	if (coloured)
		buf_put(out, "\x1b[0m", 4);
}

void grid_init(struct grid *t, const struct column *columns, unsigned count)
{
	*t = (struct grid){ .column = columns,
			    .columns = count < COLUMNS_MAX ? count : COLUMNS_MAX };
}

struct buf *grid_cell(struct grid *t, enum colour colour)
{
	if ((t->cells & (t->cells - 1)) == 0) { /* none yet, or a power of two: twice as many */
		unsigned room = t->cells == 0 ? 1 : 2 * t->cells;
		struct cell *more = mem_realloc(t->cell, room * sizeof *more);

		if (more == NULL)
			ctl_no_memory();
		t->cell = more;
	}
	t->cell[t->cells] = (struct cell){ .colour = colour };
	return &t->cell[t->cells++].text;
}

static size_t cell_width(const struct cell *c)
{
	return text_width((const char *)c->text.data, c->text.len);
}

/* How wide each column is; elastic ones give way, the widest first, until all fit. */
static void measure(const struct grid *t, unsigned screen, size_t *width)
{
	size_t total = 0;

	for (unsigned k = 0; k < t->columns; k++) {
		width[k] = strlen(t->column[k].title);
		for (unsigned i = k; i < t->cells; i += t->columns)
			if (cell_width(&t->cell[i]) > width[k])
				width[k] = cell_width(&t->cell[i]);
		total += width[k] + (k > 0 ? GAP : 0);
	}
	while (screen > 0 && total > screen) {
		unsigned widest = t->columns;

		for (unsigned k = 0; k < t->columns; k++)
			if (t->column[k].elastic && width[k] > ELASTIC_MIN &&
			    (widest == t->columns || width[k] > width[widest]))
				widest = k;
		if (widest == t->columns)
			return;
		width[widest]--;
		total--;
	}
}

static void put_spaces(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_put_u8(out, ' ');
}

static void put_cell(const struct grid *t, unsigned column, size_t width, const char *text,
		     size_t len, enum colour colour, const struct look *look, struct buf *out)
{
	size_t wide = text_width(text, len);
	bool cut = wide > width, last = column + 1 == t->columns;

	if (cut) {
		len = text_cut(text, len, width - 1);
		wide = text_width(text, len) + 1;
	}
	if (t->column[column].right)
		put_spaces(out, width - wide);
	look_put(look, colour, out, text, len);
	if (cut)
		buf_put(out, "\xe2\x80\xa6", 3);
	if (!last)
		put_spaces(out, GAP + (t->column[column].right ? 0 : width - wide));
}

void grid_print(struct grid *t, const struct look *look, struct buf *out)
{
	size_t width[COLUMNS_MAX];

	if (t->columns == 0)
		return;
	measure(t, look->width, width);
	for (unsigned k = 0; k < t->columns; k++)
		put_cell(t, k, width[k], t->column[k].title, strlen(t->column[k].title), BOLD, look,
			 out);
	buf_put_u8(out, '\n');
	for (unsigned i = 0; i < t->cells; i++) {
		const struct cell *c = &t->cell[i];

		put_cell(t, i % t->columns, width[i % t->columns], (const char *)c->text.data,
			 c->text.len, c->colour, look, out);
		if ((i + 1) % t->columns == 0)
			buf_put_u8(out, '\n');
	}
}

void grid_free(struct grid *t)
{
	for (unsigned i = 0; i < t->cells; i++)
		buf_free(&t->cell[i].text);
	mem_free(t->cell);
	*t = (struct grid){ 0 };
}
