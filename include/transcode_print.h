/* transcode_print.h - fingerprints of what has no elements, and how they are put together; a room of
 * transcode. See transcode_keys.c for what they are for. */
#ifndef KRAIT_TRANSCODE_PRINT_H
#define KRAIT_TRANSCODE_PRINT_H

#include "transcode_private.h"

struct print {
	uint64_t a, b;
};

/* What a fingerprint is of; apart from Python's numbers no two of them are ever equal. */
enum mark {
	MARK_NUMBER = 1, /* an integer of 64 bits */
	MARK_BIG,
	MARK_FLOAT,
	MARK_ATOM,
	MARK_TEXT,
	MARK_BYTES,
	MARK_BITS,
	MARK_NAME, /* pid, reference, port, export */
	MARK_FUN,
	MARK_LIST,
	MARK_IMPROPER,
	MARK_TUPLE,
	MARK_MAP,
};

/* One more mixing step. */
struct print print_mix(struct print p, uint64_t x, uint64_t y);
/* Of a number, and of bytes. */
struct print print_of(enum mark mark, uint64_t value);
struct print print_bytes(enum mark mark, const uint8_t *data, size_t len);
/* Of an atom, and of any term that has no elements (for KEYS_PYTHON_*, a fun has none). */
struct print print_atom(const uint8_t *t, enum key_rule rule);
struct print print_leaf(const uint8_t *t, enum key_rule rule);

#endif
