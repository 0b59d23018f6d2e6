/* config_set.c - values of options: read from text, compared, copied, freed, each by its row in the table.
 *
 * Whatever a value comes from, the command line, a file or a request, it is read here, so the bounds and
 * the messages are the same everywhere. */
#include "config_private.h"

#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *config_field(struct config *c, struct config_pool *pool, const struct option *o)
{
	return o->scope == OF_NODE ? (char *)c + o->at : (char *)pool + o->at;
}

uint8_t *config_source(struct config *c, struct config_pool *pool, const struct option *o)
{
	size_t index = config_index(o);

	return o->scope == OF_NODE ? &c->source[index] : &pool->source[index];
}

unsigned *config_line(struct config *c, struct config_pool *pool, const struct option *o)
{
	size_t index = config_index(o);

	return o->scope == OF_NODE ? &c->line[index] : &pool->line[index];
}

static bool is_pool_option(const struct option *o, size_t at)
{
	return o->scope == OF_POOL && o->at == at;
}

bool config_is_list(const struct option *o)
{
	return o->type == T_LIST || o->type == T_PATHS || o->type == T_ITEMS;
}

int config_wrong_as(struct config_wrong *why, const struct option *o, const char *found,
		    const char *expected)
{
	*why = (struct config_wrong){ .option = o };
	snprintf(why->found, sizeof why->found, "%s", found);
	snprintf(why->expected, sizeof why->expected, "%s", expected);
	return -EINVAL;
}

int config_wrong(struct config_wrong *why, const struct option *o, const char *found,
		 const char *expected)
{
	char quoted[sizeof why->found];

	snprintf(quoted, sizeof quoted, "\"%.*s\"", (int)sizeof quoted - 3, found);
	return config_wrong_as(why, o, quoted, expected);
}

/* What a number may end in: `30s`, `512MiB`. 0: this unit is not of that kind. */
static uint64_t factor(const struct option *o, const char *suffix)
{
	static const struct {
		const char *unit, *suffix;
		uint64_t factor;
	} factors[] = {
		{ "ms", "ms", 1 },
		{ "ms", "s", 1000 },
		{ "ms", "min", 60 * 1000 },
		{ "ms", "h", 60 * 60 * 1000 },
		{ "ms", "d", UINT64_C(24) * 60 * 60 * 1000 },
		{ "s", "s", 1 },
		{ "s", "min", 60 },
		{ "s", "h", 60 * 60 },
		{ "s", "d", 24 * 60 * 60 },
		{ "bytes", "B", 1 },
		{ "bytes", "KiB", UINT64_C(1) << 10 },
		{ "bytes", "MiB", UINT64_C(1) << 20 },
		{ "bytes", "GiB", UINT64_C(1) << 30 },
		{ "bytes", "TiB", UINT64_C(1) << 40 },
		{ "bytes", "kB", 1000 },
		{ "bytes", "MB", 1000 * 1000 },
		{ "bytes", "GB", 1000 * 1000 * 1000 },
		{ "bytes", "TB", UINT64_C(1000) * 1000 * 1000 * 1000 },
		{ "%", "%", 1 },
	};

	if (suffix[0] == '\0')
		return 1;
	for (size_t i = 0; o->unit != NULL && i < sizeof factors / sizeof factors[0]; i++)
		if (strcmp(o->unit, factors[i].unit) == 0 && strcmp(suffix, factors[i].suffix) == 0)
			return factors[i].factor;
	return 0;
}

static int set_uint(const struct option *o, uint64_t *to, const char *value,
		    struct config_wrong *why)
{
	char expected[96], *end;
	unsigned long long number;
	uint64_t product = 0;

	if (o->type == T_TIME && strcmp(value, "infinity") == 0) {
		*to = CONFIG_INFINITY;
		return 0;
	}
	errno = 0;
	number = strtoull(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || errno != 0 || factor(o, end) == 0 ||
	    __builtin_mul_overflow((uint64_t)number, factor(o, end), &product) ||
	    product < o->min || product > o->max) {
		snprintf(expected, sizeof expected, "an integer from %llu to %llu%s",
			 (unsigned long long)o->min, (unsigned long long)o->max,
			 o->type == T_TIME ? ", or infinity" : "");
		return config_wrong(why, o, value, expected);
	}
	*to = product;
	return 0;
}

/* N, or N..M. */
static int set_range(const struct option *o, uint64_t *to, const char *value,
		     struct config_wrong *why)
{
	const char *dots = strstr(value, "..");
	size_t len = dots != NULL ? (size_t)(dots - value) : strlen(value);
	char expected[96], first[32];
	uint64_t least, most;

	if (len < sizeof first) {
		memcpy(first, value, len);
		first[len] = '\0';
		if (set_uint(o, &least, first, why) == 0 &&
		    set_uint(o, &most, dots != NULL ? dots + 2 : first, why) == 0 &&
		    least <= most) {
			to[0] = least;
			to[1] = most;
			return 0;
		}
	}
	snprintf(expected, sizeof expected, "N or N..M, integers from %llu to %llu",
		 (unsigned long long)o->min, (unsigned long long)o->max);
	return config_wrong(why, o, value, expected);
}

const char *config_word(const struct option *o, uint64_t index, size_t *len)
{
	const char *word = o->words, *end;

	for (; word != NULL; index--) {
		end = strchr(word, '|');
		*len = end != NULL ? (size_t)(end - word) : strlen(word);
		if (index == 0)
			return word;
		word = end != NULL ? end + 1 : NULL;
	}
	return NULL;
}

static int set_enum(const struct option *o, uint64_t *to, const char *value,
		    struct config_wrong *why)
{
	const char *word;
	size_t len;

	for (uint64_t i = 0; (word = config_word(o, i, &len)) != NULL; i++) {
		if (strlen(value) == len && memcmp(word, value, len) == 0) {
			*to = i;
			return 0;
		}
	}
	return config_wrong(why, o, value, o->words);
}

static int set_flag(const struct option *o, uint64_t *to, const char *value,
		    struct config_wrong *why)
{
	static const char *const words[][2] = { { "false", "true" },
						{ "no", "yes" },
						{ "off", "on" } };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		for (uint64_t k = 0; k < 2; k++) {
			if (strcmp(value, words[i][k]) == 0) {
				*to = k;
				return 0;
			}
		}
	}
	return config_wrong(why, o, value, "true or false");
}

static int add_item(const struct option *o, struct config_list *list, const char *value, size_t len,
		    struct config_wrong *why)
{
	struct config_expose parts;
	char *item;

	if (list->count == CONFIG_LIST_MAX)
		return config_wrong(why, o, value, "at most 64 items");
	if (len == 0)
		return config_wrong(why, o, value, "items that are not empty");
	if ((item = mem_dup(value, len)) == NULL)
		return -ENOMEM;
	list->item[list->count++] = item;
	if (is_pool_option(o, offsetof(struct config_pool, expose)) &&
	    !config_split_expose(item, &parts))
		return config_wrong(why, o, item, "NAME=MODULE:ATTR");
	if (o->type == T_ITEMS && (strchr(item, '=') == NULL || item[0] == '='))
		return config_wrong(why, o, item, o->unit);
	return 0;
}

static int add_items(const struct option *o, struct config_list *list, const char *value,
		     struct config_wrong *why)
{
	char separator = o->type == T_PATHS ? ':' : ',';

	while (*value != '\0') {
		const char *end = strchr(value, separator);
		size_t len = end != NULL ? (size_t)(end - value) : strlen(value);
		int rc = add_item(o, list, value, len, why);

		if (rc != 0)
			return rc;
		value += len + (end != NULL ? 1 : 0);
	}
	return 0;
}

static int set_text(char **to, const char *value)
{
	char *copy = mem_dup(value, strlen(value));

	if (copy == NULL)
		return -ENOMEM;
	mem_free(*to);
	*to = copy;
	return 0;
}

void config_clear(struct config *c, struct config_pool *pool, const struct option *o)
{
	void *at = config_field(c, pool, o);

	if (o->type == T_TEXT) {
		mem_free(*(char **)at);
		*(char **)at = NULL;
	} else if (config_is_list(o)) {
		struct config_list *list = at;

		for (uint64_t i = 0; i < list->count; i++)
			mem_free(list->item[i]);
		*list = (struct config_list){ 0 };
	}
}

int config_set(struct config *c, struct config_pool *pool, const struct option *o,
	       const char *value, enum config_source source, struct config_wrong *why)
{
	void *to = config_field(c, pool, o);
	uint8_t *from = config_source(c, pool, o);

	if (config_is_list(o) && *from != source)
		config_clear(c, pool, o);
	*from = (uint8_t)source;
	switch (o->type) {
	case T_TEXT:
		return value[0] == '\0' ? config_wrong(why, o, value, o->unit)
					: set_text(to, value);
	case T_LIST:
	case T_PATHS:
		return add_items(o, to, value, why);
	case T_ITEMS:
		return add_item(o, to, value, strlen(value), why);
	case T_UINT:
	case T_TIME:
		return set_uint(o, to, value, why);
	case T_RANGE:
		return set_range(o, to, value, why);
	case T_ENUM:
		return set_enum(o, to, value, why);
	case T_FLAG:
		return set_flag(o, to, value, why);
	}
	return -EINVAL;
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool config_same(const struct option *o, const void *a, const void *b)
{
	const struct config_list *one = a, *other = b;

	switch (o->type) {
	case T_TEXT:
		return same_text(*(char *const *)a, *(char *const *)b);
	case T_LIST:
	case T_PATHS:
	case T_ITEMS:
		if (one->count != other->count)
			return false;
		for (uint64_t i = 0; i < one->count; i++)
			if (strcmp(one->item[i], other->item[i]) != 0)
				return false;
		return true;
	case T_RANGE:
		return memcmp(a, b, 2 * sizeof(uint64_t)) == 0;
	case T_UINT:
	case T_TIME:
	case T_ENUM:
	case T_FLAG:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	}
	return false;
}

int config_copy(const struct option *o, void *to, const void *from)
{
	const struct config_list *list = from;
	struct config_list *copy = to;

	switch (o->type) {
	case T_TEXT:
		return *(char *const *)from == NULL ? 0 : set_text(to, *(char *const *)from);
	case T_LIST:
	case T_PATHS:
	case T_ITEMS:
		for (; copy->count < list->count; copy->count++) {
			const char *item = list->item[copy->count];

			copy->item[copy->count] = mem_dup(item, strlen(item));
			if (copy->item[copy->count] == NULL)
				return -ENOMEM;
		}
		return 0;
	case T_RANGE:
		memcpy(to, from, 2 * sizeof(uint64_t));
		return 0;
	case T_UINT:
	case T_TIME:
	case T_ENUM:
	case T_FLAG:
		memcpy(to, from, sizeof(uint64_t));
		return 0;
	}
	return -EINVAL;
}
