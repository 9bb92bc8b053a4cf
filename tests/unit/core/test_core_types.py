"""Whole types and enumerators: existence, size, ids, and when two types match."""

from __future__ import annotations

import pytest

from pyebpf import btf
from pyebpf.btf.access import CoreKind
from pyebpf.object import CoreRelocation
from pyebpf.runtime.errors import CoreError
from tests.unit.core.making import INT, U8, U32, U64, apply, mov, number, relocate, spec, struct, union, wide

EXISTS, MATCHES, SIZE = CoreKind.TYPE_EXISTS, CoreKind.TYPE_MATCHES, CoreKind.TYPE_SIZE
HAS, VALUE, TARGET = CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE, CoreKind.TYPE_ID_TARGET


def enum(name: str, *values: tuple[str, int], signed: bool = False, size: int = 4) -> btf.Enum:
    """An enum of 32 bits."""
    return btf.Enum(name, size, tuple(btf.Enumerator(*value) for value in values), signed)


def test_existence_size_and_id() -> None:
    kernel = spec(U32, struct("s", size=24), union("u", size=8), btf.Typedef("t", U64))
    assert number(EXISTS, struct("s___x"), "0", kernel) == 1
    assert number(EXISTS, union("s"), "0", kernel) == 0
    assert number(EXISTS, btf.Typedef("t", btf.Const(INT)), "0", kernel) == 1
    assert number(EXISTS, btf.Typedef("t", btf.Ptr(None)), "0", kernel) == 0
    assert number(SIZE, struct("s"), "0", kernel, 64) == 24
    assert number(SIZE, btf.Typedef("t", INT), "0", kernel, 4) == 8
    assert number(SIZE, struct("n"), "0", kernel, 64) == 0
    assert number(TARGET, struct("s"), "0", kernel, 12345) == kernel.ids("s")[0]
    assert number(TARGET, struct("n"), "0", kernel, 12345) == 0


@pytest.mark.parametrize("kind", [EXISTS, MATCHES, SIZE, TARGET])
def test_ways_to_types_are_0(kind: CoreKind) -> None:
    with pytest.raises(CoreError, match="access '0:0' to a type"):
        number(kind, struct("s"), "0:0", spec(U32))


def test_enumerators() -> None:
    local = enum("e___v1", ("ONE", 1), ("TWO___old", 2), ("GONE", 3))
    kernel = spec(enum("e", ("ZERO", 0), ("ONE", 11), ("TWO", 12)))
    wider = spec(btf.Enum64("e", 8, (btf.Enumerator("TWO___new", 1 << 40),)))
    assert number(VALUE, local, "0", kernel, 1) == 11
    assert number(VALUE, local, "1", kernel, 2) == 12
    assert number(HAS, local, "1", kernel) == 1
    assert number(HAS, local, "2", kernel) == 0
    assert number(VALUE, local, "2", kernel, 3) == "`enum e` has no value `GONE` on Linux X"
    assert apply(wide(2), VALUE, local, "1", wider)[0] == wide(1 << 40)
    with pytest.raises(CoreError, match="too large for instruction 0"):
        number(VALUE, local, "1", wider, 2)
    negative = spec(enum("e", ("ONE", -5), signed=True))
    assert apply(wide(1), VALUE, local, "0", negative)[0] == wide((1 << 64) - 5)
    assert apply(mov(1), VALUE, local, "0", negative)[0] == mov(-5)
    assert number(VALUE, btf.Typedef("t", local), "0", spec(btf.Typedef("t", enum("x", ("ONE", 4)))), 1) == 4
    assert number(VALUE, local, "0", spec(U32), 1) == "there is no `enum e` on Linux X"
    assert number(HAS, local, "0", spec(struct("e"))) == 0


@pytest.mark.parametrize("access", ["3", "0:0", ""])
def test_malformed_ways_to_enumerators(access: str) -> None:
    with pytest.raises(CoreError, match="CO-RE relocation"):
        number(HAS, enum("e", ("ONE", 1)), access, spec(U32))


PROTO = btf.FuncProto(INT, (btf.Param("a", U32),))
INNER = struct("inner", ("x", INT, 0), size=4)


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        (struct("s", ("a", INT, 0)), struct("s", ("b", INT, 0), ("a", INT, 32)), True),
        (struct("s", ("a", INT, 0), ("b", INT, 32)), struct("s", ("a", INT, 0)), False),
        (struct("s", ("a", INT, 0)), struct("s", ("a", U32, 0)), False),
        (struct("s", ("a", INT, 0)), struct("s", ("a", btf.S64, 0)), False),
        (struct("s", ("a___x", INT, 0)), struct("s", ("a", INT, 0)), True),
        (struct("s", ("a", INNER, 0)), struct("s", ("a", struct("inner", ("x", INT, 32), size=8), 0)), True),
        (struct("s", ("a", INNER, 0)), struct("s", ("a", struct("inner", ("y", INT, 0)), 0)), False),
        (struct("s", ("a", INNER, 0)), struct("s", ("a", struct("other", ("x", INT, 0)), 0)), False),
        (struct("s", ("a", btf.Ptr(INNER), 0)), struct("s", ("a", btf.Ptr(struct("inner")), 0)), True),
        (struct("s", ("a", btf.Ptr(INNER), 0)), struct("s", ("a", btf.Ptr(struct("other")), 0)), False),
        (struct("s", ("a", btf.Ptr(btf.Fwd("inner")), 0)), struct("s", ("a", btf.Ptr(INNER), 0)), True),
        (
            struct("s", ("a", btf.Ptr(btf.Fwd("inner", True)), 0)),
            struct("s", ("a", btf.Ptr(INNER), 0)),
            False,
        ),
        (struct("s", ("a", btf.Ptr(INNER), 0)), struct("s", ("a", btf.Ptr(btf.Fwd("inner")), 0)), True),
        (struct("s", ("a", btf.Ptr(INNER), 0)), struct("s", ("a", btf.Ptr(union("inner")), 0)), False),
        (struct("s", ("a", btf.Array(U8, 4, U32), 0)), struct("s", ("a", btf.Array(U8, 4, U32), 8)), True),
        (struct("s", ("a", btf.Array(U8, 4, U32), 0)), struct("s", ("a", btf.Array(U8, 5, U32), 0)), False),
        (struct("s", ("f", btf.Ptr(PROTO), 0)), struct("s", ("f", btf.Ptr(PROTO), 0)), True),
        (
            struct("s", ("f", btf.Ptr(PROTO), 0)),
            struct("s", ("f", btf.Ptr(btf.FuncProto(INT, (btf.Param("a", U64),))), 0)),
            False,
        ),
        (struct("s", ("f", btf.Ptr(PROTO), 0)), struct("s", ("f", btf.Ptr(btf.FuncProto(None)), 0)), False),
        (struct("s", ("p", btf.Ptr(None), 0)), struct("s", ("p", btf.Ptr(btf.Const(None)), 0)), True),
        (union("s", ("a", INT, 0)), union("s", ("a", INT, 0), ("b", U8, 0)), True),
        (union("s", ("a", INT, 0)), struct("s", ("a", INT, 0)), False),
        (enum("s", ("A", 1)), enum("s", ("B", 0), ("A", 7)), True),
        (enum("s", ("A", 1)), enum("s", ("B", 0), ("C", 7)), False),
        (enum("s", ("A", 1)), btf.Enum64("s", 8, (btf.Enumerator("A", 1),)), False),
        (btf.Typedef("s", U32), btf.Typedef("s", U32), True),
        (btf.Typedef("s", U32), btf.Typedef("s", INT), False),
    ],
)
def test_when_types_match(ours: btf.Type, theirs: btf.Type, match: bool) -> None:
    assert number(MATCHES, ours, "0", spec(theirs, U32)) == int(match)


def test_types_in_circles_match() -> None:
    one, other = struct("s"), struct("s")
    one.members = (btf.Member("next", btf.Ptr(one), 0),)
    other.members = (btf.Member("prev", btf.Ptr(other), 0), btf.Member("next", btf.Ptr(other), 64))
    assert number(MATCHES, one, "0", spec(other)) == 1
    assert number(MATCHES, other, "0", spec(one)) == 0
    assert number(EXISTS, one, "0", spec(other)) == 1


def test_what_a_loader_does_not_know() -> None:
    code = bytearray(16)
    with pytest.raises(CoreError, match="kind 13 is not known"):
        relocate(bytearray.fromhex("b701000001000000"), [(0, CoreRelocation(0, 13, INT, "0"))], spec(U32))
    with pytest.raises(CoreError, match="known to the linker alone"):
        relocate(
            bytearray.fromhex("b701000001000000"),
            [(0, CoreRelocation(0, CoreKind.TYPE_ID_LOCAL, struct("s"), "0"))],
            spec(U32),
        )
    for slot in (2, -1):
        with pytest.raises(CoreError, match="none of the program's"):
            relocate(code, [(slot, CoreRelocation(slot, EXISTS, struct("s"), "0"))], spec(U32))
