/* transcode.c - the sink that both directions write to, and the paths of faults; see transcode.h.
 *
 * The sink writes to the end of a buffer without asking for every byte: whoever writes a scalar finds
 * SINK_SLACK bytes of room, whoever writes more asks first. So the limit is looked at when memory
 * grows, before anything long is copied, and at the end; what lies between is in memory already. */
#include "transcode_private.h"

#include "mem.h"
#include "parcel.h"

#include <errno.h>
#include <stdio.h>

#define KEY_TEXT 64 /* bytes of a key that a path shows */

enum transcode_fault sink_begin(struct sink *s, struct buf *out, size_t max_bytes)
{
	size_t max = max_bytes < UINT32_MAX ? max_bytes : UINT32_MAX; /* lengths have 32 bits */

	if (out->limit != 0 && out->limit - out->len < max)
		max = out->limit - out->len;
	*s = (struct sink){
		.out = out, .start = out->len, .max = max, .limit = out->limit, .what = ""
	};
	if (out->err != 0)
		return out->err == -ENOMEM ? TRANSCODE_NO_MEMORY : TRANSCODE_TOO_LARGE;
	out->limit = 0; /* `max` is exact; with SINK_SLACK the buffer's own would not be */
	if (buf_reserve(out, SINK_SLACK) != 0) {
		sink_end(s, false);
		return TRANSCODE_NO_MEMORY;
	}
	s->w = out->data + out->len;
	s->end = out->data + out->cap;
	return TRANSCODE_OK;
}

void sink_apart(struct sink *s, struct parcel_parts *apart)
{
	s->apart = apart;
	s->apart_before = apart != NULL ? apart->bytes : 0;
}

size_t sink_total(const struct sink *s)
{
	return sink_used(s) + (s->apart != NULL ? s->apart->bytes - s->apart_before : 0);
}

enum transcode_fault sink_more(struct sink *s, size_t n)
{
	struct buf *out = s->out;

	s->seen = sink_total(s);
	if (s->seen > s->max)
		return TRANSCODE_TOO_LARGE;
	out->len = s->start + sink_used(s);
	if (buf_reserve(out, n) != 0)
		return TRANSCODE_NO_MEMORY;
	s->w = out->data + out->len;
	s->end = out->data + out->cap;
	return TRANSCODE_OK;
}

enum transcode_fault sink_long(struct sink *s, size_t n)
{
	s->seen = sink_total(s) + n;
	if (s->seen > s->max)
		return TRANSCODE_TOO_LARGE;
	return sink_has(s, n + SINK_SLACK) ? TRANSCODE_OK : sink_more(s, n + SINK_SLACK);
}

void sink_end(struct sink *s, bool keep)
{
	struct buf *out = s->out;

	out->len = keep ? s->start + sink_used(s) : s->start;
	out->limit = s->limit;
	out->err = 0; /* as it was at the beginning */
}

void offsets_init(struct offsets *o)
{
	o->at = o->few;
	o->len = 0;
	o->cap = sizeof o->few / sizeof o->few[0];
}

void offsets_close(struct offsets *o)
{
	if (o->at != o->few)
		mem_free(o->at);
}

int offsets_grow(struct offsets *o)
{
	bool first = o->at == o->few;
	size_t *at = mem_realloc(first ? NULL : o->at, 2 * o->cap * sizeof *at);

	if (at == NULL)
		return -ENOMEM;
	if (first)
		memcpy(at, o->few, sizeof o->few);
	o->at = at;
	o->cap *= 2;
	return 0;
}

void path_init(struct path *p)
{
	p->at = sizeof p->text - 1;
	p->text[p->at] = '\0';
	p->full = false;
}

/* Puts a piece in front, or as much of its end as there is room for. */
static void path_piece(struct path *p, const char *text, size_t len)
{
	if (p->full)
		return;
	if (len > p->at) {
		p->full = true;
		text += len - p->at;
		len = p->at;
	}
	p->at -= len;
	memcpy(p->text + p->at, text, len);
}

void path_index(struct path *p, uint64_t index)
{
	char text[32];
	int len = snprintf(text, sizeof text, "[%llu]", (unsigned long long)index);

	path_piece(p, text, (size_t)len);
}

/* A number in brackets, "[k]" for keys that have no short form. */
static void path_odd_key(struct path *p, const uint8_t *key)
{
	char text[40] = "[k]";
	struct span digits;
	bool negative;
	double real;
	int64_t n;

	if (key != NULL && term_int(key, &n))
		snprintf(text, sizeof text, "[%lld]", (long long)n);
	else if (key != NULL && term_float(key, &real))
		snprintf(text, sizeof text, "[%.17g]", real);
	else if (key != NULL && term_kind(key) == TERM_BIG)
		if ((digits = term_big(key, &negative)).len == 8 && !negative) {
			uint64_t u = 0;

			for (size_t i = 8; i-- > 0;)
				u = u << 8 | digits.at[i];
			snprintf(text, sizeof text, "[%llu]", (unsigned long long)u);
		}
	path_piece(p, text, strlen(text));
}

void path_key(struct path *p, const uint8_t *key)
{
	uint8_t room[2 * TERM_ATOM_MAX];
	struct span text;

	if (key != NULL && term_kind(key) == TERM_ATOM) {
		text = atom_utf8(key, room);
	} else if (key == NULL || !term_binary(key, &text) || !term_utf8(text.at, text.len)) {
		path_odd_key(p, key);
		return;
	}
	if (text.len > KEY_TEXT)
		for (text.len = KEY_TEXT; (text.at[text.len] & 0xc0) == 0x80;)
			text.len--;
	path_piece(p, (const char *)text.at, text.len);
	path_piece(p, ".", 1);
}

void path_finish(struct path *p, const char *root, struct transcode_error *err)
{
	path_piece(p, root, strlen(root));
	if (p->full) {
		p->at += 3;
		while ((p->text[p->at] & 0xc0) == 0x80)
			p->at++;
		p->at -= 3;
		memcpy(p->text + p->at, "...", 3);
	}
	memcpy(err->where, p->text + p->at, sizeof p->text - p->at);
}
