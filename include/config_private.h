/* config_private.h - what the rooms of config share; nobody else includes it.
 *
 *   config.c        the table of options and the reading of it
 *   config_allow.c  what may be called
 *   config_address.c  ADDR:PORT
 *   config_help.c   what is written from the table */
#ifndef KRAIT_CONFIG_PRIVATE_H
#define KRAIT_CONFIG_PRIVATE_H

#include "config.h"

enum type {
	T_TEXT,  /* char * */
	T_LIST,  /* struct config_list, comma-separated, may be repeated */
	T_PATHS, /* struct config_list, colon-separated, may be repeated */
	T_UINT,  /* uint64_t within min..max */
	T_TIME,  /* uint64_t within min..max, or "infinity" */
	T_ENUM,  /* uint64_t, the index of the word in `words` */
	T_FLAG   /* uint64_t, no value */
};

struct option {
	const char *name, *unit, *words;
	enum type type;
	size_t at;
	const char *initial;
	uint64_t min, max;
	const char *help;
};

/* The rows of the table, one by one; NULL after the last. */
const struct option *config_option(size_t index);

#endif
