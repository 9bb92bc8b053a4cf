"""How long a consumer waits for events: the loop around ``RecordSource.wait`` that all consumers have."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


PAUSE: Final = 50e-6
"""Seconds to wait where there is something to read, but the oldest record is still being written."""


class Patience:
    """Waiting that gives up ``timeout`` seconds after it was made or ``renew`` was called; ``None``: never."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = None if timeout == float("inf") else timeout
        self.renew()

    def renew(self) -> None:
        """There was an event: count from now on."""
        self._deadline = None if self._timeout is None else time.monotonic() + self._timeout
        self._woken = False

    def wait(self, wait: Callable[[float | None], bool]) -> bool:
        """Wait once by ``wait``, which is told the seconds and says whether there may be an event; whether there was
        time left for it."""
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        if self._woken:
            time.sleep(PAUSE)
        self._woken = wait(left)
        return True
