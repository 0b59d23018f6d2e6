/* hash.h - the hash of the node's tables: keys that peers choose, references and ids. Pure.
 *
 * Each 16 bytes cost one multiplication, the two halves of whose product are folded (as wyhash does); the last
 * bytes are read once more where they overlap. Keyed, so that nobody can choose keys that meet. */
#ifndef KRAIT_HASH_H
#define KRAIT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Keys the hash: random bits, once, before any table has an element. */
void hash_seed(uint64_t seed);

extern uint64_t hash_secret[3];

__extension__ typedef unsigned __int128 hash_wide;

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
	hash_wide product = (hash_wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

/* At most 7 bytes as one number. */
static inline uint64_t hash_tail(const uint8_t *p, size_t n)
{
	uint32_t first, last;

	if (n >= 4) {
		memcpy(&first, p, 4);
		memcpy(&last, p + n - 4, 4);
		return (uint64_t)first << 32 | last;
	}
	return n == 0 ? 0 : (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
}

static inline uint64_t hash_bytes(const void *key, size_t len)
{
	const uint8_t *p = key;
	uint64_t h = hash_secret[0] ^ len;
	size_t n = len;

	for (; n > 16; n -= 16, p += 16)
		h = hash_fold(h ^ hash_word(p), hash_secret[1] ^ hash_word(p + 8));
	if (n >= 8)
		return hash_fold(h ^ hash_word(p), hash_secret[2] ^ hash_word(p + n - 8));
	return hash_fold(h ^ hash_tail(p, n), hash_secret[2]);
}

#endif
