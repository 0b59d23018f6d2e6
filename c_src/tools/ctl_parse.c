/* ctl_parse.c - JSON as terms: the arguments of `call`, values of `set`, ids of sessions.
 *
 *   number               integer of any size; with . or e a float
 *   true, false, null    true, false, nil
 *   string               binary
 *   array                list
 *   object               map with binaries as keys, but for these, of one key each:
 *                        {"$atom": "ok"}  {"$tuple": [...]}  {"$bytes": "BASE64"}  {"$map": [[K, V], ...]}
 *
 * A parser by recursive descent, JSON_DEPTH_MAX deep at most. The text is the operator's own. */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct parse {
	const char *at;
	const char *wrong; /* what was expected; NULL: nothing is wrong */
};

static bool value(struct parse *p, struct buf *out, unsigned depth);

static bool expected(struct parse *p, const char *what)
{
	if (p->wrong == NULL)
		p->wrong = what;
	return false;
}

static void blanks(struct parse *p)
{
	p->at += strspn(p->at, " \t\r\n");
}

static bool take(struct parse *p, char c)
{
	blanks(p);
	if (*p->at != c)
		return false;
	p->at++;
	return true;
}

/* ---- strings ---- */

static void put_char(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_put_u8(out, c);
		return;
	}
	if (c >= 0x10000)
		buf_put_u8(out, 0xf0 | c >> 18);
	if (c >= 0x800)
		buf_put_u8(out, c >= 0x10000 ? 0x80 | (c >> 12 & 63) : 0xe0 | c >> 12);
	buf_put_u8(out, c >= 0x800 ? 0x80 | (c >> 6 & 63) : 0xc0 | c >> 6);
	buf_put_u8(out, 0x80 | (c & 63));
}

static bool hex4(struct parse *p, uint32_t *c)
{
	*c = 0;
	for (unsigned i = 0; i < 4; i++, p->at++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		const char *at = *p->at != '\0' ? strchr(digits, *p->at) : NULL;

		if (at == NULL)
			return expected(p, "four hexadecimal digits after \\u");
		*c = *c << 4 | (uint32_t)((at - digits) & 15);
	}
	return true;
}

static bool escape(struct parse *p, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint32_t c, low;

	if (*p->at == 'u') {
		p->at++;
		if (!hex4(p, &c))
			return false;
		if (c >= 0xd800 && c < 0xdc00) {
			if (p->at[0] != '\\' || p->at[1] != 'u')
				return expected(p, "the second half of a surrogate pair");
			p->at += 2;
			if (!hex4(p, &low))
				return false;
			c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
		}
		put_char(out, c);
		return true;
	}
	if (*p->at == '\0' || (at = strchr(from, *p->at)) == NULL)
		return expected(p, "one of \"\\/bfnrtu after a backslash");
	buf_put_u8(out, (uint8_t)to[at - from]);
	p->at++;
	return true;
}

/* The text of a string, without its quotes. */
static bool string(struct parse *p, struct buf *out)
{
	if (!take(p, '"'))
		return expected(p, "a text in quotes");
	while (*p->at != '"') {
		if ((uint8_t)*p->at < 0x20)
			return expected(p, *p->at == '\0' ? "a closing quote"
							  : "no control character in a text");
		if (*p->at == '\\') {
			p->at++;
			if (!escape(p, out))
				return false;
		} else {
			buf_put_u8(out, (uint8_t)*p->at++);
		}
	}
	p->at++;
	return term_utf8(out->data, out->len) || expected(p, "UTF-8");
}

/* ---- numbers ---- */

/* Decimal digits as SMALL_BIG or LARGE_BIG. */
static void put_big(struct buf *out, const char *digits, size_t len, bool negative)
{
	struct buf bytes = { 0 };

	for (size_t i = 0; i < len; i++) {
		unsigned carry = (unsigned)(digits[i] - '0');

		for (size_t k = 0; k < bytes.len; k++, carry >>= 8) {
			carry += bytes.data[k] * 10u;
			bytes.data[k] = (uint8_t)carry;
		}
		if (carry > 0)
			buf_put_u8(&bytes, carry);
	}
	if (bytes.len <= UINT8_MAX) {
		buf_put_u8(out, 110);
		buf_put_u8(out, (unsigned)bytes.len);
	} else {
		buf_put_u8(out, 111);
		buf_put_u32(out, (uint32_t)bytes.len);
	}
	buf_put_u8(out, negative);
	buf_put(out, bytes.data, bytes.len);
	buf_free(&bytes);
}

static bool number(struct parse *p, struct buf *out)
{
	const char *start = p->at, *digits = start + (*start == '-');
	size_t len = strspn(digits, "0123456789");
	const char *rest = digits + len;
	char *end;
	int64_t n;
	double d;

	if (len == 0 || (len > 1 && digits[0] == '0'))
		return expected(p, "a number without leading zeros");
	if (*rest == '.' || *rest == 'e' || *rest == 'E') {
		d = strtod(start, &end);
		if (*rest == '.' && strspn(rest + 1, "0123456789") == 0)
			return expected(p, "digits after the point");
		if (d - d != 0)
			return expected(p, "a number that a double can hold");
		term_put_float(out, d);
		p->at = end;
		return true;
	}
	errno = 0;
	n = strtoll(start, &end, 10);
	if (errno == 0)
		term_put_int(out, n);
	else
		put_big(out, digits, len, *start == '-');
	p->at = rest;
	return true;
}

/* ---- arrays and objects ---- */

/* Elements up to the closing bracket; counts them. */
static bool elements(struct parse *p, struct buf *out, uint32_t *count, unsigned depth)
{
	if (!take(p, '['))
		return expected(p, "an array");
	*count = 0;
	if (take(p, ']'))
		return true;
	do {
		if (!value(p, out, depth + 1))
			return false;
		++*count;
	} while (take(p, ','));
	return take(p, ']') || expected(p, "a comma or ] after an element");
}

static bool array(struct parse *p, struct buf *out, unsigned depth)
{
	struct buf inside = { 0 };
	uint32_t count;
	bool ok = elements(p, &inside, &count, depth);

	term_put_list(out, ok ? count : 0);
	if (ok && count > 0) {
		buf_put(out, inside.data, inside.len);
		term_put_nil(out);
	}
	buf_free(&inside);
	return ok;
}

static bool tuple(struct parse *p, struct buf *out, unsigned depth)
{
	struct buf inside = { 0 };
	uint32_t count;
	bool ok = elements(p, &inside, &count, depth);

	term_put_tuple(out, ok ? count : 0);
	if (ok)
		buf_put(out, inside.data, inside.len);
	buf_free(&inside);
	return ok;
}

/* [[K, V], ...] */
static bool pairs(struct parse *p, struct buf *out, unsigned depth)
{
	struct buf inside = { 0 };
	uint32_t count = 0, two;
	bool ok = take(p, '[') || expected(p, "an array of [KEY, VALUE]");

	if (ok && !take(p, ']')) {
		do {
			ok = elements(p, &inside, &two, depth) &&
			     (two == 2 || expected(p, "[KEY, VALUE]"));
			count++;
		} while (ok && take(p, ','));
		ok = ok && (take(p, ']') || expected(p, "a comma or ] after a pair"));
	}
	term_put_map(out, ok ? count : 0);
	if (ok)
		buf_put(out, inside.data, inside.len);
	buf_free(&inside);
	return ok;
}

static bool atom(struct parse *p, struct buf *out)
{
	struct buf text = { 0 };
	bool ok = string(p, &text);
	size_t start = out->len;

	if (ok) {
		term_put_atom_n(out, (const char *)text.data, text.len);
		ok = (out->err == 0 &&
		      term_check(out->data + start, out->len - start, NULL) == 0) ||
		     expected(p, "an atom of at most 255 characters");
	}
	buf_free(&text);
	return ok;
}

static bool base64(struct parse *p, struct buf *out)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct buf text = { 0 }, data = { 0 };
	bool ok = string(p, &text);
	uint32_t bits = 0;
	unsigned have = 0;

	while (text.len > 0 && text.data[text.len - 1] == '=')
		text.len--;
	for (size_t i = 0; ok && i < text.len; i++) {
		const char *at = text.data[i] != 0 ? strchr(letters, text.data[i]) : NULL;

		if (at == NULL) {
			ok = expected(p, "base64");
			break;
		}
		bits = bits << 6 | (uint32_t)(at - letters);
		if ((have += 6) >= 8)
			buf_put_u8(&data, (uint8_t)(bits >> (have -= 8)));
	}
	term_put_binary(out, data.data, data.len);
	buf_free(&text);
	buf_free(&data);
	return ok;
}

/* The value of an object with one key that has a meaning; false in *is when it has none. */
static bool special(struct parse *p, const struct buf *key, struct buf *out, unsigned depth,
		    bool *is)
{
	static const char *const names[] = { "$atom", "$tuple", "$bytes", "$map" };
	unsigned i = 0;
	bool ok;

	while (i < 4 &&
	       (strlen(names[i]) != key->len || memcmp(names[i], key->data, key->len) != 0))
		i++;
	if (!(*is = i < 4))
		return true;
	ok = i == 0   ? atom(p, out)
	     : i == 1 ? tuple(p, out, depth)
	     : i == 2 ? base64(p, out)
		      : pairs(p, out, depth);
	return ok && (take(p, '}') || expected(p, "nothing beside $atom, $tuple, $bytes or $map"));
}

static bool object(struct parse *p, struct buf *out, unsigned depth)
{
	struct buf inside = { 0 }, key = { 0 };
	bool ok = take(p, '{'), is = false;
	uint32_t count = 0;

	if (!take(p, '}')) {
		do {
			buf_reset(&key, 4096);
			ok = string(p, &key) && (take(p, ':') || expected(p, "a colon"));
			if (ok && count == 0 && !(ok = special(p, &key, out, depth, &is)))
				break;
			if (is)
				break;
			term_put_binary(&inside, key.data, key.len);
			ok = ok && value(p, &inside, depth + 1);
			count++;
		} while (ok && take(p, ','));
		if (ok && !is)
			ok = take(p, '}') || expected(p, "a comma or } after a value");
	}
	if (ok && !is) {
		term_put_map(out, count);
		buf_put(out, inside.data, inside.len);
	}
	buf_free(&inside);
	buf_free(&key);
	return ok;
}

static bool word(struct parse *p, const char *text, const char *name, struct buf *out)
{
	if (strncmp(p->at, text, strlen(text)) != 0)
		return false;
	p->at += strlen(text);
	term_put_atom(out, name);
	return true;
}

static bool value(struct parse *p, struct buf *out, unsigned depth)
{
	struct buf text = { 0 };
	bool ok;

	blanks(p);
	if (depth > JSON_DEPTH_MAX)
		return expected(p, "at most 200 levels");
	if (*p->at == '[')
		return array(p, out, depth);
	if (*p->at == '{')
		return object(p, out, depth);
	if (*p->at == '-' || (*p->at >= '0' && *p->at <= '9'))
		return number(p, out);
	if (*p->at != '"')
		return word(p, "true", "true", out) || word(p, "false", "false", out) ||
		       word(p, "null", "nil", out) ||
		       expected(p, "JSON (a text has its quotes: '\"text\"')");
	ok = string(p, &text);
	term_put_binary(out, text.data, text.len);
	buf_free(&text);
	return ok;
}

bool ctl_json_parse(const char *text, struct buf *out, char *error, size_t size)
{
	struct parse p = { text, NULL };
	size_t start = out->len;
	bool ok = value(&p, out, 0);

	blanks(&p);
	if (ok && *p.at != '\0')
		ok = expected(&p, "nothing more");
	if (out->err != 0)
		ctl_no_memory();
	if (!ok) {
		out->len = start;
		snprintf(error, size, "\"%.60s\", at character %zu: expected %s", text,
			 (size_t)(p.at - text) + 1, p.wrong);
	}
	return ok;
}
