"""From a relocatable object, ours or that of clang, to an ``ObjectSpec``.

What loaders do with symbols and implicit addends is resolved here, so that nobody behind has to know ELF:
every reference becomes a ``Relocation`` with the name of its target, every instruction that carries one is
put into its normal form (see ``pyebpf.object``). CO-RE records stay what they are, for the loader.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf import btf
from pyebpf.backend.elf_code import CodeReader, Place
from pyebpf.backend.elf_file import (
    Bind,
    ElfError,
    ElfFile,
    Section,
    SectionFlag,
    SectionType,
    SymbolType,
    parse,
)
from pyebpf.backend.elf_maps import SLOT_SIZE, read_definition
from pyebpf.backend.insn import SLOT_BYTES
from pyebpf.hints import TypeVar
from pyebpf.object import (
    CoreRelocation,
    DataSection,
    Extern,
    FunctionSpec,
    LineInfo,
    Linkage,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Variable,
)
from pyebpf.records import dataclass, field, replace
from pyebpf.uapi.constants import MapCreateFlag, MapType, ProgType
from pyebpf.uapi.sections import section_kind

_DATA_SECTIONS = (".data", ".rodata", ".bss")
_STRUCT_OPS = (".struct_ops", ".struct_ops.link")
_MAX_DATA = 1 << 28
_BTF_PHASE = "type information"

Record = TypeVar("Record", btf.FuncRecord, btf.LineRecord, btf.CoreRecord)


def read_object(data: bytes, name: str = "") -> ObjectSpec:
    """The object in ``data``; ``name`` is how errors call it.

    Raises:
        ElfError: if it is no BPF object, is malformed, or needs what no loader gives.
    """
    try:
        return _Reader(parse(data)).read()
    except btf.BtfError as error:
        raise ElfError(str(error), name) from error
    except ElfError as error:
        raise ElfError(str(error), name) from error.__cause__


@dataclass(slots=True)
class _Reader:
    elf: ElfFile
    spec: ObjectSpec = field(default_factory=ObjectSpec)
    types: list[btf.Type | None] = field(default_factory=list)
    datasecs: dict[str, btf.Datasec] = field(default_factory=dict)
    ext: btf.Ext = field(default_factory=btf.Ext)
    places: dict[str, list[Place]] = field(default_factory=dict)

    def read(self) -> ObjectSpec:
        self.spec.little_endian = self.elf.little_endian
        self._types()
        self.spec.license = self._license()
        self._externs()
        self._functions()
        self._maps()
        self._struct_ops()
        self._data()
        self._code()
        self._records()
        return self.spec

    def _section(self, name: str) -> Section | None:
        found = [s for s in self.elf.sections if s.name == name]
        if len(found) > 1:
            raise ElfError(f"there are {len(found)} sections called {name}")
        return found[0] if found else None

    def _types(self) -> None:
        section, ext = self._section(".BTF"), self._section(".BTF.ext")
        if section is None:
            if ext is not None:
                raise ElfError("there is a section .BTF.ext but no .BTF")
            return
        spec = btf.Spec(section.data)
        if spec.little_endian != self.elf.little_endian:
            raise ElfError("section .BTF has another byte order than the file")
        self.types = spec.build_all()
        for type_ in self.types:
            if isinstance(type_, btf.Datasec):
                if type_.name in self.datasecs:
                    raise ElfError(f"the types describe section {type_.name} twice")
                self.datasecs[type_.name] = type_
        if ext is not None:
            self.ext = btf.decode_ext(ext.data, spec)

    def _license(self) -> str:
        if any(s.name == "maps" for s in self.elf.sections):
            raise ElfError("maps are defined in the old section `maps`; define them in `.maps`")
        version = self._section("version")
        if version is not None and len(version.data) != 4:
            raise ElfError("section version does not have 4 bytes")
        section = self._section("license")
        text = section.data.split(b"\0", 1)[0] if section is not None else b""
        try:
            return text.decode("ascii")
        except UnicodeDecodeError:
            raise ElfError(f"the license {text!r} is no text") from None

    def _externs(self) -> None:
        weak = {s.name for s in self.elf.symbols if s.section is None and s.bind is Bind.WEAK}
        for name in (".kconfig", ".ksyms"):
            datasec = self.datasecs.get(name)
            for entry in datasec.entries if datasec is not None else ():
                entity = entry.entity
                if isinstance(entity, btf.Func):
                    type_: btf.Type | None = entity
                else:
                    type_ = entity.type
                if type_ is None or entity.linkage != btf.FuncLinkage.EXTERN or not entity.name:
                    raise ElfError(f"{entity.name!r} in {name} is not extern")
                if entity.name in self.spec.externs:
                    raise ElfError(f"extern {entity.name!r} is declared twice")
                extern = Extern(entity.name, name, type_, entity.name in weak)
                self.spec.externs[entity.name] = extern

    def _functions(self) -> None:
        for index, section in enumerate(self.elf.sections):
            if not section.flags & SectionFlag.EXECINSTR or section.type is not SectionType.PROGBITS:
                continue
            if not section.data:
                continue
            if section.name in self.places:
                raise ElfError(f"there are two sections called {section.name}")
            places = self.places[section.name] = []
            symbols = [s for s in self.elf.symbols if s.section == index and s.type is SymbolType.FUNC]
            end = 0
            for symbol in sorted(symbols, key=lambda s: s.value):
                start, end = max(end, 0), symbol.value + symbol.size
                bad = symbol.value < start or symbol.value % SLOT_BYTES or end % SLOT_BYTES
                if bad or not symbol.size or end > len(section.data):
                    raise ElfError(
                        f"function {symbol.name!r} of {symbol.size} bytes at {symbol.value} of {section.name}"
                    )
                code = section.data[symbol.value : end]
                exposed = symbol.bind is not Bind.LOCAL and not symbol.hidden
                places.append(Place(symbol.value, self._function(symbol.name, section.name, code, exposed)))
            if not places:
                raise ElfError(f"section {section.name} has code but no function symbol")

    def _function(self, name: str, section: str, code: bytes, exposed: bool) -> FunctionSpec:
        if not name:
            raise ElfError(f"a function in {section} has no name")
        taken = self.spec.functions.keys() | self.spec.programs.keys()
        if section == ".text":
            # Linkers keep static functions of different files apart though they have one name.
            unique, count = name, 1
            while unique in taken:
                unique, count = f"{name}.{count}", count + 1
            linkage = Linkage.GLOBAL if exposed else Linkage.STATIC
            function = self.spec.functions[unique] = FunctionSpec(unique, code, linkage)
            return function
        if not exposed:
            raise ElfError(f"the entry point {name!r} in {section} is static")
        if name in taken:
            raise ElfError(f"there are two functions called {name!r}")
        autoload, plain = not section.startswith("?"), section.removeprefix("?")
        kind = section_kind(plain)
        program = self.spec.programs[name] = ProgramSpec(
            name,
            code,
            section=plain,
            prog_type=kind.prog_type if kind is not None else ProgType.UNSPEC,
            attach_type=kind.attach_type if kind is not None else None,
            flags=int(kind.flags) if kind is not None else 0,
            autoload=autoload,
        )
        return program

    def _symbol_place(self, section: Section, name: str) -> tuple[int, int] | None:
        """Value and size of the variable ``name`` in ``section``."""
        for symbol in self.elf.symbols:
            if (
                symbol.name == name
                and symbol.type is SymbolType.OBJECT
                and symbol.section is not None
                and symbol.section >= 0
                and self.elf.sections[symbol.section] is section
            ):
                return symbol.value, symbol.size
        return None

    def _maps(self) -> None:
        section = self._section(".maps")
        if section is None or not section.data:
            return
        datasec = self.datasecs.get(".maps")
        if datasec is None:
            raise ElfError("the maps have no type information (compile with -g)")
        spans: list[tuple[int, int, MapSpec, int | None]] = []
        for entry in datasec.entries:
            variable = entry.entity
            place = self._symbol_place(section, variable.name)
            if (
                not isinstance(variable, btf.Var)
                or variable.linkage is not btf.VarLinkage.GLOBAL
                or place is None
            ):
                raise ElfError(f"map {variable.name!r} is static or has no symbol")
            found = read_definition(variable.name, variable.type)
            start, size = place
            if start + size > len(section.data) or variable.name in self.spec.maps:
                raise ElfError(f"map {variable.name!r} lies outside its section or is there twice")
            self.spec.maps[variable.name] = found.spec
            spans.append((start, size, found.spec, found.slots_offset))
        for rel in section.relocations:
            span = next((s for s in spans if s[0] <= rel.offset < s[0] + s[1]), None)
            start, size, spec, slots_offset = span or (0, 0, None, None)
            if spec is None or slots_offset is None:
                raise ElfError(f"a relocation at {rel.offset} of .maps is in no table of initial values")
            slot, rest = divmod(rel.offset - start - slots_offset, SLOT_SIZE)
            if rest or slot < 0 or rel.offset + SLOT_SIZE > start + size:
                raise ElfError(
                    f"map {spec.name!r}: a relocation at {rel.offset} is beside the initial values"
                )
            name = self.elf.symbols[rel.symbol].name
            if name not in (self.spec.maps if spec.inner is not None else self.spec.programs):
                raise ElfError(f"map {spec.name!r}: the initial value {name!r} does not exist")
            spec.slots[slot] = name

    def _struct_ops(self) -> None:
        for section_name in _STRUCT_OPS:
            section, datasec = self._section(section_name), self.datasecs.get(section_name)
            if section is None or not section.data:
                continue
            if datasec is None or not datasec.entries:
                raise ElfError(f"{section_name} has no type information")
            for entry in datasec.entries:
                variable = entry.entity
                type_ = btf.skip_modifiers(variable.type) if isinstance(variable, btf.Var) else None
                place = self._symbol_place(section, variable.name)
                if not isinstance(type_, btf.Struct) or place is None or variable.name in self.spec.maps:
                    raise ElfError(
                        f"{variable.name!r} in {section_name} is not a struct with a symbol of its own"
                    )
                start, end = place[0], place[0] + type_.size
                if end > len(section.data) or not type_.size:
                    raise ElfError(f"{variable.name!r} lies outside of {section_name}")
                spec = MapSpec(variable.name, MapType.STRUCT_OPS, 4, type_.size, 1, value_type=type_)
                spec.flags = int(MapCreateFlag.LINK) if section_name == ".struct_ops.link" else 0
                spec.contents = section.data[start:end]
                for rel in section.relocations:
                    if start <= rel.offset < end:
                        spec.slots[rel.offset - start] = self.elf.symbols[rel.symbol].name
                unknown = set(spec.slots.values()) - set(self.spec.programs)
                if unknown:
                    raise ElfError(f"{variable.name!r} refers to {min(unknown)!r}, which is no program")
                self.spec.maps[variable.name] = spec

    def _data(self) -> None:
        for index, section in enumerate(self.elf.sections):
            base = f".{section.name[1:].split('.', 1)[0]}" if section.name.startswith(".") else ""
            if base not in _DATA_SECTIONS or not section.size:
                continue
            if section.name in self.spec.data:
                raise ElfError(f"there are two sections called {section.name}")
            if section.size > _MAX_DATA:
                raise ElfError(f"section {section.name} has {section.size} bytes")
            if section.relocations:
                raise ElfError(f"section {section.name} holds addresses, which no loader can fill in")
            contents = bytearray(section.data or section.size)
            data = DataSection(section.name, contents, self._variables(index, section), max(section.align, 1))
            self.spec.data[section.name] = data

    def _variables(self, index: int, section: Section) -> list[Variable]:
        datasec = self.datasecs.get(section.name)
        typed = {e.entity.name: e for e in datasec.entries} if datasec is not None else {}
        variables: list[Variable] = []
        for symbol in self.elf.symbols:
            if symbol.section != index or symbol.type is not SymbolType.OBJECT or not symbol.name:
                continue
            entry = typed.get(symbol.name)
            entity = entry.entity if entry is not None else None
            type_ = entity.type if isinstance(entity, btf.Var) else None
            static = symbol.bind is Bind.LOCAL or symbol.hidden
            variables.append(_variable(section, symbol.name, symbol.value, symbol.size, type_, static))
        known = {v.name for v in variables}
        for entry in typed.values():
            # Only a private variable may go without symbol; its place is then what the types say.
            if entry.entity.name not in known and isinstance(entry.entity, btf.Var):
                place = entry.entity.name, entry.offset, entry.size
                variables.append(_variable(section, *place, entry.entity.type, static=True))
        return sorted(variables, key=lambda v: v.offset)

    def _code(self) -> None:
        reader = CodeReader(self.elf, self.spec, self.places)
        for name, places in self.places.items():
            section = self._section(name)
            assert section is not None
            reader.read(section, places)

    def _records(self) -> None:
        for section, records in self.ext.funcs.items():
            for function, slot, record in self._placed(section, records):
                if slot:
                    raise ElfError(f"{_BTF_PHASE}: no function starts at {record.offset} of {section}")
                function.type = record.type
        by_name = {
            t.name: t for t in self.types if isinstance(t, btf.Func) and t.linkage != btf.FuncLinkage.EXTERN
        }
        functions: list[FunctionSpec] = [*self.spec.programs.values(), *self.spec.functions.values()]
        for function in functions:
            found = function.type or by_name.get(function.name)
            if found is not None:
                linkage = btf.FuncLinkage[function.linkage.name]
                same = found.linkage is linkage and found.name == function.name
                function.type = found if same else replace(found, linkage=linkage, name=function.name)
        lines: dict[str, list[LineInfo]] = {function.name: [] for function in functions}
        cores: dict[str, list[CoreRelocation]] = {function.name: [] for function in functions}
        for section, line_records in self.ext.lines.items():
            for function, slot, line in self._placed(section, line_records):
                lines[function.name].append(LineInfo(slot, line.file, line.line, line.column, line.text))
        for section, core_records in self.ext.core.items():
            for function, slot, core in self._placed(section, core_records):
                cores[function.name].append(CoreRelocation(slot, core.kind, core.type, core.access))
        for function in functions:
            function.lines, function.core = tuple(lines[function.name]), tuple(cores[function.name])

    def _placed(self, section: str, records: Iterable[Record]) -> list[tuple[FunctionSpec, int, Record]]:
        """Function and slot of every record, in the order of their places."""
        places = self.places.get(section)
        if places is None:
            raise ElfError(f"{_BTF_PHASE} about section {section!r}, which has no code")
        result: list[tuple[FunctionSpec, int, Record]] = []
        current, last = 0, -1
        for record in sorted(records, key=lambda r: r.offset):
            while current + 1 < len(places) and places[current + 1].offset <= record.offset:
                current += 1
            place = places[current]
            slot, rest = divmod(record.offset - place.offset, SLOT_BYTES)
            if rest or slot not in place.starts or record.offset == last:
                raise ElfError(
                    f"{_BTF_PHASE} at {record.offset} of {section}: no instruction, or twice the same"
                )
            last = record.offset
            result.append((place.function, slot, record))
        return result


def _variable(
    section: Section, name: str, offset: int, size: int, type_: btf.Type | None, static: bool
) -> Variable:
    if offset + size > section.size or not name:
        raise ElfError(f"variable {name!r} of {size} bytes at {offset} lies outside of {section.name}")
    layout = btf.layout_of(type_)
    if layout is not None and layout.size != size:
        layout = None
    return Variable(name, offset, size, type_, layout, static)
