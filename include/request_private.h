/* request_private.h - what the rooms of request share; nobody else includes it.
 *
 *   request.c          the outside of a message, the verbs
 *   request_control.c  the verbs of operators
 *   request_options.c  options, one row each */
#ifndef KRAIT_REQUEST_PRIVATE_H
#define KRAIT_REQUEST_PRIVATE_H

#include "request.h"

/* Appends {bad_request, Expected}; -EINVAL, or -ENOMEM. */
int request_bad(struct buf *reason, const char *expected);

/* Reads the options of out->verb, a map or a keyword list. 0, -EINVAL with the Reason, or -ENOMEM. */
int request_take_options(const uint8_t *opts, struct request *out, struct buf *reason);

/* A session's id: any term that is not too long. */
bool request_take_session(const uint8_t *term, struct request *out);

/* The name of a module, a function or an option: an atom or a UTF-8 binary, not empty. */
bool request_take_name(const uint8_t *t, struct span *text);

/* `e` is the first element after the name, NULL if there is none. Arity 1 is the bare atom. */
typedef int (*request_parser)(const uint8_t *e, uint32_t arity, struct request *out,
			      struct buf *reason);

/* request_control.c */
int request_parse_ping(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_await(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_resize(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_worker(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_reload(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_requests(const uint8_t *e, uint32_t arity, struct request *out,
			   struct buf *reason);
int request_parse_cancel(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_set(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason);
int request_parse_subscribe(const uint8_t *e, uint32_t arity, struct request *out,
			    struct buf *reason);

#endif
