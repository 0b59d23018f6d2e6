/* fuzz_frame.c - bytes of a worker, cut into frames, and the elements of frames.
 *
 * Input: byte 0 is the seed of the pieces that the rest arrives in, byte 1 chooses the limit (2 bits) and
 * whether the frames are written first (1): then the rest are numbers and texts for frame_put_*().
 *
 * The same frames whatever the pieces; memory as the header bounds it; no reader beyond the end; what was
 * written is read again. */
#include "fuzz.h"

#include "frame.h"

#define FRAME_ROOM_MIN 4096

/* As frame_skip(), plainly; NULL: cut off, or no msgpack. */
static const uint8_t *skip(const uint8_t *p, const uint8_t *end)
{
	uint64_t n = 0, elements = 0;
	unsigned tag, width = 0;

	if (p == end)
		return NULL;
	tag = *p++;
	if (tag == 0xc1)
		return NULL;
	if (tag >= 0xc4 && tag <= 0xc9)
		width = 1u << (tag - 0xc4) % 3;
	else if (tag >= 0xd9 && tag <= 0xdb)
		width = 1u << (tag - 0xd9);
	else if (tag >= 0xdc && tag <= 0xdf)
		width = tag & 1 ? 4 : 2;
	if ((size_t)(end - p) < width)
		return NULL;
	for (; width > 0; width--)
		n = n << 8 | *p++;
	if (tag >= 0x80 && tag <= 0x8f)
		elements = 2 * (tag & 15u);
	else if (tag >= 0x90 && tag <= 0x9f)
		elements = tag & 15u;
	else if (tag >= 0xdc && tag <= 0xdf)
		elements = tag >= 0xde ? 2 * n : n;
	else if (tag >= 0xa0 && tag <= 0xbf)
		n = tag & 31u;
	else if (tag >= 0xc7 && tag <= 0xc9)
		n++;
	else if (tag == 0xca || tag == 0xcb)
		n = tag == 0xca ? 4 : 8;
	else if (tag >= 0xcc && tag <= 0xd3)
		n = UINT64_C(1) << (tag & 3);
	else if (tag >= 0xd4 && tag <= 0xd8)
		n = 1 + (UINT64_C(1) << (tag - 0xd4));
	if ((tag >= 0x80 && tag <= 0x9f) || (tag >= 0xdc && tag <= 0xdf)) {
		for (; elements > 0 && p != NULL; elements--)
			p = skip(p, end);
		return p;
	}
	return n > (size_t)(end - p) ? NULL : p + n;
}

/* Reads elements as the node does, and any other way. */
static void look(const struct frame *f, uint64_t *hash)
{
	uint8_t *copy = exact(f->rest, f->rest_len);
	const uint8_t *at = copy, *end = copy + f->rest_len;
	unsigned which = f->type;

	for (int i = 0; i < 50 && at < end; i++, which++) {
		const uint8_t *before = at, *past = at, *expected = skip(at, end);
		const char *text = NULL;
		uint64_t number = 0;
		uint32_t count = 0;
		size_t len = 0;
		bool ok = false, truth = false;

		ok = frame_skip(&past, end);
		MUST(ok ? past == expected : expected == NULL && past == before);
		ok = false;
		for (int k = 0; k < 5 && !ok; k++) {
			switch ((which + (unsigned)k) % 5) {
			case 0:
				ok = frame_get_uint(&at, end, &number);
				break;
			case 1:
				ok = frame_get_str(&at, end, &text, &len);
				MUST(!ok || ((const uint8_t *)text + len == at && len < SIZE_MAX));
				break;
			case 2:
				ok = frame_get_map(&at, end, &count);
				MUST(!ok || count <= (size_t)(end - at) / 2);
				break;
			case 3:
				ok = frame_get_bool(&at, end, &truth);
				break;
			default:
				ok = frame_get_array(&at, end, &count);
				MUST(!ok || count <= (size_t)(end - at));
			}
			MUST(ok ? at > before && at <= end : at == before);
		}
		if (!ok)
			at++;
		hash_number(hash, number + len + count + truth + ok);
	}
	free(copy);
}

/* All frames of the stream: their number, and what became of it. */
static int run(const uint8_t *data, size_t size, uint32_t seed, size_t max_bytes, uint64_t *hash)
{
	struct pieces pieces = pieces_from(seed);
	struct frame_reader reader;
	struct frame frame;
	size_t room, n, fed = 0;
	int rc = 0;

	frame_reader_init(&reader, max_bytes);
	while (rc == 0 && fed < size) {
		size_t held = reader.in.len - reader.taken;
		uint8_t *to = frame_room(&reader, &room);

		MUST(to != NULL && room >= FRAME_ROOM_MIN);
		MUST(reader.in.cap <= 2 * held + 64 * 1024 || reader.in.cap <= 256 * 1024);
		n = next_piece(&pieces);
		n = n < room ? n : room;
		n = n < size - fed ? n : size - fed;
		memcpy(to, data + fed, n);
		frame_received(&reader, n);
		fed += n;
		while ((rc = frame_next(&reader, &frame)) == 1) {
			MUST(frame.rest_len <= max_bytes);
			MUST(frame.rest >= reader.in.data &&
			     frame.rest + frame.rest_len <= reader.in.data + reader.in.len);
			hash_number(hash, frame.type);
			hash_number(hash, frame.id);
			hash_number(hash, frame.count);
			hash_bytes(hash, frame.rest, frame.rest_len);
			look(&frame, hash);
		}
	}
	frame_reader_close(&reader);
	return rc;
}

/* How many elements: each of the three forms of a head, the longest for speed only alone. */
static unsigned many(struct input *in, unsigned elements)
{
	unsigned n = next_u8(in);

	return n == 255 && elements == 1 ? 65536 : n;
}

/* Writes one frame and reads it again. */
static void written(struct input in)
{
	const unsigned type = next_u16(&in), count = next_u8(&in) % 8;
	const uint64_t id = next_u64(&in);
	struct buf out = { 0 };
	struct frame frame;
	struct frame_reader reader;
	const uint8_t *at, *end, *past;
	struct input again = in;
	struct span text;
	uint64_t number;
	size_t start, room;
	uint8_t *to;

	buf_put(&out, "before", 6);
	start = frame_begin(&out, type, id, count);
	for (unsigned i = 0; i < count; i++) {
		switch (next_u8(&in) % 6) {
		case 0:
			number = next_u64(&in);
			frame_put_uint(&out, number >> next_u8(&in) % 64);
			break;
		case 1:
			text = next_span(&in, next_u16(&in));
			frame_put_str(&out, text.at, text.len);
			break;
		case 2:
			frame_put_bool(&out, next_u8(&in) & 1);
			break;
		case 3:
			number = many(&in, count);
			frame_put_array(&out, (uint32_t)number);
			for (; number > 0; number--)
				frame_put_nil(&out);
			break;
		case 4:
			number = many(&in, count);
			frame_put_map(&out, (uint32_t)number);
			for (number *= 2; number > 0; number--)
				frame_put_bool(&out, false);
			break;
		default:
			frame_put_nil(&out);
		}
	}
	frame_end(&out, start);
	MUST(out.err == 0 && start == 6);
	frame_reader_init(&reader, out.len);
	for (size_t fed = start; fed < out.len;) {
		size_t n;

		MUST(frame_next(&reader, &frame) == 0);
		MUST((to = frame_room(&reader, &room)) != NULL);
		n = room < out.len - fed ? room : out.len - fed;
		memcpy(to, out.data + fed, n);
		frame_received(&reader, n);
		fed += n;
	}
	MUST(frame_next(&reader, &frame) == 1);
	MUST(frame.type == type && frame.id == id && frame.count == count);
	at = frame.rest;
	end = at + frame.rest_len;
	for (unsigned i = 0; i < count; i++) {
		const char *read = NULL;
		uint64_t read_number = 0;
		uint32_t read_count = 0;
		size_t len = 0;
		bool truth = false;

		switch (next_u8(&again) % 6) {
		case 0:
			number = next_u64(&again);
			number >>= next_u8(&again) % 64;
			MUST(frame_get_uint(&at, end, &read_number) && read_number == number);
			break;
		case 1:
			text = next_span(&again, next_u16(&again));
			MUST(frame_get_str(&at, end, &read, &len) && len == text.len);
			MUST(len == 0 || memcmp(read, text.at, len) == 0);
			break;
		case 2:
			MUST(frame_get_bool(&at, end, &truth) && truth == (next_u8(&again) & 1));
			break;
		case 3:
			number = many(&again, count);
			MUST(frame_get_array(&at, end, &read_count) && read_count == number);
			for (; number > 0; number--)
				MUST(frame_skip(&at, end));
			break;
		case 4:
			number = many(&again, count);
			past = at;
			MUST(frame_get_map(&at, end, &read_count) && read_count == number);
			for (number *= 2; number > 0; number--)
				MUST(frame_get_bool(&at, end, &truth) && !truth);
			MUST(frame_skip(&past, end) && past == at);
			break;
		default:
			MUST(!frame_get_uint(&at, end, &read_number) && *at++ == 0xc0);
		}
	}
	MUST(at == end && frame_next(&reader, &frame) == 0);
	frame_reader_close(&reader);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t limits[] = { 1 << 20, 64, 0, SIZE_MAX };
	struct input in = { data, size };
	uint32_t seed = next_u8(&in);
	unsigned choice = next_u8(&in);
	uint64_t whole = 0, pieces = 0;

	if (choice & 4) {
		written(in);
		return 0;
	}
	MUST(run(in.at, in.left, 0, limits[choice & 3], &whole) ==
	     run(in.at, in.left, seed, limits[choice & 3], &pieces));
	MUST(whole == pieces);
	return 0;
}
