/* large.h - memory for large messages, kept for the next one for a while.
 *
 * Fresh memory costs a page fault for every 4 KiB, which is more than the bytes cost that are put there: of
 * the 44 ms of a node's time for an echo of 16 MB they were 27. So blocks from LARGE_BYTES on are not
 * given back at once:
 *
 *     large_grow() -> used -> large_free() -> kept -> large_take() of no more than its size
 *                                                \-> large_tidy(), twice in a row -> free()
 *
 * Bounds: what is kept is at most what large_keep() allows, and has all been used since the last but one
 * large_tidy(). A block that is not to be had from what is kept takes its memory from there: kept blocks
 * of as many bytes are freed first, so keeping makes the peak no higher.
 *
 * Each thread keeps for itself, and nothing until it says large_keep(). Memory comes from mem.h. */
#ifndef KRAIT_LARGE_H
#define KRAIT_LARGE_H

#include <stdbool.h>
#include <stddef.h>

#define LARGE_BYTES (256 * 1024)

/* Keeps at most so many bytes from now on, on this thread; 0: none, and what is kept is freed. */
void large_keep(size_t max_bytes);

/* A kept block of `len` bytes or more (from LARGE_BYTES on), its size in *cap; NULL: none is kept. */
void *large_take(size_t len, size_t *cap) __attribute__((warn_unused_result));

/* Makes a block of *cap bytes `len` long, *cap and more; the first `used` bytes stay. NULL: no memory, and the
 * block is as it was. `block` may be NULL. */
void *large_grow(void *block, size_t used, size_t *cap, size_t len)
	__attribute__((warn_unused_result));

/* Keeps or frees a block of `cap` bytes; a small one is freed. NULL: nothing. */
void large_free(void *block, size_t cap);

/* Frees what was not used since the last time. To be called now and then while something is kept. */
void large_tidy(void);
size_t large_kept(void);

#endif
