"""Socket filter: counts the packets on the loopback interface by IPv4 protocol while real traffic flows."""

from __future__ import annotations

import socket

from frames import connection, for_packet_socket, udp
from lab import may_load, may_sniff

import pyebpf as bpf
from pyebpf import be16, u8, u32, u64

bpf.license("GPL")

packets = bpf.ArrayMap[u32, u64](max_entries=256)


@bpf.socket_filter(on_error=bpf.KEEP)
def count_by_protocol(skb: bpf.SkBuff) -> int:
    """Count received packets by IPv4 protocol, keep every packet."""
    if skb.load(be16, 12) == bpf.ETH_P_IP:
        protocol = skb.load(u8, bpf.ETH_HLEN + 9)
        packets[protocol] += 1
    return len(skb)


def traffic() -> None:
    """Send five UDP datagrams and one TCP connection over the loopback interface."""
    with socket.socket(type=socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        for number in range(5):
            sender.sendto(b"datagram %d" % number, receiver.getsockname())
            receiver.recv(64)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def replay() -> None:
    """Run the program on the frames of the same traffic; lo shows each twice, as it goes out and as it comes in."""
    here, there = ("127.0.0.1", 40000), ("127.0.0.1", 5000)
    datagrams = [udp(here, there, b"datagram %d" % number) for number in range(5)]
    for frame in [*datagrams, *connection(here, there)]:
        for _ in ("out", "in"):
            count_by_protocol.run(for_packet_socket(frame))


def main() -> None:
    """Attach to a raw socket on lo and make traffic, or replay it where that is not allowed; print the counts."""
    names = {socket.IPPROTO_ICMP: "ICMP", socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP"}
    if may_load(count_by_protocol) and may_sniff():
        with bpf.raw_socket("lo") as sock, count_by_protocol.attach(sock):
            traffic()
    else:
        replay()
    for protocol, count in packets.items():
        if count:
            print(f"{names.get(protocol, protocol)}: {count} packets")


if __name__ == "__main__":
    main()
