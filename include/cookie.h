/* cookie.h - the secret that peers and the node share. */
#ifndef KRAIT_COOKIE_H
#define KRAIT_COOKIE_H

#include <stddef.h>

#define COOKIE_MAX 255

/* Reads the cookie from `file` if that is not NULL, else from $KRAIT_COOKIE (which is then removed from our
 * environment), else from ~/.erlang.cookie, which is made (random, mode 0400) when it does not exist, as
 * erl does. A file that others may read is refused. The result is at most COOKIE_MAX bytes, without line
 * ends, to be freed with mem_free(). NULL, and `error` says what was found and expected. */
char *cookie_read(const char *file, char *error, size_t error_size)
	__attribute__((warn_unused_result));

#endif
