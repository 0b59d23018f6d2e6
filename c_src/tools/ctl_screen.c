/* ctl_screen.c - the terminal, while `top` has it: raw keys, the other screen, no cursor, no wrapping.
 *
 * It is given back on every way out: screen_leave(), exit(), and the signals that end a process, stop it or
 * are its own fault. All of that is one write() and one tcsetattr(), which signal handlers may do. */
#include "ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char enter_text[] = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
static const char leave_text[] = "\x1b[?7h\x1b[?25h\x1b[?1049l";

static struct termios before;
static volatile sig_atomic_t entered;

static void put(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

void screen_leave(void)
{
	if (!entered)
		return;
	entered = 0;
	put(leave_text, sizeof leave_text - 1);
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

static void take_terminal(void)
{
	struct termios raw = before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
	raw.c_oflag &= ~(tcflag_t)OPOST;
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	put(enter_text, sizeof enter_text - 1);
	entered = 1;
}

/* The terminal as it was, then what the signal does by itself. */
static void on_signal(int number)
{
	screen_leave();
	signal(number, SIG_DFL);
	raise(number);
}

static void on_continue(int number)
{
	(void)number;
	signal(SIGTSTP, on_signal);
	if (!entered)
		take_terminal();
}

bool screen_enter(void)
{
	static const int signals[] = { SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGABRT,
				       SIGSEGV, SIGBUS,  SIGFPE, SIGPIPE, SIGTSTP };

	if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
		return false;
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		signal(signals[i], on_signal);
	signal(SIGCONT, on_continue);
	atexit(screen_leave);
	take_terminal();
	return true;
}

void screen_size(unsigned *rows, unsigned *columns)
{
	struct winsize size = { 0 };

	(void)!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*rows = size.ws_row > 0 ? size.ws_row : 24;
	*columns = size.ws_col > 0 ? size.ws_col : 80;
}

void screen_draw(const struct buf *frame)
{
	put("\x1b[H", 3);
	put((const char *)frame->data, frame->len);
}

/* The next byte; -1: none is there. -2: no more will come. */
static int next_byte(int wait_ms)
{
	struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char c;
	ssize_t n;

	if (poll(&fd, 1, wait_ms) <= 0)
		return -1;
	n = read(STDIN_FILENO, &c, 1);
	return n == 1 ? c : n == 0 || errno != EINTR ? -2 : -1;
}

/* An arrow is ESC [ A or ESC O A, and comes at once; an ESC alone is nothing. */
int screen_key(void)
{
	int c = next_byte(0);

	if (c == -1)
		return KEY_NONE;
	if (c == -2)
		return KEY_END;
	if (c != 0x1b)
		return c;
	c = next_byte(20);
	if (c != '[' && c != 'O')
		return 0x1b;
	do
		c = next_byte(20);
	while (c == ';' || (c >= '0' && c <= '9'));
	return c == 'A' ? KEY_UP : c == 'B' ? KEY_DOWN : 0x1b;
}
