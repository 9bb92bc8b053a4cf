"""Whatever the types and records are: relocating ends with instructions or with an error of ours."""

from __future__ import annotations

import random

import pytest

from pyebpf import btf
from pyebpf.btf.access import CoreKind
from pyebpf.diagnostics import PyebpfError
from pyebpf.object import CoreRelocation
from pyebpf.runtime.core_match import find, local_way
from pyebpf.runtime.core_value import value_of
from pyebpf.runtime.errors import CoreError
from tests.unit.core.making import INT, U8, U16, U32, U64, number, relocate

NAMES = ("a", "b", "c", "a___1", "")
FIELDS = (CoreKind.FIELD_BYTE_OFFSET, CoreKind.FIELD_BYTE_SIZE, CoreKind.FIELD_EXISTS)


def a_type(rng: random.Random, depth: int) -> btf.Type:
    """A type that may be a member."""
    match rng.randrange(10 if depth else 5):
        case 0 | 1:
            return rng.choice([INT, U8, U16, U32, U64, btf.S64])
        case 2:
            return btf.Ptr(rng.choice([None, INT, btf.Fwd("a")]))
        case 3:
            return btf.Enum(rng.choice(NAMES), 4, (btf.Enumerator("A", 1), btf.Enumerator("B", -1)), True)
        case 4:
            return btf.Typedef("t", btf.Const(rng.choice([INT, U64])))
        case 5:
            return btf.Array(a_type(rng, depth - 1), rng.choice([0, 1, 3]), U32)
        case _:
            return a_struct(rng, rng.choice(NAMES), depth - 1)


def a_struct(rng: random.Random, name: str, depth: int) -> btf.Struct | btf.Union:
    """A struct or union whose members lie behind each other."""
    union = rng.randrange(3) == 0
    members, bits = [], 0
    for _ in range(rng.randrange(5)):
        type_ = a_type(rng, depth)
        part = rng.choice([0, 0, 0, 3]) if isinstance(type_, btf.Int) else 0
        members.append(btf.Member(rng.choice(NAMES), type_, 0 if union else bits, part))
        bits += part or btf.size_of(type_) * 8
        bits += -bits % rng.choice([1, 8, 64]) if not part else 0
    size = bits // 8 + 8
    return btf.Union(name, size, tuple(members)) if union else btf.Struct(name, size, tuple(members))


def a_way(rng: random.Random, root: btf.Type) -> str:
    """An access string that mostly stays inside."""
    parts, type_ = [str(rng.choice([0, 0, 0, 1]))], btf.skip_modifiers(root)
    for _ in range(rng.randrange(5)):
        if isinstance(type_, btf.Struct | btf.Union) and type_.members:
            index = rng.randrange(len(type_.members))
            type_ = btf.skip_modifiers(type_.members[index].type)
        elif isinstance(type_, btf.Array):
            index, type_ = rng.randrange(4), btf.skip_modifiers(type_.element)
        else:
            break
        parts.append(str(index))
    return ":".join(parts)


@pytest.mark.parametrize("seed", range(4))
def test_only_our_errors(seed: int) -> None:
    rng = random.Random(seed)
    outcomes = {"done": 0, "poisoned": 0, "refused": 0}
    for _ in range(400):
        kernel = btf.Spec(btf.encode([a_struct(rng, rng.choice(NAMES[:4]), 3) for _ in range(3)]).data)
        root = a_struct(rng, rng.choice(NAMES), 3)
        kind = rng.choice(list(CoreKind))
        access = a_way(rng, root) if kind in FIELDS or rng.random() < 0.7 else rng.choice(["0", "1", "x", ""])
        code = (
            bytearray(rng.randbytes(16)) if rng.random() < 0.2 else bytearray.fromhex("b7010000" + "00" * 12)
        )
        if rng.random() < 0.9:  # the value that the compiler would have written
            try:
                value = value_of(kind, local_way(kind, root, access), lambda _: 0)
                code[4:8] = ((value.number or 0) & 0xFFFF_FFFF).to_bytes(4, "little")
            except PyebpfError:
                pass
        before = bytes(code)
        try:
            lacking = relocate(
                code, [(rng.choice([0, 0, 0, 1, 7]), CoreRelocation(0, kind, root, access))], kernel
            )
        except CoreError:
            outcomes["refused"] += 1
            continue
        outcomes["poisoned" if lacking else "done"] += 1
        assert len(code) == len(before) and (not lacking or lacking[0].text)
    assert all(count > 10 for count in outcomes.values()), outcomes


@pytest.mark.parametrize("seed", range(3))
def test_against_itself_every_type_stays_as_it_is(seed: int) -> None:
    rng = random.Random(100 + seed)
    checked = 0
    for _ in range(300):
        root = a_struct(rng, "root", 3)
        root.members = tuple(
            btf.Member(f"m{n}" if m.name else "", m.type, m.bit_offset, m.bit_size)
            for n, m in enumerate(root.members)
        )
        kind, access = rng.choice(FIELDS), a_way(rng, root)
        try:
            way = local_way(kind, root, access)
            expected = value_of(kind, way, lambda _: 0).number
        except PyebpfError:
            continue
        names = [step.name for step in way.steps if step.name]
        if len(set(names)) < len(names) or find(kind, way, root) != way:
            continue  # a name is there twice: the first one counts
        kernel = btf.Spec(btf.encode([root]).data)
        assert expected is not None
        assert number(kind, root, access, kernel, expected) == expected
        checked += 1
    assert checked > 60
