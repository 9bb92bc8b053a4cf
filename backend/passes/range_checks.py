"""Range checks: comparisons whose answer the kernel's verifier knows become constants.

::

    small: %2 = const i64 4                  small: %2 = const i64 4
           %3 = mul i64 %x, %2                      %3 = mul i64 %x, %2
           %4 = const i64 64           →            %4 = const i64 64
           %5 = cmp ult %3, %4                      %5 = const i1 1
           branch %5, ok, fail                      branch %5, ok, fail

(``small`` is where ``%x`` was found below 16.) Checks that the front end makes, or that come together when functions
are inlined, are often decided by checks and masks before.

A check may go only where the verifier knows without it what it would know behind it, in every version: else the access
that the check protects would be refused. So what decides is ``View.VERIFIER`` of ``pyebpf.ir.ranges``: no more than what
the verifier derives of the same operations and the same comparisons with constants, and nothing of what went through
memory, of divisions, or of operations of two unknown numbers that older versions do not follow. A number that is found
to be what it cannot be (``x == 300`` behind ``x < 200``, but computed before) is taken for unknown, because old verifiers
go on with it.

Requires: to run before ``narrow``, because what the verifier makes of 32-bit operations differs by version; ``simplify``
before, which puts constants on the right. Invalidates: nothing; decided branches are left to ``constant_folding``.
"""

from __future__ import annotations

from pyebpf.ir.edit import substitute
from pyebpf.ir.ops import Cmp, Const, Function, Op, Value, const
from pyebpf.ir.ranges import Ranges, View
from pyebpf.ir.types import I1, I64


def run(function: Function) -> bool:
    """Replace decided comparisons. Returns whether anything changed."""
    if not any(_is_range_check(op) for op in function.ops()):
        return False
    ranges = Ranges(function, View.VERIFIER)
    forgotten: frozenset[Value] = frozenset()
    while not ranges.contradicted <= forgotten:
        forgotten |= ranges.contradicted
        ranges = Ranges(function, View.VERIFIER, forgotten=forgotten)
    decided: dict[Value, Value] = {}
    for block in function.blocks:
        out: list[Op] = []
        for op in block.ops:
            known = ranges.of(op) if _is_range_check(op) else None
            if known is None or known.constant is None:
                out.append(op)
                continue
            answer = const(known.constant, I1, op.span)
            answer.name = op.name
            decided[op] = answer
            out.append(answer)
        block.ops = out
    substitute(function, decided)
    return bool(decided)


def _is_range_check(op: Op) -> bool:
    return isinstance(op, Cmp) and op.left.type == I64 and isinstance(op.right, Const)
