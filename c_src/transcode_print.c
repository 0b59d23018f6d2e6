/* transcode_print.c - fingerprints of what has no elements; see transcode_print.h. */
#include "transcode_print.h"

#include "splitmix.h"

#include <math.h>

__extension__ typedef unsigned __int128 u128;

static uint64_t secret[4] = { UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbf58476d1ce4e5b9),
			      UINT64_C(0x94d049bb133111eb), UINT64_C(0xd6e8feb86659fd93) };

void transcode_seed(uint64_t seed)
{
	for (size_t i = 0; i < 4; i++)
		secret[i] = splitmix_next(&seed);
}

/* Both halves of the product, folded: the one mixing step. */
static inline uint64_t fold(uint64_t x, uint64_t y)
{
	u128 product = (u128)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

struct print print_mix(struct print p, uint64_t x, uint64_t y)
{
	return (struct print){ fold(p.a ^ x ^ secret[0], y ^ secret[1]),
			       fold(p.b ^ y ^ secret[2], x ^ secret[3]) };
}

struct print print_of(enum mark mark, uint64_t value)
{
	struct print p = { secret[1] + mark, secret[2] ^ mark };

	return print_mix(p, value, mark);
}

struct print print_bytes(enum mark mark, const uint8_t *data, size_t len)
{
	struct print p = print_of(mark, len);
	uint64_t word[2];

	for (; len > 16; len -= 16, data += 16) {
		memcpy(word, data, 16);
		p = print_mix(p, word[0], word[1]);
	}
	word[0] = word[1] = 0;
	if (len >= 8) {
		memcpy(&word[0], data, 8);
		memcpy(&word[1], data + len - 8, 8);
	} else {
		for (size_t i = 0; i < len; i++)
			word[0] = word[0] << 8 | data[i];
	}
	return print_mix(p, word[0], word[1]);
}

/* An integer by sign and magnitude, without final zeros. */
static struct print print_integer(const uint8_t *digits, size_t len, bool negative)
{
	struct print p;
	int64_t n;

	if (term_big_fits(digits, len, negative, &n))
		return print_of(MARK_NUMBER, (uint64_t)n);
	p = print_bytes(MARK_BIG, digits, len);
	return print_mix(p, negative, len);
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
	value += 0; /* -0.0 becomes 0.0 */
	memcpy(&bits, &value, sizeof bits);
	return print_of(MARK_FLOAT, bits);
}

struct print print_atom(const uint8_t *t, enum key_rule rule)
{
	uint8_t room[2 * TERM_ATOM_MAX];
	struct span text = atom_utf8(t, room);

	if (rule == KEYS_TERM)
		return print_bytes(MARK_ATOM, text.at, text.len);
	if (rule == KEYS_NAME)
		return print_bytes(MARK_TEXT, text.at, text.len);
	switch (atom_word(text)) {
	case WORD_TRUE:
		return print_of(MARK_NUMBER, 1);
	case WORD_FALSE:
		return print_of(MARK_NUMBER, 0);
	case WORD_NIL:
		return print_bytes(MARK_ATOM, text.at, text.len);
	default:
		return print_bytes(MARK_TEXT, text.at, text.len);
	}
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
	return print_mix(p, bits, (uint64_t)t[5 + len] >> (8 - bits));
}

struct print print_leaf(const uint8_t *t, enum key_rule rule)
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
