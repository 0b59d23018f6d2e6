/* stress_wire.h - the driver's own view of the distribution protocol.
 *
 * Nothing of it is dist.c's, so a fault there cannot hide behind itself: the initiator's side of the
 * handshake, one signal to one frame, one frame to one signal. Pure: bytes in, bytes out. Only the
 * encoding of single terms is shared with the node (term.h).
 *
 * Specification: "Distribution Handshake" and "Protocol between Connected Nodes" of the ERTS
 * documentation; what BEAMs really send stands in the project's notes on the wire. */
#ifndef KRAIT_STRESS_WIRE_H
#define KRAIT_STRESS_WIRE_H

#include "buf.h"
#include "term.h"

#include <stdbool.h>
#include <stdint.h>

#define WIRE_OTP25    UINT64_C(0xd07df7fbd)  /* what a BEAM of OTP 25 announces */
#define WIRE_OTP29    UINT64_C(0x6d07df7fbd) /* and one of OTP 29 */
#define WIRE_PLAIN    UINT64_C(0x507074fbc)  /* and a program that knows no fragments */
#define WIRE_NAME_MAX 255

#define WIRE_FRAGMENTS UINT64_C(0x800000)

enum wire_op {
	OP_LINK = 1,
	OP_SEND = 2,
	OP_EXIT = 3,
	OP_REG_SEND = 6,
	OP_GROUP_LEADER = 7,
	OP_EXIT2 = 8,
	OP_MONITOR = 19,
	OP_DEMONITOR = 20,
	OP_DOWN = 21,
	OP_PAYLOAD_EXIT = 24,
	OP_PAYLOAD_EXIT2 = 26,
	OP_PAYLOAD_DOWN = 28,
	OP_SPAWN = 29,
	OP_SPAWN_REPLY = 31,
	OP_ALIAS_SEND = 33,
	OP_UNLINK = 35,
	OP_UNLINK_ACK = 36
};

/* ---- the handshake, as the one who dials ---- */

struct wire_handshake {
	const char *name, *node, *cookie; /* ours, the one we expect there, the secret */
	uint64_t flags;
	uint32_t creation, challenge;
	enum { WIRE_STATUS, WIRE_CHALLENGE, WIRE_ACK, WIRE_UP } phase;
	bool was_alive; /* it said `alive`: our old connection was still up there */
	uint32_t node_creation;
	uint64_t node_flags;
};

/* Appends our first packet. */
void wire_introduce(const struct wire_handshake *h, struct buf *out);

/* Takes one packet (without its length) and appends what is to be answered. NULL, or what is wrong with
 * it, in words; `h->phase` says how far we are. */
const char *wire_packet(struct wire_handshake *h, const uint8_t *p, size_t len, struct buf *out);

/* ---- references: a nonce inside ---- */

/* A reference of a peer: `words` is 3 (OTP 25) or 5 (OTP 26 and later). */
struct wire_ref {
	const char *node;
	uint32_t creation;
	unsigned words;
	uint64_t nonce;
};
void wire_put_ref(struct buf *b, const struct wire_ref *ref);
/* Reads a checked term; false: no reference, or none that wire_put_ref() can have written. `node` is not
 * set, but must be the `name` that stands there. */
bool wire_get_ref(const uint8_t *t, const char *name, struct wire_ref *ref);

/* ---- signals out: each appends one frame ---- */

/* To a process: a pid, or (pid NULL) a name. */
struct wire_to {
	const struct term_pid *pid;
	const char *name;
};
void wire_tick(struct buf *b);
void wire_monitor(struct buf *b, enum wire_op op, const struct term_pid *from, struct wire_to to,
		  const struct wire_ref *ref); /* OP_MONITOR or OP_DEMONITOR */
void wire_down(struct buf *b, const struct term_pid *from, const struct term_pid *to,
	       struct span ref, const char *reason);
void wire_exit(struct buf *b, enum wire_op op, const struct term_pid *from,
	       const struct term_pid *to, const char *reason); /* OP_EXIT or OP_EXIT2 */
void wire_pair(struct buf *b, enum wire_op op, const struct term_pid *from,
	       const struct term_pid *to);
void wire_unlink(struct buf *b, enum wire_op op, uint64_t id, const struct term_pid *from,
		 const struct term_pid *to); /* OP_UNLINK or OP_UNLINK_ACK */

/* A message: begin, append exactly one term, end. Begin returns what end wants. */
size_t wire_begin(struct buf *b, const struct term_pid *from, struct wire_to to);
void wire_end(struct buf *b, size_t start);
/* SPAWN_REQUEST of lists:reverse([]), which no node but a BEAM can do. */
void wire_spawn(struct buf *b, const struct term_pid *from, const struct wire_ref *ref);

/* ---- signals in ---- */

/* One signal. Pointers point into the frame; terms are checked. What an operation has not is zero. */
struct wire_signal {
	int op;
	struct term_pid from, to;
	bool from_is_name, to_is_name;
	const uint8_t *ref, *reason, *message;
	uint64_t unlink_id;
};

/* Reads one frame (without its length, not empty), as peers with fragments write it or others. NULL, or
 * what is wrong with it. */
const char *wire_read(const uint8_t *p, size_t len, bool fragments, struct wire_signal *out);

/* ---- fragments of frames in: stress_join.c ---- */

#define WIRE_PARTS_MAX 256

struct wire_join {
	struct wire_part {
		uint64_t sequence, next;
		struct buf bytes;
	} parts[WIRE_PARTS_MAX];
	unsigned count;
};

bool wire_is_fragment(const uint8_t *p, size_t len);
/* Takes one; `whole` (the caller's from then on) is a frame when it was the last of it, else empty. NULL, or
 * what is wrong with it. */
const char *wire_take_fragment(struct wire_join *j, const uint8_t *p, size_t len,
			       struct buf *whole);
void wire_join_close(struct wire_join *j);

#endif
