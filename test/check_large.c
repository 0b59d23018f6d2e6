/* check_large.c - memory that is kept for the next large message; frames that go out in parts. */
#include "large.h"

#include "buf.h"
#include "mem.h"
#include "parcel.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define MB ((size_t)1 << 20)

static void given_nothing_kept(void)
{
	large_keep(0);
	large_keep(8 * MB);
}

static void then_nothing_is_kept(void)
{
	large_keep(0);
	ck_assert_uint_eq(large_kept(), 0);
	mem_fail_after = -1;
}

START_TEST(a_freed_block_is_the_next_ones)
{
	struct buf a = { 0 }, b = { 0 };
	uint8_t *where;

	ck_assert_int_eq(buf_reserve(&a, MB), 0);
	where = a.data;
	memset(where, 7, MB);
	buf_free(&a);
	ck_assert_uint_ge(large_kept(), MB);
	buf_put_u8(&b, 42);
	ck_assert_int_eq(buf_reserve(&b, MB - 1), 0);
	ck_assert_ptr_eq(b.data, where);
	ck_assert_uint_eq(b.data[0], 42); /* what was there came along */
	ck_assert_uint_eq(large_kept(), 0);
	buf_free(&b);
}
END_TEST

START_TEST(the_smallest_that_will_do_is_taken)
{
	struct buf small = { 0 }, large = { 0 }, b = { 0 };
	uint8_t *where;

	ck_assert_int_eq(buf_reserve(&large, 3 * MB), 0);
	ck_assert_int_eq(buf_reserve(&small, MB), 0);
	where = small.data;
	buf_free(&small);
	buf_free(&large);
	ck_assert_int_eq(buf_reserve(&b, MB / 2), 0);
	ck_assert_ptr_eq(b.data, where);
	buf_free(&b);
}
END_TEST

START_TEST(what_is_small_is_not_kept_and_takes_nothing)
{
	struct buf a = { 0 }, b = { 0 };

	ck_assert_int_eq(buf_reserve(&a, LARGE_BYTES / 4), 0);
	buf_free(&a);
	ck_assert_uint_eq(large_kept(), 0);
	ck_assert_int_eq(buf_reserve(&a, MB), 0);
	buf_free(&a);
	ck_assert_int_eq(buf_reserve(&b, 1000), 0);
	ck_assert_uint_ge(large_kept(), MB);
	buf_free(&b);
}
END_TEST

START_TEST(no_more_is_kept_than_allowed_and_what_is_longest_kept_goes_first)
{
	struct buf b[5] = { { 0 } };
	uint8_t *last;

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(buf_reserve(&b[i], 2 * MB), 0);
	last = b[4].data;
	for (int i = 0; i < 5; i++) {
		buf_free(&b[i]);
		ck_assert_uint_le(large_kept(), 8 * MB);
	}
	ck_assert_uint_ge(large_kept(), 4 * MB);
	ck_assert_int_eq(buf_reserve(&b[0], 2 * MB), 0);
	ck_assert_ptr_eq(b[0].data, last);
	buf_free(&b[0]);
	ck_assert_int_eq(buf_reserve(&b[0], 16 * MB), 0); /* more than may be kept in all */
	buf_free(&b[0]);
	ck_assert_uint_le(large_kept(), 8 * MB);
}
END_TEST

START_TEST(who_needs_more_than_is_kept_has_its_memory)
{
	struct buf a = { 0 }, b = { 0 };

	ck_assert_int_eq(buf_reserve(&a, 2 * MB), 0);
	buf_free(&a);
	ck_assert_int_eq(buf_reserve(&b, 4 * MB), 0);
	ck_assert_uint_eq(large_kept(), 0);
	buf_free(&b);
}
END_TEST

START_TEST(what_is_not_used_between_two_tidyings_goes)
{
	struct buf a = { 0 }, b = { 0 };

	ck_assert_int_eq(buf_reserve(&a, MB), 0);
	ck_assert_int_eq(buf_reserve(&b, 2 * MB), 0);
	buf_free(&a);
	buf_free(&b);
	large_tidy();
	ck_assert_uint_ge(large_kept(), 3 * MB);
	ck_assert_int_eq(buf_reserve(&a, MB), 0); /* used */
	buf_free(&a);
	large_tidy();
	ck_assert_uint_ge(large_kept(), MB);
	ck_assert_uint_lt(large_kept(), 2 * MB);
	large_tidy();
	ck_assert_uint_eq(large_kept(), 0);
}
END_TEST

START_TEST(an_expectation_takes_what_is_kept_and_nothing_else)
{
	struct buf a = { 0 }, b = { 0 };
	uint8_t *where;

	buf_put_u8(&b, 1);
	where = b.data;
	buf_expect(&b, MB);
	ck_assert_ptr_eq(b.data, where);
	ck_assert_int_eq(buf_reserve(&a, MB + 1), 0);
	where = a.data;
	buf_free(&a);
	b.limit = MB;
	buf_expect(&b, MB); /* over its limit */
	ck_assert_ptr_ne(b.data, where);
	b.limit = 0;
	buf_expect(&b, MB);
	ck_assert_ptr_eq(b.data, where);
	ck_assert_uint_eq(b.len, 1);
	ck_assert_uint_eq(b.data[0], 1);
	buf_free(&b);
}
END_TEST

START_TEST(without_memory_a_buffer_stays_as_it_was)
{
	struct buf b = { 0 };

	buf_put_u8(&b, 1);
	mem_fail_after = 0;
	ck_assert_int_eq(buf_reserve(&b, MB), -ENOMEM);
	ck_assert_uint_eq(b.data[0], 1);
	ck_assert_uint_eq(b.len, 1);
	buf_free(&b);
}
END_TEST

/* ---- frames in parts ---- */

static struct buf given_text(size_t len)
{
	struct buf text = { 0 };
	size_t start = frame_begin(&text, FRAME_CALL, 1, 1);

	while (text.len - start < len)
		buf_put_u8(&text, 0xc0);
	frame_end(&text, start);
	ck_assert_int_eq(text.err, 0);
	return text;
}

static struct buf given_message(size_t len)
{
	struct buf message = { 0 };

	for (size_t i = 0; i < len; i++)
		buf_put_u8(&message, (unsigned)(i * 31 + i / 256));
	return message;
}

/* The pieces, one after the other. */
static struct buf sent(const struct parcel *p)
{
	struct buf out = { 0 };

	for (unsigned i = 0; i < p->pieces; i++)
		buf_put(&out, p->piece[i].iov_base, p->piece[i].iov_len);
	ck_assert_uint_eq(out.len, p->len);
	ck_assert_uint_eq(get_u32(out.data), out.len - 4);
	return out;
}

START_TEST(a_frame_without_parts_goes_out_as_it_is)
{
	struct buf text = given_text(10000), out;
	struct parcel_parts none = { .count = 0 };
	uint8_t *where = text.data;
	struct parcel *p = parcel_new(&text, &none, NULL);

	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_null(text.data);
	ck_assert_ptr_eq(p->text.data, where);
	ck_assert_uint_eq(p->pieces, 1);
	out = sent(p);
	ck_assert_mem_eq(out.data, where, out.len);
	parcel_drop(p);
	buf_free(&out);
}
END_TEST

/* Shorter than where the parts begin, as long as that, and longer. */
static const size_t text_lengths[] = {
	10,    FRAME_PARTS_AT - 19, FRAME_PARTS_AT - 18, FRAME_PARTS_AT - 14, FRAME_PARTS_AT - 10,
	100000
};

START_TEST(parts_go_out_from_where_they_lie)
{
	struct buf text = given_text(text_lengths[_i]), message = given_message(2 * MB), out;
	struct parcel_parts parts;
	uint8_t *base = message.data;
	struct share *held;
	struct parcel *p;
	size_t text_len = text.len - 4, at;

	parcel_from(&parts, base, message.len);
	ck_assert(parcel_may(&parts, base + 5, MB / 2));
	ck_assert_uint_eq(parcel_put(&parts, base + 5, MB / 2, 0), 0);
	ck_assert_uint_eq(parcel_put(&parts, base + MB, MB, 0), 1);
	held = share_new(&message);
	p = parcel_new(&text, &parts, share_hold(held));
	share_drop(held);
	ck_assert_ptr_nonnull(p);
	out = sent(p);
	ck_assert_uint_eq(out.data[4], 0xc1);
	ck_assert_uint_eq(out.data[5], 2);
	ck_assert_uint_eq(get_u32(out.data + 6), text_len);
	ck_assert_uint_eq(get_u32(out.data + 10), MB / 2);
	ck_assert_uint_eq(get_u32(out.data + 14), MB);
	ck_assert_mem_eq(out.data + 18, p->text.data + 4, text_len);
	at = 18 + text_len;
	for (; at < FRAME_PARTS_AT; at++)
		ck_assert_uint_eq(out.data[at], 0);
	ck_assert_uint_eq(out.len, at + MB / 2 + MB);
	ck_assert_mem_eq(out.data + at, base + 5, MB / 2);
	ck_assert_mem_eq(out.data + at + MB / 2, base + MB, MB);
	ck_assert_ptr_eq(p->piece[p->pieces - 1].iov_base, base + MB);
	parcel_drop(parcel_hold(p));
	parcel_drop(p);
	buf_free(&out);
}
END_TEST

START_TEST(what_is_small_elsewhere_or_too_many_does_not_go_apart)
{
	struct parcel_parts parts = { .count = 0 };
	static uint8_t message[4 * MB];

	ck_assert(!parcel_may(NULL, message, MB));
	ck_assert(!parcel_may(&parts, message, MB));
	parcel_from(&parts, NULL, 0);
	ck_assert(!parcel_may(&parts, message, MB));
	parcel_from(&parts, message, MB);
	ck_assert(parcel_may(&parts, message, PARCEL_APART));
	ck_assert(!parcel_may(&parts, message, PARCEL_APART - 1));
	ck_assert(!parcel_may(&parts, message + MB, PARCEL_APART));
	parcel_from(&parts, message + 1, MB);
	ck_assert(!parcel_may(&parts, message, PARCEL_APART));
	parcel_from(&parts, message, sizeof message);
	ck_assert(parcel_may(&parts, message, sizeof message / PARCEL_FRACTION));
	ck_assert(!parcel_may(&parts, message, sizeof message / PARCEL_FRACTION - 1));
	for (unsigned i = 0; i < FRAME_PARTS_MAX; i++)
		ck_assert_uint_eq(parcel_put(&parts, message, MB, 0), i);
	ck_assert(!parcel_may(&parts, message, MB));
	ck_assert_uint_eq(parts.bytes, FRAME_PARTS_MAX * MB);
	parcel_clear(&parts);
	ck_assert(parcel_may(&parts, message, MB) && parts.bytes == 0);
}
END_TEST

START_TEST(without_memory_nothing_is_taken_over)
{
	struct buf text = given_text(10000), message = given_message(MB);
	struct parcel_parts none = { .count = 0 };

	mem_fail_after = 0;
	ck_assert_ptr_null(parcel_new(&text, &none, NULL));
	ck_assert_uint_ge(text.len, 10000);
	mem_fail_after = 0;
	ck_assert_ptr_null(share_new(&message));
	ck_assert_uint_eq(message.len, MB);
	buf_free(&text);
	buf_free(&message);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("large");
	TCase *t = tcase_create("large");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, given_nothing_kept, then_nothing_is_kept);
	tcase_add_test(t, a_freed_block_is_the_next_ones);
	tcase_add_test(t, the_smallest_that_will_do_is_taken);
	tcase_add_test(t, what_is_small_is_not_kept_and_takes_nothing);
	tcase_add_test(t, no_more_is_kept_than_allowed_and_what_is_longest_kept_goes_first);
	tcase_add_test(t, who_needs_more_than_is_kept_has_its_memory);
	tcase_add_test(t, what_is_not_used_between_two_tidyings_goes);
	tcase_add_test(t, an_expectation_takes_what_is_kept_and_nothing_else);
	tcase_add_test(t, without_memory_a_buffer_stays_as_it_was);
	tcase_add_test(t, a_frame_without_parts_goes_out_as_it_is);
	tcase_add_loop_test(t, parts_go_out_from_where_they_lie, 0,
			    (int)(sizeof text_lengths / sizeof text_lengths[0]));
	tcase_add_test(t, what_is_small_elsewhere_or_too_many_does_not_go_apart);
	tcase_add_test(t, without_memory_nothing_is_taken_over);
	return run(s);
}
