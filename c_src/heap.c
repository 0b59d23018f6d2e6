/* heap.c - an intrusive pairing heap, and its line; see heap.h.
 *
 * The classical two-pass form: a removed root's children are linked in pairs from left to right,
 * then the pairs are folded from right to left. */
#include "heap.h"

#include <assert.h>

/* Makes the larger of two roots the first child of the smaller; returns the smaller. */
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
	struct heap_node *top = a, *sub = b;

	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	if (heap_before(b, a)) {
		top = b;
		sub = a;
	}
	sub->prev = top;
	sub->next = top->child;
	if (sub->next != NULL)
		sub->next->prev = sub;
	top->child = sub;
	top->next = top->prev = NULL;
	return top;
}

static struct heap_node *meld_children(struct heap_node *first)
{
	struct heap_node *pairs = NULL, *root = NULL;

	while (first != NULL) {
		struct heap_node *a = first, *b = a->next;

		first = b != NULL ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b != NULL)
			b->next = b->prev = NULL;
		a = meld(a, b);
		a->next = pairs; /* a stack of melded pairs: last in, first folded */
		pairs = a;
	}
	while (pairs != NULL) {
		struct heap_node *n = pairs;

		pairs = n->next;
		n->next = NULL;
		root = meld(root, n);
	}
	return root;
}

/* ---- the line ---- */

static void append(struct heap *h, struct heap_node *n)
{
	n->in_line = true;
	n->prev = h->last;
	if (h->last != NULL)
		h->last->next = n;
	else
		h->first = n;
	h->last = n;
}

static void leave_line(struct heap *h, struct heap_node *n)
{
	if (n->prev != NULL)
		n->prev->next = n->next;
	else
		h->first = n->next;
	if (n->next != NULL)
		n->next->prev = n->prev;
	else
		h->last = n->prev;
}

/* ---- both ---- */

static void find_min(struct heap *h)
{
	if (h->root == NULL || h->first == NULL)
		h->min = h->root != NULL ? h->root : h->first;
	else
		h->min = heap_before(h->root, h->first) ? h->root : h->first;
}

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key)
{
	assert(!n->queued);
	*n = (struct heap_node){ .key = key,
				 .order = h->inserted++ & (UINT64_MAX >> 2),
				 .queued = true };
	if (h->last == NULL || h->last->key <= key)
		append(h, n);
	else
		h->root = meld(h->root, n);
	find_min(h);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	struct heap_node *rest;

	if (!n->queued)
		return;
	if (n->in_line) {
		leave_line(h, n);
		find_min(h);
		*n = (struct heap_node){ 0 };
		return;
	}
	rest = meld_children(n->child);
	if (n == h->root) {
		h->root = rest;
	} else {
		if (n->prev->child == n)
			n->prev->child = n->next;
		else
			n->prev->next = n->next;
		if (n->next != NULL)
			n->next->prev = n->prev;
		h->root = meld(h->root, rest);
	}
	if (h->root != NULL)
		h->root->prev = h->root->next = NULL;
	find_min(h);
	*n = (struct heap_node){ 0 };
}
