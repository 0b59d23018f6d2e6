/* check_dist_send.c - what we send: read back by ei, and by a peer of our own. */
#include "check_dist.h"

#include <errno.h>

static const struct term_pid us = { OUR_NAME, sizeof OUR_NAME - 1, 4096, 1, OUR_CREATION };
static const struct term_pid them = { PEER_NAME, sizeof PEER_NAME - 1, 102, 3, 77 };
static const struct span ref5 = BYTES("Z\0\5\x77\x0e" PEER_NAME "\0\0\0\x4d\0\0\0\1\0\0\0\2\0\0\0\3"
				      "\0\0\0\4\0\0\0\5");
static const struct span reason = BYTES("h\2w\5helloa\1");

static void answer(struct dist *d, size_t start)
{
	term_put_tuple(dist_output(d), 2);
	term_put_atom(dist_output(d), "ok");
	term_put_int(dist_output(d), 7);
	ck_assert_int_eq(dist_end(d, start), 0);
}

static void send_row(struct dist *d, int i)
{
	switch (i) {
	case 0:
		dist_send_tick(d);
		break;
	case 1:
		dist_send_link(d, &us, &them);
		break;
	case 2:
		dist_send_unlink(d, 7, &us, &them);
		break;
	case 3:
		dist_send_unlink_ack(d, UINT64_MAX, &us, &them);
		break;
	case 4:
		dist_send_exit(d, &us, &them, reason);
		break;
	case 5:
		dist_send_exit2(d, &us, &them, reason);
		break;
	case 6:
		dist_send_monitor(d, &us, &them, ref5);
		break;
	case 7:
		dist_send_monitor_name(d, &us, "init", ref5);
		break;
	case 8:
		dist_send_demonitor(d, &us, &them, ref5);
		break;
	case 9:
		dist_send_demonitor_name(d, &us, "init", ref5);
		break;
	case 10:
		dist_send_down(d, &us, &them, ref5, reason);
		break;
	case 11:
		dist_send_down_name(d, SPAN("pool"), &them, ref5, reason);
		break;
	case 12:
		dist_send_spawn_reply(d, ref5, &them, DIST_SPAWN_MONITOR, SPAN("w\6notsup"));
		break;
	case 13:
		answer(d, dist_begin_send(d, &them));
		break;
	case 14:
		answer(d, dist_begin_send_name(d, &us, "rex"));
		break;
	case 15:
		answer(d, dist_begin_send_alias(d, &us, &them, ref5));
		break;
	case 16:
		dist_send_unlink(d, 256, &us, &them);
		break;
	case 17:
		dist_send_unlink(d, 255, &us, &them);
		break;
	}
}

#define US   "<krait@127.0.0.1.4096.1>"
#define THEM "<beam@127.0.0.1.102.3>"
#define F    "from=krait@127.0.0.1/4096.1.305441741"
#define T    "to=beam@127.0.0.1/102.3.77"
#define R    "ref=#Ref<1.2.3.4.5>"
#define W    "reason={hello, 1}"

/* What ei reads, and what dist itself makes of it. */
static const struct {
	const char *control, *event;
} rows[] = {
	{ "", "TICK" },
	{ "{1, " US ", " THEM "}", "LINK op=1 " F " " T },
	{ "{35, 7, " US ", " THEM "}", "UNLINK op=35 " F " " T " unlink=7" },
	{ "{36, 18446744073709551615, " US ", " THEM "}",
	  "UNLINK_ACK op=36 " F " " T " unlink=18446744073709551615" },
	{ "{3, " US ", " THEM ", {hello, 1}}", "EXIT op=3 " F " " T " " W },
	{ "{8, " US ", " THEM ", {hello, 1}}", "EXIT2 op=8 " F " " T " " W },
	{ "{19, " US ", " THEM ", #Ref<1.2.3.4.5>}", "MONITOR op=19 " F " " T " " R },
	{ "{19, " US ", init, #Ref<1.2.3.4.5>}", "MONITOR op=19 " F " name=init " R },
	{ "{20, " US ", " THEM ", #Ref<1.2.3.4.5>}", "DEMONITOR op=20 " F " " T " " R },
	{ "{20, " US ", init, #Ref<1.2.3.4.5>}", "DEMONITOR op=20 " F " name=init " R },
	{ "{21, " US ", " THEM ", #Ref<1.2.3.4.5>, {hello, 1}}",
	  "DOWN op=21 " F " " T " " R " " W },
	{ "{21, pool, " THEM ", #Ref<1.2.3.4.5>, {hello, 1}}",
	  "DOWN op=21 " T " name=pool " R " " W },
	{ "{31, #Ref<1.2.3.4.5>, " THEM ", 2, notsup}",
	  "SPAWN_REPLY op=31 " T " " R " reason=notsup" },
	{ "{2, '', " THEM "}", "SEND op=2 " T " payload={ok, 7}" },
	{ "{6, " US ", '', rex}", "SEND op=6 " F " name=rex payload={ok, 7}" },
	{ "{33, " US ", #Ref<1.2.3.4.5>}", "SEND op=33 " F " " R " payload={ok, 7}" },
	{ "{35, 256, " US ", " THEM "}", "UNLINK op=35 " F " " T " unlink=256" },
	{ "{35, 255, " US ", " THEM "}", "UNLINK op=35 " F " " T " unlink=255" },
};

#define ROWS ((int)(sizeof rows / sizeof *rows))

START_TEST(a_signal_is_what_ei_and_a_peer_read)
{
	struct dist *d = connected(&test_config), *peer = connected(&test_config);
	struct buf *out = dist_output(d);
	struct lines l = { 0 };
	char *text = NULL, expected[512];
	int index = 6;

	pretty = true;
	send_row(d, _i);
	ck_assert_uint_ge(out->len, 4);
	ck_assert_uint_eq(get_u32(out->data), out->len - 4);
	if (out->len > 4) {
		ck_assert_mem_eq(out->data + 4, "\x70\x83", 2);
		ck_assert_int_ge(ei_s_print_term(&text, (const char *)out->data, &index), 0);
		ck_assert_str_eq(text, rows[_i].control);
		free(text);
		ck_assert(index == (int)out->len || out->data[index] == TERM_VERSION);
	}
	ck_assert(feed(peer, out->data, out->len, SIZE_MAX, &l));
	snprintf(expected, sizeof expected, "%s\n", rows[_i].event);
	ck_assert_str_eq(text_of(&l), expected);
	buf_free(&l.text);
	dist_free(d);
	dist_free(peer);
}
END_TEST

/* What ei prints is not all there is: creations, and the encodings that we promise. */
START_TEST(an_answer_to_an_alias_is_these_bytes)
{
	static const char expected[] =
		"\0\0\0\x58"
		"\x70\x83"
		"h\3"
		"a\x21"
		"Xw\x0fkrait@127.0.0.1\0\0\x10\0\0\0\0\1\x12\x34\xab\xcd"
		"Z\0\5w\x0e"
		"beam@127.0.0.1\0\0\0\x4d\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"
		"\x83h\2w\2oka\7";
	struct dist *d = connected(&test_config);

	answer(d, dist_begin_send_alias(d, &us, &them, ref5));
	ck_assert_uint_eq(dist_output(d)->len, sizeof expected - 1);
	ck_assert_mem_eq(dist_output(d)->data, expected, sizeof expected - 1);
	dist_free(d);
}
END_TEST

START_TEST(a_spawn_request_has_its_monitor_and_its_arguments)
{
	struct dist *d = connected(&test_config), *peer = connected(&test_config);
	struct lines l = { 0 };
	size_t start;

	pretty = true;
	start = dist_begin_spawn(d, ref5, &us, &them, "erpc", "execute_call", 4);
	term_put_list(dist_output(d), 1);
	term_put_int(dist_output(d), 7);
	term_put_nil(dist_output(d));
	ck_assert_int_eq(dist_end(d, start), 0);
	ck_assert_uint_eq(get_u32(dist_output(d)->data), dist_output(d)->len - 4);
	ck_assert(feed(peer, dist_output(d)->data, dist_output(d)->len, SIZE_MAX, &l));
	ck_assert_str_eq(text_of(&l), "SPAWN op=29 " F " " R " mfa={erpc, execute_call, 4} "
				      "opts=[monitor] payload=[7]\n");
	buf_free(&l.text);
	dist_free(d);
	dist_free(peer);
}
END_TEST

START_TEST(signals_follow_each_other_without_a_gap)
{
	struct dist *d = connected(&test_config), *peer = connected(&test_config);
	struct lines l = { 0 }, expected = { 0 };

	pretty = true;
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < ROWS; i++) {
			size_t before = dist_output(d)->len;

			send_row(d, i);
			say(&expected, "%s\n", rows[i].event);
			before = dist_begin_send(d, &them);
			term_put_text(dist_output(d), "never mind");
			dist_abort(d, before);
		}
	}
	ck_assert(feed(peer, dist_output(d)->data, dist_output(d)->len, 1000, &l));
	ck_assert_str_eq(text_of(&l), text_of(&expected));
	buf_free(&l.text);
	buf_free(&expected.text);
	dist_free(d);
	dist_free(peer);
}
END_TEST

START_TEST(long_names_have_two_length_bytes)
{
	struct dist *d = connected(&test_config), *peer = connected(&test_config);
	struct lines l = { 0 };
	char name[512], expected[700];

	pretty = true;
	for (size_t i = 0; i < 500; i += 2)
		memcpy(name + i, "\xc3\xbc", 2);
	name[500] = '\0';
	dist_send_down_name(d, (struct span){ (const uint8_t *)name, 500 }, &them, ref5, SPAN("j"));
	ck_assert(feed(peer, dist_output(d)->data, dist_output(d)->len, SIZE_MAX, &l));
	snprintf(expected, sizeof expected, "DOWN op=21 " T " name=%s " R " reason=[]\n", name);
	ck_assert_str_eq(text_of(&l), expected);
	buf_free(&l.text);
	dist_free(d);
	dist_free(peer);
}
END_TEST

START_TEST(nothing_is_sent_unless_connected)
{
	struct dist *d = dist_accept(&test_config, OUR_CHALLENGE);
	struct lines l = { 0 };
	size_t start;

	ck_assert_ptr_nonnull(d);
	for (int i = 0; i < ROWS; i++)
		if (i < 13 || i > 15)
			send_row(d, i);
	start = dist_begin_send_alias(d, &us, &them, ref5);
	term_put_text(dist_output(d), "early");
	ck_assert_int_eq(dist_end(d, start), -ENOTCONN);
	ck_assert_uint_eq(dist_output(d)->len, 0);
	dist_free(d);

	d = connected(&test_config);
	dist_send_tick(d);
	ck_assert(feed(d, "\0\0\0\1x", 5, SIZE_MAX, &l));
	ck_assert_int_eq(l.closed, 1);
	dist_send_tick(d);
	start = dist_begin_send(d, &them);
	term_put_text(dist_output(d), "late");
	ck_assert_int_eq(dist_end(d, start), -ENOTCONN);
	ck_assert_uint_eq(dist_output(d)->len, 4); /* what was said before may still be sent */
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(a_signal_without_memory_closes_an_answer_does_not)
{
	for (int i = 0; i < ROWS; i++) {
		struct dist *d = connected(&test_config);
		struct lines l = { 0 };
		struct dist_event ev;
		size_t start;

		buf_free(dist_output(d));
		if (i >= 13 && i <= 15) {
			mem_fail_after = 0;
			start = i == 13   ? dist_begin_send(d, &them)
				: i == 14 ? dist_begin_send_name(d, &us, "rex")
					  : dist_begin_send_alias(d, &us, &them, ref5);
			term_put_text(dist_output(d), "an answer");
			ck_assert_int_eq(dist_end(d, start), -ENOMEM);
			ck_assert_int_eq(mem_fail_after, -1);
			ck_assert_uint_eq(dist_output(d)->len, 0);
			send_row(d, i); /* a second try may go well */
			ck_assert_uint_gt(dist_output(d)->len, 0);
			ck_assert(!dist_next(d, &ev));
		} else {
			mem_fail_after = 0;
			send_row(d, i);
			ck_assert_uint_eq(dist_output(d)->len, 0);
			pump(d, &l, DIST_OK);
			ck_assert_str_eq(text_of(&l),
					 "CLOSED no memory for a signal to the peer\n");
			buf_free(&l.text);
		}
		dist_free(d);
	}
}
END_TEST

START_TEST(an_output_over_its_limit_is_never_cut_in_a_frame)
{
	struct dist *d = connected(&test_config);
	struct buf *out = dist_output(d);
	struct dist_event ev;
	size_t start, len;

	out->limit = 300;
	start = dist_begin_send_alias(d, &us, &them, ref5);
	for (int i = 0; i < 100; i++)
		term_put_text(out, "too much");
	ck_assert_int_eq(dist_end(d, start), -EMSGSIZE);
	ck_assert_uint_eq(out->len, 0);
	ck_assert_int_eq(out->err, 0);
	answer(d, dist_begin_send_alias(d, &us, &them, ref5)); /* a smaller one */
	len = out->len;
	ck_assert(!dist_next(d, &ev));
	for (int i = 0; i < 10; i++)
		dist_send_link(d, &us, &them);
	ck_assert_uint_le(out->len, 300);
	ck_assert_uint_eq((out->len - len) % (4 + 6 + 30 + 29), 0); /* whole frames */
	ck_assert(dist_next(d, &ev));
	ck_assert_int_eq(ev.type, DIST_EV_CLOSED);
	ck_assert_str_eq(ev.why, "the peer does not read: too much waits to be sent");
	dist_free(d);
}
END_TEST

START_TEST(answers_in_a_warm_buffer_allocate_nothing)
{
	struct dist *d = connected(&test_config);

	answer(d, dist_begin_send_alias(d, &us, &them, ref5));
	for (int i = 0; i < 1000; i++) {
		buf_consume(dist_output(d), dist_output(d)->len);
		mem_fail_after = 0;
		answer(d, dist_begin_send_alias(d, &us, &them, ref5));
		ck_assert_int_eq(mem_fail_after, 0);
	}
	mem_fail_after = -1;
	dist_free(d);
}
END_TEST

static void add(TCase *t)
{
	tcase_add_loop_test(t, a_signal_is_what_ei_and_a_peer_read, 0, ROWS);
	tcase_add_test(t, an_answer_to_an_alias_is_these_bytes);
	tcase_add_test(t, a_spawn_request_has_its_monitor_and_its_arguments);
	tcase_add_test(t, a_spawn_request_has_its_monitor_and_its_arguments);
	tcase_add_test(t, signals_follow_each_other_without_a_gap);
	tcase_add_test(t, long_names_have_two_length_bytes);
	tcase_add_test(t, nothing_is_sent_unless_connected);
	tcase_add_test(t, a_signal_without_memory_closes_an_answer_does_not);
	tcase_add_test(t, an_output_over_its_limit_is_never_cut_in_a_frame);
	tcase_add_test(t, answers_in_a_warm_buffer_allocate_nothing);
}

int main(void)
{
	return run_suite("dist_send", add);
}
