/* notify.h - tells the service manager how we are: systemd's notify protocol, without its library.
 *
 * Format: sd_notify(3): datagrams of lines `NAME=VALUE` to the socket at $NOTIFY_SOCKET, a path, or with
 * '@' in front a name in the abstract namespace. What is sent is lost where nobody takes it; nothing here
 * blocks, and without a manager nothing is done. One process, one socket, no locks. */
#ifndef KRAIT_NOTIFY_H
#define KRAIT_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_STATUS_MAX 200 /* bytes of a status that are sent */

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, and removes them from the environment: a child
 * that spoke to the manager would speak in our name. To be called once, before there are children. False:
 * there is a socket, and it cannot be spoken to (`why` says so); we go on without. */
bool notify_init(const char **why) __attribute__((warn_unused_result));

/* Whether somebody listens. */
bool notify_on(void);

/* How often the manager wants to hear notify_alive(): half of the time after which it takes us for
 * dead, in ms, at least 1. 0: it does not want that. */
uint64_t notify_alive_every_ms(void);

/* We serve: after the start, and after a reload. */
void notify_ready(void);
/* A reload has begun, at `now_us` of CLOCK_MONOTONIC; notify_ready() ends it, whatever came of it. */
void notify_reloading(uint64_t now_us);
/* We have been told to stop, and do; it may take `within_us`, if that is longer than the manager's own
 * patience. */
void notify_stopping(uint64_t within_us);
void notify_alive(void);
/* One line for `systemctl status`; control bytes become spaces. Nothing is sent if it is as before. */
void notify_status(const char *text);

/* Closes the socket; what follows is not sent. */
void notify_close(void);

#endif
