/* node_reply.c - where an answer goes, and its outside: `{Tag, Reply}`.
 *
 * It is sent to the alias that the tag holds, or else to the caller's pid. With an alias the caller's
 * BEAM drops an answer that comes too late. */
#include "node_private.h"

struct reply_to reply_to_request(const struct node_request *r)
{
	struct reply_to to = { .books = r->cast ? NULL : r->books, .caller = r->caller };

	if (r->in_lane && (to.lane = node_lane_of(r)) == NULL)
		to.books = NULL;

	if (r->tag_form == TAG_MONITOR && r->heard_by != HEARD_MONITOR)
		to.books = NULL;
	else if (r->tag_form == TAG_MONITOR)
		to.ref = monitor_ref(r->monitor);
	else if (r->tag_form == TAG_ALIAS)
		to.ref = (struct ref){ { r->data, r->tag_len }, true };
	else
		to.tag = (struct span){ r->data, r->tag_len };
	if (to.books != NULL && to.lane == NULL && to.tag.len > 0)
		to.alias = request_alias(r->data);
	return to;
}

struct reply_to reply_to_origin(const struct origin *o)
{
	return (struct reply_to){ .books = o->cast ? NULL : o->books,
				  .caller = o->caller,
				  .lane = o->lane,
				  .tag = o->env->tag,
				  .alias = o->env->alias };
}

struct buf *answer_begin(const struct reply_to *to, size_t *mark)
{
	struct span alias = to->alias;
	struct term_pid caller;
	uint8_t room[REF_MAX];
	struct dist *d;
	struct buf *out;

	if (to->books == NULL || to->books->forgotten || peer_closing(to->books->peer))
		return NULL;
	if (to->lane != NULL)
		return node_lane_begin(to->lane, to->tag, mark);
	d = peer_dist(to->books->peer);
	out = dist_output(d);
	caller = books_pid(to->books, &to->caller);
	if (to->ref.bytes.len > 0)
		alias = ref_whole(to->books, to->ref, room);
	if (alias.len > 0) {
		struct term_pid from = node_pid(to->books->node, NODE_PID_ID);

		*mark = dist_begin_send_alias(d, &from, &caller, alias);
	} else {
		*mark = dist_begin_send(d, &caller);
	}
	term_put_tuple(out, 2);
	if (to->ref.bytes.len > 0) { /* [alias | Ref] */
		term_put_list(out, 1);
		term_put_atom(out, "alias");
		term_put_raw(out, alias);
	} else {
		term_put_raw(out, to->tag);
	}
	return out;
}

bool answer_end(const struct reply_to *to, size_t mark)
{
	struct peer *peer = to->books->peer;

	if (to->lane != NULL)
		return node_lane_end(to->lane, mark);
	if (dist_end(peer_dist(peer), mark) != 0) {
		peer_close(peer, "no memory for an answer");
		return false;
	}
	books_mark_dirty(to->books);
	return true;
}

bool answer_may_part(const struct reply_to *to)
{
	return dist_can_part(peer_dist(to->books->peer));
}

bool answer_end_apart(const struct reply_to *to, size_t mark, const struct parcel_parts *parts,
		      struct share *held)
{
	struct peer *peer = to->books->peer;

	if (to->lane != NULL)
		return node_lane_end_apart(to->lane, mark, parts, held);
	if (dist_end_apart(peer_dist(peer), mark, parts, held) != 0) {
		peer_close(peer, "no memory for an answer");
		return false;
	}
	books_mark_dirty(to->books);
	return true;
}

void answer_atom(const struct reply_to *to, const char *atom)
{
	size_t mark;
	struct buf *out = answer_begin(to, &mark);

	if (out == NULL)
		return;
	term_put_atom(out, atom);
	answer_end(to, mark);
}

void answer_put_error(struct buf *out)
{
	term_put_tuple(out, 2);
	term_put_atom(out, "error");
}

/* A reason is told to somebody who waits for it: one that there was no memory for is another one. */
struct span answer_reason(const struct buf *reason)
{
	static const uint8_t no_memory[] = "w\x09no_memory"; /* SMALL_ATOM_UTF8_EXT */

	if (reason->err != 0)
		return (struct span){ no_memory, sizeof no_memory - 1 };
	return (struct span){ reason->data, reason->len };
}

void answer_error(const struct reply_to *to, struct span reason)
{
	size_t mark;
	struct buf *out = answer_begin(to, &mark);

	if (out == NULL)
		return;
	answer_put_error(out);
	term_put_raw(out, reason);
	answer_end(to, mark);
}

void answer_bad(const struct reply_to *to, const char *expected)
{
	struct buf reason = { 0 };

	request_put_bad(&reason, expected);
	answer_error(to, answer_reason(&reason));
	buf_free(&reason);
}

void answer_error_atom(const struct reply_to *to, const char *reason)
{
	size_t mark;
	struct buf *out = answer_begin(to, &mark);

	if (out == NULL)
		return;
	answer_put_error(out);
	term_put_atom(out, reason);
	answer_end(to, mark);
}
