"""What a CO-RE relocation asks for, worked out on one set of types: the object's own, or the kernel's."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pyebpf import btf
from pyebpf.btf.access import CoreKind
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.core_match import FIELD_KINDS, Way
from pyebpf.runtime.errors import CoreError

if TYPE_CHECKING:
    from typing import Final


_WORD_BITS: Final = 64
_LARGEST_LOAD: Final = 8
_LITTLE: Final = sys.byteorder == "little"


@dataclass(frozen=True, slots=True)
class Value:
    """``number``; ``None`` if there is nothing to tell. ``certain``: every compiler works it out alike, so an instruction
    of the object must hold it. ``type``: of a field that can be loaded at this offset, else ``None``; ``size``: what such
    a load takes, of an array one element, else 0."""

    number: int | None
    certain: bool = True
    size: int = 0
    type: btf.Type | None = None


def value_of(kind: CoreKind, way: Way | None, id_of: Callable[[btf.Type], int]) -> Value:
    """The value where ``way`` leads; ``way`` is ``None`` if there is no such place. ``id_of``: the id of a root type.

    Raises ``BtfError`` for a type without size, ``CoreError`` for a bit-field that no load can take.
    """
    if kind in FIELD_KINDS:
        return _field(kind, way)
    match kind:
        case CoreKind.TYPE_EXISTS | CoreKind.TYPE_MATCHES | CoreKind.ENUMVAL_EXISTS:
            return Value(0 if way is None else 1)
        case CoreKind.TYPE_SIZE:
            return Value(0 if way is None else btf.size_of(way.root))
        case CoreKind.ENUMVAL_VALUE:
            if way is None:
                return Value(None)
            enum = way.steps[0].type
            assert isinstance(enum, btf.Enum | btf.Enum64)
            return Value(enum.values[way.steps[0].index].value)
        case _:  # ids of types change when objects are linked
            return Value(0 if way is None else id_of(way.root), certain=False)


def _field(kind: CoreKind, way: Way | None) -> Value:
    if kind is CoreKind.FIELD_EXISTS:
        return Value(0 if way is None else 1)
    if way is None:
        return Value(None)
    last = way.steps[-1]
    if not last.name:
        return _element(kind, way)
    assert isinstance(last.type, btf.Struct | btf.Union)
    member = last.type.members[last.index]
    type_ = btf.skip_modifiers(member.type)
    start, bits = way.bit_offset // 8, member.bit_size
    size = btf.size_of(type_)
    if bits:
        start, size = _container(way.bit_offset, bits, size)
    else:
        bits = size * 8
    whole = not member.bit_size
    match kind:
        case CoreKind.FIELD_BYTE_OFFSET:
            if not whole:
                return Value(start, certain=False)
            return _loaded(start, type_)
        case CoreKind.FIELD_BYTE_SIZE:
            return Value(size, certain=whole)
        case CoreKind.FIELD_SIGNED:
            return Value(int(isinstance(type_, btf.Int | btf.Enum | btf.Enum64) and type_.signed))
        case CoreKind.FIELD_LSHIFT_U64:
            inside = way.bit_offset - start * 8
            shift = _WORD_BITS - (inside + bits) if _LITTLE else (_LARGEST_LOAD - size) * 8 + inside
            return Value(shift, certain=whole)
        case _:
            return Value(_WORD_BITS - bits)


def _element(kind: CoreKind, way: Way) -> Value:
    """Of an array, or of the root itself, only place and size are known."""
    type_ = way.steps[-1].type
    match kind:
        case CoreKind.FIELD_BYTE_OFFSET:
            return _loaded(way.bit_offset // 8, type_)
        case CoreKind.FIELD_BYTE_SIZE:
            return Value(btf.size_of(type_))
        case _:
            raise CoreError(f"{kind.name} is asked of an element of an array, which has offset and size only")


def _loaded(start: int, type_: btf.Type | None) -> Value:
    """The offset of a field. Its type stays that of an array: as with libbpf, no load makes up for elements of another
    size."""
    element = type_
    while isinstance(element, btf.Array):
        element = btf.skip_modifiers(element.element)
    return Value(start, size=btf.size_of(element), type=type_)


def _container(bit_offset: int, bits: int, size: int) -> tuple[int, int]:
    """Offset and size of the smallest aligned integer that holds a bit-field whose declared type has ``size`` bytes."""
    if size <= 0:
        raise CoreError("a bit-field of a type without size")
    while True:
        start = bit_offset // 8 // size * size
        if bit_offset + bits <= (start + size) * 8:
            return start, size
        if size >= _LARGEST_LOAD:
            raise CoreError(
                f"a bit-field of {bits} bits at bit {bit_offset} does not fit one load of 8 bytes"
            )
        size *= 2
