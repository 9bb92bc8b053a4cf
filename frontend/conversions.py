"""From operands to tree nodes of a wanted type: constants become nodes, bools integers, values fit their places.

``runtime`` makes a tree node of anything that has one; ``integer``, ``boolean`` and ``reference`` demand a kind;
``convert`` fits a value to a variable or parameter, ``stored`` to a place in memory.
"""

from __future__ import annotations

import types

from pyebpf import btf, enums
from pyebpf.codes import Code
from pyebpf.declare import (
    Builtin,
    ContextDecl,
    FunctionDecl,
    GlobalDecl,
    HelperDecl,
    MapDecl,
    ProgramDecl,
    declaration_of,
)
from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.arithmetic import as_kind, constant, int_type, reinterpret
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.types import (
    BOOL,
    I64_MIN,
    U64_MAX,
    Bool,
    ContextPtr,
    Int,
    Kernel,
    Maybe,
    NoneT,
    Origin,
    Ref,
    Trust,
    Type,
    User,
)
from pyebpf.frontend.values import (
    BOOL_AS_INT,
    ContextPart,
    FoundInt,
    Items,
    MaybeVariable,
    Method,
    Operand,
    Static,
    describe,
    inert,
)
from pyebpf.hints import TYPE_CHECKING
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, Order, StructType

if TYPE_CHECKING:
    from typing import TypeGuard


def runtime(context: Context, operand: Operand) -> tree.Expr:
    """The operand as a tree node; refuses what has no run-time value."""
    match operand:
        case Static():
            return _constant(context, operand)
        case Method():
            raise _refuse_method(context, operand)
        case ContextPart():
            raise refuse_part(context, operand)
        case Items():
            raise context.refusal(
                Code.E0301,
                operand.span,
                "a tuple is not a value here",
                notes=["tuples can be unpacked, iterated over and searched with `in`"],
                help="use a struct to keep values together",
            )
        case FoundInt() | MaybeVariable():
            raise refuse_optional(context, operand.span, "int")
        case _:
            return operand


def _constant(context: Context, operand: Static) -> tree.Expr:
    value, span = operand.value, operand.span
    match value:
        case bool():
            return tree.IntConst(value=int(value), type=BOOL, span=span)
        case int():
            number = int(value)
            if not I64_MIN <= number <= U64_MAX:
                raise context.refusal(
                    Code.E0206,
                    span,
                    f"{number} does not fit into 64 bits",
                    notes=["values are 64-bit: from -2**63 to 2**64 - 1"],
                )
            return constant(number, span)
        case float():
            raise refuse_float(context, span)
        case bytes():
            return byte_string(value, span)
        case None:
            raise context.refusal(
                Code.E0301,
                span,
                "`None` is not a value here",
                help="optional values are tested with `is None`",
            )
        case str():
            raise context.refusal(
                Code.E0308,
                span,
                "a `str` is not a value of programs",
                notes=["strings are bytes in the kernel"],
                help=f"write a bytes literal: `b{_quoted(value)}`"
                if value.isascii()
                else f"encode it: `{_quoted(value)}.encode()`",
            )
        case _:
            raise context.refusal(
                Code.E0204, span, f"{what_is(value)} is not a value of programs", help=_instead_of(value)
            )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def refuse_float(context: Context, span: Span) -> Refused:
    """Refuse a floating-point number."""
    return context.refusal(
        Code.E0302,
        span,
        "floating-point numbers do not exist in programs",
        notes=[
            "the kernel has no floating point; constant expressions may use it if their result is an integer"
        ],
        help="use integers in a smaller unit, such as nanoseconds or permille",
    )


def what_is(value: object) -> str:
    """A Python object in words, for messages."""
    match declaration_of(value):
        case MapDecl():
            return "a map"
        case GlobalDecl():
            return "a global"
        case IntType() | StructType() | BytesType() | ArrayType() | ContextDecl():
            return "a type"
        case ProgramDecl():
            return "a program"
        case FunctionDecl() | HelperDecl() | Builtin():
            return "a function"
    if enums.is_member(value):
        return f"the member `{value}` of an enum without integer values"
    if isinstance(value, types.ModuleType):
        return f"the module `{value.__name__}`"
    if isinstance(value, type):
        return f"the class `{value.__name__}`"
    if callable(value):
        return "a function"
    name = type(value).__name__
    return f"an object of type `{name}`"


def _instead_of(value: object) -> str | tuple[str, ...]:
    if enums.is_member(value):
        return "use an `IntEnum`, or `.value`"
    match value:
        case list() | dict() | set():
            return "use a tuple for constants, a map or an array for data that changes"
    match declaration_of(value):
        case GlobalDecl():
            return "its value is `.value`"
        case IntType() | StructType():
            return "call it to make a value"
        case FunctionDecl() | HelperDecl() | Builtin():
            return "call it"
    return ()


def _has_methods(of: Type) -> bool:
    return isinstance(of, ContextPtr) or (isinstance(of, Ref) and isinstance(of.layout, BytesType))


def _refuse_method(context: Context, method: Method) -> Refused:
    receiver = method.receiver
    if not isinstance(receiver, Static) and not _has_methods(receiver.type):
        return context.refusal(
            Code.E0301,
            method.span,
            f"{describe(receiver.type)} has no field `{method.name}`",
            help="an address becomes that of a struct by `bpf.cast(T, address)`"
            if isinstance(receiver.type, Int)
            else (),
        )
    return context.refusal(
        Code.E0301,
        method.span,
        f"`{method.name}` is a method, not a value",
        help=f"call it: `{method.name}(…)`",
    )


def refuse_part(context: Context, part: ContextPart) -> Refused:
    """Refuse the use of a context field that is no value: an array, or a pointer into the packet."""
    name, length = part.row.name, part.row.length
    if length is not None:
        return context.refusal(
            Code.E0301, part.span, f"`{name}` is an array of {length}", help=f"use its elements: `{name}[0]`"
        )
    return context.refusal(
        Code.E0707,
        part.span,
        f"`{name}` is a pointer, and there is no arithmetic on pointers",
        help="read the packet with `read(T, offset)`; its length is `ctx.data_end - ctx.data`, or `len(ctx)`",
    )


def refuse_optional(context: Context, span: Span, kind: str) -> Refused:
    """Refuse the use of a value that may be None."""
    return context.refusal(
        Code.E0311,
        span,
        "this may be `None`",
        label=f"{kind} | None",
        help="test it first: `if x is None: …`",
    )


def byte_string(data: bytes, span: Span, label: str = "") -> tree.ConstData:
    """A constant byte string in ``.rodata``."""
    kind = Ref(BytesType(max(1, len(data))), Origin.CONSTANT)
    return tree.ConstData(data=data, type=kind, label=label, span=span)


def integer(context: Context, operand: Operand, what: str = "an integer") -> tree.Expr:
    """The operand as an ``Int``; bools count as 0 and 1, as in Python."""
    expr = runtime(context, operand)
    match expr.type:
        case Int():
            return expr
        case Bool():
            return to_int(expr)
        case _:
            raise refuse_type(context, expr, what)


def integer_of(expr: tree.Expr) -> tree.Expr:
    """An Int, or a Bool as 0 or 1."""
    return to_int(expr) if isinstance(expr.type, Bool) else expr


def to_int(expr: tree.Expr) -> tree.Expr:
    """A Bool as 0 or 1."""
    if isinstance(expr, tree.IntConst):
        return constant(expr.value, expr.span)
    return tree.ToInt(operand=expr, type=BOOL_AS_INT, span=expr.span)


def refuse_type(context: Context, expr: tree.Expr, wanted: str) -> Refused:
    """Refuse a value because another kind is wanted."""
    match expr.type:
        case Maybe():
            return refuse_optional(context, expr.span, describe(expr.type.of))
        case NoneT():
            return context.refusal(Code.E0301, expr.span, f"this has no value, where {wanted} is wanted")
        case _:
            return context.refusal(
                Code.E0301, expr.span, f"this is {describe(expr.type)}, where {wanted} is wanted"
            )


def truth(context: Context, operand: Operand) -> tree.Expr:
    """Whether a value is true, as Python decides it: zero, None and empty byte strings are not."""
    expr = runtime(context, operand)
    match expr.type:
        case Bool():
            return expr
        case Int():
            return tree.Truth(operand=expr, span=expr.span)
        case Maybe(of=Ref(layout=BytesType() | IntType())):
            raise refuse_optional(context, expr.span, describe(expr.type.of))
        case Maybe():
            return tree.IsNone(operand=expr, negated=True, span=expr.span)
        case Kernel() | User():
            return tree.IsNone(operand=expr, negated=True, span=expr.span)
        case Ref(layout=BytesType()):
            return tree.Compare(
                op=tree.CompareOp.NE,
                left=read(first_byte(expr)),
                right=constant(0, expr.span),
                span=expr.span,
            )
        case _:
            raise refuse_type(context, expr, "something that can be true or false")


def first_byte(ref: tree.Expr) -> tree.Expr:
    """The first byte of a byte string, as a reference."""
    assert isinstance(ref.type, Ref)
    kind = Ref(IntType(8, False), ref.type.origin, ref.type.shared, ref.type.owner)
    return tree.ElementOf(base=ref, index=constant(0, ref.span), checked=False, type=kind, span=ref.span)


def scalar_type(layout: IntType) -> Int:
    """The type of an integer read from memory of ``layout``. The verifier loses the range of a byte swap."""
    swapped = layout.order is not Order.NATIVE and layout.bits > 8
    return Int(layout.bits == 64 and not layout.signed, layout.lo, layout.hi, seen=not swapped)


def read(ref: tree.Expr, span: Span | None = None) -> tree.Expr:
    """The value behind a reference: of a scalar the integer, of anything else the reference itself."""
    if isinstance(ref.type, Ref) and isinstance(ref.type.layout, IntType):
        return tree.Read(ref=ref, type=scalar_type(ref.type.layout), span=span or ref.span)
    return ref


def wrap(expr: tree.Expr, layout: IntType, span: Span | None = None) -> tree.Expr:
    """The low bits of an Int as ``layout`` holds them; nothing to do where it is known to fit."""
    kind = int_type(expr)
    wanted = scalar_type(layout)
    if isinstance(expr, tree.IntConst):
        return constant_as(layout, expr.value, span or expr.span)
    if layout.bits == 64:
        return reinterpret(expr, wanted.unsigned)
    if kind.exact and wanted.lo <= kind.lo and kind.hi <= wanted.hi:
        return as_kind(expr, False)
    return tree.Wrap(
        layout=layout, operand=expr, type=Int(False, wanted.lo, wanted.hi), span=span or expr.span
    )


def constant_as(layout: IntType, value: int, span: Span) -> tree.IntConst:
    """A constant as ``layout`` holds it."""
    held = layout(value)
    return tree.IntConst(value=held, type=Int(layout.bits == 64 and not layout.signed, held, held), span=span)


def to_variable(context: Context, expr: tree.Expr, wanted: Type) -> tree.Expr:
    """An expression as a value of a variable's type, with which its own type has been joined before."""
    match wanted, expr.type:
        case (Int(), Bool()):
            return as_kind(to_int(expr), wanted.unsigned)
        case (Int(), Int()):
            return as_kind(expr, wanted.unsigned)
        case (Kernel(trust=Trust.PROBED), Kernel(trust=Trust.TRACKED)):
            return tree.AddressAs(operand=expr, type=wanted, span=expr.span)
        case _:
            return expr


def stored(context: Context, operand: Operand, layout: Layout, what: str) -> tree.Expr:
    """The operand as it is stored into a place of ``layout``: an Int for scalars, a reference for the rest.

    ``what`` names the place in messages, such as "the field `port`".
    """
    match layout:
        case IntType():
            return integer(context, operand, f"an integer for {what}")
        case BytesType():
            return _stored_bytes(context, operand, layout, what)
        case StructType() | ArrayType():
            expr = runtime(context, operand)
            if isinstance(expr.type, Ref) and expr.type.layout == layout:
                return expr
            raise refuse_type(context, expr, f"{layout.name} for {what}")


def _stored_bytes(context: Context, operand: Operand, layout: BytesType, what: str) -> tree.Expr:
    expr = text_copy(runtime(context, operand), layout.length)
    if not isinstance(expr.type, Ref) or not isinstance(expr.type.layout, BytesType):
        raise refuse_type(context, expr, f"bytes for {what}")
    if expr.type.layout.length > layout.length:
        raise context.refusal(
            Code.E0507,
            expr.span,
            f"{expr.type.layout.length} bytes do not fit into {what}, which holds {layout.length}",
            help=f"take a part of it: `[:{layout.length}]`",
        )
    return expr


def is_text(of: btf.Type | None) -> TypeGuard[btf.Array]:
    """Whether it is an array of characters in the kernel; one of length 0 is as long as its string."""
    return isinstance(of, btf.Array) and btf.size_of(of.element) == 1


def text_copy(expr: tree.Expr, most: int) -> tree.Expr:
    """A string of the kernel as a copy of at most ``most`` bytes, its NUL among them; other values as they are."""
    if not isinstance(expr.type, Kernel) or not is_text(expr.type.of):
        return expr
    length = min(expr.type.of.length or most, most)
    return tree.FarCopy(address=expr, string=True, type=Ref(BytesType(length), Origin.LOCAL), span=expr.span)


def refuse_unevaluated(context: Context, found: Operand, span: Span, message: str) -> None:
    """Refuse an expression whose result is known beforehand, unless nothing is lost by not evaluating it."""
    if not inert(found):
        raise context.refusal(
            Code.E0310,
            span,
            message,
            notes=["what is evaluated here for nothing would have to be run all the same"],
            help="if it is to be run, write it as a statement of its own",
        )


def pointee(expr: tree.Expr) -> Ref | None:
    """The type of the storage that an expression refers to, None for other expressions."""
    return expr.type if isinstance(expr.type, Ref) else None


def refuse_read_only(context: Context, kind: Ref, span: Span) -> None:
    """Refuse writing to constant memory."""
    if kind.origin is Origin.CONSTANT:
        raise context.refusal(
            Code.E0505, span, "this is constant and cannot be written", help="make a copy with `bpf.copy(…)`"
        )
