"""Object files as text: what ``pyebpf dump`` prints for the stages ``btf`` and ``elf``."""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf import btf
from pyebpf.backend.elf_file import ElfError, ElfFile, RelType, Section, Symbol, parse
from pyebpf.backend.elf_write import write_object
from pyebpf.object import ObjectSpec


def describe_object(data: bytes) -> str:
    """Sections with their relocations, and symbols, of the object file ``data``.

    Raises:
        ElfError: if it is no BPF object.
    """
    return "\n".join(_lines(parse(data))) + "\n"


def object_types(spec: ObjectSpec) -> str:
    """The type information that the object file of ``spec`` holds."""
    return describe_types(write_object(spec))


def describe_types(data: bytes) -> str:
    """The type information in the object file ``data``.

    Raises:
        ElfError: if it is no BPF object or has no type information.
        BtfError: if the type information is malformed.
    """
    section = next((s for s in parse(data).sections if s.name == ".BTF"), None)
    if section is None:
        raise ElfError("there is no section .BTF")
    return btf.dump(btf.Spec(section.data))


def _lines(elf: ElfFile) -> Iterator[str]:
    for section in elf.sections:
        flags = section.flags.name or "none"
        yield f"section {section.name} {section.type.name} {section.size or len(section.data)} bytes, {flags}"
        for rel in section.relocations:
            kinds = {int(kind): kind.name for kind in RelType}
            target = _name(elf.symbols[rel.symbol], elf.sections)
            yield f"    {rel.offset:#06x} R_{kinds.get(rel.type, rel.type)} {target}"
    yield "symbols"
    for symbol in elf.symbols:
        where = (
            elf.sections[symbol.section].name
            if symbol.section is not None and symbol.section >= 0
            else "undefined"
        )
        words = f"{symbol.bind.name.lower()} {symbol.type.name.lower()}" + (
            " hidden" if symbol.hidden else ""
        )
        yield f"    {_name(symbol, elf.sections)}: {words} in {where} at {symbol.value}, {symbol.size} bytes"


def _name(symbol: Symbol, sections: list[Section]) -> str:
    if symbol.name or symbol.section is None or symbol.section < 0:
        return symbol.name
    return f"<{sections[symbol.section].name}>"
