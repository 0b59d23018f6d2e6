/* config.c - the table of options and the reading of it; see config.h. */
#include "config_private.h"

#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct config, member)
#define KIB        UINT64_C(1024)
#define MIB        (KIB * KIB)
#define GIB        (KIB * MIB)
#define DAY_MS     UINT64_C(86400000)

/* clang-format off */
static const struct option table[] = {
	{ "name", "NAME@HOST", NULL, T_TEXT, AT(name), NULL, 0, 0,
	  "full node name, as `erl -name`" },
	{ "sname", "NAME", NULL, T_TEXT, AT(sname), NULL, 0, 0,
	  "short node name, as `erl -sname`; this or --name must be given" },
	{ "cookie-file", "FILE", NULL, T_TEXT, AT(cookie_file), NULL, 0, 0,
	  "where the cookie is; else $KRAIT_COOKIE, else ~/.erlang.cookie (made if there is none)" },
	{ "listen", "ADDR", NULL, T_TEXT, AT(listen), "127.0.0.1", 0, 0,
	  "address to accept peers on" },
	{ "port", "N", NULL, T_UINT, AT(port), "0", 0, 65535,
	  "TCP port to accept peers on; 0: any" },
	{ "net-ticktime", "s", NULL, T_UINT, AT(net_ticktime_s), "60", 1, 86400,
	  "a peer that is silent for so long is gone; ticks are sent every quarter of it" },
	{ "handshake-timeout", "ms", NULL, T_UINT, AT(handshake_timeout_ms), "7000", 10, DAY_MS,
	  "time for a peer to complete the handshake" },
	{ "max-peers", "N", NULL, T_UINT, AT(max_peers), "4096", 1, 100000,
	  "connections at once, half-open ones included" },
	{ "max-output-bytes", "bytes", NULL, T_UINT, AT(max_output_bytes), "1073741824", MIB, 64 * GIB,
	  "what may wait for one peer to read it; more closes its connection" },
	{ "stop-timeout", "ms", NULL, T_UINT, AT(stop_timeout_ms), "10000", 0, DAY_MS,
	  "how long a stop waits for running calls" },
	{ "stop-on-eof", NULL, NULL, T_FLAG, AT(stop_on_eof), NULL, 0, 0,
	  "stop when standard input closes: for supervisors" },
	{ "log-level", NULL, "error|warning|info|debug", T_ENUM, AT(log_level), "info", 0, 0,
	  "least important lines that are written to standard error" },
	{ "metrics", "ADDR:PORT", NULL, T_TEXT, AT(metrics), NULL, 0, 0,
	  "serve /metrics for Prometheus and a status page there by HTTP; port 0: any" },
	{ "metrics-host", "NAME,...", NULL, T_LIST, AT(metrics_host), NULL, 0, 0,
	  "names that a request may give as its Host besides addresses, localhost and this machine's" },
	{ "pool", "NAME", NULL, T_TEXT, AT(pool), "default", 0, 0,
	  "the name that the pool is registered under" },
	{ "size", "N", NULL, T_UINT, AT(size), "4", 1, CONFIG_SIZE_MAX,
	  "workers" },
	{ "python", "FILE", NULL, T_TEXT, AT(python), NULL, 0, 0,
	  "interpreter, 3.9 or later with msgpack; else the first one found that has it" },
	{ "pythonpath", "DIR:DIR", NULL, T_PATHS, AT(pythonpath), NULL, 0, 0,
	  "directories put in front of Python's sys.path" },
	{ "preload", "MODULE,...", NULL, T_LIST, AT(preload), NULL, 0, 0,
	  "modules imported once, before workers are forked" },
	{ "allow", "PATTERN,...", NULL, T_LIST, AT(allow), NULL, 0, 0,
	  "what may be called: modules (`math`), functions (`math.sqrt`), `my_app.*`; else everything" },
	{ "expose", "NAME=MODULE:ATTR", NULL, T_LIST, AT(expose), NULL, 0, 0,
	  "makes an object callable as module NAME; a class is instantiated once per worker" },
	{ "rpc", NULL, NULL, T_FLAG, AT(rpc), NULL, 0, 0,
	  "serve rpc and erpc of other nodes, under --allow as all calls" },
	{ "start-method", NULL, "fork|spawn", T_ENUM, AT(start_method), "fork", 0, 0,
	  "fork from a preloaded Python, or start each worker afresh" },
	{ "slots", "N", NULL, T_UINT, AT(slots), "1", 1, CONFIG_SLOTS_MAX,
	  "calls that a worker holds at once: async functions on its event loop, others on threads" },
	{ "abandon", NULL, "kill|interrupt|finish", T_ENUM, AT(abandon), "kill", 0, 0,
	  "what happens to a call whose caller is gone or whose time is up; with slots over 1 `interrupt` "
	  "is the default, and `kill` is refused" },
	{ "interrupt-grace", "ms", NULL, T_UINT, AT(interrupt_grace_ms), "1000", 1, DAY_MS,
	  "how long an interrupted call may take to end before its worker is killed" },
	{ "call-timeout", "ms", NULL, T_TIME, AT(call_timeout_ms), "60000", 1, 365 * DAY_MS,
	  "time from a request's arrival to its answer, unless it says otherwise" },
	{ "queue-timeout", "ms", NULL, T_TIME, AT(queue_timeout_ms), "infinity", 0, 365 * DAY_MS,
	  "time that a request may wait for a worker, unless it says otherwise" },
	{ "queue-limit", "N", NULL, T_UINT, AT(queue_limit), "10000", 0, 10000000,
	  "requests that may wait; the next one hears `overloaded` at once" },
	{ "queue-bytes", "bytes", NULL, T_UINT, AT(queue_bytes), "1073741824", 0, 1024 * GIB,
	  "payload that may wait; the next request hears `overloaded` at once" },
	{ "session-mode", NULL, "strict|hint|fail_fast", T_ENUM, AT(session_mode), "strict", 0, 0,
	  "what a call does whose session's worker is busy: wait for it, take another, or fail; unless "
	  "it says otherwise" },
	{ "session-ttl", "ms", NULL, T_TIME, AT(session_ttl_ms), "1800000", 1, 365 * DAY_MS,
	  "how long a session lasts that nobody uses" },
	{ "max-sessions", "N", NULL, T_UINT, AT(max_sessions), "10000", 0, 1000000,
	  "sessions at once; one more ends the one that was idle longest. 0: none are allowed" },
	{ "strings", NULL, "utf8|bytes", T_ENUM, AT(strings), "utf8", 0, 0,
	  "what a binary becomes in Python: `str` if it is UTF-8, or always `bytes`" },
	{ "max-depth", "N", NULL, T_UINT, AT(max_depth), "256", 1, 400,
	  "deepest nesting of arguments and results" },
	{ "max-request-bytes", "bytes", NULL, T_UINT, AT(max_request_bytes), "134217728", 1024, 2047 * MIB,
	  "longest request" },
	{ "max-result-bytes", "bytes", NULL, T_UINT, AT(max_result_bytes), "134217728", 1024, 2047 * MIB,
	  "longest result" },
	{ "start-timeout", "ms", NULL, T_UINT, AT(start_timeout_ms), "60000", 10, DAY_MS,
	  "time for a worker to start, imports included" },
	{ "stop-grace", "ms", NULL, T_UINT, AT(stop_grace_ms), "1000", 1, DAY_MS,
	  "between end of file, SIGTERM and SIGKILL when a worker is stopped" },
	{ "breaker-threshold", "N", NULL, T_UINT, AT(breaker_threshold), "5", 1, 1000,
	  "failed starts in a row that open the circuit" },
	{ "backoff-base", "ms", NULL, T_UINT, AT(backoff_base_ms), "100", 1, DAY_MS,
	  "wait after the first failed start; doubles with each further one" },
	{ "backoff-max", "ms", NULL, T_UINT, AT(backoff_max_ms), "30000", 1, DAY_MS,
	  "longest wait after a failed start" },
	{ "start-burst", "N", NULL, T_UINT, AT(start_burst), "256", 1, 100000,
	  "workers that may be started at once, whatever happens" },
	{ "starts-per-second", "N", NULL, T_UINT, AT(starts_per_second), "100", 1, 100000,
	  "workers that may be started in the long run, whatever happens" },
};
/* clang-format on */

#define OPTIONS (sizeof table / sizeof table[0])

const struct option *config_option(size_t index)
{
	return index < OPTIONS ? &table[index] : NULL;
}

static void *field(struct config *c, const struct option *o)
{
	return (char *)c + o->at;
}

/* Whether `arg` (without its dashes, `len` bytes) names the option; '_' is as good as '-'. */
static bool is_named(const struct option *o, const char *arg, size_t len)
{
	if (strlen(o->name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (o->name[i] != (arg[i] == '_' ? '-' : arg[i]))
			return false;
	return true;
}

static const struct option *find(const char *arg, size_t len)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (is_named(&table[i], arg, len))
			return &table[i];
	return NULL;
}

static int wrong(char *error, size_t size, const struct option *o, const char *found,
		 const char *expected)
{
	snprintf(error, size, "--%s: found \"%s\", expected %s", o->name, found, expected);
	return -EINVAL;
}

static int set_uint(const struct option *o, uint64_t *to, const char *value, char *error,
		    size_t size)
{
	char expected[96], *end;
	unsigned long long number;

	if (o->type == T_TIME && strcmp(value, "infinity") == 0) {
		*to = CONFIG_INFINITY;
		return 0;
	}
	errno = 0;
	number = strtoull(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < o->min ||
	    number > o->max) {
		snprintf(expected, sizeof expected, "an integer from %llu to %llu%s",
			 (unsigned long long)o->min, (unsigned long long)o->max,
			 o->type == T_TIME ? ", or infinity" : "");
		return wrong(error, size, o, value, expected);
	}
	*to = number;
	return 0;
}

static int set_enum(const struct option *o, uint64_t *to, const char *value, char *error,
		    size_t size)
{
	size_t len = strlen(value);
	const char *word = o->words;

	for (uint64_t i = 0; word != NULL; i++) {
		const char *end = strchr(word, '|');
		size_t word_len = end != NULL ? (size_t)(end - word) : strlen(word);

		if (word_len == len && memcmp(word, value, len) == 0) {
			*to = i;
			return 0;
		}
		word = end != NULL ? end + 1 : NULL;
	}
	return wrong(error, size, o, value, o->words);
}

static int add_items(const struct option *o, struct config_list *list, const char *value,
		     char *error, size_t size)
{
	char separator = o->type == T_PATHS ? ':' : ',';

	while (*value != '\0') {
		const char *end = strchr(value, separator);
		size_t len = end != NULL ? (size_t)(end - value) : strlen(value);
		struct config_expose parts;
		char *item;

		if (list->count == CONFIG_LIST_MAX)
			return wrong(error, size, o, value, "at most 64 items");
		if (len == 0)
			return wrong(error, size, o, value, "items that are not empty");
		if ((item = mem_dup(value, len)) == NULL)
			return -ENOMEM;
		list->item[list->count++] = item;
		if (o->at == AT(expose) && !config_split_expose(item, &parts))
			return wrong(error, size, o, item, "NAME=MODULE:ATTR");
		value += len + (end != NULL ? 1 : 0);
	}
	return 0;
}

static int set_text(char **to, const char *value)
{
	mem_free(*to);
	*to = mem_dup(value, strlen(value));
	return *to != NULL ? 0 : -ENOMEM;
}

static int set(struct config *c, const struct option *o, const char *value, char *error,
	       size_t size)
{
	switch (o->type) {
	case T_TEXT:
		if (value[0] == '\0')
			return wrong(error, size, o, value, o->unit);
		return set_text(field(c, o), value);
	case T_LIST:
	case T_PATHS:
		return add_items(o, field(c, o), value, error, size);
	case T_UINT:
	case T_TIME:
		return set_uint(o, field(c, o), value, error, size);
	case T_ENUM:
		return set_enum(o, field(c, o), value, error, size);
	case T_FLAG:
		*(uint64_t *)field(c, o) = 1;
		return 0;
	}
	return -EINVAL;
}

/* A killed worker takes along whatever else it holds. */
static int check_abandon(struct config *c, bool given, char *error, size_t size)
{
	enum { KILL, INTERRUPT }; /* the words in the table */

	if (c->slots == 1)
		return 0;
	if (!given)
		c->abandon = INTERRUPT;
	if (c->abandon != KILL)
		return 0;
	snprintf(error, size,
		 "--abandon: found \"kill\" with --slots %llu, expected interrupt|finish: a killed "
		 "worker would take its other calls along",
		 (unsigned long long)c->slots);
	return -EINVAL;
}

/* What concerns more than one option. */
static int check(const struct config *c, char *error, size_t size)
{
	static const char *const taken[] = { "krait", "rex", "net_kernel", "global_name_server" };
	const char *at = c->name != NULL ? strchr(c->name, '@') : NULL;
	char address[CONFIG_ADDRESS_MAX];
	uint16_t port;

	if (c->metrics != NULL && !config_split_address(c->metrics, address, &port)) {
		snprintf(error, size,
			 "--metrics: found \"%s\", expected ADDR:PORT, an IP address and a port",
			 c->metrics);
		return -EINVAL;
	}
	if ((c->name == NULL) == (c->sname == NULL)) {
		snprintf(error, size, "found %s, expected one of --name NAME@HOST and --sname NAME",
			 c->name == NULL ? "neither" : "both");
		return -EINVAL;
	}
	if (c->name != NULL &&
	    (at == NULL || at == c->name || at[1] == '\0' || strchr(at + 1, '@'))) {
		snprintf(error, size, "--name: found \"%s\", expected NAME@HOST", c->name);
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		if (strcmp(c->pool, taken[i]) == 0) {
			snprintf(error, size,
				 "--pool: found \"%s\", expected a name that the node does not "
				 "need for itself",
				 c->pool);
			return -EINVAL;
		}
	}
	return 0;
}

static int set_defaults(struct config *c, char *error, size_t size)
{
	int rc;

	*c = (struct config){ 0 };
	for (size_t i = 0; i < OPTIONS; i++)
		if (table[i].initial != NULL &&
		    (rc = set(c, &table[i], table[i].initial, error, size)) != 0)
			return rc;
	return 0;
}

static enum config_verdict verdict(int rc)
{
	return rc == 0 ? CONFIG_RUN : rc == -ENOMEM ? CONFIG_NO_MEMORY : CONFIG_WRONG;
}

enum config_verdict config_parse(struct config *c, int argc, char *const *argv, char *error,
				 size_t error_size)
{
	int rc = set_defaults(c, error, error_size);
	bool abandon_given = false;

	for (int i = 1; i < argc && rc == 0; i++) {
		const char *arg = argv[i], *value;
		const struct option *o;

		if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
			return CONFIG_HELP;
		if (strcmp(arg, "--help-markdown") == 0)
			return CONFIG_HELP_MARKDOWN;
		if (strcmp(arg, "--version") == 0)
			return CONFIG_VERSION;
		value = strchr(arg, '=');
		o = strncmp(arg, "--", 2) != 0
			    ? NULL
			    : find(arg + 2,
				   value != NULL ? (size_t)(value - arg) - 2 : strlen(arg) - 2);
		if (o == NULL) {
			snprintf(error, error_size, "found \"%s\", expected an option (see --help)",
				 arg);
			return CONFIG_WRONG;
		}
		if (o->type == T_FLAG) {
			value = "";
		} else if (value != NULL) {
			value++;
		} else if (++i < argc) {
			value = argv[i];
		} else {
			snprintf(error, error_size, "--%s: found nothing, expected a value",
				 o->name);
			return CONFIG_WRONG;
		}
		rc = set(c, o, value, error, error_size);
		abandon_given = abandon_given || o->at == AT(abandon);
	}
	if (rc == 0)
		rc = check(c, error, error_size);
	if (rc == 0)
		rc = check_abandon(c, abandon_given, error, error_size);
	return verdict(rc);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		if (table[i].type == T_TEXT) {
			mem_free(*(char **)field(c, &table[i]));
		} else if (table[i].type == T_LIST || table[i].type == T_PATHS) {
			struct config_list *list = field(c, &table[i]);

			for (uint64_t k = 0; k < list->count; k++)
				mem_free(list->item[k]);
		}
	}
	*c = (struct config){ 0 };
}
