/* check_dist_join.c - large messages that come in fragments: dist_join.c. */
#include "check_dist_cut.h"
#include "quick.h"

#include <errno.h>

static void becomes(const struct dist_config *config, const struct buf *bytes, size_t piece,
		    const char *expected)
{
	struct dist *d = connected(config);
	struct lines l = { 0 };
	size_t unfinished;

	ck_assert(feed(d, bytes->data, bytes->len, piece, &l));
	if (strcmp(text_of(&l), expected) != 0)
		ck_abort_msg("pieces of %zu: found\n%sexpected\n%s", piece, text_of(&l), expected);
	if (l.closed == 0) {
		ck_assert_uint_eq(dist_unfinished(d, &unfinished), 0);
		ck_assert_uint_eq(unfinished, 0);
	}
	buf_free(&l.text);
	dist_free(d);
}

START_TEST(fragments_of_several_messages_become_what_was_cut_wherever_they_are_split)
{
	struct dist_config config = with_fragments();
	struct buf whole = { 0 }, cuts = { 0 };
	struct lines l = { 0 };
	struct dist *d = connected(&config);
	struct cut a = cut("a", 200000, 7, 64 * 1024), b = cut("b", 60000, UINT64_MAX, 9000);

	/* a: 4 fragments, b: 7, a tick and a small message between them: which of them ends first ends first */
	put_whole(&whole, "small", 10);
	buf_put_u32(&whole, 0);
	put_whole(&whole, "a", 200000);
	put_whole(&whole, "b", 60000);
	put_whole(&whole, "c", 3);
	ck_assert(feed(d, whole.data, whole.len, SIZE_MAX, &l));

	ck_assert(put_next(&cuts, &a) && put_next(&cuts, &b));
	put_whole(&cuts, "small", 10);
	buf_put_u32(&cuts, 0);
	while (put_next(&cuts, &a))
		ck_assert(put_next(&cuts, &b));
	while (put_next(&cuts, &b))
		;
	put_whole(&cuts, "c", 3);
	for (size_t piece = 7; piece < 1000000; piece = piece * 3 + 1)
		becomes(&config, &cuts, piece, text_of(&l));
	buf_free(&a.bytes);
	buf_free(&b.bytes);
	buf_free(&whole);
	buf_free(&cuts);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(a_peer_with_fragments_may_still_write_the_other_form)
{
	struct dist_config config = with_fragments();
	struct buf b = { 0 };

	buf_put(&b, "\0\0\0\0\x70\x83", 6);
	term_put_tuple(&b, 3);
	term_put_int(&b, 1);
	term_put_pid(&b, &beam_pid);
	term_put_pid(&b, &beam_pid);
	put_u32(b.data, (uint32_t)(b.len - 4));
	becomes(&config, &b, 3,
		"LINK op=1 from=" PEER_NAME "/102.3.77 to=" PEER_NAME "/102.3.77\n");
	buf_free(&b);
}
END_TEST

START_TEST(a_message_of_one_fragment_is_whole_at_once)
{
	struct dist_config config = with_fragments();
	struct cut c = cut("x", 100, 1, 1000);
	struct buf b = { 0 };
	struct lines l = { 0 };
	struct dist *d = connected(&config);

	ck_assert(put_next(&b, &c) && c.left == 0);
	ck_assert(feed(d, b.data, b.len, 1, &l));
	ck_assert_ptr_nonnull(strstr(text_of(&l), "SEND op=6"));
	buf_free(&b);
	buf_free(&c.bytes);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

/* What is received in the middle of a fragment stays where it is. */
START_TEST(a_large_message_is_received_where_it_is_whole_in_the_end)
{
	struct dist_config config = with_fragments();
	struct dist *d = connected(&config);
	struct cut c = cut("x", 60000, 1, 62000);
	struct buf b = { 0 };
	struct dist_event ev;
	size_t room, head = 500;
	uint8_t *at;

	ck_assert(put_next(&b, &c));
	at = dist_room(d, &room);
	memcpy(at, b.data, head);
	dist_received(d, head);
	ck_assert(!dist_next(d, &ev));
	at = dist_room(d, &room);
	ck_assert_uint_eq(room, b.len - head); /* exactly what is left of the fragment */
	memcpy(at, b.data + head, room);
	dist_received(d, room);
	ck_assert(dist_next(d, &ev));
	ck_assert_int_eq(ev.type, DIST_EV_SEND);
	ck_assert_ptr_eq(ev.payload.at + ev.payload.len, at + room);
	ck_assert_uint_eq(ev.payload.len, 60005);
	buf_free(&b);
	buf_free(&c.bytes);
	dist_free(d);
}
END_TEST

START_TEST(memory_grows_with_what_has_arrived_whatever_is_promised)
{
	struct dist_config config = with_fragments();
	struct dist *d;
	struct buf b = { 0 };
	struct dist_event ev;
	size_t room, total = 0;

	config.max_message = 64 << 20;
	d = connected(&config);
	put_fragment(&b, true, 1, UINT64_C(1) << 60, "", 0);
	put_u32(b.data, 32 << 20); /* one fragment of 32 MiB */
	memcpy(dist_room(d, &room), b.data, b.len);
	dist_received(d, b.len);
	ck_assert(!dist_next(d, &ev));
	while (total < 1 << 20) {
		uint8_t *at = dist_room(d, &room);

		ck_assert_ptr_nonnull(at);
		ck_assert_uint_ge(room, DIST_ROOM_MIN);
		ck_assert_uint_le(room, total > DIST_FRAGMENT_BYTES ? total : DIST_FRAGMENT_BYTES);
		memset(at, 106, room);
		dist_received(d, room);
		ck_assert(!dist_next(d, &ev));
		total += room;
	}
	buf_free(&b);
	dist_free(d);
}
END_TEST

START_TEST(fragments_that_do_not_fit_together_close)
{
	static const struct {
		struct {
			bool first;
			uint64_t sequence, number;
		} fragments[3];
		const char *expected;
	} rows[] = {
		{ { { false, 5, 2 } },
		  "CLOSED fragment 2 of message 5, of which the first has never come\n" },
		{ { { true, 5, 3 }, { false, 6, 2 } },
		  "CLOSED fragment 2 of message 6, of which the first has never come\n" },
		{ { { true, 5, 3 }, { false, 5, 1 } },
		  "CLOSED fragment 1 of message 5, expected number 2\n" },
		{ { { true, 5, 3 }, { false, 5, 3 } },
		  "CLOSED fragment 3 of message 5, expected number 2\n" },
		{ { { true, 5, 3 }, { false, 5, 2 }, { true, 5, 3 } },
		  "CLOSED message 5 in fragments begins before its last one has ended, with "
		  "fragment 3\n" },
		{ { { true, 5, 0 } },
		  "CLOSED message 5 in fragments begins at its end, with fragment 0\n" },
		{ { { true, 5, 1 } },
		  "CLOSED a control message that is not {Operation, ...} (frame of 4 bytes)\n" },
	};
	struct dist_config config = with_fragments();

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };

		for (size_t k = 0; k < 3 && rows[i].fragments[k].sequence != 0; k++)
			put_fragment(&b, rows[i].fragments[k].first, rows[i].fragments[k].sequence,
				     rows[i].fragments[k].number, "h", 1);
		becomes(&config, &b, SIZE_MAX, rows[i].expected);
		becomes(&config, &b, 1, rows[i].expected);
		buf_free(&b);
	}
}
END_TEST

START_TEST(heads_of_fragments_that_are_none_close)
{
	static const struct {
		struct span bytes;
		const char *expected;
	} rows[] = {
		{ BYTES("\0\0\0\2\x83\x45"),
		  "CLOSED a fragment of 2 bytes, expected 19 at least\n" },
		{ BYTES("\0\0\0\x12\x83\x45"),
		  "CLOSED a fragment of 18 bytes, expected 19 at least\n" },
		{ BYTES("\0\0\0\x11\x83\x46"),
		  "CLOSED a fragment of 17 bytes, expected 18 at least\n" },
		{ BYTES("\0\0\0\x13\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\3"),
		  "CLOSED a fragment with 3 atom cache references, not negotiated\n" },
		{ BYTES("\0\0\0\x13\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0"),
		  "CLOSED a control message that is not {Operation, ...} (frame of 3 bytes)\n" },
		{ BYTES("\0\0\0\4\x83\x44\2\0"),
		  "CLOSED a frame with 2 atom cache references, not negotiated\n" },
		{ BYTES("\0\0\0\3\x83\x44\0"),
		  "CLOSED a control message that is not {Operation, ...} (frame of 3 bytes)\n" },
		{ BYTES("\0\0\0\2\x83\x44"),
		  "CLOSED a frame that begins with 131, 68, expected 131, 68, 0\n" },
	};
	struct dist_config config = with_fragments();

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };

		buf_put(&b, rows[i].bytes.at, rows[i].bytes.len);
		becomes(&config, &b, SIZE_MAX, rows[i].expected);
		becomes(&config, &b, 1, rows[i].expected);
		buf_free(&b);
	}
}
END_TEST

START_TEST(a_message_over_the_limit_passes_by_and_the_next_one_is_heard)
{
	struct dist_config config = with_fragments();
	struct cut c = cut("x", 500000, 9, 64 * 1024);
	struct dist *d;
	struct buf b = { 0 };
	struct lines l = { 0 };
	char expected[256];
	size_t unfinished;

	config.max_message = 200000;
	d = connected(&config);
	while (put_next(&b, &c)) {
		ck_assert(feed(d, b.data, b.len, 50000, &l));
		ck_assert_uint_eq(dist_unfinished(d, &unfinished), c.left > 0);
		ck_assert_uint_le(unfinished, config.max_message);
		if (c.at > 200000) /* it is known to be too large: only its first bytes are kept */
			ck_assert_uint_le(unfinished, DIST_CONTROL_MAX + DIST_HEAD_BYTES);
		b.len = 0;
	}
	put_whole(&b, "y", 5);
	ck_assert(feed(d, b.data, b.len, 1, &l));
	snprintf(expected, sizeof expected,
		 "OVERSIZE op=6 from=" PEER_NAME "/102.3.77 name=x payload=65536 bytes of %zu\n",
		 c.bytes.len + 3);
	ck_assert_int_eq(strncmp(text_of(&l), expected, strlen(expected)), 0);
	ck_assert_ptr_nonnull(strstr(text_of(&l), "name=y"));
	buf_free(&b);
	buf_free(&c.bytes);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

/* Takes the OVERSIZE that must come, and its numbers. */
static void oversize(struct dist *d, const struct buf *b, uint64_t *total_len, uint64_t *limit)
{
	struct dist_event ev;
	size_t room, at = 0;
	uint8_t *to;

	for (*limit = 0; at < b->len; at += room) {
		ck_assert_ptr_nonnull(to = dist_room(d, &room));
		room = room < b->len - at ? room : b->len - at;
		memcpy(to, b->data + at, room);
		dist_received(d, room);
		while (dist_next(d, &ev)) {
			ck_assert_int_eq(ev.type, DIST_EV_OVERSIZE);
			*total_len = ev.total_len;
			*limit = ev.limit;
		}
	}
}

START_TEST(unfinished_messages_are_bounded_together_and_who_comes_too_late_passes_by)
{
	struct dist_config config = with_fragments();
	struct cut a = cut("a", 150000, 1, 64 * 1024), c = cut("c", 150000, 2, 64 * 1024);
	struct buf b = { 0 }, late = { 0 };
	struct lines l = { 0 };
	struct dist *d;
	uint64_t total_len, limit;
	size_t unfinished;

	config.max_unfinished = 200000;
	d = connected(&config);
	ck_assert(put_next(&b, &a) && put_next(&b, &a)); /* 128 KiB of it, and 22 KiB to come */
	ck_assert(feed(d, b.data, b.len, 5000, &l));
	ck_assert_uint_eq(dist_unfinished(d, &unfinished), 1);
	ck_assert_uint_eq(unfinished, 128 * 1024);
	while (put_next(&late, &c))
		;
	oversize(d, &late, &total_len, &limit);
	ck_assert_uint_eq(limit, 200000);
	ck_assert_uint_eq(total_len, 4 * 64 * 1024); /* its second fragment is the one too many */
	b.len = 0;
	ck_assert(put_next(&b, &a) && a.left == 0);
	ck_assert(feed(d, b.data, b.len, 5000, &l)); /* who came first is heard */
	ck_assert_ptr_nonnull(strstr(text_of(&l), "SEND op=6"));
	ck_assert_uint_eq(dist_unfinished(d, &unfinished), 0);
	ck_assert_uint_eq(unfinished, 0);
	buf_free(&b);
	buf_free(&late);
	buf_free(&a.bytes);
	buf_free(&c.bytes);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(too_many_that_are_begun_close)
{
	struct dist_config config = with_fragments();
	struct buf b = { 0 };

	for (uint64_t i = 1; i <= DIST_UNFINISHED_MAX + 1; i++)
		put_fragment(&b, true, i, 2, "h", 1);
	becomes(&config, &b, SIZE_MAX,
		"CLOSED more than 16384 messages are begun and not finished\n");
	buf_free(&b);
}
END_TEST

START_TEST(no_memory_at_any_moment_closes_and_says_so)
{
	struct dist_config config = with_fragments();
	struct cut c = cut("x", 300000, 1, 64 * 1024);
	struct buf b = { 0 };
	bool failed = true;

	while (put_next(&b, &c))
		;
	for (long n = 0; failed; n++) {
		struct dist *d = connected(&config);
		struct lines l = { 0 };
		bool closed;

		buf_free(&d->in);
		ck_assert_int_eq(buf_reserve(&l.text, 4096), 0);
		mem_fail_after = n;
		closed = !feed(d, b.data, b.len, 50000, &l);
		failed = mem_fail_after == -1;
		mem_fail_after = -1;
		closed = closed || l.closed > 0;
		ck_assert_int_eq(closed, failed);
		if (l.closed > 0)
			ck_assert_str_eq(text_of(&l),
					 "CLOSED no memory for a message in fragments\n");
		buf_free(&l.text);
		dist_free(d); /* in the middle of it */
	}
	buf_free(&b);
	buf_free(&c.bytes);
}
END_TEST

START_TEST(a_message_over_the_limit_of_a_frame_closes_in_fragments_too)
{
	struct dist_config config = with_fragments();
	struct cut c = cut("x", 200000, 1, 64 * 1024);
	struct buf b = { 0 };

	config.max_frame = 150000;
	while (put_next(&b, &c))
		;
	becomes(&config, &b, 50000,
		"CLOSED a message of more than 196611 bytes, over the limit of 150000\n");
	buf_free(&b);
	buf_free(&c.bytes);
}
END_TEST

static void add(TCase *tests)
{
	tcase_add_test(tests,
		       fragments_of_several_messages_become_what_was_cut_wherever_they_are_split);
	tcase_add_test(tests, a_peer_with_fragments_may_still_write_the_other_form);
	tcase_add_test(tests, a_message_of_one_fragment_is_whole_at_once);
	tcase_add_test(tests, a_large_message_is_received_where_it_is_whole_in_the_end);
	tcase_add_test(tests, memory_grows_with_what_has_arrived_whatever_is_promised);
	tcase_add_test(tests, fragments_that_do_not_fit_together_close);
	tcase_add_test(tests, heads_of_fragments_that_are_none_close);
	tcase_add_test(tests, a_message_over_the_limit_passes_by_and_the_next_one_is_heard);
	tcase_add_test(tests,
		       unfinished_messages_are_bounded_together_and_who_comes_too_late_passes_by);
	tcase_add_test(tests, too_many_that_are_begun_close);
	tcase_add_test(tests, no_memory_at_any_moment_closes_and_says_so);
	tcase_add_test(tests, a_message_over_the_limit_of_a_frame_closes_in_fragments_too);
}

int main(void)
{
	return run_suite("dist_join", add);
}
