/* fuzz.h - what the fuzzers share.
 *
 * A fuzzer is one function, LLVMFuzzerTestOneInput(): bytes in, nothing out, abort() when a promise of a
 * header is broken. clang links it with libFuzzer (`make fuzz`), any compiler with replay.c, which runs
 * the inputs in corpus/ and found/ once each (`make fuzz-replay`, a part of `make check`).
 *
 * Each fuzzer takes its choices from the first bytes of the input, and says which in its first comment. */
#ifndef KRAIT_FUZZ_H
#define KRAIT_FUZZ_H

#include "buf.h"
#include "mem.h"
#include "term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is promised; stays in whatever NDEBUG says. */
#define MUST(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Bytes of the input that are still to be used. */
struct input {
	const uint8_t *at;
	size_t left;
};

/* The next bytes as a number; zeros after the end. */
static inline unsigned next_u8(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline unsigned next_u16(struct input *in)
{
	unsigned high = next_u8(in);

	return high << 8 | next_u8(in);
}

static inline uint64_t next_u64(struct input *in)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | next_u8(in);
	return value;
}

/* The next `n` bytes, or as many as there are. */
static inline struct span next_span(struct input *in, size_t n)
{
	struct span s = { in->at, n < in->left ? n : in->left };

	in->at += s.len;
	in->left -= s.len;
	return s;
}

/* The bytes in a block of their own size, so that a sanitizer sees any step beyond. free() it. */
static inline uint8_t *exact(const void *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	MUST(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

/* The pieces that a stream arrives in: from a seed, so that the fuzzer may choose. Seed 0: whole. */
struct pieces {
	bool whole;
	uint32_t state;
};

static inline struct pieces pieces_from(uint32_t seed)
{
	return (struct pieces){ seed == 0, seed };
}

static inline size_t next_piece(struct pieces *p)
{
	if (p->whole)
		return SIZE_MAX;
	p->state = p->state * 1664525u + 1013904223u;
	/* mostly small, where frames are split; sometimes larger */
	return (p->state >> 16) % ((p->state >> 30) == 0 ? 3000 : 40) + 1;
}

/* FNV-1a, to compare two runs. */
static inline void hash_bytes(uint64_t *hash, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		*hash = (*hash ^ p[i]) * UINT64_C(0x100000001b3);
}

static inline void hash_number(uint64_t *hash, uint64_t n)
{
	hash_bytes(hash, &n, sizeof n);
}

/* Exactly one sound term. */
static inline bool is_one_term(const uint8_t *data, size_t len)
{
	size_t used;

	return term_check(data, len, &used) == 0 && used == len;
}

#endif
