"""Objects as plain data, and back: numbers, strings and tuples only, so that reading runs no code.

Every record gets a number and stands in a table, so that shared and cyclic types stay so. Classes are named, and
only those of the modules below are made. Structs of the user's module are given by their place in a list.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING, Any, TypeVar
from pyebpf.layout import StructType
from pyebpf.object import ObjectSpec, Prepared
from pyebpf.records import fields, is_dataclass

if TYPE_CHECKING:
    from typing import Final


_MODULES: Final = frozenset(
    {
        "pyebpf.btf.types",
        "pyebpf.layout",
        "pyebpf.object",
        "pyebpf.target",
        "pyebpf.uapi.constants",
    }
)

Plain = None | bool | int | float | str | bytes | tuple["Plain", ...]


class NotPlain(Exception):
    """The data is not what ``encode`` makes, or an object has something in it that it does not know."""


def encode(spec: ObjectSpec | Prepared, structs: Sequence[StructType]) -> Plain:
    """``spec`` as plain data. Raises ``NotPlain`` for a class of a user that is not in ``structs``."""
    return _Encoder(structs).table(spec)


T = TypeVar("T", ObjectSpec, Prepared)


def decode(data: Plain, structs: Sequence[StructType], kind: type[T]) -> T:
    """The object of ``encode``, which was of this kind, with ``structs`` in the same order. Raises ``NotPlain``."""
    try:
        found = _Decoder(structs).decoded(data)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise NotPlain(str(error)) from None
    if not isinstance(found, kind):
        raise NotPlain(f"not of type {kind.__qualname__}")
    return found


class _Encoder:
    def __init__(self, structs: Sequence[StructType]) -> None:
        self._structs = {id(struct): number for number, struct in enumerate(structs)}
        self._numbers: dict[int, int] = {}
        self._rows: list[Plain] = []

    def table(self, spec: ObjectSpec | Prepared) -> Plain:
        self._value(spec)
        return tuple(self._rows)

    def _value(self, value: object) -> Plain:
        kind = type(value)
        if value is None or (
            isinstance(value, bool | int | float | str | bytes) and kind.__module__ == "builtins"
        ):
            return value
        if isinstance(value, enums.Enum):
            plain = self._value(value.value)
            return ("enum", *self._class(kind), plain)
        if isinstance(value, StructType) and id(value) in self._structs:
            return ("struct", self._structs[id(value)])
        if isinstance(value, bytearray):
            return ("bytearray", bytes(value))
        if isinstance(value, tuple | list):
            return (kind.__name__, *[self._value(item) for item in value])
        if isinstance(value, dict):
            return ("dict", *[self._value(item) for pair in value.items() for item in pair])
        return ("record", self._record(value))

    def _record(self, value: object) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            kind = type(value)
            named = self._class(kind)
            if not is_dataclass(kind) or (isinstance(value, StructType) and value.python_class is not None):
                raise NotPlain(f"{kind.__qualname__} cannot be written down")
            number = self._numbers[id(value)] = len(self._rows)
            self._rows.append(None)
            members = [self._value(getattr(value, one.name)) for one in fields(kind)]
            self._rows[number] = (*named, *members)
        return number

    def _class(self, kind: type) -> tuple[str, str]:
        if kind.__module__ not in _MODULES or "." in kind.__qualname__:
            raise NotPlain(f"{kind.__module__}.{kind.__qualname__} cannot be written down")
        return kind.__module__, kind.__qualname__


class _Decoder:
    def __init__(self, structs: Sequence[StructType]) -> None:
        self._structs = structs
        self._made: list[object] = []

    def decoded(self, data: Plain) -> object:
        if not isinstance(data, tuple):
            raise NotPlain("not a table")
        names: list[tuple[str, ...]] = []
        for row in data:
            assert isinstance(row, tuple)
            kind, members = _record_class(row[0], row[1])
            names.append(members)
            self._made.append(object.__new__(kind))
        put, value = object.__setattr__, self._value
        for made, row, members in zip(self._made, data, names, strict=True):
            assert isinstance(row, tuple)
            for name, member in zip(members, row[2:], strict=True):
                put(made, name, value(member))
        return self._made[0]

    def _value(self, item: Plain) -> object:
        if not isinstance(item, tuple):
            return item
        match item[0]:
            case "record":
                assert isinstance(item[1], int)
                return self._made[item[1]]
            case "enum":
                kind: Any = _named_class(item[1], item[2])
                return kind(self._value(item[3]))
            case "tuple":
                return tuple([self._value(one) for one in item[1:]])
            case "list":
                return [self._value(one) for one in item[1:]]
            case "dict":
                found = [self._value(one) for one in item[1:]]
                return dict(zip(found[::2], found[1::2], strict=True))
            case "struct":
                assert isinstance(item[1], int)
                return self._structs[item[1]]
            case "bytearray":
                assert isinstance(item[1], bytes)
                return bytearray(item[1])
            case _:
                raise NotPlain(f"unknown tag {item[0]!r}")


@functools.cache
def _record_class(module: Plain, name: Plain) -> tuple[type, tuple[str, ...]]:
    """A class, and the names of its fields in order."""
    found = _named_class(module, name)
    return found, tuple(one.name for one in fields(found))


@functools.cache
def _named_class(module: Plain, name: Plain) -> type:
    if not isinstance(module, str) or not isinstance(name, str) or module not in _MODULES:
        raise NotPlain(f"{module!r} is not a module of ours")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, type) or found.__module__ != module:
        raise NotPlain(f"{module}.{name} is not a class")
    if not (is_dataclass(found) or issubclass(found, enums.Enum)):
        raise NotPlain(f"{module}.{name} is not data")
    return found
