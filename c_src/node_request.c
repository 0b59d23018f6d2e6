/* node_request.c - requests: opened, parsed, admitted to the pool or answered at once.
 *
 * A call is transcoded when it arrives: what is wrong with it is answered before any worker is asked,
 * and what waits is the finished frame. The caller's own monitor (GenServer.call sets one with the
 * reference that is in the tag) tells of its death and of its giving up; a caller without one is
 * monitored by us. Lifetimes: see node_private.h. */
#include "node_private.h"

#include "log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct node_request *node_request_of(struct pool_request *r)
{
	return list_entry(r, struct node_request, pool);
}

void node_request_refuse(struct node_pool *p, const struct origin *o, struct buf *reason,
			 enum answer_kind kind)
{
	struct reply_to to = reply_to_origin(o);

	if (o->form != REPLY_GEN)
		node_rpc_refuse(o, reason);
	else
		answer_error(&to, answer_reason(reason));
	node_pool_refused(p, kind);
	if (node_hears(p))
		node_event_call_refused(p, o, kind);
}

void node_request_refuse_fault(struct node_pool *p, const struct origin *o,
			       const struct transcode_error *err)
{
	struct buf reason = { 0 };

	answer_put_fault(&reason, err);
	node_request_refuse(p, o, &reason, answer_fault_kind(err->fault));
	buf_free(&reason);
}

/* ---- the verbs ---- */

static void no_memory(struct node_pool *p, const struct origin *o)
{
	struct transcode_error err = { .fault = TRANSCODE_NO_MEMORY, .where = "request" };

	node_request_refuse_fault(p, o, &err);
}

static void put_name_reason(struct buf *reason, const char *word, const struct request *req)
{
	term_put_tuple(reason, 3);
	term_put_atom(reason, word);
	term_put_raw(reason, term_span(req->module_term));
	term_put_raw(reason, term_span(req->function_term));
}

/* To the pool, with the records that go along. */
static void submit(struct node_pool *p, struct node_request *r, struct node_lease *lease)
{
	struct pool_event ev = { .type = POOL_SUBMIT,
				 .request = &r->pool,
				 .lease = lease != NULL ? &lease->pool : NULL };

	if (r->pool.claim != NULL) {
		ev.session = node_session_record(node_claim_of(r)->fresh);
		node_claim_of(r)->fresh = NULL;
	}
	if (node_hears(p))
		node_event_call_received(p, r);
	node_pool_event(p, &ev);
	node_deadlock_check(p);
}

/* Whether every function that the request names may be called; else the Reason. */
static bool is_allowed(const struct node_pool *p, const struct request *req, struct buf *reason)
{
	if (config_allows(p->config, (const char *)req->module.at, req->module.len,
			  (const char *)req->function.at, req->function.len))
		return true;
	put_name_reason(reason, "not_allowed", req);
	return false;
}

/* Writes the request's frame into node->scratch; else the Reason, and what kind of one. */
static bool make_frame(struct node_pool *p, uint64_t id, const struct request *req,
		       struct buf *reason, enum answer_kind *kind)
{
	struct transcode_error err;

	switch (req->verb) {
	case VERB_PING_WORKER:
		node_ping_frame(p->node, id);
		return true;
	case VERB_BATCH:
		*kind = ANSWER_NOT_ALLOWED;
		if (node_batch_frame(p, id, req, &err, reason) == 0)
			return true;
		break;
	default:
		*kind = ANSWER_NOT_ALLOWED;
		if (!is_allowed(p, req, reason))
			return false;
		if (node_call_frame(p, id, req, &err) == 0)
			return true;
		break;
	}
	if (reason->len == 0) {
		answer_put_fault(reason, &err);
		*kind = answer_fault_kind(err.fault);
	}
	return false;
}

/* What the session is compared by, if there is one; else the Reason. */
static bool make_key(struct node_pool *p, const struct request *req, struct buf *reason,
		     enum answer_kind *kind)
{
	struct transcode_error err;

	p->node->session_key.len = 0;
	if (req == NULL || node_session_key(p, req, &err) == 0)
		return true;
	answer_put_fault(reason, &err);
	*kind = answer_fault_kind(err.fault);
	return false;
}

void node_request_submit(struct node_pool *p, const struct origin *o, const struct request *req,
			 struct node_lease *lease)
{
	struct request on_lease;
	struct node_request *r;
	struct buf reason = { 0 };
	enum answer_kind kind = ANSWER_BAD_REQUEST;
	uint64_t id = node_id(p->node);

	if (node_session_may(p, req, lease, &reason) && lease != NULL) {
		on_lease = *req; /* the worker is told the session of the lease */
		on_lease.session = node_session_of_lease(lease);
		req = &on_lease;
	}
	if (reason.len > 0 || !make_frame(p, id, req, &reason, &kind) ||
	    !make_key(p, lease == NULL ? req : NULL, &reason, &kind)) {
		node_request_refuse(p, o, &reason, kind);
		buf_free(&reason);
		return;
	}
	if ((r = node_request_make(p, o, req, id, true)) == NULL ||
	    (req->verb == VERB_STREAM &&
	     (r->stream = node_stream_new(p, o->books, req, id)) == NULL) ||
	    !node_session_admit(p, r, req) || !node_request_hear_of_caller(o, r)) {
		if (r != NULL)
			node_request_free(r);
		no_memory(p, o);
		return;
	}
	r->pool.kind = lease != NULL ? POOL_LEASE_CALL : POOL_CALL;
	if (lease != NULL)
		r->pool.lease_id = lease->pool.id;
	submit(p, r, NULL);
}

static void submit_checkout(struct node_pool *p, const struct origin *o, const struct request *req)
{
	enum answer_kind kind = ANSWER_BAD_REQUEST;
	struct buf reason = { 0 };
	uint64_t id = node_id(p->node);
	struct node_lease *lease;
	struct node_request *r;

	if (!node_session_may(p, req, NULL, &reason) || !make_key(p, req, &reason, &kind)) {
		node_request_refuse(p, o, &reason, kind);
		buf_free(&reason);
		return;
	}
	lease = node_lease_new(p, id);
	r = lease != NULL ? node_request_make(p, o, req, node_id(p->node), false) : NULL;
	if (r == NULL || !node_session_admit(p, r, req) || !node_request_hear_of_caller(o, r)) {
		if (r != NULL)
			node_request_free(r);
		if (lease != NULL)
			node_lease_free(lease);
		no_memory(p, o);
		return;
	}
	r->pool.kind = POOL_CHECKOUT;
	r->pool.lease_id = id;
	r->lease = lease;
	submit(p, r, lease);
}

static void give_away(struct node_pool *p, const struct origin *o, const struct request *req,
		      struct node_lease *lease)
{
	struct reply_to to = reply_to_origin(o);
	struct node_request *r;

	assert(lease != NULL); /* it is a sentence for leases only */
	if (lease->giving != NULL) {
		answer_bad(&to, "one give_away at a time");
	} else if ((r = node_request_make(p, o, req, node_id(p->node), false)) == NULL ||
		   !node_request_hear_of_caller(o, r)) {
		if (r != NULL)
			node_request_free(r);
		answer_error_atom(&to, "no_memory");
	} else {
		node_lease_give(lease, r, &req->to);
	}
}

static void serve(struct node_pool *p, const struct origin *o, const struct request *req,
		  enum request_target target, struct node_lease *lease)
{
	bool of_node = target == TARGET_NODE; /* then `p` is what is meant if it must be one */
	struct reply_to to = reply_to_origin(o);

	switch (req->verb) {
	case VERB_STREAM:
		if (o->cast) /* nobody would hear the items */
			break;
		/* fall through */
	case VERB_CALL:
	case VERB_BATCH:
	case VERB_PING_WORKER:
		node_request_submit(p, o, req, lease);
		break;
	case VERB_CHECKOUT:
		if (!o->cast) /* nobody would hold it */
			submit_checkout(p, o, req);
		break;
	case VERB_CHECKIN:
		node_lease_checkin(lease, &to);
		break;
	case VERB_GIVE_AWAY:
		give_away(p, o, req, lease);
		break;
	case VERB_PING:
		answer_atom(&to, "pong");
		break;
	case VERB_AWAIT_READY:
	case VERB_RESIZE:
	case VERB_PAUSE:
	case VERB_RESUME:
	case VERB_DRAIN:
	case VERB_RELOAD:
	case VERB_RECYCLE:
	case VERB_KILL:
		if (of_node)
			node_control_all(p->node, o, req);
		else
			node_control(p, o, req);
		break;
	case VERB_SESSIONS:
		node_sessions(p->node, of_node ? NULL : p, o);
		break;
	case VERB_END_SESSION:
		node_end_session(p, o, req);
		break;
	case VERB_STOP:
		answer_atom(&to, "ok");
		node_stop(p->node, "told by a peer");
		break;
	default:
		node_administer(p, o, req);
		break;
	}
}

/* ---- messages ---- */

static void junk(struct books *b, struct node_pool *p, const struct dist_event *ev)
{
	p->ignored++;
	b->node->junk++;
	if (ev->has_from)
		log_line(LOG_DEBUG, peer_label(b->peer), "pid %u.%u sent no request: dropped",
			 ev->from.id, ev->from.serial);
	else
		log_line(LOG_DEBUG, peer_label(b->peer), "a message that is no request: dropped");
}

/* Whether the lease may be used by who sent this. A cast to a pid does not say who; it has the pid. */
static bool may_use(const struct origin *o, const struct node_lease *lease,
		    const struct dist_event *ev, enum request_verb verb)
{
	struct local_pid from = { ev->from.id, ev->from.serial, ev->from.creation };

	if (verb == VERB_PING)
		return true;
	if (!o->cast)
		return holding_is_owner(&lease->h, o->books, &o->caller);
	return !ev->has_from || holding_is_owner(&lease->h, o->books, &from);
}

void node_request_message(struct books *b, const struct dist_event *ev, enum request_target target,
			  struct node_pool *p, struct node_lease *lease)
{
	struct buf reason = { 0 };
	struct envelope env;
	struct request req;
	struct origin o;

	assert(b != NULL);
	request_open(ev->payload.at, &env);
	o = (struct origin){ .books = b, .env = &env, .cast = env.kind == ENVELOPE_CAST };
	if (env.kind == ENVELOPE_CALL) {
		o.books = books_home(b, &env.from, ev->payload.at);
		o.caller = (struct local_pid){ env.from.id, env.from.serial, env.from.creation };
		books_learn(b, &env);
	}
	if (env.kind == ENVELOPE_OTHER && target == TARGET_POOL &&
	    node_lane_message(b, p, ev->payload.at))
		return;
	/* a tag is a reference or so: one of kilobytes is nobody's, and is not copied */
	if (env.kind == ENVELOPE_OTHER || o.books == NULL || env.tag.len > UINT16_MAX) {
		junk(b, p, ev);
		return;
	}
	if (request_parse(env.request, target, &p->defaults, &req, &reason) != 0) {
		node_request_refuse(p, &o, &reason, ANSWER_BAD_REQUEST);
	} else if (target == TARGET_LEASE && lease == NULL) {
		term_put_atom(&reason, "lease_closed");
		node_request_refuse(p, &o, &reason, ANSWER_LEASE_CLOSED);
	} else if (target == TARGET_LEASE && !may_use(&o, lease, ev, req.verb)) {
		term_put_atom(&reason, "not_owner");
		node_request_refuse(p, &o, &reason, ANSWER_NOT_OWNER);
	} else if (!node_may(b, req.verb, &reason)) {
		node_request_refuse(p, &o, &reason, ANSWER_NOT_ALLOWED);
	} else {
		serve(p, &o, &req, target, lease);
	}
	buf_free(&reason);
}

void node_request_serve(struct node_pool *p, const struct origin *o, const uint8_t *request)
{
	struct buf reason = { 0 };
	struct request req;

	if (request_parse(request, TARGET_POOL, &p->defaults, &req, &reason) != 0)
		node_request_refuse(p, o, &reason, ANSWER_BAD_REQUEST);
	else
		serve(p, o, &req, TARGET_POOL, NULL);
	buf_free(&reason);
}

void node_request_abandon(struct node_request *r)
{
	if (r->verb == VERB_AWAIT_READY || r->verb == VERB_DRAIN || r->verb == VERB_RELOAD ||
	    r->verb == VERB_RELOAD_CONFIG || r->verb == VERB_SET) {
		node_request_free(r);
	} else if (r->verb == VERB_GIVE_AWAY) {
		r->lease->giving = NULL;
		list_remove(&r->lease->heir_waiter.link);
		watch_free(r->lease->heir, true);
		r->lease->heir = NULL;
		r->lease->heir_probe_id = 0;
		node_request_free(r);
	} else if (r->pool.state == REQUEST_QUEUED || r->pool.state == REQUEST_RUNNING) {
		node_pool_event(r->owner_pool,
				&(struct pool_event){ .type = POOL_ABANDON, .request = &r->pool });
	}
}
