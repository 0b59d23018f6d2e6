/* config_text.c - what of a file's text is refused before libConfuse sees it.
 *
 * libConfuse 3.3 takes the end of the file for every brace that is missing, skips bytes that it does not
 * know, counts a line too many for each block comment, puts nothing for a variable that is not set, and,
 * as its lexer is global, goes on inside a string that an earlier file has left open. So what could lead to
 * that is found here, with the line; comments become spaces. What is left of the language: names, numbers
 * and words as they are, texts in "double quotes" (\" \\ \n \t, and ${NAME} or ${NAME:-default} from the
 * environment) or in 'single quotes' (\' \\), both within a line, `=`, `{`, `}`, `,`. */
#include "config_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
	char *at, *end;
	unsigned line;
	unsigned depth, opened; /* braces, and the line of the last one at depth 0 */
	struct config_wrong *why;
};

static int wrong(struct text *t, const char *found, const char *expected)
{
	config_wrong_as(t->why, NULL, found, expected);
	t->why->line = t->line;
	return -EINVAL;
}

static int wrong_byte(struct text *t, unsigned char byte)
{
	char found[32];

	snprintf(found, sizeof found, "a byte 0x%02x", byte);
	return wrong(t, found, "text");
}

static bool is_control(char c)
{
	return ((unsigned char)c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

/* To the end of the line, which stays. */
static int line_comment(struct text *t)
{
	for (; t->at < t->end && *t->at != '\n'; t->at++) {
		if (is_control(*t->at))
			return wrong_byte(t, (unsigned char)*t->at);
		*t->at = ' ';
	}
	return 0;
}

static int block_comment(struct text *t)
{
	unsigned line = t->line;

	for (; t->end - t->at >= 2 && memcmp(t->at, "*/", 2) != 0; t->at++) {
		if (is_control(*t->at))
			return wrong_byte(t, (unsigned char)*t->at);
		if (*t->at == '\n')
			t->line++;
		else
			*t->at = ' ';
	}
	if (t->end - t->at < 2) {
		t->line = line;
		return wrong(t, "/*", "*/ where the comment ends");
	}
	*t->at++ = ' ';
	*t->at++ = ' ';
	return 0;
}

/* ${NAME} or ${NAME:-default}, at its dollar. */
static int variable(struct text *t)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
	char name[128], found[160];
	size_t len = strspn(t->at + 2, letters);
	char *end = t->at + 2 + len;
	bool has_default = strncmp(end, ":-", 2) == 0;

	if (has_default)
		for (end += 2; *end != '\0' && strchr("}\"\\\n", *end) == NULL; end++)
			if (is_control(*end))
				return wrong_byte(t, (unsigned char)*end);
	if (len == 0 || len >= sizeof name || *end != '}')
		return wrong(t, "${",
			     "${NAME} or ${NAME:-default}, or single quotes around the text");
	memcpy(name, t->at + 2, len);
	name[len] = '\0';
	if (!has_default && getenv(name) == NULL) {
		snprintf(found, sizeof found, "${%s}", name);
		return wrong(t, found,
			     "a variable that is set, ${NAME:-default}, or single quotes "
			     "around the text");
	}
	t->at = end + 1;
	return 0;
}

/* From the opening quote to behind the closing one. */
static int quoted(struct text *t)
{
	char quote = *t->at++;
	int rc;

	while (t->at < t->end && *t->at != quote) {
		if (*t->at == '\n')
			break;
		if (is_control(*t->at))
			return wrong_byte(t, (unsigned char)*t->at);
		if (quote == '"' && *t->at == '\\' &&
		    (t->at + 1 == t->end || strchr("\"\\nt", t->at[1]) == NULL || t->at[1] == '\0'))
			return wrong(t, "a backslash",
				     "\\\", \\\\, \\n or \\t, or single quotes around the text");
		if (quote == '"' && t->at[0] == '$' && t->at[1] == '{') {
			if ((rc = variable(t)) != 0)
				return rc;
		} else if (*t->at == '\\' && t->end - t->at >= 2 && t->at[1] != '\n') {
			if (is_control(t->at[1]))
				return wrong_byte(t, (unsigned char)t->at[1]);
			t->at += 2;
		} else {
			t->at++;
		}
	}
	if (t->at == t->end || *t->at != quote)
		return wrong(t, "a text without its closing quote", "one that ends in its line");
	t->at++;
	return 0;
}

static int closing(struct text *t)
{
	if (t->depth == 0)
		return wrong(t, "\"}\"", "a section, node { ... } or pool NAME { ... }");
	t->depth--;
	t->at++;
	return 0;
}

/* One byte outside of quotes and comments, which means something by itself. */
static int symbol(struct text *t)
{
	char found[4] = { '"', *t->at, '"', '\0' };

	switch (*t->at) {
	case '{':
		if (t->depth++ == 0)
			t->opened = t->line;
		t->at++;
		return 0;
	case '}':
		return closing(t);
	case '\n':
		t->line++;
		t->at++;
		return 0;
	case '\r':
		*t->at++ = ' ';
		return 0;
	case '$':
		if (t->at[1] == '{')
			return wrong(t, "${", "double quotes around it");
		t->at++;
		return 0;
	case '*':
	case '+':
	case '(':
	case ')':
	case '|':
	case '\\':
		return wrong(t, found, "quotes around it");
	default:
		if (is_control(*t->at))
			return wrong_byte(t, (unsigned char)*t->at);
		t->at++;
		return 0;
	}
}

int config_text_check(char *text, size_t len, struct config_wrong *why)
{
	struct text t = { .at = text, .end = text + len, .line = 1, .why = why };
	int rc = 0;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		memset(text, ' ', 3); /* a byte order mark */
	while (t.at < t.end && rc == 0) {
		if (*t.at == '#' || (t.at[0] == '/' && t.at[1] == '/'))
			rc = line_comment(&t);
		else if (t.at[0] == '/' && t.at[1] == '*')
			*t.at = ' ', *++t.at = ' ', t.at++, rc = block_comment(&t);
		else if (*t.at == '"' || *t.at == '\'')
			rc = quoted(&t);
		else
			rc = symbol(&t);
	}
	if (rc == 0 && t.depth > 0) {
		char found[64];

		snprintf(found, sizeof found, "the end of the file after the \"{\" of line %u",
			 t.opened);
		rc = wrong(&t, found, "a \"}\" before it");
	}
	return rc;
}
