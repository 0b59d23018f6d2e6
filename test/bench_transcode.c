/* bench_transcode.c - MB/s of the codec, both directions; input bytes are what is counted (`make bench-codec`).
 *
 * How long one term holds up the loop stands behind: docs/protocol.md, section 13, has that of 16 MB. */
#include "transcode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct transcode_options opts = { 1000, SIZE_MAX, true, NULL };

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_record(struct buf *b, int i)
{
	static const char *const tags[] = { "alpha", "beta", "gamma" };
	char name[32];

	term_put_map(b, 8);
	term_put_text(b, "id");
	term_put_int(b, 1000000 + i);
	term_put_text(b, "name");
	snprintf(name, sizeof name, "user number %d", i);
	term_put_text(b, name);
	term_put_text(b, "active");
	term_put_bool(b, i % 2 == 0);
	term_put_text(b, "score");
	term_put_float(b, i * 0.37);
	term_put_text(b, "email");
	term_put_text(b, "somebody@example.com");
	term_put_text(b, "tags");
	term_put_list(b, 3);
	for (int t = 0; t < 3; t++)
		term_put_text(b, tags[t]);
	term_put_nil(b);
	term_put_text(b, "address");
	term_put_map(b, 3);
	term_put_text(b, "street");
	term_put_text(b, "1 Long Lane");
	term_put_text(b, "zip");
	term_put_int(b, 12345);
	term_put_text(b, "city");
	term_put_text(b, "Springfield");
	term_put_text(b, "kind");
	term_put_atom(b, "customer");
}

static void nested(struct buf *b, unsigned maps)
{
	term_put_list(b, maps);
	for (unsigned i = 0; i < maps; i++)
		put_record(b, (int)i);
	term_put_nil(b);
}

static void small_map(struct buf *b, unsigned n)
{
	(void)n;
	term_put_map(b, 3);
	term_put_atom(b, "id");
	term_put_int(b, 12345);
	term_put_atom(b, "name");
	term_put_text(b, "somebody");
	term_put_atom(b, "values");
	term_put_list(b, 3);
	for (int i = 0; i < 3; i++)
		term_put_int(b, i);
	term_put_nil(b);
}

static void floats(struct buf *b, unsigned n)
{
	term_put_list(b, n);
	for (unsigned i = 0; i < n; i++)
		term_put_float(b, i * 1.1);
	term_put_nil(b);
}

/* `n` bytes, of the text again and again. */
static void binary(struct buf *b, size_t n, const char *text)
{
	char *data = malloc(n);
	size_t len = strlen(text);

	if (data == NULL)
		exit(1);
	for (size_t i = 0; i < n; i++)
		data[i] = text[i % len];
	term_put_binary(b, data, n);
	free(data);
}

static void bytes(struct buf *b, unsigned n)
{
	binary(b, n, "\xff");
}

static void ascii(struct buf *b, unsigned n)
{
	binary(b, n, "The quick brown fox jumps over the lazy dog. ");
}

static void german(struct buf *b, unsigned n)
{
	binary(b, n,
	       "Zw\u00f6lf Boxk\u00e4mpfer jagen Viktor quer \u00fcber den gro\u00dfen Sylter "
	       "Deich. ");
}

static void integers(struct buf *b, unsigned n)
{
	term_put_map(b, n);
	for (unsigned i = 0; i < n; i++) {
		term_put_uint(b, i);
		term_put_uint(b, i);
	}
}

int main(void)
{
	static const struct {
		const char *name;
		void (*put)(struct buf *b, unsigned n);
		unsigned n;
	} rows[] = { { "small map", small_map, 0 },
		     { "1000 nested maps", nested, 1000 },
		     { "100 000 floats", floats, 100000 },
		     { "map of 10 000 integers", integers, 10000 },
		     { "1 MB of bytes", bytes, 1000000 },
		     { "1 MB of ASCII", ascii, 1000000 },
		     { "16 MB of bytes", bytes, 16000000 },
		     { "16 MB of ASCII", ascii, 16000000 },
		     { "16 MB of German", german, 16000000 },
		     { "61 000 nested maps", nested, 61000 } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf term = { 0 }, packed = { 0 }, back = { 0 };
		struct transcode_error err;
		double best[3] = { 0, 0, 0 };

		rows[i].put(&term, rows[i].n);
		for (int round = 0; round < 7; round++) {
			for (int which = 0; which < 3; which++) {
				double start = seconds(), took, mb;
				size_t n = 0, in = which == 2 ? packed.len : term.len;

				do {
					for (int k = 0; k < (in < 1000 ? 1000 : 1); k++, n++) {
						if (which == 0 &&
						    term_check(term.data, term.len, NULL) != 0)
							return 1;
						if (which == 1) {
							packed.len = 0;
							if (transcode_term(term.data, "x", &opts,
									   &packed, &err) != 0)
								return 1;
						}
						if (which == 2) {
							back.len = 0;
							if (transcode_value(packed.data, packed.len,
									    "x", &opts, &back, NULL,
									    &err) != 0)
								return 1;
						}
					}
					took = seconds() - start;
				} while (took < 0.1);
				mb = (double)n * (double)in / took / 1e6;
				if (mb > best[which])
					best[which] = mb;
			}
		}
		if (back.len != term.len || memcmp(back.data, term.data, term.len) != 0)
			printf("NOT EQUAL ");
		printf("%-24s %8zu bytes  MB/s (us): check %6.0f (%.1f)  to msgpack %6.0f (%.1f)  "
		       "to term %6.0f (%.1f)\n",
		       rows[i].name, term.len, best[0], (double)term.len / best[0], best[1],
		       (double)term.len / best[1], best[2], (double)packed.len / best[2]);
		buf_free(&term);
		buf_free(&packed);
		buf_free(&back);
	}
	return 0;
}
