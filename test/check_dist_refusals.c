/* check_dist_refusals.c - what a connection refuses in the handshake, packet by packet, and the words. */
#include "check_dist.h"

static void then_closed(struct lines *l, const char *why)
{
	char expected[600];

	snprintf(expected, sizeof expected, "CLOSED %s\n", why);
	ck_assert_str_eq(text_of(l), expected);
	ck_assert_int_eq(l->closed, 1);
}

/* Gives packets (each with its 2-byte length) to a new connection; says what came of it and what it
 * sent. */
static void hears(struct dist *d, const void *bytes, size_t len, const char *events,
		  const char *sent, size_t sent_len)
{
	struct lines l = { 0 };

	ck_assert_ptr_nonnull(d);
	buf_reset(dist_output(d), 0);
	ck_assert(feed(d, bytes, len, SIZE_MAX, &l));
	pump(d, &l, DIST_OK);
	if (strcmp(text_of(&l), events) != 0)
		ck_abort_msg("found:\n%s\nexpected:\n%s", text_of(&l), events);
	ck_assert_uint_eq(dist_output(d)->len, sent_len);
	if (sent_len > 0)
		ck_assert_mem_eq(dist_output(d)->data, sent, sent_len);
	buf_free(&l.text);
	dist_free(d);
}

static size_t name_packet(uint8_t *to, char tag, uint64_t flags, const char *name)
{
	struct buf b = { 0 };
	size_t len = strlen(name);

	buf_put_u16(&b, (unsigned)(len + (tag == 'N' ? 15 : 7)));
	buf_put_u8(&b, (unsigned char)tag);
	if (tag == 'N') {
		buf_put_u64(&b, flags);
		buf_put_u32(&b, 7);
		buf_put_u16(&b, (unsigned)len);
	} else {
		buf_put_u16(&b, 5);
		buf_put_u32(&b, (uint32_t)flags);
	}
	buf_put(&b, name, len);
	memcpy(to, b.data, len = b.len);
	buf_free(&b);
	return len;
}

#define NOT_ALLOWED "\0\x0csnot_allowed"
#define LACKS       "CLOSED the peer lacks the flags "

START_TEST(a_peer_without_a_required_flag_is_told_not_allowed)
{
	static const struct {
		uint64_t flag;
		const char *name;
	} rows[] = {
		{ 0x4, "EXTENDED_REFERENCES" }, { 0x10, "FUN_TAGS" },
		{ 0x80, "NEW_FUN_TAGS" },       { 0x100, "EXTENDED_PIDS_PORTS" },
		{ 0x200, "EXPORT_PTR_TAG" },    { 0x400, "BIT_BINARIES" },
		{ 0x800, "NEW_FLOATS" },        { 0x10000, "UTF8_ATOMS" },
		{ 0x20000, "MAP_TAG" },         { 0x40000, "BIG_CREATION" },
		{ 0x1000000, "HANDSHAKE_23" },  { 0x2000000, "UNLINK_ID" },
		{ UINT64_C(1) << 34, "V4_NC" },
	};
	const uint64_t beam25 = UINT64_C(0xd07df7fbd), digest = 0x4000000;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t packet[64];
		char events[256];
		size_t len = name_packet(packet, 'N', beam25 & ~digest & ~rows[i].flag, "a@b");

		snprintf(events, sizeof events,
			 LACKS "%s, OTP 25 or newer is expected (it announced 0x%llx)\n",
			 rows[i].name, (unsigned long long)(beam25 & ~digest & ~rows[i].flag));
		hears(dist_accept(&test_config, 1), packet, len, events, NOT_ALLOWED,
		      sizeof NOT_ALLOWED - 1);
	}
}
END_TEST

START_TEST(the_shorthand_flag_stands_for_all_that_otp_25_demands)
{
	const uint64_t few = 0x4000000 | 0x2000000 | 0x20 | UINT64_C(1) << 34;
	struct dist *d = dist_accept(&test_config, 1);
	struct lines l = { 0 };
	uint8_t packet[64];
	size_t len = name_packet(packet, 'N', few, "a@b");

	ck_assert_ptr_nonnull(d);
	ck_assert(feed(d, packet, len, SIZE_MAX, &l));
	ck_assert_str_eq(text_of(&l), "NAME a@b\n");
	ck_assert_uint_eq(dist_peer_flags(d) & FLAGS_REQUIRED, FLAGS_REQUIRED);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(a_first_packet_that_is_no_name_is_refused_with_what_came)
{
	static const struct {
		struct span bytes;
		const char *events;
	} rows[] = {
		{ BYTES("GET / HTTP/1.1\r\n"), "CLOSED a handshake packet of 18245 bytes, expected "
					       "1 to 512: not an Erlang node?\n" },
		{ BYTES("\0\0"), "CLOSED a handshake packet of 0 bytes, expected 1 to 512: not an "
				 "Erlang node?\n" },
		{ BYTES("\2\1"), "CLOSED a handshake packet of 513 bytes, expected 1 to 512: not "
				 "an Erlang node?\n" },
		{ BYTES("\0\3\x80\"x"),
		  "CLOSED the first packet is \"\\x80\"x\", expected a name ('N' or 'n')\n" },
		{ BYTES("\0\1N"),
		  "CLOSED the first packet is \"N\", expected a name ('N' or 'n')\n" },
		{ BYTES("\0\x0fN\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), /* announces a byte that is not there */
		  "CLOSED the first packet is "
		  "\"N\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
		  "\\x00\\x00\\x01\", expected a name ('N' or 'n')\n" },
		{ BYTES("\0\7n\0\4\0\0\0\0"),
		  "CLOSED handshake version 4, expected 5 or higher\n" },
	};

	hears(dist_accept(&test_config, 1), rows[_i].bytes.at, rows[_i].bytes.len, rows[_i].events,
	      "", 0);
}
END_TEST

START_TEST(a_name_that_cannot_be_one_is_refused)
{
	static const char *const bad[] = {
		"", "a", "@", "@b", "a@", "a@b@c", "a b@c", "a@b\x7f", "a@b\n", "\xc3\xa9@b",
	};
	char name[300], events[512];
	uint8_t packet[400];
	size_t len;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const char *shown = i == 7   ? "a@b\\x7f"
				    : i == 8 ? "a@b\\x0a"
				    : i == 9 ? "\\xc3\\xa9@b"
					     : bad[i];

		ck_assert(!dist_name_ok(bad[i], strlen(bad[i])));
		len = name_packet(packet, 'N', test_config.flags, bad[i]);
		snprintf(events, sizeof events,
			 "CLOSED the peer calls itself \"%s\" (%zu bytes), expected name@host in "
			 "at most "
			 "255 printable bytes\n",
			 shown, strlen(bad[i]));
		hears(dist_accept(&test_config, 1), packet, len, events, "", 0);
	}
	memset(name, 'n', sizeof name);
	name[1] = '@';
	name[255] = '\0';
	ck_assert(dist_name_ok(name, 255));
	name[255] = 'n', name[256] = '\0';
	ck_assert(!dist_name_ok(name, 256));
	ck_assert(!dist_name_ok("a@b\0c", 5));
	len = name_packet(packet, 'N', test_config.flags, name);
	snprintf(events, sizeof events,
		 "CLOSED the peer calls itself \"n@%.62s...\" (256 bytes), "
		 "expected name@host in at most 255 printable bytes\n",
		 name + 2);
	hears(dist_accept(&test_config, 1), packet, len, events, "", 0);
}
END_TEST

START_TEST(a_peer_that_asks_for_a_name_is_told_not_allowed)
{
	uint8_t packet[64];
	size_t len = name_packet(packet, 'N', test_config.flags | UINT64_C(1) << 33, "host");

	hears(dist_accept(&test_config, 1), packet, len,
	      "CLOSED the peer asks for a name (dynamic node name), which we do not give: it must "
	      "have "
	      "its own\n",
	      NOT_ALLOWED, sizeof NOT_ALLOWED - 1);
}
END_TEST

/* OTP 23 and 24 call like that when epmd has not told them our version. */
START_TEST(the_old_first_packet_is_completed_by_a_complement)
{
	struct dist *d = dist_accept(&test_config, OUR_CHALLENGE);
	struct lines l = { 0 };
	struct buf b = { 0 };
	uint8_t packet[64], digest[DIST_DIGEST_LEN];
	size_t len = name_packet(packet, 'n', test_config.flags & UINT32_MAX, "old@host");

	ck_assert_ptr_nonnull(d);
	ck_assert(dist_digest("krait", OUR_CHALLENGE, digest));
	buf_put(&b, packet, len);
	buf_put(&b,
		"\0\x09"
		"c\0\0\0\5\0\0\1\2"
		"\0\x15r\0\0\0\1",
		18);
	buf_put(&b, digest, sizeof digest);
	for (size_t i = 0; i < b.len; i++)
		ck_assert(feed(d, b.data + i, 1, 1, &l));
	ck_assert_str_eq(text_of(&l), "NAME old@host\nUP old@host\n");
	ck_assert_uint_eq(dist_peer_creation(d), 0x102);
	ck_assert_uint_eq(dist_peer_flags(d), test_config.flags);
	buf_free(&l.text);
	dist_free(d);

	/* the upper flags are missing */
	b.data[len + 6] = 1;
	d = dist_accept(&test_config, OUR_CHALLENGE);
	ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
	ck_assert_str_eq(text_of(&l), "NAME old@host\n" LACKS "V4_NC, OTP 25 or newer is expected "
				      "(it announced 0x107074fbc)\n");
	buf_free(&l.text);
	dist_free(d);

	/* no complement */
	b.data[len + 2] = 'r';
	d = dist_accept(&test_config, OUR_CHALLENGE);
	ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
	ck_assert_str_eq(text_of(&l),
			 "NAME old@host\nCLOSED \"r\\x00\\x00\\x00\\x01\\x00\\x00\\x01\\x02\" "
			 "after our challenge, expected a complement ('c')\n");
	buf_free(&l.text);
	dist_free(d);
	buf_free(&b);

	/* too old for version 6 */
	len = name_packet(packet, 'n', test_config.flags & UINT32_MAX & ~UINT32_C(0x5000000),
			  "old@host");
	packet[5] &= (uint8_t)~5u;
	hears(dist_accept(&test_config, 1), packet, len,
	      LACKS "HANDSHAKE_23, OTP 25 or newer is expected (it announced 0x2074fbc)\n",
	      NOT_ALLOWED, sizeof NOT_ALLOWED - 1);
}
END_TEST

START_TEST(an_acceptor_refuses_what_does_not_belong_to_its_step)
{
	static const struct {
		enum dist_status status;
		struct span bytes;
		const char *why;
	} rows[] = {
		{ DIST_ALIVE, BYTES("\0\6sfalse"), "old@host keeps its old connection" },
		{ DIST_ALIVE, BYTES("\0\3sok"),
		  "\"sok\" after our status alive, expected strue or sfalse" },
		{ DIST_OK, BYTES("\0\3sok"),
		  "\"sok\" after our challenge, expected a reply ('r', 21 bytes)" },
		{ DIST_OK, BYTES("\0\x14r0123456789012345678"),
		  "\"r0123456789012345678\" after our challenge, expected a reply ('r', 21 "
		  "bytes)" },
		{ DIST_OK, BYTES("\0\x16r012345678901234567890"),
		  "\"r012345678901234567890\" after our challenge, expected a reply ('r', 21 "
		  "bytes)" },
		{ DIST_OK, BYTES("\0\x15r01234567890123456789"),
		  "wrong cookie: the answer of old@host to our challenge is not what our cookie "
		  "makes of "
		  "it" },
	};
	struct dist *d = dist_accept(&test_config, OUR_CHALLENGE);
	struct lines l = { 0 };
	struct dist_event ev;
	uint8_t packet[64], *to;
	size_t len = name_packet(packet, 'N', test_config.flags, "old@host"), room;

	ck_assert_ptr_nonnull(d);
	ck_assert_ptr_nonnull(to = dist_room(d, &room));
	memcpy(to, packet, len);
	dist_received(d, len);
	ck_assert(dist_next(d, &ev));
	ck_assert_int_eq(ev.type, DIST_EV_NAME);
	ck_assert(!dist_next(d, &ev)); /* nothing happens before the answer */
	dist_answer_name(d, rows[_i].status);
	ck_assert(feed(d, rows[_i].bytes.at, rows[_i].bytes.len, SIZE_MAX, &l));
	then_closed(&l, rows[_i].why);
	/* what comes after the end is dropped, without a second end */
	ck_assert(feed(d, packet, len, 1, &l));
	ck_assert_int_eq(l.closed, 1);
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

/* What a caller hears, packet by packet; the last one is refused. `N` is the challenge of a good peer. */
#define CHALLENGE(name_len, name) "N\0\0\0\x05\x07\x07\x4f\xbc\0\0\0\1\0\0\0\2\0" name_len name

START_TEST(an_initiator_refuses_what_does_not_belong_to_its_step)
{
	static const struct {
		struct span bytes;
		const char *why;
	} rows[] = {
		{ BYTES("\0\x04true"), "\"true\" as first answer, expected a status ('s')" },
		{ BYTES("\0\1s"), "a@b answers with status \"\": expected ok, ok_simultaneous, "
				  "nok, alive or not_allowed" },
		{ BYTES("\0\4sokk"),
		  "a@b answers with status \"okk\": expected ok, ok_simultaneous, nok, alive or "
		  "not_allowed" },
		{ BYTES("\0\x0fsnamed:\0\2x@\0\0\0\1"),
		  "a@b answers with status \"named:\\x00\\x02x@\\x00\\x00\\x00\\x01\": it gives us "
		  "a name "
		  "that we did not ask for" },
		{ BYTES("\2\0snamed:"), NULL }, /* waits: within the bound */
		{ BYTES("\2\1snamed:"),
		  "a handshake packet of 513 bytes, expected 1 to 512: not an Erlang node?" },
		{ BYTES("\0\3sok\0\3n\0\5"),
		  "\"n\\x00\\x05\" after the status, expected a challenge of version 6 ('N')" },
		{ BYTES("\0\3sok\0\x16" CHALLENGE("\4", "a@b")), /* one byte short of the name */
		  "\"N\\x00\\x00\\x00\\x05\\x07\\x07O\\xbc\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x02"
		  "\\x00\\x04"
		  "a@b\" after the status, expected a challenge of version 6 ('N')" },
		{ BYTES("\0\3sok\0\x16" CHALLENGE("\3", "a@c")),
		  "the node there is \"a@c\", expected a@b" },
		{ BYTES("\0\3sok\0\x17" CHALLENGE("\4", "a@bc")),
		  "the node there is \"a@bc\", expected a@b" },
		{ BYTES("\0\3sok\0\x15" CHALLENGE("\2", "a@")),
		  "the node there is \"a@\", expected a@b" },
		{ BYTES("\0\3sok\0\x16N\0\0\0\x05\0\0\0\0\0\0\0\1\0\0\0\2\0\3"
			"a@b"),
		  "the peer lacks the flags EXTENDED_REFERENCES, FUN_TAGS, "
		  "NEW_FUN_TAGS, EXTENDED_PIDS_PORTS, EXPORT_PTR_TAG, BIT_BINARIES, NEW_FLOATS, "
		  "UTF8_ATOMS, MAP_TAG, BIG_CREATION, HANDSHAKE_23, UNLINK_ID, OTP 25 or newer is "
		  "expected "
		  "(it announced 0x500000000)" },
		{ BYTES("\0\3sok\0\x16" CHALLENGE("\3", "a@b") "\0\x10"
							       "a0123456789abcde"),
		  "\"a0123456789abcde\" after our reply, expected an acknowledgement ('a', 17 "
		  "bytes)" },
		{ BYTES("\0\3sok\0\x16" CHALLENGE("\3", "a@b") "\0\x11"
							       "a0123456789abcdef"),
		  "wrong cookie: the answer of a@b to our challenge is not what our cookie makes "
		  "of it" },
	};
	struct dist *d = dist_connect(&test_config, "a@b", OUR_CHALLENGE);
	struct lines l = { 0 };

	ck_assert_ptr_nonnull(d);
	ck_assert(feed(d, rows[_i].bytes.at, rows[_i].bytes.len, 1, &l));
	if (rows[_i].why != NULL)
		then_closed(&l, rows[_i].why);
	else
		ck_assert_str_eq(text_of(&l), "");
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(a_refusal_without_memory_for_its_status_still_closes)
{
	struct dist *d = dist_accept(&test_config, OUR_CHALLENGE);
	struct lines l = { 0 };
	uint8_t packet[64], *to;
	size_t len = name_packet(packet, 'N', test_config.flags, OUR_NAME), room;

	ck_assert_ptr_nonnull(d);
	ck_assert_ptr_nonnull(to = dist_room(d, &room));
	ck_assert_int_eq(buf_reserve(&l.text, 1024), 0);
	memcpy(to, packet, len);
	dist_received(d, len);
	mem_fail_after = 0;
	pump(d, &l, DIST_OK);
	ck_assert_int_eq(mem_fail_after, -1);
	then_closed(&l, "no memory for a packet of the handshake");
	buf_free(&l.text);
	dist_free(d);
}
END_TEST

START_TEST(a_peer_that_floods_before_it_has_a_status_is_refused)
{
	struct dist *d = dist_accept(&test_config, OUR_CHALLENGE);
	uint8_t packet[64], *to;
	size_t len = name_packet(packet, 'N', test_config.flags, "a@b"), room;
	struct dist_event ev;

	ck_assert_ptr_nonnull(d);
	ck_assert_ptr_nonnull(to = dist_room(d, &room));
	memset(to, 0, room);
	memcpy(to, packet, len);
	dist_received(d, len + DIST_PACKET_MAX + 1);
	ck_assert(dist_next(d, &ev));
	ck_assert_int_eq(ev.type, DIST_EV_NAME);
	ck_assert(dist_next(d, &ev)); /* not answered: the owner takes its time */
	ck_assert_int_eq(ev.type, DIST_EV_CLOSED);
	ck_assert_str_eq(ev.why, "513 bytes before the status of the handshake");
	dist_answer_name(d, DIST_OK);
	ck_assert(!dist_next(d, &ev));
	dist_free(d);
}
END_TEST

static void add(TCase *t)
{
	tcase_add_test(t, a_peer_without_a_required_flag_is_told_not_allowed);
	tcase_add_test(t, the_shorthand_flag_stands_for_all_that_otp_25_demands);
	tcase_add_loop_test(t, a_first_packet_that_is_no_name_is_refused_with_what_came, 0, 7);
	tcase_add_test(t, a_name_that_cannot_be_one_is_refused);
	tcase_add_test(t, a_peer_that_asks_for_a_name_is_told_not_allowed);
	tcase_add_test(t, the_old_first_packet_is_completed_by_a_complement);
	tcase_add_loop_test(t, an_acceptor_refuses_what_does_not_belong_to_its_step, 0, 6);
	tcase_add_loop_test(t, an_initiator_refuses_what_does_not_belong_to_its_step, 0, 14);
	tcase_add_test(t, a_refusal_without_memory_for_its_status_still_closes);
	tcase_add_test(t, a_peer_that_floods_before_it_has_a_status_is_refused);
}

int main(void)
{
	return run_suite("dist_refusals", add);
}
