/* doctor.c - `krait doctor`: what is looked at, in which order; see doctor.h and doctor_private.h.
 *
 * From what everything else stands on to what stands on everything: versions, the configuration, the name, epmd,
 * the cookie, who has the name, ports, Python, limits, and a first call. One that fails does not keep the next
 * from being looked at, unless there is nothing to look at without it. */
#include "doctor_private.h"

#include "log.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_NAME "krait@127.0.0.1"

static const char usage[] =
	"usage: krait doctor [--json] [--no-call] [OPTION OF THE NODE...]\n\n"
	"Looks for what would keep a node with these options from serving, and says what it means "
	"and\n"
	"what to do. --no-call starts no node for a first call. Without --name: " DEFAULT_NAME
	".\n\n"
	"exit status: 0 nothing keeps the node from serving, 1 something does\n";

/* Takes our own options out; what is left, with a name if there is none, is the node's. NULL: no memory. */
static char **take_options(struct doctor *d, int *argc, char **argv, bool *help)
{
	char **rest = mem_zalloc(((size_t)*argc + 3) * sizeof *rest);
	int n = 0;

	for (int i = 0; rest != NULL && i < *argc; i++) {
		if (i > 0 && strcmp(argv[i], "--json") == 0)
			d->json = true;
		else if (i > 0 && strcmp(argv[i], "--no-call") == 0)
			d->no_call = true;
		else if (i > 0 && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0))
			*help = true;
		else
			rest[n++] = argv[i];
	}
	*argc = n;
	return rest;
}

/* The options, and the file that they name. False: they are wrong, which has been said. */
static bool read_config(struct doctor *d, int argc, char **argv)
{
	char error[1024];
	enum config_verdict v = config_parse(d->config, argc, argv, error, sizeof error);

	if (v == CONFIG_WRONG && strncmp(error, "found neither", 13) == 0) {
		config_free(d->config);
		argv[argc++] = (char *)"--name";
		argv[argc++] = (char *)DEFAULT_NAME;
		v = config_parse(d->config, argc, argv, error, sizeof error);
	}
	if (v == CONFIG_RUN) {
		doctor_say(d, FINE, "options", "they are understood", NULL, "%s%s%u pool%s",
			   d->config->file != NULL ? d->config->file : "",
			   d->config->file != NULL ? ": " : "", d->config->pools,
			   d->config->pools == 1 ? "" : "s");
		return true;
	}
	doctor_say(d, WRONG, "options", "the node ends at once, with status 2",
		   "krait --help, and for a file krait.conf(5) and `krait check FILE`", "%s",
		   v == CONFIG_WRONG       ? error
		   : v == CONFIG_NO_MEMORY ? "no memory"
					   : "this asks for a text, not for a node");
	return false;
}

int doctor_main(int argc, char **argv)
{
	struct config config = { 0 };
	struct doctor d = { .config = &config };
	bool help = false;
	char **rest = take_options(&d, &argc, argv, &help);

	if (rest == NULL)
		return 1;
	if (help) {
		fputs(usage, stdout);
		mem_free(rest);
		return 0;
	}
	doctor_begin(&d);
	doctor_versions(&d);
	if (read_config(&d, argc, rest)) {
		doctor_name(&d);
		doctor_epmd(&d);
		doctor_cookie(&d);
		doctor_registered(&d);
		doctor_ports(&d);
		doctor_python(&d);
		doctor_limits(&d);
		doctor_call(&d);
	}
	doctor_end(&d);
	mem_free(d.cookie);
	config_free(&config);
	mem_free(rest);
	return d.count[WRONG] > 0 ? 1 : 0;
}
