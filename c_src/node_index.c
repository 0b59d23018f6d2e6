/* node_index.c - the index of a worker: who it is among those of its pool, as its environment says.
 *
 * A pool of 4 on a machine of 4 GPUs gives worker {index} GPU {index}. A worker that is replaced has its
 * replacement beside it for a while, and that must not be worker 4: it takes the index of the one that leaves
 * (of all that are lined up to leave, the lowest). So an index is below the pool's size, and two may have it for
 * as long as one of them is on its way out. The pool's own numbers (pool_worker.index) are another matter: no
 * two workers have the same. */
#include "node_private.h"

/* Those that stay have different ones, and are at most as many as a pool may have workers. */
#define INDEXES (2 * CONFIG_SIZE_MAX)

unsigned node_index_free(struct node_pool *p)
{
	bool taken[INDEXES] = { false };
	struct node_worker *w, *tmp;
	unsigned index = 0;

	HASH_ITER(hh, p->workers, w, tmp)
	{
		const struct pool_worker *pw = w->gone ? NULL : pool_worker(p->pool, w->id);

		if (pw != NULL && pw->state != WORKER_STOPPING && !pw->recycled &&
		    w->index < INDEXES)
			taken[w->index] = true;
	}
	while (index < INDEXES - 1 && taken[index])
		index++;
	return index;
}

unsigned node_index_of(struct node_pool *p, const struct pool_worker *pw)
{
	const struct node_worker *w = node_worker_find(p, pw->id);

	return w != NULL ? w->index : pw->index;
}
