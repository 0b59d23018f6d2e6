/* pool_check.h - what the rooms that prove the pool's invariants share; nobody else includes it. */
#ifndef KRAIT_POOL_CHECK_H
#define KRAIT_POOL_CHECK_H

#include "pool_private.h"

#define HOLDS(condition, ...)                                                      \
	do {                                                                       \
		if (!(condition))                                                  \
			check_broken(#condition, __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

/* Tells it and aborts: `what` and its `id`. */
_Noreturn void check_broken(const char *condition, const char *file, int line, const char *what,
			    uint64_t id);

/* A heap in order, `expected` nodes in all. */
void check_heap(const struct heap *h, unsigned expected, const char *name);

/* A timer is set exactly when there is a deadline, and to it. */
bool check_timer(const struct heap_node *timer, uint64_t at_us);

void check_workers(const struct pool *p);
void check_leases(const struct pool *p);
void check_sessions(const struct pool *p);

#endif
