"""Python's cyclic garbage collector, held back for a moment."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """No collection inside the block: a compilation makes many objects and leaves hardly a cycle among them, but the
    collector would go through all of them again and again, a fifteenth of the whole time.

    Where the collector was off it stays off. Also a decorator.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
