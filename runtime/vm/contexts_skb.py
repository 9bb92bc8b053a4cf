"""``struct __sk_buff``: the packet with its headers' places, as net/bpf/test_run.c sets it up.

tc programs see the packet from its Ethernet header on. Socket filters and cgroup programs see it from behind that
header, which loads relative to the MAC header still reach; the test run gives zeros back in its place. sk_skb programs,
for which the kernel has no test run, get the payload of a stream: all of the data.
"""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.vm.contexts import ETHERNET, PAGE, SHARED_INFO, Fields, check_room, refused, whole_context
from pyebpf.runtime.vm.memory import Memory, Region
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.contexts import SK_BUFF

if TYPE_CHECKING:
    from typing import Final


ETH_P_IP: Final = 0x0800
ETH_P_IPV6: Final = 0x86DD
ETH_P_8021Q: Final = 0x8100
ETH_P_8021AD: Final = 0x88A8
_ETH_P_802_3_MIN: Final = 0x0600
_ETH_P_802_3: Final = 1
_ETH_P_802_2: Final = 4
_PACKET_MULTICAST: Final = 2
_PACKET_OTHERHOST: Final = 3
_AF_INET: Final = 2
_AF_INET6: Final = 10
_LOOPBACK: Final = 1
_HEADROOM: Final = 64
_GSO_LEGACY_MAX_SIZE: Final = 65536
_GSO_MAX_SEGS: Final = 0xFFFF
UNSET: Final = 0xFFFF
"""The place of a transport header that was never set."""
_NET_OFFSET: Final = -0x100000
_LINK_OFFSET: Final = -0x200000
_GIVEN: Final = (
    "mark",
    "priority",
    "ingress_ifindex",
    "ifindex",
    "cb",
    "tstamp",
    "wire_len",
    "gso_segs",
    "gso_size",
    "hwtstamp",
)
"""Fields that a context given by the user may set; all others must be zero."""
_RETURNED: Final = (
    "mark",
    "priority",
    "ingress_ifindex",
    "ifindex",
    "cb",
    "tstamp",
    "wire_len",
    "gso_segs",
    "hwtstamp",
)
_TC: Final = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT})


def big_endian(number: int) -> int:
    """A 16-bit number in network order, read as the machine's own order reads it."""
    return int.from_bytes(number.to_bytes(2, "big"), sys.byteorder)


def ethernet_protocol(kind: int, payload: bytes | bytearray | memoryview) -> int:
    """The protocol for the type field of an Ethernet header (eth_type_trans): lengths mean 802.3 or 802.2."""
    if kind >= _ETH_P_802_3_MIN:
        return kind
    return _ETH_P_802_3 if payload[:2] == b"\xff\xff" else _ETH_P_802_2


def check_header(frame: bytes) -> None:
    """Refuse what the test run refuses: frames of an IP version that are shorter than its header."""
    kind = int.from_bytes(frame[12:14], "big")
    least = {ETH_P_IP: 20, ETH_P_IPV6: 40}.get(kind, 0)
    if len(frame) < ETHERNET + least:
        raise refused(f"a frame of IP has at least {ETHERNET + least} bytes, not {len(frame)}")


class SkbContext:
    """One packet and its ``__sk_buff``. Offsets in its methods count from where the program's data starts.

    ``headroom``, ``mac_at``, ``network_at`` and ``transport_at`` are counted as the kernel counts them, in 16 bits from
    the start of the buffer, because what some helpers do depends on it. ``csum_level``: how many checksums were found
    good, ``None`` if none were looked at.
    """

    def __init__(self, memory: Memory, prog_type: ProgType, data: bytes, ctx: bytes | None) -> None:
        stream = prog_type is ProgType.SK_SKB
        if not stream and not ETHERNET <= len(data) <= PAGE - _HEADROOM - SHARED_INFO:
            raise refused(
                f"a test run takes frames of {ETHERNET} to {PAGE - _HEADROOM - SHARED_INFO} bytes, not {len(data)}"
            )
        given = None if ctx is None else whole_context(ctx, SK_BUFF.size)
        self.memory = memory
        self.prog_type = prog_type
        self.link_layer = prog_type in _TC
        self.headroom = _HEADROOM
        self.transport_at = UNSET
        self.mac_length = 0
        self.csum_level: int | None = None
        self.encapsulated = False
        self.hashed = False
        self._given = ctx
        self._packet: Region | None = None
        self.fields = Fields(memory, SK_BUFF)
        self.address = self.fields.region.address
        self.before = b""
        self.mac_at = self.network_at = _HEADROOM
        self._socket = memory.map(bytearray(), "the socket of the test run", writable=False)
        self.fields.set("sk", self._socket.address)
        try:
            self._begin(data, given)
        except BpfError:
            self.close()
            raise

    def _begin(self, data: bytes, given: bytes | None) -> None:
        """Take the packet and the user's context in, or refuse them as the kernel does, in its order."""
        if given is not None:
            self._check_interface(given)
        if self.prog_type is ProgType.SK_SKB:
            self._place(bytearray(data))
        else:
            check_header(data)
            self._receive(data)
            self.fields.set("ifindex", _LOOPBACK)
        if given is not None:
            self._take(given)
            check_room(self._given or b"", SK_BUFF.size)

    def _receive(self, data: bytes) -> None:
        """What eth_type_trans() finds out, and the socket's addresses."""
        payload = data[ETHERNET:]
        protocol = ethernet_protocol(int.from_bytes(data[12:14], "big"), payload)
        self.protocol = protocol
        destination = data[:6]
        if any(destination):  # the address of the loopback device is all zeros
            self.fields.set("pkt_type", _PACKET_MULTICAST if destination[0] & 1 else _PACKET_OTHERHOST)
        if self.link_layer:
            self._place(bytearray(data))
        else:
            self.before = data[:ETHERNET]
            self.headroom += ETHERNET
            self._place(bytearray(payload))
        self.network_at = _HEADROOM + ETHERNET
        if protocol == ETH_P_IP:
            self._addresses(_AF_INET, payload, 12, 4)
        elif protocol == ETH_P_IPV6:
            self._addresses(_AF_INET6, payload, 8, 16)

    def _addresses(self, family: int, payload: bytes, at: int, size: int) -> None:
        self.fields.set("family", family)
        version = "4" if family == _AF_INET else "6"
        self.fields.set(f"local_ip{version}", int.from_bytes(payload[at : at + size], sys.byteorder))
        remote = payload[at + size : at + 2 * size]
        self.fields.set(f"remote_ip{version}", int.from_bytes(remote, sys.byteorder))

    def _check_interface(self, given: bytes) -> None:
        start, end = self.fields.places["ifindex"]
        index = int.from_bytes(given[start:end], sys.byteorder)
        if index > _LOOPBACK:
            raise refused(f"there is no interface {index} here", errno.ENODEV)

    def _take(self, given: bytes) -> None:
        """Honour the user's context as convert___skb_to_skb() does."""
        allowed = bytearray(given)
        for name in _GIVEN:
            start, end = self.fields.places[name]
            allowed[start:end] = bytes(end - start)
        if any(allowed):
            at = next(index for index, byte in enumerate(allowed) if byte)
            field = next((n for n, (s, e) in self.fields.places.items() if s <= at < e), f"byte {at}")
            raise refused(f"the context must not set {field}")
        for name in _GIVEN:
            self.fields.load(name, given)
        self.fields.set("ifindex", _LOOPBACK)
        length = self.fields.get("wire_len")
        if length == 0:
            self.fields.set("wire_len", self.size)
        elif not self.size <= length <= _GSO_LEGACY_MAX_SIZE:
            raise refused(f"wire_len must be at least the packet's length, {self.size}")
        if self.fields.get("gso_segs") > _GSO_MAX_SEGS:
            raise refused(f"gso_segs must be at most {_GSO_MAX_SEGS}")
        self.fields.set("gso_size", self.fields.get("gso_size") & 0xFFFF)

    @property
    def mac(self) -> int:
        """Where the MAC header starts."""
        return self.mac_at - self.headroom

    @property
    def network(self) -> int:
        """Where the network header starts."""
        return self.network_at - self.headroom

    @property
    def least(self) -> int:
        """How far the packet may be cut (__bpf_skb_min_len): to its transport header, if there is one that counts."""
        offset = self.transport_at - self.headroom
        return offset if self.transport_at != UNSET and offset > 0 else max(0, self.network)

    @property
    def protocol(self) -> int:
        """The EtherType."""
        return big_endian(self.fields.get("protocol") & 0xFFFF)

    @protocol.setter
    def protocol(self, number: int) -> None:
        self.fields.set("protocol", big_endian(number))

    @property
    def packet(self) -> bytearray:
        """The bytes from the program's data on. Replaced as a whole by ``_place``."""
        assert self._packet is not None
        return self._packet.data

    @property
    def size(self) -> int:
        """Bytes of the packet."""
        return len(self.packet)

    @property
    def gso(self) -> bool:
        """Whether the packet is to be cut into segments later."""
        return self.fields.get("gso_size") != 0

    def _place(self, data: bytearray) -> None:
        """Give the packet new contents at a new address: pointers from before miss."""
        if self._packet is not None:
            self.memory.unmap(self._packet)
        self._packet = self.memory.map(data, "the packet", low=True)
        start = self._packet.address
        self.fields.set("len", len(data))
        self.fields.set("data", start)
        self.fields.set("data_meta", start)
        self.fields.set("data_end", start + len(data))

    def renew(self) -> None:
        """As the kernel does when a helper may have moved the packet: a new address for the same bytes."""
        self._place(bytearray(self.packet))

    def read(self, offset: int, size: int) -> bytes | None:
        """``size`` bytes at ``offset``, which may be negative; ``None`` where there are none."""
        end = offset + size
        if end > self.size or offset < -len(self.before):
            return None
        if offset >= 0:
            return bytes(self.packet[offset:end])
        return (self.before[offset:] + bytes(self.packet[: max(end, 0)]))[:size]

    def load(self, offset: int, size: int) -> int | None:
        """What ``ld_abs`` and ``ld_ind`` load: a number in network order; ``None`` ends the program with 0. Negative
        offsets are the classic ones, relative to the network or the MAC header."""
        if offset < 0:
            if offset >= _NET_OFFSET:
                offset += self.network - _NET_OFFSET
            elif offset >= _LINK_OFFSET:
                offset += self.mac - _LINK_OFFSET
            else:
                return None
        found = self.read(offset, size)
        return None if found is None else int.from_bytes(found, "big")

    def need_headroom(self, size: int) -> None:
        """skb_cow: move to a buffer with room in front. That of the transport header moves too, even one that was never
        set, which counts from then on."""
        if size <= self.headroom:
            return
        more = -(-(size - self.headroom) // _HEADROOM) * _HEADROOM
        self.headroom += more
        self.mac_at += more
        self.network_at += more
        self.transport_at = self.transport_at + more & 0xFFFF

    def grow_front(self, at: int, size: int) -> None:
        """Insert ``size`` zeros at offset ``at``: what is before it moves to the front."""
        self.need_headroom(size)
        self.headroom -= size
        self._place(self.packet[:at] + bytearray(size) + self.packet[at:])

    def cut(self, at: int, size: int) -> None:
        """Take ``size`` bytes at offset ``at`` out: what is before it moves back."""
        self.headroom += size
        self._place(self.packet[:at] + self.packet[at + size :])

    def resize(self, size: int) -> None:
        """Cut the end off, or add zeros."""
        self._place(self.packet[:size] + bytearray(max(0, size - self.size)))

    def clear_hash(self) -> None:
        """The flow's hash is not known any more."""
        self.fields.set("hash", 0)
        self.hashed = False

    def results(self) -> tuple[bytes, bytes]:
        """The packet, with zeros for an Ethernet header that the program did not see, and the context's fields that
        the kernel gives back over what the user gave."""
        hidden = not self.link_layer and self.prog_type is not ProgType.SK_SKB
        packet = bytes(ETHERNET if hidden else 0) + bytes(self.packet)
        after = bytearray(self._given or b"")
        if after:
            for name in _RETURNED:
                self.fields.store(name, after)
        return packet, bytes(after)

    def close(self) -> None:
        """Take packet and context away."""
        if self._packet is not None:
            self.memory.unmap(self._packet)
            self._packet = None
        self.memory.unmap(self.fields.region)
        self.memory.unmap(self._socket)
