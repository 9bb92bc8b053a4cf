"""sk_skb verdict on a sockmap: drops every datagram that contains 'foobar', found in a bpf_loop callback."""

from __future__ import annotations

import socket

import pyebpf as bpf
from pyebpf import u32

bpf.license("GPL")

NEEDLE = b"foobar"
LONGEST = 4096
WORDS = ("foo", "bar", "foobar", "fooba", "snafu", "ffoobarbaz", "bazbarfoo")

sockets = bpf.SockMap(max_entries=1)


@bpf.sk_skb_verdict
def drop_foobar(skb: bpf.SkBuff) -> int:
    """Look at every position of the packet until the needle is found; a loop needs a bound that can be seen."""
    length = len(skb)
    if length < len(NEEDLE) or length > LONGEST:
        return bpf.SK_PASS
    found = False

    def look(position: u32) -> bool:
        nonlocal found
        found = skb.load_bytes(position, len(NEEDLE)) == NEEDLE
        return found

    bpf.loop(length - len(NEEDLE) + 1, look)
    return bpf.SK_DROP if found else bpf.SK_PASS


def main() -> None:
    """Send each word through a pair of Unix datagram sockets, one of which is in the sockmap."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    with receiver, sender, drop_foobar.attach(sockets):
        sockets[0] = receiver
        for word in WORDS:
            sender.send(word.encode())
            try:
                print(f"sent {word!r}, received {receiver.recv(64).decode()!r}")
            except BlockingIOError:
                print(f"sent {word!r}, dropped")


if __name__ == "__main__":
    main()
