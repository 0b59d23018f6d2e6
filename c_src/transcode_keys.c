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
#include "transcode_private.h"

#include "mem.h"

#include <errno.h>
#include <math.h>

__extension__ typedef unsigned __int128 u128;

struct print {
	uint64_t a, b;
};

/* What a fingerprint is of; apart from Python's numbers no two of them are ever equal. */
enum mark {
	MARK_NUMBER = 1, /* an integer of 64 bits */
	MARK_BIG,
	MARK_FLOAT,
	MARK_ATOM,
	MARK_TEXT,
	MARK_BYTES,
	MARK_BITS,
	MARK_NAME, /* pid, reference, port, export */
	MARK_FUN,
	MARK_LIST,
	MARK_IMPROPER,
	MARK_TUPLE,
	MARK_MAP,
};

static uint64_t secret[4] = { UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbf58476d1ce4e5b9),
			      UINT64_C(0x94d049bb133111eb), UINT64_C(0xd6e8feb86659fd93) };

void transcode_seed(uint64_t seed)
{
	for (size_t i = 0; i < 4; i++) { /* splitmix64 */
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		secret[i] = z ^ z >> 31;
	}
}

/* Both halves of the product, folded: the one mixing step. */
static inline uint64_t fold(uint64_t x, uint64_t y)
{
	u128 product = (u128)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline struct print mix(struct print p, uint64_t x, uint64_t y)
{
	return (struct print){ fold(p.a ^ x ^ secret[0], y ^ secret[1]),
			       fold(p.b ^ y ^ secret[2], x ^ secret[3]) };
}

static inline struct print print_of(enum mark mark, uint64_t value)
{
	struct print p = { secret[1] + mark, secret[2] ^ mark };

	return mix(p, value, mark);
}

static inline struct print print_bytes(enum mark mark, const uint8_t *data, size_t len)
{
	struct print p = print_of(mark, len);
	uint64_t word[2];

	for (; len > 16; len -= 16, data += 16) {
		memcpy(word, data, 16);
		p = mix(p, word[0], word[1]);
	}
	word[0] = word[1] = 0;
	if (len >= 8) {
		memcpy(&word[0], data, 8);
		memcpy(&word[1], data + len - 8, 8);
	} else {
		for (size_t i = 0; i < len; i++)
			word[0] = word[0] << 8 | data[i];
	}
	return mix(p, word[0], word[1]);
}

/* An integer by sign and magnitude, without final zeros. */
static struct print print_integer(const uint8_t *digits, size_t len, bool negative)
{
	struct print p;
	int64_t n;

	if (term_big_fits(digits, len, negative, &n))
		return print_of(MARK_NUMBER, (uint64_t)n);
	p = print_bytes(MARK_BIG, digits, len);
	return mix(p, negative, len);
}

/* A float as Python compares it: with integers by value. */
static struct print print_python_float(double value)
{
	uint8_t digits[136] = { 0 }; /* 2^1024 has 129 bytes */
	uint64_t mantissa;
	size_t len = sizeof digits;
	int exponent, bit;
	double part;

	if (value != floor(value)) {
		memcpy(&mantissa, &value, sizeof mantissa);
		return print_of(MARK_FLOAT, mantissa);
	}
	if (fabs(value) < 0x1p63)
		return print_of(MARK_NUMBER, (uint64_t)(int64_t)value);
	part = frexp(fabs(value), &exponent);
	mantissa = (uint64_t)ldexp(part, 53);
	bit = exponent - 53; /* at least 11: the value is mantissa << bit */
	for (int i = 0; i < 53; i++)
		if ((mantissa >> i & 1) != 0)
			digits[(bit + i) / 8] |= (uint8_t)(1u << (bit + i) % 8);
	while (digits[len - 1] == 0)
		len--;
	return print_integer(digits, len, value < 0);
}

static struct print print_float(const uint8_t *t, enum key_rule rule)
{
	double value = 0;
	uint64_t bits;

	(void)term_float(t, &value);
	if (rule != KEYS_TERM)
		return print_python_float(value);
	if (value == 0)
		value = 0; /* -0.0, too */
	memcpy(&bits, &value, sizeof bits);
	return print_of(MARK_FLOAT, bits);
}

static struct print print_atom(const uint8_t *t, enum key_rule rule)
{
	uint8_t room[2 * TERM_ATOM_MAX];
	struct span text = atom_utf8(t, room);

	if (rule == KEYS_TERM)
		return print_bytes(MARK_ATOM, text.at, text.len);
	if (rule != KEYS_NAME) {
		if (text.len == 4 && memcmp(text.at, "true", 4) == 0)
			return print_of(MARK_NUMBER, 1);
		if (text.len == 5 && memcmp(text.at, "false", 5) == 0)
			return print_of(MARK_NUMBER, 0);
		if (text.len == 3 && memcmp(text.at, "nil", 3) == 0)
			return print_bytes(MARK_ATOM, text.at, text.len);
	}
	return print_bytes(MARK_TEXT, text.at, text.len);
}

static struct print print_binary(const uint8_t *data, size_t len, enum key_rule rule)
{
	bool text = rule == KEYS_NAME || (rule == KEYS_PYTHON_UTF8 && term_utf8(data, len));

	return print_bytes(text ? MARK_TEXT : MARK_BYTES, data, len);
}

/* Bits that do not belong to it may be anything. */
static struct print print_bits(const uint8_t *t, enum key_rule rule)
{
	size_t len = get_u32(t + 1);
	unsigned bits = t[5];
	struct print p;

	if (bits == 8)
		return print_binary(t + 6, len, rule);
	p = print_bytes(MARK_BITS, t + 6, len - 1);
	return mix(p, bits, (uint64_t)t[5 + len] >> (8 - bits));
}

/* What has no elements. */
static struct print print_leaf(const uint8_t *t, enum key_rule rule)
{
	uint8_t name[NAME_BYTES_MAX];
	struct span text;
	bool negative;

	switch (*t) {
	case TAG_SMALL_INTEGER:
		return print_of(MARK_NUMBER, t[1]);
	case TAG_INTEGER:
		return print_of(MARK_NUMBER, (uint64_t)(int32_t)get_u32(t + 1));
	case TAG_SMALL_BIG:
	case TAG_LARGE_BIG:
		text = term_big(t, &negative);
		return print_integer(text.at, text.len, negative);
	case TAG_NEW_FLOAT:
	case TAG_FLOAT:
		return print_float(t, rule);
	case TAG_SMALL_ATOM_UTF8:
	case TAG_ATOM_UTF8:
	case TAG_SMALL_ATOM:
	case TAG_ATOM:
		return print_atom(t, rule);
	case TAG_BINARY:
		return print_binary(t + 5, get_u32(t + 1), rule);
	case TAG_BIT_BINARY:
		return print_bits(t, rule);
	case TAG_NEW_FUN: /* only where Python compares its bytes */
		return print_bytes(MARK_FUN, t, term_span(t).len);
	default:
		return print_bytes(MARK_NAME, name, name_canonical(t, name));
	}
}

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

static struct print *prints(const struct walk *w)
{
	return (struct print *)(void *)w->prints.data;
}

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
	const struct print *p = prints(w) + first;
	size_t n = w->prints.len / sizeof *p - first, size = 64;
	uint32_t *table;

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
		fun = mix(fun, module.a, module.b);
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

			l->sum = mix(l->sum, byte.a, byte.b);
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
		l->sum = mix(l->sum, p.a, p.b);
	} else if (l->left % 2 == 1) {
		l->key = p;
		buf_put(&w->prints, &p, sizeof p);
		if (w->prints.err != 0)
			return -ENOMEM;
	} else {
		pair = mix(l->key, p.a, p.b);
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
			*print = mix(l->sum, l->count, l->mark);
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
