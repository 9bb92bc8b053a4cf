"""Python's cyclic garbage collector, held back for a moment."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

_FEW = 1000
"""Python 3.12 freezes some hundred objects itself; a program that freezes what it has has many thousands."""


@contextlib.contextmanager
def paused(*, lasting: bool = False) -> Iterator[None]:
    """No collection inside the block: a compilation, or the decoding of many events, makes many objects and leaves hardly
    a cycle among them, but the collector would go through all of them again and again, a fifteenth of the time of a
    compilation.

    ``lasting``: if the block imports modules, most of what it makes stays as long as the process. Then all that is young is
    put among the old objects, so that the collections that follow do not go through all of it twice, which takes a
    millisecond for our modules. Where the collector was off it stays off. Also a decorator.
    """
    was_on, modules = gc.isenabled(), len(sys.modules)
    try:
        gc.disable()  # in here: the exception of a signal handler may come right after it
        yield
    finally:
        try:
            imported = lasting and len(sys.modules) > modules
            if was_on and imported and gc.get_freeze_count() < _FEW:  # what a program has frozen stays frozen
                try:
                    gc.freeze()
                finally:
                    gc.unfreeze()  # back, and to the oldest generation
        finally:
            if was_on:
                gc.enable()
