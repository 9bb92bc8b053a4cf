"""What the src register makes of the number in an instruction: all that filling in references needs of ``insn``."""

from __future__ import annotations

import enum
from typing import Final

SLOT_BYTES: Final = 8


class Pseudo(enum.IntEnum):
    """What the 64 bits of ``ld_imm64`` mean, in ``src`` (linux/bpf.h, BPF_PSEUDO_*)."""

    NONE = 0
    MAP_FD = 1
    MAP_VALUE = 2  # low half the map's fd, high half the offset
    BTF_ID = 3  # low half the id of a kernel variable, high half the fd of its BTF
    FUNC = 4  # low half the distance to a function, in slots
    MAP_IDX = 5  # as MAP_FD, by index into fd_array
    MAP_IDX_VALUE = 6


class CallKind(enum.IntEnum):
    """What ``call`` calls, in ``src``."""

    HELPER = 0
    SUBPROGRAM = 1
    KFUNC = 2  # offset: index into fd_array, 0 is vmlinux
