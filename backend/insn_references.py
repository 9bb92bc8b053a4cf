"""What the src register makes of the number in an instruction: all that filling in references needs of ``insn``.

Plain numbers, since this is on the way of every program that is loaded; ``insn`` has them as enums.
"""

from __future__ import annotations

from pyebpf.hints import Final

SLOT_BYTES: Final = 8

PSEUDO_NONE: Final = 0
PSEUDO_MAP_FD: Final = 1
PSEUDO_MAP_VALUE: Final = 2
PSEUDO_BTF_ID: Final = 3
PSEUDO_FUNC: Final = 4

CALL_HELPER: Final = 0
CALL_SUBPROGRAM: Final = 1
CALL_KFUNC: Final = 2
