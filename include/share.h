/* share.h - a buffer that several own: what lies in it goes from one socket to another without being copied.
 *
 *     share ---- a receive buffer: who received it, and all that is on its way from there
 *
 * It is counted, and whoever is the last to drop it frees it. */
#ifndef KRAIT_SHARE_H
#define KRAIT_SHARE_H

#include "buf.h"

struct share {
	unsigned owners;
	struct buf buf;
};

/* One owner; takes over what is in `buf`, which is empty afterwards. NULL: no memory, `buf` as it was. */
struct share *share_new(struct buf *buf) __attribute__((warn_unused_result));
struct share *share_hold(struct share *s); /* one owner more; returns `s` */
void share_drop(struct share *s);          /* NULL: nothing */

#endif
