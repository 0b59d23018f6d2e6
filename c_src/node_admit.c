/* node_admit.c - a request's record: its frame, its tag, its caller; made and freed. How it lies in its memory
 * is in node_kept.c. */
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

/* ---- making and freeing ---- */

static uint64_t deadline(uint64_t now_us, uint64_t ms)
{
	return ms == REQUEST_INFINITY ? POOL_NEVER : now_us + ms * 1000;
}

static struct kept what_to_keep(const struct node *n, const struct origin *o,
				const struct request *req)
{
	struct kept k = { .tag = o->env->tag, .trace = req->traceparent };

	if (req->verb == VERB_BATCH)
		k.names = (struct span){ n->names.data, n->names.len };
	if (req->progress != NULL)
		k.progress = term_span(req->progress);
	if (req->session != NULL) {
		k.session = term_span(req->session);
		k.key = (struct span){ n->session_key.data, n->session_key.len };
	}
	return k;
}

/* The monitor that the caller has set for this request: it tells of its death and of its giving up. */
static struct monitor *monitor_of(const struct origin *o)
{
	struct local_pid watcher;
	struct monitor *m;

	if (o->cast || o->lane != NULL || o->books == NULL || o->env->ref.len == 0)
		return NULL;
	m = monitor_find(o->books, o->env->ref);
	if (m == NULL || m->means != MEANS_NOTHING)
		return NULL;
	watcher = monitor_watcher(o->books, m);
	return memcmp(&watcher, &o->caller, sizeof watcher) == 0 ? m : NULL;
}

/* Of the tag [alias | Ref] only the reference, and not even that, if the caller's monitor has it. */
static enum tag_form shorten_tag(const struct origin *o, const struct monitor *m, struct kept *k)
{
	static const uint8_t head[] = "l\0\0\0\1w\5alias"; /* LIST_EXT, SMALL_ATOM_UTF8_EXT */
	struct span alias = o->env->alias;
	struct ref ref;

	if (o->books == NULL || o->lane != NULL || o->form == REPLY_RPC || alias.len == 0 ||
	    k->tag.len != sizeof head - 1 + alias.len ||
	    memcmp(k->tag.at, head, sizeof head - 1) != 0)
		return TAG_WHOLE;
	ref = ref_of(o->books, alias);
	if (!ref.is_short)
		return TAG_WHOLE;
	k->tag = m != NULL && !m->on_holding ? (struct span){ 0 } : ref.bytes;
	return m != NULL && !m->on_holding ? TAG_MONITOR : TAG_ALIAS;
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

/* Whether the worker's short way is enough for it, and it fits into a packet: it may be sent ahead. */
static bool is_plain(const struct request *req, size_t frame_len)
{
	return req->verb == VERB_CALL && req->session == NULL && req->progress == NULL &&
	       req->traceparent.len == 0 && frame_len <= AHEAD_PACKET_MAX - AHEAD_ID_BYTES;
}

static void set_pool_part(struct node_request *r, const struct origin *o, const struct request *req,
			  uint64_t id, size_t frame_len)
{
	uint64_t now = node_now_us();

	r->pool.id = id;
	r->pool.priority = req->priority;
	r->pool.peer = o->books != NULL ? (uint32_t)o->books->id : 0;
	r->pool.retry = (uint8_t)req->retry;
	r->pool.deadline_us = deadline(now, req->timeout_ms);
	r->pool.queue_deadline_us = deadline(now, req->queue_timeout_ms);
	r->pool.bytes = (uint32_t)frame_len;
	r->pool.arrived_us = now; /* of those that no pool will see */
	r->pool.abandon = (enum pool_abandon)r->owner_pool->config->abandon;
	r->pool.stream = req->verb == VERB_STREAM;
	r->pool.plain = is_plain(req, frame_len);
	r->pool.session_mode = req->session_mode;
}

/* The request with its tag, its names, its session (if it names one: its key is in node->session_key), and its
 * frame (what is in node->scratch, which is taken over when it is large). NULL: no memory. */
struct node_request *node_request_make(struct node_pool *p, const struct origin *o,
				       const struct request *req, uint64_t id, bool has_frame)
{
	struct node *n = p->node;
	struct kept k = what_to_keep(n, o, req);
	struct monitor *m = monitor_of(o);
	enum tag_form tag_form = shorten_tag(o, m, &k);
	size_t frame_len = has_frame ? n->scratch.len : 0;
	bool apart = frame_len > SMALL_FRAME || (has_frame && n->parts.count > 0);
	struct parcel *parcel = NULL;
	struct node_request *r, made = {
		.owner_pool = p,
		.verb = req->verb,
		.books = o->books,
		.caller = o->caller,
		.cast = o->cast,
		.form = o->form,
		.in_lane = o->lane != NULL,
		.count = o->mfa.arity < UINT32_MAX ? (uint32_t)o->mfa.arity : UINT32_MAX,
		.strings_utf8 = req->strings_utf8,
		.tag_form = tag_form,
		.tag_len = (uint16_t)k.tag.len,
		.module_form = node_name_form(req->module_term),
		.function_form = node_name_form(req->function_term),
		.has_more = k.progress.len + k.session.len + k.trace.len > 0,
		.has_deadline = has_frame && n->marks.has_deadline,
		.has_token = has_frame && n->marks.token_at != 0,
		.in_parcel = apart,
	};

	if (req->verb == VERB_BATCH)
		made.names_len = (uint32_t)k.names.len;
	if (apart && (parcel = make_parcel(n)) == NULL)
		return NULL;
	set_pool_part(&made, o, req, id, apart ? parcel->len : frame_len);
	if (made.has_token)
		k.token_at = (struct span){ (const uint8_t *)&n->marks.token_at,
					    sizeof n->marks.token_at };
	k.frame = (struct span){ n->scratch.data, frame_len };
	if (apart)
		k.frame = (struct span){ (const uint8_t *)&parcel, sizeof(struct parcel *) };
	if ((r = node_kept_new(&made, &k)) == NULL) {
		parcel_drop(parcel);
		return NULL;
	}
	if (o->rpc != NULL) {
		r->rpc = o->rpc;
		r->rpc->request = r;
	}
	if (has_frame && req->verb != VERB_PING_WORKER)
		histogram_add(&p->request_bytes, r->pool.bytes);
	list_init(&r->by_peer);
	list_init(&r->pool.link);
	if (r->books != NULL)
		list_append(&r->books->requests, &r->by_peer);
	if (m != NULL) {
		m->means = MEANS_REQUEST;
		m->request = r;
		r->heard_by = HEARD_MONITOR;
		r->monitor = m;
	}
	return r;
}

void node_request_free(struct node_request *r)
{
	if (r->heard_by == HEARD_MONITOR)
		r->monitor->means = MEANS_NOTHING;
	else if (r->heard_by == HEARD_WATCH)
		watch_free(r->watch, true);
	else if (r->heard_by == HEARD_LANE)
		node_lane_forget(r);
	if (r->pool.claim != NULL)
		node_session_free(node_claim_of(r)->fresh);
	list_remove(&r->pool.link);
	if (r->verb == VERB_STREAM)
		node_stream_free(r->stream);
	else if (r->form == REPLY_RPC && r->rpc != NULL)
		r->rpc->request = NULL;
	list_remove(&r->by_peer);
	if (r->in_parcel)
		parcel_drop(node_request_parcel(r));
	node_kept_free(r);
}

/* Makes sure that we hear when the caller is gone: unless its own monitor says so, by ours. */
bool node_request_hear_of_caller(const struct origin *o, struct node_request *r)
{
	if (r->cast || r->heard_by == HEARD_MONITOR)
		return true;
	if (o->lane != NULL) {
		node_lane_hear(o->lane, r);
		return true;
	}
	r->watch = watch_new(o->books, WATCH_CALLER, r, &r->caller, NODE_PID_ID);
	if (r->watch != NULL)
		r->heard_by = HEARD_WATCH;
	return r->watch != NULL;
}
