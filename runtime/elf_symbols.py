"""Executables and libraries of user space: their symbols, and where in the file the code of an address is.

Headers and versions are read with pyelftools, tables of symbols are unpacked directly: a large binary has 100,000 of
them.
"""

from __future__ import annotations

import errno
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.near_names import near
from pyebpf.records import dataclass
from pyebpf.runtime.errors import BpfError, Phase, Problem, TargetError

if TYPE_CHECKING:
    from typing import IO, Final

    from elftools.elf.elffile import ELFFile

_FUNC: Final = 2
_IFUNC: Final = 10
_LOCAL: Final = 0
_EXECUTABLE: Final = 1
_HIDDEN: Final = 0x8000
_UNDEFINED: Final = 0
_OWN_VERSION: Final = 1
_LONGEST_LINE: Final = 200
_MOST_OPENED: Final = 64


@dataclass(frozen=True, slots=True)
class ElfSymbol:
    """A function. ``address`` is what the file was linked for; ``version`` is empty for what has none.

    ``default``: it is what programs get that ask for the name without a version. ``chooser``: an IFUNC, whose code is
    run once to choose among implementations.
    """

    name: str
    version: str
    address: int
    size: int
    local: bool
    default: bool
    chooser: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file that is loaded to memory. All in bytes."""

    address: int
    offset: int
    size: int
    executable: bool


@contextmanager
def malformed_is_told(path: str) -> Iterator[None]:
    """Raise ``BpfError`` for whatever goes wrong inside with a malformed file: pyelftools promises an error of its own,
    but lets many others through, up to ``MemoryError`` for a size that is nonsense."""
    try:
        yield
    except BpfError:
        raise
    except Exception as bad:
        raise BpfError(
            errno.ENOEXEC,
            Phase.SYMBOLS,
            repr(path),
            detail=f"malformed ELF file: {bad or type(bad).__name__}",
        ) from None


class Binary:
    """An ELF file, read once. Raises ``BpfError`` if it cannot be read, or is none."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            with open(self.path, "rb") as opened:
                self._read(opened)
        except OSError as found:
            if isinstance(found, BpfError):
                raise
            raise BpfError(found.errno or errno.EIO, Phase.SYMBOLS, repr(self.path)) from None

    def _read(self, opened: IO[bytes]) -> None:
        magic = opened.read(4)
        if magic != b"\x7fELF":
            detail = "it is no ELF file"
            if magic[:2] == b"#!":
                interpreter = (magic + opened.readline(_LONGEST_LINE))[2:].decode(errors="replace").strip()
                detail = f"it is a script that {interpreter!r} runs"
            raise BpfError(errno.ENOEXEC, Phase.SYMBOLS, repr(self.path), detail=detail)
        from elftools.elf.elffile import ELFFile

        opened.seek(0)
        with malformed_is_told(self.path):
            file = ELFFile(opened)
            self.machine = str(file["e_machine"])
            self.segments = tuple(
                Segment(s["p_vaddr"], s["p_offset"], s["p_filesz"], bool(s["p_flags"] & _EXECUTABLE))
                for s in file.iter_segments("PT_LOAD")
            )
            self.symbols = _symbols(file)

    def file_offset(self, address: int) -> int | None:
        """Where in the file the byte at ``address`` is; executable parts first."""
        for segment in sorted(self.segments, key=lambda s: not s.executable):
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        return None

    def address(self, offset: int) -> int | None:
        """The address of the byte at ``offset`` in the file; executable parts first."""
        for segment in sorted(self.segments, key=lambda s: not s.executable):
            if segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.address
        return None

    def find(self, name: str) -> ElfSymbol:
        """The function called ``name``, or ``name@VERSION``. Raises ``TargetError`` if there is none, or more than one.

        A symbol that others can see comes before a local one, a default version before others.
        """
        plain, _, version = name.replace("@@", "@").partition("@")
        found = [s for s in self.symbols if s.name == plain and (not version or s.version == version)]
        for preferred in (
            [s for s in found if not s.local and s.default],
            [s for s in found if not s.local],
            found,
        ):
            places = {s.address: s for s in preferred}
            if len(places) == 1:
                return preferred[0]
            if places:
                raise self._ambiguous(name, list(places.values()))
        raise self._unknown(name, plain)

    def at(self, address: int) -> tuple[ElfSymbol, int] | None:
        """The function that ``address`` is in, and how many bytes from its start; ``None`` where there is none."""
        starts, functions = self._by_address
        at = bisect_right(starts, address) - 1
        if at < 0:
            return None
        found, offset = functions[at], address - starts[at]
        # Hand-written code has symbols without a size: they reach as far as the next.
        return (found, offset) if offset < found.size or found.size == 0 else None

    @cached_property
    def _by_address(self) -> tuple[list[int], list[ElfSymbol]]:
        best: dict[int, ElfSymbol] = {}
        for symbol in self.symbols:
            other = best.get(symbol.address)
            if other is None or (symbol.local, -symbol.size, symbol.name[:1] == "_") < (
                other.local,
                -other.size,
                other.name[:1] == "_",
            ):
                best[symbol.address] = symbol
        starts = sorted(best)
        return starts, [best[start] for start in starts]

    def _unknown(self, name: str, plain: str) -> TargetError:
        versions = sorted({s.version for s in self.symbols if s.name == plain and s.version})
        if versions:
            detail, names = (
                "it has the function in other versions",
                tuple(f"{plain}@{v}" for v in versions[:4]),
            )
        else:
            detail = (
                "it has no such function"
                if self.symbols
                else "it has no symbols (stripped); give a file offset"
            )
            names = near(plain, (s.name for s in self.symbols))
        return TargetError(Problem.UNKNOWN, f"to {name!r} of {self.path!r}", detail=detail, suggestions=names)

    def _ambiguous(self, name: str, found: list[ElfSymbol]) -> TargetError:
        versions = tuple(f"{s.name}@{s.version}" for s in found if s.version)[:4]
        where = ", ".join(f"{self.file_offset(s.address) or 0:#x}" for s in found[:4])
        return TargetError(
            Problem.AMBIGUOUS,
            f"to {name!r} of {self.path!r}",
            detail=f"{len(found)} functions have this name, at file offsets {where}; give the offset instead",
            suggestions=versions,
            errno=errno.EINVAL,
        )


_opened: dict[tuple[int, int, int], Binary] = {}
"""The files read last, whatever their paths were: each process has its own path to a library in /proc."""


def open_binary(path: str | os.PathLike[str]) -> Binary:
    """The ELF file at ``path``, read again only if it has changed, or others were opened meanwhile. Raises ``BpfError``."""
    text = os.fspath(path)
    try:
        status = os.stat(text)
    except OSError as found:
        raise BpfError(found.errno or errno.EIO, Phase.SYMBOLS, repr(text)) from None
    key = (status.st_dev, status.st_ino, status.st_mtime_ns)
    binary = _opened.pop(key, None) or Binary(text)
    binary.path = text  # the one before may be gone
    _opened[key] = binary
    if len(_opened) > _MOST_OPENED:
        _opened.pop(next(iter(_opened)), None)
    return binary


def _symbols(file: ELFFile) -> tuple[ElfSymbol, ...]:
    """The functions of ``.symtab``, then those of ``.dynsym`` that it does not have."""
    found: dict[tuple[str, str, int], ElfSymbol] = {}
    tables = [s for s in file.iter_sections() if s["sh_type"] in ("SHT_SYMTAB", "SHT_DYNSYM")]
    dynamic = [s for s in tables if s["sh_type"] == "SHT_DYNSYM"]
    for table in sorted(tables, key=lambda s: s["sh_type"] != "SHT_SYMTAB"):
        versions = _Versions(file) if table in dynamic else None
        for symbol in _table(file, table, versions):
            found.setdefault((symbol.name, symbol.version, symbol.address), symbol)
    versioned = {(s.name, s.address) for s in found.values() if s.version}
    return tuple(s for s in found.values() if s.version or (s.name, s.address) not in versioned)


def _table(file: ELFFile, table: Any, versions: _Versions | None) -> list[ElfSymbol]:
    wide, order = file.elfclass == 64, "<" if file.little_endian else ">"
    row = struct.Struct(order + ("IBBHQQ" if wide else "IIIBBH"))
    strings = file.get_section(table["sh_link"]).data()
    found = []
    data = table.data()
    for number, values in enumerate(row.iter_unpack(data[: len(data) // row.size * row.size])):
        if wide:
            name_at, info, _, section, address, size = values
        else:
            name_at, address, size, info, _, section = values
        kind = info & 0xF
        if kind not in (_FUNC, _IFUNC) or section == _UNDEFINED or not address:
            continue
        name = strings[name_at : strings.index(b"\0", name_at)].decode("utf-8", "surrogateescape")
        plain, at, version = name.partition("@")
        default = not at or version.startswith("@")
        version = version.lstrip("@")
        if versions is not None and not version:
            version, default = versions.of(number)
        found.append(ElfSymbol(plain, version, address, size, info >> 4 == _LOCAL, default, kind == _IFUNC))
    return found


class _Versions:
    """The versions of the dynamic symbols: ``.gnu.version`` and ``.gnu.version_d``."""

    def __init__(self, file: ELFFile) -> None:
        from elftools.elf.gnuversions import GNUVerDefSection

        order = "<" if file.little_endian else ">"
        numbers = next((s for s in file.iter_sections() if s["sh_type"] == "SHT_GNU_versym"), None)
        data = numbers.data() if numbers is not None else b""
        self._numbers = struct.unpack(f"{order}{len(data) // 2}H", data[: len(data) // 2 * 2])
        self._names: dict[int, str] = {}
        for section in file.iter_sections():
            if isinstance(section, GNUVerDefSection):
                for version, names in section.iter_versions():
                    self._names[version["vd_ndx"]] = next(iter(names)).name

    def of(self, symbol: int) -> tuple[str, bool]:
        """The version of a symbol by its number, and whether it is the default one."""
        if symbol >= len(self._numbers):
            return "", True
        number = self._numbers[symbol]
        plain = number & ~_HIDDEN
        name = self._names.get(plain, "") if plain > _OWN_VERSION else ""
        return name, not number & _HIDDEN
