"""Waiting for descriptors to become readable, in a way that another thread can end: for consumers of events."""

from __future__ import annotations

import os
import select
from _thread import allocate_lock  # threading is imported by few scripts, and takes a millisecond
from collections.abc import Callable, Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.backing import MIXED
from pyebpf.runtime.fd import Fd

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Bell:
    """A descriptor that becomes readable, and stays so, when ``ring`` is called; made when first waited for."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._fd: Fd | None = None
        self.rung = False

    def fileno(self) -> int | None:
        """The descriptor's number; ``None`` after ``ring``."""
        with self._lock:
            if self.rung:
                return None
            if self._fd is None:
                self._fd = Fd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            return self._fd.fileno()

    def ring(self) -> None:
        """Let all return that wait, now and from now on, and give the descriptor up; again is harmless."""
        with self._lock:
            self.rung = True
            if self._fd is not None:
                os.eventfd_write(self._fd.fileno(), 1)
                self._fd.close()
                self._fd = None


def wait_readable(numbers: Sequence[int], bells: Sequence[Bell], seconds: float | None) -> bool:
    """Wait until one of the descriptors ``numbers`` is readable or one of ``bells`` rings, at most so many seconds
    (``None``: for ever); whether one is readable. Signal handlers run meanwhile, and their exceptions go through."""
    poller = select.poll()
    for number in numbers:
        poller.register(number, select.POLLIN)
    for bell in bells:
        rope = bell.fileno()
        if rope is None:
            return False
        poller.register(rope, select.POLLIN)
    ready = poller.poll(None if seconds is None else -int(-seconds * 1000 // 1))  # rounded up
    return any(number in numbers for number, _ in ready)


class Readable:
    """Sources of records with a descriptor, which can be waited for together."""

    def __init__(self) -> None:
        self.bell = Bell()

    def fileno(self) -> int:
        """The descriptor that is readable while there are records."""
        raise NotImplementedError

    def wait(self, seconds: float | None, others: Sequence[object] = ()) -> bool:
        """Wait until there may be a record here or in ``others``, or one of them is closed, at most so many seconds
        (``None``: for ever); whether there may be one. Raises ``TypeError`` for sources without a descriptor."""
        sources: list[Readable] = [self]
        for other in others:
            if not isinstance(other, Readable):
                raise TypeError(MIXED)
            sources.append(other)
        try:
            numbers = [one.fileno() for one in sources]
        except ValueError:
            if any(one.bell.rung for one in sources):  # closed a moment ago, in another thread
                return False
            raise
        return wait_readable(numbers, [one.bell for one in sources], seconds)

    def listen(self, loop: AbstractEventLoop, wake: Callable[[], None]) -> Callable[[], None]:
        """Have ``wake`` called in ``loop`` while there may be a record, until the function that this returns is
        called."""
        return listen(self.fileno(), loop, wake)


def listen(number: int, loop: AbstractEventLoop, wake: Callable[[], None]) -> Callable[[], None]:
    """Have ``wake`` called in ``loop`` while the descriptor ``number`` is readable, until the function that this returns
    is called. It uses a descriptor of its own, because a loop knows one listener for each."""
    own = os.dup(number)

    def stop() -> None:
        loop.remove_reader(own)
        os.close(own)

    try:
        loop.add_reader(own, wake)
    except BaseException:
        os.close(own)
        raise
    return stop
