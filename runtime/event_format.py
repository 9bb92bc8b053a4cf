"""What the records of a kernel's events look like, by the format files in tracefs.

Source: Documentation/trace/events.rst, and the format files themselves.
"""

from __future__ import annotations

import errno
import re

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.tracefs import event_file

if TYPE_CHECKING:
    from typing import Final


class Location(enums.Enum):
    """Where in a record the value of a field is."""

    INLINE = "inline"  # at the field's offset
    DATA_LOC = (
        "__data_loc"  # at the offset, from the record's start, in the low 16 bits of the field; length above
    )
    REL_LOC = "__rel_loc"  # the same, counted from the end of the field


@dataclass(frozen=True, slots=True)
class EventField:
    """A field of an event's record, which starts with the fields that all events have (``common``).

    ``type`` is C's, without the brackets of an array; ``offset`` and ``size`` in bytes. ``length``: elements of an
    array, 0 for what is none; ``None`` where the record says how many there are (``location``).
    """

    name: str
    type: str
    offset: int
    size: int
    signed: bool
    length: int | None
    location: Location
    common: bool


@dataclass(frozen=True, slots=True)
class EventFormat:
    """What an event is: ``id`` is its number for perf_event_open, ``print_format`` how the kernel prints it."""

    category: str
    name: str
    id: int
    fields: tuple[EventField, ...]
    print_format: str

    def field(self, name: str) -> EventField | None:
        """The field called ``name``, if there is one."""
        return next((f for f in self.fields if f.name == name), None)


def event_format(category: str, name: str) -> EventFormat:
    """The record of an event. Raises ``TargetError`` with near names if there is no such event."""
    text = event_file(category, name, "format")
    number, fields, shown = 0, [], ""
    common = True
    for line in text.splitlines():
        key, _, rest = line.strip().partition(":")
        match key:
            case "ID":
                number = int(rest)
            case "field":
                fields.append(_field(line.strip(), common))
            case "print fmt":
                shown = rest.strip()
            case "" if fields:
                common = False
    return EventFormat(category, name, number, tuple(fields), shown)


_FIELD: Final = r"field:(?P<declaration>.*?);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);(?:\s*signed:(?P<signed>[01]);)?"
_DECLARATION: Final = r"(?P<type>.*?)(?P<name>[A-Za-z_]\w*)\s*(?P<array>(?:\[[^\]]*\])*)$"
_ELEMENT_SIZES: Final = {
    "char": 1, "unsigned char": 1, "signed char": 1, "u8": 1, "__u8": 1, "s8": 1, "uint8_t": 1, "bool": 1,
    "short": 2, "unsigned short": 2, "u16": 2, "__u16": 2, "s16": 2, "uint16_t": 2, "__be16": 2,
    "int": 4, "unsigned int": 4, "unsigned": 4, "u32": 4, "__u32": 4, "s32": 4, "uint32_t": 4, "__be32": 4,
    "u64": 8, "__u64": 8, "s64": 8, "long long": 8, "unsigned long long": 8, "uint64_t": 8,
}  # fmt: skip


def _field(line: str, common: bool) -> EventField:
    found = re.match(_FIELD, line)
    declared = re.match(_DECLARATION, found["declaration"].strip(), re.DOTALL) if found else None
    if found is None or declared is None:
        raise BpfError(errno.EPROTO, Phase.TRACEFS, detail=f"the kernel describes a field as {line!r}")
    type_, brackets, size = declared["type"].strip(), declared["array"], int(found["size"])
    location = Location.INLINE
    for other in (Location.DATA_LOC, Location.REL_LOC):
        if type_.startswith(other.value):
            location, type_ = other, type_.removeprefix(other.value).strip()
    # Before a name that says where the data is, the brackets stand behind the type.
    if type_.endswith("[]"):
        type_, brackets = type_.removesuffix("[]").strip(), "[]"
    length: int | None = 0
    if brackets:
        length = None if location is not Location.INLINE else _length(type_, brackets, size)
    return EventField(
        declared["name"], type_, int(found["offset"]), size, found["signed"] == "1", length, location, common
    )


def _length(type_: str, brackets: str, size: int) -> int:
    """Elements of an array; some kernels write the name of a constant between the brackets."""
    element = _ELEMENT_SIZES.get(type_.removeprefix("const ").strip(), 0)
    if element:
        return size // element
    counts = [int(count) for count in re.findall(r"\[(\d+)\]", brackets)]
    total = 1
    for count in counts:
        total *= count
    return total if counts else size
