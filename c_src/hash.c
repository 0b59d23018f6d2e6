/* hash.c - what the hash of the node's tables is keyed with; see hash.h. */
#include "hash.h"

#include "splitmix.h"

uint64_t hash_secret[3] = { UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db),
			    UINT64_C(0x8ebc6af09c88c6e3) };

void hash_seed(uint64_t seed)
{
	for (size_t i = 0; i < sizeof hash_secret / sizeof hash_secret[0]; i++)
		hash_secret[i] = splitmix_next(&seed);
}
