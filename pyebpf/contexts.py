"""The context arguments of programs, as type checkers and editors see them.

The fields, their rights for each program type and their offsets come from ``pyebpf.uapi.contexts``; these classes
exist to annotate parameters with and are never instantiated.
"""

from __future__ import annotations

from collections.abc import MutableSequence

from pyebpf.declare import ContextDecl
from pyebpf.hints import TYPE_CHECKING, Any, ClassVar, TypeVar
from pyebpf.uapi.contexts import RAW_TRACEPOINT_ARGS, SK_BUFF, TRACEPOINT, TRACING_ARGS, XDP_MD
from pyebpf.uapi.registers import X86_64

T = TypeVar("T")


class SkBuff:
    """A packet in the kernel's stack (``struct __sk_buff``): socket filters, tc and sk_skb programs.

    ``len(skb)`` is its length in bytes. Which fields may be read or written depends on the program type.
    """

    __bpf__: ClassVar[ContextDecl] = ContextDecl(SK_BUFF)

    len: int
    pkt_type: int
    mark: int
    queue_mapping: int
    protocol: int
    vlan_present: int
    vlan_tci: int
    vlan_proto: int
    priority: int
    ingress_ifindex: int
    ifindex: int
    tc_index: int
    cb: MutableSequence[int]
    hash: int
    tc_classid: int
    napi_id: int
    family: int
    remote_ip4: int
    local_ip4: int
    remote_ip6: MutableSequence[int]
    local_ip6: MutableSequence[int]
    remote_port: int
    local_port: int
    tstamp: int
    wire_len: int
    gso_segs: int
    gso_size: int
    tstamp_type: int
    hwtstamp: int

    def __len__(self) -> int:
        """The length of the packet in bytes."""
        raise TypeError("packets exist inside programs only")

    def load(self, of: type[T], offset: int) -> T:
        """A copy of what lies at ``offset`` (bytes): an integer type or a struct. ``IndexError`` outside."""
        raise TypeError("packets exist inside programs only")

    def load_bytes(self, offset: int, length: int) -> bytes:
        """A copy of ``length`` (constant) bytes at ``offset``. ``IndexError`` outside."""
        raise TypeError("packets exist inside programs only")

    def read(self, of: type[T], offset: int) -> T:
        """A view of ``of`` at ``offset`` in the packet itself: no copy. ``IndexError`` outside the linear part."""
        raise TypeError("packets exist inside programs only")

    def store(self, offset: int, value: object, of: type[object] | None = None, flags: int = 0) -> None:
        """Write ``value`` at ``offset``; integers need their type ``of``. ``IndexError`` outside."""
        raise TypeError("packets exist inside programs only")


class Xdp:
    """A received frame before the kernel's stack sees it (``struct xdp_md``)."""

    __bpf__: ClassVar[ContextDecl] = ContextDecl(XDP_MD)

    data: int
    data_end: int
    data_meta: int
    ingress_ifindex: int
    rx_queue_index: int
    egress_ifindex: int

    def __len__(self) -> int:
        """The length of the frame's linear part in bytes."""
        raise TypeError("packets exist inside programs only")

    def read(self, of: type[T], offset: int) -> T:
        """A view of ``of`` (an integer type or a struct) at ``offset`` (bytes) in the frame. ``IndexError`` outside."""
        raise TypeError("packets exist inside programs only")

    def adjust_head(self, delta: int) -> int:
        """Move the start of the frame by ``delta`` bytes (negative: grow). 0, or a negative error number."""
        raise TypeError("packets exist inside programs only")

    def adjust_tail(self, delta: int) -> int:
        """Move the end of the frame by ``delta`` bytes. 0, or a negative error number."""
        raise TypeError("packets exist inside programs only")

    def adjust_meta(self, delta: int) -> int:
        """Move the start of the metadata by ``delta`` bytes. 0, or a negative error number."""
        raise TypeError("packets exist inside programs only")

    def redirect(self, ifindex: int, flags: int = 0) -> int:
        """The verdict that sends the frame out of another interface (``XDP_REDIRECT``, or ``XDP_ABORTED``)."""
        raise TypeError("packets exist inside programs only")


class PtRegs:
    """The registers of a probed function (``struct pt_regs``): kprobes and uprobes. Which there are depends on the
    architecture: ``ctx.ip``, ``ctx.sp``, ``ctx.ax`` on x86-64."""

    __bpf__: ClassVar[ContextDecl] = ContextDecl(X86_64.context)

    if TYPE_CHECKING:

        def __getattr__(self, register: str) -> int: ...


class PerfEvent:
    """A sample (``struct bpf_perf_event_data``): the registers, and what the event counts."""

    __bpf__: ClassVar[ContextDecl] = ContextDecl(X86_64.sample)

    sample_period: int
    addr: int

    if TYPE_CHECKING:

        def __getattr__(self, register: str) -> int: ...


class Tracepoint:
    """An event of the kernel; its fields are those that ``events/…/format`` of tracefs shows."""

    __bpf__: ClassVar[ContextDecl] = ContextDecl(TRACEPOINT)

    if TYPE_CHECKING:

        def __getattr__(self, field: str) -> Any: ...


class RawTracepoint:
    """The arguments of a raw tracepoint, eight bytes each."""

    __bpf__: ClassVar[ContextDecl] = ContextDecl(RAW_TRACEPOINT_ARGS)

    args: MutableSequence[int]


class Tracing:
    """The arguments of a function that a program is attached to by type (``fentry``, ``lsm``, …), eight bytes each."""

    __bpf__: ClassVar[ContextDecl] = ContextDecl(TRACING_ARGS)

    args: MutableSequence[int]
