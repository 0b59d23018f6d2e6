/* config_help.c - the usage text and the README's table, written from the table of options. */
#include "config_private.h"

#include <stdio.h>
#include <string.h>

static void put_text(struct buf *out, const char *text)
{
	buf_put(out, text, strlen(text));
}

/* The value that an option takes, such as "ms" or "fork|spawn". */
static const char *value_of(const struct option *o)
{
	return o->words != NULL ? o->words : o->unit != NULL ? o->unit : "";
}

void config_help(struct buf *out)
{
	const struct option *o;
	char line[512];

	put_text(out, "usage: krait --name NAME@HOST [OPTION...]\n\n"
		      "A node that gives a BEAM cluster a pool of Python workers.\n\n");
	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		char head[96];

		snprintf(head, sizeof head, "--%s %s", o->name, value_of(o));
		snprintf(line, sizeof line, "  %-42s %s%s%s%s\n", head, o->help,
			 o->initial != NULL ? " [" : "", o->initial != NULL ? o->initial : "",
			 o->initial != NULL ? "]" : "");
		put_text(out, line);
	}
	put_text(out, "  --help, --help-markdown, --version\n\n"
		      "exit status: 0 stopped, 1 failure, 2 wrong usage, 3 name already taken\n");
}

void config_help_markdown(struct buf *out)
{
	const struct option *o;
	char line[512];

	put_text(out, "| option | value | default | meaning |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		char value[96];
		size_t n = 0;

		for (const char *p = value_of(o); *p != '\0' && n < sizeof value - 2; p++) {
			if (*p == '|')
				value[n++] = '\\';
			value[n++] = *p;
		}
		value[n] = '\0';
		snprintf(line, sizeof line, "| `--%s` | %s | %s | %s |\n", o->name, value,
			 o->initial != NULL ? o->initial : "", o->help);
		put_text(out, line);
	}
}
