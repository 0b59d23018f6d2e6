/* check_dist_cut.h - what a peer sends to a name, in one frame or cut into fragments. */
#ifndef KRAIT_CHECK_DIST_CUT_H
#define KRAIT_CHECK_DIST_CUT_H

#include "check_dist.h"

static const struct term_pid beam_pid = { PEER_NAME, sizeof PEER_NAME - 1, 102, 3, 77 };

static inline struct dist_config with_fragments(void)
{
	struct dist_config config = test_config;

	config.flags = DIST_FLAGS;
	return config;
}

/* {6, Pid, '', Name} and a binary of `len` bytes, as they stand behind a distribution header. */
static inline void put_message(struct buf *b, const char *name, size_t len)
{
	term_put_tuple(b, 4);
	term_put_int(b, 6);
	term_put_pid(b, &beam_pid);
	term_put_atom(b, "");
	term_put_atom(b, name);
	buf_put_u8(b, 'm');
	buf_put_u32(b, (uint32_t)len);
	for (size_t i = 0; i < len; i++)
		buf_put_u8(b, (unsigned)(i * 7 + len) & 0xff);
}

static inline void put_whole(struct buf *b, const char *name, size_t len)
{
	size_t start = b->len;

	buf_put(b, "\0\0\0\0\x83\x44\0", 7);
	put_message(b, name, len);
	put_u32(b->data + start, (uint32_t)(b->len - start - 4));
}

/* One fragment. */
static inline void put_fragment(struct buf *b, bool first, uint64_t sequence, uint64_t number,
				const void *body, size_t len)
{
	buf_put_u32(b, (uint32_t)(len + (first ? 19 : 18)));
	buf_put_u8(b, 131);
	buf_put_u8(b, first ? 69 : 70);
	buf_put_u64(b, sequence);
	buf_put_u64(b, number);
	if (first)
		buf_put_u8(b, 0);
	buf_put(b, body, len);
}

/* A message cut into fragments of `size` bytes each. */
struct cut {
	struct buf bytes;
	size_t at, size;
	uint64_t sequence, left;
};

static inline struct cut cut(const char *name, size_t len, uint64_t sequence, size_t size)
{
	struct cut c = { .size = size, .sequence = sequence };

	put_message(&c.bytes, name, len);
	c.left = c.bytes.len / size + (c.bytes.len % size > 0);
	return c;
}

static inline bool put_next(struct buf *b, struct cut *c)
{
	size_t n = c->bytes.len - c->at < c->size ? c->bytes.len - c->at : c->size;

	if (c->left == 0)
		return false;
	put_fragment(b, c->at == 0, c->sequence, c->left--, c->bytes.data + c->at, n);
	c->at += n;
	return true;
}

#endif
