/* dist_message.c - a message of ours, or a spawn request, to one frame.
 *
 * dist_begin_...() writes the control message, the owner appends the message itself to the output, dist_end()
 * gives it its length and sends it on its way: there, or to wait behind what its receiver was told before
 * (dist_split.c). Between begin and end, unlike a signal of dist_send.c, it can be given up and replaced by a
 * smaller one: what finds no room is taken back whole, and dist_end() says so. */
#include "dist_write.h"

#include "parcel.h"

#include <errno.h>

/* As dist_frame_begin(), for an answer: that it finds no room is for dist_end() to tell, and no loss. */
static uint8_t *begin_message(struct dist *d, unsigned op, unsigned arity, size_t room)
{
	int lost = d->lost;
	uint8_t *p = dist_frame_begin(d, op, arity, room + 1);

	d->lost = lost;
	return p;
}

/* Ends the control message of an answer at `p`, with the version byte if that comes; the length is for
 * dist_end(). */
static void open_message(struct dist *d, uint8_t *p, uint64_t to)
{
	if (!dist_fragments(d))
		*p++ = TERM_VERSION;
	(void)dist_frame_end(d, p);
	d->to = to;
}

size_t dist_begin_send(struct dist *d, const struct term_pid *to)
{
	size_t start = d->out.len;
	uint8_t *p = begin_message(d, 2, 3, atom_room(0) + pid_room(to));

	if (p != NULL)
		open_message(d, write_pid(write_atom(p, "", 0), to), dist_pid_key(to));
	return start;
}

size_t dist_begin_send_name(struct dist *d, const struct term_pid *from, const char *name)
{
	size_t start = d->out.len, name_len = strlen(name);
	uint8_t *p = begin_message(d, 6, 4, pid_room(from) + atom_room(0) + atom_room(name_len));

	if (p != NULL)
		open_message(d, write_atom(write_atom(write_pid(p, from), "", 0), name, name_len),
			     dist_name_key(name));
	return start;
}

size_t dist_begin_send_alias(struct dist *d, const struct term_pid *from, const struct term_pid *to,
			     struct span alias)
{
	size_t start = d->out.len;
	uint8_t *p = begin_message(d, 33, 3, pid_room(from) + alias.len);

	if (p != NULL)
		open_message(d, write_span(write_pid(p, from), alias),
			     to != NULL ? dist_pid_key(to) : 0);
	return start;
}

void dist_to(struct dist *d, const struct term_pid *to)
{
	d->to = dist_pid_key(to);
}

void dist_unordered(struct dist *d)
{
	d->to = 0;
}

bool dist_can_spawn(const struct dist *d)
{
	return (d->peer_flags & FLAG_SPAWN) != 0;
}

/* {29, ReqId, From, GroupLeader, {Module, Function, Arity}, [monitor]} */
size_t dist_begin_spawn(struct dist *d, struct span req_id, const struct term_pid *from,
			const struct term_pid *group_leader, const char *module,
			const char *function, unsigned arity)
{
	static const uint8_t options[] = { LIST, 0,   0,   0,   1,   SMALL_ATOM_UTF8,
					   7,    'm', 'o', 'n', 'i', 't',
					   'o',  'r', NIL };
	size_t start = d->out.len, module_len = strlen(module), function_len = strlen(function);
	uint8_t *p = begin_message(d, 29, 6,
				   req_id.len + pid_room(from) + pid_room(group_leader) + 4 +
					   atom_room(module_len) + atom_room(function_len) +
					   sizeof options);

	if (p == NULL)
		return start;
	p = write_pid(write_pid(write_span(p, req_id), from), group_leader);
	*p++ = SMALL_TUPLE;
	*p++ = 3;
	p = write_atom(write_atom(p, module, module_len), function, function_len);
	*p++ = SMALL_INTEGER;
	*p++ = (uint8_t)arity;
	open_message(d, write_raw(p, options, sizeof options), 0);
	return start;
}

static int end_message(struct dist *d, size_t start, const struct parcel_parts *apart,
		       struct share *held)
{
	size_t len = d->out.len - start - 4 + (apart != NULL ? apart->bytes : 0);
	int rc = d->phase != PHASE_UP ? -ENOTCONN : d->out.err;

	if (rc == 0 && len > UINT32_MAX)
		rc = -EMSGSIZE;
	if (rc != 0) {
		dist_abort(d, start);
		return rc;
	}
	put_u32(d->out.data + start, (uint32_t)len);
	if (4 + len <= DIST_INLINE_BYTES && list_empty(&d->flows))
		return 0;
	if ((rc = dist_route(d, start, d->to, true, apart, held)) != 0)
		dist_abort(d, start);
	return rc;
}

int dist_end(struct dist *d, size_t start)
{
	return end_message(d, start, NULL, NULL);
}

bool dist_can_part(const struct dist *d)
{
	return dist_fragments(d);
}

int dist_end_apart(struct dist *d, size_t start, const struct parcel_parts *parts,
		   struct share *held)
{
	int rc;

	assert(dist_fragments(d) && parts->count > 0);
	if ((rc = end_message(d, start, parts, held)) != 0)
		share_drop(held);
	return rc;
}

void dist_abort(struct dist *d, size_t start)
{
	d->out.len = start;
	if (d->lost == 0)
		d->out.err = 0;
}
