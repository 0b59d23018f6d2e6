/* config_change.c - a configuration while the node runs; see config_change.h. */
#include "config_change.h"

#include "config_private.h"
#include "mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 4096 /* bytes of a value that a request sets */

static void *field(const struct option *o, struct config_place at)
{
	return config_field(at.node, at.pool, o);
}

const struct option *config_option_named(const char *name, size_t len)
{
	const struct option *o = config_find(name, len);

	return o != NULL && config_in_files(o) ? o : NULL;
}

const struct option *config_option_after(const struct option *o)
{
	size_t next = o == NULL ? 0 : config_index(o) + 1;

	while ((o = config_option(next)) != NULL && !config_in_files(o))
		next++;
	return o;
}

bool config_is_of_node(const struct option *o)
{
	return o->scope == OF_NODE;
}

bool config_changes_workers(const struct option *o)
{
	return o->change == WORKERS;
}

bool config_needs_restart(const struct option *o)
{
	return o->change == RESTART;
}

/* ---- written ---- */

void config_put_option(struct buf *out, const struct option *o)
{
	char name[64];
	size_t len = 0;

	for (; len < sizeof name && o->name[len] != '\0'; len++)
		name[len] = config_underscored(o->name[len]);
	term_put_atom_n(out, name, len);
}

static void put_number(struct buf *out, const struct option *o, uint64_t number)
{
	if (o->type == T_TIME && number == CONFIG_INFINITY)
		term_put_atom(out, "infinity");
	else
		term_put_uint(out, number);
}

static void put_range(struct buf *out, const uint64_t *range)
{
	if (range[0] == range[1]) {
		term_put_uint(out, range[0]);
		return;
	}
	term_put_tuple(out, 2);
	term_put_uint(out, range[0]);
	term_put_uint(out, range[1]);
}

void config_put_term(struct buf *out, const struct option *o, struct config_place at)
{
	const void *value = field(o, at);
	const struct config_list *list = value;
	const char *text, *word;
	size_t len;

	switch (o->type) {
	case T_TEXT:
		if ((text = *(char *const *)value) == NULL)
			term_put_atom(out, "nil");
		else
			term_put_text(out, text);
		break;
	case T_LIST:
	case T_PATHS:
	case T_ITEMS:
		term_put_list(out, (uint32_t)list->count);
		for (uint64_t i = 0; i < list->count; i++)
			term_put_text(out, list->item[i]);
		if (list->count > 0)
			term_put_nil(out);
		break;
	case T_UINT:
	case T_TIME:
		put_number(out, o, *(const uint64_t *)value);
		break;
	case T_RANGE:
		put_range(out, value);
		break;
	case T_ENUM:
		if ((word = config_word(o, *(const uint64_t *)value, &len)) != NULL)
			term_put_atom_n(out, word, len);
		break;
	case T_FLAG:
		term_put_bool(out, *(const uint64_t *)value != 0);
		break;
	}
}

void config_put_name_text(struct buf *out, const struct option *o)
{
	config_put_name(out, o);
}

/* NAME=VALUE without the values, which may be secrets. */
static void put_names(struct buf *out, const struct config_list *list)
{
	buf_put(out, "{", 1);
	for (uint64_t i = 0; i < list->count; i++) {
		const char *item = list->item[i];

		buf_put(out, i > 0 ? ", " : " ", i > 0 ? 2 : 1);
		buf_put(out, item, strcspn(item, "="));
		buf_put(out, "=...", 4);
	}
	buf_put(out, " }", 2);
}

void config_put_text(struct buf *out, const struct option *o, struct config_place at)
{
	if (o->type == T_ITEMS)
		put_names(out, field(o, at));
	else
		config_put_value(out, o, field(o, at));
}

void config_put_map(struct buf *out, struct config_place at, bool of_node)
{
	const struct option *o = NULL;
	uint32_t count = 0;

	while ((o = config_option_after(o)) != NULL)
		count += config_is_of_node(o) == of_node;
	term_put_map(out, count);
	while ((o = config_option_after(o)) != NULL) {
		if (config_is_of_node(o) != of_node)
			continue;
		config_put_option(out, o);
		config_put_term(out, o, at);
	}
}

/* ---- compared and copied ---- */

bool config_differs(const struct option *o, struct config_place a, struct config_place b)
{
	return !config_same(o, field(o, a), field(o, b));
}

bool config_needs_workers(struct config_pool *a, struct config_pool *b)
{
	struct config_place one = { .pool = a }, other = { .pool = b };
	const struct option *o = NULL;

	while ((o = config_option_after(o)) != NULL)
		if (o->scope == OF_POOL && o->change == WORKERS && config_differs(o, one, other))
			return true;
	return false;
}

void config_swap(const struct option *o, struct config_place a, struct config_place b)
{
	size_t size = config_is_list(o)    ? sizeof(struct config_list)
		      : o->type == T_TEXT  ? sizeof(char *)
		      : o->type == T_RANGE ? 2 * sizeof(uint64_t)
					   : sizeof(uint64_t);
	uint8_t *one = config_source(a.node, a.pool, o), *other = config_source(b.node, b.pool, o);
	struct config_list kept; /* the largest of them */
	uint8_t source = *one;

	memcpy(&kept, field(o, a), size);
	memcpy(field(o, a), field(o, b), size);
	memcpy(field(o, b), &kept, size);
	*one = *other;
	*other = source;
}

struct config_pool *config_pool_copy(struct config_pool *pool)
{
	struct config_pool *copy = mem_zalloc(sizeof *copy);
	const struct option *o;

	if (copy == NULL)
		return NULL;
	memcpy(copy->source, pool->source, sizeof copy->source);
	for (size_t i = 0; (o = config_option(i)) != NULL; i++)
		if (o->scope == OF_POOL &&
		    config_copy(o, config_field(NULL, copy, o), config_field(NULL, pool, o)) != 0)
			goto err;
	if (pool->interpreter != NULL &&
	    (copy->interpreter = mem_dup(pool->interpreter, strlen(pool->interpreter))) == NULL)
		goto err;
	return copy;
err:
	config_pool_free(copy);
	return NULL;
}

/* ---- set ---- */

/* An integer, an atom or a binary as text. 0, -EINVAL: it is another term, or has no such text. */
static int text_of(const uint8_t *t, char *text, size_t size)
{
	struct span span;
	int64_t number;

	if (term_int(t, &number)) {
		snprintf(text, size, "%" PRId64, number);
		return 0;
	}
	if ((!term_atom(t, &span, NULL) && !term_binary(t, &span)) || span.len >= size ||
	    memchr(span.at, 0, span.len) != NULL)
		return -EINVAL;
	if (span.len > 0)
		memcpy(text, span.at, span.len);
	text[span.len] = '\0';
	return 0;
}

/* {Min, Max} as the text of a range. */
static int range_of(const uint8_t *t, char *text, size_t size)
{
	const uint8_t *first;
	int64_t least, most;
	uint32_t arity;

	if (!term_tuple(t, &arity, &first) || arity != 2 || !term_int(first, &least) ||
	    !term_int(term_skip(first), &most))
		return -EINVAL;
	snprintf(text, size, "%" PRId64 "..%" PRId64, least, most);
	return 0;
}

/* What is expected where a term has no text: the option itself knows, unless any text would do. */
static int wrong_term(struct config_place at, const struct option *o, struct config_wrong *why)
{
	if (config_is_list(o))
		return config_wrong_as(why, o, "a term", "a list of atoms or binaries");
	if (o->type == T_TEXT)
		return config_wrong_as(why, o, "a term",
				       "a binary without zeroes, of at most 4095 bytes");
	return config_set(at.node, at.pool, o, "?", FROM_REQUEST, why);
}

static int set_items(struct config_place at, const struct option *o, const uint8_t *t,
		     uint32_t count, struct config_wrong *why)
{
	char text[TEXT_MAX];
	int rc = 0;

	for (; count > 0 && rc == 0; count--, t = term_skip(t)) {
		rc = text_of(t, text, sizeof text) != 0
			     ? wrong_term(at, o, why)
			     : config_set(at.node, at.pool, o, text, FROM_REQUEST, why);
	}
	if (rc == 0 && term_kind(t) != TERM_NIL)
		rc = wrong_term(at, o, why);
	return rc;
}

static bool may_be_none(const struct option *o)
{
	return o->type == T_TEXT && o->initial == NULL;
}

static int set_any(struct config_place at, const struct option *o, const uint8_t *value,
		   struct config_wrong *why)
{
	char text[TEXT_MAX];
	const uint8_t *first;
	uint32_t count;

	if (config_is_list(o)) {
		config_clear(at.node, at.pool, o);
		*config_source(at.node, at.pool, o) = FROM_REQUEST;
		if (term_list(value, &count, &first))
			return count == 0 ? 0 : set_items(at, o, first, count, why);
	} else if (may_be_none(o) &&
		   (term_is_atom(value, "nil") || term_is_atom(value, "undefined"))) {
		config_clear(at.node, at.pool, o);
		*config_source(at.node, at.pool, o) = FROM_REQUEST;
		return 0;
	}
	if (text_of(value, text, sizeof text) != 0 &&
	    (o->type != T_RANGE || range_of(value, text, sizeof text) != 0))
		return wrong_term(at, o, why);
	return config_set(at.node, at.pool, o, text, FROM_REQUEST, why);
}

int config_set_term(struct config_place at, const struct option *o, const uint8_t *value,
		    char *expected, size_t size)
{
	struct config_wrong why = { 0 };
	int rc = set_any(at, o, value, &why);

	if (rc == -EINVAL)
		snprintf(expected, size, "%s", why.expected);
	return rc;
}

int config_goes_together(struct config *c, char *expected, size_t size)
{
	struct config_wrong why = { 0 };
	int rc = config_check(c, &why);

	if (rc == -EINVAL)
		snprintf(expected, size, "%s", why.expected);
	return rc;
}
