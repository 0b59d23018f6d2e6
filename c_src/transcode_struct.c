/* transcode_struct.c - is this map a struct that Python has a type for? See transcode_struct.h.
 *
 * Most maps are not, and must not pay for it: the number of pairs and the first key answer that. A map
 * with the right number of pairs is then read key by key, and given up at the first that is not in the
 * table or has a value that Python's type could not hold. */
#include "transcode_struct.h"

#include "transcode_pack.h"

#define TEXT_MAX 64  /* bytes of a time zone's name; the longest there is has 32 */
#define COEF_MAX 256 /* bytes; 616 digits, which Python's int() takes from text at any setting */

/* Exponents that Python's Decimal has on 32 bits, too. */
#define EXP_MAX 400000000

#define FIELD(name, type, low, high)                   \
	{                                              \
		name, sizeof(name) - 1, type, low, high \
	}
#define NAME     FIELD("__struct__", FIELD_NAME, 0, 0)
#define CALENDAR FIELD("calendar", FIELD_CALENDAR, 0, 0)
#define DATE                                                                 \
	FIELD("year", FIELD_INT, 1, 9999), FIELD("month", FIELD_INT, 1, 12), \
		FIELD("day", FIELD_INT, 1, 31)
#define TIME                                                                \
	FIELD("hour", FIELD_INT, 0, 23), FIELD("minute", FIELD_INT, 0, 59), \
		FIELD("second", FIELD_INT, 0, 59), FIELD("microsecond", FIELD_MICRO, 0, 999999)

const struct struct_shape struct_shapes[STRUCT_KINDS] = {
	[STRUCT_DATE] = { "Elixir.Date", 5, 3, { DATE, NAME, CALENDAR } },
	[STRUCT_TIME] = { "Elixir.Time", 6, 5, { TIME, NAME, CALENDAR } },
	[STRUCT_NAIVE] = { "Elixir.NaiveDateTime", 9, 8, { DATE, TIME, NAME, CALENDAR } },
	[STRUCT_DATETIME] = { "Elixir.DateTime",
			      13,
			      12,
			      { DATE, TIME, FIELD("utc_offset", FIELD_INT, -86399, 86399),
				FIELD("std_offset", FIELD_INT, -86399, 86399),
				FIELD("time_zone", FIELD_TEXT, 0, 0),
				FIELD("zone_abbr", FIELD_TEXT, 0, 0), NAME, CALENDAR } },
	[STRUCT_DECIMAL] = { "Elixir.Decimal",
			     4,
			     3,
			     { FIELD("sign", FIELD_INT, -1, 1), FIELD("exp", FIELD_EXP, 0, 0),
			       FIELD("coef", FIELD_COEF, 0, 0), NAME } },
	/* the version is the last one: Elixir has none since 1.15 */
	[STRUCT_MAPSET] = { "Elixir.MapSet",
			    3,
			    1,
			    { FIELD("map", FIELD_SET, 0, 0), NAME,
			      FIELD("version", FIELD_VERSION, 2, 2) } },
};

bool struct_sound(enum struct_kind kind, const int64_t *value, bool number)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int64_t year = value[0], month, day;
	int64_t offset;

	switch (kind) {
	case STRUCT_DATE:
	case STRUCT_NAIVE:
	case STRUCT_DATETIME:
		month = value[1];
		day = value[2];
		if (month < 1 || month > 12 ||
		    day > days[month - 1] + (month == 2 && year % 4 == 0 &&
					     (year % 100 != 0 || year % 400 == 0)))
			return false;
		offset = kind == STRUCT_DATETIME ? value[8] + value[9] : 0;
		return offset > -86400 && offset < 86400;
	case STRUCT_DECIMAL:
		return value[0] != 0 && (number || value[1] == 0);
	default:
		return true;
	}
}

static const uint8_t by_pairs[] = {
	[2] = STRUCT_MAPSET, [3] = STRUCT_MAPSET, [4] = STRUCT_DECIMAL,  [5] = STRUCT_DATE,
	[6] = STRUCT_TIME,   [9] = STRUCT_NAIVE,  [13] = STRUCT_DATETIME
};

/* Which field the key at `t` names; -1: none. */
static int field_named(const struct struct_shape *shape, const uint8_t *t)
{
	struct span text = { t + 2, t[1] };

	if (*t != TAG_SMALL_ATOM_UTF8 && !term_atom(t, &text, NULL))
		return -1;
	for (int i = 0; i < shape->fields; i++) {
		const struct struct_field *field = &shape->field[i];

		if (text.len == field->len && memcmp(text.at, field->name, text.len) == 0)
			return i;
	}
	return -1;
}

static bool int_within(const uint8_t *t, int64_t low, int64_t high)
{
	int64_t n;

	return term_int(t, &n) && n >= low && n <= high;
}

static bool is_micro(const uint8_t *t)
{
	const uint8_t *first;
	uint32_t arity;

	return term_tuple(t, &arity, &first) && arity == 2 && int_within(first, 0, 999999) &&
	       int_within(term_skip(first), 0, 6);
}

static bool is_text(const uint8_t *t)
{
	struct span text;

	return term_binary(t, &text) && text.len <= TEXT_MAX && term_utf8(text.at, text.len);
}

static bool is_coef(const uint8_t *t)
{
	bool negative;
	struct span digits;
	int64_t n;

	if (term_int(t, &n))
		return n >= 0;
	if (term_kind(t) == TERM_BIG) {
		digits = term_big(t, &negative);
		return !negative && digits.len <= COEF_MAX;
	}
	return term_is_atom(t, "NaN") || term_is_atom(t, "inf");
}

/* A map all of whose values are []. */
static bool is_set(const uint8_t *t, struct struct_found *found)
{
	const uint8_t *key;

	if (!term_map(t, &found->count, &key))
		return false;
	found->elements = key;
	for (uint32_t i = 0; i < found->count; i++) {
		key = found->end = term_skip(key);
		if (*key++ != TAG_NIL)
			return false;
	}
	found->end = key;
	return true;
}

/* Whether the value at `t` is what the field holds; sets found->end past it then. */
static bool fits(const struct struct_shape *shape, const struct struct_field *field,
		 const uint8_t *t, struct struct_found *found)
{
	bool fit = false;

	switch (field->type) {
	case FIELD_NAME:
		fit = term_is_atom(t, shape->name);
		break;
	case FIELD_CALENDAR:
		fit = term_is_atom(t, "Elixir.Calendar.ISO");
		break;
	case FIELD_INT:
	case FIELD_VERSION:
		fit = int_within(t, field->low, field->high);
		break;
	case FIELD_MICRO:
		fit = is_micro(t);
		break;
	case FIELD_TEXT:
		fit = is_text(t);
		break;
	case FIELD_COEF:
		fit = is_coef(t);
		break;
	case FIELD_EXP:
		fit = int_within(t, -EXP_MAX, EXP_MAX);
		break;
	case FIELD_SET:
		return is_set(t, found);
	}
	if (fit)
		found->end = term_skip(t);
	return fit;
}

static bool sound(const struct struct_found *found)
{
	const struct struct_shape *shape = &struct_shapes[found->kind];
	int64_t value[STRUCT_FIELDS_MAX] = { 0 };
	int n = 0;

	if (found->kind == STRUCT_MAPSET)
		return true;
	for (int i = 0; i < shape->fields; i++) {
		if (shape->field[i].type == FIELD_INT || shape->field[i].type == FIELD_EXP) {
			(void)term_int(found->field[i], &value[n++]);
		} else if (shape->field[i].type == FIELD_MICRO) {
			value[n++] = 0; /* in range, and nothing depends on them */
			value[n++] = 0;
		}
	}
	return struct_sound(found->kind, value, term_kind(found->field[2]) != TERM_ATOM);
}

bool struct_find(const uint8_t *t, uint32_t pairs, struct struct_found *found)
{
	const struct struct_shape *shape = &struct_shapes[by_pairs[pairs]];
	unsigned seen = 0;

	found->kind = by_pairs[pairs];
	found->end = t;
	for (uint32_t i = 0; i < pairs; i++) {
		const uint8_t *value;
		int field = field_named(shape, found->end);

		if (field < 0 || (seen >> field & 1) != 0)
			return false;
		value = term_skip(found->end);
		if (!fits(shape, &shape->field[field], value, found))
			return false;
		found->field[field] = value;
		seen |= 1u << field;
	}
	found->version = pairs == 3 ? 2 : 0;
	/* without its version a MapSet must have the others; every other shape has as many fields as pairs */
	return seen == (1u << pairs) - 1 && sound(found);
}

static void pack_int_of(struct sink *s, const uint8_t *t)
{
	int64_t n = 0;

	(void)term_int(t, &n);
	pack_int(s, n);
}

static enum transcode_fault pack_field(struct sink *s, enum field_type type, const uint8_t *t)
{
	const uint8_t *first;
	struct span text;
	uint32_t arity;

	switch (type) {
	case FIELD_INT:
	case FIELD_EXP:
		pack_int_of(s, t);
		return TRANSCODE_OK;
	case FIELD_MICRO:
		(void)term_tuple(t, &arity, &first);
		pack_int_of(s, first);
		pack_int_of(s, term_skip(first));
		return TRANSCODE_OK;
	case FIELD_TEXT:
		(void)term_binary(t, &text);
		return pack_bytes(s, text.at, text.len, true);
	case FIELD_COEF:
		if (term_is_atom(t, "NaN") || term_is_atom(t, "inf"))
			return pack_bytes(s,
					  (const uint8_t *)(term_is_atom(t, "NaN") ? "NaN" : "inf"),
					  3, true);
		if (term_kind(t) == TERM_BIG)
			return pack_big(s, t);
		pack_int_of(s, t);
		return TRANSCODE_OK;
	default:
		return TRANSCODE_OK;
	}
}

enum transcode_fault struct_pack(struct sink *s, const struct struct_found *found, bool in_key)
{
	const struct struct_shape *shape = &struct_shapes[found->kind];
	enum transcode_fault fault = TRANSCODE_OK;
	uint64_t count = 1 + (uint64_t)shape->values;

	if (found->kind == STRUCT_MAPSET)
		count += found->count;
	pack_count(s, 0x90, 0xdc, (uint32_t)count);
	pack_uint(s, found->kind + (in_key ? STRUCT_IN_KEY : 0u));
	if (found->kind == STRUCT_MAPSET)
		pack_uint(s, found->version);
	for (int i = 0; i < shape->fields && fault == TRANSCODE_OK; i++) {
		if (found->kind == STRUCT_MAPSET)
			break;
		if (!sink_has(s, SINK_SLACK) && (fault = sink_more(s, SINK_SLACK)) != TRANSCODE_OK)
			break;
		fault = pack_field(s, shape->field[i].type, found->field[i]);
	}
	return fault;
}
