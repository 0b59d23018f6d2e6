/* config.h - every option of the node in one table: name, type, unit, default, bounds, help.
 *
 * The command line is read from the table, and `--help`, the README's table and the error messages are
 * written from it. An option is the node's or a pool's, and the table says whether it can change while the
 * node runs: at once, by replacing workers, or not. A wrong value is refused with what was found and
 * what was expected. `--call-timeout` and `--call_timeout` are the same option. The only file that is
 * opened here is that of `--config`: docs/configuration.md. */
#ifndef KRAIT_CONFIG_H
#define KRAIT_CONFIG_H

#include "buf.h"
#include "log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_LIST_MAX  64
#define CONFIG_SLOTS_MAX 64
#define CONFIG_AHEAD_MAX 16 /* requests sent ahead to one worker */
#define CONFIG_SIZE_MAX  1024
#define CONFIG_INFINITY  UINT64_MAX /* of a time in milliseconds */

#define CONFIG_POOLS_MAX     64
#define CONFIG_POOL_NAME_MAX 255           /* bytes of an atom */
#define CONFIG_OPTIONS_MAX   96            /* rows of the table */
#define CONFIG_FILE_MAX      (1024 * 1024) /* bytes of a file */

/* A list of texts, owned by the config. */
struct config_list {
	char *item[CONFIG_LIST_MAX];
	uint64_t count;
};

enum start_method { START_FORK, START_SPAWN };
enum config_strings { STRINGS_UTF8, STRINGS_BYTES };

/* Where a value comes from; a later one is over an earlier one. */
enum config_source { FROM_TABLE, FROM_FILE, FROM_COMMAND_LINE, FROM_REQUEST };

/* What one pool is told. Enumerations and flags are uint64_t, so that the table needs one way to store
 * them. */
struct config_pool {
	char *name;
	uint64_t size, size_max; /* equal, or a range; side by side */
	uint64_t grow_after_ms, idle_ttl_ms;
	uint64_t order;    /* enum pool_order, in the order of the words in the table */
	char *python;      /* NULL: found */
	char *interpreter; /* which was found (interpreter.h), by who starts the pool; owned */
	struct config_list pythonpath, preload, allow, expose, env;
	uint64_t rpc;          /* a flag */
	uint64_t start_method; /* enum start_method */
	uint64_t slots;
	uint64_t ahead;
	uint64_t abandon;      /* enum pool_abandon, likewise */
	uint64_t session_mode; /* enum pool_session_mode, likewise */
	uint64_t session_ttl_ms, max_sessions;
	uint64_t strings; /* enum config_strings */
	uint64_t call_timeout_ms, queue_timeout_ms, interrupt_grace_ms, start_timeout_ms,
		stop_grace_ms;
	uint64_t queue_limit, queue_bytes;
	uint64_t max_depth, max_request_bytes, max_result_bytes;
	uint64_t breaker_threshold, backoff_base_ms, backoff_max_ms, start_burst, starts_per_second;
	/* health; 0 or CONFIG_INFINITY: never */
	uint64_t health_interval_ms, health_timeout_ms;
	uint64_t max_calls, max_age_ms, max_rss, recycle_jitter; /* jitter in percent */
	/* what its processes may have */
	char *cwd;              /* NULL: the node's */
	uint64_t threads;       /* of numerical libraries; 0: not told */
	uint64_t nice;          /* 0 to 19, added to the node's */
	uint64_t oom_score_adj; /* 0 to 1000 */
	uint64_t rlimit_as, rlimit_cpu_s, rlimit_nofile,
		rlimit_core; /* CONFIG_INFINITY: the node's */
	uint64_t memory_max,
		cpu_max;   /* of a worker's cgroup: bytes, percent of one core; 0: none */
	uint64_t log_rate; /* lines per second that a worker may print */
	uint8_t source[CONFIG_OPTIONS_MAX]; /* enum config_source, by row */
	unsigned line[CONFIG_OPTIONS_MAX];  /* of the file, by row; 0: not from there */
};

/* What the node is told. */
struct config {
	char *file;        /* --config, or NULL */
	char *name;        /* --name, full, or NULL */
	char *sname;       /* --sname, or NULL */
	char *cookie_file; /* NULL: $KRAIT_COOKIE, then ~/.erlang.cookie */
	char *listen;
	uint64_t port;
	uint64_t net_ticktime_s;
	uint64_t handshake_timeout_ms;
	uint64_t max_peers;
	uint64_t max_output_bytes;
	uint64_t stop_timeout_ms;
	uint64_t stop_on_eof;
	uint64_t busy_poll_us;
	uint64_t log_level;  /* enum log_level */
	uint64_t log_format; /* enum log_format */
	char *metrics;       /* ADDR:PORT, or NULL */
	struct config_list metrics_host;
	struct config_list admin, watch, admin_users; /* patterns of peers' names; local users */
	struct config_pool *pool[CONFIG_POOLS_MAX];   /* at least one; owned */
	unsigned pools;
	uint8_t source[CONFIG_OPTIONS_MAX]; /* of the node's, as above */
	unsigned line[CONFIG_OPTIONS_MAX];  /* likewise */
	bool name_may_lack;                 /* the file is looked at by itself */
	int argc;                           /* what it was read from; not owned */
	char *const *argv;
	void (*help)(struct buf *out); /* CONFIG_HELP: what was asked for */
};

enum config_verdict {
	CONFIG_RUN,
	CONFIG_HELP,    /* --help and its like; `help` writes what was asked for */
	CONFIG_VERSION, /* --version */
	CONFIG_PRINT,   /* --print-config: to be given to config_print() */
	CONFIG_CHECK,   /* check FILE: it is good; `error` says what is in it */
	CONFIG_WRONG,   /* `error` says what was found and expected */
	CONFIG_NO_MEMORY
};

/* Sets the defaults, then reads the file that the arguments name, if any, then the arguments (argv[0] is
 * skipped). `error` gets one line of text. The config must be given to config_free() whatever is returned;
 * `argv` must outlive it. */
enum config_verdict config_parse(struct config *c, int argc, char *const *argv, char *error,
				 size_t error_size);
void config_free(struct config *c);
void config_pool_free(
	struct config_pool *pool); /* of one that was taken out of `pool`; NULL: nothing */

/* Appends the whole configuration as a file that says the same. */
void config_print(struct config *c, struct buf *out);

/* Each appends a text written from the table of options: the usage, the README's table in Markdown, the
 * options of the two manual pages in roff, lines for shell completion, the example of a krait.conf. */
void config_help(struct buf *out);
void config_help_markdown(struct buf *out);
void config_help_man(struct buf *out);
void config_help_man_conf(struct buf *out);
void config_help_words(struct buf *out);
void config_help_conf(struct buf *out);

/* Splits an item of `expose` (NAME=MODULE:ATTR) into its three parts, which point into it (they are
 * not NUL-terminated). False when it has another form. */
struct config_expose {
	const char *name, *module, *attr;
	size_t name_len, module_len, attr_len;
};
bool config_split_expose(const char *item, struct config_expose *out);

/* Whether the text matches the pattern, in which '*' stands for any text. */
bool config_matches(const char *pattern, const char *text, size_t len);
/* Splits ADDR:PORT ([ADDR]:PORT for IPv6, or PORT alone for 127.0.0.1) into an IP address and a port.
 * False when it has another form. */
#define CONFIG_ADDRESS_MAX 46
bool config_split_address(const char *text, char address[CONFIG_ADDRESS_MAX], uint16_t *port);

/* Whether a function may be called, by name alone: no segment begins with an underscore, and the list
 * `allow` is empty or has a pattern for the module or for module.function, or the module is the name
 * of an exposed object. `*` in a pattern stands for any text, dots included. */
bool config_allows(const struct config_pool *c, const char *module, size_t module_len,
		   const char *function, size_t function_len);

#endif
