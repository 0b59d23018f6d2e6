/* node_metrics_json.c - /api/status: what the status page shows.
 *
 * Everything in one answer, so that what the page shows belongs together; the page asks once a second, and
 * says which log lines it has. Histograms are given as their counts from the first bucket that is not empty
 * to the last, as they are since the start: the page subtracts, and so knows the last seconds. Names of
 * functions and of callers are shown, their arguments and results never. */
#include "node_failures.h"
#include "node_metrics.h"

#include "json.h"
#include "log.h"
#include "log_ring.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOOKED_AT 256 /* workers whose memory is read: some microseconds each, in the node's loop */

/* ---- histograms ---- */

static void put_histogram(struct buf *out, const char *key, const struct histogram *h)
{
	unsigned first = 0, end = HISTOGRAM_BUCKETS;

	while (first < end && h->bucket[first] == 0)
		first++;
	while (end > first && h->bucket[end - 1] == 0)
		end--;
	json_key(out, key);
	json_open(out, '{');
	json_put_uint(out, "count", h->count);
	json_put_uint(out, "p50", histogram_quantile(h, 500));
	json_put_uint(out, "p95", histogram_quantile(h, 950));
	json_put_uint(out, "p99", histogram_quantile(h, 990));
	json_put_uint(out, "max", h->max);
	json_put_uint(out, "first", first);
	json_key(out, "counts");
	json_open(out, '[');
	for (unsigned i = first; i < end; i++)
		json_uint(out, h->bucket[i]);
	json_close(out, ']');
	json_close(out, '}');
}

/* ---- workers ---- */

static void put_call(const struct pool_call *call, uint64_t now, struct buf *out)
{
	const struct node_request *r =
		call->request != NULL ? node_request_of(call->request) : NULL;
	uint8_t bytes[2 * TERM_ATOM_BYTES];
	struct buf name = { .data = bytes, .cap = sizeof bytes, .limit = sizeof bytes };

	json_open(out, '{');
	json_key(out, "name");
	if (r != NULL)
		node_call_name(r, &name);
	if (name.len > 0 && name.err == 0)
		json_text(out, (char *)name.data, name.len);
	else
		json_null(out);
	json_put_word(out, "caller",
		      r != NULL && r->books != NULL ? dist_peer_name(peer_dist(r->books->peer))
						    : NULL);
	json_put_uint(out, "ms", r != NULL ? (now - r->pool.started_us) / 1000 : 0);
	json_close(out, '}');
}

/* `look`: at its memory. */
static void put_worker(struct node_pool *p, const struct pool_worker *pw, uint64_t now, bool look,
		       struct buf *out)
{
	const struct node_worker *w = node_worker_find(p, pw->id);
	int os_pid = w != NULL ? w->os_pid : 0;

	json_open(out, '{');
	json_put_uint(out, "id", pw->id);
	json_put_uint(out, "index", node_index_of(p, pw));
	json_put_uint(out, "os_pid", (uint64_t)os_pid);
	json_put_word(out, "state", worker_state_name(pw->state));
	json_key(out, "retiring");
	json_bool(out, pw->retiring);
	json_put_uint(out, "since_ms", (now - pw->since_us) / 1000);
	json_put_uint(out, "age_ms", (now - pw->started_us) / 1000);
	json_put_uint(out, "calls", pw->calls);
	json_put_uint(out, "rss_bytes", look ? node_rss_bytes(os_pid) : 0);
	json_put_uint(out, "sessions", pw->session_count);
	json_put_word(out, "last_error", w != NULL && w->error[0] != '\0' ? w->error : NULL);
	json_key(out, "running");
	json_open(out, '[');
	for (unsigned i = 0; i < pw->slots; i++)
		for (unsigned k = 0; k < pw->slot[i].depth; k++)
			put_call(&pw->slot[i].call[k], now, out);
	json_close(out, ']');
	json_close(out, '}');
}

/* ---- pools ---- */

static void put_totals(struct node_pool *p, struct buf *out)
{
	const struct pool_totals *t = pool_totals(p->pool);

	json_key(out, "totals");
	json_open(out, '{');
	json_put_uint(out, "received", t->received);
	json_put_uint(out, "retries", t->retries);
	json_put_uint(out, "starts", t->starts);
	json_put_uint(out, "start_failures", t->start_failures);
	json_put_uint(out, "exits", t->exits);
	json_put_uint(out, "kills", t->kills);
	json_put_uint(out, "sessions_lost", t->sessions_lost);
	json_close(out, '}');
	json_key(out, "outcomes");
	json_open(out, '{');
	for (unsigned i = 0; i < ANSWER_KINDS; i++)
		json_put_uint(out, answer_kind_name((enum answer_kind)i), p->answers[i]);
	json_put_uint(out, "abandoned", t->outcome[OUTCOME_ABANDONED]);
	json_close(out, '}');
}

/* What went wrong of late, the last first. */
static void put_failures(struct node_pool *p, struct buf *out)
{
	json_key(out, "failures");
	json_open(out, '[');
	for (unsigned i = 0; i < p->failures.count; i++) {
		const struct node_failure *f = &p->failures.at[i];

		json_open(out, '{');
		json_put_word(out, "kind", f->kind);
		json_put_uint(out, "time_ms", f->time_ms);
		json_put_uint(out, "count", f->count);
		json_put_uint(out, "worker", f->worker_id);
		json_put_word(out, "call", f->call[0] != '\0' ? f->call : NULL);
		json_key(out, "text");
		json_text(out, f->text, f->len);
		json_close(out, '}');
	}
	json_close(out, ']');
}

static void put_pool(struct node_pool *p, uint64_t now, bool look, struct buf *out)
{
	const struct pool_config *c = pool_config(p->pool);
	struct pool_worker *pw = NULL;

	json_open(out, '{');
	json_put_word(out, "name", node_pool_name(p));
	json_put_word(out, "state", node_pool_state(p));
	json_put_word(out, "unready", node_pool_unready(p));
	json_put_word(out, "breaker", breaker_state_name(breaker_state(pool_breaker(p->pool))));
	json_put_uint(out, "retry_after_ms", pool_retry_after_ms(p->pool, now));
	json_put_uint(out, "size", pool_size(p->pool));
	json_put_uint(out, "size_min", c->size);
	json_put_uint(out, "size_max", pool_size_max(p->pool));
	json_put_uint(out, "slots", c->slots);
	json_put_uint(out, "ready", pool_ready(p->pool));
	json_put_uint(out, "queued", pool_queued(p->pool));
	json_put_uint(out, "queue_limit", c->queue_limit);
	json_put_uint(out, "running", pool_running(p->pool));
	json_put_uint(out, "leases", pool_leases(p->pool));
	json_put_uint(out, "sessions", pool_sessions(p->pool));
	json_put_uint(out, "recycling", pool_recycling(p->pool));
	put_totals(p, out);
	json_key(out, "latency_us");
	json_open(out, '{');
	put_histogram(out, "wait", pool_wait_us(p->pool));
	put_histogram(out, "call", pool_call_us(p->pool));
	put_histogram(out, "start", pool_start_us(p->pool));
	json_close(out, '}');
	json_key(out, "workers");
	json_open(out, '[');
	while ((pw = pool_worker_after(p->pool, pw)) != NULL)
		put_worker(p, pw, now, look, out);
	json_close(out, ']');
	put_failures(p, out);
	json_close(out, '}');
}

/* ---- the node ---- */

static void put_log(uint64_t since, struct buf *out)
{
	static const char *const levels[LOG_LEVELS] = { "error", "warning", "info", "debug" };
	const struct log_ring_line *line;

	json_key(out, "log");
	json_open(out, '{');
	json_put_uint(out, "last", log_ring_last());
	json_put_uint(out, "dropped", log_dropped());
	json_key(out, "lines");
	json_open(out, '[');
	for (uint64_t at = since; (line = log_ring_after(at)) != NULL; at = line->number) {
		json_open(out, '[');
		json_uint(out, line->number);
		json_uint(out, line->time_ms);
		json_word(out, levels[line->level]);
		json_word(out, line->object);
		json_text(out, line->text, line->len);
		json_close(out, ']');
	}
	json_close(out, ']');
	json_close(out, '}');
}

static const char *stage_name(const struct node *n)
{
	static const char *const names[] = { [NODE_STARTING] = "starting",
					     [NODE_RUNNING] = "running",
					     [NODE_DRAINING] = "draining",
					     [NODE_STOPPING] = "stopping",
					     [NODE_CLOSING] = "stopping" };

	return names[n->stage];
}

void node_metrics_put_json(struct node *n, uint64_t since, struct buf *out)
{
	struct node_process process = node_process(n);
	struct node_pool *p = NULL;
	uint64_t now = node_now_us();
	unsigned workers = 0;

	while ((p = node_pool_next(n, p)) != NULL)
		workers += HASH_COUNT(p->workers);
	json_open(out, '{');
	json_put_word(out, "node", n->options->name);
	json_put_word(out, "version", KRAIT_VERSION);
	json_put_uint(out, "os_pid", (uint64_t)getpid());
	json_put_word(out, "stage", stage_name(n));
	json_key(out, "ready");
	json_bool(out, node_is_ready(n));
	json_put_uint(out, "now_us", now);
	json_put_uint(out, "uptime_ms", (now - n->started_us) / 1000);
	json_put_uint(out, "started_ms", process.start_time_us / 1000);
	json_put_uint(out, "peers", node_peer_count(n));
	json_put_uint(out, "connections", n->peers);
	json_put_uint(out, "cpu_us", process.cpu_us);
	json_put_uint(out, "rss_bytes", process.rss_bytes);
	json_put_uint(out, "fds", process.fds);
	json_put_uint(out, "max_fds", process.max_fds);
	json_key(out, "pools");
	json_open(out, '[');
	while ((p = node_pool_next(n, p)) != NULL)
		put_pool(p, now, workers <= LOOKED_AT, out);
	json_close(out, ']');
	put_log(since, out);
	json_close(out, '}');
}
