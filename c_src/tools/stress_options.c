/* stress_options.c - the command line of krait_stress: one table, from which --help comes too. */
#include "stress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const mix_names[MIX_KINDS] = { "call",   "checkout", "cast", "junk",
					   "stream", "session",  "batch" };

enum type { T_TEXT, T_UINT, T_U64, T_REAL, T_PERCENT, T_RATE, T_FLAG, T_MIX, T_RANGE, T_NO_MEMORY };

static const struct option {
	const char *name, *value, *initial, *help;
	enum type type;
	size_t at;
	double min, max;
} table[] = {
#define AT(member) offsetof(struct options, member)
	{ "node", "NAME@HOST", NULL, "the node to stress; nobody else should use it meanwhile",
	  T_TEXT, AT(node), 0, 0 },
	{ "port", "N", "0", "its TCP port; 0: epmd is asked", T_UINT, AT(port), 0, 65535 },
	{ "host", "ADDR", NULL, "its IP address; else HOST if that is one, else 127.0.0.1", T_TEXT,
	  AT(host), 0, 0 },
	{ "pool", "NAME", "default", "the pool's registered name", T_TEXT, AT(pool), 0, 0 },
	{ "cookie-file", "FILE", NULL,
	  "else $KRAIT_COOKIE, else ~/.erlang.cookie; --spawn makes its own", T_TEXT,
	  AT(cookie_file), 0, 0 },
	{ "allow-remote", "", NULL, "stress a node that is not on loopback", T_FLAG,
	  AT(allow_remote), 0, 0 },
	{ "spawn", "", NULL,
	  "start a node for this run and stop it; what follows `--` are options for it", T_FLAG,
	  AT(spawn), 0, 0 },
	{ "krait", "FILE", NULL, "--spawn: the node's program; else the one beside this one",
	  T_TEXT, AT(krait), 0, 0 },
	{ "size", "N", "4", "--spawn: workers", T_UINT, AT(size), 1, 1024 },
	{ "log", "FILE", NULL,
	  "--spawn: where the node's log goes; else a file in /tmp, kept on failure", T_TEXT,
	  AT(log), 0, 0 },
	{ "peers", "N", "8", "simulated BEAM nodes", T_UINT, AT(peers), 1, 1000 },
	{ "callers", "N", "500", "processes in all; each does one thing at a time", T_UINT,
	  AT(callers), 1, 200000 },
	{ "seconds", "S", "30", "how long they ask", T_REAL, AT(seconds), 0.1, 864000 },
	{ "mix", "KIND=N,...", "call=70,checkout=20,cast=5,junk=5",
	  "what they do, in shares; also stream, session, batch (see below)", T_MIX, 0, 0, 0 },
	{ "sessions", "N", "64", "sessions at a time, when --mix has any", T_UINT, AT(sessions), 1,
	  4096 },
	{ "payload", "MIN..MAX", "16..65536",
	  "bytes of a call's argument; small ones are more frequent", T_RANGE, 0, 0, 0 },
	{ "kill", "PCT", "10", "requests in which the caller dies at some moment", T_PERCENT,
	  AT(kill), 0, 100 },
	{ "giveup", "PCT", "10", "requests that the caller gives up at some moment", T_PERCENT,
	  AT(giveup), 0, 100 },
	{ "workers-killed", "R/s", "0", "workers killed with SIGKILL, by their os_pid", T_RATE,
	  AT(workers_killed), 0, 1000 },
	{ "operate", "R/s", "0",
	  "what operators do meanwhile: resize, reload, recycle, pause and resume", T_RATE,
	  AT(operate), 0, 1000 },
	{ "peer-drops", "R/s", "0", "peers that vanish (close, reset, silence) and come back",
	  T_RATE, AT(peer_drops), 0, 1000 },
	{ "slow", "PCT", "2", "calls that sleep for 1 to 20 ms", T_PERCENT, AT(slow), 0, 100 },
	{ "brief", "PCT", "3", "calls with a time-out of 1 to 100 ms", T_PERCENT, AT(brief), 0,
	  100 },
	{ "stuck", "PCT", "0.5",
	  "calls that would sleep for an hour: cut by time-out, give-up or death. 0 for "
	  "pools with abandon=finish",
	  T_PERCENT, AT(stuck), 0, 100 },
	{ "think", "MS", "5", "longest pause of a caller between two requests", T_U64, AT(think_ms),
	  0, 3600000 },
	{ "timeout", "MS", "30000", "time-out of ordinary requests; none may ever need it", T_U64,
	  AT(timeout_ms), 1000, 3600000 },
	{ "slack", "MS", "3000", "how much later than its deadline an answer may come", T_U64,
	  AT(slack_ms), 10, 600000 },
	{ "net-ticktime", "S", "0", "of the node; 0: 60, with --spawn 8, which is told to the node",
	  T_UINT, AT(net_ticktime_s), 0, 86400 },
	{ "hostile", "", NULL,
	  "also what no BEAM sends: frames that are cut, wrong cookies, wrong lengths", T_FLAG,
	  AT(hostile), 0, 0 },
	{ "warmup", "MS", "0", "memory is looked at after that; 0: a quarter of the run", T_U64,
	  AT(warmup_ms), 0, 864000000 },
	{ "max-slope", "KiB/min", "1024", "memory may grow by so much (see below)", T_REAL,
	  AT(slope_limit), 0, 1e9 },
	{ "no-memory", "", NULL, "do not judge memory (a sanitizer's node)", T_NO_MEMORY,
	  AT(memory), 0, 0 },
	{ "seed", "N", "0", "of all that is random here; 0: from the clock", T_U64, AT(seed), 0,
	  1.8e19 },
	{ "json", "", NULL, "the report as one JSON object on stdout", T_FLAG, AT(json), 0, 0 },
	{ "quiet", "", NULL, "no progress", T_FLAG, AT(quiet), 0, 0 },
};

#define OPTIONS (sizeof table / sizeof *table)

static const char head[] = "usage: krait_stress --node NAME@HOST [OPTION...]\n"
			   "       krait_stress --spawn [OPTION...] [-- OPTION OF THE NODE...]\n\n"
			   "Plays many BEAM nodes whose processes call, check out, cast, send "
			   "junk, give up and die, against a\n"
			   "running node, and keeps books: every request of a living caller is "
			   "answered exactly once, in time,\n"
			   "with its own nonce; nothing arrives that nobody asked for; afterwards "
			   "nothing is held or lost.\n\n";

static const char tail[] =
	"  --help\n\n"
	"Checked at the end, with all callers gone: all workers idle, nothing queued, no lease, "
	"monitors as\n"
	"before, received = answered + abandoned, descriptors as before. Memory: after the warm-up "
	"the "
	"node's\n"
	"VmRSS is sampled every 250 ms and fitted by least squares; the run fails when the slope, "
	"less "
	"twice\n"
	"its standard error, is over --max-slope and the fit has grown by more than 4 MiB.\n\n"
	"stream, session and batch need krait_stress_py.py (python/tests) on the workers' "
	"PYTHONPATH; "
	"--spawn\n"
	"looks for it beside and above this program. Streams: the next item and no other, none "
	"that "
	"was not\n"
	"asked for, one end; at the end every worker has closed all generators that it has opened. "
	"Sessions:\n"
	"each answer says how many calls its session has seen, which must be what the books say, "
	"or "
	"session_lost\n"
	"was told in between; at the end `sessions` is what the books say, and 0 when all are "
	"ended.\n\n"
	"A worker is killed only when /proc shows it to be a descendant of the node.\n\n"
	"exit status: 0 every check held, 1 one did not, 2 wrong usage, 3 the run could not be "
	"made\n";

static int wrong(const struct option *o, const char *found, const char *expected)
{
	fprintf(stderr, "krait_stress: --%s: found \"%s\", expected %s\n", o->name, found,
		expected);
	return 2;
}

static int set_number(struct options *o, const struct option *row, const char *text)
{
	void *at = (char *)o + row->at;
	char expected[96], *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (row->type == T_PERCENT && strcmp(end, "%") == 0)
		end++;
	if (row->type == T_RATE && strcmp(end, "/s") == 0)
		end += 2;
	if (end == text || *end != '\0' || errno != 0 ||
	    !(value >= row->min && value <= row->max)) {
		snprintf(expected, sizeof expected, "a number from %g to %g", row->min, row->max);
		return wrong(row, text, expected);
	}
	if (row->type == T_UINT)
		*(unsigned *)at = (unsigned)value;
	else if (row->type == T_U64)
		*(uint64_t *)at = strtoull(text, NULL, 10);
	else
		*(double *)at = value;
	return 0;
}

static int set_mix(struct options *o, const struct option *row, const char *text)
{
	unsigned mix[MIX_KINDS] = { 0 }, sum = 0;

	for (const char *p = text; *p != '\0';) {
		const char *equals = strchr(p, '=');
		char *end = NULL;
		int kind = -1;

		for (int i = 0; equals != NULL && i < MIX_KINDS; i++)
			if (strlen(mix_names[i]) == (size_t)(equals - p) &&
			    memcmp(p, mix_names[i], (size_t)(equals - p)) == 0)
				kind = i;
		if (kind >= 0)
			mix[kind] = (unsigned)strtoul(equals + 1, &end, 10);
		if (kind < 0 || end == equals + 1 || (*end != ',' && *end != '\0') ||
		    mix[kind] > 10000)
			return wrong(
				row, text,
				"shares of call, checkout, cast, junk, stream, session, batch, as "
				"call=70,junk=5");
		p = *end == ',' ? end + 1 : end;
	}
	for (unsigned i = 0; i < MIX_KINDS; i++)
		sum += mix[i];
	if (sum == 0)
		return wrong(row, text, "at least one share that is not 0");
	memcpy(o->mix, mix, sizeof mix);
	o->mix_sum = sum;
	return 0;
}

static int set_range(struct options *o, const struct option *row, const char *text)
{
	unsigned long long min, max;
	int used = 0;

	if (sscanf(text, "%llu..%llu%n", &min, &max, &used) != 2 || text[used] != '\0' ||
	    min > max || max > 64u << 20)
		return wrong(row, text, "MIN..MAX, at most 67108864");
	o->payload_min = min;
	o->payload_max = max;
	return 0;
}

static int set(struct options *o, const struct option *row, const char *text)
{
	switch (row->type) {
	case T_TEXT:
		*(const char **)(void *)((char *)o + row->at) = text;
		return 0;
	case T_FLAG:
		*(bool *)(void *)((char *)o + row->at) = true;
		return 0;
	case T_NO_MEMORY:
		o->memory = false;
		return 0;
	case T_MIX:
		return set_mix(o, row, text);
	case T_RANGE:
		return set_range(o, row, text);
	default:
		return set_number(o, row, text);
	}
}

static void help(void)
{
	fputs(head, stdout);
	for (size_t i = 0; i < OPTIONS; i++) {
		char name[64];

		snprintf(name, sizeof name, "--%s %s", table[i].name, table[i].value);
		printf("  %-26s %s%s%s%s\n", name, table[i].help,
		       table[i].initial != NULL ? " [" : "",
		       table[i].initial != NULL ? table[i].initial : "",
		       table[i].initial != NULL ? "]" : "");
	}
	fputs(tail, stdout);
}

static int check_all(struct options *o)
{
	const char *at = o->node != NULL ? strchr(o->node, '@') : NULL;

	if (!o->spawn &&
	    (at == NULL || at == o->node || at[1] == '\0' || strlen(o->node) > WIRE_NAME_MAX)) {
		fprintf(stderr,
			"krait_stress: found %s, expected --node NAME@HOST or --spawn (see "
			"--help)\n",
			o->node != NULL ? o->node : "no node");
		return 2;
	}
	if (o->spawn && (o->node != NULL || o->port != 0)) {
		fprintf(stderr, "krait_stress: --spawn makes its own node: --node and --port are "
				"for others\n");
		return 2;
	}
	if (!o->spawn && o->node_args != NULL) {
		fprintf(stderr, "krait_stress: options after `--` are for a node of --spawn\n");
		return 2;
	}
	if (o->kill + o->giveup > 100) {
		fprintf(stderr,
			"krait_stress: --kill and --giveup are more than 100 %% together\n");
		return 2;
	}
	if (o->net_ticktime_s == 0)
		o->net_ticktime_s = o->spawn ? 8 : 60;
	if (o->warmup_ms == 0)
		o->warmup_ms = (uint64_t)(o->seconds * 250);
	return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
	int rc;

	*o = (struct options){ .memory = true };
	for (size_t i = 0; i < OPTIONS; i++)
		if (table[i].initial != NULL && (rc = set(o, &table[i], table[i].initial)) != 0)
			return rc;
	for (int i = 1; i < argc; i++) {
		const struct option *row = NULL;
		const char *value = strchr(argv[i], '=');
		size_t len = value != NULL ? (size_t)(value - argv[i]) : strlen(argv[i]);

		if (strcmp(argv[i], "--") == 0) {
			o->node_args = argv + i + 1;
			break;
		}
		if (strcmp(argv[i], "--help") == 0) {
			help();
			return 1;
		}
		for (size_t k = 0; k < OPTIONS; k++)
			if (len > 2 && strlen(table[k].name) == len - 2 &&
			    strncmp(argv[i], "--", 2) == 0 &&
			    memcmp(table[k].name, argv[i] + 2, len - 2) == 0)
				row = &table[k];
		if (row == NULL) {
			fprintf(stderr,
				"krait_stress: found \"%s\", expected an option (see --help)\n",
				argv[i]);
			return 2;
		}
		if (row->type == T_FLAG || row->type == T_NO_MEMORY)
			value = "";
		else if (value != NULL)
			value++;
		else if (++i < argc)
			value = argv[i];
		else
			return wrong(row, "nothing", row->value);
		if ((rc = set(o, row, value)) != 0)
			return rc;
	}
	return check_all(o);
}
