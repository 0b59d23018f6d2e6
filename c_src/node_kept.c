/* node_kept.c - what is kept with a request, behind its record, in the same piece of memory.
 *
 *     record | tag | lengths | names | progress | session | trace | token | frame | claim, key
 *
 * Nearly all have a tag and a frame and nothing else, so only these have their lengths in the record; there are
 * lengths of the others where there are others. What a call calls is not kept twice: it stands in its frame as
 * text, and the record has how its caller wrote it. */
#include "node_private.h"

#include "term_tags.h"

#include <assert.h>
#include <string.h>

struct more {
	uint16_t progress_len, session_len, trace_len;
};

/* ---- where it lies ---- */

static struct more more_of(const struct node_request *r)
{
	struct more m = { 0 };

	if (r->has_more)
		memcpy(&m, r->data + r->tag_len, sizeof m);
	return m;
}

static size_t names_len(const struct node_request *r)
{
	return r->verb == VERB_BATCH ? r->names_len : 0;
}

static size_t names_at(const struct node_request *r)
{
	return r->tag_len + (r->has_more ? sizeof(struct more) : 0);
}

static size_t frame_at(const struct node_request *r)
{
	struct more m = more_of(r);

	return names_at(r) + names_len(r) + m.progress_len + m.session_len + m.trace_len +
	       (r->has_token ? sizeof(uint32_t) : 0);
}

/* From the record's beginning: the end of all others. */
static size_t claim_at(const struct node_request *r, size_t frame_from)
{
	size_t end = offsetof(struct node_request, data) + frame_from +
		     (r->in_parcel ? sizeof(struct parcel *) : r->pool.bytes);

	return end > sizeof *r ? (end + 7) / 8 * 8 : sizeof *r;
}

static size_t claim_size(size_t key_len)
{
	return key_len > 0 ? sizeof(struct node_claim) + key_len : 0;
}

/* ---- what it is ---- */

struct node_claim *node_claim_of(const struct node_request *r)
{
	return list_entry(r->pool.claim, struct node_claim, pool);
}

struct span node_request_batch(const struct node_request *r)
{
	return (struct span){ r->data + names_at(r), names_len(r) };
}

struct span node_request_progress(const struct node_request *r)
{
	return (struct span){ r->data + names_at(r) + names_len(r), more_of(r).progress_len };
}

struct span node_request_session(const struct node_request *r)
{
	struct span before = node_request_progress(r);

	return (struct span){ before.at + before.len, more_of(r).session_len };
}

struct span node_request_trace(const struct node_request *r)
{
	struct span before = node_request_session(r);

	return (struct span){ before.at + before.len, more_of(r).trace_len };
}

struct parcel *node_request_parcel(const struct node_request *r)
{
	struct parcel *parcel = NULL;

	if (r->in_parcel)
		memcpy(&parcel, r->data + frame_at(r), sizeof(struct parcel *));
	return parcel;
}

uint8_t *node_request_frame(const struct node_request *r)
{
	return r->in_parcel ? node_request_parcel(r)->text.data
			    : (uint8_t *)(r->data + frame_at(r));
}

/* Of what node_request_frame() points at: of a parcel what we wrote. */
static size_t frame_len(const struct node_request *r)
{
	return r->in_parcel ? node_request_parcel(r)->text.len : r->pool.bytes;
}

void node_request_fill_in(struct node_request *r)
{
	uint64_t now = node_now_us(), left = r->pool.deadline_us;
	uint8_t *frame = node_request_frame(r);
	uint32_t token_at;

	if (r->has_deadline) {
		left = left > now ? (left - now + 999) / 1000 : 0;
		put_u32(frame + frame_len(r) - 4, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
	}
	if (r->has_token) {
		memcpy(&token_at, r->data + frame_at(r) - sizeof token_at, sizeof token_at);
		put_u64(frame + token_at, r->pool.slot->session->token);
		node_session_begins(r->pool.slot->session);
	}
}

/* ---- what it calls ---- */

enum name_form node_name_form(const uint8_t *name)
{
	if (name == NULL || *name == TAG_BINARY)
		return NAME_BINARY;
	return *name == TAG_ATOM || *name == TAG_SMALL_ATOM ? NAME_LATIN1 : NAME_ATOM;
}

/* The term of a name, of at most REQUEST_NAME_MAX bytes. */
static struct span put_name(enum name_form form, const char *text, size_t len,
			    uint8_t room[NAME_TERM_MAX])
{
	size_t head = 0;

	if (form == NAME_BINARY) {
		room[0] = TAG_BINARY;
		put_u32(room + 1, (uint32_t)len);
		head = 5;
	} else if (form == NAME_ATOM && len <= UINT8_MAX) {
		room[0] = TAG_SMALL_ATOM_UTF8;
		room[1] = (uint8_t)len;
		head = 2;
	} else {
		room[0] = form == NAME_ATOM ? TAG_ATOM_UTF8 : TAG_ATOM;
		put_u16(room + 1, (unsigned)len);
		head = 3;
	}
	memcpy(room + head, text, len);
	return (struct span){ room, head + len };
}

bool node_request_called(const struct node_request *r, struct called *c)
{
	const uint8_t *at, *end;
	const char *module, *function;
	size_t module_len, function_len;
	uint64_t number;
	uint32_t count;
	bool is_call;

	c->module = c->function = (struct span){ 0 };
	if (r->verb != VERB_CALL && r->verb != VERB_STREAM)
		return false;
	at = node_request_frame(r);
	end = at + frame_len(r);
	at += FRAME_LENGTH_BYTES;
	is_call = frame_get_array(&at, end, &count) && frame_get_uint(&at, end, &number) &&
		  frame_get_uint(&at, end, &number) &&
		  frame_get_str(&at, end, &module, &module_len) &&
		  frame_get_str(&at, end, &function, &function_len);
	assert(is_call); /* we wrote it */
	c->module = put_name(r->module_form, module, module_len, c->room[0]);
	c->function = put_name(r->function_form, function, function_len, c->room[1]);
	return true;
}

/* ---- made and freed ---- */

static void keep(uint8_t **at, struct span bytes)
{
	if (bytes.len > 0)
		memcpy(*at, bytes.at, bytes.len);
	*at += bytes.len;
}

struct node_request *node_kept_new(const struct node_request *made, const struct kept *k)
{
	struct more more = { (uint16_t)k->progress.len, (uint16_t)k->session.len,
			     (uint16_t)k->trace.len };
	size_t claim = claim_at(made, k->tag.len + (made->has_more ? sizeof more : 0) +
					      k->names.len + k->progress.len + k->session.len +
					      k->trace.len + k->token_at.len);
	struct node_request *r = slab_alloc(claim + claim_size(k->key.len));
	uint8_t *at;

	if (r == NULL)
		return NULL;
	*r = *made;
	at = r->data;
	keep(&at, k->tag);
	if (r->has_more)
		keep(&at, (struct span){ (const uint8_t *)&more, sizeof more });
	keep(&at, k->names);
	keep(&at, k->progress);
	keep(&at, k->session);
	keep(&at, k->trace);
	keep(&at, k->token_at);
	keep(&at, k->frame);
	if (k->key.len == 0)
		return r;
	r->pool.claim = (struct pool_claim *)((char *)r + claim);
	at = (uint8_t *)(node_claim_of(r) + 1);
	*node_claim_of(r) =
		(struct node_claim){ .pool = { .key = at, .key_len = (uint32_t)k->key.len } };
	keep(&at, k->key);
	return r;
}

void node_kept_free(struct node_request *r)
{
	slab_free(r, claim_at(r, frame_at(r)) +
			     claim_size(r->pool.claim != NULL ? r->pool.claim->key_len : 0));
}
