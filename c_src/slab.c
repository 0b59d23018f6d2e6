/* slab.c - memory of the node's records; see slab.h.
 *
 *     sizes[i]: chunks with room  -> chunk -> chunk        a chunk: [ head | record | record | ... ]
 *                                                                      free ----^ -> ... -> NULL
 *
 * Where a record lies, less what SLAB_CHUNK leaves over, its chunk begins. A full chunk is in no list: it is
 * found by its records. The fullest is not looked for: who came into the list last serves first, so one that
 * was emptied fills again before others do. */
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

#define FINE  512 /* up to here sizes are 8 apart, then 64 */
#define SIZES (FINE / 8 + (SLAB_MAX - FINE) / 64)

struct chunk {
	struct list link;     /* among those of its size with room; in none: it is full */
	void *free;           /* records that were given back, chained by their first bytes */
	uint32_t used, fresh; /* records; how many were ever handed out */
};

static struct slab_size {
	struct list roomy; /* NULLs: never used */
	unsigned empty;    /* of them: nothing is in them */
} sizes[SIZES];
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

static void *map(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at != MAP_FAILED ? at : NULL;
}

/* Of twice as much what begins at a multiple of SLAB_CHUNK; zeroed. The next one is mapped right below, as a
 * rule, and lies well at once. NULL: no memory. */
static struct chunk *map_chunk(void)
{
	char *at = map(SLAB_CHUNK);
	size_t before;

	if (at == NULL || chunk_of(at) == (struct chunk *)(void *)at)
		return (struct chunk *)(void *)at;
	if (munmap(at, SLAB_CHUNK) != 0 || (at = map(2 * SLAB_CHUNK)) == NULL)
		return NULL;
	before = (SLAB_CHUNK - ((uintptr_t)at & (SLAB_CHUNK - 1))) & (SLAB_CHUNK - 1);
	if (before > 0)
		(void)munmap(at, before);
	if (before < SLAB_CHUNK)
		(void)munmap(at + before + SLAB_CHUNK, SLAB_CHUNK - before);
	return (struct chunk *)(void *)(at + before);
}

static struct chunk *chunk_new(struct slab_size *s)
{
	struct chunk *c = map_chunk();

	mem_asked++;
	if (c == NULL)
		return NULL;
	list_prepend(&s->roomy, &c->link);
	s->empty++;
	bytes += SLAB_CHUNK;
	return c;
}

static void chunk_free(struct slab_size *s, struct chunk *c)
{
	struct list *before = c->link.prev;

	list_remove(&c->link);
	if (munmap(c, SLAB_CHUNK) != 0) { /* the kernel cannot cut its neighbours apart: later */
		list_prepend(before, &c->link);
		return;
	}
	s->empty--;
	bytes -= SLAB_CHUNK;
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
		chunk_free(s, c);
}

size_t slab_bytes(void)
{
	return bytes;
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
				chunk_free(s, c);
		}
	}
}
