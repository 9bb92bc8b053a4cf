"""Which ``while`` loops end: the rules, and how many iterations they allow for.

A ``while`` loop is accepted if one of these holds; nothing else is tried.

* *Counter*: the test is (or its ``and`` contains) a comparison ``i < b``, ``i <= b``, ``i > b``, ``i >= b`` or
  ``i != b`` of a local integer with a bound that the body does not assign, every assignment to ``i`` in the body
  adds (subtracts) a constant and moves it towards the bound, and every way through the body passes at least one.
  The iterations are the distance of the intervals, divided by the smallest step. ``i != b`` asks for steps of 1.
  An ``if i >= b: break`` among the statements of the body itself counts as a test too.
* *Shrinking*: the test is the truth of a local integer that is never negative (``x``, ``x != 0``, ``x > 0``), and
  every way through the body shifts it right, divides it by a constant of at least 2, or clears its lowest bit
  (``x &= x - 1``), and does nothing else to it: at most 64 iterations.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.codes import Code
from pyebpf.frontend import tree
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import State, Variable
from pyebpf.frontend.guards import Trips, followed
from pyebpf.frontend.session import Context, Poisoned, Refused
from pyebpf.frontend.types import I64_MAX, I64_MIN, Int
from pyebpf.frontend.values import Static
from pyebpf.hints import Any
from pyebpf.records import dataclass

TRIPS_LIMIT = 1 << 23


def while_trips(context: Context, node: Any, entry: State | None, body: State | None) -> Trips:
    """The most iterations of a ``while`` loop by the rules above; refuses loops that they do not cover.

    ``entry`` is the state before the loop, ``body`` the one behind its test.
    """
    best: Trips | None = None
    reasons: list[str] = []
    for condition in _conditions(context, node):
        found = _counter(context, node, condition, entry, body, reasons) or _shrinking(
            context, node, condition, entry
        )
        if found is not None:
            best = found if best is None or found.count < best.count else best
    if best is None or best.count > TRIPS_LIMIT:
        if best is not None:
            reasons = [f"it may take {best.count} iterations, at most {TRIPS_LIMIT} are allowed"]
        raise context.refusal(
            Code.E0401,
            node.test,
            "it cannot be shown that this loop ends",
            notes=reasons[:2]
            or ["no variable of the test moves towards a fixed bound on every way through the body"],
            help="count with `for i in range(n)` and leave with `break`, or use `bpf.loop(n, body, state)`",
        )
    return best


@dataclass(slots=True)
class _Condition:
    """A part of the test that must hold for another iteration. ``negated``: it ends the loop when it holds."""

    node: Any
    negated: bool


def _conditions(context: Context, node: Any) -> Iterator[_Condition]:
    yield from _conjuncts(node.test, False)
    for child in node.body:
        if type(child).__name__ == "If" and not child.orelse and _only_leaves(child.body):
            yield from _conjuncts(child.test, True)
        if _may_continue(child):
            return  # what follows is not reached on every way
    del context


def _conjuncts(node: Any, negated: bool) -> Iterator[_Condition]:
    kind = type(node).__name__
    if kind == "BoolOp" and node.op == ("or" if negated else "and"):
        for child in node.values:
            yield from _conjuncts(child, negated)
    elif kind == "UnaryOp" and node.op == "not":
        yield from _conjuncts(node.operand, not negated)
    else:
        yield _Condition(node, negated)


def _only_leaves(nodes: list[Any]) -> bool:
    return bool(nodes) and type(nodes[-1]).__name__ in ("Break", "Return", "Raise")


def _may_continue(node: Any) -> bool:
    return any(type(found).__name__ == "Continue" for found in _walk([node], into_loops=False))


def _walk(nodes: list[Any], *, into_loops: bool = True) -> Iterator[Any]:
    work = list(reversed(nodes))
    while work:
        node = work.pop()
        yield node
        if not into_loops and type(node).__name__ in ("While", "For"):
            continue
        work.extend(reversed(list(node.get_children())))


_FLIP = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}
_NEGATE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!="}


def _counter(
    context: Context,
    node: Any,
    condition: _Condition,
    entry: State | None,
    body: State | None,
    reasons: list[str],
) -> Trips | None:
    if type(condition.node).__name__ != "Compare" or len(condition.node.ops) != 1:
        return None
    op, right = condition.node.ops[0]
    sides = [(condition.node.left, right, op), (right, condition.node.left, _FLIP.get(op, op))]
    for side, other, relation in sides:
        if condition.negated:
            relation = _NEGATE.get(relation, "")
        if relation not in _FLIP or type(side).__name__ != "Name":
            continue
        variable = context.scope.variable(side.name)
        if variable is None or variable.local.boxed or entry is None or variable not in entry.known:
            continue
        steps = _steps(context, node.body, variable)
        if not steps:
            reasons.append(f"`{variable.name}` is not changed by constant steps alone")
            continue
        if not _always(context, node.body, variable, _is_step):
            reasons.append(f"`{variable.name}` is not changed on every way through the body")
            continue
        start = _start(variable, entry, body)
        bound = _bound_interval(context, node, other, entry)
        if start is None or bound is None:
            continue
        count = _distance(variable, start, bound, relation, steps)
        if count is not None:
            first = entry.known[variable].type
            assert isinstance(first, Int)
            fixed = bound.lo == bound.hi and bound.exact
            exact = relation != "!=" or (fixed and first.lo == first.hi)
            seen = exact and followed(context, first, bound, constant_bound=fixed)
            return Trips(count, seen, variable.local)
    return None


def _start(variable: Variable, entry: State, body: State | None) -> Int | None:
    """Where the counter may stand when the first iteration begins: what it is before the loop, and behind the test."""
    before = entry.known[variable].type
    behind = body.known[variable].type if body is not None and variable in body.known else None
    if not isinstance(before, Int) or not isinstance(behind, Int):
        return None
    return Int(before.unsigned, max(before.lo, behind.lo), min(before.hi, behind.hi))


def _distance(variable: Variable, start: Int, bound: Int, relation: str, steps: list[int]) -> int | None:
    """The most iterations until the counter has passed the bound; None where it moves away from it."""
    up, down = all(s > 0 for s in steps), all(s < 0 for s in steps)
    smallest = min(abs(s) for s in steps)
    largest = max(abs(s) for s in steps)
    match relation:
        case "<" if up:
            distance = bound.hi - start.lo
        case "<=" if up:
            distance = bound.hi - start.lo + 1
        case ">" if down:
            distance = start.hi - bound.lo
        case ">=" if down:
            distance = start.hi - bound.lo + 1
        case "!=" if up and largest == 1 and start.hi <= bound.lo:
            distance = bound.hi - start.lo
        case "!=" if down and largest == 1 and start.lo >= bound.hi:
            distance = start.hi - bound.lo
        case _:
            return None
    # A counter that may pass the end of its 64 bits before the test sees it would never stop.
    limit = bound.hi + largest if up else bound.lo - largest
    if not I64_MIN <= limit <= I64_MAX or (start.unsigned and limit < 0):
        return None
    if variable.wrap is not None and not variable.wrap.lo <= limit <= variable.wrap.hi:
        return None
    return max(0, -(-distance // smallest)) + 1


def _bound_interval(context: Context, node: Any, other: Any, entry: State) -> Int | None:
    """The interval of the bound at the entry of the loop; None where the body may change it."""
    assigned = {found.name for found in _walk(node.body) if type(found).__name__ == "AssignName"}
    for found in _walk([other]):
        kind = type(found).__name__
        if kind == "Name" and found.name in assigned:
            return None
        if kind not in ("Name", "Const", "Attribute", "BinOp", "UnaryOp", "Call"):
            return None
        if kind == "Call" and not (type(found.func).__name__ == "Name" and found.func.name == "len"):
            return None
    saved = (context.state, context.coverage, context.errors[-1].raised)
    context.state, context.coverage = entry.copy(), Coverage()
    context.errors[-1].raised = set()
    try:
        with context.collecting():
            bound = operand(context, other)
    except (Refused, Poisoned):
        return None
    finally:
        context.state, context.coverage, context.errors[-1].raised = saved
    if isinstance(bound, Static):
        return Int(False, int(bound.value), int(bound.value)) if isinstance(bound.value, int) else None
    if isinstance(bound, tree.Node) and isinstance(bound.type, Int):
        return bound.type
    return None


# ---------------------------------------------------------------- assignments in the body


def _assignments(nodes: list[Any], variable: Variable) -> Iterator[Any]:
    """Every statement that assigns the variable, wherever it is in the body."""
    for node in _walk(nodes):
        if type(node).__name__ == "AssignName" and node.name == variable.name:
            yield node.parent


def _constant(context: Context, node: Any) -> int | None:
    if type(node).__name__ == "Const":
        return int(node.value) if isinstance(node.value, int) else None
    if type(node).__name__ == "UnaryOp" and node.op == "-":
        inner = _constant(context, node.operand)
        return None if inner is None else -inner
    if type(node).__name__ == "Name" and context.scope.variable(node.name) is None:
        value = context.scope.constant(node.name)
        return int(value) if isinstance(value, int) else None
    return None


def _step(context: Context, node: Any, variable: Variable) -> int | None:
    """How far an assignment moves the variable: ``i += 2``, ``i = i - 1``."""
    kind = type(node).__name__
    if kind == "AugAssign" and node.op in ("+=", "-="):
        amount = _constant(context, node.value)
        return None if amount is None else amount if node.op == "+=" else -amount
    if kind == "Assign" and len(node.targets) == 1 and type(node.value).__name__ == "BinOp":
        left, op, right = node.value.left, node.value.op, node.value.right
        if type(left).__name__ == "Name" and left.name == variable.name and op in ("+", "-"):
            amount = _constant(context, right)
            return None if amount is None else amount if op == "+" else -amount
    return None


def _is_step(context: Context, node: Any, variable: Variable) -> bool:
    return _step(context, node, variable) is not None


def _steps(context: Context, nodes: list[Any], variable: Variable) -> list[int]:
    """The steps of all assignments; empty where one of them is something else."""
    steps: list[int] = []
    for found in _assignments(nodes, variable):
        step = _step(context, found, variable)
        if not step:
            return []
        steps.append(step)
    return steps


def _is_shrink(context: Context, node: Any, variable: Variable) -> bool:
    kind = type(node).__name__
    if kind == "AugAssign":
        op, value = node.op.removesuffix("="), node.value
    elif kind == "Assign" and len(node.targets) == 1 and type(node.value).__name__ == "BinOp":
        left = node.value.left
        if type(left).__name__ != "Name" or left.name != variable.name:
            return False
        op, value = node.value.op, node.value.right
    else:
        return False
    amount = _constant(context, value)
    if op == ">>":
        return amount is not None and amount >= 1
    if op == "//":
        return amount is not None and amount >= 2
    return (
        op == "&"
        and type(value).__name__ == "BinOp"
        and value.op == "-"
        and type(value.left).__name__ == "Name"
        and value.left.name == variable.name
        and _constant(context, value.right) == 1
    )


def _is_shift(context: Context, node: Any) -> bool:
    """Whether a shrinking assignment is a shift (or a division by a power of two), which the verifier follows."""
    op, value = (
        (node.op.removesuffix("="), node.value)
        if type(node).__name__ == "AugAssign"
        else (node.value.op, node.value.right)
    )
    amount = _constant(context, value)
    return op == ">>" or (op == "//" and amount is not None and amount & (amount - 1) == 0)


def _shrinking(context: Context, node: Any, condition: _Condition, entry: State | None) -> Trips | None:
    name = _tested_for_zero(context, condition)
    variable = context.scope.variable(name) if name else None
    if variable is None or variable.local.boxed or not isinstance(variable.declared, Int) or entry is None:
        return None
    if not variable.declared.nonnegative:
        return None
    found = list(_assignments(node.body, variable))
    if (
        found
        and all(_is_shrink(context, a, variable) for a in found)
        and _always(context, node.body, variable, _is_shrink)
    ):
        seen = variable.declared.exact and all(_is_shift(context, a) for a in found)
        return Trips(65, seen, variable.local)
    return None


def _tested_for_zero(context: Context, condition: _Condition) -> str | None:
    node = condition.node
    if type(node).__name__ == "Name":
        return None if condition.negated else str(node.name)
    if type(node).__name__ == "Compare" and len(node.ops) == 1 and type(node.left).__name__ == "Name":
        op, right = node.ops[0]
        wanted = ("==", "<=") if condition.negated else ("!=", ">")
        if op in wanted and _constant(context, right) == 0:
            return str(node.left.name)
    return None


def _always(context: Context, nodes: list[Any], variable: Variable, matches: Any) -> bool:
    """Whether every way through the statements to their end (or to ``continue``) passes a matching assignment."""
    for node in nodes:
        kind = type(node).__name__
        if kind in ("AugAssign", "Assign") and matches(context, node, variable):
            targets = [node.target] if kind == "AugAssign" else node.targets
            if any(type(t).__name__ == "AssignName" and t.name == variable.name for t in targets):
                return True
        if kind in ("Break", "Return", "Raise"):
            return True  # this way does not come back
        if kind == "If":
            arms = [_always(context, arm, variable, matches) for arm in (node.body, node.orelse)]
            if all(arms):
                return True
        if kind == "With" and _always(context, node.body, variable, matches):
            return True
        if _may_continue(node) and not (kind == "If" and _continues_safely(context, node, variable, matches)):
            return False
    return False


def _continues_safely(context: Context, node: Any, variable: Variable, matches: Any) -> bool:
    """Whether each arm of an ``if`` that continues has made its step before."""
    return all(
        not any(_may_continue(child) for child in arm) or _always(context, arm, variable, matches)
        for arm in (node.body, node.orelse)
    )
