/* check_transcode_struct.c - structs and tensors: which maps and tuples they are, and what a worker may say
 * of them. */
#include "transcode.h"

#include "frame.h"
#include "mem.h"
#include "quick.h"
#include "suite.h"
#include "term_given.h"
#include "term_tags.h"

#include <errno.h>

static const struct transcode_options plain = { 100, 1 << 30, true, NULL };

/* A map under construction: the pairs as hex. */
#define K(name)    " 77 " name
#define STRUCT     " 77 0a '__struct__'"
#define ISO        " 77 08 'calendar' 77 13 'Elixir.Calendar.ISO'"
#define YEAR       " 77 04 'year' 62 00 00 07 e8"
#define MONTH      " 77 05 'month' 61 02"
#define DAY        " 77 03 'day' 61 1d"
#define HOUR       " 77 04 'hour' 61 17"
#define MINUTE     " 77 06 'minute' 61 3b"
#define SECOND     " 77 06 'second' 61 3b"
#define MICRO      " 77 0b 'microsecond' 68 02 62 00 01 e2 40 61 06"
#define DATE       STRUCT " 77 0b 'Elixir.Date'"
#define TIME       STRUCT " 77 0b 'Elixir.Time'"
#define NAIVE      STRUCT " 77 14 'Elixir.NaiveDateTime'"
#define DATETIME   STRUCT " 77 0f 'Elixir.DateTime'"
#define DECIMAL    STRUCT " 77 0e 'Elixir.Decimal'"
#define MAPSET     STRUCT " 77 0d 'Elixir.MapSet'"
#define UTC_OFF    " 77 0a 'utc_offset' 62 00 00 0e 10"
#define STD_OFF    " 77 0a 'std_offset' 61 00"
#define ZONE       " 77 09 'time_zone' 6d 00 00 00 03 'A/B'"
#define ABBR       " 77 09 'zone_abbr' 6d 00 00 00 01 'B'"
#define SIGN       " 77 04 'sign' 61 01"
#define EXP        " 77 03 'exp' 62 ff ff ff fe"
#define COEF(term) " 77 04 'coef' " term
#define SET(term)  " 77 03 'map' " term
#define VERSION    " 77 07 'version' 61 02"
#define M(n)       "74 00 00 00 " n
#define YMD        "cd 07 e8 02 1d"
#define HMS        "17 3b 3b ce 00 01 e2 40 06"

/* Structs as we write them back, and their msgpack: both ways. */
static const struct {
	const char *term, *packed;
} same[] = {
	{ M("05") YEAR MONTH DAY DATE ISO, "c9 00 00 00 07 0c 94 01" YMD },
	{ M("06") HOUR MINUTE SECOND MICRO TIME ISO, "c9 00 00 00 0b 0c 96 02" HMS },
	{ M("09") YEAR MONTH DAY HOUR MINUTE SECOND MICRO NAIVE ISO,
	  "c9 00 00 00 10 0c 99 03" YMD HMS },
	{ M("0d") YEAR MONTH DAY HOUR MINUTE SECOND MICRO UTC_OFF STD_OFF ZONE ABBR DATETIME ISO,
	  "c9 00 00 00 1a 0c 9d 04" YMD HMS "cd 0e 10 00 a3 'A/B' a1 'B'" },
	{ M("04") SIGN EXP COEF("61 0f") DECIMAL, "c9 00 00 00 05 0c 94 05 01 fe 0f" },
	{ M("04") SIGN EXP COEF("6e 09 00 01 00 00 00 00 00 00 00 01") DECIMAL,
	  "c9 00 00 00 11 0c 94 05 01 fe c7 0a 03 00 01 00 00 00 00 00 00 00 01" },
	{ M("04") SIGN " 77 03 'exp' 61 00" COEF("77 03 'NaN'") DECIMAL,
	  "c9 00 00 00 08 0c 94 05 01 00 a3 'NaN'" },
	{ M("04") SIGN " 77 03 'exp' 61 00" COEF("77 03 'inf'") DECIMAL,
	  "c9 00 00 00 08 0c 94 05 01 00 a3 'inf'" },
	{ M("02") MAPSET SET(M("00")), "c9 00 00 00 03 0c 92 06 00" },
	{ M("03") MAPSET VERSION SET(M("00")), "c9 00 00 00 03 0c 92 06 02" },
	{ M("02") MAPSET SET(M("02") "61 01 6a 6c 00 00 00 01 61 05 6a 6a"),
	  "c9 00 00 00 0c 0c 94 06 00 01 c9 00 00 00 02 09 91 05" },
	/* within a key */
	{ M("01") M("05") YEAR MONTH DAY DATE ISO "6a", "81 c9 00 00 00 07 0c 94 11" YMD "90" },
	{ M("01") M("02") MAPSET SET(M("01") "6a 6a") "61 01",
	  "81 c9 00 00 00 0a 0c 93 16 00 c9 00 00 00 01 09 90 01" },
	{ M("01") "68 01" M("03") MAPSET VERSION SET(M("01") "61 07 6a") "61 01",
	  "81 c9 00 00 00 0b 02 91 c9 00 00 00 04 0c 93 16 02 07 01" },
	/* an element of a MapSet */
	{ M("02") MAPSET SET(M("01") M("02") MAPSET SET(M("01") "61 01 6a") "6a"),
	  "c9 00 00 00 0d 0c 93 06 00 c9 00 00 00 04 0c 93 16 00 01" },
	/* tensors */
	{ "68 04 77 0c 'krait_tensor' 77 02 'u8' 68 01 61 03 6d 00 00 00 03 'abc'",
	  "c9 00 00 00 13 0d 05 01 00 00 00 00 00 00 00 00 00 00 00 00 00 03 'abc'" },
	{ "68 04 77 0c 'krait_tensor' 6d 00 00 00 03 'f16' 6c 00 00 00 02 61 02 61 01 6a "
	  "6d 00 00 00 04 'abcd'",
	  "c9 00 00 00 24 0d 09 02 03 00 00 00 00 00 00 00 00 00 00 00 00 02"
	  "00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 'abcd'" },
	{ "68 04 77 0c 'krait_tensor' 77 03 's64' 68 00 6d 00 00 00 08 '12345678'",
	  "c9 00 00 00 18 0d 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 '12345678'" },
	{ "68 04 77 0c 'krait_tensor' 77 04 'c128' 68 02 61 00 62 7f ff ff ff 6d 00 00 00 00",
	  "c9 00 00 00 20 0d 0d 02 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
	  "00 00 00 00 7f ff ff ff 00 00 00 00 00 00 00 00" },
};

static void to_msgpack(const char *hex, struct buf *out)
{
	struct transcode_error err;
	struct buf term = { 0 };

	put_hex(&term, hex);
	ck_assert_int_eq(term_check(term.data, term.len, NULL), 0);
	ck_assert_msg(transcode_term(term.data, "t", &plain, out, &err) == 0, "%s: %s %s", hex,
		      err.where, err.what);
	buf_free(&term);
}

/* 0, or the fault. */
static enum transcode_fault to_term(const char *hex, struct buf *out, struct transcode_error *err)
{
	struct buf packed = { 0 };
	uint8_t *copy;
	size_t used;

	put_hex(&packed, hex);
	copy = exact(&packed, packed.len);
	if (transcode_value(copy, packed.len, "t", &plain, out, &used, err) == 0) {
		ck_assert_uint_eq(used, packed.len);
		ck_assert_int_eq(term_check(out->data, out->len, NULL), 0);
	}
	free(copy);
	buf_free(&packed);
	return err->fault;
}

static void are_bytes(const struct buf *b, const char *hex)
{
	struct buf want = { 0 };
	char text[600] = "";

	put_hex(&want, hex);
	for (size_t i = 0; i < b->len && 3 * i + 4 < sizeof text; i++)
		snprintf(text + 3 * i, sizeof text - 3 * i, "%02x ", b->data[i]);
	ck_assert_msg(b->len == want.len && memcmp(b->data, want.data, b->len) == 0,
		      "%s, expected %s", text, hex);
	buf_free(&want);
}

START_TEST(each_struct_has_its_msgpack_and_comes_back)
{
	struct buf out = { 0 };
	struct transcode_error err;

	to_msgpack(same[_i].term, &out);
	are_bytes(&out, same[_i].packed);
	out.len = 0;
	ck_assert_msg(to_term(same[_i].packed, &out, &err) == TRANSCODE_OK, "%s: %s",
		      same[_i].packed, err.what);
	are_bytes(&out, same[_i].term);
	buf_free(&out);
}
END_TEST

/* Other forms of a struct. */
static const struct {
	const char *term, *packed;
} forms[] = {
	/* the order of the keys, old atoms, integers of any size */
	{ M("05") ISO DAY DATE MONTH YEAR, "c9 00 00 00 07 0c 94 01" YMD },
	{ M("05") "64 00 0a '__struct__' 73 0b 'Elixir.Date'" ISO YEAR MONTH
		  "64 00 03 'day' 6e 01 00 1d",
	  "c9 00 00 00 07 0c 94 01" YMD },
	{ M("02") SET(M("01") "61 01 6a") MAPSET, "c9 00 00 00 04 0c 93 06 00 01" },
	{ M("03") VERSION SET(M("01") "61 01 6a") MAPSET, "c9 00 00 00 04 0c 93 06 02 01" },
	{ "68 02" M("02") SET(M("01") "61 01 6a") MAPSET "61 07",
	  "c9 00 00 00 0c 02 92 c9 00 00 00 04 0c 93 06 00 01 07" },
	/* the shape as STRING */
	{ "68 04 77 0c 'krait_tensor' 77 02 's8' 6b 00 01 02 6d 00 00 00 02 'ab'",
	  "c9 00 00 00 12 0d 01 01 02 00 00 00 00 00 00 00 00 00 00 00 00 02 'ab'" },
	{ "68 04 77 0c 'krait_tensor' 77 02 's8' 6a 6d 00 00 00 01 'a'",
	  "c9 00 00 00 11 0d 01 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 'a'" },
};

START_TEST(however_a_struct_is_written_it_is_one)
{
	struct buf out = { 0 };

	to_msgpack(forms[_i].term, &out);
	are_bytes(&out, forms[_i].packed);
	buf_free(&out);
}
END_TEST

/* Terms that look like it and are none. */
static const char *const others[] = {
	/* a key that is missing, wrong, too many, twice the same name as text */
	M("04") YEAR MONTH DAY DATE,
	M("04") YEAR MONTH DATE ISO,
	M("05") YEAR MONTH " 77 04 'days' 61 01" DATE ISO,
	M("05") YEAR MONTH " 77 03 'Day' 61 01" DATE ISO,
	M("05") YEAR MONTH " 6d 00 00 00 03 'day' 61 01" DATE ISO,
	M("06") YEAR MONTH DAY HOUR DATE ISO,
	M("05") YEAR MONTH DAY TIME ISO,
	M("05") YEAR MONTH DAY STRUCT " 6d 00 00 00 0b 'Elixir.Date'" ISO,
	M("05") YEAR MONTH DAY DATE " 77 08 'calendar' 77 02 'My'",
	/* values out of range or of another type */
	M("05") " 77 04 'year' 61 00" MONTH DAY DATE ISO,
	M("05") " 77 04 'year' 62 00 00 27 10" MONTH DAY DATE ISO,
	M("05") " 77 04 'year' 62 ff ff ff ff" MONTH DAY DATE ISO,
	M("05") " 77 04 'year' 6e 09 00 01 01 01 01 01 01 01 01 01" MONTH DAY DATE ISO,
	M("05") YEAR " 77 05 'month' 61 0d" DAY DATE ISO,
	M("05") YEAR MONTH " 77 03 'day' 61 1e" DATE ISO,          /* 30 February */
	M("05") " 77 04 'year' 62 00 00 07 6c" MONTH DAY DATE ISO, /* 29 February 1900 */
	M("05") YEAR MONTH " 77 03 'day' 6a" DATE ISO,
	M("05") YEAR MONTH " 77 03 'day' 46 3f f0 00 00 00 00 00 00" DATE ISO,
	M("06") " 77 04 'hour' 61 18" MINUTE SECOND MICRO TIME ISO,
	M("06") HOUR " 77 06 'minute' 61 3c" SECOND MICRO TIME ISO,
	M("06") HOUR MINUTE " 77 06 'second' 61 3c" MICRO TIME ISO,
	M("06") HOUR MINUTE SECOND " 77 0b 'microsecond' 68 02 62 00 0f 42 40 61 06" TIME ISO,
	M("06") HOUR MINUTE SECOND " 77 0b 'microsecond' 68 02 61 00 61 07" TIME ISO,
	M("06") HOUR MINUTE SECOND " 77 0b 'microsecond' 68 01 61 00" TIME ISO,
	M("06") HOUR MINUTE SECOND " 77 0b 'microsecond' 61 00" TIME ISO,
	M("0d") YEAR MONTH DAY HOUR MINUTE SECOND MICRO
	" 77 0a 'utc_offset' 62 00 01 51 80" STD_OFF ZONE ABBR DATETIME ISO,
	M("0d") YEAR MONTH DAY HOUR MINUTE SECOND MICRO
	" 77 0a 'utc_offset' 62 00 01 51 7f 77 0a 'std_offset' 61 01" ZONE ABBR DATETIME ISO,
	M("0d") YEAR MONTH DAY HOUR MINUTE SECOND MICRO UTC_OFF STD_OFF
	" 77 09 'time_zone' 6d 00 00 00 01 ff" ABBR DATETIME ISO,
	M("0d") YEAR MONTH DAY HOUR MINUTE SECOND MICRO UTC_OFF STD_OFF
	" 77 09 'time_zone' 77 01 'x'" ABBR DATETIME ISO,
	M("04") " 77 04 'sign' 61 00" EXP COEF("61 0f") DECIMAL,
	M("04") SIGN EXP COEF("62 ff ff ff ff") DECIMAL,
	M("04") SIGN EXP COEF("6e 09 01 01 00 00 00 00 00 00 00 01") DECIMAL,
	M("04") SIGN EXP COEF("77 03 'NaN'") DECIMAL,
	M("04") SIGN EXP COEF("77 03 'nan'") DECIMAL,
	M("04") SIGN " 77 03 'exp' 62 17 d7 84 01" COEF("61 01") DECIMAL,
	M("02") MAPSET SET("6a"),
	M("02") MAPSET SET(M("01") "61 01 77 04 'true'"),
	M("02") MAPSET SET(M("02") "61 01 6a 61 02 61 00"),
	M("02") MAPSET VERSION,
	M("02") SET(M("00")) VERSION,
	M("03") MAPSET SET(M("00")) " 77 07 'version' 61 01",
	M("03") MAPSET SET(M("00")) " 77 04 'more' 61 02",
	/* tuples */
	"68 03 77 0c 'krait_tensor' 77 02 'u8' 68 00",
	"68 05 77 0c 'krait_tensor' 77 02 'u8' 68 00 6d 00 00 00 01 'a' 61 01",
	"68 04 77 0c 'Krait_tensor' 77 02 'u8' 68 00 6d 00 00 00 01 'a'",
	"68 04 6d 00 00 00 0c 'krait_tensor' 77 02 'u8' 68 00 6d 00 00 00 01 'a'",
	M("01") "68 04 77 0c 'krait_tensor' 77 02 'u8' 68 00 6d 00 00 00 01 'a' 61 01",
};

START_TEST(what_only_looks_like_a_struct_is_a_map_and_comes_back)
{
	struct buf out = { 0 }, back = { 0 };
	struct transcode_error err;

	to_msgpack(others[_i], &out);
	ck_assert_msg((out.data[0] & 0xf0) == 0x80 || (out.data[0] == 0xc9 && out.data[5] == 2),
		      "%s is a struct", others[_i]);
	ck_assert_int_eq(transcode_value(out.data, out.len, "t", &plain, &back, NULL, &err), 0);
	ck_assert_uint_gt(back.len, 0);
	buf_free(&out);
	buf_free(&back);
}
END_TEST

#define TENSOR  "68 04 77 0c 'krait_tensor' "
#define ONES_11 "01 01 01 01 01 01 01 01 01 01 01"
#define ONES_33 ONES_11 ONES_11 ONES_11
#define INTS_11 "61 01 61 01 61 01 61 01 61 01 61 01 61 01 61 01 61 01 61 01 61 01"
#define INTS_33 INTS_11 INTS_11 INTS_11
static const char *const bad_tensors[] = {
	TENSOR "77 02 'u8' 68 01 61 03 6d 00 00 00 02 'ab'",
	TENSOR "77 02 'u8' 68 01 61 03 6d 00 00 00 04 'abcd'",
	TENSOR "77 02 'u9' 68 01 61 01 6d 00 00 00 01 'a'",
	TENSOR "77 01 'u' 68 01 61 01 6d 00 00 00 01 'a'",
	TENSOR "68 02 77 01 'u' 61 08 68 01 61 01 6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 68 01 62 ff ff ff ff 6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 61 01 6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 68 01 77 01 'a' 6d 00 00 00 01 'a'",
	/* 33 dimensions: a string, a list, a tuple */
	TENSOR "77 02 'u8' 6b 00 21" ONES_33 "6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 6c 00 00 00 21" INTS_33 "6a 6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 68 21" INTS_33 "6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 6c 00 00 00 01 61 01 61 01 6d 00 00 00 01 'a'",
	TENSOR "77 02 'u8' 68 01 61 01 6b 00 01 05",
	TENSOR "77 02 'u8' 68 01 61 01 4d 00 00 00 01 07 00",
	/* 2^60 * 2^60, whose product is 0 in 64 bits; and 0 of them */
	TENSOR "77 02 'u8' 68 02 6e 08 00 00 00 00 00 00 00 00 10 6e 08 00 00 00 00 00 00 00 00 10"
	       "6d 00 00 00 00",
	TENSOR "77 02 'u8' 68 03 61 00 6e 08 00 00 00 00 00 00 00 00 10"
	       "6e 08 00 00 00 00 00 00 00 00 10 6d 00 00 00 00",
};

START_TEST(a_tensor_that_does_not_add_up_is_refused)
{
	struct buf term = { 0 }, out = { 0 };
	struct transcode_error err;

	put_hex(&term, "68 02 6a");
	put_hex(&term, bad_tensors[_i]);
	ck_assert_int_eq(term_check(term.data, term.len, NULL), 0);
	ck_assert_int_eq(transcode_term(term.data, "t", &plain, &out, &err), -EINVAL);
	ck_assert_int_eq(err.fault, TRANSCODE_UNENCODABLE);
	ck_assert_str_eq(err.what, ":bad_tensor");
	ck_assert_str_eq(err.where, "t[1]");
	buf_free(&term);
	buf_free(&out);
}
END_TEST

/* What a worker may say, and may not. */
static const struct {
	const char *packed;
	enum transcode_fault fault;
} said[] = {
	{ "c7 07 0c 94 11" YMD, TRANSCODE_OK }, /* "in a key" is for Python alone */
	{ "d6 0c 93 16 00 01", TRANSCODE_OK },
	{ "c7 0e 0c 94 05 d0 ff d3 ff ff ff ff ff ff ff fe 0f", TRANSCODE_OK },
	{ "c7 0a 0c 94 05 01 d2 80 00 00 00 cc 05", TRANSCODE_OK },
	{ "c7 08 0c 94 05 ff d1 80 00 cc 05", TRANSCODE_OK },
	{ "c7 00 0c", TRANSCODE_CORRUPT },
	{ "d4 0c 90", TRANSCODE_CORRUPT },
	{ "d4 0c 05", TRANSCODE_CORRUPT },
	{ "d5 0c 91 01", TRANSCODE_CORRUPT },
	{ "d5 0c 91 06", TRANSCODE_CORRUPT },
	{ "d5 0c 91 16", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 00" YMD, TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 07" YMD, TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 10" YMD, TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 17" YMD, TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 ff" YMD, TRANSCODE_CORRUPT },
	{ "c7 07 0c 95 01" YMD, TRANSCODE_CORRUPT },
	{ "c7 07 0c 93 01" YMD, TRANSCODE_CORRUPT },
	{ "c7 08 0c 94 01" YMD "00", TRANSCODE_CORRUPT },
	{ "c7 06 0c 94 01 cd 07 e8 02", TRANSCODE_CORRUPT },
	{ "c7 05 0c 94 01 00 02 01", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 01 cd 27 10 02 01", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 01 cd 07 e8 00 01", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 01 cd 07 e8 0d 01", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 01 cd 07 e8 02 1e", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 01 cd 07 e8 02 c0", TRANSCODE_CORRUPT },
	{ "c7 08 0c 94 01 cd 07 e8 02 a1 '1'", TRANSCODE_CORRUPT },
	{ "c7 0e 0c 94 01 cd 07 e8 02 cf ff ff ff ff ff ff ff ff", TRANSCODE_CORRUPT },
	{ "c7 07 0c 96 02 18 00 00 00 00", TRANSCODE_CORRUPT },
	{ "c7 07 0c 96 02 17 00 3c 00 00", TRANSCODE_CORRUPT },
	{ "c7 07 0c 96 02 17 00 00 00 07", TRANSCODE_CORRUPT },
	{ "c7 07 0c 96 02 17 00 00 ff 06", TRANSCODE_CORRUPT },
	{ "c7 0b 0c 96 02 17 00 00 ce 00 0f 42 40 06", TRANSCODE_CORRUPT },
	{ "c7 1e 0c 9d 04" YMD HMS "ce 00 01 51 7f 01 a3 'A/B' a1 'B'", TRANSCODE_CORRUPT },
	{ "c7 1a 0c 9d 04" YMD HMS "cd 0e 10 00 a3 'A/B' a1 ff", TRANSCODE_CORRUPT },
	{ "c7 1a 0c 9d 04" YMD HMS "cd 0e 10 00 a3 'A/B' c0 c0", TRANSCODE_CORRUPT },
	{ "c7 05 0c 94 05 00 00 01", TRANSCODE_CORRUPT },
	{ "c7 05 0c 94 05 02 00 01", TRANSCODE_CORRUPT },
	{ "c7 05 0c 94 05 01 00 ff", TRANSCODE_CORRUPT },
	{ "c7 08 0c 94 05 01 01 a3 'NaN'", TRANSCODE_CORRUPT },
	{ "c7 08 0c 94 05 01 00 a3 'abc'", TRANSCODE_CORRUPT },
	{ "c7 07 0c 94 05 01 00 d4 03 00", TRANSCODE_OK }, /* 0 */
	{ "c7 07 0c 94 05 01 00 d4 01 'a'", TRANSCODE_CORRUPT },
	{ "c7 11 0c 94 05 01 00 c7 0a 03 01 00 00 00 00 00 00 00 00 01", TRANSCODE_CORRUPT },
	{ "c7 06 0c 94 05 01 00 d4 03", TRANSCODE_CORRUPT },
	{ "c7 04 0c 94 06 00 01", TRANSCODE_CORRUPT },
	{ "d6 0c 93 06 01 01", TRANSCODE_CORRUPT },
	{ "d6 0c 94 06 00 01", TRANSCODE_CORRUPT },
	{ "c7 05 0c 93 06 00 01 01", TRANSCODE_CORRUPT },
	{ "c7 07 0c dd ff ff ff ff 06 00", TRANSCODE_CORRUPT },
	{ "c7 05 0c 94 06 00 01 01", TRANSCODE_UNENCODABLE },        /* one element twice */
	{ "c7 07 0c 94 06 00 a1 'a' c4 01 'a'", TRANSCODE_CORRUPT }, /* cut off */
	{ "c7 08 0c 94 06 00 a1 'a' c4 01 'a'", TRANSCODE_UNENCODABLE },
	{ "81 c7 05 0c 94 06 00 01 01 c0", TRANSCODE_UNENCODABLE },
	{ "d8 0d 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", TRANSCODE_CORRUPT },
	{ "c7 11 0d 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 'a'", TRANSCODE_OK },
	{ "c7 12 0d 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 'ab'", TRANSCODE_CORRUPT },
	{ "c7 11 0d 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 'a'", TRANSCODE_CORRUPT },
	{ "c7 11 0d 0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 'a'", TRANSCODE_CORRUPT },
	{ "c7 11 0d 05 00 04 00 00 00 00 00 00 00 00 00 00 00 00 00 'a'", TRANSCODE_CORRUPT },
	{ "c7 11 0d 05 21 00 00 00 00 00 00 00 00 00 00 00 00 00 00 'a'", TRANSCODE_CORRUPT },
	{ "c7 11 0d 05 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 'a'", TRANSCODE_CORRUPT },
	{ "c7 11 0d 05 01 00 00 00 00 00 00 ff ff ff ff ff ff ff ff 'a'", TRANSCODE_CORRUPT },
	{ "d8 0d 05 01 00 00 00 00 00 00 ff ff ff ff ff ff ff ff", TRANSCODE_CORRUPT },
	{ "c7 00 0d", TRANSCODE_CORRUPT },
	{ "d4 0d 05", TRANSCODE_CORRUPT },
};

START_TEST(what_a_worker_says_of_a_struct_is_not_believed)
{
	struct transcode_error err;
	struct buf out = { 0 };

	ck_assert_msg(to_term(said[_i].packed, &out, &err) == said[_i].fault, "%s: fault %d %s %s",
		      said[_i].packed, err.fault, err.where, err.what);
	ck_assert(said[_i].fault == TRANSCODE_OK || out.len == 0);
	buf_free(&out);
}
END_TEST

START_TEST(two_elements_of_a_set_that_are_one_in_python_are_refused)
{
	struct buf term = { 0 }, out = { 0 };
	struct transcode_error err;

	put_hex(&term, M("01") "77 01 'k'" M("02")
			       MAPSET SET(M("02") "61 01 6a 46 3f f0 00 00 00 00 00 00 6a"));
	ck_assert_int_eq(transcode_term(term.data, "t", &plain, &out, &err), -EINVAL);
	ck_assert_str_eq(err.where, "t.k[1]");
	ck_assert_str_eq(err.what, ":duplicate_key");
	buf_free(&term);
	buf_free(&out);
}
END_TEST

START_TEST(a_struct_counts_as_one_level_and_a_tensor_too)
{
	static const char *const terms[] = { M("05") YEAR MONTH DAY DATE ISO,
					     M("02") MAPSET SET(M("01") "61 01 6a"),
					     TENSOR "77 02 'u8' 68 00 6d 00 00 00 01 'a'" };

	for (size_t i = 0; i < 3; i++) {
		struct transcode_options opts = plain;
		struct buf term = { 0 }, packed = { 0 }, out = { 0 };
		struct transcode_error err;

		put_hex(&term, "68 01");
		put_hex(&term, terms[i]);
		for (opts.max_depth = 0; opts.max_depth < 2; opts.max_depth++) {
			ck_assert_int_eq(transcode_term(term.data, "t", &opts, &packed, &err),
					 -EINVAL);
			ck_assert_int_eq(err.fault, TRANSCODE_TOO_DEEP);
		}
		ck_assert_int_eq(transcode_term(term.data, "t", &opts, &packed, &err), 0);
		ck_assert_int_eq(
			transcode_value(packed.data, packed.len, "t", &opts, &out, NULL, &err), 0);
		if (i < 2) {
			opts.max_depth = 1;
			out.len = 0;
			ck_assert_int_eq(transcode_value(packed.data, packed.len, "t", &opts, &out,
							 NULL, &err),
					 -EINVAL);
			ck_assert_int_eq(err.fault, TRANSCODE_TOO_DEEP);
		}
		buf_free(&term);
		buf_free(&packed);
		buf_free(&out);
	}
}
END_TEST

/* `depth` MapSets within each other, the set before its name, so that each has to be looked through; around
 * some bytes. */
static void put_sets(struct buf *b, int depth, size_t bytes)
{
	for (int i = 0; i < depth; i++)
		put_hex(b, M("02") " 77 03 'map' " M("01"));
	term_put_binary(b, NULL, 0);
	put_u32(b->data + b->len - 4, (uint32_t)bytes);
	for (size_t i = 0; i < bytes; i++)
		buf_put_u8(b, 'x');
	for (int i = 0; i < depth; i++)
		put_hex(b, "6a" MAPSET);
}

static unsigned structs_in(const struct buf *packed)
{
	unsigned n = 0;

	for (size_t i = 0; i + 1 < packed->len; i++)
		n += packed->data[i] == EXT_STRUCT && (packed->data[i + 1] & 0xf0) == 0x90;
	return n;
}

START_TEST(large_sets_within_sets_are_looked_through_eight_times_at_most)
{
	for (int depth = 1; depth < 40; depth += 13) {
		struct buf term = { 0 }, packed = { 0 }, back = { 0 }, again = { 0 };
		struct transcode_error err;

		put_sets(&term, depth, 5000);
		ck_assert_int_eq(term_check(term.data, term.len, NULL), 0);
		ck_assert_int_eq(transcode_term(term.data, "t", &plain, &packed, &err), 0);
		ck_assert_uint_eq(structs_in(&packed), depth < 8 ? (unsigned)depth : 8);
		ck_assert_int_eq(
			transcode_value(packed.data, packed.len, "t", &plain, &back, NULL, &err),
			0);
		ck_assert_int_eq(transcode_term(back.data, "t", &plain, &again, &err), 0);
		buf_free(&term);
		buf_free(&packed);
		buf_free(&back);
		buf_free(&again);
	}
	{ /* beside each other any number */
		struct buf term = { 0 }, packed = { 0 };
		struct transcode_error err;

		term_put_tuple(&term, 50);
		for (int i = 0; i < 50; i++)
			put_sets(&term, 1, 1000);
		ck_assert_int_eq(transcode_term(term.data, "t", &plain, &packed, &err), 0);
		ck_assert_uint_eq(structs_in(&packed), 50);
		buf_free(&term);
		buf_free(&packed);
	}
}
END_TEST

/* The order of the elements, and of the keys, is not part of a term. */
START_TEST(equal_sets_have_one_canonical_form)
{
	static const char *const sets[] = {
		M("02") MAPSET SET(M("03") "61 01 6a 61 02 6a 77 01 'a' 6a"),
		M("02") SET(M("03") "77 01 'a' 6a 61 02 6a 61 01 6a") MAPSET,
		M("03") MAPSET VERSION SET(M("03") "61 01 6a 61 02 6a 77 01 'a' 6a"),
		M("02") MAPSET SET(M("03") "61 01 6a 61 02 6a 77 01 'b' 6a"),
	};
	struct buf form[4] = { { 0 } };

	for (size_t i = 0; i < 4; i++) {
		struct buf packed = { 0 };

		to_msgpack(sets[i], &packed);
		ck_assert_int_eq(transcode_canonical(packed.data, packed.len, &form[i]), 0);
		buf_free(&packed);
	}
	ck_assert(form[0].len == form[1].len &&
		  memcmp(form[0].data, form[1].data, form[0].len) == 0);
	ck_assert(form[0].len != form[2].len ||
		  memcmp(form[0].data, form[2].data, form[0].len) != 0);
	ck_assert(form[0].len != form[3].len ||
		  memcmp(form[0].data, form[3].data, form[0].len) != 0);
	for (size_t i = 0; i < 4; i++)
		buf_free(&form[i]);
}
END_TEST

START_TEST(no_memory_at_any_point_is_said_and_nothing_leaks)
{
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		struct buf term = { 0 }, packed = { 0 };
		struct transcode_error err;

		put_hex(&term, same[i].term);
		put_hex(&packed, same[i].packed);
		for (int way = 0; way < 2; way++) {
			int rc = -EINVAL;

			for (long n = 0; rc != 0; n++) {
				struct buf out = { 0 };

				mem_fail_after = n;
				rc = way == 0 ? transcode_term(term.data, "t", &plain, &out, &err)
					      : transcode_value(packed.data, packed.len, "t",
								&plain, &out, NULL, &err);
				mem_fail_after = -1;
				ck_assert(rc == 0 || err.fault == TRANSCODE_NO_MEMORY);
				buf_free(&out);
			}
		}
		buf_free(&term);
		buf_free(&packed);
	}
}
END_TEST

/* Any bytes changed, left out or repeated: refused, or a sound term. */
START_TEST(mutants_of_structs_do_no_harm)
{
	struct random r = given_random("mutants of structs");

	for (int round = 0; round < (quick() ? 1000 : 10000); round++) {
		struct buf packed = { 0 }, out = { 0 };
		struct transcode_error err;
		uint8_t *copy;

		put_hex(&packed, same[below(&r, sizeof same / sizeof same[0])].packed);
		for (uint32_t n = 1 + below(&r, 3); n > 0; n--)
			packed.data[below(&r, (uint32_t)packed.len)] = (uint8_t)any(&r);
		packed.len -= below(&r, 4) == 0 ? below(&r, (uint32_t)packed.len) : 0;
		copy = exact(&packed, packed.len);
		if (transcode_value(copy, packed.len, "t", &plain, &out, NULL, &err) == 0)
			ck_assert_int_eq(term_check(out.data, out.len, NULL), 0);
		free(copy);
		buf_free(&packed);
		buf_free(&out);
	}
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof(table)[0])

int main(void)
{
	TCase *tcase = tcase_create("transcode_struct");
	Suite *suite = suite_create("transcode_struct");

	tcase_add_loop_test(tcase, each_struct_has_its_msgpack_and_comes_back, 0, ROWS(same));
	tcase_add_loop_test(tcase, however_a_struct_is_written_it_is_one, 0, ROWS(forms));
	tcase_add_loop_test(tcase, what_only_looks_like_a_struct_is_a_map_and_comes_back, 0,
			    ROWS(others));
	tcase_add_loop_test(tcase, a_tensor_that_does_not_add_up_is_refused, 0, ROWS(bad_tensors));
	tcase_add_loop_test(tcase, what_a_worker_says_of_a_struct_is_not_believed, 0, ROWS(said));
	tcase_add_test(tcase, two_elements_of_a_set_that_are_one_in_python_are_refused);
	tcase_add_test(tcase, a_struct_counts_as_one_level_and_a_tensor_too);
	tcase_add_test(tcase, large_sets_within_sets_are_looked_through_eight_times_at_most);
	tcase_add_test(tcase, equal_sets_have_one_canonical_form);
	tcase_add_test(tcase, no_memory_at_any_point_is_said_and_nothing_leaks);
	tcase_add_test(tcase, mutants_of_structs_do_no_harm);
	suite_add_tcase(suite, tcase);
	return run(suite);
}
