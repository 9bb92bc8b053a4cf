"""A limit for what a program may take."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Slow(BaseException):
    """The time limit has passed."""


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise ``Slow`` in the block after so many seconds. The kernel's verifier gives up at the signal too."""

    def expire(number: int, frame: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
