/* transcode_private.h - what the rooms of transcode share; nobody else includes it.
 *
 *   transcode.c       the sink that both directions write to, faults and their paths
 *   transcode_args.c  terms to msgpack: the entrance
 *   transcode_in.c    through a term
 *   transcode_pack.c  the single values of that
 *   transcode_out.c   msgpack to terms
 *   transcode_etf.c   the single values of that
 *   transcode_struct.c, transcode_struct_out.c, transcode_tensor.c  what is a type of its own in Python
 *   transcode_keys.c  are two keys of a map the same?
 *   transcode_print.c what such a comparison is made of
 *   transcode_name.c  atoms, pids and their kin in their one canonical form */
#ifndef KRAIT_TRANSCODE_PRIVATE_H
#define KRAIT_TRANSCODE_PRIVATE_H

#include "term_tags.h"
#include "transcode.h"

#include <sys/types.h>

/* Every scalar of either format, and every head, fits into this many bytes. */
#define SINK_SLACK 32

/* The end of a buffer, being written. Whoever writes makes room first. */
struct sink {
	uint8_t *w, *end; /* next byte, end of the memory */
	struct buf *out;
	size_t start;               /* length of `out` at the beginning */
	size_t max;                 /* bytes that may be written */
	size_t seen;                /* when it is TOO_LARGE: bytes that were to be written so far */
	size_t limit;               /* of `out`, restored at the end */
	const char *what;           /* of the fault, in words; "" if there are none */
	struct parcel_parts *apart; /* where large binaries go; NULL: into `out` */
	size_t apart_before;        /* bytes that were there at the beginning */
};

/* Large binaries go there from now on; may be NULL. */
void sink_apart(struct sink *s, struct parcel_parts *apart);
/* Bytes that count for `max`: written, and gone apart. */
size_t sink_total(const struct sink *s);

/* OK, or the fault and `out` is as it was. Afterwards there is room for SINK_SLACK bytes. */
enum transcode_fault sink_begin(struct sink *s, struct buf *out, size_t max_bytes);
/* Makes room for `n` bytes. */
enum transcode_fault sink_more(struct sink *s, size_t n);
/* Makes room for `n` bytes of content, which are held against the limit now, and SINK_SLACK more. */
enum transcode_fault sink_long(struct sink *s, size_t n);
/* Keeps what was written, or cuts it off. `out` is as before in all else. */
void sink_end(struct sink *s, bool keep);

static inline size_t sink_used(const struct sink *s)
{
	return (size_t)(s->w - s->out->data) - s->start;
}

static inline bool sink_has(const struct sink *s, size_t n)
{
	return (size_t)(s->end - s->w) >= n;
}

static inline enum transcode_fault sink_fault(struct sink *s, enum transcode_fault fault,
					      const char *what)
{
	s->what = what;
	return fault;
}

static inline void sink_put(struct sink *s, const void *data, size_t n)
{
	if (n > 0)
		memcpy(s->w, data, n);
	s->w += n;
}

/* Offsets of the keys of all maps that are open, innermost last. */
struct offsets {
	size_t *at;
	size_t len, cap;
	size_t few[64]; /* where `at` points as long as that will do */
};

void offsets_init(struct offsets *o);
void offsets_close(struct offsets *o);
int offsets_grow(struct offsets *o);

static inline int offsets_push(struct offsets *o, size_t at)
{
	if (o->len == o->cap && offsets_grow(o) != 0)
		return -1;
	o->at[o->len++] = at;
	return 0;
}

/* What makes two keys the same. */
enum key_rule {
	KEYS_TERM,         /* =:= of the BEAM, but 0.0 and -0.0 are the same, as before OTP 27 */
	KEYS_PYTHON_UTF8,  /* == of Python, where binaries become str if they can */
	KEYS_PYTHON_BYTES, /* == of Python, where binaries become bytes */
	KEYS_NAME,         /* names of keyword arguments: the text alone */
};

/* Looks at `n` keys, terms at base + at[0 .. n - 1], and at the maps within them. -EEXIST: a key is
 * there twice, *which is its index (or that of the key within which the two are); -E2BIG: nested too
 * deeply; -ENOMEM. Expected time O(bytes of the keys). */
int keys_check(const uint8_t *base, const size_t *at, size_t n, enum key_rule rule, size_t *which);

/* A cheap look before that: the class of a key of a checked map, a bit; and whether `pairs` keys of these
 * classes can be equal for Python, or something within one of them. */
unsigned key_class(const uint8_t *t);
bool keys_may_clash(unsigned classes, uint64_t pairs);

/* Atoms that msgpack has a byte for. */
enum word { WORD_NONE, WORD_NIL, WORD_TRUE, WORD_FALSE };
enum word atom_word(struct span text);

/* An atom's text as UTF-8; `room` takes it if it has to be converted. */
struct span atom_utf8(const uint8_t *atom, uint8_t room[2 * TERM_ATOM_MAX]);

/* A pid, reference, port or export fun: NEW_PID, NEWER_REFERENCE, V4_PORT, EXPORT, atoms in UTF-8, so
 * that equal ones have equal bytes. Returns the number of bytes. */
#define NAME_BYTES_MAX (1 + 2 * (3 + TERM_ATOM_BYTES) + 32)
size_t name_canonical(const uint8_t *t, uint8_t out[NAME_BYTES_MAX]);

/* A path, built from its end to its beginning. */
struct path {
	char text[sizeof((struct transcode_error *)0)->where];
	size_t at; /* first character */
	bool full; /* something did not fit */
};

void path_init(struct path *p);
void path_index(struct path *p, uint64_t index);
void path_key(struct path *p,
	      const uint8_t *key); /* a checked term; NULL: one that cannot be shown */
void path_finish(struct path *p, const char *root, struct transcode_error *err);

#endif
