"""``pyebpf.hints``: what the standard library's ``typing`` has and does, as far as modules need it to run."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
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


def functions() -> Iterator[FunctionType]:
    """The functions and methods that users see."""
    for name in bpf.__all__:
        found = getattr(bpf, name)
        if isinstance(found, FunctionType):
            yield found
        elif inspect.isclass(found):
            yield from (f for f in vars(found).values() if isinstance(f, FunctionType))


def test_annotations_can_be_evaluated() -> None:
    evaluated = 0
    for function in functions():
        try:
            evaluated += bool(typing.get_type_hints(function))
        except NameError:
            pass  # a name that only type checkers import
        except TypeError as error:
            # RingBuf[Any]: our own classes want types of the language.
            assert "no memory layout" in str(error)
    assert evaluated > 20


def test_unions_of_forms_and_variables() -> None:
    hidden: typing.Any = hints
    ours = hidden.TypeVar("T")
    for union in (hidden.Any | None, None | hidden.Any, hidden.Any | ours, ours | int, int | ours):
        assert len(typing.get_args(union)) == 2, union
    assert typing.get_args(hidden.Any | None) == (typing.Any, type(None))


def test_variables_of_the_standard_library_make_generic_classes() -> None:
    class Counts(bpf.HashMap[K, V], typing.Generic[K, V]):
        """A user's own kind of map."""

    made = Counts[u32, u64](max_entries=3)
    assert isinstance(made, Counts)
    assert repr(made) == "<Counts[u32, u64] (unnamed) of 3>"
    assert hints.is_type_variable(K) and not hints.is_type_variable(u32) and not hints.is_type_variable("K")


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
