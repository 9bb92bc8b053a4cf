"""Programs that the kernel refuses, written as assembly with directives, for ``tests.golden.rejected``.

A line is an instruction of ``pyebpf.backend.assemble``, or one of::

    .type XDP                    the program type (socket filter); .flags N
    .map counts HASH 4 8 16      a map: type, sizes of key and value, entries, flags
    .data .rodata 16             a data section of so many bytes
    .license Proprietary         the licence (GPL)
    .lines off                   no line information; .types off: no function types either
    .without PERFMON SYS_ADMIN   capabilities that the loading process gives up before
    .function name global u32    from here on another function, with its linkage and parameters
    r1 = map counts              the address of a map; ``data .rodata``, ``function name`` likewise
    call map_lookup_elem         a helper by name; ``call function name``, ``call kernel name`` likewise

Every line of the file is the source line of its own instruction, so that the kernel's log names the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pyebpf import btf
from pyebpf.backend.assemble import assemble
from pyebpf.backend.insn import CALL, LD_IMM64, CallKind, Insn, encode
from pyebpf.object import (
    DataSection,
    Extern,
    FunctionSpec,
    LineInfo,
    Linkage,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    RelocKind,
)
from pyebpf.records import dataclass, field
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.uapi.constants import MapType, ProgType
from pyebpf.uapi.helpers import helper_by_name

_PARAMETERS: Final[dict[str, btf.Type]] = {
    "u32": btf.U32,
    "mem": btf.Ptr(btf.Array(btf.U8, 8)),
    "void": btf.Ptr(None),
}
_LOADS: Final = {"map": RelocKind.MAP, "data": RelocKind.DATA, "function": RelocKind.FUNC}
_CALLS: Final = {
    "function": (RelocKind.CALL, CallKind.SUBPROGRAM),
    "kernel": (RelocKind.KFUNC, CallKind.KFUNC),
}


@dataclass(slots=True)
class _Function:
    name: str
    linkage: str = "global"
    parameters: tuple[str, ...] = ("void",)
    insns: list[Insn] = field(default_factory=list)
    lines: list[LineInfo] = field(default_factory=list)
    relocations: list[Relocation] = field(default_factory=list)
    slots: int = 0


@dataclass(slots=True)
class Assembled:
    """What a file holds. ``settings``: the directives that are said once."""

    functions: list[_Function] = field(default_factory=lambda: [_Function("prog")])
    maps: dict[str, MapSpec] = field(default_factory=dict)
    data: dict[str, DataSection] = field(default_factory=dict)
    externs: dict[str, Extern] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def without(self) -> tuple[str, ...]:
        """Capabilities that the loading process gives up before."""
        return tuple(self.settings.get("without", "").split())

    @property
    def spec(self) -> ObjectSpec:
        """The object."""
        entry, *rest = self.functions
        with_lines = self.settings.get("lines") != "off"
        with_types = self.settings.get("types") != "off"

        def parts(function: _Function) -> tuple[bytes, tuple[Relocation, ...], tuple[LineInfo, ...]]:
            lines = tuple(function.lines) if with_lines else ()
            return encode(function.insns), tuple(function.relocations), lines

        def type_of(function: _Function) -> btf.Func | None:
            if not with_types:
                return None
            params = tuple(
                btf.Param(f"p{number}", _PARAMETERS[name]) for number, name in enumerate(function.parameters)
            )
            outside = function.linkage == "global"
            linkage = btf.FuncLinkage.GLOBAL if outside else btf.FuncLinkage.STATIC
            return btf.Func(function.name, btf.FuncProto(btf.INT, params), linkage)

        code, relocations, lines = parts(entry)
        program = ProgramSpec(
            entry.name,
            code,
            Linkage.GLOBAL,
            relocations,
            lines,
            type=type_of(entry),
            prog_type=ProgType[self.settings.get("type", "SOCKET_FILTER")],
            flags=int(self.settings.get("flags", "0"), 0),
        )
        functions: dict[str, FunctionSpec] = {}
        for function in rest:
            code, relocations, lines = parts(function)
            functions[function.name] = FunctionSpec(
                function.name, code, Linkage(function.linkage), relocations, lines, type=type_of(function)
            )
        licence = self.settings.get("license", "GPL")
        return ObjectSpec(
            {entry.name: program}, functions, self.maps, self.data, self.externs, license=licence
        )


def read_assembly(path: Path) -> Assembled:
    """The program of a ``.s`` file."""
    found = Assembled()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split(";")[0].split()
        if not words:
            continue
        if words[0].startswith("."):
            _directive(found, words[0], words[1:])
            continue
        function = found.functions[-1]
        function.lines.append(LineInfo(function.slots, str(path), number, 1, " ".join(words)))
        for insn in _instructions(found, function, words):
            function.insns.append(insn)
            function.slots += insn.slots
    return found


def _directive(found: Assembled, name: str, words: list[str]) -> None:
    match name, words:
        case ".map", [title, kind, *numbers]:
            key, value, entries, *flags = (int(n, 0) for n in numbers)
            typed = key == 4
            found.maps[title] = MapSpec(
                title,
                MapType[kind],
                key,
                value,
                entries,
                flags=sum(flags),
                key_type=btf.U32 if typed else None,
                value_type=btf.Array(btf.U8, value) if typed else None,
            )
        case ".data", [title, size]:
            found.data[title] = DataSection(title, bytearray(int(size)))
        case ".function", [title, linkage, *parameters]:
            found.functions.append(_Function(title, linkage, tuple(parameters)))
        case _:
            found.settings[name[1:]] = " ".join(words)


def _instructions(found: Assembled, function: _Function, words: list[str]) -> Iterator[Insn]:
    match words:
        case [register, "=", kind, name] if kind in _LOADS:
            section = name if kind == "data" else ""
            symbol = "" if kind == "data" else name
            function.relocations.append(Relocation(function.slots, _LOADS[kind], symbol, section))
            yield Insn(LD_IMM64, int(register[1:]))
        case ["call", kind, name] if kind in _CALLS:
            relocation, call = _CALLS[kind]
            function.relocations.append(Relocation(function.slots, relocation, name))
            if kind == "kernel":
                declared = vmlinux().find(name, btf.Kind.FUNC)
                assert declared is not None, name
                found.externs[name] = Extern(name, ".ksyms", declared)
            yield Insn(CALL, src=call, imm=-1)
        case ["call", name] if not name.lstrip("+-").isdecimal():
            helper = helper_by_name(name)
            assert helper is not None, name
            yield Insn(CALL, imm=helper.id)
        case _:
            yield from assemble(" ".join(words))
