"""Worker code that uses multiprocessing."""

import multiprocessing


def square(x: int) -> int:
    return x * x


def squares(method: str, numbers: list) -> list:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, numbers)
