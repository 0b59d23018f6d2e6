/* transcode_etf.c - single terms, made of a worker's bytes; see transcode_etf.h. */
#include "transcode_etf.h"

#include "parcel.h"

#include <errno.h>
#include <math.h>

/* Largest integer that every BEAM takes: 2^22 bits less a word, the limit since OTP 27 or so; older
 * ones take 4 MB. */
#define BIG_BYTES_MAX (512 * 1024 - 8)

void etf_word(struct sink *s, const char *text, size_t len)
{
	etf_byte(s, TAG_SMALL_ATOM_UTF8);
	etf_byte(s, (unsigned)len);
	sink_put(s, text, len);
}

void etf_float(struct sink *s, uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof value);
	if (isnan(value)) {
		etf_word(s, "nan", 3);
	} else if (isinf(value)) {
		if (value > 0)
			etf_word(s, "infinity", 8);
		else
			etf_word(s, "neg_infinity", 12);
	} else {
		etf_byte(s, TAG_NEW_FLOAT);
		put_u64(s->w, bits);
		s->w += 8;
	}
}

void etf_float32(struct sink *s, uint32_t bits)
{
	uint64_t wide;
	double value;
	float narrow;

	memcpy(&narrow, &bits, sizeof narrow);
	value = (double)narrow;
	memcpy(&wide, &value, sizeof wide);
	etf_float(s, wide);
}

enum transcode_fault etf_binary(struct sink *s, const uint8_t *data, size_t len)
{
	enum transcode_fault fault = sink_long(s, 5 + len);

	if (fault != TRANSCODE_OK)
		return fault;
	etf_head(s, TAG_BINARY, (uint32_t)len);
	sink_put(s, data, len);
	return TRANSCODE_OK;
}

enum transcode_fault etf_value(struct sink *s, const uint8_t *data, size_t len)
{
	enum transcode_fault fault;

	if (!parcel_may(s->apart, data, len))
		return etf_binary(s, data, len);
	s->seen = sink_total(s) + 5 + len;
	if (s->seen > s->max)
		return TRANSCODE_TOO_LARGE;
	if ((fault = sink_long(s, 5)) != TRANSCODE_OK)
		return fault;
	etf_head(s, TAG_BINARY, (uint32_t)len);
	(void)parcel_put(s->apart, data, len, (size_t)(s->w - s->out->data));
	return TRANSCODE_OK;
}

enum transcode_fault etf_atom(struct sink *s, const uint8_t *text, size_t len)
{
	enum transcode_fault fault;
	size_t chars = len;

	if (len > TERM_ATOM_BYTES || !term_utf8(text, len))
		return sink_fault(s, TRANSCODE_UNENCODABLE, ":invalid_atom");
	if (len <= 255) {
		if ((fault = sink_long(s, 2 + len)) == TRANSCODE_OK)
			etf_word(s, (const char *)text, len);
		return fault;
	}
	for (size_t i = 0; i < len; i++)
		chars -= (text[i] & 0xc0) == 0x80;
	if (chars > TERM_ATOM_MAX)
		return sink_fault(s, TRANSCODE_UNENCODABLE, ":invalid_atom");
	if ((fault = sink_long(s, 3 + len)) != TRANSCODE_OK)
		return fault;
	etf_byte(s, TAG_ATOM_UTF8);
	put_u16(s->w, (unsigned)len);
	s->w += 2;
	sink_put(s, text, len);
	return TRANSCODE_OK;
}

enum transcode_fault etf_big(struct sink *s, const uint8_t *payload, size_t len)
{
	const uint8_t *digits = payload + 1;
	enum transcode_fault fault;
	uint64_t magnitude = 0;

	if (len < 1 || payload[0] > 1)
		return sink_fault(s, TRANSCODE_CORRUPT, "a BIGINT without a sign");
	for (len--; len > 0 && digits[len - 1] == 0;)
		len--;
	if (len <= 8) {
		for (size_t i = len; i-- > 0;)
			magnitude = magnitude << 8 | digits[i];
		etf_uint(s, magnitude, payload[0] == 1 && magnitude != 0);
		return TRANSCODE_OK;
	}
	if (len > BIG_BYTES_MAX)
		return sink_fault(s, TRANSCODE_UNENCODABLE, ":integer_too_large");
	if ((fault = sink_long(s, len)) != TRANSCODE_OK)
		return fault;
	if (len <= 255) {
		etf_byte(s, TAG_SMALL_BIG);
		etf_byte(s, (unsigned)len);
	} else {
		etf_head(s, TAG_LARGE_BIG, (uint32_t)len);
	}
	etf_byte(s, payload[0]);
	sink_put(s, digits, len);
	return TRANSCODE_OK;
}

/* Whether the payload is exactly one term of that kind. */
static bool is_term(const uint8_t *payload, size_t len, enum term_kind kind)
{
	size_t used;

	return term_check(payload, len, &used) == 0 && used == len && term_kind(payload) == kind;
}

enum transcode_fault etf_name(struct sink *s, enum term_kind kind, const uint8_t *payload,
			      size_t len)
{
	uint8_t canonical[NAME_BYTES_MAX];
	enum transcode_fault fault;
	size_t n;

	if (!is_term(payload, len, kind))
		return sink_fault(s, TRANSCODE_CORRUPT,
				  "a pid, reference, port or export that is none");
	n = name_canonical(payload, canonical);
	if ((fault = sink_long(s, n)) == TRANSCODE_OK)
		sink_put(s, canonical, n);
	return fault;
}

enum transcode_fault etf_opaque(struct sink *s, const uint8_t *payload, size_t len)
{
	bool is_bits = is_term(payload, len, TERM_BITS);
	enum transcode_fault fault;
	size_t at = 0, which;
	int rc;

	if (is_bits && payload[5] == 8)
		return etf_binary(s, payload + 6, len - 6);
	if (!is_bits) {
		if (!is_term(payload, len, TERM_FUN))
			return sink_fault(s, TRANSCODE_CORRUPT, "an OPAQUE that is none");
		rc = keys_check(payload, &at, 1, KEYS_TERM, &which);
		if (rc == -ENOMEM || rc == -E2BIG)
			return rc == -ENOMEM ? TRANSCODE_NO_MEMORY : TRANSCODE_TOO_DEEP;
		if (rc != 0)
			return sink_fault(s, TRANSCODE_CORRUPT, "a fun with a duplicate key");
	}
	if ((fault = sink_long(s, len)) != TRANSCODE_OK)
		return fault;
	sink_put(s, payload, len);
	if (is_bits)
		s->w[-1] &= (uint8_t)(0xff << (8 - payload[5]));
	return TRANSCODE_OK;
}
