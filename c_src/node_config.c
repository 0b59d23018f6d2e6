/* node_config.c - the configuration: shown, set, read again. */
#include "node_private.h"

void node_config(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };

	(void)p;
	term_put_tuple(&reason, 2);
	term_put_atom(&reason, "unknown_request");
	term_put_atom(&reason, request_verb_name(req->verb));
	answer_error(&to, answer_reason(&reason));
	buf_free(&reason);
}
