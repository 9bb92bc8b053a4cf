"""Surgery on packets: tags, protocols, room. Source: net/core/filter.c, net/core/skbuff.c, include/linux/if_vlan.h,
include/net/inet_ecn.h. Results are 0 or ``-errno``."""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm import checksums
from pyebpf.runtime.vm.contexts import ETHERNET
from pyebpf.runtime.vm.contexts_skb import (
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_IP,
    ETH_P_IPV6,
    SkbContext,
    big_endian,
    ethernet_protocol,
)
from pyebpf.uapi import constants as c
from pyebpf.uapi.constants import ProgType

if TYPE_CHECKING:
    from typing import Final


_ENOTSUPP: Final = 524
_VLAN: Final = 4
_LONGEST: Final = 16384 - 320
_MOST_ROOM: Final = 0xFFF
_BASE: Final = {ETH_P_IP: 20, ETH_P_IPV6: 40}
_ENCAP_L3: Final = c.BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | c.BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
_ENCAP_L4: Final = c.BPF_F_ADJ_ROOM_ENCAP_L4_GRE | c.BPF_F_ADJ_ROOM_ENCAP_L4_UDP
_DECAP_L3_IPV4: Final = 1 << 7
_DECAP_L3_IPV6: Final = 1 << 8
_DECAP: Final = _DECAP_L3_IPV4 | _DECAP_L3_IPV6
_ENCAP_L2_ETH: Final = 1 << 6
_ENCAP_L2_SHIFT: Final = 56
_ROOM_FLAGS: Final = (
    c.BPF_F_ADJ_ROOM_FIXED_GSO
    | _ENCAP_L3
    | _ENCAP_L4
    | _ENCAP_L2_ETH
    | 0xFF << _ENCAP_L2_SHIFT
    | _DECAP
    | c.BPF_F_ADJ_ROOM_NO_CSUM_RESET
)
_VLANS: Final = frozenset({ETH_P_8021Q, ETH_P_8021AD})
_MOST_TAGS: Final = 8


def _tagged(skb: SkbContext) -> bool:
    return skb.fields.get("vlan_present") != 0


def _set_tag(skb: SkbContext, protocol: int, tci: int) -> None:
    skb.fields.set("vlan_present", 1)
    skb.fields.set("vlan_proto", big_endian(protocol))
    skb.fields.set("vlan_tci", tci)


def vlan_push(skb: SkbContext, protocol: int, tci: int) -> int:
    """bpf_skb_vlan_push. ``protocol`` in network order; anything but the two VLAN protocols means 802.1Q."""
    kind = big_endian(protocol)
    if kind not in _VLANS:
        kind = ETH_P_8021Q
    if _tagged(skb):
        if skb.mac != 0:
            return -errno.EINVAL
        old = big_endian(skb.fields.get("vlan_proto"))
        tag = old.to_bytes(2, "big") + skb.fields.get("vlan_tci").to_bytes(2, "big")
        skb.grow_front(12, _VLAN)
        skb.packet[12:16] = tag
        skb.protocol = old
        skb.mac_at -= _VLAN
        skb.network_at -= _VLAN
    else:
        skb.renew()
    _set_tag(skb, kind, tci)
    return 0


def vlan_pop(skb: SkbContext) -> int:
    """bpf_skb_vlan_pop."""
    skb.renew()
    if _tagged(skb):
        for name in ("vlan_present", "vlan_proto", "vlan_tci"):
            skb.fields.set(name, 0)
    else:
        if skb.protocol not in _VLANS:
            return 0
        tci = _take_tag(skb)
        if tci < 0:
            return tci
    # The next tag takes the place beside the packet.
    kind = skb.protocol
    if kind not in _VLANS:
        return 0
    tci = _take_tag(skb)
    if tci < 0:
        return tci
    _set_tag(skb, kind, tci)
    return 0


def _take_tag(skb: SkbContext) -> int:
    """__skb_vlan_pop: take a tag out of the packet; its TCI."""
    if skb.mac != 0:
        return -errno.EINVAL
    if skb.size < ETHERNET + _VLAN:
        return -errno.ENOMEM
    tci = int.from_bytes(skb.packet[14:16], "big")
    skb.protocol = ethernet_protocol(int.from_bytes(skb.packet[16:18], "big"), skb.packet[18:20])
    skb.cut(12, _VLAN)
    skb.mac_at += _VLAN
    skb.network_at = max(skb.network_at, skb.headroom + ETHERNET)
    skb.mac_length = skb.network - skb.mac
    return tci


def _push_header(skb: SkbContext, at: int, size: int) -> None:
    """bpf_skb_net_hdr_push."""
    skb.need_headroom(size)
    same = skb.transport_at == skb.network_at
    skb.grow_front(at, size)
    skb.mac_at -= size
    skb.network_at -= size
    if same:
        skb.transport_at = skb.network_at


def _pop_header(skb: SkbContext, at: int, size: int) -> int:
    """bpf_skb_net_hdr_pop."""
    if at + size > skb.size:
        return -errno.ENOMEM
    same = skb.transport_at == skb.network_at
    skb.cut(at, size)
    skb.mac_at += size
    skb.network_at += size
    if same:
        skb.transport_at = skb.network_at
    return 0


def change_proto(skb: SkbContext, protocol: int, flags: int) -> int:
    """bpf_skb_change_proto. ``protocol`` in network order."""
    if flags:
        return -errno.EINVAL
    skb.renew()
    at = skb.network - skb.mac
    difference = _BASE[ETH_P_IPV6] - _BASE[ETH_P_IP]
    match skb.protocol, big_endian(protocol):
        case 0x0800, 0x86DD:
            _push_header(skb, at, difference)
            skb.protocol = ETH_P_IPV6
        case 0x86DD, 0x0800:
            result = _pop_header(skb, at, difference)
            if result:
                return result
            skb.protocol = ETH_P_IP
        case _:
            return -_ENOTSUPP
    skb.clear_hash()
    return 0


def adjust_room(skb: SkbContext, delta: int, mode: int, flags: int) -> int:
    """bpf_skb_adjust_room, and that of sk_skb programs, which knows neither modes nor flags."""
    if skb.prog_type is ProgType.SK_SKB:
        return _adjust_stream(skb, delta, mode, flags)
    if flags & ~_ROOM_FLAGS:
        return -errno.EINVAL
    size, shrink = abs(delta), delta < 0
    if size > _MOST_ROOM:
        return -errno.EFAULT
    least = _BASE.get(skb.protocol)
    if least is None:
        return -_ENOTSUPP
    at = skb.network - skb.mac
    match mode:
        case 0:
            at += least
        case 1:
            pass
        case _:
            return -_ENOTSUPP
    if flags & _DECAP:
        if not shrink or flags & _DECAP == _DECAP:
            return -errno.EINVAL
        least = _BASE[ETH_P_IP if flags & _DECAP_L3_IPV4 else ETH_P_IPV6]
    behind = skb.size - skb.network
    too_short = shrink and (size >= behind or behind - size < least)
    if too_short or (not shrink and skb.size + size > _LONGEST and not skb.gso):
        return -_ENOTSUPP
    result = _shrink(skb, at, size, flags) if shrink else _grow(skb, at, size, flags)
    if not result and not flags & c.BPF_F_ADJ_ROOM_NO_CSUM_RESET:
        skb.csum_level = None
    skb.renew()
    return result


def _adjust_stream(skb: SkbContext, delta: int, mode: int, flags: int) -> int:
    if flags or mode:
        return -errno.EINVAL
    if abs(delta) > _MOST_ROOM:
        return -errno.EFAULT
    if delta >= 0:
        skb.grow_front(0, delta)
        return 0
    if -delta > skb.size:
        return -errno.ENOMEM
    skb.cut(0, -delta)
    return 0


def _grow(skb: SkbContext, at: int, size: int, flags: int) -> int:
    """bpf_skb_net_grow. Segments other than TCP's must keep their size; the test run knows of no TCP segments."""
    if skb.gso:
        return -_ENOTSUPP
    inner_mac = flags >> _ENCAP_L2_SHIFT
    mac_size = skb.network - skb.mac
    if flags & _ENCAP_L3:
        if (
            flags & _ENCAP_L3 == _ENCAP_L3
            or flags & _ENCAP_L4 == _ENCAP_L4
            or (flags & _ENCAP_L2_ETH and inner_mac < ETHERNET)
        ):
            return -errno.EINVAL
        if skb.encapsulated:
            return -errno.EALREADY
        if inner_mac > size:
            return -errno.EINVAL
    _push_header(skb, at, size)
    if flags & _ENCAP_L3:
        outer = ETH_P_IPV6 if flags & c.BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 else ETH_P_IP
        skb.encapsulated = True
        skb.network_at = skb.headroom + mac_size
        if flags & _ENCAP_L4:
            skb.transport_at = skb.network_at + _BASE[outer]
        skb.protocol = outer
    return 0


def _shrink(skb: SkbContext, at: int, size: int, flags: int) -> int:
    """bpf_skb_net_shrink."""
    if flags & ~(c.BPF_F_ADJ_ROOM_FIXED_GSO | _DECAP | c.BPF_F_ADJ_ROOM_NO_CSUM_RESET):
        return -errno.EINVAL
    if skb.gso:
        return -_ENOTSUPP
    result = _pop_header(skb, at, size)
    if not result and flags & _DECAP:
        skb.protocol = ETH_P_IP if flags & _DECAP_L3_IPV4 else ETH_P_IPV6
    return result


def change_tail(skb: SkbContext, size: int, flags: int) -> int:
    """bpf_skb_change_tail."""
    if flags or size > _LONGEST or size < skb.least:
        return -errno.EINVAL
    if skb.encapsulated:
        return -_ENOTSUPP
    skb.resize(size)
    if skb.gso:
        skb.fields.set("gso_size", 0)
        skb.fields.set("gso_segs", 0)
    return 0


def change_head(skb: SkbContext, size: int, flags: int) -> int:
    """bpf_skb_change_head: the MAC header is where the new bytes are."""
    total = skb.size + size
    if flags or total > 0xFFFF_FFFF or (not skb.gso and total > _LONGEST):
        return -errno.EINVAL
    skb.grow_front(0, size)
    skb.mac_at = skb.headroom
    skb.mac_length = skb.network - skb.mac & 0xFFFF
    skb.before = b""
    return 0


def _inner_protocol(skb: SkbContext) -> int:
    """vlan_get_protocol: what is behind the VLAN tags; 0 where they do not end."""
    kind = skb.protocol
    at = ETHERNET
    if kind in _VLANS and skb.mac_length:
        at = skb.mac_length - _VLAN
    for _ in range(_MOST_TAGS):
        if kind not in _VLANS:
            return kind
        tag = skb.read(at, _VLAN) if at >= 0 else None
        if tag is None:
            return 0
        kind, at = int.from_bytes(tag[2:], "big"), at + _VLAN
    return 0


def set_congestion(skb: SkbContext) -> int:
    """bpf_skb_ecn_set_ce: 1 if the packet is marked now, 0 if it does not take part."""
    protocol = _inner_protocol(skb)
    header = _BASE.get(protocol)
    at = skb.network
    if header is None or skb.size < header:
        return 0
    skb.renew()
    if at + header > skb.size:
        return 0
    packet = skb.packet
    if protocol == ETH_P_IPV6:
        if not packet[at + 1] & 0x30:
            return 0
        packet[at + 1] |= 0x30
        return 1
    tos = packet[at + 1]
    mark = tos + 1 & 3
    if not mark & 2:
        return int(not mark)
    checksum = int.from_bytes(packet[at + 10 : at + 12], sys.byteorder)
    checksum = checksums.add16(checksum, big_endian(0xFFFB) + big_endian(mark))
    packet[at + 10 : at + 12] = checksum.to_bytes(2, sys.byteorder)
    packet[at + 1] = tos | 3
    return 1
