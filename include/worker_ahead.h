/* worker_ahead.h - the queue of calls that are sent ahead to a busy worker, and can be had back.
 *
 * A pair of sockets that keep the boundaries of packets (AF_UNIX, SOCK_SEQPACKET: unix(7)). The worker
 * reads at one end; the node writes at the other, and keeps the worker's end, too: what it reads there itself,
 * the worker has not read and never will, and what it finds no more the worker has. The kernel decides
 * between the two. The worker's death changes nothing: its end stays open in the node.
 *
 * A packet is the call's id (8 bytes, big-endian) and its frame without the length. */
#ifndef KRAIT_WORKER_AHEAD_H
#define KRAIT_WORKER_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#define AHEAD_PACKET_MAX (8 * 1024) /* bytes of a packet: a longer call is not sent ahead */
#define AHEAD_ID_BYTES   8          /* of these, before the frame */

#define AHEAD_QUEUE_MAX 16 /* calls that are in it at a time */

struct ahead_queue {
	int ours, theirs;                 /* -1: none */
	uint64_t unsent[AHEAD_QUEUE_MAX]; /* calls that the socket did not take, the last ones */
	unsigned unsent_count;
};

/* Makes the pair; *worker is the worker's end for the process, which the caller closes after passing it on.
 * 0 or a negative errno, and then there is nothing to close. */
int ahead_queue_open(struct ahead_queue *a, int *worker) __attribute__((warn_unused_result));
void ahead_queue_close(struct ahead_queue *a);

/* One call. What the socket does not take comes back with ahead_queue_recall(), too. */
void ahead_queue_send(struct ahead_queue *a, uint64_t call_id, const void *body, size_t len);

/* Takes out the first one, which the worker has not read and does not look for; `packet` has room for AHEAD_PACKET_MAX
 * bytes. Returns its length, or 0: it is not there, or is another than `call_id` (then it is as good as lost). */
size_t ahead_queue_first(struct ahead_queue *a, uint64_t call_id, uint8_t *packet);

/* Takes back what the worker has not read, and will not: the calls' ids in their order; returns how many. While
 * it does so the worker may take one from between them. Never blocks. */
unsigned ahead_queue_recall(struct ahead_queue *a, uint64_t call_ids[AHEAD_QUEUE_MAX]);

#endif
