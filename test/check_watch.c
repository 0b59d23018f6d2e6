/* check_watch.c - what is written for watchers: JSON, Prometheus' text, the ring of log lines, ADDR:PORT. */
#include "../include/config.h"
#include "../include/json.h"
#include "../include/log_ring.h"
#include "../include/mem.h"
#include "../include/prom.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct buf out;

static void then_it_says(const char *text)
{
	ck_assert_int_eq(out.err, 0);
	buf_put_u8(&out, 0);
	ck_assert_str_eq((char *)out.data, text);
	buf_free(&out);
}

/* ---- JSON ---- */

START_TEST(commas_stand_between_values_and_nowhere_else)
{
	json_open(&out, '{');
	json_put_uint(&out, "a", 1);
	json_key(&out, "b");
	json_open(&out, '[');
	json_close(&out, ']');
	json_key(&out, "c");
	json_open(&out, '[');
	json_uint(&out, UINT64_MAX);
	json_open(&out, '{');
	json_close(&out, '}');
	json_bool(&out, true);
	json_bool(&out, false);
	json_null(&out);
	json_word(&out, NULL);
	json_close(&out, ']');
	json_put_word(&out, "d", "{");
	json_put_word(&out, "e", ",");
	json_close(&out, '}');
	then_it_says("{\"a\":1,\"b\":[],\"c\":[18446744073709551615,{},true,false,null,null],"
		     "\"d\":\"{\",\"e\":\",\"}");
}
END_TEST

static const struct {
	const char *text;
	size_t len;
	const char *json;
} texts[] = {
	{ "", 0, "\"\"" },
	{ "a\"b\\c\n\t\x01\x7f/", 10, "\"a\\\"b\\\\c\\n\\u0009\\u0001\\u007f/\"" },
	{ "a\0b", 3, "\"a\\u0000b\"" },
	{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d\"" },
	/* what is no UTF-8: cut off, overlong, a surrogate, beyond the last, a stray byte */
	{ "a\xc3", 2, "\"a\xef\xbf\xbd\"" },
	{ "\xe2\x82z", 3, "\"\xef\xbf\xbd\xef\xbf\xbdz\"" },
	{ "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xff", 1, "\"\xef\xbf\xbd\"" },
	{ "\xf0\x9f\x90", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
};

START_TEST(any_bytes_become_valid_text)
{
	json_text(&out, texts[_i].text, texts[_i].len);
	then_it_says(texts[_i].json);
}
END_TEST

/* ---- Prometheus ---- */

START_TEST(samples_are_written_as_prometheus_reads_them)
{
	prom_family(&out, "krait_x", "gauge", "What it is.");
	prom_uint(&out, "krait_x", 3, PROM_END);
	prom_uint(&out, "krait_x", 4, "pool", "a\\b\"c\nd", "state", "idle", PROM_END);
	prom_micro(&out, "krait_s", 1500000, PROM_END);
	prom_micro(&out, "krait_s", 7, "pool", "p", PROM_END);
	prom_micro(&out, "krait_s", 2000000, PROM_END);
	then_it_says("# HELP krait_x What it is.\n# TYPE krait_x gauge\nkrait_x 3\n"
		     "krait_x{pool=\"a\\\\b\\\"c\\nd\",state=\"idle\"} 4\n"
		     "krait_s 1.5\nkrait_s{pool=\"p\"} 0.000007\nkrait_s 2\n");
}
END_TEST

START_TEST(a_histogram_has_cumulative_buckets_a_sum_and_a_count)
{
	struct histogram h = { 0 };

	histogram_add(&h, 63);
	histogram_add(&h, 64);
	histogram_add(&h, 200000000);
	prom_histogram(&out, "krait_t_seconds", &h, PROM_SECONDS, "pool", "p", PROM_END);
	buf_put_u8(&out, 0);
	ck_assert_int_eq(out.err, 0);
	ck_assert(strstr((char *)out.data,
			 "krait_t_seconds_bucket{pool=\"p\",le=\"0.000064\"} 1\n"
			 "krait_t_seconds_bucket{pool=\"p\",le=\"0.000128\"} 2\n") ==
		  (char *)out.data);
	ck_assert(strstr((char *)out.data,
			 "krait_t_seconds_bucket{pool=\"p\",le=\"134.217728\"} 2\n"
			 "krait_t_seconds_bucket{pool=\"p\",le=\"+Inf\"} 3\n"
			 "krait_t_seconds_sum{pool=\"p\"} 200.000127\n"
			 "krait_t_seconds_count{pool=\"p\"} 3\n") != NULL);
	buf_free(&out);
	prom_histogram(&out, "krait_b", &h, PROM_BYTES, PROM_END);
	buf_put_u8(&out, 0);
	ck_assert(strstr((char *)out.data, "krait_b_bucket{le=\"64\"} 1\n"
					   "krait_b_bucket{le=\"256\"} 2\n") == (char *)out.data);
	ck_assert(strstr((char *)out.data, "krait_b_bucket{le=\"1073741824\"} 3\n"
					   "krait_b_bucket{le=\"+Inf\"} 3\n"
					   "krait_b_sum 200000127\nkrait_b_count 3\n") != NULL);
	buf_free(&out);
}
END_TEST

START_TEST(without_memory_the_error_sticks)
{
	mem_fail_after = _i == 0 ? 0 : 100;
	prom_family(&out, "krait_x", "gauge", "What it is.");
	json_text(&out, "text", 4);
	mem_fail_after = -1;
	ck_assert_int_eq(out.err, _i == 0 ? -ENOMEM : 0);
	buf_free(&out);
}
END_TEST

/* ---- the ring of log lines ---- */

static bool swallow(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)line;
	(void)len;
	return true;
}

START_TEST(the_ring_has_the_last_lines_by_number)
{
	const struct log_ring_line *line;
	char text[32];

	log_set_sink(swallow, NULL);
	log_line(LOG_INFO, "nobody", "keeps this");
	ck_assert_int_eq(log_ring_open(), 0);
	ck_assert_int_eq(log_ring_open(), 0);
	ck_assert_ptr_null(log_ring_after(0));
	ck_assert_uint_eq(log_ring_last(), 0);
	for (int i = 1; i <= LOG_RING_LINES + 4; i++) {
		int len = snprintf(text, sizeof text, "line %d", i);

		log_ring_add(LOG_WARNING, "worker default/1", NULL, text, (size_t)len);
	}
	log_line(LOG_INFO, "node", "the last %s", "one");
	log_line(LOG_DEBUG, "nobody", "it is not written, so it is not kept");
	ck_assert_uint_eq(log_ring_last(), LOG_RING_LINES + 5);
	line = log_ring_after(0);
	ck_assert_uint_eq(line->number, 6);
	ck_assert_str_eq(line->object, "worker default/1");
	ck_assert_int_eq(line->level, LOG_WARNING);
	ck_assert_mem_eq(line->text, "line 6", 6);
	ck_assert_uint_eq(line->len, 6);
	ck_assert_uint_eq(log_ring_after(100)->number, 101);
	line = log_ring_after(LOG_RING_LINES + 4);
	ck_assert_uint_eq(line->number, LOG_RING_LINES + 5);
	ck_assert_str_eq(line->object, "node");
	ck_assert_uint_eq(line->len, strlen("the last one"));
	ck_assert_mem_eq(line->text, "the last one", line->len);
	ck_assert_ptr_null(log_ring_after(LOG_RING_LINES + 5));
	ck_assert_ptr_null(log_ring_after(UINT64_MAX));
	log_ring_close();
	log_line(LOG_WARNING, "nobody", "keeps this either");
	ck_assert_ptr_null(log_ring_after(0));
	log_set_sink(NULL, NULL);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
	char text[LOG_RING_TEXT + 200], object[LOG_RING_OBJECT + 50];

	memset(text, 'x', sizeof text);
	memset(object, 'o', sizeof object);
	object[sizeof object - 1] = '\0';
	ck_assert_int_eq(log_ring_open(), 0);
	log_ring_add(LOG_ERROR, object, NULL, text, sizeof text);
	ck_assert_uint_eq(log_ring_after(0)->len, LOG_RING_TEXT);
	ck_assert_uint_eq(strlen(log_ring_after(0)->object), LOG_RING_OBJECT - 1);
	log_ring_add(LOG_INFO, object, "stderr", "a line", 6);
	ck_assert_uint_eq(log_ring_after(1)->len, 14);
	ck_assert_mem_eq(log_ring_after(1)->text, "stderr: a line", 14);
	log_ring_add(LOG_INFO, object, "a stream of a very long name", text, sizeof text);
	ck_assert_uint_eq(log_ring_after(2)->len, LOG_RING_TEXT);
	ck_assert_mem_eq(log_ring_after(2)->text, "a stream of a: x", 16);
	log_ring_close();
}
END_TEST

START_TEST(a_ring_without_memory_is_none)
{
	mem_fail_after = 0;
	ck_assert_int_eq(log_ring_open(), -ENOMEM);
	mem_fail_after = -1;
	log_ring_add(LOG_ERROR, "x", NULL, "y", 1);
	ck_assert_ptr_null(log_ring_after(0));
}
END_TEST

/* ---- ADDR:PORT ---- */

static const struct {
	const char *text, *address;
	uint16_t port;
} addresses[] = {
	{ "127.0.0.1:9464", "127.0.0.1", 9464 },
	{ "0.0.0.0:0", "0.0.0.0", 0 },
	{ "[::1]:65535", "::1", 65535 },
	{ "[fe80::1:2:3:4]:1", "fe80::1:2:3:4", 1 },
	{ "80", "127.0.0.1", 80 },
	{ "", NULL, 0 },
	{ ":", NULL, 0 },
	{ ":80", NULL, 0 },
	{ "127.0.0.1", NULL, 0 },
	{ "127.0.0.1:", NULL, 0 },
	{ "127.0.0.1:65536", NULL, 0 },
	{ "127.0.0.1:99999999999", NULL, 0 },
	{ "127.0.0.1:-1", NULL, 0 },
	{ "127.0.0.1: 1", NULL, 0 },
	{ "127.0.0.256:1", NULL, 0 },
	{ "localhost:80", NULL, 0 },
	{ "::1:80", NULL, 0 },
	{ "[::1:80", NULL, 0 },
	{ "[:80", NULL, 0 },
	{ "[]:80", NULL, 0 },
	{ "[127.0.0.1]:80", NULL, 0 },
	{ "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:80", NULL, 0 },
};

START_TEST(an_address_and_a_port_are_taken_apart)
{
	char address[CONFIG_ADDRESS_MAX];
	uint16_t port = 0;
	bool well = config_split_address(addresses[_i].text, address, &port);

	ck_assert_msg(well == (addresses[_i].address != NULL), "%s", addresses[_i].text);
	if (well) {
		ck_assert_str_eq(address, addresses[_i].address);
		ck_assert_uint_eq(port, addresses[_i].port);
	}
}
END_TEST

#define ROWS(table) (int)(sizeof table / sizeof table[0])

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *tc = tcase_create("watch");

	tcase_add_test(tc, commas_stand_between_values_and_nowhere_else);
	tcase_add_loop_test(tc, any_bytes_become_valid_text, 0, ROWS(texts));
	tcase_add_test(tc, samples_are_written_as_prometheus_reads_them);
	tcase_add_test(tc, a_histogram_has_cumulative_buckets_a_sum_and_a_count);
	tcase_add_loop_test(tc, without_memory_the_error_sticks, 0, 2);
	tcase_add_test(tc, the_ring_has_the_last_lines_by_number);
	tcase_add_test(tc, a_long_line_is_cut);
	tcase_add_test(tc, a_ring_without_memory_is_none);
	tcase_add_loop_test(tc, an_address_and_a_port_are_taken_apart, 0, ROWS(addresses));
	suite_add_tcase(suite, tc);
	return run(suite);
}
