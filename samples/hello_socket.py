"""Socket filter: keeps the first four bytes of every datagram, so that 'Hello' arrives as 'Hell'."""

from __future__ import annotations

import socket

from lab import may_load

import pyebpf as bpf

bpf.license("GPL")


@bpf.socket_filter
def keep_four(skb: bpf.SkBuff) -> int:
    """The verdict of a socket filter is the number of bytes to keep."""
    return 4


def main() -> None:
    """Send one datagram through a socket pair with the filter on the receiving end, or run the filter on it."""
    if may_load(keep_four):
        receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with receiver, sender, keep_four.attach(receiver):
            sender.send(b"Hello")
            received = receiver.recv(16)
    else:
        received = b"Hello"[: keep_four.run(bytes(bpf.ETH_HLEN) + b"Hello").verdict]
    print(f"sent 'Hello', received {received.decode()!r}")


if __name__ == "__main__":
    main()
