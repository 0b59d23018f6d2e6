/* slab.h - memory of the node's records: those that come and go with every call.
 *
 * A record has no header, is of a size that 8 divides, and lies with others of its size in a chunk of
 * 32 KiB, in which those that are free are chained. So one that waits costs its own bytes and no more, and in
 * steady state malloc and free are never called: of each size a few chunks are kept when nothing is in them.
 * Others are kept for any size: memory that goes back to the kernel costs a call, and when it is needed again
 * a page fault for every 4 KiB. They go back when slab_tidy() finds that they were not needed since the last
 * time.
 *
 * It is mem_alloc() and mem_free() where records are large, and where somebody looks after each of them: in
 * a build with AddressSanitizer, and under valgrind. `mem_fail_after` counts a record either way.
 *
 * For one thread, the loop's. */
#ifndef KRAIT_SLAB_H
#define KRAIT_SLAB_H

#include <stdbool.h>
#include <stddef.h>

#define SLAB_CHUNK 32768
#define SLAB_MAX   2048 /* bytes of a record; larger ones are malloc's */
#define SLAB_KEPT  2    /* empty chunks of each size */
#define SLAB_SPARE 1024 /* and of no size, at most; others are given back at once */

/* `len` > 0 bytes, not set to anything, aligned to 8; NULL: no memory. */
void *slab_alloc(size_t len) __attribute__((warn_unused_result));
/* With the `len` that it was asked for. NULL: nothing happens. */
void slab_free(void *record, size_t len);

/* Whether records come from chunks. */
bool slab_works(void);
/* Bytes of all chunks. */
size_t slab_bytes(void);
/* Bytes of those that are of no size. To be tidied now and then while there are such. */
size_t slab_spare(void);
/* Gives back as many of them as were never needed since the last time. */
void slab_tidy(void);
/* Gives back all that nothing is in. */
void slab_trim(void);

#endif
