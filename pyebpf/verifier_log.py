"""The verifier's log of a program beside the Python lines that its instructions come from.

The kernel prints source lines itself, but only as much as each release does, and not again after a jump back. Here
they come from the program's own line information, wherever the log goes on at another line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pyebpf.declare import ProgramDecl
from pyebpf.diagnostics import Diagnostic
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import LineInfo
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


INSTRUCTION: Final = re.compile(r"(\d+): \([0-9a-f]{2}\) ")
_JUMP: Final = re.compile(r"from \d+ to \d+")
_KERNELS_OWN: Final = re.compile(r"; (?!R\d)")


@dataclass(frozen=True, slots=True)
class Told:
    """What the verifier told: its log as it is and with the Python lines, and the diagnostic if it refused the program."""

    raw: str
    text: str
    diagnostic: Diagnostic | None = None

    @property
    def accepted(self) -> bool:
        """Whether the program may run."""
        return self.diagnostic is None


def verifier_log(decl: ProgramDecl, level: int = 2) -> Told:
    """Load a program for its log. ``level``: the verifier's bits: 1 only what is refused, 2 every instruction, 4 statistics.

    Raises ``CompileError``, ``PermissionDenied`` and what else stops a program before the verifier sees it.
    """
    from pyebpf.driver import compile_programs
    from pyebpf.runtime.errors import VerifierError
    from pyebpf.runtime.linker import link
    from pyebpf.session import close_program, load_program

    spec = compile_programs([decl]).object
    lines = dict(link(spec, spec.programs[decl.name]).lines)
    try:
        log, diagnostic = load_program(decl, level).log, None
        close_program(decl)
    except VerifierError as error:
        log, diagnostic = error.log, error.diagnostic
    return Told(log, "\n".join(interleave(log.splitlines(), lines)), diagnostic)


def interleave(log: Iterable[str], lines: Mapping[int, LineInfo]) -> Iterator[str]:
    """The lines of a log with ``FILE:LINE  TEXT`` above the first instruction of each Python line. ``lines``: line
    information by slot; the log's own source lines are left out."""
    starts = sorted(lines)
    shown: tuple[str, int] | None = None
    for text in log:
        if _KERNELS_OWN.match(text):
            continue
        if _JUMP.match(text):
            shown = None
        insn = INSTRUCTION.match(text)
        if insn is not None:
            slot = max((s for s in starts if s <= int(insn[1])), default=None)
            if slot is not None and (lines[slot].file, lines[slot].line) != shown:
                line = lines[slot]
                shown = (line.file, line.line)
                yield f"{Path(line.file).name}:{line.line}  {line.text.strip()}"
        yield text
