"""tc at egress: one program marks packets by UDP destination port and counts them, a second one judges the mark."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from frames import udp
from lab import Lab, may_load, may_make_namespaces

import pyebpf as bpf
from pyebpf import be16, u8, u16, u32, u64

bpf.license("GPL")

PORTS = (7000, 7001, 7013)
SK_BUFF = 192  # bytes of the context, struct __sk_buff

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


def send() -> Iterator[tuple[int, bytes | None]]:
    """Send a datagram to each port of the other side: what arrives."""
    with Lab() as lab:
        with lab.inside("right"):
            receivers = {port: socket.socket(type=socket.SOCK_DGRAM) for port in PORTS}
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
                    yield port, receiver.recv(16)
                except TimeoutError:
                    yield port, None
                receiver.close()


def feed() -> Iterator[tuple[int, bytes | None]]:
    """Run one program after the other on the same datagrams; the context hands the mark on."""
    for port in PORTS:
        frame = udp(("10.99.0.1", 40000), ("10.99.0.2", port), b"hello")
        marked = set_mark.run(frame, context=bytes(SK_BUFF))
        verdict = drop_marked.run(frame, context=marked.ctx).verdict
        yield port, None if verdict == bpf.TC_ACT_SHOT else b"hello"


def main() -> None:
    """Datagrams with mark 13 do not arrive at the other side."""
    marks.update(7001, 7)
    marks.update(7013, 13)
    for port, received in send() if may_load(set_mark, drop_marked) and may_make_namespaces() else feed():
        print(f"port {port}: {'dropped' if received is None else repr(received.decode())}")
    for mark, count in sorted(seen.items()):
        print(f"mark {mark}: {count} packets")


if __name__ == "__main__":
    main()
