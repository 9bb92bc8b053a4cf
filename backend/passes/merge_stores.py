"""Merging stores: neighbouring narrow stores become a wide one.

::

    %1 = load.2 i64 %tcp + 0                 %5 = load.4 i64 %tcp + 0
    store.2 %key + 8, %1                     store.4 %key + 8, %5
    %2 = load.2 i64 %tcp + 2
    store.2 %key + 10, %2             →
    store.1 %key + 12, %proto                store.4 %key + 12, %proto
    store.1 %key + 13, %0
    store.2 %key + 14, %0

Fewer instructions, and faster ones behind: the kernel hashes map keys in 32-bit words, and a wide load of
bytes that were stored narrowly waits for the store buffer. Three kinds of neighbours merge: constants; values
that were loaded from neighbouring places (and for nothing else), which become one load; and a value with
zeros above it, if it has no higher bits itself (on little-endian targets).

Stores wait for each other as long as nothing in between can see the difference; the merged store stands at
the place of the last, the merged load at that of the last load, where everything that it reads has been
checked.

Requires: ``expand_memory`` before. Invalidates: loads that were merged are left to ``dead_code``.
"""

from __future__ import annotations

from pyebpf.backend.passes.addresses import Place, known_alignment, may_be_unaligned, place_of
from pyebpf.backend.passes.evaluate import possible_bits
from pyebpf.backend.passes.memory import Memory, Region, context_changers
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import uses
from pyebpf.ir.ops import Alloca, Block, Const, Function, Load, Module, Op, Store, Value, const
from pyebpf.ir.types import I64, IntTy, PtrTy, Space
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final


_WIDTHS: Final = (8, 4, 2)


def run(module: Module, *, unaligned: bool = False, little_endian: bool = True) -> bool:
    """Merge in every function. ``unaligned``: memory other than the stack may be accessed at any address.
    Returns whether anything changed."""
    changers = context_changers(module)
    changed = False
    for function in module.functions.values():
        memory = Memory(function, module, changers)
        merger = _Merger(function, memory, unaligned, little_endian)
        for block in function.blocks:
            changed |= merger.block(block)
    return changed


@dataclass(slots=True)
class _Group:
    """Stores through pointers at constant distances from ``root`` that nobody has looked at yet: for each
    offset the position in the block and the store."""

    root: Value
    region: Region
    stores: dict[int, tuple[int, Store]] = field(default_factory=dict)


class _Merger:
    def __init__(self, function: Function, memory: Memory, unaligned: bool, little_endian: bool) -> None:
        self.memory = memory
        self.unaligned = unaligned
        self.little_endian = little_endian
        self.uses = uses(function)

    def block(self, block: Block) -> bool:
        if sum(isinstance(op, Store) for op in block.ops) < 2:
            return False
        self.ops = block.ops
        self.position = {op: i for i, op in enumerate(block.ops)}
        self.dropped: set[Value] = set()
        self.added: dict[int, list[Op]] = {}
        groups: dict[Value, _Group] = {}
        for i, op in enumerate(block.ops):
            match op:
                case Store():
                    self.store(i, op, groups)
                case _:
                    self.close_seen(op, groups)
        for group in groups.values():
            self.merge(group)
        if not self.dropped:
            return False
        out: list[Op] = []
        for i, op in enumerate(block.ops):
            if op not in self.dropped:
                out.append(op)
            out += self.added.get(i, ())
        block.ops = out
        return True

    # ------------------------------------------------------------ groups

    def store(self, i: int, op: Store, groups: dict[Value, _Group]) -> None:
        place = place_of(op.pointer, op.offset)
        region = self.memory.region(op.pointer)
        changed = self.memory.clobbers(op)
        for root in [r for r, g in groups.items() if r is not place.root and g.region in changed]:
            self.merge(groups.pop(root))
        known = isinstance(op.value.type, IntTy) and region is not None and region is not Space.CTX
        group = groups.get(place.root)
        if not known or place.offset is None or region is None:
            if group is not None:
                self.merge(groups.pop(place.root))
            return
        if group is None:
            group = groups[place.root] = _Group(place.root, region)
        start, end = place.offset, place.offset + op.width
        if any(start < at + s.width and at < end for at, (_, s) in group.stores.items()):
            self.merge(group)
            group.stores.clear()
        group.stores[start] = (i, op)

    def close_seen(self, op: Op, groups: dict[Value, _Group]) -> None:
        """Merge the groups that ``op`` could see or change."""
        if not groups:
            return
        match op:
            case Load() | ops.Atomic():
                seen = self.memory.visible(op.pointer)
            case ops.CallHelper() | ops.CallKfunc() | ops.Call():
                for root in list(groups):
                    if root in self.memory.shown or not isinstance(root, Alloca):
                        self.merge(groups.pop(root))
                return
            case _:
                return
        for root in [r for r, g in groups.items() if g.region in seen]:
            self.merge(groups.pop(root))

    # ------------------------------------------------------------ merging

    def merge(self, group: _Group) -> None:
        starts = sorted(group.stores)
        i = 0
        while i < len(starts):
            i += self.merge_from(group, starts[i:])

    def merge_from(self, group: _Group, starts: list[int]) -> int:
        """Merge the first store with as many after it as fill an aligned wide one. Returns how many are
        done."""
        at = starts[0]
        for width in _WIDTHS:
            run_: list[tuple[int, Store]] = []
            end = at
            for start in starts:
                i, store = group.stores[start]
                if start != end or start + store.width > at + width:
                    break
                run_.append((i, store))
                end = start + store.width
            if end == at + width and len(run_) > 1 and self.aligned(group, at, width):
                made = self.wide_value([store for _, store in run_], width)
                if made is not None:
                    self.replace(run_, width, made)
                    return len(run_)
        return 1

    def aligned(self, group: _Group, at: int, width: int) -> bool:
        if self.unaligned and may_be_unaligned(group.root):
            return True
        return known_alignment(Place(group.root, at)) >= width

    def replace(self, run_: list[tuple[int, Store]], width: int, made: tuple[Value, list[Op]]) -> None:
        value, new = made
        last, _ = max(run_, key=lambda pair: pair[0])
        first = run_[0][1]
        store = Store(first.pointer, first.offset, width, value, span=first.span)
        if isinstance(value, Load) and value in new:
            after = max(self.position[s.value] for _, s in run_ if isinstance(s.value, Load))
            self.added.setdefault(after, []).append(value)
            new = [op for op in new if op is not value]
        self.added.setdefault(last, []).extend([*new, store])
        self.dropped.update(store for _, store in run_)

    def wide_value(self, stores: list[Store], width: int) -> tuple[Value, list[Op]] | None:
        """The value of the wide store with the operations that make it; None where there is none that is
        cheap."""
        values = [s.value for s in stores]
        if all(isinstance(v, Const) for v in values):
            total, shift = 0, 0
            for store in stores if self.little_endian else reversed(stores):
                assert isinstance(store.value, Const)
                total |= (store.value.value & _mask(store.width)) << shift
                shift += store.width * 8
            if width == 8 and total >> 31 not in (0, (1 << 33) - 1):
                return None  # needs an instruction of two slots and a register
            constant = const(total, I64, stores[0].span)
            return constant, [constant]
        fits = values[0].type == I64 and not possible_bits(values[0]) >> stores[0].width * 8
        zeros = all(isinstance(s.value, Const) and not s.value.value & _mask(s.width) for s in stores[1:])
        if self.little_endian and fits and zeros:
            return values[0], []
        return self.wide_load(stores, width)

    def wide_load(self, stores: list[Store], width: int) -> tuple[Value, list[Op]] | None:
        """One load for the values of ``stores``, if they were loaded one behind the other from memory that
        nothing has changed since."""
        loads: list[Load] = []
        for store in stores:
            value = store.value
            if not isinstance(value, Load) or value not in self.position or value.width != store.width:
                return None
            if value.type != I64 or len(self.uses[value]) != 1 or value in self.dropped:
                return None
            loads.append(value)
        first = loads[0]
        offset = first.offset
        for load in loads:
            if load.pointer is not first.pointer or load.offset != offset:
                return None
            offset += load.width
        if not self.may_load(first, width):
            return None
        places = sorted(self.position[load] for load in loads)
        region = self.memory.region(first.pointer)
        for op in self.ops[places[0] : places[-1]]:
            if region in self.memory.clobbers(op):
                return None
        wide = Load(first.pointer, first.offset, width, type=I64, span=first.span, name=first.name)
        return wide, [wide]

    def may_load(self, first: Load, width: int) -> bool:
        space = first.pointer.type.space if isinstance(first.pointer.type, PtrTy) else Space.CTX
        if space in (Space.CTX, Space.SOCKET, Space.KERNEL):
            return False
        if self.unaligned and may_be_unaligned(first.pointer):
            return True
        return known_alignment(place_of(first.pointer, first.offset)) >= width


def _mask(width: int) -> int:
    """All bits of ``width`` bytes."""
    return (1 << width * 8) - 1
