/* stress_stream.h - streams: what they are in the books, and what their owners do. */
#ifndef KRAIT_STRESS_STREAM_H
#define KRAIT_STRESS_STREAM_H

#include "list.h"
#include "term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ask;
struct caller;
struct sim;

#define STREAM_CLOSE_US 2000000u /* a worker that does not close a generator is killed by then */

/* How a stream's generator behaves when it has yielded its items. */
enum stream_shape {
	SHAPE_ENDS,
	SHAPE_LIST, /* no generator at all */
	SHAPE_ENDLESS,
	SHAPE_RAISES,
	SHAPE_NO_TERM,
	SHAPE_UNTIDY,   /* its `finally` raises */
	SHAPE_STUCK,    /* it does not yield any more */
	SHAPE_STUBBORN, /* endless, and its `finally` does not end */
	SHAPE_NONE,     /* nothing to iterate over */
	SHAPE_NEVER,    /* the function raises */
	SHAPES
};

enum stream_end {
	END_DONE,
	END_CANCELLED, /* done, after we had closed it */
	END_PYTHON,
	END_UNENCODABLE,
	END_BAD_ASK,
	END_TIMEOUT,
	END_WORKER_EXIT,
	END_LEASE_CLOSED,
	END_DIED,
	END_LOST,
	STREAM_ENDS
};
extern const char *const stream_end_names[STREAM_ENDS];

/* A stream: asked for, open, then ended or cut (its owner is dead, or gave up before it heard of it):
 * what crossed that may come until the barrier is acknowledged. */
struct stream {
	struct list link;    /* in its caller's streams, from the answer on */
	struct list by_tomb; /* in its peer's ended ones */
	struct caller *caller;
	uint32_t serial;
	uint64_t nonce, cut;
	struct term_pid pid;
	enum stream_shape shape;
	enum stream_plan {
		PLAN_CONSUME,
		PLAN_CANCEL,
		PLAN_EXIT,
		PLAN_EXIT_BY_OTHER,
		PLAN_DIE,
		PLAN_BAD_ASK,
		PLAN_LEASE_EXIT,
		PLAN_LEASE_CHECKIN
	} plan;
	enum stream_style { STYLE_EAGER, STYLE_STEP, STYLE_AHEAD, STYLE_LAZY } style;
	enum closing { CLOSING_NOT, CLOSING_CANCEL, CLOSING_BAD_ASK, CLOSING_LEASE } closing;
	bool async, on_lease, brief, ended, exited;
	size_t payload_len;
	uint64_t total, asked, got, plan_at;            /* items */
	uint64_t timeout_us, sent_us, since_us, due_us; /* since, due: of the next message */
	struct ask *monitor;
};

void stream_send(struct caller *c, const struct term_pid *lease); /* NULL: to the pool */
void stream_step(struct caller *c);
void stream_take(struct caller *c, const struct term_pid *to, const uint8_t *stream,
		 const uint8_t *what); /* {krait_stream, stream, what} */
void stream_granted(struct ask *a, const uint8_t *pid);
void stream_came_late(struct ask *a, const uint8_t *pid); /* its caller is gone, or gave up */
void stream_drop(struct caller *c);                       /* the process is gone */
void stream_lost(struct caller *c);                       /* and its connection */
void stream_calm(struct caller *c);                       /* it comes to its end, soon */
void stream_overdue(struct caller *c, uint64_t now);
void stream_forget_monitor(struct caller *c, const struct ask *a);
void streams_retire(struct sim *sim, uint64_t barrier);
void stream_free(struct stream *st);
struct ask *stream_talk(struct caller *c, const struct term_pid *pid);
/* Which end it is; `why` is set when it must not be. */
enum stream_end stream_judge_end(struct stream *st, const uint8_t *what, const char **why);

/* Between its own rooms. */
extern const char *const stream_hows[SHAPES];         /* what Python is told */
void stream_cut(struct stream *st, uint64_t barrier); /* from now on only what crosses may come */
void stream_expect_item(struct stream *st);
void stream_ask_more(struct stream *st);
bool stream_is_due(const struct stream *st); /* the moment of its plan has come */
void stream_carry_out(struct stream *st);    /* its process may be dead afterwards */
void stream_haunt(struct caller *c, const struct term_pid *pid); /* talks to one that has ended */

#endif
