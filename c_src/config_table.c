/* config_table.c - the table of options: name, unit or words, type, whose it is, when a new value counts,
 * where it is kept, default, bounds, help. See config_private.h for the columns. */
#include "config_private.h"

#include <stddef.h>

#define N(member) offsetof(struct config, member)
#define P(member) offsetof(struct config_pool, member)
#define KIB       UINT64_C(1024)
#define MIB       (KIB * KIB)
#define GIB       (KIB * MIB)
#define DAY_MS    UINT64_C(86400000)

/* clang-format off */
static const struct option table[] = {
	{ "config", "FILE", NULL, T_TEXT, OF_NODE, RESTART, N(file), NULL, 0, 0,
	  "read options of the node and of its pools from FILE" },
	{ "name", "NAME@HOST", NULL, T_TEXT, OF_NODE, RESTART, N(name), NULL, 0, 0,
	  "full node name, as `erl -name`" },
	{ "sname", "NAME", NULL, T_TEXT, OF_NODE, RESTART, N(sname), NULL, 0, 0,
	  "short node name, as `erl -sname`; this or --name must be given" },
	{ "cookie-file", "FILE", NULL, T_TEXT, OF_NODE, RESTART, N(cookie_file), NULL, 0, 0,
	  "where the cookie is; else $KRAIT_COOKIE, else ~/.erlang.cookie (made if there is none)" },
	{ "listen", "ADDR", NULL, T_TEXT, OF_NODE, RESTART, N(listen), "127.0.0.1", 0, 0,
	  "address to accept peers on" },
	{ "port", "N", NULL, T_UINT, OF_NODE, RESTART, N(port), "0", 0, 65535,
	  "TCP port to accept peers on; 0: any" },
	{ "net-ticktime", "s", NULL, T_UINT, OF_NODE, RESTART, N(net_ticktime_s), "60", 1, 86400,
	  "a peer that is silent for so long is gone; ticks are sent every quarter of it" },
	{ "handshake-timeout", "ms", NULL, T_UINT, OF_NODE, AT_ONCE, N(handshake_timeout_ms), "7000", 10, DAY_MS,
	  "time for a peer to complete the handshake" },
	{ "max-peers", "N", NULL, T_UINT, OF_NODE, AT_ONCE, N(max_peers), "4096", 1, 100000,
	  "connections at once, half-open ones included" },
	{ "max-output-bytes", "bytes", NULL, T_UINT, OF_NODE, AT_ONCE, N(max_output_bytes), "1073741824", MIB, 64 * GIB,
	  "what may wait for one peer to read it; more closes its connection" },
	{ "stop-timeout", "ms", NULL, T_UINT, OF_NODE, AT_ONCE, N(stop_timeout_ms), "10000", 0, DAY_MS,
	  "how long a stop waits for running calls" },
	{ "stop-on-eof", NULL, NULL, T_FLAG, OF_NODE, RESTART, N(stop_on_eof), NULL, 0, 0,
	  "stop when standard input closes: for supervisors" },
	{ "busy-poll", "us", NULL, T_UINT, OF_NODE, RESTART, N(busy_poll_us), "0", 0, 1000,
	  "how long the node looks again for more before it sleeps: shorter calls where processors idle; 0: "
	  "not at all" },
	{ "log-level", NULL, "error|warning|info|debug", T_ENUM, OF_NODE, AT_ONCE, N(log_level), "info", 0, 0,
	  "least important lines that are written to standard error" },
	{ "log-format", NULL, "text|json|journald", T_ENUM, OF_NODE, RESTART, N(log_format), "text", 0, 0,
	  "how lines are written to standard error; journald: text with the priority in front, as "
	  "systemd reads it" },
	{ "metrics", "ADDR:PORT", NULL, T_TEXT, OF_NODE, RESTART, N(metrics), NULL, 0, 0,
	  "serve Prometheus metrics and the status page over HTTP; port 0: any" },
	{ "metrics-host", "NAME,...", NULL, T_LIST, OF_NODE, RESTART, N(metrics_host), NULL, 0, 0,
	  "names that a request may give as its Host besides addresses, localhost and this machine's" },
	{ "admin", "PATTERN,...", NULL, T_LIST, OF_NODE, AT_ONCE, N(admin), NULL, 0, 0,
	  "peers that may administer, by node name (`ops@*`); without this and admin-users: all that may "
	  "watch" },
	{ "watch", "PATTERN,...", NULL, T_LIST, OF_NODE, AT_ONCE, N(watch), NULL, 0, 0,
	  "peers that may look at status, workers, requests, events and logs; else everybody" },
	{ "admin-users", "USER,...", NULL, T_LIST, OF_NODE, AT_ONCE, N(admin_users), NULL, 0, 0,
	  "local users, by name or number, whose connections over loopback may administer, too" },
	{ "pool", "NAME", NULL, T_TEXT, OF_POOL, RESTART, P(name), "default", 0, 0,
	  "the name that a pool is registered under; given again it begins the options of another pool" },
	{ "size", "N|N..M", NULL, T_RANGE, OF_POOL, AT_ONCE, P(size), "4", 1, CONFIG_SIZE_MAX,
	  "workers; with N..M there are N, and up to M while requests wait" },
	{ "grow-after", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(grow_after_ms), "100", 0, DAY_MS,
	  "how long a request waits before a worker is added, where --size is a range" },
	{ "idle-ttl", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(idle_ttl_ms), "60000", 10, 365 * DAY_MS,
	  "how long a worker beyond the least number idles before it is ended" },
	{ "order", NULL, "lifo|fifo", T_ENUM, OF_POOL, AT_ONCE, P(order), "lifo", 0, 0,
	  "which idle worker is next: the one that worked last, or the one that has idled longest" },
	{ "python", "FILE", NULL, T_TEXT, OF_POOL, WORKERS, P(python), NULL, 0, 0,
	  "interpreter, 3.9 or later with msgpack; else the first one found that has it" },
	{ "pythonpath", "DIR:DIR", NULL, T_PATHS, OF_POOL, WORKERS, P(pythonpath), NULL, 0, 0,
	  "directories put in front of Python's sys.path" },
	{ "preload", "MODULE,...", NULL, T_LIST, OF_POOL, WORKERS, P(preload), NULL, 0, 0,
	  "modules imported once, before workers are forked" },
	{ "allow", "PATTERN,...", NULL, T_LIST, OF_POOL, WORKERS, P(allow), NULL, 0, 0,
	  "what may be called: modules (`math`), functions (`math.sqrt`), `my_app.*`; else everything" },
	{ "expose", "NAME=MODULE:ATTR", NULL, T_LIST, OF_POOL, WORKERS, P(expose), NULL, 0, 0,
	  "makes an object callable as module NAME; a class is instantiated once per worker" },
	{ "rpc", NULL, NULL, T_FLAG, OF_POOL, AT_ONCE, P(rpc), NULL, 0, 0,
	  "serve rpc and erpc of other nodes, under --allow as all calls" },
	{ "start-method", NULL, "fork|spawn", T_ENUM, OF_POOL, WORKERS, P(start_method), "fork", 0, 0,
	  "fork from a preloaded Python, or start each worker afresh" },
	{ "slots", "N", NULL, T_UINT, OF_POOL, WORKERS, P(slots), "1", 1, CONFIG_SLOTS_MAX,
	  "calls that a worker holds at once: async functions on its event loop, others on threads" },
	{ "ahead", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(ahead), "8", 0, CONFIG_AHEAD_MAX,
	  "requests that are sent to a busy worker before it is free, while calls are short; 0: none" },
	{ "abandon", NULL, "kill|interrupt|finish", T_ENUM, OF_POOL, AT_ONCE, P(abandon), "kill", 0, 0,
	  "what happens to a call whose caller is gone or whose time is up; with slots over 1 `interrupt` "
	  "is the default, and `kill` is refused" },
	{ "interrupt-grace", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(interrupt_grace_ms), "1000", 1, DAY_MS,
	  "how long an interrupted call may take to end before its worker is killed" },
	{ "call-timeout", "ms", NULL, T_TIME, OF_POOL, AT_ONCE, P(call_timeout_ms), "60000", 1, 365 * DAY_MS,
	  "time from a request's arrival to its answer, unless it says otherwise" },
	{ "queue-timeout", "ms", NULL, T_TIME, OF_POOL, AT_ONCE, P(queue_timeout_ms), "infinity", 0, 365 * DAY_MS,
	  "time that a request may wait for a worker, unless it says otherwise" },
	{ "queue-limit", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(queue_limit), "10000", 0, 10000000,
	  "requests that may wait; the next one hears `overloaded` at once" },
	{ "queue-bytes", "bytes", NULL, T_UINT, OF_POOL, AT_ONCE, P(queue_bytes), "1073741824", 0, 1024 * GIB,
	  "payload that may wait; the next request hears `overloaded` at once" },
	{ "session-mode", NULL, "strict|hint|fail_fast", T_ENUM, OF_POOL, AT_ONCE, P(session_mode), "strict", 0, 0,
	  "what a call does whose session's worker is busy: wait for it, take another, or fail; unless "
	  "it says otherwise" },
	{ "session-ttl", "ms", NULL, T_TIME, OF_POOL, AT_ONCE, P(session_ttl_ms), "1800000", 1, 365 * DAY_MS,
	  "how long a session lasts that nobody uses" },
	{ "max-sessions", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(max_sessions), "10000", 0, 1000000,
	  "sessions at once; one more ends the one that was idle longest. 0: none are allowed" },
	{ "strings", NULL, "utf8|bytes", T_ENUM, OF_POOL, WORKERS, P(strings), "utf8", 0, 0,
	  "what a binary becomes in Python: `str` if it is UTF-8, or always `bytes`" },
	{ "max-depth", "N", NULL, T_UINT, OF_POOL, WORKERS, P(max_depth), "256", 1, 400,
	  "deepest nesting of arguments and results" },
	{ "max-request-bytes", "bytes", NULL, T_UINT, OF_POOL, AT_ONCE, P(max_request_bytes), "134217728", 1024, 2047 * MIB,
	  "longest request" },
	{ "max-result-bytes", "bytes", NULL, T_UINT, OF_POOL, WORKERS, P(max_result_bytes), "134217728", 1024, 2047 * MIB,
	  "longest result" },
	{ "start-timeout", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(start_timeout_ms), "60000", 10, DAY_MS,
	  "time for a worker to start, imports included" },
	{ "stop-grace", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(stop_grace_ms), "1000", 1, DAY_MS,
	  "between end of file, SIGTERM and SIGKILL when a worker is stopped" },
	{ "breaker-threshold", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(breaker_threshold), "5", 1, 1000,
	  "failed starts in a row that open the circuit" },
	{ "backoff-base", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(backoff_base_ms), "100", 1, DAY_MS,
	  "wait after the first failed start; doubles with each further one" },
	{ "backoff-max", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(backoff_max_ms), "30000", 1, DAY_MS,
	  "longest wait after a failed start" },
	{ "start-burst", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(start_burst), "256", 1, 100000,
	  "workers that may be started at once, whatever happens" },
	{ "starts-per-second", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(starts_per_second), "100", 1, 100000,
	  "workers that may be started in the long run, whatever happens" },
	{ "health-interval", "ms", NULL, T_TIME, OF_POOL, AT_ONCE, P(health_interval_ms), "30000", 10, 365 * DAY_MS,
	  "how long a worker may idle before it is asked whether it is well" },
	{ "health-timeout", "ms", NULL, T_UINT, OF_POOL, AT_ONCE, P(health_timeout_ms), "5000", 10, DAY_MS,
	  "time to answer that; else it is killed and replaced" },
	{ "max-calls", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(max_calls), "0", 0, UINT64_C(1000000000000),
	  "calls after which a worker is replaced; 0: never" },
	{ "max-age", "ms", NULL, T_TIME, OF_POOL, AT_ONCE, P(max_age_ms), "infinity", 100, 365 * DAY_MS,
	  "age at which a worker is replaced" },
	{ "max-rss", "bytes", NULL, T_UINT, OF_POOL, AT_ONCE, P(max_rss), "0", 0, 1024 * GIB,
	  "resident memory at which a worker is replaced, after its call; 0: never" },
	{ "recycle-jitter", "%", NULL, T_UINT, OF_POOL, AT_ONCE, P(recycle_jitter), "10", 0, 100,
	  "by how much --max-calls and --max-age differ from worker to worker" },
	{ "env", "NAME=VALUE", NULL, T_ITEMS, OF_POOL, WORKERS, P(env), NULL, 0, 0,
	  "environment of the workers, may be given often; `{index}` is the worker's index, from 0" },
	{ "cwd", "DIR", NULL, T_TEXT, OF_POOL, WORKERS, P(cwd), NULL, 0, 0,
	  "working directory of the workers; else the node's" },
	{ "threads", "N", NULL, T_UINT, OF_POOL, WORKERS, P(threads), "1", 0, 1024,
	  "threads that numerical libraries may use in a worker (OMP_NUM_THREADS and its like), unless "
	  "the environment says so already; 0: as they like" },
	{ "nice", "N", NULL, T_UINT, OF_POOL, WORKERS, P(nice), "0", 0, 19,
	  "added to the niceness of the workers" },
	{ "oom-score-adj", "N", NULL, T_UINT, OF_POOL, WORKERS, P(oom_score_adj), "0", 0, 1000,
	  "how much sooner than others the kernel kills a worker when memory is short" },
	{ "rlimit-as", "bytes", NULL, T_TIME, OF_POOL, WORKERS, P(rlimit_as), "infinity", 16 * MIB, 1024 * GIB,
	  "address space that a worker may have" },
	{ "rlimit-cpu", "s", NULL, T_TIME, OF_POOL, WORKERS, P(rlimit_cpu_s), "infinity", 1, 365 * 86400,
	  "processor time that a worker may use in its life" },
	{ "rlimit-nofile", "N", NULL, T_TIME, OF_POOL, WORKERS, P(rlimit_nofile), "infinity", 64, 1048576,
	  "descriptors that a worker may have open; infinity: as many as the node" },
	{ "rlimit-core", "bytes", NULL, T_TIME, OF_POOL, WORKERS, P(rlimit_core), "0", 0, 1024 * GIB,
	  "core file that a crashing worker may leave; infinity: as the node's" },
	{ "memory-max", "bytes", NULL, T_UINT, OF_POOL, WORKERS, P(memory_max), "0", 0, 1024 * GIB,
	  "memory of a worker and its children, by cgroup v2 where the node may write one; 0: no limit" },
	{ "cpu-max", "%", NULL, T_UINT, OF_POOL, WORKERS, P(cpu_max), "0", 0, 100000,
	  "processor time of a worker, in percent of one core, likewise; 0: no limit" },
	{ "log-rate", "N", NULL, T_UINT, OF_POOL, AT_ONCE, P(log_rate), "1000", 1, 1000000,
	  "lines per second of a worker's output that are logged; more are counted and dropped" },
};
/* clang-format on */

const struct option *config_option(size_t index)
{
	return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

bool config_in_files(const struct option *o)
{
	return !(o->scope == OF_NODE && o->at == N(file)) &&
	       !(o->scope == OF_POOL && o->at == P(name)); /* the section's title */
}

_Static_assert(sizeof table / sizeof table[0] <= CONFIG_OPTIONS_MAX, "each row has a source");

size_t config_index(const struct option *o)
{
	return (size_t)(o - table);
}

const struct option *config_pool_name(void)
{
	static const struct option *row;

	for (size_t i = 0; row == NULL; i++)
		if (table[i].scope == OF_POOL && table[i].at == P(name))
			row = &table[i];
	return row;
}
