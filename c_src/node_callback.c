/* node_callback.c - what workers say to processes of peers: calls, messages, monitors. */
#include "node_private.h"

void node_callback_frame(struct node_worker *w, const struct frame *frame)
{
	(void)w;
	(void)frame;
}

void node_progress_frame(struct node_worker *w, const struct frame *frame)
{
	(void)w;
	(void)frame;
}

bool node_callback_message(struct books *b, const struct dist_event *ev)
{
	(void)b;
	(void)ev;
	return false;
}

void node_callback_watch_down(void *object, struct span reason)
{
	(void)object;
	(void)reason;
}

void node_callback_down(struct books *b, uint64_t ref_id, const struct dist_event *ev)
{
	(void)b;
	(void)ref_id;
	(void)ev;
}

void node_callbacks_end_call(struct node_worker *w, uint64_t call_id)
{
	(void)w;
	(void)call_id;
}

void node_callbacks_end_worker(struct node_worker *w)
{
	(void)w;
}

void node_callbacks_forget_peer(struct books *b)
{
	(void)b;
}

void node_deadlock_check(struct node_pool *p)
{
	(void)p;
}
