"""Every field of every node of Python's grammar: what is not supported there is refused at its place.

The pairs of class and field come from astroid, so that a version with new syntax fails here until somebody has
written a template for it or a reason why there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from astroid import nodes

from pyebpf.diagnostics import Span
from pyebpf.frontend.parse import Source, parse_function
from pyebpf.target import Target
from tests.unit.frontend.grammar_templates import REASONS, TEMPLATES, Template
from tests.unit.frontend.planting import Planted, meets, module_of, plant, program_text, refusals, within

TARGET = Target(kernel=(6, 6))


def classes() -> list[Any]:
    """All node classes of astroid."""
    return [found for found in nodes.ALL_NODE_CLASSES if isinstance(found, type)]


def fields_of(cls: Any) -> Iterator[str]:
    """The fields of a class, the three kinds that astroid distinguishes."""
    other = cls._other_other_fields
    yield from (*cls._astroid_fields, *cls._other_fields, *((other,) if isinstance(other, str) else other))


def pairs() -> set[str]:
    """All pairs of class and field, as ``Class.field``."""
    return {f"{cls.__name__}.{field}" for cls in classes() for field in fields_of(cls)}


CASES = [
    pytest.param(pair, template, id=f"{pair}-{number}")
    for pair, templates in TEMPLATES.items()
    for number, template in enumerate(templates)
    if sys.version_info >= template.since  # older Pythons cannot parse the others at all
]


def test_every_field_is_accounted_for() -> None:
    """A field has a template or a reason, not both, and neither is left over from another astroid."""
    told = TEMPLATES.keys() | REASONS.keys()
    assert not TEMPLATES.keys() & REASONS.keys()
    assert pairs() - told == set(), "fields without a template or a reason"
    assert told - pairs() == set(), "templates or reasons for what does not exist"


def _planted(template: Template, text: str | None) -> Planted:
    return plant(program_text(template.body), text)


@pytest.mark.parametrize(("pair", "template"), CASES)
def test_without_the_plant(pair: str, template: Template) -> None:
    """The control: what surrounds the place is accepted, or refused for itself."""
    found = refusals(_planted(template, None), TARGET)
    assert bool(found) == template.refused, "\n".join(d.message for d in found)


@pytest.mark.parametrize(("pair", "template"), CASES)
def test_with_the_plant(pair: str, template: Template) -> None:
    """What is planted is refused at its place; a construct refused as a whole, somewhere in it."""
    planted = _planted(template, template.plant)
    assert _holds(pair, planted), f"the template does not plant into {pair}"
    found = refusals(planted, TARGET)
    assert found, f"accepted and ignored:\n{planted.source[-400:]}"
    if template.refused:
        first = planted.source[: planted.source.index("def program")].count("\n") + 4
        assert any(d.span.line >= first for d in found), [str(d.span) for d in found]
    else:
        spans = [d.span for d in found]
        assert any(within(s, planted.span) for s in spans), (
            planted.span,
            [(str(d.span), d.message) for d in found],
        )


def _holds(pair: str, planted: Planted) -> bool:
    """Whether the planted text is in a node of the class, in the field."""
    name, _, field = pair.partition(".")
    decl: Any = module_of(planted.source, planted.file).__dict__["program"].__bpf__
    parsed = parse_function(decl.function)
    for node in _nodes(parsed.node):
        if type(node).__name__ != name:
            continue
        for child in _flat(getattr(node, field, None)):
            if meets(_place(parsed.source, child, node), planted.span):
                return True
    return False


def _place(source: Source, child: object, node: Any) -> Span:
    """A child's place; that of its node where it is a plain value."""
    return source.span(child if isinstance(child, nodes.NodeNG) else node)


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node.get_children():
        yield from _nodes(child)


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value
