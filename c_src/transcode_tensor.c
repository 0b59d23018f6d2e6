/* transcode_tensor.c - {krait_tensor, Dtype, Shape, Binary} and the TENSOR of the worker wire.
 *
 * The payload of the latter: a byte for the dtype, its index in the table below plus one; a byte for the
 * number of dimensions; a byte for the form in which dtype and shape came; zeros up to 8; each dimension
 * in 8 bytes, big-endian; zeros up to a multiple of 16; then the binary. Where Python's allocator puts the
 * payload, that is aligned as the machine likes it, so an array can be made of it where it is.
 *
 * A tuple that is tagged like this and does not add up is the caller's mistake, and is told so. */
#include "transcode_struct.h"

#include "transcode_etf.h"
#include "transcode_pack.h"

#define DIMENSIONS_MAX 32
#define ELEMENTS_MAX   (INT64_MAX / 16) /* so that no product overflows */

enum form { FORM_TEXT = 1, FORM_LIST = 2 }; /* the dtype is a binary, the shape a list */

/* Named as Nx names them. */
static const struct {
	char name[5];
	uint8_t size;
} dtypes[] = { { "s8", 1 },  { "s16", 2 }, { "s32", 4 },   { "s64", 8 }, { "u8", 1 },
	       { "u16", 2 }, { "u32", 4 }, { "u64", 8 },   { "f16", 2 }, { "f32", 4 },
	       { "f64", 8 }, { "c64", 8 }, { "c128", 16 }, { "bf16", 2 } };
#define DTYPES (sizeof dtypes / sizeof dtypes[0])

struct tensor {
	unsigned dtype, form, dimensions;
	int64_t shape[DIMENSIONS_MAX];
	uint64_t bytes; /* what shape and dtype ask for */
	struct span data;
};

static size_t header_bytes(unsigned dimensions)
{
	return (8 + 8 * (size_t)dimensions + 15) / 16 * 16;
}

/* Adds up; false: there is no such array. */
static bool measure(struct tensor *t)
{
	uint64_t elements = 1;
	bool empty = false;

	for (unsigned i = 0; i < t->dimensions; i++) {
		if (t->shape[i] == 0)
			empty = true;
		else if (t->shape[i] < 0 || (uint64_t)t->shape[i] > ELEMENTS_MAX / elements)
			return false;
		else
			elements *= (uint64_t)t->shape[i];
	}
	t->bytes = empty ? 0 : elements * dtypes[t->dtype].size;
	return true;
}

static bool read_dtype(struct tensor *t, const uint8_t *term)
{
	struct span text;

	if (term_binary(term, &text))
		t->form |= FORM_TEXT;
	else if (!term_atom(term, &text, NULL))
		return false;
	for (t->dtype = 0; t->dtype < DTYPES; t->dtype++)
		if (text.len == strlen(dtypes[t->dtype].name) &&
		    memcmp(text.at, dtypes[t->dtype].name, text.len) == 0)
			return true;
	return false;
}

static bool read_shape(struct tensor *t, const uint8_t *term)
{
	const uint8_t *first = NULL;
	uint32_t count = 0;

	if (!term_tuple(term, &count, &first)) {
		t->form |= FORM_LIST;
		if (*term == TAG_STRING) {
			count = get_u16(term + 1);
			first = term + 3;
		} else if (!term_list(term, &count, &first)) {
			return false;
		}
	}
	if (count > DIMENSIONS_MAX)
		return false;
	t->dimensions = count;
	for (uint32_t i = 0; i < count; i++) {
		if (*term == TAG_STRING)
			t->shape[i] = first[i];
		else if (!term_int(first, &t->shape[i]))
			return false;
		else
			first = term_skip(first);
	}
	return *term != TAG_LIST || *first == TAG_NIL;
}

bool tensor_pack(struct sink *s, const uint8_t **at, enum transcode_fault *fault)
{
	uint8_t head[8 + 8 * DIMENSIONS_MAX + 8]; /* rounded up to 16 */
	const uint8_t *dtype, *shape, *data;
	struct tensor t = { .form = 0 };
	size_t header;

	if (!term_is_atom(*at, "krait_tensor"))
		return false;
	dtype = term_skip(*at);
	shape = term_skip(dtype);
	data = term_skip(shape);
	*at = term_skip(data);
	if (!read_dtype(&t, dtype) || !read_shape(&t, shape) || !term_binary(data, &t.data) ||
	    !measure(&t) || t.bytes != t.data.len) {
		*fault = sink_fault(s, TRANSCODE_UNENCODABLE, ":bad_tensor");
		return true;
	}
	header = header_bytes(t.dimensions);
	memset(head, 0, header);
	head[0] = (uint8_t)(t.dtype + 1);
	head[1] = (uint8_t)t.dimensions;
	head[2] = (uint8_t)t.form;
	for (unsigned i = 0; i < t.dimensions; i++)
		put_u64(head + 8 + 8 * i, (uint64_t)t.shape[i]);
	if (pack_apart(s, PART_TENSOR, head, header, t.data.at, t.data.len, fault))
		return true;
	if ((*fault = sink_long(s, 6 + header + t.data.len)) != TRANSCODE_OK)
		return true;
	pack_byte(s, 0xc9);
	put_u32(s->w, (uint32_t)(header + t.data.len));
	s->w += 4;
	pack_byte(s, EXT_TENSOR);
	sink_put(s, head, header);
	sink_put(s, t.data.at, t.data.len);
	return true;
}

static bool parse(struct tensor *t, const uint8_t *payload, size_t len)
{
	size_t header;

	if (len < 16 || payload[0] == 0 || payload[0] > DTYPES || payload[1] > DIMENSIONS_MAX ||
	    payload[2] > (FORM_TEXT | FORM_LIST))
		return false;
	t->dtype = payload[0] - 1u;
	t->dimensions = payload[1];
	t->form = payload[2];
	header = header_bytes(t->dimensions);
	if (len < header)
		return false;
	for (unsigned i = 0; i < t->dimensions; i++)
		t->shape[i] = (int64_t)get_u64(payload + 8 + 8 * i);
	t->data = (struct span){ payload + header, len - header };
	return measure(t) && t->bytes == t->data.len;
}

enum transcode_fault tensor_unpack(struct sink *s, const uint8_t *payload, size_t len)
{
	enum transcode_fault fault;
	struct tensor t;
	const char *name;

	if (!parse(&t, payload, len))
		return sink_fault(s, TRANSCODE_CORRUPT, "a tensor that does not add up");
	if (!sink_has(s, 512) && (fault = sink_more(s, 512)) != TRANSCODE_OK)
		return fault; /* 32 dimensions of at most 11 bytes, and the heads */
	etf_byte(s, TAG_SMALL_TUPLE);
	etf_byte(s, 4);
	etf_word(s, "krait_tensor", 12);
	name = dtypes[t.dtype].name;
	if ((t.form & FORM_TEXT) != 0) {
		etf_head(s, TAG_BINARY, (uint32_t)strlen(name));
		sink_put(s, name, strlen(name));
	} else {
		etf_word(s, name, strlen(name));
	}
	if ((t.form & FORM_LIST) == 0) {
		etf_byte(s, TAG_SMALL_TUPLE);
		etf_byte(s, t.dimensions);
	} else if (t.dimensions > 0) {
		etf_head(s, TAG_LIST, t.dimensions);
	}
	for (unsigned i = 0; i < t.dimensions; i++)
		etf_int(s, t.shape[i]);
	if ((t.form & FORM_LIST) != 0)
		etf_byte(s, TAG_NIL);
	return etf_value(s, t.data.at, t.data.len);
}
