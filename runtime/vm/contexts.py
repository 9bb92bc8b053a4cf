"""The contexts of programs: structs of linux/bpf.h in the machine's memory, and the packets behind them.

The model is the kernel's test run (net/bpf/test_run.c): which fields have which values there, what of a context
given by the user counts, what comes back.
"""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError, Phase, UnsupportedObject
from pyebpf.runtime.vm.memory import Memory, Region
from pyebpf.runtime.vm.run import ContextModel
from pyebpf.uapi.constants import AttachType, ProgType
from pyebpf.uapi.contexts import Context

if TYPE_CHECKING:
    from typing import Final


ETHERNET: Final = 14
PAGE: Final = 4096
SHARED_INFO: Final = 320
"""Bytes of ``struct skb_shared_info``, rounded up, that end every buffer of a test run."""


_places: dict[str, dict[str, tuple[int, int]]] = {}
"""Where the fields of each struct start and end: found once, as it is needed for every packet."""


class Fields:
    """A context struct in memory, with its fields by name."""

    def __init__(self, memory: Memory, layout: Context) -> None:
        self.memory = memory
        self.layout = layout
        self.region: Region = memory.map(bytearray(layout.size), f"the context (struct {layout.name})")
        places = _places.get(layout.name)
        if places is None:
            places = _places[layout.name] = {
                f.name: (f.offset, f.offset + f.total_size) for f in layout.fields
            }
        self.places = places

    def get(self, name: str) -> int:
        """A field as an unsigned number; one in network order as the packet has it in memory."""
        start, end = self.places[name]
        return int.from_bytes(self.region.data[start:end], sys.byteorder)

    def set(self, name: str, value: int) -> None:
        """Set a field; bits that do not fit are lost, as in C."""
        start, end = self.places[name]
        size = end - start
        self.region.data[start:end] = (value & (1 << 8 * size) - 1).to_bytes(size, sys.byteorder)

    def load(self, name: str, source: bytes) -> None:
        """Take a field over from another context's bytes."""
        start, end = self.places[name]
        self.region.data[start:end] = source[start:end]

    def store(self, name: str, target: bytearray) -> None:
        """Write a field to another context's bytes."""
        start, end = self.places[name]
        target[start:end] = self.region.data[start:end]


def refused(why: str, code: int = errno.EINVAL) -> BpfError:
    """The kernel's answer to input that its test run does not take."""
    return BpfError(code, Phase.PROG_RUN, detail=why)


def whole_context(ctx: bytes, size: int) -> bytes:
    """A context that the user gave, at the full size: what is longer must be zero (E2BIG), what is shorter gets
    zeros."""
    if not ctx:
        raise refused("the context is empty")
    if any(ctx[size:]):
        raise refused(f"the context has more than {size} bytes that are not zero", errno.E2BIG)
    return ctx[:size].ljust(size, b"\0")


def check_room(ctx: bytes, size: int) -> None:
    """Refuse a context into which the kernel could not give all back."""
    if len(ctx) < size:
        raise refused(f"the context has {len(ctx)} bytes, the kernel gives {size} back", errno.ENOSPC)


_ON_SKB: Final = frozenset(
    {
        ProgType.SOCKET_FILTER,
        ProgType.SCHED_CLS,
        ProgType.SCHED_ACT,
        ProgType.CGROUP_SKB,
        ProgType.SK_SKB,
    }
)


def make_context(
    memory: Memory, prog_type: ProgType, attach_type: AttachType | None, data: bytes, ctx: bytes | None
) -> ContextModel:
    """The context for one run on ``data``.

    ``ctx``: the bytes of the context as the user gave them. Raises ``BpfError`` with the errno of the kernel's test
    run for input that it refuses, ``UnsupportedObject`` for a program type without a model here.
    """
    if prog_type in _ON_SKB:
        from pyebpf.runtime.vm.contexts_skb import SkbContext

        return SkbContext(memory, prog_type, data, ctx)
    if prog_type is ProgType.XDP:
        from pyebpf.runtime.vm.contexts_xdp import XdpContext

        return XdpContext(memory, attach_type, data, ctx)
    raise UnsupportedObject(f"the built-in machine has no context for programs of type {prog_type.name}")
