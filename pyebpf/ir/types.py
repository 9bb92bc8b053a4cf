"""The types of SSA values: three integer widths and pointers that know where they point.

An integer has a width but no sign (operations have signs). ``i1`` is the result of a comparison. Narrower
integers exist only in memory: a load widens to ``i64`` (or ``i32`` after narrowing), a store cuts.
A pointer carries its provenance, as the kernel's verifier tracks it.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.records import dataclass


@dataclass(frozen=True, slots=True)
class IntTy:
    """``i1``, ``i32`` or ``i64``."""

    bits: int

    def __str__(self) -> str:
        return f"i{self.bits}"


class Space(enums.Enum):
    """Where a pointer points: the verifier's register types, as far as the compiler tells them apart."""

    CTX = "ctx"
    STACK = "stack"
    MAP_VALUE = "map_value"
    GLOBAL = "global"  # a variable in .data, .bss or .rodata: a map value at a known offset
    PACKET = "packet"
    PACKET_META = "packet_meta"
    PACKET_END = "packet_end"
    RINGBUF = "ringbuf"  # a reserved, not yet submitted record
    MEM = "mem"  # memory of known size from a caller or a helper
    SOCKET = "socket"
    KERNEL = "kernel"  # a kernel object known by BTF id
    MAP = "map"  # the map itself, as helpers take it
    FUNC = "func"  # a callback


@dataclass(frozen=True, slots=True)
class PtrTy:
    """A pointer into ``space``.

    ``size``: bytes that may be accessed from the pointer on, where that is known for the whole object (a
    stack slot, a map value, a global); ``None`` for contexts, packets and handles. ``nullable``: may be null
    and must pass through ``NonNull`` before use.
    """

    space: Space
    size: int | None = None
    nullable: bool = False

    def __str__(self) -> str:
        size = "" if self.size is None else f":{self.size}"
        return f"ptr<{self.space.value}{size}{'?' if self.nullable else ''}>"


@dataclass(frozen=True, slots=True)
class VoidTy:
    """The type of operations without a result."""

    def __str__(self) -> str:
        return "void"


I1, I32, I64 = IntTy(1), IntTy(32), IntTy(64)
VOID = VoidTy()
CTX = PtrTy(Space.CTX)

IRType = IntTy | PtrTy | VoidTy
