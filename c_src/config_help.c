/* config_help.c - what is written of the table of options for people: --help, and the README's table.
 * Manual pages, completion and the example of a file are config_help_man.c's. */
#include "config_private.h"

#include <stdio.h>
#include <string.h>

static const struct help {
	const char *argument;
	void (*write)(struct buf *out);
} helps[] = {
	{ "--help", config_help },
	{ "-h", config_help },
	{ "--help-markdown", config_help_markdown },
	{ "--help-man", config_help_man },
	{ "--help-man-conf", config_help_man_conf },
	{ "--help-words", config_help_words },
	{ "--help-conf", config_help_conf },
};

void (*config_help_of(const char *argument))(struct buf *out)
{
	for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++)
		if (strcmp(argument, helps[i].argument) == 0)
			return helps[i].write;
	return NULL;
}

void config_put(struct buf *out, const char *text)
{
	buf_put(out, text, strlen(text));
}

const char *config_value_of(const struct option *o)
{
	return o->words != NULL ? o->words : o->unit != NULL ? o->unit : "";
}

void config_help(struct buf *out)
{
	const struct option *o;
	char line[512];

	config_put(out, "usage: krait --name NAME@HOST [OPTION...]\n"
			"       krait --config FILE [OPTION...]\n"
			"       krait check FILE\n"
			"       krait doctor [OPTION...]\n\n"
			"A node that gives a BEAM cluster a pool of Python workers.\n\n");
	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		char head[96];

		snprintf(head, sizeof head, "--%s %s", o->name, config_value_of(o));
		snprintf(line, sizeof line, "  %-42s %s%s%s%s\n", head, o->help,
			 o->initial != NULL ? " [" : "", o->initial != NULL ? o->initial : "",
			 o->initial != NULL ? "]" : "");
		config_put(out, line);
	}
	config_put(out,
		   "  --help, --version, --print-config\n"
		   "  --help-markdown, --help-man, --help-man-conf, --help-words, --help-conf\n\n"
		   "exit status: 0 stopped, 1 failure, 2 wrong usage, 3 name already taken\n");
}

void config_help_markdown(struct buf *out)
{
	const struct option *o;
	char line[512];

	config_put(out, "| option | value | default | meaning |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		char value[96];
		size_t n = 0;

		for (const char *p = config_value_of(o); *p != '\0' && n < sizeof value - 2; p++) {
			if (*p == '|')
				value[n++] = '\\';
			value[n++] = *p;
		}
		value[n] = '\0';
		snprintf(line, sizeof line, "| `--%s` | %s | %s | %s |\n", o->name, value,
			 o->initial != NULL ? o->initial : "", o->help);
		config_put(out, line);
	}
}
