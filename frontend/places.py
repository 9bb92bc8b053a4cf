"""Attributes and subscripts: what they read, and the places that they name for assignment.

A ``Place`` is memory (``ref``), or something that is read and written by operations of its own: a context field.
Which subject is asked is decided here by the kind of the base, once for reading and once for writing.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.declare import GlobalDecl, MapDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import aggregates, contexts, conversions, kernel_calls, kernel_types, maps, tree
from pyebpf.frontend.assignment import keep, storer
from pyebpf.frontend.expressions import (
    FOLDABLE,
    expression,
    fold,
    operand,
    refuse_construct,
    static_attribute,
)
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import ContextPtr, Kernel, Maybe, Origin, Ref, User
from pyebpf.frontend.values import (
    Caught,
    ContextPart,
    FoundInt,
    MaybeVariable,
    Method,
    Operand,
    Static,
    describe,
)
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, StructType
from pyebpf.records import dataclass


@dataclass(slots=True)
class Place:
    """Something that can be assigned to. ``ref`` is set where it is memory."""

    span: Span
    ref: tree.Expr | None
    read: Callable[[Context], Operand]
    write: Callable[[Context, Operand, Span], None]


def memory_place(ref: tree.Expr, what: str) -> Place:
    """The place behind a reference. ``what`` names it in messages."""

    def write(context: Context, found: Operand, span: Span) -> None:
        aggregates.write(context, ref, found, span, what)

    return Place(ref.span, ref, lambda _: conversions.read(ref), write)


# ---------------------------------------------------------------- attributes


@expression("Attribute")
def _attribute(context: Context, node: Any) -> Operand:
    return attribute(context, operand(context, node.expr), node.attrname, node)


def attribute(context: Context, base: Operand, name: str, node: Any) -> Operand:
    """``base.name`` as a value."""
    span = context.span(node)
    match base:
        case Static():
            return _static_attribute(context, base, name, span)
        case Method():
            raise context.refusal(
                Code.E0301, span, f"`{base.name}` is a method and has no attribute `{name}`"
            )
        case ContextPart():
            raise conversions.refuse_part(context, base)
        case FoundInt() | MaybeVariable():
            raise conversions.refuse_optional(context, base.span, "int")
    expr = conversions.runtime(context, base)
    match expr.type:
        case ContextPtr():
            return contexts.attribute(context, expr, name, span)
        case Ref(layout=StructType()):
            return conversions.read(aggregates.field(context, expr, name, span), span)
        case Ref():
            return Method(expr, name, span)
        case Kernel():
            found = kernel_types.member(context, expr, name, span)
            return kernel_types.read_place(context, found, found.type.of, span)
        case User(layout=StructType()):
            return kernel_calls.user_member(context, expr, name, span)
        case Maybe():
            raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
        case _:
            return Method(expr, name, span)


def _caught_errno(context: Context, caught: Caught, name: str, span: Span) -> Operand:
    """``e.errno`` of a caught OSError."""
    if name != "errno" or not caught.has_errno:
        raise context.refusal(
            Code.E0406,
            span,
            f"a caught exception has no `{name}` in programs",
            help="catch `OSError` to know its `errno`"
            if name == "errno"
            else "it has `errno`, if it is an `OSError`",
        )
    return tree.GetLocal(local=caught.errno, type=caught.errno.type, span=span)


def _always_none(context: Context, base: Static) -> Refused:
    return context.refusal(
        Code.E0311,
        base.span,
        "this is always `None` here",
        help="use it where it is something: `if x is not None: …`",
    )


def _static_attribute(context: Context, base: Static, name: str, span: Span) -> Operand:
    if base.value is None:
        raise _always_none(context, base)
    if isinstance(base.value, Caught):
        return _caught_errno(context, base.value, name, span)
    declaration = declaration_of(base.value)
    match declaration:
        case GlobalDecl():
            return conversions.read(global_value(context, declaration, name, span), span)
        case MapDecl():
            return Method(base, name, span)
        case _:
            return static_attribute(context, base, name, span)


def global_value(context: Context, declaration: GlobalDecl, name: str, span: Span) -> tree.Expr:
    """The storage of a global: ``counter.value``."""
    if name != "value":
        raise context.refusal(
            Code.E0203,
            span,
            f"a global has no attribute `{name}`",
            help=near(name, ["value"]) or "its value is `.value`",
        )
    context.use_global(declaration)
    origin = Origin.CONSTANT if declaration.constant else Origin.GLOBAL
    kind = Ref(declaration.layout, origin, shared=not declaration.constant)
    return tree.GlobalVar(decl=declaration, type=kind, span=span)


# ---------------------------------------------------------------- subscripts


@expression("Subscript")
def _subscript(context: Context, node: Any) -> Operand:
    base = operand(context, node.value)
    span = context.span(node)
    if isinstance(base, Static):
        return _static_subscript(context, base, node, span)
    if isinstance(base, ContextPart):
        return contexts.element(context, base, node, span)
    if isinstance(base, tree.Node) and isinstance(base.type, Kernel):
        return kernel_calls.element(context, base, operand(context, node.slice), span)
    ref = memory_base(context, base)
    return conversions.read(aggregates.subscript(context, ref, node, span), span)


def memory_base(context: Context, base: Operand) -> tree.Expr:
    """The base of a subscript, which must be an array or bytes in memory."""
    expr = conversions.runtime(context, base)
    if isinstance(expr.type, Ref) and isinstance(expr.type.layout, ArrayType | BytesType):
        return expr
    if isinstance(expr.type, Maybe):
        raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
    raise context.refusal(Code.E0301, expr.span, f"{describe(expr.type)} has no elements")


def _static_subscript(context: Context, base: Static, node: Any, span: Span) -> Operand:
    declaration = declaration_of(base.value)
    if isinstance(declaration, MapDecl):
        return maps.item(context, declaration, base, node, span)
    if not isinstance(base.value, tuple | bytes | str):
        if declaration is not None or not isinstance(base.value, FOLDABLE):
            raise context.refusal(
                Code.E0301, base.span, f"{conversions.what_is(base.value)} has no elements here"
            )
        conversions.runtime(context, base)
    whole: Any = base.value
    if type(node.slice).__name__ == "Slice":
        bounds = slice(*aggregates.slice_bounds(context, node.slice))
        return fold(context, span, lambda: whole[bounds])
    found = operand(context, node.slice)
    if isinstance(found, Static):
        index: Any = found.value
        return fold(context, span, lambda: whole[index])
    number = conversions.integer(context, found, "an integer as the index")
    return conversions.read(aggregates.table_element(context, base, number, span), span)


# ---------------------------------------------------------------- places


def place(context: Context, node: Any) -> Place:
    """The place that the target of an assignment names."""
    span = context.span(node)
    kind = type(node).__name__
    if kind in ("AssignAttr", "Attribute"):
        return _attribute_place(context, operand(context, node.expr), node.attrname, span)
    if kind != "Subscript":
        raise refuse_construct(context, node, where=" as the target of an assignment")
    base = operand(context, node.value)
    if isinstance(base, Static):
        declaration = declaration_of(base.value)
        if isinstance(declaration, MapDecl):
            return _map_place(context, declaration, node, span)
    if isinstance(base, ContextPart):
        return _context_place(context, contexts.element_of(context, base, node, span), span)
    ref = memory_base(context, base)
    return memory_place(aggregates.subscript(context, ref, node, span), "the element")


def _attribute_place(context: Context, base: Operand, name: str, span: Span) -> Place:
    if isinstance(base, Static):
        if base.value is None:
            raise _always_none(context, base)
        declaration = declaration_of(base.value)
        if isinstance(declaration, GlobalDecl):
            return memory_place(global_value(context, declaration, name, span), "the global")
        raise context.refusal(
            Code.E0207,
            span,
            f"attributes of {conversions.what_is(base.value)} cannot be assigned in a program",
            help="use `bpf.Global[T]` for variables that programs write",
        )
    expr = conversions.runtime(context, base)
    if isinstance(expr.type, ContextPtr):
        return _context_place(context, contexts.field_of(context, expr, name, span), span)
    if isinstance(expr.type, Ref) and isinstance(expr.type.layout, StructType):
        return memory_place(aggregates.field(context, expr, name, span), f"the field `{name}`")
    if isinstance(expr.type, Maybe):
        raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
    if isinstance(expr.type, Kernel | User):
        whose = "the kernel" if isinstance(expr.type, Kernel) else "a user"
        raise context.refusal(
            Code.E1207,
            span,
            f"the memory of {whose} cannot be written here",
            notes=["programs look at it; helpers such as `bpf.probe_write_user` write what may be written"],
        )
    raise context.refusal(Code.E0301, span, f"{describe(expr.type)} has no field `{name}`")


def _context_place(context: Context, found: contexts.Field, span: Span) -> Place:
    return Place(
        span,
        None,
        lambda now: contexts.read_field(now, found, span),
        lambda now, new, whole: contexts.write_field(now, found, new, whole),
    )


def _map_place(context: Context, declaration: MapDecl, node: Any, span: Span) -> Place:
    """``m[k]`` as the target of an augmented assignment: the value's own storage."""
    ref = maps.item_reference(context, declaration, node, span)
    return memory_place(ref, "the value of the map")


@storer("AssignAttr")
def _store_attribute(context: Context, target: Any, found: Operand, span: Span) -> None:
    found = keep(context, found)  # Python evaluates the value before the target
    base = operand(context, target.expr)
    _attribute_place(context, base, target.attrname, context.span(target)).write(context, found, span)


@storer("Subscript")
def _store_subscript(context: Context, target: Any, found: Operand, span: Span) -> None:
    found = keep(context, found)
    base_name = type(target.value).__name__
    if base_name in ("Name", "Attribute"):
        base = operand(context, target.value)
        if isinstance(base, Static) and isinstance(declaration_of(base.value), MapDecl):
            declaration = declaration_of(base.value)
            assert isinstance(declaration, MapDecl)
            maps.store_item(context, declaration, target, found, span)
            return
    place(context, target).write(context, found, span)
