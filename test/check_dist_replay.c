/* check_dist_replay.c - what real BEAMs of OTP 25 sent, replayed in every way it could arrive.
 *
 * test/data/dist/ has the bytes and, decoded independently by capture.py, what they mean. */
#include "check_dist.h"
#include "quick.h"

static const char *const streams[] = {
	"call", "signals", "spawn", "large", "payload", "trace", "ticks", "dial",
};

#define STREAMS ((int)(sizeof streams / sizeof *streams))

struct stream {
	struct buf bytes, events; /* events NUL-terminated */
	bool dial;
	uint64_t flags;
	const char *expected;
};

static void load(struct buf *b, const char *name, const char *ext)
{
	char path[256];
	FILE *f;
	int c;

	snprintf(path, sizeof path, "test/data/dist/%s.%s", name, ext);
	f = fopen(path, "rb");
	ck_assert_msg(f != NULL, "cannot open %s (run from the root of the repository)", path);
	while ((c = getc(f)) != EOF)
		buf_put_u8(b, (unsigned)c);
	fclose(f);
}

static struct stream load_stream(int i)
{
	struct stream s = { 0 };
	char *rest;

	load(&s.bytes, streams[i], "bin");
	load(&s.events, streams[i], "events");
	buf_put_u8(&s.events, 0);
	rest = (char *)s.events.data;
	s.dial = strncmp(rest, "connect", 7) == 0;
	s.flags = strtoull(strchr(rest, ' '), &rest, 16);
	s.expected = rest + 1;
	return s;
}

static void free_stream(struct stream *s)
{
	buf_free(&s->bytes);
	buf_free(&s->events);
}

static struct dist *open_stream(const struct stream *s)
{
	struct dist_config config = test_config;

	config.flags = s->flags;
	return s->dial ? dist_connect(&config, PEER_NAME, OUR_CHALLENGE)
		       : dist_accept(&config, OUR_CHALLENGE);
}

/* Replays the stream in two parts, each in pieces of at most `piece` bytes. */
static void replay(const struct stream *s, size_t split, size_t piece)
{
	struct dist *d = open_stream(s);
	struct lines l = { 0 };

	ck_assert_ptr_nonnull(d);
	ck_assert(feed(d, s->bytes.data, split, piece, &l));
	ck_assert(feed(d, s->bytes.data + split, s->bytes.len - split, piece, &l));
	if (strcmp(text_of(&l), s->expected) != 0)
		ck_abort_msg("split at %zu, pieces of %zu:\n%s\nexpected:\n%s", split, piece,
			     text_of(&l), s->expected);
	ck_assert_int_eq(dist_state(d), DIST_CONNECTED);
	buf_free(&l.text);
	dist_free(d);
}

START_TEST(a_captured_stream_is_what_it_says)
{
	struct stream s = load_stream(_i);

	replay(&s, 0, SIZE_MAX);
	free_stream(&s);
}
END_TEST

START_TEST(a_captured_stream_is_the_same_byte_by_byte)
{
	struct stream s = load_stream(_i);

	replay(&s, 0, 1);
	for (size_t piece = 2; piece < 5000; piece = piece * 3 / 2 + 1)
		replay(&s, 0, piece);
	free_stream(&s);
}
END_TEST

START_TEST(a_captured_stream_is_the_same_split_anywhere)
{
	struct stream s = load_stream(_i);
	/* the long one at every point of its beginning, then at every 997th */
	size_t step = quick() ? 97 : 1;

	for (size_t at = 0; at < s.bytes.len; at += step) {
		replay(&s, at, SIZE_MAX);
		if (at > 5000)
			step = quick() ? 9973 : 997;
	}
	free_stream(&s);
}
END_TEST

START_TEST(a_captured_stream_cut_off_anywhere_is_a_prefix_of_its_events)
{
	struct stream s = load_stream(_i);
	size_t most = s.bytes.len < 5000 ? s.bytes.len : 5000;

	for (size_t len = 0; len < most; len += quick() ? 41 : 1) {
		struct dist *d = open_stream(&s);
		struct lines l = { 0 };

		ck_assert_ptr_nonnull(d);
		ck_assert(feed(d, s.bytes.data, len, SIZE_MAX, &l));
		ck_assert(strncmp(s.expected, text_of(&l), l.text.len) == 0);
		ck_assert_int_eq(l.closed, 0);
		buf_free(&l.text);
		dist_free(d);
	}
	free_stream(&s);
}
END_TEST

START_TEST(a_garbled_stream_never_does_worse_than_close_once)
{
	struct stream s = load_stream(_i);
	unsigned seed = test_seed(streams[_i]);
	int closed = 0, rounds = s.bytes.len > 10000 ? 30 : quick() ? 60 : 1000;

	srand(seed);
	for (int round = 0; round < rounds; round++) {
		struct dist *d = open_stream(&s);
		struct lines l = { 0 };
		struct buf copy = { 0 };

		ck_assert_ptr_nonnull(d);
		buf_put(&copy, s.bytes.data, s.bytes.len);
		for (int n = rand() % 4; n >= 0; n--) {
			/* mostly behind the handshake, so that not only that is tried */
			size_t at = (size_t)rand() % copy.len, skip = rand() % 8 == 0 ? 0 : 60;

			at = at < skip ? at + skip : at;
			copy.data[at % copy.len] =
				(uint8_t)(rand() % 3 == 0 ? rand() % 3 - 1 : rand());
		}
		ck_assert(feed(d, copy.data, copy.len, (size_t)(rand() % 4096 + 1), &l));
		ck_assert_int_le(l.closed, 1);
		ck_assert_int_eq(l.closed, dist_state(d) == DIST_DEAD);
		closed += l.closed;
		buf_free(&copy);
		buf_free(&l.text);
		dist_free(d);
	}
	ck_assert_msg(closed > 0, "%d garbled streams, none refused", rounds);
	free_stream(&s);
}
END_TEST

START_TEST(random_bytes_never_do_worse_than_close_once)
{
	unsigned seed = test_seed("random bytes");

	srand(seed);
	for (int round = 0; round < (quick() ? 200 : 5000); round++) {
		struct dist *d = round % 2 ? connected(&test_config)
					   : dist_accept(&test_config, OUR_CHALLENGE);
		struct lines l = { 0 };
		uint8_t junk[300] = { 0 };
		size_t len = (size_t)rand() % sizeof junk;

		ck_assert_ptr_nonnull(d);
		for (size_t i = 0; i < len; i++)
			junk[i] = (uint8_t)(rand() % 4 ? rand() : rand() % 120);
		if (round % 2 && len > 8) {
			put_u32(junk, (uint32_t)(len - 4));
			junk[4] = 112, junk[5] = 131, junk[6] = 104,
			junk[7] = (uint8_t)(rand() % 7);
		}
		ck_assert(feed(d, junk, len, SIZE_MAX, &l));
		ck_assert_int_le(l.closed, 1);
		buf_free(&l.text);
		dist_free(d);
	}
}
END_TEST

START_TEST(no_memory_at_any_point_closes_or_loses_nothing)
{
	struct stream s = load_stream(_i);
	long n = 0;
	bool failed = true;

	for (; failed; n++) {
		struct dist *d;
		struct lines l = { 0 };
		bool whole;

		ck_assert_int_lt(n, 1000);
		if (buf_reserve(&l.text, 64 * 1024) != 0) /* ours must not be the one that fails */
			ck_abort();
		mem_fail_after = n;
		d = open_stream(&s);
		whole = d != NULL && feed(d, s.bytes.data, s.bytes.len, 1000, &l);
		failed = mem_fail_after < 0;
		mem_fail_after = -1;
		if (whole && l.closed == 0)
			ck_assert_str_eq(text_of(&l), s.expected);
		else
			ck_assert(failed);
		buf_free(&l.text);
		dist_free(d);
	}
	ck_assert_int_gt(n, 3);
	free_stream(&s);
}
END_TEST

static void add(TCase *t)
{
	tcase_add_loop_test(t, a_captured_stream_is_what_it_says, 0, STREAMS);
	tcase_add_loop_test(t, a_captured_stream_is_the_same_byte_by_byte, 0, STREAMS);
	tcase_add_loop_test(t, a_captured_stream_is_the_same_split_anywhere, 0, STREAMS);
	tcase_add_loop_test(t, a_captured_stream_cut_off_anywhere_is_a_prefix_of_its_events, 0,
			    STREAMS);
	tcase_add_loop_test(t, a_garbled_stream_never_does_worse_than_close_once, 0, STREAMS);
	tcase_add_test(t, random_bytes_never_do_worse_than_close_once);
	tcase_add_loop_test(t, no_memory_at_any_point_closes_or_loses_nothing, 0, STREAMS);
}

int main(void)
{
	return run_suite("dist_replay", add);
}
