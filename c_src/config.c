/* config.c - the reading of a command line, and of the file that it names; see config.h.
 *
 * First the defaults, then the file, then the command line, each over what was there. Without a file the
 * options in front of the first `--pool` are the first pool's; with one they are for every pool. */
#include "config_private.h"

#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

const struct option *config_find(const char *name, size_t len)
{
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		if (is_named(o, name, len))
			return o;
	return NULL;
}

/* Those of one scope. */
static int set_defaults(struct config *c, struct config_pool *pool, enum scope scope)
{
	struct config_wrong why; /* the table's own values are right */
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		if (o->scope == scope && o->initial != NULL &&
		    config_set(c, pool, o, o->initial, FROM_TABLE, &why) != 0)
			return -ENOMEM;
	return 0;
}

int config_wrong_twice(struct config_wrong *why, const char *name)
{
	char found[sizeof why->found];

	snprintf(found, sizeof found, "\"%.*s\" twice", (int)sizeof found - 9, name);
	return config_wrong_as(why, config_pool_name(), found, "different names");
}

int config_add_pool(struct config *c, const char *name, enum config_source source,
		    struct config_wrong *why)
{
	struct config_pool *pool;
	char most[48];

	if (c->pools == CONFIG_POOLS_MAX) {
		snprintf(most, sizeof most, "at most %d pools", CONFIG_POOLS_MAX);
		return config_wrong(why, config_pool_name(), name, most);
	}
	if ((pool = mem_zalloc(sizeof *pool)) == NULL)
		return -ENOMEM;
	c->pool[c->pools++] = pool;
	if (set_defaults(c, pool, OF_POOL) != 0)
		return -ENOMEM;
	return name == NULL ? 0 : config_set(c, pool, config_pool_name(), name, source, why);
}

struct config_pool *config_pool_named(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->pools; i++)
		if (strcmp(c->pool[i]->name, name) == 0)
			return c->pool[i];
	return NULL;
}

#define PRINT_CONFIG "--print-config"

/* The arguments, one by one. */
struct args {
	char *const *argv;
	int argc, next;
};

/* The next option and its value. 0 with `o` NULL at the end; else -EINVAL, and `why` has no option where the
 * argument names none. */
static int next_option(struct args *a, const struct option **o, const char **value,
		       struct config_wrong *why)
{
	const char *arg, *equals;

	*o = NULL;
	*value = "";
	while (a->next < a->argc && strcmp(a->argv[a->next], PRINT_CONFIG) == 0)
		a->next++;
	if (a->next >= a->argc)
		return 0;
	arg = a->argv[a->next++];
	equals = strchr(arg, '=');
	if (strncmp(arg, "--", 2) == 0)
		*o = config_find(arg + 2,
				 equals != NULL ? (size_t)(equals - arg) - 2 : strlen(arg) - 2);
	if (*o == NULL)
		return config_wrong(why, NULL, arg, "an option (see --help)");
	if (equals != NULL)
		*value = equals + 1;
	else if ((*o)->type == T_FLAG)
		*value = "true";
	else if (a->next < a->argc)
		*value = a->argv[a->next++];
	else
		return config_wrong_as(why, *o, "nothing", "a value");
	return 0;
}

/* One of the two names given here is the one that counts, whichever a file gives. */
static void forget_other_name(struct config *c, const struct option *o)
{
	const char *other = strcmp(o->name, "name") == 0    ? "sname"
			    : strcmp(o->name, "sname") == 0 ? "name"
							    : NULL;
	const struct option *p = other != NULL ? config_find(other, strlen(other)) : NULL;

	if (p != NULL && *config_source(c, NULL, p) == FROM_FILE)
		config_clear(c, NULL, p);
}

/* The pools that the command line names are there after this; where a file or nobody has named one, there
 * is `default`. */
static int make_pools(struct config *c, struct args a, struct config_wrong *why)
{
	const struct option *o;
	const char *value;
	int rc;

	while ((rc = next_option(&a, &o, &value, why)) == 0 && o != NULL) {
		struct config_pool *pool;

		if (o != config_pool_name())
			continue;
		pool = config_pool_named(c, value);
		if (pool == NULL)
			rc = config_add_pool(c, value, FROM_COMMAND_LINE, why);
		else if (*config_source(c, pool, o) == FROM_COMMAND_LINE)
			rc = config_wrong_twice(why, value);
		else
			*config_source(c, pool, o) = FROM_COMMAND_LINE;
		if (rc != 0)
			return rc;
	}
	return rc == 0 && c->pools == 0 ? config_add_pool(c, NULL, FROM_TABLE, why) : rc;
}

/* The options, each where it belongs. */
static int set_options(struct config *c, struct args a, struct config_wrong *why)
{
	struct config_pool *pool = NULL; /* all of them, or the first where there is no file */
	const struct option *o;
	const char *value;
	int rc;

	while ((rc = next_option(&a, &o, &value, why)) == 0 && o != NULL) {
		if (o == config_pool_name()) {
			pool = config_pool_named(c, value);
		} else if (o->scope == OF_NODE) {
			forget_other_name(c, o);
			rc = config_set(c, NULL, o, value, FROM_COMMAND_LINE, why);
		} else if (pool != NULL || c->file == NULL) {
			rc = config_set(c, pool != NULL ? pool : c->pool[0], o, value,
					FROM_COMMAND_LINE, why);
		} else {
			for (unsigned i = 0; i < c->pools && rc == 0; i++)
				rc = config_set(c, c->pool[i], o, value, FROM_COMMAND_LINE, why);
		}
		if (rc != 0)
			return rc;
	}
	return rc;
}

/* The file that the arguments name; the last one counts. */
static int read_file(struct config *c, struct args a, struct config_wrong *why)
{
	const struct option *o;
	const char *value;
	int rc;

	while ((rc = next_option(&a, &o, &value, why)) == 0 && o != NULL) {
		if (o->scope != OF_NODE || config_field(c, NULL, o) != (void *)&c->file)
			continue;
		if ((rc = config_set(c, NULL, o, value, FROM_COMMAND_LINE, why)) != 0)
			return rc;
	}
	return rc == 0 && c->file != NULL ? config_file_read(c, c->file, why) : rc;
}

/* Whether the arguments ask for nothing but a text. */
static enum config_verdict asks_for_text(struct config *c, int argc, char *const *argv)
{
	enum config_verdict wanted = CONFIG_RUN;

	if (argc == 3 && strcmp(argv[1], "check") == 0 && argv[2][0] != '-')
		return CONFIG_CHECK;
	for (int i = 1; i < argc; i++) {
		if ((c->help = config_help_of(argv[i])) != NULL)
			return CONFIG_HELP;
		if (strcmp(argv[i], "--version") == 0)
			return CONFIG_VERSION;
		if (strcmp(argv[i], PRINT_CONFIG) == 0)
			wanted = CONFIG_PRINT;
	}
	return wanted;
}

static enum config_verdict verdict(const struct config *c, int rc, enum config_verdict good,
				   const struct config_wrong *why, char *error, size_t size)
{
	if (rc == -EINVAL)
		config_say(c, why, error, size);
	return rc == 0 ? good : rc == -ENOMEM ? CONFIG_NO_MEMORY : CONFIG_WRONG;
}

/* A file by itself; `error` gets what is in it. */
static enum config_verdict check_file(struct config *c, const char *file, char *error, size_t size)
{
	struct config_wrong why = { 0 };
	int rc;

	c->name_may_lack = true;
	c->file = mem_dup(file, strlen(file));
	rc = c->file == NULL ? -ENOMEM : set_defaults(c, NULL, OF_NODE);
	if (rc == 0)
		rc = config_file_read(c, file, &why);
	if (rc == 0 && c->pools == 0)
		rc = config_add_pool(c, NULL, FROM_TABLE, &why);
	if (rc == 0)
		rc = config_check(c, &why);
	if (rc == 0)
		snprintf(error, size, "%s: good, %u pool%s", file, c->pools,
			 c->pools == 1 ? "" : "s");
	return verdict(c, rc, CONFIG_CHECK, &why, error, size);
}

enum config_verdict config_parse(struct config *c, int argc, char *const *argv, char *error,
				 size_t error_size)
{
	struct args args = { .argv = argv, .argc = argc, .next = 1 };
	struct config_wrong why = { 0 };
	enum config_verdict wanted;
	int rc;

	*c = (struct config){ .argc = argc, .argv = argv };
	wanted = asks_for_text(c, argc, argv);
	if (wanted == CONFIG_CHECK)
		return check_file(c, argv[2], error, error_size);
	if (wanted != CONFIG_RUN && wanted != CONFIG_PRINT)
		return wanted;
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		rc = config_wrong_as(&why, NULL, argc == 2 ? "no file" : "more than a file",
				     "krait check FILE");
	else if ((rc = set_defaults(c, NULL, OF_NODE)) == 0 &&
		 (rc = read_file(c, args, &why)) == 0 && (rc = make_pools(c, args, &why)) == 0 &&
		 (rc = set_options(c, args, &why)) == 0)
		rc = config_check(c, &why);
	return verdict(c, rc, wanted, &why, error, error_size);
}

static void free_options(struct config *c, struct config_pool *pool, enum scope scope)
{
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		if (o->scope == scope)
			config_clear(c, pool, o);
}

void config_pool_free(struct config_pool *pool)
{
	if (pool == NULL)
		return;
	free_options(NULL, pool, OF_POOL);
	mem_free(pool->interpreter);
	mem_free(pool);
}

void config_free(struct config *c)
{
	for (unsigned i = 0; i < c->pools; i++)
		config_pool_free(c->pool[i]);
	free_options(c, NULL, OF_NODE);
	*c = (struct config){ 0 };
}
