/* check_dist_share.c - what an event shows is kept by its caller: dist_share(). */
#include "check_dist_cut.h"
#include "share.h"

/* One message whole or in fragments, and another one of which only the beginning is there. */
struct shared {
	struct dist *d;
	struct buf rest;
	struct span payload;
	struct buf expected;
};

static struct shared given_an_event(const struct dist_config *config, size_t fragment)
{
	struct shared s = { .d = connected(config) };
	struct cut c = cut("x", 9000, 1, fragment > 0 ? fragment : SIZE_MAX);
	struct buf b = { 0 };
	struct dist_event ev;
	size_t room, first;

	if (fragment == 0)
		put_whole(&b, "x", 9000);
	while (fragment > 0 && put_next(&b, &c))
		;
	first = b.len;
	put_whole(&b, "y", 700);
	for (size_t at = 0; at < first + 20; at += room) {
		uint8_t *to = dist_room(s.d, &room);

		ck_assert_ptr_nonnull(to);
		room = room < first + 20 - at ? room : first + 20 - at;
		memcpy(to, b.data + at, room);
		dist_received(s.d, room);
		ck_assert_int_eq(dist_next(s.d, &ev), at + room >= first);
	}
	ck_assert_uint_eq(ev.payload.len, 9005);
	s.payload = ev.payload;
	buf_put(&s.expected, ev.payload.at, ev.payload.len);
	buf_put(&s.rest, b.data + first + 20, b.len - first - 20);
	buf_free(&b);
	buf_free(&c.bytes);
	return s;
}

static void then_the_next_one_is_heard(struct shared *s)
{
	struct lines l = { 0 };

	ck_assert(feed(s->d, s->rest.data, s->rest.len, 100, &l));
	ck_assert_ptr_nonnull(strstr(text_of(&l), "SEND"));
	ck_assert_ptr_nonnull(strstr(text_of(&l), "name=y payload=705:"));
	buf_free(&l.text);
}

static void then_it_is_as_it_came(const struct shared *s)
{
	ck_assert_mem_eq(s->payload.at, s->expected.data, s->expected.len);
}

static void done_with(struct shared *s)
{
	buf_free(&s->expected);
	buf_free(&s->rest);
}

START_TEST(what_an_event_shows_stays_for_as_long_as_it_is_shared)
{
	struct dist_config config = with_fragments();
	struct shared s = given_an_event(&config, _i == 0 ? 0 : 4000);
	struct share *held = dist_share(s.d);

	ck_assert_ptr_nonnull(held);
	ck_assert_ptr_eq(dist_share(s.d), held);
	share_drop(held);
	then_it_is_as_it_came(&s);
	then_the_next_one_is_heard(&s);
	then_it_is_as_it_came(&s);
	dist_free(s.d);
	then_it_is_as_it_came(&s);
	share_drop(held);
	done_with(&s);
}
END_TEST

START_TEST(without_memory_it_is_not_shared_and_nothing_is_lost)
{
	struct dist_config config = with_fragments();
	struct share *held = NULL;
	long n;

	for (n = 0; held == NULL; n++) {
		struct shared s = given_an_event(&config, _i == 0 ? 0 : 4000);

		mem_fail_after = n;
		held = dist_share(s.d);
		ck_assert(held != NULL || mem_fail_after == -1);
		mem_fail_after = -1;
		then_it_is_as_it_came(&s);
		then_the_next_one_is_heard(&s);
		dist_free(s.d);
		done_with(&s);
	}
	ck_assert_int_ge(n, 2);
	share_drop(held);
}
END_TEST

static void add(TCase *tests)
{
	tcase_add_loop_test(tests, what_an_event_shows_stays_for_as_long_as_it_is_shared, 0, 2);
	tcase_add_loop_test(tests, without_memory_it_is_not_shared_and_nothing_is_lost, 0, 2);
}

int main(void)
{
	return run_suite("dist_share", add);
}
