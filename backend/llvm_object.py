"""From the object file that LLVM made of a module to our ``ObjectSpec``.

Taken over are the code, its relocations and the line records; maps, variables, types and names are those of the
module. What LLVM sees of maps and variables are undefined symbols (``llvm_function.symbol``): they get back their
places here, and our reader of ELF does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyebpf import btf
from pyebpf.backend import debuginfo
from pyebpf.backend.elf_code import CodeReader, Place
from pyebpf.backend.elf_file import ElfError, ElfFile, Section, SectionFlag, SymbolType, parse
from pyebpf.backend.insn import SLOT_BYTES
from pyebpf.backend.llvm_function import MAPS
from pyebpf.backend.llvm_process import LlvmRefused
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Function, FunctionRole, Module
from pyebpf.object import FunctionSpec, LineInfo, Linkage, ObjectSpec, ProgramSpec, Relocation, RelocKind
from pyebpf.target import Target
from pyebpf.uapi.program_kind import Arguments

if TYPE_CHECKING:
    from typing import Final


_COPY: Final = re.compile(r"(.+)\.(specialized|cold|llvm)\.\d+")
"""The names of functions that LLVM derives from others."""


def take_over(data: bytes, module: Module, target: Target) -> ObjectSpec:
    """The object of ``module`` with the code in the object file ``data``.

    Functions that LLVM inlined everywhere are not there. Raises ``LlvmRefused`` where the file refers to something
    that programs cannot have, such as a function of C's library.
    """
    spec = debuginfo.object_without_code(module, target)
    try:
        elf = parse(data)
        _define_symbols(elf, spec)
        places = _places(elf, module)
        reader = CodeReader(elf, spec, places)
        lines = _lines(elf, places, module)
        for code in elf.sections:
            if code.name in places:
                reader.read(code, places[code.name])
    except (ElfError, btf.BtfError) as error:
        raise LlvmRefused(f"the object of LLVM is not what programs can be: {error}") from error
    order = {name: number for number, name in enumerate(module.functions)}
    functions = [place.function for found in places.values() for place in found]
    for function in sorted(functions, key=lambda f: order[_origin(f.name, module).name]):
        function.lines = lines.get(function.name, ())
        function.relocations = tuple(_named(r) for r in function.relocations)
        function.name = btf.identifier(function.name)
        if isinstance(function, ProgramSpec):
            spec.programs[function.name] = function
        else:
            spec.functions[function.name] = function
    return spec


def _named(relocation: Relocation) -> Relocation:
    """Functions have other names in the object where Python's are no C identifiers."""
    if relocation.kind not in (RelocKind.CALL, RelocKind.FUNC):
        return relocation
    return Relocation(relocation.slot, relocation.kind, btf.identifier(relocation.symbol))


# ---------------------------------------------------------------- symbols


def _define_symbols(elf: ElfFile, spec: ObjectSpec) -> None:
    """Give maps and variables the places that the reader of relocations expects."""
    indices = {}
    for name in [*([MAPS] if spec.maps else []), *spec.data]:
        indices[name] = len(elf.sections)
        elf.sections.append(Section(name))
    numbers = {name: number for number, name in enumerate(spec.maps)}
    for symbol in elf.symbols:
        section, colon, name = symbol.name.partition(":")
        if symbol.section is not None or not colon or section not in indices:
            continue
        symbol.name, symbol.section, symbol.type = name, indices[section], SymbolType.OBJECT
        if section == MAPS:
            symbol.value = numbers[name]
            continue
        variable = spec.data[section].variable(name)
        if variable is None:
            raise ElfError(f"there is no variable {name!r} in {section}")
        symbol.value, symbol.size = variable.offset, variable.size


def _places(elf: ElfFile, module: Module) -> dict[str, list[Place]]:
    """The functions of every section of code, in order."""
    types = debuginfo.FunctionTypes(module)
    found: dict[str, list[Place]] = {}
    for index, section in enumerate(elf.sections):
        if not section.flags & SectionFlag.EXECINSTR or not section.data:
            continue
        symbols = [s for s in elf.symbols if s.section == index and s.type is SymbolType.FUNC]
        places = found[section.name] = []
        for symbol in sorted(symbols, key=lambda s: s.value):
            code = section.data[symbol.value : symbol.value + symbol.size]
            places.append(Place(symbol.value, _function(symbol.name, code, module, types)))
        if sum(len(p.function.code) for p in places) != len(section.data):
            raise ElfError(f"section {section.name} has code outside of functions")
    return found


def _origin(name: str, module: Module) -> Function:
    """The function of the module that LLVM calls ``name``, or that it copied and called so."""
    found = module.functions.get(name)
    copied = _COPY.fullmatch(name)
    if found is None and copied is not None:
        return _origin(copied[1], module)
    if found is None:
        raise ElfError(f"there is no function {name!r}")
    return found


def _function(name: str, code: bytes, module: Module, types: debuginfo.FunctionTypes) -> FunctionSpec:
    function = _origin(name, module)
    type_ = types.of(function, btf.identifier(name))
    if function.role is not FunctionRole.ENTRY:
        linkage = Linkage.GLOBAL if function.role is FunctionRole.GLOBAL else Linkage.STATIC
        return FunctionSpec(name, code, linkage, type=type_)
    kind = function.kind
    assert kind is not None
    return ProgramSpec(
        name,
        code,
        type=type_,
        section=kind.section,
        prog_type=kind.prog_type,
        attach_type=kind.attach_type,
        flags=int(kind.load_flags),
        arguments=function.arguments if kind.arguments is Arguments.USDT else None,
    )


# ---------------------------------------------------------------- lines


def _files(module: Module) -> Iterable[str]:
    for function in module.functions.values():
        yield function.span.file
        for op in function.ops():
            if op.span is not None:
                yield op.span.file


def _lines(elf: ElfFile, places: dict[str, list[Place]], module: Module) -> dict[str, tuple[LineInfo, ...]]:
    """The line records by name of the function, as ours would be for the same places; the first is at slot 0."""
    contents = {s.name: s.data for s in elf.sections if s.name in (".BTF", ".BTF.ext")}
    if len(contents) != 2:
        return {}
    records = btf.decode_ext(contents[".BTF.ext"], btf.Spec(contents[".BTF"])).lines
    files = {debuginfo.plain(name): name for name in _files(module)}
    found: dict[str, tuple[LineInfo, ...]] = {}
    for section, functions in places.items():
        waiting = sorted(records.get(section, ()), key=lambda r: r.offset, reverse=True)
        for place in functions:
            function = place.function
            start = _origin(function.name, module).span
            lines: list[LineInfo] = []
            while waiting and waiting[-1].offset < place.offset + len(function.code):
                record = waiting.pop()
                file = record.file.removeprefix("/")
                name = files.get(record.file, files.get(file))
                slot = (record.offset - place.offset) // SLOT_BYTES
                if name is None or not record.line or slot not in place.starts:
                    continue
                span = Span(name, record.line, max(record.column, 1), record.line, max(record.column, 1))
                lines.append(_line(slot, span))
            if not lines or lines[0].slot:
                lines.insert(0, _line(0, start))
            found[function.name] = tuple(lines)
    return found


def _line(slot: int, span: Span) -> LineInfo:
    return LineInfo(slot, debuginfo.plain(span.file), span.line, span.column, debuginfo.source_text(span))
