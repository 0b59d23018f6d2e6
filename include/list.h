/* list.h - an intrusive, circular, doubly linked list.
 *
 *        head <-> a.link <-> b.link <-> head
 *
 * The link lives in the object, so nothing is allocated and every operation is O(1). A link that is
 * in no list points at itself; list_remove makes it so, and removing it twice is harmless. */
#ifndef KRAIT_LIST_H
#define KRAIT_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

/* The object of type `type` whose member `member` is the link `ptr`. */
#define list_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Walks the links of `head`; `tmp` holds the next one, so the body may remove `pos`. */
#define list_each(pos, tmp, head)                                        \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head); \
	     (pos) = (tmp), (tmp) = (pos)->next)

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *l, struct list *at)
{
	l->prev = at->prev;
	l->next = at;
	at->prev->next = l;
	at->prev = l;
}

static inline void list_append(struct list *head, struct list *l)
{
	list_insert_before(l, head);
}

static inline void list_prepend(struct list *head, struct list *l)
{
	list_insert_before(l, head->next);
}

static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#endif
