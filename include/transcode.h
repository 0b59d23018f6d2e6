/* transcode.h - Erlang terms to msgpack and back: one pass, bounded, no recursion on the stack of C.
 *
 * The mapping, as frame.h writes it and docs/protocol.md, section 9, promises it:
 *
 *   term                      msgpack                        back to a term
 *   integer                   int, BIGINT                    integer (the shortest encoding)
 *   float                     float64                        float; NaN, +-Inf: nan, infinity, neg_infinity
 *   true false nil            true false nil                 same
 *   other atom                ATOM (UTF-8)                   atom: SMALL_ATOM_UTF8 / ATOM_UTF8
 *   binary                    str if valid UTF-8, else bin   binary
 *                             (strings = bytes: always bin)
 *   {bytes, Binary}, itself   bin                            binary
 *     an argument
 *   {krait_input, Pid}, it-   INPUT                          unencodable, krait_input
 *     self an argument
 *   list, STRING, []          array                          list
 *   improper list             unencodable, improper_list
 *   tuple                     TUPLE                          tuple
 *   map                       map                            map
 *   list / map within a key   LISTKEY / MAPKEY               list / map
 *   pid reference port        PID REF PORT                   same
 *   fun M:F/A                 EXPORT                         same
 *   local fun, bit string     OPAQUE                         same
 *   Date Time NaiveDateTime   STRUCT                         same map
 *   DateTime Decimal MapSet
 *   {krait_tensor, Dtype,     TENSOR; if it does not add up  same tuple
 *     Shape, Binary}          unencodable, bad_tensor
 *
 * Two keys of one map that Python takes for the same (1 and 1.0 and true; the atom a and <<"a">>)
 * cannot both be in a dict: {unencodable, Where, duplicate_key}. Two keys of a dict that become the same
 * term ('a' and b'a') cannot both be in a map: likewise. What goes out to a BEAM is checked as strictly
 * as what comes in, for one bad term costs the whole connection: extension payloads are checked with
 * term_check() and for their kind, atoms for UTF-8 and 255 characters, str for UTF-8. */
#ifndef KRAIT_TRANSCODE_H
#define KRAIT_TRANSCODE_H

#include "buf.h"
#include "term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Deepest nesting that may be asked for as a limit; bounds the explicit stack. */
#define TRANSCODE_DEPTH_MAX 1024

struct parcel_parts;
struct transcode_options {
	uint32_t
		max_depth; /* containers within containers, the outermost list of arguments not counted */
	size_t max_bytes;  /* longest output */
	bool strings_utf8; /* false: every binary becomes bin */
	struct parcel_parts
		*apart; /* large binaries go there: of terms they become PARTs, of msgpack they are
			   to be put in at parts->at[] of the output; NULL: none do */
};

enum transcode_fault {
	TRANSCODE_OK,
	TRANSCODE_UNENCODABLE, /* `where`, `what` */
	TRANSCODE_TOO_DEEP,    /* `limit` */
	TRANSCODE_TOO_LARGE,   /* `bytes` (what was seen so far, at least), `limit` */
	TRANSCODE_NO_MEMORY,
	TRANSCODE_CORRUPT, /* msgpack that is malformed: the worker is to blame */
};

/* Why a value could not be transcoded. `where` is a path such as args[1].key (a key's text, cut to 64
 * bytes; [k] for keys that are neither text nor atom), cut with "..." in front when it is longer. */
struct transcode_error {
	enum transcode_fault fault;
	char where[256];
	char what
		[64]; /* a word that begins with ':' is an atom: ":improper_list", ":duplicate_key",
	                  ":invalid_utf8", ":invalid_atom", ":bad_tensor", ":not_a_list", ":not_a_map", ":not_a_name" */
	uint64_t bytes, limit;
};

/* Keys the hash that finds duplicate keys; random bits, once, before anything is transcoded. Without it
 * a fixed seed is used. */
void transcode_seed(uint64_t seed);

/* Appends the arguments of a call as one msgpack array. `args` is a checked term: a proper list or
 * STRING_EXT. Each element that is {bytes, Binary} becomes bin, and {krait_input, Pid} INPUT. Paths begin with "args". On any fault
 * `out` and `opts->apart` are cut back to where they were, `err` is set and -EINVAL returned. */
int transcode_args(const uint8_t *args, const struct transcode_options *opts, struct buf *out,
		   struct transcode_error *err) __attribute__((warn_unused_result));

/* Appends keyword arguments as one msgpack map whose keys are str. `map` is a checked term: a map with
 * keys that are atoms or UTF-8 binaries; {bytes, Binary} and {krait_input, Pid} as for args. Paths begin with
 * "kwargs". */
int transcode_kwargs(const uint8_t *map, const struct transcode_options *opts, struct buf *out,
		     struct transcode_error *err) __attribute__((warn_unused_result));

/* Appends one term, whatever it is, as msgpack. Paths begin with `root`. */
int transcode_term(const uint8_t *term, const char *root, const struct transcode_options *opts,
		   struct buf *out, struct transcode_error *err)
	__attribute__((warn_unused_result));

/* Appends a value that transcode_term() has written in the form that equal terms have in common, to be
 * compared byte by byte: the pairs of maps sorted, heads as short as can be. 0; -ENOMEM; -EBADMSG: it is
 * something else. */
int transcode_canonical(const uint8_t *data, size_t len, struct buf *out)
	__attribute__((warn_unused_result));

/* Appends one msgpack value of a worker, not trusted, as a term (no version byte). `used` (may be
 * NULL) gets the value's length. Paths begin with `root`. On any fault `out` and `opts->apart` are cut back
 * to where they were, `err` is set and -EINVAL returned. */
int transcode_value(const uint8_t *data, size_t len, const char *root,
		    const struct transcode_options *opts, struct buf *out, size_t *used,
		    struct transcode_error *err) __attribute__((warn_unused_result));

#endif
