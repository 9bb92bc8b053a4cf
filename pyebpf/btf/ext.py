"""``.BTF.ext``: where functions and lines start, and which instructions depend on the kernel (CO-RE).

Records belong to ELF sections; their offsets are bytes from the start of the section. The system call wants
instruction numbers of a linked program instead: that conversion is the loader's.

Source: Documentation/bpf/btf.rst and Documentation/bpf/llvm_reloc.rst of Linux 6.18.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

from pyebpf.btf.decode import Spec
from pyebpf.btf.encode import Encoder
from pyebpf.btf.header import MAGIC
from pyebpf.btf.types import BtfError, Func, Type
from pyebpf.hints import TypeVar
from pyebpf.records import dataclass, field

_HEADER = "HBBIIIIIII"
_HEADER_SIZE = 32
_SHORT_HEADER_SIZE = 24
_COLUMN_BITS = 10
MAX_COLUMN = (1 << _COLUMN_BITS) - 1
MAX_LINE = (1 << (32 - _COLUMN_BITS)) - 1


@dataclass(frozen=True, slots=True)
class FuncRecord:
    """The function ``type`` starts at ``offset`` bytes."""

    offset: int
    type: Func


@dataclass(frozen=True, slots=True)
class LineRecord:
    """Code from ``offset`` bytes on comes from this place; ``text`` is the line itself."""

    offset: int
    file: str
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class CoreRecord:
    """The instruction at ``offset`` bytes depends on the kernel's version of ``type``.

    ``kind`` is of ``enum bpf_core_relo_kind``; ``access`` a path such as ``0:3:1`` of member numbers.
    """

    offset: int
    type: Type
    access: str
    kind: int


@dataclass(slots=True)
class Ext:
    """The records by name of the ELF section."""

    funcs: dict[str, list[FuncRecord]] = field(default_factory=dict)
    lines: dict[str, list[LineRecord]] = field(default_factory=dict)
    core: dict[str, list[CoreRecord]] = field(default_factory=dict)


Record = TypeVar("Record", FuncRecord, LineRecord, CoreRecord)


def encode_ext(ext: Ext, encoder: Encoder) -> bytes:
    """The section; its types and strings go into ``encoder``, which must not have been finished before.

    Lines and columns too large for the format are cut to its limits (line 4194303, column 1023).
    """
    order = "<" if encoder.little_endian else ">"

    def func(r: FuncRecord) -> bytes:
        return struct.pack(order + "II", r.offset, encoder.add(r.type))

    def line(r: LineRecord) -> bytes:
        place = min(r.line, MAX_LINE) << _COLUMN_BITS | min(r.column, MAX_COLUMN)
        return struct.pack(order + "IIII", r.offset, encoder.string(r.file), encoder.string(r.text), place)

    def core(r: CoreRecord) -> bytes:
        return struct.pack(order + "IIII", r.offset, encoder.add(r.type), encoder.string(r.access), r.kind)

    def part(records: Mapping[str, Sequence[Record]], size: int, pack: Callable[[Record], bytes]) -> bytes:
        blocks = [
            struct.pack(order + "II", encoder.string(name), len(rows)) + b"".join(map(pack, rows))
            for name, rows in records.items()
            if rows
        ]
        return struct.pack(order + "I", size) + b"".join(blocks) if blocks else b""

    parts = [part(ext.funcs, 8, func), part(ext.lines, 16, line), part(ext.core, 16, core)]
    places: list[int] = []
    at = 0
    for block in parts:
        places += [at, len(block)]
        at += len(block)
    return struct.pack(order + _HEADER, MAGIC, 1, 0, _HEADER_SIZE, *places) + b"".join(parts)


def decode_ext(data: bytes, spec: Spec) -> Ext:
    """The records of a ``.BTF.ext`` section that belongs to the ``.BTF`` section ``spec``.

    Raises:
        BtfError: for any malformed input.
    """
    if len(data) < _SHORT_HEADER_SIZE:
        raise BtfError(f".BTF.ext: {len(data)} bytes are less than a header", 0)
    order = "<" if spec.little_endian else ">"
    magic, version, flags, header = struct.unpack_from(order + "HBBI", data)
    if magic != MAGIC or version != 1 or flags:
        raise BtfError(f".BTF.ext: magic {magic:#x}, version {version}, flags {flags:#x}", 0)
    if header not in (_SHORT_HEADER_SIZE, _HEADER_SIZE) and (
        header < _HEADER_SIZE or any(data[_HEADER_SIZE:header])
    ):
        raise BtfError(f".BTF.ext: a header of {header} bytes", 4)
    if header > len(data):
        raise BtfError(f".BTF.ext: a header of {header} bytes in {len(data)}", 4)
    places = struct.unpack_from(order + ("IIII" if header == _SHORT_HEADER_SIZE else "IIIIII"), data, 8)
    ext = Ext()

    def part(index: int, least: int) -> Iterator[tuple[str, int]]:
        if 2 * index >= len(places):
            return
        start, length = header + places[2 * index], places[2 * index + 1]
        yield from _records(data, spec, order, start, length, least)

    for section, at in part(0, 8):
        offset, number = struct.unpack_from(order + "II", data, at)
        func = spec.type(number)
        if not isinstance(func, Func):
            raise BtfError(f".BTF.ext: func_info refers to type {number}, which is no function", at)
        ext.funcs.setdefault(section, []).append(FuncRecord(offset, func))
    for section, at in part(1, 16):
        offset, file, text, place = struct.unpack_from(order + "IIII", data, at)
        record = LineRecord(
            offset, spec.string(file), spec.string(text), place >> _COLUMN_BITS, place & MAX_COLUMN
        )
        ext.lines.setdefault(section, []).append(record)
    for section, at in part(2, 16):
        offset, number, access, kind = struct.unpack_from(order + "IIII", data, at)
        root = spec.type(number)
        if root is None:
            raise BtfError(".BTF.ext: a CO-RE record about void", at)
        ext.core.setdefault(section, []).append(CoreRecord(offset, root, spec.string(access), kind))
    return ext


def _records(
    data: bytes, spec: Spec, order: str, start: int, length: int, least: int
) -> Iterator[tuple[str, int]]:
    """The section name and the place in ``data`` of every record of one part."""
    end = start + length
    if length == 0:
        return
    if end > len(data) or start % 4 or length < 4:
        raise BtfError(f".BTF.ext: {length} bytes of records at {start}", start)
    (size,) = struct.unpack_from(order + "I", data, start)
    if size < least or size % 4:
        raise BtfError(f".BTF.ext: records of {size} bytes", start)
    at = start + 4
    while at < end:
        if at + 8 > end:
            raise BtfError(".BTF.ext: a section is cut off", at)
        name, count = struct.unpack_from(order + "II", data, at)
        at += 8
        if count == 0 or at + count * size > end:
            raise BtfError(f".BTF.ext: {count} records for a section", at)
        section = spec.string(name)
        for _ in range(count):
            yield section, at
            at += size
