/* config_allow.c - what may be called, by name alone; see config_allows() in config.h.
 *
 * python/krait/_resolve.py has the same rule for the modules that a dotted function name walks
 * through, which only Python can see. */
#include "config.h"

#include <string.h>

bool config_split_expose(const char *item, struct config_expose *out)
{
	const char *equals = strchr(item, '='), *colon;

	if (equals == NULL || (colon = strchr(equals, ':')) == NULL)
		return false;
	out->name = item;
	out->name_len = (size_t)(equals - item);
	out->module = equals + 1;
	out->module_len = (size_t)(colon - equals) - 1;
	out->attr = colon + 1;
	out->attr_len = strlen(out->attr);
	return out->name_len > 0 && out->module_len > 0 && out->attr_len > 0;
}

/* Whether a segment of the dotted name begins with an underscore. */
static bool has_underscored(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (name[i] == '_' && (i == 0 || name[i - 1] == '.'))
			return true;
	return false;
}

/* Whether `text` matches `pattern`, in which '*' stands for any bytes. Linear but for one restart
 * point, the last star: O(pattern * text) at worst, both are short. */
bool config_matches(const char *pattern, const char *text, size_t len)
{
	const char *star = NULL;
	size_t i = 0, restart = 0;

	while (i < len) {
		if (*pattern == '*') {
			star = pattern++;
			restart = i;
		} else if (*pattern == text[i] && *pattern != '\0') {
			pattern++;
			i++;
		} else if (star != NULL) {
			pattern = star + 1;
			i = ++restart;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool is_exposed(const struct config_pool *c, const char *module, size_t len)
{
	for (uint64_t i = 0; i < c->expose.count; i++) {
		struct config_expose parts;

		if (config_split_expose(c->expose.item[i], &parts) && parts.name_len == len &&
		    memcmp(parts.name, module, len) == 0)
			return true;
	}
	return false;
}

bool config_allows(const struct config_pool *c, const char *module, size_t module_len,
		   const char *function, size_t function_len)
{
	char full[1024];
	size_t full_len = module_len + 1 + function_len;

	if (has_underscored(module, module_len) || has_underscored(function, function_len))
		return false;
	if (c->allow.count == 0 || is_exposed(c, module, module_len))
		return true;
	if (full_len > sizeof full)
		return false;
	memcpy(full, module, module_len);
	full[module_len] = '.';
	memcpy(full + module_len + 1, function, function_len);
	for (uint64_t i = 0; i < c->allow.count; i++)
		if (config_matches(c->allow.item[i], full, module_len) ||
		    config_matches(c->allow.item[i], full, full_len))
			return true;
	return false;
}
