/* node_requests.c - requests, peers and pools, written; requests cancelled. */
#include "node_private.h"

static void unknown(const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };

	term_put_tuple(&reason, 2);
	term_put_atom(&reason, "unknown_request");
	term_put_atom(&reason, request_verb_name(req->verb));
	answer_error(&to, answer_reason(&reason));
	buf_free(&reason);
}

void node_administer(struct node_pool *p, const struct origin *o, const struct request *req)
{
	switch (req->verb) {
	case VERB_CONFIG:
	case VERB_SET:
	case VERB_RELOAD_CONFIG:
		node_config(p, o, req);
		break;
	case VERB_SUBSCRIBE:
	case VERB_UNSUBSCRIBE:
		node_subscription(p, o, req);
		break;
	default:
		unknown(o, req);
		break;
	}
}
