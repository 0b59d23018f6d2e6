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

/* What references of the peer of `b` with `words` words begin with; its length. */
static size_t put_head(const struct books *b, size_t words, uint8_t out[REF_MAX])
{
	const char *name = dist_peer_name(peer_dist(b->peer));
	size_t len = strlen(name);

	if (len > UINT8_MAX)
		return 0;
	out[0] = TAG_NEWER_REFERENCE;
	put_u16(out + 1, (unsigned)words);
	out[3] = TAG_SMALL_ATOM_UTF8;
	out[4] = (uint8_t)len;
	memcpy(out + 5, name, len);
	put_u32(out + 5 + len, dist_peer_creation(peer_dist(b->peer)));
	return 5 + len + 4;
}

struct ref ref_of(const struct books *b, struct span ref)
{
	size_t words = ref.len > 3 ? get_u16(ref.at + 1) : 0, len;
	uint8_t head[REF_MAX];

	if (words == 0 || words > WORDS_MAX || (len = put_head(b, words, head)) == 0 ||
	    ref.len != len + 4 * words || memcmp(ref.at, head, len) != 0)
		return (struct ref){ ref, false };
	return (struct ref){ { ref.at + len, ref.len - len }, true };
}

struct span ref_whole(const struct books *b, struct ref ref, uint8_t room[REF_MAX])
{
	size_t len;

	if (!ref.is_short)
		return ref.bytes;
	len = put_head(b, ref.bytes.len / 4, room);
	assert(len > 0 && len + ref.bytes.len <= REF_MAX);
	memcpy(room + len, ref.bytes.at, ref.bytes.len);
	return (struct span){ room, len + ref.bytes.len };
}
