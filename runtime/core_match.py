"""Fields and enumerators by name: from an access string in the object's types to the same place in the kernel's.

An access that names ``a.b[2].c`` may be elsewhere in the kernel: members have moved, into or out of structs without
name, and arrays have other lengths. What CO-RE compares are the names on the way and the kind of what is found.
"""

from __future__ import annotations

from pyebpf import btf
from pyebpf.btf.access import CoreKind, access_path
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.core_compat import fields_compatible, same_name, types_compatible, types_match

if TYPE_CHECKING:
    from typing import Final


FIELD_KINDS: Final = frozenset(
    {
        CoreKind.FIELD_BYTE_OFFSET,
        CoreKind.FIELD_BYTE_SIZE,
        CoreKind.FIELD_EXISTS,
        CoreKind.FIELD_SIGNED,
        CoreKind.FIELD_LSHIFT_U64,
        CoreKind.FIELD_RSHIFT_U64,
    }
)
ENUM_KINDS: Final = frozenset({CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE})
_MAX_STEPS: Final = 64


@dataclass(frozen=True, slots=True)
class Step:
    """One part of an access: member ``index`` of the struct or union ``type``, called ``name``; or, without name, element
    ``index`` of type ``type``."""

    type: btf.Type
    index: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """An access in one set of types. The first step is the index of the root; a way to a type has no step, one to an
    enumerator has that alone."""

    root: btf.Type
    steps: tuple[Step, ...] = ()
    bit_offset: int = 0

    @property
    def text(self) -> str:
        """How one writes it: ``a.b[2].c``."""
        parts = [f".{step.name}" if step.name else f"[{step.index}]" for step in self.steps[1:]]
        return "".join(parts).removeprefix(".")


def local_way(kind: CoreKind, root: btf.Type, access: str) -> Way:
    """What an access string means in the object's own types. Raises ``BtfError`` if it leaves them."""
    if kind not in FIELD_KINDS and kind not in ENUM_KINDS:
        if access != "0":
            raise btf.BtfError(f"access {access!r} to a type")
        return Way(root)
    first, *rest = access_path(access)
    start = btf.skip_modifiers(root)
    if kind in ENUM_KINDS:
        if not isinstance(start, btf.Enum | btf.Enum64) or rest or first >= len(start.values):
            raise btf.BtfError(f"access {access!r}: {btf.describe(root)} has no such enumerator")
        return Way(root, (Step(start, first, start.values[first].name),))
    if start is None:
        raise btf.BtfError(f"access {access!r} to void")
    steps, bits, type_ = [Step(start, first)], first * btf.size_of(start) * 8, btf.skip_modifiers(root)
    for index in rest:
        match type_:
            case btf.Struct(members=members) | btf.Union(members=members) if index < len(members):
                member = members[index]
                bits += member.bit_offset
                if member.name:
                    steps.append(Step(type_, index, member.name))
                type_ = btf.skip_modifiers(member.type)
            case btf.Array(element=element, length=length) if index < length or _open(steps[-1], length):
                type_ = btf.skip_modifiers(element)
                assert type_ is not None
                steps.append(Step(type_, index))
                bits += index * btf.size_of(type_) * 8
            case _:
                raise btf.BtfError(
                    f"access {access!r} to {btf.describe(root)}: {btf.describe(type_)} has no part {index}"
                )
    return Way(root, tuple(steps), bits)


def _open(before: Step, length: int) -> bool:
    """Whether an array of ``length`` elements, which is the member ``before``, has as many as one likes: it ends its
    struct and states no length."""
    if length or not before.name or not isinstance(before.type, btf.Struct | btf.Union):
        return False
    return before.index == len(before.type.members) - 1


def find(kind: CoreKind, local: Way, candidate: btf.Type) -> Way | None:
    """The same access in a type of the kernel; ``None`` if that has no such thing. Raises ``BtfError`` if the kernel's
    types are malformed."""
    if kind is CoreKind.TYPE_MATCHES:
        return Way(candidate) if types_match(local.root, candidate) else None
    if kind in ENUM_KINDS:
        return _enumerator(local, candidate)
    if kind not in FIELD_KINDS:
        return Way(candidate) if types_compatible(local.root, candidate) else None
    start = btf.skip_modifiers(candidate)
    if start is None:
        return None
    steps = [Step(start, local.steps[0].index)]
    bits = local.steps[0].index * btf.size_of(start) * 8
    type_: btf.Type | None = start
    for step in local.steps[1:]:
        type_ = btf.skip_modifiers(type_)
        if step.name:
            found = _member(step, type_)
            if found is None:
                return None
            into, offset, type_ = found
            steps.append(into)
            bits += offset
        elif isinstance(type_, btf.Array) and (step.index < type_.length or _open(steps[-1], type_.length)):
            type_ = btf.skip_modifiers(type_.element)
            if type_ is None:
                return None
            steps.append(Step(type_, step.index))
            bits += step.index * btf.size_of(type_) * 8
        else:
            return None
    return Way(candidate, tuple(steps), bits)


def _enumerator(local: Way, candidate: btf.Type) -> Way | None:
    type_ = btf.skip_modifiers(candidate)
    if not isinstance(type_, btf.Enum | btf.Enum64):
        return None
    for index, value in enumerate(type_.values):
        if same_name(local.steps[0].name, value.name):
            return Way(candidate, (Step(type_, index, value.name),))
    return None


def _member(wanted: Step, type_: btf.Type | None, depth: int = 0) -> tuple[Step, int, btf.Type] | None:
    """The member of ``type_``, or of members without name in it, that is called as ``wanted``; with its bits from the
    start of ``type_``, and its type."""
    assert isinstance(wanted.type, btf.Struct | btf.Union)
    if not isinstance(type_, btf.Struct | btf.Union) or depth > _MAX_STEPS:
        return None
    for index, member in enumerate(type_.members):
        if not member.name:
            inner = _member(wanted, btf.skip_modifiers(member.type), depth + 1)
            if inner is not None:
                return inner[0], member.bit_offset + inner[1], inner[2]
        elif member.name == wanted.name:
            declared = wanted.type.members[wanted.index].type
            if not fields_compatible(declared, member.type):
                return None
            return Step(type_, index, member.name), member.bit_offset, member.type
    return None


def missing(kind: CoreKind, local: Way, candidates: list[btf.Type]) -> str:
    """What the kernel, whose types of the name are ``candidates``, lacks of an access, as the start of a sentence."""
    name = f"`{_plain(local.root)}`"
    if not candidates:
        return f"there is no {name}"
    if kind in ENUM_KINDS:
        return f"{name} has no value `{btf.essential_name(local.steps[0].name)}`"
    return f"{name} has no field `{local.text}`" + (" of this kind" if _has_names(local, candidates) else "")


def _has_names(local: Way, candidates: list[btf.Type]) -> bool:
    """Whether a candidate has a member of every name of the way, so that the kind of one is what differs."""
    for candidate in candidates:
        type_: btf.Type | None = candidate
        for step in local.steps[1:]:
            type_ = _named(step.name, type_) if step.name else _element(type_)
            if type_ is None:
                break
        else:
            return True
    return False


def _element(type_: btf.Type | None) -> btf.Type | None:
    inner = btf.skip_modifiers(type_)
    return inner.element if isinstance(inner, btf.Array) else None


def _named(name: str, type_: btf.Type | None, depth: int = 0) -> btf.Type | None:
    inner = btf.skip_modifiers(type_)
    if not isinstance(inner, btf.Struct | btf.Union) or depth > _MAX_STEPS:
        return None
    for member in inner.members:
        if member.name == name:
            return member.type
        if not member.name and (found := _named(name, member.type, depth + 1)) is not None:
            return found
    return None


def _plain(type_: btf.Type) -> str:
    """``type_`` without its flavor."""
    name = btf.name_of(type_)
    return btf.describe(type_).replace(name, btf.essential_name(name)) if name else btf.describe(type_)
