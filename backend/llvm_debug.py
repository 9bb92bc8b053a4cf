"""Source places as LLVM's debug metadata: what makes its BPF backend write line records.

LLVM records lines only with a compile unit, a subprogram for each function and a location on each instruction
(LLVM Language Reference, "Metadata"). Types are not described: the BTF of the object is ours.
"""

from __future__ import annotations

from pyebpf.backend.debuginfo import MAX_COLUMN
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Function, FunctionRole
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final


_UNIT: Final = "!0"
_HEAD: Final = (
    "distinct !DICompileUnit(language: DW_LANG_C99, file: !1, isOptimized: true, emissionKind: FullDebug)",
    '!DIFile(filename: "pyebpf", directory: "")',
    '!{i32 2, !"Debug Info Version", i32 3}',
    "!DISubroutineType(types: !4)",
    "!{null}",
)


def quoted(text: str) -> str:
    """``text`` as a string of LLVM's assembly."""
    return '"{}"'.format(
        "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in text.encode())
    )


@dataclass(slots=True)
class DebugInfo:
    """The numbered metadata of one module. ``nodes`` holds their texts; equal ones are one."""

    nodes: list[str] = field(default_factory=lambda: list(_HEAD))
    _numbers: dict[str, str] = field(default_factory=dict)

    def node(self, text: str) -> str:
        """The reference to the node ``text``."""
        if text not in self._numbers:
            self._numbers[text] = f"!{len(self.nodes)}"
            self.nodes.append(text)
        return self._numbers[text]

    def _file(self, name: str) -> str:
        return self.node(f'!DIFile(filename: {quoted(name)}, directory: "")')

    def subprogram(self, function: Function) -> str:
        """The reference to the description of ``function``."""
        span = function.span
        local = function.role not in (FunctionRole.ENTRY, FunctionRole.GLOBAL)
        flags = "DISPFlagDefinition | DISPFlagOptimized" + (" | DISPFlagLocalToUnit" if local else "")
        return self.node(
            f"distinct !DISubprogram(name: {quoted(function.name)}, scope: {self._file(span.file)}, "
            f"file: {self._file(span.file)}, line: {span.line}, type: !3, scopeLine: {span.line}, "
            f"spFlags: {flags}, unit: {_UNIT})"
        )

    def location(self, span: Span, subprogram: str, file: str) -> str:
        """The reference to a place inside ``subprogram``, whose own file is ``file``."""
        scope = subprogram
        if span.file != file:
            scope = self.node(
                f"!DILexicalBlockFile(scope: {subprogram}, file: {self._file(span.file)}, discriminator: 0)"
            )
        column = min(span.column, MAX_COLUMN)
        return self.node(f"!DILocation(line: {span.line}, column: {column}, scope: {scope})")

    def text(self) -> list[str]:
        """The lines that define all nodes."""
        return [
            f"!llvm.dbg.cu = !{{{_UNIT}}}",
            "!llvm.module.flags = !{!2}",
            *(f"!{number} = {node}" for number, node in enumerate(self.nodes)),
        ]
