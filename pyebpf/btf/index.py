"""Where the types of a large ``.BTF`` lie, found once and kept: places of records, and ids by name.

Going through the kernel's more than 100,000 records takes Python long; an index of them is four arrays that are read
in one go. ``pyebpf.runtime.kernel_index`` keeps that of the running kernel on disk.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from zlib import crc32

from pyebpf.btf.names import essential_name
from pyebpf.btf.types import Kind
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


_HEADER: Final = struct.Struct("=16s6I")
_MAGIC: Final = b"pyebpf types 1\n\0"
_WORD: Final = 4
_FLAVOR: Final = b"___"


@dataclass(frozen=True, slots=True)
class Index:
    """``places``: of every record, in 32-bit words from the first. ``hashes``: of all names, and of those with a flavor
    without it too, ascending, with the ids of their types in ``ids``, ascending for one hash. ``tags``: the ids of
    declaration tags."""

    places: array[int] | memoryview
    hashes: array[int] | memoryview
    ids: array[int] | memoryview
    tags: array[int] | memoryview

    def named(self, name: bytes) -> list[int]:
        """The ids of the types that may have this name, or a flavor of it, ascending: names of the same hash are among
        them."""
        wanted = crc32(name)
        at = bisect_left(self.hashes, wanted)
        found = []
        while at < len(self.hashes) and self.hashes[at] == wanted:
            found.append(self.ids[at])
            at += 1
        return found


def build_index(
    words: Sequence[int], places: Sequence[int], first: int, string: Callable[[int], bytes]
) -> Index:
    """The index of records of which ``places`` is known. ``first``: the id of the first one; ``string``: the name at an
    offset."""
    offsets = [words[place] for place in places]
    names = {offset: string(offset) for offset in set(offsets) if offset}
    hashes = {offset: crc32(name) for offset, name in names.items()}
    plain = {offset: _without_flavor(name) for offset, name in names.items() if _FLAVOR in name}
    flavors = {offset: crc32(name) for offset, name in plain.items() if name != names[offset]}
    named = [hashes[offset] << 32 | number for number, offset in enumerate(offsets, first) if offset]
    named += [
        flavors[offset] << 32 | number for number, offset in enumerate(offsets, first) if offset in flavors
    ]
    named.sort()
    tags = [n for n, place in enumerate(places, first) if words[place + 1] >> 24 & 0x1F == Kind.DECL_TAG]
    return Index(
        array("I", places),
        array("I", [pair >> 32 for pair in named]),
        array("I", [pair & 0xFFFF_FFFF for pair in named]),
        array("I", tags),
    )


def _without_flavor(name: bytes) -> bytes:
    return essential_name(name.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def dump_index(index: Index, size: int, checksum: int) -> bytes:
    """The index of a ``.BTF`` of ``size`` bytes whose CRC is ``checksum``, for ``load_index`` on this machine."""
    parts = (index.places, index.hashes, index.ids, index.tags)
    body = b"".join(part.tobytes() for part in parts)
    counts = len(index.places), len(index.hashes), len(index.tags)
    return _HEADER.pack(_MAGIC, size, checksum, *counts, crc32(body)) + body


def load_index(data: bytes, size: int, checksum: int) -> Index | None:
    """The index in ``data``; ``None`` if it is of another ``.BTF``, or damaged."""
    if len(data) < _HEADER.size:
        return None
    magic, stated_size, stated, places, names, tags, body_sum = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    counts = (places, names, names, tags)
    if magic != _MAGIC or (stated_size, stated) != (size, checksum):
        return None
    if len(body) != sum(counts) * _WORD or crc32(body) != body_sum:
        return None
    parts, at = [], 0
    for count in counts:
        parts.append(body[at : at + count * _WORD].cast("I"))
        at += count * _WORD
    return Index(*parts)
