/* slab.c - memory of the node's records; see slab.h.
 *
 *     sizes[i]: chunks with room  -> chunk -> chunk        a chunk: [ head | record | record | ... ]
 *                                                                      free ----^ -> ... -> NULL
 *
 * Where a record lies, less what SLAB_CHUNK leaves over, its chunk begins. A full chunk is in no list: it is
 * found by its records. The fullest is not looked for: who came into the list last serves first, so one that
 * was emptied fills again before others do.
 *
 *     region -> chunk of a size -> kept -> chunk of any size       a page fault for each 4 KiB costs as much
 *                                      \-> slab_tidy() -> kernel   as a tenth of the records in it */
#include "slab.h"

#include "list.h"
#include "mem.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

#define FINE   512 /* up to here sizes are 8 apart, then 64 */
#define SIZES  (FINE / 8 + (SLAB_MAX - FINE) / 64)
#define REGION (16 * SLAB_CHUNK) /* mapped at a time */

struct chunk {
	struct list link;     /* among those of its size with room; in none: it is full */
	void *free;           /* records that were given back, chained by their first bytes */
	uint32_t used, fresh; /* records; how many were ever handed out */
};

static struct slab_size {
	struct list roomy; /* NULLs: never used */
	unsigned empty;    /* of them: nothing is in them */
	unsigned chunks;   /* in all */
} sizes[SIZES];
static struct list
	kept; /* chunks of no size; the one that was used last is the first. NULLs: never used */
static unsigned kept_count, kept_least; /* the fewest since slab_tidy() */
static char *region;                    /* what no chunk was made of yet */
static size_t region_left;
static size_t bytes;

#define HEAD ((sizeof(struct chunk) + 15) / 16 * 16)

bool slab_works(void)
{
#if defined(MEM_SANITIZED)
	return false;
#else
	static int watched = -1;

	if (watched < 0)
		watched = RUNNING_ON_VALGRIND ? 1 : 0;
	return watched == 0;
#endif
}

static unsigned size_index(size_t len)
{
	return (unsigned)(len <= FINE ? (len - 1) / 8 : FINE / 8 + (len - FINE - 1) / 64);
}

static size_t size_of(unsigned i)
{
	return i < FINE / 8 ? (i + 1) * (size_t)8 : FINE + (i - FINE / 8 + 1) * (size_t)64;
}

static struct chunk *chunk_of(const void *record)
{
	return (struct chunk *)(void *)((char *)record - ((uintptr_t)record & (SLAB_CHUNK - 1)));
}

/* Maps REGION bytes that begin at a multiple of SLAB_CHUNK; untouched, they take no memory. */
static bool map_region(void)
{
	char *at = mmap(NULL, REGION + SLAB_CHUNK, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (at == MAP_FAILED)
		return false;
	before = (SLAB_CHUNK - ((uintptr_t)at & (SLAB_CHUNK - 1))) & (SLAB_CHUNK - 1);
	if (before > 0)
		(void)munmap(at, before);
	(void)munmap(at + before + REGION, SLAB_CHUNK - before);
	region = at + before;
	region_left = REGION;
	return true;
}

/* One that was kept, or a new one; zeroed but for the former's records. NULL: no memory. */
static struct chunk *chunk_take(bool at_once)
{
	struct chunk *c;

	if (kept_count > 0) {
		c = list_entry(kept.next, struct chunk, link);
		list_remove(&c->link);
		kept_count--;
		kept_least = kept_count < kept_least ? kept_count : kept_least;
		c->free = NULL;
		c->used = c->fresh = 0;
		return c;
	}
	mem_asked++;
	if (region_left == 0 && !map_region())
		return NULL;
	c = (struct chunk *)(void *)region;
	region += SLAB_CHUNK;
	region_left -= SLAB_CHUNK;
	bytes += SLAB_CHUNK;
#ifdef MADV_POPULATE_WRITE
	if (at_once)
		(void)madvise(c, SLAB_CHUNK, MADV_POPULATE_WRITE);
#endif
	return c;
}

static struct chunk *chunk_new(struct slab_size *s)
{
	struct chunk *c = chunk_take(s->chunks > 0);

	if (c == NULL)
		return NULL;
	list_prepend(&s->roomy, &c->link);
	s->empty++;
	s->chunks++;
	return c;
}

/* Nothing is in it, and its size has enough of those. */
static void chunk_keep(struct slab_size *s, struct chunk *c)
{
	if (kept.next == NULL)
		list_init(&kept);
	list_remove(&c->link);
	list_prepend(&kept, &c->link);
	kept_count++;
	s->empty--;
	s->chunks--;
}

/* Gives back those that have been kept for the longest; fewer, when the kernel cannot cut them out. */
static void chunks_free(unsigned count)
{
	while (count-- > 0) {
		struct chunk *c = list_entry(kept.prev, struct chunk, link);

		list_remove(&c->link);
		if (munmap(c, SLAB_CHUNK) != 0) {
			list_append(&kept, &c->link);
			break;
		}
		kept_count--;
		bytes -= SLAB_CHUNK;
	}
	kept_least = kept_count < kept_least ? kept_count : kept_least;
}

static bool is_full(const struct chunk *c, size_t size)
{
	return c->free == NULL && HEAD + (c->fresh + 1) * size > SLAB_CHUNK;
}

void *slab_alloc(size_t len)
{
	struct slab_size *s;
	struct chunk *c;
	size_t size;
	void *record;

	assert(len > 0);
	if (len > SLAB_MAX || !slab_works())
		return mem_alloc(len);
	if (mem_must_fail())
		return NULL;
	s = &sizes[size_index(len)];
	size = size_of(size_index(len));
	if (s->roomy.next == NULL)
		list_init(&s->roomy);
	if (list_empty(&s->roomy) && chunk_new(s) == NULL)
		return NULL;
	c = list_entry(s->roomy.next, struct chunk, link);
	record = c->free;
	if (record != NULL)
		c->free = *(void **)record;
	else
		record = (char *)c + HEAD + c->fresh++ * size;
	s->empty -= c->used++ == 0;
	if (is_full(c, size))
		list_remove(&c->link);
	return record;
}

void slab_free(void *record, size_t len)
{
	struct slab_size *s;
	struct chunk *c;

	if (record == NULL)
		return;
	if (len > SLAB_MAX || !slab_works()) {
		mem_free(record);
		return;
	}
	s = &sizes[size_index(len)];
	c = chunk_of(record);
	assert(c->used > 0);
	*(void **)record = c->free;
	c->free = record;
	if (list_empty(&c->link))
		list_prepend(&s->roomy, &c->link);
	if (--c->used > 0)
		return;
	if (++s->empty > SLAB_KEPT)
		chunk_keep(s, c);
	if (kept_count > SLAB_SPARE)
		chunks_free(1);
}

size_t slab_bytes(void)
{
	return bytes;
}

size_t slab_spare(void)
{
	return (size_t)kept_count * SLAB_CHUNK;
}

void slab_tidy(void)
{
	chunks_free(kept_least);
	kept_least = kept_count;
}

void slab_trim(void)
{
	struct list *pos, *next;

	for (struct slab_size *s = sizes; s < sizes + SIZES; s++) {
		if (s->roomy.next == NULL)
			continue;
		list_each (pos, next, &s->roomy) {
			struct chunk *c = list_entry(pos, struct chunk, link);

			if (c->used == 0)
				chunk_keep(s, c);
		}
	}
	chunks_free(kept_count);
}
