"""Dead stores: bytes of slots and of ring-buffer records that are overwritten, or given up, before anybody
reads them.

::

    %event = helper ringbuf_reserve(…)       %event = helper ringbuf_reserve(…)
    memzero %event.1 + 0, 16 align 8         memzero %event.1 + 12, 4 align 4
    store.8 %event.1 + 0, %time       →      store.8 %event.1 + 0, %time
    store.4 %event.1 + 8, %length            store.4 %event.1 + 8, %length
    helper ringbuf_submit(%event.1, %0)      helper ringbuf_submit(%event.1, %0)

For each object and each byte it is computed backwards over the whole function whether the byte may be read
before it is written again. Loads read; so do helpers, as far as the kind of the argument says; submitting a
record reads all of it, discarding it and returning from the function read nothing. An object whose address is
stored, joined or passed to a function may be read by every call. A ``memzero`` shrinks to the bytes that are
needed, where that takes fewer stores.

Requires: ``addressing`` before helps. Invalidates: nothing.
"""

from __future__ import annotations

from pyebpf.backend.passes.addresses import Place, alignment, chunks, place_of
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import predecessors, reverse_postorder, uses
from pyebpf.ir.ops import Alloca, Block, CallHelper, Const, Function, MemCopy, MemZero, Op, Store, Value
from pyebpf.ir.types import PtrTy, Space
from pyebpf.uapi.helpers import WRITTEN, ArgKind, helper_by_id, helper_by_name

if TYPE_CHECKING:
    from typing import Final


_Live = dict[Value, int]
"""For each object the bytes that may be read, as a mask; objects that are not in it have none."""

_DISCARD: Final = helper_by_name("ringbuf_discard")
_REACHED: Final = (Space.STACK, Space.MEM, Space.RINGBUF)


def run(function: Function) -> bool:
    """Drop dead stores and shrink zeroings. Returns whether anything changed."""
    return _DeadStores(function).run()


class _DeadStores:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.size: dict[Value, int] = {}
        for op in function.ops():
            if isinstance(op, Alloca):
                self.size[op] = op.size
            elif isinstance(op, CallHelper) and isinstance(op.type, PtrTy) and op.type.space is Space.RINGBUF:
                self.size[op] = op.type.size or 0
        self.leaked: set[Value] = set()

    def run(self) -> bool:
        if not self.size:
            return False
        self.find_leaks()
        order = reverse_postorder(self.function)
        preds = predecessors(self.function)
        live_in: dict[Block, _Live] = {}
        work = list(order)
        waiting = set(order)
        while work:
            block = work.pop()
            waiting.discard(block)
            live = self.through(block, self.live_out(block, live_in), None)
            if live != live_in.get(block):
                live_in[block] = live
                new = [p for p in preds[block] if p not in waiting]
                waiting.update(new)
                work.extend(new)
        changed = False
        for block in order:
            out: list[Op] = []
            self.through(block, self.live_out(block, live_in), out)
            out.reverse()
            if len(out) != len(block.ops) or any(a is not b for a, b in zip(out, block.ops, strict=True)):
                block.ops = out
                changed = True
        return changed

    def find_leaks(self) -> None:
        users = uses(self.function)
        for root in self.size:
            work = [root]
            while work:
                pointer = work.pop()
                for user in users[pointer]:
                    match user:
                        case ops.PtrAdd() | ops.NonNull():
                            work.append(user)
                        case ops.Load() | MemZero() | MemCopy() | ops.Atomic() | CallHelper():
                            pass
                        case ops.Cmp() | ops.CompareBranch():
                            pass
                        case Store() if user.value is not pointer:
                            pass
                        case _:
                            self.leaked.add(root)

    def live_out(self, block: Block, live_in: dict[Block, _Live]) -> _Live:
        live: _Live = {}
        for successor in block.successors():
            for root, mask in live_in.get(successor, {}).items():
                live[root] = live.get(root, 0) | mask
        return live

    # ------------------------------------------------------------ one block

    def through(self, block: Block, live: _Live, out: list[Op] | None) -> _Live:
        """What is live at the start of a block. ``out`` collects the operations that stay, last first."""
        for op in reversed(block.ops):
            kept: list[Op] = [op]
            match op:
                case Store():
                    kept = self.written(op, op.pointer, op.offset, op.width, live)
                case MemZero():
                    kept = self.written(op, op.pointer, op.offset, op.size, live)
                case MemCopy():
                    kept = self.written(op, op.target, op.target_offset, op.size, live)
                    if kept:
                        self.read(place_of(op.source, op.source_offset), op.size, live)
                case ops.Load():
                    self.read(place_of(op.pointer, op.offset), op.width, live)
                case ops.Atomic():
                    self.read(place_of(op.pointer, op.offset), op.width, live)
                case CallHelper():
                    self.helper(op, live)
                case ops.Call() | ops.CallKfunc():
                    self.read_leaked(live)
                case _:
                    pass
            if out is not None:
                out.extend(reversed(kept))
        return live

    def mask(self, root: Value, offset: int | None, size: int) -> int:
        """The bytes from ``offset`` on; all of the object if that is not known."""
        everything = (1 << self.size[root]) - 1
        return everything if offset is None or offset < 0 else everything & ((1 << size) - 1) << offset

    def read(self, place: Place, size: int, live: _Live) -> None:
        if place.root in self.size:
            live[place.root] = live.get(place.root, 0) | self.mask(place.root, place.offset, size)
        elif isinstance(place.root.type, PtrTy) and place.root.type.space in _REACHED:
            self.read_leaked(live)

    def read_leaked(self, live: _Live) -> None:
        for root in self.leaked:
            live[root] = self.mask(root, None, 0)

    def written(self, op: Op, pointer: Value, offset: int, size: int, live: _Live) -> list[Op]:
        """What is left of a write, and in ``live`` what is live before it."""
        place = place_of(pointer, offset)
        root = place.root
        if root not in self.size:
            return [op]
        wanted = live.get(root, 0)
        if place.offset is None or place.offset < 0:
            return [op] if wanted else []
        mask = self.mask(root, place.offset, size)
        live[root] = wanted & ~mask
        if not live[root]:
            del live[root]
        needed = wanted & mask
        if not needed:
            return []
        if isinstance(op, MemZero) and needed != mask:
            return self.shrunk(op, root, needed, place.offset)
        return [op]

    def helper(self, op: CallHelper, live: _Live) -> None:
        if _DISCARD is not None and op.helper == _DISCARD.id:
            root = place_of(op.args[0]).root
            if root not in self.leaked:
                live.pop(root, None)
                return
        live.pop(op, None)
        self.read_leaked(live)
        row = helper_by_id(op.helper)
        kinds = [arg.kind for arg in row.args] if row else []
        for i, arg in enumerate(op.args):
            if not isinstance(arg.type, PtrTy):
                continue
            kind = kinds[i] if i < len(kinds) else ArgKind.SCALAR
            if kind in WRITTEN and kind is not ArgKind.RDWR_MEM:
                continue  # perhaps written, but not for certain
            place = place_of(arg)
            size = op.args[i + 1] if i + 1 < len(op.args) else None
            known = kind is ArgKind.MEM and isinstance(size, Const)
            self.read(place, size.value if known and isinstance(size, Const) else 1 << 16, live)

    def shrunk(self, op: MemZero, root: Value, needed: int, start: int) -> list[Op]:
        """Zeroings of the runs of ``needed`` bytes, or ``op`` as it is if those are not cheaper."""
        runs: list[tuple[int, int]] = []
        for byte in range(start, start + op.size):
            if not needed >> byte & 1:
                continue
            if runs and sum(runs[-1]) == byte:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((byte, 1))
        align = root.align if isinstance(root, Alloca) else 8
        cost = sum(len(list(chunks(at, size, alignment(at, align)))) for at, size in runs)
        if cost >= len(list(chunks(start, op.size, max(op.align, alignment(start, align))))):
            return [op]
        delta = op.offset - start
        return [
            MemZero(op.pointer, at + delta, size, alignment(at, align), span=op.span) for at, size in runs
        ]
