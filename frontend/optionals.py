"""Values that may be None: tests that narrow them, and integers found in maps.

An integer found by ``m.get(k)`` is a value, as in Python: it must not change when the map does. So a variable
that holds one is two locals: the integer, read right after the look-up, and whether there was one. Where the
look-up is followed at once by the test, the reference itself decides and the integer is read behind the test
(``Knowledge.fresh``), which costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arithmetic import as_kind
from pyebpf.frontend.expressions import variable_of
from pyebpf.frontend.flow import Variable
from pyebpf.frontend.outcomes import Test, split
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import BOOL, NONE, Int, Maybe, Ref
from pyebpf.frontend.values import FoundInt, MaybeVariable, Operand, OptionalInt
from pyebpf.layout import BytesType, IntType
from pyebpf.records import replace


def found_type(found: FoundInt) -> Int:
    """The type of the integer, where there is one."""
    assert isinstance(found.lookup.type, Maybe) and isinstance(found.lookup.type.of, Ref)
    layout = found.lookup.type.of.layout
    assert isinstance(layout, IntType)
    return conversions.scalar_type(layout)


def present_local(variable: Variable) -> tree.Local:
    """The second local of a variable that holds an integer or None: whether it holds an integer."""
    if variable.present is None:
        variable.present = tree.Local(f"{variable.name}.present", BOOL, variable.span)
    return variable.present


def presence_test(context: Context, found: FoundInt | MaybeVariable) -> Test:
    """``x is not None`` of an optional integer."""
    yes, no = split(context)
    if isinstance(found, FoundInt) and found.variable is None:
        return Test(tree.IsNone(operand=found.lookup, negated=True, span=found.span), None, yes, no)
    variable = found.variable
    assert variable is not None
    kind = yes.known[variable].type
    assert isinstance(kind, OptionalInt)
    yes.known[variable] = replace(yes.known[variable], type=kind.of, fresh=None)
    no.known[variable] = replace(no.known[variable], type=NONE, fresh=None)
    source = _undecided(context, found)
    if source is None:
        flag = tree.GetLocal(local=present_local(variable), type=BOOL, span=found.span)
        return Test(flag, None, yes, no)
    decides, reference = source
    there = tree.IsNone(operand=decides, negated=True, span=found.span)
    flag_set = tree.Bind(local=present_local(variable), value=there, type=BOOL, span=found.span)
    enter = tree.SetLocal(local=variable.local, value=_read_as(variable, reference), span=found.span)
    return Test(flag_set, None, yes, no, enter_yes=enter)


def _undecided(context: Context, found: FoundInt | MaybeVariable) -> tuple[tree.Expr, tree.Expr] | None:
    """A look-up whose integer has not been read yet: the optional reference, and the same behind a test."""
    if isinstance(found, FoundInt):
        assert found.reference is not None
        return found.lookup, _behind(found.reference, found.span)
    assert context.state is not None
    fresh = context.state.known[found.variable].fresh
    if fresh is None:
        return None
    return tree.GetLocal(local=fresh, type=fresh.type, span=found.span), _behind(fresh, found.span)


def _behind(reference: tree.Local, span: Span) -> tree.Expr:
    assert isinstance(reference.type, Maybe)
    return tree.GetLocal(local=reference, type=reference.type.of, span=span)


def _read_as(variable: Variable, reference: tree.Expr) -> tree.Expr:
    """The integer behind a reference, in the kind that the variable has."""
    declared = variable.declared
    of = declared.of if isinstance(declared, OptionalInt) else declared
    assert isinstance(of, Int)
    return as_kind(conversions.read(reference), of.unsigned)


def truth_of_optional(context: Context, found: FoundInt | MaybeVariable) -> Test:
    """Whether an optional integer is there and not zero."""
    span = found.span
    if isinstance(found, FoundInt) and found.variable is None:
        yes, no = split(context)
        bound, again = bind_reference(context, found.lookup)
        parts: tuple[tree.Expr, ...] = (
            tree.IsNone(operand=bound, negated=True, span=span),
            tree.Truth(operand=conversions.read(again), span=span),
        )
        return Test(tree.Logic(conjunction=True, operands=parts, span=span), None, yes, no)
    variable = found.variable
    assert variable is not None and context.state is not None
    source = _undecided(context, found)
    present = presence_test(context, found)
    assert present.expr is not None and present.yes is not None
    kind = present.yes.known[variable].type
    assert isinstance(kind, Int)
    value: tree.Expr = tree.GetLocal(local=variable.local, type=kind, span=span)
    if source is not None:
        value = tree.Bind(local=variable.local, value=_read_as(variable, source[1]), type=kind, span=span)
    parts = (present.expr, tree.Truth(operand=value, span=span))
    # Where the test fails the value may be None or zero.
    no = context.state.copy()
    no.known[variable] = replace(no.known[variable], fresh=None)
    return Test(tree.Logic(conjunction=True, operands=parts, span=span), None, present.yes, no)


def bind_reference(context: Context, lookup: tree.Expr) -> tuple[tree.Expr, tree.Expr]:
    """An optional reference to be evaluated once, and the same again behind a test (not None)."""
    assert isinstance(lookup.type, Maybe)
    local = context.temporary(lookup.type, lookup.span)
    bound = tree.Bind(local=local, value=lookup, type=lookup.type, span=lookup.span)
    return bound, tree.GetLocal(local=local, type=lookup.type.of, span=lookup.span)


def bind_optional(
    context: Context, found: FoundInt | MaybeVariable
) -> tuple[Operand, Callable[[bool], Operand]]:
    """An optional integer on the left of ``or``: its value is needed where it is true."""

    def refuse(span: Span) -> None:
        raise context.refusal(
            Code.E0311,
            span,
            "the result of this `and` may be `None`",
            help="test with `is None` in an `if` statement",
        )

    if isinstance(found, MaybeVariable):
        variable = found.variable

        def again(conjunction: bool) -> Operand:
            if conjunction:
                refuse(found.span)
            assert context.state is not None
            kind = context.state.known[variable].type
            kind = kind.of if isinstance(kind, OptionalInt) else kind
            assert isinstance(kind, Int)
            return tree.GetLocal(local=variable.local, type=kind, span=found.span)

        return found, again
    bound, reference = bind_reference(context, found.lookup)
    kind = found_type(found)
    value = context.temporary(kind, found.span)
    read = tree.Bind(local=value, value=conversions.read(reference), type=kind, span=found.span)
    parts = (
        tree.IsNone(operand=bound, negated=True, span=found.span),
        tree.Truth(operand=read, span=found.span),
    )
    whole = tree.Logic(conjunction=True, operands=parts, span=found.span)

    def value_again(conjunction: bool) -> Operand:
        if conjunction:
            refuse(found.span)
        return tree.GetLocal(local=value, type=kind, span=found.span)

    return whole, value_again


def truth_of_reference(context: Context, expr: tree.Expr) -> Test:
    """Whether an optional reference is there (and, of a byte string, not empty)."""
    assert isinstance(expr.type, Maybe)
    of = expr.type.of
    yes, no = split(context)
    variable = variable_of(context, expr)
    if variable is not None:
        yes.narrow(variable, of)
    if not (isinstance(of, Ref) and isinstance(of.layout, BytesType)):
        if variable is not None:
            no.narrow(variable, NONE)
        return Test(tree.IsNone(operand=expr, negated=True, span=expr.span), None, yes, no)
    bound, again = bind_reference(context, expr)
    parts = (
        tree.IsNone(operand=bound, negated=True, span=expr.span),
        conversions.truth(context, again),
    )
    return Test(tree.Logic(conjunction=True, operands=parts, span=expr.span), None, yes, no)
