/* check_oom.c - the n-th allocation fails, for every n, in what writes and reads bytes.
 *
 * Of the other modules: check_config, check_dist_handshake, check_dist_replay, check_dist_send,
 * check_pool_start and check_transcode_bounds; of the node, check_admission. list, heap, histogram, breaker,
 * log and lines do not allocate. */
#include "frame.h"
#include "mem.h"
#include "request.h"
#include "suite.h"
#include "term.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MANY 3000 /* pieces: beyond several doublings of a buffer */

static void write_terms(struct buf *b)
{
	struct term_pid pid = { .node = "a@host", .node_len = 6, .id = 1 };

	for (int i = 0; i < MANY / 10; i++) {
		term_put_version(b);
		term_put_int(b, i);
		term_put_uint(b, UINT64_MAX);
		term_put_float(b, i);
		term_put_atom(b, "an_atom");
		term_put_bool(b, i % 2);
		term_put_binary(b, "bytes", 5);
		term_put_tuple(b, 300);
		term_put_list(b, 2);
		term_put_nil(b);
		term_put_map(b, 1);
		term_put_pid(b, &pid);
		term_put_ref(b, "a@host", 7, (uint64_t)i);
	}
}

static void write_frames(struct buf *b)
{
	for (unsigned i = 0; i < MANY / 10; i++) {
		size_t start = frame_begin(b, FRAME_CALL, i, 6);

		frame_put_nil(b);
		frame_put_bool(b, true);
		frame_put_uint(b, (uint64_t)i << 30);
		frame_put_str(b, "some text", 9);
		frame_put_array(b, 0);
		frame_put_map(b, 0);
		frame_end(b, start);
	}
}

static void write_reasons(struct buf *b)
{
	for (int i = 0; i < MANY / 10; i++)
		request_put_bad(b, "{call, M, F, Args}");
}

static void write_pieces(struct buf *b)
{
	for (unsigned i = 0; i < MANY; i++) {
		buf_put_u8(b, i);
		buf_put_u16(b, i);
		buf_put_u32(b, i);
		buf_put_u64(b, i);
		buf_put(b, "abc", 3);
	}
}

static void (*const writers[])(struct buf *) = { write_terms, write_frames, write_reasons,
						 write_pieces };
#define WRITERS ((int)(sizeof writers / sizeof writers[0]))

START_TEST(a_writer_says_that_it_failed_and_keeps_what_was_whole)
{
	struct buf whole = { 0 };
	long n;

	writers[_i](&whole);
	ck_assert_int_eq(whole.err, 0);
	for (n = 0;; n++) {
		struct buf b = { 0 };

		mem_fail_after = n;
		writers[_i](&b);
		if (mem_fail_after >= 0) {
			mem_fail_after = -1;
			ck_assert_int_eq(b.err, 0);
			ck_assert_uint_eq(b.len, whole.len);
			buf_free(&b);
			break;
		}
		ck_assert_int_eq(b.err, -ENOMEM);
		ck_assert_uint_lt(b.len, whole.len);
		buf_free(&b);
	}
	ck_assert_int_ge(n, 3);
	buf_free(&whole);
}
END_TEST

START_TEST(a_reader_of_frames_that_has_no_room_has_it_the_next_time)
{
	struct buf stream = { 0 };
	static uint8_t payload[100000];
	bool failed = true;
	long n;

	for (int i = 0; i < 2; i++) {
		size_t start = frame_begin(&stream, FRAME_CALL, (uint64_t)i, 1);

		frame_put_str(&stream, payload, sizeof payload);
		frame_end(&stream, start);
	}
	for (n = 0; failed; n++) {
		struct frame_reader r;
		struct frame frame;
		size_t room, frames = 0;

		failed = false;
		frame_reader_init(&r, 1 << 20);
		mem_fail_after = n;
		for (size_t at = 0; at < stream.len; at += room) {
			uint8_t *to = frame_room(&r, &room);

			if (to == NULL) {
				ck_assert(!failed);
				failed = true;
				to = frame_room(&r, &room);
			}
			ck_assert_ptr_nonnull(to);
			room = room < stream.len - at ? room : stream.len - at;
			memcpy(to, stream.data + at, room);
			frame_received(&r, room);
			while (frame_next(&r, &frame) == 1)
				ck_assert_uint_eq(frame.id, frames++);
		}
		mem_fail_after = -1;
		ck_assert_uint_eq(frames, 2);
		frame_reader_close(&r);
	}
	ck_assert_int_ge(n, 3);
	buf_free(&stream);
}
END_TEST

/* One term for each way to be wrong that writes a Reason of some length. */
START_TEST(a_request_that_is_wrong_is_refused_with_or_without_a_reason)
{
	static const char *const words[] = { "unknown", "await_ready", "checkout", "call", "ping" };
	struct request_defaults defaults = { .timeout_ms = 1 };
	struct buf term = { 0 };
	long refused = 0;

	for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
		struct request req;
		bool failed = true;

		buf_reset(&term, 4096);
		term_put_tuple(&term, 3);
		term_put_atom(&term, words[i]);
		term_put_text(&term, words[i]);
		term_put_nil(&term);
		for (long n = 0; failed; n++) {
			struct buf reason = { 0 };
			int rc;

			mem_fail_after = n;
			rc = request_parse(term.data, TARGET_POOL, &defaults, &req, &reason);
			failed = mem_fail_after < 0;
			mem_fail_after = -1;
			ck_assert_int_eq(rc, failed ? -ENOMEM : -EINVAL);
			ck_assert_int_eq(reason.err, failed ? -ENOMEM : 0);
			refused += failed;
			buf_free(&reason);
		}
	}
	ck_assert_int_ge(refused, 5);
	buf_free(&term);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("oom");
	TCase *tests = tcase_create("oom");

	tcase_add_loop_test(tests, a_writer_says_that_it_failed_and_keeps_what_was_whole, 0,
			    WRITERS);
	tcase_add_test(tests, a_reader_of_frames_that_has_no_room_has_it_the_next_time);
	tcase_add_test(tests, a_request_that_is_wrong_is_refused_with_or_without_a_reason);
	suite_add_tcase(suite, tests);
	return run(suite);
}
