/* dist_split.c - large messages of ours to fragments, and who is sent when.
 *
 * What is small goes to the output and from there to the peer, in order. A message of more than 128 KiB
 * to a peer that knows fragments is taken out of the output as soon as it is complete, and its memory
 * with it, so nothing is copied; it becomes a part of a flow. Large binaries in it need not be in that memory
 * at all: then it has holes, and they are sent from where they were received. The owner takes from the output
 * first and then, a fragment or two at a time, from the flows in turn: so a small signal waits for those
 * at most, however large the messages are and however many. What is not too large for that goes in one
 * frame, as a BEAM copies fragments together.
 *
 *   output:  [frame][frame][frame]                              small, at once
 *   flows:   to <4.1.0>:  [large part: 3 of 60 sent] -> [raw part: frames that must not overtake it]
 *            to <9.1.0>:  [large part: 1 of 5 sent]            in turn, one fragment each
 *            to <9.7.0>:  [whole part: one frame]
 *
 * A flow's turn comes when what stood in the output before its first part is on its way. Signals to one process
 * stay in order: while a part to it waits, what is said to it later goes to the
 * end of the same flow. A flow is found by a 64-bit key of its receiver; two receivers with the same key
 * only wait for each other. Key 0: a message that depends on no other.
 *
 * The happy path: dist_end() -> dist_route() makes a part -> dist_take_pieces() says where the next bytes
 * lie -> the owner writes them -> dist_pieces_sent(), which frees what is through -> ... -> the last part
 * is taken, the flow is gone.
 * What can go wrong: no memory for a flow. Then the message stays in the output and goes out whole, which
 * a peer must accept too; but behind a part to the same process it cannot, and is refused or, if it is a
 * signal, the connection is lost. A sequence that was begun is always finished, whatever happens to who
 * waits for it: the protocol knows no way to give it up. */
#include "dist_private.h"

#include "mem.h"
#include "parcel.h"
#define uthash_malloc(size)    mem_alloc(size)
#define uthash_free(ptr, size) mem_free(ptr)
#define HASH_NONFATAL_OOM      1
#include <uthash.h>

#include <assert.h>
#include <errno.h>

#define SKIPPED    7    /* length:32, 131, 68, 0: each fragment has a head of its own instead */
#define COPIED_MAX 4096 /* up to here a part is copied, whatever stands before it */

/* Pieces of memory, at most, of a fragment and of a whole message. What lies apart is longer than a fragment. */
#define FRAGMENT_PIECES \
	4 /* its head; the end of one binary, what is between, the begin of the next one */
#define WHOLE_PIECES (2 * (DIST_WHOLE_BYTES / PARCEL_APART) + 1)
_Static_assert(PARCEL_APART + 1 > DIST_PART_BYTES, "pieces of a fragment");
_Static_assert(WHOLE_PIECES <= DIST_PIECES_MAX, "a whole message always fits");
_Static_assert(FRAGMENT_PIECES <= DIST_PIECES_MAX, "a fragment always fits");

struct dist_part {
	struct list link; /* in a flow's parts, or in `taken` */
	struct buf bytes;
	size_t at;          /* what is before it has been taken */
	size_t size;        /* bytes that have not been taken, those of the holes included */
	uint64_t sequence;  /* of its fragments; 0: whole frames */
	uint64_t left;      /* fragments that have not been taken */
	bool begun, closed; /* closed: no frames may be added to it */
	struct share
		*held; /* where the binaries lie that belong into its holes; NULL: it has none */
	unsigned holes, hole;
	size_t in_hole; /* bytes taken of that one, at whose place `at` is */
	struct {
		size_t at; /* in `bytes` */
		struct iovec data;
	} filling[FRAME_PARTS_MAX];
};

struct dist_flow {
	UT_hash_handle hh; /* by key, unless that is 0 */
	uint64_t key;
	uint64_t after;   /* so many outputs: what was said to the process before is in those */
	struct list link; /* in dist.flows, in turn */
	struct list parts;
};

static struct dist_flow *find(const struct dist *d, uint64_t key)
{
	struct dist_flow *f = NULL;

	if (key != 0)
		HASH_FIND(hh, d->flow_of, &key, sizeof key, f);
	return f;
}

static void flow_free(struct dist *d, struct dist_flow *f)
{
	if (f->key != 0) {
		assert(d->flow_of != NULL); /* it is in there */
		HASH_DEL(d->flow_of, f);
	}
	list_remove(&f->link);
	mem_free(f);
}

static struct dist_flow *flow_new(struct dist *d, uint64_t key)
{
	struct dist_flow *f = mem_zalloc(sizeof *f);

	if (f == NULL)
		return NULL;
	f->key = key;
	f->after = d->outputs + 1;
	list_init(&f->parts);
	if (key != 0) {
		HASH_ADD(hh, d->flow_of, key, sizeof f->key, f);
		if (f->hh.tbl == NULL) {
			mem_free(f);
			return NULL;
		}
	}
	list_append(&d->flows, &f->link);
	return f;
}

static void part_free(struct dist_part *part)
{
	list_remove(&part->link);
	buf_free(&part->bytes);
	share_drop(part->held);
	mem_free(part);
}

/* A part of what stands in the output from `start` on, which then ends there. Whatever is less is moved:
 * what stands before it, or itself. NULL: no memory, and nothing has changed. It has no holes yet. */
static struct dist_part *cut(struct dist *d, size_t start)
{
	struct dist_part *part = mem_zalloc(sizeof *part);
	size_t len = d->out.len - start;
	bool move = start < len && len > COPIED_MAX;
	struct buf copy = { 0 };

	if (part == NULL)
		return NULL;
	part->size = len;
	if (move) {
		buf_put(&copy, d->out.data, start);
		part->at = start;
	} else {
		buf_put(&copy, d->out.data + start, len);
	}
	if (copy.err != 0) {
		mem_free(part);
		return NULL;
	}
	if (move) {
		copy.limit = d->out.limit;
		part->bytes = d->out;
		part->bytes.limit = 0;
		d->out = copy;
	} else {
		part->bytes = copy;
		d->out.len = start;
	}
	return part;
}

/* The last part of the flow, if frames may still be added to it. */
static struct dist_part *open_part(struct dist_flow *f)
{
	struct dist_part *last;

	if (list_empty(&f->parts))
		return NULL;
	last = list_entry(f->parts.prev, struct dist_part, link);
	return last->sequence == 0 && !last->closed ? last : NULL;
}

static int follow(struct dist *d, struct dist_flow *f, size_t start)
{
	size_t len = d->out.len - start;
	struct dist_part *part = open_part(f);

	if (part != NULL) {
		buf_put(&part->bytes, d->out.data + start, len);
		if (part->bytes.err != 0)
			return part->bytes.err;
		part->size += len;
		d->out.len = start;
	} else {
		if ((part = cut(d, start)) == NULL)
			return -ENOMEM;
		list_append(&f->parts, &part->link);
	}
	d->flow_bytes += len;
	return 0;
}

/* A large message: in fragments, or whole. */
static int split(struct dist *d, struct dist_flow *f, uint64_t key, size_t start,
		 const struct parcel_parts *apart, struct share *held)
{
	bool fresh = f == NULL;
	struct dist_part *part;

	if (fresh && (f = flow_new(d, key)) == NULL)
		return -ENOMEM;
	if ((part = cut(d, start)) == NULL) {
		if (fresh)
			flow_free(d, f);
		return -ENOMEM;
	}
	part->closed = true;
	for (; apart != NULL && part->holes < apart->count; part->holes++) {
		part->filling[part->holes].at = apart->at[part->holes] - start + part->at;
		part->filling[part->holes].data = apart->part[part->holes];
		part->size += apart->part[part->holes].iov_len;
	}
	part->held = held;
	if (part->size > DIST_WHOLE_BYTES) {
		part->at += SKIPPED;
		part->size -= SKIPPED;
		part->sequence = ++d->sequences;
		part->left = (part->size - 1) / DIST_PART_BYTES + 1;
	}
	list_append(&f->parts, &part->link);
	d->flow_bytes += part->size;
	return 0;
}

int dist_route(struct dist *d, size_t start, uint64_t key, bool has_message,
	       const struct parcel_parts *apart, struct share *held)
{
	struct dist_flow *f = find(d, key);
	int rc;

	if (apart != NULL)
		return split(d, f, key, start, apart, held);
	if (has_message && dist_fragments(d) && d->out.len - start > DIST_INLINE_BYTES)
		rc = split(d, f, key, start, NULL, NULL);
	else
		rc = f != NULL ? follow(d, f, start) : 0;
	return f != NULL ? rc : 0; /* else it goes out whole */
}

/* Takes the next `len` bytes of the part, which are there; returns in how many pieces. */
static size_t take(struct dist_part *part, size_t len, struct dist_piece *pieces)
{
	size_t n = 0;

	assert(len <= part->size);
	part->size -= len;
	while (len > 0) {
		bool ahead = part->hole < part->holes;
		size_t till = ahead ? part->filling[part->hole].at : part->bytes.len, some;
		const struct iovec *hole = &part->filling[part->hole].data;

		if (part->at < till) {
			some = till - part->at < len ? till - part->at : len;
			pieces[n++] = (struct dist_piece){ part->bytes.data + part->at, some };
			part->at += some;
		} else {
			assert(ahead);
			some = hole->iov_len - part->in_hole;
			some = some < len ? some : len;
			pieces[n++] = (struct dist_piece){
				(const uint8_t *)hole->iov_base + part->in_hole, some
			};
			if ((part->in_hole += some) == hole->iov_len) {
				part->hole++;
				part->in_hole = 0;
			}
		}
		len -= some;
	}
	return n;
}

/* Takes the next fragment of the part: its head, which is written to `head`, and its body. */
static size_t take_fragment(struct dist_part *part, uint8_t *head, struct dist_piece *pieces)
{
	size_t len = part->left > 1 ? DIST_PART_BYTES : part->size;
	size_t head_len = part->begun ? 4 + 18 : 4 + 19;

	put_u32(head, (uint32_t)(head_len - 4 + len));
	head[4] = TERM_VERSION;
	head[5] = part->begun ? DIST_FRAG_CONT : DIST_FRAG_HEADER;
	put_u64(head + 6, part->sequence);
	put_u64(head + 14, part->left);
	head[22] = 0; /* atom cache references; of the first only */
	pieces[0] = (struct dist_piece){ head, head_len };
	part->begun = true;
	part->left--;
	return 1 + take(part, len, pieces + 1);
}

void dist_output_taken(struct dist *d)
{
	d->outputs++;
}

/* The flow whose turn it is; NULL: none. Those that have to wait for the output are the newest, and stand
 * together: they join the others at the next one that is taken. */
static struct dist_flow *next_flow(struct dist *d)
{
	struct list *pos, *next;

	list_each (pos, next, &d->flows) {
		struct dist_flow *f = list_entry(pos, struct dist_flow, link);

		if (f->after <= d->outputs)
			return f;
	}
	return NULL;
}

size_t dist_take_pieces(struct dist *d, size_t bytes, struct dist_piece pieces[DIST_PIECES_MAX])
{
	size_t n = 0, heads = 0;
	struct dist_flow *f;

	assert(list_empty(&d->taken) && d->taken_bytes == 0);
	while ((n == 0 || d->taken_bytes + DIST_PART_BYTES <= bytes) &&
	       (f = next_flow(d)) != NULL) {
		struct dist_part *part = list_entry(f->parts.next, struct dist_part, link);
		size_t before = part->size;

		if (n + (part->sequence != 0 ? FRAGMENT_PIECES : 2 * part->holes + 1) >
		    DIST_PIECES_MAX)
			break;
		if (part->sequence != 0)
			n += take_fragment(part, d->heads[heads++], pieces + n);
		else
			n += take(part, part->size, pieces + n);
		d->taken_bytes += before - part->size;
		list_remove(&f->link);
		list_append(&d->flows, &f->link);
		if (part->left == 0) {
			list_remove(&part->link);
			list_append(&d->taken, &part->link);
		}
		if (list_empty(&f->parts))
			flow_free(d, f);
	}
	return n;
}

void dist_pieces_sent(struct dist *d)
{
	d->flow_bytes -= d->taken_bytes;
	d->taken_bytes = 0;
	while (!list_empty(&d->taken))
		part_free(list_entry(d->taken.next, struct dist_part, link));
}

size_t dist_pieces_left(const struct dist *d)
{
	return d->flow_bytes;
}

void dist_forget_flows(struct dist *d)
{
	while (!list_empty(&d->taken))
		part_free(list_entry(d->taken.next, struct dist_part, link));
	while (!list_empty(&d->flows)) {
		struct dist_flow *f = list_entry(d->flows.next, struct dist_flow, link);

		while (!list_empty(&f->parts))
			part_free(list_entry(f->parts.next, struct dist_part, link));
		flow_free(d, f);
	}
}
