"""fentry and CO-RE: who opens TCP connections, and to where."""

from __future__ import annotations

import socket

from tool import seconds, until

import pyebpf as bpf
from pyebpf import be32, u16, u32
from pyebpf.kernel import sock

bpf.license("GPL")


@bpf.struct
class Connection:
    """A connection over IPv4 that is being opened."""

    pid: u32
    source: be32
    target: be32
    port: u16
    comm: bytes = bpf.chars(16)


connections = bpf.RingBuf[Connection](1 << 16)


@bpf.fentry("tcp_connect")
def connect(sk: sock) -> None:
    """Report the connection; the kernel's own struct has its addresses."""
    common = sk.__sk_common
    if common.skc_family != socket.AF_INET:
        return
    with connections.reserve(Connection) as event:
        if event is not None:
            event.pid = u32(bpf.get_current_pid_tgid() >> 32)
            event.source = bpf.ntohl(common.skc_rcv_saddr)
            event.target = bpf.ntohl(common.skc_daddr)
            event.port = bpf.ntohs(common.skc_dport)
            event.comm = bpf.get_current_comm()


def address(number: int) -> str:
    """An IPv4 address as text."""
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def main() -> None:
    """Print a line for each connection."""
    with connect.attach():
        limit = seconds(__doc__ or "")
        print(f"{'PID':7} {'COMM':16} {'SADDR':15} {'DADDR':15} DPORT", flush=True)
        for event in until(limit, connections):
            source, target = address(event.source), address(event.target)
            print(f"{event.pid:<7} {event.comm.decode():16} {source:15} {target:15} {event.port}", flush=True)


if __name__ == "__main__":
    main()
