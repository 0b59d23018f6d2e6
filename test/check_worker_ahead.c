/* check_worker_ahead.c - the queue of calls that are sent ahead: who reads a packet has it, and none is lost. */
#include "../include/worker_ahead.h"
#include "suite.h"

#include <sys/socket.h>
#include <unistd.h>

static struct ahead_queue queue;
static int worker;
static uint8_t packet[AHEAD_PACKET_MAX];

static void open_queue(void)
{
	ck_assert_int_eq(ahead_queue_open(&queue, &worker), 0);
}

static void close_queue(void)
{
	ahead_queue_close(&queue);
	close(worker);
}

static void send_calls(uint64_t from, uint64_t to)
{
	static const char body[4000];

	for (uint64_t id = from; id <= to; id++)
		ahead_queue_send(&queue, id, body, 1 + id);
}

static void comes_back(uint64_t from, uint64_t to)
{
	uint64_t ids[AHEAD_QUEUE_MAX];

	ck_assert_uint_eq(ahead_queue_recall(&queue, ids), to + 1 - from);
	for (uint64_t i = 0; i < to + 1 - from; i++)
		ck_assert_uint_eq(ids[i], from + i);
}

START_TEST(the_worker_has_what_it_reads_and_the_node_the_rest)
{
	open_queue();
	send_calls(1, 4);
	ck_assert_int_eq(recv(worker, packet, sizeof packet, MSG_DONTWAIT), AHEAD_ID_BYTES + 2);
	comes_back(2, 4);
	ck_assert_int_eq(recv(worker, packet, sizeof packet, MSG_DONTWAIT), -1);
	close_queue();
}
END_TEST

START_TEST(the_first_can_be_taken_out_alone)
{
	open_queue();
	send_calls(1, 3);
	ck_assert_uint_eq(ahead_queue_first(&queue, 1, packet), AHEAD_ID_BYTES + 2);
	ck_assert_uint_eq(ahead_queue_first(&queue, 2, packet), AHEAD_ID_BYTES + 3);
	comes_back(3, 3);
	ck_assert_uint_eq(ahead_queue_first(&queue, 3, packet), 0);
	close_queue();
}
END_TEST

/* They come back, too, and in their order; none of them is sent before they have. */
START_TEST(what_the_socket_does_not_take_is_not_sent)
{
	int bytes = 1;

	open_queue();
	ck_assert_int_eq(setsockopt(queue.ours, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
	send_calls(1001, 1010);
	ck_assert_uint_gt(queue.unsent_count, 2);
	for (uint64_t id = 1001; id <= 1010 - queue.unsent_count;)
		ck_assert_uint_gt(ahead_queue_first(&queue, id++, packet), 0);
	send_calls(1011, 1011);
	ck_assert_uint_eq(ahead_queue_first(&queue, queue.unsent[0], packet), 0);
	comes_back(1012 - queue.unsent_count, 1011);
	send_calls(1, 1);
	comes_back(1, 1);
	close_queue();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("worker_ahead");
	TCase *tests = tcase_create("queue");

	tcase_add_test(tests, the_worker_has_what_it_reads_and_the_node_the_rest);
	tcase_add_test(tests, the_first_can_be_taken_out_alone);
	tcase_add_test(tests, what_the_socket_does_not_take_is_not_sent);
	suite_add_tcase(s, tests);
	return s;
}

int main(void)
{
	return run(suite());
}
