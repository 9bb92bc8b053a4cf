"""BTF as text, one record per line with its parts indented: for ``pyebpf dump --stage btf``.

A reference is written ``[id] what``, so that the text can be read without looking ids up::

    [3] STRUCT key size 16
        slot: [2] u32 at 0
        pid: [1] u64 at 8
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.btf.base import kind_of
from pyebpf.btf.decode import Spec
from pyebpf.btf.types import (
    Array,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    IntEncoding,
    Ptr,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
    describe,
)
from pyebpf.hints import assert_never


def dump(spec: Spec) -> str:
    """All records of ``spec`` (without those of its base), in the order of their ids."""
    records = list(spec.types())
    ids: dict[Type, int] = {}
    base = spec.base
    while base is not None:
        ids.update((type_, number) for number, type_ in base.types())
        base = base.base
    ids.update((type_, number) for number, type_ in records)
    lines: list[str] = []
    for number, type_ in records:
        head, *parts = _lines(type_, ids)
        name = getattr(type_, "name", "")
        lines.append(" ".join(word for word in (f"[{number}]", kind_of(type_).name, name, head) if word))
        lines += [f"    {part}" for part in parts]
    return "\n".join(lines) + "\n" if lines else ""


def _lines(type_: Type, ids: dict[Type, int]) -> Iterator[str]:
    def ref(target: Type | None) -> str:
        return f"[{ids[target]}] {describe(target)}" if target is not None else "void"

    match type_:
        case Int(size=size, encoding=encoding, offset=offset):
            words = f"size {size} bits {type_.width}"
            words += f" offset {offset}" if offset else ""
            yield words + (f" {encoding.name}" if encoding is not IntEncoding.NONE else "")
        case Ptr(target=target) | Const(target=target) | Volatile(target=target) | Restrict(target=target):
            yield f"-> {ref(target)}"
        case Typedef(target=target):
            yield f"-> {ref(target)}"
        case TypeTag(value=value, target=target):
            yield f"{value!r} -> {ref(target)}"
        case Array(element=element, length=length, index=index):
            yield f"length {length} of {ref(element)} by {ref(index)}"
        case Struct(size=size, members=members) | Union(size=size, members=members):
            yield f"size {size}"
            for member in members:
                bits = f" bits {member.bit_size}" if member.bit_size else ""
                rest = f" bit {member.bit_offset % 8}" if member.bit_offset % 8 or member.bit_size else ""
                yield f"{member.name or '(anonymous)'}: {ref(member.type)} at {member.offset}{rest}{bits}"
        case Enum(size=size, values=values, signed=signed) | Enum64(size=size, values=values, signed=signed):
            yield f"size {size}" + (" signed" if signed else "")
            yield from (f"{value.name} = {value.value}" for value in values)
        case Fwd(union=union):
            yield "union" if union else "struct"
        case Func(proto=proto, linkage=linkage):
            yield f"{linkage.name.lower()} -> {ref(proto)}"
        case FuncProto(result=result, params=params):
            yield f"-> {ref(result)}"
            for param in params:
                yield f"{param.name or '(unnamed)'}: {ref(param.type)}" if param.name or param.type else "..."
        case Var(type=inner, linkage=linkage):
            yield f"{linkage.name.lower()} -> {ref(inner)}"
        case Datasec(size=size, entries=entries):
            yield f"size {size}"
            yield from (f"{ref(e.entity)} at {e.offset} size {e.size}" for e in entries)
        case Float(size=size):
            yield f"size {size}"
        case DeclTag(value=value, target=target, index=index):
            yield f"{value!r} on {ref(target)}" + (f" part {index}" if index >= 0 else "")
        case _:
            assert_never(type_)
