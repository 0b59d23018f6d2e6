/* node_rpc.c - rpc and erpc: spawn requests, and the name rex. */
#include "node_private.h"

/* Spawn requests are refused, as a node does that has no such function. */
void node_rpc_spawn(struct books *b, const struct dist_event *ev)
{
	struct buf result = { 0 };

	term_put_atom(&result, "notsup");
	dist_send_spawn_reply(peer_dist(b->peer), ev->ref, &ev->from,
			      answer_reason(&result));
	buf_free(&result);
	books_mark_dirty(b);
}

void node_rpc_rex(struct books *b, const struct dist_event *ev)
{
	(void)ev;
	b->node->junk++;
}

void node_rpc_outcome(struct node_pool *p, struct node_request *r)
{
	(void)p;
	(void)r;
}
