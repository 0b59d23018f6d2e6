/* node_event_call.c - events of what callers ask for: requests, leases, streams, sessions.
 *
 * Each function writes one message (event.h has its keys, docs/events.md their meaning). They are called
 * only where somebody hears of the pool's events. */
#include "node_private.h"

#include "event.h"

#include <string.h>

#define ERROR_TYPE_MAX 255 /* bytes of an exception's name */

static struct event_writer begin(struct node_pool *p, enum event e)
{
	struct event_writer w;

	event_begin(&w, node_message_begin(p->node, p, REQUEST_TOPIC_EVENTS), e,
		    p->node->options->name, node_system_time_us());
	return w;
}

static void end(struct event_writer *w, struct node_pool *p)
{
	event_end(w);
	node_message_end(p->node);
}

static void put_pid(struct event_writer *w, const char *key, const struct books *b,
		    const struct local_pid *pid)
{
	struct buf *out = event_key(w, key);
	struct term_pid whole;

	if (b == NULL) {
		term_put_atom(out, "nil");
		return;
	}
	whole = books_pid(b, pid);
	term_put_pid(out, &whole);
}

/* ---- requests ---- */

static void put_request(struct event_writer *w, const struct node_request *r)
{
	struct span trace = node_request_trace(r);
	struct called c;

	node_request_called(r, &c);
	event_uint(w, "request", r->pool.id);
	event_atom(w, "verb", request_verb_name(r->verb));
	event_term(w, "module", c.module);
	event_term(w, "function", c.function);
	put_pid(w, "caller", r->cast ? NULL : r->books, &r->caller);
	event_term(w, "session", node_request_session(r));
	event_text(w, "traceparent", trace.at, trace.len);
}

void node_event_call_received(struct node_pool *p, const struct node_request *r)
{
	static const char *const priorities[PRIORITIES] = { "high", "normal", "low" };
	struct event_writer w = begin(p, EVENT_CALL_RECEIVED);

	event_uint(&w, "request_bytes", r->pool.bytes);
	event_uint(&w, "queued", pool_queued(p->pool));
	event_atom(&w, "pool", p->config->name);
	event_atom(&w, "priority", priorities[r->pool.priority]);
	put_request(&w, r);
	end(&w, p);
}

void node_event_call_refused(struct node_pool *p, const struct origin *o, enum answer_kind kind)
{
	struct event_writer w = begin(p, EVENT_CALL_REFUSED);

	event_uint(&w, "count", 1);
	event_atom(&w, "pool", p->config->name);
	event_atom(&w, "outcome", answer_kind_name(kind));
	put_pid(&w, "caller", o->cast ? NULL : o->books, &o->caller);
	end(&w, p);
}

void node_event_call_start(struct node_pool *p, const struct node_request *r,
			   const struct node_worker *worker)
{
	struct event_writer w = begin(p, EVENT_CALL_START);

	event_uint(&w, "wait_us", r->pool.started_us - r->pool.arrived_us);
	event_uint(&w, "queued", pool_queued(p->pool));
	event_atom(&w, "pool", p->config->name);
	event_uint(&w, "worker", worker->id);
	event_id(&w, "os_pid", (uint64_t)worker->os_pid);
	put_request(&w, r);
	end(&w, p);
}

/* The type of the exception that the answer is. */
static void put_error(struct event_writer *w, const struct node_pool *p,
		      const struct node_request *r)
{
	struct buf *out = event_key(w, "error");
	const uint8_t *at, *last;
	const char *kind, *type;
	size_t kind_len, len;

	if (r->answer != ANSWER_PYTHON || p->frame == NULL || p->frame->type != FRAME_ERROR) {
		term_put_atom(out, "nil");
		return;
	}
	at = p->frame->rest;
	last = at + p->frame->rest_len;
	if (frame_get_str(&at, last, &kind, &kind_len) && frame_get_str(&at, last, &type, &len) &&
	    len <= ERROR_TYPE_MAX)
		term_put_binary(out, type, len);
	else
		term_put_atom(out, "nil");
}

static const char *outcome_of(const struct node_request *r)
{
	return r->pool.outcome == OUTCOME_ABANDONED ? "abandoned" : answer_kind_name(r->answer);
}

void node_event_call_stop(struct node_pool *p, const struct node_request *r)
{
	struct event_writer w = begin(p, EVENT_CALL_STOP);
	uint64_t arrived = r->pool.arrived_us, started = r->pool.started_us, done = r->pool.done_us;
	bool ran = started != 0 && r->verb != VERB_CHECKOUT, answered = p->frame != NULL;

	event_uint(&w, "wait_us", (ran ? started : done) - arrived);
	event_uint(&w, "run_us", ran ? done - started : 0);
	event_uint(&w, "request_bytes", r->pool.bytes);
	event_uint(&w, "result_bytes",
		   ran && answered && r->pool.outcome == OUTCOME_OK ? p->frame->rest_len : 0);
	event_atom(&w, "pool", p->config->name);
	event_id(&w, "worker", r->pool.worker_id);
	event_atom(&w, "outcome", outcome_of(r));
	put_error(&w, p, r);
	put_request(&w, r);
	end(&w, p);
}

/* ---- leases ---- */

void node_event_lease_granted(struct node_pool *p, const struct node_request *r)
{
	struct event_writer w = begin(p, EVENT_LEASE_GRANTED);
	struct term_pid lease = holding_pid(&r->lease->h);

	event_uint(&w, "wait_us", r->pool.done_us - r->pool.arrived_us);
	event_atom(&w, "pool", p->config->name);
	event_id(&w, "worker", r->pool.worker_id);
	term_put_pid(event_key(&w, "lease"), &lease);
	put_pid(&w, "owner", r->books, &r->caller);
	event_term(&w, "session", node_request_session(r));
	end(&w, p);
}

void node_event_lease_ended(const struct node_lease *l)
{
	static const char *const why[] = { [LEASE_CHECKED_IN] = "checked_in",
					   [LEASE_OWNER_GONE] = "owner_gone",
					   [LEASE_WORKER_GONE] = "worker_gone",
					   [LEASE_TIMEOUT] = "timeout" };
	struct node_pool *p = l->owner_pool;
	struct event_writer w = begin(p, EVENT_LEASE_ENDED);
	struct term_pid lease = holding_pid(&l->h);

	event_uint(&w, "held_us", node_now_us() - l->granted_us);
	event_atom(&w, "pool", p->config->name);
	event_id(&w, "worker", l->pool.worker_id);
	term_put_pid(event_key(&w, "lease"), &lease);
	put_pid(&w, "owner", l->h.books, &l->h.owner);
	event_atom(&w, "reason", why[l->pool.end]);
	end(&w, p);
}

/* ---- streams ---- */

static void put_stream(struct event_writer *w, const struct node_pool *p,
		       const struct node_request *r, const struct term_pid *pid)
{
	event_atom(w, "pool", p->config->name);
	event_id(w, "worker", r->pool.worker_id);
	term_put_pid(event_key(w, "stream"), pid);
}

void node_event_stream_opened(struct node_pool *p, const struct node_request *r,
			      const struct term_pid *pid)
{
	struct event_writer w = begin(p, EVENT_STREAM_OPENED);

	event_uint(&w, "wait_us", r->pool.started_us - r->pool.arrived_us);
	put_stream(&w, p, r, pid);
	put_request(&w, r);
	end(&w, p);
}

void node_event_stream_ended(struct node_pool *p, const struct node_request *r,
			     const struct term_pid *pid, const struct stream_sums *sums)
{
	struct event_writer w = begin(p, EVENT_STREAM_ENDED);

	event_uint(&w, "items", sums->items);
	event_uint(&w, "bytes", sums->bytes);
	event_uint(&w, "open_us", node_now_us() - sums->opened_us);
	put_stream(&w, p, r, pid);
	event_atom(&w, "outcome", outcome_of(r));
	put_request(&w, r);
	end(&w, p);
}

/* ---- sessions ---- */

void node_event_session_started(struct node_pool *p, struct span id, uint64_t worker)
{
	struct event_writer w = begin(p, EVENT_SESSION_STARTED);

	event_uint(&w, "sessions", pool_sessions(p->pool));
	event_atom(&w, "pool", p->config->name);
	event_id(&w, "worker", worker);
	event_term(&w, "session", id);
	end(&w, p);
}

void node_event_session_ended(struct node_pool *p, struct span id, uint64_t worker, uint64_t calls,
			      const char *reason)
{
	struct event_writer w = begin(p, EVENT_SESSION_ENDED);

	event_uint(&w, "calls", calls);
	event_atom(&w, "pool", p->config->name);
	event_id(&w, "worker", worker);
	event_term(&w, "session", id);
	event_atom(&w, "reason", reason);
	end(&w, p);
}

void node_event_session_lost(struct node_pool *p, struct span id, uint64_t worker, uint64_t calls)
{
	struct event_writer w = begin(p, EVENT_SESSION_LOST);

	event_uint(&w, "calls", calls);
	event_atom(&w, "pool", p->config->name);
	event_id(&w, "worker", worker);
	event_term(&w, "session", id);
	end(&w, p);
}
