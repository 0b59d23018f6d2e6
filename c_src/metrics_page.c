/* metrics_page.c - the status page as it was linked in, and the policy that it is served with.
 *
 * share/status.html is one file. Its only <style> and its only <script> are named in the policy by the SHA-256
 * of what stands between their tags, so a browser runs these and nothing that ever finds its way between. */
#include "metrics.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* Made by `ld -r -b binary` from share/status.html: both point into one object, which is the file. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-*) */
extern const char _binary_share_status_html_start[], _binary_share_status_html_end[];
/* NOLINTEND(bugprone-reserved-identifier,cert-*) */

#define DIGEST_TEXT 64 /* base64 of 32 bytes is 44 */

/* The base64 of the SHA-256 of what stands between the two tags; empty: there is no such thing. */
static void digest(const struct metrics_page *page, const char *open, const char *close,
		   char out[DIGEST_TEXT])
{
	const char *at = memmem(page->text, page->len, open, strlen(open)), *end;
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	out[0] = '\0';
	if (at == NULL)
		return;
	at += strlen(open);
	end = memmem(at, (size_t)(page->text + page->len - at), close, strlen(close));
	if (end == NULL)
		return;
	if (EVP_Digest(at, (size_t)(end - at), sum, &len, EVP_sha256(), NULL) == 1)
		EVP_EncodeBlock((unsigned char *)out, sum, (int)len);
}

struct metrics_page metrics_page(void)
{
	static char policy[512];
	struct metrics_page page = { .text = _binary_share_status_html_start, .policy = policy };
	char style[DIGEST_TEXT], script[DIGEST_TEXT];

	/* cppcheck-suppress comparePointers */
	page.len = (size_t)(_binary_share_status_html_end - _binary_share_status_html_start);
	if (policy[0] != '\0')
		return page;
	digest(&page, "<style>", "</style>", style);
	digest(&page, "<script>", "</script>", script);
	snprintf(policy, sizeof policy,
		 "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
		 "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
		 "frame-ancestors 'none'",
		 style, script);
	return page;
}
