"""Probes that programs bring along (USDT): the notes in ELF files that describe them.

A note says where the probe is, where a counter is that switches it on, and where the arguments are at that moment, in
the words of the assembler. Source: "User Space Probe Implementation" of the SystemTap wiki, <sys/sdt.h>, and the
assembler syntax of each processor.
"""

from __future__ import annotations

import fnmatch
import os
import re
import struct

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.elf_symbols import Binary, malformed_is_told, open_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

_NOTES: Final = ".note.stapsdt"
_BASE: Final = ".stapsdt.base"
_OWNER: Final = b"stapsdt\0"
_TYPE: Final = 3


# ---------------------------------------------------------------- arguments


@dataclass(frozen=True, slots=True)
class Register:
    """A register: its name in the assembler, the bytes from the start of ``struct pt_regs`` to it, and how many of its low
    bytes the name means."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class ConstantArg:
    """A number known when the program was compiled."""

    value: int


@dataclass(frozen=True, slots=True)
class RegisterArg:
    """In a register."""

    register: Register


@dataclass(frozen=True, slots=True)
class MemoryArg:
    """In memory, at ``base + index * scale + displacement``; ``index`` is ``None`` for most."""

    base: Register
    displacement: int
    index: Register | None = None
    scale: int = 1


@dataclass(frozen=True, slots=True)
class UnknownArg:
    """Somewhere that programs cannot read: a vector register, a place relative to the instruction. ``text`` is the
    note's."""

    text: str


Place = ConstantArg | RegisterArg | MemoryArg | UnknownArg


@dataclass(frozen=True, slots=True)
class UsdtArgument:
    """An argument: a number of ``size`` bytes (1, 2, 4, 8) and where it is."""

    size: int
    signed: bool
    place: Place


@dataclass(frozen=True, slots=True)
class UsdtSpec:
    """A place where a probe is; a probe that was inlined is in several, whose arguments may lie elsewhere each time.

    ``address`` is what the file was linked for; ``offset`` and ``semaphore`` are bytes from the start of the file,
    ``semaphore`` of a counter that the program looks at, 0 for a probe without.
    """

    provider: str
    name: str
    address: int
    offset: int
    semaphore: int
    arguments: tuple[UsdtArgument, ...]


# ---------------------------------------------------------------- registers


def _x86() -> dict[str, Register]:
    """Names of ``struct pt_regs`` of x86-64, whole registers and parts of them."""
    order = (
        "r15",
        "r14",
        "r13",
        "r12",
        "rbp",
        "rbx",
        "r11",
        "r10",
        "r9",
        "r8",
        "rax",
        "rcx",
        "rdx",
        "rsi",
        "rdi",
    )
    at = {name: number * 8 for number, name in enumerate(order)} | {"rsp": 19 * 8}
    found = {name: Register(name, place, 8) for name, place in at.items()}
    for letter in "abcd":
        whole = f"r{letter}x"
        found[f"e{letter}x"] = Register(f"e{letter}x", at[whole], 4)
        found[f"{letter}x"] = Register(f"{letter}x", at[whole], 2)
        found[f"{letter}l"] = Register(f"{letter}l", at[whole], 1)
        found[f"{letter}h"] = Register(f"{letter}h", at[whole] + 1, 1)
    for name in ("si", "di", "bp", "sp"):
        for text, size in ((f"e{name}", 4), (name, 2), (f"{name}l", 1)):
            found[text] = Register(text, at[f"r{name}"], size)
    for number in range(8, 16):
        for suffix, size in (("d", 4), ("w", 2), ("b", 1)):
            found[f"r{number}{suffix}"] = Register(f"r{number}{suffix}", at[f"r{number}"], size)
    return found


def _arm64() -> dict[str, Register]:
    """Names of ``struct user_pt_regs`` of arm64: 31 registers, then the stack pointer."""
    found = {f"x{number}": Register(f"x{number}", number * 8, 8) for number in range(31)}
    found |= {f"w{number}": Register(f"w{number}", number * 8, 4) for number in range(31)}
    found["sp"] = Register("sp", 31 * 8, 8)
    return found


REGISTERS: Final = {"EM_X86_64": _x86(), "EM_AARCH64": _arm64()}
"""By ELF machine: every name that an argument may use."""

_NUMBER: Final = re.compile(r"[-+]?(?:0x[0-9a-f]+|[0-9]+)")
_ARGUMENT: Final = re.compile(r"(?P<size>-?\d+)(?P<kind>[a-z]?)@(?P<place>.*)", re.DOTALL)
_X86_MEMORY: Final = re.compile(
    r"(?P<displacement>[-+]?(?:0x)?[0-9a-f]+)?\(%(?P<base>\w+)(?:,\s*%(?P<index>\w+)(?:,\s*(?P<scale>[1248]))?)?\)"
)
_ARM_MEMORY: Final = re.compile(
    r"\[(?P<base>\w+)(?:,\s*(?:#?(?P<displacement>[-+]?(?:0x)?[0-9a-f]+)|(?P<index>x\d+)(?:,\s*lsl\s*#?(?P<shift>[0-4]))?))?\]"
)
_SIZES: Final = (1, 2, 4, 8)


def parse_arguments(text: str, machine: str) -> tuple[UsdtArgument, ...]:
    """The arguments in a note such as ``-4@%eax 8@-16(%rbp)``, for an ELF machine."""
    return tuple(_argument(word, machine) for word in _words(text))


def _words(text: str) -> Iterator[str]:
    """The arguments one by one: they are separated by blanks, but brackets may have blanks inside."""
    depth, word = 0, ""
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter.isspace() and depth == 0:
            if word:
                yield word
            word = ""
        else:
            word += letter
    if word:
        yield word


def _argument(text: str, machine: str) -> UsdtArgument:
    found = _ARGUMENT.fullmatch(text)
    if found is None:
        # Old compilers leave the size out where it is that of a register.
        return UsdtArgument(8, False, _place(text, machine) or UnknownArg(text))
    size = int(found["size"])
    place = None if found["kind"] or abs(size) not in _SIZES else _place(found["place"], machine)
    return UsdtArgument(abs(size), size < 0, place or UnknownArg(text))


def _number(text: str) -> int | None:
    """A decimal or hexadecimal number that a register can hold."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text, 16 if "0x" in text else 10)
    return number if -(1 << 63) <= number < 1 << 64 else None


def _place(text: str, machine: str) -> Place | None:
    registers = REGISTERS.get(machine, {})
    if machine == "EM_X86_64":
        if text.startswith("$"):
            value = _number(text[1:])
            return ConstantArg(value) if value is not None else None
        if text.startswith("%"):
            register = registers.get(text[1:])
            return RegisterArg(register) if register is not None else None
        return _memory(_X86_MEMORY.fullmatch(text), registers)
    value = _number(text.removeprefix("#"))
    if value is not None:
        return ConstantArg(value)
    if text in registers:
        return RegisterArg(registers[text])
    return _memory(_ARM_MEMORY.fullmatch(text), registers)


def _memory(found: re.Match[str] | None, registers: dict[str, Register]) -> MemoryArg | None:
    if found is None or found["base"] not in registers:
        return None
    parts = found.groupdict()
    index = registers.get(parts["index"]) if parts["index"] else None
    if parts["index"] and index is None:
        return None
    displacement = _number(parts["displacement"] or "0")
    if displacement is None:
        return None
    scale = int(parts.get("scale") or 1) << int(parts.get("shift") or 0)
    return MemoryArg(registers[found["base"]], displacement, index, scale)


# ---------------------------------------------------------------- notes


def usdt_probes(path: str | os.PathLike[str], provider: str = "*", name: str = "*") -> list[UsdtSpec]:
    """The probes in the ELF file ``path``, by the file's order; ``provider`` and ``name`` may be patterns.

    Raises ``BpfError`` if the file cannot be read or is no ELF file.
    """
    binary = open_binary(path)
    with malformed_is_told(binary.path):
        specs = list(_specs(binary))
    return [
        spec
        for spec in specs
        if fnmatch.fnmatchcase(spec.provider, provider) and fnmatch.fnmatchcase(spec.name, name)
    ]


def _specs(binary: Binary) -> Iterator[UsdtSpec]:
    from elftools.elf.elffile import ELFFile

    with open(binary.path, "rb") as opened:
        file = ELFFile(opened)
        base = file.get_section_by_name(_BASE)
        linked_base = int(base["sh_addr"]) if base is not None else None
        order, wide = "<" if file.little_endian else ">", file.elfclass == 64
        for section in file.iter_sections("SHT_NOTE"):
            if section.name == _NOTES:
                for description in _descriptions(section.data(), order):
                    spec = _spec(binary, description, order + ("QQQ" if wide else "III"), linked_base)
                    if spec is not None:
                        yield spec


def _descriptions(data: bytes, order: str) -> Iterator[bytes]:
    """What the notes of the right owner and type hold; both parts of a note are aligned to 4 bytes."""
    at = 0
    while at + 12 <= len(data):
        owner_size, size, kind = struct.unpack_from(f"{order}III", data, at)
        owner_at = at + 12
        start = owner_at + (owner_size + 3 & ~3)
        at = start + (size + 3 & ~3)
        if kind == _TYPE and data[owner_at : owner_at + owner_size] == _OWNER and start + size <= len(data):
            yield data[start : start + size]


def _spec(binary: Binary, description: bytes, numbers: str, linked_base: int | None) -> UsdtSpec | None:
    size = struct.calcsize(numbers)
    if len(description) < size:
        return None
    address, base, semaphore = struct.unpack_from(numbers, description)
    texts = description[size:].split(b"\0")
    if len(texts) < 3:
        return None
    # Prelinking moves the file but not what notes say; the base moves with the file.
    moved = linked_base - base if linked_base is not None and base else 0
    offset = binary.file_offset(address + moved)
    if offset is None:
        return None
    counter = binary.file_offset(semaphore + moved) if semaphore else 0
    provider, name, arguments = (text.decode("utf-8", "replace") for text in texts[:3])
    return UsdtSpec(
        provider, name, address + moved, offset, counter or 0, parse_arguments(arguments, binary.machine)
    )
