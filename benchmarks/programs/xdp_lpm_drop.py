"""XDP: drops IPv4 packets from the networks of a trie and counts them by network."""

from __future__ import annotations

from packet_headers import Ethernet, Ipv4

import pyebpf as bpf
from pyebpf import be32, u32, u64

bpf.license("GPL")


@bpf.struct
class Network:
    """A key of the trie: how many bits count, and the address."""

    prefixlen: u32
    address: be32


blocklist = bpf.LpmTrie[Network, u64](max_entries=1024)


@bpf.xdp(on_error=bpf.XDP_PASS)
def xdp_lpm_drop(ctx: bpf.Xdp) -> int:
    """A network that is not in the trie is a ``KeyError``: the packet passes, as short ones do."""
    if ctx.read(Ethernet, 0).kind != bpf.ETH_P_IP:
        return bpf.XDP_PASS
    source = ctx.read(Ipv4, bpf.ETH_HLEN).source
    blocklist[Network(prefixlen=32, address=source)] += 1
    return bpf.XDP_DROP
