/* check_dist_handshake.c - two of our own connections meet: every status, cookie and name. */
#include "check_dist.h"

/* Moves what `from` has to send to `to`, at most `piece` bytes at a time. */
static bool carry(struct dist *from, struct dist *to, size_t piece, struct lines *l,
		  enum dist_status status)
{
	struct buf *out = dist_output(from);
	bool any = out->len > 0;

	while (out->len > 0) {
		size_t room, n = out->len < piece ? out->len : piece;
		uint8_t *p = dist_room(to, &room);

		ck_assert_ptr_nonnull(p);
		memcpy(p, out->data, n);
		buf_consume(out, n);
		dist_received(to, n);
		pump(to, l, status);
	}
	return any;
}

/* An initiator and an acceptor talk until both are silent. */
struct pair {
	struct dist *caller, *callee;
	struct lines heard_by_caller, heard_by_callee;
};

static struct pair meet(const struct dist_config *caller, const struct dist_config *callee,
			const char *asked_for, size_t piece, enum dist_status status)
{
	struct pair p = {
		.caller = dist_connect(caller, asked_for, 1),
		.callee = dist_accept(callee, 0xffffffff),
	};

	ck_assert_ptr_nonnull(p.caller);
	ck_assert_ptr_nonnull(p.callee);
	pump(p.caller, &p.heard_by_caller, status);
	while (carry(p.caller, p.callee, piece, &p.heard_by_callee, status) ||
	       carry(p.callee, p.caller, piece, &p.heard_by_caller, status))
		;
	return p;
}

static void part(struct pair *p)
{
	dist_free(p->caller);
	dist_free(p->callee);
	buf_free(&p->heard_by_caller.text);
	buf_free(&p->heard_by_callee.text);
}

static struct dist_config named(const char *name)
{
	struct dist_config config = test_config;

	config.name = name;
	config.creation = 99;
	return config;
}

START_TEST(two_of_us_meet_whatever_the_pieces)
{
	static const enum dist_status good[] = { DIST_OK, DIST_OK_SIMULTANEOUS, DIST_ALIVE };
	struct dist_config other = named("other@host");

	for (size_t piece = 1; piece < 40; piece++) {
		struct pair p = meet(&other, &test_config, OUR_NAME, piece, good[_i]);

		ck_assert_str_eq(text_of(&p.heard_by_caller), "UP " OUR_NAME "\n");
		ck_assert_str_eq(text_of(&p.heard_by_callee), "NAME other@host\nUP other@host\n");
		ck_assert_uint_eq(dist_peer_creation(p.caller), OUR_CREATION);
		ck_assert_uint_eq(dist_peer_creation(p.callee), 99);
		ck_assert_uint_eq(dist_peer_flags(p.callee), test_config.flags);
		ck_assert_int_eq(dist_state(p.caller), DIST_CONNECTED);
		ck_assert_int_eq(dist_state(p.callee), DIST_CONNECTED);
		part(&p);
	}
}
END_TEST

START_TEST(a_status_that_refuses_ends_both_sides)
{
	static const struct {
		enum dist_status status;
		const char *caller, *callee;
	} rows[] = {
		{ DIST_NOK,
		  "CLOSED " OUR_NAME
		  " answers with status \"nok\": it is connecting to us itself\n",
		  "NAME other@host\n"
		  "CLOSED we are connecting to other@host ourselves (told it nok)\n" },
		{ DIST_NOT_ALLOWED,
		  "CLOSED " OUR_NAME
		  " answers with status \"not_allowed\": it does not allow us, or "
		  "misses flags of ours\n",
		  "NAME other@host\nCLOSED other@host is not allowed here\n" },
	};
	struct dist_config other = named("other@host");
	struct pair p = meet(&other, &test_config, OUR_NAME, 7, rows[_i].status);

	ck_assert_str_eq(text_of(&p.heard_by_caller), rows[_i].caller);
	ck_assert_str_eq(text_of(&p.heard_by_callee), rows[_i].callee);
	ck_assert_int_eq(dist_state(p.caller), DIST_DEAD);
	ck_assert_int_eq(dist_state(p.callee), DIST_DEAD);
	ck_assert_int_eq(dist_told_nok(p.caller), rows[_i].status == DIST_NOK);
	part(&p);
}
END_TEST

START_TEST(a_wrong_cookie_is_refused_and_learns_nothing)
{
	struct dist_config other = named("other@host");
	struct pair p;

	other.cookie = "krait2";
	p = meet(&other, &test_config, OUR_NAME, SIZE_MAX, DIST_OK);
	ck_assert_str_eq(
		text_of(&p.heard_by_callee),
		"NAME other@host\nCLOSED wrong cookie: the answer of other@host to our challenge "
		"is not what our cookie makes of it\n");
	/* no 'a': the caller would otherwise hold a digest of its challenge and our cookie */
	ck_assert_str_eq(text_of(&p.heard_by_caller), "");
	ck_assert_ptr_nonnull(strstr(dist_awaits(p.caller), "found our cookie wrong"));
	part(&p);
}
END_TEST

START_TEST(whoever_calls_and_finds_another_node_leaves)
{
	struct dist_config other = named("other@host"), twin = named(OUR_NAME);
	struct pair p = meet(&other, &test_config, "krait@elsewhere", SIZE_MAX, DIST_OK);

	ck_assert_str_eq(text_of(&p.heard_by_caller),
			 "CLOSED the node there is \"" OUR_NAME "\", expected krait@elsewhere\n");
	part(&p);

	p = meet(&twin, &test_config, "krait@elsewhere", SIZE_MAX, DIST_OK);
	ck_assert_str_eq(text_of(&p.heard_by_callee),
			 "CLOSED the peer has our own name, " OUR_NAME "\n");
	ck_assert_ptr_nonnull(strstr(text_of(&p.heard_by_caller), "\"not_allowed\""));
	part(&p);

	p = meet(&twin, &test_config, OUR_NAME, SIZE_MAX, DIST_OK);
	ck_assert_str_eq(text_of(&p.heard_by_caller), "CLOSED cannot connect to \"" OUR_NAME
						      "\": expected name@host of another node\n");
	part(&p);
}
END_TEST

START_TEST(a_digest_is_md5_of_cookie_and_decimal_challenge)
{
	/* computed with hashlib.md5((cookie + str(challenge)).encode()) */
	static const struct {
		const char *cookie;
		uint32_t challenge;
		const char *hex;
	} rows[] = {
		{ "krait", 0, "9ee081de30131d6e2fd2eb61d1ad8af5" },
		{ "krait", 4294967295, "3414d076a78374a24244c34802407448" },
		{ "", 2147483648, "1c1e49593eb42984e9e470e8a09c9f55" },
		{ "WPKYDIOSJIMJUURLRUHV", 1802658153, "8d1bb1ab2f3ce53a3090896efea4c9f0" },
	};
	uint8_t digest[DIST_DIGEST_LEN];
	char hex[2 * DIST_DIGEST_LEN + 1];

	ck_assert(dist_digest(rows[_i].cookie, rows[_i].challenge, digest));
	for (size_t i = 0; i < sizeof digest; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
	ck_assert_str_eq(hex, rows[_i].hex);
}
END_TEST

START_TEST(a_proof_is_wrong_if_one_bit_of_it_is)
{
	struct buf b = { 0 };

	peer_handshake(&b);
	for (size_t bit = 0; bit < 8 * DIST_DIGEST_LEN; bit++) {
		struct dist *d = dist_accept(&test_config, OUR_CHALLENGE);
		struct lines l = { 0 };

		ck_assert_ptr_nonnull(d);
		b.data[b.len - 1 - bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
		ck_assert_ptr_nonnull(strstr(text_of(&l), "CLOSED wrong cookie"));
		b.data[b.len - 1 - bit / 8] ^= (uint8_t)(1u << bit % 8);
		buf_free(&l.text);
		dist_free(d);
	}
	buf_free(&b);
}
END_TEST

START_TEST(a_caller_that_hears_alive_says_true)
{
	static const char spoken[] =
		"\0\x1dN\0\0\0\x05\x07\x07\x4f\xbc\x12\x34\xab\xcd\0\x0f" OUR_NAME;
	struct dist *d = dist_connect(&test_config, "a@b", OUR_CHALLENGE);
	struct lines l = { 0 };
	struct buf *out;

	ck_assert_ptr_nonnull(d);
	out = dist_output(d);
	ck_assert_uint_eq(out->len, 2 + 15 + strlen(OUR_NAME));
	ck_assert_mem_eq(out->data + 2, spoken + 2, out->len - 2);
	buf_consume(out, out->len);
	ck_assert(feed(d, "\0\6salive", 8, 1, &l));
	ck_assert_uint_eq(out->len, 7);
	ck_assert_mem_eq(out->data, "\0\5strue", 7);
	ck_assert_str_eq(text_of(&l), "");
	dist_free(d);
	buf_free(&l.text);
}
END_TEST

START_TEST(the_status_is_the_one_that_otp_would_answer)
{
	/* nothing with that peer */
	ck_assert_int_eq(dist_status_for("b@h", "a@h", false, false, false), DIST_OK);
	/* up: the same incarnation must say that it knows; a new one replaces the old */
	ck_assert_int_eq(dist_status_for("b@h", "a@h", true, true, false), DIST_ALIVE);
	ck_assert_int_eq(dist_status_for("b@h", "a@h", true, false, false), DIST_OK);
	ck_assert_int_eq(dist_status_for("b@h", "a@h", true, true, true), DIST_ALIVE);
	/* both dial: the call of the greater name goes on */
	ck_assert_int_eq(dist_status_for("b@h", "c@h", false, false, true), DIST_OK_SIMULTANEOUS);
	ck_assert_int_eq(dist_status_for("b@h", "a@h", false, false, true), DIST_NOK);
}
END_TEST

START_TEST(no_memory_in_the_handshake_closes_with_a_reason)
{
	struct dist_config other = named("other@host");
	bool failed = true;

	for (long n = 0; failed; n++) {
		struct dist *caller, *callee;
		struct lines l = { 0 };

		ck_assert_int_lt(n, 100);
		ck_assert_int_eq(buf_reserve(&l.text, 4096), 0);
		mem_fail_after = n;
		callee = dist_accept(&test_config, 5);
		caller = dist_connect(&other, OUR_NAME, 6);
		for (int turn = 0; caller != NULL && callee != NULL && turn < 8; turn++) {
			struct dist *from = turn % 2 ? callee : caller,
				    *to = turn % 2 ? caller : callee;
			struct buf *out = dist_output(from);

			if (!feed(to, out->data, out->len, SIZE_MAX, &l))
				break;
			buf_free(out);
		}
		failed = mem_fail_after < 0;
		mem_fail_after = -1;
		if (!failed)
			ck_assert_str_eq(text_of(&l),
					 "NAME other@host\nUP other@host\nUP " OUR_NAME "\n");
		else if (l.closed > 0)
			ck_assert_ptr_nonnull(strstr(text_of(&l), "CLOSED no memory for a packet"));
		dist_free(caller);
		dist_free(callee);
		buf_free(&l.text);
	}
}
END_TEST

static void add(TCase *t)
{
	tcase_add_loop_test(t, two_of_us_meet_whatever_the_pieces, 0, 3);
	tcase_add_loop_test(t, a_status_that_refuses_ends_both_sides, 0, 2);
	tcase_add_test(t, a_wrong_cookie_is_refused_and_learns_nothing);
	tcase_add_test(t, whoever_calls_and_finds_another_node_leaves);
	tcase_add_loop_test(t, a_digest_is_md5_of_cookie_and_decimal_challenge, 0, 4);
	tcase_add_test(t, a_proof_is_wrong_if_one_bit_of_it_is);
	tcase_add_test(t, a_caller_that_hears_alive_says_true);
	tcase_add_test(t, the_status_is_the_one_that_otp_would_answer);
	tcase_add_test(t, no_memory_in_the_handshake_closes_with_a_reason);
}

int main(void)
{
	return run_suite("dist_handshake", add);
}
