/* check_transcode.c - the mapping table, both ways, and its faults with their paths. */
#include "transcode.h"

#include "suite.h"
#include "term_given.h"

#include <errno.h>

static const struct transcode_options plain = { 100, 1 << 30, true, NULL };
static const struct transcode_options raw = { 100, 1 << 30, false, NULL };

enum entrance { ARGS, KWARGS, TERM, VALUE };

static int pass(enum entrance way, const struct buf *in, const struct transcode_options *opts,
		struct buf *out, struct transcode_error *err)
{
	switch (way) {
	case ARGS:
		return transcode_args(in->data, opts, out, err);
	case KWARGS:
		return transcode_kwargs(in->data, opts, out, err);
	case TERM:
		return transcode_term(in->data, "root", opts, out, err);
	default:
		return transcode_value(in->data, in->len, "root", opts, out, NULL, err);
	}
}

static void dump(char *text, size_t room, const struct buf *b)
{
	text[0] = '\0';
	for (size_t i = 0; i < b->len && 3 * i + 4 < room; i++)
		snprintf(text + 3 * i, room - 3 * i, "%02x ", b->data[i]);
}

static void becomes(enum entrance way, const char *in_hex, const char *out_hex,
		    const struct transcode_options *opts)
{
	struct buf in = { 0 }, out = { 0 }, want = { 0 };
	struct transcode_error err;
	struct buf copy;
	char text[400];
	int rc;

	put_hex(&in, in_hex);
	put_hex(&want, out_hex);
	copy = (struct buf){ .data = exact(&in, in.len), .len = in.len };
	if (way != VALUE)
		ck_assert_msg(term_check(copy.data, copy.len, NULL) == 0, "%s", in_hex);
	rc = pass(way, &copy, opts, &out, &err);
	ck_assert_msg(rc == 0, "%s: fault %d at %s: %s", in_hex, err.fault, err.where, err.what);
	dump(text, sizeof text, &out);
	ck_assert_msg(out.len == want.len && memcmp(out.data, want.data, out.len) == 0,
		      "%s became %s, expected %s", in_hex, text, out_hex);
	free(copy.data);
	buf_free(&in);
	buf_free(&out);
	buf_free(&want);
}

#define FUN                                                                                       \
	"70 00 00 00 48 00 65 36 1a a4 61 59 0d 1b df 1e b6 2d 1a 6e b0 80 00 00 00 2b 00 00 00 " \
	"01"                                                                                      \
	"77 08 'erl_eval' 61 2b 62 00 32 9b 0d 58" NODE "00 00 00 09 00 00 00 00 00 00 00 00"     \
	"74 00 00 00 00"

/* Terms that have one encoding, with theirs in msgpack: both ways. */
static const struct {
	const char *term, *packed;
} same[] = {
	{ "61 00", "00" },
	{ "61 7f", "7f" },
	{ "61 80", "cc 80" },
	{ "61 ff", "cc ff" },
	{ "62 00 00 01 00", "cd 01 00" },
	{ "62 00 00 ff ff", "cd ff ff" },
	{ "62 00 01 00 00", "ce 00 01 00 00" },
	{ "62 7f ff ff ff", "ce 7f ff ff ff" },
	{ "6e 04 00 ff ff ff ff", "ce ff ff ff ff" },
	{ "6e 05 00 00 00 00 00 01", "cf 00 00 00 01 00 00 00 00" },
	{ "6e 08 00 ff ff ff ff ff ff ff ff", "cf ff ff ff ff ff ff ff ff" },
	{ "62 ff ff ff ff", "ff" },
	{ "62 ff ff ff e0", "e0" },
	{ "62 ff ff ff df", "d0 df" },
	{ "62 ff ff ff 80", "d0 80" },
	{ "62 ff ff ff 7f", "d1 ff 7f" },
	{ "62 ff ff 80 00", "d1 80 00" },
	{ "62 ff ff 7f ff", "d2 ff ff 7f ff" },
	{ "62 80 00 00 00", "d2 80 00 00 00" },
	{ "6e 04 01 01 00 00 80", "d3 ff ff ff ff 7f ff ff ff" },
	{ "6e 08 01 00 00 00 00 00 00 00 80", "d3 80 00 00 00 00 00 00 00" },
	{ "6e 08 01 01 00 00 00 00 00 00 80", "c7 09 03 01 01 00 00 00 00 00 00 80" },
	{ "6e 09 00 00 00 00 00 00 00 00 00 01", "c7 0a 03 00 00 00 00 00 00 00 00 00 01" },
	{ "6e 0f 01 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f",
	  "d8 03 01 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f" },
	{ "46 3f f8 00 00 00 00 00 00", "cb 3f f8 00 00 00 00 00 00" },
	{ "46 80 00 00 00 00 00 00 00", "cb 80 00 00 00 00 00 00 00" },
	{ "77 04 'true'", "c3" },
	{ "77 05 'false'", "c2" },
	{ "77 03 'nil'", "c0" },
	{ "77 00", "c7 00 01" },
	{ "77 01 'a'", "d4 01 'a'" },
	{ "77 02 'ok'", "d5 01 'ok'" },
	{ "77 03 'nul'", "c7 03 01 'nul'" },
	{ "77 04 'True'", "d6 01 'True'" },
	{ "77 08 'infinity'", "d7 01 'infinity'" },
	{ "77 10 'sixteen_letters_'", "d8 01 'sixteen_letters_'" },
	{ "77 02 c3 a9", "d5 01 c3 a9" },
	{ "6d 00 00 00 00", "a0" },
	{ "6d 00 00 00 01 'x'", "a1 'x'" },
	{ "6d 00 00 00 03 e2 82 ac", "a3 e2 82 ac" },
	{ "6d 00 00 00 1f '0123456789012345678901234567890'",
	  "bf '0123456789012345678901234567890'" },
	{ "6d 00 00 00 20 '01234567890123456789012345678901'",
	  "d9 20 '01234567890123456789012345678901'" },
	{ "6d 00 00 00 01 ff", "c4 01 ff" },
	{ "6d 00 00 00 02 c0 80", "c4 02 c0 80" },
	{ "6d 00 00 00 03 ed a0 80", "c4 03 ed a0 80" },
	{ "6a", "90" },
	{ "6c 00 00 00 02 61 01 6a 6a", "92 01 90" },
	{ "68 00", "c9 00 00 00 01 02 90" },
	{ "68 02 61 01 68 01 6a", "c9 00 00 00 0a 02 92 01 c9 00 00 00 02 02 91 90" },
	{ "74 00 00 00 00", "80" },
	{ "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 01 'b' 6a", "82 d4 01 'a' 01 a1 'b' 90" },
	/* within a key */
	{ "74 00 00 00 01 6a 61 01", "81 c9 00 00 00 01 09 90 01" },
	{ "74 00 00 00 01 6c 00 00 00 01 61 05 6a 61 01", "81 c9 00 00 00 02 09 91 05 01" },
	{ "74 00 00 00 01 74 00 00 00 01 61 05 61 06 61 01", "81 c9 00 00 00 03 0a 92 05 06 01" },
	{ "74 00 00 00 01 68 02 6a 74 00 00 00 00 6a",
	  "81 c9 00 00 00 0f 02 92 c9 00 00 00 01 09 90 c9 00 00 00 01 0a 90 90" },
	{ "74 00 00 00 01 61 01 74 00 00 00 01 61 02 6a", "81 01 81 02 90" },
	/* the opaque ones */
	{ "58" NODE "00 00 00 01 00 00 00 02 ff ff ff fe",
	  "c7 15 04 58" NODE "00 00 00 01 00 00 00 02 ff ff ff fe" },
	{ "5a 00 01" NODE "00 00 00 63 00 00 00 01",
	  "c7 13 05 5a 00 01" NODE "00 00 00 63 00 00 00 01" },
	{ "78" NODE "00 00 00 01 00 00 00 07 00 00 00 63",
	  "c7 15 06 78" NODE "00 00 00 01 00 00 00 07 00 00 00 63" },
	{ "71 77 05 'lists' 77 03 'map' 61 02", "c7 0f 07 71 77 05 'lists' 77 03 'map' 61 02" },
	{ "4d 00 00 00 02 03 ff e0", "d7 08 4d 00 00 00 02 03 ff e0" },
	{ FUN, "c7 49 08 " FUN },
};

START_TEST(each_term_has_its_msgpack_and_comes_back)
{
	becomes(TERM, same[_i].term, same[_i].packed, &plain);
	becomes(VALUE, same[_i].packed, same[_i].term, &plain);
}
END_TEST

/* Other encodings of a term: one way only. */
static const struct {
	enum entrance way;
	const char *from, *to;
} one_way[] = {
	{ TERM, "64 00 02 'ok'", "d5 01 'ok'" },
	{ TERM, "73 01 e9", "d5 01 c3 a9" },
	{ TERM, "64 00 04 'true'", "c3" },
	{ TERM, "76 00 03 'nil'", "c0" },
	{ TERM, "6b 00 03 01 7f ff", "93 01 7f cc ff" },
	{ TERM, "6b 00 00", "90" },
	{ TERM, "69 00 00 00 01 6a", "c9 00 00 00 02 02 91 90" },
	{ TERM, "6e 02 01 05 00", "fb" },
	{ TERM, "6e 09 00 ff ff ff ff ff ff ff ff 00", "cf ff ff ff ff ff ff ff ff" },
	{ TERM, "6e 00 01", "00" },
	{ TERM, "6f 00 00 00 03 01 00 01 00", "d1 ff 00" },
	{ TERM, "63 '1.50000000000000000000e+00' 00 00 00 00 00", "cb 3f f8 00 00 00 00 00 00" },
	{ TERM, "67" NODE "00 00 00 01 00 00 00 02 03",
	  "c7 15 04 58" NODE "00 00 00 01 00 00 00 02 00 00 00 03" },
	{ TERM, "67 73 03 'a@' e9 00 00 00 01 00 00 00 02 03",
	  "c7 13 04 58 77 04 'a@' c3 a9 00 00 00 01 00 00 00 02 00 00 00 03" },
	{ TERM, "66" NODE "00 00 00 07 01",
	  "c7 15 06 78" NODE "00 00 00 00 00 00 00 07 00 00 00 01" },
	{ TERM, "59" NODE "00 00 00 07 00 00 00 63",
	  "c7 15 06 78" NODE "00 00 00 00 00 00 00 07 00 00 00 63" },
	{ TERM, "72 00 01" NODE "01 00 00 00 09",
	  "c7 13 05 5a 00 01" NODE "00 00 00 01 00 00 00 09" },
	{ TERM, "71 64 00 01 'm' 73 01 'f' 61 02", "c7 09 07 71 77 01 'm' 77 01 'f' 61 02" },
	{ TERM, "4d 00 00 00 02 03 ff ff",
	  "d7 08 4d 00 00 00 02 03 ff e0" },           /* bits beyond its end */
	{ TERM, "4d 00 00 00 02 08 'ab'", "a2 'ab'" }, /* whole bytes */
	{ TERM, "74 00 00 00 01 6b 00 01 05 61 01", "81 c9 00 00 00 02 09 91 05 01" },
	{ TERM, "6c 00 00 00 00 6a", "90" },
	/* lists that go on in their tail, as ei writes them */
	{ TERM, "6c 00 00 00 01 61 01 6c 00 00 00 02 61 02 61 03 6b 00 02 04 ff",
	  "dd 00 00 00 05 01 02 03 04 cc ff" },
	{ TERM, "68 01 6c 00 00 00 01 6c 00 00 00 01 6a 6a 6c 00 00 00 00 6a",
	  "c9 00 00 00 0c 02 91 dd 00 00 00 01 dd 00 00 00 01 90" },
	{ ARGS, "6c 00 00 00 01 61 01 6c 00 00 00 01 61 02 6a", "dd 00 00 00 02 01 02" },
	{ ARGS, "6a", "90" },
	{ ARGS, "6b 00 02 01 ff", "dd 00 00 00 02 01 cc ff" },
	{ ARGS, "6c 00 00 00 02 61 01 6a 6a", "92 01 90" },
	/* {bytes, Binary} is bytes as an argument, and only there */
	{ ARGS, "6c 00 00 00 01 68 02 77 05 'bytes' 6d 00 00 00 01 'x' 6a", "91 c4 01 'x'" },
	{ ARGS, "6c 00 00 00 01 68 02 64 00 05 'bytes' 6d 00 00 00 00 6a", "91 c4 00" },
	{ ARGS, "6c 00 00 00 01 68 02 77 05 'bytes' 61 01 6a",
	  "91 c9 00 00 00 0a 02 92 c7 05 01 'bytes' 01" },
	{ ARGS, "6c 00 00 00 01 6c 00 00 00 01 68 02 77 05 'bytes' 6d 00 00 00 01 'x' 6a 6a",
	  "91 91 c9 00 00 00 0b 02 92 c7 05 01 'bytes' a1 'x'" },
	{ TERM, "68 02 77 05 'bytes' 6d 00 00 00 01 'x'",
	  "c9 00 00 00 0b 02 92 c7 05 01 'bytes' a1 'x'" },
	/* {krait_input, Pid} is an iterator as an argument, and only there */
	{ ARGS,
	  "6c 00 00 00 01 68 02 77 0b 'krait_input' 58" NODE
	  "00 00 00 01 00 00 00 02 00 00 00 03 6a",
	  "91 c7 15 0b 58" NODE "00 00 00 01 00 00 00 02 00 00 00 03" },
	{ ARGS, "6c 00 00 00 01 68 02 77 0b 'krait_input' 61 01 6a",
	  "91 c9 00 00 00 10 02 92 c7 0b 01 'krait_input' 01" },
	{ KWARGS,
	  "74 00 00 00 01 77 01 'i' 68 02 77 0b 'krait_input' 67" NODE
	  "00 00 00 01 00 00 00 02 03",
	  "81 a1 'i' c7 15 0b 58" NODE "00 00 00 01 00 00 00 02 00 00 00 03" },
	{ TERM,
	  "68 02 77 0b 'krait_input' 58" NODE "00 00 00 01 00 00 00 02 00 00 00 03",
	  "c9 00 00 00 27 02 92 c7 0b 01 'krait_input' c7 15 04 58" NODE
	  "00 00 00 01 00 00 00 02 00 00 00 03" },
	{ KWARGS, "74 00 00 00 00", "80" },
	{ KWARGS,
	  "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 02 c3 a9 68 02 77 05 'bytes' 6d 00 00 00 01 "
	  "'x'",
	  "82 a1 'a' 01 a2 c3 a9 c4 01 'x'" },
	{ KWARGS, "74 00 00 00 02 73 01 e9 6a 77 04 'true' 77 04 'true'",
	  "82 a2 c3 a9 90 a4 'true' c3" },
	/* from the worker, written long or loosely */
	{ VALUE, "cc 05", "61 05" },
	{ VALUE, "cf 00 00 00 00 00 00 00 05", "61 05" },
	{ VALUE, "d3 00 00 00 00 00 00 00 05", "61 05" },
	{ VALUE, "d0 ff", "62 ff ff ff ff" },
	{ VALUE, "ca 3f c0 00 00", "46 3f f8 00 00 00 00 00 00" },
	{ VALUE, "cb 7f f8 00 00 00 00 00 00", "77 03 'nan'" },
	{ VALUE, "cb 7f f0 00 00 00 00 00 00", "77 08 'infinity'" },
	{ VALUE, "cb ff f0 00 00 00 00 00 00", "77 0c 'neg_infinity'" },
	{ VALUE, "ca ff 80 00 00", "77 0c 'neg_infinity'" },
	{ VALUE, "d9 01 'x'", "6d 00 00 00 01 'x'" },
	{ VALUE, "da 00 01 'x'", "6d 00 00 00 01 'x'" },
	{ VALUE, "db 00 00 00 01 'x'", "6d 00 00 00 01 'x'" },
	{ VALUE, "c5 00 01 ff", "6d 00 00 00 01 ff" },
	{ VALUE, "c6 00 00 00 01 'x'", "6d 00 00 00 01 'x'" },
	{ VALUE, "dc 00 01 90", "6c 00 00 00 01 6a 6a" },
	{ VALUE, "dd 00 00 00 00", "6a" },
	{ VALUE, "de 00 01 01 02", "74 00 00 00 01 61 01 61 02" },
	{ VALUE, "df 00 00 00 00", "74 00 00 00 00" },
	{ VALUE, "c9 00 00 00 02 02 91 90", "68 01 6a" },
	{ VALUE, "d5 02 91 90", "68 01 6a" },
	{ VALUE, "c7 03 09 92 01 02",
	  "6c 00 00 00 02 61 01 61 02 6a" }, /* a key that became a value */
	{ VALUE, "c7 03 0a 92 01 02", "74 00 00 00 01 61 01 61 02" },
	{ VALUE, "81 91 01 02", "74 00 00 00 01 6c 00 00 00 01 61 01 6a 61 02" },
	{ VALUE, "c7 04 01 'true'", "77 04 'true'" },
	{ VALUE, "c7 02 03 00 05", "61 05" },
	{ VALUE, "c7 01 03 01", "61 00" },
	{ VALUE, "c7 06 03 01 00 00 00 80 00", "62 80 00 00 00" },
	{ VALUE, "c7 0b 03 00 01 00 00 00 00 00 00 00 00 00", "61 01" },
	{ VALUE, "c7 12 04 67" NODE "00 00 00 01 00 00 00 02 03",
	  "58" NODE "00 00 00 01 00 00 00 02 00 00 00 03" },
	{ VALUE, "d7 08 4d 00 00 00 02 03 ff ff", "4d 00 00 00 02 03 ff e0" },
	{ VALUE, "d7 08 4d 00 00 00 02 08 'ab'", "6d 00 00 00 02 'ab'" },
};

START_TEST(other_encodings_become_the_one)
{
	becomes(one_way[_i].way, one_way[_i].from, one_way[_i].to, &plain);
}
END_TEST

START_TEST(with_strings_bytes_every_binary_is_bin)
{
	becomes(TERM, "6d 00 00 00 01 'x'", "c4 01 'x'", &raw);
	becomes(KWARGS, "74 00 00 00 01 6d 00 00 00 01 'k' 6d 00 00 00 01 'v'",
		"81 a1 'k' c4 01 'v'", &raw);
	becomes(TERM, "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 01 'a' 61 02",
		"82 d4 01 'a' 01 c4 01 'a' 02", &raw);
}
END_TEST

/* Faults, each with its place. */
#define IMP "6c 00 00 00 01 61 01 61 02"
static const struct {
	enum entrance way;
	const char *in;
	enum transcode_fault fault;
	const char *where, *what;
} faults[] = {
	{ ARGS, "61 01", TRANSCODE_UNENCODABLE, "args", ":not_a_list" },
	{ ARGS, "74 00 00 00 00", TRANSCODE_UNENCODABLE, "args", ":not_a_list" },
	{ ARGS, IMP, TRANSCODE_UNENCODABLE, "args", ":improper_list" },
	{ ARGS, "6c 00 00 00 02 6a " IMP "6a", TRANSCODE_UNENCODABLE, "args[1]", ":improper_list" },
	{ ARGS, "6c 00 00 00 02 6a 68 01 74 00 00 00 01 77 03 'key' " IMP "6a",
	  TRANSCODE_UNENCODABLE, "args[1][0].key", ":improper_list" },
	{ ARGS, "6c 00 00 00 01 61 01 6c 00 00 00 01 " IMP "6a", TRANSCODE_UNENCODABLE, "args[1]",
	  ":improper_list" },
	{ KWARGS, "6a", TRANSCODE_UNENCODABLE, "kwargs", ":not_a_map" },
	{ KWARGS, "74 00 00 00 01 61 01 6a", TRANSCODE_UNENCODABLE, "kwargs[1]", ":not_a_name" },
	{ KWARGS, "74 00 00 00 01 6d 00 00 00 01 ff 6a", TRANSCODE_UNENCODABLE, "kwargs[k]",
	  ":not_a_name" },
	{ KWARGS, "74 00 00 00 01 77 01 'x' 6c 00 00 00 03 61 00 61 01 " IMP "6a",
	  TRANSCODE_UNENCODABLE, "kwargs.x[2]", ":improper_list" },
	{ KWARGS, "74 00 00 00 02 77 01 'x' 61 01 6d 00 00 00 01 'x' 61 02", TRANSCODE_UNENCODABLE,
	  "kwargs.x", ":duplicate_key" },
	{ KWARGS, "74 00 00 00 02 77 04 'true' 61 01 6d 00 00 00 04 'true' 61 02",
	  TRANSCODE_UNENCODABLE, "kwargs.true", ":duplicate_key" },
	{ TERM, IMP, TRANSCODE_UNENCODABLE, "root", ":improper_list" },
	{ TERM, "74 00 00 00 01 6d 00 00 00 03 e2 82 ac " IMP, TRANSCODE_UNENCODABLE,
	  "root.\xe2\x82\xac", ":improper_list" },
	{ TERM, "74 00 00 00 01 73 01 e9 " IMP, TRANSCODE_UNENCODABLE, "root.\xc3\xa9",
	  ":improper_list" },
	{ TERM, "74 00 00 00 01 62 ff ff ff fb " IMP, TRANSCODE_UNENCODABLE, "root[-5]",
	  ":improper_list" },
	{ TERM, "74 00 00 00 01 46 3f f8 00 00 00 00 00 00 " IMP, TRANSCODE_UNENCODABLE,
	  "root[1.5]", ":improper_list" },
	{ TERM, "74 00 00 00 01 6e 08 00 ff ff ff ff ff ff ff ff " IMP, TRANSCODE_UNENCODABLE,
	  "root[18446744073709551615]", ":improper_list" },
	{ TERM, "74 00 00 00 01 68 00 " IMP, TRANSCODE_UNENCODABLE, "root[k]", ":improper_list" },
	{ TERM, "74 00 00 00 02 61 01 6a 68 02 6a " IMP "6a", TRANSCODE_UNENCODABLE, "root[k]",
	  ":improper_list" }, /* within a key: the key's own place */
	{ TERM, "68 02 6a 74 00 00 00 02 61 01 6a 46 3f f0 00 00 00 00 00 00 6a",
	  TRANSCODE_UNENCODABLE, "root[1][1]", ":duplicate_key" },
	{ TERM, "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 01 'a' 61 02", TRANSCODE_UNENCODABLE,
	  "root.a", ":duplicate_key" },

	{ VALUE, "92 01 82 a1 'a' 01 c4 01 'a' 02", TRANSCODE_UNENCODABLE, "root[1].a",
	  ":duplicate_key" },
	{ VALUE, "91 81 a4 'name' a1 ff", TRANSCODE_UNENCODABLE, "root[0].name", ":invalid_utf8" },
	{ VALUE, "81 d5 01 'id' 91 d4 01 ff", TRANSCODE_UNENCODABLE, "root.id[0]",
	  ":invalid_atom" },
	{ VALUE, "81 a1 ff 01", TRANSCODE_UNENCODABLE, "root[k]", ":invalid_utf8" },
	{ VALUE, "82 07 01 c7 03 02 92 01 a1", TRANSCODE_CORRUPT, "root[k]", "cut off" },
	{ VALUE, "c9 00 00 00 03 02 92 01 a1 ff", TRANSCODE_CORRUPT, "root[1]", "cut off" },
	{ VALUE, "c9 00 00 00 04 02 92 01 a1 ff", TRANSCODE_UNENCODABLE, "root[1]",
	  ":invalid_utf8" },
	{ VALUE, "81 c7 09 02 91 c7 05 0a 94 01 c0 01 c0 05", TRANSCODE_UNENCODABLE, "root[k]",
	  ":duplicate_key" },
	{ VALUE, "a3 ed a0 80", TRANSCODE_UNENCODABLE, "root", ":invalid_utf8" },
	{ VALUE, "", TRANSCODE_CORRUPT, "root", "cut off" },
	{ VALUE, "c1", TRANSCODE_CORRUPT, "root", "the tag that is never used" },
	{ VALUE, "92 01", TRANSCODE_CORRUPT, "root", "a count beyond the end" },
	{ VALUE, "92 01 cd 01", TRANSCODE_CORRUPT, "root[1]", "cut off" },
	{ VALUE, "dd ff ff ff ff 01 02 03", TRANSCODE_CORRUPT, "root", "a count beyond the end" },
	{ VALUE, "df ff ff ff ff 01 02 03", TRANSCODE_CORRUPT, "root", "a count beyond the end" },
	{ VALUE, "df 80 00 00 00 01 02 03", TRANSCODE_CORRUPT, "root", "a count beyond the end" },
	{ VALUE, "db ff ff ff ff 'x'", TRANSCODE_CORRUPT, "root", "cut off" },
	{ VALUE, "c6 00 00 00 02 'x'", TRANSCODE_CORRUPT, "root", "cut off" },
	{ VALUE, "c9 ff ff ff ff 02 91 01", TRANSCODE_CORRUPT, "root", "cut off" },
	{ VALUE, "d4 00 00", TRANSCODE_CORRUPT, "root", "an unknown extension" },
	{ VALUE, "d4 0b 00", TRANSCODE_UNENCODABLE, "root", ":krait_input" },
	{ VALUE, "d4 0e 00", TRANSCODE_CORRUPT, "root", "an unknown extension" },
	{ VALUE, "d6 ff 00 00 00 00", TRANSCODE_CORRUPT, "root",
	  "an unknown extension" }, /* timestamp */
	{ VALUE, "c7 02 02 90 90", TRANSCODE_CORRUPT, "root",
	  "an extension longer than its content" },
	{ VALUE, "c7 03 02 91 01 01", TRANSCODE_CORRUPT, "root[0]",
	  "an extension longer than its content" },
	{ VALUE, "c7 02 02 92 01", TRANSCODE_CORRUPT, "root",
	  "an extension whose content is not its array" },
	{ VALUE, "d4 02 05", TRANSCODE_CORRUPT, "root",
	  "an extension whose content is not its array" },
	{ VALUE, "d4 02 80", TRANSCODE_CORRUPT, "root",
	  "an extension whose content is not its array" },
	{ VALUE, "c7 00 02", TRANSCODE_CORRUPT, "root",
	  "an extension whose content is not its array" },
	{ VALUE, "d5 0a 91 01", TRANSCODE_CORRUPT, "root",
	  "an extension whose content is not its array" },
	{ VALUE, "d5 02 91 92 01 02", TRANSCODE_CORRUPT, "root[0]", "a count beyond the end" },
	{ VALUE, "c7 00 03", TRANSCODE_CORRUPT, "root", "a BIGINT without a sign" },
	{ VALUE, "d4 03 02", TRANSCODE_CORRUPT, "root", "a BIGINT without a sign" },
	{ VALUE, "c7 12 05 67" NODE "00 00 00 01 00 00 00 02 03", TRANSCODE_CORRUPT, "root",
	  "a pid, reference, port or export that is none" }, /* a pid as reference */
	{ VALUE, "c7 13 04 67" NODE "00 00 00 01 00 00 00 02 03 00", TRANSCODE_CORRUPT, "root",
	  "a pid, reference, port or export that is none" }, /* more than the pid */
	{ VALUE, "c7 11 04 67" NODE "00 00 00 01 00 00 00 02", TRANSCODE_CORRUPT, "root",
	  "a pid, reference, port or export that is none" }, /* less */
	{ VALUE, "d5 08 61 01", TRANSCODE_CORRUPT, "root", "an OPAQUE that is none" },
	{ VALUE, "d4 08 6a", TRANSCODE_CORRUPT, "root", "an OPAQUE that is none" },
};

START_TEST(each_fault_says_where_and_what)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	uint8_t *copy;

	put_hex(&in, faults[_i].in);
	copy = exact(&in, in.len);
	buf_free(&in);
	in.data = copy;
	put_hex(&out, "'before'");
	in.len = 0;
	{
		struct buf again = { 0 };

		put_hex(&again, faults[_i].in);
		in.len = again.len;
		buf_free(&again);
	}
	ck_assert_int_eq(pass(faults[_i].way, &in, &plain, &out, &err), -EINVAL);
	ck_assert_msg(err.fault == faults[_i].fault && strcmp(err.where, faults[_i].where) == 0 &&
			      strcmp(err.what, faults[_i].what) == 0,
		      "%s: fault %d, %s, %s", faults[_i].in, err.fault, err.where, err.what);
	ck_assert(out.len == 6 && out.err == 0 && memcmp(out.data, "before", 6) == 0);
	free(copy);
	buf_free(&out);
}
END_TEST

START_TEST(long_paths_are_cut_in_front_and_long_keys_behind)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	char key[200];

	for (int i = 0; i < 10; i++) {
		term_put_map(&in, 1);
		memset(key, 'a' + i, 100);
		memcpy(key + 63, "\xc3\xa9", 2); /* across the cut */
		term_put_binary(&in, key, 100);
	}
	put_hex(&in, IMP);
	ck_assert_int_eq(transcode_term(in.data, "root", &plain, &out, &err), -EINVAL);
	ck_assert_uint_eq(strlen(err.where), sizeof err.where - 1);
	ck_assert(memcmp(err.where, "...", 3) == 0);
	ck_assert_str_eq(err.where + 255 - 64,
			 ".jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj");
	in.len = 0;
	for (int i = 0; i < 2; i++) {
		term_put_map(&in, 1);
		for (int k = 0; k < 20; k++)
			memcpy(key + 4 * k, "\xf0\x9f\x90\x8d", 4);
		term_put_binary(&in, key, 80);
	}
	put_hex(&in, IMP);
	memset(key, 'r', 199);
	key[199] = '\0';
	ck_assert_int_eq(transcode_term(in.data, key, &plain, &out, &err), -EINVAL);
	ck_assert(memcmp(err.where, "...r", 4) == 0 && term_utf8(err.where, strlen(err.where)));
	for (int shift = 0; shift < 8; shift++) { /* a cut between any two bytes leaves UTF-8 */
		in.len = 0;
		for (int i = 0; i < 6; i++) {
			term_put_map(&in, 1);
			memset(key, 'x', 80);
			for (int k = 0; k < 12; k++)
				memcpy(key + shift + 4 * k, "\xf0\x9f\x90\x8d", 4);
			term_put_binary(&in, key, 60);
		}
		put_hex(&in, IMP);
		ck_assert_int_eq(transcode_term(in.data, "r", &plain, &out, &err), -EINVAL);
		ck_assert(memcmp(err.where, "...", 3) == 0 &&
			  term_utf8(err.where, strlen(err.where)));
	}
	buf_free(&in);
	buf_free(&out);
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
	Suite *s = suite_create("transcode");
	TCase *t = tcase_create("transcode");

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, each_term_has_its_msgpack_and_comes_back, 0, ROWS(same));
	tcase_add_loop_test(t, other_encodings_become_the_one, 0, ROWS(one_way));
	tcase_add_test(t, with_strings_bytes_every_binary_is_bin);
	tcase_add_loop_test(t, each_fault_says_where_and_what, 0, ROWS(faults));
	tcase_add_test(t, long_paths_are_cut_in_front_and_long_keys_behind);
	return run(s);
}
