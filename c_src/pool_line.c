/* pool_line.c - lines of the pool: those who wait for the same, where peers take turns.
 *
 *     turns -> first of peer 7 -> first of peer 3 -> first of peer 9
 *                  |                  |                  |
 *              its others         (no others)        its others       each peer's in a circle, by arrival
 *
 * Nothing is allocated: what belongs to a peer in a line is its first request, which is found in a table by
 * both. Whoever is taken out leaves his place to the next of his peer: where he stood, or, if he was served,
 * at the end of the turns. So each peer waits for one request of every other at most, however many it
 * or they have sent. */
#include "pool_private.h"

#include <assert.h>

static struct pool_request *waiting(struct list *at)
{
	return list_entry(at, struct pool_request, link);
}

static unsigned chain_of(const struct pool_line *line, uint64_t peer)
{
	uint64_t key = ((uint64_t)(uintptr_t)line >> 4 ^ peer) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(key >> 32) % POOL_TURN_HASH;
}

/* Where the table has, or would have, the first request of the peer in the line. */
static struct pool_request **first_of(struct pool *p, const struct pool_line *line, uint64_t peer)
{
	struct pool_request **at = &p->firsts[chain_of(line, peer)];

	while (*at != NULL && ((*at)->line != line || (*at)->peer != peer))
		at = &(*at)->next;
	return at;
}

/* By arrival: mostly last; who waits again is rather in front. */
static void put_by_age(struct list *line, struct pool_request *r)
{
	struct list *at = line;

	if (list_entry(line->prev, struct pool_request, by_age)->arrival > r->arrival &&
	    !list_empty(line))
		for (at = line->next;
		     list_entry(at, struct pool_request, by_age)->arrival < r->arrival;)
			at = at->next;
	list_insert_before(&r->by_age, at);
}

/* `to` stands for its peer from now on, instead of `from`; at the end of the turns, or where that was. */
static void stand_in(struct pool_line *line, struct pool_request **at, struct pool_request *from,
		     struct pool_request *to, bool at_the_end)
{
	*at = to;
	to->next = from->next;
	list_insert_before(&to->turn, at_the_end ? &line->turns : &from->turn);
	list_remove(&from->turn);
}

void line_init(struct pool_line *line)
{
	list_init(&line->turns);
}

bool line_is_queue(const struct pool *p, const struct pool_line *line)
{
	return line >= p->queue && line < p->queue + PRIORITIES;
}

void line_put(struct pool *p, struct pool_line *line, struct pool_request *r)
{
	struct pool_request **at = first_of(p, line, r->peer), *first = *at;
	struct list *before;

	assert(r->line == NULL);
	r->line = line;
	if (first == NULL) {
		*at = r;
		r->next = NULL;
		list_append(&line->turns, &r->turn);
	} else {
		before = &first->link; /* the end of the circle */
		if (r->arrival < waiting(before->prev)->arrival)
			while (waiting(before)->arrival < r->arrival)
				before = before->next;
		list_insert_before(&r->link, before);
		if (r->arrival < first->arrival)
			stand_in(line, at, first, r, false);
	}
	if (line_is_queue(p, line))
		put_by_age(&p->by_age, r);
}

void line_take(struct pool *p, struct pool_request *r, bool served)
{
	struct pool_line *line = r->line;

	if (line == NULL)
		return;
	if (!list_empty(&r->turn)) {
		struct pool_request **at = first_of(p, line, r->peer);

		assert(*at == r);
		if (list_empty(&r->link)) {
			*at = r->next;
			list_remove(&r->turn);
		} else {
			stand_in(line, at, r, waiting(r->link.next), served);
		}
	}
	list_remove(&r->link);
	list_remove(&r->by_age);
	r->line = NULL;
}

struct pool_request *line_first(const struct pool_line *line)
{
	if (list_empty(&line->turns))
		return NULL;
	return list_entry(line->turns.next, struct pool_request, turn);
}

struct pool_request *line_oldest(const struct pool *p)
{
	if (list_empty(&p->by_age))
		return NULL;
	return list_entry(p->by_age.next, struct pool_request, by_age);
}

bool line_known(const struct pool *p, const struct pool_request *r)
{
	const struct pool_request *at = p->firsts[chain_of(r->line, r->peer)];

	while (at != NULL && at != r)
		at = at->next;
	return at != NULL;
}

unsigned line_count(const struct pool *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < POOL_TURN_HASH; i++)
		for (const struct pool_request *r = p->firsts[i]; r != NULL; r = r->next)
			n++;
	return n;
}
