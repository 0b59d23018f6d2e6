/* dist_send.c - one signal of ours to one frame.
 *
 * Every signal makes sure of its room once and then writes without looking (dist_write.h), so a frame is in
 * the output whole or not at all. One that finds no room (no memory, or over the owner's limit on the
 * output) is never skipped over: the peer would wait for a monitor or an exit for ever. It sets
 * `lost`, and the next dist_next() closes the connection. What can be given up is in dist_message.c; where a
 * frame goes when it is complete, in dist_split.c.
 *
 * What an OTP 25 BEAM does with UNLINK_ID, seen in some 10 000 tries, idle and busy. It answers it
 * with UNLINK_ID_ACK whether there was a link or not, the process alive or dead. So it can ask
 * whether a caller still waits: to a dead pid, MONITOR_P and UNLINK_ID are answered by DOWN, then
 * the ACK; of a caller that was killed or whose call had timed out before the UNLINK_ID, the
 * DEMONITOR_P comes first, then the ACK; of one that waits, and is sent UNLINK_ID and its answer in
 * one write, first the ACK, then the DEMONITOR_P. Acks of different processes come in any order.
 * No DEMONITOR_P ever comes of a call that timed out before its connection was up: its MONITOR_P and
 * request arrive all the same. There the ACK says "alive", rightly, and the answer is dropped. */
#include "dist_write.h"

/* The same, of a signal: it goes to where its receiver's signals go. */
static void end_signal(struct dist *d, const uint8_t *p, uint64_t to, bool has_message)
{
	size_t start = dist_frame_end(d, p);
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
	uint8_t *p = dist_frame_begin(d, op, reason.len > 0 ? 4 : 3,
				      pid_room(from) + pid_room(to) + reason.len);

	if (p == NULL)
		return;
	p = write_pid(write_pid(p, from), to);
	end_signal(d, reason.len > 0 ? write_span(p, reason) : p, dist_pid_key(to), false);
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
	uint8_t *p = dist_frame_begin(d, op, 4, ID_ROOM + pid_room(from) + pid_room(to));

	if (p != NULL)
		end_signal(d, write_pid(write_pid(write_id(p, id), from), to), dist_pid_key(to),
			   false);
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

/* {Op, From, To, Ref}, To a pid or a name; the other is NULL. */
static void send_monitor(struct dist *d, unsigned op, const struct term_pid *from,
			 const struct term_pid *to, const char *name, struct span ref)
{
	size_t name_len = name != NULL ? strlen(name) : 0;
	uint8_t *p;

	assert((to == NULL) != (name == NULL));
	if ((d->peer_flags & FLAG_DIST_MONITOR_NAME) == 0)
		return;
	p = dist_frame_begin(d, op, 4,
			     pid_room(from) + (to != NULL ? pid_room(to) : atom_room(name_len)) +
				     ref.len);
	if (p == NULL)
		return;
	p = write_pid(p, from);
	p = to != NULL ? write_pid(p, to) : write_atom(p, name, name_len);
	end_signal(d, write_span(p, ref), to != NULL ? dist_pid_key(to) : dist_name_key(name),
		   false);
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
	uint8_t *p = dist_frame_begin(d, behind ? 28 : 21, behind ? 4 : 5,
				      (what != NULL ? pid_room(what) : atom_room(name.len)) +
					      pid_room(to) + ref.len + reason.len);

	if (p == NULL)
		return;
	p = what != NULL ? write_pid(p, what) : write_atom(p, name.at, name.len);
	end_signal(d, write_span(write_span(write_pid(p, to), ref), reason), dist_pid_key(to),
		   behind);
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
	uint8_t *p = dist_frame_begin(d, 31, 5, req_id.len + pid_room(to) + 2 + result.len);

	if (p == NULL)
		return;
	p = write_pid(write_span(p, req_id), to);
	*p++ = SMALL_INTEGER;
	*p++ = (uint8_t)flags;
	end_signal(d, write_span(p, result), dist_pid_key(to), false);
}
