"""What is compared: each program with the packets it is run on, those that are timed, and what its maps hold before."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.packets import (
    ACK,
    ARP_REQUEST,
    DATA,
    FIN,
    ICMP4,
    QINQ,
    RST,
    SHORT,
    SYN,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    VLAN,
    frame,
    ipv4,
    tagged,
    tcp,
    text,
    udp,
)

PROGRAMS: Final = Path(__file__).parent / "programs"

_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
_SKB: Final = {"tcp4": TCP4, "tcp6": TCP6, "udp4": UDP4, "icmp4": ICMP4, "arp": ARP_REQUEST, "cut": TCP4[:36]}
_XDP: Final = _SKB | {"short": SHORT}
_EXPERIMENTAL: Final = 0x88B5


@dataclass(frozen=True, slots=True)
class Case:
    """A program of ``benchmarks/programs``: ``name`` with ``.py`` and ``.bpf.c``.

    ``packets``: what it is run on, in this order. ``timed``: those of them whose run is measured. ``entry``: the
    program that is run, where a file has several. ``maps``: elements to put in first, as the kernel's bytes.
    ``slots``: what to put into program arrays.
    """

    name: str
    packets: Mapping[str, bytes]
    timed: tuple[str, ...]
    entry: str | None = None
    maps: Mapping[str, Mapping[bytes, bytes]] = field(default_factory=dict)
    slots: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        """The program in Python."""
        return PROGRAMS / f"{self.name}.py"

    @property
    def c(self) -> Path:
        """The same in C."""
        return PROGRAMS / f"{self.name}.bpf.c"

    @property
    def program(self) -> str:
        """The name of the program that is run."""
        return self.entry or self.name


def _connection() -> Iterator[tuple[str, bytes]]:
    """Packets that bring one connection into every state, with some that do not fit."""
    flags = {"orphan": ACK, "syn": SYN, "again": SYN, "synack": SYN | ACK, "late syn": SYN, "ack": ACK}
    flags |= {"wrong": SYN, "fin": FIN | ACK, "ack 2": ACK, "fin 2": FIN | ACK, "none": 0, "last": ACK}
    flags |= {"closed": ACK, "reopened": SYN, "nothing": 0, "straight": ACK, "reset": RST}
    for name, value in flags.items():
        yield name, ipv4(_TCP, tcp(flags=value))
    yield "options", ipv4(_TCP, tcp(flags=SYN), options=bytes(4))
    yield "other", ipv4(_TCP, tcp(source=7, flags=SYN | ACK))


def _filtered(frames: Mapping[str, bytes]) -> dict[str, bytes]:
    """Frames for socket filters, with a header in front that the kernel's test run takes away."""
    return {name: frame(_EXPERIMENTAL, one) for name, one in frames.items()}


def _prefix(network: str, length: int) -> bytes:
    return struct.pack("=I", length) + socket.inet_aton(network)


def _class(port: int, protocol: int) -> bytes:
    return struct.pack("=HBx", port, protocol)


CASES: Final = (
    Case("xdp_minimal", _XDP, ("tcp4",)),
    Case(
        "xdp_parse_ports",
        _XDP
        | {
            "udp6": UDP6,
            "vlan": tagged(TCP4, (VLAN, 5)),
            "two tags": tagged(UDP6, (QINQ, 5), (VLAN, 6)),
            "three tags": tagged(TCP4, (QINQ, 5), (VLAN, 6), (VLAN, 7)),
            "options": ipv4(_TCP, tcp(443), options=bytes(8)),
            "cut tag": tagged(TCP4, (VLAN, 5))[:16],
            "cut tcp": TCP4[:50],
            "again": TCP4,
        },
        ("tcp4", "tcp6", "vlan"),
    ),
    Case("xdp_state_machine", _XDP | dict(_connection()), ("syn", "ack")),
    Case(
        "xdp_lpm_drop",
        _XDP | {"miss": ipv4(_TCP, tcp(), source="192.0.2.1"), "exact": ipv4(_UDP, udp(), source="10.9.8.7")},
        ("tcp4", "miss"),
        maps={"blocklist": dict.fromkeys((_prefix("172.16.0.0", 12), _prefix("10.9.8.7", 32)), bytes(8))},
    ),
    Case(
        "xdp_foobar",
        _XDP | {"text": text(200), "found": text(200, b"foobar", 120), "late": text(200, b"foobar", 140)},
        ("text", "found"),
    ),
    Case("xdp_csum40", _XDP | {"wrong": ipv4(_TCP, tcp(payload=DATA), wrong=1)}, ("tcp4",)),
    Case("xdp_fnv", _XDP, ("tcp4",)),
    Case(
        "xdp_jhash",
        _XDP
        | {
            "options": ipv4(_UDP, udp(), options=bytes(4)),
            **{f"port {n}": ipv4(_TCP, tcp(n)) for n in range(8)},
        },
        ("tcp4",),
        maps={"ring": {struct.pack("=I", i): struct.pack("=I", i * 7 % 3) for i in range(1024)}},
    ),
    Case("xdp_bits", _XDP | {"zero": bytes(64), "ones": b"\xff" * 64}, ("tcp4",)),
    Case("xdp_percpu_stats", _XDP, ("tcp4",)),
    Case(
        "xdp_tail_dispatch",
        _XDP
        | {
            "ssh": ipv4(_TCP, tcp(22)),
            "other": ipv4(47, DATA),
            "ntp": ipv4(_UDP, udp(123)),
            "cut": TCP4[:40],
        },
        ("tcp4", "other"),
        entry="xdp_dispatch",
        slots={"handlers": {_TCP: "handle_tcp", _UDP: "handle_udp", socket.IPPROTO_ICMP: "handle_icmp"}},
    ),
    Case(
        "tc_classify",
        _SKB
        | {
            "fragment": ipv4(_UDP, udp(), fragment=100),
            "options": ipv4(_TCP, tcp(), options=bytes(12)),
            "cut": TCP4[:36],
        },
        ("tcp4",),
        maps={
            "classes": {
                _class(80, _TCP): struct.pack("=IIQ", 3, 9, 0),
                _class(53, _UDP): struct.pack("=IIQ", 1, 4, 0),
            }
        },
    ),
    Case(
        "tc_globals",
        _SKB
        | {f"{n} bytes": bytes(n) for n in (14, 64, 400, 1500, 3000)}
        | {f"again {n}": TCP4 for n in range(10)},
        ("tcp4",),
    ),
    Case("tc_hist_len", _SKB | {f"{n} bytes": bytes(n) for n in (14, 63, 64, 1023, 3000)}, ("tcp4",)),
    Case("sock_proto_count", _filtered(_SKB | {"short": SHORT}), ("tcp4",)),
)
