"""The kinds of programs: one row per decorator, with all that compiler, object and loader need to know of it.

A row says how a program of the kind is loaded, what its argument is, what it may return and what it may do to
the packet. A new kind is a new row here or in ``programs_tracing``; ``KINDS`` lists them all. ``section`` is the ELF section
that all loaders in use know: where only newer ones have a section that carries the attach type (``tcx/ingress``,
``sk_skb/verdict``) it is the older, general one (``pyebpf.uapi.sections`` has them all).
"""

from __future__ import annotations

import errno

from pyebpf.records import replace
from pyebpf.uapi.constants import AttachType, ProgLoadFlag, ProgType, SkAction, TcAction, XdpAction
from pyebpf.uapi.contexts import SK_BUFF, XDP_MD
from pyebpf.uapi.program_kind import NO_FLAGS as NO_FLAGS
from pyebpf.uapi.program_kind import Arguments as Arguments
from pyebpf.uapi.program_kind import KindOption as KindOption
from pyebpf.uapi.program_kind import PacketAccess as PacketAccess
from pyebpf.uapi.program_kind import ProgramKind as ProgramKind
from pyebpf.uapi.program_kind import TargetKind as TargetKind
from pyebpf.uapi.programs_tracing import TRACING_KINDS

DROP = 0
KEEP = 0xFFFF_FFFF
"""A socket filter returns how many bytes to keep: this many keeps every packet whole, none drops it."""

FRAGS = KindOption("frags", "xdp.frags", ProgLoadFlag.XDP_HAS_FRAGS, (5, 18))

SOCKET_FILTER = ProgramKind(
    name="socket_filter",
    prog_type=ProgType.SOCKET_FILTER,
    attach_type=None,
    section="socket",
    context=SK_BUFF,
    error_verdict=0,
    packet=PacketAccess.NONE,
    test_run=True,
    since=(3, 19),
    verdicts=(("DROP", DROP), ("KEEP", KEEP)),
)

XDP = ProgramKind(
    name="xdp",
    prog_type=ProgType.XDP,
    attach_type=AttachType.XDP,
    section="xdp",
    context=XDP_MD,
    error_verdict=XdpAction.ABORTED,
    packet=PacketAccess.READ_WRITE,
    test_run=True,
    since=(4, 8),
    verdict_enum=XdpAction,
    options=(FRAGS,),
)

TC = ProgramKind(
    name="tc",
    prog_type=ProgType.SCHED_CLS,
    attach_type=None,
    section="classifier",
    context=SK_BUFF,
    error_verdict=TcAction.SHOT,
    packet=PacketAccess.READ_WRITE,
    test_run=True,
    since=(4, 1),
    verdict_enum=TcAction,
)

TC_INGRESS = replace(
    TC,
    name="tc_ingress",
    attach_type=AttachType.TCX_INGRESS,
)

TC_EGRESS = replace(
    TC,
    name="tc_egress",
    attach_type=AttachType.TCX_EGRESS,
)

ACTION = replace(TC, name="action", prog_type=ProgType.SCHED_ACT, section="action")

SK_SKB_STREAM_PARSER = ProgramKind(
    name="sk_skb_stream_parser",
    prog_type=ProgType.SK_SKB,
    attach_type=AttachType.SK_SKB_STREAM_PARSER,
    section="sk_skb/stream_parser",
    context=SK_BUFF,
    # The length of the message, 0 for "more bytes needed"; a negative errno ends the stream with that error.
    error_verdict=-errno.EBADMSG,
    packet=PacketAccess.READ_WRITE,
    test_run=False,
    since=(4, 14),
)

SK_SKB_STREAM_VERDICT = ProgramKind(
    name="sk_skb_stream_verdict",
    prog_type=ProgType.SK_SKB,
    attach_type=AttachType.SK_SKB_STREAM_VERDICT,
    section="sk_skb/stream_verdict",
    context=SK_BUFF,
    error_verdict=SkAction.DROP,
    packet=PacketAccess.READ_WRITE,
    test_run=False,
    since=(4, 14),
    verdict_enum=SkAction,
)

SK_SKB_VERDICT = replace(
    SK_SKB_STREAM_VERDICT,
    name="sk_skb_verdict",
    attach_type=AttachType.SK_SKB_VERDICT,
    section="sk_skb",
    since=(5, 13),
)

KINDS: tuple[ProgramKind, ...] = (
    SOCKET_FILTER,
    XDP,
    TC,
    TC_INGRESS,
    TC_EGRESS,
    ACTION,
    SK_SKB_STREAM_PARSER,
    SK_SKB_STREAM_VERDICT,
    SK_SKB_VERDICT,
    *TRACING_KINDS,
)


def kind_by_name(name: str) -> ProgramKind | None:
    """The row of a decorator, if there is one."""
    return next((kind for kind in KINDS if kind.name == name), None)
