"""What the tracing tools have in common: they run until Ctrl-C, or as long as the command line says."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import pyebpf as bpf

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing ``typing`` takes as long as attaching three programs
    from typing import TypeVar

    T = TypeVar("T")


def seconds(what: str) -> float:
    """``--seconds N`` of the command line; as long as one likes without. Says that tracing has begun."""
    chosen = float("inf")
    if len(sys.argv) > 1:
        import argparse  # as long to import as it takes to attach a program

        parser = argparse.ArgumentParser(description=what)
        parser.add_argument(
            "--seconds", type=float, default=chosen, help="end after so long (default: Ctrl-C)"
        )
        chosen = parser.parse_args().seconds
    print("tracing...", flush=True)
    return chosen


def until(limit: float, events: bpf.RingBuf[T]) -> Iterator[T]:
    """The events that come within ``limit`` seconds, or until Ctrl-C."""
    end = time.monotonic() + limit
    try:
        while (left := end - time.monotonic()) > 0:
            yield from events.poll(timeout=min(left, 0.5))
    except KeyboardInterrupt:
        pass


def wait(limit: float) -> None:
    """Wait so long, or until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(min(limit, 1e6))
