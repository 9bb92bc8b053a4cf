"""Each construct of the typed tree, compiled and run on the kernel, against the reference evaluator."""

from __future__ import annotations

from pyebpf import layout as lay
from pyebpf.frontend import tree
from pyebpf.frontend.types import BOOL, I64, U64, Int, Maybe, Origin, Pointer, Ref
from tests.kernel.build.running import Case, check
from tests.unit.build import trees as t


def test_locals_loops_and_conditions() -> None:
    case = Case()
    x, i = t.local("x"), t.local("i")
    unit = case.program.unit(
        t.put(x, t.num(0)),
        t.for_range(
            i,
            t.num(0),
            t.num(10),
            t.if_(t.compare("<", t.get(i), t.num(5)), t.CONTINUE),
            t.put(x, t.arith("+", t.get(x), t.get(i))),
        ),
        case.show(0, t.get(x)),
        case.show(1, t.get(i)),
        t.ret(t.num(2)),
    )
    outcome = check(unit)
    assert outcome.verdict == 2
    assert outcome.maps["out"][bytes(4)] == (35).to_bytes(8, "little")
