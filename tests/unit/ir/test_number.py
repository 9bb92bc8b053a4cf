"""Numbers against what they stand for: every number of a few bits, and random ones of 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyebpf.ir import arithmetic, number, relations
from pyebpf.ir.number import Number
from pyebpf.ir.ops import BinOp, Pred
from tests.unit.ir.interp import Fault, as_signed, compare
from tests.unit.ir.interp import arithmetic as concrete
from tests.unit.ir.numbers import around, members, small_numbers, words

# Widths without and with bounds of the low half.
KINDS = ((1, False), (3, False), (4, True))
BINARY = [(op, *kind) for op in BinOp for kind in KINDS]
RELATIONS = [(pred, *kind) for pred in Pred for kind in KINDS]


def some_numbers(width: int, halves: bool) -> tuple[Number, ...]:
    """All of three bits; of four bits one of each three, which leaves enough pairs."""
    return small_numbers(width, halves=halves)[:: 3 if width > 3 else 1]


def elements(mask: int) -> list[int]:
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


def mask_of(n: Number | None) -> int:
    return 0 if n is None else members(n)


@pytest.mark.parametrize(("width", "halves"), KINDS)
def test_the_parts_narrow_one_another_and_lose_nothing(width: int, halves: bool) -> None:
    found = small_numbers(width, halves=halves)
    for a in found:
        for b in found:
            inside, outside = members(a) & members(b), members(a) | members(b)
            assert mask_of(number.meet(a, b)) & inside == inside
            assert members(number.join(a, b)) & outside == outside
            assert members(number.widen(a, b)) & outside == outside


@pytest.mark.parametrize(("width", "halves"), KINDS)
def test_bounds_are_among_the_numbers_or_tight(width: int, halves: bool) -> None:
    """An interval alone, known bits alone: each is described exactly."""
    for n in small_numbers(width, halves=halves):
        values = elements(members(n))
        assert values and n.wide[0] <= values[0] and values[-1] <= n.wide[1]
        assert (n.constant is None) == (len(values) > 1)
        assert number.reduced(width, n.wide, n.low, n.known) == n


@pytest.mark.parametrize(("op", "width", "halves"), BINARY)
def test_no_result_is_missing(op: BinOp, width: int, halves: bool) -> None:
    def result(a: int, b: int) -> int | None:
        try:
            return concrete(op, a, b, width) % (1 << width)
        except Fault:
            return None

    table = [[result(a, b) for b in range(1 << width)] for a in range(1 << width)]

    @cache
    def row(a: int, mask: int) -> int:
        return sum({1 << r for b in elements(mask) if (r := table[a][b]) is not None})

    for a in small_numbers(width, halves=halves):
        left = elements(members(a))
        for b in small_numbers(width, halves=halves):
            wanted = 0
            for x in left:
                wanted |= row(x, members(b))
            found = mask_of(arithmetic.binary(op, a, b))
            assert wanted & ~found == 0, f"{op.value}: {a} | {b}: {elements(wanted & ~found)}"


@pytest.mark.parametrize(("width", "halves"), KINDS)
def test_conversions_miss_nothing(width: int, halves: bool) -> None:
    for n in small_numbers(width, halves=halves):
        values = elements(members(n))
        negative = mask_of(arithmetic.negate(n))
        assert all(negative >> (-value % (1 << width)) & 1 for value in values)
        for low in range(1, width + 1):
            short = [value % (1 << low) for value in values]
            cut = mask_of(arithmetic.cut(n, low, halves=halves))
            zext = mask_of(arithmetic.zero_extended(n, low, width, halves=halves))
            sext = mask_of(arithmetic.sign_extended(n, low, width, halves=halves))
            for value in short:
                assert cut >> value & 1
                assert zext >> value & 1
                assert sext >> as_signed(value, low) % (1 << width) & 1
            if low == width:
                assert cut == members(n)


@pytest.mark.parametrize(("pred", "width", "halves"), RELATIONS)
def test_no_pair_is_missing_where_a_relation_holds(pred: Pred, width: int, halves: bool) -> None:
    @cache
    def row(a: int, mask: int) -> int:
        return sum(1 << b for b in elements(mask) if compare(pred, a, b, width))

    for a in some_numbers(width, halves):
        left = elements(members(a))
        for b in some_numbers(width, halves):
            right = members(b)
            answers = set()
            for holds in (True, False):
                rows = {x: row(x, right) if holds else right & ~row(x, right) for x in left}
                wanted = sum(1 << x for x, some in rows.items() if some), 0
                for some in rows.values():
                    wanted = wanted[0], wanted[1] | some
                if wanted[1]:
                    answers.add(holds)
                found = relations.assumed(pred, holds, a, b)
                masks = (0, 0) if found is None else (members(found[0]), members(found[1]))
                assert not wanted[0] & ~masks[0] and not wanted[1] & ~masks[1], (
                    f"{pred.value} {holds}: {a} | {b}"
                )
                assert not masks[0] & ~members(a) and not masks[1] & ~right
            decided = relations.decided(pred, a, b)
            assert decided is None or answers <= {decided}, f"{pred.value}: {a} | {b}"


@given(st.data(), st.sampled_from(list(BinOp)), words(), words(), st.booleans())
def test_binary_at_64_bits(data: st.DataObject, op: BinOp, a: int, b: int, halves: bool) -> None:
    if op in arithmetic.SHIFTS:
        b %= 64
    try:
        result = concrete(op, a, b, 64) % (1 << 64)
    except Fault:
        return
    left, right = data.draw(around(a, halves=halves)), data.draw(around(b, halves=halves))
    found = arithmetic.binary(op, left, right)
    assert found is not None and found.contains(result)
    exact = arithmetic.binary(
        op, number.constant(64, a, halves=halves), number.constant(64, b, halves=halves)
    )
    assert exact is not None and exact.constant == result


@given(st.data(), words(), st.sampled_from((1, 8, 16, 32, 64)), st.booleans())
def test_conversions_at_64_bits(data: st.DataObject, value: int, low: int, halves: bool) -> None:
    n = data.draw(around(value, halves=halves))
    short = value % (1 << low)
    checks: list[tuple[Callable[[Number], Number | None], int]] = [
        (arithmetic.negate, -value % (1 << 64)),
        (lambda n: arithmetic.cut(n, low), short),
        (lambda n: arithmetic.zero_extended(n, low, 64, halves=halves), short),
        (lambda n: arithmetic.sign_extended(n, low, 64, halves=halves), as_signed(short, low) % (1 << 64)),
    ]
    if low >= 16:
        swapped = int.from_bytes(short.to_bytes(low // 8, "little"), "big")
        checks.append((lambda n: arithmetic.byte_swapped(n, low, halves=halves), swapped))
    for convert, wanted in checks:
        found = convert(n)
        assert found is not None and found.contains(wanted)
        exact = convert(number.constant(64, value, halves=halves))
        assert exact is not None and exact.constant == wanted


@given(st.data(), words(), st.sampled_from((8, 16, 32)), st.booleans(), st.sampled_from((32, 64)))
def test_what_an_extension_tells_of_its_operand(
    data: st.DataObject, value: int, low: int, signed: bool, width: int
) -> None:
    value %= 1 << width
    short = value % (1 << low)
    extended = as_signed(short, low) % (1 << width) if signed else short
    n, outer = data.draw(around(value, width)), data.draw(around(extended, width))
    found = arithmetic.extended_from(n, outer, low)
    assert found is not None and found.contains(value)
    if low < 32:
        narrow = data.draw(around(short, low, halves=False))
        found = arithmetic.extended_from(n, narrow, low)
        assert found is not None and found.contains(value)


@given(st.data(), words(), words(), st.sampled_from(list(BinOp)), st.sampled_from(list(Pred)))
def test_all_parts_together_at_six_bits(data: st.DataObject, a: int, b: int, op: BinOp, pred: Pred) -> None:
    """Numbers that all parts bound at once, with all that they stand for."""
    left, right = data.draw(around(a % 64, 6)), data.draw(around(b % 64, 6))
    found = arithmetic.binary(op, left, right)
    pairs = [(x, y) for x in elements(members(left)) for y in elements(members(right))]
    for x, y in pairs:
        try:
            result = concrete(op, x, y, 6) % 64
        except Fault:
            continue
        assert found is not None and found.contains(result)
    for holds in (True, False):
        assumed = relations.assumed(pred, holds, left, right)
        for x, y in pairs:
            if compare(pred, x, y, 6) == holds:
                assert assumed is not None and assumed[0].contains(x) and assumed[1].contains(y)
    decided = relations.decided(pred, left, right)
    assert decided is None or {compare(pred, x, y, 6) for x, y in pairs} == {decided}


@given(st.data(), st.sampled_from(list(Pred)), words(), words(), st.booleans(), st.sampled_from((32, 64)))
def test_relations_at_full_width(
    data: st.DataObject, pred: Pred, a: int, b: int, halves: bool, width: int
) -> None:
    a, b = a % (1 << width), b % (1 << width)
    holds = compare(pred, a, b, width)
    left = data.draw(around(a, width, halves=halves))
    right = data.draw(
        st.one_of(around(b, width, halves=halves), st.just(number.constant(width, b, halves=halves)))
    )
    found = relations.assumed(pred, holds, left, right)
    assert found is not None and found[0].contains(a) and found[1].contains(b)
    assert relations.decided(pred, left, right) in (None, holds)
    exact = number.constant(width, a, halves=halves), number.constant(width, b, halves=halves)
    assert relations.decided(pred, *exact) == holds


@given(st.data(), words(), words())
def test_lattice_at_64_bits(data: st.DataObject, a: int, b: int) -> None:
    one, other, again = data.draw(around(a)), data.draw(around(b)), data.draw(around(a))
    both = number.meet(one, again)
    assert both is not None and both.contains(a)
    for wide in (number.join(one, other), number.widen(one, other)):
        assert wide.contains(a) and wide.contains(b)


def test_widening_ends() -> None:
    """A counter that goes up by four: its bounds go, its two zero bits stay."""
    four = number.constant(64, 4)
    n = number.constant(64, 0)
    for _ in range(4):
        step = arithmetic.binary(BinOp.ADD, n, four)
        assert step is not None
        n = number.widen(n, number.join(n, step))
    step = arithmetic.binary(BinOp.ADD, n, four)
    assert step is not None and number.widen(n, number.join(n, step)) == n
    assert n.known == (0, (1 << 64) - 4)


def between(least: int, greatest: int, width: int = 64) -> Number:
    """The numbers from ``least`` to ``greatest``."""
    half = 1 << (width - 1)
    low = number.unknown(width).low
    found = number.reduced(width, (least, greatest, -half, half - 1), low, (0, 2 * half - 1))
    assert found is not None
    return found


EXACT = (
    ("add", BinOp.ADD, between(3, 9), between(10, 20), (13, 29)),
    ("add a negative constant", BinOp.ADD, between(3, 9), number.constant(64, (1 << 64) - 3), (0, 6)),
    ("sub", BinOp.SUB, between(30, 40), between(10, 20), (10, 30)),
    ("mul", BinOp.MUL, between(2, 5), between(3, 4), (6, 20)),
    ("mask", BinOp.AND, number.unknown(64), number.constant(64, 0x3F), (0, 63)),
    ("mask of a small number", BinOp.AND, between(0, 9), number.constant(64, 0x3F), (0, 9)),
    ("or", BinOp.OR, between(0, 7), number.constant(64, 8), (8, 15)),
    ("shl", BinOp.SHL, between(3, 9), number.constant(64, 4), (48, 144)),
    ("lshr", BinOp.LSHR, between(48, 150), number.constant(64, 4), (3, 9)),
    ("lshr of anything", BinOp.LSHR, number.unknown(64), number.constant(64, 60), (0, 15)),
    ("udiv", BinOp.UDIV, between(48, 150), number.constant(64, 10), (4, 15)),
    ("urem", BinOp.UREM, number.unknown(64), number.constant(64, 10), (0, 9)),
    ("urem of less", BinOp.UREM, between(3, 9), number.constant(64, 10), (3, 9)),
    ("srem", BinOp.SREM, between(0, 1000), number.constant(64, 10), (0, 9)),
    ("sdiv", BinOp.SDIV, between(48, 150), number.constant(64, 10), (4, 15)),
    ("ashr", BinOp.ASHR, between(48, 150), number.constant(64, 4), (3, 9)),
)


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"), [case[1:] for case in EXACT], ids=[case[0] for case in EXACT]
)
def test_exact_where_it_matters(op: BinOp, a: Number, b: Number, wanted: tuple[int, int]) -> None:
    found = arithmetic.binary(op, a, b)
    assert found is not None and found.wide[:2] == wanted


def test_signed_results_are_exact_too() -> None:
    minus = arithmetic.binary(BinOp.SUB, between(0, 5), number.constant(64, 10))
    assert minus is not None and minus.wide[2:] == (-10, -5)
    quarter = arithmetic.binary(BinOp.ASHR, minus, number.constant(64, 1))
    assert quarter is not None and quarter.wide[2:] == (-5, -3)
    assert str(minus) == f"{(1 << 64) - 10}…{(1 << 64) - 5}, -10…-5, bits 0xfffffffffffffff0 or 0xf"


def test_a_masked_number_keeps_its_zero_bits() -> None:
    aligned = arithmetic.binary(BinOp.AND, number.unknown(64), number.constant(64, ~7 & (1 << 64) - 1))
    assert aligned is not None
    further = arithmetic.binary(BinOp.ADD, aligned, number.constant(64, 3))
    assert further is not None and further.known == (3, (1 << 64) - 8)


def test_the_low_half_survives_what_wraps_above() -> None:
    word = arithmetic.zero_extended(number.unknown(64), 32, 64)
    small = relations.assumed(Pred.ULT, True, number.unknown(32), number.constant(32, 100))
    assert word is not None and small is not None
    n = number.reduced(64, number.unknown(64).wide, small[0].wide, (0, (1 << 64) - 1))
    assert n is not None and n.wide[0] == 0
    sum_ = arithmetic.binary(BinOp.ADD, n, number.constant(64, 5))
    assert sum_ is not None
    assert (cut := arithmetic.cut(sum_, 32)) is not None and cut.wide[:2] == (5, 104)
    assert (zext := arithmetic.zero_extended(sum_, 32, 64)) is not None and zext.wide == (5, 104, 5, 104)


@pytest.mark.parametrize("pred", [p for p in Pred if p is not Pred.TEST])
def test_a_constant_bounds_exactly(pred: Pred) -> None:
    wanted = {
        Pred.EQ: (10, 10),
        Pred.NE: (0, 255),
        Pred.ULT: (0, 9),
        Pred.ULE: (0, 10),
        Pred.UGT: (11, 255),
        Pred.UGE: (10, 255),
        Pred.SLT: (0, 9),
        Pred.SLE: (0, 10),
        Pred.SGT: (11, 255),
        Pred.SGE: (10, 255),
    }
    found = relations.assumed(pred, True, between(0, 255), number.constant(64, 10))
    assert found is not None and found[0].wide[:2] == wanted[pred]


def test_unequal_moves_the_ends_only() -> None:
    for c, wanted in ((0, (1, 9)), (9, (0, 8)), (5, (0, 9))):
        found = relations.assumed(Pred.NE, True, between(0, 9), number.constant(64, c))
        assert found is not None and found[0].wide[:2] == wanted


def test_a_tested_bit_is_known_on_both_sides() -> None:
    set_, clear = (
        relations.assumed(Pred.TEST, h, number.unknown(64), number.constant(64, 8)) for h in (True, False)
    )
    assert set_ is not None and set_[0].known[0] == 8
    assert clear is not None and not clear[0].possible & 8


def test_what_cannot_be() -> None:
    assert relations.assumed(Pred.ULT, True, between(5, 9), number.constant(64, 5)) is None
    assert relations.assumed(Pred.EQ, True, between(5, 9), number.constant(64, 10)) is None
    assert number.meet(between(0, 4), between(5, 9)) is None
    assert number.reduced(64, (5, 7, -(1 << 63), (1 << 63) - 1), None, (8, 0)) is None


def test_numbers_are_values() -> None:
    assert between(1, 5) == between(1, 5) and len({between(1, 5), between(1, 5)}) == 1
