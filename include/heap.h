/* heap.h - an intrusive pairing heap of deadlines.
 *
 * A node lives in the object, so nothing is allocated: insert is O(1), removal of any node and of
 * the minimum O(log n) amortised. Ties come out in the order in which they were put in. */
#ifndef KRAIT_HEAP_H
#define KRAIT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	struct heap_node *child, *next,
		*prev;       /* prev: the parent for a first child, else the sibling */
	uint64_t key;        /* the deadline, in the caller's unit */
	uint64_t order : 63; /* its number among all that were put in */
	bool queued : 1;
};

struct heap {
	struct heap_node *root;
	uint64_t inserted;
};

#define heap_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Puts `n` in with `key`; asserts that it is in no heap. `n` must be zeroed before its first use. */
void heap_insert(struct heap *h, struct heap_node *n, uint64_t key);

/* Takes `n` out; nothing happens when it is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);

/* The node with the smallest key, NULL when the heap is empty. It stays in the heap. */
static inline struct heap_node *heap_min(const struct heap *h)
{
	return h->root;
}

#endif
