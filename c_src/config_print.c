/* config_print.c - a configuration, written as a file that says the same. */
#include "config_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In single quotes, where nothing but these and a backslash means something; a line break needs the others. */
static void put_quoted(struct buf *out, const char *text)
{
	const char *quote = strchr(text, '\n') != NULL ? "\"" : "'";

	config_put(out, quote);
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == quote[0])
			buf_put_u8(out, '\\');
		if (*text == '\n')
			config_put(out, "\\n");
		else
			buf_put_u8(out, (uint8_t)*text);
	}
	config_put(out, quote);
}

static void put_list(struct buf *out, const struct config_list *list)
{
	config_put(out, "{");
	for (uint64_t i = 0; i < list->count; i++) {
		config_put(out, i > 0 ? ", " : " ");
		put_quoted(out, list->item[i]);
	}
	config_put(out, list->count > 0 ? " }" : "}");
}

static void put_number(struct buf *out, const struct option *o, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, number);
	config_put(out, o->type == T_TIME && number == CONFIG_INFINITY ? "infinity" : text);
}

void config_put_value(struct buf *out, const struct option *o, const void *field)
{
	const uint64_t *number = field;
	const char *text, *word;
	size_t len;

	switch (o->type) {
	case T_TEXT:
		if ((text = *(char *const *)field) == NULL)
			config_put(out, "none");
		else
			put_quoted(out, text);
		break;
	case T_LIST:
	case T_PATHS:
	case T_ITEMS:
		put_list(out, field);
		break;
	case T_UINT:
	case T_TIME:
		put_number(out, o, *number);
		break;
	case T_RANGE:
		put_number(out, o, number[0]);
		if (number[0] != number[1]) {
			config_put(out, "..");
			put_number(out, o, number[1]);
		}
		break;
	case T_ENUM:
		if ((word = config_word(o, *number, &len)) != NULL)
			buf_put(out, word, len);
		break;
	case T_FLAG:
		config_put(out, *number != 0 ? "true" : "false");
		break;
	}
}

void config_put_name(struct buf *out, const struct option *o)
{
	for (const char *p = o->name; *p != '\0'; p++)
		buf_put_u8(out, (uint8_t)config_underscored(*p));
}

static void put_options(struct buf *out, struct config *c, struct config_pool *pool,
			enum scope scope)
{
	static const char *const sources[] = { [FROM_TABLE] = "",
					       [FROM_FILE] = "  # file",
					       [FROM_COMMAND_LINE] = "  # command line",
					       [FROM_REQUEST] = "  # set" };
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		const void *field;
		bool none;

		if (o->scope != scope || !config_in_files(o))
			continue;
		field = config_field(c, pool, o);
		none = o->type == T_TEXT && *(char *const *)field == NULL;
		config_put(out, none ? "\t# " : "\t");
		config_put_name(out, o);
		config_put(out, " = ");
		config_put_value(out, o, field);
		config_put(out, sources[*config_source(c, pool, o)]);
		config_put(out, "\n");
	}
}

void config_print(struct config *c, struct buf *out)
{
	config_put(out, "node {\n");
	put_options(out, c, NULL, OF_NODE);
	config_put(out, "}\n");
	for (unsigned i = 0; i < c->pools; i++) {
		config_put(out, "\npool ");
		put_quoted(out, c->pool[i]->name);
		config_put(out, " {\n");
		put_options(out, c, c->pool[i], OF_POOL);
		config_put(out, "}\n");
	}
}
