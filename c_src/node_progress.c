/* node_progress.c - reports of a running call, to its caller.
 *
 * `{krait_progress, Tag, Term}` to the caller's pid, if the request asked for them with a tag and its caller
 * lives. A report that cannot be a term is dropped with a line in the log (the worker looks before it
 * sends one, so it is to blame); reports faster than the caller's node reads them make their worker wait. */
#include "node_callback.h"

#include "log.h"

void node_progress_frame(struct node_worker *w, const struct frame *frame)
{
	struct node_request *r = callback_request(w, frame->id);
	const struct config_pool *config = w->pool->config;
	struct transcode_options opts = { .max_depth = (uint32_t)config->max_depth,
					  .max_bytes = config->max_result_bytes,
					  .strings_utf8 = true };
	struct transcode_error err;
	struct term_pid to;
	struct span tag;
	struct dist *d;
	struct buf *out;
	size_t start, used = 0;
	char text[512];

	if (r == NULL || node_request_progress(r).len == 0 || r->cast || r->books == NULL ||
	    r->books->forgotten || peer_closing(r->books->peer))
		return;
	tag = node_request_progress(r);
	d = peer_dist(r->books->peer);
	out = dist_output(d);
	to = books_pid(r->books, &r->caller);
	start = dist_begin_send(d, &to);
	term_put_tuple(out, 3);
	term_put_atom(out, "krait_progress");
	term_put_raw(out, tag);
	if (transcode_value(frame->rest, frame->rest_len, "progress", &opts, out, &used, &err) !=
	    0) {
		dist_abort(d, start);
		callback_fault_text("its progress report", &err, text, sizeof text);
		log_line(LOG_WARNING, w->object, "dropped: %s", text);
		if (err.fault == TRANSCODE_CORRUPT)
			node_worker_broken(w, "bad_frame", "a PROGRESS with a value that is none");
		return;
	}
	if (frame->count != 1 || used != frame->rest_len) {
		dist_abort(d, start);
		node_worker_broken(w, "bad_frame", "a PROGRESS that is not one");
		return;
	}
	if (dist_end(d, start) != 0)
		log_line(LOG_WARNING, w->object, "its progress report is dropped: no memory");
	books_mark_dirty(r->books);
	callback_throttle(w, r->books);
}
