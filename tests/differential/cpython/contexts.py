"""The argument of a program as CPython sees it: a packet of bytes, fields with what a test run gives them."""

from __future__ import annotations

import errno
from typing import Any

from tests.differential.cpython.storage import Array, ArrayKind, Integer, Kind, Text, View

ETH_HLEN = 14
HEADROOM, FRAME = 256, 40
"""Bytes before the packet of a test run, and how many of them the kernel keeps for itself."""
U32, I32 = Integer(32), Integer(32, True)


class Packet:
    """What contexts of all types share."""

    def __init__(self, packet: bytes) -> None:
        self.packet = bytearray(packet)

    def __len__(self) -> int:
        return len(self.packet)

    @property
    def data(self) -> int:
        """The address of the packet, from which others are counted."""
        return 0

    @property
    def data_end(self) -> int:
        """The address after the packet."""
        return len(self.packet)

    def _check(self, offset: int, size: int) -> int:
        if not 0 <= offset <= 0xFFFF or offset + size > len(self.packet):
            raise IndexError(offset)
        return offset

    def read(self, kind: Kind, offset: int) -> Any:
        """An integer, or a view of what is in the packet."""
        return kind.load(self.packet, self._check(offset, kind.size))

    def load(self, kind: Kind, offset: int) -> Any:
        """An integer, or a copy."""
        at = self._check(offset, kind.size)
        return kind.load(self.packet[at : at + kind.size], 0)

    def load_bytes(self, offset: int, size: int) -> Text:
        """A copy of bytes."""
        at = self._check(offset, size)
        return Text(self.packet[at : at + size], 0, size)

    def store(self, offset: int, value: Any, kind: Kind | None = None) -> None:
        """Write into the packet."""
        if kind is None:
            assert isinstance(value, View | bytes)
            data = bytearray(bytes(value))
        else:
            data = bytearray(kind.size)
            kind.store(data, 0, value)
        at = self._check(offset, len(data))
        self.packet[at : at + len(data)] = data


class SkBuff(Packet):
    """``bpf.SkBuff``."""

    def __init__(self, packet: bytes) -> None:
        super().__init__(packet)
        self.cb = Array(bytearray(20), 0, ArrayKind(U32, 5))
        self._mark = self._priority = 0
        self.ingress_ifindex, self.hash, self.vlan_present = 1, 0, 0

    @property
    def len(self) -> int:
        """Of the packet."""
        return len(self.packet)

    @property
    def mark(self) -> int:
        """32 bits."""
        return self._mark

    @mark.setter
    def mark(self, value: int) -> None:
        self._mark = U32(value)

    @property
    def priority(self) -> int:
        """32 bits."""
        return self._priority

    @priority.setter
    def priority(self, value: int) -> None:
        self._priority = U32(value)


class Xdp(Packet):
    """``bpf.Xdp``."""

    ingress_ifindex, rx_queue_index = 1, 0

    def __init__(self, packet: bytes) -> None:
        super().__init__(packet)
        self._before = bytearray(HEADROOM)

    def adjust_head(self, delta: int) -> int:
        """Cut off bytes at the start, or add some; 0 or a negative error number."""
        delta = I32(delta)
        start = len(self._before) + delta
        if delta > len(self.packet) - ETH_HLEN or start < FRAME:
            return -errno.EINVAL
        frame = self._before + self.packet
        self._before, self.packet = frame[:start], frame[start:]
        return 0

    def adjust_tail(self, delta: int) -> int:
        """Add zeros at the end, or cut off bytes; 0 or a negative error number."""
        length = len(self.packet) + I32(delta)
        if length < ETH_HLEN:
            return -errno.EINVAL
        self.packet = self.packet[:length].ljust(length, b"\0")
        return 0
