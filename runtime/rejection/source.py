"""Where the instructions of a refused program come from, as plain data.

It is read from the records that the kernel was given, so that it is at hand for every program that has them: compiled
now, from the cache, or of somebody else's object.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import LineInfo
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.btf import Spec

_LINE: Final = struct.Struct("=IIII")
_FUNC: Final = struct.Struct("=II")
_COLUMN_BITS: Final = 10
_OTHER_LANGUAGES: Final = (".c", ".h", ".cc", ".cpp", ".hpp", ".rs", ".zig", ".go", ".s", ".bt")


@dataclass(frozen=True, slots=True)
class Source:
    """``lines``: records by ascending slot, each good up to the next; ``functions``: names by first slot.

    ``program``: its name; ``kind``: its type, such as ``XDP``. What has no debug information has neither lines nor functions.
    ``missing``: by slot, what the kernel lacks that the instruction asks for.
    """

    program: str = ""
    kind: str = ""
    lines: tuple[LineInfo, ...] = ()
    functions: tuple[tuple[int, str], ...] = ()
    missing: tuple[tuple[int, str], ...] = ()

    def line(self, slot: int) -> LineInfo | None:
        """The record that covers ``slot``, if any; where that names no line, the last of its function that does."""
        at = bisect_right(self.lines, slot, key=lambda line: line.slot)
        start = max((first for first, _ in self.functions if first <= slot), default=0)
        while at and self.lines[at - 1].line == 0 and self.lines[at - 1].slot > start:
            at -= 1
        return self.lines[at - 1] if at else None

    def function(self, slot: int) -> str:
        """The name of the function that ``slot`` belongs to; the program's where it is not known."""
        at = bisect_right(self.functions, slot, key=lambda pair: pair[0])
        return (self.functions[at - 1][1] if at else "") or self.program

    @property
    def ours(self) -> bool:
        """Whether it was compiled from Python: from lines of no other language."""
        return bool(self.lines) and not any(line.file.endswith(_OTHER_LANGUAGES) for line in self.lines)


def read_source(program: str, kind: str, func_info: bytes, line_info: bytes, types: bytes) -> Source:
    """The source of a program from its records and the ``.BTF`` that they refer to; what is malformed is left out."""
    from pyebpf.btf import BtfError, Spec

    try:
        spec = Spec(types)
    except BtfError:
        return Source(program, kind)
    lines = tuple(sorted(_lines(line_info, spec), key=lambda line: line.slot))
    return Source(program, kind, lines, tuple(sorted(_functions(func_info, spec))))


def _lines(records: bytes, spec: Spec) -> Iterator[LineInfo]:
    from pyebpf.btf import BtfError

    for slot, file, text, place in _LINE.iter_unpack(records[: len(records) // _LINE.size * _LINE.size]):
        try:
            names = _text(spec, file), _text(spec, text)
        except BtfError:
            continue
        yield LineInfo(slot, names[0], place >> _COLUMN_BITS, place & (1 << _COLUMN_BITS) - 1, names[1])


def _text(spec: Spec, offset: int) -> str:
    return spec.string(offset).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _functions(records: bytes, spec: Spec) -> Iterator[tuple[int, str]]:
    from pyebpf.btf import BtfError, Func

    for slot, number in _FUNC.iter_unpack(records[: len(records) // _FUNC.size * _FUNC.size]):
        try:
            found = spec.type(number)
        except BtfError:
            continue
        if isinstance(found, Func):
            yield slot, found.name
