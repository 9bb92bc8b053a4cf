"""The strings of a ``.BTF`` section, where they stand: the kernel's are megabytes, which are not copied."""

from __future__ import annotations

import mmap

from pyebpf.btf.types import BtfError

Bytes = bytes | mmap.mmap
"""Contents of a section: read, or a mapping of the file that the kernel has them in."""


class Strings:
    """Strings by offset, in ``data`` at ``place``; offsets go on where those of ``base`` end."""

    __slots__ = ("_base", "_data", "_offsets", "_place", "first")

    def __init__(self, data: Bytes, place: range, base: Strings | None) -> None:
        self._data, self._place, self._base = data, place, base
        self.first = base.end if base is not None else 0
        self._offsets: dict[bytes, list[int]] = {}

    @property
    def end(self) -> int:
        """The offset behind the last one."""
        return self.first + len(self._place)

    def raw(self, offset: int) -> bytes:
        """The string at ``offset``. Raises ``BtfError`` if there is none."""
        if offset < self.first:
            assert self._base is not None
            return self._base.raw(offset)
        if offset >= self.end:
            raise BtfError(f"there is no string at {offset}, there are {len(self._place)} bytes of them")
        at = self._place.start + offset - self.first
        return self._data[at : self._data.find(b"\0", at)]

    def offsets(self, raw: bytes) -> list[int]:
        """Where ``raw`` stands; a string may also be the tail of another one. It is kept, since modules ask for the same
        one after the other."""
        if raw not in self._offsets:
            found = self._base.offsets(raw) if self._base is not None else []
            self._offsets[raw] = [*found, *self._search(raw + b"\0")]
        return self._offsets[raw]

    def starting(self, raw: bytes) -> list[bytes]:
        """The strings, or tails of strings, that start with ``raw``, without those of the base."""
        return [self.raw(offset) for offset in self._search(raw)]

    def _search(self, text: bytes) -> list[int]:
        found, at = [], self._place.start
        while (at := self._data.find(text, at, self._place.stop)) >= 0:
            found.append(self.first + at - self._place.start)
            at += 1
        return found
