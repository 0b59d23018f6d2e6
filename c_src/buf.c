/* buf.c - a growing byte buffer with a sticky error; see buf.h. */
#include "buf.h"

#include "large.h"
#include "mem.h"

#include <assert.h>
#include <errno.h>

#define BUF_MIN 64

void buf_free(struct buf *b)
{
	large_free(b->data, b->cap);
	*b = (struct buf){ .limit = b->limit };
}

void buf_reset(struct buf *b, size_t keep)
{
	if (b->cap > keep) {
		buf_free(b);
	} else {
		b->len = 0;
		b->err = 0;
	}
}

int buf_reserve(struct buf *b, size_t n)
{
	size_t cap = b->cap > BUF_MIN ? b->cap : BUF_MIN;
	uint8_t *data;

	if (b->err != 0)
		return b->err;
	if (n > SIZE_MAX / 2 - b->len || (b->limit != 0 && b->len + n > b->limit))
		return b->err = -EMSGSIZE;
	if (b->cap - b->len >= n)
		return 0;
	if (b->len + n < LARGE_BYTES)
		while (cap - b->len < n)
			cap *= 2;
	else if (cap + cap / 4 > b->len + n) /* large blocks grow without being copied */
		cap += cap / 4;
	else
		cap = b->len + n;
	if (b->limit != 0 && cap > b->limit)
		cap = b->limit;
	if ((data = large_grow(b->data, b->len, &b->cap, cap)) == NULL)
		return b->err = -ENOMEM;
	b->data = data;
	return 0;
}

void buf_expect(struct buf *b, size_t n)
{
	size_t cap;
	uint8_t *data;

	if (b->err != 0 || b->cap - b->len >= n || (b->limit != 0 && b->len + n > b->limit) ||
	    (data = large_take(b->len + n, &cap)) == NULL)
		return;
	if (b->len > 0)
		memcpy(data, b->data, b->len);
	large_free(b->data, b->cap);
	b->data = data;
	b->cap = cap;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	if (n > 0 && n < b->len)
		memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

void buf_put_slow(struct buf *b, const void *data, size_t n)
{
	if (buf_reserve(b, n) != 0)
		return;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
}
