"""Longest-prefix match. Source: kernel/bpf/lpm_trie.c.

A dictionary for each prefix length that occurs, tried from the longest: the same answers as the kernel's trie.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import MapSpec
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, Values, check_flags, refuse
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import MapCreateFlag, MapUpdateFlag

if TYPE_CHECKING:
    from typing import Final


_LENGTH_BYTES: Final = 4
_MOST_BYTES: Final = 256
_Prefix = tuple[int, int]
"""The length in bits and that many bits as a number."""


class TrieMap(MachineMap):
    """LPM_TRIE: keys are a prefix length in bits and the bytes, most significant bit first."""

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        if (
            not 1 <= spec.key_size - _LENGTH_BYTES <= _MOST_BYTES
            or spec.max_entries < 1
            or spec.value_size < 1
        ):
            raise refuse(spec, "a trie needs entries, a value and keys of 4 bytes and 1 to 256 more")
        if not spec.flags & MapCreateFlag.NO_PREALLOC:
            raise refuse(spec, "a trie needs the flag NO_PREALLOC")
        super().__init__(spec, memory, environment)
        self._bits = (spec.key_size - _LENGTH_BYTES) * 8
        self._elements: dict[_Prefix, tuple[bytes, Values]] = {}
        self._lengths: dict[int, int] = {}

    def _parse(self, key: bytes) -> tuple[int, int]:
        """The prefix length and all the bits of a key."""
        length = int.from_bytes(key[:_LENGTH_BYTES], sys.byteorder)
        return length, int.from_bytes(key[_LENGTH_BYTES:], "big")

    def _prefix(self, key: bytes) -> _Prefix | None:
        length, bits = self._parse(key)
        return None if length > self._bits else (length, bits >> self._bits - length)

    def _longest(self, key: bytes) -> Values | None:
        length, bits = self._parse(key)
        if length > self._bits:
            return None
        for candidate in sorted(self._lengths, reverse=True):
            if candidate <= length:
                found = self._elements.get((candidate, bits >> self._bits - candidate))
                if found is not None:
                    return found[1]
        return None

    def lookup(self, key: bytes) -> int:
        """The address of the value of the longest prefix of ``key`` that is not longer than it; 0 if there is none."""
        values = self._longest(key)
        return 0 if values is None else values[0].address

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """EINVAL for a prefix that is too long; EEXIST and ENOENT by the flags; ENOSPC if the trie is full."""
        prefix = self._prefix(key)
        if flags > MapUpdateFlag.EXIST or prefix is None:
            return -errno.EINVAL
        old = self._elements.get(prefix)
        refused = check_flags(flags, old is not None)
        if refused:
            return refused
        if old is None:
            if len(self._elements) >= self.spec.max_entries:
                return -errno.ENOSPC
            self._lengths[prefix[0]] = self._lengths.get(prefix[0], 0) + 1
        else:
            self.bury(old[1])
        values = self.new_values()
        self.set_here(values, value)
        self._elements[prefix] = (key, values)
        return 0

    def delete(self, key: bytes) -> int:
        """EINVAL for a prefix that is too long, ENOENT if exactly this one is not there."""
        prefix = self._prefix(key)
        if prefix is None:
            return -errno.EINVAL
        old = self._elements.pop(prefix, None)
        if old is None:
            return -errno.ENOENT
        self._lengths[prefix[0]] -= 1
        if not self._lengths[prefix[0]]:
            del self._lengths[prefix[0]]
        self.bury(old[1])
        return 0

    def read(self, key: bytes | None) -> bytes | int:
        """The value of the longest prefix."""
        assert key is not None
        values = self._longest(key)
        return -errno.ENOENT if values is None else bytes(values[0].data)

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """As ``update``."""
        assert key is not None
        return self.update(key, value, flags)

    def keys(self) -> Iterator[bytes]:
        """Longer prefixes before those that they are in, else by their bits."""

        def rank(prefix: _Prefix) -> str:
            length, bits = prefix
            return (format(bits, f"0{length}b") if length else "") + "2"

        return (self._elements[prefix][0] for prefix in sorted(self._elements, key=rank))

    def close(self) -> None:
        """Give all memory back."""
        for _, values in self._elements.values():
            self.bury(values)
        self._elements.clear()
        self._lengths.clear()
