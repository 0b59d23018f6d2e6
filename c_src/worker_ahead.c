/* worker_ahead.c - the queue of calls that are sent ahead; see worker_ahead.h.
 *
 * The happy path: ahead_queue_send() -> the worker receives.
 * What can go wrong: the socket is full or has no memory (then that packet and all behind it, until they are
 * had back, are not sent but counted); the worker is gone (nobody reads, and all of them are had back). */
#include "worker_ahead.h"

#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int ahead_queue_open(struct ahead_queue *a, int *worker)
{
	int pair[2], rc;

	*a = (struct ahead_queue){ .ours = -1, .theirs = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	if ((*worker = fcntl(pair[1], F_DUPFD_CLOEXEC, 0)) < 0) {
		rc = -errno;
		close(pair[0]);
		close(pair[1]);
		return rc;
	}
	a->ours = pair[0];
	a->theirs = pair[1];
	return 0;
}

void ahead_queue_close(struct ahead_queue *a)
{
	if (a->ours >= 0) {
		close(a->ours);
		close(a->theirs);
	}
	*a = (struct ahead_queue){ .ours = -1, .theirs = -1 };
}

void ahead_queue_send(struct ahead_queue *a, uint64_t call_id, const void *body, size_t len)
{
	uint8_t id[AHEAD_ID_BYTES];
	struct iovec parts[] = { { id, sizeof id }, { (void *)body, len } };
	struct msghdr packet = { .msg_iov = parts, .msg_iovlen = 2 };

	put_u64(id, call_id);
	if ((a->ours < 0 || a->unsent_count > 0 ||
	     sendmsg(a->ours, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) &&
	    a->unsent_count < AHEAD_QUEUE_MAX)
		a->unsent[a->unsent_count++] = call_id;
}

size_t ahead_queue_first(struct ahead_queue *a, uint64_t call_id, uint8_t *packet)
{
	ssize_t n = a->theirs >= 0 ? recv(a->theirs, packet, AHEAD_PACKET_MAX, MSG_DONTWAIT) : -1;

	if (n > AHEAD_ID_BYTES && get_u64(packet) == call_id)
		return (size_t)n;
	if (a->unsent_count > 0 && a->unsent[0] == call_id) {
		a->unsent_count--;
		memmove(a->unsent, a->unsent + 1, a->unsent_count * sizeof *a->unsent);
	}
	return 0;
}

unsigned ahead_queue_recall(struct ahead_queue *a, uint64_t call_ids[AHEAD_QUEUE_MAX])
{
	unsigned count = 0;
	uint8_t id[AHEAD_ID_BYTES];

	while (count < AHEAD_QUEUE_MAX && a->theirs >= 0 &&
	       recv(a->theirs, id, sizeof id, MSG_DONTWAIT) == sizeof id)
		call_ids[count++] = get_u64(id);
	for (unsigned i = 0; i < a->unsent_count && count < AHEAD_QUEUE_MAX; i++)
		call_ids[count++] = a->unsent[i];
	a->unsent_count = 0;
	return count;
}
