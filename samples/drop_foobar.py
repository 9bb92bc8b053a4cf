"""sk_skb verdict on a sockmap: drops every datagram that contains 'foobar', found in a bpf_loop callback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from lab import may_load

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


def through_sockets() -> Iterator[str | None]:
    """Send each word through a pair of Unix datagram sockets, one of which is in the sockmap."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    with receiver, sender, drop_foobar.attach(sockets):
        sockets[0] = receiver
        for word in WORDS:
            sender.send(word.encode())
            try:
                yield receiver.recv(64).decode()
            except BlockingIOError:
                yield None


def through_machine() -> Iterator[str | None]:
    """Run the program on each word. The kernel has no test run for this type, so the machine is asked for."""
    for word in WORDS:
        verdict = drop_foobar.run(word.encode(), machine=True).verdict
        yield word if verdict == bpf.SK_PASS else None


def main() -> None:
    """Say what becomes of each word."""
    words = through_sockets() if may_load(drop_foobar) else through_machine()
    for word, received in zip(WORDS, words, strict=True):
        print(f"sent {word!r}, {'dropped' if received is None else f'received {received!r}'}")


if __name__ == "__main__":
    main()
