/* forkserver_private.h - the packets of forkserver.h, for forkserver.c alone. */
#ifndef KRAIT_FORKSERVER_PRIVATE_H
#define KRAIT_FORKSERVER_PRIVATE_H

#include "forkserver.h"

#include <msgpack.h>

/* Each packs one packet. Memory that runs out leaves it cut short, and the fork server refuses it. */
void forkserver_pack_setup(msgpack_packer *pk, const struct forkserver_options *o);
void forkserver_pack_start(msgpack_packer *pk, uint64_t worker_id, unsigned index);
void forkserver_pack_reap(msgpack_packer *pk, int os_pid);

/* Tells what one packet says. False: it is not in the specification. */
bool forkserver_take(const struct forkserver_callbacks *cb, void *arg,
		     const msgpack_object_array *packet);

#endif
