/* deadlock.h - whether a request could never be served, since whoever it waits for waits for it. Pure.
 *
 * A call in a worker may wait for a process (a call back), and a process for the pool (a request). A slot
 * goes on unless all that its innermost call waits for are processes that do not; a process goes on unless
 * it has made requests, and none of them is in a slot, or could come into one, that goes on:
 *
 *     slot 1 --waits for--> A --queued, for any slot--+
 *     slot 2 --waits for--> B --runs in--> slot 1     |       nobody goes on: A's request is refused
 *     slot 2 --waits for--> C                                 ... C does: nothing is refused
 *
 * A process whose pid is not known (a name) is taken for one that goes on, but it is told when something
 * hangs on that. */
#ifndef KRAIT_DEADLOCK_H
#define KRAIT_DEADLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A process of a peer; `peer` 0: not known. */
struct deadlock_process {
	uint64_t peer;
	uint32_t id, serial, creation;
};

/* The innermost call of a slot waits for a process. A slot without a wait goes on. */
struct deadlock_wait {
	unsigned slot; /* 0 .. slots - 1 */
	struct deadlock_process process;
	uint64_t since_us;
};

/* A process has made a request. */
struct deadlock_ask {
	struct deadlock_process process;
	bool queued;           /* and could run in one of these slots; else it runs in the first */
	unsigned first, count; /* 0, `slots`: in any */
	uint64_t arrival, since_us;
};

enum deadlock {
	DEADLOCK_NONE,
	DEADLOCK_FOUND, /* *which is the ask that is to be refused: the newest one that is queued in vain,
	                    of a process that a slot waits for in vain; *since_us: when the last of what
	                    this is made of came about */
	DEADLOCK_UNCLEAR /* it hangs on processes that are not known */
};

/* No memory is DEADLOCK_NONE. Time O((waits + asks) * (log + rounds)), rounds being the longest chain of
 * slots that wait for each other. */
enum deadlock deadlock_find(unsigned slots, const struct deadlock_wait *waits, size_t wait_count,
			    const struct deadlock_ask *asks, size_t ask_count, size_t *which,
			    uint64_t *since_us);

#endif
