/* table.h - an intrusive hash table that cannot fail.
 *
 *     bucket[0] -> a -> d      bucket[1]      bucket[2] -> b      bucket[3] -> c
 *
 * A link of 8 bytes lives in the object, and a bucket of 8 bytes is there for each two objects or so. Nothing
 * is allocated for an object: only the buckets are, and where there is no memory for more of them the chains
 * get longer. It grows and shrinks by one bucket at a time (linear hashing: of N buckets the next to be split
 * is number N less the highest power of two in it), while something is put in: so no single call pays for
 * all, and what is taken out while somebody walks moves nothing.
 *
 * The table does not know what its objects are. Who looks for one walks the chain that its hash names:
 *
 *     for (l = table_chain(&t, hash); l != NULL; l = l->next)
 *             if (is_it(table_entry(l, struct thing, link)))  */
#ifndef KRAIT_TABLE_H
#define KRAIT_TABLE_H

#include "hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_link {
	struct table_link *next;
};

/* The hash of the object that the link lives in, the same as long as it is in a table. `arg` is the table's. */
typedef uint32_t (*table_hash)(const struct table_link *l, const void *arg);

struct table {
	struct table_link **bucket; /* NULL: only `first` */
	struct table_link *first;
	uint32_t count;
	uint32_t size; /* buckets in use, at least 1 */
	uint32_t room; /* and allocated */
	table_hash hash;
	const void *arg;
};

#define table_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Nothing is allocated. */
void table_init(struct table *t, table_hash hash, const void *arg);
/* Frees the buckets; nothing is in it. */
void table_close(struct table *t);

void table_put(struct table *t, struct table_link *l);
/* Takes out what is in it (asserted). */
void table_take(struct table *t, struct table_link *l);
/* Takes out any one; NULL: it is empty. */
struct table_link *table_pop(struct table *t);

/* Those that may have this hash. */
struct table_link *table_chain(const struct table *t, uint32_t hash);
/* Walks all, in no order: the one after `prev`, NULL: the first, and at the end. What was returned may be
 * taken out when the next one is known; nothing may be put in meanwhile. */
struct table_link *table_after(const struct table *t, const struct table_link *prev);

/* A hash of bytes, and of an id. */
static inline uint32_t table_hash_bytes(const void *data, size_t len)
{
	return (uint32_t)hash_bytes(data, len);
}

/* Of a number and other bytes: of eight numbers that follow each other the buckets do, too, which is one cache
 * line of them, and when one of them is split the objects of the others come along. */
static inline uint32_t table_hash_near(uint32_t number, const void *data, size_t len)
{
	uint64_t hash = hash_fold(hash_bytes(data, len) ^ number >> 3, hash_secret[1]);

	return ((uint32_t)hash & ~UINT32_C(7)) | ((number + (uint32_t)(hash >> 32)) & 7);
}

static inline uint32_t table_hash_id(uint64_t id)
{
	return (uint32_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

#endif
