/* node_stream.c - streams: items, credit, cancel, end. */
#include "node_private.h"

struct node_stream *node_stream_new(struct node_pool *p, const struct request *req, uint64_t id)
{
	(void)p;
	(void)req;
	(void)id;
	return NULL;
}

void node_stream_free(struct node_stream *s)
{
	(void)s;
}

void node_stream_opened(struct node_request *r)
{
	(void)r;
}

void node_stream_item(struct node_worker *w, const struct frame *frame)
{
	(void)w;
	(void)frame;
}

bool node_stream_done(struct node_pool *p, struct node_request *r)
{
	(void)p;
	(void)r;
	return false;
}

void node_stream_message(struct books *b, const struct dist_event *ev, struct node_holding *h)
{
	(void)b;
	(void)ev;
	(void)h;
}

void node_stream_down(struct node_holding *h)
{
	(void)h;
}

void node_stream_drained(struct books *b)
{
	(void)b;
}
