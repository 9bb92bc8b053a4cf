"""What ``pyebpf check`` tells about programs that compile: their stack, their loops, and what the verifier has to do.

The estimate multiplies the instructions of each line by how often the verifier passes it, as the compiler assumed when it
chose what drives each loop. The measurement counts the lines of the verifier's own log.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyebpf.backend.frame import STACK_BYTES
from pyebpf.declare import ProgramDecl
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import LineInfo
from pyebpf.records import dataclass
from pyebpf.verifier_log import INSTRUCTION

if TYPE_CHECKING:
    from pyebpf.driver import Compiled

_PRUNED = re.compile(r"(?:from \d+ to )?(\d+)(?: \(speculative execution\))?: safe$")
"""Where a way ends because the verifier has been there in such a state: it counts the instruction, but does not show it."""


# ---------------------------------------------------------------- the stack


def stack_report(compiled: Compiled) -> Iterator[str]:
    """For each function: bytes of its frame, and what lies in it, with the lines where objects are made."""
    for report in compiled.reports.values():
        beneath = (
            "" if report.chain == report.stack else f"; with what it calls {report.chain} of {STACK_BYTES}"
        )
        yield f"  stack of {report.name}: {report.stack} bytes{beneath}"
        objects = [slot for slot in report.frame if slot.span is not None]
        for slot in sorted(objects, key=lambda slot: -slot.size):
            assert slot.span is not None
            yield f"    {slot.size:5}  {slot.label or 'an object'}, line {slot.span.line}"
        spilled = sum(slot.size for slot in report.frame if slot.span is None)
        if spilled:
            yield f"    {spilled:5}  numbers that found no register"
    declared = {decl.name for decl in compiled.unit.maps}
    for name, spec in compiled.module.maps.items():
        if name not in declared:
            yield f"  scratch memory {name}: {spec.value_size} bytes, {spec.max_entries} for each CPU"


# ---------------------------------------------------------------- loops


def loop_report(compiled: Compiled) -> Iterator[str]:
    """For each loop: what drives it, and why."""
    from pyebpf.frontend.loop_report import loop_facts

    for fact in loop_facts(compiled.unit.programs, compiled.target.kernel):
        yield f"  loop in line {fact.span.line} ({fact.function}): {fact.driver}; {fact.why}"


# ---------------------------------------------------------------- what the verifier does


@dataclass(frozen=True, slots=True)
class LineCost:
    """A source line: instructions of it, and how many of them the verifier processes: estimated, and measured where that
    was possible."""

    file: str
    line: int
    text: str
    instructions: int
    estimated: int
    measured: int | None = None


def costs(compiled: Compiled, decl: ProgramDecl, log: str | None = None) -> list[LineCost]:
    """The lines of one program and of what it calls. ``log``: what the verifier wrote at level 2."""
    from pyebpf.frontend.loop_report import passes
    from pyebpf.runtime.linker import link

    linked = link(compiled.object, compiled.object.programs[decl.name])
    lines = _lines(dict(linked.lines), len(linked.code) // 8)
    entry = next(f for f in compiled.unit.programs if f.program is decl)
    passed = passes(entry)
    own: Counter[LineInfo] = Counter()
    first: dict[tuple[str, int], LineInfo] = {}
    for info in lines:
        own[first.setdefault((info.file, info.line), info)] += 1
    measured = _measured(log, lines) if log is not None else None
    return [
        LineCost(
            info.file,
            info.line,
            info.text.strip(),
            count,
            count * max(1, passed[info.file, info.line]),
            None if measured is None else measured[info.file, info.line],
        )
        for info, count in sorted(own.items(), key=lambda item: (item[0].file, item[0].line))
    ]


def _lines(starts: Mapping[int, LineInfo], slots: int) -> list[LineInfo]:
    """The line of each slot."""
    found: list[LineInfo] = []
    now = starts[0]
    for slot in range(slots):
        now = starts.get(slot, now)
        found.append(now)
    return found


def _measured(log: str, lines: list[LineInfo]) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for text in log.splitlines():
        insn = INSTRUCTION.match(text) or _PRUNED.match(text)
        if insn is not None and int(insn[1]) < len(lines):
            info = lines[int(insn[1])]
            found[info.file, info.line] += 1
    return found


def cost_report(found: list[LineCost]) -> Iterator[str]:
    """The lines as a table."""
    known = all(cost.measured is not None for cost in found)
    yield f"  {'instructions':>12} {'estimated':>10} {'measured' if known else '':>9}"
    for cost in found:
        measured = "" if cost.measured is None else cost.measured
        place = f"{Path(cost.file).name}:{cost.line}"
        yield f"  {cost.instructions:12} {cost.estimated:10} {measured:>9}  {place}  {cost.text}"
    total = sum(cost.measured or 0 for cost in found) if known else ""
    instructions, estimated = (
        sum(values) for values in zip(*((c.instructions, c.estimated) for c in found), strict=True)
    )
    yield f"  {instructions:12} {estimated:10} {total:>9}  together"
