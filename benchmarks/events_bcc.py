"""BCC's consumer of ring buffers, for ``benchmarks.events``: run by the interpreter that has BCC, without pyebpf.

    python3 events_bcc.py PATH

Opens the ring buffer that is pinned at PATH by BCC's own classes, so the path of an event is BCC's: its C library calls
its wrapper, that calls back, and ``event(data)`` casts to a ctypes class, which BCC makes from C in the same form. Only
BCC's compiler takes no part, which needs the kernel's headers. For each line on standard input it takes all events and
writes how many these were and how many seconds of the processor that took.
"""

from __future__ import annotations

import ctypes
import sys
import time


class Event(ctypes.Structure):
    """As ``benchmarks.events`` declares it."""

    _fields_ = (
        ("time", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("source", ctypes.c_uint16),
        ("destination", ctypes.c_uint16),
        ("start", ctypes.c_char * 8),
    )


def main(path: str) -> None:
    """Serve requests until there are none."""
    from bcc import BPF  # type: ignore[import-not-found]  # of the distribution's Python
    from bcc.libbcc import lib  # type: ignore[import-not-found]  # of the distribution's Python
    from bcc.table import RingBuf  # type: ignore[import-not-found]  # of the distribution's Python

    program = BPF.__new__(BPF)  # without its compiler
    program._ringbuf_manager = None
    ring = RingBuf.__new__(RingBuf)
    ring.bpf, ring.map_fd, ring._cbs, ring._event_class = program, lib.bpf_obj_get(path.encode()), {}, Event
    if ring.map_fd < 0:
        raise SystemExit(f"BCC cannot open {path}")
    total = count = 0

    def callback(ctx: object, data: int, size: int) -> None:
        nonlocal total, count
        event = ring.event(data)
        total += event.length
        count += 1

    ring.open_ring_buffer(callback)
    print("ready", flush=True)
    for _ in sys.stdin:
        count = 0
        start = time.process_time()
        program.ring_buffer_consume()
        print(count, time.process_time() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
