/* transcode_name.c - atoms, pids and their kin in their one canonical form.
 *
 * Peers of different age write the same pid in different ways (PID, NEW_PID; its node's name in
 * Latin-1 or UTF-8). Python compares them by their bytes, and so do we when keys are compared, so they
 * get the one form of frame.h: what is 8 bits of creation becomes 32, ids become as wide as can be. */
#include "transcode_private.h"

#include <assert.h>

struct span atom_utf8(const uint8_t *atom, uint8_t room[2 * TERM_ATOM_MAX])
{
	struct span text;
	bool latin1;
	bool is_atom = term_atom(atom, &text, &latin1);
	size_t n = 0;

	assert(is_atom);
	if (!latin1 || ascii_only(text.at, text.len))
		return text;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < 0x80) {
			room[n++] = text.at[i];
		} else {
			room[n++] = (uint8_t)(0xc0 | text.at[i] >> 6);
			room[n++] = (uint8_t)(0x80 | (text.at[i] & 0x3f));
		}
	}
	return (struct span){ room, n };
}

enum word atom_word(struct span text)
{
	if (text.len == 4 && memcmp(text.at, "true", 4) == 0)
		return WORD_TRUE;
	if (text.len == 5 && memcmp(text.at, "false", 5) == 0)
		return WORD_FALSE;
	return text.len == 3 && memcmp(text.at, "nil", 3) == 0 ? WORD_NIL : WORD_NONE;
}

/* Writes the atom at `t` and moves it past; returns the end of what was written. */
static uint8_t *put_atom(uint8_t *out, const uint8_t **t)
{
	uint8_t room[2 * TERM_ATOM_MAX];
	struct span text = atom_utf8(*t, room);

	if (text.len <= 255) {
		*out++ = TAG_SMALL_ATOM_UTF8;
		*out++ = (uint8_t)text.len;
	} else {
		*out++ = TAG_ATOM_UTF8;
		put_u16(out, (unsigned)text.len);
		out += 2;
	}
	memcpy(out, text.at, text.len);
	*t = term_skip(*t);
	return out + text.len;
}

/* Copies `n` bytes. */
static uint8_t *put_bytes(uint8_t *out, const uint8_t **t, size_t n)
{
	memcpy(out, *t, n);
	*t += n;
	return out + n;
}

/* A creation of one byte (`old`) or four. */
static uint8_t *put_creation(uint8_t *out, const uint8_t **t, bool old)
{
	if (!old)
		return put_bytes(out, t, 4);
	put_u32(out, *(*t)++);
	return out + 4;
}

static uint8_t *put_reference(uint8_t *out, const uint8_t *t)
{
	bool old = *t == TAG_NEW_REFERENCE;
	size_t words = get_u16(t + 1);

	*out++ = TAG_NEWER_REFERENCE;
	put_u16(out, (unsigned)words);
	t += 3;
	out = put_atom(out + 2, &t);
	out = put_creation(out, &t, old);
	return put_bytes(out, &t, 4 * words);
}

static uint8_t *put_port(uint8_t *out, const uint8_t *t)
{
	uint8_t tag = *t++;

	*out++ = TAG_V4_PORT;
	out = put_atom(out, &t);
	if (tag == TAG_V4_PORT)
		return put_bytes(out, &t, 12);
	put_u32(out, 0);
	out = put_bytes(out + 4, &t, 4);
	return put_creation(out, &t, tag == TAG_PORT);
}

size_t name_canonical(const uint8_t *t, uint8_t out[NAME_BYTES_MAX])
{
	uint8_t *w = out;

	switch (*t) {
	case TAG_PID:
	case TAG_NEW_PID: {
		bool old = *t++ == TAG_PID;

		*w++ = TAG_NEW_PID;
		w = put_atom(w, &t);
		w = put_bytes(w, &t, 8);
		return (size_t)(put_creation(w, &t, old) - out);
	}
	case TAG_NEW_REFERENCE:
	case TAG_NEWER_REFERENCE:
		return (size_t)(put_reference(w, t) - out);
	case TAG_EXPORT:
		*w++ = *t++;
		w = put_atom(w, &t);
		w = put_atom(w, &t);
		return (size_t)(put_bytes(w, &t, 2) - out);
	default:
		return (size_t)(put_port(w, t) - out);
	}
}
