/* request_private.h - what the rooms of request share; nobody else includes it.
 *
 *   request.c          the outside of a message, the verbs
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

#endif
