/* table.c - an intrusive hash table that cannot fail; see table.h. */
#include "table.h"

#include "hash.h"
#include "mem.h"

#include <assert.h>

#define ROOM_MIN 16 /* buckets, when there are more than one */
#define ROOM_KEPT 512 /* and when nothing is in it */
#define PER_MORE 2  /* objects for each bucket: more, and there is one bucket more */
#define PER_LESS 4  /* buckets for each object: more, and there are fewer */

void table_init(struct table *t, table_hash hash, const void *arg)
{
	*t = (struct table){ .size = 1, .hash = hash, .arg = arg };
}

void table_close(struct table *t)
{
	assert(t->count == 0);
	mem_free(t->bucket);
	table_init(t, t->hash, t->arg);
}

/* ---- buckets ---- */

static struct table_link **bucket_at(struct table *t, uint32_t i)
{
	return t->bucket != NULL ? &t->bucket[i] : &t->first;
}

/* The highest power of two that is not above `n`. */
static uint32_t power_in(uint32_t n)
{
	return UINT32_C(1) << (31 - (unsigned)__builtin_clz(n));
}

/* Those that the next split has made are a power of two away from where they were. */
static uint32_t index_of(const struct table *t, uint32_t hash)
{
	uint32_t half = power_in(t->size), i = hash & (2 * half - 1);

	return i < t->size ? i : i - half;
}

/* Makes room for one bucket more; false: there is no memory. */
static bool make_room(struct table *t)
{
	uint32_t room = t->room == 0 ? ROOM_MIN : 2 * t->room;
	struct table_link **bucket;

	if (t->size < t->room)
		return true;
	if (t->size >= UINT32_C(1) << 30 ||
	    (bucket = mem_realloc(t->bucket, room * sizeof *bucket)) == NULL)
		return false;
	if (t->bucket == NULL)
		bucket[0] = t->first;
	t->bucket = bucket;
	t->room = room;
	return true;
}

/* One bucket more: it takes from one other those that belong to it. */
static void grow(struct table *t)
{
	struct table_link **from, **to, *l;
	uint32_t i;

	if (!make_room(t))
		return;
	i = t->size++;
	to = &t->bucket[i];
	*to = NULL;
	from = &t->bucket[i - power_in(i)];
	while ((l = *from) != NULL) {
		if (index_of(t, t->hash(l, t->arg)) != i) {
			from = &l->next;
			continue;
		}
		*from = l->next;
		l->next = *to;
		*to = l;
	}
}

/* One bucket less: those in the last go back to where they were split off. */
static void shrink(struct table *t)
{
	uint32_t i = --t->size;
	struct table_link *l = t->bucket[i], **to = &t->bucket[i - power_in(i)];

	while (*to != NULL)
		to = &(*to)->next;
	*to = l;
}

/* Gives back the half that is not in use. */
static void trim(struct table *t)
{
	struct table_link **bucket;

	if (t->room <= ROOM_MIN || t->size > t->room / 4)
		return;
	bucket = mem_realloc(t->bucket, t->room / 2 * sizeof *bucket);
	if (bucket == NULL)
		return;
	t->bucket = bucket;
	t->room /= 2;
}

/* ---- what is in them ---- */

void table_put(struct table *t, struct table_link *l)
{
	struct table_link **at;

	if (t->count >= PER_MORE * t->size) {
		grow(t);
	} else if (t->size > ROOM_MIN && t->size > PER_LESS * t->count) {
		shrink(t);
		shrink(t); /* twice as fast as it is filled */
		trim(t);
	}
	at = bucket_at(t, index_of(t, t->hash(l, t->arg)));
	l->next = *at;
	*at = l;
	t->count++;
}

void table_take(struct table *t, struct table_link *l)
{
	struct table_link **at = bucket_at(t, index_of(t, t->hash(l, t->arg)));

	while (*at != l) {
		assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = l->next;
	l->next = NULL;
	if (--t->count == 0 && t->room > ROOM_KEPT)
		table_close(t);
}

struct table_link *table_pop(struct table *t)
{
	struct table_link *l;

	if (t->count == 0)
		return NULL;
	while ((l = *bucket_at(t, t->size - 1)) == NULL)
		shrink(t);
	table_take(t, l);
	return l;
}

struct table_link *table_chain(const struct table *t, uint32_t hash)
{
	return t->bucket != NULL ? t->bucket[index_of(t, hash)] : t->first;
}

struct table_link *table_after(const struct table *t, const struct table_link *prev)
{
	uint32_t i = 0;

	if (prev != NULL && prev->next != NULL)
		return prev->next;
	if (t->bucket == NULL)
		return prev == NULL ? t->first : NULL;
	if (prev != NULL)
		i = index_of(t, t->hash(prev, t->arg)) + 1;
	while (i < t->size && t->bucket[i] == NULL)
		i++;
	return i < t->size ? t->bucket[i] : NULL;
}

/* Eight bytes at a time, mixed as splitmix64 does. */
uint32_t table_hash_bytes(const void *data, size_t len)
{
	return (uint32_t)hash_bytes(data, len);
}
