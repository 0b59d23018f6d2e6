/* check_dist_frames.c - where frames begin and end: ticks, strangers, frames over the limits, buffers. */
#include "check_dist.h"
#include "quick.h"

#include <errno.h>

static const struct term_pid beam_pid = { PEER_NAME, sizeof PEER_NAME - 1, 102, 3, 77 };

static void becomes(const void *bytes, size_t len, size_t piece, const char *expected)
{
	struct dist *d = connected(&test_config);
	struct lines l = { 0 };

	ck_assert(feed(d, bytes, len, piece, &l));
	if (strcmp(text_of(&l), expected) != 0)
		ck_abort_msg("pieces of %zu: found\n%sexpected\n%s", piece, text_of(&l), expected);
	buf_free(&l.text);
	dist_free(d);
}

/* Appends {6, Pid, '', Name} with a binary of `len` bytes. */
static void put_message(struct buf *b, const char *name, size_t len)
{
	size_t start = b->len;

	buf_put(b, "\0\0\0\0\x70\x83", 6);
	term_put_tuple(b, 4);
	term_put_int(b, 6);
	term_put_pid(b, &beam_pid);
	term_put_atom(b, "");
	term_put_atom(b, name);
	buf_put(b, "\x83m", 2);
	buf_put_u32(b, (uint32_t)len);
	ck_assert_int_eq(buf_reserve(b, len), 0);
	memset(b->data + b->len, 'x', len);
	b->len += len;
	put_u32(b->data + start, (uint32_t)(b->len - start - 4));
}

START_TEST(bytes_that_are_no_frame_of_ours_close)
{
	static const struct {
		struct span bytes;
		const char *expected;
	} rows[] = {
		{ BYTES("\0\0\0\0\0\0\0\0"), "TICK\nTICK\n" },
		{ BYTES("\0\0\0\4\x83\x44\0\1"),
		  "CLOSED a frame that begins with 131, 68 (atom cache or "
		  "fragments, not negotiated), expected 112, 131\n" },
		{ BYTES("\0\0\0\4\x83\x45\0\1"),
		  "CLOSED a frame that begins with 131, 69 (atom cache or "
		  "fragments, not negotiated), expected 112, 131\n" },
		{ BYTES("\0\0\0\1\x70"),
		  "CLOSED a frame that begins with 112, 0, expected 112, 131\n" },
		{ BYTES("\0\0\0\2\x70\x84"),
		  "CLOSED a frame that begins with 112, 132, expected 112, 131\n" },
#define NOT_A_TUPLE "CLOSED a control message that is not {Operation, ...} "
		{ BYTES("\0\0\0\2\x70\x83"), NOT_A_TUPLE "(frame of 2 bytes)\n" },
		{ BYTES("\0\0\0\4\x70\x83\x61\1"), NOT_A_TUPLE "(frame of 4 bytes)\n" },
		{ BYTES("\0\0\0\4\x70\x83\x68\0"), NOT_A_TUPLE "(frame of 4 bytes)\n" },
		{ BYTES("\0\0\0\7\x70\x83\x68\1\x77\1x"), NOT_A_TUPLE "(frame of 7 bytes)\n" },
		{ BYTES("\0\0\0\x09\x70\x83\x68\1\x62\xff\xff\xff\xff"),
		  NOT_A_TUPLE "(frame of 9 bytes)\n" },
		{ BYTES("\0\0\0\6\x70\x83\x68\1\x61\x25"), "UNKNOWN op=37\n" },
		{ BYTES("\0\0\0\6\x70\x83\x68\1\x61\x0b"), "UNKNOWN op=11\n" },
		{ BYTES("\0\0\0\6\x70\x83\x68\1\x61\0"), "UNKNOWN op=0\n" },
		{ BYTES("\0\0\0\x0a\x70\x83\x68\2\x61\x63\x6a\x83\x61\1"),
		  "UNKNOWN op=99 payload=2:2c24d1d7\n" },
		{ BYTES("\0\0\0\x0a\x70\x83\x68\2\x61\x63\x6a\x83\x61\1"
			"\0\0\0\0"),
		  "UNKNOWN op=99 payload=2:2c24d1d7\nTICK\n" },
		{ BYTES("\0\0\0\x09\x70\x83\x68\2\x61\x63\x6a\x83\x61"),
		  "CLOSED the message of control message 99 (unknown) is not a well-formed term (2 "
		  "bytes)\n" },
		{ BYTES("\0\0\0\x09\x70\x83\x68\1\x61\x63\x84\x61\1"),
		  "CLOSED the message of control message 99 (unknown) is not a well-formed term (3 "
		  "bytes)\n" },
		{ BYTES("\0\0\0\7\x70\x83\x68\1\x61\x63\0"),
		  "CLOSED the message of control message 99 (unknown) is not a well-formed term (1 "
		  "bytes)\n" },
		{ BYTES("\4\0\0\1\x70"),
		  "CLOSED a frame of 67108865 bytes, over the limit of 67108864\n" },
		{ BYTES("\xff\xff\xff\xff"),
		  "CLOSED a frame of 4294967295 bytes, over the limit of 67108864\n" },
	};

	for (size_t piece = 1; piece < 12; piece++)
		becomes(rows[_i].bytes.at, rows[_i].bytes.len, piece, rows[_i].expected);
}
END_TEST

START_TEST(nothing_is_kept_of_what_comes_after_the_end)
{
	struct dist *d = connected(&test_config);
	struct lines l = { 0 };
	size_t room;

	ck_assert(feed(d, "\0\0\0\1x", 5, SIZE_MAX, &l));
	ck_assert_int_eq(l.closed, 1);
	for (int i = 0; i < 100; i++) { /* whether the owner asks for events or not */
		ck_assert_ptr_nonnull(dist_room(d, &room));
		dist_received(d, room);
		ck_assert_uint_eq(d->in.len, 0);
	}
	ck_assert_uint_le(d->in.cap, 2 * DIST_ROOM_MAX);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(spawn_requests_must_be_what_they_say)
{
	static const struct {
		const char *mfa, *opts, *args, *expected; /* as terms for ei */
	} rows[] = {
		{ "{m,f,1}", "[]", "[x]", "SPAWN op=29" },
		{ "{m,f,1}", "[]", "[]", "SPAWN op=29" },
		{ "{m,f,1}", "[monitor]", "\"s\"", "SPAWN op=29" }, /* STRING_EXT */
		{ "{m,f}", "[]", "[]",
		  "CLOSED element 5 of control message 29 (SPAWN_REQUEST) is not {Mod" },
		{ "{m,f,g}", "[]", "[]", "CLOSED element 5 of" },
		{ "{m,f,256}", "[]", "[]", "CLOSED element 5 of" },
		{ "{m,f,-1}", "[]", "[]", "CLOSED element 5 of" },
		{ "{1,f,1}", "[]", "[]", "CLOSED element 5 of" },
		{ "{m,1,1}", "[]", "[]", "CLOSED element 5 of" },
		{ "[m,f,1]", "[]", "[]", "CLOSED element 5 of" },
		{ "{m,f,1}", "{a}", "[]", "CLOSED element 6 of" },
		{ "{m,f,1}", "[]", "{x}",
		  "CLOSED the arguments of control message 29 (SPAWN_REQUEST) are not" },
	};
	struct dist *d = connected(&test_config);
	struct lines l = { 0 };
	struct buf b = { 0 };
	ei_x_buff x;

	buf_put(&b, "\0\0\0\0\x70\x83", 6);
	term_put_tuple(&b, 6);
	term_put_int(&b, 29);
	term_put_ref(&b, PEER_NAME, 77, 1);
	term_put_pid(&b, &beam_pid);
	term_put_pid(&b, &beam_pid);
	ck_assert_int_eq(ei_x_new(&x), 0);
	ck_assert_int_eq(ei_x_format_wo_ver(&x, rows[_i].mfa), 0);
	ck_assert_int_eq(ei_x_format_wo_ver(&x, rows[_i].opts), 0);
	ei_x_append_buf(&x, "\x83", 1);
	ck_assert_int_eq(ei_x_format_wo_ver(&x, rows[_i].args), 0);
	buf_put(&b, x.buff, (size_t)x.index);
	put_u32(b.data, (uint32_t)b.len - 4);
	ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
	ck_assert_msg(strncmp(text_of(&l), rows[_i].expected, strlen(rows[_i].expected)) == 0, "%s",
		      text_of(&l));
	ei_x_free(&x);
	buf_free(&b);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(an_improper_list_is_no_list_of_options)
{
	struct dist *d = connected(&test_config);
	struct lines l = { 0 };
	struct buf b = { 0 };

	buf_put(&b, "\0\0\0\0\x70\x83", 6);
	term_put_tuple(&b, 6);
	term_put_int(&b, 29);
	term_put_ref(&b, PEER_NAME, 77, 1);
	term_put_pid(&b, &beam_pid);
	term_put_pid(&b, &beam_pid);
	term_put_tuple(&b, 3);
	term_put_atom(&b, "m");
	term_put_atom(&b, "f");
	term_put_int(&b, 0);
	term_put_list(&b, 1);
	term_put_int(&b, 1);
	term_put_int(&b, 106); /* the tail's last byte is NIL's tag */
	buf_put(&b, "\x83j", 2);
	put_u32(b.data, (uint32_t)b.len - 4);
	ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
	ck_assert_str_eq(text_of(&l),
			 "CLOSED element 6 of control message 29 (SPAWN_REQUEST) is not a list\n");
	buf_free(&b);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(a_name_in_latin_1_becomes_utf_8)
{
	static const char frame[] =
		"\0\0\0\x2b\x70\x83\x68\4\x61\6" /* {6, Pid, '', 'f\xfc' ++ ...} */
		"X\x77\x0e" PEER_NAME "\0\0\0\1\0\0\0\0\0\0\0\1"
		"\x77\0"
		"\x73\2f\xfc"
		"\x83j";

	becomes(frame, sizeof frame - 1, SIZE_MAX,
		"SEND op=6 from=" PEER_NAME "/1.0.1 name=f\xc3\xbc payload=1:ef0c3a7d\n");
}
END_TEST

START_TEST(an_unlink_id_is_never_zero_nor_longer_than_64_bits)
{
	static const struct {
		struct span id;
		const char *unlink; /* NULL: refused */
	} rows[] = {
		{ BYTES("\x61\1"), "1" },
		{ BYTES("\x61\0"), NULL },
		{ BYTES("\x62\xff\xff\xff\xff"), NULL },
		{ BYTES("\x6e\2\0\0\1"), "256" },
		{ BYTES("\x6e\x08\0\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615" },
		{ BYTES("\x6e\x08\0\0\0\0\0\0\0\0\x80"), "9223372036854775808" },
		{ BYTES("\x6e\x08\1\1\0\0\0\0\0\0\x80"), NULL },
		{ BYTES("\x6e\x09\0\1\0\0\0\0\0\0\0\1"), NULL },
		{ BYTES("\x77\1x"), NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };
		char expected[256];

		buf_put(&b, "\0\0\0\0\x70\x83\x68\4\x61\x23", 10);
		buf_put(&b, rows[i].id.at, rows[i].id.len);
		term_put_pid(&b, &beam_pid);
		term_put_pid(&b, &beam_pid);
		put_u32(b.data, (uint32_t)b.len - 4);
		if (rows[i].unlink != NULL)
			snprintf(expected, sizeof expected,
				 "UNLINK op=35 from=%s to=%s unlink=%s\n", PEER_NAME "/102.3.77",
				 PEER_NAME "/102.3.77", rows[i].unlink);
		else
			strcpy(expected, "CLOSED element 2 of control message 35 (UNLINK_ID) is "
					 "not an unlink "
					 "id\n");
		becomes(b.data, b.len, SIZE_MAX, expected);
		buf_free(&b);
	}
}
END_TEST

/* Frames around every boundary that oversize frames know, each followed by a tick and a message. */
START_TEST(an_oversize_message_is_told_with_its_head_and_the_stream_goes_on)
{
	static const size_t lengths[] = { 0,      1,     900,   1000,  2000,  DIST_HEAD_BYTES,
					  73000,  73656, 73657, 73728, 80000, 200000,
					  1000000 };
	struct dist_config config = test_config;
	size_t len = lengths[_i];
	struct buf b = { 0 };
	char expected[600] = "";

	config.max_message = 1000;
	put_message(&b, "pool", len);
	if (b.len - 4 > config.max_message)
		snprintf(expected, sizeof expected,
			 "OVERSIZE op=6 from=" PEER_NAME
			 "/102.3.77 name=pool payload=%zu bytes of %zu\n"
			 "TICK\nSEND op=6 from=" PEER_NAME
			 "/102.3.77 name=next payload=5:111daef8\n",
			 len + 5 < DIST_HEAD_BYTES ? len + 5 : (size_t)DIST_HEAD_BYTES, b.len - 4);
	buf_put_u32(&b, 0);
	put_message(&b, "next", 0);
	for (size_t piece = len > 5000 ? 997 : 1; piece < 2 * b.len; piece = piece * 2 + 1) {
		struct dist *d = connected(&config);
		struct lines l = { 0 };

		ck_assert(feed(d, b.data, b.len, piece, &l));
		if (expected[0] != '\0')
			ck_assert_str_eq(text_of(&l), expected);
		else
			ck_assert_ptr_null(strstr(text_of(&l), "OVERSIZE"));
		/* what was dropped was never kept: what is kept, and as much again */
		ck_assert_uint_le(d->in.cap,
				  2 * (DIST_HEAD_BYTES + DIST_CONTROL_MAX + DIST_ROOM_MAX));
		ck_assert_uint_eq(d->in.len, 0);
		buf_free(&l.text);
		dist_free(d);
	}
	buf_free(&b);
}
END_TEST

START_TEST(an_oversize_spawn_request_is_told_with_its_head_and_the_stream_goes_on)
{
	struct dist_config config = test_config;
	struct dist *d;
	struct lines l = { 0 };
	struct buf b = { 0 };

	config.max_message = 1000;
	d = connected(&config);
	buf_put(&b, "\0\0\0\0\x70\x83\x68\6\x61\x1d", 10);
	term_put_ref(&b, PEER_NAME, 77, 5);
	term_put_pid(&b, &beam_pid);
	term_put_pid(&b, &beam_pid);
	term_put_tuple(&b, 3);
	term_put_atom(&b, "erpc");
	term_put_atom(&b, "execute_cast");
	term_put_int(&b, 3);
	term_put_nil(&b);
	buf_put(&b, "\x83l\0\0\0\1m\0\1\0\0", 11);
	for (int i = 0; i < 65536; i++)
		buf_put_u8(&b, 'x');
	term_put_nil(&b);
	put_u32(b.data, (uint32_t)b.len - 4);
	put_message(&b, "next", 0);
	ck_assert(feed(d, b.data, b.len, 100, &l));
	ck_assert_str_eq(text_of(&l),
			 "OVERSIZE op=29 from=" PEER_NAME "/102.3.77 ref=35:6562d343 "
			 "mfa=24:9f3b02dd opts=1:ef0c3a7d payload=65536 bytes of 65672\n"
			 "SEND op=6 from=" PEER_NAME "/102.3.77 name=next payload=5:111daef8\n");
	buf_free(&l.text);
	dist_free(d);
	buf_free(&b);
}
END_TEST

START_TEST(an_oversize_signal_that_is_no_message_closes)
{
	struct dist_config config = test_config;
	struct dist *d;
	struct lines l = { 0 };
	struct buf b = { 0 };

	config.max_message = 1000;
	d = connected(&config);
	buf_put(&b, "\0\0\0\0\x70\x83\x68\4\x61\3", 10);
	term_put_pid(&b, &beam_pid);
	term_put_pid(&b, &beam_pid);
	buf_put(&b, "m\0\0\x10\0", 5);
	for (int i = 0; i < 4096; i++)
		buf_put_u8(&b, 'x');
	put_u32(b.data, (uint32_t)b.len - 4);
	ck_assert(feed(d, b.data, b.len, 100, &l));
	ck_assert_str_eq(text_of(&l),
			 "CLOSED control message 3 (EXIT) of 4165 bytes, over the limit of 1000\n");
	buf_free(&l.text);
	dist_free(d);

	/* nor one that has no message behind its control message */
	d = connected(&config);
	b.len = 0;
	buf_put(&b, "\0\0\0\0\x70\x83\x68\3\x61\2\x6a", 11);
	term_put_pid(&b, &beam_pid);
	for (int i = 0; i < 1000; i++)
		buf_put_u8(&b, 0);
	put_u32(b.data, (uint32_t)b.len - 4);
	ck_assert(feed(d, b.data, b.len, 100, &l));
	ck_assert_str_eq(text_of(&l),
			 "CLOSED the message of control message 2 (SEND) is not a term\n");
	buf_free(&l.text);
	dist_free(d);

	/* nor one whose control message is longer than what is kept */
	d = connected(&config);
	b.len = 0;
	while (b.len < 10 + 4096)
		buf_put_u8(&b, 'x');
	memcpy(b.data, "\0\3\0\0\x70\x83\x68\4\x61\6m\0\2\0\0", 15);
	ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
	for (int i = 0; i < 47; i++)
		ck_assert(feed(d, b.data, 4096, SIZE_MAX, &l));
	ck_assert_str_eq(text_of(&l),
			 "CLOSED a control message that is not {Operation, ...} (frame of "
			 "196608 bytes)\n");
	buf_free(&l.text);
	buf_free(&b);
	dist_free(d);
}
END_TEST

START_TEST(memory_follows_what_has_arrived_and_goes_back)
{
	struct dist_config config = test_config;
	struct dist *d;
	struct lines l = { 0 };
	struct buf b = { 0 };
	size_t room, most = 0;

	config.max_message = 64 << 20;
	d = connected(&config);
	put_message(&b, "pool", 32 << 20);
	/* announced, not sent: nothing is kept for it */
	ck_assert(feed(d, b.data, 100, SIZE_MAX, &l));
	ck_assert_ptr_nonnull(dist_room(d, &room));
	ck_assert_uint_le(d->in.cap, 4 * DIST_ROOM_MIN);
	for (size_t at = 100; at < b.len; at += 65536) {
		size_t n = b.len - at < 65536 ? b.len - at : 65536;

		ck_assert(feed(d, b.data + at, n, n, &l));
		most = d->in.cap > most ? d->in.cap : most;
		ck_assert_uint_le(d->in.cap, 2 * (at + n) + 2 * DIST_ROOM_MAX);
	}
	ck_assert_int_eq(strncmp(text_of(&l), "SEND op=6", 9), 0);
	ck_assert_uint_ge(most, 32 << 20);
	ck_assert_uint_eq(d->in.cap, 0); /* drained: nothing over DIST_ROOM_MAX stays */
	ck_assert(feed(d, b.data, 10, SIZE_MAX, &l));
	ck_assert_uint_le(d->in.cap, 2 * DIST_ROOM_MAX);
	buf_free(&l.text);
	buf_free(&b);
	dist_free(d);
}
END_TEST

/* 200 000 frames in one buffer, 60 MB in pieces of 64 KiB: quadratic work would take minutes. */
START_TEST(many_small_frames_and_one_long_one_take_linear_time)
{
	struct dist_config config = test_config;
	struct dist *d;
	struct buf b = { 0 };
	struct dist_event ev;
	size_t room, n = 0, at = 0;
	uint8_t *to;
	clock_t began = clock();

	config.max_message = 64 << 20;
	d = connected(&config);
	for (int i = 0; i < 200000; i++)
		put_message(&b, "pool", 10);
	put_message(&b, "pool", 60 << 20);
	while (at < b.len) {
		size_t piece = b.len - at;

		ck_assert_ptr_nonnull(to = dist_room(d, &room));
		/* the small ones pile up to 8 MB at once */
		if (at >= 14u << 20 && piece > 65536)
			piece = 65536;
		piece = piece < room ? piece : room;
		memcpy(to, b.data + at, piece);
		dist_received(d, piece);
		at += piece;
		if (at < 8u << 20)
			continue;
		while (dist_next(d, &ev)) {
			ck_assert_int_eq(ev.type, DIST_EV_SEND);
			/* parsed where it lies */
			ck_assert(ev.payload.at > d->in.data &&
				  ev.payload.at < d->in.data + d->in.len);
			n++;
		}
	}
	ck_assert_uint_eq(n, 200001);
	ck_assert_msg(clock() - began < 20 * CLOCKS_PER_SEC || quick(), "took too long");
	buf_free(&b);
	dist_free(d);
}
END_TEST

static void add(TCase *t)
{
	tcase_add_loop_test(t, bytes_that_are_no_frame_of_ours_close, 0, 20);
	tcase_add_loop_test(t, spawn_requests_must_be_what_they_say, 0, 12);
	tcase_add_test(t, nothing_is_kept_of_what_comes_after_the_end);
	tcase_add_test(t, an_improper_list_is_no_list_of_options);
	tcase_add_test(t, a_name_in_latin_1_becomes_utf_8);
	tcase_add_test(t, an_unlink_id_is_never_zero_nor_longer_than_64_bits);
	tcase_add_loop_test(t, an_oversize_message_is_told_with_its_head_and_the_stream_goes_on, 0,
			    13);
	tcase_add_test(t, an_oversize_spawn_request_is_told_with_its_head_and_the_stream_goes_on);
	tcase_add_test(t, an_oversize_signal_that_is_no_message_closes);
	tcase_add_test(t, memory_follows_what_has_arrived_and_goes_back);
	tcase_add_test(t, many_small_frames_and_one_long_one_take_linear_time);
}

int main(void)
{
	return run_suite("dist_frames", add);
}
