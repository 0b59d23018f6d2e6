/* dist_handshake.c - who the peer is, what it can do, and whether it knows the cookie.
 *
 * Specification: "Distribution Handshake" of the ERTS documentation, version 6. Each packet has a
 * 2-byte length in front, which dist.c has taken off. A calls, B answers:
 *
 *   A -> B   N flags:64 creation:32 nlen:16 name
 *         or n version:16 flags:32 name     by OTP 23 and 24, when they do not know who answers
 *   B -> A   s ok | ok_simultaneous | nok | not_allowed | alive
 *   A -> B   s true | false                              after `alive` only
 *   B -> A   N flags:64 challenge:32 creation:32 nlen:16 name
 *   A -> B   c flags_high:32 creation:32                 after `n` only
 *   A -> B   r challenge:32 digest:16
 *   B -> A   a digest:16
 *
 * A digest is MD5(cookie ++ the challenge in decimal). What can go wrong is refused in words that
 * name what came and what was expected; bytes of a stranger are quoted, cut and escaped. */
#include "dist_private.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#define VERSION_OLD 5 /* what the old `n` form carries, by nodes that know version 6 as well */

static const struct {
	uint64_t flag;
	const char *name;
} flag_names[] = {
	{ FLAG_EXTENDED_REFERENCES, "EXTENDED_REFERENCES" },
	{ FLAG_FUN_TAGS, "FUN_TAGS" },
	{ FLAG_NEW_FUN_TAGS, "NEW_FUN_TAGS" },
	{ FLAG_EXTENDED_PIDS_PORTS, "EXTENDED_PIDS_PORTS" },
	{ FLAG_EXPORT_PTR_TAG, "EXPORT_PTR_TAG" },
	{ FLAG_BIT_BINARIES, "BIT_BINARIES" },
	{ FLAG_NEW_FLOATS, "NEW_FLOATS" },
	{ FLAG_UTF8_ATOMS, "UTF8_ATOMS" },
	{ FLAG_MAP_TAG, "MAP_TAG" },
	{ FLAG_BIG_CREATION, "BIG_CREATION" },
	{ FLAG_HANDSHAKE_23, "HANDSHAKE_23" },
	{ FLAG_UNLINK_ID, "UNLINK_ID" },
	{ FLAG_V4_NC, "V4_NC" },
};

#define QUOTE_MAX 64
/* Bytes of a stranger, as text: at most QUOTE_MAX of them, unprintable ones as \xNN. */
struct quoted {
	char text[QUOTE_MAX * 4 + sizeof "..."];
};

static struct quoted quote(const void *data, size_t len)
{
	const uint8_t *p = data;
	struct quoted q = { "" };
	char *to = q.text;

	for (size_t i = 0; i < len && i < QUOTE_MAX; i++) {
		if (p[i] >= 0x20 && p[i] < 0x7f)
			*to++ = (char)p[i];
		else
			to += sprintf(to, "\\x%02x", p[i]);
	}
	memcpy(to, len > QUOTE_MAX ? "..." : "", len > QUOTE_MAX ? sizeof "..." : 1);
	return q;
}

bool dist_digest(const char *cookie, uint32_t challenge, uint8_t digest[DIST_DIGEST_LEN])
{
	char decimal[sizeof "4294967295"];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	if (ctx == NULL)
		return false;
	snprintf(decimal, sizeof decimal, "%lu", (unsigned long)challenge);
	ok = EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 &&
	     EVP_DigestUpdate(ctx, cookie, strlen(cookie)) == 1 &&
	     EVP_DigestUpdate(ctx, decimal, strlen(decimal)) == 1 &&
	     EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static void no_digest(struct dist *d)
{
	(void)dist_refuse(d, "libcrypto cannot compute MD5 (FIPS mode?), needed here");
}

/* Appends one packet; the connection fails when there is no memory for it. */
static void put_packet(struct dist *d, const void *head, size_t head_len, const void *tail,
		       size_t tail_len)
{
	buf_put_u16(&d->out, (unsigned)(head_len + tail_len));
	buf_put(&d->out, head, head_len);
	buf_put(&d->out, tail, tail_len);
	if (d->out.err != 0)
		(void)dist_refuse(d, "no memory for a packet of the handshake");
}

static void put_status(struct dist *d, const char *status)
{
	put_packet(d, "s", 1, status, strlen(status));
}

/* `r` (with our challenge) or `a`: the digest of the peer's challenge. */
static void put_proof(struct dist *d, char tag, uint32_t peer_challenge)
{
	uint8_t head[5] = { (uint8_t)tag }, digest[DIST_DIGEST_LEN];

	if (!dist_digest(d->config.cookie, peer_challenge, digest)) {
		no_digest(d);
		return;
	}
	put_u32(head + 1, d->challenge);
	put_packet(d, head, tag == 'r' ? 5 : 1, digest, sizeof digest);
}

void dist_introduce(struct dist *d)
{
	size_t name_len = strlen(d->config.name);
	uint8_t head[15] = { 'N' };

	put_u64(head + 1, d->config.flags);
	put_u32(head + 9, d->config.creation);
	put_u16(head + 13, (unsigned)name_len);
	put_packet(d, head, sizeof head, d->config.name, name_len);
}

static void put_challenge(struct dist *d)
{
	size_t name_len = strlen(d->config.name);
	uint8_t head[19] = { 'N' };

	put_u64(head + 1, d->config.flags);
	put_u32(head + 9, d->challenge);
	put_u32(head + 13, d->config.creation);
	put_u16(head + 17, (unsigned)name_len);
	put_packet(d, head, sizeof head, d->config.name, name_len);
}

/* Keeps the peer's flags, the shorthand spelled out. False: some that `required` names are missing,
 * and `missing` lists them. */
static bool flags_ok(struct dist *d, uint64_t flags, uint64_t required, char *missing, size_t room)
{
	size_t len = 0;

	if (flags & FLAG_MANDATORY_25_DIGEST)
		flags |= FLAGS_MANDATORY_25;
	d->peer_flags = flags;
	required &= ~flags;
	missing[0] = '\0';
	for (size_t i = 0; i < sizeof flag_names / sizeof *flag_names; i++)
		if ((required & flag_names[i].flag) && len < room)
			len += (size_t)snprintf(missing + len, room - len, "%s%s",
						len > 0 ? ", " : "", flag_names[i].name);
	return required == 0;
}

static enum dist_step refuse_flags(struct dist *d, const char *missing)
{
	return dist_refuse(d,
			   "the peer lacks the flags %s, OTP 25 or newer is expected "
			   "(it announced 0x%llx)",
			   missing, (unsigned long long)d->peer_flags);
}

/* Acceptor: `N` or `n`. */
static enum dist_step name_packet(struct dist *d, const uint8_t *p, size_t len,
				  struct dist_event *ev)
{
	uint64_t flags, required = FLAGS_REQUIRED;
	const uint8_t *name;
	size_t name_len;
	char missing[256];

	if (p[0] == 'N' && len >= 15 && len - 15 >= get_u16(p + 13)) {
		flags = get_u64(p + 1);
		d->peer_creation = get_u32(p + 9);
		name_len = get_u16(p + 13);
		name = p + 15;
	} else if (p[0] == 'n' && len >= 7) {
		if (get_u16(p + 1) < VERSION_OLD)
			return dist_refuse(d, "handshake version %u, expected %d or higher",
					   get_u16(p + 1), VERSION_OLD);
		d->old_name = true;
		flags = get_u32(p + 3);
		required &= UINT32_MAX;
		name_len = len - 7;
		name = p + 7;
	} else {
		return dist_refuse(d, "the first packet is \"%s\", expected a name ('N' or 'n')",
				   quote(p, len).text);
	}
	if (flags & FLAG_NAME_ME) {
		put_status(d, "not_allowed");
		return dist_refuse(d,
				   "the peer asks for a name (dynamic node name), which we do not "
				   "give: it must have its own");
	}
	if (!dist_name_ok(name, name_len))
		return dist_refuse(
			d,
			"the peer calls itself \"%s\" (%zu bytes), expected name@host in "
			"at most %d printable bytes",
			quote(name, name_len).text, name_len, DIST_NAME_MAX);
	memcpy(d->peer, name, name_len);
	d->peer[name_len] = '\0';
	if (strcmp(d->peer, d->config.name) == 0) {
		put_status(d, "not_allowed");
		return dist_refuse(d, "the peer has our own name, %s", d->peer);
	}
	if (!flags_ok(d, flags, required, missing, sizeof missing)) {
		put_status(d, "not_allowed");
		return refuse_flags(d, missing);
	}
	dist_move(d, PHASE_DECIDE);
	ev->type = DIST_EV_NAME;
	return STEP_EVENT;
}

static void challenge_peer(struct dist *d)
{
	put_challenge(d);
	if (d->phase < PHASE_FAILED)
		dist_move(d, d->old_name ? PHASE_COMPLEMENT : PHASE_REPLY);
}

void dist_answer_name(struct dist *d, enum dist_status status)
{
	static const char *const text[] = {
		[DIST_OK] = "ok",
		[DIST_OK_SIMULTANEOUS] = "ok_simultaneous",
		[DIST_NOK] = "nok",
		[DIST_ALIVE] = "alive",
		[DIST_NOT_ALLOWED] = "not_allowed",
	};

	if (d->phase != PHASE_DECIDE)
		return; /* refused meanwhile: the owner has yet to hear it */
	put_status(d, text[status]);
	if (d->phase == PHASE_FAILED)
		return;
	if (status == DIST_NOK)
		(void)dist_refuse(d, "we are connecting to %s ourselves (told it nok)", d->peer);
	else if (status == DIST_NOT_ALLOWED)
		(void)dist_refuse(d, "%s is not allowed here", d->peer);
	else if (status == DIST_ALIVE)
		dist_move(d, PHASE_ALIVE);
	else
		challenge_peer(d);
}

/* Acceptor, after `alive`: `true` if the peer knows that its old connection is gone. */
static enum dist_step alive_packet(struct dist *d, const uint8_t *p, size_t len)
{
	if (len == 5 && memcmp(p, "strue", 5) == 0) {
		challenge_peer(d);
		return STEP_AGAIN;
	}
	if (len == 6 && memcmp(p, "sfalse", 6) == 0)
		return dist_refuse(d, "%s keeps its old connection", d->peer);
	return dist_refuse(d, "\"%s\" after our status alive, expected strue or sfalse",
			   quote(p, len).text);
}

/* Acceptor, after the old `n`: the upper half of the flags, and the creation. */
static enum dist_step complement_packet(struct dist *d, const uint8_t *p, size_t len)
{
	char missing[256];

	if (p[0] != 'c' || len < 9)
		return dist_refuse(d, "\"%s\" after our challenge, expected a complement ('c')",
				   quote(p, len).text);
	d->peer_creation = get_u32(p + 5);
	if (!flags_ok(d, d->peer_flags | (uint64_t)get_u32(p + 1) << 32, FLAGS_REQUIRED, missing,
		      sizeof missing))
		return refuse_flags(d, missing);
	dist_move(d, PHASE_REPLY);
	return STEP_AGAIN;
}

/* Whether `claimed` is the digest of our challenge; refuses the peer if not. */
static bool proves(struct dist *d, const uint8_t *claimed)
{
	uint8_t digest[DIST_DIGEST_LEN];

	if (!dist_digest(d->config.cookie, d->challenge, digest))
		no_digest(d);
	else if (CRYPTO_memcmp(digest, claimed, sizeof digest) != 0)
		(void)dist_refuse(d,
				  "wrong cookie: the answer of %s to our challenge is not what our "
				  "cookie makes of it",
				  d->peer);
	return d->phase < PHASE_FAILED;
}

/* Acceptor: `r`, the peer's proof, and its challenge. */
static enum dist_step reply_packet(struct dist *d, const uint8_t *p, size_t len,
				   struct dist_event *ev)
{
	if (p[0] != 'r' || len != 5 + DIST_DIGEST_LEN)
		return dist_refuse(d,
				   "\"%s\" after our challenge, expected a reply ('r', 21 bytes)",
				   quote(p, len).text);
	if (!proves(d, p + 5))
		return STEP_AGAIN;
	put_proof(d, 'a', get_u32(p + 1));
	if (d->phase == PHASE_FAILED)
		return STEP_AGAIN;
	dist_move(d, PHASE_UP);
	ev->type = DIST_EV_UP;
	return STEP_EVENT;
}

/* Initiator: `s` and what the peer thinks of us. */
static enum dist_step status_packet(struct dist *d, const uint8_t *p, size_t len)
{
	struct span s = { p + 1, len - 1 };
	const char *why = NULL;

#define IS(text) (s.len == sizeof(text) - 1 && memcmp(s.at, (text), sizeof(text) - 1) == 0)
	if (p[0] != 's')
		return dist_refuse(d, "\"%s\" as first answer, expected a status ('s')",
				   quote(p, len).text);
	d->told_nok = IS("nok");
	if (d->told_nok)
		why = "it is connecting to us itself";
	else if (IS("not_allowed"))
		why = "it does not allow us, or misses flags of ours";
	else if (s.len >= 6 && memcmp(s.at, "named:", 6) == 0)
		why = "it gives us a name that we did not ask for";
	else if (IS("alive"))
		put_status(d, "true"); /* we would not connect if the old connection were up */
	else if (!IS("ok") && !IS("ok_simultaneous"))
		why = "expected ok, ok_simultaneous, nok, alive or not_allowed";
#undef IS
	if (why != NULL)
		return dist_refuse(d, "%s answers with status \"%s\": %s", d->peer,
				   quote(s.at, s.len).text, why);
	if (d->phase < PHASE_FAILED)
		dist_move(d, PHASE_CHALLENGE);
	return STEP_AGAIN;
}

/* Initiator: `N`, the peer's challenge. */
static enum dist_step challenge_packet(struct dist *d, const uint8_t *p, size_t len)
{
	char missing[256];

	if (p[0] != 'N' || len < 19 || len - 19 < get_u16(p + 17))
		return dist_refuse(
			d, "\"%s\" after the status, expected a challenge of version 6 ('N')",
			quote(p, len).text);
	if (get_u16(p + 17) != strlen(d->peer) || memcmp(p + 19, d->peer, strlen(d->peer)) != 0)
		return dist_refuse(d, "the node there is \"%s\", expected %s",
				   quote(p + 19, get_u16(p + 17)).text, d->peer);
	d->peer_creation = get_u32(p + 13);
	if (!flags_ok(d, get_u64(p + 1), FLAGS_REQUIRED, missing, sizeof missing))
		return refuse_flags(d, missing);
	put_proof(d, 'r', get_u32(p + 9));
	if (d->phase < PHASE_FAILED)
		dist_move(d, PHASE_ACK);
	return STEP_AGAIN;
}

/* Initiator: `a`, the peer's proof. */
static enum dist_step ack_packet(struct dist *d, const uint8_t *p, size_t len,
				 struct dist_event *ev)
{
	if (p[0] != 'a' || len != 1 + DIST_DIGEST_LEN)
		return dist_refuse(
			d, "\"%s\" after our reply, expected an acknowledgement ('a', 17 bytes)",
			quote(p, len).text);
	if (!proves(d, p + 1))
		return STEP_AGAIN;
	dist_move(d, PHASE_UP);
	ev->type = DIST_EV_UP;
	return STEP_EVENT;
}

enum dist_step dist_packet(struct dist *d, const uint8_t *p, size_t len, struct dist_event *ev)
{
	switch (d->phase) {
	case PHASE_NAME:
		return name_packet(d, p, len, ev);
	case PHASE_ALIVE:
		return alive_packet(d, p, len);
	case PHASE_COMPLEMENT:
		return complement_packet(d, p, len);
	case PHASE_REPLY:
		return reply_packet(d, p, len, ev);
	case PHASE_STATUS:
		return status_packet(d, p, len);
	case PHASE_CHALLENGE:
		return challenge_packet(d, p, len);
	case PHASE_ACK:
		return ack_packet(d, p, len, ev);
	default:
		return STEP_MORE;
	}
}
