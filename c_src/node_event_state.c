/* node_event_state.c - events of what the node has and is: workers, pools, breakers, peers, configuration.
 *
 * As in node_event_call.c; those of the node itself look for themselves whether anybody hears.
 * Sizes and breakers change within the pool core, which tells nobody: node_event_pool_changed() compares
 * what is with what was seen last, after each step that somebody hears of. */
#include "node_private.h"

#include "event.h"

#include <signal.h>
#include <string.h>

static struct event_writer begin(struct node *n, struct node_pool *p, enum event e)
{
	struct event_writer w;

	event_begin(&w, node_message_begin(n, p, REQUEST_TOPIC_EVENTS), e, n->options->name,
		    node_system_time_us());
	return w;
}

static void end(struct event_writer *w, struct node *n)
{
	event_end(w);
	node_message_end(n);
}

/* ---- workers ---- */

void node_event_worker_started(struct node_pool *p, uint64_t id, unsigned index)
{
	struct event_writer w = begin(p->node, p, EVENT_WORKER_STARTED);

	event_uint(&w, "starting", pool_count(p->pool, WORKER_STARTING));
	event_atom(&w, "pool", p->config->name);
	event_uint(&w, "worker", id);
	event_uint(&w, "index", index);
	end(&w, p->node);
}

static void put_worker(struct event_writer *w, const struct node_worker *worker)
{
	event_atom(w, "pool", worker->pool->config->name);
	event_uint(w, "worker", worker->id);
	event_uint(w, "index", worker->index);
	event_id(w, "os_pid", (uint64_t)worker->os_pid);
}

void node_event_worker_ready(const struct node_worker *worker)
{
	struct node_pool *p = worker->pool;
	const struct pool_worker *pw = pool_worker(p->pool, worker->id);
	struct event_writer w = begin(p->node, p, EVENT_WORKER_READY);

	event_uint(&w, "start_us", pw != NULL ? node_now_us() - pw->started_us : 0);
	event_uint(&w, "ready", pool_ready(p->pool));
	put_worker(&w, worker);
	end(&w, p->node);
}

static void put_life(struct event_writer *w, const struct pool_worker *pw)
{
	event_uint(w, "calls", pw != NULL ? pw->calls : 0);
	event_uint(w, "age_us", pw != NULL ? node_now_us() - pw->started_us : 0);
}

void node_event_worker_replaced(const struct node_worker *worker, enum pool_why why)
{
	struct node_pool *p = worker->pool;
	struct event_writer w = begin(p->node, p, EVENT_WORKER_REPLACED);

	put_life(&w, pool_worker(p->pool, worker->id));
	put_worker(&w, worker);
	event_atom(&w, "reason", pool_why_name(why));
	end(&w, p->node);
}

static void put_pair(struct buf *out, const char *word, const char *value)
{
	term_put_tuple(out, 2);
	term_put_atom(out, word);
	term_put_atom(out, value);
}

/* As in {worker_exit, ...}: {exit, N}, {signal, sigsegv}, {killed, Why}; nil: it never was. */
static void put_exit(struct event_writer *w, const struct node_worker *worker)
{
	struct buf *out = event_key(w, "exit");

	if (!worker->exited || worker->os_pid == 0) {
		term_put_atom(out, "nil");
	} else if (node_worker_killed_for(worker) != NULL) {
		put_pair(out, "killed", worker->killed_for);
	} else if (worker->signal != 0) {
		put_pair(out, "signal", signal_name(worker->signal));
	} else {
		term_put_tuple(out, 2);
		term_put_atom(out, "exit");
		term_put_int(out, worker->status);
	}
}

void node_event_worker_exited(const struct node_worker *worker, enum pool_why why)
{
	struct node_pool *p = worker->pool;
	bool told = why != WHY_NONE && why != WHY_BROKEN && !worker->ended_itself;
	struct event_writer w = begin(p->node, p, EVENT_WORKER_EXITED);

	put_life(&w, pool_worker(p->pool, worker->id));
	put_worker(&w, worker);
	put_exit(&w, worker);
	event_atom(&w, "cause",
		   told || worker->killed_for != NULL ? pool_why_name(why)
		   : worker->ready                    ? "crashed"
						      : "start_failed");
	end(&w, p->node);
}

/* ---- pools ---- */

void node_event_pool(struct node_pool *p, enum event e, const char *by)
{
	struct event_writer w = begin(p->node, p, e);

	event_uint(&w, "queued", pool_queued(p->pool));
	event_uint(&w, "running", pool_running(p->pool));
	event_atom(&w, "pool", p->config->name);
	event_atom(&w, "by", by);
	end(&w, p->node);
}

void node_event_pool_resized(struct node_pool *p, unsigned least, unsigned most, const char *by)
{
	struct event_writer w = begin(p->node, p, EVENT_POOL_RESIZED);

	event_uint(&w, "from", pool_size(p->pool));
	event_uint(&w, "to", least);
	event_uint(&w, "most", most);
	event_atom(&w, "pool", p->config->name);
	event_atom(&w, "by", by);
	end(&w, p->node);
}

void node_event_pool_reloaded(struct node_pool *p, bool ok)
{
	struct event_writer w = begin(p->node, p, EVENT_POOL_RELOADED);

	event_uint(&w, "replaced", pool_recycling(p->pool));
	event_atom(&w, "pool", p->config->name);
	event_atom(&w, "outcome", ok ? "ok" : "start_failed");
	event_text(&w, "detail", p->detail, ok ? 0 : p->detail_len);
	end(&w, p->node);
}

static void tell_size(struct node_pool *p, enum event e, unsigned from, unsigned to)
{
	struct event_writer w = begin(p->node, p, e);

	event_uint(&w, "from", from);
	event_uint(&w, "to", to);
	event_atom(&w, "pool", p->config->name);
	end(&w, p->node);
}

static void tell_breaker(struct node_pool *p, enum breaker_state state)
{
	static const enum event events[] = { [BREAKER_CLOSED] = EVENT_BREAKER_CLOSED,
					     [BREAKER_OPEN] = EVENT_BREAKER_OPENED,
					     [BREAKER_HALF_OPEN] = EVENT_BREAKER_HALF_OPEN };
	struct event_writer w = begin(p->node, p, events[state]);

	if (state == BREAKER_CLOSED) {
		event_uint(&w, "ready", pool_ready(p->pool));
		event_atom(&w, "pool", p->config->name);
	} else {
		event_uint(&w, "failures", pool_breaker(p->pool)->failures);
		if (state == BREAKER_OPEN)
			event_uint(&w, "retry_after_ms",
				   pool_retry_after_ms(p->pool, node_now_us()));
		event_atom(&w, "pool", p->config->name);
		event_text(&w, "cause", p->detail, p->detail_len);
	}
	end(&w, p->node);
}

void node_event_pool_seen(struct node_pool *p)
{
	const struct pool_totals *t = pool_totals(p->pool);

	p->seen.size = pool_size(p->pool);
	p->seen.grown = t->grown;
	p->seen.shrunk = t->shrunk;
	p->seen.sessions_lost = t->sessions_lost;
	p->seen.breaker = breaker_state(pool_breaker(p->pool));
}

void node_event_pool_changed(struct node_pool *p)
{
	const struct pool_totals *t = pool_totals(p->pool);
	unsigned size = pool_size(p->pool);
	enum breaker_state breaker = breaker_state(pool_breaker(p->pool));

	if (t->grown != p->seen.grown)
		tell_size(p, EVENT_POOL_GROWN, p->seen.size, size);
	if (t->shrunk != p->seen.shrunk)
		tell_size(p, EVENT_POOL_SHRUNK, p->seen.size, size);
	if (t->sessions_lost != p->seen.sessions_lost)
		node_sessions_tell_lost(p);
	if (breaker != p->seen.breaker)
		tell_breaker(p, breaker);
	node_event_pool_seen(p);
}

/* ---- the node ---- */

static bool is_heard(const struct node *n)
{
	return (n->heard & REQUEST_TOPIC_EVENTS) != 0;
}

void node_event_peer_up(const struct books *b)
{
	struct node *n = b->node;
	struct event_writer w;

	if (!is_heard(n))
		return;
	w = begin(n, NULL, EVENT_PEER_UP);
	event_uint(&w, "peers", n->peers);
	event_atom(&w, "peer", dist_peer_name(peer_dist(b->peer)));
	end(&w, n);
}

void node_event_peer_down(const struct books *b, const char *why)
{
	struct node *n = b->node;
	struct event_writer w;

	if (!is_heard(n))
		return;
	w = begin(n, NULL, EVENT_PEER_DOWN);
	event_uint(&w, "peers", n->peers - 1);
	event_atom(&w, "peer", dist_peer_name(peer_dist(b->peer)));
	event_text(&w, "reason", why, strlen(why));
	end(&w, n);
}

void node_event_config_changed(struct node *n, unsigned changes, struct span difference,
			       const char *by)
{
	struct event_writer w;

	if (!is_heard(n))
		return;
	w = begin(n, NULL, EVENT_CONFIG_CHANGED);
	event_uint(&w, "changes", changes);
	term_put_raw(event_key(&w, "difference"), difference);
	event_atom(&w, "by", by);
	end(&w, n);
}

void node_event_stopping(struct node *n, const char *why)
{
	struct event_writer w;

	if (!is_heard(n))
		return;
	w = begin(n, NULL, EVENT_NODE_STOPPING);
	event_uint(&w, "uptime_ms", (node_now_us() - n->started_us) / 1000);
	event_text(&w, "reason", why, strlen(why));
	end(&w, n);
}
