/* doctor_private.h - what the rooms of the doctor share; nobody else includes it.
 *
 *   doctor.c         the order of the checks
 *   doctor_report.c  what was found, written for people or programs
 *   doctor_name.c    the name, its host, the addresses to listen on
 *   doctor_epmd.c    the port mapper, and who has our name
 *   doctor_cookie.c  the cookie
 *   doctor_python.c  interpreters, the package, directories
 *   doctor_limits.c  versions, and what the kernel lets us have
 *   doctor_call.c    a node of our own, and a first call
 *   doctor_ask.c     one question to a node, over distribution
 *   doctor_net.c     sockets with a deadline
 *
 * All of it blocks, each step for a bounded time. It is a process of its own that looks and ends: what it
 * allocates may go with it. */
#ifndef KRAIT_DOCTOR_PRIVATE_H
#define KRAIT_DOCTOR_PRIVATE_H

#include "buf.h"
#include "config.h"
#include "dist.h"
#include "doctor.h"

#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum verdict { FINE, DOUBT, WRONG };

struct doctor {
	struct config *config;
	bool json, no_call;
	bool first;        /* nothing has been written yet */
	unsigned count[3]; /* by verdict */
	/* what checks found that others want to know */
	char name[DIST_NAME_MAX + 2]; /* "": none */
	const char *host;             /* in it, after the @ */
	char executable[PATH_MAX], script[PATH_MAX];
	char *cookie;                  /* NULL: none that may be used */
	bool epmd_answers, epmd_there; /* somebody does; the program is installed */
	uint16_t running_port;         /* of a node of ours that has the name; 0: none */
	bool can_start;                /* the interpreters and the package are there */
};

/* ---- doctor_report.c ---- */

/* One line: what was looked at, what was found (formatted), what that means, and what to do about it (NULL:
 * nothing). Written at once. */
void doctor_say(struct doctor *d, enum verdict v, const char *check, const char *means,
		const char *advice, const char *format, ...) __attribute__((format(printf, 6, 7)));
void doctor_begin(struct doctor *d);
void doctor_end(struct doctor *d);

/* ---- the checks, in their order ---- */
void doctor_versions(struct doctor *d);
void doctor_name(struct doctor *d);
void doctor_epmd(struct doctor *d);
void doctor_cookie(struct doctor *d);
void doctor_registered(struct doctor *d); /* after epmd and cookie */
void doctor_ports(struct doctor *d);
void doctor_python(struct doctor *d);
void doctor_limits(struct doctor *d);
void doctor_call(struct doctor *d);

/* ---- doctor_net.c: a deadline is in ms of CLOCK_MONOTONIC ---- */
uint64_t doctor_now_ms(void);
/* A connected, non-blocking socket, or a negative errno (-ETIMEDOUT). */
int doctor_connect(const struct sockaddr *to, socklen_t len, uint64_t deadline);
int doctor_send(int fd, const void *data, size_t len, uint64_t deadline);
/* As read(): 0 is the end; or a negative errno. */
ssize_t doctor_receive(int fd, void *data, size_t len, uint64_t deadline);
/* An address of an IP in text, with that port. False: it is none. */
bool doctor_address(const char *ip, uint16_t port, struct sockaddr_storage *to, socklen_t *len);
/* Where a node that listens on that IP can be reached from here: itself, or loopback for "any". */
bool doctor_reach(const char *ip, uint16_t port, struct sockaddr_storage *to, socklen_t *len);

/* ---- doctor_epmd.c ---- */
/* The port that `alive` is registered with at the local epmd on `epmd_port`: 0, unknown there; negative errno. */
int doctor_epmd_lookup(uint16_t epmd_port, const char *alive, uint64_t deadline);
void doctor_epmd_kill(uint16_t epmd_port); /* one of our own */

/* ---- doctor_ask.c ---- */
/* Connects to the node `peer` at that IP and port, and asks `to` (a name there) the request, an encoded
 * term. 0, and the answer's term in `answer`; or a negative errno and the reason in `why`: -EACCES, it has
 * another cookie; -ETIMEDOUT; -EPROTO, it speaks otherwise; -ENOENT, nobody has that name. */
int doctor_ask(const char *ip, uint16_t port, const char *peer, const char *cookie, const char *to,
	       struct span request, uint64_t deadline, struct buf *answer, char *why, size_t size);

#endif
