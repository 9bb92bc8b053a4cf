"""The rules of integer arithmetic: which kind a result has, which interval, and what is refused.

Kinds. A result is ``u64`` where an operand is, else ``i64``; a product or left shift of values that are never
negative is ``u64`` also where it fits into ``u64`` but not into ``i64`` (two ``u32`` multiplied). ``&`` takes any mix;
other arithmetic of a ``u64`` with what may be negative is refused, because no 64-bit type holds the result.

Intervals take arithmetic not to wrap; where it may wrap, an ``i64`` interval is clamped (and not ``seen``), and a
``u64`` interval becomes everything. ``seen`` follows what the kernel's verifier tracks on every kernel from 6.1 on:
addition, subtraction and ``&`` of anything; multiplication, ``|``, ``^`` and shifts by a constant; no division.
"""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import tree
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.tree import ArithOp
from pyebpf.frontend.types import I64, I64_MAX, I64_MIN, U64, U64_MAX, Int

_U32_MAX = (1 << 32) - 1


def int_type(expr: tree.Expr) -> Int:
    """The type of an expression that is known to be an integer."""
    assert isinstance(expr.type, Int), expr
    return expr.type


def constant(value: int, span: Span) -> tree.IntConst:
    """An integer constant: ``i64`` where it fits, else ``u64``."""
    return tree.IntConst(value=value, type=Int(value > I64_MAX, value, value), span=span)


def as_kind(expr: tree.Expr, unsigned: bool) -> tree.Expr:
    """The same value in the other kind; only for values that both kinds hold."""
    kind = int_type(expr)
    if kind.unsigned == unsigned:
        return expr
    lo, hi = max(kind.lo, 0), min(kind.hi, I64_MAX)
    if isinstance(expr, tree.IntConst):
        return tree.IntConst(value=expr.value, type=Int(unsigned, lo, hi), span=expr.span)
    return tree.Reinterpret(operand=expr, type=Int(unsigned, lo, hi, kind.seen, kind.exact), span=expr.span)


def reinterpret(expr: tree.Expr, unsigned: bool) -> tree.Expr:
    """``u64(x)`` and ``i64(x)``: the same 64 bits in the other kind, whatever they are."""
    kind = int_type(expr)
    if kind.unsigned == unsigned:
        return expr
    if kind.nonnegative and kind.hi <= I64_MAX:
        return as_kind(expr, unsigned)
    if isinstance(expr, tree.IntConst):
        value = expr.value + (1 << 64) if unsigned else expr.value - (1 << 64)
        return tree.IntConst(value=value, type=Int(unsigned, value, value), span=expr.span)
    return tree.Reinterpret(operand=expr, type=U64 if unsigned else I64, span=expr.span)


def clamp(unsigned: bool, lo: int, hi: int, *, seen: bool, exact: bool) -> Int:
    """The interval of a result that would be ``lo … hi`` if it did not wrap."""
    if unsigned:
        return Int(True, lo, hi, seen and exact, exact) if lo >= 0 and hi <= U64_MAX else U64
    if lo >= I64_MIN and hi <= I64_MAX:
        return Int(False, lo, hi, seen and exact, exact)
    lo, hi = min(max(lo, I64_MIN), I64_MAX), max(min(hi, I64_MAX), I64_MIN)
    return I64 if (lo, hi) == (I64_MIN, I64_MAX) else Int(False, lo, hi, seen=False, exact=False)


def binary(context: Context, op: ArithOp, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    """``left op right`` on integers, converted to a common kind."""
    match op:
        case ArithOp.SHL | ArithOp.SHR:
            return _shift(context, op, left, right, span)
        case ArithOp.AND:
            return _and(left, right, span)
        case ArithOp.FLOORDIV | ArithOp.MOD:
            return _divide(context, op, left, right, span)
        case _:
            return _plain(context, op, left, right, span)


def _common_kind(context: Context, op: ArithOp, left: tree.Expr, right: tree.Expr, span: Span) -> bool:
    one, two = int_type(left), int_type(right)
    if one.unsigned != two.unsigned and not (one.nonnegative and two.nonnegative):
        raise refuse_mixed(context, op, left, right, span)
    return one.unsigned or two.unsigned


def refuse_mixed(context: Context, op: ArithOp, left: tree.Expr, right: tree.Expr, span: Span) -> Refused:
    """Refuse arithmetic of a ``u64`` with a value that may be negative."""
    signed = right if int_type(left).unsigned else left
    unsigned = left if signed is right else right
    return context.refusal(
        Code.E0303,
        span,
        f"`{op.value}` of a `u64` and a value that may be negative",
        labels=[Label(unsigned.span, "this is `u64`"), Label(signed.span, "this may be negative")],
        notes=["no 64-bit type holds every result"],
        help="say which is meant: convert one side with `i64(…)` or `u64(…)`",
    )


def _plain(context: Context, op: ArithOp, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    unsigned = _common_kind(context, op, left, right, span)
    one, two = int_type(left), int_type(right)
    corners: list[int]
    seen = one.seen and two.seen
    match op:
        case ArithOp.ADD:
            corners = [one.lo + two.lo, one.hi + two.hi]
        case ArithOp.SUB:
            corners = [one.lo - two.hi, one.hi - two.lo]
        case ArithOp.MUL:
            corners = [a * b for a in (one.lo, one.hi) for b in (two.lo, two.hi)]
            small = min(one.lo, two.lo) >= 0 and max(one.hi, two.hi) <= _U32_MAX
            seen = seen and small and (_is_constant(left) or _is_constant(right))
            if one.nonnegative and two.nonnegative and I64_MAX < max(corners) <= U64_MAX:
                unsigned = True
        case _:
            seen = seen and (_is_constant(left) or _is_constant(right))
            corners = list(_bits_interval(op, one, two, unsigned))
    kind = clamp(unsigned, min(corners), max(corners), seen=seen, exact=one.exact and two.exact)
    return tree.Arith(
        op=op, left=as_kind(left, unsigned), right=as_kind(right, unsigned), type=kind, span=span
    )


def _bits_interval(op: ArithOp, one: Int, two: Int, unsigned: bool) -> tuple[int, int]:
    """The interval of ``|`` and ``^``: within the least power of two that holds both operands."""
    bits = max(abs(v).bit_length() for v in (one.lo, one.hi, two.lo, two.hi))
    if one.nonnegative and two.nonnegative:
        return (max(one.lo, two.lo) if op is ArithOp.OR else 0), (1 << bits) - 1
    return max(-(1 << bits), I64_MIN), min((1 << bits) - 1, I64_MAX)


def _and(left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    one, two = int_type(left), int_type(right)
    unsigned = one.unsigned or two.unsigned
    bounding = [kind for kind in (one, two) if kind.nonnegative]
    if bounding:
        # A mask is written for the verifier to see: its bound is worth more than a smaller one that only we know.
        smallest = min(bounding, key=lambda kind: (not kind.seen, kind.hi))
        kind = Int(unsigned, 0, smallest.hi, smallest.seen, smallest.exact)
    else:
        lo, hi = _below(min(one.lo, two.lo)), max(one.hi, two.hi)
        kind = Int(False, lo, hi, False, one.exact and two.exact)
    return tree.Arith(
        op=ArithOp.AND,
        left=reinterpret(left, unsigned),
        right=reinterpret(right, unsigned),
        type=kind,
        span=span,
    )


def _below(value: int) -> int:
    """The greatest power of two with a minus sign that is not above ``value``."""
    return -(1 << (-value - 1).bit_length())


def _shift(context: Context, op: ArithOp, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    one, count = int_type(left), int_type(right)
    if count.lo < 0 or count.hi > 63:
        raise refuse_count(context, right)
    if not count.exact:
        # The interval took arithmetic not to wrap; a masked count stays in range also if it did.
        mask = tree.IntConst(value=63, type=Int(count.unsigned, 63, 63), span=right.span)
        right = tree.Arith(op=ArithOp.AND, left=right, right=mask, type=count, span=right.span)
    unsigned, seen = one.unsigned, one.seen and _is_constant(right)
    if op is ArithOp.SHR:
        corners = [v >> c for v in (one.lo, one.hi) for c in (count.lo, count.hi)]
    else:
        corners = [v << c for v in (one.lo, one.hi) for c in (count.lo, count.hi)]
        if one.nonnegative and I64_MAX < max(corners) <= U64_MAX:
            unsigned = True
            left = as_kind(left, True)
    kind = clamp(unsigned, min(corners), max(corners), seen=seen, exact=one.exact)
    return tree.Arith(op=op, left=left, right=as_kind(right, unsigned), type=kind, span=span)


def refuse_count(context: Context, count: tree.Expr) -> Refused:
    """Refuse a shift count that may leave 0…63."""
    kind = int_type(count)
    return context.refusal(
        Code.E0304,
        count.span,
        "the shift count is not known to be in 0…63",
        label=f"this is {interval(kind)}",
        notes=[
            "a 64-bit shift by 64 or more has no meaning in the kernel; Python would give a longer number"
        ],
        help="mask the count (`x << (n & 63)`) or test it first (`if n < 64:`)",
    )


def interval(kind: Int) -> str:
    """The interval of a type in words, for messages."""
    if kind.lo == kind.hi:
        return str(kind.lo)
    lo = {I64_MIN: "-2**63"}.get(kind.lo, str(kind.lo))
    hi = {I64_MAX: "2**63 - 1", U64_MAX: "2**64 - 1", _U32_MAX: "2**32 - 1"}.get(kind.hi, str(kind.hi))
    return f"in {lo} … {hi}"


def _divide(context: Context, op: ArithOp, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    one, two = int_type(left), int_type(right)
    if two.lo == two.hi == 0:
        raise context.refusal(
            Code.E0307,
            right.span,
            "this always divides by zero",
            help="write `raise ZeroDivisionError` if that is meant",
        )
    unsigned = _common_kind(context, op, left, right, span)
    may_be_zero = two.lo <= 0 <= two.hi or not two.exact
    if two.lo == two.hi and two.lo > 0 and two.lo & (two.lo - 1) == 0:
        return _divide_by_power(op, left, two.lo, span, unsigned)
    if may_be_zero:
        context.raises(tree.Exc.ZERO_DIVISION)
    if op is ArithOp.FLOORDIV:
        divisors = [d for d in (two.lo, two.hi, -1, 1) if two.lo <= d <= two.hi and d != 0]
        corners = [v // d for v in (one.lo, one.hi) for d in divisors]
    else:
        corners = [min(0, two.lo + 1), max(0, two.hi - 1)]
        if one.nonnegative and one.exact and two.nonnegative:
            corners = [0, min(one.hi, max(0, two.hi - 1))]
    exact = two.exact and (one.exact or (op is ArithOp.MOD and _is_constant(right)))
    return tree.Arith(
        op=op,
        left=as_kind(left, unsigned),
        right=as_kind(right, unsigned),
        may_be_zero=may_be_zero,
        type=clamp(unsigned, min(corners), max(corners), seen=False, exact=exact),
        span=span,
    )


def _divide_by_power(op: ArithOp, left: tree.Expr, divisor: int, span: Span, unsigned: bool) -> tree.Expr:
    """Floor division and remainder by a power of two are a shift and a mask, which the verifier can follow."""
    left = as_kind(left, unsigned)
    one = int_type(left)
    if op is ArithOp.MOD:
        mask = tree.IntConst(value=divisor - 1, type=Int(unsigned, divisor - 1, divisor - 1), span=span)
        hi = min(one.hi, divisor - 1) if one.nonnegative and one.seen else divisor - 1
        return tree.Arith(op=ArithOp.AND, left=left, right=mask, type=Int(unsigned, 0, hi), span=span)
    count = divisor.bit_length() - 1
    shift = tree.IntConst(value=count, type=Int(unsigned, count, count), span=span)
    kind = Int(unsigned, one.lo >> count, one.hi >> count, one.seen, one.exact)
    return tree.Arith(op=ArithOp.SHR, left=left, right=shift, type=kind, span=span)


def _is_constant(expr: tree.Expr) -> bool:
    return isinstance(expr, tree.IntConst)


def negate(operand: tree.Expr, span: Span) -> tree.Expr:
    """``-operand``. Of a ``u64`` it is ``0 - operand``, which wraps."""
    kind = int_type(operand)
    found = U64 if kind.unsigned else clamp(False, -kind.hi, -kind.lo, seen=False, exact=kind.exact)
    return tree.Negate(operand=operand, type=found, span=span)


def invert(operand: tree.Expr, span: Span) -> tree.Expr:
    """``~operand``: ``-x - 1``; of a ``u64`` all bits flipped."""
    kind = int_type(operand)
    found = (
        Int(True, U64_MAX - kind.hi, U64_MAX - kind.lo, False, kind.exact)
        if kind.unsigned
        else Int(False, ~kind.hi, ~kind.lo, False, kind.exact)
    )
    return tree.Invert(operand=operand, type=found, span=span)
