/* doctor_report.c - what the doctor found, written for people or for programs.
 *
 *     ok    epmd       answers on port 4369, and knows 2 names
 *     FAIL  cookie     /root/.erlang.cookie: found mode 0644, expected one that lets only its owner in
 *                      means: others of this machine can read the secret that lets peers run code
 *                      do:    chmod 400 /root/.erlang.cookie
 *
 * With --json one object: {"node", "verdict", "checks": [{"check", "verdict", "found", "means", "do"}]}. */
#include "doctor_private.h"

#include "json.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *const words[] = { "ok", "warn", "fail" };

static void put_string(const char *text)
{
	struct buf out = { 0 };

	json_word(&out, text);
	fwrite(out.data, 1, out.len, stdout);
	buf_free(&out);
}

static void put_json(struct doctor *d, enum verdict v, const char *check, const char *found,
		     const char *means, const char *advice)
{
	printf("%s\n    {\"check\": ", d->first ? "" : ",");
	put_string(check);
	printf(", \"verdict\": \"%s\", \"found\": ", words[v]);
	put_string(found);
	fputs(", \"means\": ", stdout);
	put_string(means);
	fputs(", \"do\": ", stdout);
	put_string(advice);
	putchar('}');
}

/* On a terminal the verdict has its colour. */
static void put_text(enum verdict v, const char *check, const char *found, const char *means,
		     const char *advice)
{
	static const char *const shown[] = { "ok  ", "warn", "FAIL" };
	static const char *const colour[] = { "\033[32m", "\033[33m", "\033[31m" };
	bool colours = isatty(STDOUT_FILENO) == 1;

	printf("%s%s%s  %-12s", colours ? colour[v] : "", shown[v], colours ? "\033[0m" : "",
	       check);
	for (const char *p = found; *p != '\0'; p++) {
		putchar(*p);
		if (*p == '\n')
			printf("%18s", "");
	}
	putchar('\n');
	if (v == FINE)
		return;
	printf("%18smeans: %s\n", "", means);
	if (advice != NULL)
		printf("%18sdo:    %s\n", "", advice);
}

void doctor_say(struct doctor *d, enum verdict v, const char *check, const char *means,
		const char *advice, const char *format, ...)
{
	char found[4096];
	va_list ap;

	va_start(ap, format);
	(void)!vsnprintf(found, sizeof found, format, ap);
	va_end(ap);
	for (char *p = found; *p != '\0';
	     p++) /* what a worker prints is not for a terminal to obey */
		if (((unsigned char)*p < 0x20 && *p != '\n') || (unsigned char)*p == 0x7f)
			*p = ' ';
	if (d->json)
		put_json(d, v, check, found, means, v == FINE ? NULL : advice);
	else
		put_text(v, check, found, means, advice);
	fflush(stdout);
	d->first = false;
	d->count[v]++;
}

void doctor_begin(struct doctor *d)
{
	d->first = true;
	if (d->json)
		fputs("{\n  \"checks\": [", stdout);
}

void doctor_end(struct doctor *d)
{
	enum verdict worst = d->count[WRONG] > 0 ? WRONG : d->count[DOUBT] > 0 ? DOUBT : FINE;

	if (d->json) {
		fputs("\n  ],\n  \"node\": ", stdout);
		put_string(d->name);
		printf(",\n  \"verdict\": \"%s\"\n}\n", words[worst]);
	} else if (worst == WRONG) {
		printf("\n%u of %u would keep the node from serving.\n", d->count[WRONG],
		       d->count[FINE] + d->count[DOUBT] + d->count[WRONG]);
	} else {
		printf("\nNothing keeps the node from serving.\n");
	}
	fflush(stdout);
}
