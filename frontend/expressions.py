"""The expression dispatcher, and the expressions that need no knowledge of a subject: names, operators, conditions.

``operand`` is the only way to look at an expression: it marks the node as seen and calls the handler registered
for its class; a class without a handler is refused. ``value`` gives a tree node, ``test`` a condition together with
what is known of the variables in either case.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pyebpf.codes import Code
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import arithmetic, conversions, tree
from pyebpf.frontend.flow import Fate, Knowledge, State, Variable, join_states
from pyebpf.frontend.scope import UNBOUND, NestedFunction
from pyebpf.frontend.session import Context, Poisoned
from pyebpf.frontend.suggest import near
from pyebpf.frontend.tree import ArithOp
from pyebpf.frontend.types import Bool, Int, Maybe, NoneT, Ref
from pyebpf.frontend.values import (
    Caught,
    FoundInt,
    Items,
    MaybeVariable,
    Method,
    Mismatch,
    Operand,
    OptionalInt,
    Static,
    describe,
    join,
)

Handler = Callable[[Context, Any], Operand]
_HANDLERS: dict[str, Handler] = {}


def expression(name: str) -> Callable[[Handler], Handler]:
    """Register the handler of an astroid class."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[name] = handler
        return handler

    return register


CONSTRUCTS = {
    "ListComp": ("a list comprehension", "write a `for` loop"),
    "SetComp": ("a set comprehension", "write a `for` loop"),
    "DictComp": ("a dict comprehension", "write a `for` loop"),
    "GeneratorExp": ("a generator expression", "write a `for` loop"),
    "Lambda": ("a lambda", "define a function with `def`"),
    "List": ("a list", "use `bpf.array(T, n)`, or a tuple for constants"),
    "Dict": ("a dict", "use a map"),
    "Set": ("a set", "use a map, or a tuple for constants"),
    "Await": ("`await`", ""),
    "Yield": ("`yield`", ""),
    "YieldFrom": ("`yield from`", ""),
    "Starred": ("`*` unpacking", ""),
    "Slice": ("a slice", ""),
    "AsyncFor": ("`async for`", ""),
    "AsyncWith": ("`async with`", ""),
    "AsyncFunctionDef": ("`async def`", ""),
    "ClassDef": ("a class", "define structs outside of the program"),
    "Import": ("`import`", "import modules outside of the program"),
    "ImportFrom": ("`import`", "import modules outside of the program"),
    "Global": ("`global`", "use `bpf.Global[T]` and its `.value`"),
    "TryStar": ("`except*`", "use `except`"),
    "DelName": ("`del` of a variable", "variables end with the function"),
    "DelAttr": ("`del` of a field", ""),
    "TypeAlias": ("`type`", ""),
    "JoinedStr": ("an f-string", 'f-strings can be printed: `print(f"…")`'),
}
"""What astroid's classes are called by people, and what to write instead, where there is something."""


def refuse_construct(context: Context, node: Any, *, where: str = "") -> None:
    """Refuse a syntax node as a whole (E0101)."""
    words, instead = CONSTRUCTS.get(type(node).__name__, (f"`{type(node).__name__}`", ""))
    raise context.refusal(Code.E0101, node, f"{words} cannot be compiled{where}", help=instead or ())


def operand(context: Context, node: Any) -> Operand:
    """What an expression stands for."""
    context.coverage.mark(node)
    handler = _HANDLERS.get(type(node).__name__)
    if handler is None:
        refuse_construct(context, node)
        raise AssertionError
    return handler(context, node)


def value(context: Context, node: Any) -> tree.Expr:
    """An expression as a tree node."""
    return conversions.runtime(context, operand(context, node))


def integer(context: Context, node: Any, what: str = "an integer") -> tree.Expr:
    """An expression as an ``Int`` node."""
    return conversions.integer(context, operand(context, node), what)


# ---------------------------------------------------------------- names and constants


@expression("Const")
def _const(context: Context, node: Any) -> Operand:
    return Static(node.value, context.span(node))


@expression("Name")
def _name(context: Context, node: Any) -> Operand:
    span = context.span(node)
    variable = context.scope.variable(node.name)
    if variable is not None:
        return read_variable(context, variable, span)
    found = context.scope.constant(node.name)
    if found is UNBOUND:
        raise context.refusal(
            Code.E0201,
            span,
            f"the name `{node.name}` is not defined",
            help=near(node.name, context.scope.names()),
        )
    return Static(found, span)


def read_variable(context: Context, variable: Variable, span: Span) -> Operand:
    """The value of a variable at this point."""
    knowledge = knowledge_of(context, variable, span)
    if variable in context.errno_of:
        errno, has_errno = context.errno_of[variable]
        return Static(Caught(errno, has_errno), span)
    if not context.scope.owns(variable):
        capture(context, variable)
    match knowledge.type:
        case OptionalInt():
            return MaybeVariable(variable, span)
        case NoneT():
            return Static(None, span)
        case kind:
            return tree.GetLocal(local=variable.local, type=kind, span=span)


def capture(context: Context, variable: Variable) -> None:
    """Note that a nested function uses a variable of an enclosing one, which then has to live in memory."""
    inner: Context | None = context
    while inner is not None and not inner.scope.owns(variable):
        if variable not in inner.scope.captured:
            inner.scope.captured.append(variable)
        inner = inner.parent
    if not variable.local.boxed:
        variable.local.boxed = True
        context.memory.changed = True
        context.note_change()


_FATES = {
    Fate.PACKET_CHANGED: (
        Code.E0704,
        "`{}` points into the packet, which has been changed since",
        "the packet is changed here",
        "after the change the same offset may hold another byte, and the kernel forgets what was checked",
        "read the packet again after the change",
    ),
    Fate.ITERATION_OVER: (
        Code.E0503,
        "`{}` refers to a value that was built in an earlier iteration of the loop",
        "the loop",
        "each iteration builds the value in the same place",
        "keep a copy that was made before the loop, or copy the fields that you need",
    ),
    Fate.SUBMITTED: (
        Code.E0503,
        "`{}` refers to a ring buffer record that has been submitted",
        "the record lives as long as this block",
        "after the block the record belongs to user space",
        "use it inside the `with` block",
    ),
    Fate.RELEASED: (
        Code.E0809,
        "`{}` has been released",
        "it was released here",
        "a kernel object may be gone once the program has released it",
        "release it after its last use",
    ),
}


def knowledge_of(context: Context, variable: Variable, span: Span) -> Knowledge:
    """What is known of a variable that is about to be read; refuses the reading where it may not be."""
    if context.state is None:
        raise context.bug("expression in unreachable code", span)
    knowledge = context.state.known.get(variable)
    if knowledge is not None and knowledge.poisoned:
        raise Poisoned
    if knowledge is None or not knowledge.bound:
        words = "is not assigned" if knowledge is None else "may be unbound"
        raise context.refusal(
            Code.E0202,
            span,
            f"`{variable.name}` {words} here",
            labels=[Label(variable.span, "it is assigned here")] if variable.span != span else [],
            notes=["a name that is assigned anywhere in a function is local to it, and has no value before"],
            help="assign it on every path that leads here",
        )
    if knowledge.fate is not None and knowledge.fate_span is not None:
        code, message, label, note, help_ = _FATES[knowledge.fate]
        raise context.refusal(
            code,
            span,
            message.format(variable.name),
            labels=[Label(knowledge.fate_span, label)] if knowledge.fate_span != span else [],
            notes=[note],
            help=help_,
        )
    return knowledge


# ---------------------------------------------------------------- operators

_BINARY = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "@": operator.matmul,
}
_UNARY = {"-": operator.neg, "+": operator.pos, "~": operator.invert}
ARITHMETIC = {op.value: op for op in ArithOp}
FOLDABLE = (int, float, bytes, str, tuple, type(None))
_LARGEST_FOLD = 1 << 16


def fold(context: Context, span: Span, compute: Callable[[], object]) -> Static:
    """The result of a constant expression, computed by Python itself."""
    try:
        return Static(compute(), span)
    except Exception as error:
        raise context.refusal(
            Code.E0205,
            span,
            f"this constant expression raises {type(error).__name__}: {error}",
            notes=["constant expressions are computed by Python while compiling"],
        )


def _foldable(found: Operand) -> bool:
    return isinstance(found, Static) and isinstance(found.value, FOLDABLE)


@expression("BinOp")
def _binary(context: Context, node: Any) -> Operand:
    left = operand(context, node.left)
    right = operand(context, node.right)
    return binary(context, node.op, left, right, context.span(node))


def binary(context: Context, op: str, left: Operand, right: Operand, span: Span) -> Operand:
    """``left op right``: folded where both are constants."""
    if isinstance(left, Static) and isinstance(right, Static) and _foldable(left) and _foldable(right):
        one: Any = left.value
        two: Any = right.value
        if op in ("**", "<<") and isinstance(two, int) and two > _LARGEST_FOLD:
            raise context.refusal(Code.E0206, span, "this constant does not fit into 64 bits")
        return fold(context, span, lambda: _BINARY[op](one, two))
    if op == "/":
        raise context.refusal(
            Code.E0306,
            span,
            "`/` gives a floating-point number, which does not exist in programs",
            help="use `//`, which rounds down",
        )
    if op not in ARITHMETIC:
        raise context.refusal(
            Code.E0306,
            span,
            f"`{op}` is not available for values known only at run time",
            help="use shifts for powers of two" if op == "**" else (),
        )
    one_int = conversions.integer(context, left, f"an integer for `{op}`")
    two_int = conversions.integer(context, right, f"an integer for `{op}`")
    if op in ("&", "|", "^") and isinstance(one_int, tree.ToInt) and isinstance(two_int, tree.ToInt):
        result = arithmetic.binary(context, ARITHMETIC[op], one_int, two_int, span)
        return tree.Truth(operand=result, span=span)  # bool op bool is a bool, as in Python
    return arithmetic.binary(context, ARITHMETIC[op], one_int, two_int, span)


@expression("UnaryOp")
def _unary(context: Context, node: Any) -> Operand:
    span = context.span(node)
    if node.op == "not":
        found = test(context, node).settled()
        context.state = join_states(found.yes, found.no)
        return found.result(span)
    inner = operand(context, node.operand)
    if isinstance(inner, Static) and isinstance(inner.value, int | float):
        number: Any = inner.value
        return fold(context, span, lambda: _UNARY[node.op](number))
    expr = conversions.integer(context, inner, f"an integer for `{node.op}`")
    match node.op:
        case "-":
            return arithmetic.negate(expr, span)
        case "~":
            return arithmetic.invert(expr, span)
        case _:
            return expr


# ---------------------------------------------------------------- conditions


@dataclass(slots=True)
class Test:
    """A condition. ``known``: its value where it is constant, else ``expr`` computes it. ``yes`` and ``no``: the state
    where it holds and where it does not; None where that cannot happen. ``enter_yes`` and ``enter_no``: an assignment
    to be made first thing where it holds, or does not (``settled`` moves it into the expression)."""

    expr: tree.Expr | None
    known: bool | None
    yes: State | None
    no: State | None
    enter_yes: tree.SetLocal | None = None
    enter_no: tree.SetLocal | None = None

    def settled(self) -> Test:
        """The same condition without assignments to be made afterwards."""
        expr = self.expr
        if expr is None or (self.enter_yes is None and self.enter_no is None):
            return self
        if self.enter_yes is not None:
            operands: tuple[tree.Expr, ...] = (expr, _always(self.enter_yes))
            expr = tree.Logic(conjunction=True, operands=operands, span=expr.span)
        if self.enter_no is not None:
            operands = (expr, negated(_always(self.enter_no), expr.span))
            expr = tree.Logic(conjunction=False, operands=operands, span=expr.span)
        return Test(expr, self.known, self.yes, self.no)

    def result(self, span: Span) -> Operand:
        """The condition as an operand."""
        if self.known is not None:
            return Static(self.known, span)
        assert self.expr is not None
        return self.expr


def _always(assignment: tree.SetLocal) -> tree.Expr:
    """A comparison that always holds, to make an assignment inside a condition."""
    kind = arithmetic.int_type(assignment.value)
    span = assignment.span
    bound = tree.Bind(local=assignment.local, value=assignment.value, type=kind, span=span)
    return tree.Compare(op=tree.CompareOp.GE, left=bound, right=arithmetic.constant(kind.lo, span), span=span)


Tester = Callable[[Context, Any], Test]
_TESTERS: dict[str, Tester] = {}


def tester(name: str) -> Callable[[Tester], Tester]:
    """Register the handler that gives an astroid class its meaning as a condition."""

    def register(handler: Tester) -> Tester:
        _TESTERS[name] = handler
        return handler

    return register


def test(context: Context, node: Any) -> Test:
    """An expression as a condition. The context's state afterwards is not meaningful: take ``yes`` or ``no``."""
    if type(node).__name__ == "UnaryOp" and node.op == "not":
        context.coverage.mark(node)
        inner = test(context, node.operand)
        known = None if inner.known is None else not inner.known
        expr = None if inner.expr is None else negated(inner.expr, context.span(node))
        return Test(expr, known, inner.no, inner.yes, inner.enter_no, inner.enter_yes)
    handler = _TESTERS.get(type(node).__name__)
    if handler is not None:
        context.coverage.mark(node)
        return handler(context, node)
    return truth_test(context, operand(context, node))


def negated(expr: tree.Expr, span: Span) -> tree.Expr:
    """The negation of a Bool, without double negations."""
    match expr:
        case tree.Not():
            return expr.operand
        case tree.IsNone():
            return tree.IsNone(operand=expr.operand, negated=not expr.negated, span=span)
        case _:
            return tree.Not(operand=expr, span=span)


def constant_test(context: Context, known: bool) -> Test:
    """A condition that is known: the other case cannot happen."""
    return Test(None, known, context.state if known else None, None if known else context.state)


def truth_test(context: Context, found: Operand) -> Test:
    """Whether an operand is true; narrows a variable that may be None."""
    match found:
        case Static(value=value) if isinstance(value, FOLDABLE):
            return constant_test(context, bool(value))
        case FoundInt() | MaybeVariable():
            from pyebpf.frontend.optionals import truth_of_optional

            return truth_of_optional(context, found)
        case Items(items=items):
            return constant_test(context, bool(items))
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, Maybe):
        from pyebpf.frontend.optionals import truth_of_reference

        return truth_of_reference(context, expr)
    if isinstance(expr, tree.IntConst):
        return constant_test(context, bool(expr.value))
    result = conversions.truth(context, expr)
    yes, no = split(context)
    if isinstance(expr.type, Int) and isinstance(expr, tree.GetLocal | tree.Bind):
        from pyebpf.frontend.comparisons import narrow_comparison

        narrow_comparison(context, tree.CompareOp.NE, expr, arithmetic.constant(0, expr.span), yes, no)
    return Test(result, None, yes, no)


def split(context: Context) -> tuple[State, State]:
    """Two copies of the current state, for the two outcomes of a test."""
    if context.state is None:
        raise context.bug("condition in unreachable code")
    return context.state.copy(), context.state.copy()


def variable_of(context: Context, expr: tree.Expr) -> Variable | None:
    """The variable that an expression reads or has just assigned."""
    if not isinstance(expr, tree.GetLocal | tree.Bind) or context.state is None:
        return None
    return next((v for v in context.state.known if v.local is expr.local), None)


@tester("BoolOp")
def _logic(context: Context, node: Any) -> Test:
    conjunction = node.op == "and"
    parts: list[tree.Expr] = []
    decided: State | None = None  # joined states in which an operand before the last has decided
    for position, child in enumerate(node.values):
        found = test(context, child).settled()
        go_on, stop = (found.yes, found.no) if conjunction else (found.no, found.yes)
        if found.known is None:
            assert found.expr is not None
            parts.append(found.expr)
            decided = join_states(decided, stop)
            context.state = go_on
        elif found.known is not conjunction:  # decides the whole: what follows is never evaluated
            for rest in node.values[position + 1 :]:
                context.coverage.skip(rest)
            if parts:
                parts.append(tree.IntConst(value=int(not conjunction), type=Bool(), span=context.span(child)))
            return _logic_result(
                context, node, parts, None, join_states(decided, stop), known=not conjunction
            )
    return _logic_result(context, node, parts, context.state, decided, known=conjunction)


def _logic_result(
    context: Context,
    node: Any,
    parts: list[tree.Expr],
    through: State | None,
    decided: State | None,
    *,
    known: bool,
) -> Test:
    conjunction = node.op == "and"
    yes, no = (through, decided) if conjunction else (decided, through)
    if not parts:
        return Test(None, known, yes, no)
    if len(parts) == 1:
        return Test(parts[0], None, yes, no)
    return Test(
        tree.Logic(conjunction=conjunction, operands=tuple(parts), span=context.span(node)), None, yes, no
    )


@expression("BoolOp")
def _logic_value(context: Context, node: Any) -> Operand:
    """``a and b`` as a value: the operand that decides, as in Python. Of bools only: a Bool."""
    return _decide(context, node.op == "and", node.values, context.span(node))


def _decide(context: Context, conjunction: bool, values: list[Any], span: Span) -> Operand:
    first, rest = values[0], values[1:]
    if not rest:
        return operand(context, first)
    left: Operand
    only_bool = _gives_bool(first)
    if only_bool:
        found = test(context, first).settled()
        left = found.result(context.span(first))

        def kept(conjunction: bool) -> Operand:
            return Static(not conjunction, context.span(first))

    else:
        original = operand(context, first)
        only_bool = isinstance(original, tree.Node) and isinstance(original.type, Bool)
        left, kept = bind_for_choice(context, original)
        found = truth_test(context, left).settled()
    if found.known is not None:
        context.state = found.yes if found.known else found.no
        if found.known is conjunction:
            return _decide(context, conjunction, rest, span)
        for node in rest:
            context.coverage.skip(node)
        return left
    assert found.expr is not None
    context.state = found.yes if conjunction else found.no
    right = _decide(context, conjunction, rest, span)
    context.state = join_states(context.state, found.no if conjunction else found.yes)
    if only_bool and isinstance(left, tree.Node):
        if isinstance(right, Static) and isinstance(right.value, bool):
            right = conversions.runtime(context, right)
        if isinstance(right, tree.Node) and isinstance(right.type, Bool):
            return tree.Logic(conjunction=conjunction, operands=(left, right), span=span)
    other = kept(conjunction)
    arms = (right, other) if conjunction else (other, right)
    return conditional(context, found.expr, arms[0], arms[1], span)


def _gives_bool(node: Any) -> bool:
    return type(node).__name__ == "Compare" or type(node).__name__ == "UnaryOp" and node.op == "not"


def _same(found: Operand) -> Callable[[bool], Operand]:
    return lambda _: found


def bind_for_choice(context: Context, left: Operand) -> tuple[Operand, Callable[[bool], Operand]]:
    """An operand that is evaluated once for its truth, and then perhaps again as the value of an ``and`` or ``or``."""
    if isinstance(left, FoundInt | MaybeVariable):
        from pyebpf.frontend.optionals import bind_optional

        return bind_optional(context, left)
    expr = conversions.runtime(context, left)
    if isinstance(expr, tree.GetLocal):
        return expr, _same(expr)
    if isinstance(expr.type, Bool):
        return expr, lambda conjunction: Static(not conjunction, expr.span)
    local = context.temporary(expr.type, expr.span)
    again = tree.GetLocal(local=local, type=expr.type, span=expr.span)
    return tree.Bind(local=local, value=expr, type=expr.type, span=expr.span), _same(again)


@expression("IfExp")
def _conditional(context: Context, node: Any) -> Operand:
    found = test(context, node.test).settled()
    if found.known is not None:
        taken, skipped = (node.body, node.orelse) if found.known else (node.orelse, node.body)
        context.coverage.skip(skipped)
        context.state = found.yes if found.known else found.no
        return operand(context, taken)
    assert found.expr is not None
    context.state = found.yes
    then = operand(context, node.body)
    after, context.state = context.state, found.no
    otherwise = operand(context, node.orelse)
    context.state = join_states(after, context.state)
    return conditional(context, found.expr, then, otherwise, context.span(node))


def conditional(
    context: Context, chosen: tree.Expr, then: Operand, otherwise: Operand, span: Span
) -> tree.Expr:
    """``then if chosen else otherwise`` of two operands, in their common type."""
    none = [isinstance(o, Static) and o.value is None for o in (then, otherwise)]
    if any(none) and not all(none):
        other = conversions.runtime(context, otherwise if none[0] else then)
        if isinstance(other.type, Int | Bool):
            raise context.refusal(
                Code.E0301,
                span,
                "an integer or `None` can be held by a variable only",
                help="assign it in the branches of an `if` statement",
            )
        kind = join(other.type, NoneT())
        if not isinstance(kind, Maybe):
            conversions.refuse_type(context, other, "a reference")
        null = tree.NullConst(type=kind, span=span)
        arms: tuple[tree.Expr, tree.Expr] = (null, other) if none[0] else (other, null)
        return tree.Conditional(test=chosen, then=arms[0], otherwise=arms[1], type=kind, span=span)
    one, two = conversions.runtime(context, then), conversions.runtime(context, otherwise)
    try:
        joined = join(one.type, two.type)
    except Mismatch as mismatch:
        if mismatch.mixed_sign:
            arithmetic.refuse_mixed_arms(context, one, two, span)
        raise context.refusal(
            Code.E0305,
            span,
            f"this is {describe(one.type)} or {describe(two.type)}",
            labels=[Label(one.span, describe(one.type)), Label(two.span, describe(two.type))],
            notes=["both alternatives must have one type"],
        )
    assert not isinstance(joined, OptionalInt)
    return tree.Conditional(
        test=chosen,
        then=conversions.to_variable(context, one, joined),
        otherwise=conversions.to_variable(context, two, joined),
        type=joined,
        span=span,
    )


@expression("Tuple")
def _tuple(context: Context, node: Any) -> Operand:
    parts = [operand(context, child) for child in node.elts]
    span = context.span(node)
    if all(_foldable(part) for part in parts):
        return Static(tuple(part.value for part in parts if isinstance(part, Static)), span)
    return Items(tuple(parts), span)


@expression("NamedExpr")
def _walrus(context: Context, node: Any) -> Operand:
    from pyebpf.frontend.assignment import bind

    context.coverage.mark(node.target)
    found = operand(context, node.value)
    variable = context.scope.variable(node.target.name)
    if variable is None:
        raise context.bug("walrus target without a variable", context.span(node))
    return bind(context, variable, found, context.span(node.target))


def static_attribute(context: Context, found: Static, name: str, span: Span) -> Operand:
    """An attribute of a Python object, read while compiling."""
    try:
        return Static(getattr(found.value, name), span)
    except AttributeError:
        owner = getattr(found.value, "__name__", type(found.value).__name__)
        raise context.refusal(
            Code.E0203,
            span,
            f"`{owner}` has no attribute `{name}`",
            help=near(name, dir(found.value)),
        )
