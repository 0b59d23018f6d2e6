/* transcode_in.h - terms on their way to msgpack: what transcode_in.c, which goes through a term, shares with
 * transcode_args.c, which begins and ends it. */
#ifndef KRAIT_TRANSCODE_IN_H
#define KRAIT_TRANSCODE_IN_H

#include "transcode_private.h"

/* Maps within maps that are looked through for being a MapSet before they are gone through: a bound on how
 * often a byte is looked at. What is nested deeper stays a map; short ones are not counted. */
#define SCANS_MAX   8
#define SCAN_COUNTS 256

enum in_kind { IN_ONE, IN_LIST, IN_TUPLE, IN_MAP, IN_SET };

struct in_level {
	enum in_kind kind;
	bool in_key;          /* this container is a key or within one */
	uint8_t classes;      /* of a map's keys so far */
	uint64_t left;        /* elements still to come, keys and values both */
	uint64_t count;       /* of all elements */
	size_t patch;         /* where the extension's length is to be written; 0: it is none */
	size_t recount;       /* where a list's final count is to be written; 0: nowhere */
	const uint8_t *key;   /* of the pair under way, or the element of a MapSet */
	const uint8_t *after; /* what follows the struct that a MapSet is */
	size_t keys;          /* this map's first in `offsets` */
};

struct in {
	const uint8_t *p;    /* next term */
	const uint8_t *base; /* what key offsets count from */
	const struct transcode_options *opts;
	struct sink sink;
	struct offsets offsets;
	bool special_rule; /* {bytes, Binary} and {krait_input, Pid} directly in level 0 are what they say */
	bool names;     /* keys of level 0 are names */
	bool loose;     /* a list may go on in its tail */
	bool again;     /* begin again, with `loose` */
	uint32_t scans; /* of `scan_end` in use */
	const uint8_t *scan_end[SCANS_MAX];
	uint32_t depth; /* of `level` in use, level 0 not counted */
	struct in_level level[TRANSCODE_DEPTH_MAX + 1];
};

/* Writes the head of a container and makes `l` its level. */
void in_begin_level(struct in *in, struct in_level *l, enum in_kind kind, uint32_t count,
		    bool in_key);

/* Writes all that level 0, which is set up, asks for. */
enum transcode_fault in_run(struct in *in);

#endif
