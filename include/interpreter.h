/* interpreter.h - finds the Python that workers run on.
 *
 * Runs before the loop does, so it may wait (each candidate has 20 s). */
#ifndef KRAIT_INTERPRETER_H
#define KRAIT_INTERPRETER_H

#include <stddef.h>

/* Tries `wanted` if it is not NULL, otherwise the interpreter of $VIRTUAL_ENV, then python3 and
 * after it python in every directory of $PATH, then /usr/bin/python3 and /usr/local/bin/python3: the first that
 * is Python 3.9 or later and can import msgpack. Returns its path (the caller frees it with
 * mem_free()) and puts into `why` one line that says which and why; NULL, and `why` says what
 * was tried and what to do. */
char *interpreter_find(const char *wanted, char *why, size_t why_size)
	__attribute__((warn_unused_result));

#endif
