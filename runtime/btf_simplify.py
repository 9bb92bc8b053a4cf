"""Type information for kernels that do not know its newer kinds: those are replaced, every id stays.

Tags become what says nothing (an integer that nobody refers to, a ``const``), 64-bit enums become unions of
the same size. It is what libbpf does before it loads BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pyebpf.btf.decode import Spec
from pyebpf.btf.types import Int, Kind
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.probe import Feature, has

if TYPE_CHECKING:
    from typing import Final


_FEATURES: Final = {
    Kind.DECL_TAG: Feature.BTF_DECL_TAG,
    Kind.TYPE_TAG: Feature.BTF_TYPE_TAG,
    Kind.ENUM64: Feature.BTF_ENUM64,
}
_RECORD: Final = struct.Struct("=III")
_PARTS: Final = {
    Kind.STRUCT: 12,
    Kind.UNION: 12,
    Kind.ENUM: 8,
    Kind.FUNC_PROTO: 8,
    Kind.DATASEC: 12,
    Kind.ENUM64: 12,
}
_TAILS: Final = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}


def unknown_kinds() -> frozenset[Kind]:
    """The kinds that this kernel refuses."""
    return frozenset(kind for kind, feature in _FEATURES.items() if not has(feature))


def _records(data: bytes | bytearray) -> Iterator[tuple[int, Kind, int]]:
    """Place, kind and number of parts of each type in ``.BTF`` of this machine's byte order."""
    header, start, length = struct.unpack_from("=III", data, 4)
    at, end = header + start, header + start + length
    while at < end:
        (info,) = struct.unpack_from("=I", data, at + 4)
        kind, parts = Kind(info >> 24 & 0x1F), info & 0xFFFF
        yield at, kind, parts
        at += _RECORD.size + _TAILS.get(kind, 0) + parts * _PARTS.get(kind, 0)


def simplify(data: bytes, unknown: frozenset[Kind]) -> bytes:
    """``.BTF`` without the kinds in ``unknown``, which are among declaration tags, type tags and 64-bit
    enums.

    A 64-bit enum needs an integer type to replace its values; where there is none it is left as it is.
    """
    out = bytearray(data)
    integers = [number for number, one in Spec(data).types() if isinstance(one, Int) and one.size <= 8]
    for at, kind, parts in list(_records(data)):
        if kind not in unknown:
            continue
        name, _, third = _RECORD.unpack_from(data, at)
        if kind is Kind.DECL_TAG:
            _RECORD.pack_into(out, at, name, Kind.INT << 24, 1)
            struct.pack_into("=I", out, at + _RECORD.size, 8)
        elif kind is Kind.TYPE_TAG:
            _RECORD.pack_into(out, at, 0, Kind.CONST << 24, third)
        elif kind is Kind.ENUM64 and integers:
            _RECORD.pack_into(out, at, name, Kind.UNION << 24 | parts, third)
            for index in range(parts):
                member = at + _RECORD.size + index * _PARTS[kind]
                struct.pack_into("=II", out, member + 4, integers[0], 0)
    return bytes(out)
