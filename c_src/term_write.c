/* term_write.c - writers of terms, each in its shortest encoding; see term.h.
 *
 * What is written for every message is written here; what is rare is left to ei. */
#include "term_tags.h"

#include <assert.h>
#include <ei.h>
#include <errno.h>
#include <math.h>

void term_put_version(struct buf *b)
{
	buf_put_u8(b, TERM_VERSION);
}

/* Tag and a 32-bit count. */
static void put_head(struct buf *b, unsigned tag, uint32_t count)
{
	uint8_t head[5] = { (uint8_t)tag };

	put_u32(head + 1, count);
	buf_put(b, head, sizeof head);
}

/* An integer that is not of 32 bits. */
static void put_big(struct buf *b, uint64_t magnitude, bool negative)
{
	uint8_t big[11] = { TAG_SMALL_BIG, 0, negative };

	for (; magnitude != 0; magnitude >>= 8)
		big[3 + big[1]++] = (uint8_t)magnitude;
	buf_put(b, big, 3u + big[1]);
}

void term_put_int(struct buf *b, int64_t value)
{
	uint8_t small[2] = { TAG_SMALL_INTEGER, (uint8_t)value };

	if (value >= 0 && value <= 255)
		buf_put(b, small, sizeof small);
	else if (value >= INT32_MIN && value <= INT32_MAX)
		put_head(b, TAG_INTEGER, (uint32_t)value);
	else
		put_big(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

void term_put_uint(struct buf *b, uint64_t value)
{
	if (value <= INT64_MAX)
		term_put_int(b, (int64_t)value);
	else
		put_big(b, value, false);
}

void term_put_float(struct buf *b, double value)
{
	char out[9];
	int index = 0;

	if (isnan(value))
		term_put_atom(b, "nan");
	else if (isinf(value))
		term_put_atom(b, value > 0 ? "infinity" : "neg_infinity");
	else if (ei_encode_double(out, &index, value) == 0)
		buf_put(b, out, sizeof out);
}

void term_put_atom(struct buf *b, const char *text)
{
	term_put_atom_n(b, text, strlen(text));
}

void term_put_atom_n(struct buf *b, const char *text, size_t len)
{
	uint8_t head[3] = { TAG_SMALL_ATOM_UTF8, (uint8_t)len };

	assert(len <= TERM_ATOM_BYTES);
	if (len <= 255) {
		buf_put(b, head, 2);
	} else {
		head[0] = TAG_ATOM_UTF8;
		put_u16(head + 1, (unsigned)len);
		buf_put(b, head, 3);
	}
	buf_put(b, text, len);
}

void term_put_bool(struct buf *b, bool value)
{
	term_put_atom(b, value ? "true" : "false");
}

void term_put_binary(struct buf *b, const void *data, size_t len)
{
	if (len > UINT32_MAX) {
		if (b->err == 0)
			b->err = -EMSGSIZE;
		return;
	}
	put_head(b, TAG_BINARY, (uint32_t)len);
	buf_put(b, data, len);
}

void term_put_text(struct buf *b, const char *text)
{
	term_put_binary(b, text, strlen(text));
}

void term_put_tuple(struct buf *b, uint32_t arity)
{
	uint8_t head[2] = { TAG_SMALL_TUPLE, (uint8_t)arity };

	if (arity <= 255)
		buf_put(b, head, sizeof head);
	else
		put_head(b, TAG_LARGE_TUPLE, arity);
}

void term_put_list(struct buf *b, uint32_t count)
{
	if (count == 0)
		term_put_nil(b);
	else
		put_head(b, TAG_LIST, count);
}

void term_put_nil(struct buf *b)
{
	buf_put_u8(b, TAG_NIL);
}

void term_put_map(struct buf *b, uint32_t pairs)
{
	put_head(b, TAG_MAP, pairs);
}

void term_put_pid(struct buf *b, const struct term_pid *pid)
{
	uint8_t ids[12];

	put_u32(ids, pid->id);
	put_u32(ids + 4, pid->serial);
	put_u32(ids + 8, pid->creation);
	buf_put_u8(b, TAG_NEW_PID);
	term_put_atom_n(b, pid->node, pid->node_len);
	buf_put(b, ids, sizeof ids);
}

void term_put_ref(struct buf *b, const char *node, uint32_t creation, uint64_t id)
{
	uint8_t head[3] = { TAG_NEWER_REFERENCE, 0, 3 }, words[16] = { 0 };

	put_u32(words, creation);
	/* the first word stays zero: older nodes take only 18 bits of it */
	put_u32(words + 8, (uint32_t)id);
	put_u32(words + 12, (uint32_t)(id >> 32));
	buf_put(b, head, sizeof head);
	term_put_atom(b, node);
	buf_put(b, words, sizeof words);
}

void term_put_raw(struct buf *b, struct span term)
{
	buf_put(b, term.at, term.len);
}

void term_put_pair_uint(struct buf *b, const char *key, uint64_t value)
{
	term_put_atom(b, key);
	term_put_uint(b, value);
}

void term_put_pair_atom(struct buf *b, const char *key, const char *value)
{
	term_put_atom(b, key);
	term_put_atom(b, value);
}
