/* config_check.c - what concerns more than one option; and how a fault is told. */
#include "config_private.h"

#include "term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct option *named(const char *name)
{
	return config_find(name, strlen(name));
}

/* A killed worker takes along whatever else it holds. */
static int check_abandon(struct config_pool *p, struct config_wrong *why)
{
	enum { KILL, INTERRUPT }; /* the words in the table */
	const struct option *o = named("abandon");
	char found[64];

	if (*config_source(NULL, p, o) == FROM_TABLE)
		p->abandon = p->slots == 1 ? KILL : INTERRUPT;
	if (p->slots == 1 || p->abandon != KILL)
		return 0;
	snprintf(found, sizeof found, "\"kill\" with --slots %llu", (unsigned long long)p->slots);
	return config_wrong_as(
		why, o, found,
		"interrupt|finish: a killed worker would take its other calls along");
}

static int check_name(const struct config *c, struct config_wrong *why)
{
	const char *at = c->name != NULL ? strchr(c->name, '@') : NULL;

	if ((c->name == NULL) == (c->sname == NULL) && !(c->name == NULL && c->name_may_lack))
		return config_wrong_as(why, NULL, c->name == NULL ? "neither" : "both",
				       "one of --name NAME@HOST and --sname NAME");
	if (c->name != NULL &&
	    (at == NULL || at == c->name || at[1] == '\0' || strchr(at + 1, '@')))
		return config_wrong(why, named("name"), c->name, "NAME@HOST");
	return 0;
}

static int check_metrics(const struct config *c, struct config_wrong *why)
{
	char address[CONFIG_ADDRESS_MAX];
	uint16_t port;

	if (c->metrics == NULL || config_split_address(c->metrics, address, &port))
		return 0;
	return config_wrong(why, named("metrics"), c->metrics,
			    "ADDR:PORT, an IP address and a port");
}

/* One of the pools beside those before it. */
static int check_pool(const struct config *c, unsigned index, struct config_wrong *why)
{
	static const char *const taken[] = { "krait", "rex", "net_kernel", "global_name_server" };
	struct config_pool *pool = c->pool[index];
	char found[160];

	why->pool = NULL;
	if (strlen(pool->name) > CONFIG_POOL_NAME_MAX || !term_utf8(pool->name, strlen(pool->name)))
		return config_wrong(why, config_pool_name(), pool->name,
				    "a name of at most 255 bytes of UTF-8");
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
		if (strcmp(pool->name, taken[i]) == 0)
			return config_wrong(why, config_pool_name(), pool->name,
					    "a name that the node does not need for itself");
	for (unsigned i = 0; i < index; i++) {
		if (strcmp(pool->name, c->pool[i]->name) == 0)
			return config_wrong_twice(why, pool->name);
		if (pool->rpc && c->pool[i]->rpc) {
			snprintf(found, sizeof found, "in pools %.64s and %.64s", c->pool[i]->name,
				 pool->name);
			return config_wrong_as(why, named("rpc"), found, "in one at most");
		}
	}
	return config_check_pool(pool, why);
}

int config_check_pool(struct config_pool *pool, struct config_wrong *why)
{
	int rc = check_abandon(pool, why);

	why->pool = pool->name;
	return rc;
}

int config_check(struct config *c, struct config_wrong *why)
{
	int rc = check_name(c, why);
	struct config_pool *pool = NULL;

	if (rc == 0)
		rc = check_metrics(c, why);

	for (unsigned i = 0; i < c->pools && rc == 0; i++) {
		pool = c->pool[i];
		rc = check_pool(c, i, why);
	}
	if (rc != 0 && why->option != NULL && *config_source(c, pool, why->option) == FROM_FILE) {
		why->in_file = true;
		why->line = *config_line(c, pool, why->option);
	}
	return rc;
}

/* Where it is, in front of what it is. */
static void say_place(const struct config *c, const struct config_wrong *why, char *text,
		      size_t size)
{
	text[0] = '\0';
	if (c->file != NULL && why->line > 0)
		snprintf(text, size, "%s:%u: ", c->file, why->line);
	else if (c->file != NULL)
		snprintf(text, size, "%s%s%s%s%s", why->in_file ? c->file : "",
			 why->in_file ? ": " : "", why->pool != NULL ? "pool " : "",
			 why->pool != NULL ? why->pool : "", why->pool != NULL ? ": " : "");
}

void config_say(const struct config *c, const struct config_wrong *why, char *error, size_t size)
{
	char place[512], option[64] = "";

	say_place(c, why, place, sizeof place);
	if (why->option != NULL && why->line == 0 && !why->in_file) {
		snprintf(option, sizeof option, "--%s: ", why->option->name);
	} else if (why->option != NULL) {
		snprintf(option, sizeof option, "%s: ", why->option->name);
		for (char *p = option; *p != '\0'; p++)
			*p = config_underscored(*p);
	}
	snprintf(error, size, "%s%sfound %s, expected %s", place, option, why->found,
		 why->expected);
}
