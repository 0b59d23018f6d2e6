/* check_base.c - floor 0 and the histogram: list, heap, buf, mem, each against the naive way. */
#include "../include/buf.h"
#include "../include/hash.h"
#include "../include/heap.h"
#include "../include/histogram.h"
#include "../include/list.h"
#include "../include/mem.h"
#include "../include/splitmix.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* xorshift64: the same numbers on every machine. */
static uint64_t random_state;

static uint64_t rnd(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* ---- list ---- */

struct item {
	int value;
	struct list link;
};

START_TEST(a_list_keeps_the_order_of_its_items)
{
	struct item items[5];
	struct list head, *at, *next;
	int expected[] = { 3, 0, 4, 2 }, n = 0;

	list_init(&head);
	ck_assert(list_empty(&head));
	for (int i = 0; i < 5; i++)
		items[i].value = i;
	list_append(&head, &items[0].link);
	list_append(&head, &items[1].link);
	list_append(&head, &items[2].link);
	list_prepend(&head, &items[3].link);
	list_insert_before(&items[4].link, &items[2].link);
	list_remove(&items[1].link);
	list_remove(&items[1].link); /* twice is harmless */
	ck_assert(list_empty(&items[1].link));
	list_each (at, next, &head) {
		ck_assert_int_eq(list_entry(at, struct item, link)->value, expected[n++]);
		list_remove(at); /* the body may */
	}
	ck_assert_int_eq(n, 4);
	ck_assert(list_empty(&head));
}
END_TEST

/* ---- heap ---- */

#define NODES 300

START_TEST(a_heap_agrees_with_a_search_through_an_array)
{
	static struct heap_node nodes[NODES];
	struct heap heap = { 0 };

	random_state = 0x1234567 + (uint64_t)_i;
	memset(nodes, 0, sizeof nodes);
	ck_assert_ptr_null(heap_min(&heap));
	for (int step = 0; step < 20000; step++) {
		struct heap_node *n = &nodes[rnd(NODES)];
		uint64_t least = UINT64_MAX, key = rnd(step % 3 == 0 ? 10 : UINT64_MAX);
		bool any = false;

		if (step % 5000 > 2500) /* nearly in order, as deadlines come */
			key = (uint64_t)step + rnd(step % 10 == 0 ? 50 : 2);
		if (!n->queued) {
			heap_insert(&heap, n, key);
			ck_assert_uint_eq(n->key, key);
		} else if (rnd(3) == 0) {
			heap_remove(&heap, heap_min(&heap));
		} else {
			heap_remove(&heap, n);
			ck_assert(!n->queued);
			heap_remove(&heap, n); /* twice is harmless */
		}
		for (int i = 0; i < NODES; i++) {
			any = any || nodes[i].queued;
			if (nodes[i].queued && nodes[i].key < least)
				least = nodes[i].key;
		}
		ck_assert(any == (heap_min(&heap) != NULL));
		if (any)
			ck_assert_uint_eq(heap_min(&heap)->key, least);
	}
}
END_TEST

START_TEST(equal_keys_come_out_of_a_heap_in_the_order_in_which_they_went_in)
{
	static struct heap_node nodes[1000];
	struct heap heap = { 0 };
	uint64_t last_key = 0;
	int last = -1;

	random_state = 5;
	for (int i = 0; i < 1000; i++)
		heap_insert(&heap, &nodes[i], rnd(10));
	for (int i = 0; i < 1000; i++) {
		struct heap_node *n = heap_min(&heap);

		ck_assert(n->key > last_key || (int)(n - nodes) > last);
		last_key = n->key;
		last = (int)(n - nodes);
		heap_remove(&heap, n);
	}
}
END_TEST

START_TEST(a_heap_sorts)
{
	static struct heap_node nodes[100000];
	struct heap heap = { 0 };
	uint64_t last = 0;

	random_state = 99;
	for (int i = 0; i < 100000; i++)
		heap_insert(&heap, &nodes[i],
			    _i == 0 ? rnd(UINT64_MAX) : (uint64_t)(_i == 1 ? i : 100000 - i));
	for (int i = 0; i < 100000; i++) {
		struct heap_node *n = heap_min(&heap);

		ck_assert_uint_ge(n->key, last);
		last = n->key;
		heap_remove(&heap, n);
	}
	ck_assert_ptr_null(heap_min(&heap));
}
END_TEST

/* ---- buf and mem ---- */

START_TEST(a_buffer_holds_what_was_put)
{
	static uint8_t expected[100000];
	struct buf b = { 0 };
	size_t len = 0;

	random_state = 7;
	while (len < 90000) {
		uint8_t bytes[300];
		size_t n = rnd(sizeof bytes), cut;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)rnd(256);
		buf_put(&b, bytes, n);
		memcpy(expected + len, bytes, n);
		len += n;
		if (rnd(10) == 0) {
			cut = rnd(len + 1);
			buf_consume(&b, cut);
			memmove(expected, expected + cut, len - cut);
			len -= cut;
			if (rnd(20) != 0)
				continue;
			len = 0;
			buf_reset(&b, rnd(2) ? 0 : SIZE_MAX);
		}
		ck_assert_uint_eq(b.len, len);
		ck_assert(len == 0 || memcmp(b.data, expected, len) == 0);
		if (rnd(400) == 0)
			break;
	}
	ck_assert_int_eq(b.err, 0);
	buf_free(&b);
	ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(integers_are_big_endian)
{
	struct buf b = { 0 };
	static const uint8_t expected[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
					    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f };

	buf_put_u8(&b, 0x101); /* cut */
	buf_put_u16(&b, 0x0203);
	buf_put_u32(&b, 0x04050607);
	buf_put_u64(&b, UINT64_C(0x08090a0b0c0d0e0f));
	ck_assert_uint_eq(b.len, sizeof expected);
	ck_assert_mem_eq(b.data, expected, sizeof expected);
	ck_assert_uint_eq(get_u16(b.data + 1), 0x0203);
	ck_assert_uint_eq(get_u32(b.data + 3), 0x04050607);
	ck_assert_uint_eq(get_u64(b.data + 7), UINT64_C(0x08090a0b0c0d0e0f));
	ck_assert_uint_eq(get_u32((const uint8_t *)"\xff\xff\xff\xfe"), 0xfffffffe);
	buf_free(&b);
}
END_TEST

START_TEST(a_buffer_never_holds_more_than_its_limit)
{
	struct buf b = { .limit = 100 };
	char bytes[101] = { 0 };

	buf_put(&b, bytes, 60);
	buf_put(&b, bytes, 40);
	ck_assert_int_eq(b.err, 0);
	ck_assert_uint_le(b.cap, 100);
	buf_put_u8(&b, 1);
	ck_assert_int_eq(b.err, -EMSGSIZE);
	buf_consume(&b, 50);
	buf_put_u8(&b, 1); /* sticky */
	ck_assert_uint_eq(b.len, 50);
	ck_assert_int_eq(buf_reserve(&b, 1), -EMSGSIZE);
	buf_reset(&b, 100);
	ck_assert_int_eq(b.err, 0);
	ck_assert_ptr_nonnull(b.data);
	buf_put(&b, bytes, 101);
	ck_assert_int_eq(b.err, -EMSGSIZE);
	buf_free(&b);
	ck_assert_uint_eq(b.limit, 100);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
	buf_free(&b);
	b.limit = 0;
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
	buf_free(&b);
}
END_TEST

START_TEST(a_buffer_without_memory_keeps_what_it_has)
{
	struct buf b = { 0 };
	char bytes[1000] = { 1 };

	buf_put(&b, bytes, 10);
	mem_fail_after = 0;
	buf_put(&b, bytes, 1000);
	ck_assert_int_eq(b.err, -ENOMEM);
	ck_assert_uint_eq(b.len, 10);
	buf_put(&b, bytes, 1);
	ck_assert_uint_eq(b.len, 10);
	ck_assert_uint_eq(b.data[0], 1);
	buf_reset(&b, 0);
	ck_assert_ptr_null(b.data);
	buf_put(&b, bytes, 1000);
	ck_assert_int_eq(b.err, 0);
	buf_free(&b);
}
END_TEST

START_TEST(nothing_put_to_nothing_is_nothing)
{
	struct buf b = { 0 };

	buf_put(&b, NULL, 0);
	buf_put_slow(&b, NULL, 0);
	buf_consume(&b, 0);
	buf_reset(&b, 0);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(b.err, 0);
	buf_free(&b);
}
END_TEST

START_TEST(the_nth_allocation_fails_and_only_that)
{
	char *text;
	void *p;

	mem_fail_after = 2;
	p = mem_alloc(1);
	ck_assert_ptr_nonnull(p);
	text = mem_dup("abc", 2);
	ck_assert_str_eq(text, "ab");
	ck_assert_ptr_null(mem_zalloc(1));
	ck_assert_int_eq(mem_fail_after, -1);
	p = mem_realloc(p, 100);
	ck_assert_ptr_nonnull(p);
	mem_free(p);
	mem_free(text);
}
END_TEST

/* ---- histogram ---- */

START_TEST(an_empty_histogram_says_nought)
{
	struct histogram h = { 0 };

	ck_assert_uint_eq(histogram_quantile(&h, 500), 0);
	ck_assert_uint_eq(histogram_quantile(&h, 0), 0);
	ck_assert_uint_eq(histogram_quantile(&h, 1000), 0);
}
END_TEST

START_TEST(a_single_value_is_every_quantile)
{
	static const uint64_t values[] = { 0,
					   1,
					   7,
					   8,
					   15,
					   16,
					   17,
					   1000,
					   123456789,
					   (UINT64_C(1) << 40) - 1,
					   UINT64_C(1) << 40,
					   UINT64_C(1) << 41,
					   UINT64_MAX };
	struct histogram h = { 0 };

	histogram_add(&h, values[_i]);
	ck_assert_uint_eq(h.max, values[_i]);
	for (unsigned q = 0; q <= 1000; q += 250)
		ck_assert_uint_eq(histogram_quantile(&h, q), values[_i]);
}
END_TEST

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

START_TEST(a_quantile_is_at_most_an_eighth_above_the_truth)
{
	static uint64_t values[5000];
	struct histogram h = { 0 };
	uint64_t sum = 0;

	random_state = 42 + (uint64_t)_i;
	for (int i = 0; i < 5000; i++) {
		values[i] = rnd(UINT64_C(1) << (1 + rnd(40)));
		histogram_add(&h, values[i]);
		sum += values[i];
	}
	qsort(values, 5000, sizeof *values, by_value);
	ck_assert_uint_eq(h.count, 5000);
	ck_assert_uint_eq(h.sum, sum);
	ck_assert_uint_eq(h.max, values[4999]);
	for (unsigned q = 1; q <= 1000; q++) {
		uint64_t truth = values[(5000 * q + 999) / 1000 - 1];
		uint64_t said = histogram_quantile(&h, q);

		ck_assert_msg(said >= truth && said <= truth + truth / 8,
			      "per mille %u: said %llu, is %llu", q, (unsigned long long)said,
			      (unsigned long long)truth);
		ck_assert_uint_le(said, h.max);
	}
}
END_TEST

START_TEST(every_value_lies_in_a_bucket_of_its_own_order)
{
	uint64_t last = 0;

	/* A value and its successor: the bound never goes down, and never lies below the value. */
	for (uint64_t v = 0; v < UINT64_C(1) << 41; v += 1 + v / 37) {
		struct histogram h = { 0 };
		uint64_t bound;

		histogram_add(&h, v);
		h.max = UINT64_MAX; /* to see the bound itself */
		bound = histogram_quantile(&h, 500);
		ck_assert_uint_ge(bound, v);
		ck_assert_uint_ge(bound, last);
		last = bound;
	}
}
END_TEST

START_TEST(what_is_below_a_power_of_two_is_counted_exactly)
{
	struct histogram h = { 0 };
	uint64_t power = UINT64_C(1) << _i;

	histogram_add(&h, 0);
	histogram_add(&h, power - 1);
	histogram_add(&h, power);
	histogram_add(&h, power + 1);
	histogram_add(&h, UINT64_MAX);
	ck_assert_uint_eq(histogram_below(&h, (unsigned)_i), 2);
}
END_TEST

/* The first numbers of the seed 1234567, as the reference implementation gives them. */
START_TEST(a_seed_gives_the_sequence_of_splitmix64)
{
	static const uint64_t expected[] = { UINT64_C(6457827717110365317),
					     UINT64_C(3203168211198807973),
					     UINT64_C(9817491932198370423),
					     UINT64_C(4593380528125082431),
					     UINT64_C(16408922859458223821) };
	uint64_t state = 1234567;

	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
		ck_assert_uint_eq(splitmix_next(&state), expected[i]);
}
END_TEST

/* Of a key of `_i` bytes every bit counts, and so does its length; nothing before or behind it does. */
START_TEST(a_hash_is_of_every_byte_of_its_key)
{
	uint8_t key[64] = { 0 };
	size_t len = (size_t)_i;
	uint64_t hash;

	for (size_t i = 0; i < sizeof key; i++)
		key[i] = (uint8_t)(i * 37);
	hash = hash_bytes(key + 1, len);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		key[1 + bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_msg(hash_bytes(key + 1, len) != hash, "bit %zu of %zu bytes", bit, len);
		key[1 + bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	key[0] ^= 1;
	key[1 + len] ^= 1;
	ck_assert_uint_eq(hash_bytes(key + 1, len), hash);
	memset(key, 0, sizeof key);
	ck_assert_uint_ne(hash_bytes(key, len + 1), hash_bytes(key, len));
}
END_TEST

/* 1000 ids, one after the other, in 1024 buckets by their low bits: as thrown by chance, at most 12 meet. */
START_TEST(ids_that_follow_each_other_are_spread)
{
	unsigned bucket[1024] = { 0 };

	hash_seed((uint64_t)_i);
	for (uint64_t id = 1000; id < 2000; id++)
		ck_assert_uint_le(++bucket[hash_bytes(&id, sizeof id) % 1024], 12);
}
END_TEST

START_TEST(another_seed_is_another_hash)
{
	uint64_t id = 1000, first;

	hash_seed(1);
	first = hash_bytes(&id, sizeof id);
	hash_seed(2);
	ck_assert_uint_ne(hash_bytes(&id, sizeof id), first);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tc = tcase_create("base");

	tcase_add_test(tc, a_list_keeps_the_order_of_its_items);
	tcase_add_loop_test(tc, a_heap_agrees_with_a_search_through_an_array, 0, 5);
	tcase_add_test(tc, equal_keys_come_out_of_a_heap_in_the_order_in_which_they_went_in);
	tcase_add_loop_test(tc, a_heap_sorts, 0, 3);
	tcase_add_test(tc, a_buffer_holds_what_was_put);
	tcase_add_test(tc, integers_are_big_endian);
	tcase_add_test(tc, a_buffer_never_holds_more_than_its_limit);
	tcase_add_test(tc, a_buffer_without_memory_keeps_what_it_has);
	tcase_add_test(tc, nothing_put_to_nothing_is_nothing);
	tcase_add_test(tc, the_nth_allocation_fails_and_only_that);
	tcase_add_test(tc, an_empty_histogram_says_nought);
	tcase_add_loop_test(tc, a_single_value_is_every_quantile, 0, 13);
	tcase_add_loop_test(tc, a_quantile_is_at_most_an_eighth_above_the_truth, 0, 5);
	tcase_add_test(tc, every_value_lies_in_a_bucket_of_its_own_order);
	tcase_add_loop_test(tc, what_is_below_a_power_of_two_is_counted_exactly, 3, 41);
	tcase_add_test(tc, a_seed_gives_the_sequence_of_splitmix64);
	tcase_add_loop_test(tc, a_hash_is_of_every_byte_of_its_key, 0, 60);
	tcase_add_loop_test(tc, ids_that_follow_each_other_are_spread, 0, 20);
	tcase_add_test(tc, another_seed_is_another_hash);
	suite_add_tcase(suite, tc);
	return run(suite);
}
