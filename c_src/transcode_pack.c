/* transcode_pack.c - single values of msgpack; see transcode_pack.h. */
#include "transcode_pack.h"

#include "parcel.h"

static void ext_head(struct sink *s, enum frame_ext type, size_t len)
{
	switch (len) {
	case 1:
		pack_byte(s, 0xd4);
		break;
	case 2:
		pack_byte(s, 0xd5);
		break;
	case 4:
		pack_byte(s, 0xd6);
		break;
	case 8:
		pack_byte(s, 0xd7);
		break;
	case 16:
		pack_byte(s, 0xd8);
		break;
	default:
		pack_head(s, 0xc7, len);
	}
	pack_byte(s, type);
}

enum transcode_fault pack_ext(struct sink *s, enum frame_ext type, const void *data, size_t len)
{
	enum transcode_fault fault = sink_long(s, len);

	if (fault != TRANSCODE_OK)
		return fault;
	ext_head(s, type, len);
	sink_put(s, data, len);
	return TRANSCODE_OK;
}

enum transcode_fault pack_bytes(struct sink *s, const uint8_t *data, size_t len, bool text)
{
	enum transcode_fault fault = sink_long(s, len);

	if (fault != TRANSCODE_OK)
		return fault;
	if (text && len <= 31)
		pack_byte(s, 0xa0u | (unsigned)len);
	else
		pack_head(s, text ? 0xd9 : 0xc4, len);
	sink_put(s, data, len);
	return TRANSCODE_OK;
}

bool pack_apart(struct sink *s, enum frame_part kind, const void *lead, size_t lead_len,
		const uint8_t *data, size_t len, enum transcode_fault *fault)
{
	if (!parcel_may(s->apart, data, len))
		return false;
	s->seen = sink_total(s) + len;
	if (s->seen > s->max)
		*fault = TRANSCODE_TOO_LARGE;
	else
		*fault = sink_long(s, 2 + lead_len);
	if (*fault != TRANSCODE_OK)
		return true;
	ext_head(s, EXT_PART, 2 + lead_len);
	pack_byte(s, parcel_put(s->apart, data, len, 0));
	pack_byte(s, kind);
	sink_put(s, lead, lead_len);
	return true;
}

enum transcode_fault pack_value(struct sink *s, const uint8_t *data, size_t len, bool text)
{
	enum transcode_fault fault;

	if (pack_apart(s, text ? PART_STR : PART_BIN, NULL, 0, data, len, &fault))
		return fault;
	return pack_bytes(s, data, len, text);
}

enum transcode_fault pack_binary(struct sink *s, const uint8_t *data, size_t len, bool utf8)
{
	return pack_bytes(s, data, len, utf8 && term_utf8(data, len));
}

enum transcode_fault pack_atom(struct sink *s, const uint8_t *t)
{
	uint8_t room[2 * TERM_ATOM_MAX];
	struct span text = atom_utf8(t, room);

	switch (atom_word(text)) {
	case WORD_NIL:
		pack_byte(s, 0xc0);
		return TRANSCODE_OK;
	case WORD_FALSE:
		pack_byte(s, 0xc2);
		return TRANSCODE_OK;
	case WORD_TRUE:
		pack_byte(s, 0xc3);
		return TRANSCODE_OK;
	default:
		return pack_ext(s, EXT_ATOM, text.at, text.len);
	}
}

enum transcode_fault pack_big(struct sink *s, const uint8_t *t)
{
	enum transcode_fault fault;
	bool negative;
	struct span digits = term_big(t, &negative);
	int64_t small;
	uint64_t u = 0;

	if (term_big_fits(digits.at, digits.len, negative, &small)) {
		pack_int(s, small);
	} else if (digits.len == 8 && !negative) {
		for (size_t i = 8; i-- > 0;)
			u = u << 8 | digits.at[i];
		pack_uint(s, u);
	} else {
		if ((fault = sink_long(s, digits.len + 1)) != TRANSCODE_OK)
			return fault;
		ext_head(s, EXT_BIGINT, digits.len + 1);
		pack_byte(s, negative);
		sink_put(s, digits.at, digits.len);
	}
	return TRANSCODE_OK;
}

void pack_float(struct sink *s, const uint8_t *t)
{
	double value = 0;
	uint64_t bits;

	pack_byte(s, 0xcb);
	if (*t == TAG_NEW_FLOAT) {
		sink_put(s, t + 1, 8);
		return;
	}
	(void)term_float(t, &value);
	memcpy(&bits, &value, sizeof bits);
	put_u64(s->w, bits);
	s->w += 8;
}

enum transcode_fault pack_bits(struct sink *s, const uint8_t *t, bool utf8)
{
	uint32_t len = get_u32(t + 1);
	enum transcode_fault fault;

	if (t[5] == 8)
		return pack_binary(s, t + 6, len, utf8);
	if ((fault = pack_ext(s, EXT_OPAQUE, t, 6 + (size_t)len)) == TRANSCODE_OK)
		s->w[-1] &= (uint8_t)(0xff << (8 - t[5]));
	return fault;
}

enum transcode_fault pack_name(struct sink *s, enum frame_ext type, const uint8_t *t)
{
	uint8_t canonical[NAME_BYTES_MAX];

	return pack_ext(s, type, canonical, name_canonical(t, canonical));
}

bool pack_special(struct sink *s, const uint8_t **at, enum transcode_fault *fault)
{
	const uint8_t *first, *second;
	struct span data;
	uint32_t arity;

	if (!term_tuple(*at, &arity, &first) || arity != 2)
		return false;
	second = term_skip(first);
	if (term_is_atom(first, "bytes") && term_binary(second, &data))
		*fault = pack_value(s, data.at, data.len, false);
	else if (term_is_atom(first, "krait_input") && term_kind(second) == TERM_PID)
		*fault = pack_name(s, EXT_INPUT, second);
	else
		return false;
	*at = term_skip(second);
	return true;
}
