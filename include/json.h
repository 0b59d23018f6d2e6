/* json.h - JSON, written into a buffer (RFC 8259). Pure.
 *
 *     json_open(out, '{');  json_key(out, "size");  json_uint(out, 4);  json_close(out, '}');
 *
 * Commas are set by what stands before: a value after `{`, `[` or `:` has none. Text may be any bytes: what is
 * no UTF-8 becomes U+FFFD, so that what is written is always valid. Failure is sticky in `out->err`. */
#ifndef KRAIT_JSON_H
#define KRAIT_JSON_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void json_open(struct buf *out, char bracket);   /* '{' or '[' */
void json_close(struct buf *out, char bracket);  /* '}' or ']' */
void json_key(struct buf *out, const char *key); /* plain ASCII */
void json_text(struct buf *out, const char *text, size_t len);
void json_word(struct buf *out, const char *text); /* NUL-terminated; NULL: null */
void json_uint(struct buf *out, uint64_t value);
void json_bool(struct buf *out, bool value);
void json_null(struct buf *out);

/* A key and its value. */
void json_put_uint(struct buf *out, const char *key, uint64_t value);
void json_put_word(struct buf *out, const char *key, const char *text);

#endif
