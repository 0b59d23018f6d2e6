/* stress_wire.c - the driver's own view of the distribution protocol; see stress_wire.h. */
#include "stress_wire.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define DIGEST_LEN   16
#define PASS_THROUGH 112

/* ---- the handshake ---- */

static bool digest(const char *cookie, uint32_t challenge, uint8_t out[DIGEST_LEN])
{
	char text[300];
	unsigned len = DIGEST_LEN;
	int n = snprintf(text, sizeof text, "%s%lu", cookie, (unsigned long)challenge);

	return n > 0 && (size_t)n < sizeof text &&
	       EVP_Digest(text, (size_t)n, out, &len, EVP_md5(), NULL) == 1;
}

void wire_introduce(const struct wire_handshake *h, struct buf *out)
{
	size_t len = strlen(h->name);

	buf_put_u16(out, (unsigned)(15 + len));
	buf_put_u8(out, 'N');
	buf_put_u64(out, h->flags);
	buf_put_u32(out, h->creation);
	buf_put_u16(out, (unsigned)len);
	buf_put(out, h->name, len);
}

static bool is_text(const uint8_t *p, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(p, text, len) == 0;
}

static const char *take_status(struct wire_handshake *h, const uint8_t *p, size_t len,
			       struct buf *out)
{
	if (is_text(p, len, "salive")) {
		h->was_alive = true;
		buf_put_u16(out, 5);
		buf_put(out, "strue", 5);
	} else if (is_text(p, len, "snok")) {
		return "it answers nok";
	} else if (is_text(p, len, "snot_allowed")) {
		return "it answers not_allowed";
	} else if (!is_text(p, len, "sok") && !is_text(p, len, "sok_simultaneous")) {
		return "its status is none that the protocol knows";
	}
	h->phase = WIRE_CHALLENGE;
	return NULL;
}

static const char *take_challenge(struct wire_handshake *h, const uint8_t *p, size_t len,
				  struct buf *out)
{
	uint8_t proof[DIGEST_LEN];

	if (len < 19 || p[0] != 'N' || len - 19 < get_u16(p + 17))
		return "its challenge is none of version 6";
	if (!is_text(p + 19, get_u16(p + 17), h->node))
		return "it has another name than the one we asked for";
	h->node_flags = get_u64(p + 1);
	h->node_creation = get_u32(p + 13);
	if (!digest(h->cookie, get_u32(p + 9), proof))
		return "MD5 cannot be computed here";
	buf_put_u16(out, 5 + DIGEST_LEN);
	buf_put_u8(out, 'r');
	buf_put_u32(out, h->challenge);
	buf_put(out, proof, sizeof proof);
	h->phase = WIRE_ACK;
	return NULL;
}

static const char *take_ack(struct wire_handshake *h, const uint8_t *p, size_t len)
{
	uint8_t proof[DIGEST_LEN];

	if (len != 1 + DIGEST_LEN || p[0] != 'a')
		return "it does not prove that it knows the cookie";
	if (!digest(h->cookie, h->challenge, proof) || memcmp(proof, p + 1, sizeof proof) != 0)
		return "its proof is wrong: another cookie";
	h->phase = WIRE_UP;
	return NULL;
}

const char *wire_packet(struct wire_handshake *h, const uint8_t *p, size_t len, struct buf *out)
{
	switch (h->phase) {
	case WIRE_STATUS:
		return take_status(h, p, len, out);
	case WIRE_CHALLENGE:
		return take_challenge(h, p, len, out);
	case WIRE_ACK:
		return take_ack(h, p, len);
	case WIRE_UP:
		break;
	}
	return "a packet after the handshake";
}

/* ---- references ---- */

/* NEWER_REFERENCE_EXT: 90, words:16, node, creation:32, words. Older nodes take 18 bits of the first
 * word; the nonce is in the second and third, the others are made of it. */
void wire_put_ref(struct buf *b, const struct wire_ref *ref)
{
	buf_put_u8(b, 90);
	buf_put_u16(b, ref->words);
	term_put_atom(b, ref->node);
	buf_put_u32(b, ref->creation);
	for (unsigned i = 0; i < ref->words; i++)
		buf_put_u32(b, i == 1   ? (uint32_t)ref->nonce
			       : i == 2 ? (uint32_t)(ref->nonce >> 32)
					: ((uint32_t)ref->nonce * 2654435761u + i) & 0x3ffff);
}

bool wire_get_ref(const uint8_t *t, const char *name, struct wire_ref *ref)
{
	const uint8_t *p;
	struct span node;

	if (t == NULL || t[0] != 90 || !term_atom(t + 3, &node, NULL) ||
	    !is_text(node.at, node.len, name))
		return false;
	ref->words = get_u16(t + 1);
	if (ref->words != 3 && ref->words != 5)
		return false;
	p = term_skip(t + 3);
	ref->creation = get_u32(p);
	ref->nonce = get_u32(p + 8) | (uint64_t)get_u32(p + 12) << 32;
	for (unsigned i = 0; i < ref->words; i++)
		if (i != 1 && i != 2 &&
		    get_u32(p + 4 + i * 4) != (((uint32_t)ref->nonce * 2654435761u + i) & 0x3ffff))
			return false;
	return true;
}

/* ---- signals out ---- */

void wire_tick(struct buf *b)
{
	buf_put_u32(b, 0);
}

static size_t begin(struct buf *b, enum wire_op op, unsigned arity)
{
	size_t start = b->len;

	buf_put_u32(b, 0);
	buf_put_u8(b, PASS_THROUGH);
	term_put_version(b);
	term_put_tuple(b, arity);
	term_put_int(b, op);
	return start;
}

void wire_end(struct buf *b, size_t start)
{
	if (b->err == 0)
		put_u32(b->data + start, (uint32_t)(b->len - start - 4));
}

static void put_to(struct buf *b, struct wire_to to)
{
	if (to.pid != NULL)
		term_put_pid(b, to.pid);
	else
		term_put_atom(b, to.name);
}

void wire_monitor(struct buf *b, enum wire_op op, const struct term_pid *from, struct wire_to to,
		  const struct wire_ref *ref)
{
	size_t start = begin(b, op, 4);

	term_put_pid(b, from);
	put_to(b, to);
	wire_put_ref(b, ref);
	wire_end(b, start);
}

void wire_down(struct buf *b, const struct term_pid *from, const struct term_pid *to,
	       struct span ref, const char *reason)
{
	size_t start = begin(b, OP_DOWN, 5);

	term_put_pid(b, from);
	term_put_pid(b, to);
	term_put_raw(b, ref);
	term_put_atom(b, reason);
	wire_end(b, start);
}

void wire_exit(struct buf *b, enum wire_op op, const struct term_pid *from,
	       const struct term_pid *to, const char *reason)
{
	size_t start = begin(b, op, 4);

	term_put_pid(b, from);
	term_put_pid(b, to);
	term_put_atom(b, reason);
	wire_end(b, start);
}

void wire_pair(struct buf *b, enum wire_op op, const struct term_pid *from,
	       const struct term_pid *to)
{
	size_t start = begin(b, op, 3);

	term_put_pid(b, from);
	term_put_pid(b, to);
	wire_end(b, start);
}

void wire_unlink(struct buf *b, enum wire_op op, uint64_t id, const struct term_pid *from,
		 const struct term_pid *to)
{
	size_t start = begin(b, op, 4);

	term_put_uint(b, id);
	term_put_pid(b, from);
	term_put_pid(b, to);
	wire_end(b, start);
}

size_t wire_begin(struct buf *b, const struct term_pid *from, struct wire_to to)
{
	size_t start = begin(b, to.pid != NULL ? OP_SEND : OP_REG_SEND, to.pid != NULL ? 3 : 4);

	if (to.pid == NULL)
		term_put_pid(b, from);
	term_put_atom(b, ""); /* where a cookie once stood */
	put_to(b, to);
	term_put_version(b);
	return start;
}

void wire_spawn(struct buf *b, const struct term_pid *from, const struct wire_ref *ref)
{
	size_t start = begin(b, OP_SPAWN, 6);

	wire_put_ref(b, ref);
	term_put_pid(b, from);
	term_put_pid(b, from); /* the group leader */
	term_put_tuple(b, 3);
	term_put_atom(b, "lists");
	term_put_atom(b, "reverse");
	term_put_int(b, 1);
	term_put_nil(b);
	term_put_version(b);
	term_put_list(b, 1);
	term_put_nil(b);
	term_put_nil(b);
	wire_end(b, start);
}

/* ---- signals in ---- */

/* By letter: f from, t to (pids), F from, T to (pid or name), r reference, R reason, u unlink id, x
 * anything; and what follows the control message: m a message, p a reason, nothing. */
static const struct shape {
	int op;
	const char *elements;
	char tail;
} shapes[] = {
	{ OP_LINK, "ft", 0 },
	{ OP_SEND, "xt", 'm' },
	{ OP_EXIT, "ftR", 0 },
	{ OP_EXIT2, "ftR", 0 },
	{ OP_MONITOR, "fTr", 0 },
	{ OP_DEMONITOR, "fTr", 0 },
	{ OP_DOWN, "FtrR", 0 },
	{ OP_PAYLOAD_EXIT, "ft", 'p' },
	{ OP_PAYLOAD_EXIT2, "ft", 'p' },
	{ OP_PAYLOAD_DOWN, "Ftr", 'p' },
	{ OP_SPAWN_REPLY, "rtxR", 0 },
	{ OP_ALIAS_SEND, "fr", 'm' },
	{ OP_UNLINK, "uft", 0 },
	{ OP_UNLINK_ACK, "uft", 0 },
};

static bool read_id(const uint8_t *t, uint64_t *id)
{
	int64_t small;

	*id = 0;
	if (term_int(t, &small)) {
		*id = (uint64_t)small;
		return small > 0;
	}
	if (t[0] != 110 || t[1] > 8 || t[2] != 0)
		return false;
	for (unsigned i = t[1]; i > 0; i--)
		*id = *id << 8 | t[2 + i];
	return true;
}

static bool read_element(char letter, const uint8_t *t, struct wire_signal *out)
{
	switch (letter) {
	case 'f':
		return term_pid(t, &out->from);
	case 't':
		return term_pid(t, &out->to);
	case 'F':
		out->from_is_name = term_kind(t) == TERM_ATOM;
		return out->from_is_name || term_pid(t, &out->from);
	case 'T':
		out->to_is_name = term_kind(t) == TERM_ATOM;
		return out->to_is_name || term_pid(t, &out->to);
	case 'r':
		out->ref = t;
		return term_kind(t) == TERM_REF;
	case 'R':
		out->reason = t;
		return true;
	case 'u':
		return read_id(t, &out->unlink_id);
	default:
		return true;
	}
}

/* Past what stands before the control message; NULL: something else does. */
static const uint8_t *frame_head(const uint8_t *p, size_t len, bool fragments)
{
	if (fragments)
		return len > 3 && memcmp(p, "\x83\x44\0", 3) == 0 ? p + 3 : NULL;
	return len > 2 && p[0] == PASS_THROUGH && p[1] == TERM_VERSION ? p + 2 : NULL;
}

const char *wire_read(const uint8_t *p, size_t len, bool fragments, struct wire_signal *out)
{
	const uint8_t *end = p + len, *t;
	const struct shape *shape = NULL;
	uint32_t arity;
	int64_t op;
	size_t used;

	*out = (struct wire_signal){ 0 };
	if ((p = frame_head(p, len, fragments)) == NULL)
		return fragments ? "a frame that does not begin with 131, 68, 0"
				 : "a frame that does not begin with 112, 131";
	if (term_check(p, (size_t)(end - p), &used) != 0 || !term_tuple(p, &arity, &t) ||
	    arity == 0 || !term_int(t, &op))
		return "a control message that is no tuple of an operation and more";
	p += used;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (shapes[i].op == op)
			shape = &shapes[i];
	if (shape == NULL)
		return "an operation that a BEAM does not expect from this node";
	out->op = (int)op;
	if (arity != strlen(shape->elements) + 1)
		return "a control message with the wrong number of elements";
	for (const char *letter = shape->elements; *letter != '\0'; letter++)
		if (!read_element(*letter, t = term_skip(t), out))
			return "an element of a control message is not of its kind";
	if (shape->tail == 0)
		return p == end ? NULL : "bytes behind a control message that has no message";
	if (!fragments && (p == end || *p++ != TERM_VERSION))
		return "a message without its version";
	if (term_check(p, (size_t)(end - p), &used) != 0 || p + used != end)
		return "a message that is not exactly one well-formed term";
	*(shape->tail == 'm' ? &out->message : &out->reason) = p;
	return NULL;
}
