/* children.h - the processes that belong to a libuv handle, so that nobody else waits for them.
 *
 * The node inherits orphans (it is a subreaper) and must reap them without touching the children that
 * libuv waits for itself. One process, one loop, no locks. */
#ifndef KRAIT_CHILDREN_H
#define KRAIT_CHILDREN_H

#include <stdbool.h>

/* Notes that libuv waits for `pid`; forgets it. At most 64 at once, further ones are not noted. */
void children_add(int pid);
void children_remove(int pid);

/* Waits for every other child that has ended, until it meets one that is `known`: that is left as it is, and
 * its pid returned. 0: there are no more. Does not block. */
int children_reap_others(bool (*known)(void *arg, int pid), void *arg);

#endif
