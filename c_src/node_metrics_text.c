/* node_metrics_text.c - /metrics: what Prometheus reads.
 *
 * All samples of one name stand together, as the format wants it, so each family walks the pools. Counters
 * begin with 0 at the node's start; requests add up: received = all outcomes + queued + running. */
#include "node_metrics.h"

#include "log.h"
#include "node_stream.h"
#include "prom.h"

#include <msgpack/sysdep.h>
#include <msgpack/version.h>

#define COUNTER   "counter"
#define GAUGE     "gauge"
#define HISTOGRAM "histogram"

/* ---- one number of each pool ---- */

static const struct pool_totals *totals(const struct node_pool *p)
{
	return pool_totals(p->pool);
}

/* What the pool has counted since its start. */
#define TOTAL(field)                                     \
	static uint64_t field(const struct node_pool *p) \
	{                                                \
		return pool_totals(p->pool)->field;      \
	}

TOTAL(received)
TOTAL(retries)
TOTAL(grown)
TOTAL(shrunk)
TOTAL(probes)
TOTAL(starts)
TOTAL(start_failures)
TOTAL(kills)
TOTAL(interrupts)
TOTAL(sessions_started)
TOTAL(sessions_lost)
TOTAL(sessions_evicted)

static uint64_t queued(const struct node_pool *p)
{
	return pool_queued(p->pool);
}

static uint64_t queue_limit(const struct node_pool *p)
{
	return pool_config(p->pool)->queue_limit;
}

static uint64_t running(const struct node_pool *p)
{
	return pool_running(p->pool);
}

static uint64_t size(const struct node_pool *p)
{
	return pool_size(p->pool);
}

static uint64_t size_min(const struct node_pool *p)
{
	return pool_config(p->pool)->size;
}

static uint64_t size_max(const struct node_pool *p)
{
	return pool_size_max(p->pool);
}

static uint64_t slots(const struct node_pool *p)
{
	return pool_config(p->pool)->slots;
}

static uint64_t ahead(const struct node_pool *p)
{
	return totals(p)->ahead;
}

static uint64_t recalled(const struct node_pool *p)
{
	return totals(p)->recalled;
}

static uint64_t recycling(const struct node_pool *p)
{
	return pool_recycling(p->pool);
}

static uint64_t leases(const struct node_pool *p)
{
	return pool_leases(p->pool);
}

static uint64_t sessions(const struct node_pool *p)
{
	return pool_sessions(p->pool);
}

static uint64_t streams(const struct node_pool *p)
{
	struct node_holding *h, *next;
	uint64_t count = 0;

	HASH_ITER(hh, p->node->holdings, h, next)
	{
		if (h->kind == HOLDING_STREAM && node_stream_of(h)->owner_pool == p)
			count++;
	}
	return count;
}

static uint64_t late(const struct node_pool *p)
{
	return totals(p)->late + p->late_items;
}

static uint64_t rss(const struct node_pool *p)
{
	struct node_worker *w, *next;
	uint64_t bytes = 0;

	HASH_ITER(hh, p->workers, w, next)
	{
		bytes += w->exited ? 0 : node_rss_bytes(w->os_pid);
	}
	return bytes;
}

/* clang-format off */
static const struct {
	const char *name, *type, *help;
	uint64_t (*value)(const struct node_pool *p);
} numbers[] = {
	{ "krait_requests_received_total", COUNTER, "Requests that came for the pool.", received },
	{ "krait_requests_queued", GAUGE, "Requests that wait for a worker.", queued },
	{ "krait_queue_limit", GAUGE, "Requests that may wait; one more is refused.", queue_limit },
	{ "krait_requests_running", GAUGE, "Requests that a worker is serving.", running },
	{ "krait_request_retries_total", COUNTER, "Calls that ran again because their worker died in them.", retries },
	{ "krait_requests_ahead_total", COUNTER, "Requests that were sent ahead to a busy worker.", ahead },
	{ "krait_requests_recalled_total", COUNTER, "Of these, those that waited in the queue again.", recalled },
	{ "krait_pool_size", GAUGE, "Workers that the pool wants to have at present.", size },
	{ "krait_pool_size_min", GAUGE, "The least that it wants to have.", size_min },
	{ "krait_pool_size_max", GAUGE, "The most that it wants to have.", size_max },
	{ "krait_pool_grown_total", COUNTER, "Times that it grew because requests waited.", grown },
	{ "krait_pool_shrunk_total", COUNTER, "Times that it shrank because workers were idle.", shrunk },
	{ "krait_pool_slots", GAUGE, "Calls that one worker may run at once.", slots },
	{ "krait_workers_recycling", GAUGE, "Workers that are to be replaced, or on their way out for it.", recycling },
	{ "krait_leases", GAUGE, "Leases that clients hold.", leases },
	{ "krait_sessions", GAUGE, "Sessions that live in workers.", sessions },
	{ "krait_streams", GAUGE, "Streams that are open.", streams },
	{ "krait_worker_starts_total", COUNTER, "Workers that were started.", starts },
	{ "krait_worker_start_failures_total", COUNTER, "Starts that failed.", start_failures },
	{ "krait_worker_probes_total", COUNTER, "Idle workers that were asked whether they are well.", probes },
	{ "krait_worker_kills_total", COUNTER, "Times that the pool had a worker killed.", kills },
	{ "krait_worker_interrupts_total", COUNTER, "Times that the pool had a call interrupted.", interrupts },
	{ "krait_workers_resident_memory_bytes", GAUGE, "Resident memory of all workers; what they share counts for each.", rss },
	{ "krait_sessions_started_total", COUNTER, "Sessions that began.", sessions_started },
	{ "krait_sessions_lost_total", COUNTER, "Sessions that were lost with their worker.", sessions_lost },
	{ "krait_sessions_evicted_total", COUNTER, "Sessions that were ended to make room for others.", sessions_evicted },
	{ "krait_late_events_total", COUNTER, "Answers and items that came when nobody waited for them any more.", late },
};
/* clang-format on */

static void put_numbers(struct node *n, struct buf *out)
{
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		struct node_pool *p = NULL;

		prom_family(out, numbers[i].name, numbers[i].type, numbers[i].help);
		while ((p = node_pool_next(n, p)) != NULL)
			prom_uint(out, numbers[i].name, numbers[i].value(p), "pool",
				  node_pool_name(p), PROM_END);
	}
}

/* ---- several numbers of each pool ---- */

static void put_outcomes(struct node *n, struct buf *out)
{
	const char *name = "krait_requests_total";
	struct node_pool *p = NULL;

	prom_family(
		out, name, COUNTER,
		"Requests that have ended, each counted once: how it was answered, or abandoned.");
	while ((p = node_pool_next(n, p)) != NULL) {
		for (unsigned i = 0; i < ANSWER_KINDS; i++)
			prom_uint(out, name, p->answers[i], "pool", node_pool_name(p), "outcome",
				  answer_kind_name((enum answer_kind)i), PROM_END);
		prom_uint(out, name, totals(p)->outcome[OUTCOME_ABANDONED], "pool",
			  node_pool_name(p), "outcome", "abandoned", PROM_END);
	}
}

static void put_workers(struct node *n, struct buf *out)
{
	const char *name = "krait_workers";
	struct node_pool *p = NULL;

	prom_family(out, name, GAUGE, "Worker processes by what they do.");
	while ((p = node_pool_next(n, p)) != NULL)
		for (unsigned i = 0; i < WORKER_GONE; i++)
			prom_uint(out, name, pool_count(p->pool, i), "pool", node_pool_name(p),
				  "state", worker_state_name(i), PROM_END);
}

static void put_exits(struct node *n, struct buf *out)
{
	static const char *const reasons[EXIT_KINDS] = {
		[EXIT_STOPPED] = "stopped", [EXIT_KILLED] = "killed", [EXIT_CRASHED] = "signal",
		[EXIT_LEFT] = "status",     [EXIT_START] = "start",
	};
	const char *name = "krait_worker_exits_total";
	struct node_pool *p = NULL;

	prom_family(
		out, name, COUNTER,
		"Workers that ended: told to (stopped), killed on purpose (killed), by a signal or "
		"an exit of their own (signal, status), before they were ready (start).");
	while ((p = node_pool_next(n, p)) != NULL)
		for (unsigned i = 0; i < EXIT_KINDS; i++)
			prom_uint(out, name, p->exits[i], "pool", node_pool_name(p), "reason",
				  reasons[i], PROM_END);
}

static void put_departures(struct node *n, struct buf *out)
{
	const char *name = "krait_worker_departures_total";
	struct node_pool *p = NULL;

	prom_family(out, name, COUNTER, "Workers that the pool told to go, by why.");
	while ((p = node_pool_next(n, p)) != NULL)
		for (unsigned i = WHY_NONE + 1; i < WHYS; i++)
			prom_uint(out, name, totals(p)->left[i], "pool", node_pool_name(p),
				  "reason", pool_why_name(i), PROM_END);
}

/* One sample for each state, 1 for the one that it is in. */
static void put_state(struct buf *out, const char *name, const struct node_pool *p,
		      const char *const *states, size_t count, const char *is)
{
	for (size_t i = 0; i < count; i++)
		prom_uint(out, name, strcmp(states[i], is) == 0, "pool", node_pool_name(p), "state",
			  states[i], PROM_END);
}

static void put_states(struct node *n, struct buf *out)
{
	static const char *const states[] = { "starting", "running", "paused", "draining",
					      "stopping" };
	static const char *const breaker[] = { "closed", "open", "half_open" };
	struct node_pool *p = NULL;

	prom_family(out, "krait_pool_state", GAUGE, "1 for the state that the pool is in.");
	while ((p = node_pool_next(n, p)) != NULL)
		put_state(out, "krait_pool_state", p, states, 5, node_pool_state(p));
	prom_family(out, "krait_breaker_state", GAUGE,
		    "1 for the state of the circuit breaker: open while workers keep failing to "
		    "start.");
	while ((p = node_pool_next(n, p)) != NULL)
		put_state(out, "krait_breaker_state", p, breaker, 3,
			  breaker_state_name(breaker_state(pool_breaker(p->pool))));
}

static const struct histogram *request_bytes(const struct node_pool *p)
{
	return &p->request_bytes;
}

static const struct histogram *result_bytes(const struct node_pool *p)
{
	return &p->result_bytes;
}

static const struct histogram *wait_us(const struct node_pool *p)
{
	return pool_wait_us(p->pool);
}

static const struct histogram *call_us(const struct node_pool *p)
{
	return pool_call_us(p->pool);
}

static const struct histogram *start_us(const struct node_pool *p)
{
	return pool_start_us(p->pool);
}

static void put_histograms(struct node *n, struct buf *out)
{
	static const struct {
		const char *name, *help;
		enum prom_unit unit;
		const struct histogram *(*of)(const struct node_pool *p);
	} all[] = {
		{ "krait_request_wait_seconds", "From a request's arrival to a worker.",
		  PROM_SECONDS, wait_us },
		{ "krait_request_run_seconds", "From the start of a call to its answer.",
		  PROM_SECONDS, call_us },
		{ "krait_worker_start_seconds", "From a worker's start to its readiness.",
		  PROM_SECONDS, start_us },
		{ "krait_request_size_bytes", "Calls as they are sent to workers.", PROM_BYTES,
		  request_bytes },
		{ "krait_result_size_bytes", "Results, and items of streams, as workers send them.",
		  PROM_BYTES, result_bytes },
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct node_pool *p = NULL;

		prom_family(out, all[i].name, HISTOGRAM, all[i].help);
		while ((p = node_pool_next(n, p)) != NULL)
			prom_histogram(out, all[i].name, all[i].of(p), all[i].unit, "pool",
				       node_pool_name(p), PROM_END);
	}
}

/* ---- the node ---- */

static void put_one(struct buf *out, const char *name, const char *type, const char *help,
		    uint64_t value)
{
	prom_family(out, name, type, help);
	prom_uint(out, name, value, PROM_END);
}

static void put_node(struct node *n, struct buf *out)
{
	struct metrics_counts http = metrics_counts(n->metrics);

	prom_family(out, "krait_build_info", GAUGE, "What this program was built from.");
	prom_uint(out, "krait_build_info", 1, "version", KRAIT_VERSION, "compiler", __VERSION__,
		  "libuv", uv_version_string(), "msgpack", MSGPACK_VERSION, PROM_END);
	prom_family(out, "krait_node_info", GAUGE, "The node's name.");
	prom_uint(out, "krait_node_info", 1, "node", n->options->name, PROM_END);
	put_one(out, "krait_ready", GAUGE, "1 while all pools can serve, as /readyz says it.",
		node_is_ready(n));
	put_one(out, "krait_peers", GAUGE, "Nodes that are connected.", node_peer_count(n));
	put_one(out, "krait_connections", GAUGE,
		"Connections of nodes, those included that have not said who they are.", n->peers);
	put_one(out, "krait_connections_refused_total", COUNTER,
		"Connections of nodes that were refused.", n->peers_refused);
	put_one(out, "krait_monitors", GAUGE,
		"Monitors that nodes have on this one, and it on them.", node_monitor_count(n));
	put_one(out, "krait_ignored_messages_total", COUNTER, "Messages that were no request.",
		n->junk);
	put_one(out, "krait_unknown_signals_total", COUNTER,
		"Signals of the distribution protocol that are not known.", n->unknown_signals);
	put_one(out, "krait_log_lines_dropped_total", COUNTER,
		"Log lines that were lost because nobody read them in time.", log_dropped());
	put_one(out, "krait_http_requests_total", COUNTER, "HTTP requests that were answered.",
		http.requests);
	put_one(out, "krait_http_requests_refused_total", COUNTER,
		"HTTP requests that were refused with 4xx.", http.refused);
	put_one(out, "krait_http_connections", GAUGE, "HTTP connections.", http.connections);
	put_one(out, "krait_http_connections_evicted_total", COUNTER,
		"HTTP connections that were closed for being slow, or to make room.", http.evicted);
}

static void put_process(struct node *n, struct buf *out)
{
	struct node_process process = node_process(n);

	prom_family(out, "process_cpu_seconds_total", COUNTER, "CPU time of the node itself.");
	prom_micro(out, "process_cpu_seconds_total", process.cpu_us, PROM_END);
	put_one(out, "process_resident_memory_bytes", GAUGE, "Resident memory of the node itself.",
		process.rss_bytes);
	put_one(out, "process_virtual_memory_bytes", GAUGE, "Virtual memory of the node itself.",
		process.virtual_bytes);
	put_one(out, "process_open_fds", GAUGE, "Open file descriptors.", process.fds);
	put_one(out, "process_max_fds", GAUGE, "File descriptors that may be open.",
		process.max_fds);
	prom_family(out, "process_start_time_seconds", GAUGE, "When the node started, since 1970.");
	prom_micro(out, "process_start_time_seconds", process.start_time_us, PROM_END);
}

void node_metrics_put_text(struct node *n, struct buf *out)
{
	put_node(n, out);
	put_outcomes(n, out);
	put_numbers(n, out);
	put_workers(n, out);
	put_exits(n, out);
	put_departures(n, out);
	put_states(n, out);
	put_histograms(n, out);
	put_process(n, out);
}
