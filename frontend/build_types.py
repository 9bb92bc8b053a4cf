"""From static types of the language to the types of SSA values."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from pyebpf.frontend.types import Bool, ContextPtr, Handle, Int, Maybe, NoneT, Origin, Pointer, Ref, Type
from pyebpf.ir.types import CTX, I64, VOID, IRType, PtrTy, Space

_SPACES = {
    Origin.LOCAL: Space.STACK,
    Origin.CALLER: Space.STACK,
    Origin.MAP_VALUE: Space.MAP_VALUE,
    Origin.GLOBAL: Space.GLOBAL,
    Origin.CONSTANT: Space.GLOBAL,
    Origin.PACKET: Space.PACKET,
    Origin.RECORD: Space.RINGBUF,
}

_HANDLES = {
    Handle.SOCKET: Space.SOCKET,
    Handle.PACKET_START: Space.PACKET,
    Handle.PACKET_END: Space.PACKET_END,
    Handle.KERNEL: Space.KERNEL,
    Handle.MEMORY: Space.MEM,
}


def reference_type(ref: Ref) -> PtrTy:
    """The pointer that a reference is. Packet pointers have no size: the check before the access decides."""
    space = _SPACES[ref.origin]
    return PtrTy(space, None if space is Space.PACKET else ref.layout.size)


def ir_type(type: Type) -> IRType:
    """The type in which a value is kept in a variable, passed and returned: a Bool as an i64 that is 0 or
    1."""
    match type:
        case Int() | Bool():
            return I64
        case NoneT():
            return VOID
        case Ref():
            return reference_type(type)
        case Pointer(handle):
            return PtrTy(_HANDLES[handle])
        case Maybe(of):
            inner = ir_type(of)
            assert isinstance(inner, PtrTy)
            return replace(inner, nullable=True)
        case ContextPtr():
            return CTX
        case _:
            assert_never(type)


def pointer_type(type: Type) -> PtrTy:
    """``ir_type`` of what is known to be a reference, a handle or a context."""
    found = ir_type(type)
    assert isinstance(found, PtrTy), f"{type} is no pointer"
    return found
