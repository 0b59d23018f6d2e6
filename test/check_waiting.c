/* check_waiting.c - what callers who wait cost: memory, and work.
 *
 * A thousand and ten thousand wait at a node of one busy worker (node_given.h). What each of them takes of
 * memory beyond what it has said is bounded, and so is the work for one who comes, is served, runs out of
 * time, gives up or dies with its node: it is the same at both numbers.
 * Work is counted, not timed: what every call goes through is compiled so that each basic block counts
 * (Makefile, COUNTED). SHOW=1 in the environment shows the numbers.
 *
 * And in steady state calls come and go without asking for any memory. Under AddressSanitizer and valgrind
 * they do ask (slab.h), and nothing is said of memory. */
#include "node_given.h"

#include "slab.h"
#include "suite.h"

#include <malloc.h>

#define FEW      1000u
#define MANY     10000u
#define AT_ONCE  100u /* messages between two turns of the node */
#define BEYOND   220  /* bytes of one who waits, beyond its message */
#define PER_CALL 2000 /* basic blocks of one call's coming or going: a tenth of it as a rule */

static uint64_t blocks;

void __sanitizer_cov_trace_pc(void);
__attribute__((no_sanitize("address"))) void __sanitizer_cov_trace_pc(void)
{
	blocks++;
}

/* ---- given ---- */

static void worker_says(unsigned type, uint64_t id, const uint8_t *rest, size_t len)
{
	struct worker *w = workers[1];
	struct frame frame = { .type = type, .id = id, .count = 1, .rest = rest, .rest_len = len };

	node_turn();
	frame.count = type == FRAME_HELLO ? 2 : 1;
	w->callbacks->on_frame(w->arg, w, &frame);
	test_turn();
}

/* It answers the call that it has, if it has one. */
static bool worker_answers(void)
{
	uint64_t id = workers[1]->call_id;

	workers[1]->call_id = 0;
	if (id != 0)
		worker_says(FRAME_RESULT, id, (const uint8_t *)"\x07", 1);
	settle();
	return id != 0;
}

static void given_one_worker(void)
{
	uint8_t pid[6] = { 0xce, 0, 0, 0, 0, 0x80 };
	struct pool_config config_ = { 0 };

	given_node("1", -1);
	config_ = the_pool->limits;
	config_.queue_limit = 2 * MANY;
	config_.queue_bytes_limit = SIZE_MAX;
	node_pool_event(the_pool,
			&(struct pool_event){ .type = POOL_CONFIGURE, .config = &config_ });
	put_u32(pid + 1, NO_PID);
	worker_says(FRAME_HELLO, 0, pid, sizeof pid);
	settle();
	node_asked = 0;
}

/* ---- callers: their numbers are such that their answers are heard by one of CALLERS ---- */

static unsigned number_of(unsigned i)
{
	return i / CALLERS * 256 + i % CALLERS;
}

static uint32_t creation = 7; /* of callers and their references: as their peers have said */

static void put_ref(struct buf *out, const struct peer *p, unsigned i)
{
	term_put_ref(out, p->name, creation, number_of(i));
}

static struct term_pid pid_of(const struct peer *p, unsigned i)
{
	struct term_pid pid = caller_pid(p, i % CALLERS);

	pid.creation = creation;
	return pid;
}

static void put_request(struct buf *out, bool for_ever)
{
	term_put_tuple(out, for_ever ? 5 : 4);
	term_put_atom(out, "call");
	term_put_binary(out, "a_module", 8);
	term_put_binary(out, "function", 8);
	term_put_list(out, 1);
	term_put_map(out, 2);
	term_put_pair_uint(out, "id", 42);
	term_put_pair_atom(out, "name", "krait");
	term_put_nil(out);
	if (!for_ever)
		return;
	term_put_map(out, 1);
	term_put_pair_atom(out, "timeout", "infinity");
}

/* {'$gen_call', {From, [alias | Ref]}, Request}; its bytes. */
static size_t say_call(struct peer *p, unsigned i, bool for_ever)
{
	struct term_pid from = pid_of(p, i);
	size_t start = dist_begin_send_name(p->theirs, &from, "default"), before;
	struct buf *out = dist_output(p->theirs);

	before = out->len;
	put_gen_call(out, p, &from, number_of(i));
	put_request(out, for_ever);
	before = out->len - before;
	ck_assert_int_eq(dist_end(p->theirs, start), 0);
	return before;
}

static void say_monitor(struct peer *p, unsigned i, bool on)
{
	struct term_pid from = pid_of(p, i);
	struct buf ref = { 0 };

	put_ref(&ref, p, i);
	if (on)
		dist_send_monitor_name(p->theirs, &from, "default",
				       (struct span){ ref.data, ref.len });
	else
		dist_send_demonitor_name(p->theirs, &from, "default",
					 (struct span){ ref.data, ref.len });
	buf_free(&ref);
}

/* {krait_lane, LanePid, [{Id, Request}], []} */
static void say_lane(struct peer *p, unsigned i)
{
	struct term_pid lane = caller_pid(p, 7);
	size_t start = dist_begin_send_name(p->theirs, &lane, "default");
	struct buf *out = dist_output(p->theirs);

	term_put_tuple(out, 4);
	term_put_atom(out, "krait_lane");
	term_put_pid(out, &lane);
	term_put_list(out, 1);
	term_put_tuple(out, 2);
	term_put_uint(out, i);
	put_request(out, false);
	term_put_nil(out);
	term_put_nil(out);
	ck_assert_int_eq(dist_end(p->theirs, start), 0);
}

/* As GenServer.call does it. */
static void by_monitor(unsigned i)
{
	say_monitor(&peers[0], i, true);
	(void)say_call(&peers[0], i, false);
}

/* A caller whom the node has to watch. */
static void by_watch(unsigned i)
{
	(void)say_call(&peers[0], i, false);
}

static void by_lane(unsigned i)
{
	say_lane(&peers[0], i);
}

static void gives_up(unsigned i)
{
	say_monitor(&peers[0], i, false);
}

/* So many do it, AT_ONCE at a time; the work of one. */
static uint64_t all(unsigned count, void (*act)(unsigned i))
{
	uint64_t before = blocks;

	for (unsigned i = 0; i < count; i++) {
		act(i);
		if (i % AT_ONCE == AT_ONCE - 1)
			settle();
	}
	settle();
	return (blocks - before) / count;
}

/* ---- memory ---- */

static size_t bytes_in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd + slab_bytes();
}

START_TEST(what_a_caller_who_waits_costs_beyond_its_message_is_bounded)
{
	size_t before, message;

	given_one_worker();
	if (slab_works()) {
		all(MANY / 2, by_monitor);
		before = bytes_in_use();
		for (unsigned i = MANY / 2; i < MANY; i++) {
			say_monitor(&peers[0], i, true);
			message = say_call(&peers[0], i, true);
			if (i % AT_ONCE == AT_ONCE - 1)
				settle();
		}
		settle();
		ck_assert_uint_eq(pool_queued(the_pool->pool), MANY - 1);
		before = (bytes_in_use() - before) / (MANY / 2);
		if (getenv("SHOW") != NULL)
			printf("%zu bytes for a message of %zu\n", before, message);
		ck_assert_msg(before <= message + BEYOND, "%zu bytes for a message of %zu", before,
			      message);
	}
	then_all_is_given_back();
	slab_trim();
	ck_assert_uint_eq(slab_bytes(), 0);
}
END_TEST

/* Those of another creation cost more, and are served alike. */
START_TEST(a_caller_is_known_by_its_monitor_whatever_its_creation)
{
	given_one_worker();
	by_monitor(0); /* has the worker */
	creation = _i == 0 ? 7 : 9;
	by_monitor(1);
	settle();
	ck_assert_uint_eq(pool_queued(the_pool->pool), 1);
	ck_assert_uint_eq(node.watches.count, 0);
	gives_up(1);
	settle();
	ck_assert_uint_eq(pool_queued(the_pool->pool), 0);
	creation = 7;
	gives_up(0);
	settle();
	then_all_is_given_back();
}
END_TEST

static void (*const ways[])(unsigned i) = { by_monitor, by_watch, by_lane };

/* So many ask, are answered, and have heard it. */
static void come_and_go(int way, unsigned count)
{
	all(count, ways[way]);
	while (worker_answers())
		;
	if (ways[way] == by_monitor)
		all(count, gives_up);
}

START_TEST(calls_that_come_and_go_ask_for_no_memory)
{
	given_one_worker();
	come_and_go(_i, 10 * CALLERS); /* now all buffers are as large as they will be */
	node_asked = 0;
	for (unsigned round = 0; round < 20; round++)
		come_and_go(_i, CALLERS);
	ck_assert_uint_eq(the_pool->answers[ANSWER_OK], 30 * CALLERS);
	if (slab_works())
		ck_assert_uint_eq(node_asked, 0);
	then_all_is_given_back();
}
END_TEST

/* ---- work ---- */

enum end { SERVED, TIMED_OUT, GONE, WITH_ITS_PEER, ENDS };

/* So many wait, by the i-th way, and end like that: the work for each to come, and to go. */
static void wait_and_end(int i, unsigned count, enum end end, uint64_t *coming, uint64_t *going)
{
	given_one_worker();
	*coming = all(count, ways[i]);
	*going = blocks;
	switch (end) {
	case SERVED:
		while (worker_answers())
			;
		break;
	case TIMED_OUT:
		now_us += UINT64_C(1000000) * 3600;
		node_pool_event(the_pool, &(struct pool_event){ .type = POOL_TICK });
		break;
	case GONE:
		all(count, gives_up);
		break;
	default:
		peer_close(&peers[0], "it is gone");
		break;
	}
	settle();
	*going = (blocks - *going) / count;
	ck_assert_uint_eq(pool_queued(the_pool->pool), 0);
	then_all_is_given_back();
}

START_TEST(who_comes_and_goes_is_no_more_work_where_more_wait)
{
	uint64_t coming[2], going[2];

	for (enum end end = 0; end < ENDS; end++) {
		if (end == GONE && ways[_i] != by_monitor)
			continue;
		wait_and_end(_i, FEW, end, &coming[0], &going[0]);
		wait_and_end(_i, MANY, end, &coming[1], &going[1]);
		if (getenv("SHOW") != NULL)
			printf("way %d, end %d: %llu to %llu blocks to come, %llu to %llu to go\n",
			       _i, (int)end, (unsigned long long)coming[0],
			       (unsigned long long)coming[1], (unsigned long long)going[0],
			       (unsigned long long)going[1]);
		ck_assert_uint_gt(coming[0], 10);
		ck_assert_uint_lt(coming[1], PER_CALL);
		ck_assert_uint_lt(going[1], PER_CALL);
		ck_assert_uint_le(coming[1], coming[0] + coming[0] / 8);
		ck_assert_uint_le(going[1], going[0] + going[0] / 2); /* the timers' */
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("waiting");
	TCase *tests = tcase_create("waiting");

	tcase_add_test(tests, what_a_caller_who_waits_costs_beyond_its_message_is_bounded);
	tcase_add_loop_test(tests, a_caller_is_known_by_its_monitor_whatever_its_creation, 0, 2);
	tcase_add_loop_test(tests, calls_that_come_and_go_ask_for_no_memory, 0, 3);
	tcase_add_loop_test(tests, who_comes_and_goes_is_no_more_work_where_more_wait, 0, 3);
	suite_add_tcase(suite, tests);
	return run(suite);
}
