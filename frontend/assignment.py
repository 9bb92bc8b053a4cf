"""Assignments: to variables, to unpacked tuples, and dispatch to fields, elements and maps.

``bind`` gives a variable a value and yields the value (``:=`` too); ``store`` writes what an assignment target
that is no name refers to.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import arithmetic, conversions, tree
from pyebpf.frontend.births import births_of
from pyebpf.frontend.expressions import capture, expression, operand, refuse_construct
from pyebpf.frontend.flow import Knowledge, Variable
from pyebpf.frontend.optionals import bind_reference, found_type, present_local
from pyebpf.frontend.packets import note_view, refuse_stale
from pyebpf.frontend.resources import acquire, refuse_lost
from pyebpf.frontend.session import Context, local_type
from pyebpf.frontend.types import BOOL, NONE, Bool, Int, Maybe, NoneT, Ref
from pyebpf.frontend.values import (
    FoundInt,
    Items,
    MaybeVariable,
    Operand,
    OptionalInt,
    Static,
    VariableType,
    describe,
)
from pyebpf.hints import Any

Storer = Callable[[Context, Any, Operand, Span], None]
_STORERS: dict[str, Storer] = {}


def storer(name: str) -> Callable[[Storer], Storer]:
    """Register how an assignment to an astroid class of target is done: (context, target, value, whole span)."""

    def register(handler: Storer) -> Storer:
        _STORERS[name] = handler
        return handler

    return register


def store(context: Context, target: Any, found: Operand, span: Span) -> None:
    """``target = found``: appends the statements that do it."""
    context.coverage.mark(target)
    handler = _STORERS.get(type(target).__name__)
    if handler is None:
        raise refuse_construct(context, target, where=" as the target of an assignment")
        return
    handler(context, target, found, span)


@storer("AssignName")
def _to_name(context: Context, target: Any, found: Operand, span: Span) -> None:
    variable = context.scope.variable(target.name)
    if variable is None:
        raise context.bug(f"no variable for {target.name}", span)
    assign(context, variable, found, context.span(target))


@storer("Tuple")
def _to_tuple(context: Context, target: Any, found: Operand, span: Span) -> None:
    parts = unpacked(context, found, len(target.elts), span)
    kept = [keep_once(context, part) for part in parts]
    for child, part in zip(target.elts, kept, strict=True):
        store(context, child, part, span)


@storer("List")
def _to_list(context: Context, target: Any, found: Operand, span: Span) -> None:
    _to_tuple(context, target, found, span)


def unpacked(context: Context, found: Operand, count: int, span: Span) -> list[Operand]:
    """The parts of a tuple that ``count`` targets take."""
    parts: list[Operand]
    match found:
        case Items():
            parts = list(found.items)
        case Static(value=tuple() | bytes() as value):
            parts = [Static(item, found.span) for item in value]
        case _:
            raise context.refusal(
                Code.E0312, span, "only tuples can be unpacked", help="assign the parts one by one"
            )
    if len(parts) != count:
        raise context.refusal(
            Code.E0312,
            span,
            f"{len(parts)} values cannot be unpacked into {count} target{'s' if count != 1 else ''}",
        )
    return parts


def keep(context: Context, found: Operand) -> Operand:
    """The operand, evaluated now: what is read from variables or memory goes into a temporary."""
    match found:
        case Static() | MaybeVariable():
            return found
        case Items():
            return Items(tuple(keep(context, item) for item in found.items), found.span)
        case FoundInt():
            return found
    expr = conversions.runtime(context, found)
    if isinstance(expr, tree.IntConst):
        return expr
    refuse_stale(context, [expr])
    local = context.temporary(expr.type, expr.span)
    context.out.append(tree.SetLocal(local=local, value=expr, span=expr.span))
    again = tree.GetLocal(local=local, type=expr.type, span=expr.span)
    note_view(context, again)
    return again


def keep_once(context: Context, found: Operand) -> Operand:
    """The same for what several assignments share: an integer that may be missing has no such temporary."""
    if isinstance(found, FoundInt | MaybeVariable):
        raise context.refusal(
            Code.E0311,
            found.span,
            "this may be `None`, and such a value is assigned to one variable at a time",
            help="write assignments of their own",
        )
    return keep(context, found)


# ---------------------------------------------------------------- variables


def operand_type(context: Context, found: Operand) -> VariableType:
    """The type that a variable gets from an operand; refuses what a variable cannot hold."""
    match found:
        case Static(value=None):
            return NONE
        case FoundInt():
            return OptionalInt(found_type(found))
        case MaybeVariable():
            assert context.state is not None
            return context.state.known[found.variable].type
        case _:
            kind = conversions.runtime(context, found).type
            if isinstance(kind, NoneT) and isinstance(found, tree.Node):
                raise context.refusal(Code.E0301, found.span, "this has no value that could be assigned")
            return kind


def annotated(context: Context, variable: Variable, found: Operand) -> Operand:
    """The operand converted to the variable's annotation: integers keep the low bits of a narrow type."""
    wanted = variable.annotation
    if wanted is None or (isinstance(found, Static) and found.value is None):
        return found
    match wanted:
        case Int():
            expr = conversions.integer(context, found, f"an integer for `{variable.name}`")
            return expr if variable.wrap is None else conversions.wrap(expr, variable.wrap)
        case Bool():
            expr = conversions.runtime(context, found)
            if not isinstance(expr.type, Bool):
                raise conversions.refuse_type(context, expr, f"a bool for `{variable.name}`")
            return expr
        case Ref() | Maybe(of=Ref()):
            ref = wanted.of if isinstance(wanted, Maybe) else wanted
            assert isinstance(ref, Ref)
            expr = conversions.runtime(context, found)
            of = expr.type.of if isinstance(expr.type, Maybe) and isinstance(wanted, Maybe) else expr.type
            if not isinstance(of, Ref) or of.layout != ref.layout:
                raise conversions.refuse_type(context, expr, f"{describe(ref)} for `{variable.name}`")
            return expr
        case _:
            return found


def assign(
    context: Context, variable: Variable, found: Operand, span: Span, *, tested_next: bool = False
) -> None:
    """``variable = found`` as a statement. ``tested_next``: the next one begins with a test of it against None."""
    found = annotated(context, variable, found)
    kind = operand_type(context, found)
    if isinstance(found, tree.Node):
        refuse_stale(context, [found])
    context.observe(variable, kind, span)
    declared = variable.declared
    assert declared is not None
    if not context.scope.owns(variable):
        _write_outside(context, variable, kind, span)
    births, fresh = _births(context, found), None
    if isinstance(declared, OptionalInt):
        if isinstance(found, FoundInt) and tested_next and found.variable is None:
            fresh = context.temporary(found.lookup.type, span)
            context.out.append(tree.SetLocal(local=fresh, value=found.lookup, span=span))
        else:
            _assign_optional(context, variable, found, declared, span)
    elif not (isinstance(found, Static) and found.value is None):
        expr = conversions.to_variable(context, conversions.runtime(context, found), local_type(declared))
        if (
            isinstance(expr, tree.NewStruct | tree.NewArray | tree.CopyOf | tree.PacketCopy)
            and not expr.label
        ):
            expr.label = variable.name
        context.out.append(tree.SetLocal(local=variable.local, value=expr, span=span))
    elif isinstance(declared, Maybe):
        null = tree.NullConst(type=declared, span=found.span)
        context.out.append(tree.SetLocal(local=variable.local, value=null, span=span))
    _know(context, variable, _within(kind, declared), births, fresh)
    _hold(context, variable, found)


def _write_outside(context: Context, variable: Variable, kind: VariableType, span: Span) -> None:
    """Note that a nested function assigns a variable of an enclosing one, which must not be a reference."""
    if not isinstance(kind, Int | Bool | OptionalInt | NoneT):
        raise context.refusal(
            Code.E0906,
            span,
            f"`{variable.name}` of the enclosing function would refer to {describe(kind)} in this function",
            notes=["what a callback builds is gone when it returns"],
            help="let the enclosing function build it, and assign its fields here",
        )
    capture(context, variable, writes=True)


def _within(kind: VariableType, declared: VariableType) -> VariableType:
    """The type of the value just assigned, in the kind that the variable has."""
    match kind, declared:
        case (Bool(), Int()):
            return Int(declared.unsigned, 0, 1)
        case (Int(), Int()):
            return Int(declared.unsigned, kind.lo, kind.hi, kind.seen, kind.exact)
        case (Int(), OptionalInt()):
            return Int(declared.of.unsigned, kind.lo, kind.hi, kind.seen, kind.exact)
        case (OptionalInt(), OptionalInt()):
            of = kind.of
            return OptionalInt(Int(declared.of.unsigned, of.lo, of.hi, of.seen, of.exact))
        case _:
            return kind


def _births(context: Context, found: Operand) -> frozenset[int]:
    return births_of(context, found) if isinstance(found, tree.Node) else frozenset()


def _know(
    context: Context,
    variable: Variable,
    kind: VariableType,
    births: frozenset[int],
    fresh: tree.Local | None = None,
) -> None:
    assert context.state is not None
    before = context.state.known.get(variable)
    if before is not None and before.acquired is not None and before.fate is None:
        raise refuse_lost(context, variable, before.acquired)
    if variable.local.boxed and isinstance(kind, Int) and isinstance(variable.declared, Int):
        kind = Int(
            kind.unsigned, kind.lo, kind.hi, False, kind.exact
        )  # the verifier may lose values in memory
    context.state.known[variable] = Knowledge(kind, births=births, fresh=fresh)


def _hold(context: Context, variable: Variable, found: Operand) -> None:
    """A kernel reference that has just been acquired is held by the variable from now on."""
    if isinstance(found, tree.HelperCall) and found in context.acquired:
        context.acquired.remove(found)
        acquire(context, variable, found.span)


def _assign_optional(
    context: Context, variable: Variable, found: Operand, declared: OptionalInt, span: Span
) -> None:
    """Assign to a variable that holds an integer or None: the integer, and whether there is one."""
    present = present_local(variable)

    def flag(is_there: bool) -> tree.Stmt:
        constant = tree.IntConst(value=int(is_there), type=BOOL, span=span)
        return tree.SetLocal(local=present, value=constant, span=span)

    def value(expr: tree.Expr) -> tree.Stmt:
        as_declared = conversions.to_variable(context, expr, declared.of)
        return tree.SetLocal(local=variable.local, value=as_declared, span=span)

    zero = arithmetic.as_kind(arithmetic.constant(0, span), declared.of.unsigned)
    match found:
        case Static(value=None):
            context.out += [flag(False), value(zero)]
        case FoundInt():
            if found.variable is not None:
                raise conversions.refuse_optional(context, found.span, "int")
            bound, reference = bind_reference(context, found.lookup)
            context.out.append(
                tree.If(
                    test=tree.IsNone(operand=bound, negated=True, span=span),
                    body=(value(conversions.read(reference)), flag(True)),
                    orelse=(value(zero), flag(False)),
                    span=span,
                )
            )
        case MaybeVariable():
            other = found.variable
            kind = context.state.known[other].type if context.state is not None else None
            assert isinstance(kind, OptionalInt)
            there = tree.GetLocal(local=present_local(other), type=BOOL, span=span)
            context.out.append(tree.SetLocal(local=present, value=there, span=span))
            context.out.append(value(tree.GetLocal(local=other.local, type=kind.of, span=span)))
        case _:
            context.out += [value(conversions.integer(context, found)), flag(True)]


def bind(context: Context, variable: Variable, found: Operand, span: Span) -> Operand:
    """``(variable := found)`` as an expression."""
    found = annotated(context, variable, found)
    kind = operand_type(context, found)
    if isinstance(found, tree.Node):
        refuse_stale(context, [found])
    context.observe(variable, kind, span)
    declared = variable.declared
    assert declared is not None
    if not context.scope.owns(variable):
        _write_outside(context, variable, kind, span)
    if isinstance(found, FoundInt) and found.variable is None and isinstance(declared, OptionalInt):
        reference = context.temporary(found.lookup.type, span)
        lookup = tree.Bind(local=reference, value=found.lookup, type=found.lookup.type, span=span)
        _know(context, variable, _within(kind, declared), frozenset())
        return FoundInt(lookup, span, variable, reference)
    if isinstance(found, FoundInt | MaybeVariable) or isinstance(declared, OptionalInt):
        raise context.refusal(
            Code.E0311,
            span,
            f"`{variable.name}` may be `None`, and is tested in an expression only right where it is assigned",
            help="assign it in a statement of its own, then test it with `is None`",
        )
    if isinstance(found, Static) and found.value is None:
        raise context.refusal(Code.E0301, span, "`None` cannot be assigned inside an expression")
    expr = conversions.to_variable(context, conversions.runtime(context, found), local_type(declared))
    _know(context, variable, _within(kind, declared), _births(context, found))
    _hold(context, variable, found)
    return tree.Bind(local=variable.local, value=expr, type=expr.type, span=span)


@expression("NamedExpr")
def _walrus(context: Context, node: Any) -> Operand:
    context.coverage.mark(node.target)
    found = operand(context, node.value)
    variable = context.scope.variable(node.target.name)
    if variable is None:
        raise context.bug("walrus target without a variable", context.span(node))
    return bind(context, variable, found, context.span(node.target))
