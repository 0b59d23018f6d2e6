/* share.c - a buffer that several own; see share.h. */
#include "share.h"

#include "mem.h"

struct share *share_new(struct buf *buf)
{
	struct share *s = mem_alloc(sizeof *s);

	if (s == NULL)
		return NULL;
	*s = (struct share){ .owners = 1, .buf = *buf };
	*buf = (struct buf){ .limit = buf->limit };
	return s;
}

struct share *share_hold(struct share *s)
{
	s->owners++;
	return s;
}

void share_drop(struct share *s)
{
	if (s == NULL || --s->owners > 0)
		return;
	buf_free(&s->buf);
	mem_free(s);
}
