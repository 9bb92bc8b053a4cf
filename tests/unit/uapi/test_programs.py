"""The table of program kinds: complete for packet programs, and true on the running kernel."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from pyebpf.uapi import releases
from pyebpf.uapi.constants import ProgLoadFlag, ProgType, SkAction, TcAction, XdpAction
from pyebpf.uapi.contexts import SK_BUFF, TRACING_ARGS, XDP_MD, FieldKind
from pyebpf.uapi.programs import (
    KEEP,
    KINDS,
    PacketAccess,
    ProgramKind,
    TargetKind,
    kind_by_name,
)
from pyebpf.uapi.programs_tracing import TRACING_KINDS
from pyebpf.uapi.sections import SECTIONS, section_kind

Load = Callable[..., str | None]


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


EXIT = insn(0xB7) + insn(0x95)
PACKETS = tuple(kind for kind in KINDS if kind not in TRACING_KINDS)
BY_TARGET = tuple(kind for kind in TRACING_KINDS if kind.context is not TRACING_ARGS)
"""Tracing programs that the kernel loads without being told a target."""


def test_the_packet_family_is_complete() -> None:
    assert {kind.name for kind in PACKETS} == {
        "socket_filter",
        "xdp",
        "tc",
        "tc_ingress",
        "tc_egress",
        "action",
        "sk_skb_stream_parser",
        "sk_skb_stream_verdict",
        "sk_skb_verdict",
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_rows_are_consistent(kind: ProgramKind) -> None:
    assert kind_by_name(kind.name) is kind
    assert kind.since >= releases.PROG_TYPES[kind.prog_type]
    assert not (kind.verdict_enum and kind.verdicts)
    if kind in PACKETS:
        assert kind.context is (XDP_MD if kind.prog_type is ProgType.XDP else SK_BUFF)
    found = section_kind(kind.section)
    assert found is not None and found.prog_type is kind.prog_type
    assert found.attach_type in (None, kind.attach_type)
    for option in kind.options:
        row = section_kind(option.section)
        assert row is not None and (row.prog_type, row.attach_type) == (kind.prog_type, kind.attach_type)
        assert row.flags == option.load_flags
    placed = section_kind(kind.at("a/target").section)
    assert kind.target is TargetKind.NOTHING or (placed is not None and placed.target)


def test_the_tracing_family_is_complete() -> None:
    """Every section of a tracing program that libbpf knows has its kind."""
    types = {ProgType.KPROBE, ProgType.TRACEPOINT, ProgType.TRACING, ProgType.LSM, ProgType.PERF_EVENT}
    types |= {ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE}
    known = {section_kind(kind.section) for kind in TRACING_KINDS}
    known |= {section_kind(option.section) for kind in TRACING_KINDS for option in kind.options}
    others = {"uprobe.session", "uprobe.session.s", "lsm_cgroup"}
    others |= {"tp", "tp.s", "tracepoint.s", "raw_tp", "raw_tp.s", "raw_tracepoint.s", "raw_tp.w", "tp_btf.s"}
    assert {row.name for row in SECTIONS if row.prog_type in types and row not in known} == others


@pytest.mark.parametrize("kind", (*PACKETS, *BY_TARGET), ids=lambda kind: kind.name)
def test_the_kernel_loads_each_kind(kind: ProgramKind, load_program: Load) -> None:
    assert load_program(kind.prog_type, EXIT, kind.attach_type or 0, int(kind.load_flags)) is None
    for keyword in (option.keyword for option in kind.options):
        row = kind.with_option(keyword)
        assert load_program(row.prog_type, EXIT, row.attach_type or 0, int(row.load_flags)) is None


@pytest.mark.parametrize("kind", PACKETS, ids=lambda kind: kind.name)
def test_packet_access_is_the_kernels(kind: ProgramKind, load_program: Load) -> None:
    assert kind.context is not None
    data, end = kind.context.field("data"), kind.context.field("data_end")
    assert data is not None and end is not None and data.kind is FieldKind.PACKET
    head = insn(0x61, 2, 1, data.offset) + insn(0x61, 3, 1, end.offset)
    checked = head + insn(0xBF, 4, 2) + insn(0x07, 4, imm=1) + insn(0x2D, 4, 3, 1)
    read = load_program(kind.prog_type, checked + insn(0x71, 5, 2) + EXIT)
    written = load_program(kind.prog_type, checked + insn(0x72, 2, imm=1) + EXIT)
    assert (read is None) == (kind.packet is not PacketAccess.NONE), read
    assert (written is None) == (kind.packet is PacketAccess.READ_WRITE), written


@pytest.mark.parametrize("kind", PACKETS, ids=lambda kind: kind.name)
def test_any_result_is_accepted(kind: ProgramKind, load_program: Load) -> None:
    assert kind.return_range is None
    for value in (-1, 0, 2**31 - 1, kind.error_verdict):
        code = insn(0xB7, imm=value) + insn(0x95)
        assert load_program(kind.prog_type, code, kind.attach_type or 0) is None


def test_error_verdicts() -> None:
    verdicts = {kind.name: kind.error_verdict for kind in KINDS}
    assert verdicts.pop("xdp") is XdpAction.ABORTED
    assert {verdicts.pop(name) for name in ("tc", "tc_ingress", "tc_egress", "action")} == {TcAction.SHOT}
    assert {verdicts.pop(name) for name in ("sk_skb_verdict", "sk_skb_stream_verdict")} == {SkAction.DROP}
    assert verdicts.pop("socket_filter") == 0
    assert verdicts.pop("sk_skb_stream_parser") == -74
    assert verdicts.pop("lsm") == -1
    assert set(verdicts.values()) == {0}


def test_options() -> None:
    xdp = kind_by_name("xdp")
    assert xdp is not None
    frags = xdp.with_option("frags")
    assert (frags.section, frags.load_flags, frags.since) == (
        "xdp.frags",
        ProgLoadFlag.XDP_HAS_FRAGS,
        (5, 18),
    )
    assert frags.name == "xdp" and not frags.options


def test_verdict_names() -> None:
    def name(kind: str, value: int) -> str | None:
        row = kind_by_name(kind)
        assert row is not None
        return row.verdict_name(value)

    assert name("xdp", 2) == "XDP_PASS" and name("tc", -1) == "TC_ACT_UNSPEC"
    assert name("socket_filter", KEEP) == "KEEP" and name("socket_filter", 4) is None
    assert name("sk_skb_verdict", 1) == "SK_PASS"


def test_an_unknown_option_is_refused() -> None:
    tc = kind_by_name("tc")
    assert tc is not None
    with pytest.raises(LookupError, match="tc has no option frags"):
        tc.with_option("frags")
