/* forkserver_private.h - the packets of forkserver.h and the environment, for forkserver.c alone. */
#ifndef KRAIT_FORKSERVER_PRIVATE_H
#define KRAIT_FORKSERVER_PRIVATE_H

#include "forkserver.h"

#include <msgpack.h>

/* Each packs one packet. Memory that runs out leaves it cut short, and the fork server refuses it. */
void forkserver_pack_setup(msgpack_packer *pk, const struct forkserver_options *o);
void forkserver_pack_start(msgpack_packer *pk, uint64_t worker_id, unsigned index,
			   const char *cgroup);
void forkserver_pack_reap(msgpack_packer *pk, int os_pid);

/* Tells what one packet says. False: it is not in the specification. */
bool forkserver_take(const struct forkserver_callbacks *cb, void *arg,
		     const msgpack_object_array *packet);

/* The environment of a pool's processes, in one piece of memory but for entries that are elsewhere:
 * mem_free(). NULL: no memory. */
char **forkserver_env(const char *mark, const struct config_pool *c)
	__attribute__((warn_unused_result));

/* Whether this entry of the pool's `env` depends on the worker's index, and so is not in there. */
bool forkserver_env_indexed(const char *entry);

#endif
