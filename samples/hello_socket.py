"""Socket filter: keeps the first four bytes of every datagram, so that 'Hello' arrives as 'Hell'."""

from __future__ import annotations

import socket

import pyebpf as bpf

bpf.license("GPL")


@bpf.socket_filter
def keep_four(skb: bpf.SkBuff) -> int:
    """The verdict of a socket filter is the number of bytes to keep."""
    return 4


def main() -> None:
    """Send one datagram through a socket pair with the filter on the receiving end."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender, keep_four.attach(receiver):
        sender.send(b"Hello")
        print(f"sent 'Hello', received {receiver.recv(16).decode()!r}")


if __name__ == "__main__":
    main()
