/* ctl_follow.c - `log` and `events`: lines as they come, until the node or we end. A reader of our output who
 * goes away ends us: SIGPIPE. */
#include "ctl.h"

#include <stdio.h>

struct follow {
	const struct ctl_args *args;
	const struct look *look;
};

static void on_message(void *arg, const uint8_t *message)
{
	const struct follow *f = arg;
	struct buf out = { 0 };

	follow_put(message, f->args->json, f->look, &out);
	if (out.err != 0)
		ctl_no_memory();
	fwrite(out.data, 1, out.len, stdout);
	fflush(stdout);
	buf_free(&out);
}

/* It has been subscribed to. */
enum ctl_status ctl_follow(struct link *l, const struct ctl_args *a, const struct look *look)
{
	struct follow f = { a, look };
	char error[400];

	link_on_message(l, on_message, &f);
	while (link_wait(l, -1, 0, error, sizeof error)) {
	}
	fprintf(stderr, "kraitctl: %s\n", error);
	return CTL_NO_NODE;
}
