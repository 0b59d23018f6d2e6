/* config_file.c - the reading of a file, by libConfuse.
 *
 * What libConfuse is told of sections and options is made from the table: `node { ... }` and, as often as
 * wanted, `pool NAME { ... }`, each option a text or a list of texts, which config_set() reads where
 * libConfuse comes upon it, so that the message can name the line. Names are written with `_` or `-`.
 * libConfuse prints nothing and keeps nothing: its faults are put into our words here.
 *
 * Its lexer is global, and its sections have no room for a pointer of ours: one file at a time. */
#include "config_private.h"

#include "mem.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file that is being read. */
static struct reading {
	struct config *c;
	struct config_wrong *why;
	unsigned nodes; /* sections `node` */
	int rc;         /* the first fault */
} * reading;

static int fault(const cfg_t *cfg, int rc)
{
	if (reading->rc == 0) {
		reading->rc = rc;
		reading->why->line = (unsigned)cfg->line;
	}
	return -1;
}

/* The pool of the section; made where it is new. NULL: that went wrong. */
static struct config_pool *pool_of(cfg_t *section)
{
	const char *title = cfg_title(section);
	struct config_pool *pool = config_pool_named(reading->c, title);
	int rc;

	if (pool != NULL)
		return pool;
	rc = config_add_pool(reading->c, title, FROM_FILE, reading->why);
	if (rc != 0) {
		fault(section, rc);
		return NULL;
	}
	pool = reading->c->pool[reading->c->pools - 1];
	*config_line(reading->c, pool, config_pool_name()) = (unsigned)section->line;
	return pool;
}

/* A value of an option, or one item of a list. */
static int on_value(cfg_t *section, cfg_opt_t *opt, const char *value, void *result)
{
	const struct option *o = config_find(opt->name, strlen(opt->name));
	struct config_pool *pool = NULL;
	int rc;

	/* a path such as "node|port" leads libConfuse into a section from outside */
	if (strcmp(section->name, o->scope == OF_NODE ? "node" : "pool") != 0)
		return fault(section,
			     config_wrong(reading->why, NULL, opt->name, "it in a section"));
	if (o->scope == OF_POOL && (pool = pool_of(section)) == NULL)
		return -1;
	if (*config_source(reading->c, pool, o) == FROM_FILE &&
	    (!config_is_list(o) || opt->nvalues <= 1))
		rc = config_wrong_as(reading->why, o, "again", "one value of it in a section");
	else
		rc = config_set(reading->c, pool, o, value, FROM_FILE, reading->why);
	*config_line(reading->c, pool, o) = (unsigned)section->line;
	*(const char **)result = value;
	return rc == 0 ? 0 : fault(section, rc);
}

/* The end of a section. One without options makes a pool, too. */
static int on_pool(cfg_t *root, cfg_opt_t *opt)
{
	(void)root;
	return pool_of(cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1)) != NULL ? 0 : -1;
}

static int on_node(cfg_t *root, cfg_opt_t *opt)
{
	(void)opt;
	if (reading->nodes++ == 0)
		return 0;
	return fault(root, config_wrong_as(reading->why, NULL, "node { ... } twice",
					   "one section of that name"));
}

/* An option that does not exist here. */
static int no_option(const char *section, const char *name)
{
	const struct option *o = config_find(name, strlen(name));
	const char *expected = "a section, node { ... } or pool NAME { ... }";

	if (o == config_pool_name() && strcmp(section, "root") != 0)
		expected = "the sections of pools beside that of the node";
	else if (strcmp(name, "include") == 0)
		expected = "one file: nothing is included";
	else if (strcmp(section, "node") == 0)
		expected = o != NULL ? "it in a section pool NAME { ... }"
				     : "an option of the node (see krait --help)";
	else if (strcmp(section, "pool") == 0)
		expected = o != NULL ? "it in the section node { ... }"
				     : "an option of a pool (see krait --help)";
	return config_wrong(reading->why, NULL, name, expected);
}

/* What libConfuse has to say, in our words. The texts are its own formats, with one text or none. */
static void on_error(cfg_t *cfg, const char *format, va_list args)
{
	static const struct {
		const char *format, *found, *expected;
	} words[] = {
		{ "unexpected token '%s'", NULL, "NAME = VALUE, and braces around several values" },
		{ "missing equal sign after option '%s'", NULL, "a \"=\" after it" },
		{ "missing opening brace for section '%s'", NULL, "a \"{\" after it and its name" },
		{ "missing title for section '%s'", NULL, "a name after it: pool NAME { ... }" },
		{ "found duplicate title '%s'", NULL, "different names of pools" },
		{ "premature end of file", "the end of the file", "a value before it" },
	};
	char text[sizeof reading->why->found];

	if (reading->rc != 0)
		return;
	if (strcmp(format, "no such option '%s'") == 0) {
		fault(cfg, no_option(cfg->name, va_arg(args, const char *)));
		return;
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(format, words[i].format) != 0)
			continue;
		fault(cfg, words[i].found != NULL
				   ? config_wrong_as(reading->why, NULL, words[i].found,
						     words[i].expected)
				   : config_wrong(reading->why, NULL, va_arg(args, const char *),
						  words[i].expected));
		return;
	}
	vsnprintf(text, sizeof text, format, args);
	fault(cfg, config_wrong_as(reading->why, NULL, text, "a file as krait.conf(5) says"));
}

/* The options of a scope, for libConfuse; each under both spellings. */
static void make_options(cfg_opt_t *opts, enum scope scope)
{
	static char names[CONFIG_OPTIONS_MAX][32];
	const struct option *o;

	for (size_t i = 0; (o = config_option(i)) != NULL; i++) {
		if (o->scope != scope || !config_in_files(o))
			continue;
		snprintf(names[i], sizeof names[i], "%s", o->name);
		for (char *p = names[i]; *p != '\0'; p++)
			*p = config_underscored(*p);
		for (int dashed = 0; dashed < (strchr(o->name, '-') != NULL ? 2 : 1); dashed++)
			*opts++ = (cfg_opt_t){ .name = dashed ? o->name : names[i],
					       .type = CFGT_STR,
					       .flags = CFGF_NODEFAULT |
							(config_is_list(o) ? CFGF_LIST : CFGF_NONE),
					       .parsecb = on_value };
	}
	*opts = (cfg_opt_t)CFG_END();
}

/* Of an empty name of an option libConfuse says nothing at all. It stands in the section that it was reading,
 * which has come farthest. */
static int no_name(cfg_t *cfg)
{
	static const char *const names[] = { "node", "pool" };
	int rc = config_wrong(reading->why, NULL, "", "the name of an option");
	int line = cfg->line;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		for (unsigned k = 0; k < cfg_size(cfg, names[i]); k++) {
			const cfg_t *section = cfg_getnsec(cfg, names[i], k);

			if (section != NULL && section->line > line)
				line = section->line;
		}
	}
	reading->why->line = (unsigned)line;
	return rc;
}

int config_file_parse(struct config *c, char *text, size_t len, struct config_wrong *why)
{
	static cfg_opt_t node[2 * CONFIG_OPTIONS_MAX + 1], pool[2 * CONFIG_OPTIONS_MAX + 1];
	cfg_opt_t sections[] = {
		CFG_SEC("node", node, CFGF_NODEFAULT),
		CFG_SEC("pool", pool, CFGF_TITLE | CFGF_MULTI | CFGF_NO_TITLE_DUPES), CFG_END()
	};
	struct reading r = { .c = c, .why = why };
	cfg_t *cfg;
	int rc;

	if ((rc = config_text_check(text, len, why)) != 0)
		return rc;
	if (text[strspn(text, " \t\n")] == '\0')
		return 0; /* nothing in it; older C libraries cannot open such a text */
	make_options(node, OF_NODE);
	make_options(pool, OF_POOL);
	if ((cfg = cfg_init(sections, CFGF_NONE)) == NULL)
		return -ENOMEM;
	reading = &r;
	errno = 0;
	cfg_set_error_function(cfg, on_error);
	cfg_set_validate_func(cfg, "node", on_node);
	cfg_set_validate_func(cfg, "pool", on_pool);
	rc = cfg_parse_buf(cfg, text);
	if (rc != CFG_SUCCESS && r.rc == 0)
		r.rc = errno == ENOMEM ? -ENOMEM : no_name(cfg);
	cfg_free(cfg);
	reading = NULL;
	return r.rc;
}

/* The file's text with a NUL behind it; NULL: `why` says why, or there is no memory for it. */
static char *load(const char *file, size_t *len, struct config_wrong *why)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st = { 0 };
	char *text = NULL;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) != 0)
		config_wrong_as(why, NULL, strerror(errno), "a file that can be read");
	else if (!S_ISREG(st.st_mode))
		config_wrong_as(why, NULL, S_ISDIR(st.st_mode) ? "a directory" : "something else",
				"a regular file");
	else if (st.st_size > CONFIG_FILE_MAX)
		config_wrong_as(why, NULL, "a longer file", "at most 1 MiB");
	else
		text = mem_alloc(CONFIG_FILE_MAX + 1);
	for (*len = 0; text != NULL && n > 0 && *len < CONFIG_FILE_MAX; *len += (size_t)n)
		if ((n = read(fd, text + *len, CONFIG_FILE_MAX - *len)) < 0)
			break;
	if (text != NULL && n < 0) {
		config_wrong_as(why, NULL, strerror(errno), "a file that can be read");
		mem_free(text);
		text = NULL;
	}
	if (text != NULL)
		text[*len] = '\0';
	why->in_file = text == NULL && why->found[0] != '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

int config_file_read(struct config *c, const char *file, struct config_wrong *why)
{
	size_t len;
	char *text = load(file, &len, why);
	int rc;

	if (text == NULL)
		return why->in_file ? -EINVAL : -ENOMEM;
	rc = config_file_parse(c, text, len, why);
	mem_free(text);
	return rc;
}
