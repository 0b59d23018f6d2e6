/* epmd_lookup.h - asks the port mapper of a host where one of its nodes listens.
 *
 * Format: "EPMD Protocol" of the ERTS documentation, PORT_PLEASE2_REQ and PORT2_RESP. One connection per
 * question; the port mapper closes it after its answer. */
#ifndef KRAIT_EPMD_LOOKUP_H
#define KRAIT_EPMD_LOOKUP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct epmd_lookup;

/* `port`: where the node listens; 0: nobody has that name there, or nobody answers: `why` says which. */
typedef void (*epmd_lookup_done)(void *arg, uint16_t port, const char *why);

/* Asks the epmd at `host` (its port is $ERL_EPMD_PORT or 4369, that of `host` is ignored) for `alive`, the
 * `len` bytes before the '@', at most 255. `done` is called once, never from inside this call, within
 * `timeout_ms`. NULL: no memory. */
struct epmd_lookup *epmd_lookup(uv_loop_t *loop, const struct sockaddr *host, const char *alive,
				size_t len, uint64_t timeout_ms, epmd_lookup_done done, void *arg)
	__attribute__((warn_unused_result));

/* Nobody waits any more; to be called at most once and only before `done` was. */
void epmd_lookup_cancel(struct epmd_lookup *l);

#endif
