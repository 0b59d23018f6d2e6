/* transcode_keys.c - are two keys of a map the same?
 *
 * "The same" is a matter of the side that the map goes to: for Python 1, 1.0 and True are one key, and
 * so are the atom a and the binary <<"a">>; for the BEAM they are not. So each key gets a fingerprint
 * of 128 bits which is made of what that side compares: equal keys have equal fingerprints always,
 * different ones have different ones but for an accident of 2^-128. Fingerprints are made bottom-up
 * (a list of those of its elements, a map of the sum of those of its pairs, for they have no order),
 * and maps within a key are looked at on the way.
 *
 * They are keyed with transcode_seed(), so nobody outside can make the table of them degenerate. */
#include "transcode_print.h"

#include <errno.h>

/* An open list, tuple, map or fun. */
struct walk_level {
	enum mark mark;
	bool list;          /* a tail follows the elements */
	uint64_t left;      /* elements still to come, keys and values both */
	uint64_t count;     /* of all elements */
	struct print sum;   /* of the elements so far */
	struct print key;   /* waits for its value */
	size_t first_print; /* of this map's keys in `prints` */
};

struct walk {
	enum key_rule rule;
	struct buf prints; /* struct print, of the keys of all maps that are open */
	struct buf table;  /* uint32_t: an index of a print plus one; 0: free */
	uint32_t depth;
	struct walk_level level[TRANSCODE_DEPTH_MAX + 1];
};

static bool same(struct print x, struct print y)
{
	return x.a == y.a && x.b == y.b;
}

/* Few: each with each. */
static int distinct_few(const struct print *p, size_t n, size_t *which)
{
	for (size_t i = 1; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (same(p[i], p[j])) {
				*which = i;
				return -EEXIST;
			}
		}
	}
	return 0;
}

/* Whether the prints from `first` on are all different. */
static int distinct(struct walk *w, size_t first, size_t *which)
{
	size_t n = w->prints.len / sizeof(struct print) - first, size = 64;
	const struct print *p;
	uint32_t *table;

	if (n <= 1)
		return 0;
	p = (const struct print *)(const void *)w->prints.data + first;
	if (n <= 8)
		return distinct_few(p, n, which);
	while (size < 2 * n)
		size *= 2;
	buf_reset(&w->table, SIZE_MAX);
	if (buf_reserve(&w->table, size * sizeof *table) != 0)
		return -ENOMEM;
	table = (uint32_t *)(void *)w->table.data;
	memset(table, 0, size * sizeof *table);
	for (size_t i = 0; i < n; i++) {
		size_t at = p[i].a & (size - 1);

		for (; table[at] != 0; at = (at + 1) & (size - 1)) {
			if (same(p[table[at] - 1], p[i])) {
				*which = i;
				return -EEXIST;
			}
		}
		table[at] = (uint32_t)(i + 1);
	}
	return 0;
}

static int open_level(struct walk *w, enum mark mark, bool list, uint64_t count, struct print start)
{
	struct walk_level *l;

	if (w->depth > TRANSCODE_DEPTH_MAX)
		return -E2BIG;
	l = &w->level[w->depth++];
	l->mark = mark;
	l->list = list;
	l->left = l->count = count;
	l->key = start; /* never used: a value comes after its key */
	l->sum = start;
	l->first_print = w->prints.len / sizeof(struct print);
	return 0;
}

/* Opens what stands at *t and moves *t to its first element (or, if it has none, past it). 1: it is a
 * leaf, and nothing was done. */
static int open_term(struct walk *w, const uint8_t **t)
{
	const uint8_t *p = *t;
	struct print fun, module;
	uint32_t n;

	switch (*p) {
	case TAG_NIL:
		*t = p + 1;
		return open_level(w, MARK_LIST, false, 0, print_of(MARK_LIST, 0));
	case TAG_LIST:
		*t = p + 5;
		return open_level(w, MARK_LIST, true, get_u32(p + 1), print_of(MARK_LIST, 0));
	case TAG_STRING:
		return open_level(w, MARK_LIST, true, 0, print_of(MARK_LIST, 0)); /* its own tail */
	case TAG_SMALL_TUPLE:
	case TAG_LARGE_TUPLE:
		(void)term_tuple(p, &n, t);
		return open_level(w, MARK_TUPLE, false, n, print_of(MARK_TUPLE, n));
	case TAG_MAP:
		*t = p + 5;
		n = get_u32(p + 1);
		return open_level(w, MARK_MAP, false, 2 * (uint64_t)n, print_of(MARK_MAP, n));
	case TAG_NEW_FUN:
		if (w->rule != KEYS_TERM)
			return 1;
		n = get_u32(p + FUN_FREE_AT); /* the BEAM compares module, code and environment */
		fun = print_bytes(MARK_FUN, p + 5, FUN_HEAD - 5);
		p += FUN_HEAD;
		module = print_atom(p, KEYS_TERM);
		fun = print_mix(fun, module.a, module.b);
		for (int skipped = 0; skipped < 4; skipped++) /* module, index, uniq, creator */
			p = term_skip(p);
		*t = p;
		return open_level(w, MARK_FUN, false, n, fun);
	default:
		return 1;
	}
}

/* The tail of the innermost list, whose elements are all there. True: there are more elements. */
static bool more_of_list(struct walk_level *l, const uint8_t **t)
{
	const uint8_t *p = *t;
	uint32_t n;

	switch (*p) {
	case TAG_NIL:
		*t = p + 1;
		return false;
	case TAG_STRING:
		n = get_u16(p + 1);
		*t = p + 3 + n;
		for (l->count += n; n > 0; n--, p++) {
			struct print byte = print_of(MARK_NUMBER, p[3]);

			l->sum = print_mix(l->sum, byte.a, byte.b);
		}
		return false;
	case TAG_LIST:
		*t = p + 5;
		l->left = get_u32(p + 1);
		l->count += l->left;
		return true;
	default:
		l->mark = MARK_IMPROPER;
		l->list = false;
		l->left = 1;
		return true;
	}
}

/* Gives a finished print to the innermost open level. */
static int add_print(struct walk *w, struct print p)
{
	struct walk_level *l = &w->level[w->depth - 1];
	struct print pair;

	l->left--;
	if (l->mark != MARK_MAP) {
		l->sum = print_mix(l->sum, p.a, p.b);
	} else if (l->left % 2 == 1) {
		l->key = p;
		buf_put(&w->prints, &p, sizeof p);
		if (w->prints.err != 0)
			return -ENOMEM;
	} else {
		pair = print_mix(l->key, p.a, p.b);
		l->sum.a += pair.a;
		l->sum.b += pair.b;
	}
	return 0;
}

/* The fingerprint of the term at `t`. */
static int print_term(struct walk *w, const uint8_t *t, struct print *print)
{
	size_t which;
	int rc;

	w->depth = 0;
	do {
		if ((rc = open_term(w, &t)) < 0)
			return rc;
		if (rc == 1) {
			*print = print_leaf(t, w->rule);
			if (w->depth == 0)
				return 0;
			t = term_skip(t);
			if ((rc = add_print(w, *print)) != 0)
				return rc;
		}
		while (w->depth > 0 && w->level[w->depth - 1].left == 0) {
			struct walk_level *l = &w->level[w->depth - 1];

			if (l->list && more_of_list(l, &t))
				continue;
			if (l->mark == MARK_MAP) {
				if ((rc = distinct(w, l->first_print, &which)) != 0)
					return rc;
				w->prints.len = l->first_print * sizeof(struct print);
			}
			*print = print_mix(l->sum, l->count, l->mark);
			if (--w->depth > 0 && (rc = add_print(w, *print)) != 0)
				return rc;
		}
	} while (w->depth > 0);
	return 0;
}

int keys_check(const uint8_t *base, const size_t *at, size_t n, enum key_rule rule, size_t *which)
{
	struct print few[8], p;
	struct walk w;
	int rc = 0;

	w.rule = rule;
	w.prints = w.table = (struct buf){ 0 };
	for (size_t i = 0; i < n && rc == 0; i++) {
		*which = i;
		if ((rc = print_term(&w, base + at[i], &p)) != 0)
			break;
		if (n <= 8)
			few[i] = p;
		else
			buf_put(&w.prints, &p, sizeof p);
	}
	if (rc == 0 && w.prints.err != 0)
		rc = -ENOMEM;
	if (rc == 0)
		rc = n <= 8 ? distinct_few(few, n, which) : distinct(&w, 0, which);
	buf_free(&w.prints);
	buf_free(&w.table);
	return rc;
}

/* Those of two different classes are never equal in Python, but NUMBER and TEXT. */
enum {
	KEY_INT = 1,
	KEY_FLOAT = 2,
	KEY_BOOL = 4,
	KEY_ATOM = 8,
	KEY_TEXT = 16,   /* a binary that may become str */
	KEY_OTHER = 32,  /* equal only to the same term, and the BEAM has no two of those */
	KEY_NESTED = 64, /* has elements */
};

unsigned key_class(const uint8_t *t)
{
	struct span text;
	bool latin1;

	switch (*t) {
	case TAG_SMALL_INTEGER:
	case TAG_INTEGER:
	case TAG_SMALL_BIG:
	case TAG_LARGE_BIG:
		return KEY_INT;
	case TAG_NEW_FLOAT:
	case TAG_FLOAT:
		return KEY_FLOAT;
	case TAG_SMALL_ATOM_UTF8:
	case TAG_ATOM_UTF8:
	case TAG_SMALL_ATOM:
	case TAG_ATOM:
		(void)term_atom(t, &text, &latin1);
		switch (atom_word(text)) {
		case WORD_NONE:
			return KEY_ATOM;
		case WORD_NIL:
			return KEY_OTHER;
		default:
			return KEY_BOOL;
		}
	case TAG_BINARY:
		return KEY_TEXT;
	case TAG_BIT_BINARY:
		return t[5] == 8 ? KEY_TEXT : KEY_OTHER;
	case TAG_NIL:
	case TAG_STRING:
	case TAG_LIST:
	case TAG_SMALL_TUPLE:
	case TAG_LARGE_TUPLE:
	case TAG_MAP:
		return KEY_NESTED;
	default:
		return KEY_OTHER;
	}
}

bool keys_may_clash(unsigned classes, uint64_t pairs)
{
	unsigned numbers = classes & (KEY_INT | KEY_FLOAT | KEY_BOOL);

	if ((classes & KEY_NESTED) != 0)
		return true;
	if ((classes & KEY_ATOM) != 0 && (classes & KEY_TEXT) != 0)
		return true;
	if ((numbers & (numbers - 1)) != 0)
		return true;
	return (classes & KEY_FLOAT) != 0 && pairs > 1; /* 0.0 and -0.0 */
}
