/* config_help_man.c - what is written of the table of options for other tools.
 *
 *   --help-man       the OPTIONS of krait(8), in roff
 *   --help-man-conf  the options of krait.conf(5), in roff: those of `node`, then those of a pool
 *   --help-words     for shell completion and other programs: a line for each option, its columns
 *                    divided by tabs: --NAME, node|pool, kind of value, words or unit, default, when a
 *                    new value counts (now|workers|restart), help
 *   --help-conf      a krait.conf with every option at its default, commented out */
#include "config_private.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const scopes[] = { [OF_NODE] = "node", [OF_POOL] = "pool" };

/* Text for roff: what it would take for its own is escaped, `code` is bold, lines stay short. */
static void put_roff(struct buf *out, const char *text)
{
	bool code = false;
	unsigned column = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == ' ' && column > 66 && !code) {
			config_put(out, "\n");
			column = 0;
			continue;
		}
		if ((*p == '.' || *p == '\'') && column == 0)
			config_put(out, "\\&");
		column++;
		if (*p == '`') {
			code = !code;
			config_put(out, code ? "\\fB" : "\\fR");
			column += 3;
		} else if (*p == '-') {
			config_put(out, "\\-");
		} else if (*p == '\\') {
			config_put(out, "\\e");
		} else if (*p == '~') {
			config_put(out, "\\(ti");
		} else {
			buf_put_u8(out, (uint8_t)*p);
		}
	}
}

static void put_roff_meaning(struct buf *out, const struct option *o)
{
	config_put(out, "\n");
	put_roff(out, o->help);
	config_put(out, ".");
	if (o->initial != NULL) {
		config_put(out, "\nDefault: \\fB");
		put_roff(out, o->initial);
		config_put(out, "\\fR.");
	}
	config_put(out, "\n");
}

void config_help_man(struct buf *out)
{
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		config_put(out, ".TP\n\\fB\\-\\-");
		put_roff(out, o->name);
		config_put(out, "\\fR");
		if (o->type != T_FLAG) {
			config_put(out, " \\fI");
			put_roff(out, config_value_of(o));
			config_put(out, "\\fR");
		}
		put_roff_meaning(out, o);
	}
}

void config_help_man_conf(struct buf *out)
{
	static const char *const counts[] = {
		[AT_ONCE] = "A new value counts at once.\n",
		[WORKERS] = "Workers are replaced for a new value.\n",
		[RESTART] = "A new value needs a restart of the node.\n",
	};
	const struct option *o;

	for (int scope = OF_NODE; scope <= OF_POOL; scope++) {
		config_put(out, scope == OF_NODE ? ".SS node\n" : ".SS pool NAME\n");
		for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
			if ((int)o->scope != scope || !config_in_files(o))
				continue;
			config_put(out, ".TP\n\\fB");
			config_put_name(out, o);
			config_put(out, "\\fR = \\fI");
			put_roff(out, o->type == T_FLAG ? "true|false" : config_value_of(o));
			config_put(out, "\\fR");
			put_roff_meaning(out, o);
			config_put(out, counts[o->change]);
		}
	}
}

/* What a completion may offer for the value. */
static const char *kind_of(const struct option *o)
{
	switch (o->type) {
	case T_TEXT:
		return strcmp(o->unit, "FILE") == 0  ? "file"
		       : strcmp(o->unit, "DIR") == 0 ? "dir"
						     : "text";
	case T_LIST:
		return "list";
	case T_PATHS:
		return "paths";
	case T_ITEMS:
		return "items";
	case T_UINT:
		return "integer";
	case T_RANGE:
		return "range";
	case T_TIME:
		return "integer|infinity";
	case T_ENUM:
		return "word";
	case T_FLAG:
		return "flag";
	}
	return "";
}

void config_help_words(struct buf *out)
{
	static const char *const counts[] = {
		[AT_ONCE] = "now", [WORKERS] = "workers", [RESTART] = "restart"
	};
	const struct option *o;
	char line[640];

	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		snprintf(line, sizeof line, "--%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o->name,
			 scopes[o->scope], kind_of(o), config_value_of(o),
			 o->initial != NULL ? o->initial : "", counts[o->change], o->help);
		config_put(out, line);
	}
}

/* For options without a default: what one could write. */
static const char *example_of(const struct option *o)
{
	static const struct {
		const char *name, *example;
	} examples[] = {
		{ "name", "krait@host.example.org" },
		{ "sname", "krait" },
		{ "cookie-file", "/etc/krait/cookie" },
		{ "metrics", "127.0.0.1:9568" },
		{ "metrics-host", "{ \"krait.example.org\" }" },
		{ "admin", "{ \"ops@*\" }" },
		{ "watch", "{ \"grafana@*\", \"ops@*\" }" },
		{ "admin-users", "{ \"root\" }" },
		{ "python", "/srv/my_app/venv/bin/python3" },
		{ "pythonpath", "{ \"/srv/my_app\" }" },
		{ "preload", "{ \"json\", \"my_app.models\" }" },
		{ "allow", "{ \"math\", \"my_app.*\" }" },
		{ "expose", "{ \"model=my_app.models:Model\" }" },
		{ "env", "{ \"CUDA_VISIBLE_DEVICES={index}\" }" },
		{ "cwd", "/srv/my_app" },
	};

	if (o->initial != NULL)
		return o->initial;
	if (o->type == T_FLAG)
		return "false";
	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
		if (strcmp(o->name, examples[i].name) == 0)
			return examples[i].example;
	return NULL;
}

/* A comment of lines of at most 90 bytes, one tab in. */
static void put_comment(struct buf *out, const char *text)
{
	while (*text != '\0') {
		size_t len = strlen(text);

		if (len > 88)
			for (len = 88; len > 1 && text[len] != ' '; len--)
				;
		config_put(out, "\t# ");
		buf_put(out, text, len);
		config_put(out, "\n");
		text += len;
		text += strspn(text, " ");
	}
}

/* Words, numbers and lists as they are, other text in quotes. */
static void put_value(struct buf *out, const char *value)
{
	bool plain = value[0] == '{';

	if (!plain) {
		plain = true;
		for (const char *p = value; *p != '\0'; p++)
			plain = plain && (isalnum((unsigned char)*p) || *p == '_');
	}
	config_put(out, plain ? "" : "\"");
	config_put(out, value);
	config_put(out, plain ? "" : "\"");
}

void config_help_conf(struct buf *out)
{
	const struct option *o;

	config_put(out,
		   "# krait.conf - see krait.conf(5). Every option is here with its default, or "
		   "with an\n"
		   "# example where it has none. Check a changed file with `krait check FILE`.\n");
	for (int scope = OF_NODE; scope <= OF_POOL; scope++) {
		bool first = true;

		config_put(out, scope == OF_NODE
					? "\nnode {\n"
					: "\n# One section for each pool; the name is the one that "
					  "clients call.\npool default {\n");
		for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
			if ((int)o->scope != scope || !config_in_files(o) || example_of(o) == NULL)
				continue;
			config_put(out, first ? "" : "\n");
			first = false;
			put_comment(out, o->help);
			config_put(out, "\t#");
			config_put_name(out, o);
			config_put(out, " = ");
			put_value(out, example_of(o));
			config_put(out, "\n");
		}
		config_put(out, "}\n");
	}
}
