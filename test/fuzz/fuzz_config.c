/* fuzz_config.c - a command line.
 *
 * Input: byte 0 is how much room there is for the error's text, byte 1 which allocation fails (from 128 on:
 * none). Then the arguments, a NUL between them.
 *
 * A configuration within its bounds, or one line that says what was wrong; nothing leaks whatever happens;
 * the names that are allowed can be asked for. */
#include "fuzz.h"

#include "config.h"

#define ARGS_MAX 64

static void look_at_pool(const struct config_pool *c)
{
	const struct config_list *lists[] = { &c->pythonpath, &c->preload, &c->allow, &c->expose, &c->env };
	struct config_expose parts;

	MUST(c->name != NULL && c->name[0] != '\0' && strcmp(c->name, "krait") != 0);
	MUST(c->size >= 1 && c->size <= c->size_max && c->size_max <= 1024);
	MUST(c->start_method <= START_SPAWN && c->abandon <= 2);
	MUST(c->strings <= STRINGS_BYTES && c->max_depth >= 1 && c->max_depth <= 400);
	MUST(c->max_request_bytes <= INT32_MAX && c->max_result_bytes <= INT32_MAX);
	MUST(c->call_timeout_ms >= 1 && c->breaker_threshold >= 1 && c->start_burst >= 1);
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		MUST(lists[i]->count <= CONFIG_LIST_MAX);
		for (uint64_t k = 0; k < lists[i]->count; k++)
			MUST(lists[i]->item[k][0] != '\0');
	}
	for (uint64_t k = 0; k < c->expose.count; k++) {
		MUST(config_split_expose(c->expose.item[k], &parts));
		MUST(config_allows(c, parts.name, parts.name_len, "f", 1) ==
		     (parts.name[0] != '_' && !memmem(parts.name, parts.name_len, "._", 2)));
	}
	for (uint64_t k = 0; k < c->allow.count; k++) {
		const char *pattern = c->allow.item[k];
		size_t len = strlen(pattern);

		/* a pattern matches itself; underscored names are never callable */
		if (pattern[0] != '_' && strstr(pattern, "._") == NULL)
			MUST(config_allows(c, pattern, len, "f", 1) || len > 1000);
		MUST(!config_allows(c, pattern, len, "_f", 2));
		MUST(!config_allows(c, pattern, len, "f._g", 4));
	}
}

static void look(const struct config *c)
{
	MUST((c->name != NULL) != (c->sname != NULL));
	MUST(c->name == NULL || strchr(c->name, '@') != NULL);
	MUST(c->listen != NULL && c->listen[0] != '\0' && c->port <= 65535);
	MUST(c->net_ticktime_s >= 1 && c->net_ticktime_s <= 86400);
	MUST(c->handshake_timeout_ms >= 10 && c->max_peers >= 1 && c->stop_on_eof <= 1);
	MUST(c->log_level < LOG_LEVELS && c->pools >= 1 && c->pools <= CONFIG_POOLS_MAX);
	for (unsigned i = 0; i < c->pools; i++)
		look_at_pool(c->pool[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	size_t error_size = 1 + next_u8(&in);
	unsigned fail = next_u8(&in);
	char *error = malloc(error_size), *argv[ARGS_MAX + 1], name[] = "krait";
	enum config_verdict verdict;
	struct config c;
	int argc = 1;

	MUST(error != NULL);
	error[0] = '\0';
	argv[0] = name;
	while (in.left > 0 && argc < ARGS_MAX) {
		const uint8_t *nul = memchr(in.at, 0, in.left);
		struct span arg = next_span(&in, nul != NULL ? (size_t)(nul - in.at) : in.left);

		argv[argc] = malloc(arg.len + 1);
		MUST(argv[argc] != NULL);
		memcpy(argv[argc], arg.at, arg.len);
		argv[argc++][arg.len] = '\0';
		(void)next_u8(&in);
	}
	argv[argc] = NULL;
	mem_fail_after = fail < 128 ? (long)fail : -1;
	verdict = config_parse(&c, argc, argv, error, error_size);
	MUST(verdict != CONFIG_NO_MEMORY || mem_fail_after == -1);
	MUST(verdict != CONFIG_NO_MEMORY || fail < 128);
	mem_fail_after = -1;
	MUST(verdict <= CONFIG_NO_MEMORY);
	MUST(strnlen(error, error_size) < error_size);
	MUST(verdict != CONFIG_WRONG || error_size == 1 || error[0] != '\0');
	if (verdict == CONFIG_RUN)
		look(&c);
	config_free(&c);
	for (int i = 1; i < argc; i++)
		free(argv[i]);
	free(error);
	return 0;
}
