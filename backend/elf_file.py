"""ELF as a container: sections, symbols, relocations, and nothing about BPF but the machine's number.

Reading goes through pyelftools; writing is plain packing, because a relocatable object has a header, section
headers and bytes. Source: the System V ABI, chapters 4 and 5; object files of 64 bits only.
"""

from __future__ import annotations

import io
import struct

from pyebpf import enums
from pyebpf.diagnostics import InternalError, PyebpfError
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from elftools.elf.sections import Section as RawSection

EM_BPF = 247
_HEADER_SIZE, _SECTION_SIZE, _SYMBOL_SIZE, _REL_SIZE = 64, 64, 24, 16
_ALIGN = 8
_MAX_ALIGN = 1 << 16


class ElfError(PyebpfError):
    """A file that is not a BPF object, or a malformed one. ``file`` is its name."""

    def __init__(self, message: str, file: str = "") -> None:
        self.file = file
        super().__init__(f"{file}: {message}" if file else message)


class SectionType(enums.IntEnum):
    """``sh_type`` of the sections that matter."""

    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    NOBITS = 8
    REL = 9
    OTHER = -1


class SectionFlag(enums.IntFlag):
    """``sh_flags``."""

    WRITE = 1
    ALLOC = 2
    EXECINSTR = 4


NO_FLAGS = SectionFlag(0)


class Bind(enums.IntEnum):
    """The binding of a symbol."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class SymbolType(enums.IntEnum):
    """What a symbol stands for."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    OTHER = -1


class RelType(enums.IntEnum):
    """``R_BPF_*``."""

    BPF_64_64 = 1
    BPF_64_ABS64 = 2
    BPF_64_ABS32 = 3
    BPF_64_NODYLD32 = 4
    BPF_64_32 = 10


@dataclass(slots=True)
class Symbol:
    """``section`` is an index into the sections, ``None`` if undefined, -1 for any other section."""

    name: str
    section: int | None
    value: int = 0
    size: int = 0
    type: SymbolType = SymbolType.NOTYPE
    bind: Bind = Bind.LOCAL
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Rel:
    """``symbol``, an index into the symbols, is to be put in at ``offset`` bytes of the section."""

    offset: int
    symbol: int
    type: int


@dataclass(slots=True)
class Section:
    """A section with its relocations, if it is ALLOC. ``size`` counts for NOBITS, which has no ``data``."""

    name: str
    type: SectionType = SectionType.PROGBITS
    flags: SectionFlag = NO_FLAGS
    align: int = 1
    data: bytes = b""
    size: int = 0
    relocations: list[Rel] = field(default_factory=list)


@dataclass(slots=True)
class ElfFile:
    """A relocatable object. ``sections`` are those with contents, not the tables; the null symbol is left
    out.
    """

    sections: list[Section] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    little_endian: bool = True


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(1)
        self._at = {"": 0}

    def add(self, text: str) -> int:
        if text not in self._at:
            self._at[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._at[text]


def build(elf: ElfFile) -> bytes:
    """The bytes of ``elf``: first its sections in their order, then relocations, symbols and strings.

    Symbols are written in the given order, which must have the local ones first.
    """
    order = "<" if elf.little_endian else ">"
    strings = _Strings()
    headers: list[tuple[int, ...]] = [(0,) * 10]
    body = bytearray()

    def put(
        name: str, type_: int, flags: int, data: bytes, size: int, link: int, info: int, align: int
    ) -> None:
        body.extend(bytes(-len(body) % max(align, _ALIGN)))
        entry = {SectionType.REL: _REL_SIZE, SectionType.SYMTAB: _SYMBOL_SIZE}.get(SectionType(type_), 0)
        place = _HEADER_SIZE + len(body)
        headers.append((strings.add(name), type_, flags, 0, place, size, link, info, align, entry))
        body.extend(data)

    with_relocations = [number for number, s in enumerate(elf.sections, 1) if s.relocations]
    symtab = 1 + len(elf.sections) + len(with_relocations)
    for s in elf.sections:
        put(s.name, s.type, s.flags, s.data, s.size or len(s.data), 0, 0, s.align)
    for number in with_relocations:
        s = elf.sections[number - 1]
        rows = [struct.pack(order + "QQ", r.offset, (r.symbol + 1) << 32 | r.type) for r in s.relocations]
        put(f".rel{s.name}", SectionType.REL, 0, b"".join(rows), len(rows) * _REL_SIZE, symtab, number, 8)
    rows = [bytes(_SYMBOL_SIZE)]
    for symbol in elf.symbols:
        info = symbol.bind << 4 | symbol.type
        where = 0 if symbol.section is None else symbol.section + 1
        other = 2 if symbol.hidden else 0
        at = strings.add(symbol.name), info, other, where, symbol.value, symbol.size
        rows.append(struct.pack(order + "IBBHQQ", *at))
    binds = [s.bind is not Bind.LOCAL for s in elf.symbols]
    if binds != sorted(binds):
        raise InternalError("a local symbol after a global one", phase="ELF writer")
    first_global = 1 + binds.count(False)
    table = b"".join(rows)
    put(".symtab", SectionType.SYMTAB, 0, table, len(table), symtab + 1, first_global, 8)
    strings.add(".strtab")
    put(".strtab", SectionType.STRTAB, 0, bytes(strings.data), len(strings.data), 0, 0, 1)
    body.extend(bytes(-len(body) % _ALIGN))
    ident = b"\x7fELF" + bytes((2, 1 if elf.little_endian else 2, 1)) + bytes(9)
    rest = (
        1,
        EM_BPF,
        1,
        0,
        0,
        _HEADER_SIZE + len(body),
        0,
        _HEADER_SIZE,
        0,
        0,
        _SECTION_SIZE,
        len(headers),
        symtab + 1,
    )
    header = ident + struct.pack(order + "HHIQQQIHHHHHH", *rest)
    return header + bytes(body) + b"".join(struct.pack(order + "IIQQQQIIQQ", *h) for h in headers)


def parse(data: bytes) -> ElfFile:
    """The sections and symbols of a relocatable BPF object.

    Raises:
        ElfError: if it is none, or malformed.
    """
    try:
        return _parse(data)
    except ElfError:
        raise
    except Exception as error:
        # pyelftools promises ELFError but lets many others through when a file is malformed (assertions,
        # construct's own, decoding errors); all of them mean the same here.
        raise ElfError(f"not a readable ELF file ({error})") from error


def _parse(data: bytes) -> ElfFile:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection
    from elftools.elf.sections import SymbolTableSection

    if data[:4] != b"\x7fELF":
        raise ElfError("not an ELF file")
    elf = ELFFile(io.BytesIO(data))
    header = elf.header
    if elf.elfclass != 64 or header["e_type"] != "ET_REL" or header["e_machine"] not in ("EM_BPF", "EM_NONE"):
        kind = f"{elf.elfclass}-bit {header['e_type']} for {header['e_machine']}"
        raise ElfError(f"not a BPF object file: {kind}, expected a 64-bit ET_REL for EM_BPF")
    count = header["e_shnum"]
    if header["e_shentsize"] != _SECTION_SIZE or header["e_shoff"] + count * _SECTION_SIZE > len(data):
        raise ElfError("the section headers are outside the file")
    raw = [elf.get_section(number) for number in range(count)]
    result = ElfFile(little_endian=elf.little_endian)
    kept: dict[int, int] = {}
    for number, section in enumerate(raw):
        if section["sh_type"] in ("SHT_PROGBITS", "SHT_NOBITS"):
            kept[number] = len(result.sections)
            result.sections.append(_section(section, data))
    tables = [(number, s) for number, s in enumerate(raw) if s["sh_type"] == "SHT_SYMTAB"]
    if len(tables) != 1:
        raise ElfError(f"{len(tables)} symbol tables, expected one (was the file stripped?)")
    table_number, table = tables[0]
    _contents(table, data, _SYMBOL_SIZE)
    assert isinstance(table, SymbolTableSection)
    result.symbols = [_symbol(symbol, kept) for symbol in table.iter_symbols()][1:]
    for section in raw:
        if section["sh_type"] == "SHT_RELA":
            raise ElfError(f"{section.name}: relocations with addends are not used by BPF")
        if not isinstance(section, RelocationSection) or section["sh_info"] not in kept:
            continue
        target = result.sections[kept[section["sh_info"]]]
        if not target.flags & SectionFlag.ALLOC:
            continue  # debugging and type information, which is read by name
        _contents(section, data, _REL_SIZE)
        if section["sh_link"] != table_number:
            raise ElfError(f"{section.name}: refers to no symbol table")
        for rel in section.iter_relocations():
            symbol = rel["r_info_sym"] - 1
            if not 0 <= symbol < len(result.symbols):
                raise ElfError(f"{section.name}: there is no symbol {symbol + 1}")
            target.relocations.append(Rel(rel["r_offset"], symbol, rel["r_info_type"]))
    return result


def _contents(section: RawSection, data: bytes, entry: int = 1) -> bytes:
    start, size = section["sh_offset"], section["sh_size"]
    if start + size > len(data) or size % entry or (entry > 1 and section["sh_entsize"] != entry):
        raise ElfError(f"section {section.name}: {size} bytes at {start} are outside the file or cut off")
    return data[start : start + size]


def _section(section: RawSection, data: bytes) -> Section:
    flags = SectionFlag(section["sh_flags"] & 7)
    align = section["sh_addralign"]
    if align & (align - 1) or align > _MAX_ALIGN:
        raise ElfError(f"section {section.name} is aligned to {align} bytes")
    if section["sh_type"] == "SHT_NOBITS":
        return Section(section.name, SectionType.NOBITS, flags, align, size=section["sh_size"])
    contents = _contents(section, data)
    return Section(section.name, SectionType.PROGBITS, flags, align, contents, len(contents))


_SYMBOL_TYPES = {
    "STT_NOTYPE": SymbolType.NOTYPE,
    "STT_OBJECT": SymbolType.OBJECT,
    "STT_FUNC": SymbolType.FUNC,
    "STT_SECTION": SymbolType.SECTION,
}
_BINDS = {"STB_LOCAL": Bind.LOCAL, "STB_GLOBAL": Bind.GLOBAL, "STB_WEAK": Bind.WEAK}


def _symbol(symbol: Any, kept: dict[int, int]) -> Symbol:
    index = symbol["st_shndx"]
    section = None if index == "SHN_UNDEF" else kept.get(index, -1)
    bind = symbol["st_info"]["bind"]
    if bind not in _BINDS:
        raise ElfError(f"symbol {symbol.name!r} has binding {bind}")
    type_ = _SYMBOL_TYPES.get(symbol["st_info"]["type"], SymbolType.OTHER)
    hidden = symbol["st_other"]["visibility"] in ("STV_HIDDEN", "STV_INTERNAL")
    return Symbol(symbol.name, section, symbol["st_value"], symbol["st_size"], type_, _BINDS[bind], hidden)
