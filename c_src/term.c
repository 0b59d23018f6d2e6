/* term.c - the check that every term from a socket passes once; see term.h.
 *
 * A term is a number of terms still to come, at first one: a container adds its elements, a leaf takes
 * one away. No recursion, no stack, and since each of them takes a byte at least, a count that is larger
 * than the bytes left is refused at once. Funs alone have an end of their own (their size field) that
 * must be met, so the ends of open funs are kept, TERM_FUNS_MAX of them.
 *
 * What is refused is what no BEAM writes: so whatever passed may also be sent to one. */
#include "term_tags.h"

#include <ei.h>
#include <errno.h>
#include <math.h>

#define FLOAT_TEXT 31 /* bytes of text in the old FLOAT_EXT, NUL-padded */

struct check {
	const uint8_t *end; /* of all bytes */
	uint64_t todo;      /* terms still to come */
	int funs;           /* open funs */
	struct {
		uint64_t todo; /* what `todo` is when the fun is complete */
		const uint8_t *end;
	} fun[TERM_FUNS_MAX];
};

static size_t left(const struct check *c, const uint8_t *p)
{
	return (size_t)(c->end - p);
}

/* At most 255 characters of UTF-8. */
static bool atom_text(const uint8_t *p, size_t len)
{
	size_t chars = 0;

	if (len <= TERM_ATOM_MAX)
		return term_utf8(p, len);
	if (len > TERM_ATOM_BYTES || !term_utf8(p, len))
		return false;
	for (size_t i = 0; i < len; i++)
		chars += (p[i] & 0xc0) != 0x80;
	return chars <= TERM_ATOM_MAX;
}

/* Past the atom at `p`; NULL: none. */
static const uint8_t *check_atom(const struct check *c, const uint8_t *p)
{
	size_t n = left(c, p), head, len;
	bool utf8;

	if (n < 2)
		return NULL;
	switch (p[0]) {
	case TAG_SMALL_ATOM_UTF8:
	case TAG_SMALL_ATOM:
		head = 2;
		len = p[1];
		break;
	case TAG_ATOM_UTF8:
	case TAG_ATOM:
		if (n < 3)
			return NULL;
		head = 3;
		len = get_u16(p + 1);
		break;
	default:
		return NULL;
	}
	if (n - head < len)
		return NULL;
	if (len <= TERM_ATOM_MAX && ascii_only(p + head, len))
		return p + head + len;
	utf8 = p[0] == TAG_SMALL_ATOM_UTF8 || p[0] == TAG_ATOM_UTF8;
	if (utf8 ? !atom_text(p + head, len) : len > TERM_ATOM_MAX)
		return NULL;
	return p + head + len;
}

/* Past `head` bytes, an atom and `tail` bytes; NULL: not there. */
static const uint8_t *check_named(const struct check *c, const uint8_t *p, size_t head, size_t tail)
{
	if (left(c, p) < head || (p = check_atom(c, p + head)) == NULL || left(c, p) < tail)
		return NULL;
	return p + tail;
}

/* The same for the old forms, whose creation, the last byte, has two bits. */
static const uint8_t *check_old(const struct check *c, const uint8_t *p, size_t head, size_t tail)
{
	p = check_named(c, p, head, tail);
	return p != NULL && p[-1] <= 3 ? p : NULL;
}

static const uint8_t *check_pid(const struct check *c, const uint8_t *p)
{
	return p[0] == TAG_PID ? check_old(c, p, 1, 9) : check_named(c, p, 1, 12);
}

static const uint8_t *check_ref(const struct check *c, const uint8_t *p)
{
	const uint8_t *first;
	size_t words;

	if (left(c, p) < 3)
		return NULL;
	words = get_u16(p + 1);
	if (words < 1 || words > 5) /* as the BEAM: ERTS_MAX_REF_NUMBERS */
		return NULL;
	if (p[0] == TAG_NEWER_REFERENCE)
		return check_named(c, p, 3, 4 + 4 * words);
	if ((p = check_named(c, p, 3, 1 + 4 * words)) == NULL)
		return NULL;
	first = p - 4 * words; /* has 18 bits, and the creation stands before it */
	return first[-1] <= 3 && get_u32(first) < 1u << 18 ? p : NULL;
}

static const uint8_t *check_export(const struct check *c, const uint8_t *p)
{
	if ((p = check_atom(c, p + 1)) == NULL || (p = check_atom(c, p)) == NULL)
		return NULL;
	if (left(c, p) < 2 || p[0] != TAG_SMALL_INTEGER)
		return NULL;
	return p + 2;
}

/* SMALL_INTEGER or INTEGER, as the two numbers of a fun are. */
static const uint8_t *check_int(const struct check *c, const uint8_t *p)
{
	size_t n = left(c, p);

	if (n >= 2 && p[0] == TAG_SMALL_INTEGER)
		return p + 2;
	return n >= 5 && p[0] == TAG_INTEGER ? p + 5 : NULL;
}

/* Past the fun's own fields, to its free variables, which are added to what is to come. */
static const uint8_t *check_fun(struct check *c, const uint8_t *p)
{
	const uint8_t *start = p;
	uint32_t size, free_vars;

	if (left(c, p) < FUN_HEAD)
		return NULL;
	size = get_u32(p + 1);
	free_vars = get_u32(p + FUN_FREE_AT);
	if (size > left(c, p + 1) || free_vars > 255) /* 255: MAX_ARG of the BEAM */
		return NULL;
	if ((p = check_atom(c, p + FUN_HEAD)) == NULL || (p = check_int(c, p)) == NULL ||
	    (p = check_int(c, p)) == NULL || left(c, p) < 1 ||
	    (*p != TAG_PID && *p != TAG_NEW_PID) || (p = check_pid(c, p)) == NULL)
		return NULL;
	if (c->funs == TERM_FUNS_MAX)
		return NULL;
	c->fun[c->funs].todo = c->todo;
	c->fun[c->funs++].end = start + 1 + size;
	c->todo += free_vars;
	return p;
}

/* The old text form, whose grammar is that of C's "%.20e" and of the BEAM: digits on both sides of the
 * point, NUL or the end of the field after them. ei reads it (no locale is ever set). */
static bool float_text(const uint8_t *p, double *value)
{
	char copy[1 + FLOAT_TEXT + 1] = { TAG_FLOAT };
	const char *s = copy + 1;
	int index = 0;

	memcpy(copy + 1, p, FLOAT_TEXT);
	s += *s == '-' || *s == '+';
	if (*s < '0' || *s > '9')
		return false;
	while (*s >= '0' && *s <= '9')
		s++;
	if (*s++ != '.' || *s < '0' || *s > '9')
		return false;
	while (*s >= '0' && *s <= '9')
		s++;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		if (*s < '0' || *s > '9')
			return false;
		while (*s >= '0' && *s <= '9')
			s++;
	}
	return *s == '\0' && ei_decode_double(copy, &index, value) == 0 && isfinite(*value);
}

/* Past the head of one term, whose elements are added to what is to come; NULL: malformed. */
static const uint8_t *check_one(struct check *c, const uint8_t *p)
{
	size_t n = left(c, p);
	double value;
	uint32_t count;

	switch (*p) {
	case TAG_SMALL_INTEGER:
		return n >= 2 ? p + 2 : NULL;
	case TAG_INTEGER:
		return n >= 5 ? p + 5 : NULL;
	case TAG_NEW_FLOAT:
		if (n < 9 || (get_u16(p + 1) & 0x7ff0) == 0x7ff0)
			return NULL;
		return p + 9;
	case TAG_FLOAT:
		return n >= 1 + FLOAT_TEXT && float_text(p + 1, &value) ? p + 1 + FLOAT_TEXT : NULL;
	case TAG_SMALL_ATOM_UTF8:
		/* what nearly every atom is */
		if (n >= 2 && n - 2 >= p[1] && ascii_only(p + 2, p[1]))
			return p + 2 + p[1];
		/* fall through */
	case TAG_ATOM_UTF8:
	case TAG_SMALL_ATOM:
	case TAG_ATOM:
		return check_atom(c, p);
	case TAG_NIL:
		return p + 1;
	case TAG_LIST:
		if (n < 5 || (count = get_u32(p + 1)) > n - 5)
			return NULL;
		c->todo += (uint64_t)count + 1; /* and the tail */
		return p + 5;
	case TAG_SMALL_TUPLE:
		if (n < 2)
			return NULL;
		c->todo += p[1];
		return p + 2;
	case TAG_LARGE_TUPLE:
		if (n < 5 || (count = get_u32(p + 1)) > n - 5)
			return NULL;
		c->todo += count;
		return p + 5;
	case TAG_MAP:
		if (n < 5 || (count = get_u32(p + 1)) > (n - 5) / 2)
			return NULL;
		c->todo += 2 * (uint64_t)count;
		return p + 5;
	case TAG_BINARY:
		return n >= 5 && n - 5 >= get_u32(p + 1) ? p + 5 + get_u32(p + 1) : NULL;
	case TAG_BIT_BINARY:
		if (n < 6 || (count = get_u32(p + 1)) == 0 || count > n - 6 || p[5] < 1 || p[5] > 8)
			return NULL;
		return p + 6 + count;
	case TAG_STRING:
		return n >= 3 && n - 3 >= get_u16(p + 1) ? p + 3 + get_u16(p + 1) : NULL;
	case TAG_SMALL_BIG:
		return n >= 3 && n - 3 >= p[1] && p[2] <= 1 ? p + 3 + p[1] : NULL;
	case TAG_LARGE_BIG:
		return n >= 6 && n - 6 >= get_u32(p + 1) && p[5] <= 1 ? p + 6 + get_u32(p + 1)
								      : NULL;
	case TAG_PID:
	case TAG_NEW_PID:
		return check_pid(c, p);
	case TAG_PORT:
		return check_old(c, p, 1, 5);
	case TAG_NEW_PORT:
		return check_named(c, p, 1, 8);
	case TAG_V4_PORT:
		return check_named(c, p, 1, 12);
	case TAG_NEW_REFERENCE:
	case TAG_NEWER_REFERENCE:
		return check_ref(c, p);
	case TAG_EXPORT:
		return check_export(c, p);
	case TAG_NEW_FUN:
		return check_fun(c, p);
	default:
		return NULL;
	}
}

int term_check(const uint8_t *data, size_t len, size_t *used)
{
	const uint8_t *p = data;
	struct check c;

	c.end = data + len;
	c.todo = 1;
	c.funs = 0;
	while (c.todo > 0) {
		if (left(&c, p) < c.todo)
			return -EBADMSG;
		c.todo--;
		if ((p = check_one(&c, p)) == NULL)
			return -EBADMSG;
		while (c.funs > 0 && c.fun[c.funs - 1].todo == c.todo)
			if (c.fun[--c.funs].end != p)
				return -EBADMSG;
	}
	if (used != NULL)
		*used = (size_t)(p - data);
	return 0;
}

bool term_float(const uint8_t *t, double *value)
{
	uint64_t bits;

	if (*t == TAG_FLOAT)
		return float_text(t + 1, value);
	if (*t != TAG_NEW_FLOAT)
		return false;
	bits = get_u64(t + 1);
	memcpy(value, &bits, sizeof *value);
	return true;
}
