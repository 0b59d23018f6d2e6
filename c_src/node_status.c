/* node_status.c - `status` and `workers`, written as terms; the keys are those of docs/protocol.md. */
#include "node_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put_histogram(struct buf *out, const char *key, const struct histogram *h)
{
	term_put_atom(out, key);
	term_put_map(out, 4);
	term_put_pair_uint(out, "p50", histogram_quantile(h, 500));
	term_put_pair_uint(out, "p95", histogram_quantile(h, 950));
	term_put_pair_uint(out, "p99", histogram_quantile(h, 990));
	term_put_pair_uint(out, "max", h->max);
}

static const char *const answer_names[ANSWER_KINDS] = {
	[ANSWER_OK] = "ok",
	[ANSWER_PYTHON] = "python",
	[ANSWER_NO_FUNCTION] = "no_function",
	[ANSWER_NOT_ALLOWED] = "not_allowed",
	[ANSWER_UNENCODABLE] = "unencodable",
	[ANSWER_TOO_LARGE] = "too_large",
	[ANSWER_TOO_DEEP] = "too_deep",
	[ANSWER_BAD_REQUEST] = "bad_request",
	[ANSWER_NOT_OWNER] = "not_owner",
	[ANSWER_TIMEOUT_QUEUE] = "timeout_queue",
	[ANSWER_TIMEOUT_CALL] = "timeout_call",
	[ANSWER_OVERLOADED] = "overloaded",
	[ANSWER_WORKER_EXIT] = "worker_exit",
	[ANSWER_CIRCUIT_OPEN] = "circuit_open",
	[ANSWER_LEASE_CLOSED] = "lease_closed",
	[ANSWER_DRAINING] = "draining",
	[ANSWER_SESSION_LOST] = "session_lost",
	[ANSWER_SESSION_BUSY] = "session_busy",
	[ANSWER_NO_SESSION] = "no_session",
	[ANSWER_DEADLOCK] = "deadlock",
	[ANSWER_CANCELLED] = "cancelled",
};

const char *answer_kind_name(enum answer_kind kind)
{
	return answer_names[kind];
}

static void put_totals(struct node_pool *p, struct buf *out)
{
	const struct pool_totals *t = pool_totals(p->pool);
	uint64_t answered = 0;

	for (unsigned i = 0; i < ANSWER_KINDS; i++)
		answered += p->answers[i];
	term_put_atom(out, "totals");
	term_put_map(out, 5 + ANSWER_KINDS + 11 + 4);
	term_put_pair_uint(out, "received", t->received);
	term_put_pair_uint(out, "answered", answered);
	term_put_pair_uint(out, "abandoned", t->outcome[OUTCOME_ABANDONED]);
	term_put_pair_uint(out, "queued", pool_queued(p->pool));
	term_put_pair_uint(out, "running", pool_running(p->pool));
	for (unsigned i = 0; i < ANSWER_KINDS; i++)
		term_put_pair_uint(out, answer_names[i], p->answers[i]);
	term_put_pair_uint(out, "retries", t->retries);
	term_put_pair_uint(out, "starts", t->starts);
	term_put_pair_uint(out, "start_failures", t->start_failures);
	term_put_pair_uint(out, "exits", t->exits);
	term_put_pair_uint(out, "kills", t->kills);
	term_put_pair_uint(out, "interrupts", t->interrupts);
	term_put_pair_uint(out, "sessions_started", t->sessions_started);
	term_put_pair_uint(out, "sessions_lost", t->sessions_lost);
	term_put_pair_uint(out, "sessions_evicted", t->sessions_evicted);
	term_put_pair_uint(out, "probes", t->probes);
	term_put_pair_uint(out, "grown", t->grown);
	term_put_pair_uint(out, "shrunk", t->shrunk);
	term_put_atom(out, "left");
	term_put_map(out, WHYS - 1);
	for (unsigned i = WHY_NONE + 1; i < WHYS; i++)
		term_put_pair_uint(out, pool_why_name((enum pool_why)i), t->left[i]);
	term_put_pair_uint(out, "ignored", p->ignored);
	term_put_pair_uint(out, "late", t->late + p->late_items);
}

const char *node_pool_state(const struct node_pool *p)
{
	if (p->node->stage >= NODE_STOPPING)
		return "stopping";
	if (pool_draining(p->pool))
		return "draining";
	if (pool_paused(p->pool))
		return "paused";
	return pool_ready(p->pool) > 0 ? "running" : "starting";
}

static void put_pool(struct node_pool *p, struct buf *out)
{
	struct pool *pool = p->pool;

	term_put_map(out, 20);
	term_put_pair_uint(out, "size", pool_size(pool));
	term_put_pair_uint(out, "size_min", pool_config(pool)->size);
	term_put_pair_uint(out, "size_max", pool_size_max(pool));
	term_put_pair_uint(out, "slots", pool_config(pool)->slots);
	term_put_pair_uint(out, "ready", pool_ready(pool));
	term_put_pair_uint(out, "idle", pool_count(pool, WORKER_IDLE));
	term_put_pair_uint(out, "busy",
			   pool_count(pool, WORKER_BUSY) + pool_count(pool, WORKER_PROBING));
	term_put_pair_uint(out, "leased", pool_count(pool, WORKER_LEASED));
	term_put_pair_uint(out, "starting", pool_count(pool, WORKER_STARTING));
	term_put_pair_uint(out, "stopping", pool_count(pool, WORKER_STOPPING));
	term_put_pair_uint(out, "recycling", pool_recycling(pool));
	term_put_pair_uint(out, "queued", pool_queued(pool));
	term_put_pair_uint(out, "queue_limit", pool_config(pool)->queue_limit);
	term_put_pair_uint(out, "leases", pool_leases(pool));
	term_put_pair_uint(out, "sessions", pool_sessions(pool));
	term_put_pair_atom(out, "state", node_pool_state(p));
	term_put_pair_atom(out, "breaker", breaker_state_name(breaker_state(pool_breaker(pool))));
	term_put_atom(out, "last_error");
	if (p->detail_len > 0)
		term_put_binary(out, p->detail, p->detail_len);
	else
		term_put_atom(out, "nil");
	put_totals(p, out);
	term_put_atom(out, "latency_us");
	term_put_map(out, 3);
	put_histogram(out, "wait", pool_wait_us(pool));
	put_histogram(out, "call", pool_call_us(pool));
	put_histogram(out, "start", pool_start_us(pool));
}

unsigned node_peer_count(const struct node *n)
{
	const struct list *pos;
	unsigned count = 0;

	for (pos = n->books.next; pos != &n->books; pos = pos->next)
		count += list_entry(pos, struct books, link)->up ? 1 : 0;
	return count;
}

/* Monitors of peers on us, and ours on them. */
uint64_t node_monitor_count(const struct node *n)
{
	const struct list *pos;
	uint64_t count = n->watches.count;

	for (pos = n->books.next; pos != &n->books; pos = pos->next)
		count += list_entry(pos, struct books, link)->monitors.count;
	return count;
}

void node_put_status(struct node *n, struct buf *out)
{
	struct node_pool *p = NULL;

	term_put_map(out, 11);
	term_put_pair_atom(out, "node", n->options->name);
	term_put_atom(out, "version");
	term_put_text(out, KRAIT_VERSION);
	term_put_pair_uint(out, "os_pid", (uint64_t)getpid());
	term_put_pair_uint(out, "uptime_ms", (node_now_us() - n->started_us) / 1000);
	term_put_pair_uint(out, "peers", node_peer_count(n));
	term_put_pair_uint(out, "monitors", node_monitor_count(n));
	term_put_pair_uint(out, "refused_peers", n->peers_refused);
	term_put_pair_uint(out, "ignored_messages", n->junk);
	term_put_pair_uint(out, "unknown_signals", n->unknown_signals);
	term_put_pair_uint(out, "dropped_log_lines", log_dropped());
	term_put_atom(out, "pools");
	term_put_map(out, n->pool_count);
	while ((p = node_pool_next(n, p)) != NULL) {
		term_put_atom(out, p->config->name);
		put_pool(p, out);
	}
}

/* A call and who asked for it; nil where there is none, or nobody waits for it any more. */
static void put_call(const struct pool_call *call, struct buf *out)
{
	const struct node_request *r =
		call != NULL && call->request != NULL ? node_request_of(call->request) : NULL;
	struct term_pid caller;
	struct called c;

	term_put_atom(out, "call");
	if (r != NULL && node_request_called(r, &c)) {
		term_put_tuple(out, 2);
		term_put_raw(out, c.module);
		term_put_raw(out, c.function);
	} else {
		term_put_atom(out, "nil");
	}
	term_put_atom(out, "caller");
	if (r != NULL && r->books != NULL && !r->cast) {
		caller = books_pid(r->books, &r->caller);
		term_put_pid(out, &caller);
	} else {
		term_put_atom(out, "nil");
	}
}

/* The calls of all slots, each slot's from the outermost to the innermost. */
static void put_calls(const struct pool_worker *pw, struct buf *out)
{
	uint64_t now = node_now_us();
	uint32_t count = 0;

	for (unsigned i = 0; i < pw->slots; i++)
		count += pw->slot[i].depth;
	term_put_list(out, count);
	for (unsigned i = 0; i < pw->slots; i++) {
		for (unsigned k = 0; k < pw->slot[i].depth; k++) {
			const struct pool_call *call = &pw->slot[i].call[k];

			term_put_map(out, 3);
			put_call(call, out);
			term_put_pair_uint(out, "since_ms",
					   (now - (call->request != NULL ? call->request->started_us
									 : pw->slot[i].since_us)) /
						   1000);
		}
	}
	if (count > 0)
		term_put_nil(out);
}

/* The call that has been running in the first slot that runs one; NULL: none. */
static const struct pool_call *first_call(const struct pool_worker *pw)
{
	for (unsigned i = 0; i < pw->slots; i++)
		if (pw->slot[i].depth > 0)
			return &pw->slot[i].call[0];
	return NULL;
}

static void put_gil(const struct node_worker *w, struct buf *out)
{
	static const char *const words[] = {
		[GIL_UNKNOWN] = "nil", [GIL_ON] = "true", [GIL_OFF] = "false"
	};

	term_put_pair_atom(out, "gil", words[w != NULL ? w->gil : GIL_UNKNOWN]);
}

static void put_worker(struct node_pool *p, const struct pool_worker *pw, struct buf *out)
{
	const struct node_worker *w = node_worker_find(p, pw->id);
	int os_pid = w != NULL ? w->os_pid : 0;

	term_put_map(out, 16);
	term_put_pair_uint(out, "id", pw->id);
	term_put_pair_atom(out, "pool", p->config->name);
	term_put_pair_uint(out, "index", node_index_of(p, pw));
	term_put_pair_uint(out, "os_pid", (uint64_t)os_pid);
	term_put_pair_atom(out, "state", worker_state_name(pw->state));
	term_put_pair_atom(out, "retiring", pw->retiring ? "true" : "false");
	term_put_pair_atom(out, "why", pw->why != WHY_NONE ? pool_why_name(pw->why) : "nil");
	term_put_pair_uint(out, "since_ms", (node_now_us() - pw->since_us) / 1000);
	term_put_pair_uint(out, "calls", pw->calls);
	term_put_pair_uint(out, "rss_bytes", node_rss_bytes(os_pid));
	term_put_pair_uint(out, "sessions", pw->session_count);
	put_call(first_call(pw), out);
	term_put_atom(out, "calls_running");
	put_calls(pw, out);
	put_gil(w, out);
	term_put_atom(out, "last_error");
	if (w != NULL && w->error[0] != '\0')
		term_put_text(out, w->error);
	else
		term_put_atom(out, "nil");
}

void node_put_workers(struct node *n, const struct node_pool *p, struct buf *out)
{
	struct node_pool *each = NULL;
	struct pool_worker *pw = NULL;
	uint32_t count = 0;

	while ((each = node_pool_next(n, each)) != NULL)
		while ((p == NULL || p == each) && (pw = pool_worker_after(each->pool, pw)) != NULL)
			count++;
	term_put_list(out, count);
	while ((each = node_pool_next(n, each)) != NULL)
		while ((p == NULL || p == each) && (pw = pool_worker_after(each->pool, pw)) != NULL)
			put_worker(each, pw, out);
	if (count > 0)
		term_put_nil(out);
}
