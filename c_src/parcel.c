/* parcel.c - a large frame on its way to a worker; see parcel.h. */
#include "parcel.h"

#include "mem.h"

#include <assert.h>

void parcel_from(struct parcel_parts *parts, const uint8_t *at, size_t len)
{
	size_t share = len / PARCEL_FRACTION;

	*parts = (struct parcel_parts){ .from = at,
					.to = at != NULL ? at + len : NULL,
					.least = share > PARCEL_APART ? share : PARCEL_APART };
}

unsigned parcel_put(struct parcel_parts *parts, const uint8_t *at, size_t len, size_t place)
{
	assert(parts->count < FRAME_PARTS_MAX && len <= (size_t)(parts->to - at));
	parts->at[parts->count] = place;
	parts->part[parts->count] = (struct iovec){ .iov_base = (void *)at, .iov_len = len };
	parts->bytes += len;
	return parts->count++;
}

static void add(struct parcel *p, const void *data, size_t len)
{
	p->piece[p->pieces++] = (struct iovec){ .iov_base = (void *)data, .iov_len = len };
	p->len += len;
}

struct parcel *parcel_new(struct buf *text, const struct parcel_parts *parts, struct share *held)
{
	static const uint8_t padding[FRAME_PARTS_AT];
	struct parcel *p = mem_alloc(sizeof *p);
	struct buf head;

	assert(text->err == 0 && text->len > FRAME_LENGTH_BYTES);
	if (p == NULL)
		return NULL;
	*p = (struct parcel){ .owners = 1, .held = held };
	if (held == NULL) {
		add(p, text->data, text->len);
	} else {
		head = (struct buf){ .data = p->head, .cap = sizeof p->head };
		frame_put_parts(&head, text->len - FRAME_LENGTH_BYTES, parts->part, parts->count);
		add(p, p->head, head.len);
		add(p, text->data + FRAME_LENGTH_BYTES, text->len - FRAME_LENGTH_BYTES);
		if (p->len < FRAME_PARTS_AT)
			add(p, padding, FRAME_PARTS_AT - p->len);
		for (unsigned i = 0; i < parts->count; i++)
			add(p, parts->part[i].iov_base, parts->part[i].iov_len);
		if (p->len - FRAME_LENGTH_BYTES > UINT32_MAX) {
			mem_free(p);
			return NULL;
		}
		put_u32(p->head, (uint32_t)(p->len - FRAME_LENGTH_BYTES));
	}
	p->text = *text;
	*text = (struct buf){ .limit = text->limit };
	return p;
}

struct parcel *parcel_hold(struct parcel *p)
{
	p->owners++;
	return p;
}

void parcel_drop(struct parcel *p)
{
	if (p == NULL || --p->owners > 0)
		return;
	share_drop(p->held);
	buf_free(&p->text);
	mem_free(p);
}
