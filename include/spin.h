/* spin.h - whether to look once more before sleeping. Pure: time is an argument.
 *
 * A process that sleeps is woken by the kernel, through a processor that has gone to sleep itself: tens of
 * microseconds, several times what a small call takes. So after something has happened it pays to look again
 * for a while, if what is waited for comes soon, and if nobody else needs the processor.
 *
 *   spin_event() -> spin_again(): true ... true -> spin_event()      it came: the next time, too
 *                                          ... false                 `window_us` are over: sleep
 *
 * Each time that nothing came in its window, twice as many events as before are not waited for in this way,
 * until something comes in time. A look that comes SPIN_STALL_US after the one before says that somebody
 * else had the processor: then SPIN_SKIP_MAX events are not. */
#ifndef KRAIT_SPIN_H
#define KRAIT_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_STALL_US 50
#define SPIN_SKIP_MAX 1024

struct spin {
	uint64_t window_us; /* 0: never */
	uint64_t until_us;  /* of the window that is open; 0: none is */
	uint64_t looked_us; /* when it was looked last; 0: not yet in this window */
	unsigned skip;      /* events that are not waited for */
	unsigned penalty;   /* how many that were the last time */
};

void spin_init(struct spin *s, uint64_t window_us);

/* Something has happened: a window opens. */
void spin_event(struct spin *s, uint64_t now_us);

/* Nothing is to be done. False: sleep, and until the next event. */
bool spin_again(struct spin *s, uint64_t now_us);

/* Sleep all the same: the processors are wanted for something else. */
void spin_stop(struct spin *s);

#endif
