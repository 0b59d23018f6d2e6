/* dist_send.c - one signal of ours to one frame.
 *
 * Every signal makes sure of its room once and then writes without looking, so a frame is in the
 * output whole or not at all. One that finds no room (no memory, or over the owner's limit on the
 * output) is never skipped over: the peer would wait for a monitor or an exit for ever. It sets
 * `lost`, and the next dist_next() closes the connection. Only an answer, between begin and end,
 * can be given up and replaced by a smaller one.
 *
 * Frame: length:32, 112, 131, {Operation, ...} [, 131, message], or to a peer with fragments length:32,
 * 131, 68, 0, {Operation, ...} [, message]. Where it goes when it is complete: dist_split.c. Atoms as SMALL_ATOM_UTF8
 * (ATOM_UTF8 over 255 bytes), pids as NEW_PID, references as they came.
 *
 * What an OTP 25 BEAM does with UNLINK_ID, seen in some 10 000 tries, idle and busy. It answers it
 * with UNLINK_ID_ACK whether there was a link or not, the process alive or dead. So it can ask
 * whether a caller still waits: to a dead pid, MONITOR_P and UNLINK_ID are answered by DOWN, then
 * the ACK; of a caller that was killed or whose call had timed out before the UNLINK_ID, the
 * DEMONITOR_P comes first, then the ACK; of one that waits, and is sent UNLINK_ID and its answer in
 * one write, first the ACK, then the DEMONITOR_P. Acks of different processes come in any order.
 * No DEMONITOR_P ever comes of a call that timed out before its connection was up: its MONITOR_P and
 * request arrive all the same. There the ACK says "alive", rightly, and the answer is dropped. */
#include "dist_private.h"

#include "parcel.h"
#include "splitmix.h"

#include <assert.h>
#include <errno.h>

#define FRAME_HEAD 11 /* length:32, 112, 131 or 131, 68, 0; 104, arity, 97, operation */

enum {
	SMALL_INTEGER = 97,
	SMALL_TUPLE = 104,
	NIL = 106,
	LIST = 108,
	SMALL_BIG = 110,
	ATOM_UTF8 = 118,
	SMALL_ATOM_UTF8 = 119,
	NEW_PID = 88
};

/* Upper bounds of what the writers below write. */
static size_t atom_room(size_t len)
{
	return 3 + len;
}

static size_t pid_room(const struct term_pid *pid)
{
	return 1 + atom_room(pid->node_len) + 12;
}

#define ID_ROOM 11 /* SMALL_BIG of 8 bytes */

static uint8_t *write_raw(uint8_t *p, const void *data, size_t len)
{
	memcpy(p, data, len);
	return p + len;
}

static uint8_t *write_span(uint8_t *p, struct span s)
{
	return write_raw(p, s.at, s.len);
}

static uint8_t *write_atom(uint8_t *p, const void *text, size_t len)
{
	if (len <= UINT8_MAX) {
		*p++ = SMALL_ATOM_UTF8;
	} else {
		*p++ = ATOM_UTF8;
		*p++ = (uint8_t)(len >> 8);
	}
	*p++ = (uint8_t)len;
	return len > 0 ? write_raw(p, text, len) : p;
}

static uint8_t *write_pid(uint8_t *p, const struct term_pid *pid)
{
	*p++ = NEW_PID;
	p = write_atom(p, pid->node, pid->node_len);
	put_u32(p, pid->id);
	put_u32(p + 4, pid->serial);
	put_u32(p + 8, pid->creation);
	return p + 12;
}

static uint8_t *write_id(uint8_t *p, uint64_t id)
{
	uint8_t *len;

	if (id <= UINT8_MAX) {
		*p++ = SMALL_INTEGER;
		*p++ = (uint8_t)id;
		return p;
	}
	*p++ = SMALL_BIG;
	len = p++;
	*p++ = 0;
	for (*len = 0; id > 0; id >>= 8, ++*len)
		*p++ = (uint8_t)id;
	return p;
}

/* Begins a frame of at most FRAME_HEAD + `room` bytes; NULL: not connected, or lost. */
static uint8_t *begin(struct dist *d, unsigned op, unsigned arity, size_t room)
{
	uint8_t *p;
	int rc;

	if (d->phase != PHASE_UP)
		return NULL;
	if ((rc = buf_reserve(&d->out, FRAME_HEAD + room)) != 0) {
		d->lost = rc;
		return NULL;
	}
	p = d->out.data + d->out.len + 4;
	if (dist_fragments(d)) {
		*p++ = TERM_VERSION;
		*p++ = DIST_HEADER;
		*p++ = 0; /* atom cache references */
	} else {
		*p++ = 112;
		*p++ = TERM_VERSION;
	}
	*p++ = SMALL_TUPLE;
	*p++ = (uint8_t)arity;
	*p++ = SMALL_INTEGER;
	*p++ = (uint8_t)op;
	return p;
}

/* The key of a receiver, never 0. */
static uint64_t key(uint64_t x)
{
	return splitmix_at(x) | 1;
}

static uint64_t pid_key(const struct term_pid *to)
{
	return key(((uint64_t)to->serial << 32 | to->id) ^ (uint64_t)to->creation << 28);
}

static uint64_t name_key(const char *name)
{
	uint64_t x = 0;

	while (*name != '\0')
		x = x * 31 + (uint8_t)*name++;
	return key(x);
}

/* Ends the frame that stands after the output's last byte, at `p`. */
static size_t end(struct dist *d, const uint8_t *p)
{
	size_t start = d->out.len;

	assert((size_t)(p - d->out.data) <= d->out.cap);
	d->out.len = (size_t)(p - d->out.data);
	put_u32(d->out.data + start, (uint32_t)(d->out.len - start - 4));
	return start;
}

/* The same, of a signal: it goes to where its receiver's signals go. */
static void end_signal(struct dist *d, const uint8_t *p, uint64_t to, bool has_message)
{
	size_t start = end(d, p);
	int rc;

	if (list_empty(&d->flows) && !has_message)
		return;
	if ((rc = dist_route(d, start, to, has_message, NULL, NULL)) != 0) {
		d->out.len = start;
		d->lost = rc;
	}
}

void dist_send_tick(struct dist *d)
{
	int rc;

	if (d->phase != PHASE_UP)
		return;
	if ((rc = buf_reserve(&d->out, 4)) != 0)
		d->lost = rc;
	else
		buf_put_u32(&d->out, 0);
}

/* {Op, From, To [, Reason]} */
static void send_pair(struct dist *d, unsigned op, const struct term_pid *from,
		      const struct term_pid *to, struct span reason)
{
	uint8_t *p =
		begin(d, op, reason.len > 0 ? 4 : 3, pid_room(from) + pid_room(to) + reason.len);

	if (p == NULL)
		return;
	p = write_pid(write_pid(p, from), to);
	end_signal(d, reason.len > 0 ? write_span(p, reason) : p, pid_key(to), false);
}

void dist_send_link(struct dist *d, const struct term_pid *from, const struct term_pid *to)
{
	send_pair(d, 1, from, to, (struct span){ NULL, 0 });
}

void dist_send_exit(struct dist *d, const struct term_pid *from, const struct term_pid *to,
		    struct span reason)
{
	send_pair(d, 3, from, to, reason);
}

void dist_send_exit2(struct dist *d, const struct term_pid *from, const struct term_pid *to,
		     struct span reason)
{
	send_pair(d, 8, from, to, reason);
}

/* {Op, Id, From, To} */
static void send_unlink(struct dist *d, unsigned op, uint64_t id, const struct term_pid *from,
			const struct term_pid *to)
{
	uint8_t *p = begin(d, op, 4, ID_ROOM + pid_room(from) + pid_room(to));

	if (p != NULL)
		end_signal(d, write_pid(write_pid(write_id(p, id), from), to), pid_key(to), false);
}

void dist_send_unlink(struct dist *d, uint64_t id, const struct term_pid *from,
		      const struct term_pid *to)
{
	send_unlink(d, 35, id, from, to);
}

void dist_send_unlink_ack(struct dist *d, uint64_t id, const struct term_pid *from,
			  const struct term_pid *to)
{
	send_unlink(d, 36, id, from, to);
}

/* {Op, From, To, Ref}, To a pid or (NULL) a name. */
static void send_monitor(struct dist *d, unsigned op, const struct term_pid *from,
			 const struct term_pid *to, const char *name, struct span ref)
{
	size_t name_len = name != NULL ? strlen(name) : 0;
	uint8_t *p;

	if ((d->peer_flags & FLAG_DIST_MONITOR_NAME) == 0)
		return;
	p = begin(d, op, 4,
		  pid_room(from) + (to != NULL ? pid_room(to) : atom_room(name_len)) + ref.len);
	if (p == NULL)
		return;
	p = write_pid(p, from);
	p = to != NULL ? write_pid(p, to) : write_atom(p, name, name_len);
	end_signal(d, write_span(p, ref), to != NULL ? pid_key(to) : name_key(name), false);
}

void dist_send_monitor(struct dist *d, const struct term_pid *from, const struct term_pid *to,
		       struct span ref)
{
	send_monitor(d, 19, from, to, NULL, ref);
}

void dist_send_monitor_name(struct dist *d, const struct term_pid *from, const char *name,
			    struct span ref)
{
	send_monitor(d, 19, from, NULL, name, ref);
}

void dist_send_demonitor(struct dist *d, const struct term_pid *from, const struct term_pid *to,
			 struct span ref)
{
	send_monitor(d, 20, from, to, NULL, ref);
}

void dist_send_demonitor_name(struct dist *d, const struct term_pid *from, const char *name,
			      struct span ref)
{
	send_monitor(d, 20, from, NULL, name, ref);
}

/* {21, What, To, Ref, Reason}, What a pid or (NULL) a name. A large reason, such as what an rpc returns,
 * follows the control message, as {28, What, To, Ref}: only then it can go in fragments. */
static void send_down(struct dist *d, const struct term_pid *what, struct span name,
		      const struct term_pid *to, struct span ref, struct span reason)
{
	bool behind = reason.len > DIST_FRAGMENT_BYTES && dist_fragments(d) &&
		      (d->peer_flags & FLAG_EXIT_PAYLOAD) != 0;
	uint8_t *p = begin(d, behind ? 28 : 21, behind ? 4 : 5,
			   (what != NULL ? pid_room(what) : atom_room(name.len)) + pid_room(to) +
				   ref.len + reason.len);

	if (p == NULL)
		return;
	p = what != NULL ? write_pid(p, what) : write_atom(p, name.at, name.len);
	end_signal(d, write_span(write_span(write_pid(p, to), ref), reason), pid_key(to), behind);
}

void dist_send_down(struct dist *d, const struct term_pid *what, const struct term_pid *to,
		    struct span ref, struct span reason)
{
	send_down(d, what, (struct span){ NULL, 0 }, to, ref, reason);
}

void dist_send_down_name(struct dist *d, struct span name, const struct term_pid *to,
			 struct span ref, struct span reason)
{
	send_down(d, NULL, name, to, ref, reason);
}

void dist_send_spawn_reply(struct dist *d, struct span req_id, const struct term_pid *to,
			   unsigned flags, struct span result)
{
	uint8_t *p = begin(d, 31, 5, req_id.len + pid_room(to) + 2 + result.len);

	if (p == NULL)
		return;
	p = write_pid(write_span(p, req_id), to);
	*p++ = SMALL_INTEGER;
	*p++ = (uint8_t)flags;
	end_signal(d, write_span(p, result), pid_key(to), false);
}

/* As begin, for an answer: that it finds no room is for dist_end() to tell, and no loss. */
static uint8_t *begin_message(struct dist *d, unsigned op, unsigned arity, size_t room)
{
	int lost = d->lost;
	uint8_t *p = begin(d, op, arity, room + 1);

	d->lost = lost;
	return p;
}

/* Ends the control message of an answer at `p`, with the version byte if that comes; the length is for
 * dist_end(). */
static void open_message(struct dist *d, uint8_t *p, uint64_t to)
{
	if (!dist_fragments(d))
		*p++ = TERM_VERSION;
	(void)end(d, p);
	d->to = to;
}

size_t dist_begin_send(struct dist *d, const struct term_pid *to)
{
	size_t start = d->out.len;
	uint8_t *p = begin_message(d, 2, 3, atom_room(0) + pid_room(to));

	if (p != NULL)
		open_message(d, write_pid(write_atom(p, "", 0), to), pid_key(to));
	return start;
}

size_t dist_begin_send_name(struct dist *d, const struct term_pid *from, const char *name)
{
	size_t start = d->out.len, name_len = strlen(name);
	uint8_t *p = begin_message(d, 6, 4, pid_room(from) + atom_room(0) + atom_room(name_len));

	if (p != NULL)
		open_message(d, write_atom(write_atom(write_pid(p, from), "", 0), name, name_len),
			     name_key(name));
	return start;
}

size_t dist_begin_send_alias(struct dist *d, const struct term_pid *from, const struct term_pid *to,
			     struct span alias)
{
	size_t start = d->out.len;
	uint8_t *p = begin_message(d, 33, 3, pid_room(from) + alias.len);

	if (p != NULL)
		open_message(d, write_span(write_pid(p, from), alias),
			     to != NULL ? pid_key(to) : 0);
	return start;
}

void dist_to(struct dist *d, const struct term_pid *to)
{
	d->to = pid_key(to);
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
