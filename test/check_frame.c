/* check_frame.c - the worker wire: frames in pieces, too long, garbage; and what is written is read. */
#include "frame.h"

#include "mem.h"
#include "share.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>

#define MAX (1 << 20)

/* Gives `len` bytes to the reader, at most `piece` at a time. */
static void feed(struct frame_reader *r, const void *data, size_t len, size_t piece)
{
	const uint8_t *p = data;

	while (len > 0) {
		size_t room, n = len < piece ? len : piece;
		uint8_t *to = frame_room(r, &room);

		ck_assert_ptr_nonnull(to);
		ck_assert_uint_ge(room, 4096);
		if (n > room)
			n = room;
		memcpy(to, p, n);
		frame_received(r, n);
		p += n;
		len -= n;
	}
}

/* Three frames: a PONG, a RESULT of a str, an ERROR of several elements. */
static void put_three(struct buf *b)
{
	size_t start = frame_begin(b, FRAME_PONG, 7, 0);

	frame_end(b, start);
	start = frame_begin(b, FRAME_RESULT, UINT64_MAX, 1);
	frame_put_str(b, "hello", 5);
	frame_end(b, start);
	start = frame_begin(b, FRAME_ERROR, 300, 5);
	frame_put_str(b, "python", 6);
	frame_put_nil(b);
	frame_put_bool(b, true);
	frame_put_map(b, 0);
	frame_put_array(b, 0);
	frame_end(b, start);
	ck_assert_int_eq(b->err, 0);
}

static void then_three(struct frame_reader *r, int from, int to)
{
	static const struct {
		unsigned type;
		uint64_t id;
		uint32_t count;
		size_t len;
	} want[] = { { FRAME_PONG, 7, 0, 0 },
		     { FRAME_RESULT, UINT64_MAX, 1, 6 },
		     { FRAME_ERROR, 300, 5, 11 } };
	struct frame f;

	for (int i = from; i < to; i++) {
		ck_assert_int_eq(frame_next(r, &f), 1);
		ck_assert_uint_eq(f.type, want[i].type);
		ck_assert_uint_eq(f.id, want[i].id);
		ck_assert_uint_eq(f.count, want[i].count);
		ck_assert_uint_eq(f.rest_len, want[i].len);
	}
	ck_assert_int_eq(frame_next(r, &f), 0);
}

START_TEST(frames_may_come_in_any_pieces)
{
	struct frame_reader r;
	struct buf b = { 0 };

	put_three(&b);
	for (size_t piece = 1; piece <= b.len; piece++) {
		struct frame f;
		int got = 0;

		frame_reader_init(&r, MAX);
		for (size_t at = 0; at < b.len; at += piece) {
			feed(&r, b.data + at, b.len - at < piece ? b.len - at : piece, piece);
			while (frame_next(&r, &f) == 1)
				got++;
		}
		ck_assert_int_eq(got, 3);
		frame_reader_close(&r);
	}
	for (size_t split = 0; split <= b.len; split++) {
		frame_reader_init(&r, MAX);
		feed(&r, b.data, split, SIZE_MAX);
		then_three(&r, 0, split < 7 ? 0 : split < 7 + 21 ? 1 : split < b.len ? 2 : 3);
		feed(&r, b.data + split, b.len - split, SIZE_MAX);
		then_three(&r, split < 7 ? 0 : split < 7 + 21 ? 1 : split < b.len ? 2 : 3, 3);
		frame_reader_close(&r);
	}
	buf_free(&b);
}
END_TEST

START_TEST(a_frame_stays_where_it_is_until_more_room_is_asked_for)
{
	struct frame_reader r;
	struct buf b = { 0 };
	struct frame one, two;
	const uint8_t *at;
	const char *text;
	size_t len;

	put_three(&b);
	frame_reader_init(&r, MAX);
	feed(&r, b.data, b.len, SIZE_MAX);
	ck_assert_int_eq(frame_next(&r, &one), 1);
	ck_assert_int_eq(frame_next(&r, &one), 1);
	ck_assert_int_eq(frame_next(&r, &two), 1);
	at = one.rest;
	ck_assert(frame_get_str(&at, one.rest + one.rest_len, &text, &len));
	ck_assert(len == 5 && memcmp(text, "hello", 5) == 0);
	ck_assert_ptr_eq(at, one.rest + one.rest_len);
	frame_reader_close(&r);
	buf_free(&b);
}
END_TEST

/* The buffer goes to the others, and the reader has a copy of what is behind the frame. */
START_TEST(who_shares_a_frame_has_its_bytes_after_the_reader)
{
	struct share *one, *two;
	struct frame_reader r;
	struct buf b = { 0 };
	struct frame f;

	put_three(&b);
	frame_reader_init(&r, MAX);
	ck_assert_ptr_null(frame_share(&r));
	feed(&r, b.data, b.len, SIZE_MAX);
	ck_assert_int_eq(frame_next(&r, &f), 1);
	ck_assert_int_eq(frame_next(&r, &f), 1);
	mem_fail_after = 0;
	ck_assert_ptr_null(frame_share(&r));
	mem_fail_after = 1;
	ck_assert_ptr_null(frame_share(&r));
	mem_fail_after = -1;
	ck_assert_ptr_nonnull(one = frame_share(&r));
	ck_assert_ptr_eq(two = frame_share(&r), one); /* the same frame */
	ck_assert_uint_eq(one->owners, 3);
	ck_assert(f.rest > one->buf.data && f.rest < one->buf.data + one->buf.len);
	share_drop(two);
	then_three(&r, 2, 3);
	ck_assert_ptr_nonnull(two = frame_share(&r));
	ck_assert_ptr_ne(two, one);
	share_drop(two);
	feed(&r, b.data, b.len, SIZE_MAX);
	ck_assert_uint_eq(one->owners, 1);
	then_three(&r, 0, 3);
	frame_reader_close(&r);
	ck_assert_mem_eq(f.rest, "\xa5hello", 6);
	share_drop(one);
	buf_free(&b);
}
END_TEST

START_TEST(what_is_written_is_an_array_for_msgpack_c)
{
	struct buf b = { 0 };
	msgpack_unpacked u;
	size_t at = 0;
	char *text = calloc(1, 70000);
	static const size_t lens[] = { 0, 31, 32, 255, 256, 65535, 65536 };

	ck_assert_ptr_nonnull(text);
	msgpack_unpacked_init(&u);
	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		size_t start;

		b.len = at = 0;
		start = frame_begin(&b, FRAME_CALL, UINT32_MAX, 4);
		frame_put_str(&b, text, lens[i]);
		frame_put_uint(&b, lens[i]);
		frame_put_bool(&b, false);
		frame_put_map(&b, 1);
		frame_put_nil(&b);
		frame_put_array(&b, 1);
		frame_put_nil(&b);
		frame_end(&b, start);
		ck_assert_uint_eq(get_u32(b.data), b.len - 4);
		ck_assert_int_eq(msgpack_unpack_next(&u, (char *)b.data + 4, b.len - 4, &at),
				 MSGPACK_UNPACK_SUCCESS);
		ck_assert_uint_eq(at, b.len - 4);
		ck_assert_int_eq(u.data.type, MSGPACK_OBJECT_ARRAY);
		ck_assert_uint_eq(u.data.via.array.size, 6);
		ck_assert_uint_eq(u.data.via.array.ptr[1].via.u64, UINT32_MAX);
		ck_assert_uint_eq(u.data.via.array.ptr[2].via.str.size, lens[i]);
		ck_assert_uint_eq(u.data.via.array.ptr[3].via.u64, lens[i]);
	}
	for (uint32_t n = 15; n <= 65536; n = n < 17 ? n + 1 : n < 65535 ? 65535 : n + 1) {
		const uint8_t *p, *end;
		uint32_t count;

		b.len = 0;
		frame_put_array(&b, n);
		frame_put_map(&b, n);
		ck_assert_int_eq(buf_reserve(&b, 2 * (size_t)n), 0);
		memset(b.data + b.len, 0xc0, 2 * (size_t)n);
		p = b.data;
		end = b.data + b.len + 2 * n;
		ck_assert(frame_get_array(&p, end, &count) && count == n);
		ck_assert(frame_get_map(&p, end, &count) && count == n);
		ck_assert_ptr_eq(p, b.data + b.len);
	}
	msgpack_unpacked_destroy(&u);
	free(text);
	buf_free(&b);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	int rc;
} strange[] = {
#define B(text) text, sizeof(text) - 1
	{ B("\x00\x00\x00\x00"), -EBADMSG },
	{ B("\x00\x00\x00\x01\xc0"), -EBADMSG },
	{ B("\x00\x00\x00\x01\x90"), -EBADMSG },
	{ B("\x00\x00\x00\x02\x91\x01"), -EBADMSG },
	{ B("\x00\x00\x00\x03\x92\x01\xa0"), -EBADMSG },
	{ B("\x00\x00\x00\x03\x92\xff\x01"), -EBADMSG },
	{ B("\x00\x00\x00\x02\x92\x01"), -EBADMSG },
	{ B("\x00\x00\x00\x03\x82\x01\x01"), -EBADMSG },
	{ B("\x00\x00\x00\x05\xdd\xff\xff\xff\xff"), -EBADMSG },
	{ B("\x00\x00\x00\x0b\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x00\x01"), -EBADMSG },
	{ B("\x00\x00\x00\x04\x92\x01\xd0\x80"), -EBADMSG },
	{ B("\x00\x00\x00\x03\x92\x01\xd0"), -EBADMSG },
	{ B("\x00\x00\x00\x03\x92\x01\x01"), 1 },
	{ B("\x00\x00\x00\x04\x92\x01\xd0\x05"), 1 },
	{ B("\x00\x00\x00\x04\x92\x01\x01\x00"), 1 }, /* what follows is the reader's business */
	{ B("\x00\x00\x00"), 0 },
	{ B("\x00\x00\x00\x03\x92\x01"), 0 },
	{ B("\x00\x10\x00\x00"), 0 },
	{ B("\x00\x10\x00\x01"), -EMSGSIZE },
	{ B("\xff\xff\xff\xff"), -EMSGSIZE },
	{ B("Traceback (most recent call last)"), -EMSGSIZE },
};

START_TEST(strangers_are_refused_and_stay_so)
{
	struct frame_reader r;
	struct frame f;

	frame_reader_init(&r, MAX);
	feed(&r, strange[_i].bytes, strange[_i].len, SIZE_MAX);
	ck_assert_int_eq(frame_next(&r, &f), strange[_i].rc);
	if (strange[_i].rc < 0)
		ck_assert_int_eq(frame_next(&r, &f), strange[_i].rc);
	frame_reader_close(&r);
}
END_TEST

START_TEST(an_announced_length_costs_no_memory_until_it_comes)
{
	struct frame_reader r;
	struct frame f;
	const size_t whole = 900000;
	uint8_t head[4], piece[1000] = { 0 };
	size_t sent = sizeof head;

	put_u32(head, (uint32_t)whole);
	frame_reader_init(&r, MAX);
	feed(&r, head, sizeof head, SIZE_MAX);
	while (sent < whole + 4) {
		size_t room, n = whole + 4 - sent < sizeof piece ? whole + 4 - sent : sizeof piece;

		ck_assert_int_eq(frame_next(&r, &f), 0);
		ck_assert_ptr_nonnull(frame_room(&r, &room));
		ck_assert_uint_le(r.in.cap, 2 * sent + 64 * 1024);
		if (sent == 4) { /* the frame itself: [2, 1, bin] */
			memcpy(piece, "\x93\x02\x01\xc6\x00\x0d\xbb\x98", 8);
			feed(&r, piece, n, SIZE_MAX);
			memset(piece, 0, 8);
		} else {
			feed(&r, piece, n, SIZE_MAX);
		}
		sent += n;
	}
	ck_assert_int_eq(frame_next(&r, &f), 1);
	ck_assert_uint_eq(f.rest_len, whole - 3);
	frame_reader_close(&r);
}
END_TEST

START_TEST(memory_of_a_long_frame_is_given_back)
{
	struct frame_reader r;
	struct buf b = { 0 };
	struct frame f;
	size_t room, start = frame_begin(&b, FRAME_RESULT, 1, 1);
	char *text = calloc(1, 3 << 20);

	frame_put_str(&b, text, 3 << 20);
	frame_end(&b, start);
	frame_reader_init(&r, 4 << 20);
	feed(&r, b.data, b.len, SIZE_MAX);
	ck_assert_int_eq(frame_next(&r, &f), 1);
	ck_assert_uint_ge(r.in.cap, 3 << 20);
	ck_assert_ptr_nonnull(frame_room(&r, &room));
	ck_assert_uint_le(r.in.cap, 64 * 1024);
	free(text);
	buf_free(&b);
	frame_reader_close(&r);
}
END_TEST

START_TEST(without_memory_there_is_no_room_and_nothing_is_lost)
{
	struct frame_reader r;
	struct buf b = { 0 };
	size_t room;

	put_three(&b);
	frame_reader_init(&r, MAX);
	mem_fail_after = 0;
	ck_assert_ptr_null(frame_room(&r, &room));
	mem_fail_after = -1;
	feed(&r, b.data, b.len, SIZE_MAX);
	then_three(&r, 0, 3);
	frame_reader_close(&r);
	buf_free(&b);
}
END_TEST

START_TEST(a_failed_writer_is_told_by_the_buffer)
{
	struct buf b = { .limit = 10 };
	size_t start = frame_begin(&b, FRAME_RESULT, 1, 1);

	frame_put_str(&b, "much too long for that", 22);
	frame_end(&b, start);
	ck_assert_int_eq(b.err, -EMSGSIZE);
	buf_free(&b);
}
END_TEST

START_TEST(readers_of_elements_stop_at_the_end_and_stay_put)
{
	static const struct {
		const char *bytes;
		size_t len;
		uint64_t value;
		char kind; /* what it is: u, s, m, a; 0 nothing */
	} rows[] = {
		{ B("\x05"), 5, 'u' },
		{ B("\xcc\xff"), 255, 'u' },
		{ B("\xcd\x01\x00"), 256, 'u' },
		{ B("\xce\x00\x01\x00\x00"), 65536, 'u' },
		{ B("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX, 'u' },
		{ B("\xd3\x00\x00\x00\x00\x00\x00\x00\x09"), 9, 'u' },
		{ B("\xff"), 0, 0 },
		{ B("\xd1\xff\xff"), 0, 0 },
		{ B("\xa0"), 0, 's' },
		{ B("\xa2hi"), 2, 's' },
		{ B("\xd9\x02hi"), 2, 's' },
		{ B("\xda\x00\x02hi"), 2, 's' },
		{ B("\xdb\x00\x00\x00\x02hi"), 2, 's' },
		{ B("\xc4\x02hi"), 0, 0 },
		{ B("\x80"), 0, 'm' },
		{ B("\x81\x01\x02"), 1, 'm' },
		{ B("\xde\x00\x01\x01\x02"), 1, 'm' },
		{ B("\xdf\x00\x00\x00\x01\x01\x02"), 1, 'm' },
		{ B("\x81\x01"), 0, 0 },
		{ B("\x90"), 0, 'a' },
		{ B("\xdc\x00\x01\x01"), 1, 'a' },
		{ B("\xdd\x00\x00\x00\x01\x01"), 1, 'a' },
		{ B("\xdd\xff\xff\xff\xff\x01"), 0, 0 },
		{ B("\xc0"), 0, 0 },
		{ B(""), 0, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t len = 0; len <= rows[i].len; len++) {
			uint8_t *copy = malloc(len + 1);
			const uint8_t *at = copy, *end = copy + len;
			bool whole = len == rows[i].len;
			const char *text;
			uint64_t value = 0;
			uint32_t n;
			size_t text_len;

			ck_assert_ptr_nonnull(copy);
			memcpy(copy, rows[i].bytes, len);
			copy = realloc(copy, len > 0 ? len : 1);
			at = copy;
			end = copy + len;
			ck_assert(frame_get_uint(&at, end, &value) ==
				  (whole && rows[i].kind == 'u'));
			ck_assert(at == (whole && rows[i].kind == 'u' ? end : copy));
			ck_assert(at == copy || value == rows[i].value);
			at = copy;
			ck_assert(frame_get_str(&at, end, &text, &text_len) ==
				  (whole && rows[i].kind == 's'));
			ck_assert(at == (whole && rows[i].kind == 's' ? end : copy));
			at = copy;
			ck_assert(frame_get_map(&at, end, &n) == (whole && rows[i].kind == 'm'));
			ck_assert((at != copy) == (whole && rows[i].kind == 'm'));
			at = copy;
			ck_assert(frame_get_array(&at, end, &n) == (whole && rows[i].kind == 'a'));
			ck_assert((at != copy) == (whole && rows[i].kind == 'a'));
			free(copy);
		}
	}
}
END_TEST

/* One value of every tag, nested once; msgpack-c says how long each is. */
START_TEST(a_value_is_skipped_whole_or_not_at_all)
{
	static const char content[70000];
	msgpack_sbuffer sb;
	msgpack_packer pk;

	for (int kind = 0; kind < 16; kind++) {
		static const size_t lengths[] = {
			0, 1, 2, 4, 8, 16, 31, 32, 255, 256, 65535, 65536
		};

		for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
			size_t n = lengths[i];
			const uint8_t *at, *end;

			msgpack_sbuffer_init(&sb);
			msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
			switch (kind) {
			case 0:
				msgpack_pack_str_with_body(&pk, content, n);
				break;
			case 1:
				msgpack_pack_bin_with_body(&pk, content, n);
				break;
			case 2:
				msgpack_pack_ext(&pk, n, 5);
				msgpack_pack_ext_body(&pk, content, n);
				break;
			case 3:
			case 4:
				msgpack_pack_array(&pk, n);
				for (size_t k = 0; k < n; k++)
					kind == 3 ? msgpack_pack_nil(&pk)
						  : msgpack_pack_array(&pk, 0);
				break;
			case 5:
				msgpack_pack_map(&pk, n);
				for (size_t k = 0; k < 2 * n; k++)
					msgpack_pack_float(&pk, 1.5f);
				break;
			case 6:
				for (size_t k = 0; k < n; k++) /* lists in lists */
					msgpack_pack_array(&pk, 1);
				msgpack_pack_true(&pk);
				break;
			case 7:
				msgpack_pack_double(&pk, (double)n);
				break;
			default:
				msgpack_pack_int64(&pk, kind % 2 != 0
								? (int64_t)n << 4 * (kind - 8)
								: -((int64_t)n << 4 * (kind - 8)));
				break;
			}
			msgpack_pack_false(&pk); /* the next value */
			at = (const uint8_t *)sb.data;
			end = at + sb.size;
			ck_assert(frame_skip(&at, end));
			ck_assert_ptr_eq(at, end - 1);
			for (size_t cut = 1; cut <= 40 && cut < sb.size; cut++) {
				const uint8_t *from = at = (const uint8_t *)sb.data;

				ck_assert(!frame_skip(&at, end - 1 - cut));
				ck_assert_ptr_eq(at, from);
			}
			msgpack_sbuffer_destroy(&sb);
		}
	}
}
END_TEST

START_TEST(what_is_no_value_is_not_skipped)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = { { "", 0 },
		     { "\xc1", 1 },
		     { "\x92\xc0\xc1", 3 },
		     { "\xdd\xff\xff\xff\xff", 5 },
		     { "\xdf\xff\xff\xff\xff\x01\x02", 7 },
		     { "\xdb\xff\xff\xff\xff\x01", 6 } };
	const uint8_t *at, *from;
	bool value;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		at = from = (const uint8_t *)rows[i].bytes;
		ck_assert(!frame_skip(&at, from + rows[i].len));
		ck_assert_ptr_eq(at, from);
		ck_assert(!frame_get_bool(&at, from + rows[i].len, &value));
	}
	at = from = (const uint8_t *)"\xc3\xc2\xc0";
	ck_assert(frame_get_bool(&at, from + 3, &value) && value);
	ck_assert(frame_get_bool(&at, from + 3, &value) && !value);
	ck_assert(!frame_get_bool(&at, from + 3, &value) && at == from + 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");

	suite_add_tcase(s, t);
	tcase_add_test(t, frames_may_come_in_any_pieces);
	tcase_add_test(t, a_frame_stays_where_it_is_until_more_room_is_asked_for);
	tcase_add_test(t, who_shares_a_frame_has_its_bytes_after_the_reader);
	tcase_add_test(t, what_is_written_is_an_array_for_msgpack_c);
	tcase_add_loop_test(t, strangers_are_refused_and_stay_so, 0,
			    (int)(sizeof strange / sizeof strange[0]));
	tcase_add_test(t, an_announced_length_costs_no_memory_until_it_comes);
	tcase_add_test(t, memory_of_a_long_frame_is_given_back);
	tcase_add_test(t, without_memory_there_is_no_room_and_nothing_is_lost);
	tcase_add_test(t, a_failed_writer_is_told_by_the_buffer);
	tcase_add_test(t, readers_of_elements_stop_at_the_end_and_stay_put);
	tcase_add_test(t, a_value_is_skipped_whole_or_not_at_all);
	tcase_add_test(t, what_is_no_value_is_not_skipped);
	return run(s);
}
