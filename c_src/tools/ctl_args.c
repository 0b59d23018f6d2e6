/* ctl_args.c - the command line, by two tables: options here, verbs in ctl_verbs.c. */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>

static const struct option {
	const char *name, *arg, *help; /* arg "": none */
} options[] = {
	{ "--node", "NAME", "the node's name; default: $KRAIT_NODE, else krait@127.0.0.1" },
	{ "--cookie-file", "FILE",
	  "default: $KRAIT_COOKIE, then ~/.erlang.cookie, as for the node" },
	{ "--pool", "NAME", "a pool of the node; default: the node, where that makes sense" },
	{ "--timeout", "SECONDS",
	  "for connection and answer; default: 5, but none for what may take its time" },
	{ "--json", "", "for programs: one JSON text, whatever the answer; see docs/kraitctl.md" },
	{ "--interval", "SECONDS", "of top; default: 1" },
	{ "--help", "", "this text, or what a verb does" },
	{ "--help-markdown", "", "the tables of docs/kraitctl.md" },
	{ "--completion-words", "", "options and verbs for a shell's completion, by tabs" },
	{ "--version", "", "the version" },
};
#define OPTIONS (sizeof options / sizeof options[0])

/* ---- reading ---- */

static bool take_seconds(const char *text, uint64_t *ms)
{
	char *end = NULL;
	double s = text != NULL ? strtod(text, &end) : 0;

	if (text == NULL || end == text || *end != '\0' || !(s > 0) || s > 1e9)
		return false;
	*ms = (uint64_t)(s * 1000) > 0 ? (uint64_t)(s * 1000) : 1;
	return true;
}

static bool set(struct ctl_args *a, const char *name, const char *text, char *error, size_t size)
{
	switch (name[2]) {
	case 'n':
		a->node = text;
		return true;
	case 'c':
		if (text == NULL)
			a->want = WANT_WORDS;
		else
			a->cookie_file = text;
		return true;
	case 'p':
		a->pool = text;
		return true;
	case 'j':
		a->json = true;
		return true;
	case 'h':
		a->want = name[6] == '\0' ? WANT_HELP : WANT_MARKDOWN;
		return true;
	case 'v':
		a->want = WANT_VERSION;
		return true;
	case 'i':
		if (take_seconds(text, &a->interval_ms))
			return true;
		break;
	default:
		a->has_timeout = true;
		if (take_seconds(text, &a->timeout_ms))
			return true;
		break;
	}
	snprintf(error, size, "%s: found \"%.60s\", expected seconds, more than 0", name, text);
	return false;
}

/* The option at argv[*i], as `--name value` or `--name=value`. */
static bool take_option(struct ctl_args *a, int argc, char **argv, int *i, char *error, size_t size)
{
	const char *text = argv[*i], *given = strchr(text, '=');
	size_t len = given != NULL ? (size_t)(given - text) : strlen(text);

	for (size_t k = 0; k < OPTIONS; k++) {
		const struct option *o = &options[k];

		if (strlen(o->name) != len || strncmp(o->name, text, len) != 0)
			continue;
		if (o->arg[0] == '\0') {
			if (given == NULL)
				return set(a, o->name, NULL, error, size);
			snprintf(error, size, "%s takes no value", o->name);
			return false;
		}
		if (given == NULL && *i + 1 >= argc) {
			snprintf(error, size, "%s: expected %s after it", o->name, o->arg);
			return false;
		}
		return set(a, o->name, given != NULL ? given + 1 : argv[++*i], error, size);
	}
	snprintf(error, size, "unknown option %.60s; see kraitctl --help", text);
	return false;
}

static bool check_arguments(const struct ctl_args *a, char *error, size_t size)
{
	const struct ctl_verb *v = a->verb;

	if (a->pool != NULL && (v->flags & VERB_OF_NODE)) {
		snprintf(error, size, "%s concerns the whole node: found --pool %.60s", v->name,
			 a->pool);
		return false;
	}
	if (a->count >= v->min && a->count <= v->max)
		return true;
	snprintf(error, size, "found %u argument%s, expected: kraitctl %s%s%s", a->count,
		 a->count == 1 ? "" : "s", v->name, v->args[0] != '\0' ? " " : "", v->args);
	return false;
}

bool ctl_args_parse(struct ctl_args *a, int argc, char **argv, const char *default_node,
		    char *error, size_t size)
{
	bool options_end = false;
	int arguments = 0; /* they are gathered at the front of argv, in their order */

	*a = (struct ctl_args){ .node = default_node, .timeout_ms = 5000, .interval_ms = 1000 };
	a->arg = argv;
	for (int i = 1; i < argc; i++) {
		char *text = argv[i];

		if (!options_end && strcmp(text, "--") == 0) {
			options_end = true;
		} else if (!options_end && (strcmp(text, "-f") == 0 || strcmp(text, "-h") == 0)) {
			a->follow |= text[1] == 'f';
			a->want = text[1] == 'h' ? WANT_HELP : a->want;
		} else if (!options_end && strncmp(text, "--", 2) == 0) {
			if (!take_option(a, argc, argv, &i, error, size))
				return false;
		} else if (a->verb == NULL && strcmp(text, "help") == 0) {
			a->want = WANT_HELP;
		} else if (a->verb == NULL) {
			if ((a->verb = ctl_verb_find(text)) == NULL) {
				snprintf(error, size, "unknown verb %.60s; see kraitctl --help",
					 text);
				return false;
			}
		} else {
			argv[arguments++] = text;
			/* what follows is Python's: -1, or a text that begins with -- */
			options_end = options_end || a->verb->shape == SHAPE_CALL;
		}
	}
	a->count = (unsigned)arguments;
	if (a->want != WANT_VERB)
		return true;
	if (a->verb == NULL) {
		snprintf(error, size, "expected a verb; see kraitctl --help");
		return false;
	}
	if (a->follow && a->verb->shape != SHAPE_FOLLOW) {
		snprintf(error, size, "-f is for log and events");
		return false;
	}
	return check_arguments(a, error, size);
}

/* ---- telling ---- */

static void put_verb(struct buf *out, const struct ctl_verb *v)
{
	text_put(out, "  %s%s%s\n        %s (%s)\n", v->name, v->args[0] != '\0' ? " " : "",
		 v->args, v->help, ctl_role(v));
}

void ctl_help(struct buf *out, const struct ctl_verb *verb)
{
	text_put(out, "usage: kraitctl [OPTION]... %s%s%s\n\n", verb != NULL ? verb->name : "VERB",
		 verb == NULL || verb->args[0] != '\0' ? " " : "",
		 verb != NULL ? verb->args : "[ARGUMENT]...");
	if (verb != NULL) {
		text_put(out, "%s. It needs the role %s.\n", verb->help, ctl_role(verb));
		return;
	}
	text_put(out, "Verbs, and the role that each needs:\n");
	for (unsigned i = 0; i < ctl_verb_count; i++)
		put_verb(out, &ctl_verbs[i]);
	text_put(out, "\nOptions:\n");
	for (size_t i = 0; i < OPTIONS; i++)
		text_put(out, "  %s%s%s\n        %s\n", options[i].name,
			 options[i].arg[0] != '\0' ? " " : "", options[i].arg, options[i].help);
	text_put(out,
		 "\nExit status: 0 done; 1 the node answered an error; 2 usage; 3 the node is not "
		 "there or\ndoes not answer in time; 4 the cookie is wrong.\n");
}

/* In a table's cell a bar is written \|. */
static void put_cell(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			buf_put_u8(out, '\\');
		buf_put_u8(out, (uint8_t)*text);
	}
}

void ctl_help_markdown(struct buf *out)
{
	text_put(out, "| verb | role | what it does |\n| --- | --- | --- |\n");
	for (unsigned i = 0; i < ctl_verb_count; i++) {
		const struct ctl_verb *v = &ctl_verbs[i];

		text_put(out, "| `%s%s", v->name, v->args[0] != '\0' ? " " : "");
		put_cell(out, v->args);
		text_put(out, "` | %s | %s |\n", ctl_role(v), v->help);
	}
	text_put(out, "\n| option | meaning |\n| --- | --- |\n");
	for (size_t i = 0; i < OPTIONS; i++)
		text_put(out, "| `%s%s%s` | %s |\n", options[i].name,
			 options[i].arg[0] != '\0' ? " " : "", options[i].arg, options[i].help);
}

void ctl_words(struct buf *out)
{
	for (size_t i = 0; i < OPTIONS; i++)
		text_put(out, "option\t%s\t%s\t%s\n", options[i].name, options[i].arg,
			 options[i].help);
	for (unsigned i = 0; i < ctl_verb_count; i++)
		text_put(out, "verb\t%s\t%s\t%s\t%s\n", ctl_verbs[i].name, ctl_role(&ctl_verbs[i]),
			 ctl_verbs[i].args, ctl_verbs[i].help);
}
