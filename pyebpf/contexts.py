"""The context arguments of the packet programs, as type checkers and editors see them.

The fields, their rights for each program type and their offsets come from ``pyebpf.uapi.contexts``; these classes
exist to annotate parameters with and are never instantiated.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import ClassVar, TypeVar

from pyebpf.declare import ContextDecl
from pyebpf.uapi.contexts import SK_BUFF, XDP_MD

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
