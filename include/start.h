/* start.h - what the node must know of its machine before it starts: its full name, its own files. */
#ifndef KRAIT_START_H
#define KRAIT_START_H

#include "config.h"

#include <stddef.h>

/* The full name: --name as it is; --sname with the short name of this host unless it names one. 0; -EINVAL,
 * and `why` says what was found and expected. */
int start_name(const struct config *c, char *name, size_t size, char *why, size_t why_size)
	__attribute__((warn_unused_result));

/* Our own path, and that of the Python package's start script: beside us, where `make install` puts it, or
 * in the source tree. Both buffers have `size` bytes. 0; -ENOENT, and `why` says where it was looked for. */
int start_files(char *executable, char *script, size_t size, char *why, size_t why_size)
	__attribute__((warn_unused_result));

/* As many descriptors as we may have; a dead peer is an error, not a signal; orphans come to us, and as
 * process 1, for which signals have no default, SIGTERM and SIGINT end us from now on. */
void start_limits(void);

#endif
