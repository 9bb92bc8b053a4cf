"""The typed tree of a program means what CPython makes of the undecorated function."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyebpf.declare import ProgramDecl
from pyebpf.frontend import tree
from pyebpf.frontend.infer import analyze
from pyebpf.layout import I32
from pyebpf.target import Target
from pyebpf.uapi.programs import TC
from tests.differential.evaluator import Context, Evaluator
from tests.unit.frontend.meanings import MEANINGS

ON_ERROR = -777
INPUTS = [
    (0, 0),
    (1, 4),
    (2, 9),
    (3, 3),
    (4, 1),
    (5, 7),
    (6, 70),
    (7, 2),
    (12, 5),
    (250, 33),
    (2**31, 2**32 - 1),
]


def analysed(function: Callable[..., Any], kernel: tuple[int, int] = (6, 1)) -> tree.Unit:
    """The tree of a function as a tc program."""
    decl = ProgramDecl(function=function, kind=TC, name=function.__name__, on_error=ON_ERROR)  # type: ignore[arg-type]
    return analyze([decl], Target(kernel=kernel), "GPL")


def by_python(function: Callable[..., Any], mark: int, priority: int) -> int:
    """What CPython returns, as a verdict."""
    try:
        return I32(int(function(SimpleNamespace(mark=mark, priority=priority))))
    except Exception:
        return ON_ERROR


@pytest.mark.parametrize("function", MEANINGS, ids=lambda function: function.__name__)
def test_meaning(function: Callable[..., Any]) -> None:
    """For every input the evaluator of the tree and CPython agree."""
    unit = analysed(function)
    evaluator = Evaluator(unit)
    for mark, priority in INPUTS:
        context = Context(bytearray(64), {"mark": mark, "priority": priority})
        got = evaluator.run(unit.programs[0], context)
        assert got == by_python(function, mark, priority), (mark, priority)
