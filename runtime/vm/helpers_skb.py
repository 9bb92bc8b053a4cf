"""Helpers that read and write socket buffers. Source: net/core/filter.c, net/core/skbuff.c.

Those that move the packet give it a new address, so pointers from before miss, as the verifier demands.
"""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm import checksums, packets
from pyebpf.runtime.vm.contexts_skb import ETH_P_IP, ETH_P_IPV6, SkbContext
from pyebpf.runtime.vm.errors import BadArgument, MissingHelper
from pyebpf.runtime.vm.run import HelperImplementation, Run
from pyebpf.uapi import constants as c

if TYPE_CHECKING:
    from typing import Final


_M32: Final = 0xFFFF_FFFF
_MOST_OFFSET: Final = 0x7FFF_FFFF
_ENOTSUPP: Final = 524
_SCRATCH: Final = 512
_MANGLED_0: Final = 0xFFFF
_CSUM_FLAGS: Final = (
    c.BPF_F_HDR_FIELD_MASK | c.BPF_F_PSEUDO_HDR | c.BPF_F_MARK_MANGLED_0 | c.BPF_F_MARK_ENFORCE | c.BPF_F_IPV6
)
_CLOCK_TAI: Final = 2
_HEADER_MAC: Final = 0
_HEADER_NET: Final = 1


def skb_of(run: Run, ctx: int) -> SkbContext:
    """The packet of the run, which a context argument must be."""
    if not isinstance(run.context, SkbContext) or ctx != run.context.address:
        raise BadArgument(f"{ctx:#x} is not the context of this program")
    return run.context


def _writable(skb: SkbContext, size: int) -> bool:
    """Whether the packet has so many bytes; it may have moved then (skb_ensure_writable)."""
    if size > skb.size:
        return False
    skb.renew()
    return True


def skb_load_bytes(run: Run, ctx: int, offset: int, to: int, size: int, r5: int) -> int:
    """Copy out of the packet; zeros and -EFAULT outside."""
    offset, size = offset & _M32, size & _M32
    found = skb_of(run, ctx).read(offset, size) if offset <= _MOST_OFFSET else None
    run.memory.write(to, bytes(size) if found is None else found)
    return -errno.EFAULT if found is None else 0


def skb_load_bytes_relative(run: Run, ctx: int, offset: int, to: int, size: int, header: int) -> int:
    """Copy out of the packet, counted from its MAC or network header."""
    skb = skb_of(run, ctx)
    offset, size = offset & _M32, size & _M32
    start = {_HEADER_MAC: skb.mac, _HEADER_NET: skb.network}.get(header & _M32)
    found = None if start is None or offset > 0xFFFF else skb.read(start + offset, size)
    run.memory.write(to, bytes(size) if found is None else found)
    return -errno.EFAULT if found is None else 0


def skb_store_bytes(run: Run, ctx: int, offset: int, data: int, size: int, flags: int) -> int:
    """Copy into the packet. A checksum that the device computed does not exist here."""
    skb = skb_of(run, ctx)
    offset, size = offset & _M32, size & _M32
    contents = run.memory.read(data, size)
    if flags & ~(c.BPF_F_RECOMPUTE_CSUM | c.BPF_F_INVALIDATE_HASH):
        return -errno.EINVAL
    if offset > _MOST_OFFSET or not _writable(skb, offset + size):
        return -errno.EFAULT
    skb.packet[offset : offset + size] = contents
    if flags & c.BPF_F_INVALIDATE_HASH:
        skb.clear_hash()
    return 0


def skb_pull_data(run: Run, ctx: int, size: int, r3: int, r4: int, r5: int) -> int:
    """The packet lies in one piece here, so this only says whether it is that long."""
    return 0 if _writable(skb_of(run, ctx), size & _M32) else -errno.ENOMEM


def _checksum(skb: SkbContext, offset: int) -> int | None:
    """The field at ``offset``; ``None`` where there cannot be one."""
    if offset > 0xFFFF or offset & 1 or not _writable(skb, offset + 2):
        return None
    return int.from_bytes(skb.packet[offset : offset + 2], sys.byteorder)


def l3_csum_replace(run: Run, ctx: int, offset: int, old: int, new: int, flags: int) -> int:
    """Correct an IP header's checksum after a change of 2 or 4 bytes, or by a difference."""
    skb = skb_of(run, ctx)
    offset &= _M32
    if flags & ~c.BPF_F_HDR_FIELD_MASK:
        return -errno.EINVAL
    checksum = _checksum(skb, offset)
    if checksum is None:
        return -errno.EFAULT
    match flags:
        case 0 if old == 0:
            checksum = checksums.replace_by_diff(checksum, new)
        case 2:
            checksum = checksums.replace2(checksum, old, new)
        case 4:
            checksum = checksums.replace4(checksum, old, new)
        case _:
            return -errno.EINVAL
    skb.packet[offset : offset + 2] = checksum.to_bytes(2, sys.byteorder)
    return 0


def l4_csum_replace(run: Run, ctx: int, offset: int, old: int, new: int, flags: int) -> int:
    """Correct a TCP or UDP checksum after a change."""
    skb = skb_of(run, ctx)
    offset &= _M32
    if flags & ~_CSUM_FLAGS:
        return -errno.EINVAL
    checksum = _checksum(skb, offset)
    if checksum is None:
        return -errno.EFAULT
    mangled = bool(flags & c.BPF_F_MARK_MANGLED_0)
    if mangled and not flags & c.BPF_F_MARK_ENFORCE and checksum == 0:
        return 0
    match flags & c.BPF_F_HDR_FIELD_MASK:
        case 0 if old == 0:
            checksum = checksums.replace_by_diff(checksum, new)
        case 2:
            checksum = checksums.replace4(checksum, old & 0xFFFF, new & 0xFFFF)
        case 4:
            checksum = checksums.replace4(checksum, old, new)
        case _:
            return -errno.EINVAL
    checksum = _MANGLED_0 if mangled and checksum == 0 else checksum
    skb.packet[offset : offset + 2] = checksum.to_bytes(2, sys.byteorder)
    return 0


def csum_diff(run: Run, old: int, old_size: int, new: int, new_size: int, seed: int) -> int:
    """The difference between two pieces of memory, as a checksum. As kernels from 6.13 on do it: any size, 16 bits."""
    old_size, new_size = old_size & _M32, new_size & _M32
    before = run.memory.read(old, old_size) if old_size else b""
    after = run.memory.read(new, new_size) if new_size else b""
    if before and after:
        total = checksums.sub32(checksums.partial(after, seed), checksums.partial(before, 0))
    elif after:
        total = checksums.partial(after, seed)
    elif before:
        total = ~checksums.partial(before, ~seed) & _M32
    else:
        total = seed & _M32
    return checksums.narrow(total)


def csum_update(run: Run, ctx: int, csum: int, r3: int, r4: int, r5: int) -> int:
    """-ENOTSUPP: no device computed a checksum of the packet."""
    skb_of(run, ctx)
    return -_ENOTSUPP


def csum_level(run: Run, ctx: int, what: int, r3: int, r4: int, r5: int) -> int:
    """How many checksums were found good."""
    skb = skb_of(run, ctx)
    level = skb.csum_level
    match what:
        case c.BPF_CSUM_LEVEL_QUERY:
            return -errno.EACCES if level is None else level
        case c.BPF_CSUM_LEVEL_INC:
            skb.csum_level = 0 if level is None else min(level + 1, 3)
        case c.BPF_CSUM_LEVEL_DEC:
            skb.csum_level = level - 1 if level else None
        case c.BPF_CSUM_LEVEL_RESET:
            skb.csum_level = None
        case _:
            return -errno.EINVAL
    return 0


def set_hash_invalid(run: Run, ctx: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Forget the flow's hash."""
    skb_of(run, ctx).clear_hash()
    return 0


def set_hash(run: Run, ctx: int, value: int, r3: int, r4: int, r5: int) -> int:
    """Set the flow's hash."""
    skb = skb_of(run, ctx)
    skb.fields.set("hash", value)
    skb.hashed = True
    return 0


def get_hash_recalc(run: Run, ctx: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The hash that was set. The kernel's own is keyed at random."""
    skb = skb_of(run, ctx)
    if not skb.hashed:
        raise MissingHelper(
            "the built-in machine cannot compute the kernel's hash of a flow: `get_hash_recalc` works after `set_hash`"
        )
    return skb.fields.get("hash")


def skb_change_type(run: Run, ctx: int, kind: int, r3: int, r4: int, r5: int) -> int:
    """Set the type of the packet, among those of received ones."""
    skb = skb_of(run, ctx)
    if skb.fields.get("pkt_type") > 3 or kind & _M32 > 3:
        return -errno.EINVAL
    skb.fields.set("pkt_type", kind)
    return 0


def skb_set_tstamp(run: Run, ctx: int, stamp: int, kind: int, r4: int, r5: int) -> int:
    """Set the time of delivery and its clock."""
    skb = skb_of(run, ctx)
    if skb.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return -errno.EOPNOTSUPP
    kind &= _M32
    if kind > _CLOCK_TAI or (kind and not stamp):
        return -errno.EINVAL
    skb.fields.set("tstamp", stamp)
    skb.fields.set("tstamp_type", kind)
    return 0


def skb_ecn_set_ce(run: Run, ctx: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Mark congestion where the packet allows it; whether it is marked."""
    return packets.set_congestion(skb_of(run, ctx))


def skb_vlan_push(run: Run, ctx: int, protocol: int, tci: int, r4: int, r5: int) -> int:
    """Add a VLAN tag beside the packet; one that was there goes into it."""
    return packets.vlan_push(skb_of(run, ctx), protocol & 0xFFFF, tci & 0xFFFF)


def skb_vlan_pop(run: Run, ctx: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Take the outermost VLAN tag away."""
    return packets.vlan_pop(skb_of(run, ctx))


def skb_change_proto(run: Run, ctx: int, protocol: int, flags: int, r4: int, r5: int) -> int:
    """Make room for the other IP version's header."""
    return packets.change_proto(skb_of(run, ctx), protocol & 0xFFFF, flags)


def skb_adjust_room(run: Run, ctx: int, delta: int, mode: int, flags: int, r5: int) -> int:
    """Insert or remove bytes behind the MAC or the network header."""
    delta &= _M32
    return packets.adjust_room(skb_of(run, ctx), delta - (delta >> 31 << 32), mode & _M32, flags)


def skb_change_tail(run: Run, ctx: int, size: int, flags: int, r4: int, r5: int) -> int:
    """Set the packet's length."""
    return packets.change_tail(skb_of(run, ctx), size & _M32, flags)


def skb_change_head(run: Run, ctx: int, size: int, flags: int, r4: int, r5: int) -> int:
    """Add zeros in front."""
    return packets.change_head(skb_of(run, ctx), size & _M32, flags)


def zero(run: Run, ctx: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """What a test run answers where there is no route, no control group with a class: 0."""
    skb_of(run, ctx)
    return 0


_NAMED: Final = (
    skb_load_bytes,
    skb_load_bytes_relative,
    skb_store_bytes,
    skb_pull_data,
    l3_csum_replace,
    l4_csum_replace,
    csum_diff,
    csum_update,
    csum_level,
    set_hash_invalid,
    set_hash,
    get_hash_recalc,
    skb_change_type,
    skb_set_tstamp,
    skb_ecn_set_ce,
    skb_vlan_push,
    skb_vlan_pop,
    skb_change_proto,
    skb_adjust_room,
    skb_change_tail,
    skb_change_head,
)
TABLE: Final[dict[str, HelperImplementation]] = {
    **{function.__name__: function for function in _NAMED},
    "get_route_realm": zero,
    "skb_cgroup_classid": zero,
    "get_socket_uid": zero,
}
