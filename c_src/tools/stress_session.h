/* stress_session.h - sessions: their books, and who uses them. */
#ifndef KRAIT_STRESS_SESSION_H
#define KRAIT_STRESS_SESSION_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ask;
struct caller;
struct stress;

enum session_mode { MODE_STRICT, MODE_HINT, MODE_FAIL_FAST, MODE_MIXED, MODES };

/* What the books of a session were when a request of it was sent. */
struct session_snap {
	enum session_mode mode; /* of the request: not MODE_MIXED */
	uint64_t epoch, unknown;
	unsigned highest;
	bool must_exist, must_not; /* END_SESSION */
	bool fresh;                /* there was no such session */
	bool owns;                 /* its caller is to be the owner */
	bool settled;              /* what came of it is in the books */
};

/* The books of one session. Its id has its index and its generation in it. */
#define SESSION_USES 200 /* then it is ended, and the next generation begins */
#define EPOCHS_KEPT  4
struct session {
	unsigned index;
	uint32_t generation;
	enum session_mode mode;
	bool shared;      /* several processes use it at once; else one after the other */
	bool retiring;    /* to be ended, when nobody uses it any more */
	bool licensed;    /* it may begin anew without a word */
	uint64_t ends_us; /* its end takes effect when the calls that ran then have ended */
	bool owed; /* it has begun anew: that it was lost is still to be heard, by another who asks */
	bool begun; /* it may have begun since it was known not to be */
	bool may_exist, surely, owned;
	bool owner_sure; /* it has its owner, and will end with that */
	bool over;     /* it was ended: the next generation begins when nobody refers to this one */
	unsigned refs; /* asks that name it, those that are cut included */
	unsigned uses;
	unsigned ghosts; /* calls of vanished peers: they may still run until `ghost_until_us` */
	uint64_t ghost_until_us, owner_dead_us;
	unsigned owner_slot;
	uint32_t owner_serial;
	uint64_t epoch, epoch_us; /* the life of it that was seen last, and when first */
	struct {
		uint64_t epoch;
		bool vague; /* it may be the later one */
	} old[EPOCHS_KEPT];
	unsigned olds;
	unsigned highest;                            /* count that was seen in this epoch */
	uint64_t seen[(2 * SESSION_USES + 63) / 64]; /* which counts were */
	uint64_t unknown,
		base; /* calls that ended without our knowing whether they ran; known by now */
};

extern const char *const session_mode_names[MODES];
void session_send(struct caller *c);
struct ask *session_lease_call(struct caller *c, size_t *start); /* on the lease, in its session */
void session_put_step(struct ask *a, struct buf *out, uint64_t timeout_ms, bool option);
void session_join(struct ask *a, struct session *sn);
void session_haunted(const struct stress *s, struct session *sn, uint64_t us);
void session_unheard(struct ask *a,
		     bool connection_lost); /* nothing came of it, as far as we know */
void session_leave(struct ask *a);
void sessions_owner_gone(const struct caller *c);
unsigned sessions_owned(const struct caller *c);
unsigned sessions_waiting(const struct stress *s); /* requests that may wait for one worker */
void session_put_id(const struct session *sn, struct buf *out);
bool session_is_id(const struct session *sn, const uint8_t *t);
struct session *session_of_id(struct stress *s, const uint8_t *t); /* NULL: none of ours */
bool session_may_end(const struct session *sn); /* nobody will start it anew behind our back */
void session_begin(struct stress *s, struct session *sn); /* the next generation */

#endif
