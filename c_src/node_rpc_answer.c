/* node_rpc_answer.c - how a call ended, in the words of erpc and rex.
 *
 * A result is told as it is. Everything else is an error with a Reason, that of docs/protocol.md (`undef` for
 * a function that there is not, as every node says), and a StackTrace as the BEAM's own, innermost first:
 * of a Python exception its frames, with file and line, so that a crash report points into Python; and
 * at the end always the function that was called.
 *
 * A worker is not believed: of its frames at most 64 are told, their names are cut to what an atom can
 * hold, and the first that is none ends the list. */
#include "node_private.h"
#include "term_tags.h"

#include <errno.h>

#define FRAMES_MAX 64
#define FILE_MAX   4096 /* bytes of a file's path */

static const uint8_t erlang_atom[] = "w\x06"
				     "erlang";
static const uint8_t apply_atom[] = "w\x05"
				    "apply";

const struct rpc_mfa rpc_apply = { .module = { erlang_atom, sizeof erlang_atom - 1 },
				   .function = { apply_atom, sizeof apply_atom - 1 },
				   .arity = 3 };

/* The number of elements of a proper list, which may be written in pieces. */
static uint64_t list_length(const uint8_t *t)
{
	const uint8_t *at;
	uint32_t count;
	uint64_t total = 0;

	if (term_kind(t) == TERM_STRING)
		return get_u16(t + 1);
	while (term_kind(t) == TERM_LIST && term_list(t, &count, &at)) {
		total += count;
		while (count-- > 0)
			at = term_skip(at);
		t = at;
	}
	return total;
}

struct rpc_mfa rpc_mfa(const uint8_t *mfa)
{
	struct rpc_mfa out = { .module = term_span(mfa) };

	out.function = term_span(mfa + out.module.len);
	out.arity = list_length(mfa + out.module.len + out.function.len);
	return out;
}

/* ---- stacks ---- */

/* A worker's text as an atom: whatever it is. */
static void put_atom(struct buf *out, const char *text, size_t len)
{
	size_t n = 0, end = 0;

	if (len == 0 || !term_utf8(text, len)) {
		term_put_atom(out, "?");
		return;
	}
	for (; end < len; end++) /* characters, not bytes */
		if ((text[end] & 0xc0) != 0x80 && ++n > TERM_ATOM_MAX)
			break;
	term_put_atom_n(out, text, end);
}

/* The code point at `p`, of UTF-8 that is known to be well-formed; *n gets its bytes. */
static uint32_t code_point(const uint8_t *p, size_t *n)
{
	uint32_t c = p[0];

	*n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	c = *n == 1 ? c : c & (0x7fu >> *n);
	for (size_t i = 1; i < *n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* A file's path as a list of characters. */
static void put_path(struct buf *out, const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;
	uint32_t count = 0;
	size_t n;

	if (len == 0 || len > FILE_MAX || !term_utf8(text, len)) {
		term_put_nil(out);
	} else if (ascii_only(p, len)) {
		buf_put_u8(out, TAG_STRING);
		buf_put_u16(out, (unsigned)len);
		buf_put(out, text, len);
	} else {
		for (size_t i = 0; i < len; i++)
			count += (p[i] & 0xc0) != 0x80;
		term_put_list(out, count);
		for (size_t i = 0; i < len; i += n)
			term_put_int(out, code_point(p + i, &n));
		term_put_nil(out);
	}
}

/* {Module, Function, Arity, []} */
static void put_called(struct buf *out, const struct rpc_mfa *mfa)
{
	term_put_tuple(out, 4);
	term_put_raw(out, mfa->module);
	term_put_raw(out, mfa->function);
	term_put_uint(out, mfa->arity);
	term_put_nil(out);
}

/* Whether a frame's function is the one that was called: F, or what stands behind F's last dot. */
static bool is_called(const struct rpc_mfa *mfa, const char *name, size_t len)
{
	struct span text;
	bool latin1;

	return term_atom(mfa->function.at, &text, &latin1) && len > 0 && text.len >= len &&
	       memcmp(text.at + text.len - len, name, len) == 0 &&
	       (text.len == len || text.at[text.len - len - 1] == '.');
}

/* One frame, [module, function, file, line], as {Module, Function, Arity, Location}; false: it is none.
 * Python's frames do not say how many arguments there were; that of the call is known. */
static bool put_frame(struct buf *out, const uint8_t **at, const uint8_t *end,
		      const struct rpc_mfa *mfa, bool *called)
{
	const char *module, *function, *file;
	size_t module_len, function_len, file_len;
	uint32_t count;
	uint64_t line;

	if (!frame_get_array(at, end, &count) || count != 4 ||
	    !frame_get_str(at, end, &module, &module_len) ||
	    !frame_get_str(at, end, &function, &function_len) ||
	    !frame_get_str(at, end, &file, &file_len) || !frame_get_uint(at, end, &line))
		return false;
	*called = is_called(mfa, function, function_len);
	term_put_tuple(out, 4);
	put_atom(out, module, module_len);
	put_atom(out, function, function_len);
	term_put_uint(out, *called ? mfa->arity : 0);
	term_put_list(out, line > 0 && line <= INT32_MAX ? 2 : 1);
	term_put_tuple(out, 2);
	term_put_atom(out, "file");
	put_path(out, file, file_len);
	if (line > 0 && line <= INT32_MAX) {
		term_put_tuple(out, 2);
		term_put_atom(out, "line");
		term_put_uint(out, line);
	}
	term_put_nil(out);
	return true;
}

/* The stack of an ERROR frame's elements (kind, ...): `items` without the list around them. */
static uint32_t put_frames(struct buf *items, const uint8_t *at, const uint8_t *end,
			   const struct rpc_mfa *mfa, bool *called)
{
	uint32_t count, n = 0;

	*called = false;
	for (int i = 0; i < 6; i++) /* kind, type, module, message, traceback, args */
		if (!frame_skip(&at, end))
			return 0;
	if (!frame_get_array(&at, end, &count))
		return 0;
	while (n < count && n < FRAMES_MAX && put_frame(items, &at, end, mfa, called))
		n++;
	return n;
}

/* `error` is the ERROR frame of a Python exception, or NULL. */
static void put_stack(struct buf *out, const struct frame *error, const struct rpc_mfa *mfa)
{
	struct buf items = { 0 };
	bool called = false;
	uint32_t n = error == NULL ? 0
				   : put_frames(&items, error->rest, error->rest + error->rest_len,
						mfa, &called);

	term_put_list(out, n + !called);
	if (items.err == 0)
		buf_put(out, items.data, items.len);
	else
		out->err = items.err;
	if (!called)
		put_called(out, mfa);
	term_put_nil(out);
	buf_free(&items);
}

/* ---- shapes ---- */

/* An error: Reason and Stack, dressed. */
static void put_error(enum rpc_shape shape, struct span ref, struct span reason, struct span stack,
		      struct buf *out)
{
	switch (shape) {
	case RPC_CALL:
		term_put_tuple(out, 4);
		term_put_raw(out, ref);
		term_put_atom(out, "error");
		break;
	case RPC_CAST:
		term_put_tuple(out, 2);
		term_put_tuple(out, 2);
		term_put_atom(out, "exception");
		term_put_tuple(out, 2);
		term_put_raw(out, reason);
		term_put_raw(out, stack);
		term_put_raw(out, stack);
		return;
	case RPC_REX:
		term_put_tuple(out, 2);
		term_put_atom(out, "badrpc");
		term_put_tuple(out, 2);
		term_put_atom(out, "EXIT");
		term_put_tuple(out, 2);
		break;
	}
	term_put_raw(out, reason);
	term_put_raw(out, stack);
}

/* Reason and stack are in buffers of their own, which may have failed. */
static void put_error_of(enum rpc_shape shape, struct span ref, const struct buf *reason,
			 const struct buf *stack, struct buf *out)
{
	if (reason->err != 0 || stack->err != 0)
		out->err = -ENOMEM;
	else
		put_error(shape, ref, (struct span){ reason->data, reason->len },
			  (struct span){ stack->data, stack->len }, out);
}

void rpc_put_refusal(enum rpc_shape shape, struct span ref, const struct rpc_mfa *mfa,
		     struct span reason, struct buf *out)
{
	struct buf why = { 0 }, stack = { 0 };

	term_put_raw(&why, reason);
	put_stack(&stack, NULL, mfa);
	put_error_of(shape, ref, &why, &stack, out);
	buf_free(&why);
	buf_free(&stack);
}

/* What a worker returned; or why it has no term, in `reason`. */
static enum answer_kind put_result(struct node_pool *p, enum rpc_shape shape, struct span ref,
				   struct buf *reason, struct buf *out)
{
	struct transcode_options opts = { .max_depth = (uint32_t)p->config->max_depth,
					  .max_bytes = p->config->max_result_bytes,
					  .strings_utf8 = true };
	struct transcode_error err;
	bool begun = out->err == 0; /* as in node_answer.c */
	size_t start = out->len;

	if (shape == RPC_CAST) {
		term_put_atom(out, "normal");
		return ANSWER_OK;
	}
	if (shape == RPC_CALL) {
		term_put_tuple(out, 3);
		term_put_raw(out, ref);
		term_put_atom(out, "return");
	}
	if (transcode_value(p->frame->rest, p->frame->rest_len, "result", &opts, out, NULL, &err) ==
	    0)
		return ANSWER_OK;
	out->len = start;
	if (err.fault == TRANSCODE_NO_MEMORY && begun)
		out->err = 0;
	answer_put_fault(reason, &err);
	return answer_fault_kind(err.fault);
}

enum answer_kind rpc_put_outcome(struct node_pool *p, struct node_request *r, enum rpc_shape shape,
				 struct buf *out)
{
	struct span ref = { r->data, r->tag_len };
	const struct frame *frame = p->frame, *error = NULL;
	struct buf reason = { 0 }, stack = { 0 };
	struct rpc_mfa mfa = { .arity = r->count };
	enum answer_kind kind;
	struct called c;

	node_request_called(r, &c);
	mfa.module = c.module;
	mfa.function = c.function;
	if (r->pool.outcome != OUTCOME_OK) {
		kind = answer_put_outcome(p, r, &reason);
	} else if (frame->type == FRAME_ERROR) {
		error = frame;
		kind = answer_put_worker_error(p, mfa.module, mfa.function, frame->rest,
					       frame->rest + frame->rest_len, &reason);
	} else {
		kind = put_result(p, shape, ref, &reason, out);
	}
	if (kind == ANSWER_NO_FUNCTION) {
		buf_reset(&reason, SIZE_MAX);
		term_put_atom(&reason, "undef");
	}
	if (kind != ANSWER_OK) {
		put_stack(&stack, kind == ANSWER_PYTHON ? error : NULL, &mfa);
		put_error_of(shape, ref, &reason, &stack, out);
	}
	buf_free(&reason);
	buf_free(&stack);
	return kind;
}
