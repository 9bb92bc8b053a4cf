"""Which memory an operation reads or may change: the alias analysis behind ``gvn``.

Memory is divided into *regions*: each stack slot is one, the context is one, and so is each kind of pointer
target. Regions do not overlap, but for memory from a caller (``MEM``), which may be any but the context and
private slots.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf.backend.passes.addresses import escaping, place_of
from pyebpf.backend.passes.dead_code import LOOKS_ONLY
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import uses
from pyebpf.ir.ops import Alloca, Call, CallHelper, CallKfunc, Function, Module, Op, Value
from pyebpf.ir.types import PtrTy, Space
from pyebpf.uapi.helpers import ArgKind, helper_by_id, helper_by_name

if TYPE_CHECKING:
    from typing import Final


Region = Space | Value
"""A slot (its ``Alloca``), or everything that pointers of a space point to."""

SHARED: Final = frozenset(
    {
        Space.MAP_VALUE,
        Space.GLOBAL,
        Space.PACKET,
        Space.RINGBUF,
        Space.MEM,
        Space.SOCKET,
        Space.KERNEL,
    }
)
_NOT_WRITTEN: Final = frozenset(
    {ArgKind.MAP_KEY, ArgKind.MAP_VALUE, ArgKind.MEM, ArgKind.CONST_STR, ArgKind.SCALAR}
)
_READ_CONTEXT: Final = frozenset(
    row.id
    for row in map(
        helper_by_name,
        (
            "fib_lookup",
            "get_cgroup_classid",
            "get_route_realm",
            "get_socket_cookie",
            "get_socket_uid",
            "perf_event_output",
            "skb_load_bytes",
            "skb_load_bytes_relative",
            "skb_output",
            "tail_call",
            "xdp_get_buff_len",
            "xdp_load_bytes",
        ),
    )
    if row is not None
)
"""Helpers that take the context but change none of its fields."""

_LOOKUPS: Final = frozenset(
    row.id for row in map(helper_by_name, ("map_lookup_elem", "map_lookup_percpu_elem")) if row is not None
)


_ITERATION: Final = frozenset({"bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"})
"""Functions of the kernel that change the iterator that they are given, and nothing else."""


def context_changers(module: Module) -> frozenset[str]:
    """The functions that may change the context or the packet, themselves or through what they call."""
    found = {
        name
        for name, f in module.functions.items()
        if any(_changes_context(op, frozenset()) for op in f.ops())
    }
    while True:
        more = {
            name
            for name, f in module.functions.items()
            if name not in found and any(_changes_context(op, found) for op in f.ops())
        }
        if not more:
            return frozenset(found)
        found |= more


def _changes_context(op: Op, changers: Iterable[str]) -> bool:
    match op:
        case CallHelper():
            helper = helper_by_id(op.helper)
            if helper is None or helper.changes_packet:
                return True
            if any(isinstance(arg, ops.FuncRef) for arg in op.args):
                return True  # the callback may do anything
            return op.helper not in _READ_CONTEXT and any(_space(arg) is Space.CTX for arg in op.args)
        case CallKfunc():
            return op.kfunc not in _ITERATION
        case Call():
            return op.function in changers
        case ops.Store() | ops.Atomic():
            return _space(op.pointer) is Space.CTX
        case _:
            return False


def _space(value: Value) -> Space | None:
    return value.type.space if isinstance(value.type, PtrTy) else None


class Memory:
    """The regions of one function."""

    def __init__(self, function: Function, module: Module, changers: frozenset[str]) -> None:
        self.module = module
        self.changers = changers
        self.slots = [op for op in function.entry.ops if isinstance(op, Alloca)]
        self.shown = escaping(function, uses(function)) if self.slots else set()

    def region(self, pointer: Value) -> Region | None:
        """Where ``pointer`` points; None for memory that never changes."""
        root = place_of(pointer).root
        if isinstance(root, Alloca):
            return root
        if isinstance(root, ops.GlobalRef):
            section = self.module.data.get(root.section)
            return None if section and section.read_only else Space.GLOBAL
        space = _space(pointer)
        assert space is not None
        if space is Space.STACK:
            return Space.MEM  # one of several slots
        return Space.PACKET if space is Space.PACKET_META else space

    def visible(self, pointer: Value) -> set[Region]:
        """The regions that an access through ``pointer`` may touch."""
        region = self.region(pointer)
        if region is None:
            return set()
        return {*SHARED, *self.shown} if region is Space.MEM else {region, Space.MEM}

    def clobbers(self, op: Op) -> set[Region]:
        """The regions that ``op`` may change."""
        match op:
            case ops.Store() | ops.MemZero() | ops.Atomic():
                return self._written(op.pointer)
            case ops.MemCopy():
                return self._written(op.target)
            case CallHelper():
                return self._helper(op)
            case CallKfunc() if op.kfunc in _ITERATION:
                return self._written(op.args[0])
            case Call() | CallKfunc():
                changed: set[Region] = {*SHARED, *self.shown}
                return changed | {Space.CTX} if _changes_context(op, self.changers) else changed
            case _:
                return set()

    def _written(self, pointer: Value) -> set[Region]:
        region = self.region(pointer)
        if region is None or region is Space.CTX:
            return {Space.CTX}
        if isinstance(region, Alloca):
            return {region, Space.MEM} if region in self.shown else {region}
        return {*SHARED, *self.shown} if region is Space.MEM else {region, Space.MEM}

    def _helper(self, op: CallHelper) -> set[Region]:
        if op.helper in LOOKS_ONLY or op.helper in _LOOKUPS:
            return set()
        helper = helper_by_id(op.helper)
        changed: set[Region] = set(SHARED - {Space.PACKET})
        if _changes_context(op, self.changers):
            changed |= {Space.CTX, Space.PACKET}
        kinds = [arg.kind for arg in helper.args] if helper else []
        for i, arg in enumerate(op.args):
            kind = kinds[i] if i < len(kinds) else ArgKind.SCALAR
            if kind in _NOT_WRITTEN or not isinstance(arg.type, PtrTy):
                continue
            if kind is ArgKind.FUNC:
                changed |= {Space.CTX, Space.PACKET, *self.shown}
            elif arg.type.space in (Space.STACK, Space.MEM, Space.PACKET, Space.PACKET_META):
                changed |= self._written(arg)
        return changed
