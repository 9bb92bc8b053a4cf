"""How data lies in memory: C's integers, byte strings, arrays and structs, with sizes, alignments and offsets.

One module because the same answers are needed on both sides of the kernel boundary: the compiler computes
addresses from a layout, BTF describes it, and user space encodes and decodes values by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyebpf import enums
from pyebpf.hints import Any
from pyebpf.records import dataclass


class Order(enums.Enum):
    """The byte order in which an integer is stored."""

    NATIVE = "native"
    LITTLE = "little"
    BIG = "big"


@dataclass(frozen=True, slots=True)
class IntType:
    """An integer in memory: ``bits`` is 8, 16, 32 or 64; ``order`` tells fields that convert on access.

    As a Python object it is also the conversion ``u32(x)``: the low bits of ``x``, as ctypes does it.
    """

    bits: int
    signed: bool
    order: Order = Order.NATIVE

    def __call__(self, value: int = 0) -> int:
        low = int(value) & ((1 << self.bits) - 1)
        return low - (1 << self.bits) if self.signed and low >> (self.bits - 1) else low

    @property
    def name(self) -> str:
        """The name users write: ``u32``, ``i64``, ``be16``."""
        prefix = {Order.NATIVE: "i" if self.signed else "u", Order.LITTLE: "le", Order.BIG: "be"}[self.order]
        return f"{prefix}{self.bits}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.bits // 8

    @property
    def align(self) -> int:
        """Bytes."""
        return self.bits // 8

    @property
    def lo(self) -> int:
        """The least value that it holds."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """The greatest value that it holds."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class BytesType:
    """Up to ``length`` bytes with zeroed tail (C's ``char[length]``); ``bpf.chars(length)`` as a field."""

    length: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.length

    @property
    def align(self) -> int:
        """Bytes."""
        return 1

    @property
    def name(self) -> str:
        """For messages."""
        return f"chars({self.length})"


@dataclass(frozen=True, slots=True)
class ArrayType:
    """``length`` elements of one layout; ``bpf.array(T, length)`` as a field."""

    element: Layout
    length: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.element.size * self.length

    @property
    def align(self) -> int:
        """Bytes."""
        return self.element.align

    @property
    def name(self) -> str:
        """For messages."""
        return f"array({self.element.name}, {self.length})"


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a struct at ``offset`` bytes."""

    name: str
    layout: Layout
    offset: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class StructType:
    """C's struct (or union, where every offset is 0). Two are the same only if they are the same declaration.

    ``python_class`` is the user's class, from which user space builds values; ``None`` for kernel types.
    """

    name: str
    fields: tuple[Field, ...]
    size: int
    align: int
    packed: bool = False
    union: bool = False
    python_class: Callable[..., Any] | None = None

    def field(self, name: str) -> Field | None:
        """The member called ``name``, if there is one."""
        return next((f for f in self.fields if f.name == name), None)


Layout = IntType | BytesType | ArrayType | StructType

U8, U16, U32, U64 = (IntType(bits, False) for bits in (8, 16, 32, 64))
I8, I16, I32, I64 = (IntType(bits, True) for bits in (8, 16, 32, 64))
BE16, BE32, BE64 = (IntType(bits, False, Order.BIG) for bits in (16, 32, 64))
LE16, LE32, LE64 = (IntType(bits, False, Order.LITTLE) for bits in (16, 32, 64))


def round_up(value: int, align: int) -> int:
    """The least multiple of ``align`` that is not below ``value``."""
    return (value + align - 1) // align * align


def struct_type(
    name: str,
    members: Sequence[tuple[str, Layout]],
    *,
    packed: bool = False,
    union: bool = False,
    python_class: Callable[..., Any] | None = None,
) -> StructType:
    """Lay ``members`` out as C does: each at the next multiple of its alignment, the size rounded up.

    ``packed`` drops alignment; ``union`` puts every member at 0.
    """
    fields: list[Field] = []
    end, align = 0, 1
    for member, layout in members:
        member_align = 1 if packed else layout.align
        offset = 0 if union else round_up(end, member_align)
        fields.append(Field(member, layout, offset))
        end = max(end, offset + layout.size)
        align = max(align, member_align)
    return StructType(name, tuple(fields), round_up(end, align), align, packed, union, python_class)
