"""browser.py - a headless Chromium for the tests, over two pipes.

    Krait.Browser  <- frames of 4 bytes length ->  this  <- JSON, NUL-terminated, fd 3 and 4 ->  chromium

A request is a method of the DevTools protocol, for the one page, a NUL and its parameters as JSON; or `evaluate`,
`screenshot` or `complaints`. Its answer begins with + or, if it went wrong, with -. What the page complains of
(exceptions, refused resources) is gathered until it is asked for. It ends when its standard input does, and
takes the browser along.
"""
from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --mute-audio "
    "--no-first-run --disable-extensions --disable-background-networking --force-color-profile=srgb "
    "--remote-debugging-pipe"
).split()


class Browser:
    """One Chromium with one page."""

    def __init__(self, path: str, profile: str) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def descriptors() -> None:
            os.dup2(os.dup2(theirs_in, 13), 3)
            os.dup2(os.dup2(theirs_out, 14), 4)

        # fd 3 and 4 may be ours here: both are moved out of the way first
        ours_in, theirs_out, theirs_in, ours_out = (
            self._high(fd) for fd in (ours_in, theirs_out, theirs_in, ours_out)
        )
        self.process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=descriptors,
            close_fds=False,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.read, self.write = ours_in, ours_out
        self.pending = b""
        self.number = 0
        self.complaints: list[str] = []
        self.session: str | None = None
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(domain + ".enable", {})

    @staticmethod
    def _high(fd: int) -> int:
        import fcntl

        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
        os.close(fd)
        return moved

    def message(self) -> dict[str, Any]:
        while b"\0" not in self.pending:
            data = os.read(self.read, 1 << 20)
            if not data:
                raise SystemExit("the browser has ended")
            self.pending += data
        text, self.pending = self.pending.split(b"\0", 1)
        return json.loads(text)

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        request: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            request["sessionId"] = self.session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data):]
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise ValueError(message["error"]["message"])
                return message["result"]
            self.note(message)

    def note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            entry = params["entry"]
            self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")

    def evaluate(self, expression: str) -> str:
        result = self.ask(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True, "awaitPromise": True},
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise ValueError(details.get("exception", {}).get("description", details["text"]))
        value = result["result"].get("value")
        return value if isinstance(value, str) else json.dumps(value)

    def screenshot(self, path: str, params: dict[str, Any]) -> str:
        data = base64.b64decode(self.ask("Page.captureScreenshot", params)["data"])
        with open(path, "wb") as file:
            file.write(data)
        return str(len(data))

    def serve(self, method: str, text: str) -> str:
        if method == "complaints":
            self.evaluate("0")  # what was said before it has come by now
            told, self.complaints = self.complaints, []
            return "\n".join(told)
        if method == "evaluate":
            return self.evaluate(text)
        if method == "screenshot":
            return self.screenshot(text, {"format": "png", "captureBeyondViewport": False})
        return json.dumps(self.ask(method, json.loads(text)))


def exactly(n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def main() -> None:
    path = next((found for found in map(shutil.which, NAMES) if found), None)
    if path is None:
        raise SystemExit("no Chromium: scripts/setup.sh test installs one")
    with tempfile.TemporaryDirectory(prefix="krait_browser_") as profile:
        browser = Browser(path, profile)
        try:
            while True:
                method, _, text = exactly(int.from_bytes(exactly(4), "big")).decode().partition("\0")
                try:
                    answer = "+" + browser.serve(method, text)
                except ValueError as error:
                    answer = "-" + str(error)
                data = answer.encode()
                sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
                sys.stdout.buffer.flush()
        except EOFError:
            pass
        finally:
            os.killpg(browser.process.pid, signal.SIGKILL)
            browser.process.wait()


main()
