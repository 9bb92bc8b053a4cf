"""The references in the code of an object: from symbols and implicit addends to names.

Loaders agree on what a relocation means only where it is given by section and offset, so that is what
symbols are reduced to first. Calls within ``.text``, for which compilers write no relocation, become
relocations too.
"""

from __future__ import annotations

import struct

from pyebpf import btf
from pyebpf.backend.elf_check import instruction_slots
from pyebpf.backend.elf_file import ElfError, ElfFile, Rel, RelType, Section, Symbol, SymbolType
from pyebpf.backend.insn import CALL, LD_IMM64, SLOT_BYTES, CallKind, Pseudo
from pyebpf.object import FunctionSpec, ObjectSpec, Relocation, RelocKind
from pyebpf.records import dataclass, field

_UNLINKED = -1


@dataclass(slots=True)
class Place:
    """A function at ``offset`` bytes of its section, and the slots at which its instructions start."""

    offset: int
    function: FunctionSpec
    starts: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = frozenset(instruction_slots(self.function.code))


@dataclass(slots=True)
class CodeReader:
    """Turns the relocations of ``elf`` into those of the functions in ``places``, which is by section name.

    ``spec`` has all maps, data sections and externs already.
    """

    elf: ElfFile
    spec: ObjectSpec
    places: dict[str, list[Place]]
    _maps: dict[int, str] = field(init=False)
    _text: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        self._text = {place.offset: place.function.name for place in self.places.get(".text", ())}
        self._maps = {}
        for symbol in self.elf.symbols:
            if self._section_name(symbol) == ".maps" and symbol.name in self.spec.maps:
                self._maps[symbol.value] = symbol.name

    def read(self, section: Section, places: list[Place]) -> None:
        """Give the functions at ``places`` of ``section`` their relocations, and their code its normal form.

        Raises:
            ElfError: if a relocation is malformed or refers to nothing that a program can use.
        """
        waiting: dict[int, Rel] = {}
        for rel in section.relocations:
            if waiting.setdefault(rel.offset, rel) is not rel:
                raise ElfError(f"two relocations at {rel.offset} of {section.name}")
        for place in places:
            code = bytearray(place.function.code)
            found: list[Relocation] = []
            for slot in sorted(place.starts):
                offset = place.offset + slot * SLOT_BYTES
                where = f"function {place.function.name!r}, instruction {slot}"
                relocation = self._instruction(code, slot, offset, waiting.pop(offset, None), section, where)
                if relocation is not None:
                    found.append(relocation)
            place.function.code = bytes(code)
            place.function.relocations = tuple(found)
        if waiting:
            raise ElfError(f"the relocation at {min(waiting)} of {section.name} is at no instruction")

    def _instruction(
        self, code: bytearray, slot: int, offset: int, rel: Rel | None, section: Section, where: str
    ) -> Relocation | None:
        at = slot * SLOT_BYTES
        order = "<" if self.elf.little_endian else ">"
        opcode, registers, _, imm = struct.unpack_from(order + "BBhi", code, at)
        source = registers >> 4 if self.elf.little_endian else registers & 15
        match opcode:
            case int(value) if value == LD_IMM64:
                if at + 2 * SLOT_BYTES > len(code):
                    raise ElfError(f"{where}: a 64-bit constant is cut off")
                if rel is None:
                    if source != Pseudo.NONE:
                        raise ElfError(f"{where}: an address without a relocation")
                    return None
                if rel.type != RelType.BPF_64_64:
                    raise ElfError(f"{where}: relocation type {rel.type} at a 64-bit constant")
                low, high = (
                    struct.unpack_from(order + "I", code, at + 4)[0],
                    struct.unpack_from(order + "i", code, at + 12)[0],
                )
                relocation = self._address(slot, self.elf.symbols[rel.symbol], high << 32 | low, where)
                self._normalise(code, at, 0, registers)
                code[at + SLOT_BYTES : at + 2 * SLOT_BYTES] = bytes(SLOT_BYTES)
                return relocation
            case int(value) if value == CALL:
                if rel is not None and rel.type != RelType.BPF_64_32:
                    raise ElfError(f"{where}: relocation type {rel.type} at a call")
                if rel is not None:
                    relocation = self._call(slot, self.elf.symbols[rel.symbol], imm, where)
                elif source == CallKind.HELPER:
                    return None
                elif source == CallKind.SUBPROGRAM and section.name == ".text":
                    relocation = self._call_to(slot, offset + (imm + 1) * SLOT_BYTES, where)
                else:
                    raise ElfError(f"{where}: a call without relocation that leaves .text")
                self._normalise(code, at, CallKind.SUBPROGRAM, registers)
                struct.pack_into(order + "i", code, at + 4, _UNLINKED)
                return relocation
            case _:
                if rel is not None:
                    raise ElfError(f"{where}: a relocation at an instruction that takes none")
                return None

    def _normalise(self, code: bytearray, at: int, source: int, registers: int) -> None:
        """Set ``src``, clear offset and immediate."""
        little = self.elf.little_endian
        code[at + 1] = registers & 15 | source << 4 if little else registers & 0xF0 | source
        code[at + 2 : at + SLOT_BYTES] = bytes(SLOT_BYTES - 2)

    def _section_name(self, symbol: Symbol) -> str:
        if symbol.section is None or symbol.section < 0:
            return ""
        return self.elf.sections[symbol.section].name

    def _call(self, slot: int, symbol: Symbol, imm: int, where: str) -> Relocation:
        if symbol.section is None:
            extern = self.spec.externs.get(symbol.name)
            if extern is None or not isinstance(extern.type, btf.Func):
                raise ElfError(f"{where}: calls {symbol.name!r}, which is not defined")
            return Relocation(slot, RelocKind.KFUNC, symbol.name)
        if self._section_name(symbol) != ".text":
            raise ElfError(
                f"{where}: calls {symbol.name!r} in {self._section_name(symbol)!r}; only .text can be called"
            )
        return self._call_to(slot, symbol.value + (imm + 1) * SLOT_BYTES, where)

    def _call_to(self, slot: int, target: int, where: str) -> Relocation:
        if target not in self._text:
            raise ElfError(f"{where}: calls {target} bytes into .text, where no function starts")
        return Relocation(slot, RelocKind.CALL, self._text[target])

    def _address(self, slot: int, symbol: Symbol, addend: int, where: str) -> Relocation:
        name = self._section_name(symbol)
        target = symbol.value + addend
        if symbol.section is None:
            if symbol.name not in self.spec.externs:
                raise ElfError(f"{where}: refers to {symbol.name!r}, which is not defined")
            return Relocation(slot, RelocKind.EXTERN, symbol.name)
        if name == ".maps":
            # As libbpf does it: beside the symbol of a map the addend says nothing.
            place = target if symbol.type is SymbolType.SECTION else symbol.value
            if place not in self._maps:
                raise ElfError(f"{where}: refers to {place} bytes into .maps, where no map starts")
            return Relocation(slot, RelocKind.MAP, self._maps[place])
        if name == ".text":
            if target not in self._text:
                raise ElfError(f"{where}: the address of {target} bytes into .text, where no function starts")
            return Relocation(slot, RelocKind.FUNC, self._text[target])
        data = self.spec.data.get(name)
        if data is None:
            raise ElfError(
                f"{where}: refers to {symbol.name!r} in section {name!r}, which is neither map nor data"
            )
        if not 0 <= target <= len(data.contents):
            raise ElfError(f"{where}: refers to {target} bytes into {name}, which has {len(data.contents)}")
        named = [v for v in data.variables if v.name == symbol.name]
        if symbol.type is SymbolType.OBJECT and len(named) == 1 and named[0].offset == symbol.value:
            return Relocation(slot, RelocKind.DATA, symbol.name, name, addend)
        return Relocation(slot, RelocKind.DATA, "", name, target)
