"""XDP with a longest-prefix-match trie: drops IPv4 packets from blocked networks but for more specific exceptions."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

from frames import udp
from lab import Lab, may_load, may_make_namespaces

import pyebpf as bpf
from pyebpf import be16, be32, u32, u64

bpf.license("GPL")


@bpf.struct
class Network:
    """A key of the trie: how many bits count, and the address."""

    prefixlen: u32
    address: be32


networks = bpf.LpmTrie[Network, u32](max_entries=1024)
ADDRESSES = ("10.99.0.1", "10.99.0.77")

verdicts = bpf.PerCpuArray[u32, u64](max_entries=2)


@bpf.xdp(on_error=bpf.XDP_PASS)
def lpm_block(ctx: bpf.Xdp) -> int:
    """The most specific network decides; addresses in no network pass."""
    if ctx.read(be16, 12) != bpf.ETH_P_IP:
        return bpf.XDP_PASS
    block = networks.get(Network(prefixlen=32, address=ctx.read(be32, bpf.ETH_HLEN + 12)), 0)
    verdicts[1 if block else 0] += 1
    return bpf.XDP_DROP if block else bpf.XDP_PASS


def network(text: str) -> Network:
    """The key of a network in CIDR notation."""
    parsed = ipaddress.IPv4Network(text)
    return Network(prefixlen=parsed.prefixlen, address=int(parsed.network_address))


def send() -> Iterator[tuple[str, bytes | None]]:
    """Send a datagram from each address through a veth pair: what arrives."""
    with Lab() as lab:
        lab.add_address("left", "10.99.0.77/24")
        with (
            lab.inside("right"),
            socket.socket(type=socket.SOCK_DGRAM) as receiver,
            lpm_block.attach("veth1"),
        ):
            receiver.bind(("10.99.0.2", 5000))
            receiver.settimeout(0.3)
            for address in ADDRESSES:
                with lab.inside("left"), socket.socket(type=socket.SOCK_DGRAM) as sender:
                    sender.bind((address, 0))
                    sender.sendto(b"hello", ("10.99.0.2", 5000))
                try:
                    yield address, receiver.recv(16)
                except TimeoutError:
                    yield address, None


def feed() -> Iterator[tuple[str, bytes | None]]:
    """Run the program on the same datagrams."""
    for address in ADDRESSES:
        verdict = lpm_block.run(udp((address, 40000), ("10.99.0.2", 5000), b"hello")).verdict
        yield address, b"hello" if verdict == bpf.XDP_PASS else None


def main() -> None:
    """Block 10.99.0.0/24 but for 10.99.0.1, and see what becomes of datagrams from two addresses."""
    networks[network("10.99.0.0/24")] = 1
    networks[network("10.99.0.1/32")] = 0
    for address, received in send() if may_load(lpm_block) and may_make_namespaces() else feed():
        print(f"{address}: {'dropped' if received is None else repr(received.decode())}")
    print(f"passed {verdicts.total(0)}, dropped {verdicts.total(1)}")


if __name__ == "__main__":
    main()
