"""What a row of the table of the kernel's messages holds: what a message means, and who can do what about it.

The rows are in ``rules_memory``, ``rules_calls`` and ``rules_structure``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property

from pyebpf import enums
from pyebpf.codes import Code
from pyebpf.records import dataclass
from pyebpf.runtime.rejection.trace import is_call


class Blame(enums.Enum):
    """Whose mistake a refusal is, if pyebpf compiled the program."""

    PROGRAM = "program"  # nobody's: the kernel cannot follow it, does not offer it or does not permit it
    MISSED = "missed"  # the compiler should have refused it, or put a check there
    COMPILER = "compiler"  # the compiler's alone: no source text means this


class Follow(enums.Enum):
    """Which value is followed back to where it came from."""

    NAMED = "named"  # that in register ``reg`` of the message; else that which memory is accessed through
    INDEX = "index"  # the number that moved it
    NOTHING = "nothing"


@dataclass(frozen=True)
class Rule:
    """One row.

    ``says``: patterns, one for each wording that kernels from 5.15 on have for this. They are searched in all lines of
    the reason. In the texts ``{name}`` stands for a group of the pattern or for one of ``facts.facts``.

    Where the texts stand: ``label`` at the refused place, ``origin`` where the followed value was made, ``test`` where it
    was compared last, ``call`` at the last call behind that for which ``calls`` holds (a function of its disassembly),
    ``acquired`` at the instruction that the group ``acquired`` tells.

    ``whole``: it is about the program, not about an instruction.

    When a row matches besides: ``of``: what the kernel knew of the value, as a pattern; ``at_call``: the refused
    instruction is a call; ``only``: holds for the groups.
    """

    code: Code
    says: tuple[str, ...]
    message: str
    help: tuple[str, ...] = ()
    label: str = ""
    origin: str = ""
    test: str = ""
    call: str = ""
    calls: Callable[[str], bool] = is_call
    acquired: str = ""
    blame: Blame = Blame.MISSED
    follow: Follow = Follow.NAMED
    whole: bool = False
    of: str = ""
    at_call: bool = False
    only: Callable[[Mapping[str, str]], bool] | None = None

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """``says``, compiled."""
        return tuple(re.compile(words, re.MULTILINE) for words in self.says)
