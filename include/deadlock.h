/* deadlock.h - whether a pool could never serve what waits in it. Pure.
 *
 * A worker may wait for a process (a call back), and a process for the pool (a request). When every slot
 * of every worker waits, the pool goes on only if one of the processes that are waited for can answer.
 * A process can, unless each request that it has made is queued, or runs in a slot that waits in vain:
 *
 *     slot 1 --waits for--> A --queued------+
 *     slot 2 --waits for--> B --runs in--> slot 1        nobody goes on: A's request is refused
 *     slot 2 --waits for--> C                            ... C can: nothing is refused
 *
 * A process whose pid is not known (a name) is taken for one that can answer, but it is told when that
 * is what everything hangs on. */
#ifndef KRAIT_DEADLOCK_H
#define KRAIT_DEADLOCK_H

#include <stddef.h>
#include <stdint.h>

/* A process of a peer; `peer` 0: not known. */
struct deadlock_process {
	uint64_t peer;
	uint32_t id, serial, creation;
};

/* The innermost call of a slot waits for a process. */
struct deadlock_wait {
	unsigned slot; /* 0 .. slots - 1; every slot has one wait at least */
	struct deadlock_process process;
	uint64_t since_us;
};

#define DEADLOCK_QUEUED UINT32_MAX

/* A process has made a request. */
struct deadlock_ask {
	struct deadlock_process process;
	unsigned slot; /* where it runs, or DEADLOCK_QUEUED */
	uint64_t arrival, since_us;
};

enum deadlock {
	DEADLOCK_NONE,
	DEADLOCK_FOUND, /* *which is the ask that is to be refused: the newest one that is queued, of a
	                    process that a slot waits for; *since_us: for so long nothing has changed */
	DEADLOCK_UNCLEAR /* it hangs on processes that are not known */
};

/* `slots` that all wait. No memory is DEADLOCK_NONE. Time O((waits + asks) * (log + rounds)), rounds being
 * the longest chain of slots that wait for each other. */
enum deadlock deadlock_find(unsigned slots, const struct deadlock_wait *waits, size_t wait_count,
			    const struct deadlock_ask *asks, size_t ask_count, size_t *which,
			    uint64_t *since_us);

#endif
