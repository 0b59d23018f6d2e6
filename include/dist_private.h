/* dist_private.h - what the rooms of dist.c share; nobody else includes it (save their tests).
 *
 *   dist.c            the life of a connection, its buffers, where frames begin and end
 *   dist_handshake.c  names, flags, challenges
 *   dist_control.c    one frame to one event
 *   dist_join.c       fragments to one message
 *   dist_send.c       one signal to one frame
 *   dist_message.c    one message, which may be given up
 *   dist_write.h      the bytes of a frame
 *   dist_split.c      one large message to fragments; in which turn they go out
 *
 *   phases:   NAME -> DECIDE -> [ALIVE] -> [COMPLEMENT] -> REPLY --+
 *                                                                  +--> UP -> FAILED -> DEAD
 *             STATUS -> CHALLENGE -> ACK --------------------------+
 *   Every phase may fail; FAILED is where DIST_EV_CLOSED still has to be told. */
#ifndef KRAIT_DIST_PRIVATE_H
#define KRAIT_DIST_PRIVATE_H

#include "dist.h"
#include "list.h"

/* Flags of the handshake, by their names in the specification. */
#define FLAG_PUBLISHED           UINT64_C(0x1)
#define FLAG_EXTENDED_REFERENCES UINT64_C(0x4)
#define FLAG_DIST_MONITOR        UINT64_C(0x8)
#define FLAG_FUN_TAGS            UINT64_C(0x10)
#define FLAG_DIST_MONITOR_NAME   UINT64_C(0x20)
#define FLAG_NEW_FUN_TAGS        UINT64_C(0x80)
#define FLAG_EXTENDED_PIDS_PORTS UINT64_C(0x100)
#define FLAG_EXPORT_PTR_TAG      UINT64_C(0x200)
#define FLAG_BIT_BINARIES        UINT64_C(0x400)
#define FLAG_NEW_FLOATS          UINT64_C(0x800)
#define FLAG_UTF8_ATOMS          UINT64_C(0x10000)
#define FLAG_MAP_TAG             UINT64_C(0x20000)
#define FLAG_BIG_CREATION        UINT64_C(0x40000)
#define FLAG_EXIT_PAYLOAD        UINT64_C(0x400000)
#define FLAG_FRAGMENTS           UINT64_C(0x800000)
#define FLAG_HANDSHAKE_23        UINT64_C(0x1000000)
#define FLAG_UNLINK_ID           UINT64_C(0x2000000)
#define FLAG_MANDATORY_25_DIGEST UINT64_C(0x4000000)
#define FLAG_SPAWN               (UINT64_C(1) << 32)
#define FLAG_NAME_ME             (UINT64_C(1) << 33)
#define FLAG_V4_NC               (UINT64_C(1) << 34)
#define FLAG_ALIAS               (UINT64_C(1) << 35)

/* What MANDATORY_25_DIGEST stands for. */
#define FLAGS_MANDATORY_25                                                                         \
	(FLAG_EXTENDED_REFERENCES | FLAG_FUN_TAGS | FLAG_EXTENDED_PIDS_PORTS | FLAG_NEW_FUN_TAGS | \
	 FLAG_EXPORT_PTR_TAG | FLAG_BIT_BINARIES | FLAG_NEW_FLOATS | FLAG_UTF8_ATOMS |             \
	 FLAG_MAP_TAG | FLAG_BIG_CREATION | FLAG_HANDSHAKE_23)

/* What a peer must announce: the above, pids and references of 64 bits, and unlinks that are
 * acknowledged. Not monitors: a BEAM always has them, and programs made with ei, such as erl_call,
 * which have not, end together with their connection, which is heard. */
#define FLAGS_REQUIRED (FLAGS_MANDATORY_25 | FLAG_V4_NC | FLAG_UNLINK_ID)

/* Longest packet of the handshake. The longest legal one is a challenge, 1 + 8 + 4 + 4 + 2 and
 * a name of 255 bytes; OTP allows for unknown bytes at the end. */
#define DIST_PACKET_MAX 512

#define DIST_ROOM_MIN (4 * 1024)   /* dist_room() offers at least that */
#define DIST_ROOM_MAX (256 * 1024) /* and looks no further ahead than that; kept when idle */
#define DIST_CONTROL_MAX \
	(8 * 1024) /* longest control message of an oversize frame: two pids, a
                                       name and a trace token come to less than 6 KiB */

#define DIST_DIGEST_LEN 16 /* MD5 */

/* Second byte of what begins with 131 instead of 112. */
#define DIST_HEADER 68 /* atom cache references, whole message */
#define DIST_FRAG_HEADER \
	69                /* sequence:64, fragment:64, atom cache references, begin of a message */
#define DIST_FRAG_CONT 70 /* sequence:64, fragment:64, more of it; the last has the number 1 */

#define DIST_FRAGMENT_BYTES (64 * 1024) /* of a message of OTP's in one fragment */
/* Messages of ours. Up to the first they stay in the output, up to the second they go in one frame, each when it
 * is its turn, and from there on in fragments: of what is written at a time, anyway. A BEAM copies fragments
 * together, and each of them costs it something: an echo of 16 MB in fragments as OTP's took it a fifth longer. */
#define DIST_INLINE_BYTES (128 * 1024)
#define DIST_WHOLE_BYTES  (1024 * 1024)
#define DIST_PART_BYTES   (256 * 1024)
/* Messages that may be unfinished at a time. A BEAM has one for each process that sends a large one just
 * now, whose first fragment has 64 KiB: that many come to 1 GiB. */
#define DIST_UNFINISHED_MAX 16384

enum dist_phase {
	PHASE_NAME,       /* acceptor: waits for `N` or `n` */
	PHASE_DECIDE,     /* acceptor: waits for dist_answer_name() */
	PHASE_ALIVE,      /* acceptor: said `alive`, waits for `true` or `false` */
	PHASE_COMPLEMENT, /* acceptor: the peer began with `n`, waits for `c` */
	PHASE_REPLY,      /* acceptor: waits for `r` */
	PHASE_STATUS,     /* initiator: waits for `s` */
	PHASE_CHALLENGE,  /* initiator: waits for `N` */
	PHASE_ACK,        /* initiator: waits for `a` */
	PHASE_UP,
	PHASE_FAILED, /* `why` is set, the owner has not been told */
	PHASE_DEAD,
	PHASES
};

struct dist {
	struct dist_config config;
	enum dist_phase phase;
	bool told_nok;      /* initiator: the peer is connecting to us itself */
	bool old_name;      /* the peer began with `n`: its upper flags and creation follow */
	int lost;           /* not 0: a signal found no room in `out`; this is why */
	uint32_t challenge; /* ours */
	uint32_t peer_creation;
	uint64_t peer_flags; /* as announced, MANDATORY_25_DIGEST spelled out */
	char peer[DIST_NAME_MAX + 1];

	struct buf in; /* data[head .. len) is not parsed yet */
	size_t head;
	size_t room;        /* how much to offer: DIST_ROOM_MIN .. DIST_ROOM_MAX */
	uint32_t over_len;  /* length of the oversize frame at `head`; 0: none */
	uint32_t over_left; /* bytes of its end that are still to be dropped */
	size_t over_limit;  /* what it is over */

	struct dist_message *unfinished; /* messages in fragments, by sequence */
	struct dist_message *filling;    /* the one whose fragment is arriving */
	struct dist_message *whole;      /* the one that the last event points into */
	size_t fill_left;                /* bytes of that fragment that have not arrived */
	size_t unfinished_bytes;         /* kept of all of them */
	bool direct;                     /* dist_room() has offered a place in `filling` */

	struct share *shared; /* what the last event points into, if others own it, too */

	struct buf out;
	uint64_t to;               /* between begin and end: the key of the message's receiver */
	struct list flows;         /* struct dist_flow, in turn */
	struct dist_flow *flow_of; /* by key */
	struct list taken;         /* struct dist_part: the last of them is in the pieces taken */
	uint64_t outputs;          /* taken so far: dist_output_taken() */
	size_t flow_bytes;         /* that wait in flows, those taken included */
	size_t taken_bytes;        /* of them taken */
	uint64_t sequences;        /* begun so far */
	uint8_t heads[DIST_PIECES_MAX / 2][4 + 2 + 8 + 8 + 1]; /* of the fragments taken */
	uint8_t latin1[2 * TERM_ATOM_MAX]; /* a name that came in Latin-1, as UTF-8 */
	char why[512];
};

/* What one step did. */
enum dist_step {
	STEP_MORE,  /* nothing: more bytes (or an answer) are needed */
	STEP_AGAIN, /* something, but no event: go on */
	STEP_EVENT, /* an event is filled in */
};

/* The only way from phase to phase. */
void dist_move(struct dist *d, enum dist_phase to);

/* Refuses the peer: phase FAILED, the text becomes `why`. Returns STEP_AGAIN. */
enum dist_step dist_refuse(struct dist *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* MD5 of the cookie and the challenge in decimal digits. False: libcrypto would not. */
bool dist_digest(const char *cookie, uint32_t challenge, uint8_t digest[DIST_DIGEST_LEN])
	__attribute__((warn_unused_result));

/* Initiator: writes the first packet. */
void dist_introduce(struct dist *d);

/* Takes one packet of the handshake, without its length. */
enum dist_step dist_packet(struct dist *d, const uint8_t *p, size_t len, struct dist_event *ev);

/* Whether frames have a distribution header and large messages come in fragments. */
static inline bool dist_fragments(const struct dist *d)
{
	return (d->peer_flags & d->config.flags & FLAG_FRAGMENTS) != 0;
}

/* What is there of one signal, whole or not. */
struct dist_signal {
	const uint8_t *at;  /* the control message, and what follows */
	size_t len;         /* bytes that are there */
	uint64_t total_len; /* as in struct dist_event */
	uint64_t limit;     /* not 0: oversize, and `at` holds its first bytes */
	bool versioned;     /* each term has its version byte in front */
};

/* Takes one frame that is not a tick nor a fragment. `p` holds `len` of its `frame_len` bytes: all of
 * them, unless it is over `limit` (not 0). */
enum dist_step dist_frame(struct dist *d, const uint8_t *p, size_t len, uint32_t frame_len,
			  uint64_t limit, struct dist_event *ev);
enum dist_step dist_signal(struct dist *d, const struct dist_signal *s, struct dist_event *ev);

/* dist_join.c. Whether the frame that begins with the two bytes at `p` is a fragment. */
bool dist_is_fragment(const uint8_t *p);
/* Takes the head of a fragment, if all of it is there: `have` of `len` bytes. Then `filling` is set. */
enum dist_step dist_fragment(struct dist *d, const uint8_t *p, size_t have, size_t len);
/* Takes of the fragment's body what is in the input; at the end of the last one, the message. */
enum dist_step dist_fill(struct dist *d, struct dist_event *ev);
/* Where the body's bytes may be received to directly; NULL: nowhere, take the input. */
uint8_t *dist_fill_room(struct dist *d, size_t *room);
void dist_filled(struct dist *d, size_t n);
/* What the last event points into, if its message came in fragments. */
struct span dist_whole(const struct dist *d);
void dist_forget_whole(struct dist *d);
struct buf *dist_whole_bytes(struct dist *d); /* there is one */
void dist_forget_unfinished(struct dist *d);

/* dist_split.c. The frame from `start` to the end of the output is complete: it stays there, or goes to a
 * flow. `has_message`: something follows the control message, so it may go in fragments. `apart`, `held`: as
 * for dist_end_apart(); a message that has such parts always goes to a flow. 0, or a negative
 * errno: it must wait for another one, and there is no memory for that; it is still in the output. */
struct parcel_parts;
int dist_route(struct dist *d, size_t start, uint64_t key, bool has_message,
	       const struct parcel_parts *apart, struct share *held)
	__attribute__((warn_unused_result));
void dist_forget_flows(struct dist *d);

#endif
