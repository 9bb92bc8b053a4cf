"""tc at egress: one program marks packets by UDP destination port and counts them, a second one judges the mark."""

from __future__ import annotations

import socket

from lab import Lab

import pyebpf as bpf
from pyebpf import be16, u8, u16, u32, u64

bpf.license("GPL")

marks = bpf.HashMap[u16, u32](max_entries=16)
seen = bpf.HashMap[u32, u64](max_entries=16, default=0)


@bpf.tc_egress(on_error=bpf.TC_ACT_OK)
def set_mark(skb: bpf.SkBuff) -> int:
    """Give UDP packets to a known port its mark, and hand all packets to the next program."""
    if skb.protocol == bpf.htons(bpf.ETH_P_IP) and skb.load(u8, bpf.ETH_HLEN + 9) == socket.IPPROTO_UDP:
        mark = marks.get(skb.load(be16, bpf.ETH_HLEN + 20 + 2), 0)
        skb.mark = mark
        seen[mark] += 1
    return bpf.TC_ACT_UNSPEC


@bpf.tc_egress
def drop_marked(skb: bpf.SkBuff) -> int:
    """A later program on the same hook sees the mark."""
    return bpf.TC_ACT_SHOT if skb.mark == 13 else bpf.TC_ACT_OK


def main() -> None:
    """Send datagrams to three ports of the other side; those with mark 13 do not arrive."""
    marks.update(7001, 7)
    marks.update(7013, 13)
    with Lab() as lab:
        with lab.inside("right"):
            receivers = {port: socket.socket(type=socket.SOCK_DGRAM) for port in (7000, 7001, 7013)}
            for port, receiver in receivers.items():
                receiver.bind(("10.99.0.2", port))
                receiver.settimeout(0.3)
        with (
            lab.inside("left"),
            drop_marked.attach("veth0"),
            set_mark.attach("veth0", first=True),
            socket.socket(type=socket.SOCK_DGRAM) as sender,
        ):
            for port, receiver in receivers.items():
                sender.sendto(b"hello", ("10.99.0.2", port))
                try:
                    print(f"port {port}: {receiver.recv(16).decode()!r}")
                except TimeoutError:
                    print(f"port {port}: dropped")
                receiver.close()
    for mark, count in sorted(seen.items()):
        print(f"mark {mark}: {count} packets")


if __name__ == "__main__":
    main()
