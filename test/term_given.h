/* term_given.h - terms for tests: from hex, one of each tag, and random ones. */
#ifndef KRAIT_TEST_TERM_GIVEN_H
#define KRAIT_TEST_TERM_GIVEN_H

#include "splitmix.h"
#include "term.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A random sequence; the seed is printed, and taken from KRAIT_SEED when that is set. */
struct random {
	uint64_t state;
};

static inline struct random given_random(const char *what)
{
	const char *text = getenv("KRAIT_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	printf("%s: KRAIT_SEED=%llu\n", what, (unsigned long long)seed);
	fflush(stdout);
	return (struct random){ seed };
}

static inline uint64_t any(struct random *r)
{
	return splitmix_next(&r->state);
}

static inline uint32_t below(struct random *r, uint32_t n)
{
	return (uint32_t)(any(r) % n);
}

/* Appends bytes written as hex; blanks are skipped, 'text' is itself. */
static inline void put_hex(struct buf *b, const char *hex)
{
	for (; *hex != '\0'; hex++) {
		unsigned byte;

		if (*hex == ' ')
			continue;
		if (*hex == '\'') {
			for (hex++; *hex != '\''; hex++)
				buf_put_u8(b, (uint8_t)*hex);
			continue;
		}
		ck_assert_msg(sscanf(hex, "%2x", &byte) == 1, "bad hex: %s", hex);
		buf_put_u8(b, byte);
		hex++;
	}
	ck_assert_int_eq(b->err, 0);
}

/* The bytes in a block of their own size, so that a sanitizer sees any step beyond. */
static inline uint8_t *exact(const struct buf *b, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	ck_assert_ptr_nonnull(copy);
	if (len > 0)
		memcpy(copy, b->data, len);
	return copy;
}

/* One of each tag, as real nodes write them. */
#define NODE " 77 06 'a@host' "
static const struct sample {
	const char *hex;
	enum term_kind kind;
} samples[] = {
	{ "61 ff", TERM_INT },
	{ "62 ff ff ff fe", TERM_INT },
	{ "46 3f f8 00 00 00 00 00 00", TERM_FLOAT },
	{ "63 '1.50000000000000000000e+00' 00 00 00 00 00", TERM_FLOAT },
	{ "64 00 02 'ok'", TERM_ATOM },
	{ "73 01 e9", TERM_ATOM },
	{ "76 00 03 e2 82 ac", TERM_ATOM },
	{ "77 02 c3 a9", TERM_ATOM },
	{ "77 00", TERM_ATOM },
	{ "67" NODE "00 00 00 01 00 00 00 02 03", TERM_PID },
	{ "58" NODE "00 00 00 01 00 00 00 02 ff ff ff fe", TERM_PID },
	{ "66" NODE "00 00 00 07 01", TERM_PORT },
	{ "59" NODE "00 00 00 07 00 00 00 63", TERM_PORT },
	{ "78" NODE "00 00 00 01 00 00 00 07 00 00 00 63", TERM_PORT },
	{ "72 00 03" NODE "01 00 00 00 01 00 00 00 02 00 00 00 03", TERM_REF },
	{ "5a 00 05" NODE "00 00 00 63 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00 05",
	  TERM_REF },
	{ "68 02 61 01 68 00", TERM_TUPLE },
	{ "69 00 00 00 02 61 01 6a", TERM_TUPLE },
	{ "6a", TERM_NIL },
	{ "6b 00 03 01 02 ff", TERM_STRING },
	{ "6c 00 00 00 02 61 01 6a 6a", TERM_LIST },
	{ "6c 00 00 00 01 61 01 61 02", TERM_LIST }, /* improper */
	{ "6d 00 00 00 03 'abc'", TERM_BINARY },
	{ "4d 00 00 00 02 03 ff e0", TERM_BITS },
	{ "6e 08 01 00 00 00 00 00 00 00 80", TERM_BIG },
	{ "6f 00 00 00 09 00 01 02 03 04 05 06 07 08 09", TERM_BIG },
	{ "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 01 'b' 6a", TERM_MAP },
	{ "71 77 05 'lists' 77 03 'map' 61 02", TERM_EXPORT },
	{ "70 00 00 00 48 00 65 36 1a a4 61 59 0d 1b df 1e b6 2d 1a 6e b0 80 00 00 00 2b 00 00 00 "
	  "01"
	  "77 08 'erl_eval' 61 2b 62 00 32 9b 0d 58" NODE "00 00 00 09 00 00 00 00 00 00 00 00"
	  "74 00 00 00 00",
	  TERM_FUN },
};
#define SAMPLES (sizeof samples / sizeof samples[0])

/* Random terms as Krait writes them, of every kind that goes through Python and comes back equal. What
 * can be a key must not be equal to another key in Python, so keys are of one kind and numbered. */
static inline void put_random(struct buf *b, struct random *r, int depth);

static inline void put_random_text(struct buf *b, struct random *r, uint32_t chars)
{
	static const char *const pieces[] = {
		"a", "Z", "0", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x8d", "\xed\x9f\xbf"
	};

	while (chars-- > 0) {
		const char *piece = pieces[below(r, 12) % 8];

		buf_put(b, piece, strlen(piece));
	}
}

static inline void put_random_atom(struct buf *b, struct random *r)
{
	struct buf text = { 0 };

	put_random_text(&text, r, below(r, 20) == 0 ? 255 : below(r, 12));
	term_put_atom_n(b, text.data != NULL ? (char *)text.data : "", text.len);
	buf_free(&text);
}

static inline void put_random_binary(struct buf *b, struct random *r)
{
	struct buf text = { 0 };
	uint32_t n = below(r, 300) == 0 ? below(r, 70000) : below(r, 40);

	if (below(r, 2) == 0)
		put_random_text(&text, r, n);
	else
		while (n-- > 0)
			buf_put_u8(&text, (uint8_t)any(r));
	term_put_binary(b, text.data, text.len);
	buf_free(&text);
}

static inline void put_random_integer(struct buf *b, struct random *r)
{
	uint32_t n;

	switch (below(r, 6)) {
	case 0:
		term_put_int(b, below(r, 256));
		break;
	case 1:
		term_put_int(b, (int32_t)any(r));
		break;
	case 2:
		term_put_int(b, (int64_t)any(r) >> below(r, 64));
		break;
	case 3:
		term_put_uint(b, any(r));
		break;
	default:
		n = 9 + (below(r, 10) == 0 ? below(r, 600) : below(r, 20));
		buf_put_u8(b, n <= 255 ? 110 : 111);
		if (n <= 255)
			buf_put_u8(b, n);
		else
			buf_put_u32(b, n);
		buf_put_u8(b, below(r, 2));
		while (n-- > 1)
			buf_put_u8(b, (uint8_t)any(r));
		buf_put_u8(b, 1 + below(r, 255));
	}
}

static inline void put_random_name(struct buf *b, struct random *r)
{
	struct term_pid pid = { "a@host", 6, (uint32_t)any(r), (uint32_t)any(r), (uint32_t)any(r) };
	uint32_t n;

	switch (below(r, 4)) {
	case 0:
		term_put_pid(b, &pid);
		break;
	case 1:
		n = 1 + below(r, 5);
		buf_put_u8(b, 90);
		buf_put_u16(b, n);
		put_random_atom(b, r);
		for (n++; n > 0; n--)
			buf_put_u32(b, (uint32_t)any(r));
		break;
	case 2:
		buf_put_u8(b, 120);
		put_random_atom(b, r);
		buf_put_u64(b, any(r));
		buf_put_u32(b, (uint32_t)any(r));
		break;
	default:
		buf_put_u8(b, 113);
		put_random_atom(b, r);
		put_random_atom(b, r);
		term_put_int(b, below(r, 256));
	}
}

static inline void put_random_opaque(struct buf *b, struct random *r, int depth)
{
	size_t start = b->len;
	uint32_t n = 1 + below(r, 8), bits = 1 + below(r, 7);

	if (below(r, 2) == 0) {
		buf_put_u8(b, 77);
		buf_put_u32(b, n);
		buf_put_u8(b, bits);
		while (n-- > 1)
			buf_put_u8(b, (uint8_t)any(r));
		buf_put_u8(b, (uint8_t)any(r) & (uint8_t)(0xff << (8 - bits)));
		return;
	}
	n = below(r, 4);
	buf_put_u8(b, 112);
	buf_put_u32(b, 0);
	buf_put_u8(b, 1);
	buf_put_u64(b, any(r));
	buf_put_u64(b, any(r));
	buf_put_u32(b, 7);
	buf_put_u32(b, n);
	term_put_atom(b, "module");
	term_put_int(b, 7);
	term_put_int(b, 123456);
	term_put_pid(b, &(struct term_pid){ "a@host", 6, 1, 2, 3 });
	while (n-- > 0)
		put_random(b, r, depth - 1);
	put_u32(b->data + start + 1, (uint32_t)(b->len - start - 1));
}

static inline void put_random_key(struct buf *b, struct random *r, uint32_t kind, uint32_t number)
{
	char text[32];

	switch (kind) {
	case 0:
		snprintf(text, sizeof text, "key_%u", number);
		term_put_atom(b, text);
		break;
	case 1:
		snprintf(text, sizeof text, "key %u", number);
		term_put_text(b, text);
		break;
	case 2:
		term_put_int(b, (int64_t)number * 1000 - 2000);
		break;
	case 3:
		term_put_float(b, number + 0.5);
		break;
	case 4:
		term_put_tuple(b, 2);
		term_put_int(b, number);
		put_random(b, r, 1);
		break;
	case 5:
		term_put_list(b, 2);
		term_put_int(b, number);
		put_random(b, r, 1);
		term_put_nil(b);
		break;
	case 6:
		term_put_map(b, 1);
		term_put_int(b, number);
		put_random(b, r, 1);
		break;
	default:
		term_put_ref(b, "a@host", 7, number);
	}
}

static inline void put_random(struct buf *b, struct random *r, int depth)
{
	static const char *const words[] = { "true", "false", "nil", "ok", "undefined" };
	uint32_t n = below(r, 40) == 0 ? below(r, 400) : below(r, 6), kind;
	double real;
	uint64_t bits;

	switch (below(r, depth > 0 ? 13 : 9)) {
	case 0:
		term_put_atom(b, words[below(r, 5)]);
		break;
	case 1:
		put_random_atom(b, r);
		break;
	case 2:
	case 3:
		put_random_binary(b, r);
		break;
	case 4:
	case 5:
		put_random_integer(b, r);
		break;
	case 6:
		bits = any(r);
		memcpy(&real, &bits, sizeof real);
		term_put_float(b, real);
		break;
	case 7:
		put_random_name(b, r);
		break;
	case 8:
		put_random_opaque(b, r, depth);
		break;
	case 9:
	case 10:
		term_put_list(b, n);
		for (uint32_t i = 0; i < n; i++)
			put_random(b, r, depth - 1);
		if (n > 0)
			term_put_nil(b);
		break;
	case 11:
		term_put_tuple(b, n);
		for (uint32_t i = 0; i < n; i++)
			put_random(b, r, depth - 1);
		break;
	default:
		kind = below(r, 8);
		term_put_map(b, n);
		for (uint32_t i = 0; i < n; i++) {
			put_random_key(b, r, kind, i);
			put_random(b, r, depth - 1);
		}
	}
}

static inline double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
