"""What ``print`` in a program wrote: the lines of the kernel's trace pipe."""

from __future__ import annotations

import errno
import math
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.syscall import error
from pyebpf.runtime.tracefs import root

if TYPE_CHECKING:
    from typing import Final


_CHUNK: Final = 1 << 16
_OTHER_READER: Final = (
    "somebody else reads it (another `trace_print`, `bpftool prog tracelog`, `cat`); it takes one reader"
)


def trace_pipe() -> Path:
    """The path of the trace pipe; tracefs is mounted at /sys/kernel/tracing if it is nowhere and that is
    permitted.

    Raises ``BpfError`` with the reason.
    """
    return Path(root(Phase.TRACE)) / "trace_pipe"


def trace_print(timeout: float | None = None) -> Iterator[str]:
    """The lines that programs print, as they come, without newlines.

    A line is what the kernel makes of it: process, CPU, time, ``bpf_trace_printk``, text. The pipe is
    shared by the whole machine: each line goes to one reader, and newer kernels admit one at a time (EBUSY).
    ``timeout``: seconds; the iteration ends when that long no line came, 0 gives what is there, ``None`` never ends.
    Raises ``BpfError``.
    """
    path = trace_pipe()
    try:
        pipe = Fd(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as found:
        number, subject = found.errno or errno.EIO, f"{str(path)!r}"
        if number == errno.EBUSY:
            raise BpfError(number, Phase.TRACE, subject, detail=_OTHER_READER) from None
        raise error(number, Phase.TRACE, subject, need=Need.SYS_ADMIN) from None
    return _lines(pipe, timeout)


def _lines(pipe: Fd, timeout: float | None) -> Iterator[str]:
    with pipe:
        poller = select.poll()
        poller.register(pipe.fileno(), select.POLLIN)
        pending, last = b"", time.monotonic()
        while True:
            try:
                data = os.read(pipe.fileno(), _CHUNK)
            except BlockingIOError:
                data = b""
            except OSError as found:
                raise BpfError(found.errno or errno.EIO, Phase.TRACE) from None
            if data:
                *lines, pending = (pending + data).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
                last = time.monotonic()
                continue
            left = math.inf if timeout is None else last + timeout - time.monotonic()
            if left <= 0:
                return
            poller.poll(None if left == math.inf else math.ceil(left * 1000))
