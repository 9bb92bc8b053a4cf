"""Mutations that change an expression: constants, indexes, operators, tests, names, arguments, results."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

from tests.mutants.edits import (
    Edit,
    exchange,
    expression,
    expressions,
    functions,
    is_read,
    mutation,
    put,
    statements,
)

BOUNDARIES = (
    -1,
    0,
    1,
    3,
    8,
    63,
    64,
    255,
    256,
    1000,
    65535,
    65536,
    10**6,
    2**31,
    2**32,
    2**63,
    2**64 - 1,
    2**64,
)
ARITHMETIC = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.FloorDiv,
    ast.Mod,
    ast.BitAnd,
    ast.BitOr,
    ast.BitXor,
    ast.LShift,
    ast.RShift,
    ast.Div,
)
COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
KINDS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "be16", "be32", "be64")


def _number(node: ast.expr) -> int | None:
    plain = (
        isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool)
    )
    return node.value if plain and isinstance(node, ast.Constant) and isinstance(node.value, int) else None


@mutation
def constant_beside(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A constant is one more or less, or twice as much."""
    for parent, name, at, node in expressions(module):
        number = _number(node)
        if number is not None:
            yield put(parent, name, at, ast.Constant(rng.choice((number + 1, number - 1, 2 * number))))


@mutation
def constant_at_boundary(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A constant becomes one where something ends."""
    for parent, name, at, node in expressions(module):
        if _number(node) is not None:
            yield put(parent, name, at, ast.Constant(rng.choice(BOUNDARIES)))


@mutation
def variable_for_constant(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A variable stands where a constant was."""
    for parent, name, at, node in expressions(module):
        names = _names(module)
        if _number(node) is not None and names:
            yield put(parent, name, at, ast.Name(rng.choice(names), ast.Load()))


@mutation
def index_moved(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """An index, or an offset in the packet, is somewhere else."""
    texts = ("x + 1", "x - 1", "-x", "x * 4", "x // 2", "x + 64", "x & 7", "x | 64", "x << 8", "i64(x) - 3")
    for parent, name, at, node in expressions(module):
        indexes = isinstance(parent, ast.Subscript) and name == "slice"
        reads = isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute)
        if (indexes and not isinstance(node, ast.Slice | ast.Tuple)) or (
            reads
            and isinstance(parent, ast.Call)
            and isinstance(parent.func, ast.Attribute)
            and parent.func.attr in ("read", "load", "load_bytes", "store")
        ):
            yield put(parent, name, at, _wrapped(rng.choice(texts), node))


def _wrapped(text: str, inner: ast.expr) -> ast.expr:
    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return inner if node.id == "x" else node

    filled = Fill().visit(expression(text))
    assert isinstance(filled, ast.expr)
    return filled


@mutation
def other_operator(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """An arithmetic operator becomes another."""
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.BinOp):
            yield put(node, "op", None, rng.choice(ARITHMETIC)())
    for _, statement in statements(module):
        if isinstance(statement, ast.AugAssign):
            yield put(statement, "op", None, rng.choice(ARITHMETIC)())


@mutation
def other_comparison(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A comparison becomes another."""
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.Compare):
            op = node.ops[0]
            if isinstance(op, ast.Is | ast.IsNot):
                yield put(node, "ops", 0, ast.IsNot() if isinstance(op, ast.Is) else ast.Is())
            elif isinstance(op, ast.In | ast.NotIn):
                yield put(node, "ops", 0, ast.NotIn() if isinstance(op, ast.In) else ast.In())
            else:
                yield put(node, "ops", 0, rng.choice(COMPARISONS)())


@mutation
def negated_test(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A test holds where it did not."""
    for parent, name, at, node in expressions(module):
        if name == "test" and isinstance(parent, ast.If | ast.While | ast.IfExp | ast.Assert):
            yield put(parent, name, at, ast.UnaryOp(ast.Not(), node))


@mutation
def other_logic(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``and`` becomes ``or``, and the reverse."""
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.BoolOp):
            yield put(node, "op", None, ast.Or() if isinstance(node.op, ast.And) else ast.And())


@mutation
def operand_alone(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``x & 7`` becomes ``x``: masks, bounds by ``min``, conversions."""
    for parent, name, at, node in expressions(module):
        if isinstance(node, ast.BinOp):
            yield put(parent, name, at, rng.choice((node.left, node.right)))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
            yield put(parent, name, at, rng.choice(node.args))


def _names(module: ast.Module) -> list[str]:
    found = {
        node.id
        for function in functions(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    found |= {parameter.arg for function in functions(module) for parameter in function.args.args}
    return sorted(found)


@mutation
def other_variable(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Another variable is read or assigned."""
    names = _names(module)
    for parent, name, at, node in expressions(module):
        if isinstance(node, ast.Name) and node.id in names and len(names) > 1:
            other = rng.choice([one for one in names if one != node.id])
            yield put(parent, name, at, ast.Name(other, node.ctx))


@mutation
def misspelled(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A variable, field, method, helper or constant is spelled slightly wrong."""
    for node in ast.walk(ast.Module([s for s in module.body if isinstance(s, ast.FunctionDef)], [])):
        if isinstance(node, ast.Attribute):
            yield put(node, "attr", None, _typo(node.attr, rng))
        elif isinstance(node, ast.Name) and node.id != "bpf":
            yield put(node, "id", None, _typo(node.id, rng))
        elif isinstance(node, ast.keyword) and node.arg:
            yield put(node, "arg", None, _typo(node.arg, rng))


def _typo(name: str, rng: random.Random) -> str:
    at = rng.randrange(len(name))
    shorter = name[:at] + name[at + 1 :]
    return rng.choice([name + "s", name + "_", shorter if shorter.isidentifier() else name + "x"])


@mutation
def other_function(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Another method or helper is called, with the same arguments."""
    names = sorted(
        {
            n.func.attr
            for n in ast.walk(module)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        }
        | {
            "read",
            "load",
            "get",
            "delete",
            "ktime_get_ns",
            "redirect",
            "copy",
            "adjust_head",
            "get_smp_processor_id",
        }
    )
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield put(node.func, "attr", None, rng.choice(names))


@mutation
def other_arguments(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Arguments change places, or there is one more."""
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.Call):
            if len(node.args) > 1:
                yield put(node, "args", None, node.args[::-1])
            yield put(node, "args", None, [*node.args, ast.Constant(1)])


@mutation
def other_type_argument(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``ctx.read(u8, …)`` reads another type, ``u32(x)`` converts to another."""
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.Call):
            for at, argument in enumerate(node.args):
                if isinstance(argument, ast.Name) and argument.id in KINDS:
                    yield put(node, "args", at, ast.Name(rng.choice(KINDS), ast.Load()))
            if isinstance(node.func, ast.Name) and node.func.id in KINDS:
                yield put(node, "func", None, ast.Name(rng.choice(KINDS[:8]), ast.Load()))


@mutation
def other_result(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Something else is returned."""
    names = _names(module)
    for block, statement in statements(module):
        if isinstance(statement, ast.Return) and names:
            value = rng.choice(["None", "2 ** 40", "-1", "(1, 2)", "b'x'", "1.5", *names])
            yield exchange(block, statement, [ast.Return(expression(value))])


@mutation
def other_value(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Something of another kind is assigned or passed."""
    for parent, name, at, node in expressions(module):
        if is_read(node) and isinstance(
            parent, ast.Assign | ast.AnnAssign | ast.Call | ast.BinOp | ast.Subscript
        ):
            yield put(
                parent, name, at, expression(rng.choice(("None", "True", "b'abc'", "'abc'", "0.5", "[]")))
            )


@mutation
def other_exception(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Another exception is raised or handled."""
    names = (
        "KeyError",
        "IndexError",
        "OSError",
        "ValueError",
        "ZeroDivisionError",
        "KeyboardInterrupt",
        "Exception",
    )
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            yield put(node, "type", None, ast.Name(rng.choice(names), ast.Load()))
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield put(node, "exc", None, ast.Name(rng.choice(names), ast.Load()))


@mutation
def other_bound(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A loop goes over more, less, or something without a known end."""
    texts = (
        "range(0)",
        "range(3000)",
        "range(10**7)",
        "range(5, 0, -1)",
        "range(bpf.get_prandom_u32())",
        "bpf",
    )
    for _, statement in statements(module):
        if isinstance(statement, ast.For):
            yield put(statement, "iter", None, expression(rng.choice(texts)))
        elif isinstance(statement, ast.While):
            yield put(
                statement, "test", None, expression(rng.choice(("True", "1 < 2", "bpf.get_prandom_u32()")))
            )
