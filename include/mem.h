/* mem.h - malloc with a switch that tests can throw.
 *
 * Every allocation of the node's own code goes through here. Without a hook the functions are
 * malloc, calloc, realloc and free. A test sets `mem_fail_after` to n >= 0: the n-th allocation
 * from then on fails, and all after it succeed; -1 (the default) never fails. */
#ifndef KRAIT_MEM_H
#define KRAIT_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Number of allocations that still succeed before one fails; -1: never fail. For tests. */
extern long mem_fail_after;
/* How often memory was asked for: of malloc, or of the kernel by slab.h. For tests. */
extern unsigned long mem_asked;

/* As malloc, calloc, realloc, strdup and free. NULL when there is no memory; the caller owns the
 * result and returns it with mem_free. `mem_dup` copies `len` bytes and adds a final NUL. */
void *mem_alloc(size_t len) __attribute__((warn_unused_result));
void *mem_zalloc(size_t len) __attribute__((warn_unused_result));
void *mem_realloc(void *ptr, size_t len) __attribute__((warn_unused_result));
char *mem_dup(const void *data, size_t len) __attribute__((warn_unused_result));
void mem_free(void *ptr);

/* Defined where AddressSanitizer watches, by gcc or clang: what is freed is then not to be used again at once. */
#if defined(__SANITIZE_ADDRESS__)
#define MEM_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_SANITIZED
#endif
#endif

/* Counts an allocation that is made elsewhere (slab.h); true: it is the one that fails. */
bool mem_must_fail(void);

#endif
