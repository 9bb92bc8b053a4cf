"""Objects that no loader could use are refused with the reason."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import pytest

from pyebpf import btf
from pyebpf.backend.elf import ElfError, read_object, write_object
from pyebpf.backend.elf_file import (
    Bind,
    ElfFile,
    Rel,
    RelType,
    Section,
    SectionFlag,
    Symbol,
    SymbolType,
    build,
    parse,
)
from tests.unit.elf.samples import Code, externs, full, minimal, tables

CODE = SectionFlag.ALLOC | SectionFlag.EXECINSTR


def section(elf: ElfFile, name: str) -> Section:
    return next(s for s in elf.sections if s.name == name)


def symbol(elf: ElfFile, name: str) -> Symbol:
    return next(s for s in elf.symbols if s.name == name)


def _undefined(elf: ElfFile) -> None:
    symbol(elf, "flows").section = None


def _legacy_maps(elf: ElfFile) -> None:
    section(elf, ".maps").name = "maps"


def _no_types(elf: ElfFile) -> None:
    elf.sections = [s for s in elf.sections if not s.name.startswith(".BTF")]


def _only_ext(elf: ElfFile) -> None:
    section(elf, ".BTF").name = ".other"


def _no_function(elf: ElfFile) -> None:
    symbol(elf, "count").type = SymbolType.NOTYPE


def _short_function(elf: ElfFile) -> None:
    symbol(elf, "count").size = 12


def _overlapping_functions(elf: ElfFile) -> None:
    symbol(elf, "twice").value = 8


def _outside(elf: ElfFile) -> None:
    symbol(elf, "count").size += 8


def _static_program(elf: ElfFile) -> None:
    found = symbol(elf, "count")
    found.bind = Bind.LOCAL
    elf.symbols.remove(found)
    elf.symbols.insert(0, found)
    for entry in elf.sections:
        entry.relocations = [dataclasses.replace(r, symbol=r.symbol + 1) for r in entry.relocations]


def _two_sections(elf: ElfFile) -> None:
    section(elf, "tc").name = "xdp"


def _rel(change: Callable[[Rel], Rel]) -> Callable[[ElfFile], None]:
    def apply(elf: ElfFile) -> None:
        code = section(elf, "xdp")
        code.relocations[0] = change(code.relocations[0])

    return apply


def _twice(elf: ElfFile) -> None:
    code = section(elf, "xdp")
    code.relocations.append(code.relocations[0])


def _addresses_in_data(elf: ElfFile) -> None:
    section(elf, ".data").relocations = [Rel(0, 0, RelType.BPF_64_ABS64)]


def _other_data(elf: ElfFile) -> None:
    section(elf, ".data").name = ".mydata"


def _into_text(elf: ElfFile) -> None:
    symbol(elf, "leaf").value += 8
    symbol(elf, "leaf").size -= 8


def _variable_outside(elf: ElfFile) -> None:
    symbol(elf, "total").value = 12


def _map_outside(elf: ElfFile) -> None:
    symbol(elf, "flows").size = 1 << 20


def _old_version(elf: ElfFile) -> None:
    elf.sections.append(Section("version", data=b"\1\2\3"))


def _huge(elf: ElfFile) -> None:
    section(elf, ".bss").size = 1 << 40


def _alignment(elf: ElfFile) -> None:
    section(elf, ".data").align = 24


CASES: dict[str, Callable[[ElfFile], None]] = {
    "map 'flows' is static or has no symbol": _undefined,
    "define them in `.maps`": _legacy_maps,
    "maps have no type information": _no_types,
    ".BTF.ext but no .BTF": _only_ext,
    "section xdp has code but no function symbol": _no_function,
    "function 'count' of 12 bytes": _short_function,
    "function 'twice' of 16 bytes at 8": _overlapping_functions,
    "function 'count' of ": _outside,
    "the entry point 'count' in xdp is static": _static_program,
    "two sections called xdp": _two_sections,
    "relocation type 10 at a 64-bit constant": _rel(lambda r: dataclasses.replace(r, type=RelType.BPF_64_32)),
    "at an instruction that takes none": _rel(lambda r: dataclasses.replace(r, offset=0)),
    "is at no instruction": _rel(lambda r: dataclasses.replace(r, offset=4)),
    "two relocations at": _twice,
    "holds addresses": _addresses_in_data,
    "neither map nor data": _other_data,
    "where no function starts": _into_text,
    "variable 'total' of 8 bytes at 12": _variable_outside,
    "map 'flows' lies outside": _map_outside,
    "section version": _old_version,
    "section .bss has 1099511627776 bytes": _huge,
    "aligned to 24 bytes": _alignment,
}


@pytest.mark.parametrize("words", CASES)
def test_refused(words: str) -> None:
    elf = parse(write_object(full()))
    CASES[words](elf)
    with pytest.raises(ElfError, match=f"^sample.o: .*{words}"):
        read_object(build(elf), "sample.o")


def raw(code: Code) -> bytes:
    """An object with one program of ``code`` as it is, and no relocations."""
    data = bytes(code.data)
    sections = [Section("xdp", flags=CODE, align=8, data=data)]
    return build(ElfFile(sections, [Symbol("p", 0, 0, len(data), SymbolType.FUNC, Bind.GLOBAL)]))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Code().op(0x18, 1, 1, imm=3).op(0).exit(0), "an address without a relocation"),
        (Code().op(0x85, 0, 1, imm=0).exit(0), "a call without relocation that leaves .text"),
        (Code().op(0x85, 0, 2, imm=100).exit(0), "a call without relocation that leaves .text"),
        (Code().op(0x18, 1), "a 64-bit constant is cut off"),
    ],
)
def test_references_without_relocation(code: Code, words: str) -> None:
    with pytest.raises(ElfError, match=words):
        read_object(raw(code))


def test_an_unknown_section_has_a_program_without_type() -> None:
    elf = parse(raw(Code().exit(0)))
    elf.sections[0].name = "mine"
    (program,) = read_object(build(elf)).programs.values()
    assert program.prog_type.name == "UNSPEC" and program.section == "mine"


def test_an_undefined_function_is_named() -> None:
    elf = parse(write_object(externs()))
    symbol(elf, "bpf_strcmp").name = "bpf_strcpm"
    with pytest.raises(ElfError, match="calls 'bpf_strcpm', which is not defined"):
        read_object(build(elf))


def test_an_initial_value_must_exist() -> None:
    elf = parse(write_object(tables()))
    symbol(elf, "second").name = "third"
    symbol(elf, "third").value += 8
    symbol(elf, "third").type = SymbolType.NOTYPE
    with pytest.raises(ElfError, match="the initial value 'third' does not exist"):
        read_object(build(elf))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: b"", "not an ELF file"),
        (lambda data: b"\x7fELF", "not a readable ELF file"),
        (lambda data: data[:200], "outside the file|not a readable"),
        (lambda data: data[:18] + struct.pack("<H", 62) + data[20:], "64-bit ET_REL for EM_X86_64"),
        (lambda data: data[:16] + struct.pack("<H", 2) + data[18:], "64-bit ET_EXEC for EM_BPF"),
        (lambda data: data[:4] + b"\1" + data[5:], "32-bit|not a readable"),
        (lambda data: data[:60] + struct.pack("<H", 0) + data[62:], "not a readable|0 symbol tables"),
    ],
)
def test_other_files_are_refused(change: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(ElfError, match=words) as caught:
        read_object(change(write_object(minimal())), "odd.o")
    assert caught.value.file == "odd.o"


def map_object(*members: btf.Member) -> bytes:
    """An object with the map ``m``, defined by ``members``."""
    size = 8 * len(members)
    type_ = btf.Struct("", size, members)
    entry = btf.Placed(btf.Var("m", type_), 0, size)
    types = btf.encode([*btf.BASE_TYPES, btf.Datasec(".maps", size, (entry,))]).data
    flags = SectionFlag.ALLOC | SectionFlag.WRITE
    sections = [Section(".maps", flags=flags, align=8, data=bytes(size)), Section(".BTF", data=types)]
    return build(ElfFile(sections, [Symbol("m", 0, 0, size, SymbolType.OBJECT, Bind.GLOBAL)]))


def number(name: str, value: int, at: int) -> btf.Member:
    return btf.Member(name, btf.Ptr(btf.Array(btf.INT, value)), at * 64)


def pointer(name: str, type_: btf.Type | None, at: int) -> btf.Member:
    return btf.Member(name, btf.Ptr(type_), at * 64)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([number("max_entries", 1, 0)], "has no type"),
        ([number("type", 1, 0), number("colour", 1, 1)], "unknown member 'colour'"),
        ([number("type", 1, 0), number("type", 1, 1)], "is there twice"),
        ([number("type", 99, 0)], "99 is not a valid MapType"),
        ([number("type", 1, 0), number("pinning", 7, 1)], "7 is not a valid Pinning"),
        ([btf.Member("type", btf.INT, 0)], "type is int, which stands for no number"),
        ([number("type", 1, 0), btf.Member("key", btf.U32, 64)], "key is unsigned int, expected a pointer"),
        ([number("type", 1, 0), pointer("key", None, 1)], "expected a pointer to a type"),
        ([number("type", 1, 0), pointer("key", btf.Fwd("f"), 1)], "struct f has no size"),
        ([number("type", 1, 0), pointer("key", btf.U32, 1), number("key_size", 8, 2)], "key has 4 bytes"),
        ([number("type", 12, 0), pointer("values", btf.U32, 1)], "expected pointers to maps or programs"),
    ],
)
def test_map_definitions_that_make_no_sense(members: list[btf.Member], words: str) -> None:
    with pytest.raises(ElfError, match=words):
        read_object(map_object(*members))


def test_a_wide_map_extra_is_an_enum() -> None:
    wide = btf.Enum64("", 8, (btf.Enumerator("extra", 1 << 40),))
    spec = read_object(map_object(number("type", 33, 0), btf.Member("map_extra", wide, 64)))
    assert spec.maps["m"].map_extra == 1 << 40
    assert read_object(write_object(spec)).maps["m"].map_extra == 1 << 40
