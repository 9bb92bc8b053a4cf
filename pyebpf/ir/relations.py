"""What comparisons of numbers say: whether the answer is known, and what either answer tells of both sides."""

from __future__ import annotations

from pyebpf.ir import bits, number
from pyebpf.ir.bounds import Bounds
from pyebpf.ir.number import Number
from pyebpf.ir.ops import Pred
from pyebpf.ir.predicates import INVERSE, MIRRORED, UNSIGNED


def decided(pred: Pred, a: Number, b: Number) -> bool | None:
    """Whether ``pred`` holds of all pairs of numbers (True), of none (False), or of some (None)."""
    match pred:
        case Pred.EQ:
            if a.constant is not None and a.constant == b.constant:
                return True
            return False if number.meet(a, b) is None else None
        case Pred.TEST:
            if a.known[0] & b.known[0]:
                return True
            return None if a.possible & b.possible else False
        case Pred.NE | Pred.UGE | Pred.SGE | Pred.UGT | Pred.SGT:
            opposite = decided(INVERSE[pred], a, b)
            return None if opposite is None else not opposite
        case _:
            place = 2 if pred in UNSIGNED else 0
            least, greatest = a.wide[place : place + 2]
            other_least, other_greatest = b.wide[place : place + 2]
            room = int(UNSIGNED.get(pred, pred) is Pred.ULT)  # how far the left side must be below the right
            if greatest + room <= other_least:
                return True
            return False if least + room > other_greatest else None


def assumed(pred: Pred, holds: bool, a: Number, b: Number) -> tuple[Number, Number] | None:
    """Both sides where ``pred`` holds, or where it does not; None where that cannot be."""
    if not holds:
        if pred is Pred.TEST:
            return _no_common_bit(a, b)
        pred = INVERSE[pred]
    match pred:
        case Pred.EQ:
            same = number.meet(a, b)
            return None if same is None else (same, same)
        case Pred.NE:
            left, right = _without(a, b.constant), _without(b, a.constant)
        case Pred.TEST:
            return _common_bit(a, b)
        case Pred.UGT | Pred.UGE | Pred.SGT | Pred.SGE:
            found = assumed(MIRRORED[pred], True, b, a)
            return None if found is None else (found[1], found[0])
        case _:
            room = int(UNSIGNED.get(pred, pred) is Pred.ULT)
            if pred in UNSIGNED:
                left = _bounded(a, (a.wide[0], a.wide[1], a.wide[2], min(a.wide[3], b.wide[3] - room)))
                right = _bounded(b, (b.wide[0], b.wide[1], max(b.wide[2], a.wide[2] + room), b.wide[3]))
            else:
                left = _bounded(a, (a.wide[0], min(a.wide[1], b.wide[1] - room), a.wide[2], a.wide[3]))
                right = _bounded(b, (max(b.wide[0], a.wide[0] + room), b.wide[1], b.wide[2], b.wide[3]))
    return None if left is None or right is None else (left, right)


def _bounded(a: Number, wide: Bounds) -> Number | None:
    return a if wide == a.wide else number.reduced(a.width, wide, a.low, a.known)


def _without(a: Number, value: int | None) -> Number | None:
    """``a``, which is not ``value``: at an end that moves the bound."""
    if value is None:
        return a
    signed = value - (1 << a.width) if value >> (a.width - 1) else value
    least, greatest, signed_least, signed_greatest = a.wide
    return _bounded(
        a,
        (
            least + (least == value),
            greatest - (greatest == value),
            signed_least + (signed_least == signed),
            signed_greatest - (signed_greatest == signed),
        ),
    )


def _common_bit(a: Number, b: Number) -> tuple[Number, Number] | None:
    common = a.possible & b.possible
    if common & (common - 1):
        return a, b
    if common == 0:
        return None
    left, right = _with_bit(a, common), _with_bit(b, common)
    return None if left is None or right is None else (left, right)


def _with_bit(a: Number, bit: int) -> Number | None:
    known = bits.meet(a.known, (bit, (1 << a.width) - 1 & ~bit))
    return None if known is None else number.reduced(a.width, a.wide, a.low, known)


def _no_common_bit(a: Number, b: Number) -> tuple[Number, Number] | None:
    if a.known[0] & b.known[0]:
        return None
    left = number.reduced(a.width, a.wide, a.low, (a.known[0], a.known[1] & ~b.known[0]))
    right = number.reduced(b.width, b.wide, b.low, (b.known[0], b.known[1] & ~a.known[0]))
    return None if left is None or right is None else (left, right)
