/* transcode_struct.h - Elixir's structs, and tensors, that Python has types for; a room of transcode.
 *
 * A map is one of these structs when it has exactly the keys of that struct and values that the type in
 * Python can hold; any other map is a map. So whoever reads a STRUCT of ours can make the object, and it
 * goes back as it came. What a worker sends is held against the same table. */
#ifndef KRAIT_TRANSCODE_STRUCT_H
#define KRAIT_TRANSCODE_STRUCT_H

#include "transcode_private.h"

enum struct_kind {
	STRUCT_DATE = 1,
	STRUCT_TIME,
	STRUCT_NAIVE,
	STRUCT_DATETIME,
	STRUCT_DECIMAL,
	STRUCT_MAPSET,
	STRUCT_KINDS,
};

#define STRUCT_IN_KEY 16 /* added to the kind: this one is a key or within one */

#define STRUCT_FIELDS_MAX 13

/* A map that is a struct. */
struct struct_found {
	enum struct_kind kind;
	const uint8_t *field[STRUCT_FIELDS_MAX]; /* values, in the order of the table */
	const uint8_t *end;      /* after the map; of a map that is none: how far was looked */
	const uint8_t *elements; /* of a MapSet: the first; each is followed by [] */
	uint32_t count;          /* of them */
	unsigned version;        /* 2, or 0: it has none */
};

/* A cheap look before struct_find(): whether a map of so many pairs, whose first key is at `t`, may be one.
 * By how long that key is and how it begins. */
static inline bool struct_likely(const uint8_t *t, uint32_t pairs)
{
	enum {
		NAME = 1 << 10, /* __struct__ */
		ALL = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | NAME | 1 << 11,
	};
	static const uint16_t lengths[STRUCT_FIELDS_MAX + 1] = {
		[2] = 1 << 3 | NAME,
		[3] = 1 << 3 | 1 << 7 | NAME,
		[4] = 1 << 3 | 1 << 4 | NAME,
		[5] = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | NAME,
		[6] = ALL,
		[9] = ALL,
		[13] = ALL,
	};
	const uint32_t letters = 1u << 31 | 1u << 'c' % 32 | 1u << 'd' % 32 | 1u << 'e' % 32 |
				 1u << 'h' % 32 | 1u << 'm' % 32 | 1u << 's' % 32 | 1u << 't' % 32 |
				 1u << 'u' % 32 | 1u << 'v' % 32 | 1u << 'y' % 32 | 1u << 'z' % 32;

	if (pairs > STRUCT_FIELDS_MAX || lengths[pairs] == 0)
		return false;
	if (*t == TAG_SMALL_ATOM_UTF8)
		return t[1] < 16 && (lengths[pairs] >> t[1] & 1) != 0 &&
		       (letters >> t[2] % 32 & 1) != 0;
	return *t == TAG_ATOM || *t == TAG_SMALL_ATOM || *t == TAG_ATOM_UTF8;
}

/* Whether the map of `pairs` whose first key is at `t` is a struct. struct_likely() has said yes. Time
 * O(1), for a MapSet O(its bytes). */
bool struct_find(const uint8_t *t, uint32_t pairs, struct struct_found *found);

/* Writes the payload of a STRUCT, after its head: all of it, or that which comes before the elements of
 * a MapSet. */
enum transcode_fault struct_pack(struct sink *s, const struct struct_found *found, bool in_key);

/* The payload of a worker's STRUCT from *p to `end`, not trusted. Writes the map, all of it and *p is `end`
 * afterwards; of a MapSet only what comes before its elements, `*elements` of which stand from *p on, each
 * to be followed by []. *elements is 0 else. */
enum transcode_fault struct_unpack(struct sink *s, const uint8_t **p, const uint8_t *end,
				   bool *is_set, uint32_t *elements);

/* A cheap look before tensor_pack(): whether a tuple of so many elements, the first of which is at `t`, may be
 * one. */
static inline bool tensor_likely(const uint8_t *t, unsigned arity)
{
	if (arity != 4)
		return false;
	if (*t == TAG_SMALL_ATOM_UTF8)
		return t[1] == 12 && memcmp(t + 2, "krait_tensor", 12) == 0;
	return *t == TAG_ATOM || *t == TAG_SMALL_ATOM || *t == TAG_ATOM_UTF8;
}

/* {krait_tensor, Dtype, Shape, Binary}, whose first element is at *t: writes a TENSOR and moves *t past
 * it. False: it is none, and nothing was written. */
bool tensor_pack(struct sink *s, const uint8_t **t, enum transcode_fault *fault);

/* Writes a worker's TENSOR as that tuple. */
enum transcode_fault tensor_unpack(struct sink *s, const uint8_t *payload, size_t len);

/* The table (transcode_struct.c). */
enum field_type {
	FIELD_NAME,     /* the struct's, an atom */
	FIELD_CALENDAR, /* Calendar.ISO */
	FIELD_INT,      /* low .. high */
	FIELD_MICRO,    /* {0 .. 999999, 0 .. 6}: two values */
	FIELD_TEXT,     /* a binary of UTF-8, at most 64 bytes when it comes from a BEAM */
	FIELD_COEF,     /* of a Decimal: a natural number, 'NaN' or inf */
	FIELD_EXP,      /* its exponent */
	FIELD_SET,      /* #{Element => []} */
	FIELD_VERSION,  /* 2 */
};

struct struct_field {
	const char *name;
	uint8_t len; /* of the name */
	enum field_type type;
	int32_t low, high;
};

struct struct_shape {
	const char *name;
	uint8_t fields, values; /* keys of the map; elements of the payload after the kind */
	struct struct_field field[STRUCT_FIELDS_MAX];
};

extern const struct struct_shape struct_shapes[STRUCT_KINDS];

/* What holds between fields: the day exists, the offsets from UTC are less than a day, a Decimal that is
 * no number has the exponent 0. `value` are the integers in the order of the payload. */
bool struct_sound(enum struct_kind kind, const int64_t *value, bool number);

#endif
