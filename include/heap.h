/* heap.h - an intrusive pairing heap of deadlines, with a line beside it.
 *
 *     first -> ... -> last        root        Most come in the order of their deadlines, since most are given the
 *     10, 11, 11, 15, 18         12           same time: they stand in the line, and only who is due before its
 *                               /  \          last is put into the heap.
 *                             13    17
 *
 * A node lives in the object, so nothing is allocated. Insert is O(1); removal of any node and of the minimum
 * is O(1) from the line and O(log n) amortised from the heap. Ties come out in the order in which they were
 * put in. */
#ifndef KRAIT_HEAP_H
#define KRAIT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	struct heap_node *child, *next,
		*prev;       /* prev: the parent for a first child, else the sibling */
	uint64_t key;        /* the deadline, in the caller's unit */
	uint64_t order : 62; /* its number among all that were put in */
	bool queued : 1;
	bool in_line : 1; /* queued there; without children */
};

struct heap {
	struct heap_node *root;
	struct heap_node *first, *last; /* of the line */
	struct heap_node *min;          /* `root` or `first` */
	uint64_t inserted;
};

#define heap_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline bool heap_before(const struct heap_node *a, const struct heap_node *b)
{
	return a->key < b->key || (a->key == b->key && a->order < b->order);
}

/* Puts `n` in with `key`; asserts that it is in no heap. `n` must be zeroed before its first use. */
void heap_insert(struct heap *h, struct heap_node *n, uint64_t key);

/* Takes `n` out; nothing happens when it is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);

/* The node with the smallest key, NULL when the heap is empty. It stays in the heap. */
static inline struct heap_node *heap_min(const struct heap *h)
{
	return h->min;
}

#endif
