/* dist_private.h - what the rooms of dist.c share; nobody else includes it (save their tests).
 *
 *   dist.c            the life of a connection, its buffers, where frames begin and end
 *   dist_handshake.c  names, flags, challenges
 *   dist_control.c    one frame to one event
 *   dist_send.c       one signal to one frame
 *
 *   phases:   NAME -> DECIDE -> [ALIVE] -> [COMPLEMENT] -> REPLY --+
 *                                                                  +--> UP -> FAILED -> DEAD
 *             STATUS -> CHALLENGE -> ACK --------------------------+
 *   Every phase may fail; FAILED is where DIST_EV_CLOSED still has to be told. */
#ifndef KRAIT_DIST_PRIVATE_H
#define KRAIT_DIST_PRIVATE_H

#include "dist.h"

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

	struct share *shared; /* what the last event points into, if others own it, too */

	struct buf out;
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

/* Takes one frame that is not a tick. `p` holds `len` of its `frame_len` bytes: all of them, unless
 * it is oversize. */
enum dist_step dist_frame(struct dist *d, const uint8_t *p, size_t len, uint32_t frame_len,
			  bool oversize, struct dist_event *ev);

#endif
