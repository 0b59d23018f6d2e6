/* metrics.h - a small HTTP server that is read only: for Prometheus, for probes, for people.
 *
 * It runs in the caller's loop, without threads: libmicrohttpd's epoll descriptor is watched by libuv, and
 * nothing wakes up while nobody is connected. It knows nothing of pools: `/` is a page that is part of the
 * program, and for every other path it asks its owner, who answers at once.
 *
 *   GET and HEAD      everything else is 405
 *   a body            refused with 413, unread
 *   Host              must be an IP address, `localhost` or a name that the owner gives: a page that a browser
 *                     has from elsewhere cannot reach us by a name that it lets point here (DNS rebinding);
 *                     else 403. HTTP/1.0 may leave it out
 *   Origin            must be what Host says: nobody else's script reads us; else 403
 *   connections       METRICS_CONNECTIONS at once; one more costs the one that has said nothing sensible for
 *                     the longest time. One request, or the wait for it, takes METRICS_PATIENCE_MS at most
 *   a request's head  METRICS_HEAD_BYTES */
#ifndef KRAIT_METRICS_H
#define KRAIT_METRICS_H

#include "buf.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define METRICS_CONNECTIONS 64
#define METRICS_PATIENCE_MS 10000
#define METRICS_HEAD_BYTES  16384

struct metrics;

/* What its owner says to a path. */
struct metrics_answer {
	unsigned status;  /* 0: there is no such path */
	const char *type; /* Content-Type */
	struct buf body;  /* taken over; with an error in it: 503 */
};

/* `path` is NUL-terminated and starts with '/'; `since` is the value of ?since=N, 0 if there is none. */
typedef void (*metrics_asked)(void *arg, const char *path, uint64_t since,
			      struct metrics_answer *answer);

struct metrics_options {
	const char *address;      /* an IP address to listen on */
	uint16_t port;            /* 0: any */
	const char *const *hosts; /* names that Host may say besides; they outlive the server */
	size_t host_count;
	metrics_asked on_asked;
	void *arg;
};

struct metrics_counts {
	uint64_t requests, refused; /* answered with 2xx or 503; with 4xx */
	uint64_t evicted;           /* connections that were closed for others, or for being slow */
	unsigned connections;
};

/* Listens. NULL: `error` says why. */
struct metrics *metrics_open(uv_loop_t *loop, const struct metrics_options *options, char *error,
			     size_t error_size) __attribute__((warn_unused_result));
/* Closes everything at once; the memory is freed when the loop has closed the handles. NULL: nothing. */
void metrics_close(struct metrics *m);

uint16_t metrics_port(const struct metrics *m);
struct metrics_counts metrics_counts(const struct metrics *m);

/* metrics_page.c: the page, and the Content-Security-Policy that lets its own script and style run and
 * nothing else (their hashes). The text is the program's own and lives for ever. */
struct metrics_page {
	const char *text;
	size_t len;
	const char *policy;
};
struct metrics_page metrics_page(void);

#endif
