/* node_session.c - sessions: keys, owners, requests about them. */
#include "node_private.h"

bool node_session_admit(struct node_pool *p, struct node_request *r, const struct request *req)
{
	(void)p;
	(void)r;
	(void)req;
	return true;
}

struct pool_session *node_session_record(struct node_session *s)
{
	(void)s;
	return NULL;
}

void node_session_free(struct node_session *s)
{
	(void)s;
}

void node_session_ended(struct pool_session *s)
{
	(void)s;
}

void node_session_owner_down(struct node_session *s)
{
	(void)s;
}

void node_session_end_frame(struct node_worker *w, const struct pool_session *s, uint64_t call_id)
{
	(void)w;
	(void)s;
	(void)call_id;
}

void node_session_put_id(const struct node_request *r, struct buf *out)
{
	(void)r;
	term_put_nil(out);
}

void node_sessions(struct node_pool *p, const struct origin *o)
{
	(void)p;
	(void)o;
}

void node_end_session(struct node_pool *p, const struct origin *o, const struct request *req)
{
	(void)p;
	(void)o;
	(void)req;
}
