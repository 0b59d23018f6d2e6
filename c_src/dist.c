/* dist.c - the life of one distribution connection: its buffers, where packets and frames begin and
 * end; see dist.h.
 *
 * The happy path: dist_room() -> the owner reads a socket into it -> dist_received() -> dist_next()
 * until it returns false. Packets with 2-byte lengths go to dist_handshake.c until the phase is UP,
 * then frames with 4-byte lengths to dist_control.c. A frame that is whole in the buffer is parsed
 * where it lies. Parsed bytes are left behind `head` and dropped once per dist_room(), so a frame
 * is moved at most once, and waiting for the end of a long one costs O(1) per dist_received().
 * Fragments go to dist_join.c: all but their first few bytes are received where they stay.
 * What can go wrong: a length over its bound, anything that its reader refuses, a signal of ours
 * that finds no room in the output. Each becomes one DIST_EV_CLOSED with its reason; input after it
 * is dropped.
 *
 * What we announce (DIST_FLAGS), and why:
 *   EXTENDED_REFERENCES FUN_TAGS NEW_FUN_TAGS EXTENDED_PIDS_PORTS EXPORT_PTR_TAG BIT_BINARIES
 *   NEW_FLOATS UTF8_ATOMS MAP_TAG BIG_CREATION HANDSHAKE_23   mandatory since OTP 25
 *   MANDATORY_25_DIGEST   the same as one bit, mandatory since OTP 27
 *   UNLINK_ID V4_NC       mandatory since OTP 26
 *   SMALL_ATOM_TAGS       as ei
 *   DIST_MONITOR DIST_MONITOR_NAME   without both the BEAM neither sends monitors nor answers ours
 *   SPAWN                 erpc; without it rpc:call fails in the caller's BEAM
 *   ALIAS                 messages to aliases are understood
 *   FRAGMENTS             large messages come and go in pieces, so that none holds up a small one
 * And what not: PUBLISHED (we are a hidden node), the atom cache (terms are copied as they are),
 * EXIT_PAYLOAD and SEND_SENDER (fewer forms; decoded all the same). */
#include "dist_private.h"

#include "mem.h"
#include "parcel.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BIT(n) (1u << (n))

static const unsigned legal[PHASES] = {
	[PHASE_NAME] = BIT(PHASE_DECIDE) | BIT(PHASE_FAILED),
	[PHASE_DECIDE] =
		BIT(PHASE_ALIVE) | BIT(PHASE_COMPLEMENT) | BIT(PHASE_REPLY) | BIT(PHASE_FAILED),
	[PHASE_ALIVE] = BIT(PHASE_COMPLEMENT) | BIT(PHASE_REPLY) | BIT(PHASE_FAILED),
	[PHASE_COMPLEMENT] = BIT(PHASE_REPLY) | BIT(PHASE_FAILED),
	[PHASE_REPLY] = BIT(PHASE_UP) | BIT(PHASE_FAILED),
	[PHASE_STATUS] = BIT(PHASE_CHALLENGE) | BIT(PHASE_FAILED),
	[PHASE_CHALLENGE] = BIT(PHASE_ACK) | BIT(PHASE_FAILED),
	[PHASE_ACK] = BIT(PHASE_UP) | BIT(PHASE_FAILED),
	[PHASE_UP] = BIT(PHASE_FAILED),
	[PHASE_FAILED] = BIT(PHASE_DEAD),
};

void dist_move(struct dist *d, enum dist_phase to)
{
	assert(legal[d->phase] & BIT(to));
	d->phase = to;
}

enum dist_step dist_refuse(struct dist *d, const char *fmt, ...)
{
	va_list args;

	if (d->phase >= PHASE_FAILED) /* the first reason is the one */
		return STEP_AGAIN;
	va_start(args, fmt);
	(void)vsnprintf(d->why, sizeof d->why, fmt, args);
	va_end(args);
	dist_move(d, PHASE_FAILED);
	return STEP_AGAIN;
}

bool dist_name_ok(const void *text, size_t len)
{
	const uint8_t *name = text, *at = memchr(name, '@', len);

	if (len > DIST_NAME_MAX || at == NULL || at == name || at == name + len - 1 ||
	    memchr(at + 1, '@', len - (size_t)(at - name) - 1) != NULL)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] <= 0x20 || name[i] >= 0x7f)
			return false;
	return true;
}

static struct dist *dist_new(const struct dist_config *config, uint32_t challenge,
			     enum dist_phase phase)
{
	struct dist *d = mem_zalloc(sizeof *d);

	assert(strlen(config->name) <= DIST_NAME_MAX);
	if (d == NULL)
		return NULL;
	d->config = *config;
	d->challenge = challenge;
	d->phase = phase;
	d->room = DIST_ROOM_MIN;
	list_init(&d->flows);
	list_init(&d->taken);
	return d;
}

struct dist *dist_accept(const struct dist_config *config, uint32_t challenge)
{
	return dist_new(config, challenge, PHASE_NAME);
}

struct dist *dist_connect(const struct dist_config *config, const char *peer, uint32_t challenge)
{
	struct dist *d = dist_new(config, challenge, PHASE_STATUS);

	if (d == NULL)
		return NULL;
	if (!dist_name_ok(peer, strlen(peer)) || strcmp(peer, config->name) == 0) {
		(void)dist_refuse(
			d, "cannot connect to \"%.255s\": expected name@host of another node",
			peer);
		return d;
	}
	memcpy(d->peer, peer, strlen(peer) + 1);
	dist_introduce(d);
	if (d->out.err != 0) {
		dist_free(d);
		return NULL;
	}
	return d;
}

/* The last event is over. */
static void event_over(struct dist *d)
{
	dist_forget_whole(d);
	share_drop(d->shared);
	d->shared = NULL;
}

struct share *dist_share(struct dist *d)
{
	struct buf rest = { 0 };

	if (d->shared == NULL && d->whole != NULL) {
		if ((d->shared = share_new(dist_whole_bytes(d))) == NULL)
			return NULL;
	} else if (d->shared == NULL) {
		buf_put(&rest, d->in.data + d->head, d->in.len - d->head);
		if (rest.err != 0 || (d->shared = share_new(&d->in)) == NULL) {
			buf_free(&rest);
			return NULL;
		}
		d->in = rest;
		d->head = 0;
	}
	return share_hold(d->shared);
}

void dist_free(struct dist *d)
{
	if (d == NULL)
		return;
	event_over(d);
	dist_forget_unfinished(d);
	dist_forget_flows(d);
	buf_free(&d->in);
	buf_free(&d->out);
	mem_free(d);
}

uint8_t *dist_room(struct dist *d, size_t *room)
{
	struct buf *in = &d->in;
	uint8_t *at;

	event_over(d);
	buf_consume(in, d->head);
	d->head = 0;
	if ((at = dist_fill_room(d, room)) != NULL)
		return at;
	if (in->cap - in->len < d->room && buf_reserve(in, d->room) != 0)
		return NULL;
	*room = in->cap - in->len;
	return in->data + in->len;
}

void dist_received(struct dist *d, size_t n)
{
	if (d->direct) {
		dist_filled(d, n);
		return;
	}
	assert(n <= d->in.cap - d->in.len);
	/* All that was offered was used: offer more next time. So room grows with what arrives. */
	if (n == d->in.cap - d->in.len && d->room < DIST_ROOM_MAX)
		d->room *= 2;
	if (d->phase < PHASE_FAILED)
		d->in.len += n;
}

/* Drops the end of an oversize frame as it arrives. Layout at `head`: the length, the kept bytes,
 * then what has arrived of the rest since the last time; after its last byte, the next frame. */
static enum dist_step oversize_step(struct dist *d, struct dist_event *ev)
{
	size_t keep = DIST_CONTROL_MAX + DIST_HEAD_BYTES, more, drop;
	const uint8_t *p = d->in.data + d->head + 4;
	uint32_t len = d->over_len;

	if (keep > len)
		keep = len;
	if (d->in.len - d->head - 4 < keep)
		return STEP_MORE;
	more = d->in.len - d->head - 4 - keep;
	drop = more < d->over_left ? more : d->over_left;
	d->over_left -= (uint32_t)drop;
	if (d->over_left > 0) {
		d->in.len -= drop;
		return STEP_MORE;
	}
	d->head += 4 + keep + drop;
	d->over_len = 0;
	return dist_frame(d, p, keep, len, d->over_limit, ev);
}

static enum dist_step frame_step(struct dist *d, struct dist_event *ev)
{
	size_t have = d->in.len - d->head;
	const uint8_t *p;
	uint32_t len;

	if (d->lost != 0) /* an exit that is never heard of is worse than a lost connection */
		return dist_refuse(d, d->lost == -EMSGSIZE
					      ? "the peer does not read: too much waits to be sent"
					      : "no memory for a signal to the peer");
	if (d->filling != NULL)
		return dist_fill(d, ev);
	if (d->over_len > 0)
		return oversize_step(d, ev);
	if (have < 4)
		return STEP_MORE;
	p = d->in.data + d->head;
	len = get_u32(p);
	if (len == 0) {
		d->head += 4;
		ev->type = DIST_EV_TICK;
		return STEP_EVENT;
	}
	if (len > d->config.max_frame)
		return dist_refuse(d, "a frame of %lu bytes, over the limit of %zu",
				   (unsigned long)len, d->config.max_frame);
	if (dist_fragments(d) && len >= 2) {
		if (have < 6)
			return STEP_MORE;
		if (dist_is_fragment(p + 4))
			return dist_fragment(d, p + 4, have - 4, len);
	}
	if (len > d->config.max_message) {
		d->over_len = len;
		d->over_limit = d->config.max_message;
		d->over_left = len > DIST_CONTROL_MAX + DIST_HEAD_BYTES
				       ? len - (DIST_CONTROL_MAX + DIST_HEAD_BYTES)
				       : 0;
		return STEP_AGAIN;
	}
	if (have - 4 < len) {
		buf_expect(&d->in, len - (have - 4));
		return STEP_MORE;
	}
	d->head += 4 + len;
	return dist_frame(d, p + 4, len, len, 0, ev);
}

static enum dist_step packet_step(struct dist *d, struct dist_event *ev)
{
	size_t have = d->in.len - d->head;
	const uint8_t *p;
	unsigned len;

	if (d->phase == PHASE_DECIDE) {
		if (have > DIST_PACKET_MAX)
			return dist_refuse(d, "%zu bytes before the status of the handshake", have);
		return STEP_MORE;
	}
	if (have < 2)
		return STEP_MORE;
	p = d->in.data + d->head;
	len = get_u16(p);
	if (len == 0 || len > DIST_PACKET_MAX)
		return dist_refuse(d,
				   "a handshake packet of %u bytes, expected 1 to %d: "
				   "not an Erlang node?",
				   len, DIST_PACKET_MAX);
	if (have - 2 < len)
		return STEP_MORE;
	d->head += 2 + len;
	return dist_packet(d, p + 2, len, ev);
}

bool dist_next(struct dist *d, struct dist_event *ev)
{
	enum dist_step step = STEP_AGAIN;

	*ev = (struct dist_event){ .op = -1 };
	event_over(d);
	while (step == STEP_AGAIN) {
		if (d->phase < PHASE_UP) {
			step = packet_step(d, ev);
		} else if (d->phase == PHASE_UP) {
			step = frame_step(d, ev);
		} else if (d->phase == PHASE_FAILED) {
			dist_move(d, PHASE_DEAD);
			*ev = (struct dist_event){ .op = -1,
						   .type = DIST_EV_CLOSED,
						   .why = d->why };
			step = STEP_EVENT;
		} else {
			d->head = d->in.len;
			step = STEP_MORE;
		}
	}
	if (step == STEP_MORE && d->head == d->in.len) {
		buf_reset(&d->in, DIST_ROOM_MAX);
		d->head = 0;
	}
	return step == STEP_EVENT;
}

enum dist_status dist_status_for(const char *our_name, const char *peer_name, bool up,
				 bool same_creation, bool dialling)
{
	if (up)
		return same_creation ? DIST_ALIVE : DIST_OK;
	if (dialling)
		return strcmp(peer_name, our_name) > 0 ? DIST_OK_SIMULTANEOUS : DIST_NOK;
	return DIST_OK;
}

enum dist_state dist_state(const struct dist *d)
{
	if (d->phase < PHASE_UP)
		return DIST_HANDSHAKE;
	return d->phase == PHASE_UP ? DIST_CONNECTED : DIST_DEAD;
}

bool dist_told_nok(const struct dist *d)
{
	return d->told_nok;
}

const char *dist_awaits(const struct dist *d)
{
	static const char *const text[PHASES] = {
		[PHASE_NAME] = "the peer's name",
		[PHASE_DECIDE] = "our own decision about the peer",
		[PHASE_ALIVE] = "the peer's word on its old connection",
		[PHASE_COMPLEMENT] = "the rest of the peer's flags",
		[PHASE_REPLY] = "the peer's answer to our challenge",
		[PHASE_STATUS] = "the peer's status",
		[PHASE_CHALLENGE] = "the peer's challenge",
		[PHASE_ACK] = "the peer's proof (a peer that closes here found our cookie wrong)",
		[PHASE_UP] = "signals",
		[PHASE_FAILED] = "nothing",
		[PHASE_DEAD] = "nothing",
	};

	return text[d->phase];
}

const char *dist_peer_name(const struct dist *d)
{
	return d->peer;
}

uint32_t dist_peer_creation(const struct dist *d)
{
	return d->peer_creation;
}

uint64_t dist_peer_flags(const struct dist *d)
{
	return d->peer_flags;
}

struct buf *dist_output(struct dist *d)
{
	return &d->out;
}

void dist_set_max_message(struct dist *d, size_t max_message)
{
	d->config.max_message = max_message;
}
