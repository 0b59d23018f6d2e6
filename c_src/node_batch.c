/* node_batch.c - several calls in one request. */
#include "node_private.h"

#include <errno.h>

int node_batch_frame(struct node *n, uint64_t id, const struct request *req,
		     struct transcode_error *err, struct buf *reason)
{
	(void)n;
	(void)id;
	(void)req;
	(void)err;
	request_put_bad(reason, "a batch");
	return -EINVAL;
}

enum answer_kind node_batch_put(struct node_pool *p, const struct node_request *r,
				const struct frame *frame, struct buf *out)
{
	(void)p;
	(void)r;
	(void)frame;
	term_put_nil(out);
	return ANSWER_OK;
}
