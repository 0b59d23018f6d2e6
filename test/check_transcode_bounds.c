/* check_transcode_bounds.c - depth, length, memory, and what would be absurd: each at its boundary. */
#include "transcode.h"

#include "mem.h"
#include "parcel.h"
#include "quick.h"
#include "suite.h"
#include "term_given.h"

#include <errno.h>

static const struct transcode_options plain = { 100, 1 << 30, true, NULL };

START_TEST(atoms_from_a_worker_have_at_most_255_characters)
{
	for (uint32_t chars = 127; chars <= 256; chars++) {
		struct buf in = { 0 }, out = { 0 };
		struct transcode_error err;
		int rc;

		buf_put_u8(&in, 0xc8);
		buf_put_u16(&in, 2 * chars);
		buf_put_u8(&in, 1);
		for (uint32_t i = 0; i < chars; i++)
			buf_put(&in, "\xc3\xa9", 2);
		rc = transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err);
		ck_assert_int_eq(rc, chars <= 255 ? 0 : -EINVAL);
		if (rc == 0)
			ck_assert_int_eq(term_check(out.data, out.len, NULL), 0);
		else
			ck_assert_str_eq(err.what, ":invalid_atom");
		buf_free(&in);
		buf_free(&out);
	}
}
END_TEST

START_TEST(absurd_integers_and_tuples_are_refused)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	const uint32_t big = 512 * 1024 - 8, arity = 1 << 24;

	for (uint32_t n = big; n <= big + 1; n++) {
		in.len = 0;
		buf_put_u8(&in, 0xc9);
		buf_put_u32(&in, n + 1);
		put_hex(&in, "03 00");
		for (uint32_t i = 0; i < n; i++)
			buf_put_u8(&in, 0xff);
		ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err),
				 n == big ? 0 : -EINVAL);
	}
	ck_assert_str_eq(err.what, ":integer_too_large");
	in.len = 0;
	buf_put_u8(&in, 0xc9);
	buf_put_u32(&in, arity + 5);
	put_hex(&in, "02 dd");
	buf_put_u32(&in, arity);
	ck_assert_int_eq(buf_reserve(&in, arity), 0);
	memset(in.data + in.len, 0xc0, arity);
	in.len += arity;
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
	ck_assert_str_eq(err.what, ":tuple_too_large");
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* `depth` containers, the innermost empty. */
static void put_deep_term(struct buf *b, uint32_t depth, int kind)
{
	static const char *const open[] = { "6c 00 00 00 01", "68 01", "74 00 00 00 01 61 01",
					    "74 00 00 00 01" };
	static const char *const last[] = { "6a", "68 00", "74 00 00 00 00", "74 00 00 00 00" };

	for (uint32_t i = 1; i < depth; i++)
		put_hex(b, open[kind]);
	put_hex(b, last[kind]);
	for (uint32_t i = 1; i < depth; i++) {
		if (kind == 0)
			put_hex(b, "6a");
		if (kind == 3)
			put_hex(b, "61 01");
	}
}

START_TEST(nesting_is_allowed_to_the_limit_and_not_beyond)
{
	static const uint32_t limits[] = { 1, 2, 7, 500, 800, TRANSCODE_DEPTH_MAX };

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct transcode_options opts = { limits[i], 1 << 30, true, NULL };

		for (uint32_t depth = limits[i]; depth <= limits[i] + 1; depth++) {
			struct buf term = { 0 }, args = { 0 }, packed = { 0 }, back = { 0 };
			struct transcode_options far = { TRANSCODE_DEPTH_MAX, 1 << 30, true, NULL };
			struct transcode_error err;
			int want = depth <= limits[i] ? 0 : -EINVAL;

			put_deep_term(&term, depth, _i);
			ck_assert_int_eq(transcode_term(term.data, "x", &opts, &packed, &err),
					 want);
			if (want != 0)
				ck_assert(err.fault == TRANSCODE_TOO_DEEP &&
					  err.limit == limits[i]);
			packed.len = 0;
			put_hex(&args, "6c 00 00 00 01");
			buf_put(&args, term.data, term.len);
			put_hex(&args, "6a");
			ck_assert_int_eq(transcode_args(args.data, &opts, &packed, &err), want);
			if (depth <= TRANSCODE_DEPTH_MAX) {
				packed.len = 0;
				ck_assert_int_eq(
					transcode_term(term.data, "x", &far, &packed, &err), 0);
				ck_assert_int_eq(transcode_value(packed.data, packed.len, "x",
								 &opts, &back, NULL, &err),
						 want);
				ck_assert(want == 0 ? back.len == term.len
						    : err.fault == TRANSCODE_TOO_DEEP &&
							      err.limit == limits[i]);
			}
			buf_free(&term);
			buf_free(&args);
			buf_free(&packed);
			buf_free(&back);
		}
	}
}
END_TEST

START_TEST(a_fun_with_terms_nested_beyond_all_limits_is_too_deep_to_go_back)
{
	for (uint32_t depth = TRANSCODE_DEPTH_MAX; depth <= TRANSCODE_DEPTH_MAX + 1; depth++) {
		for (int is_key = 0; is_key < 3; is_key++) {
			struct buf fun = { 0 }, in = { 0 }, out = { 0 };
			struct transcode_error err;
			int rc;

			put_hex(&fun,
				"70 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
				"00 00 00 07 00 00 00 01 77 01 'm' 61 07 61 08 58 77 01 'n'"
				"00 00 00 01 00 00 00 00 00 00 00 00");
			put_deep_term(&fun, depth, 0);
			put_u32(fun.data + 1, (uint32_t)fun.len - 1);
			ck_assert_int_eq(term_check(fun.data, fun.len, NULL), 0);
			ck_assert_int_eq(transcode_term(fun.data, "x", &plain, &in, &err), 0);
			if (is_key) {
				struct buf map = { 0 };

				put_hex(&map, "82 01 02");
				if (is_key == 2) { /* {Fun}, one level more */
					buf_put_u8(&map, 0xc9);
					buf_put_u32(&map, (uint32_t)in.len + 1);
					put_hex(&map, "02 91");
				}
				buf_put(&map, in.data, in.len);
				put_hex(&map, "03");
				buf_free(&in);
				in = map;
			}
			rc = transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err);
			ck_assert_int_eq(
				rc, depth + (is_key == 2) <= TRANSCODE_DEPTH_MAX ? 0 : -EINVAL);
			if (rc != 0)
				ck_assert_int_eq(err.fault, TRANSCODE_TOO_DEEP);
			buf_free(&fun);
			buf_free(&in);
			buf_free(&out);
		}
	}
}
END_TEST

START_TEST(bombs_are_answered_at_once)
{
	static const struct {
		const char *piece, *end;
		enum transcode_fault fault;
	} rows[] = { { "91", "90", TRANSCODE_TOO_DEEP },
		     { "81 01", "90", TRANSCODE_TOO_DEEP },
		     { "81", "90", TRANSCODE_CORRUPT }, /* a count beyond the end comes first */
		     { "dd 00 00 00 01", "90", TRANSCODE_TOO_DEEP } };
	const size_t n = 3000000;
	double start = seconds();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf one = { 0 }, in = { 0 }, out = { 0 };
		struct transcode_error err;

		put_hex(&one, rows[i].piece);
		for (size_t k = 0; k < n; k++)
			buf_put(&in, one.data, one.len);
		put_hex(&in, rows[i].end);
		ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err),
				 -EINVAL);
		ck_assert(err.fault == TRANSCODE_TOO_DEEP || err.fault == rows[i].fault);
		buf_free(&one);
		buf_free(&in);
		buf_free(&out);
	}
	{
		struct buf in = { 0 }, out = { 0 };
		struct transcode_error err;

		for (size_t k = 0; k < n; k++)
			term_put_list(&in, 1);
		for (size_t k = 0; k <= n; k++)
			term_put_nil(&in);
		ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), -EINVAL);
		ck_assert_int_eq(err.fault, TRANSCODE_TOO_DEEP);
		in.len = 0; /* [ | [ | [ ... ]]], which is one flat, empty list */
		for (size_t k = 0; k < n; k++)
			put_u32(in.data + 5 * k + 1, 0), in.data[5 * k] = 0x6c;
		in.data[5 * n] = 0x6a;
		ck_assert_int_eq(term_check(in.data, 5 * n + 1, NULL), 0);
		ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), 0);
		ck_assert_uint_eq(out.len, 5);
		buf_free(&in);
		buf_free(&out);
	}
	ck_assert_msg(seconds() - start < 10 || quick(), "took %f s", seconds() - start);
}
END_TEST

START_TEST(the_longest_output_is_the_limit_and_a_byte_more_is_too_large)
{
	static const char *const rows[] = {
		"6d 00 00 00 05 'abcde'",
		"6b 00 05 ff ff ff ff ff",
		"6c 00 00 00 03 61 ff 68 01 77 02 'ab' 74 00 00 00 01 61 01 6a 6a",
		"6e 09 00 00 00 00 00 00 00 00 00 01",
		"58" NODE "00 00 00 01 00 00 00 02 ff ff ff fe",
		"61 01",
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf in = { 0 }, packed = { 0 }, back = { 0 };
		struct transcode_error err;

		put_hex(&in, rows[i]);
		ck_assert_int_eq(transcode_term(in.data, "x", &plain, &packed, &err), 0);
		ck_assert_int_eq(
			transcode_value(packed.data, packed.len, "x", &plain, &back, NULL, &err),
			0);
		for (int how = 0; how < 4;
		     how++) { /* in or out, by option or by the buffer's own limit */
			size_t whole = how < 2 ? packed.len : back.len;

			for (size_t limit = 0; limit <= whole + 1; limit++) {
				struct transcode_options opts = { 100,
								  how % 2 == 0 ? limit : SIZE_MAX,
								  true, NULL };
				struct buf out = { 0 };
				int rc;

				put_hex(&out, "'before'");
				out.limit = how % 2 == 0 ? 0 : 6 + limit;
				rc = how < 2 ? transcode_term(in.data, "x", &opts, &out, &err)
					     : transcode_value(packed.data, packed.len, "x", &opts,
							       &out, NULL, &err);
				ck_assert_msg(rc == (limit >= whole ? 0 : -EINVAL), "%s %d %zu",
					      rows[i], how, limit);
				ck_assert_uint_eq(out.len, rc == 0 ? 6 + whole : 6);
				ck_assert_uint_eq(out.limit, how % 2 == 0 ? 0 : 6 + limit);
				ck_assert_int_eq(out.err, 0);
				if (rc != 0)
					ck_assert_msg(err.fault == TRANSCODE_TOO_LARGE &&
							      err.limit == limit &&
							      err.bytes > limit &&
							      err.bytes <= whole,
						      "%s %d: %d, %zu of %zu: %d %d", rows[i], how,
						      err.fault, limit, whole, (int)err.bytes,
						      (int)err.limit);
				buf_free(&out);
			}
		}
		buf_free(&in);
		buf_free(&packed);
		buf_free(&back);
	}
}
END_TEST

START_TEST(a_binary_over_the_limit_is_not_copied)
{
	struct transcode_options opts = { 100, 1000, true, NULL };
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;

	term_put_list(&in, 2);
	term_put_int(&in, 5);
	put_hex(&in, "6d 00 80 00 00");
	ck_assert_int_eq(buf_reserve(&in, 0x800001), 0);
	memset(in.data + in.len, 'x', 0x800000);
	in.len += 0x800000;
	term_put_nil(&in);
	ck_assert_int_eq(transcode_term(in.data, "x", &opts, &out, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_TOO_LARGE && err.bytes >= 0x800000 && err.limit == 1000);
	ck_assert_uint_lt(out.cap, 100000);
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* [Binary, {Binary}, Binary, {bytes, Binary}]: each of 256 KiB, the second one not UTF-8. */
static struct buf given_four_large(void)
{
	struct buf in = { 0 };

	term_put_list(&in, 4);
	for (int i = 0; i < 4; i++) {
		if (i % 2 == 1)
			term_put_tuple(&in, i == 1 ? 1 : 2);
		if (i == 3)
			term_put_atom(&in, "bytes");
		buf_put_u8(&in, 0x6d);
		buf_put_u32(&in, PARCEL_APART);
		ck_assert_int_eq(buf_reserve(&in, PARCEL_APART), 0);
		memset(in.data + in.len, i == 1 ? 0xff : 'x', PARCEL_APART);
		in.len += PARCEL_APART;
	}
	term_put_nil(&in);
	return in;
}

START_TEST(binaries_that_go_apart_leave_their_place_and_kind)
{
	static const uint8_t want[] = { 0x94, 0xd5, 14, 0,        PART_STR, 0xc9, 0, 0,
					0,    5,    2,  0x91,     0xd5,     14,   1, PART_BIN,
					0xd5, 14,   2,  PART_STR, 0xd5,     14,   3, PART_BIN };
	struct parcel_parts parts;
	struct transcode_options opts = { 100, 1 << 30, true, &parts };
	struct buf in = given_four_large(), out = { 0 };
	struct transcode_error err;

	parcel_from(&parts, in.data, in.len);
	ck_assert_int_eq(transcode_args(in.data, &opts, &out, &err), 0);
	ck_assert_uint_eq(out.len, sizeof want);
	ck_assert_mem_eq(out.data, want, sizeof want);
	ck_assert_uint_eq(parts.count, 4);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *at = parts.part[i].iov_base;

		ck_assert_uint_eq(parts.part[i].iov_len, PARCEL_APART);
		ck_assert(at > in.data && at + PARCEL_APART < in.data + in.len);
		ck_assert_uint_eq(at[0], i == 1 ? 0xff : 'x');
	}
	buf_free(&in);
	buf_free(&out);
}
END_TEST

START_TEST(what_goes_apart_counts_for_the_limit_of_its_own_value)
{
	struct parcel_parts parts;
	struct transcode_options opts = { 100, 4 * PARCEL_APART + 24, true, &parts };
	struct buf in = given_four_large(), out = { 0 };
	struct transcode_error err;

	parcel_from(&parts, in.data, in.len);
	ck_assert_int_eq(transcode_args(in.data, &opts, &out, &err), 0);
	ck_assert_int_eq(transcode_args(in.data, &opts, &out, &err), 0); /* not those before it */
	ck_assert_uint_eq(parts.count, 8);
	parcel_clear(&parts);
	out.len = 0;
	opts.max_bytes--;
	ck_assert_int_eq(transcode_args(in.data, &opts, &out, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_TOO_LARGE && err.limit == opts.max_bytes);
	ck_assert_uint_eq(err.bytes, opts.max_bytes + 1);
	ck_assert(parts.count == 0 && parts.bytes == 0 && out.len == 0);
	buf_free(&in);
	buf_free(&out);
}
END_TEST

static void put_large(struct buf *b, unsigned tag, char byte)
{
	buf_put_u8(b, tag);
	buf_put_u32(b, PARCEL_APART);
	ck_assert_int_eq(buf_reserve(b, PARCEL_APART), 0);
	memset(b->data + b->len, byte, PARCEL_APART);
	b->len += PARCEL_APART;
}

/* [bin, {str: str}, a tensor in a key, a tensor]: what is in a key stays. */
static struct buf given_large_values(void)
{
	static const uint8_t dtype_u8[16] = { 5, 1, [13] = PARCEL_APART >> 16 };
	struct buf in = { 0 };

	buf_put_u8(&in, 0x93);
	put_large(&in, 0xc6, '\xff');
	buf_put_u8(&in, 0x82);
	put_large(&in, 0xdb, 'k');
	put_large(&in, 0xdb, 'v');
	for (int i = 0; i < 2; i++) {
		buf_put_u8(&in, 0xc9);
		buf_put_u32(&in, sizeof dtype_u8 + PARCEL_APART);
		buf_put_u8(&in, EXT_TENSOR);
		buf_put(&in, dtype_u8, sizeof dtype_u8);
		ck_assert_int_eq(buf_reserve(&in, PARCEL_APART), 0);
		memset(in.data + in.len, 't' + i, PARCEL_APART);
		in.len += PARCEL_APART;
		if (i == 0)
			buf_put_u8(&in, 1);
	}
	return in;
}

START_TEST(what_goes_apart_of_a_result_belongs_where_it_says)
{
	struct parcel_parts parts;
	struct transcode_options opts = { 100, 1 << 30, true, &parts };
	struct buf in = given_large_values(), out = { 0 }, whole = { 0 }, joined = { 0 };
	struct transcode_error err;
	size_t from = 0;

	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &whole, NULL, &err), 0);
	buf_put(&out, "before", 6);
	parcel_from(&parts, in.data, in.len);
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &opts, &out, NULL, &err), 0);
	ck_assert_uint_eq(parts.count, 3);
	ck_assert_uint_eq(out.len - 6 + parts.bytes, whole.len);
	for (unsigned i = 0; i <= parts.count; i++) {
		size_t to = i < parts.count ? parts.at[i] : out.len;

		buf_put(&joined, out.data + from, to - from);
		if (i < parts.count)
			buf_put(&joined, parts.part[i].iov_base, parts.part[i].iov_len);
		from = to;
	}
	ck_assert_mem_eq(joined.data + 6, whole.data, whole.len);
	opts.max_bytes = whole.len - 1; /* it counts for the limit */
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &opts, &out, NULL, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_TOO_LARGE && parts.count == 3);
	opts.max_bytes = whole.len;
	ck_assert_int_eq(transcode_value(in.data, in.len - 1, "x", &opts, &out, NULL, &err),
			 -EINVAL);
	ck_assert(err.fault == TRANSCODE_CORRUPT && parts.count == 3);
	ck_assert_uint_eq(out.len - 6 + parts.bytes, whole.len);
	buf_free(&in);
	buf_free(&out);
	buf_free(&whole);
	buf_free(&joined);
}
END_TEST

START_TEST(an_error_that_the_buffer_has_already_is_kept)
{
	struct buf in = { 0 }, out = { .err = -ENOMEM };
	struct transcode_error err;

	put_hex(&in, "61 01");
	ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_NO_MEMORY && out.err == -ENOMEM);
	out.err = -EMSGSIZE;
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_TOO_LARGE && out.err == -EMSGSIZE);
	buf_free(&in);
}
END_TEST

/* A map that needs every kind of memory: output, offsets, prints, the table. */
static void put_hungry(struct buf *b)
{
	term_put_list(b, 1);
	term_put_map(b, 200);
	for (int i = 0; i < 200; i++) {
		if (i % 2 == 0) {
			term_put_int(b, i);
		} else {
			term_put_tuple(b, 1);
			term_put_map(b, 20);
			for (int k = 0; k < 20; k++) {
				term_put_int(b, k);
				term_put_float(b, i);
			}
		}
		term_put_text(b, "some text to make it grow");
	}
	term_put_nil(b);
}

START_TEST(an_empty_buffer_without_memory_stays_empty)
{
	struct buf out = { .limit = 1000 };
	struct transcode_error err;

	for (int way = 0; way < 2; way++) {
		mem_fail_after = 0;
		ck_assert_int_eq(
			way == 0 ? transcode_term((const uint8_t *)"a\1", "x", &plain, &out, &err)
				 : transcode_value((const uint8_t *)"\1", 1, "x", &plain, &out,
						   NULL, &err),
			-EINVAL);
		ck_assert_int_eq(mem_fail_after, -1);
		ck_assert_int_eq(err.fault, TRANSCODE_NO_MEMORY);
		ck_assert(out.len == 0 && out.err == 0 && out.limit == 1000);
	}
	buf_free(&out);
}
END_TEST

START_TEST(any_allocation_may_fail)
{
	struct buf term = { 0 }, packed = { 0 }, back = { 0 };
	struct transcode_error err;
	long n;

	put_hungry(&term);
	ck_assert_int_eq(transcode_term(term.data, "x", &plain, &packed, &err), 0);
	for (int way = 0; way < 3; way++) {
		for (n = 0;; n++) {
			struct buf out = { 0 };
			int rc;

			put_hex(&out, "'before'");
			mem_fail_after = n;
			if (way == 0)
				rc = transcode_args(term.data, &plain, &out, &err);
			else if (way == 1)
				rc = transcode_term(term.data, "x", &plain, &out, &err);
			else
				rc = transcode_value(packed.data, packed.len, "x", &plain, &out,
						     NULL, &err);
			if (mem_fail_after >= 0) {
				mem_fail_after = -1;
				ck_assert_int_eq(rc, 0);
				buf_free(&out);
				break;
			}
			ck_assert_int_eq(rc, -EINVAL);
			ck_assert_int_eq(err.fault, TRANSCODE_NO_MEMORY);
			ck_assert(out.len == 6 && out.err == 0 &&
				  memcmp(out.data, "before", 6) == 0);
			buf_free(&out);
		}
		ck_assert_int_gt(n, 5);
	}
	buf_free(&term);
	buf_free(&packed);
	buf_free(&back);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transcode_bounds");
	TCase *t = tcase_create("transcode_bounds");

	suite_add_tcase(s, t);
	tcase_add_test(t, atoms_from_a_worker_have_at_most_255_characters);
	tcase_add_test(t, absurd_integers_and_tuples_are_refused);
	tcase_add_loop_test(t, nesting_is_allowed_to_the_limit_and_not_beyond, 0, 4);
	tcase_add_test(t, a_fun_with_terms_nested_beyond_all_limits_is_too_deep_to_go_back);
	tcase_add_test(t, bombs_are_answered_at_once);
	tcase_add_test(t, the_longest_output_is_the_limit_and_a_byte_more_is_too_large);
	tcase_add_test(t, a_binary_over_the_limit_is_not_copied);
	tcase_add_test(t, binaries_that_go_apart_leave_their_place_and_kind);
	tcase_add_test(t, what_goes_apart_counts_for_the_limit_of_its_own_value);
	tcase_add_test(t, what_goes_apart_of_a_result_belongs_where_it_says);
	tcase_add_test(t, an_error_that_the_buffer_has_already_is_kept);
	tcase_add_test(t, an_empty_buffer_without_memory_stays_empty);
	tcase_add_test(t, any_allocation_may_fail);
	return run(s);
}
