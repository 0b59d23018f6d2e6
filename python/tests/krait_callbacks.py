"""Functions that call back, for the suites of Krait. Put this folder on the workers' path."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import krait


def call(dest: Any, request: Any, *timeout: Any) -> Any:
    return krait.call(dest, request, *timeout)


def call_twice(dest: Any) -> Any:
    return [krait.call(dest, 1), krait.call(dest, 2)]


def send(dest: Any, term: Any) -> Any:
    return krait.send(dest, term)


def rpc(*args: Any, **kwargs: Any) -> Any:
    return krait.rpc(*args, **kwargs)


def caught(dest: Any) -> Any:
    """What a call back raises, as a value."""
    try:
        return krait.call(dest, "request")
    except krait.Exit as error:
        return ["exit", error.reason]
    except krait.Timeout as error:
        return ["timeout", isinstance(error, TimeoutError)]


def wrong(*args: Any) -> Any:
    """What a call back with wrong arguments raises; nothing may have been sent."""
    try:
        return krait.call(*args)
    except (TypeError, ValueError, krait.EncodeError) as error:
        return [type(error).__name__, str(error)]


def call_object() -> Any:
    return krait.call("server", {"a": object()})


def survives(dest: Any) -> Any:
    try:
        krait.call(dest, "first", None)
    except KeyboardInterrupt:
        return ["interrupted", krait.call(dest, "second", None)]


def call_then_hang(dest: Any) -> Any:
    value = krait.call(dest, "request", None)
    print("begun", flush=True)
    while True:
        pass
    return value


def watch(dest: Any) -> Any:
    """Waits for the end of a process."""
    monitor = krait.monitor(dest)
    reason = monitor.wait()
    return [reason, monitor.is_down, monitor.reason, monitor.wait(0)]


def watch_a_little(dest: Any) -> Any:
    monitor = krait.monitor(dest)
    try:
        return monitor.wait(0.01)
    except krait.Timeout:
        return [monitor.is_down, monitor.reason]


def poll_down(dest: Any) -> Any:
    """Sees the end of a process without waiting for it."""
    monitor = krait.monitor(dest)
    while not monitor.is_down:
        pass
    return monitor.reason


def unwatch(dest: Any) -> Any:
    monitor = krait.monitor(dest)
    monitor.cancel()
    monitor.cancel()
    try:
        monitor.wait()
    except RuntimeError as error:
        return [str(error), monitor.is_down]


kept: list[krait.Monitor] = []


def keep_monitor(dest: Any) -> None:
    kept.append(krait.monitor(dest))


def kept_monitor() -> Any:
    try:
        kept[0].wait()
    except RuntimeError as error:
        return [str(error), kept[0].is_down]


def progress(*terms: Any) -> str:
    for term in terms:
        krait.progress(term)
    return "done"


def progress_object() -> Any:
    try:
        krait.progress({"a": object()})
    except krait.EncodeError as error:
        return [error.kind, *error.details]
    return "silent"


def about_itself(dest: Any = None) -> Any:
    """Which call runs, before, and after having called back."""
    first = krait.current_call()
    if dest is not None:
        krait.call(dest, "request", None)
    second = krait.current_call()
    assert first is not None and second is not None
    return [first.id, second.id, second.function]


def session_after_call(dest: Any) -> Any:
    krait.session()["n"] = krait.session().get("n", 0) + 1
    krait.call(dest, "request", None)
    return [krait.session().id, krait.session()["n"]]


def recurse(depth: int) -> Any:
    return krait.call("server", depth, None)


def hang() -> None:
    print("begun", flush=True)
    while True:
        pass


def input_items(items: Any, ahead: int | None = None) -> Any:
    if ahead is not None:
        items.ahead = ahead
    return list(items)


def input_pid(items: krait.Input) -> Any:
    return [items.pid, repr(items).startswith("<krait.Input <krait.Pid")]


def input_doubled(items: krait.Input) -> Any:
    for item in items:
        yield 2 * item


def input_twice(items: krait.Input) -> Any:
    """After its end it stays at its end."""
    return [list(items), list(items)]


async def input_async(items: krait.Input) -> Any:
    return [item async for item in items]


async def input_plainly(items: krait.Input) -> Any:
    return list(items)


# Threads


class Waiting(threading.Thread):
    """Calls back; the outcome is kept."""

    def __init__(self, *args: Any) -> None:
        super().__init__(daemon=True)
        self.args = args
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = krait.call(*self.args)
        except BaseException as error:
            self.outcome = [type(error).__name__, str(error)]


threads: list[Waiting] = []


def in_threads(dest: Any, count: int) -> Any:
    """Several threads wait at a time, the main one for them."""
    waiting = [Waiting(dest, i, None) for i in range(count)]
    for thread in waiting:
        thread.join()
    return [thread.outcome for thread in waiting]


def all_wait(dest: Any, count: int) -> Any:
    """The main thread waits for the node as well."""
    waiting = [Waiting(dest, i, None) for i in range(count)]
    own = krait.call(dest, "main", None)
    for thread in waiting:
        thread.join()
    return [own, [thread.outcome for thread in waiting]]


def leave_waiting(dest: Any) -> None:
    """A thread that still waits when the call ends."""
    asked = threading.Event()
    threads.append(Waiting(dest, "left", None))
    asked.set()
    krait.call(dest, "main", None)


def left() -> Any:
    threads[-1].join()
    return threads[-1].outcome


def late_thread() -> Any:
    """A thread that asks when no call runs any more."""

    def run() -> None:
        while krait.current_call() is not None:
            pass
        try:
            krait.call("server", 1)
        except RuntimeError as error:
            print(error, flush=True)

    threading.Thread(target=run, daemon=True).start()


# Coroutines


async def async_call(dest: Any, request: Any) -> Any:
    return await krait.call(dest, request, None)


async def async_about_itself(dest: Any = None) -> Any:
    first = krait.current_call()
    if dest is not None:
        await krait.call(dest, "request", None)
    second = krait.current_call()
    assert first is not None and second is not None
    return [first.id, second.id, second.function]


async def gathered(dest: Any, count: int) -> Any:
    return await asyncio.gather(*(krait.call(dest, i, None) for i in range(count)), return_exceptions=True)


async def busy_then_awaits(dest: Any) -> Any:
    """Asks, and is busy until something has come that was not its turn to be read."""
    answer = krait.call(dest, "request", None)
    engine = krait._context.engine
    print("begun", flush=True)
    while not engine.channel.pending:
        pass
    return await answer


async def async_caught(dest: Any) -> Any:
    try:
        return await krait.call(dest, "request")
    except krait.Exit as error:
        return ["exit", error.reason]
    except krait.Timeout:
        return ["timeout"]


async def impatient(dest: Any) -> Any:
    """Gives up before the node does."""
    try:
        await asyncio.wait_for(krait.call(dest, "request", None), 0.01)
    except asyncio.TimeoutError:
        return await krait.call(dest, "again", None)


async def async_watch(dest: Any) -> Any:
    monitor = krait.monitor(dest)
    try:
        await monitor.wait(0.01)
    except krait.Timeout:
        pass
    return [await monitor.wait(), monitor.is_down]


async def ends_before(dest: Any) -> Any:
    """Ends though a task of it still waits."""

    async def wait() -> None:
        try:
            await krait.call(dest, "left", None)
        except RuntimeError as error:
            left_behind.append(str(error))

    left_behind.append(asyncio.ensure_future(wait()))
    await asyncio.sleep(0)
    return "done"


left_behind: list[Any] = []


async def what_was_left() -> Any:
    await left_behind[0]
    return left_behind[1:]


def own_loop(dest: Any) -> Any:
    """A plain function with a loop of its own."""
    return asyncio.run(gathered(dest, 2))


async def async_session(dest: Any) -> Any:
    session = krait.session()
    session["n"] = session.get("n", 0) + 1
    await krait.call(dest, "request", None)
    return [krait.session().id, session["n"]]
