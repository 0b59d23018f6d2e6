/* fuzz_config_file.c - a krait.conf.
 *
 * Input: byte 0 is which allocation of ours fails (from 128 on: none), then the text.
 *
 * A configuration, or one fault with its line; nothing leaks; nothing stays behind in libConfuse's lexer for
 * the next file; and what is printed of a configuration is a file that says the same. */
#include "fuzz.h"

#include "config_private.h"

#include <errno.h>

static void with_defaults(struct config *c)
{
	static char *argv[] = { (char *)"krait", (char *)"--name=a@b" };
	char error[256];

	MUST(config_parse(c, 2, argv, error, sizeof error) == CONFIG_RUN);
	config_pool_free(c->pool[--c->pools]); /* a file has its own */
}

static int parse(struct config *c, const void *text, size_t len, struct config_wrong *why)
{
	char *copy = malloc(len + 1);
	int rc;

	MUST(copy != NULL);
	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	rc = config_file_parse(c, copy, len, why);
	free(copy);
	return rc;
}

static void check_fault(const struct config *c, const struct config_wrong *why, const uint8_t *text,
			size_t len)
{
	char error[1024];
	unsigned lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	MUST(why->line >= 1 && why->line <= lines);
	MUST(why->expected[0] != '\0');
	config_say(c, why, error, sizeof error);
	MUST(strstr(error, "found ") != NULL && strstr(error, ", expected ") != NULL);
}

static void check_printed(struct config *c)
{
	struct config_wrong why = { 0 };
	struct buf out = { 0 };
	const struct option *o;
	struct config again;

	config_print(c, &out);
	MUST(out.err == 0);
	with_defaults(&again);
	config_clear(&again, NULL, config_find("name", 4));
	MUST(parse(&again, out.data, out.len, &why) == 0);
	MUST(again.pools == c->pools);
	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		if (o->scope == OF_NODE && config_in_files(o))
			MUST(config_same(o, config_field(c, NULL, o),
					 config_field(&again, NULL, o)));
		for (unsigned k = 0; k < c->pools && o->scope == OF_POOL; k++)
			MUST(config_same(o, config_field(NULL, c->pool[k], o),
					 config_field(NULL, again.pool[k], o)));
	}
	buf_free(&out);
	config_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char good[] = "node { port = 7 } pool a { size = 3 }\n";
	struct input in = { data, size };
	unsigned fail = next_u8(&in);
	struct config_wrong why = { 0 };
	struct config c;
	int rc;

	with_defaults(&c);
	mem_fail_after = fail < 128 ? (long)fail : -1;
	rc = parse(&c, in.at, in.left, &why);
	MUST(rc != -ENOMEM || fail < 128);
	mem_fail_after = -1;
	MUST(rc == 0 || rc == -ENOMEM || rc == -EINVAL);
	if (rc == -EINVAL)
		check_fault(&c, &why, in.at, in.left);
	if (rc == 0)
		check_printed(&c);
	config_free(&c);

	with_defaults(&c);
	MUST(parse(&c, good, sizeof good - 1, &why) == 0);
	MUST(c.port == 7 && c.pools == 1 && c.pool[0]->size == 3);
	config_free(&c);
	return 0;
}
