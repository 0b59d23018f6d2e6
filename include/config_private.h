/* config_private.h - what the rooms of config share; nobody else includes it.
 *
 *   config_table.c  the table of options
 *   config.c        the reading of it
 *   config_allow.c  what may be called
 *   config_help.c   what is written from the table */
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

#endif
