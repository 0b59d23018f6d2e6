/* node_logs.c - what workers and fork servers print, on its way to the log and to those who hear it.
 *
 * A line that a worker prints is of level info, unless it is one of standard error that says its own level:
 * "<4>...", as krait.LogHandler writes them, or "WARNING:...", as Python's logging does by default. More than
 * log_rate lines in a second are counted and dropped: the worker is read on all the same, and a line says how
 * many are missing when the second is over. To subscribers a line is
 *
 *     {krait_log, Node, #{pool, worker, os_pid, stream, level, line, object}}
 *
 * with `line` in UTF-8 (what is not becomes U+FFFD) and nil for what there is none of: the node's own lines
 * have no stream, and a worker only if they are about one. */
#include "node_private.h"

#include "log.h"
#include "log_format.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>

/* ---- to subscribers ---- */

static void put_line(struct buf *out, const char *line, size_t len)
{
	char clean[3 * LOG_LINE_MAX];

	term_put_binary(out, clean, utf8_cleaned(clean, sizeof clean, line, len));
}

static void put_uint_or_nil(struct buf *out, const char *key, uint64_t value)
{
	term_put_atom(out, key);
	if (value != 0)
		term_put_uint(out, value);
	else
		term_put_atom(out, "nil");
}

static void tell(struct node *n, struct node_pool *p, const struct log_object *about,
		 const char *object, const char *stream, enum log_level level, const char *line,
		 size_t len)
{
	struct buf *out = node_message_begin(n, p, REQUEST_TOPIC_LOG);

	term_put_tuple(out, 3);
	term_put_atom(out, "krait_log");
	term_put_atom(out, n->options->name);
	term_put_map(out, 7);
	term_put_atom(out, "pool");
	if (about->pool != NULL)
		term_put_atom_n(out, about->pool, about->pool_len);
	else
		term_put_atom(out, "nil");
	put_uint_or_nil(out, "worker", about->worker);
	put_uint_or_nil(out, "os_pid", (uint64_t)about->os_pid);
	term_put_atom(out, "stream");
	term_put_atom(out, stream != NULL ? stream : "nil");
	term_put_atom(out, "level");
	term_put_atom(out, log_level_name(level));
	term_put_atom(out, "line");
	put_line(out, line, len);
	term_put_atom(out, "object");
	put_line(out, object, strlen(object));
	node_message_end(n);
}

void node_log_own(void *node, enum log_level level, const char *object, const char *text,
		  size_t len)
{
	struct log_object about;

	log_object_parse(object, &about);
	tell(node, NULL, &about, object, NULL, level, text, len);
}

static struct log_object about_printer(const struct log_printer *printer)
{
	const char *pool = printer->pool->config->name;

	return (struct log_object){ .pool = pool,
				    .pool_len = strlen(pool),
				    .worker = printer->worker,
				    .os_pid = printer->os_pid };
}

/* ---- how many ---- */

static unsigned rate_of(const struct log_printer *printer)
{
	return (unsigned)printer->pool->config->log_rate;
}

/* Says how many lines are missing. */
static void say_dropped(struct log_printer *printer, uint64_t dropped)
{
	struct log_object about = about_printer(printer);
	struct node_pool *p = printer->pool;
	char text[96];
	int n = snprintf(text, sizeof text,
			 "%llu lines of output dropped: more than log_rate = %u in a second",
			 (unsigned long long)dropped, rate_of(printer));

	log_output(LOG_WARNING, printer->object, NULL, 0, text, (size_t)n);
	if ((p->heard & REQUEST_TOPIC_LOG) != 0)
		tell(p->node, p, &about, printer->object, NULL, LOG_WARNING, text, (size_t)n);
}

static void on_timer(uv_timer_t *timer)
{
	struct node *n = timer->data;
	uint64_t now = node_now_us(), dropped;
	struct list *pos, *next;

	list_each (pos, next, &n->events.lossy) {
		struct log_printer *printer = list_entry(pos, struct log_printer, lossy);

		if ((dropped = log_rate_take(&printer->rate, now)) == 0)
			continue;
		list_remove(&printer->lossy);
		say_dropped(printer, dropped);
	}
	if (list_empty(&n->events.lossy))
		uv_timer_stop(timer);
}

static bool admit(struct log_printer *printer)
{
	struct node *n = printer->pool->node;
	uint64_t now = node_now_us(), dropped = log_rate_take(&printer->rate, now);

	if (dropped > 0) {
		list_remove(&printer->lossy);
		say_dropped(printer, dropped);
	}
	if (log_rate_admit(&printer->rate, rate_of(printer), now))
		return true;
	if (list_empty(&printer->lossy)) {
		list_append(&n->events.lossy, &printer->lossy);
		if (n->stage < NODE_CLOSING && !uv_is_active((uv_handle_t *)&n->events.timer))
			uv_timer_start(&n->events.timer, on_timer, 500, 500);
	}
	return false;
}

/* ---- lines ---- */

void node_log_printed(struct log_printer *printer, uint64_t call, bool is_stderr, const char *line,
		      size_t len)
{
	const char *stream = is_stderr ? "stderr" : "stdout";
	struct log_object about = about_printer(printer);
	struct node_pool *p = printer->pool;
	enum log_level level = LOG_INFO;

	if (!admit(printer))
		return;
	if (is_stderr)
		log_take_level(&line, &len, &level);
	log_output(level, printer->object, stream, call, line, len);
	if ((p->heard & REQUEST_TOPIC_LOG) != 0)
		tell(p->node, p, &about, printer->object, stream, level, line, len);
	node_events_flush_some(p->node);
}

void node_log_printer_init(struct log_printer *printer, struct node_pool *p, const char *object)
{
	*printer = (struct log_printer){ .pool = p, .object = object };
	list_init(&printer->lossy);
}

void node_log_printer_close(struct log_printer *printer)
{
	uint64_t dropped = printer->rate.dropped;

	list_remove(&printer->lossy);
	if (dropped > 0)
		say_dropped(printer, dropped);
	printer->rate.dropped = 0;
}

void node_logs_init(struct node *n)
{
	list_init(&n->events.lossy);
	uv_timer_init(&n->loop, &n->events.timer);
	n->events.timer.data = n;
}

void node_logs_close(struct node *n)
{
	uv_close((uv_handle_t *)&n->events.timer, NULL);
}
