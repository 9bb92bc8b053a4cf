"""Python's cyclic garbage collector, held back for a moment."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """No collection inside the block: a compilation, or the decoding of many events, makes many objects and leaves hardly
    a cycle among them, but the collector would go through all of them again and again, a fifteenth of the time of a
    compilation.

    Where the collector was off it stays off. Also a decorator.
    """
    was_on = gc.isenabled()
    try:
        gc.disable()  # in here: the exception of a signal handler may come right after it
        yield
    finally:
        if was_on:
            gc.enable()
