"""The table of diagnostic codes: for each a title, why the rule exists, a wrong and a right example.

``pyebpf explain CODE`` prints a row. Families: E01 syntax, E02 names and constants, E03 types and integers,
E04 control flow, E05 memory, E06 maps, E07 contexts and packets, E08 helpers, program types and licence,
E09 functions, callbacks and tail calls, E10 objects and building, E11 refused by the kernel.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the table, as ``pyebpf explain`` prints it."""

    title: str
    why: str
    wrong: str
    right: str


class Code(enum.Enum):
    """Every code that a diagnostic may carry."""

    E0101 = Explanation(
        title="this Python construct cannot be compiled",
        why="A program runs inside the kernel, where Python's object model does not exist. What cannot be "
        "given its Python meaning there is refused; nothing is ever dropped or ignored.",
        wrong="x = [n for n in range(4)]",
        right="total = 0\nfor n in range(4):\n    total += n",
    )

    @property
    def explanation(self) -> Explanation:
        """The row of this code."""
        return self.value


def codes() -> list[Code]:
    """All codes in order."""
    return sorted(Code, key=lambda c: c.name)
