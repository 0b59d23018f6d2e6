/* kraitctl.c - the operator's tool: one verb, asked of a running node over Erlang distribution.
 *
 * The happy path: the command line -> the cookie, as the node finds it -> a connection as a hidden node ->
 * a gen_server call -> its answer as a table, or as JSON.
 * What can go wrong has its exit status (enum ctl_status in ctl.h) and one line on stderr; with --json also
 * {"error": ...} on stdout. */
#include "ctl.h"

#include "cookie.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_NODE "krait@127.0.0.1"

static void put(const struct buf *out, FILE *file)
{
	if (out->err != 0)
		ctl_no_memory();
	fwrite(out->data, 1, out->len, file);
	fflush(file);
}

/* {"error": ["no_node", "words"]} */
static enum ctl_status fail(const struct ctl_args *a, enum ctl_status status, const char *why)
{
	static const char *const names[] = { "", "error", "usage", "no_node", "wrong_cookie" };
	struct buf out = { 0 };

	fflush(stdout);
	text_safe(&out, why, strlen(why), true);
	fprintf(stderr, "kraitctl: %.*s\n", (int)out.len, (const char *)out.data);
	buf_reset(&out, 4096);
	if (a != NULL && a->json) {
		text_put(&out, "{\"error\":[\"%s\",", names[status]);
		ctl_json_text(&out, why, strlen(why));
		text_put(&out, "]}\n");
		put(&out, stdout);
	}
	buf_free(&out);
	return status;
}

static struct look look_of(int fd, bool json)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	struct look look = { 0, false };
	struct winsize size;

	if (json || !isatty(fd))
		return look;
	look.colour = (no_colour == NULL || no_colour[0] == '\0') && term != NULL &&
		      strcmp(term, "dumb") != 0;
	if (ioctl(fd, TIOCGWINSZ, &size) == 0)
		look.width = size.ws_col;
	return look;
}

/* ---- the answer ---- */

/* What {ok, Answer} holds, or the answer itself: `ok`, `pong`. NULL: it is {error, Reason}. */
static const uint8_t *content(const uint8_t *answer, const uint8_t **reason)
{
	const uint8_t *at;
	uint32_t arity;

	*reason = NULL;
	if (!term_tuple(answer, &arity, &at) || arity != 2)
		return answer;
	if (term_is_atom(at, "ok"))
		return term_skip(at);
	if (!term_is_atom(at, "error"))
		return answer;
	*reason = term_skip(at);
	return NULL;
}

static enum ctl_status tell_error(const struct ctl_args *a, const uint8_t *reason)
{
	struct buf out = { 0 };

	if (a->json) {
		text_put(&out, "{\"error\":");
		ctl_json_put(&out, reason, -1);
		text_put(&out, "}\n");
		put(&out, stdout);
	} else {
		text_put(&out, "kraitctl: ");
		ctl_reason_put(reason, &out);
		text_put(&out, "\n");
		put(&out, stderr);
	}
	buf_free(&out);
	return CTL_ERROR;
}

static enum ctl_status tell(const struct ctl_args *a, const uint8_t *answer)
{
	struct look look = look_of(STDOUT_FILENO, a->json);
	struct buf out = { 0 };

	if (a->json) {
		if (a->verb->view == VIEW_POOLS && term_map_get(answer, "pools") != NULL)
			answer = term_map_get(answer, "pools");
		ctl_json_put(&out, answer, -1);
		text_put(&out, "\n");
	} else {
		ctl_view_put(a, answer, &look, &out);
	}
	put(&out, stdout);
	buf_free(&out);
	return CTL_OK;
}

/* ---- the question ---- */

/* `default`, or the first pool where there is none of that name: as the node itself chooses one. */
static enum ctl_status choose_pool(struct link *l, const struct ctl_args *a, char *name,
				   size_t name_size, char *error, size_t size)
{
	struct buf request = { 0 };
	const uint8_t *answer, *reason, *list, *at, *first;
	enum ctl_status status;
	uint32_t count;
	struct span text;

	snprintf(name, name_size, "default");
	term_put_atom(&request, "pools");
	status = link_call(l, "krait", (struct span){ request.data, request.len }, a->timeout_ms,
			   &answer, error, size);
	buf_free(&request);
	if (status != CTL_OK)
		return status;
	list = content(answer, &reason);
	if (list == NULL || !term_list(list, &count, &first)) /* forbidden: it may be there */
		return CTL_OK;
	for (at = first; count > 0; count--, at = term_skip(at))
		if (term_is_atom(at, name))
			return CTL_OK;
	if (first != NULL && term_atom(first, &text, NULL) && text.len < name_size) {
		memcpy(name, text.at, text.len);
		name[text.len] = '\0';
	}
	return CTL_OK;
}

static enum ctl_status ask(struct link *l, const struct ctl_args *a, const struct buf *request)
{
	uint64_t timeout_ms = (a->verb->flags & VERB_SLOW) && !a->has_timeout ? 0 : a->timeout_ms;
	char error[400], name[TERM_ATOM_BYTES + 1] = "krait";
	enum ctl_status status = CTL_OK;
	const uint8_t *answer, *reason;
	struct look look;

	if (a->pool != NULL)
		snprintf(name, sizeof name, "%s", a->pool);
	else if (a->verb->flags & VERB_OF_POOL)
		status = choose_pool(l, a, name, sizeof name, error, sizeof error);
	/* the node ends a call in time by itself, and says so */
	if (a->verb->shape == SHAPE_CALL && timeout_ms > 0)
		timeout_ms += 1000;
	if (a->verb->shape == SHAPE_FOLLOW)
		timeout_ms = a->timeout_ms;
	if (status == CTL_OK)
		status = link_call(l, name, (struct span){ request->data, request->len },
				   timeout_ms, &answer, error, sizeof error);
	if (status != CTL_OK)
		return fail(a, status, error);
	answer = content(answer, &reason);
	if (answer == NULL)
		return tell_error(a, reason);
	if (a->verb->shape != SHAPE_FOLLOW)
		return tell(a, answer);
	look = look_of(STDOUT_FILENO, a->json);
	return ctl_follow(l, a, &look);
}

/* The request is understood: the node is connected to, and asked. */
static enum ctl_status connect_and_ask(const struct ctl_args *a, const struct buf *request)
{
	char error[400], *cookie = cookie_read(a->cookie_file, error, sizeof error);
	enum ctl_status status;
	struct link *l;

	if (cookie == NULL)
		return fail(a, CTL_COOKIE, error);
	status = link_open(&l, a->node, cookie, a->timeout_ms, error, sizeof error);
	if (status != CTL_OK)
		status = fail(a, status, error);
	else if (a->verb->shape == SHAPE_TOP)
		status = ctl_top(l, a, look_of(STDOUT_FILENO, false).colour);
	else
		status = ask(l, a, request);
	link_close(l);
	mem_free(cookie);
	return status;
}

static enum ctl_status run(const struct ctl_args *a)
{
	struct buf request = { 0 };
	enum ctl_status status;
	char error[400];

	if (!ctl_ask_put(a, &request, error, sizeof error))
		status = fail(a, CTL_USAGE, error);
	else if (request.err != 0)
		ctl_no_memory();
	else
		status = connect_and_ask(a, &request);
	buf_free(&request);
	return status;
}

int main(int argc, char **argv)
{
	const char *node = getenv("KRAIT_NODE");
	struct buf out = { 0 };
	struct ctl_args a;
	char error[400];

	if (!ctl_args_parse(&a, argc, argv, node != NULL && node[0] != '\0' ? node : DEFAULT_NODE,
			    error, sizeof error))
		return (int)fail(&a, CTL_USAGE, error);
	switch (a.want) {
	case WANT_HELP:
		ctl_help(&out, a.verb);
		break;
	case WANT_MARKDOWN:
		ctl_help_markdown(&out);
		break;
	case WANT_WORDS:
		ctl_words(&out);
		break;
	case WANT_VERSION:
		text_put(&out, "kraitctl %s\n", KRAIT_VERSION);
		break;
	case WANT_VERB:
		return (int)run(&a);
	}
	put(&out, stdout);
	buf_free(&out);
	return CTL_OK;
}
