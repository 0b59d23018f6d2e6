/* stress_options.h - the command line of krait_stress. */
#ifndef KRAIT_STRESS_OPTIONS_H
#define KRAIT_STRESS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mix {
	MIX_CALL,
	MIX_CHECKOUT,
	MIX_CAST,
	MIX_JUNK,
	MIX_STREAM,
	MIX_SESSION,
	MIX_BATCH,
	MIX_KINDS
};
extern const char *const mix_names[MIX_KINDS];

struct options {
	const char *node, *host, *pool, *cookie_file, *krait, *log;
	unsigned port, peers, callers, size, sessions, net_ticktime_s;
	double seconds, kill, giveup, slow, brief, stuck, workers_killed, peer_drops, operate, slope_limit;
	unsigned mix[MIX_KINDS], mix_sum;
	size_t payload_min, payload_max;
	uint64_t seed, timeout_ms, slack_ms, think_ms, warmup_ms;
	bool spawn, json, quiet, hostile, allow_remote, memory;
	char **node_args; /* after `--`; NULL-terminated */
};

/* Reads the command line. 0: go on; 1: --help was printed; 2: wrong, said on stderr. */
int options_parse(struct options *o, int argc, char **argv);

#endif
