/* stress_join.c - fragments of large messages to whole frames, as a BEAM puts them together.
 *
 * Nothing of it is dist_join.c's. Fragments of several messages may come interleaved, those of one in
 * order, counting down to 1; the first has the control message. The whole is given back as the frame that
 * it would have been: 131, 68, 0 and all bodies. */
#include "stress_wire.h"

#include <string.h>

#define FIRST 69
#define MORE  70
#define HEAD  18

static struct wire_part *find(struct wire_join *j, uint64_t sequence)
{
	for (unsigned i = 0; i < j->count; i++)
		if (j->parts[i].sequence == sequence)
			return &j->parts[i];
	return NULL;
}

static const char *take(struct wire_join *j, const uint8_t *p, size_t len, struct wire_part **found)
{
	size_t head = p[1] == FIRST ? HEAD + 1 : HEAD;
	struct wire_part *part;

	*found = NULL;
	if (len <= head)
		return "a fragment without bytes";
	part = find(j, get_u64(p + 2));
	if (p[1] == FIRST) {
		if (part != NULL || p[HEAD] != 0)
			return "a message in fragments that begins twice, or with cached atoms";
		if (j->count == WIRE_PARTS_MAX)
			return "fragments of too many messages at once";
		part = &j->parts[j->count++];
		*part = (struct wire_part){ .sequence = get_u64(p + 2), .next = get_u64(p + 10) };
		buf_put(&part->bytes, "\x83\x44\0", 3);
	}
	if (part == NULL || part->next != get_u64(p + 10) || part->next == 0)
		return "a fragment out of order";
	part->next--;
	buf_put(&part->bytes, p + head, len - head);
	*found = part;
	return NULL;
}

const char *wire_take_fragment(struct wire_join *j, const uint8_t *p, size_t len, struct buf *whole)
{
	struct wire_part *part;
	const char *why = take(j, p, len, &part);

	*whole = (struct buf){ 0 };
	if (why != NULL || part->next > 0)
		return why;
	*whole = part->bytes;
	*part = j->parts[--j->count];
	return NULL;
}

bool wire_is_fragment(const uint8_t *p, size_t len)
{
	return len >= 2 && p[0] == 131 && (p[1] == FIRST || p[1] == MORE);
}

void wire_join_close(struct wire_join *j)
{
	while (j->count > 0)
		buf_free(&j->parts[--j->count].bytes);
}
