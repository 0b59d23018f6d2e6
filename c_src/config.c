/* config.c - the reading of options; see config.h. */
#include "config_private.h"

#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the option's value is kept: in the node's part, or in that pool's. */
static void *field(struct config *c, struct config_pool *pool, const struct option *o)
{
	return o->scope == OF_NODE ? (char *)c + o->at : (char *)pool + o->at;
}

static bool is_pool_option(const struct option *o, size_t at)
{
	return o->scope == OF_POOL && o->at == at;
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
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		if (is_named(o, arg, len))
			return o;
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

/* N, or N..M. */
static int set_range(const struct option *o, uint64_t *to, const char *value, char *error,
		     size_t size)
{
	const char *dots = strstr(value, "..");
	size_t len = dots != NULL ? (size_t)(dots - value) : strlen(value);
	char expected[96], first[32];

	if (len < sizeof first) {
		memcpy(first, value, len);
		first[len] = '\0';
		if (set_uint(o, &to[0], first, error, size) == 0 &&
		    set_uint(o, &to[1], dots != NULL ? dots + 2 : first, error, size) == 0 &&
		    to[0] <= to[1])
			return 0;
	}
	snprintf(expected, sizeof expected, "N or N..M, integers from %llu to %llu",
		 (unsigned long long)o->min, (unsigned long long)o->max);
	return wrong(error, size, o, value, expected);
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

static int add_item(const struct option *o, struct config_list *list, const char *value, size_t len,
		    char *error, size_t size)
{
	struct config_expose parts;
	char *item;

	if (list->count == CONFIG_LIST_MAX)
		return wrong(error, size, o, value, "at most 64 items");
	if (len == 0)
		return wrong(error, size, o, value, "items that are not empty");
	if ((item = mem_dup(value, len)) == NULL)
		return -ENOMEM;
	list->item[list->count++] = item;
	if (is_pool_option(o, offsetof(struct config_pool, expose)) &&
	    !config_split_expose(item, &parts))
		return wrong(error, size, o, item, "NAME=MODULE:ATTR");
	if (o->type == T_ITEMS && (strchr(item, '=') == NULL || item[0] == '='))
		return wrong(error, size, o, item, o->unit);
	return 0;
}

static int add_items(const struct option *o, struct config_list *list, const char *value,
		     char *error, size_t size)
{
	char separator = o->type == T_PATHS ? ':' : ',';

	while (*value != '\0') {
		const char *end = strchr(value, separator);
		size_t len = end != NULL ? (size_t)(end - value) : strlen(value);
		int rc = add_item(o, list, value, len, error, size);

		if (rc != 0)
			return rc;
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

static int set(struct config *c, struct config_pool *pool, const struct option *o,
	       const char *value, char *error, size_t size)
{
	void *to = field(c, pool, o);

	if (is_pool_option(o, offsetof(struct config_pool, abandon)))
		pool->abandon_given = true;
	switch (o->type) {
	case T_TEXT:
		if (value[0] == '\0')
			return wrong(error, size, o, value, o->unit);
		return set_text(to, value);
	case T_LIST:
	case T_PATHS:
		return add_items(o, to, value, error, size);
	case T_ITEMS:
		return add_item(o, to, value, strlen(value), error, size);
	case T_UINT:
	case T_TIME:
		return set_uint(o, to, value, error, size);
	case T_RANGE:
		return set_range(o, to, value, error, size);
	case T_ENUM:
		return set_enum(o, to, value, error, size);
	case T_FLAG:
		*(uint64_t *)to = 1;
		return 0;
	}
	return -EINVAL;
}

/* A killed worker takes along whatever else it holds. */
static int check_abandon(struct config_pool *c, char *error, size_t size)
{
	enum { KILL, INTERRUPT }; /* the words in the table */

	if (c->slots == 1)
		return 0;
	if (!c->abandon_given)
		c->abandon = INTERRUPT;
	if (c->abandon != KILL)
		return 0;
	snprintf(error, size,
		 "--abandon: found \"kill\" with --slots %llu, expected interrupt|finish: a killed "
		 "worker would take its other calls along",
		 (unsigned long long)c->slots);
	return -EINVAL;
}

static int check_name(const struct config *c, char *error, size_t size)
{
	const char *at = c->name != NULL ? strchr(c->name, '@') : NULL;

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
	return 0;
}

/* One of the pools beside those before it. */
static int check_pool(const struct config *c, unsigned index, char *error, size_t size)
{
	static const char *const taken[] = { "krait", "rex", "net_kernel", "global_name_server" };
	struct config_pool *pool = c->pool[index];

	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		if (strcmp(pool->name, taken[i]) == 0) {
			snprintf(error, size,
				 "--pool: found \"%s\", expected a name that the node does not "
				 "need for itself",
				 pool->name);
			return -EINVAL;
		}
	}
	for (unsigned i = 0; i < index; i++) {
		if (strcmp(pool->name, c->pool[i]->name) == 0) {
			snprintf(error, size,
				 "--pool: found \"%s\" twice, expected different names",
				 pool->name);
			return -EINVAL;
		}
		if (pool->rpc && c->pool[i]->rpc) {
			snprintf(error, size,
				 "--rpc: found in pools %s and %s, expected in one at most",
				 c->pool[i]->name, pool->name);
			return -EINVAL;
		}
	}
	return check_abandon(pool, error, size);
}

/* What concerns more than one option. */
static int check(const struct config *c, char *error, size_t size)
{
	int rc = check_name(c, error, size);

	for (unsigned i = 0; i < c->pools && rc == 0; i++)
		rc = check_pool(c, i, error, size);
	return rc;
}

/* Those of one scope. */
static int set_defaults(struct config *c, struct config_pool *pool, enum scope scope, char *error,
			size_t size)
{
	const struct option *o;
	int rc;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		if (o->scope == scope && o->initial != NULL &&
		    (rc = set(c, pool, o, o->initial, error, size)) != 0)
			return rc;
	return 0;
}

/* One more pool, with its defaults. */
static int add_pool(struct config *c, char *error, size_t size)
{
	struct config_pool *pool;

	if (c->pools == CONFIG_POOLS_MAX) {
		snprintf(error, size, "found more pools, expected at most %d", CONFIG_POOLS_MAX);
		return -EINVAL;
	}
	if ((pool = mem_zalloc(sizeof *pool)) == NULL)
		return -ENOMEM;
	c->pool[c->pools++] = pool;
	if (set_defaults(c, pool, OF_POOL, error, size) != 0)
		return -ENOMEM; /* the table's own values are right */
	pool->abandon_given = false;
	return 0;
}

static enum config_verdict verdict(int rc)
{
	return rc == 0 ? CONFIG_RUN : rc == -ENOMEM ? CONFIG_NO_MEMORY : CONFIG_WRONG;
}

enum config_verdict config_parse(struct config *c, int argc, char *const *argv, char *error,
				 size_t error_size)
{
	bool pool_named = false;
	int rc;

	*c = (struct config){ 0 };
	if ((rc = set_defaults(c, NULL, OF_NODE, error, error_size)) == 0)
		rc = add_pool(c, error, error_size);

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
		if (is_pool_option(o, offsetof(struct config_pool, name))) {
			if (pool_named && (rc = add_pool(c, error, error_size)) != 0)
				break;
			pool_named = true;
		}
		rc = set(c, c->pool[c->pools - 1], o, value, error, error_size);
	}
	if (rc == 0)
		rc = check(c, error, error_size);
	return verdict(rc);
}

static void free_options(struct config *c, struct config_pool *pool, enum scope scope)
{
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		if (o->scope != scope)
			continue;
		if (o->type == T_TEXT) {
			mem_free(*(char **)field(c, pool, o));
		} else if (o->type == T_LIST || o->type == T_PATHS || o->type == T_ITEMS) {
			struct config_list *list = field(c, pool, o);

			for (uint64_t k = 0; k < list->count; k++)
				mem_free(list->item[k]);
		}
	}
}

void config_free(struct config *c)
{
	for (unsigned i = 0; i < c->pools; i++) {
		free_options(c, c->pool[i], OF_POOL);
		mem_free(c->pool[i]->interpreter);
		mem_free(c->pool[i]);
	}
	free_options(c, NULL, OF_NODE);
	*c = (struct config){ 0 };
}

const struct config_pool *config_rpc_pool(const struct config *c)
{
	for (unsigned i = 0; i < c->pools; i++)
		if (c->pool[i]->rpc)
			return c->pool[i];
	return NULL;
}
