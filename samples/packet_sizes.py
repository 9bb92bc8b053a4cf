"""Perf event array and histogram: the sizes of packets, as events one by one and as counts by powers of two."""

from __future__ import annotations

from frames import udp

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")

SIZES = (0, 10, 100, 120, 500, 1400)


@bpf.struct
class Packet:
    """What user space learns of a packet."""

    number: u64
    length: u32


packets = bpf.PerfEventArray[Packet](pages=8)
sizes = bpf.HashMap[u32, u64](max_entries=64, default=0)
seen = bpf.Global[u64](0)


@bpf.tc(on_error=bpf.TC_ACT_OK)
def packet_sizes(skb: bpf.SkBuff) -> int:
    """Report and count every packet."""
    seen.value += 1
    packets.output(skb, Packet(number=seen.value, length=len(skb)))
    sizes[bpf.log2l(len(skb))] += 1
    return bpf.TC_ACT_OK


def main() -> None:
    """Run the program on datagrams of several sizes."""
    for size in SIZES:
        packet_sizes.run(udp(("10.0.0.1", 40000), ("10.0.0.2", 53), bytes(size)))
    for packet in sorted(packets.poll(), key=lambda packet: packet.number):
        print(f"packet {packet.number}: {packet.length} bytes")
    bpf.print_hist(sizes, "bytes", width=60)


if __name__ == "__main__":
    main()
