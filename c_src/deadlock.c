/* deadlock.c - whether a request could never be served; see deadlock.h.
 *
 * Everybody is taken for stuck at first; then whoever can go on is not, and neither is who waits for him,
 * until nothing changes. What is left is stuck for good. */
#include "deadlock.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

struct state {
	unsigned slots;
	const struct deadlock_wait *waits;
	size_t wait_count;
	const struct deadlock_ask *asks;
	size_t ask_count;
	struct deadlock_process *process; /* those that have asked, sorted, each once */
	size_t process_count;
	size_t *asker;    /* of each ask, its process */
	size_t *awaited;  /* of each wait, its process, or NOBODY */
	bool *process_on; /* it goes on */
	bool *slot_on;
	bool any_on;  /* a slot does */
	bool *wanted; /* a process that a slot waits for */
};

#define NOBODY SIZE_MAX

static int compare(const void *x, const void *y)
{
	const struct deadlock_process *a = x, *b = y;

	if (a->peer != b->peer)
		return a->peer < b->peer ? -1 : 1;
	if (a->creation != b->creation)
		return a->creation < b->creation ? -1 : 1;
	if (a->serial != b->serial)
		return a->serial < b->serial ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static size_t find(const struct state *s, const struct deadlock_process *process)
{
	const struct deadlock_process *at =
		bsearch(process, s->process, s->process_count, sizeof *s->process, compare);

	return at != NULL ? (size_t)(at - s->process) : NOBODY;
}

static bool prepare(struct state *s)
{
	size_t n = 0;

	s->process = mem_alloc((s->ask_count + 1) * sizeof *s->process);
	s->asker = mem_alloc((s->ask_count + 1) * sizeof *s->asker);
	s->awaited = mem_alloc((s->wait_count + 1) * sizeof *s->awaited);
	s->process_on = mem_alloc(s->ask_count + 1);
	s->wanted = mem_alloc(s->ask_count + 1);
	s->slot_on = mem_alloc(s->slots + 1);
	if (s->process == NULL || s->asker == NULL || s->awaited == NULL || s->process_on == NULL ||
	    s->wanted == NULL || s->slot_on == NULL)
		return false;
	for (size_t i = 0; i < s->ask_count; i++)
		s->process[i] = s->asks[i].process;
	qsort(s->process, s->ask_count, sizeof *s->process, compare);
	for (size_t i = 0; i < s->ask_count; i++)
		if (n == 0 || compare(&s->process[i], &s->process[n - 1]) != 0)
			s->process[n++] = s->process[i];
	s->process_count = n;
	for (size_t i = 0; i < s->ask_count; i++)
		s->asker[i] = find(s, &s->asks[i].process);
	for (size_t i = 0; i < s->wait_count; i++)
		s->awaited[i] = find(s, &s->waits[i].process);
	return true;
}

static bool ask_goes_on(const struct state *s, const struct deadlock_ask *ask)
{
	if (ask->queued && ask->count >= s->slots)
		return s->any_on;
	for (unsigned i = 0; i < (ask->queued ? ask->count : 1); i++)
		if (s->slot_on[ask->first + i])
			return true;
	return false;
}

/* One round: whether anybody was found to go on. */
static bool one_round(struct state *s, bool unknown_on)
{
	bool changed = false;

	for (size_t i = 0; i < s->wait_count; i++) {
		bool on = s->waits[i].process.peer == 0 ? unknown_on
			  : s->awaited[i] == NOBODY     ? true
							: s->process_on[s->awaited[i]];

		if (!on || s->slot_on[s->waits[i].slot])
			continue;
		s->slot_on[s->waits[i].slot] = s->any_on = changed = true;
	}
	for (size_t i = 0; i < s->ask_count; i++) {
		if (s->process_on[s->asker[i]] || !ask_goes_on(s, &s->asks[i]))
			continue;
		s->process_on[s->asker[i]] = changed = true;
	}
	return changed;
}

/* Finds out who goes on; `unknown_on`: processes that are not known do. */
static void go_on(struct state *s, bool unknown_on)
{
	memset(s->process_on, false, s->ask_count + 1);
	memset(s->slot_on, true, s->slots + 1);
	for (size_t i = 0; i < s->wait_count; i++)
		s->slot_on[s->waits[i].slot] = false;
	s->any_on = false;
	for (unsigned i = 0; i < s->slots; i++)
		s->any_on |= s->slot_on[i];
	while (one_round(s, unknown_on))
		;
}

/* The newest ask that is queued in vain, of a process that a slot waits for in vain. */
static bool choose(struct state *s, size_t *which, uint64_t *since_us)
{
	bool found = false;

	memset(s->wanted, false, s->ask_count + 1);
	*since_us = 0;
	for (size_t i = 0; i < s->wait_count; i++) {
		if (s->slot_on[s->waits[i].slot])
			continue;
		if (s->awaited[i] != NOBODY)
			s->wanted[s->awaited[i]] = true;
		if (s->waits[i].since_us > *since_us)
			*since_us = s->waits[i].since_us;
	}
	for (size_t i = 0; i < s->ask_count; i++) {
		if (!s->wanted[s->asker[i]])
			continue;
		if (s->asks[i].since_us > *since_us)
			*since_us = s->asks[i].since_us;
		if (!s->asks[i].queued || ask_goes_on(s, &s->asks[i]) ||
		    (found && s->asks[i].arrival < s->asks[*which].arrival))
			continue;
		*which = i;
		found = true;
	}
	return found;
}

/* Whether a request is queued in vain, and a slot waits in vain for somebody who is not known. */
static bool hangs_on_unknown(const struct state *s)
{
	bool vain = false, unknown = false;

	for (size_t i = 0; i < s->ask_count; i++)
		vain |= s->asks[i].queued && !ask_goes_on(s, &s->asks[i]);
	for (size_t i = 0; i < s->wait_count; i++)
		unknown |= s->waits[i].process.peer == 0 && !s->slot_on[s->waits[i].slot];
	return vain && unknown;
}

enum deadlock deadlock_find(unsigned slots, const struct deadlock_wait *waits, size_t wait_count,
			    const struct deadlock_ask *asks, size_t ask_count, size_t *which,
			    uint64_t *since_us)
{
	struct state s = { .slots = slots,
			   .waits = waits,
			   .wait_count = wait_count,
			   .asks = asks,
			   .ask_count = ask_count };
	enum deadlock found = DEADLOCK_NONE;

	if (prepare(&s)) {
		go_on(&s, true);
		if (choose(&s, which, since_us)) {
			found = DEADLOCK_FOUND;
		} else {
			go_on(&s, false);
			found = hangs_on_unknown(&s) ? DEADLOCK_UNCLEAR : DEADLOCK_NONE;
		}
	}
	mem_free(s.process);
	mem_free(s.asker);
	mem_free(s.awaited);
	mem_free(s.process_on);
	mem_free(s.wanted);
	mem_free(s.slot_on);
	return found;
}
