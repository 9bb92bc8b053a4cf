"""The table of constructs is whole, and generated programs contain all of it."""

from __future__ import annotations

import typing
from collections import Counter

import pytest

from pyebpf.driver import running_target
from pyebpf.frontend import tree
from pyebpf.frontend.infer import analyze
from tests.differential.coverage import CONSTRUCTS, OF_TRACING, constructs_of
from tests.differential.generate import generate
from tests.differential.judge import module_of, programs_of
from tests.differential.nodes import all_nodes

PROGRAMS = 150


def _kinds() -> list[type[tree.Node]]:
    return [*typing.get_args(tree.Expr), *typing.get_args(tree.Stmt)]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_every_kind_of_node_has_a_row_or_a_reason(kind: type[tree.Node]) -> None:
    assert (f"tree {kind.__name__}" in CONSTRUCTS) is (kind not in OF_TRACING)


def test_enumerations_of_the_tree_have_rows() -> None:
    shapes = {"null": "optional value", "raise": "missing key raises", "insert": "missing key inserts"}
    assert {missing.value for missing in tree.Missing} == set(shapes)
    assert set(shapes.values()) <= set(CONSTRUCTS)
    operators = {name.split()[1] for name in CONSTRUCTS if name.startswith("operator") and " on " not in name}
    assert len(operators) == len(tree.ArithOp)
    comparisons = [name for name in CONSTRUCTS if name.startswith("comparison ") and name.count(" ") == 1]
    assert len(comparisons) == len(tree.CompareOp) + len(("in", "not in", "is", "is not"))


def test_no_row_is_there_twice() -> None:
    assert [name for name, count in Counter(CONSTRUCTS).items() if count > 1] == []


def test_generated_programs_contain_every_construct() -> None:
    counts: Counter[str] = Counter()
    for seed in range(PROGRAMS):
        source = generate(seed)[0]
        with module_of(source, f"covered_{seed}") as module:
            unit = analyze(programs_of(module), running_target(), "GPL")
        counts.update(constructs_of(source, list(all_nodes(unit))))
    assert [name for name in CONSTRUCTS if not counts[name]] == []
