"""Mutations of objects: of their bytes, and of the fields that the formats have.

Field positions come from the System V ABI (chapters 4 and 5) and Documentation/bpf/btf.rst of Linux 6.18, not from our
readers. A mutation of something malformed already falls back to one of bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

Mutation = Callable[[bytearray, random.Random], None]

NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 8, 24, 32, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 1 << 16, 1 << 20, 1 << 28),
    *(
        0x7FFF_FFFF,
        0x8000_0000,
        0xFFFF_FFFE,
        0xFFFF_FFFF,
        1 << 32,
        (1 << 63) - 1,
        1 << 63,
        (1 << 64) - 8,
        (1 << 64) - 1,
    ),
)
EHDR, SHDR, SYM, REL = 64, 64, 24, 16
_HEADER_FIELDS = (
    (0, 16),
    (16, 2),
    (18, 2),
    (20, 4),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 4),
    (52, 2),
    (58, 2),
    (60, 2),
    (62, 2),
)
_SECTION_FIELDS = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
_SYMBOL_FIELDS = ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
_RELOCATION_FIELDS = ((0, 8), (8, 4), (12, 4))
_MEMBERS = {1: 4, 3: 12, 13: 8, 14: 4, 17: 4}
"""Bytes behind a BTF record: of integers, arrays, parameters (each), variables, declaration tags."""
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""Bytes for each of the ``vlen`` parts of a BTF record."""


def number(data: bytearray, at: int, width: int, choose: random.Random) -> None:
    """Change the little-endian number at ``at``: to a telling one, by a little, or in one bit."""
    if width > 8:  # several fields, such as the identification
        at, width = at + choose.randrange(width), 1
    if not 0 <= at <= len(data) - width:
        return flip(data, choose)
    old = int.from_bytes(data[at : at + width], "little")
    kind = choose.random()
    if kind < 0.4:
        new = choose.choice(NUMBERS)
    elif kind < 0.7:
        new = old + choose.choice((-8, -4, -1, 1, 4, 8, 64))
    elif kind < 0.9:
        new = old ^ 1 << choose.randrange(8 * width)
    else:
        new = choose.choice((len(data), len(data) - old, 2 * old, choose.randrange(len(data))))
    data[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return None


# ---------------------------------------------------------------- any bytes


def flip(data: bytearray, choose: random.Random) -> None:
    """Other bits or bytes here and there."""
    for _ in range(choose.choice((1, 1, 2, 4, 16))):
        if data:
            data[choose.randrange(len(data))] ^= (
                1 << choose.randrange(8) if choose.random() < 0.5 else choose.randrange(256)
            )


def word(data: bytearray, choose: random.Random) -> None:
    """Another number somewhere."""
    width = choose.choice((1, 2, 4, 8))
    if len(data) > width:
        number(data, choose.randrange(len(data) - width), width, choose)


def cut(data: bytearray, choose: random.Random) -> None:
    """The end, or a part in the middle, is missing."""
    at = choose.randrange(len(data) + 1)
    del data[at : None if choose.random() < 0.5 else at + choose.choice((1, 4, 8, 16, 64))]


def insert(data: bytearray, choose: random.Random) -> None:
    """Something is there that does not belong."""
    at, size = choose.randrange(len(data) + 1), choose.choice((1, 4, 8, 24, 64))
    data[at:at] = choose.randbytes(size) if choose.random() < 0.5 else bytes(size)


def splice(data: bytearray, choose: random.Random) -> None:
    """A part is written over another."""
    if len(data) < 2:
        return
    size = min(choose.choice((4, 8, 16, 24, 64, 256)), len(data) // 2)
    source, target = (choose.randrange(len(data) - size + 1) for _ in range(2))
    data[target : target + size] = data[source : source + size]


BYTES: tuple[Mutation, ...] = (flip, word, cut, insert, splice)


# ---------------------------------------------------------------- ELF


def _sections(data: bytearray) -> Iterator[tuple[int, int, int, int]]:
    """Of every section header that is there: its place, the type, and the offset and size of the contents."""
    if len(data) < EHDR:
        return
    table, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    for at in range(table, min(table + count * SHDR, len(data) - SHDR + 1), SHDR):
        kind = int.from_bytes(data[at + 4 : at + 8], "little")
        start, size = struct.unpack_from("<QQ", data, at + 24)
        yield at, kind, start, size if start + size <= len(data) else 0


def elf_header(data: bytearray, choose: random.Random) -> None:
    """A field of the ELF header."""
    number(data, *choose.choice(_HEADER_FIELDS), choose)


def section_header(data: bytearray, choose: random.Random) -> None:
    """A field of a section header, or two headers swapped."""
    places = [at for at, *_ in _sections(data)]
    if not places:
        return flip(data, choose)
    at, other = choose.choice(places), choose.choice(places)
    if choose.random() < 0.1:
        data[at : at + SHDR], data[other : other + SHDR] = data[other : other + SHDR], data[at : at + SHDR]
        return None
    offset, width = choose.choice(_SECTION_FIELDS)
    return number(data, at + offset, width, choose)


def _entries(data: bytearray, kinds: tuple[int, ...], size: int) -> list[int]:
    return [
        e
        for _, k, start, length in _sections(data)
        if k in kinds
        for e in range(start, start + length - size + 1, size)
    ]


def symbol(data: bytearray, choose: random.Random) -> None:
    """A field of a symbol."""
    places = _entries(data, (2,), SYM)
    if not places:
        return flip(data, choose)
    offset, width = choose.choice(_SYMBOL_FIELDS)
    return number(data, choose.choice(places) + offset, width, choose)


def relocation(data: bytearray, choose: random.Random) -> None:
    """A field of a relocation."""
    places = _entries(data, (9,), REL)
    if not places:
        return flip(data, choose)
    offset, width = choose.choice(_RELOCATION_FIELDS)
    return number(data, choose.choice(places) + offset, width, choose)


def contents(data: bytearray, choose: random.Random) -> None:
    """The contents of a section, as what they are: strings, code, types and their records; the size stays."""
    found = [(k, start, size) for _, k, start, size in _sections(data) if size]
    if not found:
        return flip(data, choose)
    kind, start, size = choose.choice(found)
    part = bytearray(data[start : start + size])
    if part[:2] == b"\x9f\xeb":
        choose.choice((*TYPES, *RECORDS))(part, choose)
    elif kind == 3:
        flip(part, choose)
    else:
        choose.choice((flip, word, splice))(part, choose)
    data[start : start + size] = part.ljust(size, b"\0")[:size]
    return None


ELF: tuple[Mutation, ...] = (
    *(
        elf_header,
        section_header,
        section_header,
        symbol,
        symbol,
        relocation,
        relocation,
        contents,
        contents,
        contents,
    ),
    *BYTES,
)


# ---------------------------------------------------------------- BTF


def btf_header(data: bytearray, choose: random.Random) -> None:
    """A field of the header of ``.BTF`` or ``.BTF.ext``."""
    number(data, *choose.choice(((0, 2), (2, 1), (3, 1), *((4 + 4 * i, 4) for i in range(7)))), choose)


def _type_records(data: bytearray) -> Iterator[tuple[int, int]]:
    """The place and size of every record of ``.BTF``."""
    if len(data) < 24:
        return
    header, start, size = struct.unpack_from("<III", data, 4)
    at, end = header + start, min(header + start + size, len(data))
    while at + 12 <= end:
        info = int.from_bytes(data[at + 4 : at + 8], "little")
        kind, count = info >> 24 & 31, info & 0xFFFF
        length = 12 + (_EACH[kind] * count if kind in _EACH else _MEMBERS.get(kind, 0))
        yield at, length
        at += length


def type_record(data: bytearray, choose: random.Random) -> None:
    """A word of a type: its name, kind, number of parts, size, or what it refers to."""
    records = list(_type_records(data))
    if not records:
        return flip(data, choose)
    at, length = choose.choice(records)
    place = choose.choice((0, 4, 8, 4 * choose.randrange(length // 4)))
    if place == 4 and choose.random() < 0.5:  # another kind, flag or number of parts
        return number(data, at + choose.choice((4, 7)), choose.choice((1, 2)), choose)
    if place >= 8 and choose.random() < 0.5:  # another type
        data[at + place : at + place + 4] = choose.randrange(len(records) + 2).to_bytes(4, "little")
        return None
    return number(data, at + place, 4, choose)


def swap_types(data: bytearray, choose: random.Random) -> None:
    """Two records in each other's place, so that ids mean other types."""
    records = list(_type_records(data))
    if len(records) < 2:
        return flip(data, choose)
    (one, first), (two, second) = sorted(choose.sample(records, 2))
    data[one : two + second] = data[two : two + second] + data[one + first : two] + data[one : one + first]
    return None


TYPES: tuple[Mutation, ...] = (btf_header, type_record, type_record, type_record, swap_types, *BYTES)


def ext_record(data: bytearray, choose: random.Random) -> None:
    """A word of the three parts of ``.BTF.ext``: record sizes, section names, counts, and the records."""
    if len(data) < 24:
        return flip(data, choose)
    fields = struct.unpack_from("<7I", data.ljust(32, b"\0"), 4)
    part = choose.randrange(3)
    start, size = fields[0] + fields[1 + 2 * part], fields[2 + 2 * part]
    if size < 4 or start + size > len(data):
        return flip(data, choose)
    words = size // 4
    at = choose.choice((0, 1, 2, choose.randrange(words))) % words
    return number(data, start + 4 * at, 4, choose)


RECORDS: tuple[Mutation, ...] = (btf_header, ext_record, ext_record, ext_record, *BYTES)


def mutate(data: bytes, mutations: tuple[Mutation, ...], choose: random.Random) -> bytes:
    """``data`` after one to four of ``mutations``."""
    changed = bytearray(data)
    for _ in range(choose.choice((1, 1, 1, 2, 2, 4))):
        choose.choice(mutations)(changed, choose)
        if not changed:
            break
    return bytes(changed)
