"""The contexts that programs get as their argument: fields, and which program type may read or write which.

One row per field. The kernel decides accesses in its ``*_is_valid_access()`` functions (net/core/filter.c);
it refuses any access that is not aligned to its own width or that is wider or narrower than the row says. A
test loads a program per field, program type and width and compares the kernel's answers with these rows.

A new context is a ``Context`` at the end of this file. Field names and offsets are those of linux/bpf.h.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from pyebpf import enums
from pyebpf.records import dataclass, field
from pyebpf.uapi.constants import AttachType, ProgType

Types = frozenset[ProgType]
NOBODY: Types = frozenset()


class FieldKind(enums.Enum):
    """What a loaded field is to the verifier: an integer, or a pointer of the kind named."""

    SCALAR = "scalar"
    PACKET = "packet"  # the first byte of the linear part of the packet
    PACKET_META = "packet_meta"  # the first byte of the metadata in front of it
    PACKET_END = "packet_end"  # one past its last byte
    SOCK_COMMON = "sock_common"  # the packet's socket, or null
    FLOW_KEYS = "flow_keys"  # struct bpf_flow_keys, never null
    DATA_LOCATION = "data_location"  # of an event: where in it data is (low 16 bits), and how long (high 16)
    RELATIVE_LOCATION = "relative_location"  # the same, counted from the field's end


LOCATIONS = frozenset({FieldKind.DATA_LOCATION, FieldKind.RELATIVE_LOCATION})


@dataclass(frozen=True, slots=True)
class ContextField:
    """A field of a context.

    ``offset`` and ``size`` are bytes; ``length`` is the number of elements of an array (``cb[5]``), None for
    a single value; ``size`` is then that of one element. ``read_widths`` and ``write_widths`` are the widths
    in bytes that an access may have, at any offset in the field that is a multiple of it. ``since`` is the
    first kernel release with the field, ``network_order`` tells that the value is big-endian as the packet
    has it, ``attach_types`` restrict it to programs loaded for one of these; ``signed``: its values may be negative;
    ``text``: of a location, that a string is there.
    """

    name: str
    offset: int
    size: int
    read: Types
    write: Types = NOBODY
    kind: FieldKind = FieldKind.SCALAR
    length: int | None = None
    read_widths: frozenset[int] = frozenset({1, 2, 4})
    write_widths: frozenset[int] = frozenset({4})
    since: tuple[int, int] = (4, 1)
    network_order: bool = False
    attach_types: frozenset[AttachType] = frozenset()
    signed: bool = False
    text: bool = False

    @property
    def total_size(self) -> int:
        """Bytes that it takes in the context."""
        return self.size * (1 if self.length is None else self.length)

    @property
    def nullable(self) -> bool:
        """Whether the loaded pointer may be null."""
        return self.kind is FieldKind.SOCK_COMMON

    def readable(self, prog_type: ProgType) -> bool:
        """Whether programs of ``prog_type`` may read it."""
        return prog_type in self.read

    def writable(self, prog_type: ProgType) -> bool:
        """Whether programs of ``prog_type`` may write it."""
        return prog_type in self.write


@dataclass(frozen=True)
class Context:
    """A context: ``name`` is the C struct's, ``size`` its size in bytes. ``rows`` makes the fields, in order of offset;
    it is called once, when something is compiled, since a start from the cache needs none of them."""

    name: str
    size: int
    rows: Callable[[], tuple[ContextField, ...]] = field(compare=False)

    @functools.cached_property
    def fields(self) -> tuple[ContextField, ...]:
        """The fields, in order of offset."""
        return self.rows()

    def field(self, name: str) -> ContextField | None:
        """The field called ``name``, if there is one."""
        return next((f for f in self.fields if f.name == name), None)


TC: Types = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT})
LWT: Types = frozenset({ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL})
SOCKET_FILTER: Types = frozenset({ProgType.SOCKET_FILTER})
SK_SKB: Types = frozenset({ProgType.SK_SKB})
CGROUP_SKB: Types = frozenset({ProgType.CGROUP_SKB})
FLOW_DISSECTOR: Types = frozenset({ProgType.FLOW_DISSECTOR})
SKB = TC | LWT | SOCKET_FILTER | SK_SKB | CGROUP_SKB
XDP: Types = frozenset({ProgType.XDP})

WORD = frozenset({4})
DOUBLE = frozenset({8})
ANY_WIDTH = frozenset({1, 2, 4, 8})


def _sk_buff() -> tuple[ContextField, ...]:
    return (
        ContextField("len", 0, 4, SKB),
        ContextField("pkt_type", 4, 4, SKB),
        ContextField("mark", 8, 4, SKB - SK_SKB, TC | CGROUP_SKB | LWT),
        ContextField("queue_mapping", 12, 4, SKB, TC),
        ContextField("protocol", 16, 4, SKB, network_order=True),
        ContextField("vlan_present", 20, 4, SKB),
        ContextField("vlan_tci", 24, 4, SKB),
        ContextField("vlan_proto", 28, 4, SKB, network_order=True),
        ContextField("priority", 32, 4, SKB, TC | CGROUP_SKB | LWT | SK_SKB),
        ContextField("ingress_ifindex", 36, 4, SKB, since=(4, 2)),
        ContextField("ifindex", 40, 4, SKB, since=(4, 2)),
        ContextField("tc_index", 44, 4, SKB, TC | SK_SKB, since=(4, 2)),
        ContextField(
            "cb",
            48,
            4,
            SKB,
            SKB - SK_SKB,
            length=5,
            read_widths=ANY_WIDTH,
            write_widths=ANY_WIDTH,
            since=(4, 2),
        ),
        ContextField("hash", 68, 4, SKB, since=(4, 3)),
        ContextField("tc_classid", 72, 4, TC, TC, since=(4, 3)),
        ContextField(
            "data",
            76,
            4,
            SKB - SOCKET_FILTER | FLOW_DISSECTOR,
            kind=FieldKind.PACKET,
            read_widths=WORD,
            since=(4, 7),
        ),
        ContextField(
            "data_end",
            80,
            4,
            SKB - SOCKET_FILTER | FLOW_DISSECTOR,
            kind=FieldKind.PACKET_END,
            read_widths=WORD,
            since=(4, 7),
        ),
        ContextField("napi_id", 84, 4, SKB, since=(4, 12)),
        ContextField("family", 88, 4, SK_SKB | CGROUP_SKB, since=(4, 14)),
        ContextField(
            "remote_ip4", 92, 4, SK_SKB | CGROUP_SKB, read_widths=WORD, since=(4, 14), network_order=True
        ),
        ContextField(
            "local_ip4", 96, 4, SK_SKB | CGROUP_SKB, read_widths=WORD, since=(4, 14), network_order=True
        ),
        ContextField(
            "remote_ip6",
            100,
            4,
            SK_SKB | CGROUP_SKB,
            length=4,
            read_widths=WORD,
            since=(4, 14),
            network_order=True,
        ),
        ContextField(
            "local_ip6",
            116,
            4,
            SK_SKB | CGROUP_SKB,
            length=4,
            read_widths=WORD,
            since=(4, 14),
            network_order=True,
        ),
        ContextField("remote_port", 132, 4, SK_SKB | CGROUP_SKB, since=(4, 14), network_order=True),
        ContextField("local_port", 136, 4, SK_SKB | CGROUP_SKB, since=(4, 14)),
        ContextField("data_meta", 140, 4, TC, kind=FieldKind.PACKET_META, read_widths=WORD, since=(4, 15)),
        ContextField(
            "flow_keys", 144, 8, FLOW_DISSECTOR, kind=FieldKind.FLOW_KEYS, read_widths=DOUBLE, since=(4, 20)
        ),
        ContextField(
            "tstamp",
            152,
            8,
            TC | CGROUP_SKB,
            TC | CGROUP_SKB,
            read_widths=DOUBLE,
            write_widths=DOUBLE,
            since=(5, 0),
        ),
        ContextField("wire_len", 160, 4, TC, since=(5, 0)),
        ContextField("gso_segs", 164, 4, SKB, since=(5, 1)),
        ContextField("sk", 168, 8, SKB, kind=FieldKind.SOCK_COMMON, read_widths=DOUBLE, since=(5, 1)),
        ContextField("gso_size", 176, 4, SKB, since=(5, 7)),
        ContextField("tstamp_type", 180, 1, TC, read_widths=frozenset({1}), since=(5, 18)),
        ContextField("hwtstamp", 184, 8, TC | CGROUP_SKB, read_widths=DOUBLE, since=(5, 16)),
    )


def _xdp_md() -> tuple[ContextField, ...]:
    return (
        ContextField("data", 0, 4, XDP, kind=FieldKind.PACKET, read_widths=WORD, since=(4, 8)),
        ContextField("data_end", 4, 4, XDP, kind=FieldKind.PACKET_END, read_widths=WORD, since=(4, 8)),
        ContextField("data_meta", 8, 4, XDP, kind=FieldKind.PACKET_META, read_widths=WORD, since=(4, 15)),
        ContextField("ingress_ifindex", 12, 4, XDP, read_widths=WORD, since=(4, 16)),
        ContextField("rx_queue_index", 16, 4, XDP, read_widths=WORD, since=(4, 16)),
        ContextField(
            "egress_ifindex",
            20,
            4,
            XDP,
            read_widths=WORD,
            since=(5, 8),
            attach_types=frozenset({AttachType.XDP_DEVMAP}),
        ),
    )


SK_BUFF = Context("__sk_buff", 192, _sk_buff)
XDP_MD = Context("xdp_md", 24, _xdp_md)
CONTEXTS = (SK_BUFF, XDP_MD)


# ---------------------------------------------------------------- tracing

_RAW: Types = frozenset({ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE})
_BY_BTF: Types = frozenset({ProgType.TRACING, ProgType.LSM})

RAW_TRACEPOINT_ARGS = Context(
    "bpf_raw_tracepoint_args",
    8 * 12,
    lambda: (ContextField("args", 0, 8, _RAW, length=12, read_widths=DOUBLE, since=(4, 17)),),
)
"""A raw tracepoint's arguments, 8 bytes each; the tracepoint decides how many there are."""

TRACING_ARGS = Context(
    "tracing arguments",
    8 * 12,
    lambda: (ContextField("args", 0, 8, _BY_BTF, length=12, read_widths=DOUBLE, since=(5, 5)),),
)
"""The arguments of a function or tracepoint whose types the kernel knows, 8 bytes each."""

TRACEPOINT = Context("tracepoint", 0, tuple)
"""Stands for the context of any tracepoint; each has fields of its own."""
