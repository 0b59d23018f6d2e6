/* term_utf8_wide.c - is it UTF-8? 16 bytes at a time, where the processor can.
 *
 * For texts of megabytes, which hold up the loop: 16 MB of German text took 25 ms, and take 2. The method is
 * that of J. Keiser and D. Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte" (Software:
 * Practice and Experience 51, 2021): whether two bytes may follow each other is looked up by three of their
 * four half bytes, in tables of 16 whose entries are sets of what can be wrong; what all three say is wrong.
 * One bit is left: that a third or fourth byte of a character must be, and is, a continuation. */
#include "term_tags.h"

#include "utf8.h"

#if defined(__x86_64__)
#include <tmmintrin.h>

#define CHUNK UTF8_WIDE_BYTES /* looked at in one go: an error stops it there */

enum {
	TOO_SHORT = 1 << 0,  /* a first byte, and no continuation behind it */
	TOO_LONG = 1 << 1,   /* ASCII, and a continuation behind it */
	OVERLONG_3 = 1 << 2, /* e0 80 .. e0 9f */
	TOO_LARGE = 1 << 3,  /* f4 90 and above */
	SURROGATE = 1 << 4,  /* ed a0 .. ed bf */
	OVERLONG_2 = 1 << 5, /* c0, c1 */
	BEYOND = 1 << 6,     /* f5 80 and above; and, with the same bit, f0 80 .. f0 8f */
	TWO_CONTS = 1 << 7,  /* right only as the third or fourth byte */
	CARRY = TOO_SHORT | TOO_LONG | TWO_CONTS,
	LARGE = CARRY | TOO_LARGE | BEYOND,
	CONT = TOO_LONG | OVERLONG_2 | TWO_CONTS,
};

#define S(x) (char)(x)

/* The errors of 16 bytes, `in`, behind the 16 `before`; 0 in each byte: none. */
__attribute__((target("ssse3"))) static inline __m128i errors(__m128i in, __m128i before)
{
	const __m128i first_high = _mm_setr_epi8(
		TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
		S(TWO_CONTS), S(TWO_CONTS), S(TWO_CONTS), S(TWO_CONTS), TOO_SHORT | OVERLONG_2,
		TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | BEYOND);
	const __m128i first_low = _mm_setr_epi8(
		S(CARRY | OVERLONG_3 | OVERLONG_2 | BEYOND), S(CARRY | OVERLONG_2), S(CARRY),
		S(CARRY), S(CARRY | TOO_LARGE), S(LARGE), S(LARGE), S(LARGE), S(LARGE), S(LARGE),
		S(LARGE), S(LARGE), S(LARGE), S(LARGE | SURROGATE), S(LARGE), S(LARGE));
	const __m128i second_high = _mm_setr_epi8(
		TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
		TOO_SHORT, S(CONT | OVERLONG_3 | BEYOND), S(CONT | OVERLONG_3 | TOO_LARGE),
		S(CONT | SURROGATE | TOO_LARGE), S(CONT | SURROGATE | TOO_LARGE), TOO_SHORT,
		TOO_SHORT, TOO_SHORT, TOO_SHORT);
	const __m128i low = _mm_set1_epi8(0x0f);
	__m128i back1 = _mm_alignr_epi8(in, before, 15), back2 = _mm_alignr_epi8(in, before, 14),
		back3 = _mm_alignr_epi8(in, before, 13);
	__m128i high1 = _mm_and_si128(_mm_srli_epi16(back1, 4), low);
	__m128i high = _mm_and_si128(_mm_srli_epi16(in, 4), low);
	__m128i wrong =
		_mm_and_si128(_mm_and_si128(_mm_shuffle_epi8(first_high, high1),
					    _mm_shuffle_epi8(first_low, _mm_and_si128(back1, low))),
			      _mm_shuffle_epi8(second_high, high));
	/* the top bit: two before is e0 or more, or three before f0 or more */
	__m128i third = _mm_subs_epu8(back2, _mm_set1_epi8(0xe0 - 0x80));
	__m128i fourth = _mm_subs_epu8(back3, _mm_set1_epi8(0xf0 - 0x80));
	__m128i must = _mm_and_si128(_mm_or_si128(third, fourth), _mm_set1_epi8(S(0x80)));

	return _mm_xor_si128(must, wrong);
}

/* How many bytes, whole chunks, are right; the last character may go on after them. */
__attribute__((target("ssse3"))) static size_t good_chunks(const uint8_t *p, size_t len)
{
	__m128i before = _mm_setzero_si128(), wrong = before, in;
	size_t at = 0;

	for (; len - at >= CHUNK; at += CHUNK) {
		for (size_t i = 0; i < CHUNK; i += 64) {
			const uint8_t *q = p + at + i;
			__m128i a = _mm_loadu_si128((const __m128i *)(const void *)q),
				b = _mm_loadu_si128((const __m128i *)(const void *)(q + 16)),
				c = _mm_loadu_si128((const __m128i *)(const void *)(q + 32)),
				d = _mm_loadu_si128((const __m128i *)(const void *)(q + 48));

			in = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
			if (_mm_movemask_epi8(in) == 0) { /* ASCII: but does it cut one off? */
				wrong = _mm_or_si128(wrong, errors(a, before));
			} else {
				wrong = _mm_or_si128(wrong, errors(a, before));
				wrong = _mm_or_si128(wrong, errors(b, a));
				wrong = _mm_or_si128(wrong, errors(c, b));
				wrong = _mm_or_si128(wrong, errors(d, c));
			}
			before = d;
		}
		if (_mm_movemask_epi8(_mm_cmpeq_epi8(wrong, _mm_setzero_si128())) != 0xffff)
			break;
	}
	return at;
}

size_t term_utf8_wide(const uint8_t *p, size_t len)
{
	size_t at;

	if (!__builtin_cpu_supports("ssse3"))
		return 0;
	at = good_chunks(p, len);
	/* back to the beginning of a character that goes on after that */
	for (size_t back = 1; back <= 3 && back <= at; back++)
		if (!utf8_tail(p[at - back]))
			return p[at - back] >= 0xc0 ? at - back : at;
	return at;
}

#else

size_t term_utf8_wide(const uint8_t *p, size_t len)
{
	(void)p;
	(void)len;
	return 0;
}

#endif
