"""Integer operations on edge values: kernel against evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TypeVar

import pytest

from pyebpf import layout as lay
from pyebpf.declare import GlobalDecl
from pyebpf.frontend import tree
from pyebpf.frontend.types import I64, U64, Int, Origin, Ref
from tests.kernel.build.running import Case, check
from tests.unit.build import trees as t

T = TypeVar("T")

EDGES = (0, 1, 2, 7, 63, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, -1, -2, -7, -(1 << 31), -(1 << 63))
U_EDGES = (0, 1, 5, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def batched(items: list[T], size: int) -> list[list[T]]:
    """``items`` in lists of at most ``size``."""
    return [items[i : i + size] for i in range(0, len(items), size)]


class Inputs:
    """Numbers that the compiler does not know: globals."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.known: dict[tuple[int, bool], GlobalDecl] = {}

    def get(self, value: int, unsigned: bool, as_type: Int | None = None) -> tree.Expr:
        """``value`` as an expression of type u64 or i64 (or ``as_type``)."""
        key = (value, unsigned)
        if key not in self.known:
            layout = lay.U64 if unsigned else lay.I64
            self.known[key] = GlobalDecl(layout, value, name=f"in{len(self.known)}")
            self.case.program.globals.append(self.known[key])
        decl = self.known[key]
        ref = tree.GlobalVar(span=t.AT, decl=decl, type=Ref(decl.layout, Origin.GLOBAL, True))
        type_ = as_type or (U64 if unsigned else I64)
        return tree.Read(span=t.AT, ref=ref, type=type_)


def _run(operations: Sequence[tuple[tree.Expr, ...]], case: Case) -> None:
    shows = [case.show(i, e) for i, (e,) in enumerate(operations)]
    check(case.program.unit(*shows, t.ret(t.num(0))))


def _mathematical(op: str, left: int, right: int) -> bool:
    return not (op in ("//", "%") and right == 0) and not (op in ("<<", ">>") and not 0 <= right < 64)


@pytest.mark.parametrize("op", ["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"])
def test_signed_arithmetic(op: str) -> None:
    pairs = [(a, b) for a, b in product(EDGES, EDGES) if _mathematical(op, a, b)]
    for chunk in batched(pairs, 64):
        case = Case()
        inputs = Inputs(case)
        _run([(t.arith(op, inputs.get(a, False), inputs.get(b, False)),) for a, b in chunk], case)


@pytest.mark.parametrize("op", ["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"])
def test_unsigned_arithmetic(op: str) -> None:
    pairs = [(a, b) for a, b in product(U_EDGES, U_EDGES) if _mathematical(op, a, b)]
    case = Case()
    inputs = Inputs(case)
    _run([(t.arith(op, inputs.get(a, True), inputs.get(b, True), U64),) for a, b in pairs], case)


@pytest.mark.parametrize("op", ["//", "%"])
def test_division_by_known_and_by_positive(op: str) -> None:
    case = Case()
    inputs = Inputs(case)
    positive = Int(False, 1, 100)
    operations = []
    for a in EDGES[3:]:
        operations += [(t.arith(op, inputs.get(a, False), t.num(b)),) for b in (1, 8, 10, -1, -3)]
        operations.append((t.arith(op, inputs.get(a, False), inputs.get(10, False, positive)),))
    _run(operations, case)


@pytest.mark.parametrize("op", ["//", "%"])
def test_unsigned_by_signed(op: str) -> None:
    case = Case()
    inputs = Inputs(case)
    pairs = [(a, b) for a, b in product(U_EDGES, (1, 7, -1, -2, -(1 << 63)))]
    _run([(t.arith(op, inputs.get(a, True), inputs.get(b, False), U64),) for a, b in pairs], case)


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">="])
def test_comparisons_of_every_mix(op: str) -> None:
    sides = [(e, False) for e in (0, 1, (1 << 63) - 1, -1, -(1 << 63))] + [
        (e, True) for e in U_EDGES[:2] + U_EDGES[4:]
    ]
    for chunk in batched(list(product(sides, sides)), 64):
        case = Case()
        inputs = Inputs(case)
        operations = []
        for (a, ua), (b, ub) in chunk:
            test = t.compare(op, inputs.get(a, ua), inputs.get(b, ub))
            operations.append((tree.ToInt(span=t.AT, operand=test, type=Int(False, 0, 1)),))
        _run(operations, case)


def test_division_by_zero_raises() -> None:
    case = Case(error_verdict=5)
    inputs = Inputs(case)
    divide = t.arith("//", t.num(7), inputs.get(0, False), may_be_zero=True)
    assert check(case.program.unit(case.show(0, divide), t.ret(t.num(1)))).verdict == 5


def test_unary_wrap_swap_log2() -> None:
    case = Case()
    inputs = Inputs(case)
    operations: list[tuple[tree.Expr, ...]] = []
    for a in (0, 0x1122334455667788, -2):
        x = inputs.get(a, False)
        operations.append((tree.Negate(span=t.AT, operand=x, type=I64),))
        operations.append((tree.Invert(span=t.AT, operand=x, type=I64),))
        operations.append((tree.Reinterpret(span=t.AT, operand=x, type=U64),))
        operations.append((tree.Log2(span=t.AT, operand=x, type=Int(False, 0, 63)),))
        for layout in (lay.U8, lay.I8, lay.U16, lay.I16, lay.U32, lay.I32, lay.U64):
            operations.append((tree.Wrap(span=t.AT, layout=layout, operand=x, type=t.integer(layout)),))
        for bits in (16, 32, 64):
            operations.append((tree.SwapBytes(span=t.AT, bits=bits, operand=x, type=U64),))
    _run(operations, case)


def test_logarithms() -> None:
    case = Case()
    inputs = Inputs(case)
    numbers = [0, 1, 2, 3, 4, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, 1 << 47, (1 << 64) - 1]
    _run(
        [(tree.Log2(span=t.AT, operand=inputs.get(n, True), type=Int(False, 0, 63)),) for n in numbers], case
    )
