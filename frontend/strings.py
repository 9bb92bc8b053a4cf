"""Byte strings: comparison with constants and with each other, ``startswith``, length."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arguments import arguments
from pyebpf.frontend.arithmetic import constant as number
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import Int, Origin, Ref
from pyebpf.frontend.values import Method, Operand, Static
from pyebpf.hints import Any
from pyebpf.layout import U8, BytesType


def capacity(expr: tree.Expr) -> int:
    """How many bytes a byte string can hold."""
    assert isinstance(expr.type, Ref) and isinstance(expr.type.layout, BytesType)
    return expr.type.layout.length


def equal_bytes(context: Context, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr | bool:
    """Whether two byte strings are equal. Tails are zero, so the whole storage may be compared.

    A shorter one equals a longer one only if that has a NUL where the shorter ends.
    """
    if isinstance(right, tree.ConstData) or isinstance(left, tree.ConstData):
        constant, other = (right, left) if isinstance(right, tree.ConstData) else (left, right)
        assert isinstance(constant, tree.ConstData)
        return _equals_constant(other, constant, span)
    if capacity(left) == capacity(right):
        return tree.EqualBytes(left=left, right=right, length=capacity(left), span=span)
    shorter, longer = sorted((left, right), key=capacity)
    if not isinstance(longer, tree.GetLocal):
        raise context.refusal(
            Code.E0310,
            span,
            f"byte strings of {capacity(left)} and {capacity(right)} bytes are compared",
            help="compare slices of the same length",
        )
    same = tree.EqualBytes(left=shorter, right=longer, length=capacity(shorter), span=span)
    return tree.Logic(conjunction=True, operands=(same, _ends_at(longer, capacity(shorter), span)), span=span)


def _equals_constant(other: tree.Expr, constant: tree.ConstData, span: Span) -> tree.Expr | bool:
    data = constant.data
    room = capacity(other)
    if len(data) > room:
        return False
    # The constant with its terminating NUL, as far as there is room for it.
    padded = data + b"\0" if len(data) < room else data
    kind = Ref(BytesType(len(padded)), Origin.CONSTANT)
    whole = tree.ConstData(data=padded, type=kind, label=constant.label, span=constant.span)
    return tree.EqualBytes(left=other, right=whole, length=len(padded), span=span)


def _ends_at(expr: tree.Expr, position: int, span: Span) -> tree.Expr:
    assert isinstance(expr.type, Ref)
    byte = tree.ElementOf(
        base=expr,
        index=number(position, span),
        checked=False,
        type=Ref(U8, expr.type.origin, expr.type.shared, expr.type.owner),
        span=span,
    )
    return tree.Compare(op=tree.CompareOp.EQ, left=conversions.read(byte), right=number(0, span), span=span)


def length(context: Context, expr: tree.Expr, span: Span) -> tree.Expr:
    """``len`` of a byte string in memory."""
    del context
    return tree.LengthOfBytes(ref=expr, type=Int(False, 0, capacity(expr), seen=False), span=span)


def call_method(context: Context, method: Method, call: Any) -> Operand:
    """``text.startswith(b"…")``."""
    if method.name != "startswith":
        raise context.refusal(
            Code.E0904,
            method.span,
            f"byte strings have no method `{method.name}` in programs",
            help=near(method.name, ["startswith"]) or "they have `startswith`",
        )
    given = arguments(context, call, ("prefix",))
    found = given.values[0]
    assert not isinstance(method.receiver, Static)
    if not isinstance(found, Static) or not isinstance(found.value, bytes):
        if isinstance(found, Static):
            conversions.runtime(context, found)
        raise context.refusal(Code.E0301, given.spans[0], "the prefix must be a bytes constant")
    prefix, span = found.value, context.span(call)
    if not prefix or len(prefix) > capacity(method.receiver):
        conversions.refuse_unevaluated(context, method.receiver, span, "the result of this is known")
    if not prefix:
        return Static(True, span)
    if len(prefix) > capacity(method.receiver):
        return Static(False, span)
    constant = conversions.byte_string(prefix, given.spans[0])
    return tree.EqualBytes(left=method.receiver, right=constant, length=len(prefix), span=span)
