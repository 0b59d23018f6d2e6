/* node_events.c - who hears of events and log lines. */
#include "node_private.h"

void node_subscription(struct node *n, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };

	(void)n;
	term_put_tuple(&reason, 2);
	term_put_atom(&reason, "unknown_request");
	term_put_atom(&reason, request_verb_name(req->verb));
	answer_error(&to, answer_reason(&reason));
	buf_free(&reason);
}
