"""XDP on a veth pair: drops TCP to the ports in a map and counts the drops by source address, for IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
import socket

from lab import Lab

import pyebpf as bpf
from pyebpf import be16, be32, be64, u8, u16, u64

bpf.license("GPL")


@bpf.struct
class Source:
    """A source address of 16 bytes; IPv4 has the last four."""

    high: be64
    low: be64


blocked = bpf.HashMap[u16, u8](max_entries=64)
drops = bpf.LruHashMap[Source, u64](max_entries=1024, default=0)


@bpf.xdp(on_error=bpf.XDP_PASS)
def port_firewall(ctx: bpf.Xdp) -> int:
    """Packets too short for their headers are somebody else's business: ``on_error`` passes them."""
    kind = ctx.read(be16, 12)
    header = bpf.ETH_HLEN
    if kind == bpf.ETH_P_IP:
        source = Source(high=0, low=ctx.read(be32, header + 12))
        protocol = ctx.read(u8, header + 9)
        transport = header + (ctx.read(u8, header) & 15) * 4
    elif kind == bpf.ETH_P_IPV6:
        source = Source(high=ctx.read(be64, header + 8), low=ctx.read(be64, header + 16))
        protocol = ctx.read(u8, header + 6)
        transport = header + 40
    else:
        return bpf.XDP_PASS
    if protocol != socket.IPPROTO_TCP or ctx.read(be16, transport + 2) not in blocked:
        return bpf.XDP_PASS
    drops[source] += 1
    return bpf.XDP_DROP


def knock(address: str, port: int) -> str:
    """Try to connect from the left namespace to a closed port: a reset comes back unless the packet was dropped."""
    try:
        socket.create_connection((address, port), timeout=0.3).close()
    except TimeoutError:
        return "dropped"
    except ConnectionRefusedError:
        return "reached"
    return "connected"


def main() -> None:
    """Block port 2222 on the right side and knock at two ports over both protocols."""
    with Lab() as lab:
        with lab.inside("right"):
            link = port_firewall.attach("veth1")
        blocked[2222] = 1
        with link, lab.inside("left"):
            for address in ("10.99.0.2", "fd99::2"):
                for port in (2222, 3333):
                    print(f"TCP to {address} port {port}: {knock(address, port)}")
    for source, count in drops.items():
        print(f"{ipaddress.ip_address(source.high << 64 | source.low)}: {count} dropped")


if __name__ == "__main__":
    main()
