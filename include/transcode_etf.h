/* transcode_etf.h - single terms, made of a worker's bytes and written to a sink; a room of transcode.
 *
 * What comes from a worker is checked here as strictly as what comes from a socket. The inline ones and
 * those without a result rely on SINK_SLACK bytes of room and take no more than 14; the others make their
 * own, SINK_SLACK included. */
#ifndef KRAIT_TRANSCODE_ETF_H
#define KRAIT_TRANSCODE_ETF_H

#include "transcode_private.h"

/* An atom of at most 12 bytes. */
void etf_word(struct sink *s, const char *text, size_t len);
/* A double by its bits; NaN and infinities are atoms. */
void etf_float(struct sink *s, uint64_t bits);
void etf_float32(struct sink *s, uint32_t bits);

enum transcode_fault etf_binary(struct sink *s, const uint8_t *data, size_t len);
/* The same; but of a large one only the head, if it may go apart. Never in a key, which is looked at again. */
enum transcode_fault etf_value(struct sink *s, const uint8_t *data, size_t len);
enum transcode_fault etf_atom(struct sink *s, const uint8_t *text, size_t len);

/* The payloads of extensions: BIGINT; PID, REF, PORT and EXPORT; OPAQUE, which is a bit string or a local
 * fun. The latter has terms within it, whose maps must be sound, too. */
enum transcode_fault etf_big(struct sink *s, const uint8_t *payload, size_t len);
enum transcode_fault etf_name(struct sink *s, enum term_kind kind, const uint8_t *payload,
			      size_t len);
enum transcode_fault etf_opaque(struct sink *s, const uint8_t *payload, size_t len);

static inline void etf_byte(struct sink *s, unsigned byte)
{
	*s->w++ = (uint8_t)byte;
}

static inline void etf_head(struct sink *s, unsigned tag, uint32_t count)
{
	s->w[0] = (uint8_t)tag;
	put_u32(s->w + 1, count);
	s->w += 5;
}

static inline void etf_uint(struct sink *s, uint64_t value, bool negative)
{
	uint8_t *w = s->w, n = 0;

	if (value <= 255 && !negative) {
		w[0] = TAG_SMALL_INTEGER;
		w[1] = (uint8_t)value;
		s->w = w + 2;
	} else if (value <= (uint64_t)INT32_MAX + negative) {
		etf_head(s, TAG_INTEGER, (uint32_t)(negative ? 0 - value : value));
	} else {
		for (; value != 0; value >>= 8)
			w[3 + n++] = (uint8_t)value;
		w[0] = TAG_SMALL_BIG;
		w[1] = n;
		w[2] = negative;
		s->w = w + 3 + n;
	}
}

static inline void etf_int(struct sink *s, int64_t value)
{
	etf_uint(s, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

#endif
