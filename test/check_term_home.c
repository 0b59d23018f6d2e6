/* check_term_home.c - what a BEAM can read as one of its own identifiers. The rows of the narrow ones are what
 * binary_to_term/1 of OTP 25.2 says of such terms of its own node. */
#include "term_home.h"

#include "suite.h"
#include "term_given.h"

#define OURS   "00 00 00 63" /* the creation of the connection */
#define PAIR   OURS " 00 00 00 02 00 00 00 03"
#define OTHERS " 77 07 'a@elsew'"

static struct term_home given_home(enum term_ids ids)
{
	return (struct term_home){ .node = "a@host", .node_len = 6, .creation = 0x63, .ids = ids };
}

static const struct row {
	const char *hex;
	bool narrow, wide;
} rows[] = {
	/* pids: id, serial */
	{ "58" NODE "00 00 7f ff 00 00 1f ff" OURS, true, true },
	{ "58" NODE "00 00 80 00 00 00 00 00" OURS, false, true },
	{ "58" NODE "00 00 00 01 00 00 20 00" OURS, false, true },
	{ "58" NODE "0f ff ff ff ff ff ff ff" OURS, false, true },
	{ "58" NODE "10 00 00 00 00 00 00 00" OURS, false, false },
	{ "58 64 00 06 'a@host' 10 00 00 00 00 00 00 00" OURS, false, false },
	{ "58" NODE "10 00 00 00 00 00 00 00 00 00 00 64", true, true }, /* of an earlier life */
	{ "58" NODE "10 00 00 00 00 00 00 00 00 00 00 00", true, true },
	{ "58" OTHERS "ff ff ff ff ff ff ff ff" OURS, true, true },
	{ "67" NODE "10 00 00 00 00 00 00 00 03", true, true }, /* a creation of two bits */
	/* ports: id */
	{ "59" NODE "0f ff ff ff" OURS, true, true },
	{ "59" NODE "10 00 00 00" OURS, false, true },
	{ "78" NODE "00 00 00 00 0f ff ff ff" OURS, true, true },
	{ "78" NODE "00 00 00 00 10 00 00 00" OURS, false, true },
	{ "78" NODE "10 00 00 00 00 00 00 00" OURS, false, false },
	{ "78" NODE "10 00 00 00 00 00 00 00 00 00 00 64", true, true },
	{ "66" NODE "10 00 00 00 01", true, true },
	/* references: words, the first of them */
	{ "5a 00 03" NODE OURS "00 03 ff ff ff ff ff ff ff ff ff ff", true, true },
	{ "5a 00 03" NODE OURS "00 04 00 00 00 00 00 02 00 00 00 03", false, false },
	{ "5a 00 05" NODE OURS "00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00 05", false,
	  true },
	{ "5a 00 03" NODE "00 00 00 64 00 04 00 00 00 00 00 02 00 00 00 03", true, true },
	{ "5a 00 03" OTHERS OURS "ff ff ff ff 00 00 00 02 00 00 00 03", true, true },
	{ "72 00 03" NODE "01 00 00 00 01 00 00 00 02 00 00 00 03", true, true },
	/* wherever they stand */
	{ "68 02 61 01 58" NODE "10 00 00 00 00 00 00 00" OURS, false, false },
	{ "6c 00 00 00 01 61 01 58" NODE "10 00 00 00 00 00 00 00" OURS, false, false },
	{ "74 00 00 00 01 61 01 58" NODE "10 00 00 00 00 00 00 00" OURS, false, false },
	{ "74 00 00 00 01 58" NODE "10 00 00 00 00 00 00 00" OURS "61 01", false, false },
	{ "6d 00 00 00 15 58" NODE "10 00 00 00 00 00 00 00" OURS, true, true },
	/* a fun: who made it, and what it has with it */
	{ "70 00 00 00 48 00 65 36 1a a4 61 59 0d 1b df 1e b6 2d 1a 6e b0 80 00 00 00 2b 00 00 00 "
	  "01 77 08 'erl_eval' 61 2b 62 00 32 9b 0d 58" NODE "10 00 00 09 00 00 00 00" OURS
	  "74 00 00 00 00",
	  false, false },
	{ "68 02 70 00 00 00 58 00 65 36 1a a4 61 59 0d 1b df 1e b6 2d 1a 6e b0 80 00 00 00 2b 00 "
	  "00 "
	  "00 01 77 08 'erl_eval' 61 2b 62 00 32 9b 0d 58" NODE "00 00 00 09 00 00 00 00" OURS
	  "58" NODE "00 00 80 00 00 00 00 00" OURS "61 01",
	  false, true },
};

START_TEST(a_term_is_read_by_the_node_that_could_have_made_what_it_names)
{
	const struct row *row = &rows[_i];
	struct buf b = { 0 };
	size_t used;
	struct term_home narrow = given_home(TERM_IDS_NARROW), wide = given_home(TERM_IDS_WIDE),
			 unknown = given_home(TERM_IDS_UNKNOWN);

	put_hex(&b, row->hex);
	ck_assert_msg(term_check(b.data, b.len, &used) == 0 && used == b.len, "%s", row->hex);
	ck_assert_msg(term_home_reads(&narrow, b.data) == row->narrow, "narrow: %s", row->hex);
	ck_assert_msg(term_home_reads(&wide, b.data) == row->wide, "wide: %s", row->hex);
	ck_assert_msg(term_home_reads(&unknown, b.data) == row->wide, "unknown: %s", row->hex);
	buf_free(&b);
}
END_TEST

START_TEST(what_names_no_identifier_of_the_node_is_read)
{
	struct buf b = { 0 };
	struct term_home home = { .node = "b@host", .node_len = 6, .creation = 0x63 };
	size_t used;

	put_hex(&b, samples[_i].hex);
	ck_assert_int_eq(term_check(b.data, b.len, &used), 0);
	ck_assert(term_home_reads(&home, b.data));
	buf_free(&b);
}
END_TEST

START_TEST(a_node_has_the_pids_of_this_life_alone)
{
	struct term_home home = given_home(TERM_IDS_NARROW);
	struct term_pid pid = { .node = "a@host", .node_len = 6, .id = 1, .creation = 0x63 };

	ck_assert(term_home_is(&home, &pid) && term_home_has(&home, &pid));
	pid.creation = 0x64;
	ck_assert(term_home_is(&home, &pid) && !term_home_has(&home, &pid));
	pid.creation = 0x63;
	pid.serial = 1 << 13;
	ck_assert(!term_home_has(&home, &pid));
	home.ids = TERM_IDS_UNKNOWN;
	ck_assert(term_home_has(&home, &pid));
	pid.id = 1 << 28;
	ck_assert(!term_home_has(&home, &pid));
	pid = (struct term_pid){ .node = "a@hosts", .node_len = 7, .id = 1, .creation = 0x63 };
	ck_assert(!term_home_is(&home, &pid) && !term_home_has(&home, &pid));
}
END_TEST

START_TEST(the_age_of_a_node_is_seen_in_its_aliases)
{
	struct buf b = { 0 };

	put_hex(&b, "5a 00 03" NODE PAIR "00 00 00 04");
	ck_assert_int_eq(term_ids_of(b.data), TERM_IDS_NARROW);
	buf_reset(&b, 100);
	put_hex(&b, "5a 00 05" NODE PAIR "00 00 00 04 00 00 00 05 00 00 00 06");
	ck_assert_int_eq(term_ids_of(b.data), TERM_IDS_WIDE);
	buf_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("term_home");
	TCase *t = tcase_create("term_home");

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, a_term_is_read_by_the_node_that_could_have_made_what_it_names, 0,
			    sizeof rows / sizeof rows[0]);
	tcase_add_loop_test(t, what_names_no_identifier_of_the_node_is_read, 0, SAMPLES);
	tcase_add_test(t, a_node_has_the_pids_of_this_life_alone);
	tcase_add_test(t, the_age_of_a_node_is_seen_in_its_aliases);
	return run(s);
}
