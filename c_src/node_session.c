/* node_session.c - sessions: their names, their owners, and the requests about them.
 *
 * The happy path: a request names a session (node_session_key) -> it is admitted, with a fresh record when
 * there is none of that name (node_session_admit) -> the pool keeps it with its worker -> it ends
 * (POOL_SESSION_ENDED), and the record is freed.
 * An owner that dies before its session has begun ends it as soon as it has.
 * What can go wrong: the name has no form in Python (unencodable, path `session`); the pool allows none;
 * the owner's node is not connected (bad_option); the owner dies (node_session_owner_down: it ends). What
 * the session's worker does is the pool's to know.
 *
 * A name is compared as transcode_canonical() writes it, so that equal terms are one session however
 * they were written; it is told to Python and to callers as each of them gave it. An owner belongs to
 * the record, and goes on to the next one when requests that waited carry the session on: the first
 * owner stays until it dies. */
#include "node_private.h"

#include "log.h"

#include <string.h>

struct node_session {
	struct pool_session pool;
	struct node_pool *owner_pool;
	struct watch *watch; /* on its owner; NULL: it has none, or no more */
	bool orphan;         /* its owner died before it had begun */
	uint64_t
		begun_on; /* the worker that it has begun on; 0: not yet, or it was lost with that */
	uint64_t calls;   /* there */
	struct list due;  /* in node_pool.orphans, when it has */
	uint16_t id_len;
	uint8_t data[]; /* the id, a term; then the key */
};

static struct node_session *of(struct pool_session *s)
{
	return list_entry(s, struct node_session, pool);
}

/* ---- names ---- */

int node_session_pack(struct node_pool *p, const uint8_t *id, struct buf *out,
		      struct transcode_error *err)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = p->config->max_request_bytes,
					  .strings_utf8 = true };

	return transcode_term(id, "session", &opts, out, err);
}

int node_session_key(struct node_pool *p, const struct request *req, struct transcode_error *err)
{
	struct node *n = p->node;
	struct buf *key = &n->session_key;
	int rc;

	buf_reset(key, 16 * 1024);
	if (req->session == NULL)
		return 0;
	if (req->verb == VERB_CHECKOUT || req->verb == VERB_END_SESSION) { /* they have no frame */
		buf_reset(&n->scratch, 1024 * 1024);
		if ((rc = node_session_pack(p, req->session, &n->scratch, err)) != 0)
			return rc;
		n->marks = (struct frame_marks){ .key_len = (uint32_t)n->scratch.len };
	}
	if (transcode_canonical(n->scratch.data + n->marks.key_at, n->marks.key_len, key) == 0)
		return 0;
	*err = (struct transcode_error){ .fault = TRANSCODE_NO_MEMORY, .where = "session" };
	return -EINVAL;
}

/* ---- what may be asked for ---- */

static bool refuse(struct buf *reason, const char *option, const char *expected)
{
	term_put_tuple(reason, 3);
	term_put_atom(reason, "bad_option");
	term_put_atom(reason, option);
	term_put_text(reason, expected);
	return false;
}

/* The owner is a process that a connected node may have. */
static bool owner_is_somewhere(const struct node_pool *p, const struct request *req)
{
	const struct books *b = books_find(p->node, req->owner.node, req->owner.node_len);
	struct local_pid pid = node_local_pid(&req->owner);

	return b != NULL && books_may_have(b, &pid);
}

bool node_session_may(struct node_pool *p, const struct request *req,
		      const struct node_lease *lease, struct buf *reason)
{
	if (req->session == NULL)
		return true;
	if (lease != NULL)
		return refuse(reason, "session",
			      "none on a lease: it has the session that it was checked out with");
	if (pool_config(p->pool)->max_sessions == 0)
		return refuse(reason, "session",
			      "none: this pool allows no sessions (max_sessions)");
	if (req->has_owner && !owner_is_somewhere(p, req))
		return refuse(reason, "owner", "a pid of a node that is connected to this one");
	return true;
}

/* ---- records ---- */

static struct node_session *make(struct node_pool *p, const struct node_request *r)
{
	struct span id = node_request_session(r);
	size_t key_len = r->pool.claim->key_len;
	struct node_session *s = mem_alloc(sizeof *s + id.len + key_len);

	if (s == NULL)
		return NULL;
	*s = (struct node_session){ .owner_pool = p, .id_len = (uint16_t)id.len };
	list_init(&s->due);
	memcpy(s->data, id.at, id.len);
	memcpy(s->data + id.len, r->pool.claim->key, key_len);
	s->pool.token = node_id(p->node);
	s->pool.ttl_us = p->config->session_ttl_ms == CONFIG_INFINITY
				 ? POOL_NEVER
				 : p->config->session_ttl_ms * 1000;
	s->pool.key = s->data + id.len;
	s->pool.key_len = key_len;
	return s;
}

void node_session_free(struct node_session *s)
{
	if (s == NULL)
		return;
	watch_free(s->watch, true);
	list_remove(&s->due);
	mem_free(s);
}

struct pool_session *node_session_record(struct node_session *s)
{
	return s != NULL ? &s->pool : NULL;
}

/* The owner that the request gives, if it is the first. */
static bool own(struct node_session *s, const struct request *req)
{
	struct local_pid pid = node_local_pid(&req->owner);
	struct books *b;

	if (!req->has_owner || s->watch != NULL)
		return true;
	b = books_find(s->owner_pool->node, req->owner.node, req->owner.node_len);
	s->watch = b != NULL ? watch_new(b, WATCH_SESSION, s, &pid, NODE_PID_ID) : NULL;
	return s->watch != NULL;
}

bool node_session_admit(struct node_pool *p, struct node_request *r, const struct request *req)
{
	struct pool_session *known;

	if (r->pool.claim == NULL)
		return true;
	known = pool_session_find(p->pool, r->pool.claim->key, r->pool.claim->key_len);
	if ((known == NULL || r->pool.session_mode == SESSION_HINT) &&
	    (node_claim_of(r)->fresh = make(p, r)) == NULL)
		return false;
	return own(known != NULL ? of(known) : node_claim_of(r)->fresh, req);
}

/* What waited for it carries the session on in another record: its owner is now the owner of that. */
static void hand_over(struct node_session *s)
{
	struct pool_session *next =
		pool_session_find(s->owner_pool->pool, s->pool.key, s->pool.key_len);

	if (s->watch == NULL || next == NULL || of(next)->watch != NULL)
		return;
	of(next)->watch = s->watch;
	s->watch->object = of(next);
	s->watch = NULL;
}

static struct span id_of(const struct node_session *s)
{
	return (struct span){ s->data, s->id_len };
}

/* It was lost with its worker. */
static void tell_lost(struct node_session *s)
{
	if (s->begun_on != 0 && node_hears(s->owner_pool))
		node_event_session_lost(s->owner_pool, id_of(s), s->begun_on, s->calls);
	s->begun_on = 0;
}

static void tell_end(struct node_session *s)
{
	static const char *const why[] = { [SESSION_ENDED] = "ended",
					   [SESSION_EVICTED] = "evicted",
					   [SESSION_EXPIRED] = "expired",
					   [SESSION_MOVED] = "moved" };

	if (s->pool.end == SESSION_LOST || s->pool.end == SESSION_UNUSED)
		tell_lost(s);
	else if (s->begun_on != 0 && node_hears(s->owner_pool))
		node_event_session_ended(s->owner_pool, id_of(s), s->begun_on, s->calls,
					 why[s->pool.end]);
}

void node_sessions_tell_lost(struct node_pool *p)
{
	struct pool_session *s = NULL;

	while ((s = pool_session_after(p->pool, s)) != NULL)
		if (s->worker == NULL || s->worker_id != of(s)->begun_on)
			tell_lost(of(s));
}

void node_session_ended(struct pool_session *ps)
{
	static const char *const why[] = { [SESSION_ENDED] = "told to, or by its owner's death",
					   [SESSION_EVICTED] = "evicted: there are max_sessions",
					   [SESSION_EXPIRED] = "idle for session_ttl",
					   [SESSION_LOST] = "lost with its worker",
					   [SESSION_UNUSED] = "never used",
					   [SESSION_MOVED] = "goes on with another worker" };
	struct node_session *s = of(ps);

	tell_end(s);
	if (ps->end != SESSION_UNUSED)
		log_line(LOG_DEBUG, "session", "%llu of worker %llu has ended: %s",
			 (unsigned long long)ps->token, (unsigned long long)ps->worker_id,
			 why[ps->end]);
	hand_over(s);
	node_session_free(s);
}

void node_session_owner_down(struct node_session *s)
{
	s->watch = NULL;
	if (s->pool.worker == NULL && !s->pool.lost)
		s->orphan = true; /* the pool can end what lives in a worker, or did */
	else
		node_pool_event(s->owner_pool, &(struct pool_event){ .type = POOL_SESSION_END,
								     .session = &s->pool });
}

void node_session_begins(struct pool_session *ps)
{
	struct node_session *s = ps != NULL ? of(ps) : NULL;

	if (s != NULL && s->begun_on != ps->worker_id) {
		tell_lost(s);
		s->begun_on = ps->worker_id;
		s->calls = 0;
		if (node_hears(s->owner_pool))
			node_event_session_started(s->owner_pool, id_of(s), s->begun_on);
	}
	if (s != NULL)
		s->calls++;
	if (s == NULL || !s->orphan)
		return;
	s->orphan = false;
	list_append(&s->owner_pool->orphans, &s->due);
}

struct pool_session *node_session_next_orphan(struct node_pool *p)
{
	struct node_session *s;

	if (list_empty(&p->orphans))
		return NULL;
	s = list_entry(p->orphans.next, struct node_session, due);
	list_remove(&s->due);
	return &s->pool;
}

/* ---- towards the worker, and in answers ---- */

void node_session_end_frame(struct node_worker *w, const struct pool_session *s, uint64_t call_id)
{
	uint8_t bytes[64]; /* two numbers of 9 bytes, a few more: it needs no memory */
	struct buf out = { .data = bytes, .cap = sizeof bytes };
	size_t start = frame_begin(&out, FRAME_END_SESSION, call_id, 1);

	frame_put_uint(&out, s->token);
	frame_end(&out, start);
	if (worker_send(w->io, bytes, out.len) != 0)
		log_line(LOG_WARNING, w->object, "cannot tell it to end a session");
}

void node_session_put_id(const struct node_request *r, struct buf *out)
{
	term_put_raw(out, node_request_session(r));
}

const uint8_t *node_session_of_lease(const struct node_lease *lease)
{
	struct pool_session *s = lease->pool.slot != NULL ? lease->pool.slot->session : NULL;

	return s != NULL ? of(s)->data : NULL;
}

/* ---- requests about them ---- */

/* #{id, worker, calls, idle_ms}; the worker is nil when it has none: not yet, or no more. */
static void put_session(struct node_session *s, uint64_t now, struct buf *out)
{
	bool idle = s->pool.users == 0 && s->pool.slots == 0;

	term_put_map(out, 4);
	term_put_atom(out, "id");
	term_put_raw(out, (struct span){ s->data, s->id_len });
	term_put_atom(out, "worker");
	if (s->pool.worker != NULL)
		term_put_uint(out, s->pool.worker_id);
	else
		term_put_atom(out, "nil");
	term_put_atom(out, "calls");
	term_put_uint(out, s->pool.calls);
	term_put_atom(out, "idle_ms");
	term_put_uint(out, idle ? (now - s->pool.idle_since_us) / 1000 : 0);
}

static void put_sessions(struct node_pool *p, struct buf *out)
{
	struct pool_session *s = NULL;
	uint64_t now = node_now_us();

	while ((s = pool_session_after(p->pool, s)) != NULL)
		put_session(of(s), now, out);
}

void node_sessions(struct node *n, struct node_pool *p, const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);
	struct node_pool *each = NULL;
	uint32_t count = 0;
	size_t mark;
	struct buf *out = answer_begin(&to, &mark);

	if (out == NULL)
		return;
	term_put_tuple(out, 2);
	term_put_atom(out, "ok");
	while ((each = node_pool_next(n, each)) != NULL)
		count += p == NULL || p == each ? pool_sessions(each->pool) : 0;
	term_put_list(out, count);
	while ((each = node_pool_next(n, each)) != NULL)
		if (p == NULL || p == each)
			put_sessions(each, out);
	if (count > 0)
		term_put_nil(out);
	answer_end(&to, mark);
}

/* The session that the request names; NULL: there is none in this pool, or, with `reason` set, its id has no
 * form in Python. */
static struct pool_session *find_named(struct node_pool *p, const struct request *req,
				       struct buf *reason, enum answer_kind *kind)
{
	struct node *n = p->node;
	struct transcode_error err;

	if (node_session_key(p, req, &err) == 0)
		return pool_session_find(p->pool, n->session_key.data, n->session_key.len);
	buf_reset(reason, 1024);
	answer_put_fault(reason, &err);
	*kind = answer_fault_kind(err.fault);
	return NULL;
}

/* Said to the node: in the first pool that has it. */
void node_end_session(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct node_pool *each = req->target == TARGET_NODE ? node_pool_next(p->node, NULL) : p;
	enum answer_kind kind = ANSWER_NO_SESSION;
	struct reply_to to = reply_to_origin(o);
	struct pool_session *s = NULL;
	struct buf reason = { 0 };

	while (each != NULL && (s = find_named(each, req, &reason, &kind)) == NULL &&
	       req->target == TARGET_NODE)
		each = node_pool_next(p->node, each);
	if (s != NULL) {
		node_pool_event(each,
				&(struct pool_event){ .type = POOL_SESSION_END, .session = s });
		answer_atom(&to, "ok");
	} else {
		if (reason.len == 0) {
			term_put_tuple(&reason, 2);
			term_put_atom(&reason, "no_session");
			term_put_raw(&reason, term_span(req->session));
		}
		node_request_refuse(p, o, &reason, kind);
	}
	buf_free(&reason);
}
