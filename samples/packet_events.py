"""Ring buffer of structs: one event for each UDP packet on the loopback interface, read as Python objects."""

from __future__ import annotations

import socket

from frames import for_packet_socket, udp
from lab import may_load, may_sniff

import pyebpf as bpf
from pyebpf import be16, u8, u16, u32, u64

bpf.license("GPL")

PACKET_OUTGOING = 4  # linux/if_packet.h; Python has it on Linux only
WORDS = (b"good morning", b"good day", b"good night")


@bpf.struct
class Event:
    """What user space learns of a packet."""

    time: u64
    length: u32
    source: u16
    destination: u16
    start: bytes = bpf.chars(8)


events = bpf.RingBuf(1 << 16)
lost = bpf.Global[u64](0)


@bpf.socket_filter(on_error=0)
def packet_events(skb: bpf.SkBuff) -> int:
    """Report UDP packets; the packet socket itself receives nothing."""
    if skb.pkt_type == PACKET_OUTGOING or skb.load(be16, 12) != bpf.ETH_P_IP:
        return 0  # lo shows each packet twice: as it goes out and as it comes in
    if skb.load(u8, 23) != socket.IPPROTO_UDP:
        return 0
    with events.reserve(Event) as event:
        if event is None:
            lost.value += 1
            return 0
        event.time = bpf.ktime_get_ns()
        event.length = len(skb)
        event.source = skb.load(be16, 34)
        event.destination = skb.load(be16, 36)
        event.start = skb.load_bytes(42, 8)
    return 0


def send() -> None:
    """Send the words over the loopback interface."""
    with (
        bpf.raw_socket("lo") as sock,
        packet_events.attach(sock),
        socket.socket(type=socket.SOCK_DGRAM) as receiver,
        socket.socket(type=socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        for word in WORDS:
            sender.sendto(word, receiver.getsockname())


def feed() -> None:
    """Run the program on the frames of the same datagrams."""
    for word in WORDS:
        packet_events.run(for_packet_socket(udp(("127.0.0.1", 40000), ("127.0.0.1", 5000), word)))


def main() -> None:
    """Print what the program saw of three datagrams."""
    if may_load(packet_events) and may_sniff():
        send()
    else:
        feed()
    for event in events.poll(Event, timeout=0.2):
        print(f"{event.length} bytes to port {event.destination}: {event.start!r}")
    print(f"{lost.value} events lost")


if __name__ == "__main__":
    main()
