/* dist_join.c - fragments of the peer's to one message.
 *
 * Specification: "Distribution Header for fragmented messages" in "External Term Format" of the ERTS
 * documentation. A message of more than 64 KiB comes in frames
 *     131, 69, sequence:64, fragment:64, 0, control, begin of the message
 *     131, 70, sequence:64, fragment:64, more of it
 * whose fragment numbers count down to 1. Between them come frames of other processes, and fragments of
 * their messages. The sequence names the sending process while it sends: a BEAM sends nothing else of
 * that process before the message is whole, and finishes it even if the process is killed meanwhile
 * (since OTP 25; an older one never says that it will not).
 *
 * The happy path: dist_fragment() reads the head of a fragment -> `filling` is set -> dist_fill() copies
 * what is there of its body, dist_fill_room() offers the place of the rest, so that read(2) puts it where
 * it stays -> after the last one the message is a signal as any other, contiguous, until the next
 * dist_next() or dist_room().
 * What can go wrong, decided at the head of a fragment, before its bytes are kept: the message is over
 * max_message, or all unfinished ones together are over max_unfinished (only its first bytes are kept,
 * and the rest passes by: OVERSIZE). A sequence that was not begun, or is begun twice, a number out of
 * order, too many sequences: the connection closes, as OTP does. A peer that goes away: nothing of it is
 * kept. */
#include "dist_private.h"

#include "mem.h"
#define uthash_malloc(size)    mem_alloc(size)
#define uthash_free(ptr, size) mem_free(ptr)
#define HASH_NONFATAL_OOM      1
#include <uthash.h>

#include <assert.h>

#define HEAD_BYTES  (2 + 8 + 8)
#define FIRST_BYTES (HEAD_BYTES + 1)
#define KEPT_BYTES  (DIST_CONTROL_MAX + DIST_HEAD_BYTES) /* of an oversize message */

struct dist_message {
	UT_hash_handle hh;
	uint64_t sequence;
	uint64_t next;      /* the number of the next fragment; 0: it is whole */
	uint64_t total_len; /* of what has come, as one frame with the same header */
	uint64_t limit;     /* not 0: oversize, and only KEPT_BYTES are kept */
	uint64_t together;  /* oversize because of all that is unfinished: what that came to */
	struct buf bytes;
};

bool dist_is_fragment(const uint8_t *p)
{
	return p[0] == TERM_VERSION && (p[1] == DIST_FRAG_HEADER || p[1] == DIST_FRAG_CONT);
}

static struct dist_message *find(const struct dist *d, uint64_t sequence)
{
	struct dist_message *m;

	HASH_FIND(hh, d->unfinished, &sequence, sizeof sequence, m);
	return m;
}

static struct dist_message *begin(struct dist *d, uint64_t sequence)
{
	struct dist_message *m;

	if (HASH_COUNT(d->unfinished) >= DIST_UNFINISHED_MAX) {
		(void)dist_refuse(d, "more than %d messages are begun and not finished",
				  DIST_UNFINISHED_MAX);
		return NULL;
	}
	if ((m = mem_zalloc(sizeof *m)) == NULL)
		goto no_memory;
	m->sequence = sequence;
	m->total_len = 3; /* 131, 68, 0 */
	HASH_ADD(hh, d->unfinished, sequence, sizeof m->sequence, m);
	if (m->hh.tbl != NULL)
		return m;
	mem_free(m);
no_memory:
	(void)dist_refuse(d, "no memory for a message in fragments");
	return NULL;
}

/* From here on only its first bytes are kept. */
static void make_oversize(struct dist *d, struct dist_message *m, uint64_t limit)
{
	uint8_t *data;

	m->limit = limit;
	if (m->bytes.len > KEPT_BYTES) {
		d->unfinished_bytes -= m->bytes.len - KEPT_BYTES;
		m->bytes.len = KEPT_BYTES;
	}
	if (m->bytes.cap > KEPT_BYTES && (data = mem_realloc(m->bytes.data, KEPT_BYTES)) != NULL) {
		m->bytes.data = data;
		m->bytes.cap = KEPT_BYTES;
	}
}

enum dist_step dist_fragment(struct dist *d, const uint8_t *p, size_t have, size_t len)
{
	bool first = p[1] == DIST_FRAG_HEADER;
	size_t head = first ? FIRST_BYTES : HEAD_BYTES, body = len - head;
	uint64_t sequence, number;
	struct dist_message *m;

	if (len < head)
		return dist_refuse(d, "a fragment of %zu bytes, expected %zu at least", len, head);
	if (have < head)
		return STEP_MORE;
	sequence = get_u64(p + 2);
	number = get_u64(p + 10);
	m = find(d, sequence);
	if (first && p[HEAD_BYTES] != 0)
		return dist_refuse(d, "a fragment with %u atom cache references, not negotiated",
				   p[HEAD_BYTES]);
	if (first && (m != NULL || number == 0))
		return dist_refuse(d, "message %llu in fragments begins %s, with fragment %llu",
				   (unsigned long long)sequence,
				   m != NULL ? "before its last one has ended" : "at its end",
				   (unsigned long long)number);
	if (!first && m == NULL)
		return dist_refuse(
			d, "fragment %llu of message %llu, of which the first has never come",
			(unsigned long long)number, (unsigned long long)sequence);
	if (!first && number != m->next)
		return dist_refuse(d, "fragment %llu of message %llu, expected number %llu",
				   (unsigned long long)number, (unsigned long long)sequence,
				   (unsigned long long)m->next);
	if (first && (m = begin(d, sequence)) == NULL)
		return STEP_AGAIN;
	m->next = number - 1;
	m->total_len += body;
	if (m->total_len > d->config.max_frame)
		return dist_refuse(d, "a message of more than %llu bytes, over the limit of %zu",
				   (unsigned long long)m->total_len, d->config.max_frame);
	if (m->limit == 0 && m->total_len > d->config.max_message) {
		make_oversize(d, m, d->config.max_message);
	} else if (m->limit == 0 && d->config.max_unfinished > 0 &&
		   d->unfinished_bytes + body > d->config.max_unfinished) {
		m->together = d->unfinished_bytes + body;
		make_oversize(d, m, d->config.max_unfinished);
	}
	if (first && m->limit == 0 && number <= d->config.max_message / DIST_FRAGMENT_BYTES)
		buf_expect(&m->bytes, body + (size_t)(number - 1) * DIST_FRAGMENT_BYTES);
	d->head += 4 + head;
	d->filling = m;
	d->fill_left = body;
	return STEP_AGAIN;
}

/* How many of the bytes to come are to be kept. */
static size_t to_keep(const struct dist *d)
{
	const struct dist_message *m = d->filling;
	size_t left = m->limit != 0 ? KEPT_BYTES - m->bytes.len : SIZE_MAX;

	return d->fill_left < left ? d->fill_left : left;
}

static enum dist_step fragment_end(struct dist *d, struct dist_event *ev)
{
	struct dist_message *m = d->filling;
	struct dist_signal s = { .at = m->bytes.data != NULL ? m->bytes.data : (const uint8_t *)"",
				 .len = m->bytes.len,
				 .total_len = m->together != 0 ? m->together : m->total_len,
				 .limit = m->limit };

	d->filling = NULL;
	d->room =
		DIST_ROOM_MIN; /* the head of the next fragment comes: what follows it has a better place */
	if (m->next > 0)
		return STEP_AGAIN;
	HASH_DEL(d->unfinished, m);
	d->unfinished_bytes -= m->bytes.len;
	d->whole = m;
	return dist_signal(d, &s, ev);
}

enum dist_step dist_fill(struct dist *d, struct dist_event *ev)
{
	size_t have = d->in.len - d->head, n = have < d->fill_left ? have : d->fill_left;
	size_t keep = to_keep(d);

	if (keep > n)
		keep = n;
	buf_put(&d->filling->bytes, d->in.data + d->head, keep);
	if (d->filling->bytes.err != 0)
		return dist_refuse(d, "no memory for a message in fragments");
	d->unfinished_bytes += keep;
	d->head += n;
	d->fill_left -= n;
	return d->fill_left > 0 ? STEP_MORE : fragment_end(d, ev);
}

uint8_t *dist_fill_room(struct dist *d, size_t *room)
{
	struct buf *b;
	size_t want;

	d->direct = false;
	if (d->phase != PHASE_UP || d->filling == NULL || d->in.len > d->head)
		return NULL;
	b = &d->filling->bytes;
	want = to_keep(d);
	if (want < DIST_ROOM_MIN) /* as well with what comes after it */
		return NULL;
	/* as much again as has arrived, but at least a usual fragment */
	if (b->len < DIST_FRAGMENT_BYTES && want > DIST_FRAGMENT_BYTES)
		want = DIST_FRAGMENT_BYTES;
	else if (b->len >= DIST_FRAGMENT_BYTES && want > b->len)
		want = b->len;
	if (b->cap - b->len < DIST_ROOM_MIN && buf_reserve(b, want) != 0)
		return NULL; /* told by dist_fill() */
	*room = b->cap - b->len < want ? b->cap - b->len : want;
	d->direct = true;
	return b->data + b->len;
}

void dist_filled(struct dist *d, size_t n)
{
	assert(d->filling != NULL && n <= d->fill_left &&
	       n <= d->filling->bytes.cap - d->filling->bytes.len);
	d->direct = false;
	d->filling->bytes.len += n;
	d->fill_left -= n;
	d->unfinished_bytes += n;
}

static void forget(struct dist_message *m)
{
	buf_free(&m->bytes);
	mem_free(m);
}

struct buf *dist_whole_bytes(struct dist *d)
{
	return &d->whole->bytes;
}

struct span dist_whole(const struct dist *d)
{
	if (d->whole == NULL)
		return (struct span){ NULL, 0 };
	return (struct span){ d->whole->bytes.data, d->whole->bytes.len };
}

void dist_forget_whole(struct dist *d)
{
	if (d->whole == NULL)
		return;
	forget(d->whole);
	d->whole = NULL;
}

void dist_forget_unfinished(struct dist *d)
{
	struct dist_message *m, *next;

	HASH_ITER(hh, d->unfinished, m, next)
	{
		HASH_DEL(d->unfinished, m);
		forget(m);
	}
	d->filling = NULL;
	d->unfinished_bytes = 0;
}

size_t dist_unfinished(const struct dist *d, size_t *bytes)
{
	*bytes = d->unfinished_bytes;
	return HASH_COUNT(d->unfinished);
}
