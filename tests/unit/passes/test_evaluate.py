"""The compiler's arithmetic against the tests' own, on edge values and at random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyebpf.backend.passes import evaluate
from pyebpf.backend.passes.narrow import demanded_bits
from pyebpf.backend.passes.simplify import run as simplify
from pyebpf.diagnostics import Span
from pyebpf.ir import predicates
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import BinOp, Function, FunctionRole, Module, Param, Pred, Value
from pyebpf.ir.types import I64
from tests.unit.ir import interp

WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(
        (0, 1, 2, 63, 64, 255, 256, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 64) - 1)
    ),
)


@given(st.sampled_from(list(BinOp)), WORDS, WORDS, st.sampled_from((32, 64)))
def test_binary(op: BinOp, a: int, b: int, bits: int) -> None:
    a, b = a % (1 << bits), b % (1 << bits)
    try:
        wanted: int | None = interp.arithmetic(op, a, b, bits) % (1 << bits)
    except interp.Fault:
        wanted = None
    assert evaluate.binary(op, a, b, bits) == wanted


@given(st.sampled_from(list(Pred)), WORDS, WORDS, st.sampled_from((32, 64)))
def test_compare(pred: Pred, a: int, b: int, bits: int) -> None:
    a, b = a % (1 << bits), b % (1 << bits)
    assert evaluate.compare(pred, a, b, bits) == interp.compare(pred, a, b, bits)
    assert evaluate.compare(predicates.MIRRORED[pred], b, a, bits) == evaluate.compare(pred, a, b, bits)
    if pred in predicates.INVERSE:
        assert evaluate.compare(predicates.INVERSE[pred], a, b, bits) != evaluate.compare(pred, a, b, bits)


def expression(data: st.DataObject) -> tuple[Function, list[Value]]:
    """A function of two integers without branches, and every i64 in it."""
    function = Function(
        "f", [Param(0, type=I64), Param(1, type=I64)], I64, [], FunctionRole.SUBPROGRAM, Span("x", 1, 1, 1, 1)
    )
    b = Builder(function)
    values: list[Value] = [*function.params, b.const(data.draw(WORDS))]
    for _ in range(data.draw(st.integers(1, 8))):
        x, y = data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))
        match data.draw(st.integers(0, 8)):
            case 0:
                new: Value = b.zext(data.draw(st.sampled_from((8, 16, 32))), x)
            case 1:
                new = b.sext(data.draw(st.sampled_from((8, 16, 32))), x)
            case 2:
                new = b.bswap(data.draw(st.sampled_from((16, 32, 64))), x)
            case 3:
                new = b.zext(1, b.cmp(data.draw(st.sampled_from(list(Pred))), x, y))
            case 4:
                shift = b.const(data.draw(st.integers(0, 63)))
                new = b.binary(data.draw(st.sampled_from((BinOp.SHL, BinOp.LSHR, BinOp.ASHR))), x, shift)
            case 5:
                new = b.binary(
                    data.draw(st.sampled_from((BinOp.AND, BinOp.OR, BinOp.XOR))), x, b.const(data.draw(WORDS))
                )
            case 6:
                new = b.zext(32, b.trunc(x))
            case _:
                new = b.binary(
                    data.draw(st.sampled_from((BinOp.ADD, BinOp.SUB, BinOp.MUL, BinOp.AND, BinOp.OR))), x, y
                )
        values.append(new)
    b.ret(values[-1])
    return function, values


def run(function: Function, *args: int) -> object:
    return interp.Machine(Module({"f": function}), b"", bytes(24)).call(function, list(args))


@given(st.data(), st.lists(st.tuples(WORDS, WORDS), min_size=4, max_size=4))
def test_simplify_keeps_results(data: st.DataObject, inputs: list[tuple[int, int]]) -> None:
    function, _ = expression(data)
    wanted = [run(function, *pair) for pair in inputs]
    for _ in range(3):
        simplify(function)
        assert [run(function, *pair) for pair in inputs] == wanted


@given(st.data(), WORDS, WORDS)
def test_possible_bits_are_all_that_are_set(data: st.DataObject, a: int, b: int) -> None:
    function, values = expression(data)
    env: dict[Value, interp.Runtime] = {function.params[0]: a, function.params[1]: b}
    machine = interp.Machine(Module({"f": function}), b"", bytes(24))
    for op in function.entry.ops[:-1]:
        machine.execute(op, env)
        value = env[op]
        assert isinstance(value, int)
        assert value & ~evaluate.possible_bits(op) == 0
    assert all(v in env for v in values)


@given(st.data(), WORDS, WORDS, WORDS, WORDS)
def test_bits_that_are_not_demanded_do_not_matter(
    data: st.DataObject, a: int, b: int, other_a: int, other_b: int
) -> None:
    function, _ = expression(data)
    demanded = demanded_bits(function)
    masks = [demanded.get(param, 0) for param in function.params]
    changed = [x & m | y & ~m for x, y, m in zip((a, b), (other_a, other_b), masks, strict=True)]
    assert run(function, *changed) == run(function, a, b)
