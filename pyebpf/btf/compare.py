"""Whether two types have the same shape."""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.btf.base import ARRAY_INDEX
from pyebpf.btf.types import KINDS, Array, Int, Type
from pyebpf.records import fields, is_dataclass


def equal(first: Type | None, second: Type | None) -> bool:
    """Whether both describe the same: kinds, names, sizes, members and tags, recursively, cycles included."""
    assumed: set[tuple[int, int]] = set()
    work: list[tuple[object, object]] = [(first, second)]
    while work:
        a, b = work.pop()
        if a is b:
            continue
        if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
            if len(a) != len(b):
                return False
            work.extend(zip(a, b, strict=True))
        elif type(a) is not type(b):
            return False
        elif is_dataclass(a):
            if type(a) in KINDS:
                pair = id(a), id(b)
                if pair in assumed:
                    continue
                assumed.add(pair)
            work.extend(_parts(a, b))
        elif a != b:
            return False
    return True


def _parts(a: object, b: object) -> list[tuple[object, object]]:
    if isinstance(a, Int) and isinstance(b, Int):
        return [
            ((a.name, a.size, a.encoding, a.width, a.offset), (b.name, b.size, b.encoding, b.width, b.offset))
        ]
    if isinstance(a, Array) and isinstance(b, Array):
        index = a.index or ARRAY_INDEX, b.index or ARRAY_INDEX
        return [(a.element, b.element), (a.length, b.length), index]
    assert is_dataclass(a)
    return [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
