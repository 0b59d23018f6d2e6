/* config_change.h - a configuration while the node runs: told in terms, one option set, two compared.
 *
 * Options have names with underscores here, as in a file. Pure. */
#ifndef KRAIT_CONFIG_CHANGE_H
#define KRAIT_CONFIG_CHANGE_H

#include "config.h"
#include "term.h"

struct option; /* a row of the table */

/* Where an option is kept: in the node's part, or in the pool's (one of the two may be NULL if no option of
 * it is asked for). */
struct config_place {
	struct config *node;
	struct config_pool *pool;
};

/* The option of that name, `-` or `_` in it; NULL: there is none. */
const struct option *config_option_named(const char *name, size_t len);
/* All options, one by one: the one after `o`, NULL: the first, and at the end. */
const struct option *config_option_after(const struct option *o);
bool config_is_of_node(const struct option *o);
bool config_changes_workers(const struct option *o); /* they are replaced for it */
bool config_needs_restart(const struct option *o);   /* it cannot change while the node runs */

/* Appends the name as an atom; the value: an integer, an atom, a binary, a list of binaries, {Min, Max}; nil
 * where there is none; as text for people. */
void config_put_option(struct buf *out, const struct option *o);
void config_put_name_text(struct buf *out, const struct option *o);
void config_put_term(struct buf *out, const struct option *o, struct config_place at);
void config_put_text(struct buf *out, const struct option *o, struct config_place at);
/* A map of all options of the node, or of a pool. */
void config_put_map(struct buf *out, struct config_place at, bool of_node);

bool config_differs(const struct option *o, struct config_place a, struct config_place b);
/* Whether a difference between the two is one that workers are replaced for. */
bool config_needs_workers(struct config_pool *a, struct config_pool *b);
/* Exchanges the values, and where they come from. */
void config_swap(const struct option *o, struct config_place a, struct config_place b);

/* A copy with all that it owns, the interpreter included; NULL: no memory. */
struct config_pool *config_pool_copy(struct config_pool *pool) __attribute__((warn_unused_result));

/* Sets the option to the value of a term: an integer, an atom, a binary, a list of these, {Min, Max}; nil or
 * undefined where the option may have no value. 0, -ENOMEM, or -EINVAL with what was expected. */
int config_set_term(struct config_place at, const struct option *o, const uint8_t *value,
		    char *expected, size_t size) __attribute__((warn_unused_result));
/* Whether all that `c` holds goes together. As above. */
int config_goes_together(struct config *c, char *expected, size_t size)
	__attribute__((warn_unused_result));

#endif
