"""When a type of an object and one of the kernel count as the same: libbpf's three rules, from loose to strict.

All look through qualifiers and typedefs; flavors of names (``___v2``) do not count. ``fields_compatible`` is for the
last member of an access, ``types_compatible`` for whole types and functions, ``types_match`` for ``type_matches``, which
compares members too.
"""

from __future__ import annotations

from pyebpf import btf
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_MAX_DEPTH: Final = 32


def same_kind(local: btf.Type | None, kernel: btf.Type | None) -> bool:
    """Whether both are of one kind; enums of either width are."""
    if isinstance(local, btf.Enum | btf.Enum64):
        return isinstance(kernel, btf.Enum | btf.Enum64)
    return btf.kind_of(local) is btf.kind_of(kernel)


def same_name(local: str, kernel: str) -> bool:
    """Whether names are equal but for their flavors."""
    return btf.essential_name(local) == btf.essential_name(kernel)


def fields_compatible(local: btf.Type | None, kernel: btf.Type | None) -> bool:
    """Whether a field of the kernel may be accessed as the object declares it: sizes and signs of integers, and what
    pointers and structs are of, may differ."""
    for _ in range(_MAX_DEPTH):
        local, kernel = btf.skip_modifiers(local), btf.skip_modifiers(kernel)
        match local, kernel:
            case ((btf.Struct() | btf.Union()), (btf.Struct() | btf.Union())):
                return True
            case (btf.Ptr(), btf.Ptr()) | (btf.Float(), btf.Float()):
                return True
            case btf.Int(offset=a), btf.Int(offset=b):
                return a == 0 == b
            case btf.Array(element=a), btf.Array(element=b):
                local, kernel = a, b
            case ((btf.Enum() | btf.Enum64()), (btf.Enum() | btf.Enum64())) | (btf.Fwd(), btf.Fwd()):
                name, other = btf.name_of(local), btf.name_of(kernel)
                return not name or not other or same_name(name, other)
            case _:
                return False
    return False


def types_compatible(local: btf.Type | None, kernel: btf.Type | None, depth: int = _MAX_DEPTH) -> bool:
    """Whether a declaration fits the kernel's: the same kinds, through pointers and prototypes; names and the members of
    structs do not count."""
    if depth <= 0:
        return False
    local, kernel = btf.skip_modifiers(local), btf.skip_modifiers(kernel)
    match local, kernel:
        case (btf.Ptr(target=a), btf.Ptr(target=b)) | (btf.Array(element=a), btf.Array(element=b)):
            return types_compatible(a, b, depth - 1)
        case btf.FuncProto(result=a, params=p), btf.FuncProto(result=b, params=q):
            return (
                len(p) == len(q)
                and types_compatible(a, b, depth - 1)
                and all(types_compatible(x.type, y.type, depth - 1) for x, y in zip(p, q, strict=True))
            )
        case btf.Int(offset=a), btf.Int(offset=b):
            return a == 0 == b
        case ((btf.Func() | btf.Var() | btf.Datasec() | btf.Float() | btf.DeclTag()), _):
            return False
        case _:
            return same_kind(local, kernel)


def types_match(
    local: btf.Type | None, kernel: btf.Type | None, *, behind_pointer: bool = False, depth: int = _MAX_DEPTH
) -> bool:
    """Whether everything that the object declares is so in the kernel, which may have more: members and enumerators by
    name, sizes and signs of integers, lengths of arrays. Behind pointers structs count by name alone."""
    if depth <= 0:
        return False
    local, kernel = btf.skip_modifiers(local), btf.skip_modifiers(kernel)
    if not same_name(btf.name_of(local), btf.name_of(kernel)):
        return False

    def inner(a: btf.Type | None, b: btf.Type | None, behind: bool = behind_pointer) -> bool:
        return types_match(a, b, behind_pointer=behind, depth=depth - 1)

    match local, kernel:
        case None, None:
            return True
        case btf.Fwd(union=union), btf.Fwd(union=other):
            return union == other
        case btf.Fwd(union=union), (btf.Struct() | btf.Union()):
            return behind_pointer and union == isinstance(kernel, btf.Union)
        case ((btf.Struct() | btf.Union()), btf.Fwd(union=union)):
            return behind_pointer and union == isinstance(local, btf.Union)
        case ((btf.Enum() | btf.Enum64()) as e, (btf.Enum() | btf.Enum64()) as f):
            return _enums_match(e, f)
        case (btf.Struct(members=few), btf.Struct(members=more)) | (
            btf.Union(members=few),
            btf.Union(members=more),
        ):
            return behind_pointer or (
                len(few) <= len(more)
                and all(any(same_name(m.name, n.name) and inner(m.type, n.type) for n in more) for m in few)
            )
        case btf.Int(size=a, signed=signed), btf.Int(size=b, signed=other):
            return a == b and signed == other
        case btf.Ptr(target=x), btf.Ptr(target=y):
            return inner(x, y, True)
        case btf.Array(element=x, length=a), btf.Array(element=y, length=b):
            return a == b and inner(x, y)
        case btf.FuncProto(result=x, params=p), btf.FuncProto(result=y, params=q):
            return (
                len(p) == len(q)
                and all(inner(one.type, other.type) for one, other in zip(p, q, strict=True))
                and inner(x, y)
            )
        case _:
            return False


def _enums_match(local: btf.Enum | btf.Enum64, kernel: btf.Enum | btf.Enum64) -> bool:
    return (
        local.size == kernel.size
        and len(local.values) <= len(kernel.values)
        and all(any(same_name(v.name, other.name) for other in kernel.values) for v in local.values)
    )
