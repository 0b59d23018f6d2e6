/* fuzz_roundtrip.c - to Python and back is where it was.
 *
 * Input: byte 0 chooses strings (1 bit) and whether the rest is a term or what a term is made by (1).
 *
 * Of any term, what comes back the second time is what came back the first time; of a term as BEAMs write
 * it (canonical), it is the term itself. Made terms are canonical but for structs, and are refused for
 * nothing but a duplicate key. */
#include "fuzz.h"

#include "term_tags.h"
#include "transcode.h"

#define ROOM (64 * 1024) /* bytes of a made term */

static void make(struct buf *b, struct input *in, int depth);

static void make_atom(struct buf *b, struct input *in)
{
	static const char *const words[] = { "true", "false",    "nil",   "ok",
					     "nan",  "infinity", "bytes", "" };
	unsigned n = next_u8(in);
	struct span text;

	if (n < 8) {
		term_put_atom(b, words[n]);
		return;
	}
	text = next_span(in, n % 16);
	if (n > 250) { /* over 255 bytes */
		term_put_int(b, 0);
		b->len -= 2;
		buf_put_u8(b, TAG_ATOM_UTF8);
		buf_put_u16(b, 2 * n);
		while (n-- > 0)
			buf_put(b, "\xc3\xa9", 2);
		return;
	}
	term_put_atom_n(b, (const char *)text.at, term_utf8(text.at, text.len) ? text.len : 0);
}

static void make_integer(struct buf *b, struct input *in)
{
	unsigned n = next_u8(in), sign = n & 1;

	if (n < 200) {
		term_put_int(b, (int64_t)next_u64(in) >> n % 64);
		return;
	}
	n = n < 250 ? n - 191 : 256 + next_u8(in); /* 9 .. 58, or LARGE_BIG */
	buf_put_u8(b, n <= 255 ? TAG_SMALL_BIG : TAG_LARGE_BIG);
	if (n <= 255)
		buf_put_u8(b, n);
	else
		buf_put_u32(b, n);
	buf_put_u8(b, sign);
	while (n-- > 1)
		buf_put_u8(b, next_u8(in));
	buf_put_u8(b, next_u8(in) | 1);
}

static void make_float(struct buf *b, struct input *in)
{
	uint64_t bits = next_u64(in);
	double value;

	if ((bits >> 52 & 0x7ff) == 0x7ff)
		bits ^= UINT64_C(1) << 60;
	memcpy(&value, &bits, sizeof value);
	term_put_float(b, value);
}

static void make_name(struct buf *b, struct input *in)
{
	unsigned n = next_u8(in);
	struct term_pid pid = { "a@host", 6, (uint32_t)next_u64(in), 7, n };

	switch (n % 4) {
	case 0:
		term_put_pid(b, &pid);
		break;
	case 1:
		n = n % 5 + 1;
		buf_put_u8(b, TAG_NEWER_REFERENCE);
		buf_put_u16(b, n);
		make_atom(b, in);
		for (n++; n > 0; n--)
			buf_put_u32(b, (uint32_t)next_u8(in));
		break;
	case 2:
		buf_put_u8(b, TAG_V4_PORT);
		make_atom(b, in);
		buf_put_u64(b, next_u64(in));
		buf_put_u32(b, n);
		break;
	default:
		buf_put_u8(b, TAG_EXPORT);
		make_atom(b, in);
		make_atom(b, in);
		term_put_int(b, n);
	}
}

static void make_opaque(struct buf *b, struct input *in, int depth)
{
	unsigned n = next_u8(in), bits = n % 7 + 1;
	size_t start = b->len;

	if (n & 0x80) {
		n = 1 + n % 9;
		buf_put_u8(b, TAG_BIT_BINARY);
		buf_put_u32(b, n);
		buf_put_u8(b, bits);
		while (n-- > 1)
			buf_put_u8(b, next_u8(in));
		buf_put_u8(b, next_u8(in) & (0xffu << (8 - bits) & 0xff));
		return;
	}
	n %= 4;
	buf_put_u8(b, TAG_NEW_FUN);
	buf_put_u32(b, 0);
	buf_put_u8(b, 1);
	buf_put_u64(b, next_u64(in));
	buf_put_u64(b, 0);
	buf_put_u32(b, 7);
	buf_put_u32(b, n);
	make_atom(b, in);
	term_put_int(b, 7);
	term_put_int(b, 123456);
	term_put_pid(b, &(struct term_pid){ "a@host", 6, 1, 2, 3 });
	while (n-- > 0)
		make(b, in, depth - 1);
	if (b->err == 0)
		put_u32(b->data + start + 1, (uint32_t)(b->len - start - 1));
}

/* A struct, or what is nearly one. */
static void make_struct(struct buf *b, struct input *in, int depth)
{
	static const char *const keys[] = { "year",   "month",  "day",        "hour",
					    "minute", "second", "utc_offset", "std_offset",
					    "sign",   "exp",    "coef" };
	static const struct {
		const char *name;
		uint16_t keys; /* bits */
	} shapes[] = { { "Elixir.Date", 7 },
		       { "Elixir.Time", 0x38 },
		       { "Elixir.NaiveDateTime", 0x3f },
		       { "Elixir.DateTime", 0xff },
		       { "Elixir.Decimal", 0x700 },
		       { "Elixir.MapSet", 0 } };
	unsigned n = next_u8(in), which = n % 6, mask = shapes[which].keys, elements = n / 6 % 6;
	bool calendar = which < 4, micro = which >= 1 && which <= 3, zone = which == 3,
	     set = which == 5, version = set && n % 2 == 1;
	uint32_t pairs = 1u + calendar + micro + 2 * zone + set + version;

	for (unsigned i = 0; i < 11; i++)
		pairs += mask >> i & 1;
	term_put_map(b, pairs);
	term_put_atom(b, "__struct__");
	term_put_atom(b, shapes[which].name);
	for (unsigned i = 0; i < 11; i++) {
		if ((mask >> i & 1) == 0)
			continue;
		term_put_atom(b, keys[i]);
		n = next_u8(in);
		if (n == 255)
			make(b, in, depth - 1);
		else
			term_put_int(b, (int64_t)n % 64 - (i == 6));
	}
	if (calendar) {
		term_put_atom(b, "calendar");
		term_put_atom(b, "Elixir.Calendar.ISO");
	}
	if (micro) {
		term_put_atom(b, "microsecond");
		term_put_tuple(b, 2);
		term_put_int(b, next_u8(in) * 5000);
		term_put_int(b, next_u8(in) % 8);
	}
	for (unsigned i = 0; i < 2u * zone; i++) {
		struct span text = next_span(in, 4);

		term_put_atom(b, i == 0 ? "time_zone" : "zone_abbr");
		term_put_binary(b, text.at, text.len);
	}
	if (version) {
		term_put_atom(b, "version");
		term_put_int(b, 2);
	}
	if (set) {
		term_put_atom(b, "map");
		term_put_map(b, elements);
		for (unsigned i = 0; i < elements; i++) {
			make(b, in, depth - 1);
			term_put_nil(b);
		}
	}
}

static void make_tensor(struct buf *b, struct input *in)
{
	unsigned n = next_u8(in), dimensions = n % 4;
	bool wide = (n & 64) != 0, list = (n & 32) != 0;
	uint32_t bytes = wide ? 2 : 1;

	term_put_tuple(b, 4);
	term_put_atom(b, "krait_tensor");
	if (n & 128)
		term_put_text(b, wide ? "bf16" : "u8");
	else
		term_put_atom(b, wide ? "bf16" : "u8");
	if (list)
		term_put_list(b, dimensions);
	else
		term_put_tuple(b, dimensions);
	for (unsigned i = 0; i < dimensions; i++) {
		n = next_u8(in) % 6;
		term_put_int(b, n);
		bytes *= n;
	}
	if (list && dimensions > 0)
		term_put_nil(b);
	buf_put_u8(b, TAG_BINARY);
	buf_put_u32(b, bytes);
	while (bytes-- > 0)
		buf_put_u8(b, next_u8(in));
}

static void make_container(struct buf *b, struct input *in, int depth)
{
	unsigned n = next_u8(in), kind = n % 3;

	if (n >= 240 && n < 248) {
		make_struct(b, in, depth);
		return;
	}
	if (n == 248) {
		make_tensor(b, in);
		return;
	}

	n = n >= 252 ? 200 + next_u8(in) : n / 3 % 8;
	if (kind == 0)
		term_put_list(b, n);
	else if (kind == 1)
		term_put_tuple(b, n);
	else
		term_put_map(b, n);
	for (unsigned i = 0; i < (kind == 2 ? 2 * n : n); i++)
		make(b, in, depth - 1);
	if (kind == 0 && n > 0)
		term_put_nil(b);
}

/* A term of the input's choice, as BEAMs write it. */
static void make(struct buf *b, struct input *in, int depth)
{
	unsigned choice = next_u8(in);
	struct span data;

	switch (depth > 0 && b->len < ROOM ? choice % 12 : choice % 7) {
	case 0:
		make_atom(b, in);
		break;
	case 1:
		make_integer(b, in);
		break;
	case 2:
		make_float(b, in);
		break;
	case 3:
		make_name(b, in);
		break;
	case 4:
	case 5:
		data = next_span(in, next_u8(in));
		term_put_binary(b, data.at, data.len);
		break;
	case 6:
		make_opaque(b, in, depth > 0 ? depth : 1);
		break;
	default:
		make_container(b, in, depth);
	}
}

/* Whether every part of the term from `t` to `end` is written as OTP 25 and later write it, save that
 * lists of bytes are no STRING, which do not come back as such, and there is no struct, whose keys come
 * back in an order of their own. */
static bool canonical(const uint8_t *t, const uint8_t *end)
{
	while (t < end) {
		const uint8_t *next = t;
		struct span digits;
		bool negative;
		int64_t n;

		switch (*t) {
		case TAG_SMALL_INTEGER:
			next = t + 2;
			break;
		case TAG_INTEGER:
			next = t + 5;
			n = (int32_t)get_u32(t + 1);
			if (n >= 0 && n <= 255)
				return false;
			break;
		case TAG_SMALL_BIG:
		case TAG_LARGE_BIG:
			next = term_skip(t);
			digits = term_big(t, &negative);
			if (digits.len == 0 || digits.at + digits.len != next ||
			    (*t == TAG_LARGE_BIG && digits.len <= 255) ||
			    digits.len > 512 * 1024 - 8 ||
			    (term_int(t, &n) && n >= INT32_MIN && n <= INT32_MAX))
				return false;
			break;
		case TAG_ATOM_UTF8:
			next = term_skip(t);
			if (get_u16(t + 1) <= 255)
				return false;
			break;
		case TAG_BIT_BINARY:
			next = term_skip(t);
			if (t[5] == 8 || (next[-1] & (0xff >> t[5])) != 0)
				return false;
			break;
		case TAG_LIST:
			next = t + 5;
			for (n = get_u32(t + 1); n > 0; n--)
				next = term_skip(next);
			if (*next != TAG_NIL || next == t + 5)
				return false;
			next = t + 5;
			break;
		case TAG_SMALL_TUPLE:
			next = t + 2;
			break;
		case TAG_LARGE_TUPLE:
			if (get_u32(t + 1) <= 255)
				return false;
			next = t + 5;
			break;
		case TAG_MAP:
			next = t + 5;
			break;
		case TAG_SMALL_ATOM_UTF8:
			if (term_is_atom(t, "__struct__"))
				return false;
			next = term_skip(t);
			break;
		case TAG_NEW_FLOAT:
		case TAG_NIL:
		case TAG_BINARY:
			next = term_skip(t);
			break;
		case TAG_NEW_PID:
		case TAG_V4_PORT:
			if (t[1] != TAG_SMALL_ATOM_UTF8)
				return false;
			next = term_skip(t);
			break;
		case TAG_NEWER_REFERENCE:
			if (t[3] != TAG_SMALL_ATOM_UTF8)
				return false;
			next = term_skip(t);
			break;
		case TAG_NEW_FUN:
			next = term_skip(t);
			break;
		default: /* old forms, STRING; and EXPORT, whose atoms are looked at only here */
			if (*t != TAG_EXPORT || t[1] != TAG_SMALL_ATOM_UTF8 ||
			    term_skip(t + 1)[0] != TAG_SMALL_ATOM_UTF8)
				return false;
			next = term_skip(t);
		}
		t = next;
	}
	return true;
}

static bool equal(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned choice = next_u8(&in);
	struct transcode_options opts = { TRANSCODE_DEPTH_MAX, 1 << 24, (choice & 1) == 0, NULL };
	struct transcode_error err;
	struct buf term = { 0 }, there = { 0 }, back = { 0 }, there2 = { 0 }, back2 = { 0 };
	bool made = (choice & 2) != 0, is_canonical;
	size_t used;

	if (made) {
		make(&term, &in, 6);
		MUST(is_one_term(term.data, term.len));
	} else {
		if (term_check(in.at, in.left, &used) != 0)
			return 0;
		buf_put(&term, in.at, used);
	}
	is_canonical = canonical(term.data, term.data + term.len);
	if (transcode_term(term.data, "x", &opts, &there, &err) != 0) {
		MUST(!made || strcmp(err.what, ":duplicate_key") == 0);
		goto done;
	}
	if (transcode_value(there.data, there.len, "x", &opts, &back, &used, &err) != 0) {
		/* terms that no BEAM would send: a duplicate key (those of one kind are not looked for on
		 * the way to Python), also in a fun; an integer of 4 MB */
		MUST(!made || err.fault == TRANSCODE_CORRUPT ||
		     strcmp(err.what, ":duplicate_key") == 0);
		MUST(err.fault == TRANSCODE_CORRUPT || err.fault == TRANSCODE_UNENCODABLE ||
		     err.fault == TRANSCODE_TOO_DEEP);
		goto done;
	}
	MUST(used == there.len);
	MUST(is_one_term(back.data, back.len));
	MUST(!is_canonical || equal(&term, &back));
	MUST(transcode_term(back.data, "x", &opts, &there2, &err) == 0);
	MUST(there2.len != there.len || equal(&there, &there2)); /* [1 | [2]] is longer at first */
	MUST(transcode_value(there2.data, there2.len, "x", &opts, &back2, &used, &err) == 0);
	MUST(equal(&back, &back2));
done:
	buf_free(&term);
	buf_free(&there);
	buf_free(&back);
	buf_free(&there2);
	buf_free(&back2);
	return 0;
}
