"""The records that tell programs where the arguments of USDT probes are, and the map that they are in (``pyebpf.uapi.usdt``).

Places whose arguments lie alike share a record; its number is free again when the last link to such a place is closed.
"""

from __future__ import annotations

import errno
import struct
from _thread import allocate_lock
from collections.abc import Iterable
from typing import Final, assert_never
from weakref import WeakKeyDictionary

from pyebpf.runtime.errors import Problem, TargetError
from pyebpf.runtime.maps import Map
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.usdt_notes import (
    ConstantArg,
    MemoryArg,
    RegisterArg,
    UnknownArg,
    UsdtArgument,
    UsdtSpec,
)
from pyebpf.uapi.constants import MapType
from pyebpf.uapi.usdt import LONG, MAX_ARGUMENTS, RECORDS, SCALE_SHIFT, SHORT, Format, Location

_NAME: Final = RECORDS[:15]  # as long as the kernel keeps names
_FORMATS: Final = {format.size: format for format in (SHORT, LONG)}


def record(spec: UsdtSpec, format: Format, cookie: int, arguments: int | None, subject: str) -> bytes:
    """The record of a place. ``arguments``: how many the program takes; ``None``: nobody knows, so it may be all.

    Raises ``TargetError`` if the place has fewer, or has one of them where programs cannot read it.
    """
    taken = len(spec.arguments) if arguments is None else arguments
    if taken > len(spec.arguments):
        detail = f"the program takes {taken} arguments, the probe has {len(spec.arguments)}"
        raise TargetError(Problem.ARGUMENTS, subject, detail=detail, errno=errno.EINVAL)
    data = bytearray(format.size)
    for number, argument in enumerate(spec.arguments[: min(taken, MAX_ARGUMENTS)]):
        start = number * format.argument
        data[start : start + format.argument] = _argument(argument, format, number + 1, subject)
    struct.pack_into(
        "=Qh", data, format.cookie, cookie & (1 << 64) - 1, min(len(spec.arguments), MAX_ARGUMENTS)
    )
    return bytes(data)


def _argument(argument: UsdtArgument, format: Format, number: int, subject: str) -> bytes:
    place, data = argument.place, bytearray(format.argument)
    value, location, index, register = 0, Location.CONSTANT, 0, 0
    match place:
        case ConstantArg(constant):
            value = constant
        case RegisterArg(of):
            location, register = Location.REGISTER, of.offset
        case MemoryArg(base, displacement, None):
            location, register, value = Location.MEMORY, base.offset, displacement
        case MemoryArg(base, displacement, other, scale):
            assert other is not None
            location, register, value = Location.INDEXED, base.offset, displacement
            index = other.offset | scale.bit_length() - 1 << SCALE_SHIFT
        case UnknownArg(text):
            detail = f"argument {number} of the probe is where programs cannot read it: {text!r}"
            raise TargetError(Problem.ARGUMENTS, subject, detail=detail, errno=errno.EINVAL)
        case _:
            assert_never(place)
    struct.pack_into("=QBxH", data, 0, value & (1 << 64) - 1, location, index)
    struct.pack_into("=h", data, format.register, register)
    data[format.signed], data[format.shift] = argument.signed, 64 - 8 * argument.size
    return bytes(data)


class Records:
    """The map of records that the programs of an object share."""

    def __init__(self, table: Map) -> None:
        self.format = _FORMATS[table.value_size]
        self._table = table
        self._users: dict[int, int] = {}
        self._numbers: dict[bytes, int] = {}
        self._lock = allocate_lock()

    def take(self, records: Iterable[bytes], subject: str) -> list[int]:
        """The numbers under which programs find ``records``, until they are given back.

        Raises ``TargetError`` if there are too many, ``BpfError``.
        """
        taken: list[int] = []
        try:
            for data in records:
                with self._lock:
                    taken.append(self._number(data, subject))
        except BaseException:
            self.give_back(taken)
            raise
        return taken

    def _number(self, data: bytes, subject: str) -> int:
        number = self._numbers.get(data)
        if number is None:
            number = next((n for n in range(self._table.max_entries) if n not in self._users), None)
            if number is None:
                detail = f"programs know of {self._table.max_entries} different places at most"
                raise TargetError(Problem.ARGUMENTS, subject, detail=detail, errno=errno.ENOSPC)
            self._table.elements.update(number.to_bytes(4, "little"), data)
            self._numbers[data] = number
        self._users[number] = self._users.get(number, 0) + 1
        return number

    def give_back(self, numbers: Iterable[int]) -> None:
        """Let others have these numbers."""
        with self._lock:
            for number in numbers:
                self._users[number] -= 1
                if not self._users[number]:
                    del self._users[number]
                    self._numbers = {data: n for data, n in self._numbers.items() if n != number}


_known: Final[WeakKeyDictionary[Map, Records]] = WeakKeyDictionary()


def records_of(program: LoadedProgram) -> Records | None:
    """The records that ``program`` looks at, if it looks at any."""
    for table in program.maps:
        if table.type is MapType.ARRAY and table.name == _NAME and table.value_size in _FORMATS:
            return _known.setdefault(table, Records(table))
    return None
