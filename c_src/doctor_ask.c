/* doctor_ask.c - one question to a node, over distribution, as a hidden node of its own would ask it.
 *
 * The happy path: connect -> the handshake, by dist -> {'$gen_call', {Pid, Ref}, Request} to a name -> {Ref,
 * Answer}. What can go wrong: each has its errno; see doctor_private.h. */
#include "doctor_private.h"

#include "term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define OUR_PID 1u
#define OUR_REF 1u

struct question {
	struct dist *dist;
	int fd;
	const char *ours, *to;
	struct span request;
	struct buf *answer;
	bool sent, answered;
};

static struct term_pid our_pid(const struct question *q)
{
	return (struct term_pid){
		.node = q->ours, .node_len = (uint16_t)strlen(q->ours), .id = OUR_PID, .creation = 1
	};
}

static void put_ref(const struct question *q, struct buf *out)
{
	term_put_ref(out, q->ours, 1, OUR_REF);
}

/* A monitor on the name, so that we hear it if nobody has it; then the request. */
static int send_request(struct question *q)
{
	struct term_pid self = our_pid(q);
	struct buf ref = { 0 }, *out = dist_output(q->dist);
	size_t start;
	int rc;

	put_ref(q, &ref);
	if ((rc = ref.err) == 0) {
		dist_send_monitor_name(q->dist, &self, q->to, (struct span){ ref.data, ref.len });
		start = dist_begin_send_name(q->dist, &self, q->to);
		term_put_tuple(out, 3);
		term_put_atom(out, "$gen_call");
		term_put_tuple(out, 2);
		term_put_pid(out, &self);
		term_put_raw(out, (struct span){ ref.data, ref.len });
		term_put_raw(out, q->request);
		rc = dist_end(q->dist, start);
	}
	buf_free(&ref);
	q->sent = true;
	return rc;
}

/* A message to us: the answer, if it has our reference. */
static void on_message(struct question *q, struct span payload)
{
	const uint8_t *first;
	uint32_t arity;
	struct buf ref = { 0 };

	put_ref(q, &ref);
	if (term_tuple(payload.at, &arity, &first) && arity == 2 &&
	    term_span(first).len == ref.len && memcmp(first, ref.data, ref.len) == 0) {
		term_put_raw(q->answer, term_span(term_skip(first)));
		q->answered = true;
	}
	buf_free(&ref);
}

/* All events that there are. 0: more bytes are wanted. */
static int events(struct question *q, char *why, size_t size)
{
	struct dist_event ev;
	int rc;

	while (dist_next(q->dist, &ev)) {
		switch (ev.type) {
		case DIST_EV_UP:
			if ((rc = send_request(q)) != 0)
				return rc;
			break;
		case DIST_EV_SEND:
			on_message(q, ev.payload);
			break;
		case DIST_EV_DOWN:
			if (!q->answered) {
				snprintf(why, size, "nobody there is called %s", q->to);
				return -ENOENT;
			}
			break;
		case DIST_EV_TICK:
			dist_send_tick(q->dist);
			break;
		case DIST_EV_CLOSED:
			snprintf(why, size, "%s", ev.why);
			return strstr(ev.why, "wrong cookie") != NULL ? -EACCES : -EPROTO;
		default:
			break;
		}
	}
	return 0;
}

/* One turn: out with what is to be sent, in with what has come. */
static int turn(struct question *q, uint64_t deadline, char *why, size_t size)
{
	struct buf *out = dist_output(q->dist);
	uint8_t *room;
	size_t len;
	ssize_t n;
	int rc = doctor_send(q->fd, out->data, out->len, deadline);

	if (rc == 0) {
		buf_consume(out, out->len);
		if ((room = dist_room(q->dist, &len)) == NULL)
			return -ENOMEM;
		n = doctor_receive(q->fd, room, len, deadline);
		if (n > 0) {
			dist_received(q->dist, (size_t)n);
			return events(q, why, size);
		}
		rc = n == 0 ? -ECONNRESET : (int)n;
	}
	/* what proves that it has another cookie: it closes when it sees our answer to its challenge */
	if (!q->sent && rc != -ETIMEDOUT &&
	    strstr(dist_awaits(q->dist), "our cookie wrong") != NULL)
		rc = -EACCES;
	snprintf(why, size, "%s",
		 rc == -EACCES       ? "it has another cookie"
		 : rc == -ETIMEDOUT  ? "it does not answer"
		 : rc == -ECONNRESET ? "it closed the connection"
				     : strerror(-rc));
	return rc;
}

int doctor_ask(const char *ip, uint16_t port, const char *peer, const char *cookie, const char *to,
	       struct span request, uint64_t deadline, struct buf *answer, char *why, size_t size)
{
	static unsigned asked;
	char ours[64];
	struct dist_config config = { .name = ours,
				      .cookie = cookie,
				      .creation = 1,
				      .flags = DIST_FLAGS,
				      .max_message = 16 * 1024 * 1024,
				      .max_frame = 16 * 1024 * 1024 };
	struct question q = { .ours = ours, .to = to, .request = request, .answer = answer };
	struct sockaddr_storage address;
	uint32_t challenge = 0;
	socklen_t len;
	int rc = 0;

	/* of each question: the node may not have noticed yet that the last connection is closed */
	snprintf(ours, sizeof ours, "krait_doctor_%d_%u@127.0.0.1", (int)getpid(), ++asked);
	(void)!getrandom(&challenge, sizeof challenge, 0);
	if (!doctor_reach(ip, port, &address, &len))
		return -EINVAL;
	if ((q.fd = doctor_connect((struct sockaddr *)&address, len, deadline)) < 0) {
		snprintf(why, size, "%s", strerror(-q.fd));
		return q.fd;
	}
	if ((q.dist = dist_connect(&config, peer, challenge)) == NULL)
		rc = -ENOMEM;
	while (rc == 0 && !q.answered)
		rc = turn(&q, deadline, why, size);
	if (q.dist != NULL)
		dist_free(q.dist);
	close(q.fd);
	return rc;
}
