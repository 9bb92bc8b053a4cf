"""``pyebpf.hints``: what the standard library's ``typing`` has and does, as far as modules need it to run."""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from types import FunctionType

import pytest

import pyebpf as bpf
from pyebpf import hints, u32, u64

K = typing.TypeVar("K")
V = typing.TypeVar("V")


def test_all_names_are_those_of_the_standard_library() -> None:
    own = {"annotations", "is_type_variable"}
    offered = {name for name in vars(hints) if not name.startswith("_")} - own
    assert len(offered) > 8
    for name in offered:
        assert hasattr(typing, name), name


def for_checkers(module: str) -> set[str]:
    """The names that a module of ours has for type checkers only, from other modules than ``typing``."""
    found: set[str] = set()
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.body:
                if isinstance(one, ast.Import | ast.ImportFrom) and getattr(one, "module", "") != "typing":
                    found |= {alias.asname or alias.name for alias in one.names}
    return found


def test_annotations_can_be_evaluated() -> None:
    evaluated = 0
    for name in bpf.__all__:
        found = getattr(bpf, name)
        members = vars(found).values() if inspect.isclass(found) else ()
        for one in (found, *members):
            if isinstance(one, FunctionType) or inspect.isclass(one):
                try:
                    evaluated += bool(typing.get_type_hints(one))
                except NameError as error:
                    assert error.name in for_checkers(one.__module__), one
                except TypeError as error:
                    # RingBuf[Any]: our own classes want types of the language.
                    assert "no memory layout" in str(error), one
    assert evaluated > 100


def test_unions_of_forms_and_variables() -> None:
    hidden: typing.Any = hints
    ours = hidden.TypeVar("T")
    for union in (hidden.Any | None, None | hidden.Any, hidden.Any | ours, ours | int, int | ours):
        assert len(typing.get_args(union)) == 2, union
    assert typing.get_args(hidden.Any | None) == (typing.Any, type(None))


def test_variables_of_the_standard_library_make_generic_classes() -> None:
    class Counts(bpf.HashMap[K, V], typing.Generic[K, V]):
        """A user's own kind of map."""

    class First(typing.Generic[K, V], bpf.HashMap[K, V]):
        """As well."""

    class Plain(bpf.HashMap[K, V]):
        """And this."""

    kinds: list[typing.Any] = [Counts, First, Plain]
    for kind in kinds:
        made = kind[u32, u64](max_entries=3)
        assert isinstance(made, kind)
        assert repr(made) == f"<{kind.__name__}[u32, u64] (unnamed) of 3>"


def test_what_is_a_variable() -> None:
    hidden: typing.Any = hints
    assert hints.is_type_variable(K) and hints.is_type_variable(hidden.TypeVar("T"))
    assert not hints.is_type_variable(u32) and not hints.is_type_variable("K")
    # Python 3.12 makes variables of `def f[K](…)` where nobody has imported ``typing``; this is all that tells them.
    assert hints.is_type_variable(type("TypeVar", (), {"__module__": "typing"})())


def test_what_runs() -> None:
    hidden: typing.Any = hints

    @hidden.final
    class Final:
        """A class that is as it was."""

    def function() -> int:
        return 1

    assert Final().__class__ is Final
    assert hidden.overload(function) is function
    assert hidden.dataclass_transform(eq_default=True)(function) is function
    assert hidden.cast("int", "text") == "text"
    with pytest.raises(AssertionError, match="unreachable, but got: 5"):
        hidden.assert_never(5)
    assert repr(hidden.Any) == "typing.Any"
    assert repr(hidden.TypeVar("T")) == "~T"
