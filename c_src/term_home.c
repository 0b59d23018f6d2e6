/* term_home.c - what a BEAM may be told of its own processes, ports and references; see term_home.h.
 *
 * One pass over the heads of the term: what they hold is not looked at but for the four kinds of identifiers. */
#include "term_home.h"

#include "term_tags.h"

#define FIRST_BITS 18 /* of a reference's first word, always */

static bool fits(uint64_t n, unsigned bits)
{
	return n >> bits == 0;
}

enum term_ids term_ids_of(const uint8_t *alias)
{
	return get_u16(alias + 1) <= 3 ? TERM_IDS_NARROW : TERM_IDS_WIDE;
}

static bool is_name(const struct term_home *h, struct span name)
{
	return name.len == h->node_len && memcmp(name.at, h->node, name.len) == 0;
}

bool term_home_is(const struct term_home *h, const struct term_pid *pid)
{
	return is_name(h, (struct span){ (const uint8_t *)pid->node, pid->node_len });
}

static bool fits_pid(const struct term_home *h, uint32_t id, uint32_t serial)
{
	return h->ids == TERM_IDS_NARROW ? fits(id, 15) && fits(serial, 13) : fits(id, 28);
}

bool term_home_has(const struct term_home *h, const struct term_pid *pid)
{
	return term_home_is(h, pid) && pid->creation == h->creation &&
	       fits_pid(h, pid->id, pid->serial);
}

static bool reads_pid(const struct term_home *h, const uint8_t *t)
{
	struct term_pid pid = { 0 };

	return !term_pid(t, &pid) || !term_home_is(h, &pid) || pid.creation != h->creation ||
	       fits_pid(h, pid.id, pid.serial);
}

static bool reads_port(const struct term_home *h, const uint8_t *t)
{
	struct span name = { 0 };
	const uint8_t *id;
	uint32_t creation;

	if (!term_atom(t + 1, &name, NULL) || !is_name(h, name))
		return true;
	id = name.at + name.len;
	creation = *t == TAG_PORT ? id[4] : get_u32(id + (*t == TAG_V4_PORT ? 8 : 4));
	return creation != h->creation || fits(*t == TAG_V4_PORT ? get_u64(id) : get_u32(id),
					       h->ids == TERM_IDS_NARROW ? 28 : 60);
}

static bool reads_ref(const struct term_home *h, const uint8_t *t)
{
	struct span name = { 0 };
	const uint8_t *creation;
	unsigned words = get_u16(t + 1);

	if (*t == TAG_NEW_REFERENCE || !term_atom(t + 3, &name, NULL) || !is_name(h, name))
		return true; /* a creation of two bits is none of those who are connected */
	creation = name.at + name.len;
	return get_u32(creation) != h->creation || (fits(get_u32(creation + 4), FIRST_BITS) &&
						    (words <= 3 || h->ids != TERM_IDS_NARROW));
}

/* Past the head of a fun, to its creator; behind that are `*todo` more. */
static const uint8_t *fun_creator(const uint8_t *t, uint64_t *todo)
{
	*todo += 1 + (uint64_t)get_u32(t + FUN_FREE_AT);
	return term_skip(term_skip(term_skip(t + FUN_HEAD)));
}

bool term_home_reads(const struct term_home *h, const uint8_t *t)
{
	for (uint64_t todo = 1; todo > 0; todo--) {
		switch (*t) {
		case TAG_PID:
		case TAG_NEW_PID:
			if (!reads_pid(h, t))
				return false;
			break;
		case TAG_PORT:
		case TAG_NEW_PORT:
		case TAG_V4_PORT:
			if (!reads_port(h, t))
				return false;
			break;
		case TAG_NEW_REFERENCE:
		case TAG_NEWER_REFERENCE:
			if (!reads_ref(h, t))
				return false;
			break;
		case TAG_NEW_FUN:
			t = fun_creator(t, &todo);
			continue;
		default:
			break;
		}
		t = term_skip_head(t, &todo);
	}
	return true;
}
