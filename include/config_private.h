/* config_private.h - what the rooms of config share; nobody else includes it.
 *
 *   config_table.c  the table of options
 *   config.c        the reading of a command line
 *   config_set.c    values: read from text, compared, copied
 *   config_check.c  what concerns more than one option; how a fault is told
 *   config_file.c   the reading of a file, by libConfuse
 *   config_print.c  a configuration written as a file
 *   config_text.c   what is refused of a file's text before that
 *   config_allow.c  what may be called
 *   config_help.c   what is written from the table for people
 *   config_address.c  ADDR:PORT
 *   config_help.c   what is written from the table for people
 *   config_help_man.c  and for other tools */
#ifndef KRAIT_CONFIG_PRIVATE_H
#define KRAIT_CONFIG_PRIVATE_H

#include "config.h"

enum type {
	T_TEXT,  /* char * */
	T_LIST,  /* struct config_list, comma-separated, may be repeated */
	T_PATHS, /* struct config_list, colon-separated, may be repeated */
	T_ITEMS, /* struct config_list, one item at a time, may be repeated */
	T_UINT,  /* uint64_t within min..max */
	T_RANGE, /* two of them: N, or N..M */
	T_TIME,  /* uint64_t within min..max, or "infinity" */
	T_ENUM,  /* uint64_t, the index of the word in `words` */
	T_FLAG   /* uint64_t, no value */
};

enum scope { OF_NODE, OF_POOL }; /* which struct `at` is an offset in */

/* When a new value counts while the node runs. */
enum change {
	AT_ONCE, /* for what comes next */
	WORKERS, /* they are replaced one by one, after a fresh fork server has started */
	RESTART, /* not before the node starts again */
};

struct option {
	const char *name, *unit, *words;
	enum type type;
	enum scope scope;
	enum change change;
	size_t at;
	const char *initial;
	uint64_t min, max;
	const char *help;
};

/* The rows of the table, one by one; NULL after the last. */
const struct option *config_option(size_t index);

/* A letter of a name as files and terms write it. */
static inline char config_underscored(char c)
{
	if (c == '-')
		return '_';
	return c;
}

size_t config_index(const struct option *o);
const struct option *config_pool_name(void);  /* the row `pool` */
bool config_in_files(const struct option *o); /* it has a place in a section of krait.conf */

/* What the argument (`--help`, ...) asks for; NULL: it asks for nothing of that kind. */
void (*config_help_of(const char *argument))(struct buf *out);
void config_put(struct buf *out, const char *text);
const char *config_value_of(const struct option *o); /* such as "ms" or "fork|spawn"; never NULL */

/* What was wrong: "OPTION: found FOUND, expected EXPECTED". */
struct config_wrong {
	const struct option *option; /* NULL: none by itself */
	const char *pool;            /* the name of the pool in which, or NULL */
	unsigned line;               /* of the file; 0: not in one */
	bool in_file;                /* in the file as a whole */
	char found[320], expected[192];
};

/* Notes it, `found` in quotes; `_as`: as it stands. -EINVAL. */
int config_wrong(struct config_wrong *why, const struct option *o, const char *found,
		 const char *expected);
int config_wrong_as(struct config_wrong *why, const struct option *o, const char *found,
		    const char *expected);
int config_wrong_twice(struct config_wrong *why, const char *name);
void config_say(const struct config *c, const struct config_wrong *why, char *error, size_t size);

/* Where the option's value is kept, in the node's part or in that pool's, and where it comes from. */
void *config_field(struct config *c, struct config_pool *pool, const struct option *o);
uint8_t *config_source(struct config *c, struct config_pool *pool, const struct option *o);
unsigned *config_line(struct config *c, struct config_pool *pool, const struct option *o);

/* Sets an option to what the text says. A list is added to if it comes from the same source, and else
 * replaced. 0, -ENOMEM, or -EINVAL with `why` set. */
int config_set(struct config *c, struct config_pool *pool, const struct option *o,
	       const char *value, enum config_source source, struct config_wrong *why)
	__attribute__((warn_unused_result));
void config_clear(struct config *c, struct config_pool *pool, const struct option *o);
bool config_same(const struct option *o, const void *a, const void *b); /* fields */
int config_copy(const struct option *o, void *to, const void *from);    /* to an empty field */
bool config_is_list(const struct option *o);
const char *config_word(const struct option *o, uint64_t index,
			size_t *len); /* of an enumeration */
void config_put_value(struct buf *out, const struct option *o, const void *field);
void config_put_name(struct buf *out, const struct option *o); /* with underscores */

/* The option of that name, with `-` or `_`; NULL: there is none. */
const struct option *config_find(const char *name, size_t len);
/* One more pool, with its defaults; named, unless the name is NULL. */
int config_add_pool(struct config *c, const char *name, enum config_source source,
		    struct config_wrong *why);
struct config_pool *config_pool_named(const struct config *c, const char *name);
int config_check(struct config *c, struct config_wrong *why);
int config_check_pool(struct config_pool *pool, struct config_wrong *why); /* by itself */

/* Reads a file into what has only defaults. */
int config_file_read(struct config *c, const char *file, struct config_wrong *why);
/* The same of its text of `len` bytes, a NUL behind; comments in it become spaces. */
int config_file_parse(struct config *c, char *text, size_t len, struct config_wrong *why);
/* Whether libConfuse may see the text. */
int config_text_check(char *text, size_t len, struct config_wrong *why);

#endif
