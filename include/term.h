/* term.h - Erlang terms in the external format: checked once, then read and written.
 *
 * Format: "External Term Format" of the ERTS documentation. Nothing here recurses, so a term of any
 * nesting is safe; depth is limited where a term is given to somebody who does (transcode.h).
 *
 * A term from a socket is first passed to term_check(), which proves that every length stays within
 * its bytes. All readers below rely on that and take no end pointer. A term is a pointer to its tag
 * byte; the version byte (131) stands before it and is not part of it. */
#ifndef KRAIT_TERM_H
#define KRAIT_TERM_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TERM_VERSION    131
#define TERM_ATOM_MAX   255  /* characters of an atom */
#define TERM_ATOM_BYTES 1020 /* bytes of an atom in UTF-8 */

enum term_kind {
	TERM_INT,   /* SMALL_INTEGER, INTEGER; any integer that fits int64_t is read by term_int */
	TERM_BIG,   /* SMALL_BIG, LARGE_BIG */
	TERM_FLOAT, /* NEW_FLOAT, FLOAT */
	TERM_ATOM,  /* ATOM_UTF8, SMALL_ATOM_UTF8, ATOM (Latin-1), SMALL_ATOM (Latin-1) */
	TERM_BINARY,
	TERM_BITS, /* BIT_BINARY */
	TERM_NIL,
	TERM_LIST,   /* proper or improper */
	TERM_STRING, /* STRING_EXT: a list of bytes */
	TERM_TUPLE,
	TERM_MAP,
	TERM_PID,
	TERM_REF,
	TERM_PORT,
	TERM_EXPORT, /* fun M:F/A */
	TERM_FUN,    /* NEW_FUN */
};

/* A stretch of bytes that somebody else owns. */
struct span {
	const uint8_t *at;
	size_t len;
};

/* A process identifier. `node` points at the text of the node's name (UTF-8, or Latin-1 if the
 * sender wrote an old atom: the two agree for every legal node name) in the bytes it was read from. */
struct term_pid {
	const char *node;
	uint16_t node_len;
	uint32_t id, serial, creation;
};

/* Checks that one whole, well-formed term begins at `data` and ends within `len` bytes. 0 and, when
 * `used` is not NULL, the term's length; -EBADMSG when it is malformed or cut off. Refused with it:
 * compressed terms, atoms over 255 characters or not UTF-8, atom cache references, a fun whose size
 * field lies, a bit binary with a bit count outside 1..8, a float that is not finite, a negative
 * or absurd count, a pid whose node is not an atom. Time O(len), memory O(1). */
int term_check(const uint8_t *data, size_t len, size_t *used) __attribute__((warn_unused_result));

/* Funs within the environment of funs that term_check() follows; deeper ones are refused. The one
 * place where it has to remember where it is. */
#define TERM_FUNS_MAX 128

/* Whether `len` bytes are UTF-8 as Python's strict decoder takes it: no surrogates, no overlong forms,
 * nothing over U+10FFFF. Several GB/s where it is ASCII. */
bool term_utf8(const void *text, size_t len);

/* Readers. `t` points at the tag of a checked term. */
enum term_kind term_kind(const uint8_t *t);

/* The byte after the term. O(its length). */
const uint8_t *term_skip(const uint8_t *t);

/* An integer of any encoding that fits int64_t; false for anything else. */
bool term_int(const uint8_t *t, int64_t *value);

/* A float of either encoding; false for anything else. */
bool term_float(const uint8_t *t, double *value);

/* An atom's text, not NUL-terminated; false for anything else. Latin-1 atoms are returned as their
 * bytes with *latin1 true (NULL: refuse those that have bytes over 127). */
bool term_atom(const uint8_t *t, struct span *text, bool *latin1);

/* Whether the term is the atom `name` (ASCII). */
bool term_is_atom(const uint8_t *t, const char *name);

/* A binary's bytes; false for anything else. */
bool term_binary(const uint8_t *t, struct span *bytes);

/* A tuple's first element and arity; false for anything else. Elements follow each other. */
bool term_tuple(const uint8_t *t, uint32_t *arity, const uint8_t **first);

/* A list's first element and number of elements; the tail follows the last one (NIL if the list is
 * proper). True for NIL (count 0, *first NULL); false for anything else, STRING included. */
bool term_list(const uint8_t *t, uint32_t *count, const uint8_t **first);

/* A map's first key and number of pairs; false for anything else. Keys and values alternate. */
bool term_map(const uint8_t *t, uint32_t *pairs, const uint8_t **first);

/* The value of a key that is an atom, and that as a number; NULL and 0: `map` (NULL, too) has none, or it is
 * no positive integer. */
const uint8_t *term_map_get(const uint8_t *map, const char *key);
uint64_t term_map_uint(const uint8_t *map, const char *key);

/* A pid of either encoding; false for anything else. */
bool term_pid(const uint8_t *t, struct term_pid *pid);

/* The bytes of the whole term, tag included. */
struct span term_span(const uint8_t *t);

/* Whether two pids are the same. */
bool term_pid_equal(const struct term_pid *a, const struct term_pid *b);

/* Writers. Each appends one term (or the head of one: tuple, list, map) to `b`; failure is sticky
 * in `b->err`. A list of n > 0 elements is its head, n terms and a final term_put_nil(). */
void term_put_version(struct buf *b);
void term_put_int(struct buf *b, int64_t value);
void term_put_uint(struct buf *b, uint64_t value);
void term_put_float(struct buf *b,
		    double value); /* NaN, infinities: atoms, as transcode.h has them */
void term_put_atom(struct buf *b, const char *text);
/* Of a map: a key, an atom, and its value. */
void term_put_pair_uint(struct buf *b, const char *key, uint64_t value);
void term_put_pair_atom(struct buf *b, const char *key, const char *value);
void term_put_atom_n(struct buf *b, const char *text,
		     size_t len); /* UTF-8, at most 255 characters */
void term_put_bool(struct buf *b, bool value);
void term_put_binary(struct buf *b, const void *data, size_t len);
void term_put_text(struct buf *b, const char *text); /* a binary */
void term_put_tuple(struct buf *b, uint32_t arity);
void term_put_list(struct buf *b, uint32_t count); /* 0 writes NIL: no term_put_nil() then */
void term_put_nil(struct buf *b);
void term_put_map(struct buf *b, uint32_t pairs);
void term_put_pid(struct buf *b, const struct term_pid *pid);
/* A reference of ours: a word of zero, then two of `id`, the low one first. */
void term_put_ref(struct buf *b, const char *node, uint32_t creation, uint64_t id);
/* An encoded term, copied. */
void term_put_raw(struct buf *b, struct span term);

#endif
