"""Malformed type information is refused with the place, never otherwise."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from pyebpf import btf

HEADER = struct.Struct("<HBBIIIII")


def section(*words: int, strings: bytes = b"\0name\0") -> bytes:
    """A section with these words as its types."""
    types = struct.pack(f"<{len(words)}I", *words)
    return HEADER.pack(0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def info(kind: btf.Kind, vlen: int = 0, flag: bool = False) -> int:
    return flag << 31 | kind << 24 | vlen


POINTER = (0, info(btf.Kind.PTR))

CASES: dict[str, tuple[bytes, int]] = {
    "less than a header": (b"\x9f\xeb\1\0", 0),
    "magic": (b"\0" * 24 + b"\0", 0),
    "version": (HEADER.pack(0xEB9F, 2, 0, 24, 0, 0, 0, 1) + b"\0", 2),
    "a header of 8": (HEADER.pack(0xEB9F, 1, 0, 8, 0, 0, 0, 1) + b"\0", 4),
    "unknown fields": (HEADER.pack(0xEB9F, 1, 0, 28, 0, 0, 0, 1) + b"\1\0\0\0\0", 24),
    "types at": (HEADER.pack(0xEB9F, 1, 0, 24, 0, 400, 0, 1) + b"\0", 8),
    "strings at": (HEADER.pack(0xEB9F, 1, 0, 24, 0, 0, 0, 9) + b"\0", 16),
    "do not start and end": (section(strings=b"\0name"), 24),
    "reserved bits": (section(0, 0x2000_0000, 0), 24),
    "unknown kind": (section(0, 20 << 24, 0), 24),
    "is cut off": (section(0, info(btf.Kind.INT), 4), 24),
    "record is cut": (section(*POINTER, 0, 0), 36),
    "of kind 0": (section(0, 0, 0), 24),
    "there is no type 9": (section(*POINTER, 9), -1),
    "there is no string": (section(40, info(btf.Kind.FWD), 0), -1),
    "contains itself": (section(*POINTER, 1), 24),
    "contains void": (section(0, info(btf.Kind.ARRAY), 0, 0, 0, 3), 24),
    "has no prototype": (section(1, info(btf.Kind.FUNC), 0), 24),
    "has linkage 7": (section(1, info(btf.Kind.VAR), 0, 7), 24),
    "something else than variables": (section(*POINTER, 0, 1, info(btf.Kind.DATASEC, 1), 4, 1, 0, 4), 36),
    "bits in": (section(1, info(btf.Kind.INT), 4, 40), 24),
}


@pytest.mark.parametrize("words", CASES)
def test_refused_with_the_place(words: str) -> None:
    data, offset = CASES[words]
    with pytest.raises(btf.BtfError, match=words) as caught:
        btf.decode(data)
    assert caught.value.offset == offset


def test_deep_nesting_is_refused() -> None:
    chain = [word for number in range(2, 202) for word in (*POINTER, number)]
    with pytest.raises(btf.BtfError, match="nested too deeply"):
        btf.decode(section(*chain, *POINTER, 0))


def test_deeply_nested_structs_have_no_layout() -> None:
    type_: btf.Type = btf.U32
    for _ in range(5000):
        type_ = btf.Struct("", 4, (btf.Member("m", type_, 0),))
    assert btf.layout_of(type_) is None
    assert btf.equal(type_, type_)


def with_ext(change: Callable[[bytearray], None]) -> btf.Ext:
    encoder = btf.Encoder()
    func = btf.Func("f", btf.FuncProto(btf.INT))
    ext = btf.Ext(
        {"xdp": [btf.FuncRecord(0, func)]},
        {"xdp": [btf.LineRecord(0, "file.py", "text", 3, 4), btf.LineRecord(8, "file.py", "", 5, 1)]},
        {"xdp": [btf.CoreRecord(8, btf.Struct("s", 0), "0:1", 2)]},
    )
    data = bytearray(btf.encode_ext(ext, encoder))
    change(data)
    return btf.decode_ext(bytes(data), btf.Spec(encoder.finish()))


def test_records_survive() -> None:
    ext = with_ext(lambda data: None)
    (func,) = ext.funcs["xdp"]
    assert (func.offset, func.type.name) == (0, "f")
    assert ext.lines["xdp"] == [
        btf.LineRecord(0, "file.py", "text", 3, 4),
        btf.LineRecord(8, "file.py", "", 5, 1),
    ]
    (core,) = ext.core["xdp"]
    assert (core.offset, btf.describe(core.type), core.access, core.kind) == (8, "struct s", "0:1", 2)


def test_the_short_header_has_no_relocations() -> None:
    encoder = btf.Encoder()
    data = btf.encode_ext(btf.Ext(lines={"xdp": [btf.LineRecord(0, "f", "", 1, 1)]}), encoder)
    short = data[:4] + struct.pack("<I", 24) + data[8:24] + data[32:]
    ext = btf.decode_ext(short, btf.Spec(encoder.finish()))
    assert len(ext.lines["xdp"]) == 1 and not ext.core


def test_large_lines_and_columns_are_cut_to_the_format() -> None:
    encoder = btf.Encoder()
    data = btf.encode_ext(btf.Ext(lines={"xdp": [btf.LineRecord(0, "f", "", 1 << 30, 5000)]}), encoder)
    (line,) = btf.decode_ext(data, btf.Spec(encoder.finish())).lines["xdp"]
    assert (line.line, line.column) == ((1 << 22) - 1, 1023)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (0, 1, "magic"),
        (4, 12, "a header of 12"),
        (4, 1 << 20, "a header of"),
        (12, 1 << 20, "bytes of records"),
        (8, 2, "bytes of records"),
        (32, 4, "records of 4 bytes"),
        (32 + 8, 0, "0 records"),
        (32 + 8, 99, "99 records"),
        (32 + 4, 999, "no string at 999"),
        (32 + 16, 999, "no type 999"),
        (32 + 16, 2, "no function"),
    ],
)
def test_malformed_records_are_refused(offset: int, value: int, words: str) -> None:
    with pytest.raises(btf.BtfError, match=words):
        with_ext(lambda data: struct.pack_into("<I", data, offset, value))
