/* check_term.c - terms: what is refused, what is read, what is written; ei is the oracle. */
#include "term.h"

#include "quick.h"
#include "suite.h"
#include "term_given.h"

#include <ei.h>
#include <errno.h>
#include <math.h>

START_TEST(every_tag_is_accepted_whole_and_refused_when_cut_short)
{
	const struct sample *s = &samples[_i];
	struct buf b = { 0 };
	size_t used = 0;

	put_hex(&b, s->hex);
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *copy = exact(&b, len);

		ck_assert_msg(term_check(copy, len, &used) == -EBADMSG, "%s: cut to %zu", s->hex,
			      len);
		free(copy);
	}
	ck_assert_msg(term_check(b.data, b.len, &used) == 0, "%s", s->hex);
	ck_assert_uint_eq(used, b.len);
	ck_assert_msg(term_kind(b.data) == s->kind, "%s", s->hex);
	ck_assert_ptr_eq(term_skip(b.data), b.data + b.len);
	ck_assert_uint_eq(term_span(b.data).len, b.len);
	buf_put_u8(&b, 0x61); /* what follows is not looked at */
	ck_assert_int_eq(term_check(b.data, b.len, &used), 0);
	ck_assert_uint_eq(used, b.len - 1);
	buf_free(&b);
}
END_TEST

static const char *const malformed[] = {
	"",
	"00",
	"50 00 00 00 01",             /* compressed */
	"52 00",                      /* atom cache */
	"75 00 00 00 00",             /* the old fun */
	"65" NODE "00 00 00 01 01",   /* the old reference */
	"46 7f f0 00 00 00 00 00 00", /* infinity */
	"46 ff f8 00 00 00 00 00 00", /* NaN */
	"63 '1.5e+999' 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
	"63 'inf' 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
	"00",
	"63 '0x1.8p3' 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
	"63 '15' 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
	"00 00",
	"63 '1.5e+' 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
	"77 01 ff",                                     /* not UTF-8 */
	"77 02 c0 80",                                  /* overlong */
	"77 03 ed a0 80",                               /* a surrogate */
	"4d 00 00 00 01 09 ff",                         /* 9 bits */
	"4d 00 00 00 01 00 ff",                         /* none */
	"4d 00 00 00 00 01",                            /* of no bytes */
	"6e 01 02 05",                                  /* a sign that is none */
	"58 61 01 00 00 00 01 00 00 00 02 00 00 00 00", /* a pid of no node */
	"72 00 00" NODE "01",                           /* a reference of no words */
	"5a 00 06" NODE "00 00 00 63 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00 05"
	"00 00 00 06",                          /* of six */
	"67" NODE "00 00 00 01 00 00 00 02 04", /* a creation of two bits that has three */
	"66" NODE "00 00 00 07 04",
	"72 00 01" NODE "04 00 00 00 01",
	"72 00 01" NODE "01 00 04 00 00",        /* a first word of 18 bits that has 19 */
	"71 77 01 'm' 77 01 'f' 62 00 00 00 01", /* an arity that is no byte */
	"71 77 01 'm' 61 01 61 01",
	"6c 7f ff ff ff 6a 6a", /* counts */
	"6c ff ff ff ff 6a 6a",
	"69 ff ff ff ff 6a 6a",
	"74 ff ff ff ff 6a 6a",
	"74 00 00 00 02 61 01 61 02 61 03", /* a key without a value */
	"6d ff ff ff fb 00",
	"6d 00 00 10 00 00",
	"6f ff ff ff ff 00 01",
	"6c 00 00 00 01 61 01", /* no tail */
};

START_TEST(what_no_node_writes_is_refused)
{
	struct buf b = { 0 };
	uint8_t *copy;

	put_hex(&b, malformed[_i]);
	copy = exact(&b, b.len);
	ck_assert_msg(term_check(copy, b.len, NULL) == -EBADMSG, "%s", malformed[_i]);
	free(copy);
	buf_free(&b);
}
END_TEST

static void put_atom_of(struct buf *b, unsigned tag, const char *piece, size_t times)
{
	buf_put_u8(b, tag);
	buf_put_u16(b, (unsigned)(strlen(piece) * times));
	while (times-- > 0)
		buf_put(b, piece, strlen(piece));
}

START_TEST(an_atom_has_at_most_255_characters_whatever_their_bytes)
{
	static const struct {
		unsigned tag;
		const char *piece;
	} rows[] = {
		{ 118, "a" }, { 118, "\xc3\xa9" }, { 118, "\xf0\x9f\x90\x8d" }, { 100, "\xe9" }
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t times = 254; times <= 257; times++) {
			struct buf b = { 0 };

			put_atom_of(&b, rows[i].tag, rows[i].piece, times);
			ck_assert_int_eq(term_check(b.data, b.len, NULL),
					 times <= 255 ? 0 : -EBADMSG);
			buf_free(&b);
		}
	}
}
END_TEST

/* A fun whose only free variable is what stands within it. */
static void put_fun(struct buf *b, size_t inner_len, int lie)
{
	struct buf head = { 0 };
	uint8_t fixed[24] = { 0 };

	buf_put(&head, fixed, 21); /* arity, uniq, index */
	buf_put_u32(&head, 1);
	put_hex(&head,
		"77 01 'm' 61 01 62 00 00 00 02 58" NODE "00 00 00 01 00 00 00 00 00 00 00 00");
	buf_put_u8(b, 112);
	buf_put_u32(b, (uint32_t)((int)(4 + head.len + inner_len) + lie));
	buf_put(b, head.data, head.len);
	buf_free(&head);
}

START_TEST(a_fun_must_be_as_long_as_it_says)
{
	for (int lie = -3; lie <= 3; lie++) {
		struct buf b = { 0 };

		term_put_tuple(&b, 2);
		put_fun(&b, 2, lie);
		put_hex(&b, "61 07 6c 00 00 00 01 61 01 6a 61 08");
		ck_assert_int_eq(term_check(b.data, b.len, NULL), lie == 0 ? 0 : -EBADMSG);
		if (lie == 0)
			ck_assert_uint_eq(term_span(b.data).len, b.len - 2);
		buf_free(&b);
	}
}
END_TEST

START_TEST(a_fun_has_at_most_255_free_variables)
{
	for (uint32_t n = 255; n <= 256; n++) {
		struct buf b = { 0 };

		put_fun(&b, n, 0);
		put_u32(b.data + 26, n);
		for (uint32_t i = 0; i < n; i++)
			term_put_nil(&b);
		ck_assert_int_eq(term_check(b.data, b.len, NULL), n == 255 ? 0 : -EBADMSG);
		buf_free(&b);
	}
}
END_TEST

START_TEST(funs_within_funs_are_followed_to_a_limit)
{
	struct buf one = { 0 };
	size_t len;

	put_fun(&one, 0, 0);
	len = one.len;
	for (size_t depth = TERM_FUNS_MAX - 1; depth <= TERM_FUNS_MAX + 1; depth++) {
		for (int lie = 0; lie <= 1; lie++) {
			struct buf b = { 0 };

			for (size_t i = depth; i-- > 0;)
				put_fun(&b, i * len + 1, i == depth / 2 ? lie : 0);
			term_put_nil(&b);
			ck_assert_int_eq(term_check(b.data, b.len, NULL),
					 depth <= TERM_FUNS_MAX && lie == 0 ? 0 : -EBADMSG);
			buf_free(&b);
		}
	}
	buf_free(&one);
}
END_TEST

START_TEST(millions_of_nested_lists_are_checked_at_once)
{
	const size_t n = 3000000;
	struct buf b = { 0 };
	double start, took;

	for (size_t i = 0; i < n; i++)
		term_put_list(&b, 1);
	for (size_t i = 0; i <= n; i++)
		term_put_nil(&b);
	start = seconds();
	ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
	ck_assert_ptr_eq(term_skip(b.data), b.data + b.len);
	ck_assert_int_eq(term_check(b.data, b.len - 1, NULL), -EBADMSG);
	took = seconds() - start;
	ck_assert_msg(took < 2 || quick(), "took %f s", took);
	buf_free(&b);
}
END_TEST

/* Reads all that can be read of a checked term and the terms within it. */
static void read_all(const uint8_t *t)
{
	const uint8_t *first;
	struct term_pid pid;
	struct span span;
	uint64_t left = 0;
	uint32_t n;
	int64_t i;
	double d;
	bool latin1;

	switch (term_kind(t)) {
	case TERM_INT:
		ck_assert(term_int(t, &i));
		break;
	case TERM_BIG:
		(void)term_int(t, &i);
		break;
	case TERM_FLOAT:
		ck_assert(term_float(t, &d) && isfinite(d));
		break;
	case TERM_ATOM:
		ck_assert(term_atom(t, &span, &latin1));
		ck_assert(latin1 || term_utf8(span.at, span.len));
		break;
	case TERM_PID:
		ck_assert(term_pid(t, &pid) && term_pid_equal(&pid, &pid));
		break;
	case TERM_LIST:
		ck_assert(term_list(t, &n, &first));
		left = (uint64_t)n + 1;
		break;
	case TERM_TUPLE:
		ck_assert(term_tuple(t, &n, &first));
		left = n;
		break;
	case TERM_MAP:
		ck_assert(term_map(t, &n, &first));
		left = 2 * (uint64_t)n;
		break;
	case TERM_BINARY:
		ck_assert(term_binary(t, &span));
		break;
	default:
		break;
	}
	for (; left > 0; left--, first = term_skip(first))
		if (term_kind(first) != TERM_LIST || left > 1)
			read_all(first);
}

START_TEST(mutations_are_refused_or_harmless)
{
	struct random r = given_random("mutations");
	size_t passed = 0;

	for (int round = 0; round < 50000; round++) {
		struct buf b = { 0 };
		uint8_t *copy;
		size_t used;

		if (below(&r, 3) == 0)
			put_hex(&b, samples[below(&r, SAMPLES)].hex);
		else
			put_random(&b, &r, 3);
		if (b.len > 2000)
			b.len = 2000;
		for (uint32_t n = below(&r, 4); n > 0; n--) {
			uint32_t at = below(&r, (uint32_t)b.len);

			if (below(&r, 2) == 0)
				b.data[at] ^= (uint8_t)(1u << below(&r, 8));
			else
				b.data[at] = (uint8_t)any(&r);
		}
		copy = exact(&b, b.len);
		if (term_check(copy, b.len, &used) == 0) {
			passed++;
			ck_assert_ptr_eq(term_skip(copy), copy + used);
			read_all(copy);
		}
		free(copy);
		buf_free(&b);
	}
	ck_assert_uint_gt(passed, 5000);
}
END_TEST

static const int64_t integers[] = {
	0,
	1,
	255,
	256,
	-1,
	-255,
	-256,
	INT32_MAX,
	INT32_MIN,
	(int64_t)INT32_MAX + 1,
	(int64_t)INT32_MIN - 1,
	134217727,
	134217728,
	-134217728,
	-134217729,
	INT64_MAX,
	INT64_MIN,
	INT64_C(1) << 40,
	-(INT64_C(1) << 40),
	65536,
};

START_TEST(integers_are_written_short_and_read_by_ei_and_back)
{
	static const size_t lens[] = {
		2, 2, 2, 5, 5, 5, 5, 5, 5, 7, 7, 5, 5, 5, 5, 11, 11, 9, 9, 5
	};
	struct buf b = { 0 };
	char by_ei[32];
	long long found;
	int64_t back;
	int at = 0;

	term_put_int(&b, integers[_i]);
	ck_assert_uint_eq(b.len, lens[_i]);
	ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
	ck_assert_int_eq(ei_decode_longlong((char *)b.data, &at, &found), 0);
	ck_assert(found == integers[_i]);
	ck_assert(term_int(b.data, &back) && back == integers[_i]);
	at = 0;
	ck_assert_int_eq(ei_encode_longlong(by_ei, &at, integers[_i]), 0);
	ck_assert(term_int((uint8_t *)by_ei, &back) && back == integers[_i]);
	buf_free(&b);
}
END_TEST

START_TEST(integers_beyond_64_bits_are_not_read_as_such)
{
	static const struct {
		const char *hex;
		bool fits;
		int64_t value;
	} rows[] = {
		{ "6e 08 00 ff ff ff ff ff ff ff 7f", true, INT64_MAX },
		{ "6e 08 00 00 00 00 00 00 00 00 80", false, 0 },
		{ "6e 08 01 00 00 00 00 00 00 00 80", true, INT64_MIN },
		{ "6e 08 01 01 00 00 00 00 00 00 80", false, 0 },
		{ "6e 09 00 00 00 00 00 00 00 00 00 01", false, 0 },
		{ "6e 0a 01 05 00 00 00 00 00 00 00 00 00", true,
		  -5 }, /* not shortest, but legal */
		{ "6f 00 00 00 01 00 07", true, 7 },
		{ "6e 00 00", true, 0 },
		{ "46 00 00 00 00 00 00 00 00", false, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = { 0 };
		int64_t value;

		put_hex(&b, rows[i].hex);
		ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
		ck_assert_msg(term_int(b.data, &value) == rows[i].fits, "%s", rows[i].hex);
		ck_assert_msg(!rows[i].fits || value == rows[i].value, "%s", rows[i].hex);
		buf_free(&b);
	}
}
END_TEST

START_TEST(unsigned_integers_above_int64_are_bigs)
{
	struct buf b = { 0 };
	unsigned long long found;
	int at = 0;

	term_put_uint(&b, UINT64_MAX);
	term_put_uint(&b, 300);
	ck_assert_int_eq(ei_decode_ulonglong((char *)b.data, &at, &found), 0);
	ck_assert(found == UINT64_MAX);
	ck_assert_int_eq(at, 11);
	ck_assert_int_eq(ei_decode_ulonglong((char *)b.data, &at, &found), 0);
	ck_assert(found == 300);
	buf_free(&b);
}
END_TEST

START_TEST(floats_agree_with_ei_and_those_without_a_term_are_atoms)
{
	static const double rows[] = { 0, -0.0, 1.5, -1e308, 5e-324, 3.141592653589793 };
	struct buf b = { 0 };
	double value;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int at = 0;

		b.len = 0;
		term_put_float(&b, rows[i]);
		ck_assert_int_eq(ei_decode_double((char *)b.data, &at, &value), 0);
		ck_assert(memcmp(&value, &rows[i], sizeof value) == 0);
		ck_assert(term_float(b.data, &value) &&
			  memcmp(&value, &rows[i], sizeof value) == 0);
	}
	b.len = 0;
	put_hex(&b, "63 '-1.50000000000000000000e+00' 00 00 00 00");
	ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
	ck_assert(term_float(b.data, &value) && value == -1.5);
	b.len = 0;
	term_put_float(&b, NAN);
	ck_assert(term_is_atom(b.data, "nan") && !term_float(b.data, &value));
	b.len = 0;
	term_put_float(&b, INFINITY);
	ck_assert(term_is_atom(b.data, "infinity"));
	b.len = 0;
	term_put_float(&b, -INFINITY);
	ck_assert(term_is_atom(b.data, "neg_infinity"));
	buf_free(&b);
}
END_TEST

START_TEST(atoms_are_read_in_all_their_encodings)
{
	struct buf b = { 0 }, longest = { 0 };
	char by_ei[MAXATOMLEN_UTF8];
	struct span text;
	bool latin1;
	int at = 0;

	put_hex(&b, "64 00 02 'ok' 73 01 e9 76 00 02 c3 a9 77 02 'ok'");
	ck_assert(term_atom(b.data, &text, &latin1) && latin1 && text.len == 2);
	ck_assert(term_is_atom(b.data, "ok") && !term_is_atom(b.data, "o") &&
		  !term_is_atom(b.data, "okk"));
	ck_assert(!term_atom(b.data + 5, &text, NULL));
	ck_assert(term_atom(b.data + 5, &text, &latin1) && latin1 && text.len == 1);
	ck_assert(term_atom(b.data + 8, &text, &latin1) && !latin1 && text.len == 2);
	ck_assert(term_is_atom(b.data + 13, "ok"));
	b.len = 0;
	for (int i = 0; i < 255; i++)
		buf_put(&longest, "\xf0\x9f\x90\x8d", 4);
	term_put_atom_n(&b, (char *)longest.data, longest.len);
	ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
	ck_assert_int_eq(ei_decode_atom_as((char *)b.data, &at, by_ei, sizeof by_ei, ERLANG_UTF8,
					   NULL, NULL),
			 0);
	ck_assert_uint_eq(strlen(by_ei), 1020);
	b.len = 0;
	term_put_bool(&b, true);
	term_put_bool(&b, false);
	term_put_atom(&b, "");
	ck_assert_uint_eq(b.len, 6 + 7 + 2);
	ck_assert(term_is_atom(b.data, "true") && term_is_atom(b.data + 6, "false"));
	ck_assert(term_is_atom(b.data + 13, "") && !term_is_atom(b.data + 13, "x"));
	buf_free(&b);
	buf_free(&longest);
}
END_TEST

START_TEST(pids_agree_with_ei)
{
	const struct term_pid pid = { "krait@127.0.0.1", 15, 0xfffffffe, 7, 0xabcdef01 };
	struct term_pid back;
	struct buf b = { 0 };
	erlang_pid by_ei;
	char again[64];
	int at = 0, end = 0;

	term_put_pid(&b, &pid);
	ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
	ck_assert_int_eq(ei_decode_pid((char *)b.data, &at, &by_ei), 0);
	ck_assert_str_eq(by_ei.node, "krait@127.0.0.1");
	ck_assert(by_ei.num == pid.id && by_ei.serial == pid.serial &&
		  by_ei.creation == pid.creation);
	ck_assert_int_eq(ei_encode_pid(again, &end, &by_ei), 0);
	ck_assert(term_pid((uint8_t *)again, &back) && term_pid_equal(&pid, &back));
	for (int i = 0; i < 4; i++) {
		struct term_pid other = pid;

		other.id += i == 0;
		other.serial += i == 1;
		other.creation += i == 2;
		other.node_len = i == 3 ? 14 : 15;
		ck_assert(!term_pid_equal(&pid, &other));
	}
	b.len = 0;
	put_hex(&b, "67" NODE "00 00 00 01 00 00 00 02 03");
	ck_assert(term_pid(b.data, &back) && back.id == 1 && back.serial == 2 &&
		  back.creation == 3);
	ck_assert(!term_pid(b.data + 1, &back));
	buf_free(&b);
}
END_TEST

START_TEST(references_of_ours_agree_with_ei)
{
	struct buf b = { 0 };
	erlang_ref ref;
	int at = 0;

	term_put_ref(&b, "krait@127.0.0.1", 77, UINT64_C(0x123456789abcdef0));
	ck_assert_int_eq(term_check(b.data, b.len, NULL), 0);
	ck_assert_int_eq(ei_decode_ref((char *)b.data, &at, &ref), 0);
	ck_assert_int_eq(at, (int)b.len);
	ck_assert(ref.len == 3 && ref.creation == 77);
	ck_assert(ref.n[0] == 0 && ref.n[1] == 0x9abcdef0 && ref.n[2] == 0x12345678);
	buf_free(&b);
}
END_TEST

START_TEST(containers_agree_with_ei)
{
	struct buf b = { 0 };
	const uint8_t *first;
	uint32_t n;
	int at = 0, arity, type;
	char text[8];
	long len;

	term_put_version(&b);
	term_put_tuple(&b, 5);
	term_put_list(&b, 2);
	term_put_nil(&b);
	term_put_text(&b, "abc");
	term_put_nil(&b);
	term_put_list(&b, 0);
	term_put_map(&b, 1);
	term_put_atom(&b, "k");
	term_put_tuple(&b, 0);
	term_put_map(&b, 0);
	term_put_raw(&b, (struct span){ (const uint8_t *)"\x61\x05", 2 });
	ck_assert_int_eq(b.err, 0);
	ck_assert_int_eq(term_check(b.data + 1, b.len - 1, NULL), 0);
	ck_assert_int_eq(ei_decode_version((char *)b.data, &at, &arity), 0);
	ck_assert_int_eq(ei_decode_tuple_header((char *)b.data, &at, &arity), 0);
	ck_assert_int_eq(arity, 5);
	ck_assert_int_eq(ei_decode_list_header((char *)b.data, &at, &arity), 0);
	ck_assert_int_eq(arity, 2);
	ck_assert_int_eq(ei_decode_list_header((char *)b.data, &at, &arity), 0);
	ck_assert_int_eq(ei_decode_binary((char *)b.data, &at, text, &len), 0);
	ck_assert_int_eq((int)len, 3);
	ck_assert_int_eq(ei_decode_list_header((char *)b.data, &at, &arity), 0);
	ck_assert_int_eq(ei_get_type((char *)b.data, &at, &type, &arity), 0);
	ck_assert_int_eq(type, ERL_NIL_EXT);
	ck_assert_int_eq(ei_skip_term((char *)b.data, &at), 0);
	ck_assert_int_eq(ei_decode_map_header((char *)b.data, &at, &arity), 0);
	ck_assert_int_eq(arity, 1);

	ck_assert(term_tuple(b.data + 1, &n, &first) && n == 5);
	ck_assert(term_list(first, &n, &first) && n == 2);
	ck_assert(term_list(first, &n, &first) && n == 0 && first == NULL);
	buf_free(&b);
}
END_TEST

START_TEST(wide_tuples_have_the_long_form)
{
	struct buf b = { 0 };
	const uint8_t *first;
	uint32_t n;

	term_put_tuple(&b, 255);
	ck_assert_uint_eq(b.len, 2);
	b.len = 0;
	term_put_tuple(&b, 256);
	ck_assert_uint_eq(b.len, 5);
	ck_assert(term_tuple(b.data, &n, &first) && n == 256 && first == b.data + 5);
	buf_free(&b);
}
END_TEST

START_TEST(readers_say_no_to_other_kinds)
{
	struct buf b = { 0 };
	const uint8_t *first;
	struct term_pid pid;
	struct span span;
	uint32_t n;
	int64_t i;
	double d;
	bool latin1;
	enum term_kind kind = samples[_i].kind;

	put_hex(&b, samples[_i].hex);
	ck_assert(term_int(b.data, &i) ? kind == TERM_INT || kind == TERM_BIG : kind != TERM_INT);
	ck_assert(term_float(b.data, &d) == (kind == TERM_FLOAT));
	ck_assert(term_atom(b.data, &span, &latin1) == (kind == TERM_ATOM));
	ck_assert(term_binary(b.data, &span) == (kind == TERM_BINARY));
	ck_assert(term_tuple(b.data, &n, &first) == (kind == TERM_TUPLE));
	ck_assert(term_list(b.data, &n, &first) == (kind == TERM_LIST || kind == TERM_NIL));
	ck_assert(term_map(b.data, &n, &first) == (kind == TERM_MAP));
	ck_assert(term_pid(b.data, &pid) == (kind == TERM_PID));
	buf_free(&b);
}
END_TEST

/* UTF-8 by definition: decode to a code point, encode it again, compare. */
static size_t encode(uint32_t c, uint8_t *out)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
		out[2] = (uint8_t)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
	out[3] = (uint8_t)(0x80 | (c & 63));
	return 4;
}

static bool valid_by_definition(const uint8_t *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		uint8_t again[4];
		size_t n = p[at] < 0x80 ? 1 : p[at] < 0xe0 ? 2 : p[at] < 0xf0 ? 3 : 4;
		uint32_t c = n == 1 ? p[at] : p[at] & (0x3fu >> (n - 1));

		if (p[at] >= 0xf8 || len - at < n)
			return false;
		for (size_t i = 1; i < n; i++)
			c = c << 6 | (p[at + i] & 63);
		if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || encode(c, again) != n ||
		    memcmp(again, p + at, n) != 0)
			return false;
		at += n;
	}
	return true;
}

START_TEST(utf8_is_what_it_is_by_definition)
{
	uint8_t text[80];

	for (uint32_t all = 0; all < 1u << 24;
	     all += all < 0xc00000 ? 7 : 1) { /* every lead of 3 */
		put_u32(text, all << 8 | 0x80);
		for (size_t len = 1; len <= 4; len++)
			if (term_utf8(text, len) != valid_by_definition(text, len))
				ck_abort_msg("%02x %02x %02x %02x, %zu", text[0], text[1], text[2],
					     text[3], len);
	}
}
END_TEST

/* Long texts are looked at in chunks of 1024 bytes and registers of 16: four bytes of every kind, where they
 * lie across an edge, and behind and before characters of several bytes. */
START_TEST(utf8_of_long_texts_is_the_same_across_every_edge)
{
	static const uint8_t kinds[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
					 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xee,
					 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff };
	static const size_t places[] = { 15, 509, 1021, 1022, 1023, 1040 };
	enum { KINDS = sizeof kinds, LEN = 1100 };
	const char *unit = _i % 2 == 0 ? "a" : "\xc3\xa9";
	size_t unit_len = strlen(unit), place = places[_i / 2];
	uint8_t text[LEN], four[4];

	place -= place % unit_len;
	for (size_t at = 0; at < LEN; at++)
		text[at] = (uint8_t)unit[at % unit_len];
	for (unsigned n = 0; n < KINDS * KINDS * KINDS * KINDS; n++) {
		for (unsigned i = 0, rest = n; i < 4; i++, rest /= KINDS)
			four[i] = kinds[rest % KINDS];
		memcpy(text + place, four, 4);
		if (term_utf8(text, LEN) != valid_by_definition(four, 4))
			ck_abort_msg("%02x %02x %02x %02x at %zu of a long text", four[0], four[1],
				     four[2], four[3], place);
	}
}
END_TEST

START_TEST(utf8_errors_are_found_wherever_they_stand)
{
	struct random r = given_random("utf8");

	for (int round = 0; round < 300000; round++) {
		uint8_t text[100];
		uint32_t len = below(&r, 100), at = 0;

		while (at + 4 <= len) {
			uint32_t c = below(&r, 4) == 0 ? below(&r, 0x110000) : below(&r, 128);

			if (c >= 0xd800 && c <= 0xdfff)
				c = 'x';
			at += (uint32_t)encode(c, text + at);
		}
		len = at;
		if (len > 0 && below(&r, 2) == 0)
			text[below(&r, len)] = (uint8_t)any(&r);
		ck_assert(term_utf8(text, len) == valid_by_definition(text, len));
	}
	ck_assert(term_utf8("", 0));
}
END_TEST

START_TEST(a_full_buffer_is_told_once_and_stays_so)
{
	struct buf b = { .limit = 8 };

	term_put_binary(&b, "0123456789", 10);
	ck_assert_int_eq(b.err, -EMSGSIZE);
	term_put_nil(&b);
	ck_assert_int_eq(b.err, -EMSGSIZE);
	buf_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("term");
	TCase *t = tcase_create("term");

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, every_tag_is_accepted_whole_and_refused_when_cut_short, 0, SAMPLES);
	tcase_add_loop_test(t, what_no_node_writes_is_refused, 0,
			    sizeof malformed / sizeof malformed[0]);
	tcase_add_test(t, an_atom_has_at_most_255_characters_whatever_their_bytes);
	tcase_add_test(t, a_fun_must_be_as_long_as_it_says);
	tcase_add_test(t, a_fun_has_at_most_255_free_variables);
	tcase_add_test(t, funs_within_funs_are_followed_to_a_limit);
	tcase_add_test(t, millions_of_nested_lists_are_checked_at_once);
	tcase_add_test(t, mutations_are_refused_or_harmless);
	tcase_add_loop_test(t, integers_are_written_short_and_read_by_ei_and_back, 0,
			    sizeof integers / sizeof integers[0]);
	tcase_add_test(t, integers_beyond_64_bits_are_not_read_as_such);
	tcase_add_test(t, unsigned_integers_above_int64_are_bigs);
	tcase_add_test(t, floats_agree_with_ei_and_those_without_a_term_are_atoms);
	tcase_add_test(t, atoms_are_read_in_all_their_encodings);
	tcase_add_test(t, pids_agree_with_ei);
	tcase_add_test(t, references_of_ours_agree_with_ei);
	tcase_add_test(t, containers_agree_with_ei);
	tcase_add_test(t, wide_tuples_have_the_long_form);
	tcase_add_loop_test(t, readers_say_no_to_other_kinds, 0, SAMPLES);
	tcase_add_test(t, utf8_is_what_it_is_by_definition);
	tcase_add_loop_test(t, utf8_of_long_texts_is_the_same_across_every_edge, 0, 12);
	tcase_add_test(t, utf8_errors_are_found_wherever_they_stand);
	tcase_add_test(t, a_full_buffer_is_told_once_and_stays_so);
	return run(s);
}
