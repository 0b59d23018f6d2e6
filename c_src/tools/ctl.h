/* ctl.h - what the rooms of kraitctl share.
 *
 *   kraitctl.c     from the command line to the exit status
 *   ctl_args.c     the command line, read from the table of verbs; usage, completion (pure)
 *   ctl_verbs.c    the table of verbs (pure)
 *   ctl_ask.c      a verb and its arguments, made into a request (pure)
 *   ctl_link.c     the connection to the node: distribution as a hidden node, gen_server calls
 *   ctl_json.c     terms as JSON (pure); ctl_parse.c  JSON as terms (pure)
 *   ctl_text.c     text made harmless, units, maps (pure)
 *   ctl_grid.c     columns (pure)
 *   ctl_view.c     answers for people (pure); ctl_view_config.c  options and their changes (pure)
 *   ctl_reason.c   what went wrong, in words (pure)
 *   ctl_follow.c   lines and events as they come; ctl_line.c  one of them (pure)
 *   ctl_top.c      the live screen; ctl_screen.c  the terminal; ctl_frame.c  what it shows (pure)
 *
 * A command ends and its memory with it: what is not freed is short-lived. No memory ends the command. */
#ifndef KRAIT_CTL_H
#define KRAIT_CTL_H

#include "buf.h"
#include "request.h"
#include "term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exit status. */
enum ctl_status {
	CTL_OK = 0,
	CTL_ERROR = 1,   /* the node answered an error */
	CTL_USAGE = 2,   /* the command line makes no sense */
	CTL_NO_NODE = 3, /* the node is not there, or does not answer in time */
	CTL_COOKIE = 4,  /* the cookie is wrong, or there is none */
};

_Noreturn void ctl_no_memory(void);

/* ---- ctl_verbs.c ---- */

/* How a verb's arguments become a request, and its answer words. */
enum ctl_shape {
	SHAPE_BARE,    /* verb */
	SHAPE_COUNT,   /* verb, or {verb, N} */
	SHAPE_ID,      /* {verb, N} */
	SHAPE_RELOAD,  /* reload, or {reload, config} */
	SHAPE_RESIZE,  /* {resize, N} or {resize, {Min, Max}} */
	SHAPE_SET,     /* {set, Option, Value} */
	SHAPE_SESSION, /* {end_session, Id} */
	SHAPE_PING,    /* ping, or {ping, worker} */
	SHAPE_CALL,    /* {call, M, F, Args, Opts} */
	SHAPE_FOLLOW,  /* {subscribe, Topic}, then messages */
	SHAPE_TOP,     /* the live screen */
};

enum ctl_view {
	VIEW_DONE, /* `ok`: a word for people */
	VIEW_STATUS,
	VIEW_POOLS,
	VIEW_WORKERS,
	VIEW_REQUESTS,
	VIEW_PEERS,
	VIEW_SESSIONS,
	VIEW_CONFIG,
	VIEW_CHANGES, /* {Old, New}, or the difference of a configuration */
	VIEW_PONG,
	VIEW_VALUE,
};

/* Flags of a verb. */
#define VERB_SLOW    1u /* may take its time: no time-out unless one is asked for */
#define VERB_OF_POOL 2u /* concerns one pool: without --pool `default`, or the first */
#define VERB_OF_NODE 4u /* concerns the whole node: no --pool */

struct ctl_verb {
	const char *name, *args; /* as usage shows them; "" for none */
	unsigned min, max;       /* how many */
	enum ctl_shape shape;
	enum request_verb verb; /* whose role it needs; its name on the wire */
	enum ctl_view view;
	unsigned flags;
	const char *done, *help;
};

extern const struct ctl_verb ctl_verbs[];
extern const unsigned ctl_verb_count;
const struct ctl_verb *ctl_verb_find(const char *name);
const char *ctl_role(const struct ctl_verb *verb);

/* ---- ctl_args.c ---- */

enum ctl_want { WANT_VERB, WANT_HELP, WANT_MARKDOWN, WANT_WORDS, WANT_VERSION };

struct ctl_args {
	enum ctl_want want;
	const struct ctl_verb *verb; /* HELP: NULL is all */
	const char *node, *cookie_file, *pool;
	bool json, follow, has_timeout;
	uint64_t timeout_ms, interval_ms;
	char *const *arg; /* of the verb */
	unsigned count;
};

/* Reads the command line (argv[0] is skipped). Options may stand before and after the verb, but not after
 * `--` or the first argument of `call`. False: `error` has one line that says what was found and expected. */
bool ctl_args_parse(struct ctl_args *a, int argc, char **argv, const char *default_node,
		    char *error, size_t size);
void ctl_help(struct buf *out, const struct ctl_verb *verb); /* NULL: of all */
void ctl_help_markdown(struct buf *out);
/* For completion: a line each, `option NAME ARG HELP` or `verb NAME ROLE ARGS HELP`, by tabs. */
void ctl_words(struct buf *out);

/* ---- ctl_ask.c ---- */

/* Appends the request's term. False: `error` says which argument is wrong. */
bool ctl_ask_put(const struct ctl_args *a, struct buf *out, char *error, size_t size);

/* ---- ctl_json.c, ctl_parse.c ---- */

#define JSON_DEPTH_MAX 200

/* Appends a checked term as JSON: on one line with `indent` < 0, else indented by two from there. */
void ctl_json_put(struct buf *out, const uint8_t *term, int indent);
void ctl_json_text(struct buf *out, const void *text,
		   size_t len); /* a string; bytes if it is no UTF-8 */
/* Appends the term that the JSON text says. False: `error` says where and what. */
bool ctl_json_parse(const char *text, struct buf *out, char *error, size_t size);

/* ---- ctl_text.c ---- */

void text_put(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends text of the node's, harmless: no byte of it moves a cursor, changes a colour or turns the line
 * round. Line ends are written as `\n` unless `lines`: then they stay, and so do tabs. */
void text_safe(struct buf *out, const void *text, size_t len, bool lines);
size_t text_width(const char *text, size_t len); /* columns on a screen, of UTF-8 without escapes */
size_t text_cut(const char *text, size_t len,
		size_t width); /* bytes that fit into `width` columns */
void text_bytes(struct buf *out, uint64_t bytes);
void text_ms(struct buf *out, uint64_t ms);
void text_us(struct buf *out, uint64_t us);

/* Appends what people see of a term: text and atoms as they are, nothing for nil, else JSON. */
void term_show(struct buf *out, const uint8_t *term);

/* ---- ctl_grid.c ---- */

enum colour { PLAIN, BOLD, DIM, RED, GREEN, YELLOW, BLUE, REVERSE };

struct column {
	const char *title;
	bool right;   /* numbers */
	bool elastic; /* may be cut where the screen is narrow */
};

struct grid {
	const struct column *column;
	unsigned columns, cells;
	struct cell {
		struct buf text;
		enum colour colour;
	} * cell;
};

struct look {
	unsigned width; /* of the screen; 0: as wide as need be */
	bool colour;
};

void grid_init(struct grid *t, const struct column *columns, unsigned count);
struct buf *grid_cell(struct grid *t, enum colour colour); /* the next one, to be written to */
void grid_print(struct grid *t, const struct look *look, struct buf *out);
void grid_free(struct grid *t);
/* Text in a colour, if there are colours. */
void look_put(const struct look *look, enum colour colour, struct buf *out, const char *text,
	      size_t len);

/* ---- ctl_view.c, ctl_view_config.c, ctl_reason.c ---- */

/* Appends an answer (what `{ok, Answer}` holds, or `ok`, `pong`) for people. */
void ctl_view_put(const struct ctl_args *a, const uint8_t *answer, const struct look *look,
		  struct buf *out);
void view_workers(const uint8_t *list, const struct look *look, struct buf *out);
enum colour view_state_colour(const uint8_t *state);
/* The next cell is what people see of a term. */
void cell_show(struct grid *t, enum colour colour, const uint8_t *term);
/* Whether a row is of the pool that was asked for, if one was. */
bool view_is_wanted(const struct ctl_args *a, const uint8_t *pool);
/* What `config` answers; what `set` and `reload config` answer. */
void view_config(const struct ctl_args *a, const uint8_t *config, const struct look *look,
		 struct buf *out);
void view_changes(const struct ctl_args *a, const uint8_t *answer, struct buf *out);
/* Appends a Reason in words, without a line end. */
void ctl_reason_put(const uint8_t *reason, struct buf *out);

/* ---- ctl_link.c ---- */

struct link;

/* A message that is no answer; valid until it returns. */
typedef void (*link_message)(void *arg, const uint8_t *message);

/* Connects to the node. CTL_OK; or CTL_NO_NODE, CTL_COOKIE, CTL_USAGE (its name is none), with the reason in
 * words. */
enum ctl_status link_open(struct link **out, const char *node, const char *cookie,
			  uint64_t timeout_ms, char *error, size_t size);
/* A gen_server call to a registered name. CTL_OK and the answer, valid until the next call; CTL_ERROR: nobody
 * has that name; CTL_NO_NODE. `timeout_ms` 0: none. */
enum ctl_status link_call(struct link *l, const char *name, struct span request,
			  uint64_t timeout_ms, const uint8_t **answer, char *error, size_t size);
void link_on_message(struct link *l, link_message fn, void *arg);
/* Runs until `fd` can be read (-1: none), the time is up (0: never), something was told to on_message, or a
 * signal came. False: the connection is gone. */
bool link_wait(struct link *l, int fd, uint64_t timeout_ms, char *error, size_t size);
void link_close(struct link *l);

/* ---- ctl_follow.c, ctl_line.c, ctl_top.c, ctl_screen.c, ctl_frame.c ---- */

enum ctl_status ctl_follow(struct link *l, const struct ctl_args *a, const struct look *look);
/* Appends one message of a subscription as a line; `json`: for programs. */
void follow_put(const uint8_t *message, bool json, const struct look *look, struct buf *out);

enum ctl_status ctl_top(struct link *l, const struct ctl_args *a, bool colour);

enum screen_key { KEY_NONE, KEY_UP = 256, KEY_DOWN, KEY_END };
bool screen_enter(void); /* false: standard input or output is no terminal */
void screen_leave(void); /* whatever happened; may be called twice */
void screen_size(unsigned *rows, unsigned *columns);
void screen_draw(const struct buf *frame);
int screen_key(void); /* a character or a screen_key; NONE: none is there */

enum top_sort { SORT_ID, SORT_STATE, SORT_AGE, SORT_CALLS, SORT_MEMORY, TOP_SORTS };

struct top {
	struct buf status, workers;     /* terms; empty: not known */
	uint64_t answered, answered_us; /* at the last refresh, */
	double per_second;              /* and since the one before */
	enum top_sort sort;
	uint64_t chosen; /* the id of a worker */
	bool has_chosen;
	bool confirm_kill;
	char message[200];
	unsigned rows, columns;
	bool colour;
};
const char *top_sort_name(enum top_sort sort);
/* The ids of the workers in the order of the screen, at most `max`; how many. */
unsigned top_order(const struct top *t, uint64_t *ids, unsigned max);
void top_frame(struct top *t, struct buf *out); /* exactly `rows` lines */

#endif
