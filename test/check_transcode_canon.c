/* check_transcode_canon.c - equal terms have one canonical form, different ones have not. */
#include "transcode.h"

#include "mem.h"
#include "suite.h"
#include "term_given.h"

#include <errno.h>

static const struct transcode_options plain = { 100, 1 << 30, true, NULL };

/* The canonical form of a checked term. */
static struct buf canonical(const uint8_t *term)
{
	struct transcode_error err;
	struct buf packed = { 0 }, out = { 0 };

	ck_assert_int_eq(transcode_term(term, "t", &plain, &packed, &err), 0);
	ck_assert_int_eq(transcode_canonical(packed.data, packed.len, &out), 0);
	buf_free(&packed);
	return out;
}

static struct buf of_hex(const char *hex)
{
	struct buf term = { 0 }, out;

	put_hex(&term, hex);
	ck_assert_int_eq(term_check(term.data, term.len, NULL), 0);
	out = canonical(term.data);
	buf_free(&term);
	return out;
}

#define A  "77 01 'a'"
#define B  "77 01 'b'"
#define M1 "74 00 00 00 02 " A " 61 01 " B " 61 02"
#define M2 "74 00 00 00 02 " B " 61 02 " A " 61 01"
/* MapSets of 1 and 2, as Elixir makes them: %MapSet{map: %{1 => [], 2 => []}} */
#define SET(elements)                                                          \
	"74 00 00 00 02 77 0a '__struct__' 77 0d 'Elixir.MapSet' 77 03 'map' " \
	"74 00 00 00 02 " elements
#define S1 SET("61 01 6a 61 02 6a ")
#define S2 SET("61 02 6a 61 01 6a ")
static const struct {
	const char *one, *two;
	bool same;
} rows[] = {
	{ S1, S2, true },
	{ S1, SET("61 01 6a 61 03 6a "), false },
	{ "68 02 " S1 S2, "68 02 " S2 S1, true },
	{ "74 00 00 00 01 " S1 "61 01", "74 00 00 00 01 " S2 "61 01", true },
	{ "61 01", "61 01", true },
	{ "61 01", "62 00 00 00 01", true },
	{ "61 01", "6e 01 00 01", true },
	{ "61 01", "61 02", false },
	{ "61 01", "46 3f f0 00 00 00 00 00 00", false },
	{ A, "64 00 01 'a'", true },
	{ A, "6d 00 00 00 01 'a'", false },
	{ A, B, false },
	/* lists: as one, as STRING, in pieces */
	{ "6b 00 02 01 02", "6c 00 00 00 02 61 01 61 02 6a", true },
	{ "6b 00 02 01 02", "6c 00 00 00 01 61 01 6c 00 00 00 01 61 02 6a", true },
	{ "6b 00 02 01 02", "6c 00 00 00 01 61 01 6b 00 01 02", true },
	{ "6b 00 02 01 02", "6b 00 02 02 01", false },
	{ "6b 00 02 01 02", "68 02 61 01 61 02", false },
	{ "6a", "68 00", false },
	{ "68 01 6b 00 02 01 02", "68 01 6c 00 00 00 01 61 01 6c 00 00 00 01 61 02 6a", true },
	/* maps: in any order, within anything */
	{ M1, M2, true },
	{ "68 02 " M1 M2, "68 02 " M2 M1, true },
	{ "6c 00 00 00 01 " M1 "6a", "6c 00 00 00 01 " M2 "6a", true },
	{ "74 00 00 00 01 " A M1, "74 00 00 00 01 " A M2, true },
	{ "74 00 00 00 02 " A M1 B "6a", "74 00 00 00 02 " B "6a" A M2, true },
	{ M1, "74 00 00 00 02 " A " 61 02 " B " 61 01", false },
	{ M1, "74 00 00 00 01 " A " 61 01", false },
	/* keys of which one begins with the other */
	{ "74 00 00 00 02 6d 00 00 00 01 'x' 61 01 6d 00 00 00 02 'xx' 61 02",
	  "74 00 00 00 02 6d 00 00 00 02 'xx' 61 02 6d 00 00 00 01 'x' 61 01", true },
	/* maps, lists and tuples as keys, and in them */
	{ "74 00 00 00 01 " M1 "61 01", "74 00 00 00 01 " M2 "61 01", true },
	{ "74 00 00 00 02 " M1 "61 01 6a 61 02", "74 00 00 00 02 6a 61 02 " M2 "61 01", true },
	{ "74 00 00 00 01 68 01 " M1 "61 01", "74 00 00 00 01 68 01 " M2 "61 01", true },
	{ "74 00 00 00 01 6b 00 01 05 61 01", "74 00 00 00 01 6c 00 00 00 01 61 05 6a 61 01",
	  true },
	{ "74 00 00 00 01 6b 00 01 05 61 01", "74 00 00 00 01 68 01 61 05 61 01", false },
	{ "74 00 00 00 01 " M1 "61 01", "74 00 00 00 01 " M1 "61 02", false },
};
#define ROWS (sizeof rows / sizeof rows[0])

START_TEST(equal_terms_have_equal_bytes_and_others_have_not)
{
	struct buf one = of_hex(rows[_i].one), two = of_hex(rows[_i].two);

	ck_assert_msg((one.len == two.len && memcmp(one.data, two.data, one.len) == 0) ==
			      rows[_i].same,
		      "row %d", _i);
	buf_free(&one);
	buf_free(&two);
}
END_TEST

/* A map of `n` integers, the order of its pairs beginning at `first`; each value is such a map. */
static void put_turned(struct buf *b, uint32_t n, uint32_t first, int depth)
{
	term_put_map(b, n);
	for (uint32_t i = 0; i < n; i++) {
		term_put_uint(b, (first + i) % n * 1000);
		if (depth > 0)
			put_turned(b, n, first + i, depth - 1);
		else
			term_put_uint(b, (first + i) % n);
	}
}

/* Heads of every length: 1, 15, 16, 300 pairs. */
START_TEST(the_order_of_pairs_does_not_matter_however_many_there_are)
{
	static const uint32_t sizes[] = { 1, 2, 15, 16, 300 };

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf first = { 0 };

		for (uint32_t turn = 0; turn < sizes[i]; turn += 1 + sizes[i] / 7) {
			struct buf term = { 0 }, form;

			put_turned(&term, sizes[i], turn, 0);
			form = canonical(term.data);
			if (turn == 0)
				first = form;
			ck_assert_uint_eq(form.len, first.len);
			ck_assert_mem_eq(form.data, first.data, form.len);
			if (turn != 0)
				buf_free(&form);
			buf_free(&term);
		}
		buf_free(&first);
	}
	{
		struct buf one = { 0 }, two = { 0 }, x, y;

		put_turned(&one, 5, 0, 3);
		put_turned(&two, 5, 3, 3);
		x = canonical(one.data);
		y = canonical(two.data);
		ck_assert_mem_eq(x.data, y.data, x.len);
		buf_free(&one);
		buf_free(&two);
		buf_free(&x);
		buf_free(&y);
	}
}
END_TEST

/* It is a form of the same term: back and forth it comes again. */
START_TEST(the_form_of_a_random_term_is_that_of_the_term_it_stands_for)
{
	struct random r = given_random("check_transcode_canon");

	for (int i = 0; i < 2000; i++) {
		struct buf term = { 0 }, back = { 0 }, form, again;
		struct transcode_error err;

		put_random(&term, &r, 5);
		form = canonical(term.data);
		ck_assert_int_eq(
			transcode_value(form.data, form.len, "t", &plain, &back, NULL, &err), 0);
		again = canonical(back.data);
		ck_assert_uint_eq(form.len, again.len);
		ck_assert_mem_eq(form.data, again.data, form.len);
		buf_free(&term);
		buf_free(&back);
		buf_free(&form);
		buf_free(&again);
	}
}
END_TEST

START_TEST(what_is_cut_off_is_refused_at_any_byte)
{
	struct buf form =
		of_hex("74 00 00 00 02 " A M1 "68 02 6b 00 01 05 6d 00 00 00 01 'x' 61 01");

	for (size_t n = 0; n < form.len; n++) {
		uint8_t *cut = exact(&form, n);
		struct buf out = { 0 };

		ck_assert_int_eq(transcode_canonical(cut, n, &out), -EBADMSG);
		buf_free(&out);
		free(cut);
	}
	buf_free(&form);
}
END_TEST

START_TEST(no_memory_at_any_point_is_said_and_nothing_leaks)
{
	struct buf form = of_hex("74 00 00 00 02 " A M1 B M2);

	for (long n = 0;; n++) {
		struct buf out = { 0 };
		int rc;

		mem_fail_after = n;
		rc = transcode_canonical(form.data, form.len, &out);
		mem_fail_after = -1;
		buf_free(&out);
		if (rc == 0)
			break;
		ck_assert_int_eq(rc, -ENOMEM);
	}
	buf_free(&form);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transcode_canon");
	TCase *tc = tcase_create("canon");

	tcase_add_loop_test(tc, equal_terms_have_equal_bytes_and_others_have_not, 0, (int)ROWS);
	tcase_add_test(tc, the_order_of_pairs_does_not_matter_however_many_there_are);
	tcase_add_test(tc, the_form_of_a_random_term_is_that_of_the_term_it_stands_for);
	tcase_add_test(tc, what_is_cut_off_is_refused_at_any_byte);
	tcase_add_test(tc, no_memory_at_any_point_is_said_and_nothing_leaks);
	suite_add_tcase(suite, tc);
	return run(suite);
}
