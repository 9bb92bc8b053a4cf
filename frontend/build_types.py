"""From static types of the language to the types of SSA values."""

from __future__ import annotations

from pyebpf.frontend.types import (
    Bool,
    ContextPtr,
    Handle,
    Int,
    Kernel,
    Maybe,
    NoneT,
    Origin,
    Pointer,
    Ref,
    Trust,
    Type,
    User,
)
from pyebpf.hints import assert_never
from pyebpf.ir.types import CTX, I64, VOID, IRType, PtrTy, Space
from pyebpf.records import replace

_SPACES = {
    Origin.MAP_VALUE: Space.MAP_VALUE,
    Origin.GLOBAL: Space.GLOBAL,
    Origin.CONSTANT: Space.GLOBAL,
    Origin.PACKET: Space.PACKET,
    Origin.RECORD: Space.RINGBUF,
    Origin.MIXED: Space.MEM,
}

_HANDLES = {
    Handle.SOCKET: Space.SOCKET,
    Handle.PACKET_START: Space.PACKET,
    Handle.PACKET_END: Space.PACKET_END,
    Handle.KERNEL: Space.KERNEL,
    Handle.MEMORY: Space.MEM,
}


def reference_type(ref: Ref, caller: Space, own: Space) -> PtrTy:
    """The pointer that a reference is. Packet pointers have no size: the check before the access decides."""
    spaces = {Origin.CALLER: caller, Origin.LOCAL: own}
    space = spaces.get(ref.origin) or _SPACES[ref.origin]
    return PtrTy(space, None if space is Space.PACKET else ref.layout.size)


def ir_type(type: Type, caller: Space, own: Space) -> IRType:
    """The type in which a value is kept in a variable, passed and returned. A Bool is an i64, 0 or 1.

    ``caller``: what memory of callers is: STACK, or MEM where it may also be the argument of a global function. ``own``: what
    the function's own objects are: STACK, or MEM where they may lie in scratch memory.
    """
    match type:
        case Int() | Bool():
            return I64
        case NoneT():
            return VOID
        case Ref():
            return reference_type(type, caller, own)
        case Pointer(handle):
            return PtrTy(_HANDLES[handle])
        case Kernel(trust=Trust.TRACKED):
            return PtrTy(Space.KERNEL, nullable=True)
        case Kernel() | User():
            return I64  # an address that the verifier knows nothing of
        case Maybe(of):
            inner = ir_type(of, caller, own)
            assert isinstance(inner, PtrTy)
            return replace(inner, nullable=True)
        case ContextPtr():
            return CTX
        case _:
            assert_never(type)
