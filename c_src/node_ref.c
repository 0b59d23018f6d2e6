/* node_ref.c - references of peers, kept short.
 *
 *     90, words:16, 119, length, the peer's name, creation:32, | word:32, ...      NEWER_REFERENCE_EXT
 *
 * What a BEAM monitors us with and what the tags of its calls hold are references of its own: all of them
 * begin alike, and what is kept of each is the end. One of another node, or written in another way, is kept
 * as it came. */
#include "node_private.h"

#include "term_tags.h"

#include <assert.h>
#include <string.h>

#define WORDS_MAX 5

#define HEAD_BYTES 5 /* in front of the name */

struct ref ref_of(const struct books *b, struct span ref)
{
	const struct dist *d = peer_dist(b->peer);
	const char *name = dist_peer_name(d);
	size_t words = ref.len > HEAD_BYTES ? get_u16(ref.at + 1) : 0, len;

	if (words == 0 || words > WORDS_MAX || ref.at[0] != TAG_NEWER_REFERENCE ||
	    ref.at[3] != TAG_SMALL_ATOM_UTF8)
		return (struct ref){ ref, false };
	len = ref.at[4];
	if (ref.len != HEAD_BYTES + len + 4 + 4 * words ||
	    memcmp(ref.at + HEAD_BYTES, name, len) != 0 || name[len] != '\0' ||
	    get_u32(ref.at + HEAD_BYTES + len) != dist_peer_creation(d))
		return (struct ref){ ref, false };
	len += HEAD_BYTES + 4;
	return (struct ref){ { ref.at + len, ref.len - len }, true };
}

struct span ref_whole(const struct books *b, struct ref ref, uint8_t room[REF_MAX])
{
	const struct dist *d = peer_dist(b->peer);
	struct buf whole = { 0 };

	if (!ref.is_short)
		return ref.bytes;
	whole.data = room;
	whole.cap = REF_MAX;
	buf_put_u8(&whole, TAG_NEWER_REFERENCE);
	buf_put_u16(&whole, (unsigned)ref.bytes.len / 4);
	term_put_atom(&whole, dist_peer_name(d));
	buf_put_u32(&whole, dist_peer_creation(d));
	buf_put(&whole, ref.bytes.at, ref.bytes.len);
	assert(whole.data == room && whole.err == 0);
	return (struct span){ room, whole.len };
}
