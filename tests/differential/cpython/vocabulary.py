"""The module that programs import as ``pyebpf``, as CPython may run it: plain functions, types that hold bytes.

A new one for every run of a module, because it keeps what the module declares.
"""

from __future__ import annotations

import builtins
import errno
import types
from collections.abc import Callable
from typing import Any

from pyebpf.uapi import constants, programs
from tests.differential.cpython import contexts, maps, storage
from tests.differential.cpython.storage import Integer, Struct, View

INTEGERS = {f"{letter}{bits}": Integer(bits, letter == "i") for letter in "ui" for bits in (8, 16, 32, 64)}
ORDERED = {
    f"{order}{bits}": Integer(bits, big=order == "be") for order in ("be", "le") for bits in (16, 32, 64)
}
_MASK = (1 << 64) - 1


def _swapped(bits: int) -> Callable[[int], int]:
    def swap(value: int) -> int:
        return int.from_bytes((value & ((1 << bits) - 1)).to_bytes(bits // 8, "little"), "big")

    return swap


def _log2(value: int) -> int:
    return max((value & _MASK).bit_length() - 1, 0)


def _loop(count: int, body: Callable[..., Any], *state: Any) -> int:
    for i in range(count):
        if body(i, *state):
            return i + 1
    return max(count, 0)


def _for_each(walked: maps.Table, body: Callable[..., Any], state: Any, flags: int) -> int:
    if flags:
        return -errno.EINVAL
    for number, (key, value) in enumerate(walked.elements(), 1):
        if body(walked, key, value, state):
            return number
    return len(walked.contents)


def _checked(value: Any) -> Any:
    if value is None:
        raise ReferenceError
    if isinstance(value, int) and value < 0:
        raise maps.OSErrorWithNumber(-value)
    return value


def _snprintf(buffer: storage.Text, text: str) -> int:
    written = text.encode()[: buffer.size - 1] + b"\0"
    for at, byte in enumerate(written):
        buffer[at] = byte
    return len(text) + 1


def _sizeof(of: Any) -> int:
    size: int = of.size
    return size


def _unchanged(function: Any = None, **options: Any) -> Any:
    return function if function is not None else lambda given: given


class Vocabulary(types.ModuleType):
    """The stand-in for ``pyebpf``, and what a module made with it: its programs with their error verdicts."""

    def __init__(self) -> None:
        super().__init__("pyebpf")
        self.programs: dict[str, tuple[Callable[[Any], int], int]] = {}
        self.structs: dict[str, type[Struct]] = {}
        self.__dict__.update(vars(constants))
        self.__dict__.update(INTEGERS | ORDERED)
        self.__dict__.update(
            KEEP=programs.KEEP,
            license=lambda text: None,
            struct=self._struct,
            union=lambda cls: self._make(cls, packed=False, union=True),
            array=lambda kind, length: _zero(storage.ArrayKind(kind, length)),
            chars=lambda length: _zero(storage.TextKind(length)),
            copy=storage.copy_of,
            sizeof=_sizeof,
            snprintf=_snprintf,
            checked=_checked,
            for_each_map_elem=_for_each,
            loop=_loop,
            log2=_log2,
            log2l=_log2,
            htons=_swapped(16),
            ntohs=_swapped(16),
            htonl=_swapped(32),
            ntohl=_swapped(32),
            htonll=_swapped(64),
            ntohll=_swapped(64),
            function=_unchanged,
            inline=_unchanged,
            noinline=_unchanged,
            global_function=_unchanged,
            xdp=self._decorator(programs.XDP),
            tc=self._decorator(programs.TC),
            socket_filter=self._decorator(programs.SOCKET_FILTER),
            Xdp=contexts.Xdp,
            SkBuff=contexts.SkBuff,
            Struct=Struct,
            ArrayMap=maps.ArrayTable,
            PerCpuArray=maps.ArrayTable,
            HashMap=maps.Table,
            PerCpuHash=maps.Table,
            LruHashMap=maps.LruTable,
            LpmTrie=maps.Trie,
            Queue=maps.QueueOf,
            Stack=maps.StackOf,
            RingBuf=maps.Ring,
            ProgArray=maps.Programs,
            Global=maps.Variable,
            Const=maps.Variable,
        )

    def _decorator(self, kind: programs.ProgramKind) -> Callable[..., Any]:
        """``@bpf.xdp`` and its like, plain or called; without ``on_error`` the verdict is the kind's own."""

        def decorate(given: Callable[[Any], int] | None = None, *, on_error: int = kind.error_verdict) -> Any:
            def keep(function: Callable[[Any], int]) -> Callable[[Any], int]:
                self.programs[function.__name__] = (function, on_error)
                return function

            return keep if given is None else keep(given)

        return decorate

    def _struct(self, cls: type | None = None, *, packed: bool = False) -> Any:
        if cls is None:
            return lambda given: self._make(given, packed=packed, union=False)
        return self._make(cls, packed=packed, union=False)

    def _make(self, cls: type, *, packed: bool, union: bool) -> type[Struct]:
        """A struct's class; annotations name integers and structs from before, a default says what they cannot."""
        members: dict[str, storage.Kind] = {}
        for name, annotation in cls.__annotations__.items():
            example = vars(cls).get(name)
            if isinstance(example, View):
                members[name] = storage.kind_of(example)
            else:
                members[name] = eval(annotation, INTEGERS | ORDERED | self.structs)
        made = storage.make_struct(cls.__name__, members, packed=packed, union=union)
        self.structs[cls.__name__] = made
        return made

    def builtins(self) -> dict[str, Any]:
        """Python's own, with an ``import`` that knows this module and a ``print`` that says nothing."""

        def load(name: str, *args: Any) -> Any:
            return self if name == "pyebpf" else builtins.__import__(name, *args)

        return vars(builtins) | {
            "__import__": load,
            "print": lambda text: None,
            "OSError": maps.OSErrorWithNumber,
        }


def _zero(kind: storage.Kind) -> Any:
    return kind.load(bytearray(kind.size), 0)
