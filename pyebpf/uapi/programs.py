"""The kinds of programs: one row per decorator, with all that compiler, object and loader need to know of it.

A row says how a program of the kind is loaded, what its argument is, what it may return and what it may do to
the packet. A new kind is a new row in ``KINDS``; nothing else lists them. ``section`` is the ELF section that
all loaders in use know: where only newer ones have a section that carries the attach type (``tcx/ingress``,
``sk_skb/verdict``) it is the older, general one (``pyebpf.uapi.sections`` has them all).
"""

from __future__ import annotations

import enum
import errno

from pyebpf.records import dataclass, replace
from pyebpf.uapi.constants import AttachType, ProgLoadFlag, ProgType, SkAction, TcAction, XdpAction
from pyebpf.uapi.contexts import SK_BUFF, XDP_MD, Context

NO_FLAGS = ProgLoadFlag(0)


class PacketAccess(enum.Enum):
    """What a program may do through pointers into the packet: ``may_access_direct_pkt_data()``."""

    NONE = "none"
    READ = "read"
    READ_WRITE = "read_write"


@dataclass(frozen=True, slots=True)
class KindOption:
    """A keyword of the decorator that changes how the program is loaded: ``@bpf.xdp(frags=True)``."""

    keyword: str
    section: str
    load_flags: ProgLoadFlag
    since: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ProgramKind:
    """A kind of program.

    ``name`` is the decorator's. ``attach_type`` is what the program is loaded for, None where the kernel asks
    for none. ``error_verdict`` is what a program returns for an error that nobody handled. ``return_range``
    are the least and the greatest result that the verifier accepts, None where it accepts any;
    ``verdict_enum`` and ``verdicts`` name results: a kind has the one or the other. ``test_run`` tells
    whether ``BPF_PROG_TEST_RUN`` runs it. ``since`` is the first kernel release.
    """

    name: str
    prog_type: ProgType
    attach_type: AttachType | None
    section: str
    context: Context | None
    error_verdict: int
    packet: PacketAccess
    test_run: bool
    since: tuple[int, int]
    verdict_enum: type[enum.IntEnum] | None = None
    verdicts: tuple[tuple[str, int], ...] = ()
    return_range: tuple[int, int] | None = None
    load_flags: ProgLoadFlag = NO_FLAGS
    options: tuple[KindOption, ...] = ()

    def with_option(self, keyword: str) -> ProgramKind:
        """The row as the decorator's ``keyword`` changes it.

        Raises:
            LookupError: the kind has no such option.
        """
        for option in self.options:
            if option.keyword == keyword:
                return replace(
                    self,
                    section=option.section,
                    load_flags=self.load_flags | option.load_flags,
                    since=max(self.since, option.since),
                    options=tuple(o for o in self.options if o is not option),
                )
        raise LookupError(f"{self.name} has no option {keyword}")

    def verdict_name(self, value: int) -> str | None:
        """The name of a result, as users write it (``XDP_PASS``), if it has one."""
        named = self.verdicts
        if self.verdict_enum is not None:
            named = tuple((f"{_PREFIXES[self.verdict_enum]}{m.name}", int(m)) for m in self.verdict_enum)
        return next((name for name, number in named if number == value), None)


_PREFIXES: dict[type[enum.IntEnum], str] = {XdpAction: "XDP_", TcAction: "TC_ACT_", SkAction: "SK_"}

DROP = 0
"""The verdict of a socket filter that keeps nothing."""

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
)


def kind_by_name(name: str) -> ProgramKind | None:
    """The row of a decorator, if there is one."""
    return next((kind for kind in KINDS if kind.name == name), None)
