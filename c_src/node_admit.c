/* node_admit.c - a request's record: its frame, its tag and names, its caller; made and freed. */
#include "node_private.h"

#include <errno.h>
#include <string.h>

/* ---- the frame of a call ---- */

static void put_text(struct buf *out, const char *text)
{
	frame_put_str(out, text, strlen(text));
}

/* "session": [token, id]; the token in its 9-byte form. */
static int put_session(struct node_pool *p, const struct request *req, struct transcode_error *err)
{
	struct node *n = p->node;
	struct buf *out = &n->scratch;
	int rc;

	put_text(out, "session");
	frame_put_array(out, 2);
	buf_put_u8(out, 0xcf);
	n->marks.token_at = (uint32_t)out->len;
	buf_put(out, "\0\0\0\0\0\0\0", 8);
	n->marks.key_at = (uint32_t)out->len;
	rc = node_session_pack(p, req->session, out, err);
	n->marks.key_len = (uint32_t)out->len - n->marks.key_at;
	return rc;
}

int node_meta(struct node_pool *p, const struct request *req, struct transcode_error *err)
{
	struct node *n = p->node;
	struct buf *out = &n->scratch;
	bool stream = req->verb == VERB_STREAM, timed = req->timeout_ms != REQUEST_INFINITY;
	unsigned count = 0u + (req->traceparent.len > 0) + (req->session != NULL) + stream +
			 (req->progress != NULL) + timed;
	int rc;

	n->marks = (struct frame_marks){ .has_deadline = timed };
	if (count == 0) {
		frame_put_nil(out);
		return 0;
	}
	frame_put_map(out, count);
	if (req->traceparent.len > 0) {
		put_text(out, "traceparent");
		frame_put_str(out, req->traceparent.at, req->traceparent.len);
	}
	if (req->session != NULL && (rc = put_session(p, req, err)) != 0)
		return rc;
	if (stream) {
		put_text(out, "stream");
		frame_put_uint(out, node_stream_first(req));
	}
	if (req->progress != NULL) {
		put_text(out, "progress");
		frame_put_bool(out, true);
	}
	if (timed) {
		put_text(out, "deadline_ms");
		buf_put(out, "\xce\0\0\0", 5);
	}
	return 0;
}

/* Writes the CALL frame into node->scratch. 0, or -EINVAL with `err` set. */
int node_call_frame(struct node_pool *p, uint64_t id, const struct request *req,
		    struct transcode_error *err)
{
	struct buf *out = &p->node->scratch;
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = p->config->max_request_bytes,
					  .strings_utf8 = req->strings_utf8,
					  .apart = &p->node->parts };
	size_t start;
	int rc;

	buf_reset(out, 1024 * 1024);
	parcel_clear(&p->node->parts);
	start = frame_begin(out, FRAME_CALL, id, 5);
	frame_put_str(out, req->module.at, req->module.len);
	frame_put_str(out, req->function.at, req->function.len);
	if ((rc = transcode_args(req->args, &opts, out, err)) != 0)
		return rc;
	if (req->kwargs == NULL)
		frame_put_map(out, 0);
	else if ((rc = transcode_kwargs(req->kwargs, &opts, out, err)) != 0)
		return rc;
	if ((rc = node_meta(p, req, err)) != 0)
		return rc;
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
	parcel_clear(&n->parts);
	n->marks = (struct frame_marks){ 0 };
	start = frame_begin(&n->scratch, FRAME_PING, id, 0);
	frame_end(&n->scratch, start);
}

void node_request_fill_in(struct node_request *r)
{
	uint64_t now = node_now_us(), left = r->pool.deadline_us;

	if (r->marks.has_deadline) {
		left = left > now ? (left - now + 999) / 1000 : 0;
		put_u32(r->frame + r->frame_len - 4,
			left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
	}
	if (r->marks.token_at != 0) {
		put_u64(r->frame + r->marks.token_at, r->pool.slot->session->token);
		node_session_begins(r->pool.slot->session);
	}
}

/* ---- making and freeing ---- */

static uint64_t deadline(uint64_t now_us, uint64_t ms)
{
	return ms == REQUEST_INFINITY ? POOL_NEVER : now_us + ms * 1000;
}

struct span node_request_session(const struct node_request *r)
{
	return (struct span){ r->data + r->tag_len + r->module_len + r->function_len +
				      r->progress_len,
			      r->session_len };
}

struct span node_request_trace(const struct node_request *r)
{
	return (struct span){ r->data + r->trace_at, r->trace_len };
}

/* Appends to the request's data at *at. */
static void keep(uint8_t **at, struct span bytes)
{
	if (bytes.len > 0)
		memcpy(*at, bytes.at, bytes.len);
	*at += bytes.len;
}

/* What is in node->scratch and node->parts. NULL: no memory. */
static struct parcel *make_parcel(struct node *n)
{
	struct share *held = n->parts.count > 0 ? dist_share(n->source) : NULL;
	struct parcel *parcel = NULL;

	if (n->parts.count == 0 || held != NULL)
		parcel = parcel_new(&n->scratch, &n->parts, held);
	if (parcel == NULL)
		share_drop(held);
	return parcel;
}

/* The request with its tag, its names, its session (if it names one: its key is in node->session_key), and its
 * frame (what is in node->scratch, which is taken over when it is large). NULL: no memory. */
struct node_request *node_request_make(struct node_pool *p, const struct origin *o,
				       const struct request *req, uint64_t id, bool has_frame)
{
	struct node *n = p->node;
	struct span module = { NULL, 0 }, function = { NULL, 0 }, progress = { NULL, 0 },
		    session = { NULL, 0 }, key = { NULL, 0 };
	size_t frame_len = has_frame ? n->scratch.len : 0,
	       inside = frame_len <= SMALL_FRAME && n->parts.count == 0 ? frame_len : 0;
	struct parcel *parcel = NULL;
	uint64_t now = node_now_us();
	struct node_request *r;
	uint8_t *at;

	if (req->verb == VERB_CALL || req->verb == VERB_STREAM) {
		module = term_span(req->module_term);
		function = term_span(req->function_term);
	} else if (req->verb == VERB_BATCH) {
		function = (struct span){ n->names.data, n->names.len };
	}
	if (req->progress != NULL)
		progress = term_span(req->progress);
	if (req->session != NULL) {
		session = term_span(req->session);
		key = (struct span){ n->session_key.data, n->session_key.len };
	}
	if (inside < frame_len && (parcel = make_parcel(n)) == NULL)
		return NULL;
	r = mem_alloc(sizeof *r + o->env->tag.len + module.len + function.len + progress.len +
		      session.len + key.len + req->traceparent.len + inside);
	if (r == NULL) {
		parcel_drop(parcel);
		return NULL;
	}
	*r = (struct node_request){ .owner_pool = p,
				    .verb = req->verb,
				    .books = o->books,
				    .caller = o->caller,
				    .cast = o->cast,
				    .form = o->form,
				    .in_lane = o->lane != NULL,
				    .rpc = o->rpc,
				    .count = o->mfa.arity };
	if (r->rpc != NULL)
		r->rpc->request = r;
	if (has_frame && req->verb != VERB_PING_WORKER)
		histogram_add(&p->request_bytes, parcel != NULL ? parcel->len : frame_len);
	r->pool.id = id;
	r->pool.priority = req->priority;
	r->pool.peer = o->books != NULL ? o->books->id : 0;
	r->pool.retry = req->retry;
	r->pool.deadline_us = deadline(now, req->timeout_ms);
	r->pool.queue_deadline_us = deadline(now, req->queue_timeout_ms);
	r->pool.bytes = parcel != NULL ? parcel->len : frame_len;
	r->pool.arrived_us = now; /* of those that no pool will see */
	r->pool.abandon = (enum pool_abandon)p->config->abandon;
	r->pool.stream = req->verb == VERB_STREAM;
	r->pool.session_mode = req->session_mode;
	r->tag_len = (uint16_t)o->env->tag.len;
	r->module_len = (uint16_t)module.len;
	r->function_len = (uint32_t)function.len;
	if (o->env->alias.len > 0) {
		r->alias_at = (uint16_t)(o->env->alias.at - o->env->tag.at);
		r->alias_len = (uint16_t)o->env->alias.len;
	}
	r->progress_len = (uint16_t)progress.len;
	r->session_len = (uint16_t)session.len;
	at = r->data;
	keep(&at, o->env->tag);
	keep(&at, module);
	keep(&at, function);
	keep(&at, progress);
	keep(&at, session);
	if (key.len > 0)
		r->pool.session_key = at;
	r->pool.session_key_len = key.len;
	keep(&at, key);
	r->trace_at = (uint32_t)(at - r->data);
	r->trace_len = (uint16_t)req->traceparent.len;
	keep(&at, req->traceparent);
	if (has_frame)
		r->marks = n->marks;
	r->frame_len = (uint32_t)frame_len;
	if ((r->parcel = parcel) != NULL) {
		r->frame = parcel->text.data;
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
	node_lane_forget(r);
	node_stream_free(r->stream);
	node_session_free(r->session);
	if (r->rpc != NULL)
		r->rpc->request = NULL;
	if (r->monitor != NULL)
		r->monitor->request = NULL;
	watch_free(r->watch, true);
	list_remove(&r->by_peer);
	list_remove(&r->waiting);
	parcel_drop(r->parcel);
	mem_free(r);
}

/* Makes sure that we hear when the caller is gone: its own monitor with the tag's reference, or ours. */
bool node_request_hear_of_caller(const struct origin *o, struct node_request *r)
{
	const struct envelope *env = o->env;
	struct books *b = o->books;
	struct monitor *m = NULL;

	if (r->cast)
		return true;
	if (o->lane != NULL)
		return node_lane_hear(o->lane, r);
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
