/* check_transcode_random.c - random terms come back; mutants of both sides do no harm. msgpack-c is the
 * oracle of what is msgpack, term_check() of what is a term. */
#include "transcode.h"

#include "quick.h"
#include "suite.h"
#include "term_given.h"

#include <errno.h>
#include <msgpack.h>

#define ROUNDS (quick() ? 1000 : 100000)

static const struct transcode_options plain = { 100, 1 << 30, true, NULL };
static const struct transcode_options raw = { 100, 1 << 30, false, NULL };

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
		ck_assert((o->via.ext.type >= 1 && o->via.ext.type <= 10) || o->via.ext.type == 12);
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
	ck_assert_int_eq(msgpack_unpack_next(&u, (const char *)data, len, &at),
			 MSGPACK_UNPACK_SUCCESS);
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
			ck_abort_msg("round %d, back: %d %s %s", round, err.fault, err.where,
				     err.what);
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
	ck_assert_uint_gt(passed, (size_t)ROUNDS / 20);
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
				if (transcode_value(packed.data, packed.len, "x", &plain, &back,
						    &used, &err) == 0) {
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
	ck_assert_uint_gt(passed, (size_t)ROUNDS / 20);
	buf_free(&term);
	buf_free(&packed);
	buf_free(&back);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transcode_random");
	TCase *t = tcase_create("transcode_random");

	suite_add_tcase(s, t);
	tcase_add_test(t, random_terms_come_back_as_they_went);
	tcase_add_test(t, garbage_from_a_worker_is_refused_or_becomes_a_sound_term);
	tcase_add_test(t, checked_garbage_from_a_peer_is_refused_or_becomes_msgpack);
	return run(s);
}
