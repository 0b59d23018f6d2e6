"""Runs a program on a terminal of its own: on_terminal.py ROWS COLUMNS PROGRAM [ARGUMENT]...

What the program writes comes on standard output. Standard input has a command a line: `keys HEX`, `size ROWS
COLUMNS`, `signal NAME`. At its end one more line: `[pty: STATUS same|changed]`, STATUS as the shell counts it,
and whether the terminal's attributes are what they were before.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios


def set_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def obey(command: str, master: int, child: int) -> None:
    word, *arguments = command.split()
    if word == "keys":
        os.write(master, bytes.fromhex(arguments[0]))
    elif word == "size":
        set_size(master, int(arguments[0]), int(arguments[1]))
    elif word == "signal":
        os.kill(child, signal.Signals["SIG" + arguments[0]])


def start(program: list[str], master: int, slave: int, ended: int) -> int:
    child = os.fork()
    if child == 0:
        os.close(master)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        os.set_inheritable(ended, True)  # open as long as the program lives
        os.execv(program[0], program)
    os.close(ended)
    return child


def relay(master: int, child: int, end: int) -> None:
    """Until the program has ended, and what it wrote is read."""
    waiting = b""
    while True:
        ready, _, _ = select.select([master, 0, end], [], [])
        if master in ready:
            os.write(1, os.read(master, 65536))
        elif end in ready:
            return
        if 0 in ready:
            data = os.read(0, 4096)
            if not data:  # nobody is there any more
                os.kill(child, signal.SIGKILL)
                return
            *commands, waiting = (waiting + data).split(b"\n")
            for command in commands:
                obey(command.decode(), master, child)


def main() -> None:
    rows, columns, *program = sys.argv[1:]
    master, slave = pty.openpty()
    set_size(master, int(rows), int(columns))
    before = termios.tcgetattr(slave)
    end, ended = os.pipe()
    child = start(program, master, slave, ended)
    relay(master, child, end)
    _, status = os.waitpid(child, 0)
    same = termios.tcgetattr(slave) == before
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    os.write(1, f"\n[pty: {code} {'same' if same else 'changed'}]\n".encode())


if __name__ == "__main__":
    main()
