/* dist.h - one connection of the Erlang distribution protocol, as a state machine without a socket.
 *
 * Bytes go in (dist_room, dist_received), events come out (dist_next), and what is to be sent gathers
 * in dist_output(). No system call, no clock, no randomness: the challenge is passed in.
 *
 *   acceptor:   NAME -> (dist_answer_name) -> UP -> signals ... -> CLOSED
 *   initiator:  UP -> signals ... -> CLOSED
 *
 * A peer that knows fragments (every BEAM) sends a large message in pieces, between which it says other
 * things, and so do we: what is large gathers beside dist_output(), in dist_take_pieces().
 *
 * Specification: "Distribution Protocol" of the ERTS documentation, handshake version 6 (and the old
 * `n` form of its first message), control messages as ordinary terms (no atom cache); "Distribution
 * Header for fragmented messages" of its "External Term Format".
 * Every length is checked against its bound before a byte is kept for it. */
#ifndef KRAIT_DIST_H
#define KRAIT_DIST_H

#include "buf.h"
#include "term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What we announce; see DISTRIBUTION notes in c_src/dist.c for each bit. */
#define DIST_FLAGS UINT64_C(0xd07874fbc)

#define DIST_NAME_MAX   255         /* bytes of a full node name, as OTP */
#define DIST_HEAD_BYTES (64 * 1024) /* what is kept of an oversize message */

struct dist_config {
	const char *name;      /* our full node name; must outlive the connection */
	const char *cookie;    /* likewise */
	uint32_t creation;     /* of our node */
	uint64_t flags;        /* DIST_FLAGS, or others in tests */
	size_t max_message;    /* longer frames are not kept: DIST_EV_OVERSIZE */
	size_t max_frame;      /* longer frames close the connection */
	size_t max_unfinished; /* bytes of messages whose last fragment has not come (0: no limit); a
	                            message that makes it more is not kept: DIST_EV_OVERSIZE */
};

enum dist_state {
	DIST_HANDSHAKE,
	DIST_CONNECTED,
	DIST_DEAD, /* after DIST_EV_CLOSED; input is ignored */
};

/* Status replies of the handshake. */
enum dist_status { DIST_OK, DIST_OK_SIMULTANEOUS, DIST_NOK, DIST_ALIVE, DIST_NOT_ALLOWED };

enum dist_event_type {
	DIST_EV_NONE,
	DIST_EV_NAME,       /* acceptor: the peer said who it is; answer with dist_answer_name() */
	DIST_EV_UP,         /* the handshake is complete: peer name, creation and flags are known */
	DIST_EV_TICK,       /* an empty frame */
	DIST_EV_SEND,       /* to a pid, a name, or an alias: `to_pid`/`name`/`ref`; `payload` */
	DIST_EV_LINK,       /* from, to_pid */
	DIST_EV_UNLINK,     /* from, to_pid; `unlink_id` (0: the old form, which wants no ack) */
	DIST_EV_UNLINK_ACK, /* from, to_pid, unlink_id */
	DIST_EV_EXIT,       /* a link broke: from, to_pid, reason (all payload and trace forms) */
	DIST_EV_EXIT2,      /* exit(Pid, Reason): from, to_pid, reason */
	DIST_EV_MONITOR,    /* from, to_pid or name, ref */
	DIST_EV_DEMONITOR,  /* from, to_pid or name, ref */
	DIST_EV_DOWN,       /* MONITOR_P_EXIT: from (a pid, or `name`), to_pid, ref, reason */
	DIST_EV_SPAWN, /* SPAWN_REQUEST: ref (ReqId), from, mfa, spawn_opts, payload (the args) */
	DIST_EV_SPAWN_REPLY,  /* ref (ReqId), to_pid, reason (the result term) */
	DIST_EV_GROUP_LEADER, /* from, to_pid */
	DIST_EV_UNKNOWN,      /* an operation that we do not know; `op`. Counted and ignored */
	DIST_EV_OVERSIZE, /* a SEND or a SPAWN_REQUEST (then `mfa` is set) longer than max_message: as
	                         DIST_EV_SEND and DIST_EV_SPAWN, but `payload` holds only its first bytes
	                         (unchecked, at most DIST_HEAD_BYTES); `total_len`, and the `limit`
	                         it is over: max_message, or max_unfinished, and `total_len` counts all
	                         of the peer that is unfinished. Told when the last byte has passed.
	                         Other signals that long: CLOSED */
	DIST_EV_CLOSED, /* refused or malformed: `why` says in words; close the socket after what is
	                         in dist_output() has been sent */
};

/* One event. Everything that points points into the receive buffer and is valid until the next
 * dist_next() or dist_room(). All terms are checked, except OVERSIZE's payload. */
struct dist_event {
	enum dist_event_type type;
	int op;        /* the control operation, e.g. 6 for REG_SEND; -1 for ticks */
	bool has_from; /* SEND forms without a sender have none */
	struct term_pid from;
	bool to_is_pid;    /* `to_pid`, else `name` (SEND, MONITOR, DEMONITOR) */
	bool to_is_alias;  /* SEND: `ref` */
	bool from_is_name; /* DOWN of a monitor on a name: `name` */
	struct term_pid to_pid;
	struct span name; /* an atom's text, UTF-8 */
	struct span ref;  /* an encoded reference, whole term */
	uint64_t unlink_id;
	const uint8_t *reason;           /* a term */
	const uint8_t *mfa, *spawn_opts; /* SPAWN: {M, F, A} and the option list */
	struct span payload;             /* the message, one term, version byte not included */
	uint64_t total_len; /* of the frame: what max_message is compared with; 0 for no frame */
	uint64_t limit;     /* OVERSIZE */
	const char *why;    /* CLOSED: owned by the connection, valid until dist_free() */
};

struct dist;

/* A connection that the other side opened, or that we did (`peer` is the name we want to find there).
 * `challenge` is 32 random bits. The config is copied, its strings are not. NULL: no memory. */
struct dist *dist_accept(const struct dist_config *config, uint32_t challenge)
	__attribute__((warn_unused_result));
struct dist *dist_connect(const struct dist_config *config, const char *peer, uint32_t challenge)
	__attribute__((warn_unused_result));
void dist_free(struct dist *d);

/* Where to receive to: at least 4 KiB, growing with what has arrived (at most as much again). In the
 * middle of a fragment that is the place where its message is whole in the end: no byte of it is moved
 * again. NULL: no memory; close the connection. */
uint8_t *dist_room(struct dist *d, size_t *room) __attribute__((warn_unused_result));
void dist_received(struct dist *d, size_t n);

/* The next event; false when more bytes are needed. To be called until it returns false after every
 * dist_received() and after dist_answer_name(). */
bool dist_next(struct dist *d, struct dist_event *ev);

/* Acceptor, after DIST_EV_NAME: how to go on. OK and OK_SIMULTANEOUS: the handshake continues. ALIVE: it
 * waits for the peer's `true` (then it goes on to UP, and the owner drops the old connection) or `false`
 * (CLOSED). NOK, NOT_ALLOWED: CLOSED. */
void dist_answer_name(struct dist *d, enum dist_status status);

/* The status that OTP would answer, given what we already have with the peer of that name:
 *   an up connection to the same creation -> ALIVE, to another creation -> OK (it replaces the old one);
 *   a connection that we are just opening ourselves -> OK_SIMULTANEOUS if the peer's name is the
 *   greater, else NOK; none -> OK. */
enum dist_status dist_status_for(const char *our_name, const char *peer_name, bool up,
				 bool same_creation, bool dialling);

enum dist_state dist_state(const struct dist *d);
/* Initiator, when it is dead: whether that is because the peer is connecting to us itself (`nok`). Then
 * that connection is the one. */
bool dist_told_nok(const struct dist *d);
/* What the connection waits for, in words: for the log when it ends, or its time is up, without a
 * DIST_EV_CLOSED. */
const char *dist_awaits(const struct dist *d);
const char *dist_peer_name(const struct dist *d);  /* "" until known; an initiator knows at once */
uint32_t dist_peer_creation(const struct dist *d); /* 0 until known */
uint64_t dist_peer_flags(const struct dist *d);    /* MANDATORY_25_DIGEST spelled out */

/* Whether that is a node's name: exactly one '@' with something on both sides, at most DIST_NAME_MAX
 * printable ASCII bytes, no space. */
bool dist_name_ok(const void *name, size_t len);

/* What is to be sent, but for large messages. The owner takes bytes off the front (buf_consume) or takes the whole buffer and
 * leaves an empty one; only between dist_begin_* and dist_end must it stay untouched. */
struct buf *dist_output(struct dist *d);

/* What is to be sent of large messages, to peers with fragments: whole frames, in turn, that may go
 * wherever a frame ends. Fills in where at least one of them lies, if there is one, and as many as come to
 * about `bytes`; returns the number of pieces. They stay there until all of them have been sent, in this
 * order, and dist_pieces_sent() is called; then more can be taken. */
#define DIST_PIECES_MAX 20
struct dist_piece {
	const uint8_t *at;
	size_t len;
};
/* Pieces never stand before what was in the output when their message was complete: the owner says with
 * dist_output_taken() that it sends all that is there before any piece that it takes from now on. */
void dist_output_taken(struct dist *d);
size_t dist_take_pieces(struct dist *d, size_t bytes, struct dist_piece pieces[DIST_PIECES_MAX]);
void dist_pieces_sent(struct dist *d);
size_t dist_pieces_left(const struct dist *d); /* bytes that wait there, those taken included */

/* Signals of ours. All append one frame; nothing is sent unless connected. `from` is a pid of our node;
 * refs, reasons and results are encoded terms, never empty, that are copied. A signal that finds no
 * room in the output (no memory, or over the `limit` that the owner set there) is lost, and so is the
 * connection: the next dist_next() is DIST_EV_CLOSED. */
void dist_send_tick(struct dist *d);
void dist_send_link(struct dist *d, const struct term_pid *from, const struct term_pid *to);
void dist_send_unlink(struct dist *d, uint64_t id, const struct term_pid *from,
		      const struct term_pid *to);
void dist_send_unlink_ack(struct dist *d, uint64_t id, const struct term_pid *from,
			  const struct term_pid *to);
void dist_send_exit(struct dist *d, const struct term_pid *from, const struct term_pid *to,
		    struct span reason);
void dist_send_exit2(struct dist *d, const struct term_pid *from, const struct term_pid *to,
		     struct span reason);
/* Monitors are sent only to peers that know them (DIST_MONITOR_NAME): one made with ei takes them for an
 * error, and its processes end with its connection anyway. */
void dist_send_monitor(struct dist *d, const struct term_pid *from, const struct term_pid *to,
		       struct span ref);
void dist_send_monitor_name(struct dist *d, const struct term_pid *from, const char *name,
			    struct span ref);
void dist_send_demonitor(struct dist *d, const struct term_pid *from, const struct term_pid *to,
			 struct span ref);
void dist_send_demonitor_name(struct dist *d, const struct term_pid *from, const char *name,
			      struct span ref);
/* The end of something that was monitored: by its pid, or by the name it was monitored under. */
void dist_send_down(struct dist *d, const struct term_pid *what, const struct term_pid *to,
		    struct span ref, struct span reason);
void dist_send_down_name(struct dist *d, struct span name, const struct term_pid *to,
			 struct span ref, struct span reason);
/* SPAWN_REPLY with `result` (a pid or an error atom, an encoded term); `flags`: what was set up. */
#define DIST_SPAWN_LINK    1u
#define DIST_SPAWN_MONITOR 2u
void dist_send_spawn_reply(struct dist *d, struct span req_id, const struct term_pid *to,
			   unsigned flags, struct span result);

/* Messages: begin writes length, control message and the version byte; the caller appends exactly one
 * term to dist_output(); end fills in the length. abort cuts the output back to before begin. They
 * return an offset into the output. No other signal may come between begin and end, and the owner may
 * not take bytes. At its end a message to a process that waits for a large one, or is large itself, leaves
 * the output for the pieces: signals to one process stay in order. dist_end returns 0; or, after cutting back and clearing it, the output's sticky error
 * (nothing is lost then: a smaller answer may follow); or -ENOTCONN. */
size_t dist_begin_send(struct dist *d, const struct term_pid *to);
size_t dist_begin_send_name(struct dist *d, const struct term_pid *from, const char *name);
/* `to`: the process that has the alias, as far as order goes. NULL: any order will do. */
size_t dist_begin_send_alias(struct dist *d, const struct term_pid *from, const struct term_pid *to,
			     struct span alias);
/* To whom a message goes that was not begun here, but with the same bytes as one that was: between begin and
 * end, in place of begin. */
void dist_to(struct dist *d, const struct term_pid *to);
/* The message that was begun may overtake what was sent to the same process before, and be overtaken. */
void dist_unordered(struct dist *d);
/* SPAWN_REQUEST of Module:Function/Arity with a monitor; the term that follows is the list of arguments.
 * To peers with dist_can_spawn() only. */
bool dist_can_spawn(const struct dist *d);
size_t dist_begin_spawn(struct dist *d, struct span req_id, const struct term_pid *from,
			const struct term_pid *group_leader, const char *module,
			const char *function, unsigned arity);
int dist_end(struct dist *d, size_t start) __attribute__((warn_unused_result));
/* The same, of a message whose large binaries are not in the output: parts->part[i] belongs in at parts->at[i],
 * and is sent from where it lies, which is in `held`. That is the dist's from now on, dropped when it is through
 * or on failure. Only to peers with dist_can_part(). */
struct parcel_parts;
struct share;
bool dist_can_part(const struct dist *d);
int dist_end_apart(struct dist *d, size_t start, const struct parcel_parts *parts,
		   struct share *held) __attribute__((warn_unused_result));
void dist_abort(struct dist *d, size_t start);

/* The buffer in which the last event's payload lies, to be owned by the caller too: so parts of it stay when the
 * event has passed. It may hold other bytes besides. NULL: no memory. */
struct share *dist_share(struct dist *d) __attribute__((warn_unused_result));

/* A new bound for messages whose length is not known yet. */
void dist_set_max_message(struct dist *d, size_t max_message);

/* Messages of the peer that have begun and whose last fragment has not come, and their bytes so far. */
size_t dist_unfinished(const struct dist *d, size_t *bytes);

#endif
