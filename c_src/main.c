/* main.c - arguments, name, cookie, interpreter, limits; then the node. */
#include "buf.h"
#include "config.h"
#include "cookie.h"
#include "dist.h"
#include "guard.h"
#include "interpreter.h"
#include "log.h"
#include "mem.h"
#include "node.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int print(void (*write_text)(struct buf *))
{
	struct buf out = { 0 };

	write_text(&out);
	fwrite(out.data, 1, out.len, stdout);
	buf_free(&out);
	return NODE_EXIT_OK;
}

/* --print-config: what the node would run with. */
static int print_config(struct config *c)
{
	struct buf out = { 0 };

	config_print(c, &out);
	fwrite(out.data, 1, out.len, stdout);
	buf_free(&out);
	return NODE_EXIT_OK;
}

/* The full name: --name as it is; --sname with our short host name unless it names one. */
static int full_name(const struct config *c, char *name, size_t size)
{
	const char *given = c->name != NULL ? c->name : c->sname;
	char host[256] = "";
	int n;

	if (c->sname != NULL && strchr(given, '@') == NULL) {
		if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') {
			fprintf(stderr, "krait: --sname: this machine has no host name\n");
			return -EINVAL;
		}
		host[strcspn(host, ".")] = '\0';
		n = snprintf(name, size, "%s@%s", given, host);
	} else {
		n = snprintf(name, size, "%s", given);
	}
	if (n <= 0 || (size_t)n >= size || n > DIST_NAME_MAX) {
		fprintf(stderr, "krait: the node's name \"%s\" is longer than %d bytes\n", given,
			DIST_NAME_MAX);
		return -EINVAL;
	}
	return 0;
}

/* Our own path, and that of the Python package's start script: beside us, or in the source tree. */
static int find_files(char *executable, char *script, size_t size)
{
	static const char *const places[] = { "python", "../python", "../../python",
					      "../share/krait/python", "../lib/krait/python" };
	char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", executable, size - 1);

	if (n <= 0) {
		fprintf(stderr, "krait: cannot find my own path: %s\n", strerror(errno));
		return -ENOENT;
	}
	executable[n] = '\0';
	memcpy(dir, executable, (size_t)n + 1);
	dirname(dir);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (snprintf(script, size, "%s/%s/krait/_start.py", dir, places[i]) < (int)size &&
		    access(script, R_OK) == 0)
			return 0;
	fprintf(stderr,
		"krait: cannot find the Python package krait near %s (expected %s/python/krait)\n",
		executable, dir);
	return -ENOENT;
}

/* As many descriptors as we may have; a dead peer is an error, not a signal; orphans come to us. */
static void set_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* Each pool's interpreter. */
static int find_interpreters(struct config *c)
{
	char text[2048];

	for (unsigned i = 0; i < c->pools; i++) {
		struct config_pool *p = c->pool[i];

		p->interpreter = interpreter_find(p->python, text, sizeof text);
		if (p->interpreter == NULL) {
			fprintf(stderr, "krait: pool %s: %s\n", p->name, text);
			return NODE_EXIT_USAGE;
		}
		log_line(LOG_INFO, "python", "pool %s: %s", p->name, text);
	}
	return NODE_EXIT_OK;
}

static int run(struct config *c)
{
	char name[DIST_NAME_MAX + 2], executable[PATH_MAX], script[PATH_MAX], text[2048];
	struct node_options options = {
		.config = c, .name = name, .executable = executable, .script = script
	};
	char *cookie;
	int status;

	if (full_name(c, name, sizeof name) != 0)
		return NODE_EXIT_USAGE;
	if ((cookie = cookie_read(c->cookie_file, text, sizeof text)) == NULL) {
		fprintf(stderr, "krait: cookie: %s\n", text);
		return NODE_EXIT_USAGE;
	}
	options.cookie = cookie;
	if (find_files(executable, script, sizeof script) != 0) {
		mem_free(cookie);
		return NODE_EXIT_FAILURE;
	}
	if ((status = find_interpreters(c)) == NODE_EXIT_OK) {
		set_limits();
		status = node_run(&options);
	}
	mem_free(cookie);
	return status;
}

int main(int argc, char **argv)
{
	struct config config;
	char error[512];
	int status = NODE_EXIT_USAGE;

	if (argc == 3 && strcmp(argv[1], "--guard") == 0)
		return guard_main(argv[2]);
	switch (config_parse(&config, argc, argv, error, sizeof error)) {
	case CONFIG_HELP:
		status = print(config.help);
		break;
	case CONFIG_VERSION:
		printf("krait %s\n", KRAIT_VERSION);
		status = NODE_EXIT_OK;
		break;
	case CONFIG_PRINT:
		status = print_config(&config);
		break;
	case CONFIG_CHECK:
		puts(error);
		status = NODE_EXIT_OK;
		break;
	case CONFIG_RUN:
		log_set_level((enum log_level)config.log_level);
		log_set_format((enum log_format)config.log_format);
		status = run(&config);
		break;
	case CONFIG_NO_MEMORY:
		snprintf(error, sizeof error, "no memory");
		/* fall through */
	case CONFIG_WRONG:
		fprintf(stderr, "krait: %s\n", error);
		break;
	}
	config_free(&config);
	return status;
}
