"""tracefs: where it is mounted, which events the kernel has, and what their records look like.

Source: Documentation/trace/events.rst, and the format files themselves.
"""

from __future__ import annotations

import enum
import errno
import functools
import os
import re
import stat
from typing import Final

from pyebpf.near_names import near
from pyebpf.records import dataclass
from pyebpf.runtime.errors import BpfError, Phase, Problem, TargetError
from pyebpf.runtime.pin import mount
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.syscall import error

ROOTS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_EVENTS: Final = "events"
_MOST: Final = 4


def root(phase: Phase = Phase.TRACEFS) -> str:
    """Where tracefs is; it is mounted at /sys/kernel/tracing if it is nowhere and that is permitted.

    ``phase``: what it is needed for. Raises ``BpfError`` with the reason.
    """
    closed: OSError | None = None
    for path in ROOTS:
        try:
            os.stat(f"{path}/trace_pipe")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as found:
            closed = found
        else:
            return path
    if closed is not None:
        raise refused(closed, "", phase)
    code = mount("tracefs", ROOTS[0], "tracefs")
    if code in (0, errno.EBUSY) and os.path.exists(f"{ROOTS[0]}/trace_pipe"):
        return ROOTS[0]
    detail = f"tracefs is not mounted at {ROOTS[0]}, and mounting it failed"
    raise error(code or errno.ENOENT, phase, detail, need=Need.SYS_ADMIN)


def refused(found: OSError, subject: str, phase: Phase = Phase.TRACEFS) -> BpfError:
    """The typed exception for a file of tracefs that could not be used."""
    code = found.errno or errno.EIO
    refusal = error(code, phase, subject, need=Need.SYS_ADMIN)
    if code == errno.EACCES:
        refusal.detail = "the files in tracefs belong to root"
    return refusal


def read(name: str) -> str:
    """The text of a file below the root of tracefs. Raises ``BpfError``."""
    try:
        return _text(f"{root()}/{name}")
    except OSError as found:
        if isinstance(found, BpfError):
            raise
        raise refused(found, repr(name)) from None


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as opened:
        return opened.read()


# ---------------------------------------------------------------- events


class Location(enum.Enum):
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


def categories() -> list[str]:
    """The categories of events. Raises ``BpfError``."""
    return _directories(f"{root()}/{_EVENTS}")


def events(category: str) -> list[str]:
    """The events of a category. Raises ``TargetError`` if there is no such category."""
    path = f"{root()}/{_EVENTS}/{category}"
    subject = f"to tracepoints of {category!r}"
    if not category or "/" in category or not _is_directory(path, subject):
        raise _no_category(category, subject)
    return _directories(path)


@functools.cache
def all_events() -> tuple[tuple[str, str], ...]:
    """Category and name of every event; looked up once, as the kernel had them then. Raises ``BpfError``."""
    found = []
    for line in read("available_events").splitlines():
        category, _, name = line.partition(":")
        found.append((category, name))
    return tuple(found)


def event_id(category: str, name: str) -> int:
    """The number of an event. Raises ``TargetError`` with near names if there is none."""
    text = _event_file(category, name, "id")
    return int(text)


def event_format(category: str, name: str) -> EventFormat:
    """The record of an event. Raises ``TargetError`` with near names if there is no such event."""
    text = _event_file(category, name, "format")
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


def _event_file(category: str, name: str, file: str) -> str:
    subject = f"to tracepoint {category}:{name}"
    directory = f"{root()}/{_EVENTS}/{category}"
    if not category or not name or "/" in category + name or not _is_directory(directory, subject):
        raise _no_category(category, subject, name)
    try:
        return _text(f"{directory}/{name}/{file}")
    except (FileNotFoundError, NotADirectoryError):
        raise _no_event(category, name, subject) from None
    except OSError as found:
        raise refused(found, subject) from None


def _elsewhere(name: str) -> tuple[str, ...]:
    """The events called ``name`` in all categories; only suggestions, so that it does not matter if nothing tells."""
    try:
        return tuple(f"{other}:{same}" for other, same in all_events() if same == name)[:_MOST]
    except BpfError:
        return ()


def _no_category(category: str, subject: str, name: str = "") -> TargetError:
    return TargetError(
        Problem.UNKNOWN,
        subject,
        detail=f"this kernel has no tracepoints of category {category!r}",
        suggestions=_elsewhere(name) or near(category, categories()),
    )


def _no_event(category: str, name: str, subject: str) -> TargetError:
    return TargetError(
        Problem.UNKNOWN,
        subject,
        detail=f"this kernel has no tracepoint {name!r} in {category!r}",
        suggestions=_elsewhere(name) or tuple(f"{category}:{n}" for n in near(name, events(category))),
    )


def _is_directory(path: str, subject: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a zero byte in the name
        return False
    except OSError as found:
        raise refused(found, subject) from None


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as found:
        raise refused(found, repr(path)) from None
