/* node_admit.c - a request's record: its frame, its tag and names, its caller; made and freed. */
#include "node_private.h"

#include <errno.h>
#include <string.h>

/* ---- the frame of a call ---- */

/* Writes the CALL frame into node->scratch. 0, or -EINVAL with `err` set. */
int node_call_frame(struct node *n, uint64_t id, const struct request *req,
		    struct transcode_error *err)
{
	struct buf *out = &n->scratch;
	struct transcode_options opts = { .max_depth = (uint32_t)n->config->max_depth,
					  .max_bytes = n->config->max_request_bytes,
					  .strings_utf8 = req->strings_utf8 };
	size_t start;
	int rc;

	buf_reset(out, 1024 * 1024);
	start = frame_begin(out, FRAME_CALL, id, 5);
	frame_put_str(out, req->module.at, req->module.len);
	frame_put_str(out, req->function.at, req->function.len);
	if ((rc = transcode_args(req->args, &opts, out, err)) != 0)
		return rc;
	if (req->kwargs == NULL)
		frame_put_map(out, 0);
	else if ((rc = transcode_kwargs(req->kwargs, &opts, out, err)) != 0)
		return rc;
	if (req->traceparent.len == 0) {
		frame_put_nil(out);
	} else {
		frame_put_map(out, 1);
		frame_put_str(out, "traceparent", 11);
		frame_put_str(out, req->traceparent.at, req->traceparent.len);
	}
	frame_end(out, start);
	if (out->err == 0)
		return 0;
	*err = (struct transcode_error){ .fault = TRANSCODE_NO_MEMORY, .where = "args" };
	return -EINVAL;
}

void node_ping_frame(struct node *n, uint64_t id)
{
	size_t start;

	buf_reset(&n->scratch, 1024 * 1024);
	start = frame_begin(&n->scratch, FRAME_PING, id, 0);
	frame_end(&n->scratch, start);
}

/* ---- making and freeing ---- */

static uint64_t deadline(uint64_t now_us, uint64_t ms)
{
	return ms == REQUEST_INFINITY ? POOL_NEVER : now_us + ms * 1000;
}

/* The request with its tag, its names, and its frame (what is in node->scratch, which is taken over
 * when it is large). NULL: no memory. */
struct node_request *node_request_make(struct node_pool *p, const struct origin *o,
				       const struct request *req, uint64_t id, bool has_frame)
{
	struct node *n = p->node;
	struct span module = { NULL, 0 }, function = { NULL, 0 };
	size_t frame_len = has_frame ? n->scratch.len : 0,
	       inside = frame_len <= SMALL_FRAME ? frame_len : 0;
	uint64_t now = node_now_us();
	struct node_request *r;
	uint8_t *at;

	if (req->verb == VERB_CALL) {
		module = term_span(req->module_term);
		function = term_span(req->function_term);
	}
	r = mem_alloc(sizeof *r + o->env->tag.len + module.len + function.len + inside);
	if (r == NULL)
		return NULL;
	*r = (struct node_request){ .owner_pool = p,
				    .verb = req->verb,
				    .books = o->books,
				    .caller = o->caller,
				    .cast = o->cast };
	r->pool.id = id;
	r->pool.priority = req->priority;
	r->pool.retry = req->retry;
	r->pool.deadline_us = deadline(now, req->timeout_ms);
	r->pool.queue_deadline_us = deadline(now, req->queue_timeout_ms);
	r->pool.bytes = frame_len;
	r->pool.abandon = (enum pool_abandon)n->config->abandon;
	r->tag_len = (uint16_t)o->env->tag.len;
	r->module_len = (uint16_t)module.len;
	r->function_len = (uint16_t)function.len;
	if (o->env->alias.len > 0) {
		r->alias_at = (uint16_t)(o->env->alias.at - o->env->tag.at);
		r->alias_len = (uint16_t)o->env->alias.len;
	}
	at = r->data;
	if (r->tag_len > 0)
		memcpy(at, o->env->tag.at, r->tag_len);
	at += r->tag_len;
	if (module.len > 0)
		memcpy(at, module.at, module.len);
	at += module.len;
	if (function.len > 0)
		memcpy(at, function.at, function.len);
	at += function.len;
	r->frame_len = (uint32_t)frame_len;
	if (frame_len > 0 && inside == 0) {
		r->frame = n->scratch.data;
		r->frame_on_heap = true;
		n->scratch = (struct buf){ 0 };
	} else if (frame_len > 0) {
		memcpy(at, n->scratch.data, frame_len);
		r->frame = at;
	}
	list_init(&r->by_peer);
	list_init(&r->waiting);
	if (r->books != NULL)
		list_append(&r->books->requests, &r->by_peer);
	return r;
}

void node_request_free(struct node_request *r)
{
	if (r->monitor != NULL)
		r->monitor->request = NULL;
	watch_free(r->watch, true);
	list_remove(&r->by_peer);
	list_remove(&r->waiting);
	if (r->frame_on_heap)
		mem_free(r->frame);
	mem_free(r);
}

/* Makes sure that we hear when the caller is gone: its own monitor with the tag's reference, or ours. */
bool node_request_hear_of_caller(struct books *b, struct node_request *r,
				 const struct envelope *env)
{
	struct monitor *m = NULL;

	if (r->cast)
		return true;
	if (env->ref.len > 0)
		HASH_FIND(hh, b->monitors, env->ref.at, env->ref.len, m);
	if (m != NULL && m->request == NULL && m->granting == NULL &&
	    memcmp(&m->watcher, &r->caller, sizeof r->caller) == 0) {
		m->request = r;
		r->monitor = m;
		return true;
	}
	r->watch = watch_new(b, WATCH_CALLER, r, &r->caller, NODE_PID_ID);
	return r->watch != NULL;
}
