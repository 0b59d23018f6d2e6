/* metrics_private.h - what the rooms of metrics share; nobody else includes it.
 *
 *   metrics.c          connections, the loop, its life
 *   metrics_request.c  who may ask, and what he hears
 *   metrics_page.c     the status page */
#ifndef KRAIT_METRICS_PRIVATE_H
#define KRAIT_METRICS_PRIVATE_H

#include "list.h"
#include "metrics.h"

#include <microhttpd.h>
#include <netinet/in.h>

struct metrics {
	struct metrics_options options;
	char address[INET6_ADDRSTRLEN];
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* that are open */
	unsigned live;    /* clients that are not shut */
	struct list clients;
	struct metrics_counts counts;
	uint16_t port;
};

/* libmicrohttpd's MHD_AccessHandlerCallback; `arg` is the struct metrics. */
enum MHD_Result metrics_on_request(void *arg, struct MHD_Connection *connection, const char *path,
				   const char *method, const char *version, const char *upload,
				   size_t *upload_len, void **context);

#endif
