"""Python's cyclic garbage collector, held back for a moment."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_FEW = 1000
"""Python 3.12 freezes some hundred objects itself; a program that freezes what it has has many thousands."""


@contextlib.contextmanager
def paused(*, lasting: bool = False) -> Iterator[None]:
    """No collection inside the block: a compilation, or the decoding of many events, makes many objects and leaves hardly
    a cycle among them, but the collector would go through all of them again and again, a fifteenth of the time of a
    compilation.

    ``lasting``: most of what the block makes stays as long as the process, as modules do. All that is young is put among
    the old objects, so that the collections that follow do not go through all of it twice, which takes a millisecond for
    our modules. Where the collector was off it stays off. Also a decorator.
    """
    was_on = gc.isenabled()
    try:
        gc.disable()  # in here: the exception of a signal handler may come right after it
        yield
    finally:
        try:
            if was_on and lasting and gc.get_freeze_count() < _FEW:  # what a program has frozen stays frozen
                try:
                    gc.freeze()
                finally:
                    gc.unfreeze()  # back, and to the oldest generation
        finally:
            if was_on:
                gc.enable()
