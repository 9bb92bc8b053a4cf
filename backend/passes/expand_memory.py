"""Zeroing and copying as loads and stores, as wide as the alignment allows.

::

    memzero %1 + 0, 12 align 4               %2 = const i64 0
                                             store.4 %1 + 0, %2
                                      →      store.4 %1 + 4, %2
                                             store.4 %1 + 8, %2

A slot of the stack knows its alignment better than the operation may, and the kernel's verifier insists on it
there; elsewhere narrower accesses than possible only cost time, and on machines that load unaligned words
(``unaligned``) every width is allowed outside the stack.

What would take more than ``STRAIGHT`` pieces becomes a loop of ``ROUND`` pieces at a time, with the rest behind it. The
verifier follows it: its counter is known in every iteration.

Requires: ``addressing`` before, so that offsets are final. Invalidates: no ``MemZero`` or ``MemCopy`` is
left.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.backend.passes.addresses import chunks, known_alignment, may_be_unaligned, place_of
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.edit import block_names, rename_predecessor
from pyebpf.ir.ops import (
    Binary,
    BinOp,
    Block,
    Branch,
    Cmp,
    Function,
    Jump,
    Load,
    MemCopy,
    MemZero,
    Op,
    Phi,
    Pred,
    PtrAdd,
    Store,
    Value,
    const,
)
from pyebpf.ir.types import I1, I64, PtrTy, Space
from pyebpf.records import replace

if TYPE_CHECKING:
    from typing import Final


STRAIGHT: Final = 64
"""So many pieces are written one after another. What fits into a frame always is: the verifier compares stacks."""
ROUND: Final = 8
"""Pieces in one iteration."""


def run(function: Function, *, unaligned: bool = False) -> bool:
    """Expand all of them. Returns whether there were any."""
    changed = False
    names = block_names(function)
    blocks = list(function.blocks)
    function.blocks = []
    for block in blocks:
        out = _Output(function, block, names.fresh)
        for op in list(block.ops):
            match op:
                case MemZero():
                    out.zero(op, _aligned(op.pointer, op.offset, op.align, unaligned))
                    changed = True
                case MemCopy():
                    target = _aligned(op.target, op.target_offset, op.align, unaligned)
                    source = _aligned(op.source, op.source_offset, op.align, unaligned)
                    out.copy(op, min(target, source))
                    changed = True
                case _:
                    out.ops.append(op)
        out.finish(block)
    return changed


class _Output:
    """The blocks that one block becomes. ``ops``: those of the last of them, so far."""

    def __init__(self, function: Function, block: Block, fresh: Callable[[str], str]) -> None:
        self.function = function
        self.fresh = fresh
        self.block = block
        self.ops: list[Op] = []
        function.blocks.append(block)

    def finish(self, original: Block) -> None:
        """The last block leads to where the ``original`` led."""
        self.block.ops = self.ops
        if self.block is not original:
            for successor in self.block.successors():
                rename_predecessor(successor, original, self.block)

    def zero(self, op: MemZero, align: int) -> None:
        """``op`` as stores."""
        if _straight(op.pointer, op.size, align):
            self.ops += _zeroed(op, align)
            return
        looped, step = _split(op.size, align)
        offset = self._begin(op.span)
        self.ops += _zeroed(
            replace(op, pointer=_moved(op.pointer, offset, op.span, self.ops), size=step), align
        )
        self._end(offset, step, looped, op.span)
        if looped < op.size:
            self.ops += _zeroed(replace(op, offset=op.offset + looped, size=op.size - looped), align)

    def copy(self, op: MemCopy, align: int) -> None:
        """``op`` as loads and stores."""
        if _straight(op.target, op.size, align):
            self.ops += _copied(op, align)
            return
        looped, step = _split(op.size, align)
        offset = self._begin(op.span)
        target = _moved(op.target, offset, op.span, self.ops)
        source = _moved(op.source, offset, op.span, self.ops)
        self.ops += _copied(replace(op, target=target, source=source, size=step), align)
        self._end(offset, step, looped, op.span)
        if looped < op.size:
            rest = replace(
                op,
                target_offset=op.target_offset + looped,
                source_offset=op.source_offset + looped,
                size=op.size - looped,
            )
            self.ops += _copied(rest, align)

    def _begin(self, span: Span | None) -> Phi:
        """Go on in the body of a loop; the offset in it."""
        start = const(0, I64, span)
        body = Block(self.fresh("words"))
        self.block.ops = [*self.ops, start, Jump(body, span=span)]
        offset = Phi({self.block: start}, type=I64, span=span)
        self._go(body, [offset])
        return offset

    def _end(self, offset: Phi, step: int, limit: int, span: Span | None) -> None:
        """End the body: again until ``offset`` is ``limit``."""
        width, end = const(step, I64, span), const(limit, I64, span)
        following = Binary(BinOp.ADD, offset, width, type=I64, span=span)
        more = Cmp(Pred.ULT, following, end, type=I1, span=span)
        body, rest = self.block, Block(self.fresh("filled"))
        offset.incoming[body] = following
        body.ops = [*self.ops, width, following, end, more, Branch(more, body, rest, span=span)]
        self._go(rest, [])

    def _go(self, block: Block, ops: list[Op]) -> None:
        self.block, self.ops = block, ops
        self.function.blocks.append(block)


def _straight(pointer: Value, size: int, align: int) -> bool:
    on_stack = isinstance(pointer.type, PtrTy) and pointer.type.space is Space.STACK
    return on_stack or size // align <= STRAIGHT


def _split(size: int, align: int) -> tuple[int, int]:
    """How many bytes the iterations take together, and each of them."""
    step = ROUND * align
    return size // step * step, step


def _moved(pointer: Value, offset: Value, span: Span | None, out: list[Op]) -> Value:
    assert isinstance(pointer.type, PtrTy)
    moved = PtrAdd(pointer, offset, type=replace(pointer.type, size=None), span=span)
    out.append(moved)
    return moved


def _aligned(pointer: Value, offset: int, align: int, unaligned: bool) -> int:
    """The alignment that accesses at ``pointer + offset`` may count on."""
    if unaligned and may_be_unaligned(pointer):
        return 8
    return max(align, known_alignment(place_of(pointer, offset)))


def _zeroed(op: MemZero, align: int) -> list[Op]:
    zero = const(0, I64, op.span)
    stores = [
        Store(op.pointer, offset, width, zero, span=op.span)
        for offset, width in chunks(op.offset, op.size, align)
    ]
    return [zero, *stores]


def _copied(op: MemCopy, align: int) -> list[Op]:
    out: list[Op] = []
    for at, width in chunks(0, op.size, align):
        value = Load(op.source, op.source_offset + at, width, type=I64, span=op.span)
        out += [value, Store(op.target, op.target_offset + at, width, value, span=op.span)]
    return out
