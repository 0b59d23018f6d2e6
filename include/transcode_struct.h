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

/* A cheap look before struct_find(): whether a map of so many pairs, whose first key is at `t`, may be one. */
static inline bool struct_likely(const uint8_t *t, uint32_t pairs)
{
	const uint32_t sizes = 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 9 | 1u << 13;

	return pairs <= 13 && (sizes >> pairs & 1) != 0 &&
	       (*t == TAG_SMALL_ATOM_UTF8 || *t == TAG_ATOM || *t == TAG_SMALL_ATOM ||
		*t == TAG_ATOM_UTF8);
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
