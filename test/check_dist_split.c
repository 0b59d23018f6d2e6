/* check_dist_split.c - large messages of ours go in fragments, and in turn with all else: dist_split.c. */
#include "check_dist.h"

#include "parcel.h"

#include <errno.h>

static const struct term_pid us = { OUR_NAME, sizeof OUR_NAME - 1, 1000, 0, OUR_CREATION };
static const struct term_pid ann = { PEER_NAME, sizeof PEER_NAME - 1, 102, 3, 77 };
static const struct term_pid bob = { PEER_NAME, sizeof PEER_NAME - 1, 103, 3, 77 };
static const struct span ref = BYTES("Z\0\1w\1n\0\0\0\1\0\0\0\2");
static const struct span killed = BYTES("w\6killed");

/* We, and the peer that hears us; both have fragments. */
static struct dist *d, *peer;
static struct lines heard;

static void given_a_connection(void)
{
	struct dist_config config = test_config;

	config.flags = DIST_FLAGS;
	config.max_message = 64 << 20;
	d = connected(&config);
	d->peer_flags |= FLAG_EXIT_PAYLOAD; /* as every BEAM */
	peer = connected(&config);
	heard = (struct lines){ 0 };
}

static void then_all_is_through(void)
{
	ck_assert_uint_eq(dist_output(d)->len, 0);
	ck_assert_uint_eq(dist_pieces_left(d), 0);
	buf_free(&heard.text);
	dist_free(d);
	dist_free(peer);
}

/* A message of `len` bytes and a few, that says who sends it. */
static int say_to(const struct term_pid *to, char who, size_t len)
{
	size_t start = dist_begin_send(d, to);
	struct buf *out = dist_output(d);

	term_put_tuple(out, 2);
	term_put_int(out, who);
	buf_put_u8(out, 'm');
	buf_put_u32(out, (uint32_t)len);
	ck_assert_int_eq(buf_reserve(out, len), 0);
	memset(out->data + out->len, who, len);
	out->len += len;
	return dist_end(d, start);
}

#define LARGE (1200 * 1024) /* five fragments */

/* What `ev` is, as a letter; checks what is in a message of say_to(). */
static void note(const struct dist_event *ev)
{
	if (ev->type == DIST_EV_SEND) {
		const uint8_t *p = ev->payload.at;

		ck_assert_uint_eq(ev->payload.len, 9 + get_u32(p + 5));
		for (size_t i = 9; i < ev->payload.len; i++)
			if (p[i] != p[3])
				ck_abort_msg("byte %zu of %c is %u", i, p[3], p[i]);
		say(&heard, "%c", p[3]);
	} else if (ev->type == DIST_EV_TICK) {
		say(&heard, ".");
	} else if (ev->type == DIST_EV_DOWN) {
		say(&heard, "D%d", ev->op);
	} else {
		ck_assert_int_ne(ev->type, DIST_EV_CLOSED);
		say(&heard, "(%d)", ev->type);
	}
}

static void hear(const uint8_t *p, size_t len)
{
	struct dist_event ev;
	size_t room;
	uint8_t *to;

	while (len > 0) {
		ck_assert_ptr_nonnull(to = dist_room(peer, &room));
		room = room < len ? room : len;
		memcpy(to, p, room);
		dist_received(peer, room);
		p += room;
		len -= room;
		while (dist_next(peer, &ev))
			note(&ev);
	}
}

/* As the owner does it: the output, and then pieces of about `bytes`. A `|` where they begin. */
static void turn(size_t bytes)
{
	struct dist_piece pieces[DIST_PIECES_MAX];
	struct buf *out = dist_output(d);
	size_t n;

	hear(out->data, out->len);
	out->len = 0;
	dist_output_taken(d);
	say(&heard, "|");
	n = dist_take_pieces(d, bytes, pieces);
	for (size_t i = 0; i < n; i++)
		hear(pieces[i].at, pieces[i].len);
	dist_pieces_sent(d);
}

static void then_heard(size_t bytes, const char *expected)
{
	while (dist_output(d)->len > 0 || dist_pieces_left(d) > 0)
		turn(bytes);
	if (expected != NULL)
		ck_assert_str_eq(text_of(&heard), expected);
	else
		ck_assert_ptr_nonnull(strstr(text_of(&heard), "|A|b"));
	then_all_is_through();
}

START_TEST(a_large_message_goes_in_fragments_of_256_kib)
{
	struct dist_piece pieces[DIST_PIECES_MAX];
	size_t n, rest;

	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_uint_eq(dist_output(d)->len, 0);
	for (unsigned left = 5; left > 0; left--) {
		dist_output_taken(d);
		n = dist_take_pieces(d, 1, pieces);
		ck_assert_uint_eq(n, 2);
		ck_assert_uint_eq(pieces[0].at[5], left == 5 ? 69 : 70);
		ck_assert_uint_eq(get_u64(pieces[0].at + 14), left);
		ck_assert_uint_eq(get_u32(pieces[0].at), pieces[0].len - 4 + pieces[1].len);
		rest = dist_pieces_left(d);
		if (left > 1)
			ck_assert_uint_eq(pieces[1].len, DIST_PART_BYTES);
		else
			ck_assert_uint_eq(pieces[1].len, rest);
		hear(pieces[0].at, pieces[0].len);
		hear(pieces[1].at, pieces[1].len);
		dist_pieces_sent(d);
		ck_assert_uint_eq(dist_pieces_left(d), rest - pieces[1].len);
	}
	ck_assert_str_eq(text_of(&heard), "A");
	then_all_is_through();
}
END_TEST

START_TEST(the_body_is_sent_from_where_it_was_written)
{
	struct dist_piece pieces[DIST_PIECES_MAX];
	const uint8_t *written;

	given_a_connection();
	ck_assert_int_eq(say_to(&bob, 'x', 100), 0);
	ck_assert_int_eq(buf_reserve(dist_output(d), LARGE + 200), 0);
	written = dist_output(d)->data + dist_output(d)->len;
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_ptr_ne(dist_output(d)->data, written); /* what was small has moved instead */
	ck_assert_uint_gt(dist_output(d)->len, 100);
	ck_assert_uint_eq(dist_take_pieces(d, 1, pieces), 0); /* x comes first */
	dist_output_taken(d);
	ck_assert_uint_eq(dist_take_pieces(d, 1, pieces), 2);
	ck_assert_ptr_eq(pieces[1].at, written + 7);
	dist_pieces_sent(d);
	dist_free(d);
	dist_free(peer);
}
END_TEST

START_TEST(what_is_not_too_large_goes_in_one_frame)
{
	struct dist_piece pieces[DIST_PIECES_MAX];
	size_t head;

	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', 0), 0);
	head = dist_output(d)->len;
	dist_output(d)->len = 0;
	ck_assert_int_eq(say_to(&bob, 'A', DIST_INLINE_BYTES - head), 0);
	ck_assert_uint_eq(dist_pieces_left(d), 0);
	ck_assert_int_eq(say_to(&ann, 'B', DIST_INLINE_BYTES - head + 1), 0);
	ck_assert_uint_eq(dist_pieces_left(d), DIST_INLINE_BYTES + 1);
	ck_assert_int_eq(say_to(&ann, 'C', DIST_WHOLE_BYTES - head), 0);
	ck_assert_int_eq(say_to(&ann, 'D', DIST_WHOLE_BYTES - head + 1), 0);
	turn(1);
	ck_assert_uint_eq(dist_take_pieces(d, 1, pieces), 1);
	ck_assert_uint_eq(pieces[0].len, DIST_WHOLE_BYTES);
	hear(pieces[0].at, pieces[0].len);
	dist_pieces_sent(d);
	then_heard(1, "A|BC||||D");
}
END_TEST

START_TEST(small_ones_go_first_and_large_ones_take_turns)
{
	size_t left;

	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', 20 * LARGE), 0);
	ck_assert_int_eq(say_to(&bob, 'B', LARGE), 0);
	turn(1);
	ck_assert_int_eq(say_to(&us, 'x', 10), 0);
	turn(1);
	dist_send_tick(d);
	for (int i = 0; i < 8; i++)
		turn(1);
	/* ten turns: five fragments each */
	ck_assert_str_eq(text_of(&heard), "|x|.||||||||B");
	ck_assert_int_eq(say_to(&us, 'y', 10), 0);
	left = dist_pieces_left(d);
	turn(SIZE_MAX); /* as many as there is room for */
	ck_assert_uint_eq(left - dist_pieces_left(d), (DIST_PIECES_MAX / 2 - 1) * DIST_PART_BYTES);
	left = dist_pieces_left(d);
	turn(800 * 1024);
	ck_assert_uint_eq(left - dist_pieces_left(d), 3 * DIST_PART_BYTES);
	buf_reset(&heard.text, 0);
	while (dist_pieces_left(d) > 0)
		turn(SIZE_MAX);
	ck_assert_ptr_nonnull(strstr(text_of(&heard), "|A"));
	then_all_is_through();
}
END_TEST

START_TEST(what_is_said_to_a_process_stays_in_order)
{
	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_int_eq(say_to(&ann, 'b', 10), 0);
	ck_assert_int_eq(say_to(&bob, 'x', 10), 0);
	dist_send_down(d, &us, &ann, ref, killed);
	ck_assert_int_eq(say_to(&ann, 'C', LARGE), 0);
	dist_send_exit(d, &us, &ann, killed);
	dist_send_unlink(d, 7, &us, &ann);
	dist_send_link(d, &us, &bob);
	/* x and the link at once; then A's five, b and the DOWN, C's five, the exit and the unlinking */
	then_heard(1, "x(5)|||||A|bD21|||||C|(8)(6)");
}
END_TEST

/* As while an earlier output is still being written: what has gathered since then must not be overtaken by
 * a large message to the same process, nor may that hold up the large ones that came before. */
START_TEST(a_large_message_waits_for_what_was_said_before_it)
{
	struct dist_piece pieces[DIST_PIECES_MAX];

	given_a_connection();
	ck_assert_int_eq(say_to(&bob, 'B', LARGE), 0);
	dist_output_taken(d);
	ck_assert_int_eq(say_to(&ann, 'x', 10), 0);
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	for (int i = 0; i < 5; i++) {
		ck_assert_uint_eq(dist_take_pieces(d, 1, pieces), 2);
		hear(pieces[0].at, pieces[0].len);
		hear(pieces[1].at, pieces[1].len);
		dist_pieces_sent(d);
	}
	ck_assert_str_eq(text_of(&heard), "B");
	ck_assert_uint_eq(dist_take_pieces(d, 1, pieces), 0);
	then_heard(SIZE_MAX, "Bx|A");
}
END_TEST

START_TEST(a_message_with_a_ready_made_head_says_whom_it_is_to)
{
	uint8_t head[100];
	size_t start, len;

	given_a_connection();
	start = dist_begin_send(d, &ann);
	len = dist_output(d)->len - start;
	memcpy(head, dist_output(d)->data + start, len);
	dist_abort(d, start);
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_int_eq(say_to(&bob, 'x', 10), 0);
	start = dist_output(d)->len;
	dist_to(d, &ann);
	buf_put(dist_output(d), head, len);
	buf_put(dist_output(d), "h\2aym\0\0\0\0", 9);
	ck_assert_int_eq(dist_end(d, start), 0);
	then_heard(SIZE_MAX, "x|Ay");
}
END_TEST

START_TEST(an_alias_stands_for_its_process_and_a_name_for_itself)
{
	size_t start;

	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	start = dist_begin_send_alias(d, &us, &ann, ref);
	buf_put(dist_output(d), "h\2acm\0\0\0\0", 9);
	ck_assert_int_eq(dist_end(d, start), 0);
	start = dist_begin_send_alias(d, &us, NULL, ref);
	buf_put(dist_output(d), "h\2axm\0\0\0\0", 9);
	ck_assert_int_eq(dist_end(d, start), 0);
	start = dist_begin_send_name(d, &us, "rex");
	buf_put(dist_output(d), "h\2aym\0\0\0\0", 9);
	ck_assert_int_eq(dist_end(d, start), 0);
	then_heard(SIZE_MAX, "xy|Ac");
}
END_TEST

START_TEST(what_is_said_to_a_name_stays_in_order)
{
	size_t start;

	given_a_connection();
	dist_send_monitor_name(d, &us, "rex", ref);
	start = dist_begin_send_name(d, &us, "rex");
	buf_put(dist_output(d), "h\2aAm\0\2\0\0", 9);
	ck_assert_int_eq(buf_reserve(dist_output(d), 0x20000), 0);
	memset(dist_output(d)->data + dist_output(d)->len, 'A', 0x20000);
	dist_output(d)->len += 0x20000;
	ck_assert_int_eq(dist_end(d, start), 0);
	dist_send_demonitor_name(d, &us, "rex", ref);
	dist_send_demonitor_name(d, &us, "init", ref);
	then_heard(SIZE_MAX, "(10)(11)|A(11)");
}
END_TEST

START_TEST(what_needs_no_order_waits_for_nothing)
{
	size_t start;

	given_a_connection();
	for (char who = 'A'; who <= 'B'; who++) {
		start = dist_begin_send(d, &ann);
		dist_unordered(d);
		buf_put(dist_output(d), (uint8_t[]){ 'h', 2, 'a', (uint8_t)who, 'm', 0, 2, 0, 0 },
			9);
		ck_assert_int_eq(buf_reserve(dist_output(d), 0x20000), 0);
		memset(dist_output(d)->data + dist_output(d)->len, who, 0x20000);
		dist_output(d)->len += 0x20000;
		ck_assert_int_eq(dist_end(d, start), 0);
	}
	ck_assert_int_eq(say_to(&ann, 'x', 10), 0);
	then_heard(1, "x|A|B");
}
END_TEST

START_TEST(what_an_rpc_returns_goes_in_fragments_too)
{
	struct buf reason = { 0 };

	given_a_connection();
	buf_put_u8(&reason, 'm');
	buf_put_u32(&reason, LARGE);
	ck_assert_int_eq(buf_reserve(&reason, LARGE), 0);
	reason.len += LARGE;
	memset(reason.data + 5, 0, LARGE);
	dist_send_down(d, &us, &ann, ref, (struct span){ reason.data, reason.len });
	dist_send_down(d, &us, &ann, ref, killed);
	dist_send_down(d, &us, &bob, ref, killed);
	ck_assert_uint_gt(dist_pieces_left(d), LARGE);
	d->peer_flags &= ~FLAG_EXIT_PAYLOAD;
	dist_send_down(d, &us, &bob, ref, (struct span){ reason.data, reason.len });
	ck_assert_uint_gt(dist_output(d)->len, LARGE); /* it knows no other form */
	buf_free(&reason);
	then_heard(SIZE_MAX, "D21D21|D28D21");
}
END_TEST

START_TEST(a_peer_without_fragments_hears_it_in_one_frame)
{
	given_a_connection();
	d->peer_flags &= ~FLAG_FRAGMENTS;
	peer->peer_flags &= ~FLAG_FRAGMENTS;
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_int_eq(say_to(&bob, 'x', 10), 0);
	ck_assert_uint_eq(dist_pieces_left(d), 0);
	ck_assert_uint_eq(dist_output(d)->data[4], 112);
	then_heard(1, "Ax|");
}
END_TEST

START_TEST(pieces_stay_where_they_are_while_more_is_said)
{
	struct dist_piece pieces[DIST_PIECES_MAX];
	size_t n;

	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_int_eq(say_to(&ann, 'b', 10), 0);
	dist_output_taken(d);
	n = dist_take_pieces(d, SIZE_MAX, pieces);
	ck_assert_uint_eq(n, 11); /* five fragments and what follows them */
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(say_to(&ann, 'c', 1000), 0);
	for (size_t i = 0; i < n; i++)
		hear(pieces[i].at, pieces[i].len);
	dist_pieces_sent(d);
	ck_assert_str_eq(text_of(&heard), "Ab");
	hear(dist_output(d)->data, dist_output(d)->len); /* nothing of it waits any more */
	ck_assert_uint_eq(heard.text.len, 1002);
	buf_reset(dist_output(d), 0);
	then_all_is_through();
}
END_TEST

/* As say_to(), with two binaries of `len` bytes between small things, received to `b`; the second one begins behind
 * a gap of `between` bytes. */
static int say_apart(const struct term_pid *to, char who, size_t len, size_t between, struct buf *b)
{
	struct parcel_parts parts;
	struct buf *out = dist_output(d);
	size_t start;

	ck_assert_int_eq(buf_reserve(b, 2 * len), 0);
	memset(b->data, who, 2 * len);
	b->len = 2 * len;
	parcel_from(&parts, b->data, b->len);
	start = dist_begin_send(d, to);
	term_put_tuple(out, 2);
	term_put_int(out, who);
	buf_put_u8(out, 'm');
	buf_put_u32(out, (uint32_t)(2 * len + between));
	ck_assert_uint_eq(parcel_put(&parts, b->data, len, out->len), 0);
	ck_assert_int_eq(buf_reserve(out, between), 0);
	memset(out->data + out->len, who, between);
	out->len += between;
	ck_assert_uint_eq(parcel_put(&parts, b->data + len, len, out->len), 1);
	return dist_end_apart(d, start, &parts, share_new(b));
}

/* In one frame; in fragments, whose ends fall into the binaries and between them. */
START_TEST(what_lies_apart_is_sent_from_there)
{
	static const size_t lengths[][2] = {
		{ PARCEL_APART, 0 },
		{ PARCEL_APART, 5000 },
		{ 3 * PARCEL_APART, 0 },
		{ 3 * PARCEL_APART, 1 },
		{ 3 * PARCEL_APART, 70000 },
		{ 4 * PARCEL_APART - 60, 200 },
		{ 9 * PARCEL_APART + 5, 300000 },
	};
	struct dist_piece pieces[DIST_PIECES_MAX];
	struct buf b = { 0 };
	const uint8_t *at;
	size_t n;

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		given_a_connection();
		ck_assert_int_eq(say_to(&bob, 'x', 10), 0);
		ck_assert_int_eq(say_apart(&ann, 'A', lengths[i][0], lengths[i][1], &b), 0);
		ck_assert_ptr_null(b.data);
		ck_assert_uint_gt(dist_pieces_left(d), 2 * lengths[i][0] + lengths[i][1]);
		ck_assert_int_eq(say_to(&ann, 'b', 10), 0);
		then_heard(1, 2 * lengths[i][0] > DIST_WHOLE_BYTES ? NULL : "x|A|b");
	}
	given_a_connection();
	ck_assert_int_eq(buf_reserve(&b, 2 * PARCEL_APART), 0);
	at = b.data;
	ck_assert_int_eq(say_apart(&ann, 'A', PARCEL_APART, 10, &b), 0);
	dist_output_taken(d);
	n = dist_take_pieces(d, 1, pieces);
	ck_assert_uint_eq(n, 4);
	ck_assert_ptr_eq(pieces[1].at, at);
	ck_assert_ptr_eq(pieces[3].at, at + PARCEL_APART);
	dist_free(d); /* with it what nobody will hear */
	dist_free(peer);
}
END_TEST

START_TEST(without_memory_what_lies_apart_is_refused_and_a_smaller_one_may_follow)
{
	struct buf b = { 0 };

	for (long n = 0; n < 2; n++) {
		given_a_connection();
		ck_assert_int_eq(buf_reserve(dist_output(d), 1000), 0);
		ck_assert_int_eq(buf_reserve(&b, 2 * PARCEL_APART), 0);
		mem_fail_after = n + 1; /* the share is made */
		ck_assert_int_eq(say_apart(&ann, 'A', PARCEL_APART, 10, &b), -ENOMEM);
		mem_fail_after = -1;
		ck_assert_uint_eq(dist_pieces_left(d), 0);
		ck_assert_int_eq(say_to(&ann, 'b', 10), 0);
		then_heard(1, "b|");
	}
}
END_TEST

START_TEST(without_memory_it_goes_whole_and_what_must_wait_is_refused)
{
	for (long n = 0; n < 4; n++) {
		given_a_connection();
		ck_assert_int_eq(say_to(&bob, 'x', 10), 0);
		ck_assert_int_eq(buf_reserve(dist_output(d), LARGE + 100), 0);
		mem_fail_after = n;
		ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
		ck_assert_int_eq(mem_fail_after, -1);
		ck_assert_uint_eq(dist_pieces_left(d), 0);
		hear(dist_output(d)->data, dist_output(d)->len);
		ck_assert_str_eq(text_of(&heard), "xA");
		buf_reset(dist_output(d), 0);
		then_all_is_through();
	}
	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_int_eq(buf_reserve(dist_output(d), 1000), 0);
	mem_fail_after = 0;
	ck_assert_int_eq(say_to(&ann, 'b', 10), -ENOMEM);
	mem_fail_after = -1;
	ck_assert_int_eq(say_to(&ann, 'c', 10), 0); /* nothing is lost, a smaller one may follow */
	dist_send_down(d, &us, &ann, ref, killed);
	then_heard(SIZE_MAX, "|AcD21");
}
END_TEST

START_TEST(a_signal_that_must_wait_and_cannot_costs_the_connection)
{
	struct dist_event ev;

	given_a_connection();
	ck_assert_int_eq(say_to(&ann, 'A', LARGE), 0);
	ck_assert_int_eq(buf_reserve(dist_output(d), 1000), 0);
	mem_fail_after = 0;
	dist_send_down(d, &us, &ann, ref, killed);
	mem_fail_after = -1;
	ck_assert(dist_next(d, &ev));
	ck_assert_int_eq(ev.type, DIST_EV_CLOSED);
	ck_assert_str_eq(ev.why, "no memory for a signal to the peer");
	dist_free(d);
	dist_free(peer);
}
END_TEST

static void add(TCase *tests)
{
	tcase_add_test(tests, a_large_message_goes_in_fragments_of_256_kib);
	tcase_add_test(tests, the_body_is_sent_from_where_it_was_written);
	tcase_add_test(tests, what_is_not_too_large_goes_in_one_frame);
	tcase_add_test(tests, what_lies_apart_is_sent_from_there);
	tcase_add_test(tests,
		       without_memory_what_lies_apart_is_refused_and_a_smaller_one_may_follow);
	tcase_add_test(tests, small_ones_go_first_and_large_ones_take_turns);
	tcase_add_test(tests, what_is_said_to_a_process_stays_in_order);
	tcase_add_test(tests, a_large_message_waits_for_what_was_said_before_it);
	tcase_add_test(tests, a_message_with_a_ready_made_head_says_whom_it_is_to);
	tcase_add_test(tests, an_alias_stands_for_its_process_and_a_name_for_itself);
	tcase_add_test(tests, what_is_said_to_a_name_stays_in_order);
	tcase_add_test(tests, what_needs_no_order_waits_for_nothing);
	tcase_add_test(tests, what_an_rpc_returns_goes_in_fragments_too);
	tcase_add_test(tests, a_peer_without_fragments_hears_it_in_one_frame);
	tcase_add_test(tests, pieces_stay_where_they_are_while_more_is_said);
	tcase_add_test(tests, without_memory_it_goes_whole_and_what_must_wait_is_refused);
	tcase_add_test(tests, a_signal_that_must_wait_and_cannot_costs_the_connection);
}

int main(void)
{
	return run_suite("dist_split", add);
}
