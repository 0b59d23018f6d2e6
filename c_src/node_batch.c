/* node_batch.c - several calls in one request: one BATCH frame, one answer with an outcome for each.
 *
 * The happy path: every function of the batch is allowed and its arguments have a Python form -> one
 * frame -> the worker runs one after the other -> RESULT, an array with an element for each:
 * [true, value] or [false, kind, ...] -> {ok, [{ok, Result} | {error, Reason}]}.
 * What can go wrong before: one function is not allowed or one argument has no Python form; then none of
 * them runs, and the answer is {error, Reason} with a path that begins with calls[N]. Afterwards: a
 * result has no term, or all of them together are too long; then its element says so, and the others are
 * as they are. A worker that answers with anything but such an array: {unencodable, <<"result">>, corrupt}
 * for the batch. Time-outs and a worker's death concern the batch as a whole. */
#include "node_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_allowed(const struct node_pool *p, const struct request *call, struct buf *reason)
{
	if (config_allows(p->config, (const char *)call->module.at, call->module.len,
			  (const char *)call->function.at, call->function.len))
		return true;
	term_put_tuple(reason, 3);
	term_put_atom(reason, "not_allowed");
	term_put_raw(reason, term_span(call->module_term));
	term_put_raw(reason, term_span(call->function_term));
	return false;
}

/* A fault of one call's arguments as one of the batch's: which call, and the limit of all. */
static void of_call(struct transcode_error *err, uint32_t i, const struct config_pool *c)
{
	char where[sizeof err->where];

	/* a path is cut at its end here, so that it still says which call it was */
	(void)!snprintf(where, sizeof where, "calls[%u].%.200s", i, err->where);
	memcpy(err->where, where, sizeof where);
	if (err->fault == TRANSCODE_TOO_LARGE) {
		err->bytes += c->max_request_bytes - err->limit;
		err->limit = c->max_request_bytes;
	}
}

int node_batch_frame(struct node_pool *p, uint64_t id, const struct request *req,
		     struct transcode_error *err, struct buf *reason)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .strings_utf8 = req->strings_utf8 };
	struct node *n = p->node;
	struct buf *out = &n->scratch;
	const uint8_t *at;
	uint32_t count;
	size_t start;
	int rc;

	if (!term_list(req->calls, &count, &at))
		return -EINVAL;
	buf_reset(out, 1024 * 1024);
	parcel_clear(&p->node->parts);
	buf_reset(&n->names, 64 * 1024);
	start = frame_begin(out, FRAME_BATCH, id, 2);
	frame_put_array(out, count);
	for (uint32_t i = 0; i < count; i++, at = term_skip(at)) {
		struct request call = { 0 };

		if (!request_parse_mfa(at, &call) || !is_allowed(p, &call, reason))
			return -EINVAL;
		term_put_raw(&n->names, term_span(call.module_term));
		term_put_raw(&n->names, term_span(call.function_term));
		frame_put_array(out, 4);
		frame_put_str(out, call.module.at, call.module.len);
		frame_put_str(out, call.function.at, call.function.len);
		opts.max_bytes = out->len - start < p->config->max_request_bytes
					 ? p->config->max_request_bytes - (out->len - start)
					 : 0;
		if ((rc = transcode_args(call.args, &opts, out, err)) != 0) {
			of_call(err, i, p->config);
			return rc;
		}
		frame_put_map(out, 0);
	}
	if ((rc = node_meta(p, req, err)) != 0)
		return rc;
	frame_end(out, start);
	if (out->err == 0 && n->names.err == 0)
		return 0;
	*err = (struct transcode_error){ .fault = TRANSCODE_NO_MEMORY, .where = "calls" };
	return -EINVAL;
}

/* ---- the answer ---- */

/* One element's end, and whether it is [true, value] or [false, kind, ...]; *at moves to what is behind
 * the bool. */
static bool open_element(const uint8_t **at, const uint8_t *end, const uint8_t **element_end,
			 bool *ok)
{
	uint32_t count;

	*element_end = *at;
	return frame_skip(element_end, end) && frame_get_array(at, *element_end, &count) &&
	       frame_get_bool(at, *element_end, ok) && (*ok ? count == 2 : count >= 2);
}

static void put_fault(struct buf *out, const struct transcode_error *err)
{
	answer_put_error(out);
	answer_put_fault(out, err);
}

/* {ok, Value}, or why it has no term; at most `room` bytes of it. */
static void put_value(struct node_pool *p, const uint8_t *at, const uint8_t *end, size_t room,
		      struct buf *out)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = room,
					  .strings_utf8 = true };
	struct transcode_error err;
	bool begun =
		out->err == 0; /* else what is before it is not there, and nothing may follow */
	size_t start = out->len;

	term_put_tuple(out, 2);
	term_put_atom(out, "ok");
	if (transcode_value(at, (size_t)(end - at), "result", &opts, out, NULL, &err) == 0)
		return;
	out->len = start;
	if (err.fault == TRANSCODE_NO_MEMORY && begun)
		out->err = 0;
	if (err.fault == TRANSCODE_TOO_LARGE) {
		err.bytes += p->config->max_result_bytes - err.limit;
		err.limit = p->config->max_result_bytes;
	}
	put_fault(out, &err);
}

/* An outcome that says how long all of them would have been. */
static void put_too_large(struct node_pool *p, uint64_t bytes, struct buf *out)
{
	struct transcode_error err = { .fault = TRANSCODE_TOO_LARGE,
				       .bytes = bytes,
				       .limit = p->config->max_result_bytes };

	put_fault(out, &err);
}

/* The outcomes of all calls, `names` are theirs; false: the worker's answer is not what it has to be. */
static bool put_outcomes(struct node_pool *p, struct span names, const struct frame *frame,
			 struct buf *out)
{
	const uint8_t *at = frame->rest, *end = at + frame->rest_len, *element_end;
	const uint8_t *module = names.at, *names_end = names.at + names.len, *function;
	const size_t start = out->len, limit = p->config->max_result_bytes;
	uint32_t count;
	bool ok;

	if (!frame_get_array(&at, end, &count))
		return false;
	term_put_list(out, count);
	for (; count > 0 && module < names_end;
	     count--, module = term_skip(function), at = element_end) {
		size_t here = out->len, used = here - start;

		function = term_skip(module);
		if (!open_element(&at, end, &element_end, &ok))
			return false;
		if (ok) {
			put_value(p, at, element_end, used < limit ? limit - used : 0, out);
			continue;
		}
		answer_put_error(out);
		answer_put_worker_error(p, term_span(module), term_span(function), at, element_end,
					out);
		if (out->len - start > limit && out->len - here > 64) {
			used = out->len - start;
			out->len = here;
			put_too_large(p, used, out);
		}
	}
	term_put_nil(out);
	return count == 0 && module == names_end && at == end;
}

enum answer_kind node_batch_put(struct node_pool *p, const struct node_request *r,
				const struct frame *frame, struct buf *out)
{
	static const struct transcode_error corrupt = { .fault = TRANSCODE_CORRUPT,
							.where = "result" };
	size_t start = out->len;

	term_put_tuple(out, 2);
	term_put_atom(out, "ok");
	if (put_outcomes(p, node_request_batch(r), frame, out))
		return ANSWER_OK;
	out->len = start;
	put_fault(out, &corrupt);
	return ANSWER_UNENCODABLE;
}
