"""The kernel's types as an object declares them for its CO-RE relocations: only what its accesses go through.

The types that the program was compiled with reach nearly every type of the kernel. An object needs the structs on the way
of its accesses, with the members that they use, at the offsets that they had: loaders look for members by name, and
compare the kinds of what an access ends at. So each struct is copied with the members in use, their numbers in access
strings change accordingly, and pointers end at nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyebpf import btf
from pyebpf.btf.access import CoreKind, access_path
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_OF_FIELDS: Final = frozenset(
    {
        CoreKind.FIELD_BYTE_OFFSET,
        CoreKind.FIELD_BYTE_SIZE,
        CoreKind.FIELD_EXISTS,
        CoreKind.FIELD_SIGNED,
        CoreKind.FIELD_LSHIFT_U64,
        CoreKind.FIELD_RSHIFT_U64,
    }
)
_OF_ENUMERATORS: Final = frozenset({CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE})

Composite = btf.Struct | btf.Union


class LocalTypes:
    """Small copies of the kernel's types. Every access is told by ``use`` before the first ``local``."""

    def __init__(self, roots: Mapping[str, btf.Type]) -> None:
        self._roots = roots
        self._members: dict[Composite, set[int]] = {}
        self._enumerators: dict[btf.Enum | btf.Enum64, set[int]] = {}
        self._copies: dict[btf.Type, btf.Type] = {}

    def use(self, root: str, access: str, kind: CoreKind) -> None:
        """Note that the members on the way of ``access`` are needed."""
        type_ = self._root(root)
        first, *rest = access_path(access)
        inner = btf.skip_modifiers(type_)
        if kind in _OF_ENUMERATORS and isinstance(inner, btf.Enum | btf.Enum64):
            self._enumerators.setdefault(inner, set()).add(first)
        if kind not in _OF_FIELDS:
            return
        for number in rest:
            match inner:
                case btf.Struct() | btf.Union():
                    self._members.setdefault(inner, set()).add(number)
                    inner = btf.skip_modifiers(inner.members[number].type)
                case btf.Array(element=element):
                    inner = btf.skip_modifiers(element)
                case _:
                    raise InternalError(f"access {access!r} leaves the types", phase="codegen", function=root)

    def local(self, root: str, access: str, kind: CoreKind) -> tuple[btf.Type, str]:
        """The copy of ``root`` and the access string in it."""
        type_ = self._root(root)
        first, *rest = access_path(access)
        inner = btf.skip_modifiers(type_)
        if kind in _OF_ENUMERATORS and isinstance(inner, btf.Enum | btf.Enum64):
            return self._copy(type_), str(sorted(self._enumerators[inner]).index(first))
        numbers = [first]
        if kind in _OF_FIELDS:
            for number in rest:
                if isinstance(inner, btf.Struct | btf.Union):
                    numbers.append(sorted(self._members[inner]).index(number))
                    inner = btf.skip_modifiers(inner.members[number].type)
                else:
                    assert isinstance(inner, btf.Array)
                    numbers.append(number)
                    inner = btf.skip_modifiers(inner.element)
        return self._copy(type_), ":".join(map(str, numbers))

    def _root(self, name: str) -> btf.Type:
        found = self._roots.get(name)
        if found is None:
            raise InternalError(f"no type {name!r}", phase="codegen")
        return found

    def _copy(self, type_: btf.Type) -> btf.Type:
        known = self._copies.get(type_)
        if known is None:
            known = self._copies[type_] = self._made(type_)
            if isinstance(type_, btf.Struct | btf.Union) and isinstance(known, btf.Struct | btf.Union):
                known.members = tuple(
                    btf.Member(m.name, self._copy(m.type), m.bit_offset, m.bit_size)
                    for m in (type_.members[n] for n in sorted(self._members.get(type_, ())))
                )
        return known

    def _made(self, type_: btf.Type) -> btf.Type:
        match type_:
            case btf.Struct(name=name, size=size):
                return btf.Struct(name, size)
            case btf.Union(name=name, size=size):
                return btf.Union(name, size)
            case btf.Ptr():
                return btf.Ptr(None)
            case btf.Array(element=element, length=length):
                return btf.Array(self._copy(element), length, btf.ARRAY_INDEX)
            case btf.Enum(name=name, size=size, values=values, signed=signed):
                return btf.Enum(name, size, self._values(type_, values), signed)
            case btf.Enum64(name=name, size=size, values=values, signed=signed):
                return btf.Enum64(name, size, self._values(type_, values), signed)
            case btf.Const(target=target) | btf.Volatile(target=target) | btf.Restrict(target=target):
                return self._inner(target)
            case btf.TypeTag(target=target):
                return self._inner(target)
            case btf.Typedef(name=name, target=target):
                return btf.Typedef(name, self._inner(target))
            case btf.Int() | btf.Float():
                return type_
            case _:
                raise InternalError(f"{btf.describe(type_)} in an access", phase="codegen")

    def _inner(self, target: btf.Type | None) -> btf.Type:
        return btf.Ptr(None) if target is None else self._copy(target)

    def _values(
        self, type_: btf.Enum | btf.Enum64, values: tuple[btf.Enumerator, ...]
    ) -> tuple[btf.Enumerator, ...]:
        """Those in use; the first one where none is: an enum without any is only declared."""
        return tuple(values[n] for n in sorted(self._enumerators.get(type_, ()))) or values[:1]
