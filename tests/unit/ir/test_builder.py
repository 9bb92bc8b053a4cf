"""The builder: places, spans, names."""

from __future__ import annotations

import pytest

from pyebpf.diagnostics import InternalError, Span
from pyebpf.ir.builder import Builder, NameSupply
from pyebpf.ir.ops import BinOp, Function, FunctionRole, Module, Param, Pred
from pyebpf.ir.text import print_function
from pyebpf.ir.types import I64, PtrTy, Space
from pyebpf.ir.verify import verify


def new_function() -> Function:
    return Function(
        "f", [Param(0, type=I64, name="x")], I64, [], FunctionRole.SUBPROGRAM, Span("x", 1, 1, 1, 1)
    )


def test_a_whole_function() -> None:
    function = new_function()
    b = Builder(function, Span("x", 2, 1, 2, 9))
    (x,) = function.params
    head, done = b.new_block("head"), b.new_block("done")
    zero = b.const(0)
    b.jump(head)
    assert b.terminated
    b.block = head
    value = b.binary(BinOp.ADD, x, b.const(-1))
    counter = b.phi(I64, {function.entry: zero, head: value}, name="counter")
    slot = b.alloca(16, 8, "slot")
    part = b.ptradd(slot, 8)
    assert part.type == PtrTy(Space.STACK, 8)
    b.store(part, 0, 8, counter)
    b.branch(b.logical_not(b.cmp(Pred.EQ, value, zero)), head, done)
    b.block = done
    b.ret(b.load(slot, 8))
    verify(Module({"f": function}))
    assert all(op.span == Span("x", 2, 1, 2, 9) for op in function.ops())
    assert print_function(function) == (
        "func subprogram @f(%x: i64) -> i64 {\n"
        "entry:\n"
        '  %slot = alloca 16 align 8 "slot"\n'
        "  %1 = const i64 0\n"
        "  jump head\n"
        "head:\n"
        "  %counter = phi i64 [entry: %1, head: %3]\n"
        "  %2 = const i64 18446744073709551615\n"
        "  %3 = add i64 %x, %2\n"
        "  %4 = const i64 8\n"
        "  %5 = ptradd ptr<stack:8> %slot, %4\n"
        "  store.8 %5 + 0, %counter\n"
        "  %6 = cmp eq %3, %1\n"
        "  %7 = const i1 1\n"
        "  %8 = xor i1 %6, %7\n"
        "  branch %8, head, done\n"
        "done:\n"
        "  %9 = load.8 i64 %slot + 8\n"
        "  return %9\n"
        "}\n"
    )


def test_nothing_follows_a_terminator() -> None:
    b = Builder(new_function())
    b.unreachable()
    with pytest.raises(InternalError, match=r"Const appended to block 'entry'.*|bug in building SSA"):
        b.const(1)


def test_continuing_a_function() -> None:
    function = new_function()
    Builder(function).alloca(8, 8, "a")
    again = Builder(function)
    again.const(3)
    again.alloca(8, 8, "b")
    assert [type(op).__name__ for op in function.entry.ops] == ["Alloca", "Alloca", "Const"]
    assert again.new_block("entry").name == "entry.1"


def test_names() -> None:
    supply = NameSupply(["then", "then.2"])
    assert [supply.fresh(w) for w in ("then", "then.1", "then", "else", "a.b", "a.b", "9")] == [
        "then.1",
        "then.3",
        "then.4",
        "else",
        "a.b",
        "a.b.1",
        "9",
    ]
