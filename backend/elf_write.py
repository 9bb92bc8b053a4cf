"""From an ``ObjectSpec`` to a relocatable object that libbpf, bpftool, cilium/ebpf, aya, ``ip`` and ``tc``
load.

Where loaders differ, the form that all of them take is written: subprograms in ``.text`` alone, static ones
and data with an addend referred to through the symbol of their section, a BTF entry for every global
symbol, function information for every function. Equal specs give equal bytes.
"""

from __future__ import annotations

import struct

from pyebpf import btf
from pyebpf.backend.elf_check import check_object, check_types, data_offset
from pyebpf.backend.elf_file import (
    Bind,
    ElfFile,
    Rel,
    RelType,
    Section,
    SectionFlag,
    SectionType,
    Symbol,
    SymbolType,
    build,
)
from pyebpf.backend.elf_maps import SLOT_SIZE, definition, slot_count
from pyebpf.backend.insn import SLOT_BYTES
from pyebpf.diagnostics import InternalError
from pyebpf.layout import round_up
from pyebpf.object import (
    DataSection,
    Extern,
    FunctionSpec,
    Linkage,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    RelocKind,
    Variable,
)
from pyebpf.records import dataclass, field, replace
from pyebpf.uapi.constants import MapCreateFlag, MapType

_CODE = SectionFlag.ALLOC | SectionFlag.EXECINSTR
_WRITABLE = SectionFlag.ALLOC | SectionFlag.WRITE
_IMM_OFFSET = 4


def write_object(spec: ObjectSpec) -> bytes:
    """The object file.

    Raises:
        InternalError: if ``spec`` breaks a rule that loaders or the kernel would refuse it for.
    """
    check_object(spec)
    return _Writer(spec).write()


@dataclass(slots=True)
class _Writer:
    """The file under construction. Symbols are known by their names (sections' by their index) until the
    end.
    """

    spec: ObjectSpec
    sections: list[Section] = field(default_factory=list)
    local_symbols: list[Symbol] = field(default_factory=list)
    global_symbols: list[Symbol] = field(default_factory=list)
    relocations: list[tuple[Section, int, Symbol, RelType]] = field(default_factory=list)
    by_name: dict[str, Symbol] = field(default_factory=dict)
    section_symbols: dict[str, Symbol] = field(default_factory=dict)
    text_offsets: dict[str, int] = field(default_factory=dict)
    encoder: btf.Encoder = field(init=False)
    ext: btf.Ext = field(default_factory=btf.Ext)

    def __post_init__(self) -> None:
        self.encoder = btf.Encoder(self.spec.little_endian)

    def write(self) -> bytes:
        for base in btf.BASE_TYPES:
            self.encoder.add(base)
        code = self._place_code()
        self._license()
        self._maps([m for m in self.spec.maps.values() if m.type is not MapType.STRUCT_OPS])
        for section in self.spec.data.values():
            self._data(section)
        self._struct_ops([m for m in self.spec.maps.values() if m.type is MapType.STRUCT_OPS])
        self._externs()
        for name, functions in code.items():
            self._code(name, functions)
        self._type_information()
        return self._finish()

    def _section(self, section: Section) -> int:
        self.sections.append(section)
        return len(self.sections) - 1

    def _symbol(self, symbol: Symbol) -> Symbol:
        (self.local_symbols if symbol.bind is Bind.LOCAL else self.global_symbols).append(symbol)
        if symbol.type is SymbolType.SECTION and symbol.section is not None:
            self.section_symbols[self.sections[symbol.section].name] = symbol
        elif symbol.bind is not Bind.LOCAL or symbol.type is SymbolType.FUNC:
            self.by_name[symbol.name] = symbol  # a private variable may be called like anything else
        return symbol

    def _place_code(self) -> dict[str, list[FunctionSpec]]:
        """Give every function its section, offset and symbol; the code itself follows when all symbols
        exist.
        """
        by_section: dict[str, list[FunctionSpec]] = {}
        if self.spec.functions:
            by_section[".text"] = list(self.spec.functions.values())
        for program in self.spec.programs.values():
            by_section.setdefault(_section_name(program), []).append(program)
        for name, functions in by_section.items():
            index = self._section(Section(name, flags=_CODE, align=SLOT_BYTES))
            if name == ".text":
                self._symbol(Symbol("", index, type=SymbolType.SECTION))
            offset = 0
            for function in functions:
                bind = Bind.GLOBAL if function.linkage is Linkage.GLOBAL else Bind.LOCAL
                size = len(function.code)
                self._symbol(Symbol(function.name, index, offset, size, SymbolType.FUNC, bind))
                if name == ".text":
                    self.text_offsets[function.name] = offset
                offset += size
        return by_section

    def _code(self, section_name: str, functions: list[FunctionSpec]) -> None:
        section = next(s for s in self.sections if s.name == section_name)
        code = bytearray()
        for function in functions:
            base = len(code)
            code += function.code
            for relocation in function.relocations:
                self._relocate(section, code, base + relocation.slot * SLOT_BYTES, relocation)
            self._function_information(section_name, base, function)
        section.data = bytes(code)

    def _relocate(self, section: Section, code: bytearray, at: int, relocation: Relocation) -> None:
        imm: int | None = None
        match relocation.kind:
            case RelocKind.MAP | RelocKind.EXTERN | RelocKind.KFUNC:
                symbol = self.by_name[relocation.symbol]
            case RelocKind.DATA:
                data = self.spec.data[relocation.section]
                variable = data.variable(relocation.symbol)
                if variable is not None and not variable.static and relocation.addend == 0:
                    symbol = self.by_name[relocation.symbol]
                else:
                    # cilium/ebpf ignores an addend beside the symbol of a variable.
                    symbol, imm = self.section_symbols[data.name], data_offset(data, relocation)
            case RelocKind.CALL:
                target = self.spec.functions[relocation.symbol]
                symbol = self.by_name[relocation.symbol]
                if target.linkage is Linkage.STATIC:
                    # cilium/ebpf takes no call through the local symbol of a function.
                    symbol = self.section_symbols[".text"]
                    imm = self.text_offsets[relocation.symbol] // SLOT_BYTES - 1
            case RelocKind.FUNC:
                # libbpf takes no address through the local symbol of a function.
                symbol, imm = self.section_symbols[".text"], self.text_offsets[relocation.symbol]
        if imm is not None:
            struct.pack_into("<i" if self.spec.little_endian else ">i", code, at + _IMM_OFFSET, imm)
        is_call = relocation.kind in (RelocKind.CALL, RelocKind.KFUNC)
        rel_type = RelType.BPF_64_32 if is_call else RelType.BPF_64_64
        self.relocations.append((section, at, symbol, rel_type))

    def _function_information(self, section: str, base: int, function: FunctionSpec) -> None:
        linkage = btf.FuncLinkage.GLOBAL if function.linkage is Linkage.GLOBAL else btf.FuncLinkage.STATIC
        proto = function.type.proto if function.type is not None else _default_proto(function)
        tags = function.type.tags if function.type is not None else ()
        type_ = btf.Func(function.name, proto, linkage, tags)
        self.encoder.add(type_)
        self.ext.funcs.setdefault(section, []).append(btf.FuncRecord(base, type_))
        for line in function.lines:
            at = base + line.slot * SLOT_BYTES
            record = btf.LineRecord(at, line.file, line.text, line.line, line.column)
            self.ext.lines.setdefault(section, []).append(record)
        for core in function.core:
            at = base + core.slot * SLOT_BYTES
            self.ext.core.setdefault(section, []).append(
                btf.CoreRecord(at, core.type, core.access, core.kind)
            )

    def _license(self) -> None:
        text = self.spec.license.encode() + b"\0"
        index = self._section(Section("license", flags=_WRITABLE, data=text))
        name = "_license"
        taken = {*self.by_name, *self.spec.maps, *self.spec.externs}
        taken |= {v.name for section in self.spec.data.values() for v in section.variables}
        while name in taken:
            name = f"_{name}"
        self._symbol(Symbol(name, index, 0, len(text), SymbolType.OBJECT, Bind.GLOBAL))
        variable = btf.Var(name, btf.Array(btf.CHAR, len(text)))
        self.encoder.add(btf.Datasec("license", len(text), (btf.Placed(variable, 0, len(text)),)))

    def _maps(self, maps: list[MapSpec]) -> None:
        if not maps:
            return
        section = Section(".maps", flags=_WRITABLE, align=8)
        index = self._section(section)
        placed: list[btf.Placed] = []
        offset = 0
        for spec in maps:
            type_ = definition(spec)
            size = type_.size + SLOT_SIZE * slot_count(spec)
            self._symbol(Symbol(spec.name, index, offset, size, SymbolType.OBJECT, Bind.GLOBAL))
            placed.append(btf.Placed(btf.Var(spec.name, type_), offset, size))
            offset = round_up(offset + size, 8)
        section.data = bytes(offset)
        for entry, spec in zip(placed, maps, strict=True):
            first = entry.offset + btf.size_of(entry.entity.type) if isinstance(entry.entity, btf.Var) else 0
            for slot, name in sorted(spec.slots.items()):
                self._slot(section, first + SLOT_SIZE * slot, spec, name)
        self.encoder.add(btf.Datasec(".maps", offset, tuple(placed)))

    def _slot(self, section: Section, at: int, spec: MapSpec, name: str) -> None:
        symbol = self.by_name.get(name)
        wanted = self.spec.maps if spec.inner is not None else self.spec.programs
        if symbol is None or name not in wanted:
            raise InternalError(
                f"map {spec.name!r}: its initial value {name!r} does not exist", phase="ELF writer"
            )
        self.relocations.append((section, at, symbol, RelType.BPF_64_ABS64))

    def _data(self, section: DataSection) -> None:
        size = len(section.contents)
        if not size:
            return
        flags = SectionFlag.ALLOC if section.read_only else _WRITABLE
        if section.name.startswith(".bss"):
            file_section = Section(section.name, SectionType.NOBITS, flags, section.align, size=size)
        else:
            file_section = Section(
                section.name, flags=flags, align=section.align, data=bytes(section.contents)
            )
        index = self._section(file_section)
        self._symbol(Symbol("", index, type=SymbolType.SECTION))
        placed: list[btf.Placed] = []
        for variable in sorted(section.variables, key=lambda v: v.offset):
            bind = Bind.LOCAL if variable.static else Bind.GLOBAL
            linkage = btf.VarLinkage.STATIC if variable.static else btf.VarLinkage.GLOBAL
            at = variable.offset, variable.size
            self._symbol(Symbol(variable.name, index, *at, SymbolType.OBJECT, bind))
            placed.append(btf.Placed(btf.Var(variable.name, _variable_type(variable), linkage), *at))
        if placed:
            self.encoder.add(btf.Datasec(section.name, size, tuple(placed)))

    def _struct_ops(self, maps: list[MapSpec]) -> None:
        by_section: dict[str, list[MapSpec]] = {}
        for spec in maps:
            linked = bool(spec.flags & MapCreateFlag.LINK)
            by_section.setdefault(".struct_ops.link" if linked else ".struct_ops", []).append(spec)
        for name, specs in by_section.items():
            section = Section(name, flags=_WRITABLE, align=8)
            index = self._section(section)
            contents = bytearray()
            placed: list[btf.Placed] = []
            for spec in specs:
                at, size = len(contents), len(spec.contents)
                if not isinstance(spec.value_type, btf.Struct) or spec.value_type.size != size:
                    raise InternalError(f"struct_ops {spec.name!r} without its contents", phase="ELF writer")
                self._symbol(Symbol(spec.name, index, at, size, SymbolType.OBJECT, Bind.GLOBAL))
                placed.append(btf.Placed(btf.Var(spec.name, spec.value_type), at, size))
                for slot, program in sorted(spec.slots.items()):
                    self._slot(section, at + slot, spec, program)
                contents += spec.contents + bytes(-size % 8)
            section.data = bytes(contents)
            self.encoder.add(btf.Datasec(name, len(contents), tuple(placed)))

    def _externs(self) -> None:
        for name in (".kconfig", ".ksyms"):
            externs = [e for e in self.spec.externs.values() if e.section == name]
            placed: list[btf.Placed] = []
            end = 0
            for extern in externs:
                bind = Bind.WEAK if extern.weak else Bind.GLOBAL
                self._symbol(Symbol(extern.name, None, bind=bind))
                entity = _extern_entity(extern)
                size = btf.size_of(entity.type) if name == ".kconfig" and isinstance(entity, btf.Var) else 0
                # libbpf and cilium/ebpf lay .kconfig out again; aya believes what is here.
                layout = btf.layout_of(extern.type)
                at = round_up(end, layout.align if layout is not None and size else 1)
                placed.append(btf.Placed(entity, at, size))
                end = at + size
            if placed:
                self.encoder.add(btf.Datasec(name, end, tuple(placed)))

    def _type_information(self) -> None:
        # Encoding .BTF.ext adds its strings and types to .BTF, so that one comes second.
        ext = btf.encode_ext(self.ext, self.encoder)
        data = self.encoder.finish()
        check_types(self.encoder.ids)
        self._section(Section(".BTF", align=4, data=data))
        self._section(Section(".BTF.ext", align=4, data=ext))

    def _finish(self) -> bytes:
        symbols = self.local_symbols + self.global_symbols
        numbers = {id(symbol): number for number, symbol in enumerate(symbols)}
        for section, at, symbol, type_ in self.relocations:
            section.relocations.append(Rel(at, numbers[id(symbol)], type_))
        return build(ElfFile(self.sections, symbols, self.spec.little_endian))


def _section_name(program: ProgramSpec) -> str:
    return program.section if program.autoload else f"?{program.section}"


def _default_proto(function: FunctionSpec) -> btf.FuncProto:
    """What stands for the type of a function that came without: an entry point takes its context."""
    is_program = isinstance(function, ProgramSpec)
    return btf.FuncProto(btf.INT, (btf.Param("ctx", btf.Ptr(None)),) if is_program else ())


def _variable_type(variable: Variable) -> btf.Type:
    if variable.type is not None:
        return variable.type
    if variable.layout is not None:
        return btf.from_layout(variable.layout)
    return btf.Array(btf.U8, variable.size)


def _extern_entity(extern: Extern) -> btf.Var | btf.Func:
    if isinstance(extern.type, btf.Func):
        return replace(extern.type, name=extern.name, linkage=btf.FuncLinkage.EXTERN)
    return btf.Var(extern.name, extern.type, btf.VarLinkage.EXTERN)
