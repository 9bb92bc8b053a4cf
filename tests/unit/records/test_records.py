"""``pyebpf.records`` against the standard library's ``dataclass``: the same classes, made by both, behave the same."""

from __future__ import annotations

import copy
import dataclasses
import operator
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyebpf import records

OURS: Any = records
STANDARD: Any = dataclasses
OPTIONS = [
    {},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"eq": False, "slots": True},
    {"repr": False, "slots": True},
    {"frozen": True, "slots": True, "order": True},
    {"order": True},
    {"eq": False, "slots": True, "kw_only": True},
    {"slots": True, "weakref_slot": True},
    {"frozen": True, "eq": False, "repr": False, "slots": True},
]


def shape(library: Any, options: dict[str, bool]) -> type:
    """A base and a derived class with every kind of field that is supported."""

    @library.dataclass(**options)
    class Base:
        SHARED: ClassVar[int] = 7
        a: int
        b: str = library.field(default="", kw_only=True)

    @library.dataclass(**options)
    class Shape(Base):
        c: tuple[int, ...] = (1, 2)
        d: list[int] = library.field(default_factory=list)
        e: int = library.field(default=5, compare=False)
        f: int = library.field(default=6, repr=False)
        g: int = library.field(default=8, init=False)

        def twice(self) -> int:
            return 2 * self.a

    return Shape


def outcome(action: Callable[[], object]) -> object:
    """What an action gives, or the type of what it raises."""
    try:
        return action()
    except Exception as error:
        return type(error)


ATTEMPTS: list[tuple[str, Callable[[Any], object]]] = [
    ("repr", lambda k: repr(k(a=1)).split(".")[-1] if "repr" in vars(k) else "object's"),
    ("defaults", lambda k: [getattr(k(a=1), n) for n in "abcdefg"]),
    ("keywords", lambda k: [getattr(k(a=1, b="x", c=(), d=[3], e=0, f=1), n) for n in "abcdefg"]),
    ("positions", lambda k: [getattr(k(1, (3,), [4]), n) for n in "abcdefg"]),
    ("nothing", lambda k: k()),
    ("too much", lambda k: k(1, (), [], 3, 4, 5, 6)),
    ("unknown", lambda k: k(a=1, z=2)),
    ("own lists", lambda k: k(a=1).d is k(a=1).d),
    ("equal", lambda k: k(a=1) == k(a=1)),
    ("unequal", lambda k: k(a=1) == k(a=2)),
    ("not compared", lambda k: k(a=1, e=1) == k(a=1, e=2)),
    ("other type", lambda k: k(a=1) == (1, "", (1, 2))),
    ("hash", lambda k: hash(k(a=1, d=())) == hash(k(a=1, d=()))),
    ("unhashable", lambda k: hash(k(a=1)) != 0),
    ("less", lambda k: k(a=1) < k(a=2)),
    ("at least", lambda k: k(a=1) >= k(a=2)),
    ("less than other", lambda k: k(a=1) < 3),
    ("assign", lambda k: setattr(k(a=1), "a", 2)),
    ("assign unknown", lambda k: setattr(k(a=1), "zz", 2)),
    ("delete", lambda k: delattr(k(a=1), "a")),
    ("match", lambda k: k.__match_args__),
    ("class variable", lambda k: k.SHARED),
    ("method", lambda k: k(a=4).twice()),
    ("copy", lambda k: copy.copy(k(a=4, d=[1])).d),
    ("deep copy", lambda k: copy.deepcopy(k(a=4, d=[1])).d),
    ("dict", lambda k: hasattr(k(a=1), "__dict__")),
    ("weak", lambda k: hasattr(k(a=1), "__weakref__")),
    ("standard fields", lambda k: [(f.name, f.type, f.kw_only) for f in dataclasses.fields(k)]),
    ("our fields", lambda k: [(f.name, f.type, f.init) for f in OURS.fields(k)]),
    ("standard replace", lambda k: dataclasses.replace(k(a=1, e=9), a=3).e),
    ("our replace", lambda k: OURS.replace(k(a=1, e=9), a=3).e),
    ("replace what is not given", lambda k: OURS.replace(k(a=1), g=3)),
    ("is one", lambda k: (dataclasses.is_dataclass(k), OURS.is_dataclass(k(a=1)))),
    ("as dict", lambda k: dataclasses.asdict(k(a=1))),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda a: a[0])
def test_behaves_as_the_standard_one(
    options: dict[str, bool], attempt: tuple[str, Callable[[Any], object]]
) -> None:
    if attempt[0] == "assign unknown" and options.get("frozen") and options.get("slots"):
        options = {"frozen": True}  # a TypeError there before Python 3.14, by mistake
    ours, standard = shape(OURS, options), shape(STANDARD, options)
    assert outcome(lambda: attempt[1](ours)) == outcome(lambda: attempt[1](standard))


@given(st.data(), st.sampled_from(OPTIONS))
def test_values_compare_as_the_standard_ones_do(data: st.DataObject, options: dict[str, bool]) -> None:
    ours, standard = shape(OURS, options), shape(STANDARD, options)
    values = st.fixed_dictionaries(
        {"a": st.integers(0, 2)}, optional={"b": st.text(max_size=1), "e": st.integers(0, 1)}
    )
    one, two = data.draw(values), data.draw(values)

    def attempt(kind: Any, compare: Callable[[Any, Any], bool]) -> bool:
        return compare(kind(**one), kind(**two))

    for compare in (operator.eq, operator.ne, operator.lt):
        assert outcome(partial(attempt, ours, compare)) == outcome(partial(attempt, standard, compare))


@pytest.mark.parametrize("library", [OURS, STANDARD], ids=["ours", "standard"])
def test_wrong_classes_are_refused(library: Any) -> None:
    with pytest.raises(TypeError, match="non-default argument 'b' follows default argument"):

        @library.dataclass
        class Order:
            a: int = 1
            b: int

    with pytest.raises(ValueError, match="mutable default"):

        @library.dataclass
        class Shared:
            a: list[int] = []  # noqa: RUF012  (the mistake that is tested)

    @library.dataclass(frozen=True)
    class Frozen:
        a: int

    with pytest.raises(TypeError, match="frozen"):

        @library.dataclass
        class Thawed(Frozen):
            b: int = 1


def test_standard_ones_may_derive_from_ours_but_not_ours_from_them() -> None:
    @dataclasses.dataclass
    class Derived(Plain):
        second: int = 2

    assert Derived(1) == Derived(1, 2) != Derived(2)
    with pytest.raises(TypeError, match="standard library"):
        OURS.dataclass(type("Wrong", (Derived,), {"__annotations__": {"x": "int"}}))


@records.dataclass
class Plain:
    """A class of the module, which pickle can find."""

    first: int


@records.dataclass(frozen=True, slots=True)
class Point:
    """A frozen one."""

    x: int
    inner: Plain | None = None


def test_pickling() -> None:
    point = Point(3, Plain(4))
    assert pickle.loads(pickle.dumps(point)) == point


def test_cycles_print() -> None:
    plain = Plain(1)
    plain.first = plain  # type: ignore[assignment]  # a cycle
    assert repr(plain) == "Plain(first=...)"


def test_post_init_and_subclasses_without_fields() -> None:
    @records.dataclass
    class Checked:
        a: int

        def __post_init__(self) -> None:
            self.a += 1

    class Derived(Checked):
        pass

    assert Derived(1).a == 2 and Checked(1).a == 2 and Derived(a=5) == Derived(5)


def test_the_first_object_is_as_the_second() -> None:
    @records.dataclass
    class Base:
        a: int
        b: list[int] = records.field(default_factory=list)
        c: int = records.field(default=3, init=False)
        d: int = records.field(default=4, kw_only=True)

        def __post_init__(self) -> None:
            self.a += 1

    class Derived(Base):
        def __post_init__(self) -> None:
            self.a += 10

    first, second = Derived(1, d=5), Derived(1, d=5)
    assert first == second and first.a == 11 and first.b is not second.b and (first.c, first.d) == (3, 5)


@pytest.mark.parametrize(
    "wrong", [((), {}), ((1, 2), {}), ((1,), {"a": 1}), ((), {"b": 1}), ((), {"a": 1, "c": 1})]
)
def test_wrong_arguments_are_refused_at_the_first_object(
    wrong: tuple[tuple[int, ...], dict[str, int]],
) -> None:
    @records.dataclass
    class One:
        a: int
        c: int = records.field(default=3, init=False)

    make: Any = One
    with pytest.raises(TypeError, match=r"One\.__init__\(\)"):
        make(*wrong[0], **wrong[1])
    assert make(1).a == 1
