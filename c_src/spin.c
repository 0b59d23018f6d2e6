/* spin.c - whether to look once more before sleeping; see spin.h. */
#include "spin.h"

void spin_init(struct spin *s, uint64_t window_us)
{
	*s = (struct spin){ .window_us = window_us };
}

void spin_stop(struct spin *s)
{
	s->until_us = s->looked_us = 0;
}

/* The window was for nothing. */
static void miss(struct spin *s, unsigned penalty)
{
	s->penalty = penalty < SPIN_SKIP_MAX ? penalty : SPIN_SKIP_MAX;
	s->skip = s->penalty;
	spin_stop(s);
}

void spin_event(struct spin *s, uint64_t now_us)
{
	if (s->looked_us != 0)
		s->penalty = 0;
	spin_stop(s);
	if (s->window_us == 0)
		return;
	if (s->skip > 0)
		s->skip--;
	else
		s->until_us = now_us + s->window_us;
}

bool spin_again(struct spin *s, uint64_t now_us)
{
	if (s->until_us == 0)
		return false;
	if (s->looked_us != 0 && now_us > s->looked_us + SPIN_STALL_US) {
		miss(s, SPIN_SKIP_MAX);
		return false;
	}
	if (now_us >= s->until_us) {
		miss(s, s->penalty > 0 ? 2 * s->penalty : 1);
		return false;
	}
	s->looked_us = now_us;
	return true;
}
