"""Work of known kinds, which says how long it took: see record.exs.

features    a text becomes 64 numbers, in pure Python: about a millisecond, nearly always the same
inference   a small network over a batch, in numpy on one thread: tens of milliseconds, nearly constant
documents   texts of very different lengths are parsed, counted and packed: some take a hundred times as long
            as most do, as real documents do
"""

from __future__ import annotations

import functools
import json
import random
import time
import zlib
from typing import Any

WORDS = ["pool", "queue", "worker", "caller", "lease", "stream", "session", "node", "peer", "call"]


@functools.lru_cache(maxsize=None)
def text_of(words: int) -> str:
    chance = random.Random(words)
    return " ".join(f"{chance.choice(WORDS)}{chance.randrange(100)}" for _ in range(words))


def features(chance: random.Random) -> list[float]:
    counts = [0.0] * 64
    for word in text_of(8000 + 200 * chance.randrange(10)).split():
        counts[zlib.crc32(word.encode()) & 63] += 1.0
    norm = sum(c * c for c in counts) ** 0.5
    return [c / norm for c in counts]


@functools.lru_cache(maxsize=None)
def network() -> list[Any]:
    import numpy as np

    chance = np.random.default_rng(1)
    return [chance.standard_normal((512, 512)).astype(np.float32) / 22 for _ in range(4)]


def inference(chance: random.Random) -> float:
    import numpy as np

    x = np.full((128, 512), chance.random(), np.float32)
    for layer in network():
        x = np.maximum(x @ layer, 0)
    return float(x.sum())


def documents(chance: random.Random) -> int:
    words = min(int(chance.lognormvariate(6.5, 1.4)), 100_000)
    document = {"title": "a document", "text": [random.Random(7).random() for _ in range(words)]}
    parsed = json.loads(json.dumps(document))
    return len(zlib.compress(repr(parsed["text"]).encode(), 6))


def timed(name: str, seed: int) -> tuple[float, float]:
    """Seconds that one call of that function takes, with the argument that the seed says: by the clock on
    the wall, and on its processor."""
    function, chance = globals()[name], random.Random(seed)
    begin, begun = time.perf_counter(), time.thread_time()
    function(chance)
    return time.perf_counter() - begin, time.thread_time() - begun


def sleep_us(us: int) -> int:
    """Sleeps so long, and says how long it was."""
    begin = time.perf_counter()
    time.sleep(us / 1e6)
    return round((time.perf_counter() - begin) * 1e6)


def echo(value: Any) -> Any:
    return value


def tokens(count: int) -> Any:
    for _ in range(count):
        yield "token"
