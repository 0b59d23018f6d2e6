/* check_transcode.c - the mapping table, its faults with their paths, and what a hostile side may send. */
#include "transcode.h"

#include "mem.h"
#include "term_given.h"

#include <errno.h>
#include <math.h>
#include <msgpack.h>

#ifndef ROUNDS
#define ROUNDS 100000
#endif

static const struct transcode_options plain = { 100, 1 << 30, true };
static const struct transcode_options raw = { 100, 1 << 30, false };

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

#define FUN "70 00 00 00 48 00 65 36 1a a4 61 59 0d 1b df 1e b6 2d 1a 6e b0 80 00 00 00 2b 00 00 00 01" \
	"77 08 'erl_eval' 61 2b 62 00 32 9b 0d 58" NODE "00 00 00 09 00 00 00 00 00 00 00 00"	      \
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
	{ "6d 00 00 00 1f '0123456789012345678901234567890'", "bf '0123456789012345678901234567890'" },
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
	{ TERM, "66" NODE "00 00 00 07 01", "c7 15 06 78" NODE "00 00 00 00 00 00 00 07 00 00 00 01" },
	{ TERM, "59" NODE "00 00 00 07 00 00 00 63",
	  "c7 15 06 78" NODE "00 00 00 00 00 00 00 07 00 00 00 63" },
	{ TERM, "72 00 01" NODE "01 00 00 00 09", "c7 13 05 5a 00 01" NODE "00 00 00 01 00 00 00 09" },
	{ TERM, "71 64 00 01 'm' 73 01 'f' 61 02", "c7 09 07 71 77 01 'm' 77 01 'f' 61 02" },
	{ TERM, "4d 00 00 00 02 03 ff ff", "d7 08 4d 00 00 00 02 03 ff e0" }, /* bits beyond its end */
	{ TERM, "4d 00 00 00 02 08 'ab'", "a2 'ab'" },                         /* whole bytes */
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
	{ ARGS, "6c 00 00 00 01 68 02 77 05 'bytes' 61 01 6a", "91 c9 00 00 00 0a 02 92 c7 05 01 'bytes' 01" },
	{ ARGS, "6c 00 00 00 01 6c 00 00 00 01 68 02 77 05 'bytes' 6d 00 00 00 01 'x' 6a 6a",
	  "91 91 c9 00 00 00 0b 02 92 c7 05 01 'bytes' a1 'x'" },
	{ TERM, "68 02 77 05 'bytes' 6d 00 00 00 01 'x'", "c9 00 00 00 0b 02 92 c7 05 01 'bytes' a1 'x'" },
	{ KWARGS, "74 00 00 00 00", "80" },
	{ KWARGS, "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 02 c3 a9 68 02 77 05 'bytes' 6d 00 00 00 01 'x'",
	  "82 a1 'a' 01 a2 c3 a9 c4 01 'x'" },
	{ KWARGS, "74 00 00 00 02 73 01 e9 6a 77 04 'true' 77 04 'true'", "82 a2 c3 a9 90 a4 'true' c3" },
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
	{ VALUE, "c7 03 09 92 01 02", "6c 00 00 00 02 61 01 61 02 6a" }, /* a key that became a value */
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
	becomes(KWARGS, "74 00 00 00 01 6d 00 00 00 01 'k' 6d 00 00 00 01 'v'", "81 a1 'k' c4 01 'v'", &raw);
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
	{ ARGS, "6c 00 00 00 02 6a 68 01 74 00 00 00 01 77 03 'key' " IMP "6a", TRANSCODE_UNENCODABLE,
	  "args[1][0].key", ":improper_list" },
	{ ARGS, "6c 00 00 00 01 61 01 6c 00 00 00 01 " IMP "6a", TRANSCODE_UNENCODABLE, "args[1]",
	  ":improper_list" },
	{ KWARGS, "6a", TRANSCODE_UNENCODABLE, "kwargs", ":not_a_map" },
	{ KWARGS, "74 00 00 00 01 61 01 6a", TRANSCODE_UNENCODABLE, "kwargs[1]", ":not_a_name" },
	{ KWARGS, "74 00 00 00 01 6d 00 00 00 01 ff 6a", TRANSCODE_UNENCODABLE, "kwargs[k]", ":not_a_name" },
	{ KWARGS, "74 00 00 00 01 77 01 'x' 6c 00 00 00 03 61 00 61 01 " IMP "6a", TRANSCODE_UNENCODABLE,
	  "kwargs.x[2]", ":improper_list" },
	{ KWARGS, "74 00 00 00 02 77 01 'x' 61 01 6d 00 00 00 01 'x' 61 02", TRANSCODE_UNENCODABLE,
	  "kwargs.x", ":duplicate_key" },
	{ KWARGS, "74 00 00 00 02 77 04 'true' 61 01 6d 00 00 00 04 'true' 61 02", TRANSCODE_UNENCODABLE,
	  "kwargs.true", ":duplicate_key" },
	{ TERM, IMP, TRANSCODE_UNENCODABLE, "root", ":improper_list" },
	{ TERM, "74 00 00 00 01 6d 00 00 00 03 e2 82 ac " IMP, TRANSCODE_UNENCODABLE,
	  "root.\xe2\x82\xac", ":improper_list" },
	{ TERM, "74 00 00 00 01 73 01 e9 " IMP, TRANSCODE_UNENCODABLE, "root.\xc3\xa9", ":improper_list" },
	{ TERM, "74 00 00 00 01 62 ff ff ff fb " IMP, TRANSCODE_UNENCODABLE, "root[-5]", ":improper_list" },
	{ TERM, "74 00 00 00 01 46 3f f8 00 00 00 00 00 00 " IMP, TRANSCODE_UNENCODABLE, "root[1.5]",
	  ":improper_list" },
	{ TERM, "74 00 00 00 01 6e 08 00 ff ff ff ff ff ff ff ff " IMP, TRANSCODE_UNENCODABLE,
	  "root[18446744073709551615]", ":improper_list" },
	{ TERM, "74 00 00 00 01 68 00 " IMP, TRANSCODE_UNENCODABLE, "root[k]", ":improper_list" },
	{ TERM, "74 00 00 00 02 61 01 6a 68 02 6a " IMP "6a", TRANSCODE_UNENCODABLE, "root[k]",
	  ":improper_list" }, /* within a key: the key's own place */
	{ TERM, "68 02 6a 74 00 00 00 02 61 01 6a 46 3f f0 00 00 00 00 00 00 6a", TRANSCODE_UNENCODABLE,
	  "root[1][1]", ":duplicate_key" },
	{ TERM, "74 00 00 00 02 77 01 'a' 61 01 6d 00 00 00 01 'a' 61 02", TRANSCODE_UNENCODABLE,
	  "root.a", ":duplicate_key" },

	{ VALUE, "92 01 82 a1 'a' 01 c4 01 'a' 02", TRANSCODE_UNENCODABLE, "root[1].a", ":duplicate_key" },
	{ VALUE, "91 81 a4 'name' a1 ff", TRANSCODE_UNENCODABLE, "root[0].name", ":invalid_utf8" },
	{ VALUE, "81 d5 01 'id' 91 d4 01 ff", TRANSCODE_UNENCODABLE, "root.id[0]", ":invalid_atom" },
	{ VALUE, "81 a1 ff 01", TRANSCODE_UNENCODABLE, "root[k]", ":invalid_utf8" },
	{ VALUE, "82 07 01 c7 03 02 92 01 a1", TRANSCODE_CORRUPT, "root[k]", "cut off" },
	{ VALUE, "c9 00 00 00 03 02 92 01 a1 ff", TRANSCODE_CORRUPT, "root[1]", "cut off" },
	{ VALUE, "c9 00 00 00 04 02 92 01 a1 ff", TRANSCODE_UNENCODABLE, "root[1]", ":invalid_utf8" },
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
	{ VALUE, "d4 0b 00", TRANSCODE_CORRUPT, "root", "an unknown extension" },
	{ VALUE, "d6 ff 00 00 00 00", TRANSCODE_CORRUPT, "root", "an unknown extension" }, /* timestamp */
	{ VALUE, "c7 02 02 90 90", TRANSCODE_CORRUPT, "root", "an extension longer than its content" },
	{ VALUE, "c7 03 02 91 01 01", TRANSCODE_CORRUPT, "root[0]", "an extension longer than its content" },
	{ VALUE, "c7 02 02 92 01", TRANSCODE_CORRUPT, "root", "an extension whose content is not its array" },
	{ VALUE, "d4 02 05", TRANSCODE_CORRUPT, "root", "an extension whose content is not its array" },
	{ VALUE, "d4 02 80", TRANSCODE_CORRUPT, "root", "an extension whose content is not its array" },
	{ VALUE, "c7 00 02", TRANSCODE_CORRUPT, "root", "an extension whose content is not its array" },
	{ VALUE, "d5 0a 91 01", TRANSCODE_CORRUPT, "root", "an extension whose content is not its array" },
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

/* Pairs of keys: are they one in Python? In the BEAM they are two. */
#define FLOAT(bits) "46 " bits
static const struct {
	const char *one, *two;
	bool clash, clash_raw; /* strings = utf8, bytes */
} python_keys[] = {
	{ "61 01", "46 3f f0 00 00 00 00 00 00", true, true },
	{ "61 01", "77 04 'true'", true, true },
	{ "46 3f f0 00 00 00 00 00 00", "77 04 'true'", true, true },
	{ "61 00", "77 05 'false'", true, true },
	{ "61 00", "46 80 00 00 00 00 00 00 00", true, true },
	{ "46 00 00 00 00 00 00 00 00", "46 80 00 00 00 00 00 00 00", true, true },
	{ "61 01", "61 02", false, false },
	{ "61 02", "77 04 'true'", false, false },
	{ "61 00", "77 03 'nil'", false, false },
	{ "77 04 'true'", "6d 00 00 00 04 'true'", false, false },
	{ "77 03 'nil'", "6d 00 00 00 03 'nil'", false, false },
	{ "62 ff ff ff ff", "46 bf f0 00 00 00 00 00 00", true, true },
	/* 2^53 and 2^53 + 1 against 2.0^53 */
	{ "6e 07 00 00 00 00 00 00 00 20", "46 43 40 00 00 00 00 00 00", true, true },
	{ "6e 07 00 01 00 00 00 00 00 20", "46 43 40 00 00 00 00 00 00", false, false },
	/* 2^63, -2^63, 2^63 - 1, 2^64, 2^100 */
	{ "6e 08 00 00 00 00 00 00 00 00 80", "46 43 e0 00 00 00 00 00 00", true, true },
	{ "6e 08 01 00 00 00 00 00 00 00 80", "46 c3 e0 00 00 00 00 00 00", true, true },
	{ "6e 08 00 ff ff ff ff ff ff ff 7f", "46 43 e0 00 00 00 00 00 00", false, false },
	{ "6e 09 00 00 00 00 00 00 00 00 00 01", "46 43 f0 00 00 00 00 00 00", true, true },
	{ "6e 09 01 00 00 00 00 00 00 00 00 01", "46 43 f0 00 00 00 00 00 00", false, false },
	{ "6e 0d 00 00 00 00 00 00 00 00 00 00 00 00 00 10", "46 46 30 00 00 00 00 00 00", true, true },
	{ "6e 0d 00 01 00 00 00 00 00 00 00 00 00 00 00 10", "46 46 30 00 00 00 00 00 00", false, false },
	{ "61 01", "46 3f f8 00 00 00 00 00 00", false, false },
	/* text */
	{ "77 01 'a'", "6d 00 00 00 01 'a'", true, false },
	{ "73 01 e9", "6d 00 00 00 02 c3 a9", true, false },
	{ "73 01 e9", "6d 00 00 00 01 e9", false, false },
	{ "77 01 'a'", "6d 00 00 00 01 'b'", false, false },
	{ "77 01 'a'", "4d 00 00 00 01 08 'a'", true, false },
	/* what has elements */
	{ "68 01 61 01", "68 01 46 3f f0 00 00 00 00 00 00", true, true },
	{ "68 01 61 01", "68 02 61 01 61 01", false, false },
	{ "68 01 61 01", "6c 00 00 00 01 61 01 6a", false, false },
	{ "68 00", "6a", false, false },
	{ "6a", "74 00 00 00 00", false, false },
	{ "6b 00 01 01", "6c 00 00 00 01 46 3f f0 00 00 00 00 00 00 6a", true, true },
	{ "6b 00 02 01 02", "6b 00 02 02 01", false, false },
	{ "68 02 77 01 'a' 61 01", "68 02 6d 00 00 00 01 'a' 77 04 'true'", true, false },
	{ "68 02 68 01 61 01 61 02", "68 02 61 01 68 01 61 02", false, false },
	{ "74 00 00 00 01 61 01 61 02",
	  "74 00 00 00 01 46 3f f0 00 00 00 00 00 00 46 40 00 00 00 00 00 00 00", true, true },
	{ "74 00 00 00 02 61 01 61 02 61 03 61 04", "74 00 00 00 02 46 40 08 00 00 00 00 00 00 61 04 61 01 61 02",
	  true, true },
	{ "74 00 00 00 02 61 01 61 02 61 03 61 04", "74 00 00 00 02 61 01 61 04 61 03 61 02", false, false },
	{ "68 01 6c 00 00 00 01 61 01 6a", "68 01 6c 00 00 00 01 77 04 'true' 6a", true, true },
	/* the same, as no BEAM would send */
	{ "68 00", "68 00", true, true },
	{ "67" NODE "00 00 00 01 00 00 00 02 03", "58" NODE "00 00 00 01 00 00 00 02 00 00 00 03", false, false },
};

static int both_keys(const char *one, const char *two, uint32_t fillers, const struct transcode_options *opts)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	int rc;

	term_put_map(&in, 2 + fillers);
	put_hex(&in, one);
	term_put_nil(&in);
	for (uint32_t i = 0; i < fillers; i++) {
		term_put_int(&in, 1000 + i);
		term_put_nil(&in);
	}
	put_hex(&in, two);
	term_put_nil(&in);
	ck_assert_int_eq(term_check(in.data, in.len, NULL), 0);
	rc = transcode_term(in.data, "x", opts, &out, &err);
	ck_assert(rc == 0 || (err.fault == TRANSCODE_UNENCODABLE && strcmp(err.what, ":duplicate_key") == 0));
	buf_free(&in);
	buf_free(&out);
	return rc;
}

START_TEST(keys_that_are_one_in_python_are_refused)
{
	for (uint32_t fillers = 0; fillers <= 60; fillers += 20) {
		for (int swap = 0; swap < 2; swap++) {
			const char *one = swap ? python_keys[_i].two : python_keys[_i].one;
			const char *two = swap ? python_keys[_i].one : python_keys[_i].two;

			ck_assert_msg((both_keys(one, two, fillers, &plain) != 0) == python_keys[_i].clash,
				      "%s, %s", one, two);
			ck_assert_msg((both_keys(one, two, fillers, &raw) != 0) == python_keys[_i].clash_raw,
				      "%s, %s as bytes", one, two);
		}
	}
}
END_TEST

START_TEST(a_clash_within_a_key_is_refused_even_if_the_key_is_alone)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;

	put_hex(&in, "74 00 00 00 01 68 01 74 00 00 00 02 61 01 6a 77 04 'true' 6a 61 05");
	ck_assert_int_eq(term_check(in.data, in.len, NULL), 0);
	ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), -EINVAL);
	ck_assert_str_eq(err.what, ":duplicate_key");
	ck_assert_str_eq(err.where, "x[k]");
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* Keys of a dict: are they one term? Fun bodies that differ in their creator only, too. */
#define FUN_BY(pid, env) "c7 37 08 70 00 00 00 36 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07 00 00 00 01" \
	"77 01 'm' 61 07 61 08 58 77 01 'n' " pid " 00 00 00 00 00 00 00 00 61 " env
static const struct {
	const char *one, *two;
	bool clash;
} term_keys[] = {
	{ "a1 'a'", "c4 01 'a'", true },
	{ "a1 'a'", "d4 01 'a'", false },
	{ "a1 'a'", "a1 'a'", true },
	{ "01", "cb 3f f0 00 00 00 00 00 00", false },
	{ "01", "c3", false },
	{ "01", "cc 01", true },
	{ "01", "c7 02 03 00 01", true },
	{ "c3", "c7 04 01 'true'", true },
	{ "c0", "c7 03 01 'nil'", true },
	{ "cb 00 00 00 00 00 00 00 00", "cb 80 00 00 00 00 00 00 00", true },
	{ "ca 3f c0 00 00", "cb 3f f8 00 00 00 00 00 00", true },
	{ "cb 7f f8 00 00 00 00 00 00", "c7 03 01 'nan'", true },
	{ "cb 7f f8 00 00 00 00 00 00", "cb ff f8 00 00 00 00 00 01", true },
	{ "d4 02 90", "c7 01 02 90", true },
	{ "d4 02 90", "d4 09 90", false },
	{ "d4 09 90", "90", true },
	{ "d4 0a 90", "80", true },
	{ "d4 0a 90", "90", false },
	{ "d5 02 91 01", "d5 02 91 02", false },
	{ "d5 02 91 01", "c7 03 02 91 cc 01", true },
	{ "c7 05 0a 94 01 02 03 04", "c7 05 0a 94 03 04 01 02", true }, /* maps have no order */
	{ "c7 05 0a 94 01 02 03 04", "c7 05 0a 94 01 04 03 02", false },
	{ "c7 06 02 91 0a 92 01 02", "c7 06 02 91 82 01 02 03", false },
	{ "c7 12 04 67" NODE "00 00 00 01 00 00 00 02 03", "c7 15 04 58" NODE "00 00 00 01 00 00 00 02 00 00 00 03",
	  true },
	{ "d7 08 4d 00 00 00 02 03 ff e0", "d7 08 4d 00 00 00 02 03 ff ff", true },
	{ "d7 08 4d 00 00 00 02 03 ff e0", "d7 08 4d 00 00 00 02 04 ff e0", false },
	{ "d7 08 4d 00 00 00 02 08 'ab'", "a2 'ab'", true },
	{ FUN_BY("00 00 00 01", "05"), FUN_BY("00 00 00 02", "05"), true },
	{ FUN_BY("00 00 00 01", "05"), FUN_BY("00 00 00 01", "06"), false },
	{ "c7 09 07 71 77 01 'm' 77 01 'f' 61 02", "c7 0b 07 71 64 00 01 'm' 76 00 01 'f' 61 02", true },
	{ "ff", "cf ff ff ff ff ff ff ff ff", false },
};

START_TEST(keys_that_are_one_term_are_refused)
{
	for (uint32_t fillers = 0; fillers <= 60; fillers += 20) {
		for (int swap = 0; swap < 2; swap++) {
			struct buf in = { 0 }, out = { 0 };
			struct transcode_error err;
			int rc;

			buf_put_u8(&in, 0xde);
			buf_put_u16(&in, 2 + fillers);
			put_hex(&in, swap ? term_keys[_i].one : term_keys[_i].two);
			buf_put_u8(&in, 0xc0);
			for (uint32_t i = 0; i < fillers; i++)
				put_hex(&in, "cd"), buf_put_u16(&in, 1000 + i), buf_put_u8(&in, 0xc0);
			put_hex(&in, swap ? term_keys[_i].two : term_keys[_i].one);
			buf_put_u8(&in, 0xc0);
			rc = transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err);
			if (strstr(term_keys[_i].two, "82 01 02 03") == NULL)
				ck_assert_msg((rc != 0) == term_keys[_i].clash, "%s, %s: %d %s %s",
					      term_keys[_i].one, term_keys[_i].two, rc, err.where, err.what);
			if (rc != 0 && term_keys[_i].clash)
				ck_assert_str_eq(err.what, ":duplicate_key");
			buf_free(&in);
			buf_free(&out);
		}
	}
}
END_TEST

START_TEST(a_forged_fun_with_a_key_twice_is_refused)
{
	struct buf fun = { 0 }, in = { 0 }, out = { 0 };
	struct transcode_error err;

	put_hex(&fun, "70 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07 00 00 00 01"
		      "77 01 'm' 61 07 61 08 58 77 01 'n' 00 00 00 01 00 00 00 00 00 00 00 00"
		      "74 00 00 00 02 61 01 6a 61 01 6a");
	put_u32(fun.data + 1, (uint32_t)fun.len - 1);
	ck_assert_int_eq(term_check(fun.data, fun.len, NULL), 0);
	put_hex(&in, "c7");
	buf_put_u8(&in, (uint8_t)fun.len);
	put_hex(&in, "08");
	buf_put(&in, fun.data, fun.len);
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
	ck_assert_int_eq(err.fault, TRANSCODE_CORRUPT);
	in.data[in.len - 2] = 2; /* another key */
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), 0);
	buf_free(&fun);
	buf_free(&in);
	buf_free(&out);
}
END_TEST

START_TEST(atoms_from_a_worker_have_at_most_255_characters)
{
	for (uint32_t chars = 127; chars <= 256; chars++) {
		struct buf in = { 0 }, out = { 0 };
		struct transcode_error err;
		int rc;

		buf_put_u8(&in, 0xc8);
		buf_put_u16(&in, 2 * chars);
		buf_put_u8(&in, 1);
		for (uint32_t i = 0; i < chars; i++)
			buf_put(&in, "\xc3\xa9", 2);
		rc = transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err);
		ck_assert_int_eq(rc, chars <= 255 ? 0 : -EINVAL);
		if (rc == 0)
			ck_assert_int_eq(term_check(out.data, out.len, NULL), 0);
		else
			ck_assert_str_eq(err.what, ":invalid_atom");
		buf_free(&in);
		buf_free(&out);
	}
}
END_TEST

START_TEST(absurd_integers_and_tuples_are_refused)
{
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;
	const uint32_t big = 512 * 1024 - 8, arity = 1 << 24;

	for (uint32_t n = big; n <= big + 1; n++) {
		in.len = 0;
		buf_put_u8(&in, 0xc9);
		buf_put_u32(&in, n + 1);
		put_hex(&in, "03 00");
		for (uint32_t i = 0; i < n; i++)
			buf_put_u8(&in, 0xff);
		ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err),
				 n == big ? 0 : -EINVAL);
	}
	ck_assert_str_eq(err.what, ":integer_too_large");
	in.len = 0;
	buf_put_u8(&in, 0xc9);
	buf_put_u32(&in, arity + 5);
	put_hex(&in, "02 dd");
	buf_put_u32(&in, arity);
	ck_assert_int_eq(buf_reserve(&in, arity), 0);
	memset(in.data + in.len, 0xc0, arity);
	in.len += arity;
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
	ck_assert_str_eq(err.what, ":tuple_too_large");
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* `depth` containers, the innermost empty. */
static void put_deep_term(struct buf *b, uint32_t depth, int kind)
{
	static const char *const open[] = { "6c 00 00 00 01", "68 01", "74 00 00 00 01 61 01",
					    "74 00 00 00 01" };
	static const char *const last[] = { "6a", "68 00", "74 00 00 00 00", "74 00 00 00 00" };

	for (uint32_t i = 1; i < depth; i++)
		put_hex(b, open[kind]);
	put_hex(b, last[kind]);
	for (uint32_t i = 1; i < depth; i++) {
		if (kind == 0)
			put_hex(b, "6a");
		if (kind == 3)
			put_hex(b, "61 01");
	}
}

START_TEST(nesting_is_allowed_to_the_limit_and_not_beyond)
{
	static const uint32_t limits[] = { 1, 2, 7, 500, TRANSCODE_DEPTH_MAX };

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct transcode_options opts = { limits[i], 1 << 30, true };

		for (uint32_t depth = limits[i]; depth <= limits[i] + 1; depth++) {
			struct buf term = { 0 }, args = { 0 }, packed = { 0 }, back = { 0 };
			struct transcode_options far = { TRANSCODE_DEPTH_MAX, 1 << 30, true };
			struct transcode_error err;
			int want = depth <= limits[i] ? 0 : -EINVAL;

			put_deep_term(&term, depth, _i);
			ck_assert_int_eq(transcode_term(term.data, "x", &opts, &packed, &err), want);
			if (want != 0)
				ck_assert(err.fault == TRANSCODE_TOO_DEEP && err.limit == limits[i]);
			packed.len = 0;
			put_hex(&args, "6c 00 00 00 01");
			buf_put(&args, term.data, term.len);
			put_hex(&args, "6a");
			ck_assert_int_eq(transcode_args(args.data, &opts, &packed, &err), want);
			if (depth <= TRANSCODE_DEPTH_MAX) {
				packed.len = 0;
				ck_assert_int_eq(transcode_term(term.data, "x", &far, &packed, &err), 0);
				ck_assert_int_eq(transcode_value(packed.data, packed.len, "x", &opts, &back,
								 NULL, &err),
						 want);
				ck_assert(want == 0 ? back.len == term.len :
						      err.fault == TRANSCODE_TOO_DEEP && err.limit == limits[i]);
			}
			buf_free(&term);
			buf_free(&args);
			buf_free(&packed);
			buf_free(&back);
		}
	}
}
END_TEST

START_TEST(bombs_are_answered_at_once)
{
	static const struct {
		const char *piece, *end;
		enum transcode_fault fault;
	} rows[] = { { "91", "90", TRANSCODE_TOO_DEEP },
		     { "81 01", "90", TRANSCODE_TOO_DEEP },
		     { "81", "90", TRANSCODE_CORRUPT }, /* a count beyond the end comes first */
		     { "dd 00 00 00 01", "90", TRANSCODE_TOO_DEEP } };
	const size_t n = 3000000;
	double start = seconds();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf one = { 0 }, in = { 0 }, out = { 0 };
		struct transcode_error err;

		put_hex(&one, rows[i].piece);
		for (size_t k = 0; k < n; k++)
			buf_put(&in, one.data, one.len);
		put_hex(&in, rows[i].end);
		ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
		ck_assert(err.fault == TRANSCODE_TOO_DEEP || err.fault == rows[i].fault);
		buf_free(&one);
		buf_free(&in);
		buf_free(&out);
	}
	{
		struct buf in = { 0 }, out = { 0 };
		struct transcode_error err;

		for (size_t k = 0; k < n; k++)
			term_put_list(&in, 1);
		for (size_t k = 0; k <= n; k++)
			term_put_nil(&in);
		ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), -EINVAL);
		ck_assert_int_eq(err.fault, TRANSCODE_TOO_DEEP);
		in.len = 0; /* [ | [ | [ ... ]]], which is one flat, empty list */
		for (size_t k = 0; k < n; k++)
			put_u32(in.data + 5 * k + 1, 0), in.data[5 * k] = 0x6c;
		in.data[5 * n] = 0x6a;
		ck_assert_int_eq(term_check(in.data, 5 * n + 1, NULL), 0);
		ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), 0);
		ck_assert_uint_eq(out.len, 5);
		buf_free(&in);
		buf_free(&out);
	}
	ck_assert_msg(seconds() - start < 10, "took %f s", seconds() - start);
}
END_TEST

/* Maps that need the check: many keys, and keys within keys within keys. */
START_TEST(the_check_for_duplicates_is_linear)
{
	const uint32_t n = 500000;
	struct buf in = { 0 }, out = { 0 }, back = { 0 };
	struct transcode_options deep = { 1000, 1 << 30, true };
	struct transcode_error err;
	double start = seconds(), took;

	term_put_map(&in, n);
	for (uint32_t i = 0; i < n; i++) {
		if (i % 2 == 0)
			term_put_int(&in, i);
		else
			term_put_float(&in, i + 0.5);
		term_put_nil(&in);
	}
	ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), 0);
	ck_assert_int_eq(transcode_value(out.data, out.len, "x", &plain, &back, NULL, &err), 0);
	ck_assert(back.len == in.len && memcmp(back.data, in.data, in.len) == 0);
	in.len = out.len = back.len = 0;
	for (int i = 0; i < 900; i++) { /* #{ #{ #{ ... } => Big } => Big } */
		term_put_map(&in, 1);
	}
	term_put_nil(&in);
	for (int i = 0; i < 900; i++) {
		term_put_list(&in, 1000);
		for (int k = 0; k < 1000; k++)
			term_put_int(&in, k);
		term_put_nil(&in);
	}
	ck_assert_int_eq(transcode_term(in.data, "x", &deep, &out, &err), 0);
	ck_assert_int_eq(transcode_value(out.data, out.len, "x", &deep, &back, NULL, &err), 0);
	ck_assert(back.len == in.len && memcmp(back.data, in.data, in.len) == 0);
	took = seconds() - start;
	ck_assert_msg(took < 5, "took %f s", took);
	buf_free(&in);
	buf_free(&out);
	buf_free(&back);
}
END_TEST

START_TEST(the_longest_output_is_the_limit_and_a_byte_more_is_too_large)
{
	static const char *const rows[] = {
		"6d 00 00 00 05 'abcde'",
		"6b 00 05 ff ff ff ff ff",
		"6c 00 00 00 03 61 ff 68 01 77 02 'ab' 74 00 00 00 01 61 01 6a 6a",
		"6e 09 00 00 00 00 00 00 00 00 00 01",
		"58" NODE "00 00 00 01 00 00 00 02 ff ff ff fe",
		"61 01",
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf in = { 0 }, packed = { 0 }, back = { 0 };
		struct transcode_error err;

		put_hex(&in, rows[i]);
		ck_assert_int_eq(transcode_term(in.data, "x", &plain, &packed, &err), 0);
		ck_assert_int_eq(transcode_value(packed.data, packed.len, "x", &plain, &back, NULL, &err), 0);
		for (int how = 0; how < 4; how++) { /* in or out, by option or by the buffer's own limit */
			size_t whole = how < 2 ? packed.len : back.len;

			for (size_t limit = 0; limit <= whole + 1; limit++) {
				struct transcode_options opts = { 100, how % 2 == 0 ? limit : SIZE_MAX, true };
				struct buf out = { 0 };
				int rc;

				put_hex(&out, "'before'");
				out.limit = how % 2 == 0 ? 0 : 6 + limit;
				rc = how < 2 ? transcode_term(in.data, "x", &opts, &out, &err) :
					       transcode_value(packed.data, packed.len, "x", &opts, &out,
							       NULL, &err);
				ck_assert_msg(rc == (limit >= whole ? 0 : -EINVAL), "%s %d %zu", rows[i], how,
					      limit);
				ck_assert_uint_eq(out.len, rc == 0 ? 6 + whole : 6);
				ck_assert_uint_eq(out.limit, how % 2 == 0 ? 0 : 6 + limit);
				ck_assert_int_eq(out.err, 0);
				if (rc != 0)
					ck_assert_msg(err.fault == TRANSCODE_TOO_LARGE && err.limit == limit &&
						  err.bytes > limit && err.bytes <= whole, "%s %d: %d, %zu of %zu: %d %d", rows[i], how, err.fault, limit, whole, (int)err.bytes, (int)err.limit);
				buf_free(&out);
			}
		}
		buf_free(&in);
		buf_free(&packed);
		buf_free(&back);
	}
}
END_TEST

START_TEST(a_binary_over_the_limit_is_not_copied)
{
	struct transcode_options opts = { 100, 1000, true };
	struct buf in = { 0 }, out = { 0 };
	struct transcode_error err;

	term_put_list(&in, 2);
	term_put_int(&in, 5);
	put_hex(&in, "6d 00 80 00 00");
	ck_assert_int_eq(buf_reserve(&in, 0x800001), 0);
	memset(in.data + in.len, 'x', 0x800000);
	in.len += 0x800000;
	term_put_nil(&in);
	ck_assert_int_eq(transcode_term(in.data, "x", &opts, &out, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_TOO_LARGE && err.bytes >= 0x800000 && err.limit == 1000);
	ck_assert_uint_lt(out.cap, 100000);
	buf_free(&in);
	buf_free(&out);
}
END_TEST

START_TEST(an_error_that_the_buffer_has_already_is_kept)
{
	struct buf in = { 0 }, out = { .err = -ENOMEM };
	struct transcode_error err;

	put_hex(&in, "61 01");
	ck_assert_int_eq(transcode_term(in.data, "x", &plain, &out, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_NO_MEMORY && out.err == -ENOMEM);
	out.err = -EMSGSIZE;
	ck_assert_int_eq(transcode_value(in.data, in.len, "x", &plain, &out, NULL, &err), -EINVAL);
	ck_assert(err.fault == TRANSCODE_TOO_LARGE && out.err == -EMSGSIZE);
	buf_free(&in);
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
	ck_assert_str_eq(err.where + 255 - 64, ".jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj");
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
		ck_assert(memcmp(err.where, "...", 3) == 0 && term_utf8(err.where, strlen(err.where)));
	}
	buf_free(&in);
	buf_free(&out);
}
END_TEST

/* msgpack-c must take all of it, extensions that hold msgpack included. */
static void valid_msgpack(const uint8_t *data, size_t len);

static void look(const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_ARRAY:
		for (uint32_t i = 0; i < o->via.array.size; i++)
			look(&o->via.array.ptr[i]);
		break;
	case MSGPACK_OBJECT_MAP:
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			look(&o->via.map.ptr[i].key);
			look(&o->via.map.ptr[i].val);
		}
		break;
	case MSGPACK_OBJECT_STR:
		ck_assert(term_utf8(o->via.str.ptr, o->via.str.size));
		break;
	case MSGPACK_OBJECT_EXT:
		ck_assert(o->via.ext.type >= 1 && o->via.ext.type <= 10);
		if (o->via.ext.type == 2 || o->via.ext.type >= 9)
			valid_msgpack((const uint8_t *)o->via.ext.ptr, o->via.ext.size);
		break;
	default:
		break;
	}
}

static void valid_msgpack(const uint8_t *data, size_t len)
{
	msgpack_unpacked u;
	size_t at = 0;

	msgpack_unpacked_init(&u);
	ck_assert_int_eq(msgpack_unpack_next(&u, (const char *)data, len, &at), MSGPACK_UNPACK_SUCCESS);
	ck_assert_uint_eq(at, len);
	look(&u.data);
	msgpack_unpacked_destroy(&u);
}

START_TEST(random_terms_come_back_as_they_went)
{
	struct random r = given_random("round trips");
	struct buf term = { 0 }, packed = { 0 }, back = { 0 };
	struct transcode_error err;

	for (int round = 0; round < ROUNDS; round++) {
		const struct transcode_options *opts = round % 5 == 0 ? &raw : &plain;
		size_t used;

		term.len = packed.len = back.len = 0;
		put_random(&term, &r, 1 + (int)below(&r, 4));
		ck_assert_int_eq(term.err, 0);
		ck_assert_int_eq(term_check(term.data, term.len, NULL), 0);
		if (transcode_term(term.data, "x", opts, &packed, &err) != 0)
			ck_abort_msg("round %d: %d %s %s", round, err.fault, err.where, err.what);
		if (round % 10 == 0)
			valid_msgpack(packed.data, packed.len);
		if (transcode_value(packed.data, packed.len, "x", opts, &back, &used, &err) != 0)
			ck_abort_msg("round %d, back: %d %s %s", round, err.fault, err.where, err.what);
		ck_assert_uint_eq(used, packed.len);
		if (back.len != term.len || memcmp(back.data, term.data, term.len) != 0)
			ck_abort_msg("round %d is not what it was", round);
	}
	buf_free(&term);
	buf_free(&packed);
	buf_free(&back);
}
END_TEST

START_TEST(garbage_from_a_worker_is_refused_or_becomes_a_sound_term)
{
	struct random r = given_random("garbage");
	struct buf term = { 0 }, packed = { 0 }, back = { 0 };
	struct transcode_error err;
	size_t passed = 0;

	for (int round = 0; round < ROUNDS / 2; round++) {
		uint8_t *copy;
		size_t used;

		term.len = packed.len = back.len = 0;
		put_random(&term, &r, 1 + (int)below(&r, 3));
		ck_assert_int_eq(transcode_term(term.data, "x", &plain, &packed, &err), 0);
		if (packed.len > 3000)
			packed.len = 3000;
		for (uint32_t n = 1 + below(&r, 4); n > 0; n--) {
			uint32_t at = below(&r, (uint32_t)packed.len);

			if (below(&r, 2) == 0)
				packed.data[at] ^= (uint8_t)(1u << below(&r, 8));
			else
				packed.data[at] = (uint8_t)any(&r);
		}
		copy = exact(&packed, packed.len);
		if (transcode_value(copy, packed.len, "x", &plain, &back, &used, &err) == 0) {
			passed++;
			ck_assert_int_eq(term_check(back.data, back.len, &used), 0);
			ck_assert_uint_eq(used, back.len);
		} else {
			ck_assert(err.fault != TRANSCODE_OK && back.len == 0);
			ck_assert(err.what[0] != '\0' || err.fault == TRANSCODE_TOO_DEEP);
		}
		free(copy);
	}
	ck_assert_uint_gt(passed, ROUNDS / 20);
	buf_free(&term);
	buf_free(&packed);
	buf_free(&back);
}
END_TEST

START_TEST(checked_garbage_from_a_peer_is_refused_or_becomes_msgpack)
{
	struct random r = given_random("mutants");
	struct buf term = { 0 }, packed = { 0 }, back = { 0 };
	struct transcode_error err;
	size_t passed = 0;

	for (int round = 0; round < ROUNDS / 2; round++) {
		uint8_t *copy;
		size_t used;

		term.len = packed.len = back.len = 0;
		if (below(&r, 4) == 0)
			put_hex(&term, samples[below(&r, SAMPLES)].hex);
		else
			put_random(&term, &r, 1 + (int)below(&r, 3));
		if (term.len > 3000)
			continue;
		for (uint32_t n = below(&r, 4); n > 0; n--)
			term.data[below(&r, (uint32_t)term.len)] ^= (uint8_t)(1u << below(&r, 8));
		copy = exact(&term, term.len);
		if (term_check(copy, term.len, NULL) == 0) {
			if (transcode_args(copy, &plain, &packed, &err) == 0)
				valid_msgpack(packed.data, packed.len);
			packed.len = 0;
			if (transcode_kwargs(copy, &plain, &packed, &err) == 0)
				valid_msgpack(packed.data, packed.len);
			packed.len = 0;
			if (transcode_term(copy, "x", &plain, &packed, &err) == 0) {
				passed++;
				valid_msgpack(packed.data, packed.len);
				if (transcode_value(packed.data, packed.len, "x", &plain, &back, &used,
						    &err) == 0) {
					ck_assert_uint_eq(used, packed.len);
					ck_assert_int_eq(term_check(back.data, back.len, NULL), 0);
				} else { /* a mutant may have what a BEAM would not take back */
					ck_assert_msg(err.fault == TRANSCODE_CORRUPT ||
							      err.fault == TRANSCODE_UNENCODABLE,
						      "%d", err.fault);
				}
			}
		}
		free(copy);
	}
	ck_assert_uint_gt(passed, ROUNDS / 20);
	buf_free(&term);
	buf_free(&packed);
	buf_free(&back);
}
END_TEST

/* A map that needs every kind of memory: output, offsets, prints, the table. */
static void put_hungry(struct buf *b)
{
	term_put_list(b, 1);
	term_put_map(b, 200);
	for (int i = 0; i < 200; i++) {
		if (i % 2 == 0) {
			term_put_int(b, i);
		} else {
			term_put_tuple(b, 1);
			term_put_map(b, 20);
			for (int k = 0; k < 20; k++) {
				term_put_int(b, k);
				term_put_float(b, i);
			}
		}
		term_put_text(b, "some text to make it grow");
	}
	term_put_nil(b);
}

START_TEST(any_allocation_may_fail)
{
	struct buf term = { 0 }, packed = { 0 }, back = { 0 };
	struct transcode_error err;
	long n;

	put_hungry(&term);
	ck_assert_int_eq(transcode_term(term.data, "x", &plain, &packed, &err), 0);
	for (int way = 0; way < 3; way++) {
		for (n = 0;; n++) {
			struct buf out = { 0 };
			int rc;

			put_hex(&out, "'before'");
			mem_fail_after = n;
			if (way == 0)
				rc = transcode_args(term.data, &plain, &out, &err);
			else if (way == 1)
				rc = transcode_term(term.data, "x", &plain, &out, &err);
			else
				rc = transcode_value(packed.data, packed.len, "x", &plain, &out, NULL, &err);
			if (mem_fail_after >= 0) {
				mem_fail_after = -1;
				ck_assert_int_eq(rc, 0);
				buf_free(&out);
				break;
			}
			ck_assert_int_eq(rc, -EINVAL);
			ck_assert_int_eq(err.fault, TRANSCODE_NO_MEMORY);
			ck_assert(out.len == 6 && out.err == 0 && memcmp(out.data, "before", 6) == 0);
			buf_free(&out);
		}
		ck_assert_int_gt(n, 5);
	}
	buf_free(&term);
	buf_free(&packed);
	buf_free(&back);
}
END_TEST

START_TEST(another_seed_gives_the_same_answers)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		transcode_seed(seed);
		ck_assert_int_ne(both_keys("61 01", "77 04 'true'", 40, &plain), 0);
		ck_assert_int_eq(both_keys("61 01", "61 02", 40, &plain), 0);
		ck_assert_int_eq(both_keys("68 00", "77 00", 40, &plain), 0);
	}
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
	Suite *s = suite_create("transcode");
	TCase *t = tcase_create("transcode");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, each_term_has_its_msgpack_and_comes_back, 0, ROWS(same));
	tcase_add_loop_test(t, other_encodings_become_the_one, 0, ROWS(one_way));
	tcase_add_test(t, with_strings_bytes_every_binary_is_bin);
	tcase_add_loop_test(t, each_fault_says_where_and_what, 0, ROWS(faults));
	tcase_add_loop_test(t, keys_that_are_one_in_python_are_refused, 0, ROWS(python_keys));
	tcase_add_test(t, a_clash_within_a_key_is_refused_even_if_the_key_is_alone);
	tcase_add_loop_test(t, keys_that_are_one_term_are_refused, 0, ROWS(term_keys));
	tcase_add_test(t, a_forged_fun_with_a_key_twice_is_refused);
	tcase_add_test(t, atoms_from_a_worker_have_at_most_255_characters);
	tcase_add_test(t, absurd_integers_and_tuples_are_refused);
	tcase_add_loop_test(t, nesting_is_allowed_to_the_limit_and_not_beyond, 0, 4);
	tcase_add_test(t, bombs_are_answered_at_once);
	tcase_add_test(t, the_check_for_duplicates_is_linear);
	tcase_add_test(t, the_longest_output_is_the_limit_and_a_byte_more_is_too_large);
	tcase_add_test(t, a_binary_over_the_limit_is_not_copied);
	tcase_add_test(t, an_error_that_the_buffer_has_already_is_kept);
	tcase_add_test(t, long_paths_are_cut_in_front_and_long_keys_behind);
	tcase_add_test(t, random_terms_come_back_as_they_went);
	tcase_add_test(t, garbage_from_a_worker_is_refused_or_becomes_a_sound_term);
	tcase_add_test(t, checked_garbage_from_a_peer_is_refused_or_becomes_msgpack);
	tcase_add_test(t, any_allocation_may_fail);
	tcase_add_test(t, another_seed_gives_the_same_answers);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
