/* main.c - arguments, name, cookie, interpreter, limits; then the node. */
#include "buf.h"
#include "config.h"
#include "cookie.h"
#include "dist.h"
#include "doctor.h"
#include "guard.h"
#include "interpreter.h"
#include "log.h"
#include "mem.h"
#include "node.h"
#include "notify.h"
#include "start.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

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
	const char *why;
	char *cookie;
	int status;

	start_limits();
	if (!notify_init(&why))
		log_line(LOG_WARNING, "node", "$NOTIFY_SOCKET: %s; systemd hears nothing", why);
	if (c->stop_on_eof) /* we are a part of our supervisor's service, which speaks for itself */
		notify_close();
	if (start_name(c, name, sizeof name, text, sizeof text) != 0) {
		fprintf(stderr, "krait: %s\n", text);
		return NODE_EXIT_USAGE;
	}
	if ((cookie = cookie_read(c->cookie_file, text, sizeof text)) == NULL) {
		fprintf(stderr, "krait: cookie: %s\n", text);
		return NODE_EXIT_USAGE;
	}
	options.cookie = cookie;
	if (start_files(executable, script, sizeof script, text, sizeof text) != 0) {
		fprintf(stderr, "krait: %s\n", text);
		mem_free(cookie);
		return NODE_EXIT_FAILURE;
	}
	if ((status = find_interpreters(c)) == NODE_EXIT_OK)
		status = node_run(&options);
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
	if (argc >= 2 && strcmp(argv[1], "doctor") == 0)
		return doctor_main(argc - 1, argv + 1);
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
