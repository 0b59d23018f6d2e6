/* check_dist.c - frames and control messages of a peer that is up: every operation, what is malformed,
 * what is too long, and what the buffers do. */
#include "check_dist.h"

/* How a control message is built and what must come of it. Elements by letter: f, t pids of the peer and
 * ours; n name; r reference; e ''; k trace token; w reason; m MFA; o options; u v unlink ids; i 3. */
static const struct row {
	int op;
	const char *elements, *name;
	bool message;
	const char *expected;
} rows[] = {
#define F "from=beam@127.0.0.1/102.3.77"
#define T "to=krait@127.0.0.1/4096.1.305441741"
#define R "ref=#Ref<1.2.3>"
#define W "reason={shutdown, \"why\"}"
#define M "payload={hello, [1, 2]}"
	{ 1, "ft", "LINK", false, "LINK op=1 " F " " T },
	{ 2, "et", "SEND", true, "SEND op=2 " T " " M },
	{ 3, "ftw", "EXIT", false, "EXIT op=3 " F " " T " " W },
	{ 4, "ft", "UNLINK", false, "UNLINK op=4 " F " " T },
	{ 5, "", "NODE_LINK", false, "UNKNOWN op=5" },
	{ 6, "fen", "REG_SEND", true, "SEND op=6 " F " name=pool " M },
	{ 7, "ft", "GROUP_LEADER", false, "GROUP_LEADER op=7 " F " " T },
	{ 8, "ftw", "EXIT2", false, "EXIT2 op=8 " F " " T " " W },
	{ 12, "etk", "SEND_TT", true, "SEND op=12 " T " " M },
	{ 13, "ftkw", "EXIT_TT", false, "EXIT op=13 " F " " T " " W },
	{ 16, "fenk", "REG_SEND_TT", true, "SEND op=16 " F " name=pool " M },
	{ 18, "ftkw", "EXIT2_TT", false, "EXIT2 op=18 " F " " T " " W },
	{ 19, "ftr", "MONITOR_P", false, "MONITOR op=19 " F " " T " " R },
	{ 19, "fnr", "MONITOR_P", false, "MONITOR op=19 " F " name=pool " R },
	{ 20, "ftr", "DEMONITOR_P", false, "DEMONITOR op=20 " F " " T " " R },
	{ 20, "fnr", "DEMONITOR_P", false, "DEMONITOR op=20 " F " name=pool " R },
	{ 21, "ftrw", "MONITOR_P_EXIT", false, "DOWN op=21 " F " " T " " R " " W },
	{ 21, "ntrw", "MONITOR_P_EXIT", false, "DOWN op=21 " T " name=pool " R " " W },
	{ 22, "ft", "SEND_SENDER", true, "SEND op=22 " F " " T " " M },
	{ 23, "ftk", "SEND_SENDER_TT", true, "SEND op=23 " F " " T " " M },
	{ 24, "ft", "PAYLOAD_EXIT", true, "EXIT op=24 " F " " T " reason={hello, [1, 2]}" },
	{ 25, "ftk", "PAYLOAD_EXIT_TT", true, "EXIT op=25 " F " " T " reason={hello, [1, 2]}" },
	{ 26, "ft", "PAYLOAD_EXIT2", true, "EXIT2 op=26 " F " " T " reason={hello, [1, 2]}" },
	{ 27, "ftk", "PAYLOAD_EXIT2_TT", true, "EXIT2 op=27 " F " " T " reason={hello, [1, 2]}" },
	{ 28, "ftr", "PAYLOAD_MONITOR_P_EXIT", true,
	  "DOWN op=28 " F " " T " " R " reason={hello, [1, 2]}" },
	{ 28, "ntr", "PAYLOAD_MONITOR_P_EXIT", true,
	  "DOWN op=28 " T " name=pool " R " reason={hello, [1, 2]}" },
	{ 29, "rffmo", "SPAWN_REQUEST", true,
	  "SPAWN op=29 " F " " R " mfa={erpc, execute_call, 4} opts=[monitor] payload=[1, 2]" },
	{ 30, "rffmok", "SPAWN_REQUEST_TT", true,
	  "SPAWN op=30 " F " " R " mfa={erpc, execute_call, 4} opts=[monitor] payload=[1, 2]" },
	{ 31, "rtif", "SPAWN_REPLY", false,
	  "SPAWN_REPLY op=31 " T " " R " reason=<beam@127.0.0.1.102.3>" },
	{ 32, "rtifk", "SPAWN_REPLY_TT", false,
	  "SPAWN_REPLY op=32 " T " " R " reason=<beam@127.0.0.1.102.3>" },
	{ 33, "fr", "ALIAS_SEND", true, "SEND op=33 " F " " R " " M },
	{ 34, "frk", "ALIAS_SEND_TT", true, "SEND op=34 " F " " R " " M },
	{ 35, "uft", "UNLINK_ID", false, "UNLINK op=35 " F " " T " unlink=7" },
	{ 35, "vft", "UNLINK_ID", false, "UNLINK op=35 " F " " T " unlink=18446744073709551615" },
	{ 36, "vft", "UNLINK_ID_ACK", false,
	  "UNLINK_ACK op=36 " F " " T " unlink=18446744073709551615" },
};

#define ROWS ((int)(sizeof rows / sizeof *rows))

static erlang_pid ei_pid(const char *node, unsigned id, unsigned serial, unsigned creation)
{
	erlang_pid pid = { .num = id, .serial = serial, .creation = creation };

	strcpy(pid.node, node);
	return pid;
}

/* With ei's encoder, which knows nothing of ours. */
static void put_with_ei(ei_x_buff *x, char element)
{
	erlang_pid from = ei_pid(PEER_NAME, 102, 3, 77),
		   to = ei_pid(OUR_NAME, 4096, 1, OUR_CREATION);
	erlang_ref ref = { .len = 3, .n = { 1, 2, 3 }, .creation = 77 };

	strcpy(ref.node, PEER_NAME);
	switch (element) {
	case 'f':
		ei_x_encode_pid(x, &from);
		break;
	case 't':
		ei_x_encode_pid(x, &to);
		break;
	case 'n':
		ei_x_encode_atom(x, "pool");
		break;
	case 'r':
		ei_x_encode_ref(x, &ref);
		break;
	case 'e':
		ei_x_encode_atom(x, "");
		break;
	case 'k':
		ei_x_format_wo_ver(x, "{~i,~i,~i,~p,~i}", 1, 17, 2, &from, 3);
		break;
	case 'w':
		ei_x_format_wo_ver(x, "{~a,~s}", "shutdown", "why");
		break;
	case 'm':
		ei_x_format_wo_ver(x, "{~a,~a,~i}", "erpc", "execute_call", 4);
		break;
	case 'o':
		ei_x_format_wo_ver(x, "[~a]", "monitor");
		break;
	case 'u':
		ei_x_encode_ulonglong(x, 7);
		break;
	case 'v':
		ei_x_encode_ulonglong(x, UINT64_MAX);
		break;
	case 'i':
		ei_x_encode_long(x, 3);
		break;
	default:
		ei_x_encode_double(x, 1.5);
		break;
	}
}

static void put_with_ours(struct buf *b, char element)
{
	const struct term_pid from = { PEER_NAME, sizeof PEER_NAME - 1, 102, 3, 77 };
	const struct term_pid to = { OUR_NAME, sizeof OUR_NAME - 1, 4096, 1, OUR_CREATION };

	switch (element) {
	case 'f':
		term_put_pid(b, &from);
		break;
	case 't':
		term_put_pid(b, &to);
		break;
	case 'n':
		term_put_atom(b, "pool");
		break;
	case 'r':
		buf_put(b, "Z\0\3", 3);
		term_put_atom(b, PEER_NAME);
		for (uint32_t word = 0; word < 4; word++)
			buf_put_u32(b, word == 0 ? 77 : word);
		break;
	case 'e':
		term_put_atom(b, "");
		break;
	case 'k':
		term_put_tuple(b, 5);
		for (const char *k = "iiifi"; *k != '\0'; k++)
			put_with_ours(b, *k);
		break;
	case 'w':
		term_put_tuple(b, 2);
		term_put_atom(b, "shutdown");
		buf_put(b, "k\0\3why", 6);
		break;
	case 'm':
		term_put_tuple(b, 3);
		term_put_atom(b, "erpc");
		term_put_atom(b, "execute_call");
		term_put_int(b, 4);
		break;
	case 'o':
		term_put_list(b, 1);
		term_put_atom(b, "monitor");
		term_put_nil(b);
		break;
	case 'u':
		term_put_uint(b, 7);
		break;
	case 'v':
		term_put_uint(b, UINT64_MAX);
		break;
	case 'i':
		term_put_int(b, 3);
		break;
	default:
		term_put_float(b, 1.5);
		break;
	}
}

/* A frame's bytes; `by_ei`: all terms of it by ei. */
static struct buf frame_of(int op, const char *elements, bool message, bool by_ei)
{
	struct buf b = { 0 };
	ei_x_buff x;

	buf_put(&b, "\0\0\0\0\x70\x83", 6);
	ck_assert_int_eq(ei_x_new(&x), 0);
	if (by_ei) {
		ei_x_encode_tuple_header(&x, (long)strlen(elements) + 1);
		ei_x_encode_long(&x, op);
	} else {
		term_put_tuple(&b, (uint32_t)strlen(elements) + 1);
		term_put_int(&b, op);
	}
	for (const char *e = elements; *e != '\0'; e++)
		by_ei ? put_with_ei(&x, *e) : put_with_ours(&b, *e);
	if (message) {
		bool args = op == 29 || op == 30;

		ei_x_append_buf(&x, "\x83", 1);
		ei_x_format_wo_ver(&x, args ? "[~i,~i]" : "{hello,[~i,~i]}", 1, 2);
	}
	buf_put(&b, x.buff, (size_t)x.index);
	ei_x_free(&x);
	put_u32(b.data, (uint32_t)b.len - 4);
	return b;
}

/* What a connected peer's bytes become. */
static void becomes(const struct buf *b, size_t piece, const char *expected)
{
	struct dist *d = connected(&test_config);
	struct lines l = { 0 };

	ck_assert(feed(d, b->data, b->len, piece, &l));
	if (strcmp(text_of(&l), expected) != 0)
		ck_abort_msg("pieces of %zu: found\n%sexpected\n%s", piece, text_of(&l), expected);
	buf_free(&l.text);
	dist_free(d);
}

START_TEST(every_operation_is_read_whoever_encoded_it)
{
	const struct row *row = &rows[_i];
	char expected[512];

	pretty = true;
	snprintf(expected, sizeof expected, "%s\n", row->expected);
	for (int by_ei = 0; by_ei < 2; by_ei++) {
		struct buf b = frame_of(row->op, row->elements, row->message, by_ei);

		for (size_t piece = 1; piece <= b.len; piece++)
			becomes(&b, piece, expected);
		buf_free(&b);
	}
}
END_TEST

START_TEST(an_element_of_the_wrong_kind_closes_with_its_place)
{
	const struct row *row = &rows[_i];
	size_t n = strlen(row->elements);

	for (size_t i = 0; i < n; i++) {
		char elements[16], place[80];
		struct dist *d = connected(&test_config);
		struct lines l = { 0 };
		struct buf b;
		bool any = strchr("ekw", row->elements[i]) != NULL ||
			   ((row->op == 31 || row->op == 32) && i == 3);

		strcpy(elements, row->elements);
		elements[i] = '?'; /* a float */
		b = frame_of(row->op, elements, row->message, true);
		ck_assert(feed(d, b.data, b.len, SIZE_MAX, &l));
		snprintf(place, sizeof place,
			 "CLOSED element %zu of control message %d (%s) is not ", i + 2, row->op,
			 row->name);
		ck_assert_msg((strncmp(text_of(&l), place, strlen(place)) == 0) == !any, "%s",
			      text_of(&l));
		buf_free(&b);
		buf_free(&l.text);
		dist_free(d);
	}
}
END_TEST

START_TEST(an_element_or_a_message_too_many_or_too_few_closes)
{
	const struct row *row = &rows[_i];
	size_t n = strlen(row->elements);
	char elements[16], expected[256];
	struct buf b;

	for (size_t arity = 1; arity <= 8; arity++) {
		if (arity == n + 1)
			continue;
		snprintf(elements, sizeof elements, "%.*s", (int)arity - 1, row->elements);
		while (strlen(elements) < arity - 1)
			strcat(elements, "i");
		b = frame_of(row->op, elements, row->message, true);
		snprintf(expected, sizeof expected,
			 "CLOSED control message %d (%s) has %zu elements, expected %zu\n", row->op,
			 row->name, arity, n + 1);
		becomes(&b, SIZE_MAX, expected);
		buf_free(&b);
	}
	b = frame_of(row->op, row->elements, false, true);
	n = b.len;
	buf_free(&b);
	b = frame_of(row->op, row->elements, !row->message, true);
	if (row->message)
		snprintf(expected, sizeof expected,
			 "CLOSED the message of control message %d (%s) is not a "
			 "well-formed term (0 bytes)\n",
			 row->op, row->name);
	else
		snprintf(expected, sizeof expected,
			 "CLOSED %zu bytes behind control message %d (%s), expected "
			 "none\n",
			 b.len - n, row->op, row->name);
	becomes(&b, SIZE_MAX, expected);
	buf_free(&b);

	b = frame_of(row->op, row->elements, row->message, true);
	buf_put_u8(&b, 131);
	put_u32(b.data, (uint32_t)b.len - 4);
	if (row->message)
		snprintf(expected, sizeof expected,
			 "CLOSED 1 bytes behind the message of control message %d "
			 "(%s)\n",
			 row->op, row->name);
	else
		snprintf(expected, sizeof expected,
			 "CLOSED 1 bytes behind control message %d (%s), expected "
			 "none\n",
			 row->op, row->name);
	becomes(&b, SIZE_MAX, expected);
	buf_free(&b);
}
END_TEST

START_TEST(a_frame_cut_short_inside_closes_wherever_it_is_cut)
{
	const struct row *row = &rows[_i];
	struct buf b = frame_of(row->op, row->elements, row->message, false);

	for (size_t len = 1; len < b.len - 4; len++) {
		struct dist *d = connected(&test_config);
		struct lines l = { 0 };

		put_u32(b.data, (uint32_t)len);
		ck_assert(feed(d, b.data, 4 + len, SIZE_MAX, &l));
		ck_assert_msg(l.closed == 1, "%zu bytes: %s", len, text_of(&l));
		ck_assert_uint_eq(dist_output(d)->len, 0);
		buf_free(&l.text);
		dist_free(d);
	}
	buf_free(&b);
}
END_TEST

static void add(TCase *t)
{
	tcase_add_loop_test(t, every_operation_is_read_whoever_encoded_it, 0, ROWS);
	tcase_add_loop_test(t, an_element_of_the_wrong_kind_closes_with_its_place, 0, ROWS);
	tcase_add_loop_test(t, an_element_or_a_message_too_many_or_too_few_closes, 0, ROWS);
	tcase_add_loop_test(t, a_frame_cut_short_inside_closes_wherever_it_is_cut, 0, ROWS);
}

int main(void)
{
	return run_suite("dist", add);
}
