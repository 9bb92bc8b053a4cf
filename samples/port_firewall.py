"""XDP on a veth pair: drops TCP to the ports in a map and counts the drops by source address, for IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from frames import SYN, tcp
from lab import Lab, may_load, may_make_namespaces

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


def feed(address: str, port: int) -> str:
    """Run the program on the frame that a knock from the left begins with."""
    source = "fd99::1" if ":" in address else "10.99.0.1"
    verdict = port_firewall.run(tcp((source, 40000), (address, port), SYN)).verdict
    return "dropped" if verdict == bpf.XDP_DROP else "reached"


def tour(ask: Callable[[str, int], str]) -> None:
    """Two ports over both protocols."""
    for address in ("10.99.0.2", "fd99::2"):
        for port in (2222, 3333):
            print(f"TCP to {address} port {port}: {ask(address, port)}")


def main() -> None:
    """Block port 2222 on the right side and knock from the left, or feed frames where namespaces are not allowed."""
    if may_load(port_firewall) and may_make_namespaces():
        with Lab() as lab:
            with lab.inside("right"):
                link = port_firewall.attach("veth1")
            blocked[2222] = 1
            with link, lab.inside("left"):
                tour(knock)
    else:
        blocked[2222] = 1
        tour(feed)
    for source, count in sorted(drops.items(), key=lambda item: item[0].high):
        print(f"{ipaddress.ip_address(source.high << 64 | source.low)}: {count} dropped")


if __name__ == "__main__":
    main()
