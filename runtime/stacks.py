"""STACK_TRACE: call stacks that programs recorded, by the ids that they got for them."""

from __future__ import annotations

import struct
import sys

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.runtime.backing import Backing
from pyebpf.runtime.errors import errno_name
from pyebpf.runtime.map_codec import Buffer, Codec, RawCodec
from pyebpf.runtime.maps import HashMap
from pyebpf.uapi.constants import MapCreateFlag

if TYPE_CHECKING:
    from typing import Final


_ORDER: Final = "<" if sys.byteorder == "little" else ">"


class _Addresses:
    """Stacks as tuples of addresses, the innermost first; the kernel fills the rest of a value with zeros."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._struct = struct.Struct(f"{_ORDER}{size // 8}Q")

    def encode(self, value: Any) -> bytes:
        """Refused: raises ``TypeError``."""
        raise TypeError("stacks are recorded by programs, and user space only reads and deletes them")

    def decode(self, data: Buffer, offset: int = 0) -> tuple[int, ...]:
        """The addresses up to the first zero."""
        addresses: tuple[int, ...] = self._struct.unpack_from(data, offset)
        return addresses[: addresses.index(0)] if 0 in addresses else addresses


class StackTrace(HashMap):
    """STACK_TRACE: ``stacks[id]`` is a tuple of addresses, the innermost function's first.

    With build ids instead of addresses (``BPF_F_STACK_BUILD_ID``) a stack is bytes. ``del stacks[id]`` and ``clear``
    make room; an id stands for its stack until then, but a program's ``BPF_F_REUSE_STACKID`` may replace it.
    """

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        build_ids = backing.facts.flags & MapCreateFlag.STACK_BUILD_ID
        size = backing.facts.value_size
        super().__init__(backing, key, RawCodec(size) if build_ids else _Addresses(size))

    def __getitem__(self, key: Any) -> Any:
        """The stack of an id. Raises ``KeyError`` if there is none; a negative number is what ``get_stackid`` gives where
        it fails."""
        if isinstance(key, int) and key < 0:
            raise KeyError(f"{key} is no id of a stack: get_stackid failed with {errno_name(-key)}")
        return super().__getitem__(key)
