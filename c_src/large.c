/* large.c - memory for large messages, kept for a while; see large.h.
 *
 * A handful of blocks in an array, the one that was freed last at the end: that one is the likeliest to be in
 * the processor's cache. A block's age is counted in large_tidy(). */
#include "large.h"

#include "mem.h"

#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#if defined(MEM_SANITIZED)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(block, len)   ((void)(block), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(block, len) ((void)(block), (void)(len))
#endif

#define BLOCKS_MAX 64

struct block {
	void *memory;
	size_t cap;
	bool idle; /* since the last large_tidy() */
};

static _Thread_local struct {
	size_t max, bytes;
	unsigned count;
	struct block block[BLOCKS_MAX];
} kept;

/* Takes block `i` out of the array. */
static void *unkeep(unsigned i)
{
	struct block b = kept.block[i];

	kept.bytes -= b.cap;
	kept.count--;
	memmove(&kept.block[i], &kept.block[i + 1], (kept.count - i) * sizeof b);
	ASAN_UNPOISON_MEMORY_REGION(b.memory, b.cap);
	return b.memory;
}

/* Frees kept blocks of `bytes` in all, if there are so many, those of long ago first. */
static void evict(size_t bytes)
{
	size_t goal = kept.bytes > bytes ? kept.bytes - bytes : 0;

	while (kept.bytes > goal)
		mem_free(unkeep(0));
}

void large_keep(size_t max_bytes)
{
#ifdef __GLIBC__
	/* blocks of their own, which grow without being copied and go back to the kernel when freed; or glibc
	 * raises that bound by itself, up to 32 MiB, and puts them between small ones */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
#endif
	kept.max = max_bytes;
	if (kept.bytes > max_bytes)
		evict(kept.bytes - max_bytes);
}

void *large_take(size_t len, size_t *cap)
{
	unsigned best = BLOCKS_MAX;

	if (len < LARGE_BYTES)
		return NULL;
	for (unsigned i = kept.count; i-- > 0;)
		if (kept.block[i].cap >= len &&
		    (best == BLOCKS_MAX || kept.block[i].cap < kept.block[best].cap))
			best = i;
	if (best == BLOCKS_MAX)
		return NULL;
	*cap = kept.block[best].cap;
	return unkeep(best);
}

void *large_grow(void *block, size_t used, size_t *cap, size_t len)
{
	size_t size = 0;
	void *other = large_take(len, &size);

	if (other == NULL) {
		if (len >= LARGE_BYTES)
			evict(len - *cap);
		if ((other = mem_realloc(block, len)) != NULL)
			*cap = len;
		return other;
	}
	if (used > 0)
		memcpy(other, block, used);
	large_free(block, *cap);
	*cap = size;
	return other;
}

void large_free(void *block, size_t cap)
{
	if (block == NULL || cap < LARGE_BYTES || cap > kept.max) {
		mem_free(block);
		return;
	}
	if (kept.count == BLOCKS_MAX)
		mem_free(unkeep(0));
	if (kept.bytes + cap > kept.max)
		evict(kept.bytes + cap - kept.max);
	ASAN_POISON_MEMORY_REGION(block, cap);
	kept.block[kept.count++] = (struct block){ .memory = block, .cap = cap };
	kept.bytes += cap;
}

void large_tidy(void)
{
	for (unsigned i = kept.count; i-- > 0;) {
		if (kept.block[i].idle)
			mem_free(unkeep(i));
		else
			kept.block[i].idle = true;
	}
}

size_t large_kept(void)
{
	return kept.bytes;
}
