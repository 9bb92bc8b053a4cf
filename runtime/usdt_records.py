"""The records that tell programs where the arguments of USDT probes are, and the map that they are in (``pyebpf.uapi.usdt``).

Places whose arguments lie alike share a record; its number is free again when the last link to such a place is closed.
"""

from __future__ import annotations

import errno
import os
import struct
from _thread import RLock
from collections import deque
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from pyebpf.hints import TYPE_CHECKING, assert_never
from pyebpf.runtime.errors import BpfError, Phase, Problem, TargetError
from pyebpf.runtime.info import map_facts, open_by_id, program_facts
from pyebpf.runtime.map_kinds import map_of
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
from pyebpf.uapi.constants import BpfCmd, MapType
from pyebpf.uapi.usdt import LONG, MAX_ARGUMENTS, RECORDS, SCALE_SHIFT, SHORT, Format, Location

if TYPE_CHECKING:
    from typing import Final


_NAME: Final = RECORDS[:15]  # as long as the kernel keeps names
_FORMATS: Final = {format.size: format for format in (SHORT, LONG)}
_WORD: Final = (1 << 64) - 1


def record(
    spec: UsdtSpec, format: Format, cookie: int, arguments: tuple[int, ...] | None, subject: str
) -> bytes:
    """The record of a place. ``arguments``: the numbers of those that the program reads; ``None``: nobody knows, so it may be
    all.

    Raises ``TargetError`` if the place has fewer, or has one of them where programs cannot read it.
    """
    read = range(len(spec.arguments)) if arguments is None else arguments
    taken = max(read, default=-1) + 1
    if taken > len(spec.arguments):
        detail = f"the program reads argument {taken}, the probe has {len(spec.arguments)}"
        raise TargetError(Problem.ARGUMENTS, subject, detail=detail, errno=errno.EINVAL)
    data = bytearray(format.size)
    for number, argument in enumerate(spec.arguments[:MAX_ARGUMENTS]):
        if number in read:
            start = number * format.argument
            data[start : start + format.argument] = _argument(argument, format, number + 1, subject)
    count = min(len(spec.arguments), MAX_ARGUMENTS)
    struct.pack_into("=Qh", data, format.cookie, cookie & _WORD, count)
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
    struct.pack_into("=QBxH", data, 0, value & _WORD, location, index)
    struct.pack_into("=h", data, format.register, register)
    data[format.signed], data[format.shift] = argument.signed, 64 - 8 * argument.size
    return bytes(data)


class Records:
    """Who has which number in a map of records. The map itself is not kept: it keeps this.

    ``give_back`` may run anywhere, in a finalizer or in a signal handler, so it only takes note.
    """

    def __init__(self, format: Format, free: Iterable[int]) -> None:
        self.format = format
        self._free = sorted(free, reverse=True)
        self._numbers: dict[bytes, int] = {}
        self._users: dict[int, int] = {}
        self._returned: deque[int] = deque()
        self._lock = RLock()
        self._taking = False
        self._process = os.getpid()

    def take(self, table: Map, records: Iterable[bytes], subject: str) -> list[int]:
        """The numbers under which programs find ``records`` in ``table``, until they are given back.

        Raises ``TargetError`` if there are too many; ``BpfError``, also in a fork of the process that loaded the program,
        since that one does not know which numbers are taken here.
        """
        if os.getpid() != self._process:
            detail = "the program was loaded before this process was forked: close it, and it is loaded anew"
            raise BpfError(errno.EINVAL, Phase.ATTACH, subject, detail=detail)
        taken: list[int] = []
        with self._lock:
            if self._taking:
                detail = "a signal handler cannot attach to such a probe while its thread does"
                raise BpfError(errno.EDEADLK, Phase.ATTACH, subject, detail=detail)
            self._taking = True
            try:
                self._settle()
                for data in records:
                    taken.append(self._number(table, data, subject))
            except BaseException:
                self.give_back(taken)
                raise
            finally:
                self._taking = False
        return taken

    def _number(self, table: Map, data: bytes, subject: str) -> int:
        number = self._numbers.get(data)
        if number is None:
            if not self._free:
                detail = f"programs know of {table.max_entries} different places at most"
                raise TargetError(Problem.ARGUMENTS, subject, detail=detail, errno=errno.ENOSPC)
            table.elements.update(self._free[-1].to_bytes(4, "little"), data)
            number = self._free.pop()
            self._numbers[data], self._users[number] = number, 0
        self._users[number] += 1
        return number

    def _settle(self) -> None:
        """Make the numbers free that have been given back by all who had them."""
        while self._returned:
            number = self._returned.popleft()
            self._users[number] -= 1
            if not self._users[number]:
                del self._users[number]
                self._numbers = {data: n for data, n in self._numbers.items() if n != number}
                self._free.append(number)

    def give_back(self, numbers: Iterable[int]) -> None:
        """Let others have these numbers."""
        if os.getpid() == self._process:
            self._returned.extend(numbers)

    def used(self) -> dict[int, int]:
        """How many links have each number that is not free."""
        with self._lock:
            if not self._taking:
                self._settle()
            return dict(self._users)


_known: Final[WeakKeyDictionary[Map, Records]] = WeakKeyDictionary()


def records_of(program: LoadedProgram) -> tuple[Map, Records] | None:
    """The map of records that ``program`` looks at, if it looks at any, and who has what in it.

    Of a program that this process has not loaded the kernel is asked, which needs CAP_SYS_ADMIN. Raises ``BpfError``.
    """
    for table in program.maps:
        if _holds_records(table.type, table.name, table.value_size):
            known = _known.get(table)
            if known is None:
                known = _known[table] = Records(_FORMATS[table.value_size], range(table.max_entries))
            return table, known
    return None if program.maps else _found_by_id(program)


def _found_by_id(program: LoadedProgram) -> tuple[Map, Records] | None:
    for number in program_facts(program.handle).map_ids:
        fd = open_by_id(BpfCmd.MAP_GET_FD_BY_ID, number, f"map {number}")
        facts = map_facts(fd)
        if not _holds_records(facts.type, facts.name, facts.value_size):
            fd.close()
            continue
        table = map_of(fd)
        program.maps = (table,)
        # Others may have attached the program, and their numbers are not free.
        empty = bytes(table.value_size)
        free = [
            n for n in range(table.max_entries) if table.elements.lookup(n.to_bytes(4, "little")) == empty
        ]
        _known[table] = Records(_FORMATS[table.value_size], free)
        return table, _known[table]
    return None


def _holds_records(type: MapType, name: str, value_size: int) -> bool:
    return type is MapType.ARRAY and name == _NAME and value_size in _FORMATS
