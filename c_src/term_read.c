/* term_read.c - readers of checked terms; see term.h. No end pointers: term_check() was here. */
#include "term_tags.h"

#include <assert.h>

enum term_kind term_kind(const uint8_t *t)
{
	switch (*t) {
	case TAG_SMALL_INTEGER:
	case TAG_INTEGER:
		return TERM_INT;
	case TAG_SMALL_BIG:
	case TAG_LARGE_BIG:
		return TERM_BIG;
	case TAG_NEW_FLOAT:
	case TAG_FLOAT:
		return TERM_FLOAT;
	case TAG_SMALL_ATOM_UTF8:
	case TAG_ATOM_UTF8:
	case TAG_SMALL_ATOM:
	case TAG_ATOM:
		return TERM_ATOM;
	case TAG_BINARY:
		return TERM_BINARY;
	case TAG_BIT_BINARY:
		return TERM_BITS;
	case TAG_NIL:
		return TERM_NIL;
	case TAG_LIST:
		return TERM_LIST;
	case TAG_STRING:
		return TERM_STRING;
	case TAG_SMALL_TUPLE:
	case TAG_LARGE_TUPLE:
		return TERM_TUPLE;
	case TAG_MAP:
		return TERM_MAP;
	case TAG_PID:
	case TAG_NEW_PID:
		return TERM_PID;
	case TAG_NEW_REFERENCE:
	case TAG_NEWER_REFERENCE:
		return TERM_REF;
	case TAG_PORT:
	case TAG_NEW_PORT:
	case TAG_V4_PORT:
		return TERM_PORT;
	case TAG_EXPORT:
		return TERM_EXPORT;
	default:
		assert(*t == TAG_NEW_FUN);
		return TERM_FUN;
	}
}

static const uint8_t *skip_atom(const uint8_t *t)
{
	if (*t == TAG_SMALL_ATOM_UTF8 || *t == TAG_SMALL_ATOM)
		return t + 2 + t[1];
	return t + 3 + get_u16(t + 1);
}

/* Past the head of one term; `todo` grows by its elements. */
static inline __attribute__((always_inline)) const uint8_t *skip_one(const uint8_t *t,
								     uint64_t *todo)
{
	switch (*t) {
	case TAG_SMALL_INTEGER:
		return t + 2;
	case TAG_INTEGER:
		return t + 5;
	case TAG_NEW_FLOAT:
		return t + 9;
	case TAG_FLOAT:
		return t + 32;
	case TAG_SMALL_ATOM_UTF8:
	case TAG_SMALL_ATOM:
	case TAG_ATOM_UTF8:
	case TAG_ATOM:
		return skip_atom(t);
	case TAG_NIL:
		return t + 1;
	case TAG_LIST:
		*todo += (uint64_t)get_u32(t + 1) + 1;
		return t + 5;
	case TAG_SMALL_TUPLE:
		*todo += t[1];
		return t + 2;
	case TAG_LARGE_TUPLE:
		*todo += get_u32(t + 1);
		return t + 5;
	case TAG_MAP:
		*todo += 2 * (uint64_t)get_u32(t + 1);
		return t + 5;
	case TAG_BINARY:
		return t + 5 + get_u32(t + 1);
	case TAG_BIT_BINARY:
		return t + 6 + get_u32(t + 1);
	case TAG_STRING:
		return t + 3 + get_u16(t + 1);
	case TAG_SMALL_BIG:
		return t + 3 + t[1];
	case TAG_LARGE_BIG:
		return t + 6 + get_u32(t + 1);
	case TAG_PID:
		return skip_atom(t + 1) + 9;
	case TAG_NEW_PID:
	case TAG_V4_PORT:
		return skip_atom(t + 1) + 12;
	case TAG_PORT:
		return skip_atom(t + 1) + 5;
	case TAG_NEW_PORT:
		return skip_atom(t + 1) + 8;
	case TAG_NEW_REFERENCE:
		return skip_atom(t + 3) + 1 + 4 * get_u16(t + 1);
	case TAG_NEWER_REFERENCE:
		return skip_atom(t + 3) + 4 + 4 * get_u16(t + 1);
	case TAG_EXPORT:
		return skip_atom(skip_atom(t + 1)) + 2;
	default:
		assert(*t == TAG_NEW_FUN);
		return t + 1 + get_u32(t + 1);
	}
}

const uint8_t *term_skip_head(const uint8_t *t, uint64_t *todo)
{
	return skip_one(t, todo);
}

const uint8_t *term_skip(const uint8_t *t)
{
	for (uint64_t todo = 1; todo > 0; todo--)
		t = skip_one(t, &todo);
	return t;
}

struct span term_span(const uint8_t *t)
{
	return (struct span){ t, (size_t)(term_skip(t) - t) };
}

struct span term_big(const uint8_t *t, bool *negative)
{
	bool small = *t == TAG_SMALL_BIG;
	size_t len = small ? t[1] : get_u32(t + 1);
	const uint8_t *digits = t + (small ? 3 : 6);

	*negative = digits[-1] != 0;
	while (len > 0 && digits[len - 1] == 0)
		len--;
	return (struct span){ digits, len };
}

bool term_big_fits(const uint8_t *digits, size_t len, bool negative, int64_t *value)
{
	uint64_t magnitude = 0;

	if (len > 8)
		return false;
	while (len-- > 0)
		magnitude = magnitude << 8 | digits[len];
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return false;
	*value = (int64_t)(negative ? 0 - magnitude : magnitude);
	return true;
}

bool term_int(const uint8_t *t, int64_t *value)
{
	struct span digits;
	bool negative;

	switch (*t) {
	case TAG_SMALL_INTEGER:
		*value = t[1];
		return true;
	case TAG_INTEGER:
		*value = (int32_t)get_u32(t + 1);
		return true;
	case TAG_SMALL_BIG:
	case TAG_LARGE_BIG:
		digits = term_big(t, &negative);
		return term_big_fits(digits.at, digits.len, negative, value);
	default:
		return false;
	}
}

bool term_atom(const uint8_t *t, struct span *text, bool *latin1)
{
	bool old = false;

	switch (*t) {
	case TAG_SMALL_ATOM:
		old = true; /* fall through */
	case TAG_SMALL_ATOM_UTF8:
		*text = (struct span){ t + 2, t[1] };
		break;
	case TAG_ATOM:
		old = true; /* fall through */
	case TAG_ATOM_UTF8:
		*text = (struct span){ t + 3, get_u16(t + 1) };
		break;
	default:
		return false;
	}
	if (latin1 != NULL)
		*latin1 = old;
	else if (old && !ascii_only(text->at, text->len))
		return false;
	return true;
}

bool term_is_atom(const uint8_t *t, const char *name)
{
	struct span text;
	size_t len = strlen(name);

	return term_atom(t, &text, NULL) && text.len == len && memcmp(text.at, name, len) == 0;
}

bool term_binary(const uint8_t *t, struct span *bytes)
{
	if (*t != TAG_BINARY)
		return false;
	*bytes = (struct span){ t + 5, get_u32(t + 1) };
	return true;
}

bool term_tuple(const uint8_t *t, uint32_t *arity, const uint8_t **first)
{
	if (*t == TAG_SMALL_TUPLE) {
		*arity = t[1];
		*first = t + 2;
		return true;
	}
	if (*t != TAG_LARGE_TUPLE)
		return false;
	*arity = get_u32(t + 1);
	*first = t + 5;
	return true;
}

bool term_list(const uint8_t *t, uint32_t *count, const uint8_t **first)
{
	if (*t == TAG_NIL) {
		*count = 0;
		*first = NULL;
		return true;
	}
	if (*t != TAG_LIST)
		return false;
	*count = get_u32(t + 1);
	*first = t + 5;
	return true;
}

bool term_map(const uint8_t *t, uint32_t *pairs, const uint8_t **first)
{
	if (*t != TAG_MAP)
		return false;
	*pairs = get_u32(t + 1);
	*first = t + 5;
	return true;
}

const uint8_t *term_map_get(const uint8_t *map, const char *key)
{
	const uint8_t *at;
	uint32_t pairs;

	if (map == NULL || !term_map(map, &pairs, &at))
		return NULL;
	while (pairs-- > 0) {
		const uint8_t *value = term_skip(at);

		if (term_is_atom(at, key))
			return value;
		at = term_skip(value);
	}
	return NULL;
}

uint64_t term_map_uint(const uint8_t *map, const char *key)
{
	const uint8_t *value = term_map_get(map, key);
	int64_t n;

	return value != NULL && term_int(value, &n) && n > 0 ? (uint64_t)n : 0;
}

bool term_pid(const uint8_t *t, struct term_pid *pid)
{
	struct span node;
	bool latin1;

	if ((*t != TAG_PID && *t != TAG_NEW_PID) || !term_atom(t + 1, &node, &latin1))
		return false;
	pid->node = (const char *)node.at;
	pid->node_len = (uint16_t)node.len;
	pid->id = get_u32(node.at + node.len);
	pid->serial = get_u32(node.at + node.len + 4);
	pid->creation = *t == TAG_PID ? node.at[node.len + 8] : get_u32(node.at + node.len + 8);
	return true;
}

bool term_pid_equal(const struct term_pid *a, const struct term_pid *b)
{
	return a->id == b->id && a->serial == b->serial && a->creation == b->creation &&
	       a->node_len == b->node_len && memcmp(a->node, b->node, a->node_len) == 0;
}
