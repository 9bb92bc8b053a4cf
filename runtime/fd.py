"""File descriptors that close themselves: the only way in which the runtime holds one."""

from __future__ import annotations

import fcntl
import os
import weakref
from types import TracebackType

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final, Self


LOWEST: Final = 3
"""bpf(2) reads 0 as "none" in many fields, and 1 and 2 are where a closed stderr would be reused."""


class Fd:
    """An owned descriptor. It is closed once: by ``close``, at the end of a ``with``, by the garbage
    collector or when Python exits, whichever comes first."""

    __slots__ = ("__weakref__", "_finalizer", "_number")

    def __init__(self, number: int) -> None:
        """Take over ``number``; one below 3 is moved up, close-on-exec."""
        if number < LOWEST:
            try:
                moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, LOWEST)
            finally:
                os.close(number)
            number = moved
        self._number = number
        self._finalizer = weakref.finalize(self, os.close, number)

    def fileno(self) -> int:
        """The number. Raises ``ValueError`` after ``close``, so that a reused number is never acted upon."""
        if not self._finalizer.alive:
            raise ValueError("the file descriptor is closed")
        return self._number

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Close it; again is harmless."""
        self._finalizer()

    def duplicate(self) -> Fd:
        """Another descriptor of the same kernel object, close-on-exec."""
        return Fd(fcntl.fcntl(self.fileno(), fcntl.F_DUPFD_CLOEXEC, LOWEST))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Fd({'closed' if self.closed else self._number})"
