/* node_failures.h - the last failures of each pool, for who looks afterwards: calls that raised, workers that
 * died in a call, calls that ran out of time, starts that failed.
 *
 * FAILURES_MAX of them, each with FAILURE_TEXT bytes of its traceback or last lines. One that has the same
 * text as one that is kept counts with that, so a call that fails a thousand times hides nothing else. They
 * are kept where they can be read by operators, and are never logged: a message may quote what it was given. */
#ifndef KRAIT_NODE_FAILURES_H
#define KRAIT_NODE_FAILURES_H

#include "node_private.h"

/* A request is done: kept if it failed. Called before anything of it is freed. */
void node_failures_done(struct node_pool *p, const struct node_request *r);
/* A start failed for this reason. */
void node_failures_start(struct node_pool *p, const char *text, size_t len);
void node_failures_free(struct node_pool *p);

/* What a request calls: module.function, appended; nothing if it names nothing. */
void node_call_name(const struct node_request *r, struct buf *name);

#endif
