/* fuzz_dist.h - a connection, in either role, and a peer that says what it likes; see fuzz_dist.c.
 *
 * Input: byte 0: how the handshake is done (bits 0, 1), the status that an acceptor answers (2, 3), small
 * limits (4), an output that nobody reads (5), that an allocation fails (6), fragments (7); byte 1: the seed of the pieces
 * that bytes arrive in; byte 2: which allocation. Then, by the way of the handshake:
 *   0  the bytes of the peer, from the first on (test/data/dist are such)
 *   1  records; a proof in one of them is made right
 *   2  the handshake is done by another `dist`, the mirror; then records
 *   3  likewise; then bytes
 * A record is a head of 16 bits and as many bytes as its lower 12 say: one packet of the handshake or one
 * frame, whose length is put in front unless RAW. PASS puts 112, 131 there, too; LONG adds 1 KiB for the value
 * of the first byte; TICK has an empty frame follow. With fragments, the first byte of a PASS record says what
 * PASS puts there: 112, 131 (0 in its lower two bits), a distribution header (1), that of a first fragment (2) or
 * of a further one (3), whose sequence is in its upper four bits and whose number is the second byte.
 *
 * Whatever comes: the same events whatever the pieces; each as its header describes it, its terms sound and
 * within what was received; CLOSED at most once, with a reason, and nothing after it. What we say to such a
 * peer, be it in answer to anything, is what the mirror understands. */
#ifndef KRAIT_FUZZ_DIST_H
#define KRAIT_FUZZ_DIST_H

#include "fuzz.h"

#include "dist_private.h"

#include <errno.h>

#define OUR_NAME     "krait@127.0.0.1"
#define PEER_NAME    "beam@127.0.0.1"
#define COOKIE       "krait"
#define CHALLENGE    0x6b726169 /* that of the captured streams */
#define OUR_CREATION 0x1234abcd

enum { RECORD_RAW = 0x1000, RECORD_PASS = 0x2000, RECORD_LONG = 0x4000, RECORD_TICK = 0x8000 };

struct run {
	struct dist *d, *mirror; /* the latter NULL: nobody listens */
	bool dials;              /* our role */
	bool up, closed, fails;
	unsigned named;
	unsigned choice;
	struct pieces pieces;
	uint64_t hash; /* of all events */
};

static const struct span small_ref = { (const uint8_t *)"Z\0\1w\3a@b\0\0\0\1\0\0\0\2", 16 };

/* ---- what we are told ---- */

static inline bool received(const struct run *r, struct span s)
{
	const struct span whole = dist_whole(r->d);
	const struct buf *in = &r->d->in;

	if (whole.at != NULL && s.at >= whole.at && s.at <= whole.at + whole.len)
		return s.len <= (size_t)(whole.at + whole.len - s.at);
	return s.at >= in->data && s.at <= in->data + in->len &&
	       s.len <= (size_t)(in->data + in->len - s.at);
}

static inline void look_at_term(struct run *r, const uint8_t *t)
{
	struct span s;

	if (t == NULL)
		return;
	s = term_span(t);
	MUST(received(r, s) && is_one_term(s.at, s.len));
	hash_bytes(&r->hash, s.at, s.len);
}

static inline void look_at_span(struct run *r, struct span s)
{
	if (s.at != NULL)
		look_at_term(r, s.at);
	MUST(s.at == NULL ? s.len == 0 : term_span(s.at).len == s.len);
}

static inline void look_at_pid(struct run *r, bool there, const struct term_pid *pid)
{
	if (!there)
		return;
	MUST(received(r, (struct span){ (const uint8_t *)pid->node, pid->node_len }));
	hash_bytes(&r->hash, pid->node, pid->node_len);
	hash_number(&r->hash, (uint64_t)pid->id << 32 | pid->serial);
	hash_number(&r->hash, pid->creation);
}

static inline void look_at_name(struct run *r, struct span name)
{
	const uint8_t *own = r->d->latin1;

	if (name.at == NULL)
		return;
	MUST(received(r, name) || (name.at == own && name.len <= sizeof r->d->latin1));
	MUST(name.len <= TERM_ATOM_BYTES && term_utf8(name.at, name.len));
	hash_bytes(&r->hash, name.at, name.len);
}

static inline void look_at_event(struct run *r, const struct dist_event *ev)
{
	bool told_up = ev->type == DIST_EV_UP;

	MUST(!r->closed);
	hash_number(&r->hash, (uint64_t)ev->type << 32 | (uint32_t)ev->op);
	switch (ev->type) {
	case DIST_EV_NAME:
		MUST(!r->dials && r->named++ == 0 && !r->up);
		MUST(dist_name_ok(dist_peer_name(r->d), strlen(dist_peer_name(r->d))));
		return;
	case DIST_EV_UP:
		MUST(!r->up && r->named == (r->dials ? 0 : 1));
		MUST(dist_state(r->d) == DIST_CONNECTED);
		MUST((dist_peer_flags(r->d) & FLAGS_REQUIRED) == FLAGS_REQUIRED);
		hash_number(&r->hash, dist_peer_creation(r->d));
		r->up = told_up;
		return;
	case DIST_EV_CLOSED:
		MUST(dist_state(r->d) == DIST_DEAD && ev->why != NULL && ev->why[0] != '\0');
		MUST(strlen(ev->why) < sizeof r->d->why);
		hash_bytes(&r->hash, ev->why, strlen(ev->why));
		r->closed = true;
		return;
	default:
		MUST(r->up && dist_state(r->d) == DIST_CONNECTED);
		MUST(ev->type > DIST_EV_UP && ev->type < DIST_EV_CLOSED && ev->why == NULL);
	}
	MUST((ev->type == DIST_EV_TICK) == (ev->op == -1));
	look_at_pid(r, ev->has_from, &ev->from);
	look_at_pid(r, ev->to_is_pid, &ev->to_pid);
	look_at_name(r, ev->name);
	look_at_span(r, ev->ref);
	MUST(ev->ref.at == NULL || term_kind(ev->ref.at) == TERM_REF);
	look_at_term(r, ev->reason);
	look_at_term(r, ev->mfa);
	look_at_term(r, ev->spawn_opts);
	hash_number(&r->hash, ev->unlink_id);
	if (ev->type == DIST_EV_OVERSIZE) {
		MUST(received(r, ev->payload) && ev->payload.len <= DIST_HEAD_BYTES);
		MUST(ev->total_len > ev->limit && ev->limit > 0);
		hash_bytes(&r->hash, ev->payload.at, ev->payload.len);
	} else {
		look_at_span(r, ev->payload);
		MUST(ev->total_len <= r->d->config.max_message && ev->payload.len <= ev->total_len);
	}
}

/* What each type of event promises to have. */
static inline void look_at_type(const struct dist_event *ev)
{
	bool pids = ev->has_from && ev->to_is_pid;

	switch (ev->type) {
	case DIST_EV_SEND:
		MUST(ev->payload.at != NULL);
		/* fallthrough */
	case DIST_EV_OVERSIZE:
		if (ev->mfa != NULL) {
			MUST(ev->has_from && ev->ref.at != NULL && ev->spawn_opts != NULL);
			break;
		}
		MUST(ev->to_is_pid + ev->to_is_alias + (ev->name.at != NULL) == 1);
		MUST(!ev->to_is_alias || ev->ref.at != NULL);
		break;
	case DIST_EV_UNLINK_ACK:
		MUST(ev->unlink_id != 0);
		/* fallthrough */
	case DIST_EV_LINK:
	case DIST_EV_UNLINK:
	case DIST_EV_GROUP_LEADER:
		MUST(pids);
		break;
	case DIST_EV_EXIT:
	case DIST_EV_EXIT2:
		MUST(pids && ev->reason != NULL);
		break;
	case DIST_EV_MONITOR:
	case DIST_EV_DEMONITOR:
		MUST(ev->has_from && ev->ref.at != NULL && ev->to_is_pid != (ev->name.at != NULL));
		break;
	case DIST_EV_DOWN:
		MUST(ev->to_is_pid && ev->ref.at != NULL && ev->reason != NULL);
		MUST(ev->has_from != ev->from_is_name && ev->from_is_name == (ev->name.at != NULL));
		break;
	case DIST_EV_SPAWN:
		MUST(ev->has_from && ev->ref.at != NULL && ev->mfa != NULL &&
		     ev->spawn_opts != NULL);
		MUST(ev->payload.at != NULL);
		break;
	case DIST_EV_SPAWN_REPLY:
		MUST(ev->ref.at != NULL && ev->to_is_pid && ev->reason != NULL);
		break;
	default:
		break;
	}
}

/* ---- what we say to that ---- */

static inline void echo(struct run *r, size_t start, struct span term)
{
	size_t before = start;

	term_put_raw(dist_output(r->d), term);
	if (term.len % 5 == 4) {
		dist_abort(r->d, start);
		MUST(dist_output(r->d)->len == before);
	} else if (dist_end(r->d, start) != 0) {
		MUST(dist_output(r->d)->len == before);
	}
}

/* Anything that a node might say to the sender. A pid's node that is no UTF-8 (a Latin-1 atom) is none that
 * the node ever repeats: it knows callers by their connection. */
static inline void answer(struct run *r, const struct dist_event *ev)
{
	const struct term_pid us = { OUR_NAME, sizeof OUR_NAME - 1, 7, 0, OUR_CREATION };
	const struct term_pid *to = &ev->from;
	struct span reason = { (const uint8_t *)"w\6noproc", 8 };

	if (ev->type == DIST_EV_TICK)
		dist_send_tick(r->d);
	if (!ev->has_from || !term_utf8(to->node, to->node_len))
		return;
	if (ev->reason != NULL)
		reason = term_span(ev->reason);
	switch (ev->type) {
	case DIST_EV_SEND:
		if (ev->to_is_alias)
			echo(r, dist_begin_send_alias(r->d, &us, to, ev->ref), ev->payload);
		else if (ev->to_is_pid)
			echo(r, dist_begin_send(r->d, to), ev->payload);
		else
			echo(r, dist_begin_send_name(r->d, &us, "rex"), ev->payload);
		dist_send_monitor(r->d, &us, to, small_ref);
		break;
	case DIST_EV_LINK:
		dist_send_exit(r->d, &us, to, reason);
		dist_send_link(r->d, &us, to);
		break;
	case DIST_EV_UNLINK:
		dist_send_unlink_ack(r->d, ev->unlink_id == 0 ? 1 : ev->unlink_id, &us, to);
		dist_send_unlink(r->d, UINT64_MAX, &us, to);
		break;
	case DIST_EV_EXIT:
	case DIST_EV_EXIT2:
		dist_send_exit2(r->d, &us, to, reason);
		break;
	case DIST_EV_MONITOR:
		if (ev->to_is_pid)
			dist_send_down(r->d, &us, to, ev->ref, reason);
		else
			dist_send_down_name(r->d, ev->name, to, ev->ref, reason);
		break;
	case DIST_EV_DEMONITOR:
		dist_send_demonitor(r->d, &us, to, ev->ref);
		dist_send_monitor_name(r->d, &us, "rex", ev->ref);
		dist_send_demonitor_name(r->d, &us, "rex", ev->ref);
		break;
	case DIST_EV_SPAWN:
		dist_send_spawn_reply(r->d, ev->ref, to, 3, ev->payload);
		if (dist_can_spawn(r->d))
			echo(r, dist_begin_spawn(r->d, ev->ref, &us, to, "m", "f", 1), ev->payload);
		break;
	default:
		break;
	}
}

/* ---- bytes, to and fro ---- */

static inline void pump(struct run *r);

/* Gives `d` the bytes in the pieces that are chosen. False: no memory, or nobody is interested. */
static inline bool give(struct run *r, const uint8_t *p, size_t len)
{
	size_t room, n;
	uint8_t *to;

	while (len > 0 && !r->closed) {
		if ((to = dist_room(r->d, &room)) == NULL) {
			MUST(r->fails);
			return false;
		}
		MUST(room >= DIST_ROOM_MIN);
		n = next_piece(&r->pieces);
		if (len > 20000 && n < 1000) /* for speed */
			n += 1000;
		n = n < len ? n : len;
		n = n < room ? n : room;
		memcpy(to, p, n);
		dist_received(r->d, n);
		p += n;
		len -= n;
		pump(r);
	}
	return len == 0;
}

static inline void reflect_bytes(struct run *r, const uint8_t *p, size_t len)
{
	struct dist_event ev;
	size_t room, n, at = 0;
	uint8_t *to;

	while (at < len) {
		MUST((to = dist_room(r->mirror, &room)) != NULL);
		n = room < len - at ? room : len - at;
		memcpy(to, p + at, n);
		dist_received(r->mirror, n);
		at += n;
		while (dist_next(r->mirror, &ev)) {
			if (ev.type == DIST_EV_CLOSED)
				fprintf(stderr, "the mirror: %s\n", ev.why);
			MUST(ev.type != DIST_EV_CLOSED);
			look_at_type(&ev);
			if (ev.type == DIST_EV_NAME)
				dist_answer_name(r->mirror, (enum dist_status)(r->choice >> 2 & 1));
		}
	}
}

/* The mirror, if there is one, gets all that we say, and has nothing against it. */
static inline void reflect(struct run *r)
{
	struct buf *out = dist_output(r->d);
	struct dist_piece pieces[DIST_PIECES_MAX];
	size_t n;

	do {
		if (r->mirror != NULL)
			reflect_bytes(r, out->data, out->len);
		buf_consume(out, out->len);
		n = dist_take_pieces(r->d, 1, pieces);
		for (size_t i = 0; i < n && r->mirror != NULL; i++)
			reflect_bytes(r, pieces[i].at, pieces[i].len);
		dist_pieces_sent(r->d);
	} while (n > 0);
	MUST(dist_pieces_left(r->d) == 0);
}

static inline void pump(struct run *r)
{
	static const enum dist_status statuses[] = { DIST_OK, DIST_OK_SIMULTANEOUS, DIST_ALIVE,
						     DIST_NOK };
	struct dist_event ev;

	while (dist_next(r->d, &ev)) {
		look_at_event(r, &ev);
		look_at_type(&ev);
		if (ev.type == DIST_EV_NAME)
			dist_answer_name(r->d, statuses[r->choice >> 2 & 3]);
		answer(r, &ev);
		if (r->mirror != NULL || (r->choice & 0x20) == 0)
			reflect(r);
		else if (r->up && dist_output(r->d)->limit == 0)
			dist_output(r->d)->limit = 2000;
	}
	MUST(dist_awaits(r->d)[0] != '\0');
}

/* The mirror and we shake hands. */
static inline void shake_hands(struct run *r)
{
	const struct dist_config config = { PEER_NAME, COOKIE,     77, DIST_FLAGS,
					    1 << 30,   UINT32_MAX, 0 };
	struct buf *out;

	if ((r->choice >> 2 & 3) == 3)
		r->choice &= ~0xcu; /* not NOK */
	r->mirror = r->dials ? dist_accept(&config, 4711) : dist_connect(&config, OUR_NAME, 4711);
	MUST(r->mirror != NULL);
	for (int turn = 0; turn < 8 && !r->up; turn++) {
		struct buf bytes;

		reflect(r);
		out = dist_output(r->mirror);
		bytes = *out;
		*out = (struct buf){ 0 };
		MUST(give(r, bytes.data, bytes.len));
		buf_free(&bytes);
	}
	reflect(r);
	MUST(r->up && dist_state(r->mirror) == DIST_CONNECTED);
}

/* ---- the peer ---- */

/* Makes the proof in a packet of the handshake right. */
static inline void prove(uint8_t *packet, size_t len)
{
	if (len == 21 && packet[0] == 'r')
		MUST(dist_digest(COOKIE, CHALLENGE, packet + 5));
	else if (len == 17 && packet[0] == 'a')
		MUST(dist_digest(COOKIE, CHALLENGE, packet + 1));
}

/* The head of a PASS record with fragments, taken off its body. */
static inline void put_head(struct buf *b, struct span *body)
{
	uint8_t what = body->at[0], number = body->len > 1 ? body->at[1] : 0;
	size_t used = what & 2 && body->len > 1 ? 2 : 1;

	if ((what & 3) == 0)
		buf_put_u16(b, 112 << 8 | TERM_VERSION);
	else
		buf_put_u16(b, TERM_VERSION << 8 | (67 + (what & 3)));
	if (what & 2) {
		buf_put_u64(b, what >> 4);
		buf_put_u64(b, number);
	}
	if ((what & 3) == 1 || (what & 3) == 2)
		buf_put_u8(b, 0);
	body->at += used;
	body->len -= used;
}

static inline bool give_record(struct run *r, struct input *in)
{
	unsigned head = next_u16(in);
	struct span body = next_span(in, head & 0xfff);
	size_t more = r->up && head & RECORD_LONG && body.len > 0 ? 1024u * body.at[0] : 0;
	long fail_after = mem_fail_after;
	struct buf b = { 0 }, front = { 0 };
	bool ok;

	mem_fail_after = -1; /* this memory is the peer's */
	if (r->up && head & RECORD_PASS && r->choice & 0x80 && body.len > 0)
		put_head(&front, &body);
	else if (r->up && head & RECORD_PASS)
		buf_put_u16(&front, 112 << 8 | TERM_VERSION);
	if ((head & RECORD_RAW) == 0) {
		if (r->up)
			buf_put_u32(&b, (uint32_t)(body.len + more + front.len));
		else
			buf_put_u16(&b, (unsigned)body.len);
	}
	buf_put(&b, front.data, front.len);
	buf_put(&b, body.at, body.len);
	buf_free(&front);
	if (!r->up && (head & RECORD_RAW) == 0)
		prove(b.data + 2, body.len);
	MUST(buf_reserve(&b, more) == 0);
	if (more > 0)
		memset(b.data + b.len, 106, more);
	b.len += more;
	if (head & RECORD_TICK)
		buf_put_u32(&b, 0);
	mem_fail_after = fail_after;
	ok = give(r, b.data, b.len);
	buf_free(&b);
	return ok;
}

static inline uint64_t run(bool dials, struct input in, bool whole)
{
	struct run r = { .dials = dials,
			 .choice = next_u8(&in),
			 .hash = UINT64_C(0xcbf29ce484222325) };
	unsigned seed = next_u8(&in), fail = next_u8(&in), way = r.choice & 3;
	const struct dist_config config = { .name = OUR_NAME,
					    .cookie = COOKIE,
					    .creation = OUR_CREATION,
					    .flags = r.choice & 0x80 ? DIST_FLAGS
								     : DIST_FLAGS & ~FLAG_FRAGMENTS,
					    .max_unfinished = r.choice & 0x10 ? 1000 : 2 << 20,
					    .max_message = r.choice & 0x10 ? 300 : 1 << 20,
					    .max_frame = r.choice & 0x10 ? 300000 : 64 << 20 };

	r.pieces = pieces_from(whole ? 0 : seed);
	r.d = dials ? dist_connect(&config, PEER_NAME, CHALLENGE) : dist_accept(&config, CHALLENGE);
	MUST(r.d != NULL);
	if (way >= 2) {
		shake_hands(&r);
	} else if (r.choice & 0x40) {
		r.fails = true;
		mem_fail_after = (long)(fail % 16);
	}
	if (way == 0 || way == 3)
		(void)give(&r, in.at, in.left);
	else
		while (in.left > 0 && give_record(&r, &in))
			;
	if (mem_fail_after == -1 && r.fails)
		r.hash = 0;
	mem_fail_after = -1;
	if (r.closed) {
		struct dist_event ev;

		MUST(dist_state(r.d) == DIST_DEAD && !dist_next(r.d, &ev));
		MUST(!dist_told_nok(r.d) || (dials && !r.up));
	}
	dist_free(r.d);
	dist_free(r.mirror);
	return r.hash;
}

static inline void fuzz_dist(bool dials, const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t hash = run(dials, in, false);

	/* with a failure, it matters which allocation it was */
	if (size > 2 && data[1] != 0 && (data[0] & 0x40) == 0)
		MUST(hash == run(dials, in, true));
}

#endif
