/* epmd.h - publishes the node's name with the port mapper, and keeps it published.
 *
 * Format: "EPMD Protocol" of the ERTS documentation, ALIVE2_REQ. The connection stays open for as long
 * as the name is to be known; when epmd goes away the name is published again as soon as one answers.
 * epmd's port is $ERL_EPMD_PORT or 4369, on loopback. */
#ifndef KRAIT_EPMD_H
#define KRAIT_EPMD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum epmd_event {
	EPMD_PUBLISHED, /* the first time: `creation` is ours to use */
	EPMD_AGAIN,     /* published again after epmd was gone */
	EPMD_NAME_TAKEN, /* another node has the name. The first time: fatal; later it is tried again */
	EPMD_LOST,       /* the connection is gone; it will be tried again */
	EPMD_FAILED,     /* the first time only: no epmd answers and none could be started */
};

struct epmd;

typedef void (*epmd_callback)(void *arg, enum epmd_event event, uint32_t creation,
			      const char *text);

/* Publishes `alive` (the name before the '@', copied) as a hidden node at TCP port `port`. If nobody
 * answers on epmd's port, runs `epmd -daemon` once for each time that it is gone. NULL: no memory. */
struct epmd *epmd_publish(uv_loop_t *loop, const char *alive, uint16_t port, epmd_callback cb,
			  void *arg) __attribute__((warn_unused_result));

/* Withdraws the name and frees everything once the handles are closed; no callback follows. */
void epmd_close(struct epmd *e);

/* $ERL_EPMD_PORT, or 4369. */
uint16_t epmd_port(void);

#endif
