"""A limit for what a program may take."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Slow(BaseException):
    """The time limit has passed."""


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """``Slow`` where the block takes so many seconds of this process' own time, however busy the machine is; or waits
    for another process for twenty times as long. The kernel's verifier gives up at the signal too."""

    def expire(number: int, frame: object) -> None:
        raise Slow

    before = [signal.signal(number, expire) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(20 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)
