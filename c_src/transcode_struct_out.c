/* transcode_struct_out.c - a worker's STRUCT becomes the map that Elixir takes for the struct.
 *
 * The same table as for the way in, and as little belief as anywhere: a field of the wrong type or out of
 * range makes it no struct, and the worker is to blame. */
#include "transcode_struct.h"

#include "frame.h"
#include "transcode_etf.h"

#define KEY_ROOM 64 /* of a key, or of a value that is neither text nor a large integer */

static enum transcode_fault bad(struct sink *s)
{
	return sink_fault(s, TRANSCODE_CORRUPT, "a struct that is none");
}

static enum transcode_fault room(struct sink *s)
{
	return sink_has(s, KEY_ROOM + SINK_SLACK) ? TRANSCODE_OK
						  : sink_more(s, KEY_ROOM + SINK_SLACK);
}

static void put_word(struct sink *s, const char *text)
{
	etf_word(s, text, strlen(text));
}

/* An integer of msgpack that fits 64 bits with a sign. */
static bool get_int(const uint8_t **p, const uint8_t *end, int64_t *value)
{
	const uint8_t *t = *p;
	uint64_t u;

	if (t == end)
		return false;
	if (frame_get_uint(p, end, &u)) {
		*value = (int64_t)u;
		return u <= INT64_MAX;
	}
	if (*t >= 0xe0) {
		*value = *t - 0x100;
		*p = t + 1;
		return true;
	}
	if (*t < 0xd0 || *t > 0xd3 || (size_t)(end - t) < 1 + ((size_t)1 << (*t - 0xd0)))
		return false;
	switch (*t) {
	case 0xd0:
		*value = t[1] < 0x80 ? t[1] : t[1] - 0x100;
		break;
	case 0xd1:
		*value = (int16_t)get_u16(t + 1);
		break;
	case 0xd2:
		*value = (int32_t)get_u32(t + 1);
		break;
	default:
		*value = (int64_t)get_u64(t + 1);
	}
	*p = t + 1 + ((size_t)1 << (*t - 0xd0));
	return true;
}

static enum transcode_fault put_text(struct sink *s, const uint8_t **p, const uint8_t *end)
{
	const char *text;
	size_t len;

	if (!frame_get_str(p, end, &text, &len) || !term_utf8(text, len))
		return bad(s);
	return etf_binary(s, (const uint8_t *)text, len);
}

/* The payload of the extension at *p that has that type; false: something else. */
static bool get_ext(const uint8_t **p, const uint8_t *end, enum frame_ext type,
		    const uint8_t **payload, size_t *len)
{
	const uint8_t *t = *p, *next = t;
	size_t head;

	if (t == end || !frame_skip(&next, end))
		return false;
	if (*t >= 0xd4 && *t <= 0xd8)
		head = 2;
	else if (*t >= 0xc7 && *t <= 0xc9)
		head = 2 + ((size_t)1 << (*t - 0xc7));
	else
		return false;
	*payload = t + head;
	*len = (size_t)(next - *payload);
	*p = next;
	return (*payload)[-1] == type;
}

/* A natural number, or a text for what is none: *number. */
static enum transcode_fault put_coef(struct sink *s, const uint8_t **p, const uint8_t *end,
				     bool *number)
{
	const uint8_t *payload;
	const char *text;
	uint64_t small;
	size_t len;

	*number = true;
	if (frame_get_uint(p, end, &small)) {
		etf_uint(s, small, false);
		return TRANSCODE_OK;
	}
	if (get_ext(p, end, EXT_BIGINT, &payload, &len) && len > 0 && payload[0] == 0)
		return etf_big(s, payload, len);
	*number = false;
	if (!frame_get_str(p, end, &text, &len) || len != 3 ||
	    (memcmp(text, "NaN", 3) != 0 && memcmp(text, "inf", 3) != 0))
		return bad(s);
	etf_word(s, text, len);
	return TRANSCODE_OK;
}

static bool get_within(const uint8_t **p, const uint8_t *end, int64_t low, int64_t high,
		       int64_t *value)
{
	return get_int(p, end, value) && *value >= low && *value <= high;
}

/* One key and its value; `values` gets its integers. */
static enum transcode_fault put_field(struct sink *s, const struct struct_shape *shape, int i,
				      const uint8_t **p, const uint8_t *end, int64_t **values,
				      bool *number)
{
	const struct struct_field *field = &shape->field[i];
	int64_t *value = *values;

	put_word(s, field->name);
	switch (field->type) {
	case FIELD_NAME:
		put_word(s, shape->name);
		return TRANSCODE_OK;
	case FIELD_CALENDAR:
		put_word(s, "Elixir.Calendar.ISO");
		return TRANSCODE_OK;
	case FIELD_TEXT:
		return put_text(s, p, end);
	case FIELD_COEF:
		return put_coef(s, p, end, number);
	case FIELD_INT:
		if (!get_within(p, end, field->low, field->high, value))
			return bad(s);
		break;
	case FIELD_EXP:
		if (!get_int(p, end, value))
			return bad(s);
		break;
	case FIELD_MICRO:
		if (!get_within(p, end, 0, 999999, value) || !get_within(p, end, 0, 6, value + 1))
			return bad(s);
		etf_byte(s, TAG_SMALL_TUPLE);
		etf_byte(s, 2);
		etf_int(s, *value);
		value++;
		break;
	default:
		return bad(s);
	}
	etf_int(s, *value);
	*values = value + 1;
	return TRANSCODE_OK;
}

/* A MapSet up to its elements. */
static enum transcode_fault put_set(struct sink *s, const uint8_t **p, const uint8_t *end,
				    uint32_t elements)
{
	uint64_t version;

	if (!frame_get_uint(p, end, &version) || (version != 0 && version != 2))
		return bad(s);
	etf_head(s, TAG_MAP, version == 2 ? 3 : 2);
	put_word(s, "__struct__");
	put_word(s, struct_shapes[STRUCT_MAPSET].name);
	if (version == 2) {
		put_word(s, "version");
		etf_uint(s, version, false);
	}
	put_word(s, "map");
	etf_head(s, TAG_MAP, elements);
	return TRANSCODE_OK;
}

enum transcode_fault struct_unpack(struct sink *s, const uint8_t **p, const uint8_t *end,
				   bool *is_set, uint32_t *elements)
{
	int64_t values[STRUCT_FIELDS_MAX + 1] = { 0 }, *value = values;
	const struct struct_shape *shape;
	enum transcode_fault fault;
	bool number = true;
	uint32_t count;
	uint64_t kind;

	if (!frame_get_array(p, end, &count) || !frame_get_uint(p, end, &kind))
		return bad(s);
	if (kind > STRUCT_IN_KEY)
		kind -= STRUCT_IN_KEY; /* that is for Python alone */
	if (kind == 0 || kind >= STRUCT_KINDS)
		return bad(s);
	if ((fault = room(s)) != TRANSCODE_OK)
		return fault;
	shape = &struct_shapes[kind];
	*is_set = kind == STRUCT_MAPSET;
	*elements = *is_set && count >= 2 ? count - 2 : 0;
	if (count - *elements != 1u + shape->values)
		return bad(s);
	if (*is_set)
		return put_set(s, p, end, *elements);
	etf_head(s, TAG_MAP, shape->fields);
	for (int i = 0; i < shape->fields; i++) {
		if ((fault = room(s)) != TRANSCODE_OK ||
		    (fault = put_field(s, shape, i, p, end, &value, &number)) != TRANSCODE_OK)
			return fault;
	}
	if (*p != end || !struct_sound((enum struct_kind)kind, values, number))
		return bad(s);
	return TRANSCODE_OK;
}
