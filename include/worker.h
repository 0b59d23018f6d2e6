/* worker.h - one Python process as the node sees it: its channel, its output, its end.
 *
 * It knows nothing of pools and calls: it carries frames one way and the other, cuts what the process
 * prints into lines, and keeps the last lines of stderr for those who ask why it died. */
#ifndef KRAIT_WORKER_H
#define KRAIT_WORKER_H

#include "worker_ahead.h"
#include "buf.h"
#include "frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define WORKER_LINES 64 /* last lines of stderr that are kept, LINE_MAX_BYTES each at most */

struct worker;

struct worker_callbacks {
	/* A frame; its bytes are valid until the callback returns. */
	void (*on_frame)(void *arg, struct worker *w, const struct frame *frame);
	/* A whole line, without its newline. */
	void (*on_line)(void *arg, struct worker *w, bool is_stderr, const char *line, size_t len);
	/* The channel is at its end or carries garbage: no frame follows. Once. `unread`: the process
	 * ended without having read all that was sent to it, so the last call was never begun. */
	void (*on_broken)(void *arg, struct worker *w, const char *why, bool unread);
	/* All handles are closed, after worker_close(); worker_free() may follow. */
	void (*on_closed)(void *arg, struct worker *w);
};

#define WORKER_FDS 4

/* Makes the channel, the output pipes and the queue of calls sent ahead. `theirs` gets the descriptors for
 * the process: channel, stdout, stderr, its end of the queue; the caller closes them after passing them on.
 * `max_frame`: longest frame accepted. NULL, and a negative errno in *error. */
struct worker *worker_new(uv_loop_t *loop, size_t max_frame,
			  const struct worker_callbacks *callbacks, void *arg,
			  int theirs[WORKER_FDS], int *error) __attribute__((warn_unused_result));

/* Sends whole frames; what the socket does not take at once is copied and sent later. 0 or a negative
 * errno; on_broken follows in time by itself when the process is gone. */
int worker_send(struct worker *w, const void *data, size_t len) __attribute__((warn_unused_result));

/* The same of a large frame, which is not copied: what is sent later holds the parcel until then. */
struct parcel;
int worker_send_parcel(struct worker *w, struct parcel *p) __attribute__((warn_unused_result));

/* What the frame of the last on_frame lies in, to be owned by the caller, too (frame_share()). NULL: no memory. */
struct share;
struct share *worker_share(struct worker *w) __attribute__((warn_unused_result));

/* Stops and goes on taking frames: who is not read stops writing, in time. It goes on when it was told so
 * as often as it was told to stop. A worker that was closed is read to its end all the same. */
void worker_pause(struct worker *w);
void worker_resume(struct worker *w);

/* The calls that were sent ahead; closed with the worker. */
struct ahead_queue *worker_ahead(struct worker *w);

/* Bytes that wait for the process to read them. */
size_t worker_unsent(const struct worker *w);

/* Closes our writing half of the channel: an idle worker leaves. */
void worker_end(struct worker *w);

/* The process has exited (and its group was killed): takes what is still in the channel (frames) and the
 * pipes (lines, the last one without its newline), then closes all handles -> on_closed, later.
 * Callbacks on_frame, on_line and on_broken may be called before it returns. */
void worker_close(struct worker *w);

/* Frees a worker whose on_closed was called. */
void worker_free(struct worker *w);

/* Appends the last lines of stderr, oldest first, each with a newline. UTF-8: U+FFFD stands for what is none. */
void worker_last_lines(const struct worker *w, struct buf *out);

#endif
