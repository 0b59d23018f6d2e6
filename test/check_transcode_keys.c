/* check_transcode_keys.c - keys that are one in Python, keys that are one term, and the price of the check. */
#include "transcode.h"

#include "quick.h"
#include "suite.h"
#include "term_given.h"

#include <errno.h>

static const struct transcode_options plain = { 100, 1 << 30, true, NULL };
static const struct transcode_options raw = { 100, 1 << 30, false, NULL };

/* Pairs of keys: are they one in Python? In the BEAM they are two. */
#define Z11 "00 00 00 00 00 00 00 00 00 00 00 "
static const struct {
	const char *one, *two;
	bool clash, clash_raw; /* strings = utf8, bytes */
} python_keys[] = {
	{ "61 01", "46 3f f0 00 00 00 00 00 00", true, true },
	{ "61 01", "77 04 'true'", true, true },
	{ "46 3f f0 00 00 00 00 00 00", "77 04 'true'", true, true },
	{ "61 00", "77 05 'false'", true, true },
	{ "61 00", "46 80 00 00 00 00 00 00 00", true, true },
	{ "46 00 00 00 00 00 00 00 00", "46 80 00 00 00 00 00 00 00", true, true },
	{ "61 01", "61 02", false, false },
	{ "61 02", "77 04 'true'", false, false },
	{ "61 00", "77 03 'nil'", false, false },
	{ "77 04 'true'", "6d 00 00 00 04 'true'", false, false },
	{ "77 03 'nil'", "6d 00 00 00 03 'nil'", false, false },
	{ "62 ff ff ff ff", "46 bf f0 00 00 00 00 00 00", true, true },
	/* 2^53 and 2^53 + 1 against 2.0^53 */
	{ "6e 07 00 00 00 00 00 00 00 20", "46 43 40 00 00 00 00 00 00", true, true },
	{ "6e 07 00 01 00 00 00 00 00 20", "46 43 40 00 00 00 00 00 00", false, false },
	/* 2^63, -2^63, 2^63 - 1, 2^64, 2^100 */
	{ "6e 08 00 00 00 00 00 00 00 00 80", "46 43 e0 00 00 00 00 00 00", true, true },
	{ "6e 08 01 00 00 00 00 00 00 00 80", "46 c3 e0 00 00 00 00 00 00", true, true },
	{ "6e 08 00 ff ff ff ff ff ff ff 7f", "46 43 e0 00 00 00 00 00 00", false, false },
	{ "6e 09 00 00 00 00 00 00 00 00 00 01", "46 43 f0 00 00 00 00 00 00", true, true },
	{ "6e 09 01 00 00 00 00 00 00 00 00 01", "46 43 f0 00 00 00 00 00 00", false, false },
	{ "6e 0d 00 00 00 00 00 00 00 00 00 00 00 00 00 10", "46 46 30 00 00 00 00 00 00", true,
	  true },
	{ "6e 0d 00 01 00 00 00 00 00 00 00 00 00 00 00 10", "46 46 30 00 00 00 00 00 00", false,
	  false },
	/* 1.5 * 2^64, and the largest float of all, (2^53 - 1) * 2^971 */
	{ "6e 09 00 00 00 00 00 00 00 00 80 01", "46 43 f8 00 00 00 00 00 00", true, true },
	{ "6e 80 00" Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 "f8 ff ff ff ff ff ff",
	  "46 7f ef ff ff ff ff ff ff", true, true },
	{ "6e 80 00" Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 Z11 "f9 ff ff ff ff ff ff",
	  "46 7f ef ff ff ff ff ff ff", false, false },
	{ "61 01", "46 3f f8 00 00 00 00 00 00", false, false },
	/* text */
	{ "77 01 'a'", "6d 00 00 00 01 'a'", true, false },
	{ "73 01 e9", "6d 00 00 00 02 c3 a9", true, false },
	{ "73 01 e9", "6d 00 00 00 01 e9", false, false },
	{ "77 01 'a'", "6d 00 00 00 01 'b'", false, false },
	{ "77 01 'a'", "4d 00 00 00 01 08 'a'", true, false },
	/* what has elements */
	{ "68 01 61 01", "68 01 46 3f f0 00 00 00 00 00 00", true, true },
	{ "68 01 61 01", "68 02 61 01 61 01", false, false },
	{ "68 01 61 01", "6c 00 00 00 01 61 01 6a", false, false },
	{ "68 00", "6a", false, false },
	{ "6a", "74 00 00 00 00", false, false },
	{ "6b 00 01 01", "6c 00 00 00 01 46 3f f0 00 00 00 00 00 00 6a", true, true },
	{ "6b 00 02 01 02", "6b 00 02 02 01", false, false },
	{ "68 02 77 01 'a' 61 01", "68 02 6d 00 00 00 01 'a' 77 04 'true'", true, false },
	{ "68 02 68 01 61 01 61 02", "68 02 61 01 68 01 61 02", false, false },
	{ "74 00 00 00 01 61 01 61 02",
	  "74 00 00 00 01 46 3f f0 00 00 00 00 00 00 46 40 00 00 00 00 00 00 00", true, true },
	{ "74 00 00 00 02 61 01 61 02 61 03 61 04",
	  "74 00 00 00 02 46 40 08 00 00 00 00 00 00 61 04 61 01 61 02", true, true },
	{ "74 00 00 00 02 61 01 61 02 61 03 61 04", "74 00 00 00 02 61 01 61 04 61 03 61 02", false,
	  false },
	{ "68 01 6c 00 00 00 01 61 01 6a", "68 01 6c 00 00 00 01 77 04 'true' 6a", true, true },
	{ "68 01 4d 00 00 00 01 03 e0", "68 01 4d 00 00 00 01 03 ff", true, true }, /* 3 bits */
	{ "68 01 4d 00 00 00 01 03 e0", "68 01 4d 00 00 00 01 03 c0", false, false },
	/* the same, as no BEAM would send */
	{ "68 00", "68 00", true, true },
	{ "67" NODE "00 00 00 01 00 00 00 02 03", "58" NODE "00 00 00 01 00 00 00 02 00 00 00 03",
	  false, false },
};

static int both_keys(const char *one, const char *two, uint32_t fillers,
		     const struct transcode_options *opts)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	int rc;

	term_put_map(&in, 2 + fillers);
	put_hex(&in, one);
	term_put_nil(&in);
	for (uint32_t i = 0; i < fillers; i++) {
		term_put_int(&in, 1000 + i);
		term_put_nil(&in);
	}
	put_hex(&in, two);
	term_put_nil(&in);
	ck_assert_int_eq(term_check(in.data, in.len, NULL), 0);
	rc = transcode_term(in.data, "x", opts, &out, &err);
	ck_assert(rc == 0 ||
		  (err.fault == TRANSCODE_UNENCODABLE && strcmp(err.what, ":duplicate_key") == 0));
	buf_free(&in);
	buf_free(&out);
	return rc;
}

START_TEST(keys_that_are_one_in_python_are_refused)
{
	for (uint32_t fillers = 0; fillers <= 60; fillers += 20) {
		for (int swap = 0; swap < 2; swap++) {
			const char *one = swap ? python_keys[_i].two : python_keys[_i].one;
			const char *two = swap ? python_keys[_i].one : python_keys[_i].two;

			ck_assert_msg((both_keys(one, two, fillers, &plain) != 0) ==
					      python_keys[_i].clash,
				      "%s, %s", one, two);
			ck_assert_msg((both_keys(one, two, fillers, &raw) != 0) ==
					      python_keys[_i].clash_raw,
				      "%s, %s as bytes", one, two);
		}
	}
}
END_TEST

START_TEST(a_clash_within_a_key_is_refused_even_if_the_key_is_alone)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;

	put_hex(&in, "74 00 00 00 01 68 01 74 00 00 00 02 61 01 6a 77 04 'true' 6a 61 05");
	ck_assert_int_eq(term_check(in.data, in.len, NULL), 0);
	ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), -EINVAL);
	ck_assert_str_eq(err.what, ":duplicate_key");
	ck_assert_str_eq(err.where, "x[k]");
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* Keys of a dict: are they one term? Fun bodies that differ in their creator only, too. */
#define FUN_OF(module, pid, env)                                                                 \
	"c7 37 08 70 00 00 00 36 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07" \
	"00 00 00 01 77 01 " module " 61 07 61 08 58 77 01 'n' " pid                             \
	" 00 00 00 00 00 00 00 00 61 " env
#define FUN_BY(pid, env) FUN_OF("'m'", pid, env)
static const struct {
	const char *one, *two;
	bool clash;
} term_keys[] = {
	{ "a1 'a'", "c4 01 'a'", true },
	{ "a1 'a'", "d4 01 'a'", false },
	{ "a1 'a'", "a1 'a'", true },
	{ "01", "cb 3f f0 00 00 00 00 00 00", false },
	{ "01", "c3", false },
	{ "01", "cc 01", true },
	{ "01", "c7 02 03 00 01", true },
	{ "c3", "c7 04 01 'true'", true },
	{ "c0", "c7 03 01 'nil'", true },
	{ "cb 00 00 00 00 00 00 00 00", "cb 80 00 00 00 00 00 00 00", true },
	{ "ca 3f c0 00 00", "cb 3f f8 00 00 00 00 00 00", true },
	{ "cb 7f f8 00 00 00 00 00 00", "c7 03 01 'nan'", true },
	{ "cb 7f f8 00 00 00 00 00 00", "cb ff f8 00 00 00 00 00 01", true },
	{ "d4 02 90", "c7 01 02 90", true },
	{ "d4 02 90", "d4 09 90", false },
	{ "d4 09 90", "90", true },
	{ "d4 0a 90", "80", true },
	{ "d4 0a 90", "90", false },
	{ "d5 02 91 01", "d5 02 91 02", false },
	{ "d5 02 91 01", "c7 03 02 91 cc 01", true },
	{ "c7 05 0a 94 01 02 03 04", "c7 05 0a 94 03 04 01 02", true }, /* maps have no order */
	{ "c7 05 0a 94 01 02 03 04", "c7 05 0a 94 01 04 03 02", false },
	{ "c7 06 02 91 0a 92 01 02", "c7 06 02 91 82 01 02 03", false },
	{ "c7 12 04 67" NODE "00 00 00 01 00 00 00 02 03",
	  "c7 15 04 58" NODE "00 00 00 01 00 00 00 02 00 00 00 03", true },
	{ "d7 08 4d 00 00 00 02 03 ff e0", "d7 08 4d 00 00 00 02 03 ff ff", true },
	{ "d7 08 4d 00 00 00 02 03 ff e0", "d7 08 4d 00 00 00 02 04 ff e0", false },
	{ "d7 08 4d 00 00 00 02 08 'ab'", "a2 'ab'", true },
	{ FUN_BY("00 00 00 01", "05"), FUN_BY("00 00 00 02", "05"), true },
	{ FUN_BY("00 00 00 01", "05"), FUN_BY("00 00 00 01", "06"), false },
	{ FUN_BY("00 00 00 01", "05"), FUN_OF("'o'", "00 00 00 01", "05"), false },
	{ "c7 09 07 71 77 01 'm' 77 01 'f' 61 02", "c7 0b 07 71 64 00 01 'm' 76 00 01 'f' 61 02",
	  true },
	{ "ff", "cf ff ff ff ff ff ff ff ff", false },
};

START_TEST(keys_that_are_one_term_are_refused)
{
	for (uint32_t fillers = 0; fillers <= 60; fillers += 20) {
		for (int swap = 0; swap < 2; swap++) {
			struct buf in = { 0 }, out = { 0 };
			struct transcode_error err;
			int rc;

			buf_put_u8(&in, 0xde);
			buf_put_u16(&in, 2 + fillers);
			put_hex(&in, swap ? term_keys[_i].one : term_keys[_i].two);
			buf_put_u8(&in, 0xc0);
			for (uint32_t i = 0; i < fillers; i++)
				put_hex(&in, "cd"), buf_put_u16(&in, 1000 + i),
					buf_put_u8(&in, 0xc0);
			put_hex(&in, swap ? term_keys[_i].two : term_keys[_i].one);
			buf_put_u8(&in, 0xc0);
			rc = transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err);
			if (strstr(term_keys[_i].two, "82 01 02 03") == NULL)
				ck_assert_msg((rc != 0) == term_keys[_i].clash, "%s, %s: %d %s %s",
					      term_keys[_i].one, term_keys[_i].two, rc, err.where,
					      err.what);
			if (rc != 0 && term_keys[_i].clash)
				ck_assert_str_eq(err.what, ":duplicate_key");
			buf_free(&in);
			buf_free(&out);
		}
	}
}
END_TEST

/* Lists of a fun's environment: the same, however they are written? */
static const struct {
	const char *one, *two;
	bool clash;
} environments[] = {
	{ "6b 00 02 01 02", "6c 00 00 00 02 61 01 61 02 6a", true },
	{ "6c 00 00 00 02 61 01 61 02 6a", "6c 00 00 00 01 61 01 6c 00 00 00 01 61 02 6a", true },
	{ "6c 00 00 00 02 61 01 61 02 6a", "6c 00 00 00 01 61 01 6b 00 01 02", true },
	{ "6c 00 00 00 02 61 01 61 02 6a", "6c 00 00 00 00 6b 00 02 01 02", true },
	{ "6c 00 00 00 01 61 01 61 02", "6c 00 00 00 01 61 01 61 02", true }, /* improper */
	{ "6c 00 00 00 01 61 01 61 02", "6c 00 00 00 01 61 01 61 03", false },
	{ "6c 00 00 00 01 61 01 61 02", "6c 00 00 00 02 61 01 61 02 6a", false },
	{ "6c 00 00 00 01 61 01 61 02", "6c 00 00 00 01 61 01 6c 00 00 00 00 61 02", true },
	{ "6c 00 00 00 01 61 01 68 01 61 02", "6c 00 00 00 01 61 01 68 01 61 02", true },
	{ "6c 00 00 00 01 61 01 68 01 61 02", "6c 00 00 00 01 61 01 68 01 61 03", false },
};

static void put_fun_key(struct buf *b, const char *environment)
{
	struct buf fun = { 0 };

	put_hex(&fun, "70 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
		      "07 00 00 00 01"
		      "77 01 'm' 61 07 61 08 58 77 01 'n' 00 00 00 01 00 00 00 00 00 00 00 00");
	put_hex(&fun, environment);
	put_u32(fun.data + 1, (uint32_t)fun.len - 1);
	ck_assert_int_eq(term_check(fun.data, fun.len, NULL), 0);
	buf_put_u8(b, 0xc7);
	buf_put_u8(b, (uint8_t)fun.len);
	buf_put_u8(b, 8);
	buf_put(b, fun.data, fun.len);
	buf_free(&fun);
}

START_TEST(lists_of_a_fun_are_compared_by_their_elements)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	int rc;

	buf_put_u8(&in, 0x82);
	put_fun_key(&in, environments[_i].one);
	buf_put_u8(&in, 0xc0);
	put_fun_key(&in, environments[_i].two);
	buf_put_u8(&in, 0xc0);
	rc = transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err);
	ck_assert_msg((rc != 0) == environments[_i].clash, "row %d: %d", _i, rc);
	if (rc != 0)
		ck_assert_str_eq(err.what, ":duplicate_key");
	buf_free(&in);
	buf_free(&out);
}
END_TEST

START_TEST(a_forged_fun_with_a_key_twice_is_refused)
{
	struct buf fun = { 0 }, in = { 0 }, out = { 0 };
	struct transcode_error err;

	put_hex(&fun, "70 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
		      "07 00 00 00 01"
		      "77 01 'm' 61 07 61 08 58 77 01 'n' 00 00 00 01 00 00 00 00 00 00 00 00"
		      "74 00 00 00 02 61 01 6a 61 01 6a");
	put_u32(fun.data + 1, (uint32_t)fun.len - 1);
	ck_assert_int_eq(term_check(fun.data, fun.len, NULL), 0);
	put_hex(&in, "c7");
	buf_put_u8(&in, (uint8_t)fun.len);
	put_hex(&in, "08");
	buf_put(&in, fun.data, fun.len);
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
	ck_assert_int_eq(err.fault, TRANSCODE_CORRUPT);
	in.data[in.len - 2] = 2; /* another key */
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), 0);
	buf_free(&fun);
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* Maps that need the check: many keys, and keys within keys within keys. */
START_TEST(the_check_for_duplicates_is_linear)
{
	const uint32_t n = 500000;
	struct buf in = { 0 }, out = { 0 }, back = { 0 };
	struct transcode_options deep = { 1000, 1 << 30, true, NULL };
	struct transcode_error err;
	double start = seconds(), took;

	term_put_map(&in, n);
	for (uint32_t i = 0; i < n; i++) {
		if (i % 2 == 0)
			term_put_int(&in, i);
		else
			term_put_float(&in, i + 0.5);
		term_put_nil(&in);
	}
	ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), 0);
	ck_assert_int_eq(transcode_value(out.data, out.len, "x", &plain, &back, NULL, &err), 0);
	ck_assert(back.len == in.len && memcmp(back.data, in.data, in.len) == 0);
	in.len = out.len = back.len = 0;
	for (int i = 0; i < 900; i++) { /* #{ #{ #{ ... } => Big } => Big } */
		term_put_map(&in, 1);
	}
	term_put_nil(&in);
	for (int i = 0; i < 900; i++) {
		term_put_list(&in, 1000);
		for (int k = 0; k < 1000; k++)
			term_put_int(&in, k);
		term_put_nil(&in);
	}
	ck_assert_int_eq(transcode_term(in.data, "x", &deep, &out, &err), 0);
	ck_assert_int_eq(transcode_value(out.data, out.len, "x", &deep, &back, NULL, &err), 0);
	ck_assert(back.len == in.len && memcmp(back.data, in.data, in.len) == 0);
	took = seconds() - start;
	ck_assert_msg(took < 5 || quick(), "took %f s", took);
	buf_free(&in);
	buf_free(&out);
	buf_free(&back);
}
END_TEST

START_TEST(another_seed_gives_the_same_answers)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		transcode_seed(seed);
		ck_assert_int_ne(both_keys("61 01", "77 04 'true'", 40, &plain), 0);
		ck_assert_int_eq(both_keys("61 01", "61 02", 40, &plain), 0);
		ck_assert_int_eq(both_keys("68 00", "77 00", 40, &plain), 0);
	}
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
	Suite *s = suite_create("transcode_keys");
	TCase *t = tcase_create("transcode_keys");

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, keys_that_are_one_in_python_are_refused, 0, ROWS(python_keys));
	tcase_add_test(t, a_clash_within_a_key_is_refused_even_if_the_key_is_alone);
	tcase_add_loop_test(t, keys_that_are_one_term_are_refused, 0, ROWS(term_keys));
	tcase_add_loop_test(t, lists_of_a_fun_are_compared_by_their_elements, 0,
			    ROWS(environments));
	tcase_add_test(t, a_forged_fun_with_a_key_twice_is_refused);
	tcase_add_test(t, the_check_for_duplicates_is_linear);
	tcase_add_test(t, another_seed_gives_the_same_answers);
	return run(s);
}
