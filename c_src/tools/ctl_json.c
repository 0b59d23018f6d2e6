/* ctl_json.c - terms as JSON. Every term has a form:
 *
 *   integer, float          a number, of any size
 *   true, false             true, false
 *   nil, undefined          null
 *   other atom              a string
 *   binary                  a string; one that is no UTF-8: {"$bytes": "BASE64"}
 *   bits                    {"$bits": "BASE64", "unused": N}, N bits of the last byte
 *   list, tuple             an array
 *   improper list           {"$improper": [ELEMENT, ..., TAIL]}
 *   map                     an object, if all keys are atoms or all are texts; else
 *                           {"$map": [[KEY, VALUE], ...]}
 *   pid, reference, port    a string: <NODE.ID.SERIAL>, #Ref<NODE.N.N.N>, #Port<NODE.N>
 *   fun                     a string: fun M:F/A, #Fun<M>
 *
 * Control characters are escaped, those over U+007F too, and what turns the direction of writing. A term
 * that is nested deeper than JSON_DEPTH_MAX has the string "..." there. */
#include "ctl.h"

#include "mem.h"
#include "term_tags.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void put(struct buf *out, const char *text)
{
	buf_put(out, text, strlen(text));
}

static void put_base64(struct buf *out, struct span s)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < s.len; i += 3) {
		uint32_t v = (uint32_t)s.at[i] << 16;
		char four[4];

		v |= i + 1 < s.len ? (uint32_t)s.at[i + 1] << 8 : 0;
		v |= i + 2 < s.len ? s.at[i + 2] : 0;
		for (unsigned k = 0; k < 4; k++)
			four[k] = letters[v >> (18 - 6 * k) & 63];
		if (i + 1 >= s.len)
			four[2] = '=';
		if (i + 2 >= s.len)
			four[3] = '=';
		buf_put(out, four, 4);
	}
}

static void put_string(struct buf *out, const uint8_t *at, size_t len)
{
	struct buf safe = { 0 };

	buf_put_u8(out, '"');
	for (size_t i = 0; i < len; i++) {
		uint8_t c = at[i];
		uint32_t wide =
			c < 0x80                  ? c
			: c < 0xe0 && i + 1 < len ? (c & 0x1fu) << 6 | (at[i + 1] & 0x3fu)
			: c < 0xf0 && i + 2 < len
				? (c & 0x0fu) << 12 | (at[i + 1] & 0x3fu) << 6 | (at[i + 2] & 0x3fu)
				: 0x10000;
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

		buf_reset(&safe, 64);
		text_safe(&safe, at + i, n, false);
		if (c == '"' || c == '\\')
			text_put(out, "\\%c", c);
		else if (c == '\n' || c == '\t' || c == '\r')
			text_put(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
		else if (safe.len != n || memcmp(safe.data, at + i, n) != 0)
			text_put(out, "\\u%04" PRIx32, wide);
		else
			buf_put(out, at + i, n);
		i += n - 1;
	}
	buf_put_u8(out, '"');
	buf_free(&safe);
}

void ctl_json_text(struct buf *out, const void *text, size_t len)
{
	if (term_utf8(text, len)) {
		put_string(out, text, len);
		return;
	}
	put(out, "{\"$bytes\":\"");
	put_base64(out, (struct span){ text, len });
	put(out, "\"}");
}

/* Latin-1, as the oldest atoms are. */
static void put_latin1(struct buf *out, struct span s)
{
	struct buf utf8 = { 0 };

	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] >= 0x80)
			buf_put_u8(&utf8, 0xc0u | s.at[i] >> 6);
		buf_put_u8(&utf8, s.at[i] < 0x80 ? s.at[i] : 0x80u | (s.at[i] & 0x3f));
	}
	put_string(out, utf8.data, utf8.len);
	buf_free(&utf8);
}

static void put_atom(struct buf *out, const uint8_t *t)
{
	bool latin1 = false;
	struct span s;

	if (term_is_atom(t, "true") || term_is_atom(t, "false")) {
		put(out, term_is_atom(t, "true") ? "true" : "false");
	} else if (term_is_atom(t, "nil") || term_is_atom(t, "undefined")) {
		put(out, "null");
	} else if (term_atom(t, &s, &latin1)) {
		if (latin1)
			put_latin1(out, s);
		else
			put_string(out, s.at, s.len);
	}
}

static void put_float(struct buf *out, double value)
{
	char text[40];
	int digits = 1;

	do /* the fewest that say it exactly */
		snprintf(text, sizeof text, "%.*g", digits, value);
	while (digits++ < 17 && strtod(text, NULL) != value);
	put(out, text);
	if (strpbrk(text, ".e") == NULL)
		put(out, ".0");
}

/* A magnitude of little-endian bytes to decimal digits, nine at a time. */
static void put_big(struct buf *out, const uint8_t *t)
{
	bool negative;
	struct span big = term_big(t, &negative);
	size_t words = big.len / 4 + 1;
	uint32_t *w = mem_zalloc(words * sizeof *w);
	struct buf parts = { 0 };

	if (w == NULL)
		ctl_no_memory();
	put(out, negative ? "-" : "");
	for (size_t i = 0; i < big.len; i++)
		w[i / 4] |= (uint32_t)big.at[i] << 8 * (i % 4);
	while (words > 0) {
		uint64_t rest = 0;

		for (size_t i = words; i-- > 0;) {
			rest = rest << 32 | w[i];
			w[i] = (uint32_t)(rest / 1000000000);
			rest %= 1000000000;
		}
		while (words > 0 && w[words - 1] == 0)
			words--;
		buf_put_u32(&parts, (uint32_t)rest);
	}
	for (size_t at = parts.len; at > 0; at -= 4)
		text_put(out, at == parts.len ? "%" PRIu32 : "%09" PRIu32,
			 get_u32(parts.data + at - 4));
	buf_free(&parts);
	mem_free(w);
}

/* The node's name in a reference or a port: the atom after its head. */
static void put_name_of(struct buf *text, const uint8_t *atom)
{
	bool latin1;
	struct span s;

	if (term_atom(atom, &s, &latin1))
		buf_put(text, s.at, s.len);
}

/* What has no elements and no value: a name for it. */
static void put_opaque(struct buf *out, const uint8_t *t)
{
	struct buf text = { 0 };
	struct term_pid pid;
	struct span s = term_span(t);
	const uint8_t *atom;

	switch (term_kind(t)) {
	case TERM_PID:
		if (term_pid(t, &pid))
			text_put(&text, "<%.*s.%" PRIu32 ".%" PRIu32 ">", pid.node_len, pid.node,
				 pid.id, pid.serial);
		break;
	case TERM_REF:
		atom = t +
		       3; /* tag, words:16, node, creation (of one byte in the older form), words */
		put(&text, "#Ref<");
		put_name_of(&text, atom);
		for (unsigned i = get_u16(t + 1); i-- > 0;)
			text_put(&text, ".%" PRIu32,
				 get_u32(s.at + s.len - 4 * (get_u16(t + 1) - i)));
		put(&text, ">");
		break;
	case TERM_PORT:
		put(&text, "#Port<");
		put_name_of(&text, t + 1);
		put(&text, ">");
		break;
	case TERM_EXPORT:
		put(&text, "fun ");
		put_name_of(&text, t + 1);
		put(&text, ":");
		put_name_of(&text, term_skip(t + 1));
		text_put(&text, "/%u", s.at[s.len - 1]);
		break;
	default:
		put(&text, "#Fun<>");
		break;
	}
	if (term_utf8(text.data, text.len))
		put_string(out, text.data, text.len);
	else
		put_latin1(out, (struct span){ text.data, text.len });
	buf_free(&text);
}

/* ---- what has elements ---- */

static const uint8_t *put_term(struct buf *out, const uint8_t *t, int indent, unsigned depth);

static void put_break(struct buf *out, int indent)
{
	if (indent < 0)
		return;
	put(out, "\n");
	for (int i = 0; i < indent; i++)
		put(out, "  ");
}

static int deeper(int indent)
{
	return indent < 0 ? indent : indent + 1;
}

/* `count` elements from `at` on, and a tail if there is one. */
static const uint8_t *put_array(struct buf *out, const uint8_t *at, uint32_t count, int indent,
				unsigned depth)
{
	put(out, "[");
	for (uint32_t i = 0; i < count; i++) {
		put(out, i > 0 ? "," : "");
		put_break(out, deeper(indent));
		at = put_term(out, at, deeper(indent), depth + 1);
	}
	if (count > 0)
		put_break(out, indent);
	put(out, "]");
	return at;
}

static void put_list(struct buf *out, const uint8_t *t, int indent, unsigned depth)
{
	const uint8_t *at = NULL, *tail;
	uint32_t count;

	if (!term_list(t, &count, &at))
		return;
	tail = at;
	for (uint32_t i = 0; i < count; i++)
		tail = term_skip(tail);
	if (count == 0 || term_kind(tail) == TERM_NIL) {
		put_array(out, at, count, indent, depth);
		return;
	}
	put(out, "{\"$improper\":");
	put_array(out, at, count + 1, indent, depth);
	put(out, "}");
}

static void put_string_list(struct buf *out, const uint8_t *t)
{
	put(out, "[");
	for (unsigned i = 0; i < get_u16(t + 1); i++)
		text_put(out, "%s%u", i > 0 ? "," : "", t[3 + i]);
	put(out, "]");
}

/* Whether all keys are atoms, or all are texts: no two of them can look the same then. */
static bool has_plain_keys(const uint8_t *at, uint32_t pairs)
{
	unsigned atoms = 0, texts = 0;
	struct span s;

	for (uint32_t i = 0; i < pairs; i++) {
		if (term_kind(at) == TERM_ATOM)
			atoms++;
		else if (term_binary(at, &s) && term_utf8(s.at, s.len))
			texts++;
		at = term_skip(term_skip(at));
	}
	return atoms == pairs || texts == pairs;
}

static void put_key(struct buf *out, const uint8_t *t)
{
	bool latin1 = false;
	struct span s;

	if (term_binary(t, &s) || (term_atom(t, &s, &latin1) && !latin1))
		put_string(out, s.at, s.len);
	else
		put_latin1(out, s);
}

static void put_map(struct buf *out, const uint8_t *t, int indent, unsigned depth)
{
	const uint8_t *at = NULL;
	uint32_t pairs;
	bool plain;

	if (!term_map(t, &pairs, &at))
		return;
	plain = has_plain_keys(at, pairs);
	put(out, plain ? "{" : "{\"$map\":[");
	for (uint32_t i = 0; i < pairs; i++) {
		put(out, i > 0 ? "," : "");
		put_break(out, deeper(indent));
		if (plain) {
			put_key(out, at);
			put(out, indent < 0 ? ":" : ": ");
			at = put_term(out, term_skip(at), deeper(indent), depth + 1);
		} else {
			at = put_array(out, at, 2, -1, depth + 1);
		}
	}
	if (pairs > 0)
		put_break(out, indent);
	put(out, plain ? "}" : "]}");
}

static void put_bits(struct buf *out, const uint8_t *t)
{
	put(out, "{\"$bits\":\"");
	put_base64(out, (struct span){ t + 6, get_u32(t + 1) });
	text_put(out, "\",\"unused\":%u}", 8u - t[5]);
}

static const uint8_t *put_term(struct buf *out, const uint8_t *t, int indent, unsigned depth)
{
	const uint8_t *at;
	struct span s;
	uint32_t count;
	int64_t n;
	double d;

	if (depth > JSON_DEPTH_MAX) {
		put(out, "\"...\"");
		return term_skip(t);
	}
	switch (term_kind(t)) {
	case TERM_INT:
	case TERM_BIG:
		if (term_int(t, &n))
			text_put(out, "%" PRId64, n);
		else
			put_big(out, t);
		break;
	case TERM_FLOAT:
		if (term_float(t, &d))
			put_float(out, d);
		break;
	case TERM_ATOM:
		put_atom(out, t);
		break;
	case TERM_BINARY:
		if (term_binary(t, &s))
			ctl_json_text(out, s.at, s.len);
		break;
	case TERM_BITS:
		put_bits(out, t);
		break;
	case TERM_NIL:
	case TERM_LIST:
		put_list(out, t, indent, depth);
		break;
	case TERM_STRING:
		put_string_list(out, t);
		break;
	case TERM_TUPLE:
		if (term_tuple(t, &count, &at))
			put_array(out, at, count, indent, depth);
		break;
	case TERM_MAP:
		put_map(out, t, indent, depth);
		break;
	default:
		put_opaque(out, t);
		break;
	}
	return term_skip(t);
}

void ctl_json_put(struct buf *out, const uint8_t *term, int indent)
{
	(void)put_term(out, term, indent, 0);
}
