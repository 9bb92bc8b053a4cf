"""Functions that make the values of events, written and compiled for one layout.

``struct`` unpacks many records in one go; what is left is making an object of each, and there a loop written out for
the layout, without a call for each field, is several times faster than walking the layout for each record. The
objects are of the user's struct classes and may be changed: behind an event nothing stays in the kernel that could
differ. ``map_codec`` has what works for all layouts, and what encodes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, Order, StructType
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


_INT_FORMATS: Final = {8: "b", 16: "h", 32: "i", 64: "q"}
_MOST_ITEMS: Final = 200
"""Layouts with more scalars are left to ``map_codec``: the text would be long, and unpacking is most of the work."""


@dataclass(frozen=True, slots=True)
class Constructor:
    """``format``: of one record for ``struct``, without the byte order. ``rows``: a value for each tuple that it
    unpacks."""

    format: str
    rows: Callable[[Iterable[tuple[Any, ...]]], list[Any]]


class _TooMuch(Exception):
    """The layout is not one for which a function is written."""


class _Writer:
    """Collects the text of a loop's body for one record."""

    def __init__(self) -> None:
        self.format = ""
        self.items: list[str] = []
        self.body: list[str] = []
        self.known: dict[str, Any] = {"_new": object.__new__, "_int": int.from_bytes, "_zero": b"\0"}

    def item(self, format_: str) -> str:
        """The name of one more unpacked item."""
        if len(self.items) >= _MOST_ITEMS:
            raise _TooMuch
        self.format += format_
        self.items.append(f"i{len(self.items)}")
        return self.items[-1]

    def value(self, layout: Layout) -> str:
        """An expression for the value of ``layout`` at this place of the record."""
        match layout:
            case IntType():
                return self.integer(layout)
            case BytesType(length=length):
                return f"{self.item(f'{length}s')}.rstrip(_zero)"
            case ArrayType(element=element, length=length):
                return f"({''.join(f'{self.value(element)}, ' for _ in range(length))})"
            case StructType():
                return self.struct(layout)

    def integer(self, layout: IntType) -> str:
        """An integer, in its byte order."""
        letter = _INT_FORMATS[layout.bits] if layout.signed else _INT_FORMATS[layout.bits].upper()
        if layout.order is Order.NATIVE or layout.order.value == sys.byteorder or layout.bits == 8:
            return self.item(letter)
        if layout.bits == 16 and not layout.signed:
            name = self.item(letter)
            return f"({name} & 255) << 8 | {name} >> 8"
        return f"_int({self.item(f'{layout.size}s')}, {layout.order.value!r}, signed={layout.signed})"

    def struct(self, layout: StructType) -> str:
        """An object of a struct class, made without its ``__init__``."""
        made = layout.python_class
        if made is None or layout.union or not hasattr(made, "_from_values"):
            raise _TooMuch
        if any(field.name not in getattr(made, "__slots__", ()) for field in layout.fields):
            raise _TooMuch
        values, end = [], 0
        for field in layout.fields:
            if field.offset < end:
                raise _TooMuch
            self.format += f"{field.offset - end}x" if field.offset > end else ""
            values.append((field.name, self.value(field.layout)))
            end = field.offset + field.layout.size
        self.format += f"{layout.size - end}x" if layout.size > end else ""
        number = len(self.known)
        self.known[f"_class{number}"] = made
        self.body.append(f"o{number} = _new(_class{number})")
        self.body += [f"o{number}.{name} = {value}" for name, value in values]
        return f"o{number}"


def constructor(layout: Layout) -> Constructor | None:
    """The constructor of ``layout``, or ``None`` for unions, kernel structs and others that it is not written for."""
    writer = _Writer()
    try:
        result = writer.value(layout)
    except _TooMuch:
        return None
    lines = [
        "def rows(records):",
        " made = []",
        " append = made.append",
        f" for {', '.join(writer.items) or '_'}{',' if len(writer.items) == 1 else ''} in records:",
        *(f"  {line}" for line in writer.body),
        f"  append({result})",
        " return made",
    ]
    exec("\n".join(lines), writer.known)  # of our own words and of identifiers only
    return Constructor(writer.format, writer.known["rows"])
