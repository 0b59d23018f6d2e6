/* term_home.h - what a BEAM may be told of its own processes, ports and references.
 *
 * An identifier has a node's name and a creation, and anybody may write one of another node. To everybody else
 * it is opaque; but the node that it names reads it as one of its own, and refuses it as a corrupt term when it
 * cannot have made it: the connection that brought it is closed, and everything that lives on it ends. So what
 * one peer has told us of another, such as the caller of a forwarded call, is looked at before that one is told.
 *
 * Seen with OTP 25.2; for others: `dec_pid` and what is below it in erts' external.c. Pids of OTP 24 and 25 have
 * 15 and 13 bits, later ones 28 and 32. That is when references to processes, which are the aliases of calls,
 * became longer than 3 words: it tells them apart. Identifiers of another creation are of an earlier life, and
 * are read. */
#ifndef KRAIT_TERM_HOME_H
#define KRAIT_TERM_HOME_H

#include "term.h"

enum term_ids {
	TERM_IDS_UNKNOWN, /* taken for WIDE: of a process that is there more must not be asked */
	TERM_IDS_NARROW,  /* OTP 24, 25 */
	TERM_IDS_WIDE,    /* OTP 26 and later */
};

struct term_home {
	const char *node;
	size_t node_len;
	uint32_t creation;
	enum term_ids ids;
};

/* Of a node whose calls have this alias, a checked term that is a reference. */
enum term_ids term_ids_of(const uint8_t *alias);

/* Whether the pid's node is this one, in this life or another. */
bool term_home_is(const struct term_home *h, const struct term_pid *pid);
/* Whether a process of this node, in this life, can have such a pid. */
bool term_home_has(const struct term_home *h, const struct term_pid *pid);
/* Whether the node can read all identifiers in the checked term. */
bool term_home_reads(const struct term_home *h, const uint8_t *term);

#endif
