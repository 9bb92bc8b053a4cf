"""The statements that need no knowledge of a subject: assignments, ``if``, ``assert``, expressions."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import arithmetic, conversions, tree
from pyebpf.frontend.assignment import assign, keep_once, store
from pyebpf.frontend.blocks import block, poison, statement
from pyebpf.frontend.conditions import test
from pyebpf.frontend.expressions import operand, read_variable
from pyebpf.frontend.flow import join_states
from pyebpf.frontend.operators import ARITHMETIC, binary
from pyebpf.frontend.outcomes import Test
from pyebpf.frontend.places import Place, place
from pyebpf.frontend.session import Context, Poisoned, Refused
from pyebpf.frontend.types import Int, Ref
from pyebpf.frontend.values import Static
from pyebpf.hints import Any
from pyebpf.layout import IntType

# ---------------------------------------------------------------- simple statements


@statement("Pass")
def _pass(context: Context, node: Any) -> None:
    del context, node


@statement("Expr")
def _expression(context: Context, node: Any) -> None:
    found = operand(context, node.value)
    if isinstance(found, Static) and isinstance(found.value, str | bytes | int | type(...) | type(None)):
        return  # a docstring, `...`, or a helper's folded result: nothing happens, as in Python
    context.out.append(tree.Evaluate(value=conversions.runtime(context, found), span=context.span(node)))


@statement("Assign")
def _assign(context: Context, node: Any) -> None:
    following = context.following
    found = operand(context, node.value)
    span = context.span(node)
    if len(node.targets) == 1:
        target = node.targets[0]
        if type(target).__name__ == "AssignName":
            context.coverage.mark(target)
            variable = context.scope.variable(target.name)
            if variable is None:
                raise context.bug(f"no variable for {target.name}", span)
            assign(context, variable, found, context.span(target), tested_next=_tests(following, target.name))
            return
        store(context, target, found, span)
        return
    found = keep_once(context, found)
    for target in node.targets:
        store(context, target, found, span)


def _tests(node: Any, name: str) -> bool:
    """Whether a statement is an ``if`` that first of all tests the variable for being None, or for its truth."""
    if type(node).__name__ != "If":
        return False
    first = node.test
    while type(first).__name__ in ("BoolOp", "UnaryOp"):
        if type(first).__name__ == "UnaryOp" and first.op != "not":
            return False
        first = first.values[0] if type(first).__name__ == "BoolOp" else first.operand
    if type(first).__name__ == "Compare":
        if len(first.ops) != 1 or first.ops[0][0] not in ("is", "is not"):
            return False
        first = first.left
    return type(first).__name__ == "Name" and bool(first.name == name)


@statement("AnnAssign")
def _annotated(context: Context, node: Any) -> None:
    # The annotation was read when the names were bound; see ``annotations``.
    if type(node.target).__name__ != "AssignName":
        raise context.refusal(
            Code.E0309,
            node.annotation,
            "only variables can be annotated here",
            help="a field has the type of its struct",
        )
    context.coverage.skip(node.annotation)
    if node.value is None:
        context.coverage.mark(node.target)
        return
    found = operand(context, node.value)
    store(context, node.target, found, context.span(node))


@statement("AugAssign")
def _augmented(context: Context, node: Any) -> None:
    span = context.span(node)
    op = node.op.removesuffix("=")
    context.coverage.mark(node.target)
    if type(node.target).__name__ == "AssignName":
        variable = context.scope.variable(node.target.name)
        if variable is None:
            raise context.refusal(
                Code.E0207,
                node.target,
                f"`{node.target.name}` is not a variable of this function",
                help="use `bpf.Global[T]` and its `.value`",
            )
        before = read_variable(context, variable, context.span(node.target))
        found = binary(context, op, before, operand(context, node.value), span)
        assign(context, variable, found, context.span(node.target))
        return
    where = place(context, node.target)
    found_value = operand(context, node.value)
    update(context, where, op, found_value, span)


def update(context: Context, where: Place, op: str, found: Any, span: Span) -> None:
    """``place op= value`` on a place in memory or in the context."""
    if op not in ARITHMETIC:
        binary(
            context, op, conversions.runtime(context, where.read(context)), found, span
        )  # refuses with its reason
    if where.ref is None:
        where.write(context, binary(context, op, where.read(context), found, span), span)
        return
    kind = where.ref.type
    assert isinstance(kind, Ref)
    if not isinstance(kind.layout, IntType):
        raise context.refusal(Code.E0306, span, f"`{op}=` works on integers, not on {kind.layout.name}")
    conversions.refuse_read_only(context, kind, where.span)
    value = conversions.integer(context, found, f"an integer for `{op}=`")
    before = tree.GetLocal(
        local=tree.Local("", conversions.scalar_type(kind.layout), span),
        type=conversions.scalar_type(kind.layout),
        span=where.span,
    )
    # The rules of the plain operation decide the kind in which it computes, and what is refused.
    computed = arithmetic.binary(context, ARITHMETIC[op], before, value, span)
    compute = arithmetic.int_type(computed)
    may_be_zero = isinstance(computed, tree.Arith) and computed.may_be_zero
    shiftless = op in ("+", "-", "&", "|", "^")
    atomic = kind.shared and shiftless
    if kind.shared:
        _check_atomic(context, kind.layout, op, span)
    context.out.append(
        tree.UpdateTo(
            ref=where.ref,
            op=ARITHMETIC[op],
            value=arithmetic.reinterpret(value, compute.unsigned)
            if op == "&"
            else _operand(value, compute, op),
            atomic=atomic,
            compute=Int(compute.unsigned, compute.lo, compute.hi, compute.seen, compute.exact),
            may_be_zero=may_be_zero,
            span=span,
        )
    )


def _operand(value: tree.Expr, compute: Int, op: str) -> tree.Expr:
    return value if op in ("<<", ">>") else arithmetic.as_kind(value, compute.unsigned)


def _check_atomic(context: Context, layout: IntType, op: str, span: Span) -> None:
    if op not in ("+", "-", "&", "|", "^"):
        raise context.refusal(
            Code.E0508,
            span,
            f"`{op}=` on memory that other CPUs share cannot be atomic",
            notes=["`+=`, `-=`, `|=`, `&=` and `^=` are atomic there, so that no update is lost"],
            help="if lost updates do not matter, write it in full: `x = x … y`",
        )
    if layout.bits < 32:
        raise context.refusal(
            Code.E0508,
            span,
            f"an update of a `{layout.name}` that other CPUs share cannot be atomic",
            notes=["the kernel has atomic operations on 32 and 64 bits"],
            help="use `u32` or `u64`, or a per-CPU map",
        )
    if layout.order is not layout.order.NATIVE:
        raise context.refusal(
            Code.E0508,
            span,
            f"an update of a `{layout.name}` that other CPUs share cannot be atomic",
            notes=["atomic operations know the machine's byte order only"],
        )


@statement("Assert")
def _assert(context: Context, node: Any) -> None:
    found = test(context, node.test)
    if node.fail is not None:
        # The message is for the reader of the source: it must be a constant, and is not evaluated at run time.
        message = operand(context, node.fail)
        if not isinstance(message, Static):
            raise context.refusal(Code.E0407, node.fail, "the message of an `assert` must be a constant")
    after, context.state = found.yes, found.no
    span = context.span(node)
    if found.known is not True:
        context.raises(tree.Exc.ASSERTION)
        failed = tree.Raise(exception=tree.Exc.ASSERTION, span=span)
        if found.expr is None:
            context.out.append(failed)
        else:
            branch(context, found, (), (failed,), span)
    context.state = after


def branch(context: Context, found: Test, body: tree.Body, orelse: tree.Body, span: Span) -> None:
    """Append an ``If`` with the assignments that belong to the outcomes."""
    assert found.expr is not None
    if found.enter_yes is not None:
        body = (found.enter_yes, *body)
    if found.enter_no is not None:
        orelse = (found.enter_no, *orelse)
    context.out.append(tree.If(test=found.expr, body=body, orelse=orelse, span=span))


@statement("If")
def _if(context: Context, node: Any) -> None:
    try:
        found = test(context, node.test)
    except (Refused, Poisoned) as problem:
        if isinstance(problem, Refused):
            context.report(problem.diagnostic)
        else:
            context.poisoned = True
        poison(context, node.test, context.state)
        assert context.state is not None
        found = Test(None, None, context.state.copy(), context.state.copy())
    if found.known is not None:
        taken, skipped = (node.body, node.orelse) if found.known else (node.orelse, node.body)
        for child in skipped:
            context.coverage.skip(child)
        context.state = found.yes if found.known else found.no
        context.out += block(context, taken)
        return
    context.state = found.yes
    body = block(context, node.body)
    after, context.state = context.state, found.no
    orelse = block(context, node.orelse)
    context.state = join_states(after, context.state)
    if found.expr is not None:
        branch(context, found, body, orelse, context.span(node))


@statement("Nonlocal")
def _nonlocal(context: Context, node: Any) -> None:
    for name in node.names:
        variable = context.scope.variable(name)
        if variable is None or context.scope.owns(variable):
            raise context.refusal(
                Code.E0207,
                node,
                f"`{name}` belongs to a function that is not compiled, and cannot be assigned",
                help="use `bpf.Global[T]` and its `.value`",
            )
