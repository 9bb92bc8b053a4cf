"""``pyebpf.enums`` against the standard library's ``enum``: the same classes, made by both, behave the same."""

# mypy: disallow-subclassing-any=False
# (the classes are made by either library)

from __future__ import annotations

import copy
import enum
import json
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyebpf import enums

ROOT = Path(__file__).parents[3]
OURS: Any = enums
STANDARD: Any = enum


def plain(library: Any) -> Any:
    """Text, a tuple and an alias; a method, a property, a static method."""

    class Plain(library.Enum):
        """What it is for."""

        FIRST = "first"
        SECOND = ("second", 2)
        SAME = "first"
        NONE = None

        def shout(self) -> str:
            return f"{self.name}!"

        @property
        def short(self) -> str:
            return str(self.name)[0]

        @staticmethod
        def made() -> int:
            return 3

    return Plain


def automatic(library: Any) -> Any:
    class Automatic(library.Enum):
        A = library.auto()
        B = library.auto()
        C = 7
        D = library.auto()

    return Automatic


def numbers(library: Any) -> Any:
    class Numbers(library.IntEnum):
        NOTHING = 0
        ONE = 1
        MINUS = -1
        UNO = 1
        BIG = 1 << 40

    return Numbers


def bits(library: Any) -> Any:
    class Bits(library.Flag):
        READ = library.auto()
        WRITE = library.auto()
        LAST = 16

    return Bits


def numbered_bits(library: Any) -> Any:
    class NumberedBits(library.IntFlag):
        NONE = 0
        A = 1
        B = 2
        D = 8
        ALSO_A = 1

    return NumberedBits


SHAPES = [plain, automatic, numbers, bits, numbered_bits]
VALUES: st.SearchStrategy[object] = st.one_of(
    st.integers(0, 40),
    st.integers(-2, 1 << 41),
    st.sampled_from(["first", "A", "x", None, ("second", 2), [], ([],), 1.0]),
    st.integers(-40, 0),
)


def outcome(action: Callable[[], object]) -> object:
    """What an action gives, or the type of what it raises."""
    try:
        return shown(action())
    except Exception as error:
        return type(error)


def shown(result: object) -> object:
    """A result without the library that it is from: members and classes by what one sees of them."""
    if isinstance(type(result), enum.EnumMeta | enums.EnumMeta):
        member: Any = result
        return (
            type(result).__name__,
            member.name,
            member.value,
            repr(result),
            str(result),
            f"{result:>12}",
            bool(result),
        )
    if isinstance(result, list | tuple):
        return [shown(one) for one in result]
    return result


def both(shape: Callable[[Any], Any], action: Callable[[Any], object]) -> None:
    """Compare what ``action`` does with the class of either library."""
    assert outcome(lambda: action(shape(OURS))) == outcome(lambda: action(shape(STANDARD)))


@pytest.mark.parametrize("shape", SHAPES)
def test_classes(shape: Callable[[Any], Any]) -> None:
    both(shape, list)
    both(shape, lambda cls: list(reversed(cls)))
    both(shape, len)
    both(shape, bool)
    both(shape, lambda cls: [(name, shown(one)) for name, one in cls.__members__.items()])
    both(shape, repr)
    both(shape, lambda cls: (cls.__name__, cls.__doc__ or ""))
    both(shape, lambda cls: [cls[name] for name in cls.__members__])
    both(shape, lambda cls: cls["MISSING"])
    both(shape, lambda cls: cls.MISSING)
    both(shape, lambda cls: [one in cls for one in cls])
    both(shape, lambda cls: [one is cls(one) is cls(one.value) for one in cls])
    both(shape, lambda cls: len(dict.fromkeys(cls, 1)))
    both(shape, lambda cls: [one == other for one in cls for other in cls])
    both(shape, lambda cls: [one == one.value for one in cls])
    both(shape, lambda cls: [isinstance(one, int) for one in cls])
    both(shape, lambda cls: sorted(cls)[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_copies_are_the_member(shape: Callable[[Any], Any]) -> None:
    both(shape, lambda cls: [copy.copy(one) is one is copy.deepcopy(one) for one in cls])


@pytest.mark.parametrize("shape", SHAPES)
def test_what_cannot_be_changed(shape: Callable[[Any], Any]) -> None:
    def assign(cls: Any) -> None:
        setattr(cls, next(iter(cls.__members__)), 5)

    def delete(cls: Any) -> None:
        delattr(cls, next(iter(cls.__members__)))

    def rename(cls: Any) -> None:
        next(iter(cls)).name = "other"

    def extend(cls: Any) -> None:
        type(cls)("More", (cls,), type(cls).__prepare__("More", (cls,)))

    for change in (assign, delete, rename, extend):
        both(shape, change)


@given(st.sampled_from(SHAPES), VALUES)
def test_values(shape: Callable[[Any], Any], value: object) -> None:
    both(shape, lambda cls: cls(value))


@pytest.mark.parametrize("shape", [bits, numbered_bits])
@given(left=st.integers(0, 40), right=st.integers(0, 40))
def test_flags(shape: Callable[[Any], Any], left: int, right: int) -> None:
    ours, standard = shape(OURS), shape(STANDARD)
    for operation in (operator.or_, operator.and_, operator.xor, operator.contains, operator.eq):
        assert outcome(lambda f=operation: f(ours(left), ours(right))) == outcome(  # type: ignore[misc]  # a default binds the loop variable
            lambda f=operation: f(standard(left), standard(right))  # type: ignore[misc]  # as above
        )
        assert outcome(lambda f=operation: f(ours(left), right)) == outcome(  # type: ignore[misc]  # as above
            lambda f=operation: f(standard(left), right)  # type: ignore[misc]  # as above
        )
    assert outcome(lambda: left & ours(right)) == outcome(lambda: left & standard(right))
    assert outcome(lambda: list(ours(left))) == outcome(lambda: list(standard(left)))
    assert outcome(lambda: len(ours(left))) == outcome(lambda: len(standard(left)))
    assert outcome(lambda: ~ours(left)) == outcome(lambda: ~standard(left))


def test_methods_and_attributes() -> None:
    for action in (
        lambda cls: cls.FIRST.shout(),
        lambda cls: cls.SECOND.short,
        lambda cls: cls.made(),
        lambda cls: cls.SAME is cls.FIRST,
        lambda cls: cls.FIRST.SECOND,
    ):
        both(plain, action)


def test_numbers_are_numbers() -> None:
    for action in (
        lambda cls: cls.ONE + 1,
        lambda cls: f"{cls.BIG:#x} {cls.ONE} {cls.ONE!r} {cls.ONE:3}",
        lambda cls: json.dumps([cls.ONE, cls.MINUS]),
        lambda cls: operator.index(cls.BIG),
        lambda cls: cls.ONE < cls.BIG,
        lambda cls: {1: "a"}[cls.ONE],
        lambda cls: hash(cls.ONE) == hash(1),
        lambda cls: int(cls("1")),
    ):
        both(numbers, action)


class Kept(enums.IntEnum):
    """Where pickle finds it."""

    A = 1


class KeptFlag(enums.Flag):
    """Where pickle finds it."""

    A = 1
    B = 2


def test_pickling() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(Kept.A, protocol)) is Kept.A
        assert pickle.loads(pickle.dumps(KeptFlag.A | KeptFlag.B, protocol)) is KeptFlag.A | KeptFlag.B


@pytest.mark.parametrize(
    "body",
    [
        {"A": 1, "__init__": lambda self, value: None},
        {"A": 1, "__new__": lambda cls, value: object.__new__(cls)},
        {"A": 1, "_missing_": classmethod(lambda cls, value: None)},
        {"A": 1, "_generate_next_value_": staticmethod(lambda name, start, count, last: name)},
        {"_private": 1},
        {"_ignore_": ["x"]},
    ],
)
def test_what_is_not_supported_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        type(OURS.Enum)("Odd", (OURS.Enum,), body)


def test_flags_of_several_bits_are_refused() -> None:
    with pytest.raises(TypeError, match="several bits"):
        type(OURS.Flag)("Odd", (OURS.Flag,), {"A": 1, "BOTH": 3})


def test_ways_of_bases_are_refused() -> None:
    class Mixin:
        def __init__(self, value: object) -> None:
            self.more = value

    with pytest.raises(TypeError, match="from their values alone"):
        type(OURS.Enum)("Odd", (Mixin, OURS.Enum), {"A": 1})


def test_numbers_have_classes_of_their_own() -> None:
    with pytest.raises(TypeError, match="use IntEnum"):
        type(OURS.Enum)("Odd", (int, OURS.Enum), {"A": 1})
    with pytest.raises(TypeError):
        type(OURS.IntEnum)("Odd", (OURS.IntEnum,), {"A": "1"})
    other = numbers(OURS)
    made = type(OURS.IntEnum)("Made", (OURS.IntEnum,), {"A": other.ONE})
    assert type(made.A.value) is int


def test_flags_without_members() -> None:
    none = type(OURS.Flag)("None", (OURS.Flag,), {})
    assert none(0).value == 0
    with pytest.raises(ValueError, match="1 is not a valid"):
        none(1)


def test_other_mixed_in_types_are_refused() -> None:
    with pytest.raises(TypeError):
        type(OURS.Enum)("Odd", (str, OURS.Enum), {"A": "a"})


def test_members_of_both_libraries_are_known() -> None:
    ours: Any = plain(OURS)
    standard: Any = plain(STANDARD)
    assert enums.is_member(ours.FIRST) and enums.is_member(standard.FIRST)
    values = ("first", 1, None, int, ours.FIRST.value)
    assert enums.is_enumeration(ours) and enums.is_enumeration(standard)
    for value in values:
        assert not enums.is_member(value) and not enums.is_enumeration(value)


def test_the_package_is_imported_without_them() -> None:
    code = "import sys, pyebpf; print(sorted({'dataclasses', 'enum', 're', 'typing'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
