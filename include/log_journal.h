/* log_journal.h - the journal of systemd, by its native protocol: datagrams of fields.
 *
 * Specification: "Native Journal Protocol" of systemd's documentation, without its binary form and without
 * memfds: no value holds a newline, and an entry is at most LOG_LINE_MAX bytes of text and some fields. */
#ifndef KRAIT_LOG_JOURNAL_H
#define KRAIT_LOG_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether standard error is the journal's: the stream that $JOURNAL_STREAM names, systemd.exec(5). */
bool log_journal_is_stderr(void);

/* The descriptor of a socket, or a negative errno: there is no journal to send to. $KRAIT_JOURNAL_SOCKET
 * goes before the journal's own path. */
int log_journal_open(void) __attribute__((warn_unused_result));

/* Sends one entry; never blocks. 0 or a negative errno: -EAGAIN when the journal is behind. */
int log_journal_send(int fd, const char *entry, size_t len) __attribute__((warn_unused_result));

#endif
