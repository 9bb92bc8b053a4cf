"""What code is compiled for, as plain data: instruction set, kernel, byte order."""

from __future__ import annotations

import enum

from pyebpf.records import dataclass


class Isa(enum.IntEnum):
    """The levels of the BPF instruction set (LLVM's ``-mcpu``).

    v1 the base; v2 adds the unsigned and signed less-than jumps (4.14); v3 the 32-bit ALU and jumps (5.1);
    v4 signed division, sign-extending moves and loads, byte swap and long jumps (6.6).
    """

    V1 = 1
    V2 = 2
    V3 = 3
    V4 = 4


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel to compile for. ``kernel`` is the oldest release that must accept the program, as (major, minor)."""

    isa: Isa = Isa.V3
    kernel: tuple[int, int] = (6, 1)
    little_endian: bool = True

    @property
    def byteorder(self) -> str:
        """``"little"`` or ``"big"``, as Python's ``struct`` and ``int`` functions take it."""
        return "little" if self.little_endian else "big"
